/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers to kdb+ clients: results as messages and back, requests as JSON, results that a broken
 * query process gives, and the queues with their limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>
#include "daemon.h"
#include "kdb_object.h"
#include "publish/answer_parts.h"
#include "query_kdb.h"
#include "query_result.h"

static int memory(void)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    return fd;
}

/* ---- results as messages ---- */

#define ROWS 3u

static void column(struct result *r, uint32_t i, const char *name, uint8_t type, const void *values)
{
    struct result_column *c = &r->col[i];
    snprintf(c->name, sizeof c->name, "%s", name);
    c->type = type;
    c->data = malloc(ROWS * 16);
    memcpy(c->data, values, ROWS * result_width(type));
}

static struct result *every_type(void)
{
    static const struct {
        const char *name;
        uint8_t type;
    } fixed[] = {{"b", PST_BOOLEAN}, {"x", PST_BYTE},     {"h", PST_SHORT},     {"i", PST_INT},
                 {"j", PST_LONG},    {"c", PST_CHAR},     {"p", PST_TIMESTAMP}, {"m", PST_MONTH},
                 {"d", PST_DATE},    {"n", PST_TIMESPAN}, {"u", PST_MINUTE},    {"v", PST_SECOND},
                 {"t", PST_TIME},    {"g", PST_GUID}};
    static uint8_t bytes[ROWS * 16];
    struct result *r = result_new(PST_COUNT(fixed) + 4);
    r->rows = ROWS;
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + 1);
    uint32_t k = 0;
    for (; k < PST_COUNT(fixed); k++)
        column(r, k, fixed[k].name, fixed[k].type, bytes);
    memcpy(r->col[0].data, "\1\2\0", 3); /* true, NULL, false */
    column(r, k++, "f", PST_FLOAT, (double[]){1.5, (double)NAN, -INFINITY});
    column(r, k++, "e", PST_REAL, (float[]){2.5f, NAN, INFINITY});
    column(r, k++, "s", PST_SYMBOL, (uint32_t[]){1, PST_NULL_SYMBOL, 0});
    r->syms.count = 2;
    r->syms.at = malloc(3 * sizeof *r->syms.at);
    memcpy(r->syms.at, (uint64_t[]){0, 4, 6}, 24);
    r->syms.chars = strdup("AAPLGO");
    struct result_column *c = &r->col[k];
    snprintf(c->name, sizeof c->name, "C");
    c->type = PST_STRING;
    c->at = malloc((ROWS + 1) * sizeof *c->at);
    memcpy(c->at, (uint64_t[]){0, 5, 5, 6}, 32);
    c->chars = strdup("helloX");
    return r;
}

struct check {
    const struct result *r;
    uint32_t base, columns;
};

static bool check_column(void *arg, uint32_t i, const char *name, uint32_t len,
                         const struct kdb_object *o)
{
    struct check *k = arg;
    const struct result_column *c = &k->r->col[i];
    k->columns++;
    assert_int_equal(len, strlen(c->name));
    assert_memory_equal(name, c->name, len);
    assert_int_equal(o->count, k->r->rows);
    assert_int_equal(o->type, c->type == PST_STRING ? KDB_LIST : c->type);
    if (c->type == PST_SYMBOL) {
        static const char *const want[] = {"GO", "", "AAPL"};
        struct kdb_texts t;
        bool more = kdb_texts(o, &t);
        for (unsigned n = 0; n < ROWS; n++, more = kdb_texts_next(&t)) {
            assert_true(more);
            assert_string_equal(t.text, want[n]);
        }
    } else if (c->type == PST_STRING) {
        static const char *const want[] = {"hello", "", "X"};
        struct kdb_items it;
        bool more = kdb_items(o, &it);
        for (unsigned n = 0; n < ROWS; n++, more = kdb_items_next(&it)) {
            assert_true(more);
            assert_int_equal(it.item.type, PST_CHAR);
            assert_int_equal(it.item.count, strlen(want[n]));
            assert_memory_equal(it.item.data, want[n], it.item.count);
        }
    } else if (c->type == PST_FLOAT) {
        uint64_t bits = le64(o->data + 8);
        assert_true(kdb_object_double(o, 0) == 1.5 && bits == PST_NULL_FLOAT_BITS);
    } else if (c->type == PST_REAL) {
        assert_true(le32(o->data) == 0x40200000 && le32(o->data + 4) == PST_NULL_REAL_BITS);
    } else if (c->type == PST_BOOLEAN) {
        assert_memory_equal(o->data, "\1\0\0", 3);
    } else {
        assert_memory_equal(o->data, c->data, ROWS * result_width(c->type));
    }
    return true;
}

