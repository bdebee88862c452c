/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_count.h"
#include "core/tables.h"

bool ledger_init(struct ledger_count *l, bool slow, struct err *err)
{
    memset(l, 0, sizeof *l);
    l->slow = slow;
    l->slots = 256;
    l->slot = calloc(l->slots, sizeof *l->slot);
    if (slow)
        l->table_rows = calloc(TABLE_MAX, sizeof *l->table_rows);
    if (l->slot && (!slow || l->table_rows))
        return true;
    ledger_free(l);
    return err_set(err, -ENOMEM, "no memory for the ledger");
}

void ledger_free(struct ledger_count *l)
{
    free(l->session);
    free(l->slot);
    free(l->table_rows);
    memset(l, 0, sizeof *l);
}

static uint32_t *slot_of(const struct ledger_count *l, uint32_t feed, uint32_t session)
{
    uint64_t h = ((uint64_t)feed << 32 | session) * 0x9E3779B97F4A7C15ull;
    for (uint32_t i = (uint32_t)(h >> 40);; i++) {
        uint32_t *s = &l->slot[i & (l->slots - 1)];
        if (!*s || (l->session[*s - 1].feed == feed && l->session[*s - 1].session == session))
            return s;
    }
}

static bool grow(struct ledger_count *l)
{
    uint32_t room = l->room ? 2 * l->room : 64;
    struct ledger_session *s = realloc(l->session, room * sizeof *s);
    if (!s)
        return false;
    l->session = s;
    l->room = room;
    if (room * 2 > l->slots) {
        uint32_t *slot = calloc(room * 4, sizeof *slot);
        if (!slot)
            return false;
        free(l->slot);
        l->slot = slot;
        l->slots = room * 4;
        for (uint32_t i = 0; i < l->count; i++)
            *slot_of(l, s[i].feed, s[i].session) = i + 1;
    }
    return true;
}

static struct ledger_session *session_of(struct ledger_count *l, uint32_t feed, uint32_t session)
{
    if (pst_likely(l->last < l->count)) {
        struct ledger_session *s = &l->session[l->last];
        if (s->feed == feed && s->session == session)
            return s;
    }
    uint32_t *slot = slot_of(l, feed, session);
    if (!*slot) {
        if (l->count == l->room) {
            pst_must(grow(l)); /* a ledger that forgets a session would balance falsely */
            slot = slot_of(l, feed, session);
        }
        *slot = l->count + 1;
        struct ledger_session *s = &l->session[l->count++];
        memset(s, 0, sizeof *s);
        s->feed = feed;
        s->session = session;
        s->first = s->last_packet_seq = s->last_late_seq = UINT64_MAX;
    }
    l->last = *slot - 1;
    return &l->session[l->last];
}

pst_inline void count_run(struct ledger_count *l, const struct packet_record *p)
{
    l->runs++;
    if (pst_unlikely(p->flags & RUN_REPLAYED)) {
        l->replayed_rows += p->rows;
        return;
    }
    struct ledger_session *s = session_of(l, p->feed, p->session);
    s->rows += p->rows;
    if (pst_unlikely(p->flags & (ROW_DIVERGENT | RUN_UNSEQUENCED | ROW_LATE | RUN_PACKET_SEQ))) {
        if (p->flags & ROW_DIVERGENT) {
            s->divergent += p->rows;
            return;
        }
        if (p->flags & RUN_UNSEQUENCED) {
            s->unsequenced += p->rows;
            return;
        }
        if (p->flags & RUN_PACKET_SEQ) {
            uint64_t *last = p->flags & ROW_LATE ? &s->last_late_seq : &s->last_packet_seq;
            if (*last == p->seq)
                return;
            *last = p->seq;
        }
        if (p->flags & ROW_LATE) {
            s->late += p->seqs;
            return;
        }
    }
    s->on_time += p->seqs;
    if (p->seq < s->first)
        s->first = p->seq;
    if (p->seq + p->seqs > s->next)
        s->next = p->seq + p->seqs;
}

static bool is_gap_table(struct ledger_count *l, const struct dictionary *d, uint16_t table)
{
    for (uint32_t i = 0; i < l->gap_tables; i++)
        if (l->gap_table[i] == table)
            return true;
    const struct schema *s = dictionary_schema(d, table);
    if (!s || strcmp(s->name, "gap") || s->ncols <= GAP_LINES)
        return false;
    if (l->gap_tables < PST_COUNT(l->gap_table))
        l->gap_table[l->gap_tables++] = table;
    return true;
}

static void count_gaps(struct ledger_count *l, const struct dictionary *d, const struct frame *f)
{
    struct record_walk w;
    const struct record *r;
    record_walk_start(&w, f);
    while ((r = record_walk_next(&w))) {
        const struct schema *t = dictionary_schema(d, r->table);
        if (!is_gap_table(l, d, r->table) || r->bytes < t->fixed) {
            l->unknown_gap++;
            continue;
        }
        const uint8_t *b = (const uint8_t *)r;
        struct ledger_session *s =
            session_of(l, le32(b + t->col[GAP_FEED].offset), le32(b + t->col[GAP_SESSION].offset));
        uint64_t first = le64(b + t->col[GAP_FIRST].offset),
                 last = le64(b + t->col[GAP_LAST].offset);
        uint32_t reason = le32(b + t->col[GAP_REASON].offset), i = 0;
        uint64_t seqs = last - first + 1; /* sequences may wrap; an empty gap is first = last + 1 */
        while (i < s->reasons && s->gap[i].reason != reason)
            i++;
        if (i == s->reasons && i < LEDGER_REASONS)
            s->gap[s->reasons++] = (struct ledger_gap){.reason = reason};
        if (i < LEDGER_REASONS) {
            s->gap[i].seqs += seqs;
            s->gap[i].gaps++;
        } else {
            l->reasons_full++;
        }
        s->gap_seqs += seqs;
        s->gap_frames++;
        if (l->table_rows)
            l->table_rows[r->table]++;
    }
    l->inconsistent += w.bad;
}

