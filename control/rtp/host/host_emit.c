/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of processors: numbered by the frame that they are made from, packed into blocks
 * (append_wire.h), sent exactly once.
 *
 * The row number k of a frame at position P leads its source from (P, k) on; behind the frame's
 * last row it stands at (end of the frame, 0). Rows below `skip_to` are in the journal already: at
 * first the point at which the source stood at the start, then the ends of islands (core/source.h),
 * before which a block must end exactly.
 */
#include <errno.h>
#include "append_wire.h"
#include "host.h"

#define ROOM (RTP_BLOCK_BYTES - (uint32_t)sizeof(struct append_block))

static bool credit_left(struct host *h)
{
    return h->emit.sent - h->emit.done < RTP_ROWS_CREDIT;
}

bool host_emit_credit(const struct host *h)
{
    return h->emit.sent - h->emit.done < RTP_ROWS_CREDIT;
}

/* ---- starting ---- */

static bool points(const json_t *start, struct source_progress *p)
{
    const json_t *point = json_object_get(start, "point"),
                 *list = json_object_get(start, "islands"), *v;
    size_t i;
    memset(p, 0, sizeof *p);
    p->at = source_point((uint64_t)json_integer_value(json_array_get(point, 0)),
                         (uint32_t)json_integer_value(json_array_get(point, 1)));
    json_array_foreach(list, i, v)
    {
        if (p->islands == SOURCE_ISLANDS || json_array_size(v) != 4)
            return false;
        struct source_range *r = &p->island[p->islands++];
        r->from = source_point((uint64_t)json_integer_value(json_array_get(v, 0)),
                               (uint32_t)json_integer_value(json_array_get(v, 1)));
        r->to = source_point((uint64_t)json_integer_value(json_array_get(v, 2)),
                             (uint32_t)json_integer_value(json_array_get(v, 3)));
    }
    return true;
}

bool host_emit_start(struct host *h, const json_t *start, struct err *err)
{
    struct host_emit *e = &h->emit;
    bool any = false;
    for (unsigned i = 0; i < h->nprocessors; i++)
        any |= h->processor[i].chosen;
    if (!any)
        return true;
    e->records = aligned_alloc(64, pst_align_up(RTP_BLOCK_BYTES + RECORD_MAX, 64));
    e->texts = malloc(RTP_BLOCK_BYTES + 256);
    e->scratch = aligned_alloc(64, pst_align_up(RECORD_MAX, 64));
    e->edited = aligned_alloc(64, pst_align_up(RECORD_MAX, 64));
    if (!e->records || !e->texts || !e->scratch || !e->edited)
        return err_set(err, -ENOMEM, "no memory for rows");
    if (!points(start, &e->progress))
        return err_set(err, -EPROTO, "START's points are none");
    source_settle(&e->progress);
    e->skip_to = e->behind = e->progress.at;
    e->generation = 1;
    h->replay_to = e->progress.at.position;
    e->on = true;
    return true;
}

void host_emit_from(struct host *h, uint64_t position)
{
    struct source_point p = source_point(position, 0);
    if (source_cmp(p, h->emit.skip_to) > 0)
        h->emit.skip_to = p;
    if (position > h->replay_to)
        h->replay_to = position;
}

/* ---- a block ---- */

static bool have_credit(struct host *h)
{
    return credit_left(h);
}

/* Sends what is there; the source stands at `to` then. */
static void send_block(struct host *h, struct source_point to)
{
    struct host_emit *e = &h->emit;
    if (source_cmp(to, e->progress.at) <= 0)
        return;
    if (!credit_left(h))
        host_wait(h, have_credit);
    uint32_t padded = (e->texts_bytes + 7) & ~7u;
    memset(e->texts + e->texts_bytes, 0, padded - e->texts_bytes);
    static uint8_t body[RTP_BLOCK_BYTES] pst_aligned(8);
    struct append_block b = {.bytes = (uint32_t)sizeof b + padded + e->bytes,
                             .records = e->count,
                             .texts = e->ntexts,
                             .texts_bytes = padded,
                             .after = e->progress.at.position,
                             .after_row = e->progress.at.row,
                             .position = to.position,
                             .row = to.row,
                             .day = e->count ? e->block_day : e->day};
    memcpy(body, &b, sizeof b);
    memcpy(body + sizeof b, e->texts, padded);
    memcpy(body + sizeof b + padded, e->records, e->bytes);
    host_say(h, RTP_WIRE_ROWS, 0, ++e->sent, body, b.bytes, 0);
    e->bytes = e->count = e->ntexts = e->texts_bytes = 0;
    e->generation++;
    source_advance(&e->progress, to);
    if (source_cmp(e->progress.at, e->skip_to) > 0 && source_cmp(to, e->progress.at) < 0)
        e->skip_to = e->progress.at; /* an island was reached */
}

