/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cursor.h - THE reader of the journal: ring and log files as one stream of frames in position
 * order. The ledger, `penstock tail`, recovery, the RDB, subscribers and replicas all read with it.
 *
 * It reads the ring while the position it wants is there, and goes to the files by itself when it
 * has been lapped; it returns to the ring when it has caught up. Files of all streams are merged by
 * position; a frame that stands in several files (stream 255, an emergency file's first frames) is
 * returned once; `file` and pad frames never. Nothing is skipped silently:
 *
 *   FRAME    *f is the next frame. Its position is the end of the frame before it, except behind
 *            one of the next two
 *   LOST     [lost_from, lost_to) stands in no readable file and not in the ring. Reading goes on
 *            at lost_to with the next call
 *   REWOUND  the reader's position lies beyond the end that a restart recovered: what it saw above
 *            rewound_old is void. The next frame is the restart mark at rewound_new
 *   WAIT     at the limit (or the log has not yet written what the ring no longer has): call again
 *   END      no ring: the files hold no more. Calling again looks for growth and new files
 *   ERROR    no memory or descriptors, or an unknown error of a file: `err` says which. Calling
 *            again retries. A file that may not be opened, is gone, or has more bad blocks than
 *            LOGSCAN_UNREADABLE is passed over: what only it held is LOST
 *
 * A restart mark whose old_end is the reader's position continues without a word: positions jump to
 * the lease's end. If the reader is below old_end, the rest is LOST first.
 *
 * LIMIT. With a ring: committed (the tail), submitted, written or durable; no frame that ends above
 * it is returned, from whatever source. Without a ring the limit is what the files hold.
 *
 * HEADERS ONLY (for counters): of a data frame in the ring only the header and the packet records
 * are copied: cursor_runs then gives them, and *f is the bare 32 bytes. Everything else comes
 * whole.
 *
 * DICTIONARY. `dict` learns from every file opened and every frame passed. A cursor that starts in
 * the middle skims the symbol and schema frames below its start out of the newest files (headers
 * are read, rows are not); `no_skim` spares that where the daemon's own tables are at hand.
 *
 * Memory: one frame buffer and 1.3 MiB an open file (as many as streams are open at a position).
 * A frame is valid until the next call. Owner: one thread; each cursor its own `struct io`, or one
 * whose blocking calls may be shared. The ring is only read: copied, fenced, validated (ring.h).
 */
#pragma once

#include "core/io.h"
#include "core/record.h"
#include "core/ring.h"
#include "dictionary.h"
#include "logscan.h"

#define CURSOR_DIRS 4u
#define CURSOR_PATH 4096u /* longest path */

enum cursor_verdict {
    CURSOR_FRAME,
    CURSOR_WAIT,
    CURSOR_LOST,
    CURSOR_REWOUND,
    CURSOR_END,
    CURSOR_ERROR
};
enum cursor_limit { CURSOR_COMMITTED, CURSOR_SUBMITTED, CURSOR_WRITTEN, CURSOR_DURABLE };

struct cursor_file;
struct cursor_config {
    struct io *io;
    const char *dirs[CURSOR_DIRS]; /* log_directory, spill_directory; NULL ends the list */
    const char *const
        *files;         /* NULL-terminated: these, whatever their names, beside what lies in dirs */
    const char *prefix; /* log_prefix */
    uint64_t instance;  /* 0: that of the newest file */
    const struct ring *ring; /* NULL: files only */
    enum cursor_limit limit;
    bool headers_only;
    bool no_skim; /* the caller knows all symbols and schemas already */
    bool still;   /* no ring, and nobody writes the files any more: where one ends without an END
                   * frame it is not searched again at each step */
    /* A range of bytes of f that is no frame was passed: f->scan says which (bad_from …). NULL: not
     * wanted. */
    void (*on_damage)(void *arg, const struct cursor_file *f);
    /* Two files hold different frames for one position: those of f from its offset on were passed
     * over. Once for each file. */
    void (*on_conflict)(void *arg, const struct cursor_file *f, uint64_t position);
    void *arg;
};

struct cursor_file { /* one known log file */
    char *path;
    struct log_file_header header;
    struct logscan *scan;     /* open: being read */
    const struct frame *head; /* its next journal frame, in scan's buffer */
    bool done;                /* ends below the position and cannot grow */
    bool stopped;             /* scan met its STOP */
    bool bad;                 /* unreadable; error says why */
    bool conflict;            /* another file holds other frames for its positions */
    int error;
};

struct cursor {
    struct cursor_config cfg;
    uint64_t instance;
    uint64_t position; /* of the next frame */
    bool in_ring;
    struct dictionary dict;
    /* events */
    uint64_t lost_from, lost_to;
    uint64_t rewound_old, rewound_new;
    struct err err;
    /* figures */
    uint64_t frames, bytes, lapped, lost_ranges, lost_bytes, repeats, damaged_ranges, conflicts;
    /* own */
    uint8_t *buf;
    struct packet_record *runs;
    uint32_t nruns;
    bool have_runs, refreshed;
    bool fresh;         /* just sought: the first frame may begin below `position` */
    uint64_t learnt_to; /* dict knows all that was interned below it */
    uint64_t limit_seen;
    struct cursor_file **file;            /* by header.first, then path */
    uint32_t files, file_room, next_file; /* next_file: those before it are done */
    struct cursor_file *current;          /* whose head was returned last */
};

/* Lists the files. The cursor stands at the earliest position of all. */
bool cursor_open(struct cursor *c, const struct cursor_config *cfg, struct err *err);
void cursor_close(struct cursor *c);

enum cursor_verdict cursor_next(struct cursor *c, const struct frame **f);

/* Headers-only mode, after FRAME: true = *f is a bare header and these are its packet records
 * (n 0: plain rows). False: *f is whole. */
static inline bool cursor_runs(const struct cursor *c, const struct packet_record **runs,
                               uint32_t *n)
{
    *runs = c->runs;
    *n = c->nruns;
    return c->have_runs;
}

/* ---- where to start ---- */

/* At the frame that contains `position` or the first after it. A position above everything is kept
 * as it is: the reader waits there, or is rewound. */
bool cursor_seek(struct cursor *c, uint64_t position);
/* The first frame of the day's first file. False: no file of that day. */
bool cursor_seek_day(struct cursor *c, int32_t day);
/* At the end: the limit, or what the files hold. */
bool cursor_seek_end(struct cursor *c);
/* So that at least n of what `count` counts in frames lies ahead (NULL: rows of data frames), as
 * few frames more as can be. Fewer when the journal holds fewer. */
bool cursor_seek_last(struct cursor *c, uint64_t n,
                      uint64_t (*count)(void *arg, struct dictionary *d, const struct frame *f),
                      void *arg);
/* Looks for new files now. */
bool cursor_refresh(struct cursor *c);
/* End of the last readable frame over all files (bisects; a few ms a file). */
uint64_t cursor_files_end(struct cursor *c);

/* old_end, start of a restart mark; false: f is none. */
bool cursor_restart_mark(const struct frame *f, uint64_t *old_end, uint64_t *start);
