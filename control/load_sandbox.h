/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_sandbox.h - what a penstock-load process may still do once it reads foreign files and runs
 * foreign functions.
 *
 *   limits      nice +15, idle I/O class; the kernel's first choice but queries' when memory is
 *               short (oom_score_adj 800); no core dump, not readable by other processes;
 *               RLIMIT_DATA: its memory; RLIMIT_NOFILE
 *   rights      no capability, no_new_privs
 *   files       Landlock, where the kernel has it: names are made, written and removed only below
 *               the directories it was given; it may read what its user may read
 *   system calls (seccomp, an allow list): memory, threads, clocks, files, its socket. Others are
 *               refused (EPERM); exec, fork, a new socket, a signal to another process, ptrace,
 *               mount end the process (SIGSYS)
 *
 * Without Landlock (older kernels, or not built in) a function that is loaded into the process can
 * write wherever penstockd's user can; READY and the task refresh say which it is.
 *
 * Sanitizer builds leave out RLIMIT_DATA and seccomp: their runtime maps terabytes and needs calls
 * of its own.
 */
#pragma once

#include "core/base.h"

/* memory: bytes, 0 = no limit. */
bool load_sandbox_limits(uint64_t memory, struct err *err);
/* Directories that do not exist are made. All threads, for good. *landlocked: the kernel has it. */
bool load_sandbox_enter(const char *const *directories, unsigned n, bool *landlocked,
                        struct err *err);
