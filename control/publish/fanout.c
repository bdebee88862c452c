/* SPDX-License-Identifier: Apache-2.0 */
#include "publish/fanout_int.h"

/* ---- life ---- */

struct fanout *fanout_new(const struct fanout_config *cfg, struct err *err)
{
    struct fanout *f = calloc(1, sizeof *f);
    if (f) {
        f->cfg = *cfg;
        filter_syms_init(&f->syms);
        f->table = calloc(TABLE_MAX, sizeof(struct table *));
    }
    if (f && f->table && encoder_open(&f->encoder, cfg->dict, &f->syms, cfg->zone))
        return f;
    if (f)
        free(f->table);
    free(f);
    err_set(err, -ENOMEM, "no memory to publish with");
    return NULL;
}

void fanout_free(struct fanout *f)
{
    if (!f)
        return;
    subscriptions_free(f);
    for (unsigned i = 0; i < TABLE_MAX; i++)
        if (f->table[i])
            table_close(f, f->table[i]);
    for (uint32_t i = 0; i < f->beats; i++) {
        free(f->beat[i]->waiting);
        free(f->beat[i]);
    }
    free(f->beat);
    free(f->table);
    free(f->stripe_hash);
    encoder_close(&f->encoder);
    filter_syms_free(&f->syms);
    free(f);
}

void fanout_at(struct fanout *f, uint64_t position)
{
    f->position = position;
}

uint64_t fanout_position(const struct fanout *f)
{
    return f->position;
}

/* ---- beats ---- */

struct beat *beat_of(struct fanout *f, int64_t every)
{
    if (every < 0)
        every = 0;
    for (uint32_t i = 0; i < f->beats; i++)
        if (f->beat[i]->every == every)
            return f->beat[i];
    struct beat **p = realloc(f->beat, (f->beats + 1) * sizeof(struct beat *));
    if (!p)
        return NULL;
    f->beat = p;
    struct beat *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->every = every;
    return p[f->beats++] = b;
}

static bool stream_wait(struct fanout *f, struct stream *s)
{
    struct beat *b = s->group->beat;
    if (b->n == b->room) {
        uint32_t room = b->room ? 2 * b->room : 64;
        struct stream **p = realloc(b->waiting, room * sizeof(struct stream *));
        if (!p)
            return false;
        b->waiting = p;
        b->room = room;
    }
    s->at = b->n;
    b->waiting[b->n++] = s;
    s->waiting = true;
    s->first = f->position;
    return true;
}

static void stream_unwait(struct stream *s)
{
    if (!s->waiting)
        return;
    struct beat *b = s->group->beat;
    b->waiting[s->at] = NULL;
    s->waiting = false;
    if (++b->holes == b->n) {
        b->n = b->holes = 0;
        b->due = 0;
    }
}

static void rows_forget(struct fanout *f, struct stream *s)
{
    f->held_rows -= s->n;
    s->n = 0;
    if (s->room > 4096) { /* of a burst */
        free(s->row);
        s->row = NULL;
        s->room = 0;
    }
}

void stream_discard(struct fanout *f, struct stream *s)
{
    rows_forget(f, s);
    folded_clear(&s->folded, s->shape ? s->shape->layout.ncols : 0);
    if (s->last)
        last_clear(s->last);
    stream_unwait(s);
}

void stream_fail(struct fanout *f, struct stream *s, const char *why)
{
    table_unindex(f, s);
    s->failed = true;
    stream_discard(f, s);
    group_tell(f, s->group, why);
}

/* ---- rows that wait: filtered, computed, conflated ---- */

static void no_memory(struct fanout *f, struct stream *s)
{
    f->figures.lost_rows += s->n;
    stream_fail(f, s, "no memory for the rows of a subscription");
}

/* Of rows[0 .. n) those that pass move to the front; what is computed of them is folded, unless
 * they are going to be conflated. False: the stream has failed. */
