/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fan-out promises beside the right rows (test_fanout.c): the bytes of a message, what is
 * shared, batches, conflation, what waits for a consumer, changes from one fan-out to another
 * without hole or double, refusals, failures, ends of days over several calendars, other marks.
 */
#include "fanout_kit.h"
#include "every_type.h"
#include <errno.h>
#include "core/civil.h"
#include "publish/fanout.h"
#include "storage/kdb_object.h"
#include "storage/kdb_rows.h"

static struct err err;

/* ---- a bed: a small journal whose frames are made as the test goes ---- */

static const struct column_def trade_cols[] = {{"time", PST_TIMESTAMP},
                                               {"sym", PST_SYMBOL},
                                               {"price", PST_FLOAT},
                                               {"size", PST_LONG},
                                               {"note", PST_STRING}};
static const struct column_def quote_cols[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"bid", PST_FLOAT}, {"level", PST_INT}};

#define GOT 4096
static struct {
    struct journal j;
    struct dictionary dict;
    uint32_t fed;
    const struct schema *trade, *quote;
    struct fanout *f;
    struct got {
        uintptr_t who;
        struct message *m;
    } got[GOT];
    unsigned n;
    char why[600];
    uintptr_t failed;
    uint64_t failed_id;
} bed;

static void sink(void *arg, void *consumer, struct message *m)
{
    (void)arg;
    assert_true(bed.n < GOT);
    bed.got[bed.n++] = (struct got){(uintptr_t)consumer, message_hold(m)};
}
static void failed(void *arg, void *consumer, uint64_t id, const char *why)
{
    (void)arg;
    bed.failed = (uintptr_t)consumer;
    bed.failed_id = id;
    snprintf(bed.why, sizeof bed.why, "%s", why);
}
static void forget(void)
{
    while (bed.n)
        message_release(bed.got[--bed.n].m);
}

static void feed_dict(void)
{
    for (; bed.fed < bed.j.frames; bed.fed++)
        assert_true(dictionary_feed(&bed.dict, bed.j.frame[bed.fed]));
}

static struct fanout *fanout_with(struct fanout_config cfg)
{
    cfg.dict = &bed.dict;
    cfg.sink = sink;
    cfg.failed = failed;
    struct fanout *f = fanout_new(&cfg, &err);
    assert_non_null(f);
    fanout_at(f, bed.j.position);
    return f;
}

static const struct schema *declare(const char *name, const struct column_def *cols, unsigned n)
{
    struct schema s;
    assert_true(schema_make(&s, 0, name, false, cols, n, &err));
    const struct schema *t = journal_table(&bed.j, &s);
    feed_dict();
    return t;
}

static void open_with(struct fanout_config cfg)
{
    memset(&bed, 0, sizeof bed);
    assert_true(dictionary_init(&bed.dict, &err));
    journal_open(&bed.j, NULL);
    bed.trade = declare("trade", trade_cols, PST_COUNT(trade_cols));
    bed.quote = declare("quote", quote_cols, PST_COUNT(quote_cols));
    bed.f = fanout_with(cfg);
}
static void open_bed(void)
{
    open_with((struct fanout_config){0});
}
static void close_bed(void)
{
    forget();
    fanout_free(bed.f);
    journal_close(&bed.j);
    dictionary_free(&bed.dict);
    assert_int_equal(message_bytes(), 0);
}

static pst_aligned(8) uint8_t records[FRAME_MAX];
static uint32_t record_bytes;
static uint16_t record_count;

static void add_trade(const char *sym, double price, int64_t size, const char *note)
{
    uint8_t *at = records + record_bytes;
    const struct schema *s = bed.trade;
    uint32_t len = (uint32_t)strlen(note);
    memset(at, 0, s->fixed + len + 8);
    *(struct record *)(void *)at =
        (struct record){s->id, (uint16_t)pst_align8(s->fixed + len),
                        journal_symbol(&bed.j, sym, (uint32_t)strlen(sym)),
                        9000 * PST_DAY_NS + 34200 * PST_SECOND_NS + size};
    memcpy(at + s->col[2].offset, &price, 8);
    put64(at + s->col[3].offset, (uint64_t)size);
    put32(at + s->col[4].offset, s->fixed);
    put32(at + s->col[4].offset + 4, len);
    memcpy(at + s->fixed, note, len);
    record_bytes += (uint32_t)pst_align8(s->fixed + len);
    record_count++;
}
static void add_quote(const char *sym, double bid, int32_t level)
{
    uint8_t *at = records + record_bytes;
    const struct schema *s = bed.quote;
    memset(at, 0, s->fixed);
    *(struct record *)(void *)at =
        (struct record){s->id, s->fixed, journal_symbol(&bed.j, sym, (uint32_t)strlen(sym)),
                        9000 * PST_DAY_NS + level};
    memcpy(at + s->col[2].offset, &bid, 8);
    put32(at + s->col[3].offset, (uint32_t)level);
    record_bytes += s->fixed;
    record_count++;
}
/* The frame of what was added: to the fan-out, unless it is NULL. */
static const struct frame *frame_to(struct fanout *f, uint16_t day)
{
    uint32_t at = bed.j.frames;
    journal_records(&bed.j, records, record_bytes, record_count, day, FRAME_DATA);
    record_bytes = record_count = 0;
    feed_dict();
    for (; f && at < bed.j.frames; at++)
        fanout_frame(f, bed.j.frame[at]);
    return bed.j.frame[bed.j.frames - 1];
}
static void mark_to(struct fanout *f, enum mark_type type, uint16_t day, const char *json)
{
    journal_mark(&bed.j, type, day, json);
    feed_dict();
    fanout_frame(f, bed.j.frame[bed.j.frames - 1]);
}

/* ---- subscribing in a line ---- */

