/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text_parts.h - inside text.h: the index of a window, columns on their way, and the kernels that
 * are built once an instruction set.
 *
 * A window is TEXT_PAD_BEFORE readable bytes, the text, a newline that the reader may put there,
 * and TEXT_PAD_BEHIND bytes of zeros. A mark is the place of a separator's first byte or of a row's
 * '\n'.
 */
#pragma once

#include "load/text.h"
#include "load/text_value.h"

struct text_syntax {
    uint8_t separator[LOAD_SEPARATOR], comment[LOAD_SEPARATOR];
    unsigned nseparator, ncomment;
    int quote, escape; /* -1 = none */
};

struct text_index {
    uint32_t
        *mark; /* ascending; mark[-1] is there: UINT32_MAX, the end of the row before the first */
    uint32_t *row; /* [i]: marks up to the end of row i, it included */
    uint32_t marks, rows;
    uint32_t lines; /* bytes '\n', wherever they stand */
    bool careful;   /* doubled or stray quotes, escapes: fields must be looked through */
    bool behind;    /* there may be text behind a closing quote; false: there is none */
    bool nul;       /* a byte of the text is 0 */
};
/* Entries that `mark` and `row` need for a text of n bytes. */
#define TEXT_MARKS(n) ((n) + 80u)

/* What the quotes of a text mean, byte by byte: the definition that the masks have to meet, and
 * what reads the blocks that they cannot. */
enum text_state { TEXT_ROW, TEXT_FIELD, TEXT_PLAIN, TEXT_QUOTED, TEXT_CLOSED, TEXT_COMMENT };
struct text_at {
    enum text_state state; /* what the byte before was: ROW = a row begins here */
    bool escaped;          /* it was an escape */
};
/* Bytes from ... to of p[0 ... n), marks into x. */
void text_index_bytes(const struct text_syntax *s, const char *p, uint32_t n, uint32_t from,
                      uint32_t to, struct text_at *at, struct text_index *x);

enum text_kind {
    TEXT_KIND_VALUE,  /* text_value for each */
    TEXT_KIND_CACHED, /* the same, but what the row before had is not read again */
    TEXT_KIND_DOUBLE,
    TEXT_KIND_SINGLE,
    TEXT_KIND_WHOLE,
    TEXT_KIND_MOMENT, /* timestamp, timespan */
    TEXT_KIND_COUNT,  /* timestamp as a number of a unit */
    TEXT_KIND_SYMBOL,
    TEXT_KIND_STRING,
};

struct text_column {
    struct text_how how;
    char name[LOAD_FIELD_NAME]; /* the file's, for people */
    uint32_t field;             /* number in the row */
    int to;                     /* column of the block; -1: the date */
    enum text_kind kind;
    unsigned width; /* bytes a value */
    uint32_t skip;  /* bytes from the mark before to the field */
    bool last;      /* may end with '\r' */
    int quote;
    unsigned tens;     /* scale: 10^-tens; DOUBLE */
    uint64_t nulls;    /* bit n: a null text of n bytes (63: or more) that the loop must look for */
    int64_t low, high; /* WHOLE */
    int64_t unit, epoch; /* COUNT: ns; ns to be taken off */
    uint8_t null[16];
    uint8_t *out; /* of the first row of the batch */

    /* MOMENT: a text that begins with the `prefix` bytes `was` (the date and what parts it from the
     * clock) is `base` and the clock behind them, where that is low ... high. CACHED: `prefix` is
     * the whole text, base the value. COUNT: base is the midnight of `day`. */
    uint32_t prefix;
    uint64_t was[2], mask[2];
    int64_t base;
    int32_t day;
    bool zulu, daily; /* daily: the text names no date; base is of `day` */
};

struct text_bad {
    uint32_t start;                   /* of the row in the window */
    uint32_t end;                     /* 0 = where the index says */
    uint32_t fields;                  /* FIELDS: how many it has */
    const struct text_column *column; /* NULL = the whole row */
    int reason;
};

struct text_batch {
    const char *win;
    const uint32_t *mark;
    const uint32_t *base; /* [row]: its first mark */
    uint32_t rows;
    bool careful, nul; /* of the index */
    bool odd; /* a text may stand for another one: escapes, doubled quotes, blanks, null texts */
    const struct load_recipe *recipe;
    const struct text_syntax *syntax;
    struct load_dict *dict;
    struct load_block *block;
    const int32_t *day; /* [row], of times of day; NULL: fixed_day */
    int32_t fixed_day;
    char *scratch; /* as long as the window */
    struct text_bad *bad;
    uint32_t nbad, room_bad;
    uint8_t *marked; /* bit r: row r is in bad */
    bool failed;     /* no memory */
};

