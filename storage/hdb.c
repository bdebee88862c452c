/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "hdb_private.h"

void hdb_ident_set(struct hdb_ident *id, const struct stat *st)
{
    *id = (struct hdb_ident){st->st_dev, st->st_ino, (uint64_t)st->st_size,
                             st->st_mtim.tv_sec * PST_SECOND_NS + st->st_mtim.tv_nsec};
}

bool hdb_ident_of(int dir, const char *name, struct hdb_ident *id)
{
    struct stat st;
    if (fstatat(dir, name, &st, 0))
        return false;
    hdb_ident_set(id, &st);
    return true;
}

/* ---- par.txt ---- */

static bool add_disk(struct hdb *h, const char *path, size_t len, struct err *err)
{
    char full[2 * HDB_PATH];
    while (len > 1 && path[len - 1] == '/')
        len--;
    if (len >= HDB_PATH / 2)
        return err_set(err, -ENAMETOOLONG, "%s/par.txt: a line is too long", h->root);
    if (*path == '/' || path == h->root)
        snprintf(full, sizeof full, "%.*s", (int)len, path);
    else
        snprintf(full, sizeof full, "%s/%.*s", h->root, (int)len, path);
    char **more = realloc(h->disk, (h->ndisks + 1) * sizeof *more);
    char *copy = strlen(full) < HDB_PATH - 320 ? strdup(full) : NULL;
    if (more)
        h->disk = more;
    if (!more || !copy) {
        free(copy);
        return err_set(err, -ENOMEM, "%s: the path is too long, or there is no memory", full);
    }
    h->disk[h->ndisks++] = copy;
    return true;
}

static bool read_par(struct hdb *h, struct err *err)
{
    char path[HDB_PATH + 16], *line = NULL;
    size_t room = 0;
    snprintf(path, sizeof path, "%s/par.txt", h->root);
    FILE *f = fopen(path, "re");
    if (!f && errno == ENOENT)
        return add_disk(h, h->root, strlen(h->root), err);
    if (!f)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    bool ok = true;
    for (ssize_t n; ok && (n = getline(&line, &room, f)) > 0;) {
        while (n && strchr(" \t\r\n", line[n - 1]))
            n--;
        line[n] = 0;
        if (n)
            ok = add_disk(h, line[0] == ':' ? line + 1 : line, (size_t)n - (line[0] == ':'), err);
    }
    free(line);
    fclose(f);
    if (ok && !h->ndisks)
        return err_set(err, -EBADMSG, "%s: names no directory", path);
    return ok;
}

/* ---- dates ---- */

static int by_date(const void *a, const void *b)
{
    const struct hdb_where *x = a, *y = b;
    if (x->date != y->date)
        return x->date < y->date ? -1 : 1;
    return (x->disk > y->disk) - (x->disk < y->disk);
}

/* 2026.11.23 and nothing else. */
static bool date_name(const char *name, int32_t *date)
{
    return strlen(name) == 10 && name[4] == '.' && civil_parse(name, date);
}

