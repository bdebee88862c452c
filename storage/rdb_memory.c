/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "rdb_internal.h"

#define HUGE_PAGE  (2ull << 20)
#define PAGE       4096ull
#define COLD_STEP  (256ull << 10) /* faulted in one go where nothing was ahead */
#define AHEAD_STEP (1ull << 20)
/* Extents that idle time faults ahead. More after a burst that outran it: others will come. */
#define AHEAD       2u
#define AHEAD_SHARE 4u /* of all extents at most one in so many */

static bool touch(uint8_t *at, uint64_t bytes)
{
#ifdef MADV_POPULATE_WRITE
    if (madvise(at, bytes, MADV_POPULATE_WRITE) == 0)
        return true;
    if (errno != EINVAL) /* ENOMEM, EFAULT: the kernel has none. A plain store would be a SIGBUS */
        return false;
#endif
    for (uint64_t i = 0; i < bytes; i += PAGE) { /* a kernel before 5.14: adds 0, so it keeps all */
        volatile uint8_t *p = at + i;
        *p = *p;
    }
    return true;
}

bool memory_populate(struct rdb *r, uint64_t at, uint64_t bytes)
{
    uint64_t from = at & ~(PAGE - 1), to = pst_align_up(at + bytes, PAGE);
    return touch(r->base + from, to - from);
}

