/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a database: one directory or par.txt, dates, tables, a schema that changed over time,
 * sym, the parted index, tables replaced under a reader, a thousand dates; a real kdb+ database.
 */
#include "hdb_kit.h"
#include <math.h>
#include <pthread.h>
#include <time.h>
#include "hdb.h"
#include "support/data.h"
#include "support/kdbread.h"

#define DAY 9823 /* 2026.11.23 */

static struct err err;

static int fresh(void **state)
{
    return hk_setup(state);
}

static struct hdb *open_here(void)
{
    struct hdb *h = hdb_open(hk_dir, &err);
    if (!h)
        fail_msg("%s", err.text);
    return h;
}

static const struct hdb_table *table_of(struct hdb *h, const char *name)
{
    const struct hdb_table *t = hdb_table_get(h, name, &err);
    if (!t)
        fail_msg("%s", err.text);
    return t;
}
static const struct hdb_part *part_of(const struct hdb_table *t, int32_t date)
{
    const struct hdb_part *p = hdb_part_get(t, date, &err);
    if (!p)
        fail_msg("%s", err.text);
    return p;
}
static const struct hdb_column *column_of(const struct hdb_part *p, const char *name)
{
    int i = hdb_table_column(p->table, name);
    assert_true(i >= 0);
    const struct hdb_column *c = hdb_part_column(p, (unsigned)i, &err);
    if (!c)
        fail_msg("%s", err.text);
    return c;
}

static void sym_file(const char *const *names, uint32_t n)
{
    HK_OK(kdb_write_symbols(hk_io, hk_path("sym"), names, n, false, &err));
}

/* ---- */

static void empty(void **state)
{
    (void)state;
    struct hdb *h = open_here();
    const int32_t *dates;
    char **names;
    unsigned n;
    assert_int_equal(hdb_dates(h, &dates), 0);
    assert_int_equal(hdb_symbol_count(h), 0);
    HK_OK(hdb_tables(h, true, &names, &n, &err));
    assert_int_equal(n, 0);
    assert_null(hdb_table_get(h, "trade", &err));
    assert_int_equal(err.code, -ENOENT);
    hdb_close(h);
    char here[4096], parent[4096]; /* a path from the working directory serves too */
    assert_non_null(getcwd(here, sizeof here));
    snprintf(parent, sizeof parent, "%s", hk_dir);
    *strrchr(parent, '/') = 0;
    assert_int_equal(chdir(parent), 0);
    h = hdb_open(strrchr(hk_dir, '/') + 1, &err);
    assert_int_equal(chdir(here), 0);
    assert_non_null(h);
    hdb_close(h);
    assert_null(hdb_open(hk_path("absent"), &err));
    assert_int_equal(err.code, -ENOENT);
    hk_write(hk_path("file"), "x", 1);
    assert_null(hdb_open(hk_path("file"), &err));
}

static void names_and_dates(void **state)
{
    (void)state;
    const int32_t *dates;
    char **names;
    unsigned n;
    hk_trade(hk_dir, DAY, "trade", 10, 2);
    hk_trade(hk_dir, DAY - 1, "trade", 5, 2);
    hk_trade(hk_dir, DAY - 1, "quote", 5, 2);
    hk_trade(hk_dir, DAY, "half$", 5, 2); /* names that are never looked at */
    hk_mkdirs(hk_path("2026.11.24$/trade"));
    hk_mkdirs(hk_path("2026.11.25.mark$"));
    hk_mkdirs(hk_path("2026.13.01/trade"));
    hk_mkdirs(hk_path("20261126/trade"));
    hk_mkdirs(hk_path(".hidden/x"));
    hk_mkdirs(hk_path("2026.11.23/torso")); /* no .d: no table */
    struct hdb *h = open_here();
    assert_int_equal(hdb_dates(h, &dates), 2);
    assert_int_equal(dates[0], DAY - 1);
    assert_int_equal(dates[1], DAY);
    HK_OK(hdb_tables(h, false, &names, &n, &err));
    assert_int_equal(n, 1);
    assert_string_equal(names[0], "trade");
    hdb_names_free(names, n);
    HK_OK(hdb_tables(h, true, &names, &n, &err));
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "quote");
    hdb_names_free(names, n);
    const struct hdb_table *q = table_of(h, "quote");
    assert_int_equal(q->newest, DAY - 1);
    assert_null(hdb_part_get(q, DAY, &err));
    assert_int_equal(err.code, -ENOENT);
    assert_null(hdb_part_get(q, DAY + 7, &err));
    assert_int_equal(err.code, -ENOENT);
    hdb_table_put(q);
    static const char *const evil[] = {
        "../2026.11.23/trade", ".", "..", "", "half$", "torso", "a/b"};
    for (unsigned i = 0; i < PST_COUNT(evil); i++) {
        assert_null(hdb_table_get(h, evil[i], &err));
        assert_int_equal(err.code, -ENOENT);
    }
    hdb_close(h);
}

