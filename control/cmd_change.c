/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that change something (publish has a file of its own). Each leaves an operator mark. */
#include <errno.h>
#include <signal.h>
#include "cmd.h"
#include "core/clock.h"
#include "daemon.h"
#include "shown.h"
#include "wiring.h"

json_t *cmd_stop(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    if (!daemon_operator_mark(d, req->peer, "stop", req->args)) {
        err_set(err, -EAGAIN, "the journal is full; try again, or send SIGTERM");
        return NULL;
    }
    daemon_signal = SIGTERM;
    return json_pack("{s:s}", "done", "stopping: drains, syncs, writes the end frame");
}

json_t *cmd_ack(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    const char *code = cmd_arg(req, 0);
    if (!code || alarm_find(code) < 0) {
        err_set(err, -EINVAL, "name a raised alarm; `alarms` lists them");
        return NULL;
    }
    if (!alarm_ack(&d->alarms, clock_now(&d->clock), code)) {
        err_set(err, -EINVAL, "alarm %s is not raised", code);
        return NULL;
    }
    daemon_operator_mark(d, req->peer, "ack", req->args);
    return json_pack("{s:s}", "done", "acknowledged");
}

json_t *cmd_group(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    const char *verb = cmd_arg(req, 0), *feed = cmd_arg(req, 1), *line = cmd_arg(req, 2),
               *group = cmd_arg(req, 3), *source = cmd_arg(req, 4);
    if (!verb || strcmp(verb, "add") || !feed || !line || !group) {
        err_set(err, -EINVAL, "group add FEED LINE GROUP:PORT [SOURCE]");
        return NULL;
    }
    if (!wiring_group_add(d, feed, line, group, source, err))
        return NULL;
    daemon_operator_mark(d, req->peer, "group", req->args);
    return json_pack("{s:s}", "done", "joined");
}

json_t *cmd_config(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    const char *verb = cmd_arg(req, 0);
    if (verb && !strcmp(verb, "reload")) {
        if (!cmd_need(req, LEVEL_ADMIN, err))
            return NULL;
        json_t *r = wiring_reload(d, err);
        if (r)
            daemon_operator_mark(d, req->peer, "config", req->args);
        return r;
    }
    if (verb && strcmp(verb, "show")) {
        err_set(err, -EINVAL, "config show [--effective] or config reload");
        return NULL;
    }
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    bool ok = f && config_show_yaml(d->config, f);
    if (f)
        fclose(f);
    json_t *r = ok ? json_pack("{s:s,s:s}", "file", d->config->file, "text", text) : NULL;
    if (!r)
        err_set(err, -ENOMEM, "no memory to show the configuration");
    free(text);
    return r;
}

json_t *cmd_attach(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    if (!d->ring.sealed) {
        err_set(err, -EPERM,
                "the kernel could not seal the segments, so they are not handed out: "
                "set hugepages: off, or read the log files");
        return NULL;
    }
    req->fds[0] = d->ring.fd;
    req->fds[1] = d->symbols.fd;
    req->fds[2] = d->status->fd;
    req->nfds = 3;
    json_t *schemas = json_array();
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(d->schemas, id);
        char *text = s ? schema_to_json(s) : NULL;
        if (text)
            json_array_append_new(schemas, json_string(text));
        free(text);
    }
    const struct config *c = d->config;
    char streamer[128] = ""; /* its socket lies beside ours */
    if (c->log_streamer && strcmp(c->log_streamer, c->instance))
        snprintf(streamer, sizeof streamer, "%.80s/%.40s.sock", c->run_directory, c->log_streamer);
    return json_pack("{s:s,s:s?,s:s,s:b,s:I,s:o,s:o*,s:s*,s:s*}", "log_directory",
                     d->config->log_directory, "spill_directory", d->config->spill_directory,
                     "log_prefix", d->config->log_prefix, "include_columns", c->include_columns,
                     "written", (json_int_t)load_acquire(&d->ring.head->written), "schemas",
                     schemas, "shown", shown_json(c), "log_streamer", c->log_streamer,
                     "log_streamer_socket", *streamer ? streamer : NULL);
}
