/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishers' messages: random rows of every type, in every shape that a message may have, go
 * through the intake, the appender and the RDB, and come back value for value; what is refused is
 * refused whole, in one sentence; tickets, full rings, long messages and symbol limits.
 */
#include "journal_kit.h"
#include "every_type.h"
#include <math.h>
#include "core/civil.h"
#include "publish/intake.h"
#include "rdb.h"
#include "support/rdbread.h"

#define NOW    (KIT_DAY * NS_PER_DAY + 9 * 3600 * NS_PER_S)
#define EXTENT (2ull << 20)

#define FIXED (PST_COUNT(every) - 2) /* table `plain`: without texts */

struct rig {
    struct kit *k;
    struct inject q;
    struct rdb *rdb;
    const struct schema *every, *plain, *trade;
    struct intake *in;
    uint64_t rows_seen;
};

static uint64_t seed;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* "reader" may write nothing. */
static bool may(const struct user *user, const char *table)
{
    (void)table;
    return !user || strcmp((const char *)user, "reader") != 0;
}
static const char *name_of(const struct user *user)
{
    return user ? (const char *)user : "anybody";
}

static struct kdb_out out;
static unsigned logged;
static char log_reason[500], log_from[100], log_table[100];
static void to_log(struct error_log *e, const char *kind, const char *from, const char *table,
                   const char *reason, json_t *data)
{
    assert_ptr_equal(e, (void *)7);
    assert_string_equal(kind, "publish");
    assert_non_null(json_object_get(data, "hex"));
    logged++;
    snprintf(log_reason, sizeof log_reason, "%s", reason);
    snprintf(log_from, sizeof log_from, "%s", from);
    snprintf(log_table, sizeof log_table, "%s", table);
}

static const struct schema *table(struct kit *k, const char *name, bool feed,
                                  const struct column_def *c, unsigned n)
{
    struct schema s;
    struct err e;
    assert_true(schema_make(&s, 0, name, feed, c, n, &e));
    return kit_table(k, &s);
}

static void open_rig(struct rig *r, uint32_t max_symbols, uint32_t max_new, uint32_t numbers)
{
    struct err e = {0};
    *r = (struct rig){.k = kit_new(max_symbols, max_new)};
    struct kit *k = r->k;
    kit_at(k, NOW);
    r->every = table(k, "every", false, every, PST_COUNT(every));
    r->plain = table(k, "plain", false, every, FIXED);
    r->trade = k->trade;
    struct rdb_config rc = {
        .bytes = 64 * EXTENT, .extent_bytes = EXTENT, .symbols_max = max_symbols, .instance = 77};
    r->rdb = rdb_create(&rc, &e);
    assert_non_null(r->rdb);
    assert_true(inject_create(&r->q, INJECT_MIN, &e));
    struct inject_options io = {.max_new_symbols = max_new, .symbols = numbers};
    assert_true(appender_add_inject(&k->app, &r->q, 1, &io, &e));
    struct intake_table t[] = {{.schema = r->every},
                               {.schema = r->plain},
                               {.schema = r->trade},
                               {.schema = k->quote, .refused = "is filled by feed itch"}};
    struct intake_config c = {.rows = {.q = &r->q,
                                       .known = &k->symbols,
                                       .schemas = k->schemas,
                                       .status = k->status,
                                       .symbols = numbers,
                                       .max_new_symbols = max_new,
                                       .open_day = KIT_DAY},
                              .table = t,
                              .ntables = PST_COUNT(t),
                              .may = may,
                              .name = name_of,
                              .errors = (void *)7,
                              .log = to_log,
                              .head = k->ring.head};
    r->in = intake_open(&c, &e);
    assert_non_null(r->in);
    logged = 0;
    out.len = 0;
}

static void close_rig(struct rig *r)
{
    intake_close(r->in);
    inject_destroy(&r->q);
    rdb_close(r->rdb);
    kit_free(r->k);
}

/* The appender and the RDB have their turn. */
static void turn(struct rig *r)
{
    const struct frame *f;
    appender_take(&r->k->app, 1000);
    while ((f = kit_next(r->k)))
        r->rows_seen += rdb_append(r->rdb, r->k->schemas, f);
    rdb_publish(r->rdb);
    kit_drain(r->k);
}

static void settle(struct rig *r)
{
    intake_flush(r->in);
    for (int i = 0; intake_step(r->in); i++) {
        assert_true(i < 10000);
        turn(r);
        intake_flush(r->in);
    }
    turn(r);
}

/* ---- messages ---- */

static const struct kdb_object *object(void)
{
    static struct kdb_object o;
    size_t n;
    const char *why = "";
    assert_false(out.failed);
    if (kdb_object_check(out.data, out.len, KDB_LITTLE, &n, &why) != KDB_OK || n != out.len)
        fail_msg("the test's own object is not sound: %s", why);
    kdb_object_view(&o, out.data, KDB_LITTLE);
    return &o;
}

