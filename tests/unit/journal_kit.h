/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal_kit.h - a small journal for unit tests: ring, symbols, schemas, status, virtual clock and
 * appender, and a reader that checks on every frame what must hold of every journal.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "appender.h"
#include "core/tables.h"
#include "inject_rows.h"

#define KIT_START 0x1000040u /* an odd place: not on a checkpoint step */
#define KIT_DAY   9000

struct kit {
    struct ring ring;
    struct symbols symbols;
    struct schema_set *schemas;
    struct status *status;
    struct clock clock;
    struct due due;
    struct appender app;
    const struct schema *gap, *undecoded, *trade, *quote; /* trade: plain; quote: of a feed */
    uint64_t read;                                        /* next position of kit_next */
    int64_t read_time;
    uint32_t read_symbols; /* ids explained so far by symbol frames */
    pst_aligned(64) uint8_t frame[FRAME_MAX + 64];
};

static const struct column_def kit_trade[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},
                                              {"price", PST_FLOAT},    {"size", PST_LONG},
                                              {"venue", PST_SYMBOL},   {"note", PST_STRING}};
static const struct column_def kit_quote[] = {{"bid", PST_FLOAT}, {"src", PST_SYMBOL}};

static inline const struct schema *kit_table(struct kit *k, struct schema *s)
{
    struct err e;
    bool fresh;
    const struct schema *out = schema_set_intern(k->schemas, s, &fresh, &e);
    assert_non_null(out);
    return out;
}

static inline struct kit *kit_new(uint32_t max_symbols, uint32_t max_new)
{
    struct err e = {0};
    struct kit *k = aligned_alloc(64, pst_align_up(sizeof *k, 64));
    assert_non_null(k);
    memset(k, 0, sizeof *k);
    assert_true(ring_create(&k->ring, RING_MIN, KIT_START, 77, false, &e));
    assert_true(symbols_create(&k->symbols, max_symbols, &e));
    assert_non_null(k->schemas = schema_set_new());
    assert_non_null(k->status = status_create("kit", &e));
    struct schema s;
    assert_true(tables_gap(&s, &e));
    k->gap = kit_table(k, &s);
    assert_true(tables_undecoded(&s, &e));
    k->undecoded = kit_table(k, &s);
    assert_true(schema_make(&s, 0, "trade", false, kit_trade, PST_COUNT(kit_trade), &e));
    k->trade = kit_table(k, &s);
    assert_true(schema_make(&s, 0, "quote", true, kit_quote, PST_COUNT(kit_quote), &e));
    k->quote = kit_table(k, &s);
    clock_init_virtual(&k->clock, KIT_DAY * NS_PER_DAY);
    due_init(&k->due);
    struct appender_config c = {.ring = &k->ring,
                                .symbols = &k->symbols,
                                .schemas = k->schemas,
                                .status = k->status,
                                .clock = &k->clock,
                                .due = &k->due,
                                .open_day = KIT_DAY,
                                .last_time = INT64_MIN,
                                .max_new_symbols = max_new};
    assert_true(appender_init(&k->app, &c, &e));
    appender_begin(&k->app, clock_now(&k->clock));
    k->read = KIT_START;
    k->read_time = INT64_MIN;
    return k;
}

static inline void kit_free(struct kit *k)
{
    appender_fini(&k->app);
    ring_close(&k->ring);
    symbols_close(&k->symbols);
    schema_set_free(k->schemas);
    status_destroy(k->status);
    free(k);
}

static inline void kit_at(struct kit *k, int64_t t)
{
    clock_set(&k->clock, t);
    appender_begin(&k->app, clock_now(&k->clock));
}

/* The log's part: everything published is durable and may be overwritten. */
static inline void kit_drain(struct kit *k)
{
    uint64_t t = ring_tail(&k->ring);
    store_release(&k->ring.head->durable, t);
    store_release(&k->ring.head->guard, t);
}

static inline bool kit_text_known(void *arg, uint32_t id, const char *text, uint32_t len)
{
    struct kit *k = arg;
    assert_int_equal(id, k->read_symbols);
    k->read_symbols++;
    uint32_t n;
    const char *t = symbols_text(&k->symbols, id, &n);
    assert_int_equal(n, len);
    assert_memory_equal(t, text, len);
    return true;
}

