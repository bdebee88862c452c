/* SPDX-License-Identifier: Apache-2.0 */
/*
 * day_parts.h - what day.c (states, control's side), day_rdb.c (the rdb thread), day_write.c (the
 * writedown thread), day_show.c and pins.c share. Nobody else includes it.
 *
 * Between the threads, all lock-free unless said:
 *   rdb -> control   day_rdb.closed[]: EOD marks it has passed (E1 release, E2 acquire). Full: the
 *                    rdb thread waits; it may be behind as long as it likes
 *   ledger <-> rdb   day_rdb.probe: rows at one position (P1/P2, day_rdb.c)
 *   control <-> writedown   one job at a time under day_write.lock
 */
#pragma once

#include <pthread.h>
#include "core/days.h"
#include "core/thread.h"
#include "daemon.h"
#include "day.h"
#include "day_behind.h"
#include "day_load.h"
#include "storage/catalogue.h"
#include "storage/rdb.h"
#include "storage/writedown.h"

#define DAY_CLOSED_RING 1024u /* power of two */
#define DAY_ENTRIES     512u  /* (calendar, day)s that are remembered in memory */

/* ---- the rdb thread ---- */

struct day_rdb {
    struct daemon *d;
    struct rdb *rdb;
    struct io *io;
    struct cursor *cursor; /* owner: the rdb thread, from its first round on */
    struct thread thread;
    bool running;
    unsigned calendars;
    uint64_t start; /* the journal's first position in this process: the ledger counts from here */
    uint64_t memory;
    struct day_piece *before; /* the log below `start`, constant */
    uint32_t nbefore;
    _Atomic bool pause;     /* an operator's: it stands still and falls behind */
    _Atomic bool caught_up; /* it has reached `start` */
    _Atomic int error;      /* the cursor's last error, 0 = none */
    char error_text[sizeof((struct err *)0)->text]; /* written once per error, advisory */

    struct rdb_closed closed[DAY_CLOSED_RING];
    pst_aligned(64) _Atomic uint32_t closed_head; /* E1: the rdb thread */
    pst_aligned(64) _Atomic uint32_t closed_tail; /* control */

    /* rows of data frames at or above `start` */
    _Atomic uint64_t taken, refused;
    /* P1: the ledger stores `probe_at`, a frame's position; P2: the rdb thread, at the first frame
     * at or above it, stores that frame's position and the rows before it, then clears probe_at */
    _Atomic uint64_t probe_at, probe_found, probe_taken, probe_refused;

    /* which (calendar, day)s are in the HDB already: sorted, constant once the thread runs */
    struct day_known {
        unsigned calendar;
        int32_t day;
        uint64_t eod; /* rows below it are in; UINT64_MAX: not known, all */
    } * known;
    unsigned nknown;
};

bool day_rdb_open(struct day_rdb *r, struct daemon *d, struct err *err);
bool day_rdb_start(struct day_rdb *r, struct err *err);
void day_rdb_stop(struct day_rdb *r, int64_t deadline_ns);
void day_rdb_close(struct day_rdb *r);
bool day_rdb_next_closed(struct day_rdb *r, struct rdb_closed *out); /* control */

/* ---- the writedown thread ---- */

/* One piece of work. Made by control, constant while the writedown thread has it. */
struct day_job {
    uint64_t id; /* rebuild: the operator's handle; end of day: 0 */
    bool rebuild, dry_run, supersede;
    char calendar[32];
    unsigned calendar_index;
    int32_t day;
    uint64_t first, end, epoch;
    /* from memory: a closed day slot; else from the log */
    int slot;
    uint32_t generation;
    struct writedown_part *part;
    unsigned nparts;
    struct writedown_table *table;
    struct schema *schema; /* what table[] points to */
    unsigned ntables;
    bool verify;                /* nothing is written: does the database hold the date? */
    uint64_t rows;              /* verify: at least so many */
    struct day_load_work *load; /* the loader's request; of the job */
    char **dir;                 /* rebuild --from: directories, NULL = the instance's own log */
    unsigned ndirs;
    struct day_job *next;
};

