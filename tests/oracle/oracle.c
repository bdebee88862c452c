/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oracle.c - the same rows and the same questions to Penstock's SQL and to DuckDB: every value of
 * every answer must be equal (floats: to a relative 1e-9, for sums go in different orders).
 *
 *     oracle LIBDUCKDB QUERIES [-n GENERATED] [-s SEED] [-v]
 *     oracle LIBDUCKDB QUERIES --database DIR [-v]
 *
 * QUERIES is a file of hand-written ones (its head says how). Where the two mean different things
 * by the same words, the DuckDB text says what Penstock means: a query is translated, not skipped.
 * What DuckDB knows of our types: char symbol string VARCHAR, timestamp TIMESTAMP (data in whole
 * microseconds), date DATE, month DATE of its first day, timespan BIGINT of ns, minute second time
 * INTEGER as stored, guid UUID. The second form takes its rows from a database (SELECT * of each
 * table, of which the HDB's tests say that it is what lies there); its timestamps are not whole
 * microseconds and so BIGINTs of ns in DuckDB: macros ts('...'), bucket(ns, t), day_of(t). NaN is
 * NULL in both. `ord` numbers the rows by (date, time, arrival).
 */
#include <inttypes.h>
#include <math.h>
#include "core/civil.h"
#include "support/sqlkit.h"
#include "duck.h"
#include "database.h"
#include "gen.h"

#define EPOCH_US 946684800000000ll

static uint64_t state = 42;
static uint32_t rnd(uint32_t n)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((state >> 33) % n);
}
static bool verbose;
bool raw_times;

/* ---- the rows ---- */

static const struct column_def t_cols[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},  {"i", PST_INT},    {"h", PST_SHORT},
    {"j", PST_LONG},         {"x", PST_BYTE},      {"f", PST_FLOAT},  {"e", PST_REAL},
    {"b", PST_BOOLEAN},      {"c", PST_CHAR},      {"s", PST_STRING}, {"d", PST_DATE},
    {"n", PST_TIMESPAN},     {"m", PST_MONTH},     {"u", PST_MINUTE}, {"v", PST_SECOND},
    {"w", PST_TIME},         {"p", PST_TIMESTAMP}, {"id", PST_LONG},  {"g", PST_GUID},
    {"big", PST_LONG},       {"inf", PST_FLOAT}};
static const struct column_def q_cols[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},
                                           {"c", PST_CHAR},         {"bid", PST_FLOAT},
                                           {"ask", PST_FLOAT},      {"id", PST_LONG}};

static struct scalar num(uint8_t type, int64_t v)
{
    return (struct scalar){.type = type, .i = v};
}
static struct scalar flt(uint8_t type, double v)
{
    return (struct scalar){.type = type, .f = v, .null = isnan(v)};
}
static struct scalar txt(uint8_t type, const char *v)
{
    return (struct scalar){.type = type, .text = {v, (uint32_t)strlen(v)}, .null = !*v};
}
static struct scalar maybe(unsigned one_in, struct scalar v) /* or NULL */
{
    v.null |= rnd(one_in) == 0;
    return v;
}

static const char *const syms[] = {"AAA", "b", "SYM2", "SYM3", "SYM4", "zz.top", "\xc3\xa4\xc3\xb6",
                                   ""};
static const char *const texts[] = {
    "", "a", "abc", "ABC", "a b", "yz", "y%z", "  pad ", "\xc3\xa9t\xc3\xa9", "0123456789"};
static const char chars[] = "ABxyb";

