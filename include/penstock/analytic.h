/* SPDX-License-Identifier: Apache-2.0 */
/*
 * analytic.h - the C interface of real-time plugins: shared objects that follow the journal row by
 * row inside penstock-rtp processes, never in penstockd. A plugin registers
 *
 *   streaming analytics   a client subscribes by name with parameters and then only listens: the
 *                         triple subscribe / unsubscribe / snapshot, results by publish
 *   processors            rows of some tables in, rows of derived tables out, into the journal
 *   functions             called by name from outside (penstock rtp call)
 *
 * A plugin that crashes, loops, leaks or publishes garbage ends its process; penstockd starts that
 * again, moves its subscriptions and tells its clients. Capture never notices.
 *
 *     #include <penstock/analytic.h>
 *
 *     static int64_t last_uid, ids[1000];                      // state is the plugin's own
 *
 *     static int64_t subscribe(struct pst_rtp *r, const struct pst_map *map, void *data)
 *     {
 *         const struct pst_list *syms = pst_map_get(map, "syms");
 *         ...                                                  // keep them under the new id
 *         return ++last_uid;                                   // >= 0; -1: refused, host->error
 *     }
 *     static void rows(struct pst_rtp *r, const struct pst_frame *f, void *data)
 *     {
 *         struct pst_row row;
 *         for (struct pst_walk w = pst_walk(f); pst_next(&w, &row);)
 *             if (row.table->id == trade) ...
 *                 pst_rtp_host->add(r, result, values);
 *         pst_rtp_host->publish(r, uid, result);               // nothing in it: nothing is sent
 *     }
 *
 * The whole of it, as a file that the tests build and run: share/penstock/examples/cpu_stream.c
 *
 * THREADS. All functions of a plugin run on one thread of the process, one at a time. Rows, texts
 * and maps that it is handed live until the function returns; what it keeps it copies.
 *
 * POSITION AND ORDER. The process reads the journal in order. A snapshot is taken between two
 * frames: it carries the position behind the last frame that the plugin has seen, and what is
 * published afterwards follows it. So a snapshot and what is published later must together hold
 * each row once: publish what belongs to rows already seen before the function returns, or let the
 * stream have a key (a row replaces the one of the same key). Everything published by timer must
 * have a key or be flushed by `flush` below.
 *
 * TIME. A processor must give the same rows when the same frames come again: it knows no time but
 * that of the frames (`frame->time`, journal timers). Analytics may use both.
 *
 * VERSIONS. As plugin.h: PST_RTP_ABI changes when something here changes its meaning; new host
 * functions and members are appended, look at `size`.
 */
#ifndef PENSTOCK_ANALYTIC_H
#define PENSTOCK_ANALYTIC_H

#include <penstock/functions.h> /* struct pst_table, pst_row, pst_value, pst_parameter, pst_text */

#ifdef __cplusplus
extern "C" {
#endif

#define PST_RTP_ABI  1u
#define PST_LIST     0x100u /* with a type: a list of it. Parameters of analytics */
#define PST_KEYS_MAX 8u

struct pst_rtp;          /* one loaded plugin in its process */
struct pst_rtp_registry; /* where it registers */
struct pst_result;       /* rows that are being made, of an analytic or a function */

/* ---- parameters: a typed map ---- */

struct pst_list {
    const char *name;
    uint32_t type;  /* enum pst_type, without PST_LIST */
    uint32_t n;     /* 1 of what is no list; a list may be empty */
    uint32_t given; /* 0: the default */
    uint32_t reserved;
    const struct pst_value *value;
};
struct pst_map {
    uint32_t n; /* one for each declared parameter, in order */
    uint32_t reserved;
    const struct pst_list *at;
    const char *user; /* of an analytic with per_user; else "" */
};
static inline const struct pst_list *pst_map_get(const struct pst_map *m, const char *name)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (!strcmp(m->at[i].name, name))
            return &m->at[i];
    return NULL;
}

/* ---- rows of the journal ---- */

