/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of the verb append. What is accepted: blocks tile the bytes, their points join, their
 * records are rows of tables the peer may write, and the appender's own check takes them.
 */
#include "append_check.h"
#include "batch.h"
#include "core/source.h"
#include "core/tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct schema_set *tables(bool may[TABLE_MAX])
{
    static struct schema_set *set;
    static const struct column_def trade[] = {{"time", PST_TIMESTAMP},
                                              {"sym", PST_SYMBOL},
                                              {"price", PST_FLOAT},
                                              {"venue", PST_SYMBOL},
                                              {"note", PST_STRING}};
    if (!set) {
        struct schema s;
        bool fresh;
        pst_must(set = schema_set_new());
        pst_must(tables_gap(&s, NULL) && schema_set_intern(set, &s, &fresh, NULL));
        pst_must(tables_undecoded(&s, NULL) && schema_set_intern(set, &s, &fresh, NULL));
        pst_must(schema_make(&s, 0, "trade", false, trade, PST_COUNT(trade), NULL));
        pst_must(schema_set_intern(set, &s, &fresh, NULL));
    }
    for (unsigned i = 2; i < 5; i++)
        may[i] = true;
    return set;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool may[TABLE_MAX];
    if (size < 9 || size > APPEND_MAX)
        return 0;
    /* The first 8 bytes choose the peer. */
    struct append_rules rules = {
        .schemas = tables(may), .may = may, .admin = data[0] & 1, .of_source = data[0] & 2};
    may[4] = !(data[0] & 4);
    uint32_t bytes = (uint32_t)(size - 8) / 8 * 8;
    uint8_t *body = aligned_alloc(8, bytes ? bytes : 8);
    pst_must(body != NULL);
    memcpy(body, data + 8, bytes);
    struct append_found f;
    struct err err = {0};
    if (bytes && append_check(&rules, body, bytes, &f, &err)) {
        uint32_t at = 0;
        pst_must(f.blocks && f.blocks <= APPEND_BLOCKS);
        for (unsigned i = 0; i < f.blocks; i++) {
            struct append_block *b = f.block[i];
            pst_must((uint8_t *)b == body + at && b->texts <= f.texts);
            pst_must(!i || !rules.of_source ||
                     (f.block[i - 1]->position == b->after && f.block[i - 1]->row == b->after_row));
            pst_must(!b->day || rules.admin);
            struct batch_rows w = {.schemas = rules.schemas,
                                   .gaps = rules.of_source,
                                   .at = append_records(b),
                                   .bytes = append_record_bytes(b),
                                   .records = b->records,
                                   .locals = b->texts};
            pst_must(!w.bytes || batch_rows_check(&w) == INJECT_ACCEPTED);
            for (uint32_t k = 0; k < w.bytes; k += le16(w.at + k + 2))
                pst_must(le16(w.at + k) == TABLE_PACKET || may[le16(w.at + k)]);
            at += b->bytes;
        }
        pst_must(at == bytes);
    } else {
        pst_must(!bytes || err.code == -EBADMSG || err.code == -EACCES);
    }
    free(body);
    return 0;
}
