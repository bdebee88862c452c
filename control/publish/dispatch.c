/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of open connections: facts answer some at once, others go to the neighbours' modules. */
#include <stdlib.h>
#include "publish/dispatch_parts.h"

#define ACKS_MAX 4096u /* updates of one connection whose answers are due */

void dispatch_count(struct connection *c, enum counter n)
{
    atomic_fetch_add_explicit(&c->t->server->daemon->status->counter[n], 1, memory_order_relaxed);
}

void dispatch_send(struct connection *c, struct kdb_out *o, bool made)
{
    if (made) {
        connection_send(c, o->data, o->len);
    } else {
        kdb_out_free(o);
        connection_kill(c, "no memory for a reply");
        publisher_grave(c);
    }
}

void dispatch_refuse(struct connection *c, const char *fmt, ...)
{
    char text[600];
    struct kdb_out o = {0};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    dispatch_count(c, COUNTER_PUBLISH_ERRORS);
    if (dispatch_is_sync(c))
        dispatch_send(c, &o, kdb_answer_error(&o, "%s", text));
}

/* All are counted; one a second and connection is logged. */
void dispatch_deny(struct connection *c, const char *right, const char *what)
{
    dispatch_count(c, COUNTER_PUBLISH_DENIED);
    if (c->denied_at && c->t->now - c->denied_at < NS_PER_S)
        return;
    c->denied_at = c->t->now;
    struct access_entry e = connection_entry(c, ACCESS_DENY);
    e.reason = right;
    e.text = what;
    access_log(c->t->server->access, &e);
}

void dispatch_facts(struct connection *c, struct kdb_facts *f, struct kdb_live_point *point)
{
    struct server *s = c->t->server;
    const struct ring_head *h = s->daemon->ring.head;
    *f = (struct kdb_facts){.messages = PST_NULL_LONG,
                            .date = load_relaxed(&s->day),
                            .instance = s->config->instance,
                            .position = load_acquire(&h->tail),
                            .submitted = load_acquire(&h->submitted),
                            .written = load_acquire(&h->written),
                            .durable = load_acquire(&h->durable),
                            .time = c->t->time};
    if (point && kdb_live_point(s->kdb_live, point) == KDB_LIVE_READY) {
        f->messages = point->messages;
        f->log = point->path;
        f->log_directory = s->config->kdb_log_directory;
    }
}

/* The live log is being read or written anew: its point comes soon. */
bool dispatch_point_waits(struct connection *c, bool wanted)
{
    struct kdb_live_point point;
    if (!wanted || kdb_live_point(c->t->server->kdb_live, &point) != KDB_LIVE_WAIT)
        return false;
    connection_waiting(c);
    return true;
}

static bool facts_alone(struct connection *c, const struct kdb_request *r)
{
    if (dispatch_point_waits(c, r->call == KDB_CALL_POINT))
        return false;
    struct kdb_facts f;
    struct kdb_live_point point;
    struct kdb_out o = {0};
    struct tables *t = NULL;
    dispatch_facts(c, &f, r->call == KDB_CALL_POINT ? &point : NULL);
    if (r->call == KDB_CALL_TABLES || r->call == KDB_CALL_META || r->call == KDB_CALL_COLS) {
        struct kdb_names all = {.all = true};
        t = calloc(1, sizeof *t);
        if (t && !dispatch_tables_find(c, r->call == KDB_CALL_TABLES ? &all : &r->tables, t)) {
            dispatch_tables_free(t);
            return true;
        }
        if (!t || !dispatch_tables_answer(t)) {
            dispatch_refuse(c, "wsfull");
            if (t)
                dispatch_tables_free(t);
            return true;
        }
        f.tables = t->answer;
        f.ntables = t->n;
    }
    if (dispatch_is_sync(c))
        dispatch_send(c, &o, kdb_answer(&o, r, &f));
    if (t)
        dispatch_tables_free(t);
    return true;
}

/* ---- what others have answered ---- */

void dispatch_answered(struct connection *c, struct answer *a)
{
    struct server *s = c->t->server;
    struct kdb_request r;
    c->answer = 0;
    struct access_entry e = connection_entry(c, a->ok ? ACCESS_ANSWER : ACCESS_ERROR);
    e.id = (int64_t)a->id;
    e.outcome = true;
    e.duration_ns = a->run_ns;
    e.memory = a->memory;
    if (a->ok) {
        e.rows = (int64_t)a->rows;
        e.bytes = (int64_t)a->bytes;
    } else {
        e.reason = a->error;
    }
    access_log(s->access, &e);
    bool done = true;
    if (!a->ok) {
        if (dispatch_stream_instead(c, a))
            done = false;
        else
            dispatch_refuse(c, "%s", a->error);
        answer_free(a);
    } else if (a->kind == ANSWER_KEYED || a->kind == ANSWER_SNAPSHOT) {
        kdb_request_read(&c->held.message.object, &r);
        done = dispatch_subscribe(c, &r, a);
    } else if (a->bytes > (uint64_t)c->user->bytes && c->user->bytes) {
        dispatch_refuse(c, "limit: the answer has %llu bytes, the user's limit is %lld",
                        (unsigned long long)a->bytes, (long long)c->user->bytes);
        answer_free(a);
    } else if (!consumer_push_bytes(&c->out, a->data, a->bytes, dispatch_release_answer, a)) {
        connection_kill(c, "no memory for an answer");
        publisher_grave(c);
    } else {
        connection_dirty(c);
    }
    if (done && !c->dead) {
        c->is_held = c->held_waits = false;
        connection_ready(c);
    }
}

