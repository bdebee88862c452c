/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loader.h - private to the orchestrator (orchestrator.h): its tables.
 *
 *   sfile   a name in a staging directory, as the watch tells it; one a path, while it is there
 *   gather  files of one (directory, rule, key) that wait for each other
 *   lbatch  a released batch: bfiles (what was there at its release), parts (date, table), queues
 *   ltask   a task until it has ended; ended ones are kept for show
 *   lwork   a worker's slot
 *   ldone   a path that was loaded, or whose batch failed, with what it was then
 *
 * Who changes what: loader_files.c sfiles; loader_gather.c gathers, releases; loader_finish.c files
 * of batches that are over; loader_batches.c batches; loader_parts.c parts; loader_tasks.c tasks
 * and workers; loader_store.c lines of the manifest, both ways; loader_show.c only reads. An action
 * (outbox) is what a hook will be called for, once the manifest is synced.
 */
#pragma once

#include "core/clock.h"
#include "core/schema.h"
#include "manifest.h"
#include "orchestrator.h"

#define LOADER_ENDED_TASKS   2000u
#define LOADER_ENDED_BATCHES 500u
#define LOADER_HISTORY       1000u
#define LOADER_AHEAD         8u /* batches that are read and wait for their turn */
#define LOADER_EACH          10000u
#define LOADER_SLICE         256u /* files that are finished, or names removed, in a tick */
#define LOADER_WHY           400u
#define LOADER_AGE           (600 * NS_PER_S) /* waiting that counts as one step of priority */
#define LOADER_SPACE_WAIT    (60 * NS_PER_S)

/* ---- string -> pointer ---- */
struct lmap {
    struct lmap_slot {
        const char *key; /* the value's own memory */
        void *value;     /* NULL with a key: deleted */
        uint64_t hash;
    } * slot;
    uint64_t n, used, mask;
};
void *lmap_get(const struct lmap *m, const char *key);
void lmap_put(struct lmap *m, const char *key, void *value); /* replaces */
void lmap_remove(struct lmap *m, const char *key);
void lmap_free(struct lmap *m);

/* ---- files ---- */
enum fstate {
    F_GROWING,
    F_CHECKING, /* its hash decides whether it is a redelivery */
    F_READY,    /* gathered */
    F_BATCHED,  /* part of a released batch */
    F_LOADED,
    F_SAME, /* delivered again, unchanged */
    F_REFUSED,
    F_QUARANTINED,
    F_FAILED, /* its batch failed */
    F_UNMATCHED,
    F_OLD,
    F_STATES
};
struct gather;
struct lbatch;
struct ltask;
struct sfile {
    char *path;
    const char *name; /* in it */
    unsigned directory;
    uint64_t size, dev, ino;
    int64_t mtime;
    int64_t seen; /* wall */
    enum fstate state;
    bool marker, has_key, old;
    bool growing;      /* as the watch says; also while it is BATCHED */
    int rule, pattern; /* -1: none */
    uint32_t part, parts;
    char *key, *why;
    struct gather *g;
    struct sfile *next, *prev; /* of the gather */
    struct lbatch *batch;
    struct ltask *check;
};
struct gather {
    char *id;  /* directory number, rule, key */
    char *key; /* in it */
    unsigned directory;
    int rule;
    struct sfile *first;
    unsigned n;          /* files */
    int64_t since, last; /* mono: first and last one that came; 0 = none */
    int64_t since_wall;
    struct load_marks marks; /* of the marker, parsed */
    struct sfile *marked;    /* that it is parsed of */
    unsigned loaded;         /* parts of it that were loaded earlier: ldones */
    char *problem;
    char *waits; /* for what, if nothing is wrong */
    bool failed; /* waits for news */
    bool alarmed, dirty;
    bool late; /* behind its deadline, and told */
    struct gather *next_dirty;
    struct gather *next, *prev; /* all */
};
struct ldone {
    char *path;
    uint64_t size;
    int64_t mtime;
    char hash[36];
    uint64_t batch;
    int64_t at;
    uint64_t rows, rejected;
    bool failed; /* not loaded: its batch failed */
    bool marker;
    uint32_t part, parts;
    char *gather; /* id, for parts that were loaded earlier */
    char *why;
};

