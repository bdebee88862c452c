/* SPDX-License-Identifier: Apache-2.0 */
/* The `load` mapping: what must hold between its keys, and with tables and feeds. */
#include "config_check.h"
#include "config_keys.h"

#include <errno.h>
#include <math.h>
#include <sys/stat.h>

#define FAIL(line, ...) return fail(c, err, line, __VA_ARGS__)

__attribute__((format(printf, 4, 5))) static bool fail(const struct config *c, struct err *err,
                                                       int line, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(err, -EINVAL, "%s:%d: %s", c->file, line, text);
}

static const char *hint(const struct config_nearest *n, const char *otherwise, char buf[100])
{
    if (!n->best)
        return otherwise;
    snprintf(buf, 100, "did you mean %s?", n->best);
    return buf;
}

/* Is `path` the directory `dir` or below it? Both absolute. */
static bool within(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    return strncmp(path, dir, n) == 0 && (!path[n] || path[n] == '/' || n == 1);
}

/* ---- directories and memory ---- */

/* Are they one directory, however they are written? */
static bool same_directory(const char *a, const char *b)
{
    struct stat x, y;
    if (stat(a, &x) == 0 && stat(b, &y) == 0)
        return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
    for (;;) { /* not made yet */
        while (*a == '/' && (a[1] == '/' || !a[1]))
            a++;
        while (*b == '/' && (b[1] == '/' || !b[1]))
            b++;
        if (*a != *b || !*a)
            return *a == *b;
        a++;
        b++;
    }
}

static bool check_directory(const struct config *c, const char *key, const char *path,
                            struct err *err)
{
    const char *const others[] = {c->database, c->log_directory, c->spill_directory,
                                  c->state_directory, c->kdb_log_directory};
    static const char *const names[] = {"database", "log_directory", "spill_directory",
                                        "state_directory", "kdb_log_directory"};
    if (*path != '/')
        FAIL(c->load.file_line, "load.%s: '%.200s' is no absolute path", key, path);
    for (unsigned i = 0; i < PST_COUNT(others); i++)
        if (others[i] && within(path, others[i]))
            FAIL(c->load.file_line, "load.%s: '%.200s' lies in %s; give it a directory of its own",
                 key, path, names[i]);
    return true;
}

static bool check_directories(const struct config *c, struct err *err)
{
    const struct config_load *l = &c->load;
    const char *const path[] = {l->temporary, l->finished_directory, l->quarantine_directory,
                                l->rejects_directory};
    static const char *const key[] = {"temporary", "finished_directory", "quarantine_directory",
                                      "rejects_directory"};
    if (!l->staging.count)
        FAIL(l->file_line, "load.staging is missing; give the directories where files arrive");
    if (!c->database)
        FAIL(l->file_line, "load: there is no database to load into; set database");
    for (uint32_t i = 0; i < l->staging.count; i++) {
        if (!check_directory(c, "staging", l->staging.at[i], err))
            return false;
        for (uint32_t j = 0; j < i; j++)
            if (same_directory(l->staging.at[i], l->staging.at[j]))
                FAIL(l->file_line, "load.staging: '%.200s' is given twice", l->staging.at[i]);
    }
    for (unsigned i = 0; i < PST_COUNT(path); i++) {
        if (path[i] && !check_directory(c, key[i], path[i], err))
            return false;
        for (uint32_t j = 0; path[i] && j < l->staging.count; j++)
            if (same_directory(path[i], l->staging.at[j]))
                FAIL(l->file_line,
                     "load.%s: is a staging directory; what is put there would be "
                     "loaded again: give it another one",
                     key[i]);
    }
    if (l->finished_directory && l->finished != CONFIG_FINISHED_MOVE)
        FAIL(l->file_line, "load.finished_directory: nothing is put there without finished: move");
    if (l->post_batch_exec.count && l->post_batch_exec.at[0][0] != '/')
        FAIL(l->file_line,
             "load.post_batch_exec: '%.200s' is no absolute path; write [/path/to/command, "
             "argument, ...]",
             l->post_batch_exec.at[0]);
    return true;
}

