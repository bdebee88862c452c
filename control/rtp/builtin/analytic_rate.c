/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages and volume of each symbol over the last `window`, sent by the clock: each `every`, for
 * the symbols whose figures have changed. The clock is the journal's: a replay gives the same rows.
 *
 *   gcc -shared -fPIC -O2 -o rate.so analytic_rate.c
 *
 * A window holds what was journaled in [time - window, time); times are multiples of `every`, which
 * divides the window. It moves over the end of a day as over any other moment. A symbol is counted
 * from when somebody first asks for it.
 */
#include <penstock/streams.h>

PST_RTP_PLUGIN("rate", "1.0", "Messages and volume a second.")

#define BUCKETS_MAX 3600

struct topic {
    struct pst_topic topic;
    struct pst_field size; /* name empty: no volume */
    int64_t step, buckets; /* window = step * buckets */
};
struct bucket {
    int64_t at; /* number of its step */
    int64_t messages;
    double volume;
};
struct entry {
    struct pst_entry entry;
    int64_t time, messages; /* as they were sent last */
    double volume;
    bool idle; /* nothing in its window */
    struct bucket bucket[];
};

static int64_t step_of(const struct topic *t, int64_t time)
{
    return time / t->step - (time % t->step < 0);
}

static bool bind_columns(struct pst_topic *topic, const struct pst_table *table)
{
    struct topic *t = (struct topic *)topic;
    return !*t->size.name || pst_bind(&t->size, table);
}

static void row(struct pst_rtp *r, struct pst_slot *slot, const struct pst_row *row, bool live)
{
    struct topic *t = (struct topic *)slot->topic;
    bool fresh;
    (void)live;
    struct entry *e = (struct entry *)pst_entry_of(
        r, slot, NULL, sizeof *e + (size_t)t->buckets * sizeof *e->bucket, &fresh);
    if (!e)
        return;
    int64_t step = step_of(t, t->topic.streams->time);
    struct bucket *b = &e->bucket[(uint64_t)step % (uint64_t)t->buckets];
    if (b->at != step || fresh)
        *b = (struct bucket){.at = step};
    b->messages++;
    e->idle = false;
    if (*t->size.name) {
        struct pst_value v = pst_row_value(row, (uint32_t)t->size.at);
        b->volume += pst_is_null(&v) ? 0 : pst_as_double(&v);
    }
}

/* A step has ended: new figures of those who had something in their window. */
static void clock_step(struct pst_rtp *r, struct pst_topic *topic)
{
    struct topic *t = (struct topic *)topic;
    int64_t now = step_of(t, topic->streams->time);
    (void)r;
    for (uint32_t i = 0; i < topic->nslots; i++) {
        struct entry *e =
            topic->slot[i]->nentries ? (struct entry *)topic->slot[i]->entry[0] : NULL;
        if (!e || e->idle)
            continue;
        int64_t messages = 0;
        double volume = 0;
        e->idle = true;
        for (int64_t k = 0; k < t->buckets; k++) {
            const struct bucket *b = &e->bucket[k];
            if (!b->messages || b->at < now - t->buckets)
                continue;
            e->idle = false;
            if (b->at < now) {
                messages += b->messages;
                volume += b->volume;
            }
        }
        if (messages == e->messages && volume == e->volume)
            continue;
        e->messages = messages;
        e->volume = volume;
        e->time = now * t->step;
        pst_changed(&e->entry);
    }
    pst_due(topic, (now + 1) * t->step);
}

static const struct pst_column columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},         {"messages", PST_LONG},
    {"volume", PST_FLOAT},   {"message_rate", PST_FLOAT}, {"volume_rate", PST_FLOAT}};

static void add(struct pst_rtp *r, struct pst_sub *sub, const struct pst_change *c,
                struct pst_result *out)
{
    const struct topic *t = (const struct topic *)sub->topic;
    const struct entry *e = (const struct entry *)c->entry;
    double seconds = (double)(t->step * t->buckets) / 1e9;
    struct pst_value v[] = {
        pst_int_value(PST_TIMESTAMP, e->time),          pst_slot_value(c->slot),
        pst_int_value(PST_LONG, e->messages),           pst_float_value(e->volume),
        pst_float_value((double)e->messages / seconds), pst_float_value(e->volume / seconds)};
    pst_rtp_host->add(r, out, v);
}

/* A symbol whose first step has not ended has no figures yet. */
static bool wants(const struct pst_sub *s, const struct pst_change *c)
{
    (void)s;
    return ((const struct entry *)c->entry)->time;
}

static struct pst_streams streams = {.topic_bytes = sizeof(struct topic),
                                     .sub_bytes = sizeof(struct pst_sub),
                                     .bind = bind_columns,
                                     .row = row,
                                     .clock = clock_step,
                                     .wants = wants,
                                     .add = add};

static int64_t subscribe(struct pst_rtp *r, const struct pst_map *map, void *data)
{
    (void)data;
    const struct pst_table *table = pst_given_table(r, map);
    int64_t window = pst_given(map, "window").i, step = pst_given(map, "every").i;
    struct topic wanted = {.step = step};
    char id[256];
    bool fresh;
    if (!table ||
        (pst_given(map, "size").text.len && !pst_given_number(r, map, table, "size", &wanted.size)))
        return -1;
    if (step < 100000000 || window < step || window % step || window / step > BUCKETS_MAX)
        return pst_rtp_host->error(r,
                                   "every is at least 0.1 s, window a multiple of it, at most %d "
                                   "times.",
                                   BUCKETS_MAX);
    wanted.buckets = window / step;
    snprintf(id, sizeof id, "%s %s %lld %lld", table->name, wanted.size.name, (long long)window,
             (long long)step);
    struct topic *t = (struct topic *)pst_topic_of(r, &streams, table->name, id, 0, &fresh);
    if (!t)
        return -1;
    if (fresh) {
        wanted.topic = t->topic;
        *t = wanted;
        pst_due(&t->topic, (step_of(t, streams.time) + 1) * step);
    }
    struct pst_sub *s = pst_sub_new(&t->topic);
    s->columns = columns;
    s->ncolumns = 6;
    s->key = "sym";
    s->full = pst_given(map, "full").i;
    return pst_subscribed(r, s, pst_map_get(map, "syms"), PST_NO_HISTORY);
}

static const struct pst_parameter parameters[] = {
    {"table", PST_SYMBOL, NULL, "table of the journal"},
    {"syms", PST_SYMBOL | PST_LIST, "", "symbols; none: all"},
    {"size", PST_SYMBOL, "", "its column of sizes; none: no volume"},
    {"window", PST_TIMESPAN, "0D00:00:10", "how far back is counted"},
    {"every", PST_TIMESPAN, "0D00:00:01", "how often; divides the window"},
    {"full", PST_BOOLEAN, "0", "send the whole state, not what changed"}};
static const struct pst_analytic analytic = {
    .name = "rate",
    .about = "Messages and volume of each symbol over a moving window.",
    .parameters = parameters,
    .nparameters = sizeof parameters / sizeof *parameters,
    .key = "sym",
    .subscribe = subscribe,
    PST_STREAMS_ANALYTIC(&streams)};
static const struct pst_hooks hooks = PST_STREAMS_HOOKS(&streams);

int pst_rtp_register(struct pst_rtp_registry *registry)
{
    return pst_rtp_host->analytic(registry, &analytic) || pst_rtp_host->hooks(registry, &hooks);
}
