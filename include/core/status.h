/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.h - every figure that an operator can see, in one shared memory segment (a sealed memfd),
 * so that the CLI and any stat tool read it without asking anybody.
 *
 * Each field has ONE writer thread, named here, and is a relaxed atomic: a reader may see two
 * fields a moment apart. Arrays are filled at start-up; `sessions` grows (status_session_add, rx
 * thread), each slot published by its text (T1 release, T2 acquire in status_session_text).
 *
 * Texts are written once before the count that covers them is raised.
 */
#pragma once

#include "atomics.h"
#include "hist.h"

#define STATUS_FEEDS    64u
#define STATUS_LINES    8u
#define STATUS_SESSIONS 512u
#define STATUS_PORTS    32u
#define STATUS_THREADS  64u
#define STATUS_DROPS    64u
#define STATUS_XSTATS   0u

enum counter {
#define X(ID, name, owner, text) COUNTER_##ID,
#include "counters.def"
#undef X
    COUNTERS
};
enum alarm {
#define X(ID, code, severity, raise, clear, text, remedy) ALARM_##ID,
#include "alarms.def"
#undef X
    ALARMS
};

enum line_state { LINE_WAITING, LINE_LIVE, LINE_SILENT, LINE_OFF };
enum feed_state { FEED_WAITING, FEED_LIVE, FEED_SILENT, FEED_PAUSED, FEED_CLOSED };
enum session_state { SESSION_LIVE, SESSION_ENDED, SESSION_REPLACED };

/* Writer: the lcore that owns the feed; `state` too. */
struct status_line {
    char name[24];
    _Atomic uint32_t state; /* enum line_state */
    _Atomic uint64_t packets, bytes, messages;
    /* conservation, in messages: received (`messages`) = accepted + duplicate + late + old +
     * unsequenced + held + dropped; in packets: malformed and ignored ones carry none */
    _Atomic uint64_t accepted, duplicate, late, old, unsequenced;
    _Atomic uint64_t held;       /* in the reorder window now */
    _Atomic uint64_t dropped;    /* window at its limit and no room in the ring; becomes a gap */
    _Atomic uint64_t ignored;    /* packets: line off, feed paused, session refused */
    _Atomic uint64_t malformed;  /* packets */
    _Atomic uint64_t heartbeats; /* packets */
    _Atomic uint64_t reordered;  /* packets that came behind a later one of the same line */
    _Atomic uint64_t lost;       /* sequences this line skipped, whoever filled them */
    _Atomic uint64_t divergent;  /* messages */
    _Atomic uint64_t first;      /* messages that this line brought first */
    _Atomic int64_t last_rx;     /* UTC ns, 0 = never */
    _Atomic uint64_t send_time; /* the sender's stamp in a packet, as on the wire (a fraction of its
                                   own in the low half), 0 = none yet */
    _Atomic int64_t send_rx;    /* when that packet came */
    _Atomic int64_t lag_sum;    /* ns behind the first copy, over `lag_n` duplicates */
    _Atomic uint64_t lag_n;
};

struct status_feed {
    char name[32];
    char framing[24], decoder[24];
    uint32_t nlines;
    uint16_t lcore;
    _Atomic uint32_t state; /* enum feed_state */
    struct status_line line[STATUS_LINES];
    _Atomic uint64_t messages; /* accepted and late ones handed to the decoder */
    _Atomic uint64_t decoded, undecoded_unknown, undecoded_length, undecoded_symbol, divergent;
    _Atomic uint64_t undecoded_whole; /* messages of a feed without a decoder */
    _Atomic uint64_t undecoded_empty; /* rows of numbers that carried no message */
    _Atomic uint64_t undecoded_cut;   /* bytes that did not fit into an `undecoded` row */
    _Atomic uint64_t gaps, gap_seqs;  /* declared */
    _Atomic uint64_t late_seqs;       /* of which came late */
    _Atomic uint64_t lost_all;        /* gap_seqs with reason lost */
    _Atomic uint64_t window_packets;  /* waiting in the reorder window now */
    _Atomic uint64_t window_bytes;
    _Atomic uint64_t window_full;       /* gaps declared because the window was at a limit */
    _Atomic uint64_t restarts;          /* publisher restarts, resets */
    _Atomic uint64_t jumps;             /* packets kept raw: their number was not believable */
    _Atomic uint64_t forgotten;         /* open gaps pushed out of the list */
    _Atomic uint64_t too_many_sessions; /* packets refused: max_sessions */
};

/* One (feed, session). Writer: the feed's lcore. The ledger's `wire` stands here. */
struct status_session {
    uint32_t feed;  /* index in feeds[] */
    uint32_t epoch; /* restarts under the same text */
    char text[64];
    int32_t day; /* trading date, days since 2000-01-01 */
    _Atomic uint32_t state;
    _Atomic uint64_t first;   /* the venue's first sequence (normally 1) */
    _Atomic uint64_t next;    /* next expected */
    _Atomic uint64_t high;    /* highest sequence + 1 seen in any valid packet of any line */
    _Atomic uint64_t waiting; /* sequences from `next` to `high`: in the window or missing */
};

