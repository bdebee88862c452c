/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_pipeline - wire to durable log on two cores:
 *
 *   packets in memory ─► rx (CPU 0): parse, two lines, ITCH, rows, CRC ─► ring ─► log (CPU 1) ─►
 * disk
 *
 * Everything between the port and the file is what penstockd runs; the packets are the simulator's
 * order flow, looped, with sequence numbers that go on. The source waits while the ring is full, so
 * the rate is the pipeline's. The run ends when the last frame is durable.
 *
 * Proof that nothing was lost: sequences sent, as the port handed them out, against sequences that
 * the log counted durable, against the feed's own next number; no gap, nothing undecoded. The
 * limit: a bare writer of the same block, depth and preallocation, over the same bytes, right
 * before and after. Exit 1 when the proof fails.
 */
#include <errno.h>
#include <getopt.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "appender.h"
#include "bench_disk.h"
#include "bench_traffic.h"
#include "core/tables.h"
#include "log.h"
#include "poll.h"

#define INSTANCE 0x70656e7374ull
#define DAY      9820 /* 2026-11-20 */

static struct options {
    uint64_t messages;
    unsigned lines, depth, per_packet, packets;
    uint64_t ring, preallocate;
    const char *directory;
    bool nolog, nolimit;
    enum log_level level;
} opt = {200000000, 2, 8, 38, 4096, 512ull << 20, 1ull << 30, ".", false, false, LOG_DURABLE};

static struct pipeline {
    struct clock clock;
    struct status *status;
    struct ring ring;
    struct symbols symbols;
    struct schema_set *schemas;
    struct appender appender;
    struct feed *feed;
    struct groups groups;
    struct port *port;
    struct rx rx;
    struct io *io;
    struct log *log;
    struct thread rx_thread, log_thread;
    struct traffic traffic;
    char directory[4096];
} pl;

static void usage(FILE *f)
{
    fputs("bench_pipeline - wire to durable log on two cores, beside the bare disk\n"
          "  -n N     messages (200000000)\n"
          "  -l 1|2   lines that carry them (2)\n"
          "  -m N     messages in a packet, at most (38)\n"
          "  -p N     packets of a line in the loop (4096)\n"
          "  -d DIR   where a directory for the log is made and removed (.)\n"
          "  -q N     writes in flight (8)\n"
          "  -r MIB   ring (512)\n"
          "  -a MIB   preallocate (1024)\n"
          "  -L LEVEL async, written, durable (durable)\n"
          "  -0       no disk: the second core only frees the ring\n"
          "  -x       do not measure the disk alone\n",
          f);
}

static void die(const struct err *e)
{
    fprintf(stderr, "bench_pipeline: %s\n", e->text);
    exit(1);
}

static int64_t now_of(void *clock)
{
    return clock_now(clock);
}

/* ---- set-up ---- */

static void intern(struct schema *s)
{
    struct err e = {0};
    bool fresh;
    if (!schema_set_intern(pl.schemas, s, &fresh, &e))
        die(&e);
}

static void make_feed(void)
{
    struct err e = {0};
    const struct decoder_ops *itch = decoder_find("itch50");
    struct feed_config c = {.name = "itch",
                            .framing = framing_find("moldudp64"),
                            .decoder = itch,
                            .nlines = opt.lines,
                            .line = {{"A", LINE_NORMAL}, {"B", LINE_NORMAL}},
                            .reorder_ns = -1,
                            .room_reserve = rx_worst(1500),
                            .fixed_date = DAY};
    for (unsigned i = 0; i < itch->ntables; i++) {
        struct schema s;
        const struct decoder_table *t = &itch->tables[i];
        if (!schema_make(&s, 0, t->name, true, t->cols, t->ncols, &e))
            die(&e);
        intern(&s);
        c.tables[i] = schema_set_find(pl.schemas, t->name);
    }
    if (!decoder_bind(itch, c.tables, &e) || !(pl.feed = feed_open(&c, pl.status, 0, &e)))
        die(&e);
    pl.status->n_feeds = 1;
}

