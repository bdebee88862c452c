/* SPDX-License-Identifier: Apache-2.0 */
/* penstock rtp: groups of real-time processes, their functions and plugins. */
#include <stdlib.h>
#include "cli.h"
#include "print.h"
#include "core/schema.h"

static const char *said(const json_t *o, const char *key)
{
    return json_text((json_t *)(uintptr_t)o, key);
}

void cli_rtp_line(json_t *r)
{
    if (!r)
        return;
    printf("rtp   processes %lld of %lld  subscriptions %s  derived rows %s",
           (long long)json_long(r, "up"), (long long)json_long(r, "processes"),
           print_count(json_long(r, "subscriptions")), print_count(json_long(r, "rows")));
    if (json_long(r, "restarts"))
        printf("  restarts %s", print_count(json_long(r, "restarts")));
    printf("\n");
}

/* ---- list ---- */

static void columns_text(const json_t *columns, char *out, size_t room)
{
    size_t i, at = 0;
    const json_t *c;
    *out = 0;
    json_array_foreach(columns, i, c)
    {
        const char *name = json_string_value(json_array_get(c, 0)),
                   *type = json_string_value(json_array_get(c, 1));
        int n = snprintf(out + at, room - at, "%s%s %s", i ? ", " : "", name ? name : "",
                         type ? type : "");
        if (n < 0 || (size_t)n >= room - at)
            return;
        at += (size_t)n;
    }
}

static void parameters_text(const json_t *list, char *out, size_t room)
{
    size_t i, at = 0;
    const json_t *p;
    *out = 0;
    json_array_foreach(list, i, p)
    {
        const json_t *def = json_object_get(p, "default");
        int n = snprintf(out + at, room - at, "%s%s=%s%s%s%s", i ? " " : "", said(p, "name"),
                         said(p, "type"), json_is_true(json_object_get(p, "list")) ? "," : "",
                         json_is_string(def) && *json_string_value(def) ? ":" : "",
                         json_is_string(def) ? json_string_value(def) : "");
        if (n < 0 || (size_t)n >= room - at)
            return;
        at += (size_t)n;
    }
}

/* What a group's plugins bring. */
static void show_ready(const json_t *ready)
{
    static const char *const lists[] = {"analytics", "processors", "functions"}, *const words[] = {
                                                                                     "analytic",
                                                                                     "processor",
                                                                                     "function"};
    char text[600];
    for (unsigned k = 0; k < 3; k++) {
        size_t i;
        const json_t *o;
        json_array_foreach(json_object_get(ready, lists[k]), i, o)
        {
            printf("%s %s  %s\n", words[k], said(o, "name"), said(o, "about"));
            parameters_text(json_object_get(o, "parameters"), text, sizeof text);
            if (*text)
                printf("    parameters  %s\n", text);
            columns_text(json_object_get(o, "columns"), text, sizeof text);
            if (*text)
                printf("    columns     %s\n", text);
            const json_t *d;
            size_t n;
            json_array_foreach(json_object_get(o, "derived"), n, d)
            {
                columns_text(json_object_get(d, "columns"), text, sizeof text);
                printf("    writes      %s: %s\n", said(d, "name"), text);
            }
        }
    }
}

