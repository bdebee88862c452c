/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_load_save.c - blocks to column files: what random blocks of two tables and many dates leave
 * on disk, value for value, with CRCs, sums and figures; dates of a calendar; rejects; results that
 * are damaged; a disk that is full; the dictionary.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>
#include <cmocka.h>
#include "content_hash.h"
#include "control/calendar.h"
#include "core/crc.h"
#include "core/rows.h"
#include "load/save.h"

#define DATES 300
#define ROWS  40000

static char root[] = "/tmp/penstock-test.save.XXXXXX";
static uint64_t seed = 0x9E3779B97F4A7C15ull;

static uint64_t rnd(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

static const char *path_of(const char *name)
{
    static char path[4][400];
    static unsigned k;
    char *p = path[k++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static uint8_t *get(const char *path, size_t *n)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st))
        fail_msg("%s: %s", path, strerror(errno));
    uint8_t *p = malloc((size_t)st.st_size + 1);
    *n = (size_t)st.st_size;
    assert_int_equal(read(fd, p, *n), *n);
    close(fd);
    return p;
}

static const char two[] =
    "{\"name\":\"t\",\"rejects\":3,\"schemas\":["
    "{\"id\":9,\"table\":\"trade\",\"feed\":false,\"columns\":[[\"time\",\"timestamp\"],[\"sym\","
    "\"symbol\"],[\"price\",\"float\"],[\"size\",\"int\"],[\"text\",\"string\"],[\"b\",\"boolean\"]"
    ","
    "[\"id\",\"guid\"],[\"note\",\"string\"],[\"h\",\"short\"]],\"keys\":[]},"
    "{\"id\":10,\"table\":\"fed\",\"feed\":true,\"columns\":[[\"px\",\"float\"]],\"keys\":[]}]}";

static struct load_recipe *recipe_of(const char *text)
{
    struct err err = {0};
    struct load_recipe *r = load_recipe_parse(text, strlen(text), &err);
    if (!r)
        fail_msg("%s", err.text);
    return r;
}

/* ---- a model: rows as they should come out ---- */

struct model { /* of a (table, date) */
    struct model_column {
        uint8_t *at;
        size_t n;
        char *text; /* of strings */
        size_t ntext;
    } col[SCHEMA_COLUMNS_MAX];
    uint64_t rows;
    struct hash128 sum, full;
    int64_t least, most, last;
    bool sorted;
};
static struct model model[2][DATES];
static struct content_columns hash[2];

static void grow(uint8_t **p, size_t *n, const void *bytes, size_t k)
{
    if (!*p || *n / 4096 != (*n + k) / 4096)
        *p = realloc(*p, (*n + k) * 2 + 8192);
    assert_non_null(*p);
    memcpy(*p + *n, bytes, k);
    *n += k;
}

static const char *text_of(void *arg, uint64_t id, uint32_t *len)
{
    return load_dict_text(arg, id, len);
}

