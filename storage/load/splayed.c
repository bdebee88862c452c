/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "kdb_file.h"
#include "load/splayed.h"
#include "load/text_value.h"
#include "partition.h"

#define DOMAIN_BYTES_MAX (4ull << 30)
#define UNRESOLVED       0xFFFFFFFEu

struct domain { /* an enumeration's texts */
    char name[KDB_DOMAIN_MAX];
    char path[1200];
    char *image;
    const char **text;    /* [count] */
    uint32_t *len, *code; /* code: UNRESOLVED until it is used */
    uint64_t count, room;
};

struct source { /* a column of the directory */
    char name[SCHEMA_NAME_MAX];
    struct kdb_column file;
    bool open, date;
    int to;                /* column of the table, -1 = passed over */
    struct domain *domain; /* of an enumeration */
};

struct splayed {
    struct load_reader_config c;
    const struct schema *schema;
    struct load_block *block;
    struct load_days days;
    struct source *source; /* [n] */
    unsigned n, room;
    struct domain domain[8];
    unsigned ndomains;
    uint64_t rows;
    int32_t day; /* of all rows, or TEXT_NO_DAY */
};

/* ---- names, domains ---- */

static char *slurp(const char *path, uint64_t most, size_t *len, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        err_set(err, -errno, "%s: cannot be opened: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    char *p = NULL;
    size_t n = (size_t)st.st_size, at = 0;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > most)
        err_set(err, -EFBIG, "%s: no file of at most %llu bytes", path, (unsigned long long)most);
    else if (!(p = malloc(n + 1)))
        err_set(err, -ENOMEM, "no memory for %s", path);
    while (p && at < n) {
        ssize_t k = read(fd, p + at, n - at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            err_set(err, k ? -errno : -EBUSY, "%s: cannot be read: %s", path,
                    k ? strerror(errno) : "it became shorter");
            free(p);
            p = NULL;
        } else
            at += (size_t)k;
    }
    close(fd);
    *len = n;
    return p;
}

static bool take_name(void *arg, const char *text, size_t len)
{
    struct splayed *x = arg;
    if (len >= SCHEMA_NAME_MAX || !len || memchr(text, '/', len) || *text == '.')
        return false;
    if (x->n == x->room) {
        unsigned room = x->room ? x->room * 2 : 32;
        struct source *p = room <= LOAD_COLUMNS ? realloc(x->source, room * sizeof *p) : NULL;
        if (!p)
            return false;
        x->source = p;
        x->room = room;
    }
    struct source *s = &x->source[x->n++];
    memset(s, 0, sizeof *s);
    memcpy(s->name, text, len);
    s->to = LOAD_TO_NOTHING;
    return true;
}

static bool read_names(struct splayed *x, struct err *err)
{
    char path[1200];
    size_t len, torn;
    snprintf(path, sizeof path, "%s/.d", x->c.path);
    char *image = slurp(path, 1u << 20, &len, err);
    if (!image) {
        if (err->code == -ENOENT)
            err_set(err, -EINVAL, "%s: it is no splayed table: it has no file .d", x->c.path);
        return false;
    }
    bool ok = kdb_symbols_parse(image, len, take_name, x, &torn, path, err);
    free(image);
    if (!ok && err->code == -ECANCELED)
        err_set(err, -EBADMSG, "%s: holds a name that no column file can have", path);
    return ok && (x->n || err_set(err, -EBADMSG, "%s: names no columns", path));
}

static bool take_text(void *arg, const char *text, size_t len)
{
    struct domain *d = arg;
    if (d->count == d->room) {
        uint64_t room = d->room ? d->room * 2 : 4096;
        const char **t = realloc(d->text, room * sizeof *t);
        d->text = t ? t : d->text;
        uint32_t *l = t ? realloc(d->len, room * sizeof *l) : NULL;
        d->len = l ? l : d->len;
        if (!l || room > LOAD_SYMBOLS_MAX)
            return false;
        d->room = room;
    }
    d->text[d->count] = text;
    d->len[d->count++] = len > UINT32_MAX ? UINT32_MAX : (uint32_t)len;
    return true;
}

