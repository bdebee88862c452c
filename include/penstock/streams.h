/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streams.h - what most streaming analytics share, over penstock/analytic.h and as a header alone:
 * who wants which symbol of which table, state by key, what has changed since it was last sent. An
 * analytic that uses it says what a row does to its state and what a row of its result is;
 * Penstock's own are written this way (share/penstock/examples/analytic_last.c is a short one).
 *
 *   source   a table of the journal
 *     symbol   one of its symbols that somebody wants      (a row finds it by one look in an array)
 *   topic    one computation: all subscriptions with the same `id` share it
 *     slot     a symbol of a topic: its subscriptions and its entries
 *       entry    state of one key; the analytic's struct begins with it
 *   sub      a subscription: some slots of a topic, or all
 *
 * Values, parameters and columns: values.h. Time bars: bars.h.
 *
 * COST. A row costs what it matches: the topics that follow its symbol, however many others there
 * are; a change costs the subscriptions to its slot.
 *
 * WHAT IS SENT. pst_changed notes a change; behind each frame, or each topic->every ns, or before a
 * snapshot, all that has changed of a topic goes to those who want it: an entry once (its latest
 * state). A sub with `full` gets all its entries instead. A snapshot is all entries. What has no
 * entry is an event (pst_event): each is sent. So snapshot + updates, merged by key, are the state
 * at every position.
 *
 * HISTORY. A slot that nobody had gets the rows of the open day so far (pst_subscribed), then the
 * rows that come: the state does not depend on when somebody subscribed.
 *
 * LIMIT. Entries of a plugin: `max_keys` of the group's options, or 1,000,000. Keys beyond it are
 * left out, which the log says at each doubling of their number.
 *
 * Everything runs on the plugin's one thread. Out of memory ends the process, as a crash does.
 */
#ifndef PENSTOCK_STREAMS_H
#define PENSTOCK_STREAMS_H

#include <penstock/values.h>

struct pst_sub;
struct pst_topic;
struct pst_symbol;

struct pst_entry {
    struct pst_slot *slot;
    bool changed; /* since it was last sent */
};
struct pst_change {
    struct pst_slot *slot;
    struct pst_entry *entry; /* of an event: may be NULL */
    struct pst_row row;      /* of an event; lives until the frame ends */
    uint64_t tag;            /* of an event: the analytic's */
};
struct pst_slot {
    struct pst_topic *topic;
    struct pst_symbol *symbol; /* its text: pst_slot_value */
    struct pst_sub **sub;
    uint32_t nsubs, subs_room;
    struct pst_entry **entry; /* in the order of streams->order */
    uint32_t nentries, entries_room;
    uint32_t at;  /* in topic->slot */
    bool tracked; /* it has had the day so far */
    void *own;    /* the analytic's; free()d with the slot */
};
struct pst_symbol {
    struct pst_symbol *next; /* of its hash */
    struct pst_slot **slot;
    uint32_t nslots, slots_room;
    uint32_t id; /* in the journal; PST_NULL_SYMBOL: none yet, or the null symbol */
    uint32_t hash, len;
    uint32_t epoch; /* has a slot of each topic that was for all symbols by then */
    char text[];
};
struct pst_source {
    struct pst_source *next;
    char *table;
    uint32_t topics;
    struct pst_symbol **by_id; /* of a symbol's id; &nobody: looked for, not wanted */
    uint32_t ids;
    struct pst_symbol **by_text, *null_symbol, *no_symbol;
    uint32_t symbols, buckets;
    struct pst_topic **everything; /* topics with subscriptions to all symbols */
    uint32_t neverything, everything_room;
    uint32_t epoch; /* changes when one more is for all */
};
struct pst_topic { /* the analytic's struct begins with it */
    struct pst_topic *next;
    struct pst_source *source;
    char *id;
    const struct pst_table *version; /* that `bind` was last called for; NULL: it did not fit */
    const struct pst_table *seen;
    struct pst_slot **slot;
    uint32_t nslots, slots_room;
    struct pst_sub **all; /* subscriptions to every symbol */
    uint32_t nall, all_room;
    struct pst_change *change;
    uint32_t nchanges, changes_room;
    uint32_t subs;
    bool waiting;  /* in streams->waiting: it has changes to send behind this frame */
    int64_t every; /* ns between two publishes; 0: behind each frame */
    int64_t due;   /* when streams->clock is wanted, by the journal's clock: pst_due */
    int timer;
    struct pst_streams *streams;
};
struct pst_sub { /* the analytic's struct begins with it */
    struct pst_sub *next;
    struct pst_topic *topic;
    int64_t uid;
    struct pst_slot **slot; /* NULL: every symbol */
    uint32_t nslots;
    bool full;
    struct pst_result *out;
    /* columns and key of what it is sent: set before pst_subscribed, free()d by `left` if need be
     */
    const struct pst_column *columns;
    uint32_t ncolumns;
    const char *key;            /* NULL: events */
    uint32_t first, last, hits; /* of one publish */
};

