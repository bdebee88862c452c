/* SPDX-License-Identifier: Apache-2.0 */
/*
 * touch_memory MIB - touches so much memory in huge pages, frees it, and prints what a MiB cost at
 * first and again, in microseconds. The guest of a hypervisor with free page reporting gives free
 * memory back within seconds, and whoever touches it next pays for the host's work (2,400 us a MiB
 * where 50 do otherwise): in a benchmark of programs that run in turn, the one behind a pause. Run it
 * in front of each, at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define HUGE ((size_t)2 << 20)

static double touch(size_t bytes)
{
    struct timespec a, b;
    char *p = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        perror("touch_memory");
        exit(1);
    }
    char *q = p + (HUGE - (size_t)p % HUGE) % HUGE;
    madvise(q, bytes, MADV_HUGEPAGE);
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (size_t i = 0; i < bytes; i += 4096)
        ((volatile char *)q)[i] = 1;
    clock_gettime(CLOCK_MONOTONIC, &b);
    munmap(p, bytes + HUGE);
    return (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3;
}

int main(int argc, char **argv)
{
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    if (!mib || mib > 1 << 20) {
        fprintf(stderr, "touch_memory MIB\n");
        return 2;
    }
    double first = touch(mib << 20), again = touch(mib << 20);
    printf("touched mib=%zu us_mib=%.0f again_us_mib=%.0f\n", mib, first / (double)mib,
           again / (double)mib);
    return 0;
}
