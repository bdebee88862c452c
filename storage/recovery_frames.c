/* SPDX-License-Identifier: Apache-2.0 */
/* What frames say of sessions, sources, dates and buffering events. */
#include <fcntl.h>
#include <jansson.h>
#include "core/civil.h"
#include "core/event.h"
#include "core/tables.h"
#include "recovery_internal.h"

/* ---- what marks say ---- */

static struct recovery_session *session_of(struct recovery *r, const char *feed,
                                           const char *session, bool make)
{
    for (uint32_t i = 0; i < r->sessions; i++)
        if (!strcmp(r->session[i].feed, feed) && !strcmp(r->session[i].session, session))
            return &r->session[i];
    if (!make)
        return NULL;
    r->session = recovery_grow(r->session, r->sessions, sizeof *r->session);
    struct recovery_session *s = &r->session[r->sessions++];
    memset(s, 0, sizeof *s);
    snprintf(s->feed, sizeof s->feed, "%s", feed);
    snprintf(s->session, sizeof s->session, "%s", session);
    s->day = -1;
    s->after_loss = r->loss; /* it may have begun in the hole */
    return s;
}

void recovery_free_pieces(struct recovery_session *s)
{
    while (s->pieces) {
        struct recovery_piece *p = s->pieces;
        s->pieces = p->next;
        free(p->json);
        free(p);
    }
}

static const char *text_in(json_t *o, const char *key)
{
    const char *t = json_string_value(json_object_get(o, key));
    return t ? t : "";
}
static const char *text_at(json_t *list, size_t i)
{
    const char *t = json_string_value(json_array_get(list, i));
    return t ? t : "";
}
static uint64_t number_in(json_t *o, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(o, key));
}

/* Sequences that are lost, to be declared in the journal. */
static void owe(struct recovery *r, const struct recovery_session *s, uint64_t first, uint64_t last,
                uint16_t day)
{
    r->gap = recovery_grow(r->gap, r->gaps, sizeof *r->gap);
    struct recovery_gap *g = &r->gap[r->gaps++];
    memset(g, 0, sizeof *g);
    strcpy(g->feed, s->feed);
    strcpy(g->session, s->session);
    g->first = first;
    g->last = last;
    g->day = s->day >= 0 ? (uint16_t)s->day : day;
}

/* A gap row declares them: of what is owed, what lies before and behind remains. */
static void paid(struct recovery *r, const struct recovery_session *s, uint64_t first,
                 uint64_t last)
{
    for (uint32_t i = r->gaps; i-- > 0;) {
        struct recovery_gap g = r->gap[i];
        if (g.last < first || g.first > last || strcmp(g.feed, s->feed) ||
            strcmp(g.session, s->session))
            continue;
        if (g.first < first) {
            r->gap[i].last = first - 1;
            if (g.last > last)
                owe(r, s, last + 1, g.last, g.day);
        } else if (g.last > last) {
            r->gap[i].first = last + 1;
        } else {
            memmove(&r->gap[i], &r->gap[i] + 1, (r->gaps - i - 1) * sizeof g);
            r->gaps--;
        }
    }
}

/* ---- two streams ---- */

/* Rows jump over them: the other stream's frame of the same seal brings them, or a gap row has
 * declared them. */
static void expect(struct recovery_session *s, uint64_t first, uint64_t last)
{
    s->open = recovery_grow(s->open, s->opens, sizeof *s->open);
    s->open[s->opens++] = (struct recovery_open){first, last};
}

/* Rows first … last are there. */
static void expected(struct recovery_session *s, uint64_t first, uint64_t last)
{
    for (uint32_t i = s->opens; i-- > 0;) {
        struct recovery_open o = s->open[i];
        if (o.last < first || o.first > last)
            continue;
        s->open[i] = s->open[--s->opens];
        if (o.first < first)
            expect(s, o.first, first - 1);
        if (o.last > last)
            expect(s, last + 1, o.last);
    }
}