/* One row of a block into the model, by itself. */
static void note(const struct load_block *b, uint32_t row, unsigned date, struct load_dict *d)
{
    struct model *m = &model[b->table][date];
    const struct schema *s = b->schema;
    struct content_symbols symbols;
    struct err err;
    assert_true(content_symbols_init(&symbols, d->count + 1, text_of, d, &err));
    for (int captured = 0; captured < 2; captured++) {
        hash_acc acc = 0;
        const int64_t *rx = s->feed ? (const int64_t *)b->col[2] + row : NULL;
        for (unsigned c = 0; c < s->ncols; c++) {
            const uint8_t *v =
                (const uint8_t *)b->col[c] + (size_t)row * load_width(s->col[c].type);
            if (s->col[c].type == PST_SYMBOL)
                content_columns_ids(&hash[b->table], c, &acc, (const uint32_t *)(const void *)v, 1,
                                    &symbols);
            else if (s->col[c].type == PST_STRING) {
                const struct load_string *t = (const struct load_string *)(const void *)v;
                content_columns_string(&hash[b->table], c, &acc, b->heap + t->at, t->len);
            } else
                content_columns_add(&hash[b->table], c, &acc, v, rx, 1, captured);
        }
        content_columns_end(&hash[b->table], &acc, NULL, 1, captured ? &m->full : &m->sum);
    }
    content_symbols_free(&symbols);
    for (unsigned c = 0; c < s->ncols; c++) {
        struct model_column *k = &m->col[c];
        unsigned w = load_width(s->col[c].type);
        const uint8_t *v = (const uint8_t *)b->col[c] + (size_t)row * w;
        if (s->col[c].type != PST_STRING) {
            grow(&k->at, &k->n, v, w);
            continue;
        }
        const struct load_string *t = (const struct load_string *)(const void *)v;
        grow((uint8_t **)&k->text, &k->ntext, b->heap + t->at, t->len);
        int64_t end = (int64_t)k->ntext;
        grow(&k->at, &k->n, &end, 8);
    }
    int64_t time = ((int64_t *)b->col[0])[row];
    if (!m->rows || time < m->least)
        m->least = time;
    if (!m->rows || time > m->most)
        m->most = time;
    m->sorted = (!m->rows || m->sorted) && (!m->rows || time >= m->last);
    m->last = time;
    m->rows++;
}

static void random_row(struct load_block *b, uint32_t row, unsigned date, struct load_dict *d)
{
    const struct schema *s = b->schema;
    for (unsigned c = 0; c < s->ncols; c++) {
        unsigned w = load_width(s->col[c].type);
        uint8_t *v = (uint8_t *)b->col[c] + (size_t)row * w;
        char text[300];
        uint32_t n = (uint32_t)rnd(rnd(8) ? 12 : 256);
        for (uint32_t i = 0; i < n; i++)
            text[i] = (char)('a' + rnd(3) * rnd(8));
        if (c == 0)
            put64(v, (uint64_t)((8000 + date) * PST_DAY_NS + (int64_t)rnd((uint64_t)PST_DAY_NS)));
        else if (s->col[c].type == PST_SYMBOL)
            put32(v, load_dict_code_exact(d, text, n > 20 && rnd(50) ? 2 : n));
        else if (s->col[c].type == PST_STRING) {
            struct load_string t = {0, n};
            assert_true(load_block_text(b, n, &t.at));
            memcpy(b->heap + t.at, text, n);
            memcpy(v, &t, sizeof t);
        } else if (!rnd(10))
            load_null(b, c, row);
        else if (s->col[c].type == PST_BOOLEAN)
            *v = (uint8_t)rnd(2);
        else if (s->feed && c == 2 && rnd(3))
            memcpy(v, (uint8_t *)b->col[0] + (size_t)row * 8, 8); /* the venue gave no time */
        else
            for (unsigned i = 0; i < w; i++)
                v[i] = (uint8_t)rnd(256);
    }
}

static void check_file(const char *dir, const char *name, const void *want, size_t n, json_t *bytes,
                       json_t *crc)
{
    char path[900];
    size_t got;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    uint8_t *p = get(path, &got);
    assert_int_equal(got, n);
    if (n)
        assert_memory_equal(p, want, n);
    assert_int_equal(json_integer_value(bytes), n);
    assert_int_equal(json_integer_value(crc), crc32c(0, want, n));
    free(p);
}

