/* SPDX-License-Identifier: Apache-2.0 */
/* What people and SQL see of the tables. Changes nothing. */
#include <inttypes.h>
#include "core/civil.h"
#include "loader.h"

#define FEW 200u

static const struct loader_column task_columns[] = {
    {"taskID", 'j', "number of the task"},
    {"batchID", 'j', "its batch; null: a file that may be a redelivery"},
    {"task", 's', "refresh read hash verify index merge"},
    {"status", 's', "queued processing complete failed retrying quarantined"},
    {"args", 'C', "the file, or the table, date and column"},
    {"readFunction", 's', "of the recipe; null: built in"},
    {"postRead", 's', "of the recipe"},
    {"saveFunction", 's', "of the recipe"},
    {"taskSize", 'j', "estimate in MB (1e6 bytes)"},
    {"retries", 'j', "attempts that failed"},
    {"worker", 's', "that has or had it"},
    {"startTime", 'p', "of the last attempt"},
    {"endTime", 'p', "when it was over"},
    {"success", 'b', "it is complete"},
    {"result", 'C', "directory of what it wrote"},
    {"rows", 'j', "done so far"},
    {"bytes", 'j', "done so far"},
    {"mb", 'f', "the most memory it held"},
    {"error", 'C', "of the last attempt"},
    {NULL, 0, NULL}};
static const struct loader_column worker_columns[] = {
    {"worker", 's', "name"},
    {"status", 's', "free busy starting absent stopping"},
    {"task", 's', "what it does"},
    {"taskID", 'j', "which task"},
    {"pid", 'j', "its process"},
    {"time", 'p', "since when it lives"},
    {"lastTask", 'j', "number of its last task"},
    {"processed", 'j', "tasks it answered, all processes of this slot"},
    {"starts", 'j', "processes of this slot so far"},
    {"mb", 'f', "memory it holds"},
    {"memory", 'j', "its limit in bytes; null: none"},
    {"large", 'b', "it takes the largest files"},
    {"why", 'C', "why its last process ended"},
    {NULL, 0, NULL}};
static const struct loader_column file_columns[] = {
    {"index", 'j', "number in this list"},
    {"time", 'p', "when it was first seen"},
    {"dir", 'C', "staging directory"},
    {"file", 'C', "name"},
    {"status", 's',
     "expected growing checking ready queued processing retrying read complete redelivered refused "
     "quarantined failed unmatched ignored marker"},
    {"validationKey", 'C', "which files it waits for: rule and key of its batch"},
    {"batchID", 'j', "its batch"},
    {"part", 'j', "i of its name"},
    {"parts", 'j', "M of its name"},
    {"size", 'j', "bytes"},
    {"mtime", 'p', "when it was last written"},
    {"recipe", 's', "entry of load.files"},
    {"readFunction", 's', "of the recipe; null: built in"},
    {"postRead", 's', "of the recipe"},
    {"saveFunction", 's', "of the recipe"},
    {"rows", 'j', "that were read"},
    {"rejected", 'j', "rows put aside"},
    {"hash", 'C', "of its content"},
    {"why", 'C', "what is wrong with it"},
    {NULL, 0, NULL}};
static const struct loader_column batch_columns[] = {
    {"batchID", 'j', "number; null: still gathering"},
    {"time", 'p', "when it was released, or its first file came"},
    {"batch", 'C', "name"},
    {"rule", 's', "entry of load.batches"},
    {"status", 's',
     "gathering reading ready interning indexing merging moving finishing complete partial failed "
     "cancelled paused"},
    {"files", 'j', "files of it"},
    {"read", 'j', "files that are read"},
    {"quarantined", 'j', "files that cannot be"},
    {"bytes", 'j', "of its files"},
    {"progress", 'f', "0 to 1"},
    {"rate", 'f', "bytes a second, since it began"},
    {"eta", 'f', "seconds left; null: not known"},
    {"rows", 'j', "of its files"},
    {"rejected", 'j', "rows put aside"},
    {"parts", 'j', "tables and dates"},
    {"commit", 'j', "its number among the publications"},
    {"epoch", 'j', "of the database when it was in"},
    {"priority", 'j', "of its rule"},
    {"deadline", 'p', "by when it must be loaded"},
    {"endTime", 'p', "when it was over"},
    {"seconds", 'f', "from its release to its end, or to now"},
    {"why", 'C', "what is wrong, or what it waits for"},
    {NULL, 0, NULL}};
