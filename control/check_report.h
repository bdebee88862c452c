/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_report.h - what the check_*.c files share: the machine as it is seen, and findings.
 *
 * The machine is passed in. Files of /proc, /sys and /dev are read below `root` ("" is the real
 * one), everything that is no file is a value or a function of struct check_machine, so that a test
 * can describe any machine. Control thread only; nothing here is kept.
 */
#pragma once

#include <limits.h>
#include "check.h"

enum check_severity { CHECK_FATAL, CHECK_WARN, CHECK_INFO };
enum check_id {
#define CHECK(ID, name, severity, tuning, sentence, remedy) CHECK_##ID,
#include "checks.def"
#undef CHECK
    CHECKS
};
struct check_row {
    const char *name;
    enum check_severity severity;
    bool tuning;
    const char *sentence, *remedy;
};
extern const struct check_row check_rows[CHECKS];

struct check_disk {
    char existing[PATH_MAX]; /* the directory, or its nearest ancestor that exists */
    bool exists, writable;   /* writable: of `existing` */
    bool direct;             /* O_DIRECT works (STATX_DIOALIGN, or an open that succeeds) */
    uint32_t align;          /* of it, 0 = unknown */
    uint32_t mode;
    unsigned major, minor;
    uint64_t free, inodes; /* for unprivileged users; inodes UINT64_MAX: no such limit */
};
struct check_sample {
    int error; /* errno, 0 = sampled */
    unsigned n;
    int64_t p50, p99, max; /* ns a write of 4 KiB, O_DIRECT | RWF_DSYNC where there is O_DIRECT */
};

struct check_machine {
    const char *root;
    char release[65]; /* uname -r */
    uint32_t uid;
    const char *user;
    uint64_t memlock, nofile; /* soft limits */
    int io_uring;             /* 0, or the errno of io_uring_setup */
    bool clock_synced;
    int64_t clock_error; /* ns, the kernel's estimate; < 0 unknown */
    bool (*disk)(const char *dir, struct check_disk *);
    void (*sample)(const char *dir, bool direct, struct check_sample *);
    bool (*group)(const char *name);
    /* 0 nothing there, 1 a daemon answers, 2 something that is no socket, 3 a dead socket */
    int (*socket)(const char *path);
    /* May a plugin be loaded from it, a command be run? why: one sentence when not. */
    bool (*plugin)(const char *file, struct err *why);
    /* a function of the daemon, as its key has it: kind is enum pst_function_kind */
    bool (*function)(int kind, const char *text, struct err *why);
    bool (*command)(const char *file, struct err *why);
    /* the users file, the certificate and its key; why: one sentence when they cannot be used */
    bool (*users)(const char *file, unsigned *count, struct err *why);
    bool (*certificate)(const char *file, const char *key, int64_t *expires, struct err *why);
    int64_t now; /* Unix seconds */
    bool (*readable)(const char *file); /* a file or device node of this user's */
};
void check_machine_read(struct check_machine *m); /* this one */

#define CHECK_CPUS 4096
struct cpus {
    uint64_t word[CHECK_CPUS / 64];
};

struct check {
    const struct config *config;
    const struct check_machine *machine;
    FILE *out, *plan; /* plan: used by check_plan alone */
    bool virtual;
    unsigned count[3];
    bool raised[CHECKS];
    struct cpus online, allowed, lcores;
    char text[32][400];
    unsigned next_text;
};

/* The whole report. The same exit code as check_run. */
int check_report(struct check *k);

/* One finding, printed at once: {0} … become the texts given, at most six. */
void check_finding(struct check *k, enum check_id id, const char *const *args);
#define FIND(k, ID, ...)                                                                           \
    check_finding(k, CHECK_##ID, (const char *const[7]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* A text for a finding; good until 32 further calls. */
__attribute__((format(printf, 2, 3))) const char *check_text(struct check *k, const char *fmt, ...);

/* Files below root: the first `cap` - 1 bytes without the newline at the end; false: not there. */
__attribute__((format(printf, 4, 5))) bool check_read(const struct check *k, char *buf, size_t cap,
                                                      const char *fmt, ...);
__attribute__((format(printf, 2, 3))) bool check_exists(const struct check *k, const char *fmt,
                                                        ...);
/* The last part of a link's target into buf. */
__attribute__((format(printf, 4, 5))) bool check_link(const struct check *k, char *buf, size_t cap,
                                                      const char *fmt, ...);
int64_t check_meminfo(const struct check *k, const char *key); /* bytes, -1 unknown */
bool check_process(const struct check *k, const char *name);   /* one of that name runs */
bool check_capability(const struct check *k, unsigned bit);
bool check_word(const char *text, const char *word); /* among blanks and commas */
const char *check_param(const struct check *k, const char *name, char *buf, size_t cap);

bool cpus_has(const struct cpus *s, int cpu);
void cpus_add(struct cpus *s, int cpu);
int cpus_count(const struct cpus *s);
bool cpus_parse(const char *text, struct cpus *out);
const char *cpus_text(struct check *k, const struct cpus *s); /* 2-5,8 */
int cpus_first(const struct cpus *s);                         /* -1: empty */
int check_node(const struct check *k, int cpu);               /* -1: one memory for all */
int check_free_cpu(const struct check *k, int node); /* an online CPU that nobody has, -1 = none */

/* A vdev's interface (iface=…), "" when it names none. */
const char *check_iface(const char *device, char buf[64]);
bool check_port_dpdk(const struct config_port *p);

void check_plan(struct check *k);
void check_cpu(struct check *k);
void check_memory(struct check *k);
void check_ports(struct check *k);
void check_feeds(struct check *k);
void check_storage(struct check *k);
void check_kernel(struct check *k); /* kernel, time, security */
void check_ipc(struct check *k);    /* check_ipc.c: who may come in; of security */

/* Bytes that want hugepages: ring and packet memory. */
uint64_t check_huge_bytes(const struct check *k);
