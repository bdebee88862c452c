/* SPDX-License-Identifier: Apache-2.0 */
/* input_parts.h - what input.c and the formats below it (input_pack.c, input_zip.c) share. */
#pragma once

#include "core/atomics.h"
#include "load/input.h"

#define RAW_BACK 64u /* bytes in front of the raw buffer */

struct load_unpack; /* a format's state */

struct load_raw { /* the file's own bytes */
    int fd;       /* -1: memory */
    const uint8_t *memory;
    uint64_t size;
    uint8_t *buf, *next; /* next: not used yet */
    size_t room;         /* of buf */
    size_t avail;
    uint64_t at; /* offset in the file behind what is in buf */
    uint32_t chunk;
    bool eof;
    bool drop; /* its pages, behind the reader */
    struct hash128 hash;
    uint8_t *tail; /* bytes of a hash piece that is not whole yet */
    size_t ntail;
    _Atomic uint64_t consumed;
    const char *path;
    void (*tap)(void *arg, const void *bytes, size_t n);
    void *arg;
};

/* Offset in the file of the next byte. */
pst_inline uint64_t raw_offset(const struct load_raw *r)
{
    return r->at - r->avail;
}
/* Reads on when nothing is left. False: err. r->avail 0 then means the end. */
bool raw_fill(struct load_raw *r, struct err *err);
/* Straight into `out` (plain files): bytes, 0 at the end, -1 err. */
int64_t raw_direct(struct load_raw *r, uint8_t *out, size_t room, struct err *err);
int64_t raw_pread(const struct load_raw *r, void *out, size_t n, uint64_t at);
bool raw_damaged(const struct load_raw *r, struct err *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool raw_short(const struct load_raw *r, struct err *err, const char *what);

struct unpack_ops {
    struct load_unpack *(*open)(struct load_raw *raw, const struct load_input_config *c,
                                struct err *err);
    /* Bytes put into out (at most room), 0 at the end (all checks made, the raw input at its end or
     * at what is behind the last member), -1: err. */
    int64_t (*take)(struct load_unpack *u, struct load_raw *raw, uint8_t *out, size_t room,
                    struct err *err);
    void (*close)(struct load_unpack *u);
};
extern const struct unpack_ops unpack_gzip, unpack_zstd, unpack_lz4, unpack_zip;

/* What the central directory of a zip says of its first file. */
struct zip_entry {
    uint64_t at; /* of its data */
    uint64_t packed, plain;
    uint32_t crc;
    unsigned files; /* in the archive */
    bool stored;
};
bool zip_find(const struct load_raw *raw, struct zip_entry *e, struct err *err);
