/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_query.h - what bench_query.c and its C loops share: the columns where they lie (chunks of
 * the RDB, files of the HDB), and the answers as sums that both must give.
 */
#pragma once

#include "core/base.h"

struct loop_chunk {
    uint32_t rows;
    uint64_t first;
    const int64_t *time;
    const void *sym; /* u32 ids, or i64 indices on disk */
    const double *a; /* price, bid */
    const double *b; /* ask */
    const int64_t *size;
};
struct loop_list { /* as struct rdb_list */
    uint64_t first, last, tail;
    uint32_t count, full;
};
struct loop_block { /* as struct rdb_block */
    uint64_t next, prev;
    uint32_t room, before;
    uint64_t zero;
    uint32_t row[];
};
struct loop_table {
    uint64_t rows;
    uint32_t nchunks, nsyms;
    struct loop_chunk *chunk;
    bool parted;   /* one chunk, by symbol: at[] are ranges; else row numbers in row[] */
    uint64_t *at;  /* nsyms + 1 */
    const struct loop_list **list; /* RDB: the lists' heads, by symbol */
    const uint8_t *base;
    char *text; /* of symbol s at text_at[s], 8 bytes */
    uint32_t *text_at;
    uint32_t *row; /* all row lists, one behind the other */
};

struct loop_answer {
    uint64_t rows;
    double sum;
};

struct loop_answer loop_last(const struct loop_table *t);
struct loop_answer loop_bars_one(const struct loop_table *t, uint32_t sym, int64_t width);
struct loop_answer loop_bars_all(const struct loop_table *t, int64_t width);
struct loop_answer loop_min_max(const struct loop_table *t);
struct loop_answer loop_ten_minutes(const struct loop_table *t, uint32_t sym, int64_t from,
                                    int64_t to);
struct loop_answer loop_sum(const struct loop_table *t);
struct loop_answer loop_top(const struct loop_table *t);
struct loop_answer loop_asof(const struct loop_table *t, const struct loop_table *q);
struct loop_answer loop_distinct(const struct loop_table *t);
struct loop_answer loop_distinct_price(const struct loop_table *t);
