/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include "rdb_internal.h"

#define CUT_BYTES_EACH (64ull << 10) /* of frames, between two cuts of a round */

struct rdb *rdb_create(const struct rdb_config *cfg, struct err *err)
{
    if (cfg->symbols_max < 1 || cfg->symbols_max > RDB_LIST_IDS) {
        err_set(err, -ERANGE, "rdb: symbols_max %u: must be 1 to %u", cfg->symbols_max,
                RDB_LIST_IDS);
        return NULL;
    }
    struct rdb *r = calloc(1, sizeof *r);
    if (!r) {
        err_set(err, -ENOMEM, "rdb: no memory");
        return NULL;
    }
    r->cfg = *cfg;
    r->fd = -1;
    r->part = calloc(RDB_PARTS, sizeof *r->part);
    r->part_generation = calloc(RDB_PARTS, sizeof *r->part_generation);
    r->cache = calloc(RDB_CACHES, sizeof *r->cache);
    r->touched = calloc(RDB_PARTS + RDB_DAYS + 1, sizeof *r->touched);
    r->dirty = calloc(RDB_PARTS, sizeof *r->dirty);
    bool ok = r->part && r->part_generation && r->cache && r->touched && r->dirty;
    if (!ok)
        err_set(err, -ENOMEM, "rdb: no memory");
    if (!ok || !memory_open(r, err)) {
        rdb_close(r);
        return NULL;
    }
    columns_choose(&r->columns, cfg->portable);
    r->skipper.state = PART_SKIPS;
    r->repeater.state = PART_REPEATS;
    r->refuser.state = PART_REFUSES;
    r->map = (struct rdb_map){.base = r->base,
                              .bytes = r->bytes,
                              .parts_at = r->head->parts_at,
                              .symbols_max = cfg->symbols_max,
                              .fd = -1};
    return r;
}

bool rdb_seal(struct rdb *r)
{
    return fcntl(r->fd, F_ADD_SEALS,
                 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0;
}

void rdb_close(struct rdb *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; r->part && i < RDB_PARTS; i++)
        if (r->part[i])
            day_free_part(r, r->part[i]);
    memory_close(r);
    for (uint32_t i = 0; i < r->nbuckets; i++)
        free(r->bucket[i]);
    free(r->bucket);
    free(r->part);
    free(r->part_generation);
    free(r->cache);
    free(r->touched);
    free(r->dirty);
    free(r);
}

int rdb_fd(const struct rdb *r)
{
    return r->fd;
}

const struct rdb_map *rdb_map_of(const struct rdb *r)
{
    return &r->map;
}

/* ---- the cut ---- */

void rdb_mark_dirty(struct rdb *r, struct part *p)
{
    if (!p->dirty)
        r->dirty[r->ndirty++] = p->slot;
    p->dirty = true;
    r->cut_due = true;
}

void rdb_publish(struct rdb *r)
{
    struct rdb_cut_lock *c = &r->head->cut;
    uint32_t seq = load_relaxed(&c->seq);
    store_relaxed(&c->seq, seq + 1);
    fence_release(); /* Q3: pairs with Q4 in rdb_cut_read */
    for (uint32_t i = 0; i < r->ndirty; i++) {
        struct part *p = r->part[r->dirty[i]];
        uint64_t v = p->state == PART_SKIPS
                         ? 0
                         : (uint64_t)load_relaxed(&p->shared->generation) << 32 | p->rows;
        store_relaxed(&c->part[p->slot], v);
        p->dirty = false;
    }
    store_relaxed(&c->nparts, r->nparts);
    store_relaxed(&c->position, r->position);
    store_relaxed(&c->serial, ++r->serial);
    store_relaxed(&c->time, r->time);
    store_release(&c->seq, seq + 2); /* Q1: pairs with Q2 in rdb_cut_read */
    r->ndirty = 0;
    r->cut_due = false;
    store_relaxed(&r->f_position, r->position);
    store_relaxed(&r->f_time, r->time);
    bump(&r->f_cuts, 1);
}

/* ---- rounds ---- */

uint32_t rdb_append(struct rdb *r, const struct schema_set *schemas, const struct frame *f)
{
    uint32_t taken = 0, refused = 0;
    if (frame_has_rows(f))
        append_rows(r, schemas, f, &taken, &refused);
    r->position = f->position + f->length;
    r->time = f->time;
    r->cut_due = true;
    bump(&r->f_frames, 1);
    bump(&r->f_bytes, f->length);
    bump(&r->f_rows, taken);
    bump(&r->f_refused, refused);
    if (r->cfg.seen)
        r->cfg.seen(r->cfg.arg, f, taken, refused);
    if (f->kind == FRAME_MARK)
        day_mark(r, f);
    return taken;
}

