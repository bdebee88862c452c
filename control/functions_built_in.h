/* SPDX-License-Identifier: Apache-2.0 */
/* functions_built_in.h - the built-in in-process functions, one line each. */
#pragma once

#include "penstock/functions.h"

#define FUNCTIONS_BUILT_IN                                                                         \
    FUNCTION(function_salvage)                                                                     \
    FUNCTION(function_truncate)                                                                    \
    FUNCTION(function_refuse)                                                                      \
    FUNCTION(function_none)                                                                        \
    FUNCTION(function_csv)                                                                         \
    FUNCTION(function_late)

#define FUNCTION(name) extern const struct pst_daemon_function name;
FUNCTIONS_BUILT_IN
#undef FUNCTION
