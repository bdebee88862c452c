/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of a frame to columns. The frame is walked once; each row's address is put into the bucket
 * of its part, and a full bucket is written column by column while its records are in the nearest
 * cache: one tight loop for each column, one pass for the columns of the packet records, whose
 * values stand once for many rows.
 */
#include "rdb_internal.h"

#define AHEAD 2048u /* bytes of the frame that are fetched ahead of the walk */

/* ---- columns ---- */

/* What a feed row outside any packet record has. */
static const struct packet_record no_packet = {
    .rxtime = PST_NULL_TIMESTAMP,
    .feed = PST_NULL_SYMBOL,
    .session = PST_NULL_SYMBOL,
    .line = PST_NULL_SYMBOL,
    .flags = 0x80000000u,
};
_Static_assert((int32_t)0x80000000u == PST_NULL_INT, "null flags");

/* Eight (sixteen) values at once: what is too much is overwritten by the next run, or lies in the
 * gap behind the column (RDB_GAP) or above every cut. */
pst_inline void fill_8(uint8_t *to, uint64_t v, uint32_t n)
{
    uint64_t line[8] = {v, v, v, v, v, v, v, v};
    for (uint32_t i = 0; i < n; i += 8)
        memcpy(to + i * 8ull, line, 64);
}
pst_inline void fill_4(uint8_t *to, uint32_t v, uint32_t n)
{
    uint32_t line[16] = {v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v};
    for (uint32_t i = 0; i < n; i += 16)
        memcpy(to + i * 4ull, line, 64);
}
_Static_assert(RDB_GAP >= 64, "fills may pass a column's end by less than 64 bytes");

enum { FEED_RXTIME = 2, FEED_FEED, FEED_SESSION, FEED_SEQ, FEED_LINE, FEED_FLAGS };

/* Rows i .. i + n - 1 of the bucket become rows d … of the chunk. */
static void put_packets(const struct part *p, const struct bucket *b, uint32_t i, uint32_t n,
                        uint64_t d)
{
    uint32_t at = 0;
    for (uint32_t k = 0; k < b->segs && at < i + n; k++) {
        uint32_t from = at < i ? i : at;
        at += b->seg[k].rows;
        uint32_t to = at < i + n ? at : i + n;
        if (to <= from)
            continue;
        const struct packet_record *x = b->seg[k].packet;
        uint32_t flags = x ? x->flags & ROW_FLAG_MASK : no_packet.flags;
        if (!x)
            x = &no_packet;
        uint64_t row = d + (from - i);
        fill_8(p->col[FEED_RXTIME] + row * 8, (uint64_t)x->rxtime, to - from);
        fill_4(p->col[FEED_FEED] + row * 4, x->feed, to - from);
        fill_4(p->col[FEED_SESSION] + row * 4, x->session, to - from);
        fill_4(p->col[FEED_LINE] + row * 4, x->line, to - from);
        fill_4(p->col[FEED_FLAGS] + row * 4, flags, to - from);
    }
    memcpy(p->col[FEED_SEQ] + d * 8, b->seq + i, n * 8ull);
}

static bool put_string(struct rdb *r, struct part *p, const struct record *row, unsigned offset,
                       uint64_t *out)
{
    uint32_t len;
    const char *text = record_string(row, offset, &len);
    *out = 0;
    if (!text || !len)
        return true;
    if (p->string_end - p->string_at < len) {
        uint32_t block = 2 * p->string_block;
        p->string_block = block > 256u << 10 ? 256u << 10 : block;
        uint64_t bytes = len > p->string_block ? len : p->string_block;
        uint64_t at = memory_take(r, p->day, bytes);
        if (!at)
            return false;
        p->string_at = at;
        p->string_end = at + bytes;
    }
    memcpy(rdb_at(r, p->string_at), text, len);
    *out = p->string_at << 16 | len;
    p->string_at += len;
    bump(&p->shared->string_bytes, len);
    return true;
}

