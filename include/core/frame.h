/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame.h - the journal's unit, the same 32 bytes + payload in the ring and in the log files.
 *
 *   0  crc      u32   CRC-32C of bytes 4 .. length, seeded with frame_seed(instance id)
 *   4  length   u32   whole frame, header included; a multiple of 8; checked before anything else
 *   8  position u64   byte position in the journal; next frame = position + length (data kinds).
 *                     `file` frames carry their file's first journal position and take no space
 *  16  time     i64   UTC ns since 2000-01-01, never below the previous frame's
 *  24  kind     u8    enum frame_kind
 *  25  stream   u8    0 daily, 1 interval, 254 downwards buffering events, 255 every open file
 *  26  source   u16   inject ring the batch came from, 0 = the appender itself
 *  28  count    u16   records in the payload, the derived one left out (0 where there are none)
 *  30  day      u16   days since 2000-01-01 of the partition it belongs to
 *
 * Payloads
 *   data, gap   records (record.h)
 *   symbol      u32 first id, u32 number, then number x { u8 length, text }, padded with zeros to 8
 *   schema      u32 JSON length, u32 0, JSON text (schema.h), padded
 *   mark        u16 type (enum mark_type), u16 0, u32 JSON length, JSON text, padded
 *   file        u16 type (enum file_type), u16 0, u32 length, body, padded (storage/log_file.h)
 *   pad         zeros
 */
#pragma once

#include "base.h"
#include "crc.h"

#define FRAME_HEADER 32u
#define FRAME_MAX    (256u * 1024)
#define FRAME_ALIGN  8u

#define STREAM_DAILY       0u
#define STREAM_INTERVAL    1u   /* tables of intraday_tables */
#define STREAM_BUFFER_LAST 128u /* buffering events: 254 downwards to here, one an event */
#define STREAM_BUFFER      254u
#define STREAM_EVERY       255u

enum frame_kind {
    FRAME_DATA = 1,
    FRAME_SYMBOL,
    FRAME_SCHEMA,
    FRAME_MARK,
    FRAME_GAP,
    FRAME_PAD,
    FRAME_FILE
};

/* Mark types, in the order DESIGN §11 lists them. */
#define MARK_TYPES(X)                                                                              \
    X(RESTART, "restart", 1) /* {"old_end","start","reason"} */                                    \
    X(STATE, "state", 2)     /* per (feed, session): date, next, lines, decoder state */           \
    X(TICK, "tick", 3)       /* {"durable","wall_minus_tsc","facts","next":[[feed,session,n]]} */  \
    X(EOD, "eod", 4)         /* {"calendar","day"} */                                              \
    X(EOI, "eoi", 5)         /* {"calendar","day","from","to","next"}: days_eoi (days.h) */        \
    X(OPERATOR, "operator", 6) /* {"uid","command","args"} */                                      \
    X(BUFFER_START, "buffer_start", 7)                                                             \
    X(BUFFER_END, "buffer_end", 8)                                                                 \
    X(SESSION, "session", 9) /* {"feed","session","event",…}: begin end restart reset */         \
    X(END, "end", 10)        /* clean end of the journal */                                        \
    X(LOST, "lost", 11)      /* {"from","to","frames","rows","sessions"}: given up by the log */   \
    X(UPSTREAM, "upstream", 12) /* {"mark":TYPE,"is":{…}}: eoi or buffer mark of the upstream */
enum mark_type {
#define X(ID, name, n) MARK_##ID = n,
    MARK_TYPES(X)
#undef X
};
const char *mark_name(unsigned type); /* "?" when unknown */

struct frame {
    uint32_t crc;
    uint32_t length;
    uint64_t position;
    int64_t time;
    uint8_t kind;
    uint8_t stream;
    uint16_t source;
    uint16_t count;
    uint16_t day;
};
_Static_assert(sizeof(struct frame) == FRAME_HEADER, "frame header is 32 bytes");
_Static_assert(offsetof(struct frame, position) == 8 && offsetof(struct frame, time) == 16 &&
                   offsetof(struct frame, kind) == 24 && offsetof(struct frame, day) == 30,
               "frame header layout");

/* Rows of a buffering event: journaled, but no part of the day until they are replayed. */
pst_inline bool stream_is_buffer(uint8_t stream)
{
    return stream >= STREAM_BUFFER_LAST && stream <= STREAM_BUFFER;
}

