/* SPDX-License-Identifier: Apache-2.0 */
/* Fault points (base.h); an empty unit in builds without -Dfaults=true. */
#include "core/atomics.h"

#ifdef PST_FAULTS
#include <signal.h>
#include <unistd.h>

/* "name:n" in an environment variable, parsed at each visit: clarity over speed, tests only. */
static bool hit(const char *env, const char *name, _Atomic uint64_t *visits)
{
    const char *spec = getenv(env);
    size_t len = strlen(name);
    if (!spec || strncmp(spec, name, len) || spec[len] != ':')
        return false;
    uint64_t n = strtoull(spec + len + 1, NULL, 10);
    return atomic_fetch_add_explicit(visits, 1, memory_order_relaxed) + 1 == n;
}

void pst_fault_visit(const char *name)
{
    static _Atomic uint64_t visits;
    if (hit("PST_FAULT_AT", name, &visits))
        kill(getpid(), SIGKILL);
}

bool pst_fault_hit(const char *name)
{
    static _Atomic uint64_t visits;
    return hit("PST_FAULT_DROP", name, &visits);
}

void pst_fault_stall(const char *name)
{
    const char *spec = getenv("PST_FAULT_STALL");
    size_t len = strlen(name);
    if (!spec || strncmp(spec, name, len) || spec[len] != ':')
        return;
    while (access(spec + len + 1, F_OK) == 0)
        usleep(1000);
}
#else
typedef int fault_points_are_compiled_out;
#endif
