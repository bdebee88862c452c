/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_ack: acknowledged messages, in batches of 1, 10, 100, 1,000 messages of 64 bytes.
 *   build/perf/bench_ack [-s SECONDS] [DIRECTORY]      (default: 2 s each, /tmp; a real disk)
 *
 * penstock   rows through the appender into the ring, the log thread to a file, level durable;
 *            a batch is acknowledged when the durable position has passed it, then the next begins
 * bare       a loop of O_DIRECT|O_DSYNC writes of the same bytes at the same places: each from the
 *            block where the last one ended to the block where this one ends
 * Both write over a file that was written before, in turns of 50 ms, so that what else the disk
 * does hits both.
 *
 * One line each: "ack batch=N who=W messages_s=R p50_us=L p99_us=L".
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>
#include "appender.h"
#include "core/tables.h"
#include "log.h"

#define RING    (64ull << 20)
#define FILESZ  (2ull << 30)
#define BLOCK   4096u
#define MESSAGE 64u
#define TURN    (50 * NS_PER_MS)
#define SAMPLES (1u << 21)

static char dir[256];

struct side {
    int64_t *took;
    uint32_t n;
    uint64_t messages;
    int64_t spent;
};

struct rig {
    struct ring ring;
    struct symbols symbols;
    struct clock clock;
    struct status *status;
    struct schema_set *schemas;
    struct appender app;
    struct log *log;
    struct log_config cfg;
    struct thread thread;
    const struct schema *table;
    uint32_t sym[4];
    uint64_t seq;
};

static int64_t now_ns(void)
{
    return clock_monotonic();
}

static void write_zeros(const char *path, uint64_t bytes)
{
    static uint8_t zero[1 << 20];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    pst_must(fd >= 0);
    for (uint64_t at = 0; at < bytes; at += sizeof zero)
        pst_must(write(fd, zero, sizeof zero) == (ssize_t)sizeof zero);
    pst_must(fsync(fd) == 0 && close(fd) == 0);
}

static const struct schema *add(struct schema_set *set, struct schema *s)
{
    struct err e;
    bool fresh;
    const struct schema *out = schema_set_intern(set, s, &fresh, &e);
    pst_must(out);
    return out;
}

static void rig_start(struct rig *r)
{
    static const struct column_def columns[] = {{"a", PST_LONG}, {"b", PST_LONG}, {"c", PST_LONG},
                                                {"d", PST_LONG}, {"e", PST_LONG}, {"f", PST_LONG}};
    struct err e;
    struct schema s;
    char path[300];
    memset(r, 0, sizeof *r);
    clock_init_real(&r->clock);
    r->status = status_create("bench", &e);
    r->schemas = schema_set_new();
    pst_must(r->schemas && symbols_create(&r->symbols, 1024, &e) &&
             ring_create(&r->ring, RING, 4096, 7, false, &e));
    pst_must(tables_gap(&s, &e));
    add(r->schemas, &s);
    pst_must(tables_undecoded(&s, &e));
    add(r->schemas, &s);
    pst_must(schema_make(&s, 0, "message", true, columns, PST_COUNT(columns), &e));
    r->table = add(r->schemas, &s);
    pst_must(r->table->fixed == MESSAGE);
    uint16_t day = (uint16_t)(clock_now(&r->clock) / NS_PER_DAY);
    struct appender_config ac = {.ring = &r->ring,
                                 .symbols = &r->symbols,
                                 .schemas = r->schemas,
                                 .status = r->status,
                                 .clock = &r->clock,
                                 .open_day = day,
                                 .last_time = INT64_MIN,
                                 .max_new_symbols = 100};
    pst_must(appender_init(&r->app, &ac, &e));
    snprintf(path, sizeof path, "%s/logspare.0", dir);
    write_zeros(path, FILESZ);
    r->cfg = (struct log_config){.io = io_best_create(64, &e),
                                 .ring = &r->ring,
                                 .symbols = &r->symbols,
                                 .schemas = r->schemas,
                                 .clock = &r->clock,
                                 .status = r->status,
                                 .directory = dir,
                                 .prefix = "log",
                                 .level = LOG_DURABLE,
                                 .depth = 8,
                                 .preallocate = FILESZ,
                                 .open_day = {day},
                                 .retry_ns = NS_PER_S};
    pst_must(r->log = log_create(&r->cfg, &e));
    thread_define(&r->thread, r->status, "log", &log_thread_ops, r->log, &r->clock, WAIT_ADAPTIVE,
                  0, -1);
    pst_must(thread_start(&r->thread, &e));
    usleep(200 * 1000); /* it takes the prepared file */
    static const char *const texts[4] = {"feed", "session", "A", "SYM"};
    for (int i = 0; i < 4; i++)
        r->sym[i] = rows_symbol(&r->app.rows, texts[i], (uint32_t)strlen(texts[i]));
    appender_flush(&r->app);
}