/* One frame: rows of one day in journal order. */
struct pst_frame {
    uint64_t position, end; /* of the journal: it is [position, end) */
    int64_t time;           /* when it was journaled, UTC ns since 2000 */
    int32_t day;            /* trading date, days since 2000-01-01 */
    uint32_t replay;        /* 1: from before the point at which this process goes on; what is
                             * published and emitted now has been before and goes nowhere */
    const uint8_t *records, *records_end;
    const struct pst_table *const *table; /* by id, PST_TABLES of them; NULL: not wanted */
    const uint8_t *no_packet;             /* pst_row.packet of rows that no feed made: all null */
};
#define PST_TABLES 4096u

struct pst_walk {
    const uint8_t *at, *end, *packet;
    const struct pst_table *const *table;
    int64_t seq;
    uint32_t per_packet;
};
static inline struct pst_walk pst_walk(const struct pst_frame *f)
{
    struct pst_walk w = {f->records, f->records_end, f->no_packet, f->table, PST_NULL_LONG, 0};
    return w;
}
/* The next row of a table that is wanted; false: that was the last. The host has checked that every
 * record lies within the frame and is as long as its table's fixed part. Tables 0 and 1 are the
 * packet and derived records: facts of the rows behind them. */
static inline bool pst_next(struct pst_walk *w, struct pst_row *row)
{
    while (w->at < w->end) {
        const uint8_t *r = w->at;
        uint16_t id, bytes;
        memcpy(&id, r, 2);
        memcpy(&bytes, r + 2, 2);
        w->at += bytes;
        if (id > 1) {
            row->record = r;
            row->packet = w->packet;
            row->table = w->table[id];
            row->seq = w->seq;
            if (w->packet && w->seq != PST_NULL_LONG)
                w->seq += !w->per_packet;
            if (row->table)
                return true;
        } else if (id == 0) {
            uint32_t flags;
            w->packet = r;
            memcpy(&w->seq, r + 16, 8);
            memcpy(&flags, r + 36, 4);
            w->per_packet = flags & 0x10000u;
            if (flags & 0x20000u)
                w->seq = PST_NULL_LONG;
        }
    }
    return false;
}

/* ---- what else happens in the journal ---- */

enum pst_mark {
    PST_MARK_EOD = 1,      /* day: the date that ended; calendar */
    PST_MARK_EOI,          /* an interval of the log ended */
    PST_MARK_BUFFER_START, /* a buffering event */
    PST_MARK_BUFFER_END,
    PST_MARK_RESTART, /* penstockd started again; positions go on at `position` */
    PST_MARK_SESSION, /* a session of a feed began or was reset */
    PST_MARK_LOST     /* [first, last) stands nowhere any more */
};
struct pst_mark_facts {
    uint32_t size, mark; /* of this struct; enum pst_mark */
    uint64_t position;
    int64_t time;
    int32_t day;
    uint32_t replay;
    uint64_t first, last;
    struct pst_text calendar; /* empty: not its affair */
    struct pst_text json;     /* the mark's own words */
};

/* ---- streaming analytics ---- */

enum pst_analytic_flags {
    PST_PER_USER = 1, /* the result depends on who asks: never shared between users */
    PST_FULL = 2,     /* each publish is the whole state (full state), not what changed (delta) */
    PST_HISTORY = 4   /* subscribe calls history: then it is called once, not first in vain */
};
/* The three functions of an analytic and what a client may know of it. */
struct pst_analytic {
    const char *name, *about; /* name: letters, digits, _ and . */
    const struct pst_parameter *parameters;
    uint32_t nparameters;
    uint32_t flags;
    /* Of its results. NULL: `describe` says them for each subscription. */
    const struct pst_column *columns;
    uint32_t ncolumns;
    const char *key; /* names of key columns, "server,sym"; NULL: rows are events, without a key.
                      * Without columns: what `describe` mostly says, for lists */
    /* Journal tables that it reads: what a user must be allowed to read. NULL-terminated; NULL:
     * the values of its parameters of the name `table` or `tables`. */
    const char *const *tables;
    /* Begins one: its id (UID), >= 0, unique in this plugin for as long as the process lives (a
     * counter will do), or -1 with host->error. */
    int64_t (*subscribe)(struct pst_rtp *, const struct pst_map *, void *data);
    /* The last client has left. An id that is unknown is no error. */
    void (*unsubscribe)(struct pst_rtp *, int64_t uid, void *data);
    /* The current state of it into `out`; none when the id is unknown. 0, or -1. */
    int (*snapshot)(struct pst_rtp *, int64_t uid, struct pst_result *out, void *data);
    /* What only this subscription has: columns and key (host->columns), each publish its whole
     * state (host->full). May be NULL; wins over the members above. */
    int (*describe)(struct pst_rtp *, int64_t uid, struct pst_result *out, void *data);
    void *data;
};

