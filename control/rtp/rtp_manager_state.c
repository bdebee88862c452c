/* SPDX-License-Identifier: Apache-2.0 */
/* What processes say: subscribed, refused, states, updates; and what of it goes to whom. */
#include <errno.h>
#include <stdlib.h>
#include "rtp_manager_parts.h"

#define BEHIND_BYTES (64u << 20) /* of updates behind a state that is not whole yet */

bool stream_placed(const struct rtp_stream *s)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->instance[i].state != INSTANCE_LIVE)
            return false;
    return true;
}

void face_post(struct rtp_manager *m, const struct face *f, enum stream_event_kind kind,
               struct message *message)
{
    for (unsigned t = 0; message && t < HUB_THREADS; t++) {
        if (!f->on_thread[t])
            continue;
        struct stream_event *e = stream_event_new(kind, f->id, message);
        if (!e) /* as if the list were full: they ask for a state */
            e = stream_event_new(STREAM_LOST, f->id, NULL);
        if (e)
            hub_post(m->hub, t, e);
    }
}

/* ---- asking for a state ---- */

static bool under_way(const struct rtp_stream *s)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->instance[i].snap)
            return true;
    return false;
}

void stream_drop_state(struct rtp_stream *s)
{
    for (unsigned i = 0; s->instance && i < s->n; i++) {
        struct instance *x = &s->instance[i];
        x->snap = 0;
        x->part_here = false;
        free((void *)x->part.data);
        x->part = (struct rtp_result){0};
    }
    for (uint32_t i = 0; i < s->nbehind; i++)
        message_release(s->behind[i]);
    free(s->behind);
    s->behind = NULL;
    s->nbehind = s->behind_room = 0;
    s->behind_bytes = 0;
}

void stream_ask_state(struct rtp_manager *m, struct rtp_stream *s)
{
    bool wanted = s->waiting || s->face[FACE_FULL].dirty;
    if (!wanted || !stream_placed(s) || under_way(s))
        return;
    stream_drop_state(s);
    uint64_t id = s->number << SEQ_BITS | (++s->seq & ((1u << SEQ_BITS) - 1));
    for (unsigned i = 0; i < s->n; i++) {
        struct instance *x = &s->instance[i];
        x->snap = id;
        if (!m->link->send(m->link->pool, s->g, x->k, RTP_WIRE_SNAPSHOT, id, (uint64_t)x->uid, NULL,
                           0)) { /* it is on its way down: place_down begins anew */
            stream_drop_state(s);
            return;
        }
    }
}

/* ---- a state goes out ---- */

/* Which face a client that waits gets; false: it cannot have what it wants. */
static bool face_for(const struct rtp_stream *s, enum stream_want want, uint8_t *face,
                     const char **why)
{
    *face = FACE_DELTA;
    if (want == STREAM_DELTA && s->full)
        *why = "domain: it publishes its whole state each time; mode delta does not go with it";
    else if (want == STREAM_FULL && !s->full && !json_array_size(s->key))
        *why = "domain: its rows are events without a key: it has no full state to be sent; leave "
               "out mode";
    else
        *face = want == STREAM_FULL && !s->full ? FACE_FULL : FACE_DELTA;
    return !*why;
}

static void open_member(struct rtp_manager *m, struct member *x, uint64_t position)
{
    struct rtp_stream *s = x->s;
    const char *why = NULL;
    struct stream_event *e = NULL;
    if (face_for(s, x->want, &x->face, &why)) {
        e = stream_event_new(STREAM_OPENED, s->face[x->face].id, NULL);
        if (e)
            e->message = show_opened(m, s, x->face, position);
        if (!e || !e->message || (s->tables && !(e->text = strdup(s->tables)))) {
            stream_event_free(e);
            why = "wsfull";
        }
    }
    if (why) {
        manager_refuse(m, x->thread, x->token, why);
        member_free(m, x);
        return;
    }
    e->token = x->token;
    x->opened = true;
    m->unopened--;
    s->nopened++;
    s->face[x->face].members++;
    s->face[x->face].on_thread[x->thread]++;
    user_release(x->user);
    x->user = NULL;
    hub_post(m->hub, x->thread, e);
}

static void post_state(struct rtp_manager *m, struct rtp_stream *s, unsigned face, unsigned thread,
                       struct message *state)
{
    struct stream_event *e = stream_event_new(STREAM_STATED, s->face[face].id, state);
    if (e && s->nbehind && face == FACE_DELTA && !s->full) {
        e->behind = malloc(s->nbehind * sizeof *e->behind);
        for (uint32_t i = 0; e->behind && i < s->nbehind; i++)
            e->behind[e->nbehind++] = message_hold(s->behind[i]);
        if (!e->behind) {
            stream_event_free(e);
            e = NULL;
        }
    }
    if (e)
        hub_post(m->hub, thread, e);
}

