/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock log export: our log as a tickerplant's (--format kdb), as JSON lines or as CSV, one file
 * a trading date. Rows come as they were journaled; a kdb+ message holds a run of rows of one table
 * in a frame. What was exported before is recognised by --resume, byte for byte.
 */
#include <errno.h>
#include <sys/stat.h>
#include "cli_journal.h"
#include "cli_kdb.h"
#include "print.h"
#include "config.h"
#include "core/civil.h"
#include "core/crc.h"
#include "storage/kdb_log.h"
#include "storage/kdb_rows.h"
#include "storage/render.h"

#define EXPORT_OPEN  128u
#define EXPORT_FLUSH (1u << 20)

enum format { FORMAT_KDB, FORMAT_JSONL, FORMAT_CSV };

struct export_file {
    int32_t day;
    const struct schema *table; /* CSV has a file a table */
    char path[KDB_LOG_PATH + 64];
    uint64_t rows, messages, made; /* made: bytes of messages */
    /* kdb */
    struct kdb_log_writer log;
    bool checking;         /* --resume: what is made was written before */
    bool refused;          /* what it holds is not what is made: nothing is added */
    uint32_t crc;          /* of what was made while checking */
    uint64_t had_messages; /* found at the start */
    /* text */
    FILE *text;
    struct render render;
};

struct export
{
    enum format format;
    struct cli_rows want;
    const char *out, *prefix, *schema_path, *config_path;
    const char *path[64];
    unsigned npaths;
    bool as_table, as_said, resume, no_packet, only_files;
    char base[KDB_LOG_PATH];
    struct io *io;
    struct kdb_columns columns;
    struct kdb_out message;
    struct export_file *file;
    unsigned files, room;
    uint64_t rows, messages, bad_rows;
    struct err err;
};

static bool wrong(const char *what)
{
    fprintf(stderr, "penstock: log export: what is '%s'? penstock help log\n", what);
    return false;
}

static bool options(struct export *e, int argc, char **argv)
{
    const char *format = NULL;
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        int taken = cli_rows_option(&e->want, argc, argv, &i);
        if (taken < 0)
            return false;
        if (taken)
            continue;
        if (!strcmp(a, "--resume")) {
            e->resume = true;
        } else if (!strcmp(a, "--no-feed-columns")) {
            e->no_packet = true;
        } else if (*a != '-') {
            if (e->npaths == PST_COUNT(e->path))
                return wrong(a);
            e->path[e->npaths++] = a;
        } else if (!v) {
            return wrong(a);
        } else if (!strcmp(a, "--format")) {
            format = argv[++i];
        } else if (!strcmp(a, "-o")) {
            e->out = argv[++i];
        } else if (!strcmp(a, "--prefix")) {
            e->prefix = argv[++i];
        } else if (!strcmp(a, "--schema")) {
            e->schema_path = argv[++i];
        } else if (!strcmp(a, "--config")) {
            e->config_path = argv[++i];
        } else if (!strcmp(a, "--columns") && (!strcmp(v, "lists") || !strcmp(v, "tables"))) {
            e->as_table = !strcmp(argv[++i], "tables");
            e->as_said = true;
        } else if (!strcmp(a, "--time") && (!strcmp(v, "timestamp") || !strcmp(v, "timespan"))) {
            e->columns.timespan = !strcmp(argv[++i], "timespan");
        } else {
            return wrong(a);
        }
    }
    if (!format || !strcmp(format, "kdb"))
        e->format = FORMAT_KDB;
    else if (!strcmp(format, "jsonl"))
        e->format = FORMAT_JSONL;
    else if (!strcmp(format, "csv"))
        e->format = FORMAT_CSV;
    else
        return fprintf(stderr, "penstock: log export: --format is kdb, jsonl or csv\n"), false;
    if (!e->out)
        return fprintf(stderr,
                       "penstock: log export: -o says where to, as -o DIR or -o DIR/NAME\n"),
               false;
    if (e->resume && e->format != FORMAT_KDB)
        return fprintf(stderr, "penstock: log export: --resume goes with --format kdb\n"), false;
    return true;
}

