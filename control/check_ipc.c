/* SPDX-License-Identifier: Apache-2.0 */
/* penstockd --check, security of the IPC server: users file, certificate, what crosses networks. */
#include <time.h>
#include "address.h"
#include "check_report.h"
#include "byte_stream.h"
#include "users.h"

#define SOON_DAYS 30
#define DAY_S     86400

/* Somebody listens there, whom nobody may replace. */
static void check_validator(struct check *k, const char *path)
{
    const struct check_machine *m = k->machine;
    struct check_disk at;
    int there = m->socket(path);
    if (there != 1)
        FIND(k, SAFE_IPC_VALIDATOR,
             check_text(k, there == 2 ? "%s is no socket" : "nobody listens at %s", path));
    const char *slash = strrchr(path, '/');
    const char *directory =
        check_text(k, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    if (m->disk(directory, &at) && at.mode & 02)
        FIND(k, SAFE_IPC_VALIDATOR_OPEN, directory);
}

void check_ipc(struct check *k)
{
    const struct config_ipc *x = &k->config->ipc;
    const struct check_machine *m = k->machine;
    struct network at;
    struct address a = {.port = 0};
    struct err why = {0};
    unsigned count = 0;
    int64_t expires = 0;
    if (!x->file_line)
        return;
    if (!x->users)
        FIND(k, SAFE_IPC_OPEN);
    else if (!m->users(x->users, &count, &why))
        FIND(k, SAFE_IPC_USERS, check_text(k, "%s", why.text), x->users);
    else if (!count)
        FIND(k, SAFE_IPC_NOBODY, x->users);
    if (x->validator)
        check_validator(k, x->validator);
    if (x->certificate && x->tls != CONFIG_TLS_OFF) {
        if (!m->certificate(x->certificate, x->key, &expires, &why)) {
            FIND(k, SAFE_IPC_TLS, check_text(k, "%s", why.text));
        } else if (expires - m->now < SOON_DAYS * (int64_t)DAY_S) {
            int64_t days = (expires - m->now) / DAY_S;
            FIND(k, SAFE_IPC_EXPIRES, x->certificate,
                 expires <= m->now ? "has expired"
                                   : check_text(k, "expires in %lld days", (long long)days));
        }
    }
    if (network_parse(x->address, &at)) {
        memcpy(a.ip, at.ip, sizeof a.ip);
        if (!address_loopback(&a) && x->tls != CONFIG_TLS_REQUIRED)
            FIND(k, SAFE_IPC_CLEAR, x->address);
    }
}
