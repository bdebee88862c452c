/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator tells the truth: what lies in its captures, walked here by other code, is what its
 * truth file and report say; its flow looks like the measured day; the same seed gives the same
 * bytes.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "../../perf/sim/truth.h"
#include "refdecode.h"
#include "../support/truth.h"

extern char **environ;
static char dir[64];

static const char *in_dir(const char *name)
{
    static char paths[8][400];
    static int next;
    char *p = paths[next++ & 7];
    snprintf(p, 400, "%s/%s", dir, name);
    return p;
}

/* Starts penstock-sim in the test's directory; arguments are split at spaces. */
static pid_t start(const char *args)
{
    char copy[2048], *argv[96], *save = NULL;
    int n = 0;
    posix_spawn_file_actions_t a;
    pid_t pid;
    snprintf(copy, sizeof copy, "%s", args);
    argv[n++] = (char *)PENSTOCK_SIM;
    for (char *t = strtok_r(copy, " ", &save); t && n < 95; t = strtok_r(NULL, " ", &save))
        argv[n++] = t;
    argv[n] = NULL;
    posix_spawn_file_actions_init(&a);
    posix_spawn_file_actions_addchdir_np(&a, dir);
    posix_spawn_file_actions_addopen(&a, 2, "stderr", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_addopen(&a, 1, "stdout", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_int_equal(posix_spawn(&pid, PENSTOCK_SIM, &a, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&a);
    return pid;
}

static int finish(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static uint8_t *slurp(const char *name, size_t *len)
{
    FILE *f = fopen(in_dir(name), "rb");
    struct stat s;
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &s), 0);
    uint8_t *b = malloc((size_t)s.st_size + 1);
    assert_non_null(b);
    *len = fread(b, 1, (size_t)s.st_size, f);
    b[*len] = 0;
    fclose(f);
    return b;
}

static void sim(const char *args)
{
    int code = finish(start(args));
    if (code != 0) {
        size_t n;
        fail_msg("penstock-sim %s: exit %d: %s", args, code, (char *)slurp("stderr", &n));
    }
}

static bool same(const char *a, const char *b)
{
    size_t na, nb;
    uint8_t *x = slurp(a, &na), *y = slurp(b, &nb);
    bool yes = na == nb && memcmp(x, y, na) == 0;
    free(x), free(y);
    return yes;
}

static json_t *report(const char *name)
{
    json_error_t e;
    json_t *j = json_load_file(in_dir(name), 0, &e);
    if (!j)
        fail_msg("%s: %s at line %d", name, e.text, e.line);
    return j;
}

static json_int_t number(const json_t *j, const char *key)
{
    const json_t *v = json_object_get(j, key);
    if (!json_is_integer(v))
        fail_msg("report: no number %s", key);
    return json_integer_value(v);
}

static bool in_ranges(const json_t *ranges, uint64_t seq)
{
    size_t i;
    json_t *r;
    json_array_foreach(ranges, i, r)
    {
        if (seq >= (uint64_t)json_integer_value(json_array_get(r, 0)) &&
            seq <= (uint64_t)json_integer_value(json_array_get(r, 1)))
            return true;
    }
    return false;
}

/* ---- an independent walk of the capture ---- */

enum { SEQS = 400000, LINES = 4 };

struct seen {
    uint64_t hash[LINES][SEQS]; /* of the bytes, 0 = not seen */
    unsigned packets[LINES], broken[LINES], idle[LINES], ends[LINES], copies[LINES];
    unsigned bad_sum, backwards;
    uint64_t messages[LINES];
    char session[12];
};

static uint16_t internet_sum(const uint8_t *p, size_t n, uint32_t s)
{
    for (size_t i = 0; i < n; i++)
        s += (uint32_t)p[i] << (i & 1 ? 0 : 8);
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return (uint16_t)s;
}

static uint64_t big(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static void mold(struct seen *s, unsigned line, const uint8_t *p, size_t n)
{
    if (n < 20) {
        s->broken[line]++;
        return;
    }
    uint64_t seq = big(p + 10, 8), count = big(p + 18, 2);
    size_t at = 20;
    if (count == 0xffff && n == 20) {
        s->ends[line]++;
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (at + 2 > n || at + 2 + big(p + at, 2) > n) {
            s->broken[line]++;
            return;
        }
        at += 2 + big(p + at, 2);
    }
    if (at != n) {
        s->broken[line]++;
        return;
    }
    s->idle[line] += count == 0;
    memcpy(s->session, p, 10);
    at = 20;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t len = (uint32_t)big(p + at, 2);
        assert_true(seq + i < SEQS);
        uint64_t *h = &s->hash[line][seq + i], now = truth_hash(seq + i, p + at + 2, len) | 1;
        s->copies[line] += *h != 0;
        s->messages[line]++;
        *h = now;
        at += 2 + len;
    }
}

/* Every frame is checked and filed under the line whose port (base + line) it went to. */
static unsigned walk_pcap(const char *name, unsigned base, struct seen *s)
{
    size_t n, at = 24;
    unsigned frames = 0;
    uint64_t last = 0;
    uint8_t *b = slurp(name, &n);
    memset(s, 0, sizeof *s);
    assert_true(n >= 24 && b[0] == 0x4d && b[1] == 0x3c && b[2] == 0xb2 && b[3] == 0xa1);
    for (; at + 16 <= n; frames++) {
        const uint8_t *h = b + at, *f = h + 16, *ip;
        uint64_t when = (h[0] | (uint64_t)h[1] << 8 | (uint64_t)h[2] << 16 | (uint64_t)h[3] << 24) *
                            1000000000 +
                        (h[4] | (uint64_t)h[5] << 8 | (uint64_t)h[6] << 16 | (uint64_t)h[7] << 24);
        size_t len = h[8] | (size_t)h[9] << 8, k = 12;
        at += 16 + len;
        assert_true(at <= n && len >= 60);
        s->backwards += when < last;
        last = when;
        while ((f[k] == 0x81 && f[k + 1] == 0) || (f[k] == 0x88 && f[k + 1] == 0xa8))
            k += 4;
        ip = f + k + 2;
        if (f[k] != 8 || f[k + 1] != 0 || ip[0] != 0x45 || ip[9] != 17 || (big(ip + 6, 2) & 0x3fff))
            continue; /* broken on purpose below UDP */
        size_t total = big(ip + 2, 2), udp = big(ip + 24, 2);
        unsigned port = (unsigned)big(ip + 22, 2);
        if (k + 2 + total > len || udp + 20 > total || port < base || port >= base + LINES)
            continue;
        assert_memory_equal(f, "\x01\x00\x5e", 3);
        assert_int_equal(f[3], ip[17] & 0x7f);
        assert_memory_equal(f + 4, ip + 18, 2);
        if (ip[16] != 239 || ip[17] & 0x80) /* another group with the same MAC address */
            continue;
        uint32_t pseudo = internet_sum(ip + 12, 8, (uint32_t)(17 + udp));
        if (internet_sum(ip, 20, 0) != 0xffff || internet_sum(ip + 20, udp, pseudo) != 0xffff)
            s->bad_sum++;
        s->packets[port - base]++;
        mold(s, port - base, ip + 28, udp - 8);
    }
    assert_int_equal(at, n);
    free(b);
    return frames;
}

/* ---- tests ---- */

static void same_seed_same_bytes(void **state)
{
    (void)state;
    const char *args =
        "--messages 60000 --quiet --lines loss=2%,burst=4,jitter=5us,reorder=1%,dup=1% ";
    char cmd[400];
    for (int i = 1; i <= 3; i++) {
        snprintf(cmd, sizeof cmd, "%s --seed %d --pcap p%d --truth t%d", args, i == 3 ? 8 : 7, i,
                 i);
        sim(cmd);
    }
    assert_true(same("p1", "p2"));
    assert_true(same("t1", "t2"));
    assert_false(same("p1", "p3"));
    /* a line's chance is its own: what B does changes neither the market nor A */
    sim("--messages 60000 --quiet --seed 7 --pcap p4 --truth t4 --line A,239.1.1.1:5000,loss=2% "
        "--line B,239.1.1.2:5001 --report r4");
    sim("--messages 60000 --quiet --seed 7 --pcap p5 --truth t5 --line A,239.1.1.1:5000,loss=2% "
        "--line B,239.1.1.2:5001,loss=5%,dup=2% --report r5");
    json_t *x = report("r4"), *y = report("r5");
    json_t *sx = json_array_get(json_object_get(x, "sessions"), 0);
    json_t *sy = json_array_get(json_object_get(y, "sessions"), 0);
    assert_true(json_equal(json_object_get(sx, "checksum"), json_object_get(sy, "checksum")));
    assert_true(json_equal(json_array_get(json_object_get(sx, "lines"), 0),
                           json_array_get(json_object_get(sy, "lines"), 0)));
    assert_false(json_equal(json_array_get(json_object_get(sx, "lines"), 1),
                            json_array_get(json_object_get(sy, "lines"), 1)));
    json_decref(x), json_decref(y);
}

/* Capture, truth and report of one run with one session agree in every message of every line. */
static void agree(const char *options, unsigned lines)
{
    char cmd[1500];
    snprintf(cmd, sizeof cmd, "--quiet --pcap a.pcap --truth a.t --report a.json %s", options);
    sim(cmd);
    struct seen *s = calloc(1, sizeof *s);
    assert_non_null(s);
    unsigned frames = walk_pcap("a.pcap", 5000, s);
    json_t *r = report("a.json"), *sess = json_array_get(json_object_get(r, "sessions"), 0);
    assert_int_equal(json_array_size(json_object_get(r, "sessions")), 1);
    assert_int_equal(number(r, "packets"), frames);
    assert_int_equal(s->bad_sum, 0);
    assert_int_equal(s->backwards, 0);
    assert_string_equal(s->session, json_string_value(json_object_get(sess, "key")));

    struct truth_reader t;
    struct truth_record m;
    uint64_t next = (uint64_t)number(sess, "first"), checksum = 0, lost = 0, per_line[LINES] = {0};
    uint64_t wrong = 0;
    int more;
    assert_true(truth_reader_open(&t, in_dir("a.t")));
    while ((more = truth_reader_next(&t, &m)) == 1) {
        uint64_t h = truth_hash(m.seq, m.bytes, m.len);
        assert_int_equal(m.seq, next++);
        checksum += h;
        lost += m.lines == 0;
        if ((m.lines == 0) != in_ranges(json_object_get(sess, "lost"), m.seq))
            wrong++;
        for (unsigned l = 0; l < lines; l++) {
            json_t *jl = json_array_get(json_object_get(sess, "lines"), l);
            bool on = m.lines >> l & 1,
                 divergent = in_ranges(json_object_get(jl, "divergent"), m.seq);
            bool off = in_ranges(json_object_get(jl, "dropped"), m.seq) ||
                       in_ranges(json_object_get(jl, "corrupt"), m.seq);
            per_line[l] += on;
            if (on == off || on != (s->hash[l][m.seq] != 0))
                wrong++;
            if (on && (s->hash[l][m.seq] == (h | 1)) == divergent)
                wrong++;
        }
    }
    assert_int_equal(more, 0);
    truth_reader_close(&t);
    if (wrong)
        fail_msg("%s: %llu disagreements between truth, report and capture", options,
                 (unsigned long long)wrong);
    assert_int_equal(next, (uint64_t)number(sess, "next"));
    size_t i;
    json_t *range;
    json_array_foreach(json_object_get(sess, "lost"), i, range)
    {
        lost -= (uint64_t)(json_integer_value(json_array_get(range, 1)) -
                           json_integer_value(json_array_get(range, 0)) + 1);
    }
    assert_int_equal(lost, 0);
    char text[20];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)checksum);
    assert_string_equal(text, json_string_value(json_object_get(sess, "checksum")));
    for (unsigned l = 0; l < lines; l++) {
        json_t *jl = json_array_get(json_object_get(r, "lines"), l), *v;
        const char *k;
        json_int_t payload_broken = 0, others = 0;
        json_object_foreach(json_object_get(jl, "malformed"), k, v)
        {
            static const char *const in_udp[] = {"short-header", "empty",    "cut",
                                                 "overcount",    "trailing", "bad-length"};
            bool udp = false;
            for (int u = 0; u < 6; u++)
                udp |= strcmp(k, in_udp[u]) == 0;
            /* a frame with a fourth tag is whole, only too deep for the product */
            if (strcmp(k, "four-vlans") != 0)
                *(udp ? &payload_broken : &others) += json_integer_value(v);
        }
        json_int_t twice = number(jl, "duplicates");
        assert_true(s->broken[l] >= number(jl, "corrupt") + payload_broken);
        assert_true(s->broken[l] <= number(jl, "corrupt") + payload_broken + twice);
        assert_int_equal(per_line[l], (uint64_t)number(jl, "messages"));
        assert_true(s->packets[l] + others == (unsigned)number(jl, "packets"));
        if (twice == 0 && payload_broken == 0) {
            assert_int_equal(s->messages[l], (uint64_t)number(jl, "messages"));
            assert_int_equal(s->copies[l], 0);
            assert_int_equal(s->idle[l], (unsigned)number(jl, "heartbeats"));
            assert_int_equal(s->ends[l], (unsigned)number(jl, "end_of_session"));
        }
    }
    json_decref(r);
    free(s);
}

