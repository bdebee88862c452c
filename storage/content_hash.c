/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/mman.h>
#include "content_hash.h"

/* MurmurHash3_x64_128 by Austin Appleby (public domain), seed 0. */
static uint64_t rotl(uint64_t x, int r)
{
    return x << r | x >> (64 - r);
}
static uint64_t fmix(uint64_t k)
{
    k ^= k >> 33;
    k *= 0xff51afd7ed558ccdull;
    k ^= k >> 33;
    k *= 0xc4ceb9fe1a85ec53ull;
    return k ^ k >> 33;
}
static uint64_t mix1(uint64_t k)
{
    return rotl(k * 0x87c37b91114253d5ull, 31) * 0x4cf5ad432745937full;
}
static uint64_t mix2(uint64_t k)
{
    return rotl(k * 0x4cf5ad432745937full, 33) * 0x87c37b91114253d5ull;
}

void hash128_of(const void *p, size_t n, struct hash128 *out)
{
    const uint8_t *b = p;
    uint64_t h1 = 0, h2 = 0;
    size_t left = n;
    for (; left >= 16; left -= 16, b += 16) {
        h1 = (rotl(h1 ^ mix1(le64(b)), 27) + h2) * 5 + 0x52dce729;
        h2 = (rotl(h2 ^ mix2(le64(b + 8)), 31) + h1) * 5 + 0x38495ab5;
    }
    uint8_t tail[16] = {0};
    memcpy(tail, b, left);
    if (left > 8)
        h2 ^= mix2(le64(tail + 8));
    if (left)
        h1 ^= mix1(le64(tail));
    h1 ^= n;
    h2 ^= n;
    h1 += h2;
    h2 += h1;
    h1 = fmix(h1);
    h2 = fmix(h2);
    h1 += h2;
    h2 += h1;
    *out = (struct hash128){h1, h2};
}

/* ---- words and keys ---- */

enum rule {
    RULE_WORD,   /* counts as it is */
    RULE_OUT,    /* never counts */
    RULE_RXTIME, /* counts when captured */
    RULE_TIME,   /* the same where it equals rxtime */
    RULE_FLAGS   /* bad_time counts when captured */
};

static enum rule rule_of(const struct schema *s, unsigned col)
{
    const char *name = s->col[col].name;
    if (s->feed) {
        if (col == 0)
            return RULE_TIME;
        if (col < SCHEMA_FEED_COLUMNS && !strcmp(name, "rxtime"))
            return RULE_RXTIME;
        return col < SCHEMA_FEED_COLUMNS && !strcmp(name, "flags") ? RULE_FLAGS : RULE_WORD;
    }
    if (!strcmp(s->name, "gap"))
        return col == 0 || !strcmp(name, "lines") ? RULE_OUT : RULE_WORD;
    return col == 0 && !strcmp(s->name, "alarm") ? RULE_OUT : RULE_WORD;
}

static hash_acc acc_of(struct hash128 h)
{
    return (hash_acc)h.hi << 64 | h.lo;
}

static void key_of(const struct column *c, struct content_key *k)
{
    uint8_t image[SCHEMA_NAME_MAX + 3];
    size_t n = strlen(c->name) + 1;
    memcpy(image, c->name, n);
    image[n] = (uint8_t)type_letter(c->type);
    for (uint8_t j = 0; j < 2; j++) {
        struct hash128 h;
        image[n + 1] = j;
        hash128_of(image, n + 2, &h);
        k->word[j] = acc_of(h) | 1;
    }
}

void content_columns_init(struct content_columns *c, const struct schema *s)
{
    struct hash128 h;
    c->schema = *s;
    hash128_of(s->name, strlen(s->name), &h);
    c->table = acc_of(h);
    c->rxtime = -1;
    for (unsigned i = 0; i < s->ncols; i++) {
        key_of(&s->col[i], &c->key[i]);
        c->rule[i] = (uint8_t)rule_of(s, i);
        if (c->rule[i] == RULE_RXTIME)
            c->rxtime = (int)i;
    }
}

bool content_columns_clocked(const struct content_columns *c)
{
    return c->schema.feed;
}