/* What became of it. */
struct day_outcome {
    struct day_job *job;
    struct err err;    /* code 0: fine */
    bool published;    /* names were changed: the epoch counts */
    uint64_t rows, in; /* in the partitions; of this source (keyed tables keep fewer) */
    json_t *result;    /* tables with old and new rows, hashes, bytes, seconds */
};

struct day_write {
    struct daemon *d;
    const struct rdb_map *map;
    struct thread thread;
    bool running;
    /* owner: the writedown thread */
    struct io *io;
    struct hdb *hdb;
    struct hdb_sym sym;
    struct writedown *w;
    bool opened;
    int lock_fd; /* the database's lock while a job runs, else -1 */
    int64_t open_at, space_at;
    int64_t clean_at; /* opened while another program had the lock: to be cleaned yet; 0 = it is */
    char lock_holder[200];
    _Atomic(struct writedown *) visible; /* for progress and cancel from control */

    pthread_mutex_t lock;
    struct day_job *given;      /* control -> thread */
    bool busy;                  /* a job is given or running */
    struct day_outcome outcome; /* thread -> control; job NULL: none */
    bool loaded, want_epoch;
    uint64_t epoch; /* at least so many publications were counted */
    struct err open_error;
    _Atomic bool cancel, reopen;
    _Atomic uint64_t free_bytes; /* the least of the database's disks; 0 = not known */
};

bool day_write_open(struct day_write *w, struct daemon *d, const struct rdb_map *map,
                    struct err *err);
bool day_write_start(struct day_write *w, struct err *err);
void day_write_stop(struct day_write *w);
void day_write_close(struct day_write *w);
/* Control. Give: only when day_write_idle. */
bool day_write_idle(struct day_write *w);
bool day_write_give(struct day_write *w, struct day_job *job);
void day_write_cancel(struct day_write *w);
bool day_write_take(struct day_write *w,
                    struct day_outcome *out); /* job and result: the caller's */
/* epoch: the highest of any partition, looked for when the catalogue does not know this database.
 */
bool day_write_loaded(struct day_write *w, struct err *why, uint64_t *epoch);
json_t *day_write_progress(struct day_write *w);
void day_job_free(struct day_job *j);

/* The writedown thread: with the database's lock, refreshed and cleaned up; the job's epoch is
 * above that of a batch which was finished by that. */
bool day_write_begin(struct day_write *w, struct day_job *j, struct err *err);

/* ---- the loader's requests (day_load.c) ---- */

struct day_load_work {
    struct day_load_request request; /* what it points to is in the arrays below */
    struct load_move_table *table;
    bool *stale;
    char **keep;
    char *prefix;
    struct day_load_answer answer;
};
struct day_load {
    pthread_mutex_t lock;
    struct day_load_work *given; /* not begun; or the one whose answer waits (`answered`) */
    bool running, answered, hold;
    int64_t hold_until; /* monotonic */
    _Atomic uint64_t commits;
    _Atomic int64_t
        hurry; /* monotonic: until then control looks each millisecond; 0 = it need not */
    void (*wake)(void *arg);
    void *wake_arg;
};
void day_load_init(struct day *y);
void day_load_fini(struct day *y);
bool day_load_held(struct day *y); /* nothing else is to be begun */
/* Control: a job of the request that is due, NULL: none. day_load_done takes what it came to. */
struct day_job *day_load_job(struct day *y);
void day_load_undo(struct day *y, struct day_job *j); /* it was not taken */
void day_load_done(struct day *y, struct day_outcome *o);
/* The writedown thread. tidy: behind the outcome. */
bool day_load_run(struct day_write *w, struct day_outcome *out);
void day_load_work_free(struct day_load_work *w);

/* day.c, of day_tick: what is due next goes to the writedown thread, if that is idle. */
void day_give_work(struct day *y);

/* ---- a (calendar, day) ---- */

