/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ITCH decoder: fuzz_decoder.h says what must hold. An input that begins with '{' is the state
 * of a mark instead: either refused, or saved again and loaded to the same.
 */
#include "fuzz_decoder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t resolve(void *arg, const char *text, uint32_t len)
{
    return fuzz_intern(arg, text, len);
}

static uint32_t save(struct fuzz_bed *b, char *out, uint32_t cap)
{
    uint32_t from = 0, n = b->ops->save(b->state, &from, out, cap, NULL, NULL);
    pst_must(n <= cap);
    return from ? 0 : n; /* more than fits: not compared */
}

static void state_mark(struct fuzz_bed *b, const char *json, size_t size)
{
    static char first[1 << 16], second[1 << 16];
    fuzz_symbols = 0;
    b->rows = (struct rows){.ops = &fuzz_ops, .owner = b};
    fuzz_stage(&b->rows);
    b->ops->init(b->state);
    if (!b->ops->load(b->state, json, size, resolve, &b->rows))
        return;
    uint32_t n = save(b, first, sizeof first);
    b->ops->init(b->state);
    if (!n)
        return;
    pst_must(b->ops->load(b->state, first, n, resolve, &b->rows));
    pst_must(save(b, second, sizeof second) == n && !memcmp(first, second, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_bed bed;
    if (!bed.ops)
        fuzz_open(&bed, "itch50");
    if (size && data[0] == '{')
        state_mark(&bed, (const char *)data, size);
    else
        fuzz_stream(&bed, data, size);
    return 0;
}