static void three_disks(void **state)
{
    (void)state;
    const int32_t *dates;
    char path[1024];
    hk_mkdirs(hk_path("d0"));
    hk_mkdirs(hk_path("d1"));
    hk_mkdirs(hk_path("d2"));
    char par[300];
    snprintf(par, sizeof par, "%s/d0\nd1/\r\n\n%s/d2", hk_dir, hk_dir);
    hk_write(hk_path("par.txt"), par, strlen(par));
    for (int i = 0; i < 9; i++)
        hk_trade(hk_path("d%d", (DAY + i) % 3), DAY + i, "trade", (uint64_t)i + 1, 1);
    hk_trade(hk_path("d0"), DAY + 21, "trade", 3, 1); /* DAY + 21 belongs on d1 but lies on d0 */
    struct hdb *h = open_here();
    assert_int_equal(hdb_ndisks(h), 3);
    assert_int_equal(hdb_dates(h, &dates), 10);
    const struct hdb_table *t = table_of(h, "trade");
    for (int i = 0; i < 9; i++) {
        const struct hdb_part *p = part_of(t, DAY + i);
        assert_int_equal(p->rows, i + 1);
        hdb_part_put(p);
        assert_int_equal(hdb_disk_of(h, DAY + i), (DAY + i) % 3);
        assert_true(hdb_date_dir(h, DAY + i, path));
        assert_non_null(strstr(path, hk_path("d%d/", (DAY + i) % 3)));
    }
    assert_int_equal(hdb_disk_of(h, DAY + 21), 0); /* where it lies */
    assert_int_equal((DAY + 21) % 3, 1);
    assert_int_equal(hdb_disk_of(h, DAY + 24), 1); /* where it shall lie */
    /* a date on two disks is told, not half read */
    hk_trade(hk_path("d2"), DAY + 21, "trade", 4, 1);
    HK_OK(hdb_refresh(h, &err));
    assert_null(hdb_part_get(t, DAY + 21, &err));
    assert_int_equal(err.code, -ENOTSUP);
    assert_non_null(strstr(err.text, "two disks"));
    hdb_table_put(t);
    hdb_close(h);
    /* a disk that is not mounted must not hide dates */
    rename(hk_path("d1"), hk_path("gone"));
    assert_null(hdb_open(hk_dir, &err));
    assert_int_equal(err.code, -ENOENT);
    rename(hk_path("gone"), hk_path("d1"));
}

