/* SPDX-License-Identifier: Apache-2.0 */
/* The writedown thread: opens the database, makes one partition after the other, publishes it. It
 * alone touches storage/writedown.h and the sym file. What an end of day means is control's. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/stat.h>
#include "core/civil.h"
#include "day_parts.h"
#include "storage/hdb_verify.h"
#include "storage/content_hash.h"
#include "storage/hdb_publish.h"
#include "storage/load/task.h"
#include "topo.h"

#define SPACE_NS (NS_PER_S)

void day_job_free(struct day_job *j)
{
    if (!j)
        return;
    for (unsigned i = 0; i < j->ndirs; i++)
        free(j->dir[i]);
    free(j->dir);
    day_load_work_free(j->load);
    free(j->part);
    free(j->table);
    free(j->schema);
    free(j);
}

/* ---- the database ---- */

static void cleaned(void *arg, const char *sentence)
{
    (void)arg;
    fprintf(stderr, "penstockd: database: %s\n", sentence);
}

static void shut(struct day_write *w)
{
    store_release(&w->visible, NULL);
    if (w->w)
        writedown_destroy(w->w);
    if (w->opened)
        hdb_sym_close(&w->sym);
    if (w->hdb)
        hdb_close(w->hdb);
    w->w = NULL;
    w->hdb = NULL;
    w->opened = false;
}

static bool lock_database(struct day_write *w, struct err *err)
{
    char who[160];
    snprintf(who, sizeof who, "penstockd %s", w->d->config->instance);
    w->lock_fd = hdb_lock(w->io, w->d->config->database, who, err);
    return w->lock_fd >= 0;
}

static void unlock_database(struct day_write *w)
{
    if (w->lock_fd >= 0)
        hdb_unlock(w->io, w->lock_fd);
    w->lock_fd = -1;
}

/* mkdir -p: the directory is the operator's word for a new database. */
static bool make_root(const char *root, struct err *err)
{
    char p[1024];
    snprintf(p, sizeof p, "%s", root);
    for (char *c = p + 1; *c; c++)
        if (*c == '/') {
            *c = 0;
            mkdir(p, 0755);
            *c = '/';
        }
    struct stat st;
    if (mkdir(p, 0750) && errno != EEXIST)
        return err_set(err, -errno, "database %s: cannot make it: %s", p, strerror(errno));
    return (!stat(p, &st) && S_ISDIR(st.st_mode)) ||
           err_set(err, -ENOTDIR, "database %s is no directory", p);
}

/* A publication that is complete: control counts it. */
static void count(struct day_write *w, uint64_t epoch)
{
    pthread_mutex_lock(&w->lock);
    w->epoch = epoch > w->epoch ? epoch : w->epoch;
    pthread_mutex_unlock(&w->lock);
}

bool day_write_begin(struct day_write *w, struct day_job *j, struct err *err)
{
    struct hdb_cleaned done = {0};
    if (!lock_database(w, err) || !hdb_refresh(w->hdb, err) ||
        !hdb_clean(w->io, w->hdb, &done, cleaned, w, err))
        return false;
    hdb_lockfile_remove(w->io, w->d->config->hdb_lockfile); /* of a publication that had failed */
    w->clean_at = 0;
    count(w, done.loading);
    if (j && done.loading >= j->epoch)
        j->epoch = done.loading + 1;
    return true;
}

/* What a crash left while a verb had the lock. */
static void clean_late(struct day_write *w)
{
    struct err err = {0};
    if (!w->clean_at || clock_monotonic() < w->clean_at)
        return;
    if (!day_write_begin(w, NULL, &err))
        w->clean_at = clock_monotonic() + NS_PER_S;
    unlock_database(w);
}

static bool open_database(struct day_write *w, struct err *err)
{
    const struct config *c = w->d->config;
    if (!make_root(c->database, err))
        return false;
    w->hdb = hdb_open(c->database, err);
    if (!w->hdb)
        return false;
    /* A verb may hold the lock: then what a crash left is cleaned before the next publication. */
    struct err busy = {0};
    struct hdb_cleaned done = {0};
    w->clean_at = 0;
    if (lock_database(w, &busy)) {
        bool ok = hdb_clean(w->io, w->hdb, &done, cleaned, w, err);
        hdb_lockfile_remove(w->io, c->hdb_lockfile); /* a crash may have left it */
        unlock_database(w);
        if (!ok)
            return false;
        count(w, done.loading);
    } else if (busy.code != -EWOULDBLOCK) {
        *err = busy;
        return false;
    } else {
        w->clean_at = clock_monotonic() + NS_PER_S;
    }
    w->opened = hdb_sym_open(&w->sym, w->io, c->database, err);
    if (!w->opened)
        return false;
    struct writedown_config wc = {
        .io = w->io, .hdb = w->hdb, .threads = 1, .producer = "penstock " PST_VERSION};
    w->w = writedown_create(&wc, err);
    store_release(&w->visible, w->w);
    return w->w != NULL;
}

