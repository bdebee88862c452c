/* SPDX-License-Identifier: Apache-2.0 */
/* hdb_table.c - tables, partitions and columns, each opened when it is first asked for. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/schema.h"
#include "hdb_private.h"

#define NAMES_BYTES (1u << 20) /* a `.d` may not be larger */

/* ---- `.d` ---- */

/* The whole `.d`, and which file it was. */
static bool read_names(int dir, const char *path, struct hdb_ident *id, char **bytes, size_t *len,
                       struct err *err)
{
    struct stat st;
    int fd = openat(dir, ".d", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        return err_set(err, -e, "%s/.d: %s", path, strerror(e));
    }
    hdb_ident_set(id, &st);
    char *b = st.st_size <= NAMES_BYTES ? malloc((size_t)st.st_size + 1) : NULL;
    ssize_t n = b ? pread(fd, b, (size_t)st.st_size, 0) : -1;
    close(fd);
    if (n < 0) {
        free(b);
        return err_set(err, -EBADMSG, "%s/.d: cannot be read as a list of columns", path);
    }
    *bytes = b;
    *len = (size_t)n;
    return true;
}

struct name_walk {
    struct hdb_open_table *t;
    struct hdb_open_part *p;
    unsigned n;
    size_t bytes;
    bool bad;
};

static bool count_name(void *arg, const char *text, size_t len)
{
    struct name_walk *w = arg;
    w->n++;
    w->bytes += len + 1;
    w->bad |= !len || memchr(text, '/', len) || text[0] == '.';
    return !w->bad;
}

static bool take_name(void *arg, const char *text, size_t len)
{
    struct name_walk *w = arg;
    (void)len;
    w->t->col[w->n++].name = text; /* NUL-terminated in name_list */
    return true;
}

static bool name_seen(void *arg, const char *text, size_t len)
{
    struct name_walk *w = arg;
    (void)len;
    int i = hdb_table_column(w->p->pub.table, text);
    if (i >= 0)
        w->p->present[i] = true;
    return true;
}

/* ---- tables ---- */

int hdb_table_column(const struct hdb_table *t, const char *name)
{
    for (unsigned i = 0; i < t->ncols; i++)
        if (!strcmp(t->col[i].name, name))
            return (int)i;
    return -1;
}

static void table_free(struct hdb_open_table *t)
{
    for (unsigned i = 0; t->col && i < t->pub.ncols; i++)
        free((char *)(uintptr_t)t->col[i].refused);
    free(t->col);
    free(t->part);
    free(t->name_list);
    free(t->texts);
    free(t);
}

static void column_kind(struct hdb_column_info *c, int dir, const char *path)
{
    struct kdb_column head;
    struct err err;
    if (kdb_open_head(&head, dir, c->name, &err)) {
        c->type = head.type;
        if (head.type == PST_SYMBOL && strcmp(head.domain, "sym") != 0) {
            err_set(&err, -ENOTSUP, "%s: is enumerated over %s; only sym is read", c->name,
                    head.domain);
            c->type = 0;
        }
        kdb_close(&head);
    }
    if (!c->type) {
        char *text = malloc(HDB_PATH + sizeof err.text);
        if (text)
            snprintf(text, HDB_PATH + sizeof err.text, "%s/%s", path, err.text);
        c->refused = text;
    }
}