struct pst_hit {
    uint32_t change, next;
};

struct pst_streams {
    /* What the analytic says. All but sub_bytes, topic_bytes and add may be 0. */
    size_t topic_bytes, sub_bytes;
    /* Columns of the topic in this version of its table. False: it does not fit, no row of it
     * counts. */
    bool (*bind)(struct pst_topic *, const struct pst_table *);
    /* One row that somebody wants. live: false from history; then nothing is to be changed. */
    void (*row)(struct pst_rtp *, struct pst_slot *, const struct pst_row *, bool live);
    /* topic->due has come by the journal's clock (streams->time), which stands still while a
     * frame's rows are handed out. It sets the next pst_due. */
    void (*clock)(struct pst_rtp *, struct pst_topic *);
    /* A date of the topic's table has ended. */
    void (*ended)(struct pst_rtp *, struct pst_topic *, int32_t day);
    /* Where a key stands beside an entry: < 0 before it. NULL: one entry a slot. */
    int (*order)(const struct pst_entry *, const void *key);
    /* Adds the row (rows) of a change, or of an entry in a snapshot. */
    void (*add)(struct pst_rtp *, struct pst_sub *, const struct pst_change *, struct pst_result *);
    bool (*wants)(const struct pst_sub *, const struct pst_change *);          /* NULL: each */
    void (*snapshot)(struct pst_rtp *, struct pst_sub *, struct pst_result *); /* NULL: entries */
    void (*left)(struct pst_rtp *, struct pst_sub *);
    void (*free_entry)(struct pst_entry *); /* what they hold, not themselves */
    void (*free_topic)(struct pst_topic *);

    /* Its own. */
    struct pst_source *sources;
    struct pst_source *by_table[PST_TABLES];
    bool looked[PST_TABLES];
    struct pst_topic *topics;
    struct pst_sub *by_uid[4096];
    int64_t uids;
    int64_t time; /* of the journal, as far as it was seen */
    int32_t day;  /* trading date of the row that is handed out */
    int64_t due;  /* no topic's is earlier */
    int ticks;    /* the journal's clock runs: its timer + 1 */
    struct pst_topic **waiting;
    uint32_t nwaiting, waiting_room;
    uint64_t entries, max_entries, left_out;
    struct pst_hit *hit;
    uint32_t nhits, hits_room;
    struct pst_sub **touched;
    uint32_t ntouched, touched_room;
};

/* ---- symbols and slots ---- */

static inline struct pst_value pst_slot_value(const struct pst_slot *s)
{
    return pst_symbol_value(s->symbol->text, s->symbol->len);
}