/* The catalogue is new or of another database: publications go on above what partitions say. */
static uint64_t highest_epoch(struct day_write *w)
{
    static struct hdb_meta m;
    const int32_t *dates;
    uint64_t epoch = 0;
    uint32_t n = hdb_dates(w->hdb, &dates);
    for (uint32_t i = 0; i < n; i++) {
        char **names, dir[1024], path[1100];
        unsigned tables;
        struct err err;
        if (!hdb_date_dir(w->hdb, dates[i], dir) ||
            !hdb_date_tables(w->hdb, dates[i], &names, &tables, &err))
            continue;
        for (unsigned t = 0; t < tables; t++) {
            snprintf(path, sizeof path, "%s/%s", dir, names[t]);
            int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (fd >= 0 && hdb_meta_read(&m, fd, path, &err) && m.epoch > epoch)
                epoch = m.epoch;
            if (fd >= 0)
                close(fd);
        }
        hdb_names_free(names, tables);
        store_relaxed(&w->thread.status->heartbeat, clock_monotonic());
    }
    return epoch;
}

static void try_open(struct day_write *w)
{
    struct err err = {0};
    bool ok = open_database(w, &err);
    if (!ok)
        shut(w);
    uint64_t epoch = ok && w->want_epoch ? highest_epoch(w) : 0;
    pthread_mutex_lock(&w->lock);
    bool news = ok != w->loaded || strcmp(err.text, w->open_error.text);
    w->loaded = ok;
    w->epoch = epoch > w->epoch ? epoch : w->epoch;
    w->open_error = err;
    pthread_mutex_unlock(&w->lock);
    if (ok && news) {
        const int32_t *dates;
        fprintf(stderr, "penstockd: database %s: %u dates\n", w->d->config->database,
                hdb_dates(w->hdb, &dates));
    } else if (news) {
        fprintf(stderr, "penstockd: database not loaded: %s\n", err.text);
    }
    w->open_at = clock_monotonic() + w->d->config->eod_retry;
}

static void look_at_space(struct day_write *w)
{
    int64_t now = clock_monotonic();
    if (now < w->space_at || !w->hdb)
        return;
    w->space_at = now + SPACE_NS;
    uint64_t least = UINT64_MAX, one;
    for (unsigned i = 0; i < hdb_ndisks(w->hdb); i++)
        if (w->io->ops->free_space(w->io, hdb_disk(w->hdb, i), &one) == 0 && one < least)
            least = one;
    if (least != UINT64_MAX)
        store_relaxed(&w->free_bytes, least ? least : 1); /* 0 is: not known */
}

/* ---- a job ---- */

/* Rows that the date holds before the job, per table; -1: no such table there. */
static int64_t rows_before(struct day_write *w, const char *table, int32_t day)
{
    struct err err = {0};
    const struct hdb_table *t = hdb_table_get(w->hdb, table, &err);
    const struct hdb_part *p = t ? hdb_part_get(t, day, &err) : NULL;
    int64_t rows = p ? (int64_t)p->rows : -1;
    if (p)
        hdb_part_put(p);
    if (t)
        hdb_table_put(t);
    return rows;
}

static json_t *result_json(const struct writedown_result *r, const int64_t *before,
                           const struct day_job *j)
{
    json_t *tables = json_array();
    for (unsigned i = 0; i < r->ntables; i++) {
        const struct writedown_table_result *t = &r->table[i];
        char hash[33];
        snprintf(hash, sizeof hash, "%016llx%016llx", (unsigned long long)t->hash.hi,
                 (unsigned long long)t->hash.lo);
        json_t *o =
            json_pack("{s:s,s:I,s:I,s:b,s:b,s:b,s:I,s:f,s:s}", "table", t->name, "rows",
                      (json_int_t)t->rows, "added", (json_int_t)t->added, "already", t->already,
                      "merged", t->merged, "replaced", t->replaced, "bytes", (json_int_t)t->bytes,
                      "seconds", t->seconds, "hash", t->has_hash || !t->already ? hash : "");
        for (unsigned k = 0; k < j->ntables; k++)
            if (!strcmp(j->table[k].schema->name, t->name) && before[k] >= 0)
                json_object_set_new(o, "before", json_integer(before[k]));
        json_array_append_new(tables, o);
    }
    return json_pack("{s:b,s:b,s:I,s:I,s:f,s:f,s:i,s:I,s:s,s:o}", "nothing", r->nothing, "already",
                     r->already, "rows", (json_int_t)r->rows, "bytes", (json_int_t)r->bytes,
                     "seconds", r->seconds, "publish_seconds", r->publish_seconds, "passes",
                     (int)r->passes, "lost_bytes", (json_int_t)r->lost_bytes, "note", r->note,
                     "tables", tables);
}

