/* SPDX-License-Identifier: Apache-2.0 */
/* Records to updates of a tickerplant. */
#include <math.h>
#include "core/civil.h"
#include "kdb_rows.h"

void kdb_columns_init(struct kdb_columns *k)
{
    memset(k, 0, sizeof *k);
    k->packet_columns = true;
}

void kdb_columns_free(struct kdb_columns *k)
{
    for (unsigned i = 0; i < SCHEMA_COLUMNS_MAX; i++)
        kdb_out_free(&k->col[i]);
}

bool kdb_columns_has(const struct kdb_columns *k, const struct schema *s, unsigned i)
{
    return k->packet_columns || !s->col[i].packet;
}

/* kdb+'s type of a column; 0: a list of texts. */
static int type_of(const struct kdb_columns *k, const struct schema *s, unsigned i)
{
    uint8_t type = s->col[i].type;
    return type == PST_STRING ? KDB_LIST : i == 0 && k->timespan ? PST_TIMESPAN : type;
}

void kdb_columns_begin(struct kdb_columns *k, const struct schema *s)
{
    k->schema = s;
    k->rows = 0;
    for (unsigned i = 0; i < s->ncols; i++) {
        k->col[i].len = 0;
        if (kdb_columns_has(k, s, i))
            k->opened[i] = kdb_out_open(&k->col[i], type_of(k, s, i), 0);
    }
}

static int64_t local(const struct kdb_columns *k, int64_t v)
{
    if (!k->zone || v == INT64_MIN || v == INT64_MAX || v == -INT64_MAX)
        return v;
    int64_t s = civil_floor_div(v, PST_SECOND_NS);
    int64_t there;
    return __builtin_add_overflow(v, tzone_offset(k->zone, s + PST_EPOCH_OFFSET_S) * PST_SECOND_NS,
                                  &there)
               ? v
               : there;
}

/* From the midnight that begins `day` in the zone. */
static int64_t since_midnight(struct kdb_columns *k, int64_t v, uint16_t day)
{
    if (v == INT64_MIN || v == INT64_MAX || v == -INT64_MAX)
        return v;
    int64_t midnight = day * PST_DAY_NS, span;
    if (k->zone)
        midnight =
            (tzone_to_utc(k->zone, day * PST_DAY_S + PST_EPOCH_OFFSET_S) - PST_EPOCH_OFFSET_S) *
            PST_SECOND_NS;
    if (!__builtin_sub_overflow(v, midnight, &span) && span != INT64_MIN)
        return span;
    k->lost_times++;
    return INT64_MIN;
}

static void symbol(struct kdb_columns *k, struct kdb_out *o, struct dictionary *d, uint32_t id)
{
    uint32_t len = 0;
    const char *text = dictionary_text(d, id, &len);
    k->lost_symbols += !text;
    kdb_out_bytes(o, text ? text : "", text ? strnlen(text, len) : 0);
    kdb_out_bytes(o, "", 1);
}

static void value(struct kdb_out *o, uint8_t type, const uint8_t *from)
{
    uint8_t v[16];
    unsigned w = type_width(type);
    memcpy(v, from, w);
    if (type == PST_FLOAT && (le64(v) & INT64_MAX) > 0x7FF0000000000000ull)
        put64(v, PST_NULL_FLOAT_BITS);
    if (type == PST_REAL && (le32(v) & INT32_MAX) > 0x7F800000u)
        put32(v, PST_NULL_REAL_BITS);
    kdb_out_bytes(o, v, w);
}

bool kdb_columns_add(struct kdb_columns *k, struct dictionary *d, const struct frame *f,
                     const struct record *r, const struct packet_record *packet, int64_t seq)
{
    static const struct packet_record none = {.rxtime = PST_NULL_TIMESTAMP,
                                              .feed = PST_NULL_SYMBOL,
                                              .session = PST_NULL_SYMBOL,
                                              .line = PST_NULL_SYMBOL,
                                              .flags = 0x80000000u};
    const struct schema *s = k->schema;
    if (r->bytes < s->fixed)
        return false;
    for (unsigned i = 0, left = s->nstrings; left && i < s->ncols; i++) {
        uint32_t len;
        if (s->col[i].type != PST_STRING)
            continue;
        if (!record_string(r, s->col[i].offset, &len))
            return false;
        left--;
    }
    bool ok = true;
    for (unsigned i = 0; i < s->ncols; i++) {
        struct kdb_out *o = &k->col[i];
        const struct column *c = &s->col[i];
        if (!kdb_columns_has(k, s, i))
            continue;
        const struct packet_record *p = packet ? packet : &none;
        const uint8_t *from = (c->packet ? (const uint8_t *)p : (const uint8_t *)r) + c->offset;
        uint32_t flags = packet ? p->flags & ROW_FLAG_MASK : p->flags;
        int64_t time;
        if (c->packet && c->offset == offsetof(struct packet_record, seq))
            from = (const uint8_t *)&seq;
        else if (c->packet && c->offset == offsetof(struct packet_record, flags))
            from = (const uint8_t *)&flags;
        if (c->type == PST_SYMBOL) {
            symbol(k, o, d, le32(from));
        } else if (c->type == PST_STRING) {
            uint32_t len;
            const char *text = record_string(r, c->offset, &len);
            kdb_out_chars(o, text, len);
        } else if (c->type == PST_TIMESTAMP) {
            time = (int64_t)le64(from);
            time = i == 0 && k->timespan ? since_midnight(k, time, f->day) : local(k, time);
            kdb_out_bytes(o, &time, 8);
        } else {
            value(o, c->type, from);
        }
        ok = ok && !o->failed;
    }
    k->rows++;
    return ok;
}

bool kdb_columns_message(struct kdb_columns *k, struct kdb_out *out, bool as_table)
{
    const struct schema *s = k->schema;
    const char *names[SCHEMA_COLUMNS_MAX];
    uint32_t n = 0;
    for (unsigned i = 0; i < s->ncols; i++)
        if (kdb_columns_has(k, s, i))
            names[n++] = s->col[i].name;
    kdb_out_list(out, 3);
    kdb_out_symbol(out, "upd", 3);
    kdb_out_symbol(out, s->name, strlen(s->name));
    if (as_table)
        kdb_out_columns(out, names, n);
    else
        kdb_out_list(out, n);
    for (unsigned i = 0; i < s->ncols; i++) {
        if (!kdb_columns_has(k, s, i))
            continue;
        kdb_out_close(&k->col[i], k->opened[i], k->rows);
        if (k->col[i].failed)
            return false;
        kdb_out_bytes(out, k->col[i].data, k->col[i].len);
    }
    return !out->failed;
}

/* flip `a`b!(...) and not ([]a:...;b:...): q takes no reserved word (first, last) as a name there.
 */
void kdb_columns_schema(const struct kdb_columns *k, const struct schema *s, char *out, size_t room)
{
    size_t n = (size_t)snprintf(out, room, "%s:flip ", s->name);
    for (unsigned i = 0; i < s->ncols && n < room; i++)
        if (kdb_columns_has(k, s, i))
            n += (size_t)snprintf(out + n, room - n, "`%s", s->col[i].name);
    for (unsigned i = 0; i < s->ncols && n < room; i++) {
        int type = type_of(k, s, i);
        const char *before = i ? ";" : "!(";
        if (kdb_columns_has(k, s, i))
            n += type ? (size_t)snprintf(out + n, room - n, "%s`%s$()", before,
                                         type_name((uint8_t)type))
                      : (size_t)snprintf(out + n, room - n, "%s()", before);
    }
    if (n < room)
        snprintf(out + n, room - n, ")");
}
