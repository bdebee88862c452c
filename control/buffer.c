/* SPDX-License-Identifier: Apache-2.0 */
#include "buffer.h"

#include <errno.h>
#include "core/civil.h"
#include "core/event.h"
#include "core/nearest.h"
#include "functions.h"
#include "functions_built_in.h"
#include "storage/logscan.h"
#include "wiring_parts.h"

#define ARGUMENTS_MAX 32u
#define EVENTS_KEPT   1000u /* that buffer list shows; those with rows to replay stay */

struct buffer_file {
    char name[LOG_NAME_MAX];
    bool spilled;
    uint64_t first;
};

struct buffer_event {
    int64_t id;
    uint64_t since; /* 0: its start mark is on the way */
    int32_t day;
    uint8_t stream;
    json_t *facts; /* what its start mark says; NULL: known by its files only */
    struct divert_event *slot;
    uint64_t ticket; /* of the start mark */
    struct function function;
    void *state;
    bool loaded, ending;
    char ended[16];       /* "complete" "limit" "abandoned"; "" = not known to have ended */
    uint64_t rows, bytes; /* when it gave its slot back */
    struct buffer_file *file;
    uint32_t files;
};

struct buffers {
    struct divert *divert;
    struct buffer_event **event; /* oldest first */
    uint32_t events;
};

/* ---- what is known ---- */

static struct buffer_event *event_new(struct buffers *b, int64_t id, uint64_t since, int32_t day)
{
    struct buffer_event *e = calloc(1, sizeof *e);
    struct buffer_event **list = realloc(b->event, (b->events + 1) * sizeof *list);
    pst_must(e && list);
    b->event = list;
    list[b->events++] = e;
    e->id = id;
    e->since = since;
    e->day = day;
    return e;
}

static void release_function(struct buffer_event *e)
{
    if (!e->loaded)
        return;
    const struct pst_buffer_functions *f = &e->function.f->buffer;
    if (f->release)
        f->release(e->state);
    function_unload(&e->function);
    e->loaded = false;
}

static void event_drop(struct buffers *b, uint32_t i)
{
    struct buffer_event *e = b->event[i];
    release_function(e);
    json_decref(e->facts);
    free(e->file);
    free(e);
    memmove(&b->event[i], &b->event[i + 1], (b->events - i - 1) * sizeof(void *));
    b->events--;
}

static struct buffer_event *event_exact(const struct buffers *b, int64_t id, uint64_t since)
{
    for (uint32_t i = b->events; i-- > 0;)
        if (b->event[i]->id == id && b->event[i]->since == since)
            return b->event[i];
    return NULL;
}

/* since 0: the active one of that id, else the newest; NULL = none. */
static struct buffer_event *event_find(const struct buffers *b, int64_t id, uint64_t since)
{
    struct buffer_event *newest = NULL;
    if (since)
        return event_exact(b, id, since);
    for (uint32_t i = b->events; i-- > 0;) {
        struct buffer_event *e = b->event[i];
        if (e->id == id && e->slot)
            return e;
        if (e->id == id && !newest)
            newest = e;
    }
    return newest;
}

static struct buffer_event *event_of_file(const struct buffers *b, const char *name)
{
    for (uint32_t i = 0; i < b->events; i++)
        for (uint32_t k = 0; k < b->event[i]->files; k++)
            if (!strcmp(b->event[i]->file[k].name, name))
                return b->event[i];
    return NULL;
}

/* Where it began, as far as that is known. Of one whose start no header tells, its first row. */
static uint64_t beginning(const struct buffer_event *e)
{
    return e->since || !e->files ? e->since : e->file[0].first;
}

static int by_beginning(const void *a, const void *b)
{
    uint64_t x = beginning(*(struct buffer_event *const *)a);
    uint64_t y = beginning(*(struct buffer_event *const *)b);
    return (x > y) - (x < y);
}

static struct buffer_event *event_active(const struct buffers *b)
{
    for (uint32_t i = 0; i < b->events; i++)
        if (b->event[i]->slot)
            return b->event[i];
    return NULL;
}

static void file_note(struct buffer_event *e, const char *name, bool spilled, uint64_t first)
{
    struct buffer_file *list = realloc(e->file, (e->files + 1) * sizeof *list);
    pst_must(list);
    e->file = list;
    uint32_t at = e->files++;
    for (; at && list[at - 1].first > first; at--)
        list[at] = list[at - 1];
    list[at] = (struct buffer_file){.spilled = spilled, .first = first};
    snprintf(list[at].name, sizeof list[at].name, "%s", name);
}

