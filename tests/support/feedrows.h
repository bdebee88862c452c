/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feedrows.h - a rows sink for tests: keeps every row, gap row and mark as plain C values, read
 * back from real frames with the readers' own walk, so that the record and run format is tested
 * too.
 *
 * One thread. Memory grows as needed. `room` is what rows_room answers (default: plenty).
 */
#pragma once

#include "core/rows.h"
#include "core/tables.h"

struct fake_row {
    int64_t seq; /* PST_NULL_LONG when unsequenced */
    uint32_t flags, feed, session, line;
    uint32_t table;
    uint16_t day;
    uint8_t quality;
    int64_t rxtime;
    uint32_t seqs; /* of its run; 0 on further runs of a packet */
    uint32_t len;  /* `undecoded`: bytes */
    uint64_t hash; /* of those bytes, or of the record behind its head */
    int32_t type;
    uint32_t reason;
    uint8_t head[8]; /* first bytes */
};
struct fake_mark {
    enum mark_type type;
    char json[512];
};
/* One list keeps the order in which everything came. */
enum fake_kind { FAKE_ROW, FAKE_GAP, FAKE_MARK };
struct fake_event {
    enum fake_kind kind;
    struct fake_row row;
    struct gap gap;
    struct fake_mark mark;
};

struct fake {
    struct rows rows;
    struct schema undecoded;
    uint8_t *stage;
    uint64_t room;
    struct fake_event *event;
    size_t n, cap;
    char (*symbol)[256];
    uint32_t nsymbols;
    uint64_t seqs_total; /* over all runs: what the ledger would count */
    bool counting;       /* keep no events, only seqs_total and `n` (long runs) */
};

void fake_open(struct fake *f);
void fake_close(struct fake *f);
void fake_clear(struct fake *f); /* forgets events, keeps symbols */
/* Seals what is staged, so that `event` is complete. */
void fake_flush(struct fake *f);
const char *fake_text(const struct fake *f, uint32_t id); /* "" for null */
uint64_t fake_hash(const void *p, size_t n);
