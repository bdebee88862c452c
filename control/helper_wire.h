/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helper_wire.h - packets between penstockd (helper.c) and penstock-helper (helper_main.c), over
 * one socketpair of SEQPACKET type. Both come from one build; the magic says which.
 *
 * Request: the head, then argc + envc texts, each with its NUL. SPAWN has one text, the program's
 * file name; RUN the arguments and the environment; KILL none. Reply: the struct, of which `length`
 * bytes of text are sent; SPAWNED carries two descriptors, the worker's socket and its pidfd.
 */
#pragma once

#include "core/base.h"

#define HELPER_MAGIC  0x31485350u /* "PSH1" */
#define HELPER_FD     3           /* where both programs find their socket */
#define HELPER_PACKET 40960u

enum helper_request_kind { HELPER_SPAWN = 1, HELPER_RUN, HELPER_KILL };
enum helper_reply_kind {
    HELPER_R_SPAWNED = 1,
    HELPER_R_EXITED,
    HELPER_R_RAN,
    HELPER_R_FAILED,
    HELPER_R_RESTARTED
};

struct helper_request {
    uint32_t magic;
    uint16_t kind, argc, envc, reserved;
    int32_t timeout_ms;
    uint64_t id;
    uint32_t length; /* of the texts */
    uint32_t reserved2;
};
struct helper_reply {
    uint32_t magic;
    uint16_t kind, timed_out;
    int32_t pid, status;
    uint64_t id;
    uint32_t length;
    uint32_t command; /* FAILED: of a command, not of a worker */
    char text[480];
};
#define HELPER_REPLY_HEAD offsetof(struct helper_reply, text)

/* Splits a request's texts: argc + envc pointers into `out`. False: it is not what it says. */
static inline bool helper_request_texts(const struct helper_request *r, size_t bytes,
                                        const char **out, unsigned max)
{
    const char *p = (const char *)(r + 1), *end = p + r->length;
    unsigned n = (unsigned)r->argc + r->envc;
    if (bytes < sizeof *r || r->magic != HELPER_MAGIC || r->length != bytes - sizeof *r || n > max)
        return false;
    for (unsigned i = 0; i < n; i++) {
        const char *nul = p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;
        if (!nul)
            return false;
        out[i] = p;
        p = nul + 1;
    }
    return p == end;
}
