/* SPDX-License-Identifier: Apache-2.0 */
#include "query_kdb.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "core/civil.h"
#include "query_result.h"
#include "storage/kdb_object.h"

#define BUFFER (1u << 20)

/* ---- bytes ---- */

__attribute__((format(printf, 3, 4))) static void fail(struct query_kdb *k, int code,
                                                       const char *format, ...)
{
    va_list ap;
    if (k->failed)
        return;
    k->failed = true;
    k->err.code = code;
    va_start(ap, format);
    vsnprintf(k->err.text, sizeof k->err.text, format, ap);
    va_end(ap);
}

bool query_kdb_begin(struct query_kdb *k, int fd, uint64_t max, const struct tzone *zone,
                     struct err *err)
{
    *k = (struct query_kdb){
        .fd = fd, .zone = zone, .max = max ? max : UINT64_MAX, .buf = malloc(BUFFER)};
    return k->buf || err_set(err, -ENOMEM, "no memory for the answer");
}

static void flush(struct query_kdb *k)
{
    off_t to = (off_t)(k->at - k->fill);
    for (size_t done = 0; done < k->fill && !k->failed;) {
        ssize_t w = pwrite(k->fd, k->buf + done, k->fill - done, to + (off_t)done);
        if (w <= 0 && errno != EINTR)
            fail(k, -(w < 0 ? errno : EIO), "the answer cannot be written: %s%s",
                 strerror(w < 0 ? errno : EIO),
                 w < 0 && errno == EFBIG ? "; it is larger than query_memory" : "");
        done += w > 0 ? (size_t)w : 0;
    }
    k->fill = 0;
}

/* n (up to BUFFER) bytes to be filled at once. */
static uint8_t *room(struct query_kdb *k, size_t n)
{
    if (BUFFER - k->fill < n)
        flush(k);
    uint8_t *p = k->buf + k->fill;
    k->fill += n;
    k->at += n;
    return p;
}

static void put(struct query_kdb *k, const void *p, uint64_t n)
{
    for (const char *from = p; n && !k->failed;) {
        size_t part = n < BUFFER / 4 ? (size_t)n : BUFFER / 4;
        memcpy(room(k, part), from, part);
        from += part;
        n -= part;
    }
}

static void put_u8(struct query_kdb *k, uint8_t v)
{
    *room(k, 1) = v;
}

static void put_u32(struct query_kdb *k, uint32_t v)
{
    memcpy(room(k, 4), &v, 4);
}

static void vector_head(struct query_kdb *k, uint8_t type, uint32_t count)
{
    put_u8(k, type);
    put_u8(k, 0);
    put_u32(k, count);
}

static void put_symbol_text(struct query_kdb *k, const char *text, size_t n)
{
    n = strnlen(text, n); /* no NUL inside */
    put(k, text, n);
    put_u8(k, 0);
}

/* ---- columns ---- */

struct rows { /* of a result */
    uint64_t from, n;
};

static const char *symbol(const struct result *r, const struct result_column *c, uint64_t row,
                          uint32_t *n)
{
    uint32_t code = ((const uint32_t *)c->data)[row];
    *n = 0;
    if (code >= r->syms.count)
        return "";
    *n = (uint32_t)(r->syms.at[code + 1] - r->syms.at[code]);
    return r->syms.chars + r->syms.at[code];
}

static uint64_t column_bytes(const struct result *r, uint32_t col, struct rows w)
{
    const struct result_column *c = &r->col[col];
    uint64_t n = 6;
    if (c->type == PST_STRING)
        return n + 6 * w.n + (w.n ? c->at[w.from + w.n] - c->at[w.from] : 0);
    if (c->type != PST_SYMBOL)
        return n + w.n * result_width(c->type);
    for (uint64_t i = 0; i < w.n; i++) {
        uint32_t len;
        const char *t = symbol(r, c, w.from + i, &len);
        n += strnlen(t, len) + 1;
    }
    return n;
}

/* As kdb_rows.h and the fan-out show them. */
static int64_t shown(const struct tzone *zone, int64_t v)
{
    int64_t there, s = civil_floor_div(v, PST_SECOND_NS);
    if (v == INT64_MIN || v == INT64_MAX || v == -INT64_MAX ||
        __builtin_add_overflow(v, tzone_offset(zone, s + PST_EPOCH_OFFSET_S) * PST_SECOND_NS,
                               &there))
        return v;
    return there;
}

