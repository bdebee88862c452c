/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "hdb_maintain.h"

#define PIECE_ROWS 65536u

__attribute__((format(printf, 2, 3))) static void tell(const struct hdb_work *w, const char *fmt,
                                                       ...)
{
    char text[1600];
    va_list ap;
    if (!w->step)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    w->step(w->arg, text);
}

static const char *day(int32_t date)
{
    static char buf[4][CIVIL_TEXT];
    static unsigned at;
    return civil_format(date, buf[at++ % 4]);
}

/* ---- add column ---- */

struct names {
    char text[SCHEMA_COLUMNS_MAX * 4][256];
    const char *list[SCHEMA_COLUMNS_MAX * 4];
    unsigned n;
};

static bool take_name(void *arg, const char *text, size_t len)
{
    struct names *l = arg;
    if (l->n + 1 >= PST_COUNT(l->list) || len >= sizeof l->text[0])
        return false;
    memcpy(l->text[l->n], text, len);
    l->text[l->n][len] = 0;
    l->list[l->n] = l->text[l->n];
    l->n++;
    return true;
}

/* `.d` of one table directory. */
static bool read_names(const char *dir, struct names *l, struct err *err)
{
    char path[1300], buf[1 << 16];
    size_t torn;
    l->n = 0;
    snprintf(path, sizeof path, "%.1200s/.d", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, buf, sizeof buf, 0);
    int e = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return err_set(err, -e, "%s: %s", path, strerror(e));
    return kdb_symbols_parse(buf, (size_t)n, take_name, l, &torn, path, err);
}

static bool has_name(const struct names *l, const char *name)
{
    for (unsigned i = 0; i < l->n; i++)
        if (!strcmp(l->list[i], name))
            return true;
    return false;
}

/* The type's null, as it stands in the file. */
static void null_value(uint8_t type, uint8_t out[16])
{
    memset(out, 0, 16);
    switch (type) {
    case PST_SHORT:
        put16(out, (uint16_t)PST_NULL_SHORT);
        break;
    case PST_REAL:
        put32(out, PST_NULL_REAL_BITS);
        break;
    case PST_FLOAT:
        put64(out, PST_NULL_FLOAT_BITS);
        break;
    case PST_CHAR:
        out[0] = PST_NULL_CHAR;
        break;
    case PST_BOOLEAN:
    case PST_BYTE:
    case PST_GUID:
    case PST_STRING:
        break;
    default:
        if (kdb_width(type) == 4)
            put32(out, (uint32_t)PST_NULL_INT);
        else
            put64(out, (uint64_t)PST_NULL_LONG);
    }
}

/* n times the same text, in pieces of about a megabyte. */
static bool write_copies(struct kdb_writer *f, uint64_t at, const void *text, uint32_t len,
                         uint64_t n, struct err *err)
{
    uint64_t many = len < 1u << 20 ? (1u << 20) / len : 1;
    many = many < n ? many : n;
    uint8_t *b = malloc(many * len);
    if (!b)
        return err_set(err, -ENOMEM, "%s: no memory", f->path);
    for (uint64_t i = 0; i < many; i++)
        memcpy(b + i * len, text, len);
    bool ok = true;
    for (uint64_t done = 0; ok && done < n; done += many) {
        uint64_t k = n - done < many ? n - done : many;
        ok = kdb_write_bytes(f, at + done * len, b, k * len, err);
    }
    free(b);
    return ok;
}