static inline uint32_t pst_text_hash(const char *text, uint32_t len)
{
    uint32_t h = 2166136261u;
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)text[i]) * 16777619u;
    return h;
}
static inline struct pst_symbol *pst_nobody(void)
{
    static struct pst_symbol nobody;
    return &nobody;
}
static inline struct pst_symbol **pst_symbol_place(struct pst_source *o, uint32_t id)
{
    if (id == PST_NULL_SYMBOL)
        return &o->null_symbol;
    if (id >= 1u << 28) { /* a text that the journal does not have yet: found by text */
        o->no_symbol = NULL;
        return &o->no_symbol;
    }
    if (id >= o->ids) {
        uint32_t n = id + id / 2 + 1024;
        o->by_id = (struct pst_symbol **)realloc((void *)o->by_id, n * sizeof *o->by_id);
        if (!o->by_id)
            abort();
        memset((void *)(o->by_id + o->ids), 0, (n - o->ids) * sizeof *o->by_id);
        o->ids = n;
    }
    return &o->by_id[id];
}
static inline struct pst_symbol *pst_symbol_find(const struct pst_source *o, const char *text,
                                                 uint32_t len)
{
    if (!o->buckets)
        return NULL;
    uint32_t hash = pst_text_hash(text, len);
    struct pst_symbol *s = o->by_text[hash & (o->buckets - 1)];
    while (s && (s->hash != hash || s->len != len || memcmp(s->text, text, len) != 0))
        s = s->next;
    return s;
}
static inline struct pst_symbol *pst_symbol_new(struct pst_rtp *r, struct pst_source *o,
                                                const char *text, uint32_t len)
{
    if (o->symbols >= o->buckets) {
        uint32_t n = o->buckets ? o->buckets * 2 : 64;
        struct pst_symbol **to = (struct pst_symbol **)pst_zeroed(n * sizeof *to);
        for (uint32_t i = 0; i < o->buckets; i++)
            for (struct pst_symbol *s = o->by_text[i], *next; s; s = next) {
                next = s->next;
                s->next = to[s->hash & (n - 1)];
                to[s->hash & (n - 1)] = s;
            }
        free((void *)o->by_text);
        o->by_text = to;
        o->buckets = n;
    }
    struct pst_symbol *s = (struct pst_symbol *)pst_zeroed(sizeof *s + len + 1);
    memcpy(s->text, text, len);
    s->len = len;
    s->hash = pst_text_hash(text, len);
    s->next = o->by_text[s->hash & (o->buckets - 1)];
    o->by_text[s->hash & (o->buckets - 1)] = s;
    o->symbols++;
    s->id = len ? pst_rtp_host->find_symbol(r, text, len) : PST_NULL_SYMBOL;
    if (s->id != PST_NULL_SYMBOL || !len)
        *pst_symbol_place(o, s->id) = s;
    return s;
}
static inline void pst_symbol_free(struct pst_source *o, struct pst_symbol *s)
{
    struct pst_symbol **p = &o->by_text[s->hash & (o->buckets - 1)];
    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    o->symbols--;
    if (s->id != PST_NULL_SYMBOL || !s->len)
        *pst_symbol_place(o, s->id) = NULL;
    free((void *)s->slot);
    free(s);
}
static inline struct pst_slot *pst_slot_find(const struct pst_symbol *s, const struct pst_topic *t)
{
    for (uint32_t i = 0; i < s->nslots; i++)
        if (s->slot[i]->topic == t)
            return s->slot[i];
    return NULL;
}
static inline struct pst_slot *pst_slot_make(struct pst_symbol *s, struct pst_topic *t)
{
    struct pst_slot *l = pst_slot_find(s, t);
    if (l)
        return l;
    l = (struct pst_slot *)pst_zeroed(sizeof *l);
    l->topic = t;
    l->symbol = s;
    l->at = t->nslots;
    s->slot =
        (struct pst_slot **)pst_room((void *)s->slot, s->nslots, &s->slots_room, sizeof *s->slot);
    s->slot[s->nslots++] = l;
    t->slot =
        (struct pst_slot **)pst_room((void *)t->slot, t->nslots, &t->slots_room, sizeof *t->slot);
    t->slot[t->nslots++] = l;
    return l;
}
static inline struct pst_slot *pst_slot_of_text(struct pst_rtp *r, struct pst_topic *t,
                                                const char *text, uint32_t len)
{
    struct pst_symbol *s = pst_symbol_find(t->source, text, len);
    return pst_slot_make(s ? s : pst_symbol_new(r, t->source, text, len), t);
}
static inline void pst_entry_free(const struct pst_streams *m, struct pst_entry *e)
{
    if (m->free_entry)
        m->free_entry(e);
    free(e);
}
static inline void pst_slot_clear(struct pst_streams *m, struct pst_slot *l)
{
    for (uint32_t i = 0; i < l->nentries; i++)
        pst_entry_free(m, l->entry[i]);
    m->entries -= l->nentries;
    l->nentries = 0;
}
static inline void pst_slot_free(struct pst_streams *m, struct pst_slot *l)
{
    struct pst_topic *t = l->topic;
    struct pst_symbol *s = l->symbol;
    pst_slot_clear(m, l);
    uint32_t i = 0;
    while (s->slot[i] != l)
        i++;
    s->slot[i] = s->slot[--s->nslots];
    t->slot[l->at] = t->slot[--t->nslots];
    t->slot[l->at]->at = l->at;
    if (!s->nslots)
        pst_symbol_free(t->source, s);
    free((void *)l->sub);
    free((void *)l->entry);
    free(l->own);
    free(l);
}
/* The symbol of a row; NULL: nobody wants it. */
static inline struct pst_symbol *pst_symbol_of(struct pst_rtp *r, struct pst_source *o,
                                               const struct pst_row *row)
{
    uint32_t id = pst_row_sym(row);
    struct pst_symbol **place = pst_symbol_place(o, id), *s = *place;
    if (!s) {
        struct pst_text text = {"", 0};
        if (id != PST_NULL_SYMBOL)
            text = pst_rtp_host->symbol(r, id);
        s = pst_symbol_find(o, text.at, text.len);
        if (s) {
            s->id = id;
            *place = s;
        } else if (o->neverything) {
            s = pst_symbol_new(r, o, text.at, text.len);
            s->id = id;
            *place = s;
        } else {
            *place = pst_nobody();
            return NULL;
        }
    } else if (s == pst_nobody()) {
        if (!o->neverything)
            return NULL;
        *place = NULL;
        return pst_symbol_of(r, o, row);
    }
    if (s->epoch != o->epoch) {
        for (uint32_t i = 0; i < o->neverything; i++)
            pst_slot_make(s, o->everything[i])->tracked = true;
        s->epoch = o->epoch;
    }
    return s;
}