/* ---- files ---- */

static bool text_begin(struct export *e, struct export_file *f)
{
    f->text = fopen(f->path, "wxe");
    if (!f->text)
        return err_set(&e->err, -errno, "%s: %s", f->path, strerror(errno));
    render_init(&f->render, e->format == FORMAT_CSV ? RENDER_CSV : RENDER_JSON);
    f->render.header = e->format == FORMAT_CSV;
    return true;
}

static struct export_file *file_of(struct export *e, int32_t day, const struct schema *s)
{
    char name[KDB_LOG_PATH];
    const struct schema *own = e->format == FORMAT_CSV ? s : NULL;
    for (unsigned i = e->files; i > 0; i--)
        if (e->file[i - 1].day == day && e->file[i - 1].table == own)
            return &e->file[i - 1];
    if (e->files == EXPORT_OPEN) {
        err_set(&e->err, -EMFILE, "more than %u files at once; take one --date after the other",
                EXPORT_OPEN);
        return NULL;
    }
    struct export_file *f = &e->file[e->files];
    memset(f, 0, sizeof *f);
    f->log.fd = -1;
    f->day = day;
    f->table = own;
    if (!kdb_log_name(name, e->base, day)) {
        err_set(&e->err, -ENAMETOOLONG, "%.60s...: the path is too long", e->base);
        return NULL;
    }
    snprintf(f->path, sizeof f->path, "%s%s%s%s", name, own ? "." : "", own ? own->name : "",
             e->format == FORMAT_KDB     ? ""
             : e->format == FORMAT_JSONL ? ".jsonl"
                                         : ".csv");
    bool ok;
    if (e->format != FORMAT_KDB) {
        ok = text_begin(e, f);
    } else if (e->resume && kdb_log_resume(&f->log, e->io, f->path, &e->err)) {
        f->had_messages = f->log.messages;
        f->checking = f->log.messages > 0;
        ok = true;
    } else if (e->resume && e->err.code != -ENOENT) {
        ok = false;
    } else {
        ok = kdb_log_create(&f->log, e->io, f->path, &e->err);
        if (!ok && e->err.code == -EEXIST)
            err_set(&e->err, -EEXIST, "%s exists; --resume goes on in it, or remove it", f->path);
    }
    if (!ok)
        return NULL;
    e->files++;
    return f;
}

/* The message of the rows collected. While what the file holds is made again it is only compared.
 */
static bool send(struct export *e, struct export_file *f)
{
    e->message.len = 0;
    if (!kdb_columns_message(&e->columns, &e->message, e->as_table))
        return err_set(&e->err, -ENOMEM, "no memory for a message of %u rows", e->columns.rows);
    f->messages++;
    f->rows += e->columns.rows;
    f->made += e->message.len;
    if (!f->checking)
        return kdb_log_write(&f->log, e->message.data, e->message.len, &e->err);
    f->crc = crc32c(f->crc, e->message.data, e->message.len);
    if (f->messages < f->had_messages && f->made < f->log.bytes)
        return true;
    f->checking = false;
    f->refused = true;
    if (f->messages != f->had_messages || f->made + KDB_LOG_HEADER != f->log.bytes ||
        f->crc != f->log.crc)
        return err_set(&e->err, -EINVAL,
                       "%s holds other messages than this export makes; nothing was added",
                       f->path);
    f->refused = false;
    return true;
}

static bool text_flush(struct export *e, struct export_file *f, size_t at_least)
{
    size_t len;
    if (f->render.len < at_least)
        return true;
    const char *t = render_take(&f->render, &len);
    return fwrite(t, 1, len, f->text) == len ||
           err_set(&e->err, -errno, "%s: %s", f->path, strerror(errno));
}

