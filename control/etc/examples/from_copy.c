/* SPDX-License-Identifier: Apache-2.0 */
/*
 * from_copy.c - in-process functions of Penstock, as an example that works:
 *
 *   from_copy    recovery: repairs a damaged range of the log from a copy of its file (a backup, a
 *                replica's directory), if the copy holds the very bytes; what it cannot repair is
 *                salvaged
 *   reference    initial: declares a table `reference` and writes one row a trading date into it
 *
 *     gcc -shared -fPIC -O2 -o from_copy.so from_copy.c
 *     chown root from_copy.so; chmod go-w from_copy.so
 *
 *     log_recovery_function: /opt/penstock/from_copy.so:from_copy(directory=/backup/log)
 *     initial_state_function: /opt/penstock/from_copy.so:reference(text=from the vendor)
 *
 * Both run inside penstockd: see the warning in penstock/functions.h.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <penstock/functions.h>

/* Sound frames, end to end, and nothing else? The daemon checks again, and their positions too. */
static int sound(const struct pst_function_host *host, const struct pst_range *range)
{
    uint64_t at = 0, position, last = 0;
    while (at < range->length) {
        uint32_t n = host->frame(range, range->repair + at, range->length - at, &position);
        if (!n || (at && position < last))
            return 0;
        at += n;
        last = position + n;
    }
    return at == range->length;
}

static int32_t take_from_copy(const struct pst_function_host *host, struct pst_range *range,
                              const struct pst_arguments *args, char *sentence, uint32_t room)
{
    const char *directory = pst_argument(args, "directory");
    const char *name = range->path ? strrchr(range->path, '/') : NULL;
    char path[4096];
    if (!range->repair || !directory || !name)
        return PST_SALVAGE;
    snprintf(path, sizeof path, "%s%s", directory, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t got = 0;
    while (fd >= 0 && got < range->length) {
        ssize_t n =
            pread(fd, range->repair + got, range->length - got, (off_t)(range->offset + got));
        if (n <= 0)
            break;
        got += (uint64_t)n;
    }
    if (fd >= 0)
        close(fd);
    if (got < range->length || !sound(host, range)) {
        snprintf(sentence, room, "%s has nothing sound for byte %llu: salvaged", path,
                 (unsigned long long)range->offset);
        return PST_SALVAGE;
    }
    snprintf(sentence, room, "byte %llu of %s: %llu bytes taken from %s",
             (unsigned long long)range->offset, range->path, (unsigned long long)range->length,
             path);
    return PST_REPAIR;
}
PST_RECOVERY_FUNCTION(from_copy, "Repairs damaged ranges from a copy of the log.", take_from_copy)

static const struct pst_column columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"day", PST_DATE}, {"text", PST_STRING}};

static int32_t declare(const struct pst_function_host *host, const struct pst_start_facts *facts,
                       const struct pst_start_api *api, struct pst_start *start,
                       const struct pst_arguments *args)
{
    (void)host, (void)facts, (void)args;
    return api->declare(start, "reference", columns, 4);
}

static int32_t one_row(const struct pst_function_host *host, const struct pst_start_facts *facts,
                       const struct pst_start_api *api, struct pst_start *start,
                       const struct pst_arguments *args)
{
    const char *text = pst_argument(args, "text");
    struct pst_value row[4] = {{.type = PST_TIMESTAMP, .i = PST_NULL_TIMESTAMP},
                               {.type = PST_SYMBOL, .text = {facts->instance, 0}},
                               {.type = PST_DATE, .i = facts->day},
                               {.type = PST_STRING, .text = {text ? text : "", 0}}};
    row[1].text.len = (uint32_t)strlen(facts->instance);
    row[3].text.len = text ? (uint32_t)strlen(text) : 0;
    host->log("reference: day %d, %s log", (int)facts->day, facts->fresh ? "a new" : "an old");
    /* One row a date, however often the daemon starts: the date is the row's position. */
    return api->publish(start, "reference", row, "example/reference", facts->day);
}
PST_INITIAL_FUNCTION(reference, "One row a trading date.", declare, one_row)
