/* SPDX-License-Identifier: Apache-2.0 */
/*
 * appender_parts.h - what the appender*.c files share; nobody else includes it. The appender's
 * thread.
 *
 *   appender.c         frames into the ring, rows of its own port, room, life
 *   appender_marks.c   dates, due instants, ticks, states: what the appender says by itself
 *   appender_inject.c  batches of the inject rings
 */
#pragma once

#include "appender.h"

#define SOURCE_HEAD  64u /* before a source's frame: room for the derived record */
#define SYMBOL_FRAME (FRAME_HEADER + 16u)

/* perf/bench_buffer measures what the question costs against a build that does not ask. */
#ifdef PST_NO_DIVERT
#define diverting(a) ((void)(a), false)
#else
#define diverting(a) pst_unlikely((a)->diverting)
#endif

/* Pending symbols first: no id before its text. */
void appender_write_frame(struct appender *a, struct frame *f);
void appender_put_symbols(struct appender *a);
/* A data frame, by streams and buffering events. */
void appender_write_data(struct appender *a, struct frame *f);
void appender_op_flush(struct rows *r);
bool appender_fits(struct appender *a, uint64_t bytes, bool reserve);
uint32_t appender_intern_new(struct appender *a, const char *text, uint32_t len,
                             uint32_t *new_today);
void appender_refuse_symbol(struct appender *a, bool full);
uint16_t appender_clamp_day(const struct appender *a, unsigned calendar, uint16_t day);

/* One mark of an event, from its text; true: it stands in the journal at *position. */
bool appender_event_mark(struct appender *a, const struct divert_event *e, enum mark_type type,
                         const char *text, uint32_t len, const char *status, uint64_t *position);
void appender_event_start(struct appender *a, struct divert_event *e, uint64_t position);
void appender_event_over(struct appender *a, struct divert_event *e, uint64_t position);
/* What the marks of events may take in one frame, at most four of each: buffer_limit is 1 MiB at
 * least. */
pst_inline uint64_t appender_event_room(const struct appender *a)
{
    return diverting(a) ? (uint64_t)a->cfg.divert->nactive * 4 *
                              (FRAME_HEADER + 16 + DIVERT_TEXT + DIVERT_FACTS)
                        : 0;
}

/* ---- appender_marks.c ---- */

unsigned appender_calendar_of(const struct appender *a, unsigned table);
void appender_days_start(struct appender *a);
void appender_end_day(struct appender *a, unsigned c, uint16_t next, int64_t ends);
