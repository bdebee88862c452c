/* SPDX-License-Identifier: Apache-2.0 */
/* What a process says: checked, and given to whom it concerns. */
#include <errno.h>
#include <unistd.h>
#include "core/clock.h"
#include "rtp_pool.h"

#define A_TURN        256   /* messages of one process in one round */
#define LOG_LINES     20    /* a second, of one process */
#define CUTS_A_SECOND 2000u /* one that waits for memory asks each ms */
#define SETTLED_NS    (100 * NS_PER_MS)

/* ---- READY: does it bring what the configuration says? ---- */

static const json_t *named(const json_t *list, const char *name)
{
    const json_t *o;
    size_t i;
    json_array_foreach(list, i, o)
    {
        if (!strcmp(json_string_value(json_object_get(o, "name")), name))
            return o;
    }
    return NULL;
}

/* The derived table as it is declared; NULL: err. */
static const struct schema *derived(struct rtp_pool *p, const char *processor, const json_t *d,
                                    struct err *err)
{
    const char *name = json_string_value(json_object_get(d, "name"));
    const json_t *columns = json_object_get(d, "columns");
    const struct schema *s = p->hooks.table(p->hooks.arg, name);
    if (!s) {
        err_set(err, -ENOENT,
                "processor %s writes table %s, which takes no rows: declare it under tables",
                processor, name);
        return NULL;
    }
    for (size_t i = 0; i < s->ncols || i < json_array_size(columns); i++) {
        const json_t *c = json_array_get(columns, i);
        const char *column = json_string_value(json_array_get(c, 0)),
                   *type = json_string_value(json_array_get(c, 1));
        if (c && i < s->ncols && !strcmp(column, s->col[i].name) &&
            !strcmp(type, type_name(s->col[i].type)))
            continue;
        err_set(err, -EINVAL,
                "processor %s writes table %s with column %zu %s %s, declared is %s %s: make them "
                "alike",
                processor, name, i + 1, c ? column : "(none)", c ? type : "",
                i < s->ncols ? s->col[i].name : "(none)",
                i < s->ncols ? type_name(s->col[i].type) : "");
        return NULL;
    }
    return s;
}

static bool processors(struct rtp_pool *p, struct rtp_group *g, const json_t *ready,
                       struct err *err)
{
    const struct config_rtp *c = g->c;
    memset(g->source.may, 0, sizeof g->source.may);
    for (uint32_t i = 0; i < c->processors.count; i++) {
        const char *name = c->processors.at[i];
        const json_t *x = named(json_object_get(ready, "processors"), name), *d;
        size_t k;
        if (!x)
            return err_set(err, -ENOENT, "none of its plugins has a processor %s%s%s", name,
                           *g->trouble ? ": " : "", g->trouble);
        json_array_foreach(json_object_get(x, "derived"), k, d)
        {
            const struct schema *s = derived(p, name, d, err);
            if (!s)
                return false;
            g->source.may[s->id] = true;
        }
    }
    for (uint32_t i = 0; i < c->insert.count; i++) {
        const struct schema *s = p->hooks.table(p->hooks.arg, c->insert.at[i].table);
        if (s)
            g->source.may[s->id] = true;
    }
    return true;
}

static void failed_plugins(struct rtp_group *g, const json_t *ready)
{
    const json_t *first = json_array_get(json_object_get(ready, "failed"), 0);
    g->trouble[0] = 0;
    if (!first)
        return;
    char text[600];
    const char *file = json_string_value(json_object_get(first, "file")),
               *why = json_string_value(json_object_get(first, "error"));
    snprintf(text, sizeof text, "%.200s: %.390s", file, why);
    rtp_printable(g->trouble, sizeof g->trouble, text, strlen(text));
}

/* A function that the group names for buffering marks is missed now, not when the first one comes.
 */
static void named_functions(struct rtp_group *g, const json_t *ready)
{
    const struct {
        const char *key, *name;
    } named_by[] = {{"buffer_start", g->c->buffer_start}, {"buffer_end", g->c->buffer_end}};
    for (unsigned i = 0; i < PST_COUNT(named_by) && !*g->trouble; i++)
        if (named_by[i].name && !named(json_object_get(ready, "functions"), named_by[i].name))
            snprintf(g->trouble, sizeof g->trouble, "%s: none of its plugins has a function %.64s",
                     named_by[i].key, named_by[i].name);
}

