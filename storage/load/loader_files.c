/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in the staging directories, and which of it makes a batch. */
#include <fcntl.h>
#include "loader.h"

#define EACH_SETTLE  (200 * NS_PER_MS)
#define EACH_LONGEST (5 * NS_PER_S)

static const struct loader_rule *rule_of(const struct loader *l, int rule)
{
    return l->c.nrules ? &l->c.rule[rule] : &l->each;
}

/* ---- gathers ---- */

static void dirty(struct loader *l, struct gather *g);
void gather_dirty(struct loader *l, const char *id)
{
    dirty(l, id ? gather_get(l, id, false) : NULL);
}

static void dirty(struct loader *l, struct gather *g)
{
    if (!g || g->dirty)
        return;
    g->dirty = true;
    g->next_dirty = l->dirty;
    l->dirty = g;
    l->wake = true;
}

/* id: "directory number TAB rule TAB key" */
struct gather *gather_get(struct loader *l, const char *id, bool make)
{
    struct gather *g = lmap_get(&l->gathers, id);
    if (g || !make)
        return g;
    g = calloc(1, sizeof *g);
    pst_must(g);
    g->id = text_of("%s", id);
    g->rule = -1;
    const char *tab = strchr(id, '\t'), *key = tab ? strchr(tab + 1, '\t') : NULL;
    g->key = text_of("%s", key ? key + 1 : id);
    g->directory = (unsigned)strtoul(id, NULL, 10);
    for (unsigned i = 0; key && i < (l->c.nrules ? l->c.nrules : 1); i++) {
        const char *name = rule_of(l, (int)i)->name;
        if (strlen(name) == (size_t)(key - tab - 1) && !memcmp(name, tab + 1, strlen(name)))
            g->rule = (int)i;
    }
    g->next = l->all_gathers;
    if (g->next)
        g->next->prev = g;
    l->all_gathers = g;
    lmap_put(&l->gathers, g->id, g);
    return g;
}

static void gather_free(struct gather *g)
{
    load_marks_free(&g->marks);
    free(g->id);
    free(g->key);
    free(g->problem);
    free(g->waits);
    free(g);
}

void gather_drop(struct loader *l, struct gather *g)
{
    if (g->n || g->dirty || g->loaded || g->alarmed || g->since_wall)
        return;
    lmap_remove(&l->gathers, g->id);
    if (g->prev)
        g->prev->next = g->next;
    else
        l->all_gathers = g->next;
    if (g->next)
        g->next->prev = g->prev;
    gather_free(g);
}

static void problem(struct loader *l, struct gather *g, const char *text)
{
    if (!text != !g->problem || (text && strcmp(text, g->problem) != 0)) {
        if (g->alarmed)
            alarm_clear(l, LOADER_ALARM_GATHER, g->id);
        g->alarmed = false;
        text_set(&g->problem, text ? text_of("%s", text) : NULL);
        if (text) {
            alarm_set(l, LOADER_ALARM_GATHER, g->id, text);
            g->alarmed = true;
        }
    }
}

static void attach(struct loader *l, struct gather *g, struct sfile *s)
{
    pst_must(!s->g);
    s->g = g;
    s->prev = NULL;
    s->next = g->first;
    if (s->next)
        s->next->prev = s;
    g->first = s;
    g->n++;
    (void)l;
}

static void detach(struct loader *l, struct sfile *s)
{
    struct gather *g = s->g;
    if (!g)
        return;
    if (s->prev)
        s->prev->next = s->next;
    else
        g->first = s->next;
    if (s->next)
        s->next->prev = s->prev;
    g->n--;
    s->g = NULL;
    if (g->marked == s) {
        g->marked = NULL;
        load_marks_free(&g->marks);
    }
    if (!g->n) {
        problem(l, g, NULL);
        g->since = g->since_wall = 0;
        g->failed = false;
    }
    dirty(l, g);
}

/* Files that stand for themselves wait for nobody once it is clear what they are. */
static void settle(struct loader *l, struct sfile *s)
{
    if (s->g && s->rule >= 0 && rule_of(l, s->rule)->by == LOAD_BY_EACH && s->state != F_READY &&
        s->state != F_GROWING && s->state != F_CHECKING)
        detach(l, s);
}

void gather_news(struct loader *l, struct gather *g)
{
    if (g->failed)
        for (struct sfile *s = g->first; s; s = s->next)
            if (s->state == F_FAILED) {
                done_remove(l, s->path);
                file_set(s, F_READY, NULL);
            }
    g->failed = false;
    if (!g->since) {
        g->since = l->started ? l->mono : 1; /* the first tick knows the time */
        if (!g->since_wall) {
            const struct loader_rule *r = g->rule >= 0 ? rule_of(l, g->rule) : NULL;
            g->since_wall = l->wall;
            if (r && r->by != LOAD_BY_EACH && r->gather_timeout)
                store_gather(l, g);
        }
    }
    g->last = l->mono;
    dirty(l, g);
}

/* ---- files ---- */

void file_set(struct sfile *s, enum fstate state, char *why)
{
    s->state = state;
    text_set(&s->why, why);
}

static bool same(const struct sfile *s, uint64_t size, int64_t mtime)
{
    return s->size == size && s->mtime == mtime;
}

/* Which rule and recipe; false: none (why is set). */
static bool classify(struct loader *l, struct sfile *s)
{
    struct load_named named = {0};
    char text[100];
    const char *wrong = NULL;
    s->rule = s->pattern = -1;
    s->marker = false;
    for (unsigned i = 0; i < (l->c.nrules ? l->c.nrules : 1) && s->rule < 0; i++) {
        const struct loader_rule *r = rule_of(l, (int)i);
        if ((r->by == LOAD_BY_TRIGGER || r->by == LOAD_BY_MANIFEST) && r->marker &&
            load_name_marker(r->marker, s->name, &named))
            s->marker = true;
        else if (r->by == LOAD_BY_COUNT ? !load_name_counted(r->match, s->name, &named)
                                        : !load_name_match(r->match, s->name, &named))
            continue;
        s->rule = (int)i;
        if (s->marker && !named.has_key) /* of a suffix: its stem is the {batch} of the files */
            named.has_key = strstr(r->match, "{batch}") != NULL;
        if (r->by == LOAD_BY_COUNT)
            wrong = load_part_error(&named, text);
        if (r->by == LOAD_BY_EACH)
            named.key[0] = 0;
        else if (r->by != LOAD_BY_COUNT && !named.has_key && !s->marker)
            named.key[0] = 0; /* which marker it belongs to is seen when one comes */
    }
    s->part = named.part;
    s->parts = named.parts;
    s->has_key = named.has_key;
    text_set(&s->key, text_of("%s", named.key));
    json_t *text8 = json_string(s->name); /* manifest, tasks and tables hold it as such */
    bool utf8 = text8 != NULL;
    json_decref(text8);
    for (unsigned i = 0; i < l->c.nfiles && s->pattern < 0 && !s->marker; i++)
        if (load_name_match(l->c.file[i].match, s->name, NULL))
            s->pattern = (int)i;
    if (!utf8)
        file_set(s, F_UNMATCHED, text_of("its name is not UTF-8: deliver it by another one"));
    else if (s->rule < 0)
        file_set(s, F_UNMATCHED, text_of("no entry of load.batches matches its name"));
    else if (wrong)
        file_set(s, F_UNMATCHED, text_of("%s", wrong));
    else if (s->pattern < 0 && !s->marker)
        file_set(s, F_UNMATCHED, text_of("no entry of load.files matches its name"));
    else
        return true;
    return false;
}

