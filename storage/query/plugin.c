/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin_parts.h"

#include <dlfcn.h>
#include <errno.h>
#include <jansson.h>
#include <unistd.h>

#include "core/civil.h"
#include "core/trusted.h"
#include "literal.h"
#include "result.h"

/* ---- the binder's side ---- */

static const struct query_function *function_find(void *ctx, const char *name)
{
    const struct plugins *p = ctx;
    for (unsigned i = 0; i < p->nqueries; i++)
        if (!strcmp(p->query[i]->name, name))
            return &p->query[i]->function;
    return NULL;
}

static const struct query_function *function_at(void *ctx, unsigned i)
{
    const struct plugins *p = ctx;
    return i < p->nqueries ? &p->query[i]->function : NULL;
}

static void function_release(void *ctx, void *source)
{
    (void)ctx;
    plugin_source_free(source);
}

static bool function_call(void *ctx, const struct query_function *f, struct plan_expr *const *args,
                          struct query_env *env, const struct plan_limits *limits, void **source,
                          struct query_error *e)
{
    struct result *r;
    const struct named *n = f->impl;
    struct pst_value v[PST_PARAMETERS_MAX];
    memset(v, 0, sizeof v);
    for (unsigned i = 0; i < f->nparams; i++) {
        const struct plan_expr *a = args[i];
        if ((!a || a->is_null) && f->params[i].optional) {
            v[i] = n->parameter[i].def;
            continue;
        }
        if (!a || a->is_null) {
            v[i] = plugin_null(f->params[i].type);
            continue;
        }
        v[i].type = a->type;
        if (a->type == PST_SYMBOL || a->type == PST_STRING)
            v[i].text = (struct pst_text){a->value.text.p, (uint32_t)a->value.text.len};
        else if (a->type == PST_FLOAT || a->type == PST_REAL)
            v[i].f = a->value.f;
        else if (a->type == PST_GUID)
            memcpy(v[i].guid, a->value.guid, 16);
        else
            v[i].i = a->value.i;
    }
    if (!plugin_run(ctx, n, v, env, limits, &r, e))
        return false;
    *source = plugin_source(n, r, civil_day_of(env->now_ns), e);
    return *source != NULL;
}

void plugins_functions(struct plugins *p, struct query_functions *out)
{
    *out = (struct query_functions){p, function_find, function_at, function_call, function_release};
}

/* ---- loading ---- */

static bool name_ok(const char *s)
{
    if (!s || !*s || strnlen(s, PLUGIN_NAME_MAX) == PLUGIN_NAME_MAX || (*s >= '0' && *s <= '9'))
        return false;
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '_'))
            return false;
    return true;
}

static bool default_ok(struct named_parameter *p, uint8_t type)
{
    size_t n = strlen(p->text);
    if (type == PST_SYMBOL || type == PST_STRING) {
        p->def = plugin_null(type);
        p->def.text = (struct pst_text){p->text, (uint32_t)n};
        return true;
    }
    struct scalar s = {0};
    if (!literal_parse(type, p->text, n, &s))
        return false;
    p->def = plugin_null(type);
    if (s.null)
        return true;
    if (type == PST_FLOAT || type == PST_REAL)
        p->def.f = s.f;
    else if (type == PST_GUID)
        memcpy(p->def.guid, s.guid, 16);
    else
        p->def.i = s.i;
    return true;
}

