/* SPDX-License-Identifier: Apache-2.0 */
/* What penstockd says. */
#include <errno.h>
#include <malloc.h>
#include <sys/poll.h> /* poll.h is the data plane's */
#include <unistd.h>
#include "core/clock.h"
#include "host.h"

static json_t *body_of(struct host *h, const struct wire_message *m)
{
    json_error_t je;
    json_t *o = json_loadb(m->body, m->head.length, JSON_REJECT_DUPLICATES, &je);
    if (!json_is_object(o))
        host_die(h, "%s is no JSON object", rtp_wire_name(m->head.type));
    return o;
}

static void refuse(struct host *h, uint64_t id, const struct err *err)
{
    host_say_text(h, RTP_WIRE_REFUSED, id, err->text);
}

void host_schemas(struct host *h, const json_t *list)
{
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v)
    {
        struct schema s;
        struct err err = {0};
        if (!json_is_string(v) ||
            !schema_from_json(&s, json_string_value(v), json_string_length(v), &err))
            host_die(h, "an unsound schema: %s", err.text);
        host_table_teach(h, &s);
    }
    host_tables_learn(h);
}

/* ---- one kind after the other ---- */

static void start(struct host *h, const struct wire_message *m)
{
    struct err err = {0};
    json_t *o = body_of(h, m);
    if (h->started)
        host_die(h, "START came twice");
    host_schemas(h, json_object_get(o, "schemas"));
    const json_t *calendars = json_object_get(o, "calendars");
    if (calendars)
        host_tables_calendars(h, calendars);
    if (!host_processors_begin(h, &err) || !host_journal_start(h, o, &err))
        host_die(h, "%s", err.text);
    h->started = true;
    json_decref(o);
}

static void subscribe(struct host *h, const struct wire_message *m)
{
    struct rtp_asked q;
    struct err err = {0};
    struct pst_result *shape;
    if (!rtp_ask_view(m->body, m->head.length, &q))
        host_die(h, "SUBSCRIBE asks nothing");
    uint64_t uid = host_subscribe(h, &q, 0, &shape, &err);
    if (!uid) {
        refuse(h, m->head.id, &err);
        return;
    }
    json_t *o = host_shape_json(shape);
    char *text = json_dumps(o, JSON_COMPACT);
    if (!text || strlen(text) > WIRE_INLINE)
        host_die(h, "no memory");
    host_say(h, RTP_WIRE_SUBSCRIBED, m->head.id, uid, text, strlen(text), 0);
    free(text);
    json_decref(o);
}

static void send_table(struct host *h, unsigned type, uint64_t id, struct pst_result *t,
                       struct err *err)
{
    struct kdb_out out = {0};
    if (t && host_result_encode(t, &out))
        host_say(h, type, id, h->position, out.data, out.len, t->rows);
    else if (t)
        err_set(err, -E2BIG, "the result is larger than %u MiB", RTP_RESULT_MAX >> 20);
    if (err->code)
        refuse(h, id, err);
    kdb_out_free(&out);
    host_result_free(t);
}

static void snapshot(struct host *h, const struct wire_message *m)
{
    struct err err = {0};
    struct pst_result *t = host_snapshot(h, m->head.value, &err);
    send_table(h, RTP_WIRE_STATE, m->head.id, t, &err);
}

static void call(struct host *h, const struct wire_message *m)
{
    struct rtp_asked q;
    struct err err = {0};
    if (!rtp_ask_view(m->body, m->head.length, &q))
        host_die(h, "CALL asks nothing");
    struct pst_result *t = host_call(h, &q, &err);
    send_table(h, RTP_WIRE_CALLED, m->head.id, t, &err);
}

void host_say_ready(struct host *h)
{
    json_t *o = host_ready(h);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    struct err err = {0};
    json_t *again = text ? rtp_ready_check(text, strlen(text), &err) : NULL;
    if (!again)
        host_die(h, "its plugins bring too much: %s", text ? err.text : "no memory");
    host_say(h, RTP_WIRE_READY, 0, 0, text, strlen(text), 0);
    json_decref(again);
    json_decref(o);
    free(text);
}

static void plugin(struct host *h, const struct wire_message *m)
{
    struct err err = {0};
    json_t *o = body_of(h, m);
    const char *file = json_string_value(json_object_get(o, "load")),
               *name = json_string_value(json_object_get(o, "unload"));
    bool ok = file   ? host_plugin_load(h, file, &err)
              : name ? host_plugin_unload(h, name, &err)
                     : err_set(&err, -EINVAL, "PLUGIN names nothing");
    char line[RTP_SENTENCE];
    rtp_printable(line, sizeof line, ok ? "" : err.text, sizeof err.text);
    host_say_text(h, RTP_WIRE_PLUGIN_DONE, m->head.id, line);
    host_say_ready(h);
    json_decref(o);
}

static void take_cut(struct host *h, const struct wire_message *m)
{
    free(h->cut);
    h->cut = NULL;
    *h->cut_refused = 0;
    h->cut_here = true;
    if (m->head.type == RTP_WIRE_CUT_REFUSED) {
        snprintf(h->cut_refused, sizeof h->cut_refused, "%s", m->body);
        return;
    }
    h->cut = malloc(m->head.length + 1);
    if (h->cut)
        memcpy(h->cut, m->body, m->head.length);
    if (!h->cut || !cut_ok(h->cut, m->head.length))
        host_die(h, "an unsound cut");
}

