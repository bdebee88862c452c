/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_analytics - what the built-in streaming analytics cost, a message and a subscription, on
 * one core: rows of frames in, rows of results out, without processes and sockets.
 *   build/perf/bench_analytics [-n RUNS] [-r ROWS]
 *
 * Rows of a table time, sym, price, size (48 bytes a record), 1,000 symbols at random, frames of
 * 200 rows, a day's minute in all. Results are appended to columns and thrown away at each publish.
 * Subscriptions: one to everything; one, 100 or 1,000 symbols each by one; 100 different ones; and
 * 10,000 to symbols that never come (symbols 0); and
 * 10,000 over the 100 (what the Query Manager shares, here computed 10,000 times). The plain loop
 * appends every row to the columns of one result and nothing else. Each figure is the median of
 * RUNS; every run checks the rows that came out.
 */
#include <getopt.h>
#include <time.h>
#include "control/rtp/builtin/builtin.h"
#include "penstock/values.h"

#define SYMBOLS    1000u
#define FRAME_ROWS 200u
#define RECORD     48u

static unsigned runs = 3;
static uint64_t all_rows = 1u << 20;
static uint8_t *journal;
static char names[SYMBOLS][8];

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- a host ---- */

struct pst_rtp {
    int unused;
};
struct pst_rtp_registry {
    int unused;
};
struct pst_result {
    uint32_t ncolumns, rows;
    uint8_t type[PST_COLUMNS_MAX];
    uint8_t *column[PST_COLUMNS_MAX];
    size_t len[PST_COLUMNS_MAX], room[PST_COLUMNS_MAX];
};
static struct pst_rtp rtp;
static const struct pst_analytic *analytics[16];
static const struct pst_hooks *hooks[16];
static unsigned nplugins;
static uint64_t out_rows, out_publishes;
static int64_t journal_time;

static const struct pst_table_column trade_columns[] = {{"time", PST_TIMESTAMP, 8, 0},
                                                        {"sym", PST_SYMBOL, 4, 0},
                                                        {"price", PST_FLOAT, 16, 0},
                                                        {"size", PST_LONG, 24, 0}};
static const struct pst_table trade = {"trade", 2, 0, 4, trade_columns};
static const struct pst_table *tables[PST_TABLES];