struct status_port {
    char name[32];
    char device[96];
    uint16_t lcore;
    _Atomic uint64_t taken; /* packets this process took (rx lcore) */
    _Atomic uint64_t missed, nombuf, errors, device_packets; /* from the device (control) */
    _Atomic uint32_t link;                                   /* 0 down 1 up 2 unknown (control) */
};

enum thread_state { THREAD_BOOT, THREAD_RUN, THREAD_HALT, THREAD_FAIL };
struct status_thread {
    char name[16];
    int32_t cpu; /* -1 = floats */
    _Atomic uint32_t state;
    _Atomic uint32_t tid;
    _Atomic int64_t heartbeat;    /* clock_monotonic */
    _Atomic uint64_t loops, busy; /* loops that found work */
    _Atomic int64_t worst_ns;     /* longest loop since start */
    _Atomic uint64_t over_100us;  /* loops longer than 100 us */
    /* times of the loops that found work or took over 100 us: hist.h's buckets, one increment each
     */
    _Atomic uint64_t loop[HIST_BUCKETS];
};

#define LATENCY_STAGES(X)                                                                          \
    X(RX_APPEND, "rx-append", "burst taken to frame published in the ring")                        \
    X(NIC_APPEND, "nic-append", "receive time stamp to frame published")                           \
    X(APPEND_SUBMIT, "append-submit", "frame time to its write submitted")                         \
    X(APPEND_DURABLE, "append-durable", "frame time to durable (or written, by level)")            \
    X(LOG_WRITE, "log-write", "one write, submission to completion")
enum latency_stage {
#define X(ID, name, text) STAGE_##ID,
    LATENCY_STAGES(X)
#undef X
        STAGES
};

struct status {
    char magic[8]; /* "PSTSTAT1" */
    uint32_t bytes;
    uint32_t pid;
    char instance[64];
    int64_t started; /* UTC ns */
    _Atomic uint64_t counter[COUNTERS];
    _Atomic uint64_t drop[STATUS_DROPS];   /* dataplane/drops.def (rx) */
    _Atomic int64_t alarm_since[ALARMS];   /* UTC ns while raised, 0 = clear (control) */
    _Atomic uint32_t alarm_signal[ALARMS]; /* bumped by any thread that sees the condition */
    struct hist stage[STAGES];
    uint32_t n_feeds, n_ports, n_threads;
    struct status_feed feeds[STATUS_FEEDS];
    struct status_port ports[STATUS_PORTS];
    struct status_thread threads[STATUS_THREADS];
    _Atomic uint32_t n_sessions; /* slots taken; a slot may still be being filled */
    struct status_session sessions[STATUS_SESSIONS];
    /* log (log thread) */
    _Atomic int32_t log_errno; /* last error, 0 = writing */
    _Atomic int64_t log_error_since;
    _Atomic int64_t log_oldest; /* frame time of the oldest byte not yet at the level, 0 = none */
    _Atomic uint64_t log_free;  /* bytes free on the log's filesystem (control) */
    char log_file[256];         /* current daily file (log thread; advisory) */
    int fd;                     /* of this memfd, in the daemon */
};

struct status *status_create(const char *instance, struct err *err); /* control, before threads */
bool status_seal(struct status *s);
const struct status *status_attach(int fd, struct err *err);
void status_destroy(struct status *s);
const char *counter_name(unsigned i);
const char *alarm_code(unsigned i);

#define count_add(st, ID, n) bump(&(st)->counter[COUNTER_##ID], (n))

/* Any thread, not on a hot path: says that an alarm's condition was seen; control raises it. */
pst_inline void alarm_signal(struct status *s, enum alarm a)
{
    atomic_fetch_add_explicit(&s->alarm_signal[a], 1, memory_order_relaxed);
}

/* Any reader: the text of a session slot; "" while it is being filled (skip the slot then). Only
 * after it gave a text may feed, day and epoch be read. */
pst_inline const char *status_session_text(const struct status_session *x)
{
    return __atomic_load_n(&x->text[0], __ATOMIC_ACQUIRE) ? x->text : ""; /* T2: pairs with T1 */
}
pst_inline uint32_t status_sessions(const struct status *s)
{
    uint32_t n = load_acquire(&s->n_sessions);
    return n < STATUS_SESSIONS ? n : STATUS_SESSIONS;
}

/* The feed's lcore. NULL when the table is full (counted by the caller). Several lcores may add:
 * the slot is taken with one atomic add, readers skip slots whose text is still empty. */
struct status_session *status_session_add(struct status *s, uint32_t feed, const char *text,
                                          int32_t day, uint32_t epoch);
/* A slot whose session is over goes to another of the same feed (its lcore): the table is full. */
void status_session_name(struct status_session *x, uint32_t feed, const char *text, int32_t day,
                         uint32_t epoch);
