/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_text_kit.h - text through the reader, and what became of it as text again: a line a row,
 *
 *     day|column|column|...      numbers in decimal, floats as %.17g, symbols and strings in <>,
 *                                a column's null as "."
 *
 * and a line a bad row: "LINE COLUMN: REASON <text>".
 */
#pragma once

#include <math.h>
#include "load/text.h"

struct kit_text {
    char *p;
    size_t n, room;
};
struct kit {
    struct load_recipe *recipe;
    struct load_dict dict;
    struct kit_text rows, rejects;
    uint64_t nrows, nrejects, blocks;
    uint64_t most; /* rejects allowed */
    bool quiet;    /* count only */
    uint64_t show; /* so many rows; 0 = all */
    struct err err;
};

__attribute__((format(printf, 2, 3))) static inline void kit_add(struct kit_text *t,
                                                                 const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (t->n + (size_t)n + 1 > t->room) {
        t->room = 2 * (t->n + (size_t)n + 1);
        t->p = realloc(t->p, t->room);
        pst_must(t->p);
    }
    vsnprintf(t->p + t->n, (size_t)n + 1, fmt, ap);
    t->n += (size_t)n;
    va_end(ap);
}
/* Bytes that no line of text should hold, as \xHH. */
static inline void kit_bytes(struct kit_text *t, const char *p, size_t n)
{
    kit_add(t, "<");
    for (size_t i = 0, plain; i < n; i += plain + 1) {
        for (plain = 0; i + plain < n && p[i + plain] >= 32 && p[i + plain] <= 126;)
            plain++;
        kit_add(t, "%.*s", (int)plain, p + i);
        if (i + plain < n)
            kit_add(t, "\\x%02x", (unsigned char)p[i + plain]);
    }
    kit_add(t, ">");
}

static inline void kit_value(struct kit *k, const struct load_block *b, unsigned col, uint32_t row)
{
    uint8_t type = b->schema->col[col].type;
    unsigned width = load_width(type);
    const uint8_t *at = (const uint8_t *)b->col[col] + (size_t)row * width;
    uint8_t null[16] = {0};
    uint32_t len;
    double f = 0;
    float e;
    if (type != PST_SYMBOL && type != PST_STRING)
        type_put_null(null, type);
    bool none = type == PST_BOOLEAN || type == PST_BYTE;
    if (!none && !memcmp(at, null, width)) {
        kit_add(&k->rows, ".");
        return;
    }
    switch (type) {
    case PST_SYMBOL: {
        const char *text = load_dict_text(&k->dict, le32(at), &len);
        kit_bytes(&k->rows, text, len);
        return;
    }
    case PST_STRING:
        kit_bytes(&k->rows, b->heap + le32(at), le32(at + 4));
        return;
    case PST_GUID:
        for (unsigned i = 0; i < 16; i++)
            kit_add(&k->rows, "%02x", at[i]);
        return;
    case PST_CHAR:
        kit_bytes(&k->rows, (const char *)at, 1);
        return;
    case PST_FLOAT:
        memcpy(&f, at, 8);
        break;
    case PST_REAL:
        memcpy(&e, at, 4);
        f = (double)e;
        break;
    default:
        kit_add(&k->rows, "%lld",
                (long long)(width == 8   ? (int64_t)le64(at)
                            : width == 4 ? (int32_t)le32(at)
                            : width == 2 ? (int16_t)le16(at)
                                         : *at));
        return;
    }
    kit_add(&k->rows, "%.17g", f);
}

