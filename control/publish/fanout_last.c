/* SPDX-License-Identifier: Apache-2.0 */
/* Conflation: of the rows of each symbol or key the last one, in the order in which they came. */
#include "publish/fanout_int.h"

struct last_row {
    uint64_t hash;
    uint32_t next, prev; /* by age; slot numbers + 1, 0: none */
    uint32_t room;       /* bytes of its record */
    struct last_blob {
        struct packet_record packet;
        struct staged staged;
        uint8_t record[];
    } * blob;
};

struct last {
    const struct schema *schema;
    uint32_t *slot; /* row + 1 */
    uint32_t slots;
    struct last_row *row;
    uint32_t rows, room;
    uint32_t oldest, newest;
    size_t bytes;
};

struct last *last_new(const struct schema *s)
{
    struct last *l = calloc(1, sizeof *l);
    if (l)
        l->schema = s;
    return l;
}

void last_clear(struct last *l)
{
    for (uint32_t i = 0; i < l->rows; i++)
        free(l->row[i].blob);
    free(l->row);
    free(l->slot);
    *l = (struct last){.schema = l->schema};
}

void last_free(struct last *l)
{
    if (!l)
        return;
    last_clear(l);
    free(l);
}

uint32_t last_count(const struct last *l)
{
    return l->rows;
}

size_t last_bytes(const struct last *l)
{
    return l->bytes;
}

/* ---- keys ---- */

static const void *key_part(const struct schema *s, unsigned i, const struct record *r,
                            const struct packet_record *p, const struct staged *staged,
                            uint32_t *len)
{
    const struct column *c = &s->col[i];
    *len = type_width(c->type);
    if (c->packet && c->offset == offsetof(struct packet_record, seq))
        return &staged->seq;
    if (c->packet)
        return (const uint8_t *)p + c->offset;
    return c->type == PST_STRING ? (const void *)record_string(r, c->offset, len)
                                 : (const uint8_t *)r + c->offset;
}

static uint64_t key_hash(const struct schema *s, const struct record *r,
                         const struct packet_record *p, const struct staged *staged)
{
    if (!s->nkeys)
        return (uint64_t)r->sym * 0x9E3779B97F4A7C15ull >> 16;
    uint64_t h = 0;
    for (unsigned k = 0; k < s->nkeys; k++) {
        uint32_t len;
        const void *at = key_part(s, s->keys[k], r, p, staged, &len);
        h = (h ^ spec_hash(at, len)) * 0x9E3779B97F4A7C15ull;
        h ^= h >> 29;
    }
    return h;
}

static bool key_equal(const struct schema *s, const struct last_blob *b, const struct record *r,
                      const struct packet_record *p, const struct staged *staged)
{
    const struct record *old = (const struct record *)b->record;
    if (!s->nkeys)
        return old->sym == r->sym;
    for (unsigned k = 0; k < s->nkeys; k++) {
        uint32_t a, c;
        const void *x = key_part(s, s->keys[k], old, &b->packet, &b->staged, &a);
        const void *y = key_part(s, s->keys[k], r, p, staged, &c);
        if (a != c || memcmp(x, y, a))
            return false;
    }
    return true;
}

/* ---- rows ---- */

static void unlink_row(struct last *l, uint32_t i)
{
    struct last_row *r = &l->row[i];
    *(r->prev ? &l->row[r->prev - 1].next : &l->oldest) = r->next;
    *(r->next ? &l->row[r->next - 1].prev : &l->newest) = r->prev;
}

static void link_newest(struct last *l, uint32_t i)
{
    struct last_row *r = &l->row[i];
    r->next = 0;
    r->prev = l->newest;
    *(l->newest ? &l->row[l->newest - 1].next : &l->oldest) = i + 1;
    l->newest = i + 1;
}

static bool room_for_one(struct last *l)
{
    if (l->rows == l->room) {
        uint32_t room = l->room ? 2 * l->room : 16;
        struct last_row *p = realloc(l->row, room * sizeof *p);
        if (!p)
            return false;
        l->row = p;
        l->room = room;
    }
    if (2 * (l->rows + 1) <= l->slots)
        return true;
    uint32_t slots = l->slots ? 2 * l->slots : 64;
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!slot)
        return false;
    for (uint32_t i = 0; i < l->rows; i++) {
        uint32_t at = (uint32_t)l->row[i].hash & (slots - 1);
        while (slot[at])
            at = (at + 1) & (slots - 1);
        slot[at] = i + 1;
    }
    free(l->slot);
    l->slot = slot;
    l->slots = slots;
    return true;
}

bool last_put(struct last *l, const struct encoder *e, uint32_t row)
{
    const struct record *r = encoder_record(e, row);
    const struct staged *st = encoder_staged(e, row);
    const struct packet_record *p =
        (const struct packet_record *)(e->arena + (size_t)st->packet * 8);
    uint64_t hash = key_hash(l->schema, r, p, st);
    if (!room_for_one(l))
        return false;
    uint32_t at = (uint32_t)hash & (l->slots - 1), i;
    for (; l->slot[at]; at = (at + 1) & (l->slots - 1)) {
        i = l->slot[at] - 1;
        if (l->row[i].hash == hash && key_equal(l->schema, l->row[i].blob, r, p, st))
            break;
    }
    bool fresh = !l->slot[at];
    struct last_row *to = fresh ? &l->row[l->rows] : &l->row[l->slot[at] - 1];
    if (fresh)
        *to = (struct last_row){.hash = hash};
    if (!to->blob || to->room < r->bytes) {
        struct last_blob *b = realloc(to->blob, sizeof *b + r->bytes);
        if (!b)
            return false;
        l->bytes += r->bytes - to->room + (to->blob ? 0 : sizeof *b + sizeof *to);
        to->blob = b;
        to->room = r->bytes;
    }
    to->blob->packet = *p;
    to->blob->staged = *st;
    memcpy(to->blob->record, r, r->bytes);
    i = (uint32_t)(to - l->row);
    if (fresh) {
        l->slot[at] = ++l->rows;
    } else {
        unlink_row(l, i);
    }
    link_newest(l, i);
    return true;
}

uint32_t last_take(struct last *l, struct encoder *e, uint32_t *rows, uint32_t most)
{
    uint32_t n = 0;
    while (l->oldest && n < most) {
        uint32_t i = l->oldest - 1;
        const struct last_blob *b = l->row[i].blob;
        const struct record *r = (const struct record *)b->record;
        if (!encoder_room(e, r->bytes))
            break;
        uint32_t packet = encoder_packet(e, &b->packet);
        /* what stands for no packet record keeps its flags, which have no such bits */
        ((struct packet_record *)(e->arena + (size_t)packet * 8))->flags = b->packet.flags;
        rows[n++] = encoder_row(e, r, packet, b->staged.seq, b->staged.day);
        unlink_row(l, i);
    }
    return n;
}
