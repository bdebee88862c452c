/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of buffering events: which marks open and close them, and their names when the event is
 * over (END frame, sync, rename, sync of the directory).
 */
#include "core/event.h"
#include "log_internal.h"
#include "logscan.h"

#define NAMES_MAX 4096u /* files that one completion renames */

/* ---- marks ---- */

/* False: no lane yet; the scout comes again. */
bool event_begins(struct log *l, const struct frame *f)
{
    struct event_mark m;
    unsigned type;
    if (!event_of(f, &m, &type) || m.status == EVENT_PASSTHROUGH)
        return true;
    struct log_lane *n = lane_find(l, m.stream, 0);
    if (n && !n->out && n->counted == l->cursor && n->cursor == l->cursor)
        return true; /* it was made the last time; one with a file has just caught up */
    if (n)
        lane_close(l, n, LOG_END_LIMIT); /* the mark is the next file's first frame */
    struct log_buffer *b = &l->buffer[STREAM_BUFFER - m.stream];
    if (b->since != m.since)
        memset(b, 0, sizeof *b);
    snprintf(b->event, sizeof b->event, "%lld", (long long)m.id);
    b->since = m.since;
    return lane_add(l, m.stream, f->day, l->cursor);
}

void event_ends(struct log *l, const struct frame *f)
{
    struct event_mark m;
    unsigned type;
    if (!event_of(f, &m, &type))
        return;
    struct log_lane *n = lane_find(l, m.stream, 0);
    if (n)
        lane_close(l, n, LOG_END_EVENT);
    for (unsigned i = 0; i < LOG_DONE; i++)
        if (!l->done[i].used) {
            l->done[i] = (struct log_done){.used = true, .since = m.since};
            snprintf(l->done[i].event, sizeof l->done[i].event, "%lld", (long long)m.id);
            return;
        }
    /* so many wait for a dead disk: the next start gives them their names */
}

/* ---- names ---- */

static bool still_open(const struct log *l, uint64_t since)
{
    for (unsigned i = 0; i < LOG_LANES; i++)
        if (l->lane[i].used && l->lane[i].since == since)
            return true;
    for (unsigned i = 0; i < LOG_OUTS; i++)
        if (l->out[i].used && l->out[i].header.since == since)
            return true;
    return false;
}

bool events_pending(const struct log *l)
{
    for (unsigned i = 0; i < LOG_DONE; i++)
        if (l->done[i].used && !l->done[i].retry_at)
            return true;
    return false;
}

static bool this_one(void *arg, const char *event, const struct log_file_header *header)
{
    struct log_done *d = ((void **)arg)[1];
    /* a header that recovery made anew does not know its event's start */
    return header && header->since ? header->since == d->since : !strcmp(d->event, event);
}

static void tell(void *arg, const char *from, const char *to)
{
    log_tell_renamed(((void **)arg)[0], from, to);
}

int events_done(struct log *l)
{
    int did = 0;
    for (unsigned i = 0; i < LOG_DONE; i++) {
        struct log_done *d = &l->done[i];
        if (!d->used || d->retry_at > l->now || still_open(l, d->since))
            continue;
        int bad = 0;
        void *arg[] = {l, d};
        for (unsigned k = 0; k < 2; k++) {
            struct log_completion c = {.io = l->io,
                                       .directory = l->dir[k].path,
                                       .instance_name = l->cfg.instance_name,
                                       .instance = l->instance,
                                       .over = this_one,
                                       .renamed = tell,
                                       .arg = arg};
            int r = c.directory ? log_events_complete(&c) : 0;
            bad = bad ? bad : r;
        }
        d->used = bad != 0;
        d->retry_at = l->now + l->cfg.retry_ns;
        did++;
    }
    return did;
}

struct found {
    const struct log_completion *c;
    char (*name)[LOG_NAME_MAX];
    uint32_t n, room;
};

/* Only what this instance would call so itself. */
static bool live_name(void *arg, const char *name)
{
    struct found *f = arg;
    struct log_name n;
    char mine[LOG_NAME_MAX];
    if (!log_name_parse(&n, "", name) || !n.event[0] || n.state != LOG_NAME_LIVE ||
        !log_name_format(mine, f->c->instance_name, &n) || strcmp(mine, name))
        return true;
    if (f->n == f->room) {
        uint32_t room = f->room ? 2 * f->room : 16;
        void *more = room <= NAMES_MAX ? realloc(f->name, room * sizeof *f->name) : NULL;
        if (!more)
            return false;
        f->name = more;
        f->room = room;
    }
    memcpy(f->name[f->n++], mine, sizeof mine);
    return true;
}

static int complete(const struct log_completion *c, const char *name)
{
    uint8_t *head = aligned_alloc(64, LOG_PREAMBLE);
    char from[1200], to[1200], done[LOG_NAME_MAX];
    struct log_file_header h;
    struct log_name n;
    struct io_stat there;
    size_t got;
    if (!head)
        return -ENOMEM;
    snprintf(from, sizeof from, "%s/%s", c->directory, name);
    int v = logscan_header(c->io, from, c->instance, head, &got, &h);
    free(head);
    bool read = v == LOG_HEADER_OK || v == LOG_HEADER_ONE_COPY;
    log_name_parse(&n, "", name);
    if (!c->over(c->arg, n.event, read ? &h : NULL))
        return 0;
    n.state = LOG_NAME_COMPLETE;
    if (!log_name_format(done, c->instance_name, &n))
        return -ENAMETOOLONG;
    snprintf(to, sizeof to, "%s/%s", c->directory, done);
    if (c->io->ops->stat(c->io, to, &there) == 0)
        return -EEXIST; /* nobody makes that; nothing is written over */
    PST_FAULT("log.complete");
    int r = c->io->ops->rename(c->io, from, to);
    PST_FAULT("log.completed");
    if (r == 0 && c->renamed)
        c->renamed(c->arg, name, done);
    return r < 0 ? r : 1;
}

int log_events_complete(const struct log_completion *c)
{
    struct found f = {.c = c};
    int bad = c->io->ops->list(c->io, c->directory, live_name, &f);
    for (uint32_t i = 0; i < f.n; i++) {
        int r = complete(c, f.name[i]);
        bad = r < 0 ? r : bad;
    }
    free(f.name);
    int r = c->io->ops->sync_dir(c->io, c->directory); /* perhaps of what an earlier try renamed */
    return bad < 0 ? bad : r;
}
