/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <strings.h>

#include "opts.h"

void opts_help(FILE *f)
{
    fputs(
        "penstock-sim - a market that multicasts: believable order flow, redundant lines that "
        "lose\n"
        "and disorder packets, and a report of exactly what was sent.\n"
        "\n"
        "usage: penstock-sim [sink] [options]\n"
        "       penstock-sim --replay FILE.pcap[ng][.gz] [sink] [options]\n"
        "\n"
        "Sinks (one):\n"
        "  --iface NAME          raw Ethernet frames on an interface (root; e.g. one end of a "
        "veth)\n"
        "  --udp[=NAME]          UDP sockets, multicast out of interface NAME (or the route's)\n"
        "  --pcap FILE           a capture with nanoseconds, all lines in order of time; - = "
        "stdout\n"
        "  --null                nowhere: measures the generator\n"
        "  --no-udp-checksum     UDP checksum 0\n"
        "\n"
        "The market:\n"
        "  --protocol P          itch (default), iex-tops, iex-tops15, iex-deep, cboe, cme, b3\n"
        "  --seed N              all chance comes from it (default 1)\n"
        "  --symbols N           listed names (default 8906)\n"
        "  --no-directory        leave the start-of-day messages out\n"
        "  --units N             Cboe: units, each with its own sequence (default 1)\n"
        "  --profile P           flat (default): --rate for ever\n"
        "                        burst: half of each second's messages within 50 ms\n"
        "                        day: a TotalView day, 03:00 to 20:00 New York (see --start, "
        "--speed)\n"
        "                        purge: build a book of --resting orders, then delete it at "
        "--rate\n"
        "  --resting N           orders added first (purge: 1.3 s of --rate; day from 15:00 on: "
        "1800000)\n"
        "  --rate N              messages a second (default 100000; --flat-out 1000000; purge "
        "1400000)\n"
        "  --scale X             day: multiply its rates (default 1)\n"
        "  --smooth              every millisecond alike; default: heavy-tailed batches\n"
        "  --pps N               packets a second instead, each of --per-packet messages (default "
        "1)\n"
        "  --flat-out            live sinks: do not wait for the clock\n"
        "  --speed X             live sinks: market seconds in a second (default 1)\n"
        "  --messages N          stop after N messages (--pcap, --null: default 1000000; day: "
        "all)\n"
        "  --duration S          stop after S seconds (market time; --flat-out to a live sink: "
        "wall)\n"
        "  --date YYYY-MM-DD     session date (default 2026-11-20; live sinks: today in New York)\n"
        "  --start HH:MM:SS|now  New York time of the first message (default 09:30:00; day "
        "04:00:00;\n"
        "                        live sinks, not day: now)\n"
        "\n"
        "The publisher:\n"
        "  --session TEXT        session (default 0000000001; IEX, B3: a number)\n"
        "  --first-seq N         begin at sequence N\n"
        "  --max-payload N       bytes of UDP payload (default 1472)\n"
        "  --max-per-packet N    messages in a packet, at most\n"
        "  --heartbeat-ms N      idle packets after N ms of silence (default 1000; 0 = none)\n"
        "  --tail-heartbeats N   idle packets after the last message (default 1)\n"
        "  --end-session         say end of session at the end (MoldUDP64 count 0xFFFF)\n"
        "  --end-packets N       how often it is said (default 3)\n"
        "  --session-end-at N    end the session after sequence N\n"
        "  --second-session TEXT[@N]  after sequence N (or --session-end-at) begin session TEXT at "
        "1\n"
        "  --restart-at N        after sequence N the publisher restarts: same session, sequence "
        "1;\n"
        "                        both may be repeated, in the order in which they happen\n"
        "  --unsequenced N       Cboe, B3: a packet with sequence 0 after every N packets\n"
        "  --malformed KIND[,KIND…]|all[:N]  an extra broken packet before every N-th (default "
        "100):\n"
        "                        short-header empty cut overcount trailing bad-length, and not "
        "with\n"
        "                        --udp: udp-length ip-length ip-version fragment ethertype "
        "not-udp\n"
        "                        other-group other-port four-vlans\n"
        "  --divergent-at SEQ:LINE  line LINE carries altered bytes for message SEQ; may be "
        "repeated\n"
        "\n"
        "Lines (default: A,239.192.1.1:26400 and B,239.192.1.2:26400; at most 16):\n"
        "  --line NAME,GROUP:PORT[,TTL][,OPTION…]\n"
        "  --lines OPTION[,OPTION…]  for every line, before its own\n"
        "    loss=P[%]           share of packets lost, in bursts of burst=L packets on average "
        "(1)\n"
        "    drop=A-B;C;…        exactly these sequences (CME, B3: packets), in every session and "
        "unit\n"
        "    dead=A-B or A-      nothing at all, idle packets included, while the sequence is "
        "there\n"
        "    delay=T jitter=T    later by T, and by |N(0,T)|; T like 20us, 1.5ms (bare: us)\n"
        "    swing=P             share of packets another 1 ms late\n"
        "    reorder=P window=K  share of packets that K or fewer later ones overtake (K 8)\n"
        "    dup=P               share sent twice\n"
        "    corrupt=P[:framing|any]  share with one bit flipped: in a length field so that the\n"
        "                        packet is malformed (framing), or anywhere in the UDP payload;\n"
        "                        the UDP checksum stays that of the flipped bytes\n"
        "    repack              other packet boundaries than the other lines\n"
        "    small               one message a packet\n"
        "    vlan=N[.N[.N]]      tags, outermost first\n"
        "    src=IP[:PORT]       source address (default 192.0.2.1 + line)\n"
        "    iface=NAME          this line's own interface\n"
        "    seed=N              this line's own chance\n"
        "\n"
        "Replay of a capture onto the wire:\n"
        "  --replay FILE         frames with their own times (--speed, --pps and --flat-out "
        "apply)\n"
        "  --rewrite G:P=G:P     send what was for one group and port to another; may be repeated\n"
        "  --loop N              N times (0 = for ever)\n"
        "\n"
        "What was sent:\n"
        "  --report FILE         JSON: per line and per session; counts per type and symbol, "
        "dropped\n"
        "                        and lost sequences as ranges, a checksum of all messages\n"
        "  --report-symbols N    only the N busiest (default: all)\n"
        "  --truth FILE          every message, with the lines that carried it (perf/sim/truth.h)\n"
        "  --quiet               no progress line each second\n"
        "  --help, --version\n"
        "\n"
        "Exit codes: 0 all sent (a signal ends a run in order, report included), 1 a failure "
        "while\n"
        "sending, 2 usage.\n",
        f);
}

