/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port_pcap.c - a capture file as a port: one packet a burst slot, times from the file.
 *
 * A reader returns one packet whose bytes live until the next one is read, a burst needs many at
 * once: so the bytes are copied into a buffer of the port. It reads the file from the polling
 * thread, which is right here: there is no wire that would wait.
 */
#include "core/atomics.h"
#include "pcap_read.h"
#include "port.h"

#define ROOM (1u << 20)

struct port_pcap {
    struct port port;
    struct pcap_reader *reader;
    struct pcap_packet ahead; /* read, but did not fit into the last burst */
    bool has_ahead, ended;
    uint8_t *buf;
    int64_t last_time; /* for packets without one */
    struct err err;
    char text[1024];
    _Atomic uint64_t packets, bytes, cut, skipped, snapped, dropped; /* for stats */
};

static void publish(struct port_pcap *p)
{
    const struct pcap_counts *c = pcap_read_counts(p->reader);
    store_relaxed(&p->packets, c->packets);
    store_relaxed(&p->bytes, c->bytes);
    store_relaxed(&p->cut, c->cut);
    store_relaxed(&p->skipped, c->other_link + c->other_records);
    store_relaxed(&p->snapped, c->snapped);
    store_relaxed(&p->dropped, c->device_drops);
}

static int rx(struct port *port, struct pkt *out, int max)
{
    struct port_pcap *p = (struct port_pcap *)port;
    uint32_t used = 0;
    int n = 0;
    while (n < max) {
        if (!p->has_ahead) {
            if (p->ended) {
                break;
            }
            int rc = pcap_read_next(p->reader, &p->ahead, &p->err);
            if (rc <= 0) {
                p->ended = true;
                break;
            }
        }
        const struct pcap_packet *a = &p->ahead;
        p->has_ahead = used + a->len > ROOM && n > 0;
        if (p->has_ahead) {
            break;
        }
        memcpy(p->buf + used, a->data, a->len);
        if (a->has_time) {
            p->last_time = a->time;
        }
        out[n++] = (struct pkt){.data = p->buf + used,
                                .len = a->len,
                                .wire_len = a->wire_len,
                                .rxtime = p->last_time,
                                .quality = a->has_time ? CLOCK_CAPTURE : CLOCK_DOUBTFUL};
        used += a->len;
    }
    publish(p);
    return n == 0 && p->ended ? PORT_END : n;
}

static bool stats(struct port *port, struct port_stats *s)
{
    struct port_pcap *p = (struct port_pcap *)port;
    *s = (struct port_stats){.rx_packets = load_relaxed(&p->packets),
                             .rx_bytes = load_relaxed(&p->bytes),
                             .errors = load_relaxed(&p->cut) + load_relaxed(&p->skipped),
                             .missed_known = true};
    const struct {
        const char *name;
        uint64_t value;
    } x[] = {{"cut_at_end", load_relaxed(&p->cut)},
             {"skipped_records", load_relaxed(&p->skipped)},
             {"snapped_packets", load_relaxed(&p->snapped)},
             {"dropped_by_capture", load_relaxed(&p->dropped)}};
    for (size_t i = 0; i < PST_COUNT(x); i++) {
        snprintf(s->x[i].name, sizeof s->x[i].name, "%s", x[i].name);
        s->x[i].value = x[i].value;
        s->nx++;
    }
    return true;
}

/* Once rx() has returned PORT_END this also says what was wrong with the file. */
static const char *describe(struct port *port)
{
    struct port_pcap *p = (struct port_pcap *)port;
    if (p->err.code) {
        return p->err.text;
    }
    const char *note = pcap_read_note(p->reader);
    return *note ? note : p->text;
}

static void close_(struct port *port)
{
    struct port_pcap *p = (struct port_pcap *)port;
    pcap_read_close(p->reader);
    free(p->buf);
    free(p);
}

static const struct port_ops ops = {rx, stats, describe, close_};

struct port *port_pcap_open(const struct port_config *cfg, struct err *err)
{
    struct port_pcap *p = calloc(1, sizeof *p);
    uint8_t *buf = malloc(ROOM + ROOM / 2); /* one packet always fits: 1 MiB + its made header */
    if (!p || !buf) {
        free(p);
        free(buf);
        err_set(err, -12, "port %s: no memory for a capture file's buffer", cfg->name);
        return NULL;
    }
    p->port.ops = &ops;
    p->buf = buf;
    p->reader = pcap_read_open(cfg->device, err);
    if (!p->reader) {
        free(buf);
        free(p);
        return NULL;
    }
    snprintf(p->text, sizeof p->text, "capture file %s, times from the file", cfg->device);
    return &p->port;
}
