/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as delimited text. The first five choose the recipe, window and how the bytes are cut;
 * the rest is the file. All builds, whole and in pieces, must give the same rows and bad rows; a
 * block is always whole, and nothing outside the input is read.
 */
#include "unit/load_text_kit.h"

static const struct column_def every[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"b", PST_BOOLEAN}, {"g", PST_GUID},
    {"x", PST_BYTE},         {"h", PST_SHORT},    {"i", PST_INT},     {"j", PST_LONG},
    {"e", PST_REAL},         {"f", PST_FLOAT},    {"c", PST_CHAR},    {"s", PST_SYMBOL},
    {"p", PST_TIMESTAMP},    {"m", PST_MONTH},    {"d", PST_DATE},    {"n", PST_TIMESPAN},
    {"u", PST_MINUTE},       {"v", PST_SECOND},   {"t", PST_TIME},    {"str", PST_STRING},
};
#define OPTIONAL ",\"optional\":[\"*\"]"
static const char *const recipes[] = {
    OPTIONAL,
    OPTIONAL ",\"escape\":\"\\\\\",\"comment\":\"#\",\"nulls\":[\"NA\",\"0\"]",
    OPTIONAL ",\"ragged\":true,\"rest\":true,\"trim\":true,\"separator\":\";\",\"decimal\":\",\","
             "\"thousands\":\".\",\"date_format\":\"dmy\"",
    OPTIONAL ",\"separator\":\"||\",\"quote\":\"'\",\"zone\":\"America/New_York\",\"skip_lines\":1",
    OPTIONAL ",\"header\":false,\"columns\":[\"time\",\"sym\",\"f\",\"j\",\"c\",\"str\"],"
             "\"scale\":{\"f\":0.0001,\"j\":100}",
    OPTIONAL ",\"header\":false,\"columns\":[\"-\",\"time\",\"sym\",\"e\",\"i\",\"p\"],\"time\":"
             "\"day_ms\",\"date\":\"2024.11.03\",\"zone\":\"America/New_York\"",
    OPTIONAL ",\"header\":false,\"columns\":[\"time\",\"p\",\"n\",\"d\"],\"time\":"
             "\"%Y-%m-%d[ %H:%M[:%S[.%f]]][%Z]\",\"date_format\":\"mdy\"",
    OPTIONAL ",\"date\":\"column day\",\"columns\":{\"day\":\"-\",\"t\":\"time\",\"s\":\"sym\","
             "\"n\":\"n\",\"*\":\"-\"},\"times\":{\"time\":\"clock\",\"n\":\"day_ns\"},"
             "\"zone\":\"Europe/London\"",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kit kits[PST_COUNT(recipes)], other;
    static struct schema s;
    struct err err;
    if (size < 5 || size > 100000)
        return 0;
    if (!s.ncols)
        pst_must(schema_make(&s, 7, "t", false, every, PST_COUNT(every), &err));
    unsigned which = data[0] % PST_COUNT(recipes);
    struct kit *k = &kits[which];
    if (!k->recipe) {
        kit_open(k, &s, recipes[which]);
        k->most = UINT64_MAX;
        load_text_force(TEXT_PORTABLE);
    }
    size_t window = 64 + (data[1] & 3 ? (size_t)data[1] * 8 : 65536), cut = data[2], step = data[3];
    const char *text = (const char *)data + 5;
    size -= 5;
    struct load_text_facts a, b;
    load_text_force(TEXT_PORTABLE);
    bool ok = kit_read(k, text, size, 0, 0, 0, &a);
    /* the same recipe, rows and rejects of its own */
    other.recipe = k->recipe;
    other.most = UINT64_MAX;
    if (!other.dict.slot)
        pst_must(load_dict_init(&other.dict, &err));
    load_text_force(TEXT_PORTABLE);
    load_text_force((enum text_isa)(data[4] % TEXT_ISAS)); /* where this machine has it */
    pst_must(kit_read(&other, text, size, window, cut, step, &b) == ok);
    if (!ok) {
        pst_must(!strcmp(k->err.text, other.err.text) && k->err.text[0]);
        return 0;
    }
    pst_must(!strcmp(kit_rows(k), kit_rows(&other)));
    pst_must(!strcmp(kit_rejects(k), kit_rejects(&other)));
    pst_must(a.rows == k->nrows && a.rejected == k->nrejects && a.rows == b.rows &&
             a.lines == b.lines && a.skipped == b.skipped && a.header == b.header);
    return 0;
}
