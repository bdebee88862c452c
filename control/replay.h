/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.h - `penstockd --replay`: captures through the same ports, feeds, decoders, journal and
 * log as live packets, on a virtual clock made of the packets' own times. Ends with what was found:
 * rows by table, gaps, content hashes, a ledger. Two replays of a capture have equal content
 * hashes.
 */
#pragma once

#include "config.h"

#define REPLAY_FILES 256

struct replay_options {
    const char *file[REPLAY_FILES];
    int nfiles;
    const char *feed;     /* itch, iex, or a framing's name; NULL: from the configuration */
    const char *date;     /* overrides the capture's */
    const char *database; /* ended dates become partitions there; NULL: none */
    bool eod;             /* with a database: every date ends where the capture does */
    const char *dir;      /* NULL: temporary, removed afterwards */
    int rows;
    bool json;
};

/* The process's exit code: 0 balanced, 1 not, 2 usage. Takes config (may be NULL). */
int replay_run(const struct replay_options *, struct config *config);
