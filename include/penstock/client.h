/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h - libpenstock: publish rows to a Penstock, subscribe to its rows, query it.
 *
 *     cc app.c $(pkg-config --cflags --libs penstock)
 *
 * CLIENTS. A pst_client is one conversation. What it does first decides what it is: a publisher
 * (which may also query, and ask for the watermark) or a subscriber (which does nothing else: open
 * another client for its queries).
 *
 * THREADS. The library starts none. A client belongs to one thread at a time; different clients
 * are independent of each other, in any number of threads. pst_wake alone may be called from any
 * thread, and from a signal handler. Callbacks run inside calls of their own client, never
 * elsewhere; they may call nothing of that client but pst_wake.
 *
 * ADDRESSES. One text, parted by commas, tried in order, again and again from the first:
 *     /run/penstock/nyc1.ipc    the daemon's unix socket on this host; your uid is your user
 *     10.0.0.7:5010             TCP
 *     tls:tp.example.com:5010   TCP with TLS; the certificate is checked against ca_file or the
 *                               system's, and against the name
 * When a connection ends, the next attempt follows at once, later ones each reconnect_ms.
 *
 * BLOCKING. Calls with timeout_ms wait at most so long (0: not at all, negative: for ever); the
 * others do not wait. Nothing is sent or received but inside calls: an application that does other
 * things waits on pst_fd (readable or writable as pst_wants says) or calls pst_step now and then.
 *
 * ERRORS. Functions that return int: >= 0 is success, else -errno of the list below; those that
 * return a pointer: NULL. pst_error(client) is the sentence for the last failure of that client,
 * pst_open_error() for pst_open's (of the calling thread). Both are the library's and stay until
 * the next call.
 *     -EINVAL        an argument is wrong; nothing was done
 *     -ETIMEDOUT     the time is over; the call may be repeated
 *     -EINTR         pst_wake
 *     -ENOTCONN      not connected now, and no reconnect_limit attempt is left
 *     -ENOBUFS       queue_bytes wait to be sent already: pst_step, then again
 *     -EREMOTEIO     the daemon refused: the sentence is its own
 *     -ECONNABORTED  the connection ended before the answer came: it is not known whether the
 *                    daemon took it
 *     -EBUSY         this client is of the other kind
 *     -EPROTO        the daemon sent what cannot be understood; the connection was closed
 *     -EACCES        user or password were refused, or this user may not attach
 *     -ENOMEM
 *
 * TIMES are nanoseconds since 2000-01-01T00:00Z (pst_now). Types, widths and nulls: types.h.
 * POSITIONS name a place in the daemon's journal: everything below one is in order and final, but
 * see PST_REWOUND.
 */
#ifndef PENSTOCK_CLIENT_H
#define PENSTOCK_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "penstock/types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PST_CLIENT_VERSION 1

typedef struct pst_client pst_client;

/* ---- a conversation ---- */

enum pst_level {
    PST_SUBMITTED, /* handed to the disk: survives the daemon's crash */
    PST_WRITTEN,   /* written by the kernel */
    PST_DURABLE    /* synced: survives a power cut */
};

struct pst_options {
    size_t size;           /* sizeof(struct pst_options): which members you know */
    const char *addresses; /* see above; NULL: the only *.ipc in /run/penstock */
    const char *user, *password;
    const char *ca_file; /* PEM of those who sign the daemon's certificate; NULL: the system's */
    bool tls_unverified; /* take any certificate: for tests */
    int connect_ms;      /* an attempt takes at most so long; 0: 5,000 */
    int reconnect_ms;    /* between attempts; 0: 1,000; negative: do not reconnect */
    int reconnect_limit; /* attempts in a row, 0: no limit */
    size_t queue_bytes;  /* of what waits to be sent or acknowledged; 0: 64 MiB */
    size_t batch_rows;   /* pst_publish_row sends at so many rows; 0: 1,000 */
    bool resend;         /* publish again what a lost connection left unacknowledged: each row
                          * at least once. Otherwise: at most once, and you are told which */
    void *arg;           /* of the callbacks */
    /* Publisher: each ticket's end, in order. code 0: position has reached its level; -EREMOTEIO:
     * refused as `text` says; -ECONNABORTED: not known. */
    void (*on_ack)(void *arg, uint64_t ticket, int code, uint64_t position, const char *text);
};
#define PST_OPTIONS_INIT                                                                           \
    {                                                                                              \
        .size = sizeof(struct pst_options)                                                         \
    }

