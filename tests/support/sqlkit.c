/* SPDX-License-Identifier: Apache-2.0 */
#include "core/civil.h"
#include "storage/query/literal.h"
#include "storage/query/view_build.h"
#include "sqlkit.h"

static void *kept(struct kit *k, void *p)
{
    pst_must(p);
    if (k->nmem == k->mem_room) {
        k->mem_room = k->mem_room ? k->mem_room * 2 : 256;
        k->mem = realloc(k->mem, k->mem_room * sizeof *k->mem);
        pst_must(k->mem);
    }
    k->mem[k->nmem++] = p;
    return p;
}
static void *take(struct kit *k, size_t n)
{
    return kept(k, calloc(1, n ? n : 1));
}

static const struct query_table *find(void *ctx, const char *name)
{
    struct kit *k = ctx;
    for (unsigned i = 0; i < k->ntables; i++) {
        if (!strcmp(k->table[i].name, name)) {
            return &k->table[i].table;
        }
    }
    return NULL;
}
static const struct query_table *at(void *ctx, unsigned i)
{
    struct kit *k = ctx;
    return i < k->ntables ? &k->table[i].table : NULL;
}

struct kit *kit_new(void)
{
    struct kit *k = calloc(1, sizeof *k);
    pst_must(k);
    k->env = (struct query_env){.tables = {k, find, at},
                                .now_ns = 757382400000000000ll}; /* 2024.01.01 */
    return k;
}

void kit_free(struct kit *k)
{
    for (unsigned i = 0; i < k->ntables; i++) {
        view_free(k->table[i].view);
        free(k->table[i].row);
    }
    free(k->syms.extra_hash);
    for (uint32_t i = 0; i < k->nmem; i++) {
        free(k->mem[i]);
    }
    free(k->mem);
    free(k->text);
    free(k);
}

