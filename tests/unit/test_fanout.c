/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fan-out against a naive reader of the same journal: real captures and rows of every type,
 * hundreds of random subscriptions that come, change and go at random places, random flushes. What
 * each consumer gets is taken apart message by message and compared, row for row and value for
 * value, marks in their places, with what the specification of its subscriptions says.
 */
#include "fanout_kit.h"
#include "every_type.h"
#include <errno.h>
#include <math.h>
#include "core/civil.h"
#include "publish/fanout.h"
#include "storage/kdb_object.h"
#include "storage/kdb_rows.h"

enum { CONSUMERS = 24, TABLES = 24, SYMS = 6, OUTPUTS = 8 };

static struct err err;

/* ---- cells: type and bytes, made by both sides ---- */

struct cell {
    uint32_t len;
    uint8_t b[70000];
};
static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3ull;
    return h;
}
static uint64_t row_cell(uint64_t h, int type, const void *p, uint32_t n)
{
    uint8_t t = (uint8_t)type;
    h = mix(h, &t, 1);
    h = mix(h, &n, 4);
    return mix(h, p, n);
}

/* ---- what was delivered, and what should be: streams of row hashes ---- */

struct flow { /* of one consumer, table and set of columns */
    char table[SCHEMA_NAME_MAX];
    uint64_t signature; /* names of columns */
    uint64_t *row;
    uint32_t n, room;
};
struct side {
    struct flow flow[256];
    uint32_t flows;
};

static struct flow *flow_of(struct side *s, const char *table, uint64_t signature)
{
    for (uint32_t i = 0; i < s->flows; i++)
        if (s->flow[i].signature == signature && !strcmp(s->flow[i].table, table))
            return &s->flow[i];
    assert_true(s->flows < PST_COUNT(s->flow));
    struct flow *f = &s->flow[s->flows++];
    memset(f, 0, sizeof *f);
    snprintf(f->table, sizeof f->table, "%s", table);
    f->signature = signature;
    return f;
}
static void flow_add(struct flow *f, uint64_t row)
{
    if (f->n == f->room) {
        f->room = f->room ? 2 * f->room : 64;
        f->row = realloc(f->row, f->room * sizeof *f->row);
    }
    f->row[f->n++] = row;
}
static void side_mark(struct side *s, uint64_t mark)
{
    for (uint32_t i = 0; i < s->flows; i++)
        flow_add(&s->flow[i], mark);
}
static void side_clear(struct side *s)
{
    for (uint32_t i = 0; i < s->flows; i++)
        free(s->flow[i].row);
    s->flows = 0;
}

/* ---- taking messages apart ---- */

struct column_reader {
    struct kdb_object o;
    struct kdb_items items;
    struct kdb_texts texts;
};
struct table_reader {
    struct column_reader col[SCHEMA_COLUMNS_MAX];
    uint32_t ncols;
    uint64_t signature;
};

static bool table_column(void *arg, uint32_t i, const char *name, uint32_t len,
                         const struct kdb_object *column)
{
    struct table_reader *r = arg;
    r->col[i].o = *column;
    if (column->type == KDB_LIST)
        kdb_items(column, &r->col[i].items);
    else if (column->type == PST_SYMBOL)
        kdb_texts(column, &r->col[i].texts);
    r->signature = mix(mix(r->signature, name, len), "", 1);
    r->ncols = i + 1;
    return true;
}

static void take_table(struct side *s, const char *name, const struct kdb_object *o, uint32_t *rows)
{
    static struct table_reader r;
    struct kdb_table t;
    r.signature = 1;
    if (!kdb_table_view(&t, o, &err))
        fail_msg("%s", err.text);
    assert_true(t.rows > 0);
    kdb_table_each(&t, table_column, &r);
    struct flow *f = flow_of(s, name, r.signature);
    for (uint32_t row = 0; row < t.rows; row++) {
        uint64_t h = 7;
        for (uint32_t i = 0; i < r.ncols; i++) {
            struct column_reader *c = &r.col[i];
            if (c->o.type == KDB_LIST) {
                uint32_t len = c->items.item.count;
                assert_int_equal(c->items.item.type, PST_CHAR);
                h = row_cell(h, PST_STRING, c->items.item.data, len);
                kdb_items_next(&c->items);
            } else if (c->o.type == PST_SYMBOL) {
                h = row_cell(h, PST_SYMBOL, c->texts.text, c->texts.len);
                kdb_texts_next(&c->texts);
            } else {
                unsigned w = kdb_object_width(c->o.type);
                h = row_cell(h, c->o.type, c->o.data + (size_t)row * w, w);
            }
        }
        flow_add(f, h);
    }
    *rows += t.rows;
}

static struct side got[CONSUMERS], want[CONSUMERS];
static uint64_t got_messages;
static uint64_t got_end[CONSUMERS];
static const char *failed_why;
static char failed_text[600];

