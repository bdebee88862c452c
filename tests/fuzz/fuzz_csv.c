/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as CSV: each row is refused with one line, or is a record that lies in its bounds. */
#include "csv.h"

static uint32_t intern(void *arg, const char *text, uint32_t len)
{
    pst_must(len >= 1 && len <= 255 && !memchr(text, 0, len));
    return (*(uint32_t *)arg)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"b", PST_BOOLEAN}, {"g", PST_GUID},
        {"x", PST_BYTE},         {"h", PST_SHORT},    {"i", PST_INT},     {"j", PST_LONG},
        {"e", PST_REAL},         {"f", PST_FLOAT},    {"c", PST_CHAR},    {"s", PST_SYMBOL},
        {"p", PST_TIMESTAMP},    {"m", PST_MONTH},    {"d", PST_DATE},    {"n", PST_TIMESPAN},
        {"u", PST_MINUTE},       {"v", PST_SECOND},   {"t", PST_TIME},    {"str", PST_STRING},
        {"str2", PST_STRING},
    };
    static uint8_t out[CSV_RECORD_MAX] pst_aligned(8);
    static struct schema schema;
    static struct csv csv;
    struct err e = {0};
    uint32_t ids = 0;
    if (!schema.ncols)
        pst_must(schema_make(&schema, 9, "t", false, cols, PST_COUNT(cols), &e));
    const char *text = (const char *)data;
    bool header = false;
    for (size_t at = 0, next = 0; at < size; at += next) {
        size_t n = csv_line(text + at, size - at, &next);
        pst_must(next > 0 && next <= size - at && n <= next);
        if (!header) {
            header = csv_header(&csv, &schema, text + at, n, &e);
            pst_must(header || e.text[0]);
            if (!header)
                return 0;
            continue;
        }
        e.text[0] = 0;
        uint32_t bytes = csv_row(&csv, text + at, n, 77, out, intern, &ids, &e);
        if (!bytes) {
            pst_must(e.text[0]);
            continue;
        }
        struct record r;
        memcpy(&r, out, sizeof r);
        pst_must(r.bytes == bytes && bytes % 8 == 0 && bytes >= schema.fixed &&
                 bytes <= CSV_RECORD_MAX && r.table == 9 && r.time != PST_NULL_TIMESTAMP);
        for (unsigned c = 0; c < schema.ncols; c++)
            if (schema.col[c].type == PST_STRING) {
                uint32_t from = le32(out + schema.col[c].offset),
                         len = le32(out + schema.col[c].offset + 4);
                pst_must(!len || (from >= schema.fixed && from + len <= bytes));
            }
    }
    return 0;
}
