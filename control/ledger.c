/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include "print.h"
#include <unistd.h>
#include "core/civil.h"
#include "core/clock.h"
#include "core/crc.h"
#include "daemon.h"
#include "day.h"
#include "disks.h"
#include "dataplane/packet.h"
#include "ledger.h"
#include "storage/cursor.h"
#include "storage/facts.h"
#include "storage/ledger_count.h"
#include "storage/log.h"
#include "topo.h"
#include "wiring_parts.h"

#define ROUND_FRAMES    512
#define LEDGER_SESSIONS LOG_COUNTS /* of all days since the start, the log's limit */
#define SNAP_NS         (100 * NS_PER_MS)

/* One (feed, session) as compared at one moment. */
struct entry {
    char feed[32], session[64];
    bool known; /* the data plane knows it: wire, waiting and diff_wire hold */
    uint64_t wire, waiting;
    uint64_t journaled, late, gaps; /* gaps: what no late row took back */
    uint64_t durable, at_durable;   /* the log's count, ours at the durable position */
    uint64_t flying;
    int64_t diff_wire, diff_durable; /* 0 = balances */
};

/* What one feed handed to its decoder, and the rows that came of it; since this process's start. */
struct feed_entry {
    char name[32];
    uint64_t handed, rows;
    int64_t diff;
};

struct snapshot {
    int64_t at; /* monotonic */
    bool caught_up;
    uint64_t packets, for_feeds, not_ours; /* what ports gave us, and where it went */
    int64_t diff_packets;
    uint64_t position, durable_position;
    bool verified;
    uint64_t lost_ranges, lost_bytes, inconsistent;
    unsigned n;
    struct entry entry[LEDGER_SESSIONS];
    uint64_t rows_made, rows_counted; /* since the start of this process */
    unsigned n_feeds;
    struct feed_entry feed[STATUS_FEEDS];
    /* journal and memory at the last position that both have passed; 0 = none yet */
    uint64_t rdb_position, rdb_counted, rdb_taken, rdb_refused, rdb_buffered;
    int64_t diff_rdb;
};

/* Two readers compared at one position: what each had counted when it came there. */
struct probe {
    uint64_t at;         /* asked for; 0 = none */
    uint64_t mine, here; /* rows below, and the frame's position; here 0 = not passed yet */
    uint64_t buffered;   /* of those, in buffering events */
};

/* A cursor with its counts. */
struct follower {
    struct cursor cursor;
    struct ledger_count count;
    bool waiting; /* reached its limit in the last round */
    /* Totals when it crossed this process's first position: the log and the feeds count from there.
     */
    bool based;
    uint64_t rows_base, buffered_base, base[LEDGER_SESSIONS], base_rows[LEDGER_SESSIONS];
};

struct ledger {
    struct daemon *d;
    struct io *io;
    struct thread thread;
    struct follower all, durable;
    struct facts_writer facts; /* for the next start: the durable one's */
    bool facts_told;
    bool open;
    _Atomic uint64_t counted; /* the committed follower has passed it */
    uint64_t start;           /* the journal's first position in this process */
    int64_t snap_at;
    struct snapshot next;
    struct probe probe;
    uint64_t rdb_position, rdb_counted, rdb_taken, rdb_refused, rdb_buffered; /* the last answer */
    pthread_mutex_t lock;                                                     /* guards `snap` */
    struct snapshot snap;
    int64_t wrong_since; /* control: 0 = balances */
    _Atomic bool wanted; /* control asks for a fresh snapshot */
    bool verified;       /* the older part of the log has been read through */
    uint32_t told;       /* of recovery.damage */
};

static bool follower_open(struct follower *f, struct ledger *l, enum cursor_limit limit,
                          int32_t from_day, struct err *err)
{
    const struct config *c = l->d->config;
    struct cursor_config cc = {.io = l->io,
                               .dirs = {c->log_directory, c->spill_directory},
                               .prefix = c->log_prefix,
                               .instance = l->d->instance_id,
                               .ring = &l->d->ring,
                               .limit = limit,
                               .headers_only = true};
    if (!ledger_init(&f->count, false, err))
        return false;
    if (!cursor_open(&f->cursor, &cc, err)) {
        ledger_free(&f->count);
        return false;
    }
    if (!cursor_seek_day(&f->cursor, from_day))
        cursor_seek(&f->cursor, l->d->ring.head->start);
    return true;
}

