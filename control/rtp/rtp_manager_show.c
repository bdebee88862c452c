/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to clients, and the tables of .sa.list and .sa.streams. */
#include <stdlib.h>
#include "core/schema.h"
#include "rtp_manager_parts.h"

static struct message *made(struct kdb_out *o, size_t begun)
{
    struct message *m = message_made(o, kdb_frame_end(o, begun), MESSAGE_STREAM);
    return m;
}

struct message *show_rows(bool state, uint64_t face, const struct rtp_result *r, uint64_t position)
{
    struct kdb_out head = {0}, tail = {0};
    size_t begun = kdb_frame_begin(&head, KDB_ASYNC);
    kdb_out_list(&head, 4);
    if (state)
        kdb_out_symbol(&head, ".sa.snap", 8);
    else
        kdb_out_symbol(&head, ".sa.upd", 7);
    kdb_out_long(&head, (int64_t)face);
    kdb_out_long(&tail, (int64_t)position);
    uint64_t len = head.len + r->len + tail.len;
    struct message *m = head.failed || tail.failed || len > KDB_BYTES_MAX ? NULL : message_new(len);
    if (m) {
        uint32_t n = (uint32_t)len;
        memcpy(m->data, head.data, head.len);
        memcpy(m->data + begun + 4, &n, sizeof n);
        memcpy(m->data + head.len, r->data, r->len);
        memcpy(m->data + head.len + r->len, tail.data, tail.len);
        m->kind = MESSAGE_STREAM;
        m->rows = r->rows;
        m->first = face;
        m->end = position;
    }
    kdb_out_free(&head);
    kdb_out_free(&tail);
    return m;
}

struct message *show_notice(uint64_t face, const char *kind, const char *text)
{
    struct kdb_out o = {0};
    size_t begun = kdb_frame_begin(&o, KDB_ASYNC);
    kdb_out_list(&o, 4);
    kdb_out_symbol(&o, ".sa.notice", 10);
    kdb_out_long(&o, (int64_t)face);
    kdb_out_symbol(&o, kind, strlen(kind));
    kdb_out_chars(&o, text, strlen(text));
    struct message *m = made(&o, begun);
    if (m)
        m->first = face;
    return m;
}

/* ---- the answer of .sa.sub ---- */

static void put_word(struct kdb_out *o, const char *text)
{
    kdb_out_symbol(o, text, strlen(text));
}

static void put_names(struct kdb_out *o, const json_t *list, bool pairs)
{
    size_t i, opened = kdb_out_open(o, PST_SYMBOL, 0);
    const json_t *x;
    json_array_foreach(list, i, x)
    {
        const char *name = json_string_value(pairs ? json_array_get(x, 0) : x);
        kdb_out_bytes(o, name, strlen(name) + 1);
    }
    kdb_out_close(o, opened, (uint32_t)json_array_size(list));
}

static const char *mode_of(const struct rtp_stream *s, unsigned face)
{
    return s->full || face == FACE_FULL ? "full" : json_array_size(s->key) ? "delta" : "events";
}

struct message *show_opened(struct rtp_manager *m, const struct rtp_stream *s, unsigned face,
                            uint64_t position)
{
    static const char *const keys[] = {"id",  "name",    "group", "mode",
                                       "key", "columns", "types", "position"};
    struct kdb_out o = {0};
    char types[SCHEMA_COLUMNS_MAX];
    size_t i;
    const json_t *c;
    json_array_foreach(s->columns, i, c) types[i] =
        type_letter(type_by_name(json_string_value(json_array_get(c, 1))));
    size_t begun = kdb_frame_begin(&o, KDB_RESPONSE);
    kdb_out_dict(&o, false);
    kdb_out_symbols(&o, keys, PST_COUNT(keys));
    kdb_out_list(&o, PST_COUNT(keys));
    kdb_out_long(&o, (int64_t)s->face[face].id);
    put_word(&o, s->name);
    put_word(&o, m->group[s->g].name);
    put_word(&o, mode_of(s, face));
    put_names(&o, s->key, false);
    put_names(&o, s->columns, true);
    kdb_out_chars(&o, types, json_array_size(s->columns));
    kdb_out_long(&o, (int64_t)position);
    return message_made(&o, kdb_frame_end(&o, begun), MESSAGE_REPLY);
}

/* ---- tables ---- */

/* A column of symbols, texts or longs that grows row by row. */
struct cells {
    const char *name;
    int type; /* PST_SYMBOL, PST_LONG, PST_STRING */
    struct kdb_out out;
};
struct shown {
    struct cells *column;
    uint32_t n, rows;
};

static void add_text(struct cells *c, const char *text)
{
    if (c->type == PST_STRING)
        kdb_out_chars(&c->out, text, strlen(text));
    else
        kdb_out_bytes(&c->out, text, strlen(text) + 1);
}
static void add_long(struct cells *c, uint64_t v)
{
    kdb_out_bytes(&c->out, &v, sizeof v);
}

static struct message *table_message(struct shown *t)
{
    struct kdb_out o = {0};
    const char *names[16];
    bool ok = true;
    for (uint32_t i = 0; i < t->n; i++)
        names[i] = t->column[i].name;
    size_t begun = kdb_frame_begin(&o, KDB_RESPONSE);
    kdb_out_columns(&o, names, t->n);
    for (uint32_t i = 0; i < t->n; i++) {
        struct cells *c = &t->column[i];
        size_t opened = kdb_out_open(&o, c->type == PST_STRING ? KDB_LIST : c->type, 0);
        if (c->out.len)
            kdb_out_bytes(&o, c->out.data, c->out.len);
        kdb_out_close(&o, opened, t->rows);
        ok &= !c->out.failed;
        kdb_out_free(&c->out);
    }
    return message_made(&o, kdb_frame_end(&o, begun) && ok, MESSAGE_REPLY);
}