/* ---- entries ---- */

/* The entry of a key, made (zeroed, *fresh) where there is none; NULL: there are too many. */
static inline struct pst_entry *pst_entry_of(struct pst_rtp *r, struct pst_slot *l, const void *key,
                                             size_t bytes, bool *fresh)
{
    struct pst_streams *m = l->topic->streams;
    uint32_t low = 0, high = l->nentries;
    *fresh = false;
    if (!m->order && high)
        return l->entry[0];
    if (high && m->order) { /* mostly the last one, or behind it */
        int c = m->order(l->entry[high - 1], key);
        if (c == 0)
            return l->entry[high - 1];
        if (c > 0)
            low = high;
    }
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int c = m->order(l->entry[middle], key);
        if (c == 0)
            return l->entry[middle];
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    if (!m->max_entries) {
        const char *given = pst_rtp_host->option(r, "max_keys");
        m->max_entries = given ? strtoull(given, NULL, 10) : 1000000;
    }
    if (m->entries >= m->max_entries) {
        m->left_out++;
        if (!(m->left_out & (m->left_out - 1)))
            pst_rtp_host->log(r,
                              "%llu keys are kept (max_keys): rows of further ones are left "
                              "out, %llu so far.",
                              (unsigned long long)m->entries, (unsigned long long)m->left_out);
        return NULL;
    }
    struct pst_entry *e = (struct pst_entry *)pst_zeroed(bytes);
    e->slot = l;
    l->entry = (struct pst_entry **)pst_room((void *)l->entry, l->nentries, &l->entries_room,
                                             sizeof *l->entry);
    memmove((void *)(l->entry + low + 1), (void *)(l->entry + low),
            (l->nentries - low) * sizeof *l->entry);
    l->entry[low] = e;
    l->nentries++;
    m->entries++;
    *fresh = true;
    return e;
}

/* ---- what changed, and to whom it goes ---- */

static inline void pst_change_add(struct pst_slot *l, struct pst_entry *e,
                                  const struct pst_row *row, uint64_t tag)
{
    struct pst_topic *t = l->topic;
    struct pst_streams *m = t->streams;
    if (!t->waiting && t->every <= 0) {
        m->waiting = (struct pst_topic **)pst_room((void *)m->waiting, m->nwaiting,
                                                   &m->waiting_room, sizeof *m->waiting);
        m->waiting[m->nwaiting++] = t;
        t->waiting = true;
    }
    t->change =
        (struct pst_change *)pst_room(t->change, t->nchanges, &t->changes_room, sizeof *t->change);
    struct pst_change *c = &t->change[t->nchanges++];
    memset(c, 0, sizeof *c);
    c->slot = l;
    c->entry = e;
    if (row)
        c->row = *row;
    c->tag = tag;
}
/* An entry's state is another one: it is sent once, when the topic is. */
static inline void pst_changed(struct pst_entry *e)
{
    if (e->changed)
        return;
    e->changed = true;
    pst_change_add(e->slot, e, NULL, 0);
}
static inline void pst_event(struct pst_slot *l, struct pst_entry *e, const struct pst_row *row,
                             uint64_t tag)
{
    pst_change_add(l, e, row, tag);
}
static inline void pst_due(struct pst_topic *t, int64_t time)
{
    t->due = time;
    if (time < t->streams->due)
        t->streams->due = time;
}

