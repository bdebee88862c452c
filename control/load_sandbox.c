/* SPDX-License-Identifier: Apache-2.0 */
#include "load_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "worker_sandbox.h"

#define IDLE_IO      (3 << 13) /* IOPRIO_CLASS_IDLE */
#define LEAST_MEMORY (64ull << 20)

bool load_sandbox_limits(uint64_t memory, struct err *err)
{
    syscall(SYS_ioprio_set, 1 /* a process */, 0, IDLE_IO);
    return worker_limits(
        &(struct sandbox_limits){.nice = 15,
                                 .oom = "800",
                                 .data = memory && memory < LEAST_MEMORY ? LEAST_MEMORY : memory},
        err);
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

bool load_sandbox_enter(const char *const *directories, unsigned n, bool *landlocked,
                        struct err *err)
{
    static const int allowed[] = {
        SCMP_SYS(preadv2),         SCMP_SYS(pwritev2),        SCMP_SYS(close_range),
        SCMP_SYS(fallocate),       SCMP_SYS(fsync),           SCMP_SYS(fdatasync),
        SCMP_SYS(sync_file_range), SCMP_SYS(readahead),       SCMP_SYS(mkdir),
        SCMP_SYS(mkdirat),         SCMP_SYS(rename),          SCMP_SYS(renameat),
        SCMP_SYS(renameat2),       SCMP_SYS(unlink),          SCMP_SYS(unlinkat),
        SCMP_SYS(rmdir),           SCMP_SYS(flock),           SCMP_SYS(fchmod),
        SCMP_SYS(utimensat),       SCMP_SYS(copy_file_range), SCMP_SYS(umask),
        SCMP_SYS(memfd_create),    SCMP_SYS(ioprio_set),      SCMP_SYS(setpriority)};
    return landlock(directories, n, landlocked, err) &&
           worker_confine(&(struct sandbox_rules){.who = "a loader",
                                                  .allow = allowed,
                                                  .nallow = PST_COUNT(allowed),
                                                  .opens_for_writing = true,
                                                  .locks = true},
                          err);
}
