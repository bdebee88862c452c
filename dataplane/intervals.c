/* SPDX-License-Identifier: Apache-2.0 */
#include "core/civil.h"
#include "intervals.h"
#include "json_put.h"

static void put(struct json_put *j, const char *text)
{
    json_put_raw(j, text, strlen(text));
}

bool interval_end(struct appender *a, int64_t to, int64_t next, uint16_t minute, uint16_t day)
{
    struct appender_intervals *v = &a->interval;
    const char *name = a->cfg.owners ? a->cfg.owners->name[0] : "default";
    char text[INTERVAL_JSON], date[CIVIL_TEXT], stamp[CIVIL_STAMP_TEXT];
    char clock[5] = {'.', (char)('0' + minute / 600 % 10), (char)('0' + minute / 60 % 10),
                     (char)('0' + minute % 60 / 10), (char)('0' + minute % 10)};
    struct json_put j;
    json_put_start(&j, text, sizeof text);
    json_put_lit(&j, "{\"calendar\":");
    json_put_text(&j, name, strlen(name));
    json_put_lit(&j, ",\"day\":\"");
    put(&j, civil_format(v->day, date));
    json_put_lit(&j, "\",\"from\":\"");
    put(&j, civil_format_stamp(v->from, stamp));
    json_put_lit(&j, "\",\"to\":\"");
    put(&j, civil_format_stamp(to, stamp));
    json_put_lit(&j, "\",\"next\":\"");
    put(&j, civil_format(day, date));
    json_put_raw(&j, clock, sizeof clock);
    json_put_lit(&j, "\"}");
    pst_must(!j.full);
    int64_t now = a->now;
    a->now = to;
    bool done = appender_mark(a, MARK_EOI, text, (uint32_t)(j.at - text), a->rows.min_day[0]);
    a->now = now;
    if (!done)
        return false;
    v->from = next;
    v->minute = minute;
    v->day = day;
    return true;
}

bool interval_step(struct appender *a, int64_t limit)
{
    struct appender_intervals *v = &a->interval;
    uint64_t k = v->step ? (uint64_t)(limit - v->at) / (uint64_t)v->step : 0;
    k = k < v->left ? k : v->left - 1;
    int64_t next = v->at + (int64_t)k * v->step;
    uint16_t step = (uint16_t)(v->step / (60 * NS_PER_S) % 1440);
    uint16_t minute = (uint16_t)((v->next_minute + k % 1440 * step) % 1440);
    uint16_t day = v->series_day > v->day ? v->series_day : v->day;
    if (!interval_end(a, v->at, next, minute, day))
        return false;
    v->left -= (uint32_t)k + 1;
    v->next_minute = (uint16_t)((minute + step) % 1440);
    v->at = v->left ? next + v->step : INT64_MAX;
    return true;
}

void interval_series(struct appender *a, const struct due_item *d)
{
    struct appender_intervals *v = &a->interval;
    uint64_t past = 0;
    if (!v->on || !d->count)
        return;
    if (d->at <= v->from) /* the start stands in the middle of it */
        past = d->step ? (uint64_t)(v->from - d->at) / (uint64_t)d->step + 1 : d->count;
    if (past >= d->count)
        return;
    uint16_t step = (uint16_t)(d->step / (60 * NS_PER_S) % 1440);
    v->at = d->at + (int64_t)past * d->step;
    v->step = d->step;
    v->left = d->count - (uint32_t)past;
    v->next_minute = (uint16_t)((d->minute + past % 1440 * step) % 1440);
    v->series_day = d->day;
}

bool interval_last(struct appender *a, const struct due_item *d)
{
    const struct appender_intervals *v = &a->interval;
    if (!v->on || d->calendar || v->day > d->day)
        return true;
    uint16_t next = d->next_day ? d->next_day : (uint16_t)(d->day + 1);
    return interval_end(a, d->at, d->at, d->minute, next);
}
