/* SPDX-License-Identifier: Apache-2.0 */
/* kdb_file_packed.c - kxzipped files: the container and its block codecs (format page 4.9, 1.7). */
#include <sys/mman.h>
#include <zlib.h>
#include "kdb_file_private.h"

#define TRAILER_MIN 48u /* five words and one block */
#define BLOCK_MIN   (1u << 12)
#define BLOCK_MAX   (1u << 20)

/* q IPC compression. `in` is a whole frame: header, original length, tokens. */
static bool unpack_ipc(const uint8_t *in, size_t n, uint8_t *out, size_t want)
{
    if (n < 12 || in[2] != 1 || le32(in + 8) != want + 8)
        return false;
    size_t tab[256] = {0}; /* position in the plain message (its data starts at 8); 0 = never set */
    size_t d = 12, s = 8, p = 8, end = want + 8;
    uint8_t *o = out - 8; /* so that positions are those of the message */
    unsigned bits = 0, bit = 0;
    while (s < end) {
        if (!bit) {
            if (d >= n)
                return false;
            bits = in[d++];
            bit = 1;
        }
        size_t more = 0;
        if (bits & bit) {
            if (d + 2 > n)
                return false;
            size_t r = tab[in[d]];
            more = in[d + 1];
            d += 2;
            if (r < 8 || r + 2 > s || 2 + more > end - s)
                return false;
            o[s] = o[r];
            o[s + 1] = o[r + 1];
            s += 2;
            r += 2;
            for (size_t i = 0; i < more; i++) /* may overlap: one at a time */
                o[s + i] = o[r + i];
        } else {
            if (d >= n)
                return false;
            o[s++] = in[d++];
        }
        for (; p + 1 < s; p++)
            tab[o[p] ^ o[p + 1]] = p;
        if (bits & bit)
            p = s += more;
        bit = bit << 1 & 0xFF;
    }
    return true;
}

static bool unpack_zlib(const uint8_t *in, size_t n, uint8_t *out, size_t want)
{
    uLongf got = want;
    return uncompress(out, &got, in, n) == Z_OK && got == want;
}

static bool copy_back(uint8_t *out, size_t *at, size_t want, size_t back, size_t len)
{
    if (!back || back > *at || len > want - *at)
        return false;
    for (size_t i = 0; i < len; i++, ++*at)
        out[*at] = out[*at - back];
    return true;
}

/* LZ4 block format. */
static bool unpack_lz4(const uint8_t *in, size_t n, uint8_t *out, size_t want)
{
    size_t at = 0, d = 0;
    while (d < n) {
        unsigned token = in[d++];
        size_t len = token >> 4;
        for (uint8_t b = 255; len >= 15 && b == 255; len += b) {
            if (d >= n)
                return false;
            b = in[d++];
        }
        if (len > n - d || len > want - at)
            return false;
        memcpy(out + at, in + d, len);
        at += len;
        d += len;
        if (d == n)
            break; /* the last sequence has literals only */
        if (n - d < 2)
            return false;
        size_t back = le16(in + d);
        d += 2;
        len = token & 15;
        for (uint8_t b = 255; len >= 15 && b == 255; len += b) {
            if (d >= n)
                return false;
            b = in[d++];
        }
        if (!copy_back(out, &at, want, back, len + 4))
            return false;
    }
    return at == want;
}

/* Snappy raw format. */
static bool unpack_snappy(const uint8_t *in, size_t n, uint8_t *out, size_t want)
{
    uint64_t plain = 0;
    size_t d = 0, at = 0;
    for (unsigned shift = 0;; shift += 7) {
        if (d >= n || shift > 28)
            return false;
        plain |= (uint64_t)(in[d] & 127) << shift;
        if (!(in[d++] & 128))
            break;
    }
    if (plain != want)
        return false;
    while (d < n) {
        unsigned tag = in[d++], kind = tag & 3;
        size_t len = (tag >> 2) + 1, extra = kind ? (kind == 3 ? 4 : kind) : 0;
        if (!kind && len > 60) /* a literal's length in 1...4 further bytes */
            extra = len - 60;
        if (extra > n - d)
            return false;
        uint32_t v = 0;
        for (size_t i = 0; i < extra; i++)
            v |= (uint32_t)in[d + i] << 8 * i;
        d += extra;
        if (!kind) {
            if (extra)
                len = (size_t)v + 1;
            if (len > n - d || len > want - at)
                return false;
            memcpy(out + at, in + d, len);
            at += len;
            d += len;
        } else {
            size_t back = v;
            if (kind == 1) {
                len = (tag >> 2 & 7) + 4;
                back = v | (size_t)(tag >> 5) << 8;
            }
            if (!copy_back(out, &at, want, back, len))
                return false;
        }
    }
    return at == want;
}