static bool find_domain(const struct splayed *x, struct domain *d)
{
    static const char *const places[] = {"", "/..", "/../.."};
    struct stat st;
    if (x->c.recipe->sym) {
        snprintf(d->path, sizeof d->path, "%s", x->c.recipe->sym);
        return true;
    }
    if (!*d->name || strchr(d->name, '/') || *d->name == '.')
        return false;
    for (unsigned i = 0; i < PST_COUNT(places); i++) {
        char path[sizeof d->path];
        snprintf(path, sizeof path, "%s%s/%s", x->c.path, places[i], d->name);
        /* in the directory itself a file of that name is usually the column `sym` */
        uint8_t head[4] = {0};
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        bool is = fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && read(fd, head, 4) == 4 &&
                  head[0] == 0xFF && head[1] == 1 && head[2] == PST_SYMBOL;
        if (fd >= 0)
            close(fd);
        if (is) {
            memcpy(d->path, path, sizeof path);
            return true;
        }
    }
    return false;
}

static struct domain *domain_of(struct splayed *x, const char *name, const char *column,
                                struct err *err)
{
    for (unsigned i = 0; i < x->ndomains; i++)
        if (!strcmp(x->domain[i].name, name))
            return &x->domain[i];
    struct domain *d = &x->domain[x->ndomains];
    size_t len, torn;
    if (x->ndomains == PST_COUNT(x->domain)) {
        err_set(err, -ENOTSUP, "%s: enumerations of more than %zu domains", x->c.path,
                PST_COUNT(x->domain));
        return NULL;
    }
    snprintf(d->name, sizeof d->name, "%s", name);
    if (!find_domain(x, d)) {
        err_set(err, -ENODATA,
                "%s: column %s is enumerated by %s, and there is no such file in it, beside it or "
                "above it: deliver it too, or name it (sym:)",
                x->c.path, column, name);
        return NULL;
    }
    x->ndomains++; /* freed from here on */
    d->image = slurp(d->path, DOMAIN_BYTES_MAX, &len, err);
    if (!d->image || !kdb_symbols_parse(d->image, len, take_text, d, &torn, d->path, err))
        return NULL;
    d->code = malloc((d->count + 1) * sizeof *d->code);
    if (!d->code) {
        err_set(err, -ENOMEM, "no memory for the symbols of %s", d->path);
        return NULL;
    }
    for (uint64_t i = 0; i < d->count; i++)
        d->code[i] = UNRESOLVED;
    return d;
}

/* ---- columns ---- */

static bool is_clock(uint8_t t)
{
    return t == PST_TIMESPAN || t == PST_TIME || t == PST_SECOND || t == PST_MINUTE;
}

static bool fits(uint8_t from, uint8_t to)
{
    if (from == to || wd_converts(from, to))
        return true;
    if (to == PST_TIMESTAMP)
        return is_clock(from) || from == PST_DATE;
    if (to == PST_STRING)
        return from == PST_SYMBOL || from == PST_CHAR;
    return to == PST_SYMBOL && (from == PST_STRING || from == PST_CHAR);
}

/* Which of the table's columns it is. */
static bool place(struct splayed *x, struct source *s, struct err *err)
{
    const struct load_recipe *r = x->c.recipe;
    bool listed = false;
    for (unsigned i = 0; i < r->nfields && r->by_name; i++)
        if (!strcmp(r->fields[i].name, s->name)) {
            s->to = r->fields[i].to;
            s->date = r->fields[i].date;
            listed = true;
        }
    if (!r->by_name && r->nfields) {
        unsigned i = (unsigned)(s - x->source);
        if (i < r->nfields) {
            s->to = r->fields[i].to;
            s->date = r->fields[i].date;
            listed = true;
        }
    }
    if (!listed) {
        s->to = schema_column(x->schema, s->name);
        s->date = r->date == LOAD_DATE_COLUMN && !strcmp(s->name, r->date_column);
        listed = s->to >= 0 || s->date || r->others;
    }
    for (struct source *o = x->source; o < s; o++)
        if (s->to >= 0 && o->to == s->to)
            return err_set(err, -EINVAL, "%s: two columns become %s", x->c.path,
                           x->schema->col[s->to].name);
    return listed ||
           err_set(err, -EINVAL,
                   "%s: column %s is not in table %s; pass it over with columns: {%s: \"-\"}",
                   x->c.path, s->name, x->schema->name, s->name);
}

