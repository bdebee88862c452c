/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in recovery functions: salvage, truncate, refuse. What each throws away or leaves is
 * said by storage/recovery, before and after. */
#include <stdio.h>
#include "functions_built_in.h"

/* None of them takes arguments; one that is given is refused where the function is loaded. */
static int32_t salvage(const struct pst_function_host *host, struct pst_range *range,
                       const struct pst_arguments *args, char *sentence, uint32_t room)
{
    (void)host, (void)range, (void)args, (void)sentence, (void)room;
    return PST_SALVAGE;
}

static int32_t truncate_at(const struct pst_function_host *host, struct pst_range *range,
                           const struct pst_arguments *args, char *sentence, uint32_t room)
{
    (void)host, (void)range, (void)args, (void)sentence, (void)room;
    return PST_TRUNCATE;
}

/* What a power cut leaves behind is no damage: a torn tail or a hole that was never durable. */
static int32_t refuse(const struct pst_function_host *host, struct pst_range *range,
                      const struct pst_arguments *args, char *sentence, uint32_t room)
{
    (void)host, (void)args, (void)sentence, (void)room;
    bool normal =
        range->damage == PST_TORN || range->damage == PST_HOLE || range->damage == PST_MISSING;
    return normal && !range->was_durable ? PST_SALVAGE : PST_REFUSE;
}

const struct pst_daemon_function function_salvage = {
    PST_FUNCTION_HEAD(PST_FUNCTION_RECOVERY, "salvage",
                      "Keeps every sound frame, copies what is damaged to quarantine, starts."),
    .recovery = salvage};
const struct pst_daemon_function function_truncate = {
    PST_FUNCTION_HEAD(PST_FUNCTION_RECOVERY, "truncate",
                      "The log ends before the first damage; what follows is thrown away."),
    .recovery = truncate_at};
const struct pst_daemon_function function_refuse = {
    PST_FUNCTION_HEAD(PST_FUNCTION_RECOVERY, "refuse",
                      "Does not start on a damaged log: people look first."),
    .recovery = refuse};
