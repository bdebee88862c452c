/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon.h - penstockd as one struct: what exists, who owns it, in which order it starts and stops.
 *
 * Start (daemon_open, control thread; nothing has threads yet):
 *   config -> status, clock -> instance lock, lease -> recovery (symbols, schemas, sessions) beside
 *   the ring's memory and DPDK (start.h) -> appender, log -> feeds, ports -> days -> seal the
 *   segments -> threads: log, rx, ledger, rdb, writedown -> socket
 * Stop (daemon_close): rx lcores stop polling and flush -> end mark -> log drains, end frames,
 * close
 *   -> ledger and rdb reach the end, a writedown stops between two steps -> socket -> lock.
 *
 * All fields belong to the control thread unless their module's header says otherwise.
 */
#pragma once

#include <signal.h>
#include "alarms.h"
#include "cmd.h"
#include "config.h"
#include "core/inject.h"
#include "core/ring.h"
#include "core/schema.h"
#include "core/status.h"
#include "core/symbols.h"
#include "core/thread.h"
#include "rates.h"
#include "start_options.h"

#define DAEMON_RX_MAX 16

struct appender;
struct buffers;
struct cmd_request;
struct day;
struct error_log;
struct disks;
struct feed;
struct helper;
struct log;
struct ledger;
struct loading;
struct port;
struct query_pool;
struct access;
struct server;
struct socket;
struct upstream;
struct rtp;
struct rx;

struct daemon_feed {
    const struct config_feed *config;
    struct feed *feed;
    _Atomic(const struct hours *) hours; /* H1/H2: replaced by reload, read by the feed's lcore */
    unsigned rx;                         /* index of the lcore that owns it */
};

struct daemon {
    struct config *config, *reloaded;
    const char *config_path;
    struct clock clock;
    struct status *status;
    struct ring ring;
    struct symbols symbols;
    struct schema_set *schemas;
    uint64_t instance_id;
    bool replay;
    const char *replay_file;
    struct start_options options;
    bool end_days; /* replay --eod: every date ends where the capture does */

    struct daemon_feed feeds[STATUS_FEEDS]; /* index = index in status->feeds */
    unsigned nfeeds;
    struct alarms alarms;
    struct rates rates;
    struct socket *socket;
    struct helper *helper;      /* the process that starts others; NULL in a replay */
    struct query_pool *queries; /* NULL in a replay */
    struct server *server; /* kdb+ IPC; NULL in a replay */
    struct ledger *ledger;
    struct disks *disks;      /* what may hang: disks.h */
    struct error_log *errors; /* NULL in a replay */
    struct upstream *upstream; /* another tickerplant's rows; NULL: none (upstream.h) */
    struct access *access;    /* who came and what was asked: access.h; NULL in a replay */
    struct buffers *buffers;  /* buffering events: buffer.h */
    struct day *days;         /* RDB, end of day, database: day.h; NULL in a replay without one */
    struct loading *loading;  /* mass ingestion: loading.h; NULL: no `load` in the configuration */
    struct rtp *rtp;          /* real-time processes: rtp.h; NULL in a replay */
    struct inject inject;     /* control's own way into the journal: marks, schemas, publishers */
    struct wiring *wiring;    /* ports, lcores, appender, log: wiring.h */
    int32_t day;              /* open trading date of the default calendar */
    int32_t day_shift; /* replay with --date: from that date to the one of the capture's clock */
    uid_t uid;
    bool stopping;
    int exit_code;
};

bool daemon_open(struct daemon *d, const char *config_path, struct config *config, struct err *err);
/* Until stop is asked for (signal or command) or, in a replay, the capture has ended. */
void daemon_run(struct daemon *d);
int daemon_close(struct daemon *d); /* the process's exit code; frees all but in a replay */
void daemon_free(struct daemon *d);

/* socket.h asks: has the journal come as far as this request wants? Fills req->later's positions.
 * With err set the answer is that error instead: the appender refused rows of the request. */
bool daemon_acknowledged(struct daemon *d, struct cmd_request *req, struct err *err);
/* Its client has gone: nobody waits for the answer any more. */
void daemon_abandoned(struct daemon *d, struct cmd_request *req);
enum level daemon_level(struct daemon *d, uid_t uid, gid_t gid, pid_t pid);
/* Journals an `operator` mark for a command that changes something. False: the inject ring is full.
 */
bool daemon_operator_mark(struct daemon *d, const struct peer *peer, const char *command,
                          json_t *args);
extern volatile sig_atomic_t daemon_signal; /* the signal that asked for the end, 0 = none */
