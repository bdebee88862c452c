/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin_parts.h"

#include "core/clock.h"
#include "literal.h"
#include "result.h"

/* ---- one run ---- */

struct rows_kept {
    struct pst_rows rows; /* first: what the plugin holds */
    struct result *result;
    struct pst_rows_column *column;
    struct rows_kept *next;
};

struct out_column { /* grows by doubling; moved into the result at the end */
    uint8_t *data;
    uint64_t *at;
    char *chars;
    uint64_t used, room;
};

struct pst_call {
    const struct named *named;
    struct query_env *env;
    const struct plan_limits *limits;
    struct query_error *e;
    bool failed;
    struct rows_kept *kept;
    struct out_column column[PST_COLUMNS_MAX];
    uint64_t rows, room, bytes;
    /* dictionary of the result's symbols: open addressing, index + 1 */
    uint64_t *sym_at;
    char *sym_chars;
    uint64_t sym_used, sym_room;
    uint32_t nsyms, sym_cap, *slot, nslots;
};

/* Set while a plugin runs: host->log has no call. A process runs one query at a time. */
static struct plugins *logging;
static unsigned depth;

static int fail(struct pst_call *c, int code, const char *text)
{
    if (!c->failed)
        query_error_set(c->e, code, -1, "%s: %s", c->named->name, text);
    c->failed = true;
    return -1;
}

static int host_error(struct pst_call *c, const char *format, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return fail(c, QUERY_FAILED, text);
}

static void host_log(const char *format, ...)
{
    static int64_t second;
    static unsigned lines;
    char text[500];
    int64_t now = clock_monotonic() / NS_PER_S;
    if (now != second) {
        second = now;
        lines = 0;
    }
    if (lines++ >= 10)
        return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    for (char *p = text; *p; p++)
        if (*p < ' ')
            *p = ' ';
    if (logging && logging->log)
        logging->log(logging->arg, text);
    else
        fprintf(stderr, "plugin: %s\n", text);
}

static bool host_cancelled(const struct pst_call *c)
{
    return (c->limits->cancel && atomic_load_explicit(c->limits->cancel, memory_order_relaxed)) ||
           (c->limits->deadline_ns && clock_monotonic() >= c->limits->deadline_ns);
}

/* ---- SQL inside ---- */

/* A value as a query's parameter: text of its type, in `buf` where it needs one. */
static bool as_text(const struct pst_value *v, char **text)
{
    struct scalar s = {.type = (uint8_t)v->type};
    char buf[LITERAL_TEXT];
    *text = NULL;
    if (v->type == PST_SYMBOL || v->type == PST_STRING) {
        if (v->type == PST_SYMBOL && !v->text.len)
            return true;
        *text = strndup(v->text.at, v->text.len);
        return *text && strlen(*text) == v->text.len; /* a NUL cannot be bound */
    }
    if (!type_width((uint8_t)v->type))
        return false;
    if (v->type == PST_GUID)
        memcpy(s.guid, v->guid, 16);
    else if (v->type == PST_FLOAT || v->type == PST_REAL)
        s.f = v->f;
    else
        s.i = v->i;
    static const uint8_t zero[16];
    switch (v->type) {
    case PST_SHORT:
        s.null = v->i == PST_NULL_SHORT;
        break;
    case PST_INT:
    case PST_MONTH:
    case PST_DATE:
    case PST_MINUTE:
    case PST_SECOND:
    case PST_TIME:
        s.null = v->i == PST_NULL_INT;
        break;
    case PST_LONG:
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        s.null = v->i == PST_NULL_LONG;
        break;
    case PST_REAL:
    case PST_FLOAT:
        s.null = v->f != v->f;
        break;
    case PST_GUID:
        s.null = !memcmp(v->guid, zero, 16);
        break;
    default:
        break;
    }
    if (s.null)
        return true;
    uint32_t n = literal_text(&s, buf);
    *text = strndup(buf, n);
    return *text != NULL;
}

