/* SPDX-License-Identifier: Apache-2.0 */
/* Plugins: loading, what they register, what READY says of them. */
#include <dlfcn.h>
#include <errno.h>
#include "rtp/builtin/builtin.h"
#include "core/trusted.h"
#include "host.h"

/* ---- calls of plugins ---- */

void host_enter(struct host *h, struct pst_rtp *r, enum host_in in, const char *name)
{
    h->calls++;
    h->in_plugin = r;
    h->in_name = name;
    h->in = in;
    r->err.code = 0;
    r->err.text[0] = 0;
}

int host_fail(struct pst_rtp *r, int code, const char *format, ...)
{
    va_list ap;
    if (r->err.code)
        return -1;
    va_start(ap, format);
    vsnprintf(r->err.text, sizeof r->err.text, format, ap);
    va_end(ap);
    r->err.code = code ? code : -EIO;
    return -1;
}

bool host_leave(struct host *h, struct pst_rtp *r)
{
    h->in_plugin = NULL;
    h->in = HOST_IN_NOTHING;
    if (!r->err.code)
        return true;
    h->beat.errors++;
    return false;
}

/* ---- finding ---- */

const struct host_analytic *host_analytic_find(const struct host *h, const char *name)
{
    for (unsigned i = 0; i < h->nanalytics; i++)
        if (!strcmp(h->analytic[i].a->name, name))
            return &h->analytic[i];
    return NULL;
}

const struct host_function *host_function_find(const struct host *h, const char *name)
{
    for (unsigned i = 0; i < h->nfunctions; i++)
        if (!strcmp(h->function[i].f->name, name))
            return &h->function[i];
    return NULL;
}

/* ---- registering ---- */

__attribute__((format(printf, 3, 4))) static int refuse(struct pst_rtp_registry *g,
                                                        const char *name, const char *format, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (!g->err->code)
        err_set(g->err, -EINVAL, "plugin %s: %.64s: %s", g->plugin->name, name ? name : "(null)",
                text);
    return -1;
}

static bool type_ok(uint32_t type)
{
    return type < 256 && type_width((uint8_t)type);
}

static bool column_name_ok(const char *name)
{
    return name && strlen(name) < SCHEMA_NAME_MAX && rtp_name_ok(name);
}

static int columns_ok(struct pst_rtp_registry *g, const char *of, const struct pst_column *c,
                      uint32_t n)
{
    if (n > SCHEMA_COLUMNS_MAX || (n && !c))
        return refuse(g, of, "it has more than %u columns", SCHEMA_COLUMNS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        if (!column_name_ok(c[i].name) || !type_ok(c[i].type))
            return refuse(g, of, "column %u has no sound name or type", i);
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(c[i].name, c[k].name))
                return refuse(g, of, "there are two columns %s", c[i].name);
    }
    return 0;
}

static int parameters_ok(struct pst_rtp_registry *g, const char *of, const struct pst_parameter *p,
                         uint32_t n)
{
    if (n > PST_PARAMETERS_MAX || (n && !p))
        return refuse(g, of, "it has more than %u parameters", PST_PARAMETERS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        if (!p[i].name || !rtp_name_ok(p[i].name) || !type_ok(p[i].type & ~PST_LIST))
            return refuse(g, of, "parameter %u has no sound name or type", i);
        json_t *def = p[i].def ? json_string(p[i].def) : NULL; /* NULL: no UTF-8 */
        bool sound = !p[i].def || (def && strlen(p[i].def) <= 1000);
        json_decref(def);
        if (!sound)
            return refuse(g, of, "the default of %s is too long, or no text", p[i].name);
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(p[i].name, p[k].name))
                return refuse(g, of, "there are two parameters %s", p[i].name);
    }
    return 0;
}

