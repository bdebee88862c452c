/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.h - the inside of a penstock-rtp process: what carries plugins (include/penstock/analytic.h)
 * and speaks with penstockd (rtp_wire.h).
 *
 *   host_main.c      the program: HELLO, ATTACH, the loop, beats
 *   host_base.c      a host's beginning and end, its words
 *   host_messages.c  what penstockd says
 *   host_out.c       what is said to it: packets, queued, sent in batches; standalone: to its peers
 *   host_journal.c   the cursor: frames and marks to plugins and processors
 *   host_sessions.c  how far back it begins, for sessions that ran on over an end of day
 *   host_tables.c    tables by id and name; which of them are wanted by whom
 *   host_symbols.c   symbols: of the journal, and texts that it does not have yet; stripes
 *   host_plugins.c   loading, registering, what READY says
 *   host_subs.c      subscriptions: SUBSCRIBE, SNAPSHOT, publish
 *   host_result.c    rows of results, as kdb+ tables
 *   host_params.c    parameters of an ask as struct pst_map
 *   host_history.c   rows of the open day from the RDB at a cut
 *   host_emit.c      rows of processors, numbered and in blocks
 *   host_calls.c     struct pst_rtp_host: the functions that plugins call
 *   host_timer.c, host_sandbox.c
 *   host_own.c       functions that every process has
 *   host_standalone.c   include/penstock/standalone.h; standalone_main.c: the program
 *
 * ONE THREAD does all of it, so that what is published before a snapshot is in it. Between two
 * frames it looks at its socket. It waits in three places only: for something to do, for room in
 * its socket (host_out_flush), and for an answer of penstockd (host_wait: a cut, or credit for
 * rows), in which other messages that must wait are kept for later, in order.
 *
 * POSITION. h->position is the end of the last frame that was handed out; while one is handed out,
 * its end. STATE and UPDATE carry it.
 */
#pragma once

#include <jansson.h>
#include <penstock/analytic.h>
#include "core/cut.h"
#include "core/source.h"
#include "core/symbols.h"
#include "rtp/rtp_wire.h"
#include "storage/cursor.h"
#include "storage/kdb_object.h"
#include "storage/rdb_map.h"

struct host;

/* ---- tables ---- */

struct host_table { /* a version of a table */
    struct pst_table pub;
    const struct schema *schema;
    struct pst_table_column column[SCHEMA_COLUMNS_MAX];
    uint8_t *null_record; /* its fixed part, without values */
    uint8_t calendar;
};
/* What the walk over a frame's records must know of a table. */
struct host_shape {
    uint16_t fixed; /* 0: unknown */
    uint8_t strings, feed;
};

/* Somebody who wants rows: the hooks of a plugin, or a processor. */
struct host_wants {
    const struct pst_table *by_id[PST_TABLES]; /* what its frames carry */
    struct host_want {
        char name[SCHEMA_NAME_MAX];
        uint32_t n;
    } * name;
    uint32_t names;
    bool all;        /* whatever the group's subscriptions are */
    uint32_t wanted; /* versions in by_id */
};

/* ---- plugins ---- */

struct host_timer {
    int id;
    bool journal, dead;
    int64_t interval, due;
    pst_timer *fn;
    void *data;
};

struct pst_rtp { /* one loaded plugin */
    struct host *host;
    char name[RTP_NAME_MAX + 1], version[64], about[256], file[1024];
    void *handle; /* NULL: built in */
    struct pst_hooks hooks;
    bool have_hooks;
    struct host_wants *wants; /* of hooks.rows */
    uint32_t subs;
    struct err err; /* of the call that runs */
    struct host_timer *timer;
    uint32_t timers;
    int next_timer;
    struct pst_result *results; /* made by host->result */
    int64_t log_second;
    unsigned log_lines;
};
struct pst_rtp_registry {
    struct host *host;
    struct pst_rtp *plugin;
    struct err *err;
};

