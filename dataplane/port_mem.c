/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port_mem.c - packets in memory, handed out again and again as fast as they are asked for.
 * For benchmarks and tests. Nothing is copied; `patch` writes into the caller's bytes.
 */
#include "core/atomics.h"
#include "port.h"

#include <errno.h>

struct port_mem {
    struct port port;
    struct port_config cfg;
    uint32_t at;
    uint64_t loop;
    char text[160];
    _Atomic uint64_t packets, bytes;
};

static int rx(struct port *port, struct pkt *out, int max)
{
    struct port_mem *p = (struct port_mem *)port;
    const struct port_config *c = &p->cfg;
    if (p->at == c->n_packets) {
        if (c->loops && p->loop + 1 == c->loops) {
            return PORT_END;
        }
        p->at = 0;
        p->loop++;
    }
    /* A burst ends with its loop, so that no packet is patched while it is still in use. */
    uint32_t n = c->n_packets - p->at;
    n = n < (uint32_t)max ? n : (uint32_t)max;
    int64_t now = c->now(c->now_arg);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct mem_packet *m = &c->packets[p->at + i];
        if (c->patch) {
            c->patch(c->patch_arg, m->data, m->len, p->loop);
        }
        out[i] = (struct pkt){.data = m->data,
                              .len = m->len,
                              .wire_len = m->len,
                              .rxtime = now,
                              .quality = CLOCK_TSC};
        bytes += m->len;
    }
    p->at += n;
    bump(&p->packets, n);
    bump(&p->bytes, bytes);
    return (int)n;
}

static bool stats(struct port *port, struct port_stats *s)
{
    struct port_mem *p = (struct port_mem *)port;
    *s = (struct port_stats){.rx_packets = load_relaxed(&p->packets),
                             .rx_bytes = load_relaxed(&p->bytes),
                             .missed_known = true};
    return true;
}

static const char *describe(struct port *port)
{
    return ((struct port_mem *)port)->text;
}

static void close_(struct port *port)
{
    free(port);
}

static const struct port_ops ops = {rx, stats, describe, close_};

struct port *port_mem_open(const struct port_config *cfg, struct err *err)
{
    if (!cfg->packets || !cfg->n_packets) {
        err_set(err, -EINVAL, "port %s: no packets to replay", cfg->name);
        return NULL;
    }
    struct port_mem *p = calloc(1, sizeof *p);
    if (!p) {
        err_set(err, -ENOMEM, "port %s: no memory", cfg->name);
        return NULL;
    }
    p->port.ops = &ops;
    p->cfg = *cfg;
    if (cfg->loops) {
        snprintf(p->text, sizeof p->text, "%u packets in memory, %llu times", cfg->n_packets,
                 (unsigned long long)cfg->loops);
    } else {
        snprintf(p->text, sizeof p->text, "%u packets in memory, for ever", cfg->n_packets);
    }
    return &p->port;
}