static struct gather *gather_of(struct loader *l, const struct sfile *s)
{
    char id[LOAD_KEY_MAX + 200];
    /* markers without {batch} apart from the pool of files that wait for one */
    snprintf(id, sizeof id, "%u\t%s\t%s%s", s->directory, rule_of(l, s->rule)->name,
             s->marker && !s->has_key ? "=" : "", s->key);
    return gather_get(l, id, true);
}

static void remember(struct loader *l, const char *path, uint64_t size, int64_t mtime,
                     const char *hash, const struct lbatch *b, bool failed, const char *why)
{
    struct ldone *d = calloc(1, sizeof *d);
    pst_must(d);
    *d = (struct ldone){.path = text_of("%s", path),
                        .size = size,
                        .mtime = mtime,
                        .batch = b ? b->id : 0,
                        .at = l->wall,
                        .failed = failed,
                        .why = why ? text_of("%s", why) : NULL};
    snprintf(d->hash, sizeof d->hash, "%s", hash);
    done_put(l, d);
}

static void finish_one(struct loader *l, const struct lbatch *b, const struct bfile *f);
static bool read_marks(struct loader *l, struct gather *g, struct sfile *marker);

/* Other content than what was loaded under that name. */
static void other_content(struct loader *l, struct sfile *s, const struct ldone *d)
{
    if (rule_of(l, s->rule)->supersede) {
        file_set(s, F_READY, NULL);
        gather_news(l, s->g);
        return;
    }
    char *why = text_of("a file of this name with other content was loaded by batch %llu; a "
                        "correction needs `supersede`",
                        (unsigned long long)d->batch);
    file_reason(l, s->path, why);
    alarm_set(l, LOADER_ALARM_QUARANTINE, s->path, why);
    file_set(s, F_REFUSED, why);
    l->f.refused++;
    dirty(l, s->g);
}

static void redelivered(struct loader *l, struct sfile *s)
{
    file_set(s, s->old ? F_LOADED : F_SAME, NULL); /* old: it lies there from before the start */
    l->f.redelivered += !s->old;
    if (l->c.finished != LOADER_KEEP && !rule_of(l, s->rule)->supersede) {
        /* a correction of it would need the other parts: those that are corrected stay */
        const struct bfile f = {
            .path = s->path, .name = s->name, .size = s->size, .mtime = s->mtime, .ino = s->ino};
        const struct ldone *d = done_get(l, s->path);
        struct lbatch b = {.id = d ? d->batch : 0};
        finish_one(l, &b, &f);
    }
    dirty(l, s->g);
}

void file_checked(struct loader *l, struct ltask *t, bool ok, const char *hash, const char *why)
{
    struct sfile *s = t->check;
    t->check = NULL;
    if (!s)
        return;
    s->check = NULL;
    struct ldone *d = done_get(l, s->path);
    if (!ok) {
        char *text = text_of("cannot be read: %s", why);
        file_reason(l, s->path, text);
        alarm_set(l, LOADER_ALARM_QUARANTINE, s->path, text);
        file_set(s, F_QUARANTINED, text);
        l->f.quarantined++;
    } else if (!d || d->failed) {
        file_set(s, F_READY, NULL);
        gather_news(l, s->g);
    } else if (!strcmp(d->hash, hash)) {
        d->mtime = s->mtime;
        store_done(l, d);
        redelivered(l, s);
    } else
        other_content(l, s, d);
    settle(l, s);
}

/* All files of a batch that failed gather again. */
static void revive(struct loader *l, uint64_t batch)
{
    for (uint64_t i = 0; batch && i <= l->files.mask; i++) {
        struct sfile *s = l->files.slot[i].value;
        const struct ldone *d = s && s->state == F_FAILED ? done_get(l, s->path) : NULL;
        if (!d || d->batch != batch)
            continue;
        done_remove(l, s->path);
        file_set(s, F_READY, NULL);
        if (s->g) {
            s->g->failed = false;
            gather_news(l, s->g);
        }
    }
}

/* Markers and their files lie in different gathers: a file that a failed batch lacked, or that was
 * the bad one in it, brings the whole batch back. */
static void revive_marked(struct loader *l, const struct sfile *s, uint64_t batch)
{
    const struct loader_rule *r = rule_of(l, s->rule);
    if (r->by != LOAD_BY_TRIGGER && r->by != LOAD_BY_MANIFEST)
        return;
    revive(l, batch);
    for (struct gather *g = l->all_gathers; g && !s->marker; g = g->next) {
        struct sfile *m =
            g->rule == s->rule && g->directory == s->directory && g->failed ? g->first : NULL;
        while (m && !(m->marker && m->state == F_FAILED))
            m = m->next;
        if (!m)
            continue;
        struct load_named key = {.has_key = m->has_key}, file = {.has_key = s->has_key};
        snprintf(key.key, sizeof key.key, "%s", m->key);
        snprintf(file.key, sizeof file.key, "%s", s->key);
        bool covers = r->by == LOAD_BY_TRIGGER && load_marker_covers(&key, s->name, &file);
        for (unsigned i = 0; r->by == LOAD_BY_MANIFEST && read_marks(l, g, m) && i < g->marks.n;
             i++)
            covers |= !strcmp(g->marks.file[i].name, s->name);
        const struct ldone *d = covers ? done_get(l, m->path) : NULL;
        if (d)
            revive(l, d->batch);
    }
}

