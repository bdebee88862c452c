/* SPDX-License-Identifier: Apache-2.0 */
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

bool content_hash_init(struct content_hash *h, struct err *err)
{
    memset(h, 0, sizeof *h);
    /* a row's image: its values (at most a record) plus name and text of every column */
    h->image_room = RECORD_MAX + SCHEMA_COLUMNS_MAX * (SCHEMA_NAME_MAX + 16 + SYMBOL_TEXT_MAX) +
                    SCHEMA_NAME_MAX + 64;
    h->image = malloc(h->image_room);
    return h->image || err_set(err, -ENOMEM, "no memory for a content hash");
}

void content_hash_free(struct content_hash *h)
{
    free(h->sums);
    free(h->image);
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

static bool left_out(const struct schema *s, unsigned col, const struct record *r,
                     const struct packet_record *p, bool capture)
{
    const char *name = s->col[col].name;
    if (s->feed)
        return p && !capture &&
               (!strcmp(name, "rxtime") ? col < SCHEMA_FEED_COLUMNS
                                        : col == 0 && r->time == p->rxtime);
    if (!strcmp(s->name, "gap"))
        return col == 0 || !strcmp(name, "lines");
    return col == 0 && !strcmp(s->name, "alarm");
}

/* Bits of a value as they are hashed; n = its width. */
static uint64_t canonical(uint8_t type, uint64_t v)
{
    if (type == PST_FLOAT && (v & 0x7FFFFFFFFFFFFFFFull) > 0x7FF0000000000000ull)
        return PST_NULL_FLOAT_BITS;
    if (type == PST_REAL && (v & 0x7FFFFFFFu) > 0x7F800000u)
        return PST_NULL_REAL_BITS;
    return v;
}

static uint8_t *put_text(uint8_t *at, const char *text, uint32_t len)
{
    put32(at, len);
    memcpy(at + 4, text, len);
    return at + 4 + len;
}

bool content_hash_row(struct content_hash *h, struct dictionary *d, const struct schema *s,
                      uint16_t day, const struct record *r, const struct packet_record *p,
                      int64_t seq)
{
    struct content_sum *sum = r->bytes >= s->fixed ? sum_of(h, s->name, day) : NULL;
    if (!sum) {
        h->skipped++;
        return false;
    }
    bool capture = p && p->quality == CLOCK_CAPTURE;
    uint8_t *at = h->image;
    size_t n = strlen(s->name) + 1;
    memcpy(at, s->name, n);
    at += n;
    for (unsigned i = 0; i < s->ncols; i++) {
        const struct column *c = &s->col[i];
        if (left_out(s, i, r, p, capture))
            continue;
        n = strlen(c->name) + 1;
        memcpy(at, c->name, n);
        at += n;
        *at++ = (uint8_t)type_letter(c->type);
        const uint8_t *from = c->packet ? (const uint8_t *)p : (const uint8_t *)r;
        uint32_t len;
        if (c->packet && !p) { /* a feed table's row outside a run: its packet columns are null */
            *at++ = 0xFF;
        } else if (c->packet && c->offset == offsetof(struct packet_record, seq)) {
            put64(at, (uint64_t)seq);
            at += 8;
        } else if (c->packet && c->offset == offsetof(struct packet_record, flags)) {
            uint32_t mask = capture ? ROW_FLAG_MASK : ROW_FLAG_MASK & ~(uint32_t)ROW_BAD_TIME;
            put32(at, p->flags & mask);
            at += 4;
        } else if (c->type == PST_SYMBOL) {
            const char *text = dictionary_text(d, le32(from + c->offset), &len);
            at = put_text(at, text ? text : "", text ? len : 0);
        } else if (c->type == PST_STRING) {
            const char *text = record_string(r, c->offset, &len);
            /* several strings may share bytes: only a lying record makes the image overflow */
            size_t used = (size_t)(at - h->image) + 2048;
            if (!text || used >= h->image_room || len > h->image_room - used) {
                h->skipped++;
                return false;
            }
            at = put_text(at, text, len);
        } else {
            unsigned w = type_width(c->type);
            if (w == 8 || w == 4) {
                uint64_t v =
                    canonical(c->type, w == 8 ? le64(from + c->offset) : le32(from + c->offset));
                memcpy(at, &v, w);
            } else {
                memcpy(at, from + c->offset, w);
            }
            at += w;
        }
        if ((size_t)(at - h->image) > h->image_room - 1024) {
            h->skipped++;
            return false;
        }
    }
    struct hash128 one;
    hash128_of(h->image, (size_t)(at - h->image), &one);
    sum->sum.lo += one.lo;
    sum->sum.hi += one.hi + (sum->sum.lo < one.lo);
    sum->rows++;
    return true;
}

bool content_hash_frame(struct content_hash *h, struct dictionary *d, const struct frame *f)
{
    if (f->kind != FRAME_DATA && f->kind != FRAME_GAP)
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

const char *content_hash_text(const struct content_sum *s, char out[33])
{
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)s->sum.hi,
             (unsigned long long)s->sum.lo);
    return out;
}