static struct fanout_text text_of(const char *s)
{
    return (struct fanout_text){s, (uint32_t)strlen(s)};
}
static struct fanout_text name_array[16];
static struct fanout_spec spec(const char *tables, const char *syms)
{
    struct fanout_spec s = {.marks = FANOUT_STOCK};
    assert_true(fanout_parse_names(tables, strlen(tables), name_array, 8, &s.tables));
    assert_true(fanout_parse_names(syms, strlen(syms), name_array + 8, 8, &s.syms));
    return s;
}
static uint64_t sub(struct fanout *f, struct fanout_spec s, uintptr_t who)
{
    uint64_t id = 0;
    if (!fanout_subscribe(f, &s, (void *)who, &id, &err))
        fail_msg("%s", err.text);
    assert_true(id > 0);
    return id;
}
static bool refused(struct fanout_spec s, int code, const char *word)
{
    uint64_t id = 77;
    bool ok = fanout_subscribe(bed.f, &s, (void *)99, &id, &err);
    if (ok || id != 77 || err.code != code || !strstr(err.text, word))
        fail_msg("%d %s", err.code, ok ? "taken" : err.text);
    return true;
}

/* ---- looking at messages ---- */

static const struct kdb_object *part(const struct message *m, unsigned i)
{
    static struct kdb_object o;
    struct kdb_items items;
    kdb_object_view(&o, m->data + 8, KDB_LITTLE);
    assert_true(kdb_items(&o, &items));
    for (; i; i--)
        assert_true(kdb_items_next(&items));
    o = items.item;
    return &o;
}
/* Column i of the table of a message as text: "A 1 2.5 x,B ..." for people who read tests. */
struct shown {
    char *at;
    uint32_t rows;
    char cell[64][16][24];
    uint32_t cols;
};
static bool show_column(void *arg, uint32_t i, const char *name, uint32_t len,
                        const struct kdb_object *c)
{
    struct shown *s = arg;
    struct kdb_texts t;
    struct kdb_items items;
    (void)name, (void)len;
    if (c->type == PST_SYMBOL)
        kdb_texts(c, &t);
    if (c->type == KDB_LIST)
        kdb_items(c, &items);
    for (uint32_t r = 0; r < s->rows; r++) {
        char *to = s->cell[r][i];
        if (c->type == PST_SYMBOL) {
            snprintf(to, 24, "%s", t.text);
            kdb_texts_next(&t);
        } else if (c->type == KDB_LIST) {
            snprintf(to, 24, "%.*s", (int)items.item.count, (const char *)items.item.data);
            kdb_items_next(&items);
        } else if (c->type == PST_FLOAT) {
            snprintf(to, 24, "%g", kdb_object_double(c, r));
        } else {
            snprintf(to, 24, "%lld", (long long)kdb_object_long(c, r));
        }
    }
    s->cols = i + 1;
    return true;
}
/* The rows of a message without their time: "A 1 2 x, B 2 3 y". */
static const char *rows_of(const struct message *m)
{
    static char out[8192];
    static struct shown s;
    struct kdb_table t;
    const struct kdb_object *o = part(m, 2);
    assert_true(kdb_table_view(&t, o, &err));
    s.rows = t.rows;
    assert_true(t.rows <= 64 && t.ncols <= 16);
    kdb_table_each(&t, show_column, &s);
    size_t n = 0;
    out[0] = 0;
    for (uint32_t r = 0; r < s.rows; r++)
        for (uint32_t i = s.cols > 2; i < s.cols; i++)
            n += (size_t)snprintf(out + n, sizeof out - n, "%s%s",
                                  i > (s.cols > 2) ? " "
                                  : r              ? ", "
                                                   : "",
                                  s.cell[r][i]);
    return out;
}
/* What a consumer has got, and forgets it: rows of messages joined by "; ", marks by name. */
static const char *took(uintptr_t who)
{
    static char out[16384];
    size_t n = 0;
    out[0] = 0;
    unsigned kept = 0;
    for (unsigned i = 0; i < bed.n; i++) {
        if (bed.got[i].who != who) {
            bed.got[kept++] = bed.got[i];
            continue;
        }
        const struct message *m = bed.got[i].m;
        uint32_t len;
        const char *head;
        struct kdb_object o;
        if (m->kind == MESSAGE_ROWS) {
            n += (size_t)snprintf(out + n, sizeof out - n, "%s%s", n ? "; " : "", rows_of(m));
        } else {
            head = kdb_object_text(part(m, 0), &len);
            n += (size_t)snprintf(out + n, sizeof out - n, "%s%.*s", n ? "; " : "", (int)len, head);
            o = *part(m, 1);
            if (o.type == -PST_DATE)
                n += (size_t)snprintf(out + n, sizeof out - n, " %lld",
                                      (long long)kdb_object_long(&o, 0));
        }
        message_release(bed.got[i].m);
    }
    bed.n = kept;
    return out;
}

/* ---- bytes ---- */

