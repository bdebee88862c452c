/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "due.h"

void due_init(struct due *d)
{
    memset(d, 0, sizeof *d);
    d->mine = &d->list[0];
    store_relaxed(&d->current, &d->list[0]);
}

bool due_publish(struct due *d, const struct due_item *items, uint32_t n, struct err *err)
{
    if (n > DUE_MAX)
        return err_set(err, -E2BIG, "due list: %u entries, %u fit", n, DUE_MAX);
    if (load_acquire(&d->seen) != d->version) /* D4: pairs with D3 */
        return err_set(err, -EAGAIN, "due list: the appender has not taken the last one up yet");
    struct due_list *l = &d->list[(d->version + 1) % 2];
    l->version = d->version + 1;
    l->n = 0;
    for (uint32_t i = 0; i < n; i++) { /* insertion: a handful of entries, stable */
        uint32_t k = l->n++;
        for (; k && l->item[k - 1].at > items[i].at; k--)
            l->item[k] = l->item[k - 1];
        l->item[k] = items[i];
    }
    d->version = l->version;
    store_release(&d->current, (const struct due_list *)l); /* D1: pairs with D2 */
    return true;
}

bool due_done(const struct due *d, uint64_t id)
{
    for (unsigned i = 0; i < DUE_MEMORY; i++)
        if (load_acquire(&d->done[i]) == id) /* D6: pairs with D5 */
            return true;
    return false;
}

static bool passed(const struct due *d, uint64_t id)
{
    for (unsigned i = 0; i < DUE_MEMORY; i++)
        if (load_relaxed(&d->done[i]) == id)
            return true;
    return false;
}

const struct due_item *due_next(struct due *d, int64_t now)
{
    const struct due_list *l = load_acquire(&d->current); /* D2: pairs with D1 */
    if (pst_unlikely(l != d->mine)) {
        d->mine = l;
        d->next = 0;
        store_release(&d->seen, l->version); /* D3: the other list is control's again */
    }
    for (; d->next < l->n && l->item[d->next].at <= now; d->next++)
        if (!passed(d, l->item[d->next].id))
            return &l->item[d->next];
    return NULL;
}

void due_pass(struct due *d, const struct due_item *item)
{
    store_release(&d->done[d->passed++ % DUE_MEMORY], item->id); /* D5 */
}
