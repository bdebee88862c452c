/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "append_wire.h"
#include "cmd.h"
#include "core/nearest.h"

const struct cmd cmd_table[] = {
#define X(name, level, args, sentence) {#name, LEVEL_##level, args, sentence, cmd_##name},
#include "cmd.def"
#undef X
};
const unsigned cmd_count = PST_COUNT(cmd_table);

static const char *const level_names[] = {"none", "view", "operate", "admin"};

const struct cmd *cmd_find(const char *name)
{
    for (unsigned i = 0; i < cmd_count; i++)
        if (!strcmp(cmd_table[i].name, name))
            return &cmd_table[i];
    return NULL;
}

const char *cmd_nearest(const char *name)
{
    const char *names[PST_COUNT(cmd_table)];
    for (unsigned i = 0; i < cmd_count; i++)
        names[i] = cmd_table[i].name;
    return nearest_word(name, names, cmd_count);
}

/* Names of the peer's end up in errors, perhaps cut within a character: what is no UTF-8 could not
 * be sent at all. */
static json_t *error_text(const char *text)
{
    json_t *t = json_string(text);
    if (t)
        return t;
    char plain[sizeof((struct err *)0)->text];
    snprintf(plain, sizeof plain, "%s", text);
    for (char *p = plain; *p; p++)
        if (*p & 0x80)
            *p = '?';
    return json_string(plain);
}

json_t *cmd_reply(json_t *id, json_t *result, const struct err *err)
{
    json_t *r = json_object();
    if (id)
        json_object_set(r, "id", id);
    json_object_set_new(r, "ok", json_boolean(result != NULL));
    if (result) {
        json_object_set_new(r, "result", result);
    } else {
        json_object_set_new(r, "error", error_text(err->text));
        json_object_set_new(r, "code", json_integer(err->code));
    }
    return r;
}

const char *cmd_arg(const struct cmd_request *req, unsigned i)
{
    return json_string_value(json_array_get(req->args, i));
}

bool cmd_flag(const struct cmd_request *req, const char *name)
{
    for (unsigned i = 0; i < json_array_size(req->args); i++) {
        const char *a = cmd_arg(req, i);
        if (a && !strcmp(a, name))
            return true;
    }
    return false;
}

const char *cmd_option(const struct cmd_request *req, const char *name)
{
    for (unsigned i = 0; i + 1 < json_array_size(req->args); i++) {
        const char *a = cmd_arg(req, i);
        if (a && !strcmp(a, name))
            return cmd_arg(req, i + 1);
    }
    return NULL;
}

bool cmd_need(const struct cmd_request *req, enum level level, struct err *err)
{
    return req->peer->level >= level ||
           err_set(err, -EACCES,
                   "this needs level %s, uid %u has %s: see `access` in the configuration",
                   level_names[level], (unsigned)req->peer->uid, level_names[req->peer->level]);
}

int64_t cmd_tail(json_t *request)
{
    const char *name = json_string_value(json_object_get(request, "cmd"));
    if (!name || strcmp(name, "append"))
        return 0;
    json_t *bytes = json_object_get(json_array_get(json_object_get(request, "args"), 0), "bytes");
    int64_t n = json_integer_value(bytes);
    if (!bytes)
        return 0;
    return json_is_integer(bytes) && n > 0 && n <= APPEND_MAX && n % 8 == 0 ? n : -1;
}

json_t *cmd_run(struct cmd_request *req, json_t *request)
{
    struct err err = {0};
    json_t *id = json_object_get(request, "id");
    const char *name = json_string_value(json_object_get(request, "cmd"));
    json_t *args = json_object_get(request, "args"), *none = NULL;
    if (!name) {
        err_set(&err, -EINVAL, "a request is {\"cmd\": NAME, \"args\": [...]}");
        return cmd_reply(id, NULL, &err);
    }
    const struct cmd *c = cmd_find(name);
    if (!c) {
        const char *near = cmd_nearest(name);
        err_set(&err, -EINVAL, "no command '%.40s'%s%s%s", name, near ? ", did you mean " : "",
                near ? near : "", near ? "?" : "; `commands` lists them");
        return cmd_reply(id, NULL, &err);
    }
    if (args && !json_is_array(args)) {
        err_set(&err, -EINVAL, "%s: args is an array", name);
        return cmd_reply(id, NULL, &err);
    }
    if (!args)
        args = none = json_array();
    req->args = args;
    json_t *result = cmd_need(req, c->level, &err) ? c->fn(req, &err) : NULL;
    json_decref(none);
    req->args = NULL;
    if (req->wait)
        return NULL;
    return cmd_reply(id, result, &err);
}

json_t *cmd_commands(struct cmd_request *req, struct err *err)
{
    (void)req, (void)err;
    json_t *a = json_array();
    for (unsigned i = 0; i < cmd_count; i++)
        json_array_append_new(a, json_pack("{s:s,s:s,s:s,s:s}", "name", cmd_table[i].name, "level",
                                           level_names[cmd_table[i].level], "args",
                                           cmd_table[i].args, "sentence", cmd_table[i].sentence));
    return a;
}