static uint64_t mark_hash(const char *name, const void *p, size_t n)
{
    return mix(mix(99, name, strlen(name)), p, n);
}

static void sink(void *arg, void *consumer, struct message *m)
{
    (void)arg;
    unsigned who = (unsigned)((uintptr_t)consumer - 1);
    size_t size;
    const char *why;
    struct kdb_frame head;
    assert_true(m->len > KDB_FRAME);
    assert_int_equal(kdb_frame_read(&head, m->data, &why), KDB_OK);
    assert_int_equal(head.length, m->len);
    assert_int_equal(head.kind, KDB_ASYNC);
    assert_int_equal(kdb_object_check(m->data + 8, m->len - 8, KDB_LITTLE, &size, &why), KDB_OK);
    assert_int_equal(size, m->len - 8);
    assert_true(m->end >= got_end[who] && m->end >= m->first);
    got_end[who] = m->end;
    got_messages++;
    struct kdb_object o;
    struct kdb_items i;
    kdb_object_view(&o, m->data + 8, KDB_LITTLE);
    assert_true(kdb_items(&o, &i));
    uint32_t len, rows = 0;
    const char *head_text = kdb_object_text(&i.item, &len);
    assert_non_null(head_text);
    if (m->kind != MESSAGE_ROWS) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)len, head_text);
        assert_true(kdb_items_next(&i));
        if (!strcmp(name, ".pst.notice")) {
            side_mark(&got[who], mark_hash(name, "", 0));
            return;
        }
        side_mark(&got[who],
                  mark_hash(name, i.item.at, (size_t)(kdb_object_end(&i.item) - i.item.at)));
        return;
    }
    assert_true(len == 3 && !memcmp(head_text, "upd", 3));
    assert_true(kdb_items_next(&i));
    if (i.item.type == PST_SYMBOL) { /* several tables */
        struct kdb_texts t;
        struct kdb_items tables;
        struct kdb_object names = i.item;
        assert_true(kdb_items_next(&i));
        assert_true(kdb_texts(&names, &t) && kdb_items(&i.item, &tables));
        assert_true(names.count > 1 && names.count == i.item.count);
        bool more;
        do {
            take_table(&got[who], t.text, &tables.item, &rows);
            more = kdb_texts_next(&t);
            kdb_items_next(&tables);
        } while (more);
    } else {
        char name[64];
        const char *text = kdb_object_text(&i.item, &len);
        snprintf(name, sizeof name, "%.*s", (int)len, text);
        assert_true(kdb_items_next(&i));
        take_table(&got[who], name, &i.item, &rows);
    }
    assert_int_equal(rows, m->rows);
}

static void failed(void *arg, void *consumer, uint64_t id, const char *why)
{
    (void)arg, (void)consumer, (void)id;
    snprintf(failed_text, sizeof failed_text, "%s", why);
    failed_why = failed_text;
}

/* ---- the naive side ---- */

struct row {
    const struct frame *f;
    const struct record *r;
    const struct packet_record *p;
    int64_t seq;
    const struct schema *s;
    const struct journal *j;
};

static const char *sym_text(const struct journal *j, uint32_t id)
{
    return id == PST_NULL_SYMBOL ? "" : j->text[id];
}

/* A value as it stands: bytes in v, texts pointed at. */
static const void *value_of(const struct row *w, unsigned i, uint8_t v[16], uint32_t *len)
{
    const struct column *c = &w->s->col[i];
    const struct packet_record *p = w->p;
    *len = type_width(c->type);
    if (c->packet && !p) {
        type_put_null(v, c->type);
    } else if (c->packet && !strcmp(c->name, "seq")) {
        memcpy(v, &w->seq, 8);
    } else if (c->packet && !strcmp(c->name, "flags")) {
        put32(v, p->flags & ROW_FLAG_MASK);
    } else {
        memcpy(v, (c->packet ? (const uint8_t *)p : (const uint8_t *)w->r) + c->offset, *len);
    }
    if (c->type == PST_SYMBOL) {
        const char *t = sym_text(w->j, le32(v));
        *len = (uint32_t)strlen(t);
        return t;
    }
    if (c->type == PST_STRING)
        return record_string(w->r, c->offset, len);
    double d;
    float e;
    memcpy(&d, v, 8);
    memcpy(&e, v, 4);
    if (c->type == PST_FLOAT && isnan(d))
        put64(v, PST_NULL_FLOAT_BITS);
    if (c->type == PST_REAL && isnan(e))
        put32(v, PST_NULL_REAL_BITS);
    return v;
}

static bool value_null(const struct row *w, unsigned i)
{
    uint8_t v[16], null[16];
    uint32_t len;
    uint8_t type = w->s->col[i].type;
    const void *p = value_of(w, i, v, &len);
    if (type == PST_SYMBOL || type == PST_STRING)
        return len == 0;
    if (type == PST_BOOLEAN || type == PST_BYTE)
        return false;
    if (type == PST_GUID)
        return !memcmp(p, (uint8_t[16]){0}, 16);
    type_put_null(null, type);
    return !memcmp(p, null, len); /* NaNs are all alike by now */
}

