/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_shop.c - a plugin for the system tests of real-time processes: the pre- and post-processor of
 * a shop that trades. `shop` passes on trades with a price (others and other tables are dropped)
 * and, behind each trade or quote, writes what it knows of the symbol to `aggregate`: volume, high
 * and low of trades, best bid and ask of quotes, spread. Functions to be called by name.
 */
#include <penstock/analytic.h>
#include <penstock/values.h>
#include <dlfcn.h>
#include <stdlib.h>

#define SYMS 10000u

static struct line {
    uint32_t sym;
    int64_t volume;
    double high, low, bid, ask;
} line[SYMS];
static uint32_t lines;
static int64_t started, ended, rows_seen, days;

static struct line *line_of(uint32_t sym)
{
    for (uint32_t i = 0; i < lines; i++)
        if (line[i].sym == sym)
            return &line[i];
    if (lines == SYMS)
        return NULL;
    line[lines] = (struct line){sym, 0, 0, 0, 0, 0};
    return &line[lines++];
}

static int begin(struct pst_rtp *r, void *data)
{
    (void)r, (void)data;
    lines = 0;
    rows_seen = 0;
    return 0;
}

static double number(const struct pst_row *row, const char *column)
{
    return pst_row_value(row, (uint32_t)pst_table_find(row->table, column)).f;
}

static int pre(struct pst_rtp *r, struct pst_row *row, void *data)
{
    (void)r, (void)data;
    if (!strcmp(row->table->name, "trade"))
        return number(row, "price") > 0 ? PST_PASS : PST_DROP;
    return strcmp(row->table->name, "quote") ? PST_DROP : PST_PASS;
}

static int post(struct pst_rtp *r, const struct pst_row *came, const struct pst_row *passed,
                void *data)
{
    const struct pst_table *t = pst_rtp_host->table(r, "aggregate");
    struct line *l = line_of(pst_row_sym(came));
    struct pst_text sym = pst_rtp_host->symbol(r, pst_row_sym(came));
    (void)data;
    if (!t || !l)
        return pst_rtp_host->error(r, "no table aggregate, or too many symbols");
    rows_seen++;
    if (!strcmp(passed->table->name, "trade")) {
        double price = number(passed, "price");
        l->high = !l->volume || price > l->high ? price : l->high;
        l->low = !l->volume || price < l->low ? price : l->low;
        l->volume += pst_row_value(passed, (uint32_t)pst_table_find(passed->table, "size")).i;
    } else {
        double bid = number(passed, "bid"), ask = number(passed, "ask");
        l->bid = bid > l->bid ? bid : l->bid;
        l->ask = !(l->ask > 0) || ask < l->ask ? ask : l->ask;
    }
    struct pst_value v[] = {pst_int_value(PST_TIMESTAMP, pst_row_time(came)),
                            pst_symbol_value(sym.at, sym.len),
                            pst_int_value(PST_LONG, l->volume),
                            pst_float_value(l->high),
                            pst_float_value(l->low),
                            pst_float_value(l->bid),
                            pst_float_value(l->ask),
                            pst_float_value(l->ask - l->bid)};
    return pst_rtp_host->insert(r, t, v);
}

static int mark(struct pst_rtp *r, const struct pst_mark_facts *m, void *data)
{
    (void)r, (void)data;
    if (m->mark == PST_MARK_EOD) {
        lines = 0; /* each date by itself */
        days++;
    }
    return 0;
}

static const struct pst_column aggregate[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"volume", PST_LONG}, {"high", PST_FLOAT},
    {"low", PST_FLOAT},      {"bid", PST_FLOAT},  {"ask", PST_FLOAT},   {"spread", PST_FLOAT}};
static const struct pst_derived derived[] = {{"aggregate", aggregate, 8, 0}};
static const struct pst_processor shop = {.name = "shop",
                                          .about = "Trades with a price, and what each symbol did.",
                                          .derived = derived,
                                          .nderived = 1,
                                          .begin = begin,
                                          .pre = pre,
                                          .post = post,
                                          .mark = mark};

/* ---- functions ---- */