static uint8_t *bytes_of(int fd, uint64_t n)
{
    uint8_t *p = malloc(n + 1);
    assert_int_equal(pread(fd, p, n, 0), n);
    return p;
}

/* The object of the message at p. */
static struct kdb_object object_of(const uint8_t *p, uint64_t n, uint8_t kind)
{
    struct kdb_frame f;
    struct kdb_object o;
    const char *why;
    size_t size;
    assert_int_equal(kdb_frame_read(&f, p, &why), KDB_OK);
    assert_int_equal(f.length, n);
    assert_int_equal(f.kind, kind);
    assert_int_equal(kdb_object_check(p + KDB_FRAME, n - KDB_FRAME, KDB_LITTLE, &size, &why),
                     KDB_OK);
    assert_int_equal(size, n - KDB_FRAME);
    kdb_object_view(&o, p + KDB_FRAME, KDB_LITTLE);
    return o;
}

static void tables(void **state)
{
    (void)state;
    for (uint32_t nkeys = 0; nkeys < 3; nkeys++) {
        struct result *r = every_type();
        struct query_kdb k;
        struct err err = {0};
        uint64_t n;
        uint32_t messages;
        int fd = memory();
        assert_true(query_kdb_begin(&k, fd, 1 << 20, NULL, &err));
        query_kdb_table(&k, r, nkeys);
        assert_true(query_kdb_finish(&k, &n, &messages, &err));
        assert_int_equal(messages, 1);
        assert_int_equal(fcntl(fd, F_GET_SEALS), QUERY_RESULT_SEALS);
        uint8_t *p = bytes_of(fd, n);
        struct kdb_object o = object_of(p, n, KDB_RESPONSE);
        struct kdb_table t;
        struct check c = {.r = r};
        assert_true(kdb_table_view(&t, &o, &err));
        assert_int_equal(t.nkeys, nkeys);
        assert_int_equal(t.rows, ROWS);
        assert_true(kdb_table_each(&t, check_column, &c));
        assert_int_equal(c.columns, r->ncols);
        free(p);
        result_free(r);
        close(fd);
    }
}

static void atoms_and_dictionaries(void **state)
{
    (void)state;
    static const uint8_t long_seven[] = {1, 2, 0, 0, 17, 0, 0, 0, 0xf9, 7, 0, 0, 0, 0, 0, 0, 0};
    struct query_kdb k;
    struct err err = {0};
    uint64_t n;
    uint32_t messages;
    int fd = memory();
    struct result *r = result_new(1);
    column(r, 0, "count(*)", PST_LONG, (int64_t[]){7, 0, 0});
    r->rows = 1;
    assert_true(query_kdb_begin(&k, fd, 0, NULL, &err));
    query_kdb_atom(&k, r);
    assert_true(query_kdb_finish(&k, &n, &messages, &err));
    assert_int_equal(n, sizeof long_seven);
    uint8_t *p = bytes_of(fd, n);
    assert_memory_equal(p, long_seven, n);
    free(p);
    close(fd);
    fd = memory();
    assert_true(query_kdb_begin(&k, fd, 0, NULL, &err));
    query_kdb_tables(&k, (const char *const[]){"trade", "quote"}, (struct result *const[]){r, r},
                     2);
    assert_true(query_kdb_finish(&k, &n, &messages, &err));
    p = bytes_of(fd, n);
    assert_int_equal(object_of(p, n, KDB_RESPONSE).type, KDB_DICT);
    free(p);
    close(fd);
    result_free(r);
}