static bool write_column(struct hdb_work *w, const char *dir, const char *name, uint8_t type,
                         const void *value, uint32_t len, uint64_t rows, struct err *err)
{
    unsigned width = kdb_width(type);
    char path[1300];
    struct kdb_writer f;
    uint8_t null[16];
    uint8_t *piece = malloc(PIECE_ROWS * 16);
    snprintf(path, sizeof path, "%.1000s/%.250s", dir, name);
    if (!piece)
        return err_set(err, -ENOMEM, "%s: no memory", path);
    null_value(type, null);
    if (!kdb_write_open(&f, w->io, path, type, err)) {
        free(piece);
        return false;
    }
    bool ok = true, strings = type == PST_STRING;
    if (!strings)
        for (uint32_t i = 0; i < PIECE_ROWS; i++)
            memcpy(piece + (size_t)i * width, value ? value : null, width);
    for (uint64_t at = 0; ok && at < rows; at += PIECE_ROWS) {
        uint64_t n = rows - at < PIECE_ROWS ? rows - at : PIECE_ROWS;
        uint64_t text = value ? len : 0;
        for (uint64_t i = 0; strings && i < n; i++)
            put64(piece + 8 * i, (at + i + 1) * text);
        ok = kdb_write_at(&f, at, piece, n, err);
        if (ok && strings && text)
            ok = write_copies(&f, at * text, value, len, n, err);
    }
    free(piece);
    w->bytes += rows * (width + (strings && value ? len : 0));
    if (ok)
        return kdb_write_close(&f, rows, 0, true, err);
    kdb_write_abandon(&f);
    return false;
}

/* The column is in .pstmeta, behind the others. A table without one has nothing to change. */
static bool update_meta(struct hdb_work *w, const char *dir, const char *name, uint8_t type,
                        bool null, struct err *err)
{
    struct hdb_meta *m = malloc(sizeof *m);
    struct err e = {0};
    bool ok = true;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m && fd >= 0 && hdb_meta_read(m, fd, dir, &e)) {
        unsigned i = 0;
        while (i < m->ncols && strcmp(m->col[i].name, name) != 0)
            i++;
        if (i == m->ncols && i < SCHEMA_COLUMNS_MAX && strlen(name) < SCHEMA_NAME_MAX) {
            strcpy(m->col[i].name, name);
            m->col[i].type = type;
            m->ncols++;
            m->has_hash &= null;
            ok = hdb_meta_write(m, w->io, dir, true, true, err);
        }
    } else if (e.code == -EBADMSG) {
        ok = err_set(err, e.code, "%s: %s; see penstock hdb verify", dir, e.text);
    }
    if (fd >= 0)
        close(fd);
    free(m);
    return ok;
}

static bool replace_names(struct hdb_work *w, const char *dir, struct names *l, const char *name,
                          struct err *err)
{
    char path[1300], fresh[1310];
    snprintf(path, sizeof path, "%.1200s/.d", dir);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    if (!take_name(l, name, strlen(name)))
        return err_set(err, -E2BIG, "%s: has too many columns", path);
    if (!kdb_write_symbols(w->io, fresh, l->list, l->n, true, err))
        return false;
    int r = w->io->ops->sync_dir(w->io, dir); /* the column's name, before `.d` speaks of it */
    if (r >= 0)
        r = w->io->ops->rename(w->io, fresh, path);
    if (r >= 0)
        r = w->io->ops->sync_dir(w->io, dir);
    return r >= 0 || err_set(err, r, "%s: cannot be replaced: %s", path, strerror(-r));
}

/* One date. done: it had the column. look: change nothing, only see whether it can be done. */
static bool add_to_date(struct hdb_work *w, const struct hdb_part *p, struct names *l,
                        const char *name, uint8_t type, const void *value, uint32_t len, bool look,
                        bool *done, struct err *err)
{
    struct kdb_column head;
    struct err e = {0};
    *done = false;
    if (!read_names(p->path, l, err))
        return false;
    if (has_name(l, name)) {
        char path[1300];
        snprintf(path, sizeof path, "%.1000s/%.250s", p->path, name);
        if (!kdb_open_head(&head, AT_FDCWD, path, &e))
            return err_set(err, e.code, "%s", e.text);
        uint8_t is = head.type;
        bool empty = head.shape == KDB_SYMBOLS;
        kdb_close(&head);
        if (is != type && !empty)
            return err_set(err, -EEXIST, "%s: exists already and is of type %s", path,
                           type_name(is));
        *done = true;
        return look || w->dry_run || update_meta(w, p->path, name, type, !value, err);
    }
    if (look || w->dry_run)
        return true;
    return write_column(w, p->path, name, type, value, len, p->rows, err) &&
           update_meta(w, p->path, name, type, !value, err) &&
           replace_names(w, p->path, l, name, err);
}