static bool read_dates(struct hdb *h, struct err *err)
{
    struct hdb_where *w = NULL;
    uint32_t n = 0, room = 0;
    bool ok = true;
    for (unsigned i = 0; ok && i < h->ndisks; i++) {
        DIR *d = opendir(h->disk[i]);
        /* a disk of par.txt that is not there would silently hide dates */
        if (!d) {
            ok = err_set(err, -errno, "%s: %s", h->disk[i], strerror(errno));
            break;
        }
        const struct dirent *e;
        int32_t date;
        while (ok && (e = readdir(d))) {
            if (!date_name(e->d_name, &date))
                continue;
            if (n == room) {
                room = room ? 2 * room : 256;
                struct hdb_where *more = realloc(w, room * sizeof *more);
                if (!more) {
                    ok = err_set(err, -ENOMEM, "%s: no memory for its dates", h->root);
                    break;
                }
                w = more;
            }
            w[n++] = (struct hdb_where){date, i};
        }
        closedir(d);
        h->figures.directories_read++;
    }
    int32_t *dates = malloc((n + 1) * sizeof *dates);
    struct hdb_where *twice = malloc((n + 1) * sizeof *twice);
    if (!ok || !dates || !twice) {
        free(w);
        free(dates);
        free(twice);
        return ok ? err_set(err, -ENOMEM, "%s: no memory for its dates", h->root) : false;
    }
    if (n)
        qsort(w, n, sizeof *w, by_date);
    uint32_t kept = 0, more = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (kept && w[kept - 1].date == w[i].date) {
            twice[more++] = w[i];
        } else {
            dates[kept] = w[i].date;
            w[kept++] = w[i];
        }
    }
    free(h->date);
    free(h->dates);
    free(h->twice);
    h->date = w;
    h->dates = dates;
    h->ndates = kept;
    h->twice = twice;
    h->ntwice = more;
    return true;
}

bool hdb_has_date(const struct hdb *h, int32_t date, uint32_t *at)
{
    uint32_t lo = 0, hi = h->ndates;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (h->dates[mid] < date)
            lo = mid + 1;
        else
            hi = mid;
    }
    *at = lo;
    return lo < h->ndates && h->dates[lo] == date;
}

bool hdb_table_dir(struct hdb *h, int32_t date, const char *table, char path[HDB_PATH],
                   struct err *err)
{
    char text[CIVIL_TEXT], other[HDB_PATH + 64];
    uint32_t at;
    civil_format(date, text);
    if (!hdb_has_date(h, date, &at))
        return err_set(err, -ENOENT, "%s: has no date %s", h->root, text);
    snprintf(path, HDB_PATH, "%.700s/%s/%.255s", h->disk[h->date[at].disk], text, table);
    for (uint32_t i = 0; i < h->ntwice; i++) {
        if (h->twice[i].date != date)
            continue;
        snprintf(other, sizeof other, "%.700s/%s/%.255s/.d", h->disk[h->twice[i].disk], text,
                 table);
        if (!access(other, F_OK))
            return err_set(
                err, -ENOTSUP,
                "%s: %s lies on two disks of par.txt, which is not read; the other is %s", path,
                table, h->disk[h->twice[i].disk]);
    }
    return true;
}

/* ---- open, refresh, close ---- */

