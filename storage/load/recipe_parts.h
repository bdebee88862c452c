/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recipe_parts.h - how a recipe is read, shared by the files recipe*.c and private to them:
 *
 *   recipe.c          the whole: defaults, what goes together, life
 *   recipe_value.c    texts, numbers, booleans, and the sentence that says what is wrong
 *   recipe_members.c  members that stand for themselves; recipe_feed.c: those of feeds
 *   recipe_columns.c  members that name columns of the table: read behind all others
 *   recipe_file.c     names of files
 *
 * Functions return false when something is wrong, with x->err set. One thread.
 */
#pragma once

#include "load/recipe.h"

struct recipe_reading {
    struct load_recipe *r;
    struct err *err;
};

/* -EINVAL: "load.files: <recipe>: <member>: ..." */
bool recipe_wrong(struct recipe_reading *x, const char *member, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool recipe_no_memory(struct err *err);

bool recipe_is_bool(const json_t *v, bool *out); /* says nothing when it is none */
bool recipe_bool(struct recipe_reading *x, const char *name, const json_t *v, bool *out);
bool recipe_integer(struct recipe_reading *x, const char *name, const json_t *v, int64_t least,
                    int64_t most, int64_t *out);
bool recipe_text(struct recipe_reading *x, const char *name, const json_t *v, char *out,
                 size_t room);
/* *out: freed, then a copy. */
bool recipe_copy(struct recipe_reading *x, const char *name, const json_t *v, char **out);
bool recipe_byte(struct recipe_reading *x, const char *name, const json_t *v, char *out);

/* Any member but those that recipe_columns reads: they are known and passed over. */
bool recipe_member(struct recipe_reading *x, const char *name, const json_t *v);
bool recipe_take_feed(struct recipe_reading *x, const char *name, const json_t *v);
bool recipe_take_session(struct recipe_reading *x, const char *name, const json_t *v);
bool recipe_take_decoder(struct recipe_reading *x, const char *name, const json_t *v);
bool recipe_take_framing(struct recipe_reading *x, const char *name, const json_t *v);
bool recipe_take_framing_bytes(struct recipe_reading *x, const char *name, const json_t *v);
bool recipe_take_groups(struct recipe_reading *x, const char *name, const json_t *v);

/* time, times, scale, constants, optional, columns: once the table is known. */
bool recipe_columns(struct recipe_reading *x, const json_t *o);
/* False: no memory. */
bool recipe_constant(struct load_recipe *r, int col, const char *text, size_t n);
bool recipe_is_time(uint8_t type);
