/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "core/schema.h"
#include "rtp_wire.h"
#include "storage/kdb_object.h"

static bool column_ok(void *arg, uint32_t i, const char *name, uint32_t len,
                      const struct kdb_object *column)
{
    (void)arg;
    (void)i;
    char text[SCHEMA_NAME_MAX];
    if (len >= sizeof text)
        return false;
    memcpy(text, name, len);
    text[len] = 0;
    return strlen(text) == len && rtp_name_ok(text) &&
           (column->type == KDB_LIST || kdb_is_vector(column));
}

bool rtp_result_check(const void *body, size_t n, uint32_t rows, struct err *err)
{
    size_t size;
    const char *why = "bytes run out";
    struct kdb_object o;
    struct kdb_table t;
    if (kdb_object_check(body, n, KDB_LITTLE, &size, &why) != KDB_OK || size != n)
        return err_set(err, -EPROTO, "a result that is no kdb+ object: %s",
                       size < n ? "more bytes than it has" : why);
    kdb_object_view(&o, body, KDB_LITTLE);
    if (!kdb_table_view(&t, &o, err))
        return false;
    if (!kdb_table_each(&t, column_ok, NULL))
        return err_set(err, -EPROTO, "a result with a column that is no vector of a sound name");
    return t.rows == rows ||
           err_set(err, -EPROTO, "a result of %u rows that says it has %u", t.rows, rows);
}
