/* SPDX-License-Identifier: Apache-2.0 */
#include "divert.h"

#include <errno.h>
#include <stdlib.h>
#include "core/record.h"
#include "json_put.h"

#define ROWS_MAX (FRAME_MAX / sizeof(struct record)) /* of one frame */

_Static_assert(DIVERT_EVENTS < 255, "an owner is a byte");

struct divert_table {
    struct pst_table t;
    struct pst_table_column column[SCHEMA_COLUMNS_MAX];
};

/* ---- life ---- */

static struct divert_table *table_of(const struct schema *s)
{
    struct divert_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->t = (struct pst_table){
        .name = s->name, .id = s->id, .feed = s->feed, .ncolumns = s->ncols, .column = t->column};
    for (unsigned i = 0; i < s->ncols; i++)
        t->column[i] = (struct pst_table_column){.name = s->col[i].name,
                                                 .type = s->col[i].type,
                                                 .offset = s->col[i].offset,
                                                 .packet = s->col[i].packet};
    return t;
}

/* What a mask sees of a table that this process does not know: its first two columns. */
static struct divert_table *unknown_table(void)
{
    struct divert_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->t = (struct pst_table){.name = "?", .ncolumns = 2, .column = t->column};
    t->column[0] = (struct pst_table_column){"time", PST_TIMESTAMP, 8, 0};
    t->column[1] = (struct pst_table_column){"sym", PST_SYMBOL, 4, 0};
    return t;
}

struct divert *divert_create(const struct symbols *symbols, const struct schema_set *schemas,
                             struct err *err)
{
    struct divert *d = calloc(1, sizeof *d);
    bool ok = d && (d->unknown = unknown_table()) && (d->row = calloc(ROWS_MAX, sizeof *d->row)) &&
              (d->owner = calloc(ROWS_MAX, 1)) &&
              (d->bits = calloc(ROWS_MAX / 64, sizeof *d->bits));
    for (unsigned id = TABLE_FIRST; ok && id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(schemas, id);
        ok = !s || (d->table[id] = table_of(s));
    }
    if (!ok) {
        divert_free(d);
        err_set(err, -ENOMEM, "no memory for buffering events");
        return NULL;
    }
    memset(d->row, 0, ROWS_MAX * sizeof *d->row); /* faulted in: calloc gave zero pages */
    memset(d->owner, 0, ROWS_MAX);
    d->symbols = symbols;
    return d;
}

void divert_free(struct divert *d)
{
    if (!d)
        return;
    for (unsigned id = 0; id < TABLE_MAX; id++)
        free(d->table[id]);
    free(d->unknown);
    free(d->row);
    free(d->owner);
    free(d->bits);
    free(d);
}

struct divert_event *divert_take(struct divert *d)
{
    for (unsigned i = 0; i < DIVERT_EVENTS; i++) {
        struct divert_event *e = &d->event[i];
        if (divert_state(e) != DIVERT_FREE)
            continue;
        memset(e, 0, sizeof *e);
        e->order = ++d->starts;
        return e;
    }
    return NULL;
}

void divert_release(struct divert_event *e)
{
    store_release(&e->state, DIVERT_FREE);
}

/* ---- start and end ---- */

static void deactivate(struct divert *d, const struct divert_event *e)
{
    unsigned n = 0;
    for (unsigned i = 0; i < d->nactive; i++)
        if (&d->event[d->active[i]] != e)
            d->active[n++] = d->active[i];
    d->nactive = n;
}

void divert_start(struct divert *d, struct divert_event *e, uint64_t position)
{
    unsigned slot = (unsigned)(e - d->event), at = d->nactive;
    store_relaxed(&e->start, e->since ? e->since : position);
    store_relaxed(&e->files, e->file_base + !e->passing);
    d->events++;
    if (e->passing) {
        store_relaxed(&e->limited, true);
        store_release(&e->state, DIVERT_PASSING); /* V1 */
        return;
    }
    for (; at && d->event[d->active[at - 1]].order > e->order; at--)
        d->active[at] = d->active[at - 1];
    d->active[at] = slot;
    d->nactive++;
    store_release(&e->state, DIVERT_ACTIVE); /* V1 */
}

void divert_end(struct divert *d, struct divert_event *e, uint64_t position)
{
    deactivate(d, e);
    d->events--;
    store_relaxed(&e->end_at, position);
    store_release(&e->state, DIVERT_ENDED); /* V1: pairs with V2 */
}

