/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topo.h - the machine on one page: every thread and process, every ring. topo.c is data; the
 * daemon takes names and nice values from it, `penstock topo` prints it with the live figures
 * beside it.
 */
#pragma once

#include <jansson.h>
#include "core/base.h"

struct daemon;

enum core_class {
    CORE_PINNED, /* an isolated core of its own */
    CORE_HOUSE,  /* any housekeeping core */
};

struct topo_thread {
    const char *name;
    enum core_class core;
    bool may_block;
    int nice;
    const char *does;
};

struct topo_process { /* beside penstockd */
    const char *name;
    int nice;
    const char *parent, *does, *when_gone;
};

struct topo_ring {
    const char *name, *producer, *consumers, *full;
};

extern const struct topo_thread topo_threads[];
extern const struct topo_process topo_processes[];
extern const struct topo_ring topo_rings[];
extern const unsigned topo_thread_count, topo_process_count, topo_ring_count;

/* By name; a trailing number ("rx1") is ignored. Never NULL for a thread the daemon starts. */
const struct topo_thread *topo_thread(const char *name);

json_t *topo_json(const struct daemon *d); /* new reference */