/* The same rows through storage/kdb_rows.h, which log export uses: byte for byte one message. */
static void same_bytes(const struct tzone *zone, bool timespan, bool names)
{
    static struct kdb_columns k;
    open_with((struct fanout_config){.zone = zone, .timespan = timespan});
    const struct schema *s = declare("every", every, PST_COUNT(every) - 1);
    kdb_columns_init(&k);
    k.zone = zone;
    k.timespan = timespan;
    kdb_columns_begin(&k, s);
    struct fanout_spec sp = spec("every", "");
    sp.form = names ? FANOUT_TABLE : FANOUT_COLUMNS;
    sub(bed.f, sp, 1);
    for (unsigned fr = 0; fr < 20; fr++) {
        for (unsigned r = 0; r < 40; r++) {
            uint8_t *at = records + record_bytes;
            uint32_t len = (uint32_t)(kit_rnd() % 9);
            for (uint32_t i = 0; i < s->fixed + len + 8u; i++)
                at[i] = (uint8_t)kit_rnd();
            for (unsigned i = 0; i < s->ncols; i++)
                if (kit_rnd() % 6 == 0)
                    type_put_null(at + s->col[i].offset, s->col[i].type);
            struct record *rec = (struct record *)(void *)at;
            *rec = (struct record){s->id, (uint16_t)pst_align8(s->fixed + len), PST_NULL_SYMBOL,
                                   9000 * PST_DAY_NS +
                                       (int64_t)(kit_rnd() % (400 * (uint64_t)PST_DAY_NS))};
            if (kit_rnd() % 9 == 0)
                rec->time = INT64_MAX;
            char sym[40];
            for (unsigned i = 1; i < s->ncols; i++)
                if (s->col[i].type == PST_SYMBOL) {
                    int n = snprintf(sym, sizeof sym, "%.*s", (int)(kit_rnd() % 20),
                                     "a symbol of letters");
                    put32(at + s->col[i].offset, journal_symbol(&bed.j, sym, (uint32_t)n));
                }
            at[s->col[2].offset] &= 1;
            put32(at + s->col[19].offset, s->fixed);
            put32(at + s->col[19].offset + 4, len);
            record_bytes += rec->bytes;
            record_count++;
        }
        const struct frame *f = frame_to(bed.f, (uint16_t)(9000 + fr / 7));
        struct record_walk w;
        const struct record *r;
        record_walk_start(&w, f);
        while ((r = record_walk_next(&w)) != NULL)
            assert_true(kdb_columns_add(&k, &bed.dict, f, r, NULL, PST_NULL_LONG));
    }
    fanout_flush(bed.f, 1);
    struct kdb_out out = {0};
    size_t at = kdb_frame_begin(&out, KDB_ASYNC);
    assert_true(kdb_columns_message(&k, &out, names) && kdb_frame_end(&out, at));
    assert_int_equal(bed.n, 1);
    assert_int_equal(bed.got[0].m->len, out.len);
    assert_memory_equal(bed.got[0].m->data, out.data, out.len);
    kdb_out_free(&out);
    kdb_columns_free(&k);
    close_bed();
}

static void bytes(void **unused)
{
    (void)unused;
    struct tzone *zone = tzone_load("America/New_York", &err);
    assert_non_null(zone);
    same_bytes(NULL, false, true);
    same_bytes(NULL, true, true);
    same_bytes(zone, false, true);
    same_bytes(zone, true, true);
    same_bytes(NULL, false, false);
    tzone_free(zone);
}

/* ---- texts ---- */

static const char *names(const char *s)
{
    static char out[200];
    struct fanout_text t[4];
    struct fanout_texts x;
    if (!fanout_parse_names(s, strlen(s), t, 4, &x))
        return "too many";
    if (x.all)
        return "all";
    size_t n = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < x.n; i++)
        n += (size_t)snprintf(out + n, sizeof out - n, "[%.*s]", (int)x.text[i].len, x.text[i].p);
    return out;
}

static void texts(void **unused)
{
    (void)unused;
    assert_string_equal(names(""), "all");
    assert_string_equal(names(" ` "), "all");
    assert_string_equal(names("trade"), "[trade]");
    assert_string_equal(names("trade, quote"), "[trade][quote]");
    assert_string_equal(names("`trade`quote"), "[trade][quote]");
    assert_string_equal(names("a,b,,c"), "[a][b][c]");
    assert_string_equal(names(","), "");
    assert_string_equal(names("a,b,c,d,e"), "too many");
    /* FNV-1a, 64 bits: 0xcbf29ce484222325 of nothing, 0xaf63dc4c8601ec8c of "a" */
    assert_int_equal(fanout_stripe_of("", 0, 7), 0xcbf29ce484222325ull % 7);
    assert_int_equal(fanout_stripe_of("a", 1, 7), 0xaf63dc4c8601ec8cull % 7);
    assert_int_equal(fanout_stripe_of("foobar", 6, 250), 0x85944171f73967e8ull % 250);
    assert_int_equal(fanout_stripe_of("a", 1, 1), 0);
    assert_int_equal(fanout_stripe_of("a", 1, 0), 0);
}

/* ---- refusals ---- */

static struct fanout_spec with(const char *where, const char *columns)
{
    struct fanout_spec s = spec("trade", "");
    s.where = text_of(where);
    s.columns = text_of(columns);
    return s;
}

static void refusals(void **unused)
{
    (void)unused;
    open_bed();
    assert_true(refused(spec("trades", ""), -ENOENT, "trades"));
    assert_string_equal(err.text, "trades");
    assert_true(refused(with("price >", ""), -EINVAL, "syntax"));
    assert_true(refused(with("prize > 1", ""), -EINVAL, "prize"));
    assert_true(refused(with("price", ""), -EINVAL, "condition"));
    assert_true(refused(with("price > 1) GROUP BY (sym", ""), -EINVAL, ""));
    assert_true(refused(with("price > 1) LIMIT (1", ""), -EINVAL, "LIMIT"));
    assert_true(refused(with("price > 1) ORDER BY (sym", ""), -EINVAL, "ORDER BY"));
    assert_true(refused(with("sym in (select sym from trade)", ""), -EINVAL, ""));
    assert_true(refused(with("", "sum(price)"), -EINVAL, "aggregates"));
    assert_true(refused(with("", "distinct sym"), -EINVAL, ""));
    assert_true(refused(with("", "sym from quote --"), -EINVAL, ""));
    assert_true(refused(with("", "sym from quote; select sym"), -EINVAL, ""));
    assert_true(refused(with("", "sym, price as sym"), -EINVAL, "two columns"));
    assert_true(refused(with("1 = 1; drop table trade", ""), -EINVAL, ""));
    struct fanout_spec s = spec("trade", "");
    s.stripe = s.stripes = 2;
    assert_true(refused(s, -EINVAL, "stripe"));
    s.stripes = FANOUT_STRIPES_MAX + 1;
    assert_true(refused(s, -EINVAL, "stripe"));
    char *large = malloc(FANOUT_TEXT_MAX + 2);
    memset(large, ' ', FANOUT_TEXT_MAX + 1);
    large[FANOUT_TEXT_MAX + 1] = 0;
    assert_true(refused(with(large, ""), -EINVAL, "bytes"));
    free(large);
    /* what it had stays when a change is refused */
    sub(bed.f, spec("trade", "A"), 99);
    assert_true(refused(with("price >", ""), -EINVAL, "syntax"));
    add_trade("A", 1, 1, "x");
    add_trade("B", 2, 2, "y");
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1);
    assert_string_equal(took(99), "A 1 1 x");
    /* unknown tables may be named where the journal is read from the past */
    s = spec("later", "");
    s.early = true;
    sub(bed.f, s, 5);
    struct fanout_figures x;
    fanout_figures(bed.f, &x);
    assert_int_equal(x.consumers, 2);
    assert_int_equal(x.subscriptions, 2);
    close_bed();
}