/* ---- batches ---- */
enum bstate { B_QUEUED, B_READ, B_BAD, B_SAME, B_MARKER };
struct bwritten {
    const char *table; /* interned */
    int32_t date;
    uint64_t rows, bytes, key_bytes;
};
struct bfile {
    struct lbatch *batch;
    char *path;
    const char *name;
    uint64_t size, dev, ino;
    int64_t mtime;
    int pattern;
    uint32_t part, parts;
    char *digest;
    enum bstate state;
    unsigned attempt; /* of this start */
    unsigned fails;   /* of all starts */
    char *dir;        /* of the result */
    char hash[36];
    uint64_t rows, rejected, symbols;
    struct bwritten *written;
    unsigned nwritten;
    bool verify; /* of another boot: its CRCs come first */
    bool other;  /* its recipe is another one than when it was read */
    char *why;
    struct ltask *task;
    struct sfile *s; /* NULL: not in staging any more */
};
struct llinger {
    struct llinger *next;
    uint64_t batch;
    struct bfile f; /* path, name and what the file was when it was read */
};
enum pstate { P_WAITING, P_INDEXING, P_MERGING, P_MERGED };
struct lpart {
    const char *table; /* interned */
    int32_t date;
    uint64_t rows, bytes, key_bytes;
    unsigned *input, ninputs; /* numbers of files */
    uint32_t inputs;          /* CRC of their directories */
    enum pstate state;
    unsigned attempt, stale, lost;
    char *dir; /* of the index task */
    json_t *index;
    unsigned merges; /* not complete */
    json_t *merged;  /* object: column -> true */
};
enum lstate {
    L_READING,
    L_READY,
    L_INTERNING,
    L_BUILDING, /* indexing, then merging */
    L_MOVING,
    L_FINISHING,
    L_ENDING, /* failed or cancelled: waits until no worker has a task of it */
    L_COMPLETE,
    L_PARTIAL,
    L_FAILED,
    L_CANCELLED,
    L_STATES
};
struct lbatch {
    uint64_t id, commit, epoch;
    char *name, *gather; /* gather: id; NULL: by hand */
    char key[LOADER_KEY];
    int rule; /* -1: by hand, or no longer there */
    enum load_by by;
    bool partial, supersede, paused, by_hand;
    int priority;
    int64_t deadline;           /* wall; 0 = none */
    enum lstate state, verdict; /* verdict: of ENDING */
    struct bfile *file;
    unsigned nfiles, nread, nbad, nsame, nmarkers;
    struct ltask **ready; /* ascending by size */
    unsigned nready, room, nwaiting, nrunning;
    unsigned skipped;
    struct lpart *part;
    unsigned nparts, merged;
    json_t *resume; /* array: what an earlier start of the same boot had indexed and merged */
    bool intern_sent, move_sent, again, hold, indexed, ended_line, hooked, trash;
    unsigned interns, moves, verifies;
    int64_t due; /* mono: of the next interning or move */
    unsigned next_finish;
    int64_t at, ended, ready_at; /* wall */
    int64_t began, commit_began; /* mono */
    uint64_t bytes, bytes_read, rows, rejected, commit_bytes, commit_done;
    char why[LOADER_WHY];
    struct lbatch *next; /* all, by number */
};