bool memory_open(struct rdb *r, struct err *err)
{
    const struct rdb_config *c = &r->cfg;
    uint64_t extent = c->extent_bytes ? c->extent_bytes : RDB_EXTENT;
    if (extent % HUGE_PAGE || extent > 1ull << 30)
        return err_set(err, -EINVAL, "rdb: an extent of %llu bytes is no multiple of 2 MiB",
                       (unsigned long long)extent);
    uint64_t n = c->bytes / extent;
    if (n < 1 || n > 1u << 22)
        return err_set(err, -ERANGE, "rdb_memory %llu MiB: at least %llu MiB are needed",
                       (unsigned long long)(c->bytes >> 20), (unsigned long long)(extent >> 20));
    uint64_t parts_at = pst_align_up(sizeof(struct rdb_head), PAGE);
    uint64_t extents_at = pst_align_up(parts_at + (uint64_t)RDB_PARTS * RDB_PART_STRIDE, HUGE_PAGE);
    r->extent_bytes = extent;
    r->bytes = extents_at + n * extent;
    r->fd = memfd_create("penstock-rdb", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (r->fd < 0 || ftruncate(r->fd, (off_t)r->bytes))
        return err_set(err, -errno, "rdb: no memfd of %llu MiB: %s",
                       (unsigned long long)(r->bytes >> 20), strerror(errno));
    /* aligned to huge pages, where the kernel gives them to shared memory */
    uint64_t span = r->bytes + HUGE_PAGE;
    uint8_t *room = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return err_set(err, -errno, "rdb: no address space of %llu MiB: %s",
                       (unsigned long long)(r->bytes >> 20), strerror(errno));
    uint8_t *base = (uint8_t *)pst_align_up((uintptr_t)room, HUGE_PAGE);
    if (base > room)
        munmap(room, (size_t)(base - room));
    if (base + r->bytes < room + span)
        munmap(base + r->bytes, (size_t)(room + span - (base + r->bytes)));
    if (mmap(base, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, r->fd, 0) ==
        MAP_FAILED) {
        int e = errno;
        munmap(base, r->bytes);
        return err_set(err, -e, "rdb: cannot map %llu MiB: %s",
                       (unsigned long long)(r->bytes >> 20), strerror(e));
    }
    r->base = base;
    madvise(base + extents_at, n * extent, MADV_HUGEPAGE); /* advice: the kernel may have none */
    r->head = (struct rdb_head *)base;
    if (!memory_populate(r, 0, sizeof(struct rdb_head)))
        return err_set(err, -ENOMEM, "rdb: the kernel has no memory for its head");
    struct rdb_head *h = r->head;
    h->bytes = r->bytes;
    h->instance = c->instance;
    h->parts_at = parts_at;
    h->extents_at = extents_at;
    h->extent_bytes = extent;
    h->part_slots = RDB_PARTS;
    h->part_stride = RDB_PART_STRIDE;
    h->extents = (uint32_t)n;
    h->symbols_max = c->symbols_max;
    memcpy(h->magic, RDB_MAGIC, 8);
    r->free_list = calloc(n, sizeof *r->free_list);
    r->extent_next = calloc(n, sizeof *r->extent_next);
    r->faulted = calloc(n, sizeof *r->faulted);
    if (!r->free_list || !r->extent_next || !r->faulted)
        return err_set(err, -ENOMEM, "rdb: no memory for the list of %llu extents",
                       (unsigned long long)n);
    for (uint32_t i = 0; i < n; i++)
        r->free_list[i] = (uint32_t)n - 1 - i;
    r->nfree = (uint32_t)n;
    r->ahead = c->ahead ? c->ahead : AHEAD;
    store_relaxed(&r->f_free, r->nfree);
    return true;
}

void memory_close(struct rdb *r)
{
    if (r->base)
        munmap(r->base, r->bytes);
    if (r->fd >= 0)
        close(r->fd);
    free(r->free_list);
    free(r->extent_next);
    free(r->faulted);
}

/* The first `upto` bytes of an extent are there afterwards; false: the kernel has none. */
static bool fault(struct rdb *r, uint32_t extent, uint64_t upto)
{
    uint64_t have = r->faulted[extent];
    if (pst_likely(have >= upto))
        return true;
    upto = pst_align_up(upto, PAGE);
    if (!touch(rdb_at(r, r->head->extents_at + extent * r->extent_bytes + have), upto - have))
        return false;
    r->faulted[extent] = upto;
    if (upto == r->extent_bytes)
        bump(&r->f_faulted, 1);
    return true;
}

static bool next_extent(struct rdb *r, struct slot *s)
{
    if (!r->nfree)
        return false;
    uint32_t e = r->free_list[r->nfree - 1];
    if (r->faulted[e] < r->extent_bytes) {
        bump(&r->f_cold, 1);
        r->ahead = 2 * r->ahead < r->head->extents / AHEAD_SHARE ? 2 * r->ahead : r->ahead;
    }
    r->nfree--;
    store_relaxed(&r->f_free, r->nfree);
    r->extent_next[e] = s->extent;
    s->extent = e;
    s->at = r->head->extents_at + e * r->extent_bytes;
    s->end = s->at + r->extent_bytes;
    bump(&s->shared->extents, 1);
    return true;
}

uint64_t memory_take(struct rdb *r, struct slot *s, uint64_t bytes)
{
    bytes = pst_align_up(bytes, 64);
    if (bytes > r->extent_bytes || (s->end - s->at < bytes && !next_extent(r, s)))
        return 0;
    uint64_t start = s->end - r->extent_bytes, upto = s->at + bytes - start;
    if (pst_unlikely(upto > r->faulted[s->extent])) {
        uint64_t more = upto + COLD_STEP < r->extent_bytes ? upto + COLD_STEP : r->extent_bytes;
        if (!fault(r, s->extent, more) && !fault(r, s->extent, upto))
            return 0;
    }
    uint64_t at = s->at;
    s->at += bytes;
    bump(&s->shared->bytes, bytes);
    return at;
}

void memory_release(struct rdb *r, struct slot *s)
{
    for (uint32_t e = s->extent, next; e != NO_EXTENT; e = next) {
        next = r->extent_next[e];
        r->free_list[r->nfree++] = e;
    }
    store_relaxed(&r->f_free, r->nfree);
    s->extent = NO_EXTENT;
    s->at = s->end = 0;
}

bool memory_ahead(struct rdb *r)
{
    for (uint32_t i = 0; i < r->ahead && i < r->nfree; i++) {
        uint32_t e = r->free_list[r->nfree - 1 - i];
        uint64_t have = r->faulted[e];
        if (have == r->extent_bytes)
            continue;
        uint64_t upto = have + AHEAD_STEP < r->extent_bytes ? have + AHEAD_STEP : r->extent_bytes;
        return fault(r, e, upto);
    }
    return false;
}