static const struct loader_column memory_columns[] = {
    {"taskID", 'j', "number of the task"},
    {"worker", 's', "that had it"},
    {"task", 's', "its kind"},
    {"start", 'p', "of the attempt"},
    {"end", 'p', "of the attempt"},
    {"taskSize", 'j', "estimate in MB (1e6 bytes)"},
    {"mb", 'f', "the most memory it held"},
    {NULL, 0, NULL}};

const struct loader_column *loader_columns(enum loader_table t)
{
    static const struct loader_column *const all[] = {task_columns, worker_columns, file_columns,
                                                      batch_columns, memory_columns};
    return t < LOADER_TABLES ? all[t] : NULL;
}

const char *loader_table_name(enum loader_table t)
{
    static const char *const names[] = {"tasks", "workers", "files", "batches", "memory"};
    return t < LOADER_TABLES ? names[t] : "?";
}

/* ---- values ---- */

struct out {
    json_t *rows;
    uint64_t total, index;
    unsigned most;
    bool all;
};

static json_t *number(int64_t v)
{
    return json_integer(v);
}
static json_t *some(int64_t v) /* 0: null */
{
    return v ? json_integer(v) : json_null();
}
static json_t *words(const char *s)
{
    json_t *j = s && *s ? json_string(s) : NULL;
    return j ? j : s && *s ? json_string("(not UTF-8)") : json_null();
}
static json_t *megabytes(uint64_t bytes)
{
    return bytes ? json_real((double)(bytes / 100000) / 10) : json_null();
}
static json_t *worker_name(int w)
{
    char text[8];
    snprintf(text, sizeof text, "w%d", w & 0xFF);
    return w < 0 ? json_null() : json_string(text);
}

/* n values, taken. */
static void row(struct out *o, json_t *const *v, unsigned n)
{
    o->total++;
    if (json_array_size(o->rows) >= o->most) {
        for (unsigned i = 0; i < n; i++)
            json_decref(v[i]);
        return;
    }
    json_t *r = json_array();
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(r, v[i] ? v[i] : json_null());
    json_array_append_new(o->rows, r);
}
static bool full(struct out *o) /* counted only */
{
    if (json_array_size(o->rows) < o->most)
        return false;
    o->total++;
    return true;
}

struct functions {
    json_t *read, *post, *save;
};
static struct functions functions_of(const struct loader *l, int pattern)
{
    struct functions f = {NULL, NULL, NULL};
    json_t *o = pattern >= 0 && (unsigned)pattern < l->c.nfiles
                    ? json_loads(l->c.file[pattern].recipe, 0, NULL)
                    : NULL;
    f.read = words(json_string_value(json_object_get(o, "read")));
    f.post = words(json_string_value(json_object_get(o, "post_read")));
    f.save = words(json_string_value(json_object_get(o, "save")));
    json_decref(o);
    return f;
}

/* ---- tasks ---- */

static void task_row(const struct loader *l, const struct ltask *t, struct out *o)
{
    if (full(o))
        return;
    bool done = t->end_wall != 0;
    struct functions f = functions_of(l, t->pattern);
    json_t *const v[] = {number((int64_t)t->id),
                         some((int64_t)t->batch_id),
                         words(task_kind_name[t->kind]),
                         words(task_state_name[t->state]),
                         words(t->what),
                         f.read,
                         f.post,
                         f.save,
                         number((int64_t)load_plan_megabytes(t->size)),
                         number(t->fails),
                         worker_name(t->worker),
                         some(t->start_wall),
                         some(t->end_wall),
                         done ? json_boolean(t->state == T_COMPLETE) : json_null(),
                         words(t->dir),
                         number((int64_t)t->rows),
                         number((int64_t)t->bytes),
                         megabytes(t->heap),
                         words(t->error)};
    row(o, v, PST_COUNT(v));
}

