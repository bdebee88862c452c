/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_probe ADDRESS UNTIL: a user of libpenstock's streams. Merges `last` of trade by its key,
 * as changes and as full states, until both have seen number UNTIL in column size; a third stream
 * is closed on the way. Prints what it has, a symbol a line, and how often it was connected.
 */
#include <inttypes.h>
#include <penstock/client.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYMS 64

struct merged {
    pst_stream *s;
    int64_t size[SYMS], most;
    unsigned states, updates;
};

static void fail(const char *what, pst_client *c)
{
    fprintf(stderr, "stream_probe: %s: %s\n", what, pst_error(c));
    exit(1);
}

static pst_stream *open_it(pst_client *c, const char *name, bool full, const char *param)
{
    const char *params[] = {"table=trade", param};
    struct pst_stream_options o = PST_STREAM_OPTIONS_INIT;
    pst_stream *s;
    o.name = name;
    o.params = params;
    o.nparams = param ? 2 : 1;
    o.full = full;
    if (pst_stream_open(c, &o, &s, 30000))
        fail(name, c);
    return s;
}

static void merge(struct merged *m, const struct pst_stream_event *e)
{
    struct pst_row row;
    if (e->kind == PST_STREAM_STATE)
        memset(m->size, 0xFF, sizeof m->size);
    m->states += e->kind == PST_STREAM_STATE;
    m->updates += e->kind == PST_STREAM_UPDATE;
    for (bool more = pst_first(e->rows, &row); more; more = pst_next_row(e->rows, &row)) {
        int at = pst_column_of(row.table, "size"), sym = pst_column_of(row.table, "sym");
        uint32_t len;
        const char *text = pst_text(e->rows, &row, (unsigned)sym, &len);
        int64_t n = pst_long(e->rows, &row, (unsigned)at);
        unsigned k = len > 1 && *text == 'S' ? (unsigned)atoi(text + 1) % SYMS : 0;
        m->size[k] = n;
        m->most = n > m->most ? n : m->most;
    }
}

int main(int argc, char **argv)
{
    struct pst_options o = PST_OPTIONS_INIT;
    struct pst_stream_event e;
    struct merged m[2] = {{.most = -1}, {.most = -1}};
    struct pst_stream_options bad = PST_STREAM_OPTIONS_INIT;
    int64_t until = argc > 2 ? strtoll(argv[2], NULL, 10) : 0;
    unsigned lost = 0, back = 0, moved = 0, third = 0;
    o.addresses = argv[1];
    o.reconnect_ms = 100;
    pst_client *c = argc > 2 ? pst_open(&o) : NULL;
    pst_stream *s, *filter;
    if (!c) {
        fprintf(stderr, "stream_probe: %s\n", pst_open_error());
        return 1;
    }
    bad.name = "lats";
    if (pst_stream_open(c, &bad, &s, 30000) != -121 /* EREMOTEIO */ ||
        !strstr(pst_error(c), "perhaps last"))
        fail("a name that is none", c);
    m[0].s = open_it(c, "last", false, NULL);
    m[1].s = open_it(c, "last", true, NULL);
    filter = open_it(c, "filter", false, "syms=S1,S2");
    if (strcmp(pst_stream_mode(m[1].s), "full") != 0 || pst_stream_keys(m[0].s) != 1 ||
        strcmp(pst_stream_mode(filter), "events") != 0)
        fail("mode or key", c);
    printf("open\n");
    fflush(stdout);
    while (m[0].most < until || m[1].most < until) {
        int r = pst_stream_next(c, &e, 60000);
        if (r < 0)
            fail("pst_stream_next", c);
        if (!r)
            fail("nothing within a minute", c);
        lost += e.kind == PST_STREAM_DISCONNECTED;
        back += e.kind == PST_STREAM_CONNECTED;
        moved += e.kind == PST_STREAM_NOTICE;
        if (e.kind == PST_STREAM_ENDED)
            fail(e.text, c);
        if (e.kind != PST_STREAM_STATE && e.kind != PST_STREAM_UPDATE)
            continue;
        if (filter && e.stream == filter && ++third == 5) {
            if (pst_stream_close(filter))
                fail("close", c);
            filter = NULL;
        } else if (e.stream == m[0].s) {
            merge(&m[0], &e);
        } else if (e.stream == m[1].s) {
            merge(&m[1], &e);
        } else if (e.stream != filter) {
            fail("an event of a stream that is closed", c);
        }
    }
    for (unsigned k = 0; k < SYMS; k++) {
        if (m[0].size[k] != m[1].size[k] && m[0].most == m[1].most)
            fail("changes and full states differ", c);
        if (m[0].size[k] >= 0)
            printf("S%u %" PRId64 "\n", k, m[0].size[k]);
    }
    printf("lost %u back %u moved %u states %u updates %u full %u third %u\n", lost, back, moved,
           m[0].states, m[0].updates, m[1].states, third);
    pst_close(c);
    return 0;
}
