/* SPDX-License-Identifier: Apache-2.0 */
/* hdb ls, stat, verify: look at a database, ours or q's. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "cli_hdb.h"
#include "print.h"
#include "core/schema.h"
#include "storage/hdb_verify.h"

static const char *day(int32_t date)
{
    static char buf[8][CIVIL_TEXT];
    static unsigned at;
    return civil_format(date, buf[at++ % 8]);
}

static void dump(json_t *o)
{
    json_dumpf(o, stdout, JSON_INDENT(1));
    printf("\n");
    json_decref(o);
}

static bool date_arg(const char *text, int32_t *date, struct err *err)
{
    return civil_parse(text, date) || err_set(err, -EINVAL, "'%.60s' is no date: 2026.11.23", text);
}

/* ---- ls ---- */

static json_t *sources_json(const struct hdb_meta *m)
{
    json_t *a = json_array();
    for (unsigned i = 0; i < m->nsources; i++)
        json_array_append_new(a, json_pack("{s:s,s:I,s:I}", "kind", m->source[i].kind, "first",
                                           (json_int_t)m->source[i].first, "end",
                                           (json_int_t)m->source[i].end));
    return a;
}

/* What its rows came from: "eod, batches 3-5". */
static const char *sources_text(json_t *sources)
{
    static char out[120];
    json_t *s;
    size_t i, at = 0;
    *out = 0;
    json_array_foreach(sources, i, s)
    {
        const char *kind = json_string_value(json_object_get(s, "kind"));
        json_int_t first = json_long(s, "first"), last = json_long(s, "end") - 1;
        char one[60];
        if (strcmp(kind, "load") != 0)
            snprintf(one, sizeof one, "%s", kind);
        else if (last <= first)
            snprintf(one, sizeof one, "batch %lld", (long long)first);
        else
            snprintf(one, sizeof one, "batches %lld-%lld", (long long)first, (long long)last);
        if (strstr(out, one) || at + strlen(one) + 3 > sizeof out)
            continue;
        at += (size_t)sprintf(out + at, "%s%s", at ? ", " : "", one);
    }
    return out;
}

/* A table of a date; its rows in *rows. */
static json_t *table_json(struct hdb *h, int32_t date, const char *name, uint64_t *rows)
{
    struct err err = {0};
    const struct hdb_table *t = hdb_table_get(h, name, &err);
    const struct hdb_part *p = t ? hdb_part_get(t, date, &err) : NULL;
    json_t *o = json_pack("{s:s}", "table", name);
    if (!p) {
        json_object_set_new(o, "error", json_string(err.text));
    } else {
        char hash[33];
        const struct hdb_meta *m = p->meta;
        uint64_t bytes = cli_hdb_size(p->path);
        *rows += p->rows;
        json_object_set_new(o, "rows", json_integer((json_int_t)p->rows));
        json_object_set_new(o, "bytes", json_integer((json_int_t)bytes));
        json_object_set_new(o, "producer", json_string(m ? m->producer : ""));
        if (m) {
            json_object_set_new(o, "calendar", json_string(m->calendar));
            json_object_set_new(o, "epoch", json_integer((json_int_t)m->epoch));
            json_object_set_new(o, "hash",
                                json_string(m->has_hash ? hash128_text(m->hash, hash) : ""));
            json_object_set_new(o, "sources", sources_json(m));
        }
        hdb_part_put(p);
    }
    if (t)
        hdb_table_put(t);
    return o;
}

static json_t *date_json(struct hdb *h, int32_t date, struct err *err)
{
    char dir[1024] = "", **names;
    unsigned n;
    uint64_t rows = 0;
    if (!hdb_date_tables(h, date, &names, &n, err))
        return NULL;
    json_t *tables = json_array();
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(tables, table_json(h, date, names[i], &rows));
    hdb_names_free(names, n);
    hdb_date_dir(h, date, dir);
    return json_pack("{s:s,s:s,s:I,s:I,s:o}", "date", day(date), "directory", dir, "rows",
                     (json_int_t)rows, "bytes", (json_int_t)cli_hdb_size(dir), "tables", tables);
}