/* Everything up to `p` is made. Where an island begins before it, a block ends there. */
static void reach(struct host *h, struct source_point p)
{
    struct host_emit *e = &h->emit;
    while (e->progress.islands && source_cmp(p, e->progress.island[0].from) >= 0) {
        if (source_cmp(e->progress.island[0].from, e->progress.at) > 0)
            send_block(h, e->progress.island[0].from);
        else
            source_settle(&e->progress);
    }
}

/* Where the source stands before row k of the frame. */
static struct source_point before(const struct host_emit *e, uint32_t k)
{
    return k ? source_point(e->frame, k) : e->behind;
}

/* ---- symbols of a row become numbers of its block's texts ---- */

static uint64_t *local_slot(struct host *h, uint32_t id)
{
    struct host_emit *e = &h->emit;
    bool own = id >= HOST_OWN_SYMBOLS;
    uint32_t i = own ? id - HOST_OWN_SYMBOLS : id, *n = own ? &e->nlocal_own : &e->nlocal;
    uint64_t **at = own ? &e->local_own : &e->local;
    if (pst_unlikely(i >= *n)) {
        uint32_t to = i + i / 2 + 4096;
        uint64_t *p = realloc(*at, to * sizeof *p);
        if (!p)
            host_die(h, "no memory for symbols");
        memset(p + *n, 0, (to - *n) * sizeof *p);
        *at = p;
        *n = to;
    }
    return &(*at)[i];
}

struct places {
    const struct host_table *table;
    uint8_t *record;
};

static uint8_t *place(const struct places *p, unsigned i)
{
    return p->record + (i ? p->table->schema->sym_offset[i - 1] : 4);
}

/* Does the id stand for a text? A plugin may write anything there. */
static bool known(struct host *h, uint32_t id)
{
    return id >= HOST_OWN_SYMBOLS ? id - HOST_OWN_SYMBOLS < h->nown
                                  : id < h->emit.nlocal || host_symbol(h, id).len;
}

/* Bytes of texts that the block does not have yet. An id without a text becomes null. */
static uint32_t texts_needed(struct host *h, const struct places *p)
{
    uint32_t n = 0;
    for (unsigned i = 0; i <= p->table->schema->nsyms; i++) {
        uint32_t id = le32(place(p, i)), len = 0;
        if (id == PST_NULL_SYMBOL)
            continue;
        bool sound = known(h, id);
        if (sound && *local_slot(h, id) >> 32 == h->emit.generation)
            continue;
        if (sound)
            len = host_symbol(h, id).len;
        if (!len) {
            memset(place(p, i), 0xFF, 4);
            h->beat.bad++;
        }
        n += len ? 1 + len : 0;
    }
    return n;
}

static void translate(struct host *h, const struct places *p)
{
    struct host_emit *e = &h->emit;
    for (unsigned i = 0; i <= p->table->schema->nsyms; i++) {
        uint32_t id = le32(place(p, i)), number;
        if (id == PST_NULL_SYMBOL)
            continue;
        uint64_t *slot = local_slot(h, id);
        if (*slot >> 32 != e->generation) {
            struct pst_text t = host_symbol(h, id);
            e->texts[e->texts_bytes++] = (uint8_t)t.len;
            memcpy(e->texts + e->texts_bytes, t.at, t.len);
            e->texts_bytes += t.len;
            *slot = (uint64_t)e->generation << 32 | e->ntexts++;
        }
        number = (uint32_t)*slot;
        memcpy(place(p, i), &number, 4);
    }
}

/* The row that was being filled is complete. */
static void finish(struct host *h)
{
    struct host_emit *e = &h->emit;
    if (!e->pending)
        return;
    const struct places p = {e->pending_table, e->pending};
    uint8_t *record = e->pending;
    uint32_t bytes = e->pending_bytes;
    e->pending = NULL;
    if (e->pending_skipped)
        return;
    struct record *r = (struct record *)record; /* its head is ours, whatever it wrote there */
    r->table = (uint16_t)e->pending_table->pub.id;
    r->bytes = (uint16_t)bytes;
    uint32_t texts = texts_needed(h, &p);
    if (e->bytes + bytes + ((e->texts_bytes + texts + 7) & ~7u) > ROOM) {
        /* it begins the next block; it lies behind the others' bytes */
        memcpy(e->scratch, record, bytes);
        send_block(h, before(e, e->k - 1));
        memcpy(e->records, e->scratch, bytes);
        e->block_day = e->day;
        e->block_calendar = e->pending_table->calendar;
    }
    const struct places at = {e->pending_table, e->records + e->bytes};
    translate(h, &at);
    e->bytes += bytes;
    e->count++;
    h->beat.emitted++;
}

/* ---- frames ---- */

