/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_prove.c - the plugin of the tests of streaming analytics: what it does can be counted
 * (prove.counts), and can be computed again from the rows of `trade` (time, sym, n, size) below a
 * position.
 *
 *   prove.last   newest row of each symbol; key sym
 *   prove.sum    rows and sum of size of each symbol since the day began
 *   prove.timer  as sum, published by timer
 *   prove.rows   each row, as an event
 *   prove.mine   as last, never shared between users
 * Parameters of all: syms, mod (rows whose n is a multiple), full.
 *
 * Processor prove.total: for each row of `trade` one of `total` (n, the day's sum of size of its
 * symbol, the row's number in the day), for each tenth n one of `tens`. Function prove.counts.
 */
#include <penstock/analytic.h>
#include <stdlib.h>

#define H    pst_rtp_host
#define SYMS 4096u
#define SUBS 256u

enum {
    SUBSCRIBED,
    UNSUBSCRIBED,
    SNAPSHOTS,
    FRAMES,
    ROWS,
    COMPUTED,
    PUBLISHED,
    LIVE,
    CLOSED,
    MARKS,
    COUNTS
};
static const char *const names[COUNTS] = {"subscribed", "unsubscribed", "snapshots", "frames",
                                          "rows",       "computed",     "published", "live",
                                          "closed",     "marks"};
static int64_t counts[COUNTS];

enum kind { LAST, SUM, TIMER, EVENTS, MINE, KINDS };
struct state {
    int64_t n, rows, size, time;
    bool there, changed;
};
struct sub {
    int64_t uid;
    enum kind kind;
    int64_t mod;
    bool full;
    uint32_t nsyms;
    char (*sym)[64];
    struct state *state; /* by symbol id */
    uint32_t highest;
};
static struct sub *subs[SUBS];
static int64_t uids = 1000;
static struct pst_result *out;
static const char *const analytic_name[KINDS] = {"prove.last", "prove.sum", "prove.timer",
                                                 "prove.rows", "prove.mine"};
static int timer_id = -1;

static bool wanted(struct pst_rtp *r, const struct sub *s, uint32_t sym)
{
    struct pst_text t = H->symbol(r, sym);
    for (uint32_t i = 0; i < s->nsyms; i++)
        if (strlen(s->sym[i]) == t.len && !memcmp(s->sym[i], t.at, t.len))
            return true;
    return !s->nsyms;
}

static int64_t column(const struct pst_row *row, const char *name)
{
    return pst_row_value(row, (uint32_t)pst_table_find(row->table, name)).i;
}

static void put(struct pst_rtp *r, struct pst_result *to, const struct sub *s, uint32_t sym,
                const struct state *x)
{
    struct pst_value v[5] = {{.type = PST_SYMBOL},
                             {.type = PST_TIMESTAMP},
                             {.type = PST_LONG},
                             {.type = PST_LONG},
                             {.type = PST_LONG}};
    (void)s;
    v[0].text = H->symbol(r, sym);
    v[1].i = x->time;
    v[2].i = x->n;
    v[3].i = x->rows;
    v[4].i = x->size;
    H->add(r, to, v);
}

/* true: something of s has changed */
static bool compute(struct pst_rtp *r, struct sub *s, const struct pst_row *row)
{
    uint32_t sym = pst_row_sym(row);
    int64_t n = column(row, "n");
    counts[COMPUTED]++;
    if (n % s->mod || sym >= SYMS || !wanted(r, s, sym))
        return false;
    struct state *x = &s->state[sym];
    if (s->kind == SUM || s->kind == TIMER) {
        x->rows++;
        x->size += column(row, "size");
    } else {
        x->rows = 1;
        x->size = column(row, "size");
    }
    x->n = n;
    x->time = pst_row_time(row);
    x->there = x->changed = true;
    if (sym >= s->highest)
        s->highest = sym + 1;
    if (s->kind == EVENTS)
        put(r, out, s, sym, x);
    return true;
}

static void publish(struct pst_rtp *r, struct sub *s)
{
    bool any = false;
    for (uint32_t i = 0; s->kind != EVENTS && i < s->highest; i++)
        any |= s->state[i].changed;
    for (uint32_t i = 0; any && i < s->highest; i++) {
        if (s->state[i].there && (s->full || s->state[i].changed))
            put(r, out, s, i, &s->state[i]);
        s->state[i].changed = false;
    }
    counts[PUBLISHED] += H->rows(out) != 0;
    H->publish(r, s->uid, out);
}

static void tick(struct pst_rtp *r, int64_t now, void *data)
{
    (void)now, (void)data;
    for (uint32_t i = 0; i < SUBS; i++)
        if (subs[i] && subs[i]->kind == TIMER)
            publish(r, subs[i]);
}
static void flush(struct pst_rtp *r, void *data)
{
    tick(r, 0, data);
}

static void forget(struct sub *s)
{
    free(s->sym);
    free(s->state);
    free(s);
}

struct before {
    struct pst_rtp *r;
    struct sub *s;
};
static void earlier(void *arg, const struct pst_row *row)
{
    struct before *b = arg;
    compute(b->r, b->s, row);
}

static int64_t subscribe(struct pst_rtp *r, const struct pst_map *map, void *data)
{
    const struct pst_list *syms = pst_map_get(map, "syms");
    struct sub *s = calloc(1, sizeof *s);
    uint32_t at = 0;
    while (at < SUBS && subs[at])
        at++;
    counts[SUBSCRIBED]++;
    s->kind = (enum kind)(intptr_t)data;
    s->mod = pst_map_get(map, "mod")->value[0].i;
    s->full = pst_map_get(map, "full")->value[0].i;
    s->state = calloc(SYMS, sizeof *s->state);
    s->sym = calloc(syms->n + 1, sizeof *s->sym);
    for (uint32_t i = 0; i < syms->n; i++) {
        memcpy(s->sym[i], syms->value[i].text.at,
               syms->value[i].text.len < 63 ? syms->value[i].text.len : 63);
        s->nsyms++;
    }
    if (at == SUBS || s->mod < 1) {
        forget(s);
        return H->error(
            r, at == SUBS ? "there are %u subscriptions already" : "mod is at least 1, not 0 (%u)",
            SUBS);
    }
    if (!out)
        out = H->result(r, NULL);
    static const struct pst_column c[] = {{"sym", PST_SYMBOL},
                                          {"time", PST_TIMESTAMP},
                                          {"n", PST_LONG},
                                          {"rows", PST_LONG},
                                          {"size", PST_LONG}};
    H->columns(r, out, c, 5, NULL);
    H->clear(out);
    if (s->kind != EVENTS) {
        struct before b = {r, s};
        if (H->history(r, "trade", NULL, 0, false, earlier, &b)) {
            forget(s);
            return -1;
        }
        for (uint32_t i = 0; i < s->highest; i++)
            s->state[i].changed = false;
    }
    if (s->kind == TIMER && timer_id < 0)
        timer_id = H->timer(r, 15000000, 0, tick, NULL);
    if (H->want(r, "trade")) {
        forget(s);
        return H->error(r, "there is no table trade");
    }
    subs[at] = s;
    counts[LIVE]++;
    return s->uid = ++uids;
}

static void unsubscribe(struct pst_rtp *r, int64_t uid, void *data)
{
    (void)data;
    counts[UNSUBSCRIBED]++;
    for (uint32_t i = 0; i < SUBS; i++)
        if (subs[i] && subs[i]->uid == uid) {
            forget(subs[i]);
            subs[i] = NULL;
            counts[LIVE]--;
            H->unwant(r, "trade");
        }
}

static int snapshot(struct pst_rtp *r, int64_t uid, struct pst_result *to, void *data)
{
    (void)data;
    counts[SNAPSHOTS]++;
    for (uint32_t k = 0; k < SUBS; k++) {
        struct sub *s = subs[k];
        if (!s || s->uid != uid || s->kind == EVENTS)
            continue;
        for (uint32_t i = 0; i < s->highest; i++)
            if (s->state[i].there)
                put(r, to, s, i, &s->state[i]);
    }
    return 0;
}

static int describe(struct pst_rtp *r, int64_t uid, struct pst_result *to, void *data)
{
    static const struct pst_column c[] = {{"sym", PST_SYMBOL},
                                          {"time", PST_TIMESTAMP},
                                          {"n", PST_LONG},
                                          {"rows", PST_LONG},
                                          {"size", PST_LONG}};
    (void)data;
    for (uint32_t i = 0; i < SUBS; i++)
        if (subs[i] && subs[i]->uid == uid) {
            if (subs[i]->full)
                H->full(r, to);
            return H->columns(r, to, c, 5, subs[i]->kind == EVENTS ? NULL : "sym");
        }
    return -1;
}

static void rows(struct pst_rtp *r, const struct pst_frame *f, void *data)
{
    struct pst_row row;
    (void)data;
    counts[FRAMES]++;
    for (struct pst_walk w = pst_walk(f); pst_next(&w, &row);)
        counts[ROWS]++;
    if (!H->subscriptions(r))
        return;
    for (uint32_t i = 0; i < SUBS; i++) {
        struct sub *s = subs[i];
        if (!s)
            continue;
        for (struct pst_walk w = pst_walk(f); pst_next(&w, &row);)
            compute(r, s, &row);
        if (s->kind != TIMER)
            publish(r, s);
    }
}

static void mark(struct pst_rtp *r, const struct pst_mark_facts *m, void *data)
{
    (void)r, (void)data;
    counts[MARKS] += m->mark == PST_MARK_EOD;
}
static void closed(struct pst_rtp *r, int64_t connection, void *data)
{
    (void)r, (void)connection, (void)data;
    counts[CLOSED]++;
}

/* ---- prove.counts ---- */

static int say(struct pst_rtp *r, const struct pst_map *map, struct pst_result *to, void *data)
{
    (void)map, (void)data;
    for (unsigned i = 0; i < COUNTS; i++) {
        struct pst_value v[2] = {
            {.type = PST_SYMBOL, .text = {names[i], (uint32_t)strlen(names[i])}},
            {.type = PST_LONG, .i = counts[i]}};
        if (H->add(r, to, v))
            return -1;
    }
    return 0;
}

/* ---- prove.total ---- */

static const struct pst_column total_columns[] = {{"time", PST_TIMESTAMP},
                                                  {"sym", PST_SYMBOL},
                                                  {"n", PST_LONG},
                                                  {"total", PST_LONG},
                                                  {"number", PST_LONG}};
static const struct pst_column tens_columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"n", PST_LONG}, {"note", PST_STRING}};
static const struct pst_derived derived[] = {{"total", total_columns, 5, 0},
                                             {"tens", tens_columns, 4, 0}};
