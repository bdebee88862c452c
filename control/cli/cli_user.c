/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock user: the users file (users.h) by hand. Works on the file itself, without a daemon,
 * which takes a change within a second. Passwords come from the terminal, unseen, or from a line of
 * standard input; never from an argument, which every process of the host could read.
 *
 * add and passwd change the text where it has to change and nothing else, comments stay; the new
 * text is read before it replaces the old one, so that a file this program cannot change without
 * harm is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include "cli.h"
#include "print.h"
#include "scram.h"
#include "users.h"

struct text {
    char *at;
    size_t len;
};

static int complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int complain(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "penstock: ");
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return EXIT_USAGE;
}

static int help(void)
{
    printf("penstock user add NAME [--tables all|A,B] [--publish all|A,B] [--groups G,H] "
           "[--iterations N | --external]\npenstock user passwd NAME [--iterations N]\n"
           "penstock user ls\npenstock user check\n\n"
           "  --file FILE  the users file; else that of the daemon that answers (ipc.users)\n"
           "  add and passwd ask for the password, or take a line of standard input\n"
           "  --external   ipc.validator checks the password: none is asked for\n\n"
           "Keys of a user, under users: NAME: in the file (all but scram also under groups):\n");
    users_help(stdout);
    return EXIT_HEALTHY;
}

/* ---- the password -----------------------------------------------------------------------------
 */

static bool read_line(char *out, size_t size, size_t *len)
{
    size_t n = 0;
    char c;
    for (;;) {
        ssize_t r = read(STDIN_FILENO, &c, 1);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0 || c == '\n')
            break;
        if (n + 1 < size)
            out[n] = c;
        n++;
    }
    if (n && n < size && out[n - 1] == '\r')
        n--;
    *len = n;
    return n > 0 && n < size;
}

static bool ask(const char *prompt, char *out, size_t size, size_t *len)
{
    struct termios was, hidden;
    bool tty = tcgetattr(STDIN_FILENO, &was) == 0;
    if (tty) {
        fprintf(stderr, "%s", prompt);
        hidden = was;
        hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    }
    bool ok = read_line(out, size, len);
    if (tty) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
        fputc('\n', stderr);
    }
    return ok;
}

static bool verifier(const char *name, uint32_t iterations, char out[SCRAM_TEXT])
{
    char password[SCRAM_PASSWORD_MAX + 2], again[SCRAM_PASSWORD_MAX + 2], prompt[120];
    size_t len = 0, len2 = 0;
    struct err err = {0};
    bool ok = true;
    snprintf(prompt, sizeof prompt, "Password for %s: ", name);
    if (!ask(prompt, password, sizeof password, &len)) {
        complain("a password of 1 to %u bytes is needed", SCRAM_PASSWORD_MAX);
        ok = false;
    } else if (isatty(STDIN_FILENO) && (!ask("Again: ", again, sizeof again, &len2) ||
                                        len != len2 || memcmp(password, again, len))) {
        complain("these were two passwords; nothing was changed");
        ok = false;
    } else if (memchr(password, 0, len)) {
        complain("the password has a NUL in it");
        ok = false;
    } else if (!scram_make(password, len, iterations, out, &err)) {
        complain("%s", err.text);
        ok = false;
    }
    OPENSSL_cleanse(password, sizeof password);
    OPENSSL_cleanse(again, sizeof again);
    return ok;
}

/* ---- the text ---------------------------------------------------------------------------------
 */

/* Byte of a line and column as YAML counts them: characters, lines ended by \n. */
static size_t offset_of(const struct text *t, size_t line, size_t column)
{
    size_t at = 0;
    for (; line && at < t->len; at++)
        line -= t->at[at] == '\n';
    while (column && at < t->len) {
        at++;
        while (at < t->len && ((uint8_t)t->at[at] & 0xC0) == 0x80)
            at++;
        column--;
    }
    return at;
}

static struct text spliced(const struct text *t, size_t from, size_t to, const char *by)
{
    size_t n = strlen(by);
    struct text out = {.at = malloc(t->len - (to - from) + n + 1)};
    if (!out.at)
        return out;
    memcpy(out.at, t->at, from);
    memcpy(out.at + from, by, n);
    memcpy(out.at + from + n, t->at + to, t->len - to);
    out.len = t->len - (to - from) + n;
    out.at[out.len] = 0;
    return out;
}

/* Start of the line behind `users:` at a line's beginning, with the indentation of what follows
 * there; false: there is none that lines can be put behind. */