/* The state is whole. */
static void stated(struct rtp_manager *m, struct rtp_stream *s, const struct rtp_result *r,
                   uint64_t position)
{
    struct message *state[FACES] = {0}, *full = NULL;
    bool behind = s->nbehind != 0, threads[FACES][HUB_THREADS] = {0};
    stream_retried(m, s);
    s->states++;
    s->fatal = 0;
    s->position = position > s->position ? position : s->position;
    manager_count(m, F_STATES, 1);
    /* those that are live get it as an update, and only they */
    if (s->face[FACE_FULL].dirty && s->face[FACE_FULL].members) {
        full = show_rows(false, s->face[FACE_FULL].id, r, position);
        face_post(m, &s->face[FACE_FULL], STREAM_UPDATE, full);
        message_release(full);
    }
    s->face[FACE_FULL].dirty = behind && s->face[FACE_FULL].members;
    for (struct member *x = s->waiting, *next; x; x = next) {
        next = x->next;
        if (!x->opened)
            open_member(m, x, position);
    }
    while (s->waiting) {
        struct member *x = s->waiting;
        threads[x->face][x->thread] = true;
        if (behind && x->face == FACE_FULL)
            s->face[FACE_FULL].dirty = true;
        member_live(x);
    }
    for (unsigned f = 0; f < FACES; f++)
        for (unsigned t = 0; t < HUB_THREADS; t++) {
            if (!threads[f][t])
                continue;
            if (!state[f])
                state[f] = show_rows(true, s->face[f].id, r, position);
            if (state[f])
                post_state(m, s, f, t, state[f]);
        }
    for (unsigned f = 0; f < FACES; f++)
        message_release(state[f]);
    stream_drop_state(s);
    if (!s->members)
        stream_end(m, s);
    else
        stream_ask_state(m, s); /* what came meanwhile */
}

/* Of several processes. */
static bool keep(struct rtp_result *to, const struct rtp_said *said)
{
    uint8_t *copy = malloc(said->length ? said->length : 1);
    if (!copy)
        return false;
    memcpy(copy, said->body, said->length);
    free((void *)to->data);
    *to = (struct rtp_result){copy, said->length, said->rows};
    return true;
}

/* All parts as one; the lowest position. False: no memory, or some are missing. */
static bool unite(const struct rtp_stream *s, bool last, struct kdb_out *out, struct rtp_result *r,
                  uint64_t *position)
{
    struct rtp_result part[RTP_PROCESSES_MAX];
    *position = UINT64_MAX;
    r->rows = 0;
    for (unsigned i = 0; i < s->n; i++) {
        const struct instance *x = &s->instance[i];
        uint64_t at = last ? x->position : x->part_position;
        part[i] = last ? x->last : x->part;
        if (!part[i].data)
            return false;
        r->rows += part[i].rows;
        *position = at < *position ? at : *position;
    }
    if (!rtp_union_put(out, part, s->n))
        return false;
    r->data = out->data;
    r->len = (uint32_t)out->len;
    return true;
}

static void part_came(struct rtp_manager *m, struct instance *x, const struct rtp_said *said)
{
    struct rtp_stream *s = x->s;
    struct kdb_out out = {0};
    struct rtp_result r;
    uint64_t position;
    x->snap = 0;
    x->part_here = true;
    x->part_position = said->value;
    if (!keep(s->full ? &x->last : &x->part, said)) {
        stream_drop_state(s);
        stream_retry(m, s, "no memory for its state");
        return;
    }
    if (under_way(s))
        return;
    if (unite(s, s->full, &out, &r, &position)) {
        stated(m, s, &r, position);
    } else {
        stream_drop_state(s);
        stream_retry(m, s, "its state is too large");
    }
    kdb_out_free(&out);
}

/* ---- updates ---- */

static void put_behind(struct rtp_stream *s, struct message *u)
{
    if (s->nbehind == s->behind_room) {
        uint32_t room = s->behind_room ? 2 * s->behind_room : 16;
        struct message **p = realloc(s->behind, room * sizeof *p);
        if (!p) {
            s->behind_bytes = BEHIND_BYTES;
            return;
        }
        s->behind = p;
        s->behind_room = room;
    }
    s->behind[s->nbehind++] = message_hold(u);
    s->behind_bytes += u->len;
}

static void updated(struct rtp_manager *m, struct instance *x, const struct rtp_said *said)
{
    struct rtp_stream *s = x->s;
    struct rtp_result r = {said->body, said->length, said->rows};
    struct kdb_out out = {0};
    uint64_t position = said->value;
    bool late = x->part_here && under_way(s); /* of a state that still lacks others' parts */
    s->position = position > s->position ? position : s->position;
    if (s->full && s->n > 1) {
        if (!keep(&x->last, said) || !unite(s, true, &out, &r, &position)) {
            kdb_out_free(&out);
            return; /* the first state brings it */
        }
    }
    s->updates++;
    s->rows += r.rows;
    s->bytes += r.len;
    manager_count(m, F_UPDATES, 1);
    manager_count(m, F_ROWS, r.rows);
    manager_count(m, F_BYTES, r.len);
    struct face *f = &s->face[FACE_DELTA];
    if (f->members || (late && s->waiting)) {
        struct message *u = show_rows(false, f->id, &r, position);
        face_post(m, f, STREAM_UPDATE, u);
        if (late && u && !s->full)
            put_behind(s, u);
        message_release(u);
    }
    kdb_out_free(&out);
    if (s->behind_bytes >= BEHIND_BYTES) { /* a process that takes so long has its state asked again
                                            */
        stream_drop_state(s);
        stream_ask_state(m, s);
    }
    if (s->face[FACE_FULL].members) {
        s->face[FACE_FULL].dirty = true;
        stream_ask_state(m, s);
    }
}

