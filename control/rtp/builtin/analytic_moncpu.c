/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .monPublic.sub: the CPU of each thread of each server, from table monCPU: the textbook example of
 * a streaming analytic, with nothing but penstock/analytic.h.
 *
 *   gcc -shared -fPIC -O2 -o moncpu.so analytic_moncpu.c
 *
 * A client calls it with a map; `syms` lists the servers or threads that it wants, none: all. It is
 * given an id and a snapshot, the last row of each (server, sym), and from then on the rows that
 * change: keyed, delta. The three functions below are what the framework calls.
 */
#include <stdlib.h>
#include <penstock/analytic.h>

PST_RTP_PLUGIN("moncpu", "1.0", "CPU of servers and threads.")

#define TABLE    "monCPU"
#define KEYS_MAX 10000u

static void *grow(void *array, uint32_t n, size_t each)
{
    array = (n & (n - 1)) ? array : realloc(array, (n ? 2 * n : 1) * each);
    if (!array)
        abort(); /* the process is started again */
    return array;
}

/* ---- subscriptions: id -> syms ---- */

struct subscription {
    int64_t id;
    char **sym;
    uint32_t nsyms; /* 0: no filter */
};
static struct subscription *subs;
static uint32_t nsubs;
static int64_t last_id;
static struct pst_result *changed; /* what is being published */

/* ---- state: the last row of each (server, sym) ---- */

struct last {
    char server[256], sym[256];
    int64_t time;
    double cpu;
    int changed;
};
static struct last *last;
static uint32_t nlast;

static int selects(const struct subscription *s, const struct last *l)
{
    for (uint32_t i = 0; i < s->nsyms; i++)
        if (!strcmp(s->sym[i], l->server) || !strcmp(s->sym[i], l->sym))
            return 1;
    return !s->nsyms;
}

static void add(struct pst_rtp *r, struct pst_result *out, const struct last *l)
{
    struct pst_value row[] = {
        {.type = PST_TIMESTAMP, .i = l->time},
        {.type = PST_SYMBOL, .text = {l->sym, (uint32_t)strlen(l->sym)}},
        {.type = PST_SYMBOL, .text = {l->server, (uint32_t)strlen(l->server)}},
        {.type = PST_FLOAT, .f = l->cpu}};
    pst_rtp_host->add(r, out, row);
}

static void text_of(struct pst_rtp *r, uint32_t id, char out[256])
{
    struct pst_text t = {"", 0};
    if (id != PST_NULL_SYMBOL)
        t = pst_rtp_host->symbol(r, id);
    memcpy(out, t.at, t.len);
    out[t.len] = 0;
}

static void take(struct pst_rtp *r, const struct pst_row *row)
{
    int32_t server = pst_table_find(row->table, "server"), cpu = pst_table_find(row->table, "cpu");
    struct last l = {.time = pst_row_time(row), .changed = 1};
    uint32_t i = 0;
    if (server < 0 || cpu < 0)
        return; /* a table of that name that is another one */
    text_of(r, pst_row_sym(row), l.sym);
    text_of(r, (uint32_t)pst_row_value(row, (uint32_t)server).i, l.server);
    l.cpu = pst_row_value(row, (uint32_t)cpu).f;
    while (i < nlast && (strcmp(last[i].server, l.server) != 0 || strcmp(last[i].sym, l.sym) != 0))
        i++;
    if (i == KEYS_MAX)
        return; /* state is bounded: no machine has so many threads */
    if (i == nlast) {
        last = grow(last, nlast, sizeof *last);
        nlast++;
    }
    last[i] = l;
}

/* ---- what the framework calls ---- */

static void before(void *r, const struct pst_row *row)
{
    take(r, row);
}

static int64_t subscribe(struct pst_rtp *r, const struct pst_map *map, void *data)
{
    const struct pst_list *syms = pst_map_get(map, "syms");
    (void)data;
    if (!nsubs) { /* nobody listened until now: what has been today, then every row */
        nlast = 0;
        if (pst_rtp_host->want(r, TABLE) < 0)
            return -1;
        if (pst_rtp_host->history(r, TABLE, NULL, 0, false, before, r) < 0) {
            pst_rtp_host->unwant(r, TABLE);
            return -1;
        }
        for (uint32_t i = 0; i < nlast; i++)
            last[i].changed = 0;
        changed = pst_rtp_host->result(r, ".monPublic.sub");
    }
    struct subscription s = {.id = ++last_id, .nsyms = syms->n};
    s.sym = calloc(syms->n + 1, sizeof *s.sym);
    for (uint32_t i = 0; i < syms->n; i++)
        s.sym[i] = strndup(syms->value[i].text.at, syms->value[i].text.len);
    subs = grow(subs, nsubs, sizeof *subs);
    subs[nsubs++] = s;
    return s.id;
}

static void unsubscribe(struct pst_rtp *r, int64_t id, void *data)
{
    (void)data;
    for (uint32_t i = 0; i < nsubs; i++)
        if (subs[i].id == id) {
            for (uint32_t k = 0; k < subs[i].nsyms; k++)
                free(subs[i].sym[k]);
            free(subs[i].sym);
            subs[i] = subs[--nsubs];
            if (!nsubs) {
                pst_rtp_host->unwant(r, TABLE);
                pst_rtp_host->drop(r, changed);
            }
            return;
        }
}

static int snapshot(struct pst_rtp *r, int64_t id, struct pst_result *out, void *data)
{
    (void)data;
    for (uint32_t i = 0; i < nsubs; i++)
        for (uint32_t k = 0; subs[i].id == id && k < nlast; k++)
            if (selects(&subs[i], &last[k]))
                add(r, out, &last[k]);
    return 0; /* nothing in it where the id is unknown */
}

/* The hook that has each frame: what of it concerns somebody is published. */
static void rows(struct pst_rtp *r, const struct pst_frame *frame, void *data)
{
    struct pst_row row;
    (void)data;
    if (!nsubs)
        return; /* no subscriber, no work */
    for (struct pst_walk w = pst_walk(frame); pst_next(&w, &row);)
        take(r, &row);
    for (uint32_t i = 0; i < nsubs; i++) {
        for (uint32_t k = 0; k < nlast; k++)
            if (last[k].changed && selects(&subs[i], &last[k]))
                add(r, changed, &last[k]);
        pst_rtp_host->publish(r, subs[i].id, changed); /* empty: nothing is sent */
    }
    for (uint32_t k = 0; k < nlast; k++)
        last[k].changed = 0;
}

static const struct pst_parameter parameters[] = {
    {"syms", PST_SYMBOL | PST_LIST, "", "servers or threads; none: all"}};
static const struct pst_column columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"server", PST_SYMBOL}, {"cpu", PST_FLOAT}};
static const char *const tables[] = {TABLE, NULL};
static const struct pst_analytic analytic = {.name = ".monPublic.sub",
                                             .about = "CPU of each thread of each server.",
                                             .parameters = parameters,
                                             .nparameters = 1,
                                             .columns = columns,
                                             .ncolumns = 4,
                                             .key = "server,sym",
                                             .tables = tables,
                                             .subscribe = subscribe,
                                             .unsubscribe = unsubscribe,
                                             .snapshot = snapshot};
static const struct pst_hooks hooks = {.size = sizeof hooks, .rows = rows};

int pst_rtp_register(struct pst_rtp_registry *registry)
{
    return pst_rtp_host->analytic(registry, &analytic) || pst_rtp_host->hooks(registry, &hooks);
}