/* A column that came, one that went, types that changed; nothing is rewritten. */
static void schema_over_time(void **state)
{
    (void)state;
    static const char *const old_names[] = {"time", "sym",  "size", "price",
                                            "gone", "flip", "at",   "venue"};
    static const char *const new_names[] = {"time",  "sym",  "size", "price", "flip",
                                            "added", "note", "at",   "venue"};
    static const int64_t time[] = {1, 2, 3}, sym[] = {0, 0, 1};
    static const int32_t ints[] = {7, PST_NULL_INT, INT32_MAX}, dates[] = {1, PST_NULL_INT, -1};
    const float reals[] = {1.5f, NAN, INFINITY};
    const double floats[] = {1, 2, 3};
    static const char *const text[] = {"a", "", "ccc"};
    static const char *const syms[] = {"A", "B"};
    sym_file(syms, 2);
    const char *a = hk_path("2026.11.20/trade"), *b = hk_path("2026.11.23/trade");
    hk_mkdirs(a);
    hk_mkdirs(b);
    hk_column(a, "time", PST_TIMESTAMP, time, 3, 0);
    hk_column(a, "sym", PST_SYMBOL, sym, 3, 0);
    hk_column(a, "size", PST_INT, ints, 3, 0);
    hk_column(a, "price", PST_REAL, reals, 3, 0);
    hk_column(a, "gone", PST_LONG, time, 3, 0);
    hk_column(a, "flip", PST_LONG, time, 3, 0);
    hk_column(a, "at", PST_DATE, dates, 3, 0);
    hk_column(a, "venue", PST_SYMBOL, sym, 3, 0);
    hk_names(a, old_names, 8);
    hk_column(b, "time", PST_TIMESTAMP, time, 3, 0);
    hk_column(b, "sym", PST_SYMBOL, sym, 3, 0);
    hk_column(b, "size", PST_LONG, time, 3, 0);
    hk_column(b, "price", PST_FLOAT, floats, 3, 0);
    hk_column(b, "flip", PST_INT, ints, 3, 0);
    hk_column(b, "added", PST_TIMESPAN, time, 3, 0);
    hk_strings(b, "note", text, 3);
    hk_column(b, "at", PST_TIMESTAMP, time, 3, 0);
    hk_column(b, "venue", PST_SYMBOL, sym, 3, 0);
    hk_names(b, new_names, 9);

    struct hdb *h = open_here();
    const struct hdb_table *t = table_of(h, "trade");
    assert_int_equal(t->ncols, 9);
    assert_int_equal(t->newest, DAY);
    assert_int_equal(hdb_table_column(t, "gone"), -1);
    assert_int_equal(t->col[2].type, PST_LONG);
    const struct hdb_part *p = part_of(t, DAY - 3), *n = part_of(t, DAY);
    const struct hdb_column *c = column_of(p, "size");
    const int64_t want[] = {7, PST_NULL_LONG, INT32_MAX};
    assert_true(c->converted && c->type == PST_LONG);
    assert_memory_equal(c->values, want, 24);
    c = column_of(p, "price");
    const double *d = c->values;
    assert_true(c->type == PST_FLOAT && d[0] == 1.5 && isnan(d[1]) && isinf(d[2]));
    c = column_of(p, "at");
    const int64_t at[] = {PST_DAY_NS, PST_NULL_LONG, -PST_DAY_NS};
    assert_memory_equal(c->values, at, 24);
    c = column_of(p, "added");
    assert_int_equal(c->state, HDB_MISSING);
    assert_null(c->values);
    assert_int_equal(c->rows, 3);
    assert_int_equal(column_of(p, "note")->state, HDB_MISSING);
    assert_null(hdb_part_column(p, (unsigned)hdb_table_column(t, "flip"), &err));
    assert_int_equal(err.code, -ENOTSUP);
    assert_non_null(
        strstr(err.text, "2026.11.20/trade/flip: is of type long there and int on 2026.11.23"));
    c = column_of(n, "note");
    assert_int_equal(((const int64_t *)c->values)[2], 4);
    assert_memory_equal(c->bytes, "accc", 4);
    assert_null(n->meta);
    hdb_part_put(p);
    hdb_part_put(n);
    hdb_table_put(t);
    hdb_close(h);
}

