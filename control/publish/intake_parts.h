/* SPDX-License-Identifier: Apache-2.0 */
/* intake_parts.h - what the intake*.c files share; and upstream*.c, which converts with an intake
 * of its own but sends by itself. */
#pragma once

#include "core/atomics.h"
#include "dataplane/batch.h"
#include "intake.h"
#include "intake_symbols.h"
#include "storage/kdb_rows.h"

#define INTAKE_TABLES_HASH  8192u
#define INTAKE_MESSAGE_MAX  (1ull << 30) /* bytes of records of one message */
#define INTAKE_BATCH        ROWS_FRAME_TARGET
#define INTAKE_KEEP         (4u << 20) /* bytes of records kept for the next message */
#define INTAKE_COLUMNS_TEXT 300

struct intake_slot { /* a table */
    const struct schema *schema;
    const char *refused;
    uint8_t *blank; /* a record of nulls, schema->fixed bytes */
};

/* Times of day of a calendar that has one open date: offsets in [lo, hi) are behind `base`. */
struct intake_span {
    int64_t base, lo, hi;
};

struct intake {
    struct inject_rows w;
    struct intake_config cfg;
    struct intake_symbols symbols;
    struct intake_slot slot[TABLE_MAX];
    unsigned nslots;
    uint16_t hash[INTAKE_TABLES_HASH]; /* slot + 1 */
    /* the message under construction, then what of it waits */
    uint8_t *rec;
    size_t used, room, sent;
    uint32_t rows;
    bool spoilt; /* the appender's table ran full under it: its rest goes nowhere */
    int64_t now;
    struct kdb_update update;
    struct kdb_in *in;
    /* tickets */
    uint64_t message;           /* taken last */
    uint64_t staged_from;       /* messages with rows in the batch under construction */
    uint64_t offered, answered; /* batches */
    uint64_t done, position;    /* messages known to be answered; the journal behind them */
    bool flush;                 /* asked for, no room yet */
    bool restart;               /* texts of a refused batch were not kept: numbering anew */
    uint32_t days;              /* version seen */
    struct intake_span span[DAYS_CALENDARS];
    struct intake_flight {
        uint64_t ticket;
        uint64_t from, to; /* messages with rows here */
        uint64_t complete; /* the last that is whole behind it */
    } flight[INTAKE_BATCHES];
    struct intake_lost {
        uint64_t from, to;
    } lost[INJECT_REFUSALS];
    uint64_t nlost;
    _Atomic uint64_t count_messages, count_rows, count_refused, count_busy, count_bytes;
};

pst_inline void count_plus(_Atomic uint64_t *c, uint64_t n)
{
    store_relaxed(c, load_relaxed(c) + n);
}

/* ---- intake.c: the steps of an update ---- */

/* The table as updates find it; one that came after intake_open is taken in. NULL: no memory. */
const struct intake_slot *intake_table_slot(struct intake *in, const struct schema *s);

/* May a message be looked at? */
bool intake_begin(struct intake *in, int64_t now);
/* Builds the rows of one table. */
bool intake_add(struct intake *in, const struct user *user, const char *table, uint32_t len,
                const struct kdb_object *data, struct err *err);
/* All is built: it goes, or err (then intake_refused). */
enum intake_verdict intake_go(struct intake *in, uint64_t *ticket, struct err *err);
enum intake_verdict intake_refused(struct intake *in, const struct user *user, const char *table,
                                   uint32_t len, const struct kdb_object *data, struct err *err);

/* ---- intake_rows.c: values to records ---- */

/* Appends the rows of one update to in->rec. False: err. */
bool intake_rows(struct intake *in, const struct intake_slot *t, const struct kdb_object *data,
                 struct err *err);
/* Room for n more bytes at the end of rec; NULL: no memory, or INTAKE_MESSAGE_MAX. */
uint8_t *intake_room(struct intake *in, size_t n);
/* `offset` ns of a day of calendar c as an instant; false: it lies outside. */
bool intake_of_day_slow(struct intake *in, unsigned c, int64_t offset, int64_t *utc);
pst_inline bool intake_of_day(struct intake *in, unsigned c, int64_t offset, int64_t *utc)
{
    const struct intake_span *s = &in->span[c];
    if (pst_likely(offset >= s->lo && offset < s->hi)) {
        *utc = s->base + offset;
        return true;
    }
    return intake_of_day_slow(in, c, offset, utc);
}

/* ---- intake_columns.c: whole vectors of the right types ---- */

enum intake_fast { INTAKE_FAST, INTAKE_OTHER, INTAKE_WRONG };
/* OTHER: not of the shapes that this knows; nothing was done. WRONG: err. */
enum intake_fast intake_fast_row(struct intake *in, const struct intake_slot *t,
                                 const struct kdb_object *data, struct err *err);
enum intake_fast intake_fast_columns(struct intake *in, const struct intake_slot *t,
                                     const struct kdb_object *data, struct err *err);

/* ---- intake_send.c: records to batches ---- */

/* For who sends by itself: of the records behind in->sent the first whose texts have numbers now,
 * at most `max` bytes of them: *n, *bytes. Texts that the table refuses become null. False: texts
 * fill the batch, it must go first. */
bool intake_numbered(struct intake *in, uint32_t max, uint32_t *n, uint32_t *bytes);
/* Forgets the next n records. */
void intake_drop(struct intake *in, uint64_t n);
/* Where the next n records end in in->rec. */
size_t intake_after(const struct intake *in, uint64_t n);

/* What of the message is not staged yet goes there as room comes. True: nothing is left. */
bool intake_send(struct intake *in);
/* The batch under construction goes into the ring; false: no room now. */
bool intake_offer(struct intake *in);
