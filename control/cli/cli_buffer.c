/* SPDX-License-Identifier: Apache-2.0 */
/* penstock buffer: events on one screen; replay reads an event's files and appends their rows. */
#include <unistd.h>
#include "append_client.h"
#include "cli.h"
#include "cli_buffer.h"
#include "print.h"
#include "core/event.h"
#include "replay_rows.h"
#include "storage/cursor.h"

/* ---- list ---- */

/* key=value of the event's arguments */
static const char *arguments(json_t *args, char *buf, size_t room)
{
    const char *key;
    json_t *value;
    size_t n = 0;
    *buf = 0;
    json_object_foreach(args, key, value)
    {
        int m = snprintf(buf + n, room - n, "%s%s=%s", n ? " " : "", key,
                         json_string_value(value) ? json_string_value(value) : "");
        n += m > 0 && (size_t)m < room - n ? (size_t)m : 0;
    }
    return buf;
}

static int list(struct cli *c)
{
    static const char *const head[] = {"id",     "day",    "status",   ">rows",
                                       ">bytes", ">files", "arguments"};
    struct print_table t;
    size_t i;
    int code;
    json_t *e, *r = cli_call(c, "buffer", json_array(), &code);
    if (!r)
        return code;
    if (c->json) {
        json_dumpf(r, stdout, JSON_INDENT(1));
        printf("\n");
    } else if (!json_array_size(r)) {
        printf("no buffering event yet; penstock buffer start ID cutoff=...\n");
    } else {
        print_table_begin(&t, PST_COUNT(head), head);
        json_array_foreach(r, i, e)
        {
            char id[24], files[24], status[64], buf[400];
            bool known = json_is_true(json_object_get(e, "known"));
            snprintf(id, sizeof id, "%lld", (long long)json_long(e, "id"));
            snprintf(files, sizeof files, "%zu", json_array_size(json_object_get(e, "files")));
            snprintf(status, sizeof status, "%s%s%s", json_text(e, "status"),
                     *json_text(e, "ended") && strcmp(json_text(e, "ended"), "complete") ? ", "
                                                                                         : "",
                     *json_text(e, "ended") && strcmp(json_text(e, "ended"), "complete")
                         ? json_text(e, "ended")
                         : "");
            print_table_row(&t, id, json_text(e, "day"), status,
                            known ? print_count(json_long(e, "rows")) : "-",
                            known ? print_bytes(json_long(e, "bytes")) : "-", files,
                            arguments(json_object_get(e, "args"), buf, sizeof buf));
        }
        print_table_end(&t);
    }
    json_decref(r);
    return EXIT_HEALTHY;
}

/* ---- the files of an event ---- */

bool buffer_paths(struct cli *c, const char *id, struct buffer_paths *out, int *code)
{
    memset(out, 0, sizeof *out);
    json_t *all = cli_call(c, "buffer", json_array(), code);
    json_t *where = all ? cli_call(c, "attach", json_array(), code) : NULL, *e, *found = NULL;
    size_t i;
    for (unsigned k = 0; where && k < c->conn.nfds; k++)
        close(c->conn.fds[k]);
    json_array_foreach(all, i, e)
    {
        char text[24];
        snprintf(text, sizeof text, "%lld", (long long)json_long(e, "id"));
        if (!strcmp(text, id))
            found = e; /* the newest */
    }
    if (where && !found) {
        fprintf(stderr, "penstock: there is no event %s; penstock buffer lists them\n", id);
        *code = EXIT_USAGE;
    }
    json_array_foreach(json_object_get(found, "files"), i, e)
    {
        static const char *const keys[] = {"log_directory", "spill_directory"};
        for (unsigned k = 0; k < 2 && out->n < BUFFER_PATHS; k++) {
            char path[2048];
            const char *dir = json_text(where, keys[k]);
            snprintf(path, sizeof path, "%s/%s", dir, json_string_value(e));
            if (*dir && !access(path, F_OK))
                out->path[out->n++] = strdup(path);
        }
    }
    out->since = (uint64_t)json_long(found, "since");
    json_decref(all);
    json_decref(where);
    return found != NULL;
}

void buffer_paths_free(struct buffer_paths *p)
{
    for (unsigned i = 0; i < p->n; i++)
        free((void *)(uintptr_t)p->path[i]);
    p->n = 0;
}

/* ---- replay ---- */

struct replay {
    struct cli *cli;
    struct io *io;
    struct cursor cursor;
    struct append_client append;
    struct replay_rows rows;
    long long id;
    unsigned long long since;
    const char *file; /* its name, where its header does not tell of which event it is */
    json_t *files;    /* of `buffer files` */
    const char *path[BUFFER_PATHS + 1];
};

static int failed(const struct err *err)
{
    fprintf(stderr, "penstock: buffer replay: %s\n", err->text);
    return err->code == -EPIPE || err->code == -ECONNREFUSED ? EXIT_NO_DAEMON : EXIT_DEGRADED;
}

/* ID, or a file of the event. */
static bool which(struct replay *r, const char *what, struct err *err)
{
    static _Alignas(64) uint8_t head[LOG_PREAMBLE];
    struct log_file_header h;
    size_t got;
    char *end;
    r->id = strtoll(what, &end, 10);
    if (*what && !*end)
        return true;
    int v = logscan_header(r->io, what, 0, head, &got, &h);
    if (v < 0)
        return err_set(err, v, "%s: %s", what, strerror(-v));
    if ((v != LOG_HEADER_OK && v != LOG_HEADER_ONE_COPY) || !stream_is_buffer(h.stream))
        return err_set(err, -EINVAL, "%s is no file of a buffering event", what);
    r->id = strtoll(h.event, NULL, 10);
    r->since = h.since;
    const char *slash = strrchr(what, '/');
    r->file = h.since ? NULL : slash ? slash + 1 : what;
    return true;
}

