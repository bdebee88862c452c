/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs about connections of kdb+ IPC. */
#include <errno.h>
#include "cmd.h"
#include "daemon.h"
#include "publish/server.h"

json_t *cmd_clients(struct cmd_request *req, struct err *err)
{
    (void)err;
    return json_pack("{s:o,s:o}", "clients", server_clients(req->daemon->server), "subscribers",
                     server_brief(req->daemon->server));
}

json_t *cmd_kick(struct cmd_request *req, struct err *err)
{
    const char *id = cmd_arg(req, 0);
    char *end = NULL, by[64];
    unsigned long long n = id ? strtoull(id, &end, 10) : 0;
    if (!n || *end) {
        err_set(err, -EINVAL, "kick takes the number of a connection; `clients` lists them");
        return NULL;
    }
    snprintf(by, sizeof by, "uid %u", (unsigned)req->peer->uid);
    if (!server_kick(req->daemon->server, n, by)) {
        err_set(err, -ENOENT, "there is no connection %llu; `clients` lists them", n);
        return NULL;
    }
    daemon_operator_mark(req->daemon, req->peer, "kick", req->args);
    return json_pack("{s:s}", "done", "closing it");
}
