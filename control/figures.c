/* SPDX-License-Identifier: Apache-2.0 */
#include "core/civil.h"
#include "core/clock.h"
#include "dataplane/packet.h"
#include "figures.h"

#define SET(o, key, field)                                                                         \
    json_object_set_new(o, key, json_integer((json_int_t)load_relaxed(&(field))))

static const char *name_of(const char *const *names, unsigned n, unsigned i)
{
    return i < n ? names[i] : "?";
}
const char *feed_state_name(unsigned i)
{
    static const char *const n[] = {"waiting", "live", "silent", "paused", "closed"};
    return name_of(n, PST_COUNT(n), i);
}
const char *line_state_name(unsigned i)
{
    static const char *const n[] = {"waiting", "live", "silent", "off"};
    return name_of(n, PST_COUNT(n), i);
}
const char *session_state_name(unsigned i)
{
    static const char *const n[] = {"live", "ended", "replaced"};
    return name_of(n, PST_COUNT(n), i);
}
const char *thread_state_name(unsigned i)
{
    static const char *const n[] = {"boot", "run", "halt", "fail"};
    return name_of(n, PST_COUNT(n), i);
}

const char *figures_day(int32_t day, char out[16])
{
    civil_format(day, out);
    return out;
}

int figures_feed_index(const struct status *s, const char *name)
{
    for (unsigned i = 0; i < s->n_feeds; i++)
        if (!strcmp(s->feeds[i].name, name))
            return (int)i;
    return -1;
}
int figures_line_index(const struct status *s, unsigned feed, const char *name)
{
    for (unsigned i = 0; i < s->feeds[feed].nlines; i++)
        if (!strcmp(s->feeds[feed].line[i].name, name))
            return (int)i;
    return -1;
}

json_t *figures_line(const struct status *s, const struct rates *r, unsigned feed, unsigned line)
{
    const struct status_line *l = &s->feeds[feed].line[line];
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(l->name));
    json_object_set_new(o, "state", json_string(line_state_name(load_relaxed(&l->state))));
    json_object_set_new(o, "rate", json_real(r->line[feed][line].per_s));
    SET(o, "packets", l->packets);
    SET(o, "bytes", l->bytes);
    SET(o, "messages", l->messages);
    SET(o, "accepted", l->accepted);
    SET(o, "duplicate", l->duplicate);
    SET(o, "late", l->late);
    SET(o, "old", l->old);
    SET(o, "unsequenced", l->unsequenced);
    SET(o, "malformed", l->malformed);
    SET(o, "heartbeats", l->heartbeats);
    SET(o, "reordered", l->reordered);
    SET(o, "lost", l->lost);
    SET(o, "divergent", l->divergent);
    SET(o, "first", l->first);
    SET(o, "last_rx", l->last_rx);
    uint64_t n = load_relaxed(&l->lag_n);
    json_object_set_new(o, "lag_mean_ns",
                        json_real(n ? (double)load_relaxed(&l->lag_sum) / (double)n : 0));
    return o;
}

json_t *figures_sessions(const struct status *s, unsigned feed)
{
    json_t *a = json_array();
    uint32_t n = load_acquire(&s->n_sessions); /* T2 */
    for (uint32_t i = 0; i < n && i < STATUS_SESSIONS; i++) {
        const struct status_session *x = &s->sessions[i];
        const char *text = status_session_text(x); /* first: it says that the rest is there */
        if (!*text || x->feed != feed)
            continue;
        char day[16];
        json_t *o = json_pack("{s:s,s:i,s:s,s:s}", "session", text, "epoch", (int)x->epoch, "day",
                              figures_day(x->day, day), "state",
                              session_state_name(load_relaxed(&x->state)));
        SET(o, "first", x->first);
        SET(o, "next", x->next);
        SET(o, "high", x->high);
        SET(o, "waiting", x->waiting);
        json_array_append_new(a, o);
    }
    return a;
}

json_t *figures_feed(const struct status *s, const struct rates *r, unsigned feed)
{
    const struct status_feed *f = &s->feeds[feed];
    json_t *o = json_object(), *lines = json_array();
    json_object_set_new(o, "name", json_string(f->name));
    json_object_set_new(o, "framing", json_string(f->framing));
    json_object_set_new(o, "decoder", json_string(f->decoder));
    json_object_set_new(o, "lcore", json_integer((int16_t)f->lcore));
    json_object_set_new(o, "state", json_string(feed_state_name(load_relaxed(&f->state))));
    json_object_set_new(o, "rate", json_real(r->feed[feed].per_s));
    SET(o, "messages", f->messages);
    SET(o, "decoded", f->decoded);
    SET(o, "undecoded_unknown", f->undecoded_unknown);
    SET(o, "undecoded_length", f->undecoded_length);
    SET(o, "undecoded_symbol", f->undecoded_symbol);
    SET(o, "divergent", f->divergent);
    SET(o, "gaps", f->gaps);
    SET(o, "gap_seqs", f->gap_seqs);
    SET(o, "late_seqs", f->late_seqs);
    SET(o, "lost_all", f->lost_all);
    SET(o, "window_packets", f->window_packets);
    SET(o, "window_bytes", f->window_bytes);
    SET(o, "window_full", f->window_full);
    SET(o, "restarts", f->restarts);
    SET(o, "too_many_sessions", f->too_many_sessions);
    for (unsigned l = 0; l < f->nlines; l++)
        json_array_append_new(lines, figures_line(s, r, feed, l));
    json_object_set_new(o, "lines", lines);
    json_t *sessions = figures_sessions(s, feed);
    /* The newest live session's next sequence is the feed's figure on the one-screen view. */
    json_int_t next = 0;
    for (size_t i = 0; i < json_array_size(sessions); i++)
        next = json_integer_value(json_object_get(json_array_get(sessions, i), "next"));
    json_object_set_new(o, "next", json_integer(next));
    json_object_set_new(o, "sessions", sessions);
    return o;
}

