/* SPDX-License-Identifier: Apache-2.0 */
#include "day_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/civil.h"

void day_file_init(struct day_file *f, const char *what, const char *directory,
                   const char *instance, const char *kind)
{
    *f = (struct day_file){.what = what, .fd = -1};
    snprintf(f->stem, sizeof f->stem, "%s/%s.%s.", directory, instance, kind);
}

void day_file_close(struct day_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

static bool open_day(struct day_file *f, int32_t day)
{
    char path[sizeof f->path], date[CIVIL_TEXT];
    struct stat st;
    if (f->fd >= 0 && f->day == day)
        return true;
    day_file_close(f);
    snprintf(path, sizeof path, "%s%s", f->stem, civil_format(day, date));
    f->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);
    if (f->fd >= 0 && (fstat(f->fd, &st) || !S_ISREG(st.st_mode))) {
        day_file_close(f);
        errno = EINVAL;
    }
    if (f->fd < 0) {
        if (!f->complained)
            fprintf(stderr, "penstockd: the %s %s cannot be written: %s\n", f->what, path,
                    strerror(errno));
        f->complained = true;
        return false;
    }
    f->complained = false;
    f->day = day;
    f->size = st.st_size;
    memcpy(f->path, path, sizeof path);
    return true;
}

bool day_file_write(struct day_file *f, int32_t day, const char *line, size_t n, int64_t most)
{
    if (!open_day(f, day) || f->size + (int64_t)n > most)
        return false;
    ssize_t r = write(f->fd, line, n);
    if (r == (ssize_t)n) {
        f->size += r;
        return true;
    }
    if (r > 0 && ftruncate(f->fd, f->size)) /* the next line would follow half a one */
        f->size += r;
    return false;
}
