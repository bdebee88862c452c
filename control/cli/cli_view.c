/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs whose reply is printed as it comes: one function a screen. */
#include <unistd.h>
#include "cli.h"
#include "print.h"
#include "core/clock.h"

static const char *text(json_t *o, const char *key)
{
    return json_text(o, key);
}
static const char *count(json_t *o, const char *key)
{
    return print_count(json_long(o, key));
}

static int degraded(json_t *status)
{
    return strcmp(text(status, "health"), "healthy") ? EXIT_DEGRADED : EXIT_HEALTHY;
}

#define STATUS_ALARMS 5u /* of one code, on the one screen that `status` is */

/* "A lost  B lost" in one cell: lines differ in number from feed to feed. */
static const char *line_losses(json_t *feed, char *buf, size_t cap)
{
    size_t n = 0, i;
    json_t *l;
    buf[0] = 0;
    json_array_foreach(json_object_get(feed, "lines"), i, l)
    {
        bool plain = !strcmp(text(l, "state"), "live");
        n += (size_t)snprintf(buf + n, n < cap ? cap - n : 0, "%s%s %s%s%s%s", i ? "  " : "",
                              text(l, "name"), count(l, "lost"), plain ? "" : " (",
                              plain ? "" : text(l, "state"), plain ? "" : ")");
    }
    return buf;
}

static void print_feed_table(json_t *feeds)
{
    static const char *const head[] = {"feed",         "state",        ">next seq", ">msg/s",
                                       "lost by line", ">lost by all", ">gaps",     ">waiting"};
    struct print_table t;
    print_table_begin(&t, PST_COUNT(head), head);
    size_t i;
    json_t *f;
    json_array_foreach(feeds, i, f)
    {
        char losses[256];
        print_table_row(&t, text(f, "name"), text(f, "state"), count(f, "next"), count(f, "rate"),
                        line_losses(f, losses, sizeof losses),
                        print_count(json_long(f, "gap_seqs") - json_long(f, "late_seqs")),
                        count(f, "gaps"), count(f, "window_packets"));
    }
    print_table_end(&t);
}

static void print_alarm(json_t *a)
{
    printf("%s %s  %s%s%s (%s)  -> penstock explain %s\n", text(a, "severity"), text(a, "code"),
           text(a, "subject"), *text(a, "subject") ? ": " : "", text(a, "text"),
           print_duration(json_long(a, "age_ns")), text(a, "code"));
}

/* Worst first; of each code at most `most`, and how many more there are: `more` counts those that
 * the daemon does not list. */
static void print_alarms(json_t *list, json_t *more, unsigned most)
{
    json_t *of_code = json_object(), *a, *v;
    const char *code;
    size_t i;
    json_array_foreach(list, i, a)
    {
        code = text(a, "code");
        json_int_t n = json_integer_value(json_object_get(of_code, code));
        if (n < most)
            print_alarm(a);
        json_object_set_new(of_code, code, json_integer(n + 1));
    }
    json_object_foreach(of_code, code, v)
    {
        json_int_t n = json_integer_value(v);
        n = (n > most ? n - most : 0) + json_integer_value(json_object_get(more, code));
        if (n)
            printf("     %s  %s more  -> penstock %s\n", code, print_count(n),
                   !strncmp(code, "load.", 5) ? "load files" : "alarms");
    }
    json_decref(of_code);
}

/* Of interest only when it fills up or does not answer; the log's free space stands above. */
static void print_disk(json_t *x)
{
    if (!json_is_true(json_object_get(x, "answers")))
        printf("disk %s  does not answer for %s  %s\n", text(x, "name"),
               print_duration(json_long(x, "age_ns")), text(x, "path"));
    else if (json_long(x, "full_in_ns") >= 0)
        printf("disk %s  free %s of %s  fills at %s/s  full in %s\n", text(x, "name"),
               print_bytes(json_long(x, "free")), print_bytes(json_long(x, "size")),
               print_bytes(json_long(x, "fill_rate")), print_duration(json_long(x, "full_in_ns")));
}

