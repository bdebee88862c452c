/* SPDX-License-Identifier: Apache-2.0 */
/*
 * symbol_count(table, symbol): how many rows of a table have a symbol, and when the first and the
 * last one were. A worked example of a plugin (include/penstock/plugin.h), built and installed with
 * Penstock:
 *
 *     penstock plugin load /usr/lib/penstock/plugins/symbol_count.so
 *     penstock call symbol_count table=trade symbol=AAPL
 *     penstock sql "SELECT * FROM symbol_count('trade', 'AAPL')"
 */
#include <penstock/plugin.h>
#include <stdio.h>
#include <string.h>

/* A value can be bound to a query, a table's name cannot: it is checked instead. */
static int table_name(const struct pst_text *t, char name[64])
{
    if (!t->len || t->len >= 64)
        return 0;
    for (uint32_t i = 0; i < t->len; i++) {
        char c = t->at[i];
        int letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i && c >= '0' && c <= '9'))
            return 0;
    }
    memcpy(name, t->at, t->len);
    name[t->len] = 0;
    return 1;
}

static int symbol_count(struct pst_call *call, const struct pst_value *arg, void *data)
{
    char table[64], sql[256];
    struct pst_rows *rows;
    (void)data;
    if (!table_name(&arg[0].text, table))
        return pst_host->error(call, "'%.*s' is no table's name", (int)arg[0].text.len,
                               arg[0].text.at);
    snprintf(sql, sizeof sql,
             "SELECT count(*) AS n, min(time) AS a, max(time) AS z FROM \"%s\" WHERE sym = $1",
             table);
    if (pst_host->sql(call, sql, &arg[1], 1, &rows))
        return -1; /* the query has its error already */
    struct pst_value out[] = {
        {.type = PST_SYMBOL, .text = arg[1].text},
        {.type = PST_LONG, .i = ((const int64_t *)rows->column[0].values)[0]},
        {.type = PST_TIMESTAMP, .i = ((const int64_t *)rows->column[1].values)[0]},
        {.type = PST_TIMESTAMP, .i = ((const int64_t *)rows->column[2].values)[0]},
    };
    return pst_host->append(call, out);
}

static const struct pst_parameter parameters[] = {
    {"table", PST_STRING, NULL, "a table or view"},
    {"symbol", PST_SYMBOL, NULL, "whose rows are counted"},
};
static const struct pst_column columns[] = {
    {"symbol", PST_SYMBOL}, {"rows", PST_LONG}, {"first", PST_TIMESTAMP}, {"last", PST_TIMESTAMP}};
static const struct pst_query query = {
    "symbol_count", "Rows of a symbol in a table.", parameters, 2, columns, 4, symbol_count, NULL};

PST_PLUGIN("symbol_count", "1.0", "Counts rows of a symbol.")

PST_PLUGIN_EXPORT int pst_plugin_register(struct pst_registry *registry)
{
    return pst_host->add(registry, &query);
}