static int by_first(const void *a, const void *b)
{
    const struct recovery_open *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* All seals are complete. What is still expected went with what was lost since the last tick. */
static void settle(struct recovery *r, struct recovery_session *s)
{
    if (r->lossy && s->opens)
        qsort(s->open, s->opens, sizeof *s->open, by_first);
    for (uint32_t k = 0; k < s->opens && r->lossy; k++)
        owe(r, s, s->open[k].first, s->open[k].last, s->day >= 0 ? (uint16_t)s->day : 0);
    s->opens = 0;
}

void recovery_settle_sessions(struct recovery *r)
{
    for (uint32_t i = 0; i < r->sessions; i++)
        settle(r, &r->session[i]);
    r->lossy = false;
}

/* A mark or a gap row comes when both streams' rows below n were journaled. What one of them
 * brought last may have gone with its frame: rows of the other one that came behind the hole say
 * nothing of it. */
static void jumps_to(const struct recovery *r, struct recovery_session *s, uint64_t n)
{
    if (r->lossy && s->read && !s->after_loss && s->next && n > s->next)
        expect(s, s->next, n - 1);
}

/* The session stands at n: what a hole before it cost. */
static void stands_at(struct recovery *r, struct recovery_session *s, uint64_t n, uint16_t day)
{
    uint64_t from = s->next ? s->next : s->first ? s->first : 1;
    if (s->after_loss && n > from)
        owe(r, s, from, n - 1, day);
    s->after_loss = false;
    if (n > s->next)
        s->next = n;
}

static void new_epoch(struct recovery *r, struct recovery_session *s, uint32_t epoch)
{
    if (epoch == s->epoch)
        return;
    settle(r, s);
    s->epoch = epoch;
    s->next = 0;
    s->after_loss = false;
    recovery_free_pieces(s);
}

static void state_mark(struct recovery *r, json_t *o, uint16_t day)
{
    struct recovery_session *s = session_of(r, text_in(o, "feed"), text_in(o, "session"), true);
    new_epoch(r, s, (uint32_t)number_in(o, "epoch"));
    s->day = (int32_t)number_in(o, "day");
    s->first = number_in(o, "first");
    s->send = number_in(o, "send");
    const char *state = text_in(o, "state");
    s->state = !strcmp(state, "ended")      ? RECOVERY_ENDED
               : !strcmp(state, "replaced") ? RECOVERY_REPLACED
                                            : RECOVERY_LIVE;
    jumps_to(r, s, number_in(o, "next"));
    stands_at(r, s, number_in(o, "next"), day);
    size_t i;
    json_t *range;
    json_array_foreach(json_object_get(o, "owed"), i, range)
    {
        uint64_t first = (uint64_t)json_integer_value(json_array_get(range, 0));
        uint64_t last = (uint64_t)json_integer_value(json_array_get(range, 1));
        paid(r, s, first, last); /* said twice */
        owe(r, s, first, last, day);
        r->owed_at = (uint64_t)json_integer_value(json_array_get(range, 2));
    }
    json_t *dec = json_object_get(o, "decoder");
    char *json = dec ? json_dumps(dec, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (!json)
        return;
    struct recovery_piece *p = calloc(1, sizeof *p);
    pst_must(p);
    p->json = json;
    p->len = (uint32_t)strlen(json);
    struct recovery_piece **at = &s->pieces;
    while (*at)
        at = &(*at)->next;
    *at = p;
}

static void session_mark(struct recovery *r, json_t *o, uint16_t day)
{
    struct recovery_session *s = session_of(r, text_in(o, "feed"), text_in(o, "session"), true);
    const char *event = text_in(o, "event");
    new_epoch(r, s, (uint32_t)number_in(o, "epoch"));
    s->day = (int32_t)number_in(o, "day");
    s->first = number_in(o, "first");
    s->state = !strcmp(event, "end") ? RECOVERY_ENDED : RECOVERY_LIVE;
    jumps_to(r, s, number_in(o, "next"));
    stands_at(r, s, number_in(o, "next"), day);
    struct recovery_session *old = session_of(r, s->feed, text_in(o, "replaces"), false);
    if (old && old != s)
        old->state = RECOVERY_REPLACED;
}

static void tick_mark(struct recovery *r, json_t *o, uint16_t day)
{
    uint64_t durable = number_in(o, "durable");
    if (durable > r->durable)
        r->durable = durable;
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(o, "next"), i, e)
    {
        struct recovery_session *s = session_of(r, text_at(e, 0), text_at(e, 1), false);
        if (s)
            jumps_to(r, s, (uint64_t)json_integer_value(json_array_get(e, 2)));
    }
    recovery_settle_sessions(r);
    json_array_foreach(json_object_get(o, "next"), i, e)
    {
        const char *feed = text_at(e, 0), *session = text_at(e, 1);
        if (!*feed || !*session)
            continue;
        struct recovery_session *s = session_of(r, feed, session, true);
        if (s->day < 0)
            s->day = day; /* its own mark lies in a hole */
        stands_at(r, s, (uint64_t)json_integer_value(json_array_get(e, 2)), day);
        s->read = true;
    }
    json_array_foreach(json_object_get(o, "buffers"), i, e) for (uint32_t k = 0; k < r->events; k++)
    {
        struct recovery_event *x = &r->event[k];
        if (json_integer_value(json_array_get(e, 0)) != x->stream)
            continue;
        x->rows = (uint64_t)json_integer_value(json_array_get(e, 1));
        x->bytes = (uint64_t)json_integer_value(json_array_get(e, 2));
    }
}

/* ---- sources ---- */

static void use_id(struct recovery *r, uint32_t id)
{
    /* SYMBOL_REFUSED and null are no ids; nothing interns beyond symbols_create's limit */
    if (id < DICTIONARY_PAGE * DICTIONARY_PAGES && id >= r->max_id)
        r->max_id = id + 1;
}

static struct recovery_source *source_of(struct recovery *r, const char *name, size_t len,
                                         bool *fresh)
{
    *fresh = false;
    for (uint32_t i = 0; i < r->sources; i++)
        if (strlen(r->source[i].name) == len && !memcmp(r->source[i].name, name, len))
            return &r->source[i];
    r->source = recovery_grow(r->source, r->sources, sizeof *r->source);
    struct recovery_source *s = &r->source[r->sources++];
    memset(s, 0, sizeof *s);
    memcpy(s->name, name, len);
    *fresh = true;
    return s;
}

static struct source_point point_in(json_t *list, size_t i)
{
    return source_point((uint64_t)json_integer_value(json_array_get(list, i)),
                        (uint32_t)json_integer_value(json_array_get(list, i + 1)));
}

/* {"sources":[["name",position,row,[[p,r,p2,r2],…]],…]}, of a state or tick mark */
static void sources_mark(struct recovery *r, json_t *list)
{
    size_t i, k;
    json_t *e, *isle;
    json_array_foreach(list, i, e)
    {
        const char *name = json_string_value(json_array_get(e, 0));
        size_t len = json_string_length(json_array_get(e, 0));
        bool fresh;
        if (!name || !source_name(name, len))
            continue;
        struct recovery_source *s = source_of(r, name, len, &fresh);
        if (r->loss && !fresh)
            continue; /* it counts what was lost in the hole */
        r->sources_doubtful += r->loss;
        s->p = (struct source_progress){.at = point_in(e, 1)};
        json_array_foreach(json_array_get(e, 3), k, isle) if (k < SOURCE_ISLANDS)
        {
            s->p.island[s->p.islands++] =
                (struct source_range){point_in(isle, 0), point_in(isle, 2)};
        }
        source_settle(&s->p);
    }
}

static void source_rows(struct recovery *r, const struct derived_record *d)
{
    uint32_t len;
    const char *name = dictionary_peek(&r->cursor.dict, d->source, &len);
    bool fresh;
    use_id(r, d->source);
    if (!name || !source_name(name, len))
        return;
    struct recovery_source *s = source_of(r, name, len, &fresh);
    struct source_point after = source_point(d->after, d->after_row);
    if (fresh && !r->loss) /* what it did before stands in no mark: it stood there */
        s->p.at = after;
    r->sources_doubtful += fresh && r->loss && after.position;
    r->sources_doubtful += !source_found(&s->p, after, source_point(d->position, d->row));
}

/* ---- dates ---- */

static void open_at(struct recovery *r, const char *name, int64_t day)
{
    struct recovery_calendar *c = NULL;
    for (uint32_t i = 0; i < r->calendars && !c; i++)
        if (!strcmp(r->calendar[i].name, name))
            c = &r->calendar[i];
    if (!c) {
        r->calendar = recovery_grow(r->calendar, r->calendars, sizeof *r->calendar);
        c = &r->calendar[r->calendars++];
        snprintf(c->name, sizeof c->name, "%s", name);
        c->open_day = -1;
    }
    if (day > c->open_day && day <= CIVIL_DAY_MAX)
        c->open_day = (int32_t)day;
}

int32_t recovery_open_day(const struct recovery *r, const char *calendar)
{
    for (uint32_t i = 0; i < r->calendars; i++)
        if (!strcmp(r->calendar[i].name, calendar))
            return r->calendar[i].open_day;
    return -1;
}

/* The frame's day is the date that ended; tests and older logs also wrote it as a number. */
static void eod_mark(struct recovery *r, const struct frame *f, json_t *o)
{
    char name[DAYS_NAME];
    int32_t day = f->day;
    json_t *number = json_object_get(o, "day");
    if (json_is_integer(number))
        day = (int32_t)json_integer_value(number);
    r->closed_day = day > r->closed_day ? day : r->closed_day;
    if (days_eod(f, name))
        open_at(r, name, (int64_t)day + 1);
}

static void calendars_mark(struct recovery *r, json_t *dates)
{
    const char *name;
    json_t *day;
    json_object_foreach(dates, name, day) open_at(r, name, json_integer_value(day));
}

/* ---- buffering events ---- */

void recovery_drop_event(struct recovery *r, uint32_t i)
{
    free(r->event[i].json);
    memmove(&r->event[i], &r->event[i + 1], (r->events - i - 1) * sizeof *r->event);
    r->events--;
}

static void buffer_mark(struct recovery *r, const struct event_mark *m, bool end)
{
    uint32_t i = 0;
    while (i < r->events && (r->event[i].id != m->id || r->event[i].since != m->since))
        i++;
    if (end) {
        if (i < r->events)
            recovery_drop_event(r, i);
        return;
    }
    if (i == r->events) {
        char *json = strndup(m->json, m->facts);
        struct recovery_event *list = realloc(r->event, (r->events + 1) * sizeof *list);
        pst_must(json && list);
        r->event = list;
        list[r->events++] =
            (struct recovery_event){.id = m->id, .since = m->since, .json = json, .len = m->facts};
    }
    r->event[i].stream = m->stream;
    r->event[i].passes = m->status == EVENT_PASSTHROUGH;
}

/* The log gave up what stood there, and says so: no damage. The gap rows behind the mark pay. */
static void lost_mark(struct recovery *r, json_t *o)
{
    uint64_t from = number_in(o, "from"), to = number_in(o, "to");
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->ranges; i++)
        if (r->range[i].from < from || r->range[i].to > to)
            r->range[kept++] = r->range[i];
    r->ranges = kept;
}

