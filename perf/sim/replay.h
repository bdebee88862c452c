/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.h - a capture onto the wire (or into another file), frame by frame, at its own times.
 *
 * Reads pcap (both byte orders, microseconds and nanoseconds) and pcapng (sections, interfaces with
 * their own time resolution, enhanced and simple packets), plain or gzip. Frames must be Ethernet.
 * Frames cut by the snap length, and with --udp those that are not whole UDP datagrams, are counted
 * and left out. The reader shares nothing with the product's.
 */
#pragma once

#include "opts.h"

/* All of it; the exit code. *stop ends it in order. */
int replay_run(const struct opts *o, struct out *out, const volatile int *stop, struct err *e);
