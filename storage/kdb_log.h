/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kdb_log.h - a tickerplant log of kdb+: read object by object, written message by message.
 *
 * Source: the kdb+ format page, section 3. The file is 8 bytes ff 01 00 00 00 00 00 00 and then
 * serialized objects (kdb_object.h) back to back, little endian; no lengths, no checksums. A
 * tickerplant's message is a list of a function's name, a table's name, and rows.
 *
 * READING
 *     while ((v = kdb_log_next(&l, &m)) == KDB_LOG_MESSAGE) use(&m);
 *   KDB_LOG_END    the file ends behind a whole message
 *   KDB_LOG_BAD    no object begins at l.at: `l.messages` and `l.at` are what kdb+ itself says of
 *                  such a file, -11!(-2;f) = (messages; bytes); `l.why` says what is wrong. Nothing
 *                  behind it is believed unless kdb_log_salvage is called
 *   KDB_LOG_ERROR  it cannot be read: l.error = -errno
 * The window holds one message at a time (it grows up to the largest, below 2 GiB); a message is
 * valid until the next call. A gzip file is read as what it holds; offsets are those of the plain
 * bytes. A gzip stream that is cut or damaged is BAD where its bytes end, even between messages.
 *
 * kdb_log_salvage, after BAD, looks for the next update behind the damage: a list of three whose
 * first item names upd, .u.upd or a function met in this file, whose second names a table, and that
 * is sound to its end. True: reading goes on there, [bad_from, bad_to) is left out. False: there is
 * none. Its work is bounded: over a file at most 16 times the bytes and 64 MiB; `gave_up` says that
 * the bound cut a search short.
 *
 * An update altered inside its values is a sound object: without checksums nobody can tell.
 *
 * WRITING: each message is one pwrite at the file's end. What a crash leaves is a torn tail, which
 * kdb_log_resume takes off. After an error the torn bytes are taken off at once.
 *
 * Owner: one thread a struct. Blocking calls of its io only.
 */
#pragma once

#include "core/io.h"
#include "kdb_object.h"

#define KDB_LOG_HEADER 8u
#define KDB_LOG_NAMES  16u /* functions remembered for salvage */

enum kdb_log_verdict { KDB_LOG_MESSAGE, KDB_LOG_END, KDB_LOG_BAD, KDB_LOG_ERROR };

struct kdb_message {
    uint64_t number; /* from 0 */
    uint64_t offset, bytes;
    struct kdb_object whole;
    bool update;          /* upd or .u.upd of a table */
    const char *function; /* what it calls; NULL: it is no call by name */
    uint32_t function_len;
    const char *table; /* updates */
    uint32_t table_len;
    struct kdb_object data;
};

/* Takes a checked object apart: `whole`, and what follows it in the struct. */
void kdb_message_view(struct kdb_message *m, const struct kdb_object *o);

struct kdb_log {
    struct io *io;
    int fd;
    uint64_t at;       /* of the next message; after BAD: length of the good part */
    uint64_t messages; /* sound ones so far */
    const char *why;
    int error;
    uint64_t bad_from, bad_to; /* after salvage */
    bool gave_up;
    bool gzip;
    /* private */
    uint64_t read_at; /* of the file as it lies */
    uint8_t *buf;
    size_t room, fill;
    uint64_t base; /* plain offset of buf[0] */
    bool eof;
    const char *cut; /* the gzip stream does not end well */
    void *inflate;
    uint64_t credit; /* work that salvage may still do */
    struct kdb_log_name {
        char text[32];
        uint8_t len;
    } name[KDB_LOG_NAMES];
    unsigned names;
};

/* False: cannot be opened, or does not begin as a kdb+ log. */
bool kdb_log_open(struct kdb_log *l, struct io *io, const char *path, struct err *err);
/* On bytes in memory (tests, fuzzing), which must stay. */
bool kdb_log_open_memory(struct kdb_log *l, const void *bytes, size_t n, struct err *err);
void kdb_log_close(struct kdb_log *l);

enum kdb_log_verdict kdb_log_next(struct kdb_log *l, struct kdb_message *m);
bool kdb_log_salvage(struct kdb_log *l);

/* ---- writing ---- */

struct kdb_log_writer {
    struct io *io;
    int fd;
    uint64_t messages, bytes; /* the header included */
    uint32_t crc;             /* CRC-32C of the bytes behind the header */
    char path[1200];
};

/* A new file; one of that name must not exist (-EEXIST). */
bool kdb_log_create(struct kdb_log_writer *w, struct io *io, const char *path, struct err *err);
/* Goes on behind the last whole message of a file: messages, bytes and crc say what is there; a
 * torn tail is cut off. -ENOENT: no such file. */
bool kdb_log_resume(struct kdb_log_writer *w, struct io *io, const char *path, struct err *err);
bool kdb_log_write(struct kdb_log_writer *w, const void *message, size_t n, struct err *err);
/* `count` messages that lie one behind the other: all or none of them. */
bool kdb_log_write_many(struct kdb_log_writer *w, const void *messages, size_t n, uint64_t count,
                        struct err *err);
/* Syncs if asked. Closes in any case. */
bool kdb_log_finish(struct kdb_log_writer *w, bool sync, struct err *err);

/* tick.q's names: PREFIX2026.11.23. The date: of the last ten characters, or else eight or more
 * digits at the end (stp1_trade20220616122504). */
#define KDB_LOG_PATH 1200u
bool kdb_log_name(char out[KDB_LOG_PATH], const char *prefix, int32_t day);
bool kdb_log_date(const char *path, int32_t *day);
