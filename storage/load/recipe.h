/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recipe.h - all that says how one file is read: what `load.files` configures, resolved, and what a
 * worker is sent.
 *
 * load_recipe_decode takes the JSON of an operator's entry (YAML's mapping as JSON; numbers and
 * booleans may be texts), completed by control with what the operator does not write (marked +),
 * checks all of it and names the member that is wrong. load_recipe_encode gives back what was
 * decoded.
 *
 *   {"name":"trades",                     for people and states
 *    "format":"text",                     text itch50 pcap splayed plugin; default text
 *    "compression":"auto",                auto plain gzip zstd lz4 zip
 *    "table":"trade",                     of text, splayed, plugin
 *    "schemas":[{…}],                   + schema_to_json of every table that may come of it, the
 *                                         first is `table`'s; for itch50 and pcap: the decoder's in
 *                                         its order, then gap, then undecoded
 *  text
 *    "separator":",", "quote":"\"", "escape":"\\"     one byte each but the separator (up to 8);
 *                                         quote "" = none; a doubled quote always stands for one
 *    "header":"auto"|true|false           auto: the first row is one when it names a wanted column
 *    "skip_lines":0, "comment":"#"        lines before the header; lines that begin with this
 *    "columns":["time","sym","-",…]       the file's columns in order, "-" is passed over; or
 *             {"Trade Time":"time",…}     by the header's names; those not listed must be columns
 *                                         of the table, or "*":"-" passes them over
 *                                         Absent: the header names the table's columns, or (no
 *                                         header) the table's own order
 *    "nulls":["","NA"], "decimal":"."
 *    "thousands":","                      may part the digits before the point into groups of three
 *    "ragged":false                       true: fields that a row lacks at its end are null
 *    "rest":false                         true: the last column takes the rest of the line,
 *                                         separators and all
 *    "trim":false                         true: blanks and tabs around a value go
 *    "scale":{"price":0.0001}             value of the file * this, exactly
 *    "time":"auto"                        format of every time column:
 *    "times":{"time":"epoch_ms",…}        or column by column (enum load_time); a text with '%' is
 *                                         a pattern: %Y %m %d %H %M %S %f (fraction) %y %b %p %I %j
 *                                         %s (seconds since 1970) %Z (an offset) %% and literal
 *                                         text; what stands in [ ] may be missing
 *    "zone":"America/New_York"            of times that bring no offset of their own; default UTC
 *    "date_format":"dmy"                  dmy mdy ymd; dates such as 03/04/2024 are refused without
 *  all
 *    "date":"time"                        where the partition comes from: `time` (in the calendar),
 *                                         "column NAME" (of the file), "file" ({date} of
 *                                         file_pattern), or a date
 *    "file_pattern":"{sym}_{date}.csv*"   * and ? as in a shell; {NAME} sets that column, {date}
 *                                         the date (and is one), {i} and {M} nothing (digits)
 *    "constants":{"ex":"N"}               columns that the file has not got
 *    "optional":["cond"]                  columns that may be missing: null. "*" = all but
 *                                         time and sym
 *    "rejects":0, "partial":false         bad rows that are put aside; beyond: the file fails, or
 *                                         (partial) goes on
 *    "read":"NAME", "post_read":"NAME", "save":"NAME", "options":{NAME:TEXT}   plugin functions
 *                                         (penstock/load.h), NAME or FILE:NAME
 *  splayed
 *    "sym":"/path"                        its enumeration domain; default: the file of that name
 *                                         beside the table or in up to two directories above it
 *  itch50, pcap
 *    "feed":"itch", "session":"…"         values of those columns; itch50: the session's text
 *    "decoder":"itch50"                   "none": all rows are `undecoded`
 *    "groups":[{"group":"233.54.12.111:26477","source":"1.2.3.4","line":"A"},…]
 *                                         pcap: which packets are the feed's; group "any": all UDP
 *    "framing":"moldudp64"                a built-in descriptor, or
 *    "framing_bytes":"hex"              + struct framing as control made it (one build)
 *    "feed_zone":"America/New_York"       of the session's date
 *  calendar
 *    "calendar":"us", "calendar_zone":"America/New_York", "eod_s":0      + of the table
 *  }
 *
 * Unknown members are refused by name: a typing mistake must not be a default.
 *
 * load_recipe_file binds a recipe to a file: matches its name against file_pattern, fills constants
 * and date from it.
 *
 * THREADS. Plain data but for the two zones; read by anybody after decode. Memory:
 * load_recipe_free.
 */
