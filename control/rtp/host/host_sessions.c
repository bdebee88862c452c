/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions that ran on over an end of day: how far back a processor whose state belongs to sessions
 * (PST_SESSIONS) has to read. Behind the last eod mark of a date the journal says the state of
 * every session of the feeds (dataplane/feed.h); those that are live have a date on which they
 * began.
 */
#include <sys/poll.h> /* poll.h is the data plane's */
#include "core/civil.h"
#include "core/clock.h"
#include "host.h"

#define STATES_NS     (5 * NS_PER_S) /* behind an end of day, every session's state is said within */
#define STATES_FRAMES 20000u
#define STATES_WAITS  200u /* of 10 ms */

/* Do rows of the feed go to a processor whose state belongs to sessions? */
static bool feed_matters(const struct host *h, const json_t *tables)
{
    size_t i;
    const json_t *v;
    json_array_foreach(tables, i, v)
    {
        for (unsigned k = 0; k < h->nprocessors; k++) {
            const struct host_processor *p = &h->processor[k];
            if (p->chosen && p->p->flags & PST_SESSIONS && json_is_string(v) &&
                host_wants_table(h, p->wants, json_string_value(v)))
                return true;
        }
    }
    return false;
}

/* A state mark of a feed's session (dataplane/feed.h): its date where it lives on. */
static int32_t session_day(const struct host *h, const json_t *feeds, const struct frame *f)
{
    unsigned type;
    uint32_t len;
    const char *text = f->kind == FRAME_MARK ? frame_mark(f, &type, &len) : NULL;
    if (!text || type != MARK_STATE)
        return INT32_MAX;
    json_t *o = json_loadb(text, len, 0, NULL);
    const char *feed = json_string_value(json_object_get(o, "feed"));
    const char *state = json_string_value(json_object_get(o, "state"));
    const json_t *day = json_object_get(o, "day");
    bool lives = feed && state && !strcmp(state, "live") && json_is_integer(day) &&
                 feed_matters(h, json_object_get(feeds, feed));
    int32_t d = lives ? (int32_t)json_integer_value(day) : INT32_MAX;
    json_decref(o);
    return d;
}

/* Where the date before `day` ended for good: behind its last eod mark its file was closed, and
 * the states of all sessions follow. Without such a file: the start of the day's own. */
static uint64_t day_begins(struct host *h, int32_t day, bool *ended)
{
    const struct cursor *c = &h->cursor;
    const struct cursor_file *last = NULL;
    struct logscan s;
    struct err err = {0};
    int64_t time = 0;
    uint64_t at = 0;
    for (uint32_t i = 0; i < c->files; i++) {
        const struct log_file_header *x = &c->file[i]->header;
        if (x->stream == STREAM_DAILY && x->day < day &&
            (!last || x->day > last->header.day || x->first > last->header.first))
            last = c->file[i];
    }
    *ended = last != NULL;
    if (last && logscan_open(&s, h->io, last->path, c->instance, &err)) {
        logscan_to_end(&s, &time);
        at = s.position;
        logscan_close(&s);
    }
    for (uint32_t i = 0; !at && i < c->files; i++)
        if (c->file[i]->header.day == day)
            at = c->file[i]->header.first;
    return at;
}

/* The date from which frames matter to rows of `day`: when the oldest session began that lived on
 * over the end of the day before. */
static int32_t sessions_from(struct host *h, const json_t *start, int32_t day)
{
    const json_t *feeds = json_object_get(start, "feeds");
    const struct frame *f;
    int32_t from = day;
    int64_t end = INT64_MAX;
    bool any = false, ended, stated = false;
    unsigned waits = 0;
    const char *name;
    json_t *tables;
    json_object_foreach((json_t *)feeds, name, tables) any |= feed_matters(h, tables);
    if (!any)
        return day;
    cursor_seek(&h->cursor, day_begins(h, day, &ended));
    for (unsigned i = 0; i < STATES_FRAMES; i++) {
        enum cursor_verdict v = cursor_next(&h->cursor, &f);
        if (v == CURSOR_WAIT && ended && !stated && waits++ < STATES_WAITS) {
            poll(NULL, 0, 10); /* the date ended just now: what follows is not synced yet */
            continue;
        }
        if (v == CURSOR_WAIT || v == CURSOR_END || v == CURSOR_ERROR)
            break;
        if (v != CURSOR_FRAME)
            continue;
        if (end == INT64_MAX)
            end = f->time + STATES_NS;
        if (f->time > end)
            break;
        unsigned type;
        uint32_t len;
        stated |= f->kind == FRAME_MARK && frame_mark(f, &type, &len) && type == MARK_STATE;
        int32_t began = session_day(h, feeds, f);
        from = began < from ? began : from;
    }
    return from;
}

/* The first date of the log at or behind `day`; INT32_MAX: none. */
static int32_t day_held(const struct host *h, int32_t day)
{
    int32_t held = INT32_MAX;
    for (uint32_t i = 0; i < h->cursor.files; i++) {
        int32_t d = h->cursor.file[i]->header.day;
        if (h->cursor.file[i]->header.stream == STREAM_DAILY && d >= day && d < held)
            held = d;
    }
    return held;
}

void host_sessions_seek(struct host *h, const json_t *start, int32_t day)
{
    char began[CIVIL_TEXT], held_on[CIVIL_TEXT];
    uint64_t position = h->cursor.position;
    int32_t from = sessions_from(h, start, day), held = day_held(h, from);
    if (held > day)
        held = day;
    if (held != from) {
        civil_format(from, began);
        civil_format(held, held_on);
        host_log(h,
                 "a session that runs on began on %s, but the log holds nothing before %s: orders "
                 "and whatever else rested then are not known",
                 began, held_on);
    }
    if (held >= day || !cursor_seek_day(&h->cursor, held)) {
        cursor_seek(&h->cursor, position);
        return;
    }
    host_emit_from(h, position);
    civil_format(held, held_on);
    host_debug(h, "sessions run on: the journal is read from %s on", held_on);
}