/* Connects: waits until one address answers, connect_ms each. NULL: none did; pst_open_error says
 * why. Everything in options is copied. */
pst_client *pst_open(const struct pst_options *options);
const char *pst_open_error(void);
/* Sends nothing more: pst_flush and pst_wait before, if rows matter. NULL is allowed. */
void pst_close(pst_client *c);
const char *pst_error(const pst_client *c);
const char *pst_address(const pst_client *c); /* the one connected now, "" when none */

/* Ends the wait of the client's present or next call that waits: it returns -EINTR. Any thread,
 * signal handlers; the client must not be closed meanwhile. */
void pst_wake(pst_client *c);
/* A descriptor to poll: readable (POLLIN) or writable as pst_wants says; it may change with every
 * call. -1: nothing to poll but time (reconnecting, shared memory). */
int pst_fd(const pst_client *c);
short pst_wants(const pst_client *c); /* POLLIN, POLLOUT */
/* Sends and receives what can be without waiting longer than timeout_ms for it; reconnects when it
 * is time. A subscriber calls pst_next instead. */
int pst_step(pst_client *c, int timeout_ms);

int64_t pst_now(void);

/* ---- publishing ---- */

/*
 * A row, its values in the order of the table's columns, by a format of one letter each (those of
 * `meta`; types.h):
 *     b boolean int    x byte int    h short int    i int int32_t       j long int64_t
 *     e real double    f float double               c char int
 *     s symbol const char * (NULL: null symbol)     C string const char *
 *     p timestamp int64_t       n timespan int64_t
 *     m month, d date, u minute, v second, t time: int32_t
 *     g guid const uint8_t[16]
 *     pst_publish_row(c, "trade", PST_DURABLE, &ticket, "psfj", pst_now(), "AAPL", 187.2,
 *                     (int64_t)100)
 * Without the first column (time) the daemon puts the time of arrival. Rows of the same table,
 * format and level travel together: a row is sent when batch_rows are there, at pst_flush,
 * pst_wait, or when another table, format or level follows. ticket (may be NULL): what
 * pst_wait and on_ack name. Rows that travel together share it.
 */
int pst_publish_row(pst_client *c, const char *table, enum pst_level level, uint64_t *ticket,
                    const char *format, ...);

struct pst_column {
    const char *name; /* NULL in all: by order */
    uint8_t type;     /* enum pst_type */
    const void *data; /* `rows` values as a record has them; symbol and string: const char *[] */
};
/* Many rows as columns, in one message. Copied. */
int pst_publish_columns(pst_client *c, const char *table, enum pst_level level, uint64_t *ticket,
                        const struct pst_column *columns, unsigned ncolumns, size_t rows);
/* Sends the rows that wait for company. */
int pst_flush(pst_client *c);
/* Until this ticket and all before it have ended (pst_flush included). 0: all of those that no
 * pst_wait spoke of before have been acknowledged; else what happened to the first that was not. */
int pst_wait(pst_client *c, uint64_t ticket, int timeout_ms);
/* The last ticket that ended (all before it have too), and how far the journal was then. */
uint64_t pst_ended(const pst_client *c);
uint64_t pst_position(const pst_client *c); /* subscriber: behind the last event */

struct pst_watermark {
    uint64_t committed, submitted, written, durable; /* positions */
    int64_t time;                                    /* of the last frame */
};
int pst_watermark(pst_client *c, struct pst_watermark *w, int timeout_ms);
/* Until the journal has reached position at this level. */
int pst_wait_position(pst_client *c, uint64_t position, enum pst_level level, int timeout_ms);

/* ---- rows ---- */

struct pst_table_column {
    const char *name;
    uint8_t type; /* enum pst_type; 15 for kdb+'s datetime, a double of days */
};
struct pst_table {
    const char *name; /* "" for a query's answer */
    unsigned ncolumns;
    const struct pst_table_column *column;
};
/* The number of a column, -1: no such. */
int pst_column_of(const struct pst_table *t, const char *name);

struct pst_rows; /* of an event or a query's answer; of one or several tables */
struct pst_row {
    const struct pst_table *table; /* valid as long as the client (query: the answer) */
    const void *p[2];              /* private, as what follows */
    uint64_t n;
    uint32_t m;
};
/* for (more = pst_first(rows, &row); more; more = pst_next_row(rows, &row)) */
bool pst_first(struct pst_rows *rows, struct pst_row *row);
bool pst_next_row(struct pst_rows *rows, struct pst_row *row);