static bool filter_some(struct fanout *f, struct stream *s, uint32_t *rows, uint32_t n,
                        uint32_t *passed, bool compute)
{
    struct encoder *e = &f->encoder;
    const struct layout *l = &s->shape->layout;
    struct filter *filter = s->shape->filter;
    uint32_t sel[FILTER_BATCH + 16], kept = 0;
    for (uint32_t from = 0, k; from < n; from += k) {
        uint16_t day = encoder_staged(e, rows[from])->day;
        for (k = 1; from + k < n && k < FILTER_BATCH; k++)
            if (encoder_staged(e, rows[from + k])->day != day)
                break;
        struct filter_batch b;
        struct query_error error;
        uint32_t p;
        if (!encode_vectors(e, s->table->schema, filter, rows + from, k, &b)) {
            no_memory(f, s);
            return false;
        }
        if (!filter_rows(filter, &b, sel, &p, &error)) {
            char why[sizeof error.text + 64];
            snprintf(why, sizeof why, "%s: %s", s->table->schema->name, error.text);
            stream_fail(f, s, why);
            return false;
        }
        for (uint32_t i = 0; i < p; i++)
            rows[kept + i] = rows[from + (p < k ? sel[i] : i)];
        if (compute && p && !encode_fold(e, l, filter, &s->folded, rows + kept, p)) {
            no_memory(f, s);
            return false;
        }
        kept += p;
    }
    *passed = kept;
    return true;
}

/* Rows of the stream to what is left of them: staged rows that pass, folded ones, or conflated. */
static bool collect(struct fanout *f, struct stream *s)
{
    const struct filter *filter = s->shape->filter;
    bool computes = s->shape->layout.computes && !s->last;
    uint32_t n = s->n;
    if (n && filter && (!filter->all || computes)) {
        if (!filter_some(f, s, s->row, s->n, &n, computes))
            return false;
        f->held_rows -= s->n - n;
        s->n = n;
    }
    if (computes) {
        rows_forget(f, s);
    } else if (s->last) {
        for (uint32_t i = 0; i < s->n; i++)
            if (!last_put(s->last, &f->encoder, s->row[i])) {
                no_memory(f, s);
                return false;
            }
        rows_forget(f, s);
    }
    return true;
}

/* The conflated rows to folded ones. */
static bool unconflate(struct fanout *f, struct stream *s)
{
    uint32_t rows[1024], n, passed;
    uint32_t left = last_count(s->last);
    bool ok = true;
    while (left && ok) {
        n = last_take(s->last, &f->encoder, rows, PST_COUNT(rows));
        if (!n) {
            fanout_fold(f); /* this stream holds no staged rows */
            continue;
        }
        left -= n;
        if (s->shape->layout.computes)
            ok = filter_some(f, s, rows, n, &passed, true);
        else if (!(ok = encode_fold(&f->encoder, &s->shape->layout, NULL, &s->folded, rows, n)))
            no_memory(f, s);
    }
    if (ok)
        last_clear(s->last);
    return ok;
}

static void flush_beat(struct fanout *f, struct beat *b);

void fanout_fold(struct fanout *f)
{
    uint64_t held = 0;
    for (uint32_t i = 0; i < f->beats; i++)
        for (uint32_t k = 0; k < f->beat[i]->n; k++) {
            struct stream *s = f->beat[i]->waiting[k];
            if (!s || (s->n && !collect(f, s)))
                continue;
            if (s->n) {
                if (encode_fold(&f->encoder, &s->shape->layout, s->shape->filter, &s->folded,
                                s->row, s->n))
                    rows_forget(f, s);
                else
                    no_memory(f, s);
            }
            held += s->folded.bytes + (s->last ? last_bytes(s->last) : 0);
        }
    encoder_empty(&f->encoder);
    f->figures.held = held;
}

/* Sends early what has become too large. Between frames only: a message never ends within one. */
static void limit(struct fanout *f)
{
    for (uint32_t i = 0; i < f->beats; i++)
        for (uint32_t k = 0; k < f->beat[i]->n; k++) {
            struct stream *s = f->beat[i]->waiting[k];
            if (s && s->folded.bytes > FANOUT_MESSAGE_MOST)
                stream_send(f, s);
        }
    if (f->figures.held > FANOUT_HELD)
        for (uint32_t i = 0; i < f->beats; i++)
            if (f->beat[i]->every != INT64_MAX)
                flush_beat(f, f->beat[i]);
}

/* ---- messages ---- */

void deliver(struct fanout *f, struct group *g, struct message *m)
{
    f->figures.messages++;
    f->figures.sent_rows += m->rows;
    f->figures.deliveries += g->members;
    f->figures.bytes += (uint64_t)m->len * g->members;
    for (uint32_t i = 0; i < g->members; i++)
        f->cfg.sink(f->cfg.arg, g->member[i].consumer->who, m);
    message_release(m);
}

static uint8_t *put_head(struct message *m)
{
    static const uint8_t head[4] = {KDB_LITTLE, KDB_ASYNC, 0, 0};
    memcpy(m->data, head, sizeof head);
    put32(m->data + 4, m->len);
    return m->data + KDB_FRAME;
}

