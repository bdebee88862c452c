/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <jansson.h>
#include "core/civil.h"
#include "core/event.h"
#include "core/tables.h"
#include "recovery_internal.h"

void *recovery_grow(void *list, uint32_t n, size_t each)
{
    if (n & (n - 1)) /* room is doubled at powers of two */
        return list;
    void *p = realloc(list, (n ? 2 * (size_t)n : 1) * each);
    pst_must(p); /* at start-up: nothing runs yet */
    return p;
}

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

static void free_pieces(struct recovery_session *s)
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

static void settle_all(struct recovery *r)
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
    free_pieces(s);
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
    settle_all(r);
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

static void drop_event(struct recovery *r, uint32_t i)
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
            drop_event(r, i);
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
        settle_all(r);
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

/* ---- files ---- */

int64_t recovery_elapsed(const struct recovery *r, int64_t since)
{
    return r->cfg.io->ops->monotonic(r->cfg.io) - since;
}

/* Marks of one file, kept until it is known where the window begins. */
struct kept {
    struct frame **mark;
    uint32_t n;
    struct frame *tick; /* the last one */
    uint64_t reached;
    bool whole;
    uint32_t file;
    struct recovery *r;
};

static void keep(struct kept *k, const struct frame *f)
{
    struct frame *copy = malloc(f->length);
    pst_must(copy);
    memcpy(copy, f, f->length);
    k->mark = recovery_grow(k->mark, k->n, sizeof *k->mark);
    k->mark[k->n++] = copy;
}

static void drop_kept(struct kept *k)
{
    for (uint32_t i = 0; i < k->n; i++)
        free(k->mark[i]);
    free(k->mark);
    free(k->tick);
}

static bool small_frame(void *arg, const struct frame *f)
{
    struct kept *k = arg;
    struct recovery *r = k->r;
    unsigned type;
    uint32_t len;
    if (f->kind == FRAME_FILE) {
        const uint8_t *body = log_file_body(f, &type, &len);
        /* a state mark of older files, whole; the body lies 8-aligned behind the frame's head */
        if (body && type == LOG_FILE_STATE && len >= FRAME_HEADER + 8 &&
            frame_check(body, len, frame_seed(r->cfg.instance)) == FRAME_OK)
            keep(k, (const struct frame *)body);
    }
    if (f->kind != FRAME_MARK) {
        dictionary_feed(&r->cursor.dict, f);
    } else if (frame_mark(f, &type, &len)) {
        if (type == MARK_TICK) {
            struct frame *copy = realloc(k->tick, f->length);
            pst_must(copy);
            memcpy(copy, f, f->length);
            k->tick = copy;
        } else if (type == MARK_STATE || type == MARK_SESSION || type == MARK_EOD ||
                   type == MARK_BUFFER_START || type == MARK_BUFFER_END) {
            keep(k, f);
        }
    }
    return true;
}

static struct kept *skim_file(struct recovery *r, struct kept *list, uint32_t *n, uint32_t file)
{
    const struct cursor_file *f = r->cursor.file[file];
    list = recovery_grow(list, *n, sizeof *list);
    struct kept *k = &list[(*n)++];
    *k = (struct kept){.r = r, .file = file};
    k->reached = logscan_skim(r->cfg.io, f->path, r->cfg.instance, UINT64_MAX,
                              r->known.bytes ? &r->known : NULL, small_frame, k, &k->whole);
    return list;
}

/* The newest file of all and the newest daily one; where a crash damaged their heads (the last
 * file's, before it was durable), those before them, back to one that is whole. Newest first. */
static struct kept *skim_newest(struct recovery *r, uint32_t *n)
{
    struct cursor *c = &r->cursor;
    struct kept *list = NULL;
    bool whole = false, daily = false;
    *n = 0;
    for (uint32_t i = c->files; i-- > 0 && !(whole && daily);) {
        bool is_daily = c->file[i]->header.stream == STREAM_DAILY;
        if (*n && whole && !is_daily)
            continue;
        list = skim_file(r, list, n, i);
        whole |= list[*n - 1].whole;
        daily |= is_daily && list[*n - 1].whole;
    }
    return list;
}

