/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view.h - one table as a query sees it: a list of parts, ordered by date, each a run of rows in
 * one tier and one schema version, cut into chunks whose columns are plain arrays.
 *
 *   view        name, columns (the newest version's, `date` in front), parts, symbol texts
 *   part        (day, tier, schema version): rows, chunks, what is known of its order
 *   chunk       rows [first, first + rows) of the part: one array per column, min and max time
 *
 * Three kinds of part:
 *   VIEW_RDB    the memory map of the RDB, up to the cut. Rows in order of arrival; a row list per
 *               symbol (and per key of a keyed table)
 *   VIEW_HDB    a partition on disk, mapped when first needed. Rows by (sym text, time, arrival);
 *               a parted index gives each symbol one range
 *   VIEW_MEMORY arrays of the caller (tests, benchmarks); optionally ascending, parted, with lists
 *
 * A part is CLOSED until view_open: of a closed part only date, tier, and (RDB, memory) rows are
 * known. The executor opens what the date predicate leaves, with the columns that the plan reads,
 * nothing else; the parted index only when it is asked for (view_index).
 *
 * SYMBOL CODES. In a query, a symbol is a u32 code: journal ids are codes as they are (below
 * syms->journal_count, taken after the cut), texts of an HDB `sym` file that the journal does not
 * know get the codes from journal_count upward. So codes are dense and an array can be indexed by
 * them. `map` of an HDB turns sym indices to codes; NULL is the identity.
 *
 * COLUMNS. view_span says how to read a column of a chunk: stored type and encoding. The loader
 * (exec_load) turns every encoding into the view's type; nothing else needs to know them.
 *   VIEW_RAW    values of type `stored`, its width (symbols: u32 codes)
 *   VIEW_ENUM   i64 indices in the HDB's `sym`, 0N null
 *   VIEW_PACKED u64 = offset in `aux` << 16 | length (RDB strings)
 *   VIEW_NESTED i64 end offsets in `aux` (HDB strings): row i is [data[i - 1], data[i]), the part's
 *               row 0 starts at 0; `row` is the part's row that `data` points at
 *   VIEW_CONST  one value, at `data`, type `stored` for all rows (`date`)
 *   VIEW_ABSENT the version has no such column: all typed null
 *
 * NULL is the typed null in the data. A view column of a wider type than the stored one (a schema
 * that changed) is widened by the loader, null to null.
 *
 * Rows of a part are numbered by u32: a partition has at most 4,294,967,294 rows (else view_open
 * fails and says so).
 *
 * Owner: the thread that builds the view. After view_open of all needed parts any thread may read;
 * view_open and view_index are called by one thread. Memory of maps belongs to what the view was
 * built from and must outlive it. Views that are read by one query share one `syms`.
 */
#pragma once

#include "core/schema.h"
#include "core/symbols.h"

#define VIEW_COLUMNS_MAX (SCHEMA_COLUMNS_MAX + 1)
#define VIEW_DATE        0 /* column 0 of every view: the trading date */

/* ---- symbol texts ---- */

struct view_text {
    const char *p;
    uint32_t len;
};

struct view_syms {
    const struct symbols *journal; /* NULL: none (a database without a daemon) */
    uint32_t journal_count;
    const struct view_text *extra; /* codes journal_count + i */
    uint32_t extra_count;
    /* open addressing by text over `extra`: index + 1, 0 free; NULL if extra_count is 0 */
    uint32_t *extra_hash;
    uint32_t extra_slots;
};

static inline uint32_t view_sym_count(const struct view_syms *s)
{
    return s->journal_count + s->extra_count;
}
/* Not NUL-terminated; null and unknown codes give len 0. */
const char *view_sym_text(const struct view_syms *s, uint32_t code, uint32_t *len);
/* The code, or PST_NULL_SYMBOL (no such text, or the empty one). */
uint32_t view_sym_find(const struct view_syms *s, const char *text, uint32_t len);

/* ---- columns, chunks, parts ---- */

enum view_encoding { VIEW_RAW, VIEW_ENUM, VIEW_PACKED, VIEW_NESTED, VIEW_CONST, VIEW_ABSENT };
enum view_tier { VIEW_RDB, VIEW_HDB, VIEW_MEMORY };

struct view_column {
    char name[SCHEMA_NAME_MAX];
    uint8_t type;
};

struct view_span {
    const void *data;
    const char *aux;
    uint64_t aux_bytes; /* offsets are checked against it */
    uint64_t row;       /* of the part, at data */
    uint8_t encoding, stored;
};

struct view_chunk {
    uint32_t first, rows;       /* rows of the part */
    int64_t time_min, time_max; /* of `time`; min > max: unknown */
    bool ascending;             /* `time` never decreases inside the chunk */
    const void *const *data;    /* per view column (RDB, memory); NULL: the part's `base` holds */
};

struct view_run { /* one symbol's range in a parted part */
    uint32_t code;
    uint32_t first, rows;
};

struct view_part {
    int32_t date; /* days since 2000-01-01 */
    enum view_tier tier;
    bool open;
    uint64_t rows; /* closed HDB parts: 0 until opened */
    uint32_t from; /* rows below it are not scanned (view_db_limit's `last`) */
    /* valid once open */
    uint32_t nchunks;
    struct view_chunk *chunk;
    uint32_t first_shift, shift; /* chunk sizes, private: view_chunk_of */
    const void **base;          /* per view column, row 0; NULL: absent, or chunks have their own */
    uint8_t *encoding, *stored; /* per view column */
    const char **aux;           /* per view column */
    uint64_t *aux_bytes;
    int64_t time_min, time_max; /* over the part; min > max: unknown or empty */
    bool ascending;             /* `time` never decreases over the whole part */
    bool lists;                 /* view_list works */
    bool keyed;                 /* only the last row of each key of the day counts */
    bool key_index;             /* view_keyed_rows knows them, as far as this part goes */
    const uint32_t *map;        /* sym index -> code; NULL identity below map_count */
    uint64_t map_count;
    /* valid after view_index said true */
    bool parted;      /* by sym */
    bool run_ascends; /* and by time within each symbol */
    uint32_t nruns;
    const struct view_run *run;    /* in row order */
    uint32_t *run_by_code;         /* run numbers by ascending code: view_run_of */
    const struct view_source *ops; /* private */
    void *source;                  /* private to ops */
};

struct view;
struct view_list;
struct view_source { /* how parts of this kind are opened: one a builder */
    bool (*open)(struct view *v, struct view_part *p, const uint16_t *cols, unsigned ncols,
                 struct err *err);
    bool (*index)(struct view *v, struct view_part *p, struct err *err);
    uint64_t (*list)(const struct view_part *p, uint32_t code, struct view_list *l);
    void (*lasts)(const struct view_part *p, const uint32_t *code, uint32_t n, uint32_t *row);
    uint64_t (*count)(const struct view_part *p, uint32_t code);
    bool (*keyed)(const struct view_part *p, uint32_t **rows, uint32_t *n);
    void (*release)(struct view_part *p);
};

struct view {
    char name[SCHEMA_NAME_MAX];
    uint32_t ncols;
    struct view_column col[VIEW_COLUMNS_MAX];
    uint32_t nparts;
    struct view_part *part; /* by date, then RDB/HDB order of arrival */
    const struct view_syms *syms;
    uint32_t nkeys; /* key columns (view column numbers) of a keyed table */
    uint32_t key[8];
    int32_t time_col, sym_col; /* `time` (any temporal type), `sym` (symbol); -1: none */
    void *owner;               /* private to the builder */
};

int view_column(const struct view *v, const char *name); /* number or -1; "date" is 0 */

/* Describes a part and makes `cols` of it readable; again with other columns: those too. False: err
 * says which file and why. QUERY_RETRY is the caller's affair (view_hdb: err->code -ESTALE). */
bool view_open(struct view *v, uint32_t part, const uint16_t *cols, unsigned ncols,
               struct err *err);
/* Loads the parted index of an open part. True with part->parted false: it has none. */
bool view_index(struct view *v, uint32_t part, struct err *err);
void view_free(struct view *v);

/*
 * The chunk that holds a row of an open part. Chunk 0 has 1 << first_shift rows; with first_shift
 * == shift all have. Else (RDB) sizes double from chunk 1 on until they are 1 << shift.
 */
static inline uint32_t view_chunk_of(const struct view_part *p, uint32_t row)
{
    if (p->nchunks == 1)
        return 0;
    if (p->first_shift == p->shift)
        return row >> p->shift;
    if (row >> p->shift)
        return (row >> p->shift) + (p->shift - p->first_shift);
    return row >> p->first_shift ? 32u - (uint32_t)__builtin_clz(row >> p->first_shift) : 0;
}
/* How to read rows [chunk's first, ...) of a column that was opened. */
struct view_span view_span(const struct view_part *p, const struct view_chunk *c, uint32_t col);

/* The range of a symbol in a parted part, NULL: none. */
const struct view_run *view_run_of(const struct view_part *p, uint32_t code);

/*
 * Row list of a symbol (part->lists; PST_NULL_SYMBOL: rows without one): row ids, ascending, all
 * below part->rows, in blocks. Returns the number of rows; view_list_free in any case.
 */
struct view_list {
    uint64_t rows;
    uint32_t nblocks, room;
    const uint32_t **block;
    uint32_t *count;
};
uint64_t view_list(const struct view_part *p, uint32_t code, struct view_list *l);
void view_list_free(struct view_list *l);
/* The last row of a symbol, without walking the list. False: no rows. */
bool view_list_last(const struct view_part *p, uint32_t code, uint32_t *row);
/* The same of n symbols at once: UINT32_MAX: no rows. */
void view_list_lasts(const struct view_part *p, const uint32_t *code, uint32_t n, uint32_t *row);
/* How many rows a symbol has, without walking the list. */
uint64_t view_list_count(const struct view_part *p, uint32_t code);

/*
 * Keyed parts with a key_index: the last row of each key, ascending; malloc'd. False: no memory.
 *
 * A KEYED TABLE shows, of each day, the last row of each key: one row a key and day, as a partition
 * keeps them; days are not merged (LATEST BY the key does that). The key columns are the view's. A
 * day with several parts (the table changed on that day) is one: a row counts if no later row of
 * the part and no later part of the day has its key. A key column that a part does not have is
 * null there. A part whose version had other keys has no key_index.
 */
bool view_keyed_rows(const struct view_part *p, uint32_t **rows, uint32_t *n);

/* ---- building ---- */

/*
 * From arrays (tests, benchmarks). Columns of `cols` without `date`; time and sym first. Each part
 * gives one array per column (NULL = absent), in the view's type; symbols u32 codes of `syms`,
 * strings VIEW_PACKED over `chars`. chunk_rows 0 = 65,536. The arrays are kept, not copied.
 */
struct view_memory_part {
    int32_t date;
    uint64_t rows;
    const void *const *data; /* per column of cols */
    const char *chars;
    uint64_t chars_bytes;
    uint32_t chunk_rows;
    bool parted;           /* promised: sorted by (sym as runs, time): the index is computed */
    bool lists;            /* row lists are computed */
    const uint8_t *stored; /* per column: stored type where it is narrower; NULL: all as the view */
};
struct view *view_from_memory(const char *name, const struct column_def *cols, unsigned ncols,
                              const struct view_syms *syms, const struct view_memory_part *parts,
                              unsigned nparts, struct err *err);