static void task_rows(const struct loader *l, struct out *o)
{
    static const enum tstate order[] = {T_PROCESSING, T_RETRYING, T_QUEUED};
    for (unsigned i = 0; i < PST_COUNT(order); i++)
        for (const struct ltask *t = l->tasks; t; t = t->next)
            if (t->state == order[i])
                task_row(l, t, o);
    uint64_t n = l->nended < LOADER_ENDED_TASKS ? l->nended : LOADER_ENDED_TASKS;
    for (uint64_t i = 0; i < n; i++) {
        const struct ltask *t = l->ended[(l->nended - 1 - i) % LOADER_ENDED_TASKS];
        if (t && (o->all || l->wall - t->end_wall < NS_PER_DAY))
            task_row(l, t, o);
    }
}

/* ---- workers, memory ---- */

static void worker_rows(const struct loader *l, struct out *o)
{
    static const char *const states[] = {"absent", "starting", "free", "stopping"};
    for (unsigned w = 0; w < l->c.workers; w++) {
        const struct lwork *k = &l->work[w];
        bool large = l->c.large_worker && w == 0;
        uint64_t limit =
            large && l->c.large_worker_memory ? l->c.large_worker_memory : l->c.worker_memory;
        json_t *const v[] = {worker_name((int)w),
                             words(k->state == W_LIVE && k->task ? "busy" : states[k->state]),
                             words(k->task ? task_kind_name[k->task->kind] : NULL),
                             some(k->task ? (int64_t)k->task->id : 0),
                             some(k->pid),
                             some(k->state == W_LIVE ? k->up_wall : 0),
                             some((int64_t)k->last_task),
                             number((int64_t)k->processed),
                             number((int64_t)k->starts),
                             megabytes(k->heap),
                             some((int64_t)limit),
                             json_boolean(large),
                             words(k->why)};
        row(o, v, PST_COUNT(v));
    }
}

static void memory_rows(const struct loader *l, struct out *o)
{
    uint64_t n = l->nhistory < LOADER_HISTORY ? l->nhistory : LOADER_HISTORY;
    for (uint64_t i = 0; i < n && !full(o); i++) {
        const struct lhistory *h = &l->history[(l->nhistory - 1 - i) % LOADER_HISTORY];
        json_t *const v[] = {number((int64_t)h->task),
                             worker_name((int)h->worker),
                             words(task_kind_name[h->kind]),
                             some(h->start),
                             some(h->end),
                             number((int64_t)load_plan_megabytes(h->size)),
                             megabytes(h->heap)};
        row(o, v, PST_COUNT(v));
    }
}

/* ---- files ---- */

static const char *file_state(const struct sfile *s, const struct bfile *f)
{
    static const char *const names[F_STATES] = {"growing",  "checking",    "ready",   "queued",
                                                "complete", "redelivered", "refused", "quarantined",
                                                "failed",   "unmatched",   "ignored"};
    if (s->marker && (s->state == F_READY || s->state == F_LOADED || s->state == F_SAME))
        return "marker";
    if (s->state != F_BATCHED || !f)
        return names[s->state];
    if (f->state == B_READ)
        return "read";
    if (f->state == B_BAD)
        return "quarantined";
    if (f->state == B_SAME)
        return "redelivered";
    if (f->state == B_MARKER)
        return "marker";
    return f->task ? task_state_name[f->task->state] : "queued";
}

/* Worst first. */
static unsigned file_class(const struct sfile *s)
{
    switch (s->state) {
    case F_QUARANTINED:
    case F_REFUSED:
    case F_FAILED:
        return 0;
    case F_UNMATCHED:
        return 1;
    case F_BATCHED:
        return 2;
    case F_GROWING:
    case F_CHECKING:
    case F_READY:
        return 3;
    default:
        return 4;
    }
}

