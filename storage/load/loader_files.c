/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in the staging directories, as the watch tells it. */
#include "loader.h"

const struct loader_rule *loader_rule_of(const struct loader *l, int rule)
{
    return l->c.nrules ? &l->c.rule[rule] : &l->each;
}

/* ---- files ---- */

void file_set(struct sfile *s, enum fstate state, char *why)
{
    s->state = state;
    text_set(&s->why, why);
}

bool file_same(const struct sfile *s, uint64_t size, int64_t mtime)
{
    return s->size == size && s->mtime == mtime;
}

/* Which rule and recipe; false: none (why is set). */
bool file_classify(struct loader *l, struct sfile *s)
{
    struct load_named named = {0};
    char text[100];
    const char *wrong = NULL;
    s->rule = s->pattern = -1;
    s->marker = false;
    for (unsigned i = 0; i < (l->c.nrules ? l->c.nrules : 1) && s->rule < 0; i++) {
        const struct loader_rule *r = loader_rule_of(l, (int)i);
        if ((r->by == LOAD_BY_TRIGGER || r->by == LOAD_BY_MANIFEST) && r->marker &&
            load_name_marker(r->marker, s->name, &named))
            s->marker = true;
        else if (r->by == LOAD_BY_COUNT ? !load_name_counted(r->match, s->name, &named)
                                        : !load_name_match(r->match, s->name, &named))
            continue;
        s->rule = (int)i;
        if (s->marker && !named.has_key) /* of a suffix */
            named.has_key = load_marker_key(r->match, &named);
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

struct gather *gather_of_file(struct loader *l, const struct sfile *s)
{
    char id[LOAD_KEY_MAX + 200];
    /* markers without {batch} apart from the pool of files that wait for one */
    snprintf(id, sizeof id, "%u\t%s\t%s%s", s->directory, loader_rule_of(l, s->rule)->name,
             s->marker && !s->has_key ? "=" : "", s->key);
    return gather_get(l, id, true);
}

void done_remember(struct loader *l, const char *path, uint64_t size, int64_t mtime,
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

/* Other content than what was loaded under that name. */
static void other_content(struct loader *l, struct sfile *s, const struct ldone *d)
{
    if (loader_rule_of(l, s->rule)->supersede) {
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
    gather_mark(l, s->g);
}

static void redelivered(struct loader *l, struct sfile *s)
{
    file_set(s, s->old ? F_LOADED : F_SAME, NULL); /* old: it lies there from before the start */
    l->f.redelivered += !s->old;
    if (l->c.finished != LOADER_KEEP && !loader_rule_of(l, s->rule)->supersede) {
        /* a correction of it would need the other parts: those that are corrected stay */
        const struct bfile f = {
            .path = s->path, .name = s->name, .size = s->size, .mtime = s->mtime, .ino = s->ino};
        const struct ldone *d = done_get(l, s->path);
        struct lbatch b = {.id = d ? d->batch : 0};
        file_finish(l, &b, &f);
    }
    gather_mark(l, s->g);
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
    file_settle(l, s);
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
    const struct loader_rule *r = loader_rule_of(l, s->rule);
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
        for (unsigned i = 0; r->by == LOAD_BY_MANIFEST && gather_marks(l, g, m) && i < g->marks.n;
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
    if (!file_classify(l, s))
        return;
    const struct ldone *d = done_get(l, s->path);
    if (s->old && l->c.newly_only && !d) {
        file_set(s, F_OLD, text_of("it was there when the loader started (load.newly_only)"));
        return;
    }
    if (!s->g)
        gather_attach(l, gather_of_file(l, s), s);
    if (d && d->failed && file_same(s, d->size, d->mtime)) {
        file_set(s, d->why ? F_QUARANTINED : F_FAILED,
                 text_of("%s", d->why ? d->why : "its batch failed"));
        s->g->failed |= loader_rule_of(l, s->rule)->by != LOAD_BY_EACH;
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
        if (d && file_same(s, d->size, d->mtime)) {
            file_set(s, F_SAME, NULL);
            return;
        }
        file_set(s, F_READY, NULL);
        gather_news(l, s->g);
        revive_marked(l, s, batch);
    } else if (file_same(s, d->size, d->mtime))
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

void file_consider(struct loader *l, struct sfile *s)
{
    consider_it(l, s);
    file_settle(l, s);
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
    if (!l->c.quarantine_directory)
        alarm_clear(l, LOADER_ALARM_QUARANTINE, s->path);
    gather_detach(l, s);
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
            gather_detach(l, s);
            file_set(s, F_UNMATCHED, text_of("%s", e->why ? e->why : "not a regular file"));
        }
        return;
    }
    bool changed = !file_same(s, e->size, e->mtime) || s->ino != e->ino || s->dev != e->dev;
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
        if (!s->g && file_classify(l, s) && !(s->old && l->c.newly_only)) {
            gather_attach(l, gather_of_file(l, s), s); /* a batch waits for it */
            if (!s->g->since)
                gather_news(l, s->g);
        }
        file_set(s, F_GROWING, NULL);
        gather_mark(l, s->g);
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
    file_consider(l, s);
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
