/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>

#include "capture.h"
#include "replay.h"

struct tally {
    uint64_t sent, bytes, rewritten, cut, not_udp, too_long;
};

/* Offset of the IPv4 header of a whole, unfragmented UDP datagram, or 0. */
static uint32_t udp_ip_at(const uint8_t *f, uint32_t len)
{
    uint32_t at = 12;
    while (at + 6 <= len &&
           (be16(f + at) == 0x8100 || be16(f + at) == 0x88a8 || be16(f + at) == 0x9100))
        at += 4;
    at += 2;
    if (at + 28 > len || be16(f + at - 2) != 0x0800 || f[at] >> 4 != 4 || f[at + 9] != 17)
        return 0;
    uint32_t head = (f[at] & 15) * 4u, total = be16(f + at + 2);
    if (head < 20 || total < head + 8 || at + total > len || (be16(f + at + 6) & 0x3fff))
        return 0;
    return be16(f + at + head + 4) >= 8 && head + be16(f + at + head + 4) <= total ? at : 0;
}

static bool rewrite(const struct opts *o, uint8_t *f, uint32_t ip_at)
{
    uint8_t *ip = f + ip_at, *udp = ip + (ip[0] & 15) * 4;
    for (uint32_t i = 0; i < o->rewrite_n; i++) {
        if (be32(ip + 16) != o->rewrite[i].from || be16(udp + 2) != o->rewrite[i].from_port)
            continue;
        uint32_t to = o->rewrite[i].to;
        put_be32(ip + 16, to);
        put_be16(udp + 2, o->rewrite[i].to_port);
        if (to >> 28 == 14) {
            static const uint8_t multicast[3] = {1, 0, 0x5e};
            memcpy(f, multicast, 3);
            f[3] = (uint8_t)(to >> 16 & 0x7f);
            f[4] = (uint8_t)(to >> 8);
            f[5] = (uint8_t)to;
        }
        if (ip[0] == 0x45)
            wire_checksums(f, ip_at, be16(udp + 6) != 0);
        return true;
    }
    return false;
}

static bool one_pass(const struct opts *o, struct out *out, const volatile int *stop,
                     int64_t *shift, struct tally *t, struct err *e)
{
    static uint8_t frame[WIRE_FRAME_MAX];
    struct capture c;
    bool ok = capture_open(&c, o->replay, e);
    int64_t last = *shift;
    bool first = true;
    int more = 0;
    while (ok && !*stop && (more = capture_next(&c, e)) > 0) {
        if (c.link != 1) {
            ok = err_set(e, -EINVAL, "%s: link type %u; only Ethernet can be sent", o->replay,
                         c.link);
            break;
        }
        if (c.len < c.wire_len) {
            t->cut++;
            continue;
        }
        if (c.len > sizeof frame || c.len < 14) {
            t->too_long++;
            continue;
        }
        memcpy(frame, c.data, c.len);
        uint32_t ip_at = udp_ip_at(frame, c.len), udp_at = 0;
        if (ip_at) {
            udp_at = ip_at + (frame[ip_at] & 15) * 4u;
            t->rewritten += rewrite(o, frame, ip_at);
        } else if (out->kind == OUT_UDP) {
            t->not_udp++;
            continue;
        }
        if (first && *shift) /* a later pass follows 1 ms after the one before */
            *shift += 1000000 - c.utc;
        first = false;
        int64_t utc = o->pps > 0 ? (int64_t)((double)t->sent * 1e9 / o->pps) : c.utc + *shift;
        last = utc > last ? utc : last;
        t->sent++;
        t->bytes += c.len;
        ok = out_frame(out, 0, last, frame, c.len, udp_at, e);
    }
    capture_close(&c);
    *shift = last;
    return ok && more >= 0;
}

int replay_run(const struct opts *o, struct out *out, const volatile int *stop, struct err *e)
{
    struct tally t = {0};
    int64_t shift = 0, began = out_clock();
    bool ok = true;
    for (uint32_t i = 0; ok && !*stop && (o->loop == 0 || i < o->loop); i++)
        ok = one_pass(o, out, stop, &shift, &t, e);
    struct err closing = {0};
    if (!out_close(out, &closing) && ok) {
        ok = false;
        *e = closing;
    }
    double wall = (double)(out_clock() - began) / 1e9;
    if (o->report) {
        FILE *f = strcmp(o->report, "-") ? fopen(o->report, "we") : stdout;
        if (!f) {
            err_set(e, -errno, "cannot create %s: %s", o->report, strerror(errno));
            return 1;
        }
        fprintf(f,
                "{\"program\": \"penstock-sim\", \"replay\": true, \"complete\": %s, \"packets\": "
                "%" PRIu64 ", \"bytes\": %" PRIu64 ", \"rewritten\": %" PRIu64
                ", \"left_out\": {\"cut\": %" PRIu64 ", \"not_udp\": %" PRIu64
                ", \"size\": %" PRIu64 "}, \"wall_seconds\": %.6f}\n",
                ok && !*stop ? "true" : "false", t.sent, t.bytes, t.rewritten, t.cut, t.not_udp,
                t.too_long, wall);
        if ((f == stdout ? fflush(f) : fclose(f)) != 0) {
            err_set(e, -EIO, "cannot write the report %s", o->report);
            return 1;
        }
    }
    if (!o->quiet)
        fprintf(stderr,
                "penstock-sim: replayed %" PRIu64 " packets, %" PRIu64
                " bytes in %.3f s; left out %" PRIu64 "\n",
                t.sent, t.bytes, wall, t.cut + t.not_udp + t.too_long);
    return ok ? 0 : 1;
}
