/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "core/civil.h"
#include "publish/encode.h"

#define BLOCK       512u /* rows whose records stay in the nearest cache */
#define NONE_PACKET 1u   /* offset / 8 of the packet record of rows that have none */

/* ---- the arena ---- */

void encoder_empty(struct encoder *e)
{
    e->used = 8 * NONE_PACKET + sizeof(struct packet_record);
}

bool encoder_open(struct encoder *e, struct dictionary *dict, struct filter_syms *syms,
                  const struct tzone *zone)
{
    static const struct packet_record none = {.rxtime = PST_NULL_TIMESTAMP,
                                              .feed = PST_NULL_SYMBOL,
                                              .session = PST_NULL_SYMBOL,
                                              .line = PST_NULL_SYMBOL,
                                              .flags = 0x80000000u};
    memset(e, 0, sizeof *e);
    e->dict = dict;
    e->syms = syms;
    e->zone = zone;
    e->zone_from = INT64_MAX;
    e->midnight_day = -1;
    e->arena = aligned_alloc(64, ENCODE_ARENA);
    if (!e->arena)
        return false;
    memcpy(e->arena + 8 * NONE_PACKET, &none, sizeof none);
    encoder_empty(e);
    return true;
}

void encoder_close(struct encoder *e)
{
    for (unsigned i = 0; i < SCHEMA_COLUMNS_MAX; i++)
        free(e->vector[i]);
    free(e->arena);
    free(e->slot);
    free(e->code);
    memset(e, 0, sizeof *e);
}

uint32_t encoder_packet(struct encoder *e, const struct packet_record *packet)
{
    if (!packet)
        return NONE_PACKET;
    uint64_t at = e->used;
    struct packet_record *to = (struct packet_record *)(e->arena + at);
    *to = *packet;
    to->flags &= ROW_FLAG_MASK;
    e->used += sizeof *to;
    return (uint32_t)(at / 8);
}

uint32_t encoder_row(struct encoder *e, const struct record *r, uint32_t packet, int64_t seq,
                     uint16_t day)
{
    struct staged *s = (struct staged *)(e->arena + e->used);
    *s = (struct staged){packet, day, 0, seq};
    memcpy(s + 1, r, r->bytes);
    e->used += sizeof *s + r->bytes;
    return (uint32_t)(((uint8_t *)(s + 1) - e->arena) / 8);
}

/* ---- symbols ---- */

static const union symbol_slot null_symbol = {.text = "", .kind = 1};

static bool slots_for(struct encoder *e, uint32_t id)
{
    if (id < e->slots)
        return true;
    uint64_t n = e->slots ? e->slots : 1024;
    while (n <= id)
        n *= 2;
    if (id >= DICTIONARY_PAGE * DICTIONARY_PAGES)
        return false;
    union symbol_slot *slot = realloc(e->slot, n * sizeof *slot);
    if (!slot)
        return false;
    e->slot = slot;
    uint32_t *code = realloc(e->code, n * sizeof *code);
    if (!code)
        return false;
    e->code = code;
    memset(slot + e->slots, 0, (n - e->slots) * sizeof *slot);
    memset(code + e->slots, 0, (n - e->slots) * sizeof *code);
    e->slots = (uint32_t)n;
    return true;
}

static const union symbol_slot *symbol_slow(struct encoder *e, uint32_t id)
{
    uint32_t len;
    const char *text = id == PST_NULL_SYMBOL ? NULL : dictionary_peek(e->dict, id, &len);
    if (!text || !slots_for(e, id)) {
        e->lost_symbols += id != PST_NULL_SYMBOL;
        return &null_symbol;
    }
    union symbol_slot *s = &e->slot[id];
    len = (uint32_t)strnlen(text, len);
    if (len <= SYMBOL_SHORT) {
        memcpy(s->text, text, len);
        s->text[len] = 0;
        s->kind = (uint8_t)(1 + len);
    } else {
        s->far.p = text;
        s->far.len = len;
        s->kind = SYMBOL_LONG;
    }
    return s;
}

pst_inline const union symbol_slot *symbol_of(struct encoder *e, uint32_t id)
{
    if (pst_likely(id < e->slots && e->slot[id].kind))
        return &e->slot[id];
    return symbol_slow(e, id);
}

