/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.h - one connection to a kdb+ process, as a client's thread that may wait has it: names are
 * resolved, connects and calls wait, each with a deadline; `stop`, where given, ends any wait
 * within 50 ms. TCP and unix sockets, without TLS. (A client that must not wait is client/link.c.)
 *
 * One thread at a time.
 */
#pragma once

#include "kdb/session.h"

#define KDB_LINK_ADDRESS 512u

struct kdb_link {
    int fd;             /* -1: none */
    bool local;         /* the other end is on this host */
    struct kdb_out out; /* the request to be sent; freed by its owner */
    _Atomic bool *stop; /* NULL: nobody stops it */
    /* private */
    struct kdb_session session;
    bool in_session;
};

/* [:]HOST:PORT[:USER[:PASSWORD]], /PATH or unix:PATH. `user`: where the address names none.
 * Connects and logs in; false: err, and nothing is open. */
bool kdb_link_open(struct kdb_link *l, const char *address, const char *user, int64_t timeout_ns,
                   struct err *err);
void kdb_link_close(struct kdb_link *l);
/* l->out holds a whole message: sent and emptied. */
bool kdb_link_send(struct kdb_link *l, int64_t timeout_ns, struct err *err);
enum kdb_link_verdict { KDB_LINK_MESSAGE, KDB_LINK_NOTHING, KDB_LINK_GONE };
/* The next message; waits at most so long (NOTHING). GONE: err; -EBADMSG: it spoke no kdb+. */
enum kdb_link_verdict kdb_link_next(struct kdb_link *l, struct kdb_received *m, int64_t wait_ns,
                                    struct err *err);
/* Sends l->out, which asks for `what`, and waits for the response; asynchronous messages before it
 * are passed over. False: err (the link ended, or no response in time). */
bool kdb_link_answer(struct kdb_link *l, const char *what, struct kdb_received *m,
                     int64_t timeout_ns, struct err *err);