static void print_upstream(json_t *u)
{
    if (*text(u, "publishes"))
        printf("publishes on channel %s\n", text(u, "publishes"));
    if (!*text(u, "channel"))
        return;
    bool down = !strcmp(text(u, "state"), "down");
    printf("upstream %s  %s%s%s  rows %s", text(u, "channel"), text(u, "state"),
           *text(u, "address") ? " at " : "", text(u, "address"), count(u, "rows"));
    if (down)
        printf("  for %s: %s", print_duration(json_long(u, "down_for_ns")), text(u, "problem"));
    if (json_long(u, "refused"))
        printf("  refused %s", count(u, "refused"));
    if (*text(u, "left_out"))
        printf("  left out: %s", text(u, "left_out"));
    printf("\n");
}

static int view_status(json_t *r)
{
    json_t *log = json_object_get(r, "log"), *ring = json_object_get(r, "ring");
    char health[16];
    snprintf(health, sizeof health, "%s", text(r, "health"));
    for (char *p = health; *p; p++)
        *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
    printf("%s %s  %s  up %s  durable lag %s  log %s/s\n", text(r, "instance"), health,
           text(r, "day"), print_duration(json_long(r, "up_ns")),
           print_duration(json_long(r, "durable_lag_ns")), print_bytes(json_long(log, "rate")));
    size_t i;
    json_t *a;
    print_alarms(json_object_get(r, "alarms"), json_object_get(r, "more_alarms"), STATUS_ALARMS);
    if (*text(log, "error"))
        printf("FAIL log: %s since %s; %s of ring left\n", text(log, "error"),
               print_time(json_long(log, "error_since")),
               print_bytes(json_long(ring, "size") - json_long(ring, "used")));
    if (json_array_size(json_object_get(r, "feeds")))
        print_feed_table(json_object_get(r, "feeds"));
    else
        printf("no feed is configured: publishers only\n");
    printf("log  %s  level %s  journal %s  submitted -%s  durable -%s  free %s\n",
           text(log, "file"), text(log, "level"), count(log, "tail"),
           print_bytes(json_long(log, "tail") - json_long(log, "submitted")),
           print_bytes(json_long(log, "tail") - json_long(log, "durable")),
           print_bytes(json_long(log, "free")));
    cli_rtp_line(json_object_get(r, "rtp"));
    print_upstream(json_object_get(r, "upstream"));
    json_array_foreach(json_object_get(r, "disks"), i, a) print_disk(a);
    json_array_foreach(json_object_get(r, "buffers"), i, a)
        printf("buffer %lld  %s  rows %s (%s)\n", (long long)json_long(a, "id"), text(a, "status"),
               count(a, "rows"), print_bytes(json_long(a, "bytes")));
    json_t *days = json_object_get(r, "days");
    cli_day_rdb_line(json_object_get(days, "rdb"));
    cli_day_database_line(json_object_get(days, "database"));
    cli_day_table(json_object_get(days, "days"));
    json_t *q = json_object_get(r, "queries");
    if (json_long(q, "running") || json_long(q, "queued") ||
        json_long(q, "ready") < json_long(q, "processes"))
        printf("queries  %s running  %s waiting  %s of %s processes up\n", count(q, "running"),
               count(q, "queued"), count(q, "ready"), count(q, "processes"));
    cli_clients_line(json_object_get(r, "subscribers"));
    cli_load_line(json_object_get(r, "load"));
    json_array_foreach(json_object_get(r, "ledger"), i, a) printf("%s\n", text(a, "line"));
    return degraded(r);
}

static int view_feeds(json_t *r)
{
    print_feed_table(json_object_get(r, "feeds"));
    return degraded(r);
}

static void print_line_table(json_t *lines)
{
    static const char *const head[] = {"line",  "state",  ">pkt/s",  ">messages", ">first",
                                       ">lost", ">dup",   ">late",   ">old",      ">malformed",
                                       ">hb",   ">reord", ">diverg", "lag",       "last"};
    struct print_table t;
    print_table_begin(&t, PST_COUNT(head), head);
    size_t i;
    json_t *l;
    json_array_foreach(lines, i, l) print_table_row(
        &t, text(l, "name"), text(l, "state"), count(l, "rate"), count(l, "messages"),
        count(l, "first"), count(l, "lost"), count(l, "duplicate"), count(l, "late"),
        count(l, "old"), count(l, "malformed"), count(l, "heartbeats"), count(l, "reordered"),
        count(l, "divergent"), print_duration(json_long(l, "lag_mean_ns")),
        print_time(json_long(l, "last_rx")));
    print_table_end(&t);
}

