/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "publish.h"
#include "truth.h"

static bool counts_packets(const struct publish *p)
{
    return wire_counts_packets(p->o.protocol);
}

/* ---- sessions ---- */

static void session_text(struct publish *p, const char *text)
{
    memset(p->session, ' ', 10);
    memcpy(p->session, text, strnlen(text, 10));
    p->number = (uint32_t)strtoul(text, NULL, 10);
}

static void session_begin(struct publish *p, uint64_t first)
{
    for (uint32_t s = 0; s < p->stream_n; s++) {
        struct publish_stream *t = &p->streams[s];
        char key[40];
        t->next = first;
        t->offset = 0;
        if (p->o.protocol == SIM_ITCH)
            snprintf(key, sizeof key, "%.10s", (const char *)p->session);
        else if (p->o.protocol == SIM_CBOE)
            snprintf(key, sizeof key, "%u", s + 1);
        else if (p->o.protocol == SIM_CME)
            snprintf(key, sizeof key, "1");
        else
            snprintf(key, sizeof key, "%u/1", p->number);
        account_session_begin(p->account, s, key, t->epoch++, first);
    }
    p->fresh = true;
}

/* ---- packets ---- */

static void to_lines(struct publish *p, uint32_t group, const struct packet *k)
{
    struct account_session *s = p->account->streams[k->stream].session;
    struct account_span span = {.first = k->seq, .last = k->last, .utc = k->utc};
    for (uint32_t i = 0; i < p->line_n; i++) {
        struct line *l = &p->lines[i];
        if (!(p->groups[group].lines >> i & 1))
            continue;
        if (line_packet(l, k, s))
            span.lines |= 1u << i;
        if (k->kind == PACKET_DATA && ranges_touch(&l->o.divergent, k->seq, k->last))
            span.flags |= TRUTH_DIVERGENT;
    }
    if (k->kind == PACKET_DATA)
        account_span(p->account, k->stream, group, &span);
}

static void head(struct publish *p, uint32_t stream, uint8_t *buf, uint64_t seq, uint64_t offset,
                 uint32_t count, uint32_t len)
{
    struct wire_head h = {.session = p->session,
                          .number = p->number,
                          .unit = stream + 1,
                          .seq = seq,
                          .offset = offset,
                          .count = count,
                          .utc = p->now};
    wire_head_put(p->o.protocol, buf, &h, len);
}

static void malformed(struct publish *p, const struct packet *k)
{
    uint32_t kind;
    do {
        kind = p->malformed_next++ % MALFORMED_KINDS;
    } while (!(p->o.malformed_mask >> kind & 1));
    for (uint32_t i = 0; i < p->line_n; i++)
        line_malformed(&p->lines[i], k, kind);
}

/* A packet without a sequence of its own: a message nobody needs to miss. */
static void unsequenced(struct publish *p, uint32_t stream)
{
    uint8_t buf[64];
    struct flow_msg m = {.len = 18, .type = 0x31};
    uint16_t at = 8, len = 18;
    uint32_t total = wire_head_size(p->o.protocol);
    struct packet k = {.kind = PACKET_UNSEQUENCED, .stream = stream, .utc = p->now};
    if (p->o.protocol != SIM_CBOE) /* B3: a keep-alive */
        len = 0;
    memset(m.bytes, ' ', m.len);
    m.bytes[0] = 18;
    m.bytes[1] = 0x31;
    memcpy(buf + total, m.bytes, len);
    head(p, stream, buf, 0, 0, len != 0, total + len);
    k.count = len != 0;
    k.len = total + len;
    k.payload = buf;
    k.at = &at;
    k.msg_len = &len;
    uint32_t lines = 0;
    struct account_session *s = p->account->streams[stream].session;
    for (uint32_t i = 0; i < p->line_n; i++)
        lines |= (uint32_t)line_packet(&p->lines[i], &k, s) << i;
    if (len)
        account_message_out(p->account, stream, 0, &m, lines, p->now);
}

static void builder_start(struct publish *p, uint32_t group, struct publish_builder *b)
{
    b->len = wire_head_size(p->o.protocol);
    b->count = 0;
    b->limit = p->o.max_payload;
    if (p->groups[group].repack) { /* other boundaries than the rest */
        uint32_t least = b->len + 200;
        if (b->limit > least)
            b->limit = least + rng_below(&p->rng, b->limit - least + 1);
    }
}

