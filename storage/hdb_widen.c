/* SPDX-License-Identifier: Apache-2.0 */
/* hdb_widen.c - an older date's narrower column read as the type the table has now. */
#include <math.h>
#include "core/civil.h"
#include "core/schema.h"
#include "hdb_private.h"

/* from, to, C types, multiplier, null of from (or none) */
#define WIDENINGS(X)                                                                               \
    X(BOOLEAN, SHORT, uint8_t, int16_t, 1, NONE)                                                   \
    X(BOOLEAN, INT, uint8_t, int32_t, 1, NONE)                                                     \
    X(BOOLEAN, LONG, uint8_t, int64_t, 1, NONE)                                                    \
    X(BOOLEAN, REAL, uint8_t, float, 1, NONE)                                                      \
    X(BOOLEAN, FLOAT, uint8_t, double, 1, NONE)                                                    \
    X(BYTE, SHORT, uint8_t, int16_t, 1, NONE)                                                      \
    X(BYTE, INT, uint8_t, int32_t, 1, NONE)                                                        \
    X(BYTE, LONG, uint8_t, int64_t, 1, NONE)                                                       \
    X(BYTE, REAL, uint8_t, float, 1, NONE)                                                         \
    X(BYTE, FLOAT, uint8_t, double, 1, NONE)                                                       \
    X(SHORT, INT, int16_t, int32_t, 1, PST_NULL_SHORT)                                             \
    X(SHORT, LONG, int16_t, int64_t, 1, PST_NULL_SHORT)                                            \
    X(SHORT, REAL, int16_t, float, 1, PST_NULL_SHORT)                                              \
    X(SHORT, FLOAT, int16_t, double, 1, PST_NULL_SHORT)                                            \
    X(INT, LONG, int32_t, int64_t, 1, PST_NULL_INT)                                                \
    X(INT, FLOAT, int32_t, double, 1, PST_NULL_INT)                                                \
    X(REAL, FLOAT, float, double, 1, NONE)                                                         \
    X(DATE, TIMESTAMP, int32_t, int64_t, PST_DAY_NS, PST_NULL_INT)                                 \
    X(MINUTE, SECOND, int32_t, int32_t, 60, PST_NULL_INT)                                          \
    X(MINUTE, TIME, int32_t, int32_t, 60000, PST_NULL_INT)                                         \
    X(MINUTE, TIMESPAN, int32_t, int64_t, 60 * PST_SECOND_NS, PST_NULL_INT)                        \
    X(SECOND, TIME, int32_t, int32_t, 1000, PST_NULL_INT)                                          \
    X(SECOND, TIMESPAN, int32_t, int64_t, PST_SECOND_NS, PST_NULL_INT)                             \
    X(TIME, TIMESPAN, int32_t, int64_t, 1000000, PST_NULL_INT)

#define NONE INT64_MAX /* no value of the narrower types */

bool hdb_can_widen(uint8_t from, uint8_t to)
{
#define X(F, T, ...)                                                                               \
    if (from == PST_##F && to == PST_##T)                                                          \
        return true;
    WIDENINGS(X)
#undef X
    return false;
}

/* A product that the narrower C type cannot hold (a minute column beyond 24 days) becomes null. */
#define FITS(TO, v, mul)                                                                           \
    (sizeof(TO) != 4 || (int64_t)(v) * (mul) == (int32_t)((int64_t)(v) * (mul)))

void *hdb_widen(uint8_t from, uint8_t to, const void *values, uint64_t rows)
{
    unsigned width = type_width(to);
    void *out = rows < (1ull << 56) ? malloc(rows * width + 8) : NULL;
    if (!out)
        return NULL;
#define X(F, T, FC, TC, mul, null)                                                                 \
    if (from == PST_##F && to == PST_##T) {                                                        \
        const FC *in = values;                                                                     \
        TC *o = out;                                                                               \
        for (uint64_t i = 0; i < rows; i++)                                                        \
            if (((null) != NONE && (int64_t)in[i] == (null)) ||                                    \
                ((mul) != 1 && !FITS(TC, in[i], mul)))                                             \
                type_put_null(&o[i], to);                                                          \
            else                                                                                   \
                o[i] = (mul) == 1 ? (TC)in[i] : (TC)((int64_t)in[i] * (mul));                      \
        return out;                                                                                \
    }
    WIDENINGS(X)
#undef X
    free(out);
    return NULL;
}
