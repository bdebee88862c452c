/* SPDX-License-Identifier: Apache-2.0 */
/* Its life: made from the manifest, a tick, the outbox, verbs. */
#include <inttypes.h>
#include "loader.h"

#define LAZY_SYNC (NS_PER_S)
#define HOUSE     (NS_PER_S)
#define REST      (NS_PER_S)

static bool check(const struct loader_config *c, struct err *err)
{
    if (!c->workers || c->workers > LOAD_PLAN_WORKERS)
        return err_set(err, -EINVAL, "load.workers is %u: 1 to %u are possible", c->workers,
                       LOAD_PLAN_WORKERS);
    if (c->nrules > LOADER_RULES || c->nfiles > LOADER_FILES)
        return err_set(err, -EINVAL, "load has more than %u batches or %u files", LOADER_RULES,
                       LOADER_FILES);
    for (unsigned i = 0; i < c->nrules; i++) {
        const struct loader_rule *r = &c->rule[i];
        const char *wrong = load_pattern_error(r->match);
        if (wrong)
            return err_set(err, -EINVAL, "load.batches %s: match '%.100s' %s", r->name, r->match,
                           wrong);
        bool marked = r->by == LOAD_BY_TRIGGER || r->by == LOAD_BY_MANIFEST;
        if (marked && (!r->marker || (wrong = load_pattern_error(r->marker)) != NULL))
            return err_set(err, -EINVAL, "load.batches %s: %s '%.100s' %s", r->name,
                           load_by_name(r->by), r->marker ? r->marker : "",
                           wrong ? wrong : "is missing");
        if (strpbrk(r->name, "\t\n"))
            return err_set(err, -EINVAL, "load.batches: a name with a tab or a line end");
        if (r->by == LOAD_BY_COUNT &&
            (strstr(r->match, "{i}") == NULL) != (strstr(r->match, "{M}") == NULL))
            return err_set(err, -EINVAL, "load.batches %s: match '%.100s' needs both {i} and {M}",
                           r->name, r->match);
        for (unsigned k = 0; k < i; k++)
            if (!strcmp(c->rule[k].name, r->name))
                return err_set(err, -EINVAL, "load.batches has %s twice", r->name);
    }
    for (unsigned i = 0; i < c->nfiles; i++) {
        const char *wrong = load_pattern_error(c->file[i].match);
        if (wrong)
            return err_set(err, -EINVAL, "load.files %s: match '%.100s' %s", c->file[i].name,
                           c->file[i].match, wrong);
    }
    if (c->finished == LOADER_MOVE && !c->finished_directory)
        return err_set(err, -EINVAL, "load.finished move needs load.finished_directory");
    return true;
}

static void configure(struct loader *l, const struct loader_config *c)
{
    l->c = *c;
    l->io = c->io;
    l->limit = c->file_size_limit;
    l->each = (struct loader_rule){.name = "each", .by = LOAD_BY_EACH, .match = "*"};
}

struct loader *loader_create(const struct loader_config *c, const struct loader_hooks *h,
                             struct err *err)
{
    if (!check(c, err))
        return NULL;
    struct loader *l = calloc(1, sizeof *l);
    pst_must(l);
    configure(l, c);
    l->h = *h;
    l->next_batch = 1;
    l->next_task = 1;
    l->next_due = INT64_MAX;
    l->commits = c->commit_floor;
    if (!load_manifest_open(&l->m, c->io, c->state_directory, c->instance, store_line,
                            store_content, l, err)) {
        loader_free(l);
        return NULL;
    }
    if (l->commits < c->commit_floor)
        l->commits = c->commit_floor;
    l->start++;
    for (struct lbatch *b = l->first; b; b = b->next)
        if (!batch_over(b)) { /* files of theirs are told before the first tick */
            files_batched(l, b, true);
            l->nactive++;
        }
    /* Numbers of tasks of different starts do not meet: a late answer is not mistaken. */
    l->next_task = (l->start << 32) + 1;
    return l;
}