static uint32_t files_in(const struct buffer_event *e, enum log_name_state state)
{
    uint32_t n = 0;
    struct log_name parsed;
    for (uint32_t i = 0; i < e->files; i++)
        n += log_name_parse(&parsed, "", e->file[i].name) && parsed.state == state;
    return n;
}

static const char *status_of(const struct buffer_event *e)
{
    if (e->slot) {
        enum divert_state s = divert_state(e->slot);
        return e->ending             ? "ending"
               : s == DIVERT_OFFERED ? "starting"
               : s == DIVERT_PASSING ? "passthrough"
               : s == DIVERT_ACTIVE  ? "active"
                                     : "ending";
    }
    if (e->files && files_in(e, LOG_NAME_REPLAYED) == e->files)
        return "replayed";
    if (files_in(e, LOG_NAME_LIVE))
        return "closing";
    return "complete";
}

/* ---- files ---- */

struct scan {
    struct daemon *d;
    struct buffers *b;
    bool spilled;
    const char *directory;
};

static bool is_over(void *arg, const char *event, const struct log_file_header *h)
{
    const struct recovery *r = ((struct daemon *)arg)->wiring->recovery;
    int64_t id = strtoll(event, NULL, 10);
    for (uint32_t i = 0; i < r->events && h; i++)
        if (r->event[i].id == id && (!h->since || r->event[i].since == h->since))
            return false; /* since 0: recovery made the header anew from the file's frames */
    return h != NULL;     /* another instance's, or beyond reading: nobody here may name it */
}

/* A header, and nothing of the journal behind it, be it damaged. */
static bool is_empty(struct daemon *d, const char *path)
{
    struct logscan s;
    const struct frame *f;
    enum logscan_verdict v;
    if (!logscan_open(&s, d->wiring->io, path, d->instance_id, NULL))
        return false;
    while ((v = logscan_step(&s, &f, LOGSCAN_REACH)) == LOGSCAN_FRAME && f->kind == FRAME_FILE)
        ;
    bool empty = (v == LOGSCAN_END || v == LOGSCAN_CLEAN) && !s.gave_up && !s.unreadable_bytes;
    logscan_close(&s);
    return empty;
}

/* A crash came before its first frame was durable. An event whose start mark was lost with it never
 * began: its id is free. */
static void remove_empty(const struct scan *s, const char *path, const char *name)
{
    struct io *io = s->d->wiring->io;
    struct catalogue *c = &s->d->wiring->catalogue;
    int rc = io->ops->unlink(io, path);
    rc = rc < 0 ? rc : io->ops->sync_dir(io, s->directory);
    if (catalogue_file(c, name) && catalogue_remove_file(c, name) < 0)
        fprintf(stderr, "penstockd: the catalogue still knows %s\n", name);
    fprintf(stderr, "penstockd: %s: no frame was ever durable in it: %s%s\n", path,
            rc < 0 ? "it is passed over, and cannot be removed: " : "removed",
            rc < 0 ? strerror(-rc) : "");
}

static bool found_file(void *arg, const char *name)
{
    struct scan *s = arg;
    struct daemon *d = s->d;
    struct log_name n;
    struct log_file_header h;
    char mine[LOG_NAME_MAX], path[1400];
    static _Alignas(64) uint8_t head[LOG_PREAMBLE];
    size_t got;
    if (!log_name_parse(&n, "", name) || !n.event[0] ||
        !log_name_format(mine, d->config->instance, &n) || strcmp(mine, name))
        return true;
    snprintf(path, sizeof path, "%s/%s", s->directory, name);
    int v = logscan_header(d->wiring->io, path, d->instance_id, head, &got, &h);
    if (v != LOG_HEADER_OK && v != LOG_HEADER_ONE_COPY)
        return true; /* recovery has said what there is to say about it */
    int64_t id = strtoll(n.event, NULL, 10);
    if (n.state != LOG_NAME_REPLAYED && is_over(d, n.event, &h) && is_empty(d, path)) {
        remove_empty(s, path, name);
        return true;
    }
    struct buffer_event *e = event_exact(s->b, id, h.since);
    if (!e)
        e = event_new(s->b, id, h.since, h.day);
    file_note(e, name, s->spilled, h.first);
    return true;
}