bool kdb_is_compressed(const void *image, size_t len)
{
    return len >= 8 && (!memcmp(image, "kxzipped", 8) || !memcmp(image, "kxzippEd", 8));
}

static bool unpack_block(unsigned algorithm, const uint8_t *in, size_t n, uint8_t *out, size_t want)
{
    switch (algorithm) {
    case 0:
        if (n == want)
            memcpy(out, in, n);
        return n == want;
    case 1:
        return unpack_ipc(in, n, out, want);
    case 2:
        return unpack_zlib(in, n, out, want);
    case 3:
        return unpack_snappy(in, n, out, want);
    default:
        return unpack_lz4(in, n, out, want);
    }
}

/* At least `limit` bytes of the plain image (or all of it); *total is its whole length. */
bool kdb_unpack_start(const void *image, size_t len, size_t limit, void **plain, size_t *plain_len,
                      uint64_t *total, const char *name, struct err *err)
{
    const uint8_t *f = image;
    if (!memcmp(f, "kxzippEd", 8))
        return err_set(err, -ENOTSUP, "%s: is encrypted; only q with its key can read it", name);
    uint64_t nb = len >= 8 + TRAILER_MIN ? le64(f + len - 8) : 0;
    if (!nb || nb > (len - 8) / 8 - 5)
        return err_set(err, -EBADMSG, "%s: the trailer of a compressed file is damaged or cut off",
                       name);
    uint64_t t = len - 8 * (5 + nb), size = le64(f + t + 8), block = le64(f + t + 24), sum = 8;
    unsigned version = le32(f + t), asked = f[t + 4];
    if (version > 3 || (version == 3 && nb > 1))
        return err_set(err, -ENOTSUP,
                       "%s: is compressed in container version %u, which is not read", name,
                       version);
    if (asked >= 16)
        return err_set(err, -ENOTSUP, "%s: is encrypted; only q with its key can read it", name);
    if (le64(f + t + 16) != t || block < BLOCK_MIN || block > BLOCK_MAX ||
        size <= (nb - 1) * block || size > nb * block)
        return err_set(err, -EBADMSG, "%s: the trailer of a compressed file is damaged", name);
    for (uint64_t i = 0; i < nb; i++) {
        sum += le32(f + t + 32 + 8 * i);
        unsigned a = le32(f + t + 36 + 8 * i);
        if (a > 4)
            return err_set(err, -ENOTSUP, "%s: block %llu is compressed with %s, which is not read",
                           name, (unsigned long long)i, a == 5 ? "zstd" : "an unknown algorithm");
    }
    if (sum != t)
        return err_set(err, -EBADMSG, "%s: the blocks of a compressed file do not fill it", name);
    uint64_t blocks = limit / block + (limit % block != 0);
    if (blocks > nb || !limit)
        blocks = nb;
    size_t room = blocks * block < size ? blocks * block : size, mapped = pst_align_up(room, 4096);
    uint8_t *out = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (out == MAP_FAILED)
        return err_set(err, -ENOMEM, "%s: no memory for %zu uncompressed bytes", name, room);
    const uint8_t *in = f + 8;
    for (uint64_t i = 0; i < blocks; i++) {
        uint32_t n = le32(f + t + 32 + 8 * i);
        size_t at = i * block, want = room - at < block ? room - at : block;
        if (!unpack_block(le32(f + t + 36 + 8 * i), in, n, out + at, want)) {
            munmap(out, mapped);
            return err_set(err, -EBADMSG, "%s: compressed block %llu is damaged", name,
                           (unsigned long long)i);
        }
        in += n;
    }
    *plain = out;
    *plain_len = room;
    *total = size;
    return true;
}

bool kdb_unpack(const void *image, size_t len, void **plain, size_t *plain_len, const char *name,
                struct err *err)
{
    uint64_t total;
    if (!kdb_is_compressed(image, len))
        return err_set(err, -EINVAL, "%s: is not compressed", name);
    return kdb_unpack_start(image, len, 0, plain, plain_len, &total, name, err);
}
