/* SPDX-License-Identifier: Apache-2.0 */
/*
 * day_file.h - lines for people and their tools, in a file a date:
 * <directory>/<instance>.<kind>.YYYY.MM.DD (mode 0640), appended to, bounded by a size.
 *
 * A line is in the file whole or not at all. A file that cannot be opened is complained of once on
 * stderr, until one could; each line tries again. What is no regular file is not written to.
 *
 * One thread at a time; calls may block.
 */
#pragma once

#include "core/base.h"

struct day_file {
    const char *what; /* "access log"; borrowed */
    char stem[1120];  /* the path without its date */
    char path[1150];  /* of the file opened last; "" before */
    int fd;           /* -1: none */
    int32_t day;
    int64_t size; /* bytes in it */
    bool complained;
};

void day_file_init(struct day_file *f, const char *what, const char *directory,
                   const char *instance, const char *kind);
void day_file_close(struct day_file *f);
/* A line with its end into the file of `day`. False: not written (the file would grow beyond
 * `most` bytes, or cannot take it). */
bool day_file_write(struct day_file *f, int32_t day, const char *line, size_t n, int64_t most);
