/* SPDX-License-Identifier: Apache-2.0 */
/* What the writedown thread is asked to do: which tables, which rows, from memory or from the log.
 */
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include "core/civil.h"
#include "day_parts.h"
#include "wiring.h"

bool day_job_tables(struct day *y, struct day_job *j, const char *only)
{
    const struct schema_set *set = y->d->schemas;
    unsigned room = 0;
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++)
        room += schema_set_get(set, id) != NULL;
    j->schema = calloc(room + 1, sizeof *j->schema);
    j->table = calloc(room + 1, sizeof *j->table);
    if (!j->schema || !j->table)
        return false;
    const struct catalogue_day *c = catalogue_day(y->catalogue, j->calendar, j->day);
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX && j->ntables < room; id++) {
        const struct schema *s = schema_set_get(set, id);
        if (!s || schema_set_find(set, s->name) != s || (only && strcmp(only, s->name)) ||
            (j->calendar_index != UINT_MAX &&
             wiring_calendar_of(y->d, s->name) != j->calendar_index))
            continue;
        j->schema[j->ntables] = *s;
        j->table[j->ntables] =
            (struct writedown_table){.schema = &j->schema[j->ntables],
                                     .ours = (c && c->database && c->epoch) ||
                                             catalogue_loaded(y->catalogue, j->day, s->name)};
        j->ntables++;
    }
    return true;
}

static struct day_job *job_new(const char *calendar, unsigned index, int32_t day)
{
    struct day_job *j = calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->calendar_index = index;
    j->day = day;
    j->slot = -1;
    snprintf(j->calendar, sizeof j->calendar, "%s", calendar);
    return j;
}

/* The closed day's parts and rows: final, so any cut behind its end has them. */
static bool job_parts(struct day *y, struct day_job *j, const struct day_entry *e)
{
    static struct rdb_cut cut;
    const struct rdb_map *map = rdb_map_of(y->rdb.rdb);
    if (!rdb_cut_read(map, &cut))
        return false;
    j->part = calloc(cut.nparts + 1, sizeof *j->part);
    if (!j->part)
        return false;
    for (uint32_t i = 0; i < cut.nparts; i++) {
        struct rdb_part_name name;
        if (cut.part[i].generation && cut.part[i].rows &&
            rdb_part_name(map, i, cut.part[i].generation, &name) &&
            name.day_slot == (uint32_t)e->slot)
            j->part[j->nparts++] =
                (struct writedown_part){.slot = i, .rows = cut.part[i].rows, .table = name.table};
    }
    return true;
}

struct day_job *day_job_eod(struct day *y, const struct day_entry *e, struct err *err)
{
    struct day_job *j = job_new(e->cat.calendar, e->calendar, e->cat.day);
    if (!j || !day_job_tables(y, j, NULL)) {
        err_set(err, -ENOMEM, "no memory for the list of tables");
        day_job_free(j);
        return NULL;
    }
    j->end = e->cat.eod;
    bool partly = day_unread(y, e->cat.day); /* memory has only what came since --no-replay */
    bool memory = e->slot >= 0 && !partly && !(e->rdb_flags & (RDB_DAY_INCOMPLETE | RDB_DAY_VOID));
    j->first = e->slot >= 0 && !partly ? e->first : 0;
    if (!memory)
        return j;
    j->slot = e->slot;
    j->generation = e->generation;
    if (!job_parts(y, j, e)) {
        err_set(err, -EAGAIN, "the rdb thread stands still");
        day_job_free(j);
        return NULL;
    }
    return j;
}

static bool job_dirs(struct day_job *j, const struct day_rebuild *r, struct err *err)
{
    if (!r->nfiles)
        return true;
    if (r->nfiles >= CURSOR_DIRS)
        return err_set(err, -E2BIG, "--from: at most %u directories", CURSOR_DIRS - 1);
    j->dir = calloc(r->nfiles, sizeof *j->dir);
    for (unsigned i = 0; j->dir && i < r->nfiles; i++) {
        struct stat st;
        if (*r->files[i] != '/' || stat(r->files[i], &st) || !S_ISDIR(st.st_mode))
            return err_set(err, -EINVAL,
                           "--from %.200s: give the absolute path of a directory with log files",
                           r->files[i]);
        j->dir[j->ndirs] = strdup(r->files[i]);
        j->ndirs += j->dir[j->ndirs] != NULL;
    }
    return j->ndirs == r->nfiles || err_set(err, -ENOMEM, "no memory");
}

/* -ENOENT: this calendar has nothing of it. */
struct day_job *day_job_rebuild(struct day *y, const struct day_rebuild *r, unsigned calendar,
                                struct err *err)
{
    struct wiring_calendar wc;
    char date[CIVIL_TEXT];
    wiring_calendar(y->d, calendar, &wc);
    const struct catalogue_day *c = catalogue_day(y->catalogue, wc.calendar->name, r->day);
    civil_format(r->day, date);
    struct day_job *j = job_new(wc.calendar->name, calendar, r->day);
    if (!j || !day_job_tables(y, j, r->table)) {
        err_set(err, -ENOMEM, "no memory for the list of tables");
        day_job_free(j);
        return NULL;
    }
    j->rebuild = true;
    j->dry_run = r->dry_run;
    j->supersede = r->supersede;
    bool ok = j->ntables || err_set(err, -ENOENT, "no table");
    if (ok && !r->nfiles && r->day >= wc.open)
        ok = err_set(err, -EBUSY, "%s is still open in calendar %s; end it first: eod run", date,
                     wc.calendar->name);
    if (ok && !r->nfiles && c && c->state == DAY_CLOSED)
        ok = err_set(err, -EBUSY, "%s of calendar %s waits for its end of day; see eod status",
                     date, wc.calendar->name);
    j->end = c && c->eod && !r->nfiles ? c->eod : load_acquire(&y->d->ring.head->durable);
    if (!ok || !job_dirs(j, r, err)) {
        day_job_free(j);
        return NULL;
    }
    return j;
}
