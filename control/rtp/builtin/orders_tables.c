/* SPDX-License-Identifier: Apache-2.0 */
#include "core/derived.h"
#include "orders_tables.h"

#define COLUMN(name, TYPE) {#name, PST_##TYPE},
static const struct pst_column trade[] = {ORDERS_TRADE_COLUMNS(COLUMN)};
static const struct pst_column bbo[] = {ORDERS_BBO_COLUMNS(COLUMN)};

const struct pst_derived orders_derived[ORDERS_TABLES] = {
    [ORDERS_TRADE] = {"trade", trade, sizeof trade / sizeof *trade, 0},
    [ORDERS_BBO] = {"bbo", bbo, sizeof bbo / sizeof *bbo, 0},
};

/* The same for the daemon. */
static const struct column_def trade_defs[] = {ORDERS_TRADE_COLUMNS(COLUMN)};
static const struct column_def bbo_defs[] = {ORDERS_BBO_COLUMNS(COLUMN)};
static const struct derived_table orders_tables[] = {
    {"trade", trade_defs, sizeof trade_defs / sizeof *trade_defs},
    {"bbo", bbo_defs, sizeof bbo_defs / sizeof *bbo_defs},
    {NULL, NULL, 0},
};
const struct derived_processor derived_processors[] = {{"orders", orders_tables}, {NULL, NULL}};
#undef COLUMN

const char orders_trade_valid[] = "trade_valid";
const char orders_trade_valid_sql[] =
    "SELECT date, time, sym, feed, session, seq, type, price, size, side, match, cross, ref, flags "
    "FROM trade WHERE printable AND (date, feed, session, match) NOT IN "
    "(SELECT date, feed, session, match FROM trade WHERE type = 'break')";
