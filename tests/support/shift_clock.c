/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shift_clock.c - LD_PRELOAD this and the wall clock is PST_SHIFT_CLOCK seconds off: a daemon that
 * runs "last year", and then today.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *t)
{
    static long shift;
    static int read;
    if (!read) {
        const char *text = getenv("PST_SHIFT_CLOCK");
        shift = text ? atol(text) : 0;
        read = 1;
    }
    int r = (int)syscall(SYS_clock_gettime, id, t);
    if (r == 0 && id == CLOCK_REALTIME)
        t->tv_sec += shift;
    return r;
}
