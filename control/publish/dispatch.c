/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of open connections: facts answer some at once, others go to the neighbours' modules. */
#include <errno.h>
#include <stdlib.h>
#include "kdb/reply.h"
#include "publish/kdb_live.h"
#include "publish/publisher.h"
#include "wiring_parts.h"

#define ACKS_MAX 4096u /* updates of one connection whose answers are due */

static void count(struct connection *c, enum counter n)
{
    atomic_fetch_add_explicit(&c->t->server->daemon->status->counter[n], 1, memory_order_relaxed);
}

static bool is_sync(const struct connection *c)
{
    return c->held.message.kind == KDB_SYNC;
}

static void send_out(struct connection *c, struct kdb_out *o, bool made)
{
    if (made) {
        connection_send(c, o->data, o->len);
    } else {
        kdb_out_free(o);
        connection_kill(c, "no memory for a reply");
        publisher_grave(c);
    }
}

__attribute__((format(printf, 2, 3))) static void refuse(struct connection *c, const char *fmt, ...)
{
    char text[600];
    struct kdb_out o = {0};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    count(c, COUNTER_PUBLISH_ERRORS);
    if (is_sync(c))
        send_out(c, &o, kdb_answer_error(&o, "%s", text));
}

/* All are counted; one a second and connection is logged. */
static void deny(struct connection *c, const char *right, const char *what)
{
    count(c, COUNTER_PUBLISH_DENIED);
    if (c->denied_at && c->t->now - c->denied_at < NS_PER_S)
        return;
    c->denied_at = c->t->now;
    struct access_entry e = connection_entry(c, ACCESS_DENY);
    e.reason = right;
    e.text = what;
    access_log(c->t->server->access, &e);
}

/* ---- tables ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct schema *const *)a)->name,
                  (*(const struct schema *const *)b)->name);
}

/* The newest version of each table that the user may read, by name. */
static uint32_t visible(const struct connection *c, const struct schema **out)
{
    const struct schema_set *set = c->t->server->daemon->schemas;
    uint32_t n = 0;
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(set, id);
        if (s && user_may_read(c->user, s->name) && schema_set_find(set, s->name) == s)
            out[n++] = s;
    }
    qsort(out, n, sizeof *out, by_name);
    return n;
}

static const struct schema *table_named(struct connection *c, const char *text, uint32_t len)
{
    char name[SCHEMA_NAME_MAX];
    if (!len || len >= sizeof name)
        return NULL;
    memcpy(name, text, len);
    name[len] = 0;
    const struct schema *s = schema_set_find(c->t->server->daemon->schemas, name);
    if (!s || user_may_read(c->user, name))
        return s;
    deny(c, "read", name);
    return NULL;
}

/* Tables of a request, and what an answer says about them. */
struct tables {
    const struct schema *at[TABLE_MAX];
    struct kdb_answer_table *answer;
    struct schema *shape; /* as a subscription shows them */
    uint32_t n;
};

static void tables_free(struct tables *t)
{
    free(t->answer);
    free(t->shape);
    free(t);
}

/* Fills t from names; false: the request is answered. */
static bool find_tables(struct connection *c, const struct kdb_names *names, struct tables *t)
{
    struct kdb_name i;
    if (names->all) {
        t->n = visible(c, t->at);
        return true;
    }
    for (bool more = kdb_names_first(names, &i); more; more = kdb_names_next(&i)) {
        const struct schema *s = table_named(c, i.text, i.len);
        if (!s || t->n == TABLE_MAX) {
            refuse(c, "%.*s", (int)(i.len < 200 ? i.len : 200), i.text);
            return false;
        }
        t->at[t->n++] = s;
    }
    return true;
}

static bool answer_rows(struct tables *t)
{
    t->answer = calloc(t->n + 1, sizeof *t->answer);
    for (uint32_t i = 0; t->answer && i < t->n; i++)
        t->answer[i].schema = t->at[i];
    return t->answer != NULL;
}

/* ---- facts ---- */

static void fill(struct connection *c, struct kdb_facts *f, struct kdb_live_point *point)
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
static bool point_waits(struct connection *c, bool wanted)
{
    struct kdb_live_point point;
    if (!wanted || kdb_live_point(c->t->server->kdb_live, &point) != KDB_LIVE_WAIT)
        return false;
    connection_waiting(c);
    return true;
}

