/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/crc.h"
#include "load/save_parts.h"

#define SLOTS       (2 * SAVE_DATES)
#define DIRECT      (16u << 10) /* a piece as long as this is written without a copy */
#define OPEN_FILES  1024u
#define FIRST_CODES 65536u

bool save_disk(struct err *err, const char *path, const char *doing)
{
    int e = errno;
    return err_set(err, -e, "%s: %s: %s%s", path, doing, strerror(e),
                   e == ENOSPC || e == EDQUOT ? "; it is tried again when there is room" : "");
}

/* ---- the directory ---- */

static bool remove_below(const char *path, unsigned depth, struct err *err)
{
    DIR *d = opendir(path);
    if (!d)
        return errno == ENOENT || save_disk(err, path, "cannot be read");
    struct dirent *e;
    bool ok = true;
    while (ok && (e = readdir(d))) {
        char name[1500];
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (snprintf(name, sizeof name, "%s/%s", path, e->d_name) >= (int)sizeof name) {
            ok = err_set(err, -ENAMETOOLONG, "%s: a path in it is too long", path);
            break;
        }
        if (lstat(name, &st))
            ok = save_disk(err, name, "cannot be looked at");
        else if (S_ISDIR(st.st_mode) && depth)
            ok = remove_below(name, depth - 1, err) &&
                 (!rmdir(name) || save_disk(err, name, "cannot be removed"));
        else if (unlink(name))
            ok = save_disk(err, name, "cannot be removed");
    }
    closedir(d);
    return ok;
}

void save_part_path(const struct load_save *s, const struct save_part *p, char out[1200])
{
    char date[CIVIL_TEXT];
    snprintf(out, 1200, "%s/%s/%s", s->dir, civil_format(p->day, date),
             s->recipe->tables[p->table].name);
}

/* ---- column files ---- */

void save_file_name(const struct save_table *t, unsigned k, char out[SCHEMA_NAME_MAX + 2])
{
    unsigned c = k;
    bool second = k >= t->schema->ncols;
    for (unsigned i = 0; second && i < t->schema->ncols; i++)
        if (t->second[i] == (int)k)
            c = i;
    snprintf(out, SCHEMA_NAME_MAX + 2, "%s%s", t->schema->col[c].name, second ? "#" : "");
}

static bool write_out(struct load_save *s, struct save_part *p, unsigned k, const uint8_t *bytes,
                      size_t n, struct err *err)
{
    struct save_file *f = &p->file[k];
    f->crc = crc32c(f->crc, bytes, n);
    while (n) {
        ssize_t w = write(f->fd, bytes, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            char path[1200], name[SCHEMA_NAME_MAX + 2];
            errno = w ? errno : EIO;
            int e = errno;
            save_part_path(s, p, path);
            save_file_name(&s->table[p->table], k, name);
            size_t at = strlen(path);
            snprintf(path + at, sizeof path - at, "/%s", name);
            errno = e;
            return save_disk(err, path, "cannot be written");
        }
        bytes += w;
        n -= (size_t)w;
    }
    return true;
}

static bool part_close(struct load_save *s, struct save_part *p, struct err *err)
{
    bool ok = true;
    for (unsigned k = 0; k < p->nfiles; k++) {
        struct save_file *f = &p->file[k];
        if (f->fd < 0)
            continue;
        ok = ok && write_out(s, p, k, f->buf, f->used, err);
        f->used = 0;
        if (close(f->fd) && ok)
            ok = save_disk(err, s->dir, "a column cannot be closed");
        f->fd = -1;
        free(f->buf);
        f->buf = NULL;
        s->open_files--;
    }
    p->open = false;
    return ok;
}

bool save_parts_flush(struct load_save *s, struct err *err)
{
    bool ok = true;
    for (uint32_t i = 0; i < s->nparts; i++)
        if (s->part[i]->open)
            ok = part_close(s, s->part[i], ok ? err : NULL) && ok;
    return ok;
}

