/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger_count.h - counts what stands in the journal, per (feed, session): the ledger's `journaled`
 * figure. It derives nothing from what the data plane says it did; it looks at frames only.
 *
 * Fast mode hops from packet record to packet record and never touches rows; the cursor's
 * headers-only mode feeds it without copying them. Slow mode (`ledger --verify`) walks every row
 * and checks each packet record's rows, seqs and run_bytes against what follows it.
 *
 * What is counted for a run:
 *   divergent    rows (ROW_DIVERGENT): copies beside the accepted message, no sequence of their own
 *   unsequenced  rows (RUN_UNSEQUENCED)
 *   late         sequences (ROW_LATE): they arrived after their gap had been declared
 *   on_time      all other sequences
 * A packet-sequenced message whose rows were split over several runs (a frame filled up) counts its
 * sequence once. Gap rows add last - first + 1 to their reason. So, for a session seen from its
 * first sequence:   next - first = on_time + gaps, and late is the part of the gaps that came.
 *
 * Owner: one thread. Nothing allocates after ledger_init but a new session or gap reason.
 */
#pragma once

#include "core/record.h"
#include "dictionary.h"

#define LEDGER_REASONS 16u

struct ledger_gap {
    uint32_t reason; /* symbol */
    uint64_t seqs, gaps;
};

struct ledger_session {
    uint32_t feed, session; /* symbols */
    uint64_t on_time, late, unsequenced, divergent;
    uint64_t rows;                 /* all rows, whatever their flags */
    uint64_t gap_seqs, gap_frames; /* all reasons */
    struct ledger_gap gap[LEDGER_REASONS];
    uint32_t reasons;
    uint64_t first, next;                    /* lowest sequence and highest + 1 of on-time runs */
    uint64_t last_packet_seq, last_late_seq; /* to count a split packet once; ~0 = none */
};

struct ledger_count {
    struct ledger_session *session;
    uint32_t count, room;
    uint32_t *slot; /* hash: index + 1 */
    uint32_t slots;
    uint32_t last;         /* index last hit */
    uint16_t gap_table[8]; /* table ids known to be `gap` */
    uint32_t gap_tables;
    uint64_t frames, bytes, runs;
    uint64_t replayed_rows; /* rows of runs of a source (RUN_REPLAYED): in no session's figures */
    uint64_t buffered_rows; /* in streams of buffering events; counted among the others too */
    uint64_t plain_rows;    /* rows of data frames outside any run: published tables */
    uint64_t inconsistent;  /* frames whose packet records do not tile them; slow mode: whose
                               figures are wrong */
    uint64_t unknown_gap;   /* records of gap frames that are no gap row */
    uint64_t reasons_full;
    /* slow mode */
    bool slow;
    uint64_t *table_rows; /* TABLE_MAX; rows by table id */
    char first_fault[160];
};

bool ledger_init(struct ledger_count *l, bool slow, struct err *err);
void ledger_free(struct ledger_count *l);
/* A whole frame. d resolves the gap table; feed it before with the same frames. */
void ledger_frame(struct ledger_count *l, const struct dictionary *d, const struct frame *f);
/* A data frame of which only the header and the packet records are at hand (cursor headers mode).
 * n 0: a frame of plain rows. */
void ledger_runs(struct ledger_count *l, const struct frame *head, const struct packet_record *runs,
                 uint32_t n);
const struct ledger_session *ledger_find(const struct ledger_count *l, uint32_t feed,
                                         uint32_t session);
uint64_t ledger_gap_seqs(const struct ledger_session *s, const struct dictionary *d,
                         const char *reason);
