/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard.h - bytes that end exactly where memory ends, so that one byte too many faults.
 *
 *     struct guard g;
 *     guard_open(&g, 65536);
 *     const uint8_t *p = guard_copy(&g, bytes, n);   p + n is the first byte of a PROT_NONE page
 *     ...                                            valid until the next guard_copy
 *     guard_close(&g);
 *
 * For tests only; one thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct guard {
    uint8_t *map;
    size_t room; /* whole pages, before the guard page */
};

void guard_open(struct guard *g, size_t room); /* aborts when there is no memory */
uint8_t *guard_copy(struct guard *g, const void *bytes, size_t n);
void guard_close(struct guard *g);