const union symbol_slot *encoder_symbol(struct encoder *e, uint32_t id)
{
    return symbol_of(e, id);
}

uint32_t encoder_code_slow(struct encoder *e, uint32_t id)
{
    uint32_t len;
    const char *text = id == PST_NULL_SYMBOL ? NULL : dictionary_peek(e->dict, id, &len);
    if (!text || !slots_for(e, id))
        return PST_NULL_SYMBOL;
    uint32_t code = filter_syms_code(e->syms, text, len);
    if (code >= FILTER_NO_CODE)
        return PST_NULL_SYMBOL;
    e->code[id] = code + 1;
    return code;
}

/* ---- layouts ---- */

static uint8_t plain_op(uint8_t type, bool local)
{
    switch (type) {
    case PST_SYMBOL:
        return ENCODE_SYMBOL;
    case PST_STRING:
        return ENCODE_STRING;
    case PST_REAL:
        return ENCODE_REAL;
    case PST_FLOAT:
        return ENCODE_FLOAT;
    case PST_TIMESTAMP:
        return local ? ENCODE_TIME : ENCODE_COPY8;
    default:
        switch (type_width(type)) {
        case 1:
            return ENCODE_COPY1;
        case 2:
            return ENCODE_COPY2;
        case 4:
            return ENCODE_COPY4;
        case 8:
            return ENCODE_COPY8;
        default:
            return ENCODE_COPY16;
        }
    }
}

static void column_from(struct layout_column *c, const struct schema *s, unsigned i, bool timespan,
                        bool local)
{
    const struct column *from = &s->col[i];
    c->type = from->type;
    c->op = plain_op(from->type, local);
    c->packet = from->packet;
    c->offset = from->offset;
    if (from->packet && from->offset == offsetof(struct packet_record, seq))
        c->op = ENCODE_SEQ;
    if (i == 0 && timespan) {
        c->type = PST_TIMESPAN;
        c->op = ENCODE_TIMESPAN;
    }
}

static bool heads(struct layout *l, bool names)
{
    const char *name[SCHEMA_COLUMNS_MAX * 4];
    kdb_out_list(&l->upd, 3);
    kdb_out_symbol(&l->upd, "upd", 3);
    kdb_out_symbol(&l->upd, l->schema->name, strlen(l->schema->name));
    for (unsigned i = 0; i < l->ncols; i++)
        name[i] = l->col[i].name;
    if (names)
        kdb_out_columns(&l->table, name, l->ncols);
    else
        kdb_out_list(&l->table, l->ncols);
    return !l->upd.failed && !l->table.failed;
}

bool layout_open(struct layout *l, const struct schema *s, const struct filter *filter,
                 bool timespan, bool local, bool names, struct err *err)
{
    unsigned n = filter && filter->noutputs ? filter->noutputs : s->ncols;
    memset(l, 0, sizeof *l);
    l->schema = s;
    if (n > SCHEMA_COLUMNS_MAX)
        return err_set(err, -EINVAL, "more than %u columns", SCHEMA_COLUMNS_MAX);
    l->col = calloc(n, sizeof *l->col);
    if (!l->col)
        return err_set(err, -ENOMEM, "no memory for the subscription");
    l->ncols = (uint16_t)n;
    for (unsigned i = 0; i < n; i++) {
        struct layout_column *c = &l->col[i];
        const struct filter_output *o = filter && filter->noutputs ? &filter->output[i] : NULL;
        const char *name = o ? o->name : s->col[i].name;
        if (strlen(name) >= sizeof c->name || !*name)
            return err_set(err, -EINVAL, "the column %.60s needs a name of 1 to %u characters (AS)",
                           name, SCHEMA_NAME_MAX - 1);
        snprintf(c->name, sizeof c->name, "%s", name);
        for (unsigned k = 0; k < i; k++)
            if (!strcmp(l->col[k].name, c->name))
                return err_set(err, -EINVAL, "two columns are called %s; name one with AS", name);
        if (!o || o->column >= 0) {
            column_from(c, s, o ? (unsigned)o->column : i, timespan, local);
        } else if (o->column == -2) {
            c->type = PST_DATE;
            c->op = ENCODE_DATE;
        } else {
            c->type = o->type;
            c->op = ENCODE_COMPUTED;
            c->output = (uint16_t)i;
            l->computes = true;
        }
        c->width =
            c->type == PST_SYMBOL || c->type == PST_STRING ? 0 : (uint8_t)type_width(c->type);
        l->fixed_bytes += c->width;
    }
    return heads(l, names) || err_set(err, -ENOMEM, "no memory for the subscription");
}

