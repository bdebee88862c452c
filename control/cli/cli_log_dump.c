/* SPDX-License-Identifier: Apache-2.0 */
/* penstock log dump: frames as people and their tools read them. */
#include "cli_journal.h"
#include "cli_log.h"
#include "core/civil.h"
#include "storage/render.h"

static const char *const kind_names[] = {"?",    "data", "symbol", "schema",
                                         "mark", "gap",  "pad",    "file"};

struct dumping {
    struct cli *c;
    const struct log_dump *o;
    struct render r;
    struct dictionary *d;
    bool buffered;
};

static void write_out(struct render *r)
{
    size_t len;
    const char *t = render_take(r, &len);
    fwrite(t, 1, len, stdout);
}

static bool one_symbol(void *arg, uint32_t id, const char *text, uint32_t len)
{
    json_t *list = arg;
    json_t *t = json_stringn(text, len);
    json_array_append_new(list, json_pack("[i,o]", (int)id, t ? t : json_string("?")));
    return true;
}

/* A frame that is neither rows nor a mark: a line of its own. */
static void bare(struct dumping *x, const struct frame *f)
{
    char stamp[CIVIL_STAMP_TEXT];
    uint32_t len;
    civil_format_stamp(time_shown(&x->c->shown, f->time), stamp);
    json_t *data = NULL;
    if (f->kind == FRAME_SYMBOL) {
        data = json_array();
        frame_symbols_each(f, one_symbol, data);
    } else if (f->kind == FRAME_SCHEMA) {
        const char *text = frame_schema_json(f, &len);
        data = text ? json_loadb(text, len, 0, NULL) : NULL;
    } else if (f->kind == FRAME_FILE) {
        unsigned type;
        if (log_file_body(f, &type, &len))
            data = json_string(log_file_type_name(type));
    }
    render_flush(&x->r); /* in its place between the rows */
    write_out(&x->r);
    char *text = data ? json_dumps(data, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    const char *name = kind_names[f->kind];
    if (x->c->json)
        printf("{\"frame\":\"%s\",\"position\":%llu,\"bytes\":%u,\"time\":\"%s\",\"data\":%s}\n",
               name, (unsigned long long)f->position, f->length, stamp, text ? text : "null");
    else
        printf("# %s position %llu time %s %u bytes%s%s\n", name, (unsigned long long)f->position,
               stamp, f->length, text ? " " : "", text ? text : "");
    free(text);
    json_decref(data);
}

/* Rows of buffering events are no part of the day. */
static bool left_out(const struct dumping *x, const struct frame *f)
{
    bool rows = f->kind == FRAME_DATA || f->kind == FRAME_GAP;
    return rows && (x->buffered ? !stream_is_buffer(f->stream) : !frame_has_rows(f));
}

static void dump(struct dumping *x, const struct frame *f)
{
    const struct log_dump *o = x->o;
    if (left_out(x, f))
        return;
    if (!(o->kinds & 1u << f->kind) || f->time < o->since || f->time >= o->until ||
        (f->kind != FRAME_FILE && (f->position + f->length <= o->from || f->position >= o->to)))
        return;
    if (f->kind == FRAME_DATA || f->kind == FRAME_GAP || f->kind == FRAME_MARK)
        render_frame(&x->r, x->d, f, o->table, PST_NULL_SYMBOL);
    else
        bare(x, f);
    if (x->r.len > 1 << 20)
        write_out(&x->r);
}

/* A directory, merged by position, as every reader sees it. */
static int directory(struct dumping *x, const struct log_where *w)
{
    struct cli_journal j;
    struct err err = {0};
    const struct frame *f;
    if (!cli_journal_files(&j, w->path[0], w->prefix, &err)) {
        fprintf(stderr, "penstock: %s\n", err.text);
        return EXIT_DEGRADED;
    }
    x->d = &j.cursor.dict;
    if (x->o->from)
        cursor_seek(&j.cursor, x->o->from);
    enum cursor_verdict v;
    while ((v = cursor_next(&j.cursor, &f)) == CURSOR_FRAME || v == CURSOR_LOST ||
           v == CURSOR_REWOUND) {
        if (v == CURSOR_LOST)
            fprintf(stderr, "penstock: positions %llu to %llu stand in no file\n",
                    (unsigned long long)j.cursor.lost_from, (unsigned long long)j.cursor.lost_to);
        if (v != CURSOR_FRAME)
            continue;
        if (f->position >= x->o->to || f->time >= x->o->until)
            break; /* times never fall */
        dump(x, f);
    }
    if (v == CURSOR_ERROR)
        fprintf(stderr, "penstock: %s\n", j.cursor.err.text);
    render_flush(&x->r);
    write_out(&x->r);
    cli_journal_close(&j);
    return v == CURSOR_ERROR ? EXIT_DEGRADED : EXIT_HEALTHY;
}

/* One file as it lies. */
static int file(struct dumping *x, const struct log_where *w)
{
    struct err err = {0};
    struct io *io = io_posix_create(&err);
    struct log_files fs;
    struct logscan s;
    struct dictionary d;
    const struct frame *f;
    int code = EXIT_HEALTHY;
    if (!io || !dictionary_init(&d, &err)) {
        fprintf(stderr, "penstock: %s\n", err.text);
        io_destroy(io);
        return EXIT_DEGRADED;
    }
    log_files_find(&fs, w, io);
    enum log_opened o = log_file_open(&s, io, &fs, w->path[0], &err);
    if (o > LOG_IS_FRESH) {
        fprintf(stderr, "penstock: %s\n", err.text);
        code = EXIT_DEGRADED;
    }
    x->d = &d;
    x->buffered |= o < LOG_IS_FRESH && stream_is_buffer(s.header.stream);
    for (bool more = o < LOG_IS_FRESH; more;) {
        enum logscan_verdict v = logscan_step(&s, &f, UINT64_MAX);
        more = v == LOGSCAN_FRAME || v == LOGSCAN_DAMAGE;
        if (v == LOGSCAN_DAMAGE || v == LOGSCAN_ERROR) {
            fprintf(stderr,
                    v == LOGSCAN_ERROR ? "penstock: %s: cannot be read from byte %llu on\n"
                                       : "penstock: %s: bytes %llu to %llu are damaged\n",
                    w->path[0], (unsigned long long)(v == LOGSCAN_ERROR ? s.offset : s.bad_from),
                    (unsigned long long)s.bad_to);
            code = EXIT_DEGRADED;
        } else if (v == LOGSCAN_FRAME) {
            dictionary_feed(&d, f);
            dump(x, f);
        }
    }
    render_flush(&x->r);
    write_out(&x->r);
    if (o < LOG_IS_FRESH)
        logscan_close(&s);
    dictionary_free(&d);
    log_files_free(&fs);
    io_destroy(io);
    return code;
}

int log_dump(struct cli *c, const struct log_where *w, const struct log_dump *o)
{
    struct dumping x = {.c = c, .o = o, .buffered = o->buffered};
    render_init(&x.r, c->json ? RENDER_JSON : o->csv ? RENDER_CSV : RENDER_TEXT);
    x.r.header = !c->json;
    x.r.shown = &c->shown;
    int code = w->directory ? directory(&x, w) : file(&x, w);
    render_free(&x.r);
    return code;
}
