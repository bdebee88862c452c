/* SPDX-License-Identifier: Apache-2.0 */
/*
 * input.h - the bytes of a delivered file, decompressed, in pieces.
 *
 *   plain            read(2)
 *   gzip             RFC 1952, any number of members (ISA-L: some three times zlib's speed)
 *   zstd             RFC 8878, any number of frames, skippable ones too
 *   lz4              the frame format 1.6, any number of frames, skippable ones too
 *   zip              the FIRST file in it (PKZIP APPNOTE 4.3): stored or deflate, sizes before or
 *                    behind the data, zip64; others that follow are refused unless `first_only`
 *
 * Every check that a format has is made: CRC-32 and size (gzip, zip), xxHash (zstd, lz4 where the
 * frame has them). Zeros behind the last member of a gzip file are padding (tapes make them);
 * anything else behind the end is an error. Sentences name file, offset in the file and what is
 * wrong: "trades.csv.gz: cut short at byte 1000 of 4711: the gzip member ends early; deliver it
 * again". -EBADMSG damaged, -ENODATA cut short, -EFBIG a window or an output that passes the limit.
 *
 * READ-AHEAD. A thread of this module reads and decompresses one piece while the caller works on
 * the one before; two buffers, nothing else grows with the file. Without threads (`threads` false:
 * fuzzing, a worker out of them) it happens in the call. Pages of the file that were not in the
 * page cache are dropped from it behind the reader: a load does not push the database's out.
 *
 * GROWING FILES. Size, inode and time of modification are noted at open; at the end they must be
 * the same, else -EBUSY: "it changed while it was read". A file that shrinks is an error, never a
 * SIGBUS: nothing is mapped.
 *
 * PIECES. load_input_next gives `n` bytes that begin with the last `keep` bytes of the piece before
 * (a row that was not whole), then at least one new one, unless the end has come. LOAD_PAD bytes
 * behind them are readable (zero). *last: nothing follows.
 *
 * LINKS. The name itself is never followed (-ELOOP): a delivery that was exchanged for a symbolic
 * link after it was seen must not bring in another file of this machine. Directories above it may
 * be links: they are the operator's.
 *
 * One thread calls.
 */
#pragma once

#include "content_hash.h"
#include "core/base.h"

#define LOAD_PIECE    (1u << 20) /* new bytes in a piece, at most */
#define LOAD_KEEP_MAX (1u << 20) /* so a row is at most this long */
#define LOAD_PAD      64u

enum load_compression {
    LOAD_AUTO, /* by the first bytes, not by the name */
    LOAD_PLAIN,
    LOAD_GZIP,
    LOAD_ZSTD,
    LOAD_LZ4,
    LOAD_ZIP
};
/* "auto", "plain", "gzip" …; false: no such. */
bool load_compression_named(const char *name, enum load_compression *c);
const char *load_compression_name(enum load_compression c);

struct load_input_config {
    enum load_compression compression;
    bool threads;
    bool first_only;     /* zip: others may follow */
    uint64_t limit;      /* decompressed bytes, 0 = none: what would pass it is -EFBIG */
    uint64_t window_max; /* zstd: memory of one frame; 0 = 128 MiB */
    const void *memory;  /* tests, fuzzing: these bytes instead of the file */
    size_t memory_bytes;
    uint32_t chunk; /* tests: bytes of one read; 0 = LOAD_PIECE */
    /* Every byte of the file in order, on the thread that reads (a checksum of it). May be NULL. */
    void (*raw)(void *arg, const void *bytes, size_t n);
    void *arg;
};

struct load_input;

struct load_input *load_input_open(const char *path, const struct load_input_config *c,
                                   struct err *err);
void load_input_close(struct load_input *in); /* NULL is allowed */
/* keep: bytes at the end of the last piece to be seen again, at most LOAD_KEEP_MAX. False: err. */
bool load_input_next(struct load_input *in, size_t keep, const uint8_t **bytes, size_t *n,
                     bool *last, struct err *err);

enum load_compression load_input_compression(const struct load_input *in);
uint64_t load_input_size(const struct load_input *in);     /* of the file */
uint64_t load_input_consumed(const struct load_input *in); /* of its bytes; any thread */
uint64_t load_input_produced(const struct load_input *in); /* decompressed; any thread */
/* Of the file's own bytes, once the last piece was taken: with the size, what tells a file that is
 * delivered again from one that is corrected. Not a cryptographic one. */
struct hash128 load_input_hash(const struct load_input *in);
/* The same of a file that nobody reads: CRC-32C and CRC-64 of each LOAD_PIECE of it, chained. */
bool load_file_hash(const char *path, uint64_t *size, struct hash128 *hash, struct err *err);

/*
 * What a file will be when it is unpacked, without reading it: from gzip's last four bytes (right
 * below 4 GiB and for one member), zstd's, lz4's and zip's headers where they say; else
 * size * `factor`. Plain: its size.
 */
bool load_input_estimate(const char *path, double factor, uint64_t *bytes, struct err *err);
