/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_nap [SECONDS [MICROSECONDS]] - the limit of idle.sh: what one thread costs that does
 * nothing but sleep 200 us at a time, as an idle rx thread must. On a virtual machine a wake-up out
 * of a halted CPU is mostly the hypervisor's, and dear.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    double span = argc > 1 ? atof(argv[1]) : 5;
    struct timespec nap = {0, (argc > 2 ? atol(argv[2]) : 200) * 1000};
    double t0 = seconds(CLOCK_MONOTONIC), c0 = seconds(CLOCK_PROCESS_CPUTIME_ID), t, cpu;
    unsigned long n = 0;
    do {
        nanosleep(&nap, NULL);
        n++;
        t = seconds(CLOCK_MONOTONIC) - t0;
    } while (t < span);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - c0;
    printf("result percent_of_a_core=%.2f wakeups_s=%.0f us_each=%.1f\n", 100 * cpu / t,
           (double)n / t, cpu / (double)n * 1e6);
    return 0;
}
