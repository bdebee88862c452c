/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The built-in streaming analytics on a host that is a test's: what each subscriber holds (its
 * snapshot and what came after, merged by key) against a naive computation over all rows so far, at
 * any position, with subscribers that come and go at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <penstock/values.h>
#include "rtp_double.h"

#define SECOND   INT64_C(1000000000)
#define DAY      INT64_C(86400000000000)
#define DAY0     9823 /* 2026-11-23 */
#define COUNT(a) (sizeof(a) / sizeof *(a))

static uint64_t seed;
static uint64_t rnd(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

/* ---- rows ---- */

struct row {
    char sym[8], venue[8];
    int64_t time, size, journaled;
    double price;
    int32_t day;
};
static struct row row[40000];
static unsigned nrows;
static int64_t now; /* the journal's clock */
static int32_t today, ended;
static struct rtp_double *d;
static const struct pst_table *trade;
static const struct pst_column trade_columns[] = {{"time", PST_TIMESTAMP},
                                                  {"sym", PST_SYMBOL},
                                                  {"price", PST_FLOAT},
                                                  {"size", PST_LONG},
                                                  {"venue", PST_SYMBOL}};

static struct pst_value text(uint32_t type, const char *t)
{
    struct pst_value v = {.type = type};
    v.text = (struct pst_text){t, (uint32_t)strlen(t)};
    return v;
}

static void put(const char *sym, int64_t time, double price, int64_t size, const char *venue)
{
    struct row *r = &row[nrows++];
    *r = (struct row){.time = time, .size = size, .price = price};
    snprintf(r->sym, sizeof r->sym, "%s", sym);
    snprintf(r->venue, sizeof r->venue, "%s", venue);
    struct pst_value v[5] = {{.type = PST_TIMESTAMP, .i = time},
                             text(PST_SYMBOL, r->sym),
                             {.type = PST_FLOAT, .f = price},
                             {.type = PST_LONG, .i = size},
                             text(PST_SYMBOL, r->venue)};
    double_row(d, trade, v);
}

static void frame(unsigned from, int32_t day)
{
    for (unsigned i = from; i < nrows; i++) {
        row[i].day = day;
        row[i].journaled = now;
    }
    double_frame(d, now, day);
}

static void random_frame(int32_t day)
{
    static const char *const venues[] = {"XNAS", "ARCA", "BATS"};
    unsigned from = nrows, n = (unsigned)rnd(6);
    for (unsigned i = 0; i < n; i++) {
        char sym[8] = "";
        if (rnd(40)) /* else the null symbol */
            snprintf(sym, sizeof sym, "S%u", (unsigned)rnd(12));
        int64_t time = now - (int64_t)rnd(rnd(10) ? 5 : 400) * 10000000; /* often the same */
        if (!rnd(300))
            time = rnd(2) ? PST_NULL_TIMESTAMP : now + 2 * SECOND;
        put(sym, time, rnd(30) ? 90 + (double)rnd(2000) / 100 : NAN,
            rnd(30) ? (int64_t)rnd(9) * 100 : PST_NULL_LONG, venues[rnd(3)]);
    }
    frame(from, day);
}

/* ---- a text that grows ---- */

struct lines {
    char *at[20000];
    unsigned n;
};
static void line(struct lines *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void line(struct lines *l, const char *format, ...)
{
    char t[400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(t, sizeof t, format, ap);
    va_end(ap);
    assert_true(l->n < COUNT(l->at));
    l->at[l->n++] = strdup(t);
}
static void lines_free(struct lines *l)
{
    for (unsigned i = 0; i < l->n; i++)
        free(l->at[i]);
    l->n = 0;
}
static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}
static const char *number(double f, char out[40])
{
    snprintf(out, 40, isnan(f) ? "nan" : "%a", f);
    return out;
}

/* ---- subscribers ---- */

struct sub {
    const char *analytic;
    char parameters[300];
    /* the same as values */
    char syms[100], by[16], venues[24];
    int64_t interval, wait, every, window;
    double above, below, hysteresis, least;
    bool closed, full;
    unsigned rows, joined; /* rows before it */
    int32_t ended;
    /* what it has */
    int64_t uid;
    struct lines held; /* keyed: one a key */
    uint32_t key[PST_KEYS_MAX], nkeys;
};
#define SUBS_MAX 24
static struct sub *sub[SUBS_MAX];
static unsigned nsubs, joins, leaves, updates;

/* Fields `key` of a row's text. */
static void key_of(const struct sub *s, const char *text, char out[200])
{
    size_t n = 0;
    for (uint32_t k = 0; k < s->nkeys; k++) {
        const char *p = text;
        for (uint32_t i = 0; i < s->key[k]; i++)
            p = strchr(p, '|') + 1;
        size_t len = strcspn(p, "|") + 1;
        memcpy(out + n, p, len);
        n += len;
    }
    out[n] = 0;
}

static void merge(struct sub *s, const struct pst_result *r)
{
    if (s->full)
        lines_free(&s->held);
    for (uint32_t i = 0; i < r->nrows; i++) {
        unsigned k = s->held.n;
        char key[200], other[200];
        if (s->nkeys && !s->full) {
            key_of(s, r->row[i], key);
            for (k = 0; k < s->held.n; k++) {
                key_of(s, s->held.at[k], other);
                if (!strcmp(key, other))
                    break;
            }
        }
        if (k == s->held.n) {
            line(&s->held, "%s", r->row[i]);
        } else {
            free(s->held.at[k]);
            s->held.at[k] = strdup(r->row[i]);
        }
    }
}

static void published(void *arg, const char *analytic, int64_t uid, const struct pst_result *r)
{
    (void)arg;
    assert_true(r->nrows > 0);
    for (unsigned i = 0; i < nsubs; i++)
        if (sub[i]->uid == uid && !strcmp(sub[i]->analytic, analytic)) {
            updates++;
            merge(sub[i], r);
            return;
        }
    fail_msg("%s publishes to %lld, which has left", analytic, (long long)uid);
}

static bool wants_sym(const struct sub *s, const char *sym)
{
    size_t n = strlen(sym);
    for (const char *p = s->syms; *p; p += strcspn(p, ","), p += *p == ',')
        if (!strncmp(p, sym, n) && (!p[n] || p[n] == ','))
            return true;
    return !*s->syms;
}

/* ---- the naive computations ---- */

static int64_t floor_to(int64_t t, int64_t step)
{
    return (t / step - (t % step < 0)) * step;
}

static void naive_last(const struct sub *s, struct lines *out)
{
    for (unsigned i = 0; i < nrows; i++) {
        bool last = row[i].day > ended && wants_sym(s, row[i].sym);
        for (unsigned k = i + 1; k < nrows && last; k++)
            last = row[k].day <= ended || strcmp(row[k].sym, row[i].sym) != 0 ||
                   (*s->by && strcmp(row[k].venue, row[i].venue) != 0);
        char p[40];
        if (last && *s->by)
            line(out, "%s|%s|%s|", row[i].sym, row[i].venue, number(row[i].price, p));
        else if (last)
            line(out, "%s|%lld|%s|%lld|%s|", row[i].sym, (long long)row[i].time,
                 number(row[i].price, p), (long long)row[i].size, row[i].venue);
    }
}

static bool of_bar(const struct sub *s, const struct row *r)
{
    bool counts = !isnan(r->price) && r->time != PST_NULL_TIMESTAMP;
    if (!strcmp(s->analytic, "vwap"))
        counts = counts && r->size != PST_NULL_LONG && r->size > 0;
    return counts && r->day > ended && wants_sym(s, r->sym);
}
static int64_t bar_start(const struct sub *s, const struct row *r)
{
    return s->interval ? floor_to(r->time, s->interval) : r->day * DAY;
}
static void naive_bars(const struct sub *s, struct lines *out)
{
    static bool done[COUNT(row)];
    memset(done, 0, nrows);
    for (unsigned i = 0; i < nrows; i++) {
        if (done[i] || !of_bar(s, &row[i]))
            continue;
        int64_t start = bar_start(s, &row[i]), volume = 0, trades = 0;
        const struct row *first = &row[i], *last = &row[i];
        double high = -INFINITY, low = INFINITY, value = 0, weight = 0;
        for (unsigned k = i; k < nrows; k++) {
            const struct row *r = &row[k];
            if (r->day != row[i].day || strcmp(r->sym, row[i].sym) != 0 || !of_bar(s, r) ||
                bar_start(s, r) != start)
                continue;
            done[k] = true;
            first = r->time < first->time ? r : first;
            last = r->time >= last->time ? r : last;
            high = fmax(high, r->price);
            low = fmin(low, r->price);
            volume += r->size == PST_NULL_LONG ? 0 : r->size;
            value += r->price * (double)r->size;
            weight += (double)r->size;
            trades++;
        }
        bool closed = s->interval && start + s->interval + s->wait <= now;
        char a[40], b[40], c[40], e[40];
        if (s->closed && !closed)
            continue;
        if (!strcmp(s->analytic, "vwap"))
            line(out, "%d|%s|%lld|%s|%s|%lld|%d|", row[i].day, row[i].sym, (long long)start,
                 number(value / weight, a), number(weight, b), (long long)trades, closed);
        else
            line(out, "%d|%s|%lld|%s|%s|%s|%s|%lld|%lld|%d|", row[i].day, row[i].sym,
                 (long long)start, number(first->price, a), number(high, b), number(low, c),
                 number(last->price, e), (long long)volume, (long long)trades, closed);
    }
}

static void naive_rate(const struct sub *s, struct lines *out)
{
    int64_t to = floor_to(now, SECOND), from = to - s->window;
    for (unsigned i = 0; i < nrows; i++) {
        bool first = wants_sym(s, row[i].sym) && row[i].journaled < to;
        for (unsigned k = 0; k < i && first; k++)
            first = strcmp(row[k].sym, row[i].sym) != 0;
        int64_t messages = 0;
        double volume = 0, seconds = (double)s->window / 1e9;
        for (unsigned k = i; k < nrows && first; k++)
            if (!strcmp(row[k].sym, row[i].sym) && row[k].journaled >= from &&
                row[k].journaled < to) {
                messages++;
                volume += row[k].size == PST_NULL_LONG ? 0 : (double)row[k].size;
            }
        char a[40], b[40], c[40];
        if (first)
            line(out, "%s|%lld|%s|%s|%s|", row[i].sym, (long long)messages, number(volume, a),
                 number((double)messages / seconds, b), number(volume / seconds, c));
    }
}

static void naive_threshold(const struct sub *s, struct lines *out)
{
    for (unsigned i = 0; i < nrows; i++) {
        bool first = row[i].day > ended && wants_sym(s, row[i].sym);
        for (unsigned k = 0; k < i && first; k++)
            first = strcmp(row[k].sym, row[i].sym) != 0 || row[k].day <= ended;
        for (int side = 0; side < 2 && first; side++) {
            const struct row *last = NULL;
            bool active = false;
            double limit = side ? s->below : s->above;
            for (unsigned k = i; k < nrows; k++) {
                double p = row[k].price,
                       back = side ? limit + s->hysteresis : limit - s->hysteresis;
                if (strcmp(row[k].sym, row[i].sym) != 0 || isnan(p) || isnan(limit) ||
                    row[k].day <= ended)
                    continue;
                bool is = active ? (side ? p < back : p > back) : (side ? p < limit : p > limit);
                if (is != active)
                    last = &row[k];
                active = is;
            }
            char a[40], b[40];
            if (last)
                line(out, "%lld|%s|%s|%d|%s|%s|", (long long)last->time, last->sym,
                     side ? "below" : "above", active, number(last->price, a), number(limit, b));
        }
    }
}

/* All that it can have had: `rows` of before it came, then each. */
static void naive_filter(const struct sub *s, struct lines *out)
{
    struct lines *all = calloc(1, sizeof *all);
    for (unsigned i = 0; i < nrows; i++) {
        const struct row *r = &row[i];
        char a[40];
        if (i == s->joined)
            for (unsigned k = all->n > s->rows ? all->n - s->rows : 0; k < all->n; k++)
                line(out, "%s", all->at[k]);
        if ((i < s->joined && r->day <= s->ended) || !wants_sym(s, r->sym) ||
            (s->least > 0 && !(r->price >= s->least)) ||
            (*s->venues && strcmp(r->venue, "XNAS") != 0 && strcmp(r->venue, "ARCA") != 0))
            continue;
        line(i < s->joined ? all : out, "%s|%s|%lld|", r->sym, number(r->price, a),
             (long long)r->size);
    }
    if (s->joined == nrows)
        for (unsigned k = all->n > s->rows ? all->n - s->rows : 0; k < all->n; k++)
            line(out, "%s", all->at[k]);
    lines_free(all);
    free(all);
}

/* ---- what it holds is what it should hold ---- */

static void compare(const struct sub *s, struct lines *held, bool snapshot)
{
    static struct lines want;
    bool filter = !strcmp(s->analytic, "filter"), rate = !strcmp(s->analytic, "rate");
    if (filter)
        naive_filter(s, &want);
    else if (rate)
        naive_rate(s, &want);
    else if (!strcmp(s->analytic, "threshold"))
        naive_threshold(s, &want);
    else if (!strcmp(s->analytic, "last"))
        naive_last(s, &want);
    else
        naive_bars(s, &want);
    unsigned skip = 0; /* a snapshot of events: the last `rows` */
    if (filter && snapshot)
        skip = want.n > s->rows ? want.n - s->rows : 0;
    if (!filter)
        qsort((void *)want.at, want.n, sizeof *want.at, by_text);
    struct lines sorted = *held;
    for (unsigned i = 0; i < sorted.n && rate; i++)
        sorted.at[i] = strchr(sorted.at[i], '|') + 1; /* the time is not compared */
    if (!filter)
        qsort((void *)sorted.at, sorted.n, sizeof *sorted.at, by_text);
    if (sorted.n != want.n - skip)
        fail_msg("%s %s: %u rows, not %u", s->analytic, s->parameters, sorted.n, want.n - skip);
    for (unsigned i = 0; i < sorted.n; i++)
        if (strcmp(sorted.at[i], want.at[skip + i]) != 0)
            fail_msg("%s %s:\n%s is not\n%s", s->analytic, s->parameters, sorted.at[i],
                     want.at[skip + i]);
    lines_free(&want);
}

static void check(struct sub *s)
{
    if (s->every)
        double_flush(d);
    compare(s, &s->held, false);
}

/* ---- joining and leaving ---- */

static void choose(struct sub *s)
{
    static const char *const analytics[] = {"last", "ohlc", "vwap", "threshold", "filter", "rate"};
    static const char *const syms[] = {"", "S1", "S1,S2", "S3,S7,S11,S1", "S5,S99", "S0,S2,S4"};
    char *p = s->parameters, *end = p + sizeof s->parameters;
    memset(s, 0, sizeof *s);
    s->analytic = analytics[rnd(COUNT(analytics))];
    snprintf(s->syms, sizeof s->syms, "%s", syms[rnd(COUNT(syms))]);
    p += snprintf(p, (size_t)(end - p), "table=trade syms=%s", s->syms);
    bool bars = !strcmp(s->analytic, "ohlc") || !strcmp(s->analytic, "vwap");
    bool last = !strcmp(s->analytic, "last"), rate = !strcmp(s->analytic, "rate");
    if (bars || last || rate) {
        s->full = !rnd(4);
        p += snprintf(p, (size_t)(end - p), " full=%d", s->full);
    }
    if (bars || last) {
        s->every = rnd(4) ? 0 : 700000000;
        p += snprintf(p, (size_t)(end - p), " every=%lld", (long long)s->every);
    }
    if (last && rnd(2)) {
        snprintf(s->by, sizeof s->by, "venue");
        p += snprintf(p, (size_t)(end - p), " by=venue columns=price");
    }
    if (bars) {
        s->interval = (int64_t[]){0, SECOND, 5 * SECOND}[rnd(3)];
        s->wait = rnd(2) ? 0 : SECOND / 2;
        s->closed = rnd(2);
        p += snprintf(p, (size_t)(end - p), " full=%d", s->full);
        snprintf(p, (size_t)(end - p), " interval=%lld wait=%lld closed=%d", (long long)s->interval,
                 (long long)s->wait, s->closed);
    }
    if (rate) {
        s->window = (rnd(2) ? 3 : 10) * SECOND;
        snprintf(p, (size_t)(end - p), " size=size window=%lld", (long long)s->window);
    }
    if (!strcmp(s->analytic, "threshold")) {
        s->above = rnd(4) ? 108 : NAN;
        s->below = isnan(s->above) || rnd(2) ? 92 : NAN;
        s->hysteresis = rnd(2) ? 0 : 3;
        p += snprintf(p, (size_t)(end - p), " column=price hysteresis=%g", s->hysteresis);
        if (!isnan(s->above))
            p += snprintf(p, (size_t)(end - p), " above=%g", s->above);
        if (!isnan(s->below))
            snprintf(p, (size_t)(end - p), " below=%g", s->below);
    }
    if (!strcmp(s->analytic, "filter")) {
        s->rows = rnd(2) ? 0 : 20;
        p += snprintf(p, (size_t)(end - p), " columns=sym,price,size rows=%u", s->rows);
        if (rnd(2)) {
            s->least = 100.5;
            p += snprintf(p, (size_t)(end - p), " where=price>=100.5");
            if (rnd(2)) {
                snprintf(s->venues, sizeof s->venues, "XNAS|ARCA");
                snprintf(p, (size_t)(end - p), ",venue=XNAS|ARCA");
            }
        }
    }
}

static void join(void)
{
    struct sub *s = calloc(1, sizeof *s);
    choose(s);
    s->joined = nrows;
    s->ended = ended;
    s->uid = double_subscribe(d, s->analytic, s->parameters);
    if (s->uid < 0)
        fail_msg("%s %s: %s", s->analytic, s->parameters, double_error(d));
    sub[nsubs++] = s;
    joins++;
    struct pst_result *r = double_snapshot(d, s->analytic, s->uid);
    assert_int_equal(r->full, s->full);
    s->nkeys = r->nkeys;
    memcpy(s->key, r->key, sizeof s->key);
    lines_free(&s->held); /* what was published before the snapshot is in it */
    merge(s, r);
    double_drop(r);
    check(s);
}

static void leave(unsigned i)
{
    struct sub *s = sub[i];
    double_unsubscribe(d, s->analytic, s->uid);
    sub[i] = sub[--nsubs];
    lines_free(&s->held);
    free(s);
    leaves++;
}

static void again(struct sub *s)
{
    static struct lines l;
    struct pst_result *r = double_snapshot(d, s->analytic, s->uid);
    for (uint32_t i = 0; i < r->nrows; i++)
        line(&l, "%s", r->row[i]);
    double_drop(r);
    compare(s, &l, true);
    lines_free(&l);
}

static void begin(void)
{
    seed = 88172645463325252ull;
    nrows = nsubs = joins = leaves = updates = 0;
    today = DAY0;
    ended = DAY0 - 1;
    now = DAY0 * DAY + 9 * 3600 * SECOND;
    d = double_new();
    double_builtins(d);
    double_on_publish(d, published, NULL);
    trade = double_table(d, "trade", trade_columns, COUNT(trade_columns));
}

static void finish(void)
{
    while (nsubs)
        leave(0);
    assert_int_equal(double_results(d), 0); /* nothing is left behind */
    uint64_t before = double_counted(d)->delivered;
    double_frame(d, now + SECOND, today);
    assert_int_equal(double_counted(d)->delivered, before); /* nothing is wanted */
    double_free(d);
}

static void comes_and_goes(void **state)
{
    (void)state;
    begin();
    /* rates count a symbol from when it is asked for: here from the beginning */
    int64_t rate[2] = {double_subscribe(d, "rate", "table=trade size=size window=3000000000"),
                       double_subscribe(d, "rate", "table=trade size=size")};
    double_on_publish(d, NULL, NULL);
    for (unsigned i = 0; i < 40; i++) {
        now += (int64_t)rnd(300) * 1000000;
        random_frame(today);
    }
    for (unsigned k = 0; k < 2; k++) { /* known to the test as subscribers of all */
        struct sub *s = sub[nsubs++] = calloc(1, sizeof *s);
        s->analytic = "rate";
        s->uid = rate[k];
        s->window = k ? 10 * SECOND : 3 * SECOND;
        struct pst_result *r = double_snapshot(d, "rate", s->uid);
        s->nkeys = r->nkeys;
        memcpy(s->key, r->key, sizeof s->key);
        merge(s, r);
        double_drop(r);
    }
    double_on_publish(d, published, NULL);
    for (unsigned n = 0; joins < 1000; n++) {
        now += (int64_t)rnd(rnd(50) ? 6 : 300) * 10000000;
        if (rnd(8))
            random_frame(n % 400 > 380 && rnd(2) ? today + 1 : today);
        else
            double_tick(d, now += SECOND / 10); /* what a tick is at least */
        if (nsubs < SUBS_MAX && rnd(2))
            join();
        if (nsubs > 12 || (nsubs > 2 && !rnd(3)))
            leave(2 + (unsigned)rnd(nsubs - 2));
        check(sub[rnd(nsubs)]);
        if (!rnd(10))
            again(sub[rnd(nsubs)]);
        if (n % 400 != 399)
            continue;
        double_flush(d);
        for (unsigned i = nsubs; i-- > 0;) /* these begin with the open day when they come again */
            if (!strcmp(sub[i]->analytic, "last") || !strcmp(sub[i]->analytic, "threshold"))
                leave(i);
        double_eod(d, today);
        ended = today++;
        for (unsigned i = 0; i < nsubs; i++) {
            struct sub *s = sub[i];
            if (strcmp(s->analytic, "ohlc") != 0 && strcmp(s->analytic, "vwap") != 0)
                continue;
            for (unsigned k = s->held.n; k-- > 0;)
                if (atoi(s->held.at[k]) <= ended) { /* over, and said to be closed */
                    const char *t = s->held.at[k];
                    assert_string_equal(t + strlen(t) - 3, "|1|");
                    free(s->held.at[k]);
                    s->held.at[k] = s->held.at[--s->held.n];
                }
        }
    }
    for (unsigned i = 0; i < nsubs; i++)
        check(sub[i]);
    print_message("%u joins, %u leaves, %u updates, %u rows, %d days\n", joins, leaves, updates,
                  nrows, today - DAY0 + 1);
    assert_true(leaves > 900 && updates > 2000 && ended > DAY0);
    finish();
}

/* ---- what else they promise ---- */

static void refused(const char *analytic, const char *parameters, const char *sentence)
{
    assert_int_equal(double_subscribe(d, analytic, parameters), -1);
    if (!strstr(double_error(d), sentence))
        fail_msg("%s %s: %s", analytic, parameters, double_error(d));
}

static void parameters(void **state)
{
    static const struct {
        const char *analytic, *given, *sentence;
    } bad[] = {{"filter", "table=trades", "There is no table trades."},
               {"filter", "table=trade columns=sym,prize", "has no column prize"},
               {"filter", "table=trade where=price", "is no condition on a column of trade"},
               {"filter", "table=trade where=prize>1", "is no condition on a column of trade"},
               {"filter", "table=trade where=price>abc", "abc is no value for column price"},
               {"filter", "table=trade where=size>1.5", "1.5 is no value for column size"},
               {"filter", "table=trade where=venue>XNAS", "column venue has a type that"},
               {"filter", "table=trade where=time>5", "5 is no value for column time"},
               {"filter", "table=trade where=time='2026.11.23", "is no value for column time"},
               {"filter", "table=trade where=time=date'2026.11.23'x", "is no value for column"},
               {"filter", "table=trade where=time=day'2026.11.23'", "is no value for column time"},

               {"filter", "table=trade rows=10001", "rows is 0 to 10000"},
               {"last", "table=trade by=prize", "has no column prize that a key can have"},
               {"last", "table=trade columns=prize", "has no column prize"},
               {"last", "table=trade every=-1", "every is not below 0"},
               {"ohlc", "table=trade price=venue", "Column venue of trade is no number"},
               {"ohlc", "table=trade interval=5", "interval is 1 ms to a day"},
               {"vwap", "table=trade size=lots", "has no column lots (parameter size)"},
               {"vwap", "table=trade wait=-1", "wait and every are 0 to a day"},
               {"rate", "table=trade every=300000000", "window a multiple of it"},
               {"threshold", "table=trade column=price", "Give a limit"},
               {"threshold", "table=trade column=price above=1 hysteresis=-1", "hysteresis is 0"},
               {".monPublic.sub", "", "There is no table monCPU."}};
    (void)state;
    begin();
    for (unsigned i = 0; i < COUNT(bad); i++)
        refused(bad[i].analytic, bad[i].given, bad[i].sentence);
    double_no_history(d, true);
    now += SECOND;
    random_frame(today);
    refused("last", "table=trade syms=S1,S2", "rebuilt");
    refused("ohlc", "table=trade", "rebuilt");
    refused("filter", "table=trade rows=5", "rebuilt");
    int64_t uid = double_subscribe(d, "vwap", "table=trade history=0 syms=S1");
    assert_true(uid >= 0);
    double_unsubscribe(d, "vwap", uid);
    finish();
}

/* Equal subscriptions are computed once; rows that nobody wants cost nothing; nothing empty goes.
 */
static void shared(void **state)
{
    (void)state;
    begin();
    struct double_counts *c = double_counted(d);
    double_on_publish(d, NULL, NULL);
    for (unsigned i = 0; i < 100; i++) {
        now += SECOND / 10;
        random_frame(today);
    }
    int64_t uid[1000];
    for (unsigned i = 0; i < 1000; i++)
        uid[i] =
            double_subscribe(d, "ohlc", i % 2 ? "table=trade syms=S1" : "table=trade syms=S1,S2");
    assert_int_equal(c->history, 1); /* what is followed already is not read again */
    uint64_t add = c->add, published = c->published;
    put("S3", now, 100, 1, "XNAS"); /* nobody's */
    frame(nrows - 1, today);
    assert_int_equal(c->add, add);
    assert_int_equal(c->published, published);
    assert_int_equal(c->empty, 0);
    put("S2", now, 100, 1, "XNAS"); /* of half of them: once in each */
    put("S2", now, 101, 1, "XNAS");
    frame(nrows - 2, today);
    assert_int_equal(c->add, add + 500);
    assert_int_equal(c->published, published + 500);
    for (unsigned i = 0; i < 1000; i++)
        double_unsubscribe(d, "ohlc", uid[i]);
    finish();
}

static struct lines heard;
static void hear(void *arg, const char *analytic, int64_t uid, const struct pst_result *r)
{
    (void)arg, (void)analytic;
    for (uint32_t i = 0; i < r->nrows; i++)
        line(&heard, "%lld: %s", (long long)uid, r->row[i]);
}
static void said(const char *const *want, unsigned n)
{
    for (unsigned i = 0; i < heard.n && i < n; i++)
        assert_string_equal(heard.at[i], want[i]);
    assert_int_equal(heard.n, n);
    lines_free(&heard);
}
#define SAID(...)                                                                                  \
    said((const char *const[]){"", __VA_ARGS__} + 1, COUNT(((const char *[]){"", __VA_ARGS__})) - 1)

/* Each crossing is told, also two in one frame. */
static void crossings(void **state)
{
    (void)state;
    begin();
    double_on_publish(d, hear, NULL);
    int64_t uid =
        double_subscribe(d, "threshold", "table=trade column=price above=100 hysteresis=2");
    static const double price[] = {99, 100, 101, 103, 99, 101, 98, 100, 102};
    for (unsigned i = 0; i < COUNT(price); i++) {
        put("A", now + i, price[i], 1, "");
        frame(nrows - 1, today);
    }
    assert_int_equal(heard.n, 3); /* raised at 101, cleared at 98, raised at 102 */
    assert_non_null(strstr(heard.at[0], "|A|above|1|0x1.94p+6|"));
    assert_non_null(strstr(heard.at[1], "|A|above|0|0x1.88p+6|"));
    assert_non_null(strstr(heard.at[2], "|A|above|1|0x1.98p+6|"));
    lines_free(&heard);
    put("A", now, 50, 1, "");
    put("A", now, 150, 1, "");
    frame(nrows - 2, today);
    assert_int_equal(heard.n, 2);
    lines_free(&heard);
    double_unsubscribe(d, "threshold", uid);
    finish();
}

/* Conditions on columns of dates and times. */
static void temporal(void **state)
{
    static const struct pst_column columns[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"expiry", PST_DATE}, {"month", PST_MONTH},
        {"age", PST_TIMESPAN},   {"at", PST_MINUTE},  {"sec", PST_SECOND},  {"clock", PST_TIME}};
    static const struct {
        const char *where, *syms;
    } want[] = {{"time>=2026.11.23D00:00:01", "BC"},
                {"time<timestamp'2026-11-23T01:00:01+01:00'", "A"},
                {"time>2026.11.23D00:00:00.5,time<=2026.11.23D00:00:01", "B"},
                {"time<>2026.11.23", "BC"},
                {"expiry=2026.11.23|date'2026-11-25'", "AC"},
                {"expiry>2026-11-23", "BC"},
                {"month<2026.12m", "AB"},
                {"age>=1s", "BC"},
                {"age<interval'2s'", "AB"},
                {"age=0D00:00:02", "C"},
                {"at>=00:01", "BC"},
                {"sec='00:00:02'", "C"},
                {"clock<=time'00:00:00.001'", "AB"}};
    (void)state;
    begin();
    double_on_publish(d, hear, NULL);
    const struct pst_table *t = double_table(d, "option", columns, COUNT(columns));
    for (unsigned i = 0; i < COUNT(want); i++) {
        char given[200], got[8] = "";
        snprintf(given, sizeof given, "table=option columns=sym where=%s", want[i].where);
        int64_t uid = double_subscribe(d, "filter", given);
        if (uid < 0)
            fail_msg("%s: %s", want[i].where, double_error(d));
        for (int k = 0; k < 4; k++) { /* A, B, C, and a row of nulls */
            struct pst_value v[COUNT(columns)];
            for (unsigned c = 0; c < COUNT(columns); c++)
                v[c] = k < 3 ? pst_int_value(columns[c].type, k) : pst_null_value(columns[c].type);
            v[1] = text(PST_SYMBOL, (const char *[]){"A", "B", "C", "N"}[k]);
            if (k < 3) {
                v[0].i = DAY0 * 86400 * SECOND + k * SECOND;
                v[2].i = DAY0 + k;
                v[3].i = 26 * 12 + 9 + k;
                v[4].i = k * SECOND;
            }
            double_row(d, t, v);
        }
        double_frame(d, now, today);
        for (unsigned k = 0; k < heard.n && k < 4; k++)
            strncat(got, strchr(heard.at[k], ' ') + 1, 1);
        lines_free(&heard);
        if (strcmp(got, want[i].syms) != 0)
            fail_msg("%s: %s, not %s", want[i].where, got, want[i].syms);
        double_unsubscribe(d, "filter", uid);
    }
    finish();
}

/* A new version of the table: without a column, with one of another type. */
static void versions(void **state)
{
    static const struct pst_column fewer[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"size", PST_FLOAT}, {"price", PST_FLOAT}};
    (void)state;
    begin();
    double_on_publish(d, hear, NULL);
    int64_t a = double_subscribe(d, "filter", "table=trade columns=sym,price,size,venue");
    int64_t b = double_subscribe(d, "last", "table=trade");
    int64_t c = double_subscribe(d, "ohlc", "table=trade interval=0");
    assert_true(a != -1 && b != -1 && c != -1);
    put("A", now, 2, 3, "X");
    frame(nrows - 1, today);
    lines_free(&heard);
    trade = double_table(d, "trade", fewer, 4);
    struct pst_value v[4] = {{.type = PST_TIMESTAMP, .i = 7},
                             text(PST_SYMBOL, "A"),
                             {.type = PST_FLOAT, .f = 1},
                             {.type = PST_FLOAT, .f = 4}};
    double_row(d, trade, v);
    double_frame(d, now, today);
    char rows[2][100];
    snprintf(rows[0], 100, "%lld: A|0x1p+2|%lld||", (long long)a, (long long)PST_NULL_LONG);
    snprintf(rows[1], 100, "%lld: A|7|0x1p+2|%lld||", (long long)b, (long long)PST_NULL_LONG);
    SAID(rows[0], rows[1]); /* size is of another type: no bar counts it */
    double_unsubscribe(d, "filter", a);
    double_unsubscribe(d, "last", b);
    double_unsubscribe(d, "ohlc", c);
    /* new subscriptions take it as it is; volume is then a float */
    a = double_subscribe(d, "ohlc", "table=trade interval=0");
    if (a < 0)
        fail_msg("%s", double_error(d));
    double_row(d, trade, v);
    double_frame(d, now, today);
    assert_int_equal(heard.n, 1);
    assert_non_null(strstr(heard.at[0], "|A|"));
    assert_non_null(strstr(heard.at[0], "|0x1p+1|2|0|")); /* 1 of history, 1 now */
    lines_free(&heard);
    double_unsubscribe(d, "ohlc", a);
    finish();
}