/* A complete file that no batch has: what is to be done with it? */
static void consider_it(struct loader *l, struct sfile *s)
{
    if (!classify(l, s))
        return;
    const struct ldone *d = done_get(l, s->path);
    if (s->old && l->c.newly_only && !d) {
        file_set(s, F_OLD, text_of("it was there when the loader started (load.newly_only)"));
        return;
    }
    if (!s->g)
        attach(l, gather_of(l, s), s);
    if (d && d->failed && same(s, d->size, d->mtime)) {
        file_set(s, d->why ? F_QUARANTINED : F_FAILED,
                 text_of("%s", d->why ? d->why : "its batch failed"));
        s->g->failed |= rule_of(l, s->rule)->by != LOAD_BY_EACH;
        if (d->why)
            alarm_set(l, LOADER_ALARM_QUARANTINE, s->path, d->why);
        return;
    }
    uint64_t batch = 0;
    if (d && d->failed) {
        alarm_clear(l, LOADER_ALARM_QUARANTINE, s->path);
        batch = d->batch;
        done_remove(l, s->path);
        d = NULL;
    }
    if (!d || d->marker) {
        if (d && same(s, d->size, d->mtime)) {
            file_set(s, F_SAME, NULL);
            return;
        }
        file_set(s, F_READY, NULL);
        gather_news(l, s->g);
        revive_marked(l, s, batch);
    } else if (same(s, d->size, d->mtime))
        redelivered(l, s);
    else if (s->size != d->size)
        other_content(l, s, d);
    else {
        file_set(s, F_CHECKING, NULL);
        struct ltask *t = task_add(l, T_HASH, NULL, file_estimate(l, s->name, s->size, -1),
                                   text_of("%s", s->path));
        t->check = s;
        s->check = t;
        task_queue(l, t);
    }
}

static void consider(struct loader *l, struct sfile *s)
{
    consider_it(l, s);
    settle(l, s);
}

static void forget(struct loader *l, struct sfile *s)
{
    if (s->check) {
        s->check->check = NULL;
        s->check = NULL;
    }
    struct bfile *f = lmap_get(&l->batched, s->path);
    if (f && f->s == s)
        f->s = NULL;
    if ((s->state == F_QUARANTINED || s->state == F_REFUSED) && !l->c.quarantine_directory)
        alarm_clear(l, LOADER_ALARM_QUARANTINE, s->path);
    detach(l, s);
    lmap_remove(&l->files, s->path);
    free(s->path);
    free(s->key);
    free(s->why);
    free(s);
}

void loader_file(struct loader *l, const struct load_watch_event *e)
{
    if (e->directory >= l->c.nstaging || load_name_ignored(e->name))
        return;
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", l->c.staging[e->directory], e->name);
    struct sfile *s = lmap_get(&l->files, path);
    if (e->kind == LOAD_GONE) {
        if (s)
            forget(l, s);
        return;
    }
    if (!s) {
        s = calloc(1, sizeof *s);
        pst_must(s);
        s->path = text_of("%s", path);
        s->name = strrchr(s->path, '/') + 1;
        s->directory = e->directory;
        s->rule = s->pattern = -1;
        s->seen = l->wall;
        s->old = e->old;
        lmap_put(&l->files, s->path, s);
        l->f.files++;
        struct bfile *f = lmap_get(&l->batched, path);
        if (f) {
            f->s = s;
            s->batch = f->batch;
            file_set(s, F_BATCHED, NULL);
        }
    }
    if (e->kind == LOAD_REFUSED) {
        if (s->state != F_BATCHED) {
            detach(l, s);
            file_set(s, F_UNMATCHED, text_of("%s", e->why ? e->why : "not a regular file"));
        }
        return;
    }
    bool changed = !same(s, e->size, e->mtime) || s->ino != e->ino || s->dev != e->dev;
    s->size = e->size;
    s->mtime = e->mtime;
    s->ino = e->ino;
    s->dev = e->dev;
    if (e->kind == LOAD_SEEN) {
        s->growing = true;
        if (s->state == F_BATCHED)
            return;
        if (s->check) {
            s->check->check = NULL;
            s->check = NULL;
        }
        if (!s->g && classify(l, s) && !(s->old && l->c.newly_only)) {
            attach(l, gather_of(l, s), s); /* a batch waits for it */
            if (!s->g->since)
                gather_news(l, s->g);
        }
        file_set(s, F_GROWING, NULL);
        dirty(l, s->g);
        return;
    }
    bool was = s->growing || s->state == F_GROWING;
    s->growing = false;
    if (s->state == F_BATCHED) {
        struct bfile *f = lmap_get(&l->batched, path);
        if (f && changed && f->state == B_QUEUED) { /* not read: what counts is what is there now */
            f->size = e->size;
            f->mtime = e->mtime;
            f->ino = e->ino;
            f->dev = e->dev;
        }
        return; /* read already: a delivery of its own, looked at when the batch is over */
    }
    if (!changed && !was && s->state != F_GROWING)
        return;
    if (changed && (s->state == F_QUARANTINED || s->state == F_REFUSED))
        alarm_clear(l, LOADER_ALARM_QUARANTINE, s->path);
    if (s->check) {
        s->check->check = NULL;
        s->check = NULL;
    }
    if (s->marker && s->g && s->g->marked == s) {
        s->g->marked = NULL;
        load_marks_free(&s->g->marks);
    }
    consider(l, s);
    l->wake = true;
}

void loader_staging(struct loader *l, unsigned directory, bool ok, const char *why)
{
    if (directory >= l->c.nstaging)
        return;
    if (ok)
        alarm_clear(l, LOADER_ALARM_STAGING, l->c.staging[directory]);
    else
        alarm_set(l, LOADER_ALARM_STAGING, l->c.staging[directory], why);
}

/* ---- release ---- */

static int by_part(const void *a, const void *b)
{
    const struct sfile *x = *(struct sfile *const *)a, *y = *(struct sfile *const *)b;
    if (x->marker != y->marker)
        return x->marker ? 1 : -1;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return strcmp(x->path, y->path);
}

void files_batched(struct loader *l, struct lbatch *b, bool on)
{
    for (unsigned k = 0; k < b->nfiles; k++)
        if (on)
            lmap_put(&l->batched, b->file[k].path, &b->file[k]);
        else if (lmap_get(&l->batched, b->file[k].path) == &b->file[k])
            lmap_remove(&l->batched, b->file[k].path);
}

bool files_failed(const struct loader *l, const struct lbatch *b)
{
    for (unsigned i = 0; i < b->nfiles; i++) {
        const struct ldone *d = done_get(l, b->file[i].path);
        if (d && d->failed && d->batch == b->id)
            return true;
    }
    return false;
}