static int host_sql(struct pst_call *c, const char *text, const struct pst_value *parameters,
                    uint32_t nparameters, struct pst_rows **rows)
{
    struct query_param param[PST_PARAMETERS_MAX];
    char number[PST_PARAMETERS_MAX][12], *texts[PST_PARAMETERS_MAX] = {NULL};
    *rows = NULL;
    if (c->failed)
        return -1;
    if (nparameters > PST_PARAMETERS_MAX)
        return fail(c, QUERY_VALUE, "too many parameters for one query");
    bool ok = true;
    for (uint32_t i = 0; i < nparameters && ok; i++) {
        ok = as_text(&parameters[i], &texts[i]);
        snprintf(number[i], sizeof number[i], "%u", i + 1);
        param[i] = (struct query_param){number[i], (uint8_t)parameters[i].type, texts[i]};
    }
    struct result *r = NULL;
    struct rows_kept *k = calloc(1, sizeof *k);
    struct query_env env = *c->env;
    struct query_request q = {.sql = text,
                              .len = strlen(text),
                              .params = param,
                              .nparams = nparameters,
                              .limits = *c->limits};
    q.limits.rows_max = 0; /* of the answer, not of what a plugin reads on the way */
    struct query_error e = {0};
    if (!ok || !k)
        fail(c, QUERY_VALUE, "a parameter is no value of its type, or there is no memory");
    else if (!query_run(&env, &q, &r, &e)) {
        if (!c->failed) { /* the code is kept: a cancelled or outdated query is one */
            *c->e = e;
            c->e->position = -1;
            c->e->line = c->e->column = 0;
            snprintf(c->e->text, sizeof c->e->text, "%s: %.400s", c->named->name, e.text);
        }
        c->failed = true;
    }
    for (uint32_t i = 0; i < nparameters && i < PST_PARAMETERS_MAX; i++)
        free(texts[i]);
    if (r)
        k->column = calloc(r->ncols + 1, sizeof *k->column);
    if (!r || !k->column) {
        result_free(r);
        free(k);
        return c->failed ? -1 : fail(c, QUERY_LIMIT, "no memory for the rows of its SQL");
    }
    for (uint32_t i = 0; i < r->ncols; i++) {
        bool text_column = r->col[i].type == PST_SYMBOL || r->col[i].type == PST_STRING;
        k->column[i] = (struct pst_rows_column){r->col[i].name, r->col[i].type,
                                                text_column ? NULL : r->col[i].data};
    }
    k->rows = (struct pst_rows){r->rows, r->ncols, k->column};
    k->result = r;
    k->next = c->kept;
    c->kept = k;
    *rows = &k->rows;
    return 0;
}

static struct pst_text host_text(const struct pst_rows *rows, uint32_t column, uint64_t row)
{
    const struct result *r = ((const struct rows_kept *)(const void *)rows)->result;
    struct pst_text t = {"", 0};
    if (column < r->ncols && row < r->rows &&
        (r->col[column].type == PST_SYMBOL || r->col[column].type == PST_STRING))
        t.at = result_text(r, column, row, &t.len);
    return t;
}

/* ---- building the result ---- */

static bool grow(void **p, uint64_t bytes)
{
    void *q = realloc(*p, bytes);
    if (q)
        *p = q;
    return q != NULL;
}

/* The place of a text in the result's dictionary. False: no memory. */
static bool intern(struct pst_call *c, struct pst_text t, uint32_t *code)
{
    uint64_t h = 1469598103934665603ull;
    for (uint32_t i = 0; i < t.len; i++)
        h = (h ^ (uint8_t)t.at[i]) * 1099511628211ull;
    if (2 * (c->nsyms + 1) > c->nslots) {
        uint32_t n = c->nslots ? 2 * c->nslots : 64, *slot = calloc(n, sizeof *slot);
        if (!slot)
            return false;
        for (uint32_t s = 0; s < c->nsyms; s++) {
            uint64_t k = 1469598103934665603ull;
            for (uint64_t b = c->sym_at[s]; b < c->sym_at[s + 1]; b++)
                k = (k ^ (uint8_t)c->sym_chars[b]) * 1099511628211ull;
            uint32_t i = (uint32_t)k & (n - 1);
            while (slot[i])
                i = (i + 1) & (n - 1);
            slot[i] = s + 1;
        }
        free(c->slot);
        c->slot = slot;
        c->nslots = n;
    }
    uint32_t i = (uint32_t)h & (c->nslots - 1);
    for (; c->slot[i]; i = (i + 1) & (c->nslots - 1)) {
        uint32_t s = c->slot[i] - 1;
        if (c->sym_at[s + 1] - c->sym_at[s] == t.len &&
            !memcmp(c->sym_chars + c->sym_at[s], t.at, t.len)) {
            *code = s;
            return true;
        }
    }
    if (c->nsyms + 2 > c->sym_cap) {
        uint32_t cap = c->sym_cap ? 2 * c->sym_cap : 64;
        if (!grow((void **)&c->sym_at, cap * sizeof *c->sym_at))
            return false;
        c->sym_cap = cap;
        if (!c->nsyms)
            c->sym_at[0] = 0;
    }
    if (c->sym_used + t.len + 1 > c->sym_room) {
        uint64_t room = 2 * (c->sym_used + t.len + 512);
        if (!grow((void **)&c->sym_chars, room))
            return false;
        c->sym_room = room;
    }
    memcpy(c->sym_chars + c->sym_used, t.at, t.len);
    c->sym_used += t.len;
    c->sym_at[c->nsyms + 1] = c->sym_used;
    *code = c->nsyms++;
    c->slot[i] = c->nsyms;
    c->bytes += t.len + 16;
    return true;
}