/* ---- tasks and workers ---- */
enum tkind { T_REFRESH, T_READ, T_HASH, T_VERIFY, T_INDEX, T_MERGE, T_KINDS };
enum tstate { T_QUEUED, T_PROCESSING, T_COMPLETE, T_FAILED, T_RETRYING, T_QUARANTINED, T_STATES };
struct ltask {
    uint64_t id;
    enum tkind kind;
    enum tstate state;
    struct lbatch *batch; /* NULL: hash of a file in staging; ended */
    uint64_t batch_id;
    struct bfile *file;
    struct lpart *part;
    struct sfile *check;
    char *column;
    char *what; /* for people */
    uint64_t size;
    int pattern; /* of its file; -1 */
    unsigned fails, attempt;
    int fixed; /* static allocation: its worker; -1 */
    bool alone;
    int worker; /* -1 */
    char *dir;
    int64_t due, start;           /* mono */
    int64_t start_wall, end_wall; /* 0 = not yet */
    uint64_t rows, bytes, heap;
    char *error;
    struct ltask *next, *prev; /* of live ones */
};
enum wstate { W_ABSENT, W_STARTING, W_LIVE, W_STOPPING };
struct lwork {
    enum wstate state;
    struct ltask *task, *last;
    bool stale;       /* to be recycled when free */
    uint64_t symbols; /* generation it was refreshed at */
    int pid;
    int64_t since, up_wall; /* mono of the state */
    int64_t progress;       /* mono: its task moved last */
    unsigned failures;      /* in a row */
    int64_t due;            /* mono: not started before */
    uint64_t heap, processed, last_task, starts;
    char why[200];
};
struct lhistory {
    uint64_t task, size, heap;
    unsigned worker;
    enum tkind kind;
    int64_t start, end;
};

/* ---- what will be done once the manifest is synced ---- */
enum action {
    A_SPAWN,
    A_KILL,
    A_SEND,
    A_INTERN,
    A_MOVE,
    A_HOLD,
    A_RELEASE,
    A_DISCARD,
    A_FINISHED,
    A_ALARM,
    A_LOG
};
struct laction {
    enum action kind;
    unsigned worker;
    enum loader_alarm alarm;
    bool raised;
    uint64_t id; /* of a task or batch */
    char *subject, *text;
};

struct lalarm {
    char *subject, *text;
    enum loader_alarm code;
};

struct loader {
    struct loader_config c;
    struct loader_hooks h;
    struct io *io;
    struct loader_rule each; /* where no rule is configured */
    struct load_manifest m;
    int64_t mono, wall;
    uint64_t start, next_batch, next_task, commits;
    bool same_boot; /* while lines are replayed: the last start's boot is ours */
    bool must_sync, wake, paused, started;
    int64_t lazy_since;
    uint64_t free_memory, limit;
    bool memory_known;
    struct lmap files, gathers, done, hashes, into;
    struct lmap batched; /* path -> bfile of a batch that is not over */
    struct gather *all_gathers, *dirty;
    struct lbatch *first, *last, *slot;
    unsigned nbatches;
    uint64_t nactive;
    struct ltask *tasks; /* live */
    unsigned nwaiting, nrunning;
    int64_t next_due;
    uint64_t in_flight;
    struct ltask **loose; /* hash tasks that are queued */
    unsigned nloose, loose_room, loose_skipped;
    struct ltask *ended[LOADER_ENDED_TASKS];
    uint64_t nended;
    struct lhistory history[LOADER_HISTORY];
    uint64_t nhistory;
    struct lwork work[LOAD_PLAN_WORKERS];
    uint64_t symbols; /* generation of `sym` */
    struct laction *out;
    unsigned nout, out_room;
    struct lalarm *alarm;
    unsigned nalarms;
    char **trash; /* directories that are to go */
    unsigned ntrash;
    struct llinger *linger; /* loaded files that could not be moved or deleted: tried again */
    int64_t linger_due;
    int64_t started_at; /* mono */
    int64_t house;      /* mono of the next housekeeping */
    int64_t space_until, space_wait;
    char *space_why; /* of space_until */
    enum load_plan_why why;
    uint64_t budget;
    char **name; /* interned names of tables */
    unsigned nnames;
    struct loader_figures f;
    double read_rate, commit_rate; /* bytes a second, learned */
    char *state_why;
};

