/* SPDX-License-Identifier: Apache-2.0 */
#include "eal.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_version.h>

#define ARGS (16 + 2 * EAL_PCI_MAX)

/* Control thread's, except `last` and the log callback, which any DPDK thread reaches through the
 * stdio lock of the stream. */
static struct {
    bool tried, started;
    int cpus[EAL_LCORES_MAX];
    int n_cpus;
    FILE *stream;
    void (*log)(void *arg, const char *line);
    void *log_arg;
    char line[512], last[512];
    size_t n;
} eal;

static ssize_t log_write(void *cookie, const char *text, size_t n)
{
    (void)cookie;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n' || eal.n == sizeof eal.line - 1) {
            eal.line[eal.n] = 0;
            if (eal.n) {
                memcpy(eal.last, eal.line, eal.n + 1);
                if (eal.log) {
                    eal.log(eal.log_arg, eal.line);
                }
            }
            eal.n = 0;
        }
        if (text[i] != '\n') {
            eal.line[eal.n++] = text[i];
        }
    }
    return (ssize_t)n;
}

/* Bytes of hugepages that are free now, all sizes. */
static uint64_t hugepages_free(void)
{
    static const char root[] = "/sys/kernel/mm/hugepages";
    uint64_t sum = 0;
    DIR *d = opendir(root);
    for (struct dirent *e; d && (e = readdir(d));) {
        unsigned long kb, pages;
        char path[400];
        if (sscanf(e->d_name, "hugepages-%lukB", &kb) != 1) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s/free_hugepages", root, e->d_name);
        FILE *f = fopen(path, "re");
        if (f) {
            if (fscanf(f, "%lu", &pages) == 1) {
                sum += (uint64_t)kb * 1024 * pages;
            }
            fclose(f);
        }
    }
    if (d) {
        closedir(d);
    }
    return sum;
}

/* "0@(0-1),1@1,2@0": lcore 0 is the caller and may run anywhere, lcore i is pinned to its CPU. */
static bool lcores_text(const struct eal_config *cfg, char *to, size_t room, struct err *err)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return err_set(err, -errno, "cannot read which CPUs may be used: %s", strerror(errno));
    }
    size_t n = (size_t)snprintf(to, room, "0@(");
    const char *comma = "";
    for (int c = 0; c < CPU_SETSIZE && n + 16 < room; c++) {
        if (CPU_ISSET(c, &allowed)) {
            int last = c;
            while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &allowed)) {
                last++;
            }
            n += (size_t)snprintf(to + n, room - n, "%s%d-%d", comma, c, last);
            comma = ",";
            c = last;
        }
    }
    n += (size_t)snprintf(to + n, room - n, ")");
    for (int i = 0; i < cfg->n_cpus; i++) {
        int c = cfg->cpus[i];
        if (c < 0 || c >= CPU_SETSIZE || !CPU_ISSET(c, &allowed)) {
            return err_set(err, -EINVAL,
                           "lcore %d does not exist here or is outside this process's CPU set; "
                           "choose another (see taskset -p and AllowedCPUs=)",
                           c);
        }
        for (int k = 0; k < i; k++) {
            if (cfg->cpus[k] == c) {
                return err_set(err, -EINVAL, "lcore %d is listed twice", c);
            }
        }
        n += (size_t)snprintf(to + n, room - n, ",%d@%d", i + 1, c);
    }
    return n < room || err_set(err, -E2BIG, "the list of CPUs is too long for DPDK's options");
}

