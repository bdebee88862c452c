/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decoder.h - one message of one feed becomes one row.
 *
 * A decoder is a pure function over (bytes, length): it reads no more than `len` bytes, keeps
 * nothing but the session's state that the caller passes, allocates nothing, and has these
 * outcomes:
 *
 *   DECODE_ROW      exactly one record was committed to `out`
 *   DECODE_UNKNOWN  a message type it does not know        | nothing was written; the feed keeps
 *   DECODE_LENGTH   a known type, too short                | the message whole in `undecoded`
 *   DECODE_SYMBOL   a symbol was refused (table full …)    |
 *
 * A message longer than the layout is accepted: venues append fields.
 * Thread: the feed's lcore. State memory is the feed's, allocated before start, one per session.
 */
#pragma once

#include "core/rows.h"

#define DECODER_TABLES 8

enum decode { DECODE_ROW, DECODE_UNKNOWN, DECODE_LENGTH, DECODE_SYMBOL };

struct decoder_table {
    const char *name;
    const struct column_def *cols; /* the columns after the eight feed columns */
    unsigned ncols;
    const uint16_t *offsets; /* where the decoder writes each of them: its record's C struct */
    uint16_t bytes;          /* sizeof that struct: the record, padding included */
};

/* What a decoder needs to know about the session; the feed fills it, constant within a session. */
struct decode_env {
    int64_t midnight; /* UTC ns of the session date's local midnight in the feed's zone */
    const struct schema *table[DECODER_TABLES]; /* in the order of decoder_ops.tables */
};

struct decoder_ops {
    const char *name; /* configuration: decoder: NAME */
    const struct decoder_table *tables;
    unsigned ntables;
    /* The first tables, whose rows are frequent: all other rows are committed with
     * rows_commit_other (core/rows.h). 0 = not known */
    unsigned frequent;
    size_t state_bytes;
    void (*init)(void *state); /* a new session begins */
    enum decode (*decode)(void *state, const struct decode_env *env, const uint8_t *msg,
                          uint32_t len, struct rows *out);
    int32_t (*type)(const uint8_t *msg, uint32_t len); /* for undecoded.type; PST_NULL_INT = none */
    /*
     * State that a restart needs (ITCH: locate -> symbol), for `state` marks. save writes a JSON
     * value for the entries from *from on, as many as fit, sets *from to where to go on (0 = all
     * done), and returns its length (0 = nothing to save). load takes such a value back; `symbol`
     * resolves text. dirty tells whether anything changed since the last complete save. NULL = no
     * state.
     */
    uint32_t (*save)(const void *state, uint32_t *from, char *buf, uint32_t cap,
                     const char *(*text)(void *arg, uint32_t id, uint32_t *len), void *arg);
    bool (*load)(void *state, const char *json, size_t len,
                 uint32_t (*symbol)(void *arg, const char *text, uint32_t len), void *arg);
    bool (*dirty)(void *state, bool clear);
};

/* The built-in decoders by name: "itch50", "iex"; NULL = no such. */
const struct decoder_ops *decoder_find(const char *name);
const struct decoder_ops *decoder_at(unsigned i); /* for listing; NULL = past the end */

/*
 * Start-up, once per feed: are these schemas (in the order of ops->tables) the ones whose layout
 * the decoder has compiled in? A decoder writes records through C structs of constant layout, so a
 * schema that names, types or places one column otherwise would give wrong values: false, and err
 * says which column. Only then may the schemas go into decode_env.table.
 */
bool decoder_bind(const struct decoder_ops *ops, const struct schema *const *tables,
                  struct err *err);
