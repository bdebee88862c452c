/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_log: the log beside its limits, in the same run and directory.
 *   build/perf/bench_log [DIRECTORY]            (default /tmp; needs fio and 5 GB)
 *
 *   throughput  the log thread from a full ring to files, against fio (io_uring, O_DIRECT, O_DSYNC,
 *               1 MiB, depth 8) on a file in the same state: fallocated, and written before
 *   latency     one frame with one 64-byte row, wait until durable, against a bare
 *               O_DIRECT|O_DSYNC pwrite of one block over a written file
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "log.h"

#define BYTES  (2ull << 30)
#define ROUNDS 4000
#define BLOCK  4096
#define FRAME  65536u
#define RINGSZ (256ull << 20)

static const char *base = "/tmp";
static char dir[256];

static void shell(const char *fmt, const char *a)
{
    char cmd[700];
    snprintf(cmd, sizeof cmd, fmt, a);
    pst_must(system(cmd) == 0);
}

struct rig {
    struct ring ring;
    struct symbols symbols;
    struct clock clock;
    struct status *st;
    struct log *log;
    struct log_config cfg;
    struct thread thread;
};

static void rig_start(struct rig *r, uint64_t preallocate)
{
    struct err e;
    memset(r, 0, sizeof *r);
    clock_init_real(&r->clock);
    r->st = status_create("bench", &e);
    pst_must(symbols_create(&r->symbols, 1024, &e) &&
             ring_create(&r->ring, RINGSZ, 4096, 7, false, &e));
    struct io *io = io_best_create(64, &e);
    printf("# log backend %s\n", io->ops->name);
    r->cfg = (struct log_config){.io = io,
                                 .ring = &r->ring,
                                 .symbols = &r->symbols,
                                 .clock = &r->clock,
                                 .status = r->st,
                                 .directory = dir,
                                 .prefix = "log",
                                 .level = LOG_DURABLE,
                                 .depth = 8,
                                 .preallocate = preallocate,
                                 .retry_ns = NS_PER_S};
    r->log = log_create(&r->cfg, &e);
    pst_must(r->log);
    thread_define(&r->thread, r->st, "log", &log_thread_ops, r->log, &r->clock, WAIT_ADAPTIVE, 0,
                  -1);
    pst_must(thread_start(&r->thread, &e));
    usleep(100 * 1000); /* it takes the prepared file */
}

static void rig_stop(struct rig *r)
{
    thread_stop(&r->thread);
    log_destroy(r->log);
    io_destroy(r->cfg.io);
    ring_close(&r->ring);
    symbols_close(&r->symbols);
    status_destroy(r->st);
    shell("rm -f %s/*", dir);
}

static void put(struct rig *r, uint8_t *buf, uint32_t length)
{
    struct frame *f = (struct frame *)buf;
    *f = (struct frame){.length = length,
                        .position = r->ring.w_tail,
                        .time = clock_now(&r->clock),
                        .kind = FRAME_DATA,
                        .day = 9000};
    frame_seal(f, r->ring.head->seed);
    while (ring_free(&r->ring, length) < length)
        cpu_relax();
    ring_write(&r->ring, f, length);
    ring_publish(&r->ring);
}

static void wait_durable(struct rig *r)
{
    while (load_acquire(&r->ring.head->durable) < r->ring.w_tail)
        cpu_relax();
}

static double log_throughput(bool written)
{
    static uint8_t buf[FRAME] pst_aligned(64);
    struct rig r;
    memset(buf, 0xA5, sizeof buf);
    if (written)
        shell("head -c 2200M /dev/zero > %s/logspare.0 && sync", dir);
    rig_start(&r, written ? 2200ull << 20 : 3ull << 30);
    put(&r, buf, 4096);
    wait_durable(&r);
    int64_t t0 = clock_monotonic();
    for (uint64_t n = 0; n < BYTES; n += FRAME)
        put(&r, buf, FRAME);
    wait_durable(&r);
    double s = (double)(clock_monotonic() - t0) / 1e9;
    rig_stop(&r);
    return (double)BYTES / s / 1e6;
}

