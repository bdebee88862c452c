/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_trades.c - load functions (penstock/load.h), one of each kind, for a table
 *     trade: time timestamp, sym symbol, price float, size long, value float
 *
 *     gcc -shared -fPIC -O2 -o load_trades.so load_trades.c
 *
 *   key_value    read: lines such as "t=1722848400000000000 s=AAPL p=209.27 q=100"
 *                (t: ns since 1970)
 *   with_value   post_read: value = price * size; rows of symbols that begin with the option `skip`
 *                ("ZVZZT", a test symbol) go
 *   volumes      save: writes volumes.csv into the task's directory: volume by symbol
 *
 *     load:
 *       files:
 *         kv:
 *           match: "*.kv"
 *           table: trade
 *           format: plugin
 *           read_function: /usr/lib/penstock/load_trades.so:key_value
 *           post_read_function: /usr/lib/penstock/load_trades.so:with_value
 *           save_function: /usr/lib/penstock/load_trades.so:volumes
 *           options: {skip: ZVZZT}
 *           optional: [value]
 */
#include <penstock/load.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIME, SYM, PRICE, SIZE, VALUE, COLUMNS };
#define EPOCH_2000 946684800000000000LL

static int is_trade(struct pst_load *l)
{
    static const struct pst_column want[COLUMNS] = {{"time", PST_TIMESTAMP},
                                                    {"sym", PST_SYMBOL},
                                                    {"price", PST_FLOAT},
                                                    {"size", PST_LONG},
                                                    {"value", PST_FLOAT}};
    const struct pst_column *have;
    uint32_t n = pst_load_host->columns(l, &have);
    for (uint32_t i = 0; i < COLUMNS; i++)
        if (n != COLUMNS || strcmp(have[i].name, want[i].name) || have[i].type != want[i].type)
            return pst_load_host->error(l, "the table is not (time, sym, price, size, value)");
    return 0;
}

/* ---- key_value ---- */

struct lines {
    uint64_t number;
};

static int lines_begin(struct pst_load *l, void *data, void **state)
{
    (void)data;
    if (is_trade(l))
        return -1;
    return (*state = calloc(1, sizeof(struct lines))) ? 0 : -1;
}

/* "k=" at the start of a word: what follows it, up to the blank. */
static struct pst_text word(const char *line, uint32_t n, char key)
{
    struct pst_text t = {"", 0};
    for (uint32_t i = 0; i + 1 < n; i++)
        if (line[i] == key && line[i + 1] == '=' && (!i || line[i - 1] == ' ')) {
            t.at = line + i + 2;
            while (i + 2 + t.len < n && t.at[t.len] != ' ')
                t.len++;
            return t;
        }
    return t;
}

static int number(struct pst_text t, double *f, long long *i)
{
    char text[64], *end = text;
    if (!t.len || t.len >= sizeof text)
        return -1;
    memcpy(text, t.at, t.len);
    text[t.len] = 0;
    if (f)
        *f = strtod(text, &end);
    else
        *i = strtoll(text, &end, 10);
    return *end ? -1 : 0;
}

static int one_line(struct pst_load *l, struct lines *x, const char *line, uint32_t n)
{
    struct pst_value row[COLUMNS] = {
        {PST_TIMESTAMP}, {PST_SYMBOL}, {PST_FLOAT}, {PST_LONG}, {PST_FLOAT}};
    long long t = 0, q = 0;
    struct pst_text whole = {line, n};
    x->number++;
    if (!n)
        return 0;
    row[SYM].text = word(line, n, 's');
    row[VALUE].f = NAN;
    if (number(word(line, n, 't'), NULL, &t))
        return pst_load_host->reject(l, x->number, "t", "no time", whole);
    if (number(word(line, n, 'p'), &row[PRICE].f, NULL))
        return pst_load_host->reject(l, x->number, "p", "no price", whole);
    if (number(word(line, n, 'q'), NULL, &q))
        return pst_load_host->reject(l, x->number, "q", "no size", whole);
    row[TIME].i = t - EPOCH_2000;
    row[SIZE].i = q;
    return pst_load_host->append(l, row);
}

static int lines_read(struct pst_load *l, void *state, const uint8_t *bytes, uint64_t n, int last,
                      uint64_t *used)
{
    const char *p = (const char *)bytes, *end = p + n;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        if (!nl && !last)
            break; /* it comes again, with the rest of it */
        const char *stop = nl ? nl : end;
        if (one_line(l, state, p, (uint32_t)(stop - p)))
            return -1;
        p = nl ? nl + 1 : end;
    }
    *used = (uint64_t)(p - (const char *)bytes);
    return 0;
}