void divert_say(const struct divert *d, struct json_put *j)
{
    bool any = false;
    json_put_lit(j, ",\"buffers\":[");
    for (unsigned i = 0; i < DIVERT_EVENTS; i++) {
        const struct divert_event *e = &d->event[i];
        enum divert_state state = divert_state(e);
        if (state != DIVERT_ACTIVE && state != DIVERT_PASSING)
            continue;
        if (any)
            json_put_lit(j, ",");
        any = true;
        json_put_lit(j, "[");
        json_put_u64(j, e->stream);
        json_put_lit(j, ",");
        json_put_u64(j, load_relaxed(&e->rows));
        json_put_lit(j, ",");
        json_put_u64(j, load_relaxed(&e->bytes));
        json_put_lit(j, "]");
    }
    json_put_lit(j, "]");
}

uint32_t divert_mark(const struct divert_event *e, const char *text, uint32_t len,
                     const char *status, char *out, uint32_t room)
{
    struct json_put j;
    json_put_start(&j, out, room);
    json_put_raw(&j, text, len);
    json_put_lit(&j, ",\"status\":");
    json_put_text(&j, status, strlen(status));
    if (load_relaxed(&e->start)) {
        json_put_lit(&j, ",\"since\":");
        json_put_u64(&j, load_relaxed(&e->start));
    } else if (e->since) {
        json_put_lit(&j, ",\"since\":");
        json_put_u64(&j, e->since);
    }
    json_put_lit(&j, ",\"rows\":");
    json_put_u64(&j, load_relaxed(&e->rows));
    json_put_lit(&j, ",\"bytes\":");
    json_put_u64(&j, load_relaxed(&e->bytes));
    json_put_lit(&j, ",\"files\":");
    json_put_u64(&j, load_relaxed(&e->files));
    json_put_lit(&j, "}");
    return j.full ? 0 : (uint32_t)(j.at - out);
}

/* ---- whose is which row ---- */

static struct pst_text symbol_text(const struct pst_batch *b, uint32_t id)
{
    uint32_t len = 0;
    const char *text =
        id == PST_NULL_SYMBOL ? NULL : symbols_text((const struct symbols *)b->symbols, id, &len);
    return (struct pst_text){text, text ? len : 0};
}

static uint32_t gather(struct divert *d, const struct frame *f)
{
    struct record_walk w;
    const struct record *r;
    uint32_t n = 0;
    record_walk_start(&w, f);
    while ((r = record_walk_next(&w))) {
        const struct divert_table *t = r->table < TABLE_MAX ? d->table[r->table] : NULL;
        d->row[n++] = (struct pst_row){.record = (const uint8_t *)r,
                                       .packet = (const uint8_t *)w.packet,
                                       .table = t ? &t->t : &d->unknown->t,
                                       .seq = record_walk_seq(&w)};
    }
    pst_must(!w.bad && n <= ROWS_MAX); /* the appender made it, or checked it */
    return n;
}

/* Rows that an event takes; `owner` is filled for n rows. */
static uint32_t ask(struct divert *d, uint32_t n)
{
    struct pst_batch b = {.rows = n, .row = d->row, .symbol = symbol_text, .symbols = d->symbols};
    uint32_t words = (n + 63) / 64, taken = 0;
    memset(d->owner, 0, n);
    for (unsigned k = 0; k < d->nactive; k++) {
        const struct divert_event *e = &d->event[d->active[k]];
        memset(d->bits, 0, words * sizeof *d->bits);
        e->mask(e->mask_state, &b, d->bits);
        if (n % 64) /* bits behind the last row are nobody's */
            d->bits[words - 1] &= (1ull << n % 64) - 1;
        for (uint32_t i = 0; i < words; i++)
            for (uint64_t left = d->bits[i]; left; left &= left - 1) {
                uint8_t *owner = &d->owner[i * 64 + (uint32_t)__builtin_ctzll(left)];
                if (*owner)
                    continue;
                *owner = (uint8_t)(d->active[k] + 1);
                taken++;
            }
    }
    return taken;
}

/* ---- cutting ---- */

struct cut {
    struct divert *d;
    const struct divert_sink *sink;
    struct frame head; /* of the whole frame */
    /* the part at hand: */
    uint8_t *from; /* its first record; NULL = none yet */
    uint32_t records, rows;
    uint8_t owner;
    /* the run at hand */
    bool run;
    struct packet_record whole,
        *packet;         /* as it was; where this part of it has its packet record */
    uint32_t done, mine; /* rows of it in parts before, in this part */
    uint8_t *rows_from;  /* behind `packet` */
};

