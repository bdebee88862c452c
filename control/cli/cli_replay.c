/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock replay FILE… --to INSTANCE: the rows of log files into a running daemon, in their order,
 * each once however often it is begun.
 */
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "append_client.h"
#include "cli.h"
#include "print.h"
#include "core/civil.h"
#include "core/clock.h"
#include "core/crc.h"
#include "core/days.h"
#include "core/nearest.h"
#include "replay_rows.h"
#include "storage/cursor.h"

#define WORDS 256
#define TRIES 10

struct words { /* a list "a,b,c" */
    char *text;
    const char *at[WORDS + 1];
    unsigned n;
};

struct bound { /* --from, --until: a position or a time */
    bool given, is_time;
    uint64_t position;
    int64_t time;
    const char *text;
};

struct job {
    struct cli *cli;
    const char *path[WORDS + 1];
    unsigned paths;
    const char *to, *source, *prefix;
    char socket[256], name[SOURCE_NAME_MAX + 1];
    double speed; /* 0 = as fast as possible */
    struct bound from, until;
    struct words tables, syms;
    bool marks, again, quiet, directory, derive;
    struct io *io;
    struct cursor cursor;
    struct append_client append;
    struct replay_rows rows;
    uint64_t begin, end;                         /* positions of the log */
    uint64_t lost;                               /* bytes in no file */
    uint64_t taken, late, there;                 /* rows, of connections before this one */
    int64_t started, told, first_time, first_at; /* pacing: journal and wall time of its begin */
    unsigned ended, not_ended;                   /* end-of-day marks */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

/* ---- arguments ---- */

static bool split(struct words *w, const char *text)
{
    w->text = strdup(text);
    for (char *at = w->text, *word; w->text && (word = strsep(&at, ",")) && w->n < WORDS;)
        if (*word)
            w->at[w->n++] = word;
    return w->n > 0;
}

/* A position, or a UTC time: 2026.11.22, 2026.11.22D14:30:00, …14:30:00.123456789 */
static bool bound(struct bound *b, const char *text)
{
    char day[CIVIL_TEXT];
    int32_t days;
    char *end;
    *b = (struct bound){.given = true, .text = text};
    if (strlen(text) < 10 || (text[4] != '.' && text[4] != '-')) {
        b->position = strtoull(text, &end, 10);
        return *text >= '0' && *text <= '9' && !*end;
    }
    snprintf(day, sizeof day, "%.10s", text);
    if (!civil_parse(day, &days))
        return false;
    b->is_time = true;
    b->time = (int64_t)days * NS_PER_DAY;
    text += 10;
    if (!*text)
        return true;
    unsigned h, m, s;
    int n = 0;
    if ((*text != 'D' && *text != 'T' && *text != ' ') ||
        sscanf(text + 1, "%2u:%2u:%2u%n", &h, &m, &s, &n) != 3 || h > 23 || m > 59 || s > 59)
        return false;
    b->time += ((int64_t)h * 3600 + m * 60 + s) * NS_PER_S;
    text += 1 + n;
    if (*text == '.') {
        int64_t unit = NS_PER_S / 10;
        for (text++; *text >= '0' && *text <= '9'; text++, unit /= 10)
            b->time += (*text - '0') * unit;
    }
    return !*text || !strcmp(text, "Z");
}

static int usage(const char *what, const char *arg)
{
    if (what)
        fprintf(stderr, "penstock: replay: %s '%s'\n", what, arg);
    else
        cli_help("replay");
    return EXIT_USAGE;
}

static int parse(struct job *j, int argc, char **argv)
{
    j->prefix = "log";
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        char *end;
        if (*a != '-') {
            if (j->paths == WORDS)
                return usage("too many files, give their directory instead of", a);
            j->path[j->paths++] = a;
            continue;
        }
        if (!strcmp(a, "--marks")) {
            j->marks = true;
            continue;
        }
        if (!strcmp(a, "--derive")) {
            j->derive = true;
            continue;
        }
        if (!strcmp(a, "--yes")) {
            j->again = true;
            continue;
        }
        if (!strcmp(a, "--quiet")) {
            j->quiet = true;
            continue;
        }
        if (!v)
            return usage("nothing stands behind", a);
        i++;
        if (!strcmp(a, "--to")) {
            j->to = v;
        } else if (!strcmp(a, "--source")) {
            if (!source_name(v, strlen(v)))
                return usage("a source's name has 1 to 64 letters, digits and . _ - : / @, not", v);
            j->source = v;
        } else if (!strcmp(a, "--prefix")) {
            j->prefix = v;
        } else if (!strcmp(a, "--speed")) {
            j->speed = strcmp(v, "max") ? strtod(v, &end) : 0;
            if (strcmp(v, "max") && (*end || !(j->speed > 0) || j->speed > 1e9))
                return usage("--speed is max or a positive number, not", v);
        } else if (!strcmp(a, "--from")) {
            if (!bound(&j->from, v))
                return usage("--from is a position or a UTC time like 2026.11.22D14:30:00, not", v);
        } else if (!strcmp(a, "--until")) {
            if (!bound(&j->until, v))
                return usage("--until is a position or a UTC time like 2026.11.22D14:30:00, not",
                             v);
        } else if (!strcmp(a, "--tables")) {
            if (!split(&j->tables, v))
                return usage("no table in", v);
        } else if (!strcmp(a, "--sym")) {
            if (!split(&j->syms, v))
                return usage("no symbol in", v);
        } else {
            return usage("unknown option", a);
        }
    }
    return j->paths ? EXIT_HEALTHY : usage(NULL, NULL);
}

