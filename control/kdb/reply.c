/* SPDX-License-Identifier: Apache-2.0 */
#include "kdb/reply.h"

/* ---- objects ---- */

void kdb_put_string(struct kdb_out *o, const char *text)
{
    kdb_out_symbol(o, text, strlen(text));
}

void kdb_put_empty(struct kdb_out *o, uint8_t type, uint8_t attribute)
{
    kdb_out_close(o, kdb_out_open(o, type == PST_STRING ? KDB_LIST : type, attribute), 0);
}

static bool is_key(const struct schema *s, unsigned column)
{
    for (unsigned k = 0; k < s->nkeys; k++)
        if (s->keys[k] == column)
            return true;
    return false;
}

/* The keys of a schema, or what is not key. */
static void put_part(struct kdb_out *o, const struct schema *s, bool keys)
{
    const char *names[SCHEMA_COLUMNS_MAX];
    unsigned n = 0;
    for (unsigned c = 0; c < s->ncols; c++)
        if (is_key(s, c) == keys)
            names[n++] = s->col[c].name;
    kdb_out_columns(o, names, n);
    for (unsigned c = 0; c < s->ncols; c++)
        if (is_key(s, c) == keys) {
            bool sym = !keys && s->col[c].type == PST_SYMBOL && !strcmp(s->col[c].name, "sym");
            kdb_put_empty(o, s->col[c].type, sym ? 4 : 0);
        }
}

void kdb_put_schema(struct kdb_out *o, const struct schema *s)
{
    if (s->nkeys) {
        kdb_out_dict(o, false);
        put_part(o, s, true);
    }
    put_part(o, s, false);
}

void kdb_put_pair(struct kdb_out *o, const struct kdb_answer_table *t)
{
    kdb_out_list(o, 2);
    kdb_put_string(o, t->schema->name);
    if (t->rows_len)
        kdb_out_bytes(o, t->rows, t->rows_len);
    else
        kdb_put_schema(o, t->schema);
}

/* `:path; no log: the null symbol */
static void put_path(struct kdb_out *o, const char *path)
{
    char text[4096];
    snprintf(text, sizeof text, "%s%s", path && *path ? ":" : "", path ? path : "");
    kdb_put_string(o, text);
}

void kdb_put_point(struct kdb_out *o, int64_t messages, const char *log)
{
    kdb_out_list(o, 2);
    kdb_out_long(o, messages);
    put_path(o, log);
}

void kdb_put_meta(struct kdb_out *o, const struct schema *s)
{
    static const char *const key[] = {"c"};
    static const char *const value[] = {"t", "f", "a"};
    size_t at;
    kdb_out_dict(o, false);
    kdb_out_columns(o, key, 1);
    at = kdb_out_open(o, PST_SYMBOL, 0);
    for (unsigned pass = 0; pass < 2; pass++) /* keys first, as a keyed table shows them */
        for (unsigned c = 0; c < s->ncols; c++)
            if (is_key(s, c) == !pass)
                kdb_out_bytes(o, s->col[c].name, strlen(s->col[c].name) + 1);
    kdb_out_close(o, at, s->ncols);
    kdb_out_columns(o, value, 3);
    at = kdb_out_open(o, PST_CHAR, 0);
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned c = 0; c < s->ncols; c++)
            if (is_key(s, c) == !pass) {
                char letter = type_letter(s->col[c].type);
                kdb_out_bytes(o, &letter, 1);
            }
    kdb_out_close(o, at, s->ncols);
    at = kdb_out_open(o, PST_SYMBOL, 0); /* foreign keys: none */
    for (unsigned c = 0; c < s->ncols; c++)
        kdb_out_bytes(o, "", 1);
    kdb_out_close(o, at, s->ncols);
    at = kdb_out_open(o, PST_SYMBOL, 0);
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned c = 0; c < s->ncols; c++)
            if (is_key(s, c) == !pass) {
                bool sym = pass && !strcmp(s->col[c].name, "sym");
                kdb_out_bytes(o, sym ? "g" : "", sym ? 2 : 1);
            }
    kdb_out_close(o, at, s->ncols);
}