/* Many rows: several updates, together the rows, none much larger than said. */
static void updates(void **state)
{
    (void)state;
    const uint64_t rows = 3000000;
    struct query_kdb k;
    struct err err = {0};
    uint64_t n, seen = 0;
    uint32_t messages, count = 0;
    struct result *r = result_new(2);
    r->rows = rows;
    for (uint32_t i = 0; i < 2; i++) {
        snprintf(r->col[i].name, sizeof r->col[i].name, "c%u", i);
        r->col[i].type = PST_LONG;
        r->col[i].data = malloc(rows * 8);
        for (uint64_t j = 0; j < rows; j++)
            ((uint64_t *)r->col[i].data)[j] = j * (i + 1);
    }
    int fd = memory();
    assert_true(query_kdb_begin(&k, fd, 0, NULL, &err));
    query_kdb_updates(&k, "trade", r);
    assert_true(query_kdb_finish(&k, &n, &messages, &err));
    const uint8_t *p = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(p != MAP_FAILED);
    for (uint64_t at = 0; at < n; count++) {
        uint32_t len = le32(p + at + 4);
        assert_true(len < 2 * QUERY_KDB_UPDATE);
        struct kdb_object o = object_of(p + at, len, KDB_ASYNC);
        struct kdb_table t;
        struct kdb_items i;
        assert_int_equal(o.count, 3);
        kdb_items(&o, &i);
        assert_true(kdb_object_is(&i.item, "upd"));
        kdb_items_next(&i);
        assert_true(kdb_object_is(&i.item, "trade"));
        kdb_items_next(&i);
        assert_true(kdb_table_view(&t, &i.item, &err));
        kdb_items(&t.columns[0], &i);
        assert_int_equal(kdb_object_long(&i.item, 0), seen);
        seen += t.rows;
        at += len;
    }
    assert_int_equal(seen, rows);
    assert_int_equal(count, messages);
    assert_true(count > 2);
    munmap((void *)(uintptr_t)p, n);
    close(fd);
    /* no row, no message; too large is said */
    r->rows = 0;
    fd = memory();
    assert_true(query_kdb_begin(&k, fd, 0, NULL, &err));
    query_kdb_updates(&k, "trade", r);
    assert_true(query_kdb_finish(&k, &n, &messages, &err));
    assert_int_equal(n + messages, 0);
    close(fd);
    r->rows = rows;
    fd = memory();
    assert_true(query_kdb_begin(&k, fd, 1000, NULL, &err));
    query_kdb_table(&k, r, 0);
    assert_false(query_kdb_finish(&k, &n, &messages, &err));
    assert_int_equal(err.code, -EFBIG);
    close(fd);
    r->rows = 200000000; /* 3.2 GB: said before a value is read */
    fd = memory();
    assert_true(query_kdb_begin(&k, fd, 0, NULL, &err));
    query_kdb_table(&k, r, 0);
    assert_false(query_kdb_finish(&k, &n, &messages, &err));
    assert_int_equal(err.code, -EFBIG);
    assert_non_null(strstr(err.text, "2 GiB"));
    close(fd);
    result_free(r);
}

/* ---- requests ---- */

static struct user everyone = {
    .name = "", .tables.all = true, .calls.all = true, .sql = true, .bytes = INT64_MAX};

static void expect_json(const struct answer_request *r, const struct user *u, const char *want)
{
    struct err err = {0};
    json_t *o = answer_request_json(r, u, &err);
    if (!o)
        fail_msg("%s", err.text);
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, want);
    free(text);
    json_decref(o);
}