static void check_part(const char *dir, const struct load_recipe *r, json_t *w)
{
    const char *table = json_string_value(json_object_get(w, "table"));
    unsigned t = !strcmp(table, "fed");
    const struct schema *s = &r->tables[t];
    int32_t day = 0;
    char path[700], text[33];
    assert_true(civil_parse(json_string_value(json_object_get(w, "date")), &day));
    struct model *m = &model[t][day - 8000];
    assert_int_equal(json_integer_value(json_object_get(w, "rows")), m->rows);
    assert_string_equal(json_string_value(json_object_get(w, "full")), hash128_text(m->full, text));
    assert_string_equal(json_string_value(json_object_get(w, "sum")), hash128_text(m->sum, text));
    assert_int_equal(json_integer_value(json_object_get(w, "time_min")), m->least);
    assert_int_equal(json_integer_value(json_object_get(w, "time_max")), m->most);
    assert_int_equal(json_is_true(json_object_get(w, "time_sorted")), m->sorted);
    /* ING-47 */
    assert_string_equal(json_string_value(json_object_get(w, "symCol")), "sym");
    assert_string_equal(json_string_value(json_object_get(w, "sortCol")), "time");
    assert_non_null(json_string_value(json_object_get(w, "typ")));
    json_t *symbols = json_object_get(w, "symbolCols");
    unsigned nsymbols = 0;
    for (unsigned c = 0; c < s->ncols; c++)
        if (s->col[c].type == PST_SYMBOL)
            assert_string_equal(json_string_value(json_array_get(symbols, nsymbols++)),
                                s->col[c].name);
    assert_int_equal(json_array_size(symbols), nsymbols);
    snprintf(path, sizeof path, "%s/%s", dir, json_string_value(json_object_get(w, "path")));
    json_t *columns = json_object_get(w, "columns");
    assert_int_equal(json_array_size(columns), s->ncols);
    for (unsigned c = 0; c < s->ncols; c++) {
        json_t *e = json_array_get(columns, c);
        const char *name = json_string_value(json_array_get(e, 0));
        assert_string_equal(name, s->col[c].name);
        check_file(path, name, m->col[c].at, m->col[c].n, json_array_get(e, 2),
                   json_array_get(e, 3));
        if (s->col[c].type == PST_STRING) {
            char more[80];
            snprintf(more, sizeof more, "%s#", name);
            check_file(path, more, m->col[c].text ? m->col[c].text : "", m->col[c].ntext,
                       json_array_get(e, 4), json_array_get(e, 5));
        }
    }
    m->rows = 0; /* seen */
}

/* Two tables, 300 dates in disorder: more files than are kept open. */
static void test_model(void **state)
{
    (void)state;
    struct load_recipe *r = recipe_of(two);
    struct load_dict d;
    struct err err = {0};
    struct load_block *b[2];
    assert_true(load_dict_init(&d, &err));
    for (unsigned t = 0; t < 2; t++) {
        content_columns_init(&hash[t], &r->tables[t]);
        b[t] = load_block_create(&r->tables[t], t, 1000, &err);
        assert_non_null(b[t]);
    }
    char dir[400];
    strcpy(dir, path_of("model"));
    assert_true(!mkdir(dir, 0700) && !mkdir(path_of("model/2001.01.01"), 0700));
    close(open(path_of("model/2001.01.01/left"), O_CREAT, 0600)); /* of an earlier run */
    struct load_save *s = load_save_open(dir, r, &d, &err);
    assert_non_null(s);
    struct load_sink sink = load_save_sink(s);
    for (uint32_t row = 0, of_date = 0, date = 0; row < ROWS;) {
        struct load_block *k = b[rnd(2)];
        uint32_t n = 1 + (uint32_t)rnd(k->room);
        for (uint32_t i = 0; i < n; i++) {
            if (!of_date--) { /* runs of one row, and of a thousand */
                date = (uint32_t)rnd(DATES);
                of_date = (uint32_t)rnd(rnd(2) ? 3 : 3000);
            }
            random_row(k, i, date, &d);
            assert_true(load_block_run(k, (int32_t)(8000 + date), 1));
            k->rows++;
            note(k, i, date, &d);
        }
        if (!sink.block(sink.arg, k, &err))
            fail_msg("%s", err.text);
        load_block_clear(k);
        row += n;
    }
    json_t *result = NULL, *e;
    size_t i;
    uint64_t rows = load_save_rows(s);
    json_t *facts = json_pack("{s:s}", "file", "x.csv");
    if (!load_save_finish(s, facts, &result, &err))
        fail_msg("%s", err.text);
    json_decref(facts);
    load_save_close(s);
    assert_int_equal(json_integer_value(json_object_get(result, "rows")), rows);
    assert_string_equal(json_string_value(json_object_get(result, "file")), "x.csv");
    json_array_foreach(json_object_get(result, "written"), i, e) check_part(dir, r, e);
    for (unsigned t = 0; t < 2; t++)
        for (unsigned k = 0; k < DATES; k++) {
            assert_int_equal(model[t][k].rows, 0); /* every one was there */
            for (unsigned c = 0; c < SCHEMA_COLUMNS_MAX; c++) {
                free(model[t][k].col[c].at);
                free(model[t][k].col[c].text);
            }
        }
    assert_int_not_equal(access(path_of("model/2001.01.01"), F_OK), 0);
    /* symbols: each text with its NUL, in the order of codes */
    size_t n;
    uint8_t *sym = get(path_of("model/symbols"), &n), *at = sym;
    for (uint32_t k = 1; k <= d.count; k++) {
        uint32_t len;
        const char *text = load_dict_text(&d, k, &len);
        assert_string_equal((char *)at, text);
        at += len + 1;
    }
    assert_true(at == sym + n);
    json_t *again = NULL;
    assert_true(load_result_read(dir, &again, &err));
    assert_true(json_equal(again, result));
    assert_true(load_result_check(dir, true, NULL, &err));
    json_decref(again);
    json_decref(result);
    free(sym);
    load_block_destroy(b[0]);
    load_block_destroy(b[1]);
    load_dict_free(&d);
    load_recipe_free(r);
}