static void file_row(const struct loader *l, const struct sfile *s, struct out *o)
{
    if (full(o))
        return;
    const struct bfile *f = s->batch ? lmap_get(&l->batched, s->path) : NULL;
    const struct ldone *d = done_get(l, s->path);
    bool loaded = !f && d && !d->failed && !d->marker;
    const char *rule = s->rule < 0 ? NULL : l->c.nrules ? l->c.rule[s->rule].name : l->each.name;
    char *key =
        rule ? text_of("%s%s%s", rule, s->key && *s->key ? " " : "", s->key ? s->key : "") : NULL;
    struct functions fn = functions_of(l, s->pattern);
    json_t *const v[] = {number((int64_t)++o->index),
                         some(s->seen),
                         words(l->c.staging[s->directory]),
                         words(s->name),
                         words(file_state(s, f)),
                         words(key),
                         some(s->batch ? (int64_t)s->batch->id
                              : d      ? (int64_t)d->batch
                                       : 0),
                         some(s->part),
                         some(s->parts),
                         number((int64_t)s->size),
                         some(s->mtime),
                         words(s->pattern >= 0 ? l->c.file[s->pattern].name : NULL),
                         fn.read,
                         fn.post,
                         fn.save,
                         f && f->state == B_READ ? number((int64_t)f->rows)
                         : loaded                ? number((int64_t)d->rows)
                                                 : json_null(),
                         f && f->state == B_READ ? number((int64_t)f->rejected)
                         : loaded                ? number((int64_t)d->rejected)
                                                 : json_null(),
                         words(f && *f->hash ? f->hash
                               : d           ? d->hash
                                             : NULL),
                         words(s->why ? s->why
                               : f    ? f->why
                                      : NULL)};
    free(key);
    row(o, v, PST_COUNT(v));
}

/* The parts that a counted batch still expects, and what will be done with them. */
static void expected_rows(const struct loader *l, const struct gather *g, struct out *o)
{
    const struct sfile *one = g->first;
    const char *first = strchr(g->key, '#');
    if (!one || !one->parts || one->parts > 10000 || g->failed || !g->since)
        return;
    uint8_t *there = calloc(one->parts / 8 + 1, 1);
    pst_must(there);
    for (const struct sfile *s = g->first; s; s = s->next)
        if (s->part <= one->parts)
            there[s->part / 8] |= (uint8_t)(1u << s->part % 8);
    for (uint32_t i = 1; i <= one->parts; i++) {
        if (there[i / 8] >> i % 8 & 1 || full(o))
            continue;
        const char *second = first ? strchr(first + 1, '#') : NULL;
        char *name = first && second
                         ? text_of("%.*s%u%.*s%u%s", (int)(first - g->key), g->key, i,
                                   (int)(second - first - 1), first + 1, one->parts, second + 1)
                         : text_of("part %u of %u of %s", i, one->parts, g->key);
        int pattern = second ? -1 : one->pattern; /* its name is not known */
        for (unsigned k = 0; second && k < l->c.nfiles && pattern < 0; k++)
            if (load_name_match(l->c.file[k].match, name, NULL))
                pattern = (int)k;
        struct functions fn = functions_of(l, pattern);
        char *key = text_of("%s %s", l->c.rule[g->rule].name, g->key);
        json_t *const v[] = {number((int64_t)++o->index),
                             json_null(),
                             words(l->c.staging[g->directory]),
                             words(name),
                             words("expected"),
                             words(key),
                             json_null(),
                             number(i),
                             number(one->parts),
                             json_null(),
                             json_null(),
                             words(pattern >= 0 ? l->c.file[pattern].name : NULL),
                             fn.read,
                             fn.post,
                             fn.save,
                             json_null(),
                             json_null(),
                             json_null(),
                             json_null()};
        free(name);
        free(key);
        row(o, v, PST_COUNT(v));
    }
    free(there);
}

static void file_rows(const struct loader *l, struct out *o)
{
    for (unsigned c = 0; c < 5; c++) {
        if (c == 3)
            for (const struct gather *g = l->all_gathers; g; g = g->next)
                if (g->rule >= 0 && l->c.nrules && l->c.rule[g->rule].by == LOAD_BY_COUNT)
                    expected_rows(l, g, o);
        for (uint64_t i = 0; l->files.slot && i <= l->files.mask; i++) {
            const struct sfile *s = l->files.slot[i].value;
            if (s && file_class(s) == c)
                file_row(l, s, o);
        }
    }
}

/* ---- batches ---- */

static double read_so_far(const struct loader *l, const struct lbatch *b)
{
    double done = (double)b->bytes_read;
    for (unsigned w = 0; w < l->c.workers; w++) {
        const struct ltask *t = l->work[w].task;
        if (t && t->batch == b && t->kind == T_READ && t->file)
            done += (double)(t->bytes < t->file->size ? t->bytes : t->file->size);
    }
    return done;
}

