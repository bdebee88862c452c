/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay_rows.h - frames of one journal become rows of another one, through append_client: tables
 * by name, columns by name, symbols by text, times and packet facts as they were.
 *
 * A table of the daemon must have every column of the log's version, with its type; columns that
 * only the daemon has become null. `gap` rows are rows like others; `alarm` and `monCPU` rows speak
 * of the other instance and are left out unless they are asked for by name. With `derive` rows of
 * sources rtp/... and of tables that processors write there are left out; without it to->as_logged
 * is to be set. Marks are the caller's affair.
 *
 * One thread. Memory: a plan for each table met.
 */
#pragma once

#include "append_client.h"
#include "storage/dictionary.h"

struct replay_filter {
    const char *const *tables; /* NULL-terminated; NULL = all but alarm */
    const char *const *syms;   /* ditto; NULL = all rows, those without a symbol too */
    bool buffered;             /* frames of buffering events too */
    bool derive;               /* without what processors made: they make it again there */
};

struct replay_rows {
    struct append_client *to;
    struct dictionary *from;
    struct replay_filter filter;
    struct replay_plan *plan[TABLE_MAX];  /* by the log's table id */
    uint64_t rows;                        /* given to append_client */
    uint64_t filtered, damaged, nameless; /* nameless: symbols whose text is lost, now null */
    struct err err;
};

void replay_rows_init(struct replay_rows *r, struct append_client *to, struct dictionary *from,
                      const struct replay_filter *filter);
void replay_rows_free(struct replay_rows *r);
/* The rows of one frame; other kinds give none. False: r->err says why in one line. The caller
 * calls append_point behind it. */
bool replay_rows_frame(struct replay_rows *r, const struct frame *f);
