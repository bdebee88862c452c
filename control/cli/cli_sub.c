/* SPDX-License-Identifier: Apache-2.0 */
/* penstock sub: a subscriber on the unix socket of kdb+ IPC. Rows go to stdout; marks and notices,
 * which say what rows cannot, to stderr. */
#include <errno.h>
#include <stdlib.h>
#include "cli.h"
#include "print.h"
#include "cli_rows.h"
#include "core/civil.h"
#include "core/clock.h"
#include "kdb/ask.h"
#include "kdb/link.h"
#include "kdb/request.h"

#define ANSWER_NS (10 * NS_PER_S)
#define WAIT_NS   (60 * NS_PER_S) /* as good as any: it then waits on */

struct sub {
    struct cli *cli;
    const char *tables, *syms, *where, *columns, *from;
    bool durable, snapshot, conflate, counted;
    bool marks;    /* schemas too, which come for every table */
    uint64_t left; /* of --count */
    struct kdb_link link;
    char last[SCHEMA_NAME_MAX]; /* table of the header printed last */
};

static int usage(const char *what, const char *arg)
{
    fprintf(stderr, "penstock: sub: %s%s\n", what, arg);
    return EXIT_USAGE;
}

static int parse(struct sub *s, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        const char **text = !strcmp(a, "--sym")       ? &s->syms
                            : !strcmp(a, "--where")   ? &s->where
                            : !strcmp(a, "--columns") ? &s->columns
                            : !strcmp(a, "--from")    ? &s->from
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
        } else if (!strcmp(a, "--durable")) {
            s->durable = true;
        } else if (!strcmp(a, "--snapshot")) {
            s->snapshot = true;
        } else if (!strcmp(a, "--conflate")) {
            s->conflate = true;
        } else if (!strcmp(a, "--marks")) {
            s->marks = true;
        } else if (*a == '-' || s->tables) {
            return usage("unexpected ", a);
        } else {
            s->tables = a;
        }
    }
    return s->tables ? EXIT_HEALTHY : usage("name a table, several with commas, or '*'", "");
}

/* ---- the request ---- */

static bool put_request(const struct sub *s, struct kdb_out *o)
{
    static const char *const keys[] = {"tables", "syms",     "where",   "columns",
                                       "from",   "snapshot", "durable", "conflate"};
    size_t at = kdb_ask_sub(o, keys, PST_COUNT(keys));
    if (!strcmp(s->tables, "*"))
        kdb_ask_word(o, "");
    else
        kdb_ask_names(o, s->tables);
    if (s->syms)
        kdb_ask_names(o, s->syms);
    else
        kdb_ask_word(o, "");
    kdb_ask_text(o, s->where ? s->where : "");
    kdb_ask_text(o, s->columns ? s->columns : "");
    if (s->from && *s->from >= '0' && *s->from <= '9')
        kdb_out_long(o, (int64_t)strtoull(s->from, NULL, 10));
    else
        kdb_ask_word(o, s->from ? s->from : "live");
    kdb_ask_flag(o, s->snapshot);
    kdb_ask_flag(o, s->durable);
    kdb_ask_flag(o, s->conflate);
    return kdb_frame_end(o, at);
}

/* ---- rows ---- */

static bool rows(struct sub *s, const char *table, const struct kdb_object *data)
{
    struct err err;
    struct row_columns c;
    enum rows_format f = s->cli->json ? ROWS_JSON : ROWS_TEXT;
    if (!rows_begin(&c, data, &err)) {
        fprintf(stderr, "penstock: sub: a message that is no table: %s\n", err.text);
        return false;
    }
    if (!s->cli->json && strcmp(table, s->last) != 0) {
        printf("# %s  ", table);
        rows_head(&c, f);
        printf("\n");
        snprintf(s->last, sizeof s->last, "%s", table);
    }
    for (uint32_t i = 0; i < c.rows; i++) {
        if (s->cli->json)
            printf("{\"table\":\"%s\"", table);
        rows_print(&c, f);
        printf(s->cli->json ? "}\n" : "\n");
        if (s->counted && !--s->left)
            break;
    }
    fflush(stdout);
    return true;
}

