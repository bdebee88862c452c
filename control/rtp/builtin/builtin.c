/* SPDX-License-Identifier: Apache-2.0 */
#include "builtin.h"

const struct pst_rtp_host *pst_rtp_host;

#define BUILTINS(X) X(filter) X(last) X(ohlc) X(vwap) X(rate) X(threshold) X(moncpu) X(orders)

#define X(name)                                                                                    \
    extern const struct pst_rtp_plugin name##_plugin;                                              \
    int name##_register(struct pst_rtp_registry *);
BUILTINS(X)
#undef X

const struct builtin builtins[] = {
#define X(name) {&name##_plugin, name##_register},
    BUILTINS(X)
#undef X
};
const uint32_t builtins_n = sizeof builtins / sizeof *builtins;