/* A socket's path, or an instance's name: beside the socket we would use else. */
static void socket_of(struct job *j)
{
    if (j->to)
        client_socket_of(j->to, j->cli->socket, j->socket, sizeof j->socket);
    else
        snprintf(j->socket, sizeof j->socket, "%s", j->cli->socket);
}

/* ---- the log ---- */

static int failed(const struct err *err)
{
    fprintf(stderr, "penstock: replay: %s\n", err->text);
    return err->code == -ENOENT || err->code == -EINVAL        ? EXIT_USAGE
           : err->code == -EPIPE || err->code == -ECONNREFUSED ? EXIT_NO_DAEMON
                                                               : EXIT_DEGRADED;
}

/* Is each table of --tables in the log? Its end tells, for tables are repeated in the heads of
 * files; `all`: every frame is asked. */
static bool tables_known(const struct job *j, struct cursor_config cc, bool all, struct err *err)
{
    static const char *names[TABLE_MAX];
    struct cursor c;
    const struct frame *f;
    unsigned n = 0;
    bool ok = true;
    if (!j->tables.n)
        return true;
    cc.headers_only = true;
    if (!cursor_open(&c, &cc, err))
        return false;
    if (!all)
        cursor_seek_end(&c);
    for (enum cursor_verdict v; (v = cursor_next(&c, &f)) != CURSOR_END && v != CURSOR_WAIT;)
        if (v == CURSOR_ERROR)
            break;
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = dictionary_schema(&c.dict, id);
        if (s)
            names[n++] = s->name;
    }
    for (unsigned i = 0; i < j->tables.n && ok; i++) {
        const char *t = j->tables.at[i];
        ok = schema_set_find(c.dict.schemas, t) != NULL;
        if (ok)
            continue;
        const char *near = nearest_word(t, names, n);
        err_set(err, -EINVAL, "--tables: the log has no table %.60s%s%s%s", t,
                near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
    }
    cursor_close(&c);
    return ok;
}

