/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed.c - a feed's life: memory, timers, silence, commands. The packet path is feed_packet.c.
 */
#include "feed_internal.h"

#include <errno.h>

static void *keep(struct feed *f, void *p)
{
    pst_must(f->nmemory < PST_COUNT(f->memory));
    return f->memory[f->nmemory++] = p;
}

/* Zeroed and touched: no page is first used at the burst. */
static void *grab(size_t n, size_t size)
{
    size_t bytes = pst_align_up(n * size + 1, PST_CACHELINE);
    void *p = aligned_alloc(PST_CACHELINE, bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

static void defaults(struct feed_config *c)
{
    if (!c->window_count)
        c->window_count = 8192;
    if (!c->window_bytes)
        c->window_bytes = 8u << 20;
    if (!c->window_ns)
        c->window_ns = NS_PER_MS;
    if (!c->silence_ns)
        c->silence_ns = 3 * NS_PER_S;
    if (!c->jump_limit)
        c->jump_limit = 1u << 26;
    if (!c->history_bytes)
        c->history_bytes = 256u << 10;
    if (!c->open_gaps)
        c->open_gaps = 256;
    if (!c->max_sessions)
        c->max_sessions = 16;
}

static bool config_check(const struct feed_config *c, unsigned index, struct err *err)
{
    if (!c->name || !*c->name || strlen(c->name) >= sizeof((struct status_feed *)0)->name)
        return err_set(err, -EINVAL, "a feed's name has 1 to 31 letters");
    if (index >= STATUS_FEEDS)
        return err_set(err, -EINVAL, "feed %s: more than %u feeds", c->name, STATUS_FEEDS);
    if (c->nlines < 1 || c->nlines > FEED_LINES)
        return err_set(err, -EINVAL, "feed %s: it needs 1 to %u lines", c->name, FEED_LINES);
    if (c->open_gaps < 2 || c->window_count < 2 || c->max_sessions < 2)
        return err_set(err, -EINVAL,
                       "feed %s: window_count, open_gaps and max_sessions are at least 2", c->name);
    if (c->decoder && c->decoder->ntables && !decoder_bind(c->decoder, c->tables, err))
        return false;
    return framing_check(c->framing, err);
}

static bool sessions_open(struct feed *f, struct err *err)
{
    uint32_t n = f->nsessions = f->cfg.max_sessions;
    uint32_t slots = 16;
    while (slots < 4 * n)
        slots *= 2;
    f->hash_mask = slots - 1;
    f->hash = keep(f, grab(slots, sizeof *f->hash));
    f->session = keep(f, grab(n, sizeof *f->session));
    size_t state = f->dec ? pst_align_up(f->dec->state_bytes, PST_CACHELINE) : 0;
    uint8_t *states = keep(f, grab(n, state));
    uint32_t *heaps = keep(f, grab(n, sizeof *heaps * f->cfg.window_count));
    struct gap_range *gaps = keep(f, grab(n, sizeof *gaps * f->cfg.open_gaps));
    struct gap_range *missing = keep(f, grab(n, sizeof *missing * LINE_MISSING * FEED_LINES));
    if (!f->hash || !f->session || !states || !heaps || !gaps || !missing)
        return err_set(err, -ENOMEM,
                       "feed %s: no memory for %u sessions; lower max_sessions or window_count",
                       f->name, n);
    for (uint32_t i = 0; i < n; i++) {
        struct session *s = &f->session[i];
        s->older = NO_SESSION;
        s->heap.at = heaps + (size_t)i * f->cfg.window_count;
        s->decoder = states + i * state;
        memcpy(s->env.table, f->cfg.tables, sizeof s->env.table);
        gaps_init(&s->gaps, gaps + (size_t)i * f->cfg.open_gaps, f->cfg.open_gaps, 0);
        for (unsigned l = 0; l < FEED_LINES; l++)
            gaps_init(&s->line[l].missing, missing + ((size_t)i * FEED_LINES + l) * LINE_MISSING,
                      LINE_MISSING, 0);
        if (!history_open(&s->history, f->cfg.nlines > 1 ? f->cfg.history_bytes : 0, err))
            return false;
    }
    return true;
}

static void status_fill(struct feed *f)
{
    struct status_feed *st = f->st;
    snprintf(st->name, sizeof st->name, "%s", f->name);
    snprintf(st->framing, sizeof st->framing, "%s", f->fr->name);
    snprintf(st->decoder, sizeof st->decoder, "%s", f->dec ? f->dec->name : "none");
    st->nlines = f->cfg.nlines;
    store_relaxed(&st->state, FEED_WAITING);
    for (unsigned i = 0; i < f->cfg.nlines; i++) {
        struct feed_line *l = &f->line[i];
        l->st = &st->line[i];
        l->role = f->cfg.line[i].role;
        l->cached = NO_SESSION;
        snprintf(l->st->name, sizeof l->st->name, "%s", f->cfg.line[i].name);
        store_relaxed(&l->st->state, LINE_WAITING);
    }
}

uint8_t feed_home(const struct decoder_ops *decoder, const struct schema *const *tables,
                  const struct schema *undecoded, const uint8_t *stream_of)
{
    if (!stream_of || (decoder && !decoder->frequent))
        return 0;
    unsigned home = stream_of[decoder ? tables[0]->id : undecoded->id];
    for (unsigned i = 1; decoder && i < decoder->frequent; i++)
        if (stream_of[tables[i]->id] != home)
            return 0;
    return (uint8_t)(home + 1);
}

struct feed *feed_open(const struct feed_config *c, struct status *st, unsigned index,
                       struct err *err)
{
    struct feed_config cfg = *c;
    defaults(&cfg);
    if (!config_check(&cfg, index, err))
        return NULL;
    struct feed *f = grab(1, sizeof *f);
    if (!f) {
        err_set(err, -ENOMEM, "feed %s: no memory", cfg.name);
        return NULL;
    }
    f->cfg = cfg;
    f->fr = cfg.framing;
    f->code = framing_code(f->fr);
    f->dec = cfg.decoder;
    f->index = index;
    f->key_words = (framing_key_bytes(f->fr) + 7) / 8;
    f->status = st;
    f->st = &st->feeds[index];
    f->due = f->silence_at = INT64_MIN;
    f->day_from = INT64_MAX;
    f->day_to = INT64_MIN;
    snprintf(f->name, sizeof f->name, "%s", cfg.name);
    uint32_t widest = 128;
    for (unsigned i = 0; f->dec && i < f->dec->ntables; i++)
        if (cfg.tables[i] && cfg.tables[i]->fixed > widest)
            widest = cfg.tables[i]->fixed;
    f->row_most = widest + 2 * sizeof(struct packet_record) + 32;
    status_fill(f);
    f->at = keep(f, grab(FRAMING_MESSAGES + 1, sizeof *f->at));
    f->at_whole = keep(f, grab(FRAMING_MESSAGES + 1, sizeof *f->at));
    f->at_run = keep(f, grab(FRAMING_MESSAGES + 1, sizeof *f->at));
    f->at_past = keep(f, grab(FRAMING_MESSAGES + 1, sizeof *f->at));
    f->scratch = keep(f, grab(1, FRAMING_MESSAGES));
    if (!f->at || !f->at_whole || !f->at_run || !f->at_past || !f->scratch) {
        err_set(err, -ENOMEM, "feed %s: no memory", cfg.name);
        feed_close(f);
        return NULL;
    }
    if (!window_open(&f->window, cfg.window_count, cfg.window_bytes, err) ||
        !sessions_open(f, err)) {
        feed_close(f);
        return NULL;
    }
    if (index >= st->n_feeds)
        st->n_feeds = index + 1;
    return f;
}

void feed_close(struct feed *f)
{
    if (!f)
        return;
    for (uint32_t i = 0; f->session && i < f->nsessions; i++)
        history_close(&f->session[i].history);
    window_close(&f->window);
    for (unsigned i = 0; i < f->nmemory; i++)
        free(f->memory[i]);
    free(f);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Line and feed states that only the absence of packets changes. A line that never spoke is silent
 * too, `silence` after start, opening hour or line_on. */
static void silence(struct feed *f, int64_t now)
{
    f->silence_at = now + f->cfg.silence_ns / 4 + 1;
    bool open = !f->cfg.open || f->cfg.open(f->cfg.arg, now);
    unsigned normal = 0, silent = 0, quiet = 0;
    for (unsigned i = 0; i < f->cfg.nlines; i++) {
        struct feed_line *l = &f->line[i];
        if (l->off || l->role != LINE_NORMAL)
            continue;
        normal++;
        if (open && !f->was_open)
            l->watched = now;
        quiet += !l->last_rx || now - l->last_rx >= f->cfg.silence_ns;
        int64_t since = l->last_rx > l->watched ? l->last_rx : l->watched;
        if (now - since < f->cfg.silence_ns)
            continue;
        silent++;
        if (!open) { /* nobody expects anything: waiting, not silent */
            store_relaxed(&l->st->state, LINE_WAITING);
        } else if (load_relaxed(&l->st->state) != LINE_SILENT) {
            store_relaxed(&l->st->state, LINE_SILENT);
            alarm_signal(f->status, ALARM_LINE_SILENT);
        }
    }
    f->was_open = open;
    uint32_t was = load_relaxed(&f->st->state), is = FEED_LIVE;
    if (f->paused)
        is = FEED_PAUSED;
    else if (normal && quiet == normal)
        is = !open ? FEED_CLOSED : silent == normal ? FEED_SILENT : FEED_WAITING;
    if (is != was) {
        store_relaxed(&f->st->state, is);
        if (is == FEED_SILENT)
            alarm_signal(f->status, ALARM_FEED_SILENT);
    }
}

int feed_poll(struct feed *f, int64_t now, struct rows *out)
{
    if (pst_likely(now < f->due && !f->starved))
        return 0;
    if (f->sink != out)
        feed_intern(f, out);
    int did = 0;
    f->starved = false;
    if (now >= f->silence_at)
        silence(f, now);
    f->due = f->silence_at;
    for (uint32_t i = 0; i < f->nsessions; i++) {
        struct session *s = &f->session[i];
        if (s->used && session_gap_open(s))
            did += gap_settle(f, s, now, false, out);
    }
    return did;
}

bool feed_flush(struct feed *f, int64_t now, struct rows *out)
{
    bool done = true;
    if (f->sink != out)
        feed_intern(f, out);
    for (uint32_t i = 0; i < f->nsessions; i++) {
        struct session *s = &f->session[i];
        if (!s->used || !session_gap_open(s))
            continue;
        gap_settle(f, s, now, true, out);
        done &= !session_gap_open(s);
    }
    return done;
}

void feed_stalled(struct feed *f, int64_t now, const char *reason)
{
    for (uint32_t i = 0; i < f->nsessions; i++)
        if (f->session[i].used) {
            f->session[i].stall_reason = reason;
            f->session[i].stall_until = now + NS_PER_S;
        }
}

/* ---- commands -------------------------------------------------------------------------------- */

bool feed_command(struct feed *f, enum feed_command c, unsigned line, int64_t now, struct rows *out)
{
    if ((c == FEED_LINE_ON || c == FEED_LINE_OFF) && line >= f->cfg.nlines)
        return false;
    switch (c) {
    case FEED_PAUSE:
        f->paused = true;
        store_relaxed(&f->st->state, FEED_PAUSED);
        break;
    case FEED_RESUME:
        if (f->paused) {
            f->paused = false;
            store_relaxed(&f->st->state, FEED_WAITING);
            feed_stalled(f, now, "paused");
            for (uint32_t i = 0; i < f->nsessions; i++) /* no line lost what we did not look at */
                for (unsigned l = 0; l < f->cfg.nlines; l++)
                    f->session[i].line[l].joined = false;
        }
        break;
    case FEED_RESET_SESSION:
        feed_flush(f, now, out);
        for (uint32_t i = 0; i < f->nsessions; i++) {
            struct session *s = &f->session[i];
            if (s->used && s->newest && s->bound)
                s->starting = true;
        }
        break;
    case FEED_LINE_ON:
        if (f->line[line].off) {
            f->line[line].off = false;
            f->line[line].last_rx = 0; /* not live before its first packet */
            f->line[line].watched = now;
            store_relaxed(&f->line[line].st->state, LINE_WAITING);
            for (uint32_t i = 0; i < f->nsessions; i++)
                f->session[i].line[line].joined = false;
        }
        break;
    case FEED_LINE_OFF:
        f->line[line].off = true;
        store_relaxed(&f->line[line].st->state, LINE_OFF);
        f->due = INT64_MIN; /* a gap may have waited for this line only */
        break;
    }
    return true;
}
