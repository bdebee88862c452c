/* SPDX-License-Identifier: Apache-2.0 */
/* check_cpu.c - processors and memory. */
#include <dirent.h>
#include "check_report.h"
#include "print.h"

struct user {
    const char *what;
    const char *key; /* under cpus, NULL: a port's lcore */
    int64_t cpu;
};

static unsigned users_of(struct check *k, struct user *u, unsigned cap)
{
    const struct config *c = k->config;
    unsigned n = 0;
    for (uint32_t i = 0; i < c->ports.count && n < cap - 5; i++)
        u[n++] = (struct user){check_text(k, "port %s", c->ports.at[i].name), NULL,
                               c->ports.at[i].lcore};
    u[n++] = (struct user){"cpus.control", "control", c->cpus.control};
    u[n++] = (struct user){"cpus.log", "log", c->cpus.log};
    u[n++] = (struct user){"cpus.ledger", "ledger", c->cpus.ledger};
    u[n++] = (struct user){"cpus.rdb", "rdb", c->cpus.rdb};
    u[n++] = (struct user){"cpus.writedown", "writedown", c->cpus.writedown};
    return n;
}

static void check_placement(struct check *k)
{
    struct user u[20];
    unsigned n = users_of(k, u, PST_COUNT(u));
    bool said_zero = false;
    for (unsigned i = 0; i < n; i++) {
        const char *cpu = check_text(k, "%d", (int)u[i].cpu);
        if (u[i].cpu < 0)
            continue;
        if (!cpus_has(&k->online, (int)u[i].cpu))
            FIND(k, CPU_ABSENT, cpu, u[i].what, cpus_text(k, &k->online));
        else if (!cpus_has(&k->allowed, (int)u[i].cpu))
            FIND(k, CPU_FORBIDDEN, cpu, u[i].what, cpus_text(k, &k->allowed));
        else if (u[i].cpu == 0 && !u[i].key && !said_zero) {
            int other = check_free_cpu(k, -1);
            said_zero = true;
            FIND(k, CPU_ZERO, u[i].what,
                 other < 0 ? "another CPU, on a machine that has one" : check_text(k, "%d", other));
        }
        /* ports may share an lcore; nothing else may share with anything */
        for (unsigned j = 0; u[i].key && j < i; j++)
            if (u[j].cpu == u[i].cpu) {
                int other = check_free_cpu(k, -1);
                FIND(k, CPU_SHARED, cpu, u[j].what, u[i].what, u[i].key,
                     check_text(k, "%d", other));
                break;
            }
    }
    int lcores = cpus_count(&k->lcores);
    for (uint32_t i = 0; i < k->config->ports.count; i++)
        if (k->config->ports.at[i].lcore < 0) {
            int other = check_free_cpu(k, -1);
            if (other > 0)
                FIND(k, CPU_UNPINNED, k->config->ports.at[i].name, check_text(k, "%d", other));
        }
    if (lcores && lcores >= cpus_count(&k->allowed) && k->config->wait != CONFIG_SLEEP)
        FIND(k, CPU_FEW, check_text(k, "%d", lcores), check_text(k, "%d", cpus_count(&k->allowed)));
}

/* The lcores that the set lacks. */
static bool lacking(const struct check *k, const struct cpus *set, struct cpus *out)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < CHECK_CPUS; i++)
        if (cpus_has(&k->lcores, i) && !cpus_has(set, i))
            cpus_add(out, i);
    return cpus_first(out) >= 0;
}

static void check_isolation(struct check *k)
{
    char buf[1024];
    struct cpus set, lack;
    const char *all = cpus_text(k, &k->lcores);
    check_read(k, buf, sizeof buf, "/sys/devices/system/cpu/isolated");
    cpus_parse(buf, &set);
    if (lacking(k, &set, &lack))
        FIND(k, CPU_ISOLATED, cpus_text(k, &lack), all);
    check_read(k, buf, sizeof buf, "/sys/devices/system/cpu/nohz_full");
    cpus_parse(buf, &set);
    if (lacking(k, &set, &lack))
        FIND(k, CPU_NOHZ, cpus_text(k, &lack), all);
    /* nohz_full implies rcu_nocbs */
    struct cpus rcu = {0};
    if (check_param(k, "rcu_nocbs", buf, sizeof buf)) {
        if (!strcmp(buf, "all"))
            rcu = k->online;
        else
            cpus_parse(buf, &rcu);
    }
    for (unsigned i = 0; i < PST_COUNT(set.word); i++)
        rcu.word[i] |= set.word[i];
    if (lacking(k, &rcu, &lack))
        FIND(k, CPU_RCU, cpus_text(k, &lack), all);
}

