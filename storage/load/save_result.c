/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/crc.h"
#include "load/save_parts.h"

#define RESULT_MAX (64u << 20) /* bytes of a result.json */

static bool boot_id(char out[64])
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    bool ok = f && fgets(out, 64, f);
    if (f)
        fclose(f);
    if (ok)
        out[strcspn(out, "\n")] = 0;
    else
        strcpy(out, "unknown");
    return ok;
}

/* ---- writing ---- */

static bool write_file(const char *path, const char *bytes, size_t n, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return save_disk(err, path, "cannot be created");
    while (n) {
        ssize_t w = write(fd, bytes, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            errno = w ? errno : EIO;
            save_disk(err, path, "cannot be written");
            close(fd);
            return false;
        }
        bytes += w;
        n -= (size_t)w;
    }
    return !close(fd) || save_disk(err, path, "cannot be closed");
}

static json_t *columns_json(const struct load_save *s, const struct save_part *p)
{
    const struct save_table *t = &s->table[p->table];
    json_t *columns = json_array();
    for (unsigned c = 0; c < t->schema->ncols; c++) {
        const struct save_file *f = &p->file[c];
        json_t *e =
            json_pack("[s,s,I,I]", t->schema->col[c].name, type_name(t->schema->col[c].type),
                      (json_int_t)f->bytes, (json_int_t)f->crc);
        if (t->second[c] >= 0) {
            f = &p->file[t->second[c]];
            json_array_append_new(e, json_integer((json_int_t)f->bytes));
            json_array_append_new(e, json_integer((json_int_t)f->crc));
        }
        json_array_append_new(columns, e);
    }
    return columns;
}

static json_t *part_json(const struct load_save *s, const struct save_part *p)
{
    const struct save_table *t = &s->table[p->table];
    char date[CIVIL_TEXT], path[CIVIL_TEXT + SCHEMA_NAME_MAX + 2], sum[33], full[33];
    civil_format(p->day, date);
    snprintf(path, sizeof path, "%s/%s", date, t->schema->name);
    /* where receive times make no difference both sums are the same one */
    hash128_text(t->clocked ? p->sum : p->full, sum);
    hash128_text(p->full, full);
    json_t *symbols = json_array();
    for (unsigned c = 0; c < t->schema->ncols; c++)
        if (t->schema->col[c].type == PST_SYMBOL)
            json_array_append_new(symbols, json_string(t->schema->col[c].name));
    json_t *o =
        json_pack("{s:s,s:s,s:s,s:s,s:I,s:s,s:s,s:I,s:b,s:I,s:s,s:s,s:o,s:o}", "date", date,
                  "table", t->schema->name, "typ", "active", "path", path, "rows",
                  (json_int_t)p->rows, "sum", sum, "full", full, "captured", (json_int_t)p->rows,
                  "time_sorted", p->sorted, "first", (json_int_t)p->first, "symCol", "sym",
                  "sortCol", "time", "symbolCols", symbols, "columns", columns_json(s, p));
    if (o && p->has_times) {
        json_object_set_new(o, "time_min", json_integer(p->time_min));
        json_object_set_new(o, "time_max", json_integer(p->time_max));
    }
    return o;
}

static int by_table(const void *a, const void *b)
{
    const struct save_part *x = *(struct save_part *const *)a, *y = *(struct save_part *const *)b;
    return x->table != y->table ? (x->table < y->table ? -1 : 1)
                                : (x->day > y->day) - (x->day < y->day);
}

static json_t *result_json(struct load_save *s, json_t *facts)
{
    char boot[64];
    boot_id(boot);
    qsort(s->part, s->nparts, sizeof(struct save_part *), by_table);
    json_t *written = json_array();
    for (uint32_t i = 0; i < s->nparts; i++)
        json_array_append_new(written, part_json(s, s->part[i]));
    uint64_t n = s->dict->nbytes - 1; /* without the null's NUL */
    json_t *o = json_pack("{s:i,s:s,s:s,s:I,s:I,s:{s:I,s:I,s:I},s:o}", "format", SAVE_FORMAT,
                          "boot", boot, "recipe", s->recipe->name, "rows", (json_int_t)s->rows,
                          "rejected", (json_int_t)s->rejected, "symbols", "count",
                          (json_int_t)s->dict->count, "bytes", (json_int_t)n, "crc",
                          (json_int_t)crc32c(0, s->dict->bytes + 1, n), "written", written);
    if (o && facts)
        json_object_update(o, facts);
    return o;
}

