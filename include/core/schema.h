/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema.h - tables and where their columns lie in a record.
 *
 * Every table starts time, sym. A table that a feed fills starts with the eight feed columns
 *     time, sym, rxtime, feed, session, seq, line, flags
 * of which only time and sym stand in each record; the other six stand once, in the packet record
 * before the rows (record.h), and readers expand them.
 *
 * A table id names one VERSION of a table and is never reused in an instance: a changed schema gets
 * a new id and a new schema frame. Ids 0 and 1 are the packet and derived records.
 *
 * A `struct schema` is immutable once its frame is in the journal; any thread may read it.
 */
#pragma once

#include "base.h"
#include "penstock/types.h"

#define SCHEMA_COLUMNS_MAX  96
#define SCHEMA_NAME_MAX     48
#define SCHEMA_FEED_COLUMNS 8
#define TABLE_PACKET        0u
#define TABLE_DERIVED       1u
#define TABLE_FIRST         2u
#define TABLE_MAX           4096u

struct column {
    char name[SCHEMA_NAME_MAX];
    uint8_t type;    /* enum pst_type */
    uint16_t offset; /* in the record; for the six packet columns: in the packet record */
    bool packet;     /* value comes from the packet record (seq: first seq + row) */
};

struct schema {
    char name[SCHEMA_NAME_MAX];
    uint16_t id;
    bool feed; /* starts with the eight feed columns */
    uint16_t ncols;
    uint16_t nkeys; /* leading key columns by index in keys[], 0 = not keyed */
    uint16_t keys[8];
    uint16_t fixed; /* bytes of the fixed part of a record, padded to 8 */
    uint16_t nstrings;
    uint16_t nsyms; /* symbol columns inside the record, sym itself excluded */
    uint16_t sym_offset[32];
    struct column col[SCHEMA_COLUMNS_MAX];
};

unsigned type_width(uint8_t type); /* 0 = no such type */
/* The type's null as a record holds it, type_width bytes; types without one: zeros. */
void type_put_null(void *at, uint8_t type);
const char *type_name(uint8_t type);
char type_letter(uint8_t type);
uint8_t type_by_name(const char *name); /* 0 = no such type */

/*
 * Lays the columns out: time at 8, sym at 4, then the others widest first (stable). For a feed
 * table the caller gives only its own columns; the eight feed columns are put in front.
 * False: no columns, duplicate or empty name, too many, a record that would pass 65,528 bytes,
 * or (feed false) the first two are not time timestamp, sym symbol.
 */
struct column_def {
    const char *name;
    uint8_t type;
};
bool schema_make(struct schema *s, uint16_t id, const char *name, bool feed,
                 const struct column_def *cols, unsigned ncols, struct err *err);

int schema_column(const struct schema *s, const char *name);       /* index or -1 */
bool schema_equal(const struct schema *a, const struct schema *b); /* all but the id */

/*
 * JSON of the schema frame:
 * {"id":7,"table":"trade","feed":false,"columns":[["time","timestamp"],…], "keys":["sym"]}.
 * schema_to_json returns a malloc'd text; schema_from_json checks everything.
 */
char *schema_to_json(const struct schema *s);
bool schema_from_json(struct schema *s, const char *json, size_t len, struct err *err);

/* The set of table versions. Owner: control before threads start; afterwards append-only through
 * schema_set_add by one thread, readers look up by id (entries are published with release). */
struct schema_set {
    _Atomic(struct schema *) by_id[TABLE_MAX];
    uint32_t count; /* highest id + 1; owner only */
};
struct schema_set *schema_set_new(void);
void schema_set_free(struct schema_set *s);
/* Copies. False: id taken by a different schema, or out of range. */
bool schema_set_add(struct schema_set *set, const struct schema *s, struct err *err);
const struct schema *schema_set_get(const struct schema_set *set, unsigned id); /* NULL = unknown */
/* The newest version of a table by name. */
const struct schema *schema_set_find(const struct schema_set *set, const char *name);
/* Finds an equal live version or allocates the next id; *fresh says a schema frame is due. */
const struct schema *schema_set_intern(struct schema_set *set, struct schema *s, bool *fresh,
                                       struct err *err);