int host_add_analytic(struct pst_rtp_registry *g, const struct pst_analytic *a)
{
    struct host *h = g->host;
    if (!a || !a->name || !rtp_name_ok(a->name))
        return refuse(g, a ? a->name : NULL, "a name is letters, digits, _ and .");
    if (!a->subscribe || !a->unsubscribe || !a->snapshot)
        return refuse(g, a->name, "an analytic has subscribe, unsubscribe and snapshot");
    if (!a->columns && !a->describe)
        return refuse(g, a->name, "it has neither columns nor describe");
    if (host_analytic_find(h, a->name))
        return refuse(g, a->name, "there is an analytic of this name already");
    if (h->nanalytics == RTP_ANALYTICS_MAX)
        return refuse(g, a->name, "there are too many analytics");
    if (columns_ok(g, a->name, a->columns, a->ncolumns) ||
        parameters_ok(g, a->name, a->parameters, a->nparameters))
        return -1;
    for (const char *const *t = a->tables; t && *t; t++)
        if (!rtp_name_ok(*t))
            return refuse(g, a->name, "one of its tables has no sound name");
    if (a->columns) { /* is the key one of them? */
        struct pst_result *t = host_result_new(g->plugin);
        struct err err = {0};
        bool ok = t && host_result_columns(t, a->columns, a->ncolumns, a->key, &err);
        host_result_free(t);
        if (!ok)
            return refuse(g, a->name, "%.200s", err.text);
    }
    h->analytic[h->nanalytics++] = (struct host_analytic){g->plugin, a};
    return 0;
}

int host_add_api(struct pst_rtp_registry *g, const struct pst_api *f)
{
    struct host *h = g->host;
    if (!f || !f->name || !rtp_name_ok(f->name))
        return refuse(g, f ? f->name : NULL, "a name is letters, digits, _ and .");
    if (!f->run || !f->ncolumns)
        return refuse(g, f->name, "a function has run and columns");
    if (host_function_find(h, f->name))
        return refuse(g, f->name, "there is a function of this name already");
    if (h->nfunctions == RTP_ANALYTICS_MAX)
        return refuse(g, f->name, "there are too many functions");
    if (columns_ok(g, f->name, f->columns, f->ncolumns) ||
        parameters_ok(g, f->name, f->parameters, f->nparameters))
        return -1;
    h->function[h->nfunctions++] = (struct host_function){g->plugin, f};
    return 0;
}

int host_add_processor(struct pst_rtp_registry *g, const struct pst_processor *p)
{
    struct host *h = g->host;
    if (!p || !p->name || !rtp_name_ok(p->name))
        return refuse(g, p ? p->name : NULL, "a name is letters, digits, _ and .");
    if (!p->frame && !p->pre && !p->post)
        return refuse(g, p->name, "a processor has frame, pre or post");
    if (p->frame && (p->pre || p->post))
        return refuse(g, p->name, "a processor has frame, or pre and post, not both");
    if (h->nprocessors == RTP_ANALYTICS_MAX || p->nderived > 64)
        return refuse(g, p->name, "there are too many");
    for (unsigned i = 0; i < h->nprocessors; i++)
        if (!strcmp(h->processor[i].p->name, p->name))
            return refuse(g, p->name, "there is a processor of this name already");
    for (uint32_t i = 0; i < p->nderived; i++) {
        const struct pst_derived *d = &p->derived[i];
        if (!column_name_ok(d->name))
            return refuse(g, p->name, "derived table %u has no sound name", i);
        if (columns_ok(g, d->name, d->columns, d->ncolumns))
            return -1;
        if (d->ncolumns < 2 || strcmp(d->columns[0].name, "time") ||
            d->columns[0].type != PST_TIMESTAMP || strcmp(d->columns[1].name, "sym") ||
            d->columns[1].type != PST_SYMBOL)
            return refuse(g, d->name, "a table starts with time timestamp, sym symbol");
    }
    struct host_wants *w = host_wants_new();
    if (!w)
        return refuse(g, p->name, "no memory");
    h->processor[h->nprocessors++] =
        (struct host_processor){.plugin = g->plugin, .p = p, .wants = w};
    return 0;
}

int host_add_hooks(struct pst_rtp_registry *g, const struct pst_hooks *hooks)
{
    size_t n =
        hooks && hooks->size < sizeof g->plugin->hooks ? hooks->size : sizeof g->plugin->hooks;
    if (!hooks || hooks->size < offsetof(struct pst_hooks, tables) || g->plugin->have_hooks)
        return refuse(g, "hooks", "they are registered once, with their size");
    memcpy(&g->plugin->hooks, hooks, n);
    g->plugin->have_hooks = true;
    for (const char *const *t = hooks->tables; t && *t; t++)
        if (!host_wants_add(g->host, g->plugin->wants, *t))
            return refuse(g, "hooks", "no memory");
    return 0;
}

/* ---- loading ---- */

