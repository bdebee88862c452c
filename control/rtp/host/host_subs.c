/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions: their beginning and end, snapshots, what is published to them. */
#include <errno.h>
#include "core/clock.h"
#include "host.h"

#define LINE    400
#define TIDY_NS (10 * NS_PER_S)

static uint32_t bucket(const struct pst_rtp *r, int64_t own)
{
    uint64_t x = ((uint64_t)(uintptr_t)r >> 4 ^ (uint64_t)own) * 0x9E3779B97F4A7C15ull;
    return (uint32_t)(x >> 54) % HOST_BUCKETS;
}

struct host_sub *host_sub_find(struct host *h, uint64_t uid)
{
    struct host_sub *s = h->by_uid[uid % HOST_BUCKETS];
    while (s && s->uid != uid)
        s = s->next_uid;
    return s;
}

static struct host_sub *find_own(struct host *h, const struct pst_rtp *r, int64_t own)
{
    struct host_sub *s = h->by_own[bucket(r, own)];
    while (s && (s->plugin != r || s->own != own))
        s = s->next_own;
    return s;
}

static void free_sub(struct host_sub *s)
{
    host_result_free(s->shape);
    free(s->params);
    free(s);
}

/* ---- sentences ---- */

/* The dictionary as text, for lists and debugging: what a person would write. */
static char *params_text(const struct pst_map *m)
{
    struct kdb_out o = {0};
    char number[40];
    for (uint32_t i = 0; i < m->n && o.len < LINE; i++) {
        const struct pst_list *l = &m->at[i];
        kdb_out_bytes(&o, i ? " " : "", i > 0);
        kdb_out_bytes(&o, l->name, strlen(l->name));
        kdb_out_bytes(&o, "=", 1);
        for (uint32_t k = 0; k < l->n && o.len < LINE; k++) {
            const struct pst_value *v = &l->value[k];
            kdb_out_bytes(&o, ",", k > 0);
            if (l->type == PST_SYMBOL || l->type == PST_STRING) {
                kdb_out_bytes(&o, v->text.at, v->text.len < 64 ? v->text.len : 64);
                continue;
            }
            int n = l->type == PST_FLOAT || l->type == PST_REAL
                        ? snprintf(number, sizeof number, "%g", v->f)
                        : snprintf(number, sizeof number, "%lld", (long long)v->i);
            kdb_out_bytes(&o, number, (size_t)n);
        }
    }
    kdb_out_bytes(&o, "", 1);
    if (o.failed)
        return NULL;
    char *out = malloc(LINE + 4);
    if (out)
        rtp_printable(out, LINE, (const char *)o.data, o.len);
    kdb_out_free(&o);
    return out;
}

static bool failed(struct host *h, struct pst_rtp *r, const char *what, const char *name,
                   struct err *err)
{
    h->beat.errors += !r->err.code;
    err_set(err, r->err.code ? r->err.code : -EIO, "%.64s: %.400s", name,
            r->err.code ? r->err.text : "it refused, and said no reason");
    host_debug(h, "%s %s", what, err->text);
    return false;
}

/* ---- beginning ---- */

/* Calls subscribe; once more with a cut of memory if it asked for history without one. */
static int64_t ask(struct host *h, const struct host_analytic *x, const struct pst_map *map,
                   struct err *err)
{
    struct pst_rtp *r = x->plugin;
    bool first = x->a->flags & PST_HISTORY;
    for (int i = 0;; i++) {
        if (first && !host_cut_take(h, err))
            return -1;
        h->want_cut = false;
        host_enter(h, r, HOST_IN_SUBSCRIBE, x->a->name);
        int64_t own = x->a->subscribe(r, map, x->a->data);
        bool sound = host_leave(h, r);
        h->beat.subscribed++;
        host_cut_drop(h);
        if (own >= 0 && sound)
            return own;
        if (own >= 0) { /* host->error, and an id all the same: it is not to be */
            failed(h, r, "subscribe", x->a->name, err);
            host_enter(h, r, HOST_IN_UNSUBSCRIBE, x->a->name);
            x->a->unsubscribe(r, own, x->a->data);
            host_leave(h, r);
            return -1;
        }
        if (!h->want_cut || i) {
            failed(h, r, "subscribe", x->a->name, err);
            return -1;
        }
        first = true;
    }
}

/* Columns and key: describe's, or the analytic's. */
static struct pst_result *shape_of(struct host *h, const struct host_analytic *x, int64_t own,
                                   struct err *err)
{
    struct pst_rtp *r = x->plugin;
    struct pst_result *t = host_result_new(r);
    if (!t) {
        err_set(err, -ENOMEM, "no memory");
        return NULL;
    }
    t->full = x->a->flags & PST_FULL;
    bool ok = true;
    if (x->a->columns)
        ok = host_result_columns(t, x->a->columns, x->a->ncolumns, x->a->key, err);
    if (ok && x->a->describe) {
        t->describing = true;
        host_enter(h, r, HOST_IN_DESCRIBE, x->a->name);
        int code = x->a->describe(r, own, t, x->a->data);
        ok = host_leave(h, r) && !code;
        t->describing = false;
        if (!ok)
            failed(h, r, "describe", x->a->name, err);
    }
    if (ok && !t->ncolumns)
        ok = err_set(err, -EINVAL, "%s: describe named no columns", x->a->name);
    if (ok) {
        host_result_clear(t);
        return t;
    }
    host_result_free(t);
    return NULL;
}

