/* SPDX-License-Identifier: Apache-2.0 */
/* opts.h - the command line of penstock-sim; opts_help is its manual. */
#pragma once

#include "envelope.h"
#include "publish.h"

struct opts {
    struct publish_opts pub;
    uint64_t seed;
    uint32_t symbols;
    enum profile profile;
    double rate, scale, pps, speed;
    uint32_t per_packet; /* --pps: messages in each */
    bool flat_out, smooth, directory;
    uint64_t messages;
    double duration;
    int64_t start;        /* ns since midnight; -1 = not given, -2 = now */
    int year, month, day; /* 0 = not given */
    uint64_t resting;
    bool resting_set;
    bool end_session;
    uint32_t tail_heartbeats;

    struct line_opts lines[SIM_LINES];
    uint32_t line_n;
    const char *line_opts_all; /* --lines OPTS: added to every line */

    enum out_kind sink;
    bool sink_set, udp_checksum;
    const char *iface, *pcap;

    const char *replay;
    uint32_t loop;
    struct opts_rewrite {
        uint32_t from, to;
        uint16_t from_port, to_port;
    } rewrite[16];
    uint32_t rewrite_n;

    const char *report, *truth;
    uint32_t report_symbols; /* UINT32_MAX = all */
    bool quiet;
};

/* false with err->code 0: help or version was asked for and printed. */
bool opts_parse(struct opts *o, int argc, char **argv, struct err *e);
void opts_help(FILE *f);