static int view_feed(json_t *r)
{
    json_t *f = json_object_get(r, "feed");
    if (!f) {
        printf("%s\n", text(r, "done"));
        return EXIT_HEALTHY;
    }
    printf("%s  %s  framing %s  decoder %s  lcore %s  %s msg/s\n", text(f, "name"),
           text(f, "state"), text(f, "framing"), text(f, "decoder"), count(f, "lcore"),
           count(f, "rate"));
    printf("messages %s: decoded %s, undecoded %s unknown %s length %s symbol, divergent %s\n",
           count(f, "messages"), count(f, "decoded"), count(f, "undecoded_unknown"),
           count(f, "undecoded_length"), count(f, "undecoded_symbol"), count(f, "divergent"));
    printf("gaps %s of %s sequences, %s came late; restarts %s; window %s packets, %s, full %s\n\n",
           count(f, "gaps"), count(f, "gap_seqs"), count(f, "late_seqs"), count(f, "restarts"),
           count(f, "window_packets"), print_bytes(json_long(f, "window_bytes")),
           count(f, "window_full"));
    print_line_table(json_object_get(f, "lines"));
    static const char *const head[] = {"session", "day",   "state",   ">first",
                                       ">next",   ">high", ">waiting"};
    struct print_table t;
    print_table_begin(&t, PST_COUNT(head), head);
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(f, "sessions"), i, s)
        print_table_row(&t, text(s, "session"), text(s, "day"), text(s, "state"), count(s, "first"),
                        count(s, "next"), count(s, "high"), count(s, "waiting"));
    printf("\n");
    print_table_end(&t);
    return strcmp(text(f, "state"), "silent") ? EXIT_HEALTHY : EXIT_DEGRADED;
}

static int view_line(json_t *r)
{
    json_t *l = json_object_get(r, "line");
    if (!l) {
        printf("%s\n", text(r, "done"));
        return EXIT_HEALTHY;
    }
    json_t *a = json_array();
    json_array_append(a, l);
    print_line_table(a);
    json_decref(a);
    printf("received %s = accepted %s + duplicate %s + late %s + old %s + unsequenced %s\n",
           count(l, "messages"), count(l, "accepted"), count(l, "duplicate"), count(l, "late"),
           count(l, "old"), count(l, "unsequenced"));
    if (json_object_get(l, "sent"))
        printf("the last packet was sent at %s, by its own stamp %s before it came\n",
               print_time(json_long(l, "sent")), print_duration(json_long(l, "sent_before_ns")));
    return strcmp(text(l, "state"), "silent") ? EXIT_HEALTHY : EXIT_DEGRADED;
}

static int view_tables(json_t *r)
{
    static const char *const head[] = {"table", ">id", ">columns", "from"};
    struct print_table t;
    print_table_begin(&t, PST_COUNT(head), head);
    size_t i;
    json_t *x;
    json_array_foreach(r, i, x)
        print_table_row(&t, text(x, "table"), count(x, "id"), count(x, "columns"), text(x, "from"));
    print_table_end(&t);
    return EXIT_HEALTHY;
}

static int view_schema(json_t *r)
{
    static const char *const head[] = {"c", "t", "type", "from"};
    struct print_table t;
    print_table_begin(&t, PST_COUNT(head), head);
    size_t i;
    json_t *x;
    json_array_foreach(json_object_get(r, "columns"), i, x)
        print_table_row(&t, text(x, "c"), text(x, "t"), text(x, "type"), text(x, "from"));
    print_table_end(&t);
    return EXIT_HEALTHY;
}

static int view_alarms(json_t *r)
{
    size_t i;
    json_t *a, *raised = json_object_get(r, "raised");
    print_alarms(raised, json_object_get(r, "more"), UINT32_MAX);
    if (!json_array_size(raised))
        printf("no alarm is raised\n");
    json_array_foreach(json_object_get(r, "cleared"), i, a)
        printf("cleared %s  %s%s%s\n", print_time(json_long(a, "cleared")), text(a, "code"),
               *text(a, "subject") ? " " : "", text(a, "subject"));
    return json_array_size(raised) ? EXIT_DEGRADED : EXIT_HEALTHY;
}