static void fill_t(struct kit *k, struct kit_table *t)
{
    static const double special[] = {0, -0.0, 1e300, -1e300, 0.1, NAN};
    for (int64_t id = 0; id < 2400; id++) {
        int32_t day = 8767 + (int32_t)rnd(5); /* 2024.01.02 ... 06; the 4th stays empty */
        day += day == 8770;
        /* many equal times */
        int64_t time = day * PST_DAY_NS + (34200 + (int64_t)rnd(300) * 77) * PST_SECOND_NS +
                       (int64_t)rnd(2) * 500000000 + (int64_t)rnd(3) * 1000;
        double f = rnd(8) ? (double)rnd(40000) / 100 - 100 : special[rnd(6)];
        struct scalar c[] = {
            num(PST_TIMESTAMP, time),
            txt(PST_SYMBOL, syms[rnd(rnd(2) ? 4 : 8)]),
            maybe(12, num(PST_INT, (int64_t)rnd(200) - 100)),
            maybe(10, num(PST_SHORT, (int64_t)rnd(7) - 3)),
            maybe(15, num(PST_LONG, (int64_t)rnd(2000) - 200)),
            num(PST_BYTE, rnd(256)),
            maybe(15, flt(PST_FLOAT, fabs(f) > 1e299 ? f / 1e295 : f)),
            maybe(9, flt(PST_REAL, (double)(float)((double)rnd(1000) / 8))),
            num(PST_BOOLEAN, rnd(2)),
            maybe(6, num(PST_CHAR, chars[rnd(5)])),
            txt(PST_STRING, texts[rnd(10)]),
            maybe(8, num(PST_DATE, 8600 + rnd(400))),
            maybe(8, num(PST_TIMESPAN, ((int64_t)rnd(1000000) - 300000) * 1000000)),
            maybe(8, num(PST_MONTH, 200 + rnd(200))),
            maybe(8, num(PST_MINUTE, rnd(1440))),
            maybe(8, num(PST_SECOND, rnd(86400))),
            maybe(8, num(PST_TIME, rnd(86400000))),
            maybe(5, num(PST_TIMESTAMP, (8700 + (int64_t)rnd(200)) * PST_DAY_NS +
                                            (int64_t)rnd(86400) * PST_SECOND_NS)),
            num(PST_LONG, id),
            {.type = PST_GUID, .null = rnd(6) == 0},
            maybe(6, num(PST_LONG, rnd(3) ? (int64_t)rnd(1000) : INT64_MAX - (int64_t)rnd(1000))),
            maybe(6, flt(PST_FLOAT, rnd(4)   ? (double)rnd(10)
                                    : rnd(2) ? INFINITY
                                             : -INFINITY)),
        };
        for (int i = 0; i < 16; i++) {
            c[19].guid[i] = (uint8_t)(c[19].null ? 0 : i == 15 ? (int)rnd(12) + 1 : 7 * i);
        }
        kit_row(k, t, day, c);
    }
}

static void fill_q(struct kit *k, struct kit_table *t)
{
    for (int64_t id = 0; id < 1500; id++) {
        int32_t day = 8767 + (int32_t)rnd(4);
        int64_t time = day * PST_DAY_NS + (34000 + (int64_t)rnd(300) * 77) * PST_SECOND_NS;
        double bid = (double)rnd(20000) / 100;
        struct scalar c[] = {num(PST_TIMESTAMP, time),
                             txt(PST_SYMBOL, syms[rnd(8)]),
                             maybe(6, num(PST_CHAR, chars[rnd(5)])),
                             maybe(10, flt(PST_FLOAT, bid)),
                             flt(PST_FLOAT, bid + 0.5),
                             num(PST_LONG, id)};
        kit_row(k, t, day, c);
    }
}

/* ---- the same rows for DuckDB ---- */

const char *duck_type(uint8_t type)
{
    switch (type) {
    case PST_BOOLEAN:
        return "BOOLEAN";
    case PST_GUID:
        return "UUID";
    case PST_BYTE:
        return "UTINYINT";
    case PST_SHORT:
        return "SMALLINT";
    case PST_REAL:
        return "FLOAT";
    case PST_FLOAT:
        return "DOUBLE";
    case PST_CHAR:
    case PST_SYMBOL:
    case PST_STRING:
        return "VARCHAR";
    case PST_TIMESTAMP:
        return raw_times ? "BIGINT" : "TIMESTAMP";
    case PST_DATE:
    case PST_MONTH:
        return "DATE";
    case PST_LONG:
    case PST_TIMESPAN:
        return "BIGINT";
    default:
        return "INTEGER";
    }
}

