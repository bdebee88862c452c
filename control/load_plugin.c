/* SPDX-License-Identifier: Apache-2.0 */
#include "load_plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include "core/trusted.h"
#include "penstock/load.h"

#define FUNCTIONS_MAX 256u
#define NAME_MAX_     64u

struct plugin {
    char path[TRUSTED_PATH], given[TRUSTED_PATH]; /* links resolved; as it was named */
    const struct pst_load_plugin *info;
};
struct pst_load_registry {
    struct plugin *plugin;
    struct err *err;
};

static struct plugin *plugins[FUNCTIONS_MAX];
static unsigned nplugins;
static struct {
    const struct pst_load_function *f;
    const struct plugin *of;
} functions[FUNCTIONS_MAX];
static unsigned nfunctions;
static void (*log_to)(const char *line);

/* One function at work on one file. */
struct pst_load {
    const struct pst_load_function *f; /* NULL: none */
    struct load_reader_config c;
    const char *dir;
    void *state;
    bool begun;
    struct err err;
    struct pst_column column[SCHEMA_COLUMNS_MAX];
    /* read */
    struct load_block *block;
    struct load_days days;
    bool inside; /* append and reject are allowed */
};

/* What rows are to a function; `pub` first: the host's functions get it back. */
struct view {
    struct pst_load_rows pub;
    struct load_block *block;
    struct load_dict *dict;
    struct pst_load_column column[SCHEMA_COLUMNS_MAX];
};

/* ---- the host ---- */

