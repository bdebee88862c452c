/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_file.h - the format of a log file: its name and its `file` frames. Pure functions over bytes;
 * no I/O, no state, any thread.
 *
 * NAME
 *   daily stream     <log_prefix>YYYY.MM.DD             first file of that stream and day
 *                    <log_prefix>YYYY.MM.DD.N           N = 1, 2 ... after a restart, a poisoned
 *                                                       file or a spill
 *   interval stream  <log_prefix>i.YYYY.MM.DD.HHMM[.N]  the trading date, and the local time (zone
 *                                                       of the default calendar) at which the
 *                                                       interval starts; N as above
 *   buffering event  <instance>.<event>.buffer[.N]      while it is active; then renamed to
 *                    <instance>.<event>.buffer[.N].complete, after its replay to ….replayed.
 *                                                       <event> has no dot
 *   <log_prefix>spare.N is a prepared, empty file: never read.
 * Suffixes count on over log_directory and spill_directory. Over everything, order files by
 * header.first.
 *
 * CONTENT: a sequence of frames (core/frame.h), nothing between them.
 *
 *   offset 0     HEADER  frame of exactly 4096 bytes   } the same bytes twice: one torn block
 *   offset 4096  HEADER  frame of exactly 4096 bytes   } loses neither.
 *                        Body: struct log_file_header
 *   8192 ..      SCHEMA  frames: one JSON text each (as in a schema frame), every live table
 *                        version
 *                SYMBOLS frames: body as the payload of a symbol frame: u32 first id, u32 number,
 *                        then number x { u8 length, text }; together ids 0 .. n-1 where n = the ids
 *                        interned below header.first
 *                STATE   frames: body = a whole `state` mark frame (header, CRC, payload) repeated
 *                        from the journal: the latest set below header.first, so that sequences and
 *                        decoder state of every (feed, session) are known without older files
 *                journal frames: the ring's bytes, positions rising; only frames of this file's
 *                        stream and day, and all of stream 255
 *                END     frame, at a clean end only; body: struct log_file_end
 *   then         nothing, or zeros, or - in a recycled file - stale frames
 *
 * Every `file` frame has kind FRAME_FILE, position = header.first (takes no position space),
 * stream and day of the file, source 0, count 0. CRC is seeded with frame_seed(header.instance)
 * like any frame's; log_file_header_find bootstraps the instance from the header itself.
 *
 * WHERE IT ENDS. A scan goes on while frame_check says FRAME_OK and (kind file: position ==
 * header.first; else: position >= the end of the frame before, and >= header.first). What it finds
 * otherwise:
 *   length 0 and crc 0            the end (zero padding of the tail block, preallocated space)
 *   position below header.first   a stale frame of a recycled file: the end
 *   anything else                 torn tail or damage: storage/logscan decides
 * The tail block is zero-padded and rewritten as the file grows, so a file never has zeros between
 * two of its frames. A file without END was live (crash), poisoned, or is being written.
 *
 * OVERLAP. A fresh file after a poisoned one begins at the lowest frame of its stream that was not
 * known durable: one position may stand in two files, with the same bytes; readers drop the repeat.
 * Likewise stream-255 frames stand in every file that was open.
 *
 * VERSIONS. LOG_FORMAT rises when an older reader would misread; such a reader refuses the file and
 * names both versions. Fields may be appended to header and END bodies without a new version:
 * readers take min(length, sizeof) bytes and zero the rest.
 */
#pragma once

#include "core/frame.h"

#define LOG_FORMAT        1u
#define LOG_MAGIC         "PSTLOG\r\n"
#define LOG_BLOCK         4096u /* unit of padding; header copies take one each */
#define LOG_HEADER_COPIES 2u
#define LOG_PREAMBLE      (LOG_BLOCK * LOG_HEADER_COPIES) /* where the schema frames begin */
#define LOG_NAME_MAX      128u
#define LOG_BODY_MAX      (FRAME_MAX - FRAME_HEADER - 8u)
#define LOG_NO_MINUTE     (-1)
#define LOG_EVENT_MAX     64u /* of a buffering event's id, with its NUL */

enum log_file_type {
    LOG_FILE_HEADER = 1,
    LOG_FILE_SCHEMA,
    LOG_FILE_SYMBOLS,
    LOG_FILE_STATE,
    LOG_FILE_END
};
const char *log_file_type_name(unsigned type); /* "?" when unknown */

