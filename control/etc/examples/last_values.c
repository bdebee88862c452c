/* SPDX-License-Identifier: Apache-2.0 */
/*
 * last_values - a subscriber that keeps the last price of each symbol of table trade. On the
 * daemon's host it reads the journal's ring itself; elsewhere it is sent the rows.
 *
 *     cc last_values.c -o last_values $(pkg-config --cflags --libs penstock)
 *     ./last_values /run/penstock/nyc1.ipc 10000     after so many rows it prints what it has
 *     ./last_values 10.0.0.7:5010                    until interrupted
 */
#include <penstock/client.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct last {
    char sym[64];
    double price;
    unsigned long trades;
};
static struct last table[4096];
static unsigned used;
static volatile sig_atomic_t stopped;

static void stop(int sig)
{
    (void)sig;
    stopped = 1;
}

static void take(const char *sym, uint32_t len, double price)
{
    unsigned i = 0;
    if (len >= sizeof table[0].sym)
        return;
    while (i < used && (strlen(table[i].sym) != len || memcmp(table[i].sym, sym, len) != 0))
        i++;
    if (i == sizeof table / sizeof *table)
        return;
    if (i == used) {
        memcpy(table[used++].sym, sym, len);
        table[i].sym[len] = 0;
    }
    table[i].price = price;
    table[i].trades++;
}

static unsigned long rows_of(struct pst_rows *rows)
{
    struct pst_row row;
    unsigned long n = 0;
    for (bool more = pst_first(rows, &row); more; more = pst_next_row(rows, &row), n++) {
        uint32_t len;
        int sym = pst_column_of(row.table, "sym"), price = pst_column_of(row.table, "price");
        const char *text = sym < 0 ? NULL : pst_text(rows, &row, (unsigned)sym, &len);
        if (text && price >= 0)
            take(text, len, pst_double(rows, &row, (unsigned)price));
    }
    return n;
}

int main(int argc, char **argv)
{
    struct pst_options options = PST_OPTIONS_INIT;
    struct pst_subscription sub = PST_SUBSCRIPTION_INIT;
    unsigned long wanted = argc > 2 ? strtoul(argv[2], NULL, 10) : 0, rows = 0;
    struct pst_event e;
    int r = 0;
    options.addresses = argc > 1 ? argv[1] : NULL;
    sub.tables = "trade";
    sub.from = PST_FROM_DAY; /* the morning first */
    pst_client *c = pst_open(&options);
    if (!c) {
        fprintf(stderr, "last_values: %s\n", pst_open_error());
        return 1;
    }
    r = pst_subscribe(c, &sub, 10000);
    if (r < 0) {
        fprintf(stderr, "last_values: %s\n", pst_error(c));
        pst_close(c);
        return 1;
    }
    fprintf(stderr, "by %s\n", pst_is_shared(c) ? "shared memory" : "network");
    signal(SIGINT, stop);
    while (!stopped && (!wanted || rows < wanted)) {
        r = pst_next(c, &e, 1000);
        if (r < 0)
            break;
        if (r == 0)
            continue;
        if (e.kind == PST_ROWS)
            rows += rows_of(e.rows);
        else if (e.kind == PST_LOST || e.kind == PST_REWOUND || e.kind == PST_SKIPPED)
            fprintf(stderr, "last_values: the stream was cut (%d)\n", e.kind);
        else if (e.kind == PST_DISCONNECTED)
            fprintf(stderr, "last_values: %s; trying again\n", e.text);
    }
    if (r < 0)
        fprintf(stderr, "last_values: %s\n", pst_error(c));
    for (unsigned i = 0; i < used; i++)
        printf("%s %.2f %lu\n", table[i].sym, table[i].price, table[i].trades);
    pst_close(c);
    return r < 0;
}
