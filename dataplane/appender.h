/* SPDX-License-Identifier: Apache-2.0 */
/*
 * appender.h - the one writer of the journal. It assigns position and time, seals frames and
 * publishes the ring's tail; nothing else in the system does.
 *
 *   own feeds ──► rows ──► staging frame ─┐
 *   inject rings ──► check, map symbols ──┼─► seal ─► ring_write ─► ring_publish
 *   due list, ticks ──► marks ────────────┘
 *
 * Owner: the first rx lcore, or an ordinary thread where no port is configured. Every function here
 * belongs to that thread, or to control before the thread starts (init, add_inject, and the marks
 * and schemas of a start). Nothing allocates after start, blocks, or makes a system call.
 *
 * A round of the owner:
 *   appender_begin(a, now)        the clock of this round: frame times, due instants
 *   appender_due(a)               marks whose instant has come, ticks; then appender_states(a)
 *   if appender_room(a) >= worst: bursts through &a->rows; appender_flush(a)
 *   appender_take(a, budget)      batches of the inject rings
 *
 * Symbols. A text's first use puts it into a pending symbol frame, which is written before any
 * other frame: so ids are explained before they are used, and a burst full of new symbols costs one
 * frame more, not two a symbol. `max_new_symbols` counts texts that were new to the instance, per
 * source and day.
 *
 * Room. Data, symbol and schema frames never use the last RING_RESERVE bytes; marks and gaps may.
 * The caller asks appender_room before it produces: writing beyond the guard is a bug (pst_must).
 * A frame's time is the round's clock, never below the frame before it.
 *
 * Days. Each calendar is at a date of its own: rows.min_day[c] is the earliest open one. When the
 * date's end is reached (DUE_TURN) the next one is open beside it until the late window is over;
 * then the eod mark (DUE_EOD), whose frame carries the day that it closes, makes the next one the
 * earliest. A feed's row belongs to its session's date; another row to the date of its time, at
 * most the newest open one: a row from the future, and one without a time, are today's. Rows of a
 * closed date go to the earliest open one, with ROW_LATE_DAY where they have flags, counted as
 * append.late_day in any case. A batch whose rows belong to several dates becomes several frames,
 * cut where the date changes. An end of the default calendar's day makes the symbol budgets new.
 * After each end state marks follow, first {"calendars":{"default":9823,…}}, the open dates: they
 * stand at the head of every later file, so that recovery need not look for old eod marks.
 *
 * Streams. Tables of cfg.stream_of's interval stream get frames of their own: what is staged is cut
 * at the seal, where the next row's stream differs (stream_cut.h). Without such tables nothing is
 * looked at. Intervals (DUE_INTERVALS) end at instants of the round's clock by eoi marks, which the
 * appender writes: {"calendar","day","from","to","next"} (days_eoi). The end of the default
 * calendar's date ends its interval too, right before the eod mark; with a late window where the
 * date ends, and what comes late is the next interval's, of its own date. Of several ends that the
 * clock passed at once only the first is written, `next` names the interval of now.
 *
 * Buffering events (divert.h). While one is active each data frame, of own feeds and of batches, is
 * shown to its mask before it is sealed, and falls into parts. Room is then a seventh of what it
 * is otherwise. Their marks come as batches of the source that may end days; state marks
 * {"buffer":{…}} repeat the start marks of those that are active.
 *
 * Sources (core/source.h). A batch that begins with a derived record goes on where its source
 * stands, or is refused (INJECT_NOT_NEXT). Each frame that it becomes is headed by a derived record
 * of its own, which says how far the rows of that frame bring the source; sources.h tells how a
 * start finds them again.
 *
 * Fault points: appender.before_publish, appender.after_publish; PST_FAULT_DROP=appender.drop_frame
 * loses one sealed data frame as if this hop had a bug; positions stay consistent.
 */
#pragma once

#include "core/clock.h"
#include "core/inject.h"
#include "core/ring.h"
#include "core/rows.h"
#include "core/status.h"
#include "core/symbols.h"
#include "divert.h"
#include "due.h"
#include "sources.h"

#define APPENDER_SOURCES    64u
#define APPENDER_TICK       (100 * NS_PER_MS)
#define APPENDER_STATE_ROOM (1u << 20) /* what one call of `states` may write */