/* A frame of rows that belong to their day: what readers of rows take. */
pst_inline bool frame_has_rows(const struct frame *f)
{
    return (f->kind == FRAME_DATA || f->kind == FRAME_GAP) && !stream_is_buffer(f->stream);
}

/* The seed makes a frame of another instance invalid. */
pst_inline uint32_t frame_seed(uint64_t instance_id)
{
    return crc32c(0xFFFFFFFFu, &instance_id, sizeof instance_id);
}

/* Fills crc. The header's other fields and the payload are complete; length is a multiple of 8. */
pst_inline void frame_seal(struct frame *f, uint32_t seed)
{
    f->crc = crc32c(seed, (const uint8_t *)f + 4, f->length - 4);
}

enum frame_verdict {
    FRAME_OK,
    FRAME_END,   /* length 0: nothing was ever written here */
    FRAME_SHORT, /* a plausible header whose bytes are not all there */
    FRAME_BAD    /* length, kind or CRC is wrong */
};

/* Checks `avail` bytes at p (8-aligned). Reads nothing beyond them. */
static inline enum frame_verdict frame_check(const void *p, size_t avail, uint32_t seed)
{
    const struct frame *f = p;
    if (avail < 8)
        return FRAME_SHORT;
    if (f->length == 0 && f->crc == 0)
        return FRAME_END;
    if (f->length < FRAME_HEADER || f->length > FRAME_MAX || f->length % FRAME_ALIGN)
        return FRAME_BAD;
    if (f->length > avail)
        return FRAME_SHORT;
    if (f->kind < FRAME_DATA || f->kind > FRAME_FILE)
        return FRAME_BAD;
    return crc32c(seed, (const uint8_t *)p + 4, f->length - 4) == f->crc ? FRAME_OK : FRAME_BAD;
}

pst_inline const uint8_t *frame_payload(const struct frame *f)
{
    return (const uint8_t *)f + FRAME_HEADER;
}
pst_inline uint32_t frame_payload_bytes(const struct frame *f)
{
    return f->length - FRAME_HEADER;
}

/* A mark's or schema's JSON, bounds-checked against the frame. NULL when it does not fit. */
static inline const char *frame_mark(const struct frame *f, unsigned *type, uint32_t *json_len)
{
    const uint8_t *p = frame_payload(f);
    if (frame_payload_bytes(f) < 8)
        return NULL;
    *type = le16(p);
    *json_len = le32(p + 4);
    return *json_len <= frame_payload_bytes(f) - 8 ? (const char *)p + 8 : NULL;
}

/* May the log give it up when the ring is full and no disk takes writes (log_full: drop_oldest)?
 * Data, and ticks, which the next one replaces. Everything else is kept. */
static inline bool frame_losable(const struct frame *f)
{
    return f->kind == FRAME_DATA || f->kind == FRAME_PAD ||
           (f->kind == FRAME_MARK && frame_payload_bytes(f) >= 2 &&
            le16(frame_payload(f)) == MARK_TICK);
}
static inline const char *frame_schema_json(const struct frame *f, uint32_t *json_len)
{
    const uint8_t *p = frame_payload(f);
    if (frame_payload_bytes(f) < 8)
        return NULL;
    *json_len = le32(p);
    return *json_len <= frame_payload_bytes(f) - 8 ? (const char *)p + 8 : NULL;
}

/*
 * Builders for the small kinds, into a buffer of FRAME_MAX bytes. They fill header (position, time,
 * source, day are the caller's to set) and payload, but not the CRC. Return the frame's length, or
 * 0 when the content does not fit into one frame.
 */
uint32_t frame_build_mark(void *buf, enum mark_type type, const char *json, size_t len);
uint32_t frame_build_schema(void *buf, const char *json, size_t len);

/* Symbol frames: append texts one by one. Start with frame_symbol_begin. */
void frame_symbol_begin(void *buf, uint32_t first_id);
bool frame_symbol_add(void *buf, const char *text, uint32_t len); /* false: full, begin another */
uint32_t frame_symbol_end(void *buf);                             /* length, padded */

/* Calls fn for each text of a symbol frame in order; false when the frame is malformed or fn says
 * false. */
bool frame_symbols_each(const struct frame *f,
                        bool (*fn)(void *arg, uint32_t id, const char *text, uint32_t len),
                        void *arg);