struct lbatch *files_release(struct loader *l, struct gather *g, struct sfile **list, unsigned n,
                             const char *name)
{
    const struct loader_rule *r = rule_of(l, g->rule);
    struct lbatch *b = batch_add(l, l->next_batch);
    b->name = text_of("%s", name);
    b->gather = text_of("%s", g->id);
    b->rule = g->rule;
    b->by = r->by;
    b->partial = r->partial || r->by == LOAD_BY_EACH;
    b->supersede = r->supersede;
    b->priority = r->priority;
    b->at = l->wall;
    if (l->h.deadline)
        b->deadline =
            l->h.deadline(l->h.arg, (unsigned)g->rule, g->since_wall ? g->since_wall : l->wall);
    qsort(list, n, sizeof *list, by_part);
    for (unsigned i = 0; i < n; i++) {
        struct sfile *s = list[i];
        struct bfile *f = batch_file_add(b, s->path);
        f->size = s->size;
        f->mtime = s->mtime;
        f->ino = s->ino;
        f->dev = s->dev;
        f->part = s->part;
        f->parts = s->parts;
        f->pattern = s->pattern;
        f->s = s;
        if (s->marker) {
            f->state = B_MARKER;
            b->nmarkers++;
        } else
            b->bytes += s->size;
        for (unsigned m = 0; m < g->marks.n && r->by == LOAD_BY_MANIFEST && n < 64; m++)
            if (!s->marker && !strcmp(g->marks.file[m].name, s->name) && g->marks.file[m].digest)
                f->digest = text_of("%s", g->marks.file[m].digest);
    }
    if (r->by == LOAD_BY_MANIFEST && n >= 64) { /* many: by a map */
        struct lmap names = {0};
        for (unsigned m = 0; m < g->marks.n; m++)
            lmap_put(&names, g->marks.file[m].name, &g->marks.file[m]);
        for (unsigned i = 0; i < n; i++) {
            const struct load_marked *m = lmap_get(&names, b->file[i].name);
            if (m && m->digest && b->file[i].state != B_MARKER)
                b->file[i].digest = text_of("%s", m->digest);
        }
        lmap_free(&names);
    }
    for (unsigned i = 0; i < n; i++) {
        struct sfile *s = list[i];
        detach(l, s);
        s->batch = b;
        file_set(s, F_BATCHED, NULL);
    }
    problem(l, g, NULL);
    for (const struct lbatch *x = l->first; x; x = x->next)
        if (x->state == L_FAILED && x->gather && !strcmp(x->gather, g->id) && !files_failed(l, x)) {
            char subject[32];
            snprintf(subject, sizeof subject, "%llu", (unsigned long long)x->id);
            alarm_clear(l, LOADER_ALARM_BATCH, subject);
        }
    g->since = g->since_wall = 0;
    files_batched(l, b, true);
    store_batch(l, b);
    for (unsigned k = 0; k < n; k++)
        if (b->file[k].state == B_QUEUED)
            batch_queue_read(l, b, k);
    l->f.batches++;
    l->nactive++;
    loader_log(l, "batch %llu (%s): %u file%s, %.*f %s", (unsigned long long)b->id, b->name,
               n - b->nmarkers, n - b->nmarkers == 1 ? "" : "s", b->bytes < 1000000 ? 0 : 1,
               b->bytes < 1000000 ? (double)b->bytes : (double)b->bytes / 1e6,
               b->bytes < 1000000 ? "bytes" : "MB");
    return b;
}

/* The files that are to be loaded: the new ones; of a correction, all. */
static void release(struct loader *l, struct gather *g, struct sfile **list, unsigned n,
                    const char *name)
{
    unsigned ready = 0;
    for (unsigned i = 0; i < n; i++)
        ready += list[i]->state == F_READY && !list[i]->marker;
    if (!ready) {
        /* nothing new: the marker of such a batch has done its work */
        for (unsigned i = 0; i < n; i++)
            if (list[i]->marker && list[i]->state == F_READY) {
                remember(l, list[i]->path, list[i]->size, list[i]->mtime, "", NULL, false, NULL);
                done_get(l, list[i]->path)->marker = true;
                store_done(l, done_get(l, list[i]->path));
                file_set(list[i], F_SAME, NULL);
            }
        problem(l, g, NULL);
        g->since = g->since_wall = 0;
        return;
    }
    bool all = rule_of(l, g->rule)->supersede && rule_of(l, g->rule)->by != LOAD_BY_EACH;
    unsigned out = 0;
    for (unsigned i = 0; i < n; i++)
        if (list[i]->state == F_READY || (all && !list[i]->marker))
            list[out++] = list[i];
    files_release(l, g, list, out, name);
}

static bool usable(const struct sfile *s)
{
    return s && (s->state == F_READY || s->state == F_SAME || s->state == F_LOADED);
}

static struct sfile **members(const struct gather *g, unsigned *n, bool *waits)
{
    struct sfile **list = malloc((g->n + 1) * sizeof *list);
    pst_must(list);
    *n = 0;
    *waits = false;
    for (struct sfile *s = g->first; s; s = s->next) {
        *waits |= s->state == F_GROWING || s->state == F_CHECKING;
        if (usable(s))
            list[(*n)++] = s;
    }
    return list;
}

static void check_count(struct loader *l, struct gather *g)
{
    unsigned n, have = 0;
    bool waits, news = false;
    struct sfile **list = members(g, &n, &waits);
    char text[LOADER_WHY];
    uint32_t parts = n ? list[0]->parts : 0;
    uint8_t *there = calloc(parts / 8 + 1, 1);
    pst_must(there);
    const char *wrong = NULL;
    for (unsigned i = 0; i < n && !wrong; i++) {
        struct sfile *s = list[i];
        news |= s->state == F_READY;
        if (s->parts != parts) {
            snprintf(text, sizeof text, "its parts disagree on their number: %.120s and %.120s",
                     list[0]->name, s->name);
            wrong = text;
        } else if (there[s->part / 8] >> s->part % 8 & 1) {
            unsigned k = 0;
            while (list[k]->part != s->part)
                k++;
            snprintf(text, sizeof text, "part %u is there twice: %.120s and %.120s", s->part,
                     list[k]->name, s->name);
            wrong = text;
        } else {
            there[s->part / 8] |= (uint8_t)(1u << s->part % 8);
            have++;
        }
    }
    if (!wrong && news && have < parts && g->loaded && have + g->loaded >= parts)
        for (uint64_t i = 0; i <= l->done.mask; i++) { /* the other parts were loaded earlier */
            const struct ldone *d = l->done.slot[i].value;
            if (d && !d->failed && d->gather && d->parts == parts && d->part <= parts &&
                !strcmp(d->gather, g->id) && !(there[d->part / 8] >> d->part % 8 & 1)) {
                there[d->part / 8] |= (uint8_t)(1u << d->part % 8);
                have += !rule_of(l, g->rule)->supersede; /* a correction is whole */
            }
        }
    problem(l, g, wrong);
    if (!wrong && news && !waits && have == parts)
        release(l, g, list, n, g->key);
    free(there);
    free(list);
}

