/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch_parts.h - what the dispatch*.c files share; nobody else includes it. Requests of one
 * connection on its publish thread: a function that takes one returns true when it is done with it
 * (answered, or nobody waits), false when it is held and comes again, or is answered later.
 */
#pragma once

#include "kdb/reply.h"
#include "publish/kdb_live.h"
#include "publish/publisher.h"

/* ---- dispatch.c: replies and facts ---- */

pst_inline bool dispatch_is_sync(const struct connection *c)
{
    return c->held.message.kind == KDB_SYNC;
}
void dispatch_count(struct connection *c, enum counter n);
/* A message (made: it went well); without memory the connection ends. */
void dispatch_send(struct connection *c, struct kdb_out *o, bool made);
__attribute__((format(printf, 2, 3))) void dispatch_refuse(struct connection *c, const char *fmt,
                                                           ...);
/* All are counted; one a second and connection is logged. */
void dispatch_deny(struct connection *c, const char *right, const char *what);
/* point NULL: without the live log's. */
void dispatch_facts(struct connection *c, struct kdb_facts *f, struct kdb_live_point *point);
/* The live log is being read or written anew: its point comes soon. */
bool dispatch_point_waits(struct connection *c, bool wanted);

/* ---- dispatch_tables.c ---- */

/* Tables of a request, and what an answer says about them. */
struct tables {
    const struct schema *at[TABLE_MAX];
    struct kdb_answer_table *answer;
    struct schema *shape; /* as a subscription shows them */
    uint32_t n;
};
void dispatch_tables_free(struct tables *t);
/* Fills t from names; false: the request is answered. */
bool dispatch_tables_find(struct connection *c, const struct kdb_names *names, struct tables *t);
bool dispatch_tables_answer(struct tables *t); /* t->answer; false: no memory */
/* NULL: it is not there for this user. */
const struct schema *dispatch_table(struct connection *c, const char *text, uint32_t len);

/* ---- dispatch_update.c, dispatch_query.c, dispatch_subscribe.c ---- */

bool dispatch_update(struct connection *c, const struct kdb_request *r);
bool dispatch_wait(struct connection *c, const struct kdb_request *r);

/* Sends it on. False: it is on its way (the request is held); true: it is answered. */
bool dispatch_submit(struct connection *c, struct answer_request *q);
bool dispatch_query(struct connection *c, const struct kdb_request *r);
bool dispatch_snap(struct connection *c, const struct kdb_request *r);
void dispatch_release_answer(void *answer);

/* a: what had to be asked first, NULL: nothing yet. */
bool dispatch_subscribe(struct connection *c, const struct kdb_request *r, struct answer *a);
bool dispatch_stream(struct connection *c, const struct kdb_request *r);
/* Parameters that no named query takes (lists): true: the Query Manager was asked. */
bool dispatch_stream_lists(struct connection *c, const struct kdb_request *r);
/* There is no named query of that name: is it an analytic's, called with its parameters? True: the
 * Query Manager was asked. */
bool dispatch_stream_instead(struct connection *c, const struct answer *a);
bool dispatch_unsubscribe(struct connection *c, const struct kdb_request *r);
