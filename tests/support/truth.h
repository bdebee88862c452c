/* SPDX-License-Identifier: Apache-2.0 */
/* truth.h - reads the file of penstock-sim --truth for tests. The format: perf/sim/truth.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct truth_record {
    uint32_t session, len;
    uint64_t seq;
    int64_t sent; /* UTC ns since 1970 */
    uint32_t lines, flags;
    const uint8_t *bytes; /* valid until the next call */
};

struct truth_reader {
    FILE *f;
    uint8_t *buf;
    uint32_t cap;
};

bool truth_reader_open(struct truth_reader *t,
                       const char *path); /* false: no such file, or not one */
int truth_reader_next(struct truth_reader *t,
                      struct truth_record *r); /* 1, 0 at the end, -1 cut short */
void truth_reader_close(struct truth_reader *t);
