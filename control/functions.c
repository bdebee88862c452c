/* SPDX-License-Identifier: Apache-2.0 */
#include "functions.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "core/frame.h"
#include "core/nearest.h"
#include "core/trusted.h"
#include "csv.h"
#include "functions_built_in.h"

static const struct pst_daemon_function *const built_in[] = {
#define FUNCTION(name) &name,
    FUNCTIONS_BUILT_IN
#undef FUNCTION
};

const char *function_kind_name(enum pst_function_kind kind)
{
    static const char *const names[] = {"?", "buffer", "recovery", "initial"};
    return names[kind < PST_COUNT(names) ? kind : 0];
}

const struct pst_daemon_function *function_built_in(enum pst_function_kind kind, unsigned i)
{
    for (unsigned k = 0; k < PST_COUNT(built_in); k++)
        if (built_in[k]->kind == kind && !i--)
            return built_in[k];
    return NULL;
}

/* ---- what functions get ---- */

static void host_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void host_log(const char *format, ...)
{
    char line[500];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    for (char *p = line; *p; p++)
        if ((unsigned char)*p < 32)
            *p = ' ';
    fprintf(stderr, "penstockd: %s\n", line);
}

static bool host_timestamp(const char *text, int64_t *ns)
{
    return text && csv_timestamp(text, strlen(text), ns);
}

static uint32_t host_frame(const struct pst_range *range, const void *bytes, uint64_t length,
                           uint64_t *position)
{
    const struct frame *f = bytes;
    if (frame_check(bytes, length, frame_seed(range->instance)) != FRAME_OK)
        return 0;
    *position = f->position;
    return f->length;
}

const struct pst_function_host function_host = {
    .abi = PST_FUNCTIONS_ABI,
    .size = sizeof function_host,
    .log = host_log,
    .timestamp = host_timestamp,
    .frame = host_frame,
};

/* ---- names ---- */

struct parsed {
    char *path, *name; /* path NULL: built in */
    unsigned nargs;
};

static char *trim(char *s)
{
    while (*s == ' ' || *s == '\t')
        s++;
    size_t n = strlen(s);
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        s[--n] = 0;
    return s;
}

static bool identifier(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return n && !s[n] && !(*s >= '0' && *s <= '9');
}

/* Cuts `text` (changed) into its parts; the arguments point into it. */
static bool parse(struct parsed *p, char *text, struct pst_argument *arg, const char *kind,
                  struct err *err)
{
    memset(p, 0, sizeof *p);
    text = trim(text);
    char *args = strchr(text, '(');
    char *dot = strstr(text, ".so:");
    if (args && dot && dot > args) /* a bracket in a directory's name */
        args = strchr(dot, '(');
    if (args) {
        size_t n = strlen(args);
        if (args[n - 1] != ')')
            return err_set(err, -EINVAL, "%s function '%.300s': the bracket is not closed", kind,
                           text);
        args[n - 1] = 0;
        *args++ = 0;
    }
    p->name = trim(text);
    if (*p->name == '/') {
        p->path = p->name;
        char *colon = strrchr(p->name, ':');
        if (!colon)
            return err_set(err, -EINVAL,
                           "%s function '%.300s': it has to be /dir/file.so:NAME, with the name "
                           "that the file exports",
                           kind, p->path);
        *colon = 0;
        p->name = colon + 1;
    }
    if (!identifier(p->name))
        return err_set(err, -EINVAL,
                       "%s function '%.300s': a function is NAME or /dir/file.so:NAME (absolute)",
                       kind, p->path ? p->path : p->name);
    while (args && *(args = trim(args))) {
        char *comma = strchr(args, ','), *equals = strchr(args, '=');
        if (!equals || (comma && equals > comma) || p->nargs == FUNCTION_ARGUMENTS)
            return err_set(err, -EINVAL, "%s function %.100s: '%.100s' is no argument: key=value",
                           kind, p->name, args);
        if (comma)
            *comma = 0;
        *equals = 0;
        arg[p->nargs++] = (struct pst_argument){trim(args), trim(equals + 1)};
        args = comma ? comma + 1 : NULL;
    }
    return true;
}

static const struct pst_daemon_function *find_built_in(enum pst_function_kind kind,
                                                       const char *name, struct err *err)
{
    const char *names[PST_COUNT(built_in)];
    const struct pst_daemon_function *f;
    unsigned n = 0;
    for (; (f = function_built_in(kind, n)); n++) {
        if (!strcmp(f->name, name))
            return f;
        names[n] = f->name;
    }
    const char *near = nearest_word(name, names, n);
    char all[256];
    size_t at = 0;
    *all = 0;
    for (unsigned i = 0; i < n && at < sizeof all; i++)
        at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", i ? ", " : "", names[i]);
    err_set(err, -EINVAL, "'%.60s' is no %s function%s%s%s; built in: %s; else /dir/file.so:NAME",
            name, function_kind_name(kind), near ? ", did you mean " : "", near ? near : "",
            near ? "?" : "", all);
    return NULL;
}

