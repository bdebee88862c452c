/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>
#include "cli_journal.h"
#include "print.h"
#include "core/clock.h"
#include "storage/render.h"

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

static bool open_files(struct cli_journal *j, const char *dir, const char *spill,
                       const char *prefix, struct err *err)
{
    memset(j, 0, sizeof *j);
    j->io = io_posix_create(err);
    struct cursor_config cc = {.io = j->io, .dirs = {dir, spill}, .prefix = prefix};
    if (!j->io || !cursor_open(&j->cursor, &cc, err)) {
        io_destroy(j->io);
        j->io = NULL;
        return false;
    }
    return true;
}

bool cli_journal_paths(struct cli_journal *j, const char *const *paths, struct err *err)
{
    memset(j, 0, sizeof *j);
    j->io = io_posix_create(err);
    struct cursor_config cc = {.io = j->io, .files = paths, .prefix = "log"};
    if (j->io && cursor_open(&j->cursor, &cc, err))
        return true;
    io_destroy(j->io);
    j->io = NULL;
    return false;
}

bool cli_journal_files(struct cli_journal *j, const char *dir, const char *prefix, struct err *err)
{
    return open_files(j, dir, NULL, prefix ? prefix : "log", err);
}

bool cli_journal_files_of(struct cli_journal *j, const struct cli_journal *attached,
                          struct err *err)
{
    return open_files(j, attached->dir[0], *attached->dir[1] ? attached->dir[1] : NULL,
                      attached->prefix, err);
}

/* What the daemon knows already, so that the files need not be skimmed for it. */
static void teach(struct cli_journal *j, json_t *schemas)
{
    struct dictionary *d = &j->cursor.dict;
    uint32_t n = symbols_count(&j->symbols);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t len;
        const char *t = symbols_text(&j->symbols, i, &len);
        dictionary_teach(d, i, t, len);
    }
    size_t i;
    json_t *x;
    json_array_foreach(schemas, i, x)
    {
        struct schema s;
        struct err err;
        if (json_is_string(x) &&
            schema_from_json(&s, json_string_value(x), json_string_length(x), &err))
            schema_set_add(d->schemas, &s, &err);
    }
}

/* Readers that recover read the files of the streamer: the same frames, on another disk. */
static void follow_streamer(json_t *own)
{
    static const char *const dirs[] = {"log_directory", "spill_directory"};
    const char *socket = json_string_value(json_object_get(own, "log_streamer_socket"));
    struct client_conn conn = {.fd = -1};
    struct err err = {0};
    if (!socket)
        return;
    json_t *reply =
        client_open(&conn, socket, &err) ? client_call(&conn, "attach", json_array(), &err) : NULL;
    json_t *theirs = json_object_get(reply, "result");
    if (*json_text(theirs, "log_directory"))
        for (unsigned i = 0; i < PST_COUNT(dirs); i++)
            json_object_set(own, dirs[i], json_object_get(theirs, dirs[i]));
    else
        fprintf(stderr, "penstock: the log streamer %s: %s; reading this instance's own files\n",
                json_text(own, "log_streamer"), reply ? json_text(reply, "error") : err.text);
    for (unsigned i = 0; i < conn.nfds; i++)
        close(conn.fds[i]);
    json_decref(reply);
    if (conn.fd >= 0)
        client_close_conn(&conn);
}

json_t *cli_attach(struct cli *c, int *code)
{
    json_t *r = cli_call(c, "attach", json_array(), code);
    if (r)
        follow_streamer(r);
    return r;
}

bool cli_journal_attach(struct cli *c, struct cli_journal *j, int *code)
{
    memset(j, 0, sizeof *j);
    json_t *r = cli_attach(c, code);
    if (!r)
        return false;
    struct err err = {0};
    bool ok = c->conn.nfds == 3 && ring_attach(&j->ring, c->conn.fds[0], &err) &&
              symbols_attach(&j->symbols, c->conn.fds[1], &err);
    if (c->conn.nfds == 3)
        close(c->conn.fds[2]);
    ok = ok && cli_shown(c, r);
    j->shown = &c->shown;
    snprintf(j->dir[0], sizeof j->dir[0], "%s", json_text(r, "log_directory"));
    snprintf(j->dir[1], sizeof j->dir[1], "%s", json_text(r, "spill_directory"));
    snprintf(j->prefix, sizeof j->prefix, "%s", json_text(r, "log_prefix"));
    if (ok) {
        j->io = io_posix_create(&err);
        struct cursor_config cc = {.io = j->io,
                                   .dirs = {j->dir[0], *j->dir[1] ? j->dir[1] : NULL},
                                   .prefix = j->prefix,
                                   .instance = j->ring.head->instance,
                                   .ring = &j->ring,
                                   .limit = CURSOR_COMMITTED,
                                   .no_skim = true};
        ok = j->io && cursor_open(&j->cursor, &cc, &err);
        if (ok)
            teach(j, json_object_get(r, "schemas"));
    }
    json_decref(r);
    j->attached = ok;
    if (!ok) {
        fprintf(stderr, "penstock: %s\n",
                *err.text ? err.text : "the daemon's journal cannot be read");
        *code = EXIT_DEGRADED;
    }
    return ok;
}

