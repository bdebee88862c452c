/* SPDX-License-Identifier: Apache-2.0 */
/* Questions that control puts for verbs and queries, answered on the loader thread. */
#include <errno.h>
#include <sys/stat.h>
#include "core/clock.h"
#include "loading_parts.h"

static const char *text_of(json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* A table with the names and types of its columns. */
static json_t *table_json(struct loading *l, enum loader_table t, bool all)
{
    json_t *columns = json_array(), *o;
    o = l->loader ? loader_json(l->loader, t, all)
                  : json_pack("{s:s,s:[],s:i}", "table", loader_table_name(t), "rows", "total", 0);
    for (const struct loader_column *c = loader_columns(t); c->name; c++) {
        char type[2] = {c->type, 0};
        json_array_append_new(columns, json_pack("[s,s]", c->name, type));
    }
    if (o)
        json_object_set(o, "columns", columns);
    json_decref(columns);
    return o;
}

static json_t *table_named(struct loading *l, const char *name, bool all, struct err *err)
{
    for (int t = 0; t < LOADER_TABLES; t++)
        if (!strcmp(loader_table_name((enum loader_table)t), name))
            return table_json(l, (enum loader_table)t, all);
    err_set(err, -EINVAL, "load tasks, workers, files, batches or memory, not '%.40s'", name);
    return NULL;
}

/* All tables at one moment, for a query. */
static json_t *snapshot(struct loading *l)
{
    json_t *tables = json_array();
    for (int t = 0; t < LOADER_TABLES; t++)
        json_array_append_new(tables, table_json(l, (enum loader_table)t, true));
    return json_pack("{s:I,s:o}", "time", (json_int_t)clock_now(&l->d->clock), "tables", tables);
}

/* 0 and no error: all batches. */
static bool batch_of(struct loading *l, json_t *ask, uint64_t *batch, bool must, struct err *err)
{
    const char *name = text_of(ask, "batch");
    *batch = name ? loader_find(l->loader, name) : 0;
    if (name && !*batch)
        return err_set(err, -ENOENT, "there is no batch '%.100s'; penstock load batches lists them",
                       name);
    return *batch || !must ||
           err_set(err, -EINVAL, "which batch? penstock load batches lists them");
}

static json_t *done(const char *text)
{
    return json_pack("{s:s}", "done", text);
}

static json_t *change(struct loading *l, const char *verb, json_t *ask, struct err *err)
{
    uint64_t batch;
    bool pause = !strcmp(verb, "pause"), cancel = !strcmp(verb, "cancel");
    if (!batch_of(l, ask, &batch, cancel, err))
        return NULL;
    if (cancel)
        return loader_cancel(l->loader, batch, err)
                   ? done("cancelled: nothing of it is in the database, its files stay")
                   : NULL;
    if (pause)
        return loader_pause(l->loader, batch, err)
                   ? done(batch ? "paused: tasks that run end, no further one begins"
                                : "all batches are paused: tasks that run end, no further one "
                                  "begins")
                   : NULL;
    return loader_resume(l->loader, batch, err)
               ? done(batch ? "the batch goes on" : "loading goes on")
               : NULL;
}

/* The paths of a list; NULL: no memory. */
static const char **paths(json_t *list, unsigned *n)
{
    const char **p = calloc(json_array_size(list) + 1, sizeof *p);
    json_t *x;
    size_t i;
    *n = 0;
    if (p)
        json_array_foreach(list, i, x) p[(*n)++] = json_string_value(x);
    return p;
}

/* Workers do not follow links (load/input.h): said here, where the operator is. */
static bool no_links(const char *const *path, unsigned n, struct err *err)
{
    struct stat st;
    for (unsigned i = 0; i < n; i++)
        if (path[i] && !lstat(path[i], &st) && S_ISLNK(st.st_mode))
            return err_set(err, -ELOOP, "%s is a symbolic link: name the file itself", path[i]);
    return true;
}

static json_t *add(struct loading *l, json_t *ask, struct err *err)
{
    struct loader_add a = {.name = text_of(ask, "name"),
                           .supersede = json_is_true(json_object_get(ask, "supersede")),
                           .partial = json_is_true(json_object_get(ask, "partial")),
                           .priority = (int)json_integer_value(json_object_get(ask, "priority"))};
    uint64_t batch = 0;
    const char **p = paths(json_object_get(ask, "files"), &a.n);
    a.path = p;
    bool ok = p ? no_links(p, a.n, err) && loader_add(l->loader, &a, &batch, err)
                : err_set(err, -ENOMEM, "no memory");
    free(p);
    return ok ? json_pack("{s:s,s:I,s:i}", "done", "added", "batch", (json_int_t)batch, "files",
                          (int)a.n)
              : NULL;
}

static json_t *plan(struct loading *l, json_t *ask, struct err *err)
{
    unsigned n;
    const char **p = paths(json_object_get(ask, "what"), &n);
    json_t *o = p ? loader_plan(l->loader, p, n, err) : NULL;
    if (!p)
        err_set(err, -ENOMEM, "no memory");
    free(p);
    return o;
}

json_t *loading_respond(struct loading *l, json_t *ask, struct err *err)
{
    const char *verb = text_of(ask, "ask"), *what = text_of(ask, "what");
    if (!strcmp(verb, "snapshot")) /* its columns are known in any case */
        return snapshot(l);
    if (!l->loader) {
        err_set(err, -ENODEV, "the loader is not running: %.300s", l->stopped);
        return NULL;
    }
    if (!strcmp(verb, "status"))
        return loader_status(l->loader);
    if (!strcmp(verb, "table"))
        return table_named(l, what ? what : "?", json_is_true(json_object_get(ask, "all")), err);
    if (!strcmp(verb, "plan"))
        return plan(l, ask, err);
    l->news = true;
    if (!strcmp(verb, "pause") || !strcmp(verb, "resume") || !strcmp(verb, "cancel"))
        return change(l, verb, ask, err);
    if (!strcmp(verb, "retry"))
        return loader_retry(l->loader, what, err) ? done("it is tried again") : NULL;
    if (!strcmp(verb, "add"))
        return add(l, ask, err);
    if (!strcmp(verb, "rescan")) {
        load_watch_rescan(l->watch);
        l->watch_due = 0;
        return done("the staging directories are listed again");
    }
    err_set(err, -EINVAL, "load: what is '%.40s'?", verb);
    return NULL;
}
