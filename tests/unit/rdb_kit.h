/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rdb_kit.h - for tests of the RDB: a journal in memory made of random frames, and the comparison
 * of what stands in the RDB with a second decoding of those frames. The RDB is read twice: by the
 * product's map (rdb_map.h) and by the independent reader (support/rdbread.h).
 */
#pragma once

#include "rows_kit.h"
#include "rdb.h"
#include "support/rdbread.h"

#define RK_EXTENT  (2ull << 20)
#define RK_SYMBOLS 70000u

static bool rk_portable; /* the RDB without vector instructions */

struct rk {
    struct rdb *r;
    struct schema_set *set;
    struct pk pk;
    uint8_t *journal; /* all frames, one behind the other */
    uint64_t used, room, base;
    uint64_t position;
    uint64_t seed;
    struct rdb_config cfg;
};

static inline uint64_t rk_next(struct rk *k)
{
    k->seed ^= k->seed << 13;
    k->seed ^= k->seed >> 7;
    return k->seed ^= k->seed << 17;
}

static inline void rk_open(struct rk *k, uint64_t extents, const struct rdb_config *cfg)
{
    memset(k, 0, sizeof *k);
    k->seed = 88172645463325252ull;
    if (cfg)
        k->cfg = *cfg;
    k->cfg.extent_bytes = RK_EXTENT;
    k->cfg.bytes = extents * RK_EXTENT;
    if (!k->cfg.symbols_max)
        k->cfg.symbols_max = RK_SYMBOLS;
    k->cfg.instance = LK_INSTANCE;
    k->cfg.portable = rk_portable;
    struct err err;
    k->r = rdb_create(&k->cfg, &err);
    if (!k->r)
        fail_msg("%s", err.text);
    k->set = schema_set_new();
    k->position = k->base = 4096;
}

static inline void rk_close(struct rk *k)
{
    rdb_close(k->r);
    schema_set_free(k->set);
    free(k->journal);
}

static inline const struct schema *rk_schema(struct rk *k, uint16_t id, const char *name, bool feed,
                                             const struct column_def *cols, unsigned n)
{
    struct schema s;
    struct err err;
    if (!schema_make(&s, id, name, feed, cols, n, &err) || !schema_set_add(k->set, &s, &err))
        fail_msg("%s", err.text);
    return schema_set_get(k->set, id);
}

/* The frame of what was put into k->pk, kept in the journal, not yet appended. */
static inline const struct frame *rk_frame(struct rk *k, uint8_t kind, uint16_t day)
{
    uint64_t need = k->used + FRAME_MAX;
    if (need > k->room) {
        k->room = 2 * need;
        k->journal = realloc(k->journal, k->room);
        assert_non_null(k->journal);
    }
    const struct frame *f = pk_make(&k->pk, k->journal + k->used, kind, k->position, day);
    k->used += f->length;
    k->position += f->length;
    return f;
}

static inline uint32_t rk_append(struct rk *k, uint8_t kind, uint16_t day)
{
    return rdb_append(k->r, k->set, rk_frame(k, kind, day));
}

static inline void rk_eod(struct rk *k, const char *json, uint16_t day)
{
    pk_clear(&k->pk);
    uint32_t n = (uint32_t)strlen(json);
    memset(k->pk.data, 0, 8 + n + 8);
    put16(k->pk.data, MARK_EOD);
    put32(k->pk.data + 4, n);
    memcpy(k->pk.data + 8, json, n);
    k->pk.len = (uint32_t)pst_align8(8 + n);
    rk_append(k, FRAME_MARK, day);
}

/* A random value of a type: often null or infinite. */
static inline void rk_value(struct rk *k, uint8_t type, uint8_t *at)
{
    uint64_t v = rk_next(k), how = rk_next(k) % 8;
    unsigned w = type_width(type);
    if (type == PST_FLOAT)
        v = how == 0   ? PST_NULL_FLOAT_BITS
            : how == 1 ? 0x7FF0000000000000ull
            : how == 2 ? 0xFFF0000000000000ull
            : how == 3 ? 0x8000000000000000ull
                       : v;
    else if (type == PST_REAL)
        v = how == 0 ? PST_NULL_REAL_BITS : how == 1 ? 0x7F800000u : how == 2 ? 0xFF800000u : v;
    else if (type == PST_SYMBOL)
        v = how == 0 ? PST_NULL_SYMBOL : v % 1000;
    else if (type == PST_BOOLEAN)
        v &= 1;
    else if (how < 3 && w <= 8) /* null, infinity, negative infinity */
        v = how == 0   ? 1ull << (8 * w - 1)
            : how == 1 ? (1ull << (8 * w - 1)) - 1
                       : (1ull << (8 * w - 1)) + 1;
    memcpy(at, &v, w < 8 ? w : 8);
    if (w == 16) {
        uint64_t u = how == 0 ? 0 : rk_next(k);
        if (!how)
            memset(at, 0, 8);
        memcpy(at + 8, &u, 8);
    }
}

