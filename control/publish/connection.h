/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection.h - one client of the IPC server, from its accept to its end. Private to
 * control/publish/; everything here is its publish thread's, but what `registry` guards.
 *
 *   SNIFF ──► (HANDSHAKE) ──► LOGIN ──► AUTH ──► OPEN ──► closed
 *     first byte: TLS or not    session.h   auth.h      requests and data
 *
 * REQUESTS are handled in order; each sync one gets exactly one response. What cannot be answered
 * at once holds the connection: its message stays in the session (`held`), nothing more is read,
 * and it goes on when the answer has come (a query), there is room (the inject ring), or the
 * journal has come so far. Only updates do not wait for each other: their acknowledgements stand in
 * `ack`, a queue of its own, and are sent in order.
 *
 * MEMORY: an idle connection is a few hundred bytes. The session's buffer grows with bytes that
 * came and is trimmed when it is empty; a connection that would pass ipc.memory is closed.
 */
#pragma once

#include "address.h"
#include "auth.h"
#include "kdb/session.h"
#include "publish/answer.h"
#include "publish/consumer.h"
#include "publish/fanout.h"
#include "byte_stream.h"
#include "users.h"

struct job;
struct publisher;
struct stream_member;

enum watch_kind { /* first member of everything that stands in a thread's epoll */
                  WATCH_INBOX,
                  WATCH_LISTENER,
                  WATCH_AUTH,
                  WATCH_ANSWERS,
                  WATCH_BELL,
                  WATCH_CONNECTION
};

enum door { DOOR_TICKERPLANT, DOOR_RDB, DOOR_HDB, DOOR_UNIX, DOORS };
const char *door_name(enum door p);

enum connection_state {
    CONNECTION_SNIFF,
    CONNECTION_HANDSHAKE,
    CONNECTION_LOGIN,
    CONNECTION_AUTH,
    CONNECTION_OPEN,
    CONNECTION_CLOSED
};

/* A subscription as it was asked for; replayed in order wherever it is to stand (a lane's fan-out,
 * catchup's). The texts of `spec` lie behind it. */
struct subscription {
    struct subscription *next;
    size_t bytes;       /* of this copy */
    uint64_t id;        /* what the client knows it by */
    uint64_t fanout_id; /* in the fan-out where it stands */
    uint64_t from;      /* its first position; what it has been given is below the consumer's */
    bool heartbeat;
    struct fanout_spec spec;
};
struct subscription *subscription_copy(const struct subscription *s);
void subscription_free(struct subscription *s);

struct ack { /* of an update, or of .pst.wait */
    uint64_t ticket, position;
    uint8_t level; /* enum kdb_level */
    bool taken;    /* position is known */
    bool sync;     /* an answer is due */
    bool pst;      /* the answer is the position; else :: */
    bool failed;   /* why: text */
    char *text;
};

struct connection {
    enum watch_kind watch;
    struct publisher *t;
    uint64_t id;
    struct connection *next, *prev;      /* all of the thread; registry */
    struct connection *bucket;           /* by id */
    struct connection *later, **earlier; /* of those that said nothing yet; earlier NULL: not one */
    bool drained;                        /* a read got all that there was */
    size_t read_most;                    /* bytes that the last read got, or twice its room */
    bool choked;                         /* its answers wait: nothing more is read */
    enum connection_state state;
    enum door port;
    struct stream stream;
    struct kdb_session session;
    struct address from;
    const struct user *user;
    char tried[USER_NAME_MAX + 1]; /* the name that came with the login */
    enum level level;              /* of a unix peer */
    int64_t denied_at;             /* monotonic: a right was missing, and it was logged */
    int64_t since, deadline;
    uint32_t events; /* asked of epoll */
    uint8_t capability;
    gid_t gid;    /* of a unix peer */
    bool started; /* the session is */
    uint64_t own_bytes;
    bool registered; /* in epoll */

    /* input */
    bool is_held, held_waits; /* a request that waits: for room; or for an answer, acks, a point */
    bool eof;
    struct kdb_event held;
    uint64_t answer; /* id of the one that is waited for; 0: none */
    uint64_t started_sub;
    struct ack *ack; /* a ring */
    uint32_t ack_room, ack_head, ack_count;
    uint64_t session_bytes; /* counted against the memory of all */

    /* output */
    struct consumer out;
    bool blocked; /* the socket takes no more */
    bool again;   /* it had its share of this turn */
    int64_t blocked_since, sent_at;
    int policy; /* enum consumer_policy; -1: the user's or the configuration's */

    /* data */
    struct subscription *sub, **sub_last;
    uint32_t nsubs;
    uint64_t sub_bytes; /* what they hold, about; part of own_bytes */
    uint64_t next_sub;
    unsigned lane;
    bool live;            /* its subscriptions stand in the lane */
    struct job *job;      /* catching up */
    struct consumer hold; /* live data behind the join, while the job ends */
    bool joining;
    bool notices; /* it has used .pst.sub: it knows .pst.notice */
    bool conflating;
    bool heartbeats, awaits_start, wants_join;
    bool positions;          /* it asked for notices of positions behind its data */
    uint64_t told;           /* the last of these */
    bool blocked_or_unacked; /* the peer owes something: is it there? */
    uint64_t join_at;

