/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "rdb_map.h"

#define CUT_TRIES 100000u

/* What lies at an offset: `bytes` of it are there and aligned, else NULL. */
pst_inline const void *at(const struct rdb_map *m, uint64_t offset, uint64_t bytes, uint64_t align)
{
    if (pst_unlikely(!offset || offset % align || offset > m->bytes || bytes > m->bytes - offset))
        return NULL;
    return m->base + offset;
}

static const struct rdb_head *head(const struct rdb_map *m)
{
    return (const struct rdb_head *)(const void *)m->base;
}

bool rdb_map_attach(struct rdb_map *m, int fd, struct err *err)
{
    struct stat st;
    memset(m, 0, sizeof *m);
    m->fd = -1;
    if (fstat(fd, &st))
        return err_set(err, -errno, "rdb: fstat: %s", strerror(errno));
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return err_set(err, -EPERM, "rdb: the descriptor is not sealed: its bytes could vanish");
    uint64_t bytes = (uint64_t)st.st_size;
    if (bytes < sizeof(struct rdb_head))
        return err_set(err, -EBADMSG, "rdb: the descriptor is not an RDB of this version");
    void *base = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return err_set(err, -errno, "rdb: cannot map %llu MiB: %s",
                       (unsigned long long)(bytes >> 20), strerror(errno));
    const struct rdb_head *h = base;
    if (memcmp(h->magic, RDB_MAGIC, 8) || h->bytes != bytes || h->part_slots != RDB_PARTS ||
        h->part_stride != RDB_PART_STRIDE || h->parts_at % 64 || h->parts_at < sizeof *h ||
        h->parts_at > bytes || h->symbols_max > RDB_LIST_IDS ||
        bytes - h->parts_at < (uint64_t)RDB_PARTS * RDB_PART_STRIDE) {
        munmap(base, bytes);
        return err_set(err, -EBADMSG, "rdb: the descriptor is not an RDB of this version");
    }
    *m = (struct rdb_map){.base = base,
                          .bytes = bytes,
                          .fd = fd,
                          .parts_at = h->parts_at,
                          .symbols_max = h->symbols_max};
    return true;
}

void rdb_map_close(struct rdb_map *m)
{
    if (m->base && m->fd >= 0) {
        munmap((void *)(uintptr_t)m->base, m->bytes);
        close(m->fd);
    }
    memset(m, 0, sizeof *m);
    m->fd = -1;
}

/* ---- the cut ---- */

bool rdb_cut_read(const struct rdb_map *m, struct rdb_cut *cut)
{
    const struct rdb_cut_lock *c = &head(m)->cut;
    for (uint32_t try = 0; try < CUT_TRIES; try++) {
        uint32_t seq = load_acquire(&c->seq); /* Q2: pairs with Q1 in rdb_publish */
        if (seq & 1) {
            cpu_relax();
            continue;
        }
        uint32_t n = load_relaxed(&c->nparts);
        n = n < RDB_PARTS ? n : RDB_PARTS;
        cut->position = load_relaxed(&c->position);
        cut->serial = load_relaxed(&c->serial);
        cut->time = load_relaxed(&c->time);
        cut->nparts = n;
        for (uint32_t i = 0; i < n; i++) {
            uint64_t v = load_relaxed(&c->part[i]);
            cut->part[i].rows = (uint32_t)v;
            cut->part[i].generation = (uint32_t)(v >> 32);
        }
        fence_acquire(); /* Q4: pairs with Q3 */
        if (load_relaxed(&c->seq) == seq)
            return true;
    }
    return false;
}

static const struct rdb_part *part_at(const struct rdb_map *m, uint32_t slot)
{
    return slot < RDB_PARTS ? (const struct rdb_part *)(const void *)(m->base + m->parts_at +
                                                                      slot * RDB_PART_STRIDE)
                            : NULL;
}

