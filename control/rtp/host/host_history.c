/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the open day out of memory, at a cut: a cut is asked of penstockd, the journal is read to
 * exactly its position, and then rows stand in the RDB or are still to come, never both.
 *
 * A row is put together as it stood in its frame: its record and, for a feed's table, its packet
 * record.
 */
#include <errno.h>
#include "core/clock.h"
#include "host.h"

#define BEHIND_NS (1 * NS_PER_S) /* for memory to come to where the process is */
#define MEET_NS   (5 * NS_PER_S) /* of silence, on the way to a cut */

/* ---- the cut ---- */

static bool cut_came(struct host *h)
{
    return h->cut_here;
}

static bool journal_moves(struct host *h)
{
    return host_emit_credit(h);
}

/* 1: a cut that can be met. 0: memory is still behind. -1: err. */
static int cut_ask(struct host *h, struct err *err)
{
    h->cut_here = false;
    host_say(h, RTP_WIRE_CUT_WANTED, 0, h->position, NULL, 0, 0);
    host_wait(h, cut_came);
    if (!h->cut) {
        err_set(err, -EAGAIN, "%s",
                *h->cut_refused ? h->cut_refused : "the rows in memory are not available");
        return -1;
    }
    if (h->cut->flags & CUT_REBUILDING) {
        err_set(err, -EAGAIN, "memory is still being rebuilt from the log; try again later");
        return -1;
    }
    return h->cut->position >= h->position;
}

bool host_cut_take(struct host *h, struct err *err)
{
    if (h->cut)
        return true;
    if (!h->have_rdb && h->standalone)
        return err_set(err, -ENOTSUP,
                       "there are no rows in memory without penstockd: subscribe without them "
                       "(history=0)");
    if (!h->have_rdb)
        return err_set(err, -ENOTSUP,
                       "the rows in memory are not available (the kernel could not seal them: set "
                       "hugepages: off)");
    host_emit_flush(h, false);
    int64_t end = clock_monotonic() + BEHIND_NS;
    int met;
    while ((met = cut_ask(h, err)) == 0 && clock_monotonic() < end) { /* a moment behind: usual */
        host_cut_drop(h);
        nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS}, NULL);
    }
    if (met > 0) {
        end = clock_monotonic() + MEET_NS;
        while (h->cursor.position < h->cut->position && clock_monotonic() < end) {
            if (host_journal_step(h, h->cut->position))
                end = clock_monotonic() + MEET_NS;
            else if (h->emit.on && !host_emit_credit(h))
                host_wait(h, journal_moves);
            host_pump(h);
        }
        if (h->cursor.position == h->cut->position) {
            if (h->time == INT64_MIN)
                h->time = h->cut->time; /* no frame has said yet what time it is */
            return true;
        }
        err_set(err, -EAGAIN, "memory and the journal do not meet; try again later");
    } else if (met == 0) {
        err_set(err, -EAGAIN, "memory is behind; try again later");
    }
    host_cut_drop(h);
    return false;
}

void host_cut_drop(struct host *h)
{
    if (!h->cut)
        return;
    free(h->cut);
    h->cut = NULL;
    host_say(h, RTP_WIRE_CUT_DONE, 0, 0, NULL, 0, 0);
}

/* ---- rows ---- */

struct reader {
    struct host *h;
    const struct host_table *table;
    struct rdb_part_view part;
    struct rdb_chunk_view chunk;
    uint32_t have; /* the chunk's number + 1 */
    uint8_t *record;
    struct packet_record packet;
    uint64_t rows;
    void (*each)(void *, const struct pst_row *);
    void *arg;
};

static bool strings(struct reader *r, uint32_t k, uint32_t *bytes)
{
    const struct schema *s = r->table->schema;
    uint32_t at = s->fixed;
    for (unsigned i = 0; i < s->ncols; i++) {
        if (s->col[i].type != PST_STRING || s->col[i].packet)
            continue;
        uint32_t len;
        const char *p = rdb_string(&r->h->rdb, ((const uint64_t *)r->chunk.col[i])[k], &len);
        if (!p || at + len > RECORD_MAX)
            return false;
        uint32_t where[2] = {at, len};
        memcpy(r->record + s->col[i].offset, where, sizeof where);
        memcpy(r->record + at, p, len);
        at += len;
    }
    *bytes = (at + 7) & ~7u;
    memset(r->record + at, 0, *bytes - at);
    return true;
}

