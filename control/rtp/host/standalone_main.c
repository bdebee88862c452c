/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock-rtp --standalone: streaming analytics without penstockd, an example of standalone.h that
 * is also of use. Rows come from CSV files, from a log directory, or from clients; clients are
 * lines of JSON, on a unix socket or on standard input.
 *
 *   {"sub": NAME, "params": {NAME: TEXT}}   {"id": n} then {"id": n, "state": [ROW…]}, and from
 *                                           then on {"id": n, "update": [ROW…]}
 *   {"unsub": n}  {"snapshot": n}           {"ok": true}; {"id": n, "state": [ROW…]}
 *   {"call": NAME, "params": {…}}           {"result": [ROW…]}
 *   {"rows": TABLE, "csv": TEXT}            {"ok": true, "rows": n}
 *   {"list": true}  {"debug": true|false}   what there is (rtp_wire.h: READY); {"ok": true}
 *   anything that goes wrong                {"error": SENTENCE}
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <sys/poll.h> /* poll.h is the data plane's */
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <penstock/standalone.h>
#include "cli/cli_rows.h"
#include "core/clock.h"
#include "host_standalone.h"

#define CLIENTS 64
#define LINE    (1u << 20)

struct client {
    int in, out; /* in -1: free */
    char *line;
    size_t used;
};
static struct client clients[CLIENTS]; /* 0: standard input */
static int listener = -1;
static struct pst_sa *sa;
static pst_sa_closed *closed; /* what is called when a client has gone */
static unsigned subscribed;   /* ever: rows are read when somebody listens */

/* ---- answers ---- */

static void say(const struct client *c, const char *text, size_t n)
{
    while (n) {
        ssize_t k = write(c->out, text, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return; /* it is gone: reading tells */
        text += k;
        n -= (size_t)k;
    }
}

static void say_json(const struct client *c, json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT);
    if (text) {
        say(c, text, strlen(text));
        say(c, "\n", 1);
    }
    free(text);
    json_decref(o);
}

static void refuse(const struct client *c, const char *why)
{
    say_json(c, json_pack("{s:s}", "error", why));
}

