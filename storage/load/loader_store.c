/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The orchestrator's lines in load.manifest (manifest.h), written and read back.
 *
 *   {"start":n,"boot":id,"at":ns,"next":batch,"commits":n}          each loader_create
 *   {"batch":id,"name","gather","rule","by","partial","supersede","hand","priority","deadline","at"}
 *   {"file":[batch,k],"path","size","mtime","ino","dev","part","parts","digest","marker"}
 *   {"read":[batch,k],"dir","hash","rows","rejected","recipe":CRC}
 *   {"fails":[batch,k],"n":attempts}       {"bad":[batch,k],"why"}       {"same":[batch,k]}
 *   {"commit":[batch,n]}
 *   {"index":batch,"table","date","inputs":CRC,"dir","rows","result":{…}}
 *   {"merged":batch,"table","date","column"}      {"again":batch,"table","date"}
 *   {"state":batch,"is":"moving|moved|complete|partial|failed|cancelled","at","epoch","rows",
 *    "rejected","bytes","files","why"}
 *   {"pause":batch or 0,"on":b}
 *   {"gather":id,"since":ns}
 *   {"done":path,"size","mtime","hash","batch","at","failed","marker","why","part","parts","gather"}
 *   {"into":"table date","owner":…}
 * Objects of other kinds are ignored. What was indexed and merged counts in the same boot only.
 */
#include <inttypes.h>
#include "core/crc.h"
#include "loader.h"

static uint32_t recipe_crc(const struct loader *l, int pattern)
{
    const char *text =
        pattern >= 0 && (unsigned)pattern < l->c.nfiles ? l->c.file[pattern].recipe : "";
    return crc32c(0, text, strlen(text));
}

void store_add(struct loader *l, json_t *o, bool must)
{
    if (!load_manifest_dirty(&l->m))
        l->lazy_since = l->mono;
    load_manifest_add(&l->m, o);
    l->must_sync |= must;
    l->wake |= must;
}

/* ---- objects ---- */

static void put_text(json_t *o, const char *name, const char *text)
{
    if (o && text && *text)
        json_object_set_new(o, name, json_string(text));
}
static void put_int(json_t *o, const char *name, int64_t v)
{
    if (o && v)
        json_object_set_new(o, name, json_integer(v));
}
static void put_true(json_t *o, const char *name, bool v)
{
    if (o && v)
        json_object_set_new(o, name, json_true());
}

static json_t *at_file(const char *kind, const struct lbatch *b, unsigned k)
{
    return json_pack("{s:[I,i]}", kind, (json_int_t)b->id, (int)k);
}
static json_t *at_part(const char *kind, const struct lbatch *b, const struct lpart *p)
{
    return json_pack("{s:I,s:s,s:i}", kind, (json_int_t)b->id, "table", p->table, "date",
                     (int)p->date);
}

static json_t *start_line(const struct loader *l)
{
    return json_pack("{s:I,s:s,s:I,s:I,s:I}", "start", (json_int_t)l->start, "boot", l->c.boot,
                     "at", (json_int_t)l->wall, "next", (json_int_t)l->next_batch, "commits",
                     (json_int_t)l->commits);
}

static json_t *batch_line(const struct loader *l, const struct lbatch *b)
{
    json_t *o = json_pack("{s:I,s:s,s:I}", "batch", (json_int_t)b->id, "name", b->name, "at",
                          (json_int_t)b->at);
    put_text(o, "gather", b->gather);
    if (b->rule >= 0)
        put_text(o, "rule", l->c.nrules ? l->c.rule[b->rule].name : l->each.name);
    put_text(o, "by", load_by_name(b->by));
    put_true(o, "partial", b->partial);
    put_true(o, "supersede", b->supersede);
    put_true(o, "hand", b->by_hand);
    put_int(o, "priority", b->priority);
    put_int(o, "deadline", b->deadline);
    return o;
}

static json_t *file_line(const struct lbatch *b, unsigned k)
{
    const struct bfile *f = &b->file[k];
    json_t *o = at_file("file", b, k);
    put_text(o, "path", f->path);
    put_int(o, "size", (int64_t)f->size);
    put_int(o, "mtime", f->mtime);
    put_int(o, "ino", (int64_t)f->ino);
    put_int(o, "dev", (int64_t)f->dev);
    put_int(o, "part", f->part);
    put_int(o, "parts", f->parts);
    put_text(o, "digest", f->digest);
    put_true(o, "marker", f->state == B_MARKER);
    return o;
}