static int show_list(json_t *r)
{
    static const char *const head[] = {"group",    "process",  "state", ">pid",      ">busy",
                                       ">streams", ">updates", ">rows", ">restarts", ">memory"};
    struct print_table t;
    json_t *g, *x;
    size_t i, k;
    bool bad = false;
    print_table_begin(&t, PST_COUNT(head), head);
    json_array_foreach(json_object_get(r, "groups"), i, g)
    {
        json_array_foreach(json_object_get(g, "processes"), k, x)
        {
            json_t *b = json_object_get(x, "beat");
            char number[16], pid[24], busy[24], streams[24], updates[24], rows[24], restarts[24],
                memory[24];
            const char *state = json_text(x, "state");
            bad |= !strcmp(state, "waits") || !strcmp(state, "ends");
            snprintf(number, sizeof number, "%lld", (long long)json_long(x, "process"));
            snprintf(pid, sizeof pid, "%lld", (long long)json_long(x, "pid"));
            snprintf(busy, sizeof busy, "%.1f %%", json_real_of(x, "busy"));
            snprintf(streams, sizeof streams, "%s", print_count(json_long(b, "subscriptions")));
            snprintf(updates, sizeof updates, "%s", print_count(json_long(b, "updates")));
            snprintf(rows, sizeof rows, "%s", print_count(json_long(g, "rows")));
            snprintf(restarts, sizeof restarts, "%s", print_count(json_long(x, "restarts")));
            snprintf(memory, sizeof memory, "%s", print_bytes(json_long(x, "memory")));
            print_table_row(&t, json_text(g, "group"), number, state,
                            json_long(x, "pid") ? pid : "", busy, streams, updates, rows, restarts,
                            memory);
        }
    }
    print_table_end(&t);
    json_array_foreach(json_object_get(r, "groups"), i, g)
    {
        json_t *f;
        json_array_foreach(json_object_get(g, "plugins"), k, f)
            printf("%s plugin %s\n", json_text(g, "group"), json_string_value(f));
        if (*json_text(g, "source"))
            printf("%s source %s at %s, %s rows since the start\n", json_text(g, "group"),
                   json_text(g, "source"), print_count(json_long(g, "at")),
                   print_count(json_long(g, "rows")));
        if (*json_text(g, "why"))
            printf("%s ended last: %s\n", json_text(g, "group"), json_text(g, "why"));
        if (*json_text(g, "trouble"))
            printf("%s: %s\n", json_text(g, "group"), json_text(g, "trouble"));
        bad |= *json_text(g, "trouble") != 0;
        show_ready(json_object_get(json_object_get(r, "ready"), json_text(g, "group")));
    }
    return bad ? EXIT_DEGRADED : EXIT_HEALTHY;
}

/* ---- a call's table ---- */

static void show_table(json_t *r)
{
    json_t *columns = json_object_get(r, "columns"), *row, *v;
    size_t n = json_array_size(columns), i, k;
    const char *head[SCHEMA_COLUMNS_MAX], *cell[SCHEMA_COLUMNS_MAX];
    char heads[SCHEMA_COLUMNS_MAX][40];
    struct print_table t;
    n = n < SCHEMA_COLUMNS_MAX ? n : SCHEMA_COLUMNS_MAX;
    for (k = 0; k < n; k++) {
        json_t *c = json_array_get(columns, k);
        const char *type = json_string_value(json_array_get(c, 1));
        bool number = !strcmp(type, "long") || !strcmp(type, "float") || !strcmp(type, "int");
        snprintf(heads[k], sizeof heads[k], "%s%.38s", number ? ">" : "",
                 json_string_value(json_array_get(c, 0)));
        head[k] = heads[k];
    }
    print_table_begin(&t, (unsigned)n, head);
    json_array_foreach(json_object_get(r, "rows"), i, row)
    {
        char *made[SCHEMA_COLUMNS_MAX] = {NULL};
        for (k = 0; k < n; k++) {
            v = json_array_get(row, k);
            if (!json_is_string(v) && !json_is_null(v))
                made[k] = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
            cell[k] = json_is_string(v) ? json_string_value(v) : made[k] ? made[k] : "";
        }
        print_table_cells(&t, cell);
        for (k = 0; k < n; k++)
            free(made[k]);
    }
    print_table_end(&t);
}

int cli_rtp(struct cli *c, int argc, char **argv)
{
    const char *verb = argc && *argv[0] != '-' ? argv[0] : "list";
    bool file = argc > 2 && (!strcmp(verb, "load") || !strcmp(verb, "unload"));
    char *whole = file ? realpath(argv[2], NULL) : NULL; /* as it is seen from here */
    int code;
    c->patient = true;
    json_t *args = cli_args(argc, argv);
    if (whole)
        json_array_set_new(args, 2, json_string_nocheck(whole));
    free(whole);
    json_t *r = cli_call(c, "rtp", args, &code);
    if (!r)
        return code;
    if (c->json) {
        json_dumpf(r, stdout, JSON_INDENT(1));
        printf("\n");
    } else if (!strcmp(verb, "list")) {
        code = show_list(r);
    } else if (!strcmp(verb, "call")) {
        show_table(r);
    } else {
        printf("%s\n", json_text(r, "done"));
    }
    json_decref(r);
    return code;
}
