/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "batch.h"
#include "inject_rows.h"

#define STAGE_SLACK 64u
#define ROOM_MARGIN 1024u /* batch head, run heads, a text's padding */
#define SYMS_SPARE  512u  /* when fewer bytes are left for texts the batch goes */

static void stage_empty(struct inject_rows *w)
{
    struct rows *r = &w->rows;
    r->at = r->base;
    r->head = NULL;
    r->records = 0;
    r->run_rows = 0;
    w->plain = false;
    w->nsyms = w->syms_bytes = 0;
}

/* head | texts | lead | body; the caller knows that it fits. */
static void send_led(struct inject_rows *w, struct inject_batch *b, const void *lead,
                     uint32_t lead_bytes, const void *body, uint32_t bytes)
{
    uint32_t syms = (uint32_t)pst_align8(w->syms_bytes);
    memset(w->syms + w->syms_bytes, 0, syms - w->syms_bytes);
    b->bytes = (uint32_t)sizeof *b + syms + lead_bytes + bytes;
    b->new_syms = w->nsyms;
    b->syms_bytes = syms;
    b->time = w->time;
    b->flags |= w->restart ? INJECT_RESTART : 0;
    uint8_t *p = inject_reserve(w->cfg.q, b->bytes);
    pst_must(p != NULL);
    memcpy(p, b, sizeof *b);
    memcpy(p + sizeof *b, w->syms, syms);
    if (lead_bytes)
        memcpy(p + sizeof *b + syms, lead, lead_bytes);
    if (bytes)
        memcpy(p + sizeof *b + syms + lead_bytes, body, bytes);
    w->ticket = inject_commit(w->cfg.q, b->bytes);
    w->restart = false;
    w->nsyms = w->syms_bytes = 0;
}

static void send(struct inject_rows *w, struct inject_batch *b, const void *body, uint32_t bytes)
{
    send_led(w, b, NULL, 0, body, bytes);
}

static void op_flush(struct rows *r)
{
    struct inject_rows *w = r->owner;
    rows_close_run(r);
    if (!r->records)
        return; /* texts without a row wait for one */
    struct inject_batch b = {
        .kind = FRAME_DATA, .stream = STREAM_DAILY, .day = r->frame_day, .records = r->records};
    send(w, &b, r->base, (uint32_t)(r->at - r->base));
    stage_empty(w);
}

static uint32_t refuse(struct inject_rows *w)
{
    w->refused_symbols++;
    if (w->cfg.status)
        alarm_signal(w->cfg.status, ALARM_SYMBOLS_FULL);
    return SYMBOL_REFUSED;
}

static uint32_t op_intern(struct rows *r, const char *text, uint32_t len)
{
    struct inject_rows *w = r->owner;
    uint32_t id = symbols_find(&w->local, text, len);
    if (pst_likely(id != PST_NULL_SYMBOL))
        return id;
    const struct symbols *known = w->cfg.known;
    bool fresh = !known || symbols_find(known, text, len) == PST_NULL_SYMBOL;
    if (fresh && (w->new_today >= w->cfg.max_new_symbols ||
                  (known && symbols_count(known) + w->nsyms >= known->head->max)))
        return refuse(w);
    if (w->syms_bytes + 1 + len + SYMS_SPARE > BATCH_SYMS_MAX)
        op_flush(r);
    if (w->syms_bytes + 1 + len + SYMS_SPARE > BATCH_SYMS_MAX)
        return refuse(w); /* texts that never got a row: a restart of the numbering forgets them */
    if (symbols_intern(&w->local, text, len, &id) != SYMBOLS_NEW)
        return refuse(w);
    uint8_t *p = w->syms + w->syms_bytes;
    *p = (uint8_t)len;
    memcpy(p + 1, text, len);
    w->syms_bytes += 1 + len;
    w->nsyms++;
    w->new_today += fresh;
    return id;
}

static void op_gap(struct rows *r, const struct gap *g)
{
    struct inject_rows *w = r->owner;
    uint8_t rec[BATCH_GAP_MAX] pst_aligned(8);
    op_flush(r);
    uint32_t reason = op_intern(r, g->reason, (uint32_t)strlen(g->reason));
    struct inject_batch b = {
        .kind = FRAME_GAP, .stream = STREAM_EVERY, .day = g->day, .records = 1};
    send(w, &b, rec, batch_gap_record(rec, w->gap, g, reason));
}

static void op_mark(struct rows *r, enum mark_type type, const char *json, uint32_t len)
{
    pst_must(inject_rows_mark(r->owner, type, json, len));
}

static uint64_t op_room(struct rows *r)
{
    return inject_rows_room(r->owner);
}

static const struct rows_ops inject_ops = {op_flush, op_intern, op_gap, op_mark, op_room};

