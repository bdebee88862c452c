/* SPDX-License-Identifier: Apache-2.0 */
/* check_storage.c - every directory: there, writable, on what, how full, how fast; and the locks.
 */
#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "check_report.h"
#include "print.h"

struct mount {
    char dir[256], type[32], options[512];
};

/* The mount of device major:minor whose directory is the longest prefix of path. */
static bool mount_of(struct check *k, const struct check_disk *d, struct mount *out)
{
    char *all = malloc(1 << 18), dev[32];
    bool found = false;
    if (all && check_read(k, all, 1 << 18, "/proc/self/mountinfo")) {
        char *save = NULL;
        snprintf(dev, sizeof dev, "%u:%u", d->major, d->minor);
        for (char *l = strtok_r(all, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
            char at[32], dir[256], options[400], type[32], super[400] = "";
            char *dash = strstr(l, " - ");
            if (!dash || sscanf(l, "%*s %*s %31s %*s %255s %399s", at, dir, options) != 3 ||
                sscanf(dash, " - %31s %*s %399s", type, super) < 1 || strcmp(at, dev) != 0)
                continue;
            size_t n = strlen(dir);
            bool prefix = !strcmp(dir, "/") || (!strncmp(d->existing, dir, n) &&
                                                (!d->existing[n] || d->existing[n] == '/'));
            if (!prefix || (found && n < strlen(out->dir)))
                continue;
            found = true;
            snprintf(out->dir, sizeof out->dir, "%s", dir);
            snprintf(out->type, sizeof out->type, "%s", type);
            snprintf(out->options, sizeof out->options, "%.250s,%.250s", options, super);
        }
    }
    free(all);
    return found;
}

/* A file of the disk's queue, through a partition to its disk. */
static bool queue_read(struct check *k, const struct check_disk *d, const char *name, char *buf,
                       size_t cap)
{
    return check_read(k, buf, cap, "/sys/dev/block/%u:%u/queue/%s", d->major, d->minor, name) ||
           check_read(k, buf, cap, "/sys/dev/block/%u:%u/../queue/%s", d->major, d->minor, name);
}

/* major:minor of the whole disk. */
static const char *disk_id(struct check *k, const struct check_disk *d)
{
    char buf[32];
    if (check_exists(k, "/sys/dev/block/%u:%u/partition", d->major, d->minor) &&
        check_read(k, buf, sizeof buf, "/sys/dev/block/%u:%u/../dev", d->major, d->minor))
        return check_text(k, "%s", buf);
    return check_text(k, "%u:%u", d->major, d->minor);
}

/* Its name under /sys/block, for remedies. */
static const char *disk_name(struct check *k, const struct check_disk *d)
{
    char path[PATH_MAX], real[PATH_MAX];
    bool part = check_exists(k, "/sys/dev/block/%u:%u/partition", d->major, d->minor);
    snprintf(path, sizeof path, "%s/sys/dev/block/%u:%u%s", k->machine->root, d->major, d->minor,
             part ? "/.." : "");
    const char *slash = realpath(path, real) ? strrchr(real, '/') : NULL;
    return check_text(k, "%.60s", slash ? slash + 1 : "DISK");
}

static void check_mount(struct check *k, const char *key, const char *dir,
                        const struct check_disk *d, bool log)
{
    static const char *const network[] = {"nfs",       "nfs4",          "cifs",       "smb3",
                                          "9p",        "ceph",          "fuse.sshfs", "virtiofs",
                                          "glusterfs", "fuse.glusterfs"};
    struct mount m;
    char buf[256];
    if (!mount_of(k, d, &m))
        snprintf(m.type, sizeof m.type, "unknown"), m.options[0] = m.dir[0] = 0;
    const char *type = check_text(k, "%s", m.type), *at = check_text(k, "%s", m.dir);
    if (!strcmp(type, "tmpfs") || !strcmp(type, "ramfs")) {
        FIND(k, DISK_VOLATILE, key, dir, type);
        return;
    }
    for (unsigned i = 0; i < PST_COUNT(network); i++)
        if (!strcmp(type, network[i]))
            FIND(k, DISK_NETWORK, key, dir, type);
    if (!log)
        return;
    if (m.options[0] && !check_word(m.options, "noatime") && !check_word(m.options, "relatime"))
        FIND(k, DISK_ATIME, key, dir, at);
    if (check_word(m.options, "discard"))
        FIND(k, DISK_DISCARD, key, dir, at);
    if (!d->direct)
        FIND(k, DISK_BUFFERED, key, dir, type);
    if (queue_read(k, d, "write_cache", buf, sizeof buf) && !strcmp(buf, "write back"))
        FIND(k, DISK_WRITE_BACK, key, dir);
    if (queue_read(k, d, "rotational", buf, sizeof buf) && !strcmp(buf, "1"))
        FIND(k, DISK_ROTATIONAL, key, dir);
    if (queue_read(k, d, "scheduler", buf, sizeof buf) && strchr(buf, '[')) {
        char name[32];
        const char *p = strchr(buf, '[') + 1;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(p, "]"), p);
        if (strcmp(name, "none") != 0 && strcmp(name, "mq-deadline") != 0)
            FIND(k, DISK_SCHEDULER, key, dir, check_text(k, "%s", name), disk_name(k, d));
    }
}

