/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aggregate.c - a processor over trade and quote: what each symbol has traded and was quoted at
 * today. `pre` drops every other table and trades of no size; `post` adds the row to its symbol's
 * numbers and writes them, joined, to `aggregate`: a trade of a symbol without quotes has nulls
 * there.
 */
#include <math.h>
#include <penstock/analytic.h>

#define H    pst_rtp_host
#define SYMS 4096u

static struct {
    int64_t volume;
    double high, low, bid, ask;
    bool traded;
} of[SYMS];
static const struct pst_table *aggregate;

static void forget(void)
{
    for (uint32_t i = 0; i < SYMS; i++) {
        memset(&of[i], 0, sizeof of[i]);
        of[i].high = of[i].low = of[i].bid = of[i].ask = NAN;
    }
}

static int begin(struct pst_rtp *r, void *data)
{
    (void)data;
    forget();
    aggregate = H->table(r, "aggregate");
    return aggregate ? 0 : H->error(r, "there is no table aggregate");
}

static struct pst_value value(const struct pst_row *row, const char *column)
{
    return pst_row_value(row, (uint32_t)pst_table_find(row->table, column));
}

static int pre(struct pst_rtp *r, struct pst_row *row, void *data)
{
    (void)r, (void)data;
    if (!strcmp(row->table->name, "quote"))
        return PST_PASS;
    return !strcmp(row->table->name, "trade") && value(row, "size").i > 0 ? PST_PASS : PST_DROP;
}

static double least(double a, double b)
{
    return isnan(a) || b < a ? b : a;
}
static double most(double a, double b)
{
    return isnan(a) || b > a ? b : a;
}

static int post(struct pst_rtp *r, const struct pst_row *came, const struct pst_row *passed,
                void *data)
{
    uint32_t s = pst_row_sym(passed);
    (void)came, (void)data;
    if (s >= SYMS)
        return H->error(r, "more than %u symbols", SYMS);
    if (!strcmp(passed->table->name, "quote")) {
        of[s].bid = most(of[s].bid, value(passed, "bid").f);
        of[s].ask = least(of[s].ask, value(passed, "ask").f);
    } else {
        double price = value(passed, "price").f;
        of[s].volume += value(passed, "size").i;
        of[s].high = most(of[s].high, price);
        of[s].low = least(of[s].low, price);
        of[s].traded = true;
    }
    if (!of[s].traded)
        return 0;
    struct pst_value v[9] = {{.type = PST_TIMESTAMP, .i = pst_row_time(passed)},
                             {.type = PST_SYMBOL, .text = H->symbol(r, s)},
                             {.type = PST_LONG, .i = value(passed, "n").i},
                             {.type = PST_LONG, .i = of[s].volume},
                             {.type = PST_FLOAT, .f = of[s].high},
                             {.type = PST_FLOAT, .f = of[s].low},
                             {.type = PST_FLOAT, .f = of[s].bid},
                             {.type = PST_FLOAT, .f = of[s].ask},
                             {.type = PST_FLOAT, .f = of[s].ask - of[s].bid}};
    return H->insert(r, aggregate, v);
}

static int mark(struct pst_rtp *r, const struct pst_mark_facts *m, void *data)
{
    (void)r, (void)data;
    if (m->mark == PST_MARK_EOD)
        forget();
    return 0;
}

static const struct pst_column columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"n", PST_LONG},
    {"volume", PST_LONG},    {"high", PST_FLOAT}, {"low", PST_FLOAT},
    {"bid", PST_FLOAT},      {"ask", PST_FLOAT},  {"spread", PST_FLOAT}};
static const struct pst_derived derived[] = {{"aggregate", columns, 9, 0}};
static const struct pst_processor processor = {.name = "aggregate",
                                               .about =
                                                   "What each symbol has traded and was quoted at.",
                                               .derived = derived,
                                               .nderived = 1,
                                               .begin = begin,
                                               .pre = pre,
                                               .post = post,
                                               .mark = mark};

PST_RTP_PLUGIN("aggregate", "1.0", "Trades and quotes, joined.")
PST_PLUGIN_EXPORT int pst_rtp_register(struct pst_rtp_registry *g)
{
    return H->processor(g, &processor);
}
