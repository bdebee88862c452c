/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any publisher's message through the intake: first byte the byte order, then objects one behind
 * the other. Refused with one sentence and nothing in the ring, or taken with all its rows: each
 * batch is sound by the appender's own check and the rows are as many as the intake says.
 */
#include "core/tables.h"
#include "dataplane/batch.h"
#include "publish/intake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct inject q;
static struct symbols known;
static struct schema_set *schemas;
static struct intake *in;
static uint64_t rows, texts;

static void start(void)
{
    static const struct column_def every[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"b", PST_BOOLEAN},  {"g", PST_GUID},
        {"x", PST_BYTE},         {"h", PST_SHORT},    {"i", PST_INT},      {"j", PST_LONG},
        {"e", PST_REAL},         {"f", PST_FLOAT},    {"c", PST_CHAR},     {"s", PST_SYMBOL},
        {"m", PST_MONTH},        {"d", PST_DATE},     {"n", PST_TIMESPAN}, {"u", PST_MINUTE},
        {"v", PST_SECOND},       {"t", PST_TIME},     {"text", PST_STRING}};
    static const struct column_def trade[] = {{"time", PST_TIMESTAMP},
                                              {"sym", PST_SYMBOL},
                                              {"price", PST_FLOAT},
                                              {"size", PST_LONG},
                                              {"side", PST_CHAR}};
    struct err err;
    struct schema s;
    bool fresh;
    struct intake_table t[2];
    schemas = schema_set_new();
    pst_must(tables_gap(&s, &err) && schema_set_intern(schemas, &s, &fresh, &err));
    pst_must(tables_undecoded(&s, &err) && schema_set_intern(schemas, &s, &fresh, &err));
    pst_must(schema_make(&s, 0, "every", false, every, PST_COUNT(every), &err));
    t[0] = (struct intake_table){.schema = schema_set_intern(schemas, &s, &fresh, &err)};
    pst_must(schema_make(&s, 0, "trade", false, trade, PST_COUNT(trade), &err));
    t[1] = (struct intake_table){.schema = schema_set_intern(schemas, &s, &fresh, &err)};
    pst_must(inject_create(&q, INJECT_MIN, &err) && symbols_create(&known, 5000, &err));
    struct intake_config c = {.rows = {.q = &q,
                                       .known = &known,
                                       .schemas = schemas,
                                       .symbols = 2000,
                                       .max_new_symbols = UINT32_MAX,
                                       .open_day = 9823},
                              .table = t,
                              .ntables = 2};
    in = intake_open(&c, &err);
    pst_must(in);
}

static void drain(void)
{
    static pst_aligned(8) uint8_t copy[FRAME_MAX];
    const struct inject_batch *b;
    while ((b = inject_peek(&q))) {
        const uint8_t *body = (const uint8_t *)(b + 1);
        struct batch_syms syms;
        if (b->flags & INJECT_RESTART)
            texts = 0;
        pst_must(batch_texts(b, body, UINT32_MAX, &syms));
        texts += syms.n;
        uint32_t bytes = b->bytes - (uint32_t)sizeof *b - b->syms_bytes;
        memcpy(copy, body + b->syms_bytes, bytes);
        struct batch_rows w = {.schemas = schemas,
                               .at = copy,
                               .bytes = bytes,
                               .records = b->records,
                               .locals = (uint32_t)texts};
        pst_must(batch_rows_check(&w) == INJECT_ACCEPTED);
        rows += w.rows;
        inject_release(&q, b->bytes, 64);
    }
}

static void settle(void)
{
    do {
        intake_flush(in);
        drain();
    } while (intake_step(in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kdb_request r;
    if (!in)
        start();
    if (!size)
        return 0;
    enum kdb_order order = *data & 1 ? KDB_LITTLE : KDB_BIG;
    for (size_t at = 1, n; at < size; at += n) {
        const char *why;
        struct kdb_object o;
        struct err err = {0};
        struct intake_counts before, after;
        uint64_t ticket, seen = rows;
        if (kdb_object_check(data + at, size - at, order, &n, &why) != KDB_OK)
            break;
        kdb_object_view(&o, data + at, order);
        enum kdb_call call = kdb_request_read(&o, &r);
        if (call != KDB_CALL_UPD && call != KDB_CALL_PST_UPD)
            continue;
        intake_counts(in, &before);
        enum intake_verdict v;
        while ((v = intake_request(in, NULL, &r, 9823 * PST_DAY_NS, &ticket, &err)) == INTAKE_BUSY)
            settle();
        settle();
        intake_counts(in, &after);
        pst_must(rows - seen == after.rows - before.rows);
        pst_must((v == INTAKE_REFUSED) == (after.refused == before.refused + 1));
        if (v == INTAKE_REFUSED)
            pst_must(err.code < 0 && *err.text && !strchr(err.text, '\n') && rows == seen);
    }
    return 0;
}
