/* SPDX-License-Identifier: Apache-2.0 */
/* writedown_job.h - the job in progress; shared by writedown.c, writedown_plan.c and
 * writedown_table.c, private to them. */
#pragma once

#include <pthread.h>
#include "core/clock.h"
#include "writedown_log.h"

enum wd_state {
    WD_IDLE,
    WD_LOG_PASS, /* reading the log for the next unit */
    WD_SYM,      /* highest id, sym extended */
    WD_ORDER,    /* the next unit: sources, places */
    WD_COLUMNS,
    WD_HASH,   /* its sources, one a step */
    WD_FINISH, /* of a table: side files, names */
    WD_SYNC,
    WD_STAGED_STATE,
    WD_DONE,
    WD_FAILED
};

struct wd_table {
    struct schema schema; /* the job's newest */
    struct schema target; /* the columns written */
    bool ours;
    bool exists, merge, leave; /* leave: it is as it shall be */
    bool begun;                /* its first unit */
    struct wd_existing existing;
    uint64_t new_rows; /* of the source; from the log: once it is read */
    char dir[1200];    /* staged */
    struct wd_column column[SCHEMA_COLUMNS_MAX];
    /* over its units */
    struct hdb_group *group;
    uint64_t ngroups, rows, estimate;
    int64_t time_min, time_max;
    struct content_sum in, out;
    int64_t started;
};

struct writedown {
    struct writedown_config cfg;
    struct writedown_job job; /* its pointers into the copies below */
    char calendar[SCHEMA_NAME_MAX], kind[16];
    struct writedown_log log_cfg;
    char log_dir[CURSOR_DIRS][1024], log_prefix[256];
    struct wd_table *table;
    unsigned ntables;
    struct rdb_part_view **view; /* in the order of their first rows */
    unsigned nviews;
    struct wd_log log;
    bool log_all; /* the first pass collected everything */
    struct wd_unit *unit;
    unsigned nunits, units_room, next;
    uint32_t *ranks; /* ranged units */
    struct wd_symbols symbols;
    bool symbols_ready;

    enum wd_state state;
    struct hdb_stage stage;
    bool staging;
    /* the unit */
    struct wd_source source[WD_SOURCES];
    unsigned nsources, at_source;
    struct wd_order order;
    struct wd_hash hash;
    bool hashing;
    unsigned column;
    uint64_t unit_new; /* rows of its new sources */

    struct wd_worker worker[WRITEDOWN_THREADS];
    unsigned workers;
    _Atomic bool cancel;
    int64_t started;
    struct err err;
    struct writedown_result result;
    struct writedown_table_result *tables;
    pthread_mutex_t lock; /* of progress alone */
    struct writedown_progress progress;
};

/* writedown_plan.c */
bool wd_plan_tables(struct writedown *w, const struct writedown_job *job, struct err *err);
bool wd_plan_views(struct writedown *w, struct err *err);
/* What exists against the range; sets merge, leave, replaced. Needs new_rows. */
bool wd_plan_existing(struct writedown *w, struct err *err);
bool wd_plan_targets(struct writedown *w, struct err *err);
bool wd_plan_space(struct writedown *w, struct err *err);
/* One unit a table; or, after a survey, as many as the memory wants. */
bool wd_plan_units(struct writedown *w, struct err *err);
bool wd_plan_ranges(struct writedown *w, struct err *err);
uint32_t wd_plan_ids(struct writedown *w, struct err *err, bool *ok);
bool wd_already(const struct writedown *w, const struct wd_table *t);

/* writedown_table.c */
bool wd_unit_sources(struct writedown *w, const struct wd_unit *u, struct err *err);
bool wd_unit_columns(struct writedown *w, struct err *err); /* one round; w->column moves on */
void wd_unit_end(struct writedown *w);
bool wd_table_begin(struct writedown *w, struct wd_table *t, struct err *err);
bool wd_table_finish(struct writedown *w, struct wd_table *t, struct err *err);