/* Forgets what the last stretch said: it is read again, from further back. */
static void read_nothing(struct recovery *r)
{
    for (uint32_t i = 0; i < r->sessions; i++) {
        free_pieces(&r->session[i]);
        free(r->session[i].open);
    }
    while (r->events)
        drop_event(r, r->events - 1);
    r->sessions = r->sources = r->gaps = r->ranges = r->tolds = 0;
    r->loss = r->end_mark = false;
    r->restart_at = r->owed_at = 0;
}

/* ---- all of it ---- */

static bool restore(struct recovery *r, struct err *err)
{
    struct dictionary *d = &r->cursor.dict;
    uint32_t n = d->next > r->max_id ? d->next : r->max_id;
    r->symbols = d->known;
    r->symbols_lost = n - d->known;
    for (uint32_t id = 0; r->cfg.symbols && id < n; id++) {
        uint32_t len;
        const char *t = dictionary_peek(d, id, &len);
        bool ok = t && symbols_restore(r->cfg.symbols, id, t, len);
        /* a text that stands under two ids keeps the first one */
        if (!ok && symbols_count(r->cfg.symbols) == id)
            ok = symbols_skip(r->cfg.symbols, id);
        if (!ok)
            return err_set(err, -ENOSPC,
                           "the log holds %u symbols, more than symbols_max allows: raise it", n);
    }
    for (unsigned id = TABLE_FIRST; r->cfg.schemas && id < TABLE_MAX; id++) {
        const struct schema *s = dictionary_schema(d, id);
        if (s && !schema_set_add(r->cfg.schemas, s, err))
            return false;
    }
    return true;
}

void recovery_after_loss(struct recovery *r, bool loss)
{
    for (uint32_t i = 0; i < r->sessions; i++) {
        r->session[i].after_loss = loss;
        r->session[i].opens = loss ? r->session[i].opens : 0;
    }
    r->lossy = loss;
}

void recovery_read_all(struct recovery *r)
{
    settle_all(r);
}

static void lost_range(struct recovery *r, uint64_t from, uint64_t to)
{
    r->range = recovery_grow(r->range, r->ranges, sizeof *r->range);
    r->range[r->ranges++] = (struct recovery_range){from, to, false};
    r->loss = true;
    recovery_after_loss(r, true);
}

/* State marks that lie in a hole, but are repeated in the head of a later file. */
static void repeated(struct recovery *r, const struct kept *k, uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < k->n; i++)
        if (k->mark[i]->position >= from && k->mark[i]->position < to)
            recovery_mark(r, k->mark[i]);
    recovery_after_loss(r, true); /* behind them something is missing still */
}

/* r->blind: a hole comes before the first tick, that is before it is known where all sessions
 * stood.
 */
static bool read_window(struct recovery *r, uint64_t from, const struct kept *k, struct err *err)
{
    struct cursor *c = &r->cursor;
    const struct frame *f;
    unsigned type;
    uint32_t len;
    cursor_seek(c, from);
    /* a header that was made anew: what stood before its first frame is lost */
    const struct log_file_header *first = &c->file[0]->header;
    r->loss |= from == first->first && !strcmp(first->writer, RECOVERY_WRITER);
    r->blind = false;
    bool tick = false;
    /* To the very end, whatever a search for it found: where a write went astray frames stand in a
     * file that end behind its last one. Whoever reads the log from its beginning meets them. */
    enum cursor_verdict v;
    while ((v = cursor_next(c, &f)) != CURSOR_END) {
        if (v == CURSOR_ERROR) {
            if (err)
                *err = c->err;
            return false;
        }
        if (v == CURSOR_LOST) {
            r->blind |= !tick;
            lost_range(r, c->lost_from, c->lost_to);
            repeated(r, k, c->lost_from, c->lost_to);
        }
        if (v != CURSOR_FRAME)
            continue;
        r->end_mark = false;
        r->scanned += f->length;
        if (f->time > r->last_time)
            r->last_time = f->time;
        tick = tick || (f->kind == FRAME_MARK && frame_mark(f, &type, &len) && type == MARK_TICK);
        if (f->kind == FRAME_MARK)
            recovery_mark(r, f);
        else if (f->kind == FRAME_DATA || f->kind == FRAME_GAP)
            recovery_rows(r, f);
    }
    if (c->position > r->old_end)
        r->old_end = c->position;
    if (c->position < r->old_end) { /* only the head of a later file is left of what comes here */
        uint64_t at = c->position;
        r->blind |= !tick;
        lost_range(r, at, r->old_end);
        repeated(r, k, at, r->old_end);
    }
    /* Of the last seal one stream's frame may be there without the other's: no hole tells. */
    r->lossy = true;
    settle_all(r);
    return true;
}