static enum intake_verdict publish(struct rig *r, const char *table, uint64_t *ticket,
                                   struct err *err)
{
    return intake_update(r->in, NULL, table, (uint32_t)strlen(table), object(), NOW + 5, ticket,
                         err);
}

static void taken(struct rig *r, const char *table)
{
    uint64_t ticket;
    struct err err;
    enum intake_verdict v;
    while ((v = publish(r, table, &ticket, &err)) == INTAKE_BUSY) {
        turn(r);
        intake_step(r->in);
    }
    if (v != INTAKE_TAKEN)
        fail_msg("refused: %s", err.text);
    out.len = 0;
}

/* Refused, and the sentence holds the words. Nothing of it reaches the ring. */
static void refuse(struct rig *r, const char *table, const char *words)
{
    uint64_t ticket;
    struct err err = {0};
    unsigned before = logged;
    settle(r);
    uint64_t tail = load_relaxed(&r->q.tail);
    if (publish(r, table, &ticket, &err) != INTAKE_REFUSED)
        fail_msg("taken, though: %s", words);
    if (!strstr(err.text, words))
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_true(err.code < 0 && !strchr(err.text, '\n'));
    settle(r);
    assert_int_equal(load_relaxed(&r->q.tail), tail);
    assert_int_equal(logged, before + 1);
    assert_string_equal(log_reason, err.text);
    out.len = 0;
}

/* ---- values ---- */

struct value {
    uint8_t bytes[16]; /* of a type of fixed width, as it is sent */
    char text[300];
    uint32_t len;
};

static void random_value(uint8_t type, bool time, struct value *v)
{
    unsigned w = type_width(type);
    uint64_t x = rnd(), how = rnd() % 8;
    *v = (struct value){0};
    if (type == PST_SYMBOL || type == PST_STRING) {
        v->len = how == 0   ? 0
                 : how == 1 ? (uint32_t)(rnd() % 256)
                 : how == 2 ? (uint32_t)(7 + rnd() % 4)
                            : (uint32_t)(rnd() % 6);
        for (uint32_t i = 0; i < v->len; i++)
            v->text[i] = (char)(type == PST_STRING ? (int)(rnd() & 255)
                                : v->len > 3       ? 'A' + (int)(x % 7)
                                                   : 1 + (int)(rnd() % 255));
        return;
    }
    if (time)
        x = how ? (uint64_t)(NOW + (int64_t)(x % 1000000)) : 1ull << 63;
    else if (type == PST_FLOAT)
        x = how == 0   ? PST_NULL_FLOAT_BITS
            : how == 1 ? 0x7FF8000000000001ull /* another NaN: the null comes back */
            : how == 2 ? 0xFFF0000000000000ull
            : how == 3 ? 0x8000000000000000ull
                       : x;
    else if (type == PST_REAL)
        x = how == 0 ? PST_NULL_REAL_BITS : how == 1 ? 0x7FC00001u : how == 2 ? 0x7F800000u : x;
    else if (type == PST_BOOLEAN)
        x &= 1;
    else if (how < 3 && w <= 8)
        x = how == 0   ? 1ull << (8 * w - 1)
            : how == 1 ? (1ull << (8 * w - 1)) - 1
                       : (1ull << (8 * w - 1)) + 1;
    memcpy(v->bytes, &x, w < 8 ? w : 8);
    if (w == 16)
        put64(v->bytes + 8, rnd());
}

static void put_atom(uint8_t type, const struct value *v)
{
    if (type == PST_SYMBOL)
        kdb_out_symbol(&out, v->text, v->len);
    else if (type == PST_STRING && v->len == 1 && rnd() & 1)
        kdb_out_atom(&out, PST_CHAR, v->text); /* as clients send it */
    else if (type == PST_STRING)
        kdb_out_chars(&out, v->text, v->len);
    else
        kdb_out_atom(&out, type, v->bytes);
}

static void put_column(uint8_t type, const struct value *v, uint32_t rows, size_t step, bool list)
{
    if (list || type == PST_STRING) {
        kdb_out_list(&out, rows);
        for (uint32_t i = 0; i < rows; i++)
            put_atom(type, (const struct value *)((const char *)v + i * step));
        return;
    }
    size_t at = kdb_out_open(&out, type, 0);
    for (uint32_t i = 0; i < rows; i++) {
        const struct value *x = (const struct value *)((const char *)v + i * step);
        if (type == PST_SYMBOL)
            kdb_out_bytes(&out, x->text, x->len + 1);
        else
            kdb_out_bytes(&out, x->bytes, type_width(type));
    }
    kdb_out_close(&out, at, rows);
}

#define ROWS 40u
static struct value value[4000][PST_COUNT(every)];
static bool no_time[4000];