static bool read_marks(struct loader *l, struct gather *g, struct sfile *marker)
{
    if (g->marked == marker)
        return g->marks.n != 0;
    load_marks_free(&g->marks);
    g->marked = marker;
    struct err err = {0};
    char text[LOADER_WHY];
    struct io_stat st;
    int fd = l->io->ops->open(l->io, marker->path, O_RDONLY | O_NOFOLLOW, 0);
    int r = fd < 0 ? fd : l->io->ops->fstat(l->io, fd, &st);
    char *bytes = NULL;
    l->f.io_calls += 3;
    if (r >= 0 && st.size > LOAD_MARKER_BYTES)
        r = -EFBIG;
    if (r >= 0) {
        bytes = malloc(st.size + 1);
        r = bytes ? io_pread_all(l->io, fd, bytes, st.size, 0) : -ENOMEM;
    }
    if (fd >= 0)
        l->io->ops->close(l->io, fd);
    if (r < 0)
        err_set(&err, r, "cannot be read: %s", strerror(-r));
    bool ok = r >= 0 && load_marks_parse(&g->marks, bytes, st.size, &err);
    free(bytes);
    if (!ok) {
        snprintf(text, sizeof text, "manifest %.120s: %.250s", marker->name, err.text);
        problem(l, g, text);
    }
    return ok;
}

static struct sfile *beside(const struct loader *l, unsigned directory, const char *name)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", l->c.staging[directory], name);
    return lmap_get(&l->files, path);
}

/* A manifest that came after the batch in which this file was bad says that it is right now. */
static void forgive(struct loader *l, struct sfile *s)
{
    const struct ldone *d = done_get(l, s->path);
    if ((s->state != F_QUARANTINED && s->state != F_FAILED) || !d || !d->failed)
        return;
    alarm_clear(l, LOADER_ALARM_QUARANTINE, s->path);
    done_remove(l, s->path);
    file_set(s, F_READY, NULL);
    if (s->g)
        s->g->failed = false;
}

static void check_manifest(struct loader *l, struct gather *g, struct sfile *marker)
{
    if (!read_marks(l, g, marker))
        return;
    struct sfile **list = malloc((g->marks.n + 1) * sizeof *list);
    pst_must(list);
    unsigned n = 0, missing = 0;
    char text[LOADER_WHY], waits[LOADER_WHY] = "";
    bool wrong = false;
    for (unsigned i = 0; i < g->marks.n; i++) {
        const struct load_marked *m = &g->marks.file[i];
        struct sfile *s = beside(l, g->directory, m->name);
        if (s && s->rule == g->rule && !s->marker)
            forgive(l, s);
        if (usable(s) && m->size != UINT64_MAX && m->size != s->size) {
            snprintf(text, sizeof text, "%.120s has %llu bytes, its manifest says %llu", s->name,
                     (unsigned long long)s->size, (unsigned long long)m->size);
            wrong = true;
        } else if (usable(s) && s->rule == g->rule && !s->marker)
            list[n++] = s;
        else {
            if (!missing++)
                snprintf(waits, sizeof waits, "%.120s is %s", m->name,
                         !s                      ? "not there"
                         : s->state == F_REFUSED ? "refused"
                                                 : "not complete yet");
            if (s && s->state == F_UNMATCHED) {
                snprintf(text, sizeof text, "%.120s, which the manifest names, is not loadable: %s",
                         m->name, s->why);
                wrong = true;
            } else if (usable(s)) {
                snprintf(
                    text, sizeof text,
                    "%.120s, which the manifest names, belongs to another rule of load.batches",
                    m->name);
                wrong = true;
            }
        }
    }
    problem(l, g, wrong ? text : NULL);
    text_set(&g->waits,
             missing ? text_of("%u of %u files of its manifest are there; %s", n, g->marks.n, waits)
                     : NULL);
    if (!wrong && !missing) {
        list[n++] = marker;
        struct load_named named = {0};
        const char *name = *g->key == '=' ? g->key + 1 : g->key;
        (void)named;
        release(l, g, list, n, *name ? name : marker->name);
    }
    free(list);
}

static void check_trigger(struct loader *l, struct gather *g, struct sfile *marker)
{
    char id[LOAD_KEY_MAX + 200];
    struct load_named key = {0}, file = {0};
    unsigned n = 0, room = 0;
    struct sfile **list = NULL;
    bool waits = false;
    snprintf(key.key, sizeof key.key, "%s", marker->key);
    struct gather *pool = g;
    if (!marker->has_key) {
        snprintf(id, sizeof id, "%u\t%s\t", g->directory, rule_of(l, g->rule)->name);
        pool = gather_get(l, id, false);
    }
    struct sfile *exact = *key.key ? beside(l, g->directory, key.key) : NULL;
    if (!marker->has_key && exact && exact->rule == g->rule && !exact->marker &&
        exact->state != F_UNMATCHED) {
        waits = !usable(exact);
        list = room_for(list, n, &room, sizeof *list);
        list[n++] = exact;
    } else
        for (struct sfile *s = pool ? pool->first : NULL; s; s = s->next) {
            if (s->marker)
                continue;
            if (!marker->has_key && !load_marker_covers(&key, s->name, &file))
                continue;
            waits |= s->state == F_GROWING || s->state == F_CHECKING;
            if (!usable(s))
                continue;
            list = room_for(list, n, &room, sizeof *list);
            list[n++] = s;
        }
    text_set(&g->waits, n ? NULL : text_of("its trigger is there, none of its files is"));
    if (n && !waits) {
        list = room_for(list, n, &room, sizeof *list);
        list[n++] = marker;
        release(l, g, list, n, *marker->key ? marker->key : rule_of(l, g->rule)->name);
    }
    free(list);
}