static int ls_date(struct cli_hdb *a, int32_t date)
{
    static const char *const head[] = {"table", ">rows",      ">size",       "calendar",
                                       "from",  "written by", "content hash"};
    struct err err = {0};
    struct print_table t;
    size_t i;
    json_t *x, *o = date_json(a->hdb, date, &err);
    if (!o)
        return cli_hdb_fail(&err);
    if (a->cli->json) {
        dump(o);
        return EXIT_HEALTHY;
    }
    int code = EXIT_HEALTHY;
    print_table_begin(&t, PST_COUNT(head), head);
    json_array_foreach(json_object_get(o, "tables"), i, x)
    {
        const char *error = json_text(x, "error"), *by = json_text(x, "producer");
        if (*error) {
            fprintf(stderr, "penstock: %s\n", error);
            code = EXIT_DEGRADED;
            continue;
        }
        print_table_row(&t, json_text(x, "table"), print_count(json_long(x, "rows")),
                        print_bytes(json_long(x, "bytes")), json_text(x, "calendar"),
                        sources_text(json_object_get(x, "sources")), *by ? by : "another program",
                        json_text(x, "hash"));
    }
    print_table_end(&t);
    json_decref(o);
    return code;
}

int cli_hdb_ls(struct cli_hdb *a)
{
    static const char *const head[] = {"date", ">tables", ">rows", ">size", "directory"};
    struct err err = {0};
    struct print_table t;
    const int32_t *dates;
    int32_t date;
    if (a->argc)
        return date_arg(a->argv[0], &date, &err) ? ls_date(a, date) : cli_hdb_fail(&err);
    uint32_t n = hdb_dates(a->hdb, &dates);
    json_t *all = json_array();
    int code = EXIT_HEALTHY;
    int64_t rows = 0, bytes = 0;
    print_table_begin(&t, PST_COUNT(head), head);
    for (uint32_t i = 0; i < n; i++) {
        json_t *o = date_json(a->hdb, dates[i], &err);
        if (!o) {
            code = cli_hdb_fail(&err);
            continue;
        }
        rows += json_long(o, "rows");
        bytes += json_long(o, "bytes");
        print_table_row(&t, json_text(o, "date"),
                        print_count((int64_t)json_array_size(json_object_get(o, "tables"))),
                        print_count(json_long(o, "rows")), print_bytes(json_long(o, "bytes")),
                        json_text(o, "directory"));
        json_array_append_new(all, o);
    }
    if (a->cli->json) {
        print_table_free(&t);
        dump(all);
        return code;
    }
    print_table_end(&t);
    printf("%s dates, %s rows, %s\n", print_count(n), print_count(rows), print_bytes(bytes));
    json_decref(all);
    return code;
}

/* ---- stat ---- */

static json_t *table_stat(struct hdb *h, const char *name, struct err *err)
{
    const struct hdb_table *t = hdb_table_get(h, name, err);
    const int32_t *dates;
    uint32_t n = hdb_dates(h, &dates), have = 0;
    int32_t first = 0;
    uint64_t rows = 0, bytes = 0;
    if (!t)
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct err e = {0};
        const struct hdb_part *p = hdb_part_get(t, dates[i], &e);
        if (!p) {
            if (e.code != -ENOENT)
                fprintf(stderr, "penstock: %s\n", e.text);
            continue;
        }
        if (!have++)
            first = dates[i];
        rows += p->rows;
        bytes += cli_hdb_size(p->path);
        hdb_part_put(p);
    }
    json_t *o = json_pack("{s:s,s:i,s:I,s:s,s:s,s:I,s:I}", "table", name, "columns", (int)t->ncols,
                          "dates", (json_int_t)have, "first", day(first), "last", day(t->newest),
                          "rows", (json_int_t)rows, "bytes", (json_int_t)bytes);
    hdb_table_put(t);
    return o;
}

