/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>
#include "cli.h"
#include "cli_kdb.h"
#include "print.h"
#include "cli_sql.h"
#include "cmd.h"
#include "core/nearest.h"

static const struct verb {
    const char *name, *args, *sentence;
    int (*run)(struct cli *c, int argc, char **argv); /* NULL: cli_view */
} verbs[] = {
#define X(name, level, args, sentence) {#name, args, sentence, NULL},
#include "cmd.def"
#undef X
    {"tail", "[TABLE] [-n N] [-f] [--sym S] [--buffer ID]",
     "The newest rows, from the log and the ring; -f follows.", cli_tail},
    {"gaps", "[FEED] [-n N]", "The newest gaps, from the journal: what was lost, when, why.",
     cli_gaps},
    {"sub",
     "TABLE[,TABLE...]|'*' [--sym S,T] [--where EXPR] [--columns LIST] [--from live|day|begin|P] "
     "[--durable] [--snapshot] [--conflate] [--marks] [--count N]",
     "Rows as they come, from the unix socket of kdb+ IPC.", cli_sub},
    {"stream",
     "NAME [KEY=VALUE...] [--full] [--group G] [--policy disconnect|resync] [--csv] [--count N] | "
     "list | show",
     "A streaming analytic: its state, then what changes it; or which there are, and which run.",
     cli_stream},
    {"query-kill", "ID", "Stops a query that runs or waits.", cli_query_kill},
    {"log",
     "ls|verify|stat|dump|repair [FILE|DIR] [TABLE] [--from X] [--to Y] [--kind K,...] "
     "[--buffered] "
     "[--yes] | export|import ...",
     "Lists, checks, counts, prints or repairs log files, and moves rows to and from kdb+ logs; "
     "works without a daemon.",
     cli_log},
    {"replay",
     "FILE|DIR... --to INSTANCE [--speed N|max] [--from F] [--until U] [--tables A,B] [--sym S,T] "
     "[--marks] [--derive] [--source NAME] [--yes]",
     "The rows of log files into a running instance, in their order, each once.", cli_replay},
    {"user", "add|passwd NAME | ls | check [--file FILE]",
     "Users of the kdb+ IPC server: makes password verifiers, lists rights, checks the file; "
     "`penstock user help`.",
     cli_user},
    {"hdb", "ls|stat|verify|add-column|drop-before|fill|rebuild|generate ...",
     "The historical database: look, check, change; `penstock hdb help`.", cli_hdb},
};

/* Verbs of the socket that the CLI serves in its own way, or that only programs use. */
static int (*special(const char *name))(struct cli *, int, char **)
{
    if (!strcmp(name, "ledger"))
        return cli_ledger;
    if (!strcmp(name, "publish"))
        return cli_publish;
    if (!strcmp(name, "eod"))
        return cli_eod;
    if (!strcmp(name, "buffer"))
        return cli_buffer;
    if (!strcmp(name, "load"))
        return cli_load;
    if (!strcmp(name, "rtp"))
        return cli_rtp;
    if (!strcmp(name, "rdb"))
        return cli_rdb;
    if (!strcmp(name, "rebuild"))
        return cli_rebuild;
    if (!strcmp(name, "sql"))
        return cli_sql;
    if (!strcmp(name, "call"))
        return cli_call_query;
    return NULL;
}