static inline void pst_hit_add(struct pst_streams *m, struct pst_sub *s, uint32_t change)
{
    if (m->wants && !m->wants(s, &s->topic->change[change]))
        return;
    m->hit = (struct pst_hit *)pst_room(m->hit, m->nhits, &m->hits_room, sizeof *m->hit);
    struct pst_hit h = {change, UINT32_MAX};
    m->hit[m->nhits] = h;
    if (s->hits++) {
        m->hit[s->last].next = m->nhits;
    } else {
        s->first = m->nhits;
        m->touched = (struct pst_sub **)pst_room((void *)m->touched, m->ntouched, &m->touched_room,
                                                 sizeof *m->touched);
        m->touched[m->ntouched++] = s;
    }
    s->last = m->nhits++;
}
/* Every entry of a subscription: its state. */
static inline void pst_add_state(struct pst_rtp *r, struct pst_sub *s, struct pst_result *out)
{
    struct pst_topic *t = s->topic;
    struct pst_slot **slot = s->slot ? s->slot : t->slot;
    uint32_t n = s->slot ? s->nslots : t->nslots;
    struct pst_change c;
    memset(&c, 0, sizeof c);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < slot[i]->nentries; k++) {
            c.slot = slot[i];
            c.entry = slot[i]->entry[k];
            if (!t->streams->wants || t->streams->wants(s, &c))
                t->streams->add(r, s, &c, out);
        }
}
/* Sends what has changed. */
static inline void pst_topic_flush(struct pst_rtp *r, struct pst_topic *t)
{
    struct pst_streams *m = t->streams;
    m->nhits = m->ntouched = 0;
    for (uint32_t i = 0; i < t->nchanges; i++) {
        struct pst_slot *l = t->change[i].slot;
        for (uint32_t k = 0; k < l->nsubs; k++)
            pst_hit_add(m, l->sub[k], i);
        for (uint32_t k = 0; k < t->nall; k++)
            pst_hit_add(m, t->all[k], i);
    }
    for (uint32_t i = 0; i < m->ntouched; i++) {
        struct pst_sub *s = m->touched[i];
        if (s->full)
            pst_add_state(r, s, s->out);
        else
            for (uint32_t h = s->first; h != UINT32_MAX; h = m->hit[h].next)
                m->add(r, s, &t->change[m->hit[h].change], s->out);
        s->hits = 0;
        pst_rtp_host->publish(r, s->uid, s->out);
    }
    for (uint32_t i = 0; i < t->nchanges; i++)
        if (t->change[i].entry)
            t->change[i].entry->changed = false;
    t->nchanges = 0;
}

/* ---- topics ---- */

static inline struct pst_source *pst_source_of(struct pst_rtp *r, struct pst_streams *m,
                                               const char *table)
{
    struct pst_source *o = m->sources;
    while (o && strcmp(o->table, table) != 0)
        o = o->next;
    if (o)
        return o;
    if (pst_rtp_host->want(r, table) < 0)
        return NULL;
    o = (struct pst_source *)pst_zeroed(sizeof *o);
    o->table = pst_copy(table, strlen(table));
    o->epoch = 1;
    o->next = m->sources;
    m->sources = o;
    memset(m->looked, 0, sizeof m->looked);
    return o;
}
static inline void pst_source_free(struct pst_rtp *r, struct pst_streams *m, struct pst_source *o)
{
    struct pst_source **p = &m->sources;
    while (*p != o)
        p = &(*p)->next;
    *p = o->next;
    pst_rtp_host->unwant(r, o->table);
    memset(m->looked, 0, sizeof m->looked);
    free((void *)o->by_id);
    free((void *)o->by_text);
    free((void *)o->everything);
    free(o->table);
    free(o);
}
static inline void pst_clocks(struct pst_rtp *r, struct pst_streams *m, int64_t time);
static inline void pst_topic_timer(struct pst_rtp *r, int64_t now, void *topic)
{
    (void)now;
    pst_topic_flush(r, (struct pst_topic *)topic);
}
static inline void pst_everything_drop(struct pst_topic *t)
{
    struct pst_source *o = t->source;
    for (uint32_t i = 0; i < o->neverything; i++)
        if (o->everything[i] == t) {
            o->everything[i] = o->everything[--o->neverything];
            break;
        }
}
/* Frees a topic that nobody wants any more, and its source. */
static inline void pst_topic_tidy(struct pst_rtp *r, struct pst_topic *t)
{
    struct pst_streams *m = t->streams;
    struct pst_source *o = t->source;
    if (t->subs)
        return;
    struct pst_topic **p = &m->topics;
    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
    if (t->waiting)
        for (uint32_t i = 0; i < m->nwaiting; i++)
            if (m->waiting[i] == t)
                m->waiting[i--] = m->waiting[--m->nwaiting];
    if (t->timer >= 0)
        pst_rtp_host->stop_timer(r, t->timer);
    if (m->free_topic)
        m->free_topic(t);
    free(t->id);
    free((void *)t->slot);
    free((void *)t->all);
    free(t->change);
    free(t);
    if (!--o->topics)
        pst_source_free(r, m, o);
    if (!m->topics && m->ticks) {
        pst_rtp_host->stop_timer(r, m->ticks - 1);
        m->ticks = 0;
    }
}

