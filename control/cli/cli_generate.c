/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock hdb generate: a historical database of option quotes to try things on. Made by
 * the loader's own tasks - a file a date is read, indexed, merged and published - in this process,
 * without a daemon; what comes out is what `penstock load` makes of the same files. The same
 * arguments on the same day give the same rows.
 */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"
#include "print.h"
#include "core/civil.h"
#include "core/clock.h"
#include "load/merge.h"
#include "load/publish.h"
#include "load/save.h"
#include "load/symbols.h"

#define TABLE      "option"
#define BATCH      "generate"
#define DATES_MAX  3660
#define UNDERLYING PST_COUNT(stock)
#define EXPIRIES   6u
#define STRIKES    21u

static const struct stock {
    const char *name;
    double price, volatility, step; /* of strikes */
} stock[] = {{"AAPL", 231.5, 0.27, 2.5}, {"AMZN", 203.1, 0.32, 2.5}, {"MSFT", 425.4, 0.22, 5},
             {"NVDA", 141.9, 0.48, 2.5}, {"SPY", 591.2, 0.13, 5},    {"TSLA", 346.7, 0.58, 5}};

static const struct column_def columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},    {"underlying", PST_SYMBOL},
    {"expiry", PST_DATE},    {"strike", PST_FLOAT},  {"side", PST_CHAR},
    {"bid", PST_FLOAT},      {"bid_size", PST_LONG}, {"ask", PST_FLOAT},
    {"ask_size", PST_LONG},  {"spot", PST_FLOAT},    {"volatility", PST_FLOAT}};

struct generate {
    long points, first, days;
    uint64_t seed;
    const char *root;
    char temporary[1100];
    uint64_t random[UNDERLYING + 1];
    struct schema schema;
    struct io *io;
    uint64_t instance;
    json_t *reads; /* results of the read tasks, with "dir" */
    uint64_t rows;
};

/* ---- the rows ---- */

static uint64_t next(uint64_t *s) /* splitmix64 */
{
    uint64_t z = *s += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}

static double uniform(uint64_t *s)
{
    return (double)(next(s) >> 11) * 0x1p-53;
}

static double normal_below(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2);
}

/* Black and Scholes, without interest. */
static double value(double spot, double strike, double years, double volatility, bool call)
{
    double w = volatility * sqrt(years), d = log(spot / strike) / w + w / 2;
    double c = spot * normal_below(d) - strike * normal_below(d - w);
    return call ? c : c - spot + strike;
}

/* The k-th third Friday at or after a date. */
static int32_t expiry(int32_t day, unsigned k)
{
    int year, month, d;
    civil_date(day, &year, &month, &d);
    for (month += year * 12 - 1;; month++) {
        int32_t first = civil_days(month / 12, month % 12 + 1, 1);
        int32_t friday = first + (CIVIL_FRI - civil_weekday(first) + 7) % 7 + 14;
        if (friday >= day && !k--)
            return friday;
    }
}

/* One quote; times ascend within the session, 13:30 to 20:00 UTC. */
static void quote(struct generate *g, FILE *f, int32_t day, const char *date, long i, double *spot)
{
    uint64_t *r = &g->random[UNDERLYING];
    unsigned u = (unsigned)(next(r) % UNDERLYING);
    const struct stock *s = &stock[u];
    char expires[CIVIL_TEXT], name[64];
    spot[u] *= 1 + (uniform(r) - 0.5) * s->volatility * 0.002;
    int32_t at = expiry(day, (unsigned)(next(r) % EXPIRIES));
    double strike =
        (floor(spot[u] / s->step) + (double)(next(r) % STRIKES) - STRIKES / 2) * s->step;
    bool call = next(r) & 1;
    double years = (at - day + 0.5) / 365.0;
    double smile = s->volatility * (1 + 0.4 * pow(log(strike / spot[u]), 2));
    double fair = value(spot[u], strike, years, smile, call);
    double half = 0.01 * ceil(1 + fair * (0.5 + uniform(r)));
    int64_t ns = (int64_t)((double)i / (double)g->points * 6.5 * 3600e9) + 13 * 3600000000000ll +
                 30 * 60000000000ll + (int64_t)(next(r) % 1000);
    civil_format(at, expires);
    int y, m, d;
    civil_date(at, &y, &m, &d);
    snprintf(name, sizeof name, "%s%02d%02d%02d%c%08ld", s->name, y % 100, m, d, call ? 'C' : 'P',
             lround(strike * 1000));
    fprintf(f, "%sD%02d:%02d:%02d.%09d,%s,%s,%s,%.2f,%c,%.2f,%d,%.2f,%d,%.4f,%.4f\n", date,
            (int)(ns / 3600000000000ll), (int)(ns / 60000000000ll % 60),
            (int)(ns / 1000000000 % 60), (int)(ns % 1000000000), name, s->name, expires, strike,
            call ? 'C' : 'P', fmax(0, fair - half), (int)(1 + next(r) % 200), fair + half,
            (int)(1 + next(r) % 200), spot[u], smile);
}

