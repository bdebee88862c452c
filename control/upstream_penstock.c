/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another Penstock: frames of its journal, one by one, with their positions. Its symbols and table
 * versions become ours by text and by name; packet facts stay as they are.
 */
#include <errno.h>
#include "core/civil.h"
#include "core/clock.h"
#include "core/days.h"
#include "core/tables.h"
#include "kdb/ask.h"
#include "upstream_parts.h"

#define SAY_NS    NS_PER_S /* the point moves on at least so often */
#define BLOCK_MAX (FRAME_MAX - FRAME_HEADER - 2 * (uint32_t)sizeof(struct derived_record))

/* ---- subscribing ---- */

static void ask(struct upstream *u)
{
    static const char *const keys[] = {"format", "from", "policy", "marks", "durable"};
    struct kdb_out *o = &u->link.out;
    bool fresh = !u->at.at.position;
    size_t at = kdb_ask_sub(o, keys, PST_COUNT(keys));
    kdb_ask_word(o, "records");
    if (fresh)
        kdb_ask_word(o, "day");
    else
        kdb_out_long(o, (int64_t)u->at.at.position);
    kdb_ask_word(o, "catchup");
    kdb_ask_word(o, "heartbeat");
    kdb_ask_flag(o, true);
    kdb_frame_end(o, at);
}

/* A position; 0: none. */
static uint64_t number_of(const struct kdb_object *dict, const char *key)
{
    struct kdb_object v;
    return kdb_dict_value(dict, key, &v) && v.type == -PST_LONG ? (uint64_t)kdb_object_long(&v, 0)
                                                                : 0;
}

/* ---- its tables and symbols ---- */

static struct upstream_plan *plan_of(struct upstream *u, unsigned table)
{
    const struct schema *s = dictionary_schema(&u->dict, table);
    if (u->plan[table] || !s)
        return u->plan[table];
    struct upstream_plan *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->from = s;
    bool wants =
        strcmp(s->name, "alarm") != 0 && (upstream_wants(u, s->name) || !strcmp(s->name, "gap"));
    const struct schema *t = wants ? upstream_table(u, s, false) : NULL;
    p->to = t;
    p->same = t && s->ncols == t->ncols && s->fixed == t->fixed;
    for (unsigned i = 0; t && i < t->ncols; i++) {
        p->source[i] = (int16_t)schema_column(s, t->col[i].name);
        p->same &= p->source[i] == (int)i && s->col[i].offset == t->col[i].offset;
    }
    return u->plan[table] = p;
}

static uint32_t symbol(struct upstream *u, uint32_t id)
{
    uint32_t len = 0;
    if (id == PST_NULL_SYMBOL)
        return id;
    if (id < u->map_room && u->map[id])
        return u->map[id] - 1;
    const char *text = dictionary_text(&u->dict, id, &len);
    if (!text || !len)
        return PST_NULL_SYMBOL;
    uint32_t here = upstream_symbol(u, text, len);
    if (here == PST_NULL_SYMBOL)
        return here;
    if (id >= u->map_room) {
        uint32_t room = u->map_room ? u->map_room : 4096;
        while (room <= id)
            room *= 2;
        uint32_t *p = realloc(u->map, room * sizeof *p);
        if (!p)
            return here;
        memset(p + u->map_room, 0, (room - u->map_room) * sizeof *p);
        u->map = p;
        u->map_room = room;
    }
    u->map[id] = here + 1;
    return here;
}

/* ---- rows ---- */

struct block {
    uint8_t *at; /* BLOCK_MAX bytes */
    uint32_t bytes, records, rows;
    struct packet_record *run; /* open */
    const struct packet_record *of;
    uint64_t first; /* row of `of` that it begins with */
};

static void close_run(struct block *b)
{
    struct packet_record *p = b->run;
    if (!p)
        return;
    p->run_bytes = (uint32_t)(b->at + b->bytes - (uint8_t *)(p + 1));
    p->seqs = p->flags & RUN_UNSEQUENCED  ? 0
              : p->flags & RUN_PACKET_SEQ ? (b->first ? 0 : b->of->seqs)
                                          : p->rows;
    b->run = NULL;
}

