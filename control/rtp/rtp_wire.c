/* SPDX-License-Identifier: Apache-2.0 */
#include "rtp_wire.h"

#include <errno.h>
#include "core/schema.h"

static const struct wire_kind kinds[RTP_WIRE_END] = {
#define X(ID, sender, most, fewest_fds, most_fds)                                                  \
    [RTP_WIRE_##ID] = {sender, most, fewest_fds, most_fds},
    RTP_WIRE_TYPES(X)
#undef X
};

const struct wire_protocol rtp_wire = {"penstock-rtp", RTP_WIRE_MAGIC, RTP_WIRE_VERSION,
                                       RTP_WIRE_END, kinds};

const char *rtp_wire_name(unsigned type)
{
    static const char *const names[RTP_WIRE_END] = {"nothing",
#define X(ID, sender, most, fewest_fds, most_fds) #ID,
                                                    RTP_WIRE_TYPES(X)
#undef X
    };
    return type < RTP_WIRE_END ? names[type] : "unknown";
}

/* ---- asks ---- */

void *rtp_ask_pack(const char *name, const char *user, const void *params, uint32_t nparams,
                   size_t *length)
{
    struct rtp_ask a = {(uint16_t)strnlen(name, 1000), (uint16_t)strnlen(user, 1000), nparams};
    if (a.name > RTP_NAME_MAX || a.user > 255 || nparams > WIRE_LARGE - 1024)
        return NULL;
    *length = sizeof a + a.name + a.user + nparams;
    uint8_t *p = malloc(*length);
    if (!p)
        return NULL;
    memcpy(p, &a, sizeof a);
    memcpy(p + sizeof a, name, a.name);
    memcpy(p + sizeof a + a.name, user, a.user);
    if (nparams)
        memcpy(p + sizeof a + a.name + a.user, params, nparams);
    return p;
}

bool rtp_ask_view(const void *body, size_t n, struct rtp_asked *out)
{
    struct rtp_ask a;
    const uint8_t *p = body;
    if (n < sizeof a)
        return false;
    memcpy(&a, p, sizeof a);
    if (a.name > RTP_NAME_MAX || a.user > 255 ||
        n - sizeof a != (uint64_t)a.name + a.user + a.params)
        return false;
    memset(out, 0, sizeof *out);
    memcpy(out->name, p + sizeof a, a.name);
    memcpy(out->user, p + sizeof a + a.name, a.user);
    out->params = p + sizeof a + a.name + a.user;
    out->nparams = a.params;
    return strlen(out->name) == a.name && strlen(out->user) == a.user;
}

/* ---- parts ---- */

static uint32_t most_of(unsigned type)
{
    return type == RTP_WIRE_READY ? RTP_READY_MAX : RTP_RESULT_MAX;
}

void rtp_whole_free(struct rtp_whole *w)
{
    free(w->data);
    memset(w, 0, sizeof *w);
}

static int broken(struct rtp_whole *w, struct err *err, const char *why)
{
    rtp_whole_free(w);
    err_set(err, -EPROTO, "%s", why);
    return -1;
}

/* The first part of a whole. Memory for all of it only when it does come: it grows with it. */
static int begin(struct rtp_whole *w, const struct wire_message *m, const struct rtp_part *part,
                 struct err *err)
{
    rtp_whole_free(w);
    if (part->at || !part->total || part->total > most_of(m->head.type))
        return broken(w, err, "a part that begins nothing, or something too long");
    w->type = m->head.type;
    w->id = m->head.id;
    w->value = m->head.value;
    w->total = part->total;
    w->rows = part->rows;
    return 0;
}

int rtp_whole_take(struct rtp_whole *w, const struct wire_message *m, struct err *err)
{
    bool open = w->have && w->have < w->total;
    if (!rtp_in_parts(m->head.type))
        return open ? broken(w, err, "a message between two parts of another") : 2;
    struct rtp_part part;
    if (m->head.length < sizeof part)
        return broken(w, err, "a part shorter than its head");
    memcpy(&part, m->body, sizeof part);
    uint32_t n = m->head.length - (uint32_t)sizeof part;
    if (part.zero)
        return broken(w, err, "a part with unknown flags");
    if (!open && begin(w, m, &part, err))
        return -1;
    if (m->head.type != w->type || m->head.id != w->id || m->head.value != w->value ||
        part.total != w->total || part.rows != w->rows || part.at != w->have || !n ||
        n > w->total - w->have)
        return broken(w, err, "a part that does not follow the one before it");
    /* all but the last are full: so their number is bounded, too */
    if (n < w->total - w->have && n != RTP_PART_BYTES)
        return broken(w, err, "a part that is too short");
    uint8_t *p = realloc(w->data, (size_t)w->have + n + 1);
    if (!p) {
        broken(w, err, "no memory");
        return err_set(err, -ENOMEM, "no memory for a result of %u bytes", part.total), -1;
    }
    memcpy(p + w->have, m->body + sizeof part, n);
    w->data = p;
    w->have += n;
    p[w->have] = 0;
    return w->have == w->total;
}

bool rtp_beat_parse(struct rtp_beat *b, const void *body, size_t n)
{
    if (n != sizeof *b)
        return false;
    memcpy(b, body, n);
    return true;
}

void rtp_printable(char *out, size_t room, const char *text, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n && text[i] && k + 1 < room; i++) {
        unsigned char c = (unsigned char)text[i];
        out[k++] = c < 0x20 || c >= 0x7f ? (c < 0x20 ? ' ' : '?') : (char)c;
    }
    out[k] = 0;
}

