/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition_order.c - the place of every row. A counting sort by symbol rank over the sources in
 * arrival order is stable by itself; only symbols whose times descend somewhere are then sorted by
 * time, by merging the runs that ascend (mostly one long run and a few short ones).
 */
#include <sys/mman.h>
#include "partition.h"

#define HUGE_FROM (8u << 20)

/* ---- symbols ---- */

bool wd_symbols_init(struct wd_symbols *s, struct hdb_sym *sym, struct err *err)
{
    *s = (struct wd_symbols){.sym = sym, .ids = sym->mapped, .codes = sym->count + 1};
    if (!sym->map)
        return true;
    s->code = malloc(((size_t)sym->mapped + 1) * sizeof *s->code);
    if (!s->code)
        return err_set(err, -ENOMEM, "no memory for the codes of %u symbols", sym->mapped);
    for (uint32_t i = 0; i < sym->mapped; i++)
        s->code[i] = wd_code_index(s, hdb_sym_index(sym, i));
    return true;
}

void wd_symbols_free(struct wd_symbols *s)
{
    free(s->code);
    memset(s, 0, sizeof *s);
}

struct ranked {
    const char *text;
    uint32_t len, code;
};

static int by_text(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int c = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    if (!c)
        c = x->len < y->len ? -1 : x->len > y->len;
    return c ? c : x->code < y->code ? -1 : x->code > y->code;
}

int64_t wd_rank(const struct wd_symbols *s, const uint32_t *count, uint32_t **out)
{
    uint64_t n = 0, k = 0;
    for (uint32_t c = 0; c < s->codes; c++)
        n += count[c] != 0;
    struct ranked *r = malloc((n + 1) * sizeof *r);
    *out = malloc((n + 1) * sizeof **out);
    if (!r || !*out) {
        free(r);
        free(*out);
        return -1;
    }
    for (uint32_t c = 0; c < s->codes; c++)
        if (count[c]) {
            r[k] = (struct ranked){"", 0, c};
            if (c)
                r[k].text = hdb_sym_text(s->sym, (int64_t)c - 1, &r[k].len);
            if (!r[k].text)
                r[k] = (struct ranked){"", 0, c};
            k++;
        }
    qsort(r, n, sizeof *r, by_text);
    for (k = 0; k < n; k++)
        (*out)[k] = r[k].code;
    free(r);
    return (int64_t)n;
}

/* ---- sorting by time ---- */

static void insertion(struct wd_key *k, uint64_t from, uint64_t n)
{
    for (uint64_t i = from; i < n; i++) {
        struct wd_key x = k[i];
        uint64_t j = i;
        for (; j && k[j - 1].time > x.time; j--)
            k[j] = k[j - 1];
        k[j] = x;
    }
}

static void merge(const struct wd_key *a, uint64_t na, const struct wd_key *b, uint64_t nb,
                  struct wd_key *out)
{
    const struct wd_key *ae = a + na, *be = b + nb;
    while (a < ae && b < be)
        *out++ = b->time < a->time ? *b++ : *a++;
    memcpy(out, a, (size_t)((const char *)ae - (const char *)a));
    memcpy(out + (ae - a), b, (size_t)((const char *)be - (const char *)b));
}

#define RUN_MIN 32u

/* One pass over the runs, pairs merged into `to`. Returns the number of runs left. A run ends where
 * the time descends; short ones were made longer before. */
static uint64_t merge_pass(const struct wd_key *k, uint64_t n, struct wd_key *to)
{
    uint64_t runs = 0;
    for (uint64_t a = 0; a < n; runs++) {
        uint64_t b = a + 1;
        while (b < n && k[b].time >= k[b - 1].time)
            b++;
        uint64_t c = b;
        if (c < n)
            c++;
        while (c < n && k[c].time >= k[c - 1].time)
            c++;
        merge(k + a, b - a, k + b, c - b, to + a);
        a = c;
    }
    return runs;
}