/* Every pair of types: what can be widened keeps null and value, the rest is refused by name. */
static void widening(void **state)
{
    (void)state;
    static const uint8_t types[] = {PST_BOOLEAN, PST_GUID,  PST_BYTE,     PST_SHORT,  PST_INT,
                                    PST_LONG,    PST_REAL,  PST_FLOAT,    PST_CHAR,   PST_TIMESTAMP,
                                    PST_MONTH,   PST_DATE,  PST_TIMESPAN, PST_MINUTE, PST_SECOND,
                                    PST_TIME,    PST_SYMBOL};
    static const char *const one[] = {"v"};
    unsigned taken = 0;
    const char *a = hk_path("2026.11.20/t"), *b = hk_path("2026.11.23/t");
    hk_mkdirs(a);
    hk_mkdirs(b);
    hk_names(a, one, 1);
    hk_names(b, one, 1);
    for (unsigned i = 0; i < PST_COUNT(types); i++)
        for (unsigned k = 0; k < PST_COUNT(types); k++) {
            uint8_t v[64] = {0};
            unsigned w = kdb_width(types[i]);
            v[0] = 1; /* values 1 and the type's null, where it has one */
            if (w > 1)
                v[2 * w - 1] = 0x80;
            if (types[i] == PST_REAL) {
                put32(v, 0x3F800000);
                put32(v + 4, PST_NULL_REAL_BITS);
            } else if (types[i] == PST_FLOAT) {
                put64(v, 0x3FF0000000000000);
                put64(v + 8, PST_NULL_FLOAT_BITS);
            }
            hk_column(a, "v", types[i], v, 2, 0);
            hk_column(b, "v", types[k], NULL, 0, 0);
            struct hdb *h = open_here();
            const struct hdb_table *t = table_of(h, "t");
            const struct hdb_part *p = part_of(t, DAY - 3);
            const struct hdb_column *c = hdb_part_column(p, 0, &err);
            if (i == k) {
                assert_true(c && !c->converted);
            } else if (c) {
                taken++;
                assert_true(c->converted);
                double x, null;
                if (types[k] == PST_FLOAT) {
                    x = ((const double *)c->values)[0];
                    null = ((const double *)c->values)[1];
                } else if (types[k] == PST_REAL) {
                    x = ((const float *)c->values)[0];
                    null = ((const float *)c->values)[1];
                } else if (type_width(types[k]) == 8) {
                    x = (double)((const int64_t *)c->values)[0];
                    null = ((const int64_t *)c->values)[1] == PST_NULL_LONG ? NAN : 0;
                } else if (type_width(types[k]) == 4) {
                    x = ((const int32_t *)c->values)[0];
                    null = ((const int32_t *)c->values)[1] == PST_NULL_INT ? NAN : 0;
                } else {
                    x = ((const int16_t *)c->values)[0];
                    null = ((const int16_t *)c->values)[1] == PST_NULL_SHORT ? NAN : 0;
                }
                double unit = types[i] == PST_DATE                             ? (double)PST_DAY_NS
                              : types[i] == PST_TIME                           ? 1e6
                              : types[i] == PST_SECOND && types[k] == PST_TIME ? 1e3
                              : types[i] == PST_SECOND                         ? 1e9
                              : types[i] == PST_MINUTE && types[k] == PST_SECOND ? 60
                              : types[i] == PST_MINUTE && types[k] == PST_TIME   ? 6e4
                              : types[i] == PST_MINUTE                           ? 6e10
                                                                                 : 1;
                assert_true(x == unit);
                assert_true(isnan(null) || types[i] == PST_BOOLEAN || types[i] == PST_BYTE);
            } else {
                assert_int_equal(err.code, -ENOTSUP);
                assert_non_null(strstr(err.text, type_name(types[i])));
                assert_non_null(strstr(err.text, type_name(types[k])));
            }
            hdb_part_put(p);
            hdb_table_put(t);
            hdb_close(h);
        }
    assert_int_equal(taken, 24);
}