static void capture_is_truth(void **state)
{
    (void)state;
    agree("--messages 50000 --line A,239.1.1.1:5000 --line B,239.1.1.2:5001", 2);
    agree("--messages 100000 --seed 3 --line A,239.1.1.1:5000,loss=10%,burst=8 "
          "--line B,239.1.1.2:5001,loss=10%,burst=8 --end-session",
          2);
    agree("--messages 60000 --seed 4 --line A,239.1.1.1:5000,reorder=5%,window=5,corrupt=1% "
          "--line B,239.1.1.2:5001,delay=20us,jitter=30us,swing=1%,repack,loss=3% "
          "--line C,239.1.1.3:5002,small,vlan=100.200,dup=2%",
          3);
    agree("--messages 60000 --line A,239.1.1.1:5000,repack,drop=5000-5009;7001;40000-40500 "
          "--line B,239.1.1.2:5001,repack,dead=7000-9000,drop=40400-40600",
          2);
    agree("--messages 40000 --line A,239.1.1.1:5000,vlan=7 --line B,239.1.1.2:5001,vlan=1.2.3 "
          "--divergent-at 37000:B --divergent-at 38000:A --malformed all:20",
          2);
    agree("--messages 3000 --rate 300 --first-seq 100000 --heartbeat-ms 5 --no-directory "
          "--max-per-packet 3 --tail-heartbeats 4 --line A,239.1.1.1:5000,dead=101000-101200 "
          "--line B,239.1.1.2:5001",
          2);
}