static json_t *read_line(const struct loader *l, const struct lbatch *b, unsigned k)
{
    const struct bfile *f = &b->file[k];
    json_t *o = at_file("read", b, k);
    put_text(o, "dir", f->dir);
    put_text(o, "hash", f->hash);
    put_int(o, "rows", (int64_t)f->rows);
    put_int(o, "rejected", (int64_t)f->rejected);
    put_int(o, "recipe", recipe_crc(l, f->pattern));
    put_int(o, "size", (int64_t)f->size); /* it may be another delivery than at the release */
    put_int(o, "mtime", f->mtime);
    put_int(o, "ino", (int64_t)f->ino);
    return o;
}

static json_t *bad_line(const struct lbatch *b, unsigned k)
{
    json_t *o = at_file("bad", b, k);
    put_text(o, "why", b->file[k].why);
    return o;
}

static json_t *index_line(const struct lbatch *b, const struct lpart *p)
{
    json_t *o = at_part("index", b, p);
    put_int(o, "inputs", p->inputs);
    put_text(o, "dir", p->dir);
    put_int(o, "rows", (int64_t)p->rows);
    if (o && p->index)
        json_object_set(o, "result", p->index);
    return o;
}

static json_t *state_line(const struct lbatch *b, const char *state, int64_t wall)
{
    json_t *o =
        json_pack("{s:I,s:s,s:I}", "state", (json_int_t)b->id, "is", state, "at", (json_int_t)wall);
    put_int(o, "epoch", (int64_t)b->epoch);
    put_int(o, "rows", (int64_t)b->rows);
    put_int(o, "rejected", (int64_t)b->rejected);
    put_int(o, "bytes", (int64_t)b->bytes);
    put_int(o, "files", (int64_t)b->nread + b->nsame);
    put_text(o, "why", b->why);
    return o;
}

static json_t *done_line(const struct ldone *d)
{
    json_t *o =
        json_pack("{s:s,s:I,s:I,s:I,s:I}", "done", d->path, "size", (json_int_t)d->size, "mtime",
                  (json_int_t)d->mtime, "batch", (json_int_t)d->batch, "at", (json_int_t)d->at);
    put_text(o, "hash", d->hash);
    put_true(o, "failed", d->failed);
    put_true(o, "marker", d->marker);
    put_text(o, "why", d->why);
    put_text(o, "gather", d->gather);
    put_int(o, "part", d->part);
    put_int(o, "parts", d->parts);
    put_int(o, "rows", (int64_t)d->rows);
    put_int(o, "rejected", (int64_t)d->rejected);
    return o;
}

/* ---- written as it happens ---- */

void store_start(struct loader *l)
{
    store_add(l, start_line(l), true);
}
void store_batch(struct loader *l, const struct lbatch *b)
{
    store_add(l, batch_line(l, b), true);
    for (unsigned k = 0; k < b->nfiles; k++)
        store_add(l, file_line(b, k), true);
}
/* Reads and merges that are forgotten are done again: they need not be durable at once. */
void store_read(struct loader *l, const struct lbatch *b, unsigned k)
{
    store_add(l, read_line(l, b, k), false);
}
void store_fails(struct loader *l, const struct lbatch *b, unsigned k)
{
    json_t *o = at_file("fails", b, k);
    put_int(o, "n", b->file[k].fails);
    store_add(l, o, false);
}
void store_bad(struct loader *l, const struct lbatch *b, unsigned k)
{
    store_add(l, bad_line(b, k), true);
}
void store_same(struct loader *l, const struct lbatch *b, unsigned k)
{
    store_add(l, at_file("same", b, k), false);
}
void store_commit(struct loader *l, const struct lbatch *b)
{
    store_add(l, json_pack("{s:[I,I]}", "commit", (json_int_t)b->id, (json_int_t)b->commit), true);
}
void store_index(struct loader *l, const struct lbatch *b, const struct lpart *p)
{
    store_add(l, index_line(b, p), false);
}
void store_merged(struct loader *l, const struct lbatch *b, const struct lpart *p,
                  const char *column)
{
    json_t *o = at_part("merged", b, p);
    put_text(o, "column", column);
    store_add(l, o, false);
}
/* What was merged is no more: before anything writes there again. */
void store_part_again(struct loader *l, const struct lbatch *b, const struct lpart *p)
{
    store_add(l, at_part("again", b, p), true);
}
void store_state(struct loader *l, const struct lbatch *b, const char *state)
{
    store_add(l, state_line(b, state, l->wall), true);
}
void store_done(struct loader *l, const struct ldone *d)
{
    store_add(l, done_line(d), true);
}
void store_pause(struct loader *l, uint64_t batch, bool on)
{
    store_add(l, json_pack("{s:I,s:b}", "pause", (json_int_t)batch, "on", (int)on), true);
}
void store_gather(struct loader *l, const struct gather *g)
{
    store_add(l, json_pack("{s:s,s:I}", "gather", g->id, "since", (json_int_t)g->since_wall),
              false);
}