/* ---- processors ---- */

struct pst_derived { /* a table that a processor writes */
    const char *name;
    const struct pst_column *columns; /* time timestamp, sym symbol first */
    uint32_t ncolumns;
    uint32_t reserved;
};
enum pst_pass { PST_DROP = 0, PST_PASS = 1 };

/*
 * Either `frame` (everything at once, the fast way) or `pre` and `post` (a row at a time; both may
 * be NULL). pre: PST_PASS, perhaps with row->record replaced by what host->edit gave; PST_DROP: no
 * insert, no post. A row that passes is inserted into the derived table that the configuration
 * names for its table (`insert`). post gets the row as it came and as it passed.
 *
 * After a restart `begin` is called again and frames come from the first one of the day in which
 * the journal's last row of the group was made, or of the earliest open date if that is before:
 * rows that are in the journal are made again and go nowhere. So the rows of a frame may depend on
 * the frames of its own and the open days only: what was kept of ended days must not matter. With
 * PST_SESSIONS they may also depend on the earlier days of feeds' sessions that were still live
 * when the day before ended (a session that runs on over an end of day): frames come from the date
 * on which the oldest such session began, or from the oldest that the log still holds, which the
 * log says. A processor that fails (not 0) ends its process.
 */
enum pst_processor_flags {
    PST_SESSIONS = 1 /* its state goes by sessions of the feeds of its `tables` */
};
struct pst_processor {
    const char *name, *about;
    const char *const *tables; /* NULL-terminated; NULL: those of the group's `subscriptions` */
    const struct pst_derived *derived;
    uint32_t nderived;
    uint32_t flags;                             /* enum pst_processor_flags */
    int (*begin)(struct pst_rtp *, void *data); /* state is empty; 0, or -1. May be NULL */
    int (*frame)(struct pst_rtp *, const struct pst_frame *, void *data);
    int (*pre)(struct pst_rtp *, struct pst_row *, void *data);
    int (*post)(struct pst_rtp *, const struct pst_row *came, const struct pst_row *passed,
                void *data);
    int (*mark)(struct pst_rtp *, const struct pst_mark_facts *, void *data); /* may be NULL */
    void *data;
};

/* ---- functions called by name ---- */

struct pst_api {
    const char *name, *about;
    const struct pst_parameter *parameters;
    uint32_t nparameters;
    const struct pst_column *columns;
    uint32_t ncolumns;
    int (*run)(struct pst_rtp *, const struct pst_map *, struct pst_result *out, void *data);
    void *data;
};

/* ---- hooks of the plugin as a whole ---- */

struct pst_hooks {
    uint32_t size, reserved;
    /* Journal tables whose rows `rows` wants, NULL-terminated; NULL: those that subscriptions
     * asked for by host->want. */
    const char *const *tables;
    void (*rows)(struct pst_rtp *, const struct pst_frame *, void *data);
    void (*mark)(struct pst_rtp *, const struct pst_mark_facts *, void *data);
    /* Before a snapshot is asked for and before the process ends: publish what waits. */
    void (*flush)(struct pst_rtp *, void *data);
    /* A connection (standalone: a client's; in a process of penstockd: 0, the query manager) is
     * closed. Runs before the framework's own clean-up. */
    void (*closed)(struct pst_rtp *, int64_t connection, void *data);
    /* 1: the framework does not clean up by itself when a connection is closed; the plugin calls
     * host->disconnect. */
    uint32_t own_close;
    uint32_t reserved2;
    void *data;
};

