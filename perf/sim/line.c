/* SPDX-License-Identifier: Apache-2.0 */
#include "line.h"

const char *const malformed_names[MALFORMED_KINDS] = {
    "short-header", "empty",      "cut",         "overcount",  "trailing",
    "bad-length",   "udp-length", "ip-length",   "ip-version", "fragment",
    "ethertype",    "not-udp",    "other-group", "other-port", "four-vlans"};

void line_init(struct line *l, uint64_t seed)
{
    rng_seed(&l->rng, l->o.seed ? l->o.seed : seed, 100 + l->index);
}

/* ---- the way out ---- */

static bool late_before(const struct line_late *a, const struct line_late *b)
{
    return a->utc != b->utc ? a->utc < b->utc : a->order < b->order;
}

static void queue_push(struct line_queue *q, struct line_late x)
{
    if (q->n == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 256;
        q->heap = realloc(q->heap, q->cap * sizeof *q->heap);
        pst_must(q->heap);
    }
    uint32_t i = q->n++;
    x.order = q->order++;
    for (; i > 0 && late_before(&x, &q->heap[(i - 1) / 2]); i = (i - 1) / 2)
        q->heap[i] = q->heap[(i - 1) / 2];
    q->heap[i] = x;
}

static struct line_late queue_pop(struct line_queue *q)
{
    struct line_late top = q->heap[0], x = q->heap[--q->n];
    uint32_t i = 0;
    for (;;) {
        uint32_t c = 2 * i + 1;
        if (c >= q->n)
            break;
        if (c + 1 < q->n && late_before(&q->heap[c + 1], &q->heap[c]))
            c++;
        if (!late_before(&q->heap[c], &x))
            break;
        q->heap[i] = q->heap[c];
        i = c;
    }
    q->heap[i] = x;
    return top;
}

bool queue_advance(struct line_queue *q, struct out *o, int64_t utc, struct err *e)
{
    while (q->n && q->heap[0].utc <= utc) {
        struct line_late x = queue_pop(q);
        bool ok = out_frame(o, x.channel, x.utc, x.frame, x.len, x.udp_at, e);
        free(x.frame);
        if (!ok)
            return false;
    }
    return true;
}

static void send_frame(struct line *l, int64_t utc, uint32_t len, uint32_t udp_at)
{
    if (!l->queue) {
        if (!l->failed && !out_frame(l->out, l->channel, utc, l->wire, len, udp_at, l->err))
            l->failed = true;
        return;
    }
    struct line_late x = {.utc = utc, .channel = l->channel, .len = len, .udp_at = udp_at};
    x.frame = malloc(len);
    pst_must(x.frame);
    memcpy(x.frame, l->wire, len);
    queue_push(l->queue, x);
}

static int64_t line_time(struct line *l, int64_t utc)
{
    utc += l->o.delay;
    if (l->o.jitter) {
        double j = fabs(rng_normal(&l->rng)) * (double)l->o.jitter;
        utc += (int64_t)j;
    }
    if (rng_chance(&l->rng, l->o.swing))
        utc += 1000000;
    if (utc < l->last_utc)
        utc = l->last_utc; /* a line keeps its order unless told otherwise */
    l->last_utc = utc;
    return utc;
}

static void emit(struct line *l, int64_t utc, const uint8_t *payload, uint32_t len)
{
    uint32_t total = wire_frame_put(&l->frame, l->wire, payload, len);
    l->stats.packets++;
    l->stats.bytes += total;
    send_frame(l, line_time(l, utc), total, l->frame.ip_at + 20);
}

static void hold(struct line *l, const uint8_t *payload, uint32_t len)
{
    struct line_held *h = &l->held[l->held_n++];
    h->after = 1 + rng_below(&l->rng, l->o.window);
    h->len = len;
    h->payload = malloc(len ? len : 1);
    pst_must(h->payload);
    memcpy(h->payload, payload, len);
    l->stats.reordered++;
}

static void overtaken(struct line *l, int64_t utc)
{
    for (uint32_t i = 0; i < l->held_n;) {
        struct line_held *h = &l->held[i];
        if (--h->after) {
            i++;
            continue;
        }
        struct line_held x = *h;
        memmove(h, h + 1, (--l->held_n - i) * sizeof *h);
        emit(l, utc, x.payload, x.len);
        free(x.payload);
    }
}

