/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns of a batch as vectors. Dense rows of a 64-bit column, of doubles and of symbol codes are
 * not copied: the vector points into the chunk.
 */
#include "exec_int.h"
#include "exec_kernels.h"

#define NULL_GUID ((struct guid){{0}})

/* ---- one stored value to its class ---- */

static inline int64_t from_u8(const uint8_t *p)
{
    return *p;
}
static inline int64_t from_char(const uint8_t *p)
{
    return *p == PST_NULL_CHAR ? INT64_MIN : *p;
}
static inline int64_t from_i16(const int16_t *p)
{
    return *p == INT16_MIN ? INT64_MIN : *p;
}
static inline int64_t from_i32(const int32_t *p)
{
    return *p == INT32_MIN ? INT64_MIN : *p;
}
static inline int64_t from_i64(const int64_t *p)
{
    return *p;
}
static inline double from_f32(const float *p)
{
    return *p;
}
static inline double from_f64(const double *p)
{
    return *p;
}
static inline double int_to_float(int64_t v)
{
    return v == INT64_MIN ? NAN : (double)v;
}

/*
 * What a value is read as: the class of the view's column, from the type it is stored in (a schema
 * that changed may hold a narrower one). NOTHING: no such conversion, all null.
 */
enum reader {
    R_NOTHING,
    R_BOOL,
    R_U8,
    R_CHAR,
    R_I16,
    R_I32,
    R_I64,
    R_BOOL_INT,
    R_F32,
    R_F64,
    R_U8_F64,
    R_I16_F64,
    R_I32_F64,
    R_I64_F64,
    R_SYM,
    R_ENUM,
    R_GUID,
    R_PACKED,
    R_NESTED,
    R_CHAR_TEXT,
    R_DATE_NS
};

static enum reader reader_of(uint8_t want, const struct view_span *s)
{
    uint8_t have = s->stored;
    if (s->encoding == VIEW_ABSENT)
        return R_NOTHING;
    switch (cls_of(want)) {
    case C_BOOL:
        return have == PST_BOOLEAN ? R_BOOL : R_NOTHING;
    case C_SYM:
        return s->encoding == VIEW_ENUM ? R_ENUM : have == PST_SYMBOL ? R_SYM : R_NOTHING;
    case C_GUID:
        return have == PST_GUID ? R_GUID : R_NOTHING;
    case C_TEXT:
        if (s->encoding == VIEW_PACKED)
            return R_PACKED;
        return s->encoding == VIEW_NESTED ? R_NESTED : have == PST_CHAR ? R_CHAR_TEXT : R_NOTHING;
    case C_F64:
        switch (have) {
        case PST_FLOAT:
            return R_F64;
        case PST_REAL:
            return R_F32;
        case PST_BYTE:
            return R_U8_F64;
        case PST_SHORT:
            return R_I16_F64;
        case PST_INT:
            return R_I32_F64;
        case PST_LONG:
            return R_I64_F64;
        default:
            return R_NOTHING;
        }
    default:
        if (want == PST_TIMESTAMP && have == PST_DATE)
            return R_DATE_NS;
        switch (have) {
        case PST_CHAR:
            return R_CHAR;
        case PST_BYTE:
            return R_U8;
        case PST_BOOLEAN:
            return R_BOOL_INT;
        case PST_SYMBOL:
        case PST_STRING:
        case PST_GUID:
        case PST_REAL:
        case PST_FLOAT:
            return R_NOTHING;
        default:
            switch (type_width(have)) {
            case 2:
                return R_I16;
            case 4:
                return R_I32;
            case 8:
                return R_I64;
            default:
                return R_NOTHING;
            }
        }
    }
}

static inline struct plan_text packed_text(const struct view_span *s, uint64_t v)
{
    uint64_t at = v >> 16, len = v & 0xffff;
    if (len == 0 || at > s->aux_bytes || len > s->aux_bytes - at)
        return (struct plan_text){"", 0};
    return (struct plan_text){s->aux + at, (uint32_t)len};
}