static bool put_strings(struct rdb *r, struct part *p, uint8_t *to, const uint8_t *const *row,
                        unsigned offset, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t v;
        if (!put_string(r, p, (const struct record *)row[i], offset, &v))
            return false;
        put64(to + i * 8ull, v);
    }
    return true;
}

static void put_guids(uint8_t *to, const uint8_t *const *row, unsigned offset, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        memcpy(to + i * 16ull, row[i] + offset, 16);
}

/* The chunk's bounds of time; d rows stand in it already. */
static void put_bounds(const struct rdb *r, struct part *p, uint64_t d, uint32_t n)
{
    const int64_t *t = (const int64_t *)(const void *)p->col[0] + d;
    int64_t lo = t[0], hi = t[0], last = d ? p->last_time : t[0];

    bool down = r->columns.descend(t, n) || t[0] < last;

    if (pst_likely(!down)) {
        hi = t[n - 1];
    } else {
        for (uint32_t i = 1; i < n; i++) {
            lo = t[i] < lo ? t[i] : lo;
            hi = t[i] > hi ? t[i] : hi;
        }
        store_relaxed(&p->chunk->descends, 1);
    }
    p->last_time = t[n - 1];
    if (!d || lo < load_relaxed(&p->chunk->time_min))
        store_relaxed(&p->chunk->time_min, lo);
    if (!d || hi > load_relaxed(&p->chunk->time_max))
        store_relaxed(&p->chunk->time_max, hi);
}

static bool next_chunk(struct rdb *r, struct part *p)
{
    if (p->rows == UINT32_MAX - RDB_CHUNK_ROWS + 1) /* row numbers end */
        return false;
    uint32_t c = rdb_chunk_of(p->rows), room = rdb_chunk_room(c);
    _Atomic uint64_t *page = &p->shared->chunk_page[c >> 8];
    uint64_t at = load_relaxed(page);
    if (!at) {
        if (!(at = memory_take(r, p->day, 256 * sizeof(uint64_t))))
            return false;
        memset(rdb_at(r, at), 0, 256 * sizeof(uint64_t));
        store_release(page, at); /* O1 */
    }
    unsigned ncols = p->schema->ncols;
    uint64_t chunk = memory_take(r, p->day, sizeof(struct rdb_chunk) + ncols * sizeof(uint64_t));
    if (!chunk)
        return false;
    struct rdb_chunk *k = rdb_at(r, chunk);
    memset(k, 0, sizeof *k);
    k->room = room;
    for (unsigned i = 0; i < ncols; i++) {
        uint64_t run = (uint64_t)room * type_width(p->schema->col[i].type) + RDB_GAP;
        if (!(k->col[i] = memory_take(r, p->day, run)))
            return false;
        p->col[i] = rdb_at(r, k->col[i]);
    }
    store_release((_Atomic uint64_t *)rdb_at(r, at) + (c & 255), chunk); /* O1 */
    p->chunk = k;
    p->chunk_first = (uint32_t)rdb_chunk_first(c);
    p->chunk_end = p->chunk_first + room;
    return true;
}

static bool put_rows(struct rdb *r, struct part *p, const struct bucket *b, uint32_t i, uint32_t n)
{
    uint64_t d = p->rows - p->chunk_first;
    const uint8_t *const *row = b->row + i;
    const struct schema *s = p->schema;
    r->columns.put(&p->plan, p->col, row, d, n);
    for (unsigned j = 0; j < p->nslow; j++) {
        unsigned c = p->slow[j], offset = s->col[c].offset;
        if (s->col[c].type == PST_GUID)
            put_guids(p->col[c] + d * 16, row, offset, n);
        else if (!put_strings(r, p, p->col[c] + d * 8, row, offset, n))
            return false;
    }
    if (s->feed)
        put_packets(p, b, i, n, d);
    put_bounds(r, p, d, n);
    const uint32_t *sym = (const uint32_t *)(const void *)p->col[1] + d;
    return lists_add(r, p, sym, p->rows, n) && (!p->keys || keys_add(r, p, p->rows, n));
}

