/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_streams - what interval streams cost the appender: packets in memory through parse, two
 * lines, ITCH, rows, seal and ring on one core, in short turns with every table in the daily stream
 * and with itch_order in the interval one (the rest daily). The turns alternate in one process, so
 * that what the machine does meanwhile falls on both; the thread's CPU time counts.
 *
 * `share` is the part of frames that the cuts add; `ratio` the median over pairs of turns of
 * with / without. -1 keeps the streams off in both turns: what the comparison itself is worth.
 */
#include <getopt.h>
#include <time.h>
#include "bench_front.h"

#define PAIRS_MAX 4096u

static struct options {
    unsigned pairs, per_packet, packets, lines;
    uint64_t turn;
    int null;
} opt = {200, 38, 4096, 2, 500000, 0};

static uint8_t streams[TABLE_MAX];

static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t messages(void)
{
    return load_relaxed(&front.status->feeds[0].decoded);
}

/* Nanoseconds a message of about opt.turn messages; the ring is freed as it goes. */
static double turn(const uint8_t *stream_of, uint64_t *frames)
{
    struct ring_head *h = front.ring.head;
    appender_flush(&front.appender);
    front.appender.cfg.stream_of = front.appender.rows.stream_of = stream_of;
    uint64_t from = messages(), until = from + opt.turn;
    uint64_t before = load_relaxed(&front.status->counter[COUNTER_APPEND_FRAMES]);
    double t0 = cpu();
    while (messages() < until) {
        pst_must(!load_relaxed(&front.rx.finished));
        rx_round(&front.rx);
        uint64_t tail = ring_tail(&front.ring);
        if (tail - load_relaxed(&h->guard) > 4u << 20) {
            store_release(&h->durable, tail);
            store_release(&h->guard, tail);
        }
    }
    double t = cpu() - t0;
    *frames += load_relaxed(&front.status->counter[COUNTER_APPEND_FRAMES]) - before;
    return t / (double)(messages() - from);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

int main(int argc, char **argv)
{
    static double off[PAIRS_MAX], on[PAIRS_MAX], ratio[PAIRS_MAX];
    int c;
    while ((c = getopt(argc, argv, "n:t:m:l:12h")) != -1) {
        uint64_t v = optarg ? strtoull(optarg, NULL, 10) : 0;
        if (c == 'n')
            opt.pairs = (unsigned)(v < PAIRS_MAX ? v : PAIRS_MAX);
        else if (c == 't')
            opt.turn = v;
        else if (c == 'm')
            opt.per_packet = (unsigned)v;
        else if (c == 'l')
            opt.lines = (unsigned)v;
        else if (c == '1' || c == '2')
            opt.null = c;
        else {
            fputs("bench_streams - interval streams against the daily one alone\n"
                  "  -n N    pairs of turns (200)\n"
                  "  -t N    messages a turn (500000)\n"
                  "  -m N    messages in a packet, at most (38)\n"
                  "  -l 1|2  lines (2)\n"
                  "  -1, -2  streams off, or on, in both turns\n",
                  c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    struct front_config fc = {.program = "bench_streams",
                              .lines = opt.lines,
                              .per_packet = opt.per_packet,
                              .packets = opt.packets,
                              .ring = 64u << 20,
                              .streams = streams};
    pst_must(opt.pairs);
    front_make(&fc);
    front_pin(1);
    const uint8_t *with = opt.null == '1' ? NULL : streams;
    const uint8_t *without = opt.null == '2' ? streams : NULL;
    uint64_t frames_off = 0, frames_on = 0, warm = 0;
    turn(without, &warm);
    turn(with, &warm);
    for (unsigned i = 0; i < opt.pairs; i++) {
        if (i % 2) {
            on[i] = turn(with, &frames_on);
            off[i] = turn(without, &frames_off);
        } else {
            off[i] = turn(without, &frames_off);
            on[i] = turn(with, &frames_on);
        }
        ratio[i] = on[i] / off[i];
    }
    double r = median(ratio, opt.pairs);
    printf("result off_ns=%.2f on_ns=%.2f ratio=%.4f low=%.4f high=%.4f frames_off=%.1f "
           "frames_on=%.1f\n",
           median(off, opt.pairs), median(on, opt.pairs), r, ratio[opt.pairs / 4],
           ratio[opt.pairs * 3 / 4], (double)frames_off * 1e6 / ((double)opt.turn * opt.pairs),
           (double)frames_on * 1e6 / ((double)opt.turn * opt.pairs));
    return 0;
}
