/* SPDX-License-Identifier: Apache-2.0 */
#include "kdbread.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct blob {
    unsigned char *p;
    size_t n;
};

static bool fail(char why[300], const char *file, const char *what)
{
    snprintf(why, 300, "%.200s: %s", file, what);
    return false;
}

static bool blob_read(const char *path, struct blob *b, char why[300])
{
    FILE *f = fopen(path, "rb");
    b->p = NULL;
    b->n = 0;
    if (!f)
        return fail(why, path, "cannot be opened");
    size_t cap = 4096;
    b->p = malloc(cap);
    for (size_t k; (k = fread(b->p + b->n, 1, cap - b->n, f)) > 0;) {
        b->n += k;
        if (b->n == cap)
            b->p = realloc(b->p, cap *= 2);
    }
    fclose(f);
    return true;
}

/* little-endian, byte by byte */
static uint64_t get(const unsigned char *p, unsigned bytes)
{
    uint64_t v = 0;
    while (bytes--)
        v = v * 256 + p[bytes];
    return v;
}

static size_t size_of(int kind)
{
    switch (kind) {
    case 1:
    case 4:
    case 10:
        return 1;
    case 5:
        return 2;
    case 6:
    case 8:
    case 13:
    case 14:
    case 17:
    case 18:
    case 19:
        return 4;
    case 7:
    case 9:
    case 12:
    case 15:
    case 16:
    case 87:
        return 8;
    case 2:
        return 16;
    default:
        return 0;
    }
}

bool kdbread_names(const char *path, struct kdbread_list *l, char why[300])
{
    struct blob b;
    memset(l, 0, sizeof *l);
    if (!blob_read(path, &b, why))
        return false;
    if (b.n < 8 || b.p[0] != 255 || b.p[1] != 1 || b.p[2] != 11) {
        free(b.p);
        return fail(why, path, "no symbol vector");
    }
    for (size_t from = 8, i = 8; i < b.n; i++)
        if (!b.p[i]) {
            l->text = realloc(l->text, (l->n + 1) * sizeof *l->text);
            l->text[l->n++] = strdup((char *)b.p + from);
            from = i + 1;
        }
    bool whole = b.p[b.n - 1] == 0 || b.n == 8;
    free(b.p);
    return whole || fail(why, path, "ends within a name");
}

void kdbread_names_free(struct kdbread_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->text[i]);
    free(l->text);
    memset(l, 0, sizeof *l);
}

static bool take_enum(struct kdbread_col *c, const unsigned char *p, size_t left, unsigned w)
{
    if (left < c->rows * w)
        return false;
    c->kind = 11;
    c->width = 8;
    c->raw = malloc(c->rows * 8 + 1);
    for (size_t i = 0; i < c->rows; i++) {
        int64_t v = w == 8 ? (int64_t)get(p + 8 * i, 8) : (int32_t)get(p + 4 * i, 4);
        if (w == 4 && v == INT32_MIN)
            v = INT64_MIN;
        for (int k = 0; k < 8; k++)
            c->raw[8 * i + k] = (unsigned char)((uint64_t)v >> 8 * k);
    }
    return true;
}

static bool take_strings(struct kdbread_col *c, const char *path, char why[300])
{
    char more[1200];
    struct blob b;
    snprintf(more, sizeof more, "%s#", path);
    if (!blob_read(more, &b, why))
        return false;
    c->text = calloc(c->rows + 1, sizeof *c->text);
    c->len = calloc(c->rows + 1, sizeof *c->len);
    uint64_t from = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < c->rows; i++) {
        uint64_t to = get(c->raw + 8 * i, 8);
        ok = to >= from && to <= b.n;
        if (ok) {
            c->len[i] = to - from;
            c->text[i] = malloc(to - from + 1);
            memcpy(c->text[i], b.p + from, to - from);
            c->text[i][to - from] = 0;
        }
        from = to;
    }
    free(b.p);
    return ok || fail(why, path, "an end of a string is out of order");
}

bool kdbread_column(const char *dir, const char *name, struct kdbread_col *c, char why[300])
{
    char path[1024];
    struct blob b;
    memset(c, 0, sizeof *c);
    snprintf(c->name, sizeof c->name, "%s", name);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!blob_read(path, &b, why))
        return false;
    const unsigned char *p = b.p;
    bool ok = false;
    if (b.n >= 8 && p[0] == 0xff && p[1] == 1) { /* only the empty list is a column */
        c->kind = 87;
        ok = p[2] == 0 && get(p + 4, 4) == 0;
        c->raw = calloc(1, 1);
    } else if (b.n >= 16 && p[1] == 0x20 && (p[0] == 0xfe || p[0] == 0xff)) {
        c->kind = p[0] == 0xfe ? p[2] : (int)get(p + 8, 4);
        c->attr = p[0] == 0xfe ? p[3] : 0;
        c->rows = p[0] == 0xfe ? get(p + 8, 8) : get(p + 12, 4);
        c->width = size_of(c->kind);
        size_t need = c->rows * c->width;
        ok = c->width && c->rows <= b.n && 16 + need <= b.n && (c->attr > 1 || 16 + need == b.n);
        if (ok) {
            c->raw = malloc(need + 1);
            memcpy(c->raw, p + 16, need);
        }
        if (ok && c->kind == 87)
            ok = take_strings(c, path, why);
    } else if (b.n >= 24 && p[0] == 0xfe && strlen((char *)p + 1) < 7) {
        c->attr = p[11];
        c->rows = get(p + 16, 8);
        ok = take_enum(c, p + 24, b.n - 24, 4);
    } else if (b.n >= 4096 && p[0] == 0xfd && p[1] == 0x20 && p[4080] == 0xfd && p[4082] == 20) {
        c->attr = p[4083];
        c->rows = get(p + 4088, 8);
        ok = (c->attr > 1 || b.n == 4096 + 8 * c->rows) && take_enum(c, p + 4096, b.n - 4096, 8);
    }
    free(b.p);
    if (!ok)
        kdbread_column_free(c);
    return ok || fail(why, path, "no column that this reader knows");
}

