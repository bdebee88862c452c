/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify finds every damage of a table of damages and nothing in a healthy database (ours or q's);
 * adding a column, dropping dates and filling, killed before every operation.
 */
#include "hdb_kit.h"
#include <math.h>
#include "hdb_maintain.h"
#include "hdb_verify.h"
#include "mortal_io.h"
#include "support/data.h"
#include "support/kdbread.h"

#define DAY  9823 /* 2026.11.23 */
#define ROWS 3000

static struct err err;

/* ---- a small database as the end of day leaves it ---- */

static const char *const syms[] = {"MSFT", "A", "IBM", "AAPL"};
/* in text order: A 1, AAPL 3, IBM 2, MSFT 0; each a quarter of the rows, after 10 of the null
 * symbol */
static const int64_t in_order[] = {1, 3, 2, 0};

static void hash_of(const char *table, struct hash128 *sum, const int64_t *time, const int64_t *sym,
                    const int64_t *size, const int8_t *flag, const char *const *note, int32_t rows);

static const char *text_of(void *arg, uint64_t i, uint32_t *len)
{
    (void)arg;
    *len = i < 4 ? (uint32_t)strlen(syms[i]) : 0;
    return i < 4 ? syms[i] : NULL;
}

static void hash_of(const char *table, struct hash128 *sum, const int64_t *time, const int64_t *sym,
                    const int64_t *size, const int8_t *flag, const char *const *note, int32_t rows)
{
    struct schema s;
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP},
                                             {"sym", PST_SYMBOL},
                                             {"size", PST_LONG},
                                             {"flag", PST_BOOLEAN},
                                             {"note", PST_STRING}};
    struct content_columns *keys = malloc(sizeof *keys);
    struct content_symbols symbols;
    hash_acc *acc = calloc((size_t)rows + 1, sizeof *acc);
    HK_OK(schema_make(&s, 2, table, false, cols, 5, &err));
    HK_OK(content_symbols_init(&symbols, 4, text_of, NULL, &err));
    content_columns_init(keys, &s);
    content_columns_add(keys, 0, acc, time, NULL, (uint32_t)rows, false);
    content_columns_indexes(keys, 1, acc, sym, (uint32_t)rows, &symbols);
    content_columns_add(keys, 2, acc, size, NULL, (uint32_t)rows, false);
    content_columns_add(keys, 3, acc, flag, NULL, (uint32_t)rows, false);
    for (int i = 0; i < rows; i++)
        if (*note[i])
            content_columns_string(keys, 4, &acc[i], note[i], (uint32_t)strlen(note[i]));
    *sum = (struct hash128){0, 0};
    content_columns_end(keys, acc, NULL, (uint32_t)rows, sum);
    content_symbols_free(&symbols);
    free(keys);
    free(acc);
}

