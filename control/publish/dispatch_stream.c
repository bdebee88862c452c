/* SPDX-License-Identifier: Apache-2.0 */
/* Requests about streaming analytics. */
#include <errno.h>
#include "publish/dispatch_parts.h"
#include "publish/streams.h"

#define ANSWER_STREAM (UINT64_MAX - 1) /* what waits is the Query Manager's */

static bool held(struct connection *c)
{
    c->answer = ANSWER_STREAM;
    c->held_waits = true;
    return false;
}

static bool refuse(struct connection *c, const char *text)
{
    dispatch_refuse(c, "%s", text);
    return true;
}

static bool unsubscribe(struct connection *c, const struct kdb_request *r)
{
    struct kdb_out o = {0};
    if (!streams_remove(c, r->stream.id) && r->stream.id != PST_NULL_LONG) {
        dispatch_refuse(c, "domain: there is no stream %lld on this connection",
                        (long long)r->stream.id);
    } else if (dispatch_is_sync(c) && !c->dead) {
        size_t begun = kdb_frame_begin(&o, KDB_RESPONSE);
        kdb_out_null(&o);
        dispatch_send(c, &o, kdb_frame_end(&o, begun));
    }
    return true;
}

static bool snapshot(struct connection *c, const struct kdb_request *r)
{
    uint64_t token = streams_again(c, r->stream.id);
    if (!token) {
        dispatch_refuse(c, "domain: there is no stream %lld on this connection",
                        (long long)r->stream.id);
        return true;
    }
    if (!dispatch_is_sync(c))
        return true;
    c->stream_token = token;
    return held(c);
}

bool dispatch_stream(struct connection *c, const struct kdb_request *r)
{
    struct err err = {0};
    switch (r->call) {
    case KDB_CALL_SA_UNSUB:
        return unsubscribe(c, r);
    case KDB_CALL_SA_SNAPSHOT:
        return snapshot(c, r);
    case KDB_CALL_SA_LIST:
    case KDB_CALL_SA_STREAMS:
        if (!dispatch_is_sync(c))
            return true; /* nobody waits for it */
        return streams_ask(c, r->call == KDB_CALL_SA_LIST ? STREAM_LIST : STREAM_SHOW, &err)
                   ? held(c)
                   : refuse(c, err.text);
    default:
        if (c->port == DOOR_HDB)
            err_set(&err, -ENOTSUP, "streams are at the tickerplant's port; this is the hdb's");
        else if (streams_add(c, r, &err))
            return held(c);
        streams_refused(c, r->stream.ref, err.text);
        return true;
    }
}

/* NAME[dictionary]: what may be an analytic's parameters. */
static bool one_dict(const struct kdb_request *r, struct kdb_object *dict)
{
    struct kdb_items i;
    if (r->call != KDB_CALL_NAMED || r->function.len > 64 || r->args.type != KDB_LIST ||
        r->args.count != 1 || !kdb_items(&r->args, &i) || i.item.type != KDB_DICT)
        return false;
    *dict = i.item;
    return true;
}

static bool ask_as(struct connection *c, const struct kdb_request *r, const struct kdb_object *dict)
{
    struct kdb_request s = *r;
    struct err err;
    s.args = *dict;
    s.stream.ref = PST_NULL_LONG;
    if (!streams_add(c, &s, &err))
        return false;
    held(c);
    return true;
}

bool dispatch_stream_lists(struct connection *c, const struct kdb_request *r)
{
    struct kdb_object dict;
    struct kdb_items parts, v;
    if (!one_dict(r, &dict) || c->port == DOOR_HDB || !kdb_items(&dict, &parts) ||
        !kdb_items_next(&parts) || parts.item.type != KDB_LIST)
        return false;
    bool lists = false;
    for (bool more = kdb_items(&parts.item, &v); more; more = kdb_items_next(&v))
        lists |= v.item.type >= 0 && v.item.type < 20 && v.item.type != PST_CHAR;
    return lists && ask_as(c, r, &dict);
}

bool dispatch_stream_instead(struct connection *c, const struct answer *a)
{
    struct kdb_request r;
    struct kdb_object dict;
    if (a->kind != ANSWER_NAMED || !strstr(a->error, "no named query") || c->port == DOOR_HDB)
        return false;
    kdb_request_read(&c->held.message.object, &r);
    return one_dict(&r, &dict) && ask_as(c, &r, &dict);
}