static void check_cores(struct check *k)
{
    char buf[256];
    struct cpus slow = {0}, deep = {0};
    char governor[64] = "";
    long leave = 0;
    for (int cpu = 0; cpu < CHECK_CPUS; cpu++) {
        if (!cpus_has(&k->lcores, cpu) || !cpus_has(&k->online, cpu))
            continue;
        struct cpus core, others = {0};
        if (check_read(k, buf, sizeof buf,
                       "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu) &&
            cpus_parse(buf, &core)) {
            for (int s = 0; s < CHECK_CPUS; s++)
                if (s != cpu && cpus_has(&core, s) && cpus_has(&k->online, s))
                    cpus_add(&others, s);
            if (cpus_first(&others) >= 0) {
                char list[128] = "";
                for (int s = 0; s < CHECK_CPUS; s++)
                    if (cpus_has(&others, s))
                        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%d",
                                 *list ? " " : "", s);
                FIND(k, CPU_SIBLING, cpus_text(k, &others), check_text(k, "%d", cpu),
                     check_text(k, "%s", list));
            }
        }
        if (check_read(k, buf, sizeof buf, "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor",
                       cpu) &&
            strcmp(buf, "performance") != 0) {
            cpus_add(&slow, cpu);
            snprintf(governor, sizeof governor, "%.63s", buf);
        }
        for (int s = 0; s < 16; s++) {
            char off[16];
            if (!check_read(k, buf, sizeof buf,
                            "/sys/devices/system/cpu/cpu%d/cpuidle/state%d/latency", cpu, s))
                break;
            check_read(k, off, sizeof off, "/sys/devices/system/cpu/cpu%d/cpuidle/state%d/disable",
                       cpu, s);
            long us = strtol(buf, NULL, 10);
            if (us > 2 && !strcmp(off, "0")) {
                cpus_add(&deep, cpu);
                leave = us > leave ? us : leave;
            }
        }
    }
    if (cpus_first(&slow) >= 0)
        FIND(k, CPU_GOVERNOR, cpus_text(k, &slow), check_text(k, "%s", governor));
    if (cpus_first(&deep) >= 0)
        FIND(k, CPU_IDLE, cpus_text(k, &deep), check_text(k, "%ld", leave));
}

static void check_interrupts(struct check *k)
{
    char path[PATH_MAX], buf[1024], list[200] = "", first[32] = "";
    struct cpus set, hit = {0}, house = k->online;
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/proc/irq", k->machine->root);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] < '0' || e->d_name[0] > '9' ||
            !check_read(k, buf, sizeof buf, "/proc/irq/%s/effective_affinity_list", e->d_name) ||
            !cpus_parse(buf, &set))
            continue;
        bool any = false;
        for (int i = 0; i < CHECK_CPUS; i++)
            if (cpus_has(&set, i) && cpus_has(&k->lcores, i)) {
                cpus_add(&hit, i);
                any = true;
            }
        if (any) {
            if (!n++)
                snprintf(first, sizeof first, "%.31s", e->d_name);
            if (strlen(list) < sizeof list - 12)
                snprintf(list + strlen(list), sizeof list - strlen(list), "%s%.10s",
                         *list ? " " : "", e->d_name);
        }
    }
    if (d)
        closedir(d);
    for (unsigned i = 0; i < PST_COUNT(house.word); i++)
        house.word[i] &= ~k->lcores.word[i];
    if (n && cpus_first(&house) >= 0)
        FIND(k, CPU_IRQ, check_text(k, "%u", n), cpus_text(k, &hit), check_text(k, "%s", first),
             check_text(k, "%s", list), cpus_text(k, &house));
    if (cpus_first(&k->lcores) >= 0 && check_process(k, "irqbalance"))
        FIND(k, CPU_IRQBALANCE, cpus_text(k, &k->lcores));
}

static void check_counter(struct check *k)
{
    char source[64];
    char *info = malloc(1 << 16);
    if (info && check_read(k, info, 1 << 16, "/proc/cpuinfo") && strstr(info, "flags") &&
        strstr(info, "tsc")) {
        bool constant = check_word(info, "constant_tsc"), nonstop = check_word(info, "nonstop_tsc");
        if (!constant || !nonstop)
            FIND(k, CPU_TSC, constant ? "nonstop" : nonstop ? "constant" : "constant and nonstop");
    }
    free(info);
    if (check_read(k, source, sizeof source,
                   "/sys/devices/system/clocksource/clocksource0/current_clocksource") &&
        strcmp(source, "tsc") != 0 && strcmp(source, "arch_sys_counter") != 0)
        FIND(k, CPU_CLOCKSOURCE, check_text(k, "%s", source));
}

