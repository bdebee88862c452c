/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_front.h - the data plane of one core for benchmarks: looped packets in memory, one
 * MoldUDP64/ITCH feed of one or two lines, an appender and its ring, wired as penstockd does it.
 *
 * front_make allocates and runs the start of the day (directory, states) through the feed, so that
 * what follows is the open market. After it one thread calls rx_round(&front.rx); whoever frees the
 * ring moves head->guard. There is one front in a process; errors end it with one line.
 */
#pragma once

#include "appender.h"
#include "bench_traffic.h"
#include "poll.h"

#define FRONT_DAY 9820 /* 2026-11-20 */

struct front_config {
    const char *program; /* for messages */
    unsigned lines, per_packet, packets;
    uint64_t messages; /* rounded up to whole loops; 0 = for ever */
    uint64_t ring;
    uint8_t *streams; /* by table id: itch_order goes to the interval stream; NULL = one stream */
};

extern struct front {
    struct front_config cfg;
    struct clock clock;
    struct status *status;
    struct ring ring;
    struct symbols symbols;
    struct schema_set *schemas;
    struct appender appender;
    struct feed *feed;
    struct groups groups;
    struct port *port;
    struct rx rx;
    struct traffic traffic;
    uint64_t loops;
} front;

void front_make(const struct front_config *cfg);
/* One line on standard error, exit 1. */
void front_die(const struct err *e) __attribute__((noreturn));
/* Pin the calling thread. */
void front_pin(int cpu);