/* kdb+ users' commas and backticks; what SQL is fine with. */
static void dialect(void **unused)
{
    (void)unused;
    open_bed();
    struct {
        const char *where, *want;
    } t[] = {
        {"price > 1, size < 4", "B 2 2 b, C 3 3 c"},
        {"sym in `A`C", "A 1 1 a, C 3 3 c"},
        {"sym = `B", "B 2 2 b"},
        {"sym in (`A`D), price > 1", "D 4 4 d"},
        {"price = 1 or price = 2, size > 1 -- a comment", "B 2 2 b"},
        {"note in ('a', 'c')", "A 1 1 a, C 3 3 c"},
        {"upper(note) = 'C' and sym <> 'A'", "C 3 3 c"},
        {"1 = 0", ""},
        {"date = 2024.08.22", "A 1 1 a, B 2 2 b, C 3 3 c, D 4 4 d"},
        {"date <> 2024.08.22", ""},
        {"not (price between 2 and 3)", "A 1 1 a, D 4 4 d"},
        {"sym is null", ""},
    };
    for (unsigned i = 0; i < PST_COUNT(t); i++)
        sub(bed.f, with(t[i].where, ""), i + 1);
    sub(bed.f, with("", "price * size as product, *"), 50);
    sub(bed.f, with("price > 3", "date, note || '!' as text, sym"), 51);
    add_trade("A", 1, 1, "a");
    add_trade("B", 2, 2, "b");
    add_trade("C", 3, 3, "c");
    add_trade("D", 4, 4, "d");
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1);
    for (unsigned i = 0; i < PST_COUNT(t); i++)
        if (strcmp(took(i + 1), t[i].want) != 0)
            fail_msg("where %s", t[i].where);
    assert_string_equal(took(51), "d! D");
    forget();
    close_bed();
}

/* Symbols that an expression makes, batch after batch, while the journal gets new ones. */
static void made_symbols(void **unused)
{
    (void)unused;
    open_bed();
    sub(bed.f, with("", "cast(note || 'x' as symbol) as s, sym"), 1);
    for (unsigned i = 0; i < 50; i++) {
        char sym[8], note[8], want[64];
        snprintf(sym, sizeof sym, "S%u", i);
        snprintf(note, sizeof note, "n%u", i % 7);
        add_trade(sym, 1, 1, note);
        add_trade("old", 1, 1, "m");
        frame_to(bed.f, 9000);
        fanout_flush(bed.f, 1);
        snprintf(want, sizeof want, "%sx %s, mx old", note, sym);
        assert_string_equal(took(1), want);
    }
    /* more of them than a query may make: each batch begins anew */
    for (unsigned i = 0; i < 270000;) {
        char note[8];
        for (unsigned k = 0; k < 900; k++) {
            snprintf(note, sizeof note, "%u", i++);
            add_trade("old", 1, 1, note);
        }
        frame_to(bed.f, 9000);
        fanout_flush(bed.f, 1);
        forget();
    }
    assert_int_equal(bed.failed, 0);
    close_bed();
}

/* Rows of several days in one batch, `date` in an expression. */
static void days(void **unused)
{
    (void)unused;
    open_bed();
    sub(bed.f, with("date = 2024.08.22", ""), 1);
    sub(bed.f, with("", "date, sym"), 2);
    for (unsigned i = 0; i < 6; i++) {
        char sym[2] = {(char)('A' + i), 0};
        add_trade(sym, 1, 1, "x");
        frame_to(bed.f, (uint16_t)(9000 + i % 3));
    }
    fanout_flush(bed.f, 1);
    assert_string_equal(took(1), "A 1 1 x, D 1 1 x");
    assert_string_equal(took(2), "9000 A, 9001 B, 9002 C, 9000 D, 9001 E, 9002 F");
    close_bed();
}

/* ---- sharing, rights ---- */

static bool may_not_quote(const void *user, const char *table)
{
    (void)user;
    return strcmp(table, "quote") != 0;
}
static int held;
static void hold(const void *user)
{
    (void)user;
    held++;
}
static void give_back(const void *user)
{
    (void)user;
    held--;
}