static void same(struct rig *r, const struct schema *s, struct rdbread *in,
                 const struct rdbread_part *p, uint32_t row, const struct value *want, bool stamped)
{
    for (unsigned c = 0; c < s->ncols; c++) {
        uint32_t len, text_len;
        const uint8_t *got = rdbread_value(in, p, row, c, &len);
        const struct value *v = &want[c];
        struct value as = *v;
        uint8_t type = s->col[c].type;
        bool ok;
        if (c == 0 && stamped)
            put64(as.bytes, (uint64_t)(NOW + 5));
        if (type == PST_FLOAT && isnan(*(double *)(void *)as.bytes))
            put64(as.bytes, PST_NULL_FLOAT_BITS);
        if (type == PST_REAL && isnan(*(float *)(void *)as.bytes))
            put32(as.bytes, PST_NULL_REAL_BITS);
        if (type == PST_SYMBOL) {
            const char *t = symbols_text(&r->k->symbols, le32(got), &text_len);
            ok = le32(got) == PST_NULL_SYMBOL ? v->len == 0
                                              : text_len == v->len && !memcmp(t, v->text, v->len);
        } else if (type == PST_STRING) {
            ok = len == v->len && !memcmp(got, v->text, len);
        } else {
            ok = len == type_width(type) && !memcmp(got, as.bytes, len);
        }
        if (!ok)
            fail_msg("%s row %u column %s differs", s->name, row, s->col[c].name);
    }
}

/* Rows in random shapes; then all of them from the RDB. */
static void there_and_back(struct rig *r, const struct schema *s, uint32_t rows)
{
    const char *names[SCHEMA_COLUMNS_MAX];
    for (uint32_t at = 0, n; at < rows; at += n) {
        unsigned shape = (unsigned)(rnd() % 7);
        bool time = rnd() % 3 != 0;
        n = shape == 0 || shape == 6 ? 1 : (uint32_t)(1 + rnd() % ROWS);
        n = n < rows - at ? n : rows - at;
        for (uint32_t i = 0; i < n; i++) {
            no_time[at + i] = !time;
            for (unsigned c = 0; c < s->ncols; c++)
                random_value(s->col[c].type, c == 0, &value[at + i][c]);
        }
        unsigned first = time ? 0 : 1, cols = s->ncols - first;
        unsigned turned = shape == 3 || shape == 4 ? (unsigned)(rnd() % cols) : 0;
        for (unsigned c = 0; c < cols; c++)
            names[c] = s->col[first + (c + turned) % cols].name;
        if (shape == 4) {
            kdb_out_dict(&out, false);
            kdb_out_symbols(&out, names, cols);
            kdb_out_list(&out, cols);
        } else if (shape == 2 || shape == 3) {
            kdb_out_columns(&out, names, cols);
        } else {
            kdb_out_list(&out, cols);
        }
        for (unsigned c = 0; c < cols; c++) {
            unsigned to = first + (c + turned) % cols;
            if (shape == 0 || shape == 6)
                put_atom(s->col[to].type, &value[at][to]);
            else
                put_column(s->col[to].type, &value[at][to], n, sizeof value[0], shape == 5);
        }
        taken(r, s->name);
        if (rnd() % 4 == 0)
            settle(r);
    }
    settle(r);
    struct rdbread in;
    struct rdbread_part p;
    assert_true(rdbread_open(&in, rdb_fd(r->rdb)));
    bool found = false;
    for (unsigned i = 0; i < in.parts && !found; i++)
        found = rdbread_part(&in, i, &p) && p.table == s->id;
    assert_true(found);
    assert_int_equal(p.rows, rows);
    for (uint32_t i = 0; i < rows; i++)
        same(r, s, &in, &p, i, value[i], no_time[i]);
    rdbread_close(&in);
}

static void test_every_type_comes_back(void **state)
{
    (void)state;
    for (seed = 88172645463325252ull; seed != 0;) {
        struct rig r;
        open_rig(&r, 100000, UINT32_MAX, 50000);
        there_and_back(&r, r.every, 2000);
        there_and_back(&r, r.plain, 4000);
        struct intake_counts c;
        intake_counts(r.in, &c);
        assert_int_equal(c.rows, 6000);
        assert_int_equal(c.refused, 0);
        close_rig(&r);
        break;
    }
}

/* ---- shapes by hand ---- */

/* The rows of table trade that reached the journal, as text. */
static void trades(struct rig *r, char *text, size_t room)
{
    size_t at = 0;
    const struct frame *f;
    const struct schema *s = r->trade;
    *text = 0;
    intake_flush(r->in);
    appender_take(&r->k->app, 1000);
    while ((f = kit_next(r->k))) {
        struct record_walk w;
        const struct record *x;
        if (f->kind != FRAME_DATA)
            continue;
        record_walk_start(&w, f);
        while ((x = record_walk_next(&w))) {
            double price;
            uint32_t n, v, m;
            memcpy(&price, (const uint8_t *)x + s->col[2].offset, 8);
            price = isnan(price) ? -1 : price;
            const char *sym = symbols_text(&r->k->symbols, x->sym, &n);
            const char *venue =
                symbols_text(&r->k->symbols, le32((const uint8_t *)x + s->col[4].offset), &v);
            const char *note = record_string(x, s->col[5].offset, &m);
            at += (size_t)snprintf(
                text + at, room - at, "%lld %.*s %g %lld %.*s %.*s|",
                x->time == PST_NULL_LONG ? -1 : (long long)((x->time - NOW) / 1000), (int)n, sym,
                price, (long long)le64((const uint8_t *)x + s->col[3].offset), (int)v, venue,
                (int)m, note);
        }
    }
    kit_drain(r->k);
    intake_step(r->in);
}

