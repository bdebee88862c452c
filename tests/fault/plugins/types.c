/* SPDX-License-Identifier: Apache-2.0 */
/* types(): one row of ordinary values and one of nulls, a column of every type (test_plugin.c). */
#include <math.h>
#include <penstock/plugin.h>

static const struct pst_column columns[] = {
#define X(ID, name, number, width, letter) {name "_", PST_##ID},
    PST_TYPES(X)
#undef X
};
#define N (sizeof columns / sizeof *columns)

static int types(struct pst_call *call, const struct pst_value *arg, void *data)
{
    struct pst_value full[N], null[N];
    (void)arg, (void)data;
    for (unsigned i = 0; i < N; i++) {
        full[i] = (struct pst_value){.type = columns[i].type, .i = 17};
        null[i] = (struct pst_value){.type = columns[i].type, .i = PST_NULL_INT};
        switch (columns[i].type) {
        case PST_BOOLEAN:
            full[i].i = 1;
            null[i].i = 0;
            break;
        case PST_BYTE:
            null[i].i = 0;
            break;
        case PST_GUID:
            full[i].guid[3] = 9;
            null[i] = (struct pst_value){.type = PST_GUID};
            break;
        case PST_SHORT:
            full[i].i = -3;
            null[i].i = PST_NULL_SHORT;
            break;
        case PST_LONG:
            full[i].i = 1ll << 40;
            null[i].i = PST_NULL_LONG;
            break;
        case PST_TIMESTAMP:
        case PST_TIMESPAN:
            null[i].i = PST_NULL_LONG;
            break;
        case PST_REAL:
            full[i].f = 1.5;
            null[i].f = NAN;
            break;
        case PST_FLOAT:
            full[i].f = 0.1;
            null[i].f = NAN;
            break;
        case PST_CHAR:
            full[i].i = 'Q';
            null[i].i = PST_NULL_CHAR;
            break;
        case PST_SYMBOL:
            full[i].text = (struct pst_text){"AAPL", 4};
            null[i].text = (struct pst_text){"", 0};
            break;
        case PST_STRING:
            full[i].text = (struct pst_text){"a text", 6};
            null[i].text = (struct pst_text){0, 0};
            break;
        default:
            break;
        }
    }
    return pst_host->append(call, full) || pst_host->append(call, null) ? -1 : 0;
}

static const struct pst_query query = {"types", "Every type.", 0, 0, columns, N, types, 0};

PST_PLUGIN("types", "1", "Every type.")
PST_PLUGIN_EXPORT int pst_plugin_register(struct pst_registry *r)
{
    return pst_host->add(r, &query);
}