void layout_close(struct layout *l)
{
    free(l->col);
    kdb_out_free(&l->upd);
    kdb_out_free(&l->table);
    memset(l, 0, sizeof *l);
}

bool layout_schema(const struct layout *l, struct schema *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", l->schema->name);
    out->ncols = l->ncols;
    for (unsigned i = 0; i < l->ncols; i++) {
        memcpy(out->col[i].name, l->col[i].name, sizeof out->col[i].name);
        out->col[i].type = l->col[i].type;
    }
    return true;
}

/* ---- values ---- */

static int64_t shown(struct encoder *e, int64_t v)
{
    if (!e->zone || v == INT64_MIN || v == INT64_MAX || v == -INT64_MAX)
        return v;
    int64_t s = civil_floor_div(v, PST_SECOND_NS) + PST_EPOCH_OFFSET_S, there;
    if (s < e->zone_from || s >= e->zone_to) {
        e->zone_offset = tzone_offset(e->zone, s) * (int64_t)PST_SECOND_NS;
        e->zone_from = s;
        e->zone_to = tzone_next_change(e->zone, s);
    }
    return __builtin_add_overflow(v, e->zone_offset, &there) ? v : there;
}

static int64_t since_midnight(struct encoder *e, int64_t v, uint16_t day)
{
    if (v == INT64_MIN || v == INT64_MAX || v == -INT64_MAX)
        return v;
    if (day != e->midnight_day) {
        e->midnight_day = day;
        e->midnight = day * PST_DAY_NS;
        if (e->zone)
            e->midnight =
                (tzone_to_utc(e->zone, day * PST_DAY_S + PST_EPOCH_OFFSET_S) - PST_EPOCH_OFFSET_S) *
                PST_SECOND_NS;
    }
    int64_t span;
    if (!__builtin_sub_overflow(v, e->midnight, &span) && span != INT64_MIN)
        return span;
    e->lost_times++;
    return INT64_MIN;
}

#define EACH(T, FROM, VALUE)                                                                       \
    for (uint32_t i = 0; i < n; i++) {                                                             \
        const uint8_t *r = base + (size_t)rows[i] * 8;                                             \
        T v;                                                                                       \
        memcpy(&v, (FROM), sizeof v);                                                              \
        v = (VALUE);                                                                               \
        memcpy(to + i * sizeof v, &v, sizeof v);                                                   \
    }
#define STAGED(r)    ((const struct staged *)(const void *)(r)-1)
#define PACKET_OF(r) (base + (size_t)STAGED(r)->packet * 8 + c->offset)
#define FROM_ROW(r)  ((r) + c->offset)
#define BOTH(T, VALUE)                                                                             \
    do {                                                                                           \
        if (c->packet)                                                                             \
            EACH(T, PACKET_OF(r), VALUE)                                                           \
        else                                                                                       \
            EACH(T, FROM_ROW(r), VALUE)                                                            \
    } while (0)

struct wide {
    uint64_t a, b;
};

/* n values of a fixed width. */
static void fixed(struct encoder *e, const struct layout_column *c, const uint32_t *rows,
                  uint32_t n, uint8_t *to)
{
    const uint8_t *base = e->arena;
    switch (c->op) {
    case ENCODE_COPY1:
        BOTH(uint8_t, v);
        break;
    case ENCODE_COPY2:
        BOTH(uint16_t, v);
        break;
    case ENCODE_COPY4:
        BOTH(uint32_t, v);
        break;
    case ENCODE_COPY8:
        BOTH(uint64_t, v);
        break;
    case ENCODE_COPY16:
        BOTH(struct wide, v);
        break;
    case ENCODE_REAL:
        BOTH(uint32_t, (v & INT32_MAX) > 0x7F800000u ? PST_NULL_REAL_BITS : v);
        break;
    case ENCODE_FLOAT:
        BOTH(uint64_t, (v & INT64_MAX) > 0x7FF0000000000000ull ? PST_NULL_FLOAT_BITS : v);
        break;
    case ENCODE_TIME:
        BOTH(int64_t, shown(e, v));
        break;
    case ENCODE_TIMESPAN:
        EACH(int64_t, FROM_ROW(r), since_midnight(e, v, STAGED(r)->day));
        break;
    case ENCODE_SEQ:
        EACH(int64_t, &STAGED(r)->seq, v);
        break;
    default: /* ENCODE_DATE */
        for (uint32_t i = 0; i < n; i++)
            put32(to + i * 4, STAGED(base + (size_t)rows[i] * 8)->day);
        break;
    }
}

