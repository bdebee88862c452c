/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_pool.h - the penstock-rtp processes of all groups: started, fed, watched, ended, started
 * again. What the Query Manager calls (struct rtp_link) and what calls it (struct rtp_events) is
 * rtp_link.h; what a process may say is rtp_wire.h; its rows are rtp_rows.h's.
 *
 *   OFF ──spawn──► ASKED ──► STARTED (HELLO, ATTACH) ──READY──► READY ──START──► RUNNING
 *    ▲                                                  functions can be called       │
 *    └────────────── back-off ◄────────────── ENDING ◄────────────────────────────────┘
 *
 * A process whose rows have a source is not attached before the journal has everything that an
 * earlier life of it has sent.
 *
 * The pool knows no daemon: what it needs of it comes through struct rtp_hooks, and what control
 * answers comes in by rtp_pool_event and rtp_pool_cut. So tests run it over a socketpair.
 *
 * THREAD: rtp; nothing blocks. rtp_pool_work does one round.
 */
#pragma once

#include <jansson.h>
#include <sys/types.h>
#include "config.h"
#include "helper.h"
#include "rtp_link.h"
#include "rtp_rows.h"
#include "rtp_wire.h"

struct cut;

#define RTP_BACKOFF_MIN (100 * 1000000ll)
#define RTP_BACKOFF_MAX (30 * 1000000000ll)
#define RTP_STEADY_NS   (60 * 1000000000ll) /* after this long up, the back-off starts anew */
#define RTP_START_NS    (60 * 1000000000ll) /* from spawn to READY: plugins may read much */
#define RTP_STOP_NS     (2 * 1000000000ll)  /* for a process to flush and end by itself */

enum rtp_state { RTP_OFF, RTP_ASKED, RTP_STARTED, RTP_READY, RTP_RUNNING, RTP_ENDING };

struct rtp_out { /* waits for room in the socket */
    struct rtp_out *next;
    unsigned type;
    uint64_t id, value;
    size_t length;
    uint8_t body[];
};

struct rtp_process {
    unsigned g, k;
    enum rtp_state state;
    uint64_t life; /* the helper's id; 0: none */
    int fd, pidfd;
    pid_t pid;
    int64_t since, due, backoff, up_at, beat_at, looked; /* monotonic */
    bool said_hello, told;                               /* told: the manager has had `up` */
    bool held;                                           /* by the manager */
    bool stopping;                                       /* STOP was sent: its end is no failure */
    bool polls;                                          /* its fd is in the epoll set */
    bool attach_due;
    bool cut; /* control has one for it, or was asked */
    struct rtp_out *out, **out_end;
    size_t out_bytes;
    uint8_t *pending; /* a ROWS packet that found no room */
    uint32_t pending_bytes;
    uint64_t pending_number, rows_done;
    struct rtp_whole whole;
    struct rtp_beat beat;
    uint64_t busy_before;
    int64_t busy_at;
    uint32_t busy; /* 1/1000 */
    uint64_t heap; /* RssAnon */
    uint64_t op;   /* PLUGIN that it has not answered yet */
    uint64_t restarts, refused;
    int64_t second; /* in which it has logged `lines` */
    unsigned lines;
    int64_t cut_second; /* in which it has asked for `cuts` */
    unsigned cuts;
    bool ready_due;                   /* PLUGIN_DONE came: READY follows */
    char op_failed[RTP_SENTENCE + 1]; /* what PLUGIN_DONE said */
    char why[300];                    /* ENDING: why it was ended by us */
    char last[200]; /* line that it logged: its own last words, when it gives up */
};

struct rtp_op { /* a plugin that is loaded or unloaded; one at a time */
    bool on, load;
    uint64_t id, ticket;
    unsigned waiting; /* processes that have not answered */
    char file[1024], failed[RTP_SENTENCE];
};

struct rtp_group {
    const struct config_rtp *c;
    bool on_demand, wanted, off; /* off: by hand */
    bool go;                     /* its processes are told to START */
    bool debug;
    int64_t unwanted_at;
    json_t *plugins; /* [FILE…]: configured ones, and what was loaded since */
    json_t *ready;   /* of the last process that became READY */
    struct rtp_process process[RTP_PROCESSES_MAX];
    struct rtp_rows_source source;
    bool derives;  /* it has processors */
    char why[300]; /* its last process's end; "" = none failed */
    int64_t why_at, refused_at;
    uint64_t restarts, refused;
    char trouble[300]; /* of plugins, as the last READY said; "" */
    struct rtp_op op;
};