static bool room_for_row(struct pst_call *c)
{
    if (c->rows < c->room)
        return true;
    uint64_t room = c->room ? 2 * c->room : 256;
    for (uint32_t i = 0; i < c->named->ncolumns; i++) {
        unsigned w = result_width((uint8_t)c->named->column[i].type);
        struct out_column *o = &c->column[i];
        if (w ? !grow((void **)&o->data, room * w)
              : !grow((void **)&o->at, (room + 1) * sizeof *o->at))
            return false;
        if (!w && !c->room)
            o->at[0] = 0;
    }
    c->room = room;
    return true;
}

/* One value at the end of its column; the type has been checked. */
static bool put(struct pst_call *c, uint32_t i, const struct pst_value *v)
{
    struct out_column *o = &c->column[i];
    unsigned w = result_width((uint8_t)v->type);
    uint8_t *p = w ? o->data + c->rows * w : NULL;
    uint32_t code = PST_NULL_SYMBOL;
    float real = (float)v->f;
    switch (v->type) {
    case PST_SYMBOL:
        if (v->text.len && !intern(c, v->text, &code))
            return false;
        memcpy(p, &code, 4);
        break;
    case PST_STRING:
        if (o->used + v->text.len + 1 > o->room) {
            uint64_t room = 2 * (o->used + v->text.len + 512);
            if (!grow((void **)&o->chars, room))
                return false;
            o->room = room;
        }
        if (v->text.len)
            memcpy(o->chars + o->used, v->text.at, v->text.len);
        o->used += v->text.len;
        o->at[c->rows + 1] = o->used;
        c->bytes += v->text.len + 8;
        break;
    case PST_GUID:
        memcpy(p, v->guid, 16);
        break;
    case PST_FLOAT:
        memcpy(p, &v->f, 8);
        break;
    case PST_REAL:
        memcpy(p, &real, 4);
        break;
    case PST_BOOLEAN:
        *p = v->i != 0;
        break;
    default:
        memcpy(p, &v->i, w); /* little endian: the low bytes */
    }
    c->bytes += w;
    return true;
}

static int host_append(struct pst_call *c, const struct pst_value *row)
{
    if (c->failed)
        return -1;
    const struct named *n = c->named;
    char why[160];
    if (c->limits->rows_max && c->rows >= c->limits->rows_max) {
        snprintf(why, sizeof why, "its result has more than %llu rows",
                 (unsigned long long)c->limits->rows_max);
        return fail(c, QUERY_LIMIT, why);
    }
    if (c->limits->memory_max && c->bytes > c->limits->memory_max)
        return fail(c, QUERY_LIMIT, "its result is larger than the query's memory");
    if (!(c->rows & 1023) && host_cancelled(c))
        return fail(c, QUERY_CANCELLED, "cancelled");
    for (uint32_t i = 0; i < n->ncolumns; i++) {
        const struct pst_value *v = &row[i];
        bool text = v->type == PST_SYMBOL || v->type == PST_STRING;
        if (v->type != n->column[i].type || (text && v->text.len && !v->text.at) ||
            (v->type == PST_SYMBOL && v->text.len > 255) ||
            (v->type == PST_STRING && v->text.len > PLUGIN_STRING_MAX)) {
            snprintf(why, sizeof why, "column %s of row %llu is no %s", n->column[i].name,
                     (unsigned long long)c->rows, type_name((uint8_t)n->column[i].type));
            return fail(c, QUERY_FAILED, why);
        }
    }
    if (!room_for_row(c))
        return fail(c, QUERY_LIMIT, "no memory for its result");
    for (uint32_t i = 0; i < n->ncolumns; i++)
        if (!put(c, i, &row[i]))
            return fail(c, QUERY_LIMIT, "no memory for its result");
    c->rows++;
    return 0;
}