static bool good_name(const char *name)
{
    size_t n = strlen(name);
    if (!n || n >= SCHEMA_NAME_MAX || !strcmp(name, "date"))
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (!i || !((c >= '0' && c <= '9') || c == '_')))
            return false;
    }
    return true;
}

bool hdb_add_column(struct hdb_work *w, const char *table, const char *name, uint8_t type,
                    const void *value, uint32_t len, struct err *err)
{
    const int32_t *dates;
    uint32_t n = hdb_dates(w->hdb, &dates);
    if (!good_name(name))
        return err_set(
            err, -EINVAL,
            "'%.60s' is no name of a column: letters, digits and _, not longer than %d, not "
            "date",
            name, SCHEMA_NAME_MAX - 1);
    if (!kdb_width(type))
        return err_set(err, -EINVAL, "%s: type %u is not written", name, type);
    const struct hdb_table *t = hdb_table_get(w->hdb, table, err);
    struct names *l = t ? malloc(sizeof *l) : NULL;
    bool ok = l || (t && err_set(err, -ENOMEM, "%s: no memory", table));
    /* twice over the dates: the first pass finds what would stop the second one half way */
    for (int look = 1; ok && look >= 0; look--)
        for (uint32_t i = 0; ok && i < n; i++) {
            struct err e = {0};
            const struct hdb_part *p = hdb_part_get(t, dates[i], &e);
            bool done;
            if (!p && e.code == -ENOENT)
                continue;
            ok = p || err_set(err, e.code, "%s", e.text);
            ok = ok && add_to_date(w, p, l, name, type, value, len, look, &done, err);
            if (ok && !look) {
                w->dates += !done;
                w->already += done;
                w->rows += done ? 0 : p->rows;
                if (!done)
                    tell(w, "%s %s: %s column %s to %llu rows", day(dates[i]), table,
                         w->dry_run ? "would add" : "added", name, (unsigned long long)p->rows);
            }
            if (p)
                hdb_part_put(p);
        }
    free(l);
    if (t)
        hdb_table_put(t);
    return ok;
}

/* ---- drop ---- */

struct sum {
    struct io *io;
    const char *dir;
    uint64_t bytes;
};
static bool add_size(void *arg, const char *name)
{
    struct sum *s = arg;
    char path[1400];
    struct io_stat st;
    snprintf(path, sizeof path, "%.1100s/%.255s", s->dir, name);
    if (s->io->ops->stat(s->io, path, &st) < 0)
        return true;
    if (st.directory) {
        struct sum below = {s->io, path, 0};
        s->io->ops->list(s->io, path, add_size, &below);
        s->bytes += below.bytes;
    } else {
        s->bytes += st.size;
    }
    return true;
}

/* One date on one disk. */
static bool drop_date(struct hdb_work *w, const char *disk, int32_t date, struct err *err)
{
    char dir[1200];
    struct io_stat st;
    snprintf(dir, sizeof dir, "%.1100s/%s", disk, day(date));
    if (w->io->ops->stat(w->io, dir, &st) == -ENOENT)
        return true;
    struct sum s = {w->io, dir, 0};
    w->io->ops->list(w->io, dir, add_size, &s);
    bool large = s.bytes >= 10u << 20;
    tell(w, "%s: %s %llu %s in %s", day(date), w->dry_run ? "would delete" : "deletes",
         (unsigned long long)(s.bytes >> (large ? 20 : 10)), large ? "MiB" : "KiB", dir);
    w->bytes += s.bytes;
    w->dates++;
    return w->dry_run || hdb_stage_withdraw(w->io, disk, date, "drop-before", err);
}