static int lines_end(struct pst_load *l, void *state, int ok)
{
    (void)l, (void)ok;
    free(state);
    return 0;
}

/* ---- with_value ---- */

static int value_begin(struct pst_load *l, void *data, void **state)
{
    (void)data;
    *state = (void *)(uintptr_t)pst_load_host->option(l, "skip");
    return is_trade(l);
}

static int value_rows(struct pst_load *l, void *state, struct pst_load_rows *rows)
{
    const char *skip = state;
    const double *price = rows->column[PRICE].values;
    const int64_t *size = rows->column[SIZE].values;
    double *value = rows->column[VALUE].values;
    (void)l;
    for (uint32_t i = 0; i < rows->nrows; i++) {
        value[i] = size[i] == PST_NULL_LONG ? NAN : price[i] * (double)size[i];
        if (skip) {
            struct pst_text sym = pst_load_host->text(rows, SYM, i);
            rows->keep[i] = sym.len < strlen(skip) || memcmp(sym.at, skip, strlen(skip)) != 0;
        }
    }
    return 0;
}

/* ---- volumes ---- */

struct volumes {
    uint32_t n, room;
    struct volume {
        char sym[64];
        int64_t size;
    } * of;
};

static int volumes_begin(struct pst_load *l, void *data, void **state)
{
    (void)data;
    if (is_trade(l))
        return -1;
    return (*state = calloc(1, sizeof(struct volumes))) ? 0 : -1;
}

static int volumes_rows(struct pst_load *l, void *state, struct pst_load_rows *rows)
{
    struct volumes *v = state;
    const int64_t *size = rows->column[SIZE].values;
    for (uint32_t i = 0; i < rows->nrows; i++) {
        struct pst_text sym = pst_load_host->text(rows, SYM, i);
        uint32_t k = 0;
        if (sym.len >= sizeof v->of[0].sym)
            return pst_load_host->error(l, "a symbol of %u bytes", sym.len);
        while (k < v->n &&
               (strlen(v->of[k].sym) != sym.len || memcmp(v->of[k].sym, sym.at, sym.len)))
            k++;
        if (k == v->n) {
            if (v->n == v->room) {
                uint32_t room = v->room ? v->room * 2 : 64;
                struct volume *p = realloc(v->of, room * sizeof *p);
                if (!p)
                    return pst_load_host->error(l, "no memory");
                v->of = p;
                v->room = room;
            }
            memset(&v->of[v->n], 0, sizeof v->of[0]);
            memcpy(v->of[v->n++].sym, sym.at, sym.len);
        }
        v->of[k].size += size[i] == PST_NULL_LONG ? 0 : size[i];
    }
    return 0;
}

static int volumes_end(struct pst_load *l, void *state, int ok)
{
    struct volumes *v = state;
    const char *dir = pst_load_host->directory(l);
    char path[1200];
    int code = 0;
    if (ok && dir) {
        snprintf(path, sizeof path, "%s/volumes.csv", dir);
        FILE *f = fopen(path, "w");
        if (f)
            fprintf(f, "sym,size\n");
        for (uint32_t i = 0; f && i < v->n; i++)
            fprintf(f, "%s,%lld\n", v->of[i].sym, (long long)v->of[i].size);
        if (!f || fclose(f))
            code = pst_load_host->error(l, "%s cannot be written", path);
    }
    free(v->of);
    free(v);
    return code;
}

static const struct pst_load_function functions[] = {
    {.name = "key_value",
     .about = "Lines of t=, s=, p=, q=.",
     .kind = PST_LOAD_READ,
     .begin = lines_begin,
     .read = lines_read,
     .end = lines_end},
    {.name = "with_value",
     .about = "value = price * size; drops test symbols (option skip).",
     .kind = PST_LOAD_POST_READ,
     .begin = value_begin,
     .rows = value_rows},
    {.name = "volumes",
     .about = "Volume by symbol, as volumes.csv.",
     .kind = PST_LOAD_SAVE,
     .begin = volumes_begin,
     .rows = volumes_rows,
     .end = volumes_end},
};

PST_LOAD_PLUGIN("load_trades", "1.0", "Trades as key=value lines, their value, volumes.")

PST_PLUGIN_EXPORT int pst_load_register(struct pst_load_registry *r)
{
    for (unsigned i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (pst_load_host->add(r, &functions[i]))
            return -1;
    return 0;
}
