/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>
#include "writedown_job.h"

#define LOG_BYTES (1ull << 30)

/* A column that fits is done in one pass; only pages that are used are ever taken. */
static uint64_t buffer_bytes(void)
{
    uint64_t n = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 16;
    return n < 64u << 20 ? 64u << 20 : n > 1u << 30 ? 1u << 30 : n;
}

static int64_t now(const struct writedown *w)
{
    return w->cfg.io->ops->monotonic(w->cfg.io);
}

/* ---- progress ---- */

static void show(struct writedown *w, const char *step, const char *table)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < w->workers; i++)
        bytes += load_relaxed(&w->worker[i].wrote);
    pthread_mutex_lock(&w->lock);
    snprintf(w->progress.step, sizeof w->progress.step, "%s", step);
    snprintf(w->progress.table, sizeof w->progress.table, "%s", table ? table : "");
    w->progress.bytes = bytes;
    pthread_mutex_unlock(&w->lock);
}

static void done_rows(struct writedown *w, unsigned tables, uint64_t rows)
{
    pthread_mutex_lock(&w->lock);
    w->progress.tables_done += tables;
    w->progress.rows_done += rows;
    pthread_mutex_unlock(&w->lock);
}

void writedown_progress(const struct writedown *w, struct writedown_progress *out)
{
    union { /* the lock is all that changes */
        const pthread_mutex_t *c;
        pthread_mutex_t *p;
    } lock = {.c = &w->lock};
    pthread_mutex_lock(lock.p);
    *out = w->progress;
    pthread_mutex_unlock(lock.p);
}

/* ---- life ---- */

struct writedown *writedown_create(const struct writedown_config *cfg, struct err *err)
{
    struct writedown *w = calloc(1, sizeof *w);
    if (!w) {
        err_set(err, -ENOMEM, "no memory for a writedown");
        return NULL;
    }
    w->cfg = *cfg;
    if (!w->cfg.threads)
        w->cfg.threads = 1;
    if (w->cfg.threads > WRITEDOWN_THREADS)
        w->cfg.threads = WRITEDOWN_THREADS;
    if (!w->cfg.buffer_bytes)
        w->cfg.buffer_bytes = buffer_bytes();
    if (w->cfg.buffer_bytes < 1u << 20)
        w->cfg.buffer_bytes = 1u << 20;
    if (!w->cfg.log_bytes)
        w->cfg.log_bytes = LOG_BYTES;
    if (w->cfg.log_bytes < 4u << 20)
        w->cfg.log_bytes = 4u << 20;
    pthread_mutex_init(&w->lock, NULL);
    strcpy(w->progress.step, "idle");
    return w;
}

/* What a job holds in memory and files; its stage stays. */
static void release(struct writedown *w)
{
    wd_unit_end(w);
    for (unsigned i = 0; i < w->workers; i++)
        if (w->worker[i].io)
            wd_out_wait(&w->worker[i], 2, NULL);
    for (unsigned i = 0; i < w->ntables; i++) {
        struct wd_table *t = &w->table[i];
        for (unsigned c = 0; c < SCHEMA_COLUMNS_MAX; c++)
            if (w->workers)
                wd_column_abandon(&w->worker[0], &t->column[c]);
        if (t->exists)
            wd_existing_close(&t->existing);
        free(t->group);
    }
    for (unsigned i = 0; i < w->workers; i++)
        wd_worker_free(&w->worker[i]);
    w->workers = 0;
    free(w->table);
    w->table = NULL;
    w->ntables = 0;
    for (unsigned i = 0; i < w->nviews; i++)
        free(w->view[i]);
    free(w->view);
    w->view = NULL;
    w->nviews = 0;
    if (w->log.open)
        wd_log_close(&w->log);
    free(w->unit);
    w->unit = NULL;
    w->nunits = w->units_room = w->next = 0;
    free(w->ranks);
    w->ranks = NULL;
    if (w->symbols_ready)
        wd_symbols_free(&w->symbols);
    w->symbols_ready = false;
}

void writedown_abandon(struct writedown *w)
{
    release(w);
    if (w->staging)
        hdb_stage_abandon(&w->stage);
    w->staging = false;
    if (w->state != WD_FAILED && w->state != WD_DONE)
        w->state = WD_IDLE;
}