/* Column i of a row. Integers and times as they are, nulls included; floats and reals rounded. */
int64_t pst_long(const struct pst_rows *rows, const struct pst_row *row, unsigned i);
/* Any number as a double; null: NaN. */
double pst_double(const struct pst_rows *rows, const struct pst_row *row, unsigned i);
/* Symbol, string or char: not NUL-terminated. len 0: null or empty; other types: NULL. */
const char *pst_text(const struct pst_rows *rows, const struct pst_row *row, unsigned i,
                     uint32_t *len);
bool pst_guid(const struct pst_rows *rows, const struct pst_row *row, unsigned i, uint8_t out[16]);
bool pst_is_null(const struct pst_rows *rows, const struct pst_row *row, unsigned i);

/* ---- queries ---- */

/* SQL; *rows is yours, to be given to pst_rows_free, NULL when the answer is no table. */
int pst_query(pst_client *c, const char *sql, struct pst_rows **rows, int timeout_ms);
void pst_rows_free(struct pst_rows *rows);
uint64_t pst_rows_count(const struct pst_rows *rows);

/* ---- subscribing ---- */

enum pst_via {
    PST_VIA_ANY,    /* shared memory where it serves, else the network */
    PST_VIA_SHARED, /* the journal's own ring, mapped read-only: the daemon must be on this host,
                     * and you entitled to every table. Without where, columns, conflate, snapshot
                     */
    PST_VIA_NETWORK
};
enum pst_from {
    PST_FROM_LIVE,
    PST_FROM_DAY,     /* the first row of the day that is open */
    PST_FROM_BEGIN,   /* the first that the log has */
    PST_FROM_POSITION /* `position`: usually an event's, from an earlier run */
};
enum pst_policy {                     /* what to do with a network subscriber that is too slow */
                  PST_POLICY_DEFAULT, /* as the daemon is configured */
                  PST_POLICY_DISCONNECT,
                  PST_POLICY_CATCHUP, /* from the log, at its own pace; nothing is missed */
                  PST_POLICY_CONFLATE,
                  PST_POLICY_SKIP
};
struct pst_subscription {
    size_t size;         /* sizeof(struct pst_subscription) */
    const char *tables;  /* parted by commas; NULL: all */
    const char *syms;    /* parted by commas; NULL: all */
    const char *where;   /* SQL's expression, "price > 10 and size >= 100" */
    const char *columns; /* SQL's list, "time, sym, price * size as notional" */
    enum pst_via via;
    enum pst_from from;
    uint64_t position;
    enum pst_policy policy;
    bool snapshot;  /* first the rows of today, then exactly what follows them */
    bool durable;   /* only rows that are synced */
    bool committed; /* shared memory: rows that no disk has been given yet, too: the quickest */
    bool conflate;
    bool in_place;              /* shared memory: rows are not copied; see pst_still_valid */
    int spin_us;                /* shared memory: how long a wait spins before it naps, default 50;
                                 * negative: it never naps */
    const char *control_socket; /* shared memory: NULL: beside the address's *.ipc, as *.sock */
};
#define PST_SUBSCRIPTION_INIT                                                                      \
    {                                                                                              \
        .size = sizeof(struct pst_subscription)                                                    \
    }

/* Once a client. Returns when the daemon has answered; the stream then survives lost connections
 * and restarts of the daemon: it goes on behind the last row that you were given, without a hole
 * or a repetition, or says what it could not give (PST_LOST, PST_REWOUND). */
int pst_subscribe(pst_client *c, const struct pst_subscription *s, int timeout_ms);
bool pst_is_shared(const pst_client *c);

