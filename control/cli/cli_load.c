/* SPDX-License-Identifier: Apache-2.0 */
/* penstock load: one screen, worst first; the tables; plan; and what changes something. */
#include <stdlib.h>
#include <unistd.h>
#include "cli.h"
#include "print.h"

#define CELL 60 /* longest text of a cell without --all */

/* Names of files come from outside: no line and no escape sequence of a terminal comes of them. */
static const char *plain(char *text)
{
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    return text;
}

/* A sentence of the daemon. */
static const char *said(const char *text)
{
    static char line[1400];
    snprintf(line, sizeof line, "%s", text ? text : "");
    return plain(line);
}

/* ---- tables ---- */

static const char *cell(const char *name, const char *type, json_t *v, bool all, char buf[700])
{
    bool bytes = strstr(name, "bytes") || strstr(name, "size") || !strcmp(name, "free") ||
                 !strcmp(name, "limit") || !strcmp(name, "budget") || !strcmp(name, "heap");
    if (!v || json_is_null(v))
        return "";
    switch (*type) {
    case 'p':
        return print_time(json_integer_value(v));
    case 'j':
        return bytes && !strstr(name, "mb") ? print_bytes(json_integer_value(v))
               : strstr(name, "ID") || strstr(name, "Task") || !strcmp(name, "pid")
                   ? (snprintf(buf, 700, "%lld", (long long)json_integer_value(v)), buf)
                   : print_count(json_integer_value(v));
    case 'f': /* progress, rate, eta and seconds are batches', mb is tasks' */
        if (!strcmp(name, "progress"))
            snprintf(buf, 700, "%.0f %%", 100 * json_number_value(v));
        else if (!strcmp(name, "rate"))
            snprintf(buf, 700, "%.1f MB/s", json_number_value(v) / 1e6);
        else if (!strcmp(name, "eta") || !strcmp(name, "seconds"))
            return print_duration((int64_t)(json_number_value(v) * 1e9));
        else
            snprintf(buf, 700, "%.1f", json_number_value(v));
        return buf;
    case 'b':
        return json_is_true(v) ? "yes" : "";
    default: {
        const char *s = json_string_value(v);
        size_t n = s ? strlen(s) : 0;
        if (all || n <= CELL)
            snprintf(buf, 700, "%s", s ? s : "");
        else if (*s == '/') /* the end of a path says more */
            snprintf(buf, 700, "...%s", s + n - CELL + 3);
        else
            snprintf(buf, 700, "%.*s...", CELL - 3, s);
        return buf;
    }
    }
}

/* A row through print_table_row's arguments. */
static void add_row(struct print_table *t, const char *const *x)
{
    print_table_row(t, x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9], x[10], x[11],
                    x[12], x[13], x[14], x[15], x[16], x[17], x[18], x[19], x[20], x[21], x[22],
                    x[23]);
}

/* Columns in which no row has anything are left out, but with --all. */
static bool shown(json_t *rows, size_t c, bool all)
{
    json_t *row;
    size_t i;
    if (all)
        return true;
    json_array_foreach(rows, i, row)
    {
        json_t *v = json_array_get(row, c);
        const char *s = json_string_value(v);
        if (v && !json_is_null(v) && !json_is_false(v) && (!s || *s))
            return true;
    }
    return false;
}