static void make_table(int32_t date, const char *table, int rows)
{
    static const char *const names[] = {"time", "sym", "size", "flag", "note"};
    static int64_t time[ROWS], sym[ROWS], size[ROWS];
    static int8_t flag[ROWS];
    static const char *note[ROWS];
    static struct hdb_group g[8];
    struct schema s;
    struct hdb_meta m;
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP},
                                             {"sym", PST_SYMBOL},
                                             {"size", PST_LONG},
                                             {"flag", PST_BOOLEAN},
                                             {"note", PST_STRING}};
    char dir[300];
    unsigned groups = 0;
    snprintf(dir, sizeof dir, "%s/%s/%s", hk_dir, civil_format(date, (char[CIVIL_TEXT]){0}), table);
    hk_mkdirs(dir);
    for (int i = 0; i < rows; i++) {
        sym[i] = i < 10 ? PST_NULL_LONG : in_order[(i - 10) * 4 / (rows - 10)];
        if (!i || sym[i] != sym[i - 1])
            g[groups++] = (struct hdb_group){sym[i], (uint64_t)i, 0};
        g[groups - 1].rows++;
        time[i] = date * PST_DAY_NS + (i - (int64_t)g[groups - 1].first) * 1000;
        size[i] = i;
        flag[i] = i & 1;
        note[i] = i % 3 ? "" : i % 2 ? "odd" : "even more";
    }
    hk_column(dir, "time", PST_TIMESTAMP, time, (uint64_t)rows, 0);
    hk_column(dir, "sym", PST_SYMBOL, sym, (uint64_t)rows, 0);
    hk_column(dir, "size", PST_LONG, size, (uint64_t)rows, 1);
    hk_column(dir, "flag", PST_BOOLEAN, flag, (uint64_t)rows, 0);
    hk_strings(dir, "note", note, (uint64_t)rows);
    HK_OK(schema_make(&s, 2, table, false, cols, 5, &err));
    hdb_meta_init(&m, &s, date);
    strcpy(m.calendar, "us");
    m.rows = (uint64_t)rows;
    m.sorted = m.has_hash = m.has_times = true;
    m.time_min = date * PST_DAY_NS;
    m.time_max = date * PST_DAY_NS + (int64_t)rows * 1000;
    hash_of(table, &m.hash, time, sym, size, flag, note, rows);
    HK_OK(hdb_index_write(hk_io, dir, g, groups, (uint64_t)rows, true, false, &err));
    HK_OK(hdb_meta_write(&m, hk_io, dir, false, false, &err));
    hk_names(dir, names, 5);
}

static void make_database(void)
{
    HK_OK(kdb_write_symbols(hk_io, hk_path("sym"), syms, 4, false, &err));
    for (int i = 0; i < 3; i++) {
        make_table(DAY + i, "trade", ROWS - 100 * i);
        make_table(DAY + i, "quote", 500);
    }
}
static void drop_database(void)
{
    for (int i = 0; i < 4; i++)
        HK_OK(hdb_remove_tree(hk_io, hk_path("2026.11.%d", 23 + i), &err));
}

/* ---- verify ---- */

struct heard {
    unsigned damages, notes;
    char what[16], sentence[1200], all[4000];
};
static void hear(void *arg, const struct hdb_finding *f)
{
    struct heard *h = arg;
    if (f->severity == HDB_NOTE) {
        h->notes++;
        return;
    }
    size_t n = strlen(h->all);
    snprintf(h->all + n, sizeof h->all - n, "%s: %.300s\n", f->what, f->sentence);
    if (!h->damages++) {
        snprintf(h->what, sizeof h->what, "%s", f->what);
        snprintf(h->sentence, sizeof h->sentence, "%s", f->sentence);
    }
}

static struct hdb_verify verify(struct heard *h)
{
    struct hdb *db = hdb_open(hk_dir, &err);
    assert_non_null(db);
    *h = (struct heard){0};
    struct hdb_verify v = {.hash = true, .found = hear, .arg = h};
    HK_OK(hdb_verify(db, &v, &err));
    assert_int_equal(v.damages, h->damages);
    assert_int_equal(v.notes, h->notes);
    hdb_close(db);
    return v;
}

static void healthy(void **state)
{
    (void)state;
    struct heard h;
    make_database();
    struct hdb_verify v = verify(&h);
    if (h.damages || h.notes)
        fail_msg("%s", h.all);
    assert_int_equal(v.dates, 3);
    assert_int_equal(v.tables, 6);
    assert_int_equal(v.ready, 6);
    assert_int_equal(v.hashed, 6);
    assert_int_equal(v.rows, 3 * ROWS - 300 + 1500);
    struct hdb *db = hdb_open(hk_dir, &err);
    struct hdb_verify one = {.one_date = true, .date = DAY, .table = "trade"};
    HK_OK(hdb_verify(db, &one, &err));
    assert_int_equal(one.tables, 1);
    assert_int_equal(one.hashed, 0);
    one = (struct hdb_verify){.one_date = true, .date = DAY, .table = "trades"};
    assert_false(hdb_verify(db, &one, &err));
    assert_int_equal(err.code, -ENOENT);
    one = (struct hdb_verify){.one_date = true, .date = DAY + 9};
    assert_false(hdb_verify(db, &one, &err));
    assert_int_equal(err.code, -ENOENT);
    hdb_close(db);
}

