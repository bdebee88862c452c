/* SPDX-License-Identifier: Apache-2.0 */
/* A released batch, phase by phase. */
#include <inttypes.h>
#include "core/civil.h"
#include "loader.h"

static const char *const state_name[L_STATES] = {"reading", "ready",     "interning", "indexing",
                                                 "moving",  "finishing", "finishing", "complete",
                                                 "partial", "failed",    "cancelled"};

const char *batch_state_name(const struct lbatch *b)
{
    if (b->paused && !batch_over(b))
        return "paused";
    if (b->state == L_BUILDING) {
        for (unsigned i = 0; i < b->nparts; i++)
            if (b->part[i].state < P_MERGING)
                return "indexing";
        return "merging";
    }
    return state_name[b->state];
}

void batch_state(struct loader *l, struct lbatch *b, enum lstate s)
{
    if (b->state == L_READING && s != L_READING)
        gather_dirty(l, b->gather);
    b->state = s;
    l->wake = true;
}

uint64_t file_estimate(const struct loader *l, const char *name, uint64_t size, int pattern)
{
    double x = pattern >= 0 && (unsigned)pattern < l->c.nfiles ? l->c.file[pattern].expansion : 0;
    static const char *const packed[] = {".gz", ".zst", ".lz4", ".zip"};
    size_t n = strlen(name);
    for (unsigned i = 0; x <= 0 && i < PST_COUNT(packed); i++)
        if (n > strlen(packed[i]) && !strcmp(name + n - strlen(packed[i]), packed[i]))
            x = 4;
    return x > 0 ? (uint64_t)((double)size * x) : size;
}

void batch_queue_read(struct loader *l, struct lbatch *b, unsigned k)
{
    struct bfile *f = &b->file[k];
    struct ltask *t =
        task_add(l, f->verify ? T_VERIFY : T_READ, b,
                 file_estimate(l, f->name, f->size, f->pattern), text_of("%s", f->path));
    t->file = f;
    t->pattern = f->pattern;
    t->fails = f->fails;
    if (f->verify)
        t->dir = text_of("%s", f->dir);
    if (l->c.fixed && !f->verify)
        t->fixed = (int)load_plan_static(k, b->nfiles, l->c.workers);
    f->task = t;
    task_queue(l, t);
}

/* ---- results of reading ---- */

static const char *member_text(const json_t *o, const char *name)
{
    const char *t = json_string_value(json_object_get(o, name));
    return t ? t : "";
}
static uint64_t member_count(const json_t *o, const char *name)
{
    json_int_t v = json_integer_value(json_object_get(o, name));
    return v > 0 ? (uint64_t)v : 0;
}

/* What a read task says it wrote: from a hostile worker, so only numbers, dates and names that can
 * be the name of a table. */
static bool take_written(struct loader *l, struct bfile *f, const json_t *result, struct err *err)
{
    const json_t *written = json_object_get(result, "written"), *w, *c;
    size_t n = json_array_size(written), i, j;
    struct bwritten *list = calloc(n + 1, sizeof *list);
    pst_must(list);
    bool ok = json_is_array(written);
    json_array_foreach(written, i, w)
    {
        const char *table = member_text(w, "table");
        ok = ok && *table && strlen(table) < SCHEMA_NAME_MAX && *table != '.' &&
             !strchr(table, '/') && civil_parse(member_text(w, "date"), &list[i].date);
        if (!ok)
            break;
        list[i].table = loader_intern_name(l, table);
        list[i].rows = member_count(w, "rows");
        const char *sym = member_text(w, "symCol"), *sort = member_text(w, "sortCol");
        json_array_foreach(json_object_get(w, "columns"), j, c)
        {
            const char *name = json_string_value(json_array_get(c, 0));
            json_int_t bytes = json_integer_value(json_array_get(c, 2));
            json_int_t more = json_integer_value(json_array_get(c, 4));
            uint64_t sum = (bytes > 0 ? (uint64_t)bytes : 0) + (more > 0 ? (uint64_t)more : 0);
            list[i].bytes += sum;
            if (name && (!strcmp(name, *sym ? sym : "sym") || !strcmp(name, *sort ? sort : "time")))
                list[i].key_bytes += sum;
        }
    }
    if (!ok) {
        free(list);
        return err_set(err, -EBADMSG, "the result of reading it makes no sense");
    }
    free(f->written);
    f->written = list;
    f->nwritten = (unsigned)n;
    return true;
}

