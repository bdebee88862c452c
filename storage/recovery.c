/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <jansson.h>
#include "core/civil.h"
#include "core/tables.h"
#include "recovery.h"

#define WINDOW (64ull << 20) /* the last stretch of the journal is always read whole */

static void *grow(void *list, uint32_t n, size_t each)
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
    r->session = grow(r->session, r->sessions, sizeof *r->session);
    struct recovery_session *s = &r->session[r->sessions++];
    memset(s, 0, sizeof *s);
    snprintf(s->feed, sizeof s->feed, "%s", feed);
    snprintf(s->session, sizeof s->session, "%s", session);
    s->day = -1;
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
static uint64_t number_in(json_t *o, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(o, key));
}

/* The session stands at n: what a hole before it cost. */
static void stands_at(struct recovery *r, struct recovery_session *s, uint64_t n, uint16_t day)
{
    if (s->after_loss && s->next && n > s->next) {
        r->gap = grow(r->gap, r->gaps, sizeof *r->gap);
        struct recovery_gap *g = &r->gap[r->gaps++];
        memset(g, 0, sizeof *g);
        strcpy(g->feed, s->feed);
        strcpy(g->session, s->session);
        g->first = s->next;
        g->last = n - 1;
        g->day = s->day >= 0 ? (uint16_t)s->day : day;
    }
    s->after_loss = false;
    if (n > s->next)
        s->next = n;
}

static void new_epoch(struct recovery_session *s, uint32_t epoch)
{
    if (epoch == s->epoch)
        return;
    s->epoch = epoch;
    s->next = 0;
    s->after_loss = false;
    free_pieces(s);
}

