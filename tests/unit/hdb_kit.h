/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hdb_kit.h - for tests of the historical database: a temporary directory on a real filesystem,
 * bytes from hex, and tables written column by column.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/civil.h"
#include "core/io.h"
#include "core/schema.h"
#include "hdb_publish.h"
#include "hdb_sym.h"

#define HK_OK(x)                                                                                   \
    do {                                                                                           \
        err.text[0] = 0;                                                                           \
        if (!(x))                                                                                  \
            fail_msg("%s: %s", #x, err.text);                                                      \
    } while (0)

static char hk_dir[64];
static struct io *hk_io;

static inline int hk_setup(void **state)
{
    (void)state;
    /* memory: these tests sync after every step, thousands of times */
    sprintf(hk_dir, "%s/penstock-hdb-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    hk_io = io_posix_create(NULL);
    return !mkdtemp(hk_dir) || !hk_io;
}
static inline int hk_remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}
static inline int hk_teardown(void **state)
{
    (void)state;
    io_destroy(hk_io);
    return nftw(hk_dir, hk_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A path below the test's directory; a few rotating buffers. */
__attribute__((format(printf, 1, 2))) static inline const char *hk_path(const char *fmt, ...)
{
    static char buf[8][512];
    static unsigned at;
    char *out = buf[at++ % 8];
    int n = snprintf(out, 512, "%s/", hk_dir);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out + n, 512 - (size_t)n, fmt, ap);
    va_end(ap);
    return out;
}

static inline void hk_mkdirs(const char *path)
{
    char part[512];
    for (size_t i = 1; path[i - 1]; i++)
        if (path[i] == '/' || !path[i]) {
            snprintf(part, sizeof part, "%.*s", (int)i, path);
            mkdir(part, 0755);
        }
}

static inline void hk_write(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}
static inline uint8_t *hk_read(const char *path, size_t *n)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is not there", path);
    fstat(fileno(f), &st);
    uint8_t *b = malloc((size_t)st.st_size + 1);
    *n = fread(b, 1, (size_t)st.st_size, f);
    fclose(f);
    return b;
}
static inline bool hk_there(const char *path)
{
    return !access(path, F_OK);
}

static inline size_t hk_hex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; hex[0] && hex[1]; hex += 2) {
        unsigned v;
        sscanf(hex, "%2x", &v);
        out[n++] = (uint8_t)v;
    }
    return n;
}

/* A column of n values as the file has them. */
static inline void hk_column(const char *dir, const char *name, uint8_t type, const void *values,
                             uint64_t n, uint8_t attribute)
{
    struct err err = {0};
    struct kdb_writer w;
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    HK_OK(kdb_write_open(&w, hk_io, path, type, &err));
    if (n)
        HK_OK(kdb_write_at(&w, 0, values, n, &err));
    HK_OK(kdb_write_close(&w, n, attribute, false, &err));
}
static inline void hk_strings(const char *dir, const char *name, const char *const *text,
                              uint64_t n)
{
    struct err err = {0};
    struct kdb_writer w;
    char path[600];
    size_t bytes = 0;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    for (uint64_t i = 0; i < n; i++)
        bytes += strlen(text[i]);
    int64_t *end = malloc(8 * n + 8);
    char *all = malloc(bytes + 1), *at = all;
    for (uint64_t i = 0; i < n; i++) {
        at = stpcpy(at, text[i]);
        end[i] = at - all;
    }
    HK_OK(kdb_write_open(&w, hk_io, path, PST_STRING, &err));
    if (n) {
        HK_OK(kdb_write_bytes(&w, 0, all, bytes, &err));
        HK_OK(kdb_write_at(&w, 0, end, n, &err));
    }
    HK_OK(kdb_write_close(&w, n, 0, false, &err));
    free(end);
    free(all);
}
static inline void hk_names(const char *dir, const char *const *names, unsigned n)
{
    struct err err = {0};
    char path[600];
    snprintf(path, sizeof path, "%s/.d", dir);
    HK_OK(kdb_write_symbols(hk_io, path, names, n, false, &err));
}

/* <root>/<disk part>/<date>/<table> with columns time, sym, size (long): n rows, sym i % nsyms in
 * runs, time ascending in each. */
static inline void hk_trade(const char *disk, int32_t date, const char *table, uint64_t n,
                            uint64_t nsyms)
{
    static const char *const names[] = {"time", "sym", "size"};
    char dir[512], day[CIVIL_TEXT];
    int64_t *v = calloc(n + 1, 8);
    snprintf(dir, sizeof dir, "%s/%s/%s", disk, civil_format(date, day), table);
    hk_mkdirs(dir);
    for (uint64_t i = 0; i < n; i++)
        v[i] = date * PST_DAY_NS + (int64_t)i;
    hk_column(dir, "time", PST_TIMESTAMP, v, n, 0);
    for (uint64_t i = 0; i < n; i++)
        v[i] = (int64_t)(i * nsyms / n);
    hk_column(dir, "sym", PST_SYMBOL, v, n, 0);
    for (uint64_t i = 0; i < n; i++)
        v[i] = (int64_t)(i + 1);
    hk_column(dir, "size", PST_LONG, v, n, 0);
    hk_names(dir, names, 3);
    free(v);
}