static int on_analytic(struct pst_rtp_registry *g, const struct pst_analytic *a)
{
    (void)g;
    analytics[nplugins] = a;
    return 0;
}
static int on_hooks(struct pst_rtp_registry *g, const struct pst_hooks *h)
{
    (void)g;
    hooks[nplugins] = h;
    return 0;
}
static struct pst_result *on_result(struct pst_rtp *r, const char *analytic)
{
    (void)r, (void)analytic;
    return pst_zeroed(sizeof(struct pst_result));
}
static int on_columns(struct pst_rtp *r, struct pst_result *t, const struct pst_column *c,
                      uint32_t n, const char *key)
{
    (void)r, (void)key;
    t->ncolumns = n;
    for (uint32_t i = 0; i < n; i++)
        t->type[i] = (uint8_t)c[i].type;
    return 0;
}
static void append(struct pst_result *t, uint32_t i, const void *p, size_t n)
{
    if (t->len[i] + n > t->room[i]) {
        t->room[i] = 2 * t->room[i] + n + 64;
        t->column[i] = realloc(t->column[i], t->room[i]);
        if (!t->column[i])
            abort();
    }
    memcpy(t->column[i] + t->len[i], p, n);
    t->len[i] += n;
}
static int on_add(struct pst_rtp *r, struct pst_result *t, const struct pst_value *v)
{
    (void)r;
    for (uint32_t i = 0; i < t->ncolumns; i++) {
        if (v[i].type != t->type[i])
            abort();
        if (v[i].type == PST_SYMBOL) {
            append(t, i, v[i].text.at, v[i].text.len);
            append(t, i, "", 1);
        } else {
            append(t, i, &v[i].i, 8);
        }
    }
    t->rows++;
    return 0;
}
static int on_publish(struct pst_rtp *r, int64_t uid, struct pst_result *t)
{
    (void)r, (void)uid;
    out_rows += t->rows;
    out_publishes += t->rows != 0;
    t->rows = 0;
    memset(t->len, 0, t->ncolumns * sizeof *t->len);
    return 0;
}
static void on_drop(struct pst_rtp *r, struct pst_result *t)
{
    (void)r;
    for (uint32_t i = 0; i < t->ncolumns; i++)
        free(t->column[i]);
    free(t);
}
static const struct pst_table *on_table(struct pst_rtp *r, const char *name)
{
    (void)r;
    return strcmp(name, "trade") != 0 ? NULL : &trade;
}
static int on_want(struct pst_rtp *r, const char *name)
{
    (void)r, (void)name;
    return 0;
}
static void on_unwant(struct pst_rtp *r, const char *name)
{
    (void)r, (void)name;
}
static struct pst_text on_symbol(struct pst_rtp *r, uint32_t id)
{
    (void)r;
    return (struct pst_text){names[id], 5};
}
static uint32_t on_find(struct pst_rtp *r, const char *text, uint32_t len)
{
    (void)r, (void)len;
    return *text == 'X' ? PST_NULL_SYMBOL : (uint32_t)atoi(text + 1);
}
static int on_history(struct pst_rtp *r, const char *table, const struct pst_value *syms,
                      uint32_t n, bool last, void (*each)(void *, const struct pst_row *),
                      void *arg)
{
    (void)r, (void)table, (void)syms, (void)n, (void)last, (void)each, (void)arg;
    return 0;
}
static int on_timer(struct pst_rtp *r, int64_t interval, uint32_t j, pst_timer *fn, void *data)
{
    (void)r, (void)interval, (void)j, (void)fn, (void)data;
    return 0;
}
static int on_stop_timer(struct pst_rtp *r, int id)
{
    (void)r, (void)id;
    return 0;
}
static int on_error(struct pst_rtp *r, const char *format, ...)
{
    (void)r;
    fprintf(stderr, "bench_analytics: %s\n", format);
    exit(1);
}
static const char *on_option(struct pst_rtp *r, const char *name)
{
    (void)r, (void)name;
    return NULL;
}
static int32_t on_day(struct pst_rtp *r)
{
    (void)r;
    return 9823;
}
static int64_t on_time(struct pst_rtp *r)
{
    (void)r;
    return journal_time;
}
static int on_processor(struct pst_rtp_registry *g, const struct pst_processor *p)
{
    (void)g;
    (void)p;
    return 0;
}
static int on_api(struct pst_rtp_registry *g, const struct pst_api *a)
{
    (void)g;
    (void)a;
    return 0;
}

static const struct pst_rtp_host bench_host = {.abi = PST_RTP_ABI,
                                               .size = sizeof bench_host,
                                               .analytic = on_analytic,
                                               .processor = on_processor,
                                               .api = on_api,
                                               .hooks = on_hooks,
                                               .result = on_result,
                                               .columns = on_columns,
                                               .add = on_add,
                                               .publish = on_publish,
                                               .table = on_table,
                                               .want = on_want,
                                               .unwant = on_unwant,
                                               .symbol = on_symbol,
                                               .find_symbol = on_find,
                                               .history = on_history,
                                               .timer = on_timer,
                                               .stop_timer = on_stop_timer,
                                               .error = on_error,
                                               .option = on_option,
                                               .drop = on_drop,
                                               .day = on_day,
                                               .time = on_time};

/* ---- the journal ---- */

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}
static int64_t time_of(uint64_t row)
{
    return 9823 * INT64_C(86400000000000) + (int64_t)(row * (60000000000ull / all_rows));
}
static void make(void)
{
    for (uint32_t i = 0; i < SYMBOLS; i++) {
        snprintf(names[i], sizeof names[i], "S%04u", i % 10000);
    }
    journal = aligned_alloc(64, all_rows * RECORD + 64);
    if (!journal)
        abort();
    for (uint64_t i = 0; i < all_rows; i++) {
        uint8_t *at = journal + i * RECORD;
        uint16_t head[2] = {2, RECORD};
        uint32_t sym = (uint32_t)(rnd() % SYMBOLS);
        int64_t time = time_of(i), size = (int64_t)(1 + rnd() % 100);
        double price = 100 + (double)(rnd() % 1000) / 100;
        memset(at, 0, RECORD);
        memcpy(at, head, 4);
        memcpy(at + 4, &sym, 4);
        memcpy(at + 8, &time, 8);
        memcpy(at + 16, &price, 8);
        memcpy(at + 24, &size, 8);
    }
}