static void sharing(void **unused)
{
    (void)unused;
    open_bed();
    struct fanout_figures x;
    sub(bed.f, spec("trade", "A,B"), 1);
    sub(bed.f, spec("trade", "`B`A`B"), 2);
    sub(bed.f, with(" price > 0", ""), 3);
    sub(bed.f, with("price > 0 ", ""), 4);
    sub(bed.f, with("price > 0.0", ""), 5);
    fanout_figures(bed.f, &x);
    assert_int_equal(x.shared, 3);
    add_trade("A", 1, 1, "a");
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1);
    assert_int_equal(bed.n, 5);
    struct message *of[6] = {0};
    for (unsigned i = 0; i < bed.n; i++)
        of[bed.got[i].who] = bed.got[i].m;
    assert_true(of[1] && of[1] == of[2] && of[3] == of[4] && of[4] != of[5] && of[1] != of[3]);
    forget();
    /* users: named tables are shared by all, `all` by those who may read the same */
    struct fanout_spec all = spec("", ""), named = spec("trade", "A,B");
    named.rights = all.rights = (struct fanout_rights){
        .id = 7, .may_read = may_not_quote, .hold = hold, .release = give_back};
    sub(bed.f, named, 6);
    fanout_figures(bed.f, &x);
    assert_int_equal(x.shared, 3);
    held = 0;
    sub(bed.f, all, 7);
    sub(bed.f, all, 8);
    all.rights.id = 0;
    sub(bed.f, all, 9);
    fanout_figures(bed.f, &x);
    assert_int_equal(x.shared, 5);
    assert_true(held > 0);
    add_quote("A", 5, 1);
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1);
    assert_string_equal(took(7), "");
    assert_string_equal(took(8), "");
    assert_string_equal(took(9), "A 5 1");
    /* a table that comes later goes to those who may read it */
    bed.quote = declare("book", quote_cols, PST_COUNT(quote_cols));
    add_quote("B", 6, 2);
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1);
    assert_string_equal(took(8), "B 6 2");
    for (uintptr_t c = 1; c < 10; c++)
        fanout_drop(bed.f, (void *)c);
    assert_int_equal(held, 0);
    fanout_figures(bed.f, &x);
    assert_int_equal(x.shared + x.consumers + x.subscriptions, 0);
    close_bed();
}

/* ---- failures ---- */

static void failures(void **unused)
{
    (void)unused;
    open_bed();
    uint64_t id = sub(bed.f, with("", "sym, size * 4611686018427387904 as x"), 1);
    sub(bed.f, spec("trade", ""), 2);
    struct fanout_spec s = spec("quote", "");
    s.mode = FANOUT_BESIDE;
    sub(bed.f, s, 1);
    add_trade("A", 1, 1, "a");
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1);
    assert_int_equal(bed.failed, 0);
    assert_string_equal(took(1), "A 4611686018427387904");
    add_trade("B", 1, 2, "b");
    add_quote("B", 1, 1);
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1);
    assert_int_equal(bed.failed, 1);
    assert_int_equal(bed.failed_id, id);
    assert_non_null(strstr(bed.why, "trade"));
    assert_string_equal(took(1), "B 1 1"); /* its other subscription goes on */
    assert_string_equal(took(2), "A 1 1 a; B 1 2 b");
    bed.failed = 0;
    add_trade("C", 1, 1, "c");
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1);
    assert_string_equal(took(1), "");
    assert_int_equal(bed.failed, 0); /* told once */
    /* who comes now begins anew */
    sub(bed.f, with("", "sym, size * 4611686018427387904 as x"), 3);
    add_trade("D", 1, 1, "d");
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1);
    assert_string_equal(took(3), "D 4611686018427387904");
    /* a version without the column: told when it comes */
    bed.trade = declare("trade", quote_cols, PST_COUNT(quote_cols));
    fanout_frame(bed.f, bed.j.frame[bed.j.frames - 1]);
    assert_int_equal(bed.failed, 3);
    assert_non_null(strstr(bed.why, "size"));
    struct fanout_figures x;
    fanout_figures(bed.f, &x);
    assert_int_equal(x.failures, 2);
    close_bed();
}

/* ---- batches ---- */

static void batches(void **unused)
{
    (void)unused;
    open_with((struct fanout_config){.every = 100});
    struct fanout_spec s = spec("trade", "A");
    s.every = -1;
    sub(bed.f, s, 1);
    sub(bed.f, spec("trade", "A"), 2);
    assert_true(fanout_due(bed.f) == INT64_MAX);
    add_trade("A", 1, 1, "a");
    frame_to(bed.f, 9000);
    assert_int_equal(fanout_due(bed.f), 0);
    fanout_flush(bed.f, 1030);
    assert_string_equal(took(2), "A 1 1 a");
    assert_string_equal(took(1), "");
    assert_int_equal(fanout_due(bed.f), 1100);
    add_trade("A", 2, 2, "b");
    add_trade("B", 2, 2, "b");
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1099);
    assert_string_equal(took(1), "");
    fanout_flush(bed.f, 1100);
    assert_string_equal(took(1), "A 1 1 a, A 2 2 b");
    assert_true(fanout_due(bed.f) == INT64_MAX);
    /* who joins makes the others' batch go first, and gets nothing of it */
    add_trade("A", 3, 3, "c");
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1110);
    sub(bed.f, s, 3);
    assert_string_equal(took(1), "A 3 3 c");
    add_trade("A", 4, 4, "d");
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1300);
    fanout_flush(bed.f, 1400);
    assert_string_equal(took(1), "A 4 4 d");
    assert_string_equal(took(3), "A 4 4 d");
    /* what was held for one that is dropped is not sent; settled, it is */
    add_trade("A", 5, 5, "e");
    frame_to(bed.f, 9000);
    fanout_drop(bed.f, (void *)1);
    fanout_settle(bed.f, (void *)3);
    fanout_drop(bed.f, (void *)3);
    fanout_flush_all(bed.f);
    assert_string_equal(took(1), "");
    assert_string_equal(took(3), "A 5 5 e");
    close_bed();
    /* one larger than a message may be goes in pieces, each row once */
    open_with((struct fanout_config){.every = 1000});
    s = spec("trade", "");
    s.every = -1;
    sub(bed.f, s, 1);
    static char note[3000];
    memset(note, 'n', sizeof note - 1);
    uint64_t rows = 0, got = 0;
    for (unsigned i = 0; i < 200; i++) {
        for (unsigned k = 0; k < 60; k++, rows++)
            add_trade("A", 1, (int64_t)rows, note);
        frame_to(bed.f, 9000);
        fanout_flush(bed.f, 5);
    }
    fanout_flush_all(bed.f);
    assert_true(bed.n >= 2);
    for (unsigned i = 0; i < bed.n; i++) {
        struct kdb_table t;
        struct kdb_object o;
        assert_true(bed.got[i].m->len < FANOUT_MESSAGE_MOST + (4u << 20));
        assert_true(kdb_table_view(&t, part(bed.got[i].m, 2), &err));
        struct kdb_items cols;
        assert_true(kdb_items(&t.columns[0], &cols));
        for (unsigned c = 0; c < 3; c++)
            kdb_items_next(&cols);
        o = cols.item;
        for (uint32_t r = 0; r < t.rows; r++)
            if (kdb_object_long(&o, r) != (int64_t)got++)
                fail_msg("row %llu", (unsigned long long)got);
    }
    assert_int_equal(got, rows);
    close_bed();
}

