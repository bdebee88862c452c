/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "poll.h"

#define VIRTUAL_POLL (50 * NS_PER_US) /* replay: how far packet times move before timers run */
#define PREFETCH_MAX 1536u            /* bytes of a packet */

/* ---- the loop ---- */

static inline void add(struct rx *rx, _Atomic uint64_t *c, uint64_t n)
{
    if (rx->cfg.shared)
        atomic_fetch_add_explicit(c, n, memory_order_relaxed);
    else
        bump(c, n);
}

/* Replay: time moves to this packet, and what is due before it happens before it. Marks take no
 * more than RX_REPLAY_ROOM, which burst_that_fits sets aside for each packet. */
static pst_noinline void virtual_time(struct rx *rx, int64_t t)
{
    clock_set(rx->cfg.clock, t);
    int64_t now = clock_now(rx->cfg.clock);
    if (rx->cfg.appender) {
        struct appender *a = rx->cfg.appender;
        bool published = a->published, due = appender_is_due(a, now);
        if (due)
            appender_flush(a); /* at the time of its own packets */
        appender_begin(a, now);
        a->published = published;
        if (due)
            appender_due(a);
    }
    if (now - rx->polled_at < VIRTUAL_POLL)
        return;
    rx->polled_at = now;
    for (unsigned i = 0; i < rx->nfeeds; i++)
        if (rx->feed[i])
            feed_poll(rx->feed[i], now, rx->out);
}

static inline void one_packet(struct rx *rx, struct rx_port *p, const struct group_table *groups,
                              const struct pkt *k, bool doubtful)
{
    struct udp_view v;
    if (PST_FAULT_HIT("rx.lose_packet"))
        return;
    enum drop why = packet_parse(k, &v);
    if (pst_unlikely(why != DROP_none)) {
        add(rx, &rx->cfg.status->drop[why], 1);
        return;
    }
    uint16_t route = groups_find(groups, v.dst_ip, v.dst_port);
    struct feed *f = route < STATUS_FEEDS * STATUS_LINES ? rx->feed[route / STATUS_LINES] : NULL;
    if (pst_unlikely(!f)) {
        add(rx, &rx->cfg.status->drop[packet_unrouted(&v)], 1);
        return;
    }
    if (p->checksum != CHECKSUM_OFF && pst_unlikely((why = packet_verify(k, &v)) != DROP_none)) {
        if (p->checksum == CHECKSUM_DROP) {
            add(rx, &rx->cfg.status->drop[why], 1);
            return;
        }
        add(rx, &rx->cfg.status->counter[COUNTER_RX_BAD_CHECKSUM], 1);
    }
    feed_packet(f, route % STATUS_LINES, v.payload, v.payload_len, k->rxtime,
                k->quality == CLOCK_TSC && doubtful ? CLOCK_DOUBTFUL : k->quality, rx->out);
}

/* A walk from message to message hides no cache miss behind another: each length must be there
 * before the next one's address is known. So all of the next packet is asked for at once. */
static inline void fetch_ahead(const struct pkt *k)
{
    const uint8_t *end = k->data + (k->len < PREFETCH_MAX ? k->len : PREFETCH_MAX);
    for (const uint8_t *p = k->data; p < end; p += PST_CACHELINE)
        __builtin_prefetch(p);
}

#ifdef PST_FAULTS
/* PST_FAULT_DROP=rx.drop_packet:n: as if the wire had lost the n-th packet, and the other lines'
 * copies of it (same length, same session and sequence) with it. Only the first line's packets are
 * counted, the group that ends in .1, so that no copy has passed before. */
static int drop_packet(struct pkt *k, int n)
{
    static uint8_t head[20];
    static uint32_t lost; /* its length; 0 = none yet */
    int kept = 0;
    for (int i = 0; i < n; i++) {
        /* Ethernet, IPv4, UDP to a group, and a payload behind */
        bool whole = k[i].len > 42 + sizeof head && be16(k[i].data + 12) == 0x0800 &&
                     k[i].data[23] == 17 && k[i].data[30] == 239;
        const uint8_t *payload = (const uint8_t *)k[i].data + 42;
        if (whole && !lost && k[i].data[33] == 1 && pst_fault_hit("rx.drop_packet")) {
            lost = k[i].len;
            memcpy(head, payload, sizeof head);
        }
        if (!whole || lost != k[i].len || memcmp(head, payload, sizeof head))
            k[kept++] = k[i];
    }
    return kept;
}
#else
#define drop_packet(k, n) (n)
#endif

