/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows to kdb+ and back, value for value: log files of every type, with nulls, infinities and odd
 * texts, are exported (columns and tables) and imported again; content hashes of both logs are
 * equal. And what an update may look like, what is converted, what is refused, how columns are
 * guessed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <unistd.h>
#include "content_hash.h"
#include "core/civil.h"
#include "core/rows.h"
#include "core/tables.h"
#include "cursor.h"
#include "kdb_log.h"
#include "kdb_rows.h"
#include "every_type.h"
#include "log_make.h"

#define DAY 9823 /* 2026.11.23 */

static char dir[64];
static struct io *io;
static struct err err;
static uint64_t seed = 88172645463325252ull;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/kdbrowsXXXXXX");
    assert_non_null(mkdtemp(dir));
    io = io_posix_create(&err);
    return io ? 0 : -1;
}
static int teardown(void **state)
{
    (void)state;
    char cmd[100];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    io_destroy(io);
    return system(cmd);
}
#define OK(x)                                                                                      \
    do {                                                                                           \
        if (!(x))                                                                                  \
            fail_msg("%s: %s", #x, err.text);                                                      \
    } while (0)

static const char *sub(const char *name)
{
    static char path[4][128];
    static int at;
    at = (at + 1) & 3;
    snprintf(path[at], sizeof path[at], "%s/%s", dir, name);
    return path[at];
}

/* ---- a log of every type ---- */

static const struct column_def of_feed[] = {{"price", PST_FLOAT}, {"side", PST_CHAR}};

static uint32_t text_id(struct log_make *m)
{
    char t[300];
    uint32_t n = (uint32_t)(rnd() % 8 == 0 ? 0 : rnd() % 8 == 1 ? 255 : rnd() % 6 + 1);
    for (uint32_t i = 0; i < n; i++)
        t[i] = (char)(n == 255 || rnd() % 4 ? 'A' + rnd() % 5 : 1 + rnd() % 255);
    return log_make_symbol(m, t, n);
}

static bool near; /* times near the date only: others do not fit into a timespan */

static void fill(struct log_make *m, const struct schema *s, uint8_t *rec, unsigned first)
{
    static const int64_t special[] = {0, 1, -1, INT64_MIN, INT64_MAX, -INT64_MAX};
    uint32_t at = s->fixed;
    memset(rec, 0, s->fixed);
    for (unsigned i = first; i < s->ncols; i++) {
        uint8_t *to = rec + s->col[i].offset;
        unsigned w = type_width(s->col[i].type);
        uint64_t v = rnd();
        if (s->col[i].packet)
            continue;
        if (s->col[i].type == PST_SYMBOL) {
            put32(to, text_id(m));
        } else if (s->col[i].type == PST_STRING) {
            uint32_t n = (uint32_t)(rnd() % 3 ? rnd() % 40 : 0);
            put32(to, at);
            put32(to + 4, n);
            for (uint32_t k = 0; k < n; k++)
                rec[at++] = (uint8_t)rnd();
        } else if (s->col[i].type == PST_BOOLEAN) {
            *to = v & 1;
        } else if (s->col[i].type == PST_FLOAT || s->col[i].type == PST_REAL) {
            static const double some[] = {
                0.1, -0.0, 1e300, -3.5, (double)NAN, (double)INFINITY, -(double)INFINITY};
            double d = some[v % PST_COUNT(some)];
            float e = (float)d;
            memcpy(to, w == 4 ? (void *)&e : (void *)&d, w);
        } else if (w == 16) {
            memset(to, v & 1 ? 0 : (int)v, 16);
            put64(to, v & 1 ? 0 : v);
        } else {
            int64_t x = special[v % PST_COUNT(special)];
            if (v & 0x100)
                x = (int64_t)rnd();
            else if (w < 8 && x != 0 && x != 1 && x != -1) /* that type's own */
                x = x == INT64_MIN ? (int64_t)1 << (8 * w - 1)
                    : x > 0        ? (1ll << (8 * w - 1)) - 1
                                   : 1 - (1ll << (8 * w - 1));
            memcpy(to, &x, w);
        }
    }
    struct record *r = (struct record *)(void *)rec;
    r->table = s->id;
    r->bytes = (uint16_t)pst_align8(at);
    memset(rec + at, 0, r->bytes - at);
    if (rnd() % 10)
        r->time = DAY * PST_DAY_NS + (int64_t)(rnd() % (uint64_t)PST_DAY_NS);
    else if (near)
        r->time = special[3 + rnd() % 3];
}

static uint64_t make(const char *to, unsigned rows, uint8_t quality)
{
    static pst_aligned(8) uint8_t rec[RECORD_MAX];
    struct schema s;
    struct log_make_config cfg = {.io = io, .directory = to, .prefix = "log", .name = "test"};
    struct log_make *m = log_make_open(&cfg, &err);
    OK(m != NULL);
    OK(schema_make(&s, 0, "every", false, every, PST_COUNT(every), &err));
    const struct schema *a = log_make_table(m, &s, &err);
    OK(schema_make(&s, 0, "trade", true, of_feed, PST_COUNT(of_feed), &err));
    const struct schema *b = log_make_table(m, &s, &err);
    OK(tables_gap(&s, &err));
    const struct schema *gap = log_make_table(m, &s, &err);
    struct packet_record p = {.rxtime = 5, .seq = 1000, .quality = quality};
    uint32_t sessions[2] = {log_make_symbol(m, "S1", 2), log_make_symbol(m, "S2", 2)};
    for (unsigned i = 0; i < rows; i++) {
        int32_t day = DAY + (i > rows / 2) + (rnd() % 50 == 0);
        unsigned kind = (unsigned)(rnd() % 20);
        if (kind == 0) {
            fill(m, gap, rec, 0);
            OK(log_make_row(m, gap, day, (struct record *)(void *)rec, NULL, &err));
        } else if (kind < 8) {
            fill(m, a, rec, 0);
            OK(log_make_row(m, a, day, (struct record *)(void *)rec, NULL, &err));
        } else {
            fill(m, b, rec, 0);
            unsigned how = (unsigned)(rnd() % 12);
            p.feed = log_make_symbol(m, "itch", 4);
            p.line = log_make_symbol(m, "A", 1);
            p.flags = how == 0 ? ROW_LATE : how == 1 ? RUN_UNSEQUENCED : 0;
            p.rxtime += how < 6 ? 0 : (int64_t)(rnd() % 1000);
            if (p.flags & RUN_UNSEQUENCED)
                p.seq = (uint64_t)PST_NULL_LONG;
            else if ((int64_t)p.seq == PST_NULL_LONG)
                p.seq = rnd() % 100000;
            else
                p.seq += how == 2 ? 0 : how == 3 ? 50 : 1;
            p.session = sessions[how == 4];
            OK(log_make_row(m, b, day, (struct record *)(void *)rec, &p, &err));
        }
    }
    struct log_make_figures f;
    OK(log_make_end(m, &f, &err));
    assert_int_equal(f.rows, rows);
    assert_true(f.days >= 2 && f.files >= f.days);
    return f.rows;
}

static void hash(const char *from, struct content_hash *h)
{
    struct cursor c;
    struct cursor_config cc = {.io = io, .dirs = {from}, .prefix = "log"};
    const struct frame *f;
    enum cursor_verdict v;
    OK(content_hash_init(h, &err));
    OK(cursor_open(&c, &cc, &err));
    int64_t time = INT64_MIN;
    while ((v = cursor_next(&c, &f)) == CURSOR_FRAME) {
        assert_true(f->time >= time);
        time = f->time;
        assert_true(content_hash_frame(h, &c.dict, f));
    }
    assert_int_equal(v, CURSOR_END);
    assert_int_equal(c.dict.malformed + c.dict.unresolved + c.dict.conflicts, 0);
    assert_int_equal(h->skipped, 0);
    content_hash_sort(h);
    cursor_close(&c);
}

static void equal(const struct content_hash *a, const struct content_hash *b)
{
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        assert_string_equal(a->sums[i].table, b->sums[i].table);
        assert_int_equal(a->sums[i].day, b->sums[i].day);
        assert_int_equal(a->sums[i].rows, b->sums[i].rows);
        struct hash128 x = content_sum_hash(&a->sums[i]), y = content_sum_hash(&b->sums[i]);
        if (x.lo != y.lo || x.hi != y.hi)
            fail_msg("%s %u: other rows", a->sums[i].table, a->sums[i].day);
        assert_memory_equal(&a->sums[i].full, &b->sums[i].full, sizeof x);
    }
}

