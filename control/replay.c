/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <ftw.h>
#include <unistd.h>
#include "calendar.h"
#include "print.h"
#include "core/civil.h"
#include "daemon.h"
#include "day.h"
#include "dataplane/pcap_read.h"
#include "figures.h"
#include "ledger.h"
#include "replay.h"
#include "storage/content_hash.h"
#include "storage/cursor.h"
#include "storage/render.h"
#include "wiring_parts.h"

#define NEVER_SILENT (36500 * NS_PER_DAY)

/* The configuration of a replay without one: a single feed on every group. */
static bool make_config(const struct replay_options *o, struct config **out, struct err *err)
{
    static const struct {
        const char *name, *framing, *decoder;
    } presets[] = {{"itch", "moldudp64", "itch50"}, {"iex", "iex-tp", "iex"}};
    const char *framing = o->feed, *decoder = "none";
    if (!o->feed)
        return err_set(err, -EINVAL,
                       "a replay needs --config FILE, or --feed itch, iex or a framing");
    for (unsigned i = 0; i < PST_COUNT(presets); i++)
        if (!strcmp(presets[i].name, o->feed)) {
            framing = presets[i].framing;
            decoder = presets[i].decoder;
        }
    char text[1024];
    int n = snprintf(
        text, sizeof text,
        "instance: replay\nring_size: 64M\nlog_preallocate: 0\nlog_ballast: 0\n"
        "calendar: {zone: America/New_York}\n"
        "ports: [{name: capture, device: none, mtu: 9000, groups: [{group: any, feed: %s}]}]\n"
        "feeds: [{name: %s, framing: %s, decoder: %s, zone: America/New_York}]\n",
        o->feed, o->feed, framing, decoder);
    return n < (int)sizeof text && config_parse("(--feed)", text, (size_t)n, out, err);
}

