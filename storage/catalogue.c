/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <jansson.h>
#include "catalogue.h"
#include "core/crc.h"

#define LINE_MAX_BYTES 4096u
#define FILE_BYTES_MAX (256ull << 20)
#define COMPACT_LINES  1024u

static const char *const file_states[] = {"?", "open", "closed", "poisoned"};
static const char *const day_states[] = {"?", "open", "closed", "written"};

/* ---- memory ---- */

static void *grow(void *p, unsigned n, unsigned *cap, size_t size)
{
    if (n < *cap)
        return p;
    *cap = *cap ? *cap * 2 : 64;
    p = realloc(p, *cap * size);
    pst_must(p);
    return p;
}

static void file_set(struct catalogue *c, const struct catalogue_file *f)
{
    unsigned i = 0;
    while (i < c->nfiles && strcmp(c->file[i].name, f->name) != 0)
        i++;
    if (i < c->nfiles) {
        memmove(&c->file[i], &c->file[i + 1], (c->nfiles - i - 1) * sizeof *f);
        c->nfiles--;
    }
    c->file = grow(c->file, c->nfiles, &c->cap_files, sizeof *f);
    i = c->nfiles++;
    for (; i && c->file[i - 1].first > f->first; i--)
        c->file[i] = c->file[i - 1];
    c->file[i] = *f;
}

static void file_unset(struct catalogue *c, const char *name)
{
    for (unsigned i = 0; i < c->nfiles; i++)
        if (strcmp(c->file[i].name, name) == 0) {
            memmove(&c->file[i], &c->file[i + 1], (c->nfiles - i - 1) * sizeof c->file[0]);
            c->nfiles--;
            return;
        }
}

static void day_set(struct catalogue *c, const struct catalogue_day *d)
{
    for (unsigned i = 0; i < c->ndays; i++)
        if (c->day[i].day == d->day && strcmp(c->day[i].calendar, d->calendar) == 0) {
            c->day[i] = *d;
            return;
        }
    c->day = grow(c->day, c->ndays, &c->cap_days, sizeof *d);
    c->day[c->ndays++] = *d;
}

