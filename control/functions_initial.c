/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in initial-state functions: none, csv. */
#include <stdio.h>
#include "core/civil.h"
#include "functions_built_in.h"

static int32_t nothing(const struct pst_function_host *host, const struct pst_start_facts *facts,
                       const struct pst_start_api *api, struct pst_start *start,
                       const struct pst_arguments *args)
{
    (void)host, (void)facts, (void)api, (void)start, (void)args;
    return 0;
}

/* csv, csv(directory=/dir): one file a table; a file that is not there is no error. */
static int32_t csv(const struct pst_function_host *host, const struct pst_start_facts *facts,
                   const struct pst_start_api *api, struct pst_start *start,
                   const struct pst_arguments *args)
{
    const char *given = pst_argument(args, "directory");
    (void)host;
    if (args->n > (given ? 1u : 0u))
        return api->error(start, "csv takes one argument, directory=");
    int y, m, d;
    civil_date(facts->day, &y, &m, &d);
    for (uint32_t i = 0;; i++) {
        char path[1400], source[100];
        const char *table = api->configured(start, i);
        if (!table)
            return 0;
        snprintf(path, sizeof path, "%.1000s%s/%s.csv", given ? given : facts->state_directory,
                 given ? "" : "/initial", table);
        snprintf(source, sizeof source, "init/%s/%04d%02d%02d", table, y, m, d);
        if (api->csv(start, table, path, source) < 0)
            return -1;
    }
}

const struct pst_daemon_function function_none = {
    PST_FUNCTION_HEAD(PST_FUNCTION_INITIAL, "none", "No rows."), .initial = {.run = nothing}};
const struct pst_daemon_function function_csv = {
    PST_FUNCTION_HEAD(PST_FUNCTION_INITIAL, "csv",
                      "The rows of <state_directory>/initial/<table>.csv, once a trading date."),
    .initial = {.run = csv}};