struct rtp_hooks {
    void *arg;
    /* Asks control; the answer is an event, or rtp_pool_cut. */
    void (*spawn)(void *arg, uint64_t life);
    void (*cut)(void *arg, uint64_t life);
    void (*release)(void *arg, uint64_t life); /* its cut and all pins */
    /* Members that ATTACH has from the daemon (segments, log, schemas …); descriptors into fds. */
    json_t *(*attach)(void *arg, int *fds, unsigned *nfds);
    /* Members that START has from it: schemas, and the earliest open date. */
    json_t *(*start)(void *arg);
    /* A live table that no feed fills, by name; NULL: there is none. */
    const struct schema *(*table)(void *arg, const char *name);
    /* The outcome of a call or of plugins: see rtp_pool_call, rtp_pool_plugin. result NULL: why. A
     * result is a kdb+ table, borrowed. */
    void (*answer)(void *arg, uint64_t ticket, const struct rtp_said *result, const char *why);
    void (*log)(void *arg, const char *line);
};

struct rtp_call {
    struct rtp_call *next;
    uint64_t id, ticket, life;
    int64_t until;
};

struct rtp_pool {
    struct rtp_hooks hooks;
    struct rtp_rows *rows; /* NULL: no group derives */
    const struct rtp_events *events;
    struct rtp_link link;
    struct rtp_group group[RTP_GROUPS_MAX];
    unsigned groups;
    int epoll; /* data: g << 8 | k, or what the thread puts there */
    uint64_t next_life, next_call, life_base;
    struct rtp_call *calls;
    int64_t now;
    bool gone, closing; /* the helper; the pool */
    bool news;          /* a process came, went, or brings other things: for who shows it */
    uint64_t started, lost, refused, rows_taken; /* counters */
};

bool rtp_pool_open(struct rtp_pool *p, const struct config_rtp *groups, unsigned n,
                   const struct rtp_hooks *hooks, struct rtp_rows *rows, uint64_t first_life,
                   struct err *err);
/* Kills what still runs. */
void rtp_pool_close(struct rtp_pool *p);
/* One round; returns how much it did. */
int rtp_pool_work(struct rtp_pool *p, int64_t now);
/* A socket is readable or writable. */
int rtp_pool_ready(struct rtp_pool *p, uint32_t data);
/* When the next round is due at the latest, monotonic; `now` itself: at once. */
int64_t rtp_pool_due(const struct rtp_pool *p, int64_t now);

/* What control answered. */
void rtp_pool_event(struct rtp_pool *p, const struct helper_event *e);
void rtp_pool_cut(struct rtp_pool *p, uint64_t life, const struct cut *cut, const char *why);
/* A pin of it keeps an ended day from leaving memory: it is ended. */
void rtp_pool_overdue(struct rtp_pool *p, uint64_t life, const char *why);

/* ---- verbs ---- */

struct rtp_group *rtp_pool_group(struct rtp_pool *p, const char *name, struct err *err);
bool rtp_pool_start(struct rtp_pool *p, struct rtp_group *g, struct err *err);
bool rtp_pool_stop(struct rtp_pool *p, struct rtp_group *g, struct err *err);
bool rtp_pool_restart(struct rtp_pool *p, struct rtp_group *g, struct err *err);
void rtp_pool_debug(struct rtp_pool *p, struct rtp_group *g, bool on);
/* `ask`: struct rtp_ask's bytes. False: err; else hooks.answer has the ticket. */
bool rtp_pool_call(struct rtp_pool *p, struct rtp_group *g, unsigned k, const void *ask, size_t n,
                   uint64_t ticket, int64_t until, struct err *err);
/* Every process of the group, and each later one. The answer comes when the last has answered. */
bool rtp_pool_plugin(struct rtp_pool *p, struct rtp_group *g, bool load, const char *file,
                     uint64_t ticket, struct err *err);
json_t *rtp_pool_list(struct rtp_pool *p);
void rtp_pool_pids(const struct rtp_pool *p, json_t *list);

/* ---- between the rtp_pool*.c files ---- */

__attribute__((format(printf, 3, 4))) void
rtp_process_kill(struct rtp_pool *p, struct rtp_process *x, const char *format, ...);
bool rtp_process_send(struct rtp_pool *p, struct rtp_process *x, unsigned type, uint64_t id,
                      uint64_t value, const void *body, size_t n);
bool rtp_process_flush(struct rtp_pool *p, struct rtp_process *x);
int rtp_process_listen(struct rtp_pool *p, struct rtp_process *x); /* rtp_talk.c */
bool rtp_process_rows(struct rtp_pool *p, struct rtp_process *x);  /* a pending packet */
void rtp_process_attach(struct rtp_pool *p, struct rtp_process *x);
void rtp_process_go(struct rtp_pool *p, struct rtp_process *x); /* START, once it is READY */
void rtp_calls_ended(struct rtp_pool *p, uint64_t life, const char *why);
void rtp_calls_answer(struct rtp_pool *p, uint64_t id, const struct rtp_said *m, const char *why);
int rtp_calls_late(struct rtp_pool *p);
void rtp_op_answered(struct rtp_pool *p, struct rtp_process *x, uint64_t id, const char *failed);
