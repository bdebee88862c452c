/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orchestrator.h - the loader's state machine: batches, files, tasks, workers. It has no thread, no
 * socket, no process and no clock: events and the time come in, decisions go out through hooks,
 * files are touched through struct io. The same events give the same decisions.
 *
 *   file ──complete──► gathered into a batch ──all there──► RELEASED (manifest)
 *     reading    one read task a file, in parallel                         tasks: read
 *     ready      all reads done (barrier); one batch at a time goes on, oldest first
 *     interning  commit number; hook intern: its symbols get their codes   -> loader_interned
 *     indexing   one index task a (table, date)                            tasks: refresh, index
 *     merging    one merge task a column, as soon as ITS index is there; both run mixed
 *     moving     written and synced, then hook move                        -> loader_moved
 *     finishing  loaded: files kept, moved or deleted; temporaries removed; hook finished
 *     complete | partial | failed | cancelled
 * The next batches' reads run meanwhile. `gathering` batches are not complete yet.
 *
 * CALLS. One thread makes all of them. Hooks must not call back in: they note and return; what they
 * lead to comes as an event later (from a queue, after loader_tick has returned). Decisions are
 * made in loader_tick only; events change tables and return at once.
 *
 * WRITE-AHEAD. <state>/load.manifest (manifest.h) holds: which batches were released with which
 * files, results, attempts that failed, the commit number before the move, that it was done, what
 * became of it. A tick makes all changes, syncs once, then calls hooks. If the sync fails no hook
 * is called, an alarm is raised and the next tick tries again. After a restart (loader_create)
 * every batch goes on at its first unfinished task: reads, indexes and merges that were complete
 * are believed if result.json and the files' sizes are as they were (same boot), or their CRCs
 * (another boot: a task `verify` each) a batch in `moving` is given to hook move again, with the
 * same commit number, before anything else: the mover finds in .pstmeta which of its tables are in
 * already (loader_moving says at once whether there is one, so that queries can wait for it)
 * Directories of tasks carry the number of the start and of the attempt: a worker that outlives its
 * orchestrator writes where nobody looks.
 *
 * EXACTLY ONCE. A batch's rows become visible with its commit number; the mover takes a commit
 * number once. A file is known by its path (rule and batch follow from it): delivered again with
 * the same size and mtime, or with the same content hash (a task `hash` decides), it is a no-op; so
 * is a file of the same name and content from elsewhere; with other content it is refused unless
 * the rule, or `load add --supersede`, says so. A superseding batch replaces the whole tables of
 * its dates; it is refused when another batch has loaded into one of them, too.
 *
 * FAILURE. A task that fails, or whose worker dies, hangs (no progress for stuck_after) or holds
 * more than its memory: again after retry_backoff, doubling, at most `retries` times; errors that
 * no repetition heals: not again. A full disk (-ENOSPC, -EDQUOT): again for ever, at most each
 * minute, nothing new meanwhile, with an alarm. Then the file is QUARANTINED: <file>.reason is
 * written beside it (or both go to quarantine_directory), and the batch fails whole, or goes on
 * without it where the rule says partial (and always under `each`). A failed batch leaves nothing
 * in the database, no temporaries, its files where they were. When one of its files is delivered
 * anew, or by `load retry`, its files gather again.
 *
 * TASKS sent to workers: {"task":KIND, "taskID":n, "args":{…}}, args by kind:
 *   refresh {"batch":key}
 *   read    save.h: {"batch":key,"file":path,"dir":out,"recipe":{…},"size":n,"mtime":ns,
 *            "checksum":"sha256:…"?}   checksum: the task fails when the content has another;
 *            size and mtime: it fails when the file is no longer that one
 *   hash    {"file":path}              -> {"bytes":n,"hash":…} as read's result has it
 *   verify  {"dir":out}                -> its result.json, when every CRC is right
 *   index   index.h: members of hook part_args, and date, batch, commit, files, index, supersede
 *   merge   merge.h: index, columns, and members of hook part_args
 * Files of an index task are in the order of the batch's files (part number, else name). A result
 * that is not in the packet is read from <dir>/result.json (hook result). An index or merge task
 * that fails with -ESTALE begins its (date, table) anew, -ENOKEY interns again, -ENOENT or -EBADMSG
 * of an index task has the batch's read results verified: none of these counts as an attempt until
 * it happened `retries` times.
 *
 * KEY of a batch: <instance, 16 hex digits>-<number>: names its directories. COMMIT NUMBER: given
 * when interning begins, never reused: a batch that fails leaves a hole, which harms nobody.
 *
 * DIRECTORIES
 *   <temporary>/<key>/r<k>.<start>.<attempt>                 of a read task, mode 0700
 *   <temporary>/<key>/i.<date>.<table>.<start>.<attempt>     of an index task ("index")
 * <temporary>/<key> is removed when the batch has ended, and at start where no unfinished batch has
 * that key. Merge directories are the mover's (publish.h): hook discard.
 *
 * COST. A tick without news is a few compares. Queues are sorted once; 10,000 files cost a tick
 * nothing but what happened to them (test_load_orchestrator counts).
 */