bool rdb_part_name(const struct rdb_map *m, uint32_t slot, uint32_t generation,
                   struct rdb_part_name *out)
{
    const struct rdb_part *p = part_at(m, slot);
    if (!p || !generation || load_acquire(&p->generation) != generation) /* P2: pairs with P1 */
        return false;
    /* the owner may give the slot to another part at this moment: word by word, then asked again */
    uint64_t ids[2], name[SCHEMA_NAME_MAX / 8];
    const _Atomic uint64_t *words = (const _Atomic uint64_t *)(const void *)p;
    for (unsigned i = 0; i < 2; i++)
        ids[i] = load_relaxed(words + i);
    words += offsetof(struct rdb_part, schema) / 8;
    for (unsigned i = 0; i < PST_COUNT(name); i++)
        name[i] = load_relaxed(words + i);
    fence_acquire(); /* P4: pairs with P3 in give_slot */
    if (load_relaxed(&p->generation) != generation)
        return false;
    *out = (struct rdb_part_name){.slot = slot,
                                  .generation = generation,
                                  .day_slot = (uint32_t)(ids[0] >> 32),
                                  .table = (uint16_t)ids[1],
                                  .day = (uint16_t)(ids[1] >> 16),
                                  .calendar = (uint16_t)(ids[1] >> 32)};
    memcpy(out->name, name, sizeof out->name);
    out->name[sizeof out->name - 1] = 0;
    return true;
}
_Static_assert(offsetof(struct rdb_part, day_slot) == 4 && offsetof(struct rdb_part, table) == 8 &&
                   offsetof(struct rdb_part, day) == 10 &&
                   offsetof(struct rdb_part, calendar) == 12 &&
                   offsetof(struct rdb_part, schema) % 8 == 0 &&
                   offsetof(struct schema, name) == 0 && SCHEMA_NAME_MAX % 8 == 0,
               "rdb_part_name's words");

/* ---- a part ---- */

static bool schema_ok(const struct schema *s, uint8_t *width)
{
    if (s->ncols < 2 || s->ncols > SCHEMA_COLUMNS_MAX || s->nkeys > PST_COUNT(s->keys) ||
        !memchr(s->name, 0, sizeof s->name))
        return false;
    for (unsigned i = 0; i < s->ncols; i++) {
        unsigned w = type_width(s->col[i].type);
        if (!w || !memchr(s->col[i].name, 0, sizeof s->col[i].name))
            return false;
        width[i] = (uint8_t)w;
    }
    for (unsigned i = 0; i < s->nkeys; i++)
        if (s->keys[i] >= s->ncols)
            return false;
    return s->col[0].type == PST_TIMESTAMP && s->col[1].type == PST_SYMBOL;
}

bool rdb_part_open(const struct rdb_map *m, uint32_t slot, uint32_t table, uint32_t day,
                   uint32_t rows, struct rdb_part_view *v, struct err *err)
{
    const struct rdb_part *p = part_at(m, slot);
    memset(v, 0, sizeof *v);
    if (!p || p->table != table || p->day != day)
        return err_set(err, -ESTALE, "rdb: part %u does not hold table %u of day %u (any more)",
                       slot, table, day);
    v->schema = p->schema;
    if (!schema_ok(&v->schema, v->width) || v->schema.id != table)
        return err_set(err, -EBADMSG, "rdb: the schema of part %u is corrupt", slot);
    v->map = m;
    v->part = p;
    v->slot = slot;
    v->rows = rows;
    v->chunks = rows ? rdb_chunk_of(rows - 1) + 1 : 0;
    v->syms = load_relaxed(&p->syms_high);
    v->keys = load_relaxed(&p->nkeys);
    v->syms = v->syms < m->symbols_max ? v->syms : m->symbols_max;
    v->keys = v->keys < rows ? v->keys : rows; /* each has a row before the next one is made */

    v->qualities = load_relaxed(&p->qualities);
    v->string_bytes = load_relaxed(&p->string_bytes);
    return true;
}

/* ---- columns ---- */

static const struct rdb_chunk *chunk_at(const struct rdb_part_view *v, uint32_t chunk)
{
    if (chunk >= v->chunks)
        return NULL;
    uint64_t page = load_acquire(&v->part->chunk_page[chunk >> 8]); /* O2 */
    const _Atomic uint64_t *entry = at(v->map, page, 256 * sizeof(uint64_t), 8);
    if (!entry)
        return NULL;
    uint64_t where = load_acquire(entry + (chunk & 255)); /* O2 */
    return at(v->map, where, sizeof(struct rdb_chunk) + v->schema.ncols * sizeof(uint64_t), 64);
}

bool rdb_chunk_open(const struct rdb_part_view *v, uint32_t chunk, struct rdb_chunk_view *out)
{
    const struct rdb_chunk *k = chunk_at(v, chunk);
    if (!k)
        return false;
    uint64_t first = rdb_chunk_first(chunk);
    uint32_t room = rdb_chunk_room(chunk);
    out->first = (uint32_t)first;
    out->rows = v->rows - first < room ? v->rows - (uint32_t)first : room;
    out->time_min = load_relaxed(&k->time_min);
    out->time_max = load_relaxed(&k->time_max);
    out->ascends = !load_relaxed(&k->descends);
    for (unsigned i = 0; i < v->schema.ncols; i++) {
        out->col[i] = at(v->map, k->col[i], (uint64_t)room * v->width[i], 64);
        if (!out->col[i])
            return false;
    }
    return true;
}