struct host_analytic {
    struct pst_rtp *plugin;
    const struct pst_analytic *a;
};
struct host_function {
    struct pst_rtp *plugin;
    const struct pst_api *f;
};
struct host_processor {
    struct pst_rtp *plugin;
    const struct pst_processor *p;
    struct host_wants *wants;
    bool chosen; /* the group's configuration names it */
};

/* ---- results ---- */

struct host_column {
    char name[SCHEMA_NAME_MAX];
    uint8_t type, width; /* width 0: texts */
    uint8_t *data;
    size_t len, room;
};
struct pst_result {
    struct pst_rtp *plugin;
    struct pst_result *next;
    uint32_t ncolumns, nkeys, rows;
    struct host_column *column;
    uint8_t key[PST_KEYS_MAX];
    bool full, describing;
};

struct host_sub {
    uint64_t uid; /* the wire's */
    int64_t own;  /* the plugin's */
    struct pst_rtp *plugin;
    const struct pst_analytic *a;
    struct pst_result *shape; /* columns and key, no rows */
    char *params;             /* as text, for lists */
    int64_t connection;       /* standalone: whose */
    struct host_sub *next_uid, *next_own;
};
#define HOST_BUCKETS 1024u

/* ---- rows of processors ---- */

struct host_emit {
    bool on;                         /* there are processors: the rows of frames are numbered */
    bool open;                       /* a frame is being handed out */
    struct source_progress progress; /* at: what was sent; islands ahead */
    struct source_point skip_to;     /* rows below it are in the journal */
    struct source_point behind;      /* where the rows of the frame before led to */
    uint64_t frame;                  /* its position */
    uint32_t k;                      /* rows made of it so far */
    uint16_t day;
    /* the block */
    uint8_t *records, *texts;
    uint32_t bytes, count, ntexts, texts_bytes;
    uint16_t block_day;
    uint8_t block_calendar;
    uint32_t generation;         /* of the numbers in `local` */
    uint64_t *local, *local_own; /* by symbol id: generation << 32 | number */
    uint32_t nlocal, nlocal_own;
    /* the row that is being filled */
    uint8_t *pending;
    const struct host_table *pending_table;
    uint32_t pending_bytes;
    bool pending_skipped;
    uint8_t *scratch; /* of a row that goes nowhere; of edit */
    uint8_t *edited;
    uint64_t sent, done; /* packets */
};

/* ---- the process ---- */

enum host_in { /* what a plugin is doing: what it may call, and what a crash says */
               HOST_IN_NOTHING,
               HOST_IN_LOAD,
               HOST_IN_REGISTER,
               HOST_IN_SUBSCRIBE,
               HOST_IN_UNSUBSCRIBE,
               HOST_IN_DESCRIBE,
               HOST_IN_SNAPSHOT,
               HOST_IN_CALL,
               HOST_IN_ROWS,
               HOST_IN_MARK,
               HOST_IN_TIMER,
               HOST_IN_FLUSH,
               HOST_IN_CLOSED,
               HOST_IN_BEGIN,
               HOST_IN_PROCESSOR
};

struct host_library {
    char *alias;
    void *handle;
};

struct host {
    /* of penstockd; fd -1: standalone */
    int fd;
    char group[64];
    uint32_t instance, stripe, stripes;
    uint32_t crowd; /* processes like this one for each CPU, at least 1 */
    bool attached, started, stopping, debug;
    uint64_t memory;
    json_t *config; /* ATTACH */

    /* the journal */
    struct io *io;
    struct ring ring;
    struct symbols symbols;
    struct rdb_map rdb;
    bool have_ring, have_symbols, have_rdb, have_cursor;
    bool standalone; /* in a program of one's own */
    struct cursor cursor;
    char *dirs[CURSOR_DIRS], *prefix;
    uint64_t position;
    int64_t time; /* of the last frame */
    bool replaying;
    uint64_t replay_to;
    int32_t day;
    uint8_t *striped; /* a frame of this stripe's rows */