bool load_save_finish(struct load_save *s, json_t *facts, json_t **result, struct err *err)
{
    char path[1100], temporary[1100];
    if (s->rejects && (fflush(s->rejects) || ferror(s->rejects)))
        return save_disk(err, s->dir, "the rejects cannot be written");
    if (s->rejected > s->recipe->rejects && !s->recipe->partial)
        return err_set(err, -EILSEQ, "%llu %s bad, %llu are allowed; first %s",
                       (unsigned long long)s->rejected, s->rejected == 1 ? "row is" : "rows are",
                       (unsigned long long)s->recipe->rejects, s->first_reject);
    if (!save_parts_flush(s, err))
        return false;
    snprintf(path, sizeof path, "%s/symbols", s->dir);
    if (!write_file(path, s->dict->bytes + 1, s->dict->nbytes - 1, err))
        return false;
    json_t *o = result_json(s, facts);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    snprintf(path, sizeof path, "%s/result.json", s->dir);
    snprintf(temporary, sizeof temporary, "%s/result.tmp", s->dir);
    bool ok = text || err_set(err, -ENOMEM, "no memory for a result");
    ok = ok && write_file(temporary, text, strlen(text), err);
    if (ok && rename(temporary, path))
        ok = save_disk(err, path, "cannot be renamed into place");
    free(text);
    if (ok)
        *result = o;
    else
        json_decref(o);
    return ok;
}

/* ---- reading ---- */

static bool bad(struct err *err, const char *dir, const char *what, const char *why)
{
    return err_set(err, -EBADMSG, "%s: %s: %s; the file is read again", dir, what, why);
}

static bool plain_name(const char *s)
{
    return s && *s && *s != '.' && !strchr(s, '/') && strlen(s) < SCHEMA_NAME_MAX + 2;
}

/* One file against its size and, in another boot, its CRC. */
static bool check_file(const char *dir, const char *name, json_int_t bytes, json_int_t crc,
                       bool whole, struct err *err)
{
    char path[1500];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? bad(err, dir, name, "it is missing")
                               : save_disk(err, path, "cannot be opened");
    bool ok = !fstat(fd, &st) && S_ISREG(st.st_mode);
    ok = (ok && st.st_size == bytes) || bad(err, dir, name, "it has another size");
    uint8_t *buf = ok && whole ? malloc(1u << 20) : NULL;
    uint32_t seen = 0;
    while (ok && buf) {
        ssize_t n = read(fd, buf, 1u << 20);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            ok = save_disk(err, path, "cannot be read");
        if (n <= 0)
            break;
        seen = crc32c(seen, buf, (size_t)n);
    }
    if (ok && buf && seen != (uint32_t)crc)
        ok = bad(err, dir, name, "its bytes are not what was written");
    if (ok && whole && !buf)
        ok = err_set(err, -ENOMEM, "no memory to check %s", path);
    free(buf);
    close(fd);
    return ok;
}

static bool check_part(const char *dir, const json_t *part, bool whole, struct err *err)
{
    const char *date = json_string_value(json_object_get(part, "date")),
               *table = json_string_value(json_object_get(part, "table"));
    json_t *columns = json_object_get(part, "columns"), *e;
    size_t i;
    char at[1300], second[SCHEMA_NAME_MAX + 4];
    int32_t day;
    if (!date || !civil_parse(date, &day) || !plain_name(table) || !json_array_size(columns))
        return bad(err, dir, "result.json", "a table of it has no name, date or columns");
    snprintf(at, sizeof at, "%s/%s/%s", dir, date, table);
    json_array_foreach(columns, i, e)
    {
        const char *name = json_string_value(json_array_get(e, 0));
        if (!plain_name(name))
            return bad(err, dir, "result.json", "a column of it has no name");
        if (!check_file(at, name, json_integer_value(json_array_get(e, 2)),
                        json_integer_value(json_array_get(e, 3)), whole, err))
            return false;
        snprintf(second, sizeof second, "%s#", name);
        if (json_array_size(e) > 4 &&
            !check_file(at, second, json_integer_value(json_array_get(e, 4)),
                        json_integer_value(json_array_get(e, 5)), whole, err))
            return false;
    }
    return true;
}

static json_t *result_load(const char *dir, struct err *err)
{
    char path[1100];
    struct stat st;
    snprintf(path, sizeof path, "%s/result.json", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        save_disk(err, path, "there is no result");
        return NULL;
    }
    json_t *o = NULL;
    json_error_t je;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= RESULT_MAX)
        o = json_loadfd(fd, JSON_REJECT_DUPLICATES, &je);
    close(fd);
    if (!json_is_object(o)) {
        json_decref(o);
        bad(err, dir, "result.json", "it is damaged");
        return NULL;
    }
    return o;
}

bool load_result_check(const char *dir, bool whole, json_t **result, struct err *err)
{
    char boot[64];
    json_t *o = result_load(dir, err), *e;
    size_t i;
    if (!o)
        return false;
    const char *was = json_string_value(json_object_get(o, "boot"));
    bool ok = json_integer_value(json_object_get(o, "format")) == SAVE_FORMAT ||
              bad(err, dir, "result.json", "it is of another version");
    whole = whole || !boot_id(boot) || !was || strcmp(was, boot);
    json_t *symbols = json_object_get(o, "symbols");
    ok = ok && check_file(dir, "symbols", json_integer_value(json_object_get(symbols, "bytes")),
                          json_integer_value(json_object_get(symbols, "crc")), whole, err);
    json_array_foreach(json_object_get(o, "written"), i, e) ok =
        ok && check_part(dir, e, whole, err);
    if (ok && result)
        *result = o;
    else
        json_decref(o);
    return ok;
}

bool load_result_read(const char *dir, json_t **result, struct err *err)
{
    return load_result_check(dir, false, result, err);
}