/* Lists are exact: only what was named is lost, on that line and on all. */
static void lists_are_exact(void **state)
{
    (void)state;
    sim("--quiet --null --messages 50000 --report r.json --line A,239.1.1.1:5000,drop=100-120;500 "
        "--line B,239.1.1.2:5001,drop=110-130;500-500 --line C,239.1.1.3:5002,dead=90-");
    json_t *r = report("r.json"), *s = json_array_get(json_object_get(r, "sessions"), 0);
    json_t *l = json_object_get(s, "lines");
    json_t *want = json_loads("[[[100,120],[500,500]], [[110,130],[500,500]], [[90,50000]], "
                              "[[110,120],[500,500]]]",
                              0, NULL);
    for (size_t i = 0; i < 3; i++)
        assert_true(
            json_equal(json_object_get(json_array_get(l, i), "dropped"), json_array_get(want, i)));
    assert_true(json_equal(json_object_get(s, "lost"), json_array_get(want, 3)));
    json_decref(r), json_decref(want);
}

static void sessions_and_restarts(void **state)
{
    (void)state;
    sim("--quiet --pcap s.pcap --truth s.t --messages 30000 --symbols 200 --report r.json "
        "--session FIRST --restart-at 5000 --second-session SECOND@4000 --session-end-at 6000 "
        "--line A,239.1.1.1:5000 --end-packets 2");
    json_t *r = report("r.json"), *all = json_object_get(r, "sessions");
    static const struct {
        const char *key;
        int last;
    } want[] = {{"FIRST", 5000}, {"FIRST", 4000}, {"SECOND", 6000}};
    assert_int_equal(json_array_size(all), 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *s = json_array_get(all, i);
        assert_memory_equal(json_string_value(json_object_get(s, "key")), want[i].key,
                            strlen(want[i].key));
        assert_int_equal(number(s, "first"), 1);
        assert_int_equal(number(s, "last"), want[i].last);
        assert_int_equal(number(json_object_get(s, "types"), "R"), 200); /* told again */
    }
    /* on the wire: the sequence falls to 1 once under FIRST, and the end is said twice per session
     * end */
    size_t n, at = 24;
    uint8_t *b = slurp("s.pcap", &n);
    uint64_t last = 0;
    unsigned falls = 0, ends = 0, epoch = 0;
    while (at + 16 <= n) {
        const uint8_t *p = b + at + 16 + 42;
        uint64_t seq = big(p + 10, 8);
        if (big(p + 18, 2) == 0xffff) {
            ends++;
        } else if (seq < last) {
            falls++;
            epoch++;
            assert_int_equal(seq, 1);
        }
        assert_memory_equal(p, want[epoch].key, strlen(want[epoch].key));
        last = seq;
        at += 16 + (b[at + 8] | (size_t)b[at + 9] << 8);
    }
    assert_int_equal(falls, 2);
    assert_int_equal(ends, 4);
    free(b);
    json_decref(r);
}

