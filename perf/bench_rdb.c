/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_rdb - frames in the ring to columns in memory, row lists included, on one core.
 *
 * The ring is filled by the data plane with the simulator's order flow (96 % itch_order; 38
 * messages a packet, frames as the appender makes them); then nothing else runs and the RDB takes
 * it, a cut each 64 KiB:
 *   append  rdb_append on the frames where they lie in the ring; memory faulted ahead
 *   step    rdb_step: through the cursor, which copies and validates; memory faulted ahead
 *   cold    append into memory that the kernel has not given yet
 *   again   append into the extents of a day that was released
 *   limit   the bare traffic of append: frames read once, as many bytes as the columns and lists
 *           have written once, in one stream, by plain stores
 * Each is the median of `-n` runs. Every run checks rows and a sum over a column and the lists
 * against the frames. Exit 1 when one differs.
 */
#include <getopt.h>
#include "bench_front.h"
#include "rdb.h"

static struct options {
    unsigned runs, per_packet, packets;
    uint64_t ring;
    bool order_only;
} opt = {5, 38, 65536, 512ull << 20, false};

static struct {
    const uint8_t *first;
    uint64_t bytes, rows, order_rows, frames, shares; /* shares: sum over itch_order */
    uint64_t from, to;
    uint16_t order_table;
    unsigned shares_offset, shares_column;
} in;

/* Of this thread: others on the machine take turns, not time from the figures. */
static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- input ---- */

static void fill(void)
{
    uint64_t tail = 0;
    for (;;) {
        rx_round(&front.rx);
        appender_flush(&front.appender);
        if (ring_tail(&front.ring) == tail || ring_free(&front.ring, 0) < (4u << 20))
            break;
        tail = ring_tail(&front.ring);
    }
    const struct schema *s = schema_set_find(front.schemas, "itch_order");
    in.order_table = s->id;
    in.shares_column = (unsigned)schema_column(s, "shares");
    in.shares_offset = s->col[in.shares_column].offset;
    in.from = front.ring.head->start;
    in.to = ring_tail(&front.ring);
    in.first = front.ring.data + (in.from & front.ring.mask);
    in.bytes = in.to - in.from;
    for (const uint8_t *at = in.first; at < in.first + in.bytes;
         at += ((const struct frame *)at)->length) {
        const struct frame *f = (const struct frame *)at;
        in.frames++;
        if (f->kind != FRAME_DATA && f->kind != FRAME_GAP)
            continue;
        struct record_walk w;
        const struct record *r;
        record_walk_start(&w, f);
        while ((r = record_walk_next(&w))) {
            in.rows++;
            if (r->table == in.order_table) {
                in.order_rows++;
                in.shares += le64((const uint8_t *)r + in.shares_offset);
            }
        }
    }
}

/* ---- runs ---- */

static struct rdb *make(uint64_t bytes, bool faulted)
{
    struct err e = {0};
    struct rdb_config c = {.bytes = bytes, .symbols_max = 65536, .ahead = faulted ? UINT32_MAX : 0};
    struct rdb *r = rdb_create(&c, &e);
    if (!r)
        front_die(&e);
    while (faulted && rdb_idle(r))
        ;
    return r;
}

static double append(struct rdb *r)
{
    uint64_t since = 0;
    double t = seconds();
    for (const uint8_t *at = in.first; at < in.first + in.bytes;) {
        const struct frame *f = (const struct frame *)at;
        rdb_append(r, front.schemas, f);
        at += f->length;
        if ((since += f->length) >= 65536) {
            rdb_publish(r);
            since = 0;
        }
    }
    rdb_publish(r);
    return seconds() - t;
}

static double step(struct rdb *r)
{
    struct err e = {0};
    struct io *io = io_posix_create(&e);
    struct cursor_config cc = {.io = io, .prefix = "none", .ring = &front.ring};
    struct cursor c;
    if (!io || !cursor_open(&c, &cc, &e))
        front_die(&e);
    for (unsigned i = TABLE_FIRST; i < front.schemas->count; i++)
        if (schema_set_get(front.schemas, i))
            pst_must(schema_set_add(c.dict.schemas, schema_set_get(front.schemas, i), &e));
    cursor_seek(&c, in.from);
    double t = seconds();
    while (rdb_step(r, &c, 1 << 20, NULL) == RDB_ROUND_MORE)
        ;
    t = seconds() - t;
    cursor_close(&c);
    io_destroy(io);
    return t;
}