void writedown_destroy(struct writedown *w)
{
    if (!w)
        return;
    writedown_abandon(w);
    free(w->tables);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void writedown_cancel(struct writedown *w)
{
    store_relaxed(&w->cancel, true);
}

const struct err *writedown_error(const struct writedown *w)
{
    return &w->err;
}

const struct writedown_result *writedown_result(const struct writedown *w)
{
    return &w->result;
}

/* ---- start ---- */

static void copy_job(struct writedown *w, const struct writedown_job *job)
{
    w->job = *job;
    snprintf(w->calendar, sizeof w->calendar, "%s", job->calendar ? job->calendar : "");
    snprintf(w->kind, sizeof w->kind, "%s", job->kind ? job->kind : "eod");
    w->job.calendar = w->calendar;
    w->job.kind = w->kind;
    w->job.tables = NULL; /* not kept */
    if (!job->log) {
        w->job.nparts = job->nparts;
        return;
    }
    w->job.map = NULL;
    w->job.nparts = 0;
    w->log_cfg = *job->log;
    for (unsigned i = 0; i < CURSOR_DIRS && job->log->dirs[i]; i++) {
        snprintf(w->log_dir[i], sizeof w->log_dir[i], "%s", job->log->dirs[i]);
        w->log_cfg.dirs[i] = w->log_dir[i];
    }
    snprintf(w->log_prefix, sizeof w->log_prefix, "%s", job->log->prefix);
    w->log_cfg.prefix = w->log_prefix;
    w->job.log = &w->log_cfg;
}

static bool all_in_already(struct writedown *w)
{
    for (unsigned i = 0; i < w->ntables; i++)
        if (!wd_already(w, &w->table[i]))
            return false;
    return w->ntables && !w->job.rebuild;
}

static bool start_log(struct writedown *w, struct err *err)
{
    struct wd_log_table *t = calloc(w->ntables + 1, sizeof *t);
    if (!t)
        return err_set(err, -ENOMEM, "no memory for %u tables", w->ntables);
    for (unsigned i = 0; i < w->ntables; i++)
        t[i] = (struct wd_log_table){.schema = &w->table[i].schema, .all = true};
    bool ok = wd_log_open(&w->log, w->cfg.io, &w->job, w->cfg.log_bytes, t, w->ntables, err) &&
              wd_log_begin(&w->log, WD_COLLECT, err);
    free(t);
    return ok;
}

/* What is known once the rows are: what exists, columns, room. */
static bool plan(struct writedown *w, struct err *err)
{
    return wd_plan_existing(w, err) && wd_plan_targets(w, err) && wd_plan_space(w, err);
}

static bool start(struct writedown *w, const struct writedown_job *job, struct err *err)
{
    if (job->ntables > WRITEDOWN_TABLES)
        return err_set(err, -E2BIG, "a job has at most %u tables", WRITEDOWN_TABLES);
    if (!wd_plan_tables(w, job, err))
        return false;
    pthread_mutex_lock(&w->lock);
    w->progress.tables = w->ntables;
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->cfg.threads; i++) {
        struct io *io = w->cfg.column_io[i];
        if (!io && i) /* an io_uring belongs to one thread; these threads live for one column */
            io = io_posix_create(err);
        if (!wd_worker_init(&w->worker[i], io, w->cfg.buffer_bytes, w->cfg.buffered, err))
            return false;
        if (i && !w->cfg.column_io[i])
            w->worker[i].own_io = true;
        w->workers++;
    }
    if (all_in_already(w)) {
        w->state = WD_SYM;
        return plan(w, err);
    }
    if (w->job.log) {
        w->state = WD_LOG_PASS;
        return start_log(w, err);
    }
    w->state = WD_SYM;
    w->job.parts = job->parts;
    return wd_plan_views(w, err) && plan(w, err);
}

bool writedown_start(struct writedown *w, const struct writedown_job *job, struct err *err)
{
    writedown_abandon(w);
    free(w->tables);
    w->tables = NULL;
    memset(&w->result, 0, sizeof w->result);
    memset(&w->err, 0, sizeof w->err);
    pthread_mutex_lock(&w->lock);
    w->progress = (struct writedown_progress){.step = "plan"};
    pthread_mutex_unlock(&w->lock);
    store_relaxed(&w->cancel, false);
    w->started = now(w);
    w->log_all = false;
    copy_job(w, job);
    show(w, "plan", NULL);
    if (start(w, job, err))
        return true;
    release(w);
    w->state = WD_IDLE;
    show(w, "failed", NULL);
    return false;
}

