/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kdb_import.h - tickerplant logs of kdb+ into rows of ours: the work of `penstock log import`.
 *
 * Every message of a log is an update of a table, or is named and left out; nothing of a log is
 * ever run. Two passes over each file: kdb_import_learn counts, and learns what the columns hold;
 * kdb_import_rows makes the rows, for a log_make (files) or an append_client (a running instance).
 * What is not taken is counted with its first reason, by table.
 *
 * Owner: one thread. Errors: false with err; what was counted until then stays.
 */
#pragma once

#include "append_client.h"
#include "cli_kdb.h"
#include "storage/kdb_log.h"
#include "storage/kdb_rows.h"
#include "storage/log_make.h"

#define IMPORT_TABLES 512u
#define IMPORT_CALLS  32u

struct import_table {
    struct kdb_guess guess; /* its name; columns as --schema says or as updates show */
    struct schema schema;
    bool known;   /* schema holds: a configuration, a log, or what was guessed */
    bool refused; /* it can have no columns; why says so */
    struct kdb_target target;
    uint64_t rows, left_out;
    char why[300]; /* the first row or message left out */
    uint64_t why_message;
    const char *why_file;
};

struct import_call { /* what is no update */
    char name[48];
    uint64_t count;
};

struct import_file {
    const char *path;
    /* -11!(-2;f): messages and bytes up to the first that does not parse; `sound`: that is all */
    uint64_t good_messages, good_bytes;
    bool sound;
    char why[80];
    uint64_t messages, rows; /* salvaged ones too */
    uint64_t ranges, bytes;  /* left out by salvage */
    bool gave_up;
    uint32_t first_crc; /* of the first message: with the name, a file's identity */
};

struct kdb_import {
    /* set by the caller */
    struct io *io;
    struct cli_rows want;
    uint64_t first_message, last_message; /* [ , ) */
    bool salvage;
    bool captured; /* receive times are a capture's: CLOCK_CAPTURE */
    struct log_make *make;
    struct append_client *append;
    /* found */
    struct import_table table[IMPORT_TABLES];
    unsigned tables;
    struct import_call call[IMPORT_CALLS];
    unsigned calls;
    uint64_t rows, left_out;
    uint64_t passed_over; /* messages that an instance has from an import before */
    /* private */
    struct append_facts facts; /* of the feed's row before */
    bool facts_hold;
    struct kdb_in in;
    struct kdb_update update;
};

/* Columns of tables beforehand: "TABLE=time,sym,..." (kdb_guess_parse), or a schema. */
bool kdb_import_columns(struct kdb_import *m, const char *text, struct err *err);
bool kdb_import_schema(struct kdb_import *m, const struct schema *s, struct err *err);

/* Tables that are known now exist in the log made, with or without rows. */
bool kdb_import_declare(struct kdb_import *m, struct err *err);
bool kdb_import_learn(struct kdb_import *m, struct import_file *f, struct err *err);
bool kdb_import_rows(struct kdb_import *m, struct import_file *f, struct err *err);
/* The sound messages as a log of their own, byte for byte. */
bool kdb_import_repair(struct kdb_import *m, struct import_file *f, const char *to,
                       struct err *err);
