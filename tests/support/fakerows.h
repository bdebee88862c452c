/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fakerows.h - a rows_ops sink for tests: frames are closed like the appender's, then taken apart
 * again with record_walk, so that what a test sees went through the real record format.
 *
 * Symbols are ids in the order of first use. Everything is kept until fakerows_clear.
 */
#pragma once

#include "core/rows.h"

struct fakerow {
    struct packet_record packet; /* of its run, as finally patched */
    int64_t seq;
    const struct schema *schema; /* NULL: not one that was announced */
    struct record *record;       /* own copy */
};

struct fakerows_gap {
    struct gap gap; /* reason points to the caller's text */
};

struct fakerows {
    struct rows rows; /* hand &f->rows to the code under test */
    uint8_t *frame;   /* staging: header space, then records */
    struct fakerow *row;
    size_t nrows, cap_rows;
    struct fakerows_gap *gap;
    size_t ngaps, cap_gaps;
    struct {
        enum mark_type type;
        char *json;
    } * mark;
    size_t nmarks, cap_marks;
    char (*text)[256]; /* by id */
    uint32_t nsyms, cap_syms;
    uint32_t syms_max; /* interning beyond is refused */
    uint32_t interns;  /* calls so far */
    uint32_t frames;   /* flushed with at least one record */
    uint64_t room;     /* what rows_room says */
    struct schema_set *schemas;
};

struct fakerows *fakerows_new(void);
void fakerows_free(struct fakerows *f);
/* Makes a schema known (copied), with the next id; returns it. */
const struct schema *fakerows_schema(struct fakerows *f, const char *name,
                                     const struct column_def *cols, unsigned ncols);
void fakerows_flush(struct fakerows *f); /* takes the staging frame apart */
void fakerows_clear(struct fakerows *f); /* forgets rows, gaps and marks; symbols stay */

/* Values of a row by column name; an unknown name aborts. */
int64_t fakerow_long(const struct fakerow *r, const char *column); /* every integer type */
double fakerow_float(const struct fakerow *r, const char *column);
char fakerow_char(const struct fakerow *r, const char *column);
/* Text of a symbol column, "" for null. */
const char *fakerow_text(const struct fakerows *f, const struct fakerow *r, const char *column);
bool fakerow_null(const struct fakerow *r, unsigned column); /* by index, a record column */