/* One kdb+ log a date. */
static unsigned export(const char *from, const char *prefix, bool tables, bool timespan,
                       const struct tzone *zone, struct schema_set *schemas)
{
    struct cursor c;
    struct cursor_config cc = {.io = io, .dirs = {from}, .prefix = "log"};
    const struct frame *f;
    struct kdb_log_writer w[8];
    int32_t day[8];
    unsigned days = 0;
    struct kdb_columns k;
    struct kdb_out out = {0};
    kdb_columns_init(&k);
    k.timespan = timespan;
    k.zone = zone;
    OK(cursor_open(&c, &cc, &err));
    while (cursor_next(&c, &f) == CURSOR_FRAME) {
        struct record_walk walk;
        const struct record *r;
        if (f->kind != FRAME_DATA && f->kind != FRAME_GAP)
            continue;
        unsigned d = 0;
        while (d < days && day[d] != f->day)
            d++;
        if (d == days) {
            char path[KDB_LOG_PATH];
            day[days++] = f->day;
            assert_true(kdb_log_name(path, prefix, f->day));
            OK(kdb_log_create(&w[d], io, path, &err));
        }
        record_walk_start(&walk, f);
        const struct schema *s = NULL;
        while ((r = record_walk_next(&walk))) {
            if (s && r->table != s->id) {
                out.len = 0;
                assert_true(kdb_columns_message(&k, &out, tables));
                OK(kdb_log_write(&w[d], out.data, out.len, &err));
                s = NULL;
            }
            if (!s)
                kdb_columns_begin(&k, s = dictionary_schema(&c.dict, r->table));
            assert_true(kdb_columns_add(&k, &c.dict, f, r, walk.packet, record_walk_seq(&walk)));
        }
        out.len = 0;
        assert_true(kdb_columns_message(&k, &out, tables));
        OK(kdb_log_write(&w[d], out.data, out.len, &err));
    }
    assert_int_equal(k.lost_symbols, 0);
    for (unsigned id = TABLE_FIRST; schemas && id < TABLE_MAX; id++)
        if (dictionary_schema(&c.dict, id))
            schema_set_add(schemas, dictionary_schema(&c.dict, id), &err);
    for (unsigned d = 0; d < days; d++)
        OK(kdb_log_finish(&w[d], false, &err));
    kdb_out_free(&out);
    kdb_columns_free(&k);
    cursor_close(&c);
    return days;
}

