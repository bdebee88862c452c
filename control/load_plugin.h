/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_plugin.h - load functions of plugins (penstock/load.h) as readers and sinks of the read
 * task. Inside penstock-load only.
 *
 * Plugins are loaded at start, from files that belong to root (core/trusted.h), and never unloaded.
 * The main thread adds; afterwards the runner alone calls.
 */
#pragma once

#include <jansson.h>
#include "storage/load/save.h"

bool load_plugins_add(const char *file, struct err *err);
/* [{"plugin","version","about","file","functions":[{"name","kind","about"}]}]; a new reference. */
json_t *load_plugins_json(void);
/* Fills the plugin members. log may be NULL (standard error). */
void load_plugins_hooks(struct load_hooks *h, void (*log)(const char *line));
