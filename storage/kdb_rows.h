/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kdb_rows.h - rows between our records and a tickerplant's updates, value for value. Three parts:
 * what an update holds (kdb_update), update -> records (kdb_in), records -> update (kdb_columns);
 * and kdb_guess, which finds a table's columns from the updates themselves.
 *
 * Source: the kdb+ format page, sections 1.4 and 2.5; types.h for ours. Nothing here does I/O or
 * keeps state between updates but where a struct says so. Owner: one thread.
 *
 * WHAT BECOMES WHAT. Equal types keep their bits, nulls and infinities included (any NaN is the
 * null). Else a value is converted only if it comes back the same; otherwise its row is refused and
 * said why:
 *   boolean byte short int long   into each other where the value fits; null to null, infinity to
 *                                 infinity; into float up to 2^53, back when it is whole
 *   real float                    float into real when nothing is lost
 *   char, text                    a text of one character into char; char and symbol into string;
 *                                 char and text into symbol (no NUL, up to 255 bytes)
 *   minute second time timespan   into each other where the value fits; into timestamp with the
 *                                 update's date, as an offset from its midnight
 *   date                          into timestamp as its midnight
 *   datetime                      into timestamp when it is a whole number of milliseconds
 * A column that is a list of anything but texts, and a row that holds a vector, are refused.
 *
 * TIME. A timestamp of kdb+ has no zone; `zone` says which one it is meant in (NULL: UTC).
 */
#pragma once

#include "core/record.h"
#include "core/schema.h"
#include "core/tzone.h"
#include "dictionary.h"
#include "kdb_object.h"

#define KDB_NO_DATE INT32_MIN

/* ---- an update ---- */

enum kdb_form {
    KDB_FORM_VECTOR,  /* a value a row */
    KDB_FORM_LIST,    /* an item a row */
    KDB_FORM_ATOM,    /* the same value in every row, or that of the only one */
    KDB_FORM_ELEMENT, /* one value of a vector: a row whose values are all of one type */
    KDB_FORM_TEXT     /* a row's text */
};
struct kdb_cells {
    struct kdb_object o;
    uint8_t form;
    uint32_t element;
    const char *name; /* NULL: the update names no columns */
    uint32_t name_len;
};
struct kdb_update {
    uint32_t rows, ncols;
    bool named;
    struct kdb_cells col[SCHEMA_COLUMNS_MAX];
};
/* data: the third item of an update. A list of atoms (and texts) or a vector is one row, a list
 * that begins with a vector is columns, unless all of it is texts and atoms; tables, keyed tables
 * and dictionaries name them. */
bool kdb_update_view(struct kdb_update *u, const struct kdb_object *data, struct err *err);

/* ---- update -> records ---- */

struct kdb_target {
    const struct schema *schema;
    int32_t date;             /* of rows and of their timespans; KDB_NO_DATE: by their time */
    const struct tzone *zone; /* of kdb+'s timestamps; NULL: UTC */
    uint8_t quality;          /* enum clock_quality of feed rows */
    /* offset ns of a day to an instant, in place of date and zone; false: it lies outside */
    bool (*of_day)(void *arg, int64_t offset, int64_t *utc);
    void *of_day_arg;
    bool ordered; /* `position` holds; else columns without names are the schema's */
    uint16_t position[SCHEMA_COLUMNS_MAX]; /* column i of an update without names */
};

struct kdb_in {
    const struct kdb_target *target;
    const struct kdb_update *update;
    uint32_t row; /* the next one */
    /* the row made last */
    pst_aligned(8) uint8_t record[RECORD_MAX + 8]; /* struct record; symbols still null */
    struct packet_record packet;                   /* of a feed's table, seq its own */
    bool has_packet;
    int32_t day;
    uint32_t nsymbols; /* texts that are not null */
    /* private */
    struct kdb_in_column {
        int16_t to;   /* schema column */
        uint8_t want; /* its type */
        struct kdb_texts texts;
        struct kdb_items items;
    } col[SCHEMA_COLUMNS_MAX];
    struct kdb_in_symbol {
        const char *text;
        uint32_t len;
        uint32_t *to;
    } symbol[SCHEMA_COLUMNS_MAX];
    uint32_t symbols;
    int32_t last_day;
};

