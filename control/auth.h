/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth.h - who a connection is. All that costs time or may block on the way in: password checks,
 * TLS handshakes, and the groups of unix peers, on a thread of its own ("auth", nice 5), so that a
 * publish thread never computes PBKDF2 or RSA and never asks a name service.
 *
 *   publish N ─ auth_login, auth_handshake, auth_peer ─► queue ─► auth ─► mailbox N (eventfd)
 *
 * RATE. At most `rate` password checks start in any second, over all publish threads, spaced
 * evenly. Those that wait stand in one queue of AUTH_QUEUE; at most a quarter of it is from one
 * address, and addresses take turns, so that one flooding host does not shut out the others (a /64
 * of IPv6 is one address; so is loopback; unix peers do not wait). Whoever finds it full is refused
 * at once (auth.overflow), whoever has waited login_timeout since it came is refused then
 * (auth.timeout). Every refusal is the same to the client: the connection closes without a byte.
 *
 * VALIDATOR. The password of a user with `scram: external` is checked by another program
 * (validator.h), in its turn like any other and within the rate; meanwhile the thread goes on: up
 * to VALIDATOR_CALLS are asked at once, each for VALIDATOR_NS and never beyond login_timeout.
 * Networks are looked at first. A validator that is gone, slow or says nonsense refuses
 * (auth.validator_failed, alarm ipc.validator until it answers again). Its word is not cached: each
 * login asks. How long it takes shows that a name is one of these users.
 *
 * CACHE. A check that succeeded is remembered for AUTH_CACHE_NS: HMAC-SHA-256 under a random key of
 * this process over (generation of the users file, user, password), one entry for each (user,
 * address), at most AUTH_CACHE of them. A hit is answered without waiting; it needs the very
 * password, and ends with the load of the users file it was made under. A look that misses is a
 * guess that did not pay for the rate: the third one drops the entry, so that guessing gains at
 * most three guesses for each full check that succeeded.
 *
 * COST. Unknown users, and users with fewer iterations than others, cost what the dearest verifier
 * costs (scram_check).
 *
 * HANDSHAKES. From auth_handshake to its result the stream belongs to the auth thread: the caller
 * takes its descriptor out of its epoll, and neither touches nor frees it. Their deadline is
 * login_timeout too; AUTH_HANDSHAKES at once, further ones are refused.
 *
 * THREADS: a mailbox belongs to one publish thread. auth_open, start, stop, close, auth_access:
 * control.
 */
#pragma once

#include "address.h"
#include "cmd.h"
#include "config.h"
#include "core/status.h"
#include "byte_stream.h"
#include "users.h"

#define AUTH_QUEUE      1024u
#define AUTH_HANDSHAKES 1024u
#define AUTH_MAILBOXES  8u
#define AUTH_CACHE      1024u
#define AUTH_CACHE_NS   (300ll * 1000000000)

struct access;
struct auth;
struct auth_mailbox;

struct auth_config {
    struct users *users;
    struct tls *tls;           /* NULL: no handshakes */
    const char *validator;     /* its socket; NULL: none. The caller's, as long as auth lives */
    struct access *access;     /* loads of the users file are logged; NULL: not */
    struct status *status;     /* counters, and the thread's figures */
    const struct clock *clock; /* the thread's skeleton; deadlines use now() */
    int64_t (*now)(void *);    /* monotonic ns; NULL: clock_monotonic. Tests bring their own */
    void *now_arg;
    int64_t rate;          /* checks a second */
    int64_t login_timeout; /* ns */
    uid_t uid;             /* of the daemon: it and root are admin over the unix socket */
};

struct auth *auth_open(const struct auth_config *c, struct err *err);
bool auth_start(struct auth *a, struct err *err);
void auth_stop(struct auth *a);  /* streams that were handed over are given back as refused */
void auth_close(struct auth *a); /* NULL is allowed */
/* One step, without a thread: tests. Returns how much was done. */
int auth_work(void *auth);

/* The lists of the key `access`, for unix peers; at the start and after each reload, as are the
 * live keys auth_rate and login_timeout. */
void auth_access(struct auth *a, const struct config_access *access);
void auth_limits(struct auth *a, int64_t rate, int64_t login_timeout);

/* One for each publish thread; before auth_start. Lives as long as auth. */
struct auth_mailbox *auth_mailbox(struct auth *a);
int auth_fd(const struct auth_mailbox *m); /* readable when auth_next has something */

/* What is asked. token: the caller's, unique among its waiting ones. `came`: monotonic ns of the
 * connection's accept. False: refused at once, because the queue is full (counted). */
bool auth_login(struct auth_mailbox *m, uint64_t token, const struct address *from, int64_t came,
                const char *user, size_t user_len, const char *password, size_t password_len);
bool auth_handshake(struct auth_mailbox *m, uint64_t token, const struct address *from,
                    int64_t came, struct stream *s);
/* from: address_local; gid: SO_PEERCRED's. Needs no password. */
bool auth_peer(struct auth_mailbox *m, uint64_t token, const struct address *from, gid_t gid);

enum auth_kind { AUTH_LOGIN, AUTH_HANDSHAKE, AUTH_PEER };
enum auth_verdict {
    AUTH_ACCEPTED,
    AUTH_PASSWORD, /* wrong password or no such user: not told apart */
    AUTH_NETWORK,  /* the user may not come from there */
    AUTH_TIMEOUT,  /* waited longer than login_timeout */
    AUTH_TLS,      /* the handshake failed; text says why */
    AUTH_LEVEL,    /* a unix peer without the level view */
    AUTH_STOPPED,
    AUTH_EXTERNAL,  /* the validator said no */
    AUTH_VALIDATOR, /* it could not be asked; either text says why */
};
struct auth_result {
    uint64_t token;
    enum auth_kind kind;
    enum auth_verdict verdict;
    const struct user *user; /* ACCEPTED of LOGIN and PEER: held, the caller's to release */
    enum level level;        /* of PEER */
    char text[128];          /* refused: a sentence for the access log, not for the client */
};
/* The next answer; false: none. Reads the eventfd when the last one was taken. */
bool auth_next(struct auth_mailbox *m, struct auth_result *out);
/* The connection is gone: a login or peer is forgotten (no result comes, unless it is under way:
 * then it comes and is released by the caller as ever). A handshake still gets its result, soon. */
void auth_cancel(struct auth_mailbox *m, uint64_t token);

const char *auth_verdict_text(enum auth_verdict v); /* "password", "network" … */
/* "" unless the validator failed when it was asked last; any thread. */
void auth_problem(struct auth *a, char out[500]);
unsigned auth_waiting(struct auth *a); /* any thread */