static bool open_log(struct job *j, struct err *err)
{
    struct stat st;
    struct cursor_config cc = {.prefix = j->prefix};
    j->io = io_posix_create(err);
    if (!j->io)
        return false;
    cc.io = j->io;
    for (unsigned i = 0; i < j->paths; i++) {
        struct logscan s;
        if (stat(j->path[i], &st))
            return err_set(err, -ENOENT, "%s: %s", j->path[i], strerror(errno));
        if (S_ISDIR(st.st_mode)) {
            j->directory = true;
            continue;
        }
        if (!logscan_open(&s, j->io, j->path[i], cc.instance, err))
            return false;
        cc.instance = s.header.instance;
        logscan_close(&s);
    }
    if (j->directory && j->paths > CURSOR_DIRS - 1)
        return err_set(err, -EINVAL, "give at most %u directories, or only files", CURSOR_DIRS - 1);
    for (unsigned i = 0; j->directory && i < j->paths; i++)
        cc.dirs[i] = j->path[i];
    cc.files = j->directory ? NULL : j->path;
    if (!cursor_open(&j->cursor, &cc, err))
        return false;
    if (!j->cursor.files)
        return err_set(err, -ENOENT, "%s holds no log file named %sYYYY.MM.DD (--prefix)",
                       j->path[0], j->prefix);
    if (!tables_known(j, cc, false, err) && !tables_known(j, cc, true, err))
        return false;
    j->begin = j->cursor.file[0]->header.first;
    j->end = cursor_files_end(&j->cursor);
    if (j->until.given && !j->until.is_time && j->until.position < j->end)
        j->end = j->until.position;
    return true;
}

/* replay:INSTANCE:FIRST, and what was left out is part of the name: other rows, other source. */
static void name_source(struct job *j)
{
    uint32_t crc = 0xFFFFFFFFu;
    bool filtered = j->tables.n || j->syms.n || j->from.given;
    if (j->source) {
        snprintf(j->name, sizeof j->name, "%s", j->source);
        return;
    }
    for (unsigned i = 0; i < j->tables.n; i++)
        crc = crc32c(crc, (const uint8_t *)j->tables.at[i], strlen(j->tables.at[i]) + 1);
    crc = crc32c(crc, (const uint8_t *)"", 1);
    for (unsigned i = 0; i < j->syms.n; i++)
        crc = crc32c(crc, (const uint8_t *)j->syms.at[i], strlen(j->syms.at[i]) + 1);
    if (j->from.given)
        crc = crc32c(crc, (const uint8_t *)j->from.text, strlen(j->from.text) + 1);
    int n = snprintf(j->name, sizeof j->name, "replay:%016llx:%llu",
                     (unsigned long long)j->cursor.instance, (unsigned long long)j->begin);
    if (j->derive)
        n += snprintf(j->name + n, sizeof j->name - (size_t)n, ":d");
    if (filtered)
        snprintf(j->name + n, sizeof j->name - (size_t)n, ":%08x", crc);
}

/* ---- pace, progress ---- */

static void tell(struct job *j, const struct frame *f)
{
    int64_t now = clock_monotonic();
    if (j->quiet || !isatty(2) || now - j->told < NS_PER_S / 2)
        return;
    j->told = now;
    char stamp[CIVIL_STAMP_TEXT];
    double s = (double)(now - j->started) / 1e9;
    double part = j->end > j->begin
                      ? 100.0 * (double)(f->position - j->begin) / (double)(j->end - j->begin)
                      : 100;
    fprintf(stderr, "\rreplay: %3.0f %%  %s rows  %s/s  %s ", part,
            print_count((int64_t)j->rows.rows), print_count((int64_t)((double)j->rows.rows / s)),
            civil_format_stamp(f->time, stamp));
}

/* Until the frame's time has come; what was read before goes out first. */
static bool pace(struct job *j, const struct frame *f)
{
    int64_t now = clock_monotonic();
    if (!j->speed)
        return true;
    if (!j->first_at) {
        j->first_at = now;
        j->first_time = f->time;
    }
    int64_t at = j->first_at + (int64_t)((double)(f->time - j->first_time) / j->speed);
    if (at - now < NS_PER_MS)
        return true;
    if (!append_flush(&j->append, ACK_SUBMITTED))
        return false;
    while (!interrupted && (now = clock_monotonic()) < at) {
        int64_t left = at - now < NS_PER_S / 10 ? at - now : NS_PER_S / 10;
        nanosleep(&(struct timespec){0, left}, NULL);
        tell(j, f);
    }
    return true;
}