static void symbols(void **state)
{
    (void)state;
    static const char *const a[] = {"IBM", "A", "MSFT"};
    uint32_t len;
    sym_file(a, 3);
    struct hdb *h = open_here();
    assert_int_equal(hdb_symbol_count(h), 3);
    assert_int_equal(hdb_symbol_find(h, "A", 1), 1);
    assert_int_equal(hdb_symbol_find(h, "B", 1), -1);
    assert_true(hdb_symbol_find(h, "", 0) == PST_NULL_LONG);
    const char *text = hdb_symbol_text(h, 2, &len);
    assert_int_equal(len, 4);
    assert_memory_equal(text, "MSFT", 4);
    assert_null(hdb_symbol_text(h, 3, &len));
    assert_null(hdb_symbol_text(h, -2, &len));
    assert_string_equal(hdb_symbol_text(h, PST_NULL_LONG, &len), "");
    /* it grows as q lets it grow: names appended, the count stale, a name half written */
    FILE *f = fopen(hk_path("sym"), "ab");
    fwrite("B\0CCC", 1, 5, f);
    fclose(f);
    HK_OK(hdb_refresh(h, &err));
    assert_int_equal(hdb_symbol_count(h), 4);
    assert_int_equal(hdb_symbol_find(h, "B", 1), 3);
    f = fopen(hk_path("sym"), "ab");
    fwrite("C\0", 1, 2, f);
    fclose(f);
    text = hdb_symbol_text(h, 4, &len); /* asked for: read on without a refresh */
    assert_int_equal(len, 4);
    assert_memory_equal(text, "CCCC", 4);
    assert_int_equal(hdb_symbol_find(h, "CCCC", 4), 4);
    assert_int_equal(hdb_symbol_find(h, "IBM", 3), 0);
    /* replaced by another file */
    static const char *const b[] = {"X", "IBM"};
    HK_OK(kdb_write_symbols(hk_io, hk_path("sym.new"), b, 2, false, &err));
    rename(hk_path("sym.new"), hk_path("sym"));
    HK_OK(hdb_refresh(h, &err));
    assert_int_equal(hdb_symbol_count(h), 2);
    assert_int_equal(hdb_symbol_find(h, "IBM", 3), 1);
    assert_int_equal(hdb_symbol_find(h, "A", 1), -1);
    hdb_close(h);
}

static void parted(void **state)
{
    (void)state;
    hk_trade(hk_dir, DAY, "trade", 1000, 10);
    struct hdb *h = open_here();
    const struct hdb_table *t = table_of(h, "trade");
    const struct hdb_part *p = part_of(t, DAY);
    const struct hdb_index *x = hdb_part_index(p, &err);
    assert_non_null(x);
    assert_int_equal(x->ngroups, 10);
    assert_true(x->time_sorted);
    for (int64_t s = 0; s < 10; s++) {
        const struct hdb_group *g = hdb_index_find(x, s);
        assert_int_equal(g->first, s * 100);
        assert_int_equal(g->rows, 100);
    }
    assert_null(hdb_index_find(x, 10));
    assert_null(hdb_index_find(x, PST_NULL_LONG));
    hdb_part_put(p);
    hdb_table_put(t);
    /* the same symbol in two places, and a time that goes back */
    static const int64_t twice[] = {0, 1, 0}, null[] = {PST_NULL_LONG, 3, 1}, back[] = {3, 2, 1};
    struct hdb_index i;
    assert_false(hdb_index_compute(&i, twice, NULL, 3, &err));
    assert_int_equal(err.code, -EINVAL);
    HK_OK(hdb_index_compute(&i, null, back, 3, &err));
    assert_true(i.time_sorted);
    assert_int_equal(hdb_index_find(&i, PST_NULL_LONG)->first, 0);
    assert_int_equal(hdb_index_find(&i, 1)->first, 2);
    hdb_index_free(&i);
    static const int64_t same[] = {5, 5, 5};
    HK_OK(hdb_index_compute(&i, same, back, 3, &err));
    assert_false(i.time_sorted);
    hdb_index_free(&i);
    HK_OK(hdb_index_compute(&i, NULL, NULL, 0, &err));
    assert_int_equal(i.ngroups, 0);
    hdb_index_free(&i);
    hdb_close(h);
}

