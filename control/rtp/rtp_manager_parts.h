/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_manager_parts.h - what the rtp_manager*.c files share; nobody else includes it.
 *
 *   rtp_manager.c        asks of clients, members, time       rtp_manager_place.c  processes, moves
 *   rtp_manager_state.c  what processes say: states, updates  rtp_manager_show.c   messages, tables
 */
#pragma once

#include "publish/stream_hub.h"
#include "rtp_manager.h"
#include "rtp_params.h"
#include "rtp_union.h"
#include "rtp_wire.h"

#define STREAM_BUCKETS 8192u
#define MEMBER_BUCKETS 16384u
#define UID_BUCKETS    256u
#define SEQ_BITS       20u /* of an id on the wire: what was asked, below the stream's number */

enum instance_state { INSTANCE_NONE, INSTANCE_ASKED, INSTANCE_LIVE };

/* A user who began streams that run. */
struct beginner {
    struct beginner *next;
    uint32_t streams;
    char name[USER_NAME_MAX + 1];
};

struct rtp_stream;
struct instance {
    struct rtp_stream *s;
    struct instance *by_uid;
    unsigned k; /* the process */
    enum instance_state state;
    uint64_t ask;  /* id of the SUBSCRIBE under way */
    uint64_t snap; /* id of the SNAPSHOT under way; 0: none */
    int64_t uid;
    uint64_t position;
    bool part_here; /* of the state that is being put together */
    struct rtp_result part, last;
    uint64_t part_position;
};

struct member {
    struct member *next, **at; /* in the stream's list of its state */
    struct member *bucket;
    struct rtp_stream *s;
    const struct user *user; /* until it is opened; held */
    uint64_t token, connection;
    int64_t deadline;
    unsigned thread;
    enum stream_want want;
    bool opened, live;
    uint8_t face;
};

enum { FACE_DELTA, FACE_FULL, FACES };
struct face {
    uint64_t id;
    uint32_t members, on_thread[HUB_THREADS]; /* opened */
    bool dirty;                               /* FULL: its clients lack an update */
};

struct rtp_stream {
    struct rtp_stream *next, *by_id, **link; /* all of the group; by number; its place */
    struct rtp_stream *by_key;
    uint64_t number;
    uint32_t seq, hash;
    unsigned g;
    char name[RTP_NAME_MAX + 1], user[64];
    struct beginner *by; /* NULL: who has no limit */
    uint8_t *params;
    uint32_t nparams;
    char *tables;          /* stream_event.text */
    json_t *columns, *key; /* NULL: not known yet */
    bool full;             /* each update is the whole state */
    unsigned n;            /* instances: all processes of a broadcast group, else one */
    struct instance *instance;
    struct face face[FACES];
    struct member *waiting, *live;
    uint32_t members, nopened;
    uint64_t position;
    struct message **behind; /* of the state under way: updates that its takers get behind it */
    uint32_t nbehind, behind_room;
    uint64_t behind_bytes;
    int64_t retry_at, give_up_at; /* 0: not now */
    char *doom;                   /* why it ends now */
    unsigned fatal; /* its process ended while it began, so often since it last had a state */
    int64_t since;  /* monotonic */
    uint64_t updates, rows, bytes, states, moved;
};

struct asking { /* a SUBSCRIBE that is not answered */
    struct asking *next;
    uint64_t id;
    size_t bytes;
};
struct process {
    uint64_t life; /* 0: not up */
    uint32_t instances;
    struct asking *asking, **asking_last;
    size_t asked_bytes;
    struct instance *uid[UID_BUCKETS];
};
struct group {
    char name[64];
    enum rtp_mode mode;
    unsigned processes, next; /* next: round robin */
    bool wanted;
    bool deferred; /* some wait until a process has answered others */
    uint32_t nstreams, npending;
    struct rtp_stream *streams;
    struct process process[RTP_PROCESSES_MAX];
};

struct pending { /* an ask that waits until analytics are known */
    struct pending *next;
    struct stream_ask *ask;
    int64_t deadline;
    uint32_t groups; /* bits: those that it waits for */
};

