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
#include "appender.c"