pst_inline uint32_t symbol_id(const struct encoder *e, const struct layout_column *c, uint32_t row)
{
    const uint8_t *r = e->arena + (size_t)row * 8;
    return le32(c->packet ? e->arena + (size_t)STAGED(r)->packet * 8 + c->offset : r + c->offset);
}

static size_t symbols_size(struct encoder *e, const struct layout_column *c, const uint32_t *rows,
                           uint32_t n)
{
    size_t size = 0;
    for (uint32_t i = 0; i < n; i++) {
        const union symbol_slot *s = symbol_of(e, symbol_id(e, c, rows[i]));
        size += pst_likely(s->kind != SYMBOL_LONG) ? s->kind : s->far.len + 1;
    }
    return size;
}

/* Symbols were all looked up by symbols_size: what has no slot now has no text. */
static uint8_t *symbols(struct encoder *e, const struct layout_column *c, const uint32_t *rows,
                        uint32_t n, uint8_t *to, const uint8_t *end)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = symbol_id(e, c, rows[i]);
        const union symbol_slot *s =
            id < e->slots && e->slot[id].kind ? &e->slot[id] : &null_symbol;
        if (pst_unlikely(s->kind == SYMBOL_LONG)) {
            memcpy(to, s->far.p, s->far.len);
            to += s->far.len;
            *to++ = 0;
        } else if (pst_likely((size_t)(end - to) >= sizeof *s)) {
            memcpy(to, s, sizeof *s);
            to += s->kind;
        } else {
            memcpy(to, s->text, s->kind);
            to += s->kind;
        }
    }
    return to;
}

static size_t strings_size(const struct encoder *e, const struct layout_column *c,
                           const uint32_t *rows, uint32_t n)
{
    size_t size = (size_t)n * 6;
    for (uint32_t i = 0; i < n; i++)
        size += le32(e->arena + (size_t)rows[i] * 8 + c->offset + 4);
    return size;
}

static uint8_t *strings(const struct encoder *e, const struct layout_column *c,
                        const uint32_t *rows, uint32_t n, uint8_t *to)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *r = e->arena + (size_t)rows[i] * 8;
        uint32_t at = le32(r + c->offset), len = le32(r + c->offset + 4);
        to[0] = PST_CHAR;
        to[1] = 0;
        put32(to + 2, len);
        memcpy(to + 6, r + at, len);
        to += 6 + len;
    }
    return to;
}

/* ---- tables ---- */

static size_t column_size(struct encoder *e, const struct layout_column *c, const uint32_t *rows,
                          uint32_t n)
{
    if (c->width)
        return (size_t)c->width * n;
    return c->op == ENCODE_SYMBOL ? symbols_size(e, c, rows, n) : strings_size(e, c, rows, n);
}

size_t encode_table_size(struct encoder *e, const struct layout *l, const struct folded *f,
                         const uint32_t *rows, uint32_t n)
{
    size_t size = l->table.len + 6u * l->ncols + (size_t)n * l->fixed_bytes;
    for (unsigned i = 0; i < l->ncols; i++) {
        if (f->rows)
            size += f->col[i].len;
        if (!l->col[i].width && n)
            size += column_size(e, &l->col[i], rows, n);
    }
    return size <= KDB_BYTES_MAX ? size : 0;
}