void loader_free(struct loader *l)
{
    if (!l)
        return;
    load_manifest_close(&l->m);
    struct lbatch *bn;
    for (struct lbatch *b = l->first; b; b = bn) {
        bn = b->next;
        batch_free(b);
    }
    struct ltask *tn;
    for (struct ltask *t = l->tasks; t; t = tn) {
        tn = t->next;
        task_free(t);
    }
    for (unsigned i = 0; i < LOADER_ENDED_TASKS; i++)
        if (l->ended[i])
            task_free(l->ended[i]);
    for (uint64_t i = 0; l->done.slot && i <= l->done.mask; i++) {
        struct ldone *d = l->done.slot[i].value;
        if (d) {
            free(d->path);
            free(d->gather);
            free(d->why);
            free(d);
        }
    }
    struct linto {
        char *key, *owner;
    };
    for (uint64_t i = 0; l->into.slot && i <= l->into.mask; i++) {
        struct linto *x = l->into.slot[i].value;
        if (x) {
            free(x->key);
            free(x->owner);
            free(x);
        }
    }
    lmap_free(&l->done);
    lmap_free(&l->hashes);
    lmap_free(&l->into);
    files_free(l);
    for (unsigned i = 0; i < l->nout; i++) {
        free(l->out[i].subject);
        free(l->out[i].text);
    }
    for (unsigned i = 0; i < l->nalarms; i++) {
        free(l->alarm[i].subject);
        free(l->alarm[i].text);
    }
    for (unsigned i = 0; i < l->nnames; i++)
        free(l->name[i]);
    free(l->name);
    free(l->alarm);
    free(l->out);
    free(l->loose);
    free(l);
}

bool loader_configure(struct loader *l, const struct loader_config *c, struct err *err)
{
    if (!check(c, err))
        return false;
    if (c->nstaging != l->c.nstaging || c->workers != l->c.workers || c->nrules != l->c.nrules ||
        c->nfiles != l->c.nfiles)
        return err_set(err, -ENOTSUP,
                       "staging directories, workers, load.batches and load.files "
                       "change with a restart of the loader only");
    uint64_t limit = l->limit;
    configure(l, c);
    if (c->compounding)
        l->limit = limit;
    l->wake = true;
    return true;
}

uint64_t loader_moving(const struct loader *l)
{
    for (const struct lbatch *b = l->first; b; b = b->next)
        if (b->state == L_MOVING && (b->again || !l->started))
            return b->id;
    return 0;
}

uint64_t loader_commits(const struct loader *l)
{
    return l->commits;
}

unsigned loader_unfinished(const struct loader *l, uint64_t *batch, unsigned room)
{
    unsigned n = 0;
    for (const struct lbatch *b = l->first; b; b = b->next)
        if (!batch_over(b)) {
            if (n < room)
                batch[n] = b->id;
            n++;
        }
    return n;
}

bool loader_in_place(const struct loader *l, uint64_t batch)
{
    const struct lbatch *b = loader_batch(l, batch);
    return b && b->state == L_FINISHING;
}

void loader_memory(struct loader *l, uint64_t free_bytes)
{
    bool low = l->c.throttle && (!l->memory_known || l->free_memory < l->c.throttle);
    l->free_memory = free_bytes;
    l->memory_known = true;
    l->wake |= low != (free_bytes < l->c.throttle) || l->why == LOAD_PLAN_NO_ROOM ||
               l->why == LOAD_PLAN_DRAINING;
}

/* ---- outbox ---- */

static void do_send(struct loader *l, const struct laction *a)
{
    struct lwork *k = &l->work[a->worker];
    struct ltask *t = k->task;
    if (!t || t->id != a->id || k->state != W_LIVE)
        return;
    struct err err = {0};
    json_t *args = task_args(l, t, &err);
    json_t *o = args ? json_pack("{s:s,s:I,s:o}", "task", task_kind_name[t->kind], "taskID",
                                 (json_int_t)t->id, "args", args)
                     : NULL;
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    k->progress = l->mono; /* it may have waited for the manifest */
    if (!text) /* what cannot be asked for: its file or its batch fails, not the worker */
        loader_worker_done(l, a->worker, t->id, err.code ? err.code : -EINVAL, false, NULL,
                           *err.text ? err.text : "the task is not needed any more", 0);
    else if (!l->h.send(l->h.arg, a->worker, t->id, text, strlen(text)))
        loader_worker_down(l, a->worker, "nothing can be sent to it");
    free(text);
}

