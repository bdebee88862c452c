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

double disk_rate_now(const struct disk_rate *r, uint64_t ahead, int64_t *until)
{
    *until = DISK_RATE_NEVER;
    unsigned last = r->n - 1;
    if (r->n < 2 || r->at[last] - r->at[0] < DISK_RATE_LEAST)
        return 0;
    double fell = (double)r->free[0] - (double)r->free[last];
    double wrote = (double)(r->wrote[last] - r->wrote[0]);
    double apart = fell > wrote ? fell - wrote : wrote - fell;
    double rate =
        (apart <= (double)ahead ? wrote : fell) / ((double)(r->at[last] - r->at[0]) / 1e9);
    if (rate < 1)
        return 0;
    double ns = (double)r->free[last] / rate * 1e9;
    *until = ns < 9e18 ? (int64_t)ns : DISK_RATE_NEVER;
    return rate;
}