/* ---- subscriptions ---- */

static int64_t subscribe(unsigned p, const char *syms, const char *more)
{
    const struct pst_analytic *a = analytics[p];
    struct pst_list list[PST_PARAMETERS_MAX] = {{0}};
    struct pst_value value[PST_PARAMETERS_MAX][101] = {{{0}}};
    for (uint32_t i = 0; i < a->nparameters; i++) {
        const struct pst_parameter *q = &a->parameters[i];
        const char *text = q->def ? q->def : !strcmp(q->name, "table") ? "trade" : "price", *w;
        size_t len = strlen(q->name);
        if (!strcmp(q->name, "syms"))
            text = syms;
        for (w = more; *w && (strncmp(w, q->name, len) != 0 || w[len] != '=');)
            w += strcspn(w, " "), w += *w == ' ';
        text = *w ? w + len + 1 : text;
        list[i] = (struct pst_list){.name = q->name, .type = q->type & 0xFF, .value = value[i]};
        while (*text && *text != ' ') {
            struct pst_value *v = &value[i][list[i].n++];
            size_t n = q->type & PST_LIST ? strcspn(text, ", ") : strcspn(text, " ");
            v->type = list[i].type;
            if (v->type == PST_SYMBOL || v->type == PST_STRING)
                v->text = (struct pst_text){text, (uint32_t)n};
            else if (v->type == PST_FLOAT)
                v->f = strtod(text, NULL);
            else if (v->type == PST_TIMESPAN) /* 0Dhh:mm:ss */
                v->i = (atoll(text + 5) * 60 + atoll(text + 8)) * INT64_C(1000000000);
            else
                v->i = atoll(text);
            text += n + (text[n] == ',');
        }
        if (!(q->type & PST_LIST) && !list[i].n)
            value[i][list[i].n++].type = list[i].type;
    }
    struct pst_map map = {.n = a->nparameters, .at = list, .user = ""};
    int64_t uid = a->subscribe(&rtp, &map, a->data);
    if (uid < 0)
        abort();
    return uid;
}

static int by_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* subs subscriptions: over `different` filters of `each` symbols (0: to everything), or of one
 * that never comes. */
enum { NEVER = 1001 };
static void measure(const char *name, unsigned subs, unsigned different, unsigned each,
                    const char *more)
{
    unsigned p = 0;
    double took[64];
    uint64_t nrows = subs > 1000 && each != NEVER ? all_rows / 16 : all_rows;
    int64_t *uid = calloc(subs, sizeof *uid);
    while (strcmp(analytics[p]->name, name) != 0)
        p++;
    for (unsigned run = 0; run < runs; run++) {
        journal_time = time_of(0);
        for (unsigned i = 0; i < subs; i++) {
            char syms[1000] = "", *to = syms;
            for (unsigned k = 0; k < each && each != NEVER; k++)
                to += sprintf(to, "%s%.7s", k ? "," : "",
                              names[(i % different * each + k) % SYMBOLS]);
            if (each == NEVER)
                sprintf(syms, "X%04u", i);
            uid[i] = subscribe(p, syms, more);
        }
        out_rows = out_publishes = 0;
        double start = seconds();
        for (uint64_t at = 0; at < nrows; at += FRAME_ROWS) {
            uint64_t n = nrows - at < FRAME_ROWS ? nrows - at : FRAME_ROWS;
            journal_time = time_of(at + n - 1);
            struct pst_frame f = {.position = at * RECORD,
                                  .end = (at + n) * RECORD,
                                  .time = journal_time,
                                  .day = 9823,
                                  .records = journal + at * RECORD,
                                  .records_end = journal + (at + n) * RECORD,
                                  .table = tables};
            hooks[p]->rows(&rtp, &f, hooks[p]->data);
        }
        took[run] = seconds() - start;
        for (unsigned i = 0; i < subs; i++)
            analytics[p]->unsubscribe(&rtp, uid[i], analytics[p]->data);
    }
    free(uid);
    qsort(took, runs, sizeof *took, by_double);
    double t = took[runs / 2];
    uint64_t matched = each == NEVER ? 0 : each ? nrows * each * subs / SYMBOLS : nrows * subs;
    printf("%-10s %6u %9u %8u %12.1f %12llu %12.1f %10.2f\n", name, subs, different,
           each == NEVER ? 0
           : each        ? each
                         : SYMBOLS,
           t * 1e9 / (double)nrows, (unsigned long long)out_rows,
           out_rows ? t * 1e9 / (double)out_rows : 0, (double)nrows / t / 1e6);
    if (!strcmp(name, "filter") && !*more &&
        (out_rows > matched + matched / 5 || out_rows < matched - matched / 5)) {
        fprintf(stderr, "bench_analytics: %llu rows instead of about %llu\n",
                (unsigned long long)out_rows, (unsigned long long)matched);
        exit(1);
    }
}