/* ---- conflation, hold ---- */

static void conflation(void **unused)
{
    (void)unused;
    open_bed();
    struct fanout_spec s = spec("trade", "");
    s.conflate = true;
    s.where = text_of("size <> 13");
    sub(bed.f, s, 1);
    s.columns = text_of("sym, price + 1 as more");
    sub(bed.f, s, 2);
    s = spec("trade", "B,C");
    s.hold = true;
    sub(bed.f, s, 3);
    add_trade("A", 1, 1, "a");
    add_trade("B", 2, 2, "a longer note than before");
    add_trade("A", 3, 3, "c");
    frame_to(bed.f, 9000);
    add_trade("B", 4, 13, "d");
    add_trade("C", 5, 5, "e");
    add_trade("B", 6, 6, "");
    add_trade("A", 6, 13, "");
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1);
    assert_string_equal(took(1), "A 3 3 c, C 5 5 e, B 6 6 ");
    assert_string_equal(took(2), "A 4, C 6, B 7"); /* two columns: no time to leave out */
    assert_string_equal(took(3), "");
    fanout_flush_all(bed.f);
    assert_string_equal(took(3), "");
    add_trade("C", 7, 7, "last");
    frame_to(bed.f, 9000);
    fanout_settle(bed.f, (void *)3);
    assert_string_equal(took(3), "B 6 6 , C 7 7 last");
    fanout_settle(bed.f, (void *)3);
    assert_string_equal(took(3), "");
    assert_true(fanout_due(bed.f) == 0); /* 1 and 2 */
    fanout_flush(bed.f, 2);
    forget();
    /* many symbols, many rows: the last of each, in the order of their last rows */
    static int64_t last[500];
    static unsigned order[20000], n;
    for (unsigned i = 0; i < 40; i++) {
        for (unsigned k = 0; k < 500; k++) {
            unsigned sym = (unsigned)(kit_rnd() % 500);
            char name[8];
            snprintf(name, sizeof name, "s%u", sym);
            last[sym] = n;
            order[n] = sym;
            add_trade(name, 0, n++, i % 3 ? "" : "some text here");
        }
        frame_to(bed.f, 9000);
    }
    fanout_flush(bed.f, 3);
    unsigned checked = 0;
    for (unsigned i = 0; i < bed.n; i++) {
        struct kdb_table t;
        struct kdb_items cols;
        if (bed.got[i].who != 1)
            continue;
        assert_true(kdb_table_view(&t, part(bed.got[i].m, 2), &err));
        assert_true(kdb_items(&t.columns[0], &cols));
        for (unsigned c = 0; c < 3; c++)
            kdb_items_next(&cols);
        unsigned row = 0;
        for (unsigned k = 0; k < n; k++) /* but size 13, which does not pass */
            if (last[order[k]] == k) {
                assert_int_equal(kdb_object_long(&cols.item, row), k);
                row++;
            }
        assert_int_equal(row, t.rows);
        checked++;
    }
    assert_int_equal(checked, 1);
    close_bed();
}

/* By key, where the table has one. */
static void keyed(void **unused)
{
    (void)unused;
    open_bed();
    struct schema k;
    assert_true(schema_make(&k, 0, "levels", false, quote_cols, PST_COUNT(quote_cols), &err));
    k.nkeys = 2;
    k.keys[0] = 1;
    k.keys[1] = 3;
    bed.quote = journal_table(&bed.j, &k);
    feed_dict();
    struct fanout_spec s = spec("levels", "");
    s.conflate = true;
    sub(bed.f, s, 1);
    add_quote("A", 1, 1);
    add_quote("A", 2, 2);
    add_quote("B", 3, 1);
    add_quote("A", 4, 1);
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1);
    assert_string_equal(took(1), "A 2 2, B 3 1, A 4 1");
    struct schema out;
    s.columns = (struct fanout_text){0};
    assert_true(fanout_schema(bed.f, &s, "levels", &out, &err));
    assert_int_equal(out.nkeys, 2);
    close_bed();
}

/* ---- from one fan-out to another ---- */