static bool table_read(struct hdb_open_table *t, int dir, const char *path, struct err *err)
{
    struct name_walk w = {.t = t};
    size_t torn;
    char name[HDB_PATH + 8];
    snprintf(name, sizeof name, "%s/.d", path);
    if (!read_names(dir, path, &t->names, &t->name_list, &t->name_bytes, err))
        return false;
    struct err e = {0};
    if (!kdb_symbols_parse(t->name_list, t->name_bytes, count_name, &w, &torn, name, &e) || torn)
        return err_set(err, -EBADMSG, "%s: is no list of columns", name);
    t->col = calloc(w.n + 1, sizeof *t->col);
    if (!t->col)
        return err_set(err, -ENOMEM, "%s: no memory", name);
    t->pub.ncols = w.n;
    t->pub.col = t->col;
    w.n = 0;
    kdb_symbols_parse(t->name_list, t->name_bytes, take_name, &w, &torn, name, &e);
    for (unsigned i = 0; i < t->pub.ncols; i++)
        column_kind(&t->col[i], dir, path);
    struct hdb_meta *m = malloc(sizeof *m);
    if (m && hdb_meta_read(m, dir, path, &e)) {
        t->pub.feed = m->feed;
        t->pub.sorted = m->sorted;
        for (unsigned i = 0; i < m->nkeys; i++) {
            int k = hdb_table_column(&t->pub, m->col[m->keys[i]].name);
            if (k >= 0)
                t->pub.keys[t->pub.nkeys++] = (uint16_t)k;
        }
    }
    free(m);
    return true;
}

/* The newest date with the table; -ENOENT: none has it. */
static int newest_dir(struct hdb *h, const char *name, char path[HDB_PATH], int32_t *date)
{
    struct err err;
    for (uint32_t i = h->ndates; i-- > 0;) {
        snprintf(path, HDB_PATH, "%.700s/%s/%.255s", h->disk[h->date[i].disk],
                 civil_format(h->dates[i], (char[CIVIL_TEXT]){0}), name);
        int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            continue;
        if (!faccessat(dir, ".d", F_OK, 0)) {
            *date = h->dates[i];
            if (hdb_table_dir(h, *date, name, path, &err))
                return dir;
        }
        close(dir);
    }
    return -ENOENT;
}

const struct hdb_table *hdb_table_get(struct hdb *h, const char *name, struct err *err)
{
    char path[HDB_PATH];
    struct hdb_open_table *t = NULL;
    if (!hdb_name_visible(name) || strlen(name) > 255) {
        err_set(err, -ENOENT, "%s: '%.100s' is no name of a table", h->root, name);
        return NULL;
    }
    pthread_mutex_lock(&h->lock);
    for (t = h->tables; t; t = t->next)
        if (t->cached && !strcmp(t->pub.name, name))
            break;
    if (t) {
        t->refs++;
        pthread_mutex_unlock(&h->lock);
        return &t->pub;
    }
    int32_t newest = 0;
    int dir = newest_dir(h, name, path, &newest);
    bool ok = dir >= 0 || err_set(err, dir, "%s: no date has a table '%.100s'", h->root, name);
    t = ok ? calloc(1, sizeof *t) : NULL;
    char *texts = t ? strdup(name) : NULL;
    ok = ok && (texts || err_set(err, -ENOMEM, "%s: no memory", path));
    if (texts) {
        t->hdb = h;
        t->texts = texts;
        t->pub.name = texts;
        t->pub.newest = newest;
        ok = table_read(t, dir, path, err);
    }
    if (dir >= 0)
        close(dir);
    if (!ok) {
        if (t)
            table_free(t);
        t = NULL;
    } else {
        t->refs = 1;
        t->cached = true;
        t->next = h->tables;
        h->tables = t;
    }
    pthread_mutex_unlock(&h->lock);
    return t ? &t->pub : NULL;
}

/* ---- partitions ---- */

static void part_free(struct hdb_open_part *p)
{
    unsigned n = p->pub.table->ncols;
    for (unsigned i = 0; p->col && i < n; i++) {
        kdb_close(&p->col[i].file);
        free(p->col[i].converted);
    }
    p->hdb->figures.maps -= p->maps;
    p->hdb->figures.parts_open--;
    hdb_index_free(&p->index);
    pthread_mutex_destroy(&p->lock);
    free(p->col);
    free(p->present);
    free(p->meta);
    free(p);
}

static struct hdb_open_table *table_of(const struct hdb_table *t)
{
    return (struct hdb_open_table *)(uintptr_t)t; /* pub is its first member */
}
static struct hdb_open_part *part_of(const struct hdb_part *p)
{
    return (struct hdb_open_part *)(uintptr_t)p;
}