#pragma once

#include <jansson.h>
#include "batch.h"
#include "core/io.h"
#include "plan.h"
#include "watch.h"

#define LOADER_RULES 64u
#define LOADER_FILES 256u

struct loader_rule { /* load.batches */
    const char *name;
    enum load_by by;
    const char *match;  /* pattern of its data files */
    const char *marker; /* trigger and manifest: pattern or suffix */
    int priority;       /* higher first */
    bool partial, supersede;
    int64_t gather_timeout; /* ns from its first file; 0 = for ever */
};
struct loader_pattern { /* load.files: the first that matches */
    const char *match;
    const char *name;   /* of the recipe */
    const char *recipe; /* JSON object, given to read tasks */
    double expansion;   /* estimate = size of the file * this; 0: 1, or 4 when it is compressed
                         * (.gz .zst .lz4 .zip) */
};
enum loader_finished { LOADER_KEEP, LOADER_MOVE, LOADER_DELETE };

struct loader_config {
    struct io *io;
    uint64_t instance, seed;
    const char *boot;            /* /proc/sys/kernel/random/boot_id */
    const char *state_directory; /* load.manifest */
    const char *temporary;       /* directory, made by who calls, private to us */
    const char *const *staging;
    unsigned nstaging;
    enum loader_finished finished;
    const char *finished_directory;   /* MOVE; on the filesystem of the staging directories */
    const char *quarantine_directory; /* NULL: files stay where they are */
    const char *rejects_directory;    /* NULL: <file>.rejects beside the file */
    unsigned workers;
    bool fixed;        /* allocation static */
    bool large_worker; /* worker 0 takes the largest reads */
    uint64_t worker_memory, large_worker_memory;
    uint64_t file_size_limit, memory_buffer, throttle;
    bool compounding;
    uint64_t limit_min, limit_max;
    unsigned retries;
    int64_t retry_backoff, stuck_after, start_timeout; /* start: of a worker; 0 = 30 s */
    bool newly_only;
    int64_t remember;      /* how long loaded files are known; 0 = 400 days */
    uint64_t commit_floor; /* commit numbers up to it are used, whatever the manifest says */
    unsigned nrules, nfiles;
    const struct loader_rule *rule; /* none: one rule `each` for everything */
    const struct loader_pattern *file;
};

/* ---- what goes out ---- */

enum loader_alarm {
    LOADER_ALARM_BATCH,      /* a batch failed */
    LOADER_ALARM_QUARANTINE, /* files are quarantined */
    LOADER_ALARM_GATHER,     /* a batch contradicts itself, or its parts do not come */
    LOADER_ALARM_SPACE,      /* a disk is full: tasks wait */
    LOADER_ALARM_THROTTLE,   /* memory is low: tasks wait */
    LOADER_ALARM_WORKER,     /* workers do not start, die or hang */
    LOADER_ALARM_DEADLINE,   /* a batch will not be, or was not, in time */
    LOADER_ALARM_MANIFEST,   /* load.manifest cannot be written: nothing goes on */
    LOADER_ALARM_FINISH,     /* a loaded file cannot be moved or deleted */
    LOADER_ALARM_STAGING,    /* a staging directory is gone */
    LOADER_ALARMS
};

