/* SPDX-License-Identifier: Apache-2.0 */
/*
 * append_check.h - the bytes of an `append` request (append_wire.h), checked as if they came from
 * an enemy, before any of them goes anywhere. A pure function but for what it writes into the bytes
 * themselves: the flag of replayed runs and zeros into paddings. Any thread.
 */
#pragma once

#include "append_wire.h"
#include "core/days.h"
#include "core/schema.h"

struct append_rules {
    const struct schema_set *schemas;
    const struct days_owner *owners; /* NULL = one calendar */
    const bool *may;                 /* by table id: this peer may write it */
    bool admin;                      /* may say dates */
    bool of_source;
};

struct append_found {
    struct append_block *block[APPEND_BLOCKS];
    unsigned blocks;
    uint64_t rows;  /* packet records not counted */
    uint32_t texts; /* most of one block */
};

static inline uint8_t *append_texts(const struct append_block *b)
{
    return (uint8_t *)(uintptr_t)(b + 1);
}
static inline uint8_t *append_records(const struct append_block *b)
{
    return append_texts(b) + b->texts_bytes;
}
static inline uint32_t append_record_bytes(const struct append_block *b)
{
    return b->bytes - (uint32_t)sizeof *b - b->texts_bytes;
}

/* body: `bytes` bytes, 8-aligned. False: -EBADMSG or -EACCES, and the sentence says which block. */
bool append_check(const struct append_rules *rules, uint8_t *body, uint32_t bytes,
                  struct append_found *out, struct err *err);
