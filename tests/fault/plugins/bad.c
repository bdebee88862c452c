/* SPDX-License-Identifier: Apache-2.0 */
/* Plugins that must not load: one object for each value of BAD. */
#include <penstock/plugin.h>
#include <signal.h>

#if BAD != 3 /* 3: without the function */
static int nothing(struct pst_call *call, const struct pst_value *arg, void *data)
{
    (void)call, (void)arg, (void)data;
    return 0;
}
static const struct pst_column column[] = {{"a", PST_LONG}, {"a", PST_LONG}};
static const struct pst_parameter parameter[] = {{"p", PST_LONG, "seven", ""}};
#endif

PST_PLUGIN_EXPORT const struct pst_host *pst_host;
PST_PLUGIN_EXPORT const struct pst_plugin pst_plugin = {
#if BAD == 1 /* another interface */
    PST_PLUGIN_ABI + 1, sizeof(struct pst_host),
#elif BAD == 2 /* of a newer Penstock */
    PST_PLUGIN_ABI, sizeof(struct pst_host) + 8,
#else
    PST_PLUGIN_ABI, sizeof(struct pst_host),
#endif
    "bad", "1", ""};

#if BAD != 3
PST_PLUGIN_EXPORT int pst_plugin_register(struct pst_registry *r)
{
    static const struct pst_query queries[] = {
        [4] = {"two_columns", "", 0, 0, column, 2, nothing, 0},
        [5] = {"Bad Name", "", 0, 0, column, 1, nothing, 0},
        [6] = {"bad_default", "", parameter, 1, column, 1, nothing, 0},
        [7] = {"echo", "", 0, 0, column, 1, nothing, 0}, /* misbehave has it */
        [8] = {"no_function", "", 0, 0, column, 1, 0, 0},
        [9] = {0}};
    if (BAD == 9)
        raise(SIGSEGV);
    return BAD == 10 ? -7 : pst_host->add(r, &queries[BAD < 9 ? BAD : 9]);
}
#endif