    struct host_shape shape[TABLE_MAX];
    struct host_table *table[TABLE_MAX];
    struct host_copy *copy[TABLE_MAX];
    const json_t *inserts; /* TABLE: derived table; NULL: none */
    json_t *calendars;     /* TABLE: name */
    const char *calendar_name[256];
    unsigned ncalendars;
    uint8_t *stripe_of; /* by symbol id: stripe + 1 */
    uint32_t nstripe_of;
    struct host_own { /* texts that the journal has no id for */
        char *text;
        uint32_t len;
    } * own;
    uint32_t nown, own_room, *own_hash, own_slots;
    uint32_t taught; /* schemas looked at: h->cursor.dict's count */

    /* plugins */
    struct pst_rtp *plugin[64];
    unsigned nplugins;
    struct host_analytic analytic[RTP_ANALYTICS_MAX];
    struct host_function function[RTP_ANALYTICS_MAX];
    struct host_processor processor[RTP_ANALYTICS_MAX];
    unsigned nanalytics, nfunctions, nprocessors;
    json_t *failed;
    struct host_library *library;
    unsigned nlibraries;
    bool row_wise; /* some processor has pre or post */

    /* subscriptions */
    struct host_sub *by_uid[HOST_BUCKETS], *by_own[HOST_BUCKETS];
    uint64_t next_uid;
    uint32_t nsubs;

    struct host_emit emit;

    /* the call that runs */
    struct pst_rtp *in_plugin;
    enum host_in in;
    volatile uint32_t calls; /* of plugins */
    const char *in_name;
    struct cut *cut; /* history may be asked */
    bool want_cut;
    char cut_refused[400];
    bool cut_here;

    struct host_deferred {
        struct wire_message m;
        struct host_deferred *next;
    } * deferred, **deferred_end, *late, **late_end; /* late: asked before the state is rebuilt */

    struct rtp_beat beat;
    int64_t next_beat, round_began, busy_began;
    int64_t tidy; /* when memory of ended subscriptions goes back to the kernel; 0: none ended */
    int64_t wait_ns;
    /* standalone: instead of packets */
    void (*say)(struct host *, unsigned type, uint64_t id, uint64_t value, const void *body,
                size_t n, uint32_t rows);
    void *peer;
};

/* ---- what the files offer each other ---- */

__attribute__((noreturn, format(printf, 2, 3))) void host_die(struct host *h, const char *format,
                                                              ...);
__attribute__((format(printf, 2, 3))) void host_log(struct host *h, const char *format, ...);
__attribute__((format(printf, 2, 3))) void host_debug(struct host *h, const char *format, ...);
bool host_new(struct host *h);
void host_free(struct host *h);

/* host_out.c. A whole: in parts where rtp_in_parts; rows of a table. Never fails: it waits, and
 * ends the process when penstockd is gone. */
void host_say(struct host *h, unsigned type, uint64_t id, uint64_t value, const void *body,
              size_t n, uint32_t rows);
void host_say_two(struct host *h, unsigned type, uint64_t id, uint64_t value, const void *a,
                  size_t na, const void *b, size_t nb);
void host_say_text(struct host *h, unsigned type, uint64_t id, const char *text);
void host_out_flush(struct host *h);
bool host_out_waits(const struct host *h);

/* host_messages.c. Takes messages until there are none: how many. */
unsigned host_listen(struct host *h);
/* Answers what can be answered in the middle of something; keeps the rest for later. */
void host_pump(struct host *h);
/* The same until `ready` says true. */
void host_wait(struct host *h, bool (*ready)(struct host *));
void host_beat(struct host *h, uint64_t value);
void host_beat_due(struct host *h, int64_t now);

void host_schemas(struct host *h, const json_t *list);
void host_say_ready(struct host *h);

/* host_base.c */
void host_configure(struct host *h, json_t *config); /* ATTACH, or what stands for it */
bool host_libraries(struct host *h, struct err *err);
void host_load_all(struct host *h);

