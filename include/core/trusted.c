/* SPDX-License-Identifier: Apache-2.0 */
#include "trusted.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool trusted_file(const char *path, char real[TRUSTED_PATH], const char *what, struct err *err)
{
    char *full = realpath(path, NULL);
    if (!full || strlen(full) >= TRUSTED_PATH) {
        int e = full ? ENAMETOOLONG : errno;
        free(full);
        return err_set(err, -e, "%s %s: %s", what, path, strerror(e));
    }
    strcpy(real, full);
    free(full);
    char part[TRUSTED_PATH];
    strcpy(part, real);
    for (;;) {
        struct stat st;
        if (stat(*part ? part : "/", &st))
            return err_set(err, -errno, "%s %s: %s: %s", what, real, part, strerror(errno));
        bool sticky =
            S_ISDIR(st.st_mode) && st.st_mode & S_ISVTX; /* /tmp: names are their owner's */
        if ((st.st_uid && st.st_uid != geteuid()) || (st.st_mode & 022 && !sticky))
            return err_set(err, -EPERM,
                           "%s %s: %s can be changed by others than root and uid %u; chown "
                           "root and chmod go-w it",
                           what, real, *part ? part : "/", (unsigned)geteuid());
        char *slash = strrchr(part, '/');
        if (!slash || !*part)
            return true;
        *slash = 0;
    }
}