/* tables */
#define LOADER_LINGER (10 * NS_PER_S) /* between attempts */
void files_linger(struct loader *l);
char *text_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void text_set(char **p, char *text); /* takes text */
const char *loader_intern_name(struct loader *l, const char *name);
struct lbatch *loader_batch(const struct loader *l, uint64_t id);
struct lbatch *batch_add(struct loader *l, uint64_t id);
void batch_free(struct lbatch *b);
struct bfile *batch_file_add(struct lbatch *b, const char *path);
bool batch_over(const struct lbatch *b);
void batch_ready_add(struct lbatch *b, struct ltask *t);
void *room_for(void *p, unsigned n, unsigned *room, size_t size);
void action_add(struct loader *l, enum action kind, unsigned worker, uint64_t id);
void alarm_set(struct loader *l, enum loader_alarm code, const char *subject, const char *text);
void alarm_clear(struct loader *l, enum loader_alarm code, const char *subject);
void loader_log(struct loader *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void done_put(struct loader *l, struct ldone *d); /* takes it */
void done_remove(struct loader *l, const char *path);
struct ldone *done_get(const struct loader *l, const char *path);
const struct ldone *done_hash(const struct loader *l, const char *hash, const char *name);

/* store */
bool store_line(void *arg, const json_t *o, struct err *err);
bool store_content(void *arg, struct load_manifest *m);
void store_add(struct loader *l, json_t *o, bool must);
void store_start(struct loader *l);
void store_batch(struct loader *l, const struct lbatch *b); /* with its files */
void store_read(struct loader *l, const struct lbatch *b, unsigned k);
void store_bad(struct loader *l, const struct lbatch *b, unsigned k);
void store_fails(struct loader *l, const struct lbatch *b, unsigned k);
void store_same(struct loader *l, const struct lbatch *b, unsigned k);
void store_commit(struct loader *l, const struct lbatch *b);
void store_index(struct loader *l, const struct lbatch *b, const struct lpart *p);
void store_merged(struct loader *l, const struct lbatch *b, const struct lpart *p,
                  const char *columns);
void store_part_again(struct loader *l, const struct lbatch *b, const struct lpart *p);
void store_state(struct loader *l, const struct lbatch *b, const char *state);
void store_done(struct loader *l, const struct ldone *d);
void store_pause(struct loader *l, uint64_t batch, bool on);
void store_gather(struct loader *l, const struct gather *g);
void loader_into(struct loader *l, const struct lbatch *b);

/* files */
void files_tick(struct loader *l);
void files_house(struct loader *l);
void files_free(struct loader *l);
void file_set(struct sfile *s, enum fstate state, char *why); /* takes why */
void file_checked(struct loader *l, struct ltask *t, bool ok, const char *hash, const char *why);
void files_batch_ended(struct loader *l, struct lbatch *b); /* failed, cancelled */
/* Has a failed batch a file that came in no other way since? */
bool files_failed(const struct loader *l, const struct lbatch *b);
bool file_unchanged(struct loader *l, const struct bfile *f); /* it lies there as it was read */
void file_reason(struct loader *l, const char *path, const char *why);
/* to: where they are now (1400 bytes; "" = there are none). May be NULL. */
void file_rejects(struct loader *l, const struct bfile *f, const char *dir, uint64_t batch,
                  char *where);
void files_remember(struct loader *l, const struct lbatch *b, const struct bfile *f, bool failed);
bool files_finish(struct loader *l, struct lbatch *b); /* a slice; true: all done */
void files_trash(struct loader *l);
void trash_add(struct loader *l, char *dir); /* takes dir */
bool file_stat(struct loader *l, const char *path, struct io_stat *s);
struct lbatch *files_release(struct loader *l, struct gather *g, struct sfile **list, unsigned n,
                             const char *name);
void files_adopt(struct loader *l, struct lbatch *b); /* by hand: those that lie in staging */
bool files_again(struct loader *l, const char *path); /* verb retry: a quarantined file */
void gather_news(struct loader *l, struct gather *g);
void gather_dirty(struct loader *l, const char *id); /* id may be NULL */
void gather_mark(struct loader *l, struct gather *g);
void gather_free(struct gather *g);
void gather_attach(struct loader *l, struct gather *g, struct sfile *s);
void gather_detach(struct loader *l, struct sfile *s);
void gather_problem(struct loader *l, struct gather *g, const char *text);
struct gather *gather_of_file(struct loader *l, const struct sfile *s);
bool gather_marks(struct loader *l, struct gather *g, struct sfile *marker); /* reads a manifest */
const struct loader_rule *loader_rule_of(const struct loader *l, int rule);
bool file_same(const struct sfile *s, uint64_t size, int64_t mtime);
bool file_usable(const struct sfile *s);               /* there, complete, loadable */
bool file_classify(struct loader *l, struct sfile *s); /* its rule and recipe */
void file_consider(struct loader *l, struct sfile *s); /* a complete one that no batch has */
void file_settle(struct loader *l, struct sfile *s);   /* waits for nobody */
void file_finish(struct loader *l, const struct lbatch *b, const struct bfile *f); /* loaded */
void done_remember(struct loader *l, const char *path, uint64_t size, int64_t mtime,
                   const char *hash, const struct lbatch *b, bool failed, const char *why);
struct gather *gather_get(struct loader *l, const char *id, bool make);
void gather_drop(struct loader *l, struct gather *g);            /* if nothing needs it any more */
void files_batched(struct loader *l, struct lbatch *b, bool on); /* its paths: l->batched */

/* batches */
void batches_tick(struct loader *l);
void batches_resume(struct loader *l); /* after the manifest was replayed */
void batch_failed_alarm(struct loader *l, const struct lbatch *b);
void batch_fail(struct loader *l, struct lbatch *b, enum lstate verdict, const char *why);
void batch_file_bad(struct loader *l, struct lbatch *b, unsigned k, const char *why);
void batch_read_done(struct loader *l, struct lbatch *b, unsigned k, const json_t *result,
                     const char *dir);
bool batch_result(struct loader *l, struct lbatch *b, unsigned k, const json_t *result,
                  struct err *err);
void batch_queue_read(struct loader *l, struct lbatch *b, unsigned k);
void batch_state(struct loader *l, struct lbatch *b, enum lstate s);
bool batch_may_supersede(struct loader *l, struct lbatch *b); /* else it has failed */
struct lpart *part_of(struct lbatch *b, const char *table, int32_t date, unsigned *room);
void parts_make(struct loader *l, struct lbatch *b); /* of what its files' results say */
void parts_forget(struct loader *l, struct lbatch *b);
void part_queue(struct loader *l, struct lbatch *b, struct lpart *p); /* an index task */
void part_again(struct loader *l, struct lbatch *b, struct lpart *p, const char *why);
void part_indexed(struct loader *l, struct lbatch *b, struct lpart *p, json_t *index);
void part_merged(struct loader *l, struct lbatch *b, struct lpart *p, const char *columns);
void batch_verify_reads(struct loader *l, struct lbatch *b, const char *why);
void batch_intern_again(struct loader *l, struct lbatch *b, const char *why);
int batch_rank(const struct loader *l, const struct lbatch *a, const struct lbatch *b);
struct loader_move *batch_move(struct loader *l, struct lbatch *b);
json_t *batch_facts(const struct loader *l, const struct lbatch *b);
uint64_t file_estimate(const struct loader *l, const char *name, uint64_t size, int pattern);
const char *batch_state_name(const struct lbatch *b);

/* tasks */
struct ltask *task_add(struct loader *l, enum tkind kind, struct lbatch *b, uint64_t size,
                       char *what);
void task_queue(struct loader *l, struct ltask *t);
void task_end(struct loader *l, struct ltask *t, enum tstate state, const char *error);
void tasks_dispatch(struct loader *l);
void tasks_due(struct loader *l);
void tasks_house(struct loader *l);
void tasks_drop(struct loader *l, struct lbatch *b, const struct lpart *p); /* p NULL: all of b */
void workers_recycle(struct loader *l);
json_t *task_args(struct loader *l, const struct ltask *t, struct err *err);
extern const char *const task_kind_name[T_KINDS], *const task_state_name[T_STATES];
void task_free(struct ltask *t);