/* ---- the whole ---- */

struct linto {
    char *key, *owner;
};

static bool active(const struct loader *l, struct load_manifest *m, const struct lbatch *b)
{
    bool ok = true;
    for (unsigned k = 0; ok && k < b->nfiles; k++) {
        const struct bfile *f = &b->file[k];
        ok = load_manifest_line(m, file_line(b, k));
        if (ok && f->state == B_READ) /* not those that are still to be verified: another boot's */
            ok = load_manifest_line(m, read_line(l, b, k));
        else if (ok && f->state == B_BAD)
            ok = load_manifest_line(m, bad_line(b, k));
        else if (ok && f->state == B_SAME)
            ok = load_manifest_line(m, at_file("same", b, k));
    }
    if (ok && b->commit)
        ok = load_manifest_line(
            m, json_pack("{s:[I,I]}", "commit", (json_int_t)b->id, (json_int_t)b->commit));
    for (unsigned i = 0; ok && i < b->nparts; i++) {
        const struct lpart *p = &b->part[i];
        const char *column;
        json_t *v;
        if (p->state < P_MERGING || !p->index)
            continue;
        ok = load_manifest_line(m, index_line(b, p));
        json_object_foreach(p->merged, column, v)
        {
            json_t *o = at_part("merged", b, p);
            put_text(o, "column", column);
            ok = ok && load_manifest_line(m, o);
        }
    }
    if (ok && (b->state == L_MOVING || b->state == L_FINISHING))
        ok = load_manifest_line(m,
                                state_line(b, b->state == L_MOVING ? "moving" : "moved", l->wall));
    if (ok && b->paused)
        ok = load_manifest_line(m, json_pack("{s:I,s:b}", "pause", (json_int_t)b->id, "on", 1));
    return ok;
}

static bool ended(struct load_manifest *m, const struct lbatch *b, const char *state)
{
    return (!b->commit || load_manifest_line(m, json_pack("{s:[I,I]}", "commit", (json_int_t)b->id,
                                                          (json_int_t)b->commit))) &&
           load_manifest_line(m, state_line(b, state, b->ended));
}

bool store_content(void *arg, struct load_manifest *m)
{
    const struct loader *l = arg;
    int64_t remember = l->c.remember ? l->c.remember : 400 * NS_PER_DAY;
    /* files that are still there stay known, so first they must have been seen */
    bool forget = l->mono - l->started_at > 600 * NS_PER_S;
    bool ok = load_manifest_line(m, start_line(l));
    if (ok && l->paused)
        ok = load_manifest_line(m, json_pack("{s:i,s:b}", "pause", 0, "on", 1));
    for (uint64_t i = 0; ok && l->done.slot && i <= l->done.mask; i++) {
        const struct ldone *d = l->done.slot[i].value;
        if (!d || (forget && d->at + remember < l->wall && !lmap_get(&l->files, d->path)))
            continue;
        ok = load_manifest_line(m, done_line(d));
    }
    for (uint64_t i = 0; ok && l->into.slot && i <= l->into.mask; i++) {
        const struct linto *x = l->into.slot[i].value;
        if (x)
            ok = load_manifest_line(m, json_pack("{s:s,s:s}", "into", x->key, "owner", x->owner));
    }
    for (const struct gather *g = l->all_gathers; ok && g; g = g->next)
        if (g->since && g->rule >= 0)
            ok = load_manifest_line(
                m, json_pack("{s:s,s:I}", "gather", g->id, "since", (json_int_t)g->since_wall));
    for (const struct lbatch *b = l->first; ok && b; b = b->next) {
        static const char *const ends[] = {"complete", "partial", "failed", "cancelled"};
        ok = load_manifest_line(m, batch_line(l, b));
        if (ok && !batch_over(b))
            ok = active(l, m, b);
        else if (ok)
            ok = ended(m, b, ends[b->state - L_COMPLETE]);
    }
    return ok;
}

/* ---- read back ---- */