/* ---- results on disk ---- */

static const char one[] =
    "{\"name\":\"t\",\"rejects\":3,\"schemas\":[{\"id\":9,\"table\":\"trade\","
    "\"feed\":false,\"columns\":[[\"time\",\"timestamp\"],[\"sym\","
    "\"symbol\"],[\"text\",\"string\"]],\"keys\":[]}]}";

static bool save_some(const char *dir, const struct load_recipe *r, unsigned bad, struct err *err)
{
    struct load_dict d;
    json_t *result = NULL;
    assert_true(load_dict_init(&d, err));
    struct load_save *s = load_save_open(dir, r, &d, err);
    if (!s) {
        load_dict_free(&d);
        return false;
    }
    struct load_block *b = load_block_create(&r->tables[0], 0, 100, err);
    struct load_string t = {0, 3};
    assert_true(load_block_text(b, 3, &t.at));
    memcpy(b->heap, "abc", 3);
    for (unsigned i = 0; i < 100; i++) {
        ((int64_t *)b->col[0])[i] = 8000 * PST_DAY_NS + i;
        ((uint32_t *)b->col[1])[i] = load_dict_code_exact(&d, "IBM", 3);
        ((struct load_string *)b->col[2])[i] = t;
    }
    b->rows = 100;
    assert_true(load_block_run(b, 8000, 100));
    struct load_sink sink = load_save_sink(s);
    struct load_rejects rejects = load_save_rejects(s);
    bool ok = sink.block(sink.arg, b, err);
    for (unsigned i = 0; ok && i < bad; i++) {
        const struct load_reject x = {i + 7, "price", "no number", "a\tb\\\x01\n", 6};
        ok = rejects.reject(rejects.arg, &x, err);
    }
    ok = ok && load_save_finish(s, NULL, &result, err);
    json_decref(result);
    load_save_close(s);
    load_block_destroy(b);
    load_dict_free(&d);
    return ok;
}

