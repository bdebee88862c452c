/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that wait for their answer. */
#include <errno.h>
#include "client/client_int.h"
#include "kdb/ask.h"

/* Of a call that was given up: its answer still comes in its turn. */
static int take_nothing(struct pst_client *c, void *arg, const struct kdb_object *o)
{
    (void)c;
    (void)arg;
    (void)o;
    return 0;
}

int call_wait(struct pst_client *c, struct kdb_out *o, size_t begun, int64_t until,
              int (*take)(struct pst_client *, void *, const struct kdb_object *), void *arg)
{
    int r = 0;
    if (!kdb_frame_end(o, begun)) {
        kdb_out_free(o);
        return client_fail(c, -EINVAL, "no memory for the request, or it is too long");
    }
    /* an earlier one that was given up comes first */
    for (bool waits = true; waits && !r;) {
        waits = false;
        for (uint32_t i = 0; i < c->pending_count; i++)
            waits |= !link_pending(c, i)->ticket;
        if (waits)
            r = link_step(c, until);
        if (waits && !r && clock_monotonic() >= until)
            r = client_fail(c, -ETIMEDOUT, "no answer in time");
    }
    if (r) {
        kdb_out_free(o);
        return r;
    }
    c->call = (struct call){.waiting = true, .take = take, .arg = arg};
    r = link_queue(c, o->data, o->len, 0);
    while (!r && !c->call.done) {
        r = link_step(c, until);
        if (!r && !c->call.done && clock_monotonic() >= until)
            r = client_fail(c, -ETIMEDOUT, "no answer in time");
    }
    if (!c->call.done) {
        c->call = (struct call){.take = take_nothing};
        return r;
    }
    r = c->call.code;
    return r == -ECONNABORTED ? client_fail(c, r, "the connection ended before the answer came")
                              : r;
}

static int usable(struct pst_client *c)
{
    if (c->role == ROLE_SUBSCRIBER)
        return client_fail(c, -EBUSY, "this client is a subscriber: open another for this");
    c->role = ROLE_PUBLISHER;
    return 0;
}

/* Begins a request in o, if the client is one for calls. */
static int begin(struct pst_client *c, struct kdb_out *o, size_t *begun, const char *function,
                 uint32_t args)
{
    int r = usable(c);
    *o = (struct kdb_out){0};
    if (!r)
        *begun = kdb_ask(o, function, args);
    return r;
}

static int refused(struct pst_client *c, const struct kdb_object *o)
{
    uint32_t len;
    return client_fail(c, -EREMOTEIO, "%s", kdb_object_text(o, &len));
}

/* ---- SQL ---- */

struct query {
    struct pst_rows *rows;
};

/* The answer is copied: it outlives the connection. */
static int take_rows(struct pst_client *c, void *arg, const struct kdb_object *o)
{
    struct query *q = arg;
    struct err err = {0};
    if (o->type == KDB_ERROR)
        return refused(c, o);
    if (o->type != KDB_TABLE && o->type != KDB_DICT)
        return 0;
    struct pst_rows *r = calloc(1, sizeof *r);
    size_t len = (size_t)(kdb_object_end(o) - o->at);
    uint8_t *bytes = malloc(len);
    struct table *none = NULL;
    struct kdb_object own;
    if (r && bytes) {
        memcpy(bytes, o->at, len);
        kdb_object_view(&own, bytes, o->order);
        r->bytes = bytes;
        if (rows_of_table(r, &none, "", 0, &own, &err)) {
            q->rows = r;
            return 0;
        }
    } else {
        err_set(&err, -ENOMEM, "no memory for %zu bytes of answer", len);
        free(bytes);
    }
    if (r)
        pst_rows_free(r);
    return client_fail(c, err.code == -ENOMEM ? -ENOMEM : -EPROTO, "%s", err.text);
}

int pst_query(pst_client *c, const char *sql, struct pst_rows **rows, int timeout_ms)
{
    struct kdb_out o;
    struct query q = {0};
    size_t begun;
    int64_t until = deadline_of(timeout_ms);
    int r = begin(c, &o, &begun, ".s.e", 1);
    *rows = NULL;
    if (r)
        return r;
    kdb_ask_text(&o, sql);
    r = call_wait(c, &o, begun, until, take_rows, &q);
    *rows = q.rows;
    return r;
}

/* ---- positions ---- */

static bool long_of(const struct kdb_object *dict, const char *key, int64_t *v)
{
    struct kdb_object o;
    if (!kdb_dict_value(dict, key, &o) || (o.type != -PST_LONG && o.type != -PST_TIMESTAMP))
        return false;
    *v = kdb_object_long(&o, 0);
    return true;
}

static int take_watermark(struct pst_client *c, void *arg, const struct kdb_object *o)
{
    struct pst_watermark *w = arg;
    int64_t v[5];
    static const char *const keys[] = {"committed", "submitted", "written", "durable", "time"};
    if (o->type == KDB_ERROR)
        return refused(c, o);
    for (unsigned i = 0; i < 5; i++)
        if (!long_of(o, keys[i], &v[i]))
            return client_fail(c, -EPROTO, "the watermark has no %s", keys[i]);
    *w = (struct pst_watermark){(uint64_t)v[0], (uint64_t)v[1], (uint64_t)v[2], (uint64_t)v[3],
                                v[4]};
    return 0;
}

int pst_watermark(pst_client *c, struct pst_watermark *w, int timeout_ms)
{
    struct kdb_out o;
    size_t begun;
    int64_t until = deadline_of(timeout_ms);
    int r = begin(c, &o, &begun, ".pst.watermark", 1);
    if (r)
        return r;
    kdb_out_null(&o);
    return call_wait(c, &o, begun, until, take_watermark, w);
}

static int take_position(struct pst_client *c, void *arg, const struct kdb_object *o)
{
    (void)arg;
    return o->type == KDB_ERROR ? refused(c, o) : 0;
}

int pst_wait_position(pst_client *c, uint64_t position, enum pst_level level, int timeout_ms)
{
    static const char *const names[] = {"submitted", "written", "durable"};
    struct kdb_out o;
    size_t begun;
    int64_t until = deadline_of(timeout_ms);
    if (level > PST_DURABLE)
        return client_fail(c, -EINVAL, "%d is no level", level);
    int r = begin(c, &o, &begun, ".pst.wait", 2);
    if (r)
        return r;
    kdb_out_long(&o, (int64_t)position);
    kdb_ask_word(&o, names[level]);
    return call_wait(c, &o, begun, until, take_position, NULL);
}
