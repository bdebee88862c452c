/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a packet of a query process or of penstockd, through a real socketpair, and as a
 * request to penstock-helper: taken whole and within bounds, or refused with a reason. */
#include <sys/socket.h>
#include <unistd.h>
#include "helper_wire.h"
#include "query_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int sv[2] = {-1, -1};
    static uint8_t aligned[HELPER_PACKET] pst_aligned(8);
    if (size > HELPER_PACKET)
        return 0;
    if (sv[0] < 0)
        pst_must(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv));
    for (int i = 0; i < 2; i++) {
        char sender = i ? 'D' : 'P';
        const char *why = wire_check(data, size, 0, sender);
        struct wire_message m;
        struct err err = {0};
        bool closed;
        if (!size || send(sv[0], data, size, 0) != (ssize_t)size)
            continue;
        int k = wire_receive(sv[1], sender, &m, &closed, &err);
        pst_must(k == (why ? -1 : 1) && !closed);
        if (k < 0) {
            pst_must(*err.text);
            continue;
        }
        pst_must(m.head.length == size - sizeof m.head && m.body[m.head.length] == 0);
        pst_must(m.head.length == 0 || !memcmp(m.body, data + sizeof m.head, m.head.length));
        wire_free(&m);
    }
    const char *texts[2 * 64];
    const struct helper_request *r = (const void *)aligned;
    memcpy(aligned, data, size);
    if (helper_request_texts(r, size, texts, 2 * 64)) {
        size_t n = 0;
        for (unsigned i = 0; i < (unsigned)r->argc + r->envc; i++)
            n += strlen(texts[i]) + 1;
        pst_must(n == r->length);
    }
    return 0;
}