/* The reader takes the side index when it fits the columns, and computes one when it does not. */
static void side_index(void **state)
{
    (void)state;
    static const struct hdb_group stale[] = {{1, 0, 10}, {3, 10, ROWS - 10}};
    for (int kind = 0; kind < 3; kind++) {
        make_database();
        if (kind == 1)
            HK_OK(hdb_index_write(hk_io, hk_path("2026.11.23/trade"), stale, 2, ROWS, true, false,
                                  &err));
        else if (kind == 2)
            unlink(hk_path("2026.11.23/trade/.pstpart"));
        struct hdb *db = hdb_open(hk_dir, &err);
        const struct hdb_table *t = hdb_table_get(db, "trade", &err);
        const struct hdb_part *p = hdb_part_get(t, DAY, &err);
        const struct hdb_index *x = hdb_part_index(p, &err);
        struct hdb_figures f;
        hdb_figures(db, &f);
        assert_int_equal(f.columns_open, kind ? 2 : 1); /* sym; and time only to compute */
        assert_int_equal(x->ngroups, 5);
        assert_true(x->time_sorted);
        assert_int_equal(hdb_index_find(x, PST_NULL_LONG)->rows, 10);
        assert_int_equal(hdb_index_find(x, 1)->first, 10);
        assert_int_equal(p->meta->rows, ROWS);
        hdb_part_put(p);
        hdb_table_put(t);
        hdb_close(db);
        drop_database();
    }
}

/* Writes bytes into a file, or cuts it. */
static void poke(const char *file, long at, const void *bytes, size_t n)
{
    FILE *f = fopen(hk_path("2026.11.24/trade/%s", file), "r+b");
    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    fwrite(bytes, 1, n, f);
    fclose(f);
}
static void poke64(const char *file, long at, int64_t v)
{
    poke(file, at, &v, 8);
}
static void cut(const char *file, long n)
{
    assert_int_equal(truncate(hk_path("2026.11.24/trade/%s", file), n), 0);
}
static void gone(const char *file)
{
    assert_int_equal(unlink(hk_path("2026.11.24/trade/%s", file)), 0);
}
static void append(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "ab");
    fwrite(text, 1, n, f);
    fclose(f);
}

