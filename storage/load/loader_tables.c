/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include "loader.h"

/* ---- map ---- */

static uint64_t hash_of(const char *key)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (; *key; key++)
        h = (h ^ (unsigned char)*key) * 0x100000001b3ull;
    return h ^ h >> 32;
}

static struct lmap_slot *find(const struct lmap *m, const char *key, uint64_t h)
{
    for (uint64_t i = h;; i++) {
        struct lmap_slot *s = &m->slot[i & m->mask];
        if (!s->key || (s->value && s->hash == h && !strcmp(s->key, key)))
            return s;
    }
}

void *lmap_get(const struct lmap *m, const char *key)
{
    return m->slot ? find(m, key, hash_of(key))->value : NULL;
}

static void resize(struct lmap *m)
{
    struct lmap old = *m;
    uint64_t size = 64;
    while (size < m->n * 4)
        size *= 2;
    m->slot = calloc(size, sizeof *m->slot);
    pst_must(m->slot);
    m->mask = size - 1;
    m->used = m->n;
    for (uint64_t i = 0; old.slot && i <= old.mask; i++)
        if (old.slot[i].value)
            *find(m, old.slot[i].key, old.slot[i].hash) = old.slot[i];
    free(old.slot);
}

void lmap_put(struct lmap *m, const char *key, void *value)
{
    if (!m->slot || (m->used + 1) * 2 > m->mask)
        resize(m);
    uint64_t h = hash_of(key);
    struct lmap_slot *s = find(m, key, h);
    if (!s->key) {
        m->n++;
        m->used++;
    }
    *s = (struct lmap_slot){key, value, h};
}

void lmap_remove(struct lmap *m, const char *key)
{
    if (!m->slot)
        return;
    struct lmap_slot *s = find(m, key, hash_of(key));
    if (s->value) {
        s->value = NULL;
        s->key = ""; /* the value's memory goes with it */
        m->n--;
    }
}

void lmap_free(struct lmap *m)
{
    free(m->slot);
    *m = (struct lmap){0};
}

/* ---- small things ---- */

char *text_of(const char *fmt, ...)
{
    char *out = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&out, fmt, ap);
    va_end(ap);
    pst_must(n >= 0);
    return out;
}

void text_set(char **p, char *text)
{
    free(*p);
    *p = text;
}

void *room_for(void *p, unsigned n, unsigned *room, size_t size)
{
    if (n < *room)
        return p;
    *room = *room ? *room * 2 : 16;
    p = realloc(p, *room * size);
    pst_must(p);
    return p;
}

const char *loader_intern_name(struct loader *l, const char *name)
{
    for (unsigned i = 0; i < l->nnames; i++)
        if (!strcmp(l->name[i], name))
            return l->name[i];
    l->name = realloc(l->name, (l->nnames + 1) * sizeof *l->name);
    pst_must(l->name);
    return l->name[l->nnames++] = text_of("%s", name);
}

void loader_key(uint64_t instance, uint64_t batch, char out[LOADER_KEY])
{
    snprintf(out, LOADER_KEY, "%016" PRIx64 "-%" PRIu64, instance, batch);
}

/* ---- batches ---- */

struct lbatch *loader_batch(const struct loader *l, uint64_t id)
{
    if (l->last && l->last->id == id)
        return l->last;
    for (struct lbatch *b = l->first; b; b = b->next)
        if (b->id == id)
            return b;
    return NULL;
}

bool batch_over(const struct lbatch *b)
{
    return b->state >= L_COMPLETE;
}

struct lbatch *batch_add(struct loader *l, uint64_t id)
{
    struct lbatch *b = calloc(1, sizeof *b);
    pst_must(b);
    b->id = id;
    b->rule = -1;
    loader_key(l->c.instance, id, b->key);
    b->began = l->mono;
    if (l->last)
        l->last->next = b;
    else
        l->first = b;
    l->last = b;
    l->nbatches++;
    if (id >= l->next_batch)
        l->next_batch = id + 1;
    return b;
}

struct bfile *batch_file_add(struct lbatch *b, const char *path)
{
    if (!(b->nfiles & (b->nfiles - 1))) {
        b->file = realloc(b->file, (b->nfiles ? 2 * b->nfiles : 1) * sizeof *b->file);
        pst_must(b->file);
    }
    struct bfile *f = &b->file[b->nfiles++];
    *f = (struct bfile){.batch = b, .path = text_of("%s", path), .pattern = -1};
    f->name = strrchr(f->path, '/');
    f->name = f->name ? f->name + 1 : f->path;
    return f;
}

static void part_free(struct lpart *p)
{
    free(p->input);
    free(p->dir);
    json_decref(p->index);
    json_decref(p->merged);
}