static bool check_limits(const struct config *c, struct err *err)
{
    const struct config_load *l = &c->load;
    if (l->large_worker && l->workers < 2)
        FAIL(l->file_line, "load.large_worker: leaves no worker for other files; set workers to 2 "
                           "or more");
    if (l->large_worker_memory && !l->large_worker)
        FAIL(l->file_line, "load.large_worker_memory: there is no large worker; set large_worker: "
                           "true");
    if (l->large_worker_memory && l->large_worker_memory < 64 << 20)
        FAIL(l->file_line, "load.large_worker_memory: less than 64M");
    if ((l->limit_min || l->limit_max) && !l->compounding)
        FAIL(l->file_line, "load.%s: has a meaning only with compounding: true",
             l->limit_min ? "limit_min" : "limit_max");
    if (l->limit_min && l->limit_min > l->file_size_limit)
        FAIL(l->file_line, "load.limit_min: is more than file_size_limit");
    if (l->limit_max && l->limit_max < l->file_size_limit)
        FAIL(l->file_line, "load.limit_max: is less than file_size_limit");
    return true;
}

/* ---- patterns ---- */

static bool has(const char *pattern, const char *word)
{
    return strstr(pattern, word) != NULL;
}

/* No directories; what stands in {} of a batch's is known (that of a file is checked with its
 * table, where the recipe is made). */
static bool check_pattern(const struct config *c, const char *list, const char *name,
                          const char *pattern, int line, struct err *err)
{
    static const char *const words[] = {"{i}", "{M}", "{batch}", "{date}", "{sym}"};
    if (strchr(pattern, '/'))
        FAIL(line, "load.%s.%s.match: a pattern of file names has no /", list, name);
    for (const char *p = strchr(pattern, '{'); p && !strcmp(list, "batches");
         p = strchr(p + 1, '{')) {
        bool known = false;
        for (unsigned i = 0; i < PST_COUNT(words); i++)
            known |= !strncmp(p, words[i], strlen(words[i]));
        if (!known)
            FAIL(line, "load.batches.%s.match: '%.20s' is unknown; {i}, {M} and {batch} are known",
                 name, p);
    }
    return true;
}

static bool check_batch(const struct config *c, const struct config_load_batch *b, struct err *err)
{
    if (!check_pattern(c, "batches", b->name, b->match, b->file_line, err))
        return false;
    if (!strcmp(b->name, "each"))
        FAIL(b->file_line, "load.batches.each: what belongs to no batch is called so; choose "
                           "another name");
    if (b->by == CONFIG_BY_COUNT && has(b->match, "{i}") != has(b->match, "{M}"))
        FAIL(b->file_line,
             "load.batches.%s.match: has {%s} without {%s}, and by: count needs both: the part and "
             "the number of parts",
             b->name, has(b->match, "{i}") ? "i" : "M", has(b->match, "{i}") ? "M" : "i");
    if (b->suffix && b->by != CONFIG_BY_TRIGGER && b->by != CONFIG_BY_MANIFEST)
        FAIL(b->file_line,
             "load.batches.%s.suffix: is that of a trigger or manifest file; set `by` or remove it",
             b->name);
    if (b->suffix && strchr(b->suffix, '/'))
        FAIL(b->file_line, "load.batches.%s.suffix: has a /", b->name);
    return true;
}

/* ---- kinds of files ---- */

static bool table_known(const struct config *c, const struct config_load_file *f,
                        const struct config_table **out, struct err *err)
{
    static const char *const decoders[] = {
        "itch_order", "itch_trade", "itch_status", "itch_imbalance", "itch_directory", "iex_quote",
        "iex_level",  "iex_trade",  "iex_status",  "iex_auction",    "iex_directory"};
    struct config_nearest near = {.wanted = f->table};
    char buf[100];
    *out = NULL;
    for (uint32_t i = 0; i < c->tables.count; i++) {
        if (!strcmp(c->tables.at[i].name, f->table)) {
            *out = &c->tables.at[i];
            return true;
        }
        config_nearest_try(&near, c->tables.at[i].name);
    }
    for (unsigned i = 0; i < PST_COUNT(decoders); i++)
        if (!strcmp(decoders[i], f->table))
            return true;
    FAIL(f->file_line, "load.files.%s.table: there is no table %s; %s", f->name, f->table,
         hint(&near, "declare it under tables", buf));
}

static bool column_known(const struct config *c, const struct config_load_file *f, const char *key,
                         const struct config_table *t, const char *column, struct err *err)
{
    struct config_nearest near = {.wanted = column};
    char buf[100];
    for (uint32_t i = 0; t && i < t->columns.count; i++) {
        if (!strcmp(t->columns.at[i].name, column))
            return true;
        config_nearest_try(&near, t->columns.at[i].name);
    }
    if (!t) /* a decoder's: its columns are compared when the loader starts */
        return true;
    FAIL(f->file_line, "load.files.%s.%s: table %s has no column %.40s; %s", f->name, key, t->name,
         column, hint(&near, "name columns of this table", buf));
}

