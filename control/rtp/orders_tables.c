/* SPDX-License-Identifier: Apache-2.0 */
#include "orders_tables.h"

#define COLUMN(name, TYPE) {#name, PST_##TYPE},
static const struct pst_column trade[] = {ORDERS_TRADE_COLUMNS(COLUMN)};
static const struct pst_column bbo[] = {ORDERS_BBO_COLUMNS(COLUMN)};
#undef COLUMN

const struct pst_derived orders_derived[ORDERS_TABLES] = {
    [ORDERS_TRADE] = {"trade", trade, sizeof trade / sizeof *trade, 0},
    [ORDERS_BBO] = {"bbo", bbo, sizeof bbo / sizeof *bbo, 0},
};

const char orders_trade_valid[] = "trade_valid";
const char orders_trade_valid_sql[] =
    "SELECT date, time, sym, feed, session, seq, type, price, size, side, match, cross, ref, flags "
    "FROM trade WHERE printable AND (date, feed, session, match) NOT IN "
    "(SELECT date, feed, session, match FROM trade WHERE type = 'break')";