/* Everything that it has registered. */
void host_plugin_forget(struct host *h, struct pst_rtp *r)
{
    unsigned n = 0;
    for (unsigned i = 0; i < h->nanalytics; i++)
        if (h->analytic[i].plugin != r)
            h->analytic[n++] = h->analytic[i];
    h->nanalytics = n;
    n = 0;
    for (unsigned i = 0; i < h->nfunctions; i++)
        if (h->function[i].plugin != r)
            h->function[n++] = h->function[i];
    h->nfunctions = n;
    n = 0;
    for (unsigned i = 0; i < h->nprocessors; i++)
        if (h->processor[i].plugin != r)
            h->processor[n++] = h->processor[i];
        else
            host_wants_free(h->processor[i].wants);
    h->nprocessors = n;
    while (r->results) {
        struct pst_result *t = r->results;
        r->results = t->next;
        host_result_free(t);
    }
    host_wants_free(r->wants);
    free(r->timer);
    if (r->handle)
        dlclose(r->handle);
    free(r);
}

static bool introduce(struct host *h, struct pst_rtp *r, const struct pst_rtp_plugin *info,
                      int (*registers)(struct pst_rtp_registry *), struct err *err)
{
    if (info->abi != PST_RTP_ABI)
        return err_set(err, -EINVAL,
                       "plugin %s was built for real-time interface %u, this Penstock (%s) has %u: "
                       "build it against this Penstock's penstock/analytic.h",
                       r->file, info->abi, PST_VERSION, PST_RTP_ABI);
    if (info->host_size > sizeof(struct pst_rtp_host))
        return err_set(err, -EINVAL,
                       "plugin %s was built for a newer Penstock than this one (%s): it expects %u "
                       "bytes of host functions, here are %zu",
                       r->file, PST_VERSION, info->host_size, sizeof(struct pst_rtp_host));
    if (!info->name || !rtp_name_ok(info->name))
        return err_set(err, -EINVAL, "plugin %s: its name is not letters, digits, _ and .",
                       r->file);
    snprintf(r->name, sizeof r->name, "%s", info->name);
    snprintf(r->version, sizeof r->version, "%s", info->version ? info->version : "");
    snprintf(r->about, sizeof r->about, "%s", info->about ? info->about : "");
    for (unsigned i = 0; i < h->nplugins; i++)
        if (!strcmp(h->plugin[i]->name, r->name))
            return err_set(err, -EEXIST, "plugin %s is loaded already, from %s", r->name,
                           h->plugin[i]->file);
    if (h->nplugins == PST_COUNT(h->plugin))
        return err_set(err, -E2BIG, "there are too many plugins");
    struct pst_rtp_registry g = {h, r, err};
    err->code = 0;
    host_enter(h, r, HOST_IN_REGISTER, r->name);
    int code = registers(&g);
    host_leave(h, r);
    if (err->code)
        return false;
    if (code || r->err.code)
        return err_set(err, -EINVAL, "plugin %s: it refused to be loaded%s%s", r->name,
                       r->err.code ? ": " : "", r->err.text);
    h->plugin[h->nplugins++] = r;
    return true;
}

static struct pst_rtp *fresh(struct host *h, const char *file)
{
    struct pst_rtp *r = calloc(1, sizeof *r);
    if (!r || !(r->wants = host_wants_new())) {
        free(r);
        return NULL;
    }
    r->host = h;
    snprintf(r->file, sizeof r->file, "%s", file);
    return r;
}

bool host_plugin_load(struct host *h, const char *file, struct err *err)
{
    char real[TRUSTED_PATH];
    if (!trusted_file(file, real, "plugin", err))
        return false;
    struct pst_rtp *r = fresh(h, real);
    if (!r)
        return err_set(err, -ENOMEM, "plugin %s: no memory", file);
    h->in_name = r->file;
    h->in = HOST_IN_LOAD; /* its constructors run, or its pages are not there */
    r->handle = dlopen(real, RTLD_NOW | RTLD_LOCAL);
    h->in = HOST_IN_NOTHING;
    if (!r->handle) {
        err_set(err, -EINVAL, "plugin %s cannot be loaded: %s", file, dlerror());
        host_plugin_forget(h, r);
        return false;
    }
    const struct pst_rtp_plugin *info = dlsym(r->handle, "pst_rtp_plugin");
    const struct pst_rtp_host **host = dlsym(r->handle, "pst_rtp_host");
    int (*registers)(struct pst_rtp_registry *);
    *(void **)&registers = dlsym(r->handle, "pst_rtp_register");
    bool ok = info && host && registers;
    if (!ok)
        err_set(err, -EINVAL,
                "plugin %s: it has no pst_rtp_plugin, pst_rtp_host and pst_rtp_register: see "
                "penstock/analytic.h",
                file);
    else
        *host = &host_functions;
    if (ok && introduce(h, r, info, registers, err))
        return true;
    host_plugin_forget(h, r);
    return false;
}

