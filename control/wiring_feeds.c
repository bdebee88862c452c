/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds: framing, decoder, lines, calendar functions; and what recovery knows of their sessions. */
#include <errno.h>
#include "calendar.h"
#include "wiring_framing.h"
#include "wiring_parts.h"

static int32_t day_of(void *arg, int64_t utc)
{
    const struct daemon_feed *f = arg;
    return calendar_local_day(f->config->tz, utc);
}
static int64_t midnight_of(void *arg, int32_t day)
{
    const struct daemon_feed *f = arg;
    return calendar_local_instant(f->config->tz, day, 0);
}
static bool is_open(void *arg, int64_t utc)
{
    const struct daemon_feed *f = arg;
    return hours_open(load_acquire(&f->hours), utc); /* H2: pairs with H1 in wiring_reload */
}

/* Lines as configured; where none are listed, those that the ports' groups name, in that order. */
static bool lines(const struct config *c, const struct config_feed *f, struct feed_config *out,
                  struct err *err)
{
    for (unsigned i = 0; i < f->lines.count; i++) {
        out->line[out->nlines].name = f->lines.at[i].name;
        out->line[out->nlines++].role =
            f->lines.at[i].role == CONFIG_LINE_RETRANSMISSION ? LINE_RETRANSMISSION : LINE_NORMAL;
    }
    for (unsigned p = 0; !f->lines.count && p < c->ports.count; p++)
        for (unsigned g = 0; g < c->ports.at[p].groups.count; g++) {
            const struct config_group *x = &c->ports.at[p].groups.at[g];
            bool known = strcmp(x->feed, f->name) != 0;
            for (unsigned i = 0; i < out->nlines; i++)
                known |= !strcmp(out->line[i].name, x->line);
            if (known)
                continue;
            if (out->nlines == FEED_LINES)
                return err_set(err, -E2BIG, "%s:%d: feed %s: more than %d lines", c->file,
                               f->file_line, f->name, FEED_LINES);
            out->line[out->nlines].name = x->line;
            out->line[out->nlines++].role = LINE_NORMAL;
        }
    if (!out->nlines) { /* a feed that no port serves yet (`group add` may) */
        out->line[0].name = "A";
        out->nlines = 1;
    }
    return true;
}

static const struct framing *framing_of(struct daemon *d, unsigned i, struct err *err)
{
    const struct config_feed *f = &d->config->feeds.at[i];
    const struct config_framing *own = config_framing_named(d->config, f->framing);
    if (!own)
        return framing_find(f->framing);
    return wiring_framing(d->config, own, &d->wiring->framing[i], err) ? &d->wiring->framing[i]
                                                                       : NULL;
}

static uint32_t largest_mtu(const struct config *c)
{
    int64_t mtu = 1500;
    for (unsigned i = 0; i < c->ports.count; i++)
        mtu = c->ports.at[i].mtu > mtu ? c->ports.at[i].mtu : mtu;
    return (uint32_t)mtu;
}

bool wiring_feeds(struct daemon *d, struct err *err)
{
    const struct config *c = d->config;
    if (c->feeds.count > STATUS_FEEDS)
        return err_set(err, -E2BIG, "%s: more than %u feeds", c->file, STATUS_FEEDS);
    bool split = false;
    for (unsigned i = 0; i < c->feeds.count; i++)
        split |= wiring_feed_split(d, &c->feeds.at[i]);
    for (unsigned i = 0; i < c->feeds.count; i++) {
        const struct config_feed *f = &c->feeds.at[i];
        struct feed_config fc = {
            .name = f->name,
            .decoder = wiring_decoder(f),
            .window_count = (uint32_t)f->window_count,
            .window_bytes = (uint64_t)f->window_bytes,
            .window_ns = f->window_time,
            .reorder_ns = -1,
            .silence_ns = f->silence,
            .max_sessions = (uint32_t)f->max_sessions,
            .room_reserve = rx_worst_split(largest_mtu(c), split),
            .calendar = (uint8_t)f->calendar,
            .fixed_date = f->date == CONFIG_UNSET ? -1 : (int32_t)f->date,
            .day_of = day_of,
            .midnight_of = midnight_of,
            .open = is_open,
            .arg = &d->feeds[i],
        };
        d->feeds[i].config = f;
        store_relaxed(&d->feeds[i].hours, &f->open_hours);
        struct err why = {0};
        fc.framing = framing_of(d, i, &why);
        if (!fc.framing)
            return err_set(err, -EINVAL, "%s", why.text[0] ? why.text : "unknown framing");
        if (!lines(c, f, &fc, err))
            return false;
        for (unsigned k = 0; fc.decoder && k < fc.decoder->ntables; k++)
            fc.tables[k] = schema_set_find(d->schemas, fc.decoder->tables[k].name);
        fc.home = feed_home(fc.decoder, fc.tables, schema_set_find(d->schemas, "undecoded"),
                            d->wiring->appender.cfg.stream_of);
        struct daemon_feed *x = &d->feeds[i];
        x->feed = feed_open(&fc, d->status, i, err);
        if (!x->feed)
            return false;
        d->nfeeds = i + 1;
        d->status->n_feeds = d->nfeeds;
    }
    return true;
}

int wiring_line(const struct daemon *d, unsigned feed, const char *name)
{
    const struct status_feed *f = &d->status->feeds[feed];
    for (unsigned i = 0; i < f->nlines; i++)
        if (!strcmp(f->line[i].name, name))
            return (int)i;
    return -1;
}

/* Since midnight: of the day that puts it nearest to when it came. */
static int64_t of_day(const struct tzone *zone, int64_t since, int64_t rx)
{
    int64_t best = 0, off = INT64_MAX;
    int64_t local = rx / PST_SECOND_NS + PST_EPOCH_OFFSET_S;
    local += tzone_offset(zone, local);
    for (int day = -1; day <= 1; day++) {
        int64_t midnight = (civil_floor_div(local, 86400) + day) * 86400;
        int64_t t = (tzone_to_utc(zone, midnight) - PST_EPOCH_OFFSET_S) * PST_SECOND_NS + since;
        if (llabs(t - rx) < off) {
            off = llabs(t - rx);
            best = t;
        }
    }
    return best;
}

int64_t wiring_sent(const struct daemon *d, unsigned feed, const struct status_line *l)
{
    static const int64_t unit[] = {
        [CONFIG_NS] = 1, [CONFIG_US] = NS_PER_US, [CONFIG_MS] = NS_PER_MS, [CONFIG_S] = NS_PER_S};
    const struct config_feed *f = d->feeds[feed].config;
    const struct config_framing *x = config_framing_named(d->config, f->framing);
    const struct config_send_time builtin = {
        .unit = CONFIG_NS, .epoch = CONFIG_EPOCH_UNIX, .fraction_at = -1};
    const struct config_send_time *t = x ? &x->send_time : &builtin;
    uint64_t raw = load_relaxed(&l->send_time);
    int64_t fraction = 0, ns;
    if (t->fraction_at >= 0) {
        fraction = (int64_t)(uint32_t)raw;
        raw >>= 32;
    }
    if (!raw || raw > INT64_MAX || __builtin_mul_overflow((int64_t)raw, unit[t->unit], &ns) ||
        ns > INT64_MAX - UINT32_MAX)
        return 0;
    ns += fraction;
    return t->epoch == CONFIG_EPOCH_UNIX ? ns - PST_EPOCH_OFFSET_S * PST_SECOND_NS
                                         : of_day(f->tz, ns, load_relaxed(&l->send_rx));
}