static const struct pst_table *total, *tens;
static uint32_t off_n, off_total, off_number;
static int64_t total_of[SYMS], number;
static int32_t open_day;

static int total_begin(struct pst_rtp *r, void *data)
{
    (void)data;
    memset(total_of, 0, sizeof total_of);
    number = 0;
    open_day = -1;
    total = H->table(r, "total");
    tens = H->table(r, "tens");
    if (!total || !tens)
        return H->error(r, "there is no table total or tens");
    off_n = total->column[pst_table_find(total, "n")].offset;
    off_total = total->column[pst_table_find(total, "total")].offset;
    off_number = total->column[pst_table_find(total, "number")].offset;
    return 0;
}

static int total_frame(struct pst_rtp *r, const struct pst_frame *f, void *data)
{
    struct pst_row row;
    (void)data;
    if (f->day != open_day) {
        memset(total_of, 0, sizeof total_of);
        number = 0;
        open_day = f->day;
    }
    for (struct pst_walk w = pst_walk(f); pst_next(&w, &row);) {
        uint32_t sym = pst_row_sym(&row);
        int64_t n = column(&row, "n"), time = pst_row_time(&row);
        if (sym >= SYMS)
            return H->error(r, "more symbols than the test has");
        total_of[sym] += column(&row, "size");
        number++;
        uint8_t *p = H->emit(r, total);
        if (!p)
            return -1;
        memcpy(p + 4, &sym, 4);
        memcpy(p + 8, &time, 8);
        memcpy(p + off_n, &n, 8);
        memcpy(p + off_total, &total_of[sym], 8);
        memcpy(p + off_number, &number, 8);
        if (n % 10)
            continue;
        char note[32];
        int len = 0;
        for (int64_t k = n; k && len < 31; k /= 10)
            note[len++] = (char)('0' + k % 10);
        struct pst_value v[4] = {{.type = PST_TIMESTAMP, .i = time},
                                 {.type = PST_SYMBOL, .text = H->symbol(r, sym)},
                                 {.type = PST_LONG, .i = n},
                                 {.type = PST_STRING, .text = {note, (uint32_t)len}}};
        if (H->insert(r, tens, v))
            return -1;
    }
    return 0;
}