bool batch_result(struct loader *l, struct lbatch *b, unsigned k, const json_t *result,
                  struct err *err)
{
    struct bfile *f = &b->file[k];
    if (!take_written(l, f, result, err))
        return false;
    f->rows = member_count(result, "rows");
    f->rejected = member_count(result, "rejected");
    f->symbols = member_count(json_object_get(result, "symbols"), "count");
    snprintf(f->hash, sizeof f->hash, "%s", member_text(result, "hash"));
    return true;
}

static void count_read(struct loader *l, struct lbatch *b)
{
    b->nread++;
    if (b->nread + b->nbad + b->nsame + b->nmarkers == b->nfiles)
        l->wake = true;
}

void batch_read_done(struct loader *l, struct lbatch *b, unsigned k, const json_t *result,
                     const char *dir)
{
    struct bfile *f = &b->file[k];
    struct err err = {0};
    if (!batch_result(l, b, k, result, &err)) {
        batch_file_bad(l, b, k, err.text);
        return;
    }
    text_set(&f->dir, text_of("%s", dir));
    f->verify = false;
    b->bytes_read += f->size;
    l->f.bytes += f->size;
    const struct ldone *d = b->supersede ? NULL : done_hash(l, f->hash, f->name);
    if (d) { /* from another directory, or by hand */
        f->state = B_SAME;
        b->nsame++;
        l->f.redelivered++;
        store_same(l, b, k);
        loader_log(l, "%s: batch %llu has loaded a file of this name and content: nothing to do",
                   f->path, (unsigned long long)d->batch);
        l->wake = true;
        return;
    }
    f->state = B_READ;
    store_read(l, b, k);
    count_read(l, b);
}

void batch_file_bad(struct loader *l, struct lbatch *b, unsigned k, const char *why)
{
    struct bfile *f = &b->file[k];
    char text[LOADER_WHY];
    size_t n = strlen(f->path);
    if (!strncmp(why, f->path, n) && !strncmp(why + n, ": ", 2))
        why += n + 2; /* all who show it name the file */
    if (f->state == B_READ)
        b->nread--;
    f->state = B_BAD;
    b->nbad++;
    text_set(&f->why, text_of("%s", why));
    l->f.quarantined++;
    store_bad(l, b, k);
    file_reason(l, f->path, why);
    snprintf(text, sizeof text, "batch %" PRIu64 ": %.350s", b->id, why);
    alarm_set(l, LOADER_ALARM_QUARANTINE, f->path, text);
    if (l->c.quarantine_directory && file_unchanged(l, f)) { /* else it is another delivery */
        char from[1400], to[1400];
        snprintf(to, sizeof to, "%s/%s", l->c.quarantine_directory, f->name);
        int r = l->io->ops->rename(l->io, f->path, to);
        if (r == 0) {
            snprintf(from, sizeof from, "%s.reason", f->path);
            snprintf(to, sizeof to, "%s/%s.reason", l->c.quarantine_directory, f->name);
            l->io->ops->rename(l->io, from, to);
        } else if (r != -ENOENT)
            loader_log(l, "%s cannot be moved to %s: %s", f->path, l->c.quarantine_directory,
                       strerror(-r));
        l->f.io_calls += 2;
    }
    if (!b->partial) {
        snprintf(text, sizeof text, "%.150s: %.220s", f->name, why);
        batch_fail(l, b, L_FAILED, text);
    } else if (b->nread + b->nsame == 0 && b->nbad + b->nmarkers == b->nfiles)
        batch_fail(l, b, L_FAILED, b->nbad == 1 ? why : "all of its files are quarantined");
    l->wake = true;
}

/* ---- the end ---- */

void batch_fail(struct loader *l, struct lbatch *b, enum lstate verdict, const char *why)
{
    if (b->state >= L_FINISHING)
        return;
    snprintf(b->why, sizeof b->why, "%s", why);
    b->verdict = verdict;
    batch_state(l, b, L_ENDING);
    tasks_drop(l, b, NULL);
    if (b->hold)
        action_add(l, A_RELEASE, 0, b->id);
    b->hold = false;
}