/* Makes room for n more open files. */
static bool make_room(struct load_save *s, unsigned n, struct err *err)
{
    uint64_t most = SAVE_BUFFERS / s->buffer;
    if (most > OPEN_FILES)
        most = OPEN_FILES;
    while (s->open_files && s->open_files + n > most) {
        struct save_part *oldest = NULL;
        for (uint32_t i = 0; i < s->nparts; i++)
            if (s->part[i]->open && (!oldest || s->part[i]->used_at < oldest->used_at))
                oldest = s->part[i];
        if (!part_close(s, oldest, err))
            return false;
    }
    return true;
}

static bool part_open(struct load_save *s, struct save_part *p, struct err *err)
{
    char path[1200], name[SCHEMA_NAME_MAX + 2];
    if (!make_room(s, p->nfiles, err))
        return false;
    save_part_path(s, p, path);
    size_t at = strlen(path);
    p->open = true;
    for (unsigned k = 0; k < p->nfiles; k++) {
        save_file_name(&s->table[p->table], k, name);
        snprintf(path + at, sizeof path - at, "/%s", name);
        p->file[k].fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (p->file[k].fd < 0)
            return save_disk(err, path, "cannot be created");
        s->open_files++;
        if (!(p->file[k].buf = malloc(s->buffer)))
            return err_set(err, -ENOMEM, "no memory for the columns of %d tables and dates",
                           (int)s->nparts);
    }
    return true;
}

static bool make_directories(struct load_save *s, const struct save_part *p, struct err *err)
{
    char path[1200];
    save_part_path(s, p, path);
    char *slash = strrchr(path, '/');
    *slash = 0;
    if (mkdir(path, 0700) && errno != EEXIST)
        return save_disk(err, path, "cannot be made");
    *slash = '/';
    return !mkdir(path, 0700) || errno == EEXIST || save_disk(err, path, "cannot be made");
}

static struct save_part *part_new(struct load_save *s, int32_t day, unsigned table, struct err *err)
{
    struct save_table *t = &s->table[table];
    if (s->nparts == SAVE_DATES) {
        err_set(
            err, -EINVAL,
            "the file has rows of more than %u dates and tables: its dates are read wrongly, or "
            "it must be split",
            SAVE_DATES);
        return NULL;
    }
    struct save_part *p = calloc(1, sizeof *p);
    if (p)
        p->file = calloc(t->nfiles, sizeof *p->file);
    if (!p || !p->file) {
        free(p);
        err_set(err, -ENOMEM, "no memory for a date");
        return NULL;
    }
    p->day = day;
    p->table = table;
    p->nfiles = t->nfiles;
    p->first = t->rows;
    p->sorted = true;
    p->time_last = INT64_MIN;
    for (unsigned k = 0; k < p->nfiles; k++)
        p->file[k].fd = -1;
    s->part[s->nparts++] = p; /* owned from here on */
    return make_directories(s, p, err) ? p : NULL;
}

static struct save_part *part_of(struct load_save *s, int32_t day, unsigned table, struct err *err)
{
    struct save_part *p = s->table[table].last;
    if (!p || p->day != day) {
        uint32_t h = (uint32_t)day * 2654435761u + table * 40503u;
        for (;; h++) {
            uint32_t *slot = &s->slot[h % SLOTS];
            if (!*slot) {
                if (!(p = part_new(s, day, table, err)))
                    return NULL;
                *slot = s->nparts;
                break;
            }
            p = s->part[*slot - 1];
            if (p->day == day && p->table == table)
                break;
        }
        s->table[table].last = p;
    }
    p->used_at = ++s->clock;
    return p->open || part_open(s, p, err) ? p : NULL;
}

static bool put(struct load_save *s, struct save_part *p, unsigned k, const void *bytes, size_t n,
                struct err *err)
{
    struct save_file *f = &p->file[k];
    f->bytes += n;
    if (!f->used && n >= DIRECT)
        return write_out(s, p, k, bytes, n, err);
    for (const uint8_t *b = bytes; n;) {
        size_t piece = s->buffer - f->used < n ? s->buffer - f->used : n;
        memcpy(f->buf + f->used, b, piece);
        f->used += (uint32_t)piece;
        b += piece;
        n -= piece;
        if (f->used == s->buffer) {
            if (!write_out(s, p, k, f->buf, f->used, err))
                return false;
            f->used = 0;
        }
    }
    return true;
}