static inline struct plan_text nested_text(const struct view_span *s, uint64_t i)
{
    const int64_t *end = s->data;
    uint64_t from = i ? (uint64_t)end[i - 1] : s->row ? (uint64_t)end[-1] : 0;
    uint64_t to = (uint64_t)end[i];
    if (from >= to || to > s->aux_bytes || to - from > UINT32_MAX)
        return (struct plan_text){"", 0};
    return (struct plan_text){s->aux + from, (uint32_t)(to - from)};
}

static inline uint32_t enum_code(const struct view_part *p, int64_t v)
{
    if ((uint64_t)v >= p->map_count)
        return PST_NULL_SYMBOL;
    return p->map ? p->map[v] : (uint32_t)v;
}

static inline int64_t date_ns(int32_t d)
{
    return d == INT32_MIN ? INT64_MIN : (int64_t)d * 86400000000000ll;
}

static void fill_null(enum cls c, uint8_t type, void *out, uint32_t n)
{
    switch (c) {
    case C_BOOL:
        memset(out, 0, n); /* as kdb+ fills a boolean column that a partition lacks */
        break;
    case C_I64:
        for (uint32_t i = 0; i < n; i++)
            ((int64_t *)out)[i] = type == PST_BYTE ? 0 : INT64_MIN;
        break;
    case C_F64:
        for (uint32_t i = 0; i < n; i++)
            ((double *)out)[i] = NAN;
        break;
    case C_SYM:
        memset(out, 0xff, (size_t)n * 4);
        break;
    case C_TEXT:
        for (uint32_t i = 0; i < n; i++)
            ((struct plan_text *)out)[i] = (struct plan_text){"", 0};
        break;
    case C_GUID:
        memset(out, 0, (size_t)n * 16);
        break;
    }
}

/* INDEX: where in the span value i stands: `i` (dense) or idx[i]. */
#define READ_LOOP(OUT, EXPR)                                                                       \
    do {                                                                                           \
        OUT *o = out;                                                                              \
        if (idx)                                                                                   \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                uint64_t at = idx[i] - base;                                                       \
                o[i] = (EXPR);                                                                     \
            }                                                                                      \
        else                                                                                       \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                uint64_t at = base + i;                                                            \
                o[i] = (EXPR);                                                                     \
            }                                                                                      \
    } while (0)

#define AT(type) ((const type *)s->data + at)

/*
 * n values of a span: rows base, base + 1 ... of it (idx NULL), or rows idx[i] of the part, the
 * span's first being row `base` of the part.
 */
static void read_span(const struct view_part *p, const struct view_span *s, uint8_t want,
                      uint64_t base, const uint32_t *idx, uint32_t n, void *out)
{
    enum reader how = reader_of(want, s);
    if (!idx) {
        const struct kernels *k = kernels();
        switch (how) {
        case R_I32:
            k->widen_i32((const int32_t *)s->data + base, n, out);
            return;
        case R_I16:
            k->widen_i16((const int16_t *)s->data + base, n, out);
            return;
        case R_F32:
            k->widen_f32((const float *)s->data + base, n, out);
            return;
        case R_ENUM:
            if (p->map)
                break;
            k->codes_i64((const int64_t *)s->data + base, n, p->map_count, out);
            return;
        default:
            break;
        }
    }
    switch (how) {
    case R_NOTHING:
        fill_null(cls_of(want), want, out, n);
        break;
    case R_BOOL:
        READ_LOOP(uint8_t, *AT(uint8_t) != 0);
        break;
    case R_U8:
        READ_LOOP(int64_t, from_u8(AT(uint8_t)));
        break;
    case R_BOOL_INT:
        READ_LOOP(int64_t, *AT(uint8_t) != 0);
        break;
    case R_CHAR:
        READ_LOOP(int64_t, from_char(AT(uint8_t)));
        break;
    case R_I16:
        READ_LOOP(int64_t, from_i16(AT(int16_t)));
        break;
    case R_I32:
        READ_LOOP(int64_t, from_i32(AT(int32_t)));
        break;
    case R_I64:
        READ_LOOP(int64_t, from_i64(AT(int64_t)));
        break;
    case R_F32:
        READ_LOOP(double, from_f32(AT(float)));
        break;
    case R_F64:
        READ_LOOP(double, from_f64(AT(double)));
        break;
    case R_U8_F64:
        READ_LOOP(double, (double)*AT(uint8_t));
        break;
    case R_I16_F64:
        READ_LOOP(double, int_to_float(from_i16(AT(int16_t))));
        break;
    case R_I32_F64:
        READ_LOOP(double, int_to_float(from_i32(AT(int32_t))));
        break;
    case R_I64_F64:
        READ_LOOP(double, int_to_float(*AT(int64_t)));
        break;
    case R_SYM:
        READ_LOOP(uint32_t, *AT(uint32_t));
        break;
    case R_ENUM:
        READ_LOOP(uint32_t, enum_code(p, *AT(int64_t)));
        break;
    case R_GUID:
        READ_LOOP(struct guid, *AT(struct guid));
        break;
    case R_PACKED:
        READ_LOOP(struct plan_text, packed_text(s, *AT(uint64_t)));
        break;
    case R_NESTED:
        READ_LOOP(struct plan_text, nested_text(s, at));
        break;
    case R_CHAR_TEXT:
        READ_LOOP(struct plan_text,
                  ((struct plan_text){(const char *)AT(char), *AT(char) != PST_NULL_CHAR}));
        break;
    case R_DATE_NS:
        READ_LOOP(int64_t, date_ns(*AT(int32_t)));
        break;
    }
}