#define AT_SYM(row)  (4096 + 8 * (row))
#define AT_LONG(row) (16 + 8 * (row))
static void d_names_gone(void)
{
    gone(".d");
}
static void d_names_cut(void)
{
    cut(".d", 20);
}
static void d_names_twice(void)
{
    static const char *const n[] = {"time", "sym", "size", "flag", "note", "size"};
    hk_names(hk_path("2026.11.24/trade"), n, 6);
}
static void d_column_gone(void)
{
    gone("size");
}
static void d_column_cut(void)
{
    cut("size", 5000);
}
static void d_column_longer(void)
{
    append(hk_path("2026.11.24/trade/size"), "12345678", 8);
}
static void d_header(void)
{
    poke("size", 0, "\0", 1);
}
static void d_type_code(void)
{
    poke("size", 2, "\x3", 1);
}
static void d_count_less(void)
{
    poke64("time", 8, 2000);
    cut("time", AT_LONG(2000));
}
static void d_text_gone(void)
{
    gone("note#");
}
static void d_text_cut(void)
{
    cut("note#", 100);
}
static void d_ends(void)
{
    poke64("note", AT_LONG(50), 1);
}
static void d_boolean(void)
{
    poke("flag", 16 + 77, "\2", 1);
}
static void d_enum_high(void)
{
    poke64("sym", AT_SYM(100), 4);
}
static void d_enum_negative(void)
{
    poke64("sym", AT_SYM(100), -1);
}
static void d_enum_page(void)
{
    poke("sym", 4082, "\0", 1);
}
static void d_type_change(void)
{
    float v[ROWS] = {0};
    hk_column(hk_path("2026.11.24/trade"), "size", PST_REAL, v, ROWS - 100, 0);
}
static void d_order_time(void)
{
    poke64("time", AT_LONG(1000), (DAY + 1) * PST_DAY_NS);
}
static void d_order_text(void) /* IBM and MSFT change places: grouped, but not by text */
{
    for (int i = 0; i < ROWS - 100; i++) {
        int64_t c = i < 10 ? PST_NULL_LONG : in_order[(i - 10) * 4 / (ROWS - 110)];
        poke64("sym", AT_SYM(i), c == 2 ? 0 : c == 0 ? 2 : c);
    }
}
static void d_order_claim(void)
{
    poke64("size", AT_LONG(9), 3);
}
static void d_meta_byte(void)
{
    poke(".pstmeta", 20, "?", 1);
}
static void d_meta_rows(void)
{
    struct hdb_meta m;
    int dir = open(hk_path("2026.11.24/trade"), O_RDONLY);
    HK_OK(hdb_meta_read(&m, dir, "x", &err));
    close(dir);
    m.rows--;
    HK_OK(hdb_meta_write(&m, hk_io, hk_path("2026.11.24/trade"), false, false, &err));
}
static void d_meta_other(void)
{
    struct hdb_meta m;
    int dir = open(hk_path("2026.11.25/trade"), O_RDONLY);
    HK_OK(hdb_meta_read(&m, dir, "x", &err));
    close(dir);
    m.rows = ROWS - 100;
    HK_OK(hdb_meta_write(&m, hk_io, hk_path("2026.11.24/trade"), false, false, &err));
}
static void d_meta_columns(void)
{
    struct hdb_meta m;
    int dir = open(hk_path("2026.11.24/trade"), O_RDONLY);
    HK_OK(hdb_meta_read(&m, dir, "x", &err));
    close(dir);
    m.ncols--;
    HK_OK(hdb_meta_write(&m, hk_io, hk_path("2026.11.24/trade"), false, false, &err));
}
static void d_meta_time(void)
{
    struct hdb_meta m;
    int dir = open(hk_path("2026.11.24/trade"), O_RDONLY);
    HK_OK(hdb_meta_read(&m, dir, "x", &err));
    close(dir);
    m.time_min++;
    HK_OK(hdb_meta_write(&m, hk_io, hk_path("2026.11.24/trade"), false, false, &err));
}
static void d_index_byte(void)
{
    poke(".pstpart", 70, "\1", 1);
}
static void d_index_stale(void)
{
    static const struct hdb_group g[] = {{PST_NULL_LONG, 0, 10}, {1, 10, ROWS - 110}};
    HK_OK(hdb_index_write(hk_io, hk_path("2026.11.24/trade"), g, 2, ROWS - 100, true, false, &err));
}
static void d_value(void)
{
    poke64("time", AT_LONG(2), (DAY + 1) * PST_DAY_NS + 1001);
}
static void d_text(void)
{
    poke("note#", 3, "X", 1);
}
static void d_torso(void)
{
    hk_mkdirs(hk_path("2026.11.24/bars"));
}
static void d_sym_twice(void)
{
    append(hk_path("sym"), "IBM\0", 4);
}
static void d_sym_gone(void)
{
    unlink(hk_path("sym"));
}
static void d_sym_short(void)
{
    assert_int_equal(truncate(hk_path("sym"), 8 + 5 + 2), 0);
}