void host_emit_frame(struct host *h, const struct frame *f)
{
    struct host_emit *e = &h->emit;
    if (!e->on)
        return;
    e->frame = f->position;
    e->k = 0;
    e->day = f->day;
    e->open = true;
}

void host_emit_done(struct host *h, uint64_t end)
{
    struct host_emit *e = &h->emit;
    if (!e->on)
        return;
    finish(h);
    e->open = false;
    e->behind = source_point(end, 0);
    e->k = 0;
    reach(h, e->behind);
}

void host_emit_flush(struct host *h, bool even_empty)
{
    struct host_emit *e = &h->emit;
    if (!e->on || (!e->count && !even_empty))
        return;
    finish(h);
    send_block(h, before(e, e->k));
}

/* ---- rows ---- */

/* Memory for the next row, of `bytes`, or the scratch where it is in the journal already. */
static uint8_t *next(struct host *h, const struct host_table *t, uint32_t bytes)
{
    struct host_emit *e = &h->emit;
    finish(h);
    struct source_point from = source_point(e->frame, e->k);
    reach(h, from);
    e->pending_skipped = source_cmp(from, e->skip_to) < 0;
    if (!e->pending_skipped && e->count &&
        (e->block_day != e->day || e->block_calendar != t->calendar ||
         e->bytes + bytes + ((e->texts_bytes + 7) & ~7u) > ROOM))
        send_block(h, before(e, e->k));
    if (!e->pending_skipped && !e->count) {
        e->block_day = e->day;
        e->block_calendar = t->calendar;
    }
    e->k++;
    e->pending = e->pending_skipped ? e->scratch : e->records + e->bytes;
    e->pending_table = t;
    e->pending_bytes = bytes;
    return e->pending;
}

static const struct host_table *writable(struct pst_rtp *r, const struct pst_table *pub)
{
    struct host *h = r->host;
    const struct host_table *t = pub && pub->id < TABLE_MAX ? h->table[pub->id] : NULL;
    bool processing = h->in == HOST_IN_PROCESSOR || h->in == HOST_IN_TIMER;
    if (!h->emit.open || !processing) /* a timer by the clock would not come again in a replay */
        host_fail(r, -EINVAL, "only processors write rows");
    else if (!t || &t->pub != pub || t->schema->feed)
        host_fail(r, -EINVAL, "rows go to a derived table only");
    else
        return t;
    return NULL;
}

uint8_t *host_emit(struct pst_rtp *r, const struct pst_table *pub)
{
    struct host *h = r->host;
    struct host_emit *e = &h->emit;
    /* the same table as the row before, in the middle of a processor's frame: no question */
    const struct host_table *t = pst_likely(e->pending && pub == &e->pending_table->pub)
                                     ? e->pending_table
                                     : writable(r, pub);
    if (!t)
        return NULL;
    uint8_t *p = next(h, t, t->schema->fixed);
    memcpy(p, t->null_record, t->schema->fixed);
    return p;
}

static bool put_value(struct host *h, uint8_t *at, uint8_t type, const struct pst_value *v)
{
    uint32_t id;
    float f = (float)v->f;
    switch (type) {
    case PST_SYMBOL:
        id = host_symbol_own(h, v->text.at, v->text.at ? v->text.len : 0);
        memcpy(at, &id, 4);
        return true;
    case PST_GUID:
        memcpy(at, v->guid, 16);
        return true;
    case PST_FLOAT:
        memcpy(at, &v->f, 8);
        return true;
    case PST_REAL:
        memcpy(at, &f, 4);
        return true;
    default:
        memcpy(at, &v->i, type_width(type));
        return true;
    }
}

uint32_t host_record_bytes(const struct host_table *t, const struct pst_value *row, struct err *err)
{
    const struct schema *s = t->schema;
    uint64_t bytes = s->fixed;
    for (unsigned i = 0; i < s->ncols; i++) {
        if (row[i].type != s->col[i].type)
            return err_set(err, -EINVAL, "column %s of %s is a %s", s->col[i].name, s->name,
                           type_name(s->col[i].type));
        bytes += s->col[i].type == PST_STRING && row[i].text.at ? row[i].text.len : 0;
    }
    bytes = (bytes + 7) & ~7ull;
    return bytes <= ROOM / 2
               ? (uint32_t)bytes
               : err_set(err, -E2BIG, "a row of %s is longer than %u bytes", s->name, ROOM / 2);
}

