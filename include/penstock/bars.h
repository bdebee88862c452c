/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bars.h - time bars over streams.h: which bar a row falls into, when a bar is closed, what becomes
 * of it at the end of the day. Threads and ownership are those of streams.h. The analytic adds its
 * statistic: its struct begins with struct pst_bar, its topic with struct pst_bars.
 *
 * A BAR is of one symbol and one trading date and holds the rows whose time lies in [start, start +
 * interval); starts are multiples of the interval since 2000-01-01 UTC. Interval 0: one bar for the
 * date, its start that date's midnight. Bars without rows are not made.
 *
 * CLOSED. When the journal's clock has passed the bar's end by `wait`, or its date has ended. A row
 * that comes later corrects its bar, which is sent again, closed as it is. A row of a date that has
 * ended is of the open date (flag late_day): no bar of a date changes once that is over.
 *
 * END OF DAY. All bars of the date are sent as closed, then forgotten: state is of the open dates.
 */
#ifndef PENSTOCK_BARS_H
#define PENSTOCK_BARS_H

#include <penstock/streams.h>

struct pst_bar {
    struct pst_entry entry;
    int32_t day;
    bool closed;
    int64_t start;
};
struct pst_bars {
    struct pst_topic topic;
    struct pst_field price, size;
    int64_t interval, wait;
    bool closed_only; /* a bar is sent when it is closed, not while it grows */
    struct pst_bar **open;
    uint32_t nopen, open_room;
};
struct pst_bar_key {
    int32_t day;
    int64_t start;
};
#define PST_DAY_NS 86400000000000ll

static inline int pst_bar_order(const struct pst_entry *e, const void *key)
{
    const struct pst_bar *b = (const struct pst_bar *)e;
    const struct pst_bar_key *k = (const struct pst_bar_key *)key;
    if (k->day != b->day)
        return k->day < b->day ? -1 : 1;
    return k->start < b->start ? -1 : k->start > b->start;
}
static inline void pst_bar_changed(struct pst_bar *b)
{
    if (b->closed || !((struct pst_bars *)b->entry.slot->topic)->closed_only)
        pst_changed(&b->entry);
}
/* streams->wants */
static inline bool pst_bar_wanted(const struct pst_sub *s, const struct pst_change *c)
{
    return !((const struct pst_bars *)s->topic)->closed_only ||
           ((const struct pst_bar *)c->entry)->closed;
}
static inline int64_t pst_bar_end(const struct pst_bars *t, const struct pst_bar *b)
{
    int64_t end;
    if (!t->interval || __builtin_add_overflow(b->start, t->interval + t->wait, &end))
        return INT64_MAX; /* by the end of its day */
    return end;
}
/* The bar of a row, made where there is none; NULL: no time, or too many bars. `bytes`:
 * of the analytic's struct. The caller changes it and calls pst_bar_changed where it is live. */
static inline struct pst_bar *pst_bar_of(struct pst_rtp *r, struct pst_slot *l,
                                         const struct pst_row *row, size_t bytes, bool *fresh)
{
    struct pst_bars *t = (struct pst_bars *)l->topic;
    int64_t time = pst_row_time(row);
    if (time == PST_NULL_TIMESTAMP || time < INT64_MIN + PST_DAY_NS)
        return NULL;
    int32_t day = t->topic.streams->day;
    struct pst_bar_key k = {day, day * PST_DAY_NS};
    if (t->interval)
        k.start = time - (time % t->interval + t->interval) % t->interval;
    struct pst_bar *b = (struct pst_bar *)pst_entry_of(r, l, &k, bytes, fresh);
    if (!b || !*fresh)
        return b;
    b->day = day;
    b->start = k.start;
    int64_t end = pst_bar_end(t, b);
    b->closed = end <= t->topic.streams->time;
    if (b->closed)
        return b;
    t->open =
        (struct pst_bar **)pst_room((void *)t->open, t->nopen, &t->open_room, sizeof *t->open);
    t->open[t->nopen++] = b;
    if (end < t->topic.due)
        pst_due(&t->topic, end);
    return b;
}
/* streams->clock */
static inline void pst_bars_clock(struct pst_rtp *r, struct pst_topic *topic)
{
    struct pst_bars *t = (struct pst_bars *)topic;
    int64_t next = INT64_MAX;
    (void)r;
    for (uint32_t i = 0; i < t->nopen;) {
        struct pst_bar *b = t->open[i];
        int64_t end = pst_bar_end(t, b);
        if (end > topic->streams->time) {
            next = end < next ? end : next;
            i++;
            continue;
        }
        b->closed = true;
        pst_bar_changed(b);
        t->open[i] = t->open[--t->nopen];
    }
    pst_due(topic, next);
}
/* streams->ended */
static inline void pst_bars_ended(struct pst_rtp *r, struct pst_topic *topic, int32_t day)
{
    struct pst_bars *t = (struct pst_bars *)topic;
    for (uint32_t i = 0; i < t->nopen;) {
        struct pst_bar *b = t->open[i];
        if (b->day > day) {
            i++;
            continue;
        }
        b->closed = true;
        pst_bar_changed(b);
        t->open[i] = t->open[--t->nopen];
    }
    pst_topic_flush(r, topic);
    for (uint32_t i = 0; i < topic->nslots; i++) {
        struct pst_slot *l = topic->slot[i];
        uint32_t n = 0;
        while (n < l->nentries && ((struct pst_bar *)l->entry[n])->day <= day)
            pst_entry_free(topic->streams, l->entry[n++]);
        if (n)
            memmove((void *)l->entry, (void *)(l->entry + n), (l->nentries - n) * sizeof *l->entry);
        l->nentries -= n;
        topic->streams->entries -= n;
    }
}
/* streams->free_entry and free_topic */
static inline void pst_bar_free(struct pst_entry *e)
{
    struct pst_bars *t = (struct pst_bars *)e->slot->topic;
    for (uint32_t i = t->nopen; i-- > 0;)
        if (t->open[i] == (struct pst_bar *)e) {
            t->open[i] = t->open[--t->nopen];
            return;
        }
}
static inline void pst_bars_free(struct pst_topic *t)
{
    free((void *)((struct pst_bars *)t)->open);
}