/* What the appender asks its surroundings for. Every member may be NULL. */
struct appender_hooks {
    void *arg;
    /* Writes state marks with rows_mark-like calls (rows->ops->mark): all sessions, or only those
     * whose decoder state changed. At most APPENDER_STATE_ROOM bytes a call; true = more to come
     * (the call is repeated with the same `all`). */
    bool (*states)(void *arg, struct rows *rows, bool all);
    /* The i-th (feed, session) for the tick mark: 1 = filled, 0 = skip this one, -1 = no more. */
    int (*sessions)(void *arg, unsigned i, const char **feed, const char **session, uint64_t *next);
};

/* Where a calendar stands at the start. */
struct appender_open {
    uint16_t day; /* earliest open date */
    int64_t from; /* the instant at which it began: rows of earlier times are late */
};

/* The interval that the journal stands in at the start. */
struct appender_interval {
    bool on;         /* eoi marks are wanted */
    int64_t from;    /* the instant at which it began */
    uint16_t minute; /* that instant's local time: in the names of its files */
    uint16_t day;    /* its trading date */
};

struct appender_config {
    struct ring *ring;
    struct symbols *symbols;
    struct schema_set *schemas; /* must hold `gap` and `undecoded` */
    struct status *status;
    const struct clock *clock;
    struct due *due; /* NULL = none */
    struct appender_hooks hooks;
    uint16_t open_day;                /* of the default calendar, where there are no others */
    const struct days_owner *owners;  /* NULL = the default calendar owns every table */
    const struct appender_open *open; /* with owners: of each calendar, in place of open_day */
    const uint8_t *stream_of; /* by table id, TABLE_MAX of them: STREAM_DAILY or STREAM_INTERVAL;
                               * constant from init on. NULL = all daily */
    struct appender_interval interval;
    struct divert *divert;    /* buffering events; NULL = none can be started */
    int64_t last_time;        /* of the journal's last frame; INT64_MIN = empty journal */
    uint32_t max_new_symbols; /* of the appender's own feeds, a day */
    bool ticks;               /* write tick marks */
};

struct appender_source {
    struct inject *q;
    uint16_t id;
    bool lossless; /* an rx lcore: a refused symbol becomes null, the row is kept */
    bool ends_days, sources;
    uint32_t *map; /* local id -> global; SYMBOL_REFUSED where it was refused */
    uint32_t map_n, map_max;
    uint32_t max_new, new_today;
};

struct inject_options {
    uint32_t max_new_symbols; /* a day; UINT32_MAX = exempt */
    uint32_t symbols;         /* local ids that may be live at once (inject_rows' capacity) */
    bool lossless;
    bool sources;   /* its batches may begin with a derived record */
    bool ends_days; /* its eod marks are taken (control): the batch's day is the open one, its time
                     * the instant at which that date ends, its flags the calendar */
};

struct appender_calendar {
    int64_t from;    /* rows of earlier times belong to closed dates */
    int64_t turn;    /* in the late window: rows from here on are of `newest`; else INT64_MAX */
    uint16_t newest; /* rows.min_day of the calendar but in the late window */
};

struct appender_intervals {
    bool on;
    uint16_t minute;  /* local time of the present interval's start */
    uint16_t day;     /* its trading date */
    int64_t from;     /* its start */
    int64_t at, step; /* next end of the series at hand; INT64_MAX = none */
    uint32_t left;    /* ends of the series */
    uint16_t next_minute, series_day;
};

/* The batch under way is of a source. */
struct appender_from {
    bool on, unmasked; /* unmasked: its rows were buffered once, no event takes them again */
    uint32_t name;
    uint32_t flags; /* enum derived_flag */
    uint32_t left;  /* rows that are not in a frame yet */
    struct source_point at, to;
};