/* Matches columns: by name, or by place (a feed's table also without the six packet columns).
 * Columns left out by name are null. False: another number of columns, or an unknown name. */
bool kdb_in_begin(struct kdb_in *in, const struct kdb_target *t, const struct kdb_update *u,
                  struct err *err);
/* 1: a row, without symbols; 0: no more; -1: refused, err says why, the next call goes on. */
int kdb_in_next(struct kdb_in *in, struct err *err);
/* The text that belongs at a symbol's place in `record` or `packet`; "" when null. */
const char *kdb_in_text(const struct kdb_in *in, const void *place, uint32_t *len);
const char *kdb_in_sym(const struct kdb_in *in, uint32_t *len);
/* Then: ids for the row's symbols, those of the packet record only if asked for. False: fn refused
 * one (SYMBOL_REFUSED, rows.h). */
bool kdb_in_symbols(struct kdb_in *in, bool packet,
                    uint32_t (*fn)(void *arg, const char *text, uint32_t len), void *arg);

/* ---- records -> update ---- */

struct kdb_columns {
    const struct schema *schema;
    bool timespan;            /* column time as an offset from the day's midnight */
    bool packet_columns;      /* rxtime, feed, session, seq, line, flags too */
    const struct tzone *zone; /* of midnight and of timestamps; NULL: UTC */
    uint32_t rows;
    uint64_t lost_symbols; /* ids without a text: written as null */
    uint64_t lost_times;   /* too far from their date for a timespan: written as null */
    struct kdb_out col[SCHEMA_COLUMNS_MAX];
    size_t opened[SCHEMA_COLUMNS_MAX];
};
void kdb_columns_init(struct kdb_columns *k);
void kdb_columns_free(struct kdb_columns *k);
void kdb_columns_begin(struct kdb_columns *k, const struct schema *s);
/* packet, seq: as record_walk gives them. False: no memory, or a string outside its record. */
bool kdb_columns_add(struct kdb_columns *k, struct dictionary *d, const struct frame *f,
                     const struct record *r, const struct packet_record *packet, int64_t seq);
/* The message (`upd;table;...) of the rows collected; as_table: with the columns' names. */
bool kdb_columns_message(struct kdb_columns *k, struct kdb_out *out, bool as_table);
/* The table in q, empty: trade:flip `time`sym...!(`timestamp$();`symbol$();...) */
void kdb_columns_schema(const struct kdb_columns *k, const struct schema *s, char *out,
                        size_t room);
/* Is column i written? */
bool kdb_columns_has(const struct kdb_columns *k, const struct schema *s, unsigned i);

/* ---- columns from values ---- */

struct kdb_guess { /* one table */
    char table[SCHEMA_NAME_MAX];
    uint32_t ncols;
    bool named;
    uint64_t updates, odd; /* odd: with another number of columns or other names */
    struct kdb_guess_column {
        char name[SCHEMA_NAME_MAX];
        uint32_t seen; /* bit per type; KDB_SEEN_... */
        uint8_t type;  /* given by the user; 0: not */
    } col[SCHEMA_COLUMNS_MAX];
};
#define KDB_SEEN_TEXT  (1u << 20)
#define KDB_SEEN_MIXED (1u << 21)

void kdb_guess_add(struct kdb_guess *g, const struct kdb_update *u);
/* The schema (id 0), with time and sym in front, and where an update's columns go. False: it has
 * none, or a column's values have no common type. */
bool kdb_guess_schema(const struct kdb_guess *g, struct schema *s, struct kdb_target *t,
                      struct err *err);
/* "time,sym,price" or "time:timestamp,sym:symbol,price:float": names, with or without types. */
bool kdb_guess_parse(struct kdb_guess *g, const char *table, size_t table_len, const char *columns,
                     struct err *err);