/* ---- the market ---- */

static void close_to(const char *what, double got, double want, double tolerance)
{
    if (fabs(got - want) > tolerance)
        fail_msg("%s: %.4f, want %.4f +- %.4f", what, got, want, tolerance);
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

static void mix_and_skew(void **state)
{
    (void)state;
    sim("--quiet --null --messages 2000000 --report r.json");
    json_t *r = report("r.json"), *s = json_array_get(json_object_get(r, "sessions"), 0);
    json_t *types = json_object_get(s, "types"), *symbols = json_object_get(s, "symbols"), *v;
    static const struct {
        const char *type;
        double share; /* load.md: 2019-12-30 */
    } mix[] = {{"A", 43.59}, {"D", 42.55}, {"U", 8.05}, {"E", 2.13}, {"X", 1.04},
               {"I", 1.50},  {"F", 0.55},  {"P", 0.45}, {"C", 0.04}};
    double total = 2000000 - number(types, "R") - 2.25 * 8906;
    for (size_t i = 0; i < sizeof mix / sizeof mix[0]; i++) {
        double got = 100.0 * (double)number(types, mix[i].type) / total;
        close_to(mix[i].type, got, mix[i].share, 0.02 + mix[i].share * 0.02);
    }
    for (const char *t = "SRHYLVWKJhAFECXDUPQBINO"; *t; t++)
        assert_true(number(types, (char[]){*t, 0}) > 0);
    double *n = calloc(10000, sizeof *n), sum = 0;
    size_t have = 0;
    const char *k;
    json_object_foreach(symbols, k, v)
    {
        /* every name has its directory messages; take them off */
        n[have++] = (double)json_integer_value(v) - 3.25;
    }
    assert_int_equal(have, 8906);
    qsort(n, have, sizeof *n, falling);
    for (size_t i = 0; i < have; i++)
        sum += n[i];
    static const struct {
        int rank;
        double share;
    } skew[] = {{1, 0.87},   {10, 5.8},    {50, 15.6},   {100, 23.2}, {200, 33.8},
                {500, 52.4}, {1000, 68.4}, {2000, 84.2}, {4000, 96.6}};
    double run = 0;
    for (size_t i = 0, at = 0; i < sizeof skew / sizeof skew[0]; i++) {
        while (at < (size_t)skew[i].rank)
            run += n[at++];
        close_to("share of the busiest names", 100 * run / sum, skew[i].share,
                 0.25 + skew[i].share * 0.01);
    }
    free(n);
    json_decref(r);
}

struct order {
    int64_t ref, shares;
};

static struct order *find(struct order *table, int64_t ref, bool make)
{
    uint64_t i = (uint64_t)ref * 0x9e3779b97f4a7c15u >> 44;
    while (table[i].ref && table[i].ref != ref)
        i = (i + 1) & 0xfffff;
    return table[i].ref || make ? &table[i] : NULL;
}

/* Decoded by the second decoder: the directory comes first, references grow, every order event has
 * its order. */
static void life_of_orders(void **state)
{
    (void)state;
    sim("--quiet --null --messages 300000 --truth t --date 2026-07-01 --start 10:00:00");
    struct order *table = calloc(1 << 20, sizeof *table);
    struct truth_reader t;
    struct truth_record m;
    struct refdecode d;
    static struct ref_row row;
    int64_t last_ref = 0, last_time = 0, adds = 0, deleted = 0, executed = 0, locate = 0;
    bool trading = false;
    assert_true(refdecode_open(&d, ref_midnight(2026, 7, 1)));
    assert_true(truth_reader_open(&t, in_dir("t")));
    while (truth_reader_next(&t, &m) == 1) {
        assert_int_equal(refdecode(&d, "itch", m.bytes, m.len, &row), 1);
        assert_string_equal(row.sym, row.by_locate);
        assert_true(row.time >= last_time && row.time >= d.midnight + INT64_C(36000000000000));
        /* the packet leaves within its millisecond */
        int64_t delay = m.sent - 946684800000000000 - row.time;
        assert_true(delay >= 0 && delay < 1000000);
        last_time = row.time;
        if (row.type == 'R')
            assert_int_equal(ref_field(&row, "locate")->i, ++locate);
        if (strcmp(row.table, "itch_order") != 0)
            continue;
        assert_int_equal(locate, 8906);
        trading = true;
        int64_t ref = ref_field(&row, "ref")->i, shares = ref_field(&row, "shares")->i;
        int64_t fresh = row.type == 'U' ? ref_field(&row, "newref")->i : ref;
        struct order *o = NULL;
        if (row.type != 'A' && row.type != 'F') {
            o = find(table, ref, false);
            assert_true(o && o->shares > 0);
        }
        if (row.type == 'A' || row.type == 'F' || row.type == 'U') {
            assert_true(fresh > last_ref);
            last_ref = fresh;
            adds += row.type != 'U';
            if (o)
                o->shares = 0;
            *find(table, fresh, true) = (struct order){fresh, shares};
            continue;
        }
        o->shares -= row.type == 'D' ? o->shares : shares;
        assert_true(o->shares >= 0);
        deleted += row.type == 'D';
        executed += o->shares == 0 && row.type != 'D';
    }
    assert_true(trading);
    close_to("orders that end by execution", (double)executed / (double)(executed + deleted), 0.04,
             0.015);
    close_to("orders that end", (double)(executed + deleted) / (double)adds, 1.0, 0.05);
    truth_reader_close(&t);
    refdecode_close(&d);
    free(table);
}

/* The busiest millisecond of a flat second is 3 to 10 times the mean; the day has its open and its
 * purge. */
static void bursts_and_purge(void **state)
{
    (void)state;
    struct truth_reader t;
    struct truth_record m;
    static unsigned slots[1000];
    unsigned peak = 0, n = 0;
    sim("--quiet --null --duration 1 --rate 200000 --truth t");
    assert_true(truth_reader_open(&t, in_dir("t")));
    for (; truth_reader_next(&t, &m) == 1; n++) {
        unsigned k = (unsigned)(m.sent / 1000000 % 1000);
        peak = ++slots[k] > peak ? slots[k] : peak;
    }
    truth_reader_close(&t);
    close_to("messages in the second", n, 200000, 20000);
    assert_true(peak >= 600 && peak <= 2100);

    sim("--quiet --null --profile day --start 15:59:59.5 --duration 2 --report r.json "
        "--report-symbols 0");
    json_t *r = report("r.json");
    json_t *types = json_object_get(json_array_get(json_object_get(r, "sessions"), 0), "types");
    assert_true(number(types, "D") > 1500000); /* 1.3 s of about 1.4 M/s, the book permitting */
    json_decref(r);

    sim("--quiet --null --profile day --start 09:29:59 --duration 2 --report r.json "
        "--report-symbols 0");
    r = report("r.json");
    close_to("messages around the open", (double)number(r, "messages"), 23000 + 658000 + 28945,
             60000);
    json_decref(r);
}

/* ---- other protocols ---- */

static void iex_decodes(void **state)
{
    (void)state;
    static const struct {
        const char *name, *types;
    } feeds[] = {
        {"iex-tops15", "ABDHOPQSTX"}, {"iex-tops", "ABDHIOPQSTX"}, {"iex-deep", "58ABDEHIOPSTX"}};
    for (size_t i = 0; i < 3; i++) {
        char cmd[200];
        struct truth_reader t;
        struct truth_record m;
        struct refdecode d;
        static struct ref_row row;
        unsigned n[256] = {0};
        snprintf(cmd, sizeof cmd,
                 "--quiet --pcap i.pcap --messages 5000 --symbols 50 --truth t --protocol %s",
                 feeds[i].name);
        sim(cmd);
        assert_true(refdecode_open(&d, 0));
        assert_true(truth_reader_open(&t, in_dir("t")));
        while (truth_reader_next(&t, &m) == 1) {
            assert_int_equal(refdecode(&d, "iex", m.bytes, m.len, &row), 1);
            int64_t delay = m.sent - 946684800000000000 - row.time;
            assert_true(delay >= 0 && delay < 1000000);
            n[(unsigned char)row.type]++;
        }
        for (int c = 0; c < 256; c++)
            assert_int_equal(n[c] > 0, c && strchr(feeds[i].types, c) != NULL);
        truth_reader_close(&t);
        refdecode_close(&d);
    }
}

/* Headers of the packet-numbering and unit protocols, by hand-written arithmetic. */
static void other_framings(void **state)
{
    (void)state;
    static const char *const names[] = {"iex-deep", "cboe", "cme", "b3"};
    for (int k = 0; k < 4; k++) {
        char cmd[300];
        size_t n, at = 24;
        uint64_t next[4] = {1, 1, 1, 1}, offset = 0, zero = 0, idle = 0, packets = 0;
        snprintf(cmd, sizeof cmd,
                 "--quiet --pcap o.pcap --messages 9000 --rate 2000 --heartbeat-ms 20 --symbols 90 "
                 "--session 5 "
                 "--protocol %s %s --line A,239.1.1.1:5000 --report r.json",
                 names[k],
                 k == 1   ? "--units 3 --unsequenced 7"
                 : k == 3 ? "--unsequenced 7"
                          : "");
        sim(cmd);
        uint8_t *b = slurp("o.pcap", &n);
        for (; at + 16 <= n; at += 16 + le32(b + at + 8), packets++) {
            const uint8_t *p = b + at + 16 + 42;
            size_t len = big(p - 4, 2) - 8, end;
            uint64_t messages = 0;
            if (k == 0) {
                assert_int_equal(le16(p + 12) + 40, len);
                assert_int_equal(le64(p + 24), next[0]);
                assert_int_equal(le64(p + 16), offset);
                for (end = 40; end < len; end += 2u + le16(p + end))
                    messages++;
                assert_int_equal(messages, le16(p + 14));
                next[0] += messages;
                offset += len - 40;
            } else if (k == 1) {
                assert_int_equal(le16(p), len);
                for (end = 8; end < len; end += p[end])
                    messages++;
                assert_int_equal(messages, p[2]);
                assert_true(p[3] >= 1 && p[3] <= 3);
                if (le32(p + 4) == 0) {
                    zero++;
                } else {
                    assert_int_equal(le32(p + 4), next[p[3]]);
                    next[p[3]] += messages;
                }
            } else {
                for (end = k == 2 ? 12 : 16; end < len; end += le16(p + end))
                    messages++;
                uint32_t seq = le32(p + (k == 2 ? 0 : 4));
                if (k == 3 && seq == 0)
                    zero++;
                else
                    assert_int_equal(seq, next[0]++);
            }
            assert_int_equal(end, len);
            idle += messages == 0;
        }
        json_t *r = report("r.json");
        assert_int_equal(packets, (uint64_t)number(r, "packets"));
        json_decref(r);
        assert_true(k == 2 || idle > 0);
        assert_true(k == 0 || k == 2 || zero > 0);
        free(b);
    }
}

/* Units, epochs and packet numbers: each session's lists say of each message what its truth record
 * says. */
static void every_session_agrees(void **state)
{
    (void)state;
    static const char *const feeds[] = {"cboe --units 4 --unsequenced 9", "cme", "b3", "iex-deep",
                                        "itch"};
    for (size_t k = 0; k < 5; k++) {
        char cmd[400];
        struct truth_reader t;
        struct truth_record m;
        snprintf(
            cmd, sizeof cmd,
            "--quiet --null --session 9 --messages 20000 --symbols 100 --restart-at 300 --truth t "
            "--lines loss=8%%,burst=3,corrupt=1%%,dup=1%%,reorder=1%%,delay=5us --report r.json "
            "--protocol %s",
            feeds[k]);
        sim(cmd);
        json_t *r = report("r.json"), *all = json_object_get(r, "sessions");
        json_int_t n = 0, wrong = 0, lost = 0;
        assert_int_equal(json_array_size(all), k == 0 ? 8 : 2);
        assert_true(truth_reader_open(&t, in_dir("t")));
        for (; truth_reader_next(&t, &m) == 1; n++) {
            json_t *s = json_array_get(all, m.session);
            if (m.seq == 0)
                continue;
            lost += m.lines == 0;
            wrong += (m.lines == 0) != in_ranges(json_object_get(s, "lost"), m.seq);
            for (unsigned l = 0; l < 2; l++) {
                json_t *jl = json_array_get(json_object_get(s, "lines"), l);
                bool off = in_ranges(json_object_get(jl, "dropped"), m.seq) ||
                           in_ranges(json_object_get(jl, "corrupt"), m.seq);
                wrong += off == (m.lines >> l & 1);
            }
        }
        truth_reader_close(&t);
        if (wrong || lost == 0 || n != number(r, "messages"))
            fail_msg("%s: %d wrong, %d lost, %d records", feeds[k], (int)wrong, (int)lost, (int)n);
        json_decref(r);
    }
}

/* ---- the wire ---- */

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int listen_udp(unsigned *port)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    getsockname(fd, (struct sockaddr *)&a, &len);
    *port = ntohs(a.sin_port);
    return fd;
}

