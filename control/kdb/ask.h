/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask.h - requests as a client of a Penstock writes them (request.h reads them): `penstock sub`,
 * libpenstock, an instance whose upstream is another. Pure functions that append to a struct
 * kdb_out, any thread; kdb_frame_end(out, what was returned) ends a request and says whether all of
 * it went well.
 */
#pragma once

#include "kdb_object.h"

/* (function; ...), synchronous: `args` objects follow. */
size_t kdb_ask(struct kdb_out *o, const char *function, uint32_t args);
/* (".pst.sub"; dict): the values of these keys follow, in their order. */
size_t kdb_ask_sub(struct kdb_out *o, const char *const *keys, uint32_t n);

void kdb_ask_names(struct kdb_out *o, const char *list); /* commas between, blanks around dropped */
void kdb_ask_word(struct kdb_out *o, const char *word);  /* a symbol */
void kdb_ask_text(struct kdb_out *o, const char *text);
void kdb_ask_flag(struct kdb_out *o, bool v);