static const char *text_in(const json_t *o, const char *name)
{
    const char *t = json_string_value(json_object_get(o, name));
    return t ? t : "";
}
static int64_t int_in(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}
static bool true_in(const json_t *o, const char *name)
{
    return json_is_true(json_object_get(o, name));
}

static bool line_batch(struct loader *l, const json_t *o)
{
    int64_t id = int_in(o, "batch");
    if (id <= 0 || loader_batch(l, (uint64_t)id) || !*text_in(o, "name"))
        return false;
    struct lbatch *b = batch_add(l, (uint64_t)id);
    const char *rule = text_in(o, "rule"), *by = text_in(o, "by"), *gather = text_in(o, "gather");
    b->name = text_of("%s", text_in(o, "name"));
    b->gather = *gather ? text_of("%s", gather) : NULL;
    for (unsigned i = 0; i < (l->c.nrules ? l->c.nrules : 1); i++)
        if (!strcmp(l->c.nrules ? l->c.rule[i].name : l->each.name, rule))
            b->rule = (int)i;
    for (unsigned i = 0; i <= LOAD_BY_MANIFEST; i++)
        if (!strcmp(load_by_name((enum load_by)i), by))
            b->by = (enum load_by)i;
    b->partial = true_in(o, "partial");
    b->supersede = true_in(o, "supersede");
    b->by_hand = true_in(o, "hand");
    b->priority = (int)int_in(o, "priority");
    b->deadline = int_in(o, "deadline");
    b->at = int_in(o, "at");
    struct gather *g = b->gather ? gather_get(l, b->gather, false) : NULL;
    if (g)
        g->since_wall = 0; /* released */
    return true;
}

/* {KIND:[batch,k]}: the file, or NULL. */
static struct bfile *file_at(struct loader *l, const json_t *at, struct lbatch **b, unsigned *k)
{
    int64_t id = json_integer_value(json_array_get(at, 0)),
            n = json_integer_value(json_array_get(at, 1));
    *b = id > 0 ? loader_batch(l, (uint64_t)id) : NULL;
    *k = n >= 0 && n < INT32_MAX ? (unsigned)n : UINT32_MAX;
    return *b && *k < (*b)->nfiles && !batch_over(*b) ? &(*b)->file[*k] : NULL;
}

static bool line_file(struct loader *l, const json_t *at, const json_t *o)
{
    struct lbatch *b;
    unsigned k;
    const char *path = text_in(o, "path"), *digest = text_in(o, "digest");
    if (file_at(l, at, &b, &k) || !b || batch_over(b) || k != b->nfiles || *path != '/')
        return false;
    struct bfile *f = batch_file_add(b, path);
    f->size = (uint64_t)int_in(o, "size");
    f->mtime = int_in(o, "mtime");
    f->ino = (uint64_t)int_in(o, "ino");
    f->dev = (uint64_t)int_in(o, "dev");
    f->part = (uint32_t)int_in(o, "part");
    f->parts = (uint32_t)int_in(o, "parts");
    f->digest = *digest ? text_of("%s", digest) : NULL;
    if (true_in(o, "marker")) {
        f->state = B_MARKER;
        b->nmarkers++;
    } else
        b->bytes += f->size;
    for (unsigned i = 0; i < l->c.nfiles && f->pattern < 0 && f->state != B_MARKER; i++)
        if (load_name_match(l->c.file[i].match, f->name, NULL))
            f->pattern = (int)i;
    return true;
}

static void line_read(struct loader *l, struct lbatch *b, struct bfile *f, const json_t *o)
{
    (void)b;
    f->other = int_in(o, "recipe") != recipe_crc(l, f->pattern);
    text_set(&f->dir, text_of("%s", text_in(o, "dir")));
    snprintf(f->hash, sizeof f->hash, "%s", text_in(o, "hash"));
    f->rows = (uint64_t)int_in(o, "rows");
    f->rejected = (uint64_t)int_in(o, "rejected");
    f->size = (uint64_t)int_in(o, "size");
    f->mtime = int_in(o, "mtime");
    f->ino = (uint64_t)int_in(o, "ino");
    f->state = B_READ;
    f->verify = !l->same_boot;
}

static json_t *part_line(struct lbatch *b, const json_t *o)
{
    size_t i;
    json_t *p;
    json_array_foreach(b->resume, i, p)
    {
        if (!strcmp(text_in(p, "table"), text_in(o, "table")) &&
            int_in(p, "date") == int_in(o, "date"))
            return p;
    }
    return NULL;
}