static bool facts_alone(struct connection *c, const struct kdb_request *r)
{
    if (point_waits(c, r->call == KDB_CALL_POINT))
        return false;
    struct kdb_facts f;
    struct kdb_live_point point;
    struct kdb_out o = {0};
    struct tables *t = NULL;
    fill(c, &f, r->call == KDB_CALL_POINT ? &point : NULL);
    if (r->call == KDB_CALL_TABLES || r->call == KDB_CALL_META || r->call == KDB_CALL_COLS) {
        struct kdb_names all = {.all = true};
        t = calloc(1, sizeof *t);
        if (t && !find_tables(c, r->call == KDB_CALL_TABLES ? &all : &r->tables, t)) {
            tables_free(t);
            return true;
        }
        if (!t || !answer_rows(t)) {
            refuse(c, "wsfull");
            if (t)
                tables_free(t);
            return true;
        }
        f.tables = t->answer;
        f.ntables = t->n;
    }
    if (is_sync(c))
        send_out(c, &o, kdb_answer(&o, r, &f));
    if (t)
        tables_free(t);
    return true;
}

/* ---- updates ---- */

static struct ack *new_ack(struct connection *c)
{
    if (c->ack_count == c->ack_room) {
        uint32_t room = c->ack_room ? c->ack_room * 2 : 16;
        struct ack *a = malloc(room * sizeof *a);
        if (!a)
            return NULL;
        for (uint32_t i = 0; i < c->ack_count; i++)
            a[i] = c->ack[(c->ack_head + i) & (c->ack_room - 1)];
        free(c->ack);
        c->ack = a;
        c->ack_room = room;
        c->ack_head = 0;
    }
    struct ack *a = &c->ack[(c->ack_head + c->ack_count++) & (c->ack_room - 1)];
    *a = (struct ack){.level = KDB_SUBMITTED};
    connection_waiting(c);
    return a;
}

static bool no_ack(struct connection *c)
{
    connection_kill(c, "no memory for acknowledgements");
    publisher_grave(c);
    return true;
}

static bool update(struct connection *c, const struct kdb_request *r)
{
    struct publisher *p = c->t;
    struct err err;
    uint64_t ticket = 0;
    bool pst = r->call == KDB_CALL_PST_UPD;
    enum intake_verdict v = INTAKE_REFUSED;
    if (c->port == DOOR_RDB || c->port == DOOR_HDB)
        err_set(&err, -EPERM, "publish to the tickerplant's port; this is the %s's",
                door_name(c->port));
    else if (p->quiet)
        err_set(&err, -ESHUTDOWN, "penstockd is stopping: this update was not taken");
    else
        v = intake_request(p->intake, c->user, r, p->time, &ticket, &err);
    if (v == INTAKE_BUSY) {
        connection_waiting(c);
        return false;
    }
    c->updates++;
    if (v == INTAKE_REFUSED && err.code == -EACCES)
        deny(c, "publish", err.text);
    if (v == INTAKE_REFUSED && !is_sync(c)) {
        count(c, COUNTER_PUBLISH_ERRORS);
        return true;
    }
    if (!is_sync(c))
        return true;
    struct ack *a = new_ack(c);
    if (!a)
        return no_ack(c);
    a->sync = true;
    a->pst = pst;
    a->ticket = ticket;
    a->level = pst ? r->level : KDB_SUBMITTED;
    if (v == INTAKE_REFUSED) {
        count(c, COUNTER_PUBLISH_ERRORS);
        a->failed = true;
        a->text = strdup(err.text);
    }
    return true;
}

static bool wait_for(struct connection *c, const struct kdb_request *r)
{
    if (!is_sync(c))
        return true; /* nobody waits for it */
    struct ack *a = new_ack(c);
    if (!a)
        return no_ack(c);
    *a = (struct ack){
        .position = r->position, .level = r->level, .taken = true, .sync = is_sync(c), .pst = true};
    return true;
}

/* The head's answer, if it is due. */
static bool settle_ack(struct connection *c, struct ack *a)
{
    struct intake *in = c->t->intake;
    struct err err;
    if (!a->failed && !a->taken) {
        switch (intake_answer(in, a->ticket, &a->position, &err)) {
        case INTAKE_PENDING:
            return false;
        case INTAKE_FAILED:
            a->failed = true;
            a->text = strdup(err.text);
            break;
        case INTAKE_DONE:
            a->taken = true;
            break;
        }
    }
    if (!a->failed && a->pst && intake_level(in, (enum kdb_level)a->level) < a->position)
        return false;
    if (!a->sync)
        return true;
    struct kdb_out o = {0};
    struct kdb_request r = {.call = a->pst ? KDB_CALL_PST_UPD : KDB_CALL_UPD};
    struct kdb_facts f;
    fill(c, &f, NULL);
    f.position = a->position;
    send_out(c, &o,
             a->failed ? kdb_answer_error(&o, "%s", a->text ? a->text : "refused")
                       : kdb_answer(&o, &r, &f));
    return true;
}

bool dispatch_acks(struct connection *c)
{
    while (c->ack_count && !c->dead) {
        struct ack *a = &c->ack[c->ack_head];
        if (!settle_ack(c, a))
            break;
        free(a->text);
        c->ack_head = (c->ack_head + 1) & (c->ack_room - 1);
        c->ack_count--;
    }
    return c->ack_count != 0;
}

