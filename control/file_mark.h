/* SPDX-License-Identifier: Apache-2.0 */
/* file_mark.h - has a file changed since it was read? One that is replaced or written to has
 * another mark; one that is missing has none (zeros). Reads the file system: no publish thread. */
#pragma once

#include <sys/stat.h>
#include "core/base.h"

struct file_mark {
    uint64_t dev, ino;
    int64_t size, changed_s, changed_ns, modified_s, modified_ns;
};

static inline struct file_mark file_mark(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return (struct file_mark){0};
    return (struct file_mark){st.st_dev,         st.st_ino,          st.st_size,
                              st.st_ctim.tv_sec, st.st_ctim.tv_nsec, st.st_mtim.tv_sec,
                              st.st_mtim.tv_nsec};
}

static inline bool file_mark_same(const struct file_mark *a, const struct file_mark *b)
{
    return !memcmp(a, b, sizeof *a);
}