/* Reading counts for six tenths: what comes then is merged from memory and written once. */
static double progress(const struct loader *l, const struct lbatch *b)
{
    if (b->state >= L_FINISHING)
        return b->state >= L_FAILED || b->state == L_ENDING ? 0 : 1;
    double read = b->bytes ? read_so_far(l, b) / (double)b->bytes : 1;
    double commit = b->commit_bytes ? (double)b->commit_done / (double)b->commit_bytes : 0;
    return 0.6 * (read < 1 ? read : 1) + 0.4 * (commit < 1 ? commit : 1);
}

/* Seconds; < 0: not known. */
static double eta(const struct loader *l, const struct lbatch *b)
{
    double seconds = (double)(l->mono - b->began) / 1e9, p = progress(l, b);
    if (batch_over(b))
        return -1;
    if (b->state <= L_READY && l->read_rate > 0 && l->commit_rate > 0)
        return ((double)b->bytes - read_so_far(l, b)) / (l->read_rate * l->c.workers) +
               (double)b->bytes / l->commit_rate;
    return p > 0.01 ? seconds / p * (1 - p) : -1;
}

static void gather_row(const struct loader *l, const struct gather *g, struct out *o)
{
    if (!g->n || !g->since || g->rule < 0 || full(o))
        return;
    uint64_t bytes = 0;
    uint32_t parts = 0;
    for (const struct sfile *s = g->first; s; s = s->next) {
        bytes += s->size;
        parts = s->parts > parts ? s->parts : parts;
    }
    enum load_by by = l->c.nrules ? l->c.rule[g->rule].by : LOAD_BY_EACH;
    const char *name = *g->key == '=' ? g->key + 1 : g->key;
    char *why = g->problem               ? text_of("%s", g->problem)
                : g->waits               ? text_of("%s", g->waits)
                : parts                  ? text_of("%u of %u parts are there", g->n, parts)
                : by == LOAD_BY_TRIGGER  ? text_of("its trigger is not there")
                : by == LOAD_BY_MANIFEST ? text_of("a manifest that names its files is not there")
                                         : NULL;
    json_t *const v[] = {json_null(),
                         some(g->since_wall),
                         words(*name ? name : "-"),
                         words(l->c.nrules ? l->c.rule[g->rule].name : l->each.name),
                         words("gathering"),
                         number(g->n),
                         number(0),
                         number(0),
                         number((int64_t)bytes),
                         json_real(0),
                         json_null(),
                         json_null(),
                         json_null(),
                         json_null(),
                         json_null(),
                         json_null(),
                         json_null(),
                         some(l->c.nrules ? l->c.rule[g->rule].priority : 0),
                         json_null(),
                         json_null(),
                         json_real((double)(l->mono - g->since) / 1e9),
                         words(why)};
    free(why);
    row(o, v, PST_COUNT(v));
}

static void batch_row(const struct loader *l, const struct lbatch *b, struct out *o)
{
    if (full(o))
        return;
    bool over = batch_over(b);
    double seconds = over ? (double)(b->ended - b->at) / 1e9 : (double)(l->mono - b->began) / 1e9;
    double done = over ? (double)b->bytes : read_so_far(l, b), left = eta(l, b);
    json_t *const v[] = {
        number((int64_t)b->id),
        some(b->at),
        words(b->name),
        words(b->rule < 0   ? NULL
              : l->c.nrules ? l->c.rule[b->rule].name
                            : l->each.name),
        words(batch_state_name(b)),
        number(b->nfiles ? b->nfiles - b->nmarkers : b->nread), /* 0: a compacted one */
        number(b->nread + b->nsame),
        number(b->nbad),
        number((int64_t)b->bytes),
        json_real(progress(l, b)),
        seconds > 0 ? json_real(done / seconds) : json_null(),
        left >= 0 ? json_real(left) : json_null(),
        number((int64_t)b->rows),
        number((int64_t)b->rejected),
        number(b->nparts),
        some((int64_t)b->commit),
        some((int64_t)b->epoch),
        number(b->priority),
        some(b->deadline),
        some(b->ended),
        json_real(seconds),
        words(b->why)};
    row(o, v, PST_COUNT(v));
}

