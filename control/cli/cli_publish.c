/* SPDX-License-Identifier: Apache-2.0 */
/* penstock publish TABLE FILE|- : CSV in batches that fit one request, each acknowledged. */
#include <errno.h>
#include "cli.h"
#include "print.h"
#include "core/clock.h"
#include "csv.h"

#define BATCH 24000u /* bytes of CSV: JSON escapes at worst double them, a request takes 64 KiB */

struct batch {
    char *text;
    size_t len;
    int64_t line, rows;
    bool only_header; /* no row came: the header is checked all the same */
};

static bool send(struct cli *c, const char *table, const char *header, const char *level,
                 struct batch *b, int64_t *total, int *code)
{
    if (!b->len && (*total || !b->only_header))
        return true;
    b->text[b->len] = 0;
    json_t *o = json_pack("{s:s,s:s,s:s,s:I}", "header", header, "rows", b->text, "level", level,
                          "line", (json_int_t)b->line);
    if (!o) {
        fprintf(stderr, "penstock: lines from %lld on are not UTF-8 text\n", (long long)b->line);
        *code = EXIT_USAGE;
        return false;
    }
    json_t *r = cli_call(c, "publish", json_pack("[s,o]", table, o), code);
    if (!r)
        return false;
    *total += json_long(r, "rows");
    json_decref(r);
    b->line += b->rows;
    b->len = 0;
    b->rows = 0;
    return true;
}

int cli_publish(struct cli *c, int argc, char **argv)
{
    const char *table = NULL, *file = NULL, *level = "durable";
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--level") && i + 1 < argc)
            level = argv[++i];
        else if (!table)
            table = argv[i];
        else if (!file)
            file = argv[i];
        else
            return cli_help("publish"), EXIT_USAGE;
    }
    if (!file) {
        cli_help("publish");
        return EXIT_USAGE;
    }
    FILE *f = strcmp(file, "-") ? fopen(file, "r") : stdin;
    if (!f) {
        fprintf(stderr, "penstock: %s: %s\n", file, strerror(errno));
        return EXIT_USAGE;
    }
    char *line = NULL, *header = NULL;
    size_t cap = 0;
    ssize_t n;
    struct batch b = {.text = malloc(BATCH + 65536 + 2), .line = 2};
    int64_t total = 0, start = clock_monotonic();
    int code = EXIT_HEALTHY;
    bool ok = b.text != NULL;
    while (ok && (n = getline(&line, &cap, f)) > 0) {
        if (memchr(line, 0, (size_t)n)) {
            fprintf(stderr, "penstock: line %lld holds a NUL byte\n", (long long)(b.line + b.rows));
            code = EXIT_USAGE;
            ok = false;
            break;
        }
        if (!header) {
            size_t next;
            size_t end = csv_line(line, (size_t)n, &next);
            header = strndup(line, end);
            continue;
        }
        if (b.len + (size_t)n > BATCH && !(ok = send(c, table, header, level, &b, &total, &code)))
            break;
        if ((size_t)n > BATCH) {
            fprintf(stderr, "penstock: line %lld is longer than %u bytes\n",
                    (long long)(b.line + b.rows), BATCH);
            code = EXIT_USAGE;
            ok = false;
            break;
        }
        memcpy(b.text + b.len, line, (size_t)n);
        b.len += (size_t)n;
        b.rows++;
    }
    b.only_header = true;
    ok = ok && (!header || send(c, table, header, level, &b, &total, &code));
    if (!header && ok) {
        fprintf(stderr, "penstock: %s is empty; the first line names the columns\n", file);
        code = EXIT_USAGE;
    }
    double seconds = (double)(clock_monotonic() - start) / 1e9;
    if (!ok && !total && !c->json)
        ;
    else if (c->json)
        printf("{\"table\":\"%s\",\"rows\":%lld,\"level\":\"%s\",\"complete\":%s}\n", table,
               (long long)total, level, ok ? "true" : "false");
    else
        printf("%s rows of %s are %s (%.2f s)%s\n", print_count(total), table, level, seconds,
               ok ? "" : "; stopped at the error above");
    free(line);
    free(header);
    free(b.text);
    if (f != stdin)
        fclose(f);
    return code;
}