#define LOADER_KEY 40u
struct loader_part { /* a merged table of a date */
    const char *table;
    int32_t date;  /* days since 2000-01-01 */
    uint64_t rows; /* of the files */
    bool supersede;
    const json_t *index; /* the index task's result (base …) */
};
struct loader_move {
    uint64_t batch;
    uint64_t commit; /* its number: 1, 2, … of this instance */
    const char *key; /* of its directories */
    const char *name;
    unsigned n;
    const struct loader_part *part; /* valid during the call */
    bool again;                     /* it was given out before: some of it, or all, may be in */
};
enum loader_verdict {
    LOADER_MOVED,  /* all of it is in */
    LOADER_STALE,  /* nothing is in; the parts named have another base now: index and merge again */
    LOADER_RETRY,  /* nothing is in (disk full, lock held …): the same again later */
    LOADER_REFUSED /* nothing is in, and never will be: the batch fails */
};
struct loader_intern {
    uint64_t batch;
    int32_t date; /* the batch's newest */
    unsigned n;
    const char *const *symbols; /* files `symbols` of the read tasks (save.h) with at least one */
};

/* Called from loader_tick only. Strings are valid during the call. */
struct loader_hooks {
    void *arg;
    /* Start worker number w (0 … workers - 1). Answer: loader_worker_up or loader_worker_down. */
    void (*spawn)(void *arg, unsigned worker, uint64_t memory);
    void (*kill)(void *arg, unsigned worker); /* answer: loader_worker_down */
    /* A run request; false: it could not be sent (the worker is taken as lost). */
    bool (*send)(void *arg, unsigned worker, uint64_t task, const char *json, size_t len);
    /* One at a time, each is answered: loader_interned, loader_moved. */
    void (*intern)(void *arg, const struct loader_intern *i);
    void (*move)(void *arg, const struct loader_move *m);
    /* The database's writer begins nothing else, until released: the batch was stale twice. */
    void (*hold)(void *arg, uint64_t batch, bool hold);
    /* A batch that began to index is given up: its merge directories go. Not answered. */
    void (*discard)(void *arg, uint64_t batch, const char *key, uint64_t commit);
    /* Members of index and merge tasks' args that are the same for all batches: database, table
     * (schema), calendar, instance, existing, memory. A new object, or NULL: err (the table is not
     * declared any more …). */
    json_t *(*part_args)(void *arg, const char *table, struct err *err);
    /* A batch has ended with its files' rows in the database; at least once, also over restarts.
     * facts: batch, name, rule, state, commit, epoch, rows, rejected, bytes, files, seconds,
     * dates [..], tables [..], supersede. */
    void (*finished)(void *arg, uint64_t batch, const json_t *facts);
    /* subject: "" or what it is about; text: one sentence. */
    void (*alarm)(void *arg, enum loader_alarm, const char *subject, bool raised, const char *text);
    void (*log)(void *arg, const char *text);
    /* result.json of a task's directory, its files checked by size (load_result_read). NULL: the
     * orchestrator reads <dir>/result.json through io and checks that it is JSON. */
    bool (*result)(void *arg, const char *dir, json_t **result, struct err *err);
    /* UTC ns by which a batch of that rule, begun then, must be complete; 0 = none. May be NULL. */
    int64_t (*deadline)(void *arg, unsigned rule, int64_t begun);
};

struct loader;

/* NULL: err (the manifest is damaged or newer, a pattern is wrong …). The configuration's and the
 * hooks' memory stays the caller's and must live as long. */
struct loader *loader_create(const struct loader_config *c, const struct loader_hooks *h,
                             struct err *err);
void loader_free(struct loader *l); /* forgets; what counts is in the manifest */
/* New values of live keys (the same staging directories, rules and workers may change). */
bool loader_configure(struct loader *l, const struct loader_config *c, struct err *err);
/* A batch was being moved when the last run ended: its number, else 0. Until loader_moved said how
 * it ended, its dates are neither old nor new. */
uint64_t loader_moving(const struct loader *l);
/* The highest commit number given out. */
uint64_t loader_commits(const struct loader *l);
/* Batches that have begun and not ended, oldest first. */
unsigned loader_unfinished(const struct loader *l, uint64_t *batch, unsigned room);
/* All of it is in the database: nobody needs its merge directories any more, though it has not
 * ended (a kill between the move and the deletion of what was replaced leaves them). */
bool loader_in_place(const struct loader *l, uint64_t batch);
void loader_key(uint64_t instance, uint64_t batch, char out[LOADER_KEY]);

/* Decides and acts. mono: monotonic ns (timeouts), wall: UTC ns since 2000-01-01 (what is shown).
 * Returns the monotonic time by which it must be called again. */
int64_t loader_tick(struct loader *l, int64_t mono, int64_t wall);