static void put_text(FILE *f, const char *p, uint32_t n)
{
    fputc('\'', f);
    for (uint32_t i = 0; i < n; i++) {
        fputs(p[i] == '\'' ? "''" : (char[]){p[i], 0}, f);
    }
    fputc('\'', f);
}

void put_value(FILE *f, const struct scalar *v)
{
    int y, m, d;
    if (v->null) {
        fputs("NULL", f);
        return;
    }
    switch (v->type) {
    case PST_BOOLEAN:
        fputs(v->i ? "true" : "false", f);
        return;
    case PST_GUID:
        fputc('\'', f);
        for (int i = 0; i < 16; i++) {
            fprintf(f, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", v->guid[i]);
        }
        fputs("'::UUID", f);
        return;
    case PST_FLOAT:
    case PST_REAL:
        fprintf(f, isinf(v->f) ? "'%s'::DOUBLE" : "%.0s%.17g::DOUBLE", v->f > 0 ? "inf" : "-inf",
                v->f);
        return;
    case PST_SYMBOL:
    case PST_STRING:
        put_text(f, v->text.p, v->text.len);
        return;
    case PST_CHAR:
        put_text(f, (char[]){(char)v->i}, 1);
        return;
    case PST_TIMESTAMP:
        if (raw_times) {
            fprintf(f, "%" PRId64, v->i);
            return;
        }
        fprintf(f, "make_timestamp(%lld)", (long long)v->i / 1000 + EPOCH_US);
        return;
    case PST_DATE:
        fprintf(f, "(DATE '2000-01-01' + %" PRId64 ")", v->i);
        return;
    case PST_MONTH:
        civil_date(0, &y, &m, &d);
        fprintf(f, "make_date(%" PRId64 ", %" PRId64 ", 1)", 2000 + v->i / 12, v->i % 12 + 1);
        return;
    default:
        fprintf(f, "%" PRId64, v->i);
        return;
    }
}

/* (day, time, place in the partition): the rows of a table numbered. */
struct place {
    const struct kit_row *row;
    uint32_t at;
};
static int by_order(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->row->day != y->row->day) {
        return (x->row->day > y->row->day) - (x->row->day < y->row->day);
    }
    int64_t p = x->row->cell[0].null ? INT64_MIN : x->row->cell[0].i;
    int64_t q = y->row->cell[0].null ? INT64_MIN : y->row->cell[0].i;
    return p != q ? (p > q) - (p < q) : (x->at > y->at) - (x->at < y->at);
}

static void give(struct duck *d, const struct kit_table *t)
{
    char *sql = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&sql, &len);
    struct place *place = calloc(t->rows + 1, sizeof *place);
    pst_must(f && place);
    fprintf(f, "CREATE TABLE %s (date DATE", t->name);
    for (unsigned c = 0; c < t->ncols; c++) {
        fprintf(f, ", \"%s\" %s", t->col[c].name, duck_type(t->col[c].type));
    }
    fprintf(f, ", ord BIGINT)");
    fflush(f);
    duck_must(d, sql);
    for (uint32_t i = 0; i < t->rows; i++) {
        place[i] = (struct place){&t->row[i], i};
    }
    qsort(place, t->rows, sizeof *place, by_order);
    for (uint32_t from = 0; from < t->rows; from += 500) {
        fseek(f, 0, SEEK_SET);
        fprintf(f, "INSERT INTO %s VALUES ", t->name);
        for (uint32_t i = from; i < t->rows && i < from + 500; i++) {
            const struct kit_row *r = place[i].row;
            fprintf(f, "%s(DATE '2000-01-01' + %d", i > from ? "," : "", r->day);
            for (unsigned c = 0; c < t->ncols; c++) {
                fputs(", ", f);
                put_value(f, &r->cell[c]);
            }
            fprintf(f, ", %u)", i);
        }
        fputc(0, f);
        fflush(f);
        duck_must(d, sql);
    }
    fclose(f);
    free(sql);
    free(place);
}