static void take_back(struct host *h, const struct host_analytic *x, int64_t own)
{
    host_enter(h, x->plugin, HOST_IN_UNSUBSCRIBE, x->a->name);
    x->a->unsubscribe(x->plugin, own, x->a->data);
    host_leave(h, x->plugin);
}

static struct host_sub *add(struct host *h, const struct host_analytic *x, int64_t own,
                            struct pst_result *shape, char *params, int64_t connection)
{
    struct host_sub *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct host_sub){.uid = ++h->next_uid,
                           .own = own,
                           .plugin = x->plugin,
                           .a = x->a,
                           .shape = shape,
                           .params = params,
                           .connection = connection};
    struct host_sub **u = &h->by_uid[s->uid % HOST_BUCKETS],
                    **o = &h->by_own[bucket(x->plugin, own)];
    s->next_uid = *u;
    *u = s;
    s->next_own = *o;
    *o = s;
    x->plugin->subs++;
    h->nsubs++;
    return s;
}

uint64_t host_subscribe(struct host *h, const struct rtp_asked *q, int64_t connection,
                        struct pst_result **shape, struct err *err)
{
    const struct host_analytic *found = host_analytic_find(h, q->name);
    struct host_params p;
    if (!found)
        return err_set(err, -ENOENT, "there is no analytic %s", q->name);
    struct host_analytic x = *found; /* the list may move while it runs */
    if (!h->started)
        return err_set(err, -EAGAIN, "%s: the process is not started yet", q->name);
    if (!host_params_read(&p, x.a->parameters, x.a->nparameters, q->params, q->nparams, q->user,
                          err))
        return 0;
    char *text = params_text(&p.map);
    int64_t own = ask(h, &x, &p.map, err);
    host_params_free(&p);
    if (own < 0) {
        free(text);
        return 0;
    }
    if (find_own(h, x.plugin, own)) {
        err_set(err, -EIO, "%s: it gave the id %lld twice", q->name, (long long)own);
        host_log(h, "%s", err->text);
        free(text);
        return 0;
    }
    struct pst_result *t = shape_of(h, &x, own, err);
    struct host_sub *s = t ? add(h, &x, own, t, text, connection) : NULL;
    if (!s) {
        take_back(h, &x, own);
        host_result_free(t);
        free(text);
        return 0;
    }
    host_debug(h, "subscribe %s %s: %llu", q->name, text ? text : "", (unsigned long long)s->uid);
    *shape = t;
    return s->uid;
}

bool host_unsubscribe(struct host *h, uint64_t uid)
{
    struct host_sub **u = &h->by_uid[uid % HOST_BUCKETS];
    while (*u && (*u)->uid != uid)
        u = &(*u)->next_uid;
    struct host_sub *s = *u;
    if (!s)
        return false;
    *u = s->next_uid;
    struct host_sub **o = &h->by_own[bucket(s->plugin, s->own)];
    while (*o != s)
        o = &(*o)->next_own;
    *o = s->next_own;
    s->plugin->subs--;
    h->nsubs--;
    host_debug(h, "unsubscribe %s: %llu", s->a->name, (unsigned long long)uid);
    host_enter(h, s->plugin, HOST_IN_UNSUBSCRIBE, s->a->name);
    s->a->unsubscribe(s->plugin, s->own, s->a->data);
    host_leave(h, s->plugin);
    free_sub(s);
    if (!h->tidy)
        h->tidy = clock_monotonic() + TIDY_NS;
    return true;
}

/* ---- connections ---- */

void host_disconnect(struct host *h, struct pst_rtp *only, int64_t connection)
{
    struct pst_rtp *r = h->in_plugin; /* a plugin may call it from `closed` */
    enum host_in in = h->in;
    const char *name = h->in_name;
    for (unsigned i = 0; i < HOST_BUCKETS; i++)
        for (struct host_sub *s = h->by_uid[i], *next; s; s = next) {
            next = s->next_uid;
            if (s->connection == connection && (!only || s->plugin == only))
                host_unsubscribe(h, s->uid);
        }
    h->in_plugin = r;
    h->in = in;
    h->in_name = name;
}

void host_closed(struct host *h, int64_t connection)
{
    for (unsigned i = 0; i < h->nplugins; i++) {
        struct pst_rtp *r = h->plugin[i];
        if (r->have_hooks && r->hooks.closed) {
            host_enter(h, r, HOST_IN_CLOSED, r->name);
            r->hooks.closed(r, connection, r->hooks.data);
            if (!host_leave(h, r))
                host_log(h, "%s: closed: %s", r->name, r->err.text);
        }
        if (!r->have_hooks || !r->hooks.own_close)
            host_disconnect(h, r, connection);
    }
}

