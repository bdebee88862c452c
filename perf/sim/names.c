/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "names.h"

/* rank, cumulative share, exponent of the weights up to this rank */
static const struct {
    double rank, share, exponent;
} curve[] = {
    {1, 0.0087, 0},     {10, 0.058, 0.28}, {50, 0.156, 0.6},   {100, 0.232, 0.5},
    {200, 0.338, 0.6},  {500, 0.524, 0.8}, {1000, 0.684, 0.9}, {2000, 0.842, 0.9},
    {4000, 0.966, 2.0}, {8892, 1.0, 4.0},
};

double names_cumulative(double rank)
{
    if (rank <= 1)
        return rank <= 0 ? 0 : curve[0].share * rank;
    for (size_t i = 1; i < PST_COUNT(curve); i++) {
        if (rank <= curve[i].rank) {
            double p = 1 - curve[i].exponent, a = pow(curve[i - 1].rank, p);
            double b = pow(curve[i].rank, p);
            return curve[i - 1].share +
                   (curve[i].share - curve[i - 1].share) * (pow(rank, p) - a) / (b - a);
        }
    }
    return 1.0;
}

static int by_text(const void *a, const void *b)
{
    return memcmp(a, b, 8);
}

/* Letters in about the frequency in which tickers use them. */
static void make_ticker(char t[8], struct rng *r)
{
    static const char letters[] =
        "AAAAABBBCCCCCDDDEEEEFFFGGGHHHIIIIJKKLLLLMMMMNNNNOOOPPPPQRRRSSSSSSTTTTT"
        "UUVVWWXXYZ";
    uint32_t k = rng_below(r, 10000), len = k < 25 ? 1 : k < 300 ? 2 : k < 3400 ? 3 : 4;
    memset(t, ' ', 8);
    for (uint32_t i = 0; i < len; i++)
        t[i] = letters[rng_below(r, sizeof letters - 1)];
    uint32_t suffix = rng_below(r, 100);
    if (len == 4 && suffix < 14)
        t[4] = "WURLP"[rng_below(r, 5)]; /* warrant, unit, right, … */
    else if (len == 3 && suffix < 4)
        t[3] = '.', t[4] = "AB"[rng_below(r, 2)]; /* share class */
    else if (len == 3 && suffix < 8)
        t[3] = '-', t[4] = "ABCDE"[rng_below(r, 5)]; /* preferred */
}

static bool make_tickers(struct names *n, struct rng *r)
{
    uint32_t size = 1u << 18, have = 0;
    uint64_t *seen = calloc(size, sizeof *seen);
    if (!seen)
        return false;
    while (have < n->count) {
        char t[8];
        make_ticker(t, r);
        if (n->count - have < n->count / 4 && t[3] != ' ' && t[4] == ' ' && n->count > 20000)
            t[4] = (char)('A' + rng_below(r, 26)); /* short texts run out with very many names */
        uint64_t key, h;
        memcpy(&key, t, 8);
        h = key * 0x9e3779b97f4a7c15u >> 46;
        while (seen[h] && seen[h] != key)
            h = (h + 1) & (size - 1);
        if (seen[h])
            continue;
        seen[h] = key;
        memcpy(n->text[have++], t, 8);
    }
    free(seen);
    qsort(n->text, n->count, 8, by_text);
    return true;
}

/* Walker's alias table: one draw, one comparison. */
static bool make_alias(struct names *n)
{
    uint32_t count = n->count, small_n = 0, large_n = 0;
    double *p = calloc(count, sizeof *p);
    uint32_t *small = calloc(count, sizeof *small), *large = calloc(count, sizeof *large);
    if (!p || !small || !large) {
        free(p), free(small), free(large);
        return false;
    }
    double scale = (double)NAMES_DEFAULT / count;
    for (uint32_t i = 0; i < count; i++) {
        double lo = n->rank[i] * scale, hi = (n->rank[i] + 1) * scale;
        p[i] = (names_cumulative(hi) - names_cumulative(lo)) * count;
    }
    for (uint32_t i = 0; i < count; i++)
        *(p[i] < 1 ? &small[small_n++] : &large[large_n++]) = i;
    while (small_n && large_n) {
        uint32_t s = small[--small_n], l = large[large_n - 1];
        n->alias_cut[s] = (uint32_t)(p[s] * 4294967295.0);
        n->alias_to[s] = (uint16_t)l;
        p[l] -= 1 - p[s];
        if (p[l] < 1) {
            large_n--;
            small[small_n++] = l;
        }
    }
    while (large_n)
        n->alias_cut[large[--large_n]] = UINT32_MAX;
    while (small_n) { /* only rounding leaves entries here */
        uint32_t s = small[--small_n];
        n->alias_cut[s] = p[s] > 0.5 ? UINT32_MAX : 0;
    }
    for (uint32_t i = 0; i < count; i++)
        if (n->alias_cut[i] == UINT32_MAX)
            n->alias_to[i] = (uint16_t)i;
    free(p), free(small), free(large);
    return true;
}

bool names_make(struct names *n, uint32_t count, uint64_t seed, struct err *e)
{
    struct rng r;
    rng_seed(&r, seed, 1);
    *n = (struct names){.count = count};
    n->text = calloc(count, sizeof *n->text);
    n->mid = calloc(count, sizeof *n->mid);
    n->rank = calloc(count, sizeof *n->rank);
    n->alias_cut = calloc(count, sizeof *n->alias_cut);
    n->alias_to = calloc(count, sizeof *n->alias_to);
    if (!n->text || !n->mid || !n->rank || !n->alias_cut || !n->alias_to || !make_tickers(n, &r))
        return err_set(e, -ENOMEM, "no memory for %u names; use fewer (--symbols)", count);
    for (uint32_t i = 0; i < count; i++) {
        n->rank[i] = i;
        double dollars = exp(3.4 + 1.1 * rng_normal(&r));
        dollars = dollars < 0.5 ? 0.5 : dollars > 4000 ? 4000 : dollars;
        n->mid[i] = (uint32_t)(dollars * 100) * 100;
    }
    for (uint32_t i = count - 1; i > 0; i--) { /* Fisher-Yates */
        uint32_t j = rng_below(&r, i + 1), t = n->rank[i];
        n->rank[i] = n->rank[j];
        n->rank[j] = t;
    }
    if (!make_alias(n))
        return err_set(e, -ENOMEM, "no memory for the draw of %u names", count);
    return true;
}

void names_free(struct names *n)
{
    free(n->text), free(n->mid), free(n->rank), free(n->alias_cut), free(n->alias_to);
    *n = (struct names){0};
}