static void follower_close(struct follower *f)
{
    cursor_close(&f->cursor);
    ledger_free(&f->count);
}

/* All rows that stood in the journal so far, of whatever kind. */
static uint64_t rows_of(const struct ledger_count *c)
{
    uint64_t n = c->plain_rows + c->replayed_rows;
    for (uint32_t i = 0; i < c->count; i++)
        n += c->session[i].rows;
    return n;
}

static uint64_t total_of(const struct ledger_session *x)
{
    return x->on_time + x->late + x->gap_seqs;
}

static void note_base(struct follower *f)
{
    f->based = true;
    f->rows_base = rows_of(&f->count);
    f->buffered_base = f->count.buffered_rows;
    for (uint32_t i = 0; i < f->count.count && i < LEDGER_SESSIONS; i++) {
        f->base[i] = total_of(&f->count.session[i]);
        f->base_rows[i] = f->count.session[i].rows;
    }
}

static void symbol_text(struct follower *f, uint32_t id, char *out, size_t cap)
{
    uint32_t len = 0;
    const char *t = dictionary_peek(&f->cursor.dict, id, &len);
    snprintf(out, cap, "%.*s", t ? (int)len : 1, t ? t : "?");
}

/* The log gave up rows that we have counted: the gap rows behind this mark stand for them now. What
 * an earlier process gave up stands in no file: it was never counted here. */
static void given_up(struct ledger *l, const struct frame *f)
{
    unsigned type;
    uint32_t len;
    const char *text = frame_mark(f, &type, &len);
    if (!text || type != MARK_LOST)
        return;
    json_t *o = json_loadb(text, len, 0, NULL), *x;
    size_t i;
    if ((uint64_t)json_integer_value(json_object_get(o, "from")) >= l->start)
        json_array_foreach(json_object_get(o, "sessions"), i, x)
        {
            const char *feed = json_string_value(json_array_get(x, 0));
            const char *session = json_string_value(json_array_get(x, 1));
            for (uint32_t k = 0; feed && session && k < l->all.count.count; k++) {
                struct ledger_session *s = &l->all.count.session[k];
                char a[64], b[64];
                symbol_text(&l->all, s->feed, a, sizeof a);
                symbol_text(&l->all, s->session, b, sizeof b);
                if (strcmp(a, feed) || strcmp(b, session))
                    continue;
                s->on_time -= (uint64_t)json_integer_value(json_array_get(x, 2));
                s->late -= (uint64_t)json_integer_value(json_array_get(x, 3));
            }
        }
    json_decref(o);
}

static int follow(struct ledger *l, struct follower *f, int budget)
{
    int n = 0;
    int64_t now = clock_monotonic();
    f->waiting = false;
    while (n < budget) {
        const struct frame *frame;
        enum cursor_verdict v = cursor_next(&f->cursor, &frame);
        if (v == CURSOR_WAIT || v == CURSOR_END || v == CURSOR_ERROR) {
            f->waiting = v != CURSOR_ERROR;
            break;
        }
        n++;
        if (v == CURSOR_LOST && f == &l->durable && f->cursor.lost_to > l->start)
            facts_lost(&l->facts);
        if (v != CURSOR_FRAME)
            continue; /* lost ranges are in the cursor's own figures */
        if (!f->based && frame->position >= l->start)
            note_base(f);
        if (pst_unlikely(f == &l->all && l->probe.at && !l->probe.here &&
                         frame->position >= l->probe.at)) {
            l->probe.here = frame->position;
            l->probe.mine = rows_of(&f->count) - f->rows_base;
            l->probe.buffered = f->count.buffered_rows - f->buffered_base;
        }
        if (pst_unlikely(frame->kind == FRAME_MARK) && f == &l->all && frame->position >= l->start)
            given_up(l, frame);
        if (f == &l->durable && frame->position >= l->start)
            facts_frame(&l->facts, frame, now);
        const struct packet_record *runs;
        uint32_t nruns;
        if (cursor_runs(&f->cursor, &runs, &nruns))
            ledger_runs(&f->count, frame, runs, nruns);
        else
            ledger_frame(&f->count, &f->cursor.dict, frame);
    }
    if (f == &l->all)
        store_release(&l->counted, f->cursor.position); /* what follows may be given up: L6 */
    return n;
}

