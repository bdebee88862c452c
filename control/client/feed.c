/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions over the network, and what makes them exact over lost connections.
 *
 * The daemon's notices say positions: `base` is the last one, below which every row has come. For
 * each table `given` counts the rows that the user was given since. After a reconnect the stream
 * starts at `base` again; it is the same stream (same subscription, same journal), so of each table
 * the first `given` rows are passed over. A position that comes meanwhile takes what it covers off
 * both counts. Where the journal itself was cut (rewound, restart) the counts end with what it cut.
 * Conflated streams are not the same twice: they are not counted, and begin with the last values.
 */
#include <errno.h>
#include "client/client_int.h"
#include "kdb/ask.h"
#include "kdb/request.h"

struct counted {
    struct counted *next;
    uint64_t given, seen; /* since base: by the user; from this connection */
    uint32_t len;
    char name[];
};

struct feed {
    struct pst_subscription s; /* texts are copies */
    char *where, *columns, *tables, *syms;
    bool streaming; /* the answer of .pst.sub has come, on this connection */
    bool asked;
    uint64_t base;
    bool snapshot_over;
    struct counted *counted;
    struct pst_rows rows;
    /* of a message with several tables: which is next */
    struct kdb_request request;
    bool more;
    struct kdb_name name;
    struct kdb_items item;
    bool many;
    struct pst_event waiting; /* to be given first: kind, text below */
    bool has_waiting;
    char text[600];
};

static void feed_text(char **to, const char *from, bool *ok)
{
    *to = from && *from ? strdup(from) : NULL;
    *ok &= !from || !*from || *to;
}

void feed_free(struct feed *f)
{
    if (!f)
        return;
    while (f->counted) {
        struct counted *next = f->counted->next;
        free(f->counted);
        f->counted = next;
    }
    rows_clear(&f->rows);
    free(f->where);
    free(f->columns);
    free(f->tables);
    free(f->syms);
    free(f);
}

static struct counted *count_of(struct feed *f, const char *name, uint32_t len)
{
    struct counted *n;
    for (n = f->counted; n; n = n->next)
        if (n->len == len && !memcmp(n->name, name, len))
            return n;
    n = calloc(1, sizeof *n + len);
    if (!n)
        return NULL;
    n->len = len;
    memcpy(n->name, name, len);
    n->next = f->counted;
    return f->counted = n;
}

/* Everything below `position` has come. True: rows that the user was given were never sent again,
 * though they lay below it. */
static void reached(struct feed *f, uint64_t position)
{
    f->base = position;
    for (struct counted *n = f->counted; n; n = n->next) {
        n->given -= n->seen < n->given ? n->seen : n->given;
        n->seen = 0;
    }
}
static bool forget(struct feed *f, uint64_t position)
{
    bool void_rows = false;
    f->base = position;
    for (struct counted *n = f->counted; n; n = n->next) {
        void_rows |= n->given > n->seen;
        n->given = n->seen = 0;
    }
    return void_rows;
}

/* ---- asking ---- */

static size_t request(struct pst_client *c, struct kdb_out *o)
{
    static const char *const policies[] = {"default", "disconnect", "catchup", "conflate", "skip"};
    static const char *const froms[] = {"live", "day", "begin"};
    struct feed *f = c->feed;
    const char *key[12];
    uint32_t n = 0;
    bool again = f->base != 0;
    key[n++] = "from";
    key[n++] = "policy";
    key[n++] = "durable";
    key[n++] = "conflate";
    key[n++] = "snapshot";
    key[n++] = "marks";
    if (f->tables)
        key[n++] = "tables";
    if (f->syms)
        key[n++] = "syms";
    if (f->where)
        key[n++] = "where";
    if (f->columns)
        key[n++] = "columns";
    size_t begun = kdb_ask_sub(o, key, n);
    if (again)
        kdb_out_long(o, (int64_t)f->base);
    else if (f->s.from == PST_FROM_POSITION)
        kdb_out_long(o, (int64_t)f->s.position);
    else
        kdb_ask_word(o, froms[f->s.from]);
    kdb_ask_word(o, policies[f->s.policy]);
    kdb_ask_flag(o, f->s.durable);
    kdb_ask_flag(o, f->s.conflate);
    kdb_ask_flag(o, f->s.snapshot && !again);
    kdb_out_symbols(
        o, (const char *const[]){"end", "eoi", "buffer", "gap", "heartbeat", "position"}, 6);
    if (f->tables)
        kdb_ask_names(o, f->tables);
    if (f->syms)
        kdb_ask_names(o, f->syms);
    if (f->where)
        kdb_ask_text(o, f->where);
    if (f->columns)
        kdb_ask_text(o, f->columns);
    return begun;
}