/* Values of all columns, block by block; at[] says where each column's go on. */
static void blocks(struct encoder *e, const struct layout *l, const uint32_t *rows, uint32_t n,
                   uint8_t **at, uint8_t *const *end)
{
    for (uint32_t from = 0; from < n; from += BLOCK) {
        uint32_t k = n - from < BLOCK ? n - from : BLOCK;
        const uint32_t *r = rows + from;
        for (unsigned i = 0; i < l->ncols; i++) {
            const struct layout_column *c = &l->col[i];
            switch (c->op) {
            case ENCODE_COMPUTED:
                break;
            case ENCODE_SYMBOL:
                at[i] = symbols(e, c, r, k, at[i], end[i]);
                break;
            case ENCODE_STRING:
                at[i] = strings(e, c, r, k, at[i]);
                break;
            default:
                fixed(e, c, r, k, at[i]);
                at[i] += (size_t)k * c->width;
            }
        }
    }
}

uint8_t *encode_table(struct encoder *e, const struct layout *l, const struct folded *f,
                      const uint32_t *rows, uint32_t n, uint8_t *to)
{
    uint8_t *at[SCHEMA_COLUMNS_MAX], *end[SCHEMA_COLUMNS_MAX];
    memcpy(to, l->table.data, l->table.len);
    to += l->table.len;
    for (unsigned i = 0; i < l->ncols; i++) {
        const struct layout_column *c = &l->col[i];
        to[0] = c->type == PST_STRING ? KDB_LIST : c->type;
        to[1] = 0;
        put32(to + 2, f->rows + n);
        to += 6;
        if (f->rows) {
            memcpy(to, f->col[i].p, f->col[i].len);
            to += f->col[i].len;
        }
        at[i] = to;
        if (n)
            to += column_size(e, c, rows, n);
        end[i] = to;
    }
    if (n)
        blocks(e, l, rows, n, at, end);
    return to;
}

/* ---- folding ---- */

void folded_free(struct folded *f, unsigned ncols)
{
    for (unsigned i = 0; f->col && i < ncols; i++)
        free(f->col[i].p);
    free(f->col);
    memset(f, 0, sizeof *f);
}

void folded_clear(struct folded *f, unsigned ncols)
{
    if (f->bytes > 64u << 10) { /* of a burst: it is not kept */
        folded_free(f, ncols);
        return;
    }
    for (unsigned i = 0; f->col && i < ncols; i++)
        f->col[i].len = 0;
    f->rows = 0;
}

static bool folded_room(struct folded *f, unsigned i, size_t bytes)
{
    struct folded_column *c = &f->col[i];
    if (bytes <= c->room - c->len)
        return true;
    size_t room = c->room ? c->room : 256;
    while (room - c->len < bytes)
        room *= 2;
    uint8_t *p = realloc(c->p, room);
    if (!p)
        return false;
    f->bytes += room - c->room;
    c->p = p;
    c->room = room;
    return true;
}

/* Value i of a computed column as kdb+ has it: from the filter's class. */
static int64_t narrow(int64_t v, uint8_t type)
{
    if (v != INT64_MIN)
        return v;
    switch (type) {
    case PST_SHORT:
        return INT16_MIN;
    case PST_CHAR:
        return PST_NULL_CHAR;
    case PST_BYTE:
        return 0;
    default:
        return type_width(type) == 4 ? INT32_MIN : INT64_MIN;
    }
}

static size_t computed_size(const struct layout_column *c, const struct filter *filter,
                            struct filter_vector v, uint32_t n)
{
    size_t size = 0;
    if (c->width)
        return (size_t)n * c->width;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t len;
        if (c->type == PST_STRING) {
            size += 6 + ((const struct plan_text *)v.p)[v.one ? 0 : i].len;
        } else {
            filter_text_of(filter, ((const uint32_t *)v.p)[v.one ? 0 : i], &len);
            size += len + 1;
        }
    }
    return size;
}

