/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions through the journal's ring. The control socket's verb `attach` hands out the sealed
 * memory and says where the log lies; storage's cursor reads both as one stream. The connection to
 * the IPC server stays open beside it: its end is the daemon's.
 *
 * In place: a frame of rows that the ring holds is given where it lies. Its header is copied and
 * checked first; records are walked against that length, each length read once; so whatever the
 * daemon writes over it meanwhile, nothing outside of the ring's two maps is touched.
 */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <unistd.h>
#include "client/shared_int.h"

#define LOOK_NS (10 * NS_PER_MS) /* is the daemon there? */
#define NAP_NS  (50 * NS_PER_US)

/* ---- what is wanted ---- */

static bool listed(const char *list, const char *name, size_t len)
{
    while (list) {
        while (*list == ' ')
            list++;
        size_t n = strcspn(list, ","), end = n;
        while (end && list[end - 1] == ' ')
            end--;
        if (end == len && !memcmp(list, name, len))
            return true;
        list = list[n] ? list + n + 1 : NULL;
    }
    return false;
}

const char *shared_symbol(const struct shared *s, uint32_t id, uint32_t *len)
{
    *len = 0;
    return id < symbols_count(&s->symbols) ? symbols_text(&s->symbols, id, len) : "";
}

static bool symbol_wanted(struct shared *s, uint32_t id)
{
    if (!s->syms)
        return true;
    if (id == PST_NULL_SYMBOL || id >= symbols_count(&s->symbols))
        return false; /* torn, if it is in place */
    uint32_t at = id / 4, shift = id % 4 * 2;
    if (at >= s->wanted.room) {
        uint32_t room = s->wanted.room ? s->wanted.room : 1024;
        while (room <= at)
            room *= 2;
        uint8_t *p = realloc(s->wanted.known, room);
        if (!p)
            return false;
        memset(p + s->wanted.room, 0, room - s->wanted.room);
        s->wanted.known = p;
        s->wanted.room = room;
    }
    unsigned known = s->wanted.known[at] >> shift & 3;
    if (!known) {
        uint32_t len;
        const char *text = shared_symbol(s, id, &len);
        known = listed(s->syms, text, len) ? 3 : 1;
        s->wanted.known[at] |= (uint8_t)(known << shift);
    }
    return known == 3;
}

static struct table *table_of(struct pst_client *c, struct shared *s, unsigned id)
{
    if (id < TABLE_FIRST || id >= TABLE_MAX)
        return NULL;
    if (s->table[id] || s->asked[id / 8] & 1u << id % 8)
        return s->table[id];
    const struct schema *schema = dictionary_schema(&s->cursor.dict, id);
    if (!schema)
        return NULL; /* not yet, or torn */
    s->asked[id / 8] |= (uint8_t)(1u << id % 8);
    if (s->tables && !listed(s->tables, schema->name, strlen(schema->name)))
        return NULL;
    for (struct table *t = c->tables; t; t = t->next)
        if (t->schema && schema_equal(t->schema, schema)) /* of the daemon before a restart */
            return s->table[id] = t;
    struct table *t = table_make(schema->name, (uint32_t)strlen(schema->name), schema->ncols);
    struct schema *own = t ? malloc(sizeof *own) : NULL;
    if (!own) {
        tables_free(t);
        return NULL;
    }
    *own = *schema; /* the dictionary goes with the daemon */
    t->schema = own;
    for (unsigned i = 0; i < own->ncols; i++) {
        t->column[i].type = own->col[i].type;
        t->column[i].name = strdup(own->col[i].name);
        if (!t->column[i].name)
            t->column[i].name = strdup("");
    }
    t->next = c->tables;
    c->tables = t;
    return s->table[id] = t;
}

/* ---- rows of a frame ---- */

bool shared_row(const struct pst_rows *r, struct pst_row *row)
{
    struct shared *s = (struct shared *)r->shared;
    const uint8_t *at = (const uint8_t *)row->p[0] + row->m;
    for (;;) {
        if (at >= r->end || (size_t)(r->end - at) < sizeof(struct record))
            return false;
        /* each read once: in place they may change under us */
        uint16_t id = load_relaxed((const _Atomic uint16_t *)at);
        uint16_t bytes = load_relaxed((const _Atomic uint16_t *)(at + 2));
        uint32_t sym = load_relaxed((const _Atomic uint32_t *)(at + 4));
        if (bytes < sizeof(struct record) || bytes % 8 || bytes > (size_t)(r->end - at))
            return false;
        const uint8_t *start = at;
        at += bytes;
        if (id == TABLE_PACKET) {
            if (bytes != sizeof(struct packet_record))
                return false;
            row->p[1] = start;
            row->n = UINT64_MAX;
            continue;
        }
        if (id == TABLE_DERIVED)
            continue;
        row->n++;
        struct table *t = table_of(r->client, s, id);
        if (!t || bytes < t->schema->fixed || !symbol_wanted(s, sym))
            continue;
        row->table = &t->pub;
        row->p[0] = start;
        row->m = bytes;
        return true;
    }
}

