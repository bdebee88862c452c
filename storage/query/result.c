/* SPDX-License-Identifier: Apache-2.0 */
#include "result.h"

#include <math.h>

struct result *result_new(uint32_t ncols)
{
    struct result *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->ncols = ncols;
    r->col = calloc(ncols ? ncols : 1, sizeof *r->col);
    if (!r->col) {
        free(r);
        return NULL;
    }
    return r;
}

void result_free(struct result *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; i < r->ncols; i++) {
        free(r->col[i].data);
        free(r->col[i].at);
        free(r->col[i].chars);
    }
    free(r->col);
    free(r->syms.at);
    free(r->syms.chars);
    for (uint32_t i = 0; i < r->nnotes; i++)
        free(r->note[i].text);
    free(r->note);
    free(r->fact);
    free(r);
}

bool result_add_note(struct result *r, enum result_note kind, const char *fmt, ...)
{
    struct result_note_line *n = realloc(r->note, (r->nnotes + 1) * sizeof *n);
    if (!n)
        return false;
    r->note = n;
    va_list ap;
    va_start(ap, fmt);
    int len = vasprintf(&n[r->nnotes].text, fmt, ap);
    va_end(ap);
    if (len < 0)
        return false;
    n[r->nnotes++].kind = kind;
    return true;
}

bool result_add_fact(struct result *r, const char *name, double value)
{
    struct result_fact *f = realloc(r->fact, (r->nfacts + 1) * sizeof *f);
    if (!f)
        return false;
    r->fact = f;
    snprintf(f[r->nfacts].name, sizeof f->name, "%s", name);
    f[r->nfacts++].value = value;
    return true;
}

double result_fact_value(const struct result *r, const char *name)
{
    for (uint32_t i = 0; i < r->nfacts; i++)
        if (!strcmp(r->fact[i].name, name))
            return r->fact[i].value;
    return -1;
}

static const uint8_t *value_at(const struct result *r, uint32_t col, uint64_t row)
{
    return (const uint8_t *)r->col[col].data + row * result_width(r->col[col].type);
}

int64_t result_int(const struct result *r, uint32_t col, uint64_t row)
{
    const uint8_t *p = value_at(r, col, row);
    switch (result_width(r->col[col].type)) {
    case 1:
        return *p;
    case 2:
        return (int16_t)le16(p);
    case 4:
        return (int32_t)le32(p);
    default:
        return (int64_t)le64(p);
    }
}

double result_float(const struct result *r, uint32_t col, uint64_t row)
{
    const uint8_t *p = value_at(r, col, row);
    if (r->col[col].type == PST_REAL) {
        float f;
        memcpy(&f, p, sizeof f);
        return f;
    }
    double d;
    memcpy(&d, p, sizeof d);
    return d;
}

bool result_is_null(const struct result *r, uint32_t col, uint64_t row)
{
    static const uint8_t zero[16];
    const struct result_column *c = &r->col[col];
    switch (c->type) {
    case PST_BOOLEAN:
        return *value_at(r, col, row) == RESULT_NULL_BOOL;
    case PST_BYTE:
        return false;
    case PST_CHAR:
        return *value_at(r, col, row) == PST_NULL_CHAR;
    case PST_GUID:
        return !memcmp(value_at(r, col, row), zero, sizeof zero);
    case PST_REAL:
    case PST_FLOAT:
        return isnan(result_float(r, col, row));
    case PST_SYMBOL:
        return le32(value_at(r, col, row)) == PST_NULL_SYMBOL;
    case PST_STRING:
        return c->at[row] == c->at[row + 1];
    default: {
        int64_t v = result_int(r, col, row);
        unsigned w = result_width(c->type);
        return v == (w == 2 ? INT16_MIN : w == 4 ? INT32_MIN : INT64_MIN);
    }
    }
}

const char *result_text(const struct result *r, uint32_t col, uint64_t row, uint32_t *len)
{
    const struct result_column *c = &r->col[col];
    if (c->type == PST_STRING) {
        *len = (uint32_t)(c->at[row + 1] - c->at[row]);
        return c->chars + c->at[row];
    }
    uint32_t code = le32(value_at(r, col, row));
    *len = 0;
    if (code >= r->syms.count)
        return "";
    *len = (uint32_t)(r->syms.at[code + 1] - r->syms.at[code]);
    return r->syms.chars + r->syms.at[code];
}
