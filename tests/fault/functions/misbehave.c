/* SPDX-License-Identifier: Apache-2.0 */
/* In-process functions that are wrong in one way each, for test_functions and system/recovery. */
#include <penstock/functions.h>
#include <signal.h>
#include <stdlib.h>

static int32_t aborts(const struct pst_function_host *host, struct pst_range *range,
                      const struct pst_arguments *args, char *sentence, uint32_t room)
{
    (void)host, (void)range, (void)args, (void)sentence, (void)room;
    abort();
}
static int32_t odd(const struct pst_function_host *host, struct pst_range *range,
                   const struct pst_arguments *args, char *sentence, uint32_t room)
{
    (void)host, (void)range, (void)args;
    memset(sentence, 'x', room); /* not terminated */
    return 77;
}
static int32_t crashes(const struct pst_function_host *host, const struct pst_start_facts *facts,
                       const struct pst_start_api *api, struct pst_start *start,
                       const struct pst_arguments *args)
{
    (void)host, (void)facts, (void)api, (void)start, (void)args;
    raise(SIGSEGV);
    return 0;
}
static int32_t fails(const struct pst_function_host *host, const struct pst_start_facts *facts,
                     const struct pst_start_api *api, struct pst_start *start,
                     const struct pst_arguments *args)
{
    (void)host, (void)facts, (void)args;
    return api->error(start, "the vendor's file is %d days old", 3);
}
static int32_t wrong_type(const struct pst_function_host *host, const struct pst_start_facts *facts,
                          const struct pst_start_api *api, struct pst_start *start,
                          const struct pst_arguments *args)
{
    (void)host, (void)facts, (void)args;
    struct pst_value row[4] = {{.type = PST_LONG}, {.type = PST_LONG}, {.type = PST_LONG}};
    return api->publish(start, "trade", row, NULL, 0);
}

PST_RECOVERY_FUNCTION(aborting, "Aborts.", aborts)
PST_RECOVERY_FUNCTION(strange, "Answers what is no answer.", odd)
PST_RECOVERY_FUNCTION(hollow, "Has no code.", NULL)
PST_INITIAL_FUNCTION(crashing, "Crashes.", NULL, crashes)
PST_INITIAL_FUNCTION(failing, "Fails.", NULL, fails)
PST_INITIAL_FUNCTION(mistyped, "Gives the wrong types.", NULL, wrong_type)

PST_PLUGIN_EXPORT extern const struct pst_daemon_function newer, larger;
const struct pst_daemon_function newer = {PST_FUNCTIONS_MAGIC,
                                          PST_FUNCTIONS_ABI + 1,
                                          sizeof(struct pst_daemon_function),
                                          PST_FUNCTION_RECOVERY,
                                          0,
                                          "newer",
                                          "Of tomorrow.",
                                          .recovery = odd};
const struct pst_daemon_function larger = {PST_FUNCTIONS_MAGIC,
                                           PST_FUNCTIONS_ABI,
                                           sizeof(struct pst_daemon_function) + 8,
                                           PST_FUNCTION_RECOVERY,
                                           0,
                                           "larger",
                                           "Of tomorrow.",
                                           .recovery = odd};
PST_PLUGIN_EXPORT extern const uint64_t number;
const uint64_t number = 42;