/* ---- comparing ---- */

enum cell_kind { CELL_NULL, CELL_INT, CELL_FLOAT, CELL_TEXT };
struct cell {
    enum cell_kind kind;
    int64_t i;
    double f;
    char *t;
};
struct answer {
    uint64_t rows, cols;
    struct cell *cell; /* row by row */
};

static void answer_free(struct answer *a)
{
    for (uint64_t i = 0; i < a->rows * a->cols; i++) {
        free(a->cell[i].t);
    }
    free(a->cell);
}

static bool is_textual(uint8_t t)
{
    return t == PST_SYMBOL || t == PST_STRING || t == PST_CHAR || t == PST_GUID;
}

static void take_ours(const struct result *r, struct answer *a)
{
    char buf[8192];
    *a = (struct answer){r->rows, r->ncols, calloc(r->rows * r->ncols + 1, sizeof *a->cell)};
    pst_must(a->cell);
    for (uint64_t i = 0; i < r->rows; i++) {
        for (uint32_t c = 0; c < r->ncols; c++) {
            struct cell *x = &a->cell[i * r->ncols + c];
            uint8_t t = r->col[c].type;
            if (result_is_null(r, c, i)) {
                continue;
            }
            if (is_textual(t)) {
                x->kind = CELL_TEXT;
                x->t = strdup(kit_cell(r, c, i, buf, sizeof buf));
            } else if (t == PST_FLOAT || t == PST_REAL) {
                x->kind = CELL_FLOAT;
                x->f = result_float(r, c, i);
            } else {
                x->kind = CELL_INT;
                x->i = result_int(r, c, i);
            }
        }
    }
}

static void take_duck(struct duck_rows *r, const struct result *ours, struct answer *a)
{
    *a = (struct answer){r->rows, r->cols, calloc(r->rows * r->cols + 1, sizeof *a->cell)};
    pst_must(a->cell);
    for (uint64_t i = 0; i < r->rows; i++) {
        for (uint64_t c = 0; c < r->cols; c++) {
            struct cell *x = &a->cell[i * r->cols + c];
            uint8_t t = ours->col[c].type;
            if (duck_null(r, c, i)) {
                continue;
            }
            if (is_textual(t)) {
                x->kind = CELL_TEXT;
                x->t = duck_text(r, c, i);
            } else if (t == PST_FLOAT || t == PST_REAL) {
                x->f = duck_double(r, c, i);
                x->kind = isnan(x->f) ? CELL_NULL : CELL_FLOAT;
            } else {
                x->kind = CELL_INT;
                x->i = duck_int(r, c, i);
            }
        }
    }
}

/* What DuckDB gives for a column of ours, as the number or text that we hold. */
static void wrap(FILE *f, uint8_t type, const char *c)
{
    switch (type) {
    case PST_TIMESTAMP:
        if (raw_times) {
            fprintf(f, "%s::BIGINT", c);
            return;
        }
        fprintf(f, "((epoch_us(%s::TIMESTAMP) - %lld) * 1000)::BIGINT", c, EPOCH_US);
        return;
    case PST_DATE:
        fprintf(f, "(%s::DATE - DATE '2000-01-01')::BIGINT", c);
        return;
    case PST_MONTH:
        fprintf(f, "((year(%s) - 2000) * 12 + month(%s) - 1)::BIGINT", c, c);
        return;
    case PST_REAL:
    case PST_FLOAT:
        fprintf(f, "%s::DOUBLE", c);
        return;
    case PST_CHAR:
    case PST_SYMBOL:
    case PST_STRING:
    case PST_GUID:
        fprintf(f, "%s::VARCHAR", c);
        return;
    default:
        fprintf(f, "%s::BIGINT", c);
        return;
    }
}

