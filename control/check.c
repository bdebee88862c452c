/* SPDX-License-Identifier: Apache-2.0 */
#include "check_report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

const struct check_row check_rows[CHECKS] = {
#define FATAL CHECK_FATAL
#define WARN  CHECK_WARN
#define INFO  CHECK_INFO
#define CHECK(ID, name, severity, tuning, sentence, remedy)                                        \
    [CHECK_##ID] = {name, severity, tuning, sentence, remedy},
#include "checks.def"
#undef CHECK
};

/* ---- findings ------------------------------------------------------------------------------- */

static void put_filled(FILE *out, const char *form, const char *const *args)
{
    for (const char *p = form; *p; p++) {
        if (p[0] == '{' && p[1] == '{') {
            fputc(*p++, out);
            continue;
        }
        if (p[0] != '{' || p[1] < '0' || p[1] > '5' || p[2] != '}') {
            fputc(*p, out);
            continue;
        }
        int want = p[1] - '0', i = 0;
        while (args[i] && i < want)
            i++;
        fputs(args[i] ? args[i] : "?", out);
        p += 2;
    }
}

void check_finding(struct check *k, enum check_id id, const char *const *args)
{
    static const char *const words[] = {"FATAL", "WARN", "INFO"};
    const struct check_row *row = &check_rows[id];
    enum check_severity s = row->severity;
    if (row->tuning && k->virtual && s == CHECK_WARN)
        s = CHECK_INFO;
    k->count[s]++;
    k->raised[id] = true;
    fprintf(k->out, "%-5s %-20s ", words[s], row->name);
    put_filled(k->out, row->sentence, args);
    fputs("  -> ", k->out);
    put_filled(k->out, row->remedy, args);
    fputc('\n', k->out);
}

const char *check_text(struct check *k, const char *fmt, ...)
{
    char *buf = k->text[k->next_text++ % PST_COUNT(k->text)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf, sizeof k->text[0], fmt, ap);
    va_end(ap);
    return buf;
}

/* ---- files below root ----------------------------------------------------------------------- */

static bool path_of(const struct check *k, char path[PATH_MAX], const char *fmt, va_list ap)
{
    int n = snprintf(path, PATH_MAX, "%s", k->machine->root);
    int m = vsnprintf(path + n, (size_t)(PATH_MAX - n), fmt, ap);
    return m >= 0 && n + m < PATH_MAX;
}

bool check_read(const struct check *k, char *buf, size_t cap, const char *fmt, ...)
{
    char path[PATH_MAX];
    va_list ap;
    va_start(ap, fmt);
    bool ok = path_of(k, path, fmt, ap);
    va_end(ap);
    buf[0] = 0;
    int fd = ok ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return false;
    size_t n = 0;
    ssize_t got;
    while (n < cap - 1 && (got = read(fd, buf + n, cap - 1 - n)) > 0)
        n += (size_t)got;
    close(fd);
    while (n && (buf[n - 1] == '\n' || buf[n - 1] == ' '))
        n--;
    buf[n] = 0;
    return true;
}

bool check_exists(const struct check *k, const char *fmt, ...)
{
    char path[PATH_MAX];
    va_list ap;
    va_start(ap, fmt);
    bool ok = path_of(k, path, fmt, ap);
    va_end(ap);
    return ok && access(path, F_OK) == 0;
}

bool check_link(const struct check *k, char *buf, size_t cap, const char *fmt, ...)
{
    char path[PATH_MAX], target[PATH_MAX];
    va_list ap;
    va_start(ap, fmt);
    bool ok = path_of(k, path, fmt, ap);
    va_end(ap);
    ssize_t n = ok ? readlink(path, target, sizeof target - 1) : -1;
    buf[0] = 0;
    if (n < 0)
        return false;
    target[n] = 0;
    const char *slash = strrchr(target, '/');
    snprintf(buf, cap, "%s", slash ? slash + 1 : target);
    return true;
}

int64_t check_meminfo(const struct check *k, const char *key)
{
    char buf[8192];
    size_t n = strlen(key);
    if (!check_read(k, buf, sizeof buf, "/proc/meminfo"))
        return -1;
    for (char *p = buf; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
        if (!strncmp(p, key, n) && p[n] == ':')
            return strtoll(p + n + 1, NULL, 10) * 1024;
    return -1;
}

bool check_process(const struct check *k, const char *name)
{
    char path[PATH_MAX], comm[64];
    snprintf(path, sizeof path, "%s/proc", k->machine->root);
    DIR *d = opendir(path);
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));)
        if (e->d_name[0] >= '0' && e->d_name[0] <= '9' &&
            check_read(k, comm, sizeof comm, "/proc/%s/comm", e->d_name))
            found = !strcmp(comm, name);
    if (d)
        closedir(d);
    return found;
}

static bool status_field(const struct check *k, const char *key, char *buf, size_t cap)
{
    char all[8192];
    size_t n = strlen(key);
    if (!check_read(k, all, sizeof all, "/proc/self/status"))
        return false;
    for (char *p = all; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
        if (!strncmp(p, key, n) && p[n] == ':') {
            const char *v = p + n + 1 + strspn(p + n + 1, " \t");
            snprintf(buf, cap, "%.*s", (int)strcspn(v, "\n"), v);
            return true;
        }
    return false;
}

bool check_capability(const struct check *k, unsigned bit)
{
    char text[32];
    if (!status_field(k, "CapEff", text, sizeof text))
        return k->machine->uid == 0;
    return strtoull(text, NULL, 16) >> bit & 1;
}

bool check_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = text; (p = strstr(p, word)); p += n)
        if ((p == text || strchr(" \t\n,", p[-1])) && (!p[n] || strchr(" \t\n,", p[n])))
            return true;
    return false;
}