static int view_explain(json_t *r)
{
    printf("%s (%s)\n%s\n\nraised when  %s\ncleared when %s\nwhat to do   %s\n", text(r, "code"),
           text(r, "severity"), text(r, "sentence"), text(r, "raise"), text(r, "clear"),
           text(r, "remedy"));
    return EXIT_HEALTHY;
}

static int view_ledger(json_t *r)
{
    size_t i;
    json_t *l;
    json_array_foreach(json_object_get(r, "lines"), i, l) printf("%s\n", json_string_value(l));
    return json_is_true(json_object_get(r, "balanced")) ? EXIT_HEALTHY : EXIT_DEGRADED;
}

static int view_topo(json_t *r)
{
    static const char *const thead[] = {"thread",    "core class", ">cpu",   "state",       ">busy",
                                        ">loop p50", ">p99.99",    ">worst", ">over 100us", "does"};
    struct print_table t;
    size_t i;
    json_t *x;
    printf("penstockd pid %s, %s\n", count(r, "pid"), text(r, "eal"));
    print_table_begin(&t, PST_COUNT(thead), thead);
    json_array_foreach(json_object_get(r, "threads"), i, x)
    {
        char busy[16], cpu[16];
        double loops = json_real_of(x, "loops");
        json_t *ns = json_object_get(x, "loop_ns");
        snprintf(busy, sizeof busy, "%.0f%%",
                 loops > 0 ? 100 * json_real_of(x, "busy") / loops : 0);
        snprintf(cpu, sizeof cpu, json_long(x, "cpu") < 0 ? "any" : "%d", (int)json_long(x, "cpu"));
        print_table_row(
            &t, text(x, "name"), text(x, "class"), cpu, text(x, "state"), busy,
            print_duration(json_long(ns, "p50")), print_duration(json_long(ns, "p9999")),
            print_duration(json_long(x, "worst_ns")), count(x, "over_100us"), text(x, "does"));
    }
    print_table_end(&t);
    static const char *const prhead[] = {"process", ">pids", ">nice",
                                         "parent",  "does",  "when it dies"};
    printf("\n");
    print_table_begin(&t, PST_COUNT(prhead), prhead);
    json_array_foreach(json_object_get(r, "processes"), i, x)
    {
        char pids[64] = "";
        json_t *pid;
        size_t k, n = 0;
        json_array_foreach(json_object_get(x, "pids"), k, pid) if (n < sizeof pids) n +=
            (size_t)snprintf(pids + n, sizeof pids - n, "%s%d", k ? " " : "",
                             (int)json_integer_value(pid));
        print_table_row(&t, text(x, "name"), pids, count(x, "nice"), text(x, "parent"),
                        text(x, "does"), text(x, "when_gone"));
    }
    print_table_end(&t);
    static const char *const rhead[] = {"ring", ">size", "producer", "consumers", "when full"};
    printf("\n");
    print_table_begin(&t, PST_COUNT(rhead), rhead);
    json_array_foreach(json_object_get(r, "rings"), i, x)
        print_table_row(&t, text(x, "name"), print_bytes(json_long(x, "bytes")),
                        text(x, "producer"), text(x, "consumers"), text(x, "full"));
    print_table_end(&t);
    static const char *const phead[] = {"port",   "device", ">lcore", "link",
                                        ">pkt/s", ">taken", ">missed"};
    if (!json_array_size(json_object_get(r, "ports")))
        return EXIT_HEALTHY;
    printf("\n");
    print_table_begin(&t, PST_COUNT(phead), phead);
    json_array_foreach(json_object_get(r, "ports"), i, x)
        print_table_row(&t, text(x, "name"), text(x, "device"), count(x, "lcore"), text(x, "link"),
                        count(x, "rate"), count(x, "taken"), count(x, "missed"));
    print_table_end(&t);
    return EXIT_HEALTHY;
}

static int view_counters(json_t *r)
{
    static const char *const head[] = {"counter", ">value", "what"};
    struct print_table t;
    print_table_begin(&t, PST_COUNT(head), head);
    size_t i;
    json_t *x;
    json_array_foreach(json_object_get(r, "counters"), i, x)
        print_table_row(&t, text(x, "name"), count(x, "value"), text(x, "about"));
    print_table_end(&t);
    return EXIT_HEALTHY;
}

/* A histogram in one cell: a bar for each power of two of ns, its height by the logarithm of the
 * count. */
