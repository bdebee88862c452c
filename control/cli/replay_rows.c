/* SPDX-License-Identifier: Apache-2.0 */
#include "replay_rows.h"

enum plan_kind { PLAN_TAKE, PLAN_LEAVE };

struct replay_plan {
    enum plan_kind kind;
    const struct schema *from, *to;
    bool same;                          /* laid out alike: bytes are copied */
    int16_t source[SCHEMA_COLUMNS_MAX]; /* for each column of `to`; -1 = null */
};

void replay_rows_init(struct replay_rows *r, struct append_client *to, struct dictionary *from,
                      const struct replay_filter *filter)
{
    memset(r, 0, sizeof *r);
    r->to = to;
    r->from = from;
    r->filter = *filter;
}

void replay_rows_free(struct replay_rows *r)
{
    for (unsigned i = 0; i < TABLE_MAX; i++)
        free(r->plan[i]);
}

static bool listed(const char *const *list, const char *text, size_t len)
{
    for (; list && *list; list++)
        if (strlen(*list) == len && !memcmp(*list, text, len))
            return true;
    return false;
}

/* ---- tables ---- */

static bool columns(struct replay_rows *r, struct replay_plan *p)
{
    const struct schema *s = p->from, *t = p->to;
    if (s->feed != t->feed)
        return err_set(&r->err, -EINVAL, "table %s is filled by %s in the log and by %s there",
                       s->name, s->feed ? "feeds" : "publishers", t->feed ? "feeds" : "publishers");
    for (unsigned i = 0; i < s->ncols; i++) {
        int k = schema_column(t, s->col[i].name);
        if (k < 0)
            return err_set(&r->err, -EINVAL,
                           "table %s has no column %s there: add it, or leave the "
                           "table out with --tables",
                           s->name, s->col[i].name);
        if (t->col[k].type != s->col[i].type)
            return err_set(&r->err, -EINVAL, "column %s of table %s is %s in the log and %s there",
                           s->col[i].name, s->name, type_name(s->col[i].type),
                           type_name(t->col[k].type));
    }
    p->same = s->ncols == t->ncols;
    for (unsigned i = 0; i < t->ncols; i++) {
        p->source[i] = (int16_t)schema_column(s, t->col[i].name);
        p->same &= p->source[i] == (int)i && s->col[i].offset == t->col[i].offset;
    }
    return true;
}

static struct replay_plan *plan_of(struct replay_rows *r, unsigned table)
{
    if (r->plan[table])
        return r->plan[table];
    const struct schema *s = dictionary_schema(r->from, table);
    if (!s)
        return NULL;
    struct replay_plan *p = calloc(1, sizeof *p);
    if (!p) {
        err_set(&r->err, -ENOMEM, "no memory for table %s", s->name);
        return NULL;
    }
    bool others = !strcmp(s->name, "alarm") || !strcmp(s->name, "monCPU"),
         wanted = r->filter.tables ? listed(r->filter.tables, s->name, strlen(s->name)) : !others;
    const struct schema *there = append_table(r->to, s->name);
    wanted &= !(r->filter.derive && there && r->to->derived[there->id]);
    *p = (struct replay_plan){.kind = wanted ? PLAN_TAKE : PLAN_LEAVE, .from = s};
    if (wanted) {
        p->to = append_table(r->to, s->name);
        if (!p->to) {
            err_set(&r->err, -ENOENT,
                    "there is no table %s there that takes rows from you (declared tables: level "
                    "operate; feeds' and built-in ones: admin); --tables leaves tables out",
                    s->name);
            free(p);
            return NULL;
        }
        if (!columns(r, p)) {
            free(p);
            return NULL;
        }
    }
    r->plan[table] = p;
    return p;
}

/* ---- rows ---- */

static uint32_t symbol(struct replay_rows *r, uint32_t id)
{
    uint32_t len = 0;
    if (id == PST_NULL_SYMBOL)
        return id;
    const char *text = dictionary_peek(r->from, id, &len);
    r->nameless += !text;
    return text ? append_symbol(r->to, text, len) : PST_NULL_SYMBOL;
}

static void text_of(struct replay_rows *r, uint32_t id, char text[256], uint32_t *len)
{
    const char *t = id == PST_NULL_SYMBOL ? NULL : dictionary_peek(r->from, id, len);
    if (id != PST_NULL_SYMBOL && !t)
        r->nameless++;
    *len = t && *len < 256 ? *len : 0;
    if (t)
        memcpy(text, t, *len);
}

static void facts_of(struct replay_rows *r, const struct packet_record *p, uint64_t seq,
                     struct append_facts *f)
{
    text_of(r, p->feed, f->feed.text, &f->feed.len);
    text_of(r, p->session, f->session.text, &f->session.len);
    text_of(r, p->line, f->line.text, &f->line.len);
    f->rxtime = p->rxtime;
    f->seq = seq;
    f->flags = p->flags;
    f->seqs = p->seqs;
    f->quality = p->quality;
}

