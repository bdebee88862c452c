/* SPDX-License-Identifier: Apache-2.0 */
/* Where streams run: processes that come and go, places, moves. */
#include <stdlib.h>
#include "rtp_manager_parts.h"

/* A stream that takes its process along whenever it begins is given up, for the others' sake. */
#define FATAL_NEW    5u
#define FATAL_OPENED 10u

/* ---- ids of processes ---- */

struct instance *place_by_uid(struct rtp_manager *m, unsigned g, unsigned k, int64_t uid)
{
    struct instance *i = m->group[g].process[k].uid[(uint64_t)uid % UID_BUCKETS];
    while (i && i->uid != uid)
        i = i->by_uid;
    return i;
}

void place_bind(struct rtp_manager *m, struct instance *i, int64_t uid)
{
    struct process *p = &m->group[i->s->g].process[i->k];
    struct instance **b = &p->uid[(uint64_t)uid % UID_BUCKETS];
    i->uid = uid;
    i->by_uid = *b;
    *b = i;
    i->state = INSTANCE_LIVE;
    i->ask = 0;
    i->position = 0;
}

static void forget(struct rtp_manager *m, struct instance *i)
{
    struct process *p = &m->group[i->s->g].process[i->k];
    if (i->state == INSTANCE_LIVE) {
        struct instance **b = &p->uid[(uint64_t)i->uid % UID_BUCKETS];
        while (*b != i)
            b = &(*b)->by_uid;
        *b = i->by_uid;
    }
    if (i->state != INSTANCE_NONE)
        p->instances--;
    i->state = INSTANCE_NONE;
    i->ask = i->snap = 0;
    free((void *)i->last.data);
    i->last = (struct rtp_result){0};
}

/* ---- a place ---- */

/* Of n tenths of busy and streams: which is less? */
static bool less(struct rtp_manager *m, unsigned g, unsigned a, unsigned b)
{
    struct rtp_process_facts fa, fb;
    const struct process *p = m->group[g].process;
    m->link->process(m->link->pool, g, a, &fa);
    m->link->process(m->link->pool, g, b, &fb);
    uint32_t ta = fa.busy / 100, tb = fb.busy / 100;
    return ta != tb ? ta < tb : p[a].instances < p[b].instances;
}

/* -1: none is up. */
static int choose(struct rtp_manager *m, unsigned g)
{
    struct group *grp = &m->group[g];
    int best = -1;
    for (unsigned i = 0; i < grp->processes; i++) {
        unsigned k = grp->mode == RTP_ROUND_ROBIN ? (grp->next + i) % grp->processes : i;
        if (!grp->process[k].life)
            continue;
        if (best < 0)
            best = (int)k;
        else if (grp->mode == RTP_LEAST_LOADED && less(m, g, k, (unsigned)best))
            best = (int)k;
        if (grp->mode != RTP_LEAST_LOADED)
            break;
    }
    if (best >= 0 && grp->mode == RTP_ROUND_ROBIN)
        grp->next = ((unsigned)best + 1) % grp->processes;
    return best;
}

/* What is under way is bounded: its queue is the pool's, and one that does not take it is ended. */
static void note(struct process *p, uint64_t id, size_t bytes)
{
    struct asking *a = malloc(sizeof *a);
    if (!a)
        return; /* then it does not count */
    *a = (struct asking){.id = id, .bytes = bytes};
    if (!p->asking)
        p->asking_last = &p->asking;
    *p->asking_last = a;
    p->asking_last = &a->next;
    p->asked_bytes += bytes;
}

static void forget_asking(struct process *p)
{
    while (p->asking) {
        struct asking *next = p->asking->next;
        free(p->asking);
        p->asking = next;
    }
    p->asked_bytes = 0;
}

void place_answered(struct rtp_manager *m, unsigned g, unsigned k, uint64_t id)
{
    struct process *p = &m->group[g].process[k];
    for (struct asking **a = &p->asking; *a; a = &(*a)->next) {
        struct asking *x = *a;
        if (x->id != id)
            continue;
        p->asked_bytes -= x->bytes;
        *a = x->next;
        if (!x->next)
            p->asking_last = a;
        free(x);
        return;
    }
}

void place_deferred(struct rtp_manager *m)
{
    for (unsigned g = 0; g < m->ngroups; g++) {
        if (!m->group[g].deferred)
            continue;
        m->group[g].deferred = false;
        for (struct rtp_stream *s = m->group[g].streams, *next; s; s = next) {
            next = s->next;
            if (!s->retry_at)
                stream_place(m, s);
        }
    }
}

void place_close(struct rtp_manager *m)
{
    for (unsigned g = 0; g < m->ngroups; g++)
        for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++)
            forget_asking(&m->group[g].process[k]);
}

static void place(struct rtp_manager *m, struct instance *i)
{
    struct rtp_stream *s = i->s;
    struct process *p = &m->group[s->g].process[i->k];
    size_t n;
    if (p->life && p->asked_bytes && p->asked_bytes + s->nparams > RTP_ASKED_BYTES) {
        m->group[s->g].deferred = true;
        return;
    }
    void *body = p->life ? rtp_ask_pack(s->name, s->user, s->params, s->nparams, &n) : NULL;
    uint64_t id = s->number << SEQ_BITS | (++s->seq & ((1u << SEQ_BITS) - 1));
    if (body && m->link->send(m->link->pool, s->g, i->k, RTP_WIRE_SUBSCRIBE, id, 0, body, n)) {
        i->state = INSTANCE_ASKED;
        i->ask = id;
        p->instances++;
        note(p, id, n);
    } else if (p->life) { /* it is on its way down, or there is no memory */
        stream_retry(m, s, "the process does not take it");
    }
    free(body);
}