/* The topic of an id, made where there is none (*fresh: fill in what is the analytic's). `id` says
 * the table and all that its state depends on. NULL: error. */
static inline struct pst_topic *pst_topic_of(struct pst_rtp *r, struct pst_streams *m,
                                             const char *table, const char *id, int64_t every,
                                             bool *fresh)
{
    *fresh = false;
    for (struct pst_topic *t = m->topics; t; t = t->next)
        if (!strcmp(t->id, id))
            return t;
    struct pst_source *o = pst_source_of(r, m, table);
    if (!o)
        return NULL;
    struct pst_topic *t = (struct pst_topic *)pst_zeroed(m->topic_bytes);
    t->streams = m;
    t->source = o;
    o->topics++;
    t->id = pst_copy(id, strlen(id));
    t->timer = -1;
    t->due = INT64_MAX;
    if (!m->topics) { /* the first one, or the first again */
        m->due = INT64_MAX;
        m->time = INT64_MIN;
        m->max_entries = 0;
    }
    pst_clocks(r, m, pst_rtp_host->time(r));
    t->every = every;
    t->next = m->topics;
    m->topics = t;
    *fresh = true;
    if (every > 0) {
        t->timer = pst_rtp_host->timer(r, every, 0, pst_topic_timer, t);
        if (t->timer < 0) {
            pst_topic_tidy(r, t);
            return NULL;
        }
    }
    return t;
}
/* ---- the journal ---- */

static inline bool pst_topic_fits(struct pst_topic *t, const struct pst_table *table)
{
    if (t->seen != table) {
        t->seen = table;
        t->version = !t->streams->bind || t->streams->bind(t, table) ? table : NULL;
    }
    return t->version != NULL;
}
static inline void pst_clocks(struct pst_rtp *r, struct pst_streams *m, int64_t time)
{
    if (time > m->time)
        m->time = time;
    if (!m->clock || m->time < m->due)
        return;
    m->due = INT64_MAX;
    for (struct pst_topic *t = m->topics; t; t = t->next)
        if (t->due <= m->time)
            m->clock(r, t);
        else if (t->due < m->due)
            m->due = t->due;
}
static inline void pst_send_waiting(struct pst_rtp *r, struct pst_streams *m)
{
    for (uint32_t i = 0; i < m->nwaiting; i++) {
        m->waiting[i]->waiting = false;
        pst_topic_flush(r, m->waiting[i]);
    }
    m->nwaiting = 0;
}
static inline void pst_journal_tick(struct pst_rtp *r, int64_t now, void *streams)
{
    pst_clocks(r, (struct pst_streams *)streams, now);
    pst_send_waiting(r, (struct pst_streams *)streams);
}
/* Hook `rows`, data: the struct pst_streams. */
static inline void pst_streams_rows(struct pst_rtp *r, const struct pst_frame *f, void *data)
{
    struct pst_streams *m = (struct pst_streams *)data;
    struct pst_row row;
    if (!m->topics || f->replay)
        return;
    pst_clocks(r, m, f->time);
    m->day = f->day;
    for (struct pst_walk w = pst_walk(f); pst_next(&w, &row);) {
        uint32_t id = row.table->id;
        if (!m->looked[id]) {
            struct pst_source *o = m->sources;
            while (o && strcmp(o->table, row.table->name) != 0)
                o = o->next;
            m->by_table[id] = o;
            m->looked[id] = true;
        }
        struct pst_source *o = m->by_table[id];
        struct pst_symbol *s = o ? pst_symbol_of(r, o, &row) : NULL;
        for (uint32_t i = 0; s && i < s->nslots; i++)
            if (s->slot[i]->tracked && pst_topic_fits(s->slot[i]->topic, row.table))
                m->row(r, s->slot[i], &row, true);
    }
    pst_send_waiting(r, m);
}
/* Hook `mark`. */
static inline void pst_streams_mark(struct pst_rtp *r, const struct pst_mark_facts *k, void *data)
{
    struct pst_streams *m = (struct pst_streams *)data;
    if (k->mark != PST_MARK_EOD || !m->ended || k->replay)
        return;
    for (struct pst_topic *t = m->topics; t; t = t->next) {
        struct pst_text c = pst_rtp_host->calendar(r, t->source->table);
        if (c.len != k->calendar.len || memcmp(c.at, k->calendar.at, c.len) != 0)
            continue;
        m->ended(r, t, k->day);
        pst_topic_flush(r, t);
    }
}
/* Hook `flush`. */
static inline void pst_streams_flush(struct pst_rtp *r, void *data)
{
    struct pst_streams *m = (struct pst_streams *)data;
    for (struct pst_topic *t = m->topics; t; t = t->next)
        pst_topic_flush(r, t);
}