enum test_kind { T_TRUE, T_GREATER, T_NOT_NULL, T_IS, T_IN };
struct test {
    enum test_kind kind;
    unsigned column;
    double bound;
    char text[3][260];
};
enum { OUT_COLUMN, OUT_TWICE, OUT_UPPER, OUT_IS_NULL };
struct output {
    int kind;
    unsigned column;
    char name[SCHEMA_NAME_MAX];
};
struct refspec {
    bool active;
    bool all_syms;
    uint32_t nsyms;
    char sym[4 * SYMS][260];
    char where[2000], columns[2000];
    struct test test[3];
    unsigned tests;
    bool any; /* or, else and */
    struct output output[OUTPUTS];
    unsigned outputs; /* 0: all */
    uint32_t stripe, stripes;
    bool timespan;
    int64_t every;
    uint8_t marks;
    uint64_t id;
};
/* By table; TABLES: of tables that are not there. [1..]: those beside. */
static struct refspec state[CONSUMERS][TABLES + 1], beside[CONSUMERS][TABLES];
static char table_name[TABLES][SCHEMA_NAME_MAX];
static unsigned tables;

static bool test_passes(const struct row *w, const struct test *t)
{
    uint8_t v[16];
    uint32_t len;
    const void *p = value_of(w, t->column, v, &len);
    uint8_t type = w->s->col[t->column].type;
    char text[260];
    double d = 0;
    if (value_null(w, t->column))
        return false;
    switch (t->kind) {
    case T_TRUE:
        return v[0];
    case T_NOT_NULL:
        return true;
    case T_GREATER:
        if (type == PST_FLOAT)
            memcpy(&d, v, 8);
        else if (type == PST_LONG)
            return (int64_t)le64(v) > (int64_t)t->bound;
        else
            d = (int32_t)le32(v);
        return d > t->bound;
    case T_IS:
        snprintf(text, sizeof text, "%.*s", (int)len, (const char *)p);
        return !strcmp(text, t->text[0]);
    default:
        snprintf(text, sizeof text, "%.*s", (int)len, (const char *)p);
        return !strcmp(text, t->text[0]) || !strcmp(text, t->text[1]) || !strcmp(text, t->text[2]);
    }
}

static bool row_passes(const struct row *w, const struct refspec *s)
{
    const char *sym = sym_text(w->j, w->r->sym);
    bool found = s->all_syms;
    for (uint32_t i = 0; i < s->nsyms && !found; i++)
        found = !strcmp(s->sym[i], sym);
    if (!found)
        return false;
    if (s->stripes > 1) {
        uint64_t h = 0xcbf29ce484222325ull;
        for (const char *p = sym; *p; p++)
            h = (h ^ (uint8_t)*p) * 0x100000001b3ull;
        if (h % s->stripes != s->stripe)
            return false;
    }
    for (unsigned i = 0; i < s->tests; i++) {
        bool pass = test_passes(w, &s->test[i]);
        if (s->any && pass)
            return true;
        if (!s->any && !pass)
            return false;
    }
    return s->tests == 0 || !s->any;
}

static uint64_t put_column(uint64_t h, const struct row *w, unsigned i, bool timespan)
{
    uint8_t v[16];
    uint32_t len;
    const void *p = value_of(w, i, v, &len);
    int type = w->s->col[i].type;
    if (i == 0 && timespan) {
        int64_t t = w->r->time;
        type = PST_TIMESPAN;
        if (t != INT64_MIN && t != INT64_MAX && t != -INT64_MAX &&
            (__builtin_sub_overflow(t, w->f->day * PST_DAY_NS, &t) || t == INT64_MIN))
            t = INT64_MIN;
        memcpy(v, &t, 8);
    }
    return row_cell(h, type, p, len);
}

static void naive_row(struct side *side, const struct row *w, const struct refspec *s)
{
    if (!row_passes(w, s))
        return;
    uint64_t h = 7, signature = 1;
    if (!s->outputs)
        for (unsigned i = 0; i < w->s->ncols; i++) {
            signature = mix(mix(signature, w->s->col[i].name, strlen(w->s->col[i].name)), "", 1);
            h = put_column(h, w, i, s->timespan);
        }
    for (unsigned k = 0; k < s->outputs; k++) {
        const struct output *o = &s->output[k];
        uint8_t v[16];
        uint32_t len;
        signature = mix(mix(signature, o->name, strlen(o->name)), "", 1);
        const char *p = value_of(w, o->column, v, &len);
        if (o->kind == OUT_COLUMN) {
            h = put_column(h, w, o->column, s->timespan);
        } else if (o->kind == OUT_IS_NULL) {
            uint8_t b = value_null(w, o->column);
            h = row_cell(h, PST_BOOLEAN, &b, 1);
        } else if (o->kind == OUT_UPPER) {
            char text[260];
            for (uint32_t i = 0; i < len; i++)
                text[i] = p[i] >= 'a' && p[i] <= 'z' ? (char)(p[i] - 32) : p[i];
            h = row_cell(h, PST_STRING, text, len);
        } else {
            double d;
            memcpy(&d, v, 8);
            d = d * 2 + 1;
            if (isnan(d))
                put64(v, PST_NULL_FLOAT_BITS);
            else
                memcpy(v, &d, 8);
            h = row_cell(h, PST_FLOAT, v, 8);
        }
    }
    flow_add(flow_of(side, w->s->name, signature), h);
}

