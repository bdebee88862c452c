/* SPDX-License-Identifier: Apache-2.0 */
/* Questions that control puts for the verb rtp, answered on the thread. */
#include <errno.h>
#include "rtp_params.h"
#include "rtp_parts.h"
#include "storage/kdb_object.h"
#include "storage/render.h"

#define ROWS_MAX 100000u

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* ---- a table as JSON ---- */

struct cell { /* where a column stands */
    struct kdb_object column;
    struct kdb_items items;
    struct kdb_texts texts;
    bool more;
    uint32_t i;
};
struct columns {
    struct cell *cell;
    json_t *names;
    uint32_t n;
};

static bool column(void *arg, uint32_t i, const char *name, uint32_t len,
                   const struct kdb_object *o)
{
    struct columns *c = arg;
    if (i >= SCHEMA_COLUMNS_MAX)
        return false;
    struct cell *x = &c->cell[i];
    *x = (struct cell){.column = *o};
    if (o->type == PST_SYMBOL)
        x->more = kdb_texts(o, &x->texts);
    else if (o->type == KDB_LIST)
        x->more = kdb_items(o, &x->items);
    const char *type = o->type == KDB_LIST ? "string" : type_name((uint8_t)o->type);
    json_array_append_new(c->names, json_pack("[s%,s]", name, (size_t)len, type));
    c->n = i + 1;
    return true;
}

static json_t *words(const char *text, uint32_t len)
{
    json_t *s = json_stringn(text ? text : "", text ? len : 0);
    return s ? s : json_null(); /* no UTF-8 */
}

static json_t *value(struct cell *c)
{
    const struct kdb_object *o = &c->column;
    char buf[RENDER_VALUE];
    uint32_t len = 0;
    json_t *v;
    if (o->type == PST_SYMBOL) {
        v = c->more ? words(c->texts.text, c->texts.len) : json_null();
        c->more = c->more && kdb_texts_next(&c->texts);
        return v;
    }
    if (o->type == KDB_LIST) {
        const char *text = c->more ? kdb_object_text(&c->items.item, &len) : NULL;
        v = words(text, len);
        c->more = c->more && kdb_items_next(&c->items);
        return v;
    }
    unsigned width = kdb_object_width(o->type);
    const uint8_t *p = o->data + (size_t)c->i++ * width;
    if (o->type <= 0 || !width || render_is_null((uint8_t)o->type, p))
        return json_null();
    len = render_value((uint8_t)o->type, p, buf);
    bool quoted = o->type > PST_FLOAT || o->type == PST_GUID;
    v = quoted ? NULL : json_loadb(buf, len, JSON_DECODE_ANY, NULL);
    return v ? v : words(buf, len);
}

json_t *rtp_table_json(const void *body, size_t n, struct err *err)
{
    struct kdb_object o;
    struct kdb_table t;
    size_t size;
    const char *why;
    struct columns c = {.cell = calloc(SCHEMA_COLUMNS_MAX, sizeof *c.cell), .names = json_array()};
    json_t *rows = json_array();
    bool ok = c.cell && kdb_object_check(body, n, KDB_LITTLE, &size, &why) == KDB_OK;
    if (ok) {
        kdb_object_view(&o, body, KDB_LITTLE);
        ok = kdb_table_view(&t, &o, err) && kdb_table_each(&t, column, &c);
    }
    int64_t count = ok ? t.rows : 0;
    for (int64_t i = 0; i < count && i < ROWS_MAX; i++) {
        json_t *row = json_array();
        for (uint32_t k = 0; k < c.n; k++)
            json_array_append_new(row, value(&c.cell[k]));
        json_array_append_new(rows, row);
    }
    free(c.cell);
    if (!ok) {
        json_decref(rows);
        json_decref(c.names);
        err_set(err, -EPROTO, "its answer is no table that can be shown");
        return NULL;
    }
    return json_pack("{s:o,s:o,s:I}", "columns", c.names, "rows", rows, "total", (json_int_t)count);
}

/* ---- calls ---- */

