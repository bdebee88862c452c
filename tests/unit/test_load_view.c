/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQL over a day that is still in memory and into which a batch was loaded: the rows of both, each
 * once, before and after the end of day has merged them; and never half of a publication.
 */
#include <fcntl.h>
#include "batch_kit.h"
#include "storage/query/query.h"
#include "storage/query/result.h"
#include "storage/query/view_db.h"

static const struct column_def columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"v", PST_INT}, {"w", PST_LONG}};

struct rig {
    struct kit load; /* rows of files, and the database */
    struct wk live;  /* rows in memory */
    const struct schema *s[2], *t[2];
    struct symbols syms;
    struct view_db *db;
    struct cut *cut;
};

static void rows(struct rig *r, struct wk *k, const struct schema *const *s, uint32_t n)
{
    (void)r;
    for (unsigned i = 0; i < 2; i++) {
        for (uint32_t j = 0; j < n; j++)
            wk_row(k, s[i], (uint32_t)(wk_next(k) % 30),
                   (int64_t)(wk_next(k) % 1000000) + LK_DAY * 86400000000000ll);
        wk_frame(k, FRAME_DATA, LK_DAY);
    }
}

static void open_rig(struct rig *r)
{
    struct err err;
    memset(r, 0, sizeof *r);
    kit_open(&r->load);
    wk_open(&r->live);
    r->live.seed = 12345;
    for (uint16_t i = 0; i < 2; i++) { /* t, and k with one row a symbol */
        r->s[i] =
            wk_schema_keys(&r->load.k, 2 + i, i ? "k" : "t", false, columns, PST_COUNT(columns), i);
        r->t[i] =
            wk_schema_keys(&r->live, 2 + i, i ? "k" : "t", false, columns, PST_COUNT(columns), i);
    }
    assert_true(symbols_create(&r->syms, 1000, &err));
    for (uint32_t i = 0; i < WK_SYMBOLS; i++)
        assert_true(
            symbols_restore(&r->syms, i, r->live.text[i], (uint32_t)strlen(r->live.text[i])));
    r->db = view_db_new(rdb_map_of(r->live.rdb), &r->syms, r->load.hdb, &err);
    assert_non_null(r->db);
}

static void close_rig(struct rig *r)
{
    view_db_free(r->db);
    free(r->cut);
    symbols_close(&r->syms);
    wk_close(&r->live);
    kit_close(&r->load);
}

static void cut(struct rig *r, uint64_t epoch)
{
    static struct rdb_cut rc;
    const struct rdb_map *map = rdb_map_of(r->live.rdb);
    struct rdb_part_name n;
    struct err err;
    rdb_publish(r->live.rdb);
    assert_true(rdb_cut_read(map, &rc));
    free(r->cut);
    r->cut = calloc(1, CUT_BYTES(rc.nparts, 0));
    r->cut->magic = CUT_MAGIC;
    r->cut->epoch = epoch;
    for (uint32_t i = 0; i < rc.nparts; i++)
        if (rdb_part_name(map, i, rc.part[i].generation, &n))
            r->cut->part[r->cut->nparts++] = (struct cut_part){i, n.table, n.day, rc.part[i].rows};
    r->cut->bytes = (uint32_t)CUT_BYTES(r->cut->nparts, 0);
    if (!view_db_cut(r->db, r->cut, &err))
        fail_msg("%s", err.text);
}

static struct result *ask(struct rig *r, const char *sql, int code)
{
    struct query_env env = {.tables = view_db_catalogue(r->db)};
    struct query_request q = {.sql = sql, .len = strlen(sql), .limits = {.threads = 2}};
    struct query_error e = {0};
    struct result *out = NULL;
    bool ok = query_run(&env, &q, &out, &e);
    if (code)
        assert_true(!ok && (int)e.code == code);
    else if (!ok)
        fail_msg("%s: %s", sql, e.text);
    return out;
}

static int64_t number(struct rig *r, const char *sql)
{
    struct result *out = ask(r, sql, 0);
    assert_int_equal(out->rows, 1);
    int64_t v = ((const int64_t *)out->col[0].data)[0];
    result_free(out);
    return v;
}

/* The sum of w over the rows; keyed: the last of each symbol, files before memory. */
static int64_t sum(struct rig *r, const char *table, bool live, bool loaded, int64_t *n)
{
    struct wk *k[2] = {&r->load.k, &r->live};
    int64_t total = 0, last[WK_SYMBOLS] = {0};
    bool seen[WK_SYMBOLS] = {false};
    *n = 0;
    for (unsigned i = 0; i < 2; i++)
        for (uint32_t j = 0; (i ? live : loaded) && j < k[i]->rows; j++) {
            const struct wk_row *x = &k[i]->row[j];
            const char *w = x->cell[3];
            int64_t v = strcmp(w, "0N") ? strtoll(w, NULL, 10) % 1000003 : 0;
            if (strcmp(x->s->name, table) != 0)
                continue;
            if (*table == 't') {
                total += v;
                ++*n;
            }
            *n += *table == 'k' && !seen[x->sym];
            seen[x->sym] = true;
            last[x->sym] = v;
        }
    for (uint32_t i = 0; *table == 'k' && i < WK_SYMBOLS; i++)
        total += last[i];
    return total;
}

