/* SPDX-License-Identifier: Apache-2.0 */
/* check_port.c - devices, interfaces, and who joins the groups. */
#include <ctype.h>
#include "check_report.h"
#include "print.h"
#include "dataplane/port.h"

#define CAP_ADMIN 12 /* CAP_NET_ADMIN */
#define CAP_RAW   13 /* CAP_NET_RAW */

static bool is_none(const struct config_port *p)
{
    return !strcmp(p->device, "none");
}

bool check_port_dpdk(const struct config_port *p)
{
    enum port_kind kind;
    const char *device;
    return !is_none(p) && port_device_parse(p->device, &kind, &device, NULL) && kind == PORT_DPDK;
}

const char *check_iface(const char *device, char buf[64])
{
    const char *at = strstr(device, "iface=");
    buf[0] = 0;
    if (at)
        snprintf(buf, 64, "%.*s", (int)strcspn(at + 6, ","), at + 6);
    return buf;
}

/* "239.1.1.1, 239.1.1.2 and 3 more": the multicast groups; "" without any. */
static const char *groups_text(struct check *k, const struct config_port *p)
{
    char buf[300] = "";
    size_t n = 0;
    unsigned said = 0, more = 0;
    for (uint32_t i = 0; i < p->groups.count; i++) {
        uint32_t a = p->groups.at[i].group.address;
        bool before = a >> 28 != 0xE; /* not multicast: nobody needs to join */
        for (uint32_t j = 0; j < i && !before; j++)
            before = p->groups.at[j].group.address == a;
        if (before)
            continue;
        if (said == 3) {
            more++;
            continue;
        }
        n += (size_t)snprintf(buf + n, sizeof buf - n, "%s%u.%u.%u.%u", said++ ? ", " : "", a >> 24,
                              a >> 16 & 255, a >> 8 & 255, a & 255);
    }
    if (more)
        snprintf(buf + n, sizeof buf - n, " and %u more", more);
    return check_text(k, "%s", buf);
}

/* An interface of the kernel: there, up, link, size, multicast. False: not there. */
static bool check_interface(struct check *k, const struct config_port *p, const char *iface)
{
    char buf[64];
    if (!check_exists(k, "/sys/class/net/%s", iface)) {
        FIND(k, PORT_IFACE_ABSENT, p->name, iface);
        return false;
    }
    unsigned long flags = 1;
    if (check_read(k, buf, sizeof buf, "/sys/class/net/%s/flags", iface))
        flags = strtoul(buf, NULL, 16);
    if (!(flags & 1))
        FIND(k, PORT_IFACE_DOWN, p->name, iface);
    else if (check_read(k, buf, sizeof buf, "/sys/class/net/%s/carrier", iface) &&
             !strcmp(buf, "0"))
        FIND(k, PORT_CARRIER, p->name, iface);
    if (check_read(k, buf, sizeof buf, "/sys/class/net/%s/mtu", iface) &&
        strtol(buf, NULL, 10) < p->mtu)
        FIND(k, PORT_MTU, p->name, iface, check_text(k, "%s", buf),
             check_text(k, "%lld", (long long)p->mtu));
    if (!(flags & 0x1000) && !(flags & 8) && *groups_text(k, p)) /* loopback needs no flag */
        FIND(k, PORT_MULTICAST, p->name, iface);
    if (check_read(k, buf, sizeof buf, "/sys/class/net/%s/statistics/rx_missed_errors", iface) &&
        strtoll(buf, NULL, 10) > 0)
        FIND(k, PORT_BACKLOG, p->name, iface,
             check_text(k, "%s", print_count(strtoll(buf, NULL, 10))));
    return true;
}

static void check_numa(struct check *k, const struct config_port *p, const char *file)
{
    char buf[32];
    int node = check_node(k, (int)p->lcore);
    if (p->lcore < 0 || node < 0 || !check_read(k, buf, sizeof buf, "%s", file))
        return;
    int device = atoi(buf);
    if (device < 0 || device == node)
        return;
    int other = check_free_cpu(k, device);
    FIND(k, PORT_NUMA, p->name, check_text(k, "%d", device),
         check_text(k, "%lld", (long long)p->lcore), check_text(k, "%d", node),
         other < 0 ? check_text(k, "a CPU of node %d", device) : check_text(k, "%d", other));
}

