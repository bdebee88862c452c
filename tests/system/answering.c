/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named queries for ipc-answers.sh: echo gives its arguments back, rows_of counts a table by SQL,
 * busy runs until it is cancelled. Built with SNAP it brings one query, snap, instead.
 */
#include <penstock/plugin.h>
#include <stdio.h>
#include <unistd.h>

#ifdef SNAP
static int snap(struct pst_call *call, const struct pst_value *arg, void *data)
{
    (void)data;
    return pst_host->append(call, &arg[0]);
}

static const struct pst_parameter parameters[] = {{"table", PST_SYMBOL, NULL, "whose snapshot"}};
static const struct pst_column columns[] = {{"of", PST_SYMBOL}};
static const struct pst_query query = {
    "snap", "The snapshot of a dashboard.", parameters, 1, columns, 1, snap, NULL};

PST_PLUGIN("snapping", "1.0", "A snapshot of its own.")
PST_PLUGIN_EXPORT int pst_plugin_register(struct pst_registry *r)
{
    return pst_host->add(r, &query);
}
#else
static const struct pst_parameter echoed[] = {
    {"b", PST_BOOLEAN, "false", ""},  {"x", PST_BYTE, "0", ""},
    {"i", PST_INT, "7", ""},          {"j", PST_LONG, "-1", ""},
    {"e", PST_REAL, "0.5", ""},       {"f", PST_FLOAT, "1.5", ""},
    {"c", PST_CHAR, "c", ""},         {"s", PST_SYMBOL, "none", ""},
    {"t", PST_STRING, "text", ""},    {"p", PST_TIMESTAMP, "2026.01.01", ""},
    {"m", PST_MONTH, "2026.01", ""},  {"d", PST_DATE, "2026.01.01", ""},
    {"n", PST_TIMESPAN, "00:00", ""}, {"u", PST_MINUTE, "00:00", ""},
    {"v", PST_SECOND, "00:00", ""},   {"w", PST_TIME, "00:00", ""}};
#define ECHOED 16u
static struct pst_column columns[ECHOED];

static int echo(struct pst_call *call, const struct pst_value *arg, void *data)
{
    (void)data;
    return pst_host->append(call, arg);
}

static int rows_of(struct pst_call *call, const struct pst_value *arg, void *data)
{
    struct pst_rows *rows;
    char sql[300];
    (void)data;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %.*s", (int)arg[0].text.len, arg[0].text.at);
    if (pst_host->sql(call, sql, NULL, 0, &rows))
        return -1;
    struct pst_value n = {.type = PST_LONG, .i = ((const int64_t *)rows->column[0].values)[0]};
    return pst_host->append(call, &n);
}

static int busy(struct pst_call *call, const struct pst_value *arg, void *data)
{
    (void)arg, (void)data;
    while (!pst_host->cancelled(call))
        usleep(1000);
    return -1;
}

static const struct pst_parameter table[] = {{"table", PST_SYMBOL, NULL, "whose rows"}};
static const struct pst_column rows[] = {{"rows", PST_LONG}};
static const struct pst_query queries[] = {
    {"echo", "Its arguments.", echoed, ECHOED, columns, ECHOED, echo, NULL},
    {"rows_of", "Rows of a table.", table, 1, rows, 1, rows_of, NULL},
    {"busy", "Runs until it is cancelled.", NULL, 0, rows, 1, busy, NULL}};

PST_PLUGIN("answering", "1.0", "For tests of kdb+ IPC.")
PST_PLUGIN_EXPORT int pst_plugin_register(struct pst_registry *r)
{
    for (unsigned i = 0; i < ECHOED; i++)
        columns[i] = (struct pst_column){echoed[i].name, echoed[i].type};
    for (unsigned i = 0; i < 3; i++)
        if (pst_host->add(r, &queries[i]))
            return -1;
    return 0;
}
#endif