static const struct verb *verb_find(const char *name)
{
    for (unsigned i = 0; i < PST_COUNT(verbs); i++)
        if (!strcmp(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

int cli_help(const char *name)
{
    const struct verb *v = name ? verb_find(name) : NULL;
    if (v && (!strcmp(name, "sql") || !strcmp(name, "call")))
        return sql_help();
    if (v) {
        printf("penstock %s %s\n  %s\n", v->name, v->args, v->sentence);
        if (!strcmp(name, "log"))
            cli_kdb_help();
        return EXIT_HEALTHY;
    }
    printf("penstock [--socket PATH] [--json] VERB [ARGUMENTS]\n\n");
    for (unsigned i = 0; i < PST_COUNT(verbs); i++)
        printf("  %-10s %-48s%s%s\n", verbs[i].name, verbs[i].args,
               strlen(verbs[i].args) > 47
                   ? "\n                                                             "
                   : " ",
               verbs[i].sentence);
    printf(
        "\n  --socket PATH  the daemon's control socket (or $PENSTOCK_SOCKET; else the only one in "
        "/run/penstock)\n  --json         the reply as JSON\n"
        "  --zone ZONE    how tail, gaps, log, sql and call show times: UTC, America/New_York ... "
        "(else as time_type and time_offset say)\n\n"
        "exit codes: 0 healthy, 1 degraded or not balanced, 2 usage, 3 no daemon\n");
    return EXIT_HEALTHY;
}

bool cli_shown(struct cli *c, json_t *reply)
{
    struct err err = {0};
    if (c->zone ? shown_zone(&c->shown, c->zone, &err)
                : shown_from(&c->shown, json_object_get(reply, "shown"), &err))
        return true;
    fprintf(stderr, "penstock: %s\n", err.text);
    return false;
}

json_t *cli_args(int argc, char **argv)
{
    json_t *a = json_array();
    for (int i = 0; i < argc; i++)
        json_array_append_new(a, json_string_nocheck(argv[i]));
    return a;
}

json_t *cli_call(struct cli *c, const char *cmd, json_t *args, int *code)
{
    struct err err = {0};
    if (c->conn.fd < 0 && !client_open(&c->conn, c->socket, &err)) {
        fprintf(stderr, "penstock: %s\n", err.text);
        json_decref(args);
        *code = EXIT_NO_DAEMON;
        return NULL;
    }
    if (c->patient)
        client_patience(&c->conn, 0);
    json_t *reply = client_call(&c->conn, cmd, args, &err);
    if (!reply) {
        fprintf(stderr, "penstock: %s\n", err.text);
        *code = EXIT_NO_DAEMON;
        return NULL;
    }
    json_t *result = json_object_get(reply, "result");
    if (!json_is_true(json_object_get(reply, "ok")) || !result) {
        fprintf(stderr, "penstock: %s\n", json_text(reply, "error"));
        *code = json_long(reply, "code") == -EINVAL ? EXIT_USAGE : EXIT_DEGRADED;
        json_decref(reply);
        return NULL;
    }
    json_incref(result);
    json_decref(reply);
    *code = EXIT_HEALTHY;
    return result;
}

int main(int argc, char **argv)
{
    struct cli c = {.conn.fd = -1};
    static char found[128];
    const char *verb = NULL;
    int rest = argc;
    for (int i = 1; i < argc && !verb; i++) {
        if (!strcmp(argv[i], "--json")) {
            c.json = true;
        } else if (!strcmp(argv[i], "--socket") && i + 1 < argc) {
            c.socket = argv[++i];
        } else if (!strcmp(argv[i], "--zone") && i + 1 < argc) {
            c.zone = argv[++i];
        } else if (!strcmp(argv[i], "--version")) {
            printf("penstock %s\n", PST_VERSION);
            return EXIT_HEALTHY;
        } else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h") ||
                   !strcmp(argv[i], "help")) {
            return cli_help(i + 1 < argc ? argv[i + 1] : NULL);
        } else if (*argv[i] == '-') {
            fprintf(stderr, "penstock: unknown option %s; penstock --help\n", argv[i]);
            return EXIT_USAGE;
        } else {
            verb = argv[i];
            rest = i + 1;
        }
    }
    if (!verb) {
        cli_help(NULL);
        return EXIT_USAGE;
    }
    /* --json and --help are also taken behind the verb, where hands tend to put them. */
    int n = 0;
    char **args = argv + rest;
    for (int i = rest; i < argc; i++) {
        if (!strcmp(argv[i], "--json"))
            c.json = true;
        else if (!strcmp(argv[i], "--help"))
            return cli_help(verb);
        else if (!strcmp(argv[i], "--socket") && i + 1 < argc)
            c.socket = argv[++i];
        else if (!strcmp(argv[i], "--zone") && i + 1 < argc)
            c.zone = argv[++i];
        else
            args[n++] = argv[i];
    }
    const struct verb *v = verb_find(verb);
    if (!v) {
        const char *names[PST_COUNT(verbs)];
        for (unsigned i = 0; i < PST_COUNT(verbs); i++)
            names[i] = verbs[i].name;
        const char *near = nearest_word(verb, names, PST_COUNT(verbs));
        fprintf(stderr, "penstock: no verb '%s'%s%s%s\n", verb, near ? ", did you mean " : "",
                near ? near : "", near ? "?" : "; penstock --help lists them");
        return EXIT_USAGE;
    }
    if (!*v->args && n) {
        fprintf(stderr, "penstock: %s takes no arguments, what is '%s'?\n", verb, args[0]);
        return EXIT_USAGE;
    }
    if (c.zone && !cli_shown(&c, NULL))
        return EXIT_USAGE;
    if (!c.socket)
        c.socket = getenv("PENSTOCK_SOCKET");
    if (!c.socket)
        c.socket = client_default_socket(found, sizeof found);
    int (*own)(struct cli *, int, char **) = v->run ? v->run : special(verb);
    int code = own ? own(&c, n, args) : cli_view(&c, verb, n, args);
    if (c.conn.fd >= 0)
        client_close_conn(&c.conn);
    shown_free(&c.shown);
    return code;
}