struct appender {
    struct rows rows; /* where feeds write */
    struct appender_config cfg;
    uint8_t *stage;  /* FRAME_MAX + slack: frame under construction */
    uint8_t *syms;   /* FRAME_MAX: the pending symbol frame */
    uint8_t *small;  /* FRAME_MAX: marks, gaps, schemas */
    uint8_t *other;  /* FRAME_MAX, with streams: rows of the smaller one */
    uint32_t nsyms;  /* texts pending */
    uint16_t source; /* on whose behalf symbols are interned now; 0 = own feeds */
    uint32_t max_new, new_today;
    const struct schema *gap;
    int64_t now, last_time;
    int64_t tick_at;
    uint64_t tsc_mult; /* the clock's rate at start: base of wall_minus_tsc */
    uint64_t facts;    /* symbol, schema and mark frames written, ticks not counted: ticks carry it,
                        * so that a start finds those frames without reading the rows between */
    uint32_t states;   /* 0 none, 1 changed ones, 2 all: still to be written */
    bool published;    /* a data frame since appender_begin */
    bool diverting;    /* a buffering event has its mask in the way of data frames */
    bool sources_stated; /* in the state marks under way */
    struct sources *sources;
    struct appender_from from;
    bool full; /* a batch found no room: alarmed once */
    uint64_t rows_counted, late_counted;
    uint64_t rung; /* the tail that the bells were rung for */
    struct appender_source src[APPENDER_SOURCES];
    unsigned nsrc, turn;
    /* dates */
    struct appender_calendar calendar[DAYS_CALENDARS];
    unsigned calendars;
    uint16_t latest_open;  /* highest rows.min_day */
    int64_t latest_from;   /* highest calendar.from: no later row is late */
    int64_t oldest;        /* row of the batch at hand */
    bool spread;           /* several dates are open: a batch may become many frames */
    bool calendars_said;   /* in the state marks under way */
    struct days_open days; /* for others to read */
    struct appender_intervals interval;
};

/* Start-up. Allocates everything. */
bool appender_init(struct appender *a, const struct appender_config *cfg, struct err *err);
void appender_fini(struct appender *a);
/* Before the thread starts. `source` 1… is what frames carry. */
bool appender_add_inject(struct appender *a, struct inject *q, uint16_t source,
                         const struct inject_options *opt, struct err *err);

pst_inline void appender_begin(struct appender *a, int64_t now)
{
    a->now = now;
    a->published = false;
}

/* Bytes of output that certainly fit now, what is staged already taken off. Exact below
 * APPENDER_ROOM_EXACT, at least that above. */
#define APPENDER_ROOM_EXACT (8u << 20)
uint64_t appender_room(struct appender *a);

/* Writes the marks that are due by the round's clock, and ticks. Entries that find no room stay
 * due. Returns marks written. */
int appender_due(struct appender *a);
/* The same without ticks: before the thread starts. */
int appender_ends(struct appender *a);
/* Would appender_due have something to write at that time? */
pst_inline bool appender_is_due(struct appender *a, int64_t now)
{
    return now >= a->tick_at || now >= a->interval.at || (a->cfg.due && due_next(a->cfg.due, now));
}
/* Once a round, with nothing staged: state marks, all after a start or a roll, else those that
 * changed since the last tick. Waits for APPENDER_STATE_ROOM. */
void appender_states(struct appender *a);
/* The staged rows become a frame, at once. */
void appender_flush(struct appender *a);
/* Up to `budget` batches, one from each ring in turn. A batch that finds no room stays in its ring.
 * Returns the number taken (refused ones included). */
int appender_take(struct appender *a, int budget);
/* The end of a round that took so many batches: whoever sleeps until there are frames is woken
 * (bell.h). */
pst_inline void appender_bells(struct appender *a, int taken)
{
    struct ring *r = a->cfg.ring;
    if (pst_likely(!r->board) || (!taken && r->w_tail == a->rung))
        return;
    a->rung = r->w_tail;
    bell_board_ring(r->board, BELL_TAIL | BELL_TAKEN);
}

/* One frame, stream 255. False: larger than a frame, or no room (reserve included for marks). */
bool appender_mark(struct appender *a, enum mark_type type, const char *json, uint32_t len,
                   uint16_t day);
bool appender_schema(struct appender *a, const char *json, uint32_t len);
/* Before the thread starts: an event that was active when the last incarnation ended goes on
 * (buffer_start mark, status "resumed"). False: no room. */
bool appender_resume_event(struct appender *a, struct divert_event *e);
/* State marks of every session, from the next appender_states on (start of an incarnation). */
void appender_want_states(struct appender *a);
/* Clean end: flushes, end mark. Nothing may be appended afterwards. */
bool appender_end(struct appender *a, const char *reason);

/* Once a burst, after its flush: stage latencies. taken: clock when the burst was taken; rxtime: of
 * its first packet. Counts only if a data frame was published, and never under a virtual clock. */
void appender_latency(struct appender *a, int64_t taken, int64_t rxtime);
