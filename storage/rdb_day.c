/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include "rdb_internal.h"

/* ---- what `take` said, remembered ---- */

static bool takes(struct rdb *r, unsigned calendar, uint16_t day, uint64_t position)
{
    if (!r->cfg.take)
        return true;
    for (unsigned i = 0; i < RDB_VERDICT; i++) {
        const struct verdict *v = &r->verdict[i];
        if (v->known && v->day == day && v->calendar == calendar)
            return v->take;
    }
    struct verdict *v = &r->verdict[r->next_verdict++ % RDB_VERDICT];
    *v = (struct verdict){true, r->cfg.take(r->cfg.arg, calendar, day, position), day,
                          (uint16_t)calendar};
    return v->take;
}

static void forget_verdict(struct rdb *r, unsigned calendar, uint16_t day)
{
    for (unsigned i = 0; i < RDB_VERDICT; i++)
        if (r->verdict[i].day == day && r->verdict[i].calendar == calendar)
            r->verdict[i].known = false;
}

void day_forget(struct rdb *r)
{
    for (unsigned i = 0; i < RDB_CACHES; i++)
        r->cache[i].used = false;
}

/* ---- day slots ---- */

static struct slot *open_slot(struct rdb *r, unsigned calendar, uint16_t day)
{
    for (unsigned i = 0; i < RDB_DAYS; i++) {
        struct slot *s = &r->slot[i];
        if (s->used && s->open && load_relaxed(&s->shared->day) == day &&
            load_relaxed(&s->shared->calendar) == calendar)
            return s;
    }
    return NULL;
}

/* Was this frame taken into a slot that has been closed since? */
static bool in_closed(const struct rdb *r, unsigned calendar, uint16_t day, uint64_t position,
                      bool *any)
{
    for (unsigned i = 0; i < RDB_DAYS; i++) {
        const struct slot *s = &r->slot[i];
        if (!s->used || s->open || load_relaxed(&s->shared->day) != day ||
            load_relaxed(&s->shared->calendar) != calendar ||
            load_relaxed(&s->shared->flags) & RDB_DAY_VOID)
            continue;
        *any = true;
        if (position < load_relaxed(&s->shared->closed_position))
            return true;
    }
    return false;
}

static struct slot *new_slot(struct rdb *r, unsigned calendar, uint16_t day, bool again)
{
    for (unsigned i = 0; i < RDB_DAYS; i++) {
        struct slot *s = &r->slot[i];
        if (s->used)
            continue;
        struct rdb_day *d = &r->head->day[i];
        *s =
            (struct slot){.shared = d, .index = i, .used = true, .open = true, .extent = NO_EXTENT};
        s->refuser = (struct part){.state = PART_REFUSES, .day = s};
        uint32_t g = load_relaxed(&d->generation) + 1;
        store_relaxed(&d->generation, g ? g : 1);
        fence_release(); /* D3: pairs with D4 in rdb_days */
        store_relaxed(&d->day, day);

        store_relaxed(&d->calendar, (uint16_t)calendar);
        store_relaxed(&d->flags, again ? RDB_DAY_AGAIN : 0);
        store_relaxed(&d->first_position, 0);
        store_relaxed(&d->end_position, 0);
        store_relaxed(&d->closed_position, 0);
        store_relaxed(&d->incomplete_from, 0);
        store_relaxed(&d->rows, 0);
        store_relaxed(&d->refused, 0);
        store_relaxed(&d->lost_bytes, 0);
        store_relaxed(&d->bytes, 0);
        store_relaxed(&d->extents, 0);
        store_release(&d->state, RDB_DAY_OPEN); /* D1: pairs with D2 in rdb_days */
        bump(&r->f_days, 1);
        return s;
    }
    return NULL;
}

/* The first frame that has no room: the slot keeps what lies below it, and nothing else for ever.
 */
void day_full(struct rdb *r, struct slot *s)
{
    for (struct part *p = s->parts; p; p = p->next) {
        if (p->touched) { /* rows of this frame that were written before */
            p->refused += p->rows - p->base;
            p->rows = p->base;
        }
        p->state = PART_REFUSES;
    }
    struct rdb_day *d = s->shared;
    if (load_relaxed(&d->flags) & RDB_DAY_INCOMPLETE)
        return;
    store_relaxed(&d->incomplete_from, r->frame->position);
    store_relaxed(&d->flags, load_relaxed(&d->flags) | RDB_DAY_INCOMPLETE);
}

/* ---- parts ---- */

void day_free_part(struct rdb *r, struct part *p)
{
    keys_close(p);
    free(p->page);
    r->part[p->slot] = NULL;
    bump(&r->f_parts, (uint32_t)-1);
    free(p);
}

/* r->fresh becomes the slot's part. Who still looks at the slot by an old cut (rdb_part_name) sees
 * the generation change: words are stored one by one, none of them torn. */