const char *check_param(const struct check *k, const char *name, char *buf, size_t cap)
{
    char line[4096];
    size_t n = strlen(name);
    if (!check_read(k, line, sizeof line, "/proc/cmdline"))
        return NULL;
    char *save = NULL;
    for (char *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save))
        if (!strncmp(w, name, n) && w[n] == '=') {
            snprintf(buf, cap, "%s", w + n + 1);
            return buf;
        }
    return NULL;
}

/* ---- sets of CPUs --------------------------------------------------------------------------- */

bool cpus_has(const struct cpus *s, int cpu)
{
    return cpu >= 0 && cpu < CHECK_CPUS && (s->word[cpu / 64] >> (cpu % 64) & 1);
}
void cpus_add(struct cpus *s, int cpu)
{
    if (cpu >= 0 && cpu < CHECK_CPUS)
        s->word[cpu / 64] |= 1ull << (cpu % 64);
}
int cpus_count(const struct cpus *s)
{
    int n = 0;
    for (unsigned i = 0; i < PST_COUNT(s->word); i++)
        n += __builtin_popcountll(s->word[i]);
    return n;
}
int cpus_first(const struct cpus *s)
{
    for (int i = 0; i < CHECK_CPUS; i++)
        if (cpus_has(s, i))
            return i;
    return -1;
}
/* "0-3,8"; words that are no number (isolcpus' flags) are passed over. */
bool cpus_parse(const char *text, struct cpus *out)
{
    memset(out, 0, sizeof *out);
    for (const char *p = text; p && *p;) {
        char *end;
        long a = strtol(p, &end, 10), b = a;
        if (end != p) {
            if (*end == '-')
                b = strtol(end + 1, &end, 10);
            for (long i = a < 0 ? 0 : a; i <= b && i < CHECK_CPUS; i++)
                cpus_add(out, (int)i);
        }
        p = strchr(end, ',');
        p = p ? p + 1 : NULL;
    }
    return cpus_first(out) >= 0;
}
const char *cpus_text(struct check *k, const struct cpus *s)
{
    char buf[400];
    size_t n = 0;
    buf[0] = 0;
    for (int i = 0; i < CHECK_CPUS && n + 16 < sizeof buf; i++) {
        if (!cpus_has(s, i))
            continue;
        int a = i;
        while (cpus_has(s, i + 1))
            i++;
        n += (size_t)snprintf(buf + n, sizeof buf - n, a == i ? "%s%d" : "%s%d-%d", n ? "," : "", a,
                              i);
    }
    return check_text(k, "%s", n ? buf : "none");
}

int check_node(const struct check *k, int cpu)
{
    for (int node = 0; node < 64; node++)
        if (check_exists(k, "/sys/devices/system/cpu/cpu%d/node%d", cpu, node))
            return node;
    return -1;
}

int check_free_cpu(const struct check *k, int node)
{
    for (int i = 1; i < CHECK_CPUS; i++)
        if (cpus_has(&k->online, i) && cpus_has(&k->allowed, i) && !cpus_has(&k->lcores, i) &&
            (node < 0 || check_node(k, i) == node) && i != k->config->cpus.log &&
            i != k->config->cpus.control && i != k->config->cpus.ledger &&
            i != k->config->cpus.rdb && i != k->config->cpus.writedown)
            return i;
    return -1;
}

/* ---- the report ----------------------------------------------------------------------------- */

static void look_at_cpus(struct check *k)
{
    char buf[1024];
    if (!check_read(k, buf, sizeof buf, "/sys/devices/system/cpu/online") ||
        !cpus_parse(buf, &k->online))
        cpus_add(&k->online, 0);
    if (!status_field(k, "Cpus_allowed_list", buf, sizeof buf) || !cpus_parse(buf, &k->allowed))
        k->allowed = k->online;
    for (uint32_t i = 0; i < k->config->ports.count; i++)
        cpus_add(&k->lcores, (int)k->config->ports.at[i].lcore);
    char *info = malloc(1 << 16);
    if (info && check_read(k, info, 1 << 16, "/proc/cpuinfo"))
        k->virtual = check_word(info, "hypervisor");
    free(info);
    if (!check_exists(k, "/sys/devices/system/cpu/cpu0/cpufreq") &&
        !check_exists(k, "/sys/devices/system/cpu/cpu0/cpuidle"))
        k->virtual = true;
}

int check_report(struct check *k)
{
    look_at_cpus(k);
    check_plan(k);
    check_cpu(k);
    check_memory(k);
    check_ports(k);
    check_feeds(k);
    check_storage(k);
    check_kernel(k);
    unsigned fatal = k->count[CHECK_FATAL], warn = k->count[CHECK_WARN];
    fprintf(k->out, "%u fatal, %u warning%s; penstockd would %sstart\n", fatal, warn,
            warn == 1 ? "" : "s", fatal ? "not " : "");
    return fatal ? 2 : warn ? 1 : 0;
}

int check_run(const struct config *c, FILE *out)
{
    struct config *own = NULL;
    struct err err = {0};
    if (!c && !config_default(&own, &err)) {
        fprintf(out, "FATAL config  %s\n1 fatal, 0 warnings; penstockd would not start\n",
                err.text);
        return 2;
    }
    struct check_machine machine;
    check_machine_read(&machine);
    struct check *k = calloc(1, sizeof *k);
    pst_must(k);
    *k = (struct check){.config = c ? c : own, .machine = &machine, .out = out};
    check_banner(out);
    int code = check_report(k);
    free(k);
    config_free(own);
    return code;
}
