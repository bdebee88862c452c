/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "rdbread.h"

/* Where things stand, in bytes. */
enum {
    HEAD_PARTS_AT = 24,
    HEAD_STRIDE = 52,
    CUT_NPARTS = 68,
    CUT_POSITION = 72,
    CUT_SERIAL = 80,
    CUT_TIME = 88,
    CUT_PART = 128,
    PART_GENERATION = 0,
    PART_DAY_SLOT = 4,
    PART_TABLE = 8,
    PART_DAY = 10,
    PART_CALENDAR = 12,
    PART_NCOLS = 14,
    PART_SYMS_HIGH = 20,
    PART_NKEYS = 24,
    PART_SYMS = 32,
    PART_KEYS = 40,
    PART_NULL_LIST = 72,
    PART_PAGES = 104,
    PART_SCHEMA = 2160,
    SCHEMA_COLUMNS = 142,
    COLUMN_BYTES = 54,
    COLUMN_TYPE = 48,
    CHUNK_MIN = 0,
    CHUNK_MAX = 8,
    CHUNK_DESCENDS = 16,
    CHUNK_COLUMNS = 32,
    LIST_BYTES = 32,
    LIST_FIRST = 0,
    LIST_COUNT = 24,
    BLOCK_NEXT = 0,
    BLOCK_ROOM = 16,
    BLOCK_BEFORE = 20,
    BLOCK_ROWS = 32,
};

static const uint8_t *spot(const struct rdbread *r, uint64_t at, uint64_t n)
{
    if (at > r->n || n > r->n - at) {
        fprintf(stderr, "rdbread: offset %llu + %llu is out of bounds\n", (unsigned long long)at,
                (unsigned long long)n);
        abort();
    }
    return r->p + at;
}

