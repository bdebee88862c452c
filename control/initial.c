/* SPDX-License-Identifier: Apache-2.0 */
#include "initial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/civil.h"
#include "csv.h"
#include "dataplane/inject_rows.h"
#include "wiring_parts.h"

#define BATCH_BYTES (48u << 10)
#define PATIENCE    (60 * NS_PER_S) /* for the log to take what the ring cannot hold */

struct pst_start {
    struct daemon *d;
    bool (*intern)(struct daemon *d, struct schema *s, struct err *err);
    struct err err;
    bool failed;
    /* the batch under construction */
    char source[SOURCE_NAME_MAX + 1]; /* "" = plain rows */
    struct source_progress p;         /* of the source */
    uint8_t *derived;                 /* in the stage; NULL = no batch is open */
    uint64_t last;                    /* position of its last row */
    uint64_t rows, before;
    /* tables that were asked for */
    struct pst_table table[32];
    struct pst_table_column *column[32];
    unsigned tables;
};

static int32_t fail(struct pst_start *s, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int32_t fail(struct pst_start *s, int code, const char *format, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (!s->failed)
        err_set(&s->err, code, "%s", text);
    s->failed = true;
    return -1;
}

/* ---- batches ---- */

/* What was offered is in the ring: the log, which runs, makes room where there is none. */
static bool pump(struct pst_start *s)
{
    struct daemon *d = s->d;
    struct wiring *w = d->wiring;
    uint64_t ticket = inject_rows_flush(&w->control_rows), position;
    int64_t until = clock_monotonic() + PATIENCE;
    while (!inject_taken(&d->inject, ticket, &position)) {
        appender_begin(&w->appender, clock_now(&d->clock));
        appender_due(&w->appender); /* ticks: the next start finds its way in the log by them */
        appender_states(&w->appender);
        int took = appender_take(&w->appender, 1 << 20);
        appender_flush(&w->appender);
        if (!took) {
            nanosleep(&(struct timespec){0, 200000}, NULL);
            if (clock_monotonic() > until)
                return fail(s, -ENOSPC, "the log does not take the rows: see what it says") == 0;
        }
    }
    enum inject_refusal why = inject_refused(&d->inject, s->before, ticket);
    s->before = ticket;
    if (why)
        return fail(s, -EINVAL, "rows were refused: %s",
                    why == INJECT_SYMBOLS_LIMIT
                        ? "symbols_max or max_new_symbols is reached"
                        : "the appender found them malformed, or not next of their source") == 0;
    return true;
}

static bool end_batch(struct pst_start *s)
{
    if (s->derived) {
        struct derived_record x;
        memcpy(&x, s->derived, sizeof x);
        x.position = s->last;
        memcpy(s->derived, &x, sizeof x);
        s->derived = NULL;
        s->p.at = source_point(s->last, 0);
        source_settle(&s->p);
    }
    return pump(s);
}

static void where(struct pst_start *s, const char *source, struct source_progress *p)
{
    struct daemon *d = s->d;
    uint32_t id = symbols_find(&d->symbols, source, (uint32_t)strlen(source));
    *p = (struct source_progress){0};
    if (id != PST_NULL_SYMBOL)
        sources_where(d->wiring->appender.sources, id, p);
}

static bool of_source(struct pst_start *s, const char *source)
{
    source = source ? source : "";
    if (!strcmp(source, s->source))
        return true;
    if (!end_batch(s))
        return false;
    if (*source && !source_name(source, strlen(source)))
        return fail(s, -EINVAL,
                    "'%.80s' is no name of a source: letters, digits and . _ - : / @, at most %u",
                    source, SOURCE_NAME_MAX) == 0;
    snprintf(s->source, sizeof s->source, "%s", source);
    if (*source)
        where(s, source, &s->p);
    return true;
}

/* Is that row in the journal already? A batch ends where an island begins. */
static bool have(struct pst_start *s, uint64_t position, bool *ok)
{
    *ok = true;
    if (position <= (s->derived ? s->last : s->p.at.position))
        return true;
    for (uint32_t i = 0; i < s->p.islands; i++) {
        const struct source_range *x = &s->p.island[i];
        if (position <= x->from.position || position > x->to.position)
            continue;
        *ok = !s->derived || end_batch(s);
        return true;
    }
    return false;
}

/* Symbols of a row come first: they may not end the batch between its derived record and it. */
static bool make_room(struct pst_start *s)
{
    struct inject_rows *w = &s->d->wiring->control_rows;
    bool full = w->syms_bytes > BATCH_BYTES || (size_t)(w->rows.at - w->rows.base) > BATCH_BYTES;
    if (full && !end_batch(s))
        return false;
    if (symbols_count(&w->local) + 2 * SCHEMA_COLUMNS_MAX >= w->local.head->max) {
        if (!end_batch(s))
            return false;
        inject_rows_restart(w);
    }
    if (!*s->source || s->derived)
        return true;
    if (!end_batch(s)) /* plain rows of before */
        return false;
    struct derived_record x = {.table = TABLE_DERIVED,
                               .bytes = sizeof x,
                               .after = s->p.at.position,
                               .after_row = s->p.at.row};
    x.source = rows_symbol(&w->rows, s->source, (uint32_t)strlen(s->source));
    if (x.source == SYMBOL_REFUSED)
        return fail(s, -ENOSPC, "the symbol table is full") == 0;
    s->derived = inject_rows_plain(w, sizeof x, 0);
    memcpy(s->derived, &x, sizeof x);
    inject_rows_plain_commit(w, sizeof x);
    w->rows.records--; /* it is no row */
    return true;
}

static bool put(struct pst_start *s, const uint8_t *record, uint32_t bytes, uint64_t position)
{
    struct inject_rows *w = &s->d->wiring->control_rows;
    if (w->rows.at + bytes > w->rows.limit)
        return fail(s, -E2BIG, "a row of %u bytes does not fit", bytes) == 0;
    memcpy(inject_rows_plain(w, bytes, 0), record, bytes);
    inject_rows_plain_commit(w, bytes);
    s->last = position;
    s->rows++;
    return true;
}

/* ---- what functions call ---- */

static const struct schema *schema_named(struct pst_start *s, const char *table)
{
    const struct schema *x = schema_set_find(s->d->schemas, table);
    if (!x)
        fail(s, -ENOENT, "there is no table %.60s", table);
    else if (x->feed)
        fail(s, -EINVAL, "table %.60s is filled by a feed", table);
    return x && !x->feed ? x : NULL;
}

static int32_t api_declare(struct pst_start *s, const char *table, const struct pst_column *columns,
                           uint32_t ncolumns)
{
    struct column_def cols[SCHEMA_COLUMNS_MAX];
    struct schema x;
    struct err why;
    if (!s->intern)
        return fail(s, -EINVAL, "declare: only inside `declare`");
    if (ncolumns > SCHEMA_COLUMNS_MAX)
        return fail(s, -E2BIG, "table %.60s: more than %u columns", table, SCHEMA_COLUMNS_MAX);
    for (uint32_t i = 0; i < ncolumns; i++)
        cols[i] = (struct column_def){columns[i].name, (uint8_t)columns[i].type};
    if (!schema_make(&x, 0, table, false, cols, ncolumns, &why) || !s->intern(s->d, &x, &why))
        return fail(s, why.code, "%s", why.text);
    return 0;
}

static const struct pst_table *api_table(struct pst_start *s, const char *name)
{
    for (unsigned i = 0; i < s->tables; i++)
        if (!strcmp(s->table[i].name, name))
            return &s->table[i];
    const struct schema *x = schema_set_find(s->d->schemas, name);
    if (!x || s->tables == PST_COUNT(s->table))
        return NULL;
    struct pst_table_column *c = calloc(x->ncols, sizeof *c);
    if (!c)
        return NULL;
    for (unsigned i = 0; i < x->ncols; i++)
        c[i] = (struct pst_table_column){x->col[i].name, x->col[i].type, x->col[i].offset,
                                         x->col[i].packet};
    s->column[s->tables] = c;
    s->table[s->tables] = (struct pst_table){x->name, x->id, x->feed, x->ncols, c};
    return &s->table[s->tables++];
}

static int64_t api_done(struct pst_start *s, const char *source)
{
    struct source_progress p;
    if (s->intern || !source_name(source, strlen(source)))
        return -1;
    if (!strcmp(source, s->source) && !end_batch(s))
        return -1;
    where(s, source, &p);
    return p.at.position ? (int64_t)p.at.position : -1;
}

static bool put_value(struct pst_start *s, const struct column *c, const struct pst_value *v,
                      uint8_t *out, uint32_t *end)
{
    struct inject_rows *w = &s->d->wiring->control_rows;
    uint8_t *to = out + c->offset;
    if (v->type != c->type)
        return fail(s, -EINVAL, "column %s is a %s, given is a %s", c->name, type_name(c->type),
                    type_name((uint8_t)v->type) ? type_name((uint8_t)v->type) : "nothing") == 0;
    float f;
    switch (c->type) {
    case PST_SYMBOL: {
        uint32_t id =
            v->text.len <= 255 ? rows_symbol(&w->rows, v->text.at, v->text.len) : SYMBOL_REFUSED;
        if (id == SYMBOL_REFUSED)
            return fail(s, -ENOSPC,
                        "column %s: the symbol is refused (longer than 255 bytes, or "
                        "the symbol table is full)",
                        c->name) == 0;
        put32(to, id);
        return true;
    }
    case PST_STRING:
        if (v->text.len > CSV_RECORD_MAX - *end)
            return fail(s, -E2BIG, "column %s: the row is too long", c->name) == 0;
        memcpy(out + *end, v->text.at, v->text.len);
        put32(to, *end);
        put32(to + 4, v->text.len);
        *end += v->text.len;
        return true;
    case PST_GUID:
        memcpy(to, v->guid, 16);
        return true;
    case PST_REAL:
        f = (float)v->f;
        memcpy(to, &f, 4);
        return true;
    case PST_FLOAT:
        memcpy(to, &v->f, 8);
        return true;
    default:
        memcpy(to, &v->i, type_width(c->type)); /* little endian */
        return true;
    }
}

static int32_t api_publish(struct pst_start *s, const char *table, const struct pst_value *row,
                           const char *source, int64_t position)
{
    static pst_aligned(8) uint8_t out[CSV_RECORD_MAX + 16];
    const struct schema *x = s->intern ? NULL : schema_named(s, table);
    bool ok;
    if (!x)
        return fail(s, -EINVAL, "publish: not inside `declare`");
    if (source && position <= 0)
        return fail(s, -EINVAL, "publish: positions of a source begin at 1");
    if (s->failed || !of_source(s, source))
        return -1;
    if (source && have(s, (uint64_t)position, &ok))
        return ok ? 0 : -1;
    if (!make_room(s))
        return -1;
    uint32_t end = x->fixed;
    memset(out, 0, x->fixed);
    for (unsigned i = 0; i < x->ncols; i++)
        if (!put_value(s, &x->col[i], &row[i], out, &end))
            return -1;
    struct record r;
    memcpy(&r, out, sizeof r);
    r.table = x->id;
    r.bytes = (uint16_t)pst_align8(end);
    if (r.time == PST_NULL_TIMESTAMP)
        r.time = clock_now(&s->d->clock);
    memcpy(out, &r, sizeof r);
    memset(out + end, 0, r.bytes - end);
    return put(s, out, r.bytes, (uint64_t)position) ? 0 : -1;
}

static int32_t api_error(struct pst_start *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static int32_t api_error(struct pst_start *s, const char *format, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return fail(s, -ECANCELED, "%s", text);
}

/* ---- CSV ---- */

static uint32_t local_symbol(void *arg, const char *text, uint32_t len)
{
    return rows_symbol(arg, text, len);
}

static int64_t csv_rows(struct pst_start *s, const struct schema *x, const char *text, size_t len,
                        const char *path, const char *source)
{
    static pst_aligned(8) uint8_t record[CSV_RECORD_MAX + 8];
    struct inject_rows *w = &s->d->wiring->control_rows;
    struct csv c;
    struct err why;
    uint64_t before = s->rows;
    size_t next, end = csv_line(text, len, &next);
    if (!csv_header(&c, x, text, end, &why))
        return fail(s, -EINVAL, "%s: %s", path, why.text);
    if (!of_source(s, source))
        return -1;
    uint64_t line = 1;
    for (size_t at = next; at < len; at += next) {
        bool ok = true;
        line++;
        end = csv_line(text + at, len - at, &next);
        if (!end || (have(s, line, &ok) && ok))
            continue;
        if (!ok || !make_room(s))
            return -1;
        uint32_t bytes = csv_row(&c, text + at, end, clock_now(&s->d->clock), record, local_symbol,
                                 &w->rows, &why);
        if (!bytes)
            return fail(s, -EINVAL, "%s: line %llu: %s", path, (unsigned long long)line, why.text);
        if (!put(s, record, bytes, line))
            return -1;
    }
    return end_batch(s) ? (int64_t)(s->rows - before) : -1;
}

static int64_t api_csv(struct pst_start *s, const char *table, const char *path, const char *source)
{
    struct stat st;
    const struct schema *x = s->intern ? NULL : schema_named(s, table);
    if (!x)
        return fail(s, -EINVAL, "csv: not inside `declare`");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : fail(s, -errno, "%s: %s", path, strerror(errno));
    int64_t n = -1;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        fail(s, -EINVAL, "%s is no file", path);
    else if (!st.st_size)
        n = 0;
    else {
        char *text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (text == MAP_FAILED)
            fail(s, -errno, "%s: %s", path, strerror(errno));
        else {
            n = csv_rows(s, x, text, (size_t)st.st_size, path, source);
            munmap(text, (size_t)st.st_size);
        }
    }
    close(fd);
    return n;
}

static const char *api_configured(struct pst_start *s, uint32_t i)
{
    const struct config *c = s->d->config;
    return i < c->tables.count ? c->tables.at[i].name : NULL;
}

static const struct pst_start_api api = {.size = sizeof api,
                                         .declare = api_declare,
                                         .table = api_table,
                                         .publish = api_publish,
                                         .done = api_done,
                                         .configured = api_configured,
                                         .csv = api_csv,
                                         .error = api_error};

/* ---- running ---- */

bool initial_load(struct daemon *d, struct err *err)
{
    struct err why;
    struct function *f = &d->wiring->initial_function;
    if (d->replay || f->f)
        return true;
    /* loaded with the first event, which may be at night: who may change it is asked now */
    if (!function_trusted(PST_FUNCTION_BUFFER, d->config->buffer_function, &why))
        return err_set(err, why.code, "buffer_function: %s", why.text);
    return function_load(f, PST_FUNCTION_INITIAL, d->config->initial_state_function, &why) ||
           err_set(err, why.code, "initial_state_function: %s", why.text);
}

static struct pst_start_facts facts_of(const struct daemon *d)
{
    const struct wiring *w = d->wiring;
    return (struct pst_start_facts){.size = sizeof(struct pst_start_facts),
                                    .fresh = w->recovery->empty,
                                    .clean = w->clean,
                                    .day = d->day,
                                    .position = w->start,
                                    .instance = d->config->instance,
                                    .state_directory = d->config->state_directory,
                                    .log_directory = d->config->log_directory};
}

static bool outcome(const struct daemon *d, const struct pst_start *s, int32_t rc, struct err *err)
{
    if (!rc && !s->failed)
        return true;
    return err_set(err, s->failed ? s->err.code : -ECANCELED, "initial_state_function %.200s: %s",
                   d->wiring->initial_function.text, s->failed ? s->err.text : "it failed");
}

bool initial_declare(struct daemon *d,
                     bool (*intern)(struct daemon *d, struct schema *s, struct err *err),
                     struct err *err)
{
    const struct function *f = &d->wiring->initial_function;
    if (!f->f || !f->f->initial.declare)
        return true;
    struct pst_start *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, -ENOMEM, "no memory");
    s->d = d;
    s->intern = intern;
    struct pst_start_facts facts = facts_of(d);
    int32_t rc = f->f->initial.declare(&function_host, &facts, &api, s, &f->args);
    bool ok = outcome(d, s, rc, err);
    free(s);
    return ok;
}

bool initial_run(struct daemon *d, struct err *err)
{
    const struct function *f = &d->wiring->initial_function;
    if (!f->f)
        return true;
    struct pst_start *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, -ENOMEM, "no memory");
    s->d = d;
    s->before = inject_rows_flush(&d->wiring->control_rows);
    struct pst_start_facts facts = facts_of(d);
    int64_t t0 = clock_monotonic();
    int32_t rc = f->f->initial.run(&function_host, &facts, &api, s, &f->args);
    if (!s->failed)
        end_batch(s);
    bool ok = outcome(d, s, rc, err);
    if (ok && s->rows)
        fprintf(stderr, "penstockd: initial_state_function %.200s: %llu rows in %.0f ms\n", f->text,
                (unsigned long long)s->rows, (double)(clock_monotonic() - t0) / 1e6);
    for (unsigned i = 0; i < s->tables; i++)
        free(s->column[i]);
    free(s);
    return ok;
}
