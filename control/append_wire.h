/* SPDX-License-Identifier: Apache-2.0 */
/*
 * append_wire.h - the verb `append`: rows of any table in batches, over the control socket.
 *
 * OPEN       {"cmd":"append","args":[{"source":S}]}\n            S may be left out: no source
 *   reply    {"ok":true,"result":{"position":P,"row":R,"have":[[p,r,p2,r2],…],
 *             "tables":[{"schema":SCHEMA,"calendar":c,"open":"2026.11.22"},…],"dates":true,
 *             "instance":"00c0…"}}
 *   The point at which the source stands (0, 0 where it is new) and what lies beyond it already
 *   (source.h: islands), when all that was sent before has been taken; every table that takes rows
 *   from this peer, SCHEMA as in a schema frame (schema.h), whose ids and layouts the records must
 *   use, the number of its calendar and that one's earliest open date; whether the peer may say
 *   dates; the instance's id in hex; the tables that its
 *   processors write (rtp.h).
 *
 * ROWS       {"cmd":"append","args":[{"source":S,"bytes":N,"level":L}]}\n, then N bytes at once
 *   L is submitted, written or durable (the default). N: 8 … APPEND_MAX, a multiple of 8, of at
 *   most APPEND_BLOCKS blocks back to back:
 *
 *     struct append_block | texts { u8 length, text }… padded with zeros to 8 | records
 *
 *   Records are laid out as in a frame (record.h), and a symbol in them is the number of a text of
 *   their own block, from 0, or null. A block holds either plain rows or runs (packet record first)
 *   and all its rows belong to tables of one calendar. It becomes one frame, or several where dates
 *   or streams of its rows differ. day: the date that its rows belong to (only level admin; a
 *   closed one: the earliest open date, flagged late_day); 0: by each row's time, as with
 *   `publish`; runs must say it. Packet records get the flag replayed. With a source each block
 *   leads from (after, after_row) to (position, row): the first begins where the source stands,
 *   each further one where the one before it ended, none reaches into an island. A block without
 *   records only moves the source. Without a source all four are 0.
 *
 *   reply    {"ok":true,"result":{"rows":n,"late":n,"level":L,"position":J}}: the rows stand below
 *            the journal's position J, which has reached L. late: rows whose date was closed.
 *   refusal  {"ok":false,"error":…,"code":C}: of the blocks of a source some may have been taken,
 *            each only behind the one before it: OPEN tells. Without a source blocks before the
 *            refused one may have been taken.
 *     -EAGAIN    the journal is busy; nothing was taken, send the same again
 *     -ESTALE    the rows do not begin where the source stands; OPEN tells
 *     -EBADMSG   the bytes are no sound blocks; nothing was taken
 *     -EACCES    the peer may not write one of the tables; nothing was taken
 *     -ENOSPC    symbols_max or max_new_symbols
 *
 * LEVELS. Operate: tables that the configuration declares. Admin: also feeds' tables (blocks of
 * runs), gap, undecoded and alarm, and a day.
 *
 * What may be wrong is checked before anything reaches the inject ring: ids, record sizes, string
 * offsets, symbols, dates, runs. One request is under way on a connection; further input waits in
 * the kernel. A peer that says N and does not send it within APPEND_PATIENCE_NS is disconnected.
 */
#pragma once

#include "core/base.h"

#define APPEND_MAX         (1u << 20)
#define APPEND_BLOCKS      32u
#define APPEND_BLOCK_BYTES (192u * 1024) /* of a block's records at most */
#define APPEND_TEXTS_BYTES (64u * 1024)  /* of a block's texts at most */
#define APPEND_PATIENCE_NS (10ll * 1000000000)

enum append_flag {
    APPEND_AS_LOGGED = 1 /* of a source: DERIVED_AS_LOGGED (record.h) */
};
struct append_block {
    uint32_t bytes;       /* whole block, a multiple of 8 */
    uint32_t records;     /* packet records included */
    uint32_t texts;       /* number of texts */
    uint32_t texts_bytes; /* with their padding */
    uint64_t after, position;
    uint32_t after_row, row;
    uint16_t day;   /* days since 2000-01-01 */
    uint16_t flags; /* enum append_flag */
    uint16_t zero[2];
};
_Static_assert(sizeof(struct append_block) == 48, "append block is 48 bytes");
