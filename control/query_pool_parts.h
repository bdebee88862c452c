/* SPDX-License-Identifier: Apache-2.0 */
/* query_pool_parts.h - what query_pool.c (queue, clients), query_slot.c (processes) share. */
#pragma once

#include <sys/types.h>
#include "query_pool.h"

#define SLOT_BACKOFF_MIN (100 * 1000000ll)
#define SLOT_BACKOFF_MAX (30 * 1000000000ll)
#define SLOT_STEADY      (60 * 1000000000ll) /* after this long ready, the back-off starts anew */
#define SLOT_CUTS_MAX    64u                 /* cuts that one query may ask for */
#define PLUGIN_OPS_MAX   256u

enum slot_state {
    SLOT_OFF,     /* waits for `due`, then asks for a process */
    SLOT_ASKED,   /* the helper spawns */
    SLOT_STARTED, /* connected; HELLO, ATTACH, until READY */
    SLOT_READY,
    SLOT_BUSY,   /* a query, or a plugin to load */
    SLOT_ENDING, /* killed or its socket closed; the helper says when it has gone */
};

struct slot {
    enum slot_state state;
    unsigned index;
    uint64_t spawn; /* the helper's id of this process; never used twice */
    int fd, pidfd;
    pid_t pid;
    int64_t since, due, ready_at;
    int64_t backoff; /* before the next start */
    unsigned bad_starts;
    struct query *query; /* BUSY */
    unsigned ops;        /* plugin operations that it has done */
    bool in_op, bare;    /* bare: started without plugins, for it kept dying with them */
    unsigned cuts;
    uint64_t asked; /* the loader, for its query; 0 = not */
    bool told;      /* its query has had the loader's tables */
    uint64_t served, served_before; /* before this second */
    int64_t second;                 /* in which it has sent `messages` */
    unsigned messages;
    char why[200]; /* ENDING: why it was ended by us */
};

enum query_state { QUERY_QUEUED, QUERY_RUNNING, QUERY_ENDED };
enum query_kind { QUERY_SQL, QUERY_PLUGIN };

struct query {
    struct query_pool *pool;
    struct query *next; /* all, oldest first */
    enum query_state state;
    enum query_kind kind;
    bool forgotten; /* nobody waits for it: freed when it ends */
    uint64_t id;
    uid_t uid;
    pid_t pid;
    char user[64]; /* of kdb+ IPC; "" = the uid's */
    uint64_t turn; /* the same as a number: users take turns by it */
    json_t *request;
    int64_t timeout, submitted, started, deadline, kill_at; /* monotonic ns */
    uint64_t max_rows, max_bytes;
    int cancel; /* enum wire_cancel, 0 = none */
    struct query_cost cost;
    struct slot *slot;
    int fd; /* the result's memfd */
    json_t *result;
    struct err err;
};

struct plugin_op { /* done by every process, in order */
    bool load;
    char name[1024];
};

struct query_pool {
    struct daemon *daemon;
    int epoll;
    struct slot slot[POOL_PROCESSES_MAX];
    unsigned nslots;
    struct query *queries; /* all that are not ENDED, and those whose end was not asked for yet */
    uint64_t next_id, next_spawn;
    uint64_t last_turn; /* whose it was */
    struct plugin_op op[PLUGIN_OPS_MAX];
    unsigned nops;
    json_t *plugins, *plugins_failed; /* as the last process reported them */
    struct query_pool_figures figures;
    int64_t alive; /* when a process was last ready or busy */
    int64_t log_second;
    unsigned log_lines;
    bool gone; /* the helper */
};

/* query_pool.c */
void query_end(struct query *q, json_t *result, const char *error, int code);
void query_end_json(struct query *q, json_t *failed); /* FAILED's object; steals it */
struct query *query_pool_next(struct query_pool *p);  /* the one to run now, or NULL */

/* query_slot.c */
void slots_open(struct query_pool *p, unsigned n);
void slots_close(struct query_pool *p);
void slots_poll(struct query_pool *p, int64_t now);
void slot_cancel(struct slot *s, struct query *q, int why);
struct helper_event;
void slots_event(void *pool, const struct helper_event *e);
__attribute__((format(printf, 3, 4))) void slot_kill(struct query_pool *p, struct slot *s,
                                                     const char *format, ...);
