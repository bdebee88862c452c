/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/schema.h"
#include "hdb_private.h"
#include "hdb_verify.h"

/* One table of one date under the lens. */
struct lens {
    struct hdb *h;
    struct hdb_verify *v;
    struct content_symbols *symbols;
    struct hdb_checked r;
    const struct hdb_table *newest; /* NULL: it cannot be told */
    char path[HDB_PATH];
    int dir;
    char *names_image;
    const char *name[SCHEMA_COLUMNS_MAX * 4];
    unsigned n;
    struct kdb_column *col; /* type 0: could not be opened */
    bool bad_names;
    struct hdb_meta meta;
    bool has_meta;
};

__attribute__((format(printf, 5, 6))) static void say(struct lens *l, enum hdb_severity severity,
                                                      const char *what, const char *column,
                                                      const char *fmt, ...)
{
    char text[HDB_PATH + 500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    struct hdb_finding f = {severity, l->r.date, l->r.table ? l->r.table : "", column, what, text};
    if (severity == HDB_DAMAGE) {
        l->r.damages++;
        l->v->damages++;
    } else {
        l->r.notes++;
        l->v->notes++;
    }
    if (l->v->found)
        l->v->found(l->v->arg, &f);
}

/* ---- names and files ---- */

static bool take_name(void *arg, const char *text, size_t len)
{
    struct lens *l = arg;
    if (!len || len > 250 || *text == '.' || memchr(text, '/', len) || l->n == PST_COUNT(l->name)) {
        l->bad_names = true;
        return false;
    }
    l->name[l->n++] = text;
    return true;
}

static int named(const struct lens *l, const char *name, size_t len)
{
    for (unsigned i = 0; i < l->n; i++)
        if (strlen(l->name[i]) == len && !memcmp(l->name[i], name, len))
            return (int)i;
    return -1;
}

static bool read_names(struct lens *l)
{
    struct stat st;
    struct err err = {0};
    size_t torn = 0;
    int fd = openat(l->dir, ".d", O_RDONLY | O_CLOEXEC);
    ssize_t got = -1;
    if (fd >= 0 && !fstat(fd, &st) && st.st_size <= 1 << 20) {
        l->names_image = malloc((size_t)st.st_size + 1);
        got = l->names_image ? pread(fd, l->names_image, (size_t)st.st_size, 0) : -1;
    }
    if (fd >= 0)
        close(fd);
    if (got < 0 ||
        !kdb_symbols_parse(l->names_image, (size_t)got, take_name, l, &torn, ".d", &err) || torn ||
        l->bad_names || !l->n) {
        say(l, HDB_DAMAGE, "names", "", "%s/.d: is no list of columns", l->path);
        return false;
    }
    for (unsigned i = 1; i < l->n; i++)
        for (unsigned k = 0; k < i; k++)
            if (!strcmp(l->name[i], l->name[k])) {
                say(l, HDB_DAMAGE, "names", l->name[i], "%s/.d: names %s twice", l->path,
                    l->name[i]);
                return false;
            }
    return true;
}

static void look_for_strangers(struct lens *l)
{
    int fd = openat(l->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e;
    while (d && (e = readdir(d))) {
        size_t n = strlen(e->d_name);
        struct stat st;
        if (!fstatat(l->dir, e->d_name, &st, 0) && S_ISREG(st.st_mode))
            l->r.bytes += (uint64_t)st.st_size;
        while (n > 1 && e->d_name[n - 1] == '#')
            n--;
        if (*e->d_name != '.' && named(l, e->d_name, n) < 0)
            say(l, HDB_NOTE, "names", e->d_name, "%s/%s: is not named in .d", l->path, e->d_name);
    }
    if (d)
        closedir(d);
}

/* Bytes behind the last value: a write that was cut short, or another count than the header's. */
static void check_size(struct lens *l, unsigned i)
{
    const struct kdb_column *c = &l->col[i];
    struct stat st;
    if (c->compressed || c->attribute > 1 || (c->shape != KDB_VECTOR && c->shape != KDB_ENUM64) ||
        fstatat(l->dir, l->name[i], &st, 0))
        return;
    uint64_t want = kdb_file_bytes(c->type, c->rows);
    if ((uint64_t)st.st_size != want)
        say(l, HDB_DAMAGE, "file", l->name[i], "%s/%s: has %llu bytes behind its last value",
            l->path, l->name[i], (unsigned long long)((uint64_t)st.st_size - want));
}

/* ---- types and values ---- */

static void check_type(struct lens *l, unsigned i)
{
    const struct kdb_column *c = &l->col[i];
    int k = l->newest ? hdb_table_column(l->newest, l->name[i]) : -1;
    uint8_t now = k >= 0 ? l->newest->col[k].type : 0;
    if (!now || now == c->type || (c->shape == KDB_SYMBOLS && !c->rows))
        return;
    bool fits = hdb_can_widen(c->type, now);
    say(l, fits ? HDB_NOTE : HDB_DAMAGE, "type", l->name[i],
        "%s/%s: is of type %s, on %s of type %s%s", l->path, l->name[i], type_name(c->type),
        civil_format(l->newest->newest, (char[CIVIL_TEXT]){0}), type_name(now),
        fits ? "; it is widened" : "; the one cannot be read as the other");
}

static void check_enumeration(struct lens *l, unsigned i)
{
    const struct kdb_column *c = &l->col[i];
    const int64_t *v = c->values;
    if (strcmp(c->domain, "sym") != 0) {
        say(l, HDB_NOTE, "enumeration", l->name[i],
            "%s/%s: is enumerated over %s; only sym is read", l->path, l->name[i], c->domain);
        return;
    }
    int64_t count = (int64_t)hdb_symbol_count(l->h);
    uint64_t bad = 0, first = 0;
    for (uint64_t r = 0; r < c->rows; r++)
        if (v[r] >= count || (v[r] < 0 && v[r] != PST_NULL_LONG))
            first = bad++ ? first : r;
    if (bad)
        say(l, HDB_DAMAGE, "enumeration", l->name[i],
            "%s/%s: %llu of its indexes are not in sym, which has %lld names; the first is %lld in "
            "row %llu",
            l->path, l->name[i], (unsigned long long)bad, (long long)count, (long long)v[first],
            (unsigned long long)first);
}

static void check_boolean(struct lens *l, unsigned i)
{
    const uint8_t *v = l->col[i].values;
    for (uint64_t r = 0; r < l->col[i].rows; r++)
        if (v[r] > 1) {
            say(l, HDB_DAMAGE, "type", l->name[i], "%s/%s: row %llu is %u and no boolean", l->path,
                l->name[i], (unsigned long long)r, v[r]);
            return;
        }
}

static double number(const struct kdb_column *c, uint64_t r)
{
    switch (c->type) {
    case PST_FLOAT:
        return ((const double *)c->values)[r];
    case PST_REAL:
        return (double)((const float *)c->values)[r];
    case PST_SHORT:
        return ((const int16_t *)c->values)[r];
    case PST_BOOLEAN:
    case PST_BYTE:
    case PST_CHAR:
        return ((const uint8_t *)c->values)[r];
    default:
        return ((const int32_t *)c->values)[r];
    }
}

/* Attribute s: ascending, nulls first. */
static void check_sorted(struct lens *l, unsigned i)
{
    const struct kdb_column *c = &l->col[i];
    if (c->attribute != 1 || c->type == PST_STRING || c->type == PST_GUID)
        return;
    for (uint64_t r = 1; r < c->rows; r++) {
        bool down;
        if (kdb_width(c->type) == 8 && c->type != PST_FLOAT)
            down = ((const int64_t *)c->values)[r] < ((const int64_t *)c->values)[r - 1];
        else
            down = number(c, r) < number(c, r - 1) ||
                   (isnan(number(c, r)) && !isnan(number(c, r - 1)));
        if (down) {
            say(l, HDB_DAMAGE, "order", l->name[i], "%s/%s: claims to be sorted; row %llu is not",
                l->path, l->name[i], (unsigned long long)r);
            return;
        }
    }
}

static void open_columns(struct lens *l)
{
    bool known = l->has_meta;
    l->r.rows = l->has_meta ? l->meta.rows : 0;
    for (unsigned i = 0; i < l->n; i++) {
        struct kdb_column *c = &l->col[i];
        struct err err = {0};
        if (!kdb_open(c, l->dir, l->name[i], &err)) {
            say(l, err.code == -ENOTSUP ? HDB_NOTE : HDB_DAMAGE, "file", l->name[i], "%s/%s",
                l->path, err.text);
            continue;
        }
        if (!known) {
            known = true;
            l->r.rows = c->rows;
        }
        if (c->rows != l->r.rows)
            say(l, HDB_DAMAGE, "length", l->name[i], "%s/%s: has %llu rows, %s %llu", l->path,
                l->name[i], (unsigned long long)c->rows,
                l->has_meta ? ".pstmeta says" : "the columns before it have",
                (unsigned long long)l->r.rows);
        check_size(l, i);
        check_type(l, i);
        if (c->type == PST_SYMBOL)
            check_enumeration(l, i);
        if (c->type == PST_BOOLEAN)
            check_boolean(l, i);
        check_sorted(l, i);
    }
}

static const struct kdb_column *column(const struct lens *l, const char *name, uint8_t type)
{
    int i = named(l, name, strlen(name));
    return i >= 0 && l->col[i].type == type && l->col[i].rows == l->r.rows ? &l->col[i] : NULL;
}

/* ---- order and parted index ---- */

static int text_order(struct hdb *h, int64_t a, int64_t b)
{
    uint32_t n, m;
    const char *x = hdb_symbol_text(h, a, &n), *y = hdb_symbol_text(h, b, &m);
    if (!x || !y)
        return 0; /* said by check_enumeration */
    int c = memcmp(x, y, n < m ? n : m);
    return c ? c : (n > m) - (n < m);
}

static void check_index(struct lens *l, const struct hdb_index *want)
{
    struct hdb_index x;
    struct err err = {0};
    char path[HDB_PATH + 16];
    snprintf(path, sizeof path, "%s/%s", l->path, HDB_PART_NAME);
    if (!hdb_index_read(&x, l->dir, path, &err)) {
        if (err.code != -ENOENT)
            say(l, HDB_DAMAGE, "index", "", "%s", err.text);
        return;
    }
    if (!want || x.ngroups != want->ngroups || x.rows != want->rows ||
        (x.time_sorted && !want->time_sorted) ||
        (x.ngroups && memcmp(x.group, want->group, x.ngroups * sizeof *x.group) != 0))
        say(l, HDB_DAMAGE, "index", "", "%s: is not the index of these columns", path);
    hdb_index_free(&x);
}

static void check_order(struct lens *l)
{
    const struct kdb_column *sym = column(l, "sym", PST_SYMBOL),
                            *time = column(l, "time", PST_TIMESTAMP);
    struct hdb_index x = {0};
    struct err err = {0};
    if (!sym)
        return;
    l->r.parted = hdb_index_compute(&x, sym->values, time ? time->values : NULL, l->r.rows, &err);
    l->r.ordered = l->r.parted && (x.time_sorted || !time);
    for (uint64_t i = 1; l->r.ordered && i < x.ngroups; i++)
        l->r.ordered = text_order(l->h, x.group[i - 1].sym, x.group[i].sym) < 0;
    if (!l->r.parted)
        say(l, HDB_NOTE, "parted", "sym",
            "%s: the rows of a symbol are not together, so p# cannot be applied", l->path);
    if (l->has_meta && l->meta.sorted && !l->r.ordered)
        say(l, HDB_DAMAGE, "order", "sym", "%s: is not ordered by symbol text and time", l->path);
    check_index(l, l->r.parted ? &x : NULL);
    hdb_index_free(&x);
}

/* ---- meta and hash ---- */

static void read_meta(struct lens *l)
{
    struct err err = {0};
    char path[HDB_PATH + 16];
    snprintf(path, sizeof path, "%s/%s", l->path, HDB_META_NAME);
    l->has_meta = hdb_meta_read(&l->meta, l->dir, path, &err);
    if (!l->has_meta && err.code != -ENOENT)
        say(l, HDB_DAMAGE, "meta", "", "%s", err.text);
    l->r.ours = l->has_meta;
}

static void check_meta(struct lens *l)
{
    const struct hdb_meta *m = &l->meta;
    if (!l->has_meta)
        return;
    if (strcmp(m->table, l->r.table) != 0 || m->date != l->r.date)
        say(l, HDB_DAMAGE, "meta", "", "%s/%s: is that of table %s of %s", l->path, HDB_META_NAME,
            m->table, civil_format(m->date, (char[CIVIL_TEXT]){0}));
    bool same = m->ncols == l->n;
    for (unsigned i = 0; same && i < l->n; i++)
        same = !strcmp(m->col[i].name, l->name[i]) &&
               (!l->col[i].type || l->col[i].type == m->col[i].type);
    if (!same)
        say(l, HDB_DAMAGE, "meta", "", "%s/%s: names other columns or types than there are",
            l->path, HDB_META_NAME);
    const struct kdb_column *time = column(l, "time", PST_TIMESTAMP);
    if (!time || !m->has_times)
        return;
    const int64_t *t = time->values;
    for (uint64_t r = 0; r < time->rows; r++)
        if (t[r] != PST_NULL_LONG && (t[r] < m->time_min || t[r] > m->time_max)) {
            say(l, HDB_DAMAGE, "meta", "time",
                "%s/%s: row %llu has a time outside the range it says, so queries may miss it",
                l->path, HDB_META_NAME, (unsigned long long)r);
            return;
        }
}

static void hash_column(const struct content_columns *keys, unsigned i, const struct kdb_column *c,
                        hash_acc *acc, uint64_t at, uint32_t n, const int64_t *rxtime,
                        bool captured, struct content_symbols *symbols)
{
    const uint8_t *values = (const uint8_t *)c->values + at * kdb_width(c->type);
    if (c->type == PST_SYMBOL) {
        content_columns_indexes(keys, i, acc, (const int64_t *)values, n, symbols);
    } else if (c->type == PST_STRING) {
        const int64_t *end = (const int64_t *)values;
        int64_t from = at ? end[-1] : 0;
        for (uint32_t r = 0; r < n; from = end[r++])
            if (end[r] > from)
                content_columns_string(keys, i, &acc[r], c->bytes + from,
                                       (uint32_t)(end[r] - from));
    } else {
        content_columns_add(keys, i, acc, values, rxtime, n, captured);
    }
}

static void check_hash(struct lens *l)
{
    struct schema s = {.feed = l->meta.feed, .ncols = (uint16_t)l->n};
    const struct kdb_column *rx = NULL;
    for (unsigned i = 0; i < l->n; i++)
        if (!l->col[i].type || l->col[i].rows != l->r.rows)
            return; /* said already */
    struct content_columns *keys = malloc(sizeof *keys);
    hash_acc *acc = malloc(CONTENT_BLOCK * sizeof *acc);
    if (keys && acc) {
        memcpy(s.name, l->meta.table, sizeof s.name);
        for (unsigned i = 0; i < l->n; i++) {
            snprintf(s.col[i].name, sizeof s.col[i].name, "%s", l->name[i]);
            s.col[i].type = l->col[i].type;
        }
        content_columns_init(keys, &s);
        if (keys->rxtime >= 0)
            rx = &l->col[keys->rxtime];
        for (uint64_t at = 0; at < l->r.rows; at += CONTENT_BLOCK) {
            uint32_t n =
                l->r.rows - at < CONTENT_BLOCK ? (uint32_t)(l->r.rows - at) : CONTENT_BLOCK;
            memset(acc, 0, n * sizeof *acc);
            for (unsigned i = 0; i < l->n; i++)
                hash_column(keys, i, &l->col[i], acc, at, n,
                            rx ? (const int64_t *)rx->values + at : NULL, l->meta.captured,
                            l->symbols);
            content_columns_end(keys, acc, NULL, n, &l->r.hash);
        }
        l->r.hashed = true;
        l->r.same = l->r.hash.lo == l->meta.hash.lo && l->r.hash.hi == l->meta.hash.hi;
        char want[33], got[33];
        if (!l->r.same)
            say(l, HDB_DAMAGE, "hash", "", "%s: its rows hash to %s, when they were written to %s",
                l->path, hash128_text(l->r.hash, got), hash128_text(l->meta.hash, want));
    }
    free(keys);
    free(acc);
}

/* ---- tables, dates, database ---- */

static void table_close(struct lens *l)
{
    for (unsigned i = 0; l->col && i < l->n; i++)
        kdb_close(&l->col[i]);
    free(l->col);
    free(l->names_image);
    if (l->newest)
        hdb_table_put(l->newest);
    if (l->dir >= 0)
        close(l->dir);
}

static bool table_verify(struct hdb *h, struct hdb_verify *v, struct content_symbols *symbols,
                         int32_t date, const char *table, struct err *err)
{
    struct lens *l = calloc(1, sizeof *l);
    struct err e = {0};
    if (!l)
        return err_set(err, -ENOMEM, "%s: no memory", table);
    *l = (struct lens){.h = h, .v = v, .symbols = symbols, .r = {.date = date, .table = table}};
    pthread_mutex_lock(&h->lock);
    bool ok = hdb_table_dir(h, date, table, l->path, &e);
    pthread_mutex_unlock(&h->lock);
    l->dir = ok ? open(l->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (!ok) {
        say(l, HDB_DAMAGE, "disk", "", "%s", e.text);
    } else if (l->dir < 0) {
        say(l, HDB_DAMAGE, "names", "", "%s: %s", l->path, strerror(errno));
    } else if (read_names(l)) {
        l->newest = hdb_table_get(h, table, &e);
        l->r.columns = l->n;
        l->col = calloc(l->n, sizeof *l->col);
        if (!l->col) {
            table_close(l);
            free(l);
            return err_set(err, -ENOMEM, "%s: no memory", table);
        }
        look_for_strangers(l);
        read_meta(l);
        open_columns(l);
        check_order(l);
        check_meta(l);
        if (v->hash && l->has_meta && l->meta.has_hash && l->n <= SCHEMA_COLUMNS_MAX)
            check_hash(l);
    }
    v->tables++;
    v->rows += l->r.rows;
    v->bytes += l->r.bytes;
    v->ready += l->r.parted;
    v->hashed += l->r.hashed;
    v->unhashed += v->hash && !l->r.hashed;
    if (v->checked)
        v->checked(v->arg, &l->r);
    table_close(l);
    free(l);
    return true;
}

static void note_missing(struct hdb *h, struct hdb_verify *v, int32_t date, char **all, unsigned n,
                         char **have, unsigned m)
{
    struct lens l = {.h = h, .v = v, .r = {.date = date}};
    for (unsigned i = 0; i < n; i++) {
        unsigned k = 0;
        while (k < m && strcmp(all[i], have[k]) != 0)
            k++;
        l.r.table = all[i];
        if (k == m)
            say(&l, HDB_NOTE, "missing", "",
                "%s has no table %s; penstock hdb fill writes it empty",
                civil_format(date, (char[CIVIL_TEXT]){0}), all[i]);
    }
}

/* Directories of a date without `.d`: no reader sees them, and nobody else says that they are
 * there. */
static void note_torsos(struct hdb *h, struct hdb_verify *v, int32_t date)
{
    char dir[HDB_PATH], probe[300];
    struct lens l = {.h = h, .v = v, .r = {.date = date}};
    DIR *d = hdb_date_dir(h, date, dir) ? opendir(dir) : NULL;
    const struct dirent *e;
    while (d && (e = readdir(d))) {
        snprintf(probe, sizeof probe, "%.255s/.d", e->d_name);
        if (!hdb_name_visible(e->d_name) || !faccessat(dirfd(d), probe, F_OK, 0))
            continue;
        l.r.table = e->d_name;
        say(&l, HDB_DAMAGE, "names", "", "%s/%s: has no .d, so neither q nor Penstock sees it", dir,
            e->d_name);
    }
    if (d)
        closedir(d);
}

static bool count_name(void *arg, const char *text, size_t len)
{
    (void)text, (void)len;
    ++*(uint64_t *)arg;
    return true;
}

static void sym_verify(struct hdb *h, struct hdb_verify *v)
{
    struct lens l = {.h = h, .v = v, .r = {.date = INT32_MIN, .table = ""}};
    char path[HDB_PATH + 8];
    struct err err = {0};
    struct stat st;
    uint64_t names = 0;
    size_t torn = 0;
    snprintf(path, sizeof path, "%s/sym", h->root);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        if (errno != ENOENT || h->ndates)
            say(&l, HDB_DAMAGE, "sym", "", "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return;
    }
    char *b = malloc((size_t)st.st_size + 1);
    ssize_t n = b ? pread(fd, b, (size_t)st.st_size, 0) : -1;
    close(fd);
    if (n < 0 || !kdb_symbols_parse(b, (size_t)n, count_name, &names, &torn, path, &err))
        say(&l, HDB_DAMAGE, "sym", "", "%s", n < 0 ? "sym cannot be read" : err.text);
    else if (torn)
        say(&l, HDB_NOTE, "sym", "",
            "%s: ends with %zu bytes of a name that was not finished; the next end of day cuts "
            "them",
            path, torn);
    free(b);
    uint64_t twice = 0;
    for (uint64_t i = 0; i < names; i++) {
        uint32_t len;
        const char *t = hdb_symbol_text(h, (int64_t)i, &len);
        int64_t first = t && len ? hdb_symbol_find(h, t, len) : (int64_t)i;
        if (first != (int64_t)i && first >= 0 && !twice++)
            say(&l, HDB_DAMAGE, "sym", "", "%s: '%.*s' stands twice, at %lld and %llu", path,
                (int)len, t, (long long)first, (unsigned long long)i);
    }
}

static const char *text_of(void *arg, uint64_t index, uint32_t *len)
{
    return hdb_symbol_text(arg, (int64_t)index, len);
}

static bool date_verify(struct hdb *h, struct hdb_verify *v, struct content_symbols *symbols,
                        int32_t date, char **all, unsigned n, struct err *err)
{
    char **names;
    unsigned m;
    if (!hdb_date_tables(h, date, &names, &m, err))
        return false;
    bool ok = true, any = false;
    v->dates++;
    for (unsigned i = 0; ok && i < m; i++)
        if (!v->table || !strcmp(v->table, names[i])) {
            any = true;
            ok = table_verify(h, v, symbols, date, names[i], err);
        }
    if (ok && !v->table) {
        note_torsos(h, v, date);
        note_missing(h, v, date, all, n, names, m);
    }
    if (ok && v->table && !any)
        ok = err_set(err, -ENOENT, "%s: %s has no table %s", hdb_root(h),
                     civil_format(date, (char[CIVIL_TEXT]){0}), v->table);
    hdb_names_free(names, m);
    return ok;
}

bool hdb_verify(struct hdb *h, struct hdb_verify *v, struct err *err)
{
    struct content_symbols symbols = {0};
    const int32_t *dates;
    char **all = NULL;
    unsigned n = 0;
    uint32_t ndates = hdb_dates(h, &dates);
    bool ok = (!v->hash || content_symbols_init(&symbols, hdb_symbol_count(h), text_of, h, err)) &&
              hdb_tables(h, true, &all, &n, err);
    if (ok && !v->one_date)
        sym_verify(h, v);
    if (ok && v->one_date)
        ok = date_verify(h, v, &symbols, v->date, all, n, err);
    for (uint32_t i = 0; ok && !v->one_date && i < ndates; i++)
        ok = date_verify(h, v, &symbols, dates[i], all, n, err);
    hdb_names_free(all, n);
    if (v->hash)
        content_symbols_free(&symbols);
    return ok;
}
