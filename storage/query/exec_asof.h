/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec_asof.h - for each left row of an ASOF JOIN, which right row. Private to the executor.
 *
 * asof_prepare reads the right side once (what its own conjuncts, and the dates of the left, leave)
 * into, for each day, row numbers by key and time. asof_match is then a search per left row, by any
 * number of threads.
 */
#pragma once

#include "exec_int.h"

void asof_prepare(struct xthread *t);
/* Sets b->side[1].refs. */
void asof_match(struct xthread *t, const struct asof *a, struct batch *b);
/* What is not query memory: the block lists. */
void asof_end(struct exec *x);