/* Of host_own.c: in every process. */
extern const struct pst_rtp_plugin sa_plugin;
int sa_register(struct pst_rtp_registry *);

static void builtin(struct host *h, const struct pst_rtp_plugin *plugin,
                    int (*registers)(struct pst_rtp_registry *))
{
    struct err err = {0};
    struct pst_rtp *r = fresh(h, "built in");
    if (!r)
        host_die(h, "no memory");
    if (introduce(h, r, plugin, registers, &err))
        return;
    json_array_append_new(h->failed, json_pack("{s:s,s:s}", "file", "built in", "error", err.text));
    host_plugin_forget(h, r);
}

void host_plugins_builtin(struct host *h, bool all)
{
    pst_rtp_host = &host_functions;
    builtin(h, &sa_plugin, sa_register);
    for (uint32_t i = 0; all && i < builtins_n; i++)
        builtin(h, builtins[i].plugin, builtins[i].registers);
}

bool host_plugin_unload(struct host *h, const char *name, struct err *err)
{
    unsigned i = 0;
    while (i < h->nplugins && strcmp(h->plugin[i]->name, name) && strcmp(h->plugin[i]->file, name))
        i++;
    if (i == h->nplugins)
        return err_set(err, -ENOENT, "plugin %.200s is not loaded", name);
    struct pst_rtp *r = h->plugin[i];
    if (!r->handle)
        return err_set(err, -EINVAL, "plugin %s is built in", r->name);
    if (r->subs)
        return err_set(err, -EBUSY, "plugin %s serves %u subscription%s", r->name, r->subs,
                       r->subs == 1 ? "" : "s");
    for (unsigned k = 0; k < h->nprocessors; k++)
        if (h->processor[k].plugin == r && h->processor[k].chosen)
            return err_set(err, -EBUSY, "plugin %s has the processor %s, which is running", r->name,
                           h->processor[k].p->name);
    host_flush_plugins(h, r);
    h->nplugins--;
    memmove(h->plugin + i, h->plugin + i + 1, (h->nplugins - i) * sizeof *h->plugin);
    host_plugin_forget(h, r);
    return true;
}

void host_plugins_end(struct host *h)
{
    host_flush_plugins(h, NULL);
}

/* ---- processors ---- */

bool host_processors_choose(struct host *h, struct err *err)
{
    const json_t *v;
    size_t i;
    unsigned chosen = 0;
    json_array_foreach(json_object_get(h->config, "processors"), i, v)
    {
        const char *name = json_string_value(v);
        unsigned k = 0;
        while (k < h->nprocessors && (!name || strcmp(h->processor[k].p->name, name)))
            k++;
        if (k == h->nprocessors)
            return err_set(err, -ENOENT, "no plugin brings a processor %.64s", name ? name : "?");
        if (k != chosen && !h->processor[k].chosen) { /* in the order of the configuration */
            struct host_processor x = h->processor[k];
            h->processor[k] = h->processor[chosen];
            h->processor[chosen] = x;
            k = chosen;
        }
        chosen += !h->processor[k].chosen;
        h->processor[k].chosen = true;
        h->row_wise |= !h->processor[k].p->frame;
    }
    return true;
}

bool host_processors_begin(struct host *h, struct err *err)
{
    for (unsigned i = 0; i < h->nprocessors; i++) {
        struct host_processor *p = &h->processor[i];
        if (!p->chosen)
            continue;
        for (const char *const *t = p->p->tables; t && *t; t++) {
            if (!host_in_subscriptions(h, *t))
                return err_set(err, -EINVAL,
                               "processor %s reads the table %s: add it to the group's "
                               "subscriptions",
                               p->p->name, *t);
            if (!host_wants_add(h, p->wants, *t))
                return err_set(err, -ENOMEM, "no memory");
        }
        if (!p->p->tables)
            host_wants_everything(h, p->wants);
        if (!p->p->begin)
            continue;
        host_enter(h, p->plugin, HOST_IN_BEGIN, p->p->name);
        int code = p->p->begin(p->plugin, p->p->data);
        if (!host_leave(h, p->plugin) || code)
            return err_set(err, -EIO, "processor %s does not start: %s", p->p->name,
                           p->plugin->err.code ? p->plugin->err.text : "it says no reason");
    }
    return true;
}