static struct message *message_of(struct fanout *f, size_t len, uint32_t rows, uint64_t first)
{
    struct message *m = len <= KDB_BYTES_MAX ? message_new(len) : NULL;
    if (m) {
        m->kind = MESSAGE_ROWS;
        m->rows = rows;
        m->first = first;
        m->end = f->position;
        m->time = f->time;
    }
    return m;
}

static void stream_sent(struct fanout *f, struct stream *s)
{
    rows_forget(f, s);
    folded_clear(&s->folded, s->shape->layout.ncols);
    stream_unwait(s);
}

/* All that waits is staged or folded; false: nothing is left. */
static bool ready(struct fanout *f, struct stream *s)
{
    if (!collect(f, s) || (s->last && last_count(s->last) && !unconflate(f, s)))
        return false;
    if (s->n + s->folded.rows)
        return true;
    stream_sent(f, s);
    return false;
}

/* One table a message. */
static void send_one(struct fanout *f, struct stream *s)
{
    const struct layout *l = &s->shape->layout;
    size_t table = encode_table_size(&f->encoder, l, &s->folded, s->row, s->n);
    size_t len = KDB_FRAME + l->upd.len + table;
    struct message *m = table ? message_of(f, len, s->folded.rows + s->n, s->first) : NULL;
    if (!m) {
        no_memory(f, s);
        return;
    }
    uint8_t *at = put_head(m);
    memcpy(at, l->upd.data, l->upd.len);
    at = encode_table(&f->encoder, l, &s->folded, s->row, s->n, at + l->upd.len);
    pst_debug(at == m->data + m->len);
    stream_sent(f, s);
    deliver(f, s->group, m);
}

void stream_send(struct fanout *f, struct stream *s)
{
    if (s->waiting && ready(f, s))
        send_one(f, s);
}

/* (`upd; tables; list of tables) of streams that are ready. */
static void send_many(struct fanout *f, struct group *g, struct stream **s, uint32_t n)
{
    size_t len = KDB_FRAME + 6 + 5 + 6 + 6;
    uint32_t rows = 0;
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        const struct layout *l = &s[i]->shape->layout;
        size_t table = encode_table_size(&f->encoder, l, &s[i]->folded, s[i]->row, s[i]->n);
        len += table + strlen(l->schema->name) + 1;
        if (!table)
            len = SIZE_MAX / 2;
        rows += s[i]->folded.rows + s[i]->n;
        first = s[i]->first < first ? s[i]->first : first;
    }
    struct message *m = message_of(f, len, rows, first);
    if (!m) { /* one by one they may do */
        for (uint32_t i = 0; i < n; i++)
            send_one(f, s[i]);
        return;
    }
    static const uint8_t list[] = {0, 0, 3, 0, 0, 0, 0xF5, 'u', 'p', 'd', 0, 11, 0};
    uint8_t *at = put_head(m);
    memcpy(at, list, sizeof list);
    at += sizeof list;
    put32(at, n);
    at += 4;
    for (uint32_t i = 0; i < n; i++) {
        const char *name = s[i]->shape->layout.schema->name;
        memcpy(at, name, strlen(name) + 1);
        at += strlen(name) + 1;
    }
    at[0] = at[1] = 0;
    put32(at + 2, n);
    at += 6;
    for (uint32_t i = 0; i < n; i++) {
        at = encode_table(&f->encoder, &s[i]->shape->layout, &s[i]->folded, s[i]->row, s[i]->n, at);
        stream_sent(f, s[i]);
    }
    pst_debug(at == m->data + m->len);
    deliver(f, g, m);
}

static int by_place(const void *a, const void *b)
{
    const struct stream *x = *(struct stream *const *)a, *y = *(struct stream *const *)b;
    return (x->at > y->at) - (x->at < y->at);
}

void group_send(struct fanout *f, struct group *g)
{
    enum { AT_ONCE = 256 };
    struct stream *some[AT_ONCE];
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->streams.n && n < AT_ONCE; i++)
        if (g->streams.s[i]->waiting)
            some[n++] = g->streams.s[i];
    if (n > 1)
        qsort(some, n, sizeof(struct stream *), by_place);
    bool many = f->cfg.multi_publish, more = n == AT_ONCE;
    uint32_t left = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!many)
            stream_send(f, some[i]);
        else if (some[i]->waiting && ready(f, some[i]))
            some[left++] = some[i];
    /* making one ready may have folded, failed or sent another */
    n = left;
    left = 0;
    for (uint32_t i = 0; i < n; i++)
        if (some[i]->waiting)
            some[left++] = some[i];
    if (left == 1)
        send_one(f, some[0]);
    else if (left)
        send_many(f, g, some, left);
    if (more)
        group_send(f, g);
}

