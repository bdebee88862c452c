/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock-sim - a market on the wire, and a report of exactly what was sent. See --help (opts.c).
 *
 * envelope (when) -> flow (what) -> publish (sequence numbers, packets, sessions) -> line (what
 * each line loses and disorders) -> out (file, wire). account keeps the truth. One thread, one
 * pass, no clock except in out: the same options and seed give the same bytes.
 *
 * Speed, `penstock-sim --null --messages 20000000 --line A,239.1.1.1:1`, one core of a 2.1 GHz
 * Sapphire Rapids: see perf/sim/README in --help's "--null"; the run prints its own rate.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <time.h>

#include "nytime.h"
#include "replay.h"
#include "report.h"

static volatile int stop; /* set by a signal, nothing else */

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

struct sim {
    struct opts o;
    struct flow flow;
    struct envelope envelope;
    struct account account;
    struct publish publish;
    struct line lines[SIM_LINES];
    struct line_queue queue;
    struct out out;
    int64_t midnight, first;
    struct err err;
};

static bool live(const struct opts *o)
{
    return o->sink == OUT_PACKET || o->sink == OUT_UDP;
}

/* The session's date and the time of its first message. */
static void when(struct sim *s)
{
    struct opts *o = &s->o;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t utc = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    if (o->year == 0 && !live(o)) {
        o->year = 2026, o->month = 11, o->day = 20;
    } else if (o->year == 0) { /* the date in New York: four or five hours behind */
        for (int hours = 4; hours <= 5; hours++) {
            time_t t = now.tv_sec - hours * 3600;
            struct tm tm;
            gmtime_r(&t, &tm);
            o->year = tm.tm_year + 1900, o->month = tm.tm_mon + 1, o->day = tm.tm_mday;
            if (ny_midnight(o->year, o->month, o->day) <= utc)
                break;
        }
    }
    s->midnight = ny_midnight(o->year, o->month, o->day);
    if (o->start == -1)
        o->start = o->profile == PROFILE_DAY ? INT64_C(14400000000000)
                   : live(o)                 ? -2
                                             : INT64_C(34200000000000);
    if (o->start == -2)
        o->start = ((utc - s->midnight) % INT64_C(86400000000000) + INT64_C(86400000000000)) %
                   INT64_C(86400000000000);
}

static void defaults(struct opts *o)
{
    bool flat_out = o->flat_out || o->sink == OUT_NULL;
    if (o->rate < 0)
        o->rate = o->profile == PROFILE_PURGE ? 1.4e6 : flat_out ? 1e6 : 1e5;
    if (o->profile == PROFILE_DAY)
        o->rate = o->scale;
    if (o->profile == PROFILE_PURGE && !o->resting_set)
        o->resting = (uint64_t)(o->rate * 1.3);
    if (o->profile == PROFILE_DAY && !o->resting_set && o->start >= INT64_C(54000000000000))
        o->resting = (uint64_t)(1.8e6 * o->scale); /* what the purge at the close will find */
    if (!o->messages && o->duration <= 0 && !live(o) &&
        (o->profile == PROFILE_FLAT || o->profile == PROFILE_BURST))
        o->messages = 1000000;
}

static bool open_channels(struct sim *s)
{
    struct opts *o = &s->o;
    s->out.kind = o->sink;
    s->out.stop = &stop;
    s->out.speed = o->speed;
    s->out.paced = live(o) && !o->flat_out;
    if (o->sink == OUT_PCAP)
        return out_open_pcap(&s->out, o->pcap, &s->err);
    if (o->sink == OUT_NULL)
        return true;
    uint32_t lines = o->replay ? 1 : o->line_n;
    for (uint32_t i = 0; i < lines; i++) {
        struct line_opts *l = &o->lines[i];
        const char *iface = !o->replay && l->iface[0] ? l->iface : o->iface ? o->iface : "";
        uint32_t c = 0;
        if (o->sink == OUT_UDP) {
            c = s->out.channel_n;
            if (!out_add_udp(&s->out, iface, l->ttl, &s->err))
                return false;
        } else {
            while (c < s->out.channel_n && strcmp(s->out.channels[c].iface, iface))
                c++;
            if (c == s->out.channel_n && !out_add_packet(&s->out, iface, &s->err))
                return false;
        }
        s->lines[i].channel = c;
        /* the kernel gives room for one 802.1Q tag beside the MTU, for more there is none */
        uint32_t over = 28 + (l->vlans > 1 ? 4 * l->vlans : 0), mtu = s->out.channels[c].mtu;
        if (!o->replay && o->pub.max_payload + over > mtu)
            return err_set(
                &s->err, -EMSGSIZE,
                "line %s: --max-payload %u does not fit %s's MTU of %u; use %u or raise the MTU",
                l->name, o->pub.max_payload, iface, mtu, mtu > over ? mtu - over : 0);
    }
    return true;
}

