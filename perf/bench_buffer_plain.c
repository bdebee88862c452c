/* SPDX-License-Identifier: Apache-2.0 */
/* The appender without the question for buffering events, under another name. */
#define PST_NO_DIVERT          1
#define appender_init          plain_init
#define appender_fini          plain_fini
#define appender_add_inject    plain_add_inject
#define appender_room          plain_room
#define appender_due           plain_due
#define appender_ends          plain_ends
#define appender_states        plain_states
#define appender_flush         plain_flush
#define appender_take          plain_take
#define appender_mark          plain_mark
#define appender_schema        plain_schema
#define appender_resume_event  plain_resume_event
#define appender_want_states   plain_want_states
#define appender_end           plain_end
#define appender_latency       plain_latency
#define appender_write_frame   plain_write_frame
#define appender_write_data    plain_write_data
#define appender_put_symbols   plain_put_symbols
#define appender_fits          plain_fits
#define appender_op_flush      plain_op_flush
#define appender_event_mark    plain_event_mark
#define appender_event_start   plain_event_start
#define appender_event_over    plain_event_over
#define appender_clamp_day     plain_clamp_day
#define appender_intern_new    plain_intern_new
#define appender_refuse_symbol plain_refuse_symbol
#define appender_calendar_of   plain_calendar_of
#define appender_days_start    plain_days_start
#define appender_end_day       plain_end_day
#include "appender.c"
#include "appender_inject.c"
#include "appender_marks.c"
