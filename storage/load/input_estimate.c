/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <lz4frame.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include "load/input_parts.h"

static uint64_t gzip_size(const struct load_raw *r, uint64_t guess)
{
    uint8_t b[4];
    if (r->size < 18 || raw_pread(r, b, 4, r->size - 4) != 4)
        return guess;
    /* modulo 2^32, and of the last member only: less than the file itself cannot be right, as
     * deflate grows nothing by more than a few bytes */
    uint64_t n = le32(b);
    while (n + 1024 < r->size && n < guess)
        n += 1ull << 32;
    return n;
}

static uint64_t lz4_size(const uint8_t *head, size_t n, uint64_t guess)
{
    LZ4F_dctx *d;
    LZ4F_frameInfo_t info = {0};
    if (LZ4F_isError(LZ4F_createDecompressionContext(&d, LZ4F_VERSION)))
        return guess;
    size_t rc = LZ4F_getFrameInfo(d, &info, head, &n);
    LZ4F_freeDecompressionContext(d);
    return LZ4F_isError(rc) || !info.contentSize ? guess : info.contentSize;
}

bool load_input_estimate(const char *path, double factor, uint64_t *bytes, struct err *err)
{
    struct load_raw r = {.path = path};
    struct stat st;
    uint8_t head[64];
    struct zip_entry e;
    struct err ignored;
    r.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
    if (r.fd < 0 || fstat(r.fd, &st)) {
        err_set(err, -errno, "%s: cannot be opened: %s", path, strerror(errno));
        if (r.fd >= 0)
            close(r.fd);
        return false;
    }
    r.size = (uint64_t)st.st_size;
    int64_t n = raw_pread(&r, head, sizeof head, 0);
    uint64_t guess = (uint64_t)((double)r.size * factor);
    *bytes = r.size;
    if (n >= 2 && head[0] == 0x1f && head[1] == 0x8b)
        *bytes = gzip_size(&r, guess);
    else if (n >= 4 && le32(head) == 0xFD2FB528u) {
        unsigned long long size = ZSTD_getFrameContentSize(head, (size_t)n);
        *bytes = size >= ZSTD_CONTENTSIZE_ERROR ? guess : size;
    } else if (n >= 4 && le32(head) == 0x184D2204u)
        *bytes = lz4_size(head, (size_t)n, guess);
    else if (n >= 4 && le32(head) == 0x04034b50u)
        *bytes = zip_find(&r, &e, &ignored) ? e.plain : guess;
    close(r.fd);
    return true;
}
