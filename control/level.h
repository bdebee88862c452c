/* SPDX-License-Identifier: Apache-2.0 */
/* level.h - what the key `access` lets a local user do. May ask the name service: control and auth
 * threads only. */
#pragma once

#include "cmd.h"
#include "config.h"

/* own: the daemon's uid, which is admin like root. */
enum level level_of(const struct config_access *a, uid_t own, uid_t uid, gid_t gid);