typedef void pst_timer(struct pst_rtp *, int64_t now, void *data);

struct pst_rtp_host {
    uint32_t abi, size; /* PST_RTP_ABI and sizeof(struct pst_rtp_host) of this Penstock */

    /* Only inside pst_rtp_register. The structs must stay. 0, or -1: loading fails. */
    int (*analytic)(struct pst_rtp_registry *, const struct pst_analytic *);
    int (*processor)(struct pst_rtp_registry *, const struct pst_processor *);
    int (*api)(struct pst_rtp_registry *, const struct pst_api *);
    int (*hooks)(struct pst_rtp_registry *, const struct pst_hooks *);

    /* ---- results ---- */
    /* An empty result with an analytic's columns (by name), the process's until it ends. NULL. */
    struct pst_result *(*result)(struct pst_rtp *, const char *analytic);
    /* Gives a result columns and key (describe; or one made by result(r, NULL)). 0, or -1. */
    int (*columns)(struct pst_rtp *, struct pst_result *, const struct pst_column *, uint32_t n,
                   const char *key);
    /* One row: a value for each column; texts are copied. 0, or -1. */
    int (*add)(struct pst_rtp *, struct pst_result *, const struct pst_value *row);
    uint32_t (*rows)(const struct pst_result *);
    void (*clear)(struct pst_result *);
    /* Sends the rows to the subscription's clients and clears them. Without rows, or with an
     * unknown id, nothing is sent. 0, or -1. */
    int (*publish)(struct pst_rtp *, int64_t uid, struct pst_result *);
    /* How many subscriptions the plugin has: with none there is nothing to do. */
    uint32_t (*subscriptions)(const struct pst_rtp *);

    /* ---- the journal ---- */
    /* The newest version of a table; NULL: there is none yet. */
    const struct pst_table *(*table)(struct pst_rtp *, const char *name);
    /* Rows of this table are wanted from now on (while > 0 wants). 0, or -1: no such table. */
    int (*want)(struct pst_rtp *, const char *table);
    void (*unwant)(struct pst_rtp *, const char *table);
    struct pst_text (*symbol)(struct pst_rtp *, uint32_t id); /* length 0: null */
    /* The id of a text, for comparing; PST_NULL_SYMBOL where the journal has none yet. */
    uint32_t (*find_symbol)(struct pst_rtp *, const char *text, uint32_t len);
    uint64_t (*position)(const struct pst_rtp *); /* behind the last frame seen */
    /* Rows of the open day (around an end of day: of both that are open, one after the other) in
     * memory, of a table and these symbols (n 0: all), in order, each with one call of `each`
     * (record and packet as in a frame): all of them, or the newest of each symbol. As of the
     * position; only from subscribe, whose caller the host makes wait until memory has come as far.
     * 0, or -1: then undo what was begun and return -1, since without PST_HISTORY the first call
     * always fails, and subscribe is called again. */
    int (*history)(struct pst_rtp *, const char *table, const struct pst_value *syms, uint32_t n,
                   bool last_of_each, void (*each)(void *arg, const struct pst_row *), void *arg);

    /* ---- a processor's rows ---- */
    /* A record of a derived table to be filled in place: head and fixed part are there, time and
     * sym null, columns at their offsets (host->table). Symbol columns take the journal's ids or
     * host->intern's. Valid until the next emit; it is journaled when the function returns. NULL:
     * error. */
    uint8_t *(*emit)(struct pst_rtp *, const struct pst_table *);
    int (*insert)(struct pst_rtp *, const struct pst_table *, const struct pst_value *row);
    uint32_t (*intern)(struct pst_rtp *, const char *text, uint32_t len);
    uint8_t *(*edit)(struct pst_rtp *, const struct pst_row *); /* a copy that pre may change */