enum pst_event_kind {
    PST_ROWS,            /* rows */
    PST_END_OF_DAY,      /* date ended */
    PST_END_OF_INTERVAL, /* from, to: times */
    PST_BUFFER_START,    /* a buffering event: text is its id */
    PST_BUFFER_END,
    PST_GAP,          /* network: a feed missed something; text says what */
    PST_LOST,         /* positions [from, to) stand nowhere any more */
    PST_REWOUND,      /* a crash lost what you were given above position `from`; it is void. The
                       * stream goes on at `to` */
    PST_SKIPPED,      /* policy skip: `count` rows of [from, to) were not sent */
    PST_LIVE,         /* what follows is live: the past that you asked for is over */
    PST_NOTICE,       /* another: text is its kind */
    PST_DISCONNECTED, /* text says why; it is tried again */
    PST_CONNECTED     /* again */
};
struct pst_event {
    enum pst_event_kind kind;
    uint64_t position;     /* behind the event, as far as it is known (network: a lower bound) */
    int64_t time;          /* shared memory: of the frame */
    struct pst_rows *rows; /* PST_ROWS: the client's, until its next call */
    int64_t from, to;
    uint64_t count;
    int32_t date;     /* days since 2000-01-01 */
    const char *text; /* the client's, until its next call; "" when there is none */
};
/* 1: *e is the next event. 0: none within timeout_ms. Negative: as above. */
int pst_next(pst_client *c, struct pst_event *e, int timeout_ms);

/*
 * in_place: rows lie in memory that the daemon will overwrite. Take what you need of the event,
 * then ask. true: what you took is right. false: the daemon was a ring's length ahead of you and
 * part of it is rubbish: forget it; the next pst_next gives the same rows again, out of the log.
 * Values may be anything meanwhile, but no call goes out of bounds. Without in_place always true.
 */
bool pst_still_valid(pst_client *c);

/* ---- streaming analytics ---- */

/*
 * A stream is a computation of the daemon's (README, "Streaming analytics"): a name and parameters.
 * What equal streams of all clients share is computed once. A client may have many; it then does
 * nothing else. First comes its state, then exactly what changes it; a new state replaces what you
 * have: behind a lost connection, when the process that computed it has died, when you were too
 * slow for it.
 *
 *     const char *params[] = {"table=trade", "syms=AAPL,MSFT"};
 *     struct pst_stream_options o = PST_STREAM_OPTIONS_INIT;
 *     o.name = "last", o.params = params, o.nparams = 2;
 *     pst_stream *s;
 *     if (pst_stream_open(c, &o, &s, 5000)) …
 *     while (pst_stream_next(c, &e, -1) >= 0)
 *         if (e.kind == PST_STREAM_STATE || e.kind == PST_STREAM_UPDATE) … e.rows
 */
typedef struct pst_stream pst_stream;

struct pst_stream_options {
    size_t size;               /* sizeof(struct pst_stream_options) */
    const char *name;          /* of the analytic: "last" */
    const char *const *params; /* "key=value"; a list's values are parted by commas, \, is one */
    unsigned nparams;
    bool full;              /* the whole state with each change, also of a stream of changes */
    enum pst_policy policy; /* PST_POLICY_DISCONNECT; any other: a new state when you are slow */
    const char *group;      /* of processes; NULL: any that has the analytic */
};
#define PST_STREAM_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .size = sizeof(struct pst_stream_options)                                                  \
    }

/* *s is the client's until pst_stream_close or pst_close. Texts are copied. */
int pst_stream_open(pst_client *c, const struct pst_stream_options *options, pst_stream **s,
                    int timeout_ms);
int pst_stream_close(pst_stream *s);
const char *pst_stream_name(const pst_stream *s);
const char *pst_stream_mode(const pst_stream *s); /* "delta", "full" or "events" */
unsigned pst_stream_keys(const pst_stream *s);    /* the first so many columns are the key */

enum pst_stream_kind {
    PST_STREAM_STATE,        /* rows: all of it; forget what you had */
    PST_STREAM_UPDATE,       /* rows: new ones; with a key: each replaces the one of its key */
    PST_STREAM_NOTICE,       /* what: "moved", "resync"; a state follows. text says why */
    PST_STREAM_ENDED,        /* text says why; nothing follows: pst_stream_close */
    PST_STREAM_DISCONNECTED, /* of the client, all its streams; it is tried again */
    PST_STREAM_CONNECTED     /* again: states follow */
};
struct pst_stream_event {
    enum pst_stream_kind kind;
    pst_stream *stream; /* NULL: of the client */
    uint64_t position;  /* of the journal: everything below it is in what you have now */
    struct pst_rows
        *rows; /* the client's, until its next call; the table's name is the analytic's */
    const char *what, *text; /* the client's, until its next call; "" */
};
/* 1: *e is the next event. 0: none within timeout_ms. Negative: as above. */
int pst_stream_next(pst_client *c, struct pst_stream_event *e, int timeout_ms);

#ifdef __cplusplus
}
#endif
#endif
