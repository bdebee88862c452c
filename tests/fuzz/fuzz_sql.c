/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile SQL: rewrite, parse, bind, and what prints plans and errors. Whatever the text, there is
 * a plan or one sentence with a place inside the text, and bounded time and depth.
 */
#include "core/schema.h"
#include "bind.h"

static const struct query_column trade_cols[] = {
    {"date", PST_DATE}, {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},  {"price", PST_FLOAT},
    {"size", PST_INT},  {"side", PST_CHAR},      {"text", PST_STRING}, {"ok", PST_BOOLEAN},
    {"b", PST_BYTE},    {"g", PST_GUID},         {"d", PST_TIMESPAN},  {"m", PST_MONTH},
    {"u", PST_MINUTE},  {"v", PST_SECOND},       {"t", PST_TIME},      {"e", PST_REAL},
    {"h", PST_SHORT},   {"j", PST_LONG}};
static const struct query_column quote_cols[] = {{"date", PST_DATE},
                                                 {"time", PST_TIMESTAMP},
                                                 {"sym", PST_SYMBOL},
                                                 {"bid", PST_FLOAT},
                                                 {"ask", PST_FLOAT}};
static const struct query_table tables[] = {
    {.name = "trade", .ncols = PST_COUNT(trade_cols), .cols = trade_cols},
    {.name = "quote", .ncols = PST_COUNT(quote_cols), .cols = quote_cols}};

static const struct query_table *at(void *ctx, unsigned i)
{
    (void)ctx;
    return i < PST_COUNT(tables) ? &tables[i] : NULL;
}
static const struct query_table *find(void *ctx, const char *name)
{
    (void)ctx;
    return !strcmp(name, "trade") ? &tables[0] : !strcmp(name, "quote") ? &tables[1] : NULL;
}

static const struct query_call_param params[] = {{"sym", PST_SYMBOL, false}, {"n", PST_LONG, true}};
static const struct query_function function = {.name = "top",
                                               .nparams = 2,
                                               .params = params,
                                               .ncols = PST_COUNT(quote_cols),
                                               .cols = quote_cols};
static const struct query_function *find_function(void *ctx, const char *name)
{
    (void)ctx;
    return !strcmp(name, "top") ? &function : NULL;
}
static const struct query_function *function_at(void *ctx, unsigned i)
{
    (void)ctx;
    return i ? NULL : &function;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct query_view views[] = {
        {"big", "select *, price * 2 as twice from trade where size > 100"},
        {"bigger", "select sym, twice from big where twice > 5"},
        {"broken", "select nothing from trade"},
        {"self", "select * from self"}};
    static const struct query_param param[] = {
        {"1", 0, "5"}, {"x", PST_SYMBOL, "A"}, {"2", PST_DATE, NULL}};
    struct query_env env = {.tables = {NULL, find, at},
                            .functions = {.find = find_function, .at = function_at},
                            .views = views,
                            .nviews = PST_COUNT(views)};
    struct query_request q = {
        .sql = (const char *)data, .len = size, .params = param, .nparams = 3};
    struct query_error e;
    struct plan *p = query_plan(&env, &q, &e);
    if (p) {
        struct text_out o = {0};
        plan_text_lines(&o, p, true);
        for (uint32_t i = 0; i < p->noutputs; i++) {
            pst_must(p->output[i].expr->id < p->nexprs && type_width(p->output[i].expr->type));
        }
        free(o.p);
        plan_free(p);
    } else {
        pst_must(e.code > 0 && e.code <= QUERY_LIMIT && *e.text && strlen(e.text) < sizeof e.text);
        pst_must(e.position >= -1 && e.position <= (int64_t)size);
    }
    return 0;
}