/* ---- marks ---- */

/* An end of a day there too, behind all rows before it. Not fatal: that date may have ended. */
static bool end_day(struct job *j, const struct frame *f)
{
    char calendar[DAYS_NAME], day[CIVIL_TEXT];
    if (!days_eod(f, calendar))
        return true;
    civil_format(f->day, day);
    if (!append_flush(&j->append, ACK_DURABLE))
        return false;
    int code;
    json_t *r =
        cli_call(j->cli, "eod",
                 json_pack("[s,s,s,s,s]", "run", day, "--calendar", calendar, "--yes"), &code);
    if (r)
        j->ended++;
    else
        j->not_ended++;
    json_decref(r);
    return true;
}

/* ---- the loop ---- */

static bool wanted(const struct job *j, const struct frame *f)
{
    const struct bound *a = &j->from, *b = &j->until;
    return (!a->given || (a->is_time ? f->time >= a->time : f->position >= a->position)) &&
           (!b->given || !b->is_time || f->time < b->time);
}

static bool one_frame(struct job *j, const struct frame *f)
{
    tell(j, f);
    if (wanted(j, f)) {
        if (!pace(j, f))
            return false;
        if (interrupted)
            return true;
        if (!replay_rows_frame(&j->rows, f))
            return false;
        if (j->marks && f->kind == FRAME_MARK && !end_day(j, f))
            return false;
    }
    return append_point(&j->append, f->position + f->length);
}

static bool run(struct job *j, struct err *err)
{
    struct cursor *c = &j->cursor;
    const struct frame *f;
    uint64_t from = j->append.at.position;
    if (j->from.given && !j->from.is_time && from < j->from.position)
        from = j->from.position;
    if (!cursor_seek(c, from > j->begin ? from : j->begin)) {
        *err = c->err;
        return false;
    }
    while (!interrupted && c->position < j->end) {
        enum cursor_verdict v = cursor_next(c, &f);
        if (v == CURSOR_END || v == CURSOR_WAIT)
            break;
        if (v == CURSOR_ERROR) {
            *err = c->err;
            return false;
        }
        if (v == CURSOR_LOST)
            j->lost += c->lost_to - c->lost_from;
        if (v != CURSOR_FRAME)
            continue;
        if (f->position >= j->end)
            break;
        if (j->until.is_time && f->time >= j->until.time)
            break; /* times never fall */
        if (!one_frame(j, f)) {
            *err = j->rows.err.code ? j->rows.err : j->append.err;
            return false;
        }
    }
    if (!append_flush(&j->append, ACK_DURABLE)) {
        *err = j->append.err;
        return false;
    }
    return true;
}

static int report(struct job *j)
{
    const struct append_client *a = &j->append;
    int64_t rows = (int64_t)(j->taken + a->rows), late = (int64_t)(j->late + a->late);
    double s = (double)(clock_monotonic() - j->started) / 1e9;
    bool done = !interrupted;
    if (j->cli->json) {
        json_t *o = json_pack(
            "{s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "source", j->name, "complete",
            done, "rows", (json_int_t)a->rows, "late", (json_int_t)a->late, "there_before",
            (json_int_t)a->passed_over, "filtered", (json_int_t)j->rows.filtered, "damaged",
            (json_int_t)j->rows.damaged, "lost_bytes", (json_int_t)(j->directory ? j->lost : 0),
            "position", (json_int_t)a->at.position, "journal", (json_int_t)a->position,
            "ended_days", (json_int_t)j->ended, "seconds", s);
        json_dumpf(o, stdout, JSON_COMPACT);
        printf("\n");
        json_decref(o);
    } else {
        if (!j->quiet && isatty(2))
            fprintf(stderr, "\n");
        printf("%s rows are durable in %s (%.2f s, %s rows/s); source %s %s position %llu\n",
               print_count(rows), j->to ? j->to : j->socket, s,
               print_count((int64_t)((double)rows / (s > 0 ? s : 1))), j->name,
               done ? "is done at" : "was interrupted at", (unsigned long long)a->at.position);
        if (late)
            printf(
                "%s rows were of dates closed there: they went to the open one, flagged late_day\n",
                print_count(late));
        if (j->ended || j->not_ended)
            printf("%u dates were ended there%s\n", j->ended,
                   j->not_ended ? ", others could not be: see above" : "");
    }
    if (j->lost && j->directory)
        fprintf(stderr, "penstock: replay: %s bytes of positions stand in no file\n",
                print_count((int64_t)j->lost));
    if (j->rows.damaged || j->rows.nameless)
        fprintf(
            stderr,
            "penstock: replay: %s records cannot be read and were left out, %s symbols have lost "
            "their text and became null\n",
            print_count((int64_t)j->rows.damaged), print_count((int64_t)j->rows.nameless));
    return done && !j->rows.damaged && !j->rows.nameless && !j->not_ended &&
                   !(j->lost && j->directory)
               ? EXIT_HEALTHY
               : EXIT_DEGRADED;
}