/* ---- registering ---- */

static const struct pst_parameter parameters[] = {
    {"syms", PST_SYMBOL | PST_LIST, "", "which; none: all"},
    {"mod", PST_LONG, "1", "rows whose n is a multiple of it"},
    {"full", PST_BOOLEAN, "0", "each message is the whole state"}};
static const char *const trade[] = {"trade", NULL};
static struct pst_analytic analytics[KINDS];
static const struct pst_column counted[] = {{"name", PST_SYMBOL}, {"value", PST_LONG}};
static const struct pst_api api = {
    "prove.counts", "What it has done.", NULL, 0, counted, 2, say, NULL};
static const struct pst_processor processor = {.name = "prove.total",
                                               .about = "Sums.",
                                               .tables = trade,
                                               .derived = derived,
                                               .nderived = 2,
                                               .begin = total_begin,
                                               .frame = total_frame};
static const struct pst_hooks hooks = {
    .size = sizeof hooks, .rows = rows, .mark = mark, .flush = flush, .closed = closed};

PST_RTP_PLUGIN("prove", "1.0", "What it does can be counted.")
PST_PLUGIN_EXPORT int pst_rtp_register(struct pst_rtp_registry *g)
{
    for (intptr_t i = 0; i < KINDS; i++) {
        analytics[i] = (struct pst_analytic){.name = analytic_name[i],
                                             .about = "For tests.",
                                             .parameters = parameters,
                                             .nparameters = 3,
                                             .tables = trade,
                                             .flags = (i == MINE ? PST_PER_USER : 0) |
                                                      (i != EVENTS ? PST_HISTORY : 0),
                                             .subscribe = subscribe,
                                             .unsubscribe = unsubscribe,
                                             .snapshot = snapshot,
                                             .describe = describe,
                                             .data = (void *)i};
        if (H->analytic(g, &analytics[i]))
            return -1;
    }
    return H->api(g, &api) || H->processor(g, &processor) || H->hooks(g, &hooks);
}
