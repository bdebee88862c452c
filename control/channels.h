/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channels.h - names of channels to addresses, by the directory file that key messaging_server
 * names: one line `NAME ADDRESS` a channel, # begins a comment. Several instances share the file;
 * who publishes on a channel writes its own line.
 *
 * ADDRESS, as subscription_channel may hold it too:
 *   HOST:PORT[:USER:PASSWORD]   a leading colon is allowed, as kdb+ writes it
 *   /PATH or unix:/PATH         a unix socket
 *
 * Blocking calls: no thread that must not block may call these. Readers see the file before or
 * after a change, never between (it is renamed into place); writers wait for each other under a
 * lock of <file>.lock, not longer than `wait_ns`.
 */
#pragma once

#include "core/base.h"

#define CHANNEL_TEXT 512u

bool channels_is_address(const char *text);
/* False: -ENOENT there is no such name; or why the file cannot be read. */
bool channels_find(const char *file, const char *name, char address[CHANNEL_TEXT], struct err *err);
/* The line of that name says that address from now on. *changed: it did not before. */
bool channels_register(const char *file, const char *name, const char *address, int64_t wait_ns,
                       bool *changed, struct err *err);