bool eal_start(const struct eal_config *cfg, struct eal_info *info, struct err *err)
{
    static char lcores[2048];
    if (eal.tried) {
        return err_set(err, -EALREADY,
                       "DPDK can be started only once in a process; restart the program");
    }
    if (cfg->n_cpus > EAL_LCORES_MAX || cfg->n_pci > EAL_PCI_MAX ||
        cfg->n_arguments > EAL_ARGS_MAX) {
        return err_set(err, -E2BIG, "at most %d lcores, %d PCI ports and %d dpdk_arguments",
                       EAL_LCORES_MAX, EAL_PCI_MAX, EAL_ARGS_MAX);
    }
    if (!lcores_text(cfg, lcores, sizeof lcores, err)) {
        return false;
    }
    unsigned mb = cfg->memory_mb ? cfg->memory_mb : 256;
    bool huge = !cfg->no_hugepages && hugepages_free() >= (uint64_t)mb << 20;

    cookie_io_functions_t io = {.write = log_write};
    eal.log = cfg->log;
    eal.log_arg = cfg->log_arg;
    eal.stream = fopencookie(NULL, "w", io);
    if (!eal.stream) {
        return err_set(err, -ENOMEM, "no memory for DPDK's log");
    }
    setvbuf(eal.stream, NULL, _IOLBF, 0);
    rte_openlog_stream(eal.stream);

    /* getopt reorders and DPDK keeps the strings: they live as long as the process. */
    static struct {
        char text[ARGS][40];
        char *argv[ARGS + EAL_ARGS_MAX + 1];
        int argc;
    } args;
#define ARG(...)                                                                                   \
    (snprintf(args.text[args.argc], sizeof args.text[0], __VA_ARGS__),                             \
     args.argv[args.argc] = args.text[args.argc], args.argc++)
    ARG("penstockd");
    ARG("--lcores");
    args.argv[args.argc++] = lcores;
    ARG("--iova-mode=va");
    ARG("--no-telemetry");
    ARG("-m");
    ARG("%u", mb);
    if (huge) {
        ARG("--in-memory");
    } else {
        ARG("--no-huge");
        ARG("--no-shconf");
    }
    /* Names DPDK's runtime directory, which it makes even when it puts nothing there. Nothing is
     * shared through it (no telemetry, no second process), so any number of instances may have the
     * same one; eal_stop removes it. */
    ARG("--file-prefix=penstock");
    if (cfg->n_pci == 0) {
        ARG("--no-pci");
    }
    for (int i = 0; i < cfg->n_pci; i++) {
        ARG("-a");
        ARG("%s", cfg->pci[i]);
    }
#undef ARG
    for (int i = 0; i < cfg->n_arguments; i++) {
        args.argv[args.argc++] = (char *)cfg->argument[i]; /* DPDK does not write to them */
    }
    args.argv[args.argc] = NULL;

    eal.tried = true;
    if (rte_eal_init(args.argc, args.argv) < 0) {
        int why = rte_errno;
        fflush(eal.stream);
        return err_set(err, why ? -why : -EIO,
                       "DPDK did not start: %s (%s, %u MiB, %s); with a socket: port it is not "
                       "needed",
                       *eal.last ? eal.last : rte_strerror(why),
                       huge ? "hugepages" : "no hugepages", mb, rte_strerror(why));
    }
    eal.started = true;
    eal.n_cpus = cfg->n_cpus;
    memcpy(eal.cpus, cfg->cpus, sizeof eal.cpus);
    *info = (struct eal_info){.started = true,
                              .hugepages = huge,
                              .memory_mb = mb,
                              .iova = rte_eal_iova_mode() == RTE_IOVA_PA ? "PA" : "VA",
                              .version = rte_version()};
    snprintf(info->text, sizeof info->text, "%s, %u MiB in %s, IOVA %s, %d lcore%s", info->version,
             mb,
             huge                ? "hugepages"
             : cfg->no_hugepages ? "ordinary pages (hugepages are switched off)"
                                 : "ordinary pages (too few hugepages are free)",
             info->iova, cfg->n_cpus, cfg->n_cpus == 1 ? "" : "s");
    return true;
}

static int lcore_of(int cpu)
{
    for (int i = 0; i < eal.n_cpus; i++) {
        if (eal.cpus[i] == cpu) {
            return i + 1;
        }
    }
    return -1;
}

bool eal_launch(int cpu, int (*fn)(void *), void *arg, struct err *err)
{
    int lcore = eal.started ? lcore_of(cpu) : -1;
    if (lcore < 0) {
        return err_set(err, -ENOENT, "no lcore was set up on CPU %d", cpu);
    }
    int rc = rte_eal_remote_launch(fn, arg, (unsigned)lcore);
    return rc == 0 || err_set(err, rc, "the lcore on CPU %d cannot be started: %s", cpu,
                              rc == -EBUSY ? "it is still running" : strerror(-rc));
}

int eal_join(int cpu)
{
    int lcore = eal.started ? lcore_of(cpu) : -1;
    return lcore < 0 ? -ENOENT : rte_eal_wait_lcore((unsigned)lcore);
}

void eal_stop(void)
{
    if (eal.started) {
        char directory[PATH_MAX];
        snprintf(directory, sizeof directory, "%s", rte_eal_get_runtime_dir());
        rte_eal_cleanup();
        (void)rmdir(directory); /* stays while another instance has something in it */
        eal.started = false;
    }
    if (eal.stream) {
        rte_openlog_stream(NULL);
        fclose(eal.stream);
        eal.stream = NULL;
    }
}

const char *eal_version(void)
{
    return rte_version();
}

bool eal_started(void)
{
    return eal.started;
}

const char *eal_last_log(void)
{
    if (eal.stream) {
        fflush(eal.stream);
    }
    return eal.last;
}
