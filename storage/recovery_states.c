/* SPDX-License-Identifier: Apache-2.0 */
/* What the next files begin with, and what the restart mark says. */
#include <fcntl.h>
#include <jansson.h>
#include "core/civil.h"
#include "core/event.h"
#include "core/tables.h"
#include "recovery_internal.h"

struct states {
    uint8_t *frames;
    size_t bytes, room;
    uint32_t seed;
};

/* What JSON cannot say or no frame holds is left out. */
static void say_text(struct states *s, const char *text, size_t n, uint16_t day)
{
    if (s->room - s->bytes < FRAME_MAX) {
        uint8_t *p = realloc(s->frames, s->room + 4 * FRAME_MAX);
        pst_must(p);
        s->frames = p;
        s->room += 4 * FRAME_MAX;
    }
    struct frame *f = (struct frame *)(s->frames + s->bytes);
    uint32_t length = frame_build_mark(f, MARK_STATE, text, n);
    if (length) {
        f->day = day;
        frame_seal(f, s->seed);
        s->bytes += length;
    }
}

/* Takes o and one more member, as text. */
static void say(struct states *s, json_t *o, uint16_t day, const char *decoder)
{
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    size_t n = text ? strlen(text) : 0, more = decoder ? strlen(decoder) + 11 : 0;
    char *whole = text ? malloc(n + more + 1) : NULL;
    if (whole) {
        memcpy(whole, text, n);
        if (decoder) /* before the closing brace */
            n = n - 1 + (size_t)snprintf(whole + n - 1, more + 2, ",\"decoder\":%s}", decoder);
        say_text(s, whole, n, day);
    }
    free(whole);
    free(text);
}

static void say_event(struct states *s, const struct recovery_event *e, uint16_t day)
{
    char *text = NULL;
    int n = asprintf(
        &text,
        "{\"buffer\":%.*s,\"status\":\"%s\",\"since\":%llu,\"rows\":%llu,\"bytes\":%llu,"
        "\"files\":0}}",
        (int)e->len, e->json, e->passes ? "passthrough" : "active", (unsigned long long)e->since,
        (unsigned long long)e->rows, (unsigned long long)e->bytes);
    pst_must(n > 0);
    say_text(s, text, (size_t)n, day);
    free(text);
}

/* `next` lies behind what holes cost; the gap rows that say so come behind the restart mark, and
 * may be lost with it: they are owed until they are read. */
static void say_session(struct states *out, const struct recovery *r,
                        const struct recovery_session *s)
{
    static const char *const names[] = {"live", "ended", "replaced"};
    if (s->day < 0)
        return;
    const struct recovery_piece *p = s->pieces;
    json_t *owed = json_array();
    for (uint32_t i = 0; i < r->gaps; i++)
        if (!strcmp(r->gap[i].feed, s->feed) && !strcmp(r->gap[i].session, s->session))
            json_array_append_new(owed,
                                  json_pack("[I,I,I]", (json_int_t)r->gap[i].first,
                                            (json_int_t)r->gap[i].last, (json_int_t)r->start));
    do {
        json_t *o = json_pack("{s:s,s:s,s:i,s:I,s:I,s:I,s:I,s:s}", "feed", s->feed, "session",
                              s->session, "day", (int)s->day, "epoch", (json_int_t)s->epoch,
                              "first", (json_int_t)s->first, "next", (json_int_t)s->next, "send",
                              (json_int_t)s->send, "state", names[s->state]);
        if (json_array_size(owed))
            json_object_set(o, "owed", owed);
        say(out, o, (uint16_t)s->day, p ? p->json : NULL);
        p = p ? p->next : NULL;
    } while (p);
    json_decref(owed);
}

/* As dataplane/sources.c says them. */
static void say_source(struct states *out, const struct recovery_source *s, uint16_t day)
{
    const struct source_progress *p = &s->p;
    json_t *one = json_pack("[s,I,I]", s->name, (json_int_t)p->at.position, (json_int_t)p->at.row);
    json_t *islands = json_array();
    for (uint32_t i = 0; i < p->islands; i++) {
        const struct source_range *x = &p->island[i];
        json_array_append_new(
            islands, json_pack("[I,I,I,I]", (json_int_t)x->from.position, (json_int_t)x->from.row,
                               (json_int_t)x->to.position, (json_int_t)x->to.row));
    }
    if (p->islands)
        json_array_append(one, islands);
    json_decref(islands);
    say(out, json_pack("{s:[o]}", "sources", one), day, NULL);
}

void *recovery_states(const struct recovery *r, size_t *bytes)
{
    struct states s = {.seed = frame_seed(r->cfg.instance)};
    json_t *dates = json_object();
    for (uint32_t i = 0; i < r->calendars; i++)
        json_object_set_new(dates, r->calendar[i].name, json_integer(r->calendar[i].open_day));
    if (r->calendars)
        say(&s, json_pack("{s:O}", "calendars", dates), (uint16_t)r->open_day, NULL);
    json_decref(dates);
    for (uint32_t i = 0; i < r->sessions; i++)
        say_session(&s, r, &r->session[i]);
    for (uint32_t i = 0; i < r->events; i++)
        say_event(&s, &r->event[i], (uint16_t)(r->open_day < 0 ? 0 : r->open_day));
    for (uint32_t i = 0; i < r->sources; i++)
        say_source(&s, &r->source[i], (uint16_t)(r->open_day < 0 ? 0 : r->open_day));
    *bytes = s.bytes;
    if (s.bytes)
        return s.frames;
    free(s.frames);
    return NULL;
}

uint32_t recovery_restart_json(const struct recovery *r, uint64_t start, const char *acts,
                               char *buf, size_t room)
{
    char damaged[32] = "", cut[40] = "";
    if (r->damages)
        snprintf(damaged, sizeof damaged, ",\"damaged\":%u", r->damages);
    if (r->cut_at)
        snprintf(cut, sizeof cut, ",\"cut\":%llu", (unsigned long long)r->cut_at);
    return (uint32_t)snprintf(buf, room,
                              "{\"old_end\":%llu,\"start\":%llu,\"reason\":\"%s\"%s%s%s%s%s}",
                              (unsigned long long)r->old_end, (unsigned long long)start,
                              r->clean && start == r->old_end ? "clean" : "unclean", damaged, cut,
                              acts ? ",\"acts\":\"" : "", acts ? acts : "", acts ? "\"" : "");
}
