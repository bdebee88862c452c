/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_feed.h - ITCH files and captures as readers of the loader (storage/load/save.h), through the
 * data plane's own feed and decoders. storage/ must not see dataplane/: control hands them over.
 *
 *   itch50   files of length-prefixed messages as NASDAQ publishes them ("BinaryFILE": a 2-byte
 *            length, the message; length 0 ends the session). Message n has sequence n. There is no
 *            receive time: rxtime is null. What the decoder does not know is a row of `undecoded`.
 *            The date is the recipe's; midnight is that of feed_zone. A file that ends within a
 *            message is cut short (-ENODATA).
 *   pcap     pcap and pcapng: packet parser, group, descriptor, sessions and arbitration of the
 *            lines, exactly as `penstockd --replay` runs them on a virtual clock of packet times;
 *            so the same rows and content hashes. What no line has becomes rows of `gap`. A
 *            session's date is the recipe's where it has one, else that of its first packet in
 *            feed_zone. A capture that ends within a record is cut short; with `partial` it is
 *            taken as far as it goes. Facts in the result: packets, other (not the feed's),
 *            snapped, gaps, lost, duplicates, malformed, note.
 *
 * Memory: the feed's windows (8 MiB a line), one frame, one block a table. One thread.
 */
#pragma once

#include "storage/load/save.h"

extern const struct load_reader load_reader_itch50, load_reader_pcap;