static void expect(struct rig *r, const char *want)
{
    char got[4000];
    taken(r, "trade");
    trades(r, got, sizeof got);
    assert_string_equal(got, want);
}

static void symbol(const char *t)
{
    kdb_out_symbol(&out, t, strlen(t));
}
static void floats(double v)
{
    kdb_out_atom(&out, PST_FLOAT, &v);
}
static void atom(int type, int64_t v)
{
    kdb_out_atom(&out, type, &v);
}
/* sym price size venue note */
static void rest(const char *sym, double price, int64_t size)
{
    symbol(sym);
    floats(price);
    kdb_out_long(&out, size);
    symbol("N");
    kdb_out_chars(&out, "hey", 3);
}

static void test_shapes(void **state)
{
    (void)state;
    struct rig r;
    const int64_t day = KIT_DAY * NS_PER_DAY, h = 3600 * NS_PER_S;
    open_rig(&r, 1000, 1000, 1000);
    /* a row with time, and without */
    kdb_out_list(&out, 6);
    atom(PST_TIMESTAMP, NOW + 2000);
    rest("A", 1.5, 7);
    expect(&r, "2 A 1.5 7 N hey|");
    kdb_out_list(&out, 5);
    rest("A", 1.5, 7);
    expect(&r, "0 A 1.5 7 N hey|");
    /* times of day: timespan, time, second, minute; null and infinity */
    static const struct {
        int type;
        int64_t v, unit;
    } clock[] = {{PST_TIMESPAN, 1, 3600 * NS_PER_S},
                 {PST_TIME, 1000, 3600 * NS_PER_MS},
                 {PST_SECOND, 3600, NS_PER_S},
                 {PST_MINUTE, 60, 60 * NS_PER_S}};
    for (unsigned i = 0; i < PST_COUNT(clock); i++) {
        char want[60];
        kdb_out_list(&out, 6);
        atom(clock[i].type, i == 0 ? h : clock[i].v * (i == 1 ? 3600 : 1));
        rest("B", 2, 8);
        snprintf(want, sizeof want, "%lld B 2 8 N hey|", (long long)((day + h - NOW) / 1000));
        expect(&r, want);
    }
    kdb_out_list(&out, 6);
    atom(PST_TIME, INT32_MIN);
    rest("B", 2, 8);
    expect(&r, "-1 B 2 8 N hey|");
    kdb_out_list(&out, 6);
    atom(PST_TIMESTAMP, INT64_MIN);
    rest("B", 2, 8);
    expect(&r, "-1 B 2 8 N hey|");
    /* numbers of another width: what fits comes back the same */
    kdb_out_list(&out, 5);
    symbol("C");
    atom(PST_LONG, 3);
    floats(9);
    kdb_out_chars(&out, "NYSE", 4);
    symbol("note");
    expect(&r, "0 C 3 9 NYSE note|");
    /* texts and atoms: one row, of a client that has no symbols */
    kdb_out_list(&out, 5);
    kdb_out_chars(&out, "AAPL", 4);
    floats(1);
    floats(2);
    kdb_out_chars(&out, "N", 1);
    kdb_out_chars(&out, "", 0);
    expect(&r, "0 AAPL 1 2 N |");
    /* columns; an atom stands for all rows */
    static const char *const syms[] = {"A", "B"};
    static const double price[] = {1, 2};
    static const int64_t size[] = {10, 20};
    kdb_out_list(&out, 5);
    kdb_out_symbols(&out, syms, 2);
    kdb_out_vector(&out, PST_FLOAT, 0, 2, price);
    kdb_out_vector(&out, PST_LONG, 0, 2, size);
    symbol("X");
    kdb_out_list(&out, 2);
    kdb_out_chars(&out, "a", 1);
    kdb_out_chars(&out, "bc", 2);
    expect(&r, "0 A 1 10 X a|0 B 2 20 X bc|");
    /* a table that leaves columns out */
    static const char *const names[] = {"size", "sym"};
    kdb_out_columns(&out, names, 2);
    kdb_out_vector(&out, PST_LONG, 0, 2, size);
    kdb_out_symbols(&out, syms, 2);
    expect(&r, "0 A -1 10  |0 B -1 20  |");
    /* keyed, and a dictionary of atoms */
    static const char *const key[] = {"sym"}, *const rest_of[] = {"size", "price"};
    kdb_out_dict(&out, false);
    kdb_out_columns(&out, key, 1);
    kdb_out_symbols(&out, syms, 2);
    kdb_out_columns(&out, rest_of, 2);
    kdb_out_vector(&out, PST_LONG, 0, 2, size);
    kdb_out_vector(&out, PST_FLOAT, 0, 2, price);
    expect(&r, "0 A 1 10  |0 B 2 20  |");
    kdb_out_dict(&out, false);
    kdb_out_symbols(&out, names, 2);
    kdb_out_list(&out, 2);
    kdb_out_long(&out, 5);
    symbol("D");
    expect(&r, "0 D -1 5  |");
    /* no rows */
    kdb_out_columns(&out, names, 2);
    kdb_out_vector(&out, PST_LONG, 0, 0, size);
    kdb_out_symbols(&out, syms, 0);
    expect(&r, "");
    close_rig(&r);
}