static int refuse(struct pst_registry *r, const char *query, const char *fmt, const char *what)
{
    char text[200];
    snprintf(text, sizeof text, fmt, what);
    err_set(r->err, -EINVAL, "plugin %s: query %.60s: %s", r->plugin->name, query, text);
    return -1;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static int declare(struct pst_registry *r, struct named *n, const struct pst_query *q)
{
    snprintf(n->name, sizeof n->name, "%s", q->name);
    snprintf(n->about, sizeof n->about, "%s", q->about ? q->about : "");
    for (uint32_t i = 0; i < q->nparameters; i++) {
        const struct pst_parameter *x = &q->parameters[i];
        struct named_parameter *to = &n->parameter[i];
        uint8_t type = x->type < 256 ? (uint8_t)x->type : 0;
        if (!name_ok(x->name) || !type_name(type) || !type_width(type))
            return refuse(r, n->name, "parameter %s has no good name (a-z, 0-9, _) or type",
                          x->name ? x->name : "(null)");
        snprintf(to->name, sizeof to->name, "%s", x->name);
        snprintf(to->about, sizeof to->about, "%s", x->about ? x->about : "");
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(n->parameter[k].name, to->name))
                return refuse(r, n->name, "there are two parameters %s", to->name);
        if (x->def && (strlen(x->def) >= sizeof to->text ||
                       (strcpy(to->text, x->def), !default_ok(to, type))))
            return refuse(r, n->name, "the default of %s is no value of its type", to->name);
        n->param[i] = (struct query_call_param){to->name, type, x->def != NULL};
    }
    for (uint32_t i = 0; i < q->ncolumns; i++) {
        const struct pst_column *x = &q->columns[i];
        uint8_t type = x->type < 256 ? (uint8_t)x->type : 0;
        if (!name_ok(x->name) || !type_width(type))
            return refuse(r, n->name, "column %s has no good name (a-z, 0-9, _) or type",
                          x->name ? x->name : "(null)");
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(n->column[k].name, x->name))
                return refuse(r, n->name, "there are two columns %s", x->name);
        snprintf(n->column[i].name, sizeof n->column[i].name, "%s", x->name);
        n->column[i].type = type;
    }
    n->ncolumns = q->ncolumns;
    n->shown[0] = (struct query_column){"date", PST_DATE};
    for (uint32_t i = 0; i < q->ncolumns; i++)
        n->shown[i + 1] = (struct query_column){n->column[i].name, (uint8_t)n->column[i].type};
    n->run = q->run;
    n->data = q->data;
    n->plugin = r->plugin;
    n->function = (struct query_function){.name = n->name,
                                          .help = n->about,
                                          .nparams = q->nparameters,
                                          .params = n->param,
                                          .ncols = (uint16_t)(q->ncolumns + 1),
                                          .cols = n->shown,
                                          .impl = n};
    return 0;
}
#pragma GCC diagnostic pop

static int host_add(struct pst_registry *r, const struct pst_query *q)
{
    if (r->err->code)
        return -1;
    if (!q || !name_ok(q->name))
        return refuse(r, q && q->name ? q->name : "(null)", "a name is a-z, 0-9, _%s", "");
    if (!q->run || !q->ncolumns || q->ncolumns > PST_COLUMNS_MAX || !q->columns ||
        q->nparameters > PST_PARAMETERS_MAX || (q->nparameters && !q->parameters))
        return refuse(r, q->name, "it has no function, no columns, or too many of something%s", "");
    if (function_find(r->all, q->name))
        return refuse(r, q->name, "another plugin brings a query of this name%s", "");
    if (r->all->nqueries == PLUGIN_QUERIES_MAX)
        return refuse(r, q->name, "there are too many named queries%s", "");
    struct named *n = calloc(1, sizeof *n);
    if (!n)
        return refuse(r, q->name, "no memory%s", "");
    if (declare(r, n, q)) {
        free(n);
        return -1;
    }
    r->all->query[r->all->nqueries++] = n;
    return 0;
}

static struct pst_host the_host = {
    .abi = PST_PLUGIN_ABI,
    .size = sizeof(struct pst_host),
    .add = host_add,
};

static void forget(struct plugins *p, struct plugin *x)
{
    unsigned n = 0;
    for (unsigned i = 0; i < p->nqueries; i++) {
        if (p->query[i]->plugin == x)
            free(p->query[i]);
        else
            p->query[n++] = p->query[i];
    }
    p->nqueries = n;
    if (x->handle)
        dlclose(x->handle);
    free(x);
}