void recovery_mark(struct recovery *r, const struct frame *f)
{
    struct event_mark event;
    unsigned type;
    uint32_t len = 0;
    const char *text = frame_mark(f, &type, &len);
    r->end_mark = text && type == MARK_END;
    if (pst_unlikely(event_of(f, &event, &type))) {
        buffer_mark(r, &event, type == MARK_BUFFER_END);
        return;
    }
    if (!text || (type != MARK_STATE && type != MARK_SESSION && type != MARK_TICK &&
                  type != MARK_EOD && type != MARK_RESTART && type != MARK_LOST))
        return;
    json_t *o = json_loadb(text, len, 0, NULL);
    if (!json_is_object(o)) {
        json_decref(o);
        return;
    }
    json_t *dates = type == MARK_STATE ? json_object_get(o, "calendars") : NULL;
    json_t *sources = json_object_get(o, "sources");
    if (sources)
        sources_mark(r, sources);
    if (dates)
        calendars_mark(r, dates);
    else if (type == MARK_STATE && sources)
        ;
    else if (type == MARK_STATE)
        state_mark(r, o, f->day);
    else if (type == MARK_SESSION)
        session_mark(r, o, f->day);
    else if (type == MARK_TICK)
        tick_mark(r, o, f->day);
    else if (type == MARK_EOD)
        eod_mark(r, f, o);
    else if (type == MARK_LOST)
        lost_mark(r, o);
    else if (!r->costing) {
        /* Holes below it are the account of the incarnation that wrote it. What it owes for them is
         * paid by the gap rows behind it, if they are there. */
        recovery_settle_sessions(r);
        for (uint32_t i = 0; i < r->ranges; i++) {
            r->told = recovery_grow(r->told, r->tolds, sizeof *r->told);
            r->told[r->tolds++] = r->range[i];
        }
        r->ranges = 0;
        r->restart_at = f->position;
        r->loss = false;
        for (uint32_t i = 0; i < r->sessions; i++)
            r->session[i].after_loss = false;
    }
    json_decref(o);
}

