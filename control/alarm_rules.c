/* SPDX-License-Identifier: Apache-2.0 */
#include "alarm_rules.h"
#include "core/clock.h"
#include "day.h"
#include "error_log.h"
#include "disks.h"
#include "hooks.h"
#include "loading.h"
#include "ledger.h"
#include "publish/kdb_live.h"
#include "publish/server.h"
#include "wiring.h"
#include "rtp/rtp.h"
#include "upstream.h"

#define MINUTE (60 * NS_PER_S)

/* Did a total move since the last look? The first look only notes it. */
static bool moved(uint64_t *last, uint64_t now, bool first)
{
    bool m = !first && now != *last;
    *last = now;
    return m;
}

static void feed_rules(struct alarm_rules *r, struct daemon *d, unsigned f, int64_t now, bool first)
{
    struct alarms *a = &d->alarms;
    const struct status_feed *s = &d->status->feeds[f];
    const struct config_feed *c = d->feeds[f].config;
    bool open = hours_open(load_acquire(&d->feeds[f].hours), now);
    uint32_t state = load_relaxed(&s->state);
    bool silent = open && state == FEED_SILENT;
    int64_t hold = d->config->alarms.clear_after;
    alarm_check(a, now, ALARM_FEED_SILENT, s->name, silent, 0, "nothing arrives on any line");
    for (unsigned l = 0; l < s->nlines; l++) {
        const struct status_line *x = &s->line[l];
        char subject[ALARMS_SUBJECT];
        snprintf(subject, sizeof subject, "%s %s", s->name, x->name);
        int64_t last = load_relaxed(&x->last_rx);
        uint32_t ls = load_relaxed(&x->state);
        char since[64] = "nothing arrived since the start"; /* last_rx 0: never */
        if (last)
            snprintf(since, sizeof since, "silent for %lld s",
                     (long long)((now - last) / NS_PER_S));
        alarm_check(a, now, ALARM_LINE_SILENT, subject,
                    open && !silent && ls == LINE_SILENT && state == FEED_LIVE, 0,
                    "%s; the other lines carry the feed", since);
        alarm_check(a, now, ALARM_LINE_IMBALANCE, subject, r->imbalance[f][l], hold,
                    "lost more than %lld times what the best line lost within a minute",
                    (long long)d->config->alarms.line_loss_ratio);
    }
    uint64_t gaps = load_relaxed(&s->gaps);
    alarm_check(a, now, ALARM_FEED_GAP, s->name, moved(&r->gaps[f], gaps, first), MINUTE,
                "%llu gaps of %llu messages since the start", (unsigned long long)gaps,
                (unsigned long long)(load_relaxed(&s->gap_seqs) - load_relaxed(&s->late_seqs)));
    alarm_check(a, now, ALARM_FEED_GAPS, s->name,
                gaps - r->minute_gaps[f] >= (uint64_t)d->config->alarms.gaps_per_minute && !first,
                MINUTE, "%llu gaps within a minute",
                (unsigned long long)(gaps - r->minute_gaps[f]));
    uint64_t divergent = load_relaxed(&s->divergent);
    alarm_check(a, now, ALARM_FEED_DIVERGENT, s->name, moved(&r->divergent[f], divergent, first),
                MINUTE, "%llu messages differed between lines", (unsigned long long)divergent);
    uint64_t undecoded = load_relaxed(&s->undecoded_unknown) + load_relaxed(&s->undecoded_length) +
                         load_relaxed(&s->undecoded_symbol);
    alarm_check(a, now, ALARM_FEED_UNDECODED, s->name,
                moved(&r->undecoded[f], undecoded, first) && c->decoder != CONFIG_DECODE_NONE,
                MINUTE, "%llu messages went to undecoded", (unsigned long long)undecoded);
}

static void minute_rules(struct alarm_rules *r, struct daemon *d, int64_t now)
{
    if (now - r->minute_at < MINUTE)
        return;
    bool first = !r->minute_at;
    r->minute_at = now;
    for (unsigned f = 0; f < d->nfeeds; f++) {
        const struct status_feed *s = &d->status->feeds[f];
        uint64_t delta[STATUS_LINES], best = UINT64_MAX;
        r->minute_gaps[f] = load_relaxed(&s->gaps);
        for (unsigned l = 0; l < s->nlines; l++) {
            uint64_t lost = load_relaxed(&s->line[l].lost);
            delta[l] = lost - r->lost[f][l];
            r->lost[f][l] = lost;
            best = delta[l] < best ? delta[l] : best;
        }
        /* below 100 a minute a ratio says nothing */
        for (unsigned l = 0; l < s->nlines; l++)
            r->imbalance[f][l] = !first && s->nlines > 1 && delta[l] >= 100 &&
                                 delta[l] > best * (uint64_t)d->config->alarms.line_loss_ratio;
    }
}

