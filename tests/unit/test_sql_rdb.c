/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQL over the RDB's memory where it matters that it is the RDB: keyed tables, row lists, cuts. All
 * answers are compared with a walk over the rows as they were put in.
 */
#include "rdb_kit.h"

#include "storage/query/query.h"
#include "storage/query/result.h"
#include "storage/query/view_db.h"

enum { TABLE = 2, NEXT, NAMES = 40, ROWS = 6000, FRAME_ROWS = 200 };

struct put { /* a row as it was put in, in order of arrival */
    uint16_t day, table;
    uint32_t sym;
    int32_t k;
};

struct rig {
    struct rk rk;
    struct symbols syms;
    struct view_db *db;
    struct cut *cut;
    struct put row[ROWS];
    uint32_t rows;
};

static void rig_open(struct rig *r)
{
    struct err err;
    r->rows = 0;
    rk_open(&r->rk, 32, NULL);
    assert_true(symbols_create(&r->syms, 1000, &err));
    for (uint32_t i = 0; i < NAMES; i++) {
        char text[8];
        assert_true(symbols_restore(&r->syms, i, text, (uint32_t)sprintf(text, "n%02u", i)));
    }
    r->db = view_db_new(rdb_map_of(r->rk.r), &r->syms, NULL, &err);
    assert_non_null(r->db);
    r->cut = NULL;
}

static void rig_close(struct rig *r)
{
    view_db_free(r->db);
    free(r->cut);
    symbols_close(&r->syms);
    rk_close(&r->rk);
}

/* keys: bit 0 sym, bit 1 k */
static const struct schema *table(struct rig *r, uint16_t id, unsigned keys, bool more)
{
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP},
                                             {"sym", PST_SYMBOL},
                                             {"k", PST_INT},
                                             {"v", PST_LONG},
                                             {"more", PST_FLOAT}};
    struct schema s;
    assert_true(schema_make(&s, id, "t", false, cols, more ? 5 : 4, NULL));
    for (uint16_t c = 1; c <= 2; c++)
        if (keys & c)
            s.keys[s.nkeys++] = c;
    assert_true(schema_set_add(r->rk.set, &s, NULL));
    return schema_set_get(r->rk.set, id);
}

/* v is the number of the row; every 20th row has no symbol; times ascend if asked. */
static void fill(struct rig *r, const struct schema *s, uint16_t day, uint32_t n, bool ascending)
{
    for (uint32_t i = 0; i < n; i += FRAME_ROWS) {
        pk_clear(&r->rk.pk);
        for (uint32_t j = 0; j < FRAME_ROWS; j++, r->rows++) {
            uint32_t sym = (uint32_t)(rk_next(&r->rk) % NAMES);
            int32_t k = (int32_t)(rk_next(&r->rk) % 5);
            sym = rk_next(&r->rk) % 20 ? sym * sym / NAMES : PST_NULL_SYMBOL;
            uint64_t jitter = ascending ? 0 : rk_next(&r->rk) % 100000;
            uint8_t *at = pk_row(
                &r->rk.pk, s->id, sym,
                (int64_t)day * 86400000000000ll + r->rows * 1000ll + (int64_t)jitter, s->fixed);
            put32(at + s->col[2].offset, (uint32_t)k);
            put64(at + s->col[3].offset, r->rows);
            assert_true(r->rows < ROWS);
            r->row[r->rows] = (struct put){day, s->id, sym, k};
        }
        rk_append(&r->rk, FRAME_DATA, day);
    }
    rdb_publish(r->rk.r);
}

/* The cut of now; `last` rows of the newest part are not in it. */
static void cut(struct rig *r, uint32_t last)
{
    static struct rdb_cut rc;
    struct rdb_part_name n;
    struct err err;
    assert_true(rdb_cut_read(rdb_map_of(r->rk.r), &rc));
    free(r->cut);
    r->cut = calloc(1, CUT_BYTES(rc.nparts, 0));
    assert_non_null(r->cut);
    r->cut->magic = CUT_MAGIC;
    for (uint32_t i = 0; i < rc.nparts; i++)
        if (rdb_part_name(rdb_map_of(r->rk.r), i, rc.part[i].generation, &n)) {
            uint32_t rows = rc.part[i].rows;
            const struct put *newest = &r->row[r->rows - 1];
            if (n.table == newest->table && n.day == newest->day)
                rows -= last;
            r->cut->part[r->cut->nparts++] = (struct cut_part){i, n.table, n.day, rows};
        }
    r->cut->bytes = (uint32_t)CUT_BYTES(r->cut->nparts, 0);
    if (!view_db_cut(r->db, r->cut, &err))
        fail_msg("%s", err.text);
}