static void damages(void **state)
{
    (void)state;
    static const struct {
        void (*make)(void);
        const char *what, *says;
    } t[] = {
        {d_names_gone, "names", "has no .d"},
        {d_names_cut, "names", "no list of columns"},
        {d_names_twice, "names", "names size twice"},
        {d_column_gone, "file", "No such file"},
        {d_column_cut, "file", "has bytes for"},
        {d_column_longer, "file", "8 bytes behind its last value"},
        {d_header, "file", "no kind of kdb+ file"},
        {d_type_code, "file", "type 3"},
        {d_count_less, "length", "has 2000 rows"},
        {d_text_gone, "file", "note#"},
        {d_text_cut, "file", "end at byte"},
        {d_ends, "file", "do not ascend"},
        {d_boolean, "type", "row 77 is 2"},
        {d_enum_high, "enumeration", "the first is 4 in row 100"},
        {d_enum_negative, "enumeration", "the first is -1"},
        {d_enum_page, "file", "damaged"},
        {d_type_change, "type", "cannot be read as the other"},
        {d_order_time, "order", "not ordered"},
        {d_order_text, "order", "not ordered"},
        {d_order_claim, "order", "claims to be sorted; row 9"},
        {d_meta_byte, "meta", "checksum"},
        {d_meta_rows, "length", ".pstmeta says 2899"},
        {d_meta_other, "meta", "of 2026.11.25"},
        {d_meta_columns, "meta", "other columns"},
        {d_meta_time, "meta", "outside the range"},
        {d_index_byte, "index", "checksum"},
        {d_index_stale, "index", "not the index"},
        {d_value, "hash", "rows hash to"},
        {d_text, "hash", "rows hash to"},
        {d_torso, "names", "has no .d"},
        {d_sym_twice, "sym", "'IBM' stands twice"},
        {d_sym_gone, "sym", "No such file"},
        {d_sym_short, "enumeration", "not in sym, which has 2 names"},
    };
    for (unsigned i = 0; i < PST_COUNT(t); i++) {
        struct heard h;
        make_database();
        t[i].make();
        verify(&h);
        char want[100];
        snprintf(want, sizeof want, "%s: ", t[i].what);
        if (!h.damages || !strstr(h.all, want) || !strstr(h.all, t[i].says))
            fail_msg("damage %u (%s, '%s') gave:\n%s", i, t[i].what, t[i].says, h.all);
        drop_database();
    }
}

/* q's own database: nothing is damaged, it is p# ready, and not ours. */
static struct hdb_checked seen;
static void keep(void *arg, const struct hdb_checked *c)
{
    (void)arg;
    seen = *c;
}
static void real_kdb(void **state)
{
    (void)state;
    DATA_OR_SKIP("a database written by kdb+");
    struct heard h = {0};
    struct hdb *db = hdb_open(data_path("kdb/hdb-2021"), &err);
    struct hdb_verify v = {.hash = true, .found = hear, .checked = keep, .arg = &h};
    HK_OK(hdb_verify(db, &v, &err));
    if (h.damages)
        fail_msg("%s", h.all);
    assert_int_equal(seen.rows, 10);
    assert_true(seen.parted && !seen.ours && !seen.hashed);
    assert_false(seen.ordered == false && seen.parted == false);
    hdb_close(db);
}

/* ---- add-column ---- */

static void steps(void *arg, const char *sentence)
{
    unsigned *n = arg;
    assert_true(*sentence);
    ++*n;
}

static bool add(struct io *io, const char *table, const char *name, uint8_t type, const void *value,
                uint32_t len, struct hdb_work *w)
{
    static unsigned n;
    struct hdb *db = hdb_open(hk_dir, &err);
    assert_non_null(db);
    *w = (struct hdb_work){.io = io, .hdb = db, .step = steps, .arg = &n, .dry_run = w->dry_run};
    bool ok = hdb_add_column(w, table, name, type, value, len, &err);
    hdb_close(db);
    return ok;
}

/* The table's columns by the other reader; -1: the new one is not there, else its rows that equal
 * `cell`. */
static int added_rows(int date, const char *name, const char *cell)
{
    struct kdbread_table t;
    char why[300], dir[300], got[100];
    snprintf(dir, sizeof dir, "%s/2026.11.%d/trade", hk_dir, date);
    if (!kdbread_table(hk_dir, dir, &t, why))
        fail_msg("%s", why);
    int n = -1;
    for (size_t c = 0; c < t.ncols; c++)
        if (!strcmp(t.col[c].name, name)) {
            n = 0;
            for (size_t r = 0; r < t.rows; r++) {
                kdbread_cell(&t, c, r, got, sizeof got);
                n += !strcmp(got, cell);
            }
        }
    kdbread_table_free(&t);
    return n;
}

