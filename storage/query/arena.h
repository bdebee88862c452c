/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena.h - memory that is given back all at once: a plan's nodes, a query's texts.
 * One owner, no lock. arena_alloc never returns NULL: out of memory sets `failed`, and the answer
 * is then from a static page that is shared and worthless; the owner looks at `failed` before it
 * uses what was built. Returned memory is zero and 16-byte aligned.
 */
#pragma once

#include <core/base.h>

struct arena_block;
struct arena {
    struct arena_block *block;
    size_t used, room;
    size_t total, limit; /* bytes taken from malloc; limit 0 = none */
    bool failed;
};

struct arena *arena_new(size_t limit); /* NULL: no memory */
void arena_free(struct arena *a);      /* NULL is allowed */
void *arena_alloc(struct arena *a, size_t bytes);
char *arena_text(struct arena *a, const char *p, size_t len); /* copy, NUL-terminated */
__attribute__((format(printf, 2, 3))) char *arena_printf(struct arena *a, const char *fmt, ...);
