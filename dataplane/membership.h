/* SPDX-License-Identifier: Apache-2.0 */
/*
 * membership.h - multicast groups joined through the kernel, for as long as this object lives.
 *
 * The kernel answers IGMP queries for the sockets held here; no packet is ever read from them. That
 * works for interfaces that the kernel owns or shares (AF_PACKET, AF_XDP, bifurcated drivers). On
 * a device that DPDK owns alone somebody else must join: use mode NONE and tell the switch.
 *
 * A socket takes igmp_max_memberships groups (20 by default), so there are as many sockets as
 * needed. Nothing here touches the packet path: all functions belong to the control thread.
 */
#pragma once

#include "core/base.h"

enum membership_mode { MEMBERSHIP_KERNEL, MEMBERSHIP_NONE };

struct membership;

/* iface: name, or a number (its index). Not looked at in mode NONE. */
struct membership *membership_open(enum membership_mode mode, const char *iface, struct err *err);
/* ip and source in host byte order; source 0 = from anybody. Joining twice is one membership. */
bool membership_join(struct membership *m, uint32_t ip, uint32_t source, struct err *err);
/* A group that was never joined is an error of the caller's bookkeeping, and says so. */
bool membership_leave(struct membership *m, uint32_t ip, uint32_t source, struct err *err);
/* From the timer: when the link has come up since the last call, or the interface has come back
 * under another index, all groups are joined anew, so that switches hear it at once. The number of
 * groups rejoined, or -errno (err) when that failed; it is tried again at the next call. */
int membership_poll(struct membership *m, struct err *err);
/* The same without looking at the link. */
int membership_rejoin(struct membership *m, struct err *err);
int membership_count(const struct membership *m);
void membership_close(struct membership *m);
