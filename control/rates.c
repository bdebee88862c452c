/* SPDX-License-Identifier: Apache-2.0 */
#include "rates.h"

static void sample(struct rate *r, uint64_t now, double seconds)
{
    r->per_s = seconds > 0 ? (double)(now - r->last) / seconds : 0;
    r->last = now;
}

void rates_sample(struct rates *r, const struct status *s)
{
    int64_t now = clock_monotonic();
    if (r->at && now - r->at < NS_PER_S)
        return;
    double seconds = r->at ? (double)(now - r->at) / (double)NS_PER_S : 0;
    r->at = now;
    for (unsigned f = 0; f < s->n_feeds; f++) {
        sample(&r->feed[f], load_relaxed(&s->feeds[f].messages), seconds);
        for (unsigned l = 0; l < s->feeds[f].nlines; l++)
            sample(&r->line[f][l], load_relaxed(&s->feeds[f].line[l].packets), seconds);
    }
    for (unsigned p = 0; p < s->n_ports; p++)
        sample(&r->port[p], load_relaxed(&s->ports[p].taken), seconds);
    sample(&r->journal, load_relaxed(&s->counter[COUNTER_APPEND_BYTES]), seconds);
    sample(&r->log, load_relaxed(&s->counter[COUNTER_LOG_BYTES]), seconds);
}
