/* SPDX-License-Identifier: Apache-2.0 */
#include "guard.h"

#include <sys/mman.h>
#include <unistd.h>

#include "core/base.h"

void guard_open(struct guard *g, size_t room)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    g->room = pst_align_up(room ? room : 1, page);
    g->map = mmap(NULL, g->room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pst_must(g->map != MAP_FAILED);
    pst_must(mprotect(g->map + g->room, page, PROT_NONE) == 0);
}

uint8_t *guard_copy(struct guard *g, const void *bytes, size_t n)
{
    pst_must(n <= g->room);
    uint8_t *p = g->map + g->room - n;
    if (n) {
        memcpy(p, bytes, n);
    }
    return p;
}

void guard_close(struct guard *g)
{
    munmap(g->map, g->room + (size_t)sysconf(_SC_PAGESIZE));
}