static void flush(struct rdb *r, struct part *p)
{
    struct bucket *b = p->bucket;
    uint32_t i = 0, n = b->rows;
    while (i < n && p->state == PART_TAKES) {
        if (p->rows == p->chunk_end && !next_chunk(r, p)) {
            day_full(r, p->day);
            break;
        }
        uint32_t room = p->chunk_end - p->rows, m = n - i < room ? n - i : room;
        if (!put_rows(r, p, b, i, m)) {
            day_full(r, p->day);
            break;
        }
        p->rows += m;
        i += m;
    }
    p->refused += n - i;
    b->rows = b->segs = 0;
}

/* ---- the walk ---- */

static void touch(struct rdb *r, struct part *p)
{
    p->touched = true;
    p->base = p->rows;
    p->refused = 0;
    r->touched[r->ntouched++] = p;
}

/* The bucket of a part in this frame; NULL: no memory. */
static pst_noinline struct bucket *bucket_of(struct rdb *r, struct part *p)
{
    if (r->buckets_used == r->nbuckets) {
        struct bucket **more = realloc(r->bucket, (r->nbuckets + 16) * sizeof *more);
        if (more)
            r->bucket = more;
        struct bucket *b = more ? aligned_alloc(64, pst_align_up(sizeof *b, 64)) : NULL;
        if (!b)
            return NULL;
        r->bucket[r->nbuckets++] = b;
    }
    p->bucket = r->bucket[r->buckets_used++];
    p->bucket->rows = p->bucket->segs = 0;
    return p->bucket;
}

static bool strings_fit(const struct schema *s, const struct record *row)
{
    unsigned left = s->nstrings;
    for (unsigned c = s->feed ? SCHEMA_FEED_COLUMNS : 2; left && c < s->ncols; c++) {
        uint32_t len;
        if (s->col[c].type != PST_STRING)
            continue;
        if (!record_string(row, s->col[c].offset, &len))
            return false;
        left--;
    }
    return true;
}

static pst_noinline void not_taken(struct rdb *r, struct part *p)
{
    if (p->state == PART_REFUSES) {
        if (!p->touched)
            touch(r, p);
        p->refused++;
    } else {
        bump(p->state == PART_REPEATS ? &r->f_repeated : &r->f_skipped, 1);
    }
}

static void settle(struct rdb *r, const struct frame *f, uint32_t *taken, uint32_t *refused)
{
    uint64_t end = f->position + f->length;
    for (uint32_t i = 0; i < r->ntouched; i++)
        if (r->touched[i]->bucket && r->touched[i]->bucket->rows)
            flush(r, r->touched[i]);
    for (uint32_t i = 0; i < r->ntouched; i++) {
        struct part *p = r->touched[i];
        uint32_t rows = p->rows - p->base;
        *taken += rows;
        *refused += p->refused;
        if (p->day) {
            struct rdb_day *d = p->day->shared;
            if (!load_relaxed(&d->rows) && !load_relaxed(&d->refused))
                store_relaxed(&d->first_position, f->position);
            store_relaxed(&d->end_position, end);
            bump(&d->rows, rows);
            bump(&d->refused, p->refused);
        }
        if (rows) {
            if (!p->base)
                store_relaxed(&p->shared->first_position, f->position);
            store_relaxed(&p->shared->end_position, end);
            store_relaxed(&p->shared->qualities, p->qualities);
            rdb_mark_dirty(r, p);
        }
        p->touched = false;
        p->refused = 0;
        p->bucket = NULL;
    }
    r->ntouched = r->buckets_used = 0;
}

/* Where the walk stands: the part of the last row, and the rows since its segment began. */
struct walk {
    struct part *part;
    struct bucket *bucket; /* NULL: not taken */
    uint32_t from;         /* rows of the bucket before this stretch */
};

/* The stretch is over: its rows belong to the segment of the run. */
pst_inline void end_stretch(struct walk *w)
{
    struct bucket *b = w->bucket;
    if (b && b->rows > w->from) {
        b->seg[b->segs - 1].rows += b->rows - w->from;
        w->from = b->rows;
    }
}