static void renamed(struct daemon *d, const char *from, const char *to)
{
    struct buffers *b = d->buffers;
    struct catalogue *c = &d->wiring->catalogue;
    for (uint32_t i = 0; i < b->events; i++)
        for (uint32_t k = 0; k < b->event[i]->files; k++)
            if (!strcmp(b->event[i]->file[k].name, from))
                snprintf(b->event[i]->file[k].name, LOG_NAME_MAX, "%s", to);
    const struct catalogue_file *old = catalogue_file(c, from);
    if (!old)
        return;
    struct catalogue_file row = *old;
    snprintf(row.name, sizeof row.name, "%s", to);
    if (catalogue_remove_file(c, from) < 0 || catalogue_put_file(c, &row) < 0)
        fprintf(stderr, "penstockd: the catalogue does not know %s by its new name yet\n", to);
}

void buffers_news(struct daemon *d, const struct log_event *e)
{
    struct log_name n;
    if (e->type == LOG_RENAMED) {
        renamed(d, e->name, e->to);
        return;
    }
    if (!log_name_parse(&n, "", e->name) || !n.event[0])
        return;
    struct buffer_event *x = event_find(d->buffers, strtoll(n.event, NULL, 10), 0);
    if (x && e->type == LOG_OPENED)
        file_note(x, e->name, e->spilled, e->first);
    for (uint32_t i = 0; x && e->type == LOG_REMOVED && i < x->files; i++)
        if (!strcmp(x->file[i].name, e->name)) {
            memmove(&x->file[i], &x->file[i + 1], (x->files - i - 1) * sizeof *x->file);
            x->files--;
        }
}

/* ---- life ---- */

struct buffers *buffers_open(struct daemon *d, struct err *err)
{
    struct buffers *b = calloc(1, sizeof *b);
    if (!b) {
        err_set(err, -ENOMEM, "no memory for buffering events");
        return NULL;
    }
    d->buffers = b;
    if (d->config->buffer_enabled && !d->replay &&
        !(b->divert = divert_create(&d->symbols, d->schemas, err))) {
        free(b);
        d->buffers = NULL;
        return NULL;
    }
    const char *dirs[] = {d->config->log_directory, d->config->spill_directory};
    for (unsigned i = 0; i < 2 && dirs[i] && !d->replay; i++) {
        struct scan s = {d, b, i == 1, dirs[i]};
        d->wiring->io->ops->list(d->wiring->io, dirs[i], found_file, &s);
    }
    if (b->events)
        qsort(b->event, b->events, sizeof *b->event, by_beginning);
    return b;
}

struct divert *buffers_divert(struct buffers *b)
{
    return b ? b->divert : NULL;
}

void buffers_close(struct daemon *d)
{
    struct buffers *b = d->buffers;
    if (!b)
        return;
    while (b->events)
        event_drop(b, b->events - 1);
    free(b->event);
    divert_free(b->divert);
    free(b);
    d->buffers = NULL;
}

/* ---- marks and masks ---- */