static void test_results(void **state)
{
    (void)state;
    static const char *const files[] = {"symbols", "2021.11.26/trade/time", "2021.11.26/trade/sym",
                                        "2021.11.26/trade/text", "2021.11.26/trade/text#"};
    struct load_recipe *r = recipe_of(one);
    struct err err = {0};
    char dir[400];
    strcpy(dir, path_of("one"));
    assert_false(load_result_read(dir, NULL, &err));
    assert_int_equal(err.code, -ENOENT);
    for (unsigned i = 0; i < PST_COUNT(files); i++) {
        char path[900];
        if (!save_some(dir, r, 0, &err))
            fail_msg("%s", err.text);
        assert_true(load_result_check(dir, true, NULL, &err));
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        size_t n;
        uint8_t *p = get(path, &n);
        p[n / 2] ^= 4;
        int fd = open(path, O_WRONLY);
        assert_int_equal(write(fd, p, n), n);
        assert_true(load_result_read(dir, NULL, &err)); /* sizes hold, in this boot */
        assert_false(load_result_check(dir, true, NULL, &err));
        assert_int_equal(err.code, -EBADMSG);
        assert_non_null(strstr(err.text, "its bytes are not what was written"));
        assert_int_equal(ftruncate(fd, (off_t)n - 1), 0);
        assert_false(load_result_read(dir, NULL, &err));
        assert_int_equal(err.code, -EBADMSG);
        close(fd);
        unlink(path);
        assert_false(load_result_read(dir, NULL, &err));
        assert_int_equal(err.code, -EBADMSG);
        free(p);
    }
    /* another boot: bytes are looked at; a result that is no JSON, or of another version */
    assert_true(save_some(dir, r, 0, &err));
    char command[600];
    snprintf(command, sizeof command, "sed -i 's/\"boot\":\"..../\"boot\":\"zzzz/' %s/result.json",
             dir);
    assert_int_equal(system(command), 0);
    assert_true(load_result_read(dir, NULL, &err));
    int fd = open(path_of("one/2021.11.26/trade/sym"), O_WRONLY);
    assert_int_equal(pwrite(fd, "\7", 1, 5), 1);
    close(fd);
    assert_false(load_result_read(dir, NULL, &err));
    assert_true(save_some(dir, r, 0, &err));
    snprintf(command, sizeof command, "sed -i 's/\"format\":1/\"format\":2/' %s/result.json", dir);
    assert_int_equal(system(command), 0);
    assert_false(load_result_read(dir, NULL, &err));
    assert_int_equal(truncate(path_of("one/result.json"), 20), 0);
    assert_false(load_result_read(dir, NULL, &err));
    assert_int_equal(err.code, -EBADMSG);
    load_recipe_free(r);
}

static void test_rejects(void **state)
{
    (void)state;
    struct load_recipe *r = recipe_of(one);
    struct err err = {0};
    char dir[400];
    strcpy(dir, path_of("rejects"));
    size_t n;
    assert_true(save_some(dir, r, 3, &err)); /* as many as allowed */
    char *text = (char *)get(path_of("rejects/rejects"), &n);
    assert_int_equal(n, 3 * strlen("7\tprice\tno number\ta\\tb\\\\\\x01\\x0a\n"));
    const char *first = "7\tprice\tno number\ta\\tb\\\\\\x01\\x0a\n8\t";
    assert_memory_equal(text, first, strlen(first));
    free(text);
    assert_false(save_some(dir, r, 4, &err));
    assert_int_equal(err.code, -EILSEQ);
    assert_non_null(strstr(err.text, "4 rows are bad, 3 are allowed; first line 7, column price"));
    assert_int_not_equal(access(path_of("rejects/result.json"), F_OK), 0);
    assert_false(save_some(dir, r, 100000, &err)); /* ends early */
    r->partial = true;
    assert_true(save_some(dir, r, 100000, &err)); /* counted, SAVE_REJECTS of them shown */
    text = (char *)get(path_of("rejects/rejects"), &n);
    unsigned lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    assert_int_equal(lines, SAVE_REJECTS);
    free(text);
    load_recipe_free(r);
}