pst_inline uint64_t word_float(uint64_t v)
{
    return (v & 0x7FFFFFFFFFFFFFFFull) > 0x7FF0000000000000ull ? 0 : v ^ PST_NULL_FLOAT_BITS;
}
pst_inline uint64_t word_real(uint32_t v)
{
    return (v & 0x7FFFFFFFu) > 0x7F800000u ? 0 : v ^ PST_NULL_REAL_BITS;
}
pst_inline uint64_t word_8(uint64_t v)
{
    return v ^ (uint64_t)INT64_MIN;
}
pst_inline uint64_t word_4(uint32_t v)
{
    return v ^ (uint32_t)INT32_MIN;
}

/* The word of a fixed-width value but guid. */
static uint64_t word_of(uint8_t type, const uint8_t *v)
{
    switch (type) {
    case PST_BOOLEAN:
    case PST_BYTE:
        return *v;
    case PST_CHAR:
        return (uint64_t)(*v ^ PST_NULL_CHAR);
    case PST_SHORT:
        return (uint16_t)(le16(v) ^ (uint16_t)INT16_MIN);
    case PST_REAL:
        return word_real(le32(v));
    case PST_FLOAT:
        return word_float(le64(v));
    default:
        return type_width(type) == 8 ? word_8(le64(v)) : word_4(le32(v));
    }
}

static struct hash128 text_hash(const void *text, uint32_t len)
{
    struct hash128 h = {0, 0};
    if (len)
        hash128_of(text, len, &h);
    return h;
}

static hash_acc text_term(const struct content_key *k, struct hash128 h)
{
    return k->word[0] * h.lo + k->word[1] * h.hi;
}

static struct hash128 finish(hash_acc a)
{
    uint64_t h1 = (uint64_t)a, h2 = (uint64_t)(a >> 64);
    h1 += h2;
    h2 += h1;
    h1 = fmix(h1);
    h2 = fmix(h2);
    h1 += h2;
    return (struct hash128){h1, h2 + h1};
}

static void add128(struct hash128 *sum, struct hash128 one)
{
    sum->lo += one.lo;
    sum->hi += one.hi + (sum->lo < one.lo);
}

/* ---- the journal ---- */

bool content_hash_init(struct content_hash *h, struct err *err)
{
    memset(h, 0, sizeof *h);
    h->c = calloc(TABLE_MAX, sizeof *h->c);
    return h->c || err_set(err, -ENOMEM, "no memory for a content hash");
}

void content_hash_free(struct content_hash *h)
{
    for (unsigned i = 0; h->c && i < TABLE_MAX; i++)
        free(h->c[i]);
    free(h->c);
    free(h->sums);
    memset(h, 0, sizeof *h);
}

static struct content_sum *sum_of(struct content_hash *h, const char *table, uint16_t day)
{
    for (uint32_t i = 0; i < h->count; i++)
        if (h->sums[i].day == day && !strcmp(h->sums[i].table, table)) {
            /* the last one used moves to the front: rows come in runs of one table */
            if (i) {
                struct content_sum t = h->sums[i];
                h->sums[i] = h->sums[0];
                h->sums[0] = t;
            }
            return &h->sums[0];
        }
    if (h->count == h->room) {
        uint32_t room = h->room ? 2 * h->room : 16;
        struct content_sum *s = realloc(h->sums, room * sizeof *s);
        if (!s)
            return NULL;
        h->sums = s;
        h->room = room;
    }
    struct content_sum *s = &h->sums[h->count++];
    memset(s, 0, sizeof *s);
    strcpy(s->table, table);
    s->day = day;
    return s;
}

static struct content_columns *columns_of(struct content_hash *h, const struct schema *s)
{
    if (s->id >= TABLE_MAX)
        return NULL;
    struct content_columns **c = &h->c[s->id];
    if (!*c && (*c = malloc(sizeof **c)))
        content_columns_init(*c, s);
    return *c;
}