#pragma once

#include <jansson.h>
#include "load/columns.h"
#include "load/input.h"

#define LOAD_TABLES     12u
#define LOAD_COLUMNS    512u /* of a file */
#define LOAD_FIELD_NAME 128u
#define LOAD_NULLS      16u
#define LOAD_NULL_BYTES 32u
#define LOAD_PATTERN    64u
#define LOAD_GROUPS     64u
#define LOAD_OPTIONS    32u
#define LOAD_SEPARATOR  8u

enum load_format { LOAD_TEXT, LOAD_ITCH50, LOAD_PCAP, LOAD_SPLAYED, LOAD_PLUGIN };
enum load_header { LOAD_HEADER_AUTO, LOAD_HEADER_YES, LOAD_HEADER_NO };
enum load_date_format { LOAD_DATE_UNSAID, LOAD_DATE_DMY, LOAD_DATE_MDY, LOAD_DATE_YMD };

/* X(ID, "name", what it reads) */
#define LOAD_TIMES(X)                                                                              \
    X(AUTO, "auto",                                                                                \
      "what the text itself shows: ISO, YYYYMMDD, YYYY.MM.DD, HH:MM:SS[.n]; digits "               \
      "alone are an epoch by their number: 10 s, 13 ms, 16 us, 19 ns")                             \
    X(ISO, "iso", "2024-01-02[T ]09:30:00[.n][Z|+hh:mm]; kdb+'s 2024.01.02D09:30:00.n too")        \
    X(YMD, "ymd", "20240102, or with a time 20240102[ T]093000[.n] and 20240102 09:30:00[.n]")     \
    X(EPOCH_S, "epoch_s", "seconds since 1970, with a fraction if it has one")                     \
    X(EPOCH_MS, "epoch_ms", "milliseconds since 1970")                                             \
    X(EPOCH_US, "epoch_us", "microseconds since 1970")                                             \
    X(EPOCH_NS, "epoch_ns", "nanoseconds since 1970")                                              \
    X(CLOCK, "clock", "HH:MM:SS[.n] of the partition's date")                                      \
    X(DAY_S, "day_s", "seconds after midnight, with a fraction if it has one")                     \
    X(DAY_MS, "day_ms", "milliseconds after midnight")                                             \
    X(DAY_US, "day_us", "microseconds after midnight")                                             \
    X(DAY_NS, "day_ns", "nanoseconds after midnight")                                              \
    X(KDB_NS, "kdb_ns", "nanoseconds since 2000")                                                  \
    X(PATTERN, "pattern", "as its pattern says")
enum load_time {
#define X(ID, name, sentence) LOAD_TIME_##ID,
    LOAD_TIMES(X)
#undef X
        LOAD_TIME_END
};
const char *load_time_name(enum load_time);

/* Rules of a column of tables[0], by its number in the schema. */
struct load_rule {
    uint8_t time; /* enum load_time, of time columns */
    bool optional, constant;
    char pattern[LOAD_PATTERN]; /* LOAD_TIME_PATTERN */
    /* The file's value * multiply / divide; 1 and 1 where nothing was said. divide is a power of
     * ten unless multiply is 1: a decimal fraction as it was written */
    int64_t multiply, divide;
    char *value; /* constant: its text, read as the file's would be */
};