bool hdb_drop_before(struct hdb_work *w, int32_t date, struct err *err)
{
    const int32_t *dates;
    uint32_t n = hdb_dates(w->hdb, &dates);
    for (uint32_t i = 0; i < n && dates[i] < date; i++)
        for (unsigned d = 0; d < hdb_ndisks(w->hdb); d++)
            if (!drop_date(w, hdb_disk(w->hdb, d), dates[i], err))
                return false;
    return true;
}

/* ---- fill ---- */

/* The schema of a table's newest date. */
static bool schema_of(const struct hdb_table *t, struct schema *s, struct err *err)
{
    memset(s, 0, sizeof *s);
    if (t->ncols > SCHEMA_COLUMNS_MAX || strlen(t->name) >= SCHEMA_NAME_MAX)
        return err_set(err, -E2BIG, "%s: has more columns or a longer name than can be written",
                       t->name);
    strcpy(s->name, t->name);
    s->ncols = (uint16_t)t->ncols;
    s->feed = t->feed;
    s->nkeys = (uint16_t)t->nkeys;
    memcpy(s->keys, t->keys, sizeof s->keys);
    for (unsigned i = 0; i < t->ncols; i++) {
        if (!t->col[i].type || strlen(t->col[i].name) >= SCHEMA_NAME_MAX)
            return err_set(err, -ENOTSUP, "%s: its column %s cannot be written", t->name,
                           t->col[i].name);
        strcpy(s->col[i].name, t->col[i].name);
        s->col[i].type = t->col[i].type;
    }
    return true;
}

static bool fill_date(struct hdb_work *w, int32_t date, const struct schema *s, unsigned n,
                      struct err *err)
{
    const struct schema *lacks[256];
    char dir[1024], path[1400];
    unsigned k = 0;
    if (!hdb_date_dir(w->hdb, date, dir))
        return true;
    for (unsigned i = 0; i < n && k < PST_COUNT(lacks); i++) {
        struct io_stat st;
        snprintf(path, sizeof path, "%s/%s/.d", dir, s[i].name);
        if (w->io->ops->stat(w->io, path, &st) == -ENOENT)
            lacks[k++] = &s[i];
    }
    if (!k) {
        w->already++;
        return true;
    }
    w->dates++;
    w->tables += k;
    for (unsigned i = 0; i < k; i++)
        tell(w, "%s: %s table %s, empty", day(date), w->dry_run ? "would write" : "writes",
             lacks[i]->name);
    if (w->dry_run)
        return true;
    struct hdb_stage stage;
    if (!hdb_stage_begin(&stage, w->io, w->hdb, date, "fill", err))
        return false;
    if (hdb_stage_fill(&stage, lacks, k, NULL, err) && hdb_stage_publish(&stage, err))
        return true;
    hdb_stage_abandon(&stage);
    return false;
}

bool hdb_fill(struct hdb_work *w, struct err *err)
{
    char **names;
    unsigned n, k = 0;
    const int32_t *dates;
    uint32_t ndates = hdb_dates(w->hdb, &dates);
    if (!hdb_tables(w->hdb, true, &names, &n, err))
        return false;
    struct schema *s = calloc(n + 1, sizeof *s);
    bool ok = s || err_set(err, -ENOMEM, "%s: no memory", hdb_root(w->hdb));
    for (unsigned i = 0; ok && i < n; i++) {
        struct err e = {0};
        const struct hdb_table *t = hdb_table_get(w->hdb, names[i], &e);
        if (t && schema_of(t, &s[k], &e))
            k++;
        else
            tell(w, "left out: %s", e.text);
        if (t)
            hdb_table_put(t);
    }
    for (uint32_t i = 0; ok && i < ndates; i++)
        ok = fill_date(w, dates[i], s, k, err);
    free(s);
    hdb_names_free(names, n);
    return ok;
}
