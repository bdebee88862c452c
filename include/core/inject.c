/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "core/inject.h"

bool inject_create(struct inject *q, uint64_t size, struct err *err)
{
    memset(q, 0, sizeof *q);
    uint64_t pow2 = INJECT_MIN;
    while (pow2 < size)
        pow2 <<= 1;
    q->fd = memfd_create("penstock-inject", MFD_CLOEXEC);
    if (q->fd < 0 || ftruncate(q->fd, (off_t)pow2)) {
        err_set(err, -errno, "inject ring: no memory for %llu KiB: %s",
                (unsigned long long)(pow2 >> 10), strerror(errno));
        goto fail;
    }
    uint8_t *base =
        mmap(NULL, 2 * pow2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        err_set(err, -errno, "inject ring: cannot reserve memory: %s", strerror(errno));
        goto fail;
    }
    for (unsigned i = 0; i < 2; i++)
        if (mmap(base + i * pow2, pow2, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED | MAP_POPULATE, q->fd, 0) == MAP_FAILED) {
            err_set(err, -errno, "inject ring: cannot map: %s", strerror(errno));
            munmap(base, 2 * pow2);
            goto fail;
        }
    q->data = base;
    q->size = pow2;
    q->mask = pow2 - 1;
    return true;
fail:
    if (q->fd >= 0)
        close(q->fd);
    q->fd = -1;
    return false;
}

void inject_destroy(struct inject *q)
{
    if (q->data)
        munmap(q->data, 2 * q->size);
    if (q->data || q->fd > 0)
        close(q->fd);
    memset(q, 0, sizeof *q);
    q->fd = -1;
}
