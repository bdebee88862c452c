/* SPDX-License-Identifier: Apache-2.0 */
/* penstock sql, call, queries, query-kill, plugin. */
#include <errno.h>
#include <unistd.h>
#include "cli.h"
#include "print.h"
#include "cli_sql.h"
#include "query_result.h"
#include "sql_render.h"

#define TEXT_MAX (48u * 1024) /* of SQL: a request is one line of the control socket */

static int usage(const char *why, const char *what)
{
    fprintf(stderr, "penstock: %s%s; penstock sql --help\n", why, what);
    return EXIT_USAGE;
}

int sql_help(void)
{
    printf(
        "penstock sql 'SELECT …' [OPTIONS]      a query over memory and database, as one table\n"
        "penstock sql -f FILE | -               the text from a file or from standard input\n"
        "penstock sql                           a shell (on a terminal)\n"
        "penstock sql --database DIR 'SELECT …' the same over a database, without a daemon\n"
        "penstock call NAME [PARAMETER=VALUE …] a plugin's named query\n\n"
        "  -p NAME=VALUE        :NAME in the text, or $1 with -p 1=VALUE; VALUE is never parsed as "
        "SQL\n"
        "  --format table|csv|json   (--json is the last)\n"
        "  --iso                times as 2026-11-23T09:30:00.000000000Z, always in UTC\n"
        "  --zone ZONE          times as that zone's clocks show them; else as time_type and\n"
        "                       time_offset say. What stands in the text is always UTC\n"
        "  --timeout DURATION   such as 500ms, 30s, 5m; at most query_timeout\n"
        "  --max-rows N         at most query_rows\n"
        "  --explain            what would be read, not the rows\n"
        "  --plugin FILE        with --database: load this plugin first\n"
        "  --threads N          with --database\n"
        "  -q                   no last line on standard error\n\n"
        "Standard error has warnings (an answer that spans a gap, memory that is behind) and, "
        "last, "
        "rows, time and\nhow far the answer goes.\n");
    return EXIT_HEALTHY;
}

static bool duration(const char *text, int64_t *ms)
{
    char *end;
    double v = strtod(text, &end);
    double unit = !strcmp(end, "ms")           ? 1
                  : !*end || !strcmp(end, "s") ? 1000
                  : !strcmp(end, "m")          ? 60000
                  : !strcmp(end, "h")          ? 3600000
                                               : 0;
    *ms = (int64_t)(v * unit);
    return end != text && unit && v > 0 && v * unit < 1e12 && *ms > 0;
}

static bool parameter(json_t *params, const char *text)
{
    const char *eq = strchr(text, '=');
    char name[128];
    if (!eq || eq == text || (size_t)(eq - text) >= sizeof name)
        return false;
    memcpy(name, text, (size_t)(eq - text));
    name[eq - text] = 0;
    return !json_object_set_new(params, name, json_string(eq + 1));
}

static char *slurp(const char *path)
{
    FILE *f = !strcmp(path, "-") ? stdin : fopen(path, "r");
    char *text = f ? malloc(TEXT_MAX + 1) : NULL;
    size_t n = text ? fread(text, 1, TEXT_MAX + 1, f) : 0;
    bool ok = text && !ferror(f) && n <= TEXT_MAX;
    if (!ok)
        fprintf(stderr, "penstock: %s: %s\n", path,
                f && n > TEXT_MAX ? "is longer than 48 KiB" : strerror(errno));
    if (ok && memchr(text, 0, n)) { /* what stands behind it would not be asked */
        fprintf(stderr, "penstock: %s: holds a byte 0, which no SQL text does\n", path);
        ok = false;
    }
    if (f && f != stdin)
        fclose(f);
    if (ok)
        text[n] = 0;
    else
        free(text);
    return ok ? text : NULL;
}