/* ---- events ---- */

/* When the events that follow happened; without it they count as of the last tick. */
void loader_now(struct loader *l, int64_t mono, int64_t wall);
void loader_file(struct loader *l, const struct load_watch_event *e);
void loader_staging(struct loader *l, unsigned directory, bool ok, const char *why);
void loader_memory(struct loader *l, uint64_t free_bytes); /* host or cgroup, once a second */
void loader_worker_up(struct loader *l, unsigned worker, int pid);
/* Why: one sentence ("killed by signal 9", "beyond its memory" …). Also after kill. */
void loader_worker_down(struct loader *l, unsigned worker, const char *why);
void loader_worker_beat(struct loader *l, unsigned worker, uint64_t task, uint64_t rows,
                        uint64_t bytes, uint64_t heap);
/* code: 0 = done, else -errno of the failure (-1: none), retryable: see task.h; -ENOSPC and -EDQUOT
 * wait. result: borrowed; may be NULL (see above). text: the error's sentence. An answer for
 * another task than the worker has is ignored. */
void loader_worker_done(struct loader *l, unsigned worker, uint64_t task, int code, bool retryable,
                        const json_t *result, const char *text, uint64_t heap);
/* code as above. */
void loader_interned(struct loader *l, uint64_t batch, int code, bool retryable, const char *text);
/* stale[i]: part i of the move. epoch: of the publication. */
void loader_moved(struct loader *l, uint64_t batch, enum loader_verdict v, const bool *stale,
                  uint64_t epoch, const char *text);

/* ---- verbs: false = err says why not. They take effect in the next tick. ---- */

bool loader_pause(struct loader *l, uint64_t batch, struct err *err); /* 0 = all */
bool loader_resume(struct loader *l, uint64_t batch, struct err *err);
bool loader_cancel(struct loader *l, uint64_t batch, struct err *err);
/* what: a batch's number or name, or a file's name or path. */
bool loader_retry(struct loader *l, const char *what, struct err *err);
struct loader_add {
    unsigned n;
    const char *const *path; /* absolute */
    const char *name;        /* of the batch; NULL: the first file's name */
    bool supersede, partial;
    int priority;
};
bool loader_add(struct loader *l, const struct loader_add *a, uint64_t *batch, struct err *err);
/* A batch by number or name (the newest of that name), or 0. */
uint64_t loader_find(const struct loader *l, const char *what);
/* Dry run: {"files":[{"file","rule","key","part","parts","recipe","size","estimate","worker",
 * "alone","state","why"}…],"budget","limit","free","buffer","workers","seconds"} of the named batch
 * or files, or (n = 0) of everything that is gathering or queued. The caller's; NULL: err. */
json_t *loader_plan(struct loader *l, const char *const *what, unsigned n, struct err *err);

/* ---- what is shown ---- */

enum loader_table {
    LOADER_TASKS,
    LOADER_WORKERS,
    LOADER_FILES_SEEN,
    LOADER_BATCHES,
    LOADER_MEMORY,
    LOADER_TABLES
};
/* The tables' columns, in order, as SQL shows them (pst_tasks …): kdb+ type letters
 * 'j' long, 's' symbol, 'C' string, 'p' timestamp (ns; null = PST_NULL_LONG), 'b' boolean,
 * 'f' float. ends with name NULL. */
struct loader_column {
    const char *name;
    char type;
    const char *sentence;
};
const struct loader_column *loader_columns(enum loader_table t);
const char *loader_table_name(enum loader_table t);
/* {"table":name,"rows":[[values in the order of the columns]…],"total":n}: the rows that matter
 * most first; all = false: at most 200, and no tasks and batches that are over longer than a day.
 * null for null. */
json_t *loader_json(const struct loader *l, enum loader_table t, bool all);
/* One screen: {"state":"idle|working|paused|waiting","why":…,"batches":{…},"files":{…},
 * "queued","processing","rate","eta","free","budget",…,"trouble":[sentences, worst first]} */
json_t *loader_status(const struct loader *l);

struct loader_figures { /* counters; since creation */
    uint64_t files, batches, batches_failed, rows, bytes, rejected, tasks, retries, quarantined,
        redelivered, refused, workers_started, workers_lost, stale, manifest_syncs, io_calls;
    uint64_t gathering, active, queued, processing; /* now */
};
void loader_figures(const struct loader *l, struct loader_figures *f);
