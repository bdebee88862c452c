/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery.h - what a start finds in the log, before any thread runs. DESIGN section 5, Recovery.
 *
 *   recovery_run     finds the end, saves torn tails aside, restores symbols and schemas, says
 * where every (feed, session) goes on. Reads the newest file's small frames, the last stretch of
 * the journal and each file's tail, not the log recovery_verify_rest  the rest of the log, step by
 * step, for a thread of low priority
 *
 * THE END. old_end is the end of the last valid frame over all files. After a clean stop (the last
 * frame is an `end` mark, no hole, nothing torn) the journal continues there; else at the lease's
 * end, behind a restart mark {"old_end":old_end,"start":start,"reason":…} that the caller writes
 * first (recovery_restart_json).
 *
 * HOLES. A range that stands in no file while later frames do was either in flight at a power cut
 * or damaged since. The newest durable position noted in a tick mark tells: below it is damage
 * (alarm), above it normal. Both are reported in `range`; what they cost is in `gap`: sequences of
 * a (feed, session) that were journaled there, from what stands before and behind. The caller
 * writes them as gap frames with reason `lost_log` right behind the restart mark. Holes below the
 * last restart mark are that incarnation's account and are not reported again.
 *
 * SEQUENCES. next = the highest of: state marks (of the file's head and later), tick marks, data
 * and gap frames behind the last tick. A `down` gap is not made here: the feed makes it from `next`
 * at its first packet.
 *
 * TORN TAILS. Bytes behind a file's last frame that are no frame, with nothing valid after them,
 * are copied to <file>.torn-<offset>, synced, and only then cut off (overwritten with zeros when
 * the search could not reach the end of the file, so that nothing unseen is ever lost). A second
 * run finds a sound end and changes nothing.
 *
 * DATES. Every end of a date writes an eod mark and, in the state marks behind it, the open dates
 * of all calendars; these stand at the head of each later file. So the newest file tells them,
 * however long ago a mark was and whatever was rolled since; a date that ended in the log never
 * ends again.
 *
 * SOURCES (core/source.h). Where each stands: from the newest state and tick marks, and from the
 * derived records of the last stretch. Behind a hole marks are not believed, since they count rows
 * that were lost with it; what the records behind it say becomes islands.
 *
 * IDS. Symbols get their old ids. An id that a data frame uses but whose text is lost is skipped
 * (symbols_skip): no new text ever gets it. Schemas keep theirs.
 *
 * Owner: control, before threads start (run) or one thread afterwards (verify_rest).
 */
#pragma once

#include "core/days.h"
#include "core/source.h"
#include "core/symbols.h"
#include "cursor.h"

#define RECOVERY_LEASE  (1ull << 40)
#define RECOVERY_BUDGET 2000000000ll

struct recovery_config {
    struct io *io;
    const char *dirs[CURSOR_DIRS]; /* as in cursor_config */
    const char *prefix;
    uint64_t instance;  /* must not be 0 */
    uint64_t lease_end; /* of the state file; 0 = it is gone */
    bool check_closed;  /* clean only where the state file says that a stop left it: */
    uint64_t closed;
    struct symbols *symbols;    /* fresh; NULL = do not restore */
    struct schema_set *schemas; /* NULL = do not restore */
    bool read_only;             /* touch no file */
    int64_t budget;             /* ns; 0 = RECOVERY_BUDGET. Files whose tail it leaves unseen are
                                 * looked at by recovery_verify_rest */
};

struct recovery_range {
    uint64_t from, to;
    bool damage; /* below the newest noted durable position */
};

struct recovery_gap {
    char feed[64], session[64];
    uint64_t first, last;
    uint16_t day;
};

struct recovery_piece {
    char *json; /* a decoder's state, as feed_resume_decoder takes it */
    uint32_t len;
    struct recovery_piece *next;
};

struct recovery_session {
    char feed[64], session[64];
    int32_t day;
    uint32_t epoch;
    uint64_t first, next, send;
    enum { RECOVERY_LIVE, RECOVERY_ENDED, RECOVERY_REPLACED } state;
    struct recovery_piece *pieces, **tail; /* oldest first: later ones win */
    bool after_loss;                       /* own: the next run tells what a hole cost */
};

struct recovery_calendar {
    char name[DAYS_NAME];
    int32_t open_day; /* earliest date without an eod mark */
};

struct recovery_source {
    char name[SOURCE_NAME_MAX + 1];
    struct source_progress p;
};

struct recovery_damage { /* found by verify_rest */
    const char *path;
    uint64_t from, to; /* bytes of the file */
    bool hole, torn;
};

struct recovery {
    bool empty; /* no log yet */
    bool clean;
    uint64_t old_end, start;
    int64_t last_time; /* of the last frame; INT64_MIN when empty */
    int32_t
        open_day; /* recovery_open_day of "default", or, where the log is of a version that does
                   * not say, the newest daily file's or the one after its eod mark; -1 unknown */
    int32_t closed_day; /* newest day with an eod mark of any calendar; -1 none */
    struct recovery_calendar *calendar;
    uint32_t calendars;
    uint64_t durable; /* newest noted */
    struct recovery_range *range;
    uint32_t ranges;
    struct recovery_gap *gap;
    uint32_t gaps;
    struct recovery_session *session;
    uint32_t sessions;
    struct recovery_source *source;
    uint32_t sources, sources_doubtful; /* doubtful: an island that found no place, or a mark behind
                                         * a hole had to be believed */
    uint32_t symbols, symbols_lost;
    uint32_t torn_files, files, files_unseen;
    uint64_t torn_bytes, scanned;
    int64_t took;
    bool over_budget;
    /* verify_rest */
    struct recovery_damage *damage;
    uint32_t damages, verify_file;
    uint64_t verified_bytes, verified_frames;
    struct logscan *verify;
    /* own */
    struct recovery_config cfg;
    struct cursor cursor;
    uint32_t max_id; /* highest symbol id used + 1 */
    bool loss, end_mark;
};

/* The earliest open date of a calendar, from its eod marks and the state marks that repeat it; -1:
 * the log does not know it. */
int32_t recovery_open_day(const struct recovery *r, const char *calendar);
bool recovery_run(struct recovery *r, const struct recovery_config *cfg, struct err *err);
void recovery_free(struct recovery *r);
/* What it found - open dates, sessions, decoder states - as state mark frames back to back, for the
 * heads of the next files (log_config.states): a second crash, before the first states of this
 * incarnation are durable, finds it there. They have position 0: no place in the journal. malloc'd;
 * NULL when there is nothing to say. */
void *recovery_states(const struct recovery *r, size_t *bytes);
/* The restart mark's JSON; its length. */
uint32_t recovery_restart_json(const struct recovery *r, char *buf, size_t room);
/* Checks about `bytes` more of the log, newest file first. True: all is done. */
bool recovery_verify_rest(struct recovery *r, uint64_t bytes);