static const struct status_session *session_of(const struct status *s, const char *feed,
                                               const char *text)
{
    uint32_t n = status_sessions(s);
    const struct status_session *found = NULL;
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(status_session_text(&s->sessions[i]), text) &&
            !strcmp(s->feeds[s->sessions[i].feed].name, feed))
            found = &s->sessions[i]; /* the newest of equal ones */
    return found;
}

/* How far `value` lies outside [low, high]: 0 inside, so that figures in motion do not alarm. */
static int64_t outside(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? (int64_t)(value - low) : value > high ? (int64_t)(value - high) : 0;
}

struct before {
    uint64_t next[STATUS_SESSIONS];
    uint64_t durable[LEDGER_SESSIONS];
    uint64_t handed[STATUS_FEEDS];
    uint64_t rows;
};

/* Rows that a feed's own counters promise: messages for the decoder, and what is kept whole. */
static uint64_t handed(const struct status_feed *f)
{
    uint64_t n = load_relaxed(&f->messages) + load_relaxed(&f->divergent) +
                 load_relaxed(&f->undecoded_empty);
    for (unsigned i = 0; i < f->nlines; i++)
        n += load_relaxed(&f->line[i].malformed);
    return n;
}

static uint64_t log_durable(struct ledger *l, uint32_t feed, uint32_t session)
{
    const struct log_counts *c = log_counts(l->d->wiring->log);
    uint32_t n = load_acquire(&c->n);
    for (uint32_t i = 0; i < n; i++)
        if (c->entry[i].feed == feed && c->entry[i].session == session)
            return load_relaxed(&c->entry[i].durable) + load_relaxed(&c->entry[i].late) +
                   load_relaxed(&c->entry[i].gap);
    return 0;
}

/* Every packet that a port gave us went to a feed or under a drop reason. A packet is sorted before
 * its burst counts as taken, so what is sorted lies between two looks at what was taken. */
static void count_packets(struct snapshot *s, const struct status *st)
{
    uint64_t low = 0, high = 0;
    s->for_feeds = s->not_ours = 0;
    for (unsigned i = 0; i < st->n_ports; i++)
        low += load_acquire(&st->ports[i].taken);
    for (unsigned f = 0; f < st->n_feeds; f++)
        for (unsigned l = 0; l < st->feeds[f].nlines; l++)
            s->for_feeds += load_acquire(&st->feeds[f].line[l].packets);
    for (unsigned i = DROP_none + 1; i < STATUS_DROPS; i++)
        s->not_ours += load_acquire(&st->drop[i]);
    for (unsigned i = 0; i < st->n_ports; i++)
        high += load_acquire(&st->ports[i].taken) + PORT_BURST_MAX; /* a burst in hand */
    s->diff_packets = -outside(s->for_feeds + s->not_ours, low, high);
    s->packets = s->for_feeds + s->not_ours + (uint64_t)s->diff_packets;
}

/*
 * The RDB reads the journal with a cursor of its own, anywhere from ahead of us to hours behind. So
 * we ask for its rows below a position that neither has passed, the journal's end, and compare when
 * both have been there. A frame that came between makes the positions differ: asked again.
 */
static void probe_rdb(struct ledger *l)
{
    struct day *y = l->d->days;
    struct day_probe a;
    if (!y || !l->all.based)
        return;
    if (l->probe.at && !l->probe.here && l->all.cursor.position == l->probe.at) {
        l->probe.here = l->probe.at; /* there, and nothing behind it yet */
        l->probe.mine = rows_of(&l->all.count) - l->all.rows_base;
        l->probe.buffered = l->all.count.buffered_rows - l->all.buffered_base;
    }
    if (l->probe.at && l->probe.here && day_probed(y, &a)) {
        if (a.position == l->probe.here) {
            l->rdb_position = a.position;
            l->rdb_counted = l->probe.mine;
            l->rdb_taken = a.taken;
            l->rdb_refused = a.refused;
            l->rdb_buffered = l->probe.buffered;
        }
        l->probe.at = 0;
    }
    if (!l->probe.at) {
        l->probe = (struct probe){.at = ring_tail(&l->d->ring)};
        day_probe(y, l->probe.at);
    }
}

