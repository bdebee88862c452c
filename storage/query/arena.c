/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#define ARENA_BLOCK (64u << 10)

struct arena_block {
    struct arena_block *next;
    size_t size;
};
_Static_assert(sizeof(struct arena_block) == 16, "what arena_alloc returns is 16-byte aligned");

/* Where a failed arena points: big enough for any one node, never read for a result. */
static _Thread_local char arena_nowhere[1 << 16] pst_aligned(16);

struct arena *arena_new(size_t limit)
{
    struct arena *a = calloc(1, sizeof *a);
    if (a) {
        a->limit = limit;
    }
    return a;
}

void arena_free(struct arena *a)
{
    if (!a) {
        return;
    }
    struct arena_block *b = a->block;
    while (b) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
    free(a);
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    size_t need = (bytes + 15) & ~(size_t)15;
    if (need < bytes || need > SIZE_MAX / 2) {
        a->failed = true;
        return memset(arena_nowhere, 0, sizeof arena_nowhere);
    }
    if (need > a->room - a->used || !a->block) {
        size_t size = sizeof(struct arena_block) + (need > ARENA_BLOCK / 4 ? need : ARENA_BLOCK);
        struct arena_block *b = a->limit && a->total + size > a->limit ? NULL : malloc(size);
        if (!b) {
            a->failed = true;
            /* a request that does not fit here was for an array of the user's size: callers look
             * at failed before they fill one */
            return memset(arena_nowhere, 0, sizeof arena_nowhere);
        }
        b->size = size;
        b->next = a->block;
        a->total += size;
        a->block = b;
        a->used = sizeof *b;
        a->room = size;
    }
    void *p = (char *)a->block + a->used;
    a->used += need;
    return memset(p, 0, need);
}

char *arena_text(struct arena *a, const char *p, size_t len)
{
    char *t = arena_alloc(a, len + 1);
    if (!a->failed && len) {
        memcpy(t, p, len);
    }
    return t;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *t = arena_alloc(a, (size_t)(n < 0 ? 0 : n) + 1);
    if (!a->failed && n > 0) {
        va_start(ap, fmt);
        vsnprintf(t, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    return t;
}