static void make_front(void)
{
    struct err e = {0};
    struct schema s;
    clock_init_real(&pl.clock);
    pl.status = status_create("bench", &e);
    pl.schemas = schema_set_new();
    if (!pl.status || !pl.schemas || !symbols_create(&pl.symbols, 65536, &e))
        die(&e);
    if (!ring_create(&pl.ring, opt.ring, 0, INSTANCE, true, &e) &&
        !ring_create(&pl.ring, opt.ring, 0, INSTANCE, false, &e))
        die(&e);
    pst_must(tables_gap(&s, &e));
    intern(&s);
    pst_must(tables_undecoded(&s, &e));
    intern(&s);
    make_feed();
    struct appender_config ac = {.ring = &pl.ring,
                                 .symbols = &pl.symbols,
                                 .schemas = pl.schemas,
                                 .status = pl.status,
                                 .clock = &pl.clock,
                                 .hooks = {&pl.rx, rx_states, rx_sessions},
                                 .open_day = DAY,
                                 .last_time = INT64_MIN,
                                 .max_new_symbols = 65536,
                                 .ticks = true};
    if (!appender_init(&pl.appender, &ac, &e))
        die(&e);
    struct rx_config rc = {
        .status = pl.status, .clock = &pl.clock, .appender = &pl.appender, .symbols = &pl.symbols};
    if (!rx_init(&pl.rx, &rc, &e))
        die(&e);
    rx_add_feed(&pl.rx, pl.feed, 0);
}

static uint64_t make_port(void)
{
    struct err e = {0};
    struct traffic *t = &pl.traffic;
    if (!traffic_make(t, opt.packets, opt.per_packet, opt.lines, 3, &e))
        die(&e);
    uint64_t loops = (opt.messages + t->loop_messages - 1) / t->loop_messages;
    struct port_config pc = {.name = "loop",
                             .kind = PORT_MEM,
                             .now = now_of,
                             .now_arg = &pl.clock,
                             .packets = t->loop,
                             .n_packets = t->nloop,
                             .loops = loops,
                             .patch = traffic_patch,
                             .patch_arg = t};
    struct group_route routes[] = {{TRAFFIC_GROUP_A, TRAFFIC_PORT, RX_ROUTE(0, 0)},
                                   {TRAFFIC_GROUP_A + 1, TRAFFIC_PORT, RX_ROUTE(0, 1)}};
    if (!groups_init(&pl.groups, routes, (int)opt.lines, GROUP_NONE, &e) ||
        !(pl.port = port_open(&pc, &e)) ||
        !rx_add_port(&pl.rx, pl.port, &pl.groups, &pl.status->ports[0], CHECKSUM_OFF, 1500, &e))
        die(&e);
    pl.status->n_ports = 1;
    return loops;
}

static uint64_t disk_free(const char *path)
{
    struct statvfs v;
    return statvfs(path, &v) ? 0 : (uint64_t)v.f_bavail * v.f_frsize;
}

static void make_log(void)
{
    struct err e = {0};
    snprintf(pl.directory, sizeof pl.directory, "%s/bench_pipeline.XXXXXX", opt.directory);
    if (!mkdtemp(pl.directory)) {
        err_set(&e, -errno, "%s: %s", pl.directory, strerror(errno));
        die(&e);
    }
    pl.io = io_ring_create(opt.depth + 8, &e);
    if (!pl.io)
        die(&e);
    struct log_config lc = {.io = pl.io,
                            .ring = &pl.ring,
                            .symbols = &pl.symbols,
                            .schemas = pl.schemas,
                            .clock = &pl.clock,
                            .status = pl.status,
                            .directory = pl.directory,
                            .prefix = "log",
                            .instance_name = "bench",
                            .level = opt.level,
                            .depth = opt.depth,
                            .preallocate = opt.preallocate,
                            .retry_ns = NS_PER_S};
    pl.log = log_create(&lc, &e);
    if (!pl.log)
        die(&e);
}

static bool remove_entry(void *arg, const char *name)
{
    char path[8192];
    (void)arg;
    snprintf(path, sizeof path, "%s/%s", pl.directory, name);
    if (name[0] != '.')
        pl.io->ops->unlink(pl.io, path);
    return true;
}

/* ---- the run ---- */

/* Directory and opening states, before the clock runs. */
static void start_of_day(void)
{
    appender_begin(&pl.appender, clock_now(&pl.clock));
    for (uint32_t i = 0; i < pl.traffic.nstart; i++) {
        const struct mem_packet *k = &pl.traffic.start[i];
        struct pkt p = {
            .data = k->data, .len = k->len, .wire_len = k->len, .rxtime = clock_now(&pl.clock)};
        struct udp_view v;
        pst_must(packet_parse(&p, &v) == DROP_none);
        for (unsigned l = 0; l < opt.lines; l++)
            feed_packet(pl.feed, l, v.payload, v.payload_len, p.rxtime, CLOCK_TSC,
                        &pl.appender.rows);
        appender_flush(&pl.appender);
    }
}