struct hdb *hdb_open(const char *root, struct err *err)
{
    struct hdb *h = calloc(1, sizeof *h);
    struct stat st;
    if (!h) {
        err_set(err, -ENOMEM, "%s: no memory", root);
        return NULL;
    }
    size_t n = strlen(root);
    while (n > 1 && root[n - 1] == '/')
        n--;
    if (n >= HDB_PATH - 320 || !n) {
        free(h);
        err_set(err, -ENAMETOOLONG, "%.200s: is no path of a database", root);
        return NULL;
    }
    memcpy(h->root, root, n);
    pthread_mutex_init(&h->lock, NULL);
    bool ok = true;
    if (stat(h->root, &st))
        ok = err_set(err, -errno, "%s: %s", h->root, strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        ok = err_set(err, -ENOTDIR, "%s: is not a directory", h->root);
    if (ok && read_par(h, err) && read_dates(h, err))
        return h;
    hdb_close(h);
    return NULL;
}

void hdb_close(struct hdb *h)
{
    if (!h)
        return;
    hdb_tables_free(h);
    hdb_texts_free(&h->texts);
    for (unsigned i = 0; i < h->ndisks; i++)
        free(h->disk[i]);
    free(h->disk);
    free(h->date);
    free(h->dates);
    free(h->twice);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

bool hdb_refresh(struct hdb *h, struct err *err)
{
    pthread_mutex_lock(&h->lock);
    bool ok = read_dates(h, err);
    if (ok) {
        hdb_tables_refresh(h);
        ok = !h->texts.parsed || hdb_texts_read(h, err);
    }
    pthread_mutex_unlock(&h->lock);
    return ok;
}

const char *hdb_root(const struct hdb *h)
{
    return h->root;
}

uint32_t hdb_dates(struct hdb *h, const int32_t **dates)
{
    *dates = h->dates;
    return h->ndates;
}

bool hdb_date_dir(struct hdb *h, int32_t date, char path[1024])
{
    char text[CIVIL_TEXT];
    uint32_t at;
    pthread_mutex_lock(&h->lock);
    bool there = hdb_has_date(h, date, &at);
    if (there && path)
        snprintf(path, 1024, "%s/%s", h->disk[h->date[at].disk], civil_format(date, text));
    pthread_mutex_unlock(&h->lock);
    return there;
}

unsigned hdb_ndisks(const struct hdb *h)
{
    return h->ndisks;
}
const char *hdb_disk(const struct hdb *h, unsigned i)
{
    return h->disk[i];
}

unsigned hdb_disk_of(struct hdb *h, int32_t date)
{
    uint32_t at;
    pthread_mutex_lock(&h->lock);
    unsigned disk = hdb_has_date(h, date, &at)
                        ? h->date[at].disk
                        : (unsigned)civil_floor_mod(date, (int64_t)h->ndisks);
    pthread_mutex_unlock(&h->lock);
    return disk;
}

void hdb_figures(struct hdb *h, struct hdb_figures *f)
{
    pthread_mutex_lock(&h->lock);
    *f = h->figures;
    pthread_mutex_unlock(&h->lock);
}

/* ---- names of tables ---- */

void hdb_names_free(char **names, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Directories with a `.d`, not in the list yet. */
static bool list_tables(const char *dir, char ***names, unsigned *n)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    unsigned before = *n;
    if (!d)
        return errno == ENOENT;
    bool ok = true;
    while (ok && (e = readdir(d))) {
        char probe[300];
        if (!hdb_name_visible(e->d_name) || (before && bsearch(&(const char *){e->d_name}, *names,
                                                               before, sizeof **names, by_name)))
            continue;
        snprintf(probe, sizeof probe, "%.255s/.d", e->d_name);
        if (faccessat(dirfd(d), probe, F_OK, 0))
            continue;
        char **more = realloc(*names, (*n + 1) * sizeof *more);
        char *copy = strdup(e->d_name);
        ok = more && copy;
        if (more)
            *names = more;
        if (ok)
            (*names)[(*n)++] = copy;
        else
            free(copy);
    }
    closedir(d);
    if (*n > before)
        qsort(*names, *n, sizeof **names, by_name);
    return ok;
}

bool hdb_date_tables(struct hdb *h, int32_t date, char ***names, unsigned *n, struct err *err)
{
    char dir[HDB_PATH];
    *names = NULL;
    *n = 0;
    if (!hdb_date_dir(h, date, dir))
        return err_set(err, -ENOENT, "%s: has no date %s", h->root,
                       civil_format(date, (char[CIVIL_TEXT]){0}));
    if (list_tables(dir, names, n))
        return true;
    hdb_names_free(*names, *n);
    return err_set(err, -errno, "%s: cannot be listed: %s", dir, strerror(errno));
}

bool hdb_tables(struct hdb *h, bool all, char ***names, unsigned *n, struct err *err)
{
    char dir[HDB_PATH];
    *names = NULL;
    *n = 0;
    for (uint32_t i = h->ndates; i-- > 0;) {
        if (!hdb_date_dir(h, h->dates[i], dir))
            continue;
        if (!list_tables(dir, names, n)) {
            hdb_names_free(*names, *n);
            return err_set(err, -errno, "%s: cannot be listed: %s", dir, strerror(errno));
        }
        if (!all && *n)
            break;
    }
    return true;
}
