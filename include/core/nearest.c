/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base.h"
#include "core/nearest.h"

static int fold(char c)
{
    return c == '-' ? '_' : c >= 'A' && c <= 'Z' ? c | 32 : c;
}

unsigned nearest_edits(const char *a, const char *b)
{
    unsigned row[3][NEAREST_MAX + 1];
    size_t n = strnlen(a, NEAREST_MAX + 1), m = strnlen(b, NEAREST_MAX + 1);
    if (n > NEAREST_MAX || m > NEAREST_MAX)
        return NEAREST_MAX;
    unsigned *before = row[0], *last = row[1], *now = row[2];
    for (size_t j = 0; j <= m; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            int ca = fold(a[i - 1]), cb = fold(b[j - 1]);
            unsigned best = last[j - 1] + (ca != cb);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && ca == fold(b[j - 2]) && fold(a[i - 2]) == cb &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
        unsigned *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[m];
}

const char *nearest_word(const char *word, const char *const *list, unsigned n)
{
    unsigned limit = (unsigned)strnlen(word, NEAREST_MAX) / 3, best = 0;
    const char *found = NULL;
    if (limit < 2)
        limit = 2;
    for (unsigned i = 0; i < n; i++) {
        unsigned d = nearest_edits(word, list[i]);
        if (d <= limit && (!found || d < best)) {
            found = list[i];
            best = d;
        }
    }
    return found;
}