static uint32_t part_slot(const struct hdb_open_table *t, int32_t date)
{
    uint32_t lo = 0, hi = t->nparts;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (t->part[mid]->pub.date < date)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void part_forget(struct hdb_open_table *t, uint32_t at)
{
    struct hdb_open_part *p = t->part[at];
    memmove(t->part + at, t->part + at + 1, (--t->nparts - at) * sizeof *t->part);
    p->cached = false;
    if (!p->refs)
        part_free(p);
}

static void table_unref(struct hdb_open_table *t) /* lock held */
{
    if (--t->refs || t->cached)
        return;
    while (t->nparts) /* opened through this reference after the table was replaced */
        part_forget(t, t->nparts - 1);
    for (struct hdb_open_table **at = &t->hdb->tables; *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            break;
        }
    table_free(t);
}

void hdb_table_put(const struct hdb_table *pub)
{
    struct hdb_open_table *t = table_of(pub);
    struct hdb *h = t->hdb;
    pthread_mutex_lock(&h->lock);
    table_unref(t);
    pthread_mutex_unlock(&h->lock);
}

/* Does the first column's file have the size that .pstmeta's rows make? One stat in place of
 * reading its header, on each of a thousand dates. */
static bool rows_agree(const struct hdb_open_part *p, int dir)
{
    const struct hdb_meta *m = p->pub.meta;
    struct stat st;
    return m && m->ncols && m->col[0].type != PST_STRING && !fstatat(dir, m->col[0].name, &st, 0) &&
           (uint64_t)st.st_size == kdb_file_bytes(m->col[0].type, m->rows);
}

/* Rows: those of the first column that can be counted. */
static bool part_rows(struct hdb_open_part *p, int dir, struct err *err)
{
    const struct hdb_table *t = p->pub.table;
    struct err e = {0};
    for (unsigned i = 0; i < t->ncols; i++) {
        struct kdb_column head;
        if (!p->present[i])
            continue;
        if (kdb_open_head(&head, dir, t->col[i].name, &e)) {
            p->pub.rows = head.rows;
            kdb_close(&head);
            return true;
        }
        if (e.code != -ENOTSUP)
            break;
    }
    if (p->pub.meta) {
        p->pub.rows = p->pub.meta->rows;
        return true;
    }
    return err_set(err, e.code ? e.code : -EBADMSG, "%s: its rows cannot be counted: %s",
                   p->pub.path, *e.text ? e.text : "none of the table's columns is there");
}

static bool part_read(struct hdb_open_part *p, int dir, struct err *err)
{
    struct hdb_open_table *t = table_of(p->pub.table);
    char *names;
    size_t len, torn = 0;
    struct err e = {0};
    if (!read_names(dir, p->pub.path, &p->names, &names, &len, err))
        return false;
    if (len == t->name_bytes && !memcmp(names, t->name_list, len)) {
        memset(p->present, true, t->pub.ncols);
    } else {
        struct name_walk w = {.p = p};
        if (!kdb_symbols_parse(names, len, name_seen, &w, &torn, ".d", &e) || torn)
            e.code = -EBADMSG;
    }
    free(names);
    if (e.code)
        return err_set(err, -EBADMSG, "%s/.d: is no list of columns", p->pub.path);
    p->meta = malloc(sizeof *p->meta);
    if (p->meta && hdb_meta_read(p->meta, dir, p->pub.path, &e)) {
        p->pub.meta = p->meta;
    } else {
        free(p->meta);
        p->meta = NULL;
    }
    if (rows_agree(p, dir)) {
        p->pub.rows = p->meta->rows;
        return true;
    }
    if (!part_rows(p, dir, err))
        return false;
    if (p->pub.meta && p->pub.meta->rows != p->pub.rows) /* another program rewrote the columns */
        p->pub.meta = NULL;
    return true;
}

static struct hdb_open_part *part_open(struct hdb_open_table *t, int32_t date, struct err *err)
{
    char path[HDB_PATH];
    if (!hdb_table_dir(t->hdb, date, t->pub.name, path, err))
        return NULL;
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        int e = errno;
        err_set(err, -e, "%s: %s", path, e == ENOENT ? "the date has no such table" : strerror(e));
        return NULL;
    }
    struct hdb_open_part *p = calloc(1, sizeof *p + strlen(path) + 1);
    if (p) {
        p->hdb = t->hdb;
        p->pub.table = &t->pub;
        p->pub.date = date;
        p->pub.path = strcpy(p->path, path);
        p->present = calloc(t->pub.ncols + 1, sizeof *p->present);
        p->col = calloc(t->pub.ncols + 1, sizeof *p->col);
        pthread_mutex_init(&p->lock, NULL);
        t->hdb->figures.parts_open++;
    }
    bool ok = p && p->present && p->col;
    if (!ok)
        err_set(err, -ENOMEM, "%s: no memory", path);
    ok = ok && part_read(p, dir, err);
    close(dir);
    if (ok)
        return p;
    if (p)
        part_free(p);
    return NULL;
}

