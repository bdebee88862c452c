/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clock.h"
#include "partition.h"

void wd_meta_make(struct hdb_meta *m, const struct schema *target, const struct wd_facts *f)
{
    hdb_meta_init(m, target, f->date);
    snprintf(m->calendar, sizeof m->calendar, "%s", f->calendar);
    if (f->producer)
        snprintf(m->producer, sizeof m->producer, "%s", f->producer);
    m->rows = f->rows;
    m->sorted = m->has_hash = true;
    m->hash = content_sum_hash(f->sum);
    m->captured = target->feed && f->sum->captured == f->sum->rows;
    m->epoch = f->epoch;
    m->symbols = f->symbols;
    m->written = clock_system();
    m->has_times = f->rows > 0;
    m->time_min = f->time_min;
    m->time_max = f->time_max;
}

bool wd_meta_sources(struct hdb_meta *m, const struct hdb_meta *from, const struct hdb_source *add,
                     struct err *err)
{
    if (from) {
        memcpy(m->source, from->source, sizeof m->source);
        m->nsources = from->nsources;
    }
    return hdb_meta_add_source(m, add, err);
}