/* All kdb+ logs `prefix`* into a log; schemas NULL: guessed, from the names in the updates. */
static void import(const char *prefix, unsigned days, const char *to, uint8_t quality,
                   const struct tzone *zone, const struct schema_set *schemas)
{
    static struct kdb_in in;
    static struct kdb_update u;
    struct log_make_config cfg = {.io = io, .directory = to, .prefix = "log", .name = "again"};
    struct log_make *m = log_make_open(&cfg, &err);
    OK(m != NULL);
    struct kdb_target target[4];
    unsigned targets = 0;
    static const char *const names[] = {"every", "trade", "gap"};
    for (unsigned t = 0; t < 3; t++) {
        struct kdb_guess g = {0};
        struct schema s;
        snprintf(g.table, sizeof g.table, "%s", names[t]);
        target[targets] = (struct kdb_target){.zone = zone, .quality = quality};
        for (int32_t day = DAY; !schemas && day < DAY + (int32_t)days; day++) {
            struct kdb_log l;
            struct kdb_message msg;
            char path[KDB_LOG_PATH];
            kdb_log_name(path, prefix, day);
            OK(kdb_log_open(&l, io, path, &err));
            while (kdb_log_next(&l, &msg) == KDB_LOG_MESSAGE)
                if (strlen(names[t]) == msg.table_len &&
                    !memcmp(msg.table, names[t], msg.table_len)) {
                    OK(kdb_update_view(&u, &msg.data, &err));
                    kdb_guess_add(&g, &u);
                }
            kdb_log_close(&l);
        }
        if (schemas)
            s = *schema_set_find(schemas, names[t]);
        else
            OK(kdb_guess_schema(&g, &s, &target[targets], &err));
        s.id = 0;
        target[targets].schema = log_make_table(m, &s, &err);
        OK(target[targets].schema != NULL);
        targets++;
    }
    for (int32_t day = DAY; day < DAY + (int32_t)days; day++) {
        struct kdb_log l;
        struct kdb_message msg;
        char path[KDB_LOG_PATH];
        kdb_log_name(path, prefix, day);
        OK(kdb_log_open(&l, io, path, &err));
        while (kdb_log_next(&l, &msg) == KDB_LOG_MESSAGE) {
            unsigned t = 0;
            while (strncmp(names[t], msg.table, msg.table_len))
                t++;
            target[t].date = day;
            OK(kdb_update_view(&u, &msg.data, &err));
            OK(kdb_in_begin(&in, &target[t], &u, &err));
            int r;
            while ((r = kdb_in_next(&in, &err))) {
                if (r < 0)
                    fail_msg("%s", err.text);
                assert_true(kdb_in_symbols(&in, true, log_make_symbol, m));
                OK(log_make_row(m, target[t].schema, in.day, (struct record *)(void *)in.record,
                                in.has_packet ? &in.packet : NULL, &err));
            }
        }
        kdb_log_close(&l);
    }
    struct log_make_figures f;
    OK(log_make_end(m, &f, &err));
}