static bool put_strings(struct load_save *s, struct save_part *p, unsigned col,
                        const struct load_block *b, uint32_t first, uint32_t n, struct err *err)
{
    const struct load_string *v = (const struct load_string *)b->col[col] + first;
    unsigned more = (unsigned)s->table[p->table].second[col];
    int64_t ends[1024], end = (int64_t)p->file[more].bytes;
    for (uint32_t i = 0, k = 0; i < n; i++) {
        if (pst_unlikely(v[i].len > LOAD_STRING_BYTES))
            return err_set(err, -EILSEQ,
                           "row %llu, column %s: a text of %u bytes; a string has at most %u",
                           (unsigned long long)s->table[p->table].rows + i + 1,
                           s->table[p->table].schema->col[col].name, v[i].len, LOAD_STRING_BYTES);
        if (!put(s, p, more, b->heap + v[i].at, v[i].len, err))
            return false;
        ends[k++] = end += v[i].len;
        if (k == PST_COUNT(ends) || i + 1 == n) {
            if (!put(s, p, col, ends, k * sizeof *ends, err))
                return false;
            k = 0;
        }
    }
    return true;
}

/* ---- what is known of the rows ---- */

static bool symbols_known(struct load_save *s, struct err *err)
{
    uint64_t want = (uint64_t)s->dict->count + 1;
    if (pst_likely(want <= s->symbols.count))
        return true;
    struct content_symbols more;
    uint64_t room = s->symbols.count ? s->symbols.count : FIRST_CODES;
    while (room < want)
        room *= 2;
    if (!content_symbols_init(&more, room, s->symbols.text, s->symbols.arg, err))
        return false;
    if (s->symbols.count)
        memcpy(more.of, s->symbols.of, s->symbols.count * sizeof *more.of);
    content_symbols_free(&s->symbols);
    s->symbols = more;
    return true;
}

static void add_column(struct load_save *s, const struct save_table *t, const struct load_block *b,
                       unsigned c, uint32_t first, uint32_t n, const int64_t *rxtime, bool captured)
{
    uint8_t type = t->schema->col[c].type;
    const uint8_t *values = (const uint8_t *)b->col[c] + (size_t)first * load_width(type);
    if (type == PST_SYMBOL)
        content_columns_ids(t->hash, c, s->acc, (const uint32_t *)values, n, &s->symbols);
    else if (type == PST_STRING)
        for (uint32_t i = 0; i < n; i++) {
            const struct load_string *v = (const struct load_string *)values + i;
            content_columns_string(t->hash, c, &s->acc[i], v->len ? b->heap + v->at : "", v->len);
        }
    else
        content_columns_add(t->hash, c, s->acc, values, rxtime, n, captured);
}

static void add_hash(struct load_save *s, struct save_part *p, const struct load_block *b,
                     uint32_t first, uint32_t n, bool captured, struct hash128 *sum)
{
    const struct save_table *t = &s->table[p->table];
    const int64_t *rx =
        t->hash->rxtime >= 0 ? (const int64_t *)b->col[t->hash->rxtime] + first : NULL;
    memset(s->acc, 0, n * sizeof *s->acc);
    for (unsigned c = 0; c < t->schema->ncols; c++)
        add_column(s, t, b, c, first, n, rx, captured);
    content_columns_end(t->hash, s->acc, NULL, n, sum);
}

static void add_times(struct save_part *p, const int64_t *time, uint32_t n)
{
    int64_t least = INT64_MAX, most = INT64_MIN, last = p->time_last;
    bool descends = false;
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = time[i];
        descends |= v < last;
        last = v;
        most = v > most ? v : most;
        least = v < least && v != PST_NULL_TIMESTAMP ? v : least;
    }
    p->time_last = last;
    p->sorted &= !descends;
    if (most == INT64_MIN)
        return; /* nulls only */
    p->time_min = p->has_times && p->time_min < least ? p->time_min : least;
    p->time_max = p->has_times && p->time_max > most ? p->time_max : most;
    p->has_times = true;
}