static json_t *ask(struct replay *r, const char *verb, int *code)
{
    char id[24], since[24];
    snprintf(id, sizeof id, "%lld", r->id);
    snprintf(since, sizeof since, "%llu", r->since);
    return cli_call(r->cli, "buffer", json_pack("[s,s,s,s*]", verb, id, since, r->file), code);
}

/* The event's rows, in their order, behind what its source has brought already. */
static bool send_rows(struct replay *r, struct err *err)
{
    struct cursor *c = &r->cursor;
    const struct frame *f;
    enum cursor_verdict v;
    if (r->append.at.position > c->position && !cursor_seek(c, r->append.at.position)) {
        *err = c->err;
        return false;
    }
    while ((v = cursor_next(c, &f)) != CURSOR_END && v != CURSOR_WAIT) {
        if (v == CURSOR_ERROR) {
            *err = c->err;
            return false;
        }
        /* between its frames lie those of other streams */
        if (v != CURSOR_FRAME || f->kind != FRAME_DATA || !stream_is_buffer(f->stream))
            continue;
        if (!replay_rows_frame(&r->rows, f) || !append_point(&r->append, f->position + f->length)) {
            *err = r->rows.err.code ? r->rows.err : r->append.err;
            return false;
        }
    }
    if (append_flush(&r->append, ACK_DURABLE))
        return true;
    *err = r->append.err;
    return false;
}

static int replay_opened(struct replay *r)
{
    struct err err = {0};
    int code;
    const struct replay_filter filter = {.buffered = true};
    replay_rows_init(&r->rows, &r->append, &r->cursor.dict, &filter);
    bool sent = send_rows(r, &err);
    uint64_t damaged = r->rows.damaged;
    replay_rows_free(&r->rows);
    if (!sent)
        return failed(&err);
    if (damaged) {
        fprintf(stderr,
                "penstock: buffer replay: %llu rows cannot be read; the files stay as they are\n",
                (unsigned long long)damaged);
        return EXIT_DEGRADED;
    }
    PST_FAULT("buffer.appended");
    json_t *done = ask(r, "replayed", &code);
    if (!done)
        return code;
    if (r->cli->json) {
        json_t *o = json_pack("{s:I,s:I,s:I,s:I,s:I}", "id", (json_int_t)r->id, "rows",
                              (json_int_t)r->append.rows, "late", (json_int_t)r->append.late,
                              "there_before", (json_int_t)r->append.passed_over, "files",
                              (json_int_t)json_long(done, "files"));
        json_dumpf(o, stdout, JSON_COMPACT);
        printf("\n");
        json_decref(o);
    } else {
        printf("event %lld: %s rows are durable in the journal", r->id,
               print_count((int64_t)r->append.rows));
        if (r->append.passed_over)
            printf(", %s were there before", print_count((int64_t)r->append.passed_over));
        if (r->append.late)
            printf(", %s of them in the open date, theirs has ended",
                   print_count((int64_t)r->append.late));
        long long files = json_long(done, "files");
        printf(files == 1 ? "; its file ends in .replayed\n"
                          : "; its %lld files end in .replayed\n",
               files);
    }
    json_decref(done);
    return EXIT_HEALTHY;
}

static int replay(struct cli *c, const char *what)
{
    struct replay r = {.cli = c};
    struct err err = {0};
    int code = EXIT_DEGRADED;
    size_t i;
    json_t *x;
    if (!(r.io = io_posix_create(&err)) || !which(&r, what, &err)) {
        io_destroy(r.io);
        failed(&err);
        return EXIT_USAGE;
    }
    if ((r.files = ask(&r, "files", &code))) {
        r.since = (uint64_t)json_long(r.files, "since");
        json_array_foreach(json_object_get(r.files, "files"), i, x) if (i < BUFFER_PATHS)
            r.path[i] = json_string_value(x);
        struct cursor_config cc = {.io = r.io, .files = r.path, .prefix = "log", .still = true};
        bool open = cursor_open(&r.cursor, &cc, &err);
        if (open && append_open(&r.append, c->socket, json_text(r.files, "source"), &err)) {
            code = replay_opened(&r);
            append_close(&r.append);
        } else {
            code = failed(&err);
        }
        if (open)
            cursor_close(&r.cursor);
    }
    json_decref(r.files);
    io_destroy(r.io);
    return code;
}

int cli_buffer(struct cli *c, int argc, char **argv)
{
    if (!argc || (argc == 1 && !strcmp(argv[0], "list")))
        return list(c);
    if (!strcmp(argv[0], "replay")) {
        if (argc == 2)
            return replay(c, argv[1]);
        cli_help("buffer");
        return EXIT_USAGE;
    }
    if (!strcmp(argv[0], "start") || !strcmp(argv[0], "end"))
        return cli_view(c, "buffer", argc, argv);
    fprintf(stderr, "penstock: buffer list, start, end or replay, not '%s'\n", argv[0]);
    return EXIT_USAGE;
}
