/* SPDX-License-Identifier: Apache-2.0 */
/* penstock log VERB: arguments, finding and opening files. */
#include "cli_log.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include "cli_journal.h"
#include "cli_kdb.h"
#include "print.h"
#include "csv.h"

/* ---- files ---- */

const char *log_base(const char *path)
{
    const char *s = strrchr(path, '/');
    return s ? s + 1 : path;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add(struct log_files *fs, const char *path)
{
    if (fs->n == fs->room) {
        fs->room = fs->room ? 2 * fs->room : 64;
        fs->path = realloc(fs->path, fs->room * sizeof *fs->path);
        pst_must(fs->path);
    }
    fs->path[fs->n] = strdup(path);
    pst_must(fs->path[fs->n]);
    fs->n++;
}

static bool add_directory(struct log_files *fs, const char *path, const char *prefix)
{
    unsigned before = fs->n;
    DIR *d = opendir(path);
    struct dirent *e;
    if (!d) {
        fprintf(stderr, "penstock: %s: %s\n", path, strerror(errno));
        return false;
    }
    while ((e = readdir(d))) {
        struct log_name name;
        char full[4096 + 260];
        if (!log_name_parse(&name, prefix, e->d_name))
            continue;
        snprintf(full, sizeof full, "%.4000s/%s", path, e->d_name);
        add(fs, full);
    }
    closedir(d);
    qsort(fs->path + before, fs->n - before, sizeof fs->path[0], by_path);
    return true;
}

static void find_instance(struct log_files *fs, struct io *io)
{
    uint8_t *buf = aligned_alloc(LOG_BLOCK, LOG_PREAMBLE);
    int64_t newest = INT64_MIN;
    pst_must(buf);
    for (unsigned i = 0; i < fs->n; i++) {
        struct log_file_header h;
        size_t n;
        int v = logscan_header(io, fs->path[i], 0, buf, &n, &h);
        if ((v == LOG_HEADER_OK || v == LOG_HEADER_ONE_COPY) && h.created >= newest) {
            newest = h.created;
            fs->instance = h.instance;
        }
    }
    free(buf);
}

bool log_files_find(struct log_files *fs, const struct log_where *w, struct io *io)
{
    memset(fs, 0, sizeof *fs);
    if (w->directory) {
        for (unsigned i = 0; i < LOG_DIRS && w->path[i]; i++)
            if (!add_directory(fs, w->path[i], w->prefix) && !i)
                return false;
        if (!fs->n)
            fprintf(stderr, "penstock: %s holds no file named %sYYYY.MM.DD\n", w->path[0],
                    w->prefix);
    } else {
        add(fs, w->path[0]);
    }
    find_instance(fs, io);
    return fs->n > 0;
}

void log_files_free(struct log_files *fs)
{
    for (unsigned i = 0; i < fs->n; i++)
        free(fs->path[i]);
    free(fs->path);
    memset(fs, 0, sizeof *fs);
}

const char *log_opened_name(enum log_opened o)
{
    static const char *const names[] = {"sound",     "one copy", "foreign",   "fresh",
                                        "no header", "newer",    "unreadable"};
    return names[o];
}

enum log_opened log_file_open(struct logscan *s, struct io *io, const struct log_files *fs,
                              const char *path, struct err *text)
{
    if (logscan_open(s, io, path, fs->instance, text))
        return s->header_verdict == LOG_HEADER_ONE_COPY ? LOG_IS_HEALED : LOG_IS_SOUND;
    if (text->code == -EPROTO)
        return LOG_IS_NEWER;
    if (text->code != -EBADMSG)
        return LOG_UNREADABLE;
    struct log_file_header h;
    size_t n;
    uint8_t *buf = aligned_alloc(LOG_BLOCK, LOG_PREAMBLE);
    pst_must(buf);
    int v = logscan_header(io, path, 0, buf, &n, &h);
    bool begun = false;
    for (size_t i = 0; i < n && !begun; i++)
        begun = buf[i] != 0;
    free(buf);
    if (v == LOG_HEADER_OK || v == LOG_HEADER_ONE_COPY) {
        fprintf(stderr, "penstock: %s: belongs to another instance (%016llx)\n", path,
                (unsigned long long)h.instance);
        return logscan_open(s, io, path, 0, text) ? LOG_IS_FOREIGN : LOG_UNREADABLE;
    }
    if (!begun)
        return LOG_IS_FRESH;
    err_set(text, -EBADMSG, "%s: no log file, or both copies of its header are damaged", path);
    return LOG_NO_HEADER;
}

/* ---- arguments ---- */

static bool kinds_of(const char *list, uint32_t *kinds)
{
    static const char *const names[] = {"data", "symbol", "schema", "mark", "gap", "pad", "file"};
    *kinds = 0;
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ",");
        unsigned i = 0;
        while (i < PST_COUNT(names) && (strlen(names[i]) != n || memcmp(names[i], p, n)))
            i++;
        if (i == PST_COUNT(names)) {
            fprintf(stderr,
                    "penstock: '%.*s' is no kind of frame: data, symbol, schema, mark, gap, pad, "
                    "file\n",
                    (int)n, p);
            return false;
        }
        *kinds |= 1u << (i + FRAME_DATA);
        p += n + (p[n] == ',');
    }
    return *kinds != 0;
}

