/* SPDX-License-Identifier: Apache-2.0 */
/* The shell of penstock sql: line editing and history by libedit. */
#include <editline/readline.h>
#include <ctype.h>
#include <unistd.h>
#include "cli_sql.h"
#include "core/clock.h"

#define STATEMENT_MAX (48u * 1024)
#define HISTORY       1000

static void history_path(char *path, size_t cap)
{
    const char *home = getenv("HOME");
    snprintf(path, cap, "%s/.penstock_history", home ? home : "");
    if (!home)
        *path = 0;
}

/* Does the text end a statement: a ';' behind all quotes and comments? */
static bool complete(const char *s)
{
    char quote = 0;
    bool ended = false;
    for (; *s; s++) {
        if (quote) {
            quote = *s == quote ? 0 : quote;
        } else if (*s == '\'' || *s == '"') {
            quote = *s;
            ended = false;
        } else if (s[0] == '-' && s[1] == '-') {
            while (s[1] && s[1] != '\n')
                s++;
        } else if (*s == ';') {
            ended = true;
        } else if (!isspace((unsigned char)*s)) {
            ended = false;
        }
    }
    return ended && !quote;
}

static int help(void)
{
    printf("a statement ends with ; and may take several lines\n"
           "\\t table  \\c csv  \\j json  \\iso on/off  \\e explain on/off  \\q quit (or ^D)\n"
           "SHOW TABLES;  DESCRIBE TABLE;\n");
    return 0;
}

/* True: the shell ends. */
static bool command(struct sql_options *o, const char *line)
{
    if (!strcmp(line, "\\q"))
        return true;
    if (!strcmp(line, "\\t"))
        o->format = SQL_TABLE;
    else if (!strcmp(line, "\\c"))
        o->format = SQL_CSV;
    else if (!strcmp(line, "\\j"))
        o->format = SQL_JSON;
    else if (!strcmp(line, "\\iso"))
        o->iso = !o->iso;
    else if (!strcmp(line, "\\e"))
        o->explain = !o->explain;
    else
        help();
    return false;
}

int sql_shell(struct cli *c, struct sql_options *o)
{
    char path[1024], *statement = calloc(1, STATEMENT_MAX);
    size_t len = 0;
    int code = EXIT_HEALTHY;
    if (!statement)
        return EXIT_DEGRADED;
    rl_initialize();
    using_history();
    stifle_history(HISTORY);
    history_path(path, sizeof path);
    read_history(path);
    printf("penstock %s; \\h helps, \\q quits\n", PST_VERSION);
    for (;;) {
        char *line = readline(len ? "   -> " : "sql> ");
        if (!line)
            break;
        size_t n = strlen(line);
        if (!len && *line == '\\') {
            bool quit = command(o, line);
            free(line);
            if (quit)
                break;
            continue;
        }
        if (len + n + 2 > STATEMENT_MAX) {
            fprintf(stderr, "penstock: a statement has at most %u bytes\n", STATEMENT_MAX - 2);
            len = 0;
        } else if (n || len) {
            memcpy(statement + len, line, n);
            statement[len + n] = '\n';
            len += n + 1;
            statement[len] = 0;
        }
        free(line);
        if (!len || !complete(statement))
            continue;
        statement[len - 1] = 0;
        char one[STATEMENT_MAX < 4096 ? STATEMENT_MAX : 4096];
        snprintf(one, sizeof one, "%s", statement);
        for (char *p = one; *p; p++)
            *p = *p == '\n' ? ' ' : *p;
        add_history(one);
        code = sql_one(c, o, statement);
        len = 0;
        *statement = 0;
    }
    printf("\n");
    if (*path && write_history(path))
        fprintf(stderr, "penstock: %s cannot be written\n", path);
    free(statement);
    return code;
}