static inline bool kit_block(void *arg, struct load_block *b, struct err *err)
{
    (void)err;
    struct kit *k = arg;
    pst_must(b->rows && b->rows <= b->room && b->run_rows == b->rows);
    k->blocks++;
    uint64_t before = k->nrows;
    k->nrows += b->rows;
    uint32_t run = 0, used = 0;
    for (uint32_t r = 0; r < b->rows && !k->quiet && (!k->show || before + r < k->show); r++) {
        while (used == b->run[run].rows) {
            run++;
            used = 0;
        }
        used++;
        pst_must(run < b->nruns);
        kit_add(&k->rows, "%d", b->run[run].day);
        for (unsigned c = 0; c < b->schema->ncols; c++) {
            kit_add(&k->rows, "|");
            kit_value(k, b, c, r);
        }
        kit_add(&k->rows, "\n");
    }
    return true;
}
static inline bool kit_reject(void *arg, const struct load_reject *r, struct err *err)
{
    struct kit *k = arg;
    if (k->nrejects++ >= k->most)
        return err_set(err, -EILSEQ, "too many bad rows");
    if (k->quiet)
        return true;
    kit_add(&k->rejects, "%llu %s: %s ", (unsigned long long)r->line, r->column, r->reason);
    kit_bytes(&k->rejects, r->text, r->len);
    kit_add(&k->rejects, "\n");
    return true;
}

/* members: those of the recipe beyond name, table, schemas, with a leading comma or "". */
static inline void kit_open(struct kit *k, const struct schema *s, const char *members)
{
    *k = (struct kit){.most = 1u << 20};
    char *schema = schema_to_json(s);
    size_t n = strlen(schema) + strlen(members) + 200;
    char *json = malloc(n);
    pst_must(schema && json);
    snprintf(json, n, "{\"name\":\"kit\",\"table\":\"%s\",\"schemas\":[%s]%s}", s->name, schema,
             members);
    k->recipe = load_recipe_parse(json, strlen(json), &k->err);
    if (!k->recipe) {
        fprintf(stderr, "kit: %s\n%s\n", k->err.text, json);
        abort();
    }
    pst_must(load_dict_init(&k->dict, &k->err));
    free(json);
    free(schema);
}
static inline struct load_reader_config kit_config(struct kit *k)
{
    return (struct load_reader_config){.recipe = k->recipe,
                                       .dict = &k->dict,
                                       .sink = {kit_block, k},
                                       .rejects = {kit_reject, k},
                                       .path = "kit.csv"};
}
static inline void kit_clear(struct kit *k)
{
    k->rows.n = k->rejects.n = 0;
    k->nrows = k->nrejects = k->blocks = 0;
    if (k->rows.p)
        k->rows.p[0] = 0;
    if (k->rejects.p)
        k->rejects.p[0] = 0;
    load_dict_free(&k->dict);
    pst_must(load_dict_init(&k->dict, &k->err));
}
/* cut: the first `cut` bytes come alone; step: then so many at a time (0 = the rest). */
static inline bool kit_read(struct kit *k, const char *text, size_t n, size_t window, size_t cut,
                            size_t step, struct load_text_facts *facts)
{
    kit_clear(k);
    struct load_reader_config c = kit_config(k);
    struct load_text *t = load_text_open(&c, window, &k->err);
    pst_must(t);
    bool ok = true;
    size_t at = 0;
    while (ok && at < n) {
        size_t take = at < cut ? cut - at : step ? step : n - at;
        take = take < n - at ? take : n - at;
        char *copy = malloc(take); /* nothing around it may be read */
        pst_must(copy);
        memcpy(copy, text + at, take);
        ok = load_text_feed(t, copy, take, false, &k->err);
        free(copy);
        at += take;
    }
    ok = ok && load_text_feed(t, NULL, 0, true, &k->err);
    if (facts)
        load_text_facts(t, facts);
    load_text_close(t);
    return ok;
}
static inline const char *kit_rows(const struct kit *k)
{
    return k->rows.p ? k->rows.p : "";
}
static inline const char *kit_rejects(const struct kit *k)
{
    return k->rejects.p ? k->rejects.p : "";
}
static inline void kit_close(struct kit *k)
{
    load_recipe_free(k->recipe);
    load_dict_free(&k->dict);
    free(k->rows.p);
    free(k->rejects.p);
}