static int one_burst(struct rx *rx, struct rx_port *p, int most)
{
    struct pkt k[PORT_BURST];
    int n = port_rx(p->port, k, most);
    if (n <= 0) {
        p->ended = n == PORT_END;
        return 0;
    }
    n = drop_packet(k, n);
    if (pst_unlikely(!n))
        return 0;
    const struct group_table *groups = groups_pin(p->groups);
    struct status *st = rx->cfg.status;
    bool replay = rx->cfg.clock->is_virtual;
    int64_t taken = replay ? 0 : clock_now(rx->cfg.clock);
    bool doubtful = !replay && clock_doubtful(rx->cfg.clock, taken); /* the wall clock stepped */
    uint64_t bytes = 0;
    for (int i = 0; i < n; i++) {
        if (i + 1 < n)
            fetch_ahead(&k[i + 1]);
        bytes += k[i].len;
        if (pst_unlikely(replay))
            virtual_time(rx, k[i].rxtime);
        one_packet(rx, p, groups, &k[i], doubtful);
    }
    add(rx, &st->counter[COUNTER_RX_BURSTS], 1);
    add(rx, &st->counter[COUNTER_RX_PACKETS], (uint64_t)n);
    add(rx, &st->counter[COUNTER_RX_BYTES], bytes);
    bump(&p->status->taken, (uint64_t)n);
    rx->out->ops->flush(rx->out);
    if (rx->cfg.appender)
        appender_latency(rx->cfg.appender, taken, k[0].rxtime);
    return n;
}

/* Packets whose largest output certainly fits. */
static inline int burst_that_fits(struct rx *rx, const struct rx_port *p)
{
    uint64_t each = (uint64_t)p->mtu * rx->expansion;
    if (pst_unlikely(rx->cfg.clock->is_virtual))
        each += RX_REPLAY_ROOM;
    uint64_t n = rows_room(rx->out) / each;
    return n < PORT_BURST ? (int)n : PORT_BURST;
}

static void tell_feeds(struct rx *rx, int64_t now)
{
    for (unsigned i = 0; i < rx->nfeeds; i++)
        if (rx->feed[i])
            feed_stalled(rx->feed[i], now, rx->stall_reason);
}

static void stall(struct rx *rx, int64_t now)
{
    add(rx, &rx->cfg.status->counter[COUNTER_RX_STALLS], 1);
    if (rx->stalled)
        return;
    rx->stalled = true;
    alarm_signal(rx->cfg.status, rx->cfg.appender ? ALARM_RING_FULL : ALARM_INJECT_FULL);
    tell_feeds(rx, now);
}

static int commands(struct rx *rx, int64_t now)
{
    int n = 0;
    struct command *c;
    while ((c = command_peek(&rx->commands))) {
        struct feed *f = c->feed < rx->nfeeds ? rx->feed[c->feed] : NULL;
        bool ok = f && feed_command(f, (enum feed_command)c->what, c->line, now, rx->out);
        command_finish(&rx->commands, c, ok);
        n++;
    }
    return n;
}

/* End of input: what the feeds still hold. */
static int finish(struct rx *rx, int64_t now)
{
    for (unsigned i = 0; i < rx->nports; i++)
        if (!rx->port[i].ended)
            return 0;
    for (; rx->flushing < rx->nfeeds; rx->flushing++)
        if (rx->feed[rx->flushing] && !feed_flush(rx->feed[rx->flushing], now, rx->out))
            return 1;
    rx->out->ops->flush(rx->out);
    store_release(&rx->finished, true);
    return 1;
}

static int own_states(struct rx *rx, int64_t now);

int rx_round(void *arg)
{
    struct rx *rx = arg;
    struct appender *a = rx->cfg.appender;
    int64_t now = clock_now(rx->cfg.clock);
    int did = 0;
    if (a) {
        appender_begin(a, now);
        appender_due(a); /* no work in the sense of the wait: ticks come on an idle machine too */
        appender_states(a);
    }
    /* Without ports nobody else asks whether a feed's marks (commands, timers) would fit. */
    bool full = !rx->nports && rows_room(rx->out) < APPENDER_STATE_ROOM;
    for (unsigned i = 0; i < rx->nports; i++) {
        struct rx_port *p = &rx->port[i];
        int most = burst_that_fits(rx, p);
        if (pst_unlikely(!most)) {
            full = true;
            stall(rx, now);
        } else if (pst_likely(!p->ended)) {
            if (pst_unlikely(rx->stalled)) {
                rx->stalled = false;
                tell_feeds(rx, now); /* what is found missing from here on was lost by then */
            }
            did += one_burst(rx, p, most);
        }
    }
    if (pst_likely(!full)) {
        now = clock_now(rx->cfg.clock);
        did += commands(rx, now);
        for (unsigned i = 0; i < rx->nfeeds; i++)
            if (rx->feed[i])
                did += feed_poll(rx->feed[i], now, rx->out);
        if (!a)
            did += own_states(rx, now);
        if (pst_unlikely(rx->nports && rx->port[0].ended && !load_relaxed(&rx->finished)))
            did += finish(rx, now);
        rx->out->ops->flush(rx->out);
    }
    if (a) {
        int taken = appender_take(a, RX_TAKE);
        did += taken;
        appender_bells(a, taken);
    }
    return did;
}

/* ---- state marks and ticks ---- */

static const char *text_of(void *arg, uint32_t id, uint32_t *len)
{
    return symbols_text(arg, id, len);
}