/* A table that is exchanged under a reader: what was open stays, what was not says so. */
static void replaced(void **state)
{
    (void)state;
    hk_trade(hk_dir, DAY, "trade", 100000, 10);
    struct hdb *h = open_here();
    const struct hdb_table *t = table_of(h, "trade");
    const struct hdb_part *p = part_of(t, DAY);
    const struct hdb_column *c = column_of(p, "size");
    hk_trade(hk_path("other"), DAY, "trade", 7, 1);
    assert_int_equal(
        hk_io->ops->exchange(hk_io, hk_path("2026.11.23/trade"), hk_path("other/2026.11.23/trade")),
        0);
    HK_OK(hdb_remove_tree(hk_io, hk_path("other"), &err));
    assert_int_equal(((const int64_t *)c->values)[99999], 100000);
    assert_null(hdb_part_column(p, 0, &err));
    assert_int_equal(err.code, -ESTALE);
    HK_OK(hdb_refresh(h, &err));
    assert_int_equal(((const int64_t *)c->values)[99999], 100000);
    const struct hdb_table *t2 = table_of(h, "trade");
    const struct hdb_part *p2 = part_of(t2, DAY);
    assert_int_equal(p2->rows, 7);
    assert_int_equal(column_of(p2, "size")->rows, 7);
    assert_int_equal(((const int64_t *)c->values)[12345], 12346);
    hdb_part_put(p2);
    hdb_table_put(t2);
    hdb_part_put(p);
    hdb_table_put(t);
    /* a date that goes, and one that comes */
    HK_OK(hdb_remove_tree(hk_io, hk_path("2026.11.23"), &err));
    hk_trade(hk_dir, DAY + 1, "trade", 3, 1);
    HK_OK(hdb_refresh(h, &err));
    t = table_of(h, "trade");
    assert_null(hdb_part_get(t, DAY, &err));
    p = part_of(t, DAY + 1);
    assert_int_equal(p->rows, 3);
    hdb_part_put(p);
    hdb_table_put(t);
    struct hdb_figures f;
    hdb_figures(h, &f);
    assert_int_equal(f.parts_open, 1);
    hdb_close(h);
}

/* Damage of a partition is a sentence when it is met, and no reason not to open the others. */
static void broken(void **state)
{
    (void)state;
    hk_trade(hk_dir, DAY - 1, "trade", 10, 2);
    hk_trade(hk_dir, DAY, "trade", 10, 2);
    assert_int_equal(truncate(hk_path("2026.11.22/trade/size"), 50), 0);
    hk_column(hk_path("2026.11.22/trade"), "sym", PST_SYMBOL, (int64_t[]){0, 0}, 2, 0);
    struct hdb *h = open_here();
    const struct hdb_table *t = table_of(h, "trade");
    const struct hdb_part *p = part_of(t, DAY - 1);
    assert_null(hdb_part_column(p, 2, &err));
    assert_int_equal(err.code, -EBADMSG);
    assert_null(hdb_part_column(p, 1, &err));
    assert_non_null(strstr(err.text, "has 2 rows, the table 10"));
    assert_null(hdb_part_index(p, &err));
    hk_column(hk_path("2026.11.22/trade"), "sym", PST_SYMBOL,
              (int64_t[]){0, 0, 0, 0, 0, 0, 1, 1, 1, 1}, 10, 0);
    assert_non_null(hdb_part_column(p, 1, &err)); /* repaired in place */
    assert_int_equal(column_of(p, "time")->rows, 10);
    hdb_part_put(p);
    unlink(hk_path("2026.11.22/trade/time"));
    hdb_table_put(t);
    hdb_close(h);
    h = open_here();
    t = table_of(h, "trade");
    assert_null(hdb_part_get(t, DAY - 1, &err));
    assert_non_null(strstr(err.text, "time"));
    p = part_of(t, DAY);
    hdb_part_put(p);
    hdb_table_put(t);
    hk_write(hk_path("2026.11.23/trade/.d"), "\xff\x01\x0b\0\x01\0\0\0../x\0", 13);
    HK_OK(hdb_refresh(h, &err));
    t = hdb_table_get(h, "trade",
                      &err); /* a column's name is a file's name: not of another directory */
    assert_null(t);
    hdb_close(h);
}

