/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include "house.h"

static cpu_set_t given; /* to the process */
static bool known;

void house_enter(const struct config *c)
{
    if (!known && sched_getaffinity(0, sizeof given, &given))
        return; /* more CPUs than a cpu_set_t: it stays as it is */
    known = true;
    cpu_set_t set = given;
    for (unsigned p = 0; p < c->ports.count; p++) {
        long long cpu = c->ports.at[p].lcore;
        if (cpu >= 0 && cpu < CPU_SETSIZE)
            CPU_CLR((int)cpu, &set);
    }
    if (CPU_COUNT(&set))
        sched_setaffinity(0, sizeof set, &set);
}

void house_leave(void)
{
    if (known)
        sched_setaffinity(0, sizeof given, &given);
}

void house_control(const struct config *c)
{
    cpu_set_t set;
    if (c->cpus.control < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((int)c->cpus.control, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        fprintf(stderr, "penstockd: cpus.control: no CPU %lld here; control stays unpinned\n",
                (long long)c->cpus.control);
}