static void drop_part(struct lbatch *b, const json_t *o)
{
    json_t *p = part_line(b, o);
    for (size_t i = 0; p && i < json_array_size(b->resume); i++)
        if (json_array_get(b->resume, i) == p) {
            json_array_remove(b->resume, i);
            return;
        }
}

static void line_index(struct loader *l, struct lbatch *b, const json_t *o)
{
    if (!json_is_object(json_object_get(o, "result")) || !*text_in(o, "table") ||
        strlen(text_in(o, "table")) >= SCHEMA_NAME_MAX)
        return;
    if (!b->resume)
        b->resume = json_array();
    drop_part(b, o);
    json_t *p = json_deep_copy(o);
    json_object_set_new(p, "boot", json_boolean(l->same_boot));
    json_object_set_new(p, "merged", json_object());
    json_array_append_new(b->resume, p);
}

static void parts_of_resume(struct loader *l, struct lbatch *b)
{
    size_t i;
    json_t *o;
    json_array_foreach(b->resume, i, o)
    {
        struct lpart p = {.table = loader_intern_name(l, text_in(o, "table")),
                          .date = (int32_t)int_in(o, "date")};
        struct lbatch only = {.gather = b->gather,
                              .name = b->name,
                              .by = b->by,
                              .by_hand = b->by_hand,
                              .supersede = b->supersede,
                              .part = &p,
                              .nparts = 1};
        loader_into(l, &only);
    }
}

static void line_state(struct loader *l, struct lbatch *b, const json_t *o)
{
    static const struct {
        const char *name;
        enum lstate state;
    } states[] = {{"moving", L_MOVING},   {"moved", L_FINISHING}, {"complete", L_COMPLETE},
                  {"partial", L_PARTIAL}, {"failed", L_FAILED},   {"cancelled", L_CANCELLED}};
    const char *is = text_in(o, "is");
    enum lstate to = L_STATES;
    for (unsigned i = 0; i < PST_COUNT(states); i++)
        if (!strcmp(states[i].name, is))
            to = states[i].state;
    if (to == L_STATES || batch_over(b) ||
        (to == L_MOVING && (!b->commit || !json_array_size(b->resume))))
        return;
    bool moved = b->state == L_FINISHING;
    b->state = to;
    if (int_in(o, "epoch"))
        b->epoch = (uint64_t)int_in(o, "epoch");
    if (to == L_MOVING)
        return;
    b->rows = (uint64_t)int_in(o, "rows");
    b->rejected = (uint64_t)int_in(o, "rejected");
    snprintf(b->why, sizeof b->why, "%s", text_in(o, "why"));
    if (to == L_FINISHING)
        parts_of_resume(l, b);
    if (to < L_COMPLETE)
        return;
    b->ended = int_in(o, "at");
    if (!b->nfiles) { /* a compacted one */
        b->bytes = (uint64_t)int_in(o, "bytes");
        b->nread = (unsigned)int_in(o, "files");
    }
    for (unsigned k = 0; k < b->nfiles; k++) {
        struct bfile *f = &b->file[k];
        if (to >= L_FAILED || f->state == B_BAD)
            files_remember(l, b, f, true);
        else if (moved && (f->state == B_READ || f->state == B_MARKER))
            files_remember(l, b, f, false);
    }
    json_decref(b->resume);
    b->resume = NULL;
}

static void line_done(struct loader *l, const json_t *o)
{
    const char *path = text_in(o, "done"), *why = text_in(o, "why"), *gather = text_in(o, "gather");
    if (*path != '/')
        return;
    struct ldone *d = calloc(1, sizeof *d);
    pst_must(d);
    *d = (struct ldone){.path = text_of("%s", path),
                        .size = (uint64_t)int_in(o, "size"),
                        .mtime = int_in(o, "mtime"),
                        .batch = (uint64_t)int_in(o, "batch"),
                        .at = int_in(o, "at"),
                        .failed = true_in(o, "failed"),
                        .marker = true_in(o, "marker"),
                        .part = (uint32_t)int_in(o, "part"),
                        .parts = (uint32_t)int_in(o, "parts"),
                        .rows = (uint64_t)int_in(o, "rows"),
                        .rejected = (uint64_t)int_in(o, "rejected"),
                        .why = *why ? text_of("%s", why) : NULL,
                        .gather = *gather ? text_of("%s", gather) : NULL};
    snprintf(d->hash, sizeof d->hash, "%s", text_in(o, "hash"));
    done_put(l, d);
}