static struct result *ask(struct rig *r, const char *sql)
{
    struct query_env env = {.tables = view_db_catalogue(r->db)};
    struct query_request q = {.sql = sql, .len = strlen(sql), .limits = {.threads = 2}};
    struct query_error e = {0};
    struct result *out;
    if (!query_run(&env, &q, &out, &e))
        fail_msg("%s: %s", sql, e.text);
    return out;
}

/* Column 0 of the answer is these row numbers, in this order. */
static void expect(struct rig *r, const char *sql, const uint32_t *want, uint32_t n)
{
    struct result *out = ask(r, sql);
    if (out->rows != n)
        fail_msg("%s: %llu rows, not %u", sql, (unsigned long long)out->rows, n);
    for (uint32_t i = 0; i < n; i++)
        if (result_int(out, 0, i) != (int64_t)want[i])
            fail_msg("%s: row %u is %lld, not %u", sql, i, (long long)result_int(out, 0, i),
                     want[i]);
    result_free(out);
}

/* ---- keyed tables ---- */

static bool same_key(const struct put *a, const struct put *b, unsigned keys)
{
    return a->day == b->day && (!(keys & 1) || a->sym == b->sym) && (!(keys & 2) || a->k == b->k);
}

/* One row a key and day, the last: of a table that changed on its first day. */
static void keyed_case(unsigned before, unsigned now, uint32_t first, uint32_t second)
{
    static struct rig r;
    static uint32_t want[ROWS], some[ROWS], early[ROWS];
    rig_open(&r);
    if (first)
        fill(&r, table(&r, TABLE, before, false), LK_DAY, first, false);
    const struct schema *s = table(&r, NEXT, now, true);
    fill(&r, s, LK_DAY, second, false);
    fill(&r, s, LK_DAY + 1, 1000, false);
    cut(&r, 0);
    uint32_t n = 0, nsome = 0, nearly = 0;
    for (uint32_t i = 0; i < r.rows; i++) {
        bool last = true;
        for (uint32_t j = i + 1; j < r.rows && last && now; j++)
            last = !same_key(&r.row[i], &r.row[j], now);
        if (!last)
            continue;
        want[n++] = i;
        if (r.row[i].sym == 3)
            some[nsome++] = i;
        if (i < first)
            early[nearly++] = i;
    }
    assert_true(n > 10 && nsome > 1);
    expect(&r, "SELECT v FROM t", want, n);
    expect(&r, "SELECT v FROM t WHERE sym = 'n03'", some, nsome);
    char sql[200];
    sprintf(sql, "SELECT v FROM t WHERE v < %u", first); /* the condition looks at what is left */
    expect(&r, sql, early, nearly);
    expect(&r, "SELECT count(*) FROM t", &n, 1);
    bool seen[NAMES] = {false};
    uint32_t names = 0;
    for (uint32_t i = 0; i < n; i++)
        if (r.row[want[i]].sym != PST_NULL_SYMBOL && !seen[r.row[want[i]].sym]) {
            seen[r.row[want[i]].sym] = true;
            names++;
        }
    expect(&r, "SELECT count(DISTINCT sym) FROM t", &names, 1);
    if (now == 1) { /* over the days: one row a key by LATEST BY */
        struct result *out = ask(&r, "SELECT sym FROM t LATEST BY sym");
        uint32_t keys = 0;
        bool have[NAMES + 1] = {false};
        for (uint32_t i = 0; i < r.rows; i++) {
            uint32_t c = r.row[i].sym == PST_NULL_SYMBOL ? NAMES : r.row[i].sym;
            keys += !have[c];
            have[c] = true;
        }
        assert_int_equal(out->rows, keys);
        result_free(out);
    }
    rig_close(&r);
}

static void keyed(void **state)
{
    (void)state;
    keyed_case(0, 1, 0, 2000);    /* one version */
    keyed_case(1, 1, 2000, 2000); /* a column more */
    keyed_case(3, 3, 2000, 200);  /* keys of the first version that the second has not */
    keyed_case(1, 3, 2000, 400);  /* other keys */
    keyed_case(3, 1, 1000, 200);
    keyed_case(0, 3, 2000, 200); /* no keys before */
    keyed_case(1, 0, 2000, 200); /* no keys now: every row counts */
}

