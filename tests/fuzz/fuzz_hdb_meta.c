/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A .pstmeta or .pstpart of any bytes: refused with one sentence, or taken whole: what was taken is
 * written again and reads as the same. Their checksums are also made right, so that the parsers
 * behind them see the hostile content.
 */
#include "core/crc.h"
#include "hdb_meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_sentence(const struct err *e)
{
    pst_must(e->code < 0 && *e->text && !strchr(e->text, '\n'));
}

static void meta(const void *text, size_t len)
{
    static struct hdb_meta m, again;
    struct err err = {0};
    if (!hdb_meta_decode(&m, text, len, "x", &err)) {
        one_sentence(&err);
        return;
    }
    size_t n = 0;
    char *out = hdb_meta_encode(&m, &n);
    pst_must(out);
    pst_must(hdb_meta_decode(&again, out, n, "x", &err));
    pst_must(!memcmp(&m, &again, sizeof m));
    free(out);
    struct hdb_source s = {1, 2, 3, "eod"};
    if (!hdb_meta_add_source(&m, &s, &err))
        one_sentence(&err);
    else
        pst_must(hdb_meta_covers(&m, 1, 2, 3));
}

static void parted(const void *bytes, size_t len)
{
    struct hdb_index x;
    struct err err = {0};
    if (!hdb_index_decode(&x, bytes, len, "x", &err)) {
        one_sentence(&err);
        return;
    }
    uint64_t rows = 0;
    for (uint64_t i = 0; i < x.ngroups; i++) {
        rows += x.group[i].rows;
        pst_must(hdb_index_find(&x, x.group[i].sym) == &x.group[i]);
    }
    pst_must(rows == x.rows);
    hdb_index_free(&x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    meta(data, size);
    parted(data, size);
    const uint8_t *nl = memchr(data, '\n', size);
    size_t line = nl ? (size_t)(nl - data) : size;
    char *right = malloc(size + 40);
    pst_must(right);
    memcpy(right, data, line);
    meta(right, line + (size_t)sprintf(right + line, "\ncrc32c %08x\n", crc32c(0, data, line)));
    memcpy(right, data, size);
    if (size >= 32) { /* the head of a parted index: its own magic, and the checksum */
        memcpy(right, "PSTPART1", 8);
        put32(right + 28, 0);
        put32(right + 28, crc32c(0, right, size));
        parted(right, size);
    }
    free(right);
    return 0;
}
