/* SPDX-License-Identifier: Apache-2.0 */
#include "port.h"

#include <ctype.h>
#include <errno.h>

struct port *port_open(const struct port_config *cfg, struct err *err)
{
    struct port *p = NULL;
    if (!cfg->now && cfg->kind != PORT_PCAP) {
        err_set(err, -EINVAL, "port %s: no clock given", cfg->name);
        return NULL;
    }
    switch (cfg->kind) {
    case PORT_DPDK:
#ifdef PST_DPDK
        p = port_dpdk_open(cfg, err);
#else
        err_set(err, -ENOTSUP,
                "port %s: this build has no DPDK; configure it with -Ddpdk=enabled, or use a "
                "socket: port",
                cfg->name);
#endif
        break;
    case PORT_PCAP:
        p = port_pcap_open(cfg, err);
        break;
    case PORT_MEM:
        p = port_mem_open(cfg, err);
        break;
    case PORT_SOCKET:
        p = port_socket_open(cfg, err);
        break;
    }
    if (p) {
        p->kind = cfg->kind;
        snprintf(p->name, sizeof p->name, "%s", cfg->name);
    }
    return p;
}

/* 3b:00.0 or 0000:3b:00.0 */
static bool is_pci(const char *s)
{
    unsigned dom, bus, dev, fn;
    int n = -1;
    if (sscanf(s, "%4x:%2x:%2x.%1x%n", &dom, &bus, &dev, &fn, &n) == 4 && n > 0 && !s[n]) {
        return true;
    }
    n = -1;
    return sscanf(s, "%2x:%2x.%1x%n", &bus, &dev, &fn, &n) == 3 && n > 0 && !s[n];
}

bool port_device_parse(const char *text, enum port_kind *kind, const char **device, struct err *err)
{
    static const struct {
        const char *prefix;
        enum port_kind kind;
        bool keep; /* the prefix is part of the device */
    } forms[] = {
        {"net_", PORT_DPDK, true},   {"eth_", PORT_DPDK, true},       {"vdev:", PORT_DPDK, false},
        {"pcap:", PORT_PCAP, false}, {"socket:", PORT_SOCKET, false},
    };
    for (size_t i = 0; i < PST_COUNT(forms); i++) {
        size_t n = strlen(forms[i].prefix);
        if (strncmp(text, forms[i].prefix, n) == 0 && text[n]) {
            *kind = forms[i].kind;
            *device = forms[i].keep ? text : text + n;
            return true;
        }
    }
    if (strcmp(text, "socket") == 0) {
        *kind = PORT_SOCKET;
        *device = NULL;
        return true;
    }
    if (is_pci(text)) {
        *kind = PORT_DPDK;
        *device = text;
        return true;
    }
    return err_set(err, -EINVAL,
                   "\"%s\" is no device: give a PCI address (0000:3b:00.0), a DPDK vdev "
                   "(net_af_packet0,iface=eth1), socket:IFACE or pcap:FILE",
                   text);
}
