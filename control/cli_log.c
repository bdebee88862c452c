/* SPDX-License-Identifier: Apache-2.0 */
/* penstock log ls|verify|dump: the files themselves, with or without a daemon. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include "cli_journal.h"
#include "cli_print.h"
#include "core/civil.h"
#include "storage/logscan.h"
#include "storage/render.h"

#define LOG_FILES 4096

struct files {
    char *path[LOG_FILES];
    unsigned n;
};

static int by_path(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One file, or every log file of a directory. */
static bool find_files(struct files *fs, const char *path, const char *prefix)
{
    struct stat st;
    fs->n = 0;
    if (stat(path, &st)) {
        fprintf(stderr, "penstock: %s: %s\n", path, strerror(errno));
        return false;
    }
    if (!S_ISDIR(st.st_mode)) {
        fs->path[fs->n++] = strdup(path);
        return true;
    }
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d)) && fs->n < LOG_FILES) {
        struct log_name name;
        char full[4096 + 260];
        if (!log_name_parse(&name, prefix, e->d_name))
            continue;
        snprintf(full, sizeof full, "%.4000s/%s", path, e->d_name);
        fs->path[fs->n++] = strdup(full);
    }
    if (d)
        closedir(d);
    qsort(fs->path, fs->n, sizeof fs->path[0], by_path);
    if (!fs->n)
        fprintf(stderr, "penstock: %s holds no file named %sYYYY.MM.DD\n", path, prefix);
    return fs->n > 0;
}

static void free_files(struct files *fs)
{
    for (unsigned i = 0; i < fs->n; i++)
        free(fs->path[i]);
}

static const char *base(const char *path)
{
    const char *s = strrchr(path, '/');
    return s ? s + 1 : path;
}

static int log_ls(struct cli *c, const struct files *fs, struct io *io, bool json)
{
    static const char *const head[] = {"file",  "day",   "stream", ">first",
                                       ">last", ">size", "state",  "written"};
    struct print_table t;
    json_t *all = json_array();
    int code = EXIT_HEALTHY;
    print_table_begin(&t, PST_COUNT(head), head);
    for (unsigned i = 0; i < fs->n; i++) {
        struct logscan s;
        struct err err;
        if (!logscan_open(&s, io, fs->path[i], 0, &err)) {
            fprintf(stderr, "penstock: %s\n", err.text);
            code = EXIT_DEGRADED;
            continue;
        }
        char day[CIVIL_TEXT], stamp[CIVIL_STAMP_TEXT];
        int64_t last = s.header.created;
        logscan_tail(&s);
        enum logscan_verdict v = logscan_to_end(&s, &last);
        const char *state = v == LOGSCAN_CLEAN ? "closed"
                            : v == LOGSCAN_END ? "open"
                                               : logscan_verdict_name(v);
        civil_format(s.header.day, day);
        civil_format_stamp(time_shown(&c->shown, last), stamp);
        json_array_append_new(
            all, json_pack("{s:s,s:s,s:i,s:I,s:I,s:I,s:s,s:s,s:b}", "file", fs->path[i], "day", day,
                           "stream", (int)s.header.stream, "first", (json_int_t)s.header.first,
                           "last", (json_int_t)s.position, "size", (json_int_t)s.size, "state",
                           state, "written", stamp, "spilled", s.header.spilled));
        char stream[8];
        snprintf(stream, sizeof stream, "%u", s.header.stream);
        print_table_row(&t, base(fs->path[i]), day, stream, print_count((int64_t)s.header.first),
                        print_count((int64_t)s.position), print_bytes((int64_t)s.size), state,
                        stamp);
        logscan_close(&s);
    }
    if (json) {
        print_table_free(&t);
        json_dumpf(all, stdout, JSON_INDENT(1));
        printf("\n");
    } else {
        print_table_end(&t);
    }
    json_decref(all);
    return code;
}