static bool check_columns(const struct config *c, const struct config_load_file *f,
                          const struct config_table *t, struct err *err)
{
    for (uint32_t i = 0; i < f->columns.count; i++) {
        if (strcmp(f->columns.at[i], "-") &&
            !column_known(c, f, "columns", t, f->columns.at[i], err))
            return false;
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(f->columns.at[i], "-") && !strcmp(f->columns.at[i], f->columns.at[j]))
                FAIL(f->file_line, "load.files.%s.columns: %.40s is there twice", f->name,
                     f->columns.at[i]);
    }
    for (uint32_t i = 0; i < f->map.count; i++) {
        bool unwanted = !strcmp(f->map.at[i].column, "-");
        if (!unwanted && !column_known(c, f, "map", t, f->map.at[i].column, err))
            return false;
        for (uint32_t j = 0; j < i && !unwanted; j++)
            if (!strcmp(f->map.at[i].column, f->map.at[j].column))
                FAIL(f->map.at[i].file_line, "load.files.%s.map: %.40s comes from two columns",
                     f->name, f->map.at[i].column);
    }
    if (f->map.count && f->columns.count)
        FAIL(f->file_line,
             "load.files.%s: columns gives the file's order, map the header's names; keep one",
             f->name);
    if (f->map.count && f->header == CONFIG_HEADER_NO)
        FAIL(f->file_line, "load.files.%s.map: needs a header, and header is no", f->name);
    for (uint32_t i = 0; i < f->scale.count; i++) {
        const char *factor = f->scale.at[i].factor;
        char *end;
        double v = strtod(factor, &end);
        if (!column_known(c, f, "scale", t, f->scale.at[i].name, err))
            return false;
        if (*end || end == factor || !isfinite(v) || v == 0)
            FAIL(f->scale.at[i].file_line,
                 "load.files.%s.scale.%s: '%.30s' is no number; write e.g. 0.0001", f->name,
                 f->scale.at[i].name, factor);
    }
    for (uint32_t i = 0; i < f->optional.count; i++)
        if (strcmp(f->optional.at[i], "*") &&
            !column_known(c, f, "optional", t, f->optional.at[i], err))
            return false;
    for (uint32_t i = 0; i < f->times.count; i++)
        if (!column_known(c, f, "times", t, f->times.at[i].name, err))
            return false;
    for (uint32_t i = 0; i < f->constants.count; i++) {
        const char *name = f->constants.at[i].name;
        if (!column_known(c, f, "constants", t, name, err))
            return false;
        for (uint32_t j = 0; j < f->columns.count; j++)
            if (!strcmp(f->columns.at[j], name))
                FAIL(f->file_line,
                     "load.files.%s.constants: %.40s is also one of columns; keep one", f->name,
                     name);
    }
    return true;
}

static bool time_format(const char *text)
{
    static const char *const words[] = {"auto",     "iso",      "ymd",   "epoch_s", "epoch_ms",
                                        "epoch_us", "epoch_ns", "clock", "day_s",   "day_ms",
                                        "day_us",   "day_ns",   "kdb_ns"};
    for (unsigned i = 0; i < PST_COUNT(words); i++)
        if (!strcmp(text, words[i]))
            return true;
    return strchr(text, '%') != NULL;
}

static bool check_texts(const struct config *c, const struct config_load_file *f, struct err *err)
{
    const char *const functions[] = {f->read_function, f->post_read_function, f->save_function};
    static const char *const keys[] = {"read_function", "post_read_function", "save_function"};
    const char quote = f->quote == CONFIG_QUOTE_DOUBLE   ? '"'
                       : f->quote == CONFIG_QUOTE_SINGLE ? '\''
                                                         : 0;
    if (quote && f->separator[0] == quote)
        FAIL(f->file_line, "load.files.%s.separator: is the quote as well; change one", f->name);
    char *end;
    double factor = strtod(f->expansion, &end);
    if (strcmp(f->expansion, "auto") && (*end || end == f->expansion || !(factor > 0)))
        FAIL(f->file_line, "load.files.%s.expansion: '%.15s' is neither auto nor a number above 0",
             f->name, f->expansion);
    for (uint32_t i = 0; i < f->nulls.count; i++)
        if (strlen(f->nulls.at[i]) > 31)
            FAIL(f->file_line, "load.files.%s.nulls: a text has more than 31 bytes", f->name);
    if (!time_format(f->time_format))
        FAIL(f->file_line,
             "load.files.%s.time_format: '%.40s' is unknown; see penstockd --help-config", f->name,
             f->time_format);
    for (uint32_t i = 0; i < f->times.count; i++)
        if (!time_format(f->times.at[i].format))
            FAIL(f->times.at[i].file_line,
                 "load.files.%s.times.%s: '%.40s' is unknown; see penstockd --help-config", f->name,
                 f->times.at[i].name, f->times.at[i].format);
    for (unsigned i = 0; i < PST_COUNT(functions); i++) {
        const char *t = functions[i], *colon = t ? strrchr(t, ':') : NULL;
        bool file = colon && *t == '/' && colon - t > 4 && !strncmp(colon - 3, ".so", 3);
        if (t && (!file || !colon[1]))
            FAIL(f->file_line, "load.files.%s.%s: '%.200s' is not /dir/file.so:NAME", f->name,
                 keys[i], t);
    }
    return true;
}

