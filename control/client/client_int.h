/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_int.h - what the files of libpenstock share. penstock/client.h is the manual.
 *
 *   client.c   a client, its errors, its addresses        wire.c     one socket, plain or TLS
 *   link.c     connecting, sending, receiving             publish.c  rows, tickets
 *   query.c    calls that wait for their answer           rows.c     values of rows
 *   stream.c   streaming analytics
 *   feed.c     subscriptions over the network             shared.c, shared_attach.c
 *                                                                    the journal's ring
 *
 * Nothing here locks: a client is one thread's. Only `wake` is written elsewhere.
 */
#pragma once

#include <openssl/ssl.h>
#include "core/base.h"
#include "core/clock.h"
#include "kdb/session.h"
#include "penstock/client.h"

struct address {
    char *text; /* as given */
    char *host; /* or path */
    char *port; /* NULL: a unix socket */
    bool tls;
};

/* ---- wire.c ---- */

struct wire {
    int fd;
    SSL *ssl;
    short wants; /* POLLIN, POLLOUT: beside POLLIN for reading */
};
enum wire_verdict { WIRE_OK, WIRE_AGAIN, WIRE_END };
/* Begins; WIRE_AGAIN: wire_connected tells. err: why not. */
bool wire_connect(struct wire *w, const struct address *a, struct err *err);
enum wire_verdict wire_connected(struct wire *w, struct err *err);
bool wire_tls(struct wire *w, SSL_CTX *ctx, const char *host, bool verify, struct err *err);
enum wire_verdict wire_handshake(struct wire *w, struct err *err);
enum wire_verdict wire_read(struct wire *w, void *to, size_t room, size_t *n, struct err *err);
enum wire_verdict wire_write(struct wire *w, const void *from, size_t len, size_t *n,
                             struct err *err);
void wire_close(struct wire *w);

/* ---- rows.c ---- */

struct table {
    struct pst_table pub; /* first: what users hold */
    struct table *next;
    char *name;
    struct pst_table_column *column;
    const struct schema *schema; /* of a frame's rows */
};
struct table *table_make(const char *name, uint32_t len, unsigned ncolumns);
void tables_free(struct table *t);

struct shared;
struct pst_rows {
    const struct shared *shared; /* rows of a frame; NULL: of a table */
    struct pst_client *client;   /* of a frame's rows */
    const uint8_t *at, *end;     /* of its records */
    struct table *table;
    uint32_t from, nrows; /* of a table: those before `from` are passed over */
    struct kdb_object *column;
    uint32_t **offset; /* of a column's texts, made when first asked for */
    uint32_t ncolumns;
    uint8_t *bytes; /* of an answer that is its own */
};
/* A table's object as rows; its struct table is looked up in *tables, or added. NULL name: "". */
bool rows_of_table(struct pst_rows *r, struct table **tables, const char *name, uint32_t len,
                   const struct kdb_object *o, struct err *err);
void rows_clear(struct pst_rows *r);

/* ---- link.c ---- */

enum link_state { LINK_DOWN, LINK_CONNECTING, LINK_TLS, LINK_LOGIN, LINK_UP };

struct pending { /* a message to send, and the answer it waits for */
    uint8_t *bytes;
    size_t len;
    uint64_t ticket; /* 0: a call */
};
enum role { ROLE_NONE, ROLE_PUBLISHER, ROLE_SUBSCRIBER };

struct batch; /* publish.c */
struct feed;  /* feed.c */
struct client_streams;

struct call { /* the one call under way (query.c) */
    bool waiting, done;
    int code;
    /* takes the answer; called once with the object, or with NULL and a code */
    int (*take)(struct pst_client *c, void *arg, const struct kdb_object *o);
    void *arg;
};

struct failure {
    uint64_t ticket;
    int code;
    char text[300];
};
#define FAILURES 256u

struct pst_client {
    struct pst_options o; /* texts are copies */
    struct address *address;
    unsigned naddresses, next_address, connected_to;
    char error[600];
    int wake_fd;
    enum role role;
    SSL_CTX *tls;

    /* link */
    enum link_state state;
    struct wire wire;
    struct kdb_session session;
    bool session_on;
    int64_t attempt_at, attempt_ends, up_since; /* monotonic ns */
    int attempts;                               /* in a row, without success */
    bool ever;                                  /* was connected once */
    uint8_t login[KDB_LOGIN_MAX];
    size_t login_len, login_sent;
    uint64_t connections; /* times connected */

    /* what is to be sent, was sent, awaits an answer: a ring */
    struct pending *pending;
    uint32_t pending_room, pending_head, pending_count;
    uint32_t sent;    /* of pending: entirely handed to the socket */
    size_t sent_part; /* bytes of the next */
    size_t queued;    /* bytes of all */

    struct call call;
    struct batch *batch;
    uint64_t tickets, ended; /* last given, last ended */
    uint64_t spoken;         /* failures up to this ticket were told by pst_wait */
    uint64_t position;
    struct failure failure[FAILURES];
    uint64_t failures;

    struct table *tables;
    struct feed *feed;
    struct client_streams *streams;
    struct shared *shared;
};

__attribute__((format(printf, 3, 4))) int client_fail(struct pst_client *c, int code,
                                                      const char *fmt, ...);

/* Queues a message; takes bytes. */
int link_queue(struct pst_client *c, uint8_t *bytes, size_t len, uint64_t ticket);
struct pending *link_pending(struct pst_client *c, uint32_t i);
/* Does what can be done; waits until `until` (monotonic ns) for something to be possible. 0, -EINTR
 * (woken), -ENOTCONN (given up). A connection that ended is noted and dealt with (publish_lost, or
 * the feed's flag); an error of it stands in `error`. */
int link_step(struct pst_client *c, int64_t until);
void link_down(struct pst_client *c, int code, const char *why);
int64_t deadline_of(int timeout_ms);

/* Responses of a publisher, in order. */
void publish_response(struct pst_client *c, const struct kdb_object *o);
/* The connection ended: what becomes of the pending. */
void publish_lost(struct pst_client *c, const char *why);
void publish_free(struct pst_client *c);

/* Sends a sync request (an object in o, which is freed) and waits until take has its answer. */
int call_wait(struct pst_client *c, struct kdb_out *o, size_t begun, int64_t until,
              int (*take)(struct pst_client *, void *, const struct kdb_object *), void *arg);

/* ---- stream.c ---- */

struct client_streams;
void streams_free(struct client_streams *f);
void streams_lost(struct pst_client *c, const char *why);

void feed_free(struct feed *f);
int feed_next(struct pst_client *c, struct pst_event *e, int64_t until);
void feed_lost(struct pst_client *c, const char *why);

/* ---- shared.c ---- */

struct shared *shared_open(struct pst_client *c, const struct pst_subscription *s, struct err *err);
void shared_close(struct shared *s);
int shared_next(struct pst_client *c, struct pst_event *e, int64_t until);
bool shared_valid(struct pst_client *c);
/* Rows of a frame. */
bool shared_first(const struct pst_rows *r, struct pst_row *row);
bool shared_row(const struct pst_rows *r, struct pst_row *row);
const char *shared_symbol(const struct shared *s, uint32_t id, uint32_t *len);
