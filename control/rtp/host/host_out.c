/* SPDX-License-Identifier: Apache-2.0 */
/* Packets to penstockd: queued in the order of the calls, sent many at a time. */
#include <errno.h>
#include <sys/poll.h> /* poll.h is the data plane's */
#include <sys/socket.h>
#include <unistd.h>
#include "host.h"

#define QUEUE   (1u << 20)
#define PACKETS 256u
#define BATCH   32u

static struct {
    uint8_t *bytes;
    size_t used;
    struct iovec packet[PACKETS];
    unsigned n;
} queue;

bool host_out_waits(const struct host *h)
{
    (void)h;
    return queue.n != 0;
}

void host_out_flush(struct host *h)
{
    unsigned at = 0;
    while (at < queue.n) {
        struct mmsghdr m[BATCH];
        unsigned n = queue.n - at < BATCH ? queue.n - at : BATCH;
        memset(m, 0, n * sizeof *m);
        for (unsigned i = 0; i < n; i++) {
            m[i].msg_hdr.msg_iov = &queue.packet[at + i];
            m[i].msg_hdr.msg_iovlen = 1;
        }
        int k = sendmmsg(h->fd, m, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (k > 0) {
            at += (unsigned)k;
            continue;
        }
        struct pollfd p = {h->fd, POLLOUT, 0};
        if (errno == EAGAIN || errno == ENOBUFS)
            poll(&p, 1, 1000);
        else if (errno != EINTR)
            _exit(0); /* penstockd is gone */
    }
    queue.n = 0;
    queue.used = 0;
}

/* Room for one packet's body. */
static uint8_t *packet(struct host *h, unsigned type, uint64_t id, uint64_t value, size_t n)
{
    size_t whole = sizeof(struct wire_header) + n;
    if (!queue.bytes && !(queue.bytes = malloc(QUEUE)))
        host_die(h, "no memory");
    if (queue.n == PACKETS || queue.used + whole > QUEUE)
        host_out_flush(h);
    struct wire_header head = {.magic = RTP_WIRE_MAGIC,
                               .version = RTP_WIRE_VERSION,
                               .type = (uint16_t)type,
                               .length = (uint32_t)n,
                               .id = id,
                               .value = value};
    uint8_t *p = queue.bytes + queue.used;
    memcpy(p, &head, sizeof head);
    queue.packet[queue.n++] = (struct iovec){p, whole};
    queue.used += (whole + 7) & ~(size_t)7;
    return p + sizeof head;
}

void host_say_two(struct host *h, unsigned type, uint64_t id, uint64_t value, const void *a,
                  size_t na, const void *b, size_t nb)
{
    uint8_t *p = packet(h, type, id, value, na + nb);
    if (na)
        memcpy(p, a, na);
    if (nb)
        memcpy(p + na, b, nb);
}

void host_say(struct host *h, unsigned type, uint64_t id, uint64_t value, const void *body,
              size_t n, uint32_t rows)
{
    if (h->say) {
        h->say(h, type, id, value, body, n, rows);
        return;
    }
    if (!rtp_in_parts(type)) {
        host_say_two(h, type, id, value, body, n, NULL, 0);
        return;
    }
    struct rtp_part part = {(uint32_t)n, 0, rows, 0};
    do {
        size_t k = n - part.at < RTP_PART_BYTES ? n - part.at : RTP_PART_BYTES;
        host_say_two(h, type, id, value, &part, sizeof part, (const uint8_t *)body + part.at, k);
        part.at += (uint32_t)k;
    } while (part.at < n);
}

void host_say_text(struct host *h, unsigned type, uint64_t id, const char *text)
{
    size_t most = rtp_wire.kind[type].most;
    host_say(h, type, id, 0, text, strnlen(text, most), 0);
}
