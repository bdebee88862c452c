/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A column file of any bytes: the first two say how many of the last belong to `<name>#`. It is
 * refused with one sentence, or every value it announces can be read: fixed values, indexes, and
 * strings inside their text. The same bytes as a symbol vector, and as a compressed file.
 */
#include <sys/mman.h>
#include "kdb_file.h"
#include "core/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void one_sentence(const struct err *e)
{
    pst_must(e->code < 0 && *e->text && !strchr(e->text, '\n'));
}

static bool take(void *arg, const char *text, size_t len)
{
    *(uint64_t *)arg += len + 1;
    pst_must(!memchr(text, 0, len) && text[len] == 0);
    return true;
}

static void read_all(const struct kdb_column *c)
{
    uint64_t sum = 0, width = kdb_width(c->type);
    pst_must(width);
    for (uint64_t i = 0; i < c->rows * width; i++)
        sum += ((const uint8_t *)c->values)[i];
    const int64_t *end = c->values;
    for (uint64_t i = 0; c->type == PST_STRING && i < c->rows; i++)
        for (int64_t k = i ? end[i - 1] : 0; k < end[i]; k++)
            sum += (uint8_t)c->bytes[k];
    sink = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kdb_column c;
    struct err err = {0};
    if (size < 2)
        return 0;
    size_t more = le16(data);
    const uint8_t *image = data + 2;
    size -= 2;
    more = more < size ? more : size;
    size_t len = size - more;
    if (kdb_parse(&c, image, len, image + len, more, "x", &err)) {
        pst_must(c.compressed || c.shape == KDB_ENUM32 ||
                 c.rows * kdb_width(c.type) + KDB_SYMBOLS_HEADER <= len);
        read_all(&c);
        kdb_close(&c);
    } else {
        one_sentence(&err);
        pst_must(!c.npieces);
    }
    uint64_t bytes = KDB_SYMBOLS_HEADER;
    size_t torn;
    if (kdb_symbols_parse(image, size, take, &bytes, &torn, "x", &err))
        pst_must(bytes + torn == size);
    else
        one_sentence(&err);
    void *plain;
    size_t plain_len;
    if (kdb_unpack(image, size, &plain, &plain_len, "x", &err)) {
        pst_must(plain_len);
        munmap(plain, pst_align_up(plain_len, 4096));
    } else {
        one_sentence(&err);
    }
    return 0;
}
