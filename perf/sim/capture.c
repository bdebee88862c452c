/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <zlib.h>

#include "capture.h"

#define RECORD_MAX (1u << 20)

static uint32_t u32(const struct capture *c, const uint8_t *p)
{
    return c->swap ? __builtin_bswap32(le32(p)) : le32(p);
}

static uint32_t u16(const struct capture *c, const uint8_t *p)
{
    return c->swap ? __builtin_bswap16(le16(p)) : le16(p);
}

static bool take(struct capture *c, void *to, uint32_t n)
{
    return gzread(c->gz, to, n) == (int)n;
}

static bool room(struct capture *c, uint32_t n)
{
    if (n > RECORD_MAX)
        return false;
    if (n > c->cap) {
        uint8_t *p = realloc(c->buf, n);
        if (!p)
            return false;
        c->buf = p;
        c->cap = n;
    }
    return true;
}

bool capture_open(struct capture *c, const char *path, struct err *e)
{
    uint8_t h[24];
    *c = (struct capture){.path = path};
    c->gz = gzopen(path, "rbe");
    if (!c->gz)
        return err_set(e, -errno, "cannot open %s: %s", path, strerror(errno));
    gzbuffer(c->gz, 1 << 18);
    if (!take(c, h, 4))
        return err_set(e, -EINVAL, "%s is too short for a capture", path);
    uint32_t magic = le32(h);
    if (magic == 0x0a0d0d0a) {
        c->ng = true;
        gzrewind(c->gz);
        return true;
    }
    c->swap = magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1;
    c->nanos = magic == 0xa1b23c4d || magic == 0x4d3cb2a1;
    if (!c->swap && !c->nanos && magic != 0xa1b2c3d4)
        return err_set(e, -EINVAL, "%s is neither pcap nor pcapng", path);
    if (!take(c, h + 4, 20))
        return err_set(e, -EINVAL, "%s is too short for a capture", path);
    c->link = u32(c, h + 20) & 0xffff;
    return true;
}

static int next_pcap(struct capture *c, struct err *e)
{
    uint8_t h[16];
    if (!take(c, h, 16))
        return 0;
    c->len = u32(c, h + 8);
    c->wire_len = u32(c, h + 12);
    c->utc =
        u32(c, h) * INT64_C(1000000000) + u32(c, h + 4) * (c->nanos ? INT64_C(1) : INT64_C(1000));
    if (!room(c, c->len)) {
        err_set(e, -EINVAL, "%s: a record of %u bytes; the file is damaged", c->path, c->len);
        return -1;
    }
    if (!take(c, c->buf, c->len))
        return 0;
    c->data = c->buf;
    return 1;
}

static void ng_interface(struct capture *c, const uint8_t *b, uint32_t len)
{
    if (c->iface_n == PST_COUNT(c->iface))
        return;
    int64_t per = 1000000;
    for (uint32_t at = 8; at + 4 <= len;) {
        uint32_t code = u16(c, b + at), n = u16(c, b + at + 2);
        if (code == 0 || at + 4 + n > len)
            break;
        if (code == 9 && n >= 1) { /* if_tsresol */
            uint8_t r = b[at + 4];
            per = 1;
            for (int i = 0; i < (r & 0x7f) && per < (INT64_C(1) << 50); i++)
                per *= r & 0x80 ? 2 : 10;
        }
        at += 4 + ((n + 3) & ~3u);
    }
    c->iface[c->iface_n].link = u16(c, b);
    c->iface[c->iface_n++].per_second = per;
}

static int next_ng(struct capture *c, struct err *e)
{
    for (;;) {
        uint8_t h[12];
        if (!take(c, h, 8))
            return 0;
        uint32_t type = le32(h), len;
        if (type == 0x0a0d0d0a) { /* a section: its byte order comes first */
            if (!take(c, h + 8, 4))
                return 0;
            c->swap = le32(h + 8) == 0x4d3c2b1a;
            c->iface_n = 0;
            len = u32(c, h + 4);
            if (len < 28 || !room(c, len)) {
                err_set(e, -EINVAL, "%s: a damaged section header", c->path);
                return -1;
            }
            if (!take(c, c->buf, len - 12))
                return 0;
            continue;
        }
        type = c->swap ? __builtin_bswap32(type) : type;
        len = u32(c, h + 4);
        if (len < 12 || (len & 3) || !room(c, len)) {
            err_set(e, -EINVAL, "%s: a block of %u bytes; the file is damaged", c->path, len);
            return -1;
        }
        if (!take(c, c->buf, len - 8))
            return 0;
        const uint8_t *b = c->buf;
        uint32_t body = len - 12;
        if (type == 1 && body >= 8)
            ng_interface(c, b, body);
        if (type != 6 || body < 20)
            continue;
        uint32_t i = u32(c, b);
        uint64_t t = (uint64_t)u32(c, b + 4) << 32 | u32(c, b + 8);
        int64_t per = i < c->iface_n ? c->iface[i].per_second : 1000000;
        c->link = i < c->iface_n ? c->iface[i].link : 1;
        c->len = u32(c, b + 12);
        c->wire_len = u32(c, b + 16);
        if (c->len > body - 20) {
            err_set(e, -EINVAL, "%s: a packet is longer than its block", c->path);
            return -1;
        }
        c->utc = (int64_t)(t / (uint64_t)per) * 1000000000 +
                 (int64_t)((__uint128_t)(t % (uint64_t)per) * 1000000000 / (uint64_t)per);
        c->data = b + 20;
        return 1;
    }
}

int capture_next(struct capture *c, struct err *e)
{
    return c->ng ? next_ng(c, e) : next_pcap(c, e);
}

void capture_close(struct capture *c)
{
    if (c->gz)
        gzclose(c->gz);
    free(c->buf);
    *c = (struct capture){0};
}