/* Paced by the clock over sockets: all arrives, in about its time, with little CPU. */
static void over_udp(void **state)
{
    (void)state;
    unsigned port;
    int fd = listen_udp(&port);
    char cmd[300];
    uint8_t p[2048];
    struct seen *s = calloc(1, sizeof *s);
    struct rusage before, after;
    assert_non_null(s);
    snprintf(cmd, sizeof cmd,
             "--quiet --udp --messages 3000 --rate 6000 --no-directory --smooth --end-session "
             "--heartbeat-ms 10 "
             "--line A,127.0.0.1:%u --report r.json --truth t",
             port);
    getrusage(RUSAGE_CHILDREN, &before);
    int64_t began = now_ns();
    pid_t pid = start(cmd);
    while (s->ends[0] < 3) {
        struct pollfd w = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&w, 1, 10000), 1);
        ssize_t n = recv(fd, p, sizeof p, 0);
        assert_true(n > 0);
        mold(s, 0, p, (size_t)n);
    }
    assert_int_equal(finish(pid), 0);
    double took = (double)(now_ns() - began) / 1e9;
    getrusage(RUSAGE_CHILDREN, &after);
    double cpu = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) +
                 (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1e6;
    assert_int_equal(s->messages[0], 3000);
    assert_int_equal(s->copies[0] + s->broken[0], 0);
    assert_true(took >=
                0.49); /* 3,000 messages at 6,000/s; the upper end is the machine's affair */
    assert_true(cpu < 0.25);
    struct truth_reader t;
    struct truth_record m;
    assert_true(truth_reader_open(&t, in_dir("t")));
    while (truth_reader_next(&t, &m) == 1)
        assert_int_equal(s->hash[0][m.seq], truth_hash(m.seq, m.bytes, m.len) | 1);
    truth_reader_close(&t);
    free(s);
    close(fd);
}