void stream_place(struct rtp_manager *m, struct rtp_stream *s)
{
    bool all = m->group[s->g].mode == RTP_BROADCAST;
    for (unsigned i = 0; i < s->n; i++) {
        if (s->instance[i].state != INSTANCE_NONE)
            continue;
        int k = all ? (int)i : choose(m, s->g);
        if (k < 0)
            return; /* place_up comes */
        s->instance[i].k = (unsigned)k;
        place(m, &s->instance[i]);
    }
}

void stream_unplace(struct rtp_manager *m, struct rtp_stream *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        struct instance *x = &s->instance[i];
        if (x->state == INSTANCE_LIVE && m->link)
            m->link->send(m->link->pool, s->g, x->k, RTP_WIRE_UNSUBSCRIBE, 0, (uint64_t)x->uid,
                          NULL, 0);
        forget(m, x); /* one that was asked: when its answer comes (state_message) */
    }
}

/* ---- refusals of streams that have clients ---- */

void stream_retry(struct rtp_manager *m, struct rtp_stream *s, const char *why)
{
    if (!s->retry_at) {
        s->give_up_at = m->now + RTP_GIVE_UP_NS;
        m->retrying++;
    } else if (m->now >= s->give_up_at && !s->doom) {
        s->doom = strdup(why); /* ended at the next look: callers still use it */
    }
    s->retry_at = m->now + RTP_RETRY_NS;
}

void stream_retried(struct rtp_manager *m, struct rtp_stream *s)
{
    m->retrying -= s->retry_at != 0;
    s->retry_at = 0;
}

/* ---- processes ---- */

void place_up(void *arg, unsigned g, unsigned k, uint64_t life)
{
    struct rtp_manager *m = arg;
    struct group *grp = &m->group[g];
    grp->process[k].life = life;
    for (struct rtp_stream *s = grp->streams, *next; s; s = next) {
        next = s->next;
        if (!s->retry_at)
            stream_place(m, s);
    }
    manager_again(m, g);
}

/* Up to where all has been told: the lowest position of its processes. 0: nothing yet. */
static uint64_t told(const struct rtp_stream *s)
{
    uint64_t low = UINT64_MAX;
    for (unsigned i = 0; i < s->n; i++)
        low = s->instance[i].position < low ? s->instance[i].position : low;
    return low < s->position ? low : s->position;
}

/* What its clients have is not continued. Events are not told again: from where on is said; the
 * position of the next state is where the hole ends. */
static void pause(struct rtp_manager *m, struct rtp_stream *s, const char *why, uint64_t from)
{
    char text[500];
    snprintf(text, sizeof text, "%s", why);
    if (s->columns && !json_array_size(s->key) && !s->full && s->nopened && from)
        snprintf(
            text, sizeof text,
            "%s; events behind position %llu, up to that of the next state, are not told again",
            why, (unsigned long long)from);
    for (unsigned f = 0; f < FACES; f++) {
        if (!s->face[f].members)
            continue;
        struct message *n = show_notice(s->face[f].id, "moved", text);
        face_post(m, &s->face[f], STREAM_PAUSE, n);
        message_release(n);
    }
    while (s->live)
        member_wait(s->live);
    s->face[FACE_FULL].dirty = false;
    if (s->nopened) {
        s->moved++;
        manager_count(m, F_MOVED, 1);
    }
}

void place_down(void *arg, unsigned g, unsigned k, uint64_t life, const char *why, bool again)
{
    struct rtp_manager *m = arg;
    struct group *grp = &m->group[g];
    struct process *p = &grp->process[k];
    char text[300];
    if (p->life != life)
        return;
    p->life = 0;
    forget_asking(p);
    bool other = false;
    for (unsigned i = 0; i < grp->processes; i++)
        other |= grp->process[i].life != 0;
    snprintf(text, sizeof text, "process %u of the group %s has ended (%.150s); %s", k, grp->name,
             why,
             other && grp->mode != RTP_BROADCAST ? "it goes on in another"
             : again                             ? "it goes on when it is up again"
                                                 : "it goes on when the group is started again");
    for (struct rtp_stream *s = grp->streams, *next; s; s = next) {
        bool mine = false, began = false;
        uint64_t from = told(s);
        next = s->next;
        for (unsigned i = 0; i < s->n; i++) {
            struct instance *x = &s->instance[i];
            if (x->k != k || x->state == INSTANCE_NONE)
                continue;
            mine = true;
            began |= x->state == INSTANCE_ASKED || x->snap;
            forget(m, x);
        }
        if (!mine)
            continue;
        s->fatal += began;
        stream_drop_state(s);
        pause(m, s, text, from);
    }
    /* behind all of them: places are given by what the others hold now */
    for (struct rtp_stream *s = grp->streams, *next; s; s = next) {
        next = s->next;
        if (s->fatal >= (s->nopened ? FATAL_OPENED : FATAL_NEW)) {
            snprintf(text, sizeof text, "its process ended %u times while it began: %.150s",
                     s->fatal, why);
            stream_stop(m, s, "stopped", text);
        } else if (!s->retry_at) {
            stream_place(m, s);
        }
    }
}