static bool end_of_day(struct connection *c, const struct kdb_request *r)
{
    struct server *s = c->t->server;
    struct inbox_item x = {.kind = INBOX_END_DAY, .fd = -1, .id = c->id, .port = c->t->index};
    if (c->port == DOOR_RDB || c->port == DOOR_HDB || !c->user->publish.all) {
        dispatch_deny(c, "publish", ".u.endofday");
        dispatch_refuse(c, "access: .u.endofday is for users who may publish to every table");
        return true;
    }
    publisher_settle(c->t); /* rows that came before belong to the day */
    snprintf(x.text, sizeof x.text, "%d", (int)r->date);
    if (!inbox_push(&s->control, &x)) {
        dispatch_refuse(c, "wsfull");
        return true;
    }
    c->answer = UINT64_MAX;
    c->held_waits = true;
    return false;
}

void dispatch_ended(struct connection *c, const char *why)
{
    if (c->answer != UINT64_MAX)
        return;
    c->answer = 0;
    if (*why) {
        dispatch_refuse(c, "%s", why);
    } else if (dispatch_is_sync(c)) {
        struct kdb_out o = {0};
        struct kdb_request r = {.call = KDB_CALL_ENDOFDAY};
        struct kdb_facts f;
        dispatch_facts(c, &f, NULL);
        dispatch_send(c, &o, kdb_answer(&o, &r, &f));
    }
    c->is_held = c->held_waits = false;
    connection_ready(c);
}

/* ---- a request ---- */

bool dispatch_request(struct connection *c)
{
    struct kdb_request r;
    if (c->held.message.kind == KDB_RESPONSE) {
        dispatch_count(c, COUNTER_PUBLISH_ERRORS); /* to nothing that we asked */
        return true;
    }
    if (c->answer || c->awaits_start)
        return false;
    enum kdb_call call = kdb_request_read(&c->held.message.object, &r);
    bool is_update = call == KDB_CALL_UPD || call == KDB_CALL_PST_UPD;
    if (c->ack_count && (!is_update || c->ack_count >= ACKS_MAX)) {
        c->held_waits = true; /* answers keep their order */
        connection_waiting(c);
        return false;
    }
    c->held_waits = false;
    c->requests++;
    switch (call) {
    case KDB_CALL_UPD:
    case KDB_CALL_PST_UPD:
        return dispatch_update(c, &r);
    case KDB_CALL_SUB:
    case KDB_CALL_PST_SUB:
        return dispatch_subscribe(c, &r, NULL);
    case KDB_CALL_PST_UNSUB:
        return dispatch_unsubscribe(c, &r);
    case KDB_CALL_PST_WAIT:
        return dispatch_wait(c, &r);
    case KDB_CALL_SQL:
    case KDB_CALL_NAMED:
    case KDB_CALL_COUNT:
        return dispatch_query(c, &r);
    case KDB_CALL_SNAP:
        return dispatch_snap(c, &r);
    case KDB_CALL_ENDOFDAY:
        return end_of_day(c, &r);
    case KDB_CALL_SA_SUB:
    case KDB_CALL_SA_UNSUB:
    case KDB_CALL_SA_SNAPSHOT:
    case KDB_CALL_SA_LIST:
    case KDB_CALL_SA_STREAMS:
        return dispatch_stream(c, &r);
    case KDB_CALL_FLUSH:
    case KDB_CALL_POINT:
    case KDB_CALL_DATE:
    case KDB_CALL_TABLES:
    case KDB_CALL_META:
    case KDB_CALL_COLS:
    case KDB_CALL_TORQ_TYPE:
    case KDB_CALL_TORQ_ATTRIBUTES:
    case KDB_CALL_PYKX_CONTEXT:
    case KDB_CALL_PYKX_KEYS:
    case KDB_CALL_PST_WATERMARK:
        return facts_alone(c, &r);
    case KDB_CALL_UNKNOWN:
        break;
    case KDB_CALL_END:
    case KDB_CALL_EOI:
    case KDB_CALL_BUFFER_START:
    case KDB_CALL_BUFFER_END:
    case KDB_CALL_NOTICE:
    case KDB_CALL_SA_STATE:
    case KDB_CALL_SA_UPDATE:
    case KDB_CALL_SA_NOTICE:
        snprintf(r.hint, sizeof r.hint,
                 "%s: this is what a tickerplant sends; nobody takes it here", kdb_call_name(call));
        break;
    }
    dispatch_refuse(c, "%s", r.hint);
    return true;
}
