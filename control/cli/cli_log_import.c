/* SPDX-License-Identifier: Apache-2.0 */
/* penstock log import: options, the order of things, and what is said about it. */
#include <errno.h>
#include "cli_journal.h"
#include "print.h"
#include "config.h"
#include "core/crc.h"
#include "core/source.h"
#include "kdb_import.h"

#define IMPORT_FILES 1024u

struct import {
    struct kdb_import m;
    const char *out, *to, *prefix, *name, *schema_from, *config_path, *source, *repair_to;
    const char *columns[64];
    unsigned ncolumns;
    bool count_only;
    struct import_file file[IMPORT_FILES];
    unsigned files;
    uint32_t options_crc; /* what changes which rows are made */
    struct log_make_figures made;
    uint64_t late, passed_over;
    struct err err;
};

static bool usage(const char *what, const char *text)
{
    fprintf(stderr, "penstock: log import: %s%s; penstock help log\n", what, text);
    return false;
}

/* "100": the first hundred; "10..20": numbers 10 to 19; "10..": from 10 on. */
static bool range(struct kdb_import *m, const char *text)
{
    char *end;
    m->last_message = strtoull(text, &end, 10);
    if (end == text || *text == '-')
        return false;
    if (!strncmp(end, "..", 2)) {
        const char *to = end + 2;
        m->first_message = m->last_message;
        m->last_message = *to ? strtoull(to, &end, 10) : UINT64_MAX;
        if (!*to)
            end += 2;
    }
    return !*end && m->first_message <= m->last_message;
}

static bool options(struct import *o, int argc, char **argv)
{
    const struct {
        const char *name, **value;
    } texts[] = {{"--out", &o->out},
                 {"-o", &o->out},
                 {"--to", &o->to},
                 {"--prefix", &o->prefix},
                 {"--instance", &o->name},
                 {"--schema-from", &o->schema_from},
                 {"--config", &o->config_path},
                 {"--source", &o->source},
                 {"--repair-to", &o->repair_to}};
    o->prefix = "log";
    o->name = "import";
    o->m.last_message = UINT64_MAX;
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        int first = i, taken = cli_rows_option(&o->m.want, argc, argv, &i);
        unsigned t = 0;
        if (taken < 0)
            return false;
        while (t < PST_COUNT(texts) && strcmp(a, texts[t].name))
            t++;
        if (taken) {
            ;
        } else if (!strcmp(a, "--salvage")) {
            o->m.salvage = true;
        } else if (!strcmp(a, "--count")) {
            o->count_only = true;
        } else if (!strcmp(a, "--capture-clock")) {
            o->m.captured = true;
        } else if (*a != '-') {
            if (o->files == IMPORT_FILES)
                return usage("too many files at ", a);
            o->file[o->files++].path = a;
            continue;
        } else if (!v) {
            return usage("what is ", a);
        } else if (!strcmp(a, "--format")) {
            if (strcmp(argv[++i], "kdb"))
                return usage("--format is kdb, not ", argv[i]);
        } else if (!strcmp(a, "--messages")) {
            if (!range(&o->m, argv[++i]))
                return usage("--messages takes N or A..B, not ", argv[i]);
        } else if (!strcmp(a, "--schema")) {
            if (o->ncolumns == PST_COUNT(o->columns))
                return usage("too many tables at ", v);
            o->columns[o->ncolumns++] = argv[++i];
        } else if (t < PST_COUNT(texts)) {
            *texts[t].value = argv[++i];
            continue;
        } else {
            return usage("what is ", a);
        }
        for (int k = first; k <= i; k++)
            o->options_crc = crc32c(o->options_crc, argv[k], strlen(argv[k]) + 1);
    }
    if (!o->files)
        return usage("which files?", "");
    if (o->repair_to && o->files > 1)
        return usage("--repair-to takes one file at a time", "");
    if (!!o->out + !!o->to + o->count_only + !!o->repair_to != 1)
        return usage("give one of --out DIR, --to INSTANCE, --count, --repair-to FILE", "");
    return true;
}

/* ---- columns known beforehand ---- */

static bool from_config(struct import *o)
{
    struct config *config = NULL;
    bool ok = config_load(o->config_path, &config, &o->err);
    for (unsigned i = 0; ok && i < config->tables.count; i++) {
        const struct config_table *c = &config->tables.at[i];
        struct column_def cols[SCHEMA_COLUMNS_MAX];
        struct schema s;
        unsigned n = c->columns.count < SCHEMA_COLUMNS_MAX ? c->columns.count : SCHEMA_COLUMNS_MAX;
        for (unsigned k = 0; k < n; k++)
            cols[k] = (struct column_def){c->columns.at[k].name,
                                          c->columns.at[k].type == CONFIG_STRING
                                              ? PST_STRING
                                              : (uint8_t)config_kdb_type(c->columns.at[k].type)};
        ok = schema_make(&s, 0, c->name, false, cols, n, &o->err) &&
             kdb_import_schema(&o->m, &s, &o->err);
    }
    if (config)
        config_free(config);
    return ok;
}

