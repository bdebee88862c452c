/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include "publish/lane.h"

bool lane_init(struct lane *l, const struct fanout_config *cfg, const struct ring *ring,
               const struct symbols *symbols, const struct schema_set *schemas,
               enum cursor_limit limit, struct err *err)
{
    *l = (struct lane){.ring = ring,
                       .symbols = symbols,
                       .schemas = schemas,
                       .dict = cfg->dict,
                       .limit = limit,
                       .buf = aligned_alloc(64, FRAME_MAX)};
    if (!l->buf)
        return err_set(err, -ENOMEM, "publish: no memory");
    l->fanout = fanout_new(cfg, err);
    return l->fanout != NULL;
}

void lane_fini(struct lane *l)
{
    if (l->fanout)
        fanout_free(l->fanout);
    free(l->buf);
    l->fanout = NULL;
    l->buf = NULL;
}

uint64_t lane_limit(const struct lane *l)
{
    const struct ring_head *h = l->ring->head;
    return l->limit == CURSOR_DURABLE     ? load_acquire(&h->durable)
           : l->limit == CURSOR_SUBMITTED ? load_acquire(&h->submitted)
                                          : ring_tail(l->ring);
}

void lane_learn(struct dictionary *d, const struct symbols *symbols)
{
    uint32_t n = symbols_count(symbols), len;
    for (uint32_t id = d->next; id < n; id++) {
        const char *text = symbols_text(symbols, id, &len);
        if (!len) /* its text was lost in an earlier crash; the id stays taken */
            d->next = id + 1;
        else if (!dictionary_teach(d, id, text, len))
            return; /* no memory: the next frame tries again */
    }
}

void lane_learn_schemas(struct dictionary *d, const struct schema_set *schemas)
{
    for (unsigned id = 0; id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(schemas, id);
        if (s && !schema_set_get(d->schemas, id))
            schema_set_add(d->schemas, s, NULL);
    }
}

/* The newest place at or below the level where a frame begins. Levels may stand inside a frame. */
static uint64_t newest(const struct lane *l)
{
    const struct ring *r = l->ring;
    for (;;) {
        uint64_t limit = lane_limit(l), at;
        if (l->limit == CURSOR_COMMITTED)
            return limit;
        at = ring_checkpoint(r, limit);
        if (!at || at < r->head->start)
            at = r->head->start;
        if (at >= limit)
            return at;
        struct frame f;
        while (ring_copy(r, at, &f, sizeof f) == RING_READ_OK) {
            if (f.length < FRAME_HEADER || f.length > FRAME_MAX || at + f.length > limit)
                return at;
            at += f.length;
            if (at == limit)
                return at;
        }
    }
}

void lane_wake(struct lane *l)
{
    if (l->awake)
        return;
    lane_learn(l->dict, l->symbols);
    lane_learn_schemas(l->dict, l->schemas);
    l->awake = true;
    l->position = l->before = newest(l);
    fanout_at(l->fanout, l->position);
}

void lane_sleep(struct lane *l)
{
    l->awake = false;
}

static bool given_up(const struct lane *l)
{
    return pst_unlikely(load_relaxed(&l->ring->head->lost_n)) && l->limit != CURSOR_COMMITTED &&
           ring_lost(l->ring, l->position, l->position + 1);
}

enum lane_verdict lane_read(struct lane *l, uint64_t most, uint32_t *frames)
{
    uint64_t limit = lane_limit(l), end = l->position + most;
    *frames = 0;
    while (l->position < limit && l->position < end) {
        struct frame *f = (struct frame *)l->buf;
        if (given_up(l))
            return LANE_LAPPED;
        if (ring_copy(l->ring, l->position, f, FRAME_HEADER) != RING_READ_OK ||
            f->length < FRAME_HEADER || f->length > FRAME_MAX || f->position != l->position)
            return LANE_LAPPED;
        if (l->position + f->length > limit)
            break;
        if (ring_copy(l->ring, l->position + FRAME_HEADER, l->buf + FRAME_HEADER,
                      f->length - FRAME_HEADER) != RING_READ_OK)
            return LANE_LAPPED;
        if (symbols_count(l->symbols) != l->dict->next)
            lane_learn(l->dict, l->symbols);
        if (f->kind == FRAME_SCHEMA) {
            dictionary_feed(l->dict, f);
            l->schema_news = true;
        }
        l->time = f->time;
        l->position += f->length;
        if (f->kind == FRAME_PAD)
            fanout_at(l->fanout, l->position);
        else
            fanout_frame(l->fanout, f);
        (*frames)++;
    }
    return LANE_OK;
}

void lane_flush(struct lane *l, int64_t now)
{
    fanout_flush(l->fanout, now);
    if (fanout_due(l->fanout) == INT64_MAX)
        l->before = l->position;
}
