/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock hdb rebuild DATE [TABLE] --database DIR --from LOGDIR …: a partition again from log
 * files, in this process, without a daemon. The same writer, the same lock, the same swap as an end
 * of day; the content hash is equal. A daemon that has this database open does it itself (no
 * --database).
 */
#include <errno.h>
#include <unistd.h>
#include "cli.h"
#include "print.h"
#include "core/civil.h"
#include "core/days.h"
#include "storage/cursor.h"
#include "storage/hdb_publish.h"
#include "storage/writedown.h"

struct again {
    const char *database, *from[CURSOR_DIRS], *prefix, *table;
    unsigned nfrom;
    int32_t day;
    bool dry_run, supersede, yes;
    /* found in the log */
    uint64_t instance, end;
    char calendar[DAYS_NAME];
    struct schema *schema;
    struct writedown_table *tables;
    unsigned ntables;
};

static int fail(const struct err *err)
{
    fprintf(stderr, "penstock: %s\n", err->text);
    return err->code == -EINVAL ? EXIT_USAGE : EXIT_DEGRADED;
}

static bool options(struct again *a, int argc, char **argv)
{
    const char *date = NULL;
    a->prefix = "log";
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--database") && i + 1 < argc)
            a->database = argv[++i];
        else if (!strcmp(argv[i], "--from") && i + 1 < argc && a->nfrom < CURSOR_DIRS - 1)
            a->from[a->nfrom++] = argv[++i];
        else if (!strcmp(argv[i], "--prefix") && i + 1 < argc)
            a->prefix = argv[++i];
        else if (!strcmp(argv[i], "--dry-run"))
            a->dry_run = true;
        else if (!strcmp(argv[i], "--supersede"))
            a->supersede = true;
        else if (!strcmp(argv[i], "--yes"))
            a->yes = true;
        else if (*argv[i] == '-' || (date && a->table)) {
            fprintf(stderr, "penstock: hdb rebuild: what is '%s'?\n", argv[i]);
            return false;
        } else if (!date)
            date = argv[i];
        else
            a->table = argv[i];
    }
    if (!date || !civil_parse(date, &a->day))
        fprintf(stderr, "penstock: hdb rebuild: '%s' is no date; write 2026.11.23\n",
                date ? date : "");
    else if (!a->nfrom)
        fprintf(stderr, "penstock: hdb rebuild --database DIR needs --from DIR, the log's\n");
    else if (!a->yes && !a->dry_run)
        fprintf(stderr, "penstock: this replaces the partition by what the log holds; --dry-run "
                        "shows the counts, --yes does it\n");
    else
        return true;
    return false;
}

/* Reads the log from the date's first file on: where its rows lie, which tables there are. */
static bool survey(struct again *a, struct io *io, struct err *err)
{
    struct cursor c;
    struct cursor_config cc = {.io = io, .prefix = a->prefix, .headers_only = true};
    char date[CIVIL_TEXT];
    memcpy(cc.dirs, a->from, sizeof a->from);
    civil_format(a->day, date);
    if (!cursor_open(&c, &cc, err))
        return false;
    bool ok = cursor_seek_day(&c, a->day) ||
              err_set(err, -ENOENT, "%s: no file %s%s", a->from[0], a->prefix, date);
    const struct frame *f;
    enum cursor_verdict v = CURSOR_WAIT;
    char name[DAYS_NAME];
    while (ok && (v = cursor_next(&c, &f)) != CURSOR_END && v != CURSOR_WAIT && v != CURSOR_ERROR) {
        if (v != CURSOR_FRAME || f->day != (uint32_t)a->day)
            continue;
        bool mark = days_eod(f, name), rows = frame_has_rows(f);
        if (mark && !*a->calendar)
            memcpy(a->calendar, name, sizeof name);
        if (!mark && !rows)
            continue;
        a->end = f->position + f->length;
    }
    if (ok && v == CURSOR_ERROR)
        ok = err_set(err, c.err.code, "%s", c.err.text);
    if (ok && !a->end)
        ok = err_set(err, -ENOENT, "%s: no rows of %s", a->from[0], date);
    a->instance = c.instance;
    if (!*a->calendar)
        snprintf(a->calendar, sizeof a->calendar, "default");
    a->schema = calloc(TABLE_MAX, sizeof *a->schema);
    a->tables = calloc(TABLE_MAX, sizeof *a->tables);
    pst_must(a->schema && a->tables);
    for (unsigned id = TABLE_FIRST; ok && id < TABLE_MAX; id++) {
        const struct schema *s = dictionary_schema(&c.dict, id);
        if (!s || schema_set_find(c.dict.schemas, s->name) != s ||
            (a->table && strcmp(a->table, s->name)))
            continue;
        a->schema[a->ntables] = *s;
        a->tables[a->ntables] = (struct writedown_table){.schema = &a->schema[a->ntables]};
        a->ntables++;
    }
    if (ok && !a->ntables)
        ok = err_set(err, -ENOENT, "%s: no table %s", a->from[0], a->table ? a->table : "at all");
    cursor_close(&c);
    return ok;
}