static void batch_rows(const struct loader *l, struct out *o)
{
    for (const struct lbatch *b = l->first; b; b = b->next)
        if (!batch_over(b))
            batch_row(l, b, o);
    for (const struct gather *g = l->all_gathers; g; g = g->next)
        gather_row(l, g, o);
    unsigned n = 0;
    const struct lbatch **over = malloc((l->nbatches + 1) * sizeof *over);
    pst_must(over);
    for (const struct lbatch *b = l->first; b; b = b->next)
        if (batch_over(b) && (o->all || l->wall - b->ended < NS_PER_DAY))
            over[n++] = b;
    while (n--)
        batch_row(l, over[n], o);
    free(over);
}

json_t *loader_json(const struct loader *l, enum loader_table t, bool all)
{
    struct out o = {.rows = json_array(), .most = all ? UINT32_MAX : FEW, .all = all};
    if (t == LOADER_TASKS)
        task_rows(l, &o);
    else if (t == LOADER_WORKERS)
        worker_rows(l, &o);
    else if (t == LOADER_FILES_SEEN)
        file_rows(l, &o);
    else if (t == LOADER_BATCHES)
        batch_rows(l, &o);
    else
        memory_rows(l, &o);
    return json_pack("{s:s,s:o,s:I}", "table", loader_table_name(t), "rows", o.rows, "total",
                     (json_int_t)o.total);
}

/* ---- one screen ---- */

