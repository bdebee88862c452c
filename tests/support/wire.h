/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - builds venue messages by hand, field by field at its offset, for tests.
 */
#pragma once

#include <string.h>
#include "core/base.h"

struct wire {
    uint8_t b[256];
    uint32_t len;
};

static inline void wire_be(struct wire *w, unsigned at, unsigned width, uint64_t v)
{
    for (unsigned i = 0; i < width; i++)
        w->b[at + i] = (uint8_t)(v >> 8 * (width - 1 - i));
}
static inline void wire_le(struct wire *w, unsigned at, unsigned width, uint64_t v)
{
    for (unsigned i = 0; i < width; i++)
        w->b[at + i] = (uint8_t)(v >> 8 * i);
}
static inline void wire_text(struct wire *w, unsigned at, unsigned width, const char *text)
{
    memset(w->b + at, ' ', width);
    memcpy(w->b + at, text, strlen(text));
}