static void round_trip(void **state)
{
    (void)state;
    struct content_hash first, again;
    struct tzone *york = tzone_load("America/New_York", &err);
    OK(york != NULL);
    for (unsigned v = 0; v < 6; v++) {
        char a[16], b[16], k[128];
        uint8_t quality = v & 1 ? CLOCK_CAPTURE : CLOCK_NIC;
        snprintf(a, sizeof a, "a%u", v);
        snprintf(b, sizeof b, "b%u", v);
        snprintf(k, sizeof k, "%s/sym%u-", dir, v);
        near = v >= 3;
        make(sub(a), 4000, quality);
        hash(sub(a), &first);
        assert_true(first.count >= 6);
        struct schema_set *schemas = schema_set_new();
        const struct tzone *zone = v == 5 ? york : NULL;
        bool tables = v == 1 || v == 4;
        unsigned days = export(sub(a), k, tables, v >= 3, zone, schemas);
        import(k, days, sub(b), quality, zone, tables ? NULL : schemas);
        hash(sub(b), &again);
        if (!zone) /* random local times may repeat in autumn */
            equal(&first, &again);
        else
            assert_int_equal(first.count, again.count);
        schema_set_free(schemas);
        content_hash_free(&first);
        content_hash_free(&again);
    }
    tzone_free(york);
}

/* ---- shapes and conversions ---- */

static struct kdb_out out;
static struct kdb_object object(void)
{
    struct kdb_object o;
    size_t size;
    assert_int_equal(kdb_object_check(out.data, out.len, KDB_LITTLE, &size, NULL), KDB_OK);
    assert_int_equal(size, out.len);
    kdb_object_view(&o, out.data, KDB_LITTLE);
    return o;
}

static void atom(int type, int64_t v)
{
    kdb_out_atom(&out, type, &v);
}

static char seen_symbols[16][256];
static unsigned nseen;
static uint32_t note_symbol(void *arg, const char *text, uint32_t len)
{
    (void)arg;
    snprintf(seen_symbols[nseen], 256, "%.*s", (int)len, text);
    return nseen++;
}

/* One value of kdb+ (what `out` holds) into a column of type `to`: its bytes, or why not. */
static const char *into(uint8_t to, int32_t date, void *value)
{
    static struct kdb_in in;
    static struct kdb_update u;
    struct schema s;
    struct column_def cols[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"x", to}};
    struct kdb_out row = {0};
    kdb_out_list(&row, 3);
    kdb_out_atom(&row, PST_TIMESTAMP, &(int64_t){DAY * PST_DAY_NS});
    kdb_out_symbol(&row, "S", 1);
    kdb_out_bytes(&row, out.data, out.len);
    out.len = 0;
    struct kdb_object o;
    size_t size;
    assert_int_equal(kdb_object_check(row.data, row.len, KDB_LITTLE, &size, NULL), KDB_OK);
    kdb_object_view(&o, row.data, KDB_LITTLE);
    OK(schema_make(&s, 7, "t", false, cols, 3, &err));
    struct kdb_target t = {.schema = &s, .date = date};
    nseen = 0;
    static char why[500];
    bool taken = kdb_update_view(&u, &o, &err) && kdb_in_begin(&in, &t, &u, &err) &&
                 kdb_in_next(&in, &err) == 1;
    if (taken) {
        assert_true(kdb_in_symbols(&in, true, note_symbol, NULL));
        memcpy(value, in.record + s.col[2].offset, type_width(to));
        if (to == PST_STRING) {
            uint32_t len;
            const char *text =
                record_string((struct record *)(void *)in.record, s.col[2].offset, &len);
            snprintf(value, 64, "%.*s", (int)len, text);
        }
    }
    kdb_out_free(&row);
    snprintf(why, sizeof why, "%s", err.text);
    return taken ? NULL : why;
}