/* Row k of the chunk. */
static bool give(struct reader *r, uint32_t k)
{
    const struct schema *s = r->table->schema;
    struct pst_row row = {r->record, (const uint8_t *)&r->packet, &r->table->pub, PST_NULL_LONG};
    uint32_t bytes = s->fixed;
    memset(r->record, 0, s->fixed);
    for (unsigned i = 0; i < s->ncols; i++) {
        const struct column *c = &s->col[i];
        if (c->type == PST_STRING && !c->packet)
            continue;
        unsigned w = r->part.width[i];
        uint8_t *to = c->packet ? (uint8_t *)&r->packet + c->offset
                                : r->record + (i == 0   ? 8
                                               : i == 1 ? 4
                                                        : c->offset);
        memcpy(to, (const uint8_t *)r->chunk.col[i] + (size_t)k * w, w);
    }
    if (s->nstrings && !strings(r, k, &bytes))
        return false;
    struct record *head = (struct record *)r->record;
    head->table = s->id;
    head->bytes = (uint16_t)bytes;
    if (s->feed)
        row.seq = (int64_t)r->packet.seq;
    if (r->h->stripes > 1 && !host_mine(r->h, head->sym))
        return true;
    r->each(r->arg, &row);
    if (++r->rows % 65536 == 0)
        host_beat_due(r->h, 0);
    return true;
}

static bool give_row(struct reader *r, uint32_t row)
{
    uint32_t c = rdb_chunk_of(row);
    if (r->have != c + 1) {
        if (!rdb_chunk_open(&r->part, c, &r->chunk))
            return false;
        r->have = c + 1;
    }
    return row - r->chunk.first < r->chunk.rows && give(r, row - r->chunk.first);
}

static bool give_all(struct reader *r)
{
    for (uint32_t c = 0; c < r->part.chunks; c++) {
        if (!rdb_chunk_open(&r->part, c, &r->chunk))
            return false;
        for (uint32_t k = 0; k < r->chunk.rows; k++)
            if (!give(r, k))
                return false;
    }
    return true;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, 4);
    memcpy(&y, b, 4);
    return (x > y) - (x < y);
}

struct ids {
    uint32_t *id;
    uint64_t n, room;
};

static bool put(struct ids *l, const uint32_t *id, uint32_t n)
{
    if (l->n + n > l->room) {
        uint64_t to = l->room ? 2 * l->room : 1024;
        while (to < l->n + n)
            to *= 2;
        uint32_t *p = realloc(l->id, to * sizeof *p);
        if (!p)
            return false;
        l->id = p;
        l->room = to;
    }
    memcpy(l->id + l->n, id, n * sizeof *id);
    l->n += n;
    return true;
}

static bool of_symbol(struct reader *r, uint32_t sym, bool last, struct ids *l)
{
    struct rdb_list_view v;
    const uint32_t *ids;
    uint32_t n, row;
    if (last)
        return !rdb_list_last(&r->part, sym, &row) || put(l, &row, 1);
    if (!rdb_list_open(&r->part, sym, &v))
        return false;
    while ((n = rdb_list_next(&v, &ids)))
        if (!put(l, ids, n))
            return false;
    return true;
}

static bool give_some(struct reader *r, const struct pst_value *syms, uint32_t n, bool last)
{
    struct ids l = {0};
    bool ok = true;
    for (uint32_t i = 0; ok && i < n; i++) {
        uint32_t id = host_symbol_find(r->h, syms[i].text.at, syms[i].text.len);
        bool twice = false;
        for (uint32_t k = 0; k < i; k++)
            twice |= syms[k].text.len == syms[i].text.len &&
                     !memcmp(syms[k].text.at, syms[i].text.at, syms[i].text.len);
        if (!twice && (id != PST_NULL_SYMBOL || !syms[i].text.len))
            ok = of_symbol(r, id, last, &l);
    }
    if (!n) {
        for (uint32_t id = 0; ok && id < r->part.syms; id++)
            ok = of_symbol(r, id, last, &l);
        ok = ok && of_symbol(r, PST_NULL_SYMBOL, last, &l);
    }
    qsort(l.id, l.n, sizeof *l.id, ascending);
    for (uint64_t i = 0; ok && i < l.n; i++)
        ok = give_row(r, l.id[i]);
    free(l.id);
    return ok;
}

