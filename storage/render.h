/* SPDX-License-Identifier: Apache-2.0 */
/*
 * render.h - rows, marks and gaps for people and their tools: JSON lines, CSV, aligned text.
 *
 * A row is shown with all columns of its schema, the packet record's expanded (rxtime, feed,
 * session, seq, line, flags). Values look as in kdb+:
 *   timestamp 2026.11.23D09:30:00.123456789   date 2026.11.23   month 2026.11
 *   timespan 0D09:30:00.000000000   time 09:30:00.000   second 09:30:00   minute 09:30
 *   byte 0x1f   guid 8-4-4-4-12   boolean 1 or 0 (JSON true, false)
 *   float, real: the shortest text that reads back as the same value; 0w, -0w (JSON: as strings)
 * Timestamps are UTC, or as render.shown says. Nulls are empty in text and CSV, null in JSON; an id
 * whose symbol is lost is null too. `flags` of a feed row is a number in JSON and CSV, names
 * ("late|bad_time") in text.
 *
 * A text that is not printable UTF-8: JSON \u00XX for each byte from 0x80 on, and always so for the
 * bytes of `undecoded`, so that they read back (as Latin-1); text and CSV \xHH, and then a
 * backslash is \\. CSV quotes a field that holds a comma, a quote or a line end (RFC 4180).
 *
 * JSON rows are one object a line: {"table":"trade","position":…,"time":"…",…}. Marks are
 * {"mark":"tick","position":…,"time":"…","data":{…}}; in text and CSV "# mark tick …".
 *
 * Text is aligned by holding rows back until render_flush (or 1,000 rows); column widths never
 * shrink within a table, so that a following tail stays aligned. A new table writes a new header.
 *
 * Owner: one thread. Output collects in out/len, to be written and reset by the caller
 * (render_take); nothing is written here. Memory failure sets `failed` and loses output.
 */
#pragma once

#include "core/record.h"
#include "core/tzone.h"
#include "dictionary.h"

enum render_format { RENDER_TEXT, RENDER_JSON, RENDER_CSV };

struct render {
    enum render_format format;
    bool header;                    /* write headers (text, CSV) */
    const struct time_shown *shown; /* of timestamps; NULL: UTC */
    bool failed;
    char *out;
    size_t len, room;
    /* text: rows held back */
    const struct schema *table;
    char *cells; /* NUL-terminated cells, ncols a row */
    size_t cells_len, cells_room;
    uint32_t held;
    uint32_t width[SCHEMA_COLUMNS_MAX];
};

void render_init(struct render *r, enum render_format format);
void render_free(struct render *r);
/* seq and packet as record_walk gives them. */
void render_row(struct render *r, struct dictionary *d, const struct schema *s,
                const struct frame *f, const struct record *row, const struct packet_record *packet,
                int64_t seq);
void render_mark(struct render *r, const struct frame *f);
/* Every row of a data or gap frame, or the mark. table: only this one by name, NULL = all.
 * sym: only rows with this id; PST_NULL_SYMBOL = all. Returns rows and marks rendered. */
uint64_t render_frame(struct render *r, struct dictionary *d, const struct frame *f,
                      const char *table, uint32_t sym);
void render_flush(struct render *r); /* text: writes the rows held back */
/* Hands over what collected (NUL-terminated) and empties it; valid until the next call. */
const char *render_take(struct render *r, size_t *len);

/* One value as text; the bytes at p are a column's. Never empty unless null. */
#define RENDER_VALUE 64
uint32_t render_value(uint8_t type, const uint8_t *p, char out[RENDER_VALUE]);
bool render_is_null(uint8_t type, const uint8_t *p);