/* ---- the messages ---- */

static struct instance *instance_on(struct rtp_stream *s, unsigned k)
{
    for (unsigned i = 0; s && i < s->n; i++)
        if (s->instance[i].k == k && s->instance[i].state != INSTANCE_NONE)
            return &s->instance[i];
    return NULL;
}

static bool subscribed(struct rtp_manager *m, unsigned g, unsigned k, const struct rtp_said *said,
                       struct err *err)
{
    struct rtp_stream *s = stream_of(m, said->id);
    struct instance *x = instance_on(s, k);
    int64_t uid = (int64_t)said->value;
    if (uid < 0)
        return err_set(err, -EPROTO, "a subscription with a negative id");
    if (!x || s->g != g || x->ask != said->id) { /* everybody has left meanwhile */
        if (place_by_uid(m, g, k, uid))
            return err_set(err, -EPROTO, "the id %lld twice", (long long)uid);
        m->link->send(m->link->pool, g, k, RTP_WIRE_UNSUBSCRIBE, 0, said->value, NULL, 0);
        return true;
    }
    if (place_by_uid(m, g, k, uid))
        return err_set(err, -EPROTO, "the id %lld twice", (long long)uid);
    json_t *o = rtp_subscribed_check((const char *)said->body, said->length, err);
    if (!o)
        return false;
    json_t *columns = json_object_get(o, "columns"), *key = json_object_get(o, "key");
    bool full = json_is_true(json_object_get(o, "full"));
    place_bind(m, x, uid);
    if (s->columns && (!json_equal(s->columns, columns) || !json_equal(s->key, key))) {
        json_decref(o);
        stream_stop(m, s, "stopped", "its columns have changed; subscribe again");
        return true;
    }
    s->full |= full;
    if (!s->columns) {
        s->columns = json_incref(columns);
        s->key = json_incref(key);
    }
    json_decref(o);
    stream_ask_state(m, s);
    return true;
}

static void refused(struct rtp_manager *m, unsigned g, unsigned k, const struct rtp_said *said)
{
    struct rtp_stream *s = stream_of(m, said->id);
    struct instance *x = instance_on(s, k);
    char why[RTP_SENTENCE + 1];
    if (!x || s->g != g || (x->ask != said->id && x->snap != said->id))
        return;
    rtp_printable(why, sizeof why, (const char *)said->body, said->length);
    if (x->ask == said->id) {
        m->group[g].process[k].instances--;
        x->state = INSTANCE_NONE;
        x->ask = 0;
    }
    stream_drop_state(s);
    for (struct member *y = s->waiting, *next; y; y = next) {
        next = y->next;
        if (y->opened)
            continue;
        manager_refuse(m, y->thread, y->token, why);
        member_free(m, y);
    }
    if (!s->members)
        stream_end(m, s);
    else
        stream_retry(m, s, why);
}

static bool sound(const struct instance *x, const struct rtp_said *said, struct err *err)
{
    if (said->value < x->position || said->value > (uint64_t)INT64_MAX)
        return err_set(err, -EPROTO, "a position that goes back");
    return rtp_result_check(said->body, said->length, said->rows, err) &&
           rtp_result_fits(said->body, said->length, x->s->columns, x->s->key, err);
}

bool state_message(void *arg, unsigned g, unsigned k, uint64_t life, const struct rtp_said *said,
                   struct err *err)
{
    struct rtp_manager *m = arg;
    struct instance *x = NULL;
    if (m->group[g].process[k].life != life)
        return true;
    switch (said->type) {
    case RTP_WIRE_SUBSCRIBED:
        place_answered(m, g, k, said->id);
        return subscribed(m, g, k, said, err);
    case RTP_WIRE_REFUSED:
        place_answered(m, g, k, said->id);
        refused(m, g, k, said);
        return true;
    case RTP_WIRE_STATE:
        x = instance_on(stream_of(m, said->id), k);
        if (!x || x->s->g != g || x->snap != said->id)
            return true; /* nobody waits for it any more */
        if (!sound(x, said, err))
            return false;
        x->position = said->value;
        if (x->s->n > 1) {
            part_came(m, x, said);
        } else {
            struct rtp_result r = {said->body, said->length, said->rows};
            x->snap = 0;
            stated(m, x->s, &r, said->value);
        }
        return true;
    case RTP_WIRE_UPDATE:
        x = place_by_uid(m, g, k, (int64_t)said->id);
        if (!x)
            return true; /* from before it heard of the UNSUBSCRIBE */
        if (!sound(x, said, err))
            return false;
        x->position = said->value;
        if (said->rows || x->s->full)
            updated(m, x, said);
        return true;
    default:
        return true;
    }
}
