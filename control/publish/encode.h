/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encode.h - staged rows to the columns of kdb+ tables, in batches: for each column one loop of its
 * kind, over rows that lie in one arena. Private to the fan-out; its thread.
 *
 * STAGING. A row that anybody wants is copied once into the arena: a `struct staged` (its packet
 * record's place, day, sequence) and the record behind it. What subscriptions hold is the record's
 * offset / 8. Nothing in the arena moves until it is emptied, when nobody holds rows any more.
 *
 * SYMBOLS. By journal id, an array of 16 bytes each: text with its NUL if that is short (one copy
 * of 16 bytes writes it), else where it stands. An id is looked up in the dictionary once, when a
 * row first has it; not known: null, counted, looked up again the next time.
 *
 * LAYOUT: what a subscription's columns are, for one version of a table: the source of each and how
 * it is turned into kdb+'s bytes, and the message's constant parts.
 */
#pragma once

#include "core/record.h"
#include "core/tzone.h"
#include "storage/dictionary.h"
#include "storage/kdb_object.h"
#include "storage/query/filter.h"

#define ENCODE_ARENA  (1u << 20) /* about a core's cache */
#define ENCODE_COLUMN 16u        /* most bytes of a fixed value */

struct staged {
    uint32_t packet; /* offset / 8 of the packet record */
    uint16_t day;
    uint16_t pad;
    int64_t seq;
};
_Static_assert(sizeof(struct staged) == 16, "staged rows are aligned");

union symbol_slot {
    struct {
        char text[15]; /* with its NUL */
        uint8_t kind;  /* 0 not known yet, 1 + len (up to 14), SYMBOL_LONG */
    };
    struct {
        const char *p;
        uint32_t len;
        uint8_t pad[4];
    } far;
};
_Static_assert(sizeof(union symbol_slot) == 16, "one load");
#define SYMBOL_SHORT 14u
#define SYMBOL_LONG  255u

struct encoder {
    struct dictionary *dict;
    uint8_t *arena;
    uint64_t used;
    union symbol_slot *slot; /* by id */
    uint32_t *code;          /* by id: 1 + code in syms; 0 not known yet */
    uint32_t slots;
    struct filter_syms *syms;
    const struct tzone *zone;
    int64_t zone_from, zone_to, zone_offset; /* UTC seconds for which the offset holds */
    int64_t midnight;                        /* of midnight_day in the zone, ns; day -1: none */
    int32_t midnight_day;
    uint64_t lost_symbols, lost_times;
    void *vector[SCHEMA_COLUMNS_MAX]; /* FILTER_BATCH values for filters, as needed */
    const void *data[SCHEMA_COLUMNS_MAX];
};

bool encoder_open(struct encoder *e, struct dictionary *dict, struct filter_syms *syms,
                  const struct tzone *zone);
void encoder_close(struct encoder *e);
/* Forgets all staged rows. */
void encoder_empty(struct encoder *e);
/* Is there room for a row and its packet record? */
pst_inline bool encoder_room(const struct encoder *e, uint32_t bytes)
{
    return e->used + sizeof(struct packet_record) + sizeof(struct staged) + bytes <= ENCODE_ARENA;
}
/* Offset / 8. packet NULL: none. */
uint32_t encoder_packet(struct encoder *e, const struct packet_record *packet);
uint32_t encoder_row(struct encoder *e, const struct record *r, uint32_t packet, int64_t seq,
                     uint16_t day);

pst_inline const struct record *encoder_record(const struct encoder *e, uint32_t row)
{
    return (const struct record *)(e->arena + (size_t)row * 8);
}
pst_inline const struct staged *encoder_staged(const struct encoder *e, uint32_t row)
{
    return (const struct staged *)(e->arena + (size_t)row * 8) - 1;
}

/* The slot of an id, looked up if need be; a slot of the null symbol when it has no text. */
const union symbol_slot *encoder_symbol(struct encoder *e, uint32_t id);
/* Its code; PST_NULL_SYMBOL: null, or not known. */
uint32_t encoder_code_slow(struct encoder *e, uint32_t id);
pst_inline uint32_t encoder_code(struct encoder *e, uint32_t id)
{
    if (pst_likely(id < e->slots && e->code[id]))
        return e->code[id] - 1;
    return encoder_code_slow(e, id);
}

/* ---- layouts ---- */

enum encode_op {
    ENCODE_COPY1,
    ENCODE_COPY2,
    ENCODE_COPY4,
    ENCODE_COPY8,
    ENCODE_COPY16,
    ENCODE_REAL,
    ENCODE_FLOAT,
    ENCODE_SYMBOL,
    ENCODE_STRING,
    ENCODE_TIME,     /* timestamp, as the zone's clocks show it */
    ENCODE_TIMESPAN, /* timestamp, since midnight */
    ENCODE_SEQ,
    ENCODE_DATE,
    ENCODE_COMPUTED
};
struct layout_column {
    char name[SCHEMA_NAME_MAX];
    uint8_t type; /* kdb+'s, as it is sent; PST_STRING: a list of texts */
    uint8_t op;   /* enum encode_op */
    bool packet;  /* offset is in the packet record */
    uint16_t offset;
    uint16_t output; /* ENCODE_COMPUTED: of the filter */
    uint8_t width;   /* 0: not fixed */
};
struct layout {
    const struct schema *schema;
    uint16_t ncols;
    bool computes;
    struct layout_column *col;
    uint32_t fixed_bytes; /* of a row: all columns of fixed width */
    struct kdb_out upd;   /* list(3) `upd `table */
    struct kdb_out table; /* the table up to its columns */
};
/* filter: its outputs, if it has any; else all columns of the schema. */
bool layout_open(struct layout *l, const struct schema *s, const struct filter *filter,
                 bool timespan, bool local, bool names, struct err *err);
void layout_close(struct layout *l);
bool layout_schema(const struct layout *l, struct schema *out);

/* Columns that are already encoded, in front of the staged rows. */
struct folded {
    struct folded_column {
        uint8_t *p;
        size_t len, room;
    } * col; /* by column of the layout */
    uint32_t rows;
    size_t bytes; /* allocated */
};
void folded_free(struct folded *f, unsigned ncols);
void folded_clear(struct folded *f, unsigned ncols);
/* Rows to the columns; filter: of whose last batch `rows` are those that passed. False: no memory;
 * nothing is changed. */
bool encode_fold(struct encoder *e, const struct layout *l, const struct filter *filter,
                 struct folded *f, const uint32_t *rows, uint32_t n);

/* Bytes of the table object of folded and staged rows; 0: it would pass 2 GiB. Not for layouts that
 * compute, unless n is 0. */
size_t encode_table_size(struct encoder *e, const struct layout *l, const struct folded *f,
                         const uint32_t *rows, uint32_t n);
/* Writes exactly that many. Returns the end. */
uint8_t *encode_table(struct encoder *e, const struct layout *l, const struct folded *f,
                      const uint32_t *rows, uint32_t n, uint8_t *to);

/* The arrays that a filter reads, for n <= FILTER_BATCH rows of one day. False: no memory. */
bool encode_vectors(struct encoder *e, const struct schema *s, const struct filter *f,
                    const uint32_t *rows, uint32_t n, struct filter_batch *b);