json_t *figures_counters(const struct status *s)
{
    static const char *const about[] = {
#define X(ID, name, owner, text) text,
#include "core/counters.def"
#undef X
    };
    json_t *a = json_array();
    for (unsigned i = 0; i < COUNTERS; i++)
        json_array_append_new(a, json_pack("{s:s,s:I,s:s}", "name", counter_name(i), "value",
                                           (json_int_t)load_relaxed(&s->counter[i]), "about",
                                           about[i]));
    for (unsigned i = DROP_none + 1; i < DROP_COUNT && i < STATUS_DROPS; i++) {
        char name[64];
        snprintf(name, sizeof name, "drop.%s", drop_name((enum drop)i));
        json_array_append_new(a, json_pack("{s:s,s:I,s:s}", "name", name, "value",
                                           (json_int_t)load_relaxed(&s->drop[i]), "about",
                                           drop_sentence((enum drop)i)));
    }
    return a;
}

json_t *figures_latency(const struct status *s)
{
    static const struct {
        const char *name, *text;
    } stage[] = {
#define X(ID, name, text) {name, text},
        LATENCY_STAGES(X)
#undef X
    };
    json_t *a = json_array();
    for (unsigned i = 0; i < STAGES; i++) {
        const struct hist *h = &s->stage[i];
        json_t *buckets = json_array();
        for (unsigned b = 0; b < HIST_BUCKETS; b++) {
            uint64_t n = load_relaxed(&h->bucket[b]);
            if (n)
                json_array_append_new(buckets,
                                      json_pack("[II]", (json_int_t)hist_edge(b), (json_int_t)n));
        }
        json_array_append_new(a, json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "stage",
                                           stage[i].name, "about", stage[i].text, "n",
                                           (json_int_t)load_relaxed(&h->n), "p50",
                                           (json_int_t)hist_quantile(h, 0.5), "p90",
                                           (json_int_t)hist_quantile(h, 0.9), "p99",
                                           (json_int_t)hist_quantile(h, 0.99), "p999",
                                           (json_int_t)hist_quantile(h, 0.999), "max",
                                           (json_int_t)load_relaxed(&h->max), "buckets", buckets));
    }
    return a;
}

/* Times of loops that found work or took over 100 us. */
static json_t *loop_times(const struct status_thread *t)
{
    json_t *buckets = json_array();
    uint64_t n = 0;
    for (unsigned b = 0; b < HIST_BUCKETS; b++) {
        uint64_t k = load_relaxed(&t->loop[b]);
        n += k;
        if (k)
            json_array_append_new(buckets,
                                  json_pack("[II]", (json_int_t)hist_edge(b), (json_int_t)k));
    }
    return json_pack("{s:I,s:I,s:I,s:I,s:o}", "n", (json_int_t)n, "p50",
                     (json_int_t)hist_buckets_quantile(t->loop, n, 0.5), "p99",
                     (json_int_t)hist_buckets_quantile(t->loop, n, 0.99), "p9999",
                     (json_int_t)hist_buckets_quantile(t->loop, n, 0.9999), "buckets", buckets);
}

json_t *figures_threads(const struct status *s)
{
    json_t *a = json_array();
    int64_t now = clock_monotonic();
    for (unsigned i = 0; i < s->n_threads; i++) {
        const struct status_thread *t = &s->threads[i];
        json_t *o = json_pack("{s:s,s:i,s:s,s:I}", "name", t->name, "cpu", t->cpu, "state",
                              thread_state_name(load_relaxed(&t->state)), "heartbeat_age_ns",
                              (json_int_t)(now - load_relaxed(&t->heartbeat)));
        SET(o, "tid", t->tid);
        SET(o, "loops", t->loops);
        SET(o, "busy", t->busy);
        SET(o, "worst_ns", t->worst_ns);
        SET(o, "over_100us", t->over_100us);
        json_object_set_new(o, "loop_ns", loop_times(t));
        json_array_append_new(a, o);
    }
    return a;
}

json_t *figures_ports(const struct status *s, const struct rates *r)
{
    static const char *const link[] = {"down", "up", "unknown"};
    json_t *a = json_array();
    for (unsigned i = 0; i < s->n_ports; i++) {
        const struct status_port *p = &s->ports[i];
        json_t *o = json_pack("{s:s,s:s,s:i,s:f,s:s}", "name", p->name, "device", p->device,
                              "lcore", (int)(int16_t)p->lcore, "rate", r->port[i].per_s, "link",
                              name_of(link, 3, load_relaxed(&p->link)));
        SET(o, "taken", p->taken);
        SET(o, "device_packets", p->device_packets);
        SET(o, "missed", p->missed);
        SET(o, "nombuf", p->nombuf);
        SET(o, "errors", p->errors);
        json_array_append_new(a, o);
    }
    return a;
}