void host_record(struct host *h, const struct host_table *t, const struct pst_value *row,
                 uint32_t bytes, uint8_t *p)
{
    const struct schema *s = t->schema;
    memcpy(p, t->null_record, s->fixed);
    memset(p + s->fixed, 0, bytes - s->fixed);
    uint16_t length = (uint16_t)bytes;
    memcpy(p + 2, &length, 2);
    uint32_t at = s->fixed;
    for (unsigned i = 0; i < s->ncols; i++) {
        uint8_t *to = p + (i == 0 ? 8 : i == 1 ? 4 : s->col[i].offset);
        if (s->col[i].type != PST_STRING) {
            put_value(h, to, s->col[i].type, &row[i]);
            continue;
        }
        uint32_t where[2] = {at, row[i].text.at ? row[i].text.len : 0};
        memcpy(to, where, sizeof where);
        if (where[1])
            memcpy(p + at, row[i].text.at, where[1]);
        at += where[1];
    }
}

int host_insert(struct pst_rtp *r, const struct pst_table *pub, const struct pst_value *row)
{
    struct host *h = r->host;
    struct err err = {0};
    const struct host_table *t = writable(r, pub);
    uint32_t bytes = t ? host_record_bytes(t, row, &err) : 0;
    if (!bytes)
        return host_fail(r, err.code, "%s", err.text);
    host_record(h, t, row, bytes, next(h, t, bytes));
    return 0;
}

uint8_t *host_edit(struct pst_rtp *r, const struct pst_row *row)
{
    struct host *h = r->host;
    uint16_t bytes;
    memcpy(&bytes, row->record + 2, 2);
    if (!h->emit.on || h->in != HOST_IN_PROCESSOR) {
        host_fail(r, -EINVAL, "edit: only pre changes rows");
        return NULL;
    }
    if (row->record != h->emit.edited)
        memcpy(h->emit.edited, row->record, bytes);
    return h->emit.edited;
}

/* ---- a row of the journal into a derived table, column by column ---- */

/* How rows of one version of a table become rows of the derived one. */
struct host_copy {
    const struct host_table *from, *into;
    struct host_copy_column {
        uint16_t to, from;
        uint8_t width; /* 0: a string */
        bool packet, seq;
    } column[SCHEMA_COLUMNS_MAX];
};

bool host_copy_of(struct host *h, unsigned id, const struct host_copy **out, struct err *err)
{
    const struct host_table *from = h->table[id];
    const char *name = json_string_value(json_object_get(h->inserts, from->schema->name));
    struct host_copy *c = h->copy[id];
    *out = c;
    if (c || !name)
        return true;
    const struct host_table *into = host_table_newest(h, name);
    if (!into || into->schema->feed)
        return err_set(err, -ENOENT, "insert: there is no derived table %s", name);
    c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, -ENOMEM, "insert: no memory");
    c->from = from;
    c->into = into;
    for (unsigned i = 0; i < into->schema->ncols; i++) {
        const struct column *to = &into->schema->col[i];
        int k = schema_column(from->schema, to->name);
        const struct column *x = k < 0 ? NULL : &from->schema->col[k];
        if (!x || x->type != to->type) {
            free(c);
            return err_set(err, -EINVAL, "insert: %s has no column %s of type %s, which %s has",
                           from->schema->name, to->name, type_name(to->type), name);
        }
        c->column[i] = (struct host_copy_column){
            .to = i == 0   ? 8
                  : i == 1 ? 4
                           : to->offset,
            .from = k == 0   ? 8
                    : k == 1 ? 4
                             : x->offset,
            .width = to->type == PST_STRING ? 0 : (uint8_t)type_width(to->type),
            .packet = x->packet,
            .seq = x->packet && !strcmp(x->name, "seq")};
    }
    *out = h->copy[id] = c;
    return true;
}

void host_copy_row(struct host *h, const struct pst_row *row, const struct host_copy *c)
{
    const struct schema *s = c->into->schema;
    uint64_t bytes = s->fixed;
    for (unsigned i = 0; s->nstrings && i < s->ncols; i++)
        if (!c->column[i].width)
            bytes += le32(row->record + c->column[i].from + 4);
    bytes = (bytes + 7) & ~7ull;
    if (bytes > ROOM / 2) { /* its strings do not fit: it goes without them */
        h->beat.bad++;
        bytes = s->fixed;
    }
    uint8_t *p = next(h, c->into, (uint32_t)bytes);
    memcpy(p, c->into->null_record, s->fixed);
    memset(p + s->fixed, 0, bytes - s->fixed);
    uint32_t at = s->fixed;
    for (unsigned i = 0; i < s->ncols; i++) {
        const struct host_copy_column *x = &c->column[i];
        if (x->seq)
            memcpy(p + x->to, &row->seq, 8);
        else if (x->width)
            memcpy(p + x->to, (x->packet ? row->packet : row->record) + x->from, x->width);
        else if (bytes > s->fixed) {
            uint32_t from = le32(row->record + x->from), len = le32(row->record + x->from + 4);
            uint32_t where[2] = {at, len};
            memcpy(p + x->to, where, sizeof where);
            memcpy(p + at, row->record + from, len);
            at += len;
        }
    }
}