static void both(struct rig *r, bool live, bool loaded)
{
    static const char *const tables[] = {"t", "k"};
    for (unsigned i = 0; i < 2; i++) {
        char sql[200];
        int64_t n, total = sum(r, tables[i], live, loaded, &n);
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tables[i]);
        assert_int_equal(number(r, sql), n);
        snprintf(sql, sizeof sql, "SELECT sum(coalesce(w, 0) %% 1000003)::long FROM %s", tables[i]);
        assert_int_equal(number(r, sql), total);
        uint32_t of_one = 0;
        for (unsigned k = 0; k < 2; k++) {
            const struct wk *w = k ? &r->live : &r->load.k;
            for (uint32_t j = 0; (k ? live : loaded) && j < w->rows; j++)
                of_one += w->row[j].sym == 7 && !strcmp(w->row[j].s->name, tables[i]);
        }
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE sym = '%s'", tables[i],
                 r->live.text[7]);
        assert_int_equal(number(r, sql), i && of_one ? 1 : of_one);
    }
}

/* LATEST BY sym: the row of the highest time, wherever it lies; of equal ones, what came last. */
static void latest(struct rig *r)
{
    struct wk *k[2] = {&r->load.k, &r->live};
    const struct wk_row *last[WK_SYMBOLS] = {NULL};
    uint64_t n = 0;
    for (unsigned i = 0; i < 2; i++)
        for (uint32_t j = 0; j < k[i]->rows; j++) {
            const struct wk_row *x = &k[i]->row[j];
            if (*x->s->name != 't')
                continue;
            n += !last[x->sym];
            if (!last[x->sym] || x->time >= last[x->sym]->time)
                last[x->sym] = x;
        }
    struct result *out = ask(r, "SELECT sym, time, v FROM t LATEST BY sym", 0);
    assert_int_equal(out->rows, n);
    for (uint64_t i = 0; i < n; i++) {
        uint32_t code = ((const uint32_t *)out->col[0].data)[i];
        int len = (int)(out->syms.at[code + 1] - out->syms.at[code]);
        uint32_t s = 0;
        while (s < WK_SYMBOLS &&
               (strncmp(r->live.text[s], out->syms.chars + out->syms.at[code], (size_t)len) != 0 ||
                r->live.text[s][len]))
            s++;
        assert_true(s < WK_SYMBOLS && last[s]);
        assert_int_equal(((const int64_t *)out->col[1].data)[i], last[s]->time);
        int32_t v = ((const int32_t *)out->col[2].data)[i];
        char *text = wk_integer(v, v == PST_NULL_INT);
        assert_string_equal(text, last[s]->cell[2]);
        free(text);
    }
    result_free(out);
}

static void merge(struct rig *r)
{
    struct writedown_job j;
    struct writedown_table tables[2];
    struct writedown_part parts[16];
    static const char *const names[] = {"t", "k"};
    struct hdb *was = r->live.hdb;
    unsigned nparts;
    wk_job(&r->live, &j, tables, names, 2, parts, &nparts);
    j.epoch = 3;
    j.sym = &r->load.sym;
    r->live.hdb = r->load.hdb;
    wk_open_writedown(&r->live);
    wk_run_job(&r->live, &j);
    writedown_destroy(r->live.w);
    r->live.w = NULL;
    r->live.hdb = was;
}

static void a_batch_of_today(void **state)
{
    (void)state;
    static struct rig r;
    struct view_db_limits l = {.memory_only = true};
    open_rig(&r);
    rows(&r, &r.live, r.t, 500);
    cut(&r, 0);
    both(&r, true, false);
    rows(&r, &r.load.k, r.s, 300);
    kit_file(&r.load, 0, r.load.k.rows);
    kit_load(&r.load, r.s, 2);
    cut(&r, 0); /* taken before control counted it */
    ask(&r, "SELECT count(*) FROM t", QUERY_RETRY);
    cut(&r, 1);
    both(&r, true, true);
    latest(&r);
    view_db_limit(r.db, &l);
    cut(&r, 1);
    both(&r, true, false);
    l = (struct view_db_limits){.database_only = true};
    view_db_limit(r.db, &l);
    cut(&r, 1);
    both(&r, false, true);
    view_db_limit(r.db, NULL);
    merge(&r); /* both are in the partition; memory has not left yet */
    cut(&r, 2);
    ask(&r, "SELECT count(*) FROM t", QUERY_RETRY);
    cut(&r, 3);
    both(&r, true, true);
    latest(&r);
    close_rig(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_batch_of_today)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