bool shared_first(const struct pst_rows *r, struct pst_row *row)
{
    *row = (struct pst_row){.p = {r->at, NULL}, .n = UINT64_MAX};
    return shared_row(r, row);
}

/* ---- events ---- */

static uint64_t limit_of(const struct shared *s)
{
    const struct ring_head *h = s->ring.head;
    return s->s.durable     ? load_acquire(&h->durable)
           : s->s.committed ? ring_tail(&s->ring)
                            : load_acquire(&h->submitted);
}

static bool rows_event(struct pst_client *c, struct pst_event *e, const uint8_t *payload,
                       uint32_t bytes, int64_t time, uint64_t end)
{
    struct shared *s = c->shared;
    struct pst_row first;
    s->rows.shared = s;
    s->rows.client = c;
    s->rows.at = payload;
    s->rows.end = payload + bytes;
    *e = (struct pst_event){.kind = PST_ROWS, .rows = &s->rows, .time = time, .position = end};
    e->text = "";
    return shared_first(&s->rows, &first);
}

/* A frame of rows where it lies. 1: an event; 0: none of its rows is wanted; -1: not this way. */
static int in_place(struct pst_client *c, struct pst_event *e)
{
    struct shared *s = c->shared;
    struct frame h;
    uint64_t at = s->cursor.position;
    if (!s->s.in_place || !s->cursor.in_ring || s->cursor.fresh ||
        at + FRAME_HEADER > limit_of(s) ||
        ring_copy(&s->ring, at, &h, FRAME_HEADER) != RING_READ_OK || h.position != at ||
        h.length < FRAME_HEADER || h.length > FRAME_MAX || !frame_has_rows(&h) ||
        at + h.length > limit_of(s) || ring_lost(&s->ring, at, at + h.length))
        return -1;
    s->place_at = at;
    s->resume = at + h.length;
    const uint8_t *p = s->ring.data + (at & s->ring.mask) + FRAME_HEADER;
    bool any = rows_event(c, e, p, h.length - FRAME_HEADER, h.time, s->resume);
    if (any)
        return 1;
    if (!shared_valid(c))
        return -1; /* the cursor reads it, from the log */
    s->cursor.position = s->resume;
    s->place_at = UINT64_MAX;
    return 0;
}

bool shared_valid(struct pst_client *c)
{
    struct shared *s = c->shared;
    if (s->place_at == UINT64_MAX)
        return true;
    fence_acquire(); /* R2 of ring.h: the reads of the rows come before this look */
    if (load_relaxed(&s->ring.head->overwrite_below) <= s->place_at)
        return true;
    s->place_at = UINT64_MAX; /* the cursor still stands before it and goes to the log */
    return false;
}

static bool number_in(const char *json, uint32_t len, const char *key, char *out, size_t room)
{
    json_t *o = json_loadb(json, len, 0, NULL), *v = json_object_get(o, key);
    if (json_is_integer(v))
        snprintf(out, room, "%lld", (long long)json_integer_value(v));
    else
        snprintf(out, room, "%s", json_string_value(v) ? json_string_value(v) : "");
    json_decref(o);
    return *out;
}

/* "2026.11.23D09:30:00.5" as ns since 2000. */
static int64_t stamp(const char *text)
{
    int y, mo, d, h = 0, mi = 0, s = 0, used = 0;
    if (sscanf(text, "%4d.%2d.%2d%*1c%2d:%2d:%2d%n", &y, &mo, &d, &h, &mi, &s, &used) < 6)
        return PST_NULL_LONG;
    struct tm tm = {.tm_year = y - 1900, .tm_mon = mo - 1, .tm_mday = d};
    int64_t ns = 0, unit = 100000000;
    if (text[used] == '.')
        for (const char *p = text + used + 1; *p >= '0' && *p <= '9'; p++, unit /= 10)
            ns += (*p - '0') * unit;
    return (timegm(&tm) - CLOCK_EPOCH_S + h * 3600 + mi * 60 + s) * NS_PER_S + ns;
}

static bool mark_event(struct shared *s, struct pst_event *e, const struct frame *f)
{
    unsigned type;
    uint32_t len;
    char to[64];
    const char *json = f->kind == FRAME_MARK ? frame_mark(f, &type, &len) : NULL;
    if (!json)
        return false;
    e->time = f->time;
    switch (type) {
    case MARK_EOD:
        e->kind = PST_END_OF_DAY;
        e->date = f->day;
        return true;
    case MARK_EOI:
        e->kind = PST_END_OF_INTERVAL;
        e->from = number_in(json, len, "from", to, sizeof to) ? stamp(to) : PST_NULL_LONG;
        e->to = number_in(json, len, "to", to, sizeof to) ? stamp(to) : PST_NULL_LONG;
        return true;
    case MARK_BUFFER_START:
    case MARK_BUFFER_END:
        e->kind = type == MARK_BUFFER_START ? PST_BUFFER_START : PST_BUFFER_END;
        number_in(json, len, "buffer", s->text, sizeof s->text);
        e->text = s->text;
        return true;
    default:
        return false;
    }
}

