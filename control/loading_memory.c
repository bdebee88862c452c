/* SPDX-License-Identifier: Apache-2.0 */
/* Free memory: of the host (MemAvailable), and what the limits of our control groups leave. */
#include "loading_parts.h"

#include <fcntl.h>
#include <unistd.h>

static bool read_file(const char *path, char *buf, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, buf, cap - 1);
    close(fd);
    if (n < 0)
        return false;
    buf[n] = 0;
    return true;
}

static uint64_t meminfo(const char *name)
{
    char buf[8192];
    if (!read_file("/proc/meminfo", buf, sizeof buf))
        return 0;
    const char *p = strstr(buf, name);
    return p ? strtoull(p + strlen(name), NULL, 10) * 1024 : 0;
}

uint64_t loading_total_memory(void)
{
    return meminfo("MemTotal:");
}

/* A number of a control group's file; UINT64_MAX: "max", or no such file. */
static uint64_t group_number(const char *directory, const char *file)
{
    char path[1300], buf[64];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    if (!read_file(path, buf, sizeof buf) || buf[0] < '0' || buf[0] > '9')
        return UINT64_MAX;
    return strtoull(buf, NULL, 10);
}

/* Pages of files that are not in use: given up at once when memory is short. */
static uint64_t group_inactive(const char *directory)
{
    char path[1300], buf[8192];
    snprintf(path, sizeof path, "%s/memory.stat", directory);
    const char *p = read_file(path, buf, sizeof buf) ? strstr(buf, "\ninactive_file ") : NULL;
    return p ? strtoull(p + 15, NULL, 10) : 0;
}

static uint64_t room(const char *directory, const char *max, const char *used)
{
    uint64_t limit = group_number(directory, max), now = group_number(directory, used);
    if (limit >= 1ull << 62 || now == UINT64_MAX) /* v1 writes "no limit" as a large number */
        return UINT64_MAX;
    uint64_t inactive = group_inactive(directory);
    now = now > inactive ? now - inactive : 0;
    return limit > now ? limit - now : 0;
}

uint64_t loading_group_free(const char *list, const char *mount)
{
    char groups[4096], dir[1200], top[200];
    uint64_t least = UINT64_MAX;
    if (!read_file(list, groups, sizeof groups))
        return least;
    for (char *line = strtok(groups, "\n"); line; line = strtok(NULL, "\n")) {
        const char *path = strrchr(line, ':');
        bool v2 = !strncmp(line, "0::", 3), v1 = strstr(line, ":memory:") != NULL;
        if (!path || (!v2 && !v1))
            continue;
        snprintf(top, sizeof top, "%.180s%s", mount, v1 ? "/memory" : "");
        snprintf(dir, sizeof dir, "%s%.900s", top, path + 1);
        for (;;) {
            uint64_t n = v2 ? room(dir, "memory.max", "memory.current")
                            : room(dir, "memory.limit_in_bytes", "memory.usage_in_bytes");
            least = n < least ? n : least;
            char *slash = strrchr(dir, '/');
            if (!slash || (size_t)(slash - dir) < strlen(top))
                break;
            *slash = 0;
        }
    }
    return least;
}

static uint64_t group_free(void)
{
    return loading_group_free("/proc/self/cgroup", "/sys/fs/cgroup");
}

bool loading_memory_limited(void)
{
    return group_free() != UINT64_MAX;
}

uint64_t loading_free_memory(int source)
{
    uint64_t host = meminfo("MemAvailable:");
    uint64_t group = source == CONFIG_MEMORY_HOST ? UINT64_MAX : group_free();
    if (group == UINT64_MAX)
        return host; /* no limit: the host's */
    return source == CONFIG_MEMORY_CGROUP || group < host ? group : host;
}
