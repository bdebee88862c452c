/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_stream.c - a streaming analytic as small as one can be and still do everything: how busy
 * servers are. Rows come into the table `cpu` (time, sym = the server, load float); who subscribes
 * to `.cpu.sub` with a list of servers is told of theirs and of nothing else, at once.
 *
 *     gcc -shared -fPIC -O2 -o cpu_stream.so cpu_stream.c
 *
 *     rtp:
 *       - name: cpu
 *         plugins: [/opt/penstock/cpu_stream.so]
 *
 *     penstock stream .cpu.sub syms=alpha,beta
 *     q) h(".sa.sub";`.cpu.sub;`syms`full!(`alpha`beta;0b);()!())
 *
 * The stream has the key `sym`: a client that merges what it gets by key holds the newest load of
 * each of its servers. The state that a client gets when it comes (snapshot) is the same table,
 * whole; so one that comes late knows also the servers that have not changed since. With full=1
 * every message is the whole state instead: more to send, nothing to merge.
 */
#include <penstock/analytic.h>
#include <stdlib.h>

#define SERVERS 1000u
#define SUBS    256u

static const struct pst_column columns[] = {
    {"sym", PST_SYMBOL}, {"time", PST_TIMESTAMP}, {"load", PST_FLOAT}};

/* What the process knows: the last load of every server. Always kept, subscribers or not, so that
 * the first one gets a state too. */
static struct {
    uint32_t sym; /* id of the journal: cheaper to compare than its text */
    int64_t time;
    double load;
} servers[SERVERS];
static uint32_t nservers;

/* Who is subscribed: id -> parameters. */
struct sub {
    int64_t uid; /* -1: free */
    uint32_t n;  /* 0: all servers */
    char (*sym)[64];
    int full;
};
static struct sub subs[SUBS];
static int64_t last_uid;
static uint32_t nsubs; /* those that were ever used */
static struct pst_result *out;

static int wanted(struct pst_rtp *r, const struct sub *s, uint32_t sym)
{
    struct pst_text t = pst_rtp_host->symbol(r, sym);
    for (uint32_t i = 0; i < s->n; i++)
        if (strlen(s->sym[i]) == t.len && !memcmp(s->sym[i], t.at, t.len))
            return 1;
    return !s->n;
}

static void put(struct pst_rtp *r, struct pst_result *to, uint32_t i)
{
    struct pst_value row[3] = {{.type = PST_SYMBOL}, {.type = PST_TIMESTAMP}, {.type = PST_FLOAT}};
    row[0].text = pst_rtp_host->symbol(r, servers[i].sym);
    row[1].i = servers[i].time;
    row[2].f = servers[i].load;
    pst_rtp_host->add(r, to, row);
}

static struct sub *find(int64_t uid)
{
    for (uint32_t i = 0; i < nsubs; i++)
        if (subs[i].uid == uid)
            return &subs[i];
    return NULL;
}

/* ---- the three functions of the analytic ---- */

static int64_t subscribe(struct pst_rtp *r, const struct pst_map *map, void *data)
{
    const struct pst_list *syms = pst_map_get(map, "syms"), *full = pst_map_get(map, "full");
    struct sub *s = find(-1);
    (void)data;
    if (!s && nsubs == SUBS)
        return pst_rtp_host->error(r, "there are %u subscriptions already", SUBS);
    if (!out && !(out = pst_rtp_host->result(r, ".cpu.sub")))
        return -1;
    if (!s)
        s = &subs[nsubs++];
    *s = (struct sub){.uid = -1, .n = syms->n, .full = full->value[0].i != 0};
    s->sym = calloc(syms->n + 1, sizeof *s->sym);
    if (!s->sym)
        return pst_rtp_host->error(r, "no memory");
    for (uint32_t i = 0; i < syms->n; i++)
        memcpy(s->sym[i], syms->value[i].text.at,
               syms->value[i].text.len < 63 ? syms->value[i].text.len : 63);
    return s->uid = ++last_uid;
}

static void unsubscribe(struct pst_rtp *r, int64_t uid, void *data)
{
    struct sub *s = find(uid);
    (void)r, (void)data;
    if (!s)
        return;
    free(s->sym);
    s->uid = -1;
}

static int snapshot(struct pst_rtp *r, int64_t uid, struct pst_result *to, void *data)
{
    const struct sub *s = find(uid);
    (void)data;
    for (uint32_t i = 0; s && i < nservers; i++)
        if (wanted(r, s, servers[i].sym))
            put(r, to, i);
    return 0;
}

/* Columns and key are the same for all; whether it is the whole state is not. */
static int describe(struct pst_rtp *r, int64_t uid, struct pst_result *to, void *data)
{
    const struct sub *s = find(uid);
    (void)data;
    if (s && s->full)
        pst_rtp_host->full(r, to);
    return pst_rtp_host->columns(r, to, columns, 3, "sym");
}

/* ---- rows, as they come ---- */

static void publish(struct pst_rtp *r, const struct sub *s, const uint8_t *changed)
{
    uint32_t any = 0;
    for (uint32_t i = 0; i < nservers; i++)
        any |= changed[i] && wanted(r, s, servers[i].sym);
    for (uint32_t i = 0; any && i < nservers; i++)
        if ((s->full || changed[i]) && wanted(r, s, servers[i].sym))
            put(r, out, i);
    pst_rtp_host->publish(r, s->uid, out); /* without rows nothing is sent */
}

static void rows(struct pst_rtp *r, const struct pst_frame *f, void *data)
{
    static uint8_t changed[SERVERS];
    struct pst_row row;
    (void)data;
    memset(changed, 0, sizeof changed);
    for (struct pst_walk w = pst_walk(f); pst_next(&w, &row);) {
        int32_t load = pst_table_find(row.table, "load");
        uint32_t sym = pst_row_sym(&row), i = 0;
        while (i < nservers && servers[i].sym != sym)
            i++;
        if (load < 0 || i == SERVERS)
            continue;
        nservers += i == nservers;
        servers[i].sym = sym;
        servers[i].time = pst_row_time(&row);
        servers[i].load = pst_row_value(&row, (uint32_t)load).f;
        changed[i] = 1;
    }
    if (!pst_rtp_host->subscriptions(r))
        return; /* nobody listens: nothing more to do */
    for (uint32_t i = 0; i < nsubs; i++)
        if (subs[i].uid >= 0)
            publish(r, &subs[i], changed);
}

/* ---- registering ---- */

static const struct pst_parameter parameters[] = {
    {"syms", PST_SYMBOL | PST_LIST, "", "servers; none: all"},
    {"full", PST_BOOLEAN, "0", "1: every message is the whole state"}};
static const char *const tables[] = {"cpu", NULL};

static const struct pst_analytic analytic = {.name = ".cpu.sub",
                                             .about = "The newest load of each server.",
                                             .parameters = parameters,
                                             .nparameters = 2,
                                             .columns = columns,
                                             .ncolumns = 3,
                                             .key = "sym",
                                             .tables = tables,
                                             .subscribe = subscribe,
                                             .unsubscribe = unsubscribe,
                                             .snapshot = snapshot,
                                             .describe = describe};
static const struct pst_hooks hooks = {.size = sizeof hooks, .tables = tables, .rows = rows};

PST_RTP_PLUGIN("cpu_stream", "1.0", "An example: the load of servers.")
PST_PLUGIN_EXPORT int pst_rtp_register(struct pst_rtp_registry *g)
{
    return pst_rtp_host->analytic(g, &analytic) || pst_rtp_host->hooks(g, &hooks);
}
