/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a delivered file: the first byte chooses the format and the size of reads. Every
 * piece has its padding; what comes does not depend on the size of reads; an error has a sentence.
 */
#include "load/input.h"

#define MOST (4u << 20) /* unpacked: zeros pack a thousandfold */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run(const uint8_t *data, size_t size, enum load_compression how, uint32_t chunk,
               struct hash128 *hash, uint64_t *n)
{
    struct load_input_config c = {.compression = how,
                                  .limit = MOST,
                                  .window_max = 8u << 20,
                                  .memory = data,
                                  .memory_bytes = size,
                                  .chunk = chunk,
                                  .first_only = chunk & 1};
    struct err err = {0};
    struct load_input *in = load_input_open("input", &c, &err);
    const uint8_t *p;
    size_t got, keep = 0;
    bool last = false, ok = in != NULL;
    *n = 0;
    *hash = (struct hash128){0, 0};
    while (ok && !last) {
        ok = load_input_next(in, keep, &p, &got, &last, &err);
        if (!ok)
            break;
        pst_must(got >= keep && got <= LOAD_PIECE + keep);
        for (size_t i = 0; i < LOAD_PAD; i++)
            pst_must(!p[got + i]);
        struct hash128 both[2] = {*hash};
        hash128_of(p + keep, got - keep, &both[1]);
        hash128_of(both, sizeof both, hash);
        *n += got - keep;
        keep = got % 7 < got ? got % 7 : got;
    }
    if (!ok)
        pst_must(err.code < 0 && err.text[0]);
    load_input_close(in);
    return ok ? 0 : err.code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    enum load_compression how = (enum load_compression)(data[0] % (LOAD_ZIP + 1));
    uint32_t chunk = data[1] | 1;
    struct hash128 a, b;
    uint64_t n, k;
    if (!size || size > 1u << 18)
        return 0;
    int one = run(data + 2, size - 2, how, chunk, &a, &n),
        two = run(data + 2, size - 2, how, 1 + 64 * chunk, &b, &k);
    pst_must(!one == !two);
    if (!one)
        pst_must(n == k && a.lo == b.lo && a.hi == b.hi);
    return 0;
}
