/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener.h - the sockets that the IPC server listens on: TCP ports and the unix socket. Control.
 */
#pragma once

#include <sys/types.h>
#include "core/base.h"

#define LISTENER_BACKLOG 4096

/* A bound, listening, non-blocking socket, or -1 with one sentence. */
int listener_tcp(const char *address, unsigned port, struct err *err);
/* Mode 0660, of `group` ((gid_t)-1: leave it), from the moment it exists. A file that nobody
 * listens on any more is replaced; any other is an error. */
int listener_unix(const char *path, gid_t group, struct err *err);