/* ---- what rows say ---- */

static void use_row(struct recovery *r, const struct record *rec)
{
    const struct schema *s = dictionary_schema(&r->cursor.dict, rec->table);
    use_id(r, rec->sym);
    for (unsigned i = 0; s && rec->bytes >= s->fixed && i < s->nsyms; i++)
        use_id(r, le32((const uint8_t *)rec + s->sym_offset[i]));
}

static struct recovery_session *by_ids(struct recovery *r, uint32_t feed, uint32_t session)
{
    char f[64], s[64];
    uint32_t nf, ns;
    const char *tf = dictionary_peek(&r->cursor.dict, feed, &nf);
    const char *ts = dictionary_peek(&r->cursor.dict, session, &ns);
    if (!tf || !nf || !ts || nf >= sizeof f || ns >= sizeof s)
        return NULL;
    memcpy(f, tf, nf);
    f[nf] = 0;
    memcpy(s, ts, ns);
    s[ns] = 0;
    return session_of(r, f, s, true);
}

static void gap_row(struct recovery *r, const struct record *rec, uint16_t day)
{
    const struct schema *t = dictionary_schema(&r->cursor.dict, rec->table);
    struct schema built_in; /* its schema frame lies in a hole: gap frames hold nothing else */
    if (!t && tables_gap(&built_in, NULL))
        t = &built_in;
    if (!t || strcmp(t->name, "gap") || t->ncols <= GAP_LINES || rec->bytes < t->fixed)
        return;
    const uint8_t *b = (const uint8_t *)rec;
    struct recovery_session *s =
        by_ids(r, le32(b + t->col[GAP_FEED].offset), le32(b + t->col[GAP_SESSION].offset));
    if (!s)
        return;
    uint64_t first = le64(b + t->col[GAP_FIRST].offset), last = le64(b + t->col[GAP_LAST].offset);
    /* a declared gap begins where the session stood */
    if (s->after_loss)
        stands_at(r, s, first, day);
    jumps_to(r, s, first);
    stands_at(r, s, last + 1, day);
    expected(s, first, last);
    paid(r, s, first, last);
}