/* Copies values and makes any NaN the null, any NULL boolean false. */
static void put_values(struct query_kdb *k, const struct result_column *c, struct rows w)
{
    unsigned width = result_width(c->type);
    const uint64_t null_float = PST_NULL_FLOAT_BITS;
    const uint32_t null_real = PST_NULL_REAL_BITS;
    const uint64_t most = BUFFER / 4 / width;
    for (uint64_t done = 0; done < w.n && !k->failed;) {
        uint64_t n = w.n - done < most ? w.n - done : most;
        uint8_t *to = room(k, n * width);
        memcpy(to, (const char *)c->data + (w.from + done) * width, n * width);
        for (uint64_t i = 0; c->type == PST_FLOAT && i < n; i++) {
            double v;
            memcpy(&v, to + i * 8, 8);
            if (v != v)
                memcpy(to + i * 8, &null_float, 8);
        }
        for (uint64_t i = 0; c->type == PST_REAL && i < n; i++) {
            float v;
            memcpy(&v, to + i * 4, 4);
            if (v != v)
                memcpy(to + i * 4, &null_real, 4);
        }
        for (uint64_t i = 0; c->type == PST_TIMESTAMP && k->zone && i < n; i++)
            put64(to + i * 8, (uint64_t)shown(k->zone, (int64_t)le64(to + i * 8)));
        for (uint64_t i = 0; c->type == PST_BOOLEAN && i < n; i++)
            to[i] = to[i] == 1;
        done += n;
    }
}

static void put_column(struct query_kdb *k, const struct result *r, uint32_t col, struct rows w)
{
    const struct result_column *c = &r->col[col];
    vector_head(k, c->type == PST_STRING ? KDB_LIST : c->type, (uint32_t)w.n);
    if (c->type == PST_STRING) {
        for (uint64_t i = w.from; i < w.from + w.n && !k->failed; i++) {
            uint64_t len = c->at[i + 1] - c->at[i];
            vector_head(k, PST_CHAR, (uint32_t)len);
            put(k, c->chars + c->at[i], len);
        }
    } else if (c->type == PST_SYMBOL) {
        for (uint64_t i = w.from; i < w.from + w.n && !k->failed; i++) {
            uint32_t len;
            const char *t = symbol(r, c, i, &len);
            put_symbol_text(k, t, len);
        }
    } else {
        put_values(k, c, w);
    }
}

/* ---- tables ---- */

static uint64_t table_bytes(const struct result *r, uint32_t first, uint32_t n, struct rows w)
{
    uint64_t bytes = 2 + 1 + 6 + 6;
    for (uint32_t i = first; i < first + n; i++)
        bytes += strnlen(r->col[i].name, RESULT_NAME_MAX) + 1 + column_bytes(r, i, w);
    return bytes;
}

static void put_table(struct query_kdb *k, const struct result *r, uint32_t first, uint32_t n,
                      struct rows w)
{
    put_u8(k, KDB_TABLE);
    put_u8(k, 0);
    put_u8(k, KDB_DICT);
    vector_head(k, PST_SYMBOL, n);
    for (uint32_t i = first; i < first + n; i++)
        put_symbol_text(k, r->col[i].name, RESULT_NAME_MAX);
    vector_head(k, KDB_LIST, n);
    for (uint32_t i = first; i < first + n && !k->failed; i++)
        put_column(k, r, i, w);
}

static uint64_t keyed_bytes(const struct result *r, uint32_t nkeys, struct rows w)
{
    return nkeys ? 1 + table_bytes(r, 0, nkeys, w) + table_bytes(r, nkeys, r->ncols - nkeys, w)
                 : table_bytes(r, 0, r->ncols, w);
}

static void put_keyed(struct query_kdb *k, const struct result *r, uint32_t nkeys, struct rows w)
{
    if (!nkeys) {
        put_table(k, r, 0, r->ncols, w);
        return;
    }
    put_u8(k, KDB_DICT);
    put_table(k, r, 0, nkeys, w);
    put_table(k, r, nkeys, r->ncols - nkeys, w);
}

/* The head of a message whose object has `bytes` bytes. False: it does not fit. */
static bool message(struct query_kdb *k, enum kdb_kind kind, uint64_t bytes, uint64_t rows)
{
    uint64_t all = KDB_FRAME + bytes;
    if (k->failed)
        return false;
    if (all > KDB_BYTES_MAX)
        fail(
            k, -EFBIG,
            "the answer has %llu rows and %llu bytes, more than a kdb+ client takes in one message "
            "(2 GiB): select fewer columns or rows",
            (unsigned long long)rows, (unsigned long long)all);
    else if (all > k->max - k->at)
        fail(k, -EFBIG,
             "the answer has %llu rows and more than the %llu bytes that you may get: select fewer "
             "columns or rows",
             (unsigned long long)rows, (unsigned long long)k->max);
    if (k->failed)
        return false;
    const uint8_t head[4] = {KDB_LITTLE, kind, 0, 0};
    put(k, head, 4);
    put_u32(k, (uint32_t)all);
    k->messages++;
    return true;
}

