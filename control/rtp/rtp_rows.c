/* SPDX-License-Identifier: Apache-2.0 */
#include "rtp_rows.h"

#include <errno.h>
#include "core/tables.h"
#include "dataplane/batch.h"

#define TEXTS_MAX (APPEND_TEXTS_BYTES / 2) /* a text has one byte at least */

bool rtp_rows_open(struct rtp_rows *r, const struct rtp_rows_config *cfg, struct err *err)
{
    *r = (struct rtp_rows){.cfg = *cfg};
    r->map = calloc(TEXTS_MAX, sizeof *r->map);
    return (r->map || err_set(err, -ENOMEM, "real-time processes: no memory")) &&
           inject_rows_init(&r->w, &cfg->rows, err);
}

void rtp_rows_close(struct rtp_rows *r)
{
    if (r->map)
        inject_rows_fini(&r->w);
    free(r->map);
    r->map = NULL;
}

/* What the appender has looked at is under way no more. Its verdicts, in order. */
static enum inject_refusal collect(struct rtp_rows *r, struct rtp_rows_source *s)
{
    enum inject_refusal why = INJECT_ACCEPTED;
    uint64_t ignored;
    while (s->packets) {
        const struct rtp_rows_packet *p = &s->packet[s->first];
        if (!inject_taken(r->cfg.rows.q, p->ticket, &ignored))
            break;
        enum inject_refusal v = inject_refused(r->cfg.rows.q, p->before, p->ticket);
        r->under_way -= p->batches;
        s->first = (s->first + 1) % RTP_ROWS_PACKETS;
        s->packets--;
        if (v) {
            s->failed = true;
            why = v;
        }
        if (s->failed)
            continue;
        s->done = p->number;
        s->rows += p->rows;
    }
    return why;
}

/* The texts of a refused batch were not kept: ids that stand for them are void. */
static void renumber(struct rtp_rows *r)
{
    inject_rows_flush(&r->w);
    inject_rows_restart(&r->w);
}

bool rtp_rows_step(struct rtp_rows *r, struct rtp_rows_source *s, uint64_t *done, struct err *err)
{
    enum inject_refusal why = collect(r, s);
    *done = s->done;
    if (!why)
        return true;
    renumber(r);
    return err_set(err, why == INJECT_SYMBOLS_LIMIT ? -ENOSPC : -ESTALE, "%s",
                   why == INJECT_SYMBOLS_LIMIT
                       ? "its rows bring symbols beyond max_new_symbols or symbols_max"
                   : why == INJECT_NOT_NEXT ? "its source went on meanwhile"
                                            : "the appender found its rows malformed");
}

bool rtp_rows_settled(struct rtp_rows *r, struct rtp_rows_source *s)
{
    if (collect(r, s))
        renumber(r);
    return !s->packets;
}

void rtp_rows_begin(struct rtp_rows *r, struct rtp_rows_source *s)
{
    pst_must(!s->packets);
    r->cfg.where(r->cfg.arg, s->name, &s->at);
    source_settle(&s->at);
    s->begun = true;
    s->failed = false;
    s->done = 0;
}

/* ---- a packet ---- */

/* Do its blocks lead on from where the source stands? Its points, behind them, into *to. */
static bool leads_on(const struct rtp_rows_source *s, const struct append_found *found,
                     struct source_progress *to, struct err *err)
{
    *to = s->at;
    for (unsigned i = 0; i < found->blocks; i++) {
        const struct append_block *b = found->block[i];
        struct source_point from = source_point(b->after, b->after_row),
                            end = source_point(b->position, b->row);
        if (!source_fits(to, from, end))
            return err_set(
                err, -ESTALE, "its rows lead from %llu.%u to %llu.%u, but %s stands at %llu.%u",
                (unsigned long long)from.position, from.row, (unsigned long long)end.position,
                end.row, s->name, (unsigned long long)to->at.position, to->at.row);
        source_advance(to, end);
    }
    return true;
}

