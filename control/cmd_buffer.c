/* SPDX-License-Identifier: Apache-2.0 */
/* buffer [list] | start ID [KEY=VALUE ...] | end ID [KEY=VALUE ...] | files ID [SINCE [FILE]] |
 * replayed ID SINCE [FILE]: the last two are the halves of `penstock buffer replay`, which sends
 * the rows in between. */
#include <errno.h>
#include "buffer.h"
#include "wiring_parts.h"

#define NAME_PATIENCE (5 * NS_PER_S)

static bool number(const char *text, long long *out)
{
    char *end;
    errno = 0;
    *out = text ? strtoll(text, &end, 10) : 0;
    return text && *text && !*end && !errno;
}

static bool need_id(const struct cmd_request *req, int64_t *id, struct err *err)
{
    const char *text = cmd_arg(req, 1);
    long long n;
    if (!number(text, &n))
        return err_set(err, -EINVAL, "an event has a number: buffer %.20s 10 ..., not '%.40s'",
                       cmd_arg(req, 0), text ? text : "");
    *id = n;
    return true;
}

/* KEY=VALUE behind the id. */
static json_t *need_map(const struct cmd_request *req, struct err *err)
{
    json_t *map = json_object();
    for (unsigned i = 2; i < json_array_size(req->args); i++) {
        const char *text = cmd_arg(req, i), *equals = text ? strchr(text, '=') : NULL;
        char key[64];
        size_t n = equals ? (size_t)(equals - text) : 0;
        if (!n || n >= sizeof key) {
            err_set(err, -EINVAL, "'%.60s' is no argument: key=value", text ? text : "");
            json_decref(map);
            return NULL;
        }
        memcpy(key, text, n);
        key[n] = 0;
        if (!strcmp(key, "started") || json_object_get(map, key)) {
            err_set(err, -EINVAL,
                    strcmp(key, "started") ? "%s is given twice" : "%s is said by Penstock itself",
                    key);
            json_decref(map);
            return NULL;
        }
        json_object_set_new(map, key, json_string(equals + 1));
    }
    return map;
}

/* The answer to `end` comes when the files have their names; a disk that refuses that is not waited
 * for. */
static bool named(struct daemon *d, struct cmd_request *req)
{
    int64_t id = json_integer_value(json_object_get(req->later, "id"));
    return buffer_closed(d, id, req->later) || clock_monotonic() > req->until;
}

static json_t *change(struct cmd_request *req, bool start, struct err *err)
{
    struct daemon *d = req->daemon;
    int64_t id;
    json_t *map;
    if (!need_id(req, &id, err) || !(map = need_map(req, err)))
        return NULL;
    req->before = inject_rows_flush(wiring_control_rows(d));
    bool ok = start ? buffer_start(d, id, map, &req->ticket, err)
                    : buffer_end(d, id, map, &req->ticket, err);
    json_decref(map);
    if (!ok)
        return NULL;
    daemon_operator_mark(d, req->peer, "buffer", req->args);
    req->ack = ACK_DURABLE;
    req->wait = true;
    req->ready = start ? NULL : named;
    req->until = clock_monotonic() + NAME_PATIENCE;
    req->later = json_pack("{s:s,s:I}", "done",
                           start ? "started: rows behind this position pass its mask"
                                 : "ended: no row behind this position goes there",
                           "id", (json_int_t)id);
    return NULL;
}

json_t *cmd_buffer(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    const char *verb = cmd_arg(req, 0);
    long long since = 0;
    int64_t id;
    if (!verb || !strcmp(verb, "list"))
        return buffer_list(d);
    bool start = !strcmp(verb, "start"), files = !strcmp(verb, "files"),
         replayed = !strcmp(verb, "replayed");
    if (!start && !files && !replayed && strcmp(verb, "end")) {
        err_set(err, -EINVAL, "buffer list, start, end or replay, not '%.40s'", verb);
        return NULL;
    }
    if (!cmd_need(req, LEVEL_OPERATE, err))
        return NULL;
    if (start || !strcmp(verb, "end"))
        return change(req, start, err);
    if (!need_id(req, &id, err))
        return NULL;
    if (cmd_arg(req, 2) && !number(cmd_arg(req, 2), &since)) {
        err_set(err, -EINVAL, "'%.40s' is no position", cmd_arg(req, 2));
        return NULL;
    }
    if (files)
        return buffer_files(d, id, (uint64_t)since, cmd_arg(req, 3), err);
    /* The mark first: a crash in between leaves .complete, and the next replay finds all of its
     * rows taken. */
    req->before = inject_rows_flush(wiring_control_rows(d));
    if (!daemon_operator_mark(d, req->peer, "buffer", req->args)) {
        err_set(err, -EAGAIN, "the journal is busy; try again");
        return NULL;
    }
    req->ticket = inject_rows_flush(wiring_control_rows(d));
    req->later = buffer_replayed(d, id, (uint64_t)since, cmd_arg(req, 3), err);
    req->wait = req->later != NULL;
    req->ack = ACK_DURABLE;
    return NULL;
}
