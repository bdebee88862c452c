/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.h - runs a bound plan (plan.h) over views (view.h) and gives a result (result.h).
 *
 *   exec_run(plan, &result, &err)
 *
 * plan->scan[i].table->source is the `struct view` of that table; query_table.cols and view.col are
 * the same list (column 0 = date). The view may be shared by queries of ONE thread; views of
 * different queries are independent.
 *
 * HOW. Parts that date bounds, and chunks that time and symbol bounds, leave out are never touched
 * (a pruned partition is not opened). What remains is cut into UNITS: runs of rows whose borders
 * depend only on the data, never on the number of threads. `threads` workers take units in order;
 * each unit is filtered in batches of EXEC_BATCH rows, its result (rows, or groups with aggregate
 * states) is merged strictly in unit order. So the same plan over the same data gives the same
 * bytes with any number of threads and on any instruction set.
 *
 * FLOAT SUMS (sum, avg, wavg, variance): deterministic. Within a unit, per group in row order;
 * without groups in 8 striped lanes added pairwise at the end of the batch. Units are added in
 * order. No compensation: the error is that of a sum of a few thousand partial sums.
 * INTEGER SUMS are exact (128 bits) and an error if the total does not fit.
 *
 * ROW ORDER of a plain SELECT: date, then part (a day that lies in both tiers never does), then row
 * of the part: arrival in the RDB, (sym text, time) in a partition. Groups come in the order of
 * their first row; LATEST BY rows in the order of rows, ASOF in the order of the left rows.
 *
 * LIMITS. plan->limits: cancel and deadline are looked at once a batch by every worker; memory is
 * counted at allocation (the executor's own allocations: results, states, hash tables, gathered
 * rows; maps of data are not memory). Too many rows are an error, found early.
 *
 * plan->facts is filled in all cases, also on errors. PLAN_EXPLAIN_ONLY: parts are pruned, opened
 * and pruned within, nothing is read; *out is an empty result with the plan's columns.
 *
 * Threads: exec_run is called by one thread and starts its workers from a pool that it keeps
 * (exec_pool_stop ends it). No other state is kept.
 */
#pragma once

#include "query.h"
#include "result.h"
#include "view.h"

#define EXEC_BATCH 4096u

bool exec_run(struct plan *p, struct result **out, struct query_error *e);

/* Ends the idle pool threads (tests, valgrind, before exit). */
void exec_pool_stop(void);

/* Instruction set of the kernels: chosen at the first use by what the CPU has, or forced (tests,
 * PST_ISA=portable|avx2|avx512 in the environment). False: this CPU has not got it. */
enum exec_isa { EXEC_PORTABLE, EXEC_AVX2, EXEC_AVX512 };
bool exec_isa_force(enum exec_isa isa);
enum exec_isa exec_isa_now(void);