static bool introduce(struct plugins *p, struct plugin *x, struct err *err)
{
    const struct pst_plugin *info = dlsym(x->handle, "pst_plugin");
    const struct pst_host **host = dlsym(x->handle, "pst_host");
    int (*registers)(struct pst_registry *);
    *(void **)&registers = dlsym(x->handle, "pst_plugin_register");
    if (!info || !host || !registers)
        return err_set(err, -EINVAL,
                       "plugin %s: it has no pst_plugin, pst_host and pst_plugin_register: see "
                       "penstock/plugin.h",
                       x->path);
    if (info->abi != PST_PLUGIN_ABI)
        return err_set(err, -EINVAL,
                       "plugin %s was built for plugin interface %u, this Penstock (%s) has %u: "
                       "build it against this Penstock's penstock/plugin.h",
                       x->path, info->abi, PST_VERSION, PST_PLUGIN_ABI);
    if (info->host_size > sizeof(struct pst_host))
        return err_set(err, -EINVAL,
                       "plugin %s was built for a newer Penstock than this one (%s): it expects "
                       "%u bytes of host functions, here are %zu",
                       x->path, PST_VERSION, info->host_size, sizeof(struct pst_host));
    if (!name_ok(info->name))
        return err_set(err, -EINVAL, "plugin %s: its name is not a-z, 0-9, _", x->path);
    snprintf(x->name, sizeof x->name, "%s", info->name);
    snprintf(x->version, sizeof x->version, "%s", info->version ? info->version : "");
    snprintf(x->about, sizeof x->about, "%s", info->about ? info->about : "");
    for (unsigned i = 0; i < p->nplugins; i++)
        if (!strcmp(p->plugin[i]->name, x->name))
            return err_set(err, -EEXIST, "plugin %s is loaded already, from %s", x->name,
                           p->plugin[i]->path);
    struct pst_registry r = {p, x, err};
    err->code = 0;
    *host = &the_host;
    int code = registers(&r);
    if (err->code)
        return false;
    return !code ||
           err_set(err, -EINVAL, "plugin %s: its registration failed with code %d", x->path, code);
}

bool plugins_load(struct plugins *p, const char *path, struct err *err)
{
    struct plugin *x = calloc(1, sizeof *x);
    if (!x || p->nplugins == PLUGINS_MAX) {
        free(x);
        return err_set(err, -ENOMEM, "plugin %s: no memory, or more than %u plugins", path,
                       PLUGINS_MAX);
    }
    bool ok = *path == '/' || err_set(err, -EINVAL, "plugin %s: give its absolute path", path);
    ok = ok && trusted_file(path, x->path, "plugin", err);
    if (ok && !(x->handle = dlopen(x->path, RTLD_NOW | RTLD_LOCAL)))
        ok = err_set(err, -EINVAL, "plugin %s cannot be loaded: %.300s", path, dlerror());
    if (!ok || !introduce(p, x, err)) {
        forget(p, x);
        return false;
    }
    p->plugin[p->nplugins++] = x;
    return true;
}

bool plugins_unload(struct plugins *p, const char *name, struct err *err)
{
    for (unsigned i = 0; i < p->nplugins; i++) {
        struct plugin *x = p->plugin[i];
        if (strcmp(x->name, name) && strcmp(x->path, name))
            continue;
        memmove(p->plugin + i, p->plugin + i + 1, (--p->nplugins - i) * sizeof x);
        forget(p, x);
        return true;
    }
    return err_set(err, -ENOENT, "no plugin %.200s is loaded", name);
}

struct plugins *plugins_new(void (*log)(void *arg, const char *line), void *arg)
{
    struct plugins *p = calloc(1, sizeof *p);
    if (p) {
        plugin_host_fill(&the_host);
        p->log = log;
        p->arg = arg;
    }
    return p;
}

void plugins_free(struct plugins *p)
{
    if (!p)
        return;
    while (p->nplugins)
        forget(p, p->plugin[--p->nplugins]);
    free(p);
}

unsigned plugins_count(const struct plugins *p)
{
    return p->nqueries;
}

/* A plugin's texts may be anything; what is no UTF-8 is left out. */
static json_t *text_json(const char *text)
{
    json_t *t = json_string(text);
    return t ? t : json_string("?");
}