static bool first_time(const char *file, int64_t *t, struct err *err)
{
    struct pcap_reader *r = pcap_read_open(file, err);
    if (!r)
        return false;
    struct pcap_packet p;
    int k = pcap_read_next(r, &p, err);
    *t = k == 1 ? p.time : 0;
    pcap_read_close(r);
    return k == 1 || (k == 0 && err_set(err, -ENODATA, "%s: holds no packet", file));
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

struct summary {
    struct content_hash hash;
    uint64_t frames, gaps;
};

/* Reads the log that the replay wrote: first rows, hashes. */
static bool read_back(struct daemon *d, const struct replay_options *o, struct summary *s,
                      struct err *err)
{
    struct io *io = io_posix_create(err);
    struct cursor c;
    struct cursor_config cc = {.io = io,
                               .dirs = {d->config->log_directory},
                               .prefix = d->config->log_prefix,
                               .instance = d->instance_id};
    if (!io || !content_hash_init(&s->hash, err) || !cursor_open(&c, &cc, err))
        return false;
    struct render out;
    render_init(&out, RENDER_TEXT);
    out.header = true;
    const struct frame *f;
    enum cursor_verdict v;
    int shown = o->json ? o->rows : 0;
    cursor_seek(&c, d->ring.head->start);
    while ((v = cursor_next(&c, &f)) == CURSOR_FRAME) {
        s->frames++;
        if (!content_hash_frame(&s->hash, &c.dict, f)) {
            v = CURSOR_ERROR;
            err_set(err, -EBADMSG, "the log of this replay cannot be read back");
            break;
        }
        struct record_walk w;
        const struct record *r;
        record_walk_start(&w, f);
        while (shown < o->rows && f->kind == FRAME_DATA && frame_has_rows(f) &&
               (r = record_walk_next(&w))) {
            const struct schema *sc = dictionary_schema(&c.dict, r->table);
            if (sc)
                render_row(&out, &c.dict, sc, f, r, w.packet, record_walk_seq(&w));
            shown++;
        }
    }
    size_t len;
    render_flush(&out);
    const char *t = render_take(&out, &len);
    if (len && !o->json)
        printf("%.*s\n", (int)len, t);
    render_free(&out);
    content_hash_sort(&s->hash);
    bool ok = v == CURSOR_END || v == CURSOR_WAIT;
    if (!ok && !err->text[0])
        err_set(err, -EIO, "%s", c.err.text[0] ? c.err.text : "the log has a hole");
    cursor_close(&c);
    io_destroy(io);
    return ok;
}

/* What became of the dates: a line each, a sentence for one that could not be written. */
static void print_days(struct daemon *d)
{
    json_t *r = day_json(d->days), *days = json_object_get(r, "days"), *e;
    size_t i;
    json_array_foreach(days, i, e)
    {
        if (json_long(e, "rows") || *json_text(e, "error"))
            printf("%s (%s): %s, %s rows in %s %s\n", json_text(e, "day"), json_text(e, "calendar"),
                   json_text(e, "step"), print_count(json_long(e, "rows")), d->config->database,
                   json_text(e, "error"));
    }
    json_t *db = json_object_get(r, "database");
    if (*json_text(db, "error"))
        printf("database not loaded: %s\n", json_text(db, "error"));
    json_decref(r);
}

static void print_text(struct daemon *d, const struct summary *s, json_t *ledger, double seconds,
                       bool keep)
{
    const struct status *st = d->status;
    static const char *const head[] = {"table", "day", ">rows", "content hash"};
    struct print_table t;
    print_table_begin(&t, PST_COUNT(head), head);
    for (uint32_t i = 0; i < s->hash.count; i++) {
        char day[16], hex[33];
        print_table_row(&t, s->hash.sums[i].table, civil_format(s->hash.sums[i].day, day),
                        print_count((int64_t)s->hash.sums[i].rows),
                        content_hash_text(&s->hash.sums[i], hex));
    }
    print_table_end(&t);
    printf("\n");
    for (unsigned f = 0; f < d->nfeeds; f++) {
        const struct status_feed *x = &st->feeds[f];
        uint64_t hb = 0, bad = 0, dup = 0;
        for (unsigned l = 0; l < x->nlines; l++) {
            hb += load_relaxed(&x->line[l].heartbeats);
            bad += load_relaxed(&x->line[l].malformed);
            dup += load_relaxed(&x->line[l].duplicate);
        }
        printf("feed %s: %s messages, %s decoded, %s undecoded, %s heartbeats, %s duplicates, %s "
               "gaps of %s "
               "sequences, %s malformed packets, %s restarts\n",
               x->name, print_count((int64_t)load_relaxed(&x->messages)),
               print_count((int64_t)load_relaxed(&x->decoded)),
               print_count((int64_t)(load_relaxed(&x->undecoded_unknown) +
                                     load_relaxed(&x->undecoded_length) +
                                     load_relaxed(&x->undecoded_symbol))),
               print_count((int64_t)hb), print_count((int64_t)dup),
               print_count((int64_t)load_relaxed(&x->gaps)),
               print_count((int64_t)(load_relaxed(&x->gap_seqs) - load_relaxed(&x->late_seqs))),
               print_count((int64_t)bad), print_count((int64_t)load_relaxed(&x->restarts)));
    }
    size_t i;
    json_t *l;
    json_array_foreach(json_object_get(ledger, "lines"), i, l) printf("%s\n", json_string_value(l));
    uint64_t packets = load_relaxed(&st->counter[COUNTER_RX_PACKETS]);
    if (d->days)
        print_days(d);
    printf("%s packets in %.2f s%s%s\n", print_count((int64_t)packets), seconds,
           keep ? "; log in " : "", keep ? d->config->log_directory : "");
}

static void print_json(struct daemon *d, const struct summary *s, json_t *ledger, double seconds)
{
    json_t *tables = json_array(), *feeds = json_array();
    for (uint32_t i = 0; i < s->hash.count; i++) {
        char day[16], hex[33];
        json_array_append_new(tables, json_pack("{s:s,s:s,s:I,s:s}", "table", s->hash.sums[i].table,
                                                "day", civil_format(s->hash.sums[i].day, day),
                                                "rows", (json_int_t)s->hash.sums[i].rows, "hash",
                                                content_hash_text(&s->hash.sums[i], hex)));
    }
    for (unsigned f = 0; f < d->nfeeds; f++)
        json_array_append_new(feeds, figures_feed(d->status, &d->rates, f));
    json_t *o = json_pack("{s:o,s:o,s:O,s:o,s:f}", "tables", tables, "feeds", feeds, "ledger",
                          ledger, "counters", figures_counters(d->status), "seconds", seconds);
    if (d->days) {
        json_t *r = day_json(d->days);
        json_object_set(o, "days", json_object_get(r, "days"));
        json_object_set(o, "database", json_object_get(r, "database"));
        json_decref(r);
    }
    json_dumpf(o, stdout, JSON_INDENT(1));
    printf("\n");
    json_decref(o);
}

static int fail(const struct err *err, const char *dir, bool temporary)
{
    fprintf(stderr, "penstockd: %s\n", err->text);
    if (temporary)
        nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 2;
}

int replay_run(const struct replay_options *o, struct config *config)
{
    static struct daemon d;
    static char dir[1024], state[1100], log[1100], run[1100];
    struct err err = {0};
    int64_t start = 0;
    int32_t day = 0;
    bool temporary = !o->dir;
    snprintf(dir, sizeof dir, "%s", o->dir ? o->dir : "/tmp/penstock-replay.XXXXXX");
    if (o->nfiles != 1)
        err_set(&err, -EINVAL, "one capture at a time: merge several with mergecap first");
    else if (o->eod && !o->database)
        err_set(&err, -EINVAL, "--eod needs --database DIR");
    else if (!first_time(o->file[0], &start, &err) || (!config && !make_config(o, &config, &err)))
        ;
    else if (!config->ports.count)
        err_set(&err, -EINVAL,
                "the configuration has no port: its groups say which packets of %s are whose; add "
                "one, or use --feed",
                o->file[0]);
    else if (o->date && !civil_parse(o->date, &day))
        err_set(&err, -EINVAL, "--date %s is no date; write 2026-11-23", o->date);
    else if (!o->date && start < 0) {
        char stamp[CIVIL_STAMP_TEXT];
        err_set(&err, -EINVAL,
                "%s: its clock says %.10s, before 2000: give the trading date with --date",
                o->file[0], civil_format_stamp(start, stamp));
    } else if (temporary && !mkdtemp(dir))
        err_set(&err, -errno, "%s: %s", dir, strerror(errno));
    if (err.text[0]) {
        fprintf(stderr, "penstockd: %s\n", err.text);
        return 2;
    }
    snprintf(state, sizeof state, "%s/state", dir);
    snprintf(log, sizeof log, "%s/log", dir);
    snprintf(run, sizeof run, "%s/run", dir);
    config->state_directory = state;
    config->log_directory = log;
    config->run_directory = run;
    config->spill_directory = NULL;
    config->database = o->database; /* never the live one of --config */
    d.end_days = o->eod;
    for (uint32_t i = 0; i < config->feeds.count; i++) {
        if (o->date) /* every session gets it, whatever the clock says */
            config->feeds.at[i].date = day;
        /* Between packets this clock jumps, and behind the last one nothing is missing. Who looks
         * when would decide about an alarm, which is a row, and two replays would differ. */
        config->feeds.at[i].silence = NEVER_SILENT;
    }
    d.replay = true;
    d.day = o->date ? day : calendar_day(&config->main_calendar, start);
    if (o->date) /* its days end when those of the capture's clock do */
        d.day_shift = calendar_day(&config->main_calendar, start) - day;
    if (d.day < 0 || d.day > 65535) {
        err_set(&err, -ERANGE, "%s: its trading date lies outside 2000 to 2179: use --date",
                o->file[0]);
        return fail(&err, dir, temporary);
    }
    clock_init_virtual(&d.clock, start);
    d.replay_file = o->file[0];
    int64_t began = clock_monotonic();
    if (!daemon_open(&d, NULL, config, &err))
        return fail(&err, dir, temporary);
    daemon_run(&d);
    bool whole = !daemon_signal;
    char damage[256] = "";
    struct port *port = d.wiring->port[0].port;
    struct port_stats seen = {0};
    if (port && port_stats(port, &seen) && seen.errors)
        snprintf(damage, sizeof damage, "%s", port_describe(port));
    int code = daemon_close(&d);
    double seconds = (double)(clock_monotonic() - began) / 1e9;
    struct summary s = {0};
    json_t *ledger = ledger_json(d.ledger, false, &err);
    if (!read_back(&d, o, &s, &err)) {
        fprintf(stderr, "penstockd: %s\n", err.text);
        code = 1;
    }
    if (o->json)
        print_json(&d, &s, ledger, seconds);
    else
        print_text(&d, &s, ledger, seconds, !temporary);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "penstockd: the summary could not be written: %s\n", strerror(errno));
        code = 1;
    }
    if (!json_is_true(json_object_get(ledger, "balanced")))
        code = 1;
    if (!whole) {
        fprintf(stderr, "penstockd: interrupted: the capture was not read to its end\n");
        code = 1;
    }
    if (*damage) {
        fprintf(stderr, "penstockd: %s\n", damage);
        code = 1;
    }
    json_decref(ledger);
    content_hash_free(&s.hash);
    daemon_free(&d);
    if (temporary)
        nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return code;
}