/* A row whose values are all of one type comes as a vector. */
static void test_row_as_a_vector(void **state)
{
    (void)state;
    struct rig r;
    uint64_t ticket;
    struct err err;
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"other", PST_SYMBOL}};
    static const char *const two[] = {"A", "B"};
    open_rig(&r, 1000, 1000, 1000);
    intake_close(r.in);
    struct intake_table t = {.schema = table(r.k, "pair", false, cols, 3)};
    struct intake_config c = {.rows = {.q = &r.q,
                                       .known = &r.k->symbols,
                                       .schemas = r.k->schemas,
                                       .symbols = 100,
                                       .max_new_symbols = 100,
                                       .open_day = KIT_DAY},
                              .table = &t,
                              .ntables = 1};
    assert_non_null(r.in = intake_open(&c, &err));
    kdb_out_symbols(&out, two, 2);
    assert_int_equal(publish(&r, "pair", &ticket, &err), INTAKE_TAKEN);
    out.len = 0;
    settle(&r);
    assert_int_equal(r.rows_seen, 1);
    close_rig(&r);
}

static void test_refusals_name_what_to_send(void **state)
{
    (void)state;
    struct rig r;
    struct err err;
    uint64_t ticket;
    open_rig(&r, 1000, 1000, 1000);
    kdb_out_list(&out, 3);
    rest("A", 1, 2);
    out.len = 0;
    /* tables */
    kdb_out_list(&out, 0);
    refuse(&r, "trad", "there is no table 'trad'");
    kdb_out_list(&out, 0);
    refuse(&r, "quote", "table quote takes no rows from publishers: it is filled by feed itch");
    kdb_out_list(&out, 5);
    rest("A", 1, 2);
    struct user *reader = (struct user *)(void *)(uintptr_t) "reader";
    assert_int_equal(intake_update(r.in, reader, "trade", 5, object(), NOW, &ticket, &err),
                     INTAKE_REFUSED);
    assert_string_equal(err.text, "user reader may not publish to table trade");
    assert_string_equal(log_from, "user reader");
    assert_string_equal(log_table, "trade");
    out.len = 0;
    /* too few, too many, time and one short */
    kdb_out_list(&out, 2);
    symbol("A");
    floats(1);
    refuse(&r, "trade",
           "table trade: 2 columns came, send 6: time sym price size venue note (time "
           "may be left out)");
    kdb_out_list(&out, 5);
    atom(PST_TIMESTAMP, NOW);
    symbol("A");
    floats(1);
    kdb_out_long(&out, 1);
    symbol("N");
    refuse(&r, "trade", "5 columns came, send 6");
    /* values */
    kdb_out_list(&out, 5);
    symbol("A");
    floats(1);
    floats(1.5);
    symbol("N");
    kdb_out_chars(&out, "", 0);
    refuse(&r, "trade", "table trade: row 0: column size (long) is no whole number");
    static const double price[] = {1, 2, 3};
    static const double sizes[] = {1, 2, 3.5};
    static const char *const syms[] = {"A", "B", "C"}, *const names[] = {"sym", "price", "siz"};
    kdb_out_list(&out, 5);
    kdb_out_symbols(&out, syms, 3);
    kdb_out_vector(&out, PST_FLOAT, 0, 3, price);
    kdb_out_vector(&out, PST_FLOAT, 0, 3, sizes);
    symbol("N");
    kdb_out_chars(&out, "abc", 3);
    refuse(&r, "trade", "row 2: column size (long)");
    kdb_out_columns(&out, names, 3);
    kdb_out_symbols(&out, syms, 3);
    kdb_out_vector(&out, PST_FLOAT, 0, 3, price);
    kdb_out_vector(&out, PST_FLOAT, 0, 3, sizes);
    refuse(&r, "trade", "table trade has no column 'siz'");
    /* a symbol that is too long, in both ways in */
    char longer[257];
    memset(longer, 'x', 256);
    longer[256] = 0;
    kdb_out_list(&out, 5);
    rest(longer, 1, 2);
    refuse(&r, "trade", "column sym (symbol) is longer than the 255 bytes of a symbol");
    /* columns of two lengths */
    kdb_out_list(&out, 5);
    kdb_out_symbols(&out, syms, 3);
    kdb_out_vector(&out, PST_FLOAT, 0, 2, price);
    kdb_out_vector(&out, PST_FLOAT, 0, 3, sizes);
    symbol("N");
    kdb_out_chars(&out, "abc", 3);
    refuse(&r, "trade", "column 2 has 2 values, the first has 3");
    /* no rows at all */
    kdb_out_long(&out, 5);
    refuse(&r, "trade", "its rows are a long atom");
    struct intake_counts c;
    intake_counts(r.in, &c);
    assert_int_equal(c.refused, logged);
    assert_int_equal(c.messages + c.rows, 0);
    /* and it goes on */
    kdb_out_list(&out, 5);
    rest("A", 1, 2);
    expect(&r, "0 A 1 2 N hey|");
    close_rig(&r);
}