/* The gap rows that an incarnation owed at its start stand right behind its restart mark, before
 * its first tick; `from`: what is read in any case. */
static void look_for_payment(struct recovery *r, uint64_t from)
{
    struct cursor *c = &r->cursor;
    const struct frame *f;
    unsigned type;
    uint32_t len;
    if (!r->owed_at || r->owed_at >= from)
        return;
    cursor_seek(c, r->owed_at);
    for (bool tick = false;
         !tick && c->position < from && c->position - r->owed_at < RECOVERY_WINDOW / 16;) {
        enum cursor_verdict v = cursor_next(c, &f);
        if (v == CURSOR_END || v == CURSOR_ERROR)
            return;
        if (v != CURSOR_FRAME)
            continue;
        tick = f->kind == FRAME_MARK && frame_mark(f, &type, &len) && type == MARK_TICK;
        if (f->kind == FRAME_GAP)
            recovery_rows(r, f);
    }
}

static void on_damage(void *arg, const struct cursor_file *f)
{
    struct recovery *r = arg;
    const struct logscan *s = f->scan;
    /* the frame at bad_to is sound: its position ends what the range held */
    uint64_t last = 0;
    struct frame h;
    if (io_pread_all(r->cfg.io, s->fd, &h, sizeof h, s->bad_to) >= 0)
        last = h.position;
    recovery_note(r, s->hole ? PST_HOLE : PST_ALTERED, f->path, s->bad_from, s->bad_to, s->before,
                  last);
}

static void on_conflict(void *arg, const struct cursor_file *f, uint64_t position)
{
    recovery_note(arg, PST_CONFLICT, f->path, 0, 0, position, 0);
}

struct cursor_config recovery_cursor(const struct recovery *r)
{
    struct cursor_config cc = {
        .io = r->cfg.io, .prefix = r->cfg.prefix, .instance = r->cfg.instance};
    memcpy(cc.dirs, r->cfg.dirs, sizeof cc.dirs);
    return cc;
}

/* The earliest date that some calendar still has open, as the marks kept so far tell; -1: unknown.
 */
static int32_t earliest_open(const struct recovery *r, const struct kept *k)
{
    struct recovery x = {.closed_day = -1, .open_day = -1};
    int32_t day = -1;
    for (uint32_t i = 0; i < k->n; i++)
        recovery_mark(&x, k->mark[i]);
    for (uint32_t i = 0; i < x.calendars; i++)
        if (day < 0 || x.calendar[i].open_day < day)
            day = x.calendar[i].open_day;
    if (!x.calendars && x.closed_day >= 0)
        day = x.closed_day + 1;
    for (uint32_t i = 0; i < x.sessions; i++)
        free_pieces(&x.session[i]);
    free(x.session);
    free(x.source);
    free(x.calendar);
    free(x.gap);
    while (x.events)
        drop_event(&x, x.events - 1);
    free(x.event);
    (void)r;
    return day;
}

/* Damaged bytes below the last restart mark: either some start has accounted for them - then a copy
 * or marker says so - or they came since. (What they cost is owed until gap rows pay it.) */