static void open_lines(struct sim *s)
{
    bool late = false;
    for (uint32_t i = 0; i < s->o.line_n; i++) {
        struct line *l = &s->lines[i];
        l->o = s->o.lines[i];
        l->index = i;
        l->protocol = s->o.pub.protocol;
        l->out = &s->out;
        l->err = &s->err;
        line_init(l, s->o.seed);
        struct wire_address a = {.src = l->o.src,
                                 .dst = l->o.group,
                                 .sport = l->o.sport,
                                 .dport = l->o.port,
                                 .ttl = l->o.ttl,
                                 .vlans = l->o.vlans};
        memcpy(a.vlan, l->o.vlan, sizeof a.vlan);
        a.mac[0] = 2;
        a.mac[5] = (uint8_t)(i + 1);
        if (s->o.sink == OUT_PACKET)
            memcpy(a.mac, s->out.channels[l->channel].mac, 6);
        l->frame.udp_checksum = s->o.udp_checksum;
        wire_frame_make(&l->frame, &a);
        late |= l->o.delay || l->o.jitter || l->o.swing > 0;
    }
    for (uint32_t i = 0; late && i < s->o.line_n; i++)
        s->lines[i].queue = &s->queue;
}

static bool failed(const struct sim *s)
{
    for (uint32_t i = 0; i < s->o.line_n; i++)
        if (s->lines[i].failed)
            return true;
    return false;
}

/* --pps: every slot is one packet. */
static bool next_slot(struct sim *s, uint64_t index, struct slot *slot)
{
    struct envelope *v = &s->envelope;
    if (s->o.pps <= 0)
        return envelope_next(v, slot);
    int64_t start = s->o.start + (int64_t)((double)index * 1e9 / s->o.pps);
    *slot = (struct slot){.start = start, .count = s->o.per_packet};
    v->now = start;
    return v->now < v->end;
}

static void progress(const struct sim *s, int64_t *at, uint64_t *before, int64_t began)
{
    int64_t now = out_clock();
    if (s->o.quiet || now - *at < 1000000000)
        return;
    uint64_t m = s->account.messages;
    int64_t t = s->envelope.now / 1000000000;
    fprintf(stderr,
            "penstock-sim: %.0f s  market %02d:%02d:%02d  %" PRIu64 " messages (%.0f/s)  %" PRIu64
            " packets\n",
            (double)(now - began) / 1e9, (int)(t / 3600 % 24), (int)(t / 60 % 60), (int)(t % 60), m,
            (double)(m - *before) * 1e9 / (double)(now - *at), s->out.packets);
    *at = now;
    *before = m;
}

static bool one_slot(struct sim *s, const struct slot *slot)
{
    struct flow_msg m = {0};
    uint64_t most = s->o.messages ? s->o.messages - s->account.messages : UINT64_MAX;
    uint32_t n = slot->count < most ? slot->count : (uint32_t)most;
    int64_t start = s->midnight + slot->start;
    publish_idle(&s->publish, start);
    s->flow.purge = slot->purge;
    if (slot->purge && n > s->flow.resting)
        n = s->flow.resting;
    for (uint32_t i = 0; i < n && !s->publish.ended; i++) {
        int64_t utc = start + (int64_t)((uint64_t)slot->width * i / n);
        flow_next(&s->flow, utc, &m);
        publish_message(&s->publish, utc, &m);
        if (pst_unlikely(s->publish.fresh)) {
            s->publish.fresh = false;
            flow_restart(&s->flow);
        }
    }
    publish_flush(&s->publish);
    return queue_advance(&s->queue, &s->out, s->publish.now, &s->err) && !failed(s);
}

/* A day that is entered in its middle: directory and resting orders come in the time just before.
 */
static bool before_start(struct sim *s)
{
    uint64_t n = s->o.symbols, total = s->o.resting + (s->o.directory ? 5 + n * 3 + n / 4 : 2);
    int64_t slots = (int64_t)(total / 1000) + 1;
    for (int64_t at = s->o.start - slots * ENVELOPE_SLOT_NS; !stop; at += ENVELOPE_SLOT_NS) {
        bool built = s->flow.step >= 5 && !s->flow.fill_left;
        if (built || at >= s->o.start || (s->o.messages && s->account.messages >= s->o.messages))
            break;
        if (!one_slot(s, &(struct slot){.start = at, .width = 999000, .count = 1000}))
            return false;
    }
    return true;
}

