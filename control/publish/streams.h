/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streams.h - a connection's part in streaming analytics, on its publish thread. The computations
 * are the Query Manager's (rtp_manager.h), between them lies the hub (stream_hub.h, where the
 * meaning and order of its events stand).
 *
 *   ASKED ──OPENED──► WAITS ──STATED──► LIVE ──too slow──► STALLED ──drained──► WAITS …
 *
 * Only LIVE members get updates. A member that waits is live again from the next state on, which
 * its client gets as (`.sa.snap; id; table; position); so what a client merges is exact at the
 * position of the last message that it got.
 *
 * SLOW CONSUMERS. What waits for them is bounded as that of subscriptions is (keys consumer_...):
 * with policy disconnect they are closed; with any other one the messages that no byte was sent of
 * are thrown away, the streams stand still, and when the connection has taken what is left each
 * asks for a new state: notice `resync`, the state, and what follows. Shared messages are counted
 * once in ipc.memory, whoever waits for them.
 *
 * TOTALS. Rows and bytes of a member are what its socket took: of what is thrown away or left at
 * the end nothing counts. They stand in the access log when it ends (event unsubscribe, text
 * "stream NAME ID").
 *
 * THREAD: its publish thread.
 */
#pragma once

#include "publish/connection.h"
#include "publish/stream_hub.h"

#define STREAMS_OF_ONE 4096u /* streams of one connection */

struct streams; /* of a publish thread */

enum member_state { MEMBER_ASKED, MEMBER_WAITS, MEMBER_LIVE, MEMBER_STALLED };

struct stream_member {
    struct stream_member *next;                        /* of the connection */
    struct stream_member *by_token, *by_face, **place; /* by_face: place is where it hangs */
    struct connection *c;
    uint64_t token, face;
    enum member_state state;
    bool resync;  /* its state is a new one: say so */
    char *tables; /* what it reads; NULL: all */
    uint64_t rows, bytes, messages;
    int64_t since; /* UTC */
    char name[];
};

struct streams *streams_open(struct publisher *p, struct err *err);
void streams_close(struct streams *s); /* NULL is allowed; no connection is left */
/* What the hub has for this thread. Returns how much. */
int streams_take(struct publisher *p);

/* Asks for one. False: err; nothing comes. True: OPENED or REFUSED comes, for c->stream_token. */
struct kdb_request;
bool streams_add(struct connection *c, const struct kdb_request *r, struct err *err);
/* The answer of one that is refused: an error, or for who does not wait a notice. ref: its number
 * for the client, or null. */
void streams_refused(struct connection *c, int64_t ref, const char *text);
/* LIST or SHOW: the reply comes, for c->stream_token. */
bool streams_ask(struct connection *c, enum stream_ask_kind kind, struct err *err);
/* face PST_NULL_LONG: all. False: there is none. */
bool streams_remove(struct connection *c, int64_t face);
/* A state again. Its token (the answer of .sa.snapshot comes with the state), 0: there is none. */
uint64_t streams_again(struct connection *c, int64_t face);
void streams_gone(struct connection *c); /* it closes */
/* May the user that it has now still have them? */
bool streams_allowed(const struct connection *c);
/* The policy is due. True: that is enough. */
bool streams_policy(struct connection *c);
/* Its queue is empty. */
void streams_drained(struct connection *c);
