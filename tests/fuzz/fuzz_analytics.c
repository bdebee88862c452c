/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as the parameters of a built-in analytic (the first byte chooses it; NAME=VALUE …):
 * refused with a sentence, or it takes rows, the clock and an end of day, gives its state, and
 * leaves nothing behind. Conditions of `filter` are the part that is parsed.
 */
#include "../unit/rtp_double.h"
#include "core/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DAY0 9823
#define T0   (DAY0 * INT64_C(86400000000000))

static const char *const names[] = {"filter", "last", "ohlc", "vwap", "rate", "threshold"};
static const struct pst_column columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},  {"price", PST_FLOAT},  {"size", PST_LONG},
    {"venue", PST_SYMBOL},   {"text", PST_STRING}, {"open", PST_BOOLEAN}, {"side", PST_CHAR},
    {"lot", PST_SHORT},      {"rate", PST_REAL},   {"at", PST_TIMESPAN},  {"id", PST_GUID},
    {"flags", PST_BYTE},     {"day", PST_DATE},
    {"clock", PST_TIME},     {"month", PST_MONTH}};

static void rows(struct rtp_double *d, const struct pst_table *t, int64_t time)
{
    static const char *const texts[] = {"A", "B", "", "XNAS"};
    for (unsigned i = 0; i < 4; i++) {
        struct pst_value v[sizeof columns / sizeof *columns];
        memset(v, 0, sizeof v);
        for (unsigned k = 0; k < sizeof columns / sizeof *columns; k++) {
            v[k].type = columns[k].type;
            if (v[k].type == PST_SYMBOL || v[k].type == PST_STRING)
                v[k].text = (struct pst_text){texts[i], (uint32_t)strlen(texts[i])};
            else if (v[k].type == PST_FLOAT || v[k].type == PST_REAL)
                v[k].f = 100.5 * i;
            else
                v[k].i = k ? i : time + i;
        }
        double_row(d, t, v);
    }
    double_frame(d, time, DAY0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4000)
        return 0;
    const char *name = names[data[0] % (sizeof names / sizeof *names)];
    char parameters[4200];
    int n = snprintf(parameters, sizeof parameters, "table=trade column=price ");
    memcpy(parameters + n, data + 1, size - 1);
    parameters[n + (int)size - 1] = 0;

    struct rtp_double *d = double_new();
    double_builtins(d);
    const struct pst_table *t = double_table(d, "trade", columns, sizeof columns / sizeof *columns);
    rows(d, t, T0);
    int64_t uid = double_subscribe(d, name, parameters);
    pst_must(uid >= 0 || *double_error(d));
    if (uid >= 0) {
        rows(d, t, T0 + 1000000000);
        double_tick(d, T0 + INT64_C(3000000000));
        double_drop(double_snapshot(d, name, uid));
        double_eod(d, DAY0);
        double_drop(double_snapshot(d, name, uid));
        double_unsubscribe(d, name, uid);
    }
    pst_must(!double_results(d));
    double_free(d);
    return 0;
}