    /* streaming analytics: streams.h */
    struct stream_member *streams;
    uint32_t nstreams;
    uint64_t stream_token; /* of the ask that is waited for; 0: none */
    int64_t stream_ref;    /* the client's number of it */
    bool stalled;          /* some stand still */

    /* lists of the thread */
    bool is_dirty, is_ready, is_waiting;
    struct connection *dirty, *ready, *waiting;
    char why[160]; /* it is to be closed: the reason */
    bool by_peer;  /* it ended the connection, or the network */
    bool dead, is_grave;
    struct connection *grave;

    /* totals */
    uint64_t requests, updates, update_bytes, received;
    /* figures for others, relaxed; texts under the registry's lock */
    _Atomic uint64_t f_lag_bytes, f_lag_messages, f_sent_messages, f_sent_bytes, f_sent_rows,
        f_behind, f_peak;
    _Atomic uint32_t f_state; /* enum client_state */
    _Atomic uint32_t f_policy;
    _Atomic bool f_slow;
    _Atomic int64_t f_blocked; /* ns since the socket took something */
    char t_user[64], t_tables[160], t_streams[160], t_stream[64];
};
enum client_state { /* shown */
                    CLIENT_LOGIN,
                    CLIENT_IDLE,
                    CLIENT_LIVE,
                    CLIENT_CATCHUP,
                    CLIENT_CONFLATING,
                    CLIENT_SKIPPING
};

/* A new descriptor, of this thread from now on. Closes it when it cannot be. */
void connection_open(struct publisher *t, int fd, enum door port, const struct address *from,
                     gid_t gid);
/* Something is there to be read, or it may go on. False: no more for now. */
void connection_input(struct connection *c);
void connection_output(struct connection *c);
/* The one that has said nothing for longest, of those of that address unless NULL, makes room for
 * another. False: there is none. */
bool connection_evict(struct publisher *t, const struct address *from);
/* EPOLLIN, EPOLLHUP and the like. */
void connection_event(struct connection *c, uint32_t events);
void connection_trim(struct connection *c);
#define READ_KEPT (16u << 10) /* of an idle session */
/* Marks it; it is taken apart at the end of the turn (publisher_grave, connection_bury). */
__attribute__((format(printf, 2, 3))) void connection_kill(struct connection *c, const char *fmt,
                                                           ...);
void connection_bury(struct connection *c);
/* Bytes of its own, malloc'ed; freed once sent. */
void connection_send(struct connection *c, uint8_t *bytes, size_t len);
void connection_dirty(struct connection *c);
void connection_ready(struct connection *c);
void connection_waiting(struct connection *c);
void connection_events(struct connection *c);
void connection_figures(struct connection *c);
void connection_authenticated(struct publisher *t, struct auth_result *r);

/* ---- dispatch.c: requests ---- */

/* The message of c->held. True: done with it; false: it waits (is_held stays). */
bool dispatch_request(struct connection *c);
void dispatch_answered(struct connection *c, struct answer *a);
/* The job knows where its data begins: the answer to .pst.sub is due. */
void dispatch_started(struct connection *c, uint64_t position);
/* Control has ended the date, or says why not. */
void dispatch_ended(struct connection *c, const char *why);
/* Acknowledgements that are due. True: some still wait. */
bool dispatch_acks(struct connection *c);
/* Does one wait that will end by itself? Not a .pst.wait for what is not in the journal yet. */
bool dispatch_acks_open(const struct connection *c);

/* ---- subscribe.c: what a connection gets ---- */

struct kdb_request;
struct access_entry;
/* An entry of the access log about this connection; everything else is left out. */
struct access_entry connection_entry(const struct connection *c, int event);
/* Adds s (taken over in any case) and puts it where it belongs. start: where its data begins. */
enum start_kind { START_LIVE, START_POSITION, START_DAY, START_BEGIN };
bool subscribe_add(struct connection *c, struct subscription *s, enum start_kind start,
                   unsigned lane, struct err *err);
void subscription_rights(struct fanout_rights *r, const struct user *u);
/* May the user that it has now still read all of it? */
bool subscribe_allowed(const struct connection *c);
/* id UINT64_MAX: all. */
bool subscribe_remove(struct connection *c, uint64_t id);
void subscribe_end(struct connection *c); /* it closes */
/* The policy is due. */
void subscribe_policy(struct connection *c);
enum consumer_policy subscribe_policy_of(const struct connection *c);
/* The job has news: messages, its start, near, done. */
void subscribe_job(struct connection *c);
/* Behind an output that emptied the queue. */
void subscribe_drained(struct connection *c);
/* All consumers of a lane that was lapped. */
void subscribe_lapped(struct publisher *t, unsigned lane);
/* Sink of the lanes' fan-outs. */
void subscribe_sink(void *arg, void *consumer, struct message *m);
void subscribe_failed(void *arg, void *consumer, uint64_t id, const char *why);