const struct hdb_part *hdb_part_get(const struct hdb_table *pub, int32_t date, struct err *err)
{
    struct hdb_open_table *t = table_of(pub);
    struct hdb_open_part *p = NULL;
    pthread_mutex_lock(&t->hdb->lock);
    uint32_t at = part_slot(t, date);
    if (at < t->nparts && t->part[at]->pub.date == date) {
        p = t->part[at];
    } else {
        if (t->nparts == t->room) {
            uint32_t room = t->room ? 2 * t->room : 64;
            struct hdb_open_part **more = realloc(t->part, room * sizeof *more);
            if (more) {
                t->part = more;
                t->room = room;
            }
        }
        p = t->nparts < t->room ? part_open(t, date, err) : NULL;
        if (t->nparts == t->room)
            err_set(err, -ENOMEM, "%s: no memory", t->pub.name);
        if (p) {
            memmove(t->part + at + 1, t->part + at, (t->nparts - at) * sizeof *t->part);
            t->part[at] = p;
            t->nparts++;
            p->cached = true;
        }
    }
    if (p) {
        p->refs++;
        t->refs++;
    }
    pthread_mutex_unlock(&t->hdb->lock);
    return p ? &p->pub : NULL;
}

void hdb_part_put(const struct hdb_part *pub)
{
    struct hdb_open_part *p = part_of(pub);
    struct hdb_open_table *t = table_of(pub->table);
    struct hdb *h = p->hdb;
    pthread_mutex_lock(&h->lock);
    if (!--p->refs) {
        uint32_t at = part_slot(t, p->pub.date);
        if (!p->cached)
            part_free(p);
        else if (h->figures.maps > HDB_MAPS_MAX && at < t->nparts && t->part[at] == p)
            part_forget(t, at);
    }
    table_unref(t);
    pthread_mutex_unlock(&h->lock);
}

/* ---- refresh, close ---- */

static bool still_there(const struct hdb_ident *names, const char *dir)
{
    char path[HDB_PATH + 8];
    struct hdb_ident now;
    snprintf(path, sizeof path, "%s/.d", dir);
    return hdb_ident_of(AT_FDCWD, path, &now) && hdb_ident_equal(&now, names);
}

void hdb_tables_refresh(struct hdb *h)
{
    char path[HDB_PATH];
    for (struct hdb_open_table *t = h->tables, *next; t; t = next) {
        next = t->next;
        for (uint32_t i = t->nparts; i-- > 0;) {
            struct err ignored;
            if (!hdb_table_dir(h, t->part[i]->pub.date, t->pub.name, path, &ignored) ||
                !still_there(&t->part[i]->names, path))
                part_forget(t, i);
        }
        int32_t newest;
        int dir = t->cached ? newest_dir(h, t->pub.name, path, &newest) : -1;
        if (t->cached && (dir < 0 || newest != t->pub.newest || !still_there(&t->names, path))) {
            while (t->nparts) /* they belong to the schema that has passed */
                part_forget(t, t->nparts - 1);
            t->cached = false;
            t->refs++;
            table_unref(t);
        }
        if (dir >= 0)
            close(dir);
    }
}

