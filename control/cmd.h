/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd.h - the verbs of the control socket (cmd.def). All run on the control thread.
 *
 * A request is {"cmd": "feed", "args": [...], "id": any}; a reply {"id":…, "ok": true, "result": …}
 * or {"id":…, "ok": false, "error": "one sentence", "code": -errno}.
 *
 * A handler returns a new reference to its result, or NULL with `err` filled. A handler that has to
 * wait for the journal (publish, stop) sets req->wait instead of answering; control finishes it
 * when the journal is there (cmd_finish), never blocking its thread.
 */
#pragma once

#include <jansson.h>
#include <sys/types.h>
#include "core/base.h"

struct daemon;
struct query;

enum level { LEVEL_NONE, LEVEL_VIEW, LEVEL_OPERATE, LEVEL_ADMIN };

struct peer {
    uid_t uid;
    gid_t gid;
    pid_t pid;
    enum level level;
};

enum ack_level { ACK_SUBMITTED, ACK_WRITTEN, ACK_DURABLE };

struct cmd_request {
    struct daemon *daemon;
    const struct peer *peer;
    json_t *args;  /* array of strings (and, for publish, one object); borrowed */
    uint8_t *tail; /* the bytes behind the line (append); 8-aligned, the handler may change them */
    uint32_t tail_bytes;
    /* out */
    bool wait;       /* answer later */
    uint64_t ticket; /* inject ticket to wait for */
    uint64_t before; /* the last ticket that is not of this request */
    uint64_t from;   /* where the journal stood then */
    enum ack_level ack;
    json_t *later;                                            /* the result to send then */
    bool (*ready)(struct daemon *d, struct cmd_request *req); /* asked then; NULL: at once */
    int64_t until;                                            /* of `ready`: monotonic */
    json_t *sent;        /* and what was sent, should it be refused then; a reference */
    bool opening;        /* append: the answer is where the source stands once `ticket` is taken */
    char source[65];     /* … this one */
    uint64_t asked;      /* or: wait for the loader's answer to this question (loading.h) */
    uint64_t asked_rtp;  /* or: for that of the thread rtp (rtp.h) */
    struct query *query; /* or: wait for this query (query_pool.h) and answer with its outcome */
    bool logged;         /* its text and what becomes of it go into the access log */
    int fds[4];          /* descriptors to send with the reply; not closed, unless close_fds */
    unsigned nfds;
    bool close_fds;
};

typedef json_t *cmd_fn(struct cmd_request *req, struct err *err);

struct cmd {
    const char *name;
    enum level level;
    const char *args, *sentence;
    cmd_fn *fn;
};
extern const struct cmd cmd_table[];
extern const unsigned cmd_count;

const struct cmd *cmd_find(const char *name); /* NULL = none */
const char *cmd_nearest(const char *name);    /* for "did you mean" */

/* Runs one request line (parsed JSON). Returns the reply, or NULL when it has to wait (req->wait).
 */
json_t *cmd_run(struct cmd_request *req, json_t *request);
/* Bytes that follow the request's line at once; -1: it lies about them, and what follows on the
 * connection cannot be made out. */
int64_t cmd_tail(json_t *request);
json_t *cmd_reply(json_t *id, json_t *result, const struct err *err); /* steals result */

/* control/cmd_publish.c: a batch of args is refused, perhaps after it had waited. */
void cmd_publish_refused(struct cmd_request *req, json_t *args, const struct err *err);
/* cmd_append.c: the answer to an opening, when what was sent before it was taken. */
json_t *append_opened(struct daemon *d, enum level level, const char *source);

/* Helpers for handlers. cmd_arg: the i-th argument as text, or NULL. */
const char *cmd_arg(const struct cmd_request *req, unsigned i);
bool cmd_flag(const struct cmd_request *req, const char *name);          /* --name present */
const char *cmd_option(const struct cmd_request *req, const char *name); /* --name VALUE */
bool cmd_need(const struct cmd_request *req, enum level level, struct err *err);

#define X(name, level, args, sentence) cmd_fn cmd_##name;
#include "cmd.def"
#undef X
