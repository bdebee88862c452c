/* SPDX-License-Identifier: Apache-2.0 */
/* penstock log repair: says what is not sound and what a repair costs; with --yes repairs. */
#include <errno.h>
#include <fcntl.h>
#include "cli_log.h"
#include "print.h"
#include "storage/log_repair.h"

/* Files that a daemon writes are its own: it holds the lock beside them. -1: it does. */
static int lock_directory(struct io *io, const char *path, bool directory)
{
    char lock[4200];
    snprintf(lock, sizeof lock, "%.4000s", path);
    char *end = directory ? lock + strlen(lock) : strrchr(lock, '/');
    if (!end)
        end = lock;
    snprintf(end, sizeof lock - (size_t)(end - lock), "%slock", end == lock ? "" : "/");
    int fd = io->ops->open(io, lock, O_RDWR, 0);
    if (fd < 0)
        return INT32_MAX; /* no daemon ever ran here */
    if (io->ops->lock(io, fd) >= 0)
        return fd;
    fprintf(stderr,
            "penstock: %s is held: a daemon runs on these files; stop it first (its start "
            "repairs them too)\n",
            lock);
    io->ops->close(io, fd);
    return -1;
}

static void tell(const struct log_repair *r, bool done)
{
    const char *name = log_base(r->path);
    if (r->header == LOG_HEADER_NONE && !done) {
        printf("%s: both copies of its header are damaged: they are made anew from its frames\n",
               name);
        return;
    }
    if (r->header != LOG_HEADER_OK)
        printf("%s: %s\n", name,
               r->header == LOG_HEADER_ONE_COPY ? "one copy of its header is damaged"
                                                : "both copies of its header were damaged");
    if (r->ranges)
        printf(
            "%s: %s damaged ranges, %s bytes: positions amounting to %s bytes are lost; %s frames "
            "with %s records are sound and kept\n",
            name, print_count(r->ranges), print_count((int64_t)r->damaged_bytes),
            print_count((int64_t)r->lost_positions), print_count((int64_t)r->frames),
            print_count((int64_t)r->records));
    if (r->torn_bytes)
        printf("%s: a torn tail of %s bytes from byte %s on\n", name,
               print_count((int64_t)r->torn_bytes), print_count((int64_t)r->torn_from));
    if (done && *r->aside)
        printf("%s: repaired; what was there is %s\n", name, r->aside);
}

int log_repair(struct cli *c, const struct log_files *fs, const struct log_where *w, struct io *io,
               bool yes)
{
    json_t *all = json_array();
    unsigned needed = 0;
    int code = EXIT_HEALTHY, lock = lock_directory(io, w->path[0], w->directory);
    if (lock < 0) {
        json_decref(all);
        return EXIT_USAGE;
    }
    for (unsigned i = 0; i < fs->n; i++) {
        struct log_repair r = {
            .io = io, .path = fs->path[i], .prefix = w->prefix, .instance = fs->instance};
        struct logscan s;
        struct err err;
        enum log_opened o = log_file_open(&s, io, fs, fs->path[i], &err);
        if (o < LOG_IS_FRESH)
            logscan_close(&s);
        if (o == LOG_IS_FRESH || o == LOG_IS_FOREIGN)
            continue;
        if (!log_repair_file(&r, yes, &err)) {
            fprintf(stderr, "penstock: %s\n", err.text);
            code = EXIT_DEGRADED;
            continue;
        }
        needed += r.needed;
        if (r.needed && !c->json)
            tell(&r, yes);
        json_array_append_new(
            all, json_pack("{s:s,s:b,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "file", r.path, "sound",
                           !r.needed, "repaired", r.needed && yes, "frames", (json_int_t)r.frames,
                           "records", (json_int_t)r.records, "ranges", (json_int_t)r.ranges,
                           "damaged_bytes", (json_int_t)r.damaged_bytes, "torn_bytes",
                           (json_int_t)r.torn_bytes, "lost_positions", (json_int_t)r.lost_positions,
                           "aside", r.aside));
    }
    if (lock != INT32_MAX)
        io->ops->close(io, lock);
    if (c->json) {
        json_dumpf(all, stdout, JSON_INDENT(1));
        printf("\n");
    } else if (!needed && !code) {
        printf("nothing to repair\n");
    }
    json_decref(all);
    if (needed && !yes) {
        fprintf(stderr, "penstock: nothing was changed; say --yes to repair %u files\n", needed);
        return EXIT_USAGE;
    }
    return code;
}
