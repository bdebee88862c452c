/* SPDX-License-Identifier: Apache-2.0 */
#include "load_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define FILES        4096u
#define NICE         15
#define IDLE_IO      (3 << 13) /* IOPRIO_CLASS_IDLE */
#define LEAST_MEMORY (64ull << 20)

static bool limit(int what, uint64_t n, const char *name, struct err *err)
{
    struct rlimit old, r = {n, n};
    if (getrlimit(what, &old))
        return err_set(err, -errno, "%s: %s", name, strerror(errno));
    if (r.rlim_max > old.rlim_max)
        r.rlim_cur = r.rlim_max = old.rlim_max; /* the host's is lower */
    return !setrlimit(what, &r) || err_set(err, -errno, "%s: %s", name, strerror(errno));
}

bool load_sandbox_limits(uint64_t memory, struct err *err)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, "800", 3) != 3)
            errno = 0; /* some container: not worth a refusal */
        close(fd);
    }
    setpriority(PRIO_PROCESS, 0, NICE);
    syscall(SYS_ioprio_set, 1 /* a process */, 0, IDLE_IO);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    if (syscall(SYS_capset, &head, none))
        return err_set(err, -errno, "capset: %s", strerror(errno));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return err_set(err, -errno, "no_new_privs: %s", strerror(errno));
    prctl(PR_SET_DUMPABLE, 0);
    if (!limit(RLIMIT_CORE, 0, "RLIMIT_CORE", err) ||
        !limit(RLIMIT_NOFILE, FILES, "RLIMIT_NOFILE", err))
        return false;
    if (!memory || SANITIZED)
        return true;
    return limit(RLIMIT_DATA, memory < LEAST_MEMORY ? LEAST_MEMORY : memory, "RLIMIT_DATA", err);
}

/* ---- files ---- */

#define WRITES                                                                                     \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                               \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |   \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
#define ALLOWED                                                                                    \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                               \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG)
#define REFER    (1ull << 13) /* ABI 2: renames between directories */
#define TRUNCATE (1ull << 14) /* ABI 3 */

/* Makes what is missing of a path. */
static bool make_path(const char *path, struct err *err)
{
    char p[4096];
    if (*path != '/' || snprintf(p, sizeof p, "%s", path) >= (int)sizeof p)
        return err_set(err, -EINVAL, "%.200s: give an absolute path", path);
    for (char *s = strchr(p + 1, '/');; s = strchr(s + 1, '/')) {
        if (s)
            *s = 0;
        if (mkdir(p, 0700) && errno != EEXIST && errno != EROFS && errno != EACCES)
            return err_set(err, -errno, "%s: cannot be made: %s", p, strerror(errno));
        if (!s)
            return true;
        *s = '/';
    }
}

static bool allow_below(int rules, const char *path, uint64_t access, struct err *err)
{
    struct landlock_path_beneath_attr b = {.allowed_access = access};
    if (!make_path(path, err))
        return false;
    b.parent_fd = open(path, O_PATH | O_CLOEXEC | O_DIRECTORY);
    bool ok = b.parent_fd >= 0 &&
              !syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &b, 0);
    if (!ok)
        err_set(err, -errno, "%s: cannot be written by the loader: %s", path, strerror(errno));
    if (b.parent_fd >= 0)
        close(b.parent_fd);
    return ok;
}

static bool landlock(const char *const *directories, unsigned n, bool *have, struct err *err)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    *have = abi >= 1;
    for (unsigned i = 0; i < n && !*have; i++)
        if (!make_path(directories[i], err))
            return false;
    if (!*have)
        return true;
    uint64_t more = (abi >= 2 ? REFER : 0) | (abi >= 3 ? TRUNCATE : 0);
    struct landlock_ruleset_attr a = {.handled_access_fs = WRITES | more};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &a, sizeof a.handled_access_fs, 0);
    bool ok = rules >= 0 || err_set(err, -errno, "landlock: %s", strerror(errno));
    for (unsigned i = 0; i < n && ok; i++)
        ok = allow_below(rules, directories[i], ALLOWED | more, err);
    if (ok && syscall(SYS_landlock_restrict_self, rules, 0))
        ok = err_set(err, -errno, "landlock: %s", strerror(errno));
    if (rules >= 0)
        close(rules);
    return ok;
}