static bool write_file(struct generate *g, int32_t day, char path[1300], struct err *err)
{
    char date[CIVIL_TEXT];
    double spot[UNDERLYING];
    civil_format(day, date);
    snprintf(path, 1300, "%s/options_%s.csv", g->temporary, date);
    FILE *f = fopen(path, "w");
    if (!f)
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    g->random[UNDERLYING] = g->seed * 1000003 + (uint64_t)day; /* a date's rows are its own */
    for (unsigned i = 0; i < UNDERLYING; i++)
        spot[i] = stock[i].price * (0.9 + 0.2 * uniform(&g->random[UNDERLYING]));
    for (unsigned i = 0; i < PST_COUNT(columns); i++)
        fprintf(f, "%s%s", i ? "," : "", columns[i].name);
    fprintf(f, "\n");
    for (long i = 0; i < g->points; i++)
        quote(g, f, day, date, i, spot);
    bool ok = !ferror(f);
    ok = !fclose(f) && ok;
    return ok || err_set(err, -errno, "%s: %s", path, strerror(errno));
}

/* ---- the loader's tasks ---- */

static json_t *schema_json(struct generate *g)
{
    char *text = schema_to_json(&g->schema);
    json_t *o = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return o;
}

static bool read_date(struct generate *g, int32_t day, struct err *err)
{
    char path[1300], dir[1300], date[CIVIL_TEXT];
    static const struct load_hooks none;
    json_t *result = NULL;
    if (!write_file(g, day, path, err))
        return false;
    snprintf(dir, sizeof dir, "%s/r.%s", g->temporary, civil_format(day, date));
    json_t *args =
        json_pack("{s:s,s:s,s:{s:s,s:s,s:s,s:[o],s:b,s:s,s:s}}", "file", path, "dir", dir, "recipe",
                  "name", "options", "format", "text", "table", TABLE, "schemas", schema_json(g),
                  "header", 1, "zone", "UTC", "calendar", "default");
    bool ok =
        args ? load_read_run(args, &none, NULL, &result, err) : err_set(err, -ENOMEM, "no memory");
    json_decref(args);
    unlink(path);
    if (ok)
        json_object_set_new(result, "dir", json_string(dir));
    if (ok)
        g->rows += (uint64_t)json_integer_value(json_object_get(result, "rows"));
    return ok && !json_array_append_new(g->reads, result);
}

static const char *sorted_text(const void *symbols, uint32_t id, uint32_t *len)
{
    return load_symbols_text(symbols, id, len);
}

/* All texts into `sym`, under q's lock. */
static bool intern(struct generate *g, struct err *err)
{
    struct load_symbols s;
    struct hdb_sym sym;
    json_t *r;
    size_t i;
    char path[1400];
    bool ok = true;
    load_symbols_init(&s);
    json_array_foreach(g->reads, i, r)
    {
        snprintf(path, sizeof path, "%s/symbols", json_text(r, "dir"));
        ok = ok && load_symbols_file(&s, path, 0, err);
    }
    ok = ok && load_symbols_sort(&s, err) && hdb_sym_open(&sym, g->io, g->root, err);
    if (ok) {
        ok = hdb_sym_extend(&sym, sorted_text, &s, (uint32_t)s.count, err);
        hdb_sym_close(&sym);
    }
    load_symbols_free(&s);
    return ok;
}

static bool merge_columns(json_t *index, const char *dir, struct err *err)
{
    json_t *names = json_array(), *c, *result = NULL;
    size_t i;
    json_array_foreach(json_object_get(index, "columns"), i, c)
        json_array_append(names, json_array_get(c, 0));
    if (!json_array_size(names)) {
        json_decref(names);
        return true;
    }
    json_t *args = json_pack("{s:s,s:o}", "index", dir, "columns", names);
    bool ok = load_merge_run(args, NULL, &result, err);
    json_decref(args);
    json_decref(result);
    return ok;
}