static void builder_flush(struct publish *p, uint32_t stream, uint32_t group)
{
    struct publish_stream *t = &p->streams[stream];
    struct publish_builder *b = &t->b[group];
    if (b->count == 0)
        return;
    head(p, stream, b->buf, b->seq, b->offset, b->count, b->len);
    struct packet k = {.kind = PACKET_DATA,
                       .stream = stream,
                       .seq = b->seq,
                       .last = counts_packets(p) ? b->seq : b->seq + b->count - 1,
                       .count = b->count,
                       .len = b->len,
                       .utc = p->now,
                       .payload = b->buf,
                       .at = b->at,
                       .msg_len = b->msg_len};
    if (group == 0) {
        p->packets++;
        if (p->o.malformed_every && p->packets % p->o.malformed_every == 0)
            malformed(p, &k);
    }
    to_lines(p, group, &k);
    if (counts_packets(p))
        t->next++;
    t->last_packet = p->now;
    builder_start(p, group, b);
    if (group == 0 && p->o.unsequenced_every && p->packets % p->o.unsequenced_every == 0)
        unsequenced(p, stream);
}

void publish_flush(struct publish *p)
{
    for (uint32_t s = 0; s < p->stream_n; s++)
        for (uint32_t g = 0; g < p->group_n; g++)
            builder_flush(p, s, g);
}

static void bare(struct publish *p, uint32_t stream, enum packet_kind kind)
{
    struct publish_stream *t = &p->streams[stream];
    uint32_t size = wire_head_size(p->o.protocol);
    uint8_t buf[64];
    uint16_t at = (uint16_t)size, len = 10;
    struct packet k = {
        .kind = kind, .stream = stream, .seq = t->next, .last = t->next, .utc = p->now};
    k.len = size;
    k.payload = buf;
    if (p->o.protocol == SIM_CME) { /* the heartbeat message, with a sequence like any packet */
        struct flow_msg m = {.len = 10, .type = 12};
        put16(m.bytes, 10);
        put16(m.bytes + 2, 0);
        put16(m.bytes + 4, 12);
        put16(m.bytes + 6, 1);
        put16(m.bytes + 8, 13);
        memcpy(buf + size, m.bytes, 10);
        k.kind = PACKET_DATA;
        k.count = 1;
        k.len += 10;
        k.at = &at;
        k.msg_len = &len;
        account_message(p->account, stream, t->next, &m);
        head(p, stream, buf, t->next, 0, 1, k.len);
        to_lines(p, 0, &k);
        t->next++;
    } else {
        uint32_t count = kind == PACKET_END && p->o.protocol == SIM_ITCH ? WIRE_END : 0;
        head(p, stream, buf, p->o.protocol == SIM_B3 ? 0 : t->next, t->offset, count, k.len);
        for (uint32_t g = 0; g < p->group_n; g++)
            to_lines(p, g, &k);
    }
    t->last_packet = p->now;
}

void publish_idle(struct publish *p, int64_t utc)
{
    if (p->o.heartbeat == 0)
        return;
    for (;;) { /* the stream that has been silent longest, first */
        uint32_t first = 0;
        for (uint32_t s = 1; s < p->stream_n; s++)
            if (p->streams[s].last_packet < p->streams[first].last_packet)
                first = s;
        int64_t due = p->streams[first].last_packet + p->o.heartbeat;
        if (due >= utc)
            return;
        p->now = due > p->now ? due : p->now;
        bare(p, first, PACKET_IDLE);
        p->streams[first].last_packet = due;
    }
}

void publish_end(struct publish *p, int64_t utc, bool end_packets, uint32_t heartbeats)
{
    publish_flush(p);
    int64_t gap = p->o.heartbeat ? p->o.heartbeat : 1000000;
    for (uint32_t i = 0; i < heartbeats; i++) {
        p->now = (utc > p->now ? utc : p->now) + gap;
        for (uint32_t s = 0; s < p->stream_n; s++)
            bare(p, s, PACKET_IDLE);
    }
    for (uint32_t i = 0; end_packets && i < p->o.end_packets; i++) {
        p->now += i ? gap : 1000;
        for (uint32_t s = 0; s < p->stream_n; s++)
            bare(p, s, PACKET_END);
    }
}

/* ---- messages ---- */

static void take_step(struct publish *p)
{
    const struct publish_step *x = &p->o.steps[p->step];
    publish_flush(p);
    if (!x->restart) {
        publish_end(p, p->now, true, 0);
        session_text(p, x->session);
    } else if (p->o.protocol == SIM_B3) {
        p->number++; /* its header says so */
    }
    p->step++;
    session_begin(p, 1);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = le64(a), y = le64(b);
    return (x > y) - (x < y);
}

static bool is_cut(const struct publish *p, uint64_t seq)
{
    return bsearch(&seq, p->cuts, p->cut_n, sizeof seq, by_value) != NULL;
}