/* The record in the daemon's layout, symbols still the log's. Its length, 0 = too long. */
static uint32_t laid_out(const struct replay_plan *p, const struct record *r, uint8_t *out)
{
    const struct schema *s = p->from, *t = p->to;
    uint32_t at = t->fixed;
    memset(out, 0, t->fixed);
    for (unsigned i = 0; i < t->ncols; i++) {
        const struct column *c = &t->col[i];
        if (c->packet)
            continue;
        int k = p->source[i];
        uint8_t *to = out + c->offset;
        if (c->type == PST_STRING) {
            uint32_t len = 0;
            const char *text = k < 0 ? NULL : record_string(r, s->col[k].offset, &len);
            if (at + len > RECORD_MAX - 8)
                return 0;
            put32(to, at);
            put32(to + 4, len);
            if (len)
                memcpy(out + at, text, len);
            at += len;
        } else if (k < 0) {
            type_put_null(to, c->type);
        } else {
            memcpy(to, (const uint8_t *)r + s->col[k].offset, type_width(c->type));
        }
    }
    uint32_t bytes = (uint32_t)pst_align8(at);
    memset(out + at, 0, bytes - at);
    return bytes;
}

static bool one_row(struct replay_rows *r, const struct replay_plan *p, const struct record *from,
                    uint16_t day)
{
    static pst_aligned(8) uint8_t out[RECORD_MAX + 64];
    const struct schema *t = p->to;
    uint32_t bytes = from->bytes;
    if (p->same)
        memcpy(out, from, bytes);
    else if (!(bytes = laid_out(p, from, out)))
        return err_set(&r->err, -E2BIG, "a row of table %s is longer than %u bytes there", t->name,
                       RECORD_MAX);
    struct record *to = (struct record *)out;
    if (!append_begin(r->to, t, bytes, t->nsyms + 1u, day))
        return false;
    to->table = t->id;
    to->bytes = (uint16_t)bytes;
    to->sym = symbol(r, from->sym);
    for (unsigned i = 0; i < t->nsyms; i++)
        put32(out + t->sym_offset[i], symbol(r, le32(out + t->sym_offset[i])));
    r->rows++;
    return append_row(r->to, to);
}

static bool sound(const struct replay_plan *p, const struct record *r)
{
    uint32_t len;
    if (r->bytes < p->from->fixed)
        return false;
    for (unsigned i = 0; p->from->nstrings && i < p->from->ncols; i++)
        if (p->from->col[i].type == PST_STRING && !record_string(r, p->from->col[i].offset, &len))
            return false;
    return true;
}

/* Rows that a processor made (source rtp/GROUP). */
static bool of_processor(struct replay_rows *r, const struct derived_record *d)
{
    uint32_t len = 0;
    const char *name = d ? dictionary_peek(r->from, d->source, &len) : NULL;
    return name && len > 4 && !memcmp(name, "rtp/", 4);
}

bool replay_rows_frame(struct replay_rows *r, const struct frame *f)
{
    struct record_walk w;
    const struct record *row;
    const struct packet_record *packet = NULL;
    uint64_t next = 0;
    if ((f->kind != FRAME_DATA && f->kind != FRAME_GAP) ||
        (stream_is_buffer(f->stream) && !r->filter.buffered))
        return true;
    record_walk_start(&w, f);
    if (r->filter.derive && of_processor(r, w.derived)) {
        r->filtered += f->count;
        return true;
    }
    while ((row = record_walk_next(&w))) {
        const struct replay_plan *p = row->table < TABLE_MAX ? plan_of(r, row->table) : NULL;
        if (r->err.code)
            return false;
        uint32_t len = 0;
        const char *sym = p && r->filter.syms ? dictionary_peek(r->from, row->sym, &len) : NULL;
        if (!p || !sound(p, row)) {
            r->damaged++;
            continue;
        }
        if (p->kind == PLAN_LEAVE ||
            (r->filter.syms && (!sym || !listed(r->filter.syms, sym, len)))) {
            r->filtered++;
            continue;
        }
        uint64_t seq = (uint64_t)record_walk_seq(&w);
        if (w.packet && (w.packet != packet || seq != next)) {
            struct append_facts facts;
            facts_of(r, w.packet, seq, &facts);
            append_run(r->to, &facts);
            packet = w.packet;
        }
        next = seq + (w.packet && !(w.packet->flags & (RUN_PACKET_SEQ | RUN_UNSEQUENCED)));
        if (!one_row(r, p, row, f->day)) {
            if (!r->err.code)
                r->err = r->to->err;
            return false;
        }
    }
    r->damaged += w.bad;
    return true;
}
