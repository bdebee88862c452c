/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volume weighted average price of each symbol and interval; interval 0: of the day so far.
 *
 *   gcc -shared -fPIC -O2 -o vwap.so analytic_vwap.c
 *
 * Rows without a price or with a size that is null or not above 0 do not count.
 */
#include <penstock/bars.h>

PST_RTP_PLUGIN("vwap", "1.0", "Volume weighted average prices.")

struct bar {
    struct pst_bar b;
    double value, volume;
    int64_t trades;
};

static void row(struct pst_rtp *r, struct pst_slot *slot, const struct pst_row *row, bool live)
{
    struct pst_bars *t = (struct pst_bars *)slot->topic;
    struct pst_value price = pst_row_value(row, (uint32_t)t->price.at);
    struct pst_value size = pst_row_value(row, (uint32_t)t->size.at);
    bool fresh;
    if (pst_is_null(&price) || pst_is_null(&size) || !(pst_as_double(&size) > 0))
        return;
    struct bar *b = (struct bar *)pst_bar_of(r, slot, row, sizeof *b, &fresh);
    if (!b)
        return;
    b->value += pst_as_double(&price) * pst_as_double(&size);
    b->volume += pst_as_double(&size);
    b->trades++;
    if (live)
        pst_bar_changed(&b->b);
}

static const struct pst_column columns[] = {
    {"date", PST_DATE},    {"sym", PST_SYMBOL},  {"bar", PST_TIMESTAMP}, {"vwap", PST_FLOAT},
    {"volume", PST_FLOAT}, {"trades", PST_LONG}, {"closed", PST_BOOLEAN}};

static void add(struct pst_rtp *r, struct pst_sub *sub, const struct pst_change *c,
                struct pst_result *out)
{
    (void)sub;
    const struct bar *b = (const struct bar *)c->entry;
    struct pst_value v[] = {pst_int_value(PST_DATE, b->b.day),
                            pst_slot_value(c->slot),
                            pst_int_value(PST_TIMESTAMP, b->b.start),
                            pst_float_value(b->value / b->volume),
                            pst_float_value(b->volume),
                            pst_int_value(PST_LONG, b->trades),
                            pst_int_value(PST_BOOLEAN, b->b.closed)};
    pst_rtp_host->add(r, out, v);
}

static struct pst_streams streams = {PST_BARS_STREAMS, .row = row, .add = add};

static int64_t subscribe(struct pst_rtp *r, const struct pst_map *map, void *data)
{
    (void)data;
    struct pst_bars *t = pst_bars_of(r, &streams, map);
    return t ? pst_bars_subscribed(r, t, map, columns, 7) : -1;
}

static const struct pst_parameter parameters[] = {PST_BARS_PARAMETERS};
static const struct pst_analytic analytic = {
    .name = "vwap",
    .about = "Volume weighted average price of each symbol by interval.",
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