static void sort_out(struct recovery *r)
{
    struct recovery_damage *list = NULL;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->damages; i++) {
        struct recovery_damage *d = &r->damage[i];
        bool below = (d->kind == PST_ALTERED || d->kind == PST_HOLE) && d->first < r->restart_at;
        if (!d->done && below && (!r->cfg.quarantine || recovery_known(r, d))) {
            for (uint32_t k = 0; k < r->tolds; k++)
                if (d->first < r->told[k].to && d->last > r->told[k].from)
                    r->told[k].to = r->told[k].from; /* explained */
            free(d->path);
            continue;
        }
        list = recovery_grow(list, kept, sizeof *list);
        list[kept++] = *d;
    }
    free(r->damage);
    r->damage = list;
    r->damages = kept;
}

static bool run_once(struct recovery *r, struct err *err)
{
    const struct recovery_config *cfg = &r->cfg;
    int64_t t0 = cfg->io->ops->monotonic(cfg->io);
    struct cursor *c = &r->cursor;
    struct cursor_config cc = recovery_cursor(r);
    cc.no_skim = true;
    cc.on_damage = on_damage;
    cc.on_conflict = on_conflict;
    cc.arg = r;
    if (!recovery_survey(r, err) || !cursor_open(c, &cc, err))
        return false;
    r->files = c->files;
    r->empty = !c->files;
    if (r->empty) {
        /* no log, but a lease: positions below it were used once */
        r->start = cfg->lease_end;
        r->clean = !cfg->lease_end;
        if (cfg->noted && !r->cut_at)
            recovery_note(r, PST_MISSING, NULL, 0, 0, 0, cfg->noted);
        r->durable = cfg->noted;
        bool ok = recovery_settle(r, err);
        r->took = recovery_elapsed(r, t0);
        return ok;
    }
    if (!recovery_find_ends(r, t0, err))
        return false;

    /* The small frames of the newest files: symbols, schemas, states, the last tick. */
    struct cursor_file *newest = c->file[c->files - 1];
    for (uint32_t i = c->files; i-- > 0 && r->open_day < 0;)
        if (c->file[i]->header.stream == STREAM_DAILY)
            r->open_day = c->file[i]->header.day;
    if (cfg->facts && !r->known.bytes)
        facts_load(&r->known, cfg->io, cfg->facts, cfg->instance);
    uint32_t nkept;
    struct kept *kept = skim_newest(r, &nkept), *k = &kept[0];
    for (uint32_t i = 1; i < nkept; i++)
        if (kept[i].reached > k->reached)
            k = &kept[i];

    /* The last stretch is read whole: from the last tick or what it calls durable, whichever is
     * lower, and at least WINDOW. Marks below it first, then everything in order. */
    uint64_t from = r->old_end > RECOVERY_WINDOW ? r->old_end - RECOVERY_WINDOW : 0;
    if (k->tick && k->tick->position < from)
        from = k->tick->position;
    if (k->tick) {
        struct recovery noted = {0};
        recovery_mark(&noted, k->tick);
        r->durable = noted.durable;
        for (uint32_t i = 0; i < noted.sessions; i++)
            free_pieces(&noted.session[i]);
        free(noted.session);
        free(noted.source);
        free(noted.calendar);
        /* the files that were open hold all of it: the newest of each stream */
        uint64_t open = newest->header.first;
        for (uint32_t i = c->files, daily = 0; i-- > 0 && !daily;) {
            daily = c->file[i]->header.stream == STREAM_DAILY;
            open = daily ? c->file[i]->header.first : open;
        }
        if (r->durable < from && r->durable >= open)
            from = r->durable;
    }
    if (cfg->decide_all) {
        int32_t day = earliest_open(r, k);
        for (uint32_t i = 0; i < c->files; i++)
            if (c->file[i]->header.day >= day && c->file[i]->header.first < from)
                from = c->file[i]->header.first;
    }
    bool ok = true;
    for (bool older = nkept > 2 || !k->whole;;) {
        /* Where the newest heads are damaged, or a hole stands where reading begins (with it the
         * restart mark and what was owed may be lost): from further back, where needed an older
         * file's last stretch, what was in flight at its end included. */
        struct kept *base = older ? &kept[nkept - 1] : k;
        if (base != k && c->file[base->file]->header.first < from) {
            uint64_t told = base->reached > RECOVERY_WINDOW ? base->reached - RECOVERY_WINDOW : 0;
            if (base->tick && base->tick->position < told)
                told = base->tick->position;
            from = told < from ? told : from;
        }
        if (from < c->file[0]->header.first)
            from = c->file[0]->header.first;
        while (base != k && c->file[base->file]->header.first > from) {
            uint32_t reaches = (uint32_t)(k - kept);
            kept = skim_file(r, kept, &nkept, base->file - 1);
            k = &kept[reaches];
            base = &kept[nkept - 1];
            /* Its marks say where sessions stood at its last tick, at the latest. What it lost in
             * flight below that stood in gap rows that may be gone as well: its last stretch. */
            uint64_t known = base->tick ? base->tick->position : c->file[base->file]->header.first;
            uint64_t told = base->reached > RECOVERY_WINDOW ? base->reached - RECOVERY_WINDOW : 0;
            if (told < known && recovery_elapsed(r, t0) < cfg->budget)
                known = told;
            from = known < from ? known : from;
            if (from < c->file[0]->header.first)
                from = c->file[0]->header.first;
        }
        uint64_t begins = c->file[base->file]->header.first;
        for (uint32_t i = 0; i < base->n; i++)
            if (base->mark[i]->position < from)
                recovery_mark(r, base->mark[i]);
        if (r->gaps)
            look_for_payment(r, from);
        r->window = from;
        ok = read_window(r, from, k, err);
        if (!ok || !r->blind || from == c->file[0]->header.first ||
            recovery_elapsed(r, t0) > cfg->budget)
            break;
        read_nothing(r);
        if (begins < from) {
            from = from - begins > RECOVERY_WINDOW ? from - RECOVERY_WINDOW : begins;
            older = base != k;
            continue;
        }
        if (base != &kept[nkept - 1]) { /* the newest daily file's marks, read already */
            older = true;
            continue;
        }
        uint32_t reaches = (uint32_t)(k - kept);
        kept = skim_file(r, kept, &nkept, kept[nkept - 1].file - 1);
        k = &kept[reaches];
        older = true;
    }
    for (uint32_t i = 0; i < nkept; i++)
        drop_kept(&kept[i]);
    free(kept);
    facts_free(&r->known);
    if (!ok)
        return false;
    if (cfg->noted > r->durable)
        r->durable = cfg->noted;
    /* The end itself is gone: it had been durable, the catalogue or a clean stop says. */
    if (cfg->noted > r->old_end && !r->cut_at)
        lost_range(r, r->old_end, cfg->noted);
    for (uint32_t i = 0; i < r->ranges; i++)
        r->range[i].damage = r->range[i].from < r->durable;
    sort_out(r);
    if (!recovery_settle(r, err))
        return false;
    if (r->again)
        return true;
    recovery_name_events(r);
    if (r->closed_day >= r->open_day)
        r->open_day = r->closed_day + 1;
    if (recovery_open_day(r, "default") >= 0)
        r->open_day = recovery_open_day(r, "default");
    r->clean = r->end_mark && !r->ranges && !r->torn_files && !r->cut_at &&
               (!cfg->check_closed || cfg->closed == r->old_end);
    uint64_t lease = cfg->lease_end;
    if (lease < r->old_end) /* the state file is gone or older than the log */
        lease = pst_align_up(r->old_end + 1, RECOVERY_LEASE);
    r->start = r->clean ? r->old_end : lease;
    if (!restore(r, err))
        return false;
    r->took = recovery_elapsed(r, t0);
    r->over_budget |= r->took > r->cfg.budget;
    return true;
}