static void put_text(FILE *f, const char *text, uint32_t len)
{
    json_t *s = json_stringn(text, len);
    char *out = s ? json_dumps(s, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    fputs(out ? out : "\"\"", f);
    free(out);
    json_decref(s);
}

/* "[{…},{…}]" */
static void put_rows(FILE *f, const uint8_t *table)
{
    static struct row_columns c;
    struct kdb_object o;
    struct err err = {0};
    char buf[RENDER_VALUE];
    kdb_object_view(&o, table, KDB_LITTLE);
    bool sound = rows_begin(&c, &o, &err);
    fputs("[", f);
    for (uint32_t row = 0; sound && row < c.rows; row++) {
        fputs(row ? ",{" : "{", f);
        for (uint32_t i = 0; i < c.n; i++) {
            uint32_t len;
            bool quoted;
            const char *v = rows_next(&c.cell[i], buf, &len, &quoted);
            fputs(i ? "," : "", f);
            put_text(f, c.name[i], c.len[i]);
            fputs(":", f);
            if (!v)
                fputs("null", f);
            else if (quoted)
                put_text(f, v, len);
            else
                fwrite(v, 1, len, f);
        }
        fputs("}", f);
    }
    fputs("]", f);
}

static void on_message(void *arg, const struct pst_sa_message *m)
{
    static const char *const keys[] = {
        [PST_SA_STATE] = "state", [PST_SA_UPDATE] = "update", [PST_SA_RESULT] = "result"};
    (void)arg;
    if (m->kind >= PST_SA_LOG) {
        fprintf(stderr, "penstock-rtp: %s\n", m->text);
        return;
    }
    const struct client *c = &clients[m->connection];
    char *text = NULL;
    size_t n = 0;
    FILE *f = m->connection >= 0 && c->in >= 0 ? open_memstream(&text, &n) : NULL;
    if (!f)
        return;
    if (m->kind == PST_SA_RESULT)
        fprintf(f, "{\"%s\":", keys[m->kind]);
    else
        fprintf(f, "{\"id\":%lld,\"%s\":", (long long)m->id, keys[m->kind]);
    put_rows(f, m->table);
    fputs("}\n", f);
    if (!fclose(f))
        say(c, text, n);
    free(text);
}

/* ---- requests ---- */

#define PARAMS 16

static bool params_of(const json_t *o, const char *out[2 * PARAMS + 1])
{
    const char *name;
    json_t *v, *params = json_object_get(o, "params");
    unsigned n = 0;
    json_object_foreach(params, name, v)
    {
        if (!json_is_string(v) || n == 2 * PARAMS)
            return false;
        out[n++] = name;
        out[n++] = json_string_value(v);
    }
    out[n] = NULL;
    return true;
}

static void subscribe(const struct client *c, const char *name, const char *const *params)
{
    int64_t id = pst_sa_subscribe(sa, c - clients, name, params);
    if (id < 0) {
        refuse(c, pst_sa_error(sa));
        return;
    }
    subscribed++;
    say_json(c, json_pack("{s:I}", "id", (json_int_t)id));
    if (pst_sa_snapshot(sa, id))
        refuse(c, pst_sa_error(sa));
}

/* Subscriptions of others are none of its business; their ids are not told. */
static void request(const struct client *c, const char *line, size_t n)
{
    json_error_t je;
    const char *params[2 * PARAMS + 1];
    json_t *o = json_loadb(line, n, JSON_REJECT_DUPLICATES, &je), *ok = NULL;
    const char *sub = json_string_value(json_object_get(o, "sub")),
               *call = json_string_value(json_object_get(o, "call")),
               *rows = json_string_value(json_object_get(o, "rows")),
               *csv = json_string_value(json_object_get(o, "csv"));
    const json_t *unsub = json_object_get(o, "unsub"), *snap = json_object_get(o, "snapshot"),
                 *debug = json_object_get(o, "debug");
    bool failed = false;
    if (!params_of(o, params))
        refuse(c, "parameters are texts, 16 at most");
    else if (sub)
        subscribe(c, sub, params);
    else if (call)
        failed = pst_sa_call(sa, c - clients, call, params);
    else if (json_is_integer(unsub))
        ok = (failed = pst_sa_unsubscribe(sa, json_integer_value(unsub))) ? NULL : json_object();
    else if (json_is_integer(snap))
        failed = pst_sa_snapshot(sa, json_integer_value(snap));
    else if (rows && csv) {
        int64_t k = pst_sa_csv(sa, rows, csv, strlen(csv));
        pst_sa_flush(sa);
        failed = k < 0;
        ok = failed ? NULL : json_pack("{s:I}", "rows", (json_int_t)k);
    } else if (json_is_boolean(debug)) {
        pst_sa_debug(sa, json_is_true(debug));
        ok = json_object();
    } else if (json_is_true(json_object_get(o, "list"))) {
        char *text = pst_sa_list(sa);
        say(c, text ? text : "{}", text ? strlen(text) : 2);
        say(c, "\n", 1);
        free(text);
    } else
        refuse(c, o ? "what is asked? sub, unsub, snapshot, call, rows, list or debug" : je.text);
    if (failed)
        refuse(c, pst_sa_error(sa));
    if (ok) {
        json_object_set_new(ok, "ok", json_true());
        say_json(c, ok);
    }
    json_decref(o);
}

/* False: it is gone. */
static bool hear(struct client *c)
{
    ssize_t k = read(c->in, c->line + c->used, LINE - c->used);
    if (k <= 0)
        return k < 0 && (errno == EINTR || errno == EAGAIN);
    c->used += (size_t)k;
    char *at = c->line, *end;
    while ((end = memchr(at, '\n', c->used - (size_t)(at - c->line)))) {
        if (end > at)
            request(c, at, (size_t)(end - at));
        at = end + 1;
    }
    c->used -= (size_t)(at - c->line);
    memmove(c->line, at, c->used);
    return c->used < LINE;
}

/* ---- clients ---- */

static void forget_client(int64_t connection) /* the program's own close handler */
{
    struct client *c = &clients[connection];
    free(c->line);
    if (connection)
        close(c->in);
    *c = (struct client){.in = -1};
}

static bool greet(int in, int out, unsigned first)
{
    for (unsigned i = first; i < CLIENTS; i++)
        if (clients[i].in < 0 && (clients[i].line = malloc(LINE))) {
            clients[i].in = in;
            clients[i].out = out;
            clients[i].used = 0;
            return true;
        }
    return false;
}

static bool listen_at(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path)
        return false;
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    unlink(path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return listener >= 0 && !bind(listener, (struct sockaddr *)&a, sizeof a) &&
           !listen(listener, 16);
}

/* ---- where rows come from ---- */

struct source {
    char table[64];
    const char *file;
    FILE *f;
    char head[4096];
};
static struct source sources[16];
static unsigned nsources;

/* Some lines of a file, with its first one before them. False: nothing is left. */
static bool feed(struct source *s)
{
    static char text[65536];
    size_t n = 0, head;
    if (!*s->head && !fgets(s->head, sizeof s->head, s->f))
        return false;
    n = head = (size_t)snprintf(text, sizeof text, "%s", s->head);
    while (n < sizeof text / 2 && fgets(text + n, (int)(sizeof text - n), s->f))
        n += strlen(text + n);
    if (n == head)
        return false;
    if (pst_sa_csv(sa, s->table, text, n) < 0)
        fprintf(stderr, "penstock-rtp: %s: %s\n", s->file, pst_sa_error(sa));
    pst_sa_flush(sa);
    return true;
}

/* Files are opened and tables known before anybody is answered. */
static bool open_sources(void)
{
    for (unsigned i = 0; i < nsources; i++) {
        if (pst_sa_csv(sa, sources[i].table, "time,sym\n", 9) < 0)
            fprintf(stderr, "penstock-rtp: --csv %s: %s\n", sources[i].table, pst_sa_error(sa));
        else if (!(sources[i].f = fopen(sources[i].file, "re")))
            fprintf(stderr, "penstock-rtp: --csv %s: %s\n", sources[i].file, strerror(errno));
        else
            continue;
        return false;
    }
    return true;
}

/* ---- the program ---- */

static int64_t millis(int64_t ns)
{
    return ns < 0 ? 0 : ns > 100 * NS_PER_MS ? 100 : ns / NS_PER_MS + 1;
}

static bool read_some(bool journal)
{
    bool more = false;
    for (unsigned i = 0; subscribed && i < nsources; i++)
        more |= feed(&sources[i]);
    return (subscribed && journal && pst_sa_read(sa)) || more;
}

static void read_all(bool journal)
{
    while (read_some(journal))
        ;
}

static int serve(bool journal)
{
    for (;;) {
        struct pollfd p[CLIENTS + 1];
        int of[CLIENTS + 1];
        nfds_t n = 0;
        bool more = read_some(journal);
        int64_t due = pst_sa_timers(sa);
        for (int i = 0; i < CLIENTS; i++)
            if (clients[i].in >= 0) {
                of[n] = i;
                p[n++] = (struct pollfd){clients[i].in, POLLIN, 0};
            }
        if (!n && listener < 0)
            return 0;
        if (listener >= 0) {
            of[n] = -1;
            p[n++] = (struct pollfd){listener, POLLIN, 0};
        }
        if (poll(p, n, more ? 0 : (int)millis(due)) < 0 && errno != EINTR)
            return 1;
        for (nfds_t i = 0; i < n; i++) {
            if (!p[i].revents)
                continue;
            if (of[i] < 0) {
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (fd >= 0 && !greet(fd, fd, 1))
                    close(fd);
            } else if (!hear(&clients[of[i]])) {
                /* standard input has ended: what there is to be read is still for it */
                if (of[i] == 0)
                    read_all(journal);
                closed(of[i]);
            }
        }
    }
}

static bool table(char *text)
{
    struct pst_column c[SCHEMA_COLUMNS_MAX];
    unsigned n = 0;
    char *colon = strchr(text, ':'), *save = NULL;
    if (!colon) {
        fprintf(stderr, "penstock-rtp: --table %s: no colon behind its name\n", text);
        return false;
    }
    *colon = 0;
    for (char *w = strtok_r(colon + 1, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        char *name = w + strspn(w, " "), *blank = strchr(name, ' ');
        if (!blank || n == SCHEMA_COLUMNS_MAX) {
            fprintf(stderr, "penstock-rtp: --table %s: %s\n", text,
                    blank ? "too many columns" : "a column is a name and a type");
            return false;
        }
        *blank = 0;
        c[n].name = name;
        blank += 1 + strspn(blank + 1, " ");
        if (!(c[n++].type = type_by_name(blank))) {
            fprintf(stderr, "penstock-rtp: --table %s: column %s: there is no type '%s'\n", text,
                    name, blank);
            return false;
        }
    }
    if (pst_sa_table(sa, text, c, n))
        fprintf(stderr, "penstock-rtp: --table %s: %s\n", text, pst_sa_error(sa));
    else
        return true;
    return false;
}

static int usage(FILE *to, int code)
{
    fprintf(to,
            "penstock-rtp --standalone: streaming analytics without penstockd\n"
            "  --plugin FILE.so        may be repeated\n"
            "  --table 'NAME: COLUMN TYPE, ...'   time timestamp and sym symbol first\n"
            "  --csv TABLE=FILE        rows, read when somebody has subscribed\n"
            "  --journal DIRECTORY     the same from the log files of a penstockd\n"
            "  --option NAME=TEXT      of plugins\n"
            "  --listen SOCKET         clients; else standard input is one\n"
            "  --no-built-in  --debug\n"
            "a client says lines of JSON: {\"sub\":NAME,\"params\":{NAME:TEXT}}, {\"unsub\":ID},\n"
            "{\"snapshot\":ID}, {\"call\":NAME,\"params\":{}}, {\"rows\":TABLE,\"csv\":TEXT}, "
            "{\"list\":true}, {\"debug\":true}\n");
    return code;
}

int host_standalone(int argc, char **argv)
{
    static const struct option options[] = {
        {"plugin", required_argument, NULL, 'p'}, {"table", required_argument, NULL, 't'},
        {"csv", required_argument, NULL, 'c'},    {"journal", required_argument, NULL, 'j'},
        {"option", required_argument, NULL, 'o'}, {"listen", required_argument, NULL, 'l'},
        {"no-built-in", no_argument, NULL, 'n'},  {"debug", no_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    char *plugins[64], *tables[64], error[500], *equals;
    const char *pairs[65] = {NULL}, *socket_path = NULL;
    unsigned nplugins = 0, ntables = 0, npairs = 0;
    bool debug = false;
    struct pst_sa_config c = {
        .size = sizeof c, .closed = &closed, .message = on_message, .options = pairs};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
        equals = optarg ? strchr(optarg, '=') : NULL;
        if (o == 'p' && nplugins < PST_COUNT(plugins))
            plugins[nplugins++] = optarg;
        else if (o == 't' && ntables < PST_COUNT(tables))
            tables[ntables++] = optarg;
        else if (o == 'c' && nsources < PST_COUNT(sources) && equals && equals - optarg < 64) {
            snprintf(sources[nsources].table, 64, "%.*s", (int)(equals - optarg), optarg);
            sources[nsources++].file = equals + 1;
        } else if (o == 'o' && npairs + 2 < PST_COUNT(pairs) && equals) {
            *equals = 0;
            pairs[npairs++] = optarg;
            pairs[npairs++] = equals + 1;
        } else if (o == 'j')
            c.journal = optarg;
        else if (o == 'l')
            socket_path = optarg;
        else if (o == 'n')
            c.no_builtin = 1;
        else if (o == 'd')
            debug = true;
        else if (o == 'h')
            return usage(stdout, 0);
        else
            return usage(stderr, 2);
    }
    if (optind < argc)
        return usage(stderr, 2);
    signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i].in = -1;
    closed = forget_client; /* pst_sa_open puts its own around it */
    if (!(sa = pst_sa_open(&c, error, sizeof error))) {
        fprintf(stderr, "penstock-rtp: %s\n", error);
        return 1;
    }
    pst_sa_debug(sa, debug);
    for (unsigned i = 0; i < ntables; i++)
        if (!table(tables[i]))
            return 2;
    for (unsigned i = 0; i < nplugins; i++)
        if (pst_sa_load(sa, plugins[i])) {
            fprintf(stderr, "penstock-rtp: %s\n", pst_sa_error(sa));
            return 1;
        }
    if (!open_sources())
        return 1;
    if (socket_path ? !listen_at(socket_path) : !greet(0, 1, 0)) {
        fprintf(stderr, "penstock-rtp: %s: %s\n", socket_path ? socket_path : "no memory",
                strerror(errno));
        return 1;
    }
    int code = serve(c.journal != NULL);
    pst_sa_close(sa);
    return code;
}
