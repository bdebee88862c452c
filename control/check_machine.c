/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_machine.c - this machine, where it is no file of /proc or /sys: limits, the clock, disks, a
 * half second of durable writes, io_uring. Also the banner.
 *
 * io_uring is asked for by its system call: liburing stays in storage.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/io_uring.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include "check_report.h"
#include "core/trusted.h"
#include "functions.h"
#include "byte_stream.h"
#include "users.h"
#include "dataplane/eal.h"

#define SAMPLE_NS    500000000ll
#define SAMPLE_MAX   4096
#define SAMPLE_BLOCK 4096
#define SAMPLE_FILE  (1u << 20)

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* A file that is gone when it is closed, whatever happens. */
static int open_unnamed(const char *dir, int flags)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd;
    char path[PATH_MAX]; /* a filesystem without O_TMPFILE */
    snprintf(path, sizeof path, "%s/.check.%d", dir, (int)getpid());
    fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | flags, 0600);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static void direct_of(const char *dir, struct check_disk *out)
{
    int fd = open_unnamed(dir, O_DIRECT);
    if (fd < 0)
        return;
    out->direct = true;
#ifdef STATX_DIOALIGN
    struct statx sx;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 && (sx.stx_mask & STATX_DIOALIGN)) {
        out->align = sx.stx_dio_offset_align;
        out->direct = sx.stx_dio_offset_align != 0;
    }
#endif
    close(fd);
}

static bool disk_read(const char *dir, struct check_disk *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->existing, sizeof out->existing, "%s", dir);
    struct stat st;
    out->exists = stat(dir, &st) == 0 && S_ISDIR(st.st_mode);
    while (!out->exists && stat(out->existing, &st) != 0) {
        char *slash = strrchr(out->existing, '/');
        if (!slash || slash == out->existing)
            snprintf(out->existing, sizeof out->existing, "%s", slash ? "/" : ".");
        else
            *slash = 0;
    }
    struct statvfs v;
    if (stat(out->existing, &st) || statvfs(out->existing, &v))
        return false;
    out->writable = S_ISDIR(st.st_mode) && access(out->existing, W_OK | X_OK) == 0;
    out->mode = st.st_mode & 07777;
    out->major = major(st.st_dev);
    out->minor = minor(st.st_dev);
    out->free = (uint64_t)v.f_bavail * v.f_frsize;
    out->inodes = v.f_files ? v.f_favail : UINT64_MAX;
    if (out->writable)
        direct_of(out->existing, out);
    return true;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* As the log writes: 4 KiB over zeroed, allocated blocks, one at a time, each durable. */
static void sample_disk(const char *dir, bool direct, struct check_sample *out)
{
    static int64_t took[SAMPLE_MAX];
    memset(out, 0, sizeof *out);
    int fd = open_unnamed(dir, direct ? O_DIRECT : 0);
    uint8_t *block = NULL;
    if (fd < 0 || posix_memalign((void **)&block, SAMPLE_BLOCK, SAMPLE_BLOCK)) {
        out->error = errno ? errno : ENOMEM;
        if (fd >= 0)
            close(fd);
        return;
    }
    memset(block, 0, SAMPLE_BLOCK);
    struct iovec v = {block, SAMPLE_BLOCK};
    for (off_t at = 0; at < SAMPLE_FILE && !out->error; at += SAMPLE_BLOCK)
        if (pwritev(fd, &v, 1, at) != SAMPLE_BLOCK)
            out->error = errno ? errno : EIO;
    if (!out->error && fsync(fd))
        out->error = errno;
    int64_t start = now_ns(), t = start;
    for (off_t at = 0; !out->error && out->n < SAMPLE_MAX && t - start < SAMPLE_NS; out->n++) {
        if (pwritev2(fd, &v, 1, at, RWF_DSYNC) != SAMPLE_BLOCK) {
            out->error = errno ? errno : EIO;
            break;
        }
        int64_t end = now_ns();
        took[out->n] = end - t;
        t = end;
        at = (at + SAMPLE_BLOCK) % SAMPLE_FILE;
    }
    close(fd);
    free(block);
    if (!out->n)
        return;
    qsort(took, out->n, sizeof took[0], by_value);
    out->p50 = took[out->n / 2];
    out->p99 = took[out->n * 99 / 100];
    out->max = took[out->n - 1];
}

static bool group_there(const char *name)
{
    return getgrnam(name) != NULL;
}

static int socket_state(const char *path)
{
    struct stat st;
    if (lstat(path, &st))
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return 2;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool answers = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0)
        close(fd);
    return answers ? 1 : 3;
}