static bool run(struct sim *s)
{
    int64_t began = out_clock(), shown = began;
    uint64_t before = 0;
    struct slot slot;
    if (s->o.profile == PROFILE_DAY && !before_start(s))
        return false;
    for (uint64_t i = 0; !stop && next_slot(s, i, &slot); i++) {
        if (!one_slot(s, &slot))
            return false;
        if (s->publish.ended || (s->o.messages && s->account.messages >= s->o.messages))
            break;
        bool built = s->flow.step >= 5 && !s->flow.fill_left;
        if (s->o.profile == PROFILE_PURGE && built) {
            if (s->envelope.purge_from == INT64_MAX)
                s->envelope.purge_from = s->envelope.now;
            else if (s->flow.resting == 0)
                break;
        }
        if (i % 64 == 63 && !out_wait(&s->out, s->midnight + slot.start, &s->err))
            return false; /* a silent market must not run ahead of the clock */
        if (s->o.duration > 0 && live(&s->o) && s->o.flat_out &&
            (double)(out_clock() - began) >= s->o.duration * 1e9)
            break;
        progress(s, &shown, &before, began);
    }
    bool say_end = s->o.end_session || s->publish.ended;
    uint32_t tail = stop ? 0 : s->o.tail_heartbeats;
    /* an idle market is idle by the clock also behind --flat-out: who was too slow for the flow is
     * told of its end when it looks again */
    for (; tail && live(&s->o) && s->o.flat_out && s->publish.o.heartbeat; tail--) {
        int64_t gap = s->publish.o.heartbeat;
        if (!queue_advance(&s->queue, &s->out, INT64_MAX, &s->err))
            return false;
        nanosleep(&(struct timespec){gap / 1000000000, gap % 1000000000}, NULL);
        publish_end(&s->publish, s->publish.now, false, 1);
    }
    publish_end(&s->publish, s->publish.now, say_end, tail);
    for (uint32_t i = 0; i < s->o.line_n; i++)
        line_release(&s->lines[i]);
    return queue_advance(&s->queue, &s->out, INT64_MAX, &s->err) && !failed(s);
}

static int simulate(struct sim *s)
{
    struct opts *o = &s->o;
    if (!flow_make(&s->flow, o->pub.protocol, o->symbols, o->seed, &s->err))
        return 1;
    s->flow.directory = o->directory;
    s->flow.midnight = s->midnight;
    s->flow.units = o->pub.units;
    s->flow.fill = o->resting;
    flow_restart(&s->flow);
    s->envelope = (struct envelope){.profile = o->profile,
                                    .rate = o->rate,
                                    .smooth = o->smooth,
                                    .now = o->start,
                                    .end = INT64_MAX,
                                    .purge_from = INT64_MAX};
    if (o->profile == PROFILE_DAY)
        s->envelope.end = INT64_C(72000000000000);
    if (o->duration > 0 && !(live(o) && o->flat_out)) {
        int64_t end = o->start + (int64_t)(o->duration * 1e9 * (s->out.paced ? o->speed : 1));
        s->envelope.end = end < s->envelope.end ? end : s->envelope.end;
    }
    rng_seed(&s->envelope.rng, o->seed, 4);
    open_lines(s);
    s->first = s->midnight + o->start;
    if (o->profile == PROFILE_DAY) /* before_start: at most this much earlier */
        s->first -= (int64_t)(o->resting / 1000 + o->symbols / 250 + 2) * ENVELOPE_SLOT_NS;
    if (!publish_open(&s->publish, &o->pub, &s->account, s->lines, o->line_n, o->truth, o->symbols,
                      o->seed, s->first, &s->err))
        return 1;
    int64_t began = out_clock();
    bool ok = run(s);
    struct err closing = {0};
    if (!out_close(&s->out, &closing) && ok) {
        ok = false;
        s->err = closing;
    }
    double wall = (double)(out_clock() - began) / 1e9;
    struct report r = {.o = o,
                       .a = &s->account,
                       .lines = s->lines,
                       .flow = &s->flow,
                       .out = &s->out,
                       .complete = ok && !stop,
                       .wall = wall,
                       .first = s->first,
                       .last = s->publish.now};
    if (o->report && !report_write(&r, o->report, &closing) && ok) {
        ok = false;
        s->err = closing;
    }
    if (!o->quiet)
        fprintf(stderr,
                "penstock-sim: %" PRIu64 " messages, %" PRIu64 " packets, %" PRIu64
                " bytes in %.3f s (%.2f M messages/s)%s\n",
                s->account.messages, s->out.packets, s->out.bytes, wall,
                (double)s->account.messages / wall / 1e6, stop ? "; ended by a signal" : "");
    publish_close(&s->publish);
    if (!account_close(&s->account, &closing) && ok) {
        ok = false;
        s->err = closing;
    }
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct sim s;
    if (!opts_parse(&s.o, argc, argv, &s.err)) {
        if (s.err.code == 0)
            return 0;
        fprintf(stderr, "penstock-sim: %s\n", s.err.text);
        return 2;
    }
    struct sigaction a = {.sa_handler = on_signal};
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
    when(&s);
    defaults(&s.o);
    int code = 1;
    if (open_channels(&s))
        code = s.o.replay ? replay_run(&s.o, &s.out, &stop, &s.err) : simulate(&s);
    if (code)
        fprintf(stderr, "penstock-sim: %s\n", s.err.text);
    flow_free(&s.flow);
    for (uint32_t i = 0; i < s.o.line_n; i++)
        free(s.o.lines[i].drop.r), free(s.o.lines[i].dead.r), free(s.o.lines[i].divergent.r);
    free(s.queue.heap);
    return code;
}
