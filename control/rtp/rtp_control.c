/* SPDX-License-Identifier: Apache-2.0 */
/* Control's side: what the thread needs of it, questions of verbs, status, alarms. */
#include <errno.h>
#include <unistd.h>
#include "query_sources.h"
#include "rtp_parts.h"

/* Pins are kept by a 32-bit number: ours have the top bit, those of query processes never. */
#define PIN_OURS 0x80000000u

static uint32_t pin_of(uint64_t life)
{
    return PIN_OURS | (uint32_t)(life - RTP_IDS);
}

static struct rtp_news *news(struct rtp *r, enum rtp_news_kind kind, uint64_t life)
{
    struct rtp_news *n = r && r->running ? calloc(1, sizeof *n) : NULL;
    if (n)
        *n = (struct rtp_news){.kind = kind, .life = life};
    return n;
}

void rtp_helper(struct daemon *d, const struct helper_event *e)
{
    struct rtp_news *n = news(d->rtp, RTP_NEWS_HELPER, e->id);
    if (!n) {
        if (e->kind == HELPER_SPAWNED) { /* it ends with its socket */
            close(e->fd);
            close(e->pidfd);
        }
        return;
    }
    n->e = *e;
    rtp_tell(d->rtp, n);
}

bool rtp_overdue(struct daemon *d, uint32_t process, const char *why)
{
    if (!(process & PIN_OURS))
        return false;
    struct rtp_news *n = news(d->rtp, RTP_NEWS_OVERDUE, RTP_IDS + (process & ~PIN_OURS));
    if (n) {
        snprintf(n->why, sizeof n->why, "%s", why);
        rtp_tell(d->rtp, n);
    }
    return true;
}

static void spawn(struct daemon *d, uint64_t life)
{
    struct err err = {0};
    if (d->helper && helper_spawn(d->helper, "penstock-rtp", life, &err))
        return;
    struct helper_event e = {.kind = HELPER_FAILED, .id = life};
    snprintf(e.text, sizeof e.text, "%s", d->helper ? err.text : "the helper is gone");
    rtp_helper(d, &e);
}

static void cut(struct daemon *d, uint64_t life)
{
    struct err err = {0};
    struct rtp_news *n = news(d->rtp, RTP_NEWS_CUT, life);
    if (!n)
        return;
    query_sources_release(d, pin_of(life));
    n->cut = query_sources_cut(d, pin_of(life), &err);
    if (!n->cut)
        snprintf(n->why, sizeof n->why, "%.299s", err.text);
    rtp_tell(d->rtp, n);
}

int rtp_fd(const struct daemon *d)
{
    return d->rtp ? d->rtp->need : -1;
}

int rtp_poll(struct daemon *d)
{
    struct rtp *r = d->rtp;
    uint64_t ignored;
    int did = 0;
    if (!r || r->need < 0 || read(r->need, &ignored, sizeof ignored) < 0)
        return 0;
    pthread_mutex_lock(&r->lock);
    struct rtp_need *n = r->needs;
    r->needs = NULL;
    r->needs_end = &r->needs;
    pthread_mutex_unlock(&r->lock);
    for (struct rtp_need *next; n; n = next, did++) {
        next = n->next;
        if (n->kind == RTP_NEED_SPAWN)
            spawn(d, n->life);
        else if (n->kind == RTP_NEED_CUT)
            cut(d, n->life);
        else
            query_sources_release(d, pin_of(n->life));
        free(n);
    }
    return did;
}

/* ---- questions ---- */

uint64_t rtp_ask(struct daemon *d, json_t *request, struct err *err)
{
    struct rtp *r = d->rtp;
    if (!r || !r->running) {
        json_decref(request);
        err_set(err, -ENODEV,
                r ? "real-time processes are not running"
                  : "there are no real-time processes here");
        return 0;
    }
    uint64_t id = questions_ask(&r->questions, request, err), one = 1;
    if (id && write(r->wake, &one, sizeof one) < 0)
        return id; /* it is looked at with the next round */
    return id;
}

bool rtp_answer(struct daemon *d, uint64_t id, json_t **answer, struct err *err)
{
    return !d->rtp || questions_answer(&d->rtp->questions, id, answer, err);
}

void rtp_forget(struct daemon *d, uint64_t id)
{
    if (d->rtp && id)
        questions_forget(&d->rtp->questions, id);
}

/* ---- what is shown ---- */

