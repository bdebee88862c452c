/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_parts.h - what the upstream*.c files share; nobody else includes it. */
#pragma once

#include <pthread.h>
#include "channels.h"
#include "core/source.h"
#include "core/thread.h"
#include "daemon.h"
#include "kdb/link.h"
#include "publish/intake_parts.h"
#include "storage/dictionary.h"
#include "storage/kdb_log.h"
#include "upstream.h"
#include "wiring_parts.h"

#define UPSTREAM_SOURCE    40 /* of its frames */
#define UPSTREAM_ANSWER_NS (10 * NS_PER_S)
#define UPSTREAM_SYMBOLS   (1u << 20) /* texts that it may number before it begins anew */

/* ---- state ---- */

enum upstream_mode { UPSTREAM_DOWN, UPSTREAM_KDB, UPSTREAM_PENSTOCK };

struct upstream_counted { /* a table of a tickerplant */
    const struct intake_slot *slot;
    char source[SOURCE_NAME_MAX + 1];
    struct source_progress p; /* where the source stands: day << 40 | rows that are here */
    uint64_t there;           /* the same, of what the present log or stream has shown */
};

/* A table version of a Penstock, as it is laid out here. */
struct upstream_plan {
    const struct schema *from, *to; /* to NULL: left out */
    bool same;
    int16_t source[SCHEMA_COLUMNS_MAX];
};

struct upstream {
    struct daemon *d;
    struct inject q;
    struct intake *in; /* converts, and owns the producer's numbering (in->w) */
    struct thread thread;
    _Atomic bool stop;
    bool running, chained;
    char id[SOURCE_NAME_MAX + 1]; /* name of the source */
    struct kdb_link link;
    int64_t retry_at, heard_at, asked_at; /* monotonic */
    enum upstream_mode mode;
    int32_t open[DAYS_CALENDARS]; /* dates that are open here, marks on their way counted */
    struct err why;
    /* registration */
    int64_t register_at;
    /* of a tickerplant */
    struct upstream_counted *counted;
    unsigned ncounted;
    int32_t day; /* its date */
    char log[KDB_LOG_PATH];
    bool has_log;
    bool was_up;     /* since this start */
    int64_t lost_at; /* when the connection was lost; UTC */
    /* of a Penstock */
    struct dictionary dict;
    bool has_dict;
    uint32_t *map; /* its symbol id -> 1 + number here */
    uint32_t map_room;
    struct upstream_plan *plan[TABLE_MAX];
    struct source_progress at; /* the journal here has everything before it */
    uint64_t seen;             /* its journal's position that we have read to */
    int64_t said_at;
    /* figures: the thread writes, control reads */
    pthread_mutex_t lock; /* address, problem, tables, channel */
    char address[CHANNEL_TEXT], problem[300], left_out[300], channel_problem[300];
    _Atomic int shown_mode;
    _Atomic int64_t down_since;
    _Atomic uint64_t rows, frames, refused, connects, foreign_marks, position;
};

/* ---- upstream.c ---- */

bool upstream_stopping(struct upstream *u);
bool upstream_wants(const struct upstream *u, const char *table);
/* The table as it is here: declared, or taken over now. NULL: left out, and said so. `loose`: time
 * may be of another type there. */
const struct schema *upstream_table(struct upstream *u, const struct schema *there, bool loose);
void upstream_left_out(struct upstream *u, const char *table, const char *why);
/* Room for n bytes in the ring; false: stopping. */
bool upstream_room(struct upstream *u, uint64_t n);
/* A batch of records, behind its derived record (source filled in here). */
bool upstream_block(struct upstream *u, const char *source, const void *records, uint32_t bytes,
                    uint32_t n, uint16_t day, struct source_point from, struct source_point to);
/* The records that in->rec still holds, from a source whose position counts them: they bring it to
 * `to`. p moves along. */
bool upstream_records(struct upstream *u, const char *source, struct source_progress *p,
                      uint64_t to, uint16_t day);
/* Dates up to `day` of calendar c end here, where the instance is chained. */
bool upstream_end_day(struct upstream *u, unsigned c, int32_t day);
bool upstream_mark(struct upstream *u, enum mark_type type, const char *json, uint32_t len);
/* A row of table gap that brings the source u->id from u->at to `to`. */
bool upstream_gap(struct upstream *u, const char *reason, uint64_t first, uint64_t last,
                  const char *lines, uint64_t to);
void upstream_where(struct upstream *u, const char *source, struct source_progress *out);
uint32_t upstream_symbol(struct upstream *u, const char *text, uint32_t len);

/* ---- upstream_tick.c, upstream_penstock.c ---- */

/* Subscribes. False: err; the connection is closed then. */
bool tick_begin(struct upstream *u, struct err *err);
bool tick_message(struct upstream *u, const struct kdb_received *m, struct err *err);
/* *is: whether the other end is a Penstock; false with *is: err. */
bool penstock_begin(struct upstream *u, bool *is, struct err *err);
bool penstock_message(struct upstream *u, const struct kdb_received *m, struct err *err);
void penstock_idle(struct upstream *u); /* now and then: the point moves on without rows too */