struct rtp_manager {
    struct stream_hub *hub;
    const struct rtp_link *link;
    struct rtp_events events;
    unsigned ngroups;
    struct group *group;
    struct pending *pending, **pending_last;
    struct rtp_stream *by_number[STREAM_BUCKETS], *by_key[STREAM_BUCKETS];
    struct member *member[MEMBER_BUCKETS];
    struct beginner *beginners;
    uint32_t streams, members, unopened, retrying;
    uint64_t params_bytes;
    uint64_t next_number, next_face;
    int64_t now, looked_at;
    _Atomic uint64_t f[10]; /* figures, in the order of the struct */
};

/* ---- rtp_manager.c ---- */

enum {
    F_STREAMS,
    F_CLIENTS,
    F_WAITING,
    F_SUBSCRIBED,
    F_SHARED,
    F_STATES,
    F_UPDATES,
    F_ROWS,
    F_BYTES,
    F_MOVED
};
void manager_count(struct rtp_manager *m, unsigned f, int64_t n);
void manager_refuse(struct rtp_manager *m, unsigned thread, uint64_t token, const char *text);
void member_live(struct member *x);
void member_wait(struct member *x);
void member_free(struct rtp_manager *m, struct member *x); /* its stream stays */
/* Nobody is left, or it cannot go on: its process is told. Members must be gone. */
void stream_end(struct rtp_manager *m, struct rtp_stream *s);
/* All members are told why (`kind`) and gone, and so is it. */
void stream_stop(struct rtp_manager *m, struct rtp_stream *s, const char *kind, const char *why);
void manager_again(struct rtp_manager *m, unsigned g); /* asks that waited for the group */
void manager_want(struct rtp_manager *m, unsigned g);  /* tells the pool, if it changed */
struct rtp_stream *stream_of(struct rtp_manager *m, uint64_t wire_id);
/* The analytic of that name in the group; NULL. */
const json_t *manager_analytic(struct rtp_manager *m, unsigned g, const char *name);

/* ---- rtp_manager_place.c ---- */

void stream_place(struct rtp_manager *m, struct rtp_stream *s);
void stream_unplace(struct rtp_manager *m, struct rtp_stream *s);
void place_up(void *arg, unsigned g, unsigned k, uint64_t life);
void place_down(void *arg, unsigned g, unsigned k, uint64_t life, const char *why, bool again);
struct instance *place_by_uid(struct rtp_manager *m, unsigned g, unsigned k, int64_t uid);
void place_bind(struct rtp_manager *m, struct instance *i, int64_t uid);
/* A SUBSCRIBE was answered. */
void place_answered(struct rtp_manager *m, unsigned g, unsigned k, uint64_t id);
/* Those that waited until there was room. */
void place_deferred(struct rtp_manager *m);
void place_close(struct rtp_manager *m);
/* It is refused, now: tried again, or over. */
void stream_retry(struct rtp_manager *m, struct rtp_stream *s, const char *why);
void stream_retried(struct rtp_manager *m, struct rtp_stream *s); /* it went well */

/* ---- rtp_manager_state.c ---- */

bool stream_placed(const struct rtp_stream *s); /* all its instances are live */
/* Members wait: asks for a state, unless one is under way. */
void stream_ask_state(struct rtp_manager *m, struct rtp_stream *s);
void stream_drop_state(struct rtp_stream *s); /* what was put together so far */
bool state_message(void *arg, unsigned g, unsigned k, uint64_t life, const struct rtp_said *said,
                   struct err *err);
/* To each thread that has members of the face. m: a reference is taken for each. */
void face_post(struct rtp_manager *m, const struct face *f, enum stream_event_kind kind,
               struct message *message);

/* ---- rtp_manager_show.c ---- */

/* (`.sa.snap or `.sa.upd; id; table; position) */
struct message *show_rows(bool state, uint64_t face, const struct rtp_result *r, uint64_t position);
struct message *show_notice(uint64_t face, const char *kind, const char *text);
struct message *show_opened(struct rtp_manager *m, const struct rtp_stream *s, unsigned face,
                            uint64_t position);
struct message *show_analytics(struct rtp_manager *m, const struct user *u);
struct message *show_streams(struct rtp_manager *m, const struct stream_ask *a);
void show_group(void *arg, unsigned g, json_t *into);