static const uint8_t *sort_types;
static uint64_t sort_cols;
static int cell_compare(const struct cell *x, const struct cell *y)
{
    if (x->kind != y->kind) {
        return (int)x->kind - (int)y->kind;
    }
    switch (x->kind) {
    case CELL_INT:
        return (x->i > y->i) - (x->i < y->i);
    case CELL_FLOAT:
        return (x->f > y->f) - (x->f < y->f);
    case CELL_TEXT:
        return strcmp(x->t, y->t);
    default:
        return 0;
    }
}
static int row_compare(const void *a, const void *b) /* exact columns first, floats last */
{
    const struct cell *x = a, *y = b;
    for (int floats = 0; floats < 2; floats++) {
        for (uint64_t c = 0; c < sort_cols; c++) {
            bool is = sort_types[c] == PST_FLOAT || sort_types[c] == PST_REAL;
            int d = is == floats ? cell_compare(&x[c], &y[c]) : 0;
            if (d) {
                return d;
            }
        }
    }
    return 0;
}

static bool near(double x, double y)
{
    return x == y || fabs(x - y) <= 1e-9 * fmax(fabs(x), fabs(y)) + 1e-9;
}

static void show(FILE *f, const struct cell *x)
{
    switch (x->kind) {
    case CELL_INT:
        fprintf(f, "%" PRId64, x->i);
        break;
    case CELL_FLOAT:
        fprintf(f, "%.17g", x->f);
        break;
    case CELL_TEXT:
        fprintf(f, "'%s'", x->t);
        break;
    default:
        fputs("NULL", f);
        break;
    }
}

static bool equal(struct answer *a, struct answer *b, const struct result *r, bool ordered,
                  char *why, size_t room)
{
    uint8_t types[1024];
    if (a->cols != b->cols || a->rows != b->rows) {
        snprintf(why, room, "%" PRIu64 " x %" PRIu64 " here, %" PRIu64 " x %" PRIu64 " in DuckDB",
                 a->rows, a->cols, b->rows, b->cols);
        return false;
    }
    for (uint64_t c = 0; c < a->cols; c++) {
        types[c] = r->col[c].type;
    }
    if (!ordered && a->cols) {
        sort_types = types;
        sort_cols = a->cols;
        qsort(a->cell, a->rows, a->cols * sizeof *a->cell, row_compare);
        qsort(b->cell, b->rows, b->cols * sizeof *b->cell, row_compare);
    }
    for (uint64_t i = 0; i < a->rows * a->cols; i++) {
        struct cell *x = &a->cell[i], *y = &b->cell[i];
        bool same = x->kind == CELL_FLOAT && y->kind == CELL_FLOAT ? near(x->f, y->f)
                                                                   : cell_compare(x, y) == 0;
        if (!same) {
            FILE *f = fmemopen(why, room, "w");
            pst_must(f);
            fprintf(f, "row %" PRIu64 ", column %s: ", i / a->cols, r->col[i % a->cols].name);
            show(f, x);
            fputs(" here, ", f);
            show(f, y);
            fputs(" in DuckDB", f);
            fclose(f);
            return false;
        }
    }
    return true;
}

enum verdict { SAME, BOTH_FAIL, DIFFER };