/* ---- answers ---- */

static void put_pairs(struct kdb_out *o, const struct kdb_facts *f)
{
    kdb_out_list(o, f->ntables);
    for (uint32_t i = 0; i < f->ntables; i++)
        kdb_put_pair(o, &f->tables[i]);
}

/* What .u.sub itself returns. */
static void put_plain(struct kdb_out *o, const struct kdb_names *tables, const struct kdb_facts *f)
{
    if (tables->all || tables->many || f->ntables != 1)
        put_pairs(o, f);
    else
        kdb_put_pair(o, &f->tables[0]);
}

static void put_names(struct kdb_out *o, const struct kdb_facts *f)
{
    size_t at = kdb_out_open(o, PST_SYMBOL, 0);
    for (uint32_t i = 0; i < f->ntables; i++)
        kdb_out_bytes(o, f->tables[i].schema->name, strlen(f->tables[i].schema->name) + 1);
    kdb_out_close(o, at, f->ntables);
}

static void put_torq(struct kdb_out *o, const struct kdb_facts *f, bool directory)
{
    static const char *const keys[] = {"schemalist", "logfilelist", "rowcounts", "date", "logdir"};
    unsigned n = directory ? 5 : 4;
    bool log = f->log && *f->log && f->messages != PST_NULL_LONG;
    kdb_out_dict(o, false);
    kdb_out_symbols(o, keys, n);
    kdb_out_list(o, n);
    put_pairs(o, f);
    kdb_out_list(o, log ? 1 : 0); /* without a log there is nothing to replay */
    if (log)
        kdb_put_point(o, f->messages, f->log);
    kdb_out_dict(o, false);
    put_names(o, f);
    size_t at = kdb_out_open(o, PST_LONG, 0);
    for (uint32_t i = 0; i < f->ntables; i++)
        kdb_out_bytes(o, &f->tables[i].count, sizeof f->tables[i].count);
    kdb_out_close(o, at, f->ntables);
    kdb_out_atom(o, PST_DATE, &f->date);
    if (directory)
        kdb_put_string(o, f->log_directory ? f->log_directory : "");
}

static void put_sub(struct kdb_out *o, const struct kdb_request *r, const struct kdb_facts *f)
{
    switch (r->shape) {
    case KDB_SHAPE_POINT_AFTER:
        kdb_out_list(o, 2);
        put_plain(o, &r->sub.tables, f);
        kdb_put_point(o, f->messages, f->log);
        break;
    case KDB_SHAPE_POINT_FIRST:
        kdb_out_list(o, 3);
        kdb_out_long(o, f->messages);
        put_path(o, f->log);
        put_plain(o, &r->sub.tables, f);
        break;
    case KDB_SHAPE_TORQ:
    case KDB_SHAPE_SEGMENTED:
        put_torq(o, f, r->shape == KDB_SHAPE_SEGMENTED);
        break;
    default:
        put_plain(o, &r->sub.tables, f);
        break;
    }
}

static void put_point_parts(struct kdb_out *o, const struct kdb_request *r,
                            const struct kdb_facts *f)
{
    if (r->parts == (KDB_POINT_I | KDB_POINT_L)) {
        kdb_put_point(o, f->messages, f->log);
        return;
    }
    if (r->parts == KDB_POINT_I && r->enlisted) {
        kdb_out_vector(o, PST_LONG, 0, 1, &f->messages);
    } else if (r->parts == KDB_POINT_I) {
        kdb_out_long(o, f->messages);
    } else if (r->enlisted) {
        char path[4096];
        const char *one = path;
        snprintf(path, sizeof path, "%s%s", f->log && *f->log ? ":" : "", f->log ? f->log : "");
        kdb_out_symbols(o, &one, 1);
    } else {
        put_path(o, f->log);
    }
}

static void put_position(struct kdb_out *o, uint64_t position)
{
    kdb_out_long(o, (int64_t)position);
}