/* Index and merge of one date; what publish wants to know into *t. */
static bool make_part(struct generate *g, json_t *read, struct load_move_table *t, struct err *err)
{
    json_t *written = json_array_get(json_object_get(read, "written"), 0), *result = NULL;
    const char *date = json_text(written, "date");
    char dir[1300], instance[20];
    snprintf(dir, sizeof dir, "%s/i.%s", g->temporary, date);
    snprintf(instance, sizeof instance, "%016" PRIx64, g->instance);
    json_t *args = json_pack("{s:s,s:s,s:o,s:s,s:s,s:s,s:i,s:[s],s:s,s:s}", "database", g->root,
                             "date", date, "table", schema_json(g), "calendar", "default",
                             "instance", instance, "batch", BATCH, "commit", 1, "files",
                             json_text(read, "dir"), "index", dir, "existing", "refuse");
    bool ok = args ? load_index_run(args, NULL, &result, err) : err_set(err, -ENOMEM, "no memory");
    json_decref(args);
    ok = ok && merge_columns(result, dir, err);
    if (ok) {
        pst_must(civil_parse(date, &t->date));
        snprintf(t->table, sizeof t->table, TABLE);
        snprintf(t->base, sizeof t->base, "%s", json_text(result, "base"));
    }
    json_decref(result);
    return ok;
}

/* Above every partition's. */
static uint64_t highest_epoch(struct hdb *h)
{
    const int32_t *dates;
    uint64_t epoch = 0;
    uint32_t n = hdb_dates(h, &dates);
    struct err err;
    for (uint32_t i = 0; i < n; i++) {
        char **names;
        unsigned tables;
        if (!hdb_date_tables(h, dates[i], &names, &tables, &err))
            continue;
        for (unsigned k = 0; k < tables; k++) {
            const struct hdb_table *t = hdb_table_get(h, names[k], &err);
            const struct hdb_part *p = t ? hdb_part_get(t, dates[i], &err) : NULL;
            if (p && p->meta && p->meta->epoch > epoch)
                epoch = p->meta->epoch;
            if (p)
                hdb_part_put(p);
            if (t)
                hdb_table_put(t);
        }
        hdb_names_free(names, tables);
    }
    return epoch;
}

static bool publish(struct generate *g, struct hdb *h, struct load_move_table *t, unsigned n,
                    struct err *err)
{
    const struct schema *declared = &g->schema;
    struct load_moved out = {.verdict = LOAD_FAILED};
    struct load_move m = {.batch = BATCH, .instance = g->instance, .commit = 1, .table = t, .n = n};
    bool published = false;
    load_publish(g->io, h, &m, highest_epoch(h) + 1, "default", &declared, 1, NULL, &published,
                 &out);
    if (out.verdict != LOAD_DONE)
        return err_set(err, out.err.code ? out.err.code : -EIO, "%s", out.err.text);
    return load_publish_tidy(g->io, h, BATCH, err);
}

/* ---- the verb ---- */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}

static bool load(struct generate *g, struct hdb *h, int32_t from, struct err *err)
{
    unsigned n = (unsigned)g->days;
    struct load_move_table *t = calloc(n, sizeof *t);
    bool ok = t || err_set(err, -ENOMEM, "no memory");
    for (unsigned i = 0; ok && i < n; i++)
        ok = read_date(g, from + (int32_t)i, err);
    ok = ok && intern(g, err);
    for (unsigned i = 0; ok && i < n; i++)
        ok = make_part(g, json_array_get(g->reads, i), &t[i], err);
    ok = ok && publish(g, h, t, n, err);
    free(t);
    return ok;
}

/* Dates that are there already are not touched. */
static bool dates_free(struct hdb *h, int32_t from, long days, struct err *err)
{
    const int32_t *dates;
    uint32_t n = hdb_dates(h, &dates);
    char text[CIVIL_TEXT];
    for (uint32_t i = 0; i < n; i++)
        if (dates[i] >= from && dates[i] < from + days)
            return err_set(err, -EEXIST,
                           "the database has %s already; choose other dates (--first, --days) or "
                           "another --database",
                           civil_format(dates[i], text));
    return true;
}

static bool number(const char *text, long least, long most, long *out)
{
    char *end;
    *out = strtol(text, &end, 10);
    return *text && !*end && *out >= least && *out <= most;
}

