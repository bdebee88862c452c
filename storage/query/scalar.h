/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scalar.h - the reference meaning of every operator of plan.h, one value at a time.
 *
 * The binder folds constants with it; the executor may use it for operators without a kernel; tests
 * hold kernels against it. Pure; any thread. Texts that it makes are put in the caller's arena.
 *
 * CASTS (PLAN_CAST), NULL gives NULL always:
 *   boolean -> integers 0, 1; integers, floats -> boolean: x <> 0
 *   integer -> integer: out of range is an error (the null's bit pattern too)
 *   float, real -> integer: rounds to nearest, half to even; out of range and infinities: an error
 *   float -> real: nearest (may become infinite); integer -> float: nearest
 *   integer -> temporal and back: the stored number (ns, days, months, ms ...), range checked
 *   timestamp -> date, month (UTC, down), minute, second, time, timespan: time of day (down)
 *   date -> timestamp: midnight UTC; date -> month; month -> date, timestamp: its first day
 *   timespan, time, second, minute among each other: same offset, rounded down
 *   date + anything with a time of day: not a cast, an ADD
 *   char -> integer: its byte; integer -> char: 0 ... 255; char, symbol -> string: its text
 *   string -> char: its first byte; string -> symbol: interned in the query's code space (executor)
 *   any -> string: as `penstock sql` prints it: numbers shortest that reads back, true false,
 *     2024.01.02, 2024.01.02D09:30:00.000000000, month 2024.01, timespan 0D00:00:00.000000000,
 *     09:30, 09:30:00, 09:30:00.000, guid 8-4-4-4-12, byte 0x2a
 *   string -> any: what a literal of that type may look like (literal.h); else an error
 */
#pragma once

#include "plan.h"

struct arena;
struct query_error;

struct scalar {
    uint8_t type;
    bool null;
    union {
        int64_t i; /* as plan_expr.value */
        double f;
        struct plan_text text;
        uint8_t guid[16];
    };
};

/*
 * One node applied to its arguments' values (CASE, COALESCE: all arguments evaluated). Symbols
 * come and go as text. False: e (position = node's).
 */
bool scalar_apply(const struct plan_expr *node, const struct scalar *args, struct arena *a,
                  struct scalar *out, struct query_error *e);

/* -1, 0, 1 of two non-null values of one type. */
int scalar_compare(const struct scalar *a, const struct scalar *b);

/* PLAN_CAST by itself. */
bool scalar_cast(const struct scalar *v, uint8_t type, struct arena *a, struct scalar *out,
                 struct query_error *e);
/* LIKE by itself. escape: byte, -1 = none. */
bool scalar_like(struct plan_text text, struct plan_text pattern, int escape, bool fold_case);