const void *rdb_value(const struct rdb_part_view *v, uint32_t row, unsigned column)
{
    if (row >= v->rows || column >= v->schema.ncols)
        return NULL;
    uint32_t chunk = rdb_chunk_of(row);
    const struct rdb_chunk *k = chunk_at(v, chunk);
    const uint8_t *run =
        k ? at(v->map, k->col[column], (uint64_t)rdb_chunk_room(chunk) * v->width[column], 64)
          : NULL;
    return run ? run + (row - rdb_chunk_first(chunk)) * v->width[column] : NULL;
}

const char *rdb_string(const struct rdb_map *m, uint64_t value, uint32_t *len)
{
    *len = value & 0xFFFF;
    return *len ? at(m, value >> 16, *len, 1) : "";
}

/* ---- row lists ---- */

static const struct rdb_block *block_at(const struct rdb_map *m, uint64_t offset)
{
    const struct rdb_block *b = at(m, offset, sizeof *b, 64);
    if (!b || !b->room || b->room > RDB_BLOCK_MAX)
        return NULL;
    return at(m, offset, sizeof *b + b->room * sizeof(uint32_t), 64);
}

/* How many of a block's first n entries lie below the cut; they ascend. */
static uint32_t below(const struct rdb_block *b, uint32_t n, uint32_t rows)
{
    if (!n || load_relaxed(&b->row[n - 1]) < rows)
        return n;
    uint32_t lo = 0, hi = n - 1;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (load_relaxed(&b->row[mid]) < rows)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The first n numbers of a block, if every one of them is a row: who gets them may follow them. */
static uint32_t hand_out(const struct rdb_block *b, uint32_t n, uint32_t rows, const uint32_t **ids)
{
    const uint32_t *row = (const uint32_t *)(const void *)b->row;
    uint32_t beyond = 0;
    for (uint32_t i = 0; i < n; i++)
        beyond |= row[i] >= rows;
    *ids = row;
    return beyond ? 0 : n;
}

/* Goes back from the newest block to the last one with a row below the cut. */
static bool open_list(const struct rdb_part_view *v, const struct rdb_list *l,
                      struct rdb_list_view *o)
{
    memset(o, 0, sizeof *o);
    o->map = v->map;
    o->rows = v->rows;
    if (!l)
        return true;
    o->seen = load_acquire(&l->count); /* N2 */
    if (!o->seen || !v->rows)
        return true;
    o->next = load_acquire(&l->first); /* O2 */
    uint64_t prev = load_acquire(&l->last);
    uint32_t upper = UINT32_MAX;
    for (;;) {
        const struct rdb_block *b = block_at(v->map, prev);
        if (!b || b->before >= upper)
            return false; /* `before` falls with every block: the walk ends */
        upper = b->before;
        uint32_t n = o->seen > upper ? o->seen - upper : 0; /* written when it was opened */
        n = below(b, n < b->room ? n : b->room, o->rows);
        if (n) {
            o->count = o->left = upper + n;
            o->prev = prev;
            return true;
        }
        if (!upper)
            return true;
        prev = b->prev;
    }
}

/* NULL with *ok: no such list. */
static const struct rdb_list *list_at(const struct rdb_map *m, uint64_t root, uint32_t id, bool *ok)
{
    uint64_t offset = root;
    *ok = true;
    for (int shift = 18; offset && shift >= 8; shift -= 10) {
        const _Atomic uint64_t *node = at(m, offset, RDB_NODE * sizeof(uint64_t), 64);
        if (!node)
            return *ok = false, NULL;
        offset = load_acquire(node + (id >> shift) % RDB_NODE); /* O2 */
    }
    if (!offset)
        return NULL;
    const struct rdb_list *page = at(m, offset, RDB_LISTS * sizeof *page, 64);
    *ok = page != NULL;
    return page ? page + id % RDB_LISTS : NULL;
}

bool rdb_list_open(const struct rdb_part_view *v, uint32_t sym, struct rdb_list_view *o)
{
    bool ok = true;
    const struct rdb_list *l = NULL;
    if (sym == PST_NULL_SYMBOL)
        l = &v->part->null_syms;
    else if (sym < RDB_LIST_IDS)
        l = list_at(v->map, load_acquire(&v->part->syms), sym, &ok);
    return ok && open_list(v, l, o);
}

bool rdb_key_open(const struct rdb_part_view *v, uint32_t key, struct rdb_list_view *o)
{
    bool ok = true;
    const struct rdb_list *l = NULL;
    if (key < RDB_LIST_IDS)
        l = list_at(v->map, load_acquire(&v->part->keys), key, &ok);
    return ok && open_list(v, l, o);
}

uint32_t rdb_list_next(struct rdb_list_view *l, const uint32_t **ids)
{
    if (l->done >= l->count)
        return 0;
    const struct rdb_block *b = block_at(l->map, l->next);
    if (!b || b->before != l->done) {
        l->done = l->count; /* corrupt: the list ends here */
        return 0;
    }
    uint32_t n = l->count - l->done;
    n = below(b, n < b->room ? n : b->room, l->rows);
    n = hand_out(b, n, l->rows, ids);
    l->done = n ? l->done + n : l->count;
    l->next = load_acquire(&b->next); /* O2 */
    return n;
}

uint32_t rdb_list_prev(struct rdb_list_view *l, const uint32_t **ids)
{
    if (!l->left)
        return 0;
    const struct rdb_block *b = block_at(l->map, l->prev);
    if (!b || b->before >= l->left) {
        l->left = 0;
        return 0;
    }
    uint32_t n = l->left - b->before;
    n = below(b, n < b->room ? n : b->room, l->rows);
    n = hand_out(b, n, l->rows, ids);
    l->left = n ? b->before : 0;
    l->prev = b->prev;
    return n;
}

/* Of the block only the entry that counts is read. */
static bool last_of(const struct rdb_list_view *l, uint32_t *row)
{
    const struct rdb_block *b = l->left ? block_at(l->map, l->prev) : NULL;
    if (!b || b->before >= l->left || l->left - b->before > b->room)
        return false;
    *row = load_relaxed(&b->row[l->left - b->before - 1]);
    return *row < l->rows;
}

bool rdb_list_last(const struct rdb_part_view *v, uint32_t sym, uint32_t *row)
{
    struct rdb_list_view l;
    return rdb_list_open(v, sym, &l) && last_of(&l, row);
}

/* A list's entry, the head of its last block and the number in it are three waits for memory, one
 * behind the other: those of LASTS lists are waited for together. */
#define LASTS 64u
void rdb_list_lasts(const struct rdb_part_view *v, const uint32_t *sym, uint32_t n, uint32_t *row)
{
    uint64_t root = load_acquire(&v->part->syms); /* O2 */
    for (uint32_t from = 0; from < n; from += LASTS) {
        const struct rdb_list *l[LASTS];
        uint32_t k = n - from < LASTS ? n - from : LASTS;
        for (uint32_t i = 0; i < k; i++) {
            uint32_t id = sym[from + i];
            bool ok = true;
            l[i] = id == PST_NULL_SYMBOL               ? &v->part->null_syms
                   : id < v->syms && id < RDB_LIST_IDS ? list_at(v->map, root, id, &ok)
                                                       : NULL;
            if (l[i])
                __builtin_prefetch(l[i]);
        }
        /* an offset that is none is not followed: to ask for its line does no harm */
        for (uint32_t i = 0; i < k; i++)
            if (l[i])
                __builtin_prefetch(
                    (const void *)((uintptr_t)v->map->base + load_relaxed(&l[i]->last)));
        for (uint32_t i = 0; i < k; i++) {
            const struct rdb_block *b =
                l[i] ? block_at(v->map, load_acquire(&l[i]->last)) : NULL; /* O2 */
            uint32_t at = b ? load_relaxed(&l[i]->count) - b->before - 1 : UINT32_MAX;
            if (b && at < b->room)
                __builtin_prefetch((const void *)&b->row[at]);
        }
        for (uint32_t i = 0; i < k; i++) {
            struct rdb_list_view o;
            if (!l[i] || !open_list(v, l[i], &o) || !last_of(&o, &row[from + i]))
                row[from + i] = UINT32_MAX;
        }
    }
}

bool rdb_key_last(const struct rdb_part_view *v, uint32_t key, uint32_t *row)
{
    struct rdb_list_view l;
    return rdb_key_open(v, key, &l) && last_of(&l, row);
}

uint32_t rdb_list_count(const struct rdb_part_view *v, uint32_t sym)
{
    struct rdb_list_view l;
    return rdb_list_open(v, sym, &l) ? l.count : 0;
}