static void log_rules(struct alarm_rules *r, struct daemon *d, int64_t now, bool first)
{
    struct alarms *a = &d->alarms;
    const struct status *s = d->status;
    const struct config *c = d->config;
    int64_t hold = c->alarms.clear_after;
    uint64_t free_bytes = load_relaxed(&s->log_free);
    int64_t margin = alarm_raised(a, ALARM_LOG_SPACE, "") ? c->log_low_space / 10 : 0;
    alarm_check(a, now, ALARM_LOG_SPACE, "",
                free_bytes && free_bytes < (uint64_t)(c->log_low_space + margin), 0,
                "%llu MiB free in %s", (unsigned long long)(free_bytes >> 20), c->log_directory);
    int e = load_relaxed(&s->log_errno);
    int64_t oldest = load_relaxed(&s->log_oldest), age = oldest && !d->replay ? now - oldest : 0;
    alarm_check(a, now, ALARM_LOG_STALLED, "", e || age > NS_PER_S, hold,
                "%s; oldest unwritten byte %lld ms",
                e ? strerror(e) : "the disk does not answer in time", (long long)(age / NS_PER_MS));
    alarm_check(a, now, ALARM_LOG_LAG, "", age > c->alarms.durable_lag, hold,
                "the oldest frame that is not safe is %lld ms old", (long long)(age / NS_PER_MS));
    alarm_check(
        a, now, ALARM_LOG_POISONED, "",
        moved(&r->poisoned, load_relaxed(&s->counter[COUNTER_LOG_POISONED]), first), MINUTE,
        "a log file was given up after a failed write; what was not durable went to a fresh one");
    const struct ring_head *h = d->ring.head;
    uint64_t used = load_acquire(&h->tail) - load_relaxed(&h->guard), size = ring_size(&d->ring);
    alarm_check(a, now, ALARM_RING_FILLING, "",
                used > size / 100 * (uint64_t)c->alarms.ring_used && !d->replay, hold,
                "%llu of %llu MiB wait for the log", (unsigned long long)(used >> 20),
                (unsigned long long)(size >> 20));
    uint32_t symbols = symbols_count(&d->symbols);
    alarm_check(a, now, ALARM_SYMBOLS_FILLING, "",
                symbols > (uint64_t)c->symbols_max * (uint64_t)c->alarms.symbols_used / 100, 0,
                "%u of %lld symbols", symbols, (long long)c->symbols_max);
}

/* Conditions that a thread saw and signalled. */
static void signal_rules(struct alarm_rules *r, struct daemon *d, int64_t now, bool first)
{
    static const struct {
        enum alarm code;
        int64_t hold;
        const char *text;
    } rules[] = {
        {ALARM_RING_FULL, MINUTE, "ports were not polled for want of room in the ring"},
        {ALARM_INJECT_FULL, MINUTE, "an rx lcore waited for its inject ring"},
        {ALARM_SYMBOLS_FULL, INT64_MAX, "a new symbol was refused"},
        {ALARM_LOG_GAVE_UP, MINUTE, "the oldest data in the ring was given up; gap rows say which"},
        {ALARM_LOG_SPILL, MINUTE, "the log is written to spill_directory"},
        {ALARM_BUFFER_LIMIT, INT64_MAX, "a buffering event is at buffer_limit"},
        {ALARM_LOG_DAMAGE, INT64_MAX, "bytes that had been durable are missing or damaged"},
    };
    for (unsigned i = 0; i < PST_COUNT(rules); i++) {
        enum alarm code = rules[i].code;
        uint32_t n = load_relaxed(&d->status->alarm_signal[code]);
        bool saw = n != r->signal[code] && (!first || code == ALARM_LOG_DAMAGE);
        r->signal[code] = n;
        alarm_check(&d->alarms, now, code, "", saw, rules[i].hold, "%s", rules[i].text);
    }
}

static void missed_rules(struct daemon *d, int64_t now, bool first)
{
    for (unsigned i = 0; i < wiring_calendars(d); i++) {
        int32_t from = 0, to = 0;
        char a[CIVIL_TEXT], b[CIVIL_TEXT];
        bool missed = first && wiring_missed(d, i, &from, &to);
        alarm_check(&d->alarms, now, ALARM_DATES_MISSED, config_calendar(d->config, i)->name,
                    missed, INT64_MAX, "%s to %s passed while nothing ran", civil_format(from, a),
                    civil_format(to, b));
    }
}