static void add_column(void **state)
{
    (void)state;
    struct hdb_work w = {0};
    struct heard h;
    make_database();
    int32_t one = 1;
    int64_t ibm = 2;
    const double half = 0.5;
    HK_OK(add(hk_io, "trade", "lot", PST_INT, NULL, 0, &w));
    assert_int_equal(w.dates, 3);
    assert_int_equal(w.rows, 3 * ROWS - 300);
    assert_int_equal(added_rows(23, "lot", "0N"), ROWS);
    assert_int_equal(added_rows(25, "lot", "0N"), ROWS - 200);
    struct hdb_verify v = verify(&h); /* nulls leave the content hash as it is */
    if (h.damages)
        fail_msg("%s", h.all);
    assert_int_equal(v.hashed, 6);
    HK_OK(add(hk_io, "trade", "lot", PST_INT, NULL, 0, &w)); /* again */
    assert_int_equal(w.dates, 0);
    assert_int_equal(w.already, 3);
    HK_OK(add(hk_io, "trade", "px", PST_FLOAT, &half, 0, &w));
    HK_OK(add(hk_io, "trade", "n", PST_INT, &one, 0, &w));
    HK_OK(add(hk_io, "trade", "ref", PST_SYMBOL, &ibm, 0, &w));
    HK_OK(add(hk_io, "trade", "why", PST_STRING, "because", 7, &w));
    HK_OK(add(hk_io, "trade", "nil", PST_STRING, NULL, 0, &w));
    HK_OK(add(hk_io, "trade", "id", PST_GUID, NULL, 0, &w));
    assert_int_equal(added_rows(24, "px", "0.5"), ROWS - 100);
    assert_int_equal(added_rows(24, "n", "1"), ROWS - 100);
    assert_int_equal(added_rows(24, "ref", "IBM"), ROWS - 100);
    assert_int_equal(added_rows(24, "why", "because"), ROWS - 100);
    assert_int_equal(added_rows(24, "nil", ""), ROWS - 100);
    v = verify(&h);
    if (h.damages)
        fail_msg("%s", h.all);
    assert_int_equal(v.hashed, 3); /* the quotes' */
    assert_int_equal(v.unhashed, 3);
    assert_false(add(hk_io, "trade", "lot", PST_LONG, NULL, 0, &w));
    assert_int_equal(err.code, -EEXIST);
    assert_non_null(strstr(err.text, "of type int"));
    static const char *const bad[] = {"", "1a", "a b", "a/b", "../x", "date", "a$", ".d"};
    for (unsigned i = 0; i < PST_COUNT(bad); i++)
        assert_false(add(hk_io, "trade", bad[i], PST_INT, NULL, 0, &w));
    assert_false(add(hk_io, "bars", "lot", PST_INT, NULL, 0, &w));
    assert_false(add(hk_io, "trade", "z", 15, NULL, 0, &w));
    w.dry_run = true;
    HK_OK(add(hk_io, "quote", "lot", PST_INT, NULL, 0, &w));
    assert_int_equal(w.dates, 3);
    assert_false(hk_there(hk_path("2026.11.23/quote/lot")));
    /* a date where it stands with another type stops it before anything is changed */
    int64_t v8[500] = {0};
    static const char *const six[] = {"time", "sym", "size", "flag", "note", "lot"};
    hk_column(hk_path("2026.11.25/quote"), "lot", PST_LONG, v8, 500, 0);
    hk_names(hk_path("2026.11.25/quote"), six, 6);
    w.dry_run = false;
    assert_false(add(hk_io, "quote", "lot", PST_INT, NULL, 0, &w));
    assert_false(hk_there(hk_path("2026.11.23/quote/lot")));
    drop_database();
}