/*
 * Figures of three owners (feeds, ledger, log) are compared while all of them move: feeds and log
 * are read before and after our own cursors have caught up, and ours must lie between.
 */
static void take_snapshot(struct ledger *l)
{
    static struct before b; /* one ledger a process; too large for the stack */
    struct snapshot *s = &l->next;
    const struct status *st = l->d->status;
    s->at = clock_monotonic();
    uint32_t n = status_sessions(st);
    for (uint32_t i = 0; i < n; i++)
        b.next[i] = load_relaxed(&st->sessions[i].next);
    for (uint32_t i = 0; i < l->durable.count.count && i < LEDGER_SESSIONS; i++)
        b.durable[i] =
            log_durable(l, l->durable.count.session[i].feed, l->durable.count.session[i].session);
    b.rows = load_relaxed(&st->counter[COUNTER_APPEND_ROWS]);
    for (uint32_t i = 0; i < st->n_feeds; i++)
        b.handed[i] = handed(&st->feeds[i]);
    /* Behind a start with a large log they read for seconds: the thread must beat meanwhile. */
    for (int i = 0; i < 64 && clock_monotonic() - s->at < SNAP_NS; i++) {
        follow(l, &l->all, ROUND_FRAMES);
        follow(l, &l->durable, ROUND_FRAMES);
        if (l->all.waiting && l->durable.waiting)
            break;
    }
    int64_t began = s->at;
    memset(s, 0, sizeof *s);
    s->at = began;
    count_packets(s, st);
    s->caught_up = l->all.waiting && l->durable.waiting;
    s->position = l->all.cursor.position;
    s->durable_position = l->durable.cursor.position;
    const struct recovery *r = l->d->wiring->recovery;
    s->verified = l->verified || !r || r->empty;
    s->lost_ranges = l->all.cursor.lost_ranges;
    s->lost_bytes = l->all.cursor.lost_bytes;
    s->inconsistent = l->all.count.inconsistent;
    probe_rdb(l);
    s->rdb_position = l->rdb_position;
    s->rdb_counted = l->rdb_counted;
    s->rdb_taken = l->rdb_taken;
    s->rdb_refused = l->rdb_refused;
    s->rdb_buffered = l->rdb_buffered;
    s->diff_rdb = (int64_t)(l->rdb_counted - l->rdb_taken - l->rdb_refused - l->rdb_buffered);
    uint64_t counted = rows_of(&l->all.count) - l->all.rows_base;
    uint64_t made = load_relaxed(&st->counter[COUNTER_APPEND_ROWS]);
    int64_t off = l->all.based ? outside(counted, b.rows, made) : 0;
    s->rows_counted = l->all.based ? counted : made;
    s->rows_made = l->all.based ? counted - (uint64_t)off : made;
    s->n_feeds = l->all.based ? st->n_feeds : 0;
    for (uint32_t k = 0; k < s->n_feeds; k++) {
        struct feed_entry *f = &s->feed[k];
        snprintf(f->name, sizeof f->name, "%s", st->feeds[k].name);
        for (uint32_t i = 0; i < l->all.count.count && i < LEDGER_SESSIONS; i++) {
            char name[32];
            symbol_text(&l->all, l->all.count.session[i].feed, name, sizeof name);
            if (!strcmp(name, f->name))
                f->rows += l->all.count.session[i].rows - l->all.base_rows[i];
        }
        uint64_t now = handed(&st->feeds[k]);
        f->diff = -outside(f->rows, b.handed[k], now);
        f->handed = f->rows + (uint64_t)f->diff;
    }
    for (uint32_t i = 0; i < l->all.count.count && s->n < LEDGER_SESSIONS; i++) {
        const struct ledger_session *x = &l->all.count.session[i];
        struct entry *e = &s->entry[s->n++];
        symbol_text(&l->all, x->feed, e->feed, sizeof e->feed);
        symbol_text(&l->all, x->session, e->session, sizeof e->session);
        e->journaled = x->on_time + x->late;
        e->late = x->late;
        e->gaps = x->gap_seqs - x->late;
        const struct ledger_session *y = ledger_find(&l->durable.count, x->feed, x->session);
        size_t k = y ? (size_t)(y - l->durable.count.session) : LEDGER_SESSIONS;
        uint64_t base = k < LEDGER_SESSIONS ? l->durable.base[k] : 0;
        e->at_durable = y ? total_of(y) : 0;
        e->flying = total_of(x) - e->at_durable;
        /* The log counts from this process's start, we from the day's first file. */
        e->durable = log_durable(l, x->feed, x->session) + base;
        e->diff_durable =
            outside(e->at_durable, k < LEDGER_SESSIONS ? b.durable[k] + base : 0, e->durable);
        const struct status_session *w = session_of(st, e->feed, e->session);
        if (!w)
            continue;
        uint64_t first = load_relaxed(&w->first), next = load_relaxed(&w->next),
                 high = load_relaxed(&w->high);
        e->known = true;
        e->wire = high > first ? high - first : 0;
        e->waiting = high > next ? high - next : 0;
        uint64_t before = (size_t)(w - st->sessions) < n ? b.next[w - st->sessions] : first;
        e->diff_wire = -outside(x->on_time + x->gap_seqs, before - first, next - first);
    }
    pthread_mutex_lock(&l->lock);
    l->snap = *s;
    pthread_mutex_unlock(&l->lock);
}