void wd_sort(struct wd_key *key, uint64_t n, struct wd_key *spare)
{
    /* make runs of at least RUN_MIN */
    for (uint64_t a = 0; a < n;) {
        uint64_t b = a + 1;
        while (b < n && key[b].time >= key[b - 1].time)
            b++;
        if (b - a < RUN_MIN && b < n) {
            uint64_t end = a + RUN_MIN < n ? a + RUN_MIN : n;
            insertion(key + a, b - a, end - a);
            b = end;
        }
        a = b;
    }
    struct wd_key *from = key, *to = spare;
    for (;;) {
        uint64_t runs = merge_pass(from, n, to);
        struct wd_key *t = from;
        from = to;
        to = t;
        if (runs <= 1)
            break;
    }
    if (from != key)
        memcpy(key, from, n * sizeof *key);
}

/* ---- walking all rows of the sources ---- */

struct walk {
    const struct wd_source *source;
    unsigned nsources, s, end; /* it goes through the sources below `end` */
    uint32_t k, chunks;
    const struct wd_symbols *symbols;
    struct wd_reader *reader;
    const struct wd_grouped *grouped;
    const _Atomic bool *cancel;
    struct err *err;
    bool failed;
    uint64_t first; /* the chunk's */
    uint32_t rows;
    uint32_t code[WD_SLICE]; /* symbols of a block */
    uint32_t at, n;          /* the block: rows at … at + n - 1 of the chunk */
    struct wd_values sym, time;
};

static void walk_some(struct walk *w, unsigned from, unsigned end)
{
    w->s = from;
    w->end = end;
    w->k = 0;
    w->at = w->n = w->rows = 0;
    w->failed = false;
    w->chunks = from < end ? wd_chunks(&w->source[from]) : 0;
}
static void walk_start(struct walk *w)
{
    walk_some(w, 0, w->nsources);
}

static bool walk_chunk(struct walk *w)
{
    while (w->k == w->chunks) {
        if (w->s + 1 >= w->end)
            return false;
        w->chunks = wd_chunks(&w->source[++w->s]);
        w->k = 0;
    }
    if (load_relaxed(w->cancel))
        return !(w->failed = !err_set(w->err, -ECANCELED, "cancelled"));
    const struct wd_source *s = &w->source[w->s];
    uint32_t k = w->k++;
    w->sym.values = w->time.values = NULL;
    if ((s->from[1] >= 0 &&
         !wd_values(w->reader, 0, s, k, (unsigned)s->from[1], false, &w->sym, w->err)) ||
        (s->from[0] >= 0 &&
         !wd_values(w->reader, 1, s, k, (unsigned)s->from[0], false, &w->time, w->err)))
        return !(w->failed = true);
    wd_chunk_rows(s, k, &w->first, &w->rows);
    w->at = w->n = 0;
    return true;
}

/* The next block with the codes of its symbols; false: the end, or failed. */
static bool walk_next(struct walk *w)
{
    w->at += w->n;
    w->n = 0;
    if (w->at == w->rows && !walk_chunk(w))
        return false;
    uint32_t n = w->rows - w->at < WD_SLICE ? w->rows - w->at : WD_SLICE;
    if (!w->sym.values) {
        memset(w->code, 0, n * sizeof *w->code);
    } else if (w->sym.disk) {
        const int64_t *v = (const int64_t *)w->sym.values + w->at;
        for (uint32_t i = 0; i < n; i++)
            w->code[i] = wd_code_index(w->symbols, v[i]);
    } else {
        const uint32_t *v = (const uint32_t *)w->sym.values + w->at;
        for (uint32_t i = 0; i < n; i++)
            w->code[i] = wd_code_id(w->symbols, v[i]);
    }
    w->n = n;
    return true;
}

pst_inline int64_t walk_time(const struct walk *w, uint32_t i)
{
    return w->time.values ? ((const int64_t *)w->time.values)[w->at + i] : PST_NULL_LONG;
}

/* ---- keys ---- */

