/* SPDX-License-Identifier: Apache-2.0 */
/* The tables and dates of a batch: indexed, merged, done anew; corrections of what was loaded. */
#include <inttypes.h>
#include "core/civil.h"
#include "core/crc.h"
#include "loader.h"

#define STALE_HOLD 2u
#define STALE_MAX  8u

/* ---- parts ---- */

struct lpart *part_of(struct lbatch *b, const char *table, int32_t date, unsigned *room)
{
    for (unsigned i = b->nparts; i--;)
        if (b->part[i].date == date && b->part[i].table == table)
            return &b->part[i];
    b->part = room_for(b->part, b->nparts, room, sizeof *b->part);
    b->part[b->nparts] = (struct lpart){.table = table, .date = date};
    return &b->part[b->nparts++];
}

static int by_date(const void *a, const void *b)
{
    const struct lpart *x = a, *y = b;
    return x->date != y->date ? x->date < y->date ? -1 : 1 : strcmp(x->table, y->table);
}

void parts_make(struct loader *l, struct lbatch *b)
{
    unsigned room = 0;
    pst_must(!b->nparts);
    b->rows = b->rejected = 0;
    (void)l;
    for (unsigned k = 0; k < b->nfiles; k++) {
        const struct bfile *f = &b->file[k];
        if (f->state != B_READ)
            continue;
        b->rows += f->rows;
        b->rejected += f->rejected;
        for (unsigned i = 0; i < f->nwritten; i++) {
            const struct bwritten *w = &f->written[i];
            struct lpart *p = part_of(b, w->table, w->date, &room);
            p->rows += w->rows;
            p->bytes += w->bytes;
            p->key_bytes += w->key_bytes;
            if (!(p->ninputs & (p->ninputs - 1))) {
                p->input = realloc(p->input, (p->ninputs ? 2 * p->ninputs : 1) * sizeof *p->input);
                pst_must(p->input);
            }
            p->input[p->ninputs++] = k;
            p->inputs = crc32c(p->inputs, f->dir, strlen(f->dir) + 1);
        }
    }
    if (b->nparts)
        qsort(b->part, b->nparts, sizeof *b->part, by_date);
    for (unsigned i = 0; i < b->nparts; i++)
        b->commit_bytes += 2 * b->part[i].bytes;
}

static char *part_text(const struct lpart *p, const char *column)
{
    char date[CIVIL_TEXT];
    civil_format(p->date, date);
    return text_of("%s %s%s%s", p->table, date, column ? " " : "", column ? column : "");
}

void part_queue(struct loader *l, struct lbatch *b, struct lpart *p)
{
    struct ltask *t = task_add(l, T_INDEX, b, p->key_bytes, part_text(p, NULL));
    t->part = p;
    p->state = P_INDEXING;
    task_queue(l, t);
}

static void check_merged(struct loader *l, struct lbatch *b, struct lpart *p)
{
    if (p->merges || p->state == P_MERGED)
        return;
    p->state = P_MERGED;
    b->merged++;
    l->wake = true;
}

/* One merge task a column, as the index task lists them. */
void part_indexed(struct loader *l, struct lbatch *b, struct lpart *p, json_t *index)
{
    const json_t *columns = json_object_get(index, "columns"), *c;
    size_t i;
    json_incref(index);
    json_decref(p->index);
    p->index = index;
    p->state = P_MERGING;
    p->merges = 0;
    b->commit_done += p->key_bytes;
    json_array_foreach(columns, i, c)
    {
        const char *name = json_is_array(c) ? json_string_value(json_array_get(c, 0))
                                            : json_string_value(json_object_get(c, "name"));
        json_int_t bytes = json_is_array(c) ? json_integer_value(json_array_get(c, 2))
                                            : json_integer_value(json_object_get(c, "bytes"));
        if (!name || (p->merged && json_object_get(p->merged, name)))
            continue;
        struct ltask *t =
            task_add(l, T_MERGE, b, bytes > 0 ? (uint64_t)bytes : 0, part_text(p, name));
        t->part = p;
        t->column = text_of("%s", name);
        p->merges++;
        task_queue(l, t);
    }
    check_merged(l, b, p);
}

void part_merged(struct loader *l, struct lbatch *b, struct lpart *p, const char *columns)
{
    if (!p->merged)
        p->merged = json_object();
    json_object_set_new(p->merged, columns, json_true());
    store_merged(l, b, p, columns);
    if (p->merges)
        p->merges--;
    check_merged(l, b, p);
}