static bool file_plugin(const char *file, struct err *why)
{
    char real[TRUSTED_PATH];
    return trusted_file(file, real, "plugin", why);
}

static bool file_function(int kind, const char *text, struct err *why)
{
    return function_trusted((enum pst_function_kind)kind, text, why);
}

static bool file_command(const char *file, struct err *why)
{
    struct stat st;
    if (stat(file, &st) || access(file, X_OK))
        return err_set(why, -errno, "%s: %s", file, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(why, -EINVAL, "%s is no file", file);
    if (st.st_mode & S_IWOTH)
        return err_set(why, -EPERM, "%s can be replaced by anyone (mode %04o)", file,
                       (unsigned)st.st_mode & 07777);
    return true;
}

static bool file_readable(const char *file)
{
    struct stat st;
    return stat(file, &st) == 0 && !S_ISDIR(st.st_mode) && access(file, R_OK) == 0;
}

static bool file_users(const char *file, unsigned *count, struct err *why)
{
    size_t size = 0;
    struct users_load *l = NULL;
    char *text = users_read(file, &size, why);
    bool ok = text && users_parse(file, text, size, &l, why);
    free(text);
    if (ok)
        *count = users_load_count(l);
    users_load_free(l);
    return ok;
}

void check_machine_read(struct check_machine *m)
{
    *m = (struct check_machine){.root = "",
                                .uid = geteuid(),
                                .disk = disk_read,
                                .sample = sample_disk,
                                .group = group_there,
                                .socket = socket_state,
                                .plugin = file_plugin,
                                .function = file_function,
                                .command = file_command,
                                .users = file_users,
                                .certificate = tls_check_files,
                                .now = (int64_t)time(NULL),
                                .readable = file_readable};
    struct utsname u;
    if (uname(&u) == 0)
        snprintf(m->release, sizeof m->release, "%s", u.release);
    static char user[64];
    struct passwd *pw = getpwuid(m->uid);
    snprintf(user, sizeof user, "%s", pw ? pw->pw_name : "penstock");
    m->user = user;
    struct rlimit r;
    m->memlock = getrlimit(RLIMIT_MEMLOCK, &r) == 0 ? r.rlim_cur : 0;
    m->nofile = getrlimit(RLIMIT_NOFILE, &r) == 0 ? r.rlim_cur : 0;
    struct io_uring_params p = {0};
    int fd = (int)syscall(SYS_io_uring_setup, 8, &p);
    m->io_uring = fd < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    struct timex t = {.modes = 0}; /* only asks */
    int state = adjtimex(&t);
    m->clock_synced = state >= 0 && state != TIME_ERROR && !(t.status & STA_UNSYNC);
    m->clock_error = state >= 0 ? t.esterror * 1000ll : -1;
}

/* ---- banner --------------------------------------------------------------------------------- */

/* KEY="value" of a file of such lines, or KEY<blanks>: value; buf is "" when it is not there. */
static void value_of(const char *file, const char *key, char sep, char *buf, size_t cap)
{
    char line[1024];
    size_t n = strlen(key);
    buf[0] = 0;
    FILE *f = fopen(file, "re");
    while (f && !buf[0] && fgets(line, sizeof line, f)) {
        const char *p = line + n;
        if (strncmp(line, key, n) || (*(p += strspn(p, " \t")) != sep))
            continue;
        p += 1 + strspn(p + 1, " \t\"");
        snprintf(buf, cap, "%.*s", (int)strcspn(p, "\"\n"), p);
    }
    if (f)
        fclose(f);
}

void check_banner(FILE *out)
{
    struct utsname u = {0};
    uname(&u);
    char os[128], cpu[128];
    value_of("/etc/os-release", "PRETTY_NAME", '=', os, sizeof os);
    value_of("/proc/cpuinfo", "model name", ':', cpu, sizeof cpu);
    fprintf(out, "penstockd %s for %s, %s %s\n", PST_VERSION, u.machine,
#if defined __clang__
            "clang", __clang_version__
#else
            "gcc", __VERSION__
#endif
    );
    fprintf(out, "%s, kernel %s, %s, %ld CPUs\n", os[0] ? os : "unknown system", u.release,
            cpu[0] ? cpu : "unknown CPU", sysconf(_SC_NPROCESSORS_ONLN));
#ifdef PST_DPDK
    fprintf(out, "%s", eal_version());
#else
    fprintf(out, "without DPDK");
#endif
    fprintf(out, ", built with liburing %s\n", PST_LIBURING);
}