static void signal_ends_in_order(void **state)
{
    (void)state;
    unsigned port;
    int fd = listen_udp(&port);
    char cmd[200];
    uint8_t p[2048];
    snprintf(cmd, sizeof cmd,
             "--quiet --udp --rate 2000 --line A,127.0.0.1:%u --report r.json --truth t", port);
    pid_t pid = start(cmd);
    for (int i = 0; i < 5; i++) { /* it is running */
        struct pollfd w = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&w, 1, 10000), 1);
        assert_true(recv(fd, p, sizeof p, 0) > 0);
    }
    kill(pid, SIGTERM);
    assert_int_equal(finish(pid), 0);
    json_t *r = report("r.json");
    assert_true(json_is_false(json_object_get(r, "complete")));
    struct truth_reader t;
    struct truth_record m;
    json_int_t n = 0;
    assert_true(truth_reader_open(&t, in_dir("t")));
    while (truth_reader_next(&t, &m) == 1)
        n++;
    assert_int_equal(n, number(r, "messages"));
    assert_true(n > 0);
    truth_reader_close(&t);
    json_decref(r);
    close(fd);
}

/* A capture goes through the replay unchanged, compressed too; a rewritten one changes its group.
 */
static void replay(void **state)
{
    (void)state;
    sim("--quiet --pcap a.pcap --messages 20000 --line A,239.1.1.1:5000 --line B,239.1.1.2:5001");
    sim("--quiet --replay a.pcap --pcap b.pcap");
    assert_true(same("a.pcap", "b.pcap"));
    sim("--quiet --replay a.pcap --pcap c.pcap --rewrite 239.1.1.2:5001=239.9.200.7:5003 --report "
        "r.json");
    struct seen *s = calloc(1, sizeof *s);
    assert_non_null(s);
    walk_pcap("c.pcap", 5000, s);
    assert_int_equal(s->bad_sum, 0);
    assert_int_equal(s->messages[0], 20000);
    assert_int_equal(s->messages[1], 0);
    assert_int_equal(s->messages[3], 20000);
    json_t *r = report("r.json");
    assert_int_equal(number(r, "rewritten"), s->packets[3]);
    json_decref(r);
    free(s);
}