/* Every byte of every file. A torn tail of a live or crashed file is told, not counted as damage.
 */
static int log_verify(const struct files *fs, struct io *io, bool json)
{
    json_t *all = json_array();
    int code = EXIT_HEALTHY;
    for (unsigned i = 0; i < fs->n; i++) {
        struct logscan s;
        struct err err;
        if (!logscan_open(&s, io, fs->path[i], 0, &err)) {
            fprintf(stderr, "penstock: %s\n", err.text);
            code = EXIT_DEGRADED;
            continue;
        }
        json_t *damage = json_array();
        const struct frame *f;
        enum logscan_verdict v;
        while ((v = logscan_step(&s, &f, UINT64_MAX)) == LOGSCAN_FRAME || v == LOGSCAN_DAMAGE)
            if (v == LOGSCAN_DAMAGE) {
                json_array_append_new(damage,
                                      json_pack("{s:I,s:I,s:b}", "from", (json_int_t)s.bad_from,
                                                "to", (json_int_t)s.bad_to, "hole", s.hole));
                if (!json)
                    printf("%s: bytes %s to %s are %s; positions from %s on are missing until %s\n",
                           base(fs->path[i]), print_count((int64_t)s.bad_from),
                           print_count((int64_t)s.bad_to),
                           s.hole ? "a hole (never written)" : "damaged",
                           print_count((int64_t)s.before), "the next frame");
            }
        bool bad = json_array_size(damage) || v == LOGSCAN_ERROR;
        if (bad)
            code = EXIT_DEGRADED;
        if (!json)
            printf("%s: %s frames, %s, %s%s%s\n", base(fs->path[i]), print_count((int64_t)s.frames),
                   print_bytes((int64_t)s.bytes),
                   v == LOGSCAN_CLEAN  ? "clean end"
                   : v == LOGSCAN_END  ? "open end (live, or stopped without a clean end)"
                   : v == LOGSCAN_TORN ? "torn tail (a write was under way)"
                                       : "cannot be read",
                   bad ? "  DAMAGED" : "", s.gave_up ? "  (search cut short)" : "");
        json_array_append_new(all, json_pack("{s:s,s:I,s:I,s:s,s:o}", "file", fs->path[i], "frames",
                                             (json_int_t)s.frames, "bytes", (json_int_t)s.bytes,
                                             "end", logscan_verdict_name(v), "damage", damage));
        logscan_close(&s);
    }
    if (json) {
        json_dumpf(all, stdout, JSON_INDENT(1));
        printf("\n");
    }
    json_decref(all);
    return code;
}

static void write_out(struct render *r)
{
    size_t len;
    const char *t = render_take(r, &len);
    fwrite(t, 1, len, stdout);
}

static void dump_frame(struct render *r, struct dictionary *d, const struct frame *f,
                       const char *table, bool marks)
{
    if (f->kind == FRAME_MARK ? marks : f->kind == FRAME_DATA || f->kind == FRAME_GAP)
        render_frame(r, d, f, table, PST_NULL_SYMBOL);
    if (r->len > 1 << 20)
        write_out(r);
}