static void put_pst_sub(struct kdb_out *o, const struct kdb_facts *f)
{
    static const char *const keys[] = {"instance", "position", "schemas", "id"};
    kdb_out_dict(o, false);
    kdb_out_symbols(o, keys, PST_COUNT(keys));
    kdb_out_list(o, PST_COUNT(keys));
    kdb_put_string(o, f->instance ? f->instance : "");
    put_position(o, f->position);
    put_pairs(o, f);
    put_position(o, f->id);
}

static void put_watermark(struct kdb_out *o, const struct kdb_facts *f)
{
    static const char *const keys[] = {"committed", "submitted", "written", "durable", "time"};
    kdb_out_dict(o, false);
    kdb_out_symbols(o, keys, PST_COUNT(keys));
    kdb_out_list(o, PST_COUNT(keys));
    put_position(o, f->position);
    put_position(o, f->submitted);
    put_position(o, f->written);
    put_position(o, f->durable);
    kdb_out_atom(o, PST_TIMESTAMP, &f->time);
}

static void put_cols(struct kdb_out *o, const struct schema *s)
{
    const char *names[SCHEMA_COLUMNS_MAX];
    unsigned n = 0;
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned c = 0; c < s->ncols; c++)
            if (is_key(s, c) == !pass)
                names[n++] = s->col[c].name;
    kdb_out_symbols(o, names, n);
}

/* False: facts do not answer this. */
static bool put_answer(struct kdb_out *o, const struct kdb_request *r, const struct kdb_facts *f)
{
    bool one = r->call == KDB_CALL_META || r->call == KDB_CALL_COLS || r->call == KDB_CALL_COUNT;
    if (one && f->ntables != 1)
        return false;
    switch (r->call) {
    case KDB_CALL_FLUSH:
    case KDB_CALL_UPD:
    case KDB_CALL_ENDOFDAY:
    case KDB_CALL_PST_UNSUB:
        kdb_out_null(o);
        return true;
    case KDB_CALL_SUB:
        put_sub(o, r, f);
        return true;
    case KDB_CALL_POINT:
        put_point_parts(o, r, f);
        return true;
    case KDB_CALL_DATE:
        kdb_out_atom(o, PST_DATE, &f->date);
        return true;
    case KDB_CALL_TABLES:
        put_names(o, f);
        return true;
    case KDB_CALL_META:
        kdb_put_meta(o, f->tables[0].schema);
        return true;
    case KDB_CALL_COLS:
        put_cols(o, f->tables[0].schema);
        return true;
    case KDB_CALL_COUNT:
        kdb_out_long(o, f->tables[0].count);
        return true;
    case KDB_CALL_TORQ_TYPE:
        kdb_put_string(o, "segmented");
        return true;
    case KDB_CALL_PYKX_CONTEXT:
        kdb_put_string(o, "_pykx_ctx_marker");
        return true;
    case KDB_CALL_PYKX_KEYS:
        kdb_put_empty(o, PST_SYMBOL, 0);
        return true;
    case KDB_CALL_TORQ_ATTRIBUTES:
        kdb_out_error(o, "nyi: attributes of a TorQ process");
        return true;
    case KDB_CALL_PST_SUB:
        put_pst_sub(o, f);
        return true;
    case KDB_CALL_PST_UPD:
    case KDB_CALL_PST_WAIT:
        put_position(o, f->position);
        return true;
    case KDB_CALL_PST_WATERMARK:
        put_watermark(o, f);
        return true;
    case KDB_CALL_UNKNOWN:
        kdb_out_error(o, r->hint);
        return true;
    default:
        return false;
    }
}

/* Ends a message; one that could not be made is taken out again. */
static bool ended(struct kdb_out *o, size_t begun)
{
    if (kdb_frame_end(o, begun))
        return true;
    o->len = begun;
    return false;
}

bool kdb_answer(struct kdb_out *o, const struct kdb_request *r, const struct kdb_facts *f)
{
    size_t begun = kdb_frame_begin(o, KDB_RESPONSE);
    if (!put_answer(o, r, f)) {
        char text[64];
        snprintf(text, sizeof text, "nyi: %s is not answered here", kdb_call_name(r->call));
        kdb_out_error(o, text);
    }
    return ended(o, begun);
}

