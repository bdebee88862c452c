/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing: new dates, existing tables, a filesystem that cannot exchange, filling; a kill before
 * every operation (old or new, never between; doing it again is right); cleaning; the lock.
 */
#include "hdb_kit.h"
#include "core/tables.h"
#include "mortal_io.h"
#include "support/kdbread.h"

#define DAY 9823 /* 2026.11.23 */

static struct err err;

/* Rows of a published table as the other reader sees them; -1: there is none. */
static int rows_of(const char *table)
{
    struct kdbread_table t;
    char why[300], dir[300];
    snprintf(dir, sizeof dir, "%s/2026.11.23/%s", hk_dir, table);
    if (!hk_there(dir))
        return -1;
    if (!kdbread_table(NULL, dir, &t, why))
        fail_msg("%s", why);
    int n = (int)t.rows;
    kdbread_table_free(&t);
    return n;
}

/* A table `time, sym, size` of n rows in the stage, through its io. */
static bool stage_trade(struct hdb_stage *s, const char *table, int64_t n)
{
    static const char *const names[] = {"time", "sym", "size"};
    static const uint8_t types[] = {PST_TIMESTAMP, PST_SYMBOL, PST_LONG};
    char dir[1200], path[1300];
    int64_t v[64] = {0};
    if (!hdb_stage_table(s, table, dir, &err))
        return false;
    for (int i = 0; i < 3; i++) {
        struct kdb_writer w;
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        if (!kdb_write_open(&w, s->io, path, types[i], &err))
            return false;
        if (!kdb_write_at(&w, 0, v, (uint64_t)n, &err)) {
            kdb_write_abandon(&w);
            return false;
        }
        if (!kdb_write_close(&w, (uint64_t)n, 0, s->files_synced, &err))
            return false;
    }
    return hdb_stage_names(s, table, names, 3, &err);
}

static struct hdb *open_here(void)
{
    struct hdb *h = hdb_open(hk_dir, &err);
    if (!h)
        fail_msg("%s", err.text);
    return h;
}

static bool publish(struct io *io, struct hdb *h, int trade, int quote, struct hdb_stage *s)
{
    return hdb_stage_begin(s, io, h, DAY, "test", &err) &&
           (trade < 0 || stage_trade(s, "trade", trade)) &&
           (quote < 0 || stage_trade(s, "quote", quote)) && hdb_stage_publish(s, &err);
}

static void nothing_left(void)
{
    assert_false(hk_there(hk_path("2026.11.23$")));
    assert_false(hk_there(hk_path("2026.11.23.mark$")));
}

static void new_and_existing(void **state)
{
    (void)state;
    struct hdb_stage s;
    struct hdb *h = open_here();
    HK_OK(publish(hk_io, h, 5, 6, &s));
    assert_true(s.fresh);
    assert_int_equal(rows_of("trade"), 5);
    assert_int_equal(rows_of("quote"), 6);
    nothing_left();
    HK_OK(hdb_refresh(h, &err));
    HK_OK(publish(hk_io, h, 7, -1, &s));
    assert_false(s.fresh);
    assert_int_equal(s.exchanged, 1);
    assert_string_equal(s.note, "");
    assert_int_equal(rows_of("trade"), 7);
    assert_int_equal(rows_of("quote"), 6);
    nothing_left();
    HK_OK(hdb_stage_begin(&s, hk_io, h, DAY, "test", &err)); /* a table that is new to the date */
    HK_OK(stage_trade(&s, "bars", 3));
    HK_OK(hdb_stage_publish(&s, &err));
    assert_int_equal(s.added, 1);
    assert_int_equal(rows_of("bars"), 3);
    HK_OK(hdb_stage_begin(&s, hk_io, h, DAY, "test", &err));
    HK_OK(stage_trade(&s, "trade", 9));
    hdb_stage_abandon(&s);
    assert_int_equal(rows_of("trade"), 7);
    nothing_left();
    hdb_close(h);
}