bool content_hash_row(struct content_hash *h, struct dictionary *d, const struct schema *s,
                      uint16_t day, const struct record *r, const struct packet_record *p,
                      int64_t seq)
{
    struct content_sum *sum = r->bytes >= s->fixed ? sum_of(h, s->name, day) : NULL;
    struct content_columns *k = sum ? columns_of(h, s) : NULL;
    if (!k) {
        h->skipped++;
        return false;
    }
    hash_acc a = k->table, full = 0; /* full: what only captured rows count */
    for (unsigned i = 0; i < s->ncols; i++) {
        const struct column *c = &s->col[i];
        const struct content_key *key = &k->key[i];
        const uint8_t *from = c->packet ? (const uint8_t *)p : (const uint8_t *)r;
        uint32_t len;
        if (c->packet && !p)
            continue; /* a feed table's row outside a run: its packet columns are null */
        if (c->type == PST_SYMBOL) {
            const char *text = dictionary_text(d, le32(from + c->offset), &len);
            a += text_term(key, text_hash(text, text ? len : 0));
        } else if (c->type == PST_STRING) {
            const char *text = record_string(r, c->offset, &len);
            if (!text) {
                h->skipped++;
                return false;
            }
            if (k->rule[i] != RULE_OUT)
                a += text_term(key, text_hash(text, len));
        } else if (c->type == PST_GUID) {
            a += key->word[0] * le64(from + c->offset) + key->word[1] * le64(from + c->offset + 8);
        } else if (c->packet && c->offset == offsetof(struct packet_record, seq)) {
            a += key->word[0] * word_8((uint64_t)seq);
        } else if (k->rule[i] == RULE_FLAGS) {
            uint32_t flags = p->flags & ROW_FLAG_MASK, sure = flags & ~(uint32_t)ROW_BAD_TIME;
            a += key->word[0] * word_4(sure);
            full += key->word[0] * word_4(flags) - key->word[0] * word_4(sure);
        } else if (k->rule[i] == RULE_RXTIME ||
                   (k->rule[i] == RULE_TIME && p && r->time == p->rxtime)) {
            full += key->word[0] * word_8(le64(from + c->offset));
        } else if (k->rule[i] != RULE_OUT) {
            a += key->word[0] * word_of(c->type, from + c->offset);
        }
    }
    struct hash128 one = finish(a);
    bool clocked = s->feed && p && p->quality != CLOCK_CAPTURE;
    add128(&sum->sum, one);
    add128(&sum->full, full ? finish(a + full) : one);
    sum->rows++;
    sum->captured += !clocked;
    return true;
}

bool content_hash_frame(struct content_hash *h, struct dictionary *d, const struct frame *f)
{
    if (!frame_has_rows(f))
        return true;
    struct record_walk w;
    const struct record *r;
    bool ok = true;
    record_walk_start(&w, f);
    while ((r = record_walk_next(&w))) {
        if (r->table == TABLE_DERIVED)
            continue;
        const struct schema *s = dictionary_schema(d, r->table);
        if (!s) {
            h->skipped++;
            ok = false;
        } else {
            ok &= content_hash_row(h, d, s, f->day, r, w.packet, record_walk_seq(&w));
        }
    }
    return ok && !w.bad;
}

static int by_table_day(const void *a, const void *b)
{
    const struct content_sum *x = a, *y = b;
    int c = strcmp(x->table, y->table);
    return c ? c : (int)x->day - (int)y->day;
}

void content_hash_sort(struct content_hash *h)
{
    if (h->count)
        qsort(h->sums, h->count, sizeof *h->sums, by_table_day);
}

const struct content_sum *content_hash_find(const struct content_hash *h, const char *table,
                                            uint16_t day)
{
    for (uint32_t i = 0; i < h->count; i++)
        if (h->sums[i].day == day && !strcmp(h->sums[i].table, table))
            return &h->sums[i];
    return NULL;
}

void content_sum_add(struct content_sum *a, const struct content_sum *b)
{
    a->rows += b->rows;
    a->captured += b->captured;
    add128(&a->sum, b->sum);
    add128(&a->full, b->full);
}

struct hash128 content_sum_hash(const struct content_sum *s)
{
    return s->captured == s->rows ? s->full : s->sum;
}

const char *hash128_text(struct hash128 h, char out[33])
{
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)h.hi, (unsigned long long)h.lo);
    return out;
}

const char *content_hash_text(const struct content_sum *s, char out[33])
{
    return hash128_text(content_sum_hash(s), out);
}

/* ---- column by column ---- */

