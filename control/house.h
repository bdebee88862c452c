/* SPDX-License-Identifier: Apache-2.0 */
/*
 * house.h - the CPUs of everything that is not a receive lcore. A CPU that a port names as its
 * lcore is that lcore's own: penstockd's other threads, the helper and the processes that it
 * starts stay off it, unless `cpus:` places one there. It is the process's CPU set that says so,
 * from before the helper starts: threads and processes inherit it, and only lcores leave it. With
 * no lcore named, or none but lcores, the set stays as it is. isolcpus does the same for what is
 * not ours.
 *
 * The main thread alone, before it starts others.
 */
#pragma once

#include "config.h"

/* From here on what this thread starts is house. */
void house_enter(const struct config *c);
/* The set that the process was started with, for a moment: DPDK pins within what its caller has. */
void house_leave(void);

/* Pins the calling thread to cpus.control: after all others were started, since they inherit. */
void house_control(const struct config *c);
