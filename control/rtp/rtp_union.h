/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_union.h - results of the processes of a broadcast group as one: tables of the same columns,
 * row behind row. Pure functions over serialized kdb+ objects; any thread.
 */
#pragma once

#include <jansson.h>
#include "storage/kdb_object.h"

struct rtp_result { /* a table, or a keyed table: little endian, checked */
    const uint8_t *data;
    uint32_t len, rows;
};

/* Is a sound object (rtp_result_check) of these columns ([[NAME,TYPE]…]) and key ([NAME…])? */
bool rtp_result_fits(const void *body, size_t n, const json_t *columns, const json_t *key,
                     struct err *err);
/* Appends one table with all rows. They must fit the same columns and key; n >= 1. False: no
 * memory, or beyond what a message may be. */
bool rtp_union_put(struct kdb_out *out, const struct rtp_result *part, unsigned n);
