/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_cut.h - one frame of rows becomes frames of one stream each, in the rows' own order.
 *
 * A frame belongs to one stream, but feeds mix their tables message by message. Rows are staged as
 * if there were one stream; at the seal the frame is walked once, a run of equal (table, bytes) at
 * a word a row, and cut where the next row's stream differs. A run of a feed that is cut gets a
 * packet record in each part, its sequences go on. The header of a further part (and that packet
 * record) take the place of bytes before it, which the caller has copied already: nothing moves.
 *
 * What stands before rows and belongs to them - a packet record, a derived record - stays with the
 * row behind it.
 *
 * Owner: the appender's thread. Nothing allocates.
 */
#pragma once

#include "core/record.h"

#define STREAM_CUT_COST (FRAME_HEADER + 64u) /* bytes that one cut adds at most */

struct stream_cut {
    const uint8_t *stream_of; /* by table id */
    struct frame head;
    uint8_t *at, *end;         /* what is not handed out yet */
    struct packet_record rest; /* rows > 0: of the run that goes on at `at` */
};

/* f: header (length, day, source …) and records complete and sound. */
void stream_cut_start(struct stream_cut *c, const uint8_t *stream_of, const struct frame *f);
/* The next part: length, count and stream are set. NULL: that was all. What was handed out before
 * is overwritten. */
struct frame *stream_cut_next(struct stream_cut *c);