void kdbread_column_free(struct kdbread_col *c)
{
    for (size_t i = 0; c->text && i < c->rows; i++)
        free(c->text[i]);
    free(c->text);
    free(c->len);
    free(c->raw);
    memset(c, 0, sizeof *c);
}

bool kdbread_table(const char *root, const char *dir, struct kdbread_table *t, char why[300])
{
    char path[1024];
    struct kdbread_list names;
    memset(t, 0, sizeof *t);
    if (root) {
        snprintf(path, sizeof path, "%s/sym", root);
        if (!kdbread_names(path, &t->sym, why))
            return false;
    }
    snprintf(path, sizeof path, "%s/.d", dir);
    bool ok = kdbread_names(path, &names, why);
    t->col = calloc(names.n + 1, sizeof *t->col);
    for (size_t i = 0; ok && i < names.n; i++) {
        ok = kdbread_column(dir, names.text[i], &t->col[i], why);
        t->ncols++;
        if (ok && i && t->col[i].rows != t->col[0].rows)
            ok = fail(why, dir, "columns of different lengths");
    }
    t->rows = t->ncols ? t->col[0].rows : 0;
    kdbread_names_free(&names);
    if (!ok)
        kdbread_table_free(t);
    return ok;
}

void kdbread_table_free(struct kdbread_table *t)
{
    for (size_t i = 0; i < t->ncols; i++)
        kdbread_column_free(&t->col[i]);
    free(t->col);
    kdbread_names_free(&t->sym);
    memset(t, 0, sizeof *t);
}

const struct kdbread_col *kdbread_find(const struct kdbread_table *t, const char *name)
{
    for (size_t i = 0; i < t->ncols; i++)
        if (!strcmp(t->col[i].name, name))
            return &t->col[i];
    return NULL;
}

int64_t kdbread_long(const struct kdbread_col *c, size_t row)
{
    uint64_t v = get(c->raw + row * c->width, c->width > 8 ? 8 : (unsigned)c->width);
    if (c->kind == 1 || c->kind == 4 || c->kind == 10)
        return (int64_t)v;
    unsigned shift = 64 - 8 * (unsigned)c->width;
    return (int64_t)(v << shift) >> shift;
}

double kdbread_double(const struct kdbread_col *c, size_t row)
{
    double d;
    float f;
    if (c->kind == 8) {
        memcpy(&f, c->raw + 4 * row, 4);
        return (double)f;
    }
    memcpy(&d, c->raw + 8 * row, 8);
    return d;
}

const char *kdbread_symbol(const struct kdbread_table *t, const struct kdbread_col *c, size_t row)
{
    int64_t i = kdbread_long(c, row);
    if (i == INT64_MIN)
        return "";
    return i >= 0 && (size_t)i < t->sym.n ? t->sym.text[i] : "(no such symbol)";
}

size_t kdbread_cell(const struct kdbread_table *t, size_t col, size_t row, char *out, size_t room)
{
    const struct kdbread_col *c = &t->col[col];
    int n = 0;
    if (c->kind == 87) {
        n = snprintf(out, room, "%.*s", (int)c->len[row], c->text[row]);
    } else if (c->kind == 11) {
        n = snprintf(out, room, "%s", kdbread_symbol(t, c, row));
    } else if (c->kind == 2) {
        for (int i = 0; i < 16; i++)
            n += snprintf(out + n, room - (size_t)n, "%02x", c->raw[16 * row + i]);
    } else if (c->kind == 8 || c->kind == 9 || c->kind == 15) {
        double d = kdbread_double(c, row);
        n = isnan(d) ? snprintf(out, room, "0N") : snprintf(out, room, "%.17g", d);
    } else if (c->kind == 10) {
        n = snprintf(out, room, "%c", (int)kdbread_long(c, row));
    } else {
        int64_t v = kdbread_long(c, row);
        bool null = (c->width == 2 && v == INT16_MIN) || (c->width == 4 && v == INT32_MIN) ||
                    (c->width == 8 && v == INT64_MIN);
        n = null ? snprintf(out, room, "0N") : snprintf(out, room, "%lld", (long long)v);
    }
    return (size_t)n;
}
