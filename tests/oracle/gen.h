/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen.h - random queries, each in Penstock's SQL and in DuckDB's. Where the two mean different
 * things by the same words the second text says what the first means.
 */
#pragma once

#include <core/base.h>

#define GEN_TEXT 6000
struct gen {
    uint64_t seed;
    char ours[GEN_TEXT], duck[GEN_TEXT];
    bool ordered; /* the order of rows counts */
};
void gen_query(struct gen *g);