/* All that a walk found out, but the troubles and what was done about them. */
static void forget(struct recovery *r)
{
    for (uint32_t i = 0; i < r->sessions; i++) {
        free_pieces(&r->session[i]);
        free(r->session[i].open);
    }
    free(r->session);
    free(r->source);
    free(r->calendar);
    free(r->range);
    free(r->told);
    free(r->gap);
    facts_free(&r->known);
    while (r->events)
        drop_event(r, r->events - 1);
    free(r->event);
    cursor_close(&r->cursor);
}

bool recovery_run(struct recovery *r, const struct recovery_config *cfg, struct err *err)
{
    struct recovery was = {.cfg = *cfg};
    if (!was.cfg.budget)
        was.cfg.budget = RECOVERY_BUDGET;
    for (unsigned round = 0;; round++) {
        *r = was;
        r->open_day = r->closed_day = -1;
        r->last_time = INT64_MIN;
        if (!run_once(r, err)) {
            recovery_free(r);
            return false;
        }
        if (!r->again || round == 8)
            return true;
        /* files were changed: everything anew, with what is known about the troubles */
        forget(r);
        was.damage = r->damage;
        was.damages = r->damages;
        was.torn_files = r->torn_files;
        was.torn_bytes = r->torn_bytes;
        was.cut_at = r->cut_at;
        was.cut_files = r->cut_files;
        was.cut_frames = r->cut_frames;
        was.cut_rows = r->cut_rows;
        was.cut_bytes = r->cut_bytes;
    }
}