/* ---- system calls ---- */

/* Allowed as they are. */
static const int plain[] = {
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(preadv), SCMP_SYS(preadv2),
    SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(pwritev2),
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(lseek),
    SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(statx),
    SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(access), SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents64),
    SCMP_SYS(getcwd), SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(fsync),
    SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range), SCMP_SYS(dup), SCMP_SYS(fadvise64),
    SCMP_SYS(readahead), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(rename), SCMP_SYS(renameat),
    SCMP_SYS(renameat2), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rmdir), SCMP_SYS(flock),
    SCMP_SYS(fchmod), SCMP_SYS(utimensat), SCMP_SYS(copy_file_range), SCMP_SYS(umask),
    /* memory */
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(mincore),
    SCMP_SYS(membarrier), SCMP_SYS(rseq), SCMP_SYS(memfd_create),
    /* threads, signals, time */
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(set_tid_address), SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall), SCMP_SYS(exit),
    SCMP_SYS(exit_group), SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getuid),
    SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday),
    SCMP_SYS(time), SCMP_SYS(times), SCMP_SYS(getrandom), SCMP_SYS(uname), SCMP_SYS(sysinfo),
    SCMP_SYS(getrusage), SCMP_SYS(getrlimit), SCMP_SYS(ioprio_set), SCMP_SYS(setpriority),
    /* its socket */
    SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(poll),
    SCMP_SYS(ppoll), SCMP_SYS(shutdown)};

/* Whoever asks for these is no loader: the process ends, and penstockd says so. */
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

#define ALLOW(call, n, ...)                                                                        \
    (e = e ? e : rule(f, SCMP_ACT_ALLOW, SCMP_SYS(call), n, (struct scmp_arg_cmp[]){__VA_ARGS__}))

static int rules(scmp_filter_ctx f)
{
    int e = 0;
    for (unsigned i = 0; i < PST_COUNT(plain) && !e; i++)
        e = rule(f, SCMP_ACT_ALLOW, plain[i], 0, NULL);
    for (unsigned i = 0; i < PST_COUNT(deadly) && !e; i++)
        e = rule(f, SCMP_ACT_KILL_PROCESS, deadly[i], 0, NULL);
    /* threads, no processes; clone3's flags cannot be seen: libc then takes clone */
    ALLOW(clone, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM));
    e = e ? e : rule(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
    e = e ? e
          : rule(f, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1,
                 (struct scmp_arg_cmp[]){SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)});
    e = e ? e : rule(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0, NULL);
    /* no memory that is written and then run */
    const uint64_t wx = PROT_WRITE | PROT_EXEC;
    static const uint64_t protections[] = {0, PROT_WRITE, PROT_EXEC};
    for (unsigned i = 0; i < PST_COUNT(protections); i++) {
        ALLOW(mmap, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, wx, protections[i]));
        ALLOW(mprotect, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, wx, protections[i]));
    }
    static const int controls[] = {F_GETFD,         F_SETFD,     F_GETFL,     F_SETFL,
                                   F_DUPFD_CLOEXEC, F_GET_SEALS, F_ADD_SEALS, F_SETLK,
                                   F_SETLKW,        F_GETLK,     F_OFD_SETLK};
    for (unsigned i = 0; i < PST_COUNT(controls); i++)
        ALLOW(fcntl, 1, SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)controls[i]));
    ALLOW(prctl, 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    ALLOW(prlimit64, 1, SCMP_A2(SCMP_CMP_EQ, 0));                   /* asking only */
    ALLOW(tgkill, 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid())); /* abort() */
    return e;
}

bool load_sandbox_enter(const char *const *directories, unsigned n, bool *landlocked,
                        struct err *err)
{
    if (!landlock(directories, n, landlocked, err))
        return false;
    if (SANITIZED)
        return true;
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int e = f ? rules(f) : -ENOMEM;
    if (!e)
        e = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!e)
        e = seccomp_load(f);
    if (f)
        seccomp_release(f);
    return !e || err_set(err, e, "seccomp: %s; a loader does not run without it", strerror(-e));
}