/* streams->bind */
static inline bool pst_bars_bind(struct pst_topic *topic, const struct pst_table *table)
{
    struct pst_bars *t = (struct pst_bars *)topic;
    return pst_bind(&t->price, table) && pst_bind(&t->size, table);
}
/* The topic of what PST_BARS_PARAMETERS were given. NULL: error. */
static inline struct pst_bars *pst_bars_of(struct pst_rtp *r, struct pst_streams *m,
                                           const struct pst_map *map)
{
    const struct pst_table *table = pst_given_table(r, map);
    struct pst_bars b;
    memset(&b, 0, sizeof b);
    if (!table || !pst_given_number(r, map, table, "price", &b.price) ||
        !pst_given_number(r, map, table, "size", &b.size))
        return NULL;
    b.interval = pst_given(map, "interval").i;
    b.wait = pst_given(map, "wait").i;
    b.closed_only = pst_given(map, "closed").i;
    int64_t every = pst_given(map, "every").i;
    if (b.interval < 0 || (b.interval && b.interval < 1000000) || b.interval > PST_DAY_NS) {
        pst_rtp_host->error(r, "interval is 1 ms to a day, or 0: one bar for the whole day.");
        return NULL;
    }
    if (b.wait < 0 || b.wait > PST_DAY_NS || every < 0 || every > PST_DAY_NS) {
        pst_rtp_host->error(r, "wait and every are 0 to a day.");
        return NULL;
    }
    char id[300];
    bool fresh;
    snprintf(id, sizeof id, "%s %s %s %lld %lld %lld %d %d", table->name, b.price.name, b.size.name,
             (long long)b.interval, (long long)b.wait, (long long)every, b.closed_only,
             (int)pst_given(map, "history").i);
    struct pst_bars *t = (struct pst_bars *)pst_topic_of(r, m, table->name, id, every, &fresh);
    if (t && fresh) {
        b.topic = t->topic;
        *t = b;
    }
    return t;
}
static inline int64_t pst_bars_subscribed(struct pst_rtp *r, struct pst_bars *t,
                                          const struct pst_map *map,
                                          const struct pst_column *columns, uint32_t n)
{
    struct pst_sub *s = pst_sub_new(&t->topic);
    s->full = pst_given(map, "full").i;
    s->columns = columns;
    s->ncolumns = n;
    s->key = "date,sym,bar";
    return pst_subscribed(r, s, pst_map_get(map, "syms"),
                          pst_given(map, "history").i ? PST_ALL_ROWS : PST_NO_HISTORY);
}
#define PST_BARS_STREAMS                                                                           \
    .topic_bytes = sizeof(struct pst_bars), .sub_bytes = sizeof(struct pst_sub),                   \
    .bind = pst_bars_bind, .clock = pst_bars_clock, .ended = pst_bars_ended,                       \
    .order = pst_bar_order, .wants = pst_bar_wanted, .free_entry = pst_bar_free,                   \
    .free_topic = pst_bars_free
#define PST_BARS_PARAMETERS                                                                        \
    {"table", PST_SYMBOL, "trade", "table of the journal"},                                        \
        {"syms", PST_SYMBOL | PST_LIST, "", "symbols; none: all"},                                 \
        {"price", PST_SYMBOL, "price", "its column of prices"},                                    \
        {"size", PST_SYMBOL, "size", "its column of sizes"},                                       \
        {"interval", PST_TIMESPAN, "0D00:01:00", "length of a bar; 0: the whole day"},             \
        {"closed", PST_BOOLEAN, "0", "only bars that are closed, not the one that grows"},         \
        {"wait", PST_TIMESPAN, "0D00:00:00", "how long after its end a bar is closed"},            \
        {"every", PST_TIMESPAN, "0D00:00:00", "send at most so often; 0: behind each frame"},      \
        {"full", PST_BOOLEAN, "0", "send the whole state, not what changed"},                      \
    {                                                                                              \
        "history", PST_BOOLEAN, "1", "begin with the rows of the day so far"                       \
    }

#endif