static void takes(int from, int64_t v, uint8_t to, int64_t want)
{
    uint8_t got[64] = {0};
    atom(from, v);
    const char *why = into(to, DAY, got);
    if (why)
        fail_msg("%s %lld into %s: %s", kdb_object_type_name(from), (long long)v, type_name(to),
                 why);
    if (memcmp(got, &want, type_width(to)))
        fail_msg("%s %lld into %s: %llx, not %llx", kdb_object_type_name(from), (long long)v,
                 type_name(to), (long long)le64(got), (long long)want);
}
static void refuses(int from, int64_t v, uint8_t to, const char *words)
{
    uint8_t got[64];
    atom(from, v);
    const char *why = into(to, KDB_NO_DATE, got);
    if (!why || !strstr(why, words))
        fail_msg("%s %lld into %s: %s", kdb_object_type_name(from), (long long)v, type_name(to),
                 why ? why : "taken");
}
static int64_t bits(double d)
{
    int64_t v;
    memcpy(&v, &d, 8);
    return v;
}
static int64_t real_bits(float f)
{
    uint32_t v;
    memcpy(&v, &f, 4);
    return v;
}

static void conversions(void **state)
{
    (void)state;
    takes(PST_INT, 5, PST_LONG, 5);
    takes(PST_INT, -5, PST_LONG, -5);
    takes(PST_INT, INT32_MIN, PST_LONG, INT64_MIN);
    takes(PST_INT, INT32_MAX, PST_LONG, INT64_MAX);
    takes(PST_LONG, -INT64_MAX, PST_SHORT, (uint16_t)-INT16_MAX);
    takes(PST_LONG, 32766, PST_SHORT, 32766);
    refuses(PST_LONG, 32767, PST_SHORT, "does not hold that value");
    refuses(PST_LONG, -32767, PST_SHORT, "does not hold that value");
    refuses(PST_LONG, 256, PST_BYTE, "does not hold that value");
    refuses(PST_LONG, -1, PST_BYTE, "does not hold that value");
    refuses(PST_LONG, INT64_MIN, PST_BYTE, "has no place for a null");
    takes(PST_LONG, 255, PST_BYTE, 255);
    takes(PST_BYTE, 255, PST_LONG, 255);
    takes(PST_LONG, 1, PST_BOOLEAN, 1);
    refuses(PST_LONG, 2, PST_BOOLEAN, "does not hold that value");
    takes(PST_LONG, 3, PST_FLOAT, bits(3));
    takes(PST_LONG, 1ll << 53, PST_FLOAT, bits(9007199254740992.0));
    refuses(PST_LONG, (1ll << 53) + 1, PST_FLOAT, "would lose digits");
    takes(PST_LONG, INT64_MIN, PST_FLOAT, (int64_t)PST_NULL_FLOAT_BITS);
    takes(PST_SHORT, INT16_MAX, PST_FLOAT, bits((double)INFINITY));
    takes(PST_FLOAT, bits(7), PST_INT, 7);
    takes(PST_FLOAT, bits((double)NAN), PST_INT, 0x80000000);
    takes(PST_FLOAT, bits(-(double)INFINITY), PST_INT, 0x80000001);
    refuses(PST_FLOAT, bits(7.5), PST_INT, "is no whole number");
    takes(PST_FLOAT, bits(0.5), PST_REAL, real_bits(0.5f));
    refuses(PST_FLOAT, bits(0.1), PST_REAL, "would lose digits");
    takes(PST_REAL, real_bits(0.1f), PST_FLOAT, bits((double)0.1f));
    takes(PST_FLOAT, 0x7FF8000000000000, PST_FLOAT, (int64_t)PST_NULL_FLOAT_BITS);
    takes(PST_TIME, 1500, PST_TIMESPAN, 1500000000);
    takes(PST_TIMESPAN, 1500000000, PST_TIME, 1500);
    refuses(PST_TIMESPAN, 1500000001, PST_TIME, "does not hold that value");
    takes(PST_MINUTE, 2, PST_SECOND, 120);
    takes(PST_TIMESPAN, 5, PST_TIMESTAMP, DAY * PST_DAY_NS + 5);
    takes(PST_TIMESPAN, -5, PST_TIMESTAMP, DAY * PST_DAY_NS - 5);
    takes(PST_TIME, 5, PST_TIMESTAMP, DAY * PST_DAY_NS + 5000000);
    takes(PST_TIMESPAN, INT64_MIN, PST_TIMESTAMP, INT64_MIN);
    takes(PST_TIME, INT32_MAX, PST_TIMESTAMP, INT64_MAX);
    refuses(PST_TIMESPAN, 5, PST_TIMESTAMP, "give --date");
    takes(PST_DATE, 10, PST_TIMESTAMP, 10 * PST_DAY_NS);
    takes(PST_DATE, INT32_MIN, PST_TIMESTAMP, INT64_MIN);
    refuses(PST_DATE, 200000, PST_TIMESTAMP, "outside the years");
    takes(KDB_DATETIME, bits(5287.4927260763889), PST_TIMESTAMP, 456839371533000000);
    takes(KDB_DATETIME, bits((double)NAN), PST_TIMESTAMP, INT64_MIN);
    refuses(KDB_DATETIME, bits(5287.49272607), PST_TIMESTAMP, "between milliseconds");
    refuses(PST_LONG, 5, PST_TIMESTAMP, "cannot be a timestamp");
    refuses(PST_LONG, 5, PST_TIMESPAN, "is of another type");
    refuses(PST_LONG, 5, PST_SYMBOL, "is no symbol");
    refuses(PST_LONG, 5, PST_STRING, "is no text");
    refuses(PST_LONG, 5, PST_GUID, "is of another type");
    refuses(PST_DATE, 5, PST_LONG, "is no number");
    refuses(PST_DATE, 5, PST_MONTH, "is of another type");
    takes(PST_CHAR, 'x', PST_CHAR, 'x');
    char text[64];
    kdb_out_chars(&out, "hello", 5);
    assert_null(into(PST_STRING, DAY, text));
    assert_string_equal(text, "hello");
    kdb_out_symbol(&out, "hello", 5);
    assert_null(into(PST_STRING, DAY, text));
    assert_string_equal(text, "hello");
    kdb_out_list(&out, 0);
    assert_null(into(PST_STRING, DAY, text));
    assert_string_equal(text, "");
    kdb_out_chars(&out, "hello", 5);
    assert_null(into(PST_SYMBOL, DAY, text));
    assert_string_equal(seen_symbols[1], "hello");
    kdb_out_chars(&out, "he\0lo", 5);
    assert_non_null(strstr(into(PST_SYMBOL, DAY, text), "holds a NUL byte"));
    kdb_out_chars(&out, "hello", 5);
    assert_non_null(strstr(into(PST_CHAR, DAY, text), "is a text, not one character"));
    kdb_out_chars(&out, "hello", 5);
    assert_non_null(strstr(into(PST_LONG, DAY, text), "is a text"));
    char *huge = calloc(1, 70000);
    memset(huge, 'x', 70000);
    kdb_out_chars(&out, huge, 70000);
    assert_non_null(strstr(into(PST_STRING, DAY, text), "longer than 65,528 bytes"));
    kdb_out_symbol(&out, huge, 256);
    assert_non_null(strstr(into(PST_SYMBOL, DAY, text), "255 bytes"));
    free(huge);
    kdb_out_vector(&out, PST_LONG, 0, 2, (int64_t[]){1, 2});
    assert_non_null(strstr(into(PST_LONG, DAY, text), "a row whose value 3 is a long vector"));
    kdb_out_null(&out);
    assert_non_null(strstr(into(PST_LONG, DAY, text), "a row whose value 3 is a function"));
}