static double now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* Lazy: opening reads one directory; the first query opens what it uses of each date. */
static void thousand_dates(void **state)
{
    (void)state;
    enum { N = 1000 };
    for (int i = 0; i < N; i++)
        hk_trade(hk_dir, DAY - i, "trade", 50, 5);
    double start = now_ms();
    struct hdb *h = open_here();
    double opened = now_ms();
    const struct hdb_table *t = table_of(h, "trade");
    struct hdb_figures f;
    const int32_t *dates;
    uint32_t n = hdb_dates(h, &dates);
    int64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct hdb_part *p = part_of(t, dates[i]);
        const int64_t *v = column_of(p, "size")->values;
        for (uint64_t r = 0; r < p->rows; r++)
            sum += v[r];
        hdb_part_put(p);
    }
    double done = now_ms();
    hdb_figures(h, &f);
    printf("open %.1f ms, first query over %u dates %.1f ms\n", opened - start, n, done - opened);
    assert_int_equal(n, N);
    assert_int_equal(sum, N * 1275);
    assert_int_equal(f.directories_read, 1);
    assert_int_equal(f.columns_open, N);
    assert_int_equal(f.maps, 0); /* small files are read, not mapped */
    hdb_table_put(t);
    hdb_close(h);
}

/* ---- several readers, tables that are exchanged under them, refreshes ---- */

enum { TABLES_OF_THREADS = 6, READS = 300 };
struct reader {
    struct hdb *h;
    unsigned seed;
    unsigned reads, stale;
    const char *bad; /* a thread does not assert */
};

/* Every version of a date has n rows of value 1...n: sum and count must fit. */
static void *reader_run(void *arg)
{
    struct reader *r = arg;
    for (unsigned i = 0; i < READS && !r->bad; i++) {
        struct err e = {0};
        const struct hdb_table *t = hdb_table_get(r->h, "trade", &e);
        const struct hdb_part *p =
            t ? hdb_part_get(t, DAY + (int)((r->seed * 7 + i) % TABLES_OF_THREADS), &e) : NULL;
        const struct hdb_column *c = p ? hdb_part_column(p, 2, &e) : NULL;
        const struct hdb_index *x = c ? hdb_part_index(p, &e) : NULL;
        if (c) {
            int64_t sum = 0;
            for (uint64_t k = 0; k < c->rows; k++)
                sum += ((const int64_t *)c->values)[k];
            if (c->rows != p->rows || sum != (int64_t)(p->rows * (p->rows + 1) / 2))
                r->bad = "rows of two versions";
            r->reads++;
        }
        if (x && x->rows != p->rows)
            r->bad = "an index of another version";
        if (t && (!c || !x)) {
            if (e.code != -ESTALE && e.code != -ENOENT)
                r->bad = "neither read nor stale";
            r->stale++;
        }
        uint32_t len;
        hdb_symbol_text(r->h, i % 4, &len);
        hdb_symbol_find(r->h, "IBM", 3);
        if (p)
            hdb_part_put(p);
        if (t)
            hdb_table_put(t);
    }
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    static const char *const names[] = {"A", "B", "IBM", "C"};
    struct reader r[3] = {0};
    pthread_t id[3];
    sym_file(names, 4);
    for (int i = 0; i < TABLES_OF_THREADS; i++)
        hk_trade(hk_dir, DAY + i, "trade", 100, 4);
    struct hdb *h = open_here();
    for (unsigned i = 0; i < 3; i++) {
        r[i] = (struct reader){.h = h, .seed = i};
        assert_int_equal(pthread_create(&id[i], NULL, reader_run, &r[i]), 0);
    }
    for (int n = 0; n < 60; n++) {
        int32_t date = DAY + n % TABLES_OF_THREADS;
        char day[CIVIL_TEXT];
        hk_trade(hk_path("other"), date, "trade", (uint64_t)(101 + n), 4);
        civil_format(date, day);
        assert_int_equal(
            hk_io->ops->exchange(hk_io, hk_path("%s/trade", day), hk_path("other/%s/trade", day)),
            0);
        HK_OK(hdb_remove_tree(hk_io, hk_path("other"), &err));
        HK_OK(hdb_refresh(h, &err));
    }
    unsigned reads = 0;
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(id[i], NULL);
        if (r[i].bad)
            fail_msg("%s", r[i].bad);
        reads += r[i].reads;
    }
    assert_true(reads > READS);
    HK_OK(hdb_refresh(h, &err));
    const struct hdb_table *t = table_of(h, "trade");
    const struct hdb_part *p = part_of(t, DAY + 5);
    assert_int_equal(p->rows, 101 + 59);
    hdb_part_put(p);
    hdb_table_put(t);
    hdb_close(h);
}