static json_t *query_json(const struct named *n)
{
    json_t *params = json_array(), *columns = json_array();
    for (unsigned i = 0; i < n->function.nparams; i++) {
        const struct named_parameter *x = &n->parameter[i];
        json_t *o = json_pack("{s:o,s:s,s:o}", "name", text_json(x->name), "type",
                              type_name(n->param[i].type), "about", text_json(x->about));
        if (n->param[i].optional)
            json_object_set_new(o, "default", text_json(x->text));
        json_array_append_new(params, o);
    }
    for (uint32_t i = 0; i < n->ncolumns; i++)
        json_array_append_new(columns, json_pack("{s:s,s:s}", "name", n->column[i].name, "type",
                                                 type_name((uint8_t)n->column[i].type)));
    return json_pack("{s:s,s:o,s:o,s:o}", "name", n->name, "about", text_json(n->about),
                     "parameters", params, "columns", columns);
}

json_t *plugins_json(const struct plugins *p)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < p->nplugins; i++) {
        const struct plugin *x = p->plugin[i];
        json_t *queries = json_array();
        for (unsigned k = 0; k < p->nqueries; k++)
            if (p->query[k]->plugin == x)
                json_array_append_new(queries, query_json(p->query[k]));
        json_array_append_new(list, json_pack("{s:s,s:o,s:o,s:o,s:o}", "plugin", x->name, "version",
                                              text_json(x->version), "about", text_json(x->about),
                                              "file", text_json(x->path), "queries", queries));
    }
    return list;
}

/* ---- by name, from texts ---- */

bool plugins_call(struct plugins *p, const char *name, const struct query_param *args,
                  unsigned nargs, struct query_env *env, const struct plan_limits *limits,
                  struct result **out, struct query_error *e)
{
    const struct query_function *f = function_find(p, name);
    *out = NULL;
    if (!f) {
        const char *names[PLUGIN_QUERIES_MAX];
        for (unsigned i = 0; i < p->nqueries; i++)
            names[i] = p->query[i]->name;
        const char *near = query_nearest(name, names, p->nqueries);
        return query_error_set(e, QUERY_NAME, -1, "no named query '%.60s' is loaded%s%s%s", name,
                               near ? ", did you mean " : "", near ? near : "",
                               near ? "?" : "; penstock plugin ls lists them");
    }
    const struct named *n = f->impl;
    struct pst_value v[PST_PARAMETERS_MAX];
    bool given[PST_PARAMETERS_MAX] = {false};
    for (unsigned i = 0; i < nargs; i++) {
        unsigned at = 0;
        char place[12];
        for (; at < f->nparams; at++) {
            snprintf(place, sizeof place, "%u", at + 1);
            if (!strcmp(args[i].name, n->parameter[at].name) || !strcmp(args[i].name, place))
                break;
        }
        if (at == f->nparams || given[at])
            return query_error_set(e, QUERY_NAME, -1,
                                   at < f->nparams ? "%s: the parameter %.60s is given twice"
                                                   : "%s has no parameter %.60s; penstock "
                                                     "plugin ls lists them",
                                   name, args[i].name);
        if (!args[i].text)
            continue;
        uint8_t type = n->param[at].type;
        struct named_parameter x;
        v[at] = plugin_null(type);
        if (type == PST_SYMBOL || type == PST_STRING) {
            v[at].text = (struct pst_text){args[i].text, (uint32_t)strlen(args[i].text)};
        } else {
            if (strlen(args[i].text) >= sizeof x.text ||
                (strcpy(x.text, args[i].text), !default_ok(&x, type)))
                return query_error_set(
                    e, QUERY_TYPE, -1, "%s: '%.60s' is no %s for %s; one looks like %s", name,
                    args[i].text, type_name(type), n->parameter[at].name, literal_example(type));
            v[at] = x.def;
        }
        given[at] = true;
    }
    for (unsigned i = 0; i < f->nparams; i++) {
        if (given[i])
            continue;
        if (!n->param[i].optional)
            return query_error_set(e, QUERY_VALUE, -1, "%s needs %s=%s (%s)", name,
                                   n->parameter[i].name, literal_example(n->param[i].type),
                                   n->parameter[i].about);
        v[i] = n->parameter[i].def;
    }
    return plugin_run(p, n, v, env, limits, out, e);
}