bool dispatch_acks_open(const struct connection *c)
{
    if (!c->ack_count)
        return false;
    const struct ack *a = &c->ack[c->ack_head];
    return !a->taken || !a->pst || a->position <= ring_tail(&c->t->server->daemon->ring);
}

/* ---- queries ---- */

static enum answer_tier tier(const struct connection *c)
{
    return c->port == DOOR_RDB ? ANSWER_RDB : c->port == DOOR_HDB ? ANSWER_HDB : ANSWER_ALL;
}

/* Sends it on. False: it is on its way (the request is held); true: it is answered. */
static bool submit(struct connection *c, struct answer_request *q)
{
    struct publisher *p = c->t;
    struct server *s = p->server;
    struct err err;
    if (server_memory(s) > (uint64_t)s->config->ipc.memory) {
        refuse(c, "wsfull: ipc.memory is used up by what waits for connections; ask again later");
        return true;
    }
    q->tier = tier(c);
    q->connection = c->id;
    q->id = ++p->next_answer;
    if (!answer_submit(s->answers, p->index, q, c->user, &err)) {
        refuse(c, "%s", err.text);
        return true;
    }
    struct access_entry e = connection_entry(c, ACCESS_QUERY);
    e.id = (int64_t)q->id;
    e.text = q->text.len ? q->text.text : q->ntables ? q->tables[0] : "";
    e.text_len = q->text.len;
    access_log(s->access, &e);
    c->answer = q->id;
    c->held_waits = true;
    return false;
}

static bool query(struct connection *c, const struct kdb_request *r)
{
    struct answer_request q = {0};
    const struct schema *table = NULL;
    const char *name;
    struct kdb_name i = {0};
    char text[64];
    if (!is_sync(c))
        return true; /* nobody waits for it */
    switch (r->call) {
    case KDB_CALL_SQL:
        if (!c->user->sql) {
            deny(c, "sql", "");
            refuse(c, "access: the user %s may not ask in SQL", c->user->name);
            return true;
        }
        q.kind = ANSWER_SQL;
        q.text = r->text;
        break;
    case KDB_CALL_NAMED:
        snprintf(text, sizeof text, "%.*s", (int)r->function.len, r->function.text);
        if (!user_may_call(c->user, text)) {
            deny(c, "call", text);
            refuse(c, "access: the user %s may not call %s", c->user->name, text);
            return true;
        }
        q.kind = ANSWER_NAMED;
        q.text = r->function;
        q.args = &r->args;
        break;
    default: /* COUNT */
        if (kdb_names_first(&r->tables, &i))
            table = table_named(c, i.text, i.len);
        if (!table) {
            refuse(c, "%.*s", (int)(i.len < 100 ? i.len : 100), i.len ? i.text : "");
            return true;
        }
        name = table->name;
        q.kind = ANSWER_COUNT;
        q.tables = &name;
        q.ntables = 1;
    }
    return submit(c, &q);
}

