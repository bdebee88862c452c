/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a table that a daemon sends: libpenstock refuses it with a sentence, or every value
 * of every row can be asked for in every way.
 */
#include "client/client_int.h"
#include "support/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile double sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct guard g;
    static bool open;
    if (!open) {
        guard_open(&g, 1 << 17);
        open = true;
    }
    if (size > 65536)
        return 0;
    for (enum kdb_order order = KDB_BIG; order <= KDB_LITTLE; order++) {
        const uint8_t *p = guard_copy(&g, data, size);
        struct pst_rows rows = {0};
        struct table *tables = NULL;
        struct kdb_object o;
        struct pst_row row;
        struct err err = {0};
        size_t n, seen = 0;
        if (kdb_object_check(p, size, order, &n, NULL) != KDB_OK)
            continue;
        kdb_object_view(&o, p, order);
        if (!rows_of_table(&rows, &tables, "t", 1, &o, &err)) {
            pst_must(*err.text && !strchr(err.text, '\n'));
        } else {
            for (bool more = pst_first(&rows, &row); more && seen < 2000;
                 more = pst_next_row(&rows, &row), seen++)
                for (unsigned i = 0; i <= row.table->ncolumns; i++) {
                    uint8_t guid[16];
                    uint32_t len;
                    const char *text = pst_text(&rows, &row, i, &len);
                    for (uint32_t k = 0; text && k < len; k++)
                        sink += text[k];
                    sink += (double)pst_long(&rows, &row, i);
                    sink += pst_double(&rows, &row, i);
                    sink += pst_guid(&rows, &row, i, guid) + pst_is_null(&rows, &row, i);
                }
            pst_must(seen == pst_rows_count(&rows) || seen == 2000);
            pst_must(pst_column_of(&tables->pub, tables->pub.column[0].name) == 0);
        }
        rows_clear(&rows);
        tables_free(tables);
    }
    return 0;
}