/* What recovery left unread for a quick start is read through behind it, a MiB at a time. What is
 * found is journaled by control, then copied to quarantine. */
static int verify_log(struct ledger *l)
{
    struct recovery *r = l->d->wiring->recovery;
    uint32_t done;
    if (!r || r->empty || l->d->replay)
        return 0;
    if (wiring_late_done(l->d, &done))
        recovery_keep(r, &r->damage[done]);
    if (l->verified && l->told == r->damages)
        return 0;
    if (!l->verified)
        l->verified = recovery_verify_rest(r, 1u << 20);
    for (; l->told < r->damages; l->told++) {
        const struct recovery_damage *x = &r->damage[l->told];
        char text[2 * CURSOR_PATH + 400];
        if (!x->late || x->kind == PST_TORN)
            continue; /* the start has dealt with it, and with the tails it may touch */
        if (x->kind != PST_UNREADABLE && !wiring_late_found(l->d, l->told))
            break;
        if (x->expected)
            continue;
        recovery_tell(r, x, text, sizeof text);
        fprintf(stderr, "penstockd: %s\n", text);
        alarm_signal(l->d->status, ALARM_LOG_DAMAGE);
    }
    return 1;
}

static int ledger_work(void *arg)
{
    struct ledger *l = arg;
    int n = follow(l, &l->all, ROUND_FRAMES) + follow(l, &l->durable, ROUND_FRAMES);
    int64_t now = clock_monotonic();
    if (pst_unlikely(l->facts.error && !l->facts_told)) {
        l->facts_told = true;
        fprintf(stderr, "penstockd: %s: %s; the next start will search the log instead\n",
                l->facts.path, strerror(-l->facts.error));
    }
    if (now - l->snap_at >= SNAP_NS || load_relaxed(&l->wanted)) {
        store_relaxed(&l->wanted, false);
        l->snap_at = now;
        take_snapshot(l);
    }
    return n + (n ? 0 : verify_log(l));
}

static const struct thread_ops ledger_ops = {.work = ledger_work};

struct ledger *ledger_open(struct daemon *d, int32_t from_day, struct err *err)
{
    struct ledger *l = calloc(1, sizeof *l);
    if (!l) {
        err_set(err, -ENOMEM, "ledger: no memory");
        return NULL;
    }
    l->d = d;
    l->start = d->ring.head->start;
    pthread_mutex_init(&l->lock, NULL);
    l->io = io_posix_create(err);
    if (!l->io || !follower_open(&l->all, l, CURSOR_COMMITTED, from_day, err)) {
        io_destroy(l->io);
        free(l);
        return NULL;
    }
    if (!follower_open(&l->durable, l, CURSOR_DURABLE, from_day, err)) {
        follower_close(&l->all);
        io_destroy(l->io);
        free(l);
        return NULL;
    }
    facts_open(&l->facts, l->io, d->config->state_directory);
    if (d->replay)
        facts_lost(&l->facts);
    return l;
}