static int table_number(const char *name)
{
    for (unsigned i = 0; i < tables; i++)
        if (!strcmp(table_name[i], name))
            return (int)i;
    return -1;
}

static uint8_t marks_wanted(unsigned c, bool *some)
{
    uint8_t marks = 0;
    *some = false;
    for (unsigned t = 0; t <= tables; t++) {
        if (state[c][t].active) {
            marks |= state[c][t].marks;
            *some |= t < tables;
        }
        if (t < tables && beside[c][t].active) {
            marks |= beside[c][t].marks;
            *some = true;
        }
    }
    return marks;
}

static void naive_mark(uint8_t bit, const char *name, const void *arg, size_t n)
{
    for (unsigned c = 0; c < CONSUMERS; c++) {
        bool some;
        if (marks_wanted(c, &some) & bit && (some || bit != FANOUT_END))
            side_mark(&want[c], mark_hash(name, arg, n));
    }
}

static void naive_frame(const struct journal *j, const struct frame *f)
{
    if (frame_has_rows(f)) {
        struct record_walk walk;
        struct row w = {.f = f, .j = j};
        record_walk_start(&walk, f);
        while ((w.r = record_walk_next(&walk)) != NULL) {
            w.p = walk.packet;
            w.seq = record_walk_seq(&walk);
            w.s = schema_set_get(j->set, w.r->table);
            int t = table_number(w.s->name);
            assert_true(t >= 0);
            for (unsigned c = 0; c < CONSUMERS; c++) {
                if (state[c][t].active)
                    naive_row(&want[c], &w, &state[c][t]);
                if (beside[c][t].active)
                    naive_row(&want[c], &w, &beside[c][t]);
            }
        }
        if (f->kind == FRAME_GAP)
            for (uint16_t i = 0; i < f->count; i++)
                naive_mark(FANOUT_GAP, ".pst.notice", "", 0);
    } else if (f->kind == FRAME_MARK) {
        unsigned type = 0;
        uint32_t len;
        frame_mark(f, &type, &len);
        if (type == MARK_EOD) {
            uint8_t b[5] = {256 - PST_DATE};
            put32(b + 1, f->day);
            naive_mark(FANOUT_END, ".u.end", b, 5);
        } else if (type == MARK_EOI) {
            uint8_t b[6 + 16] = {PST_TIMESTAMP, 0, 2};
            put64(b + 6, (uint64_t)(9000 * PST_DAY_NS + 9 * 3600 * PST_SECOND_NS));
            put64(b + 14, (uint64_t)(9000 * PST_DAY_NS + 10 * 3600 * PST_SECOND_NS));
            naive_mark(FANOUT_EOI, ".u.eoi", b, sizeof b);
        }
    }
}

/* ---- random subscriptions ---- */

/* The first version: later ones have its columns and more. */
static const struct schema *oldest(const struct journal *j, unsigned t)
{
    unsigned id = TABLE_FIRST;
    while (strcmp(schema_set_get(j->set, id)->name, table_name[t]) != 0)
        id++;
    return schema_set_get(j->set, id);
}

/* A text as it can stand in SQL's quotes, of a symbol that exists (or nearly). */
static bool plain_text(const struct journal *j, char out[260])
{
    for (unsigned tries = 0; tries < 20; tries++) {
        const char *t = j->text[kit_rnd() % j->texts];
        bool fine = *t != 0;
        for (const char *p = t; *p; p++)
            fine &= *p > ' ' && *p < 127 && *p != '\'' && *p != '\\';
        if (fine) {
            snprintf(out, 260, "%s%s", t, kit_rnd() % 20 ? "" : "Q");
            return true;
        }
    }
    return false;
}