bool rx_states(void *arg, struct rows *rows, bool all)
{
    struct rx *rx = arg;
    const struct symbols *s = rx->cfg.appender ? rx->cfg.symbols : &rx->cfg.inject->local;
    uint64_t written = 0;
    if (all && !rx->state_all) { /* a roll came while changed ones were being written: anew */
        rx->state_feed = 0;
        rx->state_cursor = (struct feed_cursor){0};
    }
    rx->state_all = all;
    for (; rx->state_feed < rx->nfeeds; rx->state_feed++) {
        struct feed *f = rx->feed[rx->state_feed];
        bool begun = rx->state_cursor.session || rx->state_cursor.from || rx->state_cursor.more;
        if (!f || (!begun && !feed_dirty(f) && !all))
            continue;
        uint32_t n;
        while ((n = feed_state(f, &rx->state_cursor, rx->state_text, sizeof rx->state_text, text_of,
                               (void *)(uintptr_t)s))) {
            rows->ops->mark(rows, MARK_STATE, rx->state_text, n);
            written += n + 2 * FRAME_HEADER;
            if (written + sizeof rx->state_text + 2 * FRAME_HEADER > APPENDER_STATE_ROOM)
                return true;
        }
        rx->state_cursor = (struct feed_cursor){0};
    }
    rx->state_feed = 0;
    rx->state_all = false;
    return false;
}

/* A further lcore's feeds: on its own clock, through its inject ring. */
static int own_states(struct rx *rx, int64_t now)
{
    uint32_t version = load_relaxed(&rx->cfg.days->version);
    if (pst_unlikely(version != rx->days_seen)) {
        rx->days_seen = version;
        inject_rows_days(rx->cfg.inject, rx->cfg.days);
        rx->states_all = rx->states_on = true;
    }
    if (pst_unlikely(now >= rx->states_at)) {
        rx->states_at = now + APPENDER_TICK;
        rx->states_on = true;
    }
    if (pst_likely(!rx->states_on) || rows_room(rx->out) < APPENDER_STATE_ROOM)
        return 0;
    rx->states_on = rx_states(rx, rx->out, rx->states_all);
    rx->states_all &= rx->states_on;
    return 0;
}

int rx_sessions(void *arg, unsigned i, const char **feed, const char **session, uint64_t *next)
{
    const struct status *st = ((struct rx *)arg)->cfg.status;
    if (i >= status_sessions(st))
        return -1;
    const struct status_session *x = &st->sessions[i];
    *session = status_session_text(x);
    if (!**session || x->feed >= STATUS_FEEDS || load_relaxed(&x->state) != SESSION_LIVE)
        return 0;
    *feed = st->feeds[x->feed].name;
    *next = load_relaxed(&x->next);
    return 1;
}

/* ---- start-up ---- */

bool rx_init(struct rx *rx, const struct rx_config *cfg, struct err *err)
{
    memset(rx, 0, sizeof *rx);
    rx->cfg = *cfg;
    if (!cfg->appender == !cfg->inject || (cfg->inject && !cfg->days))
        return err_set(err, -EINVAL, "rx: exactly one sink, appender or inject ring with its days");
    if (cfg->inject && cfg->inject->cfg.q->size < RX_INJECT_MIN)
        return err_set(err, -EINVAL,
                       "rx: an inject ring of %llu MiB is too small, %u are the least",
                       (unsigned long long)(cfg->inject->cfg.q->size >> 20), RX_INJECT_MIN >> 20);
    rx->out = cfg->appender ? &cfg->appender->rows : &cfg->inject->rows;
    rx->stall_reason = cfg->appender ? "ring_full" : "inject_full";
    rx->polled_at = INT64_MIN / 2;
    rx->states_at = INT64_MIN;
    rx->states_on = rx->states_all = true;
    rx->days_seen = cfg->days ? load_relaxed(&cfg->days->version) : 0;
    rx->expansion = cfg->split ? RX_EXPANSION_SPLIT : RX_EXPANSION;
    return true;
}

bool rx_add_port(struct rx *rx, struct port *port, struct groups *groups, struct status_port *st,
                 enum checksum_policy checksum, uint32_t mtu, struct err *err)
{
    if (rx->nports == STATUS_PORTS)
        return err_set(err, -E2BIG, "rx: more than %u ports on one lcore", STATUS_PORTS);
    struct rx_port p = {port, groups, st, checksum, mtu ? mtu : 1500, false};
    uint64_t need = (uint64_t)p.mtu * rx->expansion;
    if (rows_room(rx->out) < need)
        return err_set(err, -ENOSPC,
                       "port %s: one packet of %u bytes can become %llu KiB of rows, which the %s "
                       "cannot take: make it larger",
                       port->name, p.mtu, (unsigned long long)(need >> 10),
                       rx->cfg.appender ? "ring" : "inject ring");
    rx->port[rx->nports++] = p;
    return true;
}

void rx_add_feed(struct rx *rx, struct feed *f, unsigned index)
{
    pst_must(index < STATUS_FEEDS);
    rx->feed[index] = f;
    if (index >= rx->nfeeds)
        rx->nfeeds = index + 1;
}
