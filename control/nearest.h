/* SPDX-License-Identifier: Apache-2.0 */
/* nearest.h - the word of a list that a mistyped one was probably meant to be. Pure. */
#pragma once

/* NULL when nothing is within a third of the word's length (at least two edits). */
const char *nearest_word(const char *word, const char *const *list, unsigned n);