static void state_mark(struct recovery *r, json_t *o, uint16_t day)
{
    struct recovery_session *s = session_of(r, text_in(o, "feed"), text_in(o, "session"), true);
    new_epoch(s, (uint32_t)number_in(o, "epoch"));
    s->day = (int32_t)number_in(o, "day");
    s->first = number_in(o, "first");
    s->send = number_in(o, "send");
    const char *state = text_in(o, "state");
    s->state = !strcmp(state, "ended")      ? RECOVERY_ENDED
               : !strcmp(state, "replaced") ? RECOVERY_REPLACED
                                            : RECOVERY_LIVE;
    stands_at(r, s, number_in(o, "next"), day);
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
    new_epoch(s, (uint32_t)number_in(o, "epoch"));
    s->day = (int32_t)number_in(o, "day");
    s->first = number_in(o, "first");
    s->state = !strcmp(event, "end") ? RECOVERY_ENDED : RECOVERY_LIVE;
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
        const char *feed = json_string_value(json_array_get(e, 0));
        const char *session = json_string_value(json_array_get(e, 1));
        if (feed && session)
            stands_at(r, session_of(r, feed, session, true),
                      (uint64_t)json_integer_value(json_array_get(e, 2)), day);
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
    r->source = grow(r->source, r->sources, sizeof *r->source);
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
        r->calendar = grow(r->calendar, r->calendars, sizeof *r->calendar);
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

static void mark(struct recovery *r, const struct frame *f)
{
    unsigned type;
    uint32_t len;
    const char *text = frame_mark(f, &type, &len);
    r->end_mark = text && type == MARK_END;
    if (!text || (type != MARK_STATE && type != MARK_SESSION && type != MARK_TICK &&
                  type != MARK_EOD && type != MARK_RESTART))
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
    else {
        /* holes below it are the account of the incarnation that wrote it */
        r->ranges = r->gaps = 0;
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
    stands_at(r, s, last + 1, day);
}

static void rows(struct recovery *r, const struct frame *f)
{
    struct record_walk w;
    const struct record *rec;
    const struct packet_record *seen = NULL;
    record_walk_start(&w, f);
    if (w.derived)
        source_rows(r, w.derived);
    while ((rec = record_walk_next(&w))) {
        use_row(r, rec);
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
        if (s->after_loss)
            stands_at(r, s, p->seq, f->day);
        stands_at(r, s, p->seq + p->seqs, f->day);
    }
}

/* ---- files ---- */

static int64_t elapsed(const struct recovery *r, int64_t since)
{
    return r->cfg.io->ops->monotonic(r->cfg.io) - since;
}

/* Copies the torn bytes aside, syncs the copy, cuts them off. */
static bool repair(struct recovery *r, const struct cursor_file *file, struct logscan *s,
                   struct err *err)
{
    struct io *io = r->cfg.io;
    uint64_t from = s->bad_from, to = s->bad_to;
    bool whole = !s->gave_up && (s->size <= from || s->size - from <= LOGSCAN_REACH);
    r->torn_files++;
    r->torn_bytes += to - from;
    if (r->cfg.read_only || s->gave_up)
        return true;
    char path[CURSOR_PATH], dir[CURSOR_PATH];
    snprintf(path, sizeof path, "%s.torn-%llu", file->path, (unsigned long long)from);
    snprintf(dir, sizeof dir, "%s", file->path);
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = 0;
    else
        strcpy(dir, ".");
    int rc = 0, in = io->ops->open(io, file->path, O_RDWR, 0);
    int out = in < 0 ? in : io->ops->open(io, path, O_CREAT | O_TRUNC | O_WRONLY, 0640);
    const size_t step = LOGSCAN_WINDOW;
    uint8_t *buf = s->buf; /* the scan is over */
    for (uint64_t at = from; out >= 0 && rc >= 0 && at < to; at += step) {
        size_t n = to - at < step ? (size_t)(to - at) : step;
        rc = io_pread_all(io, in, buf, n, at);
        if (rc >= 0)
            rc = io_pwrite_all(io, out, buf, n, at - from);
    }
    if (out >= 0 && rc >= 0)
        rc = io->ops->fsync(io, out);
    if (out >= 0 && rc >= 0)
        rc = io->ops->sync_dir(io, dir);
    if (out >= 0 && rc >= 0) {
        if (whole) {
            rc = io->ops->ftruncate(io, in, from);
        } else {
            memset(buf, 0, step);
            for (uint64_t at = from; rc >= 0 && at < to; at += step)
                rc = io_pwrite_all(io, in, buf, to - at < step ? (size_t)(to - at) : step, at);
        }
        if (rc >= 0)
            rc = io->ops->fsync(io, in);
    }
    if (out < 0)
        rc = out;
    if (out >= 0)
        io->ops->close(io, out);
    if (in >= 0)
        io->ops->close(io, in);
    return rc >= 0 || err_set(err, rc, "%s: its torn tail at byte %llu cannot be set aside: %s",
                              file->path, (unsigned long long)from, strerror(-rc));
}

/* Ends of all files, newest first, while the budget lasts (the newest two in any case). */
static bool find_ends(struct recovery *r, int64_t t0, struct err *err)
{
    struct cursor *c = &r->cursor;
    for (uint32_t i = c->files; i-- > 0;) {
        struct cursor_file *f = c->file[i];
        if (c->files - i > 2 && elapsed(r, t0) > r->cfg.budget / 2) {
            r->files_unseen = i + 1;
            r->over_budget = true;
            break;
        }
        struct logscan s;
        if (!logscan_open(&s, r->cfg.io, f->path, r->cfg.instance, err))
            return false;
        int64_t time = INT64_MIN;
        enum logscan_verdict v = logscan_to_end(&s, &time);
        if (v == LOGSCAN_ERROR) {
            err_set(err, s.error, "%s: cannot be read at byte %llu: %s", f->path,
                    (unsigned long long)s.offset, strerror(-s.error));
            logscan_close(&s);
            return false;
        }
        if (s.position > r->old_end)
            r->old_end = s.position;
        if (time > r->last_time)
            r->last_time = time;
        bool ok = v != LOGSCAN_TORN || repair(r, f, &s, err);
        logscan_close(&s);
        if (!ok)
            return false;
    }
    return true;
}

/* Marks of one file, kept until it is known where the window begins. */
struct kept {
    struct frame **mark;
    uint32_t n;
    struct frame *tick; /* the last one */
    uint64_t reached;
    struct recovery *r;
};

static void keep(struct kept *k, const struct frame *f)
{
    struct frame *copy = malloc(f->length);
    pst_must(copy);
    memcpy(copy, f, f->length);
    k->mark = grow(k->mark, k->n, sizeof *k->mark);
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
        } else if (type == MARK_STATE || type == MARK_SESSION || type == MARK_EOD) {
            keep(k, f);
        }
    }
    return true;
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

static void lost_range(struct recovery *r)
{
    r->range = grow(r->range, r->ranges, sizeof *r->range);
    r->range[r->ranges++] = (struct recovery_range){r->cursor.lost_from, r->cursor.lost_to, false};
    r->loss = true;
    for (uint32_t i = 0; i < r->sessions; i++)
        r->session[i].after_loss = true;
}

static bool read_window(struct recovery *r, uint64_t from, struct err *err)
{
    struct cursor *c = &r->cursor;
    const struct frame *f;
    cursor_seek(c, from);
    while (c->position < r->old_end) {
        enum cursor_verdict v = cursor_next(c, &f);
        if (v == CURSOR_END)
            break;
        if (v == CURSOR_ERROR) {
            if (err)
                *err = c->err;
            return false;
        }
        if (v == CURSOR_LOST)
            lost_range(r);
        if (v != CURSOR_FRAME)
            continue;
        r->end_mark = false;
        r->scanned += f->length;
        if (f->kind == FRAME_MARK)
            mark(r, f);
        else if (f->kind == FRAME_DATA || f->kind == FRAME_GAP)
            rows(r, f);
    }
    return true;
}

bool recovery_run(struct recovery *r, const struct recovery_config *cfg, struct err *err)
{
    memset(r, 0, sizeof *r);
    r->cfg = *cfg;
    if (!r->cfg.budget)
        r->cfg.budget = RECOVERY_BUDGET;
    r->open_day = r->closed_day = -1;
    r->last_time = INT64_MIN;
    int64_t t0 = cfg->io->ops->monotonic(cfg->io);
    struct cursor_config cc = {
        .io = cfg->io, .prefix = cfg->prefix, .instance = cfg->instance, .no_skim = true};
    memcpy(cc.dirs, cfg->dirs, sizeof cc.dirs);
    struct cursor *c = &r->cursor;
    if (!cursor_open(c, &cc, err))
        return false;
    r->files = c->files;
    r->empty = !c->files;
    if (r->empty) {
        /* no log, but a lease: positions below it were used once */
        r->start = cfg->lease_end;
        r->clean = !cfg->lease_end;
        r->took = elapsed(r, t0);
        return true;
    }
    if (!find_ends(r, t0, err))
        goto fail;

    /* The small frames of the file that goes furthest: symbols, schemas, states, the last tick. */
    struct cursor_file *newest = c->file[c->files - 1], *daily = NULL;
    struct kept kept[2] = {{.r = r}, {.r = r}}, *k = &kept[0];
    for (uint32_t i = c->files; i-- > 0 && !daily;)
        if (c->file[i]->header.stream == STREAM_DAILY)
            daily = c->file[i];
    k->reached =
        logscan_skim(cfg->io, newest->path, cfg->instance, UINT64_MAX, small_frame, &kept[0]);
    if (daily)
        r->open_day = daily->header.day;
    if (daily && daily != newest) {
        kept[1].reached =
            logscan_skim(cfg->io, daily->path, cfg->instance, UINT64_MAX, small_frame, &kept[1]);
        if (kept[1].reached > k->reached)
            k = &kept[1];
    }

    /* The last stretch is read whole: from the last tick or what it calls durable, whichever is
     * lower, and at least WINDOW. Marks below it first, then everything in order. */
    uint64_t from = r->old_end > WINDOW ? r->old_end - WINDOW : 0;
    if (k->tick && k->tick->position < from)
        from = k->tick->position;
    if (k->tick) {
        struct recovery noted = {0};
        mark(&noted, k->tick);
        r->durable = noted.durable;
        for (uint32_t i = 0; i < noted.sessions; i++)
            free_pieces(&noted.session[i]);
        free(noted.session);
        free(noted.source);
        free(noted.calendar);
        if (r->durable < from && r->durable >= newest->header.first)
            from = r->durable;
    }
    if (from < c->file[0]->header.first)
        from = c->file[0]->header.first;
    for (uint32_t i = 0; i < k->n; i++)
        if (k->mark[i]->position < from)
            mark(r, k->mark[i]);
    drop_kept(&kept[0]);
    drop_kept(&kept[1]);
    if (!read_window(r, from, err))
        goto fail;
    for (uint32_t i = 0; i < r->ranges; i++)
        r->range[i].damage = r->range[i].from < r->durable;
    if (r->closed_day >= r->open_day)
        r->open_day = r->closed_day + 1;
    if (recovery_open_day(r, "default") >= 0)
        r->open_day = recovery_open_day(r, "default");
    r->clean = r->end_mark && !r->ranges && !r->torn_files &&
               (!cfg->check_closed || cfg->closed == r->old_end);
    uint64_t lease = cfg->lease_end;
    if (lease < r->old_end) /* the state file is gone or older than the log */
        lease = pst_align_up(r->old_end + 1, RECOVERY_LEASE);
    r->start = r->clean ? r->old_end : lease;
    if (!restore(r, err))
        goto fail;
    r->took = elapsed(r, t0);
    r->over_budget |= r->took > r->cfg.budget;
    return true;
fail:
    recovery_free(r);
    return false;
}

void recovery_free(struct recovery *r)
{
    for (uint32_t i = 0; i < r->sessions; i++)
        free_pieces(&r->session[i]);
    free(r->session);
    free(r->source);
    free(r->calendar);
    free(r->range);
    free(r->gap);
    free(r->damage);
    if (r->verify) {
        logscan_close(r->verify);
        free(r->verify);
    }
    cursor_close(&r->cursor);
    memset(r, 0, sizeof *r);
}

/* ---- for the next files ---- */

struct states {
    uint8_t *frames;
    size_t bytes, room;
    uint32_t seed;
};

/* Takes o and one more member, as text; what JSON cannot say or no frame holds is left out. */
static void say(struct states *s, json_t *o, uint16_t day, const char *decoder)
{
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    size_t n = text ? strlen(text) : 0, more = decoder ? strlen(decoder) + 11 : 0;
    char *whole = text ? malloc(n + more + 1) : NULL;
    if (s->room - s->bytes < FRAME_MAX) {
        uint8_t *p = realloc(s->frames, s->room + 4 * FRAME_MAX);
        pst_must(p);
        s->frames = p;
        s->room += 4 * FRAME_MAX;
    }
    if (whole) {
        memcpy(whole, text, n);
        if (decoder) /* before the closing brace */
            n = n - 1 + (size_t)snprintf(whole + n - 1, more + 2, ",\"decoder\":%s}", decoder);
        struct frame *f = (struct frame *)(s->frames + s->bytes);
        uint32_t length = frame_build_mark(f, MARK_STATE, whole, n);
        if (length) {
            f->day = day;
            frame_seal(f, s->seed);
            s->bytes += length;
        }
    }
    free(whole);
    free(text);
}

static void say_session(struct states *out, const struct recovery_session *s)
{
    static const char *const names[] = {"live", "ended", "replaced"};
    if (s->day < 0)
        return;
    const struct recovery_piece *p = s->pieces;
    do {
        say(out,
            json_pack("{s:s,s:s,s:i,s:I,s:I,s:I,s:I,s:s}", "feed", s->feed, "session", s->session,
                      "day", (int)s->day, "epoch", (json_int_t)s->epoch, "first",
                      (json_int_t)s->first, "next", (json_int_t)s->next, "send",
                      (json_int_t)s->send, "state", names[s->state]),
            (uint16_t)s->day, p ? p->json : NULL);
        p = p ? p->next : NULL;
    } while (p);
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
        say_session(&s, &r->session[i]);
    for (uint32_t i = 0; i < r->sources; i++)
        say_source(&s, &r->source[i], (uint16_t)(r->open_day < 0 ? 0 : r->open_day));
    *bytes = s.bytes;
    if (s.bytes)
        return s.frames;
    free(s.frames);
    return NULL;
}

uint32_t recovery_restart_json(const struct recovery *r, char *buf, size_t room)
{
    return (uint32_t)snprintf(buf, room, "{\"old_end\":%llu,\"start\":%llu,\"reason\":\"%s\"}",
                              (unsigned long long)r->old_end, (unsigned long long)r->start,
                              r->clean ? "clean" : "unclean");
}

static void note(struct recovery *r, const struct cursor_file *f, const struct logscan *s,
                 bool torn)
{
    r->damage = grow(r->damage, r->damages, sizeof *r->damage);
    r->damage[r->damages++] =
        (struct recovery_damage){f->path, s->bad_from, s->bad_to, s->hole, torn};
}

bool recovery_verify_rest(struct recovery *r, uint64_t bytes)
{
    struct cursor *c = &r->cursor;
    uint64_t until = r->verified_bytes + bytes;
    while (r->verified_bytes < until) {
        if (!r->verify) {
            if (r->verify_file == c->files)
                return true;
            struct cursor_file *f = c->file[c->files - 1 - r->verify_file];
            r->verify = malloc(sizeof *r->verify);
            if (!r->verify)
                return false;
            if (!logscan_open(r->verify, r->cfg.io, f->path, r->cfg.instance, NULL)) {
                free(r->verify); /* gone meanwhile (retention) */
                r->verify = NULL;
                r->verify_file++;
                continue;
            }
        }
        struct cursor_file *f = c->file[c->files - 1 - r->verify_file];
        const struct frame *got;
        enum logscan_verdict v = logscan_step(r->verify, &got, UINT64_MAX);
        if (v == LOGSCAN_FRAME) {
            r->verified_bytes += got->length;
            r->verified_frames++;
            continue;
        }
        if (v == LOGSCAN_DAMAGE) {
            note(r, f, r->verify, false);
            r->verified_bytes += r->verify->bad_to - r->verify->bad_from;
            continue;
        }
        if (v == LOGSCAN_TORN || v == LOGSCAN_ERROR)
            note(r, f, r->verify, v == LOGSCAN_TORN);
        logscan_close(r->verify);
        free(r->verify);
        r->verify = NULL;
        r->verify_file++;
    }
    return false;
}