struct kit_table *kit_add(struct kit *k, const char *name, const struct column_def *cols,
                          unsigned ncols)
{
    pst_must(k->ntables < KIT_TABLES);
    struct kit_table *t = &k->table[k->ntables++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->ncols = ncols;
    t->qcol[0] = (struct query_column){"date", PST_DATE};
    for (unsigned i = 0; i < ncols; i++) {
        t->col[i] = cols[i];
        t->qcol[i + 1] = (struct query_column){cols[i].name, cols[i].type};
    }
    t->table =
        (struct query_table){.name = t->name, .ncols = (uint16_t)(ncols + 1), .cols = t->qcol};
    return t;
}

void kit_row(struct kit *k, struct kit_table *t, int32_t day, const struct scalar *cells)
{
    if (t->rows == t->room) {
        t->room = t->room ? t->room * 2 : 256;
        t->row = realloc(t->row, t->room * sizeof *t->row);
        pst_must(t->row);
    }
    struct scalar *own = take(k, t->ncols * sizeof *own);
    for (unsigned i = 0; i < t->ncols; i++) {
        own[i] = cells[i];
        own[i].type = t->col[i].type;
        bool text = own[i].type == PST_SYMBOL || own[i].type == PST_STRING;
        if (text && !own[i].null) {
            char *copy = take(k, own[i].text.len + 1);
            memcpy(copy, own[i].text.p, own[i].text.len);
            own[i].text.p = copy;
            own[i].null = own[i].text.len == 0;
        }
    }
    t->row[t->rows] = (struct kit_row){day, t->rows, own};
    t->rows++;
}

void kit_row_text(struct kit *k, struct kit_table *t, int32_t day, const char *const *cells)
{
    struct scalar v[SCHEMA_COLUMNS_MAX];
    for (unsigned i = 0; i < t->ncols; i++) {
        bool null = !cells[i] || !strcmp(cells[i], "NULL");
        v[i] = (struct scalar){.type = t->col[i].type, .null = true};
        if (!null && !literal_parse(t->col[i].type, cells[i], strlen(cells[i]), &v[i])) {
            fprintf(stderr, "kit: %s.%s: '%s' is no %s\n", t->name, t->col[i].name, cells[i],
                    type_name(t->col[i].type));
            abort();
        }
    }
    kit_row(k, t, day, v);
}

static uint32_t code_of(struct kit *k, const struct scalar *v)
{
    if (v->null) {
        return PST_NULL_SYMBOL;
    }
    for (uint32_t i = 0; i < k->texts; i++) {
        if (k->text[i].len == v->text.len && !memcmp(k->text[i].p, v->text.p, v->text.len)) {
            return i;
        }
    }
    if (k->texts == k->text_room) {
        k->text_room = k->text_room ? k->text_room * 2 : 64;
        k->text = realloc(k->text, k->text_room * sizeof *k->text);
        pst_must(k->text);
    }
    k->text[k->texts] = (struct view_text){v->text.p, v->text.len};
    return k->texts++;
}

static int by_day(const void *a, const void *b)
{
    const struct kit_row *x = a, *y = b;
    return x->day != y->day ? (x->day > y->day) - (x->day < y->day)
                            : (x->arrival > y->arrival) - (x->arrival < y->arrival);
}
static int by_sym_time(const void *a, const void *b) /* of one day: sym text, time, arrival */
{
    const struct kit_row *x = a, *y = b;
    const struct scalar *s = &x->cell[1], *t = &y->cell[1];
    int c = s->null || t->null ? (int)t->null - (int)s->null : scalar_compare(s, t);
    if (c) {
        return c;
    }
    int64_t p = x->cell[0].null ? INT64_MIN : x->cell[0].i,
            q = y->cell[0].null ? INT64_MIN : y->cell[0].i;
    return p != q ? (p > q) - (p < q) : (x->arrival > y->arrival) - (x->arrival < y->arrival);
}

static void store(struct kit *k, uint8_t type, const struct scalar *v, void *at, char *chars,
                  uint64_t *used)
{
    static const uint8_t zero[16];
    unsigned w = type_width(type);
    double d = __builtin_nan("");
    float f = __builtin_nanf("");
    switch (type) {
    case PST_SYMBOL: {
        uint32_t c = code_of(k, v);
        memcpy(at, &c, 4);
        return;
    }
    case PST_STRING: {
        uint64_t packed = *used << 16 | (v->null ? 0 : v->text.len);
        if (!v->null) {
            memcpy(chars + *used, v->text.p, v->text.len);
            *used += v->text.len;
        }
        memcpy(at, &packed, 8);
        return;
    }
    case PST_FLOAT:
        d = v->null ? d : v->f;
        memcpy(at, &d, 8);
        return;
    case PST_REAL:
        f = v->null ? f : (float)v->f;
        memcpy(at, &f, 4);
        return;
    case PST_GUID:
        memcpy(at, v->null ? zero : v->guid, 16);
        return;
    default: {
        int64_t i = !v->null                                  ? v->i
                    : type == PST_BOOLEAN || type == PST_BYTE ? 0
                    : type == PST_CHAR                        ? ' '
                    : w == 2                                  ? INT16_MIN
                    : w == 4                                  ? INT32_MIN
                                                              : INT64_MIN;
        memcpy(at, &i, w);
        return;
    }
    }
}

static void build_part(struct kit *k, struct kit_table *t, uint32_t from, uint32_t n,
                       struct view_memory_part *p)
{
    int32_t day = t->row[from].day;
    bool parted = day % 2 == 0;
    if (parted) {
        qsort(t->row + from, n, sizeof *t->row, by_sym_time);
    }
    uint64_t bytes = 1, used = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (unsigned c = 0; c < t->ncols; c++) {
            const struct scalar *v = &t->row[from + i].cell[c];
            bytes += t->col[c].type == PST_STRING && !v->null ? v->text.len : 0;
        }
    }
    char *chars = take(k, bytes);
    const void **data = take(k, t->ncols * sizeof *data);
    for (unsigned c = 0; c < t->ncols; c++) {
        uint8_t type = t->col[c].type;
        unsigned w = type == PST_STRING ? 8 : type_width(type);
        char *run = kept(k, aligned_alloc(64, pst_align_up((uint64_t)n * w + 64, 64)));
        for (uint32_t i = 0; i < n; i++) {
            store(k, type, &t->row[from + i].cell[c], run + (size_t)i * w, chars, &used);
        }
        data[c] = run;
    }
    *p = (struct view_memory_part){.date = day,
                                   .rows = n,
                                   .data = data,
                                   .chars = chars,
                                   .chars_bytes = bytes,
                                   .chunk_rows = KIT_CHUNK,
                                   .parted = parted,
                                   .lists = !parted};
}

