/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "helper_wire.h"
#include "core/sanitized.h"

#define FILES 4096u

static bool limit(int what, uint64_t n, const char *name, struct err *err)
{
    struct rlimit old, r = {n, n};
    if (getrlimit(what, &old))
        return err_set(err, -errno, "%s: %s", name, strerror(errno));
    if (r.rlim_max > old.rlim_max)
        r.rlim_cur = r.rlim_max = old.rlim_max; /* the host's is lower */
    return !setrlimit(what, &r) || err_set(err, -errno, "%s: %s", name, strerror(errno));
}

bool worker_limits(const struct sandbox_limits *l, struct err *err)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, l->oom, strlen(l->oom)) < 0)
            errno = 0; /* some container: not worth a refusal */
        close(fd);
    }
    setpriority(PRIO_PROCESS, 0, l->nice);
    signal(SIGXFSZ, SIG_IGN); /* a file beyond RLIMIT_FSIZE is an error, not a death */
    signal(SIGPIPE, SIG_IGN);
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    if (syscall(SYS_capset, &head, none))
        return err_set(err, -errno, "capset: %s", strerror(errno));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return err_set(err, -errno, "no_new_privs: %s", strerror(errno));
    prctl(PR_SET_DUMPABLE, 0);
    return limit(RLIMIT_CORE, 0, "RLIMIT_CORE", err) &&
           limit(RLIMIT_NOFILE, FILES, "RLIMIT_NOFILE", err) &&
           (!l->file || limit(RLIMIT_FSIZE, l->file, "RLIMIT_FSIZE", err)) &&
           (!l->data || PST_SANITIZED || limit(RLIMIT_DATA, l->data, "RLIMIT_DATA", err));
}

/* Allowed as they are. */
static const int plain[] = {
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(preadv), SCMP_SYS(write),
    SCMP_SYS(writev), SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(close), SCMP_SYS(lseek),
    SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(statx),
    SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(access), SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents64),
    SCMP_SYS(getcwd), SCMP_SYS(ftruncate), SCMP_SYS(dup), SCMP_SYS(fadvise64),
    /* memory */
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(mincore),
    SCMP_SYS(membarrier), SCMP_SYS(rseq),
    /* threads, signals, time */
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(set_tid_address), SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall), SCMP_SYS(exit),
    SCMP_SYS(exit_group), SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getuid),
    SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday),
    SCMP_SYS(time), SCMP_SYS(times), SCMP_SYS(getrandom), SCMP_SYS(uname), SCMP_SYS(sysinfo),
    SCMP_SYS(getrusage), SCMP_SYS(getrlimit),
    /* its socket */
    SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(poll),
    SCMP_SYS(ppoll), SCMP_SYS(shutdown)};

/* Whoever asks for these does not do its work: the process ends, and penstockd says so. */
static const int deadly[] = {SCMP_SYS(execve),
                             SCMP_SYS(execveat),
                             SCMP_SYS(fork),
                             SCMP_SYS(vfork),
                             SCMP_SYS(socket),
                             SCMP_SYS(socketpair),
                             SCMP_SYS(connect),
                             SCMP_SYS(bind),
                             SCMP_SYS(listen),
                             SCMP_SYS(accept4),
                             SCMP_SYS(kill),
                             SCMP_SYS(tkill),
                             SCMP_SYS(ptrace),
                             SCMP_SYS(process_vm_readv),
                             SCMP_SYS(process_vm_writev),
                             SCMP_SYS(mount),
                             SCMP_SYS(bpf)};

static int rule(scmp_filter_ctx f, uint32_t action, int call, unsigned n,
                const struct scmp_arg_cmp *arg)
{
    return call < 0 ? 0
                    : seccomp_rule_add_array(f, action, call, n, arg); /* < 0: not of this CPU */
}

static int all_of(scmp_filter_ctx f, uint32_t action, const int *call, unsigned n)
{
    int e = 0;
    for (unsigned i = 0; i < n && !e; i++)
        e = rule(f, action, call[i], 0, NULL);
    return e;
}

#define ALLOW(call, n, ...)                                                                        \
    (e = e ? e : rule(f, SCMP_ACT_ALLOW, SCMP_SYS(call), n, (struct scmp_arg_cmp[]){__VA_ARGS__}))

static int rules(scmp_filter_ctx f, const struct sandbox_rules *r)
{
    int e = all_of(f, SCMP_ACT_ALLOW, plain, PST_COUNT(plain));
    e = e ? e : all_of(f, SCMP_ACT_KILL_PROCESS, deadly, PST_COUNT(deadly));
    e = e ? e : all_of(f, SCMP_ACT_ALLOW, r->allow, r->nallow);
    e = e ? e : all_of(f, SCMP_ACT_KILL_PROCESS, r->kill, r->nkill);
    /* threads, no processes; clone3's flags cannot be seen: libc then takes clone */
    ALLOW(clone, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM));
    e = e ? e : rule(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
    e = e ? e
          : rule(f, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1,
                 (struct scmp_arg_cmp[]){SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)});
    const uint64_t writes = r->opens_for_writing ? 0 : O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND;
    ALLOW(open, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, writes, O_RDONLY));
    ALLOW(openat, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, writes, O_RDONLY));
    e = e ? e : rule(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0, NULL);
    /* no memory that is written and then run */
    const uint64_t wx = PROT_WRITE | PROT_EXEC;
    static const uint64_t protections[] = {0, PROT_WRITE, PROT_EXEC};
    for (unsigned i = 0; i < PST_COUNT(protections); i++) {
        ALLOW(mmap, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, wx, protections[i]));
        ALLOW(mprotect, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, wx, protections[i]));
    }
    static const int controls[] = {F_GETFD,     F_SETFD, F_GETFL,  F_DUPFD_CLOEXEC, F_GET_SEALS,
                                   F_ADD_SEALS, /* and with locks: */
                                   F_SETFL,     F_SETLK, F_SETLKW, F_GETLK,         F_OFD_SETLK};
    for (unsigned i = 0; i < (r->locks ? PST_COUNT(controls) : 6); i++)
        ALLOW(fcntl, 1, SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)controls[i]));
    ALLOW(prctl, 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    ALLOW(prlimit64, 1, SCMP_A2(SCMP_CMP_EQ, 0));                   /* asking only */
    ALLOW(tgkill, 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid())); /* abort() */
    return e;
}

bool worker_confine(const struct sandbox_rules *r, struct err *err)
{
    if (PST_SANITIZED)
        return true;
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int e = f ? rules(f, r) : -ENOMEM;
    if (!e)
        e = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!e)
        e = seccomp_load(f);
    if (f)
        seccomp_release(f);
    return !e || err_set(err, e, "seccomp: %s; %s does not run without it", strerror(-e), r->who);
}

int worker_begin(int argc, char **argv, const char *by_hand)
{
    pid_t parent = argc == 2 ? (pid_t)atoi(argv[1]) : 0;
    int type;
    socklen_t len = sizeof type;
    if (parent <= 0 || getsockopt(HELPER_FD, SOL_SOCKET, SO_TYPE, &type, &len) ||
        type != SOCK_SEQPACKET) {
        fprintf(stderr, "%s\n", by_hand);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return getppid() == parent ? -1 : 0;
}