static inline void kit_symbol_explained(const struct kit *k, uint32_t id)
{
    assert_true(id == PST_NULL_SYMBOL || id < k->read_symbols);
}

/* The next frame, checked; NULL at the tail. */
static inline const struct frame *kit_next(struct kit *k)
{
    uint64_t tail = ring_tail(&k->ring);
    if (k->read >= tail) {
        assert_true(k->read == tail);
        return NULL;
    }
    assert_int_equal(ring_read_frame(&k->ring, k->read, k->frame), RING_READ_OK);
    const struct frame *f = (const struct frame *)k->frame;
    assert_int_equal(frame_check(f, f->length, k->ring.head->seed), FRAME_OK);
    assert_true(f->position == k->read);
    assert_true(f->time >= k->read_time);
    k->read += f->length;
    k->read_time = f->time;
    if (f->kind == FRAME_SYMBOL) {
        assert_true(frame_symbols_each(f, kit_text_known, k));
        assert_int_equal(f->stream, STREAM_EVERY);
    }
    if (f->kind == FRAME_DATA || f->kind == FRAME_GAP) {
        struct record_walk w;
        record_walk_start(&w, f);
        const struct record *r;
        uint32_t rows = 0;
        while ((r = record_walk_next(&w))) {
            const struct schema *s = schema_set_get(k->schemas, r->table);
            assert_non_null(s);
            assert_true(s->feed == (w.packet != NULL));
            assert_true(r->bytes >= s->fixed);
            kit_symbol_explained(k, r->sym);
            for (unsigned i = 0; i < s->nsyms; i++)
                kit_symbol_explained(k, le32((const uint8_t *)r + s->sym_offset[i]));
            if (w.packet) {
                kit_symbol_explained(k, w.packet->feed);
                kit_symbol_explained(k, w.packet->session);
                kit_symbol_explained(k, w.packet->line);
                assert_true(w.row < w.packet->rows);
            }
            rows++;
        }
        assert_false(w.bad);
        assert_true(rows >= 1);
        assert_true(f->count >= rows);
    }
    return f;
}

/* Reads on to the next frame of a kind; NULL = none. */
static inline const struct frame *kit_find(struct kit *k, enum frame_kind kind)
{
    const struct frame *f;
    while ((f = kit_next(k)) && f->kind != kind)
        ;
    return f;
}

static inline void kit_run(struct rows *r, uint64_t seq, uint32_t flags, uint16_t day)
{
    struct run n = {.seq = seq,
                    .rxtime = 5,
                    .feed = rows_symbol(r, "itch", 4),
                    .session = rows_symbol(r, "S1", 2),
                    .line = rows_symbol(r, "A", 1),
                    .flags = flags,
                    .day = day};
    rows_run(r, &n);
}

/* One row of table quote. */
static inline void kit_quote_row(struct kit *k, struct rows *r, const char *sym, double bid)
{
    const struct schema *s = k->quote;
    uint32_t id = rows_symbol(r, sym, (uint32_t)strlen(sym));
    uint8_t *p = rows_reserve(r, s->fixed);
    memset(p, 0, s->fixed);
    *(struct record *)p = (struct record){s->id, s->fixed, id, 7};
    memcpy(p + s->col[SCHEMA_FEED_COLUMNS].offset, &bid, 8);
    put32(p + s->col[SCHEMA_FEED_COLUMNS + 1].offset, id);
    rows_commit(r, s->fixed);
}

/* One plain row of table trade through an inject sink. */
static inline void kit_trade_row(struct kit *k, struct inject_rows *w, const char *sym,
                                 const char *note, uint16_t day)
{
    const struct schema *s = k->trade;
    uint32_t id = rows_symbol(&w->rows, sym, (uint32_t)strlen(sym));
    uint32_t n = (uint32_t)strlen(note), bytes = (uint32_t)pst_align8(s->fixed + n);
    uint8_t *p = inject_rows_plain(w, bytes, day);
    memset(p, 0, bytes);
    *(struct record *)p = (struct record){s->id, (uint16_t)bytes, id, 9};
    put32(p + s->col[4].offset, id);
    put32(p + s->col[5].offset, s->fixed);
    put32(p + s->col[5].offset + 4, n);
    memcpy(p + s->fixed, note, n);
    inject_rows_plain_commit(w, bytes);
}