static bool from_log(struct import *o)
{
    struct cursor c;
    struct cursor_config cc = {.io = o->m.io, .dirs = {o->schema_from}, .prefix = o->prefix};
    const struct frame *f;
    unsigned n = 0;
    if (!cursor_open(&c, &cc, &o->err))
        return false;
    cursor_seek_end(&c);
    while (cursor_next(&c, &f) == CURSOR_FRAME)
        ;
    bool ok = true;
    for (unsigned id = TABLE_FIRST; ok && id < TABLE_MAX; id++) {
        const struct schema *s = dictionary_schema(&c.dict, id);
        if (!s || schema_set_find(c.dict.schemas, s->name) != s)
            continue;
        ok = kdb_import_schema(&o->m, s, &o->err);
        n++;
    }
    cursor_close(&c);
    return ok && (n || err_set(&o->err, -ENOENT, "%s: no log with tables in it", o->schema_from));
}

/* ---- into a running instance ---- */

/* A file's name and first message tell it from others, so that a second run goes on where the first
 * one came to; other options make other rows, and so another source. */
static void source_of(const struct import *o, const struct import_file *f,
                      char out[SOURCE_NAME_MAX + 1])
{
    const char *slash = strrchr(f->path, '/'), *p = slash ? slash + 1 : f->path;
    char name[36] = "";
    size_t n = 0;
    for (; *p && n < sizeof name - 1; p++)
        name[n++] = (char)(source_name(p, 1) ? *p : '_');
    snprintf(out, SOURCE_NAME_MAX + 1, "kdb:%s:%08x", name, f->first_crc ^ o->options_crc);
}

static bool send_file(struct import *o, struct import_file *f, const char *socket)
{
    struct append_client a;
    char source[SOURCE_NAME_MAX + 1];
    source_of(o, f, source);
    const char *name = !o->source ? source : !strcmp(o->source, "none") ? NULL : o->source;
    if (!append_open(&a, socket, name, &o->err)) {
        client_unknown_instance(o->to, socket, &o->err);
        return false;
    }
    o->m.append = &a;
    o->m.facts_hold = false;
    bool ok = kdb_import_rows(&o->m, f, &o->err);
    if (ok && !append_flush(&a, ACK_DURABLE)) {
        o->err = a.err;
        ok = false;
    }
    o->late += a.late;
    o->passed_over += a.passed_over;
    append_close(&a);
    for (unsigned i = 0; i < o->m.tables; i++)
        o->m.table[i].target.schema = NULL; /* it was the connection's */
    return ok;
}

/* ---- the work ---- */

static bool run(struct import *o, struct cli *c)
{
    char socket[256];
    o->m.io = io_posix_create(&o->err);
    bool ok = o->m.io != NULL;
    if (ok && o->out) {
        struct log_make_config cfg = {
            .io = o->m.io, .directory = o->out, .prefix = o->prefix, .name = o->name};
        o->m.make = log_make_open(&cfg, &o->err);
        ok = o->m.make != NULL;
    }
    if (o->to)
        client_socket_of(o->to, c->socket, socket, sizeof socket);
    ok = ok && (!o->config_path || from_config(o)) && (!o->schema_from || from_log(o));
    for (unsigned i = 0; ok && i < o->ncolumns; i++)
        ok = kdb_import_columns(&o->m, o->columns[i], &o->err);
    ok = ok && (!o->out || kdb_import_declare(&o->m, &o->err));
    struct append_client none; /* learning only: rows are made later */
    if (o->to)
        o->m.append = &none;
    for (unsigned i = 0; ok && i < o->files; i++)
        ok = kdb_import_learn(&o->m, &o->file[i], &o->err);
    o->m.append = NULL;
    for (unsigned i = 0; ok && i < o->files; i++)
        ok = o->count_only  ? true
             : o->repair_to ? kdb_import_repair(&o->m, &o->file[i], o->repair_to, &o->err)
             : o->to        ? send_file(o, &o->file[i], socket)
                            : kdb_import_rows(&o->m, &o->file[i], &o->err);
    if (o->m.make) {
        if (!ok || !log_make_end(o->m.make, &o->made, &o->err)) {
            ok = false;
            log_make_abandon(o->m.make);
        }
    }
    io_destroy(o->m.io);
    return ok;
}

/* ---- what is said ---- */