static bool behind_users(const struct text *t, size_t *at, int *indent)
{
    for (size_t i = 0; i < t->len;) {
        size_t end = i + strcspn(t->at + i, "\n");
        if (end - i >= 6 && !memcmp(t->at + i, "users:", 6)) {
            size_t k = i + 6 + strspn(t->at + i + 6, " \t\r");
            if (k < end && t->at[k] != '#')
                return false;
            *at = end < t->len ? end + 1 : end;
            *indent = 2;
            for (size_t n = *at; n < t->len;) { /* the next line that says something */
                size_t blanks = strspn(t->at + n, " ");
                char c = t->at[n + blanks];
                if (c && c != '\n' && c != '#' && c != '\r') {
                    *indent = blanks ? (int)blanks : 2;
                    break;
                }
                n += strcspn(t->at + n, "\n");
                n += n < t->len;
            }
            return true;
        }
        i = end + 1;
    }
    return false;
}

/* Both sound, and alike but for `name`, who has the verifier now? */
static bool only_that_changed(const struct text *t, const char *path, const char *name,
                              const char *scram, const struct users_load *before, bool added,
                              struct err *err)
{
    struct users_load *l;
    unsigned k = 0;
    bool ok = users_parse(path, t->at, t->len, &l, err);
    if (!ok)
        return false;
    ok = users_load_count(l) == (before ? users_load_count(before) : 0) + added;
    for (unsigned i = 0; ok && i < users_load_count(l); i++) {
        const struct user *u = users_load_at(l, i);
        if (!strcmp(u->name, name)) {
            ok = !strcmp(u->scram, scram);
            k += !added;
            continue;
        }
        const struct user *old = users_load_at(before, k++);
        ok = !strcmp(u->name, old->name) && !strcmp(u->scram, old->scram);
    }
    users_load_free(l);
    return ok || err_set(err, -EINVAL, "the file is not laid out one user a line");
}

/* A new file in the place of the old one, with its mode and owner. */
static bool replace(const char *path, const struct text *t, struct err *err)
{
    char real[4096], tmp[4200];
    struct stat st;
    bool there = realpath(path, real) && !stat(real, &st);
    if (!there)
        snprintf(real, sizeof real, "%s", path);
    snprintf(tmp, sizeof tmp, "%s.new.%d", real, (int)getpid());
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                  there ? st.st_mode & 0777 : 0640);
    if (fd < 0)
        return err_set(err, -errno, "%s: %s", tmp, strerror(errno));
    bool ok = (!there || ((st.st_uid == geteuid() && st.st_gid == getegid()) ||
                          !fchown(fd, st.st_uid, st.st_gid))) &&
              (!there || !fchmod(fd, st.st_mode & 0777));
    for (size_t n = 0; ok && n < t->len;) {
        ssize_t w = write(fd, t->at + n, t->len - n);
        ok = w > 0;
        n += ok ? (size_t)w : 0;
    }
    ok = ok && !fsync(fd);
    int e = errno;
    if (close(fd) || !ok || rename(tmp, real)) {
        e = ok ? errno : e;
        unlink(tmp);
        return err_set(err, -e, "%s: %s; nothing was changed", path, strerror(e));
    }
    return true;
}

/* ---- verbs ------------------------------------------------------------------------------------
 */

struct wanted {
    const char *file, *name, *tables, *publish, *groups;
    int64_t iterations;
    bool external;
};

static bool plain_name(const char *name)
{
    size_t n = strlen(name);
    for (const char *p = name; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
              strchr("_-.@\\", *p)))
            return false;
    return n && n <= USER_NAME_MAX && name[0] != '-';
}

static void put_list(FILE *f, const char *key, const char *list, int indent)
{
    if (!list)
        return;
    bool word = !strcmp(list, "all") || !strcmp(list, "none");
    fprintf(f, word ? "%*s%s: %s\n" : "%*s%s: [%s]\n", indent, "", key, list);
}