/* ---- symbols ---- */

static void one_of(const char *fmt, unsigned i)
{
    char t[32];
    snprintf(t, sizeof t, fmt, i);
    kdb_out_list(&out, 5);
    rest(t, 1, 2);
}

static void test_symbol_limits(void **state)
{
    (void)state;
    struct rig r;
    open_rig(&r, 1000, 10, 1000);
    for (unsigned i = 0; i < 9; i++) { /* nine and the venue N */
        one_of("S%u", i);
        taken(&r, "trade");
    }
    one_of("T%u", 1);
    refuse(&r, "trade",
           "it brings 1 new symbols, max_new_symbols leaves 0 for this publish "
           "thread today");
    one_of("S%u", 3); /* known ones go on */
    taken(&r, "trade");
    settle(&r);
    assert_int_equal(r.rows_seen, 10);
    assert_int_equal(symbols_count(&r.k->symbols), 10);
    /* a refused message leaves no symbols behind */
    char many[12][8];
    const char *list[12];
    static const double price[12];
    for (unsigned i = 0; i < 12; i++) {
        snprintf(many[i], sizeof many[i], "M%u", i);
        list[i] = many[i];
    }
    static const char *const names[] = {"sym", "price"};
    kdb_out_columns(&out, names, 2);
    kdb_out_symbols(&out, list, 12);
    kdb_out_vector(&out, PST_FLOAT, 0, 12, price);
    refuse(&r, "trade", "it brings 12 new symbols");
    assert_int_equal(symbols_count(&r.k->symbols), 10);
    close_rig(&r);
}

/* More symbols than the intake may number at once: it begins anew, again and again. */
static void test_numbering_begins_anew(void **state)
{
    (void)state;
    struct rig r;
    char want[60], got[200];
    open_rig(&r, 60000, 60000, 6000);
    for (unsigned i = 0; i < 20000; i++) {
        one_of("SYMBOL%u", i);
        taken(&r, "trade");
        if (i % 1000 == 999) {
            settle(&r);
            one_of("SYMBOL%u", i / 2);
            taken(&r, "trade");
            trades(&r, got, sizeof got);
            snprintf(want, sizeof want, "0 SYMBOL%u 1 2 N hey|", i / 2);
            assert_string_equal(got, want);
        }
    }
    settle(&r);
    assert_int_equal(r.rows_seen, 20000);
    assert_int_equal(symbols_count(&r.k->symbols), 20001);
    close_rig(&r);
}

/* Another producer takes the table's last places: the appender refuses, the publisher is told, and
 * the next message goes. */
static void test_refused_by_the_appender(void **state)
{
    (void)state;
    struct rig r;
    uint64_t first, second, third, position;
    struct err err;
    uint32_t id;
    open_rig(&r, 20, 1000, 1000);
    one_of("A%u", 0);
    assert_int_equal(publish(&r, "trade", &first, &err), INTAKE_TAKEN);
    out.len = 0;
    settle(&r);
    one_of("B%u", 0);
    assert_int_equal(publish(&r, "trade", &second, &err), INTAKE_TAKEN);
    out.len = 0;
    for (unsigned i = 0; i < 18; i++) {
        char t[8];
        int n = snprintf(t, sizeof t, "X%u", i);
        id = rows_symbol(&r.k->app.rows, t, (uint32_t)n);
        assert_true(id != SYMBOL_REFUSED);
    }
    appender_flush(&r.k->app);
    assert_int_equal(intake_answer(r.in, second, &position, &err), INTAKE_PENDING);
    settle(&r);
    assert_int_equal(intake_answer(r.in, first, &position, &err), INTAKE_DONE);
    assert_int_equal(intake_answer(r.in, second, &position, &err), INTAKE_FAILED);
    assert_non_null(strstr(err.text, "the symbol table ran full"));
    one_of("A%u", 0);
    assert_int_equal(publish(&r, "trade", &third, &err), INTAKE_TAKEN);
    out.len = 0;
    settle(&r);
    assert_int_equal(intake_answer(r.in, third, &position, &err), INTAKE_DONE);
    assert_true(third > second && second > first);
    assert_int_equal(r.rows_seen, 2);
    one_of("C%u", 0);
    refuse(&r, "trade", "the symbol table is full (symbols_max: 20)");
    close_rig(&r);
}

