/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery.h - what a start finds in the log, before any thread runs. DESIGN section 5, Recovery.
 *
 *   recovery_run     finds the end, saves torn tails aside, restores symbols and schemas, says
 *                    where every (feed, session) goes on. Reads the newest file's small frames, the
 *                    last stretch of the journal and each file's tail, not the log
 *   recovery_verify_rest  the rest of the log, step by step, for a thread of low priority
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
 * WHAT A GAP ROW SAYS is what this start could read. Where the device gives wrong bytes (or EIO)
 * while a start reads and right ones later - a bad cable, a flipped bit of a clean page in the
 * cache - sequences are declared lost and stand in the journal as well, below the restart mark.
 * What stands on the device and can be read, after any crash, failed sync, misdirected write or
 * flipped bit, is never declared lost (tests/sim/life.h).
 *
 * The debt outlives a start that is interrupted: a state of a file's head names it (`owed`), and it
 * is paid when its gap rows are read behind the restart mark, not by the mark.
 *
 * SEQUENCES. next = the highest of: state marks (of the file's head and later), tick marks, data
 * and gap frames behind the last tick. A `down` gap is not made here: the feed makes it from `next`
 * at its first packet.
 *
 * TROUBLE. Everything of the log that is not sound becomes a struct recovery_damage, is asked about
 * (`decide`, default salvage) and dealt with, whatever it is; a start fails only where the answer
 * is to refuse, where a file is of a newer format (DESIGN 13), or for want of memory or
 * descriptors.
 *
 *   TORN        bytes behind a file's last frame that are no frame: copied aside, synced, and only
 *               then cut off (overwritten with zeros when the search could not reach the end of the
 *               file, so that nothing unseen is ever lost)
 *   ALTERED     bytes between sound frames: stay where they are, copied to quarantine
 *   HOLE        the same, never written: an empty marker file remembers that it is accounted for
 *   NO_HEADER   both copies lost: made anew from the file's frames (instance, first position, day);
 *               without any frame the file is passed over and left alone
 *   UNREADABLE  may not be opened, or more bad blocks than logscan bears: passed over
 *   FOREIGN     another instance's: passed over
 *   CONFLICT    another file holds other frames for its positions: the older one's count
 *   MISSING     positions in no file
 *
 * truncate: the log ends before the first range whose positions are lost: that file is cut there,
 * later files are renamed *.cut. repair: frames that a function gave are checked and written in
 * place. After either, all is read anew. One header copy lost is written again from the other.
 * A second run finds a sound log, or trouble that is accounted for, and changes nothing.
 *
 * What lies below the stretch that a start reads is found by recovery_verify_rest behind it: it is
 * always salvaged; `gap` of the entry says what it cost. With `decide_all` a start reads everything
 * of the dates that are still open, so that the function hears of all of it. What is accounted for
 * has its copy or marker in `quarantine`, and is not told again.
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
 * SYNC. Any file, with END or not, may hold bytes that only the page cache has (a process that was
 * killed, a level below durable). It is synced before anything is built upon what was read of it:
 * else a later power cut would take frames away that a restart mark calls the journal.
 *
 * EVENTS. A buffering event whose end mark is not there is active: start marks, the state marks
 * that repeat them and end marks tell, also from the heads of files.
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
#include "facts.h"
#include "penstock/functions.h"

#define RECOVERY_LEASE   (1ull << 40)
#define RECOVERY_BUDGET  2000000000ll
#define RECOVERY_REFUSED (-EUCLEAN) /* err->code: the function refuses to start */

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
    const char *facts;          /* the note of facts.h, if there is one; NULL: not wanted */
    uint64_t noted;         /* known to have been durable from elsewhere: catalogue, clean stop */
    const char *quarantine; /* directory, made when needed; NULL: torn tails are copied beside
                             * their file, nothing else is */
    int32_t (*decide)(void *arg, struct pst_range *range, char *sentence, uint32_t room);
    bool decide_all;
    void (*say)(void *arg,
                const char *line); /* one for each trouble and each thing done; or NULL */
    void *arg;
};

struct recovery_range {
    uint64_t from, to;
    bool damage; /* below the newest noted durable position */
};

struct recovery_gap {
    char feed[64], session[64];
    uint64_t first, last;
    uint16_t day;
    const char *reason; /* NULL: lost_log */
};

struct recovery_piece {
    char *json; /* a decoder's state, as feed_resume_decoder takes it */
    uint32_t len;
    struct recovery_piece *next;
};

/* Sequences that are still expected. */
struct recovery_open {
    uint64_t first, last;
};

struct recovery_session {
    char feed[64], session[64];
    int32_t day;
    uint32_t epoch;
    uint64_t first, next, send;
    enum { RECOVERY_LIVE, RECOVERY_ENDED, RECOVERY_REPLACED } state;
    struct recovery_piece *pieces, **tail; /* oldest first: later ones win */
    bool after_loss;                       /* own: the next run tells what a hole cost */
    /* Own. Of two streams that share a seal the second frame brings what the first has left out
     * (core/rows.h): sequences that are still expected, and whether rows were read at all. */
    struct recovery_open *open;
    uint32_t opens;
    bool read;
};