/* The bytes that tell a key from others, for one row. Symbols as codes, strings as their text. */
static bool key_value(struct wd_values *v, const struct wd_symbols *symbols, uint8_t type,
                      uint32_t i, const uint8_t **at, uint32_t *len, uint64_t word[2])
{
    *at = (const uint8_t *)word;
    *len = 8;
    word[0] = word[1] = 0;
    if (!v->values) { /* the source has no such column: the type's null, as a symbol's code or text
                       */
        static const uint64_t nan8 = PST_NULL_FLOAT_BITS;
        static const uint32_t nan4 = PST_NULL_REAL_BITS;
        if (type == PST_STRING)
            *len = 0;
        else if (type == PST_FLOAT)
            word[0] = nan8;
        else if (type == PST_REAL)
            word[0] = nan4;
        else if (type == PST_CHAR)
            word[0] = PST_NULL_CHAR;
        else if (type == PST_SHORT)
            word[0] = (uint16_t)PST_NULL_SHORT;
        else if (type_width(type) == 8)
            word[0] = (uint64_t)PST_NULL_LONG;
        else if (type_width(type) == 4 && type != PST_SYMBOL)
            word[0] = (uint32_t)PST_NULL_INT;
        else if (type == PST_GUID)
            *len = 16;
        return true;
    }
    if (type == PST_STRING)
        return (*at = wd_text(v, i, len)) != NULL;
    if (type == PST_SYMBOL) {
        word[0] = v->disk ? wd_code_index(symbols, ((const int64_t *)v->values)[i])
                          : wd_code_id(symbols, ((const uint32_t *)v->values)[i]);
        return true;
    }
    uint8_t wide[16];
    const uint8_t *from = (const uint8_t *)v->values + (size_t)i * type_width(v->type);
    unsigned w = type_width(type);
    if (v->type != type) {
        wd_convert(v->type, type, from, wide, 1);
        from = wide;
    }
    memcpy(word, from, w);
    if (type == PST_FLOAT && (word[0] & 0x7FFFFFFFFFFFFFFFull) > 0x7FF0000000000000ull)
        word[0] = PST_NULL_FLOAT_BITS;
    if (type == PST_REAL && (word[0] & 0x7FFFFFFFu) > 0x7F800000u)
        word[0] = PST_NULL_REAL_BITS;
    if (w == 16)
        *len = 16;
    return true;
}

/* Keys' images lie one behind the other; a slot of the hash names the last row that had a key. */
struct keys {
    struct {
        uint64_t at; /* of the image */
        uint32_t len, row;
    } * slot;
    uint64_t slots, used;
    uint8_t *images;
    uint64_t bytes, room;
};

static uint64_t keys_find(const struct keys *k, const uint8_t *image, uint32_t len)
{
    struct hash128 h;
    hash128_of(image, len, &h);
    uint64_t i = h.lo & (k->slots - 1);
    while (k->slot[i].len &&
           (k->slot[i].len != len || memcmp(k->images + k->slot[i].at, image, len) != 0))
        i = (i + 1) & (k->slots - 1);
    return i;
}

static bool keys_grow(struct keys *k)
{
    struct keys n = *k;
    n.slots = k->slots ? 2 * k->slots : 4096;
    n.slot = calloc(n.slots, sizeof *n.slot);
    if (!n.slot)
        return false;
    for (uint64_t i = 0; i < k->slots; i++)
        if (k->slot[i].len)
            n.slot[keys_find(&n, k->images + k->slot[i].at, k->slot[i].len)] = k->slot[i];
    free(k->slot);
    *k = n;
    return true;
}

/* Row `row` has this key: it stays, the one before it does not. */
static bool keys_put(struct keys *k, const uint8_t *image, uint32_t len, uint32_t row,
                     uint8_t *keep)
{
    if (2 * k->used >= k->slots && !keys_grow(k))
        return false;
    uint64_t i = keys_find(k, image, len);
    if (k->slot[i].len) {
        keep[k->slot[i].row] = 0;
    } else {
        if (k->bytes + len > k->room) {
            uint64_t room = 2 * k->room + len + 65536;
            uint8_t *b = realloc(k->images, room);
            if (!b)
                return false;
            k->images = b;
            k->room = room;
        }
        memcpy(k->images + k->bytes, image, len);
        k->slot[i].at = k->bytes;
        k->slot[i].len = len;
        k->bytes += len;
        k->used++;
    }
    k->slot[i].row = row;
    keep[row] = 1;
    return true;
}

/* Which rows of a keyed table stay. Two readers' slots are not enough for all key columns: the
 * images of a chunk are made column by column. */