/* Behind a (re)connection. */
static int ask(struct pst_client *c)
{
    struct kdb_out o = {0};
    size_t begun = request(c, &o);
    if (!kdb_frame_end(&o, begun)) {
        kdb_out_free(&o);
        return client_fail(c, -ENOMEM, "no memory for the subscription");
    }
    c->feed->asked = true;
    return link_queue(c, o.data, o.len, 0);
}

void feed_lost(struct pst_client *c, const char *why)
{
    struct feed *f = c->feed;
    if (!f)
        return;
    for (struct counted *n = f->counted; n; n = n->next)
        n->seen = 0;
    if (f->streaming) {
        f->has_waiting = true;
        f->waiting = (struct pst_event){.kind = PST_DISCONNECTED};
        snprintf(f->text, sizeof f->text, "%s", why);
    }
    f->streaming = f->asked = f->more = false;
}

/* ---- what comes ---- */

static int64_t number(const struct kdb_object *dict, const char *key, int64_t otherwise)
{
    struct kdb_object v;
    return kdb_dict_value(dict, key, &v) && (v.type == -PST_LONG || v.type == -PST_TIMESTAMP)
               ? kdb_object_long(&v, 0)
               : otherwise;
}

static void text_event(struct feed *f, struct pst_event *e, const struct kdb_object *o)
{
    uint32_t len = 0;
    const char *text = o->type == KDB_ERROR ? NULL : kdb_object_text(o, &len);
    snprintf(f->text, sizeof f->text, "%.*s", text ? (int)(len < 500 ? len : 500) : 0,
             text ? text : "");
    e->text = f->text;
}

/* `feed session first..last`, from the fields of a gap. */
static void gap_text(struct feed *f, struct pst_event *e, const struct kdb_object *d)
{
    struct kdb_object feed, session, reason;
    uint32_t a = 0, b = 0, r = 0;
    const char *at = kdb_dict_value(d, "feed", &feed) ? kdb_object_text(&feed, &a) : NULL;
    const char *bt = kdb_dict_value(d, "session", &session) ? kdb_object_text(&session, &b) : NULL;
    const char *rt = kdb_dict_value(d, "reason", &reason) ? kdb_object_text(&reason, &r) : NULL;
    snprintf(f->text, sizeof f->text, "%.*s %.*s %lld..%lld %.*s", at ? (int)a : 0, at ? at : "",
             bt ? (int)b : 0, bt ? bt : "", (long long)number(d, "first", 0),
             (long long)number(d, "last", 0), rt ? (int)r : 0, rt ? rt : "");
    e->text = f->text;
}

/* False: nothing that the user is to see. */
static bool notice(struct feed *f, struct pst_event *e, const struct kdb_object *d)
{
    struct kdb_object kind;
    if (!kdb_dict_value(d, "kind", &kind))
        return false;
    int64_t position = number(d, "position", -1);
    e->from = number(d, "from", 0);
    e->to = number(d, "to", 0);
    e->time = number(d, "time", 0);
    text_event(f, e, &kind);
    e->kind = PST_NOTICE;
    if (kdb_object_is(&kind, "heartbeat") || kdb_object_is(&kind, "position")) {
        if (position >= 0)
            reached(f, (uint64_t)position);
        return false;
    }
    if (kdb_object_is(&kind, "gap")) {
        e->kind = PST_GAP;
        gap_text(f, e, d);
    } else if (kdb_object_is(&kind, "lost")) {
        e->kind = PST_LOST;
        forget(f, (uint64_t)e->to);
    } else if (kdb_object_is(&kind, "rewound")) {
        e->kind = PST_REWOUND;
        forget(f, (uint64_t)e->to);
    } else if (kdb_object_is(&kind, "restart")) {
        /* what the user has beyond the end that was recovered is void */
        if (!forget(f, (uint64_t)e->to))
            return false;
        e->kind = PST_REWOUND;
    } else if (kdb_object_is(&kind, "skipped")) {
        e->kind = PST_SKIPPED;
        e->count = (uint64_t)number(d, "rows", 0);
        forget(f, (uint64_t)e->to);
    } else if (kdb_object_is(&kind, "replayed")) {
        e->kind = PST_LIVE;
        if (position >= 0)
            reached(f, (uint64_t)position);
    } else if (position >= 0) {
        e->from = position;
    }
    return true;
}

