/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upstream.h - rows from another tickerplant: key subscription_channel names a kdb+ tickerplant or
 * another Penstock (channels.h); its rows and marks enter through an inject ring of their own. And
 * key publish_channel: this instance's own line in the directory file.
 *
 * A thread of its own, `upstream`, which may block (names, connects, the log of a tickerplant): it
 * connects, again each retry_interval, subscribes to subscription_table_list (all tables if unset),
 * and hands over what comes. Who it talks to it finds out by asking: .pst.sub, else .u.sub.
 *
 * TABLES. A table that the configuration declares must have the same columns in the same order and
 * of the same types there (time may be a timestamp, timespan, time, ... of a tickerplant); one that
 * it does not declare is taken over as it is there, where it starts time, sym. Others are left out:
 * alarm upstream.table, named by `status`.
 *
 * FROM A PENSTOCK: frames of its journal with their positions (.pst.sub with format records: its
 * user must be allowed to read every table). The input position is that of its journal, kept with
 * the rows in ours (core/source.h, source "upstream:CHANNEL"); so each row comes once, whoever of
 * the two is killed. An instance that never heard of the channel starts with the day's first frame.
 * It sends what is durable there, so that a crash of it takes nothing back. What it lost (its log
 * expired, or gave it up), and what it took back all the same (rewound), stand as rows of table
 * gap, reasons upstream_lost and upstream_rewound, first and last being positions of its journal.
 *
 * FROM A kdb+ TICKERPLANT: rows are counted by table and day (sources "up:HASH:TABLE", position day
 * << 40 | rows), and its log (.u.L), where it lies on this host, is read for what is missing: each
 * row once, in zero-latency and in batch mode. Without that log a gap row (upstream_unknown) says
 * that rows may be missing whenever the connection was away. Its times are taken as publishers'
 * are (publish/intake.h).
 *
 * DAYS. An instance with subscription_channel and without feeds is chained: its dates end when
 * those of the other end (eod marks, .u.end), not by its own clock; `penstock eod` still ends one
 * by hand. Its consumers get .u.end, .u.eoi, buffer marks and gaps as the other's do. With feeds it
 * keeps its own clock, and the other's marks are only counted. Of a Penstock each calendar's dates
 * end that has the same name here, of a tickerplant those of all calendars.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"

struct daemon;
struct upstream;

#define UPSTREAM_RING_BYTES (16u << 20)

/* Are this instance's dates ended by its upstream? */
bool upstream_chained(const struct daemon *d);

/* Before the appender runs: the inject ring. Nothing where neither key is set. */
bool upstream_prepare(struct daemon *d, struct err *err);
bool upstream_start(struct daemon *d, struct err *err);
/* Nothing more is taken. Before the journal's end mark. */
void upstream_stop(struct daemon *d);
void upstream_close(struct daemon *d);

/* Control. NULL: not configured. */
json_t *upstream_status(const struct daemon *d);
struct upstream_trouble {
    bool configured, down;
    int64_t since;     /* monotonic; down */
    char why[300];     /* down */
    char tables[300];  /* left out, with the reason; "" */
    char channel[300]; /* publish_channel cannot be registered: why; "" */
};
void upstream_trouble(const struct daemon *d, struct upstream_trouble *out);