/* The tables of `late`: one that is mistyped would take nothing, and nobody would know. */
static bool tables_known(const struct schema_set *set, const char *list, struct err *err)
{
    static const char *names[TABLE_MAX];
    unsigned n = 0;
    char copy[1024], *rest = copy;
    for (unsigned i = TABLE_FIRST; i < TABLE_MAX; i++) {
        const struct schema *s = schema_set_get(set, i);
        if (s)
            names[n++] = s->name;
    }
    snprintf(copy, sizeof copy, "%s", list ? list : "");
    for (char *t; (t = strtok_r(rest, ",| ", &rest));) {
        if (schema_set_find(set, t))
            continue;
        const char *near = nearest_word(t, names, n);
        return err_set(err, -EINVAL, "tables: there is no table %.60s%s%s%s", t,
                       near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
    }
    return true;
}

/* The configured function with the event's arguments before its own, and when it was started. */
static bool prepare(struct buffer_event *e, const char *function, json_t *args, const char *started,
                    const struct schema_set *known, struct err *err)
{
    struct pst_argument list[ARGUMENTS_MAX];
    uint32_t n = 0;
    const char *key;
    json_t *value;
    char why[300] = "";
    if (!function_load(&e->function, PST_FUNCTION_BUFFER, function, err))
        return false;
    list[n++] = (struct pst_argument){"started", started};
    json_object_foreach(args, key, value)
    {
        if (n < ARGUMENTS_MAX)
            list[n++] = (struct pst_argument){key, json_string_value(value)};
    }
    for (uint32_t i = 0; i < e->function.args.n && n < ARGUMENTS_MAX; i++)
        list[n++] = e->function.args.at[i];
    struct pst_arguments all = {n, list};
    const struct pst_buffer_functions *f = &e->function.f->buffer;
    if (known && e->function.f == &function_late &&
        !tables_known(known, pst_argument(&all, "tables"), err)) {
        function_unload(&e->function);
        return false;
    }
    if (f->prepare && f->prepare(&function_host, &all, &e->state, why, sizeof why)) {
        function_unload(&e->function);
        return err_set(err, -EINVAL, "buffer function %.60s: %.300s", function,
                       *why ? why : "it refuses these arguments");
    }
    e->loaded = true;
    return true;
}

/* The start mark's JSON without its closing brace. */
static bool facts_text(const struct buffer_event *e, char *out, size_t room, uint32_t *len,
                       struct err *err)
{
    char *text = json_dumps(e->facts, JSON_COMPACT | JSON_ENSURE_ASCII);
    size_t n = text ? strlen(text) : 0;
    bool ok = n && n <= room;
    if (ok)
        memcpy(out, text, n - 1);
    *len = (uint32_t)n - 1;
    free(text);
    return ok || err_set(err, -E2BIG,
                         "event %lld: with its arguments its mark is %zu bytes, %zu is "
                         "the most",
                         (long long)e->id, n, room);
}

static bool fill(struct buffer_event *e, struct divert_event *s, const struct config *c,
                 struct err *err)
{
    static const enum divert_policy policies[] = {[CONFIG_LIMIT_SPILL] = DIVERT_SPILL,
                                                  [CONFIG_LIMIT_PASSTHROUGH] = DIVERT_PASS,
                                                  [CONFIG_LIMIT_END] = DIVERT_END};
    if (!facts_text(e, s->text, sizeof s->text, &s->text_len, err))
        return false;
    s->end_len = (uint32_t)snprintf(s->end, sizeof s->end, "{\"id\":%lld,\"stream\":%u,\"args\":{}",
                                    (long long)e->id, e->stream);
    s->id = e->id;
    s->stream = e->stream;
    s->policy = policies[c->buffer_limit_policy];
    s->limit = (uint64_t)c->buffer_limit;
    s->mask = e->function.f->buffer.mask;
    s->mask_state = e->state;
    e->slot = s;
    return true;
}

static const char *text_in(const json_t *o, const char *key)
{
    const char *t = json_string_value(json_object_get(o, key));
    return t ? t : "";
}

/* What the start mark will say, but for what the appender adds. id and stream stand first
 * (core/event.h). */
static json_t *facts_of(struct daemon *d, const struct buffer_event *e, json_t *args)
{
    static const char *const policies[] = {[CONFIG_LIMIT_SPILL] = "spill",
                                           [CONFIG_LIMIT_PASSTHROUGH] = "passthrough",
                                           [CONFIG_LIMIT_END] = "end"};
    const struct config *c = d->config;
    char day[CIVIL_TEXT], name[LOG_NAME_MAX], path[1200], started[CIVIL_STAMP_TEXT];
    struct log_name n = {.stream = STREAM_BUFFER, .day = -1, .minute = LOG_NO_MINUTE}, x;
    snprintf(n.event, sizeof n.event, "%lld", (long long)e->id);
    for (uint32_t i = 0; i < d->buffers->events; i++)
        for (uint32_t k = 0; k < d->buffers->event[i]->files; k++)
            if (log_name_parse(&x, "", d->buffers->event[i]->file[k].name) &&
                !strcmp(x.event, n.event) && x.suffix >= n.suffix)
                n.suffix = x.suffix + 1;
    if (!log_name_format(name, c->instance, &n))
        return NULL;
    snprintf(path, sizeof path, "%s/%s", c->log_directory, name);
    civil_format(e->day, day);
    civil_format_stamp(clock_now(&d->clock), started);
    return json_pack("{s:I,s:i,s:s,s:s,s:O,s:s,s:s,s:I,s:s}", "id", (json_int_t)e->id, "stream",
                     (int)e->stream, "path", path, "function", c->buffer_function, "args", args,
                     "started", started, "policy", policies[c->buffer_limit_policy], "limit",
                     (json_int_t)c->buffer_limit, "day", day);
}

static uint8_t free_stream(const struct buffers *b)
{
    for (uint8_t s = STREAM_BUFFER; s >= STREAM_BUFFER_LAST; s--) {
        bool taken = false;
        for (uint32_t i = 0; i < b->events; i++)
            taken |= b->event[i]->slot && b->event[i]->stream == s;
        if (!taken)
            return s;
    }
    return 0; /* there are more streams than slots */
}

/* Ended ones whose rows nobody waits for are known for their date only. */
static void forget_old(struct buffers *b, int32_t day)
{
    for (uint32_t i = 0; i < b->events && b->events > EVENTS_KEPT;)
        if (!b->event[i]->slot && b->event[i]->day < day &&
            files_in(b->event[i], LOG_NAME_REPLAYED) == b->event[i]->files)
            event_drop(b, i);
        else
            i++;
}

bool buffer_start(struct daemon *d, int64_t id, json_t *args, uint64_t *ticket, struct err *err)
{
    struct buffers *b = d->buffers;
    buffers_tick(d); /* what has ended since is no longer in the way */
    const struct buffer_event *active = b ? event_active(b) : NULL, *used;
    char text[64];
    if (!b || !b->divert)
        return err_set(err, -EPERM,
                       "buffering events are off: set buffer_enabled: true and restart");
    for (uint32_t i = 0; i < b->events; i++) {
        used = b->event[i];
        if (used->id == id && used->slot)
            return err_set(err, -EEXIST, "event %lld is active", (long long)id);
        if (used->id == id && used->day >= d->day)
            return err_set(err, -EEXIST, "event %lld was on %s already: take another id",
                           (long long)id, civil_format(used->day, text));
    }
    if (active && !d->config->buffer_concurrent)
        return err_set(err, -EBUSY,
                       "event %lld is active: end it first, or set buffer_concurrent: true",
                       (long long)active->id);
    if (json_object_size(args) + 1 > ARGUMENTS_MAX)
        return err_set(err, -E2BIG, "an event has at most %u arguments", ARGUMENTS_MAX - 1);
    struct divert_event *slot = divert_take(b->divert);
    if (!slot)
        return err_set(err, -E2BIG, "%u events are active, that is the most", DIVERT_EVENTS);
    struct buffer_event *e = event_new(b, id, 0, d->day);
    char whole[DIVERT_TEXT + 2];
    e->stream = free_stream(b);
    e->facts = facts_of(d, e, args);
    bool ok = e->facts
                  ? prepare(e, d->config->buffer_function, args, text_in(e->facts, "started"),
                            d->schemas, err) &&
                        fill(e, slot, d->config, err)
                  : err_set(err, -ENAMETOOLONG, "event %lld: no name for its file", (long long)id);
    if (ok) {
        int n = snprintf(whole, sizeof whole, "%.*s}", (int)slot->text_len, slot->text);
        store_release(&slot->state, DIVERT_OFFERED);
        ok = inject_rows_event(wiring_control_rows(d), MARK_BUFFER_START, whole, (uint32_t)n,
                               (unsigned)(slot - b->divert->event)) ||
             err_set(err, -EAGAIN, "the journal is busy; try again");
    }
    if (!ok) {
        divert_release(slot);
        e->slot = NULL;
        event_drop(b, b->events - 1);
        return false;
    }
    *ticket = e->ticket = inject_rows_flush(wiring_control_rows(d));
    forget_old(b, d->day);
    return true;
}

bool buffer_end(struct daemon *d, int64_t id, json_t *args, uint64_t *ticket, struct err *err)
{
    struct buffers *b = d->buffers;
    buffers_tick(d);
    struct buffer_event *e = b ? event_find(b, id, 0) : NULL;
    if (!e || !e->slot)
        return err_set(err, -ENOENT, "no event %lld is active; buffer list shows them",
                       (long long)id);
    if (e->ending)
        return err_set(err, -EALREADY, "event %lld is being ended", (long long)id);
    char path[1300];
    snprintf(path, sizeof path, "%s.complete", text_in(e->facts, "path"));
    json_t *mark =
        json_pack("{s:I,s:i,s:s,s:s,s:O}", "id", (json_int_t)id, "stream", (int)e->stream, "path",
                  path, "day", text_in(e->facts, "day"), "args", args);
    char *text = mark ? json_dumps(mark, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(mark);
    size_t n = text ? strlen(text) : 0;
    bool ok = n && n <= DIVERT_TEXT &&
              inject_rows_event(wiring_control_rows(d), MARK_BUFFER_END, text, (uint32_t)n,
                                (unsigned)(e->slot - b->divert->event));
    free(text);
    if (n > DIVERT_TEXT)
        return err_set(err, -E2BIG, "the arguments are too long: %u bytes is the most",
                       DIVERT_TEXT);
    if (!ok)
        return err_set(err, -EAGAIN, "the journal is busy; try again");
    e->ending = true;
    *ticket = inject_rows_flush(wiring_control_rows(d));
    return true;
}

void buffers_tick(struct daemon *d)
{
    struct buffers *b = d->buffers;
    uint64_t position;
    for (uint32_t i = 0; b && i < b->events; i++) {
        struct buffer_event *e = b->event[i];
        if (!e->slot)
            continue;
        enum divert_state state = divert_state(e->slot);
        if (state == DIVERT_OFFERED && inject_taken(&d->inject, e->ticket, &position) &&
            inject_verdict(&d->inject, e->ticket)) {
            divert_release(e->slot); /* the appender would not have it */
            e->slot = NULL;
            event_drop(b, i--);
            continue;
        }
        if (state != DIVERT_OFFERED && !e->since)
            e->since = load_relaxed(&e->slot->start);
        if (state != DIVERT_ENDED)
            continue;
        e->rows = load_relaxed(&e->slot->rows);
        e->bytes = load_relaxed(&e->slot->bytes);
        snprintf(e->ended, sizeof e->ended, "%s", e->ending ? "complete" : "limit");
        fprintf(stderr, "penstockd: buffering event %lld ended%s with %llu rows\n",
                (long long)e->id, e->ending ? "" : " at buffer_limit", (unsigned long long)e->rows);
        release_function(e);
        divert_release(e->slot);
        e->slot = NULL;
        e->ending = false;
    }
}

/* ---- restart ---- */

/* It cannot go on: its end stands in the journal, with the reason. */
static bool abandon(struct daemon *d, const struct recovery_event *r, const char *why)
{
    char *text = NULL;
    json_t *reason = json_string(why);
    char *quoted = reason ? json_dumps(reason, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) : NULL;
    int n = asprintf(
        &text,
        "{\"id\":%lld,\"stream\":%u,\"args\":{},\"reason\":%s,\"status\":\"abandoned\","
        "\"since\":%llu,\"rows\":0,\"bytes\":0,\"files\":0}",
        (long long)r->id, r->stream, quoted ? quoted : "\"\"", (unsigned long long)r->since);
    bool ok = n > 0 && appender_mark(&d->wiring->appender, MARK_BUFFER_END, text, (uint32_t)n,
                                     (uint16_t)d->day);
    fprintf(stderr,
            "penstockd: buffering event %lld was active and cannot go on: %s; it ends here\n",
            (long long)r->id, why);
    free(text);
    free(quoted);
    json_decref(reason);
    return ok;
}

static bool resume(struct daemon *d, const struct recovery_event *r, struct err *err)
{
    struct buffers *b = d->buffers;
    struct err why = {0};
    if (!b->divert)
        return abandon(d, r, "buffer_enabled is false") ||
               err_set(err, -ENOSPC, "ring: no room for the end of event %lld", (long long)r->id);
    struct buffer_event *e = event_find(b, r->id, r->since);
    if (!e)
        e = event_new(b, r->id, r->since, d->day);
    char *whole = NULL;
    if (asprintf(&whole, "%.*s}", (int)r->len, r->json) > 0)
        e->facts = json_loads(whole, 0, NULL);
    free(whole);
    e->stream = r->stream;
    struct divert_event *slot = divert_take(b->divert);
    bool ok = e->facts && slot &&
              prepare(e, text_in(e->facts, "function"), json_object_get(e->facts, "args"),
                      text_in(e->facts, "started"), NULL, &why) &&
              fill(e, slot, d->config, &why);
    if (!ok) {
        release_function(e);
        if (slot)
            divert_release(slot);
        e->slot = NULL;
        snprintf(e->ended, sizeof e->ended, "abandoned");
        return abandon(d, r, *why.text ? why.text : "its start mark cannot be read") ||
               err_set(err, -ENOSPC, "ring: no room for the end of event %lld", (long long)r->id);
    }
    slot->since = r->since;
    slot->resumed = true;
    slot->passing = r->passes;
    slot->file_base = e->files;
    store_relaxed(&slot->rows, r->rows);
    store_relaxed(&slot->bytes, r->bytes);
    if (!appender_resume_event(&d->wiring->appender, slot))
        return err_set(err, -ENOSPC, "ring: no room for the mark of event %lld", (long long)r->id);
    fprintf(stderr, "penstockd: buffering event %lld goes on%s\n", (long long)r->id,
            r->passes ? ", at its limit" : "");
    return true;
}

static void on_renamed(void *arg, const char *from, const char *to)
{
    renamed(arg, from, to);
    fprintf(stderr, "penstockd: %s: its event had ended; it is %s now\n", from, to);
}

bool buffers_resume(struct daemon *d, struct err *err)
{
    const struct recovery *r = d->wiring->recovery;
    const char *dirs[] = {d->config->log_directory, d->config->spill_directory};
    for (unsigned i = 0; i < 2 && dirs[i] && !d->replay; i++) {
        struct log_completion c = {.io = d->wiring->io,
                                   .directory = dirs[i],
                                   .instance_name = d->config->instance,
                                   .instance = d->instance_id,
                                   .over = is_over,
                                   .renamed = on_renamed,
                                   .arg = d};
        int bad = log_events_complete(&c);
        if (bad < 0 && bad != -ENOENT)
            fprintf(stderr, "penstockd: %s: files of ended buffering events keep their names: %s\n",
                    dirs[i], strerror(-bad));
    }
    for (uint32_t i = 0; i < r->events && !d->replay; i++)
        if (!resume(d, &r->event[i], err))
            return false;
    return true;
}

/* ---- for people, and for replays ---- */

json_t *buffer_list(struct daemon *d)
{
    struct buffers *b = d->buffers;
    json_t *all = json_array();
    buffers_tick(d);
    wiring_catalogue(d); /* the log's news: files and their names */
    for (uint32_t i = 0; b && i < b->events; i++) {
        const struct buffer_event *e = b->event[i];
        char day[CIVIL_TEXT];
        json_t *files = json_array();
        for (uint32_t k = 0; k < e->files; k++)
            json_array_append_new(files, json_string(e->file[k].name));
        json_t *o =
            json_pack("{s:I,s:s,s:s,s:I,s:I,s:I,s:o,s:b}", "id", (json_int_t)e->id, "status",
                      status_of(e), "day", civil_format(e->day, day), "since", (json_int_t)e->since,
                      "rows", (json_int_t)(e->slot ? load_relaxed(&e->slot->rows) : e->rows),
                      "bytes", (json_int_t)(e->slot ? load_relaxed(&e->slot->bytes) : e->bytes),
                      "files", files, "known", e->facts != NULL);
        if (*e->ended)
            json_object_set_new(o, "ended", json_string(e->ended));
        json_object_update_missing(o, e->facts);
        json_array_append_new(all, o);
    }
    return all;
}

bool buffer_closed(struct daemon *d, int64_t id, json_t *later)
{
    struct buffers *b = d->buffers;
    buffers_tick(d);
    wiring_catalogue(d);
    const struct buffer_event *e = event_find(b, id, 0);
    bool closed = !e || (!e->slot && !files_in(e, LOG_NAME_LIVE));
    if (e && later) {
        json_object_set_new(later, "rows", json_integer((json_int_t)e->rows));
        json_object_set_new(later, "files", json_integer(e->files));
    }
    return closed;
}

json_t *buffer_active(const struct daemon *d)
{
    const struct buffers *b = d->buffers;
    json_t *all = json_array();
    for (uint32_t i = 0; b && i < b->events; i++) {
        const struct buffer_event *e = b->event[i];
        if (e->slot)
            json_array_append_new(all, json_pack("{s:I,s:s,s:I,s:I}", "id", (json_int_t)e->id,
                                                 "status", status_of(e), "rows",
                                                 (json_int_t)load_relaxed(&e->slot->rows), "bytes",
                                                 (json_int_t)load_relaxed(&e->slot->bytes)));
    }
    return all;
}

static struct buffer_event *finished(struct daemon *d, int64_t id, uint64_t since, const char *name,
                                     struct err *err)
{
    struct buffers *b = d->buffers;
    buffers_tick(d);
    wiring_catalogue(d);
    struct buffer_event *e = !b ? NULL : name ? event_of_file(b, name) : event_find(b, id, since);
    if (!e && name) {
        err_set(err, -ENOENT, "%.200s is no file of an event here; buffer list shows them", name);
        return NULL;
    }
    if (!e) {
        err_set(err, -ENOENT, "there is no event %lld; buffer list shows them", (long long)id);
        return NULL;
    }
    if (e->slot || files_in(e, LOG_NAME_LIVE)) {
        if (e->slot)
            err_set(err, -EBUSY, "event %lld is %s: end it first", (long long)id, status_of(e));
        else
            err_set(err, -EAGAIN, "the files of event %lld are being closed; try again",
                    (long long)id);
        return NULL;
    }
    return e;
}

/* It has no file to replay: that is said of this event, not of others of its id. */
static void nothing_left(const struct buffers *b, const struct buffer_event *e, struct err *err)
{
    char day[CIVIL_TEXT], other[CIVIL_TEXT], more[200] = "";
    for (uint32_t i = b->events; i-- > 0 && !*more;) {
        const struct buffer_event *x = b->event[i];
        if (x != e && x->id == e->id && !x->slot && files_in(x, LOG_NAME_COMPLETE))
            snprintf(
                more, sizeof more,
                "; those of another event %lld, of %s, were not: buffer replay FILE takes them",
                (long long)x->id, civil_format(x->day, other));
    }
    err_set(err, -ENOENT, "event %lld of %s has no completed files%s%s", (long long)e->id,
            civil_format(e->day, day), e->files ? ": they were replayed" : "", more);
}

json_t *buffer_files(struct daemon *d, int64_t id, uint64_t since, const char *name,
                     struct err *err)
{
    const struct config *c = d->config;
    const struct buffer_event *e = finished(d, id, since, name, err);
    if (!e)
        return NULL;
    json_t *files = json_array();
    char text[1300];
    for (uint32_t i = 0; i < e->files; i++) {
        struct log_name n;
        if (!log_name_parse(&n, "", e->file[i].name) || n.state != LOG_NAME_COMPLETE)
            continue;
        snprintf(text, sizeof text, "%s/%s",
                 e->file[i].spilled ? c->spill_directory : c->log_directory, e->file[i].name);
        json_array_append_new(files, json_string(text));
    }
    if (!json_array_size(files)) {
        json_decref(files);
        nothing_left(d->buffers, e, err);
        return NULL;
    }
    snprintf(text, sizeof text, DIVERT_SOURCE "%lld.%llu", (long long)e->id,
             (unsigned long long)beginning(e));
    return json_pack("{s:s,s:I,s:I,s:o}", "source", text, "id", (json_int_t)e->id, "since",
                     (json_int_t)e->since, "files", files);
}

json_t *buffer_replayed(struct daemon *d, int64_t id, uint64_t since, const char *file,
                        struct err *err)
{
    const struct config *c = d->config;
    struct io *io = d->wiring->io;
    struct buffer_event *e = finished(d, id, since, file, err);
    uint32_t n = 0;
    if (!e)
        return NULL;
    for (uint32_t i = 0; i < e->files; i++) {
        struct log_name parsed;
        char from[1400], to[1400], name[LOG_NAME_MAX], was[LOG_NAME_MAX];
        const char *dir = e->file[i].spilled ? c->spill_directory : c->log_directory;
        memcpy(was, e->file[i].name, sizeof was);
        if (!log_name_parse(&parsed, "", was) || parsed.state != LOG_NAME_COMPLETE)
            continue;
        parsed.state = LOG_NAME_REPLAYED;
        log_name_format(name, c->instance, &parsed);
        snprintf(from, sizeof from, "%s/%s", dir, was);
        snprintf(to, sizeof to, "%s/%s", dir, name);
        PST_FAULT("buffer.replayed");
        int bad = io->ops->rename(io, from, to);
        bad = bad ? bad : io->ops->sync_dir(io, dir);
        if (bad) {
            err_set(err, bad,
                    "its rows are in the journal, but %s cannot be renamed: %s; say buffer "
                    "replay again",
                    from, strerror(-bad));
            return NULL;
        }
        renamed(d, was, name);
        n++;
    }
    return json_pack("{s:s,s:I}", "done", "replayed; its files end in .replayed", "files",
                     (json_int_t)n);
}