static int fail(struct pst_load *l, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(struct pst_load *l, int code, const char *format, ...)
{
    va_list ap;
    if (l->err.code)
        return -1; /* the first one counts */
    va_start(ap, format);
    vsnprintf(l->err.text, sizeof l->err.text, format, ap);
    va_end(ap);
    l->err.code = code;
    return -1;
}

static int host_error(struct pst_load *l, const char *format, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return fail(l, -EINVAL, "%s: %s: %s", l->c.path, l->f->name, text);
}

static void host_log(const char *format, ...)
{
    char text[500];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (log_to)
        log_to(text);
    else
        fprintf(stderr, "%s\n", text);
}

static bool name_ok(const char *s)
{
    size_t n = 0;
    for (; s && s[n]; n++)
        if (!((s[n] >= 'a' && s[n] <= 'z') || (s[n] >= '0' && s[n] <= '9') || s[n] == '_'))
            return false;
    return n && n < NAME_MAX_;
}

/* NAME, or FILE:NAME when several plugins may have one of that name. */
static const struct pst_load_function *find(const char *name, uint32_t kind)
{
    const char *colon = strrchr(name, ':'), *bare = colon ? colon + 1 : name;
    size_t n = colon ? (size_t)(colon - name) : 0;
    for (unsigned i = 0; i < nfunctions; i++) {
        const struct plugin *p = functions[i].of;
        bool here = !colon || (strlen(p->given) == n && !memcmp(p->given, name, n)) ||
                    (strlen(p->path) == n && !memcmp(p->path, name, n));
        if (here && functions[i].f->kind == kind && !strcmp(functions[i].f->name, bare))
            return functions[i].f;
    }
    return NULL;
}

static bool has(const struct plugin *p, const struct pst_load_function *f)
{
    for (unsigned i = 0; i < nfunctions; i++)
        if (functions[i].of == p && functions[i].f->kind == f->kind &&
            !strcmp(functions[i].f->name, f->name))
            return true;
    return false;
}

static int host_add(struct pst_load_registry *r, const struct pst_load_function *f)
{
    const char *path = r->plugin->path, *why = NULL;
    if (!name_ok(f->name))
        why = "has a function whose name is not a-z, 0-9, _";
    else if (f->kind < PST_LOAD_READ || f->kind > PST_LOAD_SAVE)
        why = "has a function of no kind";
    else if (f->kind == PST_LOAD_READ ? !f->read : !f->rows)
        why = "has a function without the call of its kind";
    else if (has(r->plugin, f))
        why = "has two functions of one name";
    else if (nfunctions == FUNCTIONS_MAX)
        why = "has too many functions";
    if (why) {
        err_set(r->err, -EINVAL, "plugin %s %s: %.60s", path, why, f->name ? f->name : "?");
        return -1;
    }
    functions[nfunctions].f = f;
    functions[nfunctions++].of = r->plugin;
    return 0;
}

static const char *host_file(const struct pst_load *l)
{
    return l->c.path;
}

static const char *host_directory(const struct pst_load *l)
{
    return l->dir;
}

static const char *host_option(const struct pst_load *l, const char *name)
{
    const struct load_recipe *r = l->c.recipe;
    for (unsigned i = 0; i < r->noptions; i++)
        if (!strcmp(r->option[i].name, name))
            return r->option[i].value;
    return NULL;
}

static uint32_t host_columns(const struct pst_load *l, const struct pst_column **columns)
{
    *columns = l->column;
    return l->c.recipe->tables[0].ncols;
}

static int host_column(const struct pst_load *l, const char *name)
{
    return load_recipe_column(l->c.recipe, name);
}

static bool host_stopped(const struct pst_load *l)
{
    return load_progress_stopped(l->c.progress);
}

static struct pst_text host_text(const struct pst_load_rows *rows, uint32_t column, uint32_t row)
{
    const struct view *v = (const struct view *)rows;
    struct pst_text t = {"", 0};
    if (column >= rows->ncolumns || row >= v->block->rows)
        return t;
    const void *values = v->block->col[column];
    if (rows->column[column].type == PST_SYMBOL)
        t.at = load_dict_text(v->dict, ((const uint32_t *)values)[row], &t.len);
    else if (rows->column[column].type == PST_STRING) {
        const struct load_string *s = (const struct load_string *)values + row;
        t.at = s->len ? v->block->heap + s->at : "";
        t.len = s->len;
    }
    return t;
}

/* A text into a symbol or string column; false: it cannot be one, or no memory. */
static bool put_text(struct load_block *b, struct load_dict *d, unsigned col, uint32_t row,
                     const char *text, uint32_t len)
{
    if (b->schema->col[col].type == PST_SYMBOL) {
        if (len > LOAD_SYMBOL_BYTES || (len && memchr(text, 0, len)))
            return false;
        uint32_t code = load_dict_code_exact(d, text, len);
        ((uint32_t *)b->col[col])[row] = code;
        return code != LOAD_NO_CODE;
    }
    struct load_string s = {0, len};
    if (len && !load_block_text(b, len, &s.at))
        return false;
    if (len)
        memcpy(b->heap + s.at, text, len);
    ((struct load_string *)b->col[col])[row] = s;
    return true;
}

static int host_set_text(struct pst_load_rows *rows, uint32_t column, uint32_t row,
                         struct pst_text text)
{
    struct view *v = (struct view *)rows;
    uint8_t type = column < rows->ncolumns ? (uint8_t)rows->column[column].type : 0;
    if ((type != PST_SYMBOL && type != PST_STRING) || row >= v->block->rows)
        return -1;
    /* the text may lie in the heap that is about to move */
    char *copy = text.len ? malloc(text.len) : NULL;
    if (text.len && !copy)
        return -1;
    if (text.len)
        memcpy(copy, text.at, text.len);
    bool ok = put_text(v->block, v->dict, column, row, copy, text.len);
    free(copy);
    return ok ? 0 : -1;
}

static bool hand_on(struct pst_load *l)
{
    struct load_block *b = l->block;
    if (b->rows && !l->c.sink.block(l->c.sink.arg, b, &l->err))
        return false;
    load_block_clear(b);
    return true;
}

static int put_value(struct pst_load *l, unsigned c, uint32_t row, const struct pst_value *v)
{
    struct load_block *b = l->block;
    uint8_t type = b->schema->col[c].type, *to = (uint8_t *)b->col[c];
    unsigned w = load_width(type);
    if (v->type != type)
        return fail(l, -EINVAL, "%s: %s: the value of column %s is a %s, not a %s", l->c.path,
                    l->f->name, b->schema->col[c].name,
                    type_name((uint8_t)v->type) ? type_name((uint8_t)v->type) : "?",
                    type_name(type));
    to += (size_t)row * w;
    switch (type) {
    case PST_SYMBOL:
    case PST_STRING:
        return put_text(b, l->c.dict, c, row, v->text.at, v->text.len)
                   ? 0
                   : fail(l, -EINVAL, "%s: %s: a text of column %s is too long, or no memory",
                          l->c.path, l->f->name, b->schema->col[c].name);
    case PST_FLOAT:
        memcpy(to, &v->f, 8);
        break;
    case PST_REAL: {
        float f = (float)v->f;
        memcpy(to, &f, 4);
        break;
    }
    case PST_GUID:
        memcpy(to, v->guid, 16);
        break;
    default:
        memcpy(to, &v->i, w); /* little endian: the low bytes */
    }
    return 0;
}

static int host_append(struct pst_load *l, const struct pst_value *row)
{
    struct load_block *b = l->block;
    const struct load_recipe *r = l->c.recipe;
    if (!l->inside)
        return -1;
    if ((b->rows == b->room || b->heap_bytes > LOAD_HEAP_MAX / 2) && !hand_on(l))
        return -1;
    for (unsigned c = 0; c < b->schema->ncols; c++)
        if (put_value(l, c, b->rows, &row[c]))
            return -1;
    int64_t time = ((const int64_t *)b->col[0])[b->rows];
    int32_t day = time == PST_NULL_TIMESTAMP  ? -1
                  : r->date == LOAD_DATE_TIME ? load_day(&l->days, time)
                                              : r->day;
    if (day < 0 || day > CIVIL_DAY_MAX)
        return fail(l, -EINVAL, "%s: %s: a row without a time or a date that a partition can have",
                    l->c.path, l->f->name);
    if (!load_block_run(b, day, 1))
        return fail(l, -ENOMEM, "%s: no memory for its dates", l->c.path);
    b->rows++;
    load_progress_add(l->c.progress, 1, 0);
    return 0;
}

static int host_reject(struct pst_load *l, uint64_t line, const char *column, const char *reason,
                       struct pst_text text)
{
    const struct load_reject r = {line, column ? column : "", reason ? reason : "", text.at,
                                  text.len};
    return l->inside && l->c.rejects.reject(l->c.rejects.arg, &r, &l->err) ? 0 : -1;
}

static const struct pst_load_host the_host = {.abi = PST_LOAD_ABI,
                                              .size = sizeof(struct pst_load_host),
                                              .add = host_add,
                                              .file = host_file,
                                              .option = host_option,
                                              .directory = host_directory,
                                              .columns = host_columns,
                                              .column = host_column,
                                              .append = host_append,
                                              .reject = host_reject,
                                              .text = host_text,
                                              .set_text = host_set_text,
                                              .stopped = host_stopped,
                                              .error = host_error,
                                              .log = host_log};

/* ---- loading ---- */

static bool introduce(struct plugin *x, void *handle, struct err *err)
{
    const struct pst_load_plugin *info = dlsym(handle, "pst_load_plugin");
    const struct pst_load_host **host = dlsym(handle, "pst_load_host");
    int (*registers)(struct pst_load_registry *);
    *(void **)&registers = dlsym(handle, "pst_load_register");
    if (!info || !host || !registers)
        return err_set(err, -EINVAL,
                       "plugin %s: it has no pst_load_plugin, pst_load_host and pst_load_register: "
                       "see penstock/load.h",
                       x->path);
    if (info->abi != PST_LOAD_ABI)
        return err_set(
            err, -EINVAL,
            "plugin %s was built for load interface %u, this Penstock (%s) has %u: build "
            "it against this Penstock's penstock/load.h",
            x->path, info->abi, PST_VERSION, PST_LOAD_ABI);
    if (info->host_size > sizeof(struct pst_load_host))
        return err_set(err, -EINVAL, "plugin %s was built for a newer Penstock than this one (%s)",
                       x->path, PST_VERSION);
    if (!name_ok(info->name))
        return err_set(err, -EINVAL, "plugin %s: its name is not a-z, 0-9, _", x->path);
    x->info = info;
    struct err why = {0};
    struct pst_load_registry r = {x, &why};
    unsigned before = nfunctions;
    *host = &the_host;
    int code = registers(&r);
    if (!code && !why.code)
        return true;
    nfunctions = before;
    if (why.code)
        *err = why;
    else
        err_set(err, -EINVAL, "plugin %s: its registration failed with code %d", x->path, code);
    return false;
}

bool load_plugins_add(const char *file, struct err *err)
{
    if (nplugins == FUNCTIONS_MAX)
        return err_set(err, -E2BIG, "plugin %s: there are too many", file);
    if (*file != '/')
        return err_set(err, -EINVAL, "plugin %s: give its absolute path", file);
    struct plugin *x = calloc(1, sizeof *x);
    void *handle = NULL;
    bool ok = x || err_set(err, -ENOMEM, "plugin %s: no memory", file);
    if (ok && snprintf(x->given, sizeof x->given, "%s", file) >= (int)sizeof x->given)
        ok = err_set(err, -ENAMETOOLONG, "plugin %.200s…: the path is too long", file);
    ok = ok && trusted_file(file, x->path, "plugin", err);
    if (ok && !(handle = dlopen(x->path, RTLD_NOW | RTLD_LOCAL)))
        ok = err_set(err, -EINVAL, "plugin %s cannot be loaded: %.300s", file, dlerror());
    if (ok && introduce(x, handle, err)) {
        plugins[nplugins++] = x;
        return true;
    }
    if (handle)
        dlclose(handle);
    free(x);
    return false;
}

json_t *load_plugins_json(void)
{
    static const char *const kinds[] = {"", "read", "post_read", "save"};
    json_t *list = json_array();
    for (unsigned i = 0; i < nplugins; i++) {
        const struct plugin *x = plugins[i];
        json_t *of = json_array();
        for (unsigned k = 0; k < nfunctions; k++)
            if (functions[k].of == x)
                json_array_append_new(
                    of, json_pack("{s:s,s:s,s:s}", "name", functions[k].f->name, "kind",
                                  kinds[functions[k].f->kind], "about",
                                  functions[k].f->about ? functions[k].f->about : ""));
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:o}", "plugin", x->info->name,
                                              "version", x->info->version ? x->info->version : "",
                                              "about", x->info->about ? x->info->about : "", "file",
                                              x->path, "functions", of));
    }
    return list;
}

