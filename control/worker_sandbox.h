/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_sandbox.h - what the sandboxes of penstock-query and penstock-load have in common
 * (query_sandbox.h, load_sandbox.h say what each may do).
 *
 *   limits      nice; the kernel's choice when memory is short (oom_score_adj); no core dump, not
 *               readable by other processes; RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_NOFILE; a limit of
 *               the host that is lower stays
 *   rights      no capability, no_new_privs
 *   system calls (seccomp, an allow list): memory, threads, clocks, reading files, its socket, and
 *               what the program adds. Others are refused (EPERM); exec, fork, a new socket, a
 *               signal to another process, ptrace, mount end the process (SIGSYS)
 *
 * Sanitizer builds leave out RLIMIT_DATA and seccomp: their runtime maps terabytes and needs calls
 * of its own.
 */
#pragma once

#include "core/base.h"

struct sandbox_limits {
    int nice;
    const char *oom;     /* oom_score_adj */
    uint64_t data, file; /* bytes, 0 = no limit */
};
struct sandbox_rules {
    const char *who;  /* "a query process": of a refusal's sentence */
    const int *allow; /* further system calls */
    unsigned nallow;
    const int *kill; /* further ones that end it */
    unsigned nkill;
    bool opens_for_writing; /* else open and openat read only */
    bool locks;             /* fcntl sets flags and locks files */
};

bool worker_limits(const struct sandbox_limits *l, struct err *err);
/* All threads, for good. */
bool worker_confine(const struct sandbox_rules *r, struct err *err);

/* The beginning of main in a program that penstock-helper starts with its own pid as the argument
 * and the socket to penstockd at HELPER_FD: it ends with its parent. -1: go on; else the exit code,
 * and what the program says by hand is on standard error. */
int worker_begin(int argc, char **argv, const char *by_hand);