static bool open_column(struct splayed *x, struct source *s, struct err *err)
{
    char path[1200];
    struct kdb_column *f = &s->file;
    snprintf(path, sizeof path, "%s/%s", x->c.path, s->name);
    if (!kdb_open(f, AT_FDCWD, path, err)) {
        if (err->code == -ENOENT)
            err->code = -ENODATA;
        return false;
    }
    s->open = true;
    if (f->type == PST_SYMBOL && !(s->domain = domain_of(x, f->domain, s->name, err)))
        return false;
    if (s->to >= 0 && !fits(f->type, x->schema->col[s->to].type))
        return err_set(err, -EINVAL, "%s: is of type %s, which does not fit column %s, a %s", path,
                       type_name(f->type), x->schema->col[s->to].name,
                       type_name(x->schema->col[s->to].type));
    if (s->date && f->type != PST_DATE)
        return err_set(err, -EINVAL, "%s: is of type %s, and should give the date", path,
                       type_name(f->type));
    const struct source *first = &x->source[0];
    for (; first < s && !first->open; first++)
        ;
    return f->rows == first->file.rows ||
           err_set(err, -EBADMSG, "%s: has %llu rows, column %s has %llu", path,
                   (unsigned long long)f->rows, first->name, (unsigned long long)first->file.rows);
}

static bool open_columns(struct splayed *x, struct err *err)
{
    bool have[SCHEMA_COLUMNS_MAX] = {false}, date = false;
    const struct load_recipe *r = x->c.recipe;
    for (unsigned i = 0; i < x->n; i++) {
        struct source *s = &x->source[i];
        if (!place(x, s, err))
            return false;
        if (s->to < 0 && !s->date)
            continue;
        if (!open_column(x, s, err))
            return false;
        x->rows = s->file.rows;
        date |= s->date;
        if (s->to >= 0)
            have[s->to] = true;
    }
    if (r->date == LOAD_DATE_COLUMN && !date)
        return err_set(err, -EINVAL, "%s: it has no column %s, which gives the date", x->c.path,
                       r->date_column);
    for (unsigned i = 0; i < x->schema->ncols; i++) {
        if (!have[i] && !r->rule[i].optional && !r->rule[i].constant)
            return err_set(err, -EINVAL,
                           "%s: column %s of table %s is missing; it may be listed as optional",
                           x->c.path, x->schema->col[i].name, x->schema->name);
        if (r->rule[i].multiply != 1 || r->rule[i].divide != 1)
            return err_set(err, -EINVAL, "%s: scale is for text files; column %s has its type",
                           x->c.path, x->schema->col[i].name);
    }
    return true;
}

/* The date in the directory's name or in its parent's (db/2024.01.02/trade). */
static bool date_of_path(const char *path, int32_t *day)
{
    char real[4096];
    if (!realpath(path, real))
        return false;
    for (unsigned i = 0; i < 2; i++) {
        char *slash = strrchr(real, '/');
        if (!slash)
            return false;
        if (civil_parse(slash + 1, day) && *day >= 0 && *day <= CIVIL_DAY_MAX)
            return true;
        *slash = 0;
    }
    return false;
}

static bool find_day(struct splayed *x, struct err *err)
{
    const struct load_recipe *r = x->c.recipe;
    x->day = TEXT_NO_DAY;
    if (r->date == LOAD_DATE_FIXED ||
        (r->date == LOAD_DATE_FILE && r->file_pattern && strstr(r->file_pattern, "{date}")))
        x->day = r->day;
    else if (r->date == LOAD_DATE_FILE && !date_of_path(x->c.path, &x->day))
        return err_set(err, -EINVAL, "%s: neither its name nor its parent's is a date", x->c.path);
    return true;
}

/* ---- values ---- */

static int64_t to_utc(const struct tzone *z, int64_t local)
{
    int64_t s = civil_floor_div(local, PST_SECOND_NS);
    if (local == PST_NULL_TIMESTAMP || local == PST_INF_LONG || local == -PST_INF_LONG)
        return local;
    int64_t utc = tzone_to_utc(z, s + PST_EPOCH_OFFSET_S) - PST_EPOCH_OFFSET_S, there;
    return __builtin_add_overflow(local, (utc - s) * PST_SECOND_NS, &there) ? local : there;
}

