/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "truth.h"

static uint64_t little(const uint8_t *p, int width)
{
    uint64_t v = 0;
    while (width-- > 0)
        v = v << 8 | p[width];
    return v;
}

bool truth_reader_open(struct truth_reader *t, const char *path)
{
    char magic[9];
    *t = (struct truth_reader){.f = fopen(path, "rbe")};
    if (t->f && fread(magic, 1, 9, t->f) == 9 && memcmp(magic, "PSTTRUTH1", 9) == 0)
        return true;
    truth_reader_close(t);
    return false;
}

int truth_reader_next(struct truth_reader *t, struct truth_record *r)
{
    uint8_t h[32];
    size_t n = fread(h, 1, sizeof h, t->f);
    if (n == 0)
        return 0;
    if (n < sizeof h)
        return -1;
    *r = (struct truth_record){.session = (uint32_t)little(h, 4),
                               .len = (uint32_t)little(h + 4, 4),
                               .seq = little(h + 8, 8),
                               .sent = (int64_t)little(h + 16, 8),
                               .lines = (uint32_t)little(h + 24, 4),
                               .flags = (uint32_t)little(h + 28, 4)};
    if (r->len > t->cap) {
        uint8_t *p = r->len > 1u << 20 ? NULL : realloc(t->buf, r->len);
        if (!p)
            return -1;
        t->buf = p;
        t->cap = r->len;
    }
    r->bytes = t->buf;
    return fread(t->buf, 1, r->len, t->f) == r->len ? 1 : -1;
}

void truth_reader_close(struct truth_reader *t)
{
    if (t->f)
        fclose(t->f);
    free(t->buf);
    *t = (struct truth_reader){0};
}
