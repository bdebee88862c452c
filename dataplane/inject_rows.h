/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inject_rows.h - the sink of everyone but the appender: batches into an inject ring.
 *
 *   a further rx lcore    feeds write through `rows`, exactly as they do on the appender's lcore
 *   publishers, control   plain rows of declared tables, marks, schemas
 *
 * Owner: the one producer thread of the ring. Nothing allocates after inject_rows_init, and nothing
 * blocks: ask rows_room (inject_rows_room) before producing; producing more than it said is a bug
 * (pst_must). A batch holds one day, and either runs (feeds) or plain rows, never both.
 *
 * Symbols are numbered by this producer (core/inject.h). Texts that the instance does not know are
 * counted against max_new_symbols here already, so that a decoder hears SYMBOL_REFUSED and the
 * message goes to `undecoded` whole; a text that only the appender refuses (the table's last
 * entries, taken by two producers at once) becomes a null symbol of a row that is kept, counted in
 * symbols.refused and alarmed. When this producer's own numbers run out, texts are refused too; an
 * rx lcore's never do with `symbols` = symbols_max. A publisher may forget all its numbers between
 * batches (inject_rows_restart), and must after a batch was refused for its symbols; ids handed out
 * before are void then.
 */
#pragma once

#include "core/inject.h"
#include "core/ring.h"
#include "core/rows.h"
#include "core/status.h"
#include "core/symbols.h"

struct inject_rows_config {
    struct inject *q;
    const struct symbols *known;      /* the instance's table, only read; NULL = nothing is known */
    const struct schema_set *schemas; /* must hold `gap` and `undecoded` */
    struct status *status;            /* alarm_signal only; may be NULL */
    uint32_t symbols;                 /* texts this producer may number, and the appender's map */
    uint32_t max_new_symbols;         /* a day */
    uint16_t open_day;                /* where there are no `days` */
    const struct days_open *days;     /* the appender's, read at the start; with owners */
    const struct days_owner *owners;  /* NULL = the default calendar owns every table */
};

struct inject_rows {
    struct rows rows;
    struct inject_rows_config cfg;
    struct symbols local;  /* this producer's numbering */
    uint8_t *stage, *syms; /* records; texts of the batch under construction */
    uint32_t syms_bytes, nsyms;
    uint32_t new_today;
    bool plain;      /* the staged rows are plain ones */
    bool restart;    /* the next batch says INJECT_RESTART */
    int64_t time;    /* wanted frame time of the next batches; 0 = the appender's clock */
    uint64_t ticket; /* of the last batch committed */
    uint64_t refused_symbols;
    const struct schema *gap;
};

bool inject_rows_init(struct inject_rows *w, const struct inject_rows_config *cfg, struct err *err);
void inject_rows_fini(struct inject_rows *w);

/* What is staged becomes a batch. Returns its ticket (of the last batch when nothing was staged).
 */
uint64_t inject_rows_flush(struct inject_rows *w);
/* Bytes of output that certainly fit. */
uint64_t inject_rows_room(struct inject_rows *w);

/* A row of a table that no feed fills: space for `bytes` (multiple of 8), then commit. day 0 = that
 * of its time, as the appender finds it open. Symbols first, as with rows. */
uint8_t *inject_rows_plain(struct inject_rows *w, uint32_t bytes, uint16_t day);
void inject_rows_plain_commit(struct inject_rows *w, uint32_t bytes);

/* Records made elsewhere, laid out and checked as batch.h says, with symbols of this producer
 * (rows_symbol, all of them since the last flush): what is staged is flushed, then they are one
 * batch, behind `derived` where they have a source. False: no room, nothing was sent. */
bool inject_rows_block(struct inject_rows *w, const void *records, uint32_t bytes, uint32_t n,
                       uint16_t day, const struct derived_record *derived);

/* Flushes, then one batch of its own. False: too long or no room; nothing was sent. */
bool inject_rows_mark(struct inject_rows *w, enum mark_type type, const char *json, uint32_t len);
bool inject_rows_schema(struct inject_rows *w, const char *json, uint32_t len);

/* Some calendar's date changed: older rows are late; the default one's: max_new_symbols anew. */
void inject_rows_days(struct inject_rows *w, const struct days_open *days);
/* An eod mark of a source that may end days: `day` of calendar c, which ends (or would have) at
 * `ends`. The ticket's verdict is INJECT_DAY_CLOSED when it was not the open one. */
bool inject_rows_eod(struct inject_rows *w, const char *json, uint32_t len, unsigned c,
                     uint16_t day, int64_t ends);
/* A start or end of the buffering event in this slot (divert.h), of a source that may end days. The
 * ticket's verdict is INJECT_EVENT_OVER when it was over before. */
bool inject_rows_event(struct inject_rows *w, enum mark_type type, const char *json, uint32_t len,
                       unsigned slot);
/* Forgets this producer's numbering. Nothing may be staged. */
void inject_rows_restart(struct inject_rows *w);