/* The next table of an update. 1: an event; 0: nothing (more) in it; < 0. */
static int rows(struct pst_client *c, struct pst_event *e)
{
    struct feed *f = c->feed;
    struct err err = {0};
    while (f->more) {
        const struct kdb_object *o = f->many ? &f->item.item : &f->request.data;
        const char *name = f->name.text;
        uint32_t len = f->name.len;
        bool ok = rows_of_table(&f->rows, &c->tables, name, len, o, &err);
        f->more = f->many && kdb_names_next(&f->name) && kdb_items_next(&f->item);
        if (!ok) {
            link_down(c, -EPROTO, err.text);
            return -EPROTO;
        }
        struct counted *n = f->s.conflate ? NULL : count_of(f, f->rows.table->name, len);
        if (n) {
            uint64_t pass = n->given > n->seen ? n->given - n->seen : 0;
            f->rows.from = pass < f->rows.nrows ? (uint32_t)pass : f->rows.nrows;
            n->seen += f->rows.nrows;
            if (n->seen > n->given)
                n->given = n->seen;
        }
        if (f->rows.from == f->rows.nrows)
            continue;
        e->kind = PST_ROWS;
        e->rows = &f->rows;
        return 1;
    }
    return 0;
}

static int message(struct pst_client *c, const struct kdb_object *o, struct pst_event *e)
{
    struct feed *f = c->feed;
    struct kdb_request *r = &f->request;
    switch (kdb_request_read(o, r)) {
    case KDB_CALL_UPD:
        f->many = r->tables.many;
        f->more =
            kdb_names_first(&r->tables, &f->name) && (!f->many || kdb_items(&r->data, &f->item));
        return rows(c, e);
    case KDB_CALL_END:
        e->kind = PST_END_OF_DAY;
        e->date = r->date;
        return 1;
    case KDB_CALL_EOI:
        e->kind = PST_END_OF_INTERVAL;
        e->from = r->from_time;
        e->to = r->to_time;
        return 1;
    case KDB_CALL_BUFFER_START:
    case KDB_CALL_BUFFER_END: {
        struct kdb_items i;
        e->kind = r->call == KDB_CALL_BUFFER_START ? PST_BUFFER_START : PST_BUFFER_END;
        if (kdb_items(&r->data, &i))
            text_event(f, e, &i.item);
        return 1;
    }
    case KDB_CALL_NOTICE:
        return notice(f, e, &r->data);
    default:
        return 0;
    }
}

/* The answer of .pst.sub. */
static int answered(struct pst_client *c, const struct kdb_object *o, struct pst_event *e)
{
    struct feed *f = c->feed;
    uint32_t len;
    struct pending *p = link_pending(c, 0);
    if (!c->pending_count || !f->asked) {
        link_down(c, -EPROTO, "an answer that nobody asked for");
        return -EPROTO;
    }
    c->queued -= p->len;
    free(p->bytes);
    c->pending_head = (c->pending_head + 1) & (c->pending_room - 1);
    c->pending_count--;
    c->sent = 0;
    f->asked = false;
    if (o->type == KDB_ERROR)
        return client_fail(c, -EREMOTEIO, "%s", kdb_object_text(o, &len));
    int64_t position = number(o, "position", -1);
    if (position < 0)
        return client_fail(c, -EPROTO, "the answer to the subscription has no position");
    bool again = f->base != 0;
    if (!again)
        f->base = (uint64_t)position;
    c->position = f->base;
    f->streaming = true;
    e->kind = PST_CONNECTED;
    return again ? 1 : 2;
}

/* 1: an event. 0: nothing is here. */
static int produce(struct pst_client *c, struct pst_event *e)
{
    struct feed *f = c->feed;
    struct kdb_event m;
    int r = f->more ? rows(c, e) : 0;
    while (!r && !f->has_waiting && c->state == LINK_UP) {
        if (!f->streaming && !f->asked && (r = ask(c)))
            return r;
        switch (kdb_session_next(&c->session, &m)) {
        case KDB_EVENT_MESSAGE:
            r = m.message.kind == KDB_RESPONSE ? answered(c, &m.message.object, e)
                                               : message(c, &m.message.object, e);
            break;
        case KDB_EVENT_HOSTILE:
            link_down(c, -EPROTO, m.why);
            break;
        default:
            return 0;
        }
    }
    if (f->has_waiting) { /* the connection ended: whatever went wrong with it is told so */
        f->has_waiting = false;
        *e = f->waiting;
        e->text = f->text;
        r = 1;
    }
    return r;
}