bool kdb_answer_error(struct kdb_out *o, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t begun = kdb_frame_begin(o, KDB_RESPONSE);
    kdb_out_error(o, text);
    return ended(o, begun);
}

/* ---- marks ---- */

bool kdb_mark_end(struct kdb_out *o, int32_t date)
{
    size_t begun = kdb_frame_begin(o, KDB_ASYNC);
    kdb_out_list(o, 2);
    kdb_put_string(o, ".u.end");
    kdb_out_atom(o, PST_DATE, &date);
    return ended(o, begun);
}
bool kdb_mark_eoi(struct kdb_out *o, int64_t from, int64_t to)
{
    int64_t times[2] = {from, to};
    size_t begun = kdb_frame_begin(o, KDB_ASYNC);
    kdb_out_list(o, 2);
    kdb_put_string(o, ".u.eoi");
    kdb_out_vector(o, PST_TIMESTAMP, 0, 2, times); /* as q makes it of two timestamps */
    return ended(o, begun);
}
bool kdb_mark_buffer(struct kdb_out *o, bool start, const char *id, const char *path,
                     const uint8_t *args, size_t args_len)
{
    size_t begun = kdb_frame_begin(o, KDB_ASYNC);
    kdb_out_list(o, 2);
    kdb_put_string(o, start ? ".dm.buff.start" : ".dm.buff.end");
    kdb_out_list(o, 3);
    kdb_put_string(o, id);
    kdb_put_string(o, path);
    if (args_len)
        kdb_out_bytes(o, args, args_len);
    else
        kdb_out_null(o);
    return ended(o, begun);
}

void kdb_notice_begin(struct kdb_notice *n, struct kdb_out *o, const char *kind)
{
    n->out = o;
    n->count = 0;
    kdb_notice_symbol(n, "kind", kind);
}
static void field(struct kdb_notice *n, const char *key, int8_t type, int64_t v, const char *text)
{
    pst_must(n->count < KDB_NOTICE_FIELDS);
    n->field[n->count].key = key;
    n->field[n->count].type = type;
    n->field[n->count].value = v;
    snprintf(n->field[n->count].text, sizeof n->field[0].text, "%s", text);
    n->count++;
}
void kdb_notice_long(struct kdb_notice *n, const char *key, int64_t v)
{
    field(n, key, PST_LONG, v, "");
}
void kdb_notice_time(struct kdb_notice *n, const char *key, int64_t v)
{
    field(n, key, PST_TIMESTAMP, v, "");
}
void kdb_notice_symbol(struct kdb_notice *n, const char *key, const char *text)
{
    field(n, key, PST_SYMBOL, 0, text);
}
bool kdb_notice_end(struct kdb_notice *n)
{
    struct kdb_out *o = n->out;
    size_t begun = kdb_frame_begin(o, KDB_ASYNC);
    kdb_out_list(o, 2);
    kdb_put_string(o, ".pst.notice");
    kdb_out_dict(o, false);
    size_t at = kdb_out_open(o, PST_SYMBOL, 0);
    for (uint32_t i = 0; i < n->count; i++)
        kdb_out_bytes(o, n->field[i].key, strlen(n->field[i].key) + 1);
    kdb_out_close(o, at, n->count);
    kdb_out_list(o, n->count);
    for (uint32_t i = 0; i < n->count; i++) {
        if (n->field[i].type == PST_SYMBOL)
            kdb_put_string(o, n->field[i].text);
        else
            kdb_out_atom(o, n->field[i].type, &n->field[i].value);
    }
    return ended(o, begun);
}

bool kdb_notice_range(struct kdb_out *o, const char *kind, uint64_t from, uint64_t to)
{
    struct kdb_notice n;
    kdb_notice_begin(&n, o, kind);
    kdb_notice_long(&n, "from", (int64_t)from);
    kdb_notice_long(&n, "to", (int64_t)to);
    return kdb_notice_end(&n);
}