/* ---- READY ---- */

bool rtp_name_ok(const char *name)
{
    size_t n = strnlen(name, RTP_NAME_MAX + 1);
    if (!n || n > RTP_NAME_MAX || (*name >= '0' && *name <= '9'))
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '_' && c != '.')
            return false;
    }
    return true;
}

static bool bad(struct err *err, const char *what)
{
    return err_set(err, -EPROTO, "a process whose %s", what);
}

static bool text_of(const json_t *o, const char *key, size_t most)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) && json_string_length(v) <= most &&
           strlen(json_string_value(v)) == json_string_length(v);
}

static bool named(const json_t *o)
{
    return text_of(o, "name", RTP_NAME_MAX) &&
           rtp_name_ok(json_string_value(json_object_get(o, "name")));
}

/* No two of one name. Lists are short (RTP_ANALYTICS_MAX): an object is the set. */
static bool new_name(json_t *seen, const char *name)
{
    if (json_object_get(seen, name))
        return false;
    return !json_object_set_new(seen, name, json_true());
}

static bool columns_ok(const json_t *columns, struct err *err)
{
    size_t i;
    const json_t *c;
    bool ok = json_is_array(columns) && json_array_size(columns) <= SCHEMA_COLUMNS_MAX;
    json_t *seen = json_object();
    if (ok)
        json_array_foreach(columns, i, c)
        {
            const char *name = json_string_value(json_array_get(c, 0)),
                       *type = json_string_value(json_array_get(c, 1));
            ok = ok && json_array_size(c) == 2 && name && type && strlen(name) < SCHEMA_NAME_MAX &&
                 rtp_name_ok(name) && type_by_name(type) && new_name(seen, name);
        }
    json_decref(seen);
    return ok || bad(err, "columns are no sound names and types");
}

/* Names of columns that are there. */
static bool key_ok(const json_t *key, const json_t *columns, struct err *err)
{
    size_t i, k;
    const json_t *name, *c;
    bool ok = json_is_array(key) && json_array_size(key) <= 8;
    if (ok)
        json_array_foreach(key, i, name)
        {
            bool there = !json_is_array(columns);
            json_array_foreach(columns, k, c) there |= json_equal(name, json_array_get(c, 0));
            ok = ok && there && json_is_string(name) && rtp_name_ok(json_string_value(name));
        }
    return ok || bad(err, "key is not one of its columns");
}

static bool names_ok(const json_t *list, size_t most)
{
    size_t i;
    const json_t *v;
    bool ok = json_is_array(list) && json_array_size(list) <= most;
    if (ok)
        json_array_foreach(list, i, v) ok =
            ok && json_is_string(v) && rtp_name_ok(json_string_value(v));
    return ok;
}

static bool parameters_ok(const json_t *list, struct err *err)
{
    size_t i;
    const json_t *p;
    bool ok = json_is_array(list) && json_array_size(list) <= 16;
    json_t *seen = json_object();
    if (ok)
        json_array_foreach(list, i, p)
        {
            const json_t *def = json_object_get(p, "default");
            ok = ok && named(p) && text_of(p, "type", 16) &&
                 type_by_name(json_string_value(json_object_get(p, "type"))) &&
                 json_is_boolean(json_object_get(p, "list")) && text_of(p, "about", 1000) &&
                 (json_is_null(def) || text_of(p, "default", 1000)) &&
                 new_name(seen, json_string_value(json_object_get(p, "name")));
        }
    json_decref(seen);
    return ok || bad(err, "parameters are not what they must be");
}

