/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/ring.h"

#define HUGE_PAGE (2ull << 20)
static const char ring_magic[8] = "PSTRING1";

/* head | data | data, in one reserved range so that the second copy follows the first. */
static bool map_twice(struct ring *r, uint64_t head_bytes, uint64_t size, int prot, struct err *err)
{
    uint64_t total = head_bytes + 2 * size;
    uint64_t slack = r->huge ? HUGE_PAGE : 0;
    /* Are there hugepages at all? A fixed map that fails leaves a hole where it was to be, and
     * another thread's map may fall into it; this one holds the pages until those are made. */
    void *held = r->huge ? mmap(NULL, head_bytes + size, prot, MAP_SHARED, r->fd, 0) : NULL;
    if (held == MAP_FAILED)
        return err_set(err, -errno, "ring: no hugepages for %llu MiB: %s",
                       (unsigned long long)(size >> 20), strerror(errno));
    uint8_t *base =
        mmap(NULL, total + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        int e = errno;
        if (held)
            munmap(held, head_bytes + size);
        return err_set(err, -e, "ring: cannot reserve %llu MiB of address space: %s",
                       (unsigned long long)(total >> 20), strerror(e));
    }
    if (slack)
        base = (uint8_t *)pst_align_up((uintptr_t)base, HUGE_PAGE);
    int flags = MAP_SHARED | MAP_FIXED | (prot & PROT_WRITE ? MAP_POPULATE : 0);
    bool mapped =
        mmap(base, head_bytes + size, prot, flags, r->fd, 0) != MAP_FAILED &&
        mmap(base + head_bytes + size, size, prot, flags, r->fd, (off_t)head_bytes) != MAP_FAILED;
    int e = errno;
    if (held)
        munmap(held, head_bytes + size);
    if (!mapped) {
        munmap(base, total);
        return err_set(err, -e, "ring: cannot map %llu MiB: %s", (unsigned long long)(size >> 20),
                       strerror(e));
    }
    r->head = (struct ring_head *)base;
    r->data = base + head_bytes;
    r->mask = size - 1;
    return true;
}

void ring_start(struct ring *r, uint64_t start)
{
    struct ring_head *h = r->head;
    pst_must(start % FRAME_ALIGN == 0);
    h->start = start;
    r->w_tail = r->w_below = r->w_guard = start;
    store_relaxed(&h->tail, start);
    store_relaxed(&h->overwrite_below, start);
    store_relaxed(&h->guard, start);
    store_relaxed(&h->submitted, start);
    store_relaxed(&h->written, start);
    store_relaxed(&h->durable, start);
}

bool ring_create(struct ring *r, uint64_t size, uint64_t start, uint64_t instance, bool huge,
                 struct err *err)
{
    memset(r, 0, sizeof *r);
    uint64_t pow2 = RING_MIN;
    while (pow2 < size)
        pow2 <<= 1;
    uint64_t head_bytes = huge ? HUGE_PAGE : RING_HEAD;
    r->huge = huge;
    r->writable = true;
    r->fd =
        memfd_create("penstock-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB : 0));
    if (r->fd < 0)
        return err_set(err, -errno, "ring: memfd_create: %s", strerror(errno));
    if (ftruncate(r->fd, (off_t)(head_bytes + pow2)) ||
        (!huge && (errno = posix_fallocate(r->fd, 0, (off_t)(head_bytes + pow2))))) {
        err_set(err, -errno, "ring: no memory for %llu MiB (%s): lower ring_size or free memory",
                (unsigned long long)(pow2 >> 20), strerror(errno));
        goto fail;
    }
    if (!map_twice(r, head_bytes, pow2, PROT_READ | PROT_WRITE, err))
        goto fail;
    struct ring_head *h = r->head;
    memcpy(h->magic, ring_magic, 8);
    h->size = pow2;
    h->instance = instance;
    h->seed = frame_seed(instance);
    h->head_bytes = (uint32_t)head_bytes;
    h->checkpoint_step = 1u << 16;
    while ((uint64_t)h->checkpoint_step * RING_CHECKPOINTS / 2 < pow2)
        h->checkpoint_step <<= 1;
    ring_start(r, start);
    return true;
fail:
    close(r->fd);
    memset(r, 0, sizeof *r);
    r->fd = -1;
    return false;
}

bool ring_seal(struct ring *r)
{
    r->sealed = fcntl(r->fd, F_ADD_SEALS,
                      F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0;
    return r->sealed;
}

bool ring_attach(struct ring *r, int fd, struct err *err)
{
    memset(r, 0, sizeof *r);
    r->fd = -1;
    struct stat st;
    if (fstat(fd, &st))
        return err_set(err, -errno, "ring: fstat: %s", strerror(errno));
    struct ring_head h;
    if (st.st_size < (off_t)RING_HEAD || pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h ||
        memcmp(h.magic, ring_magic, 8) || h.size < RING_MIN || (h.size & (h.size - 1)) ||
        h.head_bytes < RING_HEAD || (uint64_t)st.st_size != h.head_bytes + h.size)
        return err_set(err, -EBADMSG,
                       "ring: the descriptor is not a penstock ring of this version");
    r->fd = fd;
    r->huge = h.head_bytes == HUGE_PAGE;
    if (map_twice(r, h.head_bytes, h.size, PROT_READ, err))
        return true;
    r->fd = -1; /* stays the caller's */
    return false;
}

void ring_close(struct ring *r)
{
    if (r->head) {
        uint64_t bytes = r->head->head_bytes + 2 * ring_size(r);
        munmap(r->head, bytes);
        close(r->fd); /* a ring that was never made owns no descriptor */
    }
    memset(r, 0, sizeof *r);
    r->fd = -1;
}

uint64_t ring_checkpoint(const struct ring *r, uint64_t pos)
{
    const struct ring_head *h = r->head;
    uint64_t step = h->checkpoint_step;
    uint64_t below = load_acquire(&h->overwrite_below), best = 0;
    for (uint64_t k = pos / step, n = 0; n < RING_CHECKPOINTS; n++, k--) {
        uint64_t c = load_relaxed(&h->checkpoint[k % RING_CHECKPOINTS]);
        if (c >= below && c <= pos && c > best && c != 0) {
            best = c;
            break;
        }
        if (k == 0)
            break;
    }
    if (!best && h->start >= below && h->start <= pos)
        best = h->start;
    return best;
}