static void random_test(const struct journal *j, const struct schema *s, struct test *t, char *sql,
                        size_t room)
{
    for (;;) {
        t->column = (unsigned)(kit_rnd() % s->ncols);
        const struct column *c = &s->col[t->column];
        switch (c->type) {
        case PST_SYMBOL:
            for (unsigned i = 0; i < 3; i++)
                if (!plain_text(j, t->text[i]))
                    snprintf(t->text[i], sizeof t->text[i], "none");
            t->kind = kit_rnd() % 2 ? T_IS : T_IN;
            if (t->kind == T_IS)
                snprintf(sql, room, "\"%s\" = '%s'", c->name, t->text[0]);
            else
                snprintf(sql, room, "\"%s\" in ('%s', '%s', '%s')", c->name, t->text[0], t->text[1],
                         t->text[2]);
            return;
        case PST_BOOLEAN:
            t->kind = T_TRUE;
            snprintf(sql, room, "\"%s\"", c->name);
            return;
        case PST_FLOAT:
        case PST_LONG:
        case PST_INT:
            t->kind = T_GREATER;
            t->bound = (double)(kit_rnd() % 300);
            snprintf(sql, room, "\"%s\" > %.0f", c->name, t->bound);
            return;
        case PST_STRING:
        case PST_GUID:
        case PST_TIMESTAMP:
            t->kind = T_NOT_NULL;
            snprintf(sql, room, "\"%s\" IS NOT NULL", c->name);
            return;
        default:
            continue;
        }
    }
}

static void random_output(const struct schema *s, struct output *o, unsigned k, char *sql,
                          size_t room)
{
    o->column = (unsigned)(kit_rnd() % s->ncols);
    const struct column *c = &s->col[o->column];
    o->kind = kit_rnd() % 3 ? OUT_COLUMN : OUT_IS_NULL;
    if (o->kind == OUT_IS_NULL && c->type == PST_FLOAT)
        o->kind = OUT_TWICE;
    if (o->kind == OUT_IS_NULL && c->type == PST_SYMBOL)
        o->kind = OUT_UPPER;
    snprintf(o->name, sizeof o->name, "o%u_%u", k, o->column);
    static const char *const form[] = {"\"%s\" as %s", "\"%s\" * 2 + 1 as %s",
                                       "upper(\"%s\") as %s", "\"%s\" is null as %s"};
    char f[64];
    snprintf(f, sizeof f, "%s", form[o->kind]);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(sql, room, f, c->name, o->name);
#pragma GCC diagnostic pop
}

static unsigned random_specs;

/* One for the engine, and what it means. t: the only table, or -1. */
static void random_spec(const struct journal *j, int t, struct refspec *r)
{
    memset(r, 0, sizeof *r);
    r->active = true;
    r->all_syms = kit_rnd() % 3 == 0;
    r->nsyms = r->all_syms ? 0 : (uint32_t)(1 + kit_rnd() % SYMS);
    for (uint32_t i = 0; i < r->nsyms; i++)
        snprintf(r->sym[i], sizeof r->sym[i], "%s",
                 kit_rnd() % 10 ? j->text[kit_rnd() % j->texts] : "no such symbol");
    if (kit_rnd() % 4 == 0) {
        r->stripes = (uint32_t)(2 + kit_rnd() % 4);
        r->stripe = (uint32_t)(kit_rnd() % r->stripes);
    }
    r->timespan = kit_rnd() % 4 == 0;
    r->every = kit_rnd() % 3 ? 0 : kit_rnd() % 2 ? 20 : 50;
    r->marks = (uint8_t)(kit_rnd() & (FANOUT_END | FANOUT_EOI | FANOUT_GAP));
    if (t >= 0 && kit_rnd() % 2) {
        r->tests = (unsigned)(1 + kit_rnd() % 3);
        r->any = kit_rnd() % 3 == 0;
        for (unsigned i = 0; i < r->tests; i++) {
            char sql[1000];
            random_test(j, oldest(j, (unsigned)t), &r->test[i], sql, sizeof sql);
            size_t n = strlen(r->where);
            snprintf(r->where + n, sizeof r->where - n, "%s%s",
                     i ? r->any          ? " or "
                         : kit_rnd() % 2 ? " and "
                                         : ", "
                       : "",
                     sql);
        }
    }
    if (t >= 0 && kit_rnd() % 2) {
        r->outputs = (unsigned)(1 + kit_rnd() % OUTPUTS);
        for (unsigned i = 0; i < r->outputs; i++) {
            char sql[200];
            random_output(oldest(j, (unsigned)t), &r->output[i], i, sql, sizeof sql);
            size_t n = strlen(r->columns);
            snprintf(r->columns + n, sizeof r->columns - n, "%s%s", i ? ", " : "", sql);
        }
    }
    random_specs++;
}

static bool akin(const struct refspec *a, const struct refspec *b)
{
    return !strcmp(a->where, b->where) && !strcmp(a->columns, b->columns) &&
           a->stripe == b->stripe && a->stripes == b->stripes && a->timespan == b->timespan &&
           a->every == b->every;
}

static void spec_for(struct fanout_spec *s, const struct refspec *r, struct fanout_text *text)
{
    *s = (struct fanout_spec){.syms = {.all = r->all_syms, .n = r->nsyms, .text = text},
                              .where = {r->where, (uint32_t)strlen(r->where)},
                              .columns = {r->columns, (uint32_t)strlen(r->columns)},
                              .stripe = r->stripe,
                              .stripes = r->stripes,
                              .marks = r->marks,
                              .time = r->timespan ? FANOUT_TIMESPAN : FANOUT_TIMESTAMP,
                              .every = r->every};
    for (uint32_t i = 0; i < r->nsyms; i++)
        text[i] = (struct fanout_text){r->sym[i], (uint32_t)strlen(r->sym[i])};
}