static void join_names(const json_t *list, char *out, size_t room)
{
    size_t i, n = 0;
    const json_t *x;
    *out = 0;
    json_array_foreach(list, i, x) if (n < room) n +=
        (size_t)snprintf(out + n, room - n, "%s%s", i ? "," : "", json_string_value(x));
}

struct message *show_analytics(struct rtp_manager *m, const struct user *u)
{
    struct cells c[] = {{"name", PST_SYMBOL, {0}},       {"group", PST_SYMBOL, {0}},
                        {"mode", PST_SYMBOL, {0}},       {"key", PST_STRING, {0}},
                        {"parameters", PST_STRING, {0}}, {"about", PST_STRING, {0}}};
    struct shown t = {c, PST_COUNT(c), 0};
    char text[2000];
    for (unsigned g = 0; g < m->ngroups; g++) {
        size_t i;
        const json_t *a, *ready = m->link->ready(m->link->pool, g);
        json_array_foreach(json_object_get(ready, "analytics"), i, a)
        {
            const char *name = json_string_value(json_object_get(a, "name"));
            const json_t *key = json_object_get(a, "key");
            if (!user_may_call(u, name))
                continue;
            add_text(&c[0], name);
            add_text(&c[1], m->group[g].name);
            add_text(&c[2], json_is_true(json_object_get(a, "full"))      ? "full"
                            : json_array_size(key)                        ? "delta"
                            : json_is_null(json_object_get(a, "columns")) ? "" /* by parameters */
                                                                          : "events");
            join_names(key, text, sizeof text);
            add_text(&c[3], text);
            add_text(&c[4], rtp_params_about(json_object_get(a, "parameters"), text, sizeof text));
            add_text(&c[5], json_string_value(json_object_get(a, "about")));
            t.rows++;
        }
    }
    return table_message(&t);
}

static const char *state_of(const struct rtp_stream *s)
{
    return s->retry_at              ? "refused"
           : !stream_placed(s)      ? "waits"
           : s->live || !s->waiting ? "live"
                                    : "begins";
}

static void process_of(const struct rtp_stream *s, char text[32])
{
    if (s->n > 1)
        snprintf(text, 32, "all %u", s->n);
    else if (s->instance[0].state == INSTANCE_NONE)
        snprintf(text, 32, "none");
    else
        snprintf(text, 32, "%u", s->instance[0].k);
}

/* Others' parameters are theirs, but to those who may read everything. */
static bool may_see(const struct stream_ask *a, uint64_t face)
{
    bool own = a->user->tables.all;
    for (uint32_t i = 0; i + 8 <= a->len && !own; i += 8)
        own = !memcmp(a->data + i, &face, 8);
    return own;
}

struct message *show_streams(struct rtp_manager *m, const struct stream_ask *a)
{
    struct cells c[] = {
        {"id", PST_LONG, {0}},           {"name", PST_SYMBOL, {0}},  {"group", PST_SYMBOL, {0}},
        {"process", PST_SYMBOL, {0}},    {"mode", PST_SYMBOL, {0}},  {"state", PST_SYMBOL, {0}},
        {"parameters", PST_STRING, {0}}, {"clients", PST_LONG, {0}}, {"updates", PST_LONG, {0}},
        {"rows", PST_LONG, {0}},         {"position", PST_LONG, {0}}};
    struct shown t = {c, PST_COUNT(c), 0};
    char text[300], process[32];
    for (unsigned g = 0; g < m->ngroups; g++)
        for (const struct rtp_stream *s = m->group[g].streams; s; s = s->next)
            for (unsigned f = 0; f < FACES; f++) {
                if (!s->face[f].members || !may_see(a, s->face[f].id))
                    continue;
                process_of(s, process);
                add_long(&c[0], s->face[f].id);
                add_text(&c[1], s->name);
                add_text(&c[2], m->group[g].name);
                add_text(&c[3], process);
                add_text(&c[4], mode_of(s, f));
                add_text(&c[5], state_of(s));
                add_text(&c[6], rtp_params_text(s->params, s->nparams, text, sizeof text));
                add_long(&c[7], s->face[f].members);
                add_long(&c[8], s->updates);
                add_long(&c[9], s->rows);
                add_long(&c[10], s->position);
                t.rows++;
            }
    return table_message(&t);
}

void show_group(void *arg, unsigned g, json_t *into)
{
    struct rtp_manager *m = arg;
    const struct group *grp = &m->group[g];
    uint64_t clients = 0, updates = 0, rows = 0;
    for (const struct rtp_stream *s = grp->streams; s; s = s->next) {
        clients += s->members;
        updates += s->updates;
        rows += s->rows;
    }
    json_object_set_new(into, "streams", json_integer(grp->nstreams));
    json_object_set_new(into, "clients", json_integer((json_int_t)clients));
    json_object_set_new(into, "stream_updates", json_integer((json_int_t)updates));
    json_object_set_new(into, "stream_rows", json_integer((json_int_t)rows));
}