static void bounded(void **state)
{
    (void)state;
    begin();
    double_on_publish(d, hear, NULL);
    double_option(d, "max_keys", "3");
    int64_t uid = double_subscribe(d, "last", "table=trade columns=sym");
    static const char *const syms[] = {"A", "B", "C", "D", "E", "A"};
    for (unsigned i = 0; i < COUNT(syms); i++) {
        put(syms[i], now, 1, 1, "");
        frame(nrows - 1, today);
    }
    assert_int_equal(heard.n, 4);
    assert_string_equal(double_error(d),
                        "3 keys are kept (max_keys): rows of further ones are left "
                        "out, 2 so far.");
    lines_free(&heard);
    double_unsubscribe(d, "last", uid);
    finish();
}

/* Rates by the clock alone: they fall to nothing when no frame comes. */
static void rates(void **state)
{
    (void)state;
    begin();
    double_on_publish(d, hear, NULL);
    int64_t uid = double_subscribe(d, "rate", "table=trade size=size window=0D00:00:02");
    for (unsigned i = 0; i < 10; i++) {
        put("A", now, 1, 10, "");
        frame(nrows - 1, today);
    }
    assert_int_equal(heard.n, 0);
    for (unsigned i = 1; i < 40; i++)
        double_tick(d, now + i * SECOND / 10);
    char rows[2][100];
    snprintf(rows[0], 100, "%lld: %lld|A|10|0x1.9p+6|0x1.4p+2|0x1.9p+5|", (long long)uid,
             (long long)(now + SECOND));
    snprintf(rows[1], 100, "%lld: %lld|A|0|0x0p+0|0x0p+0|0x0p+0|", (long long)uid,
             (long long)(now + 3 * SECOND));
    SAID(rows[0], rows[1]);
    double_unsubscribe(d, "rate", uid);
    finish();
}