static void check_each(struct loader *l, struct gather *g)
{
    for (const struct lbatch *b = l->first; b; b = b->next)
        if (b->state == L_READING && b->gather && !strcmp(b->gather, g->id))
            return; /* looked at again when it is read */
    unsigned n;
    bool waits;
    struct sfile **list = members(g, &n, &waits);
    unsigned ready = 0;
    for (unsigned i = 0; i < n; i++)
        if (list[i]->state == F_READY && ready < LOADER_EACH)
            list[ready++] = list[i];
    if (ready && (l->mono - g->last >= EACH_SETTLE || l->mono - g->since >= EACH_LONGEST ||
                  ready >= LOADER_EACH)) {
        char name[LOAD_NAME_MAX + 20];
        int at = snprintf(name, sizeof name, "%.250s", list[0]->name);
        if (ready > 1)
            snprintf(name + at, sizeof name - (size_t)at, " +%u", ready - 1);
        release(l, g, list, ready, name);
        dirty(l, g);
    } else if (ready) { /* looked at again then, not before */
        bool wake = l->wake;
        dirty(l, g);
        l->wake = wake;
        if (g->last + EACH_SETTLE < l->next_due)
            l->next_due = g->last + EACH_SETTLE;
    }
    free(list);
}

static void check(struct loader *l, struct gather *g)
{
    if (g->rule < 0 || g->failed || !g->n)
        return;
    struct sfile *marker = NULL;
    const struct loader_rule *r = rule_of(l, g->rule);
    if (r->by == LOAD_BY_EACH)
        check_each(l, g);
    else if (r->by == LOAD_BY_COUNT)
        check_count(l, g);
    else {
        for (struct sfile *s = g->first; s; s = s->next)
            if (s->marker && s->state == F_READY)
                marker = s;
        if (marker && r->by == LOAD_BY_TRIGGER)
            check_trigger(l, g, marker);
        else if (marker)
            check_manifest(l, g, marker);
    }
}

/* Markers without {batch} look at files of other gathers: news there is news for them. */
static void dirty_markers(struct loader *l, const struct gather *g)
{
    const struct loader_rule *r = g->rule >= 0 ? rule_of(l, g->rule) : NULL;
    if (!r || (r->by != LOAD_BY_TRIGGER && r->by != LOAD_BY_MANIFEST) || *g->key == '=' ||
        (r->by == LOAD_BY_TRIGGER && strstr(r->marker, "{batch}")))
        return;
    for (struct gather *m = l->all_gathers; m; m = m->next)
        if (m->rule == g->rule && m->directory == g->directory && m->n &&
            (*m->key == '=' || r->by == LOAD_BY_MANIFEST))
            dirty(l, m);
}

void files_tick(struct loader *l)
{
    for (struct gather *g = l->dirty; g; g = g->next_dirty)
        dirty_markers(l, g);
    struct gather *list = l->dirty, *next;
    l->dirty = NULL;
    for (struct gather *g = list; g; g = g->next_dirty)
        g->dirty = false;
    /* a check may make any of them dirty again, which changes next_dirty: copy first */
    unsigned n = 0, room = 0;
    struct gather **all = NULL;
    for (struct gather *g = list; g; g = next) {
        next = g->next_dirty;
        all = room_for(all, n, &room, sizeof *all);
        all[n++] = g;
    }
    for (unsigned i = 0; i < n; i++)
        check(l, all[i]);
    for (unsigned i = 0; i < n; i++)
        gather_drop(l, all[i]);
    free(all);
}

/* ---- what does not come ---- */

static void missing_text(const struct gather *g, const struct loader_rule *r, char *text,
                         size_t cap)
{
    unsigned n;
    bool waits;
    struct sfile **list = members(g, &n, &waits);
    int at = snprintf(text, cap,
                      "not complete within %lld s: ", (long long)(r->gather_timeout / NS_PER_S));
    if (g->problem)
        snprintf(text + at, cap - (size_t)at, "%s", g->problem);
    else if (waits)
        snprintf(text + at, cap - (size_t)at, "a file is still being written");
    else if (r->by == LOAD_BY_COUNT && n) {
        uint32_t parts = list[0]->parts;
        uint8_t *there = calloc(parts / 8 + 1, 1);
        pst_must(there);
        for (unsigned i = 0; i < n; i++)
            if (list[i]->part <= parts)
                there[list[i]->part / 8] |= (uint8_t)(1u << list[i]->part % 8);
        unsigned shown = 0;
        at += snprintf(text + at, cap - (size_t)at, "of %u parts there %s missing", parts,
                       parts - n == 1 ? "is" : "are");
        for (uint32_t i = 1; i <= parts && shown < 10; i++)
            if (!(there[i / 8] >> i % 8 & 1))
                at += snprintf(text + at, cap - (size_t)at, "%s %u", shown++ ? "," : "", i);
        if (parts - n > 10)
            snprintf(text + at, cap - (size_t)at, " …");
        free(there);
    } else
        snprintf(text + at, cap - (size_t)at, "%s",
                 r->by == LOAD_BY_MANIFEST ? "files that its manifest names are missing"
                                           : "no file for its trigger");
    free(list);
}

static void give_up(struct loader *l, struct gather *g, const struct loader_rule *r)
{
    char why[LOADER_WHY];
    bool marker = false;
    for (struct sfile *s = g->first; s; s = s->next)
        marker |= s->marker && s->state == F_READY;
    if (r->by != LOAD_BY_COUNT && !marker) { /* files without a marker may wait: we only say so */
        snprintf(why, sizeof why, "%u file%s in %s wait%s for a %s since %lld s", g->n,
                 g->n == 1 ? "" : "s", l->c.staging[g->directory], g->n == 1 ? "s" : "",
                 r->by == LOAD_BY_TRIGGER ? "trigger" : "manifest",
                 (long long)(r->gather_timeout / NS_PER_S));
        problem(l, g, why);
        return;
    }
    missing_text(g, r, why, sizeof why);
    struct sfile **list = malloc(g->n * sizeof *list);
    pst_must(list);
    unsigned n = 0;
    for (struct sfile *s = g->first; s; s = s->next)
        if (s->state == F_READY || s->state == F_GROWING || s->state == F_CHECKING)
            list[n++] = s;
    if (n) {
        struct lbatch *b = files_release(l, g, list, n, *g->key == '=' ? g->key + 1 : g->key);
        batch_fail(l, b, L_FAILED, why);
    }
    free(list);
}

void files_house(struct loader *l)
{
    struct gather *next;
    for (struct gather *g = l->all_gathers; g; g = next) {
        next = g->next;
        const struct loader_rule *r = g->rule >= 0 ? rule_of(l, g->rule) : NULL;
        if (!g->since && g->since_wall && l->mono - l->started_at > 60 * NS_PER_S) {
            g->since_wall = 0; /* of an earlier start; its files are gone */
            gather_drop(l, g);
            continue;
        }
        if (!r || r->by == LOAD_BY_EACH || !r->gather_timeout || !g->since || !g->n || g->failed ||
            l->mono - g->since < r->gather_timeout)
            continue;
        bool news = false;
        for (struct sfile *s = g->first; s && !news; s = s->next)
            news = s->state == F_READY || s->state == F_GROWING;
        if (news)
            give_up(l, g, r);
        else
            g->since = g->since_wall = 0;
    }
}