void batch_free(struct lbatch *b)
{
    for (unsigned i = 0; i < b->nfiles; i++) {
        struct bfile *f = &b->file[i];
        free(f->path);
        free(f->digest);
        free(f->dir);
        free(f->written);
        free(f->why);
    }
    for (unsigned i = 0; i < b->nparts; i++)
        part_free(&b->part[i]);
    free(b->file);
    free(b->part);
    free(b->ready);
    free(b->name);
    free(b->gather);
    json_decref(b->resume);
    free(b);
}

/* Behind those of the same size: the order in which they came. */
void batch_ready_add(struct lbatch *b, struct ltask *t)
{
    b->ready = room_for(b->ready, b->nready, &b->room, sizeof *b->ready);
    unsigned low = 0, high = b->nready;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        /* of equal sizes the older stands higher, as tasks are given out from the top */
        if (b->ready[mid]->size < t->size ||
            (b->ready[mid]->size == t->size && b->ready[mid]->id > t->id))
            low = mid + 1;
        else
            high = mid;
    }
    memmove(&b->ready[low + 1], &b->ready[low], (b->nready - low) * sizeof *b->ready);
    b->ready[low] = t;
    b->nready++;
}

/* ---- what was loaded ---- */

struct ldone *done_get(const struct loader *l, const char *path)
{
    return lmap_get(&l->done, path);
}

/* The same name and content, from whatever directory. */
const struct ldone *done_hash(const struct loader *l, const char *hash, const char *name)
{
    const struct ldone *d = *hash ? lmap_get(&l->hashes, hash) : NULL;
    const char *slash = d ? strrchr(d->path, '/') : NULL;
    return d && !d->failed && !strcmp(slash ? slash + 1 : d->path, name) ? d : NULL;
}

static void done_free(struct loader *l, struct ldone *d)
{
    if (*d->hash && lmap_get(&l->hashes, d->hash) == d)
        lmap_remove(&l->hashes, d->hash);
    struct gather *g = d->gather && !d->failed ? gather_get(l, d->gather, false) : NULL;
    if (g) {
        g->loaded--;
        gather_drop(l, g);
    }
    free(d->path);
    free(d->gather);
    free(d->why);
    free(d);
}

void done_remove(struct loader *l, const char *path)
{
    struct ldone *d = done_get(l, path);
    if (d) {
        lmap_remove(&l->done, path);
        done_free(l, d);
    }
}

void done_put(struct loader *l, struct ldone *d)
{
    done_remove(l, d->path);
    lmap_put(&l->done, d->path, d);
    if (d->gather && !d->failed)
        gather_get(l, d->gather, true)->loaded++;
    if (*d->hash && !d->failed) {
        lmap_remove(&l->hashes, d->hash);
        lmap_put(&l->hashes, d->hash, d);
    }
}

/* ---- outbox ---- */

static struct laction *action(struct loader *l, enum action kind)
{
    l->out = room_for(l->out, l->nout, &l->out_room, sizeof *l->out);
    l->out[l->nout] = (struct laction){.kind = kind};
    return &l->out[l->nout++];
}

void action_add(struct loader *l, enum action kind, unsigned worker, uint64_t id)
{
    struct laction *a = action(l, kind);
    a->worker = worker;
    a->id = id;
    l->wake = true;
}

void loader_log(struct loader *l, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    action(l, A_LOG)->text = text_of("%s", text);
}

static void alarm_action(struct loader *l, enum loader_alarm code, const char *subject, bool raised,
                         const char *text)
{
    struct laction *a = action(l, A_ALARM);
    a->alarm = code;
    a->raised = raised;
    a->subject = text_of("%s", subject);
    a->text = text_of("%s", text);
}

void alarm_set(struct loader *l, enum loader_alarm code, const char *subject, const char *text)
{
    for (unsigned i = 0; i < l->nalarms; i++)
        if (l->alarm[i].code == code && !strcmp(l->alarm[i].subject, subject))
            return;
    l->alarm = realloc(l->alarm, (l->nalarms + 1) * sizeof *l->alarm);
    pst_must(l->alarm);
    l->alarm[l->nalarms++] = (struct lalarm){text_of("%s", subject), text_of("%s", text), code};
    alarm_action(l, code, subject, true, text);
}

void alarm_clear(struct loader *l, enum loader_alarm code, const char *subject)
{
    for (unsigned i = 0; i < l->nalarms; i++)
        if (l->alarm[i].code == code && !strcmp(l->alarm[i].subject, subject)) {
            free(l->alarm[i].subject);
            free(l->alarm[i].text);
            l->alarm[i] = l->alarm[--l->nalarms];
            alarm_action(l, code, subject, false, "");
            return;
        }
}
