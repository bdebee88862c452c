/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish_trades - a publisher: random trades of six symbols into table trade, whose columns are
 * time, sym, price float and size long.
 *
 *     cc publish_trades.c -o publish_trades $(pkg-config --cflags --libs penstock)
 *     ./publish_trades /run/penstock/nyc1.ipc 10000        so many rows, then the acknowledgement
 *     ./publish_trades 10.0.0.7:5010                       until interrupted
 */
#include <errno.h>
#include <penstock/client.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static volatile sig_atomic_t stopped;

static void stop(int sig)
{
    (void)sig;
    stopped = 1;
}

/* A row that was refused, or of which nobody knows: say which. */
static void on_ack(void *arg, uint64_t ticket, int code, uint64_t position, const char *text)
{
    (void)arg;
    (void)position;
    if (code)
        fprintf(stderr, "rows of ticket %llu: %s\n", (unsigned long long)ticket, text);
}

int main(int argc, char **argv)
{
    static const char *const syms[] = {"AAPL", "AMZN", "GOOG", "IBM", "MSFT", "ORCL"};
    struct pst_options options = PST_OPTIONS_INIT;
    unsigned long rows = argc > 2 ? strtoul(argv[2], NULL, 10) : 0, sent = 0;
    uint64_t ticket = 0;
    int r = 0;
    options.addresses = argc > 1 ? argv[1] : NULL;
    options.on_ack = on_ack;
    pst_client *c = pst_open(&options);
    if (!c) {
        fprintf(stderr, "publish_trades: %s\n", pst_open_error());
        return 1;
    }
    signal(SIGINT, stop);
    while (!stopped && (!rows || sent < rows)) {
        r = pst_publish_row(c, "trade", PST_DURABLE, &ticket, "psfj", pst_now(), syms[rand() % 6],
                            (rand() % 100000) / 100.0, (int64_t)(1 + rand() % 1000));
        if (r == -ENOBUFS) { /* the daemon is behind: wait for it */
            pst_step(c, 100);
            continue;
        }
        if (r < 0)
            break;
        if (!sent++)
            printf("sending\n");
    }
    if (r >= 0)
        r = pst_wait(c, ticket, 30000);
    if (r < 0)
        fprintf(stderr, "publish_trades: %s\n", pst_error(c));
    else
        printf("%lu rows, durable below position %llu\n", sent,
               (unsigned long long)pst_position(c));
    pst_close(c);
    return r < 0;
}
