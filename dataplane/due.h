/* SPDX-License-Identifier: Apache-2.0 */
/*
 * due.h - what must happen at an instant: control computes the list (it owns calendars), the
 * appender compares the first entry with its clock, real or virtual, before each burst, and writes
 * the marks that are due. So an end of day falls between the same two frames in a replay.
 *
 *   control                                appender
 *   due_publish: fill the spare list,
 *     publish it (D1) ──────────────────►  due_next: take the list up (D2), say so (D3)
 *   due_publish again: only once the
 *     last one was taken up (D4)           due_pass: entry done (D5)
 *   due_done (D6)  ◄─────────────────────
 *
 * Two lists, no lock, no allocation. Entries have ids that control never uses twice; a new list may
 * repeat entries that the appender has passed meanwhile: they are recognised by id and skipped (the
 * last DUE_MEMORY of them, which is more than a list holds). An EOD of a day that is already closed
 * is passed without a mark, however it was closed: each date ends once.
 */
#pragma once

#include "core/atomics.h"

#define DUE_MAX    256u
#define DUE_MEMORY 512u
#define DUE_JSON   256u

enum due_kind {
    DUE_EOD = 1, /* closes `day`: eod mark; the open day becomes `next_day` */
    DUE_EOI,     /* an eoi mark as it stands in json */
    DUE_STATE,   /* state marks of every session */
    DUE_TURN, /* `day` has ended, its late window begins: `next_day` is open beside it. No mark */
    DUE_INTERVALS /* `count` ends of intervals, `step` apart, the first one at `at`: the interval
                   * behind it starts at local minute `minute` of trading date `day`. The appender
                   * makes their eoi marks itself, a clock that jumps needs no new list; and one
                   * more where `day` ends */
};

struct due_item {
    uint64_t id; /* not 0 */
    int64_t at;  /* UTC ns */
    uint8_t kind;
    uint8_t calendar;       /* EOD, TURN: whose day */
    uint16_t day, next_day; /* EOD, TURN: next_day 0 = day + 1 */
    int64_t ends; /* EOD: the instant at which the date ended, late window excluded; 0 = at */
    int64_t step; /* INTERVALS: ns, whole minutes */
    uint32_t count;
    uint16_t minute;
    uint32_t json_len;
    char json[DUE_JSON]; /* of the mark: {"calendar":"default","day":"2026.11.23"} */
};

struct due_list {
    uint64_t version; /* 0 = never published */
    uint32_t n;
    struct due_item item[DUE_MAX];
};

struct due {
    struct due_list list[2];
    uint64_t version;                         /* control's */
    _Atomic(const struct due_list *) current; /* D1/D2 */
    pst_aligned(64) _Atomic uint64_t seen;    /* D3/D4: version taken up */
    _Atomic uint64_t done[DUE_MEMORY];        /* D5/D6: ids */
    /* owner: appender */
    const struct due_list *mine;
    uint32_t next;
    uint64_t passed;
};

void due_init(struct due *d);
/* Control. Sorts by instant (entries of one instant keep their order). -EAGAIN in err->code: the
 * last list was not taken up yet, come again; -E2BIG: more than DUE_MAX. */
bool due_publish(struct due *d, const struct due_item *items, uint32_t n, struct err *err);
/* Control: has the appender passed this entry? (Of the last DUE_MEMORY ones.) */
bool due_done(const struct due *d, uint64_t id);

/* Appender: the first entry that `now` has reached, or NULL. */
const struct due_item *due_next(struct due *d, int64_t now);
/* Appender: that entry is done. */
void due_pass(struct due *d, const struct due_item *item);