static void subscribe(struct fanout *f, const struct journal *j, unsigned c)
{
    static struct refspec r;
    struct fanout_text syms[SYMS], names[3];
    struct fanout_spec s;
    unsigned how = (unsigned)(kit_rnd() % 6);
    bool all = kit_rnd() % 5 == 0;
    unsigned n = all ? 0 : kit_rnd() % 3 == 0 ? 2 : 1, which[3];
    for (unsigned i = 0; i < n; i++) {
        which[i] = (unsigned)(kit_rnd() % tables);
        names[i] =
            (struct fanout_text){table_name[which[i]], (uint32_t)strlen(table_name[which[i]])};
    }
    random_spec(j, n == 1 ? (int)which[0] : -1, &r);
    if (how == 0) { /* beside: one table, columns of its own */
        unsigned t = which[0] = (unsigned)(kit_rnd() % tables);
        if (beside[c][t].active)
            return;
        n = 1;
        all = false;
        names[0] = (struct fanout_text){table_name[t], (uint32_t)strlen(table_name[t])};
        r.outputs = 1;
        r.tests = 0;
        r.where[0] = 0;
        r.output[0] = (struct output){OUT_COLUMN, 1, ""};
        snprintf(r.output[0].name, sizeof r.output[0].name, "beside%u", random_specs);
        snprintf(r.columns, sizeof r.columns, "sym as %s", r.output[0].name);
    }
    /* some add to what they have, with the same texts */
    if (how == 1 && n == 1 && state[c][which[0]].active && kit_rnd() % 4) {
        struct refspec keep = state[c][which[0]];
        keep.all_syms = r.all_syms;
        keep.nsyms = r.nsyms;
        keep.marks = r.marks;
        memcpy(keep.sym, r.sym, sizeof keep.sym);
        r = keep;
    }
    spec_for(&s, &r, syms);
    s.tables = (struct fanout_texts){all, n, names};
    s.mode = how == 0 ? FANOUT_BESIDE : how == 1 ? FANOUT_ADD : FANOUT_REPLACE;
    if (!fanout_subscribe(f, &s, (void *)(uintptr_t)(c + 1), &r.id, &err))
        fail_msg("where %s columns %s: %s", r.where, r.columns, err.text);
    if (how == 0) {
        beside[c][which[0]] = r;
        return;
    }
    for (unsigned t = 0; t <= tables; t++) {
        bool named = all;
        for (unsigned i = 0; i < n; i++)
            named |= which[i] == t;
        struct refspec *old = &state[c][t];
        if (!named)
            continue;
        if (how == 1 && old->active && akin(old, &r)) {
            struct refspec both = r;
            both.all_syms |= old->all_syms;
            for (uint32_t i = 0; i < old->nsyms && both.nsyms < PST_COUNT(both.sym); i++) {
                bool there = false;
                for (uint32_t k = 0; k < both.nsyms; k++)
                    there |= !strcmp(both.sym[k], old->sym[i]);
                if (!there)
                    strcpy(both.sym[both.nsyms++], old->sym[i]);
            }
            *old = both;
        } else {
            *old = r;
        }
    }
}

static void unsubscribe(struct fanout *f, unsigned c)
{
    void *who = (void *)(uintptr_t)(c + 1);
    uint64_t id = 0;
    for (unsigned t = 0; t < tables && !id; t++)
        id = state[c][t].active ? state[c][t].id : beside[c][t].active ? beside[c][t].id : 0;
    fanout_settle(f, who);
    if (kit_rnd() % 3 == 0 || !id) {
        fanout_drop(f, who);
        memset(state[c], 0, sizeof state[c]);
        memset(beside[c], 0, sizeof beside[c]);
        return;
    }
    assert_true(fanout_unsubscribe(f, who, id));
    for (unsigned t = 0; t <= tables; t++) {
        if (state[c][t].id == id)
            state[c][t].active = false;
        if (t < tables && beside[c][t].id == id)
            beside[c][t].active = false;
    }
}

/* ---- the run ---- */

static void compare(void)
{
    uint64_t rows = 0;
    for (unsigned c = 0; c < CONSUMERS; c++) {
        for (uint32_t i = 0; i < want[c].flows; i++) {
            struct flow *w = &want[c].flow[i];
            struct flow *g = flow_of(&got[c], w->table, w->signature);
            for (uint32_t k = 0; k < w->n && k < g->n; k++)
                if (w->row[k] != g->row[k])
                    fail_msg("consumer %u table %s: row %u of %u differs", c, w->table, k, w->n);
            if (w->n != g->n)
                fail_msg("consumer %u table %s: %u rows instead of %u", c, w->table, g->n, w->n);
            rows += w->n;
        }
        assert_int_equal(got[c].flows, want[c].flows);
        side_clear(&got[c]);
        side_clear(&want[c]);
    }
    assert_true(rows > 0);
}