static enum verdict check(struct kit *k, struct duck *d, const char *ours, const char *duck,
                          bool ordered)
{
    struct query_error e;
    char why[1000] = "";
    struct result *r = kit_query(k, ours, &e);
    struct duck_rows rows;
    char *sql = NULL;
    size_t len;
    FILE *f = open_memstream(&sql, &len);
    pst_must(f);
    if (r) {
        fputs("SELECT ", f);
        for (uint32_t c = 0; c < r->ncols; c++) {
            char name[24];
            snprintf(name, sizeof name, "o%u", c);
            fputs(c ? ", " : "", f);
            wrap(f, r->col[c].type, name);
        }
        fprintf(f, " FROM (%s) AS o(", duck);
        for (uint32_t c = 0; c < r->ncols; c++) {
            fprintf(f, "%so%u", c ? ", " : "", c);
        }
        fputs(")", f);
    } else {
        fputs(duck, f);
    }
    fclose(f);
    bool ok = duck_query(d, sql, &rows);
    enum verdict v = DIFFER;
    if (!r && !ok) {
        v = BOTH_FAIL;
        snprintf(why, sizeof why, "both fail: here %.300s | there %.300s", e.text, rows.error);
    } else if (!r) {
        snprintf(why, sizeof why, "fails here only: %s (at %lld)", e.text, (long long)e.position);
    } else if (!ok) {
        snprintf(why, sizeof why, "fails in DuckDB only: %s", rows.error);
    } else {
        struct answer a, b;
        take_ours(r, &a);
        take_duck(&rows, r, &b);
        v = equal(&a, &b, r, ordered, why, sizeof why) ? SAME : DIFFER;
        answer_free(&a);
        answer_free(&b);
    }
    if (v == DIFFER || verbose) {
        printf("%s\n  here:   %s\n  duckdb: %s\n  %s\n",
               v == SAME        ? "same"
               : v == BOTH_FAIL ? "both fail"
                                : "DIFFER",
               ours, duck, why);
    }
    if (ok) {
        duck_free(&rows);
    }
    result_free(r);
    free(sql);
    return v;
}

/* ---- hand-written queries ---- */

void run_file(struct kit *k, struct duck *d, const char *path, struct tally *t)
{
    FILE *f = fopen(path, "r");
    char *line = NULL, ours[8000] = "", duck[8000] = "";
    size_t room = 0;
    bool ordered = false, fails = false, translated = false;
    if (!f) {
        perror(path);
        exit(1);
    }
    for (bool more = true; more;) {
        more = getline(&line, &room, f) > 0;
        if (more) {
            line[strcspn(line, "\n")] = 0;
        }
        bool blank = !more || !*line || *line == '#';
        if (!blank && !strncmp(line, "=>", 2)) {
            snprintf(duck, sizeof duck, "%s", line + 2);
            translated = true;
        } else if (!blank && !strncmp(line, "!", 1)) {
            ordered |= strstr(line, "ordered") != NULL;
            fails |= strstr(line, "fails") != NULL;
        } else if (!blank) {
            char *to = translated ? duck : ours;
            size_t n = strlen(to);
            snprintf(to + n, 8000 - n, " %s", line);
        }
        if (blank && *ours) {
            enum verdict v = check(k, d, ours, translated ? duck : ours, ordered);
            if ((v == BOTH_FAIL) != fails && v != DIFFER) {
                printf("DIFFER\n  here:   %s\n  it %s\n", ours,
                       fails ? "should fail in both" : "fails in both");
                v = DIFFER;
            }
            t->count[v]++;
            *ours = *duck = 0;
            ordered = fails = translated = false;
        }
    }
    free(line);
    fclose(f);
}

