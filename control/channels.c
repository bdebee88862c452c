/* SPDX-License-Identifier: Apache-2.0 */
#include "channels.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/clock.h"

#define FILE_MAX (1u << 20)

bool channels_is_address(const char *text)
{
    return strchr(text, ':') || *text == '/';
}

/* The whole file, malloc'ed with a NUL; "" when it is not there and may be made. */
static char *read_file(const char *file, bool may_lack, struct err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 && errno == ENOENT && may_lack)
        return calloc(1, 1);
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        err_set(err, fd < 0 ? -errno : -EINVAL, "messaging_server %s: %s", file,
                fd < 0 ? strerror(errno) : "no file, or longer than 1 MiB");
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    char *text = malloc((size_t)st.st_size + 1);
    ssize_t n = text ? read(fd, text, (size_t)st.st_size) : -1;
    close(fd);
    if (n < 0) {
        err_set(err, -EIO, "messaging_server %s: cannot read it", file);
        free(text);
        return NULL;
    }
    text[n] = 0;
    return text;
}

struct line {
    const char *at, *end; /* of the whole line, its newline included */
    const char *address;
    size_t len;
};

static bool find_line(const char *text, const char *name, struct line *out)
{
    size_t n = strlen(name);
    for (const char *at = text, *next; *at; at = next) {
        const char *end = strchr(at, '\n');
        next = end ? end + 1 : at + strlen(at);
        const char *p = at + strspn(at, " \t");
        if (strncmp(p, name, n) || (p[n] != ' ' && p[n] != '\t'))
            continue;
        p += n + strspn(p + n, " \t");
        *out = (struct line){at, next, p, strcspn(p, " \t\r\n#")};
        return true;
    }
    return false;
}

bool channels_find(const char *file, const char *name, char address[CHANNEL_TEXT], struct err *err)
{
    struct line l;
    char *text = read_file(file, false, err);
    if (!text)
        return false;
    bool found = find_line(text, name, &l) && l.len && l.len < CHANNEL_TEXT;
    if (found) {
        memcpy(address, l.address, l.len);
        address[l.len] = 0;
    }
    free(text);
    return found || err_set(err, -ENOENT,
                            "channel %s has no line in %s: start who publishes it, or "
                            "write `%s ADDRESS`",
                            name, file, name);
}

static bool write_file(const char *file, const char *a, size_t na, const char *line, const char *b,
                       struct err *err)
{
    char path[1200];
    size_t n = strlen(line), nb = strlen(b);
    snprintf(path, sizeof path, "%s.%d", file, (int)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool newline = na && a[na - 1] != '\n';
    bool ok = fd >= 0 && write(fd, a, na) == (ssize_t)na && (!newline || write(fd, "\n", 1) == 1) &&
              write(fd, line, n) == (ssize_t)n && write(fd, b, nb) == (ssize_t)nb && !fsync(fd);
    int e = errno;
    if (fd >= 0)
        close(fd);
    if (ok && !rename(path, file))
        return true;
    e = ok ? errno : e;
    unlink(path);
    return err_set(err, -e, "messaging_server %s: cannot write it: %s", file, strerror(e));
}

bool channels_register(const char *file, const char *name, const char *address, int64_t wait_ns,
                       bool *changed, struct err *err)
{
    char path[1200], line[CHANNEL_TEXT + 80];
    struct line l;
    *changed = false;
    snprintf(path, sizeof path, "%s.lock", file);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_set(err, -errno, "messaging_server: cannot make %s: %s", path, strerror(errno));
    int64_t until = clock_monotonic() + wait_ns;
    while (flock(fd, LOCK_EX | LOCK_NB)) {
        if (clock_monotonic() > until) {
            close(fd);
            return err_set(err, -EAGAIN, "messaging_server: another process holds %s", path);
        }
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    char *text = read_file(file, true, err);
    bool ok = text != NULL;
    if (ok) {
        bool there = find_line(text, name, &l);
        if (!there || l.len != strlen(address) || memcmp(l.address, address, l.len)) {
            snprintf(line, sizeof line, "%s %s\n", name, address);
            const char *rest = there ? l.end : "";
            ok = write_file(file, text, there ? (size_t)(l.at - text) : strlen(text), line, rest,
                            err);
            *changed = ok;
        }
    }
    free(text);
    close(fd);
    return ok;
}
