/* SPDX-License-Identifier: Apache-2.0 */
/* penstock tail, penstock gaps: rows from the journal itself. */
#include "cli_buffer.h"
#include "cli_journal.h"

static int parse(struct cli *c, int argc, char **argv, struct cli_filter *f, uint64_t *n,
                 bool *follow, const char *verb)
{
    c->buffer = NULL;
    const char **word = !strcmp(verb, "gaps") ? &f->feed : &f->table;
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "-n") && i + 1 < argc) {
            char *end;
            *n = strtoull(argv[++i], &end, 10);
            if (*end || !*n || *argv[i] == '-')
                return cli_help(verb), EXIT_USAGE;
        } else if (!strcmp(argv[i], "-f") && !strcmp(verb, "tail")) {
            *follow = true;
        } else if (!strcmp(argv[i], "--sym") && i + 1 < argc && !strcmp(verb, "tail")) {
            f->sym = argv[++i];
        } else if (!strcmp(argv[i], "--buffer") && i + 1 < argc && !strcmp(verb, "tail")) {
            c->buffer = argv[++i];
            f->buffered = true;
        } else if (*argv[i] != '-' && !*word) {
            *word = argv[i];
        } else {
            return cli_help(verb), EXIT_USAGE;
        }
    }
    return EXIT_HEALTHY;
}

/* The files of an event alone. */
static int print_event(struct cli *c, const struct cli_filter *f, uint64_t n, bool follow)
{
    struct cli_journal j;
    struct buffer_paths paths;
    struct err err = {0};
    int code;
    if (!buffer_paths(c, c->buffer, &paths, &code))
        return code;
    if (paths.n && cli_journal_paths(&j, paths.path, &err)) {
        j.shown = &c->shown;
        code = cli_journal_print(&j, f, n, follow, c->json);
        cli_journal_close(&j);
    } else {
        fprintf(stderr, "penstock: %s\n", paths.n ? err.text : "its files are gone");
        code = EXIT_DEGRADED;
    }
    buffer_paths_free(&paths);
    return code;
}

static int print(struct cli *c, const struct cli_filter *f, uint64_t n, bool follow)
{
    struct cli_journal j;
    int code;
    if (!cli_journal_attach(c, &j, &code))
        return code;
    json_t *known = f->feed ? cli_call(c, "feed", json_pack("[s]", f->feed), &code) : NULL;
    if (f->feed && !known) { /* says that there is no such feed, and what was perhaps meant */
        cli_journal_close(&j);
        return code;
    }
    json_decref(known);
    if (f->table && !schema_set_find(j.cursor.dict.schemas, f->table)) {
        fprintf(stderr, "penstock: no table '%s'; penstock tables lists them\n", f->table);
        code = EXIT_USAGE;
    } else {
        code = cli_journal_print(&j, f, n, follow, c->json);
    }
    cli_journal_close(&j);
    return code;
}

int cli_tail(struct cli *c, int argc, char **argv)
{
    struct cli_filter f = {0};
    uint64_t n = 10;
    bool follow = false;
    int code = parse(c, argc, argv, &f, &n, &follow, "tail");
    return code ? code : c->buffer ? print_event(c, &f, n, follow) : print(c, &f, n, follow);
}

int cli_gaps(struct cli *c, int argc, char **argv)
{
    struct cli_filter f = {0};
    uint64_t n = 20;
    bool follow = false;
    int code = parse(c, argc, argv, &f, &n, &follow, "gaps");
    f.table = "gap";
    return code ? code : print(c, &f, n, false);
}