void kit_build(struct kit *k)
{
    struct view_memory_part *parts[KIT_TABLES];
    unsigned nparts[KIT_TABLES];
    for (unsigned x = 0; x < k->ntables; x++) {
        struct kit_table *t = &k->table[x];
        if (t->rows) {
            qsort(t->row, t->rows, sizeof *t->row, by_day);
        }
        parts[x] = take(k, (t->rows + 1) * sizeof **parts);
        nparts[x] = 0;
        for (uint32_t from = 0, n; from < t->rows; from += n) {
            for (n = 1; from + n < t->rows && t->row[from + n].day == t->row[from].day;) {
                n++;
            }
            build_part(k, t, from, n, &parts[x][nparts[x]++]);
        }
    }
    k->syms = (struct view_syms){.extra = k->text, .extra_count = k->texts};
    pst_must(view_syms_index(&k->syms));
    for (unsigned x = 0; x < k->ntables; x++) {
        struct kit_table *t = &k->table[x];
        struct err err;
        t->view = view_from_memory(t->name, t->col, t->ncols, &k->syms, parts[x], nparts[x], &err);
        if (!t->view) {
            fprintf(stderr, "kit: %s\n", err.text);
            abort();
        }
        t->table.source = t->view;
    }
}

struct result *kit_query(struct kit *k, const char *sql, struct query_error *e)
{
    struct query_error own;
    struct result *r = NULL;
    struct query_request q = {.sql = sql, .len = strlen(sql), .limits = {.threads = 2}};
    bool ok = query_run(&k->env, &q, &r, e ? e : &own);
    if (!ok && !e) {
        fprintf(stderr, "%s\n  %s (at %lld)\n", sql, own.text, (long long)own.position);
        abort();
    }
    return r;
}

const char *kit_cell(const struct result *r, unsigned col, uint64_t row, char *buf, size_t room)
{
    struct scalar v = {.type = r->col[col].type};
    if (result_is_null(r, col, row)) {
        return "NULL";
    }
    char text[LITERAL_TEXT];
    uint32_t n;
    switch (v.type) {
    case PST_SYMBOL:
    case PST_STRING: {
        const char *t = result_text(r, col, row, &n);
        snprintf(buf, room, "%.*s", (int)n, t);
        return buf;
    }
    case PST_FLOAT:
    case PST_REAL:
        v.f = result_float(r, col, row);
        break;
    case PST_GUID:
        memcpy(v.guid, (const char *)r->col[col].data + row * 16, 16);
        break;
    default:
        v.i = result_int(r, col, row);
        break;
    }
    n = literal_text(&v, text);
    snprintf(buf, room, "%.*s", (int)n, text);
    return buf;
}

char *kit_text(const struct result *r)
{
    char *out = NULL, buf[4096];
    size_t len = 0;
    FILE *f = open_memstream(&out, &len);
    pst_must(f);
    for (unsigned c = 0; c < r->ncols; c++) {
        fprintf(f, "%s%s", c ? "|" : "", r->col[c].name);
    }
    for (uint64_t i = 0; i < r->rows; i++) {
        for (unsigned c = 0; c < r->ncols; c++) {
            fprintf(f, "%s%s", c ? "|" : "\n", kit_cell(r, c, i, buf, sizeof buf));
        }
    }
    fclose(f);
    return out;
}
