/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll.h - the rx loop: one lcore, its ports, its feeds, and one sink.
 *
 *   ports ─► parse ─► group look-up ─► feed ─► rows ─┬─► appender (the first lcore)
 *                                                    └─► inject ring (further lcores)
 *
 * One round (rx_round), which never blocks, allocates or makes a system call:
 *   1  marks that are due (appender's lcore)
 *   2  commands of control
 *   3  from each port as many packets, at most PORT_BURST, as certainly fit into the sink; what no
 *      feed takes is counted by its reason; timers of the feeds; the rows become frames
 *   4  batches of the inject rings (appender's lcore)
 * Without room in the sink ports are not polled: the NIC counts what it loses, and the feeds learn
 * why, so that the gaps which show up next carry the reason.
 *
 * Virtual clock (replay): the clock is set from each packet's time before the packet is looked at,
 * and what is due by then (ends of day, timers of feeds) happens before it.
 *
 * Owner: the lcore or thread that calls rx_round (core/thread.h's work); several may in turns, as
 * long as one round is over, and seen, before the next (control/wiring_bells.c). rx_init and
 * rx_add_port run before it starts. Control may read `finished` and use `commands` and each port's
 * groups.
 *
 * Figures: rx.* counters, status.drop and ports[].taken. With several lcores (`shared`) the common
 * ones are added atomically, once a burst.
 */
#pragma once

#include "appender.h"
#include "command.h"
#include "feed.h"
#include "groups.h"
#include "inject_rows.h"
#include "packet.h"
#include "port.h"

/* The most bytes of output that one byte of packet can become: a 2-byte message block of a feed
 * that keeps every message whole takes one 40-byte record; a new symbol adds its text, a symbol
 * frame's share and a run. */
#define RX_EXPANSION 24u
/* The same with rx_config.split: each such record may have a run of its own. */
#define RX_EXPANSION_SPLIT 56u
#define RX_TAKE            32 /* inject batches a round */

#define RX_REPLAY_ROOM FRAME_MAX  /* replay: for marks that fall before a packet */
#define RX_INJECT_MIN  (4u << 20) /* an rx lcore's inject ring: state marks need a MiB at once */

/* What a port's groups answer: which feed's which line. */
#define RX_ROUTE(feed, line) ((uint16_t)((feed)*STATUS_LINES + (line)))

struct rx_port {
    struct port *port;
    struct groups *groups;
    struct status_port *status;
    enum checksum_policy checksum;
    uint32_t mtu; /* largest packet */
    bool ended;
};

struct rx_config {
    struct status *status;
    struct clock *clock;        /* virtual: this loop sets it */
    struct appender *appender;  /* the sink is the appender's rows, or */
    struct inject_rows *inject; /* … this */
    const struct symbols *symbols;
    const struct days_open *days; /* of the appender; used with `inject` only */
    bool shared;                  /* other lcores add to the same counters */
    bool split;                   /* a feed's tables and `undecoded` belong to two calendars */
};

struct rx {
    struct rx_config cfg;
    struct rows *out;
    struct rx_port port[STATUS_PORTS];
    unsigned nports;
    struct feed *feed[STATUS_FEEDS]; /* by index in status.feeds; NULL = not of this lcore */
    unsigned nfeeds;                 /* highest index + 1 */
    struct command_ring commands;
    bool stalled;
    const char *stall_reason;
    int64_t polled_at;          /* virtual clock: when the feeds' timers ran last */
    unsigned flushing;          /* end of input: feeds flushed so far */
    _Atomic bool finished;      /* all ports ended, feeds flushed, rows published */
    bool states_all, states_on; /* inject sink: state marks under way */
    int64_t states_at;
    uint32_t days_seen; /* their version */
    uint32_t expansion; /* bytes of output that one byte of packet can become */
    bool state_all;
    unsigned state_feed; /* where the state marks go on */
    struct feed_cursor state_cursor;
    char state_text[64 * 1024];
};

bool rx_init(struct rx *rx, const struct rx_config *cfg, struct err *err);
/* The port's groups answer RX_ROUTE. mtu 0 = 1500. False: the sink could not take one packet of it.
 */
bool rx_add_port(struct rx *rx, struct port *port, struct groups *groups, struct status_port *st,
                 enum checksum_policy checksum, uint32_t mtu, struct err *err);
void rx_add_feed(struct rx *rx, struct feed *f, unsigned index);

/* One round; what it did, 0 = nothing. As thread_ops.work. */
int rx_round(void *rx);

/* For appender_config.hooks, arg = the rx of the appender's lcore. */
bool rx_states(void *rx, struct rows *rows, bool all);
int rx_sessions(void *rx, unsigned i, const char **feed, const char **session, uint64_t *next);

/* For feed_config.room_reserve: what a burst of such packets can need. */
pst_inline uint64_t rx_worst_split(uint32_t mtu, bool split)
{
    return (uint64_t)PORT_BURST * (mtu ? mtu : 1500u) * (split ? RX_EXPANSION_SPLIT : RX_EXPANSION);
}
pst_inline uint64_t rx_worst(uint32_t mtu)
{
    return rx_worst_split(mtu, false);
}
