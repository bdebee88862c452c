/* SPDX-License-Identifier: Apache-2.0 */
#include "start_options.h"

#include <stdio.h>
#include "config.h"
#include "core/civil.h"
#include "storage/logscan.h"

const char *start_options_acts(const struct start_options *o)
{
    return o->hard_reset && o->no_replay ? "hard_reset no_replay"
           : o->hard_reset               ? "hard_reset"
           : o->no_replay                ? "no_replay"
                                         : NULL;
}

/* The newest date that log files are there for, and what they hold. */
struct newest {
    struct io *io;
    const char *dir, *prefix;
    int32_t day;
    unsigned files;
    uint64_t bytes;
};

static bool look_at(void *arg, const char *name)
{
    struct newest *n = arg;
    struct log_name parsed;
    struct io_stat st;
    char path[4096];
    if (!log_name_parse(&parsed, n->prefix, name) || *parsed.event || parsed.day < n->day ||
        snprintf(path, sizeof path, "%s/%s", n->dir, name) >= (int)sizeof path ||
        n->io->ops->stat(n->io, path, &st) < 0)
        return true;
    if (parsed.day > n->day)
        n->files = 0, n->bytes = 0;
    n->day = parsed.day;
    n->files++;
    n->bytes += st.size;
    return true;
}

int start_options_warn(const struct start_options *o, const struct config *c)
{
    struct err err;
    struct newest n = {.io = io_posix_create(&err), .prefix = c->log_prefix, .day = -1};
    const char *dirs[] = {c->log_directory, c->spill_directory};
    for (unsigned i = 0; n.io && i < PST_COUNT(dirs) && dirs[i]; i++) {
        n.dir = dirs[i];
        n.io->ops->list(n.io, n.dir, look_at, &n);
    }
    io_destroy(n.io);
    char date[CIVIL_TEXT] = "no date";
    if (n.day >= 0)
        civil_format(n.day, date);
    if (o->hard_reset)
        fprintf(
            stderr,
            "penstockd: --hard-reset throws away what the log of the open date holds (newest on "
            "disk: %s, %u files, %llu MB): its rows leave memory, queries and the partition to "
            "come, and its messages are declared lost (gap rows, reason hard_reset). The files "
            "are renamed *.reset and stay until you delete them. Positions, symbols, sessions "
            "and earlier dates are kept.\n",
            date, n.files, (unsigned long long)(n.bytes >> 20));
    if (o->no_replay)
        fprintf(stderr,
                "penstockd: --no-replay leaves the rows that the log holds so far out of memory: "
                "until the end of day queries see only what comes from now on. Nothing is deleted: "
                "the partition is made from the log.\n");
    fprintf(stderr, "penstockd: if that is what you want, say --yes\n");
    return 2;
}