/* ns after midnight; false: null. */
static bool clock_ns(uint8_t type, const void *v, int64_t *ns)
{
    int32_t n = type == PST_TIMESPAN ? 0 : (int32_t)le32(v);
    int64_t unit = type == PST_TIME     ? 1000000
                   : type == PST_SECOND ? PST_SECOND_NS
                                        : 60 * PST_SECOND_NS;
    *ns = type == PST_TIMESPAN ? (int64_t)le64(v) : n * unit;
    return type == PST_TIMESPAN
               ? *ns != PST_NULL_LONG && *ns > -PST_DAY_NS * 100000 && *ns < PST_DAY_NS * 100000
               : n != PST_NULL_INT;
}

/* The date of the rows by which a time of day counts: that of all of them, or a date column. */
static int32_t row_day(const struct splayed *x, uint64_t row)
{
    for (unsigned i = 0; i < x->n; i++)
        if (x->source[i].date)
            return ((const int32_t *)x->source[i].file.values)[row];
    return x->day;
}

static bool put_times(struct splayed *x, const struct source *s, uint64_t first, uint32_t n,
                      int64_t *out, struct err *err)
{
    const struct kdb_column *f = &s->file;
    const struct tzone *z = x->c.recipe->tz;
    bool utc = !strcmp(tzone_name(z), "UTC");
    const uint8_t *v = (const uint8_t *)f->values + first * type_width(f->type);
    if (f->type == PST_TIMESTAMP) {
        if (utc)
            memcpy(out, v, (size_t)n * 8);
        for (uint32_t i = 0; i < n && !utc; i++)
            out[i] = to_utc(z, (int64_t)le64(v + 8 * i));
        return true;
    }
    for (uint32_t i = 0; i < n; i++) {
        int32_t day = f->type == PST_DATE ? (int32_t)le32(v + 4 * i) : row_day(x, first + i);
        int64_t ns = 0;
        if (f->type != PST_DATE && day == TEXT_NO_DAY)
            return err_set(err, -EINVAL,
                           "%s: column %s is a time of day: say of which date (date: file, a date "
                           "or a column)",
                           x->c.path, s->name);
        bool is = f->type == PST_DATE || clock_ns(f->type, v + i * type_width(f->type), &ns);
        if (!is || day < -40000 || day > 100000) /* null, or no date of ours */
            out[i] = PST_NULL_TIMESTAMP;
        else
            out[i] = to_utc(z, day * PST_DAY_NS + ns);
    }
    return true;
}

static bool symbol_good(const struct splayed *x, const struct source *s, const char *t, size_t len,
                        uint64_t row, struct err *err)
{
    return (len <= LOAD_SYMBOL_BYTES && !memchr(t, 0, len)) ||
           err_set(err, -EINVAL,
                   "%s: column %s, row %llu: a symbol has at most %u bytes and no NUL", x->c.path,
                   s->name, (unsigned long long)row + 1, LOAD_SYMBOL_BYTES);
}

static bool no_room(const struct splayed *x, struct err *err)
{
    return err_set(err, -ENOMEM, "%s: no memory for its symbols or texts", x->c.path);
}

/* The text of row `row` of a symbol, string or char column. */
static bool text_of(const struct splayed *x, const struct source *s, uint64_t row, const char **t,
                    size_t *len, struct err *err)
{
    const struct kdb_column *f = &s->file;
    *t = "";
    *len = 0;
    if (f->type == PST_STRING) {
        const int64_t *end = f->values;
        int64_t from = row ? end[row - 1] : 0;
        *t = f->bytes + from;
        *len = (size_t)(end[row] - from);
    } else if (f->type == PST_CHAR) {
        *t = (const char *)f->values + row;
        *len = **t != PST_NULL_CHAR;
    } else {
        int64_t k = ((const int64_t *)f->values)[row];
        if (k == PST_NULL_LONG)
            return true;
        if (k < 0 || (uint64_t)k >= s->domain->count)
            return err_set(err, -EBADMSG,
                           "%s: column %s, row %llu: index %lld is not in %s, which has %llu names",
                           x->c.path, s->name, (unsigned long long)row + 1, (long long)k,
                           s->domain->path, (unsigned long long)s->domain->count);
        *t = s->domain->text[k];
        *len = s->domain->len[k];
    }
    return true;
}

