/* SPDX-License-Identifier: Apache-2.0 */
#include "load/columns.h"

#include <errno.h>

static size_t array_bytes(uint32_t room, unsigned width)
{
    return pst_align_up((uint64_t)room * width + LOAD_SLACK, PST_CACHELINE);
}

unsigned load_width(uint8_t type)
{
    return type == PST_SYMBOL ? 4 : type == PST_STRING ? 8 : type_width(type);
}

struct load_block *load_block_create(const struct schema *s, unsigned table, uint32_t room,
                                     struct err *err)
{
    struct load_block *b = calloc(1, sizeof *b);
    if (!b) {
        err_set(err, -ENOMEM, "no memory for a block of table %s", s->name);
        return NULL;
    }
    b->schema = s;
    b->table = table;
    b->room = room ? room : LOAD_ROWS_GOOD;
    for (unsigned i = 0; i < s->ncols; i++) {
        size_t n = array_bytes(b->room, load_width(s->col[i].type));
        b->col[i] = aligned_alloc(PST_CACHELINE, n);
        if (!b->col[i]) {
            err_set(err, -ENOMEM, "no memory for a block of table %s", s->name);
            load_block_destroy(b);
            return NULL;
        }
        memset(b->col[i], 0, n); /* pages are there before rows come; vector loads read the slack */
    }
    return b;
}

void load_block_destroy(struct load_block *b)
{
    if (!b)
        return;
    for (unsigned i = 0; i < SCHEMA_COLUMNS_MAX; i++)
        free(b->col[i]);
    free(b->heap);
    free(b->run);
    free(b);
}

void load_null(const struct load_block *b, unsigned col, uint32_t row)
{
    uint8_t type = b->schema->col[col].type;
    unsigned width = load_width(type);
    uint8_t *at = (uint8_t *)b->col[col] + (size_t)row * width;
    if (type == PST_SYMBOL || type == PST_STRING)
        memset(at, 0, width);
    else
        type_put_null(at, type);
}

bool load_block_text(struct load_block *b, uint32_t n, uint32_t *at)
{
    if (pst_unlikely(n > b->heap_room - b->heap_bytes)) {
        if (n > LOAD_HEAP_MAX - b->heap_bytes)
            return false;
        uint64_t want = b->heap_room ? b->heap_room : 64u << 10;
        while (want < (uint64_t)b->heap_bytes + n)
            want *= 2;
        char *p = realloc(b->heap, want + LOAD_SLACK);
        if (!p)
            return false;
        b->heap = p;
        b->heap_room = (uint32_t)want;
    }
    *at = b->heap_bytes;
    b->heap_bytes += n;
    return true;
}

bool load_block_run(struct load_block *b, int32_t day, uint32_t rows)
{
    if (!rows)
        return true;
    b->run_rows += rows;
    if (b->nruns && b->run[b->nruns - 1].day == day) {
        b->run[b->nruns - 1].rows += rows;
        return true;
    }
    if (b->nruns == b->run_room) {
        uint32_t want = b->run_room ? b->run_room * 2 : 16;
        struct load_run *p = realloc(b->run, want * sizeof *p);
        if (!p) {
            b->run_rows -= rows;
            return false;
        }
        b->run = p;
        b->run_room = want;
    }
    b->run[b->nruns++] = (struct load_run){day, rows};
    return true;
}

/* ---- dates ---- */

#define NOON_S (12 * 3600)

/* The UTC instant of a local clock reading of a civil date. */
static int64_t local_instant(const struct tzone *z, int32_t day, int32_t time_s)
{
    int64_t local = day * PST_DAY_S + time_s + PST_EPOCH_OFFSET_S;
    return (tzone_to_utc(z, local) - PST_EPOCH_OFFSET_S) * PST_SECOND_NS;
}

int64_t load_midnight(const struct tzone *zone, int32_t day)
{
    return local_instant(zone, day, 0);
}

/* The same as calendar_eod of control/calendar.c, which storage must not include; a test compares
 * them. */
static int64_t day_end(const struct load_days *d, int32_t day)
{
    int32_t at = d->eod_s > NOON_S ? d->eod_s - (int32_t)PST_DAY_S : d->eod_s;
    return at < 0 ? local_instant(d->zone, day, at + (int32_t)PST_DAY_S)
                  : local_instant(d->zone, day + 1, at);
}

void load_days_init(struct load_days *d, const struct tzone *zone, int32_t eod_s)
{
    *d = (struct load_days){.zone = zone, .eod_s = eod_s, .from = 0, .end = 0};
}

int32_t load_days_find(struct load_days *d, int64_t utc_ns)
{
    int64_t utc_s = civil_floor_div(utc_ns, PST_SECOND_NS);
    int64_t local = utc_s + tzone_offset(d->zone, utc_s + PST_EPOCH_OFFSET_S);
    int32_t day = (int32_t)civil_floor_div(local, PST_DAY_S);
    /* near the ends of what 64 bits hold no date's end can be computed: no such partition either */
    if (day < -2 || day > CIVIL_DAY_MAX + 2)
        return day;
    while (day_end(d, day - 1) > utc_ns)
        day--;
    while (day_end(d, day) <= utc_ns)
        day++;
    d->day = day;
    d->from = day_end(d, day - 1);
    d->end = day_end(d, day);
    return day;
}

bool load_block_days(struct load_block *b, struct load_days *d, uint32_t *bad)
{
    const int64_t *time = b->col[0];
    while (b->run_rows < b->rows) {
        uint32_t i = b->run_rows, n = 1;
        int32_t day = time[i] == PST_NULL_TIMESTAMP ? -1 : load_day(d, time[i]);
        if (day < 0 || day > CIVIL_DAY_MAX) {
            *bad = i;
            return false;
        }
        while (i + n < b->rows && time[i + n] >= d->from && time[i + n] < d->end)
            n++;
        if (!load_block_run(b, day, n)) {
            *bad = i;
            return false;
        }
    }
    return true;
}