static int volume(struct pst_rtp *r, const struct pst_map *map, struct pst_result *out, void *data)
{
    const struct pst_list *syms = pst_map_get(map, "syms");
    (void)data;
    for (uint32_t i = 0; i < lines; i++) {
        struct pst_text t = pst_rtp_host->symbol(r, line[i].sym);
        bool wanted = !syms->n;
        for (uint32_t k = 0; k < syms->n; k++)
            wanted |=
                syms->value[k].text.len == t.len && !memcmp(syms->value[k].text.at, t.at, t.len);
        struct pst_value v[] = {pst_symbol_value(t.at, t.len),
                                pst_int_value(PST_LONG, line[i].volume)};
        if (wanted && pst_rtp_host->add(r, out, v))
            return -1;
    }
    return 0;
}

static int facts(struct pst_rtp *r, const struct pst_map *map, struct pst_result *out, void *data)
{
    const char *depth = pst_rtp_host->option(r, "depth");
    void *library = pst_rtp_host->library(r, "math");
    (void)map, (void)data;
    struct pst_value v[] = {pst_int_value(PST_LONG, started),
                            pst_int_value(PST_LONG, ended),
                            pst_int_value(PST_LONG, rows_seen),
                            pst_int_value(PST_LONG, days),
                            pst_int_value(PST_LONG, depth ? atoi(depth) : -1),
                            pst_int_value(PST_LONG, library && dlsym(library, "cos") ? 1 : 0)};
    return pst_rtp_host->add(r, out, v);
}

static int count(struct pst_rtp *r, const struct pst_map *map, struct pst_result *out, void *data)
{
    (void)r, (void)map, (void)out;
    ++*(int64_t *)data;
    return 0;
}

static int die(struct pst_rtp *r, const struct pst_map *map, struct pst_result *out, void *data)
{
    (void)r, (void)map, (void)out, (void)data;
    abort();
}

static int spin(struct pst_rtp *r, const struct pst_map *map, struct pst_result *out, void *data)
{
    (void)r, (void)map, (void)out, (void)data;
    for (volatile int i = 0; i < 2; i = 1)
        ;
    return 0;
}

static int eat(struct pst_rtp *r, const struct pst_map *map, struct pst_result *out, void *data)
{
    (void)map, (void)out, (void)data;
    static void *had[2000];
    for (size_t n = 0; n < 2000; n++) {
        volatile char *p = had[n] = malloc(1 << 20);
        for (size_t i = 0; p && i < 1 << 20; i += 4096)
            p[i] = 1;
        if (p)
            continue;
        for (size_t i = 0; i < n; i++)
            free(had[i]);
        return pst_rtp_host->error(r, "no memory beyond %zu MB", n);
    }
    return pst_rtp_host->error(r, "2 GB, and nobody said no");
}

static int refuse(struct pst_rtp *r, const struct pst_map *map, struct pst_result *out, void *data)
{
    (void)map, (void)out, (void)data;
    return pst_rtp_host->error(r, "the shop is closed");
}

static const struct pst_parameter syms[] = {
    {"syms", PST_SYMBOL | PST_LIST, "", "symbols; none: all"}};
static const struct pst_column volumes[] = {{"sym", PST_SYMBOL}, {"volume", PST_LONG}};
static const struct pst_column fact[] = {{"started", PST_LONG}, {"ended", PST_LONG},
                                         {"rows", PST_LONG},    {"days", PST_LONG},
                                         {"depth", PST_LONG},   {"library", PST_LONG}};
static const struct pst_api apis[] = {
    {"volume", "Traded volume of each symbol.", syms, 1, volumes, 2, volume, NULL},
    {"facts", "What the plugin has seen.", NULL, 0, fact, 6, facts, NULL},
    {"began", "Counts starts of buffering events.", NULL, 0, volumes, 2, count, &started},
    {"over", "Counts their ends.", NULL, 0, volumes, 2, count, &ended},
    {"die", "Ends the process.", NULL, 0, volumes, 2, die, NULL},
    {"spin", "Never returns.", NULL, 0, volumes, 2, spin, NULL},
    {"eat", "Takes 2 GB.", NULL, 0, volumes, 2, eat, NULL},
    {"refuse", "Fails with a sentence.", NULL, 0, volumes, 2, refuse, NULL}};

PST_RTP_PLUGIN("shop", "1.0", "A shop that trades, for tests.")
PST_PLUGIN_EXPORT int pst_rtp_register(struct pst_rtp_registry *g)
{
    for (unsigned i = 0; i < sizeof apis / sizeof apis[0]; i++)
        if (pst_rtp_host->api(g, &apis[i]))
            return -1;
    return pst_rtp_host->processor(g, &shop);
}