static void view(unsigned rows, unsigned ncols, const char *why)
{
    static struct kdb_update u;
    struct kdb_object o = object();
    err.text[0] = 0;
    bool ok = kdb_update_view(&u, &o, &err);
    if (why) {
        assert_false(ok);
        if (strcmp(err.text, why))
            fail_msg("%s", err.text);
    } else {
        OK(ok);
        assert_int_equal(u.rows, rows);
        assert_int_equal(u.ncols, ncols);
    }
    out.len = 0;
}

static void shapes(void **state)
{
    (void)state;
    static const char *const ab[] = {"a", "b"};
    int64_t two[] = {1, 2};
    kdb_out_list(&out, 0);
    view(0, 0, NULL);
    kdb_out_list(&out, 2);
    atom(PST_LONG, 1);
    kdb_out_symbol(&out, "x", 1);
    view(1, 2, NULL);
    kdb_out_vector(&out, PST_FLOAT, 0, 2, two); /* a row of floats only is a vector */
    view(1, 2, NULL);
    kdb_out_symbols(&out, ab, 2);
    view(1, 2, NULL);
    kdb_out_list(&out, 2);
    kdb_out_vector(&out, PST_LONG, 0, 2, two);
    atom(PST_LONG, 7); /* the same value in both rows */
    view(2, 2, NULL);
    kdb_out_list(&out, 2);
    kdb_out_vector(&out, PST_LONG, 0, 2, two);
    kdb_out_vector(&out, PST_LONG, 0, 1, two);
    view(0, 0, "column 2 has 1 values, the first has 2");
    kdb_out_columns(&out, ab, 2);
    kdb_out_vector(&out, PST_LONG, 0, 2, two);
    kdb_out_list(&out, 2);
    kdb_out_chars(&out, "x", 1);
    kdb_out_chars(&out, "yz", 2);
    view(2, 2, NULL);
    kdb_out_dict(&out, false); /* a row by name */
    kdb_out_symbols(&out, ab, 2);
    kdb_out_vector(&out, PST_LONG, 0, 2, two);
    view(1, 2, NULL);
    kdb_out_dict(&out, false);
    kdb_out_symbols(&out, ab, 2);
    kdb_out_vector(&out, PST_LONG, 0, 1, two);
    view(0, 0, "a dictionary of 2 names and 1 values");
    kdb_out_dict(&out, false); /* a keyed table */
    kdb_out_columns(&out, ab, 1);
    kdb_out_vector(&out, PST_LONG, 0, 2, two);
    kdb_out_columns(&out, ab + 1, 1);
    kdb_out_vector(&out, PST_LONG, 0, 2, two);
    view(2, 2, NULL);
    atom(PST_LONG, 5);
    view(0, 0, "its rows are a long atom");
    kdb_out_null(&out);
    view(0, 0, "its rows are a function");
    kdb_out_list(&out, 1);
    kdb_out_columns(&out, ab, 1);
    kdb_out_vector(&out, PST_LONG, 0, 2, two);
    view(0, 0, "column 1 is a table");
    kdb_out_list(&out, 97);
    for (int i = 0; i < 97; i++)
        atom(PST_LONG, i);
    view(0, 0, "more than 96 columns");
}