/* ---- steps ---- */

/* The range of a job that did not say it is what the log holds. */
static void settle_range(struct writedown *w)
{
    if (!w->job.end)
        w->job.end = w->log.reached;
}

static bool log_surveyed(struct writedown *w, struct err *err)
{
    for (unsigned i = 0; i < w->ntables; i++)
        w->table[i].new_rows = w->log.table[i].rows;
    settle_range(w);
    w->result.lost_bytes = w->log.lost_bytes;
    w->state = WD_SYM;
    return plan(w, err);
}

static bool log_collected(struct writedown *w, struct err *err)
{
    if (w->symbols_ready) { /* a later pass: its units are next */
        w->state = WD_ORDER;
        return !w->log.full ||
               err_set(err, -ENOMEM, "the rows of one pass over the log do not fit %llu MB",
                       (unsigned long long)(w->log.region >> 20));
    }
    if (w->log.full)
        return wd_log_begin(&w->log, WD_SURVEY, err);
    w->log_all = true;
    for (unsigned i = 0; i < w->log.parts; i++)
        w->table[w->log.part[i]->table].new_rows += w->log.part[i]->rows;
    settle_range(w);
    w->result.lost_bytes = w->log.lost_bytes;
    w->state = WD_SYM;
    return plan(w, err);
}

/* Units of the pass that now is due, and nothing else, are collected. */
static bool begin_pass(struct writedown *w, struct err *err)
{
    unsigned pass = w->unit[w->next].pass;
    for (unsigned i = 0; i < w->ntables; i++) {
        w->log.table[i].all = false;
        w->log.table[i].unit = NULL;
    }
    for (unsigned i = w->next; i < w->nunits && w->unit[i].pass == pass; i++)
        w->log.table[w->unit[i].table].unit = &w->unit[i];
    w->log.ranks = w->ranks;
    w->log.codes = &w->symbols;
    w->state = WD_LOG_PASS;
    return wd_log_begin(&w->log, WD_COLLECT, err);
}

static bool cut_units(struct writedown *w, struct err *err)
{
    w->next = 0;
    return wd_plan_ranges(w, err) && (!w->nunits || begin_pass(w, err));
}

/* Counts by id, as they were surveyed, become counts by code; symbols that alone are too much are
 * to be sampled. True in *sample if there are any. */
static bool recode(struct writedown *w, bool *sample, struct err *err)
{
    *sample = false;
    for (unsigned i = 0; i < w->ntables; i++) {
        struct wd_log_table *l = &w->log.table[i];
        struct wd_count *c = calloc(w->symbols.codes, sizeof *c);
        if (!c)
            return err_set(err, -ENOMEM, "no memory for the counts of a survey");
        for (uint32_t k = 0; k < l->counts; k++) {
            uint32_t code = k ? wd_code_id(&w->symbols, k - 1) : 0;
            c[code].rows += l->count[k].rows;
            c[code].bytes += l->count[k].bytes;
        }
        free(l->count);
        l->count = c;
        l->counts = w->symbols.codes;
        for (uint32_t k = 0; k < l->counts; k++) {
            if (wd_log_cost(c[k].rows, c[k].bytes) <= w->log.region / 4 * 3)
                continue;
            c[k].stride = c[k].rows / 65536 + 1;
            c[k].sample = malloc((c[k].rows / c[k].stride + 2) * sizeof *c[k].sample);
            if (!c[k].sample)
                return err_set(err, -ENOMEM, "no memory for the sample of a survey");
            *sample = true;
        }
    }
    return true;
}

static bool step_log(struct writedown *w, struct err *err)
{
    show(w, "log", NULL);
    int more = wd_log_step(&w->log, &w->cancel, err);
    pthread_mutex_lock(&w->lock);
    w->progress.rows = w->log.rows > w->progress.rows ? w->log.rows : w->progress.rows;
    pthread_mutex_unlock(&w->lock);
    if (more)
        return more > 0;
    w->result.passes = w->log.passes;
    if (w->log.mode == WD_SURVEY)
        return log_surveyed(w, err);
    if (w->log.mode == WD_SAMPLE)
        return cut_units(w, err);
    return log_collected(w, err);
}