static bool analytic_ok(const json_t *o, struct err *err)
{
    const json_t *columns = json_object_get(o, "columns"), *tables = json_object_get(o, "tables");
    if (!text_of(o, "about", 1000) || !text_of(o, "plugin", 255) ||
        !json_is_boolean(json_object_get(o, "per_user")) ||
        !json_is_boolean(json_object_get(o, "full")) ||
        !(json_is_null(tables) || names_ok(tables, TABLE_MAX)))
        return bad(err, "analytic lacks a member");
    return (json_is_null(columns) || columns_ok(columns, err)) &&
           key_ok(json_object_get(o, "key"), columns, err) &&
           parameters_ok(json_object_get(o, "parameters"), err);
}

static bool processor_ok(const json_t *o, struct err *err)
{
    size_t i;
    const json_t *d, *derived = json_object_get(o, "derived");
    if (!text_of(o, "about", 1000) || !names_ok(json_object_get(o, "tables"), TABLE_MAX) ||
        !json_is_array(derived) || json_array_size(derived) > 64)
        return bad(err, "processor lacks a member");
    json_array_foreach(derived, i, d)
    {
        if (!named(d) || json_string_length(json_object_get(d, "name")) >= SCHEMA_NAME_MAX ||
            !columns_ok(json_object_get(d, "columns"), err))
            return bad(err, "derived table is not what it must be");
    }
    return true;
}

static bool function_ok(const json_t *o, struct err *err)
{
    return (text_of(o, "about", 1000) || bad(err, "function lacks a member")) &&
           columns_ok(json_object_get(o, "columns"), err) &&
           parameters_ok(json_object_get(o, "parameters"), err);
}

static bool each(const json_t *root, const char *key, bool (*ok)(const json_t *, struct err *),
                 struct err *err)
{
    size_t i;
    const json_t *o, *list = json_object_get(root, key);
    if (!json_is_array(list) || json_array_size(list) > RTP_ANALYTICS_MAX)
        return bad(err, "list of what it brings is not a list, or too long");
    bool good = true;
    json_t *seen = json_object();
    json_array_foreach(list, i, o)
    {
        if (!named(o) || !new_name(seen, json_string_value(json_object_get(o, "name"))))
            good = bad(err, "analytics, processors or functions have no sound, unique names");
        good = good && ok(o, err);
        if (!good)
            break;
    }
    json_decref(seen);
    return good;
}

static bool plugins_ok(const json_t *root, struct err *err)
{
    size_t i;
    const json_t *o, *plugins = json_object_get(root, "plugins"),
                     *failed = json_object_get(root, "failed");
    bool ok = json_is_array(plugins) && json_is_array(failed) && json_array_size(plugins) <= 256 &&
              json_array_size(failed) <= 256;
    if (ok)
        json_array_foreach(plugins, i, o) ok =
            ok && text_of(o, "name", 255) && text_of(o, "version", 255) &&
            text_of(o, "about", 1000) && text_of(o, "file", 4096);
    if (ok)
        json_array_foreach(failed, i, o) ok =
            ok && text_of(o, "file", 4096) && text_of(o, "error", RTP_SENTENCE);
    return ok || bad(err, "list of plugins is not what it must be");
}

json_t *rtp_ready_check(const char *text, size_t n, struct err *err)
{
    json_error_t je;
    json_t *o = n <= RTP_READY_MAX ? json_loadb(text, n, JSON_REJECT_DUPLICATES, &je) : NULL;
    bool ok = (json_is_object(o) || bad(err, "READY is no JSON")) && plugins_ok(o, err) &&
              each(o, "analytics", analytic_ok, err) && each(o, "processors", processor_ok, err) &&
              each(o, "functions", function_ok, err);
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

json_t *rtp_subscribed_check(const char *text, size_t n, struct err *err)
{
    json_error_t je;
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je);
    const json_t *columns = json_object_get(o, "columns");
    if (columns_ok(columns, err) && key_ok(json_object_get(o, "key"), columns, err))
        return o;
    json_decref(o);
    return NULL;
}