/* Rows [first, first + n) of the block, all of one date. */
static bool take_rows(struct load_save *s, const struct load_block *b, int32_t day, uint32_t first,
                      uint32_t n, struct err *err)
{
    struct save_part *p = part_of(s, day, b->table, err);
    struct save_table *t = &s->table[b->table];
    if (!p)
        return false;
    for (uint32_t at = 0; at < n; at += CONTENT_BLOCK) {
        uint32_t k = n - at < CONTENT_BLOCK ? n - at : CONTENT_BLOCK;
        add_hash(s, p, b, first + at, k, true, &p->full);
        if (t->clocked)
            add_hash(s, p, b, first + at, k, false, &p->sum);
    }
    add_times(p, (const int64_t *)b->col[0] + first, n);
    for (unsigned c = 0; c < t->schema->ncols; c++) {
        uint8_t type = t->schema->col[c].type;
        unsigned width = load_width(type);
        if (!(type == PST_STRING ? put_strings(s, p, c, b, first, n, err)
                                 : put(s, p, c, (uint8_t *)b->col[c] + (size_t)first * width,
                                       (size_t)n * width, err)))
            return false;
    }
    p->rows += n;
    t->rows += n;
    s->rows += n;
    return true;
}

static bool take_block(void *arg, struct load_block *b, struct err *err)
{
    struct load_save *s = arg;
    uint32_t first = 0;
    if (b->table >= s->recipe->ntables || b->run_rows != b->rows ||
        !schema_equal(b->schema, &s->recipe->tables[b->table]))
        return err_set(err, -EPROTO, "a reader handed on rows that are no table's: a bug");
    if (!symbols_known(s, err))
        return false;
    for (uint32_t i = 0; i < b->nruns; i++) {
        if (b->run[i].day < 0 || b->run[i].day > CIVIL_DAY_MAX)
            return err_set(err, -EPROTO, "a reader handed on a row without a date: a bug");
        if (b->run[i].rows && !take_rows(s, b, b->run[i].day, first, b->run[i].rows, err))
            return false;
        first += b->run[i].rows;
    }
    return true;
}

struct load_sink load_save_sink(struct load_save *s)
{
    return (struct load_sink){take_block, s};
}

/* ---- rejects ---- */

static void put_text(FILE *f, const char *text, size_t n)
{
    for (size_t i = 0; i < n && i < SAVE_REJECT_TEXT; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c == '\t')
            fputs("\\t", f);
        else if (c == '\\')
            fputs("\\\\", f);
        else if (c < 0x20 || c == 0x7f)
            fprintf(f, "\\x%02x", c);
        else
            putc(c, f);
    }
    if (n > SAVE_REJECT_TEXT)
        fputs("…", f);
}

static bool take_reject(void *arg, const struct load_reject *r, struct err *err)
{
    struct load_save *s = arg;
    const struct load_recipe *recipe = s->recipe;
    uint64_t shown = recipe->rejects > SAVE_REJECTS ? recipe->rejects : SAVE_REJECTS;
    char path[1100];
    if (!s->rejected++)
        snprintf(s->first_reject, sizeof s->first_reject, "line %llu%s%s: %s",
                 (unsigned long long)r->line, *r->column ? ", column " : "", r->column, r->reason);
    snprintf(path, sizeof path, "%s/rejects", s->dir);
    if (s->rejected <= shown) {
        if (!s->rejects && !(s->rejects = fopen(path, "we")))
            return save_disk(err, path, "cannot be created");
        fprintf(s->rejects, "%llu\t", (unsigned long long)r->line);
        put_text(s->rejects, r->column, strlen(r->column));
        putc('\t', s->rejects);
        put_text(s->rejects, r->reason, strlen(r->reason));
        putc('\t', s->rejects);
        if (r->text)
            put_text(s->rejects, r->text, r->len);
        putc('\n', s->rejects);
        if (ferror(s->rejects))
            return save_disk(err, path, "cannot be written");
    }
    /* who reads the list wants more than the first bad row */
    return recipe->partial || s->rejected < recipe->rejects + SAVE_REJECTS ||
           err_set(err, -EILSEQ, "%llu rows and more are bad, %llu are allowed; first %s",
                   (unsigned long long)s->rejected, (unsigned long long)recipe->rejects,
                   s->first_reject);
}

