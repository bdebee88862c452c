/* SPDX-License-Identifier: Apache-2.0 */
/*
 * standalone.h - streaming analytics outside of Penstock: a program of one's own loads the same
 * plugins (analytic.h), hands them rows and subscribes its clients to them. Link with
 * -lpenstock-standalone; `penstock-rtp --standalone` is such a program.
 *
 *     static pst_sa_closed *closed = on_close;          // the program's handler, or NULL
 *     struct pst_sa_config c = {.size = sizeof c, .closed = &closed, .message = on_message};
 *     struct pst_sa *sa = pst_sa_open(&c, error, sizeof error);
 *     pst_sa_table(sa, "cpu", columns, 3);
 *     pst_sa_load(sa, "/opt/cpu_stream.so");
 *     int64_t id = pst_sa_subscribe(sa, connection, ".cpu.sub", params);    // "syms", "a,b", NULL
 *     pst_sa_snapshot(sa, id);                          // on_message: PST_SA_STATE
 *     pst_sa_row(sa, "cpu", row);
 *     pst_sa_flush(sa);                                 // on_message: PST_SA_UPDATE
 *     closed(connection);                               // a client is gone
 *
 * CLOSED CONNECTIONS. The program has one variable with the function that it calls when a
 * connection is closed. pst_sa_open puts its own there: it calls what was there before, then the
 * `closed` hooks of plugins, then ends the connection's subscriptions. With `zpc` set it leaves the
 * variable alone, and the program's own handler calls pst_sa_disconnect. A plugin whose hooks say
 * own_close ends its subscriptions itself, by host->disconnect.
 *
 * WHAT IS MISSING. No journal stands behind the rows: host->history refuses, and processors have
 * nowhere to write to (they are not run). Plugins run in the program itself, without a sandbox: one
 * that crashes ends it. Files are trusted as anywhere (owned by root or the user, writable by
 * nobody else).
 *
 * THREADS. One thread makes all calls; one pst_sa in a process. `message` runs inside of them and
 * may call none of these functions.
 */
#ifndef PENSTOCK_STANDALONE_H
#define PENSTOCK_STANDALONE_H

#include <penstock/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pst_sa;

typedef void pst_sa_closed(int64_t connection);

enum pst_sa_kind {
    PST_SA_STATE = 1, /* a snapshot: the whole of a subscription's state */
    PST_SA_UPDATE,    /* what changed; the whole where the subscription is a full one */
    PST_SA_RESULT,    /* of pst_sa_call */
    PST_SA_LOG,       /* a line of text, of no connection */
    PST_SA_DEBUG
};
struct pst_sa_message {
    uint32_t size, kind;
    int64_t connection, id; /* id: of the subscription */
    const uint8_t *table;   /* a serialized kdb+ table, keyed where there is a key */
    uint64_t bytes;
    uint32_t rows;
    const char *text; /* of a line */
};

struct pst_sa_config {
    uint32_t size;          /* of this struct */
    uint32_t zpc;           /* 1: *closed stays as it is */
    pst_sa_closed **closed; /* the program's variable; NULL: it has none */
    void (*message)(void *arg, const struct pst_sa_message *);
    void *arg;
    const char *const *options; /* of plugins: name, value, …, NULL. May be NULL */
    uint32_t no_builtin;        /* 1: without the analytics that Penstock brings along */
    uint32_t reserved;
    const char *journal; /* a directory with log files to be read by pst_sa_read; NULL: none */
    const char *prefix;  /* of their names; NULL: "log" */
};

/* NULL: `error` is one sentence. */
struct pst_sa *pst_sa_open(const struct pst_sa_config *, char *error, uint32_t room);
void pst_sa_close(struct pst_sa *);              /* plugins flush; the handler is given back */
const char *pst_sa_error(const struct pst_sa *); /* of the last call that failed */

/* A plugin. 0, or -1. */
int pst_sa_load(struct pst_sa *, const char *file);
/* A table, time timestamp and sym symbol first, before rows of it. 0, or -1. */
int pst_sa_table(struct pst_sa *, const char *name, const struct pst_column *, uint32_t n);
/* One row: a value for each column; texts are copied. Handed out by pst_sa_flush, or when many have
 * come. 0, or -1. */
int pst_sa_row(struct pst_sa *, const char *table, const struct pst_value *row);
/* Lines of CSV, the first one names columns (as penstock publish). How many rows, or -1. */
int64_t pst_sa_csv(struct pst_sa *, const char *table, const char *text, uint64_t len);
void pst_sa_flush(struct pst_sa *);
/* Frames of the journal, about a millisecond's worth: how many; 0: that is all for now. */
uint32_t pst_sa_read(struct pst_sa *);

/* params: name, text, …, NULL, as on a command line (lists with commas). The subscription's id, or
 * -1. */
int64_t pst_sa_subscribe(struct pst_sa *, int64_t connection, const char *name,
                         const char *const *params);
int pst_sa_snapshot(struct pst_sa *, int64_t id);    /* 0: PST_SA_STATE was sent; -1 */
int pst_sa_unsubscribe(struct pst_sa *, int64_t id); /* 0; -1: there is none */
/* A function of a plugin; its table comes as PST_SA_RESULT. 0, or -1. */
int pst_sa_call(struct pst_sa *, int64_t connection, const char *name, const char *const *params);
/* The clean-up for a connection that was closed: with zpc, called by the program's own handler. */
void pst_sa_disconnect(struct pst_sa *, int64_t connection);
/* Runs timers that are due: ns until the next one; INT64_MAX: none. */
int64_t pst_sa_timers(struct pst_sa *);
void pst_sa_debug(struct pst_sa *, int on);
/* Analytics, functions and their parameters, as JSON (rtp_wire.h: READY); free() it. */
char *pst_sa_list(struct pst_sa *);

#ifdef __cplusplus
}
#endif
#endif
