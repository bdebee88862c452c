/* SPDX-License-Identifier: Apache-2.0 */
/* nearest.h - which name a mistyped one was probably meant to be. Pure; any thread. */
#pragma once

#define NEAREST_MAX 64u /* longest name that is looked at */

/* Edits (insert, delete, change, swap of neighbours) between two names, without case; '-' is '_'.
 * NEAREST_MAX when one is longer than that. */
unsigned nearest_edits(const char *a, const char *b);

/* NULL when nothing is within a third of the word's length (at least two edits). */
const char *nearest_word(const char *word, const char *const *list, unsigned n);