struct load_rejects load_save_rejects(struct load_save *s)
{
    return (struct load_rejects){take_reject, s};
}

/* ---- life ---- */

static const char *symbol_text(void *arg, uint64_t id, uint32_t *len)
{
    return load_dict_text(arg, id, len);
}

static bool table_init(struct save_table *t, const struct schema *s, struct err *err)
{
    t->schema = s;
    t->hash = malloc(sizeof *t->hash);
    if (!t->hash)
        return err_set(err, -ENOMEM, "no memory for table %s", s->name);
    content_columns_init(t->hash, s);
    t->clocked = content_columns_clocked(t->hash);
    t->nfiles = s->ncols;
    for (unsigned c = 0; c < s->ncols; c++)
        t->second[c] = s->col[c].type == PST_STRING ? (int16_t)t->nfiles++ : -1;
    return true;
}

/* With the directory that it lies in: the batch's. */
static bool make_dir(const char *dir)
{
    char parent[1200];
    const char *slash = strrchr(dir, '/');
    if (!mkdir(dir, 0700) || errno == EEXIST)
        return true;
    if (errno != ENOENT || !slash || (size_t)(slash - dir) >= sizeof parent)
        return false;
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - dir), dir);
    return (!mkdir(parent, 0700) || errno == EEXIST) && (!mkdir(dir, 0700) || errno == EEXIST);
}

struct load_save *load_save_open(const char *dir, const struct load_recipe *r,
                                 struct load_dict *dict, struct err *err)
{
    struct load_save *s = calloc(1, sizeof *s);
    bool ok = s || err_set(err, -ENOMEM, "no memory for the columns of a file");
    if (ok && snprintf(s->dir, sizeof s->dir, "%s", dir) >= (int)sizeof s->dir)
        ok = err_set(err, -ENAMETOOLONG, "%.100s…: the path is too long", dir);
    if (ok) {
        s->recipe = r;
        s->dict = dict;
        s->buffer = 64u << 10;
        s->slot = calloc(SLOTS, sizeof *s->slot);
        s->part = calloc(SAVE_DATES, sizeof *s->part);
        ok = (s->slot && s->part) || err_set(err, -ENOMEM, "no memory for the columns of a file");
    }
    ok = ok && content_symbols_init(&s->symbols, FIRST_CODES, symbol_text, dict, err);
    for (unsigned i = 0; ok && i < r->ntables; i++)
        ok = table_init(&s->table[i], &r->tables[i], err);
    if (ok && !make_dir(dir))
        ok = save_disk(err, dir, "cannot be made");
    ok = ok && remove_below(dir, 3, err);
    if (ok)
        return s;
    load_save_close(s);
    return NULL;
}

void load_save_close(struct load_save *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; s->part && i < s->nparts; i++) {
        struct save_part *p = s->part[i];
        for (unsigned k = 0; k < p->nfiles; k++) {
            if (p->file[k].fd >= 0)
                close(p->file[k].fd);
            free(p->file[k].buf);
        }
        free(p->file);
        free(p);
    }
    for (unsigned i = 0; i < LOAD_TABLES; i++)
        free(s->table[i].hash);
    if (s->rejects)
        fclose(s->rejects);
    content_symbols_free(&s->symbols);
    free(s->part);
    free(s->slot);
    free(s);
}

uint64_t load_save_rows(const struct load_save *s)
{
    return s->rows;
}