/* Built-in recovery functions and `none` take no arguments: one that is given is a mistake. */
static bool takes(const struct pst_daemon_function *f, const struct parsed *p,
                  const struct pst_argument *arg, struct err *err)
{
    if (!p->nargs || (f->kind != PST_FUNCTION_RECOVERY && strcmp(f->name, "none")))
        return true;
    return err_set(err, -EINVAL, "%s function %s takes no arguments, there is %.60s",
                   function_kind_name((enum pst_function_kind)f->kind), f->name, arg[0].name);
}

bool function_check(enum pst_function_kind kind, const char *text, struct err *err)
{
    struct pst_argument arg[FUNCTION_ARGUMENTS];
    struct parsed p;
    char parts[FUNCTION_TEXT];
    if (strlen(text) >= sizeof parts)
        return err_set(err, -EINVAL, "%s function: more than %u bytes", function_kind_name(kind),
                       FUNCTION_TEXT - 1);
    strcpy(parts, text);
    const struct pst_daemon_function *f;
    return parse(&p, parts, arg, function_kind_name(kind), err) &&
           (p.path || ((f = find_built_in(kind, p.name, err)) && takes(f, &p, arg, err)));
}

bool function_trusted(enum pst_function_kind kind, const char *text, struct err *err)
{
    struct pst_argument arg[FUNCTION_ARGUMENTS];
    struct parsed p;
    char parts[FUNCTION_TEXT], real[TRUSTED_PATH];
    if (!function_check(kind, text, err))
        return false;
    strcpy(parts, text);
    return parse(&p, parts, arg, function_kind_name(kind), err) &&
           (!p.path || trusted_file(p.path, real, "function file", err));
}

/* ---- loading ---- */

static bool complete(const struct pst_daemon_function *f)
{
    return f->kind == PST_FUNCTION_BUFFER     ? f->buffer.mask != NULL
           : f->kind == PST_FUNCTION_RECOVERY ? f->recovery != NULL
                                              : f->initial.run != NULL;
}

static bool from_file(struct function *f, enum pst_function_kind kind, const struct parsed *p,
                      struct err *err)
{
    char real[TRUSTED_PATH];
    const char *what = function_kind_name(kind);
    if (!trusted_file(p->path, real, "function file", err))
        return false;
    f->handle = dlopen(real, RTLD_NOW | RTLD_LOCAL);
    if (!f->handle)
        return err_set(err, -EINVAL, "%s function %.60s: %s cannot be loaded: %.300s", what,
                       p->name, real, dlerror());
    const struct pst_daemon_function *x = dlsym(f->handle, p->name);
    if (!x)
        return err_set(err, -ENOENT, "%s function %.60s: %s exports no such name", what, p->name,
                       real);
    if (x->magic != PST_FUNCTIONS_MAGIC)
        return err_set(err, -EINVAL,
                       "%s function %.60s of %s: it was not made with PST_%s_FUNCTION: see "
                       "penstock/functions.h",
                       what, p->name, real,
                       kind == PST_FUNCTION_BUFFER     ? "BUFFER"
                       : kind == PST_FUNCTION_RECOVERY ? "RECOVERY"
                                                       : "INITIAL");
    if (x->abi != PST_FUNCTIONS_ABI || x->size != sizeof *x)
        return err_set(err, -EINVAL,
                       "%s function %.60s of %s was built for function interface %u (%u bytes), "
                       "this Penstock (%s) has %u (%zu): build it against this Penstock's "
                       "penstock/functions.h",
                       what, p->name, real, x->abi, x->size, PST_VERSION, PST_FUNCTIONS_ABI,
                       sizeof *x);
    if (x->kind != kind)
        return err_set(err, -EINVAL, "%.60s of %s is a %s function, wanted is a %s one", p->name,
                       real, function_kind_name((enum pst_function_kind)x->kind), what);
    if (!complete(x))
        return err_set(err, -EINVAL, "%s function %.60s of %s has no code", what, p->name, real);
    f->f = x;
    return true;
}

bool function_load(struct function *f, enum pst_function_kind kind, const char *text,
                   struct err *err)
{
    struct parsed p;
    memset(f, 0, sizeof *f);
    if (strlen(text) >= sizeof f->text)
        return err_set(err, -EINVAL, "%s function: more than %u bytes", function_kind_name(kind),
                       FUNCTION_TEXT - 1);
    strcpy(f->text, text);
    strcpy(f->parts, text);
    bool ok = parse(&p, f->parts, f->arg, function_kind_name(kind), err);
    if (ok && p.path)
        ok = from_file(f, kind, &p, err);
    else if (ok)
        ok = (f->f = find_built_in(kind, p.name, err)) && takes(f->f, &p, f->arg, err);
    f->args = (struct pst_arguments){p.nargs, f->arg};
    if (!ok)
        function_unload(f);
    return ok;
}

void function_unload(struct function *f)
{
    if (f->handle)
        dlclose(f->handle);
    f->handle = NULL;
    f->f = NULL;
}