void recovery_free(struct recovery *r)
{
    forget(r);
    recovery_drop_damage(r);
    free(r->span);
    if (r->verify) {
        logscan_close(r->verify);
        free(r->verify);
    }
    memset(r, 0, sizeof *r);
}

/* ---- for the next files ---- */

struct states {
    uint8_t *frames;
    size_t bytes, room;
    uint32_t seed;
};

/* What JSON cannot say or no frame holds is left out. */
static void say_text(struct states *s, const char *text, size_t n, uint16_t day)
{
    if (s->room - s->bytes < FRAME_MAX) {
        uint8_t *p = realloc(s->frames, s->room + 4 * FRAME_MAX);
        pst_must(p);
        s->frames = p;
        s->room += 4 * FRAME_MAX;
    }
    struct frame *f = (struct frame *)(s->frames + s->bytes);
    uint32_t length = frame_build_mark(f, MARK_STATE, text, n);
    if (length) {
        f->day = day;
        frame_seal(f, s->seed);
        s->bytes += length;
    }
}

/* Takes o and one more member, as text. */
static void say(struct states *s, json_t *o, uint16_t day, const char *decoder)
{
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    size_t n = text ? strlen(text) : 0, more = decoder ? strlen(decoder) + 11 : 0;
    char *whole = text ? malloc(n + more + 1) : NULL;
    if (whole) {
        memcpy(whole, text, n);
        if (decoder) /* before the closing brace */
            n = n - 1 + (size_t)snprintf(whole + n - 1, more + 2, ",\"decoder\":%s}", decoder);
        say_text(s, whole, n, day);
    }
    free(whole);
    free(text);
}

static void say_event(struct states *s, const struct recovery_event *e, uint16_t day)
{
    char *text = NULL;
    int n = asprintf(
        &text,
        "{\"buffer\":%.*s,\"status\":\"%s\",\"since\":%llu,\"rows\":%llu,\"bytes\":%llu,"
        "\"files\":0}}",
        (int)e->len, e->json, e->passes ? "passthrough" : "active", (unsigned long long)e->since,
        (unsigned long long)e->rows, (unsigned long long)e->bytes);
    pst_must(n > 0);
    say_text(s, text, (size_t)n, day);
    free(text);
}

/* `next` lies behind what holes cost; the gap rows that say so come behind the restart mark, and
 * may be lost with it: they are owed until they are read. */
