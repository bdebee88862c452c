/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_orders - the processor `orders` on one core, 2 million orders resting.
 *
 * The simulator's order flow (8,906 names, the mix of a real day) is decoded into journal frames of
 * 64 KiB, packets of 38 messages; first so many adds, untimed, then the messages that are timed.
 *   frames    the processor: struct pst_frame walked, order map and books kept, rows of trade and
 *             bbo emitted into a small host double
 *   plain     the same order map and books, by a plain C loop over an array of decoded messages
 *             (56 bytes each), the same rows written as plain structs; messages looked at ahead,
 *             too
 *   simple    the same loop without looking ahead
 * Each is the median of -n runs, in CPU time of the thread; all must make equal rows and sums. The
 * last line is frames against plain. --one: only frames, for perf stat. Exit 1 when anything
 * differs.
 */
#include <getopt.h>
#include <math.h>
#include <time.h>
#include "tests/unit/orders_double.h"
#include "control/rtp/builtin/orders_stream.h"
#include "sim/flow.h"

static struct options {
    uint64_t resting, messages;
    uint32_t runs, names;
    bool one;
} opt = {2000000, 4000000, 5, 8906, false};

struct msg { /* a decoded message */
    int64_t ref, newref, match;
    double price;
    uint32_t sym, shares;
    char type, side, printable;
    uint32_t when;
};
static struct msg *msg;
static uint64_t nmsg, first_timed;
static uint32_t frames_fill;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- input ---- */

static void make(void)
{
    struct flow f;
    struct flow_msg m;
    struct err err;
    if (!flow_make(&f, SIM_ITCH, opt.names, 1, &err)) {
        fprintf(stderr, "bench_orders: %s\n", err.text);
        exit(1);
    }
    f.fill = opt.resting;
    uint64_t seq = 0, fill = 0;
    while (fill < opt.resting) {
        flow_next(&f, (int64_t)seq * 500, &m);
        fill += m.type == 'A';
        if (seq++ % 38 == 0)
            od_run("itch", "S", seq, 0, OD_DAY);
        od_message(m.bytes, m.len);
    }
    od_flush(&od.rows);
    frames_fill = od.frames;
    for (uint64_t i = 0; i < opt.messages; i++) {
        flow_next(&f, (int64_t)seq * 500, &m);
        if (seq++ % 38 == 0) {
            od.rows.run.rxtime = 0; /* a new packet: a new run */
            od_run("itch", "S", seq, 0, OD_DAY);
        }
        od_message(m.bytes, m.len);
    }
    od_flush(&od.rows);
    flow_free(&f);
}

/* The decoded messages of the two tables, from the same frames. */
static void decode(void)
{
    msg = malloc((opt.resting + opt.messages) * sizeof *msg);
    pst_must(msg);
    const struct schema *o = &od.in[0].schema, *t = &od.in[1].schema;
    struct {
        unsigned ref, newref, match, price, shares, type, side, printable;
    } at[2];
    for (int k = 0; k < 2; k++) {
        const struct schema *s = k ? t : o;
#define AT(name) s->col[schema_column(s, name)].offset
        at[k].ref = AT("ref");
        at[k].newref = k ? 0 : AT("newref");
        at[k].match = AT("match");
        at[k].price = AT("price");
        at[k].shares = AT("shares");
        at[k].type = AT("type");
        at[k].side = AT("side");
        at[k].printable = k ? 0 : AT("printable");
    }
    for (uint32_t i = 0; i < od.frames; i++) {
        struct pst_frame f = {.records = od.frame[i].records,
                              .records_end = od.frame[i].records + od.frame[i].bytes,
                              .table = od.table};
        struct pst_row row;
        if (i == frames_fill)
            first_timed = nmsg;
        for (struct pst_walk w = pst_walk(&f); pst_next(&w, &row);) {
            int k = row.table->id == t->id;
            const uint8_t *r = row.record;
            msg[nmsg] = (struct msg){.ref = (int64_t)le64(r + at[k].ref),
                                     .newref = k ? 0 : (int64_t)le64(r + at[k].newref),
                                     .match = (int64_t)le64(r + at[k].match),
                                     .sym = pst_row_sym(&row),
                                     .shares = (uint32_t)le64(r + at[k].shares),
                                     .type = (char)r[at[k].type],
                                     .side = (char)r[at[k].side],
                                     .printable = k ? 'Y' : (char)r[at[k].printable],
                                     .when = (uint32_t)nmsg};
            memcpy(&msg[nmsg++].price, r + at[k].price, 8);
        }
    }
}