static void free_slot(struct loader *l, struct lbatch *b)
{
    if (l->slot == b)
        l->slot = NULL;
    l->wake = true;
}

static void batch_ended(struct loader *l, struct lbatch *b, enum lstate state)
{
    batch_state(l, b, state);
    b->ended = l->wall;
    l->nactive--;
    free_slot(l, b);
    workers_recycle(l);
    trash_add(l, text_of("%s/%s", l->c.temporary, b->key));
    alarm_clear(l, LOADER_ALARM_DEADLINE, b->key);
    if (b->deadline && b->ended > b->deadline && state <= L_PARTIAL) {
        char text[300];
        snprintf(text, sizeof text, "batch %" PRIu64 " (%.150s) was loaded %lld s late", b->id,
                 b->name, (long long)((b->ended - b->deadline) / NS_PER_S));
        alarm_set(l, LOADER_ALARM_DEADLINE, b->key, text);
    }
    if (!l->nactive)
        loader_log(l, "nothing to run");
    gather_dirty(l, b->gather);
}

void batch_failed_alarm(struct loader *l, const struct lbatch *b)
{
    char subject[32], text[LOADER_WHY + 200];
    snprintf(subject, sizeof subject, "%" PRIu64, b->id);
    snprintf(text, sizeof text, "batch %" PRIu64 " (%.150s): %s", b->id, b->name, b->why);
    alarm_set(l, LOADER_ALARM_BATCH, subject, text);
}

static void end_failed(struct loader *l, struct lbatch *b)
{
    files_batch_ended(l, b);
    store_state(l, b, b->verdict == L_CANCELLED ? "cancelled" : "failed");
    if (b->indexed)
        action_add(l, A_DISCARD, 0, b->id);
    if (b->verdict == L_FAILED) {
        batch_failed_alarm(l, b);
        l->f.batches_failed++;
    }
    loader_log(l, "batch %" PRIu64 " (%s) %s: %s", b->id, b->name,
               b->verdict == L_CANCELLED ? "cancelled" : "failed", b->why);
    batch_ended(l, b, b->verdict);
}

json_t *batch_facts(const struct loader *l, const struct lbatch *b)
{
    json_t *dates = json_array(), *tables = json_array();
    char text[CIVIL_TEXT];
    for (unsigned i = 0; i < b->nparts; i++) {
        bool date = true, table = true;
        for (unsigned k = 0; k < i; k++) {
            date &= b->part[k].date != b->part[i].date;
            table &= b->part[k].table != b->part[i].table;
        }
        civil_format(b->part[i].date, text);
        if (date)
            json_array_append_new(dates, json_string(text));
        if (table)
            json_array_append_new(tables, json_string(b->part[i].table));
    }
    const char *rule = b->rule < 0 ? "" : l->c.nrules ? l->c.rule[b->rule].name : l->each.name;
    return json_pack("{s:I,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:b,s:o,s:o}", "batch",
                     (json_int_t)b->id, "name", b->name, "rule", rule, "state",
                     b->nbad ? "partial" : "complete", "commit", (json_int_t)b->commit, "epoch",
                     (json_int_t)b->epoch, "rows", (json_int_t)b->rows, "rejected",
                     (json_int_t)b->rejected, "bytes", (json_int_t)b->bytes, "files",
                     (json_int_t)(b->nread + b->nsame), "quarantined", (json_int_t)b->nbad,
                     "seconds", (double)(l->mono - b->began) / 1e9, "supersede", (int)b->supersede,
                     "dates", dates, "tables", tables);
}

/* ---- phases ---- */