/* Can a vector point into the span? */
static bool direct(uint8_t want, const struct view_span *s)
{
    switch (reader_of(want, s)) {
    case R_I64:
    case R_F64:
    case R_SYM:
    case R_GUID:
        return ((uintptr_t)s->data & 7) == 0;
    default:
        return false;
    }
}

static void read_rows(const struct view_part *p, uint8_t want, uint32_t col, const uint32_t *rows,
                      uint32_t n, uint8_t *out)
{
    unsigned w = cls_width(cls_of(want));
    for (uint32_t i = 0; i < n;) {
        const struct view_chunk *c = &p->chunk[view_chunk_of(p, rows[i])];
        uint32_t k = i + 1;
        while (k < n && rows[k] - c->first < c->rows)
            k++;
        struct view_span s = view_span(p, c, col);
        read_span(p, &s, want, c->first, rows + i, k - i, out + (size_t)i * w);
        i = k;
    }
}

/* Rows wherever they stand, one by one: for what the loops below do not do. */
static void read_refs_slow(const struct side *sd, uint8_t want, uint32_t col, const uint64_t *refs,
                           uint32_t n, uint8_t *out)
{
    unsigned w = cls_width(cls_of(want));
    for (uint32_t i = 0; i < n; i++) {
        if (refs[i] == NO_MATCH) {
            fill_null(cls_of(want), want, out + (size_t)i * w, 1);
            if (want == PST_BOOLEAN)
                out[i] = PLAN_BOOL_NULL;
            continue;
        }
        const struct view_part *p = &sd->view->part[refs[i] >> 32];
        uint32_t row = (uint32_t)refs[i];
        if (col == VIEW_DATE) {
            ((int64_t *)(void *)out)[i] = p->date;
            continue;
        }
        read_rows(p, want, col, &row, 1, out + (size_t)i * w);
    }
}

#define REFS_LOOP(T, NULL_VALUE, STORED, EXPR)                                                     \
    for (uint32_t i = 0; i < n; i++) {                                                             \
        T r = NULL_VALUE;                                                                          \
        if (refs[i] != NO_MATCH) {                                                                 \
            uint32_t row = (uint32_t)refs[i];                                                      \
            const struct view_chunk *c = &p->chunk[view_chunk_of(p, row)];                         \
            const STORED *at = c->data ? (const STORED *)c->data[col] + (row - c->first)           \
                                       : (const STORED *)p->base[col] + row;                       \
            r = (EXPR);                                                                            \
        }                                                                                          \
        ((T *)(void *)out)[i] = r;                                                                 \
    }