void recovery_rows(struct recovery *r, const struct frame *f)
{
    struct record_walk w;
    const struct record *rec;
    const struct packet_record *seen = NULL;
    record_walk_start(&w, f);
    if (w.derived)
        source_rows(r, w.derived);
    struct recovery_event *event = NULL;
    for (uint32_t i = 0; stream_is_buffer(f->stream) && i < r->events; i++)
        event = r->event[i].stream == f->stream ? &r->event[i] : event;
    if (event)
        event->bytes += f->length;
    while ((rec = record_walk_next(&w))) {
        use_row(r, rec);
        if (event)
            event->rows++;
        if (f->kind == FRAME_GAP)
            gap_row(r, rec, f->day);
        const struct packet_record *p = w.packet;
        if (!p || p == seen)
            continue;
        seen = p;
        use_id(r, p->feed);
        use_id(r, p->session);
        use_id(r, p->line);
        if (p->flags & (ROW_LATE | ROW_DIVERGENT | RUN_UNSEQUENCED | RUN_REPLAYED))
            continue;
        struct recovery_session *s = by_ids(r, p->feed, p->session);
        if (!s)
            continue;
        if (s->day < 0)
            s->day = f->day;
        if (s->read && p->seq > s->next)
            expect(s, s->next, p->seq - 1);
        else if (s->after_loss)
            stands_at(r, s, p->seq, f->day);
        else if (p->seqs && p->seq < s->next)
            expected(s, p->seq, p->seq + p->seqs - 1);
        s->after_loss = false;
        s->read = true;
        stands_at(r, s, p->seq + p->seqs, f->day);
    }
}