static int64_t rows_before(struct hdb *h, const char *table, int32_t day, uint64_t *epoch)
{
    struct err err;
    const struct hdb_table *t = hdb_table_get(h, table, &err);
    const struct hdb_part *p = t ? hdb_part_get(t, day, &err) : NULL;
    int64_t rows = p ? (int64_t)p->rows : -1;
    if (p && p->meta && p->meta->epoch > *epoch)
        *epoch = p->meta->epoch;
    if (p)
        hdb_part_put(p);
    if (t)
        hdb_table_put(t);
    return rows;
}

static void show(struct cli *c, const struct again *a, const int64_t *before,
                 const struct writedown_result *r)
{
    static const char *const head[] = {"table", ">rows before", ">rows now", "content hash"};
    struct print_table t;
    json_t *list = json_array();
    print_table_begin(&t, PST_COUNT(head), head);
    for (unsigned i = 0; i < r->ntables; i++) {
        const struct writedown_table_result *x = &r->table[i];
        char hash[33];
        int64_t was = -1;
        for (unsigned k = 0; k < a->ntables; k++)
            if (!strcmp(a->schema[k].name, x->name))
                was = before[k];
        hash128_text(x->hash, hash);
        print_table_row(&t, x->name, was < 0 ? "none" : print_count(was),
                        print_count((int64_t)x->rows), hash);
        json_t *o =
            json_pack("{s:s,s:I,s:s}", "table", x->name, "rows", (json_int_t)x->rows, "hash", hash);
        if (was >= 0)
            json_object_set_new(o, "before", json_integer(was));
        json_array_append_new(list, o);
    }
    if (c->json) {
        json_dumpf(list, stdout, JSON_INDENT(1));
        printf("\n");
        print_table_free(&t);
    } else {
        print_table_end(&t);
        printf("%s\n", r->nothing   ? "no rows, no partition"
                       : a->dry_run ? "nothing was changed (--dry-run)"
                                    : "swapped in");
    }
    json_decref(list);
}

/* The whole with the database's lock held. */
static bool again(struct cli *c, struct again *a, struct io *io, struct hdb *h, struct err *err)
{
    struct hdb_cleaned cleaned;
    struct hdb_sym sym;
    uint64_t epoch = 0;
    if (!hdb_clean(io, h, &cleaned, NULL, NULL, err) || !hdb_refresh(h, err) ||
        !hdb_sym_open(&sym, io, a->database, err))
        return false;
    int64_t *before = calloc(a->ntables + 1, sizeof *before);
    pst_must(before);
    for (unsigned i = 0; i < a->ntables; i++)
        before[i] = rows_before(h, a->schema[i].name, a->day, &epoch);
    struct writedown_config wc = {
        .io = io, .hdb = h, .threads = 1, .producer = "penstock " PST_VERSION};
    struct writedown *w = writedown_create(&wc, err);
    struct writedown_log log = {.prefix = a->prefix};
    memcpy(log.dirs, a->from, sizeof a->from);
    struct writedown_job j = {.calendar = a->calendar,
                              .day = a->day,
                              .instance = a->instance,
                              .end = a->end,
                              .kind = "rebuild",
                              .rebuild = true,
                              .epoch = epoch,
                              .policy = a->supersede ? WRITEDOWN_SUPERSEDE : WRITEDOWN_REFUSE,
                              .tables = a->tables,
                              .ntables = a->ntables,
                              .sym = &sym,
                              .log = &log};
    bool ok = w && writedown_start(w, &j, err);
    if (ok) {
        enum writedown_verdict v;
        while ((v = writedown_step(w)) == WRITEDOWN_MORE)
            ;
        if (v == WRITEDOWN_FAILED) {
            *err = *writedown_error(w);
            ok = false;
        }
        if (v == WRITEDOWN_STAGED && !a->dry_run)
            ok = writedown_publish(w, err);
        if (ok)
            show(c, a, before, writedown_result(w));
        writedown_abandon(w);
    }
    if (w)
        writedown_destroy(w);
    hdb_sym_close(&sym);
    free(before);
    return ok;
}

int cli_rebuild_offline(struct cli *c, int argc, char **argv)
{
    struct again a = {.day = 0};
    struct err err = {0};
    if (!options(&a, argc, argv))
        return EXIT_USAGE;
    struct io *io = io_posix_create(&err);
    struct hdb *h = io ? hdb_open(a.database, &err) : NULL;
    int code = EXIT_HEALTHY;
    char who[64];
    snprintf(who, sizeof who, "penstock hdb rebuild, pid %d", (int)getpid());
    int lock = h ? hdb_lock(io, a.database, who, &err) : -1;
    if (lock < 0 || !survey(&a, io, &err) || !again(c, &a, io, h, &err))
        code = fail(&err);
    if (lock >= 0)
        hdb_unlock(io, lock);
    if (h)
        hdb_close(h);
    io_destroy(io);
    free(a.schema);
    free(a.tables);
    return code;
}
