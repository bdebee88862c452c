/* SPDX-License-Identifier: Apache-2.0 */
/* Files that wait for each other: when they are a batch, and what becomes of those that are not. */
#include <fcntl.h>
#include "loader.h"

#define EACH_SETTLE  (200 * NS_PER_MS)
#define EACH_LONGEST (5 * NS_PER_S)

/* ---- gathers ---- */

void gather_dirty(struct loader *l, const char *id)
{
    gather_mark(l, id ? gather_get(l, id, false) : NULL);
}

void gather_mark(struct loader *l, struct gather *g)
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
        const char *name = loader_rule_of(l, (int)i)->name;
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

void gather_free(struct gather *g)
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
    if (g->n || g->dirty || g->loaded || g->alarmed || g->late || g->since_wall)
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

void gather_problem(struct loader *l, struct gather *g, const char *text)
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

void gather_attach(struct loader *l, struct gather *g, struct sfile *s)
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

void gather_detach(struct loader *l, struct sfile *s)
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
        gather_problem(l, g, NULL);
        g->since = g->since_wall = 0;
        g->failed = false;
    }
    gather_mark(l, g);
}

/* Files that stand for themselves wait for nobody once it is clear what they are. */
void file_settle(struct loader *l, struct sfile *s)
{
    if (s->g && s->rule >= 0 && loader_rule_of(l, s->rule)->by == LOAD_BY_EACH &&
        s->state != F_READY && s->state != F_GROWING && s->state != F_CHECKING)
        gather_detach(l, s);
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
            const struct loader_rule *r = g->rule >= 0 ? loader_rule_of(l, g->rule) : NULL;
            g->since_wall = l->wall;
            if (r && r->by != LOAD_BY_EACH && r->gather_timeout)
                store_gather(l, g);
        }
    }
    g->last = l->mono;
    gather_mark(l, g);
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

static void gather_late(struct loader *l, struct gather *g, bool late)
{
    char text[300];
    if (late == g->late)
        return;
    g->late = late;
    if (!late) {
        alarm_clear(l, LOADER_ALARM_DEADLINE, g->id);
        return;
    }
    snprintf(text, sizeof text, "the deadline of %.200s has passed, and it waits for files",
             g->key);
    alarm_set(l, LOADER_ALARM_DEADLINE, g->id, text);
}

/* What waits for files cannot be in time once its deadline has passed. */
static void gather_deadline(struct loader *l, struct gather *g, const struct loader_rule *r)
{
    int64_t at = 0;
    if (l->h.deadline && r && r->by != LOAD_BY_EACH && g->n && g->since_wall)
        at = l->h.deadline(l->h.arg, (unsigned)g->rule, g->since_wall);
    gather_late(l, g, at && l->wall > at);
}

struct lbatch *files_release(struct loader *l, struct gather *g, struct sfile **list, unsigned n,
                             const char *name)
{
    const struct loader_rule *r = loader_rule_of(l, g->rule);
    gather_late(l, g, false); /* from here on the batch's own */
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
        gather_detach(l, s);
        s->batch = b;
        file_set(s, F_BATCHED, NULL);
    }
    gather_problem(l, g, NULL);
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
static void gather_release(struct loader *l, struct gather *g, struct sfile **list, unsigned n,
                           const char *name)
{
    unsigned ready = 0;
    for (unsigned i = 0; i < n; i++)
        ready += list[i]->state == F_READY && !list[i]->marker;
    if (!ready) {
        /* nothing new: the marker of such a batch has done its work */
        for (unsigned i = 0; i < n; i++)
            if (list[i]->marker && list[i]->state == F_READY) {
                done_remember(l, list[i]->path, list[i]->size, list[i]->mtime, "", NULL, false,
                              NULL);
                done_get(l, list[i]->path)->marker = true;
                store_done(l, done_get(l, list[i]->path));
                file_set(list[i], F_SAME, NULL);
            }
        gather_problem(l, g, NULL);
        g->since = g->since_wall = 0;
        return;
    }
    bool all =
        loader_rule_of(l, g->rule)->supersede && loader_rule_of(l, g->rule)->by != LOAD_BY_EACH;
    unsigned out = 0;
    for (unsigned i = 0; i < n; i++)
        if (list[i]->state == F_READY || (all && !list[i]->marker))
            list[out++] = list[i];
    files_release(l, g, list, out, name);
}