static bool run_steps(struct day_write *w, struct day_outcome *out)
{
    enum writedown_verdict v;
    const struct day_job *j = out->job;
    while ((v = writedown_step(w->w)) == WRITEDOWN_MORE) {
        store_relaxed(&w->thread.status->heartbeat, clock_monotonic());
        PST_FAULT("day.step");
        look_at_space(w);
        if (load_acquire(&w->cancel) || load_acquire(&w->thread.stop))
            writedown_cancel(w->w);
    }
    if (v == WRITEDOWN_FAILED) {
        out->err = *writedown_error(w->w);
        return false;
    }
    PST_FAULT("day.staged");
    if (v == WRITEDOWN_DONE || j->dry_run)
        return true;
    if (load_acquire(&w->cancel))
        return err_set(&out->err, -ECANCELED, "cancelled before it was published");
    if (!hdb_lockfile_make(w->io, w->d->config->hdb_lockfile, &out->err))
        return false;
    out->published = true; /* even in part: the epoch is used */
    bool ok = writedown_publish(w->w, &out->err);
    PST_FAULT("day.published");
    hdb_lockfile_remove(w->io, w->d->config->hdb_lockfile);
    return ok;
}

static void beat(void *arg, const struct hdb_checked *c)
{
    struct day_write *w = arg;
    (void)c;
    store_relaxed(&w->thread.status->heartbeat, clock_monotonic());
}

/* Before the log of that date goes: every row is read back. */
static bool run_verify(struct day_write *w, struct day_outcome *out)
{
    const struct day_job *j = out->job;
    char date[CIVIL_TEXT];
    struct hdb_verify v = {
        .hash = true, .one_date = true, .date = j->day, .checked = beat, .arg = w};
    civil_format(j->day, date);
    if (!hdb_refresh(w->hdb, &out->err))
        return false;
    if (!hdb_verify(w->hdb, &v, &out->err) && j->rows)
        return false;
    out->err.code = 0;
    if (v.damages || v.unhashed)
        return err_set(&out->err, -EBADMSG,
                       "%s in the database has %llu damages and %llu tables without a hash: see "
                       "penstock hdb verify",
                       date, (unsigned long long)v.damages, (unsigned long long)v.unhashed);
    return v.rows >= j->rows ||
           err_set(&out->err, -ENODATA, "the database holds %llu rows of %s, %llu were written",
                   (unsigned long long)v.rows, date, (unsigned long long)j->rows);
}

static bool run_job(struct day_write *w, struct day_outcome *out)
{
    struct day_job *j = out->job;
    if (j->verify)
        return run_verify(w, out);
    const struct config *c = w->d->config;
    struct hdb_sym foreign;
    if (!day_write_begin(w, j, &out->err)) {
        /* What is wrong with the database is not wrong with the batch; and a publication that was
         * begun must not count as one that never will be: whoever takes the lock finishes it. */
        if (j->load && !load_retryable(out->err.code))
            out->err.code = -EIO;
        return false;
    }
    if (j->load)
        return day_load_run(w, out);
    int64_t *before = calloc(j->ntables + 1, sizeof *before);
    pst_must(before);
    for (unsigned i = 0; i < j->ntables; i++)
        before[i] = rows_before(w, j->table[i].schema->name, j->day);
    struct writedown_log log = {.dirs = {c->log_directory, c->spill_directory},
                                .prefix = c->log_prefix};
    for (unsigned i = 0; i < j->ndirs && i < CURSOR_DIRS; i++)
        log.dirs[i] = j->dir[i];
    if (j->ndirs && j->ndirs < CURSOR_DIRS)
        log.dirs[j->ndirs] = NULL;
    struct writedown_job wj = {
        .calendar = j->calendar,
        .day = j->day,
        .instance = w->d->instance_id,
        .first = j->first,
        .end = j->end,
        .kind = j->rebuild ? "rebuild" : "eod",
        .rebuild = j->rebuild,
        .epoch = j->epoch,
        .policy = j->supersede ? WRITEDOWN_SUPERSEDE : (enum writedown_policy)c->existing_partition,
        .tables = j->table,
        .ntables = j->ntables,
        .sym = &w->sym,
        .map = w->map,
        .parts = j->part,
        .nparts = j->nparts,
        .text = hdb_sym_from_symbols,
        .text_arg = &w->d->symbols,
        .log = j->slot < 0 ? &log : NULL};
    /* Another journal's files have ids of their own. */
    bool own_sym = j->ndirs > 0, ok = true;
    if (own_sym) {
        ok = hdb_sym_open(&foreign, w->io, c->database, &out->err);
        wj.sym = &foreign;
    }
    bool opened = ok;
    ok = ok && writedown_start(w->w, &wj, &out->err) && run_steps(w, out);
    if (ok) {
        const struct writedown_result *r = writedown_result(w->w);
        out->rows = r->rows;
        for (unsigned i = 0; i < r->ntables; i++)
            out->in += r->table[i].in.rows;
        out->result = result_json(r, before, j);
        if (r->nothing || r->already)
            out->published = r->already;
    }
    writedown_abandon(w->w);
    if (own_sym && opened)
        hdb_sym_close(&foreign);
    free(before);
    return ok;
}