static void requests(void **state)
{
    (void)state;
    struct kdb_out out = {0};
    kdb_out_list(&out, 9);
    kdb_out_symbol(&out, "AAPL", 4);
    kdb_out_long(&out, -7);
    kdb_out_atom(&out, PST_LONG, &(int64_t){PST_NULL_LONG});
    kdb_out_atom(&out, PST_FLOAT, &(double){0.1});
    kdb_out_atom(&out, PST_DATE, &(int32_t){8091});
    kdb_out_atom(&out, PST_TIMESPAN, &(int64_t){-90061000000001});
    kdb_out_atom(&out, PST_MINUTE, &(int32_t){570});
    kdb_out_chars(&out, "it's", 4);
    kdb_out_atom(&out, PST_BOOLEAN, &(uint8_t){1});
    struct kdb_object args;
    kdb_object_view(&args, out.data, KDB_LITTLE);
    struct answer_request r = {
        .kind = ANSWER_NAMED, .text = {"vwap", 4}, .args = &args, .tier = ANSWER_RDB};
    expect_json(&r, &everyone,
                "{\"call\":\"vwap\",\"kind\":\"call\",\"params\":[\"AAPL\",\"-7\",null,"
                "\"0.10000000000000001\",\"2022.02.25\",\"-1D01:01:01.000000001\","
                "\"09:30:00.000000000\",\"it's\",\"true\"],\"tier\":\"rdb\"}");
    out.len = 0;
    kdb_out_vector(&out, PST_LONG, 0, 2, (int64_t[]){1, 2}); /* two longs collapse to a vector */
    kdb_object_view(&args, out.data, KDB_LITTLE);
    r.tier = ANSWER_ALL;
    expect_json(&r, &everyone, "{\"call\":\"vwap\",\"kind\":\"call\",\"params\":[\"1\",\"2\"]}");
    out.len = 0;
    kdb_out_list(&out, 1);
    kdb_out_dict(&out, false);
    kdb_out_symbols(&out, (const char *const[]){"sym", "n"}, 2);
    kdb_out_list(&out, 2);
    kdb_out_symbol(&out, "A", 1);
    kdb_out_long(&out, 3);
    kdb_object_view(&args, out.data, KDB_LITTLE);
    expect_json(&r, &everyone,
                "{\"call\":\"vwap\",\"kind\":\"call\",\"params\":{\"n\":\"3\",\"sym\":\"A\"}}");
    out.len = 0;
    kdb_out_list(&out, 1);
    kdb_out_list(&out, 0);
    kdb_object_view(&args, out.data, KDB_LITTLE);
    struct err err = {0};
    assert_null(answer_request_json(&r, &everyone, &err));
    assert_non_null(strstr(err.text, "argument 1 is a list"));
    kdb_out_free(&out);

    /* a user with rights of their own */
    struct user some = everyone;
    some.tables = (struct user_names){.at = (const char *[]){"quote", "trade"}, .count = 2};
    some.calls = (struct user_names){.count = 0};
    r = (struct answer_request){.kind = ANSWER_SQL, .text = {"select 1", 8}, .tier = ANSWER_HDB};
    expect_json(&r, &some,
                "{\"kind\":\"sql\",\"may_call\":[],\"may_read\":[\"quote\",\"trade\"],"
                "\"sql\":\"select 1\",\"tier\":\"hdb\"}");
    some.sql = false;
    assert_null(answer_request_json(&r, &some, &err));
    assert_int_equal(err.code, -EACCES);
    r.text = (struct kdb_text){"select '\xff'", 10};
    assert_null(answer_request_json(&r, &everyone, &err));
    assert_non_null(strstr(err.text, "UTF-8"));
    r = (struct answer_request){.kind = ANSWER_SNAPSHOT,
                                .tables = (const char *const[]){"trade", "quote"},
                                .ntables = 2,
                                .where = {"price > 1", 9}};
    expect_json(&r, &everyone,
                "{\"kind\":\"snapshot\",\"tables\":[\"trade\",\"quote\"],\"where\":\"price > 1\"}");
}

/* ---- what a query process gives back ---- */

static bool maps(enum answer_kind kind, const void *bytes, size_t n, int seals)
{
    struct answer x = {.kind = kind, .fd = -1};
    int fd = memory();
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    bool ok = answer_map(&x, fd);
    assert_true(ok == x.ok && (ok || *x.error));
    if (ok) {
        uint32_t len;
        for (uint32_t i = 0; i < x.messages; i++)
            assert_non_null(answer_object(&x, i, &len));
        assert_null(answer_object(&x, x.messages, &len));
    }
    answer_unmap(&x);
    return ok;
}