/* ---- state and what changes ---- */

void host_flush_plugins(struct host *h, struct pst_rtp *only)
{
    for (unsigned i = 0; i < h->nplugins; i++) {
        struct pst_rtp *r = h->plugin[i];
        if ((only && r != only) || !r->have_hooks || !r->hooks.flush)
            continue;
        host_enter(h, r, HOST_IN_FLUSH, r->name);
        r->hooks.flush(r, r->hooks.data);
        if (!host_leave(h, r))
            host_log(h, "%s: flush: %s", r->name, r->err.text);
    }
}

struct pst_result *host_snapshot(struct host *h, uint64_t uid, struct err *err)
{
    struct host_sub *s = host_sub_find(h, uid);
    if (!s) {
        err_set(err, -ENOENT, "there is no subscription %llu", (unsigned long long)uid);
        return NULL;
    }
    struct pst_result *t = host_result_new(s->plugin);
    if (!t || !host_result_like(t, s->shape)) {
        host_result_free(t);
        err_set(err, -ENOMEM, "no memory for a snapshot");
        return NULL;
    }
    host_flush_plugins(h, s->plugin);
    host_enter(h, s->plugin, HOST_IN_SNAPSHOT, s->a->name);
    int code = s->a->snapshot(s->plugin, s->own, t, s->a->data);
    h->beat.snapshots++;
    if (host_leave(h, s->plugin) && !code && host_result_same(t, s->shape)) {
        t->nkeys = s->shape->nkeys;
        memcpy(t->key, s->shape->key, sizeof t->key);
        host_debug(h, "snapshot %s: %llu, %u rows", s->a->name, (unsigned long long)uid, t->rows);
        return t;
    }
    if (!s->plugin->err.code && !code)
        err_set(err, -EIO, "%s: its snapshot has other columns than it said", s->a->name);
    else
        failed(h, s->plugin, "snapshot", s->a->name, err);
    host_result_free(t);
    return NULL;
}

int host_publish(struct pst_rtp *r, int64_t own, struct pst_result *t)
{
    struct host *h = r->host;
    struct host_sub *s = find_own(h, r, own);
    static struct kdb_out out;
    if (!s || !t->rows || h->replaying) {
        host_result_clear(t);
        return 0;
    }
    if (!host_result_same(t, s->shape)) {
        host_result_clear(t);
        return host_fail(r, -EINVAL, "publish: the result has other columns than %s", s->a->name);
    }
    t->nkeys = s->shape->nkeys;
    memcpy(t->key, s->shape->key, sizeof t->key);
    bool ok = host_result_encode(t, &out);
    if (ok) {
        host_say(h, RTP_WIRE_UPDATE, s->uid, h->position, out.data, out.len, t->rows);
        h->beat.updates++;
        h->beat.update_rows += t->rows;
        h->beat.update_bytes += out.len;
        if (pst_unlikely(h->debug))
            host_debug(h, "publish %s: %llu, %u rows", s->a->name, (unsigned long long)s->uid,
                       t->rows);
    }
    host_result_clear(t);
    if (out.room > 4u << 20) { /* one large result does not keep its memory */
        kdb_out_free(&out);
        out = (struct kdb_out){0};
    }
    return ok ? 0 : host_fail(r, -E2BIG, "publish: the result is too large");
}

/* ---- functions ---- */

struct pst_result *host_call(struct host *h, const struct rtp_asked *q, struct err *err)
{
    const struct host_function *found = host_function_find(h, q->name);
    struct host_params p;
    if (!found) {
        err_set(err, -ENOENT, "there is no function %s", q->name);
        return NULL;
    }
    struct host_function x = *found;
    struct pst_result *t = host_result_new(x.plugin);
    if (!t || !host_result_columns(t, x.f->columns, x.f->ncolumns, NULL, err) ||
        !host_params_read(&p, x.f->parameters, x.f->nparameters, q->params, q->nparams, q->user,
                          err)) {
        host_result_free(t);
        return NULL;
    }
    host_enter(h, x.plugin, HOST_IN_CALL, x.f->name);
    int code = x.f->run(x.plugin, &p.map, t, x.f->data);
    h->beat.calls++;
    bool ok = host_leave(h, x.plugin) && !code;
    host_params_free(&p);
    if (ok)
        return t;
    failed(h, x.plugin, "call", x.f->name, err);
    host_result_free(t);
    return NULL;
}

json_t *host_shape_json(const struct pst_result *t)
{
    json_t *columns = json_array(), *key = json_array();
    for (uint32_t i = 0; i < t->ncolumns; i++)
        json_array_append_new(columns,
                              json_pack("[s,s]", t->column[i].name, type_name(t->column[i].type)));
    for (uint32_t i = 0; i < t->nkeys; i++)
        json_array_append_new(key, json_string(t->column[t->key[i]].name));
    return json_pack("{s:o,s:o,s:b}", "columns", columns, "key", key, "full", t->full);
}