/* Symbols of weeks would fill this producer's numbering. */
static void make_room(struct rtp_rows *r, uint32_t texts)
{
    struct inject_rows *w = &r->w;
    if (symbols_count(&w->local) + (uint64_t)texts + 1 >= w->local.head->max ||
        w->syms_bytes > BATCH_SYMS_MAX / 4)
        renumber(r);
    inject_rows_flush(w);
}

static bool put(struct rtp_rows *r, const struct rtp_rows_source *s, const struct append_block *b,
                struct err *err)
{
    struct inject_rows *w = &r->w;
    make_room(r, b->texts);
    uint32_t name = rows_symbol(&w->rows, s->name, (uint32_t)strlen(s->name));
    const uint8_t *p = append_texts(b);
    bool ok = name != SYMBOL_REFUSED;
    for (uint32_t i = 0; ok && i < b->texts; p += 1 + *p, i++) {
        r->map[i] = rows_symbol(&w->rows, (const char *)p + 1, *p);
        ok = r->map[i] != SYMBOL_REFUSED;
    }
    if (!ok)
        return err_set(err, -ENOSPC,
                       "its rows bring symbols beyond max_new_symbols or symbols_max");
    struct batch_rows rows = {.schemas = r->cfg.rows.schemas,
                              .at = append_records(b),
                              .bytes = append_record_bytes(b),
                              .records = b->records,
                              .locals = b->texts,
                              .map = r->map,
                              .owners = r->cfg.rows.owners};
    pst_must(!rows.bytes || !batch_rows_check(&rows)); /* it was sound a moment ago */
    struct derived_record head = {.table = TABLE_DERIVED,
                                  .bytes = sizeof head,
                                  .source = name,
                                  .after = b->after,
                                  .position = b->position,
                                  .after_row = b->after_row,
                                  .row = b->row};
    pst_must(inject_rows_block(w, rows.at, rows.bytes, b->records, b->day, &head));
    return true;
}

enum rtp_rows_verdict rtp_rows_offer(struct rtp_rows *r, struct rtp_rows_source *s, uint64_t number,
                                     uint8_t *body, uint32_t bytes, struct err *err)
{
    struct append_rules rules = {.schemas = r->cfg.rows.schemas,
                                 .owners = r->cfg.rows.owners,
                                 .may = s->may,
                                 .admin = true,
                                 .of_source = true};
    struct append_found found;
    struct source_progress to;
    uint64_t sent = s->done + s->packets;
    if (!s->begun || s->failed || number != sent + 1) {
        err_set(err, -EPROTO, "rows of number %llu, where %llu comes next",
                (unsigned long long)number, (unsigned long long)sent + 1);
        return RTP_ROWS_BAD;
    }
    if (s->packets == RTP_ROWS_PACKETS) {
        err_set(err, -EPROTO, "more than %u packets of rows under way", RTP_ROWS_PACKETS);
        return RTP_ROWS_BAD;
    }
    if (!append_check(&rules, body, bytes, &found, err) || !leads_on(s, &found, &to, err))
        return RTP_ROWS_BAD;
    if (r->under_way && r->under_way + found.blocks > RTP_ROWS_BATCHES)
        return RTP_ROWS_WAIT;
    if (inject_rows_room(&r->w) < bytes + found.blocks * 1024ull + BATCH_SYMS_MAX)
        return RTP_ROWS_WAIT;
    struct rtp_rows_packet *p = &s->packet[(s->first + s->packets) % RTP_ROWS_PACKETS];
    *p = (struct rtp_rows_packet){
        .number = number, .before = inject_rows_flush(&r->w), .rows = found.rows};
    bool ok = true;
    for (unsigned i = 0; ok && i < found.blocks; i++) {
        ok = put(r, s, found.block[i], err);
        p->batches += ok;
    }
    p->ticket = r->w.ticket;
    r->under_way += p->batches;
    s->packets++; /* also when cut short: what went is to be waited for */
    if (!ok)
        s->failed = true;
    s->at = to;
    return ok ? RTP_ROWS_TAKEN : RTP_ROWS_BAD;
}