static bool mark_kept(struct wd_order *o, const struct schema *target, struct walk *w)
{
    struct keys k = {0};
    struct image {
        uint8_t *at;
        uint32_t len, room;
    } *image = calloc(WD_SLICE, sizeof *image);
    bool ok = image != NULL;
    for (unsigned s = 0; ok && s < w->nsources; s++) {
        const struct wd_source *src = &w->source[s];
        uint32_t chunks = wd_chunks(src);
        for (uint32_t c = 0; ok && c < chunks; c++) {
            if (load_relaxed(w->cancel)) {
                w->failed = !err_set(w->err, -ECANCELED, "cancelled");
                ok = false;
                break;
            }
            uint32_t rows;
            uint64_t first;
            wd_chunk_rows(src, c, &first, &rows);
            for (uint32_t at = 0; ok && at < rows; at += WD_SLICE) {
                uint32_t n = rows - at < WD_SLICE ? rows - at : WD_SLICE;
                for (unsigned j = 0; ok && j < target->nkeys; j++) {
                    unsigned col = target->keys[j];
                    struct wd_values v = {0};
                    if (src->from[col] >= 0)
                        ok = wd_values(w->reader, 0, src, c, (unsigned)src->from[col], true, &v,
                                       w->err);
                    w->failed |= !ok;
                    for (uint32_t i = 0; ok && i < n; i++) {
                        const uint8_t *p;
                        uint32_t len;
                        uint64_t word[2];
                        struct image *m = &image[i];
                        if (!j)
                            m->len = 0;
                        if (!key_value(&v, w->symbols, target->col[col].type, at + i, &p, &len,
                                       word)) {
                            err_set(w->err, -EBADMSG, "table %s: a key's text is damaged",
                                    target->name);
                            w->failed = true;
                            ok = false;
                            break;
                        }
                        if (m->len + len + 4 > m->room) {
                            uint32_t room = 2 * m->room + len + 64;
                            uint8_t *b = realloc(m->at, room);
                            ok = b != NULL;
                            if (!ok)
                                break;
                            m->at = b;
                            m->room = room;
                        }
                        put32(m->at + m->len, len);
                        memcpy(m->at + m->len + 4, p, len);
                        m->len += len + 4;
                    }
                }
                for (uint32_t i = 0; ok && i < n; i++)
                    ok = keys_put(&k, image[i].at, image[i].len, (uint32_t)(first + at + i),
                                  o->keep);
            }
        }
    }
    for (uint32_t i = 0; image && i < WD_SLICE; i++)
        free(image[i].at);
    free(image);
    free(k.slot);
    free(k.images);
    return ok || w->failed ||
           err_set(w->err, -ENOMEM, "no memory for the keys of table %s", target->name);
}

/* ---- the whole ---- */

#define SORT_ROWS (32ull << 20)
#define NOT_NOW   UINT64_MAX

struct sort {         /* symbols whose times descend, so many at a time as there is room for */
    uint64_t *offset; /* by code: its keys; NOT_NOW */
    struct wd_key *key, *spare;
    uint32_t from, end; /* codes of this time */
    uint64_t rows, most;
};

/* The next symbols: room for their keys. False: no more, or no memory (failed). */
static bool sort_next(struct sort *s, const struct walk *w, const uint8_t *descends,
                      const uint32_t *count, bool *failed)
{
    uint64_t room = w->reader->sort_rows ? w->reader->sort_rows : SORT_ROWS;
    s->from = s->end;
    s->rows = s->most = 0;
    for (; s->end < w->symbols->codes; s->end++) {
        uint32_t c = s->end;
        s->offset[c] = NOT_NOW;
        if (!descends[c])
            continue;
        if (s->rows && s->rows + count[c] > room)
            break;
        s->offset[c] = s->rows;
        s->rows += count[c];
        s->most = count[c] > s->most ? count[c] : s->most;
    }
    free(s->key);
    free(s->spare);
    s->key = s->spare = NULL;
    if (!s->rows)
        return false;
    s->key = malloc(s->rows * sizeof *s->key);
    s->spare = malloc(s->most * sizeof *s->spare);
    *failed = !s->key || !s->spare;
    return !*failed;
}