static bool finish(struct export *e, bool ok)
{
    for (unsigned i = 0; i < e->files; i++) {
        struct export_file *f = &e->file[i];
        if (f->checking)
            f->refused = true;
        if (f->checking && ok)
            ok = err_set(&e->err, -EINVAL,
                         "%s holds %llu messages, this export makes %llu; nothing was added",
                         f->path, (unsigned long long)f->had_messages,
                         (unsigned long long)f->messages);
        if (f->text) {
            render_flush(&f->render);
            ok = text_flush(e, f, 1) && ok;
            if (fclose(f->text) && ok)
                ok = err_set(&e->err, -errno, "%s: %s", f->path, strerror(errno));
            render_free(&f->render);
        } else {
            ok = kdb_log_finish(&f->log, true, ok ? &e->err : NULL) && ok;
        }
    }
    return ok;
}

/* ---- rows ---- */

static bool wanted(const struct export *e, struct dictionary *d, const struct record *r)
{
    uint32_t len = 0;
    if (!cli_rows_time(&e->want, r->time))
        return false;
    if (!e->want.syms.n)
        return true;
    const char *sym = dictionary_peek(d, r->sym, &len);
    return sym && cli_names_has(&e->want.syms, sym, len);
}

static bool frame_rows(struct export *e, struct dictionary *d, const struct frame *f)
{
    struct record_walk w;
    const struct record *r;
    const struct schema *s = NULL, *open = NULL;
    struct export_file *to = NULL;
    unsigned last = TABLE_PACKET;
    record_walk_start(&w, f);
    while ((r = record_walk_next(&w))) {
        if (r->table != last) {
            last = r->table;
            s = dictionary_schema(d, last);
            e->bad_rows += !s && last != TABLE_DERIVED;
            if (s && !cli_names_has(&e->want.tables, s->name, strlen(s->name)))
                s = NULL;
        }
        if (!s || !wanted(e, d, r))
            continue;
        if (open != s) {
            if (open && e->columns.rows && e->format == FORMAT_KDB && !send(e, to))
                return false;
            if (!(to = file_of(e, f->day, s)))
                return false;
            open = s;
            kdb_columns_begin(&e->columns, s);
        }
        if (e->format == FORMAT_KDB) {
            if (!kdb_columns_add(&e->columns, d, f, r, w.packet, record_walk_seq(&w))) {
                e->bad_rows++;
                continue;
            }
        } else {
            render_row(&to->render, d, s, f, r, w.packet, record_walk_seq(&w));
            to->rows++;
            if (!text_flush(e, to, EXPORT_FLUSH))
                return false;
        }
        e->rows++;
    }
    e->bad_rows += w.bad;
    return !open || !e->columns.rows || e->format != FORMAT_KDB || send(e, to);
}

static bool q_schema(struct export *e, const struct dictionary *d)
{
    if (!e->schema_path)
        return true;
    FILE *f = fopen(e->schema_path, "we");
    if (!f)
        return err_set(&e->err, -errno, "%s: %s", e->schema_path, strerror(errno));
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = dictionary_schema(d, id);
        char text[SCHEMA_COLUMNS_MAX * 80];
        if (!s || schema_set_find(d->schemas, s->name) != s ||
            !cli_names_has(&e->want.tables, s->name, strlen(s->name)))
            continue;
        kdb_columns_schema(&e->columns, s, text, sizeof text);
        fprintf(f, "%s\n", text);
    }
    return !fclose(f) || err_set(&e->err, -errno, "%s: %s", e->schema_path, strerror(errno));
}

