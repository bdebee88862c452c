/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place.h - the permutation as a file (index.h, PLACE): written by the index task, mapped by the
 * merge tasks. Private to them. One thread.
 */
#pragma once

#include <jansson.h>
#include "partition.h"

struct load_place_file {
    unsigned width; /* bytes an integer */
    uint64_t rows, bytes;
    uint32_t crc;  /* CRC-32C, seed 0: checked in another boot, as the file is not synced */
    char boot[40]; /* of the kernel that was running */
};

bool load_place_write(struct io *io, const char *dir, const struct wd_order *o,
                      struct load_place_file *f, struct err *err);
json_t *load_place_json(const struct load_place_file *f);
bool load_place_take(struct load_place_file *f, const json_t *o);
/* -ESTALE: it is not there or damaged: index again. `map` is given back to load_place_close. */
const uint32_t *load_place_open(const struct load_place_file *f, const char *dir, void **map,
                                struct err *err);
void load_place_close(const struct load_place_file *f, void *map);
/* The order in which chunks are moved (struct wd_step), where files lie among each other in time.
 */
bool load_walk_write(struct io *io, const char *dir, const struct wd_order *o, struct err *err);
/* Checked against the sources; -ESTALE as above. */
bool load_walk_read(const char *dir, struct wd_order *o, const struct wd_source *source,
                    unsigned nsources, struct err *err);