/* Moves what was appended into a result. */
static struct result *collect(struct pst_call *c)
{
    struct result *r = result_new(c->named->ncolumns);
    if (!r || !room_for_row(c)) { /* arrays exist even without rows */
        result_free(r);
        return NULL;
    }
    r->rows = c->rows;
    for (uint32_t i = 0; i < r->ncols; i++) {
        struct out_column *o = &c->column[i];
        snprintf(r->col[i].name, sizeof r->col[i].name, "%s", c->named->column[i].name);
        r->col[i].type = (uint8_t)c->named->column[i].type;
        r->col[i].data = o->data;
        r->col[i].at = o->at;
        r->col[i].chars = o->chars;
        *o = (struct out_column){0};
    }
    r->syms.count = c->nsyms;
    r->syms.at = c->sym_at ? c->sym_at : calloc(1, sizeof *c->sym_at);
    r->syms.chars = c->sym_chars;
    c->sym_at = NULL;
    c->sym_chars = NULL;
    return r;
}

bool plugin_run(struct plugins *p, const struct named *n, const struct pst_value *args,
                struct query_env *env, const struct plan_limits *limits, struct result **out,
                struct query_error *e)
{
    struct pst_call *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c)
        return query_error_set(e, QUERY_LIMIT, -1, "%s: no memory", n->name);
    c->named = n;
    c->env = env;
    c->limits = limits;
    c->e = e;
    struct plugins *outer = logging;
    logging = p;
    depth++;
    int code = depth > PLUGIN_DEPTH_MAX
                   ? fail(c, QUERY_LIMIT, "named queries call each other too deeply")
                   : n->run(c, args, n->data);
    depth--;
    logging = outer;
    if (code && !c->failed) {
        char text[64];
        snprintf(text, sizeof text, "it failed with code %d", code);
        fail(c, host_cancelled(c) ? QUERY_CANCELLED : QUERY_FAILED, text);
    }
    if (!c->failed && !(*out = collect(c)))
        fail(c, QUERY_LIMIT, "no memory for its result");
    while (c->kept) {
        struct rows_kept *k = c->kept;
        c->kept = k->next;
        result_free(k->result);
        free(k->column);
        free(k);
    }
    for (uint32_t i = 0; i < PST_COLUMNS_MAX; i++) {
        free(c->column[i].data);
        free(c->column[i].at);
        free(c->column[i].chars);
    }
    free(c->sym_at);
    free(c->sym_chars);
    free(c->slot);
    bool ok = !c->failed;
    plan_limits_peak(limits, c->bytes);
    free(c);
    return ok;
}

struct pst_value plugin_null(uint8_t type)
{
    struct pst_value v = {.type = type};
    switch (type) {
    case PST_SYMBOL:
    case PST_STRING:
        v.text = (struct pst_text){"", 0};
        break;
    case PST_REAL:
    case PST_FLOAT:
        v.f = __builtin_nan("");
        break;
    case PST_GUID:
    case PST_BOOLEAN:
    case PST_BYTE:
        break;
    case PST_CHAR:
        v.i = PST_NULL_CHAR;
        break;
    default: {
        unsigned w = type_width(type);
        v.i = w == 2 ? PST_NULL_SHORT : w == 4 ? PST_NULL_INT : PST_NULL_LONG;
    }
    }
    return v;
}

void plugin_host_fill(struct pst_host *host)
{
    host->sql = host_sql;
    host->text = host_text;
    host->append = host_append;
    host->cancelled = host_cancelled;
    host->error = host_error;
    host->log = host_log;
}
