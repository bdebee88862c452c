/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_packet.c - the packet path: one payload in, rows out. See feed.h for the rules.
 */
#include "feed_internal.h"

struct origin {
    unsigned line;
    int64_t rx;
    uint8_t quality;
    bool recovered;
};

static bool opaque(const struct feed *f)
{
    return f->fr->messages == MESSAGES_OPAQUE;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static struct run run_make(const struct feed *f, const struct session *s, const struct origin *o,
                           uint32_t flags, uint64_t seq)
{
    flags |= s->flags;
    if (o->quality == CLOCK_DOUBTFUL)
        flags |= ROW_BAD_TIME;
    if (o->recovered)
        flags |= ROW_RECOVERED;
    return (struct run){.seq = seq,
                        .rxtime = o->rx,
                        .feed = f->sym,
                        .session = s->sym,
                        .line = f->line[o->line].sym,
                        .flags = flags,
                        .day = (uint16_t)s->day,
                        .quality = o->quality,
                        .calendar = f->cfg.calendar,
                        .home = f->cfg.home};
}

static void keep_whole(struct feed *f, int32_t type, uint32_t reason, const uint8_t *p,
                       uint32_t len, struct rows *out)
{
    uint32_t kept = rows_undecoded(out, type, reason, p, len);
    if (pst_unlikely(kept < len))
        bump(&f->st->undecoded_cut, len - kept);
}

static int32_t type_of(const struct feed *f, const uint8_t *p, uint32_t len)
{
    return f->dec && f->dec->type && len ? f->dec->type(p, len) : PST_NULL_INT;
}

/* Messages k … n-1 of a walked packet become rows, one each; the first has number `seq`. */
static void emit(struct feed *f, struct session *s, const struct origin *o, uint32_t flags,
                 uint64_t seq, uint32_t seqs, const uint8_t *base, const uint16_t *at, uint32_t k,
                 uint32_t n, struct rows *out)
{
    struct status_feed *st = f->st;
    if (PST_FAULT_HIT("feed.drop_run"))
        return;
    if (pst_unlikely(s->after_gap && !(flags & (ROW_LATE | RUN_UNSEQUENCED)))) {
        s->after_gap = false;
        flags |= ROW_AFTER_GAP;
    }
    if ((f->fr->counts_packets || opaque(f)) && !(flags & RUN_UNSEQUENCED))
        flags |= RUN_PACKET_SEQ;
    struct run run = run_make(f, s, o, flags, seq);
    run.seqs = seqs;
    rows_run(out, &run);
    if (pst_unlikely(n == k)) { /* a number without a message still is a row */
        if (!(flags & RUN_UNSEQUENCED)) {
            keep_whole(f, PST_NULL_INT, f->sym_empty, base, 0, out);
            bump(&st->undecoded_empty, 1);
        }
        return;
    }
    uint32_t skip = opaque(f) ? 0 : f->fr->skip;
    bump(&st->messages, n - k);
    if (!f->dec) {
        for (uint32_t i = k; i < n; i++) {
            keep_whole(f, PST_NULL_INT, f->sym_whole, base + at[i] + skip,
                       (uint32_t)(at[i + 1] - at[i]) - skip, out);
            if (pst_unlikely(flags & ROW_AFTER_GAP))
                rows_flags(out, flags = out->run.flags & ~(uint32_t)ROW_AFTER_GAP);
        }
        bump(&st->undecoded_whole, n - k);
        return;
    }
    enum decode (*decode)(void *, const struct decode_env *, const uint8_t *, uint32_t,
                          struct rows *) = f->dec->decode;
    uint32_t bad[4] = {0};
    for (uint32_t i = k; i < n; i++) {
        const uint8_t *msg = base + at[i] + skip;
        uint32_t len = (uint32_t)(at[i + 1] - at[i]) - skip;
        if (PST_FAULT_HIT("feed.drop_message"))
            continue;
        enum decode d = decode(s->decoder, &s->env, msg, len, out);
        if (pst_unlikely(d != DECODE_ROW)) {
            bad[d]++;
            keep_whole(f, type_of(f, msg, len),
                       d == DECODE_UNKNOWN  ? f->sym_unknown
                       : d == DECODE_LENGTH ? f->sym_length
                                            : f->sym_symbol,
                       msg, len, out);
        }
        if (pst_unlikely(flags & ROW_AFTER_GAP))
            rows_flags(out, flags = out->run.flags & ~(uint32_t)ROW_AFTER_GAP);
    }
    uint32_t wrong = bad[DECODE_UNKNOWN] + bad[DECODE_LENGTH] + bad[DECODE_SYMBOL];
    bump(&st->decoded, n - k - wrong);
    if (pst_unlikely(wrong)) {
        bump(&st->undecoded_unknown, bad[DECODE_UNKNOWN]);
        bump(&st->undecoded_length, bad[DECODE_LENGTH]);
        bump(&st->undecoded_symbol, bad[DECODE_SYMBOL]);
    }
}

static void malformed(struct feed *f, const struct origin *o, const uint8_t *p, uint32_t len,
                      struct rows *out)
{
    bump(&f->line[o->line].st->malformed, 1);
    struct run run = {.rxtime = o->rx,
                      .feed = f->sym,
                      .session = PST_NULL_SYMBOL,
                      .line = f->line[o->line].sym,
                      .flags = RUN_UNSEQUENCED |
                               (o->quality == CLOCK_DOUBTFUL ? (uint32_t)ROW_BAD_TIME : 0),
                      .day = (uint16_t)feed_day(f, o->rx),
                      .quality = o->quality,
                      .calendar = f->cfg.calendar,
                      .home = f->cfg.home};
    rows_run(out, &run);
    keep_whole(f, PST_NULL_INT, f->sym_malformed, p, len, out);
}

/* ---- what was decided before: duplicates, late messages -------------------------------------- */

static void divergent(struct feed *f, struct session *s, const struct origin *o, const uint8_t *p,
                      uint32_t len, struct rows *out)
{
    struct run run = run_make(f, s, o, ROW_DIVERGENT | RUN_UNSEQUENCED, 0);
    rows_run(out, &run);
    keep_whole(f, type_of(f, p, len), f->sym_divergent, p, len, out);
    bump(&f->line[o->line].st->divergent, 1);
    bump(&f->st->divergent, 1);
    alarm_signal(f->status, ALARM_FEED_DIVERGENT);
}

static void lag_add(struct feed *f, const struct origin *o, const struct past *p)
{
    const struct feed_line *l = &f->line[o->line];
    if (l->role != LINE_NORMAL || o->rx < p->rxtime)
        return;
    bump(&l->st->lag_sum, o->rx - p->rxtime);
    bump(&l->st->lag_n, 1);
}

/* Compares the copies of first … last with what was accepted, as far back as that is remembered. */
static void compare(struct feed *f, struct session *s, const struct origin *o,
                    const struct packet_view *v, const uint16_t *at, uint64_t first, uint64_t last,
                    struct rows *out)
{
    uint64_t *hint = &s->line[o->line].hint;
    uint32_t skip = opaque(f) ? 0 : f->fr->skip;
    bool timed = false;
    for (uint64_t x = first; x <= last && x >= first;) {
        const struct past *p = history_find(&s->history, x, hint);
        if (!p) {
            x++;
            continue;
        }
        if (!timed)
            lag_add(f, o, p);
        timed = true;
        const uint8_t *mine = history_bytes(&s->history, p);
        uint64_t to = p->seq + p->seqs - 1 < last ? p->seq + p->seqs - 1 : last;
        if (p->seq == v->seq && p->bytes == v->bytes && !memcmp(mine, v->first, v->bytes)) {
            x = to + 1;
            continue;
        }
        if (f->fr->counts_packets || opaque(f)) {
            if (p->seq == v->seq && p->seqs == v->seqs)
                divergent(f, s, o, v->first, v->bytes, out);
            x = to + 1;
            continue;
        }
        struct packet_view old = {.first = mine, .bytes = p->bytes, .count = p->seqs};
        if (!f->code->walk(f->fr, &old, f->at_past))
            return;
        for (; x <= to; x++) {
            const uint16_t *a = at + (x - v->seq), *b = f->at_past + (x - p->seq);
            uint32_t la = (uint32_t)(a[1] - a[0]) - skip, lb = (uint32_t)(b[1] - b[0]) - skip;
            const uint8_t *ma = v->first + a[0] + skip;
            if (la != lb || memcmp(ma, mine + b[0] + skip, la))
                divergent(f, s, o, ma, la, out);
        }
    }
}

static void repeated(struct feed *f, struct session *s, const struct origin *o,
                     const struct packet_view *v, const uint16_t *at, uint64_t first, uint64_t last,
                     struct rows *out)
{
    struct status_line *st = f->line[o->line].st;
    uint64_t n = last - first + 1;
    if (f->fr->counts_packets)
        n = v->count;
    if (last < s->gaps.floor) {
        bump(&st->old, n);
        return;
    }
    if (first < s->gaps.floor && !f->fr->counts_packets) {
        bump(&st->old, s->gaps.floor - first);
        n = last - s->gaps.floor + 1;
    }
    bump(&st->duplicate, n);
    compare(f, s, o, v, at, first, last, out);
}

/* Numbers first … last of the packet lie below `next`. */
static void below(struct feed *f, struct session *s, const struct origin *o,
                  const struct packet_view *v, const uint16_t *at, uint64_t first, uint64_t last,
                  struct rows *out)
{
    struct status_line *st = f->line[o->line].st;
    struct gap_range g;
    uint64_t x = first, forgotten = s->gaps.forgotten;
    while (x <= last && gaps_fill(&s->gaps, x, last, &g)) {
        if (g.first > x)
            repeated(f, s, o, v, at, x, g.first - 1, out);
        uint64_t n = g.last - g.first + 1;
        uint32_t k = 0, to = 1;
        if (f->fr->counts_packets)
            to = v->count;
        else if (!opaque(f))
            k = (uint32_t)(g.first - v->seq), to = (uint32_t)(g.last - v->seq + 1);
        emit(f, s, o, ROW_LATE, g.first, (uint32_t)n, v->first, at, k, to, out);
        uint64_t messages = f->fr->counts_packets ? v->count : n;
        bump(&st->late, messages);
        bump(&st->first, messages);
        bump(&f->st->late_seqs, n);
        x = g.last + 1;
    }
    if (pst_unlikely(s->gaps.forgotten != forgotten))
        bump(&f->st->forgotten, s->gaps.forgotten - forgotten);
    if (x <= last)
        repeated(f, s, o, v, at, x, last, out);
}

/* ---- acceptance ------------------------------------------------------------------------------ */

/* v->seq <= next < end: rows from `next` on. */
static void accept(struct feed *f, struct session *s, const struct origin *o,
                   const struct packet_view *v, const uint16_t *at, struct rows *out)
{
    struct status_line *st = f->line[o->line].st;
    uint64_t from = s->next, end = v->seq + v->seqs;
    uint32_t k = (uint32_t)(from - v->seq), units = opaque(f) ? 1 : v->count;
    if (pst_unlikely(k)) { /* lines pack differently */
        below(f, s, o, v, at, v->seq, from - 1, out);
        if (opaque(f))
            k = 0;
    }
    emit(f, s, o, 0, from, (uint32_t)(end - from), v->first, at, k, units, out);
    s->fresh = false;
    if (f->cfg.nlines > 1)
        history_put(&s->history, from, (uint32_t)(end - from), o->rx, v->first + at[k],
                    v->bytes - at[k]);
    session_next(s, end);
    uint64_t messages = f->fr->counts_packets ? v->count : end - from;
    bump(&st->accepted, messages);
    bump(&st->first, messages);
}

static void resolve(struct feed *f, struct session *s, const struct origin *o,
                    const struct packet_view *v, const uint16_t *at, struct rows *out)
{
    uint64_t end = v->seq + v->seqs;
    if (end > s->next)
        accept(f, s, o, v, at, out);
    else if (v->seqs)
        below(f, s, o, v, at, v->seq, end - 1, out);
}

/* ---- gaps ------------------------------------------------------------------------------------ */

static uint32_t say(char *text, uint32_t at, uint32_t cap, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static uint32_t say(char *text, uint32_t at, uint32_t cap, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text + at, cap - at, fmt, ap);
    va_end(ap);
    return n < 0 ? at : (uint32_t)n >= cap - at ? cap - 1 : at + (uint32_t)n;
}

/* "A lost, B silent since 09:31:07Z" */
static void gap_lines(const struct feed *f, const struct session *s, char *text, uint32_t cap)
{
    uint32_t at = 0;
    text[0] = 0;
    for (unsigned i = 0; i < f->cfg.nlines; i++) {
        const struct feed_line *l = &f->line[i];
        const struct session_line *sl = &s->line[i];
        at = say(text, at, cap, "%s%s ", i ? ", " : "", l->st->name);
        uint32_t state = load_relaxed(&l->st->state);
        if (l->off)
            at = say(text, at, cap, "off");
        else if (!l->last_rx)
            at = say(text, at, cap, "never seen");
        else if (state == LINE_SILENT) {
            int64_t t = l->last_rx - NS_PER_DAY * (int64_t)clock_day(l->last_rx);
            unsigned sec = (unsigned)(t / NS_PER_S);
            at = say(text, at, cap, "silent since %02u:%02u:%02uZ", sec / 3600, sec / 60 % 60,
                     sec % 60);
        } else if (sl->joined && sl->next > s->next)
            at = say(text, at, cap, "lost");
        else if (sl->joined)
            at = say(text, at, cap, "behind at %llu", (unsigned long long)sl->next);
        else
            at = say(text, at, cap, "not here");
    }
}

/* Declares next … last missing. */
static void gap_declare(struct feed *f, struct session *s, uint64_t last, int64_t now,
                        struct rows *out)
{
    uint64_t first = s->next, n = last - first + 1;
    const char *reason = s->fresh ? s->fresh_reason : NULL;
    if (!reason && s->stall_reason && s->since <= s->stall_until)
        reason = s->stall_reason;
    if (!reason)
        reason = "lost";
    s->stall_reason = NULL;
    struct gap g = {.feed = f->sym,
                    .session = s->sym,
                    .first = first,
                    .last = last,
                    .reason = reason,
                    .time = now,
                    .day = (uint16_t)s->day};
    gap_lines(f, s, g.lines, sizeof g.lines);
    out->ops->gap(out, &g);
    uint64_t forgotten = s->gaps.forgotten;
    gaps_add(&s->gaps, first, last);
    if (s->gaps.forgotten != forgotten)
        bump(&f->st->forgotten, s->gaps.forgotten - forgotten);
    s->fresh = false;
    s->after_gap = true;
    s->flags |= ROW_MAYBE_BAD_BOOK;
    session_next(s, last + 1);
    bump(&f->st->gaps, 1);
    bump(&f->st->gap_seqs, n);
    if (reason[0] == 'l') { /* lost */
        bump(&f->st->lost_all, n);
        alarm_signal(f->status, ALARM_FEED_GAP);
    }
}

/* All live lines have delivered something beyond the first missing number. */
static bool all_past(const struct feed *f, const struct session *s, int64_t now)
{
    unsigned live = 0;
    int64_t latest = INT64_MIN;
    for (unsigned i = 0; i < f->cfg.nlines; i++) {
        const struct feed_line *l = &f->line[i];
        if (l->off || l->role != LINE_NORMAL || !l->last_rx ||
            now - l->last_rx >= f->cfg.silence_ns)
            continue;
        const struct session_line *sl = &s->line[i];
        if (!sl->joined || sl->next <= s->next)
            return false;
        live++;
        if (sl->jump_rx > latest)
            latest = sl->jump_rx;
    }
    if (f->cfg.reorder_ns < 0)
        return live >= 2;
    return live >= 1 && now - latest >= f->cfg.reorder_ns;
}

static bool gap_due(const struct feed *f, const struct session *s, int64_t now)
{
    return now - s->since >= f->cfg.window_ns || all_past(f, s, now);
}

static bool has_room(const struct feed *f, const struct held *h, struct rows *out)
{
    uint64_t need = f->cfg.room_reserve + 8192;
    if (h)
        need += (uint64_t)h->count * f->row_most + 2ull * h->bytes;
    return rows_room(out) >= need;
}

static void take(struct feed *f, struct session *s, struct rows *out)
{
    struct held h;
    window_take(&f->window, &s->heap, &h, f->scratch);
    struct origin o = {h.line, h.rxtime, h.quality, h.recovered};
    struct packet_view v = {
        .seq = h.seq, .seqs = h.seqs, .count = h.count, .first = f->scratch, .bytes = h.bytes};
    /* It was walked when it came in: only the starts are found again. */
    pst_must(f->code->walk(f->fr, &v, f->at_run));
    v.seqs = h.seqs;
    bump(&f->line[h.line].st->held, -(uint64_t)h.count);
    resolve(f, s, &o, &v, f->at_run, out);
}

static void gauges(struct feed *f, struct session *s)
{
    store_relaxed(&f->st->window_packets, f->window.packets);
    store_relaxed(&f->st->window_bytes, f->window.bytes);
    store_relaxed(&s->st->waiting, s->high > s->next ? s->high - s->next : 0);
}

/*
 * Moves a session on as far as rules and room allow: takes from the window what has become
 * contiguous, declares the gap before the rest if it is due (or forced). True when it wrote.
 */
bool gap_settle(struct feed *f, struct session *s, int64_t now, bool force_all, struct rows *out)
{
    bool did = false;
    while (session_gap_open(s)) {
        uint64_t to = s->heap.n ? window_min(&f->window, &s->heap)->seq : UINT64_MAX;
        if (s->beat > s->next && s->beat < to)
            to = s->beat;
        if (to > s->next) {
            if (!force_all && !gap_due(f, s, now))
                break;
            if (!has_room(f, NULL, out)) {
                f->starved = true;
                break;
            }
            gap_declare(f, s, to - 1, now, out);
            did = true;
        }
        const struct held *h;
        while (s->heap.n && (h = window_min(&f->window, &s->heap))->seq <= s->next) {
            if (!has_room(f, h, out)) {
                f->starved = true;
                goto done;
            }
            take(f, s, out);
            did = true;
        }
        s->since = s->heap.n ? window_min(&f->window, &s->heap)->rxtime : s->beat_rx;
    }
done:
    gauges(f, s);
    if (session_gap_open(s)) {
        int64_t wait = f->cfg.window_ns;
        if (f->cfg.reorder_ns > 0 && f->cfg.reorder_ns < wait)
            wait = f->cfg.reorder_ns;
        int64_t due = s->since + wait > now ? s->since + wait : now + wait;
        if (due < f->due)
            f->due = due;
    } else if (s->end_seq && !s->end_marked && s->next >= s->end_seq) {
        session_ended(f, s, out);
    }
    return did;
}

/* The window is at a limit: the session that holds most gives way by one gap. False: no room. */
static bool window_give(struct feed *f, struct session *s, uint64_t seq, int64_t now,
                        struct rows *out)
{
    struct session *big = s;
    for (uint32_t i = 0; !s->heap.n && i < f->nsessions; i++)
        if (f->session[i].used && f->session[i].heap.n > big->heap.n)
            big = &f->session[i];
    uint64_t to = big->heap.n ? window_min(&f->window, &big->heap)->seq : UINT64_MAX;
    if (big == s && seq < to)
        to = seq;
    const struct held *h = big->heap.n ? window_min(&f->window, &big->heap) : NULL;
    if (!has_room(f, h, out))
        return false;
    bump(&f->st->window_full, 1);
    if (to > big->next)
        gap_declare(f, big, to - 1, now, out);
    while (big->heap.n && (h = window_min(&f->window, &big->heap))->seq <= big->next) {
        if (!has_room(f, h, out))
            break;
        take(f, big, out);
    }
    if (session_gap_open(big))
        big->since = big->heap.n ? window_min(&f->window, &big->heap)->rxtime : big->beat_rx;
    gauges(f, big);
    return true;
}

/* A walked packet ahead of `next`. */
static void hold(struct feed *f, struct session *s, const struct origin *o,
                 const struct packet_view *v, const uint16_t *at, struct rows *out)
{
    struct held h = {.seq = v->seq,
                     .rxtime = o->rx,
                     .seqs = v->seqs,
                     .count = v->count,
                     .bytes = v->bytes,
                     .line = (uint8_t)o->line,
                     .quality = o->quality,
                     .recovered = o->recovered};
    if (!session_gap_open(s))
        s->since = o->rx;
    while (!window_put(&f->window, &s->heap, &h, v->first)) {
        if (!window_give(f, s, v->seq, o->rx, out)) {
            bump(&f->line[o->line].st->dropped, v->count);
            f->starved = true;
            s->stall_reason = "ring_full"; /* what this loses, the venue did not */
            s->stall_until = o->rx + NS_PER_S;
            return;
        }
        if (v->seq <= s->next) {
            resolve(f, s, o, v, at, out);
            gap_settle(f, s, o->rx, false, out);
            return;
        }
        if (!session_gap_open(s))
            s->since = o->rx;
    }
    bump(&f->line[o->line].st->held, v->count);
    gap_settle(f, s, o->rx, false, out);
}

/* ---- one view -------------------------------------------------------------------------------- */

/* What the line did: skipped, filled what it had skipped, went on. */
static void line_progress(struct feed *f, struct session *s, const struct origin *o, uint64_t seq,
                          uint64_t end)
{
    struct session_line *sl = &s->line[o->line];
    struct status_line *st = f->line[o->line].st;
    if (pst_likely(seq == sl->next)) {
        sl->next = end;
        return;
    }
    if (f->line[o->line].role != LINE_NORMAL) {
        if (end > sl->next)
            sl->next = end;
        return;
    }
    if (seq > sl->next) {
        bump(&st->lost, seq - sl->next);
        gaps_add(&sl->missing, sl->next, seq - 1);
        sl->jump_rx = o->rx;
    } else if (end > seq) {
        struct gap_range g;
        uint64_t x = seq, filled = 0;
        while (x < end && gaps_fill(&sl->missing, x, end - 1, &g)) {
            filled += g.last - g.first + 1;
            x = g.last + 1;
        }
        if (filled) {
            bump(&st->lost, -filled);
            bump(&st->reordered, 1);
        }
    }
    if (end > sl->next)
        sl->next = end;
}

/* A number far ahead of everything must be said twice. */
static bool believable(struct feed *f, struct session *s, uint64_t seq)
{
    if (pst_likely(seq <= s->next || seq - s->next <= f->cfg.jump_limit) || s->fresh)
        return true;
    uint64_t apart = seq > s->jump_seq ? seq - s->jump_seq : s->jump_seq - seq;
    bool twice = s->jumped && apart <= f->cfg.jump_limit;
    s->jumped = true;
    s->jump_seq = seq;
    if (!twice)
        bump(&f->st->jumps, 1);
    return twice;
}

static void session_high(struct session *s, uint64_t high)
{
    if (high > s->high) {
        s->high = high;
        store_relaxed(&s->st->high, high);
    }
}

static void heartbeat(struct feed *f, struct session *s, const struct origin *o,
                      const struct packet_view *v, struct rows *out)
{
    session_high(s, v->seq);
    if (v->kind == PACKET_END && !s->ended) {
        s->ended = true;
        s->end_seq = v->seq ? v->seq : s->next;
    }
    if (v->seq > s->next) {
        if (!session_gap_open(s))
            s->since = o->rx;
        if (v->seq > s->beat) {
            s->beat = v->seq;
            s->beat_rx = o->rx;
        }
        gap_settle(f, s, o->rx, false, out);
    } else if (s->ended && !s->end_marked && s->next >= s->end_seq) {
        session_ended(f, s, out);
    }
}

/* For control, which knows the stamp's unit; the two may be of neighbouring packets when read. */
static void sent(struct status_line *st, const struct packet_view *v, const struct origin *o)
{
    if (v->send_time) {
        store_relaxed(&st->send_time, v->send_time);
        store_relaxed(&st->send_rx, o->rx);
    }
}

/* A copy of what was accepted, known by its bytes: needs no walk. */
static bool quick_copy(struct feed *f, struct session *s, const struct origin *o,
                       const struct packet_view *v)
{
    uint64_t end = v->seq + v->seqs;
    struct session_line *sl = &s->line[o->line];
    if (end > s->next || v->seq < sl->next || !v->seqs || v->reset ||
        gaps_touch(&s->gaps, v->seq, end - 1))
        return false;
    const struct past *p = history_find(&s->history, v->seq, &sl->hint);
    if (!p || p->seq != v->seq || p->seqs != v->seqs || p->bytes != v->bytes ||
        memcmp(history_bytes(&s->history, p), v->first, v->bytes))
        return false;
    struct status_line *st = f->line[o->line].st;
    bump(&st->messages, v->count);
    bump(&st->duplicate, v->count);
    lag_add(f, o, p);
    line_progress(f, s, o, v->seq, end);
    sl->send_time = v->send_time;
    sent(st, v, o);
    sl->offset = v->offset;
    s->last_rx = o->rx;
    return true;
}

static void view_take(struct feed *f, struct origin *o, struct packet_view *v, uint16_t *at,
                      bool walked, const uint8_t *payload, uint32_t len, struct rows *out)
{
    struct feed_line *l = &f->line[o->line];
    uint64_t raw = v->seq;
    uint32_t i = l->cached;
    if (pst_unlikely(i == NO_SESSION || !f->session[i].newest ||
                     !key_equal(f, f->session[i].key, v->key)))
        i = session_find(f, v->key);
    struct session *s = i == NO_SESSION ? NULL : &f->session[i];
    bool content = v->kind == PACKET_DATA || v->kind == PACKET_UNSEQUENCED;
    bool joined = s && s->line[o->line].joined;
    if (joined && v->kind == PACKET_DATA) {
        v->seq = framing_extend(raw, f->fr->seq.width, s->next);
        /* Where the count is found by walking, the header does not know what it covers. */
        if (!walked && f->fr->count.width && quick_copy(f, s, o, v))
            return;
    }
    if (content && !walked && !f->code->walk(f->fr, v, at)) {
        malformed(f, o, payload, len, out);
        return;
    }
    if (v->kind != PACKET_UNSEQUENCED && joined)
        v->seq = framing_extend(raw, f->fr->seq.width, s->next);
    if (pst_unlikely(!joined || s->starting ||
                     (v->seq < s->line[o->line].next && v->kind != PACKET_UNSEQUENCED))) {
        v->seq = raw;
        s = session_settle(f, o->line, v, payload, len, o->rx, out);
        if (!s) {
            bump(&f->st->too_many_sessions, 1);
            bump(&l->st->ignored, 1);
            return;
        }
        v->seq = framing_extend(raw, f->fr->seq.width, s->next);
    }
    l->cached = (uint32_t)(s - f->session);
    s->last_rx = o->rx;
    if (v->retransmitted)
        o->recovered = true;
    if (pst_unlikely(v->kind == PACKET_UNSEQUENCED)) {
        if (!v->count) { /* B3's keep-alive, an empty Cboe unit */
            bump(&l->st->heartbeats, 1);
            return;
        }
        bump(&l->st->messages, v->count);
        bump(&l->st->unsequenced, v->count);
        emit(f, s, o, RUN_UNSEQUENCED, 0, 0, v->first, at, 0, opaque(f) ? 1 : v->count, out);
        return;
    }
    if (pst_unlikely(v->seq + v->seqs < v->seq || !believable(f, s, v->seq))) {
        malformed(f, o, payload, len, out);
        return;
    }
    struct session_line *sl = &s->line[o->line];
    uint64_t end = v->seq + v->seqs;
    if (v->seq >= sl->next) {
        sl->send_time = v->send_time;
        sent(f->line[o->line].st, v, o);
        sl->offset = v->offset;
        sl->fell = false;
    }
    line_progress(f, s, o, v->seq, end);
    if (v->kind != PACKET_DATA) {
        bump(&l->st->heartbeats, 1);
        heartbeat(f, s, o, v, out);
        return;
    }
    if (pst_unlikely(v->idle))
        bump(&l->st->heartbeats, 1);
    bump(&l->st->messages, v->count);
    session_high(s, end);
    if (pst_unlikely(v->seq > s->next)) {
        hold(f, s, o, v, at, out);
        return;
    }
    resolve(f, s, o, v, at, out);
    if (pst_unlikely(session_gap_open(s) || s->end_seq))
        gap_settle(f, s, o->rx, false, out);
    else if (pst_unlikely(load_relaxed(&s->st->waiting)))
        gauges(f, s);
}

void feed_packet(struct feed *f, unsigned line, const uint8_t *payload, uint32_t len,
                 int64_t rxtime, uint8_t quality, struct rows *out)
{
    pst_debug(line < f->cfg.nlines);
    struct feed_line *l = &f->line[line];
    if (pst_unlikely(f->sink != out))
        feed_intern(f, out);
    if (pst_unlikely(rxtime >= f->due))
        feed_poll(f, rxtime, out);
    struct status_line *st = l->st;
    bump(&st->packets, 1);
    bump(&st->bytes, len);
    if (pst_unlikely(!l->last_rx))
        l->first_rx = rxtime;
    l->last_rx = rxtime;
    store_relaxed(&st->last_rx, rxtime);
    if (pst_unlikely(l->off || f->paused)) {
        bump(&st->ignored, 1);
        return;
    }
    if (pst_unlikely(load_relaxed(&st->state) != LINE_LIVE))
        store_relaxed(&st->state, LINE_LIVE);
    if (pst_unlikely(load_relaxed(&f->st->state) != FEED_LIVE))
        store_relaxed(&f->st->state, FEED_LIVE);

    struct origin o = {line, rxtime, quality, l->role == LINE_RETRANSMISSION};
    struct packet_view v;
    f->code->header(f->fr, payload, len, &v);
    if (pst_unlikely(v.kind == PACKET_MALFORMED)) {
        malformed(f, &o, payload, len, out);
        return;
    }
    if (pst_likely(!f->fr->per_message_seq || v.kind != PACKET_DATA)) {
        view_take(f, &o, &v, f->at, false, payload, len, out);
        return;
    }
    /* A number in each message: the packet is checked whole, then taken run by run. */
    if (!f->code->walk(f->fr, &v, f->at)) {
        malformed(f, &o, payload, len, out);
        return;
    }
    for (uint32_t i = 0; i < v.count;) {
        struct packet_view run;
        uint32_t to = framing_run(f->fr, &v, f->at, i, &run);
        for (uint32_t k = i; k <= to; k++)
            f->at_whole[k - i] = (uint16_t)(f->at[k] - f->at[i]);
        i = to;
        view_take(f, &o, &run, f->at_whole, true, payload, len, out);
    }
}
