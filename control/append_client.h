/* SPDX-License-Identifier: Apache-2.0 */
/*
 * append_client.h - rows into a running daemon, for the CLI's verbs: `penstock replay`, `log
 * import`, `buffer replay`. Blocking; one thread. The protocol is append_wire.h.
 *
 *   append_open(&a, socket, "replay:…", &err)      source NULL: at least once, no resuming
 *   Begin to make rows behind input position a.at.position. What the daemon has of them already -
 *   the first a.at.row, and islands - is passed over here: just give the rows again.
 *   for each input:
 *     append_run(&a, &facts)                       feeds' tables only: what its rows share
 *     for each of its rows:
 *       append_begin(&a, table, bytes, symbols, day)   room first: may send what is full
 *       id = append_symbol(&a, text, len)              then the symbols of this row
 *       append_row(&a, record)
 *     append_point(&a, position)                   all rows of the input up to there were given
 *   append_flush(&a, ACK_DURABLE)
 *
 * Functions that may send return false with a.err set, and do so from then on. -EAGAIN of the
 * daemon is tried again here for as long as the connection lives. After -EPIPE (the daemon went
 * away) close, open again, go on at a.at: nothing is lost or doubled.
 *
 * Memory: 2 requests of APPEND_MAX and the block under construction, 3 MiB. While a request is
 * under way the next one is filled.
 */
#pragma once

#include "append_wire.h"
#include "socket_client.h"
#include "cmd.h"
#include "core/record.h"
#include "core/schema.h"
#include "core/source.h"

/* What the rows of a run share (struct packet_record), with texts. */
struct append_facts {
    struct {
        char text[256];
        uint32_t len;
    } feed, session, line;
    int64_t rxtime;
    uint64_t seq;   /* of the first row */
    uint32_t flags; /* as in the packet record */
    uint32_t seqs;  /* RUN_PACKET_SEQ: as in the packet record */
    uint8_t quality;
};

struct append_client {
    struct client_conn conn;
    char source[SOURCE_NAME_MAX + 1]; /* "" = none */
    struct source_point at;           /* what the daemon has taken */
    struct schema_set *schemas;       /* the tables that take rows, with the daemon's ids */
    uint16_t open_day[TABLE_MAX];     /* by id: its calendar's earliest open date */
    uint8_t calendar[TABLE_MAX];
    char instance[24];       /* the daemon's id, in hex */
    bool derived[TABLE_MAX]; /* by id: its processors write it */
    bool derives;            /* they write any */
    bool as_logged; /* set behind append_open: its processors pass over these rows (record.h) */
    bool dates;     /* may say dates; where not, `day` is left out */
    enum ack_level level; /* of requests that are full; ACK_SUBMITTED at first */
    struct err err;
    /* figures: of what the daemon acknowledged, but passed_over */
    uint64_t rows, late, requests, bytes;
    uint64_t passed_over; /* rows that it had already */
    uint64_t position;    /* its journal's position behind the last of them */
    struct append_build *build;
};

bool append_open(struct append_client *a, const char *socket, const char *source, struct err *err);
void append_close(struct append_client *a); /* the figures and `at` stay */
/* A table of the daemon by name, NULL = it takes no rows from us (no such table, or the level). */
const struct schema *append_table(const struct append_client *a, const char *name);

/* The rows that follow, of feeds' tables, belong to a run of these facts; their sequences go on
 * from facts->seq. Runs that go on from one another are joined. */
void append_run(struct append_client *a, const struct append_facts *facts);
/* Room for one row of `bytes` (at most RECORD_MAX) with up to `symbols` symbols, dated `day` (0 =
 * by its time; rows of runs must have one). */
bool append_begin(struct append_client *a, const struct schema *table, uint32_t bytes,
                  uint32_t symbols, uint16_t day);
/* The row's own id for a text of up to 255 bytes; PST_NULL_SYMBOL for an empty one. */
uint32_t append_symbol(struct append_client *a, const char *text, uint32_t len);
/* A whole record of append_begin's table: record->bytes at most what was asked for. */
bool append_row(struct append_client *a, const struct record *record);
bool append_point(struct append_client *a, uint64_t position);
/* Sends what there is and waits until the daemon's journal has reached the level. */
bool append_flush(struct append_client *a, enum ack_level level);
