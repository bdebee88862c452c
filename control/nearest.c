/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base.h"
#include "nearest.h"

#define WORD_MAX 64

/* Edit distance with transpositions counted as two edits; words beyond WORD_MAX are cut. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[WORD_MAX + 1], la = (unsigned)strnlen(a, WORD_MAX),
                                lb = (unsigned)strnlen(b, WORD_MAX);
    for (unsigned j = 0; j <= lb; j++)
        row[j] = j;
    for (unsigned i = 1; i <= la; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= lb; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[lb];
}

const char *nearest_word(const char *word, const char *const *list, unsigned n)
{
    unsigned limit = (unsigned)strnlen(word, WORD_MAX) / 3, best = 0;
    const char *found = NULL;
    if (limit < 2)
        limit = 2;
    for (unsigned i = 0; i < n; i++) {
        unsigned d = distance(word, list[i]);
        if (d <= limit && (!found || d < best)) {
            found = list[i];
            best = d;
        }
    }
    return found;
}