/* One file as it lies; a directory merged by position, as every reader sees it. */
static int log_dump(struct cli *c, const char *path, const char *prefix, const char *table,
                    bool marks, enum render_format format)
{
    struct stat st;
    struct err err = {0};
    struct render r;
    const struct frame *f;
    int code = EXIT_HEALTHY;
    render_init(&r, format);
    r.header = format != RENDER_JSON;
    r.shown = &c->shown;
    if (!stat(path, &st) && S_ISDIR(st.st_mode)) {
        struct cli_journal j;
        if (!cli_journal_files(&j, path, prefix, &err)) {
            fprintf(stderr, "penstock: %s\n", err.text);
            return EXIT_DEGRADED;
        }
        enum cursor_verdict v;
        while ((v = cursor_next(&j.cursor, &f)) == CURSOR_FRAME || v == CURSOR_LOST ||
               v == CURSOR_REWOUND)
            if (v == CURSOR_FRAME)
                dump_frame(&r, &j.cursor.dict, f, table, marks);
            else if (v == CURSOR_LOST)
                fprintf(stderr, "penstock: positions %llu to %llu stand in no file\n",
                        (unsigned long long)j.cursor.lost_from,
                        (unsigned long long)j.cursor.lost_to);
        if (v == CURSOR_ERROR) {
            fprintf(stderr, "penstock: %s\n", j.cursor.err.text);
            code = EXIT_DEGRADED;
        }
        render_flush(&r);
        write_out(&r);
        cli_journal_close(&j);
    } else {
        struct io *io = io_posix_create(&err);
        struct logscan s;
        struct dictionary d;
        if (!io || !dictionary_init(&d, &err) || !logscan_open(&s, io, path, 0, &err)) {
            fprintf(stderr, "penstock: %s\n", err.text);
            return EXIT_DEGRADED;
        }
        enum logscan_verdict v;
        while ((v = logscan_step(&s, &f, UINT64_MAX)) == LOGSCAN_FRAME || v == LOGSCAN_DAMAGE) {
            if (v == LOGSCAN_DAMAGE) {
                fprintf(stderr, "penstock: %s: bytes %llu to %llu are damaged\n", path,
                        (unsigned long long)s.bad_from, (unsigned long long)s.bad_to);
                code = EXIT_DEGRADED;
                continue;
            }
            dictionary_feed(&d, f);
            dump_frame(&r, &d, f, table, marks);
        }
        render_flush(&r);
        write_out(&r);
        logscan_close(&s);
        dictionary_free(&d);
        io_destroy(io);
    }
    render_free(&r);
    return code;
}

int cli_log(struct cli *c, int argc, char **argv)
{
    const char *verb = argc ? argv[0] : NULL, *path = NULL, *table = NULL, *prefix = "log";
    bool marks = false, csv = false;
    static char from_daemon[CURSOR_PATH], daemon_prefix[64];
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--marks"))
            marks = true;
        else if (!strcmp(argv[i], "--csv"))
            csv = true;
        else if (!strcmp(argv[i], "--prefix") && i + 1 < argc)
            prefix = argv[++i];
        else if (*argv[i] == '-')
            verb = NULL;
        else if (!path)
            path = argv[i];
        else if (!table)
            table = argv[i];
        else
            verb = NULL;
    }
    if (!verb || (strcmp(verb, "ls") && strcmp(verb, "verify") && strcmp(verb, "dump"))) {
        cli_help("log");
        return EXIT_USAGE;
    }
    if (!path) { /* the daemon's own log */
        int code;
        json_t *r = cli_attach(c, &code);
        if (!r)
            return code;
        snprintf(from_daemon, sizeof from_daemon, "%s", json_text(r, "log_directory"));
        snprintf(daemon_prefix, sizeof daemon_prefix, "%s", json_text(r, "log_prefix"));
        path = from_daemon;
        prefix = daemon_prefix;
        bool known = cli_shown(c, r);
        json_decref(r);
        if (!known)
            return EXIT_USAGE;
    } else if (!cli_shown(c, NULL)) {
        return EXIT_USAGE;
    }
    if (!strcmp(verb, "dump"))
        return log_dump(c, path, prefix, table, marks,
                        c->json ? RENDER_JSON
                        : csv   ? RENDER_CSV
                                : RENDER_TEXT);
    struct files fs;
    struct err err;
    struct io *io = io_posix_create(&err);
    if (!io || !find_files(&fs, path, prefix)) {
        io_destroy(io);
        return EXIT_USAGE;
    }
    int code = !strcmp(verb, "ls") ? log_ls(c, &fs, io, c->json) : log_verify(&fs, io, c->json);
    free_files(&fs);
    io_destroy(io);
    return code;
}