/* No room: the sentence names the file, -EFBIG of the limit stands for -ENOSPC of a disk. */
static void test_full(void **state)
{
    (void)state;
    struct load_recipe *r = recipe_of(one);
    struct err err = {0};
    struct rlimit old, small = {600, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    assert_true(!getrlimit(RLIMIT_FSIZE, &old));
    small.rlim_max = old.rlim_max;
    assert_true(!setrlimit(RLIMIT_FSIZE, &small));
    bool ok = save_some(path_of("full"), r, 0, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(ok);
    assert_non_null(strstr(err.text, "full/2021.11.26/trade/time: cannot be written"));
    assert_int_not_equal(access(path_of("full/result.json"), F_OK), 0);
    assert_true(save_some(path_of("full"), r, 0, &err)); /* when there is room it is as new */
    if (geteuid()) {
        assert_int_equal(chmod(path_of("full"), 0500), 0);
        assert_false(save_some(path_of("full"), r, 0, &err));
        assert_int_equal(chmod(path_of("full"), 0700), 0);
    }
    load_recipe_free(r);
}

/* ---- dates, symbols ---- */

/* The trading date is the calendar's, whatever its roll; around every change of the clocks. */
static void test_days(void **state)
{
    (void)state;
    static const char *const zones[] = {"UTC",        "America/New_York", "America/Chicago",
                                        "Asia/Tokyo", "Pacific/Apia",     "Australia/Lord_Howe"};
    static const int32_t rolls[] = {0,         4 * 3600, 12 * 3600, 17 * 3600,
                                    23 * 3600, -7200,    -14 * 3600};
    for (unsigned z = 0; z < PST_COUNT(zones); z++) {
        struct err err = {0};
        struct tzone *zone = tzone_load(zones[z], &err);
        if (!zone)
            fail_msg("%s", err.text);
        for (unsigned k = 0; k < PST_COUNT(rolls); k++) {
            const struct calendar c = {.zone = zone, .eod_s = rolls[k]};
            struct load_days d;
            load_days_init(&d, zone, rolls[k]);
            for (int64_t t = 4000 * PST_DAY_NS; t < 4420 * PST_DAY_NS;
                 t += 1800 * PST_SECOND_NS - (int64_t)rnd(2))
                assert_int_equal(load_day(&d, t), calendar_day(&c, t));
            for (unsigned i = 0; i < 200; i++) { /* in any order */
                int64_t t = (int64_t)rnd(40000) * PST_DAY_NS + (int64_t)rnd((uint64_t)PST_DAY_NS);
                assert_int_equal(load_day(&d, t), calendar_day(&c, t));
            }
            for (int32_t day = 5000; day < 5010; day++) { /* to the nanosecond */
                int64_t end = calendar_eod(&c, day);
                assert_int_equal(load_day(&d, end - 1), calendar_day(&c, end - 1));
                assert_int_equal(load_day(&d, end), calendar_day(&c, end));
            }
            load_days_find(&d, INT64_MAX);
            load_days_find(&d, INT64_MIN + 1);
        }
        tzone_free(zone);
    }
}

static void test_dict(void **state)
{
    (void)state;
    struct load_dict d;
    struct err err;
    char text[300] = "", *seen[5000];
    uint32_t n = 0, len;
    assert_true(load_dict_init(&d, &err));
    assert_int_equal(load_dict_code_exact(&d, "", 0), 0);
    for (unsigned i = 0; i < 20000; i++) {
        len = 1 + (uint32_t)rnd(rnd(20) ? 9 : 255);
        for (uint32_t k = 0; k < len; k++)
            text[k] = (char)(1 + rnd(len < 4 ? 20 : 2));
        text[len] = 0;
        uint32_t code = load_dict_code(&d, text, len);
        assert_true(code >= 1 && code <= n + 1);
        if (code > n) {
            if (n == PST_COUNT(seen))
                break;
            seen[n++] = strndup(text, len);
        }
        assert_string_equal(seen[code - 1], text);
        assert_int_equal(load_dict_code_exact(&d, text, len), code);
    }
    assert_true(n > 1000);
    for (uint32_t k = 0; k < n; k++) {
        assert_string_equal(load_dict_text(&d, k + 1, &len), seen[k]);
        assert_int_equal(len, strlen(seen[k]));
        free(seen[k]);
    }
    assert_string_equal(load_dict_text(&d, n + 2, &len), "");
    /* what lies behind a text is no part of it */
    assert_int_equal(load_dict_code(&d, "zz\0rubbish", 2), load_dict_code(&d, "zzOTHERS", 2));
    load_dict_free(&d);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[256];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),   cmocka_unit_test(test_results),
        cmocka_unit_test(test_rejects), cmocka_unit_test(test_full),
        cmocka_unit_test(test_days),    cmocka_unit_test(test_dict)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
