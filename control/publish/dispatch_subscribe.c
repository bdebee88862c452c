/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions: what they show, where they begin, their answers. */
#include <errno.h>
#include <stdlib.h>
#include "publish/dispatch_parts.h"
#include "wiring_parts.h"

/* A list of names as the fan-out takes them; the array is malloc'ed. */
static bool texts(const struct kdb_names *n, struct fanout_texts *out)
{
    struct kdb_name i;
    *out = (struct fanout_texts){.all = n->all};
    if (n->all)
        return true;
    struct fanout_text *t = malloc((n->count + 1) * sizeof *t);
    if (!t)
        return false;
    for (bool more = kdb_names_first(n, &i); more && out->n < n->count; more = kdb_names_next(&i))
        t[out->n++] = (struct fanout_text){i.text, i.len};
    out->text = t;
    return true;
}

static uint8_t marks(const struct connection *c, const struct kdb_request *r, bool pst)
{
    const struct user *u = c->user;
    unsigned wants = r->sub.marks & (FANOUT_STOCK | FANOUT_GAP);
    if (!pst)
        wants = FANOUT_STOCK;
    if (!u->marks_eod)
        wants &= ~(unsigned)FANOUT_END;
    if (!u->marks_eoi)
        wants &= ~(unsigned)FANOUT_EOI;
    if (!u->marks_buffer)
        wants &= ~(unsigned)FANOUT_BUFFER;
    return (uint8_t)(wants | (pst ? FANOUT_NOTICE : 0));
}

static bool spec_of(const struct connection *c, const struct kdb_request *r, struct fanout_spec *x)
{
    const struct kdb_subscription *s = &r->sub;
    bool pst = r->call == KDB_CALL_PST_SUB;
    *x = (struct fanout_spec){.where = {s->where.text, s->where.len},
                              .columns = {s->columns.text, s->columns.len},
                              .stripe = s->stripe,
                              .stripes = s->stripes,
                              .mode = pst       ? FANOUT_BESIDE
                                      : s->adds ? FANOUT_ADD
                                                : FANOUT_REPLACE,
                              .marks = marks(c, r, pst),
                              .conflate = s->conflate,
                              .form = pst && s->format == KDB_FORMAT_RECORDS ? FANOUT_FRAMES
                                                                             : FANOUT_TABLE,
                              .every = -1};
    subscription_rights(&x->rights, c->user);
    return texts(&s->tables, &x->tables) && texts(&s->syms, &x->syms);
}

static bool point_wanted(const struct kdb_request *r)
{
    return r->call == KDB_CALL_SUB && r->shape != KDB_SHAPE_PLAIN;
}

/* What has to be asked before the answer can be given. False: nothing. */
static bool ask_first(struct connection *c, const struct kdb_request *r, struct tables *t,
                      bool *answered)
{
    bool snapshot = r->call == KDB_CALL_PST_SUB && r->sub.snapshot, asked = false;
    struct answer_request q = {.kind = snapshot ? ANSWER_SNAPSHOT : ANSWER_KEYED,
                               .level = r->sub.durable || c->user->durable_only ? ANSWER_DURABLE
                                                                                : ANSWER_SUBMITTED,
                               .syms = &r->sub.syms};
    const char **names = malloc((t->n + 1) * sizeof *names);
    if (snapshot) {
        q.where = r->sub.where;
        q.columns = r->sub.columns;
        q.stripe = r->sub.stripe;
        q.stripes = r->sub.stripes;
    }
    for (uint32_t i = 0; names && i < t->n; i++)
        if (snapshot || t->at[i]->nkeys)
            names[q.ntables++] = t->at[i]->name;
    q.tables = names;
    if (names && q.ntables && (snapshot || dispatch_is_sync(c))) {
        *answered = dispatch_submit(c, &q);
        asked = true;
    }
    free(names);
    return asked;
}

/* Schemas as this subscription shows them. */
static bool shapes(struct connection *c, const struct fanout_spec *x, struct tables *t,
                   unsigned lane, struct err *err)
{
    t->shape = calloc(t->n + 1, sizeof *t->shape);
    if (!t->shape || !dispatch_tables_answer(t))
        return err_set(err, -ENOMEM, "wsfull");
    for (uint32_t i = 0; i < t->n; i++) {
        if (!fanout_schema(c->t->lane[lane].fanout, x, t->at[i]->name, &t->shape[i], err))
            return false;
        t->answer[i].schema = &t->shape[i];
    }
    return true;
}