/* A random row of a table into k->pk. */
static inline uint8_t *rk_row(struct rk *k, const struct schema *s, uint32_t sym, int64_t time)
{
    uint32_t bytes = s->fixed, len[SCHEMA_COLUMNS_MAX] = {0};
    for (unsigned c = 0; c < s->ncols; c++)
        if (s->col[c].type == PST_STRING) {
            uint64_t how = rk_next(k) % 64;
            len[c] = how < 16 ? 0 : how == 63 ? (uint32_t)(rk_next(k) % 3000) : (uint32_t)how;
            bytes += len[c];
        }
    uint8_t *row = pk_row(&k->pk, s->id, sym, time, (uint16_t)pst_align8(bytes));
    uint32_t end = s->fixed;
    for (unsigned c = s->feed ? SCHEMA_FEED_COLUMNS : 2; c < s->ncols; c++) {
        uint8_t *at = row + s->col[c].offset;
        if (s->col[c].type != PST_STRING) {
            rk_value(k, s->col[c].type, at);
            continue;
        }
        put32(at, end);
        put32(at + 4, len[c]);
        for (uint32_t i = 0; i < len[c]; i++)
            row[end++] = (uint8_t)rk_next(k);
    }
    return row;
}

/* ---- the second decoding ---- */

/* Calls fn for each row of (table id, day) in the journal up to `below`, in order. */
struct rk_scan {
    const struct rk *k;
    uint64_t at, below;
    uint16_t table, day;
    struct record_walk walk;
    const struct frame *frame;
};
static inline void rk_scan_start(struct rk_scan *s, const struct rk *k, uint16_t table,
                                 uint16_t day, uint64_t below)
{
    memset(s, 0, sizeof *s);
    s->k = k;
    s->table = table;
    s->day = day;
    s->below = below;
}
static inline const struct record *rk_scan_next(struct rk_scan *s)
{
    for (;;) {
        if (s->frame) {
            const struct record *r = record_walk_next(&s->walk);
            if (r && r->table == s->table)
                return r;
            if (r)
                continue;
            s->frame = NULL;
        }
        if (s->at >= s->k->used)
            return NULL;
        const struct frame *f = (const struct frame *)(s->k->journal + s->at);
        if (f->position >= s->below)
            return NULL;
        s->at += f->length;
        if ((f->kind == FRAME_DATA || f->kind == FRAME_GAP) && f->day == s->day) {
            s->frame = f;
            record_walk_start(&s->walk, f);
        }
    }
}

/* What column c of the row is, from the record. */
static inline const uint8_t *rk_want(const struct rk_scan *s, const struct schema *t,
                                     const struct record *row, unsigned c, uint32_t *len,
                                     uint8_t word[8])
{
    const struct column *col = &t->col[c];
    const struct packet_record *p = s->walk.packet;
    *len = type_width(col->type);
    if (col->packet) {
        uint64_t v;
        if (!strcmp(col->name, "rxtime"))
            v = p ? (uint64_t)p->rxtime : (uint64_t)INT64_MIN;
        else if (!strcmp(col->name, "seq"))
            v = (uint64_t)record_walk_seq(&s->walk);
        else if (!strcmp(col->name, "flags"))
            v = p ? p->flags & 0xFFFF : 0x80000000u;
        else if (!strcmp(col->name, "feed"))
            v = p ? p->feed : 0xFFFFFFFFu;
        else if (!strcmp(col->name, "session"))
            v = p ? p->session : 0xFFFFFFFFu;
        else
            v = p ? p->line : 0xFFFFFFFFu;
        memcpy(word, &v, 8);
        return word;
    }
    if (col->type == PST_STRING)
        return (const uint8_t *)record_string(row, col->offset, len);
    return (const uint8_t *)row + col->offset;
}

/* The part of (table, day) in the cut, by both readers. `nth`: of several day slots. */
static inline bool rk_find(const struct rk *k, const struct rdbread *in, uint16_t table,
                           uint16_t day, unsigned nth, struct rdbread_part *out)
{
    (void)k;
    for (unsigned i = 0; i < in->parts; i++)
        if (rdbread_part(in, i, out) && out->table == table && out->day == day && nth-- == 0)
            return true;
    return false;
}

static int rk_by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Everything about one part: rows, types, bounds, row lists; against the frames below `below`, of
 * which the first `skip` rows are not in it. Returns the rows. */