void line_release(struct line *l)
{
    for (uint32_t i = 0; i < l->held_n; i++) {
        emit(l, l->last_utc, l->held[i].payload, l->held[i].len);
        free(l->held[i].payload);
    }
    l->held_n = 0;
}

/* ---- the stages ---- */

static bool lossy(struct line *l)
{
    if (l->o.loss <= 0)
        return false;
    /* mean burst = 1 / (bad -> good), share of bad = loss */
    double leave = 1.0 / l->o.burst, enter = l->o.loss * leave / (1.0 - l->o.loss);
    l->bad = rng_chance(&l->rng, l->bad ? 1.0 - leave : enter);
    return l->bad;
}

static bool is_sequenced(const struct packet *p)
{
    return p->kind == PACKET_DATA;
}

/* The copy in l->scratch is broken by one flipped bit; for "framing" until the walk sees it. */
static void flip(struct line *l, uint32_t len, const struct packet *p)
{
    uint32_t head = wire_head_size(l->protocol), prefix = wire_prefix_size(l->protocol);
    for (uint32_t tries = 0;; tries++) {
        uint32_t byte, bit = rng_below(&l->rng, 8);
        if (l->o.corrupt_where == CORRUPT_ANY) {
            byte = rng_below(&l->rng, len);
        } else if (p->count) { /* a length field of one of the messages */
            uint32_t m = rng_below(&l->rng, p->count), width = l->protocol == SIM_CBOE ? 1 : 2;
            byte = p->at[m] - prefix + rng_below(&l->rng, width);
        } else {
            byte = rng_below(&l->rng, head);
        }
        l->scratch[byte] ^= (uint8_t)(1u << bit);
        if (l->o.corrupt_where == CORRUPT_ANY || !wire_walk(l->protocol, l->scratch, len) ||
            tries > 64)
            return;
        l->scratch[byte] ^= (uint8_t)(1u << bit);
    }
}

static bool diverge(struct line *l, const struct packet *p, struct account_session *s)
{
    const struct ranges *d = &l->o.divergent;
    bool any = false;
    if (!d->n || !is_sequenced(p) || !ranges_touch(d, p->seq, p->last))
        return false;
    memcpy(l->scratch, p->payload, p->len);
    for (uint32_t i = 0; i < p->count; i++) {
        uint64_t seq = wire_counts_packets(l->protocol) ? p->seq : p->seq + i;
        if (!ranges_touch(d, seq, seq))
            continue;
        l->scratch[p->at[i] + p->msg_len[i] - 1] ^=
            1; /* the last byte: a price, a number, a flag */
        ranges_add(&s->line[l->index].divergent, seq, seq);
        l->stats.divergent++;
        any = true;
    }
    return any;
}

bool line_packet(struct line *l, const struct packet *p, struct account_session *s)
{
    struct line_stats *t = &l->stats;
    uint64_t last = is_sequenced(p) ? p->last : p->seq;
    const uint8_t *payload = p->payload;
    bool dead = l->o.dead.n && ranges_touch(&l->o.dead, p->seq, last);
    bool listed = is_sequenced(p) && l->o.drop.n && ranges_touch(&l->o.drop, p->seq, last);
    if (lossy(l) || dead || listed) { /* the loss state moves with every packet */
        t->dropped_packets++;
        if (is_sequenced(p)) {
            t->dropped_messages += p->count;
            ranges_add(&s->line[l->index].dropped, p->seq, last);
        } else {
            t->dropped_idle++;
        }
        return false;
    }
    if (diverge(l, p, s))
        payload = l->scratch;
    bool corrupt = p->len && rng_chance(&l->rng, l->o.corrupt);
    if (corrupt) {
        if (payload != l->scratch)
            memcpy(l->scratch, payload, p->len);
        payload = l->scratch;
        flip(l, p->len, p);
        t->corrupt++;
        if (is_sequenced(p))
            ranges_add(&s->line[l->index].corrupt, p->seq, last);
    } else {
        t->messages += p->kind == PACKET_DATA || p->kind == PACKET_UNSEQUENCED ? p->count : 0;
        t->idle += p->kind == PACKET_IDLE;
        t->end += p->kind == PACKET_END;
        t->unsequenced += p->kind == PACKET_UNSEQUENCED;
    }
    bool twice = rng_chance(&l->rng, l->o.dup);
    if (rng_chance(&l->rng, l->o.reorder) && l->held_n < LINE_HELD) {
        hold(l, payload, p->len);
    } else {
        emit(l, p->utc, payload, p->len);
        overtaken(l, p->utc);
    }
    if (twice) {
        t->duplicates++;
        emit(l, p->utc, payload, p->len);
    }
    return !corrupt;
}