enum day_step {
    DAY_STEP_OPEN,
    DAY_STEP_WAIT,    /* closed; for the writedown thread, the database, a retry or an operator */
    DAY_STEP_WRITING, /* the writedown thread has it */
    DAY_STEP_DONE,    /* written; its memory may still be pinned */
};
struct day_entry {
    unsigned calendar; /* index; UINT_MAX: a calendar that is configured no more */
    struct catalogue_day cat;
    enum day_step step;
    bool met; /* its EOD mark was passed by the rdb thread of this process */
    /* its rows in the RDB */
    int slot; /* -1 = none (any more) */
    uint32_t generation;
    uint64_t first, rdb_rows;
    uint64_t closed_rows, in; /* rows of the day as the RDB counted them; as they were written */
    bool counted;             /* both are known: closed and written by this process */
    uint32_t rdb_flags;
    int64_t leaving; /* monotonic: published, waiting for its pins; 0 = not */
    bool overdue;    /* its pins' grace is over */
    /* writing */
    unsigned attempts;
    int64_t retry_at; /* monotonic */
    bool cancelled, post_save_failed;
    uint64_t hook;                                 /* its run of post_save_exec, 0 = none */
    char post_save[sizeof((struct err *)0)->text]; /* what came of it; "" = not run */
    char error[sizeof((struct err *)0)->text];
    int error_code;
    json_t *result; /* of the writing: tables, rows, bytes, seconds */
};

/* ---- the whole ---- */

struct day {
    struct daemon *d;
    struct day_rdb rdb;
    struct day_write *write; /* NULL: no database configured */
    struct pins *pins;
    struct catalogue *catalogue;
    struct day_entry *entry[DAY_ENTRIES]; /* by order of closing; the oldest written go first */
    unsigned n;
    struct day_entry *writing; /* what the writedown thread has, NULL: nothing or a rebuild */
    int32_t open[DAYS_CALENDARS];
    int32_t unread; /* --no-replay: of dates up to this one memory lacks what came before */
    uint64_t epoch;
    bool loaded; /* the database is open; its path: */
    char root[CUT_ROOT_MAX];
    struct err not_loaded; /* why it is not */
    int catalogue_errno;
    bool stopping, sealed;
    uint64_t overdue_seen;
    struct day_load load;
    /* RDB day slots that no cut names any more: published, waiting for their pins */
    struct {
        uint32_t generation; /* 0 = not leaving */
    } leaving[RDB_DAYS];
    struct day_job *queue;      /* rebuilds that wait */
    struct day_result *results; /* of rebuilds, newest first */
    uint64_t next_job;
    struct day_keep { /* retention.c */
        int64_t at, wrong_until;
        bool asked, given; /* a date is to be verified; the writedown thread has it */
        int32_t day, wrong;
        uint64_t rows;
        int32_t verified[64];
        bool used[64];
        unsigned next;
    } keep;
    struct rdb_cut cut; /* pins_take's copy; too large for the stack */
};

/* An operator's rebuild: its jobs (a calendar each), and what came of them. */
struct day_result {
    uint64_t id;
    unsigned jobs, done;
    json_t *parts; /* array of results */
    struct err err;
    struct day_result *next;
};

/* Is this day of the RDB shown in cuts? */
pst_inline bool day_slot_shown(const struct day *y, uint32_t slot, uint32_t generation)
{
    return slot < RDB_DAYS && y->leaving[slot].generation != generation;
}
int64_t day_lag(const struct day *y); /* ns: age of the oldest frame that is not in the RDB */
struct day_entry *day_entry_find(struct day *y, const char *calendar, int32_t day);
json_t *day_entry_json(struct day *y, const struct day_entry *e);
void day_hook(struct day *y, struct day_entry *e); /* day_hook.c: post_save_exec */
/* day_jobs.c: what the writedown thread is asked to do. NULL: err. */
static inline bool day_unread(const struct day *y, int32_t day)
{
    return y->d->options.no_replay && day <= y->unread;
}
/* The newest version of every table of a calendar (UINT_MAX: of all); `only`: that one alone. */
bool day_job_tables(struct day *y, struct day_job *j, const char *only);
struct day_job *day_job_eod(struct day *y, const struct day_entry *e, struct err *err);
struct day_job *day_job_rebuild(struct day *y, const struct day_rebuild *r, unsigned calendar,
                                struct err *err);
/* retention.c: dates to be verified, and what came of it. */
struct day_job *retention_job(struct day *y);
void retention_verified(struct day *y, const struct day_outcome *o);