/* ---- READY ---- */

static json_t *columns_json(const struct pst_column *c, uint32_t n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("[s,s]", c[i].name, type_name((uint8_t)c[i].type)));
    return list;
}

/* Texts of plugins need not be UTF-8. */
static json_t *text_json(const char *text)
{
    char line[1001];
    rtp_printable(line, sizeof line, text ? text : "", text ? strlen(text) : 0);
    return json_string(line);
}

static json_t *parameters_json(const struct pst_parameter *p, uint32_t n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:s,s:s,s:b,s:s?,s:o}", "name", p[i].name, "type",
                                              type_name((uint8_t)(p[i].type & ~PST_LIST)), "list",
                                              (p[i].type & PST_LIST) != 0, "default", p[i].def,
                                              "about", text_json(p[i].about)));
    return list;
}

static json_t *names_json(const char *const *t)
{
    json_t *list = t ? json_array() : json_null();
    for (; t && *t; t++)
        json_array_append_new(list, json_string(*t));
    return list;
}

/* "server,sym" */
static json_t *key_json(const char *key)
{
    json_t *list = json_array();
    while (key && *key) {
        size_t n = strcspn(key, ", ");
        if (n)
            json_array_append_new(list, json_stringn(key, n));
        key += n + strspn(key + n, ", ");
    }
    return list;
}

json_t *host_ready(struct host *h)
{
    json_t *plugins = json_array(), *analytics = json_array(), *processors = json_array(),
           *functions = json_array();
    for (unsigned i = 0; i < h->nplugins; i++) {
        const struct pst_rtp *r = h->plugin[i];
        json_array_append_new(plugins, json_pack("{s:s,s:o,s:o,s:s}", "name", r->name, "version",
                                                 text_json(r->version), "about",
                                                 text_json(r->about), "file", r->file));
    }
    for (unsigned i = 0; i < h->nanalytics; i++) {
        const struct pst_analytic *a = h->analytic[i].a;
        json_array_append_new(
            analytics,
            json_pack("{s:s,s:o,s:s,s:b,s:b,s:o,s:o,s:o,s:o}", "name", a->name, "about",
                      text_json(a->about), "plugin", h->analytic[i].plugin->name, "per_user",
                      (a->flags & PST_PER_USER) != 0, "full", (a->flags & PST_FULL) != 0, "columns",
                      a->columns ? columns_json(a->columns, a->ncolumns) : json_null(), "key",
                      key_json(a->key), "tables", names_json(a->tables), "parameters",
                      parameters_json(a->parameters, a->nparameters)));
    }
    for (unsigned i = 0; i < h->nprocessors; i++) {
        const struct pst_processor *p = h->processor[i].p;
        json_t *derived = json_array();
        for (uint32_t k = 0; k < p->nderived; k++)
            json_array_append_new(
                derived, json_pack("{s:s,s:o}", "name", p->derived[k].name, "columns",
                                   columns_json(p->derived[k].columns, p->derived[k].ncolumns)));
        json_array_append_new(
            processors,
            json_pack("{s:s,s:o,s:o,s:o}", "name", p->name, "about", text_json(p->about), "tables",
                      p->tables ? names_json(p->tables) : json_array(), "derived", derived));
    }
    for (unsigned i = 0; i < h->nfunctions; i++) {
        const struct pst_api *f = h->function[i].f;
        json_array_append_new(
            functions, json_pack("{s:s,s:o,s:o,s:o}", "name", f->name, "about", text_json(f->about),
                                 "parameters", parameters_json(f->parameters, f->nparameters),
                                 "columns", columns_json(f->columns, f->ncolumns)));
    }
    return json_pack("{s:o,s:O,s:o,s:o,s:o}", "plugins", plugins, "failed", h->failed, "analytics",
                     analytics, "processors", processors, "functions", functions);
}
