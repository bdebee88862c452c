/* SPDX-License-Identifier: Apache-2.0 */
/* load_misbehave.c - a post_read function that does what its option `how` says, for tests: what it
 * breaks must be its own task only. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <penstock/load.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void nap(void)
{
    struct timespec t = {0, 20000000};
    nanosleep(&t, NULL);
}

static int writes(struct pst_load *l, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd >= 0)
        return pst_load_host->error(l, "wrote %s", path);
    return pst_load_host->error(l, "refused: %s", strerror(errno));
}

static int rows(struct pst_load *l, void *state, struct pst_load_rows *r)
{
    const char *how = pst_load_host->option(l, "how"), *path = pst_load_host->option(l, "path");
    static volatile int keep_on = 1;
    (void)state;
    if (!strcmp(how, "loop"))
        while (keep_on)
            nap();
    if (!strcmp(how, "polite"))
        while (!pst_load_host->stopped(l))
            nap();
    if (!strcmp(how, "crash"))
        *(volatile int *)(uintptr_t)keep_on = 1;
    if (!strcmp(how, "socket"))
        return socket(AF_INET, SOCK_STREAM, 0);
    if (!strcmp(how, "fork"))
        return fork();
    if (!strcmp(how, "write"))
        return writes(l, path);
    if (!strcmp(how, "memory")) {
        for (unsigned long n = 0;; n += 8u << 20) {
            char *p = malloc(8u << 20);
            if (!p)
                return pst_load_host->error(l, "no memory after %lu MiB", n >> 20);
            memset(p, 1, 8u << 20);
        }
    }
    if (!strcmp(how, "silent"))
        return -1;
    if (!strcmp(how, "untimely")) /* a row without a time has no partition */
        ((int64_t *)r->column[0].values)[0] = PST_NULL_TIMESTAMP;
    if (!strcmp(how, "drop"))
        memset(r->keep, 0, r->nrows);
    return 0;
}

static const struct pst_load_function function = {
    .name = "misbehave", .about = "Breaks.", .kind = PST_LOAD_POST_READ, .rows = rows};

PST_LOAD_PLUGIN("load_misbehave", "1.0", "For tests.")

PST_PLUGIN_EXPORT int pst_load_register(struct pst_load_registry *r)
{
    return pst_load_host->add(r, &function);
}