static void do_intern(struct loader *l, const struct lbatch *b)
{
    char **list = calloc(b->nfiles + 1, sizeof *list);
    pst_must(list);
    struct loader_intern x = {.batch = b->id, .symbols = (const char *const *)list};
    for (unsigned k = 0; k < b->nfiles; k++)
        if (b->file[k].state == B_READ && b->file[k].symbols)
            list[x.n++] = text_of("%s/symbols", b->file[k].dir);
    for (unsigned i = 0; i < b->nparts; i++)
        if (!i || b->part[i].date > x.date)
            x.date = b->part[i].date;
    l->h.intern(l->h.arg, &x);
    for (unsigned i = 0; i < x.n; i++)
        free(list[i]);
    free(list);
}

static void act(struct loader *l, struct laction *a)
{
    const struct loader_hooks *h = &l->h;
    struct lbatch *b = NULL;
    if (a->kind == A_INTERN || a->kind == A_MOVE || a->kind == A_FINISHED || a->kind == A_DISCARD)
        if (!(b = loader_batch(l, a->id)))
            return;
    switch (a->kind) {
    case A_SPAWN: {
        bool large = l->c.large_worker && a->worker == 0 && l->c.large_worker_memory;
        if (l->work[a->worker].state == W_STARTING)
            h->spawn(h->arg, a->worker, large ? l->c.large_worker_memory : l->c.worker_memory);
        break;
    }
    case A_KILL:
        if (l->work[a->worker].state == W_STOPPING)
            h->kill(h->arg, a->worker);
        break;
    case A_SEND:
        do_send(l, a);
        break;
    case A_INTERN:
        if (b->state == L_INTERNING)
            do_intern(l, b);
        else
            b->intern_sent = false;
        break;
    case A_MOVE:
        if (b->state == L_MOVING) {
            struct loader_move *m = batch_move(l, b);
            h->move(h->arg, m);
            free(m);
        }
        break;
    case A_HOLD:
    case A_RELEASE:
        if (h->hold)
            h->hold(h->arg, a->id, a->kind == A_HOLD);
        break;
    case A_DISCARD:
        if (h->discard)
            h->discard(h->arg, b->id, b->key, b->commit);
        break;
    case A_FINISHED: {
        json_t *facts = batch_facts(l, b);
        if (h->finished)
            h->finished(h->arg, b->id, facts);
        json_decref(facts);
        break;
    }
    case A_ALARM:
        if (h->alarm)
            h->alarm(h->arg, a->alarm, a->subject, a->raised, a->text);
        break;
    case A_LOG:
        if (h->log)
            h->log(h->arg, a->text);
        break;
    }
}

static void flush(struct loader *l)
{
    /* what an action adds comes in the next tick, behind the next sync */
    unsigned n = l->nout;
    struct laction *list = l->out;
    l->out = NULL;
    l->nout = l->out_room = 0;
    for (unsigned i = 0; i < n; i++) {
        act(l, &list[i]);
        free(list[i].subject);
        free(list[i].text);
    }
    free(list);
    l->wake |= l->nout != 0;
}

/* ---- tick ---- */