enum rdb_round rdb_step(struct rdb *r, struct cursor *c, uint64_t bytes, uint32_t *frames)
{
    uint64_t done = 0, since = 0;
    uint32_t n = 0;
    enum rdb_round result = RDB_ROUND_MORE;
    day_service(r);
    while (done < bytes && result == RDB_ROUND_MORE) {
        const struct frame *f;
        uint64_t back;
        switch (cursor_next(c, &f)) {
        case CURSOR_FRAME:
            rdb_append(r, c->dict.schemas, f);
            done += f->length;
            since += f->length;
            n++;
            if (since >= CUT_BYTES_EACH) {
                rdb_publish(r);
                since = 0;
            }
            break;
        case CURSOR_LOST:
            rdb_lost(r, c->lost_from, c->lost_to);
            break;
        case CURSOR_REWOUND:
            back = rdb_rewound(r, c->rewound_old, c->rewound_new);
            if (back != UINT64_MAX && !cursor_seek(c, back))
                result = RDB_ROUND_ERROR;
            break;
        case CURSOR_WAIT:
            result = RDB_ROUND_IDLE;
            break;
        case CURSOR_END:
            result = RDB_ROUND_END;
            break;
        case CURSOR_ERROR:
            result = RDB_ROUND_ERROR;
            break;
        }
    }
    if (r->cut_due)
        rdb_publish(r);
    if (frames)
        *frames = n;
    return result;
}

bool rdb_idle(struct rdb *r)
{
    return day_service(r) || memory_ahead(r);
}

/* ---- any thread ---- */

static bool day_info(struct rdb_day *d, unsigned slot, struct rdb_day_info *out)
{
    for (unsigned tries = 0; tries < 16; tries++) { /* the slot may be given to another day */
        uint32_t state = load_acquire(&d->state);   /* D2: pairs with D1 */
        uint32_t generation = load_relaxed(&d->generation);
        if (state == RDB_DAY_FREE)
            return false;
        *out = (struct rdb_day_info){
            .slot = slot,
            .generation = generation,
            .day = load_relaxed(&d->day),
            .calendar = load_relaxed(&d->calendar),
            .state = (enum rdb_day_state)state,
            .flags = load_relaxed(&d->flags),
            .first_position = load_relaxed(&d->first_position),
            .end_position = load_relaxed(&d->end_position),
            .closed_position = load_relaxed(&d->closed_position),
            .incomplete_from = load_relaxed(&d->incomplete_from),
            .rows = load_relaxed(&d->rows),
            .refused = load_relaxed(&d->refused),
            .lost_bytes = load_relaxed(&d->lost_bytes),
            .bytes = load_relaxed(&d->bytes),
            .extents = load_relaxed(&d->extents),
        };
        fence_acquire(); /* D4: pairs with D3 in new_slot */
        if (load_relaxed(&d->generation) == generation && load_relaxed(&d->state) == state)
            return true;
    }
    return false;
}

unsigned rdb_days(const struct rdb *r, struct rdb_day_info out[RDB_DAYS])
{
    unsigned n = 0;
    for (unsigned i = 0; i < RDB_DAYS; i++)
        n += day_info(&r->head->day[i], i, &out[n]);
    return n;
}

bool rdb_release_day(struct rdb *r, uint32_t slot, uint32_t generation)
{
    if (slot >= RDB_DAYS)
        return false;
    struct rdb_day *d = &r->head->day[slot];
    uint32_t closed = RDB_DAY_CLOSED;
    if (load_relaxed(&d->generation) != generation ||
        !atomic_compare_exchange_strong(&d->state, &closed, RDB_DAY_LEAVING))
        return false;
    atomic_fetch_add(&r->release_asked, 1); /* V1: pairs with V2 in day_service */
    return true;
}

void rdb_figures(const struct rdb *r, struct rdb_figures *o)
{
    *o = (struct rdb_figures){
        .position = load_relaxed(&r->f_position),
        .time = load_relaxed(&r->f_time),
        .frames = load_relaxed(&r->f_frames),
        .bytes = load_relaxed(&r->f_bytes),
        .rows = load_relaxed(&r->f_rows),
        .refused_rows = load_relaxed(&r->f_refused),
        .skipped_rows = load_relaxed(&r->f_skipped),
        .repeated_rows = load_relaxed(&r->f_repeated),
        .bad_rows = load_relaxed(&r->f_bad),
        .derived = load_relaxed(&r->f_derived),
        .unknown_marks = load_relaxed(&r->f_unknown_marks),
        .lost_ranges = load_relaxed(&r->f_lost_ranges),
        .lost_bytes = load_relaxed(&r->f_lost_bytes),
        .rewound = load_relaxed(&r->f_rewound),
        .cuts = load_relaxed(&r->f_cuts),
        .extent_bytes = r->extent_bytes,
        .memory = r->head->extents * r->extent_bytes,
        .extents = r->head->extents,
        .free = load_relaxed(&r->f_free),
        .faulted = load_relaxed(&r->f_faulted),
        .cold = load_relaxed(&r->f_cold),
        .parts = load_relaxed(&r->f_parts),
        .days = load_relaxed(&r->f_days),
    };
    o->used = (uint64_t)(o->extents - o->free) * o->extent_bytes;
}