static void hostile_results(void **state)
{
    (void)state;
    static const uint8_t two[] = {1, 2, 0, 0, 10, 0, 0, 0, 0xff, 1,
                                  1, 2, 0, 0, 10, 0, 0, 0, 0xff, 0};
    uint8_t m[sizeof two];
    const int all = QUERY_RESULT_SEALS;
    memcpy(m, two, sizeof m);
    assert_true(maps(ANSWER_SQL, m, 10, all));
    assert_false(maps(ANSWER_SQL, m, 20, all)); /* a second response would go to the next request */
    assert_false(maps(ANSWER_SQL, m, 0, all));
    assert_false(maps(ANSWER_SQL, m, 9, all));
    assert_false(maps(ANSWER_KEYED, m, 10, all)); /* a response where updates belong */
    assert_false(maps(ANSWER_SQL, m, 10, all & ~F_SEAL_SHRINK));
    assert_false(maps(ANSWER_SQL, m, 10, all & ~F_SEAL_WRITE));
    assert_false(maps(ANSWER_SQL, m, 10, all & ~F_SEAL_GROW));
    for (unsigned i = 0; i < 8; i++) { /* any other head: order, kind, compressed, length */
        m[i] ^= 3;
        assert_false(maps(ANSWER_SQL, m, 10, all));
        m[i] ^= 3;
    }
    m[1] = m[11] = KDB_ASYNC;
    assert_true(maps(ANSWER_SNAPSHOT, m, 20, all));
    assert_true(maps(ANSWER_SNAPSHOT, m, 0, all));
    assert_false(maps(ANSWER_SNAPSHOT, m, 19, all));
    assert_false(maps(ANSWER_SQL, m, 10, all));
    m[14] = 0xff;
    assert_false(maps(ANSWER_SNAPSHOT, m, 20, all));
    m[14] = 0;
    assert_false(maps(ANSWER_SNAPSHOT, m, 20, all));
}

/* ---- queues ---- */

static void queues(void **state)
{
    (void)state;
    static struct config config = {.query_timeout = 60 * 1000000000ll};
    static struct daemon d;
    d.config = &config; /* no pool: every request fails as it does with query_processes 0 */
    struct err err = {0};
    struct answers *a = answer_open(&d, 2, &err);
    assert_non_null(a);
    const struct user *one = user_local(1, false), *other = user_local(2, false);
    struct answer_request r = {.kind = ANSWER_SQL, .text = {"select 1", 8}, .connection = 7};
    for (unsigned i = 0; i < ANSWER_USER; i++) {
        r.id = i;
        assert_true(answer_submit(a, 1, &r, one, &err));
    }
    assert_false(answer_submit(a, 1, &r, one, &err)); /* the user's limit, nobody else's */
    assert_int_equal(err.code, -EAGAIN);
    r.connection = 8;
    assert_true(answer_submit(a, 0, &r, other, &err));
    answer_cancel(a, 1, 7);
    assert_null(answer_next(a, 1));
    r.connection = 9;
    r.id = 99;
    answer_poll(a);
    assert_true(answer_submit(a, 1, &r, one, &err)); /* there is room again */
    answer_poll(a);
    struct answer *x = answer_next(a, 1);
    assert_non_null(x);
    assert_true(!x->ok && x->connection == 9 && x->id == 99 && x->code == -ENOSYS && *x->error);
    answer_free(x);
    assert_null(answer_next(a, 1));
    x = answer_next(a, 0);
    assert_non_null(x);
    assert_int_equal(x->connection, 8);
    answer_free(x);
    /* its answer waits when the connection goes */
    assert_true(answer_submit(a, 1, &r, one, &err));
    answer_poll(a);
    answer_cancel(a, 1, 9);
    assert_null(answer_next(a, 1));
    struct answer_figures f;
    answer_figures(a, &f);
    assert_int_equal(f.waiting, 0);
    assert_int_equal(f.requests, ANSWER_USER + 3);
    assert_int_equal(f.cancelled, ANSWER_USER);
    assert_int_equal(f.failed, 3);
    assert_int_equal(f.refused, 1);
    /* what is left when it closes */
    assert_true(answer_submit(a, 0, &r, one, &err));
    answer_close(a);
    user_release(one);
    user_release(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),          cmocka_unit_test(atoms_and_dictionaries),
        cmocka_unit_test(updates),         cmocka_unit_test(requests),
        cmocka_unit_test(hostile_results), cmocka_unit_test(queues)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