static void show_table(json_t *r, bool all)
{
    json_t *columns = json_object_get(r, "columns"), *rows = json_object_get(r, "rows"), *row, *x;
    const char *head[TABLE_COLUMNS], *values[TABLE_COLUMNS];
    static char names[TABLE_COLUMNS][72], text[TABLE_COLUMNS][700];
    size_t at[TABLE_COLUMNS], i, n = 0;
    struct print_table t;
    char buf[700];
    json_array_foreach(columns, i, x)
    {
        const char *type = json_string_value(json_array_get(x, 1));
        if (n == TABLE_COLUMNS || !shown(rows, i, all))
            continue;
        snprintf(names[n], sizeof names[0], "%s%s", strchr("jf", *type) ? ">" : "",
                 json_string_value(json_array_get(x, 0)));
        head[n] = names[n];
        at[n++] = i;
    }
    if (!json_array_size(rows) || !n) {
        printf("nothing yet\n");
        return;
    }
    print_table_begin(&t, (unsigned)n, head);
    json_array_foreach(rows, i, row)
    {
        for (size_t k = 0; k < n; k++) {
            json_t *c = json_array_get(columns, at[k]);
            const char *shows =
                cell(json_string_value(json_array_get(c, 0)),
                     json_string_value(json_array_get(c, 1)), json_array_get(row, at[k]), all, buf);
            snprintf(text[k], sizeof text[k], "%s", shows);
            values[k] = plain(text[k]);
        }
        for (size_t k = n; k < TABLE_COLUMNS; k++)
            values[k] = NULL;
        add_row(&t, values);
    }
    print_table_end(&t);
    if (json_long(r, "total") > (json_int_t)json_array_size(rows))
        printf("%zu of %s; --all shows all\n", json_array_size(rows),
               print_count(json_long(r, "total")));
}

/* ---- one screen ---- */

static void counts(const char *what, json_t *o)
{
    const char *key;
    json_t *v;
    bool any = false;
    json_object_foreach(o, key, v)
    {
        if (!json_is_integer(v) || !json_integer_value(v))
            continue;
        printf("%s%s %s", any ? ", " : what, print_count(json_integer_value(v)), key);
        any = true;
    }
    if (any)
        printf("\n");
}

static void progress(json_t *r)
{
    double rate = json_real_of(r, "rate");
    json_t *eta = json_object_get(r, "eta");
    if (!json_long(r, "queued") && !json_long(r, "processing"))
        return;
    printf("tasks    %s at work, %s wait", print_count(json_long(r, "processing")),
           print_count(json_long(r, "queued")));
    if (rate > 0)
        printf("; %.1f MB/s", rate / 1e6);
    if (json_is_number(eta) && json_number_value(eta) >= 0)
        printf(", about %s left", print_duration((int64_t)(json_number_value(eta) * 1e9)));
    printf("\n");
}

/* A limit or a figure, where it is known. */
static void figure(json_t *r, const char *key, const char *name)
{
    if (json_long(r, key) > 0)
        printf("%s %s  ", name, print_bytes(json_long(r, key)));
}

static int show_status(json_t *r)
{
    json_t *trouble = json_object_get(r, "trouble"), *x;
    const char *state = json_text(r, "state");
    size_t i;
    printf("loader   %s%s%s\n", state, *json_text(r, "why") ? ": " : "", json_text(r, "why"));
    json_array_foreach(trouble, i, x) printf("TROUBLE  %s\n", said(json_string_value(x)));
    counts("batches  ", json_object_get(r, "batches"));
    counts("files    ", json_object_get(r, "files"));
    progress(r);
    if (json_long(r, "free")) {
        printf("memory   ");
        figure(r, "free", "free");
        figure(r, "budget", "budget");
        figure(r, "in_flight", "in use");
        figure(r, "buffer", "buffer");
        printf("\n");
    }
    return json_array_size(trouble) || !strcmp(state, "stopped") ? EXIT_DEGRADED : EXIT_HEALTHY;
}

void cli_load_line(json_t *r)
{
    if (!r)
        return;
    json_t *trouble = json_object_get(r, "trouble"), *batches = json_object_get(r, "batches");
    printf("load  %s%s%s", json_text(r, "state"), *json_text(r, "why") ? ": " : "",
           json_text(r, "why"));
    counts("  batches ", batches);
    if (!batches || !json_object_size(batches))
        printf("\n");
    if (json_array_size(trouble))
        printf("      %s\n", said(json_string_value(json_array_get(trouble, 0))));
}

/* ---- plan ---- */