/* One step of the stream. 1: an event. 0: nothing now. -EAGAIN: more may be there. */
static int look(struct pst_client *c, struct pst_event *e)
{
    struct shared *s = c->shared;
    const struct frame *f;
    if (s->place_at != UINT64_MAX) { /* the last one was not asked about */
        bool valid = shared_valid(c);
        if (valid) {
            s->cursor.position = s->resume;
            s->place_at = UINT64_MAX;
        }
    }
    int r = in_place(c, e);
    if (r >= 0)
        return r ? r : -EAGAIN;
    switch (cursor_next(&s->cursor, &f)) {
    case CURSOR_FRAME:
        if (frame_has_rows(f))
            return rows_event(c, e, frame_payload(f), frame_payload_bytes(f), f->time,
                              f->position + f->length)
                       ? 1
                       : -EAGAIN;
        return mark_event(s, e, f) ? 1 : -EAGAIN;
    case CURSOR_LOST:
        e->kind = PST_LOST;
        e->from = (int64_t)s->cursor.lost_from;
        e->to = (int64_t)s->cursor.lost_to;
        return 1;
    case CURSOR_REWOUND:
        e->kind = PST_REWOUND;
        e->from = (int64_t)s->cursor.rewound_old;
        e->to = (int64_t)s->cursor.rewound_new;
        return 1;
    case CURSOR_ERROR:
        return client_fail(c, s->cursor.err.code ? s->cursor.err.code : -EIO, "%s",
                           s->cursor.err.text);
    default:
        if (s->told_live)
            return 0;
        s->told_live = true;
        e->kind = PST_LIVE;
        return 1;
    }
}

/* Is the daemon there? 1: no, an event says so; 0: yes; < 0: woken. */
static int gone(struct pst_client *c, struct pst_event *e, int64_t now)
{
    struct shared *s = c->shared;
    int r = link_step(c, 0);
    s->looked = now;
    if (r == -EINTR || c->state == LINK_UP)
        return r == -EINTR ? r : 0;
    c->position = s->cursor.position;
    shared_detach(s);
    snprintf(s->text, sizeof s->text, "%s", c->error);
    e->kind = PST_DISCONNECTED;
    e->text = s->text;
    return 1;
}

static void nap(struct pst_client *c, int64_t ns)
{
    struct pollfd p = {.fd = c->wake_fd, .events = POLLIN};
    struct timespec ts = {.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
    ppoll(&p, 1, &ts, NULL);
}
static bool woken(struct pst_client *c)
{
    uint64_t n;
    return read(c->wake_fd, &n, sizeof n) > 0;
}

/* Connects and attaches again. 1: PST_CONNECTED. 0: not yet. */
static int again(struct pst_client *c, struct pst_event *e, int64_t until)
{
    struct shared *s = c->shared;
    struct err err = {0};
    do {
        if (c->state == LINK_UP && shared_attach(s, &err)) {
            cursor_seek(&s->cursor, c->position);
            e->kind = PST_CONNECTED;
            return 1;
        }
        if (c->state == LINK_UP) /* it does not hand it out (yet) */
            link_down(c, err.code, err.text);
        int r = link_step(c, until);
        if (r)
            return r;
    } while (c->state == LINK_UP || clock_monotonic() < until);
    return 0;
}

int shared_next(struct pst_client *c, struct pst_event *e, int64_t until)
{
    struct shared *s = c->shared;
    int64_t spin = s->s.spin_us < 0 ? INT64_MAX : (s->s.spin_us ? s->s.spin_us : 50) * NS_PER_US;
    int64_t since = 0;
    for (;;) {
        int r;
        if (!s->attached) {
            r = again(c, e, until);
        } else {
            /* nothing above the position: no need to ask the cursor */
            bool idle = s->told_live && s->cursor.in_ring && s->place_at == UINT64_MAX &&
                        limit_of(s) < s->cursor.position + FRAME_HEADER;
            r = idle ? 0 : look(c, e);
        }
        if (r == -EAGAIN) {
            since = 0;
            continue;
        }
        if (r) {
            if (s->attached)
                c->position = s->place_at != UINT64_MAX ? s->resume : s->cursor.position;
            if (r == 1 && e->kind != PST_ROWS)
                e->position = c->position;
            return r;
        }
        if (!s->attached)
            return 0;
        int64_t now = clock_monotonic();
        if (!since)
            since = now;
        if (now - s->looked > LOOK_NS) {
            r = gone(c, e, now);
            if (r)
                return r;
        }
        if (now >= until)
            return woken(c) ? client_fail(c, -EINTR, "woken") : 0;
        if (now - since < spin) {
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
            continue;
        }
        nap(c, NAP_NS < until - now ? NAP_NS : until - now);
        if (woken(c))
            return client_fail(c, -EINTR, "woken");
    }
}
