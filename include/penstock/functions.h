/* SPDX-License-Identifier: Apache-2.0 */
/*
 * functions.h - the C interface of the three kinds of function that run inside penstockd itself:
 *
 *   buffer     which rows of a batch go aside while a buffering event is active (a pure mask)
 *   recovery   what to do with a range of the log that is no sound frame
 *   initial    rows that stand in the journal before the first packet
 *
 * A configuration value or a command names one as NAME (built in) or as /dir/file.so:NAME, and may
 * give it arguments: NAME(key=value, key=value).
 *
 * THESE RUN IN PENSTOCKD. A named query (penstock/plugin.h) that crashes ends its own query; one of
 * these that crashes, loops or writes out of bounds ends or corrupts the capture. Each is called by
 * one thread, as said below, and only for as long as the call lasts.
 *
 *     #include <penstock/functions.h>
 *
 *     static int32_t ask(const struct pst_function_host *host, struct pst_range *range,
 *                        const struct pst_arguments *args, char *sentence, uint32_t room)
 *     {
 *         return range->was_durable ? PST_REFUSE : PST_SALVAGE;
 *     }
 *     PST_RECOVERY_FUNCTION(careful, "Starts unless something durable was damaged.", ask)
 *
 *     gcc -shared -fPIC -O2 -o careful.so careful.c
 *     log_recovery_function: /opt/penstock/careful.so:careful
 *
 * LOADING. The file and every directory above it must belong to root or to penstockd's user, and
 * nobody else may be able to write there. It is opened with RTLD_NOW|RTLD_LOCAL at the start
 * (buffer functions: at the event's start) and stays.
 *
 * VERSIONS. PST_FUNCTIONS_ABI changes when something here changes meaning or layout; a function of
 * another number is refused with a sentence that names both. Host functions and fields of facts are
 * only ever appended: look at `size` before using one that this header calls newer.
 *
 * A larger example that repairs a log from a copy of it: share/penstock/examples/from_copy.c.
 */
#ifndef PENSTOCK_FUNCTIONS_H
#define PENSTOCK_FUNCTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <penstock/plugin.h> /* struct pst_text, struct pst_value, struct pst_column */

