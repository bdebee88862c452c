/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trusted.h - may code be loaded from this file? Only when nobody but root and the user that this
 * process runs as can have put it there or can replace it: the file and every directory above it,
 * links resolved, belong to one of them and are writable by no one else (a sticky directory, /tmp,
 * is fine: there names are their owner's). Named queries and in-process functions both ask it.
 */
#pragma once

#include "base.h"

#define TRUSTED_PATH 1024u

/* real: the path with links resolved. what: "plugin", "function": begins the sentence in err. */
bool trusted_file(const char *path, char real[TRUSTED_PATH], const char *what, struct err *err);