static void give_slot(struct rdb *r, uint32_t i, struct rdb_part *x)
{
    uint32_t g = ++r->part_generation[i];
    g = g ? g : ++r->part_generation[i];
    store_relaxed(&x->generation, 0);
    fence_release(); /* P3: pairs with P4 in rdb_part_name */
    const uint64_t *from = (const uint64_t *)(const void *)&r->fresh;
    _Atomic uint64_t *to = (_Atomic uint64_t *)(void *)x;
    for (size_t w = 0; w < sizeof *x / sizeof *from; w++)
        store_relaxed(to + w, from[w]);
    store_release(&x->generation, g); /* P1 */
}

static struct part *new_part(struct rdb *r, struct slot *s, const struct schema *schema)
{
    uint32_t i = 0;
    while (i < RDB_PARTS && r->part[i])
        i++;
    uint64_t at = r->head->parts_at + (uint64_t)i * RDB_PART_STRIDE;
    if (i == RDB_PARTS || !memory_populate(r, at, sizeof(struct rdb_part)))
        return NULL;
    struct part *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->page = calloc((r->cfg.symbols_max >> 8) + 1, sizeof(void *));
    if (!p->page || (schema->nkeys && !keys_open(p))) {
        keys_close(p);
        free(p->page);
        free(p);
        return NULL;
    }
    struct rdb_part *x = &r->fresh;
    memset(x, 0, sizeof *x);

    x->day_slot = s->index;
    x->table = schema->id;
    x->day = load_relaxed(&s->shared->day);
    x->calendar = load_relaxed(&s->shared->calendar);
    x->ncols = schema->ncols;
    x->schema = *schema;
    give_slot(r, i, rdb_at(r, at));
    x = rdb_at(r, at);
    p->state = PART_TAKES;
    p->slot = i;
    p->table = schema->id;
    p->day = s;
    p->shared = x;
    p->schema = &x->schema;
    p->fixed = schema->fixed;
    p->string_block = 2048;
    columns_plan(&p->plan, schema);
    for (unsigned c = 2; c < schema->ncols; c++)
        if (schema->col[c].type == PST_STRING || schema->col[c].type == PST_GUID)
            p->slow[p->nslow++] = (uint16_t)c;
    p->next = s->parts;
    s->parts = p;
    r->part[i] = p;
    if (i >= r->nparts)
        r->nparts = i + 1;
    bump(&r->f_parts, 1);
    return p;
}

static struct part *find_part(struct rdb *r, const struct schema_set *schemas,
                              const struct frame *f, unsigned table)
{
    const struct schema *schema = schema_set_get(schemas, table);
    if (!schema)
        return NULL;
    unsigned calendar = r->cfg.calendar_of ? r->cfg.calendar_of(r->cfg.arg, schema) : 0;
    if (!takes(r, calendar, f->day, f->position))
        return &r->skipper;
    bool closed = false;
    struct slot *s = open_slot(r, calendar, f->day);
    if (in_closed(r, calendar, f->day, f->position, &closed) ||
        (s && f->position < load_relaxed(&s->shared->end_position)))
        return &r->repeater;
    if (!s && !(s = new_slot(r, calendar, f->day, closed)))
        return &r->refuser;
    for (struct part *p = s->parts; p; p = p->next)
        if (p->table == table)
            return p;
    if (load_relaxed(&s->shared->flags) & RDB_DAY_INCOMPLETE)
        return &s->refuser;
    struct part *p = new_part(r, s, schema);
    if (!p)
        day_full(r, s);
    return p ? p : &s->refuser;
}

struct part *day_part(struct rdb *r, const struct schema_set *schemas, const struct frame *f,
                      unsigned table)
{
    if (table >= TABLE_MAX)
        return NULL;
    if (f->position < r->high) /* seen before, perhaps: each frame is looked at anew */
        return find_part(r, schemas, f, table);
    struct day_cache *c = NULL;
    for (unsigned i = 0; i < RDB_CACHES; i++)
        if (r->cache[i].used && r->cache[i].day == f->day)
            c = &r->cache[i];
    if (!c) {
        c = &r->cache[r->next_cache++ % RDB_CACHES];
        memset(c, 0, sizeof *c);
        c->used = true;
        c->day = f->day;
    }
    if (!c->part[table]) {
        struct part *p = find_part(r, schemas, f, table);
        if (!p || p == &r->refuser) /* no slot of a day is free: one may be later */
            return p;
        c->part[table] = p;
    }
    return c->part[table];
}

/* ---- end of day ---- */

static void close_day(struct rdb *r, unsigned calendar, uint16_t day, uint64_t end)
{
    struct slot *s = open_slot(r, calendar, day);
    struct rdb_closed c = {.calendar = calendar, .day = day, .slot = -1, .position = end};
    if (s) {
        struct rdb_day *d = s->shared;
        store_relaxed(&d->closed_position, end);
        store_release(&d->state, RDB_DAY_CLOSED); /* D1 */
        s->open = false;
        c.slot = (int)s->index;
        c.generation = load_relaxed(&d->generation);
        c.first = load_relaxed(&d->first_position);
        c.flags = load_relaxed(&d->flags);
        c.rows = load_relaxed(&d->rows);
    }
    forget_verdict(r, calendar, day);
    day_forget(r);
    rdb_publish(r);
    if (r->cfg.closed)
        r->cfg.closed(r->cfg.arg, &c);
}