static void rig_stop(struct rig *r)
{
    thread_stop(&r->thread);
    log_destroy(r->log);
    io_destroy(r->cfg.io);
    appender_fini(&r->app);
    ring_close(&r->ring);
    symbols_close(&r->symbols);
    schema_set_free(r->schemas);
    status_destroy(r->status);
}

/* One batch; bytes of its frame (the largest, should it have become several). */
static uint32_t rig_batch(struct rig *r, uint32_t n)
{
    struct rows *rows = &r->app.rows;
    uint64_t from = r->ring.w_tail;
    int64_t now = clock_now(&r->clock);
    appender_begin(&r->app, now);
    struct run run = {.seq = r->seq,
                      .rxtime = now,
                      .feed = r->sym[0],
                      .session = r->sym[1],
                      .line = r->sym[2],
                      .day = (uint16_t)r->app.rows.min_day[0]};
    rows_run(rows, &run);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *p = rows_reserve(rows, MESSAGE);
        memset(p, (int)(r->seq + i), MESSAGE);
        *(struct record *)p = (struct record){r->table->id, MESSAGE, r->sym[3], now};
        rows_commit(rows, MESSAGE);
    }
    appender_flush(&r->app);
    r->seq += n;
    uint64_t tail = r->ring.w_tail;
    /* A client that waits gives its CPU away: where there are only two, the kernel's worker that
     * completes the write may stand behind this thread. */
    for (unsigned spins = 0; load_acquire(&r->ring.head->durable) < tail;)
        if (++spins % 64)
            cpu_relax();
        else
            sched_yield();
    return (uint32_t)(tail - from);
}

static void note(struct side *s, uint32_t n, int64_t took)
{
    if (s->n < SAMPLES)
        s->took[s->n++] = took;
    s->messages += n;
    s->spent += took;
}

static void turn_log(struct rig *r, struct side *s, uint32_t n, uint32_t *bytes)
{
    for (int64_t end = now_ns() + TURN, t0; (t0 = now_ns()) < end;) {
        *bytes = rig_batch(r, n);
        note(s, n, now_ns() - t0);
    }
}

static void turn_bare(int fd, uint8_t *buf, uint64_t *at, struct side *s, uint32_t n,
                      uint32_t bytes)
{
    for (int64_t end = now_ns() + TURN, t0; (t0 = now_ns()) < end;) {
        uint64_t from = *at / BLOCK * BLOCK, to = pst_align_up(*at + bytes, BLOCK);
        if (to > FILESZ) {
            *at = 0;
            continue;
        }
        memset(buf + (*at - from), (int)s->n, bytes);
        pst_must(pwrite(fd, buf, to - from, (off_t)from) == (ssize_t)(to - from));
        *at += bytes;
        note(s, n, now_ns() - t0);
    }
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void say(const char *who, uint32_t batch, struct side *s)
{
    qsort(s->took, s->n, sizeof *s->took, by_value);
    printf("ack batch=%u who=%s messages_s=%.0f p50_us=%.1f p99_us=%.1f\n", batch, who,
           (double)s->messages / ((double)s->spent / 1e9), (double)s->took[s->n / 2] / 1e3,
           (double)s->took[s->n * 99ull / 100] / 1e3);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const uint32_t batches[] = {1, 10, 100, 1000};
    const char *base = "/tmp";
    double seconds = 2;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-s") && i + 1 < argc)
            seconds = atof(argv[++i]);
        else
            base = argv[i];
    }
    snprintf(dir, sizeof dir, "%.200s/bench_ack.XXXXXX", base);
    pst_must(mkdtemp(dir) && seconds > 0);
    char bare[300], cmd[400];
    snprintf(bare, sizeof bare, "%s/bare", dir);
    write_zeros(bare, FILESZ);
    static struct rig rig;
    uint8_t *buf = aligned_alloc(BLOCK, 1 << 20);
    pst_must(buf);
    memset(buf, 0, 1 << 20);
    for (unsigned b = 0; b < PST_COUNT(batches); b++) {
        struct side log = {.took = malloc(SAMPLES * sizeof(int64_t))},
                    loop = {.took = malloc(SAMPLES * sizeof(int64_t))};
        pst_must(log.took && loop.took);
        int fd = open(bare, O_WRONLY | O_DIRECT | O_DSYNC);
        pst_must(fd >= 0);
        uint64_t at = 0;
        uint32_t bytes = 0;
        rig_start(&rig);
        for (int i = 0; i < 100; i++)
            bytes = rig_batch(&rig, batches[b]);
        for (int64_t end = now_ns() + (int64_t)(seconds * 2e9); now_ns() < end;) {
            turn_log(&rig, &log, batches[b], &bytes);
            turn_bare(fd, buf, &at, &loop, batches[b], bytes);
        }
        say("penstock", batches[b], &log);
        say("bare", batches[b], &loop);
        rig_stop(&rig);
        close(fd);
        snprintf(cmd, sizeof cmd, "rm -f %s/log*", dir);
        pst_must(system(cmd) == 0);
        free(log.took);
        free(loop.took);
    }
    free(buf);
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd) != 0;
}
