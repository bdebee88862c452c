/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_pipeline - wire to durable log on two cores:
 *
 *   packets in memory ─► rx (CPU 0): parse, two lines, ITCH, rows, CRC ─► ring
 *                     ─► log (CPU 1) ─► disk
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
#include "bench_disk.h"
#include "bench_front.h"
#include "log.h"

static struct options {
    uint64_t messages;
    unsigned lines, depth, per_packet, packets;
    uint64_t ring, preallocate;
    const char *directory;
    bool nolog, nolimit;
    enum log_level level;
} opt = {200000000, 2, 8, 38, 4096, 512ull << 20, 1ull << 30, ".", false, false, LOG_DURABLE};

static struct back {
    struct io *io;
    struct log *log;
    struct thread rx_thread, log_thread;
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

/* ---- set-up ---- */

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
        front_die(&e);
    }
    pl.io = io_ring_create(opt.depth + 8, &e);
    if (!pl.io)
        front_die(&e);
    struct log_config lc = {.io = pl.io,
                            .ring = &front.ring,
                            .symbols = &front.symbols,
                            .schemas = front.schemas,
                            .clock = &front.clock,
                            .status = front.status,
                            .directory = pl.directory,
                            .prefix = "log",
                            .instance_name = "bench",
                            .level = opt.level,
                            .depth = opt.depth,
                            .preallocate = opt.preallocate,
                            .retry_ns = NS_PER_S};
    pl.log = log_create(&lc, &e);
    if (!pl.log)
        front_die(&e);
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

/* Stands in for the log with -0. */
static int free_ring(void *arg)
{
    (void)arg;
    uint64_t tail = ring_tail(&front.ring);
    if (tail == load_relaxed(&front.ring.head->guard))
        return 0;
    store_release(&front.ring.head->durable, tail);
    store_release(&front.ring.head->guard, tail);
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
    return opt.level == LOG_DURABLE ? &front.ring.head->durable : &front.ring.head->written;
}

static struct result run(void)
{
    struct err e = {0};
    struct result r = {0};
    thread_define(&pl.rx_thread, front.status, "rx", &rx_ops, &front.rx, &front.clock, WAIT_SPIN, 0,
                  0);
    thread_define(&pl.log_thread, front.status, "log", opt.nolog ? &free_ops : &log_thread_ops,
                  pl.log, &front.clock, WAIT_ADAPTIVE, opt.nolog ? 0 : -10, 1);
    if (!thread_start(&pl.log_thread, &e))
        front_die(&e);
    uint64_t before = ring_tail(&front.ring);
    while (!opt.nolog && load_acquire(reached()) < before &&
           !load_relaxed(&front.status->log_errno))
        nap();
    double log_cpu = cpu_seconds(&pl.log_thread);
    int64_t t0 = clock_monotonic();
    if (!thread_start(&pl.rx_thread, &e))
        front_die(&e);
    while (!load_acquire(&front.rx.finished) && !load_relaxed(&front.status->log_errno))
        nap();
    r.rx_cpu = cpu_seconds(&pl.rx_thread);
    uint64_t end = ring_tail(&front.ring);
    while ((opt.nolog ? load_acquire(&front.ring.head->durable) : load_acquire(reached())) < end &&
           !load_relaxed(&front.status->log_errno))
        nap();
    r.seconds = (double)(clock_monotonic() - t0) / 1e9;
    r.log_cpu = cpu_seconds(&pl.log_thread) - log_cpu;
    r.bytes = end - before;
    r.sent = front.loops * front.traffic.loop_messages;
    thread_stop(&pl.rx_thread);
    if (load_relaxed(&front.status->log_errno)) {
        err_set(&e, -load_relaxed(&front.status->log_errno), "the log cannot write to %s: %s",
                pl.directory, strerror(load_relaxed(&front.status->log_errno)));
        front_die(&e);
    }
    if (!opt.nolog && !log_drain(pl.log, 10 * NS_PER_S)) {
        err_set(&e, -EIO, "%s: the last frames did not become durable in 10 s", pl.directory);
        front_die(&e);
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
    const struct status_feed *f = &front.status->feeds[0];
    struct feed_position p = {0};
    bool ok = feed_position(front.feed, 0, &p);
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
        front_die(&e);
    }
    struct front_config fc = {"bench_pipeline", opt.lines,    opt.per_packet,
                              opt.packets,      opt.messages, opt.ring};
    front_make(&fc);
    if (!opt.nolog)
        make_log();
    double disk[2] = {0};
    uint64_t about = opt.messages * 66;
    if (!opt.nolog && !opt.nolimit)
        disk[0] = limit(about);
    struct result r = run();
    bool ok = prove(r.sent + front.traffic.start_messages);
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
           (double)front.traffic.loop_messages / opt.packets,
           (unsigned long long)(ring_size(&front.ring) >> 20), front.ring.huge ? " huge" : "",
           opt.nolog ? "no disk" : levels[opt.level], opt.depth);
    printf("%.2f s  rx core %.0f %% busy, stalled %llu rounds; log core %.0f %%\n", r.seconds,
           100 * r.rx_cpu / r.seconds,
           (unsigned long long)load_relaxed(&front.status->counter[COUNTER_RX_STALLS]),
           100 * r.log_cpu / r.seconds);
    printf("disk alone: %.0f MB/s before, %.0f MB/s after\n", disk[0] / 1e6, disk[1] / 1e6);
    printf(
        "result messages_s=%.0f packets_s=%.0f bytes_s=%.0f bytes_a_message=%.1f disk_bytes_s=%.0f "
        "of_disk=%.3f lossless=%d\n",
        rate, rate / ((double)front.traffic.loop_messages / opt.packets) * opt.lines, bytes,
        (double)r.bytes / (double)r.sent, best, best > 0 ? bytes / best : 0, ok);
    return ok ? 0 : 1;
}
