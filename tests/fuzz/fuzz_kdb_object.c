/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a kdb+ object, in both byte orders. Refused with a few words, or: its length holds,
 * every view of it stays inside, written again through its values it has the same bytes, and cut
 * short it is not whole. A log's bytes are taken message by message.
 */
#include "support/kdb_copy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static bool use(void *arg, uint32_t i, const char *name, uint32_t len, const struct kdb_object *c)
{
    (void)arg;
    sink += i + len + (uint8_t)name[len] + c->count;
    pst_must(name[len] == 0 && kdb_object_rows(c) >= 0);
    return true;
}

static void one(const uint8_t *p, size_t n, enum kdb_order order)
{
    struct kdb_object o;
    struct kdb_table t;
    struct err err = {0};
    struct kdb_out out = {0};
    size_t size;
    kdb_object_view(&o, p, order);
    pst_must(kdb_object_end(&o) == p + n);
    kdb_copy(&out, &o);
    pst_must(!out.failed && out.len == n);
    if (order == KDB_LITTLE) {
        pst_must(!memcmp(out.data, p, n));
    } else {
        uint8_t *again = malloc(n + 1);
        pst_must(again && kdb_to_big(out.data, again) == n && !memcmp(again, p, n));
        free(again);
    }
    if (kdb_table_view(&t, &o, &err))
        pst_must(kdb_table_each(&t, use, NULL));
    else
        pst_must(*err.text && !strchr(err.text, '\n'));
    for (unsigned cut = 0; cut < 8 && cut < n; cut++)
        pst_must(kdb_object_check(p, n * cut / 8, order, &size, NULL) == KDB_SHORT &&
                 size > n * cut / 8 && size <= n);
    kdb_out_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n;
    const char *why;
    for (int order = 0; order < 2; order++) {
        size_t at = size > 8 && data[0] == 0xFF && data[1] == 1 ? 8 : 0;
        while (at < size) {
            enum kdb_verdict v =
                kdb_object_check(data + at, size - at, (enum kdb_order)order, &n, &why);
            pst_must(*why ? v != KDB_OK : v == KDB_OK);
            if (v == KDB_SHORT)
                pst_must(n > size - at);
            if (v)
                break;
            one(data + at, n, (enum kdb_order)order);
            at += n;
        }
    }
    struct kdb_frame f;
    if (size >= KDB_FRAME && kdb_frame_read(&f, data, &why) == KDB_OK)
        pst_must(f.length > KDB_FRAME && f.length <= KDB_BYTES_MAX);
    return 0;
}
