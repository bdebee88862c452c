/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the kdb+ IPC server: listeners, publish threads, consumers. The one door of
 * control/publish/ to the daemon.
 *
 *   control ── listeners (opened, tried again) ──► publish0 accepts ──► publish<N> (the least busy)
 *
 *   publish<N>   thread.c      epoll, ring ─► fan-out ─► queues ─► sockets; all of its connections
 *   catchup      catchup.c     files and ring for consumers that are behind; the live kdb+ log
 *   auth         auth.h        passwords, TLS handshakes, groups of unix peers
 *   control      here          queries (answer.h), alarms, verbs
 *
 * A connection lives on one publish thread all its life; nothing of it is touched elsewhere but the
 * figures that `penstock clients` shows (registry: one mutex a thread, held for a copy only).
 * Between threads: inboxes (inbox.h), a bounded list under a mutex with an eventfd.
 *
 * LEVELS. A publish thread reads the ring as far as `submitted` (publish_first: committed), and for
 * consumers that asked for it as far as `durable`: two lanes (lane.h), each with its own fan-out.
 * It never reads a file: a lane that the ring has lapped hands its consumers to catchup.
 *
 * A server without connections sleeps in epoll.
 *
 * THREAD: control.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"

struct daemon;
struct server;
struct access;
struct users;
struct rtp_manager;

#define SERVER_THREADS 8u

/* Before the appender's thread starts: the inject rings of the publish threads. */
bool server_prepare(struct daemon *d, struct err *err);
/* Opens everything; no thread runs yet. A port in use is no error: it is tried again. */
bool server_open(struct daemon *d, struct err *err);
bool server_start(struct daemon *d, struct err *err);

/* From control's loop: answers, ports that are to be tried again, reload of live keys. */
void server_poll(struct server *s);
void server_tick(struct server *s); /* each 100 ms */
/* The configuration was read again: live keys, users file, certificate. False: err says what of the
 * last two is not sound; those of before stay. */
bool server_reloaded(struct server *s, struct err *err);
/* Does something wait for the journal, so that control should poll each ms? */
bool server_waits(const struct server *s);

/* Stop, in two steps around the log's drain: nobody is let in and nothing more is taken from
 * publishers; then consumers get what is queued, within a bound, and are closed. */
void server_quiet(struct server *s);
void server_stop(struct server *s, int64_t bound_ns);
void server_close(struct daemon *d);

/* ---- for verbs, status, alarms ---- */

struct server_figures {
    uint32_t connections, consumers; /* consumers: with a subscription */
    uint32_t slow;                   /* over consumer_alert_size */
    uint32_t behind;                 /* reading from the log */
    uint64_t slowest_bytes;          /* lag of the slowest consumer */
    uint64_t slowest_id;
    int64_t slowest_ns; /* since its socket took something */
    uint64_t memory;    /* of messages, unfinished requests, queues */
    uint64_t refused;   /* connections over the limit, logins refused */
    uint64_t hostile;   /* closed for bytes that are no message */
    uint64_t policy[4]; /* times that a policy was applied */
    uint64_t disconnected;
    char last[200]; /* who was disconnected last, and why */
    bool ports_ok;
    char port_problem[300];
};
void server_figures(struct server *s, struct server_figures *out);
json_t *server_clients(struct server *s); /* `penstock clients` */
json_t *server_brief(struct server *s);   /* of `penstock status` */
struct alarms;
void server_alarms(struct server *s, struct alarms *a, int64_t now, int64_t hold);
/* False: no such connection. */
bool server_kick(struct server *s, uint64_t id, const char *by);