static void real_database(void **state)
{
    (void)state;
    DATA_OR_SKIP("a database written by kdb+");
    char root[300], why[300], cell[100];
    struct kdbread_table k;
    snprintf(root, sizeof root, "%.299s", data_path("kdb/hdb-2021"));
    char dir[400];
    snprintf(dir, sizeof dir, "%s/2021.01.04/quote", root);
    if (!kdbread_table(root, dir, &k, why))
        fail_msg("%s", why);
    struct hdb *h = hdb_open(root, &err);
    assert_non_null(h);
    assert_int_equal(hdb_symbol_count(h), 16); /* 10 declared */
    const struct hdb_table *t = table_of(h, "quote");
    static const char *const names[] = {"time",  "sym",  "bid", "ask", "bsize",
                                        "asize", "mode", "ex",  "src"};
    assert_int_equal(t->ncols, 9);
    const struct hdb_part *p = part_of(t, 7674); /* 2021.01.04 */
    assert_int_equal(p->rows, 10);
    for (unsigned i = 0; i < 9; i++) {
        assert_string_equal(t->col[i].name, names[i]);
        const struct hdb_column *c = column_of(p, names[i]);
        for (uint64_t r = 0; r < 10; r++) {
            char mine[100];
            uint32_t len;
            const char *s;
            switch (c->type) {
            case PST_SYMBOL:
                s = hdb_symbol_text(h, ((const int64_t *)c->values)[r], &len);
                snprintf(mine, sizeof mine, "%.*s", (int)len, s);
                break;
            case PST_FLOAT:
                snprintf(mine, sizeof mine, "%.17g", ((const double *)c->values)[r]);
                break;
            case PST_CHAR:
                snprintf(mine, sizeof mine, "%c", ((const char *)c->values)[r]);
                break;
            default:
                snprintf(mine, sizeof mine, "%lld", (long long)((const int64_t *)c->values)[r]);
            }
            kdbread_cell(&k, i, r, cell, sizeof cell);
            assert_string_equal(mine, cell);
        }
    }
    /* the page's own golden rows: F9 all times equal, F8 ex, F13 src indexes 10 10 12 11 */
    static const int64_t src[] = {10, 10, 12, 11};
    assert_int_equal(((const int64_t *)column_of(p, "time")->values)[9], 663074543813584000);
    assert_memory_equal(column_of(p, "ex")->values, "NNNOOOOOOO", 10);
    assert_memory_equal(column_of(p, "src")->values, src, sizeof src);
    const struct hdb_index *x = hdb_part_index(p, &err);
    assert_int_equal(x->ngroups, 2);
    assert_int_equal(hdb_index_find(x, hdb_symbol_find(h, "AIG", 3))->rows, 7);
    hdb_part_put(p);
    hdb_table_put(t);
    hdb_close(h);
    kdbread_table_free(&k);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, hk_teardown)
    const struct CMUnitTest tests[] = {
        T(empty),    T(names_and_dates), T(three_disks), T(schema_over_time),
        T(widening), T(symbols),         T(parted),      T(replaced),
        T(broken),   T(thousand_dates),  T(threads),     T(real_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
