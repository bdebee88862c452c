/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kdb_object.h - kdb+ serialization, both ways: what stands in a kdb+ log after its header, and in
 * an IPC message after its eight bytes. Pure functions over bytes; no I/O, no state, any thread.
 *
 * Source: the kdb+ format page, section 1. Golden vectors: its section 5, all of them in
 * tests/unit/test_kdb_object.c.
 *
 * READING is without copies: a `struct kdb_object` is a view into the caller's bytes, which must
 * stay. kdb_object_check walks one object to its end without recursion and says how long it is;
 * after KDB_OK every view of it and of its items can be taken without another check. Both byte
 * orders are read; values come out in the machine's.
 *
 *   enum kdb_verdict v = kdb_object_check(p, n, order, &size, &why);
 *   KDB_OK      an object of `size` bytes begins at p (more may follow)
 *   KDB_SHORT   what is there is sound as far as it goes, but the bytes run out (a torn tail, or
 *               the rest has not come yet); `size` is a lower bound for what is needed
 *   KDB_BAD     no object; `why` is a few words: "unknown type 23", "count -5", ...
 *
 * Every type that can be sent is read: atoms, vectors, general lists, dictionaries (also sorted),
 * tables and keyed tables, errors; functions (lambda, primitives, projections, compositions,
 * derived) are walked to their exact length, never run. Not sendable, and so KDB_BAD: enumerations
 * (20...76), nested and mapped vectors (77...97), dynamically loaded code (112).
 *
 * LIMITS. An object is below 2 GiB; items nest at most KDB_DEPTH deep; a count is compared with the
 * bytes that are left before anything believes it. The walk takes time linear in the bytes.
 *
 * WRITING appends to a growing buffer (struct kdb_out), always little endian. Attributes are the
 * caller's promise: 1, 2 and 3 only where they are true. A buffer that could not grow sets `failed`
 * and swallows what follows; ask once, at the end.
 *
 * MESSAGES. kdb_frame_begin ... kdb_frame_end put an IPC header before an object; kdb_frame_read
 * takes one apart. Compression is not this module's: a compressed message is named as such.
 */
#pragma once

#include "core/base.h"
#include "penstock/types.h"

#define KDB_DEPTH     128u
#define KDB_BYTES_MAX 0x7FFFFFFFu /* of an object or message */
#define KDB_FRAME     8u          /* bytes of a message's header */

/* kdb+ type numbers that are no column type (types.h has those). Atoms are negative. */
enum {
    KDB_LIST = 0,
    KDB_DATETIME = 15,
    KDB_TABLE = 98,
    KDB_DICT = 99,
    KDB_LAMBDA = 100,
    KDB_UNARY = 101, /* with opcode 0: the generic null `::` */
    KDB_OPERATOR = 102,
    KDB_ITERATOR = 103,
    KDB_PROJECTION = 104,
    KDB_COMPOSITION = 105,
    KDB_DERIVED = 106, /* ... 111 */
    KDB_SORTED_DICT = 127,
    KDB_ERROR = -128
};

enum kdb_order { KDB_LITTLE = 1, KDB_BIG = 0 }; /* byte 0 of a message; logs are little endian */
enum kdb_verdict { KDB_OK, KDB_SHORT, KDB_BAD };

enum kdb_verdict kdb_object_check(const void *p, size_t n, enum kdb_order order, size_t *size,
                                  const char **why);

/* Bytes of one value: 8 for datetime, timestamp, ...; 0 for symbols and what has no fixed width. */
extern const uint8_t kdb_object_widths[20];
pst_inline unsigned kdb_object_width(int type)
{
    type = type < 0 ? -type : type;
    return type < 20 ? kdb_object_widths[type] : 0;
}
/* "long", "symbol", "list", "table", ...: of a vector or an atom. */
const char *kdb_object_type_name(int type);

struct kdb_object {
    const uint8_t *at; /* its type byte */
    const uint8_t *data;
    /* vectors: the first value. Atoms: the value; symbol atoms and errors: the text.
     * list, projection, composition, dict, derived: the first item. table: its dictionary. lambda:
     * the context's text. Primitives: the opcode. */
    uint32_t count; /* vectors and lists: items; dict: 2; atoms and the rest: 1 */
    int16_t type;
    uint8_t attribute; /* 0 none, 1 sorted, 2 unique, 3 parted, 4 grouped */
    uint8_t order;     /* enum kdb_order */
};

/* Views the object that begins at p, inside bytes that kdb_object_check found sound. */
void kdb_object_view(struct kdb_object *o, const void *p, enum kdb_order order);
/* Where the object ends. Constant time but for symbols and nested items. */
const uint8_t *kdb_object_end(const struct kdb_object *o);

/* Items of a list, projection, composition, dictionary (key, value) or derived verb, in order:
 *     for (bool more = kdb_items(&list, &i); more; more = kdb_items_next(&i)) use(&i.item); */
struct kdb_items {
    struct kdb_object item;
    uint32_t left; /* behind this one */
};
bool kdb_items(const struct kdb_object *list, struct kdb_items *i);
bool kdb_items_next(struct kdb_items *i);

