/* SPDX-License-Identifier: Apache-2.0 */
/* capture.h - the simulator's own reader of pcap and pcapng files, plain or gzip. One thread. */
#pragma once

#include <core/base.h>

struct capture {
    void *gz;
    const char *path;
    bool ng, swap, nanos;
    uint32_t link;
    struct {
        uint32_t link;
        int64_t per_second;
    } iface[64];
    uint32_t iface_n;
    uint8_t *buf;
    uint32_t cap;
    /* the packet read last */
    const uint8_t *data;
    uint32_t len, wire_len;
    int64_t utc;
};

bool capture_open(struct capture *c, const char *path, struct err *e);
/* 1 = a packet, 0 = the end (a cut last record is an end), -1 = err says why. */
int capture_next(struct capture *c, struct err *e);
void capture_close(struct capture *c);