/* ---- subscriptions ---- */

static inline struct pst_sub *pst_sub_find(const struct pst_streams *m, int64_t uid)
{
    struct pst_sub *s = m->by_uid[(uint64_t)uid % 4096];
    while (s && s->uid != uid)
        s = s->next;
    return s;
}
static inline void pst_sub_free(struct pst_rtp *r, struct pst_sub *s)
{
    struct pst_topic *t = s->topic;
    for (uint32_t i = 0; i < s->nslots; i++) {
        struct pst_slot *l = s->slot[i];
        for (uint32_t k = l->nsubs; k-- > 0;)
            if (l->sub[k] == s) {
                l->sub[k] = l->sub[--l->nsubs];
                break;
            }
        if (!l->nsubs && !t->nall)
            pst_slot_free(t->streams, l);
    }
    if (!s->slot) {
        uint32_t k = 0;
        while (t->all[k] != s)
            k++;
        t->all[k] = t->all[--t->nall];
        if (!t->nall) {
            pst_everything_drop(t);
            for (uint32_t i = t->nslots; i-- > 0;)
                if (!t->slot[i]->nsubs)
                    pst_slot_free(t->streams, t->slot[i]);
        }
    }
    t->subs--;
    if (t->streams->left)
        t->streams->left(r, s);
    if (s->out)
        pst_rtp_host->drop(r, s->out);
    free((void *)s->slot);
    free(s);
    pst_topic_tidy(r, t);
}

struct pst_day_so_far {
    struct pst_rtp *r;
    struct pst_topic *topic;
};
static inline void pst_take_history(void *arg, const struct pst_row *row)
{
    struct pst_day_so_far *d = (struct pst_day_so_far *)arg;
    if (!pst_topic_fits(d->topic, row->table))
        return;
    uint32_t id = pst_row_sym(row);
    struct pst_symbol *s = *pst_symbol_place(d->topic->source, id);
    struct pst_slot *l = s && s != pst_nobody() ? pst_slot_find(s, d->topic) : NULL;
    if (!l) {
        struct pst_text text = {"", 0};
        if (id != PST_NULL_SYMBOL)
            text = pst_rtp_host->symbol(d->r, id);
        s = pst_symbol_find(d->topic->source, text.at, text.len);
        l = s ? pst_slot_find(s, d->topic) : NULL;
        if (!l && d->topic->nall)
            l = pst_slot_of_text(d->r, d->topic, text.at, text.len);
    }
    d->topic->streams->day = pst_rtp_host->day(d->r);
    if (l && !l->tracked)
        d->topic->streams->row(d->r, l, row, false);
}

/* A subscription of a topic that is complete but for its symbols. */
static inline struct pst_sub *pst_sub_new(struct pst_topic *t)
{
    struct pst_sub *s = (struct pst_sub *)pst_zeroed(t->streams->sub_bytes);
    s->topic = t;
    t->subs++;
    return s;
}
enum pst_history { PST_NO_HISTORY, PST_ALL_ROWS, PST_LAST_ROWS };
/*
 * Gives it its symbols (none: all) and what of the day there was before. Its UID, or -1: it is
 * freed, as is its topic if it was the first.
 */