void cli_journal_close(struct cli_journal *j)
{
    cursor_close(&j->cursor);
    io_destroy(j->io);
    if (j->ring.head)
        ring_close(&j->ring);
    if (j->symbols.head)
        symbols_close(&j->symbols);
}

struct matcher {
    const struct cli_filter *f;
    struct dictionary *d;
};

static bool symbol_is(struct dictionary *d, uint32_t id, const char *want)
{
    uint32_t len = 0;
    const char *t = dictionary_peek(d, id, &len);
    return t && strlen(want) == len && !memcmp(t, want, len);
}

static bool matches(const struct cli_filter *f, struct dictionary *d, const struct schema *s,
                    const struct record *r, const struct packet_record *p)
{
    if (!s || (f->table && strcmp(s->name, f->table)))
        return false;
    if (f->sym && !symbol_is(d, r->sym, f->sym))
        return false;
    if (f->feed) {
        int col = schema_column(s, "feed");
        if (col < 0)
            return false;
        const void *at = s->col[col].packet ? (const void *)p : (const void *)r;
        return at && symbol_is(d, le32((const uint8_t *)at + s->col[col].offset), f->feed);
    }
    return true;
}

static bool has_rows(const struct cli_filter *filter, const struct frame *f)
{
    return filter->buffered ? f->kind == FRAME_DATA && stream_is_buffer(f->stream)
                            : frame_has_rows(f);
}

static uint64_t count_rows(void *arg, struct dictionary *d, const struct frame *f)
{
    const struct cli_filter *filter = arg;
    if (!has_rows(filter, f))
        return 0;
    struct record_walk w;
    record_walk_start(&w, f);
    const struct record *r;
    uint64_t n = 0;
    while ((r = record_walk_next(&w)))
        n += matches(filter, d, dictionary_schema(d, r->table), r, w.packet);
    return n;
}

static void flush(struct render *out)
{
    size_t len;
    render_flush(out);
    const char *t = render_take(out, &len);
    fwrite(t, 1, len, stdout);
    fflush(stdout);
}

int cli_journal_print(struct cli_journal *j, const struct cli_filter *filter, uint64_t n,
                      bool follow, bool json)
{
    struct cursor *c = &j->cursor;
    struct dictionary *d = &c->dict;
    const struct frame *f;
    struct render out;
    uint64_t end = UINT64_MAX, total = 0;
    struct sigaction a = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &a, NULL);
    if (n == UINT64_MAX) {
        total = 0;
    } else {
        end = j->attached ? ring_tail(&j->ring) : cursor_files_end(c);
        cursor_seek_last(c, n, count_rows, (void *)(uintptr_t)filter);
        uint64_t from = c->position;
        enum cursor_verdict v;
        while (
            c->position < end && !interrupted &&
            ((v = cursor_next(c, &f)) == CURSOR_FRAME || v == CURSOR_LOST || v == CURSOR_REWOUND))
            if (v == CURSOR_FRAME)
                total += count_rows((void *)(uintptr_t)filter, d, f);
        cursor_seek(c, from);
    }
    uint64_t skip = n == UINT64_MAX || total <= n ? 0 : total - n;
    render_init(&out, json ? RENDER_JSON : RENDER_TEXT);
    out.header = !json;
    out.shown = j->shown;
    int code = EXIT_HEALTHY;
    while (!interrupted) {
        if (!follow && c->position >= end)
            break;
        enum cursor_verdict v = cursor_next(c, &f);
        if (v == CURSOR_WAIT || v == CURSOR_END) {
            flush(&out);
            if (!follow)
                break;
            nanosleep(&(struct timespec){0, 20000000}, NULL);
            continue;
        }
        if (v == CURSOR_ERROR) {
            fprintf(stderr, "penstock: %s\n", c->err.text);
            code = EXIT_DEGRADED;
            break;
        }
        if (v == CURSOR_LOST && !filter->buffered) /* an event's files hold its own frames only */
            fprintf(stderr, "penstock: positions %llu to %llu stand in no file\n",
                    (unsigned long long)c->lost_from, (unsigned long long)c->lost_to);
        if (v != CURSOR_FRAME || !has_rows(filter, f))
            continue;
        struct record_walk w;
        record_walk_start(&w, f);
        const struct record *r;
        while ((r = record_walk_next(&w))) {
            const struct schema *s = dictionary_schema(d, r->table);
            if (!matches(filter, d, s, r, w.packet))
                continue;
            if (skip) {
                skip--;
                continue;
            }
            render_row(&out, d, s, f, r, w.packet, record_walk_seq(&w));
        }
    }
    flush(&out);
    render_free(&out);
    return code;
}