static void show_file(const struct import *o, const struct import_file *f)
{
    printf("%s: %s messages, %s rows", f->path, print_count((int64_t)f->messages),
           print_count((int64_t)f->rows));
    if (f->sound)
        printf(", %s bytes\n", print_count((int64_t)f->good_bytes));
    else
        printf("; BAD TAIL: (%llu; %llu), at byte %llu %s\n", (unsigned long long)f->good_messages,
               (unsigned long long)f->good_bytes, (unsigned long long)f->good_bytes, f->why);
    if (f->ranges)
        printf("  salvaged: %s bytes in %s ranges were left out%s\n",
               print_count((int64_t)f->bytes), print_count((int64_t)f->ranges),
               f->gave_up ? "; the search was cut short" : "");
    else if (!f->sound && !o->m.salvage)
        printf("  what follows is not taken; --salvage looks for whole updates behind it\n");
}

static void show(const struct import *o)
{
    const struct kdb_import *m = &o->m;
    for (unsigned i = 0; i < o->files; i++)
        show_file(o, &o->file[i]);
    for (unsigned i = 0; i < m->tables; i++) {
        const struct import_table *t = &m->table[i];
        if (!t->rows && !t->left_out)
            continue;
        printf("%s: %s rows", t->guess.table, print_count((int64_t)t->rows));
        if (t->left_out)
            printf("; LEFT OUT %s, first in message %llu of %s: %s",
                   print_count((int64_t)t->left_out), (unsigned long long)t->why_message,
                   t->why_file, t->why);
        printf("\n");
    }
    for (unsigned i = 0; i < m->calls; i++)
        printf("%s messages call %s: not run\n", print_count((int64_t)m->call[i].count),
               m->call[i].name);
    if (o->out)
        printf("%s rows in %u files of %u dates in %s\n", print_count((int64_t)m->rows),
               o->made.files, o->made.days, o->out);
    if (m->passed_over || o->passed_over)
        printf("%s messages and %s rows were there already\n", print_count((int64_t)m->passed_over),
               print_count((int64_t)o->passed_over));
    if (o->late)
        printf("%s rows are of dates that are closed there; they stand in the open one\n",
               print_count((int64_t)o->late));
}

static void show_json(const struct import *o, bool ok)
{
    const struct kdb_import *m = &o->m;
    json_t *files = json_array(), *tables = json_array(), *calls = json_object();
    for (unsigned i = 0; i < o->files; i++) {
        const struct import_file *f = &o->file[i];
        json_array_append_new(
            files, json_pack("{s:s,s:I,s:I,s:b,s:I,s:I,s:s,s:I,s:I}", "file", f->path, "messages",
                             (json_int_t)f->messages, "rows", (json_int_t)f->rows, "sound",
                             f->sound, "good_messages", (json_int_t)f->good_messages, "good_bytes",
                             (json_int_t)f->good_bytes, "why", f->why, "salvaged_ranges",
                             (json_int_t)f->ranges, "salvaged_bytes", (json_int_t)f->bytes));
    }
    for (unsigned i = 0; i < m->tables; i++) {
        const struct import_table *t = &m->table[i];
        if (t->rows || t->left_out)
            json_array_append_new(tables, json_pack("{s:s,s:I,s:I,s:s}", "table", t->guess.table,
                                                    "rows", (json_int_t)t->rows, "left_out",
                                                    (json_int_t)t->left_out, "why", t->why));
    }
    for (unsigned i = 0; i < m->calls; i++)
        json_object_set_new_nocheck(calls, m->call[i].name,
                                    json_integer((json_int_t)m->call[i].count));
    json_t *all =
        json_pack("{s:b,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o}", "complete", ok, "rows",
                  (json_int_t)m->rows, "left_out", (json_int_t)m->left_out, "passed_over",
                  (json_int_t)o->passed_over, "messages_passed_over", (json_int_t)m->passed_over,
                  "late", (json_int_t)o->late, "files", files, "tables", tables, "calls", calls);
    json_dumpf(all, stdout, JSON_INDENT(1));
    printf("\n");
    json_decref(all);
}

int cli_log_import(struct cli *c, int argc, char **argv)
{
    struct import *o = calloc(1, sizeof *o);
    struct tzone *zone = NULL;
    pst_must(o);
    int code = EXIT_USAGE;
    cli_rows_init(&o->m.want);
    o->m.want.to_is_place = true;
    if (options(o, argc, argv) && cli_kdb_zone(c, &zone)) {
        o->m.want.zone = zone;
        if (cli_rows_times(&o->m.want)) {
            bool ok = run(o, c), sound = ok && !o->m.left_out;
            for (unsigned i = 0; i < o->files; i++)
                sound = sound && o->file[i].sound;
            if (c->json)
                show_json(o, ok);
            else if (ok || o->m.rows)
                show(o);
            if (!ok)
                fprintf(stderr, "penstock: %s\n", o->err.text);
            code = sound ? EXIT_HEALTHY : EXIT_DEGRADED;
        }
    }
    tzone_free(zone);
    free(o);
    return code;
}
