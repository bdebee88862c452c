/* SPDX-License-Identifier: Apache-2.0 */
#include "support/feedrows.h"

#include "core/frame.h"

uint64_t fake_hash(const void *p, size_t n)
{
    const uint8_t *b = p;
    uint64_t h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3ull;
    return h;
}

static struct fake_event *event(struct fake *f, enum fake_kind kind)
{
    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 1024;
        f->event = realloc(f->event, f->cap * sizeof *f->event);
        pst_must(f->event);
    }
    struct fake_event *e = &f->event[f->n++];
    memset(e, 0, sizeof *e);
    e->kind = kind;
    return e;
}

static void collect(struct fake *f)
{
    struct rows *r = &f->rows;
    rows_close_run(r);
    uint32_t bytes = (uint32_t)(r->at - r->base);
    if (bytes) {
        struct frame *fr = (struct frame *)f->stage;
        *fr = (struct frame){.length = FRAME_HEADER + bytes, .kind = FRAME_DATA};
        pst_must(fr->length <= FRAME_MAX);
        const uint8_t *at = frame_payload(fr), *end = at + bytes;
        bool bad = false;
        const struct packet_record *p;
        while ((p = packet_hop(&at, end, &bad)))
            f->seqs_total += p->seqs;
        pst_must(!bad);
        struct record_walk w;
        record_walk_start(&w, fr);
        const struct record *rec;
        while (!f->counting && (rec = record_walk_next(&w))) {
            pst_must(w.packet);
            struct fake_row *row = &event(f, FAKE_ROW)->row;
            row->seq = record_walk_seq(&w);
            row->flags = w.packet->flags;
            row->feed = w.packet->feed;
            row->session = w.packet->session;
            row->line = w.packet->line;
            row->rxtime = w.packet->rxtime;
            row->quality = w.packet->quality;
            row->seqs = w.packet->seqs;
            row->table = rec->table;
            row->day = r->frame_day;
            const uint8_t *b = (const uint8_t *)rec + sizeof *rec;
            uint32_t n = rec->bytes - (uint32_t)sizeof *rec;
            if (rec->table == f->undecoded.id) {
                const struct column *c = &f->undecoded.col[SCHEMA_FEED_COLUMNS];
                row->type = (int32_t)le32((const uint8_t *)rec + c[0].offset);
                row->reason = le32((const uint8_t *)rec + c[1].offset);
                b = (const uint8_t *)record_string(rec, c[2].offset, &n);
                pst_must(b);
            }
            row->len = n;
            row->hash = fake_hash(b, n);
            memcpy(row->head, b, n < sizeof row->head ? n : sizeof row->head);
        }
        pst_must(!w.bad || f->counting);
    }
    r->at = r->base;
    r->records = 0;
    r->head = NULL;
}

static void op_flush(struct rows *r)
{
    collect(r->owner);
}

static uint32_t op_intern(struct rows *r, const char *text, uint32_t len)
{
    struct fake *f = r->owner;
    pst_must(len < 256);
    for (uint32_t i = 0; i < f->nsymbols; i++)
        if (strlen(f->symbol[i]) == len && !memcmp(f->symbol[i], text, len))
            return i;
    collect(f); /* as a new symbol does to the appender's frame */
    f->symbol = realloc(f->symbol, (f->nsymbols + 1) * sizeof *f->symbol);
    pst_must(f->symbol);
    memcpy(f->symbol[f->nsymbols], text, len);
    f->symbol[f->nsymbols][len] = 0;
    return f->nsymbols++;
}

static void op_gap(struct rows *r, const struct gap *g)
{
    struct fake *f = r->owner;
    collect(f);
    if (!f->counting)
        event(f, FAKE_GAP)->gap = *g;
}

static void op_mark(struct rows *r, enum mark_type type, const char *json, uint32_t len)
{
    struct fake *f = r->owner;
    collect(f);
    if (f->counting)
        return;
    struct fake_mark *m = &event(f, FAKE_MARK)->mark;
    pst_must(len < sizeof m->json);
    m->type = type;
    memcpy(m->json, json, len);
}

static uint64_t op_room(struct rows *r)
{
    return ((struct fake *)r->owner)->room;
}

static const struct rows_ops ops = {op_flush, op_intern, op_gap, op_mark, op_room};

void fake_open(struct fake *f)
{
    memset(f, 0, sizeof *f);
    pst_must(tables_undecoded(&f->undecoded, NULL));
    f->undecoded.id = TABLE_FIRST;
    f->stage = aligned_alloc(64, FRAME_MAX);
    pst_must(f->stage);
    f->room = 1u << 30;
    f->rows.base = f->rows.at = f->stage + FRAME_HEADER;
    f->rows.limit = f->stage + FRAME_HEADER + ROWS_FRAME_TARGET + RECORD_MAX;
    f->rows.ops = &ops;
    f->rows.owner = f;
    f->rows.undecoded = &f->undecoded;
}

void fake_close(struct fake *f)
{
    free(f->stage);
    free(f->event);
    free(f->symbol);
    memset(f, 0, sizeof *f);
}

void fake_clear(struct fake *f)
{
    collect(f);
    f->n = 0;
}

void fake_flush(struct fake *f)
{
    collect(f);
}

const char *fake_text(const struct fake *f, uint32_t id)
{
    return id < f->nsymbols ? f->symbol[id] : "";
}
