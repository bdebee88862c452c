/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_session.c - sessions and their epochs: which one a packet belongs to, when a new one begins,
 * who has to leave. Everything here is off the hot path.
 */
#include "feed_internal.h"

#define IDLE_NS (60 * NS_PER_S) /* a replaced or ended session may be evicted after this */

uint64_t session_hash(const struct feed *f, const uint64_t *key)
{
    uint64_t h = 0;
    for (unsigned i = 0; i < f->key_words; i++)
        h = (h ^ key[i]) * 0x9E3779B97F4A7C15ull, h ^= h >> 29;
    return h;
}

uint32_t session_find(const struct feed *f, const uint64_t *key)
{
    for (uint64_t h = session_hash(f, key);; h++) {
        uint32_t e = f->hash[h & f->hash_mask];
        if (!e)
            return NO_SESSION;
        if (key_equal(f, f->session[e - 1].key, key))
            return e - 1;
    }
}

static void hash_rebuild(struct feed *f)
{
    memset(f->hash, 0, (f->hash_mask + 1) * sizeof *f->hash);
    for (uint32_t i = 0; i < f->nsessions; i++) {
        const struct session *s = &f->session[i];
        if (!s->used || !s->bound || !s->newest)
            continue;
        uint64_t h = session_hash(f, s->key);
        while (f->hash[h & f->hash_mask])
            h++;
        f->hash[h & f->hash_mask] = i + 1;
    }
}

static int32_t day_of(const struct feed *f, int64_t rx)
{
    if (f->cfg.fixed_date >= 0)
        return f->cfg.fixed_date;
    int32_t day = f->cfg.day_of ? f->cfg.day_of(f->cfg.arg, rx) : clock_day(rx);
    return day < 0 ? 0 : day > UINT16_MAX ? UINT16_MAX : day;
}
static int64_t midnight_of(const struct feed *f, int32_t day)
{
    return f->cfg.midnight_of ? f->cfg.midnight_of(f->cfg.arg, day) : (int64_t)day * NS_PER_DAY;
}

int32_t feed_day(struct feed *f, int64_t rx)
{
    if (pst_unlikely(rx < f->day_from || rx >= f->day_to)) {
        f->day = day_of(f, rx);
        f->day_from = midnight_of(f, f->day);
        f->day_to = midnight_of(f, f->day + 1);
    }
    return f->day;
}

static uint32_t intern(struct rows *out, const char *text)
{
    uint32_t id = rows_symbol(out, text, (uint32_t)strlen(text));
    return id == SYMBOL_REFUSED ? PST_NULL_SYMBOL : id;
}

/* Ids belong to a sink: all anew when rows go elsewhere. */
void feed_intern(struct feed *f, struct rows *out)
{
    f->sink = out;
    f->sym = intern(out, f->name);
    f->sym_malformed = intern(out, "malformed");
    f->sym_divergent = intern(out, "divergent");
    f->sym_unknown = intern(out, "unknown");
    f->sym_length = intern(out, "length");
    f->sym_symbol = intern(out, "symbol");
    f->sym_whole = intern(out, "no_decoder");
    f->sym_empty = intern(out, "empty");
    for (unsigned i = 0; i < f->cfg.nlines; i++)
        f->line[i].sym = intern(out, f->line[i].st->name);
    for (uint32_t i = 0; i < f->nsessions; i++)
        if (f->session[i].used)
            f->session[i].sym = intern(out, f->session[i].text);
}

void session_mark(struct feed *f, const struct session *s, const char *event, const char *extra,
                  struct rows *out)
{
    char json[512];
    int n = snprintf(json, sizeof json,
                     "{\"feed\":\"%s\",\"session\":\"%s\",\"event\":\"%s\",\"epoch\":%u,"
                     "\"day\":%d,\"first\":%llu,\"next\":%llu%s}",
                     f->name, s->text, event, s->epoch, s->day, (unsigned long long)s->first,
                     (unsigned long long)s->next, extra);
    out->ops->mark(out, MARK_SESSION, json, (uint32_t)n);
}

void session_ended(struct feed *f, struct session *s, struct rows *out)
{
    s->end_marked = true;
    s->state = SESSION_ENDED;
    store_relaxed(&s->st->state, SESSION_ENDED);
    session_mark(f, s, "end", "", out);
}

/* ---- slots ----------------------------------------------------------------------------------- */