static bool take_ready(struct rtp_pool *p, struct rtp_process *x, const struct rtp_said *m,
                       struct err *err)
{
    struct rtp_group *g = &p->group[x->g];
    if (x->state < RTP_STARTED || !x->said_hello || x->attach_due)
        return err_set(err, -EPROTO, "READY before it was attached");
    if (x->state != RTP_STARTED && !x->ready_due) /* it costs us more than the process */
        return err_set(err, -EPROTO, "READY that nobody asked for");
    x->ready_due = false;
    json_t *ready = rtp_ready_check((const char *)m->body, m->length, err);
    if (!ready)
        return false;
    failed_plugins(g, ready);
    named_functions(g, ready);
    struct err why = {0};
    if (g->derives && !processors(p, g, ready, &why)) {
        snprintf(g->trouble, sizeof g->trouble, "%.299s", why.text);
        json_decref(ready);
        rtp_process_kill(p, x, "%s", why.text);
        return true;
    }
    json_decref(g->ready);
    g->ready = ready;
    p->news = true;
    bool first = x->state == RTP_STARTED;
    if (first) {
        x->state = RTP_READY;
        x->up_at = x->beat_at = p->now;
        rtp_process_go(p, x);
        return true;
    }
    if (p->events && p->events->plugins)
        p->events->plugins(p->events->arg, x->g);
    rtp_op_answered(p, x, x->op, x->op_failed);
    return true;
}

/* ---- the rest ---- */

static bool take_rows(struct rtp_pool *p, struct rtp_process *x, const struct wire_message *m,
                      struct err *err)
{
    struct rtp_group *g = &p->group[x->g];
    if (!g->derives || x->state != RTP_RUNNING)
        return err_set(err, -EPROTO, "rows, and it has no processor that runs");
    /* the check writes into them, and wants them aligned */
    uint8_t *copy = aligned_alloc(8, pst_align8((size_t)m->head.length + 8));
    if (!copy)
        return err_set(err, -ENOMEM, "no memory");
    memcpy(copy, m->body, m->head.length);
    x->pending = copy;
    x->pending_bytes = m->head.length;
    x->pending_number = m->head.value;
    rtp_process_rows(p, x);
    return true;
}

bool rtp_process_rows(struct rtp_pool *p, struct rtp_process *x)
{
    struct rtp_group *g = &p->group[x->g];
    struct err err = {0};
    enum rtp_rows_verdict v =
        rtp_rows_offer(p->rows, &g->source, x->pending_number, x->pending, x->pending_bytes, &err);
    if (v == RTP_ROWS_WAIT)
        return false;
    free(x->pending);
    x->pending = NULL;
    if (v == RTP_ROWS_BAD) {
        g->refused++;
        g->refused_at = p->now;
        x->refused++;
        p->refused++;
        rtp_process_kill(p, x, "its rows were refused: %.200s", err.text);
    }
    return true;
}

static bool take_beat(struct rtp_pool *p, struct rtp_process *x, const struct wire_message *m,
                      struct err *err)
{
    struct rtp_beat b;
    if (!rtp_beat_parse(&b, m->body, m->head.length))
        return err_set(err, -EPROTO, "a BEAT of a wrong length");
    int64_t passed = p->now - x->busy_at;
    if (x->busy_at && passed > SETTLED_NS && b.busy_ns >= x->busy_before) {
        uint64_t share = (b.busy_ns - x->busy_before) * 1000 / (uint64_t)passed;
        x->busy = share > 1000 ? 1000 : (uint32_t)share;
    }
    if (!x->busy_at || passed > SETTLED_NS) {
        x->busy_before = b.busy_ns;
        x->busy_at = p->now;
    }
    x->beat = b;
    x->beat_at = p->now;
    return true;
}

static void take_log(struct rtp_pool *p, struct rtp_process *x, const struct wire_message *m)
{
    int64_t second = p->now / NS_PER_S;
    if (second != x->second) {
        x->second = second;
        x->lines = 0;
    }
    if (x->lines++ >= LOG_LINES)
        return;
    char text[520], line[600];
    rtp_printable(text, sizeof text, m->body, m->head.length);
    if (m->head.type == RTP_WIRE_LOG)
        snprintf(x->last, sizeof x->last, "%.199s", text);
    snprintf(line, sizeof line, "%s/%u (pid %d)%s: %s", p->group[x->g].c->name, x->k, (int)x->pid,
             m->head.type == RTP_WIRE_DEBUGGED ? " debug" : "", text);
    p->hooks.log(p->hooks.arg, line);
}

static bool to_manager(struct rtp_pool *p, struct rtp_process *x, const struct rtp_said *m,
                       struct err *err)
{
    if (!x->told)
        return err_set(err, -EPROTO, "an answer before anything was asked");
    return !p->events || !p->events->message ||
           p->events->message(p->events->arg, x->g, x->k, x->life, m, err);
}