/* Texts of a symbol vector, or of one symbol atom. */
struct kdb_texts {
    const char *text; /* NUL-terminated */
    uint32_t len;
    uint32_t left;
};
bool kdb_texts(const struct kdb_object *symbols, struct kdb_texts *t);
bool kdb_texts_next(struct kdb_texts *t);

/* Value i of a vector (atom: i 0) of any integer or temporal type of fixed width, sign-extended,
 * nulls and infinities as they are in that type. real and float: kdb_object_double. */
int64_t kdb_object_long(const struct kdb_object *o, uint32_t i);
double kdb_object_double(const struct kdb_object *o, uint32_t i); /* real, float, datetime */
/* n values from `first` on as they stand in memory here. In little endian they also lie at
 * data + i * width, unaligned. */
void kdb_object_copy(const struct kdb_object *o, uint32_t first, uint32_t n, void *to);

/* Text of a symbol or char atom, a char vector, an error; NULL when it is none of these. */
const char *kdb_object_text(const struct kdb_object *o, uint32_t *len);
/* The same as a comparison. */
bool kdb_object_is(const struct kdb_object *o, const char *text);
bool kdb_object_null(const struct kdb_object *o); /* `::` */

/* The value of a dictionary from symbols to a list of anything. False: o is none, or has no such
 * key. */
bool kdb_dict_value(const struct kdb_object *o, const char *key, struct kdb_object *value);

pst_inline bool kdb_is_atom(const struct kdb_object *o)
{
    return o->type < 0 && o->type != KDB_ERROR;
}
pst_inline bool kdb_is_vector(const struct kdb_object *o)
{
    return o->type > 0 && o->type < 20;
}

/*
 * A table, keyed table, or dictionary of named columns as what it means. False (with a sentence)
 * when names are no symbols, columns are not as many as names, or not of one length.
 */
struct kdb_table {
    struct kdb_object names[2], columns[2]; /* 1: the value part of a keyed table */
    unsigned parts;
    uint32_t ncols, nkeys;
    uint32_t rows;
};
bool kdb_table_view(struct kdb_table *t, const struct kdb_object *o, struct err *err);
/* Calls fn for each column in order until it says false. */
bool kdb_table_each(const struct kdb_table *t,
                    bool (*fn)(void *arg, uint32_t i, const char *name, uint32_t len,
                               const struct kdb_object *column),
                    void *arg);
/* Rows of a column: items of a vector or list; dictionaries and tables inside have none (-1). */
int64_t kdb_object_rows(const struct kdb_object *o);

/* ---- writing ---- */

struct kdb_out {
    uint8_t *data;
    size_t len, room;
    bool failed;
};
void kdb_out_free(struct kdb_out *o);
void kdb_out_bytes(struct kdb_out *o, const void *p, size_t n);
uint8_t *kdb_out_room(struct kdb_out *o, size_t n); /* uninitialised; NULL: failed */

void kdb_out_null(struct kdb_out *o);                              /* :: */
void kdb_out_atom(struct kdb_out *o, int type, const void *value); /* type > 0; not symbol */
void kdb_out_long(struct kdb_out *o, int64_t v);
void kdb_out_symbol(struct kdb_out *o, const char *text, size_t len); /* cut at a NUL */
void kdb_out_chars(struct kdb_out *o, const char *text, size_t len);  /* char vector */
void kdb_out_vector(struct kdb_out *o, int type, uint8_t attribute, uint32_t count,
                    const void *values);
void kdb_out_symbols(struct kdb_out *o, const char *const *texts, uint32_t count);
void kdb_out_list(struct kdb_out *o, uint32_t count);     /* then `count` objects */
void kdb_out_dict(struct kdb_out *o, bool sorted);        /* then keys, values */
void kdb_out_table(struct kdb_out *o, uint8_t attribute); /* then a dictionary */
void kdb_out_columns(struct kdb_out *o, const char *const *names, uint32_t count);
/* a table's head: then `count` columns */
void kdb_out_error(struct kdb_out *o, const char *text);
void kdb_out_lambda(struct kdb_out *o, const char *context, const char *source);
/* Vectors whose length is not known yet: begin, append values (symbols: texts with their NUL),
 * then patch the count. Type 0 opens a list. */
size_t kdb_out_open(struct kdb_out *o, int type, uint8_t attribute);
void kdb_out_close(struct kdb_out *o, size_t opened, uint32_t count);

/* ---- messages ---- */

enum kdb_kind { KDB_ASYNC = 0, KDB_SYNC = 1, KDB_RESPONSE = 2 };

size_t kdb_frame_begin(struct kdb_out *o, enum kdb_kind kind);
/* Patches the length. False: the message passes KDB_BYTES_MAX (it is taken out again), or failed.
 */
bool kdb_frame_end(struct kdb_out *o, size_t begun);

struct kdb_frame {
    uint64_t length; /* header included */
    uint8_t kind;    /* enum kdb_kind */
    uint8_t order;   /* enum kdb_order */
    bool compressed;
};
/* Takes 8 bytes apart. KDB_BAD: no such order, kind or compression; shorter than its own header, or
 * beyond KDB_BYTES_MAX. */
enum kdb_verdict kdb_frame_read(struct kdb_frame *f, const uint8_t head[KDB_FRAME],
                                const char **why);
