/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intake.h - rows that others publish (`.u.upd`, `upd`, `.pst.upd`) into the journal: one message's
 * object into records, records into the inject ring of this publish thread.
 *
 * Source of the shapes: the kdb+ format page, 2.5. Owner: one publish thread; every function is
 * its, but intake_counts. No file, no lock, no wait; memory is taken for messages larger than any
 * before.
 *
 * WHAT A MESSAGE MAY HOLD (storage/kdb_rows.h has the conversions; a value that would not come back
 * the same refuses the message)
 *   a list of atoms (and texts)      one row
 *   a vector                         one row whose values are of one type
 *   a list of vectors (or lists)     columns, in the table's order; an atom stands for all rows
 *   a table, keyed or not, or a dictionary of names    columns by name; those left out are null,
 *                                    `time` left out is the time of arrival
 * Without names and one column short: time is put before the others, the time of arrival, the same
 * for all rows of the message. Without it where the first value already is a time (timestamp,
 * timespan, time, datetime), another column is missing: refused.
 * A null in column time stays null. A row's date is the appender's affair (late rows, open dates).
 *
 * TIMES OF DAY in column time (timespan, time, second, minute) are offsets from the midnight of the
 * trading date that is open, in the zone of the table's calendar: what tick.q's .z.N means. Where
 * dates do not begin at midnight, or two are open in the late window, it is the one of the instants
 * with that reading that lies in an open date, nearest to now. Offsets beyond a day are taken as
 * they are, from the date of now. A column of another name and type timestamp takes them the same
 * way.
 *
 * WHOLE OR NOT AT ALL. Everything is checked and converted before anything is offered. A refused
 * message is counted, logged (error_log.h) and answered by one sentence that names table, row and
 * column and says what to send. Symbols beyond max_new_symbols (a publish thread and day) refuse
 * the message that brings them.
 *   INTAKE_TAKEN    it will be in the journal, in order; *ticket tells when
 *   INTAKE_BUSY     nothing was looked at: the ring is full. Stop reading this connection, call
 *                   intake_step now and then, try the same message again when intake_ready says so
 *   INTAKE_REFUSED  err
 * A message larger than the ring is taken too: its rows wait in this thread's memory and all that
 * comes later is BUSY until they are through.
 * Only if another producer takes the symbol table's last places at the same moment can the appender
 * still refuse: then intake_answer says so. Of a message larger than one batch (64 KiB of records)
 * the batches before may then stand.
 *
 * ROWS WAIT in a batch until intake_flush, or until it is full: call it when no more input is at
 * hand. Tickets are numbers of messages, ascending from 1.
 */
#pragma once

#include <jansson.h>
#include "calendar.h"
#include "core/inject.h"
#include "dataplane/inject_rows.h"
#include "kdb/request.h"

#define INTAKE_RING_BYTES (16u << 20)  /* of the inject ring of a publish thread */
#define INTAKE_SYMBOLS    (256u << 10) /* texts that an intake may number before it begins anew */
#define INTAKE_BATCHES    INJECT_REFUSALS /* in flight, at most */

enum intake_verdict { INTAKE_TAKEN, INTAKE_BUSY, INTAKE_REFUSED };

struct user;
struct error_log;

/* A table that can be named. One that takes no rows from publishers says why. */
struct intake_table {
    const struct schema *schema;
    const char *refused; /* NULL: takes rows; else "is filled by feed itch", ...: a constant */
};

struct intake_config {
    struct inject_rows_config rows; /* ring, symbols, schemas, days ... of this producer */
    const struct calendar *calendar[DAYS_CALENDARS]; /* by index; for times of day */
    const struct intake_table *table;                /* copied */
    unsigned ntables;
    bool (*may)(const struct user *user, const char *table); /* NULL: everyone */
    const char *(*name)(const struct user *user);            /* for the error log; NULL: "" */
    struct error_log *errors;
    void (*log)(struct error_log *e, const char *kind, const char *from, const char *table,
                const char *reason, json_t *data); /* error_log_put_from; NULL: not logged */
    struct ring_head *head;                        /* of the journal: what is durable */
};

struct intake;

struct intake *intake_open(const struct intake_config *c, struct err *err);
void intake_close(struct intake *in);

/* One update. data: an object that was checked, `name` what was called (`.u.upd`, for messages).
 * The user may be NULL only where `may` is. */
enum intake_verdict intake_update(struct intake *in, const struct user *user, const char *table,
                                  uint32_t table_len, const struct kdb_object *data, int64_t now,
                                  uint64_t *ticket, struct err *err);
/* The same for a request of call UPD or PST_UPD, whose `tables` may be several. */
enum intake_verdict intake_request(struct intake *in, const struct user *user,
                                   const struct kdb_request *r, int64_t now, uint64_t *ticket,
                                   struct err *err);

/* Offers what is staged. Cheap when nothing is. */
void intake_flush(struct intake *in);
/* Once a turn: takes the appender's answers, goes on with rows that wait, follows the calendars'
 * dates. Returns whether anything is under way (call again soon). */
bool intake_step(struct intake *in);
/* Would the next update not be BUSY? */
bool intake_ready(struct intake *in);

enum intake_answer {
    INTAKE_PENDING,
    INTAKE_DONE,  /* *position: the journal is at least this far behind it */
    INTAKE_FAILED /* refused by the appender; err says why */
};
/* To be asked each turn, behind intake_step, until it is not PENDING (64 refusals are remembered):
 * the sync answer of `.u.upd` is due then. For a level keep the position and compare it with
 * intake_level. */
enum intake_answer intake_answer(struct intake *in, uint64_t ticket, uint64_t *position,
                                 struct err *err);
uint64_t intake_level(const struct intake *in, enum kdb_level level);

struct intake_counts {
    uint64_t messages, rows, refused; /* taken, rows of these, refused messages */
    uint64_t busy;                    /* times that a message had to wait */
    uint64_t bytes;                   /* of memory held for rows that wait */
};
void intake_counts(const struct intake *in, struct intake_counts *out); /* any thread */