static void first_tick(struct loader *l)
{
    l->started = true;
    l->started_at = l->mono;
    l->house = l->mono + HOUSE;
    for (struct gather *g = l->all_gathers; g; g = g->next)
        if (g->since) { /* of the manifest, or new */
            g->since_wall = g->since_wall ? g->since_wall : l->wall;
            g->since = l->mono - (l->wall > g->since_wall ? l->wall - g->since_wall : 0);
            g->last = l->mono;
        }
    for (struct lbatch *b = l->first; b; b = b->next)
        b->began = l->mono;
    for (uint64_t i = 0; l->files.slot && i <= l->files.mask; i++) {
        struct sfile *s = l->files.slot[i].value;
        if (s && !s->seen)
            s->seen = l->wall;
    }
    store_start(l);
    batches_resume(l);
    for (const struct lbatch *b = l->first; b; b = b->next) {
        bool later = false; /* it was tried again since */
        for (const struct lbatch *x = b->next; x && !later; x = x->next)
            later = b->gather && x->gather && !strcmp(x->gather, b->gather);
        if (b->state == L_FAILED && !later && l->wall - b->ended < NS_PER_DAY)
            batch_failed_alarm(l, b);
    }
    if (l->m.torn)
        loader_log(l, "%s: its last lines were torn by a crash and are cut off", l->m.path);
}

static bool sync_manifest(struct loader *l)
{
    if (!l->must_sync && (!load_manifest_dirty(&l->m) || l->mono - l->lazy_since < LAZY_SYNC))
        return true;
    PST_FAULT("load.manifest");
    int r = load_manifest_sync(&l->m);
    PST_FAULT("load.synced");
    if (r == 0) {
        l->must_sync = false;
        alarm_clear(l, LOADER_ALARM_MANIFEST, "");
        return true;
    }
    char text[1300];
    snprintf(text, sizeof text, "%s cannot be written: %s; nothing is loaded until it can",
             l->m.path, strerror(-r));
    alarm_set(l, LOADER_ALARM_MANIFEST, "", text);
    return !l->must_sync;
}

/* An alarm about the manifest does not wait for the manifest. */
static void flush_alarms(struct loader *l)
{
    for (unsigned i = 0; i < l->nout; i++)
        if (l->out[i].kind == A_ALARM && l->out[i].alarm == LOADER_ALARM_MANIFEST) {
            act(l, &l->out[i]);
            l->out[i].kind = A_LOG;
            text_set(&l->out[i].text, text_of("the manifest could not be written"));
        }
}

void loader_now(struct loader *l, int64_t mono, int64_t wall)
{
    l->mono = mono;
    l->wall = wall;
}

int64_t loader_tick(struct loader *l, int64_t mono, int64_t wall)
{
    loader_now(l, mono, wall);
    if (!l->started)
        first_tick(l);
    bool house = mono >= l->house;
    if (!l->must_sync && (l->wake || house || mono >= l->next_due || l->dirty)) {
        l->wake = false;
        l->next_due = INT64_MAX;
        tasks_due(l);
        if (house) {
            files_house(l);
            files_linger(l);
            tasks_house(l);
        }
        files_tick(l);
        batches_tick(l);
        tasks_dispatch(l);
        files_trash(l);
        if (house)
            l->house = mono + HOUSE;
    }
    if (!sync_manifest(l)) {
        flush_alarms(l);
        return mono + REST;
    }
    flush(l);
    if (house) {
        l->m.live = l->done.n + l->into.n + 2ull * l->nbatches + 3ull * l->batched.n + 8;
        if (!l->nactive || l->m.lines > 8 * l->m.live)
            load_manifest_compact(&l->m);
    }
    if (l->wake)
        return mono;
    int64_t next = l->house < l->next_due ? l->house : l->next_due;
    return next;
}

/* ---- verbs ---- */

static struct lbatch *open_batch(struct loader *l, uint64_t id, struct err *err)
{
    struct lbatch *b = loader_batch(l, id);
    if (!b)
        err_set(err, -ENOENT, "there is no batch %" PRIu64, id);
    else if (batch_over(b)) {
        err_set(err, -EALREADY, "batch %" PRIu64 " is over: %s", id, batch_state_name(b));
        b = NULL;
    }
    return b;
}

static bool pause_set(struct loader *l, uint64_t batch, bool on, struct err *err)
{
    struct lbatch *b = batch ? open_batch(l, batch, err) : NULL;
    if (batch && !b)
        return false;
    if (b)
        b->paused = on;
    else
        l->paused = on;
    store_pause(l, batch, on);
    l->wake = true;
    return true;
}