static bool take_said(struct rtp_pool *p, struct rtp_process *x, const struct rtp_said *m,
                      struct err *err)
{
    if (m->type == RTP_WIRE_READY)
        return take_ready(p, x, m, err);
    if (m->type == RTP_WIRE_CALLED || (m->type == RTP_WIRE_REFUSED && m->id >= RTP_CALL_ID)) {
        char why[RTP_SENTENCE + 1] = "";
        if (m->type == RTP_WIRE_REFUSED)
            rtp_printable(why, sizeof why, (const char *)m->body, m->length);
        else if (!rtp_result_check(m->body, m->length, m->rows, err))
            return false;
        rtp_calls_answer(p, m->id, m->type == RTP_WIRE_CALLED ? m : NULL, why);
        return true;
    }
    return to_manager(p, x, m, err);
}

static bool take_alone(struct rtp_pool *p, struct rtp_process *x, const struct wire_message *m,
                       struct err *err)
{
    struct rtp_said said = {.type = m->head.type,
                            .id = m->head.id,
                            .value = m->head.value,
                            .body = (const uint8_t *)m->body,
                            .length = m->head.length};
    switch (m->head.type) {
    case RTP_WIRE_HELLO:
        if (x->state != RTP_STARTED || x->said_hello)
            return err_set(err, -EPROTO, "HELLO twice");
        x->said_hello = true;
        x->attach_due = true;
        return true;
    case RTP_WIRE_SUBSCRIBED:
    case RTP_WIRE_REFUSED:
        return take_said(p, x, &said, err);
    case RTP_WIRE_CUT_WANTED:
        if (x->cut || x->state != RTP_RUNNING)
            return err_set(err, -EPROTO, "a second cut");
        if (x->cut_second != p->now / NS_PER_S) {
            x->cut_second = p->now / NS_PER_S;
            x->cuts = 0;
        }
        if (++x->cuts > CUTS_A_SECOND)
            return err_set(err, -EPROTO, "more than %u cuts a second", CUTS_A_SECOND);
        x->cut = true;
        p->hooks.cut(p->hooks.arg, x->life);
        return true;
    case RTP_WIRE_CUT_DONE:
        if (x->cut)
            p->hooks.release(p->hooks.arg, x->life);
        x->cut = false;
        return true;
    case RTP_WIRE_ROWS:
        return take_rows(p, x, m, err);
    case RTP_WIRE_BEAT:
        return take_beat(p, x, m, err);
    case RTP_WIRE_PLUGIN_DONE:
        if (!x->op || m->head.id != x->op)
            return err_set(err, -EPROTO, "an answer about a plugin that nobody asked for");
        x->ready_due = true; /* then it is answered: what the group has is known */
        rtp_printable(x->op_failed, sizeof x->op_failed, m->body, m->head.length);
        return true;
    case RTP_WIRE_LOG:
    case RTP_WIRE_DEBUGGED:
        take_log(p, x, m);
        return true;
    default:
        return err_set(err, -EPROTO, "a message of type %u", m->head.type);
    }
}

static bool take(struct rtp_pool *p, struct rtp_process *x, const struct wire_message *m,
                 struct err *err)
{
    int n = rtp_whole_take(&x->whole, m, err);
    if (n == 2)
        return take_alone(p, x, m, err);
    if (n <= 0)
        return n == 0;
    struct rtp_whole w = x->whole; /* ours: it may be ended on the way */
    memset(&x->whole, 0, sizeof x->whole);
    struct rtp_said said = {.type = w.type,
                            .id = w.id,
                            .value = w.value,
                            .body = w.data,
                            .length = w.total,
                            .rows = w.rows};
    bool ok = take_said(p, x, &said, err);
    free(w.data);
    return ok;
}

int rtp_process_listen(struct rtp_pool *p, struct rtp_process *x)
{
    int n = 0;
    while (n < A_TURN && x->fd >= 0 && !x->held && !x->pending) {
        struct wire_message m;
        struct err err = {0};
        bool closed = false;
        int k = rtp_wire_receive(x->fd, 'R', &m, &closed, &err);
        if (k == 0 && !closed)
            break;
        n++;
        if (closed) { /* it ends: how, the helper says */
            x->since = p->now;
            rtp_process_kill(p, x, "%s", x->stopping ? "stopped" : "");
            break;
        }
        bool ok = k > 0 && take(p, x, &m, &err);
        if (k > 0)
            wire_free(&m);
        if (!ok)
            rtp_process_kill(p, x, "it broke the protocol: %.250s", err.text);
    }
    if (n == A_TURN)
        x->beat_at = p->now; /* more waits to be read: its beat may be among that */
    return n;
}
