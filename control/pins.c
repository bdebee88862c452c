/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "core/clock.h"
#include "day_parts.h"
#include "pins.h"

struct pin {
    uint64_t id; /* 0 = free */
    uint64_t slots;
    uint32_t process;
    bool told; /* its process has been named to the kill callback */
};

struct pins {
    struct day *day;
    struct pin pin[PINS_MAX];
    unsigned n, high; /* in use; all in use lie below `high` */
    uint64_t next;
    void (*kill)(void *arg, uint32_t process, const char *why);
    void *kill_arg;
};

struct pins *pins_new(struct day *day)
{
    struct pins *p = calloc(1, sizeof *p);
    if (p)
        p->day = day;
    return p;
}

void pins_free(struct pins *p)
{
    free(p);
}

static struct pin *pin_add(struct pins *p, uint32_t process)
{
    for (unsigned i = 0; i < PINS_MAX; i++) {
        struct pin *x = &p->pin[i];
        if (x->id)
            continue;
        *x = (struct pin){.id = ++p->next, .process = process};
        p->n++;
        p->high = i + 1 > p->high ? i + 1 : p->high;
        return x;
    }
    return NULL;
}

static void pin_drop(struct pins *p, struct pin *x)
{
    x->id = 0;
    p->n--;
    while (p->high && !p->pin[p->high - 1].id)
        p->high--;
}

static struct pin *pin_find(struct pins *p, uint64_t id)
{
    for (unsigned i = 0; id && i < p->high; i++)
        if (p->pin[i].id == id)
            return &p->pin[i];
    return NULL;
}

/* The days that the RDB holds and shows, and which of its slots are not shown. */
static uint32_t days_of(const struct day *y, const struct rdb_day_info *info, unsigned slots,
                        struct cut_day *day, uint32_t *n, uint64_t *hidden)
{
    uint32_t flags = 0;
    *n = 0;
    *hidden = 0;
    for (unsigned i = 0; i < slots; i++) {
        const struct rdb_day_info *s = &info[i];
        if (!day_slot_shown(y, s->slot, s->generation) || s->flags & RDB_DAY_VOID ||
            s->state == RDB_DAY_LEAVING) {
            *hidden |= 1ull << s->slot;
            continue;
        }
        uint32_t k = 0;
        while (k < *n && day[k].day != s->day)
            k++;
        if (k == *n)
            day[(*n)++] = (struct cut_day){.day = s->day, .flags = CUT_DAY_CLOSED};
        if (s->state == RDB_DAY_OPEN)
            day[k].flags &= ~(uint32_t)CUT_DAY_CLOSED;
        if (day_unread(y, s->day)) { /* refused stays 0: that is how the note tells */
            flags |= CUT_INCOMPLETE;
            day[k].flags |= CUT_DAY_INCOMPLETE;
        }
        if (!(s->flags & RDB_DAY_INCOMPLETE))
            continue;
        flags |= CUT_INCOMPLETE;
        day[k].flags |= CUT_DAY_INCOMPLETE;
        if (!day[k].incomplete_from || s->incomplete_from < day[k].incomplete_from)
            day[k].incomplete_from = s->incomplete_from;
        day[k].refused += s->refused;
    }
    return flags;
}

/* A slot that was given to another day between the two looks would be hidden, or shown, wrongly. */
static bool same_slots(const struct rdb_day_info *a, unsigned n, const struct rdb_day_info *b,
                       unsigned m)
{
    if (n != m)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (a[i].slot != b[i].slot || a[i].generation != b[i].generation)
            return false;
    return true;
}

