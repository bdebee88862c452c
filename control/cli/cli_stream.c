/* SPDX-License-Identifier: Apache-2.0 */
/* penstock stream: a client of a streaming analytic on the unix socket of kdb+ IPC. Rows go to
 * stdout, each with what it belongs to (state or update) and its position; notices to stderr. */
#include <errno.h>
#include <stdlib.h>
#include "cli.h"
#include "print.h"
#include "cli_rows.h"
#include "core/clock.h"
#include "kdb/ask.h"
#include "kdb/link.h"
#include "kdb/request.h"

#define ANSWER_NS (30 * NS_PER_S) /* a group may have to be started */
#define WAIT_NS   (60 * NS_PER_S) /* as good as any: it then waits on */

struct streaming {
    struct cli *cli;
    const char *name, *group, *policy;
    char **param;
    unsigned nparams;
    bool full, csv, counted, headed;
    uint64_t left; /* of --count */
    struct kdb_link link;
};

static int usage(const char *what, const char *arg)
{
    fprintf(stderr, "penstock: stream: %s%s\n", what, arg);
    return EXIT_USAGE;
}

static int parse(struct streaming *s, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        const char **text = !strcmp(a, "--group")    ? &s->group
                            : !strcmp(a, "--policy") ? &s->policy
                                                     : NULL;
        if (text || !strcmp(a, "--count")) {
            if (++i == argc)
                return usage("a value is missing behind ", a);
            if (text) {
                *text = argv[i];
                continue;
            }
            char *end;
            s->left = strtoull(argv[i], &end, 10);
            s->counted = true;
            if (!s->left || *end)
                return usage("--count takes a number of rows, not ", argv[i]);
        } else if (!strcmp(a, "--full")) {
            s->full = true;
        } else if (!strcmp(a, "--csv")) {
            s->csv = true;
        } else if (*a == '-') {
            return usage("unexpected ", a);
        } else if (!s->name) {
            s->name = a;
        } else if (strchr(a, '=')) {
            s->param[s->nparams++] = argv[i];
        } else {
            return usage("a parameter is written key=value, not ", a);
        }
    }
    return s->name ? EXIT_HEALTHY
                   : usage("name an analytic; `penstock stream list` shows them", "");
}

static bool put_request(const struct streaming *s, struct kdb_out *o)
{
    static const char *const keys[] = {"texts", "mode", "policy", "group"};
    uint32_t n = s->group ? 4 : 3;
    size_t at = kdb_ask(o, ".sa.sub", 3);
    kdb_ask_word(o, s->name);
    kdb_out_dict(o, false);
    size_t opened = kdb_out_open(o, PST_SYMBOL, 0);
    for (unsigned i = 0; i < s->nparams; i++) {
        kdb_out_bytes(o, s->param[i], strcspn(s->param[i], "="));
        kdb_out_bytes(o, "", 1);
    }
    kdb_out_close(o, opened, s->nparams);
    kdb_out_list(o, s->nparams);
    for (unsigned i = 0; i < s->nparams; i++)
        kdb_ask_text(o, strchr(s->param[i], '=') + 1);
    kdb_out_dict(o, false);
    kdb_out_symbols(o, keys, n);
    kdb_out_list(o, n);
    kdb_ask_flag(o, true);
    kdb_ask_word(o, s->full ? "full" : "");
    kdb_ask_word(o, s->policy ? s->policy : "default");
    if (s->group)
        kdb_ask_word(o, s->group);
    return kdb_frame_end(o, at);
}

/* ---- rows ---- */

static bool rows(struct streaming *s, const struct kdb_request *r, bool state)
{
    struct row_columns c;
    struct err err;
    const char *kind = state ? "state" : "update";
    enum rows_format f = s->cli->json ? ROWS_JSON : s->csv ? ROWS_CSV : ROWS_TEXT;
    if (!rows_begin(&c, &r->data, &err)) {
        fprintf(stderr, "penstock: stream: a message that is no table: %s\n", err.text);
        return false;
    }
    if (!s->headed && f != ROWS_JSON) {
        printf(f == ROWS_CSV ? "kind,position," : "# %s  kind position ", s->name);
        rows_head(&c, f);
        printf("\n");
    }
    s->headed = true;
    if (!c.rows && f == ROWS_JSON)
        printf("{\"kind\":\"%s\",\"position\":%llu,\"empty\":true}\n", kind,
               (unsigned long long)r->position);
    for (uint32_t i = 0; i < c.rows; i++) {
        printf(f == ROWS_JSON  ? "{\"kind\":\"%s\",\"position\":%llu"
               : f == ROWS_CSV ? "%s,%llu,"
                               : "%s  %llu  ",
               kind, (unsigned long long)r->position);
        rows_print(&c, f);
        printf(f == ROWS_JSON ? "}\n" : "\n");
        if (s->counted && !--s->left)
            break;
    }
    fflush(stdout);
    return !s->counted || s->left;
}