/* {"calendar":"name",…}. The day is the frame's; a "day" that is a number overrules it. */
void day_mark(struct rdb *r, const struct frame *f)
{
    unsigned type;
    uint32_t len;
    const char *text = frame_mark(f, &type, &len);
    if (!text || type != MARK_EOD || f->position < r->high)
        return;
    json_t *o = json_loadb(text, len, 0, NULL);
    const char *name = json_string_value(json_object_get(o, "calendar"));
    json_t *day = json_object_get(o, "day");
    uint16_t d = json_is_integer(day) ? (uint16_t)json_integer_value(day) : f->day;
    int calendar = r->cfg.calendar_named ? r->cfg.calendar_named(r->cfg.arg, name ? name : "") : 0;
    json_decref(o);
    if (calendar < 0)
        bump(&r->f_unknown_marks, 1);
    else
        close_day(r, (unsigned)calendar, d, f->position + f->length);
}

/* ---- release ---- */

static void drop_slot(struct rdb *r, struct slot *s)
{
    for (struct part *p = s->parts, *next; p; p = next) {
        next = p->next;
        day_free_part(r, p);
    }
    s->parts = NULL;
    memory_release(r, s);
    s->used = false;
    bump(&r->f_days, (uint32_t)-1);
    store_release(&s->shared->state, RDB_DAY_FREE); /* D1 */
}

bool day_service(struct rdb *r)
{
    uint32_t asked = load_acquire(&r->release_asked); /* V2: pairs with V1 in rdb_release_day */
    if (pst_likely(asked == r->release_done))
        return false;
    r->release_done = asked;
    bool leaving[RDB_DAYS] = {false}, any = false;
    for (unsigned i = 0; i < RDB_DAYS; i++) {
        struct slot *s = &r->slot[i];
        if (!s->used || s->open || load_acquire(&s->shared->state) != RDB_DAY_LEAVING)
            continue;
        leaving[i] = true;

        for (struct part *p = s->parts; p; p = p->next) {
            p->state = PART_SKIPS; /* the cut shows no part here */
            rdb_mark_dirty(r, p);
        }
        any = true;
    }
    if (!any)
        return false;
    rdb_publish(r); /* before their memory may be given out again */
    for (unsigned i = 0; i < RDB_DAYS; i++)
        if (leaving[i])
            drop_slot(r, &r->slot[i]);
    day_forget(r);
    return true;
}

/* ---- a journal that was taken back, or lacks a piece ---- */

void rdb_lost(struct rdb *r, uint64_t from, uint64_t to)
{
    bump(&r->f_lost_ranges, 1);
    bump(&r->f_lost_bytes, to - from);
    for (unsigned i = 0; i < RDB_DAYS; i++) {
        struct slot *s = &r->slot[i];
        if (!s->used || !s->open)
            continue;
        store_relaxed(&s->shared->flags, load_relaxed(&s->shared->flags) | RDB_DAY_LOST);
        bump(&s->shared->lost_bytes, to - from);
    }
    for (unsigned i = 0; i < RDB_VERDICT; i++)
        r->verdict[i].known = false;
    day_forget(r);
    if (to > r->position)
        r->position = to;
    r->cut_due = true;
}

uint64_t rdb_rewound(struct rdb *r, uint64_t old_end, uint64_t new_start)
{
    bump(&r->f_rewound, 1);
    uint64_t back = UINT64_MAX;
    for (unsigned i = 0; i < RDB_DAYS; i++) {
        struct slot *s = &r->slot[i];
        if (!s->used || load_relaxed(&s->shared->state) == RDB_DAY_LEAVING)
            continue;
        struct rdb_day *d = s->shared;
        bool rows = load_relaxed(&d->end_position) > old_end;
        bool closed = !s->open && load_relaxed(&d->closed_position) > old_end;
        if ((!rows && !closed) || load_relaxed(&d->flags) & RDB_DAY_VOID)
            continue;
        uint64_t first = load_relaxed(&d->first_position);
        back = first < back ? first : back;
        for (struct part *p = s->parts; p; p = p->next) {
            p->state = PART_SKIPS;
            rdb_mark_dirty(r, p);
        }
        store_relaxed(&d->flags, load_relaxed(&d->flags) | RDB_DAY_VOID);
        if (!s->open)
            continue; /* closed already, or even given back meanwhile */
        s->open = false;
        store_relaxed(&d->closed_position, old_end);
        store_release(&d->state, RDB_DAY_CLOSED); /* D1 */
    }
    day_forget(r);
    for (unsigned i = 0; i < RDB_VERDICT; i++)
        r->verdict[i].known = false;
    if (back != UINT64_MAX && back < old_end) {
        /* frames below old_end come again: what the other days have of them they have already */
        r->high = new_start;
        r->position = back;
    } else {
        back = UINT64_MAX;
        r->position = new_start;
    }
    r->cut_due = true;
    rdb_publish(r);
    return back;
}
