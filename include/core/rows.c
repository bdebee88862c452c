/* SPDX-License-Identifier: Apache-2.0 */
#include "core/rows.h"

void rows_open(struct rows *r, uint32_t bytes)
{
    rows_close_run(r);
    uint16_t open = r->min_day[r->run.calendar];
    bool late_day = r->run.day < open;
    uint16_t day = late_day ? open : r->run.day;
    if (r->records &&
        (r->frame_day != day || r->at + sizeof(struct packet_record) + bytes > r->limit))
        r->ops->flush(r);
    if (!r->records)
        r->frame_day = day;
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
    rows_commit(r, total);
    if (pst_unlikely(calendar != r->run.calendar))
        other_calendar(r, calendar);
    return kept;
}