static void session_clear(struct session *s)
{
    struct session keep = *s;
    memset(s, 0, sizeof *s);
    s->heap.at = keep.heap.at;
    s->history = keep.history;
    history_clear(&s->history);
    s->decoder = keep.decoder;
    s->env = keep.env;
    s->gaps = keep.gaps;
    for (unsigned i = 0; i < FEED_LINES; i++)
        gaps_init(&s->line[i].missing, keep.line[i].missing.at, keep.line[i].missing.cap, 0);
    s->older = NO_SESSION;
}

static void retire(struct feed *f, const struct session *s)
{
    struct retired *r = NULL;
    for (uint32_t i = 0; i < f->nretired && i < RETIRED; i++)
        if (f->retired[i].day == s->day && key_equal(f, f->retired[i].key, s->key))
            r = &f->retired[i];
    if (!r)
        r = &f->retired[f->nretired++ % RETIRED];
    else if (r->epoch > s->epoch)
        return;
    memcpy(r->key, s->key, sizeof r->key);
    r->day = s->day;
    r->epoch = s->epoch;
}

static bool evict(struct feed *f, uint32_t i, int64_t now, struct rows *out)
{
    struct session *s = &f->session[i];
    gap_settle(f, s, now, true, out);
    if (session_gap_open(s))
        return false; /* no room: the packet that wants the slot is refused */
    if (s->state == SESSION_LIVE)
        store_relaxed(&s->st->state, SESSION_REPLACED);
    if (s->bound)
        retire(f, s);
    for (uint32_t k = 0; k < f->nsessions; k++)
        if (f->session[k].older == i)
            f->session[k].older = NO_SESSION;
    s->used = s->bound = s->newest = false;
    hash_rebuild(f);
    return true;
}

/* A free slot; else that of the longest idle epoch or session that something has replaced. */
struct session *session_slot(struct feed *f, int64_t now, struct rows *out)
{
    uint32_t best = NO_SESSION;
    for (uint32_t i = 0; i < f->nsessions; i++) {
        struct session *s = &f->session[i];
        if (!s->used) {
            session_clear(s);
            return s;
        }
        bool may =
            !s->bound || !s->newest || (s->state != SESSION_LIVE && now - s->last_rx > IDLE_NS);
        if (may && (best == NO_SESSION || s->last_rx < f->session[best].last_rx))
            best = i;
    }
    if (best == NO_SESSION || !evict(f, best, now, out))
        return NULL;
    session_clear(&f->session[best]);
    return &f->session[best];
}

/* The table is full: the slot of the one of our sessions that has been over the longest. */
static struct status_session *status_again(struct feed *f, const struct session *s)
{
    struct session *best = NULL;
    for (uint32_t i = 0; i < f->nsessions; i++) {
        struct session *x = &f->session[i];
        if (x != s && x->used && x->st && x->st != &f->spare &&
            (!x->newest || x->state != SESSION_LIVE) && (!best || x->last_rx < best->last_rx))
            best = x;
    }
    if (!best)
        return &f->spare;
    struct status_session *st = best->st;
    best->st = &f->spare;
    status_session_name(st, f->index, s->text, s->day, s->epoch);
    return st;
}

/* s->key and the base of s->text are set. */
void session_start(struct feed *f, struct session *s, int32_t day, uint32_t epoch, uint64_t first,
                   uint64_t next)
{
    s->used = s->newest = s->fresh = true;
    s->fresh_reason = "before_start";
    s->epoch = epoch;
    s->day = day;
    s->day_end = f->cfg.fixed_date >= 0 ? INT64_MAX : midnight_of(f, day + 1);
    s->first = first;
    s->next = s->high = next;
    s->env.midnight = midnight_of(f, day);
    gaps_init(&s->gaps, s->gaps.at, s->gaps.cap, first);
    if (f->dec && f->dec->init)
        f->dec->init(s->decoder);
    s->st = status_session_add(f->status, f->index, s->text, day, epoch);
    if (!s->st)
        s->st = status_again(f, s);
    store_relaxed(&s->st->first, first);
    store_relaxed(&s->st->high, next);
    session_next(s, next);
}

/* ---- which session --------------------------------------------------------------------------- */

static void join(struct feed *f, struct session *s, unsigned line, const struct packet_view *v,
                 uint64_t seq, int64_t rx)
{
    struct session_line *sl = &s->line[line];
    struct feed_line *l = &f->line[line];
    sl->joined = true;
    gaps_init(&sl->missing, sl->missing.at, sl->missing.cap, 0);
    /* A line that was there when this session took over from another has to show it all. */
    bool all = s->succeeds && l->role == LINE_NORMAL && l->first_rx < s->begin_rx;
    sl->next = all && seq > s->first ? s->first : seq;
    sl->jump_rx = rx;
    sl->send_time = v->send_time;
    sl->offset = v->offset;
}