/* False: over. */
static bool message(struct streaming *s, const struct kdb_received *m, int *code)
{
    struct kdb_request r;
    uint32_t len;
    if (m->kind == KDB_RESPONSE) {
        if (m->object.type != KDB_ERROR)
            return true;
        fprintf(stderr, "penstock: stream: %s\n", kdb_object_text(&m->object, &len));
        *code = EXIT_DEGRADED;
        return false;
    }
    switch (kdb_request_read(&m->object, &r)) {
    case KDB_CALL_SA_STATE:
        return rows(s, &r, true);
    case KDB_CALL_SA_UPDATE:
        return rows(s, &r, false);
    case KDB_CALL_SA_NOTICE:
        fprintf(stderr, "%.*s: %.*s\n", (int)r.function.len, r.function.text, (int)r.text.len,
                r.text.text);
        if (r.function.len != 7 || memcmp(r.function.text, "stopped", 7) != 0)
            return true;
        *code = EXIT_DEGRADED;
        return false;
    default:
        return true;
    }
}

/* ---- tables: list, show ---- */

static bool print_shown(struct streaming *s, const struct kdb_object *o)
{
    struct row_columns c;
    struct err err;
    char buf[RENDER_VALUE];
    if (!rows_begin(&c, o, &err)) {
        fprintf(stderr, "penstock: stream: an answer that is no table: %s\n", err.text);
        return false;
    }
    if (s->cli->json) {
        for (uint32_t i = 0; i < c.rows; i++) {
            printf("{\"nr\":%u", i + 1);
            rows_print(&c, ROWS_JSON);
            printf("}\n");
        }
        return true;
    }
    struct print_table t;
    const char *head[TABLE_COLUMNS], *cell[TABLE_COLUMNS];
    char names[TABLE_COLUMNS][48];
    for (uint32_t i = 0; i < c.n && i < TABLE_COLUMNS; i++) {
        bool number = c.cell[i].column.type == PST_LONG;
        snprintf(names[i], sizeof names[i], "%s%.*s", number ? ">" : "", (int)c.len[i], c.name[i]);
        head[i] = names[i];
    }
    print_table_begin(&t, c.n, head);
    for (uint32_t r = 0; r < c.rows; r++) {
        for (uint32_t i = 0; i < c.n; i++) {
            uint32_t len;
            bool quoted;
            const char *text = rows_next(&c.cell[i], buf, &len, &quoted);
            cell[i] = strndup(text ? text : "", len);
        }
        print_table_cells(&t, cell);
        for (uint32_t i = 0; i < c.n; i++)
            free((char *)cell[i]);
    }
    if (c.rows)
        print_table_end(&t);
    else
        print_table_free(&t);
    return true;
}

static int failed(const struct err *err, int code)
{
    fprintf(stderr, "penstock: stream: %s\n", err->text);
    return code;
}

static int show(struct streaming *s, const char *function)
{
    struct kdb_link *l = &s->link;
    struct kdb_received m;
    struct err err = {0};
    uint32_t len;
    size_t at = kdb_ask(&l->out, function, 1);
    kdb_out_null(&l->out);
    if (!kdb_frame_end(&l->out, at) || !kdb_link_send(l, ANSWER_NS, &err))
        return failed(&err, EXIT_DEGRADED);
    if (kdb_link_next(l, &m, ANSWER_NS, &err) != KDB_LINK_MESSAGE)
        return failed(&err, EXIT_DEGRADED);
    if (m.object.type != KDB_ERROR)
        return print_shown(s, &m.object) ? EXIT_HEALTHY : EXIT_DEGRADED;
    fprintf(stderr, "penstock: stream: %s\n", kdb_object_text(&m.object, &len));
    return EXIT_DEGRADED;
}

static int follow(struct streaming *s)
{
    struct kdb_link *l = &s->link;
    struct kdb_received m;
    struct err err = {0};
    int code = EXIT_HEALTHY;
    if (!put_request(s, &l->out) || !kdb_link_send(l, ANSWER_NS, &err))
        return failed(&err, EXIT_DEGRADED);
    for (;;) {
        enum kdb_link_verdict v = kdb_link_next(l, &m, WAIT_NS, &err);
        if (v == KDB_LINK_GONE)
            return failed(&err, err.code == -EBADMSG ? EXIT_DEGRADED : EXIT_NO_DAEMON);
        if (v == KDB_LINK_MESSAGE && !message(s, &m, &code))
            return code;
    }
}

static int connected(struct streaming *s, const char *socket)
{
    struct err err = {0};
    char address[KDB_LINK_ADDRESS];
    snprintf(address, sizeof address, "unix:%s", socket);
    if (!kdb_link_open(&s->link, address, "", ANSWER_NS, &err)) {
        fprintf(stderr, "penstock: stream: %s: %s\n", socket, err.text);
        return EXIT_NO_DAEMON;
    }
    bool tables = !s->nparams && !s->full && !s->counted;
    if (tables && !strcmp(s->name, "list"))
        return show(s, ".sa.list");
    if (tables && !strcmp(s->name, "show"))
        return show(s, ".sa.streams");
    return follow(s);
}

int cli_stream(struct cli *c, int argc, char **argv)
{
    struct streaming s = {.cli = c, .link.fd = -1};
    s.param = calloc((size_t)argc + 1, sizeof *s.param);
    if (!s.param)
        return EXIT_DEGRADED;
    int code = parse(&s, argc, argv);
    json_t *r = code ? NULL : cli_call(c, "clients", json_array(), &code);
    if (r) {
        code = connected(&s, json_text(json_object_get(r, "subscribers"), "socket"));
        kdb_link_close(&s.link);
        kdb_out_free(&s.link.out);
        json_decref(r);
    }
    free(s.param);
    return code;
}