/* The right side of a match: nearly always of one part. */
static void read_refs(const struct side *sd, uint8_t want, uint32_t col, const uint64_t *refs,
                      uint32_t n, uint8_t *out)
{
    uint32_t part = UINT32_MAX, i0 = 0;
    while (i0 < n && refs[i0] == NO_MATCH)
        i0++;
    bool one = col != VIEW_DATE && i0 < n;
    if (one)
        part = (uint32_t)(refs[i0] >> 32);
    for (uint32_t i = i0; one && i < n; i++)
        one = refs[i] >> 32 == part || refs[i] == NO_MATCH;
    if (one) {
        const struct view_part *p = &sd->view->part[part];
        struct view_span s = view_span(p, &p->chunk[0], col);
        switch (reader_of(want, &s)) {
        case R_I64:
            REFS_LOOP(int64_t, INT64_MIN, int64_t, *at);
            return;
        case R_F64:
            REFS_LOOP(double, NAN, double, *at);
            return;
        case R_I32:
            REFS_LOOP(int64_t, INT64_MIN, int32_t, from_i32(at));
            return;
        case R_F32:
            REFS_LOOP(double, NAN, float, *at);
            return;
        case R_SYM:
            REFS_LOOP(uint32_t, PST_NULL_SYMBOL, uint32_t, *at);
            return;
        default:
            break;
        }
    }
    read_refs_slow(sd, want, col, refs, n, out);
}

/* Symbols of rows that stand in runs: from the parted index, the column is not touched. */
static void read_runs(const struct view_part *p, uint32_t row, uint32_t n, uint32_t *out)
{
    uint32_t lo = 0, hi = p->nruns; /* the first run that begins behind row */
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (p->run[mid].first <= row)
            lo = mid + 1;
        else
            hi = mid;
    }
    const struct view_run *r = &p->run[lo - 1];
    for (uint32_t i = 0; i < n;) {
        uint32_t end = r->first + r->rows - row, code = r->code;
        for (end = end < n ? end : n; i < end; i++)
            out[i] = code;
        r++;
    }
}

struct vec load_column(struct xthread *t, const struct batch *b, unsigned side, uint32_t col)
{
    const struct side *s = &b->side[side];
    uint8_t want = s->view->col[col].type;
    enum cls c = cls_of(want);
    if (s->refs) {
        uint8_t *out = x_scratch(t, (uint64_t)b->n * cls_width(c));
        read_refs(s, want, col, s->refs, b->n, out);
        return (struct vec){out, false};
    }
    if (col == VIEW_DATE) {
        int64_t *d = x_scratch(t, sizeof *d);
        *d = s->part->date;
        return (struct vec){d, true};
    }
    if (s->chunk) {
        struct view_span sp = view_span(s->part, s->chunk, col);
        if (direct(want, &sp))
            return (struct vec){(const uint8_t *)sp.data + (uint64_t)s->off * cls_width(c), false};
        if (sp.encoding == VIEW_ABSENT) {
            void *one = x_scratch(t, 16);
            fill_null(c, want, one, 1);
            return (struct vec){one, true};
        }
        void *out = x_scratch(t, (uint64_t)b->n * cls_width(c));
        if (s->part->parted && (int32_t)col == s->view->sym_col && sp.encoding == VIEW_ENUM) {
            read_runs(s->part, s->chunk->first + s->off, b->n, out);
            return (struct vec){out, false};
        }
        read_span(s->part, &sp, want, s->off, NULL, b->n, out);
        return (struct vec){out, false};
    }
    uint8_t *out = x_scratch(t, (uint64_t)b->n * cls_width(c));
    read_rows(s->part, want, col, s->rows, b->n, out);
    return (struct vec){out, false};
}

int64_t load_int(const struct view *v, const struct view_part *p, uint32_t row, uint32_t col)
{
    const struct view_chunk *c = &p->chunk[view_chunk_of(p, row)];
    struct view_span s = view_span(p, c, col);
    int64_t out = INT64_MIN;
    read_span(p, &s, v->col[col].type, row - c->first, NULL, 1, &out);
    return out;
}