static bool nothing_to_do(struct writedown *w)
{
    bool rows = false, work = false, already = false;
    for (unsigned i = 0; i < w->ntables; i++) {
        const struct wd_table *t = &w->table[i];
        rows |= !t->leave && t->new_rows;
        work |= !t->leave;
        already |= t->leave && w->tables[i].already;
    }
    w->result.already = already && !work; /* tables without rows are left as they are */
    w->result.nothing = !rows && !already;
    return !rows || !work;
}

static bool step_sym(struct writedown *w, struct err *err)
{
    struct hdb_sym *sym = w->job.sym;
    show(w, "sym", NULL);
    if (nothing_to_do(w)) {
        w->state = WD_DONE;
        return true;
    }
    bool ok = true;
    hdb_sym_source text = w->job.log ? hdb_sym_from_dictionary : w->job.text;
    const void *arg = w->job.log ? &w->log.cursor.dict : w->job.text_arg;
    uint32_t ids = w->job.log ? w->log.ids : wd_plan_ids(w, err, &ok);
    if (!ok || !hdb_sym_extend(sym, text, arg, ids, err) || !hdb_sym_backup(sym, w->job.day, err) ||
        !wd_symbols_init(&w->symbols, sym, err))
        return false;
    w->symbols_ready = true;
    PST_FAULT("writedown.sym");
    w->staging = true; /* also when its beginning fails: what was made of it is removed */
    if (!hdb_stage_begin(&w->stage, w->cfg.io, w->cfg.hdb, w->job.day, w->calendar, err))
        return false;
    PST_FAULT("writedown.stage");
    uint64_t rows = 0;
    for (unsigned i = 0; i < w->ntables; i++)
        rows += w->table[i].leave
                    ? 0
                    : w->table[i].new_rows + (w->table[i].merge ? w->table[i].existing.rows : 0);
    pthread_mutex_lock(&w->lock);
    w->progress.rows = rows;
    pthread_mutex_unlock(&w->lock);
    w->state = WD_ORDER;
    if (!w->job.log || w->log_all)
        return wd_plan_units(w, err);
    bool sample;
    if (!recode(w, &sample, err))
        return false;
    w->log.codes = &w->symbols;
    if (!sample)
        return cut_units(w, err);
    w->state = WD_LOG_PASS;
    return wd_log_begin(&w->log, WD_SAMPLE, err);
}

static bool step_order(struct writedown *w, struct err *err)
{
    if (w->next == w->nunits) {
        w->state = WD_SYNC;
        return true;
    }
    const struct wd_unit *u = &w->unit[w->next];
    struct wd_table *t = &w->table[u->table];
    show(w, "order", t->schema.name);
    if ((!t->begun && !wd_table_begin(w, t, err)) || !wd_unit_sources(w, u, err) ||
        !wd_order_make(&w->order, &t->target, w->source, w->nsources, &w->symbols,
                       &w->worker[0].reader, 1, NULL, &w->cancel, err))
        return false;
    if (w->order.placed) {
        t->time_min = !t->rows || w->order.time_min < t->time_min ? w->order.time_min : t->time_min;
        t->time_max = !t->rows || w->order.time_max > t->time_max ? w->order.time_max : t->time_max;
    }
    /* the groups of the table; a symbol cut by times goes on */
    struct hdb_group *g = realloc(t->group, (t->ngroups + w->order.ngroups + 1) * sizeof *g);
    if (!g)
        return err_set(err, -ENOMEM, "no memory for the index of table %s", t->schema.name);
    t->group = g;
    for (uint64_t i = 0; i < w->order.ngroups; i++) {
        struct hdb_group x = w->order.group[i];
        x.first += t->rows;
        if (t->ngroups && g[t->ngroups - 1].sym == x.sym)
            g[t->ngroups - 1].rows += x.rows;
        else
            g[t->ngroups++] = x;
    }
    t->rows += w->order.placed;
    w->state = w->order.placed ? WD_COLUMNS : WD_HASH;
    w->at_source = 0;
    w->column = 0;
    w->hashing = wd_hash_init(&w->hash, &t->target, &w->symbols, err);
    return w->hashing;
}

/* Behind the columns: what they have started to write lands meanwhile. */
static bool step_hash(struct writedown *w, struct err *err)
{
    struct wd_table *t = &w->table[w->unit[w->next].table];
    if (w->at_source == w->nsources) {
        w->state = WD_FINISH;
        PST_FAULT("writedown.hashed");
        return true;
    }
    show(w, "hash", t->schema.name);
    const struct wd_source *s = &w->source[w->at_source++];
    struct content_sum old = {0};
    return wd_hash_source(&w->hash, s, w->order.keep, &w->worker[0].reader,
                          s->kind == WD_EXISTING ? &old : &t->in, &t->out, &w->cancel, err);
}