/* 0: go on; else the exit code. Fills o; what is no option is the text, or call's arguments. */
static int options(struct sql_options *o, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        bool wants = !strcmp(a, "-p") || !strcmp(a, "--param") || !strcmp(a, "--format") ||
                     !strcmp(a, "--timeout") || !strcmp(a, "--max-rows") || !strcmp(a, "-f") ||
                     !strcmp(a, "--database") || !strcmp(a, "--plugin") || !strcmp(a, "--threads");
        if (wants && !v)
            return usage("a value is missing after ", a);
        i += wants;
        char *end = NULL;
        if (!strcmp(a, "-p") || !strcmp(a, "--param")) {
            if (!parameter(o->params, v))
                return usage("a parameter is NAME=VALUE, in UTF-8, not ", v);
        } else if (!strcmp(a, "--format")) {
            if (!strcmp(v, "table") || !strcmp(v, "csv") || !strcmp(v, "json"))
                o->format = *v == 't' ? SQL_TABLE : *v == 'c' ? SQL_CSV : SQL_JSON;
            else
                return usage("--format is table, csv or json, not ", v);
        } else if (!strcmp(a, "--timeout")) {
            if (!duration(v, &o->timeout_ms))
                return usage("--timeout is a duration such as 500ms, 30s or 5m, not ", v);
        } else if (!strcmp(a, "--max-rows")) {
            o->max_rows = strtoll(v, &end, 10);
            if (*end || o->max_rows <= 0)
                return usage("--max-rows is a number of rows, not ", v);
        } else if (!strcmp(a, "--threads")) {
            o->threads = (unsigned)strtoul(v, &end, 10);
            if (*end || !o->threads || o->threads > 256)
                return usage("--threads is a number from 1 to 256, not ", v);
        } else if (!strcmp(a, "--database")) {
            o->database = v;
        } else if (!strcmp(a, "--plugin") && o->nplugins < SQL_PLUGINS) {
            o->plugin[o->nplugins++] = v;
        } else if (!strcmp(a, "-f") || !strcmp(a, "-")) {
            if (o->text || !(o->text = o->owned = slurp(*a == '-' && a[1] ? v : "-")))
                return o->owned ? usage("give one text, not also ", a) : EXIT_USAGE;
        } else if (!strcmp(a, "--iso")) {
            o->iso = true;
        } else if (!strcmp(a, "--explain")) {
            o->explain = true;
        } else if (!strcmp(a, "-q") || !strcmp(a, "--quiet")) {
            o->quiet = true;
        } else if (*a == '-' && a[1]) {
            return usage("unknown option ", a);
        } else if (!o->text) {
            o->text = a;
        } else if (o->call) {
            if (!parameter(o->params, a))
                return usage("an argument is PARAMETER=VALUE, in UTF-8, not ", a);
        } else {
            return usage("one text at a time (quote it); what is ", a);
        }
    }
    return 0;
}

/* ---- the answer ---- */

static void tail(const struct sql_options *o, json_t *facts, uint64_t rows)
{
    json_t *w, *cut = json_object_get(facts, "cut");
    size_t i;
    json_array_foreach(json_object_get(facts, "warnings"), i, w)
        fprintf(stderr, "warning: %s\n", json_text(w, "text"));
    if (o->quiet)
        return;
    fprintf(stderr, "%s row%s, %s", print_count((int64_t)rows), rows == 1 ? "" : "s",
            print_duration(json_long(facts, "run_ns")));
    if (json_long(facts, "queued_ns") > 1000000)
        fprintf(stderr, " (waited %s)", print_duration(json_long(facts, "queued_ns")));
    const char *name;
    json_t *v;
    json_object_foreach(json_object_get(facts, "facts"), name, v)
    {
        size_t n = strlen(name);
        if (n > 3 && !strcmp(name + n - 3, " ms"))
            continue; /* timings: EXPLAIN and JSON have them */
        if (json_long(json_object_get(facts, "facts"), name))
            fprintf(stderr, ", %s %s", print_count((int64_t)json_number_value(v)), name);
    }
    if (cut && !o->database)
        fprintf(stderr, "; journal to %s%s%s", print_count(json_long(cut, "position")),
                json_is_true(json_object_get(cut, "behind")) ? ", behind by " : "",
                json_is_true(json_object_get(cut, "behind"))
                    ? print_duration(json_long(cut, "lag_ns"))
                    : "");
    fputc('\n', stderr);
}

