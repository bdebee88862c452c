/* SPDX-License-Identifier: Apache-2.0 */
#include "kdb/reply.h"
#include "publish/notice.h"
#include "publish/publisher.h"

static void tell(struct connection *c, struct kdb_out *o, bool made)
{
    if (made)
        connection_send(c, o->data, o->len);
    else
        kdb_out_free(o); /* no memory: the next one tells as much */
}

void notice_heartbeat(struct connection *c)
{
    const struct ring_head *h = c->t->server->daemon->ring.head;
    const struct lane *l = &c->t->lane[c->lane];
    struct kdb_out o = {0};
    struct kdb_notice n;
    kdb_notice_begin(&n, &o, "heartbeat");
    kdb_notice_long(&n, "position", (int64_t)(c->live ? l->before : lane_limit(l)));
    kdb_notice_long(&n, "durable", (int64_t)load_acquire(&h->durable));
    kdb_notice_time(&n, "time", c->t->time);
    tell(c, &o, kdb_notice_end(&n));
}

void notice_skipped(struct connection *c, uint64_t rows, uint64_t from, uint64_t to)
{
    struct kdb_out o = {0};
    struct kdb_notice n;
    if (!c->notices)
        return;
    kdb_notice_begin(&n, &o, "skipped");
    kdb_notice_long(&n, "rows", (int64_t)rows);
    kdb_notice_long(&n, "from", (int64_t)from);
    kdb_notice_long(&n, "to", (int64_t)to);
    tell(c, &o, kdb_notice_end(&n));
}

void notice_range(struct connection *c, const char *kind, uint64_t from, uint64_t to)
{
    struct kdb_out o = {0};
    if (c->notices)
        tell(c, &o, kdb_notice_range(&o, kind, from, to));
}

void notice_position(struct connection *c, const char *kind, uint64_t position)
{
    struct kdb_out o = {0};
    struct kdb_notice n;
    if (!c->notices)
        return;
    kdb_notice_begin(&n, &o, kind);
    kdb_notice_long(&n, "position", (int64_t)position);
    tell(c, &o, kdb_notice_end(&n));
}

void notice_behind(struct connection *c, uint64_t position)
{
    struct kdb_out o = {0};
    struct kdb_notice n;
    kdb_notice_begin(&n, &o, "position");
    kdb_notice_long(&n, "position", (int64_t)position);
    struct message *m = message_made(&o, kdb_notice_end(&n), MESSAGE_NOTICE);
    if (m && consumer_push_behind(&c->out, m)) /* no memory: the next one tells as much */
        connection_dirty(c);
    message_release(m);
}
