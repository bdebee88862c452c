/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eal.h - DPDK's environment: started once a process, and only if a DPDK port is configured.
 *
 * What it decides, and says in struct eal_info:
 *   memory   hugepages when enough are free (--in-memory: no files, nothing to clean up), else
 *            ordinary pages (--no-huge), which every vdev and this machine's tests can live with
 *   IOVA     virtual addresses, so no privilege is needed to look up physical ones
 *   devices  no PCI bus at all unless a port names a PCI address; vdevs are added by port_open
 *   threads  the calling thread floats over all CPUs it may use; one EAL thread, pinned, for each
 *            CPU in `cpus` (a CPU may be named once)
 * Telemetry is off. DPDK's log goes to `log` line by line, never to stderr or syslog.
 *
 * Threads: all functions belong to the control thread. DPDK can be started only once in the life
 * of a process: after a failure or eal_stop a new process is needed, and the error says so.
 */
#pragma once

#include "core/base.h"

#define EAL_LCORES_MAX 64
#define EAL_PCI_MAX    32
#define EAL_ARGS_MAX   64

struct eal_config {
    int cpus[EAL_LCORES_MAX]; /* one rx lcore on each */
    int n_cpus;
    const char *pci[EAL_PCI_MAX]; /* addresses */
    int n_pci;
    unsigned memory_mb;          /* 0: 256 */
    const char *const *argument; /* further ones, after ours; they live as long as the process */
    int n_arguments;
    bool no_hugepages;                        /* do not use them even if there are any */
    void (*log)(void *arg, const char *line); /* NULL: discarded; may run in any DPDK thread */
    void *log_arg;
};

struct eal_info {
    bool started;
    bool hugepages;
    unsigned memory_mb;
    const char *iova; /* "VA" or "PA" */
    const char *version;
    char text[200]; /* one line for people */
};

bool eal_start(const struct eal_config *cfg, struct eal_info *info, struct err *err);
/* Runs fn(arg) on the thread pinned to `cpu`. One at a time per CPU. */
bool eal_launch(int cpu, int (*fn)(void *), void *arg, struct err *err);
/* Waits for it; its return value, or -ENOENT for a CPU that has no lcore. */
int eal_join(int cpu);
/* After all joins and port_closes. */
void eal_stop(void);
bool eal_started(void);
/* "DPDK 22.11.4": of the library that is loaded; does not need it started. */
const char *eal_version(void);
/* The last line DPDK logged, "" if none: error messages quote it. */
const char *eal_last_log(void);