static int show(struct cli *c, const struct sql_options *o, const struct result *r, json_t *facts)
{
    json_t *extra = json_copy(facts);
    json_object_del(extra, "rows");
    json_object_del(extra, "columns");
    json_object_del(extra, "bytes");
    struct sql_style style = {.iso = o->iso, .shown = &c->shown};
    bool ok = sql_render(r, o->format, &style, extra, stdout);
    json_decref(extra);
    if (!ok)
        fprintf(stderr, "penstock: the output cannot be written: %s\n", strerror(errno));
    else
        tail(o, facts, r->rows);
    return ok ? EXIT_HEALTHY : EXIT_DEGRADED;
}

static int from_daemon(struct cli *c, const struct sql_options *o, const char *text)
{
    json_t *options = json_pack("{s:O}", "params", o->params);
    json_t *args = json_array(), *t = json_string(text);
    int code;
    if (!t) {
        json_decref(options);
        json_decref(args);
        return usage("the text is no UTF-8", "");
    }
    if (o->timeout_ms)
        json_object_set_new(options, "timeout_ms", json_integer(o->timeout_ms));
    if (o->max_rows)
        json_object_set_new(options, "max_rows", json_integer(o->max_rows));
    json_array_append_new(args, t);
    json_array_append_new(args, options);
    c->patient = true; /* the daemon has the timeout */
    json_t *facts = cli_call(c, o->call ? "call" : "sql", args, &code);
    if (!facts)
        return code;
    struct err err;
    struct result *r = NULL;
    if (c->conn.nfds != 1 || !query_result_open(c->conn.fds[0], &r, &err)) {
        fprintf(stderr, "penstock: %s\n", c->conn.nfds ? err.text : "the answer has no result");
        code = EXIT_DEGRADED;
    } else {
        code = cli_shown(c, facts) ? show(c, o, r, facts) : EXIT_USAGE;
    }
    query_result_close(r);
    for (unsigned i = 0; i < c->conn.nfds; i++)
        close(c->conn.fds[i]);
    c->conn.nfds = 0;
    json_decref(facts);
    return code;
}

int sql_one(struct cli *c, struct sql_options *o, const char *text)
{
    char *explained = NULL;
    if (o->explain && asprintf(&explained, "EXPLAIN %s", text) < 0)
        return EXIT_DEGRADED;
    text = explained ? explained : text;
    int code;
    if (o->database) {
        json_t *facts = NULL;
        struct result *r = sql_local(o, text, &facts, &code);
        if (r)
            code = cli_shown(c, NULL) ? show(c, o, r, facts) : EXIT_USAGE;
        result_free(r);
        json_decref(facts);
    } else {
        code = from_daemon(c, o, text);
    }
    free(explained);
    return code;
}

static int run(struct cli *c, int argc, char **argv, bool call)
{
    struct sql_options o = {
        .format = c->json ? SQL_JSON : SQL_TABLE, .params = json_object(), .call = call};
    int code = options(&o, argc, argv);
    if (!code && !o.text && call)
        code = usage("name a query; penstock plugin ls lists them", "");
    else if (!code && !o.text && !isatty(0))
        code = (o.text = o.owned = slurp("-")) ? 0 : EXIT_USAGE;
    if (!code)
        code = o.text ? sql_one(c, &o, o.text) : sql_shell(c, &o);
    sql_local_close(&o);
    json_decref(o.params);
    free(o.owned);
    return code;
}

int cli_sql(struct cli *c, int argc, char **argv)
{
    return run(c, argc, argv, false);
}

int cli_call_query(struct cli *c, int argc, char **argv)
{
    return run(c, argc, argv, true);
}

/* ---- queries, plugins ---- */