static void resume_parts(struct loader *l, struct lbatch *b)
{
    size_t i;
    json_t *o;
    json_array_foreach(b->resume, i, o)
    {
        for (unsigned k = 0; k < b->nparts; k++) {
            struct lpart *p = &b->part[k];
            if (!json_is_true(json_object_get(o, "boot")) ||
                strcmp(p->table, member_text(o, "table")) != 0 ||
                p->date != json_integer_value(json_object_get(o, "date")) ||
                p->inputs != json_integer_value(json_object_get(o, "inputs")))
                continue;
            text_set(&p->dir, text_of("%s", member_text(o, "dir")));
            json_decref(p->merged);
            p->merged = json_incref(json_object_get(o, "merged"));
            b->indexed = true;
            part_indexed(l, b, p, json_object_get(o, "result"));
        }
    }
    json_decref(b->resume);
    b->resume = NULL;
}

static void start_building(struct loader *l, struct lbatch *b)
{
    batch_state(l, b, L_BUILDING);
    b->intern_sent = false;
    l->symbols++;
    for (unsigned i = 0; i < b->nparts; i++)
        if (b->part[i].state == P_WAITING)
            break;
    resume_parts(l, b);
    for (unsigned i = 0; i < b->nparts; i++)
        if (b->part[i].state == P_WAITING)
            part_queue(l, b, &b->part[i]);
}

static void start_commit(struct loader *l, struct lbatch *b)
{
    l->slot = b;
    b->commit_began = l->mono;
    if (!b->nparts) {
        parts_make(l, b);
        if (!batch_may_supersede(l, b))
            return;
    }
    if (!b->nparts) { /* no rows at all */
        store_state(l, b, "moved");
        batch_state(l, b, L_FINISHING);
        return;
    }
    /* Numbers are used in their order: what is in a table is told by a range of them. */
    if (!b->commit || b->commit != l->commits) {
        b->commit = ++l->commits;
        json_decref(b->resume); /* indexed for another number */
        b->resume = NULL;
        store_commit(l, b);
    }
    batch_state(l, b, L_INTERNING);
}

static void step_interning(struct loader *l, struct lbatch *b)
{
    if (b->intern_sent)
        return;
    if (b->due > l->mono) {
        if (b->due < l->next_due)
            l->next_due = b->due;
        return;
    }
    bool symbols = false;
    for (unsigned k = 0; k < b->nfiles; k++)
        symbols |= b->file[k].state == B_READ && b->file[k].symbols;
    if (!symbols) {
        start_building(l, b);
        return;
    }
    b->intern_sent = true;
    action_add(l, A_INTERN, 0, b->id);
}

static void step_moving(struct loader *l, struct lbatch *b)
{
    if (b->move_sent)
        return;
    if (b->due > l->mono) {
        if (b->due < l->next_due)
            l->next_due = b->due;
        return;
    }
    b->move_sent = true;
    action_add(l, A_MOVE, 0, b->id);
}

static void step_finishing(struct loader *l, struct lbatch *b)
{
    if (!files_finish(l, b)) {
        l->wake = true;
        return;
    }
    if (!b->hooked) { /* before the end is written: it is run at least once */
        b->hooked = true;
        action_add(l, A_FINISHED, 0, b->id);
        l->wake = true;
        return;
    }
    store_state(l, b, b->nbad ? "partial" : "complete");
    double s = (double)(l->mono - b->commit_began) / 1e9;
    if (b->commit_began && s > 0.01 && b->bytes)
        l->commit_rate = l->commit_rate > 0 ? 0.7 * l->commit_rate + 0.3 * (double)b->bytes / s
                                            : (double)b->bytes / s;
    loader_log(
        l, "batch %" PRIu64 " (%s) %s: %" PRIu64 " row%s of %u file%s in %u partition%s, %.1f s",
        b->id, b->name, b->nbad ? "partial" : "complete", b->rows, b->rows == 1 ? "" : "s",
        b->nread, b->nread == 1 ? "" : "s", b->nparts, b->nparts == 1 ? "" : "s",
        (double)(l->mono - b->began) / 1e9);
    l->f.rows += b->rows;
    l->f.rejected += b->rejected;
    batch_ended(l, b, b->nbad ? L_PARTIAL : L_COMPLETE);
}

/* A paused batch gives its turn to one that waits; it is indexed anew, later. */
static bool yields(struct loader *l, struct lbatch *b)
{
    bool waits = false;
    for (const struct lbatch *x = l->first; x && !waits; x = x->next)
        waits = x->state == L_READY && !x->paused;
    if (!b->paused || l->paused || !waits || b->nrunning || b->intern_sent || b->hold)
        return false;
    tasks_drop(l, b, NULL);
    parts_forget(l, b);
    batch_state(l, b, L_READY);
    free_slot(l, b);
    return true;
}

