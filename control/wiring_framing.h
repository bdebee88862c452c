/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wiring_framing.h - a framing as the configuration describes it, as the data plane's descriptor.
 *
 * Control thread, at start and in --check. What the descriptor cannot express is refused with
 * FILE:LINE, never bent: a framing that comes out behaves as its keys say. Notes:
 *   - conditions on the count or sequence field test the parsed number, so that a description of a
 *     built-in framing gets that one's own copy of the parser;
 *   - conditions, the stream key and a sequence `in: message` look at the packet's first message
 *     (the sequence then at every one);
 *   - heartbeat_seq: none keeps what such packets carry, as content outside the numbering.
 */
#pragma once

#include "config.h"
#include "dataplane/descriptor.h"

bool wiring_framing(const struct config *c, const struct config_framing *f, struct framing *out,
                    struct err *err);