/* ---- values ---- */

static bool number(const char *text, double lo, double hi, double *out)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= lo && v <= hi))
        return false;
    *out = v;
    return true;
}

static bool whole(const char *text, uint64_t lo, uint64_t hi, uint64_t *out)
{
    char *end;
    errno = 0;
    uint64_t v = strtoull(text, &end, 10);
    if (end == text || *end || text[0] == '-' || errno || v < lo || v > hi)
        return false;
    *out = v;
    return true;
}

static bool share(const char *text, double *out)
{
    char *end;
    double v = strtod(text, &end);
    if (end != text && *end == '%') {
        v /= 100;
        end++;
    }
    if (end == text || *end || !(v >= 0 && v < 1))
        return false;
    *out = v;
    return true;
}

static bool span(const char *text, int64_t *ns)
{
    char *end;
    double v = strtod(text, &end);
    double unit = !*end || !strcmp(end, "us") ? 1e3
                  : !strcmp(end, "ns")        ? 1
                  : !strcmp(end, "ms")        ? 1e6
                  : !strcmp(end, "s")         ? 1e9
                                              : 0;
    if (end == text || unit == 0 || !(v >= 0 && v * unit <= 60e9))
        return false;
    *ns = (int64_t)(v * unit);
    return true;
}

static int by_low(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

/* "100-120;500;700-" */
static bool sequences(const char *text, struct ranges *out)
{
    const char *p = text;
    for (;;) {
        char *end;
        uint64_t lo = strtoull(p, &end, 10), hi = lo;
        if (end == p)
            return false;
        if (*end == '-') {
            p = end + 1;
            hi = strtoull(p, &end, 10);
            if (end == p)
                hi = UINT64_MAX;
        }
        if (hi < lo)
            return false;
        ranges_add(out, lo, hi);
        if (!*end)
            break;
        if (*end != ';')
            return false;
        p = end + 1;
    }
    qsort(out->r, out->n, sizeof *out->r, by_low);
    return true;
}

static bool address(const char *text, bool need_port, uint32_t *ip, uint16_t *port)
{
    char host[32];
    const char *colon = strchr(text, ':');
    struct in_addr a;
    uint64_t n;
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    if ((need_port && !colon) || len >= sizeof host)
        return false;
    memcpy(host, text, len);
    host[len] = 0;
    if (inet_pton(AF_INET, host, &a) != 1)
        return false;
    *ip = ntohl(a.s_addr);
    if (colon) {
        if (!whole(colon + 1, 1, 65535, &n))
            return false;
        *port = (uint16_t)n;
    }
    return true;
}

static bool vlans(const char *text, struct line_opts *l)
{
    char *end;
    for (l->vlans = 0; l->vlans < 3; text = end + 1) {
        uint64_t v = strtoull(text, &end, 10);
        if (end == text || v > 4094)
            return false;
        l->vlan[l->vlans++] = (uint16_t)v;
        if (!*end)
            return true;
        if (*end != '.')
            return false;
    }
    return false;
}

/* ---- lines ---- */

static bool corrupt_value(const char *v, struct line_opts *l)
{
    char text[32];
    const char *colon = strchr(v, ':');
    snprintf(text, sizeof text, "%.*s", colon ? (int)(colon - v) : 31, v);
    if (colon && !strcmp(colon + 1, "any"))
        l->corrupt_where = CORRUPT_ANY;
    else if (colon && strcmp(colon + 1, "framing"))
        return false;
    return share(text, &l->corrupt);
}

static bool line_option(struct line_opts *l, const char *key, const char *v)
{
    uint64_t n;
    if (!v) {
        if (!strcmp(key, "repack"))
            return l->repack = true;
        if (!strcmp(key, "small"))
            return l->small = true;
        if (whole(key, 0, 255, &n)) {
            l->ttl = (uint8_t)n;
            return true;
        }
        return false;
    }
    if (!strcmp(key, "loss"))
        return share(v, &l->loss);
    if (!strcmp(key, "burst"))
        return number(v, 1, 1e6, &l->burst);
    if (!strcmp(key, "drop"))
        return sequences(v, &l->drop);
    if (!strcmp(key, "dead"))
        return sequences(v, &l->dead);
    if (!strcmp(key, "delay"))
        return span(v, &l->delay);
    if (!strcmp(key, "jitter"))
        return span(v, &l->jitter);
    if (!strcmp(key, "swing"))
        return share(v, &l->swing);
    if (!strcmp(key, "reorder"))
        return share(v, &l->reorder);
    if (!strcmp(key, "dup"))
        return share(v, &l->dup);
    if (!strcmp(key, "corrupt"))
        return corrupt_value(v, l);
    if (!strcmp(key, "vlan"))
        return vlans(v, l);
    if (!strcmp(key, "src"))
        return address(v, false, &l->src, &l->sport);
    if (!strcmp(key, "iface") && strlen(v) < sizeof l->iface) {
        snprintf(l->iface, sizeof l->iface, "%.15s", v);
        return true;
    }
    if (!strcmp(key, "window") && whole(v, 1, 1000, &n)) {
        l->window = (uint32_t)n;
        return true;
    }
    return !strcmp(key, "seed") && whole(v, 1, UINT64_MAX, &l->seed);
}

static bool line_options(struct line_opts *l, char *text, struct err *e)
{
    char *save = NULL;
    for (char *t = strtok_r(text, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
        char *eq = strchr(t, '=');
        if (eq)
            *eq = 0;
        if (!line_option(l, t, eq ? eq + 1 : NULL))
            return err_set(e, -EINVAL,
                           "line option \"%s%s%s\" is not known or its value is wrong; see --help",
                           t, eq ? "=" : "", eq ? eq + 1 : "");
    }
    return true;
}

static bool add_line(struct opts *o, const char *text, struct err *e)
{
    if (o->line_n == SIM_LINES)
        return err_set(e, -EINVAL, "more than %d lines", SIM_LINES);
    struct line_opts *l = &o->lines[o->line_n];
    char *copy = strdup(text), *group, *rest = NULL;
    pst_must(copy);
    *l = (struct line_opts){.ttl = 16, .burst = 1, .window = 8};
    l->src = 0xc0000201 + o->line_n; /* 192.0.2.1 … */
    l->sport = (uint16_t)(30000 + o->line_n);
    bool ok = true;
    if (o->line_opts_all) {
        char *all = strdup(o->line_opts_all);
        pst_must(all);
        ok = line_options(l, all, e);
        free(all);
    }
    group = strchr(copy, ',');
    if (group) {
        *group++ = 0;
        rest = strchr(group, ',');
        if (rest)
            *rest++ = 0;
    }
    if (ok && (!group || !copy[0] || strlen(copy) >= sizeof l->name ||
               !address(group, true, &l->group, &l->port)))
        ok = err_set(e, -EINVAL,
                     "--line %s: want NAME,GROUP:PORT[,OPTION…], e.g. A,239.1.1.1:26400", text);
    if (ok) {
        snprintf(l->name, sizeof l->name, "%.23s", copy);
        ok = !rest || line_options(l, rest, e);
    }
    free(copy);
    o->line_n += ok;
    return ok;
}

static bool divergent(struct opts *o, const char *text, struct err *e)
{
    char *end;
    uint64_t seq = strtoull(text, &end, 10);
    for (uint32_t i = 0; *end == ':' && i < o->line_n; i++) {
        if (!strcmp(o->lines[i].name, end + 1)) {
            ranges_add(&o->lines[i].divergent, seq, seq);
            return true;
        }
    }
    return err_set(e, -EINVAL, "--divergent-at %s: want SEQ:LINE with the name of a line", text);
}

static bool malformed(struct opts *o, const char *text, struct err *e)
{
    char copy[256], *save = NULL, *colon;
    uint64_t every = 100;
    snprintf(copy, sizeof copy, "%s", text);
    colon = strchr(copy, ':');
    if (colon) {
        *colon = 0;
        if (!whole(colon + 1, 1, UINT32_MAX, &every))
            return err_set(e, -EINVAL, "--malformed %s: after the colon comes a whole number",
                           text);
    }
    o->pub.malformed_every = (uint32_t)every;
    for (char *t = strtok_r(copy, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
        uint32_t before = o->pub.malformed_mask;
        for (uint32_t k = 0; k < MALFORMED_KINDS; k++)
            if (!strcmp(t, "all") || !strcmp(t, malformed_names[k]))
                o->pub.malformed_mask |= 1u << k;
        if (o->pub.malformed_mask == before)
            return err_set(e, -EINVAL, "--malformed: no kind \"%s\"; see --help", t);
    }
    return true;
}

static bool step(struct opts *o, const char *text, bool restart, struct err *e)
{
    struct publish_opts *p = &o->pub;
    if (p->step_n == PST_COUNT(p->steps))
        return err_set(e, -EINVAL, "more than %zu restarts and new sessions", PST_COUNT(p->steps));
    struct publish_step *s = &p->steps[p->step_n++];
    const char *at = restart ? NULL : strrchr(text, '@');
    *s = (struct publish_step){.restart = restart};
    if (restart) {
        if (!whole(text, 1, UINT64_MAX, &s->after))
            return err_set(e, -EINVAL, "--restart-at %s: want a sequence number", text);
        return true;
    }
    size_t len = at ? (size_t)(at - text) : strlen(text);
    if (len == 0 || len > 10 || (at && !whole(at + 1, 1, UINT64_MAX, &s->after)))
        return err_set(e, -EINVAL, "--second-session %s: want TEXT[@SEQ], at most 10 characters",
                       text);
    memcpy(s->session, text, len);
    return true;
}

static bool rewrite(struct opts *o, const char *text, struct err *e)
{
    char copy[80];
    snprintf(copy, sizeof copy, "%s", text);
    char *eq = strchr(copy, '=');
    if (eq && o->rewrite_n < PST_COUNT(o->rewrite)) {
        struct opts_rewrite *w = &o->rewrite[o->rewrite_n];
        *eq = 0;
        if (address(copy, true, &w->from, &w->from_port) &&
            address(eq + 1, true, &w->to, &w->to_port)) {
            o->rewrite_n++;
            return true;
        }
    }
    return err_set(e, -EINVAL, "--rewrite %s: want GROUP:PORT=GROUP:PORT, 16 at most", text);
}

/* ---- the command line ---- */

static int choice(const char *text, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(text, names[i]))
            return i;
    return -1;
}

enum {
    O_IFACE = 256,
    O_UDP,
    O_PCAP,
    O_NULL,
    O_NOSUM,
    O_PROTOCOL,
    O_SEED,
    O_SYMBOLS,
    O_NODIR,
    O_UNITS,
    O_PROFILE,
    O_RESTING,
    O_RATE,
    O_SCALE,
    O_SMOOTH,
    O_PPS,
    O_PERPACKET,
    O_FLATOUT,
    O_SPEED,
    O_MESSAGES,
    O_DURATION,
    O_DATE,
    O_START,
    O_SESSION,
    O_FIRST,
    O_PAYLOAD,
    O_MAXPER,
    O_HEARTBEAT,
    O_TAIL,
    O_ENDSESSION,
    O_ENDPACKETS,
    O_ENDAT,
    O_SECOND,
    O_RESTART,
    O_UNSEQ,
    O_MALFORMED,
    O_DIVERGENT,
    O_LINE,
    O_LINES,
    O_REPLAY,
    O_REWRITE,
    O_LOOP,
    O_REPORT,
    O_REPORTSYM,
    O_TRUTH,
    O_QUIET,
    O_HELP,
    O_VERSION
};

static const struct option table[] = {{"iface", 1, 0, O_IFACE},
                                      {"udp", 2, 0, O_UDP},
                                      {"pcap", 1, 0, O_PCAP},
                                      {"null", 0, 0, O_NULL},
                                      {"no-udp-checksum", 0, 0, O_NOSUM},
                                      {"protocol", 1, 0, O_PROTOCOL},
                                      {"seed", 1, 0, O_SEED},
                                      {"symbols", 1, 0, O_SYMBOLS},
                                      {"no-directory", 0, 0, O_NODIR},
                                      {"units", 1, 0, O_UNITS},
                                      {"profile", 1, 0, O_PROFILE},
                                      {"resting", 1, 0, O_RESTING},
                                      {"rate", 1, 0, O_RATE},
                                      {"scale", 1, 0, O_SCALE},
                                      {"smooth", 0, 0, O_SMOOTH},
                                      {"pps", 1, 0, O_PPS},
                                      {"per-packet", 1, 0, O_PERPACKET},
                                      {"flat-out", 0, 0, O_FLATOUT},
                                      {"speed", 1, 0, O_SPEED},
                                      {"messages", 1, 0, O_MESSAGES},
                                      {"duration", 1, 0, O_DURATION},
                                      {"date", 1, 0, O_DATE},
                                      {"start", 1, 0, O_START},
                                      {"session", 1, 0, O_SESSION},
                                      {"first-seq", 1, 0, O_FIRST},
                                      {"max-payload", 1, 0, O_PAYLOAD},
                                      {"max-per-packet", 1, 0, O_MAXPER},
                                      {"heartbeat-ms", 1, 0, O_HEARTBEAT},
                                      {"tail-heartbeats", 1, 0, O_TAIL},
                                      {"end-session", 0, 0, O_ENDSESSION},
                                      {"end-packets", 1, 0, O_ENDPACKETS},
                                      {"session-end-at", 1, 0, O_ENDAT},
                                      {"second-session", 1, 0, O_SECOND},
                                      {"restart-at", 1, 0, O_RESTART},
                                      {"unsequenced", 1, 0, O_UNSEQ},
                                      {"malformed", 1, 0, O_MALFORMED},
                                      {"divergent-at", 1, 0, O_DIVERGENT},
                                      {"line", 1, 0, O_LINE},
                                      {"lines", 1, 0, O_LINES},
                                      {"replay", 1, 0, O_REPLAY},
                                      {"rewrite", 1, 0, O_REWRITE},
                                      {"loop", 1, 0, O_LOOP},
                                      {"report", 1, 0, O_REPORT},
                                      {"report-symbols", 1, 0, O_REPORTSYM},
                                      {"truth", 1, 0, O_TRUTH},
                                      {"quiet", 0, 0, O_QUIET},
                                      {"help", 0, 0, O_HELP},
                                      {"version", 0, 0, O_VERSION},
                                      {0, 0, 0, 0}};

static bool sink(struct opts *o, enum out_kind kind)
{
    bool first = !o->sink_set;
    o->sink = kind;
    o->sink_set = true;
    return first;
}

static bool date(const char *text, struct opts *o)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int end = 0;
    return sscanf(text, "%4d-%2d-%2d%n", &o->year, &o->month, &o->day, &end) == 3 && !text[end] &&
           o->year >= 2000 && o->year <= 2100 && o->month >= 1 && o->month <= 12 && o->day >= 1 &&
           o->day <= days[o->month - 1];
}

static bool start(const char *text, struct opts *o)
{
    unsigned h, m;
    double s;
    int end = 0;
    if (!strcmp(text, "now")) {
        o->start = -2;
        return true;
    }
    if (sscanf(text, "%2u:%2u:%lf%n", &h, &m, &s, &end) != 3 || text[end] || h > 23 || m > 59 ||
        !(s >= 0 && s < 60))
        return false;
    o->start = (int64_t)(h * 3600 + m * 60) * 1000000000 + (int64_t)(s * 1e9);
    return true;
}

static bool one(struct opts *o, int c, const char *v, struct err *e)
{
    static const char *const protocols[] = {"itch", "iex-tops15", "iex-tops", "iex-deep",
                                            "cboe", "cme",        "b3"};
    static const char *const profiles[] = {"flat", "burst", "day", "purge"};
    struct publish_opts *p = &o->pub;
    uint64_t n = 0;
    double x = 0;
    int k;
    bool ok = true;
#define WHOLE(lo, hi, to)  ((ok = whole(v, lo, hi, &n)) ? (void)((to) = (__typeof__(to))n) : (void)0)
#define NUMBER(lo, hi, to) ((ok = number(v, lo, hi, &x)) ? (void)((to) = x) : (void)0)
    switch (c) {
    case O_IFACE:
        ok = sink(o, OUT_PACKET);
        o->iface = v;
        break;
    case O_UDP:
        ok = sink(o, OUT_UDP);
        o->iface = v;
        break;
    case O_PCAP:
        ok = sink(o, OUT_PCAP);
        o->pcap = v;
        break;
    case O_NULL:
        ok = sink(o, OUT_NULL);
        break;
    case O_NOSUM:
        o->udp_checksum = false;
        break;
    case O_PROTOCOL:
        k = choice(v, protocols, 7);
        ok = k >= 0;
        p->protocol = (enum sim_protocol)k;
        break;
    case O_SEED:
        WHOLE(0, UINT64_MAX, o->seed);
        break;
    case O_SYMBOLS:
        WHOLE(1, NAMES_MAX, o->symbols);
        break;
    case O_NODIR:
        o->directory = false;
        break;
    case O_UNITS:
        WHOLE(1, 64, p->units);
        break;
    case O_PROFILE:
        k = choice(v, profiles, 4);
        ok = k >= 0;
        o->profile = (enum profile)k;
        break;
    case O_RESTING:
        WHOLE(0, 100000000, o->resting);
        o->resting_set = true;
        break;
    case O_RATE:
        NUMBER(0, 1e9, o->rate);
        break;
    case O_SCALE:
        NUMBER(0, 1e6, o->scale);
        break;
    case O_SMOOTH:
        o->smooth = true;
        break;
    case O_PPS:
        NUMBER(0.001, 1e8, o->pps);
        break;
    case O_PERPACKET:
        WHOLE(1, 500, o->per_packet);
        break;
    case O_FLATOUT:
        o->flat_out = true;
        break;
    case O_SPEED:
        NUMBER(1e-6, 1e9, o->speed);
        break;
    case O_MESSAGES:
        WHOLE(1, UINT64_MAX, o->messages);
        break;
    case O_DURATION:
        NUMBER(0, 1e9, o->duration);
        break;
    case O_DATE:
        ok = date(v, o);
        break;
    case O_START:
        ok = start(v, o);
        break;
    case O_SESSION:
        ok = strlen(v) <= 10 && v[0];
        snprintf(p->session, sizeof p->session, "%.10s", v);
        break;
    case O_FIRST:
        WHOLE(1, UINT64_MAX / 2, p->first_seq);
        break;
    case O_PAYLOAD:
        WHOLE(300, WIRE_PAYLOAD_MAX, p->max_payload);
        break;
    case O_MAXPER:
        WHOLE(1, 1024, p->max_per_packet);
        break;
    case O_HEARTBEAT:
        WHOLE(0, 3600000, n);
        p->heartbeat = (int64_t)n * 1000000;
        break;
    case O_TAIL:
        WHOLE(0, 1000, o->tail_heartbeats);
        break;
    case O_ENDSESSION:
        o->end_session = true;
        break;
    case O_ENDPACKETS:
        WHOLE(1, 1000, p->end_packets);
        break;
    case O_ENDAT:
        WHOLE(1, UINT64_MAX, p->session_end_at);
        break;
    case O_SECOND:
        return step(o, v, false, e);
    case O_RESTART:
        return step(o, v, true, e);
    case O_UNSEQ:
        WHOLE(1, UINT32_MAX, p->unsequenced_every);
        break;
    case O_MALFORMED:
        return malformed(o, v, e);
    case O_REPLAY:
        o->replay = v;
        break;
    case O_REWRITE:
        return rewrite(o, v, e);
    case O_LOOP:
        WHOLE(0, UINT32_MAX, o->loop);
        break;
    case O_REPORT:
        o->report = v;
        break;
    case O_REPORTSYM:
        WHOLE(0, NAMES_MAX, o->report_symbols);
        break;
    case O_TRUTH:
        o->truth = v;
        break;
    case O_QUIET:
        o->quiet = true;
        break;
    default:
        break;
    }
#undef WHOLE
#undef NUMBER
    if (!ok && (c == O_IFACE || c == O_UDP || c == O_PCAP || c == O_NULL))
        return err_set(e, -EINVAL, "only one of --iface, --udp, --pcap and --null can be used");
    for (const struct option *t = table; !ok && t->name; t++)
        if (t->val == c)
            return err_set(e, -EINVAL, "--%s %s: the value is wrong or out of range; see --help",
                           t->name, v ? v : "");
    return true;
}

static bool finish(struct opts *o, struct err *e)
{
    struct publish_opts *p = &o->pub;
    bool numeric = p->protocol != SIM_ITCH;
    if (!o->sink_set)
        return err_set(e, -EINVAL,
                       "say where to: --iface NAME, --udp, --pcap FILE or --null; see --help");
    if (o->replay && o->pps <= 0 && o->rate > 0)
        o->pps = o->rate;
    for (uint32_t i = 0; i < p->step_n; i++) {
        struct publish_step *s = &p->steps[i];
        uint64_t n;
        if (!s->restart && !s->after)
            s->after = p->session_end_at;
        if (!s->after)
            return err_set(e, -EINVAL,
                           "--second-session %s: say when, with @SEQ or --session-end-at",
                           s->session);
        if (!s->restart && numeric && !whole(s->session, 1, UINT32_MAX, &n))
            return err_set(e, -EINVAL, "--second-session %s: %s sessions are numbers", s->session,
                           wire_name(p->protocol));
        if (!s->restart && s->after == p->session_end_at)
            p->session_end_at = 0; /* that end has its successor */
    }
    uint64_t n;
    if (numeric && !whole(p->session, 1, UINT32_MAX, &n))
        return err_set(e, -EINVAL, "--session %s: %s sessions are numbers", p->session,
                       wire_name(p->protocol));
    if (p->max_per_packet > wire_count_max(p->protocol))
        p->max_per_packet = wire_count_max(p->protocol);
    if (p->unsequenced_every && p->protocol != SIM_CBOE && p->protocol != SIM_B3)
        return err_set(e, -EINVAL, "--unsequenced: only cboe and b3 have such packets");
    if (o->sink == OUT_UDP && p->malformed_mask >> MALFORMED_L4) {
        if (p->malformed_mask != (1u << MALFORMED_KINDS) - 1)
            return err_set(e, -EINVAL, "--malformed: kinds below UDP need --iface or --pcap");
        p->malformed_mask = (1u << MALFORMED_L4) - 1; /* "all" that sockets can send */
    }
    for (uint32_t i = 0; i < o->line_n; i++) {
        if (o->sink == OUT_UDP && o->lines[i].vlans)
            return err_set(e, -EINVAL, "line %s: vlan needs --iface or --pcap", o->lines[i].name);
        for (uint32_t k = 0; k < i; k++)
            if (!strcmp(o->lines[i].name, o->lines[k].name))
                return err_set(e, -EINVAL, "two lines are called %s", o->lines[i].name);
    }
    return true;
}

bool opts_parse(struct opts *o, int argc, char **argv, struct err *e)
{
    *o = (struct opts){.seed = 1,
                       .symbols = NAMES_DEFAULT,
                       .rate = -1,
                       .scale = 1,
                       .speed = 1,
                       .per_packet = 1,
                       .directory = true,
                       .start = -1,
                       .tail_heartbeats = 1,
                       .udp_checksum = true,
                       .loop = 1,
                       .report_symbols = UINT32_MAX};
    o->pub = (struct publish_opts){.session = "0000000001",
                                   .first_seq = 1,
                                   .units = 1,
                                   .max_payload = 1472,
                                   .max_per_packet = 1024,
                                   .heartbeat = 1000000000,
                                   .end_packets = 3};
    *e = (struct err){0};
    opterr = 0;
    int c;
    while ((c = getopt_long(argc, argv, "h", table, NULL)) != -1) {
        if (c == O_HELP || c == 'h') {
            opts_help(stdout);
            return false;
        }
        if (c == O_VERSION) {
            puts("penstock-sim " PST_VERSION);
            return false;
        }
        if (c == '?' || c == ':')
            return err_set(e, -EINVAL, "option %s is not known or lacks its value; see --help",
                           argv[optind - 1]);
        if (c == O_LINES)
            o->line_opts_all = optarg;
        else if (c != O_LINE && c != O_DIVERGENT && !one(o, c, optarg, e))
            return false;
    }
    if (optind < argc)
        return err_set(e, -EINVAL, "\"%s\" is not an option; see --help", argv[optind]);
    optind = 1; /* lines need --lines, and --divergent-at needs the lines */
    while ((c = getopt_long(argc, argv, "h", table, NULL)) != -1)
        if (c == O_LINE && !add_line(o, optarg, e))
            return false;
    if (o->line_n == 0 &&
        (!add_line(o, "A,239.192.1.1:26400", e) || !add_line(o, "B,239.192.1.2:26400", e)))
        return false;
    optind = 1;
    while ((c = getopt_long(argc, argv, "h", table, NULL)) != -1)
        if (c == O_DIVERGENT && !divergent(o, optarg, e))
            return false;
    return finish(o, e);
}
