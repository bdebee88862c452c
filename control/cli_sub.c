/* SPDX-License-Identifier: Apache-2.0 */
/* penstock sub: a subscriber on the unix socket of kdb+ IPC. Rows go to stdout; marks and notices,
 * which say what rows cannot, to stderr. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "cli.h"
#include "cli_print.h"
#include "core/civil.h"
#include "kdb/request.h"
#include "kdb/session.h"
#include "storage/render.h"

#define READ_SIZE 65536u

struct sub {
    struct cli *cli;
    const char *tables, *syms, *where, *columns, *from;
    bool durable, snapshot, conflate, counted;
    uint64_t left; /* of --count */
    int fd;
    struct kdb_session session;
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
        } else if (*a == '-' || s->tables) {
            return usage("unexpected ", a);
        } else {
            s->tables = a;
        }
    }
    return s->tables ? EXIT_HEALTHY : usage("name a table, several with commas, or '*'", "");
}

/* ---- the request ---- */

static void put_names(struct kdb_out *o, const char *list)
{
    uint32_t n = 0;
    size_t at = kdb_out_open(o, PST_SYMBOL, 0);
    for (const char *p = list; *p; n++) {
        size_t len = strcspn(p, ",");
        kdb_out_bytes(o, p, len);
        kdb_out_bytes(o, "", 1);
        p += len + (p[len] == ',');
    }
    kdb_out_close(o, at, n);
}

static void put_flag(struct kdb_out *o, bool v)
{
    uint8_t b = v;
    kdb_out_atom(o, PST_BOOLEAN, &b);
}

static bool put_request(const struct sub *s, struct kdb_out *o)
{
    static const char *const keys[] = {"tables", "syms",     "where",   "columns",
                                       "from",   "snapshot", "durable", "conflate"};
    size_t at = kdb_frame_begin(o, KDB_SYNC);
    kdb_out_list(o, 2);
    kdb_out_chars(o, ".pst.sub", 8);
    kdb_out_dict(o, false);
    kdb_out_symbols(o, keys, PST_COUNT(keys));
    kdb_out_list(o, PST_COUNT(keys));
    if (!strcmp(s->tables, "*"))
        kdb_out_symbol(o, "", 0);
    else
        put_names(o, s->tables);
    if (s->syms)
        put_names(o, s->syms);
    else
        kdb_out_symbol(o, "", 0);
    kdb_out_chars(o, s->where ? s->where : "", s->where ? strlen(s->where) : 0);
    kdb_out_chars(o, s->columns ? s->columns : "", s->columns ? strlen(s->columns) : 0);
    if (s->from && *s->from >= '0' && *s->from <= '9')
        kdb_out_long(o, (int64_t)strtoull(s->from, NULL, 10));
    else
        kdb_out_symbol(o, s->from ? s->from : "live", strlen(s->from ? s->from : "live"));
    put_flag(o, s->snapshot);
    put_flag(o, s->durable);
    put_flag(o, s->conflate);
    return kdb_frame_end(o, at);
}

/* ---- values ---- */

struct cell { /* where a column stands */
    struct kdb_object column;
    struct kdb_items items;
    struct kdb_texts texts;
    uint32_t i;
    bool more;
};

static void begin(struct cell *c, const struct kdb_object *column)
{
    *c = (struct cell){.column = *column};
    if (column->type == PST_SYMBOL)
        c->more = kdb_texts(column, &c->texts);
    else if (column->type == KDB_LIST)
        c->more = kdb_items(column, &c->items);
}

/* Text of the next value; *quoted: JSON wants quotes. */
static const char *next(struct cell *c, char buf[RENDER_VALUE], uint32_t *len, bool *quoted)
{
    const struct kdb_object *o = &c->column;
    const char *text = "";
    *len = 0;
    *quoted = true;
    if (o->type == PST_SYMBOL) {
        text = c->texts.text;
        *len = c->texts.len;
        if (c->i++)
            return c->more && (c->more = kdb_texts_next(&c->texts))
                       ? (*len = c->texts.len, c->texts.text)
                       : "";
        return text;
    }
    if (o->type == KDB_LIST) {
        if (c->i++)
            c->more = kdb_items_next(&c->items);
        text = c->more ? kdb_object_text(&c->items.item, len) : NULL;
        return text ? text : "";
    }
    unsigned width = kdb_object_width(o->type);
    const uint8_t *p = o->data + (size_t)c->i++ * width;
    if (o->type > 0 && width && !render_is_null((uint8_t)o->type, p)) {
        *len = render_value((uint8_t)o->type, p, buf);
        *quoted = o->type > PST_FLOAT || o->type == PST_GUID;
        return buf;
    }
    *quoted = false;
    return NULL;
}

static void put_json(const char *text, uint32_t len, bool quoted)
{
    if (!text) {
        printf("null");
    } else if (!quoted) {
        printf("%.*s", (int)len, text);
    } else {
        json_t *s = json_stringn(text, len);
        if (s)
            json_dumpf(s, stdout, JSON_ENCODE_ANY);
        else
            printf("null"); /* no UTF-8 */
        json_decref(s);
    }
}