static void guess(struct kdb_guess *g)
{
    static struct kdb_update u;
    struct kdb_object o = object();
    OK(kdb_update_view(&u, &o, &err));
    kdb_guess_add(g, &u);
    out.len = 0;
}

static void guesses(void **state)
{
    (void)state;
    struct kdb_guess g = {.table = "t"};
    struct schema s;
    struct kdb_target t = {0};
    assert_false(kdb_guess_schema(&g, &s, &t, &err));
    assert_string_equal(err.text, "table t has no update with rows");
    for (int i = 0; i < 2; i++) {
        kdb_out_list(&out, 8);
        atom(PST_TIMESPAN, 5);
        kdb_out_symbol(&out, "S", 1);
        atom(i ? PST_SHORT : PST_INT, 5);
        if (i)
            atom(PST_CHAR, 'x');
        else
            kdb_out_chars(&out, "long", 4);
        atom(i ? PST_REAL : PST_LONG, 0);
        atom(PST_CHAR, 'x');
        atom(PST_DATE, 5);
        atom(PST_BOOLEAN, 1);
        guess(&g);
    }
    OK(kdb_guess_schema(&g, &s, &t, &err));
    static const uint8_t want[] = {PST_TIMESTAMP, PST_SYMBOL, PST_INT,  PST_STRING,
                                   PST_FLOAT,     PST_CHAR,   PST_DATE, PST_BOOLEAN};
    static const char *const names[] = {"time", "sym", "c3", "c4", "c5", "c6", "c7", "c8"};
    assert_int_equal(s.ncols, 8);
    for (unsigned i = 0; i < 8; i++) {
        assert_string_equal(s.col[i].name, names[i]);
        assert_string_equal(type_name(s.col[i].type), type_name(want[i]));
    }
    kdb_out_list(&out, 8); /* one column of yet another type */
    atom(PST_TIMESPAN, 5);
    kdb_out_symbol(&out, "S", 1);
    for (int i = 0; i < 6; i++)
        atom(PST_DATE, 5);
    guess(&g);
    assert_false(kdb_guess_schema(&g, &s, &t, &err));
    assert_string_equal(err.text, "table t: column c3 holds short, int, date; say which: --schema");
    kdb_out_list(&out, 1);
    atom(PST_TIMESPAN, 5);
    guess(&g);
    assert_int_equal(g.odd, 1);

    /* by name, time and sym not in front */
    static const char *const cols[] = {"price", "sym", "time"};
    struct kdb_guess n = {.table = "n"};
    kdb_out_columns(&out, cols, 3);
    kdb_out_vector(&out, PST_FLOAT, 0, 1, &(double){1.5});
    kdb_out_symbols(&out, cols, 1);
    kdb_out_vector(&out, PST_TIMESTAMP, 0, 1, &(int64_t){5});
    guess(&n);
    OK(kdb_guess_schema(&n, &s, &t, &err));
    assert_string_equal(s.col[2].name, "price");
    assert_true(t.ordered && t.position[0] == 2 && t.position[1] == 1 && t.position[2] == 0);
    /* a list of lists in one update leaves the column its type; alone it has none */
    struct kdb_guess mixed = {.table = "m"};
    struct kdb_target tm = {0};
    for (int i = 0; i < 2; i++) {
        kdb_out_list(&out, 3);
        kdb_out_vector(&out, PST_TIMESPAN, 0, 1, &(int64_t){5});
        kdb_out_symbols(&out, cols, 1);
        kdb_out_list(&out, 1);
        kdb_out_vector(&out, PST_LONG, 0, 1, &(int64_t){5});
        guess(&mixed);
        assert_int_equal(kdb_guess_schema(&mixed, &s, &tm, &err), i);
        if (i)
            break;
        assert_non_null(strstr(err.text, "column c3 holds lists"));
        kdb_out_list(&out, 3);
        kdb_out_vector(&out, PST_TIMESPAN, 0, 1, &(int64_t){5});
        kdb_out_symbols(&out, cols, 1);
        kdb_out_vector(&out, PST_LONG, 0, 1, &(int64_t){5});
        guess(&mixed);
    }
    assert_int_equal(s.col[2].type, PST_LONG);
    static const char *const none[] = {"price", "sym", "when"};
    n = (struct kdb_guess){.table = "n"};
    kdb_out_columns(&out, none, 3);
    for (int i = 0; i < 3; i++)
        kdb_out_vector(&out, PST_FLOAT, 0, 1, &(double){1.5});
    guess(&n);
    assert_false(kdb_guess_schema(&n, &s, &t, &err));
    assert_non_null(strstr(err.text, "has no columns time and sym"));

    OK(kdb_guess_parse(&g, "trade", 5, "time,sym,price:float,note:string", &err));
    assert_int_equal(g.ncols, 4);
    assert_int_equal(g.col[3].type, PST_STRING);
    assert_false(kdb_guess_parse(&g, "trade", 5, "time,sym,price:flaot", &err));
    assert_string_equal(err.text, "--schema trade: column price: no type 'flaot'");
    assert_false(kdb_guess_parse(&g, "trade", 5, "time", &err));
    assert_false(kdb_guess_parse(&g, "trade", 5, "time,,sym", &err));
    assert_false(kdb_guess_parse(&g, "", 0, "time,sym", &err));
    kdb_out_free(&out);
}

static void in_q(void **state)
{
    (void)state;
    struct schema s;
    struct kdb_columns k;
    char text[600];
    kdb_columns_init(&k);
    OK(schema_make(&s, 7, "trade", true, of_feed, PST_COUNT(of_feed), &err));
    k.packet_columns = false;
    k.timespan = true;
    kdb_columns_schema(&k, &s, text, sizeof text);
    assert_string_equal(
        text, "trade:flip `time`sym`price`side!(`timespan$();`symbol$();`float$();`char$())");
    OK(schema_make(&s, 7, "every", false, every, PST_COUNT(every), &err));
    k.timespan = false;
    kdb_columns_schema(&k, &s, text, sizeof text);
    assert_non_null(strstr(text, "`time$();();())"));
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {T(round_trip), T(conversions), T(shapes), T(guesses),
                                       T(in_q)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