static struct cut *cut_make(struct day *y, uint64_t *slots, struct err *err)
{
    static struct rdb_day_info info[RDB_DAYS], again[RDB_DAYS];
    static struct cut_day days[RDB_DAYS];
    struct daemon *d = y->d;
    struct rdb_cut *rc = &y->cut;
    const struct rdb_map *map = rdb_map_of(y->rdb.rdb);
    unsigned n = rdb_days(y->rdb.rdb, info), m;
    bool got;
    for (unsigned tries = 0;; tries++) {
        got = rdb_cut_read(map, rc);
        m = rdb_days(y->rdb.rdb, again);
        if (!got || same_slots(info, n, again, m) || tries == 16)
            break;
        memcpy(info, again, sizeof info);
        n = m;
    }
    if (!got) {
        err_set(err, -EAGAIN, "the rdb thread stands still; try again");
        return NULL;
    }
    uint64_t hidden;
    uint32_t ndays, flags = days_of(y, info, n, days, &ndays, &hidden), parts = 0;
    for (uint32_t i = 0; i < rc->nparts; i++)
        parts += rc->part[i].generation && rc->part[i].rows;
    struct cut *c = calloc(1, CUT_BYTES(parts, ndays));
    if (!c) {
        err_set(err, -ENOMEM, "no memory for a cut");
        return NULL;
    }
    for (uint32_t i = 0; i < rc->nparts; i++) {
        struct rdb_part_name name;
        if (!rc->part[i].generation || !rc->part[i].rows ||
            !rdb_part_name(map, i, rc->part[i].generation, &name) || hidden >> name.day_slot & 1)
            continue;
        c->part[c->nparts++] = (struct cut_part){
            .slot = i, .table = name.table, .day = name.day, .rows = rc->part[i].rows};
        *slots |= 1ull << name.day_slot;
    }
    c->magic = CUT_MAGIC;
    c->bytes = (uint32_t)CUT_BYTES(c->nparts, ndays);
    c->ndays = ndays;
    memcpy(c->part + c->nparts, days, ndays * sizeof *days);
    c->position = rc->position;
    c->serial = rc->serial;
    c->tail = ring_tail(&d->ring);
    c->lag_ns = day_lag(y);
    c->time = clock_now(&d->clock);
    c->epoch = y->epoch;
    c->flags = flags | (c->lag_ns > d->config->alarms.rdb_lag ? CUT_BEHIND : 0);
    if (!load_acquire(&y->rdb.caught_up)) {
        c->flags |= CUT_REBUILDING;
        c->rebuild_to = y->rdb.start;
    }
    if (y->loaded)
        memcpy(c->root, y->root, sizeof c->root);
    else
        c->flags |= CUT_NO_HDB | (!y->write            ? 0
                                  : y->not_loaded.code ? CUT_HDB_AWAY
                                                       : CUT_HDB_LOADING);
    return c;
}

struct cut *pins_take(struct pins *p, uint32_t process, struct err *err)
{
    struct pin *x = pin_add(p, process);
    if (!x) {
        err_set(err, -EAGAIN, "%u queries hold the memory of days; wait for some to end", p->n);
        return NULL;
    }
    struct cut *c = cut_make(p->day, &x->slots, err);
    if (!c) {
        pin_drop(p, x);
        return NULL;
    }
    c->pin = x->id;
    return c;
}

void pins_keep(struct pins *p, uint64_t pin, const int32_t *day, unsigned n)
{
    static struct rdb_day_info info[RDB_DAYS];
    struct pin *x = pin_find(p, pin);
    if (!x)
        return;
    uint64_t keep = 0;
    unsigned slots = rdb_days(p->day->rdb.rdb, info);
    for (unsigned i = 0; i < slots; i++)
        for (unsigned k = 0; k < n; k++)
            if (info[i].day == day[k])
                keep |= 1ull << info[i].slot;
    x->slots &= keep;
}

void pins_release(struct pins *p, uint64_t pin)
{
    struct pin *x = pin_find(p, pin);
    if (x)
        pin_drop(p, x);
}

void pins_release_all(struct pins *p, uint32_t process)
{
    for (unsigned i = p->high; i-- > 0;)
        if (p->pin[i].id && p->pin[i].process == process)
            pin_drop(p, &p->pin[i]);
}

void pins_on_overdue(struct pins *p, void (*kill)(void *arg, uint32_t process, const char *why),
                     void *arg)
{
    p->kill = kill;
    p->kill_arg = arg;
}

unsigned pins_count(const struct pins *p)
{
    return p->n;
}

uint64_t pins_slots(const struct pins *p)
{
    uint64_t slots = 0;
    for (unsigned i = 0; i < p->high; i++)
        slots |= p->pin[i].id ? p->pin[i].slots : 0;
    return slots;
}

unsigned pins_overdue(struct pins *p, uint64_t slots, const char *why)
{
    unsigned told = 0;
    for (unsigned i = p->high; i-- > 0;) {
        struct pin *x = &p->pin[i];
        if (!x->id || x->told || !(x->slots & slots))
            continue;
        x->told = true;
        told++;
        if (p->kill)
            p->kill(p->kill_arg, x->process, why); /* may release pins: the loop only goes down */
    }
    return told;
}
