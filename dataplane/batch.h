/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.h - the inside of an inject batch (core/inject.h), checked as if it came from an enemy:
 * what goes into the journal is read by everyone, and a bad record there can never be taken back.
 *
 * Pure functions; any thread.
 *
 * The rows of a batch are either all in runs (packet record first, tables of feeds only, every run
 * as long as it says) or all plain (no packet record, no table of a feed): a reader knows by the
 * first record which it is. Symbols are local ids below `locals`, or null.
 */
#pragma once

#include "core/inject.h"
#include "core/rows.h"

#define BATCH_SYMS_MAX (FRAME_MAX / 2) /* texts of one batch: they fit one symbol frame */

struct batch_syms {
    const uint8_t *texts; /* { u8 length, text } … */
    uint32_t n;
};

/* The texts of a batch: 1…255 bytes each, no NUL, zeros behind them to the end of the section, no
 * more than `room`. */
bool batch_texts(const struct inject_batch *b, const uint8_t *section, uint32_t room,
                 struct batch_syms *out);

struct batch_rows {
    const struct schema_set *schemas;
    const struct schema *gap; /* not NULL: a gap batch, rows of this table only */
    bool gaps;                /* of a source: rows of that table may stand among others */
    uint8_t *at;
    uint32_t bytes;
    uint32_t records; /* that the batch claims */
    uint32_t locals;
    const uint32_t *map; /* NULL: check only; else local ids are replaced on the way */
    bool null_refused;   /* a refused symbol becomes null instead of refusing the batch */
    const struct days_owner *owners; /* all rows of a run have one calendar; NULL = do not ask */
    uint32_t rows;                   /* result: packet records not counted */
    uint32_t late_day;               /* result: rows of runs that say so */
    int64_t oldest;                  /* result: least time of its rows */
};
enum inject_refusal batch_rows_check(struct batch_rows *w);

/* The derived record at the head of a batch's records: `source` becomes the symbol of the map. */
enum inject_refusal batch_derived(struct derived_record *d, const uint32_t *map, uint32_t locals);

/* A mark or schema batch, payload copied behind f. Ends of days and intervals come by the due list
 * only, buffering events from the one source that may start them. */
bool batch_text_check(const struct inject_batch *b, const struct frame *f);
/* A sound eod mark, from the one source that may end days. */
bool batch_is_eod(const struct inject_batch *b, const struct frame *f);
/* A sound buffer_start or buffer_end mark, ditto: its type; else 0. */
unsigned batch_event(const struct inject_batch *b, const struct frame *f);

/* One record of table `gap` at p (8-aligned); returns its bytes. */
uint32_t batch_gap_record(uint8_t *p, const struct schema *s, const struct gap *g, uint32_t reason);
#define BATCH_GAP_MAX 512u /* at most that many */