int main(int argc, char **argv)
{
    unsigned generated = 600;
    uint64_t seed = 1;
    const char *database = NULL;
    if (argc < 3) {
        fprintf(stderr, "usage: oracle LIBDUCKDB QUERIES [-n GENERATED] [-s SEED] [-v]\n");
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "-v")) {
            verbose = true;
        } else if (i + 1 < argc && !strcmp(argv[i], "-n")) {
            generated = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (i + 1 < argc && !strcmp(argv[i], "--database")) {
            database = argv[++i];
        } else if (i + 1 < argc && !strcmp(argv[i], "-s")) {
            seed = strtoull(argv[++i], NULL, 10);
        }
    }
    char why[300];
    struct duck *d = duck_open(argv[1], why, sizeof why);
    if (!d) {
        fprintf(stderr, "oracle: %s\n", why);
        return 1;
    }
    duck_must(d, "SET default_null_order = 'nulls_last_on_asc_first_on_desc'");
    duck_must(d, "SET TimeZone = 'UTC'");
    duck_must(d, "CREATE MACRO nn(x) AS CASE WHEN isnan(x) THEN NULL ELSE x END");
    duck_must(d, "CREATE MACRO lo(x) AS translate(x, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', "
                 "'abcdefghijklmnopqrstuvwxyz')");
    duck_must(d, "CREATE MACRO up(x) AS translate(x, 'abcdefghijklmnopqrstuvwxyz', "
                 "'ABCDEFGHIJKLMNOPQRSTUVWXYZ')");
    if (database) {
        int code = run_database(d, database, argv[2]);
        duck_close(d);
        exec_pool_stop();
        return code;
    }
    struct kit *k = kit_new();
    struct kit_table *t = kit_add(k, "t", t_cols, PST_COUNT(t_cols));
    struct kit_table *q = kit_add(k, "q", q_cols, PST_COUNT(q_cols));
    struct kit_table *empty = kit_add(k, "empty", q_cols, PST_COUNT(q_cols));
    fill_t(k, t);
    fill_q(k, q);
    kit_build(k);
    static const struct query_view views[] = {
        {"qv", "SELECT * FROM q WHERE bid > 60"},
        {"tv", "SELECT date, time, sym, i * 2 AS twice, f AS price, s || '!' AS bang, id, c FROM t "
               "WHERE i > 0"},
        {"tvv", "SELECT sym, twice + 1 AS more, id, time FROM tv WHERE c = 'A' OR c IS NULL"}};
    k->env.views = views;
    k->env.nviews = PST_COUNT(views);
    give(d, t);
    give(d, q);
    give(d, empty);
    duck_must(d, "CREATE VIEW qv AS SELECT * FROM q WHERE bid > 60");
    duck_must(d, "CREATE VIEW tv AS SELECT date, time, sym, i::BIGINT * 2 AS twice, f AS price, s "
                 "|| '!' AS bang, "
                 "id, c, ord FROM t WHERE i > 0");
    duck_must(d, "CREATE VIEW tvv AS SELECT sym, twice + 1 AS more, id, time, ord FROM tv WHERE c "
                 "= 'A' OR c IS NULL");
    struct tally tally = {{0}};
    printf("one wrong pair, to see that it is seen: ");
    if (check(k, d, "SELECT id, f FROM t", "SELECT id, f + 1e-6 * (id = 77)::INT FROM t", false) !=
        DIFFER) {
        printf("it is not\n");
        return 1;
    }
    run_file(k, d, argv[2], &tally);
    unsigned hand = tally.count[SAME] + tally.count[BOTH_FAIL] + tally.count[DIFFER];
    for (unsigned i = 0; i < generated; i++) {
        struct gen g = {.seed = seed * 1000003 + i};
        gen_query(&g);
        tally.count[check(k, d, g.ours, g.duck, g.ordered)]++;
    }
    printf("oracle: %u hand-written and %u generated queries (seed %" PRIu64
           "): %u equal, %u fail in both, "
           "%u differ\n",
           hand, generated, seed, tally.count[SAME], tally.count[BOTH_FAIL], tally.count[DIFFER]);
    /* generated queries that both refuse say little: they must stay few */
    bool fine = tally.count[DIFFER] == 0 && tally.count[BOTH_FAIL] * 10 <= hand + generated &&
                tally.count[SAME] >= 500;
    kit_free(k);
    duck_close(d);
    exec_pool_stop();
    return fine ? 0 : 1;
}
