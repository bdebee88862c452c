/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writedown_log.c - the rows of a day from the log files. The first pass collects everything; if
 * that does not fit, the day is surveyed (rows and bytes by table and symbol) and read once more
 * for each part that does. Rows are kept as the RDB keeps them (rdb_layout.h: chunks, widths), and
 * the same rows are left out for the same reasons.
 */
#include <sys/mman.h>
#include "writedown_log.h"

#define STEP_BYTES (64ull << 20)

bool wd_log_open(struct wd_log *l, struct io *io, const struct writedown_job *job, uint64_t region,
                 const struct wd_log_table *tables, unsigned ntables, struct err *err)
{
    const struct writedown_log *log = job->log;
    memset(l, 0, sizeof *l);
    l->io = io;
    l->day = (uint16_t)job->day;
    l->from = log->from;
    l->first = job->first;
    l->end = job->end ? job->end : UINT64_MAX;
    struct cursor_config cc = {
        .io = io, .prefix = log->prefix, .instance = job->instance, .limit = CURSOR_DURABLE};
    memcpy(cc.dirs, log->dirs, sizeof cc.dirs);
    if (!cursor_open(&l->cursor, &cc, err))
        return false;
    l->open = true;
    l->region = region;
    void *p = mmap(NULL, region, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    l->base = p == MAP_FAILED ? NULL : p;
    l->table = calloc(ntables + 1, sizeof *l->table);
    l->by_id = malloc(TABLE_MAX * sizeof *l->by_id);
    l->part_by_id = malloc(TABLE_MAX * sizeof *l->part_by_id);
    if (!l->base || !l->table || !l->by_id || !l->part_by_id) {
        wd_log_close(l);
        return err_set(err, -ENOMEM, "no memory to read a day from the log");
    }
    memcpy(l->table, tables, ntables * sizeof *tables);
    l->ntables = ntables;
    for (unsigned i = 0; i < TABLE_MAX; i++)
        l->by_id[i] = -2;
    return true;
}

uint64_t wd_log_cost(uint64_t rows, uint64_t bytes)
{
    if (!rows)
        return 0;
    uint32_t last = rdb_chunk_of((uint32_t)(rows - 1)); /* chunks are taken whole */
    uint64_t whole = rdb_chunk_first(last) + rdb_chunk_room(last);
    return (uint64_t)((double)bytes * (double)whole / (double)rows);
}

static void drop_parts(struct wd_log *l)
{
    for (unsigned i = 0; i < l->parts; i++) {
        free(l->part[i]->chunk);
        free(l->part[i]);
    }
    l->parts = 0;
    l->used = 64; /* an offset is never 0 */
}

void wd_log_close(struct wd_log *l)
{
    drop_parts(l);
    free(l->part);
    for (unsigned i = 0; l->table && i < l->ntables; i++) {
        for (uint32_t k = 0; l->table[i].count && k < l->table[i].counts; k++)
            free(l->table[i].count[k].sample);
        free(l->table[i].count);
    }
    free(l->table);
    free(l->by_id);
    free(l->part_by_id);
    if (l->base)
        munmap(l->base, l->region);
    if (l->open)
        cursor_close(&l->cursor);
    memset(l, 0, sizeof *l);
}

bool wd_log_begin(struct wd_log *l, enum wd_log_mode mode, struct err *err)
{
    drop_parts(l);
    madvise(l->base, l->region, MADV_DONTNEED);
    l->mode = mode;
    l->full = false;
    l->rows = l->bytes = l->lost_bytes = l->bad_rows = 0;
    l->reached = 0;
    for (unsigned i = 0; i < TABLE_MAX; i++)
        l->part_by_id[i] = -1;
    for (unsigned i = 0; mode == WD_SURVEY && i < l->ntables; i++)
        l->table[i].rows = l->table[i].bytes = 0;
    l->passes++;
    if (l->from)
        return cursor_seek(&l->cursor, l->from) ||
               err_set(err, l->cursor.err.code, "the log cannot be read: %s", l->cursor.err.text);
    if (!cursor_seek_day(&l->cursor, l->day))
        return err_set(err, -ENOENT, "the log has no file of that day");
    return true;
}

/* ---- one row ---- */

static uint64_t take(struct wd_log *l, uint64_t bytes)
{
    uint64_t at = pst_align_up(l->used, 64);
    if (at + bytes > l->region)
        return 0;
    l->used = at + bytes;
    return at;
}

static struct wd_logpart *part_of(struct wd_log *l, const struct schema *s, unsigned table)
{
    if (l->part_by_id[s->id] >= 0)
        return l->part[l->part_by_id[s->id]];
    if (l->parts == l->part_room) {
        unsigned room = l->part_room ? 2 * l->part_room : 64;
        struct wd_logpart **p = realloc(l->part, room * sizeof *p);
        if (!p)
            return NULL;
        l->part = p;
        l->part_room = room;
    }
    struct wd_logpart *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->schema = *s;
    p->table = table;
    p->base = l->base;
    l->part_by_id[s->id] = (int32_t)l->parts;
    return l->part[l->parts++] = p;
}

static bool grow(struct wd_log *l, struct wd_logpart *p)
{
    uint32_t c = rdb_chunk_of((uint32_t)p->rows), room = rdb_chunk_room(c);
    if (c >= p->chunk_room) {
        uint32_t n = 2 * p->chunk_room + 16;
        uint64_t **k = realloc(p->chunk, n * sizeof *k);
        if (!k)
            return false;
        p->chunk = k;
        p->chunk_room = n;
    }
    uint64_t at = take(l, p->schema.ncols * sizeof(uint64_t));
    if (!at)
        return false;
    uint64_t *col = (uint64_t *)(void *)(l->base + at);
    for (unsigned i = 0; i < p->schema.ncols; i++)
        if (!(col[i] = take(l, (uint64_t)room * type_width(p->schema.col[i].type))))
            return false;
    p->chunk[c] = col;
    p->chunks = c + 1;
    return true;
}

static const struct packet_record no_packet = {
    .rxtime = PST_NULL_TIMESTAMP,
    .feed = PST_NULL_SYMBOL,
    .session = PST_NULL_SYMBOL,
    .line = PST_NULL_SYMBOL,
    .flags = 0x80000000u,
};

/* False: no memory. */
static bool collect(struct wd_log *l, const struct schema *s, unsigned table,
                    const struct record *r, const struct packet_record *x, int64_t seq)
{
    struct wd_logpart *p = part_of(l, s, table);
    if (!p || p->rows >= WD_DROPPED - 1)
        return false;
    uint32_t c = rdb_chunk_of((uint32_t)p->rows);
    if (c >= p->chunks && !grow(l, p))
        return false;
    uint64_t at = p->rows - rdb_chunk_first(c);
    if (x && s->feed)
        p->qualities |= 1u << (x->quality & 7);
    for (unsigned i = 0; i < s->ncols; i++) {
        const struct column *k = &s->col[i];
        unsigned w = type_width(k->type);
        uint8_t *to = l->base + p->chunk[c][i] + at * w;
        const uint8_t *from = (const uint8_t *)r + k->offset;
        if (k->packet) {
            const struct packet_record *q = x ? x : &no_packet;
            from = (const uint8_t *)q + k->offset;
            if (k->offset == offsetof(struct packet_record, seq))
                from = (const uint8_t *)&seq;
            uint32_t flags = x ? q->flags & ROW_FLAG_MASK : q->flags;
            if (k->offset == offsetof(struct packet_record, flags))
                from = (const uint8_t *)&flags;
            memcpy(to, from, w);
        } else if (k->type == PST_STRING) {
            uint32_t len;
            const char *text = record_string(r, k->offset, &len);
            uint64_t value = 0;
            if (len) {
                if (l->used + len > l->region)
                    return false;
                memcpy(l->base + l->used, text, len);
                value = l->used << 16 | len;
                l->used += len;
            }
            memcpy(to, &value, 8);
        } else {
            memcpy(to, from, w);
        }
    }
    p->rows++;
    return true;
}

static uint32_t code_of(const struct wd_log *l, uint32_t id)
{
    return l->codes ? wd_code_id(l->codes, id) : id + 1;
}

static bool survey(struct wd_log *l, struct wd_log_table *t, uint32_t code, uint32_t bytes)
{
    if (code >= t->counts) {
        uint32_t n = code + code / 2 + 64;
        struct wd_count *c = realloc(t->count, n * sizeof *c);
        if (!c)
            return false;
        memset(c + t->counts, 0, (n - t->counts) * sizeof *c);
        t->count = c;
        t->counts = n;
    }
    t->count[code].rows++;
    t->count[code].bytes += bytes;
    t->rows++;
    t->bytes += bytes;
    (void)l;
    return true;
}

static void sample(struct wd_log_table *t, uint32_t code, int64_t time)
{
    struct wd_count *c = code < t->counts ? &t->count[code] : NULL;
    if (c && c->sample && c->seen++ % c->stride == 0)
        c->sample[c->samples++] = time;
}

static bool strings_fit(const struct schema *s, const struct record *r, uint32_t *bytes)
{
    for (unsigned c = 2, left = s->nstrings; left && c < s->ncols; c++) {
        uint32_t len;
        if (s->col[c].type != PST_STRING || s->col[c].packet)
            continue;
        if (!record_string(r, s->col[c].offset, &len))
            return false;
        *bytes += len;
        left--;
    }
    return true;
}

static void highest(struct wd_log *l, const struct schema *s, const struct record *r,
                    const struct packet_record *x)
{
    for (unsigned c = 1; c < s->ncols; c++) {
        if (s->col[c].type != PST_SYMBOL || (s->col[c].packet && !x))
            continue;
        uint32_t id =
            le32((s->col[c].packet ? (const uint8_t *)x : (const uint8_t *)r) + s->col[c].offset);
        if (id != PST_NULL_SYMBOL && id >= l->ids && id < l->cursor.dict.next)
            l->ids = id + 1;
    }
}

static uint32_t width(const struct schema *s)
{
    uint32_t w = 0;
    for (unsigned i = 0; i < s->ncols; i++)
        w += type_width(s->col[i].type);
    return w;
}

/* False: no memory for it. */
static bool row(struct wd_log *l, const struct schema *s, unsigned table, const struct record *r,
                const struct packet_record *x, int64_t seq)
{
    struct wd_log_table *t = &l->table[table];
    uint32_t bytes = 0;
    if (r->bytes < s->fixed || !strings_fit(s, r, &bytes)) {
        l->bad_rows++;
        return true;
    }
    if (l->mode == WD_SURVEY) {
        l->rows++;
        highest(l, s, r, x);
        return survey(l, t, code_of(l, r->sym), bytes + width(s));
    }
    if (l->mode == WD_SAMPLE) {
        sample(t, code_of(l, r->sym), r->time);
        return true;
    }
    if (!t->all) {
        const struct wd_unit *u = t->unit;
        if (!u)
            return true;
        if (u->ranged) {
            uint32_t rank = l->ranks[code_of(l, r->sym)];
            if (rank < u->rank_lo || rank >= u->rank_hi ||
                (u->timed && (r->time < u->time_lo || r->time > u->time_hi)))
                return true;
        }
    }
    l->rows++;
    highest(l, s, r, x);
    return collect(l, s, table, r, x, seq);
}

static int table_of(struct wd_log *l, const struct schema *s)
{
    int16_t *t = &l->by_id[s->id];
    if (*t == -2) {
        *t = -1;
        for (unsigned i = 0; i < l->ntables; i++)
            if (!strcmp(l->table[i].schema->name, s->name))
                *t = (int16_t)i;
    }
    return *t;
}

static bool frame_rows(struct wd_log *l, const struct frame *f)
{
    struct record_walk w;
    const struct record *r;
    const struct schema *s = NULL;
    int table = -1;
    unsigned last = TABLE_MAX;
    record_walk_start(&w, f);
    while ((r = record_walk_next(&w))) {
        if (r->table == TABLE_DERIVED)
            continue;
        if (r->table != last) {
            last = r->table;
            s = dictionary_schema(&l->cursor.dict, last);
            table = s ? table_of(l, s) : -1;
            l->bad_rows += !s;
        }
        if (!s || table < 0)
            continue;
        if (!l->seen[last]) {
            l->seen[last] = true;
            l->version[l->versions++] = (uint16_t)last;
        }
        if (!row(l, s, (unsigned)table, r, w.packet, record_walk_seq(&w)))
            return false;
    }
    l->bad_rows += w.bad;
    return true;
}

int wd_log_step(struct wd_log *l, const _Atomic bool *cancel, struct err *err)
{
    const struct frame *f;
    struct cursor *c = &l->cursor;
    for (uint64_t bytes = 0; bytes < STEP_BYTES;) {
        if (load_relaxed(cancel))
            return err_set(err, -ECANCELED, "cancelled") - 1;
        if (c->position >= l->end)
            return 0;
        switch (cursor_next(c, &f)) {
        case CURSOR_FRAME:
            if (f->position >= l->end)
                return 0;
            bytes += f->length;
            l->bytes += f->length;
            l->reached = f->position + f->length;
            if (f->day == l->day && f->position >= l->first &&
                frame_has_rows(f) && !frame_rows(l, f)) {
                if (l->mode != WD_COLLECT)
                    return err_set(err, -ENOMEM, "no memory to survey the log") - 1;
                l->full = true;
                return 0;
            }
            break;
        case CURSOR_LOST:
            if (c->lost_from < l->end)
                l->lost_bytes += (c->lost_to < l->end ? c->lost_to : l->end) - c->lost_from;
            break;
        case CURSOR_WAIT:
        case CURSOR_END:
            if (l->end != UINT64_MAX && c->position < l->end)
                return err_set(err, -ENODATA,
                               "the log ends at %llu, before the end of the day at %llu: files are "
                               "missing",
                               (unsigned long long)c->position, (unsigned long long)l->end) -
                       1;
            return 0;
        case CURSOR_REWOUND:
            return err_set(err, -EAGAIN, "the journal was taken back to %llu while it was read",
                           (unsigned long long)c->rewound_old) -
                   1;
        default:
            return err_set(err, c->err.code ? c->err.code : -EIO, "the log cannot be read: %s",
                           c->err.text) -
                   1;
        }
    }
    return 1;
}