/* The textbook: three servers, an update, a late joiner, a filter, nobody. */
static void textbook(void **state)
{
    static const struct pst_column columns[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"server", PST_SYMBOL}, {"cpu", PST_FLOAT}};
    static const char *const servers[] = {"server1", "server2", "server3"};
    const char *name = ".monPublic.sub";
    (void)state;
    begin();
    const struct pst_table *mon = double_table(d, "monCPU", columns, 4);
    double_on_publish(d, hear, NULL);
#define CPU(server, value)                                                                         \
    double_row(d, mon,                                                                             \
               (struct pst_value[]){{.type = PST_TIMESTAMP, .i = 1},                               \
                                    text(PST_SYMBOL, "log"),                                       \
                                    text(PST_SYMBOL, server),                                      \
                                    {.type = PST_FLOAT, .f = value}})
    for (unsigned i = 0; i < 3; i++)
        CPU(servers[i], i + 1);
    double_frame(d, now, today);
    assert_int_equal(double_counted(d)->delivered, 0); /* nobody listens */
    int64_t all = double_subscribe(d, name, "");
    int64_t two = double_subscribe(d, name, "syms=server2,server3");
    assert_int_equal(two, all + 1);
    struct pst_result *s = double_snapshot(d, name, two);
    assert_int_equal(s->nrows, 2);
    assert_string_equal(s->row[0], "1|log|server2|0x1p+1|");
    assert_int_equal(s->nkeys, 2);
    double_drop(s);
    CPU("server1", 4);
    double_frame(d, now, today);
    char told[2][100];
    snprintf(told[0], 100, "%lld: 1|log|server1|0x1p+2|", (long long)all);
    SAID(told[0]);
    int64_t late = double_subscribe(d, name, "syms=log");
    s = double_snapshot(d, name, late);
    assert_int_equal(s->nrows, 3);
    assert_string_equal(s->row[0], "1|log|server1|0x1p+2|");
    double_drop(s);
    double_unsubscribe(d, name, all);
    CPU("server3", 8);
    CPU("server3", 16);
    double_frame(d, now, today);
    snprintf(told[0], 100, "%lld: 1|log|server3|0x1p+4|", (long long)late);
    snprintf(told[1], 100, "%lld: 1|log|server3|0x1p+4|", (long long)two);
    SAID(told[0], told[1]);
    s = double_snapshot(d, name, 1000); /* an id that nobody has */
    assert_int_equal(s->nrows, 0);
    double_drop(s);
    double_unsubscribe(d, name, two);
    double_unsubscribe(d, name, late);
    CPU("server3", 32);
    double_frame(d, now, today);
    SAID();
    finish();
}

