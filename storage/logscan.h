/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logscan.h - walks ONE log file and says what every byte of it is.
 *
 * A frame is accepted only when its CRC is right for this file's instance, a `file` frame carries
 * this file's first position, and a journal frame lies at or above the end of the frame before it.
 * So no altered byte, no stale frame of a recycled file and no frame of another instance passes.
 *
 * Where the walk meets something else it stops (LOGSCAN_STOP); the caller may look again later (a
 * live file grows: logscan_again) or ask logscan_resolve for the verdict:
 *
 *   END      zeros, stale frames, or the end of the file: nothing of this file follows
 *   CLEAN    the same, and the last frame was an END frame
 *   TORN     bytes that are no frame, and nothing valid after them within `reach`. `astray`: only
 *            frames of lower positions, since a write that went astray stands before them; the walk
 *            is beyond them, but they must not be truncated
 *   DAMAGE   [bad_from, bad_to) is no frame of this file, but a valid one with a higher position
 *            stands at bad_to; the walk goes on there. `hole`: the range begins with zeros or stale
 *            bytes, i.e. it was never written (a power cut) rather than altered
 *   ERROR    the file could not be read: `error` = -errno
 *
 * UNREADABLE BLOCKS. Where the disk answers EIO the walk asks again, block by block; a block that
 * fails alone IO_READ_TRIES times (once, where four others have) counts as bytes that are no frame, so that a bad sector costs the frames in it and nothing
 * else (`unreadable_bytes`). After LOGSCAN_UNREADABLE bytes of them the verdict is ERROR.
 *
 * Resolving looks at 8-aligned places with a plausible header and checks their CRC. It is bounded:
 * `reach` bytes (LOGSCAN_REACH covers all writes that can be in flight; offline tools use
 * UINT64_MAX), and over a whole walk the CRC work is at most 9 times the file plus 16 MiB, however
 * hostile the bytes are; `gave_up` says that this bound cut the search short, and then nothing may
 * be truncated.
 *
 * Memory: one aligned buffer (about 1.3 MiB), allocated by logscan_open. A frame that logscan_next
 * returned is valid until the next call on the same struct. Owner: one thread.
 */
#pragma once

#include "core/frame.h"
#include "core/io.h"
#include "log_file.h"

#define LOGSCAN_REACH      (64ull << 20)
#define LOGSCAN_WINDOW     (1u << 20)
#define LOGSCAN_BUFFER     (LOGSCAN_WINDOW + FRAME_MAX + LOG_BLOCK)
#define LOGSCAN_UNREADABLE (1ull << 20)

enum logscan_verdict {
    LOGSCAN_FRAME,
    LOGSCAN_STOP,
    LOGSCAN_END,
    LOGSCAN_CLEAN,
    LOGSCAN_TORN,
    LOGSCAN_DAMAGE,
    LOGSCAN_ERROR
};
const char *logscan_verdict_name(enum logscan_verdict v);

#ifdef PST_FAULTS
extern bool logscan_fine; /* tests: small files are bisected as large ones are */
#else
#define logscan_fine false
#endif

struct facts;
struct logscan {
    struct io *io;
    int fd;
    bool own_fd;
    uint64_t size; /* of the file, when last looked at */
    struct log_file_header header;
    enum log_header_verdict header_verdict;
    uint32_t seed;
    uint64_t offset;   /* where the next frame is expected */
    uint64_t position; /* the next journal frame lies at or above; starts at header.first */
    bool ended;        /* the last frame was END */
    struct log_file_end end;
    /* after TORN and DAMAGE */
    uint64_t bad_from, bad_to; /* TORN: bad_to = end of the bytes that are not zero or stale */
    bool hole, gave_up, astray;
    uint64_t before; /* DAMAGE: `position` before the range; the frame at bad_to lies at or above */
    int error;
    uint64_t unreadable_bytes; /* read as no frame: the disk does not give them */
    uint64_t crc_left;         /* work that searching may still do */
    /* totals */
    uint64_t frames, bytes, records, damaged_ranges, damaged_bytes;
    /* window */
    uint8_t *buf;
    uint64_t base; /* file offset of buf[0], LOG_BLOCK aligned */
    size_t fill;
    unsigned steady; /* windows read one behind the other: the disk is told what comes next */
    uint64_t ahead;  /* it knows up to here */
};