/* Does a packet that fell behind its line's last open a new epoch? */
static const char *restarted(const struct feed *f, const struct session *s, struct session_line *sl,
                             unsigned line, const struct packet_view *v, uint64_t seq,
                             const uint8_t *payload, uint32_t len, int64_t rx)
{
    const struct framing *fr = f->fr;
    if (f->line[line].role != LINE_NORMAL || v->retransmitted || seq >= sl->next)
        return NULL;
    if (v->reset) {
        uint32_t n = len < RESET_COPY ? len : RESET_COPY;
        bool copy = s->reset_len == n && !memcmp(s->reset_copy, payload, n);
        return copy || s->next <= seq + v->seqs ? NULL : "reset";
    }
    if (fr->send_time.width) {
        if (v->send_time <= sl->send_time)
            return NULL;
        if (fr->offset.width && v->offset > sl->offset)
            return NULL;
    } else if (rx < s->day_end) {
        return NULL;
    }
    if (v->seq == fr->first_seq && (!fr->offset.width || v->offset == 0))
        return "restart";
    if (sl->fell && v->seq == sl->fell_seq && v->send_time >= sl->fell_send)
        return "restart";
    sl->fell = true;
    sl->fell_seq = v->seq + v->seqs;
    sl->fell_send = v->send_time;
    return NULL;
}

/* The newest epoch has begun, but this line has not been seen in it: is it still in the old one? */
static bool still_before(const struct feed *f, const struct session *old, const struct session *s,
                         unsigned line, const struct packet_view *v)
{
    if (f->line[line].role != LINE_NORMAL || !old->line[line].joined)
        return false;
    if (f->fr->send_time.width)
        return v->send_time < s->begin_send;
    uint64_t expect = old->line[line].next;
    uint64_t was = framing_extend(v->seq, f->fr->seq.width, old->next);
    uint64_t is = framing_extend(v->seq, f->fr->seq.width, s->next);
    if (was == expect)
        return true;
    if (was > old->high || (v->reset && was < expect))
        return false;
    uint64_t far_old = was > expect ? was - expect : expect - was;
    uint64_t far_new = is > s->next ? is - s->next : s->next - is;
    return far_old <= far_new;
}

/* The highest epoch that a session text has had on a day; also of other keys that read the same
 * (blanks against zeros), because rows know only the text. */
static uint32_t epoch_after(const struct feed *f, const char *base, uint32_t n, int32_t day)
{
    uint32_t epoch = 0;
    for (uint32_t i = 0; i < f->nsessions; i++) {
        const struct session *s = &f->session[i];
        if (s->used && s->day == day && s->epoch > epoch && !strncmp(s->text, base, n) &&
            (!s->text[n] || s->text[n] == '#'))
            epoch = s->epoch;
    }
    for (uint32_t i = 0; i < f->nretired && i < RETIRED; i++) {
        char text[FRAMING_TEXT_MAX];
        const struct retired *r = &f->retired[i];
        if (r->day != day || r->epoch <= epoch)
            continue;
        framing_key_text(f->fr, r->key, text, sizeof text - 12);
        if (!strcmp(text, base))
            epoch = r->epoch;
    }
    return epoch;
}

static struct session *begin(struct feed *f, unsigned line, const struct packet_view *v,
                             const uint8_t *payload, uint32_t len, int64_t rx,
                             struct session *older, const char *event, uint64_t first,
                             struct rows *out)
{
    int32_t day = day_of(f, rx);
    char base[FRAMING_TEXT_MAX];
    uint32_t n = framing_key_text(f->fr, v->key, base, sizeof base - 12);
    uint32_t epoch = epoch_after(f, base, n, day) + 1;
    struct session *s = session_slot(f, rx, out);
    if (!s && older && evict(f, (uint32_t)(older - f->session), rx, out)) {
        session_clear(s = older); /* it has to leave for its successor */
        bump(&f->st->restarts, 1);
        older = NULL;
    }
    if (!s)
        return NULL;
    memcpy(s->key, v->key, sizeof s->key);
    s->bound = true;
    snprintf(s->text, sizeof s->text, epoch > 1 ? "%.51s#%u" : "%.51s", base, epoch);