static void say_session(struct states *out, const struct recovery *r,
                        const struct recovery_session *s)
{
    static const char *const names[] = {"live", "ended", "replaced"};
    if (s->day < 0)
        return;
    const struct recovery_piece *p = s->pieces;
    json_t *owed = json_array();
    for (uint32_t i = 0; i < r->gaps; i++)
        if (!strcmp(r->gap[i].feed, s->feed) && !strcmp(r->gap[i].session, s->session))
            json_array_append_new(owed,
                                  json_pack("[I,I,I]", (json_int_t)r->gap[i].first,
                                            (json_int_t)r->gap[i].last, (json_int_t)r->start));
    do {
        json_t *o = json_pack("{s:s,s:s,s:i,s:I,s:I,s:I,s:I,s:s}", "feed", s->feed, "session",
                              s->session, "day", (int)s->day, "epoch", (json_int_t)s->epoch,
                              "first", (json_int_t)s->first, "next", (json_int_t)s->next, "send",
                              (json_int_t)s->send, "state", names[s->state]);
        if (json_array_size(owed))
            json_object_set(o, "owed", owed);
        say(out, o, (uint16_t)s->day, p ? p->json : NULL);
        p = p ? p->next : NULL;
    } while (p);
    json_decref(owed);
}

/* As dataplane/sources.c says them. */
static void say_source(struct states *out, const struct recovery_source *s, uint16_t day)
{
    const struct source_progress *p = &s->p;
    json_t *one = json_pack("[s,I,I]", s->name, (json_int_t)p->at.position, (json_int_t)p->at.row);
    json_t *islands = json_array();
    for (uint32_t i = 0; i < p->islands; i++) {
        const struct source_range *x = &p->island[i];
        json_array_append_new(
            islands, json_pack("[I,I,I,I]", (json_int_t)x->from.position, (json_int_t)x->from.row,
                               (json_int_t)x->to.position, (json_int_t)x->to.row));
    }
    if (p->islands)
        json_array_append(one, islands);
    json_decref(islands);
    say(out, json_pack("{s:[o]}", "sources", one), day, NULL);
}

void *recovery_states(const struct recovery *r, size_t *bytes)
{
    struct states s = {.seed = frame_seed(r->cfg.instance)};
    json_t *dates = json_object();
    for (uint32_t i = 0; i < r->calendars; i++)
        json_object_set_new(dates, r->calendar[i].name, json_integer(r->calendar[i].open_day));
    if (r->calendars)
        say(&s, json_pack("{s:O}", "calendars", dates), (uint16_t)r->open_day, NULL);
    json_decref(dates);
    for (uint32_t i = 0; i < r->sessions; i++)
        say_session(&s, r, &r->session[i]);
    for (uint32_t i = 0; i < r->events; i++)
        say_event(&s, &r->event[i], (uint16_t)(r->open_day < 0 ? 0 : r->open_day));
    for (uint32_t i = 0; i < r->sources; i++)
        say_source(&s, &r->source[i], (uint16_t)(r->open_day < 0 ? 0 : r->open_day));
    *bytes = s.bytes;
    if (s.bytes)
        return s.frames;
    free(s.frames);
    return NULL;
}

uint32_t recovery_restart_json(const struct recovery *r, uint64_t start, const char *acts,
                               char *buf, size_t room)
{
    char damaged[32] = "", cut[40] = "";
    if (r->damages)
        snprintf(damaged, sizeof damaged, ",\"damaged\":%u", r->damages);
    if (r->cut_at)
        snprintf(cut, sizeof cut, ",\"cut\":%llu", (unsigned long long)r->cut_at);
    return (uint32_t)snprintf(buf, room,
                              "{\"old_end\":%llu,\"start\":%llu,\"reason\":\"%s\"%s%s%s%s%s}",
                              (unsigned long long)r->old_end, (unsigned long long)start,
                              r->clean && start == r->old_end ? "clean" : "unclean", damaged, cut,
                              acts ? ",\"acts\":\"" : "", acts ? acts : "", acts ? "\"" : "");
}
