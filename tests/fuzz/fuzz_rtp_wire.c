/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a penstock-rtp process says: a packet through a real socketpair; a stream of
 * parts, put together or refused; the JSON of READY and SUBSCRIBED; a result; an ask. Input: its
 * first byte chooses, so that each body gets its share. */
#include <sys/socket.h>
#include <unistd.h>
#include "rtp/rtp_wire.h"
#include "storage/kdb_object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void packet(const uint8_t *data, size_t size)
{
    static int sv[2] = {-1, -1};
    if (sv[0] < 0)
        pst_must(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv));
    for (int i = 0; i < 2 && size && size < 60000; i++) {
        char sender = i ? 'D' : 'R';
        const char *why = worker_check(&rtp_wire, data, size, 0, sender);
        struct wire_message m;
        struct err err = {0};
        bool closed;
        pst_must(send(sv[0], data, size, 0) == (ssize_t)size);
        int k = rtp_wire_receive(sv[1], sender, &m, &closed, &err);
        pst_must(k == (why ? -1 : 1) && !closed);
        if (k < 0)
            pst_must(*err.text);
        else
            wire_free(&m);
    }
}

/* Each 24 bytes: a part's head, then how it differs from the one that would be right. */
static void parts(const uint8_t *data, size_t size)
{
    static char body[WIRE_INLINE + 1];
    struct rtp_whole w = {0};
    uint64_t taken = 0;
    for (; size >= 24; data += 24, size -= 24) {
        struct rtp_part part;
        memcpy(&part, data, sizeof part);
        part.total %= 300000;
        if (data[16] & 1)
            part.at = w.have, part.total = w.total;
        if (data[16] & 2)
            part.zero = 0;
        uint32_t n = le16(data + 18) % (RTP_PART_BYTES + 1);
        if (data[16] & 4)
            n = RTP_PART_BYTES;
        struct wire_message m = {.body = body};
        m.head.type = data[17] % RTP_WIRE_END;
        m.head.id = data[20] & 1;
        m.head.length = n + (uint32_t)sizeof part;
        memcpy(body, &part, sizeof part);
        if (data[16] & 8)
            m.head.length = data[21];
        struct err err = {0};
        switch (rtp_whole_take(&w, &m, &err)) {
        case 1:
            pst_must(w.have == w.total && w.data && !w.data[w.total]);
            taken += w.total;
            break;
        case 0:
            pst_must(w.have < w.total && w.total <= RTP_RESULT_MAX);
            break;
        case 2:
            pst_must(!rtp_in_parts(m.head.type));
            break;
        default:
            pst_must(*err.text && !w.data && !w.have);
        }
    }
    rtp_whole_free(&w);
    pst_must(taken < (1u << 30));
}

static void bodies(const uint8_t *p, size_t n)
{
    struct err err = {0};
    struct rtp_asked a;
    struct rtp_beat b;
    char line[100];
    json_t *o = rtp_ready_check((const char *)p, n, &err);
    pst_must(o || *err.text);
    json_decref(o);
    err.text[0] = 0;
    o = rtp_subscribed_check((const char *)p, n, &err);
    pst_must(o || *err.text);
    json_decref(o);
    if (rtp_ask_view(p, n, &a)) {
        size_t length;
        void *again = rtp_ask_pack(a.name, a.user, a.params, a.nparams, &length);
        pst_must(again && length == n && !memcmp(again, p, n));
        free(again);
    }
    rtp_beat_parse(&b, p, n);
    rtp_printable(line, sizeof line, (const char *)p, n);
    for (const char *c = line; *c; c++)
        pst_must(*c >= 0x20 && *c < 0x7f);
    err.text[0] = 0;
    size_t size;
    const char *why;
    for (uint32_t rows = 0; rows < 4; rows++)
        if (rtp_result_check(p, n, rows, &err))
            pst_must(kdb_object_check(p, n, KDB_LITTLE, &size, &why) == KDB_OK && size == n);
        else
            pst_must(*err.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    packet(data, size);
    if (size) {
        parts(data + 1, size - 1);
        bodies(data + 1, size - 1);
    }
    bodies(data, size);
    return 0;
}
