/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publisher.h - a publish thread and the server around it. Private to control/publish/.
 *
 * One turn (publisher_work): epoll without waiting; inbox, answers, logins; connections with input
 * left; frames of the lanes into the fan-outs, what is due out of them; updates to the inject ring,
 * acknowledgements; sockets. It waits as thread.h says while it has consumers or something under
 * way, and sleeps in epoll otherwise: an idle server costs nothing.
 *
 * A turn's work is bounded for each connection (input and output), so that one that floods or reads
 * fast does not starve the others.
 */
#pragma once

#include <pthread.h>
#include <sys/epoll.h>
#include "access.h"
#include "auth.h"
#include "core/inject.h"
#include "core/thread.h"
#include "daemon.h"
#include "dataplane/inject_rows.h"
#include "publish/connection.h"
#include "publish/inbox.h"
#include "publish/intake.h"
#include "publish/kdb_live.h"
#include "publish/lane.h"
#include "publish/server.h"

#define BUCKETS          1024u
#define PUBLISHER_EVENTS 128

enum { LANE_NORMAL, LANE_DURABLE, LANES };

struct watch {
    enum watch_kind kind;
    int fd;
    unsigned port;
};

struct publisher {
    struct server *server;
    unsigned index;
    char name[16];
    struct thread thread;
    int epfd;
    struct inbox inbox;
    struct bell *bell; /* bell.h; NULL: this thread polls */
    struct watch w_inbox, w_auth, w_answers, w_bell, listener[DOORS];
    struct auth_mailbox *auth;
    struct intake *intake;
    struct streams *streams;
    struct dictionary dict;
    struct lane lane[LANES];
    int64_t now;         /* monotonic, of this turn */
    uint64_t turn_bytes; /* of messages handled in this turn, unpacked */
    int64_t time;        /* UTC */
    int64_t flush_after; /* PACE: the fan-outs flush from here on */
    bool flushed;        /* one did in this turn */
    bool soon;           /* one would have, but for PACE */
    int came;            /* of `event`, from the sleep: -1 = epoll has to be asked */
    struct epoll_event event[PUBLISHER_EVENTS];
    struct connection *first; /* all; the registry's lock guards the list for others */
    pthread_mutex_t registry;
    uint32_t count;
    struct connection *bucket[BUCKETS];   /* by id */
    struct connection *mute, **mute_last; /* those that said nothing yet, the oldest first */
    struct connection *dirty, *ready, *waiting, *graves;
    uint64_t next_id, next_answer;
    int64_t house_at;
    int64_t over_since; /* ipc.memory is used up since then; 0: it is not */
    uint64_t users_generation;
    uint32_t starved; /* bits: listeners that found no descriptor */
    bool intake_busy;
    bool quiet, finishing;
    _Atomic bool finished; /* F1/F2 */
    int64_t finish_by;
};

struct stream_hub;
struct rtp_manager;

struct server {
    struct daemon *daemon;
    const struct config *config;
    unsigned threads;
    struct publisher publisher[SERVER_THREADS];
    struct catchup *catchup;
    struct users *users;
    struct tls *tls;
    struct auth *auth;
    struct access *access;
    struct answers *answers;
    struct kdb_live *kdb_live;
    struct stream_hub *hub; /* streaming analytics: stream_hub.h */
    struct rtp_manager *manager;
    char unix_path[1200];
    struct ending *endings; /* ends of day that publishers asked for */
    struct inbox control;   /* kicks and the like come the other way; here: end of day requests */
    /* listeners: control */
    struct {
        int fd; /* -1: not open */
        int number;
        int64_t retry_at;
        char problem[200];
    } port[DOORS];
    /* any publish thread */
    _Atomic uint32_t connections;
    _Atomic uint32_t stranger[ADDRESS_CLASSES]; /* of those, not logged in; by address */
    uint32_t seed;                              /* of the classes */
    _Atomic uint32_t on_thread[SERVER_THREADS];
    _Atomic uint64_t session_bytes; /* of unfinished requests */
    _Atomic uint64_t own_bytes;     /* queues and replies */
    uint32_t connections_most;      /* as configured, and as descriptors allow */
    _Atomic uint64_t refused, disconnected, policy[4], hostile;
    /* live keys: control writes, publish threads read */
    _Atomic uint64_t alert, act;
    _Atomic int default_policy;
    _Atomic int64_t login_timeout;
    _Atomic int32_t day; /* the open date of the default calendar */
    pthread_mutex_t last_lock;
    char last[200];
    bool started, quiet;
    uint64_t alarmed_disconnected;
};

int publisher_work(void *publisher);
/* What its publishers have sent so far is in the journal (or the appender took nothing for 50 ms):
 * before control is asked for what has to stand behind it. Its thread. */
void publisher_settle(struct publisher *p);
/* The connection of that number, also a dead one; NULL: none. */
struct connection *publisher_find(struct publisher *p, uint64_t id);
void publisher_grave(struct connection *c); /* it is dead: buried at the end of the turn */
bool publisher_open(struct server *s, unsigned index, struct err *err);
void publisher_close(struct publisher *p);
/* As the lanes' are made; the sink and its arg are to be set by others. */
void publisher_fanout(struct publisher *p, struct fanout_config *out);
/* Any thread. */
const char *publisher_calendar_of(struct publisher *p, const char *table);
extern const struct thread_ops publisher_ops;

/* A connection comes: false, its address has too many that did not log in. It has logged in, or is
 * gone before. */
#define STRANGERS_LEAST 16
bool server_stranger(struct server *s, const struct address *from);
void server_known(struct server *s, const struct address *from);

/* Bytes that all connections hold now: messages, unfinished requests, replies, queues. */
uint64_t server_memory(struct server *s);
void server_note(struct server *s, const struct connection *c, const char *why);