static inline int64_t pst_subscribed(struct pst_rtp *r, struct pst_sub *s,
                                     const struct pst_list *syms, enum pst_history history)
{
    struct pst_topic *t = s->topic;
    struct pst_streams *m = t->streams;
    bool whole = t->nall;  /* it follows every symbol already */
    pst_topic_flush(r, t); /* what has changed is of those who were there */
    if (syms && syms->n) {
        s->slot = (struct pst_slot **)pst_zeroed(syms->n * sizeof *s->slot);
        for (uint32_t i = 0; i < syms->n; i++) {
            struct pst_text x = syms->value[i].text;
            struct pst_slot *l = pst_slot_of_text(r, t, x.at, x.len);
            if (l->nsubs && l->sub[l->nsubs - 1] == s)
                continue; /* named twice */
            l->sub = (struct pst_sub **)pst_room((void *)l->sub, l->nsubs, &l->subs_room,
                                                 sizeof *l->sub);
            l->sub[l->nsubs++] = s;
            s->slot[s->nslots++] = l;
        }
    } else {
        t->all = (struct pst_sub **)pst_room((void *)t->all, t->nall, &t->all_room, sizeof *t->all);
        t->all[t->nall++] = s;
    }
    int done = 0;
    if (history != PST_NO_HISTORY && !whole) {
        struct pst_day_so_far d = {r, t};
        uint32_t n = 0;
        struct pst_value *value = NULL;
        if (s->slot) {
            value = (struct pst_value *)pst_zeroed((s->nslots + 1) * sizeof *value);
            for (uint32_t i = 0; i < s->nslots; i++)
                if (!s->slot[i]->tracked)
                    value[n++] = pst_slot_value(s->slot[i]);
        }
        if (!s->slot || n)
            done = pst_rtp_host->history(r, t->source->table, value, n, history == PST_LAST_ROWS,
                                         pst_take_history, &d);
        free(value);
    }
    if (done < 0) {
        pst_sub_free(r, s);
        return -1;
    }
    for (uint32_t i = 0; i < (s->slot ? s->nslots : t->nslots); i++)
        (s->slot ? s->slot : t->slot)[i]->tracked = true;
    if (!s->slot && !whole) {
        struct pst_source *o = t->source;
        o->everything = (struct pst_topic **)pst_room((void *)o->everything, o->neverything,
                                                      &o->everything_room, sizeof *o->everything);
        o->everything[o->neverything++] = t;
        o->epoch++;
    }
    s->out = pst_rtp_host->result(r, NULL);
    if (!s->out || pst_rtp_host->columns(r, s->out, s->columns, s->ncolumns, s->key) < 0) {
        pst_sub_free(r, s);
        return -1;
    }
    s->uid = m->uids++;
    s->next = m->by_uid[(uint64_t)s->uid % 4096];
    m->by_uid[(uint64_t)s->uid % 4096] = s;
    if (m->clock && !m->ticks)
        m->ticks = 1 + pst_rtp_host->timer(r, 100000000, 1, pst_journal_tick, m);
    return s->uid;
}
/* The analytic's unsubscribe, snapshot and describe; data: the struct pst_streams. */
static inline void pst_streams_unsubscribe(struct pst_rtp *r, int64_t uid, void *data)
{
    struct pst_streams *m = (struct pst_streams *)data;
    struct pst_sub *s = pst_sub_find(m, uid);
    if (!s)
        return;
    struct pst_sub **p = &m->by_uid[(uint64_t)uid % 4096];
    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    pst_topic_flush(r, s->topic); /* so that no change names what is freed now */
    pst_sub_free(r, s);
}
static inline int pst_streams_snapshot(struct pst_rtp *r, int64_t uid, struct pst_result *out,
                                       void *data)
{
    struct pst_streams *m = (struct pst_streams *)data;
    struct pst_sub *s = pst_sub_find(m, uid);
    if (s && m->snapshot)
        m->snapshot(r, s, out);
    else if (s)
        pst_add_state(r, s, out);
    return 0;
}
static inline int pst_streams_describe(struct pst_rtp *r, int64_t uid, struct pst_result *out,
                                       void *data)
{
    struct pst_sub *s = pst_sub_find((struct pst_streams *)data, uid);
    if (!s)
        return pst_rtp_host->error(r, "There is no subscription %lld.", (long long)uid);
    if (pst_rtp_host->columns(r, out, s->columns, s->ncolumns, s->key) < 0)
        return -1;
    return s->full ? pst_rtp_host->full(r, out) : 0;
}
#define PST_STREAMS_ANALYTIC(m)                                                                    \
    .unsubscribe = pst_streams_unsubscribe, .snapshot = pst_streams_snapshot,                      \
    .describe = pst_streams_describe, .data = (m)
#define PST_STREAMS_HOOKS(m)                                                                       \
    {                                                                                              \
        .size = sizeof(struct pst_hooks), .rows = pst_streams_rows, .mark = pst_streams_mark,      \
        .flush = pst_streams_flush, .data = (m)                                                    \
    }

#endif