struct columns {
    struct cell cell[SCHEMA_COLUMNS_MAX];
    const char *name[SCHEMA_COLUMNS_MAX];
    uint32_t len[SCHEMA_COLUMNS_MAX], n;
};

static bool column(void *arg, uint32_t i, const char *name, uint32_t len,
                   const struct kdb_object *o)
{
    struct columns *c = arg;
    if (i >= SCHEMA_COLUMNS_MAX)
        return false;
    begin(&c->cell[i], o);
    c->name[i] = name;
    c->len[i] = len;
    c->n = i + 1;
    return true;
}

static void print_row(const struct sub *s, struct columns *c, const char *table)
{
    char buf[RENDER_VALUE];
    uint32_t len;
    bool quoted;
    if (s->cli->json)
        printf("{\"table\":\"%s\"", table);
    for (uint32_t i = 0; i < c->n; i++) {
        const char *text = next(&c->cell[i], buf, &len, &quoted);
        if (s->cli->json) {
            printf(",\"%.*s\":", (int)c->len[i], c->name[i]);
            put_json(text, len, quoted);
        } else {
            printf("%s%.*s", i ? "  " : "", text ? (int)len : 1, text ? text : "-");
        }
    }
    printf(s->cli->json ? "}\n" : "\n");
}

static bool rows(struct sub *s, const char *table, const struct kdb_object *data)
{
    struct kdb_table t;
    struct err err;
    struct columns c = {0};
    if (!kdb_table_view(&t, data, &err) || !kdb_table_each(&t, column, &c)) {
        fprintf(stderr, "penstock: sub: a message that is no table: %s\n", err.text);
        return false;
    }
    if (!s->cli->json && strcmp(table, s->last) != 0) {
        printf("# %s ", table);
        for (uint32_t i = 0; i < c.n; i++)
            printf(" %.*s", (int)c.len[i], c.name[i]);
        printf("\n");
        snprintf(s->last, sizeof s->last, "%s", table);
    }
    for (uint32_t i = 0; i < t.rows; i++) {
        print_row(s, &c, table);
        if (s->counted && !--s->left)
            break;
    }
    fflush(stdout);
    return true;
}

/* ---- messages ---- */

static void notice(const struct kdb_object *dict)
{
    struct kdb_items i, v;
    struct kdb_texts k;
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
static bool message(struct sub *s, const struct kdb_event *e, int *code)
{
    struct kdb_request r;
    struct kdb_name name;
    char table[SCHEMA_NAME_MAX], day[CIVIL_TEXT];
    uint32_t len;
    const __typeof__(e->message) *m = &e->message;
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
        notice(&r.data);
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

static bool open_socket(struct sub *s, const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    static const char login[] = {':', (char)KDB_CAPABILITY, 0};
    if (strlen(path) >= sizeof sa.sun_path)
        return false;
    memcpy(sa.sun_path, path, strlen(path) + 1);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&sa, sizeof sa) ||
        write(s->fd, login, sizeof login) != (ssize_t)sizeof login) {
        fprintf(stderr, "penstock: sub: %s: %s\n", path, strerror(errno));
        return false;
    }
    return true;
}

static int follow(struct sub *s)
{
    struct kdb_out o = {0};
    struct kdb_event e;
    int code = EXIT_HEALTHY;
    for (;;) {
        switch (kdb_session_next(&s->session, &e)) {
        case KDB_EVENT_ACCEPTED:
            if (!put_request(s, &o) || write(s->fd, o.data, o.len) != (ssize_t)o.len) {
                fprintf(stderr, "penstock: sub: %s\n", strerror(errno));
                code = EXIT_DEGRADED;
            }
            kdb_out_free(&o);
            if (code)
                return code;
            continue;
        case KDB_EVENT_MESSAGE:
            if (!message(s, &e, &code))
                return code;
            continue;
        case KDB_EVENT_MORE:
            break;
        case KDB_EVENT_LOGIN:
        case KDB_EVENT_HOSTILE:
            fprintf(stderr, "penstock: sub: the server sent what is no message\n");
            return EXIT_DEGRADED;
        }
        size_t room;
        uint8_t *to = kdb_session_room(&s->session, READ_SIZE, &room);
        ssize_t n = to ? read(s->fd, to, room) : -1;
        if (n <= 0) {
            fprintf(stderr, "penstock: sub: %s\n",
                    n ? strerror(errno) : "the server has closed the connection");
            return EXIT_NO_DAEMON;
        }
        kdb_session_took(&s->session, (size_t)n);
    }
}

int cli_sub(struct cli *c, int argc, char **argv)
{
    struct sub s = {.cli = c, .fd = -1};
    int code = parse(&s, argc, argv);
    if (code)
        return code;
    json_t *r = cli_call(c, "clients", json_array(), &code);
    if (!r)
        return code;
    struct kdb_limits limits = {.message = KDB_BYTES_MAX};
    kdb_session_start(&s.session, KDB_CLIENT, &limits);
    code = EXIT_NO_DAEMON;
    if (open_socket(&s, json_text(json_object_get(r, "subscribers"), "socket")))
        code = follow(&s);
    kdb_session_free(&s.session);
    if (s.fd >= 0)
        close(s.fd);
    json_decref(r);
    return code;
}
