/* SPDX-License-Identifier: Apache-2.0 */
/* load_pack.h - packs bytes as gzip, zstd, lz4 and zip, with other code than the loader reads them
 * with (zlib writes what ISA-L reads). For tests and fuzzing. */
#pragma once

#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>
#include "core/base.h"

struct packed {
    uint8_t *at;
    size_t n, room;
};

static inline void pack_add(struct packed *p, const void *bytes, size_t n)
{
    if (p->n + n + 1 > p->room) {
        p->room = 2 * (p->n + n) + 64;
        p->at = realloc(p->at, p->room);
        pst_must(p->at);
    }
    if (n)
        memcpy(p->at + p->n, bytes, n);
    p->n += n;
}

/* bits: 15 + 16 gzip, -15 deflate alone */
static inline void pack_deflate(struct packed *p, const void *bytes, size_t n, int bits, int level)
{
    z_stream z = {0};
    pst_must(deflateInit2(&z, level, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    size_t room = deflateBound(&z, n) + 64;
    uint8_t *out = malloc(room);
    pst_must(out);
    z.next_in = (Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)room;
    pst_must(deflate(&z, Z_FINISH) == Z_STREAM_END);
    pack_add(p, out, room - z.avail_out);
    deflateEnd(&z);
    free(out);
}
static inline void pack_gzip(struct packed *p, const void *bytes, size_t n)
{
    pack_deflate(p, bytes, n, 15 + 16, 6);
}
static inline void pack_zstd(struct packed *p, const void *bytes, size_t n)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    size_t room = ZSTD_compressBound(n) + 64;
    uint8_t *out = malloc(room);
    pst_must(c && out);
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    size_t k = ZSTD_compress2(c, out, room, bytes, n);
    pst_must(!ZSTD_isError(k));
    pack_add(p, out, k);
    ZSTD_freeCCtx(c);
    free(out);
}
static inline void pack_lz4(struct packed *p, const void *bytes, size_t n)
{
    LZ4F_preferences_t o = {.frameInfo = {.contentChecksumFlag = LZ4F_contentChecksumEnabled,
                                          .blockChecksumFlag = LZ4F_blockChecksumEnabled,
                                          .contentSize = n}};
    size_t room = LZ4F_compressFrameBound(n, &o);
    uint8_t *out = malloc(room);
    pst_must(out);
    size_t k = LZ4F_compressFrame(out, room, bytes, n, &o);
    pst_must(!LZ4F_isError(k));
    pack_add(p, out, k);
    free(out);
}

struct zip_how {
    bool stored, descriptor, zip64;
    unsigned files; /* further ones, empty */
    const char *comment;
};

static inline void zip_put(struct packed *p, unsigned width, uint64_t v)
{
    pack_add(p, &v, width);
}

static inline void zip_entry_put(struct packed *p, const struct zip_how *h, const char *name,
                                 uint32_t crc, uint64_t packed, uint64_t plain, bool central,
                                 uint64_t local)
{
    bool later = h->descriptor && !central, wide = h->zip64 && !later;
    zip_put(p, 4, central ? 0x02014b50 : 0x04034b50);
    if (central)
        zip_put(p, 2, 45);
    zip_put(p, 2, 45);
    zip_put(p, 2, h->descriptor ? 8 : 0);
    zip_put(p, 2, h->stored ? 0 : 8);
    zip_put(p, 4, 0);
    zip_put(p, 4, later ? 0 : crc);
    zip_put(p, 4, later ? 0 : wide ? 0xFFFFFFFF : packed);
    zip_put(p, 4, later ? 0 : wide ? 0xFFFFFFFF : plain);
    zip_put(p, 2, strlen(name));
    zip_put(p, 2, wide ? (central ? 28 : 20) : 0);
    if (central) {
        zip_put(p, 2, 0); /* comment */
        zip_put(p, 2, 0);
        zip_put(p, 2, 0);
        zip_put(p, 4, 0);
        zip_put(p, 4, wide ? 0xFFFFFFFF : local);
    }
    pack_add(p, name, strlen(name));
    if (!wide)
        return;
    zip_put(p, 2, 1);
    zip_put(p, 2, central ? 24 : 16);
    zip_put(p, 8, plain);
    zip_put(p, 8, packed);
    if (central)
        zip_put(p, 8, local);
}

static inline void pack_zip(struct packed *p, const void *bytes, size_t n, const struct zip_how *h)
{
    struct packed body = {0};
    uint32_t crc = (uint32_t)crc32(0, bytes, (uInt)n);
    if (h->stored)
        pack_add(&body, bytes, n);
    else
        pack_deflate(&body, bytes, n, -15, 6);
    zip_entry_put(p, h, "trades.csv", crc, body.n, n, false, 0);
    pack_add(p, body.at, body.n);
    if (h->descriptor) {
        zip_put(p, 4, 0x08074b50);
        zip_put(p, 4, crc);
        zip_put(p, h->zip64 ? 8 : 4, body.n);
        zip_put(p, h->zip64 ? 8 : 4, n);
    }
    uint64_t at[8] = {0};
    static const struct zip_how plain = {.stored = true};
    for (unsigned i = 0; i < h->files; i++) {
        at[i] = p->n;
        zip_entry_put(p, &plain, "other", 0, 0, 0, false, 0);
    }
    uint64_t directory = p->n;
    zip_entry_put(p, h, "trades.csv", crc, body.n, n, true, 0);
    for (unsigned i = 0; i < h->files; i++)
        zip_entry_put(p, &plain, "other", 0, 0, 0, true, at[i]);
    uint64_t bytes_of = p->n - directory, end64 = p->n;
    if (h->zip64) {
        zip_put(p, 4, 0x06064b50);
        zip_put(p, 8, 44);
        zip_put(p, 2, 45);
        zip_put(p, 2, 45);
        zip_put(p, 4, 0);
        zip_put(p, 4, 0);
        zip_put(p, 8, 1 + h->files);
        zip_put(p, 8, 1 + h->files);
        zip_put(p, 8, bytes_of);
        zip_put(p, 8, directory);
        zip_put(p, 4, 0x07064b50);
        zip_put(p, 4, 0);
        zip_put(p, 8, end64);
        zip_put(p, 4, 1);
    }
    zip_put(p, 4, 0x06054b50);
    zip_put(p, 4, 0);
    zip_put(p, 2, h->zip64 ? 0xFFFF : 1 + h->files);
    zip_put(p, 2, h->zip64 ? 0xFFFF : 1 + h->files);
    zip_put(p, 4, h->zip64 ? 0xFFFFFFFF : bytes_of);
    zip_put(p, 4, h->zip64 ? 0xFFFFFFFF : directory);
    zip_put(p, 2, h->comment ? strlen(h->comment) : 0);
    if (h->comment)
        pack_add(p, h->comment, strlen(h->comment));
    free(body.at);
}