/* The current rows of keyed tables stand in the answer. */
static void put_keyed(struct tables *t, const struct answer *a)
{
    uint32_t k = 0;
    for (uint32_t i = 0; a && a->kind == ANSWER_KEYED && i < t->n; i++)
        if (t->at[i]->nkeys && k < a->messages) {
            uint32_t len;
            t->answer[i].rows = answer_object(a, k++, &len);
            t->answer[i].rows_len = len;
        }
}

static void log_subscription(struct connection *c, const struct tables *t,
                             const struct kdb_request *r)
{
    char text[400];
    int n = snprintf(text, sizeof text, "%s", kdb_call_name(r->call));
    for (uint32_t i = 0; i < t->n && n < (int)sizeof text - 60; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %s", t->at[i]->name);
    if (r->sub.where.len && n < (int)sizeof text - 20)
        snprintf(text + n, sizeof text - (size_t)n, " where %.*s", (int)r->sub.where.len,
                 r->sub.where.text);
    struct access_entry e = connection_entry(c, ACCESS_SUBSCRIBE);
    e.text = text;
    access_log(c->t->server->access, &e);
}

/* Format records: what a reader of frames must know before the first one. */
static void send_dictionary(struct connection *c)
{
    enum { AT_ONCE = 16384 };
    const struct daemon *d = c->t->server->daemon;
    uint32_t n = symbols_count(&d->symbols);
    for (uint32_t from = 0; from < n; from += AT_ONCE) {
        struct kdb_out o = {0};
        uint32_t some = n - from < AT_ONCE ? n - from : AT_ONCE;
        size_t begun = kdb_frame_begin(&o, KDB_ASYNC);
        kdb_out_list(&o, 3);
        kdb_out_symbol(&o, ".pst.symbols", 12);
        kdb_out_long(&o, from);
        size_t at = kdb_out_open(&o, PST_SYMBOL, 0);
        for (uint32_t i = 0; i < some; i++) {
            uint32_t len;
            const char *text = symbols_text(&d->symbols, from + i, &len);
            kdb_out_bytes(&o, text, len);
            kdb_out_bytes(&o, "", 1);
        }
        kdb_out_close(&o, at, some);
        dispatch_send(c, &o, kdb_frame_end(&o, begun));
    }
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(d->schemas, id);
        char *json = s ? schema_to_json(s) : NULL;
        if (!json)
            continue;
        struct kdb_out o = {0};
        size_t begun = kdb_frame_begin(&o, KDB_ASYNC);
        kdb_out_list(&o, 2);
        kdb_out_symbol(&o, ".pst.schema", 11);
        kdb_out_chars(&o, json, strlen(json));
        free(json);
        dispatch_send(c, &o, kdb_frame_end(&o, begun));
    }
}

static bool wants_frames(const struct kdb_request *r)
{
    return r->call == KDB_CALL_PST_SUB && r->sub.format == KDB_FORMAT_RECORDS;
}

static void send_subscribed(struct connection *c, const struct kdb_request *r, struct tables *t,
                            struct kdb_live_point *point, uint64_t position, uint64_t id)
{
    struct kdb_facts f;
    struct kdb_out o = {0};
    if (!dispatch_is_sync(c))
        return;
    dispatch_facts(c, &f, NULL);
    if (point && *point->path) {
        f.messages = point->messages;
        f.log = point->path;
        f.log_directory = c->t->server->config->kdb_log_directory;
    }
    f.tables = t->answer;
    f.ntables = t->n;
    f.position = position;
    f.id = id;
    dispatch_send(c, &o, kdb_answer(&o, r, &f));
    if (wants_frames(r))
        send_dictionary(c);
}