/* flushes: one in so many frames; 0: none before the end, so that all waits, folded. */
static void play(const struct journal *j, unsigned changes, bool multi, unsigned flushes)
{
    struct dictionary dict;
    assert_true(dictionary_init(&dict, &err));
    tables = 0;
    for (unsigned id = TABLE_FIRST; id < j->set->count; id++) {
        const struct schema *s = schema_set_get(j->set, id);
        if (s && table_number(s->name) < 0) {
            assert_true(tables < TABLES);
            strcpy(table_name[tables++], s->name);
        }
    }
    /* tables are declared before anybody comes */
    uint32_t at = 0;
    for (; at < j->frames && j->frame[at]->kind == FRAME_SCHEMA; at++)
        assert_true(dictionary_feed(&dict, j->frame[at]));
    struct fanout_config cfg = {
        .dict = &dict, .sink = sink, .failed = failed, .multi_publish = multi};
    struct fanout *f = fanout_new(&cfg, &err);
    assert_non_null(f);
    fanout_at(f, at ? j->frame[at - 1]->position + j->frame[at - 1]->length : 4096);
    memset(state, 0, sizeof state);
    memset(beside, 0, sizeof beside);
    memset(got_end, 0, sizeof got_end);
    random_specs = 0;
    got_messages = 0;
    failed_why = NULL;
    for (unsigned c = 0; c < CONSUMERS; c++)
        subscribe(f, j, c);
    int64_t now = 1000;
    uint32_t gap = (j->frames - at) / (changes + 1) + 1;
    for (; at < j->frames; at++) {
        const struct frame *fr = j->frame[at];
        if (fr->kind == FRAME_SYMBOL || fr->kind == FRAME_SCHEMA)
            assert_true(dictionary_feed(&dict, fr));
        fanout_frame(f, fr);
        naive_frame(j, fr);
        if (flushes && kit_rnd() % flushes == 0) {
            fanout_flush(f, now += (int64_t)(kit_rnd() % 30));
            assert_true(fanout_due(f) > now);
        }
        if (kit_rnd() % gap == 0) {
            unsigned c = (unsigned)(kit_rnd() % CONSUMERS);
            if (kit_rnd() % 4)
                subscribe(f, j, c);
            else
                unsubscribe(f, c);
        }
    }
    fanout_flush_all(f);
    if (failed_why)
        fail_msg("%s", failed_why);
    struct fanout_figures x;
    fanout_figures(f, &x);
    assert_int_equal(x.lost_rows, 0);
    assert_int_equal(x.lost_symbols, 0);
    assert_int_equal(fanout_position(f), j->position);
    print_message("%u frames, %u subscriptions, %llu rows matched, %llu messages of %llu rows\n",
                  j->frames, random_specs, (unsigned long long)x.matched,
                  (unsigned long long)got_messages, (unsigned long long)x.sent_rows);
    compare();
    fanout_free(f);
    dictionary_free(&dict);
    assert_int_equal(message_bytes(), 0);
}

static void itch(void **unused)
{
    (void)unused;
    DATA_OR_SKIP("ITCH 5.0 captures");
    static struct journal j;
    journal_open(&j, "itch50");
    journal_messages(&j, data_path("itch50/itch_runk_locate13_10k.bin"));
    journal_messages(&j, data_path("itch50/itch_bbekele.itch"));
    play(&j, 60, false, 3);
    play(&j, 300, true, 3);
    play(&j, 3, false, 0);
    journal_close(&j);
}

static void iex(void **unused)
{
    (void)unused;
    DATA_OR_SKIP("IEX captures");
    static struct journal j;
    journal_open(&j, "iex");
    journal_capture(&j, data_path("iex/iex_TOPS16.pcapng.gz"), false, 20000);
    play(&j, 100, false, 3);
    play(&j, 400, true, 3);
    play(&j, 3, true, 0);
    journal_close(&j);
}

/* ---- rows of every type, several days, versions, marks, gaps ---- */

static uint32_t random_symbol(struct journal *j)
{
    char t[256];
    uint32_t n = (uint32_t)(kit_rnd() % 10 == 0 ? 255 : kit_rnd() % 20);
    if (kit_rnd() % 10)
        return j->texts && kit_rnd() % 50 ? (uint32_t)(kit_rnd() % (j->texts < 40 ? j->texts : 40))
                                          : journal_symbol(j, "one", 3);
    for (uint32_t i = 0; i < n; i++)
        t[i] = (char)(kit_rnd() % 3 ? 'a' + kit_rnd() % 26 : 1 + kit_rnd() % 255);
    return journal_symbol(j, t, n);
}

