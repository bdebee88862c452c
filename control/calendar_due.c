/* SPDX-License-Identifier: Apache-2.0 */
#include "calendar_due.h"

uint32_t calendar_eod_json(const struct calendar *c, int32_t day, int32_t shift, const char *by,
                           char json[DUE_JSON])
{
    char text[CIVIL_TEXT], at[CIVIL_STAMP_TEXT];
    int n = snprintf(json, DUE_JSON,
                     "{\"calendar\":\"%s\",\"day\":\"%s\",\"ends\":\"%s\"%s%.20s%s}", c->name,
                     civil_format(day, text), civil_format_stamp(calendar_eod(c, day + shift), at),
                     by ? ",\"by\":\"" : "", by ? by : "", by ? "\"" : "");
    pst_must(n > 0 && n < (int)DUE_JSON);
    return (uint32_t)n;
}

uint32_t calendar_due(const struct calendar *c, unsigned i, int32_t day, int32_t shift,
                      struct due_item *items)
{
    struct due_item *eod = c->late_window_ns ? items + 1 : items;
    int64_t end = calendar_eod(c, day + shift);
    uint64_t id = (uint64_t)(day + 1) << 8 | i << 1;
    uint16_t minute = interval_minute(c, end);
    if (c->late_window_ns)
        *items = (struct due_item){.id = id,
                                   .at = end,
                                   .kind = DUE_TURN,
                                   .calendar = (uint8_t)i,
                                   .day = (uint16_t)day,
                                   .minute = minute};
    *eod = (struct due_item){.id = id | 1,
                             .at = end + c->late_window_ns,
                             .kind = DUE_EOD,
                             .calendar = (uint8_t)i,
                             .day = (uint16_t)day,
                             .ends = end,
                             .minute = minute};
    eod->json_len = calendar_eod_json(c, day, shift, NULL, eod->json);
    return (uint32_t)(eod - items) + 1;
}

int32_t calendar_due_ahead(unsigned calendars, const struct interval_rule *intervals)
{
    unsigned each = CALENDAR_DUE_MOST * calendars + (intervals->freq ? INTERVAL_DUE_MOST : 0);
    return (int32_t)(DUE_MAX / each);
}

uint32_t calendar_due_list(const struct calendar *(*calendar)(const void *arg, uint32_t i),
                           const void *arg, unsigned calendars, const int32_t *open, int32_t ahead,
                           int32_t shift, const struct interval_rule *intervals,
                           struct due_item *items, int32_t *until)
{
    uint32_t n = 0;
    int64_t horizon = INT64_MAX;
    pst_must(ahead <= calendar_due_ahead(calendars, intervals));
    for (unsigned i = 0; i < calendars; i++) {
        int64_t last = calendar_closes(calendar(arg, i), open[i] + ahead - 1 + shift);
        horizon = last < horizon ? last : horizon;
    }
    for (unsigned i = 0; i < calendars; i++) {
        until[i] = open[i];
        for (int32_t day = open[i]; day < open[i] + ahead && day < CIVIL_DAY_MAX; day++) {
            struct due_item x[CALENDAR_DUE_MOST + INTERVAL_DUE_MOST];
            uint32_t most = i ? 0 : interval_due(calendar(arg, i), intervals, day, shift, x);
            most += calendar_due(calendar(arg, i), i, day, shift, x + most);
            for (uint32_t k = 0; k < most && x[k].at <= horizon; k++) {
                items[n++] = x[k];
                until[i] += x[k].kind == DUE_EOD;
            }
        }
    }
    return n;
}