/* a: what ask_first asked for, NULL: nothing. True: done with the request. */
bool dispatch_subscribe(struct connection *c, const struct kdb_request *r, struct answer *a)
{
    struct publisher *p = c->t;
    bool pst = r->call == KDB_CALL_PST_SUB, done = true, answered = true;
    struct tables *t = calloc(1, sizeof *t);
    struct subscription s = {0}, *own = NULL;
    struct kdb_live_point point = {.messages = PST_NULL_LONG};
    struct err err;
    enum start_kind kind = START_LIVE;
    if (!a && dispatch_point_waits(c, point_wanted(r))) {
        free(t);
        return false;
    }
    if (!t) {
        dispatch_refuse(c, "wsfull");
        return true;
    }
    if (c->port == DOOR_HDB) {
        dispatch_refuse(c, "subscribe at the tickerplant's port; this is the hdb's");
        goto out;
    }
    if (!dispatch_tables_find(c, &r->sub.tables, t))
        goto out;
    if (wants_frames(r) && !c->user->tables.all) {
        dispatch_deny(c, "read", "records");
        dispatch_refuse(
            c, "format `records is the whole journal: only for users who may read every table");
        goto out;
    }
    if (!a && !wants_frames(r) && ask_first(c, r, t, &answered)) {
        done = answered;
        goto out;
    }
    /* tables that came while nothing was read here (upstream.h) */
    lane_learn_schemas(&p->dict, p->server->daemon->schemas);
    unsigned lane = (pst && r->sub.durable) || c->user->durable_only ? LANE_DURABLE : LANE_NORMAL;
    if (!spec_of(c, r, &s.spec) || !shapes(c, &s.spec, t, lane, &err)) {
        dispatch_refuse(c, "%s", t->answer ? err.text : "wsfull");
        goto out;
    }
    s.id = ++c->next_sub;
    if (point_wanted(r) && kdb_live_point(p->server->kdb_live, &point) == KDB_LIVE_READY) {
        kind = START_POSITION;
        s.from = point.position;
    } else if (a) {
        kind = START_POSITION;
        s.from = a->position;
    } else if (pst && r->sub.from != KDB_FROM_LIVE) {
        kind = r->sub.from == KDB_FROM_DAY     ? START_DAY
               : r->sub.from == KDB_FROM_BEGIN ? START_BEGIN
                                               : START_POSITION;
        s.from = r->sub.position;
    }
    own = subscription_copy(&s);
    if (!own) {
        dispatch_refuse(c, "wsfull");
        goto out;
    }
    if (pst) {
        c->notices = true;
        c->heartbeats |= (r->sub.marks & KDB_MARK_HEARTBEAT) != 0;
        c->positions |= (r->sub.marks & KDB_MARK_POSITION) != 0;
        if (r->sub.policy != KDB_POLICY_DEFAULT)
            c->policy = r->sub.policy - 1;
    }
    /* Its answer goes before its data. Where the data begins in a file that is not open yet, the
     * answer waits for that (dispatch_started). */
    struct subscription *listed = own;
    if (!subscribe_add(c, listed, kind, lane, &err)) {
        dispatch_refuse(c, "%s", err.text);
        goto out;
    }
    log_subscription(c, t, r);
    if (kind == START_DAY || kind == START_BEGIN) {
        c->awaits_start = true;
        c->held_waits = true;
        c->started_sub = s.id;
        done = false;
        goto out;
    }
    put_keyed(t, a);
    send_subscribed(c, r, t, &point, kind == START_LIVE ? listed->from : s.from, s.id);
    if (a && a->kind == ANSWER_SNAPSHOT && a->bytes) {
        /* behind the reply, before the stream */
        if (!consumer_push_bytes(&c->out, a->data, a->bytes, dispatch_release_answer, a)) {
            connection_kill(c, "no memory for what waits");
            publisher_grave(c);
        }
        connection_dirty(c);
        a = NULL;
    }
out:
    free((void *)s.spec.tables.text);
    free((void *)s.spec.syms.text);
    dispatch_tables_free(t);
    if (a && done)
        answer_free(a);
    return done;
}

void dispatch_started(struct connection *c, uint64_t position)
{
    struct kdb_request r;
    struct tables *t = calloc(1, sizeof *t);
    struct fanout_spec x = {0};
    struct err err;
    c->awaits_start = false;
    kdb_request_read(&c->held.message.object, &r);
    if (t && dispatch_tables_find(c, &r.sub.tables, t) && spec_of(c, &r, &x) &&
        shapes(c, &x, t, c->lane, &err))
        send_subscribed(c, &r, t, NULL, position, c->started_sub);
    else if (t && t->n)
        dispatch_refuse(c, "wsfull");
    free((void *)x.tables.text);
    free((void *)x.syms.text);
    if (t)
        dispatch_tables_free(t);
    c->is_held = c->held_waits = false;
    connection_ready(c);
}

bool dispatch_unsubscribe(struct connection *c, const struct kdb_request *r)
{
    struct kdb_out o = {0};
    struct kdb_facts f;
    uint64_t id = (int64_t)r->position == PST_NULL_LONG ? UINT64_MAX : r->position;
    if (!subscribe_remove(c, id) && id != UINT64_MAX) {
        dispatch_refuse(c, "there is no subscription %llu on this connection",
                        (unsigned long long)id);
        return true;
    }
    dispatch_facts(c, &f, NULL);
    if (dispatch_is_sync(c))
        dispatch_send(c, &o, kdb_answer(&o, r, &f));
    return true;
}