/* Reads everything. The exit code. */
static int run(struct export *e, struct cursor *c)
{
    const struct frame *f;
    enum cursor_verdict v;
    uint64_t lost = 0;
    bool ok = true;
    if (e->want.date != KDB_NO_DATE && !cursor_seek_day(c, e->want.date)) {
        char date[CIVIL_TEXT];
        return err_set(&e->err, -ENOENT, "no log file of %s", civil_format(e->want.date, date)),
               EXIT_DEGRADED;
    }
    while (ok && (v = cursor_next(c, &f)) != CURSOR_END && v != CURSOR_WAIT) {
        if (v == CURSOR_ERROR) {
            ok = err_set(&e->err, c->err.code, "%s", c->err.text);
        } else if (v == CURSOR_LOST && e->only_files) {
            ; /* what lies between the files given was not asked for */
        } else if (v == CURSOR_LOST) {
            fprintf(stderr, "penstock: positions %llu to %llu stand in no file\n",
                    (unsigned long long)c->lost_from, (unsigned long long)c->lost_to);
            lost++;
        } else if (v == CURSOR_FRAME && (f->kind == FRAME_DATA || f->kind == FRAME_GAP) &&
                   !stream_is_buffer(f->stream) &&
                   (e->want.date == KDB_NO_DATE || f->day == e->want.date)) {
            ok = frame_rows(e, &c->dict, f);
        }
    }
    ok = finish(e, ok) && q_schema(e, &c->dict) && ok;
    if (c->damaged_ranges)
        fprintf(stderr, "penstock: %llu damaged ranges were left out; penstock log verify\n",
                (unsigned long long)c->damaged_ranges);
    if (e->bad_rows)
        fprintf(stderr, "penstock: %s rows of unknown tables or of bad form were left out\n",
                print_count((int64_t)e->bad_rows));
    if (e->columns.lost_symbols)
        fprintf(stderr, "penstock: %s symbols without a text were written as null\n",
                print_count((int64_t)e->columns.lost_symbols));
    if (e->columns.lost_times)
        fprintf(stderr, "penstock: %s times too far from their date were written as null\n",
                print_count((int64_t)e->columns.lost_times));
    return !ok || lost || c->damaged_ranges || e->bad_rows || e->columns.lost_symbols ||
                   e->columns.lost_times
               ? EXIT_DEGRADED
               : EXIT_HEALTHY;
}

static void report(const struct cli *c, struct export *e)
{
    json_t *all = json_array();
    for (unsigned i = 0; i < e->files; i++) {
        const struct export_file *f = &e->file[i];
        char date[CIVIL_TEXT];
        struct stat st = {0};
        if (f->refused)
            continue; /* the error says it */
        if (stat(f->path, &st))
            st.st_size = 0;
        json_array_append_new(all, json_pack("{s:s,s:s,s:I,s:I,s:I}", "file", f->path, "date",
                                             civil_format(f->day, date), "messages",
                                             (json_int_t)f->messages, "rows", (json_int_t)f->rows,
                                             "bytes", (json_int_t)st.st_size));
        if (!c->json && e->format == FORMAT_KDB)
            printf("%s: %s messages, %s rows, %s%s\n", f->path, print_count((int64_t)f->messages),
                   print_count((int64_t)f->rows), print_bytes(st.st_size),
                   f->had_messages ? "  (resumed)" : "");
        else if (!c->json)
            printf("%s: %s rows, %s\n", f->path, print_count((int64_t)f->rows),
                   print_bytes(st.st_size));
    }
    if (c->json) {
        json_dumpf(all, stdout, JSON_INDENT(1));
        printf("\n");
    } else if (!e->files && !e->err.code) {
        printf("no rows\n");
    }
    json_decref(all);
}

/* OUT is a directory (files sym2026.11.23, as tick.q names them) or a path without the date. */
static void base_of(struct export *e)
{
    struct stat st;
    size_t n = strlen(e->out);
    bool dir = n && (e->out[n - 1] == '/' || (!stat(e->out, &st) && S_ISDIR(st.st_mode)));
    snprintf(e->base, sizeof e->base, "%.1000s%s%s", e->out,
             dir && n && e->out[n - 1] != '/' ? "/" : "", dir ? "sym" : "");
}

/* include_columns of a configuration file, or of the daemon. */
static bool include_columns(struct export *e, json_t *attach)
{
    if (e->as_said)
        return true;
    if (attach)
        e->as_table = json_is_true(json_object_get(attach, "include_columns"));
    if (!e->config_path)
        return true;
    struct config *config;
    if (!config_load(e->config_path, &config, &e->err))
        return false;
    e->as_table = config->include_columns;
    config_free(config);
    return true;
}