struct log_file_header { /* little endian, 512 bytes */
    char magic[8];       /* LOG_MAGIC */
    uint32_t format;     /* LOG_FORMAT */
    uint32_t suffix;     /* 0 = the first file of its stream and day */
    uint64_t instance;   /* id: random, made once per state directory */
    uint64_t epoch;      /* random, new for each file */
    uint64_t first;      /* the file's first journal position */
    int64_t created;     /* UTC ns since 2000-01-01 */
    int32_t day;         /* days since 2000-01-01 */
    int32_t minute;      /* interval stream: minute of the day it starts at; LOG_NO_MINUTE else */
    uint8_t stream;
    uint8_t spilled; /* 1: written to spill_directory */
    uint8_t pad0[6];
    char name[64];      /* instance name, NUL-terminated like all texts here */
    char previous[128]; /* name (no directory) of the stream's file before this one; "" = none */
    char writer[32];    /* program version */
    char event[64];     /* of a buffering event's file: its id */
    uint64_t since;     /* ditto: position of the mark that started it: ids return on other days */
    uint8_t pad1[152];
};
_Static_assert(sizeof(struct log_file_header) == 512, "log file header is 512 bytes");

struct log_file_end { /* 64 bytes */
    uint64_t last;    /* position behind the file's last journal frame (= first when it has none) */
    uint64_t frames;  /* journal frames in the file */
    uint64_t bytes;   /* of those frames */
    int64_t closed;   /* UTC ns */
    uint8_t reason;   /* enum log_end_reason */
    uint8_t pad[31];
};
_Static_assert(sizeof(struct log_file_end) == 64, "log file end is 64 bytes");

enum log_end_reason {
    LOG_END_DAY = 1,  /* its day was closed (eod mark) */
    LOG_END_STOP,     /* the daemon stopped */
    LOG_END_MOVED,    /* another file goes on: back from spill, or the directory was exchanged */
    LOG_END_INTERVAL, /* its interval ended (eoi mark) */
    LOG_END_EVENT,    /* its buffering event ended */
    LOG_END_LIMIT     /* it reached buffer_limit, another file of its event goes on */
};

/* ---- names ---- */

enum log_name_state { LOG_NAME_LIVE, LOG_NAME_COMPLETE, LOG_NAME_REPLAYED };

struct log_name {
    uint8_t stream; /* STREAM_DAILY, STREAM_INTERVAL; of an event: STREAM_BUFFER, whatever stream
                     * its header says */
    int32_t day;    /* of an event: -1, its header says */
    int32_t minute; /* LOG_NO_MINUTE but for intervals */
    uint32_t suffix;
    char event[LOG_EVENT_MAX]; /* "" = a daily or an interval file */
    uint8_t state;             /* of an event's file: enum log_name_state */
};
/* Is this an id that a buffering event may have: letters, digits, - and _, fewer than
 * LOG_EVENT_MAX? */
bool log_event_id_ok(const char *id);
/* Writes the name (no directory). An event's file is named after the instance: that stands in
 * place of `prefix`. False when it does not fit into LOG_NAME_MAX. */
bool log_name_format(char out[LOG_NAME_MAX], const char *prefix, const struct log_name *n);
/* False: not the name of a log file with this prefix (a spare, a stranger's file). Files of events
 * are recognised whatever their instance: their header tells whether they belong here. */
bool log_name_parse(struct log_name *n, const char *prefix, const char *name);

/* ---- file frames ---- */

/*
 * Builds and seals one file frame in buf (FRAME_MAX bytes). Returns its length, 0 when the body
 * does not fit. A HEADER is padded to LOG_BLOCK. body may be NULL with len 0.
 */
uint32_t log_file_frame(void *buf, const struct log_file_header *h, enum log_file_type type,
                        const void *body, uint32_t len, int64_t time);

/* Type and body of a (checked) file frame; NULL when the payload does not hold what it says. */
static inline const uint8_t *log_file_body(const struct frame *f, unsigned *type, uint32_t *len)
{
    const uint8_t *p = frame_payload(f);
    if (frame_payload_bytes(f) < 8)
        return NULL;
    *type = le16(p);
    *len = le32(p + 4);
    return *len <= frame_payload_bytes(f) - 8 ? p + 8 : NULL;
}

enum log_header_verdict {
    LOG_HEADER_OK,
    LOG_HEADER_ONE_COPY, /* read from the only sound copy */
    LOG_HEADER_NONE,     /* no sound copy: not a log file, or never begun (all zeros) */
    LOG_HEADER_FORMAT    /* sound, but of a newer format: `h->format` says which */
};
/*
 * Reads the header from the file's first bytes (give LOG_PREAMBLE of them, fewer when it is
 * shorter). instance 0 takes any instance's file; else a file of another instance is
 * LOG_HEADER_NONE. Texts in *h are NUL-terminated afterwards.
 */
enum log_header_verdict log_file_header_find(struct log_file_header *h, const void *p, size_t n,
                                             uint64_t instance);

/* END body of a checked END frame; false when malformed. */
bool log_file_end_read(struct log_file_end *e, const struct frame *f);