static double fio_throughput(bool written)
{
    char cmd[700];
    if (written)
        shell("head -c 2G /dev/zero > %s/fio && sync", dir);
    snprintf(
        cmd, sizeof cmd,
        "fio --name=x --filename=%s/fio --rw=write --bs=1M --iodepth=8 --direct=1 --sync=dsync "
        "--ioengine=io_uring --size=2G --fallocate=%s --overwrite=%d --output-format=terse "
        "--terse-version=3 2>/dev/null",
        dir, written ? "none" : "native", written);
    FILE *p = popen(cmd, "r");
    char line[4096] = "";
    double kb = 0;
    if (p && fgets(line, sizeof line, p)) { /* field 48: write bandwidth, KiB/s */
        char *f = line;
        for (int i = 1; i < 48 && f; i++)
            f = strchr(f, ';') ? strchr(f, ';') + 1 : NULL;
        kb = f ? atof(f) : 0;
    }
    if (p)
        pclose(p);
    shell("rm -f %s/fio", dir);
    return kb * 1024 / 1e6;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int64_t p50, p99;
static void quantiles(int64_t *v)
{
    qsort(v, ROUNDS, sizeof *v, by_value);
    p50 = v[ROUNDS / 2];
    p99 = v[ROUNDS * 99 / 100];
}

static void bare_latency(int64_t *v)
{
    char path[300];
    snprintf(path, sizeof path, "%s/bare", dir);
    shell("head -c 64M /dev/zero > %s/bare && sync", dir);
    int fd = open(path, O_RDWR | O_DIRECT | O_DSYNC);
    uint8_t *b = aligned_alloc(BLOCK, BLOCK);
    pst_must(fd >= 0 && b);
    memset(b, 1, BLOCK);
    for (int i = 0; i < ROUNDS; i++) {
        int64_t t0 = clock_monotonic();
        pst_must(pwrite(fd, b, BLOCK, (off_t)(i / 40) * BLOCK) == BLOCK);
        v[i] = clock_monotonic() - t0;
    }
    close(fd);
    free(b);
    unlink(path);
    quantiles(v);
}

static void log_latency(int64_t *v)
{
    static uint8_t buf[FRAME] pst_aligned(64);
    struct rig r;
    memset(buf, 0x5A, sizeof buf);
    shell("head -c 64M /dev/zero > %s/logspare.0 && sync", dir);
    rig_start(&r, 64 << 20);
    put(&r, buf, 96);
    wait_durable(&r);
    usleep(300 * 1000);
    for (int i = 0; i < ROUNDS; i++) {
        int64_t t0 = clock_monotonic();
        put(&r, buf, FRAME_HEADER + 64);
        wait_durable(&r);
        v[i] = clock_monotonic() - t0;
    }
    rig_stop(&r);
    quantiles(v);
}

int main(int argc, char **argv)
{
    static int64_t v[ROUNDS];
    if (argc > 1)
        base = argv[1];
    snprintf(dir, sizeof dir, "%s/bench_logXXXXXX", base);
    if (!mkdtemp(dir)) {
        perror(dir);
        return 2;
    }
    for (int written = 0; written < 2; written++) {
        double f1 = fio_throughput(written), l = log_throughput(written),
               f2 = fio_throughput(written), f = (f1 + f2) / 2;
        printf("throughput %-10s log %7.0f MB/s   fio %7.0f %7.0f MB/s   log/fio %.2f\n",
               written ? "written" : "fallocated", l, f1, f2, f > 0 ? l / f : 0);
    }
    bare_latency(v);
    int64_t b1 = p50, b1p99 = p99;
    log_latency(v);
    int64_t l50 = p50, l99 = p99;
    bare_latency(v);
    printf("durable ack        log p50 %.1f us p99 %.1f   bare pwrite p50 %.1f %.1f us p99 %.1f   "
           "log/bare %.2f\n",
           (double)l50 / 1e3, (double)l99 / 1e3, (double)b1 / 1e3, (double)p50 / 1e3,
           (double)b1p99 / 1e3, (double)l50 / ((double)(b1 + p50) / 2));
    shell("rm -rf %s", dir);
    return 0;
}