void publish_message(struct publish *p, int64_t utc, const struct flow_msg *m)
{
    struct publish_stream *t = &p->streams[m->unit];
    uint32_t prefix = wire_prefix_size(p->o.protocol), need = prefix + m->len;
    p->now = utc > p->now ? utc : p->now;
    if (pst_unlikely(p->cut_n) && !counts_packets(p) && is_cut(p, t->next))
        for (uint32_t g = 0; g < p->group_n; g++)
            builder_flush(p, m->unit, g);
    for (uint32_t g = 0; g < p->group_n; g++) {
        struct publish_builder *b = &t->b[g];
        uint32_t most = p->groups[g].small ? 1 : p->o.max_per_packet;
        if (b->count && (b->len + need > b->limit || b->count >= most))
            builder_flush(p, m->unit, g);
        if (b->count == 0) {
            b->seq = t->next;
            b->offset = t->offset;
        }
        wire_prefix_put(p->o.protocol, b->buf + b->len, m->len);
        b->at[b->count] = (uint16_t)(b->len + prefix);
        b->msg_len[b->count++] = (uint16_t)m->len;
        memcpy(b->buf + b->len + prefix, m->bytes, m->len);
        b->len += need;
    }
    account_message(p->account, m->unit, t->next, m);
    if (!counts_packets(p))
        t->next++;
    t->offset += need;
    uint64_t reached = counts_packets(p) ? t->next : t->next - 1;
    if (m->unit == 0) {
        if (p->step < p->o.step_n && reached >= p->o.steps[p->step].after)
            take_step(p);
        else if (p->o.session_end_at && p->step == p->o.step_n && reached >= p->o.session_end_at)
            p->ended = true;
    }
}

/* ---- life ---- */

static void add_cut(struct publish *p, uint64_t seq)
{
    p->cuts = realloc(p->cuts, (p->cut_n + 1) * sizeof *p->cuts);
    pst_must(p->cuts);
    p->cuts[p->cut_n++] = seq;
}

static void add_cuts(struct publish *p, const struct ranges *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        add_cut(p, a->r[i].lo);
        if (a->r[i].hi != UINT64_MAX)
            add_cut(p, a->r[i].hi + 1);
    }
}

bool publish_open(struct publish *p, const struct publish_opts *o, struct account *a,
                  struct line *lines, uint32_t line_n, const char *truth, uint32_t names,
                  uint64_t seed, int64_t now, struct err *e)
{
    *p = (struct publish){.o = *o, .account = a, .lines = lines, .line_n = line_n, .now = now};
    rng_seed(&p->rng, seed, 3);
    bool shared = false;
    for (uint32_t i = 0; i < line_n; i++) {
        struct line_opts *l = &lines[i].o;
        uint32_t g = 0;
        if (l->repack || l->small) {
            if (counts_packets(p))
                return err_set(
                    e, -EINVAL,
                    "line %s: repack and small need a protocol that numbers messages, %s "
                    "numbers packets",
                    l->name, wire_name(o->protocol));
            g = p->group_n++;
            p->groups[g].repack = l->repack;
            p->groups[g].small = l->small;
        } else {
            g = shared ? 0 : p->group_n++;
            if (!shared && g) { /* the shared group comes first */
                p->groups[g] = p->groups[0];
                g = 0;
                p->groups[0].lines = 0;
                p->groups[0].repack = p->groups[0].small = false;
            }
            shared = true;
        }
        p->groups[g].lines |= 1u << i;
        add_cuts(p, &l->drop);
        add_cuts(p, &l->dead);
        add_cuts(p, &l->divergent);
    }
    if (p->cut_n)
        qsort(p->cuts, p->cut_n, sizeof *p->cuts, by_value);
    p->stream_n = o->protocol == SIM_CBOE ? o->units : 1;
    if (!account_open(a, p->stream_n, p->group_n, names, truth, e))
        return false;
    p->streams = calloc(p->stream_n, sizeof *p->streams);
    pst_must(p->streams);
    for (uint32_t s = 0; s < p->stream_n; s++) {
        p->streams[s].b = calloc(p->group_n, sizeof *p->streams[s].b);
        pst_must(p->streams[s].b);
        p->streams[s].last_packet = now;
        for (uint32_t g = 0; g < p->group_n; g++)
            builder_start(p, g, &p->streams[s].b[g]);
    }
    session_text(p, o->session);
    session_begin(p, o->first_seq);
    p->fresh = false;
    return true;
}

void publish_close(struct publish *p)
{
    for (uint32_t s = 0; s < p->stream_n; s++)
        free(p->streams[s].b);
    free(p->streams);
    free(p->cuts);
    *p = (struct publish){0};
}
