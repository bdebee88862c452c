/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.h - what a task of penstock-load is: a function from JSON to JSON that says how far it is.
 *
 * A task is idempotent: it may be run again after any crash, with the same arguments, and replaces
 * what an earlier run left. It writes below the directories of its arguments only.
 *
 *   refresh  {}                                      the worker is fresh: says its limits
 *   read     save.h: load_read_run
 *   index    index.h                                 merge   merge.h
 */
#pragma once

#include <jansson.h>
#include "core/atomics.h"
#include "core/base.h"

/* Figures that grow while a task runs: relaxed, one writer, read by the thread that sends beats.
 * A task that has not moved any of them for `stuck_after` is stuck, however alive its process. */
struct load_progress {
    _Atomic uint64_t rows;  /* done so far */
    _Atomic uint64_t bytes; /* read: of the delivered file, or of columns */
    _Atomic uint64_t total; /* bytes in all; 0 = not known */
    _Atomic bool stop;      /* set by the other thread: end with -ECANCELED soon */
};
pst_inline void load_progress_add(struct load_progress *p, uint64_t rows, uint64_t bytes)
{
    if (!p)
        return;
    store_relaxed(&p->rows, load_relaxed(&p->rows) + rows);
    store_relaxed(&p->bytes, load_relaxed(&p->bytes) + bytes);
}
pst_inline bool load_progress_stopped(const struct load_progress *p)
{
    return p && load_relaxed(&p->stop);
}

/* True: *result is the caller's. False: err, whose code says whether trying again can help
 * (load_retryable). progress may be NULL. */
typedef bool load_task_fn(const json_t *args, struct load_progress *progress, json_t **result,
                          struct err *err);

/* Would the same task, run again on the same file, possibly succeed? No: what is wrong with the
 * file or the recipe (-EINVAL -EBADMSG -ENODATA -EFBIG -ENOTSUP -EILSEQ -ENOTDIR -EISDIR
 * -ECANCELED). Yes: what is wrong with the machine (-ENOSPC -EDQUOT -EIO -ENOMEM -EMFILE -EBUSY …).
 */
bool load_retryable(int code);