static bool options(struct generate *g, int argc, char **argv)
{
    long seed = 1;
    for (int i = 0; i < argc; i += 2) {
        const char *v = i + 1 < argc ? argv[i + 1] : "";
        bool ok = !strcmp(argv[i], "--points")     ? number(v, 1, 1000000000, &g->points)
                  : !strcmp(argv[i], "--first")    ? number(v, 0, 100000, &g->first)
                  : !strcmp(argv[i], "--days")     ? number(v, 1, DATES_MAX, &g->days)
                  : !strcmp(argv[i], "--seed")     ? number(v, 0, 1000000000, &seed)
                  : !strcmp(argv[i], "--database") ? (g->root = v, *v != 0)
                                                   : false;
        if (!ok) {
            fprintf(stderr,
                    "penstock: hdb generate: '%s%s%s' is not understood; [--points N] [--first "
                    "DAYS] [--days N] [--database DIR] [--seed N]\n",
                    argv[i], *v ? " " : "", v);
            return false;
        }
    }
    g->seed = (uint64_t)seed;
    return true;
}

static bool run(struct generate *g, int32_t from, struct err *err)
{
    char root[PATH_MAX], who[64];
    if (mkdir(g->root, 0755) && errno != EEXIST)
        return err_set(err, -errno, "%s: %s", g->root, strerror(errno));
    if (!realpath(g->root, root))
        return err_set(err, -errno, "%s: %s", g->root, strerror(errno));
    g->root = root;
    g->io = io_posix_create(err);
    struct hdb *h = g->io ? hdb_open(root, err) : NULL;
    if (!h)
        return false;
    snprintf(who, sizeof who, "penstock hdb generate, pid %d", (int)getpid());
    int lock = hdb_lock(g->io, root, who, err);
    bool ok = lock >= 0 && dates_free(h, from, g->days, err);
    snprintf(g->temporary, sizeof g->temporary, "%.1000s/" HDB_SIDE_DIR, root);
    mkdir(g->temporary, 0755);
    snprintf(g->temporary, sizeof g->temporary, "%.1000s/" HDB_SIDE_DIR "/generate", root);
    nftw(g->temporary, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* of a run that was ended */
    if (ok && mkdir(g->temporary, 0700))
        ok = err_set(err, -errno, "%s: %s", g->temporary, strerror(errno));
    ok = ok && load(g, h, from, err);
    if (lock >= 0) {
        nftw(g->temporary, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        hdb_unlock(g->io, lock);
    }
    hdb_close(h);
    return ok;
}

int cli_generate(struct cli *c, int argc, char **argv)
{
    struct generate g = {
        .points = 10000, .first = 1, .days = 1, .root = "db", .reads = json_array()};
    struct err err = {0};
    char from[CIVIL_TEXT], to[CIVIL_TEXT];
    if (!options(&g, argc, argv))
        return EXIT_USAGE;
    if (!schema_make(&g.schema, TABLE_FIRST, TABLE, false, columns, PST_COUNT(columns), &err) ||
        getrandom(&g.instance, sizeof g.instance, 0) != sizeof g.instance) {
        fprintf(stderr, "penstock: %s\n", err.text);
        return EXIT_DEGRADED;
    }
    int32_t today = (int32_t)(time(NULL) / 86400) - 10957; /* days since 2000-01-01 */
    int32_t day = today - (int32_t)g.first;
    int64_t began = clock_monotonic();
    const char *name = g.root;
    bool ok = run(&g, day, &err);
    if (g.io)
        io_destroy(g.io);
    json_decref(g.reads);
    if (!ok) {
        fprintf(stderr, "penstock: hdb generate: %s\n", err.text);
        return EXIT_DEGRADED;
    }
    double seconds = (double)(clock_monotonic() - began) / 1e9;
    civil_format(day, from);
    civil_format(day + (int32_t)g.days - 1, to);
    if (c->json)
        printf("{\"database\":\"%s\",\"table\":\"" TABLE "\",\"rows\":%" PRIu64
               ",\"first\":\"%s\",\"last\":\"%s\",\"seconds\":%.3f}\n",
               name, g.rows, from, to, seconds);
    else
        printf("%s: table " TABLE ", %s rows, %s to %s, in %.1f s; penstock sql --database %s "
               "'SELECT ... FROM " TABLE "'\n",
               name, print_count((int64_t)g.rows), from, to, seconds, name);
    return EXIT_HEALTHY;
}