/* tcpdump, where there is one, reads as many packets as the report counts and finds no bad
 * checksum. */
static void tcpdump_agrees(void **state)
{
    (void)state;
    if (system("command -v tcpdump >/dev/null 2>&1") != 0) {
        print_message("skipped: no tcpdump here\n");
        skip();
    }
    sim("--quiet --pcap a.pcap --messages 3000 --line A,239.1.1.1:5000,vlan=5 --line "
        "B,239.1.1.2:5001 "
        "--report r.json");
    char cmd[500], text[1000];
    snprintf(cmd, sizeof cmd, "tcpdump -nn -vv -r %s 2>/dev/null", in_dir("a.pcap"));
    FILE *f = popen(cmd, "r");
    unsigned packets = 0, bad = 0, good = 0;
    assert_non_null(f);
    while (fgets(text, sizeof text, f)) {
        packets += strstr(text, "proto UDP") != NULL;
        bad += strstr(text, "bad") != NULL;
        good += strstr(text, "[udp sum ok]") != NULL;
    }
    assert_int_equal(pclose(f), 0);
    json_t *r = report("r.json");
    assert_int_equal(packets, (unsigned)number(r, "packets"));
    assert_int_equal(bad, 0);
    assert_int_equal(good, packets);
    json_decref(r);
}