/* ---- sums over rows, to compare ---- */

struct sum {
    uint64_t trades, bbos, trade, bbo;
};
static uint64_t bits(double v)
{
    uint64_t b;
    memcpy(&b, &v, 8);
    return v != v ? 1 : b;
}
static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

/* ---- the plain loop ---- */

struct plain_trade {
    int64_t match, ref, size;
    double price;
    uint32_t sym, when;
    char type, side, printable;
};
struct plain_bbo {
    struct orders_top top;
    uint32_t sym, when;
};
static struct plain {
    struct orders_stream *s;
    struct plain_trade *trade;
    struct plain_bbo *bbo;
    uint64_t trades, bbos;
} plain;

static inline void plain_tell(uint32_t book)
{
    struct orders_book *k = orders_book(&plain.s->books, book);
    if (orders_book_changed(&plain.s->books, k))
        plain.bbo[plain.bbos++] = (struct plain_bbo){k->told, k->sym, 0};
}

static inline void plain_one(const struct msg *m)
{
    struct orders_stream *s = plain.s;
    struct orders_hit hit;
    if (m->type == 'A' || m->type == 'F') {
        uint32_t book = orders_book_find(&s->books, m->sym);
        if (!book)
            book = orders_book_make(&s->books, m->sym);
        pst_must(orders_add(s, m->ref, book, m->side == 'S', m->price, m->shares, &hit));
        if (hit.best)
            plain_tell(book);
        return;
    }
    if (m->type == 'P' || m->type == 'Q' || m->type == 'B') {
        plain.trade[plain.trades++] = (struct plain_trade){
            m->match, m->ref, m->shares, m->price, m->sym, m->when, m->type, m->side, m->printable};
        return;
    }
    struct orders_slot *slot = orders_map_find(&s->map, m->ref);
    if (!slot)
        return;
    struct orders_hit was = orders_look(s, slot);
    uint32_t n =
        m->type == 'D' || m->type == 'U' || m->shares > slot->shares ? slot->shares : m->shares;
    if (m->type == 'E' || m->type == 'C')
        plain.trade[plain.trades++] = (struct plain_trade){
            m->match,    m->ref,  m->shares, m->type == 'E' ? was.price : m->price,
            m->sym,      m->when, m->type,   was.ask ? 'S' : 'B',
            m->printable};
    bool best = orders_take(s, slot, n);
    if (m->type == 'U') {
        pst_must(orders_add(s, m->newref, was.book, was.ask, m->price, m->shares, &hit));
        best |= hit.best;
    }
    if (best)
        plain_tell(was.book);
}

ORDERS_AHEAD void plain_look(const struct msg *m)
{
    const struct orders_stream *s = plain.s;
    orders_map_prefetch(&s->map, m->ref);
    if (m->type == 'U')
        orders_map_prefetch(&s->map, m->newref);
    __builtin_prefetch(orders_book(&s->books, orders_book_find(&s->books, m->sym)), 1);
}
static uint32_t plain_level[64]; /* of the messages looked at */
ORDERS_AHEAD void plain_look_level(const struct msg *m, uint64_t i)
{
    const struct orders_stream *s = plain.s;
    if (m->type == 'A' || m->type == 'F') {
        orders_side_prefetch(&s->books, orders_book_find(&s->books, m->sym), m->side == 'S');
        return;
    }
    const struct orders_slot *slot = orders_map_find(&s->map, m->ref);
    plain_level[i % 64] = slot ? slot->level : 0;
    __builtin_prefetch(orders_level(&s->books, plain_level[i % 64]), 1);
}
ORDERS_AHEAD void plain_look_side(const struct msg *m, uint64_t i)
{
    const struct orders_stream *s = plain.s;
    if (m->type == 'A' || m->type == 'F') {
        orders_price_prefetch(&s->books, orders_book_find(&s->books, m->sym), m->side == 'S',
                              m->price);
        return;
    }
    uint32_t side = orders_level(&s->books, plain_level[i % 64])->side;
    orders_side_prefetch(&s->books, side >> 1, side & 1);
}