bool file_usable(const struct sfile *s)
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
        if (file_usable(s))
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
                have += !loader_rule_of(l, g->rule)->supersede; /* a correction is whole */
            }
        }
    gather_problem(l, g, wrong);
    if (!wrong && news && !waits && have == parts)
        gather_release(l, g, list, n, g->key);
    free(there);
    free(list);
}

bool gather_marks(struct loader *l, struct gather *g, struct sfile *marker)
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
        gather_problem(l, g, text);
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
    if (!gather_marks(l, g, marker))
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
        if (file_usable(s) && m->size != UINT64_MAX && m->size != s->size) {
            snprintf(text, sizeof text, "%.120s has %llu bytes, its manifest says %llu", s->name,
                     (unsigned long long)s->size, (unsigned long long)m->size);
            wrong = true;
        } else if (file_usable(s) && s->rule == g->rule && !s->marker)
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
            } else if (file_usable(s)) {
                snprintf(
                    text, sizeof text,
                    "%.120s, which the manifest names, belongs to another rule of load.batches",
                    m->name);
                wrong = true;
            }
        }
    }
    gather_problem(l, g, wrong ? text : NULL);
    text_set(&g->waits,
             missing ? text_of("%u of %u files of its manifest are there; %s", n, g->marks.n, waits)
                     : NULL);
    if (!wrong && !missing) {
        list[n++] = marker;
        struct load_named named = {0};
        const char *name = *g->key == '=' ? g->key + 1 : g->key;
        (void)named;
        gather_release(l, g, list, n, *name ? name : marker->name);
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
        snprintf(id, sizeof id, "%u\t%s\t", g->directory, loader_rule_of(l, g->rule)->name);
        pool = gather_get(l, id, false);
    }
    struct sfile *exact = *key.key ? beside(l, g->directory, key.key) : NULL;
    if (!marker->has_key && exact && exact->rule == g->rule && !exact->marker &&
        exact->state != F_UNMATCHED) {
        waits = !file_usable(exact);
        list = room_for(list, n, &room, sizeof *list);
        list[n++] = exact;
    } else
        for (struct sfile *s = pool ? pool->first : NULL; s; s = s->next) {
            if (s->marker)
                continue;
            if (!marker->has_key && !load_marker_covers(&key, s->name, &file))
                continue;
            waits |= s->state == F_GROWING || s->state == F_CHECKING;
            if (!file_usable(s))
                continue;
            list = room_for(list, n, &room, sizeof *list);
            list[n++] = s;
        }
    text_set(&g->waits, n ? NULL : text_of("its trigger is there, none of its files is"));
    if (n && !waits) {
        list = room_for(list, n, &room, sizeof *list);
        list[n++] = marker;
        gather_release(l, g, list, n,
                       *marker->key ? marker->key : loader_rule_of(l, g->rule)->name);
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
        gather_release(l, g, list, ready, name);
        gather_mark(l, g);
    } else if (ready) { /* looked at again then, not before */
        bool wake = l->wake;
        gather_mark(l, g);
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
    const struct loader_rule *r = loader_rule_of(l, g->rule);
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
    const struct loader_rule *r = g->rule >= 0 ? loader_rule_of(l, g->rule) : NULL;
    if (!r || (r->by != LOAD_BY_TRIGGER && r->by != LOAD_BY_MANIFEST) || *g->key == '=' ||
        (r->by == LOAD_BY_TRIGGER && strstr(r->marker, "{batch}")))
        return;
    for (struct gather *m = l->all_gathers; m; m = m->next)
        if (m->rule == g->rule && m->directory == g->directory && m->n &&
            (*m->key == '=' || r->by == LOAD_BY_MANIFEST))
            gather_mark(l, m);
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
        gather_problem(l, g, why);
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
        const struct loader_rule *r = g->rule >= 0 ? loader_rule_of(l, g->rule) : NULL;
        gather_deadline(l, g, r);
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
