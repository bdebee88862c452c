/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hdb_maintain.h - what an operator changes in a database: add a column everywhere, drop old dates,
 * fill missing tables. Each stops cleanly at any point and goes on where it was when called again.
 *
 * The caller holds hdb_lock (the daemon's end of day waits for it) and has called hdb_clean.
 * step (may be NULL) gets one sentence a date, before it is changed (or would be, with dry_run).
 * Owner: one thread.
 */
#pragma once

#include "hdb_publish.h"
#include "hdb_sym.h"

struct hdb_work {
    struct io *io;
    struct hdb *hdb;
    bool dry_run;
    void (*step)(void *arg, const char *sentence);
    void *arg;
    /* results */
    uint64_t dates;   /* changed (or would be) */
    uint64_t already; /* were so already */
    uint64_t rows, bytes, tables;
};

/*
 * Adds a column to a table, on every date from the oldest to the newest, behind its last one.
 * value: one value as it stands in the file (symbols: index in sym), for strings its text with its
 * length; NULL: the type's null. On each date: the column's file is written and synced, then
 * .pstmeta, then
 * `.d` is replaced by rename; a reader sees the table with or without the column. With a value that
 * is not null the content hash is removed from .pstmeta (nulls do not change it). Dates that have
 * the column already are passed over; with another type: refused before anything is changed.
 */
bool hdb_add_column(struct hdb_work *w, const char *table, const char *name, uint8_t type,
                    const void *value, uint32_t len, struct err *err);

/* Deletes every date before `date`: renamed to <date>$ (marked, so that a crash leaves it to
 * hdb_clean), then deleted. */
bool hdb_drop_before(struct hdb_work *w, int32_t date, struct err *err);

/* Writes, empty, each table that a date lacks and any other date has, in the schema of its newest
 * date (like .Q.chk). Tables with a column that is not read are left out and named. */
bool hdb_fill(struct hdb_work *w, struct err *err);
