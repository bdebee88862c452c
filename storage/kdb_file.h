/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kdb_file.h - one file as kdb+ keeps it: reads every shape, writes the safe subset.
 *
 * Source: the kdb+ format page, section 4 (kdb+ 3.0 to 4.1, 64 bit, little endian). Shapes:
 *   A  ff 01            a serialized object: `sym`, `.d`, an empty nested column
 *   B  fe 20            16-byte header, then a raw vector; with type 87 the ends of a list of
 *                       strings
 *   C  fe <name>        enumeration with 32-bit indexes (kdb+ 3.0-3.5); read only
 *   D  fd 20            4096-byte page, then 64-bit indexes of an enumeration
 *   legacy  ff 20       vectors of kdb+ 2.x; read only
 *   kxzipped            any of the above in compressed blocks: stored, q IPC, gzip, snappy, LZ4;
 *                       read only
 *
 * Reading hands values out as the query wants them, whatever the shape:
 *   fixed types   `values`: rows * type_width, as in memory and in the log (guid in textual order)
 *   PST_SYMBOL    `values`: rows int64_t indexes into the enumeration's domain, null PST_NULL_LONG,
 *                 NOT checked against the domain (that is the caller's, with its own sym)
 *   PST_STRING    `values`: rows int64_t ends, ascending, in `bytes`; row i is [ends[i-1],
 *                 ends[i]). Checked at open: ascending and inside `bytes`
 * Files up to KDB_COPY_MAX are read, larger ones mapped read-only; so are compressed, 32-bit and
 * misaligned ones after unpacking. A mapped file that another process truncates kills the reader
 * with SIGBUS: only query processes and verbs map; Penstock replaces files and never truncates
 * them.
 *
 * Errors: one sentence naming the file. -ENOENT: no such file; -ENOTSUP: valid, but of a kind that
 * is not read (anymap, encrypted, datetime, a list of something else than char); -EBADMSG: damaged.
 * Threads: no state outside the structs; an open column may be read by any thread.
 */
#pragma once

#include "core/io.h"
#include "penstock/types.h"

#define KDB_VECTOR_HEADER 16u
#define KDB_ENUM_HEADER   4096u
#define KDB_DOMAIN_MAX    64u
#define KDB_COPY_MAX      (64u << 10)

enum kdb_shape {
    KDB_SYMBOLS = 'A',
    KDB_VECTOR = 'B',
    KDB_ENUM32 = 'C',
    KDB_ENUM64 = 'D',
    KDB_OLD = 'O'
};

struct kdb_column {
    uint8_t type;      /* enum pst_type; any enumeration is PST_SYMBOL */
    uint8_t shape;     /* enum kdb_shape, of the plain image */
    uint8_t attribute; /* as the file says: 0 none, 1 s, 2 u, 3 p, 4 g */
    bool compressed;
    char domain[KDB_DOMAIN_MAX]; /* of an enumeration, "" else */
    uint64_t rows;
    const void *values;
    const char *bytes; /* PST_STRING */
    uint64_t nbytes;
    struct kdb_piece { /* private: what kdb_close returns */
        void *at;
        uint64_t len; /* 0: malloc'd */
    } piece[4];
    unsigned npieces;
};

/*
 * dir: a directory descriptor or AT_FDCWD. `<name>#` is opened too for strings.
 * kdb_open_head reads only the header: type, shape, attribute, domain and rows, values NULL (for a
 * compressed file its first block); cheap enough for every column of a partition.
 */
bool kdb_open(struct kdb_column *c, int dir, const char *name, struct err *err);
bool kdb_open_head(struct kdb_column *c, int dir, const char *name, struct err *err);
void kdb_close(struct kdb_column *c);

/* The parser alone, on an image in memory (tests, fuzzing): `image` must stay until kdb_close,
 * `more` is the image of `<name>#` or NULL. `name` is for sentences. */
bool kdb_parse(struct kdb_column *c, const void *image, size_t len, const void *more,
               size_t more_len, const char *name, struct err *err);
/* Unpacks a kxzipped image into *plain (free with munmap(*plain, *len)); false: not one, or
 * damaged. */
bool kdb_is_compressed(const void *image, size_t len);
bool kdb_unpack(const void *image, size_t len, void **plain, size_t *plain_len, const char *name,
                struct err *err);

/*
 * Shape A symbol vectors. The declared count is advisory: names are counted to the end of the file.
 * Calls fn for each name in order (not NUL-terminated); *torn = bytes after the last NUL, which are
 * no name. False: not a symbol vector, or fn said no.
 */
bool kdb_symbols_parse(const void *image, size_t len,
                       bool (*fn)(void *arg, const char *text, size_t len), void *arg, size_t *torn,
                       const char *name, struct err *err);
#define KDB_SYMBOLS_HEADER 8u
void kdb_symbols_header(uint8_t out[KDB_SYMBOLS_HEADER], uint32_t count);

/* ---- writing ---- */

/* Headers, for a writer that lays its own buffers out. attribute: 0, or 1 when proven sorted. */
void kdb_vector_header(uint8_t out[KDB_VECTOR_HEADER], uint8_t type, uint8_t attribute,
                       uint64_t rows);
void kdb_enum_header(uint8_t out[KDB_ENUM_HEADER], uint8_t attribute,
                     uint64_t rows); /* domain sym */
/* Bytes of the column's file with so many rows (a string column's: the file of ends). */
uint64_t kdb_file_bytes(uint8_t type, uint64_t rows);
/* Where row `row` lies in the file. */
uint64_t kdb_row_at(uint8_t type, uint64_t row);
/* Bytes of a value in the file: 8 for symbols and (ends of) strings. 0: a type that is not written.
 */
unsigned kdb_width(uint8_t type);

/*
 * A column file under construction. Pieces may be written in any order and, with different structs
 * io, by several threads; kdb_write_close writes the header (so a file without one was never
 * finished) with the final count, and syncs if asked. The file is created anew (an old one of that
 * name is replaced by O_TRUNC: only ever in a staged directory).
 *   symbols: values are int64_t indexes into `sym`, null PST_NULL_LONG
 *   strings: write_at takes int64_t cumulative ends; write_bytes the text at its byte offset in
 *            `#`. Without rows the file becomes q's empty list and `#` goes; a `#` without text
 *            gets one byte that no row uses, as it must be mappable
 */
struct kdb_writer {
    struct io *io;
    int fd, bytes_fd; /* bytes_fd: of `<name>#`, else -1 */
    uint8_t type;
    char path[1024];
};
bool kdb_write_open(struct kdb_writer *w, struct io *io, const char *path, uint8_t type,
                    struct err *err);
bool kdb_write_at(struct kdb_writer *w, uint64_t row, const void *values, uint64_t n,
                  struct err *err);
bool kdb_write_bytes(struct kdb_writer *w, uint64_t offset, const void *bytes, uint64_t n,
                     struct err *err);
/* Closes in any case. False: something of it failed, the file is not to be used. */
bool kdb_write_close(struct kdb_writer *w, uint64_t rows, uint8_t attribute, bool sync,
                     struct err *err);
void kdb_write_abandon(struct kdb_writer *w); /* closes and leaves the torso */

/* A whole symbol vector (`.d`, a new `sym`), written under `path`, synced if asked. */
bool kdb_write_symbols(struct io *io, const char *path, const char *const *names, uint32_t count,
                       bool sync, struct err *err);