static void bad_options(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "--null --pcap x",
                                        "--null --nonsense",
                                        "--null --rate fast",
                                        "--null --line A",
                                        "--null --line A,239.1.1.1:5000,loss=2",
                                        "--null --line A,239.1.1.1:5000,drop=9-3",
                                        "--null --line A,239.1.1.1:1 --line A,239.1.1.1:2",
                                        "--null --second-session X",
                                        "--null --divergent-at 5:Z",
                                        "--null --malformed strange",
                                        "--null --date 2026-13-01",
                                        "--null --unsequenced 5",
                                        "--udp --line A,127.0.0.1:9,vlan=4",
                                        "--null left over"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        size_t n, lines = 0;
        if (finish(start(wrong[i])) != 2)
            fail_msg("\"%s\" was taken", wrong[i]);
        uint8_t *b = slurp("stderr", &n);
        for (size_t k = 0; k < n; k++)
            lines += b[k] == '\n';
        assert_int_equal(lines, 1);
        assert_memory_equal(b, "penstock-sim: ", 14);
        free(b);
    }
    assert_int_equal(finish(start("--replay /nonexistent --null")), 1);
    assert_int_equal(finish(start("--pcap /nonexistent/x")), 1);
    assert_int_equal(finish(start("--null --protocol cme --line A,239.1.1.1:1,repack")), 1);
    assert_int_equal(finish(start("--help")), 0);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/penstock-sim-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    DIR *d = opendir(dir);
    if (!d)
        return -1;
    for (struct dirent *x; (x = readdir(d));)
        if (x->d_name[0] != '.')
            unlink(in_dir(x->d_name));
    closedir(d);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_bytes),
        cmocka_unit_test(capture_is_truth),
        cmocka_unit_test(lists_are_exact),
        cmocka_unit_test(sessions_and_restarts),
        cmocka_unit_test(mix_and_skew),
        cmocka_unit_test(life_of_orders),
        cmocka_unit_test(bursts_and_purge),
        cmocka_unit_test(iex_decodes),
        cmocka_unit_test(other_framings),
        cmocka_unit_test(every_session_agrees),
        cmocka_unit_test(over_udp),
        cmocka_unit_test(signal_ends_in_order),
        cmocka_unit_test(replay),
        cmocka_unit_test(tcpdump_agrees),
        cmocka_unit_test(bad_options),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
