/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any update of a kdb+ log as rows: refused with one sentence, or each row is a sound record, and
 * what it becomes in kdb+ again comes back as the same record. Columns are guessed from the update
 * itself; the table of every type takes the rest.
 */
#include "core/rows.h"
#include "kdb_log.h"
#include "kdb_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dictionary dict;
static struct kdb_in in, again;
static struct kdb_update update, update_again;
static struct schema every;

static void one_sentence(const struct err *e)
{
    pst_must(e->code < 0 && *e->text && !strchr(e->text, '\n'));
}

static uint32_t intern(void *arg, const char *text, uint32_t len)
{
    (void)arg;
    pst_must(len && len <= 255 && !memchr(text, 0, len));
    uint32_t id = dictionary_find(&dict, text, len);
    if (id != PST_NULL_SYMBOL)
        return id;
    if (dict.next >= 4096)
        return SYMBOL_REFUSED;
    pst_must(dictionary_teach(&dict, dict.next, text, len));
    return dict.next - 1;
}

static void sound(const struct kdb_in *i, const struct schema *s)
{
    const struct record *r = (const struct record *)(const void *)i->record;
    uint32_t len;
    pst_must(r->table == s->id && r->bytes >= s->fixed && r->bytes % 8 == 0);
    pst_must(i->day >= 0 && i->day <= 65535);
    for (unsigned c = 0; c < s->ncols; c++)
        pst_must(s->col[c].type != PST_STRING || record_string(r, s->col[c].offset, &len));
}

/* Do both rows have that value? Strings may lie in another order. */
static bool same(const struct column *c)
{
    uint32_t a, b;
    if (c->type != PST_STRING)
        return c->packet ||
               !memcmp(in.record + c->offset, again.record + c->offset, type_width(c->type));
    const char *x = record_string((struct record *)(void *)in.record, c->offset, &a);
    const char *y = record_string((struct record *)(void *)again.record, c->offset, &b);
    return a == b && !memcmp(x, y, a);
}

/* The row out to kdb+ and in again. */
static void there_and_back(const struct kdb_target *t)
{
    static struct kdb_columns k;
    static struct kdb_out out;
    struct frame f = {.day = (uint16_t)in.day};
    struct kdb_message m;
    struct kdb_object o;
    struct err err;
    size_t n;
    kdb_columns_init(&k);
    kdb_columns_begin(&k, t->schema);
    pst_must(kdb_columns_add(&k, &dict, &f, (const struct record *)(const void *)in.record,
                             in.has_packet ? &in.packet : NULL,
                             in.has_packet ? (int64_t)in.packet.seq : PST_NULL_LONG));
    out.len = 0;
    pst_must(kdb_columns_message(&k, &out, in.row & 1));
    pst_must(kdb_object_check(out.data, out.len, KDB_LITTLE, &n, NULL) == KDB_OK && n == out.len);
    kdb_object_view(&o, out.data, KDB_LITTLE);
    kdb_message_view(&m, &o);
    struct kdb_target back = *t;
    back.ordered = false;
    back.date = in.day;
    pst_must(m.update && kdb_update_view(&update_again, &m.data, &err));
    pst_must(kdb_in_begin(&again, &back, &update_again, &err) && kdb_in_next(&again, &err) == 1);
    pst_must(kdb_in_symbols(&again, true, intern, NULL));
    sound(&again, t->schema);
    pst_must(again.has_packet == in.has_packet && again.day == in.day);
    for (unsigned c = 0; c < t->schema->ncols; c++)
        pst_must(same(&t->schema->col[c]));
    if (in.has_packet)
        pst_must(!memcmp(&again.packet, &in.packet, sizeof in.packet));
    kdb_columns_free(&k);
}

static void rows(const struct kdb_target *t)
{
    struct err err;
    unsigned made = 0;
    if (!kdb_in_begin(&in, t, &update, &err)) {
        one_sentence(&err);
        return;
    }
    for (int r; in.row < 2000 && (r = kdb_in_next(&in, &err));) {
        if (r < 0) {
            one_sentence(&err);
            continue;
        }
        if (!kdb_in_symbols(&in, true, intern, NULL))
            continue;
        sound(&in, t->schema);
        if (made++ < 20)
            there_and_back(t);
    }
}

static void take(const struct kdb_message *m)
{
    struct err err;
    struct schema s;
    struct kdb_guess g = {.table = "t"};
    struct kdb_target t = {.date = KDB_NO_DATE};
    if (!kdb_update_view(&update, &m->data, &err)) {
        one_sentence(&err);
        return;
    }
    t.schema = &every;
    rows(&t);
    t.date = 9000;
    rows(&t);
    kdb_guess_add(&g, &update);
    if (kdb_guess_schema(&g, &s, &t, &err)) {
        s.id = 7;
        t.schema = &s;
        rows(&t);
    } else {
        one_sentence(&err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"b", PST_BOOLEAN},  {"g", PST_GUID},
        {"x", PST_BYTE},         {"h", PST_SHORT},    {"i", PST_INT},      {"j", PST_LONG},
        {"e", PST_REAL},         {"f", PST_FLOAT},    {"c", PST_CHAR},     {"s", PST_SYMBOL},
        {"m", PST_MONTH},        {"d", PST_DATE},     {"n", PST_TIMESPAN}, {"u", PST_MINUTE},
        {"v", PST_SECOND},       {"t", PST_TIME},     {"text", PST_STRING}};
    struct kdb_log l;
    struct kdb_message m;
    struct err err;
    if (!every.ncols)
        pst_must(schema_make(&every, 7, "every", false, cols, PST_COUNT(cols), &err));
    pst_must(dictionary_init(&dict, &err));
    if (kdb_log_open_memory(&l, data, size, &err)) {
        while (kdb_log_next(&l, &m) == KDB_LOG_MESSAGE)
            if (m.update)
                take(&m);
        kdb_log_close(&l);
    }
    dictionary_free(&dict);
    return 0;
}