static uint32_t fill(struct journal *j, const struct schema *s, uint8_t *rec)
{
    static const double some[] = {0.1, -0.0, 1e300, 250, (double)NAN, (double)INFINITY, 17.25};
    uint32_t at = s->fixed;
    memset(rec, 0, s->fixed);
    for (unsigned i = 0; i < s->ncols; i++) {
        uint8_t *to = rec + s->col[i].offset;
        unsigned w = type_width(s->col[i].type);
        if (s->col[i].packet)
            continue;
        if (s->col[i].type == PST_SYMBOL) {
            put32(to, random_symbol(j));
        } else if (s->col[i].type == PST_STRING) {
            uint32_t n = (uint32_t)(kit_rnd() % 3 ? kit_rnd() % 40 : kit_rnd() % 100 ? 0 : 9000);
            put32(to, at);
            put32(to + 4, n);
            for (uint32_t k = 0; k < n; k++)
                rec[at++] = (uint8_t)kit_rnd();
        } else if (s->col[i].type == PST_BOOLEAN) {
            *to = kit_rnd() & 1;
        } else if (s->col[i].type == PST_FLOAT || s->col[i].type == PST_REAL) {
            double d = some[kit_rnd() % PST_COUNT(some)];
            float e = (float)d;
            memcpy(to, w == 4 ? (void *)&e : (void *)&d, w);
        } else if (kit_rnd() % 8 == 0) {
            type_put_null(to, s->col[i].type);
        } else {
            uint64_t v[2] = {kit_rnd() % 3 ? kit_rnd() % 600 : kit_rnd(), kit_rnd()};
            memcpy(to, v, w);
        }
    }
    struct record *r = (struct record *)(void *)rec;
    r->table = s->id;
    r->bytes = (uint16_t)pst_align8(at);
    memset(rec + at, 0, r->bytes - at);
    if (kit_rnd() % 20)
        r->time = KIT_DAY * PST_DAY_NS + (int64_t)(kit_rnd() % (uint64_t)PST_DAY_NS);
    return r->bytes;
}

static void gap_frame(struct journal *j, const struct schema *gap, uint16_t day)
{
    static pst_aligned(8) uint8_t rec[RECORD_MAX];
    journal_records(j, rec, fill(j, gap, rec), 1, day, FRAME_GAP);
}

static void make_every(struct journal *j, unsigned frames)
{
    static pst_aligned(8) uint8_t buf[FRAME_MAX];
    struct schema s;
    journal_open(j, NULL);
    journal_symbol(j, "one", 3);
    assert_true(schema_make(&s, 0, "every", false, every, PST_COUNT(every), &err));
    const struct schema *a = journal_table(j, &s), *old = a;
    assert_true(schema_make(&s, 0, "plain", false, every, 10, &err));
    const struct schema *b = journal_table(j, &s);
    assert_true(tables_gap(&s, &err));
    const struct schema *gap = journal_table(j, &s);
    uint16_t day = KIT_DAY;
    for (unsigned i = 0; i < frames; i++) {
        unsigned rows = (unsigned)(1 + kit_rnd() % 30);
        uint32_t at = 0;
        uint16_t count = 0;
        for (; count < rows && at < 100000; count++)
            at += fill(j,
                       kit_rnd() % 2                           ? b
                       : i > frames / 2 && kit_rnd() % 40 == 0 ? old
                                                               : a,
                       buf + at);
        journal_records(j, buf, at, count, (uint16_t)(day + (kit_rnd() % 10 == 0)), FRAME_DATA);
        if (kit_rnd() % 20 == 0)
            gap_frame(j, gap, day);
        if (kit_rnd() % 25 == 0)
            journal_mark(
                j, MARK_EOI, day,
                "{\"calendar\":\"default\",\"day\":\"2024.08.22\",\"from\":"
                "\"2024.08.22D09:00:00.000000000\",\"to\":\"2024.08.22D10:00:00.000000000\","
                "\"next\":\"2024.08.22.1000\"}");
        if (kit_rnd() % 40 == 0) {
            journal_mark(j, MARK_EOD, day, "{\"calendar\":\"default\",\"day\":\"2024.08.22\"}");
            day++;
        }
        if (i == frames / 2) { /* a column more: its rows come mixed with old ones */
            struct column_def more[PST_COUNT(every) + 1];
            memcpy(more, every, sizeof every);
            more[PST_COUNT(every)] = (struct column_def){"extra", PST_FLOAT};
            assert_true(schema_make(&s, 0, "every", false, more, PST_COUNT(more), &err));
            a = journal_table(j, &s);
        }
    }
}

static void types(void **unused)
{
    (void)unused;
    static struct journal j;
    make_every(&j, 700);
    play(&j, 200, false, 3);
    play(&j, 200, true, 3);
    play(&j, 5, false, 0);
    journal_close(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(types), cmocka_unit_test(itch),
                                       cmocka_unit_test(iex)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