static int work(void *arg)
{
    struct day_write *w = arg;
    if (!w->w && (clock_monotonic() >= w->open_at || load_acquire(&w->reopen))) {
        store_relaxed(&w->reopen, false);
        try_open(w);
        return 1;
    }
    look_at_space(w);
    pthread_mutex_lock(&w->lock);
    struct day_job *j = w->outcome.job ? NULL : w->given;
    pthread_mutex_unlock(&w->lock);
    if (!j) {
        if (w->w)
            clean_late(w);
        return 0;
    }
    char tidy[LOAD_BATCH_MAX + 1] = "";
    struct day_outcome out = {.job = j};
    if (!w->w)
        err_set(&out.err, -ENODEV, "the database is not loaded");
    else if (run_job(w, &out))
        out.err.code = 0;
    else if (!out.err.code)
        out.err.code = -EIO;
    unlock_database(w);
    if (j->load && out.published)
        memcpy(tidy, j->load->request.move.batch, sizeof tidy);
    pthread_mutex_lock(&w->lock);
    w->given = NULL;
    w->outcome = out;
    pthread_mutex_unlock(&w->lock);
    /* Queries see the batch as soon as control has the outcome; what it replaced is deleted now. */
    struct err ignored;
    if (*tidy)
        load_publish_tidy(w->io, w->hdb, tidy, &ignored);
    return 1;
}

static const struct thread_ops ops = {.work = work};

/* ---- control's side ---- */

bool day_write_idle(struct day_write *w)
{
    pthread_mutex_lock(&w->lock);
    bool idle = !w->busy;
    pthread_mutex_unlock(&w->lock);
    return idle;
}

bool day_write_give(struct day_write *w, struct day_job *job)
{
    pthread_mutex_lock(&w->lock);
    bool ok = !w->busy;
    if (ok) {
        store_relaxed(&w->cancel, false);
        w->given = job;
        w->busy = true;
    }
    pthread_mutex_unlock(&w->lock);
    return ok;
}

void day_write_cancel(struct day_write *w)
{
    store_release(&w->cancel, true);
}

bool day_write_take(struct day_write *w, struct day_outcome *out)
{
    pthread_mutex_lock(&w->lock);
    *out = w->outcome;
    if (out->job) {
        memset(&w->outcome, 0, sizeof w->outcome);
        w->busy = false;
    }
    pthread_mutex_unlock(&w->lock);
    return out->job != NULL;
}

bool day_write_loaded(struct day_write *w, struct err *why, uint64_t *epoch)
{
    pthread_mutex_lock(&w->lock);
    bool loaded = w->loaded;
    *why = w->open_error;
    *epoch = w->epoch;
    pthread_mutex_unlock(&w->lock);
    return loaded;
}

json_t *day_write_progress(struct day_write *w)
{
    struct writedown *x = load_acquire(&w->visible);
    struct writedown_progress p = {.step = "idle"};
    if (x)
        writedown_progress(x, &p);
    return json_pack("{s:s,s:s,s:i,s:i,s:I,s:I,s:I}", "step", p.step, "table", p.table, "tables",
                     (int)p.tables, "tables_done", (int)p.tables_done, "rows", (json_int_t)p.rows,
                     "rows_done", (json_int_t)p.rows_done, "bytes", (json_int_t)p.bytes);
}

bool day_write_open(struct day_write *w, struct daemon *d, const struct rdb_map *map,
                    struct err *err)
{
    w->d = d;
    w->map = map;
    w->lock_fd = -1;
    pthread_mutex_init(&w->lock, NULL);
    w->io = io_posix_create(err);
    return w->io != NULL;
}

bool day_write_start(struct day_write *w, struct err *err)
{
    const struct topo_thread *t = topo_thread("writedown");
    thread_define(&w->thread, w->d->status, t->name, &ops, w, &w->d->clock, WAIT_DOZE, t->nice,
                  (int)w->d->config->cpus.writedown);
    w->running = thread_start(&w->thread, err);
    return w->running;
}

void day_write_stop(struct day_write *w)
{
    if (w->running)
        thread_stop(&w->thread);
    w->running = false;
}

void day_write_close(struct day_write *w)
{
    if (!w)
        return;
    shut(w);
    day_job_free(w->given);
    day_job_free(w->outcome.job);
    json_decref(w->outcome.result);
    io_destroy(w->io);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