/* ---- messages ---- */

static void notice(const struct sub *s, const struct kdb_object *dict)
{
    struct kdb_items i, v;
    struct kdb_texts k;
    struct kdb_object kind;
    if (!s->marks && kdb_dict_value(dict, "kind", &kind) && kdb_object_is(&kind, "schema"))
        return;
    if (!kdb_items(dict, &i))
        return;
    struct kdb_object keys = i.item;
    if (!kdb_items_next(&i) || !kdb_texts(&keys, &k))
        return;
    bool list = i.item.type == KDB_LIST;
    bool more = list && kdb_items(&i.item, &v);
    bool first = true;
    for (bool key = true; key && more; key = kdb_texts_next(&k), more = kdb_items_next(&v)) {
        uint32_t len;
        const char *text = kdb_object_text(&v.item, &len);
        if (text)
            fprintf(stderr, "%s%s %.*s", first ? "" : " ", k.text, (int)len, text);
        else
            fprintf(stderr, " %s %lld", k.text, (long long)kdb_object_long(&v.item, 0));
        first = false;
    }
    fprintf(stderr, "\n");
}

/* False: over. */
static bool message(struct sub *s, const struct kdb_received *m, int *code)
{
    struct kdb_request r;
    struct kdb_name name;
    char table[SCHEMA_NAME_MAX], day[CIVIL_TEXT];
    uint32_t len;
    if (m->kind == KDB_RESPONSE) {
        if (m->object.type != KDB_ERROR)
            return true;
        fprintf(stderr, "penstock: sub: %s\n", kdb_object_text(&m->object, &len));
        *code = EXIT_DEGRADED;
        return false;
    }
    switch (kdb_request_read(&m->object, &r)) {
    case KDB_CALL_UPD:
        if (r.tables.many) { /* multi_publish */
            struct kdb_items i;
            bool more = kdb_names_first(&r.tables, &name), data = kdb_items(&r.data, &i);
            for (; more && data; more = kdb_names_next(&name), data = kdb_items_next(&i)) {
                snprintf(table, sizeof table, "%.*s", (int)name.len, name.text);
                if (!rows(s, table, &i.item))
                    return false;
            }
        } else if (kdb_names_first(&r.tables, &name)) {
            snprintf(table, sizeof table, "%.*s", (int)name.len, name.text);
            if (!rows(s, table, &r.data))
                return false;
        }
        break;
    case KDB_CALL_END:
        fprintf(stderr, "end of day %s\n", civil_format(r.date, day));
        break;
    case KDB_CALL_NOTICE:
        notice(s, &r.data);
        break;
    case KDB_CALL_EOI:
    case KDB_CALL_BUFFER_START:
    case KDB_CALL_BUFFER_END:
        fprintf(stderr, "%s\n", kdb_call_name(r.call));
        break;
    default:
        break;
    }
    return !s->counted || s->left;
}

static int failed(const struct err *err, int code)
{
    fprintf(stderr, "penstock: sub: %s\n", err->text);
    return code;
}

static int follow(struct sub *s, const char *socket)
{
    struct kdb_link *l = &s->link;
    struct kdb_received m;
    struct err err = {0};
    char address[KDB_LINK_ADDRESS];
    int code = EXIT_HEALTHY;
    snprintf(address, sizeof address, "unix:%s", socket);
    if (!kdb_link_open(l, address, "", ANSWER_NS, &err)) {
        fprintf(stderr, "penstock: sub: %s: %s\n", socket, err.text);
        return EXIT_NO_DAEMON;
    }
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

int cli_sub(struct cli *c, int argc, char **argv)
{
    struct sub s = {.cli = c, .link.fd = -1};
    int code = parse(&s, argc, argv);
    if (code)
        return code;
    json_t *r = cli_call(c, "clients", json_array(), &code);
    if (!r)
        return code;
    code = follow(&s, json_text(json_object_get(r, "subscribers"), "socket"));
    kdb_link_close(&s.link);
    kdb_out_free(&s.link.out);
    json_decref(r);
    return code;
}