static void line_start(struct loader *l, const json_t *o)
{
    l->start = (uint64_t)int_in(o, "start");
    l->same_boot = !strcmp(text_in(o, "boot"), l->c.boot);
    if ((uint64_t)int_in(o, "next") > l->next_batch && int_in(o, "next") > 0)
        l->next_batch = (uint64_t)int_in(o, "next");
    if ((uint64_t)int_in(o, "commits") > l->commits && int_in(o, "commits") > 0)
        l->commits = (uint64_t)int_in(o, "commits");
}

static void line_into(struct loader *l, const json_t *o)
{
    const char *key = text_in(o, "into");
    if (!*key || lmap_get(&l->into, key))
        return;
    struct linto *x = calloc(1, sizeof *x);
    pst_must(x);
    *x = (struct linto){text_of("%s", key), text_of("%s", text_in(o, "owner"))};
    lmap_put(&l->into, x->key, x);
}

bool store_line(void *arg, const json_t *o, struct err *err)
{
    struct loader *l = arg;
    struct lbatch *b;
    unsigned k;
    struct bfile *f;
    const json_t *at;
    int64_t id;
    (void)err;
    if (json_object_get(o, "start"))
        line_start(l, o);
    else if ((at = json_object_get(o, "file")) != NULL)
        line_file(l, at, o);
    else if ((at = json_object_get(o, "read")) != NULL) {
        if ((f = file_at(l, at, &b, &k)) && f->state != B_MARKER)
            line_read(l, b, f, o);
    } else if ((at = json_object_get(o, "fails")) != NULL) {
        if ((f = file_at(l, at, &b, &k)))
            f->fails = (unsigned)int_in(o, "n");
    } else if ((at = json_object_get(o, "bad")) != NULL) {
        if ((f = file_at(l, at, &b, &k)) && f->state != B_MARKER) {
            b->nbad += f->state != B_BAD;
            f->state = B_BAD;
            text_set(&f->why, text_of("%s", text_in(o, "why")));
        }
    } else if ((at = json_object_get(o, "same")) != NULL) {
        if ((f = file_at(l, at, &b, &k)) && f->state != B_MARKER) {
            b->nsame += f->state != B_SAME;
            f->state = B_SAME;
        }
    } else if ((at = json_object_get(o, "commit")) != NULL) {
        int64_t n = json_integer_value(json_array_get(at, 1));
        id = json_integer_value(json_array_get(at, 0));
        b = id > 0 ? loader_batch(l, (uint64_t)id) : NULL;
        if (n > 0 && (uint64_t)n > l->commits)
            l->commits = (uint64_t)n;
        if (b && n > 0)
            b->commit = (uint64_t)n;
    } else if (json_object_get(o, "pause")) {
        id = int_in(o, "pause");
        b = id > 0 ? loader_batch(l, (uint64_t)id) : NULL;
        if (b)
            b->paused = true_in(o, "on");
        else if (!id)
            l->paused = true_in(o, "on");
    } else if (json_object_get(o, "gather") && json_object_get(o, "since")) {
        const char *name = text_in(o, "gather");
        if (*name) {
            struct gather *g = gather_get(l, name, true);
            g->since_wall = int_in(o, "since");
        }
    } else if (json_object_get(o, "done"))
        line_done(l, o);
    else if (json_object_get(o, "into"))
        line_into(l, o);
    else if (json_object_get(o, "batch"))
        line_batch(l, o);
    else {
        static const char *const kinds[] = {"index", "merged", "again", "state"};
        for (unsigned i = 0; i < PST_COUNT(kinds); i++) {
            id = int_in(o, kinds[i]);
            b = id > 0 ? loader_batch(l, (uint64_t)id) : NULL;
            if (b && b->state == L_FAILED && i == 3 && !strcmp(text_in(o, "is"), "cancelled")) {
                b->state = L_CANCELLED; /* given up */
                snprintf(b->why, sizeof b->why, "%s", text_in(o, "why"));
            }
            if (!b || batch_over(b))
                continue;
            if (i == 0)
                line_index(l, b, o);
            else if (i == 1) {
                json_t *p = part_line(b, o);
                if (p && *text_in(o, "column") && true_in(p, "boot") == l->same_boot)
                    json_object_set_new(json_object_get(p, "merged"), text_in(o, "column"),
                                        json_true());
            } else if (i == 2) {
                drop_part(b, o);
                if (b->state == L_MOVING)
                    b->state = L_READING;
            } else
                line_state(l, b, o);
        }
    }
    return true;
}