/* The header alone, from its two blocks, each read by itself. buf: LOG_PREAMBLE bytes. *got: bytes
 * there were (a block that cannot be read counts, as 0xff). < 0: -errno, else enum
 * log_header_verdict. */
int logscan_header(struct io *io, const char *path, uint64_t instance, uint8_t *buf, size_t *got,
                   struct log_file_header *h);

/* Reads the header. instance 0 accepts any instance. False: cannot be read, is no log file, or of a
 * newer format; err says which (code -EBADMSG: no sound header). */
bool logscan_open(struct logscan *s, struct io *io, const char *path, uint64_t instance,
                  struct err *err);
void logscan_close(struct logscan *s);

/* FRAME (then *f), STOP or ERROR. Starts with the file's header frames. */
enum logscan_verdict logscan_next(struct logscan *s, const struct frame **f);
/* After STOP: END, CLEAN, TORN, DAMAGE (logscan_next goes on behind it) or ERROR. */
enum logscan_verdict logscan_resolve(struct logscan *s, uint64_t reach);
/* Both in one: never STOP. */
enum logscan_verdict logscan_step(struct logscan *s, const struct frame **f, uint64_t reach);
/* After STOP on a live file: forget what was read, look at the file anew. */
void logscan_again(struct logscan *s);
/* Sets the walk to an offset where a frame starts; position = lower bound for the next frame. */
void logscan_seek(struct logscan *s, uint64_t offset, uint64_t position);

/*
 * Bisects. logscan_find sets the walk to the first journal frame that ends above `position` (false:
 * there is none, the walk stands at the tail). logscan_tail sets it to a frame near the end such
 * that logscan_step from there meets every remaining frame; both read a few MiB however large the
 * file. They trust that holes and damage are shorter than LOGSCAN_REACH, and look at 32 places
 * spread over the rest of the file in case they are not.
 */
bool logscan_find(struct logscan *s, uint64_t position);
bool logscan_tail(struct logscan *s);
/* Walks from logscan_tail to the end: verdict END, CLEAN or TORN, s->position = end of the last
 * journal frame. *last_time: of the last journal frame met on the way (unchanged when none). */
enum logscan_verdict logscan_to_end(struct logscan *s, int64_t *last_time);
/* Sets the walk to the first journal frame that begins within LOGSCAN_WINDOW of `offset` and lies
 * at or above `above`. False: there is none, the walk stays where it was. */
bool logscan_near(struct logscan *s, uint64_t offset, uint64_t above);

/*
 * logscan_skim.c. Calls fn for a file's own frames and for its symbol, schema and mark frames below
 * `position`, in order, until it says false; ticks that stand between others may be left out, the
 * last one never is. Returns the position reached.
 *
 * It does not read the rows. Tick marks carry `facts`, the number of symbol, schema and other mark
 * frames that the writer's incarnation (and a file belongs to one) wrote before them: where two
 * ticks say the same, nothing stands between them. So a file is bisected down to the few MiB around
 * each fact: reading grows with the facts, and with the logarithm of the file. Files without
 * `facts` are hopped through from header to header. `known` (facts.h; NULL: none) spares even that
 * up to its last tick: the facts come out of it where it counts them as the file's ticks do.
 *
 * *whole (may be NULL): something of the journal is in the file and no damage was met on the way,
 * so that its head - schemas, symbols, states - is complete. Else older files must be asked as
 * well.
 */
uint64_t logscan_skim(struct io *io, const char *path, uint64_t instance, uint64_t position,
                      const struct facts *known, bool (*fn)(void *arg, const struct frame *f),
                      void *arg, bool *whole);
