/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notice.h - what a consumer that came with .pst.sub is told beside its rows: async messages
 * (`.pst.notice; dict), in order with its data. Stock clients, who would fail on them, get none.
 * Publish thread.
 */
#pragma once

#include "publish/connection.h"

void notice_heartbeat(struct connection *c); /* position, durable, time */
/* Rows of [from, to) that were not sent (policy skip). */
void notice_skipped(struct connection *c, uint64_t rows, uint64_t from, uint64_t to);
/* "lost": [from, to) stands nowhere. "rewound": what was sent above `from` is void, the journal
 * goes on at `to`. "behind": policy catchup or conflate: the log is read from `from`. */
void notice_range(struct connection *c, const char *kind, uint64_t from, uint64_t to);
/* "position": everything below it has come and nothing above: a place to go on from. It belongs to
 * the last batch: where a policy drops that, it goes too. */
void notice_behind(struct connection *c, uint64_t position);
/* "replayed": what follows, from `position` on, is live. */
void notice_position(struct connection *c, const char *kind, uint64_t position);