/* ---- packets that nobody should believe ---- */

/* The packet's first message alone, well formed: room for more bytes below the MTU. */
static uint32_t first_only(struct line *l, const struct packet *p)
{
    uint32_t len = p->at[0] + (uint32_t)p->msg_len[0];
    uint8_t *b = l->scratch;
    if (l->protocol == SIM_ITCH) {
        put_be16(b + 18, 1);
    } else if (l->protocol == SIM_CBOE) {
        put16(b, (uint16_t)len);
        b[2] = 1;
    } else if (!wire_counts_packets(l->protocol)) {
        put16(b + 12, (uint16_t)(len - 40));
        put16(b + 14, 1);
    }
    return len;
}

static uint32_t break_payload(struct line *l, const struct packet *p, uint32_t kind)
{
    uint8_t *b = l->scratch;
    uint32_t len = p->len, count_at = l->protocol == SIM_ITCH   ? 19
                                      : l->protocol == SIM_CBOE ? 2
                                                                : 14;
    memcpy(b, p->payload, len);
    switch (kind) {
    case 0:
        return 5;
    case 1:
        return 0;
    case 2:
        return len - 3;
    case 3:
        if (wire_counts_packets(l->protocol)) /* no count to overstate */
            return len - 1;
        b[count_at]++;
        return len;
    case 4:
        len = first_only(l, p);
        memset(b + len, 0, 7);
        return len + 7;
    case 5:
        if (l->protocol == SIM_CBOE)
            b[p->at[0]] = 0;
        else
            put16(b + p->at[0] - wire_prefix_size(l->protocol), 0xfff0);
        return len;
    case 14:
        return first_only(l, p);
    default:
        return len;
    }
}

void line_malformed(struct line *l, const struct packet *p, uint32_t kind)
{
    uint32_t len = break_payload(l, p, kind);
    uint32_t ip_at = l->frame.ip_at, total = wire_frame_put(&l->frame, l->wire, l->scratch, len);
    uint8_t *f = l->wire, *ip = f + ip_at;
    switch (kind) {
    case 6:
        put_be16(ip + 24, (uint16_t)(8 + len + 40));
        put16(ip + 26, 0);
        break;
    case 7:
        put_be16(ip + 2, (uint16_t)(total + 100));
        wire_checksums(f, ip_at, false);
        break;
    case 8:
        ip[0] = 0x65;
        wire_checksums(f, ip_at, true);
        break;
    case 9: /* a later fragment: no UDP header in it */
        put_be16(ip + 6, 0x2000 | 185);
        wire_checksums(f, ip_at, false);
        break;
    case 10:
        put_be16(f + ip_at - 2, 0x88cc);
        break;
    case 11:
        ip[9] = 6;
        wire_checksums(f, ip_at, false);
        break;
    case 12:
        ip[17] ^= 0x80; /* one of the 31 other groups with the same MAC address */
        wire_checksums(f, ip_at, true);
        break;
    case 13:
        put_be16(ip + 22, (uint16_t)(be16(ip + 22) ^ 0x1000));
        wire_checksums(f, ip_at, true);
        break;
    case 14: {
        uint32_t have = (ip_at - 14) / 4, more = 4 - have;
        memmove(f + 12 + 4 * more, f + 12, total - 12);
        for (uint32_t i = 0; i < more; i++)
            put_be32(f + 12 + 4 * i, 0x88a80064 + i);
        total += 4 * more;
        ip_at += 4 * more;
        break;
    }
    default:
        break;
    }
    l->stats.packets++;
    l->stats.bytes += total;
    l->stats.malformed++;
    l->malformed[kind]++;
    send_frame(l, line_time(l, p->utc), total, ip_at + 20);
}
