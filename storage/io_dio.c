/* SPDX-License-Identifier: Apache-2.0 */
/* STATX_DIOALIGN by the kernel's own header: Debian 12's C library has no name for it, and the two
 * headers do not go into one file. */
#include <errno.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "io_sys.h"

#define EMPTY_PATH 0x1000 /* AT_EMPTY_PATH */

int io_dio_align(int fd)
{
#ifdef STATX_DIOALIGN
    struct statx x = {0};
    if (syscall(SYS_statx, fd, "", EMPTY_PATH, STATX_DIOALIGN, &x) != 0)
        return -errno;
    if (!(x.stx_mask & STATX_DIOALIGN))
        return 0;
    uint32_t a = x.stx_dio_offset_align, m = x.stx_dio_mem_align;
    return (int)(a > m ? a : m);
#else
    (void)fd;
    return 0;
#endif
}
