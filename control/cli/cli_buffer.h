/* SPDX-License-Identifier: Apache-2.0 */
/* cli_buffer.h - what tail shares with buffer: which files an event has. */
#pragma once

#include "cli.h"

#define BUFFER_PATHS 254u

struct buffer_paths {
    const char *path[BUFFER_PATHS + 1]; /* NULL-terminated */
    unsigned n;
    uint64_t since; /* position of the event's start */
};

/* The files of the newest event of that id, asked of the daemon. False: printed, *code is set. */
bool buffer_paths(struct cli *c, const char *id, struct buffer_paths *out, int *code);
void buffer_paths_free(struct buffer_paths *p);
