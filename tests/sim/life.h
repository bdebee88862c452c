/* SPDX-License-Identifier: Apache-2.0 */
/*
 * life.h - one instance of Penstock's journal over many incarnations on a simulated disk, in one
 * thread, from one seed: the real lease, catalogue, recovery, ring, appender, log and cursor,
 * driven by hand. Feeds are played here: sequences per (feed, session) that go on whether the
 * instance lives or not.
 *
 * The history: every byte that any incarnation's ring ever held is kept, with what was announced.
 * An image of a crashed disk is checked against it (life_check): recovery runs, and run again on
 * what it left changes no byte and finds the same every frame announced durable is there, in order,
 * once, unchanged; no other frame than ours ever what is missing lies in a LOST range or below a
 * restart mark's old end: nothing is skipped symbol ids of what is left have their texts, as
 * recovery restores them; no id two texts every sequence of every session below what recovery says
 * is journaled once, or declared lost once the journal goes on at or above everything that ever had
 * a position what a recovery built upon (its restart mark became durable) is never lost later
 *
 * While an incarnation lives, images are made and checked in the middle of its operations on the
 * disk, at places that the seed chooses.
 *
 * Failing: life.failure holds one sentence; life_report prints it with the command that repeats it.
 */
#pragma once

#include "catalogue.h"
#include "appender.h"
#include "hdb_sym.h"
#include "io_sim.h"
#include "lease.h"
#include "log.h"
#include "recovery.h"

#define LIFE_SESSIONS 3u
#define LIFE_SEQS     (1u << 18)
#define LIFE_DAY      9000
#define LIFE_LOG      "/log"
#define LIFE_SPILL    "/spill"
#define LIFE_STATE    "/state"
#define LIFE_HDB      "/hdb"
enum { LIFE_VOLUME_STATE = 1, LIFE_VOLUME_LOG, LIFE_VOLUME_SPILL };

enum life_canary {
    CANARY_NONE,
    CANARY_EARLY_ACK,  /* a write says durable before it is */
    CANARY_NO_DIR,     /* sync_dir does nothing */
    CANARY_NO_LEASE,   /* goes on at the old end, without a new lease */
    CANARY_NO_MARK,    /* the restart mark is forgotten */
    CANARY_LOST_FRAME, /* recovery's gap rows are not written */
    CANARY_EAGER_SYM,  /* sym follows the tail instead */
    CANARIES
};
extern const char *const life_canary_name[CANARIES];

struct life_config {
    uint64_t seed;
    unsigned incarnations, steps;
    unsigned images;  /* at most, of one crash */
    unsigned crashes; /* about so many in the middle of an incarnation */
    bool faults;      /* errors and stalls of the disk as well */
    bool silent;      /* what no log can survive: misdirected writes, bits that flip at rest */
    bool small;   /* where files are preallocated, by 256 KiB and not 1 MiB: three times as quick */
    bool streams; /* every second row is of the interval stream, whose files turn by the minute */
    bool sym;     /* the database's `sym` follows the durable position */
    enum life_canary canary;
    bool verbose;
};

struct life_inc { /* an incarnation's history */
    uint64_t start, end;
    uint8_t *bytes;
    size_t room;
    uint64_t durable, written;       /* announced */
    uint32_t session[LIFE_SESSIONS]; /* symbols of the sessions */
    bool fresh;                      /* it found no log: no restart mark */
    uint64_t built;                  /* frames below it are what a later start built upon */
    uint8_t *kept, *next; /* one byte each 8: read back by the recovery that was built upon; by
                           * the one that comes */
};

struct life_session {
    const char *feed, *name;
    uint64_t sent; /* next sequence of the world */
    uint64_t next; /* what the journal expects; 0 = unknown session */
    bool known;
    uint32_t fid, sid, line; /* symbols of this incarnation */
};

struct life_figures {
    uint64_t incarnations, crashes, images, recoveries, frames, lost_ranges, torn, damage, gaps,
        syms, clean, faults, kills, cuts, exhaustive, poisoned, spilled, rewound, refused;
};

struct life {
    struct life_config c;
    struct sim *disk;
    uint64_t rng;
    struct life_inc *inc;
    unsigned incs;
    uint64_t max_tail;  /* highest position ever given out */
    uint64_t clean_end; /* the last stop was clean, here; 0 = it was not */
    struct life_session session[LIFE_SESSIONS];
    struct schema gap, undecoded, quote, order;
    /* knobs of this life */
    enum log_level level;
    bool buffered, spill;
    uint32_t depth;
    uint64_t preallocate, ballast;
    unsigned names; /* symbols used so far */
    bool harmed;    /* a silent fault was made: the disk keeps no promise any more */
    /* the running incarnation */
    bool running, checking;
    struct io *io, *log_io;
    struct lease lease;
    struct catalogue catalogue;
    bool catalogued;
    struct recovery recovery;
    bool recovered;
    struct ring ring;
    struct symbols symbols;
    struct schema_set *schemas;
    struct status *status;
    struct clock clock;
    struct due due;
    struct appender app;
    struct log *log;
    struct days_owner owners;
    uint8_t stream_of[TABLE_MAX];
    struct appender_open open;
    void *states;
    struct facts_writer facts; /* follows the durable position; recovery reads it */
    uint64_t noted;
    int64_t note_time;
    bool blind; /* recovery does not: it must find the same */
    struct hdb_sym sym;
    bool sym_open;
    uint32_t sym_base;   /* ids that recovery restored */
    uint64_t next_crash; /* at this number of changes of the disk */
    struct life_figures figures;
    /* scratch of checks */
    uint8_t *seen[64];
    uint8_t *seq[LIFE_SESSIONS];
    char failure[600];
};

void life_open(struct life *l, const struct life_config *c);
void life_close(struct life *l);
/* All incarnations. False: l->failure. */
bool life_live(struct life *l);

/* In parts. */
bool life_start(struct life *l); /* false: a fault of the disk stopped the start; life_stop then */
void life_step(struct life *l);  /* one random thing */
void life_work(struct life *l, unsigned rounds); /* the log's thread */
bool life_settle(struct life *l, int64_t ns);    /* until all is durable; false: it never is */
void life_rows(struct life *l, unsigned packets);
void life_absorb(struct life *l); /* the ring's new bytes into the history */
void life_stop(struct life *l);   /* all memory of the incarnation goes; the disk stays */
bool life_end_clean(struct life *l, int64_t ns); /* drains and closes the lease */
/* A crash now: images are checked, one of them becomes the disk. */
void life_crash(struct life *l);
/* Checks one image. cut: a power cut, so that only what was announced durable counts. */
bool life_check(struct life *l, const struct sim *image, bool cut);
bool life_fail(struct life *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void life_report(const struct life *l, const char *program);
uint64_t life_random(struct life *l, uint64_t n);
