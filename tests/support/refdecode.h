/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refdecode.h - the second decoder: what a message means, said independently of the product.
 *
 * It shares no code, header or table with the product: tests compare the product's rows with it
 * field by field. It is slow and literal: the layouts are text (refdecode.c), read at every call.
 * One thread a state.
 *
 * A row is the table's name, `time`, `sym` and the table's own columns, that is those after the
 * eight that every feed table begins with (time, sym, rxtime, feed, session, seq, line, flags). In
 * kdb+ terms:
 *
 *   itch_order      A F E C X D U
 *     type char, side char (null where absent), ref long, newref long (U: the new reference; ref =
 *     the old), shares long, price float, match long, printable char (C's; E: 'Y'; else null),
 *     mpid symbol (F), locate int, tracking int
 *   itch_trade      P Q B
 *     type char, side char, ref long, shares long, price float, match long, cross char (Q),
 *     locate int, tracking int
 *   itch_status     S H Y L V W K J h N O
 *     type char, event char (S), state char (H trading state, Y Reg SHO action, L participant
 *     state, h operational halt action), reason symbol (H), market char (h), mpid symbol (L),
 *     primary char (L), mode char (L), level1 float, level2 float, level3 float (V), breach char
 *     (W), release int (K, seconds), qualifier char (K), price float (K price, J reference price),
 *     upper float, lower float (J), ext int (J), flag char (N interest flag, O eligibility),
 *     low float, high float (O @20, @24), near float (O @28), neartime timestamp (O @32: ns since
 *     midnight, shown as UTC), collar_low float, collar_high float (O @40, @44), locate int,
 *     tracking int
 *   itch_imbalance  I
 *     paired long, imbalance long, direction char, far float, near float, ref float, cross char,
 *     variation char, locate int, tracking int
 *   itch_directory  R
 *     category char, status char, roundlot int, roundonly char, class char, subtype symbol,
 *     authenticity char, threshold char, ipo char, luld char, etp char, leverage int, inverse char,
 *     locate int, tracking int
 *   iex_quote       Q
 *     qflags int, bidsize long, bid float, ask float, asksize long
 *   iex_level       8 5
 *     side char ('B' for 8, 'S' for 5), eflags int, size long, price float
 *   iex_trade       T B X
 *     type char, sflags int (X: its price type byte), size long (null for X), price float,
 *     tradeid long (null for X)
 *   iex_status      S H I O P E
 *     type char, state char (the byte at 1: S event, H status, I retail interest, O halt status, E
 *     event; P: the byte is a number, 0 or 1), reason symbol (H),
 *     detail char (P)
 *   iex_auction     A
 *     auction char (the byte at 1), paired long, ref float, indicative float, imbalance long,
 *     side char, ext int, auctime timestamp (u32 seconds since 1970), bookclear float,
 *     collarref float, low float, high float
 *   iex_directory   D
 *     dflags int, roundlot int, prevclose float, luld int
 *
 * A price is the integer divided by 1e4 (V: 1e8). Nulls are kdb+'s: long, int, timestamp 0N, float
 * NaN, char ' ', symbol empty. Symbols lose trailing spaces. Times are UTC ns since 2000-01-01; an
 * ITCH time is ns since the midnight with which the session's date begins in New York.
 *
 * `sym` of an ITCH message is its own stock field when it has one, else the text that the last R
 * for its locate gave, else null; `by_locate` is what the last message with a stock said.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct ref_value {
    char name[16];
    char kind; /* c i j f s p: char int long float symbol timestamp */
    bool null;
    int64_t i; /* c i j p */
    double f;
    char s[16];
};

struct ref_row {
    char table[20];
    char type; /* the message's type byte */
    int64_t time;
    char sym[12], by_locate[12];
    unsigned n;
    struct ref_value v[32];
};

struct refdecode {
    int64_t midnight; /* ITCH: UTC ns since 2000-01-01 of the session date's New York midnight */
    char (*locate)[12];
};

bool refdecode_open(struct refdecode *d, int64_t midnight);
void refdecode_close(struct refdecode *d);

/* protocol "itch", or "iex" for TOPS 1.5, 1.6 and DEEP 1.0: 1 = a row, 0 = unknown type (or empty),
 * -1 = too short. Longer than the layout is fine: fields are only ever appended. */
int refdecode(struct refdecode *d, const char *protocol, const uint8_t *bytes, unsigned len,
              struct ref_row *row);
const struct ref_value *ref_field(const struct ref_row *row,
                                  const char *name); /* NULL: no such column */
/* One line of text: table|sym|time|name=value|…, nulls empty; floats with 17 digits. */
void ref_text(const struct ref_row *row, char *out, unsigned size);

/* UTC ns since 2000-01-01 of a date's midnight in New York (2007 or later). */
int64_t ref_midnight(int year, int month, int day);