#define TROUBLES 20u
static void trouble(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void trouble(json_t *list, const char *fmt, ...)
{
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_t *s = json_array_size(list) < TROUBLES ? json_string(text) : NULL;
    if (s)
        json_array_append_new(list, s);
}

/* The list is one screen. */
static void more_trouble(json_t *list, uint64_t files)
{
    if (json_array_size(list) < TROUBLES)
        return;
    char text[120];
    snprintf(text, sizeof text,
             "and more; %" PRIu64 " file%s in all cannot be loaded: penstock load files", files,
             files == 1 ? "" : "s");
    json_array_append_new(list, json_string(text));
}

/* What is told of directories, workers and files that are not in staging any more. */
static void alarmed(const struct loader *l, json_t *list)
{
    static const bool told[LOADER_ALARMS] = {[LOADER_ALARM_STAGING] = true,
                                             [LOADER_ALARM_FINISH] = true,
                                             [LOADER_ALARM_WORKER] = true,
                                             [LOADER_ALARM_DEADLINE] = true};
    for (unsigned i = 0; i < l->nalarms; i++) {
        const struct lalarm *a = &l->alarm[i];
        if (told[a->code] && a->code != LOADER_ALARM_STAGING)
            trouble(list, "%s", a->text);
        else if (told[a->code] ||
                 (a->code == LOADER_ALARM_QUARANTINE && !lmap_get(&l->files, a->subject)))
            trouble(list, "%s: %s", a->subject, a->text);
    }
}

json_t *loader_status(const struct loader *l)
{
    struct loader_figures f;
    loader_figures(l, &f);
    json_t *list = json_array(), *batches = json_object(), *files = json_object();
    uint64_t count[F_STATES] = {0};
    double rate = 0, left = -1;
    if (l->m.error)
        trouble(list, "%s cannot be written: %s", l->m.path, strerror(-l->m.error));
    if (l->space_until > l->mono)
        trouble(list, "a disk is full: tasks wait %lld s: %s",
                (long long)((l->space_until - l->mono) / NS_PER_S + 1),
                l->space_why ? l->space_why : "");
    alarmed(l, list);
    for (const struct lbatch *b = l->first; b; b = b->next) {
        const char *state = batch_state_name(b);
        if (!batch_over(b)) {
            double e = eta(l, b), s = (double)(l->mono - b->began) / 1e9;
            left = e > left ? e : left;
            rate += s > 0 ? read_so_far(l, b) / s : 0;
            if (*b->why)
                trouble(list, "batch %" PRIu64 " (%s) %s: %s", b->id, b->name, state, b->why);
        } else if (b->state == L_FAILED && l->wall - b->ended < NS_PER_DAY && files_failed(l, b))
            trouble(list, "batch %" PRIu64 " (%s) %s: %s", b->id, b->name, state, b->why);
        else if (l->wall - b->ended >= NS_PER_DAY)
            continue;
        json_object_set_new(batches, state,
                            json_integer(json_integer_value(json_object_get(batches, state)) + 1));
    }
    for (const struct gather *g = l->all_gathers; g; g = g->next)
        if (g->problem)
            trouble(list, "%s: %s",
                    *g->key == '=' ? g->key + 1
                    : *g->key      ? g->key
                                   : "waiting files",
                    g->problem);
    for (uint64_t i = 0; l->files.slot && i <= l->files.mask; i++) {
        const struct sfile *s = l->files.slot[i].value;
        if (!s)
            continue;
        count[s->state]++;
        if (s->state == F_QUARANTINED || s->state == F_REFUSED)
            trouble(list, "%s: %s", s->name, s->why ? s->why : "");
    }
    more_trouble(list, count[F_QUARANTINED] + count[F_REFUSED]);
    static const char *const names[F_STATES] = {"growing",  "checking",    "ready",   "in batches",
                                                "complete", "redelivered", "refused", "quarantined",
                                                "failed",   "unmatched",   "ignored"};
    for (unsigned i = 0; i < F_STATES; i++)
        if (count[i])
            json_object_set_new(files, names[i], json_integer((json_int_t)count[i]));
    if (f.gathering)
        json_object_set_new(batches, "gathering", json_integer((json_int_t)f.gathering));
    static const char *const whys[] = {"",
                                       "",
                                       "all workers are busy",
                                       "no task fits the memory budget beside those that run",
                                       "a large task waits for room",
                                       "too little memory is free (load.throttle)"};
    bool waiting = l->m.error || l->space_until > l->mono || l->why == LOAD_PLAN_THROTTLED;
    const char *state = l->paused    ? "paused"
                        : waiting    ? "waiting"
                        : l->nactive ? "working"
                                     : "idle";
    json_t *o =
        json_pack("{s:s,s:s,s:o,s:o,s:I,s:I,s:f,s:o,s:o,s:I,s:I,s:I,s:I,s:o}", "state", state,
                  "why", f.queued ? whys[l->why] : "", "batches", batches, "files", files, "queued",
                  (json_int_t)f.queued, "processing", (json_int_t)f.processing, "rate", rate, "eta",
                  left >= 0 ? json_real(left) : json_null(), "free",
                  l->memory_known ? json_integer((json_int_t)l->free_memory) : json_null(),
                  "budget", (json_int_t)l->budget, "limit", (json_int_t)l->limit, "in_flight",
                  (json_int_t)l->in_flight, "commits", (json_int_t)l->commits, "trouble", list);
    if (o) {
        json_object_set_new(o, "rows", json_integer((json_int_t)f.rows));
        json_object_set_new(o, "loaded_batches", json_integer((json_int_t)(f.batches)));
        json_object_set_new(o, "buffer", json_integer((json_int_t)l->c.memory_buffer));
        json_object_set_new(o, "throttle", json_integer((json_int_t)l->c.throttle));
    }
    return o;
}

/* ---- dry run ---- */

static bool plan_file(struct loader *l, const char *name, const char *path, uint64_t size,
                      const struct sfile *s, json_t *list, double *seconds)
{
    struct load_named named = {0};
    int rule = -1, pattern = -1;
    const char *wrong = NULL;
    char text[100];
    for (unsigned i = 0; i < (l->c.nrules ? l->c.nrules : 1) && rule < 0; i++) {
        const struct loader_rule *r = l->c.nrules ? &l->c.rule[i] : &l->each;
        if (r->by == LOAD_BY_COUNT ? load_name_counted(r->match, name, &named)
                                   : load_name_match(r->match, name, &named)) {
            rule = (int)i;
            if (r->by == LOAD_BY_COUNT)
                wrong = load_part_error(&named, text);
        }
    }
    for (unsigned i = 0; i < l->c.nfiles && pattern < 0; i++)
        if (load_name_match(l->c.file[i].match, name, NULL))
            pattern = (int)i;
    if (load_name_ignored(name))
        wrong = "a name that is never looked at";
    else if (pattern < 0)
        wrong = "no entry of load.files matches its name";
    else if (rule < 0)
        wrong = "no entry of load.batches matches its name";
    const struct ldone *d = done_get(l, path);
    char done[200];
    if (!wrong && d && !d->failed) {
        snprintf(done, sizeof done, "loaded by batch %" PRIu64 "%s", d->batch,
                 d->size == size ? " (the same again is a no-op)" : "; other content is refused");
        wrong = done;
    }
    uint64_t estimate = file_estimate(l, name, size, pattern);
    uint64_t budget = load_plan_budget(l->limit, l->memory_known ? l->free_memory : UINT64_MAX / 2,
                                       l->c.memory_buffer);
    if (l->read_rate > 0)
        *seconds += (double)size / (l->read_rate * l->c.workers);
    if (l->commit_rate > 0)
        *seconds += (double)size / l->commit_rate;
    json_t *o =
        json_pack("{s:o,s:o,s:o,s:o,s:I,s:I,s:b,s:o,s:o}", "file", words(path), "rule",
                  words(rule < 0      ? NULL
                        : l->c.nrules ? l->c.rule[rule].name
                                      : l->each.name),
                  "key", words(named.key), "recipe",
                  words(pattern < 0 ? NULL : l->c.file[pattern].name), "size", (json_int_t)size,
                  "estimate", (json_int_t)estimate, "alone", (int)(estimate >= budget), "state",
                  words(s ? file_state(s, s->batch ? lmap_get(&l->batched, s->path) : NULL) : NULL),
                  "why", words(wrong));
    if (!o)
        return false;
    if (named.parts) {
        json_object_set_new(o, "part", json_integer(named.part));
        json_object_set_new(o, "parts", json_integer(named.parts));
    }
    if (pattern >= 0)
        json_object_set_new(o, "recipe_text", words(l->c.file[pattern].recipe));
    return json_array_append_new(list, o) == 0;
}

static bool plan_sfile(struct loader *l, const struct sfile *s, json_t *list, double *seconds)
{
    return s->marker || plan_file(l, s->name, s->path, s->size, s, list, seconds);
}

json_t *loader_plan(struct loader *l, const char *const *what, unsigned n, struct err *err)
{
    json_t *list = json_array();
    double seconds = 0;
    for (unsigned i = 0; i < n; i++) {
        struct io_stat st;
        const struct sfile *s = lmap_get(&l->files, what[i]);
        for (unsigned k = 0; k < l->c.nstaging && !s; k++) {
            char path[1200];
            snprintf(path, sizeof path, "%s/%s", l->c.staging[k], what[i]);
            s = lmap_get(&l->files, path);
        }
        const struct lbatch *b = s ? NULL : loader_batch(l, loader_find(l, what[i]));
        if (s)
            plan_sfile(l, s, list, &seconds);
        else if (b)
            for (unsigned k = 0; k < b->nfiles; k++)
                plan_file(l, b->file[k].name, b->file[k].path, b->file[k].size, b->file[k].s, list,
                          &seconds);
        else if (*what[i] == '/' && l->io->ops->stat(l->io, what[i], &st) == 0)
            plan_file(l, strrchr(what[i], '/') + 1, what[i], st.size, NULL, list, &seconds);
        else {
            json_decref(list);
            err_set(err, -ENOENT, "there is no batch, no file in staging and no file called %s",
                    what[i]);
            return NULL;
        }
    }
    for (uint64_t i = 0; !n && l->files.slot && i <= l->files.mask; i++) {
        const struct sfile *s = l->files.slot[i].value;
        if (s && (file_class(s) == 2 || file_class(s) == 3) && json_array_size(list) < 1000)
            plan_sfile(l, s, list, &seconds);
    }
    uint64_t free_bytes = l->memory_known ? l->free_memory : 0;
    return json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:o}", "files", list, "budget",
                     (json_int_t)load_plan_budget(l->limit, free_bytes, l->c.memory_buffer),
                     "limit", (json_int_t)l->limit, "free", (json_int_t)free_bytes, "buffer",
                     (json_int_t)l->c.memory_buffer, "workers", (json_int_t)l->c.workers, "seconds",
                     l->read_rate > 0 ? json_real(seconds) : json_null());
}