/* Rows of symbols in `descends` are sorted by time. */
static bool sort_times(struct wd_order *o, struct walk *w, const uint8_t *descends,
                       const uint32_t *start, const uint32_t *count, struct err *err)
{
    bool failed = false, ok = true;
    struct sort s = {.offset = malloc((size_t)w->symbols->codes * sizeof *s.offset)};
    for (uint32_t c = 0; s.offset && c < w->symbols->codes; c++)
        s.offset[c] = NOT_NOW;
    while (s.offset && ok && sort_next(&s, w, descends, count, &failed)) {
        walk_start(w);
        while (walk_next(w))
            for (uint32_t i = 0; i < w->n; i++) {
                uint64_t row = w->first + w->at + i;
                uint32_t c = w->code[i];
                if (s.offset[c] != NOT_NOW && o->place[row] != WD_DROPPED)
                    s.key[s.offset[c] + o->place[row] - start[c]] =
                        (struct wd_key){walk_time(w, i), (uint32_t)row, 0};
            }
        ok = !w->failed;
        for (uint32_t c = s.from; ok && c < s.end; c++) {
            if (s.offset[c] == NOT_NOW)
                continue;
            struct wd_key *k = s.key + s.offset[c];
            wd_sort(k, count[c], s.spare);
            for (uint32_t i = 0; i < count[c]; i++)
                o->place[k[i].row] = start[c] + i;
            o->sorted += count[c];
            s.offset[c] = NOT_NOW;
        }
    }
    if (!s.offset || failed)
        ok = err_set(err, -ENOMEM, "no memory to sort %llu rows by time",
                     (unsigned long long)s.rows);
    free(s.offset);
    free(s.key);
    free(s.spare);
    return ok;
}

/* ---- sources in the order of time ---- */

/* The times of one source. */
struct span {
    int64_t first, last;
    bool ascends, any;
};

static void span_add(struct span *s, const struct walk *w)
{
    int64_t at = s->any ? s->last : INT64_MIN;
    bool up = true;
    if (!s->any)
        s->first = walk_time(w, 0);
    for (uint32_t i = 0; i < w->n; i++) {
        int64_t t = walk_time(w, i);
        up &= t >= at;
        at = t;
    }
    s->ascends = (s->ascends || !s->any) && up;
    s->last = at;
    s->any = true;
}

/* How many sources from `from` on are to be merged by time: consecutive ones, each ascending. 0:
 * one alone does not, or they follow each other in time anyway. */
static unsigned merged(const struct walk *w, const struct span *span, unsigned from)
{
    unsigned n = 0;
    bool apart = true;
    int64_t last = INT64_MIN;
    for (; from + n < w->nsources && n < WD_LANES; n++) {
        const struct span *s = &span[from + n];
        if (w->source[from + n].kind != WD_LOADED || (s->any && !s->ascends))
            break;
        if (!s->any)
            continue;
        apart &= s->first >= last;
        last = s->last > last ? s->last : last;
    }
    return apart ? 0 : n;
}

/* ---- places ---- */

struct places {
    uint32_t *next; /* by code: where its next row goes */
    int64_t *last;  /* the time of its last one */
    uint8_t *descends;
    int64_t lo, hi;
};

/* Counting sort by rank; notes symbols whose times descend. */
static bool place_plain(struct wd_order *o, struct walk *w, unsigned from, unsigned end,
                        struct places *p)
{
    int64_t lo = p->lo, hi = p->hi;
    walk_some(w, from, end);
    while (walk_next(w)) {
        uint64_t row = w->first + w->at;
        const int64_t *time = w->time.values ? (const int64_t *)w->time.values + w->at : NULL;
        uint32_t *place = o->place + row;
        for (uint32_t i = 0; i < w->n; i++) {
            if (o->keep && !o->keep[row + i]) {
                place[i] = WD_DROPPED;
                continue;
            }
            uint32_t c = w->code[i];
            int64_t t = time ? time[i] : PST_NULL_LONG;
            place[i] = p->next[c]++;
            p->descends[c] |= t < p->last[c];
            p->last[c] = t;
            lo = t < lo ? t : lo;
            hi = t > hi ? t : hi;
        }
    }
    p->lo = lo;
    p->hi = hi;
    return !w->failed;
}

/* The same for rows in the order of time. A symbol's times descend once at most: behind the sources
 * before these. `alone`: there are none. */