static int show_plan(json_t *r)
{
    static const char *const head[] = {"file",    "batch kind", "key",       "part",
                                       "read as", ">size",      ">estimate", ">worker",
                                       "alone",   "state",      "why"};
    struct print_table t;
    json_t *f;
    size_t i;
    bool bad = false;
    print_table_begin(&t, PST_COUNT(head), head);
    json_array_foreach(json_object_get(r, "files"), i, f)
    {
        char part[40] = "", worker[24] = "", file[80];
        const char *path = json_text(f, "file"), *slash = strrchr(path, '/');
        if (json_long(f, "parts"))
            snprintf(part, sizeof part, "%lld of %lld", (long long)json_long(f, "part"),
                     (long long)json_long(f, "parts"));
        if (json_is_integer(json_object_get(f, "worker")) && json_long(f, "worker") >= 0)
            snprintf(worker, sizeof worker, "w%lld", (long long)json_long(f, "worker"));
        snprintf(file, sizeof file, "%.79s", slash ? slash + 1 : path);
        plain(file);
        bad |= *json_text(f, "why") != 0;
        print_table_row(&t, file, json_text(f, "rule"), json_text(f, "key"), part,
                        json_text(f, "recipe"), print_bytes(json_long(f, "size")),
                        print_bytes(json_long(f, "estimate")), worker,
                        json_is_true(json_object_get(f, "alone")) ? "yes" : "",
                        json_text(f, "state"), json_text(f, "why"));
    }
    if (i)
        print_table_end(&t);
    else
        print_table_free(&t);
    if (!i)
        printf("nothing waits\n");
    figure(r, "budget", "budget");
    figure(r, "limit", "limit");
    figure(r, "free", "free");
    figure(r, "buffer", "buffer");
    printf("workers %s", print_count(json_long(r, "workers")));
    if (json_real_of(r, "seconds") > 0)
        printf("  about %s", print_duration((int64_t)(json_real_of(r, "seconds") * 1e9)));
    printf("\n");
    return bad ? EXIT_DEGRADED : EXIT_HEALTHY;
}

/* ---- the verb ---- */

/* Files are named as they are seen from here. */
static json_t *whole_paths(int argc, char **argv)
{
    json_t *a = json_array();
    for (int i = 0; i < argc; i++) {
        bool value = i && (!strcmp(argv[i - 1], "--batch") || !strcmp(argv[i - 1], "--priority"));
        char *whole = i && !value && *argv[i] != '-' ? realpath(argv[i], NULL) : NULL;
        json_array_append_new(a, json_string_nocheck(whole ? whole : argv[i]));
        free(whole);
    }
    return a;
}

static bool is(const char *verb, const char *const *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (verb && !strcmp(verb, list[i]))
            return true;
    return false;
}

int cli_load(struct cli *c, int argc, char **argv)
{
    static const char *const tables[] = {"tasks", "workers", "files", "batches", "memory"};
    const char *verb = argc && *argv[0] != '-' ? argv[0] : NULL;
    bool all = false;
    int code;
    for (int i = 0; i < argc; i++)
        all |= !strcmp(argv[i], "--all");
    bool add = verb && !strcmp(verb, "add");
    json_t *r = cli_call(c, "load", add ? whole_paths(argc, argv) : cli_args(argc, argv), &code);
    if (!r)
        return code;
    if (c->json) {
        json_dumpf(r, stdout, JSON_INDENT(1));
        printf("\n");
    }
    if (c->json)
        ;
    else if (!verb)
        code = show_status(r);
    else if (is(verb, tables, PST_COUNT(tables)))
        show_table(r, all);
    else if (!strcmp(verb, "plan"))
        code = show_plan(r);
    else {
        if (add)
            printf("batch %lld: %lld file%s\n", (long long)json_long(r, "batch"),
                   (long long)json_long(r, "files"), json_long(r, "files") == 1 ? "" : "s");
        else
            printf("%s\n", json_text(r, "done"));
    }
    json_decref(r);
    return code;
}