static void check_sampled(struct check *k, const char *key, const char *dir,
                          const struct check_disk *d)
{
    struct check_sample s;
    k->machine->sample(d->existing, d->direct, &s);
    if (s.error) {
        FIND(k, DISK_SAMPLE, key, dir, check_text(k, "%s", strerror(s.error)));
        return;
    }
    const char *p50 = check_text(k, "%s", print_duration(s.p50)),
               *p99 = check_text(k, "%s", print_duration(s.p99)),
               *max = check_text(k, "%s", print_duration(s.max));
    fprintf(k->out,
            "      disk.latency         %s %s: %u durable writes of 4 KiB: 50 %% %s, 99 %% %s, "
            "most %s; O_DIRECT aligned to %u\n",
            key, dir, s.n, p50, p99, max, d->direct ? d->align : 0);
    if (s.p50 > 2000000)
        FIND(k, DISK_SLOW, key, dir, p50, p99);
    if (s.max > k->config->alarms.durable_lag)
        FIND(k, DISK_STALLS, key, dir, max,
             check_text(k, "%s", print_duration(k->config->alarms.durable_lag)));
}

/* Who holds a lock on a file of the directory: /proc/locks names device and inode, so that nothing
 * needs to be locked to find out. "" = nobody. */
static const char *locked_by(struct check *k, const char *dir)
{
    char path[PATH_MAX], *all = malloc(1 << 18);
    long pid = 0;
    DIR *d = opendir(dir);
    if (d && all && check_read(k, all, 1 << 18, "/proc/locks"))
        for (struct dirent *e; !pid && (e = readdir(d));) {
            struct stat st;
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            if (e->d_name[0] == '.' || stat(path, &st) || !S_ISREG(st.st_mode))
                continue;
            for (char *l = all; l && *l; l = strchr(l, '\n'), l = l ? l + 1 : NULL) {
                unsigned major, minor;
                unsigned long long inode;
                long who;
                if (sscanf(l, "%*s %*s %*s WRITE %ld %x:%x:%llu", &who, &major, &minor, &inode) ==
                        4 &&
                    inode == st.st_ino && major == major(st.st_dev) && minor == minor(st.st_dev))
                    pid = who ? who : -1;
            }
        }
    if (d)
        closedir(d);
    free(all);
    return !pid ? "" : pid > 0 ? check_text(k, "%ld", pid) : "of another namespace";
}

static bool check_directory(struct check *k, const char *key, const char *dir, bool log,
                            struct check_disk *d)
{
    bool database = !strcmp(key, "database");
    if (!dir || !k->machine->disk(dir, d))
        return false;
    if (!d->exists) {
        if (d->writable)
            FIND(k, DISK_CREATE, key, dir);
        else
            FIND(k, DISK_ABSENT, key, dir);
        if (!d->writable)
            return false;
    } else if (!d->writable) {
        FIND(k, DISK_READONLY, key, dir, k->machine->user, d->existing);
        return false;
    }
    if (!strcmp(key, "run_directory")) /* in memory on every system, and that is right */
        return true;
    check_mount(k, key, dir, d, log);
    uint64_t low = log        ? (uint64_t)k->config->log_low_space
                   : database ? (uint64_t)k->config->database_low_space
                              : 64u << 20;
    if (d->free < low)
        FIND(k, DISK_SPACE, key, dir, check_text(k, "%s", print_bytes((int64_t)d->free)),
             check_text(k, "%s are wanted", print_bytes((int64_t)low)),
             log        ? "log_low_space"
             : database ? "database_low_space"
                        : "the lease and the catalogue");
    if (d->inodes < 1000)
        FIND(k, DISK_INODES, key, dir, check_text(k, "%llu", (unsigned long long)d->inodes));
    if (d->exists && (d->mode & 05))
        FIND(k, DISK_OPEN, key, dir, check_text(k, "%04o", d->mode));
    return true;
}

/* The loader's directories; what it moves there it renames. */
static void check_loader(struct check *k)
{
    const struct config_load *l = &k->config->load;
    static struct check_disk staging[16], other;
    const char *const path[] = {l->temporary, l->finished_directory, l->quarantine_directory,
                                l->rejects_directory};
    static const char *const key[] = {"load.temporary", "load.finished_directory",
                                      "load.quarantine_directory", "load.rejects_directory"};
    for (uint32_t i = 0; l->file_line && i < l->staging.count && i < PST_COUNT(staging); i++)
        check_directory(k, "load.staging", l->staging.at[i], false, &staging[i]);
    for (unsigned p = 0; l->file_line && p < PST_COUNT(path); p++) {
        if (!path[p] || !check_directory(k, key[p], path[p], false, &other) || p < 1 || p > 2)
            continue;
        for (uint32_t i = 0; i < l->staging.count && i < PST_COUNT(staging); i++)
            if (staging[i].major != other.major || staging[i].minor != other.minor)
                FIND(k, PLAN_MOVES, key[p] + 5, path[p], l->staging.at[i]);
    }
}

void check_storage(struct check *k)
{
    const struct config *c = k->config;
    static struct check_disk state, log, spill, other, hdb;
    if (check_directory(k, "state_directory", c->state_directory, false, &state) && state.exists) {
        const char *who = locked_by(k, c->state_directory);
        if (*who)
            FIND(k, DISK_LOCKED, "state_directory", c->state_directory, who);
    }
    bool logs = check_directory(k, "log_directory", c->log_directory, true, &log);
    if (logs && log.exists)
        check_sampled(k, "log_directory", c->log_directory, &log);
    if (check_directory(k, "spill_directory", c->spill_directory, true, &spill) && logs &&
        !strcmp(disk_id(k, &log), disk_id(k, &spill)))
        FIND(k, DISK_SAME);
    check_directory(k, "database", c->database, false, &hdb);
    check_directory(k, "run_directory", c->run_directory, false, &other);
    check_loader(k);
}