bool ledger_start(struct ledger *l, struct err *err)
{
    const struct topo_thread *t = topo_thread("ledger");
    thread_define(&l->thread, l->d->status, t->name, &ledger_ops, l, &l->d->clock, WAIT_DOZE,
                  t->nice, (int)l->d->config->cpus.ledger);
    return thread_start(&l->thread, err);
}

bool ledger_settle(struct ledger *l, int64_t deadline_ns)
{
    int64_t end = clock_monotonic() + deadline_ns;
    for (;;) {
        pthread_mutex_lock(&l->lock);
        bool done = l->snap.caught_up && l->snap.position >= ring_tail(&l->d->ring) &&
                    l->snap.durable_position >= ring_tail(&l->d->ring);
        pthread_mutex_unlock(&l->lock);
        if (done || clock_monotonic() > end)
            return done;
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
}

void ledger_stop(struct ledger *l)
{
    thread_stop(&l->thread);
}

void ledger_close(struct ledger *l)
{
    if (!l)
        return;
    follower_close(&l->all);
    follower_close(&l->durable);
    facts_close(&l->facts);
    io_destroy(l->io);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- what people see ---- */

static void line(json_t *out, const char *text)
{
    json_array_append_new(out, json_string(text));
}

/*
 * Which hop lost something. What the appender lost is missing behind it everywhere, so the first of
 * these that fails is the one: rows made but not in the journal (appender), messages handed over
 * that made no row (decoder), sequences passed by that were never handed over (feed), journal
 * frames that no file took (log).
 */
static const char *hop_of(const struct snapshot *s)
{
    if (s->diff_packets)
        return "rx";
    if (s->rows_made != s->rows_counted)
        return "appender";
    for (unsigned i = 0; i < s->n_feeds; i++)
        if (s->feed[i].diff)
            return "decoder";
    for (unsigned i = 0; i < s->n; i++)
        if (s->entry[i].diff_wire)
            return "feed";
    for (unsigned i = 0; i < s->n; i++)
        if (s->entry[i].diff_durable)
            return "log";
    return s->inconsistent ? "journal" : s->diff_rdb ? "rdb" : NULL;
}

static bool entry_lines(json_t *out, const struct entry *e)
{
    char text[320], name[112];
    snprintf(name, sizeof name, "%s %s", e->feed, e->session);
    if (e->known) {
        snprintf(text, sizeof text, "%-20s wire %s - journaled %s - gaps %s - waiting %s = %s%s%s",
                 name, print_count((int64_t)e->wire), print_count((int64_t)e->journaled),
                 print_count((int64_t)e->gaps), print_count((int64_t)e->waiting),
                 print_count(e->diff_wire), e->diff_wire ? "  <- missing in the journal" : "", "");
        line(out, text);
    }
    snprintf(text, sizeof text, "%-20s counted %s - durable %s - flying %s = %s%s",
             e->known ? "" : name, print_count((int64_t)(e->at_durable + e->flying)),
             print_count((int64_t)(e->at_durable - (uint64_t)e->diff_durable)),
             print_count((int64_t)e->flying), print_count(e->diff_durable),
             e->diff_durable ? "  <- missing in the log" : "");
    line(out, text);
    return !e->diff_wire && !e->diff_durable;
}

static void port_lines(json_t *out, const struct status *st, const struct snapshot *s)
{
    char text[256];
    for (unsigned i = 0; i < st->n_ports; i++) {
        const struct status_port *p = &st->ports[i];
        uint64_t device = load_relaxed(&p->device_packets), t = load_relaxed(&p->taken);
        snprintf(text, sizeof text, "port %-15s device %s - taken %s = %s; NIC lost %s before us",
                 p->name, print_count((int64_t)device), print_count((int64_t)t),
                 print_count((int64_t)(device - t)),
                 print_count((int64_t)(load_relaxed(&p->missed) + load_relaxed(&p->nombuf))));
        line(out, text);
    }
    if (!st->n_ports)
        return;
    snprintf(text, sizeof text, "%-20s taken %s - for feeds %s - not for us %s = %s%s", "packets",
             print_count((int64_t)s->packets), print_count((int64_t)s->for_feeds),
             print_count((int64_t)s->not_ours), print_count(s->diff_packets),
             s->diff_packets ? "  <- neither fed nor counted" : "");
    line(out, text);
}

/* A snapshot taken after the call; the last one should the ledger thread not answer at once. */
static void fresh(struct ledger *l, struct snapshot *s)
{
    int64_t asked = clock_monotonic();
    store_relaxed(&l->wanted, true);
    do {
        pthread_mutex_lock(&l->lock);
        *s = l->snap;
        pthread_mutex_unlock(&l->lock);
        if (s->at < asked)
            nanosleep(&(struct timespec){0, 500000}, NULL);
    } while (s->at < asked && clock_monotonic() - asked < NS_PER_S / 2 &&
             load_relaxed(&l->thread.status->state) == THREAD_RUN);
}

static bool balances(const struct snapshot *s)
{
    return s->caught_up && !hop_of(s);
}

json_t *ledger_json(struct ledger *l, bool verify, struct err *err)
{
    static struct snapshot s;
    if (verify) {
        err_set(err, -EINVAL, "--verify recounts the files in the CLI, not in the daemon");
        return NULL;
    }
    /* Three owners' figures in motion: only a difference that stays is one. */
    for (int i = 0; i < 5; i++) {
        fresh(l, &s);
        if (balances(&s))
            break;
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    json_t *lines = json_array(), *sessions = json_array();
    bool ok = true;
    port_lines(lines, l->d->status, &s);
    for (unsigned i = 0; i < s.n; i++) {
        const struct entry *e = &s.entry[i];
        ok &= entry_lines(lines, e);
        json_array_append_new(
            sessions,
            json_pack("{s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "feed", e->feed,
                      "session", e->session, "known", e->known, "wire", (json_int_t)e->wire,
                      "journaled", (json_int_t)e->journaled, "late", (json_int_t)e->late, "gaps",
                      (json_int_t)e->gaps, "waiting", (json_int_t)e->waiting, "at_durable",
                      (json_int_t)e->at_durable, "durable", (json_int_t)e->durable, "flying",
                      (json_int_t)e->flying, "diff_wire", (json_int_t)e->diff_wire, "diff_durable",
                      (json_int_t)e->diff_durable));
    }
    char text[256];
    int64_t rows = (int64_t)(s.rows_made - s.rows_counted);
    snprintf(text, sizeof text, "%-20s appended %s - found in the journal %s = %s%s", "rows",
             print_count((int64_t)s.rows_made), print_count((int64_t)s.rows_counted),
             print_count(rows), rows ? "  <- missing in the journal" : "");
    line(lines, text);
    for (unsigned i = 0; i < s.n_feeds; i++) {
        const struct feed_entry *f = &s.feed[i];
        snprintf(text, sizeof text, "%-20s handed to the decoder %s - rows in the journal %s = %s",
                 f->name, print_count((int64_t)f->handed), print_count((int64_t)f->rows),
                 print_count(f->diff));
        line(lines, text);
    }
    if (s.rdb_position) {
        struct day_rdb_figures f;
        day_rdb_figures(l->d->days, &f);
        char buffered[48] = "";
        if (s.rdb_buffered)
            snprintf(buffered, sizeof buffered, " - in buffers %s",
                     print_count((int64_t)s.rdb_buffered));
        snprintf(text, sizeof text,
                 "%-20s journaled %s - in memory %s - in the log only %s%s = %s%s", "rdb",
                 print_count((int64_t)s.rdb_counted), print_count((int64_t)s.rdb_taken),
                 print_count((int64_t)s.rdb_refused), buffered, print_count(s.diff_rdb),
                 s.diff_rdb ? "  <- missing in memory" : "");
        if (f.behind > (1u << 20))
            snprintf(text + strlen(text), sizeof text - strlen(text), "; %s behind",
                     print_bytes((int64_t)f.behind));
        line(lines, text);
    }
    const char *hop = hop_of(&s);
    if (l->d->days && !day_ledger(l->d->days, lines) && !hop)
        hop = "writedown";
    ok &= !hop;
    if (hop && s.caught_up) {
        snprintf(text, sizeof text, "%-20s messages were lost in the %s", "", hop);
        line(lines, text);
    }
    if (s.lost_ranges) {
        snprintf(text, sizeof text, "%-20s %s ranges of %s stand in no file", "journal",
                 print_count((int64_t)s.lost_ranges), print_bytes((int64_t)s.lost_bytes));
        line(lines, text);
    }
    line(lines, !s.caught_up ? "the ledger is still counting (catching up with the journal)"
                : ok         ? "ledger balances"
                             : "LEDGER DOES NOT BALANCE");
    return json_pack("{s:s?,s:b,s:b,s:I,s:I,s:I,s:I,s:{s:I,s:I,s:I,s:I,s:I,s:I},s:o,s:o}", "hop",
                     s.caught_up ? hop : NULL, "balanced", ok && s.caught_up, "caught_up",
                     s.caught_up, "position", (json_int_t)s.position, "durable_position",
                     (json_int_t)s.durable_position, "rows", (json_int_t)s.rows_counted,
                     "diff_rows", (json_int_t)rows, "rdb", "position", (json_int_t)s.rdb_position,
                     "counted", (json_int_t)s.rdb_counted, "taken", (json_int_t)s.rdb_taken,
                     "refused", (json_int_t)s.rdb_refused, "buffered", (json_int_t)s.rdb_buffered,
                     "diff", (json_int_t)s.diff_rdb, "sessions", sessions, "lines", lines);
}

json_t *ledger_brief(struct ledger *l)
{
    json_t *out = json_array();
    if (!l)
        return out;
    char text[ALARMS_TEXT];
    bool ok = ledger_check(l, text, sizeof text);
    json_array_append_new(out, json_pack("{s:s}", "line", ok ? "ledger balances" : text));
    return out;
}

void ledger_certificate(struct ledger *l, int32_t day)
{
    struct err err = {0};
    const struct daemon *d = l->d;
    char date[CIVIL_TEXT], path[1100], now[CIVIL_STAMP_TEXT];
    json_t *o = ledger_json(l, false, &err);
    civil_format(day, date);
    json_object_set_new(o, "instance", json_string(d->config->instance));
    json_object_set_new(o, "day", json_string(date));
    json_object_set_new(o, "written", json_string(civil_format_stamp(clock_now(&d->clock), now)));
    char *text = json_dumps(o, JSON_INDENT(1) | JSON_SORT_KEYS);
    bool balanced = json_is_true(json_object_get(o, "balanced"));
    json_decref(o);
    snprintf(path, sizeof path, "%s/ledger%s.json", d->config->state_directory, date);
    char done[80], *sealed = NULL;
    snprintf(done, sizeof done, "end of day %s: the ledger %s", date,
             balanced ? "balances" : "does NOT balance");
    if (text && asprintf(&sealed, "%s\n{\"crc32c\":\"%08x\"}\n", text,
                         crc32c(0xFFFFFFFFu, text, strlen(text))) > 0)
        disks_write(d->disks, path, sealed, done);
    free(sealed);
    free(text);
}

bool ledger_past(struct ledger *l, uint64_t position)
{
    pthread_mutex_lock(&l->lock);
    bool past =
        l->snap.verified && l->snap.position >= position && l->snap.durable_position >= position;
    pthread_mutex_unlock(&l->lock);
    return past;
}

uint64_t ledger_counted(const struct ledger *l)
{
    return load_acquire(&l->counted);
}

uint64_t ledger_behind(struct ledger *l)
{
    pthread_mutex_lock(&l->lock);
    uint64_t at = l->snap.position, began = l->snap.at;
    bool caught_up = l->snap.caught_up;
    pthread_mutex_unlock(&l->lock);
    uint64_t tail = ring_tail(&l->d->ring);
    return !began || caught_up || at > tail ? 0 : tail - at;
}

bool ledger_check(struct ledger *l, char *text, size_t cap)
{
    static struct snapshot s;
    pthread_mutex_lock(&l->lock);
    s = l->snap;
    pthread_mutex_unlock(&l->lock);
    const char *hop = hop_of(&s);
    if (!hop && l->d->days && !day_ledger(l->d->days, NULL))
        hop = "writedown";
    bool wrong = hop != NULL;
    if (wrong)
        snprintf(text, cap, "messages were lost in the %s", hop);
    int64_t now = clock_monotonic();
    if (!wrong || !s.caught_up)
        l->wrong_since = 0;
    else if (!l->wrong_since)
        l->wrong_since = now;
    return !l->wrong_since || now - l->wrong_since < LEDGER_SETTLE_NS;
}