static void check(const struct rdb *r, const char *what)
{
    struct rdb_figures f;
    struct rdb_cut *cut = malloc(sizeof *cut);
    struct rdb_part_name name;
    struct rdb_part_view v;
    struct err e = {0};
    uint64_t rows = 0, shares = 0, listed = 0, ids = 0;
    rdb_figures(r, &f);
    pst_must(cut && rdb_cut_read(rdb_map_of(r), cut));
    for (uint32_t i = 0; i < cut->nparts; i++) {
        if (!rdb_part_name(rdb_map_of(r), i, cut->part[i].generation, &name) ||
            name.table != in.order_table)
            continue;
        if (!rdb_part_open(rdb_map_of(r), i, name.table, name.day, cut->part[i].rows, &v, &e))
            front_die(&e);
        rows += v.rows;
        struct rdb_chunk_view k;
        for (uint32_t c = 0; c < v.chunks; c++) {
            pst_must(rdb_chunk_open(&v, c, &k));
            for (uint32_t n = 0; n < k.rows; n++)
                shares += ((const uint64_t *)k.col[in.shares_column])[n];
        }
        for (uint32_t s = 0; s <= v.syms; s++) {
            struct rdb_list_view l;
            const uint32_t *id;
            pst_must(rdb_list_open(&v, s < v.syms ? s : PST_NULL_SYMBOL, &l));
            for (uint32_t n; (n = rdb_list_next(&l, &id)); listed += n)
                for (uint32_t j = 0; j < n; j++)
                    ids += id[j];
        }
        ids -= (uint64_t)v.rows * (v.rows - 1) / 2; /* each row number once */
    }
    free(cut);
    if (f.rows == in.rows && rows == in.order_rows && shares == in.shares && listed == rows &&
        !ids && !f.bad_rows && !f.refused_rows)
        return;
    fprintf(stderr,
            "bench_rdb: %s: %llu rows of %llu, %llu orders of %llu, shares %s, %llu listed%s, "
            "%llu bad, %llu refused\n",
            what, (unsigned long long)f.rows, (unsigned long long)in.rows, (unsigned long long)rows,
            (unsigned long long)in.order_rows, shares == in.shares ? "same" : "differ",
            (unsigned long long)listed, ids ? " wrongly" : "", (unsigned long long)f.bad_rows,
            (unsigned long long)f.refused_rows);
    exit(1);
}

static double limit(uint8_t *to, uint64_t bytes)
{
    uint64_t sum[8] = {0};
    double t = seconds();
    const uint64_t *p = (const uint64_t *)in.first;
    uint64_t words = in.bytes / 8, out = 0;
    for (uint64_t i = 0; i + 8 <= words; i += 8) {
        for (unsigned j = 0; j < 8; j++)
            sum[j] += p[i + j];
        /* the writes keep pace with the reads */
        uint64_t upto = (i + 8) * bytes / words / 8;
        for (; out + 8 <= upto; out += 8)
            memcpy(to + out * 8, sum, 64);
    }
    t = seconds() - t;
    __asm__ volatile("" ::"r"(to) : "memory");
    return t;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
static double median(double *t)
{
    qsort(t, opt.runs, sizeof *t, by_value);
    return t[opt.runs / 2];
}

int main(int argc, char **argv)
{
    int c;
    while ((c = getopt(argc, argv, "n:m:p:r:")) != -1) {
        if (c == 'n')
            opt.runs = (unsigned)atoi(optarg);
        else if (c == 'm')
            opt.per_packet = (unsigned)atoi(optarg);
        else if (c == 'p')
            opt.packets = (unsigned)atoi(optarg);
        else if (c == 'r')
            opt.ring = strtoull(optarg, NULL, 10) << 20;
        else
            opt.runs = 0;
        if (!opt.runs || opt.runs > 99 || !opt.per_packet || !opt.packets || !opt.ring) {
            fputs("bench_rdb [-n RUNS] [-m MESSAGES IN A PACKET] [-p PACKETS IN THE LOOP] "
                  "[-r RING, MiB]\n",
                  stderr);
            return 2;
        }
    }
    front_make(&(struct front_config){"bench_rdb", 1, opt.per_packet, opt.packets, 0, opt.ring});
    fill();
    front_pin(1);
    /* columns and lists: at most 1.8 bytes for each of the frames' */
    uint64_t memory = pst_align_up(in.bytes * 9 / 4 + (96ull << 20), RDB_EXTENT);
    static double t[5][100];
    uint64_t used = 0;
    for (unsigned i = 0; i < opt.runs; i++) {
        struct rdb_day_info day[RDB_DAYS];
        struct rdb *r = make(memory, true);
        t[0][i] = append(r);
        check(r, "append");
        pst_must(rdb_days(r, day) == 1);
        used = day[0].bytes;
        rdb_close(r);
        r = make(memory, true);
        t[1][i] = step(r);
        check(r, "step");
        rdb_close(r);
        r = make(memory, false);
        t[2][i] = append(r);
        check(r, "cold");
        /* the end of that day, and the next one in its place */
        static uint64_t mark[64];
        uint32_t n = frame_build_mark(mark, MARK_EOD, "{}", 2);
        struct frame *f = (struct frame *)mark;
        f->position = in.to;
        f->day = day[0].day;
        pst_must(n);
        rdb_append(r, front.schemas, f);
        pst_must(rdb_days(r, day) == 1 && rdb_release_day(r, day[0].slot, day[0].generation));
        while (rdb_idle(r))
            ;
        t[3][i] = append(r);
        rdb_close(r);
        uint8_t *to = aligned_alloc(4096, pst_align_up(used, 4096));
        pst_must(to);
        memset(to, 1, used);
        t[4][i] = limit(to, used);
        free(to);
    }
    static const char *const name[] = {"append", "step", "cold", "again", "limit"};
    double base = 0;
    printf("%llu rows, %.1f %% itch_order, %llu frames, %.0f bytes a row in, %.0f out\n",
           (unsigned long long)in.rows, 100.0 * (double)in.order_rows / (double)in.rows,
           (unsigned long long)in.frames, (double)in.bytes / (double)in.rows,
           (double)used / (double)in.rows);
    for (int i = 4; i >= 0; i--) {
        double s = median(t[i]);
        base = i == 4 ? s : base;
        printf("result %-6s rows_per_s=%.1fM best=%.1fM ns_per_row=%.1f of_limit=%.2f\n", name[i],
               (double)in.rows / s / 1e6, (double)in.rows / t[i][0] / 1e6,
               s * 1e9 / (double)in.rows, base / s);
    }
    return 0;
}