static double run_plain(bool ahead, struct sum *sum)
{
    plain.s = orders_stream_make(1, 2, OD_DAY, "S", 1, 1000000);
    if (!plain.trade) {
        plain.trade = malloc(opt.messages * sizeof *plain.trade);
        plain.bbo = malloc((opt.messages + opt.resting) * sizeof *plain.bbo);
        pst_must(plain.trade && plain.bbo);
        memset(plain.trade, 0, opt.messages * sizeof *plain.trade);
        memset(plain.bbo, 0, (opt.messages + opt.resting) * sizeof *plain.bbo);
        memset(plain_level, 0, sizeof plain_level);
    }
    plain.trades = plain.bbos = 0;
    for (uint64_t i = 0; i < first_timed; i++)
        plain_one(&msg[i]);
    plain.trades = plain.bbos = 0;
    double t = seconds();
    if (ahead) {
        for (uint64_t i = first_timed; i < nmsg; i++) {
            if (i + 60 < nmsg)
                plain_look(&msg[i + 60]);
            if (i + 24 < nmsg)
                plain_look_level(&msg[i + 24], i + 24);
            if (i + 12 < nmsg)
                plain_look_side(&msg[i + 12], i + 12);
            plain_one(&msg[i]);
        }
    } else {
        for (uint64_t i = first_timed; i < nmsg; i++)
            plain_one(&msg[i]);
    }
    t = seconds() - t;
    *sum = (struct sum){plain.trades, plain.bbos, 0, 0};
    for (uint64_t i = 0; i < plain.trades; i++) {
        const struct plain_trade *p = &plain.trade[i];
        sum->trade = mix(mix(mix(sum->trade, bits(p->price)), p->sym), (uint64_t)p->match);
    }
    for (uint64_t i = 0; i < plain.bbos; i++) {
        const struct plain_bbo *p = &plain.bbo[i];
        sum->bbo = mix(mix(mix(sum->bbo, p->sym), p->top.bsize ? bits(p->top.bid) : 1),
                       p->top.asize ? bits(p->top.ask) : 1);
        sum->bbo = mix(mix(sum->bbo, (uint64_t)p->top.bsize), (uint64_t)p->top.asize);
    }
    orders_stream_free(plain.s);
    return t;
}

/* ---- the processor ---- */

static void sum_emitted(struct sum *sum)
{
    const struct schema *t = &od.out[ORDERS_TRADE].schema, *b = &od.out[ORDERS_BBO].schema;
    const struct schema *s = t;
    unsigned price = AT("price"), match = AT("match");
    s = b;
    unsigned bid = AT("bid"), ask = AT("ask"), bsize = AT("bsize"), asize = AT("asize");
    *sum = (struct sum){0};
    for (size_t at = 0; at < od.emitted_bytes; at += le16(od.emitted + at + 2)) {
        const uint8_t *r = od.emitted + at;
        double v, w;
        if (le16(r) == t->id) {
            memcpy(&v, r + price, 8);
            sum->trade = mix(mix(mix(sum->trade, bits(v)), le32(r + 4)), le64(r + match));
            sum->trades++;
        } else {
            memcpy(&v, r + bid, 8);
            memcpy(&w, r + ask, 8);
            sum->bbo = mix(mix(mix(sum->bbo, le32(r + 4)), bits(v)), bits(w));
            sum->bbo = mix(mix(sum->bbo, le64(r + bsize)), le64(r + asize));
            sum->bbos++;
        }
    }
}

static double worst_frame;

