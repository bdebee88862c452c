/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin whose query reads its rows, waits until its process has been stopped and continued (for
 * a second or more), and reads them again: of the cut that it began with (concurrent.sh).
 */
#include <penstock/plugin.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int patient(struct pst_call *call, const struct pst_value *arg, void *data)
{
    struct pst_rows *before, *after;
    char sql[200];
    (void)data;
    snprintf(sql, sizeof sql,
             "SELECT date, count(*) AS n, sum(seq) AS s, max(seq) AS m FROM %.*s GROUP BY date "
             "ORDER BY date",
             (int)arg[0].text.len, arg[0].text.at);
    if (pst_host->sql(call, sql, NULL, 0, &before))
        return -1;
    pst_host->log("patient waits");
    for (int64_t last = now_ms(), t; (t = now_ms()) - last < 1000; last = t) {
        if (pst_host->cancelled(call))
            return -1;
        usleep(1000);
    }
    if (pst_host->sql(call, sql, NULL, 0, &after))
        return -1;
    const struct pst_rows *both[] = {before, after};
    for (unsigned i = 0; i < 2; i++)
        for (uint64_t r = 0; r < both[i]->nrows; r++) {
            struct pst_value v[5] = {{.type = PST_LONG, .i = i},
                                     {.type = PST_DATE},
                                     {.type = PST_LONG},
                                     {.type = PST_LONG},
                                     {.type = PST_LONG}};
            v[1].i = ((const int32_t *)both[i]->column[0].values)[r];
            for (unsigned c = 1; c < 4; c++)
                v[c + 1].i = ((const int64_t *)both[i]->column[c].values)[r];
            if (pst_host->append(call, v))
                return -1;
        }
    return 0;
}

static const struct pst_parameter parameters[] = {
    {"table", PST_SYMBOL, NULL, "whose rows are counted"}};
static const struct pst_column columns[] = {
    {"again", PST_LONG}, {"date", PST_DATE}, {"n", PST_LONG}, {"s", PST_LONG}, {"m", PST_LONG}};
static const struct pst_query query = {
    "patient", "Rows, a pause, the same rows.", parameters, 1, columns, 5, patient, NULL};

PST_PLUGIN("patient", "1", "A reader that holds its cut.")
PST_PLUGIN_EXPORT int pst_plugin_register(struct pst_registry *r)
{
    return pst_host->add(r, &query);
}