/* Where (date, table) is or belongs. */
static unsigned loaded_at(const struct catalogue *c, int32_t date, const char *table)
{
    unsigned lo = 0, hi = c->nloaded;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        const struct catalogue_loaded *l = &c->loaded[mid];
        if (l->date < date || (l->date == date && strcmp(l->table, table) < 0))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void loaded_set(struct catalogue *c, const struct catalogue_loaded *l)
{
    unsigned at = loaded_at(c, l->date, l->table);
    if (!catalogue_loaded(c, l->date, l->table)) {
        c->loaded = grow(c->loaded, c->nloaded, &c->cap_loaded, sizeof *l);
        memmove(&c->loaded[at + 1], &c->loaded[at], (c->nloaded - at) * sizeof *l);
        c->nloaded++;
    }
    c->loaded[at] = *l;
}

/* ---- lines ---- */

static char *file_json(const struct catalogue_file *f)
{
    json_t *j = json_pack("{s:s, s:b, s:i, s:i, s:I, s:I, s:s}", "file", f->name, "spilled",
                          (int)f->spilled, "stream", (int)f->stream, "day", (int)f->day, "first",
                          (json_int_t)f->first, "last", (json_int_t)f->last, "state",
                          file_states[f->state]);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    return text;
}

static char *day_json(const struct catalogue_day *d)
{
    json_t *j = json_pack(
        "{s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:b}", "day", (int)d->day, "calendar", d->calendar,
        "state", day_states[d->state], "eod", (json_int_t)d->eod, "epoch", (json_int_t)d->epoch,
        "rows", (json_int_t)d->rows, "at", (json_int_t)d->at, "database", (int)d->database);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    return text;
}

static char *epoch_json(const struct catalogue *c)
{
    json_t *j = json_pack("{s:I, s:s}", "epoch", (json_int_t)c->epoch, "root", c->root);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    return text;
}

static char *loaded_json(const struct catalogue_loaded *l)
{
    json_t *j = json_pack("{s:{s:i, s:s, s:I, s:s, s:I}}", "loaded", "date", (int)l->date, "table",
                          l->table, "epoch", (json_int_t)l->epoch, "batch", l->batch, "commit",
                          (json_int_t)l->commit);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    return text;
}

static void apply_loaded(struct catalogue *c, const json_t *j)
{
    const char *table = json_string_value(json_object_get(j, "table"));
    const char *batch = json_string_value(json_object_get(j, "batch"));
    struct catalogue_loaded l = {.date = (int32_t)json_integer_value(json_object_get(j, "date")),
                                 .epoch = (uint64_t)json_integer_value(json_object_get(j, "epoch")),
                                 .commit =
                                     (uint64_t)json_integer_value(json_object_get(j, "commit"))};
    if (!table || strlen(table) >= sizeof l.table)
        return;
    strcpy(l.table, table);
    snprintf(l.batch, sizeof l.batch, "%s", batch ? batch : "");
    loaded_set(c, &l);
}

static unsigned state_of(const char *const *names, unsigned n, const char *text)
{
    for (unsigned i = 1; text && i < n; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return 0;
}

static bool apply(struct catalogue *c, const char *text, size_t len)
{
    json_t *j = json_loadb(text, len, 0, NULL);
    if (!json_is_object(j)) {
        json_decref(j);
        return false;
    }
    const char *name = json_string_value(json_object_get(j, "file"));
    const char *removed = json_string_value(json_object_get(j, "removed"));
    const char *state = json_string_value(json_object_get(j, "state"));
    const char *calendar = json_string_value(json_object_get(j, "calendar"));
    int32_t day = (int32_t)json_integer_value(json_object_get(j, "day"));
    if (name && strlen(name) < LOG_NAME_MAX && !strchr(name, '/')) {
        struct catalogue_file f = {
            .spilled = json_is_true(json_object_get(j, "spilled")),
            .stream = (uint8_t)json_integer_value(json_object_get(j, "stream")),
            .day = day,
            .first = (uint64_t)json_integer_value(json_object_get(j, "first")),
            .last = (uint64_t)json_integer_value(json_object_get(j, "last")),
            .state = state_of(file_states, PST_COUNT(file_states), state)};
        snprintf(f.name, sizeof f.name, "%s", name);
        if (f.state)
            file_set(c, &f);
    } else if (removed)
        file_unset(c, removed);
    else if (json_object_get(j, "loaded"))
        apply_loaded(c, json_object_get(j, "loaded"));
    else if (calendar && strlen(calendar) < 32) {
        struct catalogue_day d = {.day = day,
                                  .state = state_of(day_states, PST_COUNT(day_states), state),
                                  .eod = (uint64_t)json_integer_value(json_object_get(j, "eod")),
                                  .epoch =
                                      (uint64_t)json_integer_value(json_object_get(j, "epoch")),
                                  .rows = (uint64_t)json_integer_value(json_object_get(j, "rows")),
                                  .at = json_integer_value(json_object_get(j, "at")),
                                  .database = json_is_true(json_object_get(j, "database"))};
        snprintf(d.calendar, sizeof d.calendar, "%s", calendar);
        if (d.state)
            day_set(c, &d);
    } else if (json_is_integer(json_object_get(j, "epoch"))) {
        const char *root = json_string_value(json_object_get(j, "root"));
        c->epoch = (uint64_t)json_integer_value(json_object_get(j, "epoch"));
        snprintf(c->root, sizeof c->root, "%s", root ? root : "");
    }
    json_decref(j);
    return true;
}

/* One line without its end: CRC, space, JSON. */
static bool line_ok(const char *p, size_t len)
{
    char hex[9] = {0};
    char *end;
    if (len < 11 || p[8] != ' ')
        return false;
    memcpy(hex, p, 8);
    return strtoul(hex, &end, 16) == crc32c(0xFFFFFFFFu, p + 9, len - 9) && end == hex + 8;
}

static void load(struct catalogue *c, const char *p, uint64_t size)
{
    for (uint64_t at = 0; at < size;) {
        const char *nl = memchr(p + at, '\n', size - at);
        if (!nl)
            break;
        uint64_t len = (uint64_t)(nl - p) - at;
        if (line_ok(p + at, len) && apply(c, p + at + 9, len - 9)) {
            c->lines++;
            c->size = at + len + 1;
        } else
            c->bad_lines++;
        at += len + 1;
    }
    c->torn = c->size != size;
}

/* ---- file ---- */

static int format_line(char *out, const char *json)
{
    size_t len = strlen(json);
    if (len + 11 > LINE_MAX_BYTES)
        return -EMSGSIZE;
    return snprintf(out, LINE_MAX_BYTES, "%08x %s\n", crc32c(0xFFFFFFFFu, json, len), json);
}

/* Adds one line; takes json. */
static bool add_line(char **text, size_t *len, char *json)
{
    char line[LINE_MAX_BYTES];
    int n = json ? format_line(line, json) : -ENOMEM;
    char *more = n < 0 ? NULL : realloc(*text, *len + (size_t)n + 1);
    free(json);
    if (!more)
        return false;
    memcpy(more + *len, line, (size_t)n + 1);
    *text = more;
    *len += (size_t)n;
    return true;
}

/* All lines that still say something; NULL = no memory. */
static char *content(struct catalogue *c, size_t *len)
{
    char *text = strdup("");
    *len = 0;
    bool ok = text != NULL;
    for (unsigned i = 0; ok && i < c->nfiles; i++)
        ok = add_line(&text, len, file_json(&c->file[i]));
    for (unsigned i = 0; ok && i < c->ndays; i++)
        ok = add_line(&text, len, day_json(&c->day[i]));
    for (unsigned i = 0; ok && i < c->nloaded; i++)
        ok = add_line(&text, len, loaded_json(&c->loaded[i]));
    if (ok && c->epoch)
        ok = add_line(&text, len, epoch_json(c));
    if (ok) {
        c->lines = c->nfiles + c->ndays + c->nloaded + (c->epoch != 0);
        c->bad_lines = 0;
        return text;
    }
    free(text);
    return NULL;
}

int catalogue_file_replace(struct catalogue *c, const char *text, size_t len)
{
    char path[1100];
    struct io *io = c->io;
    snprintf(path, sizeof path, "%s.new", c->path);
    int fd = io->ops->open(io, path, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return fd;
    int r = io_pwrite_all(io, fd, text, len, 0);
    if (r == 0)
        r = io->ops->fsync(io, fd);
    if (r == 0)
        r = io->ops->rename(io, path, c->path);
    if (r == 0)
        r = io->ops->sync_dir(io, c->directory);
    if (r < 0) {
        io->ops->close(io, fd);
        return r;
    }
    if (c->fd >= 0)
        io->ops->close(io, c->fd);
    c->fd = fd;
    c->size = len;
    return 0;
}

int catalogue_file_append(struct catalogue *c, const char *text, size_t len)
{
    if (c->fd < 0)
        return -EBADF;
    int r = io_pwrite_all(c->io, c->fd, text, len, c->size);
    if (r == 0)
        r = c->io->ops->fdatasync(c->io, c->fd);
    if (r < 0) { /* nothing in that file is believed any more */
        c->io->ops->close(c->io, c->fd);
        c->fd = -1;
        return r;
    }
    c->size += len;
    return 0;
}

static int rewrite(struct catalogue *c)
{
    size_t len;
    char *text = content(c, &len);
    int r = text ? catalogue_file_replace(c, text, len) : -ENOMEM;
    free(text);
    return r;
}

/* Takes the lines of n changes that are in memory already. */
static int append_some(struct catalogue *c, char **json, unsigned n)
{
    bool whole =
        c->post ? atomic_exchange_explicit(&c->failed, false, memory_order_relaxed) : c->fd < 0;
    size_t len = 0;
    char *text = NULL;
    bool ok = true;
    for (unsigned i = 0; i < n; i++) {
        if (whole || !ok) {
            free(json[i]);
            continue;
        }
        ok = add_line(&text, &len, json[i]);
        c->lines++;
    }
    if (whole && !c->post)
        return rewrite(c);
    if (whole)
        ok = (text = content(c, &len)) != NULL;
    if (!ok) {
        free(text);
        return -ENOMEM;
    }
    if (c->post) {
        c->post(c->post_arg, text, len, whole);
        return 0;
    }
    int r = catalogue_file_append(c, text, len);
    free(text);
    return r;
}

static int append(struct catalogue *c, char *json)
{
    return append_some(c, &json, 1);
}

bool catalogue_open(struct catalogue *c, struct io *io, const char *state_directory,
                    struct err *err)
{
    memset(c, 0, sizeof *c);
    c->io = io;
    snprintf(c->directory, sizeof c->directory, "%s", state_directory);
    snprintf(c->path, sizeof c->path, "%s/catalogue", state_directory);
    struct io_stat s;
    c->fd = io->ops->open(io, c->path, O_RDWR | O_CREAT, 0640);
    int r = c->fd < 0 ? c->fd : io->ops->fstat(io, c->fd, &s);
    if (r < 0)
        return err_set(err, r, "catalogue %s: %s", c->path, strerror(-r));
    if (s.size > FILE_BYTES_MAX)
        s.size = FILE_BYTES_MAX;
    char *text = malloc(s.size + 1);
    r = text ? io_pread_all(io, c->fd, text, s.size, 0) : -ENOMEM;
    if (r < 0) {
        free(text);
        io->ops->close(io, c->fd);
        return err_set(err, r, "catalogue %s: cannot read: %s", c->path, strerror(-r));
    }
    load(c, text, s.size);
    free(text);
    bool stale = c->lines > COMPACT_LINES && c->lines > 2 * (c->nfiles + c->ndays + c->nloaded);
    if (c->torn || c->bad_lines || stale)
        r = rewrite(c);
    if (r == 0 && s.size == 0) {
        r = io->ops->fsync(io, c->fd);
        if (r == 0)
            r = io->ops->sync_dir(io, c->directory);
    }
    if (r < 0) {
        catalogue_close(c);
        return err_set(err, r, "catalogue %s: cannot write: %s", c->path, strerror(-r));
    }
    return true;
}

void catalogue_close(struct catalogue *c)
{
    if (c->fd >= 0)
        c->io->ops->close(c->io, c->fd);
    free(c->file);
    free(c->day);
    free(c->loaded);
    c->file = NULL;
    c->day = NULL;
    c->loaded = NULL;
    c->fd = -1;
    c->nfiles = c->ndays = c->nloaded = 0;
}

int catalogue_put_file(struct catalogue *c, const struct catalogue_file *f)
{
    struct catalogue_file copy = *f;
    file_set(c, &copy);
    return append(c, file_json(&copy));
}

int catalogue_remove_file(struct catalogue *c, const char *name)
{
    file_unset(c, name);
    json_t *j = json_pack("{s:s}", "removed", name);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    return append(c, text);
}

int catalogue_put_day(struct catalogue *c, const struct catalogue_day *d)
{
    struct catalogue_day copy = *d;
    day_set(c, &copy);
    return append(c, day_json(&copy));
}

int catalogue_put_loaded(struct catalogue *c, const struct catalogue_loaded *l, unsigned n)
{
    char **json = n ? calloc(n, sizeof *json) : NULL;
    if (!n)
        return 0;
    pst_must(json);
    for (unsigned i = 0; i < n; i++) {
        loaded_set(c, &l[i]);
        json[i] = loaded_json(&l[i]);
    }
    int r = append_some(c, json, n);
    free(json);
    return r;
}

const struct catalogue_loaded *catalogue_loaded(const struct catalogue *c, int32_t date,
                                                const char *table)
{
    unsigned at = loaded_at(c, date, table);
    const struct catalogue_loaded *l = at < c->nloaded ? &c->loaded[at] : NULL;
    return l && l->date == date && !strcmp(l->table, table) ? l : NULL;
}

int catalogue_put_epoch(struct catalogue *c, uint64_t epoch, const char *root)
{
    bool same = !strcmp(c->root, root);
    if (strlen(root) >= sizeof c->root || (same && epoch <= c->epoch))
        return 0;
    c->epoch = epoch;
    snprintf(c->root, sizeof c->root, "%s", root);
    return append(c, epoch_json(c));
}

const struct catalogue_file *catalogue_file(const struct catalogue *c, const char *name)
{
    for (unsigned i = 0; i < c->nfiles; i++)
        if (strcmp(c->file[i].name, name) == 0)
            return &c->file[i];
    return NULL;
}

const struct catalogue_day *catalogue_day(const struct catalogue *c, const char *calendar,
                                          int32_t day)
{
    for (unsigned i = 0; i < c->ndays; i++)
        if (c->day[i].day == day && strcmp(c->day[i].calendar, calendar) == 0)
            return &c->day[i];
    return NULL;
}
