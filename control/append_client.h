/* SPDX-License-Identifier: Apache-2.0 */
/*
 * append_client.h - rows into a running daemon, for the CLI's verbs: `penstock replay`, `log
 * import`, `buffer replay`. Blocking; one thread. The protocol is append_wire.h.
 *
 *   append_open(&a, socket, "replay:…", &err)      source NULL: at least once, no resuming
 *   a.at is where the source stands: begin to make rows at input position a.at.position. Rows that
 *   the daemon has already - the first a.at.row of them, and islands - are passed over here.
 *   for each input:
 *     for each of its rows:
 *       append_begin(&a, fixed + strings, symbols, day)     room first: may send what is full
 *       id = append_symbol(&a, text, len)                   then the symbols of this row
 *       append_row(&a, record)                              a plain row; or, for feeds' tables:
 *       append_run(&a, &packet) once, append_row for each
 *     append_point(&a, position)               all rows of the input up to there have been given
 *   append_flush(&a, ACK_DURABLE, &err)
 *
 * Every call that may send returns false with a.err set, and so do all later ones. -EAGAIN is tried
 * again here, for as long as the connection lives. After -EPIPE (the daemon went away) close, open
 * again, and go on at a.at: nothing is lost or doubled.
 *
 * Memory: 2 requests of APPEND_MAX, 256 KiB of symbol slots. While one request is under way the
 * next one is filled.
 */
#pragma once

#include "append_wire.h"
#include "client.h"
#include "cmd.h"
#include "core/record.h"
#include "core/schema.h"
#include "core/source.h"

struct append_client {
    struct client_conn conn;
    char source[SOURCE_NAME_MAX + 1]; /* "" = none */
    struct source_progress have;      /* as the daemon said at the opening */
    struct source_point at;           /* what the daemon has taken */
    struct schema_set *schemas;       /* the tables that take rows, with the daemon's ids */
    uint16_t open_day[TABLE_MAX]; /* of each one's calendar, at the opening; 0 = no such table */
    enum ack_level level;         /* of requests that are full; ACK_SUBMITTED at first */
    struct err err;
    /* figures */
    uint64_t rows, passed_over, late, requests, bytes;
    uint64_t position; /* the daemon's journal position behind the last answer */
    /* own */
    struct append_build *build;
};

bool append_open(struct append_client *a, const char *socket, const char *source, struct err *err);
void append_close(struct append_client *a);
/* A table of the daemon by name, NULL = it takes no rows from us (no such table, or the level). */
const struct schema *append_table(const struct append_client *a, const char *name);

/* Room for one row of at most `bytes` with up to `symbols` symbols of 255 bytes, dated `day` (0 =
 * by its time), of the given table. Between append_begin and append_row only append_symbol. */
bool append_begin(struct append_client *a, const struct schema *table, uint32_t bytes,
                  uint32_t symbols, uint16_t day);
/* PST_NULL_SYMBOL for an empty text. */
uint32_t append_symbol(struct append_client *a, const char *text, uint32_t len);
/* A record of record->bytes (8-aligned). Of a feed's table: `run` holds the facts, with symbols of
 * append_symbol, and seq the row's own; rows that go on where the last one stood share a run. NULL
 * for plain rows. */
bool append_row(struct append_client *a, const struct record *record,
                const struct packet_record *run);
/* Must the next row be made at all? False: the daemon has it; call append_skip instead of the three
 * above. */
bool append_wanted(const struct append_client *a);
void append_skip(struct append_client *a);
bool append_point(struct append_client *a, uint64_t position);
/* Sends what there is and waits until the daemon's journal has reached the level. */
bool append_flush(struct append_client *a, enum ack_level level);
