/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the log gave up (log_full: drop_oldest) goes into the journal: a `lost` mark with positions
 * and figures, then a gap row of reason lost_log for every range of sequences. When the appender
 * has taken all of them the log may let its levels pass the range.
 */
#include "day.h"
#include "ledger.h"
#include "wiring_parts.h"

#define MARK_SESSIONS 1000u /* in one mark: it must fit a frame */
#define GAP_ROOM      1024u

static const char *text_of(const struct daemon *d, uint32_t id, char out[256])
{
    uint32_t len = 0;
    const char *t = symbols_text(&d->symbols, id, &len);
    snprintf(out, 256, "%.*s", t ? (int)len : 0, t ? t : "");
    return out;
}

static bool mark(struct daemon *d, const struct log_loss *x, uint32_t from)
{
    char feed[256], session[256];
    json_t *list = json_array();
    for (uint32_t i = from; i < x->n_sessions && i < from + MARK_SESSIONS; i++) {
        const struct log_lost_session *s = &x->session[i];
        json_array_append_new(list,
                              json_pack("[s,s,I,I,I]", text_of(d, s->feed, feed),
                                        text_of(d, s->session, session), (json_int_t)s->on_time,
                                        (json_int_t)s->late, (json_int_t)s->rows));
    }
    json_t *o = json_pack("{s:I,s:I,s:I,s:I,s:s,s:o}", "from", (json_int_t)x->from, "to",
                          (json_int_t)x->to, "frames", (json_int_t)x->frames, "rows",
                          (json_int_t)x->rows, "reason", "log_full", "sessions", list);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    bool ok =
        text && inject_rows_mark(&d->wiring->control_rows, MARK_LOST, text, (uint32_t)strlen(text));
    free(text);
    return ok;
}

/* Steps: one for each thousand sessions, then one for each range. */
static bool step(struct daemon *d, const struct log_loss *x, uint32_t i)
{
    uint32_t marks = x->n_sessions / MARK_SESSIONS + 1;
    if (i < marks)
        return mark(d, x, i * MARK_SESSIONS);
    const struct log_lost_range *r = &x->range[i - marks];
    struct rows *rows = &d->wiring->control_rows.rows;
    char text[256];
    struct gap g = {.first = r->first,
                    .last = r->last,
                    .reason = "lost_log",
                    .time = clock_now(&d->clock),
                    .day = r->day};
    text_of(d, r->feed, text);
    g.feed = rows_symbol(rows, text, (uint32_t)strlen(text));
    text_of(d, r->session, text);
    g.session = rows_symbol(rows, text, (uint32_t)strlen(text));
    rows->ops->gap(rows, &g);
    return true;
}

/* What ledger and RDB have passed: an RDB that the ring has lapped reads files and is not waited
 * for. */
static uint64_t passed(const struct daemon *d)
{
    uint64_t low = d->ledger ? ledger_counted(d->ledger) : UINT64_MAX;
    if (d->days) {
        struct day_rdb_figures f;
        day_rdb_figures(d->days, &f);
        if (f.position < low && f.position >= load_relaxed(&d->ring.head->overwrite_below))
            low = f.position;
    }
    return low;
}

void wiring_loss(struct daemon *d)
{
    struct wiring *w = d->wiring;
    uint64_t position;
    store_release(&w->passed, passed(d)); /* L6 */
    const struct log_loss *x = log_loss(w->log);
    if (!x)
        return;
    uint32_t steps = x->n_sessions / MARK_SESSIONS + 1 + x->n_ranges;
    if (!w->loss_step)
        fprintf(
            stderr,
            "penstockd: the ring was full and no disk took the log: %llu rows in %llu frames of "
            "positions %llu to %llu were given up; %u gap rows say which\n",
            (unsigned long long)x->rows, (unsigned long long)x->frames, (unsigned long long)x->from,
            (unsigned long long)x->to, x->n_ranges);
    while (w->loss_step < steps && inject_rows_room(&w->control_rows) > 300 * GAP_ROOM &&
           step(d, x, w->loss_step))
        w->loss_step++;
    if (w->loss_step < steps)
        return;
    if (!w->loss_ticket)
        w->loss_ticket = inject_rows_flush(&w->control_rows);
    if (!inject_taken(&d->inject, w->loss_ticket, &position))
        return;
    w->loss_step = 0;
    w->loss_ticket = 0;
    log_loss_told(w->log);
}
