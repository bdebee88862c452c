/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_rate.h"

static void drop(struct disk_rate *r, unsigned i)
{
    unsigned behind = r->n - i - 1;
    memmove(&r->at[i], &r->at[i + 1], behind * sizeof r->at[0]);
    memmove(&r->free[i], &r->free[i + 1], behind * sizeof r->free[0]);
    memmove(&r->wrote[i], &r->wrote[i + 1], behind * sizeof r->wrote[0]);
    r->n--;
}

void disk_rate_add(struct disk_rate *r, int64_t now, uint64_t free_bytes, uint64_t wrote)
{
    if (!r->step)
        r->step = DISK_RATE_STEP;
    /* the newest sample moves with the time until it is a step away from the one before */
    if (r->n >= 2 && r->at[r->n - 1] - r->at[r->n - 2] < r->step)
        r->n--;
    if (r->n == DISK_RATE_SAMPLES) {
        if (r->step < DISK_RATE_LONGEST) {
            for (unsigned i = 1; i < r->n; i++)
                drop(r, i); /* every other one */
            r->step *= 2;
        } else {
            drop(r, 0);
        }
    }
    r->at[r->n] = now;
    r->free[r->n] = free_bytes;
    r->wrote[r->n++] = wrote;
}

/* From sample `from` to the newest. */
static double rate_since(const struct disk_rate *r, unsigned from, uint64_t ahead)
{
    unsigned last = r->n - 1;
    double fell = (double)r->free[from] - (double)r->free[last];
    double wrote = (double)(r->wrote[last] - r->wrote[from]);
    double apart = fell > wrote ? fell - wrote : wrote - fell;
    return (apart <= (double)ahead ? wrote : fell) / ((double)(r->at[last] - r->at[from]) / 1e9);
}

double disk_rate_now(const struct disk_rate *r, uint64_t ahead, int64_t *until)
{
    *until = DISK_RATE_NEVER;
    unsigned last = r->n - 1, half = 0;
    if (r->n < 2 || r->at[last] - r->at[0] < DISK_RATE_LEAST)
        return 0;
    int64_t span = r->at[last] - r->at[0];
    while (half + 2 < r->n && r->at[last] - r->at[half + 1] >= span / 2)
        half++;
    double rate = rate_since(r, 0, ahead), lately = rate_since(r, half, ahead);
    if (lately < rate)
        rate = lately; /* a file that was made at once is no rate: the half behind it has none */
    if (rate < 1)
        return 0;
    double ns = (double)r->free[last] / rate * 1e9;
    if (ns < 9e18 && (span >= DISK_RATE_SURE || ns <= (double)span * DISK_RATE_REACH))
        *until = (int64_t)ns;
    return rate;
}