/* ---- row lists, at cuts that rows have gone beyond ---- */

static void lists_case(struct rig *r, uint32_t beyond)
{
    static uint32_t last[ROWS];
    bool later[NAMES + 1] = {false};
    uint32_t n = 0;
    cut(r, beyond);
    for (uint32_t i = r->rows - beyond; i--;) {
        uint32_t c = r->row[i].sym == PST_NULL_SYMBOL ? NAMES : r->row[i].sym;
        if (!later[c])
            last[ROWS - ++n] = i;
        later[c] = true;
    }
    expect(r, "SELECT v FROM t LATEST BY sym", last + ROWS - n, n);
    uint32_t named = n - later[NAMES];
    expect(r, "SELECT count(DISTINCT sym) FROM t", &named, 1);
    expect(r, "SELECT count(DISTINCT sym) FROM t WHERE date = date '2026-11-23'", &named, 1);
    expect(r, "SELECT count(DISTINCT sym) FROM t WHERE date = date '2026-11-24'", &(uint32_t){0},
           1);
    struct result *out = ask(r, "SELECT v, sym FROM t LATEST BY sym");
    for (uint32_t i = 0; i < n; i++) { /* the symbol is not read, it is known */
        uint32_t want = r->row[result_int(out, 0, i)].sym, len = 0;
        const char *text = result_is_null(out, 1, i) ? "" : result_text(out, 1, i, &len);
        char name[16] = "";
        if (want != PST_NULL_SYMBOL)
            sprintf(name, "n%02u", want);
        assert_int_equal(len, strlen(name));
        assert_memory_equal(text, name, len);
    }
    result_free(out);
}

static void lists(void **state)
{
    (void)state;
    static struct rig r;
    rig_open(&r);
    fill(&r, table(&r, TABLE, 0, false), LK_DAY, 4000, true);
    static const uint32_t beyond[] = {0, 1, 150, 2000, 3950, 3999};
    for (unsigned i = 0; i < PST_COUNT(beyond); i++)
        lists_case(&r, beyond[i]);
    rig_close(&r);
}

/* ---- what a user, a port or a snapshot may see ---- */

static bool not_t(void *arg, const char *table)
{
    return strcmp(table, arg) != 0;
}

static void limits(void **state)
{
    (void)state;
    static struct rig r;
    static uint32_t want[ROWS];
    struct err err = {0};
    rig_open(&r);
    fill(&r, table(&r, TABLE, 0, false), LK_DAY, 4000, false);
    fill(&r, schema_set_get(r.rk.set, TABLE), LK_DAY + 1, 1000, false);
    for (uint32_t i = 0; i < r.rows; i++)
        want[i] = i;
    cut(&r, 0);
    struct view_db_limits l = {.memory_only = true};
    static const uint32_t last[] = {1, 999, 1000, 1001, 4999, 5000, 5001};
    for (unsigned i = 0; i < PST_COUNT(last); i++) {
        uint32_t n = last[i] < r.rows ? last[i] : r.rows, some = 0;
        static uint32_t threes[ROWS];
        l.last = last[i];
        view_db_limit(r.db, &l);
        assert_true(view_db_cut(r.db, r.cut, &err));
        expect(&r, "SELECT v FROM t", want + r.rows - n, n);
        for (uint32_t k = r.rows - n; k < r.rows; k++)
            if (r.row[k].sym == 3)
                threes[some++] = k;
        expect(&r, "SELECT v FROM t WHERE sym = 'n03'", threes, some);
    }
    l = (struct view_db_limits){.database_only = true};
    view_db_limit(r.db, &l);
    assert_true(view_db_cut(r.db, r.cut, &err));
    expect(&r, "SELECT v FROM t", want, 0); /* the table exists, its rows are elsewhere */
    char name[] = "t";
    l = (struct view_db_limits){.may_read = not_t, .arg = name};
    view_db_limit(r.db, &l);
    assert_true(view_db_cut(r.db, r.cut, &err));
    assert_null(view_db_view(r.db, "t", &err));
    assert_int_equal(err.code, -ENOENT);
    const char *const *names;
    assert_int_equal(view_db_tables(r.db, &names), 0);
    view_db_limit(r.db, NULL);
    assert_true(view_db_cut(r.db, r.cut, &err));
    assert_int_equal(view_db_tables(r.db, &names), 1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keyed), cmocka_unit_test(lists),
                                       cmocka_unit_test(limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
