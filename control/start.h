/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start.h - the long parts of a start, side by side: what the log holds is read from the disk, the
 * ring's memory is faulted in, DPDK looks for its devices. None needs another one's result. One
 * behind the other they were most of the time from exec to the first packet.
 *
 * Control thread, before any thread of the daemon runs; the instance lock is held (wiring_enter).
 * DPDK stays on the caller, which it makes its main lcore; the others get a thread each that ends
 * here. False: the sentence of the first part that failed, in the order above; all have ended.
 */
#pragma once

#include "daemon.h"

bool start_parts(struct daemon *d, struct err *err);