bool inject_rows_init(struct inject_rows *w, const struct inject_rows_config *cfg, struct err *err)
{
    memset(w, 0, sizeof *w);
    w->cfg = *cfg;
    w->local.fd = -1;
    w->gap = schema_set_find(cfg->schemas, "gap");
    w->rows.undecoded = schema_set_find(cfg->schemas, "undecoded");
    if (!w->gap || !w->rows.undecoded)
        return err_set(err, -EINVAL, "inject rows: the tables gap and undecoded are not defined");
    if (!symbols_create(&w->local, cfg->symbols, err))
        return false;
    w->stage = aligned_alloc(64, FRAME_MAX + STAGE_SLACK);
    w->syms = aligned_alloc(64, BATCH_SYMS_MAX + STAGE_SLACK);
    if (!w->stage || !w->syms) {
        inject_rows_fini(w);
        return err_set(err, -ENOMEM, "inject rows: no memory for a batch");
    }
    memset(w->stage, 0, FRAME_MAX + STAGE_SLACK); /* faulted in */
    memset(w->syms, 0, BATCH_SYMS_MAX + STAGE_SLACK);
    w->rows.ops = &inject_ops;
    w->rows.owner = w;
    w->rows.base = w->stage;
    w->rows.limit = w->stage + ROWS_FRAME_TARGET;
    for (unsigned c = 0; c < DAYS_CALENDARS; c++)
        w->rows.min_day[c] = cfg->days ? load_relaxed(&cfg->days->open[c]) : cfg->open_day;
    if (cfg->owners) {
        w->rows.undecoded_calendar = cfg->owners->calendar[w->rows.undecoded->id];
        w->rows.gap_calendar = cfg->owners->calendar[w->gap->id];
    }
    stage_empty(w);
    return true;
}

void inject_rows_fini(struct inject_rows *w)
{
    symbols_close(&w->local);
    free(w->stage);
    free(w->syms);
    w->stage = w->syms = NULL;
}

uint64_t inject_rows_flush(struct inject_rows *w)
{
    op_flush(&w->rows);
    return w->ticket;
}

uint64_t inject_rows_room(struct inject_rows *w)
{
    uint64_t taken = (uint64_t)(w->rows.at - w->rows.base) + w->syms_bytes + ROOM_MARGIN;
    uint64_t room = inject_room(w->cfg.q);
    return room > taken ? room - taken : 0;
}

uint8_t *inject_rows_plain(struct inject_rows *w, uint32_t bytes, uint16_t day)
{
    struct rows *r = &w->rows;
    if (r->records && (!w->plain || r->frame_day != day || r->at + bytes > r->limit))
        op_flush(r);
    if (!r->records) {
        r->frame_day = day;
        w->plain = true;
    }
    return r->at;
}

void inject_rows_plain_commit(struct inject_rows *w, uint32_t bytes)
{
    w->rows.at += bytes;
    w->rows.records++;
    w->rows.rows_total++;
}

bool inject_rows_block(struct inject_rows *w, const void *records, uint32_t bytes, uint32_t n,
                       uint16_t day, const struct derived_record *derived)
{
    uint32_t lead = derived ? (uint32_t)sizeof *derived : 0;
    if (bytes + lead > FRAME_MAX - FRAME_HEADER || inject_rows_room(w) < bytes + lead)
        return false;
    op_flush(&w->rows);
    struct inject_batch b = {.kind = FRAME_DATA, .stream = STREAM_DAILY, .day = day, .records = n};
    send_led(w, &b, derived, lead, records, bytes);
    return true;
}

/* A batch whose body is u32, u32, JSON, as in a mark or schema frame. */
static bool send_text(struct inject_rows *w, struct inject_batch b, uint32_t head0, uint32_t head1,
                      const char *json, uint32_t len)
{
    uint64_t bytes = pst_align8(8 + (uint64_t)len);
    if (bytes > FRAME_MAX - FRAME_HEADER ||
        inject_rows_room(w) < bytes + sizeof(struct inject_batch))
        return false;
    op_flush(&w->rows);
    /* Texts that wait for a row must not travel with a mark: they stay pending. */
    uint32_t syms = w->syms_bytes, n = w->nsyms;
    bool restart = w->restart;
    int64_t time = w->time;
    w->syms_bytes = w->nsyms = 0;
    w->restart = false;
    w->time = b.time ? b.time : time;
    uint8_t *p = w->stage;
    put32(p, head0);
    put32(p + 4, head1);
    memcpy(p + 8, json, len);
    memset(p + 8 + len, 0, bytes - 8 - len);
    b.stream = STREAM_EVERY;
    send(w, &b, p, (uint32_t)bytes);
    w->syms_bytes = syms;
    w->nsyms = n;
    w->restart = restart;
    w->time = time;
    return true;
}

bool inject_rows_mark(struct inject_rows *w, enum mark_type type, const char *json, uint32_t len)
{
    return send_text(w, (struct inject_batch){.kind = FRAME_MARK}, (uint32_t)type, len, json, len);
}

bool inject_rows_eod(struct inject_rows *w, const char *json, uint32_t len, unsigned c,
                     uint16_t day, int64_t ends)
{
    struct inject_batch b = {
        .kind = FRAME_MARK, .day = day, .time = ends, .flags = INJECT_CALENDAR * c};
    return send_text(w, b, MARK_EOD, len, json, len);
}

bool inject_rows_event(struct inject_rows *w, enum mark_type type, const char *json, uint32_t len,
                       unsigned slot)
{
    struct inject_batch b = {.kind = FRAME_MARK, .flags = INJECT_EVENT * slot};
    return send_text(w, b, (uint32_t)type, len, json, len);
}

bool inject_rows_schema(struct inject_rows *w, const char *json, uint32_t len)
{
    return send_text(w, (struct inject_batch){.kind = FRAME_SCHEMA}, len, 0, json, len);
}

void inject_rows_days(struct inject_rows *w, const struct days_open *days)
{
    op_flush(&w->rows);
    uint16_t before = w->rows.min_day[0];
    for (unsigned c = 0; c < DAYS_CALENDARS; c++)
        w->rows.min_day[c] = load_relaxed(&days->open[c]);
    if (w->rows.min_day[0] != before)
        w->new_today = 0;
}

void inject_rows_restart(struct inject_rows *w)
{
    pst_must(!w->rows.records);
    symbols_reset(&w->local);
    w->nsyms = w->syms_bytes = 0;
    w->restart = true;
}