/* What a column of the file becomes. */
#define LOAD_TO_NOTHING (-1)
struct load_field {
    char name[LOAD_FIELD_NAME]; /* in the header; "" = by its place */
    int to;                     /* column of tables[0], or LOAD_TO_NOTHING */
    bool date;                  /* it says the partition's date (too) */
};

enum load_date { LOAD_DATE_TIME, LOAD_DATE_COLUMN, LOAD_DATE_FILE, LOAD_DATE_FIXED };

struct load_group {
    uint32_t group; /* host byte order; 0 = any */
    uint16_t port;  /* 0 = any */
    uint32_t source;
    char line[SCHEMA_NAME_MAX];
};

struct load_recipe {
    char name[LOAD_FIELD_NAME];
    enum load_format format;
    enum load_compression compression;
    char table[SCHEMA_NAME_MAX];
    struct schema *tables; /* [ntables] */
    unsigned ntables;

    /* text */
    char separator[LOAD_SEPARATOR + 1], comment[LOAD_SEPARATOR + 1];
    uint8_t nseparator, ncomment;
    char quote, escape;      /* 0 = none */
    char decimal, thousands; /* thousands 0 = none */
    bool ragged, rest, trim;
    enum load_header header;
    uint32_t skip_lines;
    struct load_field *fields; /* [nfields]; 0 = see "columns" */
    unsigned nfields;
    bool by_name; /* fields are found by the header's names */
    bool others;  /* by_name: names that are not listed are passed over */
    unsigned nnulls;
    char null[LOAD_NULLS][LOAD_NULL_BYTES];
    struct load_rule rule[SCHEMA_COLUMNS_MAX];
    char zone[64];
    struct tzone *tz; /* owned; of `zone` */
    enum load_date_format date_format;

    enum load_date date;
    char date_column[LOAD_FIELD_NAME]; /* LOAD_DATE_COLUMN: the file's name of it */
    int32_t day;                       /* LOAD_DATE_FIXED; LOAD_DATE_FILE after load_recipe_file */
    char *file_pattern;                /* NULL = none */
    uint64_t rejects;
    bool partial;

    char *read, *post_read, *save; /* plugin functions; NULL = ours, none, ours */
    struct {
        char *name, *value;
    } option[LOAD_OPTIONS];
    unsigned noptions;

    char *sym; /* splayed */

    /* itch50, pcap */
    char feed[SCHEMA_NAME_MAX], session[64], decoder[SCHEMA_NAME_MAX];
    char framing[24];
    uint8_t *framing_bytes;
    size_t nframing;
    struct load_group *group;
    unsigned ngroups;
    char feed_zone[64];

    char calendar[SCHEMA_NAME_MAX], calendar_zone[64];
    struct tzone *calendar_tz; /* owned */
    int32_t eod_s;

    json_t *source; /* private: what was decoded */
};

/* NULL: err names the recipe and the member. */
struct load_recipe *load_recipe_decode(const json_t *o, struct err *err);
struct load_recipe *load_recipe_parse(const char *text, size_t n, struct err *err);
json_t *load_recipe_encode(const struct load_recipe *r); /* NULL: no memory */
void load_recipe_free(struct load_recipe *r);            /* NULL is allowed */

/* The file's name (no directories) against file_pattern: sets rule[].constant and .value, and day.
 * True also without a pattern. */
bool load_recipe_file(struct load_recipe *r, const char *name, struct err *err);
/* Column of tables[0], or -1. */
pst_inline int load_recipe_column(const struct load_recipe *r, const char *name)
{
    return schema_column(&r->tables[0], name);
}
/* A shell pattern with {NAME} groups against a name: groups by fn (false stops: no match).
 * fn may be NULL. The rules of load.batches use it too. */
bool load_pattern_match(const char *pattern, const char *name,
                        bool (*fn)(void *arg, const char *group, size_t group_len, const char *text,
                                   size_t text_len),
                        void *arg);