void part_again(struct loader *l, struct lbatch *b, struct lpart *p, const char *why)
{
    char text[LOADER_WHY];
    tasks_drop(l, b, p);
    if (p->state == P_MERGED)
        b->merged--;
    p->stale++;
    l->f.stale++;
    if (p->stale > STALE_MAX + l->c.retries) {
        snprintf(text, sizeof text, "the partition changed under it %u times: %.250s", p->stale,
                 why);
        batch_fail(l, b, L_FAILED, text);
        return;
    }
    if (p->stale >= STALE_HOLD && !b->hold) {
        b->hold = true;
        action_add(l, A_HOLD, 0, b->id);
    }
    json_decref(p->index);
    json_decref(p->merged);
    p->index = p->merged = NULL;
    p->merges = 0;
    p->state = P_WAITING;
    store_part_again(l, b, p);
    if (b->state == L_MOVING)
        batch_state(l, b, L_BUILDING);
    b->move_sent = false;
    loader_log(l, "batch %" PRIu64 ": %s: once more: %s", b->id, p->table, why);
    part_queue(l, b, p);
}

/* An index task found a result missing or damaged: which one is for the workers to say. */
void batch_verify_reads(struct loader *l, struct lbatch *b, const char *why)
{
    if (++b->verifies > 1 + l->c.retries) {
        char text[LOADER_WHY];
        snprintf(text, sizeof text, "%.300s; that its files were read again changed nothing", why);
        batch_fail(l, b, L_FAILED, text);
        return;
    }
    tasks_drop(l, b, NULL);
    for (unsigned i = 0; i < b->nparts; i++) {
        struct lpart *p = &b->part[i];
        store_part_again(l, b, p);
        free(p->input);
        free(p->dir);
        json_decref(p->index);
        json_decref(p->merged);
    }
    b->nparts = b->merged = 0;
    free(b->part);
    b->part = NULL;
    b->commit_bytes = b->commit_done = 0;
    b->nread = 0;
    batch_state(l, b, L_READING);
    for (unsigned k = 0; k < b->nfiles; k++)
        if (b->file[k].state == B_READ) {
            b->file[k].state = B_QUEUED;
            b->file[k].verify = true;
            batch_queue_read(l, b, k);
        }
}

/* What was indexed and merged counts no longer. */
void parts_forget(struct loader *l, struct lbatch *b)
{
    for (unsigned i = 0; i < b->nparts; i++) {
        struct lpart *p = &b->part[i];
        store_part_again(l, b, p);
        p->state = P_WAITING;
        p->merges = 0;
        json_decref(p->index);
        json_decref(p->merged);
        p->index = p->merged = NULL;
    }
    b->merged = 0;
    b->commit_done = 0;
}

void batch_intern_again(struct loader *l, struct lbatch *b, const char *why)
{
    if (++b->interns > 1 + l->c.retries) {
        batch_fail(l, b, L_FAILED, why);
        return;
    }
    tasks_drop(l, b, NULL);
    parts_forget(l, b);
    b->intern_sent = false;
    batch_state(l, b, L_INTERNING);
}

/* ---- corrections ---- */

static char *into_key(const struct lpart *p)
{
    return text_of("%s %d", p->table, p->date);
}
static const char *owner_of(const struct lbatch *b, const struct lpart *p)
{
    if (b->by == LOAD_BY_EACH && !b->by_hand)
        return p->ninputs == 1 ? b->file[p->input[0]].path : "*";
    return b->gather ? b->gather : b->name;
}

struct linto {
    char *key, *owner;
};

/* Who loaded into which table and date: after a move, and as the manifest has it. */
void loader_into(struct loader *l, const struct lbatch *b)
{
    for (unsigned i = 0; i < b->nparts; i++) {
        char *key = into_key(&b->part[i]);
        const char *owner = owner_of(b, &b->part[i]);
        struct linto *x = lmap_get(&l->into, key);
        if (!x) {
            x = calloc(1, sizeof *x);
            pst_must(x);
            *x = (struct linto){key, text_of("%s", owner)};
            lmap_put(&l->into, x->key, x);
        } else {
            if (b->supersede)
                text_set(&x->owner, text_of("%s", owner));
            else if (strcmp(x->owner, owner) != 0)
                text_set(&x->owner, text_of("*"));
            free(key);
        }
    }
}

bool batch_may_supersede(struct loader *l, struct lbatch *b)
{
    for (unsigned i = 0; b->supersede && i < b->nparts; i++) {
        char *key = into_key(&b->part[i]), date[CIVIL_TEXT];
        const struct linto *x = lmap_get(&l->into, key);
        free(key);
        if (!x || !strcmp(x->owner, owner_of(b, &b->part[i])))
            continue;
        char text[LOADER_WHY];
        civil_format(b->part[i].date, date);
        snprintf(
            text, sizeof text,
            "it would replace %.60s of %s, into which another batch was loaded too: those rows "
            "would be lost",
            b->part[i].table, date);
        batch_fail(l, b, L_FAILED, text);
        return false;
    }
    return true;
}