void hdb_tables_free(struct hdb *h)
{
    for (struct hdb_open_table *t = h->tables, *next; t; t = next) {
        next = t->next;
        for (uint32_t i = 0; i < t->nparts; i++)
            part_free(t->part[i]);
        table_free(t);
    }
    h->tables = NULL;
}

/* ---- columns ---- */

/* Is the table still the one whose `.d` was read? Asked after a file of it was opened: names are
 * exchanged as a whole, so that file then was of this table too. */
static bool not_replaced(const struct hdb_open_part *p, struct err *err)
{
    char path[HDB_PATH + 8];
    struct hdb_ident now;
    snprintf(path, sizeof path, "%s/.d", p->pub.path);
    if (hdb_ident_of(AT_FDCWD, path, &now) && hdb_ident_equal(&now, &p->names))
        return true;
    return err_set(err, -ESTALE, "%s: was replaced while it was read; run the query again",
                   p->pub.path);
}

static bool column_open(struct hdb_open_part *p, unsigned i, struct err *err)
{
    const struct hdb_column_info *info = &p->pub.table->col[i];
    struct hdb_open_column *c = &p->col[i];
    struct err e = {0};
    c->pub.type = info->type;
    c->pub.rows = p->pub.rows;
    if (!info->type) {
        c->pub.state = HDB_REFUSED;
        return err_set(err, -ENOTSUP, "%s", info->refused ? info->refused : info->name);
    }
    c->pub.state = HDB_MISSING;
    if (!p->present[i])
        return true;
    char path[2 * HDB_PATH];
    snprintf(path, sizeof path, "%s/%s", p->pub.path, info->name);
    c->pub.state = HDB_REFUSED;
    bool ok = kdb_open(&c->file, AT_FDCWD, path, &e);
    if (!not_replaced(p, err))
        return false;
    if (!ok)
        return err_set(err, e.code, "%s", e.text);
    struct kdb_column *f = &c->file;
    c->pub.attribute = f->attribute;
    if (f->rows != p->pub.rows)
        return err_set(err, -EBADMSG, "%s/%s: has %llu rows, the table %llu", p->pub.path,
                       info->name, (unsigned long long)f->rows, (unsigned long long)p->pub.rows);
    if (f->type == PST_SYMBOL && strcmp(f->domain, "sym") != 0)
        return err_set(err, -ENOTSUP, "%s/%s: is enumerated over %s; only sym is read", p->pub.path,
                       info->name, f->domain);
    c->pub.values = f->values;
    c->pub.bytes = f->bytes;
    c->pub.nbytes = f->nbytes;
    /* an empty nested column does not say of what */
    if (f->type != info->type && !(f->shape == KDB_SYMBOLS && !f->rows)) {
        if (!hdb_can_widen(f->type, info->type))
            return err_set(err, -ENOTSUP,
                           "%s/%s: is of type %s there and %s on %s; the one cannot be read as the "
                           "other",
                           p->pub.path, info->name, type_name(f->type), type_name(info->type),
                           civil_format(p->pub.table->newest, (char[CIVIL_TEXT]){0}));
        c->converted = hdb_widen(f->type, info->type, f->values, f->rows);
        if (!c->converted)
            return err_set(err, -ENOMEM, "%s/%s: no memory to widen it", p->pub.path, info->name);
        c->pub.values = c->converted;
        c->pub.converted = true;
        c->pub.attribute = c->pub.attribute == 1;
        kdb_close(f);
    }
    c->pub.state = HDB_PRESENT;
    return true;
}