static const char *bars(json_t *stage, char *buf, size_t cap)
{
    static const char *const bar[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    uint64_t n[64] = {0}, most = 1;
    int low = 64, high = -1;
    size_t i;
    json_t *x;
    json_array_foreach(json_object_get(stage, "buckets"), i, x)
    {
        uint64_t edge = (uint64_t)json_integer_value(json_array_get(x, 0));
        int p = edge > 1 ? 63 - __builtin_clzll(edge - 1) : 0;
        n[p] += (uint64_t)json_integer_value(json_array_get(x, 1));
        most = n[p] > most ? n[p] : most;
        low = p < low ? p : low;
        high = p > high ? p : high;
    }
    buf[0] = 0;
    if (high < 0)
        return buf;
    size_t at = (size_t)snprintf(buf, cap, "%s ", print_duration((int64_t)1 << low));
    for (int p = low; p <= high && at < cap; p++) {
        int log_n = n[p] ? 64 - __builtin_clzll(n[p]) : 0, log_most = 64 - __builtin_clzll(most);
        at += (size_t)snprintf(buf + at, cap - at, "%s", bar[n[p] ? 1 + 7 * log_n / log_most : 0]);
    }
    if (at < cap)
        snprintf(buf + at, cap - at, " %s", print_duration((int64_t)2 << high));
    return buf;
}

static int view_latency(json_t *r)
{
    static const char *const head[] = {
        "stage", ">n", ">p50", ">p90", ">p99", ">p99.9", ">max", "each power of two", "what"};
    struct print_table t;
    print_table_begin(&t, PST_COUNT(head), head);
    size_t i;
    json_t *x;
    json_array_foreach(r, i, x)
    {
        char cell[320];
        print_table_row(&t, text(x, "stage"), count(x, "n"), print_duration(json_long(x, "p50")),
                        print_duration(json_long(x, "p90")), print_duration(json_long(x, "p99")),
                        print_duration(json_long(x, "p999")), print_duration(json_long(x, "max")),
                        bars(x, cell, sizeof cell), text(x, "about"));
    }
    print_table_end(&t);
    return EXIT_HEALTHY;
}

static int view_commands(json_t *r)
{
    static const char *const head[] = {"command", "level", "arguments", "what"};
    struct print_table t;
    print_table_begin(&t, PST_COUNT(head), head);
    size_t i;
    json_t *x;
    json_array_foreach(r, i, x) print_table_row(&t, text(x, "name"), text(x, "level"),
                                                text(x, "args"), text(x, "sentence"));
    print_table_end(&t);
    return EXIT_HEALTHY;
}

/* Replies that are a text, or say what was done. */
static int view_text(json_t *r)
{
    const char *t = json_is_string(r) ? json_string_value(r) : text(r, "text");
    if (*t)
        printf("%s%s", t, t[strlen(t) - 1] == '\n' ? "" : "\n");
    else if (*text(r, "done"))
        printf("%s\n", text(r, "done"));
    return EXIT_HEALTHY;
}

static const struct {
    const char *verb;
    int (*print)(json_t *result);
} views[] = {
    {"status", view_status},     {"feeds", view_feeds},       {"feed", view_feed},
    {"line", view_line},         {"tables", view_tables},     {"schema", view_schema},
    {"alarms", view_alarms},     {"explain", view_explain},   {"ledger", view_ledger},
    {"topo", view_topo},         {"counters", view_counters}, {"latency", view_latency},
    {"commands", view_commands}, {"queries", view_queries},   {"clients", view_clients},
    {"plugin", view_plugin},
};

int cli_view(struct cli *c, const char *verb, int argc, char **argv)
{
    int code;
    json_t *r = cli_call(c, verb, cli_args(argc, argv), &code);
    if (!r)
        return code;
    int (*print)(json_t *) = view_text;
    for (unsigned i = 0; i < PST_COUNT(views); i++)
        if (!strcmp(views[i].verb, verb))
            print = views[i].print;
    if (!c->json) {
        code = print(r);
    } else {
        json_dumpf(r, stdout, JSON_INDENT(1));
        printf("\n");
        if (json_object_get(r, "health"))
            code = degraded(r);
        if (json_object_get(r, "balanced"))
            code = json_is_true(json_object_get(r, "balanced")) ? EXIT_HEALTHY : EXIT_DEGRADED;
    }
    json_decref(r);
    return code;
}