static double run_frames(struct sum *sum)
{
    od.wrap = !sum;
    free(od.emitted);
    od.emitted = NULL;
    od.emitted_room = 0;
    od_begin();
    for (uint32_t i = 0; i < frames_fill; i++) {
        double w = seconds();
        pst_must(od_give(&od.frame[i]) == 0);
        w = seconds() - w;
        worst_frame = w > worst_frame ? w : worst_frame;
    }
    if (sum)
        od.emitted_bytes = 0;
    double t = seconds();
    for (uint32_t i = frames_fill; i < od.frames; i++)
        pst_must(od_give(&od.frame[i]) == 0);
    t = seconds() - t;
    if (sum)
        sum_emitted(sum);
    return t;
}

/* ---- ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
static double show(const char *name, double *t, uint32_t n)
{
    qsort(t, n, sizeof *t, by_value);
    double m = t[n / 2], rows = (double)(nmsg - first_timed);
    printf("%-8s %6.2f M messages/s  %6.1f ns a message  (%.1f to %.1f)\n", name, rows / m / 1e6,
           m / rows * 1e9, t[0] / rows * 1e9, t[n - 1] / rows * 1e9);
    return m;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"one", no_argument, NULL, 'o'},
                                            {"resting", required_argument, NULL, 'r'},
                                            {"messages", required_argument, NULL, 'm'},
                                            {"names", required_argument, NULL, 's'},
                                            {"runs", required_argument, NULL, 'n'},
                                            {0}};
    int c;
    while ((c = getopt_long(argc, argv, "n:", options, NULL)) != -1) {
        if (c == 'o')
            opt.one = true;
        else if (c == 'r')
            opt.resting = strtoull(optarg, NULL, 10);
        else if (c == 'm')
            opt.messages = strtoull(optarg, NULL, 10);
        else if (c == 's')
            opt.names = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'n')
            opt.runs = (uint32_t)strtoul(optarg, NULL, 10);
        else
            return 2;
    }
    if (!opt.runs || opt.runs > 99 || !opt.messages || !opt.resting) {
        fprintf(stderr, "usage: bench_orders [--resting N] [--messages N] [--names N] [-n RUNS] "
                        "[--one]\n");
        return 2;
    }
    od_open(0);
    make();
    decode();
    printf("%llu orders resting at first, %llu messages of %llu, %u frames\n",
           (unsigned long long)opt.resting, (unsigned long long)(nmsg - first_timed),
           (unsigned long long)opt.messages, od.frames - frames_fill);
    double frames[99], with[99], without[99];
    struct sum a, b, d;
    if (opt.one) {
        for (uint32_t i = 0; i < opt.runs; i++)
            frames[i] = run_frames(NULL);
        show("frames", frames, opt.runs);
        return 0;
    }
    run_frames(&a);
    worst_frame = 0;
    for (uint32_t i = 0; i < opt.runs; i++) { /* in turns: the machine is shared */
        frames[i] = run_frames(NULL);
        with[i] = run_plain(true, &b);
        without[i] = run_plain(false, &d);
    }
    double f = show("frames", frames, opt.runs), p = show("plain", with, opt.runs);
    double s = show("simple", without, opt.runs);
    const struct pst_value *v = od_counts();
    printf("%lld orders resting at last, %lld levels, %lld bytes: %.1f an order\n",
           (long long)v[4].i, (long long)v[5].i, (long long)v[7].i,
           (double)v[7].i / (double)v[4].i);
    printf("%llu trades, %llu bbo\n", (unsigned long long)a.trades, (unsigned long long)a.bbos);
    printf("longest frame while the map grew: %.1f ms\n", worst_frame * 1e3);
    printf("frames / plain: %.2f   frames / simple: %.2f\n", f / p, f / s);
    if (memcmp(&a, &b, sizeof a) || memcmp(&a, &d, sizeof a)) {
        printf("rows DIFFER: %llu %llu against %llu %llu\n", (unsigned long long)a.trades,
               (unsigned long long)a.bbos, (unsigned long long)b.trades,
               (unsigned long long)b.bbos);
        return 1;
    }
    od_close();
    return 0;
}