    char extra[FRAMING_TEXT_MAX + 40] = "";
    char mine[FRAMING_TEXT_MAX], other[FRAMING_TEXT_MAX];
    framing_channel_text(f->fr, v->key, mine, sizeof mine);
    bool changes = false;
    for (unsigned i = 0; i < f->fr->nkeys; i++)
        changes |= f->fr->key[i].session;
    for (uint32_t i = 0; i < f->nsessions; i++) {
        struct session *o = &f->session[i];
        if (o == s || !o->used || !o->newest || (o != older && (!changes || !o->bound)))
            continue;
        if (o != older) {
            framing_channel_text(f->fr, o->key, other, sizeof other);
            if (strcmp(mine, other))
                continue;
        }
        if (o->state == SESSION_LIVE) {
            o->state = SESSION_REPLACED;
            store_relaxed(&o->st->state, SESSION_REPLACED);
            snprintf(extra, sizeof extra, ",\"replaces\":\"%s\"", o->text);
        }
        s->succeeds = true;
    }
    session_start(f, s, day, epoch, first, first);
    s->begin_rx = s->last_rx = rx;
    s->begin_send = v->send_time;
    s->sym = intern(out, s->text);
    if (v->reset) {
        s->reset_len = len < RESET_COPY ? len : RESET_COPY;
        memcpy(s->reset_copy, payload, s->reset_len);
    }
    if (older) {
        older->newest = false;
        s->older = (uint32_t)(older - f->session);
        bump(&f->st->restarts, 1);
    }
    hash_rebuild(f);
    session_mark(f, s, event, extra, out);
    if (v->kind != PACKET_UNSEQUENCED)
        join(f, s, line, v, framing_extend(v->seq, f->fr->seq.width, s->next), rx);
    return s;
}

/* A session that recovery left: its text is known, its key comes with the first packet. */
static struct session *bind(struct feed *f, const struct packet_view *v, int64_t rx)
{
    char text[FRAMING_TEXT_MAX];
    uint32_t n = framing_key_text(f->fr, v->key, text, sizeof text - 12);
    struct session *best = NULL;
    for (uint32_t i = 0; i < f->nsessions; i++) {
        struct session *s = &f->session[i];
        if (!s->used || s->bound || strncmp(s->text, text, n) || (s->text[n] && s->text[n] != '#'))
            continue;
        uint64_t seq = framing_extend(v->seq, f->fr->seq.width, s->next);
        bool same_day = s->day == day_of(f, rx);
        if (!same_day && (v->kind == PACKET_UNSEQUENCED || seq < s->next))
            continue; /* the venue has begun another day */
        if (!best || s->day > best->day || (s->day == best->day && s->epoch > best->epoch))
            best = s;
    }
    if (!best)
        return NULL;
    memcpy(best->key, v->key, sizeof best->key);
    best->bound = true;
    best->begin_rx = rx;
    best->state = SESSION_LIVE;
    store_relaxed(&best->st->state, SESSION_LIVE);
    hash_rebuild(f);
    return best;
}

/* v->seq is as on the wire. NULL: refused, no slot is left. */
struct session *session_settle(struct feed *f, unsigned line, const struct packet_view *v,
                               const uint8_t *payload, uint32_t len, int64_t rx, struct rows *out)
{
    uint32_t i = session_find(f, v->key);
    struct session *s = i == NO_SESSION ? bind(f, v, rx) : &f->session[i];
    if (!s)
        return begin(f, line, v, payload, len, rx, NULL, "begin", f->fr->first_seq, out);
    if (v->kind == PACKET_UNSEQUENCED)
        return s;
    if (s->starting) {
        s->starting = false;
        struct session *n = begin(f, line, v, payload, len, rx, s, "reset", v->seq, out);
        if (n)
            n->older = NO_SESSION; /* nobody goes back behind an operator's reset */
        return n;
    }
    struct session_line *sl = &s->line[line];
    uint64_t seq = framing_extend(v->seq, f->fr->seq.width, s->next);
    if (!sl->joined) {
        if (s->older != NO_SESSION && still_before(f, &f->session[s->older], s, line, v))
            return &f->session[s->older];
        /* After a resume nobody has joined: was there a restart while we were away? */
        struct session_line was = {
            .joined = true, .next = s->next, .send_time = s->begin_send, .offset = UINT64_MAX};
        const char *event = s->fresh && s->fresh_reason[0] == 'd'
                                ? restarted(f, s, &was, line, v, seq, payload, len, rx)
                                : NULL;
        if (event)
            return begin(f, line, v, payload, len, rx, s, event, f->fr->first_seq, out);
        join(f, s, line, v, seq, rx);
        return s;
    }
    const char *event = restarted(f, s, sl, line, v, seq, payload, len, rx);
    if (!event)
        return s;
    uint64_t first = v->reset ? v->seq : f->fr->first_seq;
    return begin(f, line, v, payload, len, rx, s, event, first, out);
}

