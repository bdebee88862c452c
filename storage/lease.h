/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.h - what makes positions unique for ever, in <state_directory>:
 *
 *   instance   text: the instance id in hex, made once from the kernel's random numbers
 *   lease      64 bytes, written to lease.new, synced, renamed: magic, instance, end, closed, CRC.
 *              No position at or beyond `end` has ever been given out. closed: where a clean stop
 *              left the journal, 0 while a daemon runs; a log that ends elsewhere is not all there
 *   lock       flock'd while a daemon runs; text: pid, instance name, heartbeat. A second lock of
 *              the same name lies in log_directory, so that two state directories cannot share
 *              logs.
 *
 * THREADS: control. The appender must be told lease_end (it stops below it); control renews when
 * less than half is left, long before: 1 TiB at 4 GB/s is 4 minutes.
 */
#pragma once

#include "core/io.h"

#define LEASE_BYTES (1ull << 40)

struct lease {
    struct io *io;
    char directory[1000];
    uint64_t instance;
    uint64_t end; /* on disk, synced; 0 = none yet */
    uint64_t closed;
};

/* Reads or makes the instance id and reads the lease. A damaged lease file is refused with a
 * sentence: the journal must then be continued from the highest position in the log files
 * (lease_restore). */
bool lease_open(struct lease *l, struct io *io, const char *state_directory, struct err *err);
/* Makes the lease end at least LEASE_BYTES above `position`, and open; nothing is written when it is
 * open and ends above by more than half. */
bool lease_renew(struct lease *l, uint64_t position, struct err *err);
pst_unused static inline uint64_t lease_end(const struct lease *l)
{
    return l->end;
}
/* A clean stop, once all is durable: the journal ends at `position`. */
bool lease_close(struct lease *l, uint64_t position, struct err *err);
/* After damage: sets the lease beyond `highest`, the end of what the log files hold, by two leases:
 * what was given out but never logged lies below. */
bool lease_restore(struct lease *l, uint64_t highest, struct err *err);

struct instance_lock {
    struct io *io;
    int fd[2]; /* state directory, log directory (-1 = the same file) */
    char path[2][1100];
    char name[64];
};
/* Tries each lock up to 50 times, 50 ms apart: a killed daemon's writes in flight hold its lock for
 * a moment. False: err names the pid that holds it. */
bool lock_take(struct instance_lock *k, struct io *io, const char *state_directory,
               const char *log_directory, const char *name, struct err *err);
void lock_beat(struct instance_lock *k, int64_t now); /* writes pid, name, time */
/* The same for one of the two, 0 = state directory; any thread, one for each. 0, -errno, or -ENOENT
 * where both directories are one. A file that does not take it, or whose path is another file's now
 * (the disk was mounted anew), is let go and the one at the path is locked instead, so that a dead
 * filesystem can be unmounted. */
int lock_beat_one(struct instance_lock *k, unsigned i, int64_t now);
void lock_drop(struct instance_lock *k);
