/* SPDX-License-Identifier: Apache-2.0 */
/* The verb rtp: a question to the thread of that name, answered when it has answered. */
#include <errno.h>
#include "cmd.h"
#include "core/clock.h"
#include "daemon.h"
#include "rtp/rtp.h"

#define CALL_NS (60 * NS_PER_S)

static json_t *ask(struct cmd_request *req, json_t *question, struct err *err)
{
    req->asked_rtp = rtp_ask(req->daemon, question, err);
    req->wait = req->asked_rtp != 0;
    return NULL;
}

/* What changes something is in the journal before it is done. */
static bool noted(struct cmd_request *req, struct err *err)
{
    return daemon_operator_mark(req->daemon, req->peer, "rtp", req->args) ||
           err_set(err, -EAGAIN, "the journal is busy; try again");
}

static json_t *call(struct cmd_request *req, const char *where, struct err *err)
{
    const char *name = cmd_arg(req, 2);
    char group[64];
    json_t *params = json_object();
    unsigned k = 0;
    snprintf(group, sizeof group, "%.63s", where);
    char *slash = strchr(group, '/');
    if (slash) {
        char *end;
        k = (unsigned)strtoul(slash + 1, &end, 10);
        *slash = 0;
        if (*end || !slash[1]) {
            json_decref(params);
            err_set(err, -EINVAL, "'%.60s' is no GROUP or GROUP/NUMBER", where);
            return NULL;
        }
    }
    for (unsigned i = 3; cmd_arg(req, i); i++) {
        const char *a = cmd_arg(req, i), *equals = strchr(a, '=');
        char key[65];
        if (!equals || equals == a || equals - a > 64) {
            json_decref(params);
            err_set(err, -EINVAL, "'%.60s' is no PARAMETER=VALUE", a);
            return NULL;
        }
        snprintf(key, sizeof key, "%.*s", (int)(equals - a), a);
        json_object_set_new(params, key, json_string(equals + 1));
    }
    return ask(req,
               json_pack("{s:s,s:s,s:i,s:s,s:o,s:I}", "do", "call", "group", group, "k", (int)k,
                         "name", name ? name : "", "params", params, "timeout_ns",
                         (json_int_t)CALL_NS),
               err);
}

static bool is_change(const char *verb)
{
    return !strcmp(verb, "start") || !strcmp(verb, "stop") || !strcmp(verb, "restart") ||
           !strcmp(verb, "debug");
}

json_t *cmd_rtp(struct cmd_request *req, struct err *err)
{
    const char *verb = cmd_arg(req, 0), *group = cmd_arg(req, 1), *what = cmd_arg(req, 2);
    if (!verb || !strcmp(verb, "list"))
        return ask(req, json_pack("{s:s,s:s}", "do", "list", "group", group ? group : ""), err);
    bool load = !strcmp(verb, "load") || !strcmp(verb, "unload"), change = is_change(verb),
         calls = !strcmp(verb, "call"), debug = !strcmp(verb, "debug");
    if (!load && !change && !calls) {
        err_set(err, -EINVAL,
                "rtp list, start, stop, restart, debug, call, load or unload, not '%.40s'", verb);
        return NULL;
    }
    if (!cmd_need(req, load ? LEVEL_ADMIN : LEVEL_OPERATE, err))
        return NULL;
    if (!group) {
        err_set(err, -EINVAL, "rtp %s: which group? penstock rtp list shows them", verb);
        return NULL;
    }
    if ((load || calls) && !what) {
        err_set(err, -EINVAL, "rtp %s %.60s: which %s?", verb, group,
                calls ? "function" : "file, with its whole path");
        return NULL;
    }
    if (debug && (!what || (strcmp(what, "on") != 0 && strcmp(what, "off") != 0))) {
        err_set(err, -EINVAL, "rtp debug %.60s on, or off", group);
        return NULL;
    }
    if (!noted(req, err))
        return NULL;
    if (calls)
        return call(req, group, err);
    return ask(req,
               json_pack("{s:s,s:s,s:s,s:b}", "do", verb, "group", group, "file", load ? what : "",
                         "on", debug && !strcmp(what, "on")),
               err);
}