/* ---- a function's life ---- */

static bool said(struct pst_load *l, struct err *err)
{
    if (!l->err.code)
        fail(l, -EINVAL, "%s: %s failed without a reason", l->c.path, l->f->name);
    *err = l->err;
    return false;
}

static bool begin(struct pst_load *l, const struct pst_load_function *f,
                  const struct load_reader_config *c, const char *dir, struct err *err)
{
    const struct schema *s = &c->recipe->tables[0];
    l->f = f;
    l->c = *c;
    l->dir = dir;
    for (unsigned i = 0; i < s->ncols; i++)
        l->column[i] = (struct pst_column){s->col[i].name, s->col[i].type};
    l->begun = true;
    return !f->begin || !f->begin(l, f->data, &l->state) || said(l, err);
}

static bool end(struct pst_load *l, bool ok, struct err *err)
{
    if (!l->begun)
        return true;
    l->begun = false;
    return !l->f->end || !l->f->end(l, l->state, ok) || !ok || said(l, err);
}

/* ---- read ---- */

/* The function of the reader that is opened next; one task at a time. */
static const struct pst_load_function *reading;

static void plugin_close(void *reader)
{
    struct pst_load *l = reader;
    end(l, false, NULL);
    load_block_destroy(l->block);
    free(l);
}

