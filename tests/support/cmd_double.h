/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_double.h - the daemon's side of the control socket, for tests of socket.c and cmd.c: every
 * verb answers {"verb": NAME}; `attach` hands out a descriptor, `append` says what came behind its
 * line, `publish` waits for the journal (double_acknowledged), `tables` answers with double_big
 * bytes, `stop` fails.
 */
#pragma once

#include <errno.h>
#include <unistd.h>
#include "daemon.h"
#include "socket.h"

static bool double_acknowledged;
static size_t double_big;
static int double_fd = -1;
static unsigned double_calls;
static enum level double_level = LEVEL_ADMIN;

static json_t *double_answer(const char *verb, struct cmd_request *req, struct err *err)
{
    double_calls++;
    if (!strcmp(verb, "stop")) {
        err_set(err, -EBUSY, "stop: not now");
        return NULL;
    }
    if (!strcmp(verb, "attach") && double_fd >= 0) {
        req->fds[0] = double_fd;
        req->nfds = 1;
    }
    if (!strcmp(verb, "publish")) {
        req->wait = true;
        req->later = json_pack("{s:s}", "verb", verb);
        return NULL;
    }
    json_t *r = json_pack("{s:s}", "verb", verb);
    if (req->tail) { /* append: what came behind its line */
        uint64_t sum = 0;
        for (uint32_t i = 0; i < req->tail_bytes; i++)
            sum = sum * 31 + req->tail[i];
        json_object_set_new(r, "tail", json_integer(req->tail_bytes));
        json_object_set_new(r, "sum", json_integer((json_int_t)(sum & INT32_MAX)));
    }
    if (!strcmp(verb, "tables") && double_big) {
        char *text = malloc(double_big + 1);
        pst_must(text);
        memset(text, 'x', double_big);
        text[double_big] = 0;
        json_object_set_new(r, "big", json_string(text));
        free(text);
    }
    return r;
}

/* cmd.c brings `commands` itself; this one takes its place in the expansion. */
#define cmd_commands double_commands
json_t *double_commands(struct cmd_request *req, struct err *err);
#define X(name, level, args, sentence)                                                             \
    json_t *cmd_##name(struct cmd_request *req, struct err *err)                                   \
    {                                                                                              \
        return double_answer(#name, req, err);                                                     \
    }
#include "cmd.def"
#undef X
#undef cmd_commands

bool daemon_acknowledged(struct daemon *d, struct cmd_request *req, struct err *err)
{
    (void)d;
    (void)req;
    (void)err;
    return double_acknowledged;
}
void daemon_abandoned(struct daemon *d, struct cmd_request *req)
{
    (void)d;
    (void)req;
}
static enum level double_level_of(struct daemon *d, uid_t uid, gid_t gid, pid_t pid)
{
    (void)d;
    (void)gid;
    return uid == getuid() && pid > 0 ? double_level : LEVEL_VIEW;
}