/* host_tables.c */
const struct host_table *host_table_of(struct host *h, unsigned id); /* NULL: no such version */
const struct host_table *host_table_newest(struct host *h, const char *name);
void host_tables_calendars(struct host *h, const json_t *of); /* TABLE: its calendar's name */
bool host_table_teach(struct host *h, const struct schema *s);
void host_tables_learn(struct host *h); /* schemas that the cursor has met since */
struct host_wants *host_wants_new(void);
void host_wants_free(struct host_wants *w);
bool host_wants_add(struct host *h, struct host_wants *w, const char *name);
void host_wants_remove(struct host *h, struct host_wants *w, const char *name);
void host_wants_everything(struct host *h, struct host_wants *w); /* the group's subscriptions */
bool host_wants_table(const struct host *h, const struct host_wants *w, const char *name);
bool host_in_subscriptions(const struct host *h, const char *name);

/* host_symbols.c */
#define HOST_OWN_SYMBOLS 0xC0000000u /* ids of texts that only this process has */
struct pst_text host_symbol(struct host *h, uint32_t id);
uint32_t host_symbol_find(struct host *h, const char *text, uint32_t len);
uint32_t host_symbol_own(struct host *h, const char *text, uint32_t len);
bool host_mine(struct host *h, uint32_t sym); /* of this process's stripe */

/* host_plugins.c */
bool host_plugin_load(struct host *h, const char *file, struct err *err);
void host_plugin_forget(struct host *h, struct pst_rtp *r); /* and frees it */
bool host_plugin_unload(struct host *h, const char *name, struct err *err);
void host_plugins_builtin(struct host *h, bool all); /* all: also the analytics */
json_t *host_ready(struct host *h);
bool host_processors_choose(struct host *h, struct err *err);
bool host_processors_begin(struct host *h, struct err *err);
const struct host_analytic *host_analytic_find(const struct host *h, const char *name);
const struct host_function *host_function_find(const struct host *h, const char *name);
void host_plugins_end(struct host *h);
int host_add_analytic(struct pst_rtp_registry *g, const struct pst_analytic *a);
int host_add_processor(struct pst_rtp_registry *g, const struct pst_processor *p);
int host_add_api(struct pst_rtp_registry *g, const struct pst_api *f);
int host_add_hooks(struct pst_rtp_registry *g, const struct pst_hooks *hooks);
/* The call that runs fails with this sentence; the first one counts. Always -1. */
__attribute__((format(printf, 3, 4))) int host_fail(struct pst_rtp *r, int code, const char *format,
                                                    ...);
/* Around every call of a plugin. host_leave: did it call host->error? */
void host_enter(struct host *h, struct pst_rtp *r, enum host_in in, const char *name);
bool host_leave(struct host *h, struct pst_rtp *r);

/* host_subs.c */
uint64_t host_subscribe(struct host *h, const struct rtp_asked *ask, int64_t connection,
                        struct pst_result **shape, struct err *err); /* 0: refused */
bool host_unsubscribe(struct host *h, uint64_t uid);
/* The state: a result that the caller frees. NULL: err. */
struct pst_result *host_snapshot(struct host *h, uint64_t uid, struct err *err);
struct host_sub *host_sub_find(struct host *h, uint64_t uid);
int host_publish(struct pst_rtp *r, int64_t own, struct pst_result *result);
void host_flush_plugins(struct host *h, struct pst_rtp *only);
struct pst_result *host_call(struct host *h, const struct rtp_asked *ask, struct err *err);
/* A connection is closed: its plugins' hooks, then its subscriptions. only: of one plugin, and no
 * hook. */
void host_closed(struct host *h, int64_t connection);
void host_disconnect(struct host *h, struct pst_rtp *only, int64_t connection);
json_t *host_shape_json(const struct pst_result *shape);

/* host_result.c */
struct pst_result *host_result_new(struct pst_rtp *r);
void host_result_free(struct pst_result *t);
bool host_result_columns(struct pst_result *t, const struct pst_column *c, uint32_t n,
                         const char *key, struct err *err);