bool content_symbols_init(struct content_symbols *s, uint64_t count, content_text text, void *arg,
                          struct err *err)
{
    *s = (struct content_symbols){.count = count, .text = text, .arg = arg};
    if (!count)
        return true;
    void *p = mmap(NULL, count * sizeof *s->of, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return err_set(err, -ENOMEM, "no memory for the hashes of %llu symbols",
                       (unsigned long long)count);
    s->of = p;
    return true;
}

void content_symbols_free(struct content_symbols *s)
{
    if (s->of)
        munmap(s->of, s->count * sizeof *s->of);
    memset(s, 0, sizeof *s);
}

/* A computed hash is never all zeros (and if it were, it would be computed again). */
pst_inline struct hash128 symbol_hash(struct content_symbols *s, uint64_t id)
{
    if (pst_unlikely(id >= s->count))
        return (struct hash128){0, 0};
    struct hash128 *h = &s->of[id];
    if (pst_unlikely(!(h->lo | h->hi))) {
        uint32_t len = 0;
        const char *text = s->text(s->arg, id, &len);
        *h = text_hash(text, text ? len : 0);
    }
    return *h;
}

void content_columns_ids(const struct content_columns *c, unsigned col, hash_acc *acc,
                         const uint32_t *ids, uint32_t n, struct content_symbols *symbols)
{
    struct content_key k = c->key[col];
    for (uint32_t i = 0; i < n; i++)
        acc[i] += text_term(&k, symbol_hash(symbols, ids[i]));
}

void content_columns_indexes(const struct content_columns *c, unsigned col, hash_acc *acc,
                             const int64_t *indexes, uint32_t n, struct content_symbols *symbols)
{
    struct content_key k = c->key[col];
    for (uint32_t i = 0; i < n; i++)
        acc[i] += text_term(&k, symbol_hash(symbols, (uint64_t)indexes[i]));
}

void content_columns_string(const struct content_columns *c, unsigned col, hash_acc *acc,
                            const void *text, uint32_t len)
{
    if (c->rule[col] != RULE_OUT)
        *acc += text_term(&c->key[col], text_hash(text, len));
}

#define EACH(type, word)                                                                           \
    do {                                                                                           \
        const type *v = values;                                                                    \
        for (uint32_t i = 0; i < n; i++)                                                           \
            acc[i] += k * (word);                                                                  \
    } while (0)

void content_columns_add(const struct content_columns *c, unsigned col, hash_acc *acc,
                         const void *values, const int64_t *rxtime, uint32_t n, bool captured)
{
    hash_acc k = c->key[col].word[0], k1 = c->key[col].word[1];
    enum rule rule = c->rule[col];
    uint8_t type = c->schema.col[col].type;
    if (rule == RULE_OUT || (rule == RULE_RXTIME && !captured))
        return;
    if (rule == RULE_TIME && !captured && rxtime) {
        const int64_t *v = values;
        for (uint32_t i = 0; i < n; i++)
            acc[i] += k * (v[i] == rxtime[i] ? 0 : word_8((uint64_t)v[i]));
        return;
    }
    if (rule == RULE_FLAGS) {
        uint32_t out = captured ? 0 : ROW_BAD_TIME;
        EACH(uint32_t, word_4(v[i] & ~out));
        return;
    }
    switch (type) {
    case PST_BOOLEAN:
    case PST_BYTE:
        EACH(uint8_t, (uint64_t)v[i]);
        break;
    case PST_CHAR:
        EACH(uint8_t, (uint64_t)(v[i] ^ PST_NULL_CHAR));
        break;
    case PST_SHORT:
        EACH(uint16_t, (uint64_t)(uint16_t)(v[i] ^ (uint16_t)INT16_MIN));
        break;
    case PST_REAL:
        EACH(uint32_t, word_real(v[i]));
        break;
    case PST_FLOAT:
        EACH(uint64_t, word_float(v[i]));
        break;
    case PST_GUID: {
        const uint64_t *v = values;
        for (uint32_t i = 0; i < n; i++)
            acc[i] += k * v[2 * i] + k1 * v[2 * i + 1];
        break;
    }
    case PST_SYMBOL:
    case PST_STRING:
        break; /* their own functions */
    default:
        if (type_width(type) == 8)
            EACH(uint64_t, word_8(v[i]));
        else
            EACH(uint32_t, word_4(v[i]));
    }
}

void content_columns_end(const struct content_columns *c, const hash_acc *acc, const uint8_t *keep,
                         uint32_t n, struct hash128 *sum)
{
    hash_acc total = acc_of(*sum);
    for (uint32_t i = 0; i < n; i++)
        if (!keep || keep[i])
            total += acc_of(finish(acc[i] + c->table));
    *sum = (struct hash128){(uint64_t)total, (uint64_t)(total >> 64)};
}