/* The first date behind `day` that has rows of the table and is not closed: around an end of day
 * two are open. INT32_MAX: none. */
static int32_t open_day(const struct cut *c, const struct host *h, const char *table, int32_t day)
{
    int32_t best = INT32_MAX;
    for (uint32_t i = 0; i < c->nparts; i++) {
        const struct cut_part *p = &c->part[i];
        const struct host_table *t = p->table < TABLE_MAX ? h->table[p->table] : NULL;
        if (!t || strcmp(t->schema->name, table) || p->day <= day || p->day >= best)
            continue;
        bool closed = false;
        for (uint32_t k = 0; k < c->ndays; k++)
            closed |= cut_days(c)[k].day == p->day && cut_days(c)[k].flags & CUT_DAY_CLOSED;
        if (!closed)
            best = p->day;
    }
    return best;
}

static bool give_part(struct host *h, const struct cut_part *p, const struct pst_value *syms,
                      uint32_t n, bool last, void (*each)(void *, const struct pst_row *),
                      void *arg, struct err *err)
{
    struct reader r = {.h = h, .table = h->table[p->table], .each = each, .arg = arg};
    r.packet = (struct packet_record){.bytes = sizeof r.packet, .sym = PST_NULL_SYMBOL};
    if (!rdb_part_open(&h->rdb, p->slot, p->table, (uint32_t)p->day, p->rows, &r.part, err))
        return false;
    r.record = aligned_alloc(64, pst_align_up(RECORD_MAX, 64));
    bool ok = r.record && schema_equal(&r.part.schema, r.table->schema) &&
              (n || last ? give_some(&r, syms, n, last) : give_all(&r));
    free(r.record);
    return ok || err_set(err, -EIO, "history: the rows of %s in memory cannot be read",
                         r.table->schema->name);
}

/* A state that lacks rows would be told as the state of its position: none then. */
static bool whole(const struct cut *c)
{
    for (uint32_t i = 0; c->flags & CUT_INCOMPLETE && i < c->ndays; i++)
        if ((cut_days(c)[i].flags & (CUT_DAY_CLOSED | CUT_DAY_INCOMPLETE)) == CUT_DAY_INCOMPLETE)
            return false;
    return true;
}

int host_history(struct pst_rtp *r, const char *table, const struct pst_value *syms, uint32_t n,
                 bool last, void (*each)(void *, const struct pst_row *), void *arg)
{
    struct host *h = r->host;
    struct err err = {0};
    if (h->in != HOST_IN_SUBSCRIBE)
        return host_fail(r, -EINVAL, "history: only while subscribing");
    if (!h->cut) { /* the host calls subscribe again when it has one */
        h->want_cut = true;
        return host_fail(r, -EAGAIN, "history: memory is asked first");
    }
    if (!whole(h->cut))
        return host_fail(r, -ENOMEM,
                         "memory lacks rows of the day (rdb_memory), so there is no state; with "
                         "history=0 it begins with what comes");
    host_tables_learn(h);
    int32_t day = INT32_MIN, was = h->day;
    while (!r->err.code && (day = open_day(h->cut, h, table, day)) != INT32_MAX) {
        h->day = day;
        for (uint32_t i = 0; !r->err.code && i < h->cut->nparts; i++) {
            const struct cut_part *p = &h->cut->part[i];
            const struct host_table *t = p->table < TABLE_MAX ? h->table[p->table] : NULL;
            if (t && p->day == day && p->rows && !strcmp(t->schema->name, table) &&
                !give_part(h, p, syms, n, last, each, arg, &err))
                host_fail(r, err.code, "%s", err.text);
        }
    }
    h->day = was;
    return r->err.code ? -1 : 0;
}
