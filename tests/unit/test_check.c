/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_check.c - `penstockd --check` on described machines: a tuned server (data/check/metal.txt)
 * on which nothing is found, then one thing changed at a time, each with the one finding it must
 * give. Every row of checks.def must have its case.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <cmocka.h>
#include "check_report.h"
#include "functions.h"

static char root[64];

/* ---- the described machine ------------------------------------------------------------------ */

static void make_parents(char *path)
{
    for (char *p = strchr(path + strlen(root) + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = 0;
        assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
        *p = '/';
    }
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st;
    (void)flag;
    (void)f;
    return remove(path);
}

/* "F path content", "D path", "L path target", "-  path" (removed). */
static void apply(const char *line)
{
    char path[512], rest[2048] = "";
    char kind = line[0];
    if (kind == '#' || kind == 0)
        return;
    const char *p = line + 2, *end = strchr(p, ' ');
    size_t n = end ? (size_t)(end - p) : strlen(p);
    snprintf(path, sizeof path, "%s%.*s", root, (int)n, p);
    size_t o = 0;
    for (const char *c = end ? end + 1 : ""; *c && o < sizeof rest - 1; c++)
        if (c[0] == '\\' && c[1] == 'n') {
            rest[o++] = '\n';
            c++;
        } else {
            rest[o++] = *c;
        }
    rest[o] = 0;
    make_parents(path);
    if (kind == 'D') {
        assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
    } else if (kind == 'L') {
        unlink(path);
        assert_int_equal(symlink(rest, path), 0);
    } else if (kind == '-') {
        assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    } else {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fprintf(f, "%s\n", rest);
        fclose(f);
    }
}

static int machine_up(void **state)
{
    (void)state;
    char line[4096];
    snprintf(root, sizeof root, "/tmp/check.XXXXXX");
    assert_non_null(mkdtemp(root));
    FILE *f = fopen(PST_SOURCE_ROOT "/tests/data/check/metal.txt", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        apply(line);
    }
    fclose(f);
    return 0;
}
static int machine_down(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct check_disk the_log, the_spill, the_state, the_other;
static struct check_sample the_sample;

static bool fake_disk(const char *dir, struct check_disk *d)
{
    *d = !strncmp(dir, "/data/log", 9)      ? the_log
         : !strncmp(dir, "/data/spill", 11) ? the_spill
         : strstr(dir, "state")             ? the_state
                                            : the_other;
    if (strstr(dir, "open"))
        d->mode = 01777;
    if (!*d->existing)
        snprintf(d->existing, sizeof d->existing, "%s", dir);
    return true;
}
static void fake_sample(const char *dir, bool direct, struct check_sample *s)
{
    (void)dir;
    (void)direct;
    *s = the_sample;
}
static bool fake_group(const char *name)
{
    return !strcmp(name, "penstock");
}
static int socket_now;
static int fake_socket(const char *path)
{
    return strstr(path, "asked.sock") ? 1 : strstr(path, "file.sock") ? 2 : socket_now;
}
static bool fake_readable(const char *file)
{
    return !strcmp(file, "/dev/vfio/12") || !strcmp(file, "/data/a.pcap");
}

static bool fake_function(int kind, const char *text, struct err *why)
{
    return kind != PST_FUNCTION_BUFFER || !strstr(text, "bad") ||
           err_set(why, -EPERM, "function file /x/bad.so belongs to uid 4711");
}

static bool fake_plugin(const char *file, struct err *why)
{
    return !strstr(file, "bad") || err_set(why, -EPERM, "plugin %s belongs to uid 4711", file);
}
static bool fake_command(const char *file, struct err *why)
{
    return !strstr(file, "gone") || err_set(why, -ENOENT, "%s: No such file or directory", file);
}

static bool fake_users(const char *file, unsigned *count, struct err *why)
{
    *count = strstr(file, "none") ? 0 : 3;
    return !strstr(file, "bad") || err_set(why, -EINVAL, "%s:3: no", file);
}
static bool fake_certificate(const char *file, const char *key, int64_t *expires, struct err *why)
{
    (void)key;
    *expires = 1800000000 + (strstr(file, "old")    ? -1
                             : strstr(file, "soon") ? 2592000 - 1
                                                    : 2592000);
    return !strstr(file, "bad") || err_set(why, -EINVAL, "certificate %s cannot be used", file);
}

static struct check_machine machine;

static void reset_machine(void)
{
    struct check_disk d = {.exists = true,
                           .writable = true,
                           .direct = true,
                           .align = 512,
                           .mode = 0750,
                           .major = 259,
                           .free = 8ull << 40,
                           .inodes = 1000000};
    d.major = 103;
    d.minor = 1;
    the_state = the_other = d;
    d.minor = 2;
    the_log = d;
    d.minor = 3;
    the_spill = d;
    the_sample = (struct check_sample){.n = 5000, .p50 = 20000, .p99 = 60000, .max = 900000};
    socket_now = 3;
    machine = (struct check_machine){.root = root,
                                     .release = "6.1.0-28-amd64",
                                     .uid = 900,
                                     .user = "penstock",
                                     .memlock = UINT64_MAX,
                                     .nofile = 65536,
                                     .clock_synced = true,
                                     .clock_error = 2000,
                                     .disk = fake_disk,
                                     .sample = fake_sample,
                                     .group = fake_group,
                                     .socket = fake_socket,
                                     .plugin = fake_plugin,
                                     .function = fake_function,
                                     .command = fake_command,
                                     .users = fake_users,
                                     .certificate = fake_certificate,
                                     .now = 1800000000,
                                     .readable = fake_readable};
}

/* ---- cases ---------------------------------------------------------------------------------- */

#define DIRS                                                                                       \
    "instance: t\nstate_directory: /data/state\nlog_directory: /data/log\nrun_directory: /run/p\n" \
    "spill_directory: /data/spill\n"
#define PORT(name, device, rest) "  " name ": {device: \"" device "\", " rest ", groups: ["
#define A                                                                                          \
    "{group: \"239.1.1.1:5000\", feed: itch}, {group: \"239.1.1.2:5000\", feed: itch, line: B}"
#define FEED               "feeds:\n  itch: {decoder: itch50, hours: \"Mon-Fri 04:00-20:00\", zone: UTC}\n"
#define NIC                "0000:3b:00.0"
#define METAL              DIRS "ports:\n" PORT("p", NIC, "lcore: 2") A "]}\n" FEED
#define VDEV(device, rest) DIRS "ports:\n" PORT("p", device, rest) A "]}\n" FEED

static void no_lock_cap(void)
{
    machine.memlock = 1 << 20;
}
static void few_files(void)
{
    machine.nofile = 1024;
}
static void old_kernel(void)
{
    snprintf(machine.release, sizeof machine.release, "5.10.0-30-amd64");
}
static void no_uring(void)
{
    machine.io_uring = EPERM;
}
static void unsynced(void)
{
    machine.clock_synced = false;
}
static void bad_clock(void)
{
    machine.clock_error = 3000000;
}
static void as_root(void)
{
    machine.uid = 0;
}
static void busy(void)
{
    socket_now = 1;
}
static void not_socket(void)
{
    socket_now = 2;
}
static void log_missing(void)
{
    the_log.exists = false;
    snprintf(the_log.existing, sizeof the_log.existing, "/data");
}
static void log_impossible(void)
{
    log_missing();
    the_log.writable = false;
}
static void log_readonly(void)
{
    the_log.writable = false;
}
static void log_full(void)
{
    the_log.free = 1 << 20;
}
static void log_small(void)
{
    the_log.free = 100ull << 30;
}
static void few_inodes(void)
{
    the_log.inodes = 12;
}
static void log_buffered(void)
{
    the_log.direct = false;
}
static void log_open(void)
{
    the_log.mode = 0755;
}
static void log_on_system(void)
{
    the_log.minor = 1;
}
static void same_disk(void)
{
    the_spill.minor = 2;
}
static void slow_disk(void)
{
    the_sample.p50 = 9000000;
    the_sample.p99 = 30000000;
}
static void stalling_disk(void)
{
    the_sample.max = 2500000000;
}
static void failing_disk(void)
{
    the_sample.error = EDQUOT;
}

struct change {
    enum check_id id;
    const char *config; /* NULL: METAL */
    const char *file;   /* one change to the machine's files, and what undoes it */
    const char *undo;
    void (*tweak)(void);
    const char *says; /* in the finding's line */
    const char *file2, *undo2;
};

#define CMDLINE_BACK                                                                               \
    "F /proc/cmdline root=/dev/sda1 isolcpus=managed_irq,domain,2-5 nohz_full=2-5 rcu_nocbs=2-5"
#define MEM(total, left, huge)                                                                     \
    "F /proc/meminfo MemTotal: " total " kB\\nMemAvailable: " left " kB\\nHugePages_Free: " huge   \
    "\\nHugepagesize: 2048 kB"
#define MEM_BACK  MEM("1610612736", "1500000000", "600")
#define CPU2      "/sys/devices/system/cpu/cpu2"
#define MOUNTS(o) "F /proc/self/mountinfo 21 20 103:2 / /data/log " o
#define MOUNTS_BACK                                                                                \
    "F /proc/self/mountinfo 20 1 103:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw\\n21 20 " \
    "103:2 / /data/log rw,noatime shared:2 - xfs /dev/nvme1n1 rw,attr2\\n22 20 103:3 / "           \
    "/data/spill rw,noatime - xfs /dev/nvme2n1p1 rw"
#define QUEUE     "/sys/dev/block/103:2/queue"
#define PCI       "/sys/bus/pci/devices/0000:3b:00.0"
#define CAPS(hex) "F /proc/self/status Name: penstockd\\nCapEff: " hex "\\nCpus_allowed_list: 0-7"
#define CAPS_BACK CAPS("0000000000007000")
#define IPC(address, certificate, tls)                                                             \
    "ipc: {address: " address ", users: /x/u.yaml, certificate: " certificate                      \
    ", key: /x/k.pem, tls: " tls "}\n"
#define AF_PACKET "net_af_packet0,iface=eth1"
#define AF_KERNEL VDEV(AF_PACKET, "lcore: 2, membership: kernel, interface: eth1")

static const struct change changes[] = {
    {CHECK_PLAN_MEMORY, 0, MEM("400000", "300000", "600"), MEM_BACK, 0,
     "the machine has 391 MiB (MemTotal"},
    {CHECK_PLAN_MEMORY, 0, "F /sys/fs/cgroup/memory.max 104857600", "- /sys/fs/cgroup/memory.max",
     0, "has 100 MiB (memory.max"},
    {CHECK_PLAN_MEMORY_TIGHT, 0, MEM("2000000", "200000", "0"), MEM_BACK, 0,
     "195 MiB are available"},
    {CHECK_PLAN_RING, METAL "ring_size: 16M\n", 0, 0, 0, "ring_size: 256M"},
    {CHECK_PLAN_DISK, 0, 0, 0, log_small, "/data/log lasts 0.4 days at 230.4 GB a day"},
    {CHECK_PLAN_RDB, METAL "rdb_memory: 256G\n", 0, 0, 0,
     "rdb_memory 256 GiB holds 1.0 days of rows, and at an end of day two are in it"},
    {CHECK_PLAN_RTP, METAL "rtp: {agg: {processes: 16, memory: 64G}}\n", 0, 0, 0,
     "real-time processes may use 1.0 TiB"},
    {CHECK_PLAN_LOADER,
     METAL "load: {staging: [/data/in], workers: 64, worker_memory: 64G}\ndatabase: /data/hdb\n", 0,
     0, 0, "64 workers may use 4.0 TiB"},
    {CHECK_PLAN_LOADER,
     METAL "load: {staging: [/data/in], workers: 64, worker_memory: 64G}\ndatabase: /data/hdb\n", 0,
     0, 0, "load: {workers: N, worker_memory: SIZE} with less"},
    {CHECK_PLAN_MOVES,
     METAL "load: {staging: [/data/in], finished: move, finished_directory: /data/log2/out}\n"
           "database: /data/hdb\n",
     0, 0, 0, "load.finished_directory /data/log2/out is on another file system"},
    {CHECK_PLAN_RAM, METAL "rdb_memory: 600G\n", MEM("1000000000", "900000000", "600"), MEM_BACK, 0,
     "the machine has 954 GiB, less than four times the rows of a day (288.0 GB)"},
    {CHECK_PLAN_DATABASE, 0, 0, 0, 0, "stays in the log only"},
    {CHECK_DISK_SPACE, METAL "database: /data/log/hdb\ndatabase_low_space: 9T\nlog_low_space: 1M\n",
     0, 0, log_small,
     "database /data/log/hdb has 100 GiB left; 9.0 TiB are wanted (database_low_space)"},
    {CHECK_CPU_ABSENT, VDEV(NIC, "lcore: 40"), 0, 0, 0,
     "CPU 40 (port p) does not exist or is offline; online are 0-7"},
    {CHECK_CPU_FORBIDDEN, 0,
     "F /proc/self/status CapEff: 0000000000007000\\nCpus_allowed_list: 4-7", CAPS_BACK, 0,
     "allowed are 4-7"},
    {CHECK_CPU_ZERO, VDEV(NIC, "lcore: 0"), 0, 0, 0, "lcore: 1"},
    {CHECK_CPU_SHARED, METAL "cpus: {log: 2}\n", 0, 0, 0,
     "CPU 2 is given to port p and to cpus.log  -> cpus.log: 1"},
    {CHECK_CPU_FEW, 0, "F /proc/self/status CapEff: 0000000000007000\\nCpus_allowed_list: 2",
     CAPS_BACK, 0, "1 polling threads and 1 CPUs"},
    {CHECK_CPU_SIBLING, 0, "F " CPU2 "/topology/thread_siblings_list 2,6",
     "F " CPU2 "/topology/thread_siblings_list 2", 0, "for c in 6; do"},
    {CHECK_CPU_ISOLATED, 0, "F /sys/devices/system/cpu/isolated 3-5",
     "F /sys/devices/system/cpu/isolated 2-5", 0, "boot with isolcpus=managed_irq,domain,2"},
    {CHECK_CPU_NOHZ, 0, "- /sys/devices/system/cpu/nohz_full",
     "F /sys/devices/system/cpu/nohz_full 2-5", 0, "boot with nohz_full=2"},
    {CHECK_CPU_RCU, 0, "F /proc/cmdline quiet", CMDLINE_BACK, 0, "boot with rcu_nocbs=2",
     "- /sys/devices/system/cpu/nohz_full", "F /sys/devices/system/cpu/nohz_full 2-5"},
    {CHECK_CPU_GOVERNOR, 0, "F " CPU2 "/cpufreq/scaling_governor powersave",
     "F " CPU2 "/cpufreq/scaling_governor performance", 0,
     "cpupower -c 2 frequency-set -g performance"},
    {CHECK_CPU_IDLE, 0, "F " CPU2 "/cpuidle/state2/disable 0",
     "F " CPU2 "/cpuidle/state2/disable 1", 0, "up to 133 us"},
    {CHECK_CPU_IRQ, 0, "F /proc/irq/25/effective_affinity_list 2",
     "F /proc/irq/25/effective_affinity_list 6-7", 0,
     "for i in 25; do echo 0-1,3-7 > /proc/irq/$i"},
    {CHECK_CPU_IRQBALANCE, 0, "F /proc/801/comm irqbalance", "- /proc/801", 0,
     "systemctl disable --now irqbalance"},
    {CHECK_CPU_TSC, 0, "F /proc/cpuinfo flags : fpu tsc constant_tsc",
     "F /proc/cpuinfo flags : fpu tsc constant_tsc nonstop_tsc", 0, "is not nonstop"},
    {CHECK_CPU_CLOCKSOURCE, 0,
     "F /sys/devices/system/clocksource/clocksource0/current_clocksource hpet",
     "F /sys/devices/system/clocksource/clocksource0/current_clocksource tsc", 0, "clock is hpet"},
    {CHECK_CPU_UNPINNED, VDEV(NIC, "lcore: -1"), 0, 0, 0, "lcore: 1"},
    {CHECK_CPU_VIRTUAL, 0, "F /proc/cpuinfo flags : fpu tsc constant_tsc nonstop_tsc hypervisor",
     "F /proc/cpuinfo flags : fpu tsc constant_tsc nonstop_tsc", 0, "virtual machine"},
    {CHECK_MEM_HUGE_NEED, METAL "hugepages: on\n",
     "F /sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages 100",
     "F /sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages 600", 0,
     "echo 885 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages"},
    {CHECK_MEM_HUGE_FEW, 0,
     "F /sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages 100",
     "F /sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages 600", 0,
     "385 hugepages of 2.0 MiB on node 0"},
    {CHECK_MEM_LOCK, 0, CAPS("0000000000003000"), CAPS_BACK, no_lock_cap,
     "packet buffers for the NIC"},
    {CHECK_MEM_FILES, 0, 0, 0, few_files, "1024 files may be open"},
    {CHECK_MEM_THP, 0, "F /sys/kernel/mm/transparent_hugepage/enabled [always] madvise never",
     "F /sys/kernel/mm/transparent_hugepage/enabled always [madvise] never", 0, "echo madvise"},
    {CHECK_MEM_KSM, 0, "F /sys/kernel/mm/ksm/run 1", "F /sys/kernel/mm/ksm/run 0", 0, "echo 0 >"},
    {CHECK_MEM_BALANCING, 0, "F /proc/sys/kernel/numa_balancing 1",
     "F /proc/sys/kernel/numa_balancing 0", 0, "2 nodes  -> sysctl -w kernel.numa_balancing=0"},
    {CHECK_MEM_SWAP, 0, "F /proc/swaps Filename Type\\n/dev/sda2 partition 1 0 -2",
     "F /proc/swaps Filename", 0, "swap is on (/dev/sda2)"},
    {CHECK_PORT_NONE, DIRS, 0, 0, 0, "plain tickerplant"},
    {CHECK_PORT_DEVICE, VDEV("eth1", "lcore: 2"), 0, 0, 0, "\"eth1\" is no device"},
    {CHECK_PORT_PCI_ABSENT, VDEV("0000:99:00.0", "lcore: 2"), 0, 0, 0,
     "no PCI device 0000:99:00.0"},
    {CHECK_PORT_PCI_DRIVER, VDEV("0000:18:00.0", "lcore: 2"), 0, 0, 0,
     "belongs to the driver ixgbe  -> dpdk-devbind.py --bind=vfio-pci 0000:18:00.0"},
    {CHECK_PORT_IOMMU, 0, "- " PCI "/iommu_group", "L " PCI "/iommu_group ../12", 0,
     "boot with intel_iommu=on"},
    {CHECK_PORT_VFIO, 0, "L " PCI "/iommu_group ../77", "L " PCI "/iommu_group ../12", 0,
     "chown penstock /dev/vfio/77"},
    {CHECK_PORT_NUMA, 0, "F " PCI "/numa_node 1", "F " PCI "/numa_node 0", 0,
     "on node 1 and its lcore 2 on node 0  -> lcore: 4"},
    {CHECK_PORT_PCI_LINK, 0, "F " PCI "/current_link_width 4", "F " PCI "/current_link_width 8", 0,
     "x4 and could at"},
    {CHECK_PORT_IFACE_ABSENT, VDEV("net_af_packet0,iface=eth9", "lcore: 2"), 0, 0, 0,
     "no network interface eth9"},
    {CHECK_PORT_IFACE_ABSENT, VDEV("0000:af:00.0", "lcore: 2, membership: kernel, interface: ens9"),
     0, 0, 0, "ens9"},
    {CHECK_PORT_IFACE_UNNAMED, VDEV("net_af_packet0", "lcore: 2"), 0, 0, 0,
     "net_af_packet0,iface=eth1"},
    {CHECK_PORT_IFACE_DOWN, AF_KERNEL, "F /sys/class/net/eth1/flags 0x1002",
     "F /sys/class/net/eth1/flags 0x1003", 0, "ip link set eth1 up"},
    {CHECK_PORT_CARRIER, AF_KERNEL, "F /sys/class/net/eth1/carrier 0",
     "F /sys/class/net/eth1/carrier 1", 0, "eth1 has no link"},
    {CHECK_PORT_MTU, AF_KERNEL, "F /sys/class/net/eth1/mtu 1400", "F /sys/class/net/eth1/mtu 1500",
     0, "ip link set eth1 mtu 1500"},
    {CHECK_PORT_MULTICAST, AF_KERNEL, "F /sys/class/net/eth1/flags 0x3",
     "F /sys/class/net/eth1/flags 0x1003", 0, "ip link set eth1 multicast on"},
    {CHECK_PORT_RP_FILTER, VDEV("socket:eth1", "lcore: 2"),
     "F /proc/sys/net/ipv4/conf/eth1/rp_filter 1", "F /proc/sys/net/ipv4/conf/eth1/rp_filter 0", 0,
     "sysctl -w net.ipv4.conf.eth1.rp_filter=2"},
    {CHECK_PORT_RMEM, VDEV("socket:eth1", "lcore: 2"), CAPS("0000000000004000"), CAPS_BACK, 0,
     "sockets may buffer 208 KiB"},
    {CHECK_PORT_BACKLOG, AF_KERNEL, "F /sys/class/net/eth1/statistics/rx_missed_errors 1234",
     "F /sys/class/net/eth1/statistics/rx_missed_errors 0", 0, "missed 1,234 packets"},
    {CHECK_PORT_CAPABILITY, AF_KERNEL, CAPS("0000000000004000"), CAPS_BACK, 0, "needs CAP_NET_RAW"},
    {CHECK_PORT_CAPABILITY, VDEV("net_af_xdp0,iface=eth1", "lcore: 2"), CAPS("0000000000006000"),
     CAPS_BACK, 0, "CAP_NET_ADMIN CAP_BPF"},
    {CHECK_PORT_FILE, VDEV("pcap:/data/b.pcap", "lcore: 2"), 0, 0, 0,
     "/data/b.pcap cannot be read"},
    {CHECK_PORT_JOIN_DPDK, 0, 0, 0, 0, "DPDK owns; 239.1.1.1, 239.1.1.2 must be joined by others"},
    {CHECK_PORT_JOIN_NOBODY, VDEV(AF_PACKET, "lcore: 2"), 0, 0, 0,
     "membership: kernel and interface: eth1"},
    {CHECK_PORT_JOIN_ELSEWHERE,
     VDEV("0000:af:00.0", "lcore: 2, membership: kernel, interface: eth1"), 0, 0, 0,
     "the kernel joins on eth1, which is not the device 0000:af:00.0"},
    {CHECK_PORT_JOIN_ELSEWHERE, VDEV(NIC, "lcore: 2, membership: kernel, interface: eth1"), 0, 0, 0,
     "membership: none, and static groups"},
    {CHECK_PORT_JOIN_ELSEWHERE, VDEV(AF_PACKET, "lcore: 2, membership: kernel, interface: ens1"), 0,
     0, 0, "interface: eth1"},
    {CHECK_FEED_NO_GROUP, METAL "  x: {decoder: iex, lines: [{name: A}, {name: B}]}\n", 0, 0, 0,
     "no port takes a group for its line A"},
    {CHECK_FEED_SINGLE,
     DIRS "ports:\n" PORT("p", NIC, "lcore: 2") "{group: \"239.1.1.1:5000\", feed: itch}]}\n" FEED,
     0, 0, 0, "feed itch has one line"},
    {CHECK_FEED_ONE_PORT, 0, 0, 0, 0, "come in on port p"},
    {CHECK_FEED_RAW, METAL "  x: {}\n", 0, 0, 0, "feed x has no decoder"},
    {CHECK_FEED_FRAMING,
     METAL "  x: {decoder: iex, framing: odd}\n"
           "framings:\n  odd: {header: 8, seq: {at: 0, width: 5}, message: {length: {width: 2}}}\n",
     0, 0, 0, "t.yaml:"},
    {CHECK_FEED_SPLIT,
     DIRS "ports:\n" PORT("p", NIC, "lcore: 2") "{group: \"239.1.1.1:5000\", feed: itch}]}\n" PORT(
         "q", NIC, "lcore: 3") "{group: \"239.1.1.2:5000\", feed: itch, line: B}]}\n" FEED,
     0, 0, 0, "give ports p and q the same lcore"},
    {CHECK_DISK_CREATE, 0, 0, 0, log_missing, "install -d -m 0750 /data/log"},
    {CHECK_DISK_ABSENT, 0, 0, 0, log_impossible, "cannot be made"},
    {CHECK_DISK_READONLY, 0, 0, 0, log_readonly, "chown penstock /data/log"},
    {CHECK_DISK_VOLATILE, 0, MOUNTS("rw - tmpfs tmpfs rw"), MOUNTS_BACK, 0,
     "lies in memory (tmpfs)"},
    {CHECK_DISK_NETWORK, 0, MOUNTS("rw,noatime - nfs4 filer:/x rw"), MOUNTS_BACK, 0, "is on nfs4"},
    {CHECK_DISK_ATIME, 0, MOUNTS("rw - xfs /dev/x rw"), MOUNTS_BACK, 0,
     "mount -o remount,noatime /data/log"},
    {CHECK_DISK_DISCARD, 0, MOUNTS("rw,noatime - xfs /dev/x rw,discard"), MOUNTS_BACK, 0,
     "fstrim.timer"},
    {CHECK_DISK_SPACE, 0, 0, 0, log_full, "has 1.0 MiB left; 4.0 GiB are wanted"},
    {CHECK_DISK_INODES, 0, 0, 0, few_inodes, "12 inodes left"},
    {CHECK_DISK_BUFFERED, 0, 0, 0, log_buffered, "(xfs) does not do O_DIRECT"},
    {CHECK_DISK_WRITE_BACK, 0, 0, 0, log_on_system, "caches writes"},
    {CHECK_DISK_SCHEDULER, 0, "F " QUEUE "/scheduler none [bfq]", "F " QUEUE "/scheduler [none]", 0,
     "echo none > /sys/block/103:2/queue/scheduler"},
    {CHECK_DISK_ROTATIONAL, 0, "F " QUEUE "/rotational 1", "F " QUEUE "/rotational 0", 0,
     "rotating disk"},
    {CHECK_DISK_SAME, 0, 0, 0, same_disk, "another disk"},
    {CHECK_DISK_SLOW, 0, 0, 0, slow_disk, "9.0 ms (median)"},
    {CHECK_DISK_STALLS, 0, 0, 0, stalling_disk, "more than alarms.durable_lag 1.0 s"},
    {CHECK_DISK_SAMPLE, 0, 0, 0, failing_disk, "Disk quota exceeded"},
    {CHECK_DISK_OPEN, 0, 0, 0, log_open, "mode 0755"},
    {CHECK_KERNEL_OLD, 0, 0, 0, old_kernel, "kernel 5.10"},
    {CHECK_KERNEL_URING, 0, "F /proc/sys/kernel/io_uring_disabled 2",
     "F /proc/sys/kernel/io_uring_disabled 0", no_uring, "sysctl -w kernel.io_uring_disabled=0"},
    {CHECK_KERNEL_URING, 0, 0, 0, no_uring, "seccomp"},
    {CHECK_KERNEL_TAINT, 0, "F /proc/sys/kernel/tainted 4096", "F /proc/sys/kernel/tainted 0", 0,
     "(4096)"},
    {CHECK_TIME_UNSYNCED, 0, 0, 0, unsynced, "ptp4l runs, but has not got there"},
    {CHECK_TIME_ERROR, 0, 0, 0, bad_clock, "alarms.clock_error: 6000us"},
    {CHECK_TIME_NO_PHC, 0, "- /sys/class/ptp/ptp0", "D /sys/class/ptp/ptp0", 0,
     "hw_timestamp: false"},
    {CHECK_SAFE_ROOT, 0, 0, 0, as_root, "User=penstock"},
    {CHECK_SAFE_GROUP, METAL "socket_group: nobody-here\n", 0, 0, 0,
     "groupadd --system nobody-here"},
    {CHECK_SAFE_FUNCTION, METAL "buffer_function: /x/bad.so:f\n", 0, 0, 0,
     "buffer_function: function file /x/bad.so belongs to uid 4711"},
    {CHECK_SAFE_PLUGIN, METAL "plugins: [/x/good.so, /x/bad.so]\n", 0, 0, 0,
     "plugin /x/bad.so belongs to uid 4711; its queries would not be there"},
    {CHECK_SAFE_RTP, METAL "rtp: {agg: {plugins: [/x/good.so, /x/bad.so]}}\n", 0, 0, 0,
     "rtp.agg: plugin /x/bad.so belongs to uid 4711"},
    {CHECK_SAFE_RTP, METAL "rtp: {agg: {libraries: {a: /x/bad.so}}}\n", 0, 0, 0,
     "its processes would not begin"},
    {CHECK_SAFE_LOAD,
     METAL "load: {staging: [/data/in], files: {f: {match: x, table: t,"
           " post_read_function: '/x/bad.so:f'}}}\ndatabase: /data/hdb\n"
           "tables: {t: {columns: {time: timestamp, sym: symbol}}}\n",
     0, 0, 0, "load.files.f: plugin /x/bad.so belongs to uid 4711; no such file would be loaded"},
    {CHECK_PLAN_LOAD_FILES, METAL "load: {staging: [/data/in]}\ndatabase: /data/hdb\n", 0, 0, 0,
     "no kind of file is given"},
    {CHECK_SAFE_COMMAND, METAL "alarm_exec: [/x/gone]\npost_save_exec: [/x/here]\n", 0, 0, 0,
     "alarm_exec: /x/gone: No such file"},
    {CHECK_SAFE_COMMAND, METAL "alarm_exec: [/x/here]\npost_save_exec: [/x/gone, a]\n", 0, 0, 0,
     "post_save_exec: /x/gone"},
    {CHECK_SAFE_SOCKET_BUSY, 0, 0, 0, busy, "a daemon answers on /run/p/t.sock"},
    {CHECK_SAFE_SOCKET_FILE, 0, 0, 0, not_socket, "rm /run/p/t.sock"},
    {CHECK_SAFE_IPC_OPEN, METAL "ipc:\n", 0, 0, 0, "every process of this host"},
    {CHECK_SAFE_IPC_USERS, METAL "ipc: {users: /x/bad.yaml}\n", 0, 0, 0,
     "/x/bad.yaml:3: no; nobody could log in"},
    {CHECK_SAFE_IPC_VALIDATOR, METAL "ipc: {users: /x/u.yaml, validator: /x/gone.sock}\n", 0, 0, 0,
     "nobody listens at /x/gone.sock; users with"},
    {CHECK_SAFE_IPC_VALIDATOR, METAL "ipc: {users: /x/u.yaml, validator: /x/file.sock}\n", 0, 0, 0,
     "/x/file.sock is no socket"},
    {CHECK_SAFE_IPC_VALIDATOR_OPEN, METAL "ipc: {users: /x/u.yaml, validator: /open/asked.sock}\n",
     0, 0, 0, "everyone may write to /open: who"},
    {CHECK_SAFE_IPC_NOBODY, METAL "ipc: {users: /x/none.yaml}\n", 0, 0, 0,
     "penstock user add NAME --file /x/none.yaml"},
    {CHECK_SAFE_IPC_TLS, METAL IPC("127.0.0.1", "/x/bad.pem", "required"), 0, 0, 0,
     "/x/bad.pem cannot be used; no TLS connection could be made"},
    {CHECK_SAFE_IPC_EXPIRES, METAL IPC("127.0.0.1", "/x/old.pem", "required"), 0, 0, 0,
     "certificate /x/old.pem has expired"},
    {CHECK_SAFE_IPC_EXPIRES, METAL IPC("127.0.0.1", "/x/soon.pem", "required"), 0, 0, 0,
     "certificate /x/soon.pem expires in 29 days"},
    {CHECK_SAFE_IPC_CLEAR, METAL IPC("10.0.0.1", "/x/c.pem", "allowed"), 0, 0, 0,
     "ipc listens on 10.0.0.1"},
};

static bool covered[CHECKS];

/* The report's text (to be freed); the findings in k. */
static char *report(const char *yaml, struct check *k, int *code)
{
    struct config *c;
    struct err err = {0};
    char *text = NULL;
    size_t size = 0;
    if (!config_parse("t.yaml", yaml, strlen(yaml), &c, &err))
        fail_msg("%s", err.text);
    memset(k, 0, sizeof *k);
    k->config = c;
    k->machine = &machine;
    k->out = open_memstream(&text, &size);
    *code = check_report(k);
    fclose(k->out);
    config_free(c);
    return text;
}

/* The line of a finding, with its severity; NULL: it is not there. */
static const char *line_of(char *text, enum check_id id, char *line, size_t cap)
{
    char *save = NULL, name[64], *copy = strdup(text);
    const char *found = NULL;
    for (char *l = strtok_r(copy, "\n", &save); l && !found; l = strtok_r(NULL, "\n", &save))
        if (sscanf(l, "%*5s %63s", name) == 1 && !strcmp(name, check_rows[id].name) &&
            l[0] != ' ') {
            snprintf(line, cap, "%s", l);
            found = line;
        }
    free(copy);
    return found;
}

static void test_tuned_machine_has_no_findings(void **state)
{
    (void)state;
    static struct check k;
    int code;
    reset_machine();
    char *text = report(METAL, &k, &code);
    if (code)
        fail_msg("%s", text);
    assert_int_equal(k.count[CHECK_FATAL], 0);
    assert_int_equal(k.count[CHECK_WARN], 0);
    assert_non_null(strstr(text, "0 fatal, 0 warnings; penstockd would start\n"));
    /* the plan: 512 MiB at 1 M/s of 80 bytes; 16 hours at 50,000/s of 80 bytes */
    assert_non_null(strstr(text, "ring       512 MiB = 6.7 s at peak_rate, 1,000,000"));
    assert_non_null(strstr(text, "230.4 GB a day at an average of 50,000 messages/s (peak_rate / "
                                 "20) over 16.0 h"));
    assert_non_null(strstr(text, "last 38.2 days"));
    assert_non_null(strstr(text, "most 900.0 us; O_DIRECT aligned to 512"));
    assert_ptr_equal(strstr(text, "plan of t (t.yaml)\n"), text);
    free(text);
}

static void test_each_change_gives_its_finding(void **state)
{
    (void)state;
    static struct check k;
    static const char *const words[] = {"FATAL", "WARN", "INFO"};
    static bool plain[CHECKS];
    int code;
    char line[1024];
    reset_machine();
    free(report(METAL, &k, &code));
    memcpy(plain, k.raised, sizeof plain);
    for (unsigned i = 0; i < PST_COUNT(changes); i++) {
        const struct change *c = &changes[i];
        reset_machine();
        if (c->file)
            apply(c->file);
        if (c->file2)
            apply(c->file2);
        if (c->tweak)
            c->tweak();
        char *text = report(c->config ? c->config : METAL, &k, &code);
        const char *l = line_of(text, c->id, line, sizeof line);
        if (!l || !strstr(l, c->says))
            fail_msg("case %u, %s: no \"%s\" in\n%s", i, check_rows[c->id].name, c->says, text);
        assert_true(k.raised[c->id]);
        /* nothing that was not given stays open, and the severity is the table's */
        assert_null(strchr(l, '?'));
        assert_memory_equal(l, words[check_rows[c->id].severity],
                            strlen(words[check_rows[c->id].severity]));
        assert_int_equal(code, k.count[CHECK_FATAL] ? 2 : k.count[CHECK_WARN] ? 1 : 0);
        assert_true(check_rows[c->id].severity != CHECK_FATAL || code == 2);
        /* undone, it is gone */
        if (c->undo)
            apply(c->undo);
        if (c->undo2)
            apply(c->undo2);
        covered[c->id] = true;
        free(text);
        reset_machine();
        free(report(METAL, &k, &code));
        if (memcmp(plain, k.raised, sizeof plain) != 0)
            fail_msg("case %u, %s was not undone", i, check_rows[c->id].name);
    }
}

/* Keys that only the report shows on a machine without such hardware. */
static void test_keys_of_the_report(void **state)
{
    (void)state;
    static struct check k;
    int code;
    reset_machine(); /* its clock is off by 2 us */
    free(report(METAL "alarms: {clock_error: 1us}\n", &k, &code));
    assert_true(k.raised[CHECK_TIME_ERROR]);
    free(report(METAL "alarms: {clock_error: 3us}\n", &k, &code));
    assert_false(k.raised[CHECK_TIME_ERROR]);
    apply("- /sys/class/ptp/ptp0");
    free(report(METAL, &k, &code));
    assert_true(k.raised[CHECK_TIME_NO_PHC]);
    free(report(DIRS "ports:\n" PORT("p", NIC, "lcore: 2, hw_timestamp: false") A "]}\n" FEED, &k,
                &code));
    assert_false(k.raised[CHECK_TIME_NO_PHC]);
    apply("D /sys/class/ptp/ptp0");
}

static void test_virtual_machine_downgrades_tuning(void **state)
{
    (void)state;
    static struct check k;
    int code;
    char line[1024];
    reset_machine();
    apply("F /sys/devices/system/cpu/isolated ");
    apply("F /proc/cpuinfo flags : fpu tsc constant_tsc nonstop_tsc hypervisor");
    char *text = report(METAL, &k, &code);
    assert_int_equal(code, 0);
    assert_memory_equal(line_of(text, CHECK_CPU_ISOLATED, line, sizeof line), "INFO ", 5);
    free(text);
    apply("F /proc/cpuinfo flags : fpu tsc constant_tsc nonstop_tsc");
    text = report(METAL, &k, &code);
    assert_int_equal(code, 1);
    assert_memory_equal(line_of(text, CHECK_CPU_ISOLATED, line, sizeof line), "WARN ", 5);
    free(text);
    apply("F /sys/devices/system/cpu/isolated 2-5");
}

/* A lock is seen in /proc/locks by device and inode, without taking it. */
static void test_locked_directory(void **state)
{
    (void)state;
    static struct check k;
    int code;
    char yaml[1024], dir[128], path[160], locks[256], line[1024];
    struct stat st;
    reset_machine();
    snprintf(dir, sizeof dir, "%s/state", root);
    snprintf(path, sizeof path, "%s/instance.lock", dir);
    apply("F /state/instance.lock ");
    assert_int_equal(stat(path, &st), 0);
    snprintf(yaml, sizeof yaml, "state_directory: %s\nlog_directory: /data/log\ninstance: t\n",
             dir);
    free(report(yaml, &k, &code));
    assert_false(k.raised[CHECK_DISK_LOCKED]);
    snprintf(locks, sizeof locks, "F /proc/locks 7: FLOCK ADVISORY WRITE 4711 %02x:%02x:%llu 0 EOF",
             major(st.st_dev), minor(st.st_dev), (unsigned long long)st.st_ino);
    apply(locks);
    char *text = report(yaml, &k, &code);
    assert_int_equal(code, 2);
    assert_non_null(strstr(line_of(text, CHECK_DISK_LOCKED, line, sizeof line), "process 4711"));
    assert_non_null(strstr(text, "penstockd would not start\n"));
    covered[CHECK_DISK_LOCKED] = true;
    free(text);
    apply("F /proc/locks ");
}

/* The same with a lock that is held, in the real /proc/locks. */
static void test_held_lock(void **state)
{
    (void)state;
    static struct check k;
    struct check_machine here;
    struct config *c;
    struct err err;
    char yaml[512], path[160], *text = NULL;
    size_t size;
    apply("F /held/lock ");
    snprintf(path, sizeof path, "%s/held/lock", root);
    snprintf(yaml, sizeof yaml,
             "state_directory: %s/held\nlog_directory: %s/none\nrun_directory: %s\ninstance: t\n",
             root, root, root);
    check_machine_read(&here);
    for (int held = 0; held < 2; held++) {
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_int_equal(flock(fd, held ? LOCK_EX | LOCK_NB : LOCK_UN), 0);
        assert_true(config_parse("t", yaml, strlen(yaml), &c, &err));
        k = (struct check){.config = c, .machine = &here, .out = open_memstream(&text, &size)};
        check_storage(&k);
        fclose(k.out);
        if (access("/proc/locks", R_OK) == 0)
            assert_int_equal(k.raised[CHECK_DISK_LOCKED], held);
        config_free(c);
        free(text);
        close(fd);
    }
}

/* The sample on a real directory leaves nothing behind. */
static void test_sample_is_real_and_leaves_nothing(void **state)
{
    (void)state;
    struct check_machine m;
    struct check_disk d;
    struct check_sample s;
    char dir[128];
    check_machine_read(&m);
    apply("D /sample");
    snprintf(dir, sizeof dir, "%s/sample", root);
    assert_true(m.disk(dir, &d));
    assert_true(d.exists && d.writable && d.free > 0);
    m.sample(dir, d.direct, &s);
    assert_int_equal(s.error, 0);
    assert_true(s.n > 0 && s.p50 > 0 && s.p50 <= s.p99 && s.p99 <= s.max);
    assert_int_equal(rmdir(dir), 0); /* empty */
    assert_true(m.disk(dir, &d));
    assert_false(d.exists);
    assert_string_equal(d.existing, root);
}

static void test_banner(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    check_banner(f);
    fclose(f);
    assert_non_null(strstr(text, "penstockd " PST_VERSION));
    assert_non_null(strstr(text, "kernel "));
    assert_non_null(strstr(text, "liburing 2"));
    free(text);
}

static void test_every_check_has_its_case(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CHECKS; i++) {
        const struct check_row *r = &check_rows[i];
        assert_true(*r->sentence && *r->remedy && strchr(r->name, '.'));
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(r->name, check_rows[j].name);
#ifdef PST_DPDK
        if (i == CHECK_PORT_NO_DPDK)
            continue;
#endif
        if (!covered[i])
            fail_msg("%s has no case", r->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tuned_machine_has_no_findings),
        cmocka_unit_test(test_each_change_gives_its_finding),
        cmocka_unit_test(test_keys_of_the_report),
        cmocka_unit_test(test_virtual_machine_downgrades_tuning),
        cmocka_unit_test(test_locked_directory),
        cmocka_unit_test(test_held_lock),
        cmocka_unit_test(test_sample_is_real_and_leaves_nothing),
        cmocka_unit_test(test_banner),
        cmocka_unit_test(test_every_check_has_its_case),
    };
    return cmocka_run_group_tests(tests, machine_up, machine_down);
}
