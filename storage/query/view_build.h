/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_build.h - what the builders of views (view_memory.c, view_rdb.c, view_hdb.c, view_db.c)
 * share. Private to them.
 */
#pragma once

#include "view.h"

struct view *view_new(const char *name, uint32_t parts); /* with `date`; nparts 0 */
bool view_add_column(struct view *v, const char *name, uint8_t type);
/* Hash over `extra`. False: no memory. */
bool view_syms_index(struct view_syms *s);
/* The same when one text was appended to an `extra` that was indexed. */
bool view_syms_add(struct view_syms *s);
/* One block of a row list. False: no memory. */
bool view_list_add(struct view_list *l, const uint32_t *ids, uint32_t n);
/* The parted index; `run` stays the caller's, run_by_code is malloc'd for p. */
bool view_runs_set(struct view_part *p, const struct view_run *run, uint32_t n);

/* base, encoding, stored, aux, aux_bytes: all absent but `date`. False: no memory. */
bool view_part_columns(const struct view *v, struct view_part *p);
/* Those, chunk and run_by_code. */
void view_part_free(struct view_part *p);
/* Can values stored as `have` be read as `want`, without loss, null to null? (exec_load.c does.) */
bool view_converts(uint8_t want, uint8_t have);

struct rdb_part_view;
bool view_add_rdb(struct view *v, const struct rdb_part_view *part);

/* Sym indices of a database -> codes. map NULL: identity. */
struct view_hdb_codes {
    uint32_t *map;
    uint64_t count, room;
};
struct hdb_table;
/* codes and table stay the caller's until view_free. beside: parts in memory of the same date
 * follow, whose keys replace those here. */
bool view_add_hdb(struct view *v, const struct hdb_table *table, int32_t date,
                  const struct view_hdb_codes *codes, uint64_t epoch, bool beside);
