/* SPDX-License-Identifier: Apache-2.0 */
/* The IEX decoder: fuzz_decoder.h says what must hold. */
#include "fuzz_decoder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_bed bed;
    if (!bed.ops)
        fuzz_open(&bed, "iex");
    fuzz_stream(&bed, data, size);
    return 0;
}