void check_cpu(struct check *k)
{
    if (k->virtual)
        FIND(k, CPU_VIRTUAL);
    check_placement(k);
    if (cpus_first(&k->lcores) >= 0) {
        check_isolation(k);
        check_cores(k);
        check_interrupts(k);
    }
    check_counter(k);
}

/* ---- memory --------------------------------------------------------------------------------- */

static void check_hugepages(struct check *k)
{
    int64_t size = check_meminfo(k, "Hugepagesize");
    if (k->config->hugepages == CONFIG_HUGE_OFF || size <= 0)
        return;
    int node = check_node(k, cpus_first(&k->lcores));
    char dir[128], buf[64];
    if (node >= 0 && check_exists(k, "/sys/devices/system/node/node%d/hugepages", node))
        snprintf(dir, sizeof dir, "/sys/devices/system/node/node%d/hugepages/hugepages-%lldkB",
                 node, (long long)size / 1024);
    else
        snprintf(dir, sizeof dir, "/sys/kernel/mm/hugepages/hugepages-%lldkB",
                 (long long)size / 1024);
    int64_t have = 0, set = 0;
    if (check_read(k, buf, sizeof buf, "%s/free_hugepages", dir))
        have = strtoll(buf, NULL, 10);
    if (check_read(k, buf, sizeof buf, "%s/nr_hugepages", dir))
        set = strtoll(buf, NULL, 10);
    int64_t need = ((int64_t)check_huge_bytes(k) + size - 1) / size;
    if (have >= need)
        return;
    const char *const args[] = {check_text(k, "%lld", (long long)need),
                                check_text(k, "%s", print_bytes(size)),
                                node < 0 ? "" : check_text(k, " on node %d", node),
                                check_text(k, "%lld", (long long)have),
                                check_text(k, "%lld", (long long)(set + need - have)),
                                check_text(k, "%s/nr_hugepages", dir),
                                NULL};
    check_finding(
        k, k->config->hugepages == CONFIG_HUGE_ON ? CHECK_MEM_HUGE_NEED : CHECK_MEM_HUGE_FEW, args);
}

static void check_swap(struct check *k)
{
    char buf[4096];
    if (!check_read(k, buf, sizeof buf, "/proc/swaps"))
        return;
    char *line = strchr(buf, '\n'); /* behind the heading */
    for (; line && line[1]; line = strchr(line + 1, '\n')) {
        int n = (int)strcspn(line + 1, " \t\n");
        if (n) {
            FIND(k, MEM_SWAP, check_text(k, "%.*s", n > 100 ? 100 : n, line + 1));
            return;
        }
    }
}

void check_memory(struct check *k)
{
    char buf[128];
    check_hugepages(k);
    /* CAP_IPC_LOCK lifts the limit */
    uint64_t want = 64u << 20;
    bool vfio = false;
    for (uint32_t i = 0; i < k->config->ports.count; i++)
        vfio |= k->config->ports.at[i].device[0] >= '0' && k->config->ports.at[i].device[0] <= '9';
    if (vfio)
        want += (uint64_t)k->config->dpdk_memory;
    if (k->machine->memlock < want && !check_capability(k, 14))
        FIND(k, MEM_LOCK, check_text(k, "%s", print_bytes((int64_t)k->machine->memlock)),
             check_text(k, "%s", print_bytes((int64_t)want)),
             vfio ? "packet buffers for the NIC and io_uring's" : "io_uring's buffers");
    if (k->machine->nofile < 4096)
        FIND(k, MEM_FILES, check_text(k, "%llu", (unsigned long long)k->machine->nofile));
    if (check_read(k, buf, sizeof buf, "/sys/kernel/mm/transparent_hugepage/enabled") &&
        strstr(buf, "[always]"))
        FIND(k, MEM_THP);
    if (check_read(k, buf, sizeof buf, "/sys/kernel/mm/ksm/run") && !strcmp(buf, "1"))
        FIND(k, MEM_KSM);
    unsigned nodes = 0;
    while (check_exists(k, "/sys/devices/system/node/node%u", nodes))
        nodes++;
    if (nodes > 1 && check_read(k, buf, sizeof buf, "/proc/sys/kernel/numa_balancing") &&
        strcmp(buf, "0") != 0)
        FIND(k, MEM_BALANCING, check_text(k, "%u", nodes));
    check_swap(k);
}