static void check_membership(struct check *k, const struct config_port *p, const char *device,
                             const char *iface, bool dpdk_owned)
{
    const char *groups = groups_text(k, p);
    if (!*groups)
        return;
    if (p->membership == CONFIG_JOIN_KERNEL) {
        if (iface && strcmp(iface, p->interface) != 0)
            FIND(k, PORT_JOIN_ELSEWHERE, p->name, p->interface, device,
                 check_text(k, "interface: %s", iface));
        else if (dpdk_owned)
            FIND(k, PORT_JOIN_ELSEWHERE, p->name, p->interface, device,
                 "membership: none, and static groups on the switch");
    } else if (dpdk_owned) {
        FIND(k, PORT_JOIN_DPDK, p->name, device, groups,
             "Cisco: ip igmp static-group; Arista: ip igmp static-group; FRR: ip igmp join");
    } else {
        FIND(k, PORT_JOIN_NOBODY, p->name, groups, iface ? iface : "eth1");
    }
}

static void check_pci(struct check *k, const struct config_port *p, const char *typed)
{
    static const char *const bifurcated[] = {"mlx5_core", "mlx4_core"};
    static const char *const owned[] = {"vfio-pci", "uio_pci_generic", "igb_uio"};
    char addr[24], driver[64], buf[64], width[16], max_speed[64], max_width[16];
    /* 3b:00.0 is 0000:3b:00.0 */
    bool full = strchr(typed, ':') != strrchr(typed, ':');
    snprintf(addr, sizeof addr, full ? "%.16s" : "0000:%.11s", typed);
    for (char *c = addr; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    const char *name = check_text(k, "%s", addr);
    if (!check_exists(k, "/sys/bus/pci/devices/%s", addr)) {
        FIND(k, PORT_PCI_ABSENT, p->name, name);
        return;
    }
    bool mine = false, shared = false;
    if (!check_link(k, driver, sizeof driver, "/sys/bus/pci/devices/%s/driver", addr))
        snprintf(driver, sizeof driver, "none");
    for (unsigned i = 0; i < PST_COUNT(owned); i++)
        mine |= !strcmp(driver, owned[i]);
    for (unsigned i = 0; i < PST_COUNT(bifurcated); i++)
        shared |= !strcmp(driver, bifurcated[i]);
    if (!mine && !shared)
        FIND(k, PORT_PCI_DRIVER, p->name, name, check_text(k, "%s", driver));
    if (!strcmp(driver, "vfio-pci")) {
        if (!check_link(k, buf, sizeof buf, "/sys/bus/pci/devices/%s/iommu_group", addr)) {
            if (!check_read(k, width, sizeof width,
                            "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode") ||
                (strcmp(width, "Y") != 0 && strcmp(width, "1") != 0))
                FIND(k, PORT_IOMMU, p->name, name);
        } else if (!k->machine->readable(check_text(k, "/dev/vfio/%s", buf))) {
            FIND(k, PORT_VFIO, p->name, check_text(k, "%s", buf), k->machine->user);
        }
    }
    char file[128];
    snprintf(file, sizeof file, "/sys/bus/pci/devices/%s/numa_node", addr);
    check_numa(k, p, file);
    if (check_read(k, buf, sizeof buf, "/sys/bus/pci/devices/%s/current_link_speed", addr) &&
        check_read(k, max_speed, sizeof max_speed, "/sys/bus/pci/devices/%s/max_link_speed",
                   addr) &&
        check_read(k, width, sizeof width, "/sys/bus/pci/devices/%s/current_link_width", addr) &&
        check_read(k, max_width, sizeof max_width, "/sys/bus/pci/devices/%s/max_link_width",
                   addr) &&
        (strtod(buf, NULL) < strtod(max_speed, NULL) || atoi(width) < atoi(max_width)))
        FIND(k, PORT_PCI_LINK, p->name, name, check_text(k, "%s", buf), check_text(k, "%s", width),
             check_text(k, "%s", max_speed), check_text(k, "%s", max_width));
    bool joins = shared && p->membership == CONFIG_JOIN_KERNEL;
    if (joins && !check_exists(k, "/sys/class/net/%s", p->interface))
        FIND(k, PORT_IFACE_ABSENT, p->name, p->interface);
    else if (joins && check_exists(k, "/sys/bus/pci/devices/%s/net/%s", addr, p->interface))
        check_interface(k, p, p->interface);
    else if (joins)
        FIND(k, PORT_JOIN_ELSEWHERE, p->name, p->interface, name,
             check_text(k, "interface: one of ls /sys/bus/pci/devices/%s/net", addr));
    else
        check_membership(k, p, name, NULL, mine);
}

static void check_vdev(struct check *k, const struct config_port *p, const char *device)
{
    char iface[64], file[128];
    bool packet = !strncmp(device, "net_af_packet", 13), xdp = !strncmp(device, "net_af_xdp", 10);
    check_iface(device, iface);
    if (!packet && !xdp) { /* a ring, a capture, a tap: nothing of the host's */
        if (*iface && !strncmp(device, "net_pcap", 8))
            check_interface(k, p, check_text(k, "%s", iface));
        return;
    }
    if (!*iface) {
        FIND(k, PORT_IFACE_UNNAMED, p->name, check_text(k, "%s", device));
        return;
    }
    const char *name = check_text(k, "%s", iface);
    const char *driver = xdp ? "af_xdp" : "af_packet";
    if (!check_capability(k, CAP_RAW))
        FIND(k, PORT_CAPABILITY, p->name, driver,
             xdp ? "CAP_NET_RAW CAP_NET_ADMIN CAP_BPF" : "CAP_NET_RAW");
    else if (xdp && !check_capability(k, CAP_ADMIN))
        FIND(k, PORT_CAPABILITY, p->name, driver, "CAP_NET_ADMIN CAP_BPF");
    if (!check_interface(k, p, name))
        return;
    snprintf(file, sizeof file, "/sys/class/net/%s/device/numa_node", iface);
    check_numa(k, p, file);
    check_membership(k, p, name, name, false);
}

static void check_socket(struct check *k, const struct config_port *p, const char *device)
{
    const char *iface = device ? device : p->interface;
    char buf[64], all[64];
    if (iface && !check_interface(k, p, iface))
        return;
    if (!check_capability(k, CAP_ADMIN) &&
        check_read(k, buf, sizeof buf, "/proc/sys/net/core/rmem_max") &&
        strtoll(buf, NULL, 10) < 8 << 20)
        FIND(k, PORT_RMEM, p->name, check_text(k, "%s", print_bytes(strtoll(buf, NULL, 10))));
    /* the stricter of the two holds; 1 drops what would not be answered the same way */
    if (iface && check_read(k, buf, sizeof buf, "/proc/sys/net/ipv4/conf/%s/rp_filter", iface) &&
        check_read(k, all, sizeof all, "/proc/sys/net/ipv4/conf/all/rp_filter")) {
        int mode = atoi(buf) > atoi(all) ? atoi(buf) : atoi(all);
        if (mode == 1 && strcmp(iface, "lo") != 0)
            FIND(k, PORT_RP_FILTER, p->name, iface);
    }
}

static void check_port(struct check *k, const struct config_port *p)
{
    enum port_kind kind;
    const char *device;
    struct err err = {0};
    if (is_none(p))
        return;
    if (!port_device_parse(p->device, &kind, &device, &err)) {
        FIND(k, PORT_DEVICE, p->name, err.text);
        return;
    }
    if (kind == PORT_SOCKET) {
        check_socket(k, p, device);
        return;
    }
    if (kind == PORT_PCAP) {
        if (strcmp(device, "-") != 0 && !k->machine->readable(device))
            FIND(k, PORT_FILE, p->name, device);
        return;
    }
#ifndef PST_DPDK
    FIND(k, PORT_NO_DPDK, p->name, device);
#endif
    if (isxdigit((unsigned char)device[0]) && strchr(device, ':') && strchr(device, '.') &&
        strncmp(device, "eth_", 4) != 0)
        check_pci(k, p, device);
    else
        check_vdev(k, p, device);
}

void check_ports(struct check *k)
{
    if (!k->config->ports.count)
        FIND(k, PORT_NONE);
    for (uint32_t i = 0; i < k->config->ports.count; i++)
        check_port(k, &k->config->ports.at[i]);
}
