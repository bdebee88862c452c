/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records to batches. The records of a message that fits one batch are never torn apart. Texts get
 * their numbers on the way, all that fit before the first record, so that a table that ran full
 * refuses a message as a whole wherever it can.
 */
#include "intake_parts.h"

#define TEXTS_MAX                                                                                  \
    (BATCH_SYMS_MAX - 512u) /* as inject_rows.c: beyond it texts start a new batch                 \
                             */

bool intake_offer(struct intake *in)
{
    struct inject_rows *w = &in->w;
    if (!w->rows.records)
        return true;
    if (in->offered - in->answered >= INTAKE_BATCHES || !inject_rows_room(w))
        return false;
    uint64_t ticket = inject_rows_flush(w);
    bool torn = in->sent < in->used; /* of the message under construction there is more */
    /* of the message under construction there may be nothing in this batch */
    uint64_t to = in->message - (torn && !in->sent);
    in->flight[in->offered++ % INTAKE_BATCHES] = (struct intake_flight){
        .ticket = ticket, .from = in->staged_from, .to = to, .complete = in->message - torn};
    in->staged_from = in->message + !torn;
    return true;
}

/* Room for n bytes of texts in the batch under construction. */
static bool texts_fit(struct intake *in, uint32_t n)
{
    return in->w.syms_bytes + n <= TEXTS_MAX || (intake_offer(in) && !in->w.syms_bytes);
}

/* A symbol of a record. 1: done, 0: no room now, -1: the table is full. */
static int number(struct intake *in, uint8_t *field)
{
    uint32_t id = le32(field);
    if (!(id & INTAKE_NEW) || id == PST_NULL_SYMBOL)
        return 1;
    const struct intake_text *t = &in->symbols.text[id & ~INTAKE_NEW];
    if (t->id == PST_NULL_SYMBOL && !texts_fit(in, 1 + t->len))
        return 0;
    id = intake_symbols_commit(&in->symbols, id);
    if (id == SYMBOL_REFUSED)
        return -1;
    put32(field, id);
    return 1;
}

static int number_record(struct intake *in, struct record *r)
{
    const struct schema *s = schema_set_get(in->cfg.rows.schemas, r->table);
    int v = number(in, (uint8_t *)&r->sym);
    for (unsigned i = 0; i < s->nsyms && v > 0; i++)
        v = number(in, (uint8_t *)r + s->sym_offset[i]);
    return v;
}

bool intake_numbered(struct intake *in, uint32_t max, uint32_t *n, uint32_t *bytes)
{
    struct inject_rows *w = &in->w;
    size_t at = in->sent;
    for (*n = *bytes = 0; at < in->used; ++*n) {
        struct record *r = (struct record *)(void *)(in->rec + at);
        if (*bytes + r->bytes > max)
            break;
        const struct schema *s = schema_set_get(in->cfg.rows.schemas, r->table);
        if (in->symbols.n && w->syms_bytes + 256u * (s->nsyms + 1u) > TEXTS_MAX)
            return *n != 0;
        for (unsigned i = 0; i <= s->nsyms; i++) {
            uint8_t *field = i ? (uint8_t *)r + s->sym_offset[i - 1] : (uint8_t *)&r->sym;
            uint32_t id = le32(field);
            if (!(id & INTAKE_NEW) || id == PST_NULL_SYMBOL)
                continue;
            id = intake_symbols_commit(&in->symbols, id);
            put32(field, id == SYMBOL_REFUSED ? PST_NULL_SYMBOL : id);
        }
        at += r->bytes;
        *bytes += r->bytes;
    }
    return true;
}

size_t intake_after(const struct intake *in, uint64_t n)
{
    size_t at = in->sent;
    for (; n && at < in->used; n--)
        at += ((const struct record *)(const void *)(in->rec + at))->bytes;
    return at;
}

void intake_drop(struct intake *in, uint64_t n)
{
    in->sent = intake_after(in, n);
}

/* Whole records from `from` on, at most `max` bytes; *n of them. */
static size_t whole_records(const struct intake *in, size_t from, size_t max, uint32_t *n)
{
    size_t at = from;
    for (*n = 0; at < in->used; ++*n) {
        size_t bytes = ((const struct record *)(const void *)(in->rec + at))->bytes;
        if (at + bytes - from > max)
            break;
        at += bytes;
    }
    return at - from;
}

/* Numbers for the texts of a long message, as many as the batch takes. */
static bool number_texts(struct intake *in)
{
    for (uint32_t i = 0; i < in->symbols.n; i++) {
        const struct intake_text *t = &in->symbols.text[i];
        if (in->w.syms_bytes + 1 + t->len > TEXTS_MAX)
            break;
        if (intake_symbols_commit(&in->symbols, INTAKE_NEW | i) == SYMBOL_REFUSED)
            return false;
    }
    return true;
}

/* The first of n records, *bytes long, whose texts have numbers or get them: how many, with their
 * bytes; -1: the table is full. */
static int64_t numbered(struct intake *in, uint32_t n, size_t *bytes)
{
    size_t at = in->sent;
    for (uint32_t i = 0; i < n; i++) {
        struct record *r = (struct record *)(void *)(in->rec + at);
        int v = number_record(in, r);
        if (v < 0)
            return -1;
        if (!v) {
            *bytes = at - in->sent;
            return i;
        }
        at += r->bytes;
    }
    return n;
}

bool intake_send(struct intake *in)
{
    struct inject_rows *w = &in->w;
    while (in->sent < in->used && !in->spoilt) {
        size_t left = in->used - in->sent, room = (size_t)(w->rows.limit - w->rows.at);
        bool whole = !in->sent && left <= INTAKE_BATCH;
        uint32_t n = 0;
        size_t bytes = whole && left > room ? 0 : whole_records(in, in->sent, room, &n);
        if (!n) {
            if (!intake_offer(in))
                return false;
            continue;
        }
        if (in->symbols.n) {
            in->spoilt = !in->sent && !whole && !number_texts(in);
            int64_t done = in->spoilt ? -1 : numbered(in, n, &bytes);
            /* numbering may have sent the batch on its way */
            bool moved = (size_t)(w->rows.limit - w->rows.at) != room;
            in->spoilt = done < 0;
            if (!done && !moved)
                return false;
            if (done <= 0 || (whole && done < n))
                continue;
            n = (uint32_t)done;
        }
        memcpy(inject_rows_plain(w, (uint32_t)bytes, 0), in->rec + in->sent, bytes);
        w->rows.at += bytes;
        w->rows.records += n;
        w->rows.rows_total += n;
        in->sent += bytes;
    }
    return true;
}