static struct rows all_rows(const struct result *r)
{
    return (struct rows){0, r->rows};
}

void query_kdb_table(struct query_kdb *k, const struct result *r, uint32_t nkeys)
{
    if (r->rows <= INT32_MAX ? message(k, KDB_RESPONSE, keyed_bytes(r, nkeys, all_rows(r)), r->rows)
                             : message(k, KDB_RESPONSE, UINT32_MAX, r->rows))
        put_keyed(k, r, nkeys, all_rows(r));
}

void query_kdb_object(struct query_kdb *k, const struct result *r, uint32_t nkeys)
{
    if (r->rows <= INT32_MAX ? message(k, KDB_ASYNC, keyed_bytes(r, nkeys, all_rows(r)), r->rows)
                             : message(k, KDB_ASYNC, UINT32_MAX, r->rows))
        put_keyed(k, r, nkeys, all_rows(r));
}

void query_kdb_atom(struct query_kdb *k, const struct result *r)
{
    const struct result_column *c = r->col;
    unsigned width = r->ncols && r->rows ? result_width(c->type) : 0;
    if (!width || c->type == PST_SYMBOL) {
        fail(k, -EPROTO, "the answer is no single value");
        return;
    }
    if (!message(k, KDB_RESPONSE, 1u + width, 1))
        return;
    put_u8(k, (uint8_t)-c->type);
    put_values(k, c, (struct rows){0, 1});
}

void query_kdb_tables(struct query_kdb *k, const char *const *names, struct result *const *r,
                      uint32_t n)
{
    uint64_t bytes = 1 + 6 + 6, rows = 0;
    for (uint32_t i = 0; i < n; i++) {
        bytes += strlen(names[i]) + 1 +
                 (r[i]->rows <= INT32_MAX ? keyed_bytes(r[i], 0, all_rows(r[i])) : UINT32_MAX);
        rows += r[i]->rows;
    }
    if (!message(k, KDB_RESPONSE, bytes, rows))
        return;
    put_u8(k, KDB_DICT);
    vector_head(k, PST_SYMBOL, n);
    for (uint32_t i = 0; i < n; i++)
        put_symbol_text(k, names[i], strlen(names[i]));
    vector_head(k, KDB_LIST, n);
    for (uint32_t i = 0; i < n; i++)
        put_keyed(k, r[i], 0, all_rows(r[i]));
}

void query_kdb_updates(struct query_kdb *k, const char *table, const struct result *r)
{
    uint64_t before = k->at, done = 0, step = 4096;
    while (done < r->rows && !k->failed) {
        struct rows w = {done, r->rows - done < step ? r->rows - done : step};
        uint64_t bytes = table_bytes(r, 0, r->ncols, w);
        if (bytes > 4 * QUERY_KDB_UPDATE && w.n > 1) { /* long strings */
            step = w.n / 2;
            continue;
        }
        if (!message(k, KDB_ASYNC, 6 + 5 + 2 + strlen(table) + bytes, w.n))
            return;
        vector_head(k, KDB_LIST, 3);
        put(k, "\xf5upd", 5);
        put_u8(k, (uint8_t)-PST_SYMBOL);
        put_symbol_text(k, table, strlen(table));
        put_table(k, r, 0, r->ncols, w);
        done += w.n;
        step = QUERY_KDB_UPDATE / ((k->at - before) / done + 1) + 1;
    }
}

bool query_kdb_finish(struct query_kdb *k, uint64_t *bytes, uint32_t *messages, struct err *err)
{
    if (!k->failed)
        flush(k);
    free(k->buf);
    k->buf = NULL;
    *bytes = k->at;
    *messages = k->messages;
    if (!k->failed &&
        (ftruncate(k->fd, (off_t)k->at) || fcntl(k->fd, F_ADD_SEALS, QUERY_RESULT_SEALS)))
        fail(k, -errno, "the answer cannot be sealed: %s", strerror(errno));
    if (k->failed)
        *err = k->err;
    return !k->failed;
}