static bool put_symbols(struct splayed *x, const struct source *s, uint64_t first, uint32_t n,
                        uint32_t *out, struct err *err)
{
    const struct kdb_column *f = &s->file;
    for (uint32_t i = 0; i < n; i++) {
        int64_t k = f->type == PST_SYMBOL ? ((const int64_t *)f->values)[first + i] : -1;
        uint32_t *known =
            k >= 0 && (uint64_t)k < (s->domain ? s->domain->count : 0) ? &s->domain->code[k] : NULL;
        if (known && *known != UNRESOLVED) {
            out[i] = *known;
            continue;
        }
        const char *t;
        size_t len;
        if (!text_of(x, s, first + i, &t, &len, err) || !symbol_good(x, s, t, len, first + i, err))
            return false;
        out[i] = load_dict_code_exact(x->c.dict, t, (uint32_t)len);
        if (out[i] == LOAD_NO_CODE)
            return no_room(x, err);
        if (known)
            *known = out[i];
    }
    return true;
}

/* How many of the rows' texts fit: at least one. */
static bool put_strings(struct splayed *x, const struct source *s, uint64_t first, uint32_t n,
                        struct load_string *out, struct err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const char *t;
        size_t len;
        if (!text_of(x, s, first + i, &t, &len, err))
            return false;
        if (len > LOAD_HEAP_MAX || !load_block_text(x->block, (uint32_t)len, &out[i].at))
            return err_set(err, -ENOBUFS,
                           "%s: column %s, row %llu: a text of %zu bytes is too long", x->c.path,
                           s->name, (unsigned long long)(first + i + 1), len);
        out[i].len = (uint32_t)len;
        memcpy(x->block->heap + out[i].at, t, len);
    }
    return true;
}

static bool put_constant(struct splayed *x, unsigned col, uint32_t n, struct err *err)
{
    const struct load_rule *rule = &x->c.recipe->rule[col];
    uint8_t type = x->schema->col[col].type, value[16] = {0};
    uint8_t *out = x->block->col[col];
    size_t len = rule->value ? strlen(rule->value) : 0;
    if (!rule->constant || (!len && type != PST_STRING)) {
        for (uint32_t i = 0; i < n; i++)
            load_null(x->block, col, i);
        return true;
    }
    if (type == PST_SYMBOL) {
        uint32_t code = len <= LOAD_SYMBOL_BYTES
                            ? load_dict_code_exact(x->c.dict, rule->value, (uint32_t)len)
                            : LOAD_NO_CODE;
        for (uint32_t i = 0; i < n; i++)
            ((uint32_t *)(void *)out)[i] = code;
        return code != LOAD_NO_CODE || no_room(x, err);
    }
    if (type == PST_STRING) {
        struct load_string v = {0, (uint32_t)len};
        if (!load_block_text(x->block, v.len, &v.at))
            return no_room(x, err);
        memcpy(x->block->heap + v.at, rule->value, len);
        for (uint32_t i = 0; i < n; i++)
            ((struct load_string *)(void *)out)[i] = v;
        return true;
    }
    struct text_how how;
    char why[160];
    text_how_init(&how, type);
    how.time = rule->time;
    how.pattern = rule->pattern;
    how.zone = x->c.recipe->tz;
    how.date_format = x->c.recipe->date_format;
    int reason = text_value(&how, rule->value, len, x->day, value);
    if (reason != TEXT_OK)
        return err_set(err, -EINVAL, "load.files: %s: constants: %s: %s", x->c.recipe->name,
                       x->schema->col[col].name, text_sentence(reason, type, why));
    for (uint32_t i = 0; i < n; i++)
        memcpy(out + (size_t)i * type_width(type), value, type_width(type));
    return true;
}

static bool put_column(struct splayed *x, unsigned col, uint64_t first, uint32_t n, struct err *err)
{
    const struct source *s = NULL;
    uint8_t type = x->schema->col[col].type;
    void *out = x->block->col[col];
    for (unsigned i = 0; i < x->n && !s; i++)
        if (x->source[i].to == (int)col)
            s = &x->source[i];
    if (!s)
        return put_constant(x, col, n, err);
    const uint8_t *v = (const uint8_t *)s->file.values + first * kdb_width(s->file.type);
    if (type == PST_SYMBOL)
        return put_symbols(x, s, first, n, out, err);
    if (type == PST_STRING)
        return put_strings(x, s, first, n, out, err);
    if (type == PST_TIMESTAMP)
        return put_times(x, s, first, n, out, err);
    if (s->file.type == type)
        memcpy(out, v, (size_t)n * type_width(type));
    else
        wd_convert(s->file.type, type, v, out, n);
    return true;
}

/* ---- rows ---- */