/* ---- flushing ---- */

static void flush_beat(struct fanout *f, struct beat *b)
{
    for (uint32_t k = 0; k < b->n; k++) {
        struct stream *s = b->waiting[k];
        if (!s)
            continue;
        if (f->cfg.multi_publish)
            group_send(f, s->group);
        else
            stream_send(f, s);
    }
    b->n = b->holes = 0;
    b->due = 0;
}

static void tidy(struct fanout *f)
{
    if (!f->held_rows)
        encoder_empty(&f->encoder);
}

void fanout_flush(struct fanout *f, int64_t now)
{
    for (uint32_t i = 0; i < f->beats; i++) {
        struct beat *b = f->beat[i];
        if (!b->n || b->every == INT64_MAX)
            continue;
        if (b->every && !b->due) {
            int64_t from = now - now % b->every;
            b->due = from > INT64_MAX - b->every ? INT64_MAX : from + b->every;
        }
        if (!b->every || now >= b->due)
            flush_beat(f, b);
    }
    tidy(f);
}

void fanout_flush_all(struct fanout *f)
{
    for (uint32_t i = 0; i < f->beats; i++)
        if (f->beat[i]->every != INT64_MAX)
            flush_beat(f, f->beat[i]);
    tidy(f);
}

int64_t fanout_due(const struct fanout *f)
{
    int64_t due = INT64_MAX;
    for (uint32_t i = 0; i < f->beats; i++) {
        const struct beat *b = f->beat[i];
        if (b->n && b->every != INT64_MAX && b->due < due)
            due = b->due;
    }
    return due;
}

/* ---- frames ---- */

/* Rows of another version of the table come: what waits of those before goes first. */
static void turn(struct fanout *f, struct table *t)
{
    for (uint32_t id = TABLE_FIRST; id < TABLE_MAX && id < f->cfg.dict->schemas->count; id++) {
        struct table *o = f->table[id];
        if (!o || o == t || strcmp(o->schema->name, t->schema->name) != 0)
            continue;
        o->newest = false;
        for (uint32_t i = 0; i < o->streams.n; i++)
            stream_send(f, o->streams.s[i]);
    }
    t->newest = true;
}

/* Is the record as long as its table says, its strings within it? */
static bool sound(const struct schema *s, const struct record *r)
{
    if (pst_unlikely(r->bytes < s->fixed))
        return false;
    for (unsigned i = 2, left = s->nstrings; left; i++) {
        uint32_t len;
        if (s->col[i].type != PST_STRING)
            continue;
        if (!record_string(r, s->col[i].offset, &len))
            return false;
        left--;
    }
    return true;
}

struct walk { /* of a frame */
    const struct record *r;
    const struct packet_record *packet;
    int64_t seq;
    uint16_t day;
    uint32_t staged_packet; /* 0: not yet */
    uint32_t row;           /* 0: not yet */
};

static void put_row(struct fanout *f, struct walk *w, const struct stream_list *l)
{
    if (!w->row) {
        if (!w->staged_packet)
            w->staged_packet = encoder_packet(&f->encoder, w->packet);
        w->row = encoder_row(&f->encoder, w->r, w->staged_packet, w->seq, w->day);
    }
    f->figures.matched += l->n;
    for (uint32_t i = 0; i < l->n; i++) {
        struct stream *s = l->s[i];
        if (pst_unlikely(s->n == s->room)) {
            uint32_t room = s->room ? 2 * s->room : 8;
            uint32_t *p = realloc(s->row, room * sizeof *p);
            if (!p) {
                f->figures.lost_rows++;
                continue;
            }
            s->row = p;
            s->room = room;
        }
        if (pst_unlikely(!s->waiting) && !stream_wait(f, s)) {
            f->figures.lost_rows++;
            continue;
        }
        s->row[s->n++] = w->row;
        f->held_rows++;
    }
}

/* By symbol and by stripe. */
static void put_by_symbol(struct fanout *f, struct walk *w, const struct table *t)
{
    uint32_t code = encoder_code(&f->encoder, w->r->sym);
    if (code < t->symbols && t->by_symbol[code])
        put_row(f, w, &t->list[t->by_symbol[code] - 1]);
    for (uint32_t i = 0; i < t->nstripes; i++) {
        const struct stripes *p = &t->stripes[i];
        const struct stream_list *l = &p->by[table_stripe_hash(f, code) % p->n];
        if (l->n)
            put_row(f, w, l);
    }
}