static void cannot_exchange(void **state)
{
    (void)state;
    struct hdb_stage s;
    struct mortal_io m;
    struct io *io = mortal_make(&m, hk_io, 0);
    struct hdb *h = open_here();
    HK_OK(publish(io, h, 5, 6, &s));
    m.ops.exchange = NULL;
    HK_OK(publish(io, h, 8, 9, &s));
    assert_int_equal(rows_of("trade"), 8);
    assert_int_equal(rows_of("quote"), 9);
    assert_non_null(strstr(s.note, "cannot exchange directories"));
    nothing_left();
    hdb_close(h);
}

static void filling(void **state)
{
    (void)state;
    struct schema a, b, c;
    static const struct column_def every[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"a", PST_BOOLEAN}, {"b", PST_GUID},
        {"c", PST_STRING},       {"d", PST_REAL},     {"e", PST_MINUTE},  {"f", PST_CHAR}};
    static const struct column_def two[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}};
    HK_OK(schema_make(&a, 2, "every", false, every, PST_COUNT(every), &err));
    HK_OK(schema_make(&b, 3, "trade", false, two, 2, &err));
    HK_OK(schema_make(&c, 4, "quote", false, two, 2, &err));
    const struct schema *all[] = {&a, &b, &c};
    struct hdb_meta from = {.calendar = "us", .epoch = 9};
    struct hdb_stage s;
    struct hdb *h = open_here();
    HK_OK(hdb_stage_begin(&s, hk_io, h, DAY, "test", &err));
    HK_OK(stage_trade(&s, "trade", 3));
    HK_OK(hdb_stage_fill(&s, all, 3, &from, &err));
    HK_OK(hdb_stage_publish(&s, &err));
    assert_int_equal(rows_of("every"), 0);
    assert_int_equal(rows_of("trade"), 3);
    assert_int_equal(rows_of("quote"), 0);
    HK_OK(hdb_refresh(h, &err));
    const struct hdb_table *t = hdb_table_get(h, "every", &err);
    assert_int_equal(t->ncols, 8);
    for (unsigned i = 0; i < 8; i++) {
        assert_string_equal(t->col[i].name, every[i].name);
        assert_int_equal(t->col[i].type, every[i].type);
    }
    const struct hdb_part *p = hdb_part_get(t, DAY, &err);
    assert_int_equal(p->rows, 0);
    assert_non_null(p->meta);
    assert_string_equal(p->meta->calendar, "us");
    assert_int_equal(p->meta->epoch, 9);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(hdb_part_column(p, i, &err)->rows, 0);
    assert_int_equal(hdb_part_index(p, &err)->ngroups, 0);
    hdb_part_put(p);
    hdb_table_put(t);
    HK_OK(hdb_stage_begin(&s, hk_io, h, DAY, "test", &err)); /* again: nothing to do */
    HK_OK(hdb_stage_fill(&s, all, 3, &from, &err));
    HK_OK(hdb_stage_publish(&s, &err));
    assert_int_equal(s.added + s.exchanged, 0);
    hdb_close(h);
}

/* Killed before operation n of a publish, for every n; both kinds of date, both ways to exchange.
 */
static void killed(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) { /* new date; existing; existing without exchange */
        bool finished = false;
        unsigned steps = 0, half = 0;
        for (unsigned n = 1; !finished; n++, steps++) {
            struct hdb_stage s;
            struct mortal_io m;
            struct io *io = mortal_make(&m, hk_io, 0);
            struct hdb *h = open_here();
            if (kind) {
                HK_OK(publish(hk_io, h, 5, 6, &s));
                HK_OK(hdb_refresh(h, &err));
            }
            if (kind == 2)
                m.ops.exchange = NULL;
            m.die_at = n;
            finished = publish(io, h, 7, 8, &s) && m.changes < n;
            hdb_close(h);
            /* the next start */
            h = open_here();
            struct hdb_cleaned done;
            HK_OK(hdb_clean(hk_io, h, &done, NULL, NULL, &err));
            nothing_left();
            assert_int_equal(done.foreign, 0);
            int trade = rows_of("trade"), quote = rows_of("quote");
            if (kind) {
                assert_true((trade == 5 || trade == 7) && (quote == 6 || quote == 8));
                half += (trade == 5) != (quote == 6);
            } else {
                assert_true((trade == -1 && quote == -1) || (trade == 7 && quote == 8));
            }
            HK_OK(hdb_refresh(h, &err));
            HK_OK(publish(hk_io, h, 7, 8, &s)); /* doing it again is right */
            assert_int_equal(rows_of("trade"), 7);
            assert_int_equal(rows_of("quote"), 8);
            nothing_left();
            hdb_close(h);
            HK_OK(hdb_remove_tree(hk_io, hk_path("2026.11.23"), &err));
            assert_true(n < 200);
        }
        assert_true(steps > 15);
        assert_true(!kind || half); /* tables go one by one: some kill lies between them */
    }
}

