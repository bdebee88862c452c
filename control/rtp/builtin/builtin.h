/* SPDX-License-Identifier: Apache-2.0 */
/*
 * builtin.h - the streaming analytics and the processor that penstock-rtp brings along. Each is a
 * plugin like any other, in one file that is written against the installed headers only and that
 * also builds as a shared object (README, "Built-in analytics"); here they are linked into the
 * program. The host loads each of them as it loads a file: its own struct pst_rtp, its own ids, its
 * own hooks.
 *
 * pst_rtp_host, the pointer that they call the host by, is defined here: set it first.
 */
#pragma once

#include <penstock/analytic.h>

struct builtin {
    const struct pst_rtp_plugin *plugin;
    int (*registers)(struct pst_rtp_registry *); /* 0 = loaded */
};
extern const struct builtin builtins[];
extern const uint32_t builtins_n;