static void upstream_rules(struct daemon *d, int64_t now, int64_t mono)
{
    struct upstream_trouble t;
    if (!d->upstream)
        return;
    upstream_trouble(d, &t);
    alarm_check(&d->alarms, now, ALARM_UPSTREAM_DOWN, "", t.down && mono - t.since > NS_PER_S, 0,
                "%s: %s", d->config->subscription_channel ? d->config->subscription_channel : "",
                *t.why ? t.why : "not connected yet");
    alarm_check(&d->alarms, now, ALARM_UPSTREAM_TABLE, "", *t.tables != 0, 0, "%s", t.tables);
    alarm_check(&d->alarms, now, ALARM_CHANNEL_UNREGISTERED, "", *t.channel != 0, 0, "%s",
                t.channel);
}

void alarm_rules_run(struct alarm_rules *r, struct daemon *d)
{
    const struct status *s = d->status;
    int64_t now = clock_now(&d->clock), mono = clock_monotonic();
    bool first = !r->at;
    r->at = mono;
    minute_rules(r, d, mono);
    for (unsigned f = 0; f < d->nfeeds; f++)
        feed_rules(r, d, f, now, first);
    for (unsigned p = 0; p < s->n_ports; p++) {
        const struct status_port *x = &s->ports[p];
        alarm_check(&d->alarms, now, ALARM_PORT_LINK, x->name, load_relaxed(&x->link) == 0, 0,
                    "no link on %s", x->device);
        uint64_t lost = load_relaxed(&x->missed) + load_relaxed(&x->nombuf);
        alarm_check(&d->alarms, now, ALARM_PORT_DROPS, x->name, moved(&r->missed[p], lost, first),
                    MINUTE, "%llu packets lost before we could take them",
                    (unsigned long long)lost);
    }
    log_rules(r, d, now, first);
    signal_rules(r, d, now, first);
    missed_rules(d, now, first);
    upstream_rules(d, now, mono);
    rtp_alarms(d, &d->alarms, now, 0);
    uint64_t errors = load_relaxed(&s->counter[COUNTER_ERRORS_LOGGED]) +
                      load_relaxed(&s->counter[COUNTER_ERRORS_LOST]);
    char path[ALARMS_TEXT / 2];
    error_log_path(d->errors, path, sizeof path);
    alarm_check(&d->alarms, now, ALARM_UPDATE_ERROR, "", moved(&r->errors, errors, first), MINUTE,
                "%llu updates could not be processed since the start; see %s",
                (unsigned long long)errors, path);
    alarm_check(&d->alarms, now, ALARM_CLOCK_STEP, "",
                moved(&r->steps, load_relaxed(&d->clock.steps), first), MINUTE,
                "the wall clock was stepped by %lld us",
                (long long)(load_relaxed(&d->clock.step) / NS_PER_US));
    for (unsigned t = 0; t < s->n_threads; t++) {
        const struct status_thread *x = &s->threads[t];
        int64_t age = mono - load_relaxed(&x->heartbeat);
        /* one step of it may be a sync of gigabytes */
        int64_t limit = !strcmp(x->name, "writedown") ? MINUTE : 2 * NS_PER_S;
        if (!strcmp(x->name, "upstream")) /* names that are looked up, logs that are read */
            limit = MINUTE;
        if (!strncmp(x->name, "disk-", 5))
            continue; /* disk.hung */
        alarm_check(&d->alarms, now, ALARM_THREAD_STUCK, x->name,
                    load_relaxed(&x->state) == THREAD_RUN && age > limit, 0,
                    "no heartbeat for %lld ms", (long long)(age / NS_PER_MS));
    }
    alarm_check(&d->alarms, now, ALARM_STATE_DISK, "", disks_lease_failed(d->disks), 0,
                "the lease in %s could not be renewed", d->config->state_directory);
    if (d->disks)
        disks_alarms(d->disks, &d->alarms, now);
    uint64_t behind = d->ledger ? ledger_behind(d->ledger) / 64 : 0;
    alarm_check(&d->alarms, now, ALARM_READER_LAG, "ledger",
                behind > (uint64_t)d->config->alarms.cursor_lag && !d->replay,
                d->config->alarms.clear_after, "about %llu messages behind the journal",
                (unsigned long long)behind);
    if (d->days && !d->replay)
        day_alarms(d->days, &d->alarms, now);
    server_alarms(d->server, &d->alarms, now, d->config->alarms.clear_after);
    hooks_alarms(d, now);
    loading_alarms(d, &d->alarms, now);
    kdb_live_look();
    char text[ALARMS_TEXT];
    bool balanced = !d->ledger || ledger_check(d->ledger, text, sizeof text);
    alarm_check(&d->alarms, now, ALARM_LEDGER_IMBALANCE, "", !balanced, 0, "%s",
                balanced ? "" : text);
}
