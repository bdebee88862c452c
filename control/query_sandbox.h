/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query_sandbox.h - what a query process may still do once it runs foreign text and foreign code.
 *
 *   limits      nice +10; the kernel's first choice when memory is short (oom_score_adj 1000); no
 *               core dump, not readable by other processes; RLIMIT_DATA: private memory (maps of
 *               RDB and database are shared and not counted); RLIMIT_FSIZE: the size of its result;
 *               RLIMIT_NOFILE
 *   rights      no capability, no_new_privs
 *   system calls (seccomp, an allow list): memory, threads, clocks, reading files (open for reading
 *               only), its socket. Others are refused (EPERM); exec, fork, a new socket, a signal
 *               to another process, ptrace end the process (SIGSYS). So it writes no file, starts
 *               nothing, and speaks to nobody but penstockd.
 *
 * It may still read what its user may read, use its CPU share and its memory limit, and give a
 * wrong answer to its own query. Sanitizer builds leave out RLIMIT_DATA and seccomp: their runtime
 * maps terabytes and needs calls of its own.
 */
#pragma once

#include "core/base.h"

/* At the start of the process. memory: query_memory; threads: those the engine will have. */
bool sandbox_limits(uint64_t memory, unsigned threads, struct err *err);
/* After everything that needs more was opened. All threads, for good. */
bool sandbox_enter(struct err *err);
