/* SPDX-License-Identifier: Apache-2.0 */
/*
 * validator.h - asks another program whether a password is right (key ipc.validator): LDAP, PAM, a
 * company's own directory. For users whose entry says `scram: external`.
 *
 * The program listens on a unix stream socket. Each question has a connection of its own:
 *   we    {"user":"alice","password":"…","address":"10.1.2.3","port":40112}\n
 *   they  {"ok":true}\n                       or {"ok":false,"reason":"locked since monday"}\n
 * The answer is one object in at most VALIDATOR_ANSWER bytes, ended by a line end or by the end of
 * the stream. Text of both is UTF-8: a password that is not is not asked about. Anything else, no
 * answer within VALIDATOR_NS, nobody at the socket: failed, and the login is refused.
 *
 * Whoever may replace the socket reads passwords: its directory must be writable by the validator
 * and root only. The reason goes into the access log, never to the client.
 *
 * Our copy of a password is wiped once it is sent, and at validator_end. A call never blocks; its
 * owner waits for validator_events on fd (-1: the socket's queue is full; step again soon) and for
 * the deadline. THREAD: the owner's (auth).
 */
#pragma once

#include "address.h"

#define VALIDATOR_CALLS    128u /* at once; further ones are refused */
#define VALIDATOR_NS       (2 * 1000000000ll)
#define VALIDATOR_ANSWER   2048u
#define VALIDATOR_QUESTION 16384u

enum validator_state {
    VALIDATOR_WAITS,
    VALIDATOR_YES,
    VALIDATOR_NO,
    VALIDATOR_FAILED,
    VALIDATOR_UNFIT /* of validator_begin: a password that cannot be asked about */
};

struct validator_call {
    int fd;
    bool live;
    const char *path;
    char *line; /* the question; NULL: none left to send */
    uint32_t len, sent, got;
    char answer[VALIDATOR_ANSWER + 1];
};

/* path stays the caller's. Anything but WAITS: it is ended already; why is a sentence, unless YES.
 */
enum validator_state validator_begin(struct validator_call *c, const char *path, const char *user,
                                     size_t user_len, const char *password, size_t password_len,
                                     const struct address *from, char why[128]);
/* Goes on. NO and FAILED: why is a sentence. */
enum validator_state validator_step(struct validator_call *c, char why[128]);
uint32_t validator_events(const struct validator_call *c);
void validator_end(struct validator_call *c);