static void computed(struct encoder *e, const struct layout_column *c, const struct filter *filter,
                     struct filter_vector v, uint32_t n, uint8_t *to)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = v.one ? 0 : i, len;
        const char *text;
        int64_t whole;
        double d;
        switch (c->type) {
        case PST_BOOLEAN: /* kdb+ has no null of it */
            *to++ = ((const uint8_t *)v.p)[k] == 1;
            break;
        case PST_FLOAT:
            d = ((const double *)v.p)[k];
            if (isnan(d))
                put64(to, PST_NULL_FLOAT_BITS);
            else
                memcpy(to, &d, 8);
            to += 8;
            break;
        case PST_REAL: {
            float f = (float)((const double *)v.p)[k];
            if (isnan(f))
                put32(to, PST_NULL_REAL_BITS);
            else
                memcpy(to, &f, 4);
            to += 4;
            break;
        }
        case PST_SYMBOL:
            text = filter_text_of(filter, ((const uint32_t *)v.p)[k], &len);
            len = (uint32_t)strnlen(text, len);
            memcpy(to, text, len);
            to += len;
            *to++ = 0;
            break;
        case PST_STRING: {
            struct plan_text s = ((const struct plan_text *)v.p)[k];
            to[0] = PST_CHAR;
            to[1] = 0;
            put32(to + 2, s.len);
            if (s.len)
                memcpy(to + 6, s.p, s.len);
            to += 6 + s.len;
            break;
        }
        case PST_GUID:
            memcpy(to, (const uint8_t *)v.p + (size_t)k * 16, 16);
            to += 16;
            break;
        default:
            whole = ((const int64_t *)v.p)[k];
            if (c->type == PST_TIMESTAMP)
                whole = shown(e, whole);
            whole = narrow(whole, c->type);
            memcpy(to, &whole, c->width); /* little endian */
            to += c->width;
        }
    }
}

bool encode_fold(struct encoder *e, const struct layout *l, const struct filter *filter,
                 struct folded *f, const uint32_t *rows, uint32_t n)
{
    uint8_t *at[SCHEMA_COLUMNS_MAX], *end[SCHEMA_COLUMNS_MAX];
    size_t size[SCHEMA_COLUMNS_MAX];
    if (!f->col && !(f->col = calloc(l->ncols, sizeof *f->col)))
        return false;
    for (unsigned i = 0; i < l->ncols; i++) {
        const struct layout_column *c = &l->col[i];
        size[i] = c->op == ENCODE_COMPUTED
                      ? computed_size(c, filter, filter_value(filter, c->output), n)
                      : column_size(e, c, rows, n);
        if (!folded_room(f, i, size[i]))
            return false;
    }
    for (unsigned i = 0; i < l->ncols; i++) {
        const struct layout_column *c = &l->col[i];
        at[i] = f->col[i].p + f->col[i].len;
        f->col[i].len += size[i];
        end[i] = f->col[i].p + f->col[i].len;
        if (c->op == ENCODE_COMPUTED)
            computed(e, c, filter, filter_value(filter, c->output), n, at[i]);
    }
    blocks(e, l, rows, n, at, end);
    f->rows += n;
    return true;
}

/* ---- filters ---- */

static void codes(struct encoder *e, const struct layout_column *c, const uint32_t *rows,
                  uint32_t n, uint32_t *to)
{
    for (uint32_t i = 0; i < n; i++)
        to[i] = encoder_code(e, symbol_id(e, c, rows[i]));
}

static void texts(const struct encoder *e, const struct layout_column *c, const uint32_t *rows,
                  uint32_t n, uint64_t *to)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t r = (uint64_t)rows[i] * 8;
        uint32_t at = le32(e->arena + r + c->offset), len = le32(e->arena + r + c->offset + 4);
        to[i] = (r + at) << 16 | len;
    }
}

bool encode_vectors(struct encoder *e, const struct schema *s, const struct filter *f,
                    const uint32_t *rows, uint32_t n, struct filter_batch *b)
{
    for (uint32_t k = 0; k < f->ncolumns; k++) {
        unsigned i = f->columns[k];
        struct layout_column c = {0};
        column_from(&c, s, i, false, false);
        if (!e->vector[i] && !(e->vector[i] = malloc((size_t)FILTER_BATCH * ENCODE_COLUMN)))
            return false;
        e->data[i] = e->vector[i];
        if (c.op == ENCODE_SYMBOL) {
            codes(e, &c, rows, n, e->vector[i]);
        } else if (c.op == ENCODE_STRING) {
            texts(e, &c, rows, n, e->vector[i]);
        } else {
            if (c.op == ENCODE_REAL)
                c.op = ENCODE_COPY4;
            else if (c.op == ENCODE_FLOAT)
                c.op = ENCODE_COPY8;
            fixed(e, &c, rows, n, e->vector[i]);
        }
    }
    *b = (struct filter_batch){.n = n,
                               .date = encoder_staged(e, rows[0])->day,
                               .data = e->data,
                               .chars = (const char *)e->arena,
                               .chars_bytes = ENCODE_ARENA};
    return true;
}
