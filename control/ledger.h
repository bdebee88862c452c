/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.h - every message accounted for, hop by hop, no figure derived from another:
 *
 *   nic        packets the device counted        - taken by us                       (per port)
 *   packets    taken                             - for a feed - not for us by reason (all ports)
 *   line       messages received                 - accepted - duplicate - late - old - unsequenced
 *   wire       the venue's sequence numbers      - journaled - gaps - waiting        (per session)
 *   decode     messages accepted since the start - rows made by decoders             (per feed)
 *   journal    rows made since the start         - rows counted in the journal       (per feed)
 *   durable    counted up to the durable position - counted by the log as durable    (per session)
 *   rdb        rows counted in the journal - rows in memory - left to the log        (at one position)
 *
 * A thread of its own follows the journal with two cursors (committed, durable). Figures that move
 * while they are read are compared again before an imbalance is believed: it must stand for
 * LEDGER_SETTLE_NS. `ledger --verify` recounts the files from the start, slowly, row by row.
 *
 * ledger_json, ledger_brief: control thread; they take the snapshot the thread published last.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"

#define LEDGER_SETTLE_NS (5ll * 1000000000)

struct daemon;
struct ledger;

struct ledger *ledger_open(struct daemon *d, int32_t from_day, struct err *err);
bool ledger_start(struct ledger *l, struct err *err);
/* At the end: waits until both cursors have reached the journal's end, or the deadline. */
bool ledger_settle(struct ledger *l, int64_t deadline_ns);
void ledger_stop(struct ledger *l);
void ledger_close(struct ledger *l);

json_t *ledger_json(struct ledger *l, bool verify, struct err *err);
json_t *ledger_brief(struct ledger *l); /* array of {"line": text} for the status screen */
/* At the end of `day`: the balance of every session of that day as <state_directory>/ledgerYYYY.MM.DD.json,
 * sealed with a CRC-32C of the text before it. An error costs the certificate, one line, nothing else. */
void ledger_certificate(struct ledger *l, int32_t day);
/* Have both of its readers, and the reader of what a start found, passed the position? */
bool ledger_past(struct ledger *l, uint64_t position);
uint64_t ledger_counted(const struct ledger *l); /* position that it has passed */
uint64_t ledger_behind(struct ledger *l); /* bytes of journal not yet counted */
/* Control, each second: raises ledger.imbalance. True = balances (or is still moving). */
bool ledger_check(struct ledger *l, char *text, size_t cap);