static inline uint32_t rk_check(struct rk *k, uint16_t table, uint16_t day, uint64_t below,
                                uint32_t skip, unsigned nth)
{
    struct rdbread in;
    struct rdbread_part p;
    struct rdb_part_view v;
    struct err err;
    const struct schema *t = schema_set_get(k->set, table);
    assert_true(rdbread_open(&in, rdb_fd(k->r)));
    if (!rk_find(k, &in, table, day, nth, &p))
        fail_msg("no part of table %u day %u", table, day);
    if (!rdb_part_open(rdb_map_of(k->r), p.slot, table, day, p.rows, &v, &err))
        fail_msg("%s", err.text);
    assert_string_equal(p.name, t->name);
    assert_int_equal(p.columns, t->ncols);
    uint64_t *order = malloc((p.rows + 1) * sizeof *order);
    assert_non_null(order);
    struct rk_scan s;
    rk_scan_start(&s, k, table, day, below);
    const struct record *row;
    uint32_t n = 0, chunk = UINT32_MAX;
    int64_t lo = 0, hi = 0, before = 0;
    bool up = true;
    struct rdb_chunk_view c = {0};
    while ((row = rk_scan_next(&s))) {
        if (skip) {
            skip--;
            continue;
        }
        if (n >= p.rows)
            fail_msg("the RDB has only %u rows", n);
        if (rdb_chunk_of(n) != chunk) {
            if (chunk != UINT32_MAX) { /* the chunk is over: its bounds are exact */
                int64_t a, b;
                bool ascends;
                rdbread_bounds(&in, &p, n - 1, &a, &b, &ascends);
                assert_true(a == lo && b == hi && ascends == up);
                assert_true(c.time_min == lo && c.time_max == hi && c.ascends == up);
            }
            chunk = rdb_chunk_of(n);
            assert_true(rdb_chunk_open(&v, chunk, &c));
            assert_int_equal(c.first, n);
            lo = hi = before = row->time;
            up = true;
        }
        lo = row->time < lo ? row->time : lo;
        hi = row->time > hi ? row->time : hi;
        up &= row->time >= before;
        before = row->time;
        for (unsigned i = 0; i < t->ncols; i++) {
            uint8_t word[8];
            uint32_t want_len, len, map_len;
            const uint8_t *want = rk_want(&s, t, row, i, &want_len, word);
            const uint8_t *got = rdbread_value(&in, &p, n, i, &len);
            const uint8_t *cell = (const uint8_t *)c.col[i] + (uint64_t)(n - c.first) * v.width[i];
            assert_ptr_equal(cell, rdb_value(&v, n, i));
            map_len = v.width[i];
            if (t->col[i].type == PST_STRING)
                cell = (const uint8_t *)rdb_string(v.map, le64(cell), &map_len);
            if (len != want_len || memcmp(got, want, len) || map_len != want_len ||
                memcmp(cell, want, len))
                fail_msg("%s row %u: column %s differs", t->name, n, t->col[i].name);
        }
        order[n] = (uint64_t)row->sym << 32 | n;
        n++;
    }
    assert_int_equal(n, p.rows);
    /* the lists: rows sorted by (sym, row) are the lists one behind the other */
    qsort(order, n, sizeof *order, rk_by_number);
    uint32_t *list = malloc((n + 1) * sizeof *list);
    for (uint32_t i = 0, m; i < n; i += m) {
        uint32_t sym = (uint32_t)(order[i] >> 32);
        for (m = 0; i + m < n && order[i + m] >> 32 == sym; m++)
            ;
        assert_int_equal(rdbread_list(&in, &p, sym, list, n), m);
        for (uint32_t j = 0; j < m; j++)
            assert_int_equal(list[j], (uint32_t)order[i + j]);
        struct rdb_list_view l;
        const uint32_t *ids;
        uint32_t at = 0, got, last;
        assert_true(rdb_list_open(&v, sym, &l));
        assert_int_equal(l.count, m);
        assert_int_equal(rdb_list_count(&v, sym), m);
        while ((got = rdb_list_next(&l, &ids))) {
            assert_memory_equal(ids, list + at, got * sizeof *ids);
            at += got;
        }
        assert_int_equal(at, m);
        while ((got = rdb_list_prev(&l, &ids))) {
            at -= got;
            assert_memory_equal(ids, list + at, got * sizeof *ids);
        }
        assert_int_equal(at, 0);
        assert_true(rdb_list_last(&v, sym, &last));
        assert_int_equal(last, list[m - 1]);
        assert_true(sym == PST_NULL_SYMBOL || sym < v.syms);
    }
    free(list);
    free(order);
    rdbread_close(&in);
    return n;
}