static bool place_merged(struct wd_order *o, struct walk *w, unsigned from, unsigned n, bool alone,
                         struct places *p)
{
    struct wd_merge m;
    if (!wd_merge_open(&m, w->source + from, n, NULL, NULL, w->err))
        return false;
    bool stop = false;
    while (!stop && wd_merge_next(&m)) {
        stop = load_relaxed(w->cancel);
        if (w->reader->seen)
            bump(w->reader->seen, (uint64_t)m.n * 12);
        int64_t lo = wd_merge_time(&m, 0), hi = wd_merge_time(&m, m.n - 1);
        p->lo = lo < p->lo ? lo : p->lo;
        p->hi = hi > p->hi ? hi : p->hi;
        if (alone && !o->keep) {
            for (uint32_t i = 0; i < m.n; i++) {
                uint32_t x = wd_merge_number(&m, i);
                o->place[m.in_row[x]] = p->next[m.in_code[x]]++;
            }
            continue;
        }
        for (uint32_t i = 0; i < m.n; i++) {
            uint32_t x = wd_merge_number(&m, i), row = m.in_row[x], c = m.in_code[x];
            int64_t time = wd_merge_time(&m, i);
            if (o->keep && !o->keep[row]) {
                o->place[row] = WD_DROPPED;
                continue;
            }
            o->place[row] = p->next[c]++;
            p->descends[c] |= time < p->last[c];
            p->last[c] = time;
        }
    }
    wd_merge_close(&m);
    return !stop || err_set(w->err, -ECANCELED, "cancelled");
}

struct first_of {
    int64_t time;
    struct wd_step step;
};
static int by_first_time(const void *a, const void *b)
{
    const struct first_of *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    if (x->step.source != y->step.source)
        return x->step.source < y->step.source ? -1 : 1;
    return x->step.chunk < y->step.chunk ? -1 : x->step.chunk > y->step.chunk;
}

bool wd_walk_make(struct wd_order *o, const struct wd_source *source, unsigned nsources,
                  struct err *err)
{
    uint64_t n = 0, k = 0;
    for (unsigned i = 0; i < nsources; i++)
        n += wd_chunks(&source[i]);
    struct first_of *f = malloc((n + 1) * sizeof *f);
    free(o->walk);
    o->walk = malloc((n + 1) * sizeof *o->walk);
    bool ok = f && o->walk;
    if (!ok)
        err_set(err, -ENOMEM, "no memory for the order of %llu pieces", (unsigned long long)n);
    for (unsigned i = 0; ok && i < nsources; i++) {
        const struct wd_source *s = &source[i];
        uint32_t chunks = wd_chunks(s);
        const int64_t *time = NULL;
        if (chunks && s->kind == WD_LOADED && s->from[0] >= 0)
            ok = (time = wd_loaded_flat(s, (unsigned)s->from[0], err)) != NULL;
        for (uint32_t c = 0; ok && c < chunks; c++)
            f[k++] = (struct first_of){time ? time[(uint64_t)c * WD_SLICE] : INT64_MIN, {i, c}};
    }
    if (ok) {
        qsort(f, k, sizeof *f, by_first_time);
        for (uint64_t i = 0; i < k; i++)
            o->walk[i] = f[i].step;
        o->nwalk = k;
    } else {
        free(o->walk);
        o->walk = NULL;
    }
    free(f);
    return ok;
}

static bool place_rows(struct wd_order *o, struct walk *w, const struct span *span,
                       struct places *p)
{
    bool ok = true, any = false;
    unsigned at = 0;
    while (ok && at < w->nsources) {
        unsigned n = merged(w, span, at), plain = 0;
        if (n) {
            ok = place_merged(o, w, at, n, !at, p);
            any = true;
            at += n;
            continue;
        }
        do
            plain++;
        while (at + plain < w->nsources && !merged(w, span, at + plain));
        ok = place_plain(o, w, at, at + plain, p);
        at += plain;
    }
    o->time_min = p->lo;
    o->time_max = p->hi;
    return ok && (!any || wd_walk_make(o, w->source, w->nsources, w->err));
}

