/* SPDX-License-Identifier: Apache-2.0 */
#include "core/rows.h"

void rows_put_aside(struct rows *r, uint32_t bytes)
{
    struct rows_aside *o = &r->aside;
    const uint8_t *row = r->at - bytes;
    struct packet_record *h = r->head;
    if (!r->home || r->stream_of[le16(row)] + 1u == r->home)
        return;
    const struct packet_record run = *h;
    bool counted = !(run.flags & (RUN_PACKET_SEQ | RUN_UNSEQUENCED)), first = r->run_rows == 1;
    uint64_t seq = counted ? run.seq + r->run_rows - 1 : run.seq;
    /* the frame forgets it; the run goes on behind it with a packet record of its own */
    r->at -= bytes;
    r->records--;
    r->run_rows--;
    if (run.flags & ROW_LATE_DAY)
        r->rows_late_day++;
    rows_close_run(r);
    struct packet_record *p = o->head;
    if (!first || !p || !counted || p->seq + p->rows != seq || p->rxtime != run.rxtime ||
        p->feed != run.feed || p->session != run.session || p->line != run.line ||
        p->flags != run.flags) {
        p = o->head = (struct packet_record *)o->at;
        *p = run;
        p->seq = seq;
        p->rows = p->run_bytes = p->seqs = 0;
        if (run.flags & RUN_PACKET_SEQ && !(run.flags & RUN_UNSEQUENCED)) /* counted once */
            p->seqs = r->run_parts ? 0 : r->run.seqs ? r->run.seqs : 1;
        r->run_parts++;
        o->at += sizeof *p;
        o->records++;
    }
    memcpy(o->at, row, bytes);
    o->at += bytes;
    o->records++;
    p->rows++;
    p->seqs += counted;
    p->run_bytes += bytes;
    if (pst_unlikely(o->at - o->base > (ptrdiff_t)ROWS_ASIDE_MOST))
        r->ops->flush(r);
}

void rows_open(struct rows *r, uint32_t bytes)
{
    rows_close_run(r);
    uint16_t open = r->min_day[r->run.calendar];
    bool late_day = r->run.day < open;
    uint16_t day = late_day ? open : r->run.day;
    uint8_t home = r->stream_of ? r->run.home : 0;
    if ((r->records || r->aside.records) &&
        (r->frame_day != day || r->home != home ||
         r->at + sizeof(struct packet_record) + bytes > r->limit))
        r->ops->flush(r);
    if (!r->records) {
        r->frame_day = day;
        r->home = home;
    }
    struct packet_record *h = (struct packet_record *)r->at;
    const struct run *n = &r->run;
    *h = (struct packet_record){
        .table = TABLE_PACKET,
        .bytes = sizeof *h,
        .sym = PST_NULL_SYMBOL,
        .rxtime = n->rxtime,
        .seq = n->flags & RUN_UNSEQUENCED ? (uint64_t)PST_NULL_LONG : r->seq,
        .feed = n->feed,
        .session = n->session,
        .line = n->line,
        .flags = n->flags | (late_day ? ROW_LATE_DAY : 0),
        .quality = n->quality,
    };
    r->head = h;
    r->run_parts++;
    r->run_rows = 0;
    r->at += sizeof *h;
    r->records++;
}

static void other_calendar(struct rows *r, uint8_t calendar)
{
    rows_close_run(r);
    r->run.calendar = calendar;
}

uint32_t rows_undecoded(struct rows *r, int32_t type, uint32_t reason, const uint8_t *bytes,
                        uint32_t len)
{
    const struct schema *s = r->undecoded;
    uint32_t most = RECORD_MAX - s->fixed;
    uint32_t kept = len < most ? len : most;
    uint32_t total = (uint32_t)pst_align8(s->fixed + kept);
    uint8_t calendar = r->run.calendar;
    if (pst_unlikely(calendar != r->undecoded_calendar))
        other_calendar(r, r->undecoded_calendar);
    uint8_t *p = rows_reserve(r, total);
    memset(p + total - 8, 0, 8);
    memset(p, 0, s->fixed);
    *(struct record *)p = (struct record){s->id, (uint16_t)total, PST_NULL_SYMBOL, r->run.rxtime};
    const struct column *c = &s->col[SCHEMA_FEED_COLUMNS]; /* type, reason, bytes */
    put32(p + c[0].offset, (uint32_t)type);
    put32(p + c[1].offset, reason);
    put32(p + c[2].offset, s->fixed);
    put32(p + c[2].offset + 4, kept);
    memcpy(p + s->fixed, bytes, kept);
    rows_commit_other(r, total);
    if (pst_unlikely(calendar != r->run.calendar))
        other_calendar(r, calendar);
    return kept;
}