/* ---- the end of a batch ---- */

bool file_stat(struct loader *l, const char *path, struct io_stat *s)
{
    l->f.io_calls++;
    return l->io->ops->stat(l->io, path, s) == 0;
}

/* Beside the file, in a directory that others write to: a link of that name must not be followed.
 */
static int write_beside(struct loader *l, const char *path, const void *bytes, size_t n)
{
    l->f.io_calls += 4;
    l->io->ops->unlink(l->io, path);
    int fd = l->io->ops->open(l->io, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0640);
    if (fd < 0)
        return fd;
    int r = io_pwrite_all(l->io, fd, bytes, n, 0);
    l->io->ops->close(l->io, fd);
    return r;
}

void file_reason(struct loader *l, const char *path, const char *why)
{
    char reason[1300], text[LOADER_WHY + 300];
    snprintf(reason, sizeof reason, "%s.reason", path);
    const char *name = strrchr(path, '/');
    int n = snprintf(text, sizeof text, "%.250s: %s\n", name ? name + 1 : path, why);
    int r = write_beside(l, reason, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    if (r < 0)
        loader_log(l, "%s cannot be written: %s", reason, strerror(-r));
}

void file_rejects(struct loader *l, const struct bfile *f, const char *dir, uint64_t batch,
                  char *where)
{
    char from[1300], to[1400];
    struct io_stat st;
    if (where)
        *where = 0;
    snprintf(from, sizeof from, "%s/rejects", dir);
    int fd = l->io->ops->open(l->io, from, O_RDONLY | O_NOFOLLOW, 0); /* a worker's: hostile */
    l->f.io_calls += 3;
    if (fd < 0)
        return;
    int r = l->io->ops->fstat(l->io, fd, &st);
    char *bytes = r >= 0 && st.size < 64u << 20 ? malloc(st.size + 1) : NULL;
    if (bytes && st.size && io_pread_all(l->io, fd, bytes, st.size, 0) == 0) {
        if (l->c.rejects_directory)
            snprintf(to, sizeof to, "%s/%s.%llu.rejects", l->c.rejects_directory, f->name,
                     (unsigned long long)batch);
        else
            snprintf(to, sizeof to, "%s.rejects", f->path);
        r = write_beside(l, to, bytes, st.size);
        if (r < 0)
            loader_log(l, "%s cannot be written: %s", to, strerror(-r));
        else if (where)
            memcpy(where, to, sizeof to);
    }
    free(bytes);
    l->io->ops->close(l->io, fd);
}

/* To another directory; a file of that name there is not replaced. */
static int move_to(struct loader *l, const char *path, const char *name, const char *directory,
                   const struct lbatch *b)
{
    char to[1400];
    struct io_stat st;
    snprintf(to, sizeof to, "%s/%s", directory, name);
    if (file_stat(l, to, &st))
        snprintf(to, sizeof to, "%s/%s.%llu", directory, name, (unsigned long long)b->id);
    l->f.io_calls++;
    return l->io->ops->rename(l->io, path, to);
}

bool file_unchanged(struct loader *l, const struct bfile *f)
{
    struct io_stat st;
    /* a splayed table's size and time are those of its files */
    return file_stat(l, f->path, &st) && st.ino == f->ino &&
           (st.directory || (st.size == f->size && st.modified == f->mtime));
}

static int delete (struct loader *l, const struct bfile *f, const struct lbatch *b)
{
    char gone[1400];
    int r = l->io->ops->unlink(l->io, f->path);
    if (r != -EISDIR && r != -EPERM)
        return r;
    /* a splayed table: out of sight first, then piece by piece */
    snprintf(gone, sizeof gone, "%.*s.%s.%llu.gone", (int)(f->name - f->path), f->path, f->name,
             (unsigned long long)b->id);
    r = l->io->ops->rename(l->io, f->path, gone);
    if (r == 0)
        trash_add(l, text_of("%s", gone));
    return r;
}

static void finish_one(struct loader *l, const struct lbatch *b, const struct bfile *f)
{
    char reason[1300];
    struct io *io = l->io;
    if (f->rejected && f->dir)
        file_rejects(l, f, f->dir, b->id, NULL);
    snprintf(reason, sizeof reason, "%s.reason", f->path);
    io->ops->unlink(io, reason);
    l->f.io_calls++;
    if (l->c.finished == LOADER_KEEP || b->by_hand || !file_unchanged(l, f))
        return;
    l->f.io_calls++;
    int r = l->c.finished == LOADER_DELETE
                ? delete (l, f, b)
                : move_to(l, f->path, f->name, l->c.finished_directory, b);
    if (r < 0 && (r != -ENOENT || file_unchanged(l, f))) {
        char text[500];
        snprintf(text, sizeof text, "%s is loaded, but cannot be %s: %s", f->path,
                 l->c.finished == LOADER_DELETE ? "deleted" : "moved", strerror(-r));
        alarm_set(l, LOADER_ALARM_FINISH, l->c.staging[0], text);
    } else
        alarm_clear(l, LOADER_ALARM_FINISH, l->c.staging[0]);
}

/* Its file in staging is free again. */
static void let_go(struct loader *l, struct lbatch *b, struct bfile *f, enum fstate state,
                   const char *why)
{
    if (lmap_get(&l->batched, f->path) == f)
        lmap_remove(&l->batched, f->path);
    struct sfile *s = f->s;
    f->s = NULL;
    if (!s)
        return;
    s->batch = NULL;
    (void)b;
    if (!same(s, f->size, f->mtime) || s->growing) { /* another delivery, meanwhile */
        file_set(s, F_GROWING, NULL);
        if (!s->growing)
            consider(l, s);
        l->wake = true;
        return;
    }
    file_set(s, state, why ? text_of("%s", why) : NULL);
    if (s->rule < 0)
        classify(l, s); /* of an earlier start */
    file_set(s, state, why ? text_of("%s", why) : NULL);
    if (s->rule >= 0 && !s->g)
        attach(l, gather_of(l, s), s);
    settle(l, s);
}

/* failed: of a batch that failed, or quarantined in one that did not. */
void files_remember(struct loader *l, const struct lbatch *b, const struct bfile *f, bool failed)
{
    remember(l, f->path, f->size, f->mtime, failed ? "" : f->hash, b, failed,
             f->state == B_BAD ? f->why : NULL);
    struct ldone *d = done_get(l, f->path);
    d->rows = f->rows;
    d->rejected = f->rejected;
    d->marker = f->state == B_MARKER;
    if (b->ended)
        d->at = b->ended;
    if (!failed && b->by == LOAD_BY_COUNT && b->gather) {
        d->gather = text_of("%s", b->gather);
        d->part = f->part;
        d->parts = f->parts;
        gather_get(l, d->gather, true)->loaded++;
    }
}

bool files_finish(struct loader *l, struct lbatch *b)
{
    for (unsigned i = 0; i < LOADER_SLICE && b->next_finish < b->nfiles; i++) {
        struct bfile *f = &b->file[b->next_finish++];
        if (f->state == B_BAD) {
            files_remember(l, b, f, true);
            let_go(l, b, f, F_QUARANTINED, f->why);
            continue;
        }
        finish_one(l, b, f);
        alarm_clear(l, LOADER_ALARM_QUARANTINE, f->path);
        if (f->state == B_READ || f->state == B_MARKER)
            files_remember(l, b, f, false);
        let_go(l, b, f, f->state == B_SAME ? F_SAME : F_LOADED, NULL);
    }
    return b->next_finish == b->nfiles;
}

void files_batch_ended(struct loader *l, struct lbatch *b)
{
    unsigned reasons = 0;
    bool culprit = b->nbad != 0;
    for (unsigned k = 0; k < b->nfiles; k++) {
        struct bfile *f = &b->file[k];
        bool bad = f->state == B_BAD;
        files_remember(l, b, f, true);
        if (!bad && !culprit && f->state != B_MARKER && b->verdict == L_FAILED && f->s &&
            reasons++ < 1000)
            file_reason(l, f->path, b->why);
        let_go(l, b, f, bad ? F_QUARANTINED : F_FAILED, bad ? f->why : b->why);
    }
    struct gather *g = b->gather ? gather_get(l, b->gather, false) : NULL;
    if (g && b->by != LOAD_BY_EACH) {
        g->failed = true;
        for (struct sfile *s = g->first; s && g->failed; s = s->next)
            if (s->state == F_READY)
                gather_news(l, g); /* something came meanwhile */
    }
}

void files_adopt(struct loader *l, struct lbatch *b)
{
    for (unsigned k = 0; k < b->nfiles; k++) {
        struct sfile *s = lmap_get(&l->files, b->file[k].path);
        if (!s)
            continue;
        if (s->check) {
            s->check->check = NULL;
            s->check = NULL;
        }
        detach(l, s);
        alarm_clear(l, LOADER_ALARM_QUARANTINE, s->path);
        s->batch = b;
        b->file[k].s = s;
        file_set(s, F_BATCHED, NULL);
    }
}

/* Verb retry: of one file, or (by its path) of all that wait with it. */
bool files_again(struct loader *l, const char *path)
{
    struct sfile *s = lmap_get(&l->files, path);
    if (!s || (s->state != F_QUARANTINED && s->state != F_FAILED && s->state != F_REFUSED &&
               s->state != F_OLD))
        return false;
    if (s->state == F_OLD)
        s->old = false;
    alarm_clear(l, LOADER_ALARM_QUARANTINE, s->path);
    const struct ldone *d = done_get(l, s->path);
    if (d && d->failed)
        done_remove(l, s->path);
    if (!classify(l, s))
        return false;
    if (!s->g)
        attach(l, gather_of(l, s), s);
    file_set(s, F_READY, NULL);
    gather_news(l, s->g);
    return true;
}

/* ---- temporaries ---- */

void trash_add(struct loader *l, char *dir)
{
    l->trash = realloc(l->trash, (l->ntrash + 1) * sizeof *l->trash);
    pst_must(l->trash);
    l->trash[l->ntrash++] = dir;
    l->wake = true;
}

struct names {
    char **name;
    unsigned n, room;
};
static bool take_name(void *arg, const char *name)
{
    struct names *s = arg;
    s->name = room_for(s->name, s->n, &s->room, sizeof *s->name);
    s->name[s->n++] = text_of("%s", name);
    return s->n < LOADER_SLICE;
}

/* True: it is gone (or cannot be removed). Names are unlinked, never followed. */
static bool sweep(struct loader *l, const char *dir, unsigned depth, unsigned *budget)
{
    struct io *io = l->io;
    for (;;) {
        struct names list = {0};
        l->f.io_calls++;
        int r = io->ops->list(io, dir, take_name, &list);
        bool all = r >= 0, stuck = false;
        for (unsigned i = 0; i < list.n; i++) {
            char path[1400];
            bool fits =
                (size_t)snprintf(path, sizeof path, "%s/%s", dir, list.name[i]) < sizeof path;
            if (all && *budget && fits) {
                --*budget;
                l->f.io_calls++;
                int e = io->ops->unlink(io, path);
                if (e == -EISDIR || e == -EPERM) {
                    if (depth >= 8 || !sweep(l, path, depth + 1, budget))
                        all = false;
                } else if (e < 0 && e != -ENOENT)
                    stuck = true;
            } else
                all = false;
            free(list.name[i]);
        }
        free(list.name);
        if (r < 0 || stuck)
            return true;
        if (!all)
            return false;
        if (list.n < LOADER_SLICE) {
            l->f.io_calls++;
            if (io->ops->rmdir)
                io->ops->rmdir(io, dir);
            return true;
        }
    }
}

void files_trash(struct loader *l)
{
    if (!l->ntrash)
        return;
    unsigned budget = LOADER_SLICE;
    if (sweep(l, l->trash[0], 0, &budget)) {
        free(l->trash[0]);
        memmove(l->trash, l->trash + 1, --l->ntrash * sizeof *l->trash);
    }
    l->wake |= l->ntrash != 0;
}

void files_free(struct loader *l)
{
    for (uint64_t i = 0; l->files.slot && i <= l->files.mask; i++) {
        struct sfile *s = l->files.slot[i].value;
        if (s) {
            free(s->path);
            free(s->key);
            free(s->why);
            free(s);
        }
    }
    lmap_free(&l->files);
    struct gather *next;
    for (struct gather *g = l->all_gathers; g; g = next) {
        next = g->next;
        gather_free(g);
    }
    lmap_free(&l->gathers);
    lmap_free(&l->batched);
    for (unsigned i = 0; i < l->ntrash; i++)
        free(l->trash[i]);
    free(l->trash);
}
