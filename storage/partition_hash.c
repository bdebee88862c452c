/* SPDX-License-Identifier: Apache-2.0 */
#include "partition.h"

static const char *text_of_index(void *arg, uint64_t index, uint32_t *len)
{
    const struct wd_symbols *s = arg;
    return hdb_sym_text(s->sym, (int64_t)index, len);
}
static const char *text_of_id(void *arg, uint64_t id, uint32_t *len)
{
    const struct wd_symbols *s = arg;
    uint32_t code = wd_code_id(s, (uint32_t)id);
    *len = 0;
    return code ? hdb_sym_text(s->sym, (int64_t)code - 1, len) : "";
}

bool wd_hash_init(struct wd_hash *h, const struct schema *target, const struct wd_symbols *symbols,
                  struct err *err)
{
    memset(h, 0, sizeof *h);
    h->symbols = symbols;
    h->acc = malloc(WD_SLICE * sizeof *h->acc);
    h->converted = malloc(WD_SLICE * 8);
    content_columns_init(&h->columns, target);
    union { /* the callbacks only read it */
        const struct wd_symbols *c;
        void *p;
    } arg = {.c = symbols};
    if (h->acc && h->converted &&
        content_symbols_init(&h->ids, symbols->ids, text_of_id, arg.p, err) &&
        content_symbols_init(&h->indexes, symbols->codes - 1, text_of_index, arg.p, err))
        return true;
    wd_hash_free(h);
    return err_set(err, -ENOMEM, "no memory for content hashes");
}

void wd_hash_free(struct wd_hash *h)
{
    free(h->acc);
    free(h->converted);
    content_symbols_free(&h->ids);
    content_symbols_free(&h->indexes);
    memset(h, 0, sizeof *h);
}

/* Values of one target column over a block of a chunk; at: its first row in the chunk. */
static bool add(struct wd_hash *h, const struct wd_source *s, struct wd_reader *r, uint32_t k,
                unsigned col, uint32_t at, uint32_t n, const int64_t *rxtime, bool captured,
                struct err *err)
{
    struct wd_values v;
    uint8_t type = h->columns.schema.col[col].type;
    if (!wd_values(r, 0, s, k, (unsigned)s->from[col], true, &v, err))
        return false;
    if (type == PST_STRING) {
        for (uint32_t i = 0; i < n; i++) {
            uint32_t len;
            const uint8_t *text = wd_text(&v, at + i, &len);
            if (!text)
                return err_set(err, -EBADMSG, "table %s, column %s: a string is damaged",
                               h->columns.schema.name, h->columns.schema.col[col].name);
            if (len)
                content_columns_string(&h->columns, col, &h->acc[i], text, len);
        }
    } else if (type == PST_SYMBOL) {
        if (v.disk)
            content_columns_indexes(&h->columns, col, h->acc, (const int64_t *)v.values + at, n,
                                    &h->indexes);
        else
            content_columns_ids(&h->columns, col, h->acc, (const uint32_t *)v.values + at, n,
                                &h->ids);
    } else {
        const void *values = (const uint8_t *)v.values + (size_t)at * type_width(v.type);
        if (v.type != type) {
            wd_convert(v.type, type, values, h->converted, n);
            values = h->converted;
        }
        content_columns_add(&h->columns, col, h->acc, values, rxtime, n, captured);
    }
    return true;
}

static bool block(struct wd_hash *h, const struct wd_source *s, struct wd_reader *r, uint32_t k,
                  uint32_t at, uint32_t n, const struct wd_values *rx, bool captured,
                  struct err *err)
{
    const int64_t *rxtime = rx->values ? (const int64_t *)rx->values + at : NULL;
    memset(h->acc, 0, n * sizeof *h->acc);
    for (unsigned c = 0; c < h->columns.schema.ncols; c++)
        if (s->from[c] >= 0 && !add(h, s, r, k, c, at, n, rxtime, captured, err))
            return false;
    return true;
}

bool wd_hash_source(struct wd_hash *h, const struct wd_source *s, const uint8_t *keep,
                    struct wd_reader *reader, struct content_sum *in, struct content_sum *out,
                    const _Atomic bool *cancel, struct err *err)
{
    bool clocked = content_columns_clocked(&h->columns);
    uint32_t chunks = wd_chunks(s);
    for (uint32_t k = 0; k < chunks; k++) {
        struct wd_values rx = {0};
        uint64_t first;
        uint32_t rows;
        if (load_relaxed(cancel))
            return err_set(err, -ECANCELED, "cancelled");
        int col = h->columns.rxtime >= 0 ? s->from[h->columns.rxtime] : -1;
        if (col >= 0 && !wd_values(reader, 1, s, k, (unsigned)col, false, &rx, err))
            return false;
        wd_chunk_rows(s, k, &first, &rows);
        for (uint32_t at = 0; at < rows; at += WD_SLICE) {
            uint32_t n = rows - at < WD_SLICE ? rows - at : WD_SLICE;
            const uint8_t *kept = keep ? keep + first + at : NULL;
            uint64_t stay = n;
            for (uint32_t i = 0; kept && i < n; i++)
                stay -= !kept[i];
            in->rows += n;
            out->rows += stay;
            struct hash128 all = {0, 0}, some = {0, 0};
            if (!block(h, s, reader, k, at, n, &rx, false, err))
                return false;
            content_columns_end(&h->columns, h->acc, NULL, n, &all);
            if (kept)
                content_columns_end(&h->columns, h->acc, kept, n, &some);
            const struct content_sum one = {.sum = all, .full = all},
                                     two = {.sum = kept ? some : all, .full = kept ? some : all};
            if (clocked && s->captured) {
                struct content_sum f = one, g = two;
                memset(&f.full, 0, sizeof f.full);
                memset(&g.full, 0, sizeof g.full);
                if (!block(h, s, reader, k, at, n, &rx, true, err))
                    return false;
                content_columns_end(&h->columns, h->acc, NULL, n, &f.full);
                content_columns_end(&h->columns, h->acc, kept, n, &g.full);
                content_sum_add(in, &f);
                content_sum_add(out, &g);
            } else {
                content_sum_add(in, &one);
                content_sum_add(out, &two);
            }
            if (!clocked || s->captured) {
                in->captured += n;
                out->captured += stay;
            }
        }
    }
    return true;
}