static bool open_cursor(struct export *e, struct cli *c, struct cursor *cursor, int *code)
{
    static char dirs[CURSOR_DIRS][CURSOR_PATH], prefix[64];
    struct cursor_config cc = {.io = e->io, .prefix = e->prefix ? e->prefix : "log"};
    static const char *files[PST_COUNT(e->path) + 1]; /* the cursor keeps them */
    unsigned n = 0, nfiles = 0;
    json_t *r = NULL;
    *code = EXIT_USAGE;
    if (!e->npaths) {
        r = cli_attach(c, code);
        if (!r)
            return false;
        snprintf(dirs[n++], CURSOR_PATH, "%s", json_text(r, "log_directory"));
        const char *spill = json_text(r, "spill_directory");
        if (spill && *spill && strcmp(spill, "?"))
            snprintf(dirs[n++], CURSOR_PATH, "%s", spill);
        snprintf(prefix, sizeof prefix, "%s", json_text(r, "log_prefix"));
        cc.prefix = prefix;
    }
    bool ok = include_columns(e, r);
    json_decref(r);
    for (unsigned i = 0; ok && i < e->npaths; i++) {
        struct stat st;
        if (stat(e->path[i], &st)) {
            ok = err_set(&e->err, -errno, "%s: %s", e->path[i], strerror(errno));
            break;
        }
        if (!S_ISDIR(st.st_mode)) {
            files[nfiles++] = e->path[i];
            continue;
        }
        if (n == CURSOR_DIRS - 1)
            ok = err_set(&e->err, -EINVAL, "more than %u directories", CURSOR_DIRS - 1);
        else
            snprintf(dirs[n++], CURSOR_PATH, "%s", e->path[i]);
    }
    cc.files = nfiles ? files : NULL;
    e->only_files = nfiles && !n;
    for (unsigned k = 0; k < n; k++)
        cc.dirs[k] = dirs[k];
    if (!ok || !cursor_open(cursor, &cc, &e->err))
        return false;
    for (unsigned i = 0; ok && i < nfiles; i++) {
        ok = false;
        for (uint32_t k = 0; k < cursor->files && !ok; k++)
            ok = !strcmp(cursor->file[k]->path, files[i]);
        if (!ok)
            err_set(&e->err, -EBADMSG,
                    "%s is no log file of ours, or of another instance than the rest", files[i]);
    }
    if (ok && !cursor->files && e->npaths) /* a daemon's may have none yet */
        ok = err_set(&e->err, -ENOENT, "%s holds no file %sYYYY.MM.DD", cc.dirs[0], cc.prefix);
    if (!ok)
        cursor_close(cursor);
    return ok;
}

int cli_log_export(struct cli *c, int argc, char **argv)
{
    struct export *e = calloc(1, sizeof *e);
    struct cursor cursor;
    struct tzone *zone = NULL;
    int code = EXIT_USAGE;
    pst_must(e);
    cli_rows_init(&e->want);
    kdb_columns_init(&e->columns);
    e->file = calloc(EXPORT_OPEN, sizeof *e->file);
    pst_must(e->file);
    bool ok = options(e, argc, argv) && cli_kdb_zone(c, &zone);
    e->columns.packet_columns = !e->no_packet;
    e->columns.zone = e->want.zone = zone;
    if (ok && cli_rows_times(&e->want)) {
        base_of(e);
        e->io = io_posix_create(&e->err);
        if (e->io && open_cursor(e, c, &cursor, &code)) {
            code = run(e, &cursor);
            report(c, e);
            cursor_close(&cursor);
        } else if (e->err.code) {
            code = EXIT_USAGE;
        }
        if (e->err.code)
            fprintf(stderr, "penstock: %s\n", e->err.text);
    }
    kdb_columns_free(&e->columns);
    kdb_out_free(&e->message);
    io_destroy(e->io);
    tzone_free(zone);
    free(e->file);
    free(e);
    return code;
}