struct recovery_calendar {
    char name[DAYS_NAME];
    int32_t open_day; /* earliest date without an eod mark */
};

struct recovery_source {
    char name[SOURCE_NAME_MAX + 1];
    struct source_progress p;
};

struct recovery_event { /* a buffering event without end mark (core/event.h) */
    int64_t id;
    uint8_t stream;
    uint64_t since;       /* position of the mark that started it */
    bool passes;          /* it was at its limit */
    uint64_t rows, bytes; /* in its stream, as the last tick and the frames behind it say */
    char *json; /* what it was started with: {"id":…,"args":{…},… without the closing brace */
    uint32_t len;
};

struct recovery_damage {
    uint32_t kind;        /* enum pst_damage */
    int32_t answer;       /* enum pst_answer; 0 = not asked */
    char *path;           /* NULL: PST_MISSING */
    uint64_t from, to;    /* bytes of the file */
    uint64_t first, last; /* positions it held; last 0: not known */
    bool lost;            /* some of them stand in no other file */
    bool was_durable; /* and a tick, the catalogue or a clean stop says that they were on disk */
    bool late;        /* found by verify_rest */
    bool expected;    /* an operator set it aside: kept on record, nothing to tell */
    bool done;
    bool gave_up, whole; /* TORN: nothing may be cut; the file ends with it */
    int error;
    uint8_t *repair;          /* own: until it is written */
    struct recovery_gap *gap; /* late: what it cost */
    uint32_t gaps;
};

struct recovery_aside { /* own: recovery_set_aside */
    int32_t day;
    uint64_t from, to; /* to 0: nothing was */
};

struct recovery_span { /* own: of a verified file */
    uint64_t first, end, restart_old;
};

struct recovery {
    bool empty; /* no log yet */
    bool clean;
    uint64_t old_end, start;
    int64_t last_time; /* of the last frame; INT64_MIN when empty */
    int32_t open_day; /* recovery_open_day of "default", or, where the log is of a version that does
                       * not say, the newest daily file's or the one after its eod mark; -1 unknown
                       */
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
    struct recovery_event *event;       /* that are active, in the order of their start */
    uint32_t events;
    uint32_t symbols, symbols_lost;
    uint32_t torn_files, files, files_unseen;
    uint32_t
        unsynced; /* files that could not be synced: what was read of them may not be durable */
    uint64_t torn_bytes, scanned;
    int64_t took;
    bool over_budget;
    uint32_t cut_files; /* what truncating threw away */
    uint64_t cut_at, cut_frames, cut_rows, cut_bytes;
    struct recovery_damage *damage;
    uint32_t damages;
    /* verify_rest */
    uint32_t verify_file;
    struct recovery_aside aside;
    struct recovery_span *span;
    uint32_t spans;
    bool span_begun, verify_done, verify_vanished;
    uint64_t verified_bytes, verified_frames;
    struct logscan *verify;
    /* own */
    struct recovery_config cfg;
    struct cursor cursor;
    struct facts known;          /* while it runs */
    uint64_t window, restart_at; /* where the stretch begins, and its last restart mark stands */
    uint64_t owed_at; /* where the incarnation began whose file's head says what is owed */
    struct recovery_range *told; /* ranges below that: an earlier start's account */
    uint32_t tolds;
    uint32_t max_id;                                   /* highest symbol id used + 1 */
    bool loss, lossy, end_mark, again, costing, blind; /* lossy: since the last tick */
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
/* The restart mark's JSON; its length: {"old_end","start","reason":"clean"|"unclean"} and, where
 * they are so, "damaged": troubles found, "cut": position at which the log was cut off, "acts":
 * what the start was told to do besides ("hard_reset", "no_replay"; NULL: nothing). start: where
 * the caller goes on, at or above r->start. */
uint32_t recovery_restart_json(const struct recovery *r, uint64_t start, const char *acts,
                               char *buf, size_t room);
/* Checks about `bytes` more of the log, newest file first. True: all is done. What it finds and no
 * earlier start has accounted for is appended to `damage` with `late` set; the caller writes its
 * gap rows and, when these are durable, calls recovery_keep, so that no later start finds it new.
 */
bool recovery_verify_rest(struct recovery *r, uint64_t bytes);
/* Before the first verify_rest: the files of `day` and later dates are no longer part of the log,
 * by an operator's will. verify_rest does not look for them; the hole that they leave comes out as
 * damage that is `expected`: to be kept (recovery_keep), not told. */
void recovery_set_aside(struct recovery *r, int32_t day);
/* Copies a damaged range to quarantine (a hole or missing range: a marker). 0 or -errno. */
int recovery_keep(struct recovery *r, struct recovery_damage *d);
/* One line about it, for people. */
void recovery_tell(const struct recovery *r, const struct recovery_damage *d, char *buf,
                   size_t room);