/* What no subscription can be cheaper than: every row into the columns of a result. */
static void plain(void)
{
    double took[64];
    static const struct pst_column columns[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT}, {"size", PST_LONG}};
    struct pst_result *out = on_result(&rtp, NULL);
    on_columns(&rtp, out, columns, 4, NULL);
    for (unsigned run = 0; run < runs; run++) {
        out_rows = 0;
        double start = seconds();
        for (uint64_t i = 0; i < all_rows; i++) {
            const uint8_t *at = journal + i * RECORD;
            uint32_t sym;
            memcpy(&sym, at + 4, 4);
            append(out, 0, at + 8, 8);
            append(out, 1, names[sym], 5);
            append(out, 1, "", 1);
            append(out, 2, at + 16, 8);
            append(out, 3, at + 24, 8);
            out->rows++;
            if (i % FRAME_ROWS == FRAME_ROWS - 1)
                on_publish(&rtp, 0, out);
        }
        took[run] = seconds() - start;
    }
    on_drop(&rtp, out);
    qsort(took, runs, sizeof *took, by_double);
    double t = took[runs / 2];
    printf("%-10s %6s %9s %8u %12.1f %12llu %12.1f %10.2f\n", "plain loop", "-", "-", SYMBOLS,
           t * 1e9 / (double)all_rows, (unsigned long long)out_rows, t * 1e9 / (double)all_rows,
           (double)all_rows / t / 1e6);
}

int main(int argc, char **argv)
{
    for (int o; (o = getopt(argc, argv, "n:r:")) != -1;)
        if (o == 'n')
            runs = (unsigned)strtoul(optarg, NULL, 10);
        else if (o == 'r')
            all_rows = strtoull(optarg, NULL, 10);
        else
            return 2;
    if (!runs || runs > 64 || all_rows < 16000)
        return 2;
    make();
    tables[2] = &trade;
    pst_rtp_host = &bench_host;
    struct pst_rtp_registry g;
    for (; nplugins < builtins_n; nplugins++)
        if (builtins[nplugins].registers(&g))
            abort();
    printf("%-10s %6s %9s %8s %12s %12s %12s %10s\n", "analytic", "subs", "different", "symbols",
           "ns/message", "rows out", "ns/row out", "M msg/s");
    plain();
    static const struct {
        const char *name, *more;
    } a[] = {{"filter", ""}, {"last", ""},          {"ohlc", ""},
             {"vwap", ""},   {"rate", "size=size"}, {"threshold", "above=109.9"}};
    for (unsigned i = 0; i < sizeof a / sizeof *a; i++) {
        measure(a[i].name, 1, 1, 0, a[i].more);
        measure(a[i].name, 1, 1, 1, a[i].more);
        measure(a[i].name, 10000, 10000, NEVER, a[i].more);
        measure(a[i].name, 100, 100, 10, a[i].more);
        measure(a[i].name, 10000, 100, 10, a[i].more);
    }
    measure("filter", 1, 1, 0, "where=price>=109");
    measure("ohlc", 1000, 1000, 1, "closed=1");
    free(journal);
    return 0;
}
