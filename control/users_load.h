/* SPDX-License-Identifier: Apache-2.0 */
/* users_load.h - one load of the users file. Private to users*.c. */
#pragma once

#include "core/atomics.h"
#include "users.h"

struct config_arena;

struct users_place { /* of a scram value in the text */
    size_t line, column, end_line, end_column;
};

struct users_load {
    _Atomic uint32_t refs; /* the holder's, and one for each user that is held */
    struct config_arena *arena;
    struct user *user; /* by name */
    struct users_place *at;
    uint32_t count;
    uint32_t cost; /* iterations of the dearest verifier */
};