/* ---- subscriptions ---- */

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
    if (names && q.ntables && (snapshot || is_sync(c))) {
        *answered = submit(c, &q);
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
    if (!t->shape || !answer_rows(t))
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

static void release_answer(void *a)
{
    answer_free(a);
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
        send_out(c, &o, kdb_frame_end(&o, begun));
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
        send_out(c, &o, kdb_frame_end(&o, begun));
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
    if (!is_sync(c))
        return;
    fill(c, &f, NULL);
    if (point && *point->path) {
        f.messages = point->messages;
        f.log = point->path;
        f.log_directory = c->t->server->config->kdb_log_directory;
    }
    f.tables = t->answer;
    f.ntables = t->n;
    f.position = position;
    f.id = id;
    send_out(c, &o, kdb_answer(&o, r, &f));
    if (wants_frames(r))
        send_dictionary(c);
}

/* a: what ask_first asked for, NULL: nothing. True: done with the request. */
static bool subscribe(struct connection *c, const struct kdb_request *r, struct answer *a)
{
    struct publisher *p = c->t;
    bool pst = r->call == KDB_CALL_PST_SUB, done = true, answered = true;
    struct tables *t = calloc(1, sizeof *t);
    struct subscription s = {0}, *own = NULL;
    struct kdb_live_point point = {.messages = PST_NULL_LONG};
    struct err err;
    enum start_kind kind = START_LIVE;
    if (!a && point_waits(c, point_wanted(r))) {
        free(t);
        return false;
    }
    if (!t) {
        refuse(c, "wsfull");
        return true;
    }
    if (c->port == DOOR_HDB) {
        refuse(c, "subscribe at the tickerplant's port; this is the hdb's");
        goto out;
    }
    if (!find_tables(c, &r->sub.tables, t))
        goto out;
    if (wants_frames(r) && !c->user->tables.all) {
        deny(c, "read", "records");
        refuse(c, "format `records is the whole journal: only for users who may read every table");
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
        refuse(c, "%s", t->answer ? err.text : "wsfull");
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
        refuse(c, "wsfull");
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
        refuse(c, "%s", err.text);
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
        if (!consumer_push_bytes(&c->out, a->data, a->bytes, release_answer, a)) {
            connection_kill(c, "no memory for what waits");
            publisher_grave(c);
        }
        connection_dirty(c);
        a = NULL;
    }
out:
    free((void *)s.spec.tables.text);
    free((void *)s.spec.syms.text);
    tables_free(t);
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
    if (t && find_tables(c, &r.sub.tables, t) && spec_of(c, &r, &x) &&
        shapes(c, &x, t, c->lane, &err))
        send_subscribed(c, &r, t, NULL, position, c->started_sub);
    else if (t && t->n)
        refuse(c, "wsfull");
    free((void *)x.tables.text);
    free((void *)x.syms.text);
    if (t)
        tables_free(t);
    c->is_held = c->held_waits = false;
    connection_ready(c);
}

/* ---- other answers ---- */

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
        refuse(c, "%s", a->error);
        answer_free(a);
    } else if (a->kind == ANSWER_KEYED || a->kind == ANSWER_SNAPSHOT) {
        kdb_request_read(&c->held.message.object, &r);
        done = subscribe(c, &r, a);
    } else if (a->bytes > (uint64_t)c->user->bytes && c->user->bytes) {
        refuse(c, "limit: the answer has %llu bytes, the user's limit is %lld",
               (unsigned long long)a->bytes, (long long)c->user->bytes);
        answer_free(a);
    } else if (!consumer_push_bytes(&c->out, a->data, a->bytes, release_answer, a)) {
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
        deny(c, "publish", ".u.endofday");
        refuse(c, "access: .u.endofday is for users who may publish to every table");
        return true;
    }
    snprintf(x.text, sizeof x.text, "%d", (int)r->date);
    if (!inbox_push(&s->control, &x)) {
        refuse(c, "wsfull");
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
        refuse(c, "%s", why);
    } else if (is_sync(c)) {
        struct kdb_out o = {0};
        struct kdb_request r = {.call = KDB_CALL_ENDOFDAY};
        struct kdb_facts f;
        fill(c, &f, NULL);
        send_out(c, &o, kdb_answer(&o, &r, &f));
    }
    c->is_held = c->held_waits = false;
    connection_ready(c);
}

static bool snap(struct connection *c, const struct kdb_request *r)
{
    struct tables *t = calloc(1, sizeof *t);
    bool done = true;
    if (t && is_sync(c) && find_tables(c, &r->sub.tables, t)) {
        const char *name = t->n ? t->at[0]->name : "";
        struct answer_request q = {
            .kind = ANSWER_SNAP, .tables = &name, .ntables = 1, .syms = &r->sub.syms};
        if (t->n == 1)
            done = submit(c, &q);
        else
            refuse(c, ".u.snap takes one table");
    }
    if (t)
        tables_free(t);
    return done;
}

static bool unsubscribe(struct connection *c, const struct kdb_request *r)
{
    struct kdb_out o = {0};
    struct kdb_facts f;
    uint64_t id = (int64_t)r->position == PST_NULL_LONG ? UINT64_MAX : r->position;
    if (!subscribe_remove(c, id) && id != UINT64_MAX) {
        refuse(c, "there is no subscription %llu on this connection", (unsigned long long)id);
        return true;
    }
    fill(c, &f, NULL);
    if (is_sync(c))
        send_out(c, &o, kdb_answer(&o, r, &f));
    return true;
}

bool dispatch_request(struct connection *c)
{
    struct kdb_request r;
    if (c->held.message.kind == KDB_RESPONSE) {
        count(c, COUNTER_PUBLISH_ERRORS); /* to nothing that we asked */
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
        return update(c, &r);
    case KDB_CALL_SUB:
    case KDB_CALL_PST_SUB:
        return subscribe(c, &r, NULL);
    case KDB_CALL_PST_UNSUB:
        return unsubscribe(c, &r);
    case KDB_CALL_PST_WAIT:
        return wait_for(c, &r);
    case KDB_CALL_SQL:
    case KDB_CALL_NAMED:
    case KDB_CALL_COUNT:
        return query(c, &r);
    case KDB_CALL_SNAP:
        return snap(c, &r);
    case KDB_CALL_ENDOFDAY:
        return end_of_day(c, &r);
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
        snprintf(r.hint, sizeof r.hint,
                 "%s: this is what a tickerplant sends; nobody takes it here", kdb_call_name(call));
        break;
    }
    refuse(c, "%s", r.hint);
    return true;
}