static void *plugin_open(const struct load_reader_config *c, struct err *err)
{
    struct pst_load *l = calloc(1, sizeof *l);
    const struct pst_load_function *f = reading;
    if (!l || !f) {
        err_set(err, -ENOMEM, "no memory to read %s", c->path);
        free(l);
        return NULL;
    }
    load_days_init(&l->days, c->recipe->calendar_tz, c->recipe->eod_s);
    l->block = load_block_create(&c->recipe->tables[0], 0, 0, err);
    bool ok = l->block != NULL;
    if (ok && c->recipe->date == LOAD_DATE_COLUMN)
        ok = err_set(err, -EINVAL, "load.files: %s: date: a plugin's rows have no other columns",
                     c->recipe->name);
    if (ok && begin(l, f, c, NULL, err))
        return l;
    plugin_close(l);
    return NULL;
}

static bool plugin_feed(void *reader, const uint8_t *bytes, size_t n, bool last, size_t *used,
                        struct err *err)
{
    struct pst_load *l = reader;
    uint64_t done = 0;
    l->inside = true;
    int code = l->f->read(l, l->state, bytes, n, last, &done);
    l->inside = false;
    if (code || l->err.code)
        return said(l, err);
    if (done > n || (last && done < n))
        return err_set(err, -EINVAL, "%s: %s left %llu bytes at the end of the file", l->c.path,
                       l->f->name, (unsigned long long)(n - done));
    *used = (size_t)done;
    if (!last)
        return true;
    if (!end(l, true, err))
        return false;
    return hand_on(l) || said(l, err);
}

static const struct load_reader load_reader_plugin = {
    .name = "plugin", .open = plugin_open, .feed = plugin_feed, .close = plugin_close};

static const struct load_reader *plugin_reader(void *arg, const char *name)
{
    (void)arg;
    reading = find(name, PST_LOAD_READ);
    return reading ? &load_reader_plugin : NULL;
}

/* ---- post_read, save ---- */

struct chain {
    struct pst_load post, save; /* f NULL: none */
    struct load_sink next;
    struct load_days days;
    struct view view;
    uint8_t *keep;
    uint32_t keep_room;
};