static int stat_all(struct cli_hdb *a)
{
    static const char *const head[] = {"table", ">columns", ">dates", "first",
                                       "last",  ">rows",    ">size"};
    struct err err = {0};
    struct print_table t;
    char **names;
    unsigned n;
    if (!hdb_tables(a->hdb, true, &names, &n, &err))
        return cli_hdb_fail(&err);
    json_t *all = json_array();
    int code = EXIT_HEALTHY;
    print_table_begin(&t, PST_COUNT(head), head);
    for (unsigned i = 0; i < n; i++) {
        json_t *o = table_stat(a->hdb, names[i], &err);
        if (!o) {
            code = cli_hdb_fail(&err);
            continue;
        }
        print_table_row(&t, json_text(o, "table"), print_count(json_long(o, "columns")),
                        print_count(json_long(o, "dates")), json_text(o, "first"),
                        json_text(o, "last"), print_count(json_long(o, "rows")),
                        print_bytes(json_long(o, "bytes")));
        json_array_append_new(all, o);
    }
    hdb_names_free(names, n);
    int64_t symbols = (int64_t)hdb_symbol_count(a->hdb);
    if (a->cli->json) {
        print_table_free(&t);
        dump(json_pack("{s:s,s:I,s:i,s:o}", "database", hdb_root(a->hdb), "symbols",
                       (json_int_t)symbols, "disks", (int)hdb_ndisks(a->hdb), "tables", all));
        return code;
    }
    print_table_end(&t);
    printf("%s: %s symbols, %u %s\n", hdb_root(a->hdb), print_count(symbols), hdb_ndisks(a->hdb),
           hdb_ndisks(a->hdb) == 1 ? "disk" : "disks");
    json_decref(all);
    return code;
}

/* One column over all dates: since when, where it is missing, where it had another type. */
struct column_life {
    uint32_t dates, missing, other;
    int32_t since, other_last;
    uint8_t other_type;
    uint64_t bytes;
};

static void live(struct hdb *h, const struct hdb_table *t, unsigned col, struct column_life *l)
{
    const int32_t *dates;
    uint32_t n = hdb_dates(h, &dates);
    for (uint32_t i = 0; i < n; i++) {
        struct err e = {0};
        struct kdb_column head;
        char path[1400];
        struct stat st;
        const struct hdb_part *p = hdb_part_get(t, dates[i], &e);
        if (!p)
            continue;
        snprintf(path, sizeof path, "%.1100s/%.250s", p->path, t->col[col].name);
        if (stat(path, &st)) {
            l->missing++;
        } else {
            if (!l->dates++)
                l->since = dates[i];
            l->bytes += (uint64_t)st.st_size;
            size_t end = strlen(path);
            if (end + 1 < sizeof path && !stat(strcat(path, "#"), &st)) /* the text of strings */
                l->bytes += (uint64_t)st.st_size;
            path[end] = 0;
            if (kdb_open_head(&head, AT_FDCWD, path, &e)) {
                if (head.type != t->col[col].type && t->col[col].type) {
                    l->other++;
                    l->other_last = dates[i];
                    l->other_type = head.type;
                }
                kdb_close(&head);
            }
        }
        hdb_part_put(p);
    }
}

static int stat_table(struct cli_hdb *a, const char *name)
{
    static const char *const head[] = {"column",   "type",  "since", ">dates",
                                       ">missing", ">size", ""};
    struct err err = {0};
    struct print_table t;
    const struct hdb_table *table = hdb_table_get(a->hdb, name, &err);
    if (!table)
        return cli_hdb_fail(&err);
    json_t *all = json_array();
    print_table_begin(&t, PST_COUNT(head), head);
    for (unsigned i = 0; i < table->ncols; i++) {
        const struct hdb_column_info *c = &table->col[i];
        struct column_life l = {0};
        char note[700] = "";
        bool key = false;
        live(a->hdb, table, i, &l);
        for (unsigned k = 0; k < table->nkeys; k++)
            key |= table->keys[k] == i;
        if (!c->type)
            snprintf(note, sizeof note, "not read: %.600s", c->refused ? c->refused : "");
        else if (l.other)
            snprintf(note, sizeof note, "%s until %s", type_name(l.other_type), day(l.other_last));
        else if (key)
            snprintf(note, sizeof note, "key");
        const char *type = c->type ? type_name(c->type) : "?";
        json_array_append_new(all,
                              json_pack("{s:s,s:s,s:s,s:i,s:i,s:i,s:I,s:b,s:s}", "column", c->name,
                                        "type", type, "since", day(l.since), "dates", (int)l.dates,
                                        "missing", (int)l.missing, "other_type", (int)l.other,
                                        "bytes", (json_int_t)l.bytes, "key", key, "note", note));
        print_table_row(&t, c->name, type, day(l.since), print_count(l.dates),
                        print_count(l.missing), print_bytes((int64_t)l.bytes), note);
    }
    hdb_table_put(table);
    if (a->cli->json) {
        print_table_free(&t);
        dump(all);
    } else {
        print_table_end(&t);
        json_decref(all);
    }
    return EXIT_HEALTHY;
}