/* The packet record of a run that is cut says what this part holds. */
static void close_run(struct cut *c, const uint8_t *end)
{
    if (!c->run || !c->packet)
        return;
    struct packet_record *p = c->packet;
    const struct packet_record *w = &c->whole;
    if (c->mine == w->rows)
        return;
    p->rows = c->mine;
    p->run_bytes = (uint32_t)(end - c->rows_from);
    if (w->flags & RUN_UNSEQUENCED)
        return;
    if (w->flags & RUN_PACKET_SEQ) {
        p->seqs = c->done ? 0 : w->seqs;
        return;
    }
    p->seq = w->seq + c->done;
    p->seqs = c->mine;
}

/* Before a frame of the event: what its limit says. False: its rows pass. */
static bool within_limit(struct cut *c, struct divert_event *e, uint32_t length)
{
    if (load_relaxed(&e->state) != DIVERT_ACTIVE)
        return false;
    if (!e->limit || e->file_bytes + length <= e->limit || !e->file_bytes)
        return true;
    store_relaxed(&e->limited, true);
    switch (e->policy) {
    case DIVERT_SPILL:
        bump(&e->files, 1);
        e->file_bytes = 0;
        c->sink->mark(c->sink->arg, e, MARK_BUFFER_START, "spilled");
        return true;
    case DIVERT_PASS:
        deactivate(c->d, e);
        store_release(&e->state, DIVERT_PASSING); /* V1 */
        c->sink->mark(c->sink->arg, e, MARK_BUFFER_START, "passthrough");
        return false;
    case DIVERT_END:
        c->sink->mark(c->sink->arg, e, MARK_BUFFER_END, "limit");
        return false;
    }
    return true;
}

static void finish(struct cut *c, struct frame *f, uint32_t rows, uint8_t owner)
{
    struct divert_event *e = owner ? &c->d->event[owner - 1] : NULL;
    bool diverted = e && within_limit(c, e, f->length);
    if (diverted) {
        f->stream = e->stream;
        e->file_bytes += f->length;
        bump(&e->rows, rows);
        bump(&e->frames, 1);
        bump(&e->bytes, f->length);
    }
    c->sink->frame(c->sink->arg, f, diverted ? rows : 0);
}

/* The part at hand ends before `end` and goes. */
static void emit(struct cut *c, const uint8_t *end)
{
    if (!c->from)
        return;
    close_run(c, end);
    struct frame *f = (struct frame *)(c->from - FRAME_HEADER);
    *f = c->head;
    f->length = (uint32_t)(end - c->from) + FRAME_HEADER;
    f->count = (uint16_t)c->records;
    finish(c, f, c->rows, c->owner);
    c->from = NULL;
    c->done += c->mine;
    c->mine = 0;
    c->packet = NULL;
}

/* A part of rows of `owner` begins with the record at `at`, or with its row: then the run at hand
 * goes on in it, with a packet record of its own. What stands before `at` was sent. */
static void begin(struct cut *c, uint8_t *at, uint8_t owner, bool row)
{
    c->owner = owner;
    c->records = c->rows = 0;
    if (row && c->run) {
        c->rows_from = at;
        at -= sizeof c->whole;
        c->packet = (struct packet_record *)at;
        *c->packet = c->whole;
        c->records = 1;
    }
    c->from = at;
}

static void cut_frame(struct divert *d, struct frame *f, const struct divert_sink *sink)
{
    struct cut c = {.d = d, .sink = sink, .head = *f};
    uint8_t *at = (uint8_t *)f + FRAME_HEADER, *end = (uint8_t *)f + f->length;
    for (uint32_t i = 0; at < end;) {
        struct record *r = (struct record *)at;
        bool row = r->table != TABLE_PACKET;
        uint32_t bytes = r->bytes;   /* before what stands in front of it is overwritten */
        uint8_t owner = d->owner[i]; /* of the row; of a packet record's first row */
        if (c.from && c.owner != owner)
            emit(&c, at);
        else if (!row)
            close_run(&c, at);
        if (!c.from)
            begin(&c, at, owner, row);
        if (row) {
            c.rows++, c.mine++, i++;
        } else {
            c.packet = (struct packet_record *)at;
            c.whole = *c.packet;
            c.run = true;
            c.done = c.mine = 0;
            c.rows_from = at + sizeof c.whole;
        }
        c.records++;
        at += bytes;
    }
    emit(&c, end);
}

void divert_frame(struct divert *d, struct frame *f, const struct divert_sink *sink)
{
    uint32_t n = gather(d, f), taken = ask(d, n);
    bool one = taken == n && n;
    for (uint32_t i = 1; one && i < n; i++)
        one = d->owner[i] == d->owner[0];
    if (!taken || one) {
        struct cut c = {.d = d, .sink = sink};
        finish(&c, f, n, taken ? d->owner[0] : 0);
        return;
    }
    cut_frame(d, f, sink);
}