/* The same files as shared objects. */
static void objects(void **state)
{
    static const char *const names[] = {"filter", "last",      "moncpu", "ohlc",
                                        "rate",   "threshold", "vwap"};
    (void)state;
    begin();
    double_free(d);
    d = double_new();
    for (unsigned i = 0; i < COUNT(names); i++) {
        char file[500];
        snprintf(file, sizeof file, "%s/analytic_%s_so.so", PST_OBJECTS, names[i]);
        if (!double_load(d, file))
            fail_msg("%s does not load", file);
    }
    double_on_publish(d, hear, NULL);
    trade = double_table(d, "trade", trade_columns, COUNT(trade_columns));
    int64_t a = double_subscribe(d, "last", "table=trade columns=price");
    int64_t b = double_subscribe(d, "vwap", "table=trade");
    assert_int_equal(a, 0); /* each has its own ids */
    assert_int_equal(b, 0);
    put("A", now, 2, 3, "X");
    frame(nrows - 1, today);
    assert_int_equal(heard.n, 2);
    assert_string_equal(heard.at[0], "0: A|0x1p+1|");
    lines_free(&heard);
    double_unsubscribe(d, "last", a);
    double_unsubscribe(d, "vwap", b);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_and_goes), cmocka_unit_test(parameters), cmocka_unit_test(temporal),
        cmocka_unit_test(shared),         cmocka_unit_test(crossings),  cmocka_unit_test(versions),
        cmocka_unit_test(bounded),        cmocka_unit_test(rates),      cmocka_unit_test(textbook),
        cmocka_unit_test(objects)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
