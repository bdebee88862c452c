/* SPDX-License-Identifier: Apache-2.0 */
/* A zone file of any bytes: parsed within its bounds, and what is accepted can be asked anything.
 */
#include <core/tzone.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e;
    struct tzone *z = tzone_parse("fuzz", data, size, &e);
    if (z) {
        static const int64_t instants[] = {-(1LL << 59), -1,         0,         951782400,
                                           1700000000,   4102444800, 1LL << 40, 1LL << 58};
        for (size_t i = 0; i < PST_COUNT(instants); i++) {
            int64_t local = instants[i] + tzone_offset(z, instants[i]);
            /* The first instant with this reading is never after one that has it. */
            pst_must(tzone_to_utc(z, local) <= instants[i]);
            pst_must(tzone_next_change(z, instants[i]) > instants[i]);
        }
        tzone_free(z);
    }
    return 0;
}