static int add(const struct wanted *w, const struct text *t, const struct users_load *l)
{
    char scram[SCRAM_TEXT];
    struct err err = {0};
    size_t at = t->len, len = 0;
    int indent = 2;
    bool found = behind_users(t, &at, &indent);
    char *block = NULL;
    if (!plain_name(w->name))
        return complain("\"%s\" cannot be added from here; letters, digits and _ - . @ \\, at most "
                        "%u of them",
                        w->name, USER_NAME_MAX);
    for (unsigned i = 0; l && i < users_load_count(l); i++)
        if (!strcmp(users_load_at(l, i)->name, w->name))
            return complain("%s is there already; penstock user passwd %s gives another password",
                            w->name, w->name);
    if (w->external)
        snprintf(scram, sizeof scram, USER_EXTERNAL);
    else if (!verifier(w->name, (uint32_t)w->iterations, scram))
        return EXIT_USAGE;
    FILE *f = open_memstream(&block, &len);
    if (!f)
        return complain("out of memory");
    if (at && t->at[at - 1] != '\n')
        fputc('\n', f);
    if (!found)
        fprintf(f, "users:\n");
    fprintf(f, "%*s\"", indent, "");
    for (const char *p = w->name; *p; p++)
        fprintf(f, *p == '\\' ? "\\\\" : "%c", *p);
    fprintf(f, "\":\n%*sscram: \"%s\"\n", 2 * indent, "", scram);
    put_list(f, "groups", w->groups, 2 * indent);
    put_list(f, "tables", w->tables, 2 * indent);
    put_list(f, "publish", w->publish, 2 * indent);
    fclose(f);
    struct text fresh = spliced(t, at, at, block);
    free(block);
    int code = EXIT_HEALTHY;
    if (!fresh.at || !only_that_changed(&fresh, w->file, w->name, scram, l, true, &err))
        code = complain("%s cannot be changed from here (%s); put in by hand:\n  %s:\n    scram: "
                        "\"%s\"",
                        w->file, err.text, w->name, scram);
    else if (!replace(w->file, &fresh, &err))
        code = complain("%s", err.text);
    free(fresh.at);
    if (!code)
        printf("%s: %s may log in; %s\n", w->file, w->name,
               w->tables || w->groups || w->publish ? "penstock user ls shows what else"
                                                    : "it has no tables yet (tables:, publish:)");
    return code;
}

static int passwd(const struct wanted *w, const struct text *t, const struct users_load *l)
{
    char scram[SCRAM_TEXT], quoted[SCRAM_TEXT + 2];
    struct err err = {0};
    size_t line, column, end_line, end_column;
    if (!l || !users_load_scram_at(l, w->name, &line, &column, &end_line, &end_column))
        return complain("%s has no user %s; penstock user add %s makes it", w->file, w->name,
                        w->name);
    if (!verifier(w->name, (uint32_t)w->iterations, scram))
        return EXIT_USAGE;
    snprintf(quoted, sizeof quoted, "\"%s\"", scram);
    struct text fresh =
        spliced(t, offset_of(t, line, column), offset_of(t, end_line, end_column), quoted);
    int code = EXIT_HEALTHY;
    if (!fresh.at || !only_that_changed(&fresh, w->file, w->name, scram, l, false, &err))
        code = complain("%s cannot be changed from here (%s); its line is\n    scram: \"%s\"",
                        w->file, err.text, scram);
    else if (!replace(w->file, &fresh, &err))
        code = complain("%s", err.text);
    free(fresh.at);
    if (!code)
        printf("%s: %s has another password; its open connections are closed\n", w->file, w->name);
    return code;
}

static void names_text(const struct user_names *s, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s", s->all ? "all" : s->count ? "" : "none");
    for (uint32_t i = 0; !s->all && i < s->count && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? "," : "", s->at[i]);
    if (n >= size)
        memcpy(out + size - 4, "...", 4);
}

static json_t *names_json(const struct user_names *s)
{
    if (s->all)
        return json_string("all");
    json_t *a = json_array();
    for (uint32_t i = 0; i < s->count; i++)
        json_array_append_new(a, json_string(s->at[i]));
    return a;
}

static int ls(const struct cli *c, const struct users_load *l)
{
    static const char *const policies[] = {"disconnect", "catchup", "conflate", "skip"};
    json_t *list = json_array();
    if (!c->json)
        printf("%-16s %-24s %-16s %-10s %-8s %-10s %s\n", "user", "tables", "publish", "rows",
               "timeout", "policy", "networks");
    for (unsigned i = 0; i < users_load_count(l); i++) {
        const struct user *u = users_load_at(l, i);
        char tables[25], publish[17], rows[24] = "-", timeout[24] = "-", net[ADDRESS_TEXT];
        json_t *nets = json_array();
        names_text(&u->tables, tables, sizeof tables);
        names_text(&u->publish, publish, sizeof publish);
        if (u->rows)
            snprintf(rows, sizeof rows, "%lld", (long long)u->rows);
        if (u->timeout)
            snprintf(timeout, sizeof timeout, "%gs", (double)u->timeout / 1e9);
        const char *policy = u->policy < 0 ? "-" : policies[u->policy];
        if (!c->json)
            printf("%-16s %-24s %-16s %-10s %-8s %-10s ", u->name, tables, publish, rows, timeout,
                   policy);
        for (uint32_t k = 0; k < u->n_networks; k++) {
            json_array_append_new(nets, json_string(network_text(&u->networks[k], net)));
            if (!c->json)
                printf("%s%s", k ? "," : "", net);
        }
        if (!c->json)
            printf("%s\n", u->n_networks ? "" : "anywhere");
        json_array_append_new(
            list, json_pack("{s:s,s:o,s:o,s:o,s:b,s:I,s:I,s:f,s:s,s:b,s:b,s:{s:b,s:b,s:b},s:o}",
                            "user", u->name, "tables", names_json(&u->tables), "publish",
                            names_json(&u->publish), "calls", names_json(&u->calls), "sql", u->sql,
                            "rows", (json_int_t)u->rows, "bytes", (json_int_t)u->bytes, "timeout",
                            (double)u->timeout / 1e9, "policy", policy, "durable_only",
                            u->durable_only, "partial", u->partial, "marks", "eod", u->marks_eod,
                            "eoi", u->marks_eoi, "buffer", u->marks_buffer, "networks", nets));
    }
    if (c->json) {
        json_dumpf(list, stdout, JSON_INDENT(2));
        fputc('\n', stdout);
    }
    json_decref(list);
    return EXIT_HEALTHY;
}

