/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_make.h - makes log files (log_file.h) from rows, without a daemon: what `penstock log import`
 * writes. The files are whole ones of an instance of their own (its id is drawn at random):
 * headers, schemas, symbols, data and gap frames, an eod mark for each date, END frames. Every
 * reader takes them like any others (`log verify`, the cursor, `hdb rebuild`, `penstock replay`);
 * only the daemon of another instance passes over them.
 *
 *     m = log_make_open(&config, &err)          the directory must hold no log of that prefix
 *     s = log_make_table(m, &schema, &err)      a table, once for each version
 *     id = log_make_symbol(m, text, len)        then the symbols of a row ...
 *     log_make_row(m, s, day, record, packet, &err)   ... and the row
 *     log_make_end(m, &figures, &err)           eod marks, END frames, synced, freed
 *     log_make_abandon(m)                       instead: removes what was written
 *
 * Rows go to the file of their date, in the order in which they come; a date that returns after
 * more than 32 others gets a second file (.1). Frame times follow the rows' times where those lie
 * within two days of their date, and never go back.
 *
 * Owner: one thread. Memory: the texts of symbols, a frame, 1 MiB for each open file. An error of a
 * write makes all later calls fail with it; only log_make_abandon is left then.
 */
#pragma once

#include "core/io.h"
#include "core/record.h"
#include "core/schema.h"

struct log_make_config {
    struct io *io;
    const char *directory; /* made if missing */
    const char *prefix;
    const char *name; /* of the instance, in the headers */
};

struct log_make;
struct log_make *log_make_open(const struct log_make_config *cfg, struct err *err);
/* Copies; gives the id. An equal one is found again. */
const struct schema *log_make_table(struct log_make *m, struct schema *s, struct err *err);
const struct schema_set *log_make_tables(const struct log_make *m);
/* PST_NULL_SYMBOL for an empty text, SYMBOL_REFUSED (rows.h) when it cannot be one or memory is
 * out. void *: fits kdb_in_symbols. */
uint32_t log_make_symbol(void *m, const char *text, uint32_t len);
/* packet: facts of a feed's row with its own seq (flags RUN_UNSEQUENCED: none), else NULL; rows
 * that go on where the one before stood share a packet record. */
bool log_make_row(struct log_make *m, const struct schema *s, int32_t day, const struct record *r,
                  const struct packet_record *packet, struct err *err);
struct log_make_figures {
    uint64_t rows, bytes;
    uint32_t files, days, symbols;
};
bool log_make_end(struct log_make *m, struct log_make_figures *figures, struct err *err);
void log_make_abandon(struct log_make *m);
