/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loading.h - mass ingestion in the daemon: the thread `loader`, which drives the state machine of
 * storage/load/orchestrator.h, and what control does for it. Exists only with a `load:` section;
 * every function takes NULL (then there is no loader, no thread, no cost).
 *
 *   staging ──inotify, scans──► thread loader ──RUN──► penstock-load × workers
 *                                │  ▲  └─ symbols ─► inject.loader ─► appender ─► durable
 *                                │  └──── day_load.h: sym, move ◄──► writedown thread
 *              questions, spawned │ ▲
 *              and ended workers  ▼ │ spawn, post_batch_exec
 *                               control ──► penstock-helper
 *
 * THREADS. The loader thread owns the orchestrator, the watch, the workers' sockets and pidfds, the
 * inject ring's producer side. Control alone talks to the helper, so the thread asks it through a
 * queue of requests (loading_tick) and hears what became of them through an inbox; both are lists
 * under one mutex that is held for moments, the inbox wakes the thread by an eventfd. What status
 * and alarms show is a copy that the thread puts under the mutex once a second and at each news.
 *
 * WORKERS are hostile (load_wire.h): bounded messages, checked; results are read from
 * directories that we named. A worker's memory is limited twice: RLIMIT_DATA, which it sets from
 * ATTACH, and its RssAnon in /proc, looked at each half second: above worker_memory by a tenth it
 * is killed and the task tried again. The limits of control groups above us count as the memory
 * there is (load.memory). Each worker is used for one batch. Ids of workers at the helper:
 * LOADING_IDS and up.
 *
 * INTERNING a batch: union of the files' symbols, those that the instance does not know counted
 * against the room in symbols_max (max_new_symbols does not apply) before anything is offered; then
 * texts alone, in batches, through inject.loader; when the journal is durable behind them, the
 * writedown thread extends `sym`. A stop in between leaves symbols that nobody uses, no more.
 *
 * VERBS ask: loading_ask puts a question, the thread answers between two rounds; control answers
 * its client when loading_answer has it. Snapshots for SQL are such questions.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"

struct alarms;
struct config;
struct daemon;
struct helper_event;
struct loading;

#define LOADING_IDS    (1ull << 62) /* ids of its workers and commands at the helper: these and up */
#define LOADING_SOURCE 41           /* of its symbol frames: after upstream's */

/* What the configuration says of it can work: recipes against tables and feeds, directories. For
 * --check and the start; schemas are those of the instance (NULL: declared tables only). */
bool loading_check(const struct config *c, struct err *err);

/* Start order: prepare with the appender's other inject rings, start behind days and helper. */
bool loading_prepare(struct daemon *d, struct err *err);
bool loading_start(struct daemon *d, struct err *err);
void loading_stop(struct daemon *d); /* workers end; what was under way goes on at the next start */
void loading_close(struct daemon *d);

/* Control's loop, every turn: does what the thread has asked for. */
void loading_tick(struct daemon *d);
/* An event of the helper with an id from LOADING_IDS up, or RESTARTED, GONE. */
void loading_helper(struct loading *l, const struct helper_event *e);

/* Questions: {"ask": "status"|"tasks"|…|"pause"|"add"|"plan"|"snapshot"|…, arguments}; stolen.
 * 0: err. The answer comes once; forget drops it. */
uint64_t loading_ask(struct loading *l, json_t *question, struct err *err);
/* False: not yet. True: *answer is a new reference, or NULL and err. */
bool loading_answer(struct loading *l, uint64_t id, json_t **answer, struct err *err);
void loading_forget(struct loading *l, uint64_t id);

/* What it is at, as of its last round: for `status`. NULL: no loader. A new reference. */
json_t *loading_json(struct loading *l);
void loading_alarms(struct daemon *d, struct alarms *a, int64_t now);
uint64_t loading_ring_bytes(const struct loading *l);
void loading_pids(struct loading *l, json_t *list); /* topo */