static void step(struct loader *l, struct lbatch *b)
{
    bool held = b->paused || l->paused;
    if (held && (b->state == L_INTERNING || b->state == L_BUILDING) && yields(l, b))
        return;
    switch (b->state) {
    case L_READING:
        if (b->nread + b->nbad + b->nsame + b->nmarkers == b->nfiles) {
            batch_state(l, b, L_READY);
            b->ready_at = l->wall;
        }
        break;
    case L_INTERNING:
        if (!held)
            step_interning(l, b);
        break;
    case L_BUILDING:
        if (b->merged == b->nparts && !held) {
            batch_state(l, b, L_MOVING);
            b->due = 0;
            b->move_sent = false;
            store_state(l, b, "moving");
            /* the move itself: once that is synced (the outbox) */
        }
        break;
    case L_MOVING:
        step_moving(l, b);
        break;
    case L_FINISHING:
        step_finishing(l, b);
        break;
    case L_ENDING: /* hook intern is answered first: there is one at a time */
        if (!b->nrunning && !b->intern_sent)
            end_failed(l, b);
        break;
    default:
        break;
    }
}

/* < 0: a goes first. Waiting counts: nothing waits for ever behind what is urgent. */
int batch_rank(const struct loader *l, const struct lbatch *a, const struct lbatch *b)
{
    int64_t x = a->priority + (l->mono - a->began) / LOADER_AGE,
            y = b->priority + (l->mono - b->began) / LOADER_AGE;
    if (x != y)
        return x > y ? -1 : 1;
    int64_t p = a->deadline ? a->deadline : INT64_MAX, q = b->deadline ? b->deadline : INT64_MAX;
    if (p != q)
        return p < q ? -1 : 1;
    if (a->ready_at != b->ready_at && a->ready_at && b->ready_at)
        return a->ready_at < b->ready_at ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static void prune(struct loader *l)
{
    unsigned over = l->nbatches > l->nactive ? l->nbatches - (unsigned)l->nactive : 0;
    for (struct lbatch **at = &l->first; over > LOADER_ENDED_BATCHES && *at;) {
        struct lbatch *b = *at;
        if (!batch_over(b)) {
            at = &b->next;
            continue;
        }
        char subject[32];
        snprintf(subject, sizeof subject, "%" PRIu64, b->id);
        alarm_clear(l, LOADER_ALARM_BATCH, subject);
        *at = b->next;
        batch_free(b);
        l->nbatches--;
        over--;
    }
    l->last = l->first;
    while (l->last && l->last->next)
        l->last = l->last->next;
}

static void deadline(struct loader *l, struct lbatch *b)
{
    if (b->deadline && batch_over(b) && l->wall - b->ended > 3600 * NS_PER_S)
        alarm_clear(l, LOADER_ALARM_DEADLINE, b->key);
    if (!b->deadline || batch_over(b))
        return;
    double rate = l->read_rate * l->c.workers;
    int64_t left = rate > 0 ? (int64_t)((double)(b->bytes - b->bytes_read) / rate * 1e9) : 0;
    if (l->commit_rate > 0 && b->state <= L_READY)
        left += (int64_t)((double)b->bytes / l->commit_rate * 1e9);
    if (l->wall + left <= b->deadline)
        return;
    char text[300], when[CIVIL_TEXT];
    civil_format((int32_t)(b->deadline / NS_PER_DAY), when);
    snprintf(text, sizeof text,
             "batch %" PRIu64 " (%.120s) is to be loaded by %s %02d:%02d UTC and %s", b->id,
             b->name, when, (int)(b->deadline % NS_PER_DAY / (3600 * NS_PER_S)),
             (int)(b->deadline / (60 * NS_PER_S) % 60),
             l->wall > b->deadline ? "is late" : "will be late");
    alarm_set(l, LOADER_ALARM_DEADLINE, b->key, text);
}

void batches_tick(struct loader *l)
{
    if (l->nactive) {
        for (struct lbatch *b = l->first; b; b = b->next)
            if (!batch_over(b))
                step(l, b);
        if (!l->slot ||
            l->slot->state == L_READY) { /* READY: its reads were verified, or resumed */
            struct lbatch *best = l->slot;
            for (struct lbatch *b = l->first; b && !l->slot; b = b->next)
                if (b->state == L_READY && !b->paused && !l->paused &&
                    (!best || batch_rank(l, b, best) < 0))
                    best = b;
            if (best && !best->paused) {
                start_commit(l, best);
                if (!batch_over(best))
                    step(l, best);
            }
        }
    }
    if (l->nbatches > l->nactive + LOADER_ENDED_BATCHES + 100)
        prune(l);
    if (l->mono >= l->house)
        for (struct lbatch *b = l->first; b; b = b->next)
            deadline(l, b);
}

/* ---- answers ---- */

static int64_t backoff(const struct loader *l, unsigned fails)
{
    int64_t d = l->c.retry_backoff;
    for (unsigned i = 1; i < fails && d < LOADER_SPACE_WAIT; i++)
        d *= 2;
    return d < LOADER_SPACE_WAIT ? d : LOADER_SPACE_WAIT;
}

static bool no_space(int code)
{
    return code == -ENOSPC || code == -EDQUOT;
}

void loader_interned(struct loader *l, uint64_t batch, int code, bool retryable, const char *text)
{
    struct lbatch *b = loader_batch(l, batch);
    l->wake = true;
    if (b && b->state == L_ENDING)
        b->intern_sent = false;
    if (!b || b->state != L_INTERNING || !b->intern_sent)
        return;
    b->intern_sent = false;
    if (code == 0) {
        b->interns = 0;
        alarm_clear(l, LOADER_ALARM_SPACE, "sym");
        start_building(l, b);
        return;
    }
    char why[LOADER_WHY];
    snprintf(why, sizeof why, "its symbols: %.300s", text);
    b->interns++;
    if (!no_space(code) && code != -EIO && (!retryable || b->interns > l->c.retries)) {
        batch_fail(l, b, L_FAILED, why);
        return;
    }
    /* the disk or the database: it waits for people, who are told */
    if (no_space(code) || b->interns > l->c.retries)
        alarm_set(l, LOADER_ALARM_SPACE, "sym", why);
    snprintf(b->why, sizeof b->why, "%s", why);
    b->due = l->mono + backoff(l, no_space(code) ? 4 : b->interns);
    l->f.retries++;
}

void loader_moved(struct loader *l, uint64_t batch, enum loader_verdict v, const bool *stale,
                  uint64_t epoch, const char *text)
{
    struct lbatch *b = loader_batch(l, batch);
    char why[LOADER_WHY];
    l->wake = true;
    if (!b || b->state != L_MOVING || !b->move_sent)
        return;
    b->move_sent = false;
    if (v == LOADER_MOVED) {
        alarm_clear(l, LOADER_ALARM_SPACE, "move");
        b->epoch = epoch;
        b->why[0] = 0;
        if (b->hold)
            action_add(l, A_RELEASE, 0, b->id);
        b->hold = false;
        loader_into(l, b);
        store_state(l, b, "moved");
        batch_state(l, b, L_FINISHING);
        return;
    }
    if (v == LOADER_STALE) {
        if (b->again && !b->part[0].ninputs) { /* after a restart: parts come from the reads */
            b->again = false;
            batch_verify_reads(l, b, "its parts are not known any more");
            return;
        }
        bool any = false;
        for (unsigned i = 0; i < b->nparts && b->state == L_MOVING; i++)
            any |= stale && stale[i];
        for (unsigned i = 0; i < b->nparts && (b->state == L_MOVING || b->state == L_BUILDING); i++)
            if (!any || stale[i])
                part_again(l, b, &b->part[i], text ? text : "the partition changed meanwhile");
        return;
    }
    snprintf(why, sizeof why, "publishing: %.300s", text ? text : "");
    if (v == LOADER_REFUSED) {
        batch_fail(l, b, L_FAILED, why);
        return;
    }
    snprintf(b->why, sizeof b->why, "%s", why);
    if (++b->moves >= 3) /* a lock that somebody holds for a moment is no news */
        alarm_set(l, LOADER_ALARM_SPACE, "move", why);
    b->due = l->mono + backoff(l, b->moves);
    l->f.retries++;
}

/* What is given to hook move; free() it. */
struct loader_move *batch_move(struct loader *l, struct lbatch *b)
{
    (void)l;
    struct loader_move *m = calloc(1, sizeof *m + b->nparts * sizeof *m->part);
    pst_must(m);
    struct loader_part *part = (struct loader_part *)(m + 1);
    *m = (struct loader_move){.batch = b->id,
                              .commit = b->commit,
                              .key = b->key,
                              .name = b->name,
                              .n = b->nparts,
                              .part = part,
                              .again = b->again || b->moves};
    for (unsigned i = 0; i < b->nparts; i++)
        part[i] = (struct loader_part){.table = b->part[i].table,
                                       .date = b->part[i].date,
                                       .rows = b->part[i].rows,
                                       .supersede = b->supersede,
                                       .index = b->part[i].index};
    return m;
}

/* ---- after a restart ---- */

static void resume(struct loader *l, struct lbatch *b)
{
    struct err err = {0};
    if (b->state == L_FINISHING || b->state == L_MOVING) {
        size_t i;
        json_t *o;
        unsigned room = 0;
        json_array_foreach(b->resume, i, o)
        {
            struct lpart *p =
                part_of(b, loader_intern_name(l, member_text(o, "table")),
                        (int32_t)json_integer_value(json_object_get(o, "date")), &room);
            p->rows = member_count(o, "rows");
            p->state = P_MERGED;
            json_decref(p->index);
            p->index = json_incref(json_object_get(o, "result"));
        }
        json_decref(b->resume);
        b->resume = NULL;
        b->merged = b->nparts;
        b->indexed = true;
        b->rows = b->rejected = 0; /* the line that says that it is in says them, too */
        for (unsigned k = 0; k < b->nfiles; k++) {
            b->rows += b->file[k].rows;
            b->rejected += b->file[k].rejected;
        }
        l->slot = b;
        b->again = b->state == L_MOVING;
        for (unsigned k = 0; k < b->nfiles; k++) {
            b->nread += b->file[k].state == B_READ;
            b->bytes_read += b->file[k].state == B_READ ? b->file[k].size : 0;
        }
        return;
    }
    for (unsigned k = 0; k < b->nfiles; k++) {
        struct bfile *f = &b->file[k];
        json_t *result = NULL;
        if (f->state == B_READ) {
            b->bytes_read += f->size;
            if (f->other)
                f->verify = false;
            if (f->verify || f->other)
                f->state = B_QUEUED;
            else if (l->h.result ? l->h.result(l->h.arg, f->dir, &result, &err) : false) {
                if (batch_result(l, b, k, result, &err))
                    b->nread++;
                else
                    f->state = B_QUEUED;
            } else
                f->state = B_QUEUED;
            json_decref(result);
        }
        if (f->state == B_QUEUED)
            batch_queue_read(l, b, k);
    }
    if (b->commit && b->commit == l->commits)
        l->slot = b; /* it was the one */
    if (b->nbad && !b->partial)
        batch_fail(l, b, L_FAILED, "a file of it is quarantined");
    else if (b->nbad && b->nbad + b->nmarkers == b->nfiles)
        batch_fail(l, b, L_FAILED, "all of its files are quarantined");
}

static bool list_temporary(void *arg, const char *name)
{
    struct loader *l = arg;
    char prefix[LOADER_KEY];
    int n = snprintf(prefix, sizeof prefix, "%016" PRIx64 "-", l->c.instance);
    if (strncmp(name, prefix, (size_t)n) != 0)
        return true;
    const struct lbatch *b = loader_batch(l, strtoull(name + n, NULL, 10));
    if (!b || batch_over(b))
        trash_add(l, text_of("%s/%s", l->c.temporary, name));
    return true;
}

void batches_resume(struct loader *l)
{
    for (struct lbatch *b = l->first; b; b = b->next)
        if (!batch_over(b))
            resume(l, b);
    l->io->ops->list(l->io, l->c.temporary, list_temporary, l);
}
