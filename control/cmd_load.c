/* SPDX-License-Identifier: Apache-2.0 */
/* The verb load: a question to the loader's thread, answered when it has answered. */
#include <errno.h>
#include "cmd.h"
#include "daemon.h"
#include "loading.h"

static json_t *ask(struct cmd_request *req, json_t *question, struct err *err)
{
    req->asked = loading_ask(req->daemon->loading, question, err);
    req->wait = req->asked != 0;
    return NULL;
}

/* Arguments from the k-th on that are no options; those that take a value, with it, are left out.
 */
static json_t *words(const struct cmd_request *req, unsigned k)
{
    json_t *list = json_array();
    for (unsigned i = k; cmd_arg(req, i); i++) {
        const char *a = cmd_arg(req, i);
        if (!strcmp(a, "--batch") || !strcmp(a, "--priority"))
            i++;
        else if (*a != '-')
            json_array_append_new(list, json_string(a));
    }
    return list;
}

static bool known_options(const struct cmd_request *req, const char *const *options, unsigned n,
                          struct err *err)
{
    for (unsigned i = 1; cmd_arg(req, i); i++) {
        const char *a = cmd_arg(req, i);
        bool known = *a != '-';
        for (unsigned k = 0; k < n; k++)
            known |= !strcmp(a, options[k]);
        if (!known)
            return err_set(err, -EINVAL, "load %s: what is '%.40s'?", cmd_arg(req, 0), a);
    }
    return true;
}

static json_t *add(struct cmd_request *req, struct err *err)
{
    static const char *const options[] = {"--batch", "--supersede", "--partial", "--priority",
                                          "--yes"};
    const char *name = cmd_option(req, "--batch"), *priority = cmd_option(req, "--priority");
    json_t *files, *x;
    size_t i;
    if (!known_options(req, options, PST_COUNT(options), err))
        return NULL;
    if (cmd_flag(req, "--supersede") && !cmd_flag(req, "--yes")) {
        err_set(err, -EPERM,
                "this replaces what the database has of the files' dates and tables by what the "
                "files hold; add --yes");
        return NULL;
    }
    files = words(req, 1);
    json_array_foreach(files, i, x)
    {
        if (*json_string_value(x) != '/') {
            err_set(err, -EINVAL, "'%.100s' is no absolute path", json_string_value(x));
            json_decref(files);
            return NULL;
        }
    }
    if (!json_array_size(files)) {
        json_decref(files);
        err_set(err, -EINVAL, "load add FILE...: name the files, with their whole paths");
        return NULL;
    }
    json_t *q = json_pack("{s:s,s:o,s:b,s:b,s:i}", "ask", "add", "files", files, "supersede",
                          cmd_flag(req, "--supersede"), "partial", cmd_flag(req, "--partial"),
                          "priority", priority ? atoi(priority) : 0);
    if (name)
        json_object_set_new(q, "name", json_string(name));
    return ask(req, q, err);
}

/* What changes something is in the journal before it is done. */
static json_t *change(struct cmd_request *req, const char *verb, struct err *err)
{
    static const char *const yes[] = {"--yes"};
    const char *what = cmd_arg(req, 1);
    if (!cmd_need(req, LEVEL_OPERATE, err))
        return NULL;
    if (!req->daemon->loading) { /* before a mark says that something was done */
        loading_ask(NULL, json_object(), err);
        return NULL;
    }
    if (strcmp(verb, "add") && !known_options(req, yes, 1, err))
        return NULL;
    if ((!strcmp(verb, "cancel") || !strcmp(verb, "retry")) && (!what || *what == '-')) {
        err_set(err, -EINVAL, "load %s: which %s? penstock load batches lists them", verb,
                *verb == 'c' ? "batch" : "batch or file");
        return NULL;
    }
    if (!strcmp(verb, "cancel") && !cmd_flag(req, "--yes")) {
        err_set(err, -EPERM,
                "this gives up all that was done for batch %.100s: nothing of it will be in the "
                "database, its files stay where they are; add --yes",
                what);
        return NULL;
    }
    if (!strcmp(verb, "add")) {
        json_t *o = add(req, err);
        if (req->wait)
            daemon_operator_mark(req->daemon, req->peer, "load", req->args);
        return o;
    }
    if (!daemon_operator_mark(req->daemon, req->peer, "load", req->args)) {
        err_set(err, -EAGAIN, "the journal is busy; try again");
        return NULL;
    }
    json_t *q = json_pack("{s:s}", "ask", verb);
    if (what && *what != '-')
        json_object_set_new(q, *verb == 'r' && verb[2] == 't' ? "what" : "batch",
                            json_string(what));
    return ask(req, q, err);
}

json_t *cmd_load(struct cmd_request *req, struct err *err)
{
    static const char *const changes[] = {"pause", "resume", "cancel", "retry", "add", "rescan"},
                             *const tables[] = {"tasks", "workers", "files", "batches", "memory"};
    const char *verb = cmd_arg(req, 0);
    if (!verb || *verb == '-')
        return ask(req, json_pack("{s:s}", "ask", "status"), err);
    for (unsigned i = 0; i < PST_COUNT(tables); i++)
        if (!strcmp(verb, tables[i]))
            return ask(req,
                       json_pack("{s:s,s:s,s:b}", "ask", "table", "what", verb, "all",
                                 cmd_flag(req, "--all")),
                       err);
    if (!strcmp(verb, "plan"))
        return ask(req, json_pack("{s:s,s:o}", "ask", "plan", "what", words(req, 1)), err);
    for (unsigned i = 0; i < PST_COUNT(changes); i++)
        if (!strcmp(verb, changes[i]))
            return change(req, verb, err);
    err_set(err, -EINVAL,
            "load, load tasks|workers|files|batches|memory, pause, resume, cancel, retry, plan, "
            "add or rescan, not '%.40s'",
            verb);
    return NULL;
}