int feed_next(struct pst_client *c, struct pst_event *e, int64_t until)
{
    for (bool last = false;;) {
        memset(e, 0, sizeof *e);
        e->text = "";
        int r = produce(c, e);
        if (r) {
            e->position = c->position = c->feed->base;
            return r;
        }
        if (last)
            return 0;
        r = link_step(c, until);
        if (r)
            return r;
        last = clock_monotonic() >= until;
    }
}

/* ---- pst_ ---- */

static bool shareable(const struct pst_client *c, const struct pst_subscription *s)
{
    return !s->where && !s->columns && !s->conflate && !s->snapshot &&
           (s->control_socket || !c->address[c->connected_to].port);
}

static int subscribe_shared(struct pst_client *c, const struct pst_subscription *s)
{
    struct err err = {0};
    c->shared = shared_open(c, s, &err);
    if (!c->shared)
        return client_fail(c, err.code, "%s", err.text);
    return 0; /* the connection stays: its end is the daemon's */
}

int pst_subscribe(pst_client *c, const struct pst_subscription *given, int timeout_ms)
{
    struct pst_subscription s = {0};
    struct pst_event e;
    int64_t until = deadline_of(timeout_ms);
    bool ok = true;
    if (c->role != ROLE_NONE)
        return client_fail(c, -EBUSY, "this client is a %s already: open another to subscribe",
                           c->role == ROLE_PUBLISHER ? "publisher" : "subscriber");
    if (given->size < offsetof(struct pst_subscription, via))
        return client_fail(c, -EINVAL, "size is not set: begin with PST_SUBSCRIPTION_INIT");
    memcpy(&s, given, given->size < sizeof s ? given->size : sizeof s);
    if (s.from > PST_FROM_POSITION || s.policy > PST_POLICY_SKIP || s.via > PST_VIA_NETWORK)
        return client_fail(c, -EINVAL, "via, from or policy has a value that it does not take");
    if (s.via == PST_VIA_SHARED && !shareable(c, &s))
        return client_fail(
            c, -EINVAL,
            "shared memory serves subscriptions without where, columns, conflate and "
            "snapshot, over the daemon's socket on this host");
    if (s.via != PST_VIA_NETWORK && shareable(c, &s)) {
        int r = subscribe_shared(c, &s);
        if (!r || s.via == PST_VIA_SHARED) {
            c->role = r ? ROLE_NONE : ROLE_SUBSCRIBER;
            return r;
        }
    }
    struct feed *f = calloc(1, sizeof *f);
    if (f) {
        f->s = s;
        feed_text(&f->where, s.where, &ok);
        feed_text(&f->columns, s.columns, &ok);
        feed_text(&f->tables, s.tables, &ok);
        feed_text(&f->syms, s.syms, &ok);
    }
    if (!f || !ok) {
        feed_free(f);
        return client_fail(c, -ENOMEM, "no memory for the subscription");
    }
    c->feed = f;
    c->role = ROLE_SUBSCRIBER;
    int r;
    do {
        r = feed_next(c, &e, until);
    } while (r == 1 && e.kind == PST_DISCONNECTED);
    if (r == 2)
        return 0;
    c->feed = NULL;
    c->role = ROLE_NONE;
    feed_free(f);
    if (r == 1)
        return client_fail(c, -EPROTO, "rows came before the answer to the subscription");
    return r ? r : client_fail(c, -ETIMEDOUT, "no answer to the subscription in time");
}

bool pst_is_shared(const pst_client *c)
{
    return c->shared != NULL;
}

int pst_next(pst_client *c, struct pst_event *e, int timeout_ms)
{
    int64_t until = deadline_of(timeout_ms);
    memset(e, 0, sizeof *e);
    e->text = "";
    if (c->role != ROLE_SUBSCRIBER || c->streams)
        return client_fail(c, -EBUSY, "pst_subscribe first");
    return c->shared ? shared_next(c, e, until) : feed_next(c, e, until);
}

bool pst_still_valid(pst_client *c)
{
    return !c->shared || shared_valid(c);
}