static void handover(void **unused)
{
    (void)unused;
    open_bed();
    for (unsigned i = 0; i < 400; i++) {
        for (unsigned k = kit_rnd() % 20; k != UINT32_MAX; k--) {
            char sym[4] = {(char)('A' + kit_rnd() % 6), 0};
            add_trade(sym, i, k, "");
        }
        frame_to(NULL, 9000);
    }
    struct fanout_spec s = spec("trade", "A,C");
    s.every = 40;
    for (unsigned round = 0; round < 60; round++) {
        /* two readers of the journal; the consumer changes sides wherever they meet */
        struct fanout *side[2] = {fanout_with((struct fanout_config){0}),
                                  fanout_with((struct fanout_config){0})};
        uint32_t at[2] = {2, 2}; /* behind the schemas */
        uint64_t want = 0, rows = 0;
        unsigned on = 0;
        int64_t now = 0;
        for (unsigned i = 0; i < 2; i++)
            fanout_at(side[i], bed.j.frame[2]->position);
        sub(side[0], s, 1);
        sub(side[0], s, 2 + round); /* others share it here, and there not */
        while (at[on] < bed.j.frames) {
            for (unsigned i = 0; i < 2; i++)
                for (unsigned k = kit_rnd() % 30; k && at[i] < bed.j.frames; k--) {
                    fanout_frame(side[i], bed.j.frame[at[i]++]);
                    if (kit_rnd() % 4 == 0)
                        fanout_flush(side[i], now += 10);
                }
            unsigned other = 1 - on;
            if (at[other] > at[on] && kit_rnd() % 2) {
                while (at[on] < at[other])
                    fanout_frame(side[on], bed.j.frame[at[on]++]);
            } else {
                while (at[other] < at[on])
                    fanout_frame(side[other], bed.j.frame[at[other]++]);
            }
            if (at[on] != at[other])
                continue;
            assert_int_equal(fanout_position(side[0]), fanout_position(side[1]));
            fanout_settle(side[on], (void *)1);
            fanout_drop(side[on], (void *)1);
            sub(side[other], s, 1);
            on = other;
        }
        fanout_flush_all(side[on]);
        for (uint32_t i = 2; i < bed.j.frames; i++) {
            struct record_walk w;
            const struct record *r;
            if (bed.j.frame[i]->kind != FRAME_DATA)
                continue;
            record_walk_start(&w, bed.j.frame[i]);
            while ((r = record_walk_next(&w)) != NULL)
                want += !strcmp(bed.j.text[r->sym], "A") || !strcmp(bed.j.text[r->sym], "C");
        }
        uint64_t end = 0;
        for (unsigned i = 0; i < bed.n; i++)
            if (bed.got[i].who == 1) {
                assert_true(bed.got[i].m->first >= end);
                end = bed.got[i].m->end;
                rows += bed.got[i].m->rows;
            }
        assert_int_equal(rows, want);
        forget();
        fanout_free(side[0]);
        fanout_free(side[1]);
    }
    close_bed();
}

/* ---- marks ---- */

static const char *calendar_of(void *arg, const char *table)
{
    (void)arg;
    return !strcmp(table, "quote") ? "asia" : "default";
}
static int32_t last_end(void *arg, const char *calendar)
{
    (void)arg;
    return !strcmp(calendar, "asia") ? 8999 : 8999;
}
#define EOD(calendar, day)                                                                         \
    mark_to(bed.f, MARK_EOD, day, "{\"calendar\":\"" calendar "\",\"day\":\"2024.08.22\"}")

static void ends(void **unused)
{
    (void)unused;
    for (unsigned known = 0; known < 2; known++) {
        open_with((struct fanout_config){.calendar_of = calendar_of,
                                         .last_end = known ? last_end : NULL});
        sub(bed.f, spec("trade", ""), 1);
        sub(bed.f, spec("quote", ""), 2);
        sub(bed.f, spec("", ""), 3);
        struct fanout_spec s = spec("", "");
        s.marks = 0;
        sub(bed.f, s, 4);
        add_trade("A", 1, 1, "");
        add_quote("A", 1, 1);
        frame_to(bed.f, 9000);
        EOD("asia", 9000); /* the rows go first */
        assert_string_equal(took(1), "");
        assert_string_equal(took(2), "A 1 1; .u.end 9000");
        EOD("default", 9000);
        assert_string_equal(took(1), "A 1 1 ; .u.end 9000");
        assert_string_equal(took(2), "");
        assert_string_equal(took(3), "A 1 1 ; A 1 1; .u.end 9000"); /* once, with the last */
        assert_string_equal(took(4), "A 1 1 ; A 1 1");
        /* asia has a holiday on 9001 */
        EOD("default", 9001);
        EOD("asia", 9002);
        assert_string_equal(took(3), ".u.end 9001");
        EOD("default", 9002);
        assert_string_equal(took(3), ".u.end 9002");
        assert_string_equal(took(1), ".u.end 9001; .u.end 9002");
        assert_string_equal(took(2), ".u.end 9002");
        close_bed();
    }
    /* one calendar, nobody knows names: each mark is an end */
    open_bed();
    sub(bed.f, spec("", ""), 1);
    struct fanout_spec s = spec("trade", "A");
    s.mode = FANOUT_BESIDE;
    sub(bed.f, s, 1); /* twice subscribed, told once */
    EOD("default", 9000);
    EOD("default", 9001);
    assert_string_equal(took(1), ".u.end 9000; .u.end 9001");
    close_bed();
}