static bool check_date(const struct config *c, const struct config_load_file *f,
                       const struct config_table *t, struct err *err)
{
    int32_t day;
    if (!strcmp(f->date, "name")) {
        if (!has(f->match, "{date}"))
            FAIL(f->file_line, "load.files.%s.date: name needs {date} in match", f->name);
    } else if (!strncmp(f->date, "column ", 7)) {
        return column_known(c, f, "date", t, f->date + 7, err);
    } else if (strcmp(f->date, "time") && !civil_parse(f->date, &day)) {
        FAIL(f->file_line,
             "load.files.%s.date: '%.40s' is neither time, name, `column NAME` nor a date", f->name,
             f->date);
    }
    return true;
}

static bool check_file(const struct config *c, const struct config_load_file *f, struct err *err)
{
    const struct config_table *t = NULL;
    bool decoded = f->format == CONFIG_LOAD_ITCH50 || f->format == CONFIG_LOAD_PCAP;
    if (!check_pattern(c, "files", f->name, f->match, f->file_line, err))
        return false;
    if (!f->table && !decoded)
        FAIL(f->file_line, "load.files.%s: table is missing; name the table that takes its rows",
             f->name);
    if (f->table && decoded)
        FAIL(f->file_line,
             "load.files.%s.table: the decoder of such a file has tables of its own; remove it",
             f->name);
    if (decoded && !f->feed)
        FAIL(f->file_line, "load.files.%s: feed is missing; name the feed that it holds", f->name);
    if (f->feed && !decoded)
        FAIL(f->file_line, "load.files.%s.feed: has a meaning only for itch50 and pcap", f->name);
    if (f->feed && !config_feed_named(c, f->feed)) {
        struct config_nearest near = {.wanted = f->feed};
        char buf[100];
        for (uint32_t i = 0; i < c->feeds.count; i++)
            config_nearest_try(&near, c->feeds.at[i].name);
        FAIL(f->file_line, "load.files.%s.feed: there is no feed %s; %s", f->name, f->feed,
             hint(&near, "add it under feeds", buf));
    }
    if (f->feed && config_feed_named(c, f->feed)->decoder == CONFIG_DECODE_NONE)
        FAIL(f->file_line, "load.files.%s.feed: feed %s has no decoder", f->name, f->feed);
    if (f->symbol == CONFIG_SYMBOL_NAME && !has(f->match, "{sym}"))
        FAIL(f->file_line, "load.files.%s.symbol: name needs {sym} in match", f->name);
    if (f->session && f->format != CONFIG_LOAD_ITCH50)
        FAIL(f->file_line, "load.files.%s.session: has a meaning only for itch50", f->name);
    if (f->sym && f->format != CONFIG_LOAD_SPLAYED)
        FAIL(f->file_line, "load.files.%s.sym: has a meaning only for splayed", f->name);
    if ((f->format == CONFIG_LOAD_PLUGIN) != (f->read_function != NULL))
        FAIL(f->file_line, "load.files.%s: format: plugin and read_function go together", f->name);
    return (!f->table || table_known(c, f, &t, err)) && check_columns(c, f, t, err) &&
           check_texts(c, f, err) && check_date(c, f, t, err);
}

bool config_check_load(const struct config *c, struct err *err)
{
    const struct config_load *l = &c->load;
    if (!l->file_line)
        return true;
    if (!check_directories(c, err) || !check_limits(c, err))
        return false;
    for (uint32_t i = 0; i < l->batches.count; i++)
        if (!check_batch(c, &l->batches.at[i], err))
            return false;
    for (uint32_t i = 0; i < l->files.count; i++)
        if (!check_file(c, &l->files.at[i], err))
            return false;
    return true;
}
