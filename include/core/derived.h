/* SPDX-License-Identifier: Apache-2.0 */
/*
 * derived.h - the tables that built-in processors write, and table monCPU: known to the daemon,
 * which declares them when a group of `rtp` names the processor, and to the process that runs it.
 * (A plugin's derived tables are declared under `tables` in the configuration.)
 */
#pragma once

#include "schema.h"

struct derived_table {
    const char *name;
    const struct column_def *columns;
    unsigned n;
};
struct derived_processor {
    const char *name;
    const struct derived_table *tables; /* until name is NULL */
};

/* One row a thread of penstockd, and one a real-time process, each mon_cpu: what it used since the
 * row before. sym: the thread's name, or GROUP/N. */
static const struct column_def moncpu_columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},  {"server", PST_SYMBOL},
    {"cpu", PST_FLOAT},      {"user", PST_FLOAT},  {"system", PST_FLOAT},
    {"core", PST_INT},       {"memory", PST_LONG}, {"switches", PST_LONG},
};
enum {
    MONCPU_TIME,
    MONCPU_SYM,
    MONCPU_SERVER,  /* the instance */
    MONCPU_CPU,     /* percent of one CPU */
    MONCPU_USER,    /* of it, in user code */
    MONCPU_SYSTEM,  /* of it, in the kernel */
    MONCPU_CORE,    /* on which it ran last */
    MONCPU_MEMORY,  /* bytes: of a process; null for a thread */
    MONCPU_SWITCHES /* context switches that it did not ask for */
};

/* Until name is NULL (control/rtp/builtin/orders_tables.c). */
extern const struct derived_processor derived_processors[];

static inline const struct derived_processor *derived_processor(const char *name)
{
    for (const struct derived_processor *p = derived_processors; p->name; p++)
        if (!strcmp(p->name, name))
            return p;
    return NULL;
}