bool host_result_like(struct pst_result *t, const struct pst_result *shape);
bool host_result_same(const struct pst_result *a, const struct pst_result *b);
bool host_result_add(struct pst_result *t, const struct pst_value *row, struct err *err);
void host_result_clear(struct pst_result *t);
bool host_result_encode(const struct pst_result *t, struct kdb_out *out);

/* host_params.c. The map's memory is freed by host_params_free. */
struct host_params {
    struct pst_map map;
    struct pst_list list[PST_PARAMETERS_MAX];
    struct pst_value *value;
    char *text;
};
bool host_params_read(struct host_params *p, const struct pst_parameter *declared, uint32_t n,
                      const void *dict, size_t bytes, const char *user, struct err *err);
void host_params_free(struct host_params *p);

/* host_history.c */
int host_history(struct pst_rtp *r, const char *table, const struct pst_value *syms, uint32_t n,
                 bool last, void (*each)(void *, const struct pst_row *), void *arg);
/* A cut, and the journal read to it. False: err. */
bool host_cut_take(struct host *h, struct err *err);
void host_cut_drop(struct host *h);

/* host_journal.c */
bool host_journal_open(struct host *h, struct err *err);
bool host_journal_start(struct host *h, const json_t *start, struct err *err);
/* Reads on, at most to `to` and for about a millisecond. How many frames. */
unsigned host_journal_step(struct host *h, uint64_t to);
void host_frame(struct host *h, const struct frame *f); /* one frame to everybody */
bool host_journal_idle(const struct host *h);           /* nobody wants rows */

/* host_sessions.c. The cursor stands at the first frame of `day`: back to where the sessions began
 * that were live then. What lies before the day is state, and makes no rows. */
void host_sessions_seek(struct host *h, const json_t *start, int32_t day);

/* host_emit.c */
bool host_emit_start(struct host *h, const json_t *start, struct err *err);
/* Reading begins further back, for state only: what is made of frames below `position` goes
 * nowhere. */
void host_emit_from(struct host *h, uint64_t position);
void host_emit_frame(struct host *h, const struct frame *f); /* its rows begin */
void host_emit_done(struct host *h, uint64_t end);           /* and end */
void host_emit_flush(struct host *h, bool even_empty);
uint8_t *host_emit(struct pst_rtp *r, const struct pst_table *t);
/* A row as a record: its bytes (0: err), then the record itself; symbols are ids of this process.
 */
uint32_t host_record_bytes(const struct host_table *t, const struct pst_value *row,
                           struct err *err);
void host_record(struct host *h, const struct host_table *t, const struct pst_value *row,
                 uint32_t bytes, uint8_t *p);
int host_insert(struct pst_rtp *r, const struct pst_table *t, const struct pst_value *row);
uint8_t *host_edit(struct pst_rtp *r, const struct pst_row *row);
struct host_copy; /* how rows of a table become rows of the one that `insert` names */
bool host_copy_of(struct host *h, unsigned id, const struct host_copy **out, struct err *err);
void host_copy_row(struct host *h, const struct pst_row *row, const struct host_copy *c);
bool host_emit_credit(const struct host *h);

/* host_timer.c */
int host_timer_add(struct pst_rtp *r, int64_t interval, bool journal, pst_timer *fn, void *data);
int host_timer_stop(struct pst_rtp *r, int id);
int64_t host_timers_wall(struct host *h, int64_t now); /* ns until the next one is due */
void host_timers_journal(struct host *h, int64_t time);

/* host_calls.c */
extern const struct pst_rtp_host host_functions;

/* host_sandbox.c */
bool host_sandbox_limits(uint64_t memory, struct err *err);
bool host_sandbox_enter(struct err *err);
/* Who crashed, or does not return: a line on standard error. Before host_sandbox_enter. */
void host_crash_handler(struct host *h);
