/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_repair.h - makes a sound file of a damaged one, for `penstock log repair`; the daemon must
 * not run (a start repairs by itself: recovery.h).
 *
 *   header lost       made anew from the frames; the old bytes stand in <file>.header
 *   one copy lost     written again from the other
 *   torn tail         copied to <file>.torn-<offset>, cut off
 *   damaged ranges    all sound frames go into a new file of the same name; what was there stands
 *                     in <file>.damaged, whole. Positions stay: what is lost is lost to every
 *                     reader
 *
 * Everything is synced before a name changes, so that a crash leaves the old file or the new one.
 * Owner: one thread.
 */
#pragma once

#include "logscan.h"

struct log_repair {
    struct io *io;
    const char *path, *prefix;
    uint64_t
        instance; /* of the other files here; 0 = as the file says (then its header is needed) */
    /* what was found */
    enum log_header_verdict header;
    enum logscan_verdict end;
    uint64_t frames, records, bytes; /* sound ones */
    uint32_t ranges;
    uint64_t damaged_bytes, torn_from, torn_bytes;
    uint64_t lost_positions;
    bool needed;      /* something is not sound */
    char aside[4200]; /* where what was there stands now; "" = nothing was done */
};

/* Looks (act false) or repairs. False: err; nothing was changed but what `aside` names. */
bool log_repair_file(struct log_repair *r, bool act, struct err *err);