static bool step_columns(struct writedown *w, struct err *err)
{
    struct wd_table *t = &w->table[w->unit[w->next].table];
    if (w->column == t->target.ncols) {
        w->state = WD_HASH;
        return true;
    }
    show(w, "columns", t->schema.name);
    bool ok = wd_unit_columns(w, err);
    PST_FAULT("writedown.column");
    return ok;
}

static bool step_finish(struct writedown *w, struct err *err)
{
    unsigned table = w->unit[w->next].table, pass = w->unit[w->next].pass;
    struct wd_table *t = &w->table[table];
    bool last = w->next + 1 == w->nunits || w->unit[w->next + 1].table != table;
    done_rows(w, last, w->order.rows);
    wd_unit_end(w);
    if (last && !wd_table_finish(w, t, err))
        return false;
    PST_FAULT("writedown.table");
    w->next++;
    w->state = WD_ORDER;
    if (w->next < w->nunits && w->job.log && w->unit[w->next].pass != pass)
        return begin_pass(w, err);
    return true;
}

static bool step_sync(struct writedown *w, struct err *err)
{
    show(w, "sync", NULL);
    for (unsigned i = 0; i < w->workers; i++)
        if (!wd_out_wait(&w->worker[i], 2, err))
            return false;
    if (!hdb_sync_tree(w->cfg.io, w->stage.dir, err))
        return false;
    PST_FAULT("writedown.synced");
    w->stage.files_synced = true;
    w->state = WD_STAGED_STATE;
    return true;
}

static void sum_up(struct writedown *w)
{
    struct writedown_result *r = &w->result;
    r->rows = r->bytes = 0;
    for (unsigned i = 0; i < w->ntables; i++) {
        r->rows += w->tables[i].rows;
        r->bytes += w->tables[i].bytes;
    }
    r->table = w->tables;
    r->ntables = w->ntables;
    r->seconds = (double)(now(w) - w->started) / 1e9;
}

static bool step(struct writedown *w, struct err *err)
{
    if (load_relaxed(&w->cancel))
        return err_set(err, -ECANCELED, "cancelled");
    switch (w->state) {
    case WD_LOG_PASS:
        return step_log(w, err);
    case WD_SYM:
        return step_sym(w, err);
    case WD_ORDER:
        return step_order(w, err);
    case WD_HASH:
        return step_hash(w, err);
    case WD_COLUMNS:
        return step_columns(w, err);
    case WD_FINISH:
        return step_finish(w, err);
    case WD_SYNC:
        return step_sync(w, err);
    default:
        return err_set(err, -EINVAL, "no writedown is in progress");
    }
}

enum writedown_verdict writedown_step(struct writedown *w)
{
    struct err err = {0};
    if (w->state == WD_STAGED_STATE)
        return WRITEDOWN_STAGED;
    if (w->state == WD_DONE)
        return WRITEDOWN_DONE;
    if (!step(w, &err)) {
        w->err = err;
        w->state = WD_FAILED;
        writedown_abandon(w);
        show(w, "failed", NULL);
        return WRITEDOWN_FAILED;
    }
    if (w->state == WD_STAGED_STATE) {
        sum_up(w);
        show(w, "staged", NULL);
        return WRITEDOWN_STAGED;
    }
    if (w->state == WD_DONE) {
        sum_up(w);
        release(w);
        show(w, "done", NULL);
        return WRITEDOWN_DONE;
    }
    return WRITEDOWN_MORE;
}

bool writedown_publish(struct writedown *w, struct err *err)
{
    if (w->state != WD_STAGED_STATE)
        return err_set(err, -EINVAL, "nothing is staged");
    int64_t from = now(w);
    show(w, "publish", NULL);
    bool ok = hdb_stage_publish(&w->stage, err);
    memcpy(w->result.note, w->stage.note, sizeof w->result.note);
    w->result.publish_seconds = (double)(now(w) - from) / 1e9;
    w->state = ok ? WD_DONE : WD_FAILED;
    if (ok)
        w->staging = false;
    else
        w->err = *err;
    writedown_abandon(w);
    show(w, ok ? "done" : "failed", NULL);
    return ok;
}
