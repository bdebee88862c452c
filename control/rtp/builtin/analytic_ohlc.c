/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bars of prices: open, high, low, close, volume and trades of each symbol and interval.
 *
 *   gcc -shared -fPIC -O2 -o ohlc.so analytic_ohlc.c
 *
 * Open and close are the prices of the first and last row by time (of equal times: as they came),
 * so a late row corrects its bar as if it had come in time. Rows without a price do not count.
 */
#include <penstock/bars.h>

PST_RTP_PLUGIN("ohlc", "1.0", "Bars of prices.")

struct bar {
    struct pst_bar b;
    double open, high, low, close, volume;
    int64_t first, last, whole, trades; /* times of open and close; volume of a whole-number size */
};

static void row(struct pst_rtp *r, struct pst_slot *slot, const struct pst_row *row, bool live)
{
    struct pst_bars *t = (struct pst_bars *)slot->topic;
    struct pst_value price = pst_row_value(row, (uint32_t)t->price.at);
    struct pst_value size = pst_row_value(row, (uint32_t)t->size.at);
    int64_t time = pst_row_time(row);
    bool fresh;
    if (pst_is_null(&price))
        return;
    struct bar *b = (struct bar *)pst_bar_of(r, slot, row, sizeof *b, &fresh);
    if (!b)
        return;
    double p = pst_as_double(&price);
    if (fresh || time < b->first)
        b->open = p, b->first = time;
    if (fresh || time >= b->last)
        b->close = p, b->last = time;
    if (fresh || p > b->high)
        b->high = p;
    if (fresh || p < b->low)
        b->low = p;
    b->trades++;
    if (!pst_is_null(&size) && pst_is_whole(size.type))
        b->whole = (int64_t)((uint64_t)b->whole + (uint64_t)size.i); /* garbage wraps */
    else if (!pst_is_null(&size))
        b->volume += size.f;
    if (live)
        pst_bar_changed(&b->b);
}

static const struct pst_column columns[2][10] = {
#define COLUMNS(volume)                                                                            \
    {                                                                                              \
        {"date", PST_DATE}, {"sym", PST_SYMBOL}, {"bar", PST_TIMESTAMP}, {"open", PST_FLOAT},      \
            {"high", PST_FLOAT}, {"low", PST_FLOAT}, {"close", PST_FLOAT}, {"volume", volume},     \
            {"trades", PST_LONG},                                                                  \
        {                                                                                          \
            "closed", PST_BOOLEAN                                                                  \
        }                                                                                          \
    }
    COLUMNS(PST_FLOAT), COLUMNS(PST_LONG)};

static void add(struct pst_rtp *r, struct pst_sub *sub, const struct pst_change *c,
                struct pst_result *out)
{
    const struct bar *b = (const struct bar *)c->entry;
    bool whole = sub->columns == columns[1];
    struct pst_value v[10] = {pst_int_value(PST_DATE, b->b.day),
                              pst_slot_value(c->slot),
                              pst_int_value(PST_TIMESTAMP, b->b.start),
                              pst_float_value(b->open),
                              pst_float_value(b->high),
                              pst_float_value(b->low),
                              pst_float_value(b->close),
                              whole ? pst_int_value(PST_LONG, b->whole)
                                    : pst_float_value(b->volume),
                              pst_int_value(PST_LONG, b->trades),
                              pst_int_value(PST_BOOLEAN, b->b.closed)};
    pst_rtp_host->add(r, out, v);
}

static struct pst_streams streams = {PST_BARS_STREAMS, .row = row, .add = add};

static int64_t subscribe(struct pst_rtp *r, const struct pst_map *map, void *data)
{
    (void)data;
    struct pst_bars *t = pst_bars_of(r, &streams, map);
    return t ? pst_bars_subscribed(r, t, map, columns[pst_is_whole(t->size.type)], 10) : -1;
}

static const struct pst_parameter parameters[] = {PST_BARS_PARAMETERS};
static const struct pst_analytic analytic = {
    .name = "ohlc",
    .about = "Open, high, low, close and volume of each symbol by interval.",
    .parameters = parameters,
    .nparameters = sizeof parameters / sizeof *parameters,
    .key = "date,sym,bar",
    .subscribe = subscribe,
    PST_STREAMS_ANALYTIC(&streams)};
static const struct pst_hooks hooks = PST_STREAMS_HOOKS(&streams);

int pst_rtp_register(struct pst_rtp_registry *registry)
{
    return pst_rtp_host->analytic(registry, &analytic) || pst_rtp_host->hooks(registry, &hooks);
}
