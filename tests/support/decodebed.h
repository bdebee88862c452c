/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decodebed.h - a decoder on a fakerows sink: session state of exactly the size the decoder asked
 * for, its schemas bound, each message decoded from the end of a guarded page.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <cmocka.h>
#include "decoder.h"
#include "fakerows.h"
#include "guard.h"

struct decodebed {
    const struct decoder_ops *ops;
    struct fakerows *f;
    void *state;
    struct decode_env env;
    struct guard guard;
    uint64_t outcome[4];
};

static inline void decodebed_open(struct decodebed *b, const char *name, int64_t midnight)
{
    memset(b, 0, sizeof *b);
    struct err err;
    b->ops = decoder_find(name);
    assert_non_null(b->ops);
    b->f = fakerows_new();
    b->state = malloc(b->ops->state_bytes);
    assert_non_null(b->state);
    memset(b->state, 0xAA, b->ops->state_bytes);
    b->ops->init(b->state);
    b->env.midnight = midnight;
    assert_true(b->ops->ntables <= DECODER_TABLES);
    for (unsigned i = 0; i < b->ops->ntables; i++)
        b->env.table[i] = fakerows_schema(b->f, b->ops->tables[i].name, b->ops->tables[i].cols,
                                          b->ops->tables[i].ncols);
    if (!decoder_bind(b->ops, b->env.table, &err))
        fail_msg("%s", err.text);
    rows_run(&b->f->rows, &(struct run){.seq = 1,
                                        .rxtime = midnight,
                                        .feed = PST_NULL_SYMBOL,
                                        .session = PST_NULL_SYMBOL,
                                        .line = PST_NULL_SYMBOL,
                                        .day = 9000});
    guard_open(&b->guard, 65536);
}

static inline void decodebed_close(struct decodebed *b)
{
    fakerows_free(b->f);
    free(b->state);
    guard_close(&b->guard);
}

/* Decodes one message and holds it to the outcome rules: one record, or none at all. */
static inline enum decode decodebed_put(struct decodebed *b, const void *msg, uint32_t len)
{
    struct rows *r = &b->f->rows;
    uint64_t before = r->rows_total, seq = r->seq;
    enum decode got = b->ops->decode(b->state, &b->env, guard_copy(&b->guard, msg, len), len, r);
    assert_in_range(got, DECODE_ROW, DECODE_SYMBOL);
    assert_int_equal(r->rows_total - before, got == DECODE_ROW);
    assert_int_equal(r->seq - seq, got == DECODE_ROW);
    assert_true(r->at <= r->limit);
    b->outcome[got]++;
    return got;
}

/* The one row of the last message: staging is taken apart and earlier rows are forgotten. */
static inline const struct fakerow *decodebed_row(struct decodebed *b, const char *table)
{
    fakerows_flush(b->f);
    assert_true(b->f->nrows > 0);
    const struct fakerow *r = &b->f->row[b->f->nrows - 1];
    assert_non_null(r->schema);
    assert_string_equal(r->schema->name, table);
    assert_int_equal(r->record->bytes, r->schema->fixed);
    return r;
}

/* Every column of the table's own that is not in `filled` ("a b c ") is null, those in it are not.
 */
static inline void decodebed_only(const struct fakerow *r, const char *filled)
{
    char word[SCHEMA_NAME_MAX + 2], list[512];
    unsigned n = 0, want = 0;
    snprintf(list, sizeof list, " %s ", filled);
    for (const char *p = filled; *p; p++)
        want += *p == ' ' || !p[1];
    for (unsigned i = SCHEMA_FEED_COLUMNS; i < r->schema->ncols; i++) {
        snprintf(word, sizeof word, " %.*s ", SCHEMA_NAME_MAX - 1, r->schema->col[i].name);
        bool in = strstr(list, word) != NULL;
        if (fakerow_null(r, i) == in)
            fail_msg("column %s of type '%c' is %snull", r->schema->col[i].name,
                     fakerow_char(r, "type"), in ? "" : "not ");
        n += in;
    }
    assert_int_equal(n, want);
}

#define LONG_IS(r, column, v)    assert_int_equal(fakerow_long(r, column), (int64_t)(v))
#define CHAR_IS(r, column, v)    assert_int_equal(fakerow_char(r, column), v)
#define FLOAT_IS(r, column, v)   assert_true(fakerow_float(r, column) == (v))
#define TEXT_IS(b, r, column, v) assert_string_equal(fakerow_text((b)->f, r, column), v)
