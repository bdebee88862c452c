/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in initial-state functions. */
#include "functions_built_in.h"

static int32_t nothing(const struct pst_function_host *host, const struct pst_start_facts *facts,
                       const struct pst_start_api *api, struct pst_start *start,
                       const struct pst_arguments *args)
{
    (void)host, (void)facts, (void)api, (void)start, (void)args;
    return 0;
}

const struct pst_daemon_function function_none = {
    PST_FUNCTION_HEAD(PST_FUNCTION_INITIAL, "none", "No rows."), .initial = {.run = nothing}};
