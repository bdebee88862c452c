/* SPDX-License-Identifier: Apache-2.0 */
#include "core/schema.h"
#include "stream_cut.h"

#define NO_STREAM 256u

void stream_cut_start(struct stream_cut *c, const uint8_t *stream_of, const struct frame *f)
{
    c->stream_of = stream_of;
    c->head = *f;
    c->at = (uint8_t *)f + FRAME_HEADER;
    c->end = (uint8_t *)f + f->length;
    c->rest.rows = 0;
}

/* The run `p` is cut at `at`, its first `rows` rows stand before it: what remains goes to c->rest.
 */
static void cut_run(struct stream_cut *c, struct packet_record *p, const uint8_t *at, uint32_t rows)
{
    struct packet_record *r = &c->rest;
    uint32_t bytes = (uint32_t)(at - (const uint8_t *)(p + 1));
    *r = *p;
    r->rows -= rows;
    r->run_bytes -= bytes;
    p->rows = rows;
    p->run_bytes = bytes;
    if (p->flags & RUN_UNSEQUENCED)
        return;
    if (p->flags & RUN_PACKET_SEQ) { /* counted once, in the first part */
        r->seqs = 0;
        return;
    }
    r->seq += rows;
    r->seqs -= rows;
    p->seqs = rows;
}

struct frame *stream_cut_next(struct stream_cut *c)
{
    if (c->at == c->end)
        return NULL;
    uint8_t *at = c->at, *const end = c->end, *lead = NULL;
    uint8_t *first = at;
    struct packet_record *run = NULL;
    uint32_t records = 0, leads = 0, run_rows = 0;
    unsigned stream = NO_STREAM;
    if (c->rest.rows) {
        first = at - sizeof c->rest;
        memcpy(first, &c->rest, sizeof c->rest);
        run = (struct packet_record *)first;
        c->rest.rows = 0;
        records = 1;
    }
    while (at < end) {
        uint32_t word = le32(at); /* table and bytes */
        uint16_t table = (uint16_t)word;
        uint32_t bytes = word >> 16;
        if (table < TABLE_FIRST) {
            lead = lead ? lead : at;
            leads++;
            run = table == TABLE_PACKET ? (struct packet_record *)at : run;
            run_rows = table == TABLE_PACKET ? 0 : run_rows;
            at += bytes;
            continue;
        }
        unsigned s = c->stream_of[table];
        if (pst_unlikely(s != stream)) {
            if (stream != NO_STREAM)
                break;
            stream = s;
        }
        uint32_t n = 0;
        do { /* rows of one table and size: no length is waited for */
            at += bytes;
            n++;
        } while (at < end && le32(at) == word);
        run_rows += n;
        records += n + leads;
        leads = 0;
        lead = NULL;
    }
    if (at == end) {
        records += leads;
    } else if (lead) {
        at = lead;
    } else if (run) {
        cut_run(c, run, at, run_rows);
    }
    struct frame *f = (struct frame *)(first - FRAME_HEADER);
    *f = c->head;
    f->length = (uint32_t)(at - (uint8_t *)f);
    f->count = (uint16_t)records;
    f->stream = (uint8_t)stream;
    c->at = at;
    return f;
}