static json_t *shown(const struct daemon *d)
{
    struct rtp *r = d->rtp;
    if (!r)
        return NULL;
    pthread_mutex_lock(&r->lock);
    json_t *o = r->shown;
    r->shown = NULL;
    pthread_mutex_unlock(&r->lock);
    if (o) {
        json_decref(r->taken);
        r->taken = o;
    }
    return json_incref(r->taken);
}

json_t *rtp_writes(const struct daemon *d)
{
    json_t *o = shown(d), *all = json_array(), *g;
    size_t i;
    json_array_foreach(json_object_get(o, "groups"), i, g)
        json_array_extend(all, json_object_get(g, "writes"));
    json_decref(o);
    return all;
}

void rtp_pids(const struct daemon *d, json_t *list)
{
    json_t *o = shown(d);
    json_array_extend(list, json_object_get(o, "pids"));
    json_decref(o);
}

uint64_t rtp_ring_bytes(const struct daemon *d)
{
    return d->rtp && d->rtp->has_q ? d->rtp->q.size : 0;
}

static int64_t number(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

json_t *rtp_status(const struct daemon *d)
{
    json_t *o = shown(d), *g, *x;
    size_t i, k;
    int64_t processes = 0, up = 0, subscriptions = 0, rows = 0, restarts = 0;
    json_array_foreach(json_object_get(o, "groups"), i, g)
    {
        rows += number(g, "rows");
        restarts += number(g, "restarts");
        json_array_foreach(json_object_get(g, "processes"), k, x)
        {
            const char *state = json_string_value(json_object_get(x, "state"));
            processes += strcmp(state, "stopped") != 0;
            up += !strcmp(state, "runs") || !strcmp(state, "replaying") || !strcmp(state, "ready");
            subscriptions += number(json_object_get(x, "beat"), "subscriptions");
        }
    }
    json_decref(o);
    if (!processes && !d->config->rtp.count)
        return NULL;
    return json_pack("{s:I,s:I,s:I,s:I,s:I}", "processes", (json_int_t)processes, "up",
                     (json_int_t)up, "subscriptions", (json_int_t)subscriptions, "rows",
                     (json_int_t)rows, "restarts", (json_int_t)restarts);
}

void rtp_alarms(struct daemon *d, struct alarms *a, int64_t now, int64_t hold)
{
    json_t *o = shown(d), *g, *x;
    size_t i, k;
    json_array_foreach(json_object_get(o, "groups"), i, g)
    {
        const char *name = json_string_value(json_object_get(g, "group")),
                   *why = json_string_value(json_object_get(g, "why")),
                   *trouble = json_string_value(json_object_get(g, "trouble"));
        bool stopped = json_is_true(json_object_get(g, "stopped"));
        int64_t ended = number(g, "ended_ns"), refused = number(g, "refused_ns");
        uint64_t behind = 0;
        bool down = false;
        json_array_foreach(json_object_get(g, "processes"), k, x)
        {
            const char *state = json_string_value(json_object_get(x, "state"));
            const json_t *beat = json_object_get(x, "beat");
            /* positions jump where a crash was: only those of this start are so many bytes */
            int64_t start = (int64_t)d->wiring->start, at = number(beat, "position");
            int64_t lag = number(beat, "limit") - (at > start ? at : start);
            if (!strcmp(state, "runs") && lag > (int64_t)behind)
                behind = (uint64_t)lag;
            down |= !strcmp(state, "waits");
        }
        bool dies = !stopped && ended >= 0 && (down || ended < RTP_RECENT_NS);
        bool no_rows = !stopped && refused >= 0 && refused < RTP_RECENT_NS;
        alarm_check(a, now, ALARM_RTP_RESTARTS, name, dies, hold,
                    "a process of group %s ended: %.250s; %lld times since the start", name, why,
                    (long long)number(g, "restarts"));
        alarm_check(a, now, ALARM_RTP_REFUSED, name, no_rows, hold,
                    "rows of group %s were refused: %.280s", name, why);
        alarm_check(a, now, ALARM_RTP_PLUGIN, name, *trouble, 0, "group %s: %.300s", name, trouble);
        alarm_check(a, now, ALARM_RTP_BEHIND, name, !stopped && behind > RTP_BEHIND, hold,
                    "group %s is %.1f MB of the journal behind", name, (double)behind / 1e6);
    }
    json_decref(o);
}