int cli_hdb_stat(struct cli_hdb *a)
{
    return a->argc ? stat_table(a, a->argv[0]) : stat_all(a);
}

/* ---- verify ---- */

struct report {
    bool json;
    json_t *findings, *tables;
};

static void found(void *arg, const struct hdb_finding *f)
{
    struct report *r = arg;
    bool damage = f->severity == HDB_DAMAGE;
    if (r->json)
        json_array_append_new(r->findings,
                              json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "severity",
                                        damage ? "damage" : "note", "what", f->what, "date",
                                        f->date == INT32_MIN ? "" : day(f->date), "table", f->table,
                                        "column", f->column, "sentence", f->sentence));
    else
        printf("%s %s: %s\n", damage ? "DAMAGE" : "note", f->what, f->sentence);
}

static void checked(void *arg, const struct hdb_checked *c)
{
    struct report *r = arg;
    char hash[33];
    if (r->json)
        json_array_append_new(
            r->tables,
            json_pack("{s:s,s:s,s:I,s:I,s:i,s:i,s:b,s:b,s:b,s:s,s:s}", "date", day(c->date),
                      "table", c->table, "rows", (json_int_t)c->rows, "bytes", (json_int_t)c->bytes,
                      "damages", (int)c->damages, "notes", (int)c->notes, "ours", c->ours,
                      "ordered", c->ordered, "p_ready", c->parted, "hash",
                      c->hashed ? hash128_text(c->hash, hash) : "", "hash_is",
                      !c->hashed ? "not compared"
                      : c->same  ? "right"
                                 : "WRONG"));
}

int cli_hdb_verify(struct cli_hdb *a)
{
    struct err err = {0};
    struct report r = {a->cli->json, json_array(), json_array()};
    struct hdb_verify v = {.hash = a->hash, .found = found, .checked = checked, .arg = &r};
    bool ok = true;
    if (a->argc) {
        v.one_date = true;
        ok = date_arg(a->argv[0], &v.date, &err);
        v.table = a->argc > 1 ? a->argv[1] : NULL;
    }
    ok = ok && hdb_verify(a->hdb, &v, &err);
    if (ok && r.json) {
        dump(json_pack("{s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:O,s:O}", "healthy", !v.damages,
                       "dates", (json_int_t)v.dates, "checked", (json_int_t)v.tables, "rows",
                       (json_int_t)v.rows, "bytes", (json_int_t)v.bytes, "damages",
                       (json_int_t)v.damages, "notes", (json_int_t)v.notes, "p_ready",
                       (json_int_t)v.ready, "hashed", (json_int_t)v.hashed, "findings", r.findings,
                       "tables", r.tables));
    } else if (ok) {
        printf("%s dates, %s tables, %s rows, %s: %s", print_count((int64_t)v.dates),
               print_count((int64_t)v.tables), print_count((int64_t)v.rows),
               print_bytes((int64_t)v.bytes), v.damages ? "" : "no damage");
        if (v.damages)
            printf("%s damages", print_count((int64_t)v.damages));
        printf("; p# ready %s of %s", print_count((int64_t)v.ready),
               print_count((int64_t)v.tables));
        if (v.hash)
            printf("; content hash compared on %s of %s", print_count((int64_t)v.hashed),
                   print_count((int64_t)v.tables));
        printf("\n");
    }
    json_decref(r.findings);
    json_decref(r.tables);
    return !ok ? cli_hdb_fail(&err) : v.damages ? EXIT_DEGRADED : EXIT_HEALTHY;
}
