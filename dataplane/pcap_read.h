/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pcap_read.h - packets out of a capture file, whatever wrote it.
 *
 * Reads pcap (µs and ns magic, both byte orders) and pcapng (sections of either byte order, several
 * interfaces with their if_tsresol and if_tsoffset, enhanced, simple and obsolete packet blocks),
 * plain or gzip (known by its magic), from a file, standard input or memory. All link types that
 * are supported come out as Ethernet: for raw IP, Linux cooked and loopback captures a 14-byte
 * header is made in place, with zero addresses where the capture has none, and both lengths count
 * it.
 *
 * No length in the file is trusted. A file that ends within a record yields everything before it
 * and what there is of that packet (len < wire_len), then the end; pcap_read_note says so in one
 * line. A file whose structure makes no sense
 * from some point on yields everything before that point, then an error.
 *
 * One thread at a time per reader. Sources: the pcap and pcapng drafts of the IETF opsawg
 * (draft-ietf-opsawg-pcap, -pcapng), the link types of tcpdump.org/linktypes.html.
 *
 * The names start with pcap_read_ because libpcap, which a DPDK driver may load into the process,
 * owns pcap_open, pcap_next and pcap_close.
 */
#pragma once

#include "core/base.h"

struct pcap_packet {
    const uint8_t *data; /* from the Ethernet header on; valid until the next call */
    uint32_t len;
    uint32_t wire_len;  /* >= len; greater when the snaplen cut the packet */
    int64_t time;       /* UTC ns since 2000-01-01, negative before; 0 without has_time */
    bool has_time;      /* false for simple packet blocks, which carry none */
    uint32_t interface; /* pcapng: number within the section */
    uint64_t number;    /* 1, 2, ... of the record in the file */
};

struct pcap_counts {
    uint64_t packets;    /* returned */
    uint64_t bytes;      /* of their captured data */
    uint64_t snapped;    /* of them, cut by the snaplen */
    uint64_t cut;        /* 1: the file ends within a record */
    uint64_t other_link; /* records of link types that are not supported, skipped */
    uint64_t
        other_records;     /* pcapng records that refer to no interface, or damaged ones, skipped */
    uint64_t device_drops; /* pcapng: what the capturing interface says it dropped (isb_ifdrop) */
};

struct pcap_reader;

/* "-" reads standard input. NULL: err names the file and what is wrong with it. */
struct pcap_reader *pcap_read_open(const char *path, struct err *err);
/* Plain captures in memory that outlives the reader; not gzip. */
struct pcap_reader *pcap_read_memory(const void *bytes, size_t n, struct err *err);
/* From bytes that somebody else unpacks: at most n of them into `to`, 0 at the end, -errno. `name`
 * is for sentences. */
typedef int64_t (*pcap_read_source)(void *arg, uint8_t *to, size_t n);
struct pcap_reader *pcap_read_stream(pcap_read_source take, void *arg, const char *name,
                                     struct err *err);
/* 1 = a packet, 0 = the end, -1 = the file is damaged from here on (err). */
int pcap_read_next(struct pcap_reader *r, struct pcap_packet *out, struct err *err);
const struct pcap_counts *pcap_read_counts(const struct pcap_reader *r);
/* One line on what was cut or skipped so far, or "". Valid until close. */
const char *pcap_read_note(struct pcap_reader *r);
void pcap_read_close(struct pcap_reader *r);
