/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_probe - libpenstock against a real daemon, for tests/system/client.sh.
 *
 *   client_probe publish ADDRESS FROM TO [resend]       rows whose `size` is FROM ... TO-1, durable
 *   client_probe subscribe ADDRESS WAY N [SECONDS]      until N rows came; each `size` must follow
 *                                                       the one before. WAY: network, shared,
 *                                                       place, each with an optional /day, /begin,
 *                                                       /catchup, /slow, /tellN (says so at N rows)
 *   client_probe query ADDRESS SQL                      one number
 *   client_probe watermark ADDRESS
 *
 * The subscriber prints: rows first last holes repeats lost rewound disconnects, and exits 0 when
 * neither holes nor repeats were there but those that were told.
 */
#include <errno.h>
#include <penstock/client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int fail(const char *what, const pst_client *c)
{
    fprintf(stderr, "client_probe: %s: %s\n", what, c ? pst_error(c) : pst_open_error());
    return 1;
}

static pst_client *opened(const char *address, bool resend)
{
    struct pst_options o = PST_OPTIONS_INIT;
    const char *user = getenv("PROBE_USER"), *password = getenv("PROBE_PASSWORD");
    o.addresses = address;
    o.user = user;
    o.password = password;
    const char *ca = getenv("PROBE_CA");
    o.ca_file = ca && *ca ? ca : NULL;
    o.reconnect_ms = 50;
    o.resend = resend;
    o.batch_rows = 50;
    return pst_open(&o);
}

static int publish(const char *address, long from, long to, bool resend)
{
    pst_client *c = opened(address, resend);
    uint64_t ticket = 0;
    int r = 0;
    if (!c)
        return fail("open", c);
    for (long i = from; i < to && r >= 0; i++)
        while ((r = pst_publish_row(c, "trade", PST_DURABLE, &ticket, "psfj", pst_now(),
                                    i % 2 ? "ODD" : "EVEN", (double)i, (int64_t)i)) == -ENOBUFS)
            pst_step(c, 20);
    if (r >= 0)
        r = pst_wait(c, ticket, 120000);
    if (r < 0)
        return fail("publish", c);
    printf("durable %llu\n", (unsigned long long)pst_position(c));
    pst_close(c);
    return 0;
}

static int subscribe(const char *address, const char *way, long wanted, int seconds)
{
    struct pst_subscription s = PST_SUBSCRIPTION_INIT;
    struct pst_event e;
    struct pst_row row;
    long rows = 0, first = -1, last = -1, holes = 0, repeats = 0, lost = 0, rewound = 0, ends = 0;
    long day = 0, other = 0;
    const char *tell = strstr(way, "/tell");
    long told_at = tell ? atol(tell + 5) : -1;
    pst_client *c = opened(address, false);
    if (!c)
        return fail("open", c);
    s.tables = "trade";
    s.via = *way == 'n' ? PST_VIA_NETWORK : PST_VIA_SHARED;
    s.in_place = *way == 'p';
    s.from = strstr(way, "/day")     ? PST_FROM_DAY
             : strstr(way, "/begin") ? PST_FROM_BEGIN
                                     : PST_FROM_LIVE;
    s.policy = strstr(way, "/catchup") ? PST_POLICY_CATCHUP : PST_POLICY_DEFAULT;
    s.where = strstr(way, "/odd") ? "sym = 'ODD'" : NULL;
    if (s.where)
        s.via = PST_VIA_NETWORK;
    long step = s.where ? 2 : 1;
    if (pst_subscribe(c, &s, 60000) < 0)
        return fail("subscribe", c);
    fprintf(stderr, "subscribed %s\n", pst_is_shared(c) ? "shared" : "network");
    time_t end = time(NULL) + seconds;
    while (rows < wanted && time(NULL) < end) {
        int r = pst_next(c, &e, 200);
        if (r < 0 && r != -ENOTCONN)
            return fail("next", c);
        if (r != 1)
            continue;
        long n_at = rows, l_at = last;
        if (e.kind == PST_ROWS)
            for (bool more = pst_first(e.rows, &row); more; more = pst_next_row(e.rows, &row)) {
                long n = (long)pst_long(e.rows, &row, 3);
                uint32_t len;
                const char *sym = pst_text(e.rows, &row, 1, &len);
                bool right = pst_double(e.rows, &row, 2) == (double)n && sym &&
                             len == (n % 2 ? 3u : 4u) && !memcmp(sym, n % 2 ? "ODD" : "EVEN", len);
                if (!right && pst_still_valid(c))
                    return fprintf(stderr, "client_probe: row %ld is wrong\n", n), 1;
                if (first < 0)
                    first = n;
                else if (n > last + step)
                    holes += n - last - step;
                else if (n <= last)
                    repeats++;
                last = n;
                rows++;
            }
        if (!pst_still_valid(c)) { /* it comes again */
            rows = n_at;
            last = l_at;
        }
        if (n_at < told_at && rows >= told_at)
            fprintf(stderr, "rows %ld\n", rows);
        lost += e.kind == PST_LOST;
        rewound += e.kind == PST_REWOUND;
        ends += e.kind == PST_DISCONNECTED;
        if (e.kind == PST_CONNECTED)
            fprintf(stderr, "connected again\n");
        day += e.kind == PST_END_OF_DAY;
        other += e.kind == PST_SKIPPED || e.kind == PST_GAP;
        if (strstr(way, "/slow") && e.kind == PST_ROWS)
            nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    printf(
        "rows=%ld first=%ld last=%ld holes=%ld repeats=%ld lost=%ld rewound=%ld ends=%ld day=%ld "
        "other=%ld\n",
        rows, first, last, holes, repeats, lost, rewound, ends, day, other);
    pst_close(c);
    return rows < wanted || ((holes || repeats) && !lost && !rewound);
}

static int query(const char *address, const char *sql)
{
    struct pst_rows *rows;
    struct pst_row row;
    pst_client *c = opened(address, false);
    if (!c)
        return fail("open", c);
    if (pst_query(c, sql, &rows, 60000) < 0)
        return fail("query", c);
    if (rows && pst_first(rows, &row))
        printf("%lld\n", (long long)pst_long(rows, &row, 0));
    pst_rows_free(rows);
    pst_close(c);
    return 0;
}

static int watermark(const char *address)
{
    struct pst_watermark w;
    pst_client *c = opened(address, false);
    if (!c)
        return fail("open", c);
    if (pst_watermark(c, &w, 60000) < 0 ||
        pst_wait_position(c, w.committed, PST_DURABLE, 60000) < 0)
        return fail("watermark", c);
    printf("%d\n",
           w.committed >= w.submitted && w.submitted >= w.written && w.written >= w.durable);
    pst_close(c);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 5 && !strcmp(argv[1], "publish"))
        return publish(argv[2], atol(argv[3]), atol(argv[4]), argc > 5);
    if (argc >= 5 && !strcmp(argv[1], "subscribe"))
        return subscribe(argv[2], argv[3], atol(argv[4]), argc > 5 ? atoi(argv[5]) : 60);
    if (argc == 4 && !strcmp(argv[1], "query"))
        return query(argv[2], argv[3]);
    if (argc == 3 && !strcmp(argv[1], "watermark"))
        return watermark(argv[2]);
    fprintf(stderr, "client_probe publish|subscribe|query|watermark ...\n");
    return 2;
}