/* ---- rings and tickets ---- */

static void test_tickets(void **state)
{
    (void)state;
    struct rig r;
    uint64_t ticket[300], position, last = 0;
    struct err err;
    open_rig(&r, 1000, 1000, 1000);
    for (unsigned i = 0; i < 300; i++) {
        one_of("S%u", i % 7);
        assert_int_equal(publish(&r, "trade", &ticket[i], &err), INTAKE_TAKEN);
        out.len = 0;
        assert_true(!i || ticket[i] > ticket[i - 1]);
        if (i % 4 == 3)
            intake_flush(r.in);
        assert_int_equal(intake_answer(r.in, ticket[i], &position, &err), INTAKE_PENDING);
    }
    settle(&r);
    for (unsigned i = 0; i < 300; i++) {
        assert_int_equal(intake_answer(r.in, ticket[i], &position, &err), INTAKE_DONE);
        assert_true(position >= last && position <= ring_tail(&r.k->ring));
        last = position;
    }
    assert_int_equal(intake_level(r.in, KDB_DURABLE), ring_tail(&r.k->ring));
    assert_int_equal(r.rows_seen, 300);
    close_rig(&r);
}

/* The appender stands still: the ring fills, what does not fit waits, the next is BUSY; and then
 * all of it is there once, in order. */
static void test_busy(void **state)
{
    (void)state;
    struct rig r;
    uint64_t ticket;
    struct err err;
    enum intake_verdict v;
    unsigned n = 0;
    char got[100000];
    open_rig(&r, 1000, 1000, 1000);
    for (;;) {
        one_of("S%u", n % 7);
        v = publish(&r, "trade", &ticket, &err);
        out.len = 0;
        if (v != INTAKE_TAKEN)
            break;
        n++;
        if (n % 50 == 0)
            intake_flush(r.in);
        assert_true(n < 1000000);
    }
    assert_int_equal(v, INTAKE_BUSY);
    assert_false(intake_ready(r.in));
    assert_true(n > 1000);
    unsigned seen = 0;
    for (int i = 0; i < 10000 && (intake_step(r.in) || seen < n); i++) {
        trades(&r, got, sizeof got);
        for (const char *p = got; (p = strchr(p, '|')); p++)
            seen++;
    }
    assert_int_equal(seen, n);
    assert_true(intake_ready(r.in));
    struct intake_counts c;
    intake_counts(r.in, &c);
    assert_int_equal(c.messages, n);
    assert_true(c.busy > 0 && c.bytes == 0);
    close_rig(&r);
}

/* A message larger than the ring, with new symbols all along. */
static void test_long_message(void **state)
{
    (void)state;
    enum { N = 60000 };
    struct rig r;
    uint64_t ticket, position;
    struct err err;
    static int64_t size[N];
    static char text[N][8];
    static const char *list[N];
    static const char *const names[] = {"sym", "j"};
    open_rig(&r, 100000, 100000, 70000);
    for (unsigned i = 0; i < N; i++) {
        size[i] = i;
        snprintf(text[i], sizeof text[i], "%u", i % 30000);
        list[i] = text[i];
    }
    kdb_out_columns(&out, names, 2);
    kdb_out_symbols(&out, list, N);
    kdb_out_vector(&out, PST_LONG, 0, N, size);
    assert_int_equal(publish(&r, "plain", &ticket, &err), INTAKE_TAKEN);
    memset(out.data, 0xEE, out.len); /* its bytes may go */
    out.len = 0;
    struct intake_counts c;
    intake_counts(r.in, &c);
    assert_true(c.bytes > INJECT_MIN);
    one_of("S%u", 1);
    assert_int_equal(publish(&r, "trade", &position, &err), INTAKE_BUSY);
    for (int i = 0; intake_step(r.in); i++) {
        assert_true(i < 100000);
        bool done = intake_answer(r.in, ticket, &position, &err) == INTAKE_DONE;
        assert_true(!done || r.rows_seen == N);
        turn(&r);
        intake_flush(r.in);
    }
    taken(&r, "trade");
    settle(&r);
    assert_int_equal(intake_answer(r.in, ticket, &position, &err), INTAKE_DONE);
    assert_int_equal(r.rows_seen, N + 1);
    struct rdbread in;
    struct rdbread_part p;
    assert_true(rdbread_open(&in, rdb_fd(r.rdb)));
    for (unsigned i = 0; i < in.parts; i++) {
        if (!rdbread_part(&in, i, &p) || p.table != r.plain->id)
            continue;
        assert_int_equal(p.rows, N);
        for (uint32_t row = 0; row < N; row++) {
            uint32_t len, n;
            assert_int_equal(le64(rdbread_value(&in, &p, row, 7, &len)), row);
            const char *t =
                symbols_text(&r.k->symbols, le32(rdbread_value(&in, &p, row, 1, &len)), &n);
            assert_true(n == strlen(text[row]) && !memcmp(t, text[row], n));
        }
    }
    rdbread_close(&in);
    intake_counts(r.in, &c);
    assert_int_equal(c.bytes, 0);
    close_rig(&r);
}