/* The daemon that answers knows its users file. */
static char *file_of_daemon(struct cli *c)
{
    int code;
    json_t *a = json_array();
    json_array_append_new(a, json_string("show"));
    json_t *r = cli_call(c, "config", a, &code);
    const char *file = json_string_value(json_object_get(json_object_get(r, "ipc"), "users"));
    char *copy = file ? strdup(file) : NULL;
    json_decref(r);
    if (!copy)
        complain("%s; give --file FILE",
                 r ? "the daemon has no users file (ipc.users)" : "which users file?");
    return copy;
}

int cli_user(struct cli *c, int argc, char **argv)
{
    struct wanted w = {.iterations = SCRAM_ITERATIONS};
    const char *verb = argc ? argv[0] : "", *names[1] = {NULL};
    unsigned n = 0;
    struct err err = {0};
    if (!strcmp(verb, "help") || !argc)
        return argc ? help() : (help(), EXIT_USAGE);
    for (int i = 1; i < argc; i++) {
        const struct {
            const char *option, **to;
        } options[] = {{"--file", &w.file},
                       {"--tables", &w.tables},
                       {"--publish", &w.publish},
                       {"--groups", &w.groups}};
        unsigned k = 0;
        char junk;
        while (k < PST_COUNT(options) && strcmp(argv[i], options[k].option))
            k++;
        if (k < PST_COUNT(options) && i + 1 < argc) {
            *options[k].to = argv[++i];
        } else if (!strcmp(argv[i], "--iterations") && i + 1 < argc) {
            long long v;
            if (sscanf(argv[++i], "%lld%c", &v, &junk) != 1 || v < SCRAM_ITERATIONS ||
                v > SCRAM_ITERATIONS_MAX)
                return complain("--iterations %s: %u ... %u are taken", argv[i], SCRAM_ITERATIONS,
                                SCRAM_ITERATIONS_MAX);
            w.iterations = v;
        } else if (!strcmp(argv[i], "--external") && !strcmp(verb, "add")) {
            w.external = true;
        } else if (*argv[i] != '-' && n < PST_COUNT(names)) {
            names[n++] = argv[i];
        } else {
            return complain("user %s: what is '%s'? A password is asked for, or read from standard "
                            "input; penstock user help",
                            verb, argv[i]);
        }
    }
    bool is_add = !strcmp(verb, "add"), is_passwd = !strcmp(verb, "passwd"),
         is_check = !strcmp(verb, "check");
    if (!is_add && !is_passwd && !is_check && strcmp(verb, "ls"))
        return complain("user %s: add, passwd, ls, check and help are known", verb);
    if ((is_add || is_passwd) != (n == 1))
        return complain(is_add || is_passwd ? "user %s NAME: whose?" : "user %s: takes no name",
                        verb);
    w.name = names[0];
    char *found = w.file ? NULL : file_of_daemon(c);
    if (!w.file && !(w.file = found))
        return EXIT_USAGE;
    struct text t = {0};
    struct users_load *l = NULL;
    int code = EXIT_HEALTHY;
    if (is_add && access(w.file, F_OK) && errno == ENOENT)
        t.at = strdup("");
    else
        t.at = users_read(w.file, &t.len, &err);
    if (!t.at || (t.len && !users_parse(w.file, t.at, t.len, &l, &err)) ||
        (!l && !users_parse(w.file, "", 0, &l, &err)))
        code = complain("%s", err.text);
    else if (is_add)
        code = add(&w, &t, l);
    else if (is_passwd)
        code = passwd(&w, &t, l);
    else if (is_check)
        printf("%s: %u users, sound\n", w.file, users_load_count(l));
    else
        code = ls(c, l);
    users_load_free(l);
    free(t.at);
    free(found);
    return code;
}
