/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_rate.h - how fast a disk fills: samples of its free bytes over up to two hours, at steps
 * that double whenever the table is full. Owner: one thread.
 */
#pragma once

#include "core/base.h"

#define DISK_RATE_SAMPLES 128u
#define DISK_RATE_STEP    1000000000ll          /* ns between samples at first */
#define DISK_RATE_LONGEST (64 * DISK_RATE_STEP) /* then the oldest samples go */
#define DISK_RATE_LEAST   (5 * 1000000000ll)    /* no rate from less time than this */
#define DISK_RATE_SURE    (600 * 1000000000ll)  /* from so long on any distance is foretold; */
#define DISK_RATE_REACH   10                    /* before, so many times the time looked at */
#define DISK_RATE_NEVER   INT64_MAX

struct disk_rate {
    int64_t at[DISK_RATE_SAMPLES]; /* monotonic */
    uint64_t free[DISK_RATE_SAMPLES];
    uint64_t wrote[DISK_RATE_SAMPLES]; /* total that we wrote there; 0 = not known */
    unsigned n;
    int64_t step;
};

void disk_rate_add(struct disk_rate *r, int64_t now, uint64_t free_bytes, uint64_t wrote);
/* Bytes a second, 0 = it does not fill (or too little is known); *until: ns until it is full, NEVER
 * also while it is further away than the samples allow to say. The rate is the lower one of all the
 * time and of its newer half, so that one large file (a database's, a preallocated one) is none.
 * ahead: bytes that may be allocated ahead of our writing, or still be: as long as the free bytes
 * differ from it by no more than that, our own writing is the rate. */
double disk_rate_now(const struct disk_rate *r, uint64_t ahead, int64_t *until);
