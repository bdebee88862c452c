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
        recovery_free_pieces(&r->session[i]);
        free(r->session[i].open);
    }
    while (r->events)
        recovery_drop_event(r, r->events - 1);
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
    recovery_settle_sessions(r);
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
    recovery_settle_sessions(r);
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
        recovery_free_pieces(&x.session[i]);
    free(x.session);
    free(x.source);
    free(x.calendar);
    free(x.gap);
    while (x.events)
        recovery_drop_event(&x, x.events - 1);
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
            recovery_free_pieces(&noted.session[i]);
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
        recovery_free_pieces(&r->session[i]);
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
        recovery_drop_event(r, r->events - 1);
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