/* Row r of the batch is bad, unless it already was. */
void text_batch_bad(struct text_batch *b, const struct text_column *c, uint32_t r, int reason);
void text_bad_add(struct text_batch *b, struct text_bad bad);
pst_inline bool text_batch_is_bad(const struct text_batch *b, uint32_t r)
{
    return b->marked[r / 8] >> (r % 8) & 1;
}

/*
 * One field that a loop does not know: quotes, escapes, blanks, null texts, odd shapes. p[0 ... n)
 * as it stands in the window, quotes and all; n < 0: not there. The value goes to c->out[r], or the
 * row is bad.
 */
void text_field_slow(struct text_batch *b, struct text_column *c, uint32_t r, const char *p,
                     int32_t n);
/* The same behind quotes and nulls: what MOMENT, COUNT and CACHED have not kept is read, and kept.
 */
void text_field_time(struct text_batch *b, struct text_column *c, uint32_t r, const char *p,
                     uint32_t n);
bool text_is_null(const struct load_recipe *r, const char *p, size_t n);
/* The field without its quotes, escapes resolved, into scratch where that is needed. */
int text_unquote(const struct text_syntax *s, const char **p, size_t *n, char *scratch);

struct text_kernels {
    /* Lists rows and fields of p[0 ... n), which begins where a row begins. What follows the last
     * row's end is the beginning of another. */
    void (*index)(const struct text_syntax *s, const char *p, uint32_t n, struct text_index *x);
    /* All rows of one column. */
    void (*column)(struct text_batch *b, struct text_column *c);
};
extern const struct text_kernels text_kernels_portable, text_kernels_avx2, text_kernels_avx512;
const struct text_kernels *text_kernels(void);

/* A column of the table that the file has not got: a constant, or null. */
struct text_fill {
    int to;
    unsigned width;
    uint8_t value[16];
    const char *text; /* symbols, strings: to be interned, copied; NULL = value is all */
};

struct load_text {
    struct load_reader_config c;
    const struct load_recipe *r;
    struct text_syntax syntax;
    struct load_days days;
    struct load_text_facts facts;

    /* The window: win[0 ... used) begins where a row begins; it moves on in the memory, and back to
     * its start when bytes are added. */
    char *memory, *win;
    uint32_t used, room;
    uint32_t piece; /* bytes indexed at a time, while rows are shorter */
    uint32_t wary;  /* the same, behind a quote that stood where it should not: less of it is lost */
    uint32_t limit; /* of a row: less than TEXT_ROW_MAX until `narrow` more bytes went by */
    uint64_t narrow;
    bool begun, discard; /* the first bytes were looked at; up to the next '\n' all goes */
    uint32_t to_skip;    /* lines */
    uint64_t line;       /* of win[0], from 1 */
    struct text_index index;
    uint32_t *marks; /* index.mark - 1 */
    uint32_t *base;
    uint32_t room_marks, rows;

    /* Where columns go, once the first row was seen. */
    bool planned;
    uint32_t nfields;
    struct text_column *col; /* [ncols] those that are read: the date's first */
    unsigned ncols;
    struct text_fill fill[SCHEMA_COLUMNS_MAX];
    unsigned nfill;
    struct load_block *block;
    struct text_batch batch;
    int32_t *day; /* of rows, where the date is a column */
    uint32_t room_rows;
};

/* The first row's fields to columns; *is_header: it is no row of values. */
bool text_plan(struct load_text *t, const char *const *name, const uint32_t *len, uint32_t n,
               bool *is_header, struct err *err);
/* Room for so many marks (TEXT_MARKS) in the index. */
bool text_room(struct load_text *t, uint32_t n);
/*
 * Rows that are passed over, bad by their shape, or to be read. *stop: a row of several lines is
 * not what it should be, so it is a quote that stands where it should not; its first line is bad,
 * and what follows must be indexed again from the second one on, or the lines up to the next quote
 * would go with it.
 */
bool text_shape(struct load_text *t, uint32_t *stop, struct err *err);
/* The rows base[0 ... rows) of the window to blocks and rejects. */
bool text_rows(struct load_text *t, struct err *err);
