/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_burst - burst to ring reader, with only those two threads running.
 *
 * CPU 0 runs rx_round as penstockd does; its port hands out one packet at a time, stamped with the
 * clock as it is taken. CPU 1 polls the ring, copies the frame, checks that it was not overwritten
 * and takes the time. Packets of 1, 4 and 38 messages of the simulator's flow, one line. Beside it
 * the limit in the same run: one 64-bit word handed over the same way. Medians of `-n` bursts.
 */
#include <getopt.h>
#include <pthread.h>
#include "bench_front.h"
#include "core/record.h"

static struct options {
    uint64_t bursts;
    unsigned per_packet;
} opt = {200000, 1};

static struct {
    pst_aligned(64) _Atomic uint64_t word;
    pst_aligned(64) _Atomic uint64_t seen;
    uint64_t *ns;
} hand;

static struct port_ops one_at_a_time;
static const struct port_ops *behind;

static int rx_one(struct port *p, struct pkt *out, int max)
{
    return behind->rx(p, out, max < 1 ? max : 1);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double at(double share)
{
    return (double)hand.ns[(uint64_t)((double)(opt.bursts - 1) * share)];
}

/* Between two bursts the reader has gone back to polling. */
static void pause_a_little(void)
{
    uint64_t t = clock_ticks();
    while (clock_ticks() - t < 4000)
        cpu_relax();
}

static void *word_reader(void *arg)
{
    (void)arg;
    front_pin(1);
    uint64_t last = 0;
    for (uint64_t i = 0; i < opt.bursts; i++) {
        uint64_t v;
        while ((v = load_acquire(&hand.word)) == last)
            ;
        hand.ns[i] = (uint64_t)(clock_now(&front.clock) - (int64_t)v);
        last = v;
        store_release(&hand.seen, i + 1);
    }
    return NULL;
}

static void *frame_reader(void *arg)
{
    (void)arg;
    front_pin(1);
    static uint8_t buf[FRAME_MAX] pst_aligned(64);
    uint64_t pos = ring_tail(&front.ring), n = 0;
    store_release(&hand.seen, 1); /* ready */
    while (n < opt.bursts) {
        if (ring_tail(&front.ring) == pos)
            continue;
        pst_must(ring_read_frame(&front.ring, pos, buf) == RING_READ_OK);
        const struct frame *f = (const struct frame *)buf;
        pos += f->length;
        if (f->kind != FRAME_DATA) /* a tick, a state mark */
            continue;
        const struct packet_record *p = (const struct packet_record *)frame_payload(f);
        hand.ns[n++] = (uint64_t)(clock_now(&front.clock) - p->rxtime);
        store_release(&front.ring.head->guard, pos);
        store_release(&hand.seen, n + 1);
    }
    return NULL;
}

static void words(void)
{
    pthread_t t;
    pst_must(!pthread_create(&t, NULL, word_reader, NULL));
    for (uint64_t i = 0; i < opt.bursts; i++) {
        pause_a_little();
        store_release(&hand.word, (uint64_t)clock_now(&front.clock));
        while (load_acquire(&hand.seen) <= i)
            ;
    }
    pthread_join(t, NULL);
    store_relaxed(&hand.seen, 0);
}

static void bursts(void)
{
    pthread_t t;
    pst_must(!pthread_create(&t, NULL, frame_reader, NULL));
    while (!load_acquire(&hand.seen))
        ;
    for (uint64_t i = 0; i < opt.bursts; i++) {
        pause_a_little();
        rx_round(&front.rx);
        while (load_acquire(&hand.seen) <= i + 1)
            ;
    }
    pthread_join(t, NULL);
}

int main(int argc, char **argv)
{
    int c;
    while ((c = getopt(argc, argv, "n:m:")) != -1) {
        if (c == 'n')
            opt.bursts = strtoull(optarg, NULL, 10);
        else if (c == 'm')
            opt.per_packet = (unsigned)atoi(optarg);
        else
            opt.bursts = 0;
        if (!opt.bursts || !opt.per_packet) {
            fputs("bench_burst [-n BURSTS] [-m MESSAGES IN EACH]\n", stderr);
            return 2;
        }
    }
    struct front_config fc = {"bench_burst", 1, opt.per_packet, 4096, 0, 64ull << 20};
    front_make(&fc);
    store_release(&front.ring.head->guard, ring_tail(&front.ring));
    behind = front.port->ops;
    one_at_a_time = *behind;
    one_at_a_time.rx = rx_one;
    front.port->ops = &one_at_a_time;
    hand.ns = calloc(opt.bursts, sizeof *hand.ns);
    pst_must(hand.ns);
    front_pin(0);
    words();
    qsort(hand.ns, opt.bursts, sizeof *hand.ns, compare);
    double word = at(0.5);
    bursts();
    qsort(hand.ns, opt.bursts, sizeof *hand.ns, compare);
    printf("result messages=%u p50_ns=%.0f p90_ns=%.0f p99_ns=%.0f word_p50_ns=%.0f\n",
           opt.per_packet, at(0.5), at(0.9), at(0.99), word);
    return 0;
}