/* Stands in for the log with -0. */
static int free_ring(void *arg)
{
    (void)arg;
    uint64_t tail = ring_tail(&pl.ring);
    if (tail == load_relaxed(&pl.ring.head->guard))
        return 0;
    store_release(&pl.ring.head->durable, tail);
    store_release(&pl.ring.head->guard, tail);
    return 1;
}
static const struct thread_ops free_ops = {.work = free_ring};
static const struct thread_ops rx_ops = {.work = rx_round};

static double cpu_seconds(const struct thread *t)
{
    clockid_t id;
    struct timespec ts;
    if (pthread_getcpuclockid(t->id, &id) || clock_gettime(id, &ts))
        return 0;
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void nap(void)
{
    struct timespec ts = {0, 200000};
    nanosleep(&ts, NULL);
}

struct result {
    double seconds, rx_cpu, log_cpu;
    uint64_t bytes, sent;
};

/* The position that the level waits for. */
static _Atomic uint64_t *reached(void)
{
    return opt.level == LOG_DURABLE ? &pl.ring.head->durable : &pl.ring.head->written;
}

static struct result run(uint64_t loops)
{
    struct err e = {0};
    struct result r = {0};
    thread_define(&pl.rx_thread, pl.status, "rx", &rx_ops, &pl.rx, &pl.clock, WAIT_SPIN, 0, 0);
    thread_define(&pl.log_thread, pl.status, "log", opt.nolog ? &free_ops : &log_thread_ops, pl.log,
                  &pl.clock, opt.nolog ? WAIT_SPIN : WAIT_ADAPTIVE, -10, 1);
    if (!thread_start(&pl.log_thread, &e))
        die(&e);
    uint64_t before = ring_tail(&pl.ring);
    while (!opt.nolog && load_acquire(reached()) < before && !load_relaxed(&pl.status->log_errno))
        nap();
    double log_cpu = cpu_seconds(&pl.log_thread);
    int64_t t0 = clock_monotonic();
    if (!thread_start(&pl.rx_thread, &e))
        die(&e);
    while (!load_acquire(&pl.rx.finished) && !load_relaxed(&pl.status->log_errno))
        nap();
    r.rx_cpu = cpu_seconds(&pl.rx_thread);
    uint64_t end = ring_tail(&pl.ring);
    while ((opt.nolog ? load_acquire(&pl.ring.head->durable) : load_acquire(reached())) < end &&
           !load_relaxed(&pl.status->log_errno))
        nap();
    r.seconds = (double)(clock_monotonic() - t0) / 1e9;
    r.log_cpu = cpu_seconds(&pl.log_thread) - log_cpu;
    r.bytes = end - before;
    r.sent = loops * pl.traffic.loop_messages;
    thread_stop(&pl.rx_thread);
    if (load_relaxed(&pl.status->log_errno)) {
        err_set(&e, -load_relaxed(&pl.status->log_errno), "the log cannot write to %s: %s",
                pl.directory, strerror(load_relaxed(&pl.status->log_errno)));
        die(&e);
    }
    if (!opt.nolog && !log_drain(pl.log, 10 * NS_PER_S)) {
        err_set(&e, -EIO, "%s: the last frames did not become durable in 10 s", pl.directory);
        die(&e);
    }
    thread_stop(&pl.log_thread);
    return r;
}

/* ---- what came of it ---- */

static bool same(const char *what, uint64_t have, uint64_t want)
{
    printf("  %-44s %15llu %s\n", what, (unsigned long long)have, have == want ? "" : "WRONG");
    return have == want;
}

static bool prove(uint64_t sent)
{
    const struct status_feed *f = &pl.status->feeds[0];
    struct feed_position p = {0};
    bool ok = feed_position(pl.feed, 0, &p);
    printf("sequences sent                                 %15llu\n", (unsigned long long)sent);
    ok &= same("feed: next - first", p.next - p.first, sent);
    ok &= same("feed: decoded rows", load_relaxed(&f->decoded), sent);
    ok &= same("feed: gaps", load_relaxed(&f->gaps), 0);
    ok &= same("feed: late", load_relaxed(&f->late_seqs), 0);
    for (unsigned l = 0; opt.lines == 2 && l < 2; l++)
        ok &= same(l ? "line B: messages" : "line A: messages", load_relaxed(&f->line[l].messages),
                   sent);
    if (opt.nolog)
        return ok;
    const struct log_counts *c = log_counts(pl.log);
    uint64_t durable = 0, gap = 0, late = 0;
    for (uint32_t i = 0; i < load_acquire(&c->n); i++) {
        durable += load_relaxed(&c->entry[i].durable);
        gap += load_relaxed(&c->entry[i].gap);
        late += load_relaxed(&c->entry[i].late);
    }
    ok &= same("log: durable sequences", durable, sent);
    ok &= same("log: durable gap sequences", gap, 0);
    ok &= same("log: durable late sequences", late, 0);
    return ok;
}

static double limit(uint64_t bytes)
{
    struct err e = {0};
    double rate = bench_disk(opt.directory, bytes, 1u << 20, opt.depth, opt.preallocate, &e);
    if (!(rate > 0))
        fprintf(stderr, "bench_pipeline: no limit: %s\n", e.text);
    return rate;
}

static void options(int argc, char **argv)
{
    int c;
    while ((c = getopt(argc, argv, "n:l:m:p:d:q:r:a:L:0xh")) != -1) {
        uint64_t v = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (c) {
        case 'n':
            opt.messages = v;
            break;
        case 'l':
            opt.lines = (unsigned)v;
            break;
        case 'm':
            opt.per_packet = (unsigned)v;
            break;
        case 'p':
            opt.packets = (unsigned)v;
            break;
        case 'd':
            opt.directory = optarg;
            break;
        case 'q':
            opt.depth = (unsigned)v;
            break;
        case 'r':
            opt.ring = v << 20;
            break;
        case 'a':
            opt.preallocate = v << 20;
            break;
        case 'L':
            opt.level = optarg[0] == 'a' ? LOG_ASYNC : optarg[0] == 'w' ? LOG_WRITTEN : LOG_DURABLE;
            break;
        case '0':
            opt.nolog = true;
            break;
        case 'x':
            opt.nolimit = true;
            break;
        default:
            usage(c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
    }
    if (opt.lines < 1 || opt.lines > 2 || !opt.messages || !opt.per_packet || opt.packets < 8) {
        usage(stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    options(argc, argv);
    struct err e = {0};
    uint64_t need = opt.nolog ? 0 : opt.messages * 90;
    if (disk_free(opt.directory) < need + (2ull << 30)) {
        err_set(&e, -ENOSPC, "%s: %llu GB are needed; say -n fewer", opt.directory,
                (unsigned long long)(need >> 30) + 2);
        die(&e);
    }
    make_front();
    uint64_t loops = make_port();
    start_of_day();
    if (!opt.nolog)
        make_log();
    double disk[2] = {0};
    uint64_t about = opt.messages * 66;
    if (!opt.nolog && !opt.nolimit)
        disk[0] = limit(about);
    struct result r = run(loops);
    bool ok = prove(r.sent + pl.traffic.start_messages);
    if (!opt.nolog) {
        log_destroy(pl.log);
        pl.io->ops->list(pl.io, pl.directory, remove_entry, NULL);
        rmdir(pl.directory);
        io_destroy(pl.io);
        if (!opt.nolimit)
            disk[1] = limit(r.bytes);
    }
    double rate = (double)r.sent / r.seconds, bytes = (double)r.bytes / r.seconds;
    double best = (disk[0] + disk[1]) / 2;
    const char *levels[] = {"async", "written", "durable"};
    printf("lines %u, %.1f messages a packet, ring %llu MiB%s, %s, depth %u\n", opt.lines,
           (double)pl.traffic.loop_messages / opt.packets,
           (unsigned long long)(ring_size(&pl.ring) >> 20), pl.ring.huge ? " huge" : "",
           opt.nolog ? "no disk" : levels[opt.level], opt.depth);
    printf("%.2f s  rx core %.0f %% busy, stalled %llu rounds; log core %.0f %%\n", r.seconds,
           100 * r.rx_cpu / r.seconds,
           (unsigned long long)load_relaxed(&pl.status->counter[COUNTER_RX_STALLS]),
           100 * r.log_cpu / r.seconds);
    printf("disk alone: %.0f MB/s before, %.0f MB/s after\n", disk[0] / 1e6, disk[1] / 1e6);
    printf(
        "result messages_s=%.0f packets_s=%.0f bytes_s=%.0f bytes_a_message=%.1f disk_bytes_s=%.0f "
        "of_disk=%.3f lossless=%d\n",
        rate, rate / ((double)pl.traffic.loop_messages / opt.packets) * opt.lines, bytes,
        (double)r.bytes / (double)r.sent, best, best > 0 ? bytes / best : 0, ok);
    return ok ? 0 : 1;
}