static void make_view(struct chain *x, struct load_block *b, bool keep)
{
    struct view *v = &x->view;
    v->block = b;
    v->dict = x->post.c.dict;
    v->pub = (struct pst_load_rows){b->rows, b->schema->ncols, v->column, keep ? x->keep : NULL};
    for (unsigned c = 0; c < b->schema->ncols; c++) {
        uint8_t type = b->schema->col[c].type;
        bool text = type == PST_SYMBOL || type == PST_STRING;
        v->column[c] =
            (struct pst_load_column){b->schema->col[c].name, type, text ? NULL : b->col[c]};
    }
}

/* Rows with keep 0 go, in every column and in the runs of dates. */
static bool compact(struct chain *x, struct load_block *b, struct err *err)
{
    uint32_t kept = 0, row = 0, nruns = b->nruns;
    for (unsigned c = 0; c < b->schema->ncols; c++) {
        unsigned w = load_width(b->schema->col[c].type);
        uint8_t *v = b->col[c];
        kept = 0;
        for (uint32_t i = 0; i < b->rows; i++)
            if (x->keep[i]) {
                if (kept != i)
                    memcpy(v + (size_t)kept * w, v + (size_t)i * w, w);
                kept++;
            }
    }
    for (uint32_t i = 0; i < nruns; i++) {
        uint32_t left = 0;
        for (uint32_t k = 0; k < b->run[i].rows; k++)
            left += x->keep[row++] != 0;
        b->run[i].rows = left;
    }
    b->rows = b->run_rows = kept;
    if (x->post.c.recipe->date != LOAD_DATE_TIME)
        return true;
    uint32_t bad; /* time may have been changed */
    b->nruns = b->run_rows = 0;
    return load_block_days(b, &x->days, &bad) ||
           err_set(err, -EINVAL, "%s: %s gave a row no time, or a date that no partition can have",
                   x->post.c.path, x->post.f->name);
}

static bool post_read(struct chain *x, struct load_block *b, struct err *err)
{
    if (x->keep_room < b->rows) {
        uint8_t *p = realloc(x->keep, b->room);
        if (!p)
            return err_set(err, -ENOMEM, "%s: no memory", x->post.c.path);
        x->keep = p;
        x->keep_room = b->room;
    }
    memset(x->keep, 1, b->rows);
    make_view(x, b, true);
    if (x->post.f->rows(&x->post, x->post.state, &x->view.pub) || x->post.err.code)
        return said(&x->post, err);
    return compact(x, b, err);
}

static bool chain_block(void *arg, struct load_block *b, struct err *err)
{
    struct chain *x = arg;
    if (x->post.f && !post_read(x, b, err))
        return false;
    if (!b->rows)
        return true;
    if (x->save.f) {
        make_view(x, b, false);
        if (x->save.f->rows(&x->save, x->save.state, &x->view.pub) || x->save.err.code)
            return said(&x->save, err);
    }
    return x->next.block(x->next.arg, b, err);
}

static bool chain_end(void *arg, void *state, bool ok, struct err *err)
{
    (void)arg;
    struct chain *x = state;
    bool done = end(&x->post, ok, err);
    done = end(&x->save, ok && done, done ? err : NULL) && done;
    free(x->keep);
    free(x);
    return done;
}

static bool chain_begin(void *arg, const struct load_reader_config *c, const char *post,
                        const char *save, const char *dir, struct load_sink *next, void **state,
                        struct err *err)
{
    const struct pst_load_function *p = post ? find(post, PST_LOAD_POST_READ) : NULL,
                                   *s = save ? find(save, PST_LOAD_SAVE) : NULL;
    (void)arg;
    if (post && !p)
        return err_set(err, -EINVAL, "%s: no plugin has the post_read function %s", c->recipe->name,
                       post);
    if (save && !s)
        return err_set(err, -EINVAL, "%s: no plugin has the save function %s", c->recipe->name,
                       save);
    struct chain *x = calloc(1, sizeof *x);
    if (!x)
        return err_set(err, -ENOMEM, "no memory to read %s", c->path);
    x->next = *next;
    x->post.c = *c;
    load_days_init(&x->days, c->recipe->calendar_tz, c->recipe->eod_s);
    if ((p && !begin(&x->post, p, c, dir, err)) || (s && !begin(&x->save, s, c, dir, err))) {
        chain_end(NULL, x, false, NULL);
        return false;
    }
    *next = (struct load_sink){chain_block, x};
    *state = x;
    return true;
}

void load_plugins_hooks(struct load_hooks *h, void (*log)(const char *line))
{
    log_to = log;
    h->plugin_reader = plugin_reader;
    h->plugin_sink = chain_begin;
    h->plugin_sink_end = chain_end;
}