    /* ---- time ---- */
    /* Every `interval` ns by the process's clock, or by the journal's (ticks come each 100 ms). An
     * id, or -1. */
    int (*timer)(struct pst_rtp *, int64_t interval, uint32_t journal, pst_timer *, void *data);
    int (*stop_timer)(struct pst_rtp *, int id);
    int64_t (*now)(struct pst_rtp *); /* UTC ns since 2000, the process's clock */

    /* ---- others ---- */
    int (*error)(struct pst_rtp *, const char *format, ...)
        __attribute__((format(printf, 2, 3))); /* this call fails with the sentence; -1 */
    void (*log)(struct pst_rtp *, const char *format, ...)
        __attribute__((format(printf, 2, 3))); /* at most 10 a second */
    void (*debug)(struct pst_rtp *, const char *format, ...)
        __attribute__((format(printf, 2, 3))); /* only while debugging is switched on */
    bool (*debugging)(const struct pst_rtp *);
    void (*set_debug)(struct pst_rtp *, bool on);
    void (*disconnect)(struct pst_rtp *, int64_t connection); /* what `closed` left to the plugin */
    /* A shared object of the group's `libraries`, by its alias (a dlopen handle); NULL. */
    void *(*library)(struct pst_rtp *, const char *alias);
    const char *(*option)(struct pst_rtp *, const char *name); /* of the group's `options`; NULL */

    /* ---- results and tables, continued ---- */
    /* Frees a result that the plugin will not use again. */
    void (*drop)(struct pst_rtp *, struct pst_result *);
    /* In describe only: what is published replaces what the client has, as with PST_FULL. */
    int (*full)(struct pst_rtp *, struct pst_result *);
    /* The calendar that owns a table: which PST_MARK_EOD is its own. */
    struct pst_text (*calendar)(struct pst_rtp *, const char *table);
    /* Trading date of the rows that are being handed out, also by history; else the newest one. */
    int32_t (*day)(struct pst_rtp *);
    /* The journal's clock at the position: of the last frame or tick seen. */
    int64_t (*time)(struct pst_rtp *);
};

struct pst_rtp_plugin {
    uint32_t abi, host_size; /* of the header it was built with */
    const char *name, *version, *about;
};

/* Every plugin exports these three; PST_RTP_PLUGIN defines the first two. With PST_RTP_BUILTIN, a
 * name, several of them are linked into one program, which has the host's pointer itself. */
#ifndef PST_RTP_BUILTIN
extern PST_PLUGIN_EXPORT const struct pst_rtp_host *pst_rtp_host;
extern PST_PLUGIN_EXPORT const struct pst_rtp_plugin pst_rtp_plugin;
PST_PLUGIN_EXPORT int pst_rtp_register(struct pst_rtp_registry *); /* 0 = loaded */

#define PST_RTP_PLUGIN(name, version, about)                                                       \
    const struct pst_rtp_plugin pst_rtp_plugin = {                                                 \
        PST_RTP_ABI, (uint32_t)sizeof(struct pst_rtp_host), name, version, about};                 \
    const struct pst_rtp_host *pst_rtp_host;
#else
extern const struct pst_rtp_host *pst_rtp_host;
#define PST_RTP_JOIN_(a, b) a##b
#define PST_RTP_JOIN(a, b)  PST_RTP_JOIN_(a, b)
#define pst_rtp_register    PST_RTP_JOIN(PST_RTP_BUILTIN, _register)
int pst_rtp_register(struct pst_rtp_registry *);

#define PST_RTP_PLUGIN(name, version, about)                                                       \
    extern const struct pst_rtp_plugin PST_RTP_JOIN(PST_RTP_BUILTIN, _plugin);                     \
    const struct pst_rtp_plugin PST_RTP_JOIN(PST_RTP_BUILTIN, _plugin) = {                         \
        PST_RTP_ABI, (uint32_t)sizeof(struct pst_rtp_host), name, version, about};
#endif

#ifdef __cplusplus
}
#endif
#endif