static bool own_log(struct job *j, struct err *err)
{
    char id[32];
    snprintf(id, sizeof id, "%016llx", (unsigned long long)j->cursor.instance);
    bool buffer = !j->directory && stream_is_buffer(j->cursor.file[0]->header.stream);
    return strcmp(id, j->append.instance) || buffer || j->again ||
           err_set(err, -EINVAL,
                   "this log is that instance's own: its rows would be there twice; --yes if that "
                   "is wanted");
}

/* One connection's part. -ESTALE: another program, perhaps one that died a moment ago, brought the
 * source further meanwhile. */
static bool connect_and_run(struct job *j, struct err *err)
{
    j->taken += j->append.rows;
    j->late += j->append.late;
    j->there += j->append.passed_over;
    if (!append_open(&j->append, j->socket, j->name, err)) {
        client_unknown_instance(j->to, j->socket, err);
        return false;
    }
    struct replay_filter filter = {.tables = j->tables.n ? j->tables.at : NULL,
                                   .syms = j->syms.n ? j->syms.at : NULL,
                                   .buffered = !j->directory,
                                   .derive = j->derive};
    if (j->derive && !j->append.derives) {
        append_close(&j->append);
        return err_set(err, -EINVAL,
                       "--derive: no processor runs there that would make the derived rows again "
                       "(penstock rtp list); without it they are taken as logged");
    }
    j->append.as_logged = !j->derive;
    uint64_t damaged = j->rows.damaged, nameless = j->rows.nameless, filtered = j->rows.filtered;
    replay_rows_init(&j->rows, &j->append, &j->cursor.dict, &filter);
    j->rows.damaged = damaged;
    j->rows.nameless = nameless;
    j->rows.filtered = filtered;
    bool ok = own_log(j, err) && run(j, err);
    replay_rows_free(&j->rows);
    append_close(&j->append);
    return ok;
}

int cli_replay(struct cli *c, int argc, char **argv)
{
    static struct job job;
    struct job *j = &job;
    struct err err = {0};
    j->cli = c;
    int code = parse(j, argc, argv);
    if (code)
        return code;
    struct sigaction sa = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    j->started = clock_monotonic();
    socket_of(j);
    c->socket = j->socket;
    bool ok = open_log(j, &err);
    if (ok) {
        name_source(j);
        ok = connect_and_run(j, &err);
        for (int i = 0; !ok && err.code == -ESTALE && i < TRIES; i++) {
            nanosleep(&(struct timespec){0, NS_PER_S / 5}, NULL);
            err.code = 0;
            ok = connect_and_run(j, &err);
        }
    }
    code = ok ? report(j) : failed(&err);
    if (!ok && j->append.at.position)
        fprintf(
            stderr,
            "penstock: replay: %s stands at position %llu; the same command goes on from there\n",
            j->name, (unsigned long long)j->append.at.position);
    if (j->io)
        cursor_close(&j->cursor);
    io_destroy(j->io);
    free(j->tables.text);
    free(j->syms.text);
    return code;
}