static uint64_t number(const struct rdbread *r, uint64_t at, unsigned width)
{
    const uint8_t *p = spot(r, at, width);
    uint64_t v = 0;
    for (unsigned i = width; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static unsigned width_of(unsigned type)
{
    switch (type) {
    case 1:  /* boolean */
    case 4:  /* byte */
    case 10: /* char */
        return 1;
    case 5: /* short */
        return 2;
    case 2: /* guid */
        return 16;
    case 7:  /* long */
    case 9:  /* float */
    case 12: /* timestamp */
    case 16: /* timespan */
    case 87: /* string */
        return 8;
    case 6:  /* int */
    case 8:  /* real */
    case 11: /* symbol */
    case 13: /* month */
    case 14: /* date */
    case 17: /* minute */
    case 18: /* second */
    case 19: /* time */
        return 4;
    }
    fprintf(stderr, "rdbread: type %u\n", type);
    abort();
}

bool rdbread_open(struct rdbread *r, int fd)
{
    struct stat st;
    memset(r, 0, sizeof *r);
    if (fstat(fd, &st))
        return false;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return false;
    r->p = p;
    r->n = (uint64_t)st.st_size;
    if (memcmp(p, "PSTRDB1", 8) || number(r, 8, 8) != r->n) {
        rdbread_close(r);
        return false;
    }
    r->parts = (unsigned)number(r, CUT_NPARTS, 4);
    r->position = number(r, CUT_POSITION, 8);
    r->serial = number(r, CUT_SERIAL, 8);
    r->time = (int64_t)number(r, CUT_TIME, 8);
    return true;
}

void rdbread_close(struct rdbread *r)
{
    if (r->p)
        munmap((void *)(uintptr_t)r->p, r->n);
    memset(r, 0, sizeof *r);
}

static uint64_t part_at(const struct rdbread *r, unsigned slot)
{
    return number(r, HEAD_PARTS_AT, 8) + number(r, HEAD_STRIDE, 4) * slot;
}

bool rdbread_part(const struct rdbread *r, unsigned slot, struct rdbread_part *out)
{
    if (slot >= r->parts)
        return false;
    uint32_t rows = (uint32_t)number(r, CUT_PART + 8ull * slot, 4);
    uint32_t generation = (uint32_t)number(r, CUT_PART + 8ull * slot + 4, 4);
    uint64_t at = part_at(r, slot);
    if (!generation || number(r, at + PART_GENERATION, 4) != generation)
        return false;
    memset(out, 0, sizeof *out);
    out->slot = slot;
    out->rows = rows;
    out->day_slot = (unsigned)number(r, at + PART_DAY_SLOT, 4);
    out->table = (unsigned)number(r, at + PART_TABLE, 2);
    out->day = (unsigned)number(r, at + PART_DAY, 2);
    out->calendar = (unsigned)number(r, at + PART_CALENDAR, 2);
    out->columns = (unsigned)number(r, at + PART_NCOLS, 2);
    out->keys = (uint32_t)number(r, at + PART_NKEYS, 4);
    out->syms_high = (uint32_t)number(r, at + PART_SYMS_HIGH, 4);
    memcpy(out->name, spot(r, at + PART_SCHEMA, 48), 48);
    for (unsigned i = 0; i < out->columns; i++) {
        uint64_t c = at + PART_SCHEMA + SCHEMA_COLUMNS + COLUMN_BYTES * i;
        memcpy(out->col[i].name, spot(r, c, 48), 48);
        out->col[i].type = (unsigned)number(r, c + COLUMN_TYPE, 1);
        out->col[i].width = width_of(out->col[i].type);
    }
    return true;
}

/* Chunk c, its first row and its room. Literally: 1024, 1024, 2048, 4096 … 32768, then 65536. */
static uint64_t chunk_of(const struct rdbread *r, const struct rdbread_part *p, uint32_t row,
                         uint64_t *first)
{
    uint64_t c = 0, room = 1024;
    *first = 0;
    while (row >= *first + room) {
        *first += room;
        c++;
        room = *first < 65536 ? *first : 65536;
    }
    uint64_t page = number(r, part_at(r, p->slot) + PART_PAGES + 8 * (c / 256), 8);
    return number(r, page + 8 * (c % 256), 8);
}

const uint8_t *rdbread_value(const struct rdbread *r, const struct rdbread_part *p, uint32_t row,
                             unsigned column, uint32_t *len)
{
    if (row >= p->rows || column >= p->columns)
        return NULL;
    uint64_t first, chunk = chunk_of(r, p, row, &first);
    uint64_t at = number(r, chunk + CHUNK_COLUMNS + 8ull * column, 8);
    if (at % 64) {
        fprintf(stderr, "rdbread: a column is not aligned\n");
        abort();
    }
    at += (row - first) * p->col[column].width;
    *len = p->col[column].width;
    if (p->col[column].type != 87)
        return spot(r, at, *len);
    uint64_t v = number(r, at, 8);
    *len = v & 0xFFFF;
    return spot(r, v >> 16, *len);
}

void rdbread_bounds(const struct rdbread *r, const struct rdbread_part *p, uint32_t row,
                    int64_t *min, int64_t *max, bool *ascends)
{
    uint64_t first, chunk = chunk_of(r, p, row, &first);
    *min = (int64_t)number(r, chunk + CHUNK_MIN, 8);
    *max = (int64_t)number(r, chunk + CHUNK_MAX, 8);
    *ascends = number(r, chunk + CHUNK_DESCENDS, 4) == 0;
}

static uint32_t walk(const struct rdbread *r, const struct rdbread_part *p, uint64_t list,
                     uint32_t *rows, uint32_t room)
{
    uint32_t count = (uint32_t)number(r, list + LIST_COUNT, 4), seen = 0, n = 0;
    for (uint64_t b = number(r, list + LIST_FIRST, 8); b && seen < count;
         b = number(r, b + BLOCK_NEXT, 8)) {
        uint32_t holds = (uint32_t)number(r, b + BLOCK_ROOM, 4);
        if (number(r, b + BLOCK_BEFORE, 4) != seen) {
            fprintf(stderr, "rdbread: a block's `before` is wrong\n");
            abort();
        }
        for (uint32_t i = 0; i < holds && seen < count; i++, seen++) {
            uint32_t row = (uint32_t)number(r, b + BLOCK_ROWS + 4ull * i, 4);
            if (row >= p->rows)
                continue;
            if (n < room)
                rows[n] = row;
            n++;
        }
    }
    return n;
}

static uint32_t tree(const struct rdbread *r, const struct rdbread_part *p, uint64_t root,
                     uint32_t id, uint32_t *rows, uint32_t room)
{
    if (!root)
        return 0;
    uint64_t node = number(r, root + 8ull * (id / 262144), 8);
    uint64_t page = node ? number(r, node + 8ull * (id / 256 % 1024), 8) : 0;
    return page ? walk(r, p, page + LIST_BYTES * (id % 256ull), rows, room) : 0;
}

uint32_t rdbread_list(const struct rdbread *r, const struct rdbread_part *p, uint32_t sym,
                      uint32_t *rows, uint32_t room)
{
    uint64_t at = part_at(r, p->slot);
    if (sym == 0xFFFFFFFFu)
        return walk(r, p, at + PART_NULL_LIST, rows, room);
    return tree(r, p, number(r, at + PART_SYMS, 8), sym, rows, room);
}

uint32_t rdbread_key(const struct rdbread *r, const struct rdbread_part *p, uint32_t key,
                     uint32_t *rows, uint32_t room)
{
    return tree(r, p, number(r, part_at(r, p->slot) + PART_KEYS, 8), key, rows, room);
}
