/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database that is older than this instance's log: its `sym` becomes the first part of the
 * journal's symbol table, so that ids and indexes are equal (the fast path of every symbol column).
 * Anything in the way costs that path and nothing else: a map translates.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon.h"
#include "day.h"
#include "storage/kdb_file.h"

struct preload {
    struct symbols *symbols;
    uint32_t next;
    bool ok;
};

static bool one(void *arg, const char *text, size_t len)
{
    struct preload *p = arg;
    bool usable = len && len <= SYMBOL_TEXT_MAX &&
                  symbols_find(p->symbols, text, (uint32_t)len) == PST_NULL_SYMBOL;
    p->ok = usable ? symbols_restore(p->symbols, p->next, text, (uint32_t)len)
                   : symbols_skip(p->symbols, p->next);
    p->next += p->ok;
    return p->ok;
}

static bool count(void *arg, const char *text, size_t len)
{
    (void)text, (void)len;
    ++*(uint64_t *)arg;
    return true;
}

static void *slurp(const char *path, size_t *size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *p = NULL;
    if (fd >= 0 && !fstat(fd, &st) && st.st_size > 0 && st.st_size < (1ll << 32))
        p = malloc((size_t)st.st_size);
    size_t at = 0;
    while (p && at < (size_t)st.st_size) {
        ssize_t n = read(fd, p + at, (size_t)st.st_size - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    *size = at;
    return p;
}

void day_preload(struct daemon *d)
{
    char path[1100];
    size_t size, torn;
    struct err err = {0};
    const char *root = d->config->database;
    if (!root || symbols_count(&d->symbols))
        return;
    snprintf(path, sizeof path, "%s/sym", root);
    void *image = slurp(path, &size);
    if (!image)
        return; /* a new database; an unreadable one says so when it is opened */
    uint64_t n = 0;
    struct preload p = {.symbols = &d->symbols};
    if (!kdb_symbols_parse(image, size, count, &n, &torn, path, &err))
        fprintf(stderr, "penstockd: %s\n", err.text);
    else if (n > (uint64_t)d->config->symbols_max / 4 * 3)
        fprintf(stderr,
                "penstockd: %s has %llu symbols, too many for symbols_max %lld: they are not "
                "preloaded, a map translates\n",
                path, (unsigned long long)n, (long long)d->config->symbols_max);
    else if (kdb_symbols_parse(image, size, one, &p, &torn, path, &err) && p.ok)
        fprintf(stderr, "penstockd: %u symbols of %s are the first of the journal\n", p.next, path);
    else if (n)
        fprintf(stderr, "penstockd: %s: %u of %llu symbols preloaded; a map translates the rest\n",
                path, p.next, (unsigned long long)n);
    free(image);
}
