/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data.h - where the real captures are, if they are.
 *
 * PST_DATA in the environment, else ../shared/data beside the source tree (PST_DATA_DEFAULT, from
 * meson). Where the folder is absent, a test says what it leaves out and skips; where it is
 * present, a missing capture is a failure.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#ifndef PST_DATA_DEFAULT
#define PST_DATA_DEFAULT "../shared/data"
#endif

static inline const char *data_root(void)
{
    const char *e = getenv("PST_DATA");
    return e && *e ? e : PST_DATA_DEFAULT;
}

static inline bool data_present(void)
{
    struct stat st;
    return stat(data_root(), &st) == 0 && S_ISDIR(st.st_mode);
}

/* Path of a capture; a static buffer, overwritten by the next call. */
static inline const char *data_path(const char *relative)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", data_root(), relative);
    return path;
}

#define DATA_OR_SKIP(what)                                                                         \
    do {                                                                                           \
        if (!data_present()) {                                                                     \
            printf("skipped: %s (no real captures at %s)\n", what, data_root());                   \
            skip();                                                                                \
        }                                                                                          \
    } while (0)