static void open_run(struct upstream *u, struct block *b, const struct packet_record *of,
                     uint64_t row)
{
    struct packet_record *p = (struct packet_record *)(void *)(b->at + b->bytes);
    *p = *of;
    p->rows = 0;
    p->feed = symbol(u, of->feed);
    p->session = symbol(u, of->session);
    p->line = symbol(u, of->line);
    p->flags |= RUN_REPLAYED;
    memset(p->pad, 0, sizeof p->pad);
    if (!(p->flags & (RUN_UNSEQUENCED | RUN_PACKET_SEQ)))
        p->seq += row;
    b->run = p;
    b->of = of;
    b->first = row;
    b->bytes += (uint32_t)sizeof *p;
    b->records++;
}

/* The record as it is laid out here; 0: it does not fit a record. */
static uint32_t laid_out(const struct upstream_plan *p, const struct record *r, uint8_t *out)
{
    const struct schema *s = p->from, *t = p->to;
    uint32_t at = t->fixed;
    if (p->same) {
        memcpy(out, r, r->bytes);
        return r->bytes;
    }
    memset(out, 0, t->fixed);
    for (unsigned i = 0; i < t->ncols; i++) {
        const struct column *c = &t->col[i];
        int k = p->source[i];
        uint8_t *to = out + c->offset;
        if (c->packet)
            continue;
        if (c->type != PST_STRING) {
            memcpy(to, (const uint8_t *)r + s->col[k].offset, type_width(c->type));
            continue;
        }
        uint32_t len = 0;
        const char *text = record_string(r, s->col[k].offset, &len);
        if (at + len > RECORD_MAX - 8)
            return 0;
        put32(to, at);
        put32(to + 4, len);
        memcpy(out + at, text, len);
        at += len;
    }
    uint32_t bytes = (uint32_t)pst_align8(at);
    memset(out + at, 0, bytes - at);
    return bytes;
}

static bool sound(const struct schema *s, const struct record *r)
{
    uint32_t len;
    if (r->bytes < s->fixed)
        return false;
    for (unsigned i = 0; s->nstrings && i < s->ncols; i++)
        if (s->col[i].type == PST_STRING && !record_string(r, s->col[i].offset, &len))
            return false;
    return true;
}

static bool send_block(struct upstream *u, struct block *b, struct source_point to, uint16_t day)
{
    close_run(b);
    if (!source_cmp(to, u->at.at))
        return true;
    if (!upstream_block(u, u->id, b->at, b->bytes, b->records, day, u->at.at, to))
        return false;
    source_advance(&u->at, to);
    store_relaxed(&u->rows, load_relaxed(&u->rows) + b->rows);
    b->bytes = b->records = b->rows = 0;
    u->said_at = clock_monotonic();
    return true;
}

/* The rows of a frame that are not here yet. Rows are counted as they would be sent, so that a
 * point within a frame means the same again. */
static bool take_rows(struct upstream *u, const struct frame *f)
{
    static pst_aligned(8) uint8_t space[BLOCK_MAX + RECORD_MAX + 128];
    struct block b = {.at = space};
    struct record_walk w;
    const struct record *r;
    uint32_t n = 0; /* rows of the frame that are wanted, so far */
    struct source_point end = source_point(f->position + f->length, 0);
    record_walk_start(&w, f);
    while ((r = record_walk_next(&w))) {
        struct upstream_plan *p = plan_of(u, r->table);
        if (!p || !p->to || !sound(p->from, r))
            continue;
        struct source_point at = source_point(f->position, n++);
        if (source_cmp(at, u->at.at) < 0)
            continue; /* it is here */
        if (u->at.islands && source_cmp(at, u->at.island[0].from) >= 0) {
            /* as far as the island, then on behind it */
            if (!send_block(u, &b, u->at.island[0].from, f->day))
                return false;
            source_settle(&u->at);
            if (source_cmp(at, u->at.at) < 0)
                continue;
        }
        if (b.bytes + p->to->fixed + r->bytes + sizeof(struct packet_record) > BLOCK_MAX &&
            !send_block(u, &b, at, f->day))
            return false;
        if (w.packet && (!b.run || b.of != w.packet)) {
            close_run(&b);
            open_run(u, &b, w.packet, w.row);
        }
        struct record *to = (struct record *)(void *)(b.at + b.bytes);
        uint32_t bytes = laid_out(p, r, (uint8_t *)to);
        if (!bytes)
            continue;
        to->table = p->to->id;
        to->bytes = (uint16_t)bytes;
        to->sym = symbol(u, to->sym);
        for (unsigned i = 0; i < p->to->nsyms; i++) {
            uint8_t *field = (uint8_t *)to + p->to->sym_offset[i];
            put32(field, symbol(u, le32(field)));
        }
        if (b.run)
            b.run->rows++;
        b.bytes += bytes;
        b.records++;
        b.rows++;
    }
    if (w.bad)
        fprintf(stderr, "penstockd: upstream: a frame at %llu is not sound\n",
                (unsigned long long)f->position);
    if (u->at.islands && source_cmp(end, u->at.island[0].from) > 0)
        end = u->at.island[0].from;
    return !b.records || send_block(u, &b, end, f->day);
}

