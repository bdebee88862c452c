/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rng.h - the simulator's random numbers: xoshiro256** seeded by splitmix64.
 *
 * Every source of chance (flow, envelope, each line) owns one generator, seeded from --seed and its
 * own number, so that a change of one line's options leaves the market and the other lines as they
 * were.
 */
#pragma once

#include <math.h>

#include <core/base.h>

struct rng {
    uint64_t s[4];
};

pst_inline uint64_t rng_mix(uint64_t *x) /* splitmix64 */
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void rng_seed(struct rng *r, uint64_t seed, uint64_t which)
{
    uint64_t x = seed ^ (which * 0xd1342543de82ef95u);
    for (int i = 0; i < 4; i++)
        r->s[i] = rng_mix(&x);
}

pst_inline uint64_t rng_u64(struct rng *r)
{
    uint64_t *s = r->s, x = s[1] * 5, result = ((x << 7) | (x >> 57)) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

/* 0 … n-1; the bias of multiply-and-shift is below 2^-32 here. n = 0 gives 0. */
pst_inline uint32_t rng_below(struct rng *r, uint32_t n)
{
    return (uint32_t)(((rng_u64(r) >> 32) * n) >> 32);
}

pst_inline double rng_unit(struct rng *r) /* 0 <= x < 1 */
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

pst_inline bool rng_chance(struct rng *r, double p)
{
    return p > 0 && rng_unit(r) < p;
}

static inline double rng_normal(struct rng *r)
{
    double u = 1.0 - rng_unit(r), v = rng_unit(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