/* ---- state ----------------------------------------------------------------------------------- */

bool feed_position(const struct feed *f, unsigned i, struct feed_position *p)
{
    for (uint32_t k = 0; k < f->nsessions; k++) {
        const struct session *s = &f->session[k];
        if (!s->used || i--)
            continue;
        uint64_t send = s->begin_send;
        for (unsigned l = 0; l < f->cfg.nlines; l++)
            if (s->line[l].joined && s->line[l].send_time > send)
                send = s->line[l].send_time;
        *p = (struct feed_position){.day = s->day,
                                    .epoch = s->epoch,
                                    .first = s->first,
                                    .next = s->next,
                                    .send_time = send,
                                    .state = s->state,
                                    .feed_sym = f->sym,
                                    .session_sym = s->sym};
        memcpy(p->text, s->text, sizeof p->text);
        return true;
    }
    return false;
}

static const char *state_name(unsigned state)
{
    return state == SESSION_LIVE ? "live" : state == SESSION_ENDED ? "ended" : "replaced";
}

uint32_t feed_state(const struct feed *f, struct feed_cursor *c, char *buf, uint32_t cap,
                    const char *(*text)(void *arg, uint32_t id, uint32_t *len), void *arg)
{
    struct feed_position p;
    if (!feed_position(f, c->session, &p))
        return 0;
    const struct session *s = NULL;
    for (uint32_t k = 0, i = c->session; k < f->nsessions && !s; k++)
        if (f->session[k].used && i-- == 0)
            s = &f->session[k];
    uint32_t at = (uint32_t)snprintf(
        buf, cap,
        "{\"feed\":\"%s\",\"session\":\"%s\",\"day\":%d,\"epoch\":%u,\"first\":%llu,\"next\":%llu,"
        "\"send\":%llu,\"state\":\"%s\",\"lines\":{",
        f->name, p.text, p.day, p.epoch, (unsigned long long)p.first, (unsigned long long)p.next,
        (unsigned long long)p.send_time, state_name(p.state));
    for (unsigned l = 0, n = 0; l < f->cfg.nlines; l++)
        if (s->line[l].joined)
            at += (uint32_t)snprintf(buf + at, cap - at, "%s\"%s\":%llu", n++ ? "," : "",
                                     f->line[l].st->name, (unsigned long long)s->line[l].next);
    buf[at++] = '}';
    if (f->dec && f->dec->save) {
        static const char head[] = ",\"decoder\":";
        memcpy(buf + at, head, sizeof head - 1);
        uint32_t n = f->dec->save(s->decoder, &c->from, buf + at + sizeof head - 1,
                                  cap - at - (uint32_t)sizeof head - 2, text, arg);
        if (n)
            at += (uint32_t)sizeof head - 1 + n;
        else
            c->from = 0;
    }
    buf[at++] = '}';
    c->more = c->from != 0;
    if (!c->more)
        c->session++;
    return at;
}

bool feed_resume(struct feed *f, const struct feed_position *p)
{
    struct session *s = NULL;
    for (uint32_t i = 0; i < f->nsessions && !s; i++)
        if (!f->session[i].used)
            s = &f->session[i];
    if (!s || p->day < 0 || p->day > UINT16_MAX)
        return false;
    session_clear(s);
    snprintf(s->text, sizeof s->text, "%s", p->text);
    session_start(f, s, p->day, p->epoch, p->first, p->next);
    s->begin_send = p->send_time;
    s->fresh_reason = "down";
    s->state = (uint8_t)p->state;
    store_relaxed(&s->st->state, p->state);
    s->end_marked = s->ended = p->state == SESSION_ENDED;
    return true;
}

bool feed_resume_decoder(struct feed *f, const struct feed_position *p, const char *json,
                         size_t len, uint32_t (*symbol)(void *arg, const char *text, uint32_t len),
                         void *arg)
{
    if (!f->dec || !f->dec->load)
        return true;
    for (uint32_t i = 0; i < f->nsessions; i++) {
        struct session *s = &f->session[i];
        if (s->used && s->day == p->day && !strcmp(s->text, p->text))
            return f->dec->load(s->decoder, json, len, symbol, arg);
    }
    return false;
}

bool feed_dirty(struct feed *f)
{
    bool dirty = false;
    for (uint32_t i = 0; f->dec && f->dec->dirty && i < f->nsessions; i++)
        if (f->session[i].used)
            dirty |= f->dec->dirty(f->session[i].decoder, true);
    return dirty;
}