/* The point moves to `to` without rows. */
static bool move_on(struct upstream *u, uint64_t to)
{
    struct block none = {0};
    struct source_point p = source_point(to, 0);
    while (u->at.islands && source_cmp(p, u->at.island[0].from) > 0) {
        if (!send_block(u, &none, u->at.island[0].from, 0))
            return false;
        source_settle(&u->at);
    }
    return source_cmp(p, u->at.at) <= 0 || send_block(u, &none, p, 0);
}

/* ---- frames ---- */

static bool mark(struct upstream *u, const struct frame *f)
{
    char name[DAYS_NAME];
    unsigned type = 0;
    uint32_t len = 0;
    const char *json = frame_mark(f, &type, &len);
    if (!json)
        return true;
    if (days_eod(f, name)) {
        int c = wiring_calendar_named(u->d, name);
        return move_on(u, f->position) && (c < 0 || upstream_end_day(u, (unsigned)c, f->day));
    }
    bool chain = type == MARK_UPSTREAM; /* of who is above it */
    if (chain || type == MARK_EOI || type == MARK_BUFFER_START || type == MARK_BUFFER_END) {
        if (!upstream_mark(u, (enum mark_type)type, json, len))
            return false;
        return move_on(u, f->position + f->length);
    }
    return true;
}

static bool take_frame(struct upstream *u, const struct frame *f)
{
    uint64_t end = f->position + f->length;
    store_relaxed(&u->frames, load_relaxed(&u->frames) + 1);
    dictionary_feed(&u->dict, f);
    if (end <= u->at.at.position)
        return true; /* all of it is here */
    bool ok = true;
    bool buffered = f->stream >= STREAM_BUFFER_LAST && f->stream <= STREAM_BUFFER;
    if ((f->kind == FRAME_DATA || f->kind == FRAME_GAP) && !buffered)
        ok = take_rows(u, f);
    else if (f->kind == FRAME_MARK)
        ok = mark(u, f);
    u->seen = end;
    store_relaxed(&u->position, end);
    return ok;
}

static bool frames(struct upstream *u, const struct kdb_object *o, struct err *err)
{
    static pst_aligned(8) uint8_t copy[FRAME_MAX];
    if (o->type != PST_BYTE)
        return err_set(err, -EBADMSG, "its frames are no bytes");
    for (uint32_t at = 0; at < o->count;) {
        const struct frame *f = (const struct frame *)(const void *)copy;
        uint32_t left = o->count - at;
        if (left < FRAME_HEADER)
            return err_set(err, -EBADMSG, "a frame of it is cut");
        memcpy(copy, o->data + at, FRAME_HEADER);
        if (f->length < FRAME_HEADER || f->length > FRAME_MAX || f->length > left || f->length % 8)
            return err_set(err, -EBADMSG, "a frame of it has no length that can be");
        memcpy(copy, o->data + at, f->length);
        at += f->length;
        if (!take_frame(u, f))
            return true; /* stopping */
    }
    return true;
}