static void add_column_killed(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        const char *value, *cell;
    } k[] = {{PST_INT, NULL, "0N"}, {PST_STRING, "why", "why"}};
    for (unsigned i = 0; i < 2; i++) {
        bool finished = false;
        unsigned n = 1;
        for (; !finished; n++) {
            struct mortal_io m;
            struct hdb_work w = {0};
            struct heard h;
            make_database();
            struct io *io = mortal_make(&m, hk_io, n);
            finished = add(io, "trade", "more", k[i].type, k[i].value, 3, &w);
            for (int d = 0; d < 3; d++) { /* each date has it whole, or not at all */
                int rows = added_rows(23 + d, "more", k[i].cell);
                assert_true(rows == -1 || rows == ROWS - 100 * d);
                assert_true(!finished || rows != -1);
            }
            HK_OK(add(hk_io, "trade", "more", k[i].type, k[i].value, 3, &w)); /* it goes on */
            for (int d = 0; d < 3; d++)
                assert_int_equal(added_rows(23 + d, "more", k[i].cell), ROWS - 100 * d);
            verify(&h);
            if (h.damages)
                fail_msg("killed before operation %u:\n%s", n, h.all);
            drop_database();
            assert_true(n < 100);
        }
        assert_true(n > 20);
    }
}

/* ---- drop-before, fill ---- */

static unsigned dates_now(void)
{
    const int32_t *d;
    struct hdb *db = hdb_open(hk_dir, &err);
    unsigned n = hdb_dates(db, &d);
    hdb_close(db);
    return n;
}

static void drop(void **state)
{
    (void)state;
    bool finished = false;
    for (unsigned n = 1; !finished; n++) {
        struct mortal_io m;
        struct heard h;
        struct hdb_cleaned done;
        make_database();
        struct hdb *db = hdb_open(hk_dir, &err);
        struct hdb_work w = {.io = mortal_make(&m, hk_io, n), .hdb = db, .dry_run = true};
        HK_OK(hdb_drop_before(&w, DAY + 2, &err));
        assert_int_equal(w.dates, 2);
        assert_true(w.bytes > 2 * ROWS * 30);
        assert_int_equal(dates_now(), 3);
        assert_int_equal(m.changes, 0);
        w.dry_run = false;
        finished = hdb_drop_before(&w, DAY + 2, &err) && m.changes < n;
        verify(&h); /* a date is whole or gone */
        if (h.damages)
            fail_msg("killed before operation %u:\n%s", n, h.all);
        HK_OK(hdb_clean(hk_io, db, &done, NULL, NULL, &err));
        HK_OK(hdb_refresh(db, &err));
        w.io = hk_io;
        HK_OK(hdb_drop_before(&w, DAY + 2, &err));
        assert_int_equal(dates_now(), 1);
        assert_false(hk_there(hk_path("2026.11.23$")));
        assert_false(hk_there(hk_path("2026.11.24$.mark$")));
        hdb_close(db);
        drop_database();
        assert_true(n < 200);
    }
}

static void fill(void **state)
{
    (void)state;
    struct heard h;
    make_database();
    make_table(DAY + 1, "bars", 100);
    HK_OK(hdb_remove_tree(hk_io, hk_path("2026.11.23/quote"), &err));
    verify(&h);
    assert_int_equal(h.damages, 0);
    assert_int_equal(h.notes, 3); /* quote on the 23rd, bars on the 23rd and 25th */
    struct hdb *db = hdb_open(hk_dir, &err);
    struct hdb_work w = {.io = hk_io, .hdb = db, .dry_run = true};
    HK_OK(hdb_fill(&w, &err));
    assert_int_equal(w.tables, 3);
    assert_false(hk_there(hk_path("2026.11.23/bars")));
    w = (struct hdb_work){.io = hk_io, .hdb = db};
    HK_OK(hdb_fill(&w, &err));
    assert_int_equal(w.tables, 3);
    assert_int_equal(w.dates, 2);
    hdb_close(db);
    struct hdb_verify v = verify(&h);
    if (h.damages || h.notes)
        fail_msg("%s", h.all);
    assert_int_equal(v.tables, 9);
    drop_database();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, hk_setup, hk_teardown)
    const struct CMUnitTest tests[] = {
        T(healthy),    T(side_index),        T(damages), T(real_kdb),
        T(add_column), T(add_column_killed), T(drop),    T(fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