bool loader_pause(struct loader *l, uint64_t batch, struct err *err)
{
    return pause_set(l, batch, true, err);
}

bool loader_resume(struct loader *l, uint64_t batch, struct err *err)
{
    return pause_set(l, batch, false, err);
}

/* One that failed, or files that lie in the quarantine: no trouble any more. What of its files is
 * still in staging stays what it is. */
static bool give_up(struct loader *l, struct lbatch *b)
{
    char why[LOADER_WHY], subject[32];
    unsigned alarms = l->nalarms;
    if (b->state == L_FAILED) {
        snprintf(why, sizeof why, "given up by an operator; it had failed: %.300s", b->why);
        snprintf(b->why, sizeof b->why, "%s", why);
        b->state = L_CANCELLED;
        store_state(l, b, "cancelled");
    }
    snprintf(subject, sizeof subject, "%" PRIu64, b->id);
    alarm_clear(l, LOADER_ALARM_BATCH, subject);
    for (uint64_t i = 0; l->done.slot && i <= l->done.mask; i++) {
        const struct ldone *d = l->done.slot[i].value;
        if (d && d->failed && d->batch == b->id && !lmap_get(&l->files, d->path))
            alarm_clear(l, LOADER_ALARM_QUARANTINE, d->path);
    }
    return b->state == L_CANCELLED || l->nalarms < alarms;
}

bool loader_cancel(struct loader *l, uint64_t batch, struct err *err)
{
    struct lbatch *b = loader_batch(l, batch);
    if (b && (b->state == L_FAILED || b->state == L_PARTIAL) && give_up(l, b))
        return true;
    b = open_batch(l, batch, err);
    if (!b)
        return false;
    if (b->state == L_MOVING || b->state == L_FINISHING || b->state == L_ENDING)
        return err_set(err, -EBUSY, "batch %" PRIu64 " is being published: it is too late", batch);
    batch_fail(l, b, L_CANCELLED, "cancelled by an operator");
    return true;
}

uint64_t loader_find(const struct loader *l, const char *what)
{
    char *end;
    unsigned long long id = strtoull(what, &end, 10);
    if (id && !*end && loader_batch(l, id))
        return id;
    uint64_t found = 0;
    for (const struct lbatch *b = l->first; b; b = b->next)
        if (b->name && !strcmp(b->name, what))
            found = b->id;
    return found;
}

static struct sfile *file_named(struct loader *l, const char *what)
{
    struct sfile *s = lmap_get(&l->files, what);
    for (unsigned i = 0; i < l->c.nstaging && !s; i++) {
        char path[1200];
        snprintf(path, sizeof path, "%s/%s", l->c.staging[i], what);
        s = lmap_get(&l->files, path);
    }
    return s;
}

bool loader_retry(struct loader *l, const char *what, struct err *err)
{
    struct sfile *s = file_named(l, what);
    if (s) {
        struct gather *g = s->g;
        if (!files_again(l, s->path))
            return err_set(err, -EINVAL, "%s waits for nothing that a retry could change", what);
        if (g)
            gather_news(l, g);
        return true;
    }
    const struct lbatch *b = loader_batch(l, loader_find(l, what));
    if (!b)
        return err_set(err, -ENOENT, "there is no batch and no file in staging called %s", what);
    if (b->state != L_FAILED && b->state != L_CANCELLED && b->state != L_PARTIAL)
        return err_set(err, -EINVAL, "batch %" PRIu64 " is %s: there is nothing to retry", b->id,
                       batch_state_name(b));
    if (b->by_hand || !b->gather)
        return err_set(err, -EINVAL, "batch %" PRIu64 " was added by hand: add it again", b->id);
    char subject[32];
    unsigned n = 0;
    for (unsigned k = 0; k < b->nfiles; k++)
        n += files_again(l, b->file[k].path);
    if (!b->nfiles) { /* of an earlier start: all that still waits with it */
        struct gather *g = gather_get(l, b->gather, false);
        char **list = NULL;
        unsigned room = 0, have = 0;
        for (struct sfile *x = g ? g->first : NULL; x; x = x->next) {
            list = room_for(list, have, &room, sizeof *list);
            list[have++] = x->path;
        }
        for (unsigned i = 0; i < have; i++)
            n += files_again(l, list[i]);
        free(list);
    }
    if (!n)
        return err_set(err, -ENOENT,
                       "no file of batch %" PRIu64
                       " waits: they were loaded since, or are gone from staging",
                       b->id);
    snprintf(subject, sizeof subject, "%" PRIu64, b->id);
    alarm_clear(l, LOADER_ALARM_BATCH, subject);
    return true;
}