static bool symbols(struct upstream *u, const struct kdb_object *first, const struct kdb_object *o,
                    struct err *err)
{
    struct kdb_texts t;
    if (first->type != -PST_LONG || o->type != PST_SYMBOL)
        return err_set(err, -EBADMSG, "its symbols are none");
    uint64_t id = (uint64_t)kdb_object_long(first, 0);
    for (bool more = kdb_texts(o, &t); more; more = kdb_texts_next(&t), id++)
        if (t.len && (id > 1u << 28 || !dictionary_teach(&u->dict, (uint32_t)id, t.text, t.len)))
            return err_set(err, -ENOMEM, "no memory for its symbols");
    return true;
}

static bool schema(struct upstream *u, const struct kdb_object *o, struct err *err)
{
    uint32_t len = 0;
    struct schema s;
    const char *json = kdb_object_text(o, &len);
    if (!json || !schema_from_json(&s, json, len, err))
        return err_set(err, -EBADMSG, "one of its schemas is unsound");
    return schema_set_add(u->dict.schemas, &s, err);
}

static bool notice(struct upstream *u, const struct kdb_object *dict)
{
    struct kdb_object kind;
    uint64_t from = number_of(dict, "from"), to = number_of(dict, "to");
    if (!kdb_dict_value(dict, "kind", &kind))
        return true;
    if (kdb_object_is(&kind, "lost"))
        return upstream_gap(u, "upstream_lost", from, to - 1, "positions of its journal", to);
    if (kdb_object_is(&kind, "rewound")) /* what we have of [from, at) is void there */
        return upstream_gap(u, "upstream_rewound", from, u->at.at.position,
                            "positions of its journal", to);
    return true;
}

static bool is(const struct kdb_object *o, const char *text)
{
    return kdb_object_is(o, text);
}

bool penstock_message(struct upstream *u, const struct kdb_received *m, struct err *err)
{
    struct kdb_items i;
    const struct kdb_object *o = &m->object;
    if (m->kind == KDB_RESPONSE || o->type != KDB_LIST || o->count < 2 || !kdb_items(o, &i))
        return true;
    struct kdb_object head = i.item;
    kdb_items_next(&i);
    struct kdb_object one = i.item;
    if (is(&head, ".pst.frames"))
        return frames(u, &one, err);
    if (is(&head, ".pst.schema"))
        return schema(u, &one, err);
    if (is(&head, ".pst.notice"))
        return notice(u, &one) || true;
    if (is(&head, ".pst.symbols") && kdb_items_next(&i))
        return symbols(u, &one, &i.item, err);
    return true;
}

void penstock_idle(struct upstream *u)
{
    if (u->seen > u->at.at.position && clock_monotonic() - u->said_at > SAY_NS)
        move_on(u, u->seen);
}

bool penstock_begin(struct upstream *u, bool *is_one, struct err *err)
{
    struct kdb_received m;
    *is_one = true;
    if (u->has_dict)
        dictionary_free(&u->dict);
    u->has_dict = dictionary_init(&u->dict, err);
    if (!u->has_dict)
        return false;
    for (unsigned i = 0; i < TABLE_MAX; i++) {
        free(u->plan[i]);
        u->plan[i] = NULL;
    }
    if (u->map)
        memset(u->map, 0, u->map_room * sizeof *u->map);
    upstream_where(u, u->id, &u->at);
    source_settle(&u->at);
    u->seen = u->at.at.position;
    ask(u);
    if (!kdb_link_answer(&u->link, ".pst.sub", &m, UPSTREAM_ANSWER_NS, err))
        return false;
    if (m.object.type == KDB_ERROR) {
        uint32_t len = 0;
        const char *text = kdb_object_text(&m.object, &len);
        int n = (int)(len < 300 ? len : 300);
        *is_one = len > 12; /* kdb+ says the name that it does not know, or a word */
        return err_set(err, -EACCES, "%.*s", n, text);
    }
    struct kdb_object position;
    *is_one = kdb_dict_value(&m.object, "position", &position);
    if (!*is_one)
        return err_set(err, -EBADMSG, "it does not answer .pst.sub as a Penstock does");
    if (!u->at.at.position && !u->at.at.row && !move_on(u, number_of(&m.object, "position")))
        return err_set(err, -ECANCELED, "stopping");
    return true;
}