/* True: rows were folded meanwhile. */
static bool rows(struct fanout *f, const struct frame *frame)
{
    struct record_walk walk;
    struct walk w = {.day = frame->day};
    const struct record *r;
    bool folded = false;
    record_walk_start(&walk, frame);
    while ((r = record_walk_next(&walk)) != NULL) {
        unsigned id = r->table;
        struct table *t = id < TABLE_MAX ? f->table[id] : NULL;
        if (pst_unlikely(!t) && !(t = id < TABLE_MAX ? table_meet(f, id) : NULL)) {
            f->figures.lost_rows++;
            continue;
        }
        f->figures.rows++;
        if (!t->wanted)
            continue;
        if (pst_unlikely(!sound(t->schema, r))) {
            f->figures.lost_rows++;
            continue;
        }
        if (pst_unlikely(!t->newest))
            turn(f, t);
        if (pst_unlikely(!encoder_room(&f->encoder, r->bytes))) {
            fanout_fold(f);
            w.staged_packet = 0;
            folded = true;
        }
        if (w.packet != walk.packet) {
            w.packet = walk.packet;
            w.staged_packet = 0;
        }
        w.r = r;
        w.seq = record_walk_seq(&walk);
        w.row = 0;
        if (t->all.n)
            put_row(f, &w, &t->all);
        if (t->lists || t->nstripes)
            put_by_symbol(f, &w, t);
    }
    f->figures.lost_rows += walk.bad;
    return folded;
}

/* The frame as it is, shared by all that want it so. */
static void send_verbatim(struct fanout *f, const struct frame *frame)
{
    static const uint8_t head[] = {0,   0,   2,   0,   0,   0,   0xF5, '.', 'p', 's', 't',
                                   '.', 'f', 'r', 'a', 'm', 'e', 's',  0,   4,   0};
    struct message *m = message_new(KDB_FRAME + sizeof head + 4 + frame->length);
    if (!m) { /* a hole: they must not go on as if there were none */
        for (uint32_t i = 0; i < f->verbatims; i++)
            f->cfg.failed(f->cfg.arg, f->verbatim[i].who, f->verbatim[i].id,
                          "no memory for a frame");
        return;
    }
    m->kind = MESSAGE_FRAMES;
    m->first = frame->position;
    m->end = frame->position + frame->length;
    m->time = frame->time;
    uint8_t *at = put_head(m);
    memcpy(at, head, sizeof head);
    put32(at + sizeof head, frame->length);
    memcpy(at + sizeof head + 4, frame, frame->length);
    f->figures.messages++;
    f->figures.deliveries += f->verbatims;
    f->figures.bytes += (uint64_t)m->len * f->verbatims;
    for (uint32_t i = 0; i < f->verbatims; i++)
        f->cfg.sink(f->cfg.arg, f->verbatim[i].who, m);
    message_release(m);
}

void fanout_frame(struct fanout *f, const struct frame *frame)
{
    if (pst_unlikely(f->verbatims))
        send_verbatim(f, frame);
    f->figures.frames++;
    f->position = frame->position; /* of what begins to wait */
    f->time = frame->time;
    bool folded = frame_has_rows(frame) && f->subscriptions && rows(f, frame);
    f->position = frame->position + frame->length;
    if (pst_unlikely(folded))
        limit(f);
    marks_frame(f, frame);
}

void fanout_figures(const struct fanout *f, struct fanout_figures *out)
{
    *out = f->figures;
    out->lost_symbols = f->encoder.lost_symbols;
    out->consumers = f->consumers;
    out->subscriptions = f->subscriptions;
    out->shared = f->groups;
    out->texts = f->syms.view.extra_count;
}

/* ---- what a reply shows ---- */

bool fanout_schema(struct fanout *f, const struct fanout_spec *from, const char *table,
                   struct schema *out, struct err *err)
{
    const struct schema *s = schema_set_find(f->cfg.dict->schemas, table);
    if (!s)
        return err_set(err, -ENOENT, "%s", table);
    struct fanout_spec only = *from;
    only.where.len = 0;
    only.rights = (struct fanout_rights){0};
    struct spec *spec = spec_make(&only, &f->cfg, f, err);
    if (!spec)
        return false;
    struct table t = {.schema = s};
    struct shape *h = shape_take(f, &t, spec, err);
    bool ok = h && layout_schema(&h->layout, out);
    if (ok && !spec->columns.len) {
        out->nkeys = s->nkeys;
        memcpy(out->keys, s->keys, sizeof out->keys);
    }
    if (h)
        shape_give(&t, h);
    free(spec);
    return ok;
}
