/* SPDX-License-Identifier: Apache-2.0 */
/* loading_parts.h - what the loading*.c files share; nobody else includes it. */
#pragma once

#include <pthread.h>
#include <sys/types.h>
#include "core/inject.h"
#include "core/thread.h"
#include "daemon.h"
#include "day_load.h"
#include "helper.h"
#include "load/orchestrator.h"
#include "load/symbols.h"
#include "load/watch.h"
#include "loading.h"
#include "questions.h"

#define LOADING_RING_BYTES (4u << 20)
#define LOADING_TEXTS      65536u /* of one symbol batch */
#define LOADING_IN_FLIGHT  16u    /* symbol batches */
#define LOADING_SUBJECT    1200u  /* a path */
#define LOADING_ALARMS     16384u /* of files; load files shows those beyond them */

/* ---- workers (loading_workers.c) ---- */

enum loading_state { LW_NONE, LW_ASKED, LW_STARTED, LW_READY, LW_ENDING };
struct loading_worker {
    enum loading_state state;
    unsigned index;
    uint64_t id; /* the helper's, never used twice */
    uint64_t memory;
    int fd, pidfd;
    pid_t pid;
    int64_t since, looked; /* monotonic */
    int64_t second;        /* in which it has sent `messages` */
    unsigned messages;
    uint64_t heap; /* RssAnon when last looked at */
    char why[300]; /* ENDING: why it was ended by us */
};

/* ---- between the threads ---- */

struct loading_event { /* control -> thread */
    struct loading_event *next;
    struct helper_event e;
};
enum loading_request_kind { LR_SPAWN, LR_RUN };
struct loading_request { /* thread -> control */
    struct loading_request *next;
    enum loading_request_kind kind;
    uint64_t id; /* SPAWN: of the worker */
    json_t *env; /* RUN: ["NAME=value", …] */
    char batch[128];
};
struct loading_alarm {
    enum loader_alarm kind;
    char *subject, *text;
    uint64_t hash; /* of kind and subject */
    bool raised, told;
    bool listed; /* among the alarms: others of its kind wait until there is room */
};

/* ---- noted in hooks, done between two ticks ---- */

struct loading_intern {
    enum { LI_NONE, LI_READ, LI_OFFER, LI_TAKEN, LI_SYM } step;
    uint64_t batch;
    int32_t date;
    char **file;
    unsigned n, read;
    struct load_symbols symbols;
    bool have;
    uint64_t at;            /* next text to offer */
    uint64_t fresh;         /* offered so far */
    uint64_t first, ticket; /* of this batch's offers */
    uint64_t sent[LOADING_IN_FLIGHT];
    unsigned nsent, oldest;
    uint64_t position;
};
struct loading_move {
    bool on, given;
    uint64_t batch, commit;
    char key[LOADER_KEY];
    unsigned n;
    struct load_move_table *table;
};
struct loading_discard {
    struct loading_discard *next;
    char key[LOADER_KEY];
    uint64_t commit;
};

struct loading {
    struct daemon *d;
    struct inject q;
    struct thread thread;
    bool running;
    int epoll, wake;
    int temporary; /* locked: that directory is ours alone */
    int worker_cap;

    /* owner: the thread, from its start on */
    struct loader *loader;
    struct load_watch *watch;
    struct io *io;
    struct loading_plan *plan; /* configuration in the orchestrator's words (loading_config.c) */
    struct loading_worker worker[64];
    unsigned nworkers;
    uint64_t next_id;
    struct loading_intern intern;
    struct loading_move move;
    struct loading_discard *discards;
    bool giving;              /* a request is with the day: */
    enum day_load_kind given; /* this one */
    bool swept;
    int64_t due, watch_due, memory_at, publish_at, log_second;
    unsigned log_lines;
    bool news; /* something happened since the last tick */
    struct loader_figures counted;
    char boot[64];
    struct questions questions; /* of verbs and SQL */

    /* under lock */
    pthread_mutex_t lock;
    struct loading_event *inbox, **inbox_end;
    struct loading_request *requests, **requests_end;
    _Atomic bool requested; /* requests is not empty: relaxed look without the lock */
    struct loading_alarm *alarm;
    unsigned nalarms, alarm_room;
    json_t *shown; /* the newest, until control takes it: an object is one thread's */
    char hook_failed[400];
    int64_t hook_failed_at;
    pid_t pids[64];                              /* of workers */
    char stopped[sizeof((struct err *)0)->text]; /* why there is no orchestrator; "" = there is */

    /* control's */
    json_t *taken;
};

/* loading_config.c */
struct loading_plan;
/* schemas NULL: made from the configuration. */
struct loading_plan *loading_plan_new(const struct config *c, struct err *err);
void loading_plan_free(struct loading_plan *p);
/* Fills what comes from the configuration. */
void loading_plan_config(const struct loading_plan *p, struct loader_config *out);
const char *loading_plan_temporary(const struct loading_plan *p);
const char *loading_plan_done(const struct loading_plan *p); /* finished: move */
/* A table of the configuration, declared or of a decoder; false: none of that name. */
bool loading_schema(const struct config *c, const char *table, struct schema *out, struct err *err);

/* loading_workers.c: all on the thread. */
void workers_spawn(struct loading *l, unsigned w, uint64_t memory);
void workers_kill(struct loading *l, unsigned w, const char *why);
bool workers_send(struct loading *l, unsigned w, uint64_t task, const char *json, size_t len);
void workers_event(struct loading *l, const struct helper_event *e);
int workers_listen(struct loading *l, unsigned w);
void workers_watch(struct loading *l, int64_t now); /* memory, start */
void workers_close(struct loading *l);

/* loading_batch.c: interning, moves, hooks. */
bool loading_hooks(struct loading *l, struct loader_hooks *h);
int loading_step(struct loading *l); /* goes on with what is under way */
bool loading_busy(const struct loading *l);
void loading_batch_close(struct loading *l);

/* loading_ask.c */
json_t *loading_respond(struct loading *l, json_t *ask, struct err *err);

/* loading_memory.c: free bytes as plan.h's F, by key load.memory; 0: not known. */
uint64_t loading_free_memory(int source);
uint64_t loading_total_memory(void);
bool loading_memory_limited(void); /* has any control group above us a limit? */
/* The least that any of a process's control groups, or one above them, leaves; UINT64_MAX: no
 * limit. list: its /proc/PID/cgroup; mount: where control groups are mounted. */
uint64_t loading_group_free(const char *list, const char *mount);

/* loading.c */
void loading_request(struct loading *l, struct loading_request *r); /* steals */
void loading_log(struct loading *l, const char *text);
/* Without control characters: names of files are others' words, and no line of a log and no escape
 * sequence of a terminal comes of them. */
void loading_plain(char *out, size_t cap, const char *text);
