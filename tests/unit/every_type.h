/* SPDX-License-Identifier: Apache-2.0 */
/* every_type.h - a table with a column of every type, symbols and strings twice. */
#pragma once

#include "core/schema.h"

static const struct column_def every[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"b", PST_BOOLEAN}, {"g", PST_GUID},
    {"x", PST_BYTE},         {"h", PST_SHORT},    {"i", PST_INT},     {"j", PST_LONG},
    {"e", PST_REAL},         {"f", PST_FLOAT},    {"c", PST_CHAR},    {"s", PST_SYMBOL},
    {"p", PST_TIMESTAMP},    {"m", PST_MONTH},    {"d", PST_DATE},    {"n", PST_TIMESPAN},
    {"u", PST_MINUTE},       {"v", PST_SECOND},   {"t", PST_TIME},    {"text", PST_STRING},
    {"more", PST_STRING},
};