/* A row can be put into its part's bucket, under this packet record: makes both ready. False: it is
 * not taken. */
static bool begin_stretch(struct rdb *r, struct walk *w, struct part *p,
                          const struct packet_record *packet, uint32_t run)
{
    w->part = p;
    w->bucket = NULL;
    if (p->state != PART_TAKES)
        return false;
    struct bucket *b = p->bucket;
    if (!b) {
        touch(r, p);
        if (!(b = bucket_of(r, p))) {
            day_full(r, p->day);
            return false;
        }
    } else if (b->rows == RDB_BUCKET) {
        flush(r, p);
        if (p->state != PART_TAKES)
            return false;
    }
    if (!b->segs || b->run != run) {
        b->run = run;
        b->seg[b->segs++] = (struct seg){packet, 0};
        if (packet)
            p->qualities |= (uint8_t)(1u << (packet->quality & 7));
    }
    w->bucket = b;
    w->from = b->rows;
    return true;
}

void append_rows(struct rdb *r, const struct schema_set *schemas, const struct frame *f,
                 uint32_t *taken, uint32_t *refused)
{
    const uint8_t *at = frame_payload(f), *end = at + frame_payload_bytes(f);
    const struct packet_record *packet = NULL;
    uint64_t seq = (uint64_t)PST_NULL_LONG, step = 0;
    uint32_t run = 0, symbols = r->cfg.symbols_max, bad = 0, derived = 0;
    struct walk w = {0};
    r->frame = f;
    while ((size_t)(end - at) >= sizeof(struct record)) {
        const struct record *x = (const struct record *)at;
        uint32_t bytes = x->bytes, table = x->table;
        if (pst_unlikely(bytes < sizeof *x || bytes % 8 || bytes > end - at))
            break;
        if (table == TABLE_PACKET) {
            if (bytes != sizeof(struct packet_record))
                break;
            end_stretch(&w);
            w.part = NULL;
            packet = (const struct packet_record *)x;
            run++;
            step = !(packet->flags & (RUN_UNSEQUENCED | RUN_PACKET_SEQ));
            seq = packet->flags & RUN_UNSEQUENCED ? (uint64_t)PST_NULL_LONG : packet->seq;
            at += bytes;
            continue;
        }
        struct part *p = w.part;
        if (!p || p->table != table || !w.bucket || w.bucket->rows == RDB_BUCKET) {
            end_stretch(&w);
            w.part = NULL;
            w.bucket = NULL;
            p = table == TABLE_DERIVED ? NULL : day_part(r, schemas, f, table);
            if (!p || !begin_stretch(r, &w, p, packet, run)) {
                if (p)
                    not_taken(r, p);
                else if (table == TABLE_DERIVED)
                    derived++;
                else
                    bad++;
                w.part = NULL;
                at += bytes;
                seq += step;
                continue;
            }
        }
        const struct schema *s = p->schema;
        /* the null symbol + 1 is 0 */
        if (pst_unlikely(bytes < p->fixed || x->sym + 1 > symbols ||
                         (s->nstrings && !strings_fit(s, x)))) {
            bad++;
            at += bytes;
            seq += step;
            continue;
        }
        /* This row, and those behind it that begin with the same table and length: rows come in
         * such stretches, and no load has to be waited for to find the next one. */
        struct bucket *b = w.bucket;
        uint32_t n = b->rows, head = le32(at), most = s->nstrings ? n + 1 : RDB_BUCKET;
        do {
            __builtin_prefetch(at + AHEAD);
            b->row[n] = at;

            b->seq[n++] = (int64_t)seq;
            at += bytes;
            seq += step;
        } while (n < most && (size_t)(end - at) >= bytes && le32(at) == head &&
                 le32(at + 4) + 1 <= symbols);
        b->rows = n;
    }
    end_stretch(&w);
    if (at != end)
        bad++;
    settle(r, f, taken, refused);
    if (bad)
        bump(&r->f_bad, bad);
    if (derived)
        bump(&r->f_derived, derived);
}
