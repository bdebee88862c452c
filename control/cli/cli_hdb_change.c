/* SPDX-License-Identifier: Apache-2.0 */
/* hdb add-column, drop-before, fill: change a database, under its lock. */
#include <errno.h>
#include "cli_hdb.h"
#include "print.h"
#include "csv.h"
#include "storage/hdb_maintain.h"

static void step(void *arg, const char *sentence)
{
    const struct cli_hdb *a = arg;
    if (!a->cli->json)
        printf("%s\n", sentence);
}

static void cleaned(void *arg, const char *sentence)
{
    (void)arg;
    fprintf(stderr, "penstock: %s\n", sentence);
}

/* Lock and tidy up what a crash left; a dry run does neither. */
static bool begin(struct cli_hdb *a, struct hdb_work *w, const char *who, int *lock,
                  struct err *err)
{
    *lock = -1;
    *w = (struct hdb_work){.hdb = a->hdb, .dry_run = a->dry_run, .step = step, .arg = a};
    w->io = io_posix_create(err);
    if (!w->io || a->dry_run)
        return w->io;
    *lock = hdb_lock(w->io, hdb_root(a->hdb), who, err);
    return *lock >= 0 && hdb_clean(w->io, a->hdb, NULL, cleaned, NULL, err) &&
           hdb_refresh(a->hdb, err);
}

static int end(struct cli_hdb *a, struct hdb_work *w, int lock, bool ok, const struct err *err,
               const char *what)
{
    if (w->io)
        hdb_unlock(w->io, lock);
    io_destroy(w->io);
    if (!ok)
        return cli_hdb_fail(err);
    if (a->cli->json) {
        json_t *o = json_pack("{s:b,s:I,s:I,s:I,s:I,s:I}", "dry_run", a->dry_run, "dates",
                              (json_int_t)w->dates, "already", (json_int_t)w->already, "rows",
                              (json_int_t)w->rows, "tables", (json_int_t)w->tables, "bytes",
                              (json_int_t)w->bytes);
        json_dumpf(o, stdout, JSON_INDENT(1));
        printf("\n");
        json_decref(o);
    } else {
        printf("%s dates %s%s", print_count((int64_t)w->dates), a->dry_run ? "would be " : "",
               what);
        if (w->already)
            printf(", %s were so already", print_count((int64_t)w->already));
        printf("%s\n", a->dry_run ? "; nothing was changed (--dry-run)" : "");
    }
    return EXIT_HEALTHY;
}

/* ---- add-column ---- */

struct value {
    uint8_t type;
    const char *text; /* as given */
    uint8_t record[CSV_RECORD_MAX] __attribute__((aligned(8)));
    const void *bytes; /* NULL: null */
    uint32_t len;
};

static uint32_t no_symbol(void *arg, const char *text, uint32_t len)
{
    (void)arg, (void)text, (void)len;
    return 0;
}

/* A value as `penstock publish` reads it: one field of a CSV line. */
static bool parse_value(struct value *v, const char *text, struct err *err)
{
    static struct schema s;
    struct csv csv;
    const struct column_def cols[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"x", v->type}};
    v->text = text;
    v->bytes = NULL;
    if (!*text)
        return true;
    if (v->type == PST_STRING || v->type == PST_SYMBOL) {
        v->bytes = text;
        v->len = (uint32_t)strlen(text);
        return true;
    }
    if (!schema_make(&s, TABLE_FIRST, "default", false, cols, 3, err) ||
        !csv_header(&csv, &s, "x", 1, err) ||
        !csv_row(&csv, text, strlen(text), 0, v->record, no_symbol, NULL, err)) {
        err->code = -EINVAL;
        return false;
    }
    v->bytes = v->record + s.col[2].offset;
    return true;
}

/* A symbol's default is an index of sym: added there if it is new. */
static bool intern(struct cli_hdb *a, struct hdb_work *w, struct value *v, int64_t *index,
                   struct err *err)
{
    struct hdb_sym sym;
    if (v->type != PST_SYMBOL || !v->bytes)
        return true;
    if (a->dry_run) {
        *index = 0;
    } else {
        if (!hdb_sym_open(&sym, w->io, hdb_root(a->hdb), err))
            return false;
        *index = hdb_sym_add(&sym, v->bytes, v->len, err);
        hdb_sym_close(&sym);
    }
    v->bytes = index;
    return *index >= 0;
}

int cli_hdb_add_column(struct cli_hdb *a)
{
    struct err err = {0};
    struct hdb_work w;
    int lock;
    int64_t index = 0;
    struct value *v = calloc(1, sizeof *v);
    if (!v)
        return EXIT_DEGRADED;
    v->type = type_by_name(a->argv[2]);
    if (!v->type) {
        fprintf(stderr,
                "penstock: '%s' is no type: boolean guid byte short int long real float char "
                "symbol timestamp month date timespan minute second time string\n",
                a->argv[2]);
        free(v);
        return EXIT_USAGE;
    }
    if (!parse_value(v, a->argc > 3 ? a->argv[3] : "", &err)) {
        free(v);
        return cli_hdb_fail(&err);
    }
    bool ok = begin(a, &w, "penstock hdb add-column", &lock, &err) &&
              intern(a, &w, v, &index, &err) &&
              hdb_add_column(&w, a->argv[0], a->argv[1], v->type, v->bytes, v->len, &err);
    if (ok && !a->cli->json && !a->dry_run)
        printf("New dates get the column only if the table's declaration has it too.\n");
    free(v);
    return end(a, &w, lock, ok, &err, "changed");
}

/* ---- drop-before, fill ---- */

int cli_hdb_drop_before(struct cli_hdb *a)
{
    struct err err = {0};
    struct hdb_work w;
    int lock;
    int32_t date;
    if (!civil_parse(a->argv[0], &date)) {
        fprintf(stderr, "penstock: '%s' is no date: 2026.11.23\n", a->argv[0]);
        return EXIT_USAGE;
    }
    if (!a->yes && !a->dry_run) {
        const int32_t *dates;
        uint32_t n = hdb_dates(a->hdb, &dates), k = 0;
        while (k < n && dates[k] < date)
            k++;
        fprintf(
            stderr,
            "penstock: this deletes %u of %u dates of %s for good; say --yes, or --dry-run to see "
            "which\n",
            k, n, hdb_root(a->hdb));
        return EXIT_USAGE;
    }
    bool ok =
        begin(a, &w, "penstock hdb drop-before", &lock, &err) && hdb_drop_before(&w, date, &err);
    return end(a, &w, lock, ok, &err, "deleted");
}

int cli_hdb_fill(struct cli_hdb *a)
{
    struct err err = {0};
    struct hdb_work w;
    int lock;
    bool ok = begin(a, &w, "penstock hdb fill", &lock, &err) && hdb_fill(&w, &err);
    return end(a, &w, lock, ok, &err, "filled");
}