static bool make(struct wd_order *o, const struct schema *target, struct walk *w, struct err *err)
{
    uint32_t codes = w->symbols->codes;
    uint32_t *count = calloc(codes, sizeof *count), *next = malloc(codes * sizeof *next);
    uint32_t *start = malloc(codes * sizeof *start), *rank = NULL;
    int64_t *last = malloc(codes * sizeof *last);
    uint8_t *descends = calloc(codes, 1);
    struct span *span = calloc(w->nsources + 1, sizeof *span);
    bool ok = count && next && start && last && descends && span;
    if (!ok)
        err_set(err, -ENOMEM, "no memory to order %u symbols", codes);
    if (ok && target->nkeys)
        ok = mark_kept(o, target, w);
    if (ok) {
        walk_start(w);
        while (walk_next(w)) {
            const uint8_t *keep = o->keep ? o->keep + w->first + w->at : NULL;
            for (uint32_t i = 0; i < w->n; i++)
                count[w->code[i]] += keep ? keep[i] : 1;
            if (w->source[w->s].kind == WD_LOADED)
                span_add(&span[w->s], w);
        }
        ok = !w->failed;
    }
    int64_t n = ok ? wd_rank(w->symbols, count, &rank) : -1;
    if (ok && n >= 0) {
        o->ngroups = (uint64_t)n;
        o->group = malloc(((size_t)n + 1) * sizeof *o->group);
    }
    if (ok && !o->group)
        ok = err_set(err, -ENOMEM, "no memory for %lld groups", (long long)n);
    if (ok) {
        uint64_t at = 0;
        for (int64_t i = 0; i < n; i++) {
            uint32_t c = rank[i];
            start[c] = next[c] = (uint32_t)at;
            last[c] = INT64_MIN;
            o->group[i] = (struct hdb_group){c ? (int64_t)c - 1 : PST_NULL_LONG, at, count[c]};
            at += count[c];
        }
        o->placed = at;
        if (w->grouped)
            w->grouped->begin(w->grouped->arg, o);
        struct places p = {next, last, descends, INT64_MAX, INT64_MIN};
        ok = place_rows(o, w, span, &p);
    }
    if (ok && memchr(descends, 1, codes))
        ok = sort_times(o, w, descends, start, count, err);
    free(count);
    free(next);
    free(start);
    free(rank);
    free(last);
    free(descends);
    free(span);
    return ok;
}

bool wd_order_make(struct wd_order *o, const struct schema *target, const struct wd_source *source,
                   unsigned nsources, const struct wd_symbols *symbols, struct wd_reader *reader,
                   unsigned threads, const struct wd_grouped *grouped, const _Atomic bool *cancel,
                   struct err *err)
{
    memset(o, 0, sizeof *o);
    for (unsigned i = 0; i < nsources; i++)
        o->rows += source[i].rows;
    if (o->rows >= WD_DROPPED)
        return err_set(err, -EFBIG,
                       "table %s has %llu rows of one day: a partition holds fewer than 2^32",
                       target->name, (unsigned long long)o->rows);
    o->place = malloc((o->rows + 1) * sizeof *o->place);
    if (o->place && o->rows * sizeof *o->place >= HUGE_FROM) { /* written all over, page by page */
        uint8_t *at = (uint8_t *)(void *)o->place;
        uintptr_t from = pst_align_up((uintptr_t)at, 4096);
        madvise(at + (from - (uintptr_t)at), o->rows * sizeof *o->place - 4096, MADV_HUGEPAGE);
    }
    if (target->nkeys)
        o->keep = calloc(o->rows + 1, 1);
    struct walk *w = calloc(1, sizeof *w);
    bool ok = o->place && w && (o->keep || !target->nkeys);
    if (!ok)
        err_set(err, -ENOMEM, "no memory to order %llu rows of table %s",
                (unsigned long long)o->rows, target->name);
    enum wd_split split = WD_SPLIT_NOT;
    if (ok)
        split = wd_order_split(o, source, nsources, symbols, threads, grouped, cancel, err);
    if (split != WD_SPLIT_NOT) {
        ok = split == WD_SPLIT_DONE;
    } else if (ok) {
        w->source = source;
        w->nsources = nsources;
        w->symbols = symbols;
        w->reader = reader;
        w->grouped = grouped;
        w->cancel = cancel;
        w->err = err;
        ok = make(o, target, w, err);
    }
    free(w);
    if (ok)
        return true;
    if (grouped)
        grouped->end(grouped->arg);
    wd_order_free(o);
    return false;
}

void wd_order_free(struct wd_order *o)
{
    free(o->place);
    free(o->keep);
    free(o->group);
    free(o->walk);
    memset(o, 0, sizeof *o);
}