static void stop(struct host *h)
{
    h->stopping = true;
    host_plugins_end(h);
    if (h->started)
        host_emit_flush(h, false);
    host_closed(h, 0); /* the only connection that it has */
    host_out_flush(h);
    _exit(0);
}

/* What is answered at once, also while a plugin's call waits. False: it has to wait. */
static bool at_once(struct host *h, const struct wire_message *m)
{
    switch (m->head.type) {
    case RTP_WIRE_PING:
        host_beat(h, m->head.value);
        return true;
    case RTP_WIRE_ROWS_DONE:
        if (m->head.value > h->emit.done && m->head.value <= h->emit.sent)
            h->emit.done = m->head.value;
        return true;
    case RTP_WIRE_DEBUG:
        h->debug = m->head.value != 0;
        return true;
    case RTP_WIRE_CUT:
    case RTP_WIRE_CUT_REFUSED:
        take_cut(h, m);
        return true;
    default:
        return false;
    }
}

static void keep(struct host *h, struct host_deferred ***end, struct wire_message *m)
{
    struct host_deferred *d = malloc(sizeof *d);
    if (!d)
        host_die(h, "no memory");
    *d = (struct host_deferred){*m, NULL};
    *m = (struct wire_message){0};
    **end = d;
    *end = &d->next;
}

static void dispatch(struct host *h, struct wire_message *m)
{
    if (at_once(h, m))
        return;
    if (h->replaying && m->head.type == RTP_WIRE_SUBSCRIBE) {
        keep(h, &h->late_end, m); /* its state is still being rebuilt from the log */
        return;
    }
    switch (m->head.type) {
    case RTP_WIRE_START:
        start(h, m);
        break;
    case RTP_WIRE_SUBSCRIBE:
        subscribe(h, m);
        break;
    case RTP_WIRE_UNSUBSCRIBE:
        host_unsubscribe(h, m->head.value);
        break;
    case RTP_WIRE_SNAPSHOT:
        snapshot(h, m);
        break;
    case RTP_WIRE_CALL:
        call(h, m);
        break;
    case RTP_WIRE_PLUGIN:
        plugin(h, m);
        break;
    case RTP_WIRE_STOP:
        stop(h);
        break;
    default:
        host_die(h, "%s came out of turn", rtp_wire_name(m->head.type));
    }
}

/* ---- taking them ---- */

static bool receive(struct host *h, struct wire_message *m)
{
    struct err err = {0};
    bool closed;
    int k = rtp_wire_receive(h->fd, WIRE_DAEMON, m, &closed, &err);
    if (closed)
        _exit(0);
    if (k < 0)
        host_die(h, "penstockd sent %s", err.text);
    return k == 1;
}

static void dispatch_first(struct host *h, struct host_deferred **list, struct host_deferred ***end)
{
    struct host_deferred *d = *list;
    *list = d->next;
    if (!*list)
        *end = list;
    dispatch(h, &d->m);
    wire_free(&d->m);
    free(d);
}

unsigned host_listen(struct host *h)
{
    unsigned n = 0;
    struct wire_message m;
    for (; h->late && !h->replaying; n++)
        dispatch_first(h, &h->late, &h->late_end);
    for (; h->deferred; n++)
        dispatch_first(h, &h->deferred, &h->deferred_end);
    for (; n < 256 && receive(h, &m); n++) {
        dispatch(h, &m);
        wire_free(&m);
        if (h->deferred) /* in order: those that came while it was at work are older */
            return n + 1;
    }
    return n;
}

void host_pump(struct host *h)
{
    struct wire_message m;
    while (receive(h, &m)) {
        if (m.head.type == RTP_WIRE_STOP && !h->in_plugin)
            stop(h);
        if (at_once(h, &m))
            wire_free(&m);
        else
            keep(h, &h->deferred_end, &m);
    }
    host_beat_due(h, 0);
    host_out_flush(h);
}

void host_wait(struct host *h, bool (*ready)(struct host *))
{
    host_out_flush(h);
    while (!ready(h)) {
        struct pollfd p = {h->fd, POLLIN, 0};
        int64_t began = clock_monotonic();
        poll(&p, 1, 200);
        h->wait_ns += clock_monotonic() - began;
        host_pump(h);
    }
}

/* ---- beats ---- */

static uint64_t heap(void)
{
    char text[256];
    unsigned long long size = 0, resident = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fgets(text, sizeof text, f) &&
        sscanf(text, "%llu %llu %llu", &size, &resident, &shared) == 3 && resident > shared)
        resident -= shared;
    if (f)
        fclose(f);
    return resident * 4096;
}

void host_beat(struct host *h, uint64_t value)
{
    int64_t now = clock_monotonic();
    struct rtp_beat *b = &h->beat;
    b->position = h->position;
    b->limit = h->have_ring ? ring_tail(&h->ring) : h->position;
    b->time = (uint64_t)h->time;
    b->busy_ns = (uint64_t)(now - h->busy_began - h->wait_ns);
    if (h->tidy && now >= h->tidy) {
        malloc_trim(0);
        h->tidy = 0;
    }
    b->heap = heap();
    b->subscriptions = h->nsubs;
    b->replaying = h->replaying;
    b->waiting = h->emit.sent - h->emit.done;
    host_say(h, RTP_WIRE_BEAT, 0, value, b, sizeof *b, 0);
    b->loop_ns = 0;
    h->next_beat = now + NS_PER_S;
}

void host_beat_due(struct host *h, int64_t now)
{
    if (!h->attached || h->say)
        return;
    if ((now ? now : clock_monotonic()) >= h->next_beat)
        host_beat(h, 0);
}