#ifdef __cplusplus
extern "C" {
#endif

#define PST_FUNCTIONS_ABI   1u
#define PST_FUNCTIONS_MAGIC 0x31434e4654535021ull /* "!PSTFNC1" */

enum pst_function_kind { PST_FUNCTION_BUFFER = 1, PST_FUNCTION_RECOVERY, PST_FUNCTION_INITIAL };

/* Arguments, as texts. What a function does not know it must refuse, not ignore. */
struct pst_argument {
    const char *name, *value;
};
struct pst_arguments {
    uint32_t n;
    const struct pst_argument *at;
};
static inline const char *pst_argument(const struct pst_arguments *a, const char *name)
{
    for (uint32_t i = 0; a && i < a->n; i++)
        if (!strcmp(a->at[i].name, name))
            return a->at[i].value;
    return NULL;
}

struct pst_range;
struct pst_function_host {
    uint32_t abi,
        size; /* PST_FUNCTIONS_ABI and sizeof(struct pst_function_host) of this Penstock */
    /* One line into penstockd's own log, cut at 500 bytes. Not from a mask. */
    void (*log)(const char *format, ...) __attribute__((format(printf, 1, 2)));
    /* "2026-11-23T09:30:00.5Z", "2026.11.23D09:30:00.5" or a date -> ns since 2000-01-01 UTC. */
    bool (*timestamp)(const char *text, int64_t *ns);
    /* Is there a frame of this instance at `bytes` (8-aligned; at most `length` are read)? Its
     * length and its position in the journal, or 0. */
    uint32_t (*frame)(const struct pst_range *range, const void *bytes, uint64_t length,
                      uint64_t *position);
};

/* ---- tables and rows, as they lie in the journal ---- */

struct pst_table_column {
    const char *name;
    uint32_t type;   /* enum pst_type */
    uint32_t offset; /* in the record; packet: in the packet record */
    uint32_t packet; /* 1: shared by the rows of a packet; `seq` is pst_row.seq */
};
struct pst_table {
    const char *name;
    uint32_t id; /* of this version of the table, < 4096; never reused in an instance */
    uint32_t feed, ncolumns;
    const struct pst_table_column *column; /* 0 time, 1 sym, … */
};
struct pst_row {
    const uint8_t *record; /* 8-aligned, complete */
    const uint8_t *packet; /* facts of its packet; NULL where no feed made it */
    const struct pst_table *table;
    int64_t seq; /* null: none */
};

static inline int32_t pst_table_find(const struct pst_table *t, const char *column)
{
    for (uint32_t i = 0; i < t->ncolumns; i++)
        if (!strcmp(t->column[i].name, column))
            return (int32_t)i;
    return -1;
}
static inline int64_t pst_row_time(const struct pst_row *r)
{
    int64_t v;
    memcpy(&v, r->record + 8, 8);
    return v;
}
static inline uint32_t pst_row_sym(const struct pst_row *r) /* id; PST_NULL_SYMBOL: null */
{
    uint32_t v;
    memcpy(&v, r->record + 4, 4);
    return v;
}
static inline const uint8_t *pst_row_at(const struct pst_row *r, uint32_t column)
{
    const struct pst_table_column *c = &r->table->column[column];
    return (c->packet ? r->packet : r->record) + c->offset;
}
/* A value as struct pst_value has it, symbols as their id in `i` (the batch's `symbol` has the
 * text), strings as text inside the record. Guids: take pst_row_at. */
static inline struct pst_value pst_row_value(const struct pst_row *r, uint32_t column)
{
    const struct pst_table_column *c = &r->table->column[column];
    struct pst_value v;
    memset(&v, 0, sizeof v);
    v.type = c->type;
    if (c->packet && !strcmp(c->name, "seq")) {
        v.i = r->seq;
        return v;
    }
    const uint8_t *p = pst_row_at(r, column);
    uint32_t u, n;
    int32_t i;
    int16_t h;
    float f;
    switch (c->type) {
    case PST_BOOLEAN:
    case PST_BYTE:
    case PST_CHAR:
        v.i = *p;
        break;
    case PST_SHORT:
        memcpy(&h, p, 2);
        v.i = h;
        break;
    case PST_REAL:
        memcpy(&f, p, 4);
        v.f = (double)f;
        break;
    case PST_FLOAT:
        memcpy(&v.f, p, 8);
        break;
    case PST_SYMBOL:
        memcpy(&u, p, 4);
        v.i = u;
        break;
    case PST_GUID:
        memcpy(v.guid, p, 16);
        break;
    case PST_STRING:
        memcpy(&u, p, 4);
        memcpy(&n, p + 4, 4);
        v.text.at = (const char *)r->record + u;
        v.text.len = n;
        break;
    case PST_LONG:
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        memcpy(&v.i, p, 8);
        break;
    default: /* int month date minute second time */
        memcpy(&i, p, 4);
        v.i = i;
    }
    return v;
}

/* ---- buffer: a mask over the rows of one frame ---- */

struct pst_batch {
    uint32_t rows;
    const struct pst_row *row;
    /* Text of a symbol id of these rows; length 0: null. */
    struct pst_text (*symbol)(const struct pst_batch *batch, uint32_t id);
    const void *symbols; /* the host's */
};

/*
 * prepare and release run on the control thread at the event's start and end: 0 and *state (may be
 * NULL), else a sentence in `error`. mask runs on the appender for every frame while the event is
 * active, before the frame is sealed: bit i of bits[i / 64] set diverts row i; all bits are clear
 * before. It must be pure - the bits depend on the state as prepared and on the rows, nothing else
 * - and must not allocate, lock, make a system call or wait: the packets wait for it.
 */
struct pst_buffer_functions {
    int32_t (*prepare)(const struct pst_function_host *host, const struct pst_arguments *args,
                       void **state, char *error, uint32_t room); /* NULL: takes no arguments */
    void (*mask)(const void *state, const struct pst_batch *batch, uint64_t *bits);
    void (*release)(void *state); /* may be NULL */
};

/* ---- recovery: what to do with a bad range ---- */

enum pst_damage {
    PST_TORN = 1,   /* bytes behind the last frame that are no frame, nothing valid after them */
    PST_ALTERED,    /* bytes between two sound frames that are no frame */
    PST_HOLE,       /* the same, but never written (zeros, stale frames): a power cut's hole */
    PST_NO_HEADER,  /* a log file whose header is lost, both copies */
    PST_MISSING,    /* positions that stand in no file: bytes NULL, length 0 */
    PST_UNREADABLE, /* a file that cannot be opened or read: bytes NULL */
    PST_FOREIGN,    /* a file of another instance */
    PST_NEWER,      /* a file of a newer format: never started on, whatever the answer */
    PST_CONFLICT    /* a file that holds other frames for its positions than an older one */
};
enum pst_answer {
    PST_SALVAGE = 1, /* keep every sound frame, copy the range to quarantine, go on behind it */
    PST_TRUNCATE,    /* the log ends before the range: it and what follows are thrown away */
    PST_REFUSE,      /* do not start */
    PST_REPAIR       /* `repair` holds sound frames for it: they are checked and written in place */
};

struct pst_range {
    uint32_t size;    /* sizeof(struct pst_range) of this Penstock */
    uint32_t damage;  /* enum pst_damage */
    const char *path; /* of the file; NULL for PST_MISSING */
    uint64_t offset, length;
    const uint8_t *bytes; /* `length` of them, read-only; NULL when there are none or too many
                             (above 64 MiB) */
    uint8_t *repair;      /* `length` bytes, zeroed, 8-aligned; NULL: cannot be repaired */
    uint64_t first, last; /* journal positions [first, last) that it held; last 0: unknown */
    uint64_t instance;
    uint32_t was_durable; /* 1: a tick mark says that it once was on disk */
    uint32_t reserved;
};

/* Control thread, at the start, before anything else runs; once for each range, by file and offset.
 * Returns enum pst_answer; `sentence` (room bytes, empty) is said to the operator when set. Another
 * value than these four counts as PST_SALVAGE. */
typedef int32_t pst_recovery_function(const struct pst_function_host *host, struct pst_range *range,
                                      const struct pst_arguments *args, char *sentence,
                                      uint32_t room);

/* ---- initial: rows before the first packet ---- */

struct pst_start;
struct pst_start_facts {
    uint32_t size;     /* sizeof(struct pst_start_facts) of this Penstock */
    uint32_t fresh;    /* 1: there is no log yet */
    uint32_t clean;    /* 1: the last stop was a clean one */
    int32_t day;       /* trading date of the default calendar, days since 2000-01-01 */
    uint64_t position; /* where the journal goes on */
    const char *instance, *state_directory, *log_directory;
};
struct pst_start_api {
    uint32_t size;
    uint32_t reserved;
    /* Declares a table (time and sym first), as `tables:` of the configuration does. Only inside
     * `declare`. 0 or -1: the start fails with this sentence. */
    int32_t (*declare)(struct pst_start *, const char *table, const struct pst_column *columns,
                       uint32_t ncolumns);
    /* A declared table, by name; NULL: there is none. */
    const struct pst_table *(*table)(struct pst_start *, const char *name);
    /* One row: a value for each column in the table's order. time null: now. source NULL: plain.
     * Else rows of one source carry rising positions and stand in the journal exactly once: those
     * up to `done` are skipped (a restart runs the function again). 0, or -1: refused. */
    int32_t (*publish)(struct pst_start *, const char *table, const struct pst_value *row,
                       const char *source, int64_t position);
    /* The last position of a source in the journal; -1: none. */
    int64_t (*done)(struct pst_start *, const char *source);
    /* The i-th table of the configuration's `tables:`; NULL past the last. */
    const char *(*configured)(struct pst_start *, uint32_t i);
    /* The rows of a CSV file, as `penstock publish` takes them; position of a row: its line. A file
     * that is not there holds none. Rows taken now, or -1: the start fails. */
    int64_t (*csv)(struct pst_start *, const char *table, const char *path, const char *source);
    /* Fails the start with this sentence; returns -1. */
    int32_t (*error)(struct pst_start *, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
};

/* Control thread. declare (may be NULL) before the tables are laid out, run when the journal is
 * open and no port is. 0, or anything else: the start fails. */
struct pst_initial_functions {
    int32_t (*declare)(const struct pst_function_host *host, const struct pst_start_facts *facts,
                       const struct pst_start_api *api, struct pst_start *start,
                       const struct pst_arguments *args);
    int32_t (*run)(const struct pst_function_host *host, const struct pst_start_facts *facts,
                   const struct pst_start_api *api, struct pst_start *start,
                   const struct pst_arguments *args);
};

/* ---- what a file exports ---- */

struct pst_daemon_function {
    uint64_t magic;
    uint32_t abi, size, kind, reserved;
    const char *name, *about;
    struct pst_buffer_functions buffer; /* of its kind only */
    pst_recovery_function *recovery;
    struct pst_initial_functions initial;
};

#define PST_FUNCTION_HEAD(kind, name, about)                                                       \
    PST_FUNCTIONS_MAGIC, PST_FUNCTIONS_ABI, (uint32_t)sizeof(struct pst_daemon_function), kind, 0, \
        name, about
#define PST_BUFFER_FUNCTION(name, about, ...)                                                      \
    PST_PLUGIN_EXPORT extern const struct pst_daemon_function name;                                \
    const struct pst_daemon_function name = {PST_FUNCTION_HEAD(PST_FUNCTION_BUFFER, #name, about), \
                                             .buffer = {__VA_ARGS__}};
#define PST_RECOVERY_FUNCTION(name, about, function)                                               \
    PST_PLUGIN_EXPORT extern const struct pst_daemon_function name;                                \
    const struct pst_daemon_function name = {                                                      \
        PST_FUNCTION_HEAD(PST_FUNCTION_RECOVERY, #name, about), .recovery = function};
#define PST_INITIAL_FUNCTION(name, about, ...)                                                     \
    PST_PLUGIN_EXPORT extern const struct pst_daemon_function name;                                \
    const struct pst_daemon_function name = {                                                      \
        PST_FUNCTION_HEAD(PST_FUNCTION_INITIAL, #name, about), .initial = {__VA_ARGS__}};

#ifdef __cplusplus
}
#endif
#endif
