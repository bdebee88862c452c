/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_log.h - `penstock log`: the files themselves, with or without a daemon. One place finds and
 * opens them (cli_log.c); each verb has a file of its own.
 */
#pragma once

#include <jansson.h>
#include "cli.h"
#include "storage/logscan.h"

#define LOG_DIRS 2u

/* What was given, or the daemon's own directories. */
struct log_where {
    const char *path[LOG_DIRS]; /* a file or directories; NULL ends */
    const char *prefix;
    bool directory;
    uint64_t to; /* of a running daemon: its files held everything up to here when asked; or 0 */
};

struct log_files {
    char **path; /* by name within each directory */
    unsigned n, room;
    uint64_t instance; /* of the newest file: others' are strangers here; 0 = none is readable */
};
bool log_files_find(struct log_files *fs, const struct log_where *w, struct io *io);
void log_files_free(struct log_files *fs);

/* What a file turned out to be, before any frame of it is read. */
enum log_opened {
    LOG_IS_SOUND,
    LOG_IS_HEALED,  /* one copy of its header is damaged */
    LOG_IS_FOREIGN, /* of another instance than the newest file here */
    LOG_IS_FRESH,   /* prepared, nothing in it yet: not opened, as are those below */
    LOG_NO_HEADER,
    LOG_IS_NEWER,
    LOG_UNREADABLE
};
const char *log_opened_name(enum log_opened o); /* as JSON says it */
/* The walk is open (close it) above LOG_IS_FRESH; else `text` says in one line what is wrong. */
enum log_opened log_file_open(struct logscan *s, struct io *io, const struct log_files *fs,
                              const char *path, struct err *text);
const char *log_base(const char *path);

/* {TABLE: its columns}: all that a reader has learnt; those that a file declares at its start. */
struct dictionary;
json_t *log_schemas(const struct dictionary *d);
json_t *log_head_schemas(const struct log_files *fs, const char *path, struct io *io);

int log_ls(struct cli *c, const struct log_files *fs, struct io *io);
int log_verify(struct cli *c, const struct log_files *fs, const struct log_where *w, struct io *io);
int log_stat(struct cli *c, const struct log_files *fs, struct io *io);
int log_repair(struct cli *c, const struct log_files *fs, const struct log_where *w, struct io *io,
               bool yes);

struct log_dump {
    const char *table; /* NULL: all */
    uint32_t kinds;    /* bits 1 << enum frame_kind */
    uint64_t from, to; /* positions */
    int64_t since, until;
    bool csv;
    bool buffered; /* rows of buffering events instead of the others; of an event's file: always */
};
int log_dump(struct cli *c, const struct log_where *w, const struct log_dump *o);