const struct hdb_column *hdb_part_column(const struct hdb_part *pub, unsigned i, struct err *err)
{
    struct hdb_open_part *p = part_of(pub);
    pst_must(i < pub->table->ncols);
    struct hdb_open_column *c = &p->col[i];
    unsigned maps = 0;
    bool fresh = false, first = false;
    pthread_mutex_lock(&p->lock);
    if (!c->tried || c->pub.state == HDB_REFUSED) { /* it may have been repaired in place */
        first = !c->tried;
        c->tried = fresh = true;
        if (!column_open(p, i, &c->err)) {
            kdb_close(&c->file);
            c->pub.values = NULL;
            c->pub.state = HDB_REFUSED;
        }
        for (unsigned k = 0; k < c->file.npieces; k++)
            maps += c->file.piece[k].len != 0;
        p->maps += maps;
    }
    bool ok = c->pub.state != HDB_REFUSED;
    if (!ok && err)
        *err = c->err;
    pthread_mutex_unlock(&p->lock);
    if (fresh) {
        pthread_mutex_lock(&p->hdb->lock);
        p->hdb->figures.maps += maps;
        p->hdb->figures.columns_open += first;
        pthread_mutex_unlock(&p->hdb->lock);
    }
    return ok ? &c->pub : NULL;
}

/* ---- parted index ---- */

/* The index of another version of the columns would be a lie: its ends must fit. */
static bool index_fits(const struct hdb_index *x, const struct hdb_column *sym)
{
    if (x->rows != sym->rows)
        return false;
    if (!x->ngroups)
        return true;
    const int64_t *v = sym->values;
    const struct hdb_group *first = &x->group[0], *last = &x->group[x->ngroups - 1];
    return v[0] == first->sym && v[first->rows - 1] == first->sym && v[last->first] == last->sym &&
           v[sym->rows - 1] == last->sym;
}

/* .pstpart as it is, if it is of these columns. Sets err->code to -ESTALE when the table was
 * replaced. */
static bool index_read(struct hdb_open_part *p, const struct hdb_column *sym, struct err *err)
{
    struct err e = {0};
    char path[HDB_PATH + 16];
    snprintf(path, sizeof path, "%s/%s", p->pub.path, HDB_PART_NAME);
    bool ok = p->pub.meta && hdb_index_read(&p->index, AT_FDCWD, path, &e);
    if (ok && (!not_replaced(p, err) || !index_fits(&p->index, sym))) {
        hdb_index_free(&p->index);
        ok = false;
    }
    return ok;
}

const struct hdb_index *hdb_part_index(const struct hdb_part *pub, struct err *err)
{
    struct hdb_open_part *p = part_of(pub);
    int s = hdb_table_column(pub->table, "sym"), t = hdb_table_column(pub->table, "time");
    if (s < 0 || pub->table->col[s].type != PST_SYMBOL) {
        err_set(err, -ENOENT, "%s: has no symbol column sym", pub->path);
        return NULL;
    }
    const struct hdb_column *sym = hdb_part_column(pub, (unsigned)s, err), *time = NULL;
    if (!sym)
        return NULL;
    pthread_mutex_lock(&p->lock);
    bool read = p->index_tried;
    struct err e = {0};
    if (!read) {
        if (sym->state == HDB_MISSING && p->pub.rows)
            err_set(&e, -ENOENT, "%s: has no column sym on that date", p->pub.path);
        read = e.code || index_read(p, sym, &e) || e.code;
        p->index_tried = read;
        p->index_err = e;
    }
    pthread_mutex_unlock(&p->lock);
    if (!read && t >= 0 && pub->table->col[t].type == PST_TIMESTAMP)
        time = hdb_part_column(pub, (unsigned)t, NULL); /* needed to compute it, and only then */
    pthread_mutex_lock(&p->lock);
    if (!p->index_tried) {
        p->index_tried = true;
        const int64_t *times = time && time->state == HDB_PRESENT ? time->values : NULL;
        if (!hdb_index_compute(&p->index, sym->values, times, p->pub.rows, &e))
            err_set(&p->index_err, e.code, "%s: %s", p->pub.path, e.text);
    }
    bool ok = p->index.memory;
    if (!ok && err)
        *err = p->index_err;
    pthread_mutex_unlock(&p->lock);
    return ok ? &p->index : NULL;
}
