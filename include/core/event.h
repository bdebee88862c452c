/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.h - what the marks of a buffering event say, for those that follow events in the journal:
 * the log's lanes, recovery, readers.
 *
 *   buffer_start  {"id":10,"stream":254,"path":"…/nyc1.10.buffer","function":"late","args":{…},
 *                  "policy":"spill","limit":N,"day":"2026.11.23",
 *                  "status":S,"since":P,"rows":n,"bytes":n,"files":n}
 *       started      the event begins: rows behind this mark may be in its stream
 *       resumed      it goes on after a restart, with a file of its own
 *       spilled      its file is at buffer_limit: the next one begins with this mark
 *       passthrough  its file is at buffer_limit: no row goes there from here on
 *   state         {"buffer":{…as above, status active or passthrough}}: repeated at every roll
 *   buffer_end    {"id","stream","path","args",…, "status":S,"since","rows","bytes","files"}
 *       complete     ended by hand
 *       limit        ended by buffer_limit
 *       abandoned    it could not go on after a restart: "reason" says why
 *
 * since: position of the mark that started it, by which its files know each other (ids return on
 * other days). rows, bytes, files: in its stream so far.
 *
 * Pure functions. id and stream stand first and the status stands last, so that no JSON has to be
 * taken apart, whatever the arguments say.
 */
#pragma once

#include "frame.h"

enum event_status {
    EVENT_STARTED = 1,
    EVENT_RESUMED,
    EVENT_SPILLED,
    EVENT_PASSTHROUGH,
    EVENT_ACTIVE,
    EVENT_COMPLETE,
    EVENT_LIMIT,
    EVENT_ABANDONED
};

struct event_mark {
    int64_t id;
    uint8_t stream;
    enum event_status status;
    uint64_t since;   /* of the first start mark: that mark itself does not say it yet */
    const char *json; /* the event's object */
    uint32_t len;     /* of all of it */
    uint32_t facts;   /* where `,"status":…` begins: before it is what it was started with */
};

static inline bool event_number(const char **at, const char *end, const char *lead, uint64_t *v,
                                bool *negative)
{
    size_t n = strlen(lead);
    if ((size_t)(end - *at) < n || memcmp(*at, lead, n))
        return false;
    const char *p = *at + n, *first;
    *negative = p < end && *p == '-';
    p += *negative;
    first = p;
    for (*v = 0; p < end && *p >= '0' && *p <= '9'; p++)
        *v = *v * 10 + (uint64_t)(*p - '0');
    *at = p;
    return p > first && p - first < 20;
}

/* The event's object. position: of the frame, for a start mark, which cannot name itself. */
static inline bool event_json(struct event_mark *m, const char *json, uint32_t len,
                              uint64_t position)
{
    static const char *const names[] = {"",       "started",  "resumed", "spilled",  "passthrough",
                                        "active", "complete", "limit",   "abandoned"};
    static const char key[] = ",\"status\":\"";
    const char *at = json, *end = json + len;
    uint64_t v;
    bool negative;
    memset(m, 0, sizeof *m);
    if (!event_number(&at, end, "{\"id\":", &v, &negative))
        return false;
    m->id = negative ? (int64_t)(0 - v) : (int64_t)v;
    if (!event_number(&at, end, ",\"stream\":", &v, &negative) || negative || v > STREAM_BUFFER ||
        !stream_is_buffer((uint8_t)v) || (size_t)(end - at) < sizeof key - 1)
        return false;
    m->stream = (uint8_t)v;
    const char *status = NULL;
    for (const char *p = end - (sizeof key - 1); p >= at && !status; p--)
        if (!memcmp(p, key, sizeof key - 1))
            status = p;
    if (!status)
        return false;
    m->json = json;
    m->len = len;
    m->facts = (uint32_t)(status - json);
    status += sizeof key - 1;
    for (unsigned i = 1; i < PST_COUNT(names); i++) {
        size_t n = strlen(names[i]);
        if ((size_t)(end - status) > n && !memcmp(status, names[i], n) && status[n] == '"') {
            m->status = (enum event_status)i;
            at = status + n + 1;
        }
    }
    m->since = m->status == EVENT_STARTED ? position : 0;
    if (m->status && event_number(&at, end, ",\"since\":", &v, &negative) && !negative)
        m->since = v;
    return m->status != 0;
}

/* A buffer_start, buffer_end or state mark of an event. *type is the mark's. */
static inline bool event_of(const struct frame *f, struct event_mark *m, unsigned *type)
{
    static const char lead[] = "{\"buffer\":";
    uint32_t len = 0;
    *type = 0;
    const char *json = f->kind == FRAME_MARK ? frame_mark(f, type, &len) : NULL;
    if (!json)
        return false;
    if (*type == MARK_STATE) {
        if (len < sizeof lead || memcmp(json, lead, sizeof lead - 1))
            return false;
        return event_json(m, json + sizeof lead - 1, len - (uint32_t)sizeof lead, f->position);
    }
    return (*type == MARK_BUFFER_START || *type == MARK_BUFFER_END) &&
           event_json(m, json, len, f->position);
}
