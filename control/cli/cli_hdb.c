/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <ftw.h>
#include "cli_hdb.h"
#include "print.h"
#include "core/nearest.h"

static const struct verb {
    const char *name, *args, *sentence;
    int least, most; /* arguments */
    int (*run)(struct cli_hdb *a);
} verbs[] = {
    {"ls", "[DIR] [DATE]", "The dates with their rows and size; the tables of one date.", 0, 2,
     cli_hdb_ls},
    {"stat", "[TABLE]", "The tables, or the columns of one: types, since when, on how many dates.",
     0, 1, cli_hdb_stat},
    {"verify", "[--hash] [DATE [TABLE]]",
     "Checks every file; --hash also compares the rows with what was written.", 0, 2,
     cli_hdb_verify},
    {"add-column", "TABLE NAME TYPE [DEFAULT] [--dry-run]",
     "Adds a column to a table on every date; null if no default is given.", 3, 4,
     cli_hdb_add_column},
    {"drop-before", "DATE --yes [--dry-run]", "Deletes every date before DATE.", 1, 1,
     cli_hdb_drop_before},
    {"fill", "[--dry-run]", "Writes the tables that a date lacks, empty (like .Q.chk).", 0, 0,
     cli_hdb_fill},
    {"rebuild", "DATE [TABLE] [--from DIR] [--dry-run] [--supersede] --yes",
     "Makes a partition again from the log: the daemon, or with --database and --from this "
     "program.",
     0, 8, NULL},
    {"generate", "[--points N] [--first DAYS] [--days N] [--database DIR] [--seed N]",
     "Makes a database of option quotes to try things on: 10,000 of yesterday in ./db unless said "
     "otherwise.",
     0, 8, NULL},
};

static int usage(FILE *f)
{
    for (unsigned i = 0; i < PST_COUNT(verbs); i++)
        fprintf(f, "  penstock hdb %-11s %-58s %s\n", verbs[i].name, verbs[i].args,
                verbs[i].sentence);
    fprintf(f, "\n  --database DIR  its root; else that of the daemon's configuration\n");
    return f == stderr ? EXIT_USAGE : EXIT_HEALTHY;
}

int cli_hdb_fail(const struct err *err)
{
    fprintf(stderr, "penstock: %s\n", err->text);
    return err->code == -EINVAL ? EXIT_USAGE : EXIT_DEGRADED;
}

static _Thread_local uint64_t size_sum;
static int add_size(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)path, (void)f;
    if (flag == FTW_F)
        size_sum += (uint64_t)st->st_size;
    return 0;
}
uint64_t cli_hdb_size(const char *dir)
{
    size_sum = 0;
    nftw(dir, add_size, 8, FTW_PHYS);
    return size_sum;
}

/* The daemon's database, when there is a daemon and it has one. */
static int ask_daemon(struct cli_hdb *a)
{
    int code;
    json_t *r = cli_call(a->cli, "eod", json_pack("[s]", "status"), &code);
    if (!r) {
        if (code == EXIT_NO_DAEMON)
            fprintf(stderr, "penstock: without a daemon, name the database: --database DIR\n");
        return code;
    }
    const char *root = json_text(json_object_get(r, "database"), "root");
    snprintf(a->found, sizeof a->found, "%s", root);
    json_decref(r);
    if (!*a->found) {
        fprintf(stderr,
                "penstock: the daemon has no database configured; name one: --database DIR\n");
        return EXIT_USAGE;
    }
    a->database = a->found;
    return EXIT_HEALTHY;
}

static const struct verb *verb_find(const char *name)
{
    const char *names[PST_COUNT(verbs)];
    for (unsigned i = 0; i < PST_COUNT(verbs); i++) {
        names[i] = verbs[i].name;
        if (!strcmp(name, names[i]))
            return &verbs[i];
    }
    const char *near = nearest_word(name, names, PST_COUNT(verbs));
    fprintf(stderr, "penstock: hdb has no verb '%s'%s%s%s\n", name, near ? ", did you mean " : "",
            near ? near : "", near ? "?" : "");
    return NULL;
}

static bool options(struct cli_hdb *a, const struct verb *v, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--database") && i + 1 < argc) {
            a->database = argv[++i];
        } else if (!strcmp(argv[i], "--dry-run")) {
            a->dry_run = true;
        } else if (!strcmp(argv[i], "--yes")) {
            a->yes = true;
        } else if (!strcmp(argv[i], "--hash") && v->run == cli_hdb_verify) {
            a->hash = true;
        } else if (!strncmp(argv[i], "--", 2) || a->argc == v->most) {
            fprintf(stderr, "penstock: hdb %s %s: what is '%s'?\n", v->name, v->args, argv[i]);
            return false;
        } else {
            a->argv[a->argc++] = argv[i];
        }
    }
    if (a->argc < v->least)
        fprintf(stderr, "penstock: hdb %s %s\n", v->name, v->args);
    return a->argc >= v->least;
}

int cli_hdb(struct cli *c, int argc, char **argv)
{
    struct cli_hdb a = {.cli = c};
    struct err err = {0};
    int32_t date;
    if (!argc || !strcmp(argv[0], "help"))
        return usage(argc ? stdout : stderr);
    const struct verb *v = verb_find(argv[0]);
    if (!v)
        return usage(stderr);
    if (!v->run)
        return !strcmp(v->name, "generate") ? cli_generate(c, argc - 1, argv + 1)
                                            : cli_rebuild(c, argc - 1, argv + 1);
    if (!options(&a, v, argc - 1, argv + 1))
        return EXIT_USAGE;
    if (v->run == cli_hdb_ls && a.argc && !civil_parse(a.argv[0], &date)) { /* ls DIR [DATE] */
        if (a.database) {
            fprintf(stderr, "penstock: hdb ls: '%s' is no date\n", a.argv[0]);
            return EXIT_USAGE;
        }
        a.database = a.argv[0];
        a.argv[0] = a.argv[1];
        a.argc--;
    }
    int code = a.database ? EXIT_HEALTHY : ask_daemon(&a);
    if (code)
        return code;
    a.hdb = hdb_open(a.database, &err);
    if (!a.hdb)
        return cli_hdb_fail(&err);
    code = v->run(&a);
    hdb_close(a.hdb);
    return code;
}