/* Takes row i out of the block. */
static void drop_row(struct load_block *b, uint32_t i)
{
    for (unsigned c = 0; c < b->schema->ncols; c++) {
        unsigned w = load_width(b->schema->col[c].type);
        uint8_t *at = (uint8_t *)b->col[c] + (size_t)i * w;
        memmove(at, at + w, (size_t)(b->rows - i - 1) * w);
    }
    b->rows--;
}

static bool reject(struct splayed *x, uint64_t row, const char *column, const char *reason,
                   struct err *err)
{
    struct load_reject r = {.line = row + 1, .column = column, .reason = reason};
    return x->c.rejects.reject(x->c.rejects.arg, &r, err);
}

static bool dates(struct splayed *x, uint64_t first, uint32_t n, struct err *err)
{
    struct load_block *b = x->block;
    const struct load_recipe *r = x->c.recipe;
    for (uint32_t i = 0, row = 0; row < n; row++) {
        const int64_t *time = b->col[0];
        int32_t day = x->day;
        const char *column = "time";
        if (r->date == LOAD_DATE_COLUMN) {
            day = row_day(x, first + row);
            column = r->date_column;
        } else if (r->date == LOAD_DATE_TIME)
            day = time[i] == PST_NULL_TIMESTAMP ? -1 : load_day(&x->days, time[i]);
        if (time[i] == PST_NULL_TIMESTAMP || day < 0 || day > CIVIL_DAY_MAX) {
            if (!reject(x, first + row, column, "no time or date that a partition can have", err))
                return false;
            drop_row(b, i);
            continue;
        }
        if (!load_block_run(b, day, 1))
            return no_room(x, err);
        i++;
    }
    return true;
}

static bool run(struct splayed *x, struct err *err)
{
    if (!read_names(x, err) || !find_day(x, err) || !open_columns(x, err))
        return false;
    struct load_progress *p = x->c.progress;
    uint32_t most = x->block->room;
    for (uint64_t at = 0; at < x->rows;) {
        uint32_t n = x->rows - at < most ? (uint32_t)(x->rows - at) : most;
        bool ok = true;
        load_block_clear(x->block);
        for (unsigned c = 0; c < x->schema->ncols && ok; c++)
            ok = put_column(x, c, at, n, err);
        if (!ok && err->code == -ENOBUFS && n > 1) { /* texts fill the heap: fewer rows */
            most = n / 2;
            continue;
        }
        x->block->rows = n;
        if (!ok || !dates(x, at, n, err))
            return false;
        if (x->block->rows && !x->c.sink.block(x->c.sink.arg, x->block, err))
            return false;
        at += n;
        load_progress_add(p, n, 0);
        if (p)
            store_relaxed(&p->bytes, (uint64_t)((double)load_relaxed(&p->total) * (double)at /
                                                (double)x->rows));
        if (load_progress_stopped(p))
            return err_set(err, -ECANCELED, "%s: stopped", x->c.path);
    }
    return true;
}

/* ---- the reader ---- */

static void splayed_close(void *reader)
{
    struct splayed *x = reader;
    for (unsigned i = 0; i < x->n; i++)
        if (x->source[i].open)
            kdb_close(&x->source[i].file);
    for (unsigned i = 0; i < x->ndomains; i++) {
        free(x->domain[i].image);
        free(x->domain[i].text);
        free(x->domain[i].len);
        free(x->domain[i].code);
    }
    load_block_destroy(x->block);
    free(x->source);
    free(x);
}

static void *splayed_open(const struct load_reader_config *c, struct err *err)
{
    struct splayed *x = calloc(1, sizeof *x);
    if (!x) {
        err_set(err, -ENOMEM, "no memory to read %s", c->path);
        return NULL;
    }
    x->c = *c;
    x->schema = &c->recipe->tables[0];
    load_days_init(&x->days, c->recipe->calendar_tz, c->recipe->eod_s);
    x->block = load_block_create(x->schema, 0, 0, err);
    if (x->block)
        return x;
    splayed_close(x);
    return NULL;
}

static bool splayed_feed(void *reader, const uint8_t *bytes, size_t n, bool last, size_t *used,
                         struct err *err)
{
    (void)bytes, (void)last;
    *used = n;
    return run(reader, err);
}

const struct load_reader load_reader_splayed = {.name = "splayed",
                                                .whole = true,
                                                .open = splayed_open,
                                                .feed = splayed_feed,
                                                .close = splayed_close};
