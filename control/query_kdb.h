/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query_kdb.h - results (storage/query/result.h) as kdb+ IPC messages in a memfd: written by
 * penstock-query, sealed, sent by penstockd as they are (publish/answer.h).
 *
 * Source: the kdb+ format page, 1.2-1.4. Little endian, uncompressed. Types are ours, which are
 * kdb+'s; a NULL boolean is 0b, any NaN the null, symbols are texts, a string column is a list of
 * char vectors. A message is below 2 GiB (KDB_BYTES_MAX), a file as large as `max`.
 *
 * Owner: one thread. An error is kept: every later call fails, query_kdb_finish says it.
 */
#pragma once

#include "core/tzone.h"
#include "storage/query/result.h"

#define QUERY_KDB_UPDATE (16u << 20) /* of one of several update messages */

struct query_kdb {
    int fd;
    const struct tzone *zone; /* whose clocks timestamps show; NULL: UTC */
    uint64_t at, max;         /* of the file; what is in buf included */
    uint32_t messages;
    uint8_t *buf;
    size_t fill;
    bool failed;
    struct err err;
};

/* fd: an empty memfd. False: no memory. */
bool query_kdb_begin(struct query_kdb *k, int fd, uint64_t max, const struct tzone *zone,
                     struct err *err);

/* One response: the result as a table; the first `nkeys` columns as keys of a keyed table. */
void query_kdb_table(struct query_kdb *k, const struct result *r, uint32_t nkeys);
/* One response: the first row's first value. */
void query_kdb_atom(struct query_kdb *k, const struct result *r);
/* One response: a dictionary of names to tables. */
void query_kdb_tables(struct query_kdb *k, const char *const *names, struct result *const *r,
                      uint32_t n);
/* An async message whose object is the (keyed) table. */
void query_kdb_object(struct query_kdb *k, const struct result *r, uint32_t nkeys);
/* Async messages (`upd; table; rows), each of about QUERY_KDB_UPDATE bytes; none for no rows. */
void query_kdb_updates(struct query_kdb *k, const char *table, const struct result *r);

/* Writes what is left and seals. False: err; -EFBIG: larger than `max`. Frees in any case. */
bool query_kdb_finish(struct query_kdb *k, uint64_t *bytes, uint32_t *messages, struct err *err);