int cli_query_kill(struct cli *c, int argc, char **argv)
{
    int code;
    if (argc != 1)
        return usage("query-kill takes the id of a query; penstock queries lists them", "");
    json_t *args = json_array();
    json_array_append_new(args, json_string("kill"));
    json_array_append_new(args, json_string(argv[0]));
    json_t *r = cli_call(c, "queries", args, &code);
    if (r)
        printf("%s\n", json_text(r, "done"));
    json_decref(r);
    return code;
}

int view_queries(json_t *r)
{
    if (*json_text(r, "done")) {
        printf("%s\n", json_text(r, "done"));
        return EXIT_HEALTHY;
    }
    static const char *const head[] = {">id",      "state",    "user", ">age",
                                       ">running", ">process", "sql"};
    struct print_table t;
    print_table_begin(&t, PST_COUNT(head), head);
    size_t i;
    json_t *x;
    json_array_foreach(json_object_get(r, "queries"), i, x)
    {
        char sql[120], process[16] = "";
        snprintf(sql, sizeof sql, "%s", json_text(x, "sql"));
        for (char *p = sql; *p; p++)
            *p = *p < ' ' && *p > 0 ? ' ' : *p;
        if (json_long(x, "process"))
            snprintf(process, sizeof process, "%d", (int)json_long(x, "process"));
        print_table_row(&t, print_count(json_long(x, "id")), json_text(x, "state"),
                        json_text(x, "user"), print_duration(json_long(x, "age_ns")),
                        print_duration(json_long(x, "run_ns")), process, sql);
    }
    print_table_end(&t);
    static const char *const phead[] = {">process", "state", ">for", ">queries"};
    printf("\n");
    print_table_begin(&t, PST_COUNT(phead), phead);
    json_array_foreach(json_object_get(r, "processes"), i, x)
    {
        char pid[16];
        snprintf(pid, sizeof pid, "%d", (int)json_long(x, "pid"));
        print_table_row(&t, pid, json_text(x, "state"), print_duration(json_long(x, "age_ns")),
                        print_count(json_long(x, "served")));
    }
    print_table_end(&t);
    printf("\n%s queries, %s failed (%s cancelled, %s timed out); %s processes died%s%s\n",
           print_count(json_long(r, "total")), print_count(json_long(r, "failed")),
           print_count(json_long(r, "cancelled")), print_count(json_long(r, "timed_out")),
           print_count(json_long(r, "restarts")),
           *json_text(r, "last_restart") ? ", the last: " : "", json_text(r, "last_restart"));
    return EXIT_HEALTHY;
}

static void print_plugin_query(json_t *q)
{
    size_t i;
    json_t *x;
    printf("  %s(", json_text(q, "name"));
    json_array_foreach(json_object_get(q, "parameters"), i, x)
    {
        json_t *def = json_object_get(x, "default");
        printf("%s%s %s%s%s", i ? ", " : "", json_text(x, "name"), json_text(x, "type"),
               def ? " = " : "", def ? json_text(x, "default") : "");
    }
    printf(") -> (");
    json_array_foreach(json_object_get(q, "columns"), i, x)
        printf("%s%s %s", i ? ", " : "", json_text(x, "name"), json_text(x, "type"));
    printf(")  %s\n", json_text(q, "about"));
}

int view_plugin(json_t *r)
{
    size_t i, k;
    json_t *x, *q;
    json_t *plugins = json_object_get(r, "plugins"), *failed = json_object_get(r, "failed");
    if (*json_text(r, "done"))
        printf("%s\n", json_text(r, "done"));
    json_array_foreach(plugins, i, x)
    {
        printf("%s %s  %s  %s\n", json_text(x, "plugin"), json_text(x, "version"),
               json_text(x, "file"), json_text(x, "about"));
        json_array_foreach(json_object_get(x, "queries"), k, q) print_plugin_query(q);
    }
    json_array_foreach(failed, i, x)
        printf("FAILED %s: %s\n", json_text(x, "file"), json_text(x, "error"));
    if (!json_array_size(plugins) && !json_array_size(failed))
        printf("no plugin is loaded\n");
    return json_array_size(failed) ? EXIT_DEGRADED : EXIT_HEALTHY;
}