/* One failing operation, disk full: a sentence, and then it works. */
static void failing(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 40; n++) {
        struct hdb_stage s;
        struct mortal_io m;
        struct io *io = mortal_make(&m, hk_io, n);
        struct hdb *h = open_here();
        m.fail_once = true;
        m.fail_code = -ENOSPC;
        if (!publish(io, h, 7, 8, &s)) {
            assert_int_equal(err.code, -ENOSPC);
            assert_non_null(strstr(err.text, "No space left"));
        }
        HK_OK(hdb_refresh(h, &err));
        HK_OK(publish(io, h, 7, 8, &s));
        assert_int_equal(rows_of("trade"), 7);
        hdb_close(h);
        HK_OK(hdb_remove_tree(hk_io, hk_path("2026.11.23"), &err));
    }
}

static unsigned said;
static void say(void *arg, const char *sentence)
{
    said++;
    assert_non_null(strstr(sentence, arg));
}

static void cleaning(void **state)
{
    (void)state;
    struct hdb_cleaned done;
    struct hdb_stage s;
    char foreign[] = "not ours", any[] = "";
    struct hdb *h = open_here();
    hk_mkdirs(hk_path("2026.11.22$/trade")); /* somebody else's */
    HK_OK(hdb_clean(hk_io, h, &done, say, foreign, &err));
    assert_int_equal(done.foreign, 1);
    assert_int_equal(said, 1);
    assert_true(hk_there(hk_path("2026.11.22$/trade")));
    assert_false(hdb_stage_begin(&s, hk_io, h, DAY - 1, "test", &err));
    assert_int_equal(err.code, -EEXIST);
    HK_OK(hdb_remove_tree(hk_io, hk_path("2026.11.22$"), &err));
    hk_mkdirs(hk_path("2026.11.22$")); /* an empty one may go */
    HK_OK(hdb_clean(hk_io, h, &done, say, any, &err));
    assert_false(hk_there(hk_path("2026.11.22$")));
    hdb_close(h);
}

static void one_at_a_time(void **state)
{
    (void)state;
    int a = hdb_lock(hk_io, hk_dir, "an end of day", &err);
    assert_true(a >= 0);
    assert_int_equal(hdb_lock(hk_io, hk_dir, "a verb", &err), -EWOULDBLOCK);
    assert_non_null(strstr(err.text, "is being changed by an end of day (pid "));
    hdb_unlock(hk_io, a);
    int b = hdb_lock(hk_io, hk_dir, "a verb", &err);
    assert_true(b >= 0);
    hdb_unlock(hk_io, b);
    HK_OK(hdb_lockfile_make(hk_io, hk_path("busy"), &err));
    assert_true(hk_there(hk_path("busy")));
    hdb_lockfile_remove(hk_io, hk_path("busy"));
    assert_false(hk_there(hk_path("busy")));
    HK_OK(hdb_lockfile_make(hk_io, NULL, &err));
    assert_false(hdb_lockfile_make(hk_io, hk_path("no/such/dir"), &err));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, hk_setup, hk_teardown)
    const struct CMUnitTest tests[] = {
        T(new_and_existing), T(cannot_exchange), T(filling),       T(killed),
        T(failing),          T(cleaning),        T(one_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