static void fault(struct ledger_count *l, const struct frame *f, const char *what, uint64_t want,
                  uint64_t have)
{
    l->inconsistent++;
    if (!*l->first_fault)
        snprintf(l->first_fault, sizeof l->first_fault,
                 "frame at position %llu: %s says %llu, found %llu",
                 (unsigned long long)f->position, what, (unsigned long long)want,
                 (unsigned long long)have);
}

/* Walks every record; each packet record must tell the truth about what follows it. */
static void verify(struct ledger_count *l, const struct frame *f)
{
    const uint8_t *at = frame_payload(f), *end = at + frame_payload_bytes(f);
    const struct packet_record *p = NULL;
    uint64_t rows = 0, bytes = 0, records = 0;
    record_derived(&at, end);
    for (;;) {
        const struct record *r = (const struct record *)at;
        bool whole = (size_t)(end - at) >= sizeof *r && r->bytes >= sizeof *r && !(r->bytes % 8) &&
                     r->bytes <= end - at;
        if (!whole || r->table == TABLE_PACKET) {
            if (p) {
                /* record.h: a packet counts once, in its first run; an opaque block is one row */
                uint64_t seqs = p->flags & RUN_UNSEQUENCED     ? 0
                                : !(p->flags & RUN_PACKET_SEQ) ? rows
                                : p->seqs > 1 && rows != 1     ? 1
                                                               : p->seqs;
                if (p->rows != rows)
                    fault(l, f, "a packet record's rows", p->rows, rows);
                if (p->run_bytes != bytes)
                    fault(l, f, "a packet record's run_bytes", p->run_bytes, bytes);
                if (p->seqs != seqs)
                    fault(l, f, "a packet record's seqs", p->seqs, seqs);
            }
            if (!whole)
                break;
            if (r->bytes != sizeof *p) {
                fault(l, f, "a packet record's length", sizeof *p, r->bytes);
                break;
            }
            p = (const struct packet_record *)r;
            rows = bytes = 0;
        } else {
            if (r->table < TABLE_MAX)
                l->table_rows[r->table]++;
            rows++;
            bytes += r->bytes;
        }
        records++;
        at += r->bytes;
    }
    if (at != end)
        fault(l, f, "the frame's length", f->length, (uint64_t)(at - (const uint8_t *)f));
    if ((uint16_t)records != f->count)
        fault(l, f, "the frame's count", f->count, records);
}

void ledger_frame(struct ledger_count *l, const struct dictionary *d, const struct frame *f)
{
    l->frames++;
    l->bytes += f->length;
    if (f->kind == FRAME_GAP) {
        count_gaps(l, d, f);
        return;
    }
    if (f->kind != FRAME_DATA)
        return;
    const uint8_t *at = frame_payload(f), *end = at + frame_payload_bytes(f);
    bool buffered = stream_is_buffer(f->stream);
    record_derived(&at, end);
    if (end - at >= 16 && le16(at) != TABLE_PACKET) {
        l->plain_rows += f->count;
        l->buffered_rows += buffered ? f->count : 0;
        if (l->slow)
            verify(l, f);
        return;
    }
    bool bad = false;
    const struct packet_record *p;
    while ((p = packet_hop(&at, end, &bad))) {
        count_run(l, p);
        l->buffered_rows += buffered ? p->rows : 0;
    }
    if (l->slow)
        verify(l, f);
    else
        l->inconsistent += bad;
}

void ledger_runs(struct ledger_count *l, const struct frame *head, const struct packet_record *runs,
                 uint32_t n)
{
    l->frames++;
    l->bytes += head->length;
    bool buffered = stream_is_buffer(head->stream);
    if (!n)
        l->plain_rows += head->count;
    if (buffered && !n)
        l->buffered_rows += head->count;
    for (uint32_t i = 0; buffered && i < n; i++)
        l->buffered_rows += runs[i].rows;
    for (uint32_t i = 0; i < n; i++)
        count_run(l, &runs[i]);
}

const struct ledger_session *ledger_find(const struct ledger_count *l, uint32_t feed,
                                         uint32_t session)
{
    uint32_t i = *slot_of(l, feed, session);
    return i ? &l->session[i - 1] : NULL;
}

uint64_t ledger_gap_seqs(const struct ledger_session *s, const struct dictionary *d,
                         const char *reason)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < s->reasons; i++) {
        uint32_t len;
        const char *t = dictionary_peek(d, s->gap[i].reason, &len);
        if (t && len == strlen(reason) && !memcmp(t, reason, len))
            n += s->gap[i].seqs;
    }
    return n;
}