bool loader_add(struct loader *l, const struct loader_add *a, uint64_t *batch, struct err *err)
{
    struct io_stat st;
    if (!a->n || a->n > LOADER_EACH)
        return err_set(err, -EINVAL, "a batch has 1 to %u files", LOADER_EACH);
    for (unsigned i = 0; i < a->n; i++) {
        const char *path = a->path[i], *name = strrchr(path, '/');
        bool known = false;
        if (*path != '/' || !name[1])
            return err_set(err, -EINVAL, "'%.200s' is not the absolute path of a file", path);
        for (unsigned k = 0; k < l->c.nfiles && !known; k++)
            known = load_name_match(l->c.file[k].match, name + 1, NULL);
        if (!known)
            return err_set(err, -EINVAL, "%s: no entry of load.files matches its name", name + 1);
        int r = l->io->ops->stat(l->io, path, &st);
        l->f.io_calls++;
        if (r < 0)
            return err_set(err, r, "%s: %s", path, strerror(-r));
        if (lmap_get(&l->batched, path))
            return err_set(err, -EBUSY, "%s is part of a batch that is being loaded", path);
        const struct ldone *d = done_get(l, path);
        if (d && !d->failed && !a->supersede && d->size != st.size)
            return err_set(err, -EEXIST,
                           "%s was loaded with other content by batch %" PRIu64
                           "; a correction needs --supersede",
                           path, d->batch);
        for (unsigned k = 0; k < i; k++)
            if (!strcmp(path, a->path[k]))
                return err_set(err, -EINVAL, "%s is named twice", path);
    }
    struct lbatch *b = batch_add(l, l->next_batch);
    const char *first = strrchr(a->path[0], '/') + 1;
    b->name = text_of("%s", a->name ? a->name : first);
    b->by_hand = true;
    b->supersede = a->supersede;
    b->partial = a->partial;
    b->priority = a->priority;
    b->at = l->wall;
    for (unsigned i = 0; i < a->n; i++) {
        l->io->ops->stat(l->io, a->path[i], &st);
        struct bfile *f = batch_file_add(b, a->path[i]);
        f->size = st.size;
        f->mtime = st.modified;
        f->ino = st.ino;
        f->dev = st.dev;
        b->bytes += st.size;
        for (unsigned k = 0; k < l->c.nfiles && f->pattern < 0; k++)
            if (load_name_match(l->c.file[k].match, f->name, NULL))
                f->pattern = (int)k;
    }
    files_adopt(l, b);
    files_batched(l, b, true);
    store_batch(l, b);
    for (unsigned k = 0; k < b->nfiles; k++)
        batch_queue_read(l, b, k);
    l->f.batches++;
    l->nactive++;
    *batch = b->id;
    return true;
}

void loader_figures(const struct loader *l, struct loader_figures *f)
{
    *f = l->f;
    f->manifest_syncs = l->m.syncs;
    f->active = l->nactive;
    f->processing = l->nrunning;
    f->queued = l->nloose + l->nwaiting;
    for (const struct lbatch *b = l->first; b && l->nactive; b = b->next)
        f->queued += batch_over(b) ? 0 : b->nready;
    for (const struct gather *g = l->all_gathers; g; g = g->next)
        f->gathering += g->since && g->n && !g->failed;
}