/* A position (digits) or a time. */
static bool bound(const char *text, uint64_t *position, int64_t *time)
{
    size_t n = strlen(text), digits = strspn(text, "0123456789,");
    if (n && digits == n && !strchr(text, '.')) {
        *position = 0;
        for (const char *p = text; *p; p++)
            if (*p != ',')
                *position = *position * 10 + (uint64_t)(*p - '0');
        return true;
    }
    if (csv_timestamp(text, n, time))
        return true;
    fprintf(stderr, "penstock: '%s' is neither a position nor a time (2026-11-23T09:30:00, UTC)\n",
            text);
    return false;
}

struct log_args {
    const char *verb, *path, *prefix;
    struct log_dump dump;
    bool yes;
};

static bool arguments(struct log_args *a, int argc, char **argv)
{
    bool marks = false, kinds = false;
    *a = (struct log_args){.verb = argc ? argv[0] : NULL,
                           .prefix = "log",
                           .dump = {.to = UINT64_MAX, .since = INT64_MIN, .until = INT64_MAX}};
    for (int i = 1; i < argc && a->verb; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--marks"))
            marks = true;
        else if (!strcmp(argv[i], "--csv"))
            a->dump.csv = true;
        else if (!strcmp(argv[i], "--buffered"))
            a->dump.buffered = true;
        else if (!strcmp(argv[i], "--yes"))
            a->yes = true;
        else if (!strcmp(argv[i], "--prefix") && more)
            a->prefix = argv[++i];
        else if (!strcmp(argv[i], "--kind") && more) {
            kinds = true;
            if (!kinds_of(argv[++i], &a->dump.kinds))
                return false;
        } else if (!strcmp(argv[i], "--from") && more) {
            if (!bound(argv[++i], &a->dump.from, &a->dump.since))
                return false;
        } else if (!strcmp(argv[i], "--to") && more) {
            if (!bound(argv[++i], &a->dump.to, &a->dump.until))
                return false;
        } else if (*argv[i] == '-')
            a->verb = NULL;
        else if (!a->path)
            a->path = argv[i];
        else if (!a->dump.table)
            a->dump.table = argv[i];
        else
            a->verb = NULL;
    }
    if (!kinds)
        a->dump.kinds = 1u << FRAME_DATA | 1u << FRAME_GAP;
    if (marks)
        a->dump.kinds |= 1u << FRAME_MARK;
    static const char *const verbs[] = {"ls", "verify", "stat", "dump", "repair"};
    for (unsigned i = 0; a->verb && i < PST_COUNT(verbs); i++)
        if (!strcmp(a->verb, verbs[i]))
            return true;
    cli_help("log");
    return false;
}

/* The daemon's own directories. */
static bool of_daemon(struct cli *c, struct log_where *w, int *code)
{
    static char dir[LOG_DIRS][CURSOR_PATH], prefix[64];
    json_t *r = cli_attach(c, code);
    if (!r)
        return false;
    snprintf(dir[0], sizeof dir[0], "%s", json_text(r, "log_directory"));
    snprintf(dir[1], sizeof dir[1], "%s", json_text(r, "spill_directory"));
    snprintf(prefix, sizeof prefix, "%s", json_text(r, "log_prefix"));
    *w = (struct log_where){{dir[0], *dir[1] ? dir[1] : NULL}, prefix, true, 0};
    if (!*json_text(r, "log_streamer")) /* whose files these are, and how far, is not ours to say */
        w->to = (uint64_t)json_long(r, "written");
    bool known = cli_shown(c, r);
    json_decref(r);
    *code = EXIT_USAGE;
    return known;
}

int cli_log(struct cli *c, int argc, char **argv)
{
    struct log_args a;
    struct log_where w;
    struct log_files fs;
    struct stat st;
    struct err err;
    int code = EXIT_USAGE;
    if (argc && !strcmp(argv[0], "export"))
        return cli_log_export(c, argc - 1, argv + 1);
    if (argc && !strcmp(argv[0], "import"))
        return cli_log_import(c, argc - 1, argv + 1);
    if (!arguments(&a, argc, argv))
        return EXIT_USAGE;
    if (!a.path) {
        if (!strcmp(a.verb, "repair")) {
            fprintf(stderr, "penstock: log repair wants a file or directory: the log of a running "
                            "daemon repairs itself at its start\n");
            return EXIT_USAGE;
        }
        if (!of_daemon(c, &w, &code))
            return code;
    } else {
        if (!cli_shown(c, NULL))
            return EXIT_USAGE;
        if (stat(a.path, &st)) {
            fprintf(stderr, "penstock: %s: %s\n", a.path, strerror(errno));
            return EXIT_USAGE;
        }
        w = (struct log_where){{a.path, NULL}, a.prefix, S_ISDIR(st.st_mode), 0};
    }
    if (!strcmp(a.verb, "dump")) {
        /* what several files of a live log have beyond may be in one of them and not yet in another */
        if (w.to && w.to < a.dump.to)
            a.dump.to = w.to;
        return log_dump(c, &w, &a.dump);
    }
    struct io *io = io_posix_create(&err);
    if (!io || !log_files_find(&fs, &w, io)) {
        io_destroy(io);
        return EXIT_USAGE;
    }
    code = !strcmp(a.verb, "ls")       ? log_ls(c, &fs, io)
           : !strcmp(a.verb, "verify") ? log_verify(c, &fs, &w, io)
           : !strcmp(a.verb, "stat")   ? log_stat(c, &fs, io)
                                       : log_repair(c, &fs, &w, io, a.yes);
    log_files_free(&fs);
    io_destroy(io);
    return code;
}
