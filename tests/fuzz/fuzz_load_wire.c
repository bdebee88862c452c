/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a packet of a loader's worker or of penstockd, through a real socketpair: taken
 * whole and within bounds, or refused with a reason; then as the body of a beat and of a result. */
#include <sys/socket.h>
#include <unistd.h>
#include "load_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void bodies(const char *p, size_t n)
{
    struct load_beat b;
    struct load_done d;
    struct err err = {0};
    char text[512];
    if (load_beat_parse(&b, p, n, &err)) {
        size_t k = load_beat_print(&b, text);
        struct load_beat again;
        pst_must(k < sizeof text && load_beat_parse(&again, text, k, &err));
        pst_must(again.rows == b.rows && again.bytes == b.bytes && again.total == b.total);
    } else
        pst_must(err.text[0]);
    if (!load_done_parse(&d, p, n, &err)) {
        pst_must(err.text[0] && !d.result);
        return;
    }
    pst_must(d.success ? (!d.result || json_is_object(d.result)) && !d.code
                       : !d.result && d.code < 0);
    for (const char *c = d.error; *c; c++)
        pst_must((uint8_t)*c >= 0x20 && *c != 0x7f);
    char *printed = load_done_print(&d);
    struct load_done again;
    pst_must(printed && load_done_parse(&again, printed, strlen(printed), &err));
    pst_must(again.code == d.code && again.success == d.success);
    json_decref(again.result);
    json_decref(d.result);
    free(printed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int sv[2] = {-1, -1};
    if (size > 60000)
        return 0;
    if (sv[0] < 0)
        pst_must(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv));
    for (int i = 0; i < 2; i++) {
        char sender = i ? 'D' : 'W';
        const char *why = load_wire_check(data, size, 0, sender);
        struct wire_message m;
        struct err err = {0};
        bool closed;
        if (!size || send(sv[0], data, size, 0) != (ssize_t)size)
            continue;
        int k = load_wire_receive(sv[1], sender, &m, &closed, &err);
        pst_must(k == (why ? -1 : 1) && !closed);
        if (k < 0) {
            pst_must(*err.text);
            continue;
        }
        pst_must(m.head.length == size - sizeof m.head && m.body[m.head.length] == 0);
        pst_must(!memcmp(m.body, data + sizeof m.head, m.head.length));
        bodies(m.body, m.head.length);
        wire_free(&m);
    }
    bodies((const char *)data, size);
    return 0;
}
