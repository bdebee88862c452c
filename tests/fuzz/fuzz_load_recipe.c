/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a recipe: refused with a sentence, or one that encodes to what decodes again; then
 * any bytes as the name of a file. */
#include "load/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t n = nul ? (size_t)(nul - data) : size;
    struct load_recipe *r = load_recipe_parse((const char *)data, n, &err);
    if (!r) {
        pst_must(err.code < 0 && err.text[0] && strlen(err.text) < sizeof err.text);
        return 0;
    }
    for (unsigned i = 0; i < r->nfields; i++)
        pst_must(r->fields[i].to >= LOAD_TO_NOTHING && r->fields[i].to < r->tables[0].ncols);
    for (unsigned i = 0; i < SCHEMA_COLUMNS_MAX; i++)
        pst_must(r->rule[i].divide > 0 && r->rule[i].multiply && r->rule[i].time < LOAD_TIME_END &&
                 (!r->rule[i].constant || r->rule[i].value));
    json_t *o = load_recipe_encode(r);
    struct load_recipe *again = load_recipe_decode(o, &err);
    pst_must(again && again->nfields == r->nfields && again->format == r->format);
    json_decref(o);
    load_recipe_free(again);
    char name[256];
    size_t left = nul ? size - n - 1 : 0;
    snprintf(name, sizeof name, "%.*s", (int)(left < 255 ? left : 255),
             nul ? (const char *)nul + 1 : "");
    err.text[0] = 0;
    if (!load_recipe_file(r, name, &err))
        pst_must(err.text[0]);
    load_recipe_free(r);
    return 0;
}