static const json_t *function(const struct rtp_group *g, const char *name, struct err *err)
{
    const json_t *o;
    size_t i;
    if (!g->ready) {
        err_set(err, -EAGAIN, "no process of %s has been ready yet%s%s", g->c->name,
                *g->why ? ": " : "", g->why);
        return NULL;
    }
    json_array_foreach(json_object_get(g->ready, "functions"), i, o)
    {
        if (!strcmp(text_of(o, "name"), name))
            return o;
    }
    err_set(err, -ENOENT, "%s has no function '%.64s'; penstock rtp list %s shows them", g->c->name,
            name, g->c->name);
    return NULL;
}

static bool call(struct rtp *r, uint64_t id, struct rtp_group *g, const json_t *ask,
                 struct err *err)
{
    const char *name = text_of(ask, "name");
    const json_t *f = function(g, name, err);
    struct kdb_out out = {0};
    size_t n = 0;
    if (!f)
        return false;
    bool ok = rtp_params_texts(name, json_object_get(f, "parameters"),
                               json_object_get(ask, "params"), &out, err);
    void *body = ok ? rtp_ask_pack(name, "", out.data, (uint32_t)out.len, &n) : NULL;
    if (ok && !body)
        ok = err_set(err, -E2BIG, "its parameters are too long");
    int64_t until = r->pool.now + json_integer_value(json_object_get(ask, "timeout_ns"));
    ok = ok && rtp_pool_call(&r->pool, g, (unsigned)json_integer_value(json_object_get(ask, "k")),
                             body, n, id, until, err);
    kdb_out_free(&out);
    free(body);
    return ok;
}

/* ---- the verb ---- */

static json_t *done(const char *format, const char *name)
{
    char text[200];
    snprintf(text, sizeof text, format, name);
    return json_pack("{s:s}", "done", text);
}

static json_t *list(struct rtp *r, const char *group)
{
    json_t *all = rtp_pool_list(&r->pool), *o, *ready = json_object();
    size_t i;
    for (i = json_array_size(all); i-- > 0;) {
        o = json_array_get(all, i);
        if (*group && strcmp(text_of(o, "group"), group) != 0)
            json_array_remove(all, i);
        else if (*group && r->pool.group[i].ready)
            json_object_set(ready, text_of(o, "group"), r->pool.group[i].ready);
    }
    return json_pack("{s:o,s:o}", "groups", all, "ready", ready);
}

json_t *rtp_respond(struct rtp *r, uint64_t id, json_t *ask, bool *later, struct err *err)
{
    const char *verb = text_of(ask, "do"), *name = text_of(ask, "group"),
               *file = text_of(ask, "file");
    if (!strcmp(verb, "list") && !*name)
        return list(r, name);
    struct rtp_group *g = rtp_pool_group(&r->pool, name, err);
    if (!g)
        return NULL;
    if (!strcmp(verb, "list"))
        return list(r, name);
    if (!strcmp(verb, "start"))
        return rtp_pool_start(&r->pool, g, err) ? done("%s is started", name) : NULL;
    if (!strcmp(verb, "stop"))
        return rtp_pool_stop(&r->pool, g, err)
                   ? done("%s is stopped; penstock rtp start begins it again", name)
                   : NULL;
    if (!strcmp(verb, "restart"))
        return rtp_pool_restart(&r->pool, g, err) ? done("%s is started anew", name) : NULL;
    if (!strcmp(verb, "debug")) {
        bool on = json_is_true(json_object_get(ask, "on"));
        rtp_pool_debug(&r->pool, g, on);
        return done(on ? "%s writes debug lines to the daemon's log" : "%s writes no debug lines",
                    name);
    }
    bool load = !strcmp(verb, "load");
    if (load || !strcmp(verb, "unload"))
        *later = rtp_pool_plugin(&r->pool, g, load, file, id, err);
    else if (!strcmp(verb, "call"))
        *later = call(r, id, g, ask, err);
    else
        err_set(err, -EINVAL, "rtp: what is '%.40s'?", verb);
    return NULL;
}