static void marks(void **unused)
{
    (void)unused;
    open_bed();
    struct fanout_spec s = spec("trade", "");
    s.every = 1000;
    s.marks = FANOUT_STOCK | FANOUT_GAP | FANOUT_NOTICE;
    sub(bed.f, s, 1);
    s.marks = 0;
    sub(bed.f, s, 2);
    add_trade("A", 1, 1, "");
    frame_to(bed.f, 9000);
    mark_to(bed.f, MARK_BUFFER_START, 9000,
            "{\"id\":10,\"stream\":254,\"path\":\"/tmp/x.10.buffer\",\"function\":\"late\","
            "\"args\":{\"sym\":\"A\",\"n\":5},\"status\":\"started\"}");
    add_trade("A", 2, 2, "");
    frame_to(bed.f, 9000);
    mark_to(bed.f, MARK_BUFFER_START, 9000,
            "{\"id\":10,\"stream\":254,\"path\":\"/tmp/y\",\"args\":{},\"status\":\"resumed\","
            "\"since\":5}");
    mark_to(bed.f, MARK_BUFFER_END, 9000,
            "{\"id\":10,\"stream\":254,\"path\":\"/tmp/x.10.buffer\",\"args\":{},\"status\":"
            "\"complete\",\"since\":5}");
    static const uint8_t start[] =
        "\0\0\3\0\0\0\xF5"
        "10\0\xF5/tmp/"
        "x.10.buffer\0\x63\x0b\0\2\0\0\0sym\0n\0\0\0\2\0\0\0\x0a\0\1\0\0\0A\x0a\0\1\0\0\0"
        "5";
    bool seen = false;
    for (unsigned i = 0; i < bed.n; i++)
        if (bed.got[i].who == 1 && bed.got[i].m->kind == MESSAGE_MARK && !seen) {
            const struct kdb_object *o = part(bed.got[i].m, 1);
            assert_int_equal(kdb_object_end(o) - o->at, sizeof start - 1);
            assert_memory_equal(o->at, start, sizeof start - 1);
            seen = true;
        }
    assert_true(seen);
    assert_string_equal(took(1), "A 1 1 ; .dm.buff.start; A 2 2 ; .dm.buff.end");
    /* its batch was the same: sent early, but no marks */
    assert_string_equal(took(2), "A 1 1 ; A 2 2 ");
    /* a notice of the server's, a version of a table */
    static const uint8_t note[] = "\1\0\0\0\x1a\0\0\0\0\0\2\0\0\0\xF5.pst\0\xF5x\0";
    add_trade("A", 3, 3, "");
    frame_to(bed.f, 9000);
    fanout_notice(bed.f, message_copy(note, sizeof note - 1, MESSAGE_NOTICE));
    assert_string_equal(took(1), "A 3 3 ; .pst");
    declare("fresh", quote_cols, PST_COUNT(quote_cols));
    fanout_frame(bed.f, bed.j.frame[bed.j.frames - 1]);
    fanout_frame(bed.f, bed.j.frame[bed.j.frames - 1]); /* said again, as restarts do */
    assert_string_equal(took(1), ".pst.notice");
    /* rows of a buffering event are no rows of the day */
    add_trade("A", 4, 4, "");
    struct frame *f = (struct frame *)(uintptr_t)frame_to(NULL, 9000);
    f->stream = STREAM_BUFFER;
    fanout_frame(bed.f, f);
    f->stream = STREAM_INTERVAL;
    fanout_frame(bed.f, f);
    fanout_flush_all(bed.f);
    assert_string_equal(took(1), "A 4 4 ");
    forget();
    close_bed();
}

/* ---- what a reply shows ---- */

static void schemas(void **unused)
{
    (void)unused;
    open_with((struct fanout_config){.timespan = true});
    struct schema s;
    struct fanout_spec sp = spec("", "");
    assert_true(fanout_schema(bed.f, &sp, "trade", &s, &err));
    assert_string_equal(s.name, "trade");
    assert_int_equal(s.ncols, 5);
    assert_int_equal(s.col[0].type, PST_TIMESPAN);
    assert_int_equal(s.col[4].type, PST_STRING);
    sp.time = FANOUT_TIMESTAMP;
    sp.columns = text_of("time, upper(sym) as u, size / 2 as half, price > 1 as dear");
    assert_true(fanout_schema(bed.f, &sp, "trade", &s, &err));
    assert_int_equal(s.ncols, 4);
    assert_int_equal(s.col[0].type, PST_TIMESTAMP);
    assert_string_equal(s.col[1].name, "u");
    assert_int_equal(s.col[1].type, PST_STRING);
    assert_int_equal(s.col[2].type, PST_LONG);
    assert_int_equal(s.col[3].type, PST_BOOLEAN);
    assert_false(fanout_schema(bed.f, &sp, "quote", &s, &err)); /* no size there */
    assert_false(fanout_schema(bed.f, &sp, "none", &s, &err));
    assert_int_equal(err.code, -ENOENT);
    close_bed();
}

/* Texts that nobody asks for any more are forgotten; what is subscribed stays so. */
static void forgetting(void **unused)
{
    (void)unused;
    open_bed();
    for (unsigned i = 0; i < 50; i++) { /* so that codes are others afterwards */
        char name[20];
        snprintf(name, sizeof name, "first%u", i);
        sub(bed.f, spec("quote", name), 4);
    }
    sub(bed.f, spec("trade", "A"), 1);
    sub(bed.f, with("sym in ('B', 'C'), note <> 'x'", "sym, price * 2 as twice"), 2);
    struct fanout_spec s = spec("trade", "");
    s.stripes = 3;
    s.stripe = fanout_stripe_of("A", 1, 3);
    sub(bed.f, s, 3);
    for (unsigned i = 0; i < 30000; i++) {
        char name[20];
        snprintf(name, sizeof name, "unknown%u", i);
        sub(bed.f, spec("quote", name), 4);
    }
    add_trade("A", 1, 1, "");
    add_trade("B", 2, 2, "x");
    add_trade("C", 3, 3, "y");
    frame_to(bed.f, 9000);
    fanout_flush(bed.f, 1);
    assert_string_equal(took(1), "A 1 1 ");
    assert_string_equal(took(2), "C 6");
    assert_non_null(strstr(took(3), "A 1 1 "));
    struct fanout_figures x;
    fanout_figures(bed.f, &x);
    assert_int_equal(x.shared, 4);
    assert_true(x.texts < 22000);
    forget();
    close_bed();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes),      cmocka_unit_test(texts),        cmocka_unit_test(refusals),
        cmocka_unit_test(dialect),    cmocka_unit_test(made_symbols), cmocka_unit_test(days),
        cmocka_unit_test(sharing),    cmocka_unit_test(failures),     cmocka_unit_test(batches),
        cmocka_unit_test(conflation), cmocka_unit_test(keyed),        cmocka_unit_test(handover),
        cmocka_unit_test(ends),       cmocka_unit_test(marks),        cmocka_unit_test(schemas),
        cmocka_unit_test(forgetting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