/* ---- times of day ---- */

static void test_times_of_day(void **state)
{
    (void)state;
    static const struct {
        const char *zone;
        int32_t eod_s;
        int32_t open, newest;          /* dates */
        int64_t now_h, offset_h, want; /* hours after the midnight (UTC) of day 9823 */
    } c[] = {
        {"UTC", 0, 9823, 9823, 10, 9, 9},
        {"UTC", 0, 9823, 9823, 10, 30, 30}, /* beyond a day: as it is */
        {"America/New_York", 0, 9823, 9823, 15, 9, 14},
        /* the session of 9823 begins on the evening before */
        {"America/Chicago", 17 * 3600, 9823, 9823, 1, 18, 0},
        {"America/Chicago", 17 * 3600, 9823, 9823, 16, 9, 15},
        {"UTC", -2 * 3600, 9823, 9823, -1, 23, -1},
        /* late window: just before midnight, of yesterday; just behind it, of today */
        {"UTC", 0, 9822, 9823, 0, 23, -1},
        {"UTC", 0, 9822, 9823, 0, 1, 1},
    };
    for (unsigned i = 0; i < PST_COUNT(c); i++) {
        struct rig r;
        struct err err;
        char text[200], want[60];
        struct tzone *zone = NULL;
        open_rig(&r, 1000, 1000, 1000);
        intake_close(r.in);
        zone = tzone_load(c[i].zone, &err);
        assert_non_null(zone);
        struct calendar k = {.name = "default", .zone = zone, .eod_s = c[i].eod_s};
        static struct days_open days;
        memset(&days, 0, sizeof days);
        store_relaxed(&days.open[0], (uint16_t)c[i].open);
        store_relaxed(&days.newest[0], (uint16_t)c[i].newest);
        struct intake_table t = {.schema = r.trade};
        struct intake_config ic = {.rows = {.q = &r.q,
                                            .known = &r.k->symbols,
                                            .schemas = r.k->schemas,
                                            .symbols = 100,
                                            .max_new_symbols = 100,
                                            .days = &days},
                                   .calendar = {&k},
                                   .table = &t,
                                   .ntables = 1};
        assert_non_null(r.in = intake_open(&ic, &err));
        const int64_t midnight = 9823 * NS_PER_DAY, h = 3600 * NS_PER_S;
        for (unsigned shape = 0; shape < 3; shape++) { /* row, columns, converted */
            uint64_t ticket;
            int64_t v = c[i].offset_h * h;
            const char *sym = "A", *note = "n";
            double price = 1;
            int64_t size = 2;
            kdb_out_list(&out, 6);
            if (shape == 0) {
                atom(PST_TIMESPAN, v);
                rest("A", 1, 2);
            } else {
                int32_t minutes = (int32_t)(v / (60 * NS_PER_S));
                if (shape == 1)
                    kdb_out_vector(&out, PST_TIMESPAN, 0, 1, &v);
                else
                    kdb_out_vector(&out, PST_MINUTE, 0, 1, &minutes);
                kdb_out_symbols(&out, &sym, 1);
                kdb_out_vector(&out, PST_FLOAT, 0, 1, &price);
                kdb_out_vector(&out, PST_LONG, 0, 1, &size);
                kdb_out_symbols(&out, &sym, 1);
                kdb_out_symbols(&out, &note, 1);
            }
            if (intake_update(r.in, NULL, "trade", 5, object(), midnight + c[i].now_h * h, &ticket,
                              &err) != INTAKE_TAKEN)
                fail_msg("case %u: %s", i, err.text);
            out.len = 0;
            trades(&r, text, sizeof text);
            snprintf(want, sizeof want, "%lld A ",
                     (long long)((midnight + c[i].want * h - NOW) / 1000));
            if (strncmp(text, want, strlen(want)))
                fail_msg("case %u shape %u: %s, not %s", i, shape, text, want);
        }
        close_rig(&r);
        tzone_free(zone);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_row_as_a_vector),
        cmocka_unit_test(test_refusals_name_what_to_send),
        cmocka_unit_test(test_every_type_comes_back),
        cmocka_unit_test(test_symbol_limits),
        cmocka_unit_test(test_numbering_begins_anew),
        cmocka_unit_test(test_refused_by_the_appender),
        cmocka_unit_test(test_tickets),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_long_message),
        cmocka_unit_test(test_times_of_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
