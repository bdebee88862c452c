/* SPDX-License-Identifier: Apache-2.0 */
/* rtp_misbehave.c - a real-time plugin that does what it is told by its parameters: also crashing,
 * looping, leaking, and publishing what it must not. And functions and processors to test with. */
#include <penstock/analytic.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define H pst_rtp_host

static int *volatile nowhere; /* NULL, as far as the compiler knows perhaps not */

static const struct pst_column columns[] = {
    {"sym", PST_SYMBOL}, {"time", PST_TIMESTAMP}, {"size", PST_LONG}, {"note", PST_STRING}};
static int64_t uids, live[64];
static char how[64][32];
static struct pst_result *out, *other;

/* ---- test.rows: each row of trade, as an event ---- */

static int64_t posts; /* rows that test.pre's post got */
static int64_t begin(struct pst_rtp *r, const struct pst_map *map, void *data)
{
    const struct pst_list *l = pst_map_get(map, "how");
    (void)data;
    char text[32] = "";
    memcpy(text, l->value[0].text.at, l->value[0].text.len < 31 ? l->value[0].text.len : 31);
    if (!strcmp(text, "refuse"))
        return H->error(r, "not today");
    if (!strcmp(text, "silent"))
        return -1;
    if (!strcmp(text, "crash"))
        *nowhere = 1;
    if (!strcmp(text, "abort"))
        abort();
    if (!strcmp(text, "loop"))
        for (volatile unsigned i = 0;; i++)
            ;
    if (!strcmp(text, "leak"))
        for (;;) {
            char *p = malloc(1 << 20);
            if (!p)
                return H->error(r, "the memory has an end");
            memset(p, 1, 1 << 20);
        }
    if (!strcmp(text, "same"))
        return 7;
    out = out ? out : H->result(r, "test.rows");
    if (!other) {
        other = H->result(r, NULL);
        H->columns(r, other, columns, 2, NULL);
    }
    int64_t uid = 100 + ++uids;
    snprintf(how[uids % 64], sizeof how[0], "%s", text);
    live[uids % 64] = uid;
    return uid;
}

static void end(struct pst_rtp *r, int64_t uid, void *data)
{
    (void)r, (void)data;
    for (int i = 0; i < 64; i++)
        if (live[i] == uid)
            live[i] = 0;
}

static int64_t seen;
static int snap(struct pst_rtp *r, int64_t uid, struct pst_result *to, void *data)
{
    struct pst_value v[4] = {{.type = PST_SYMBOL, .text = {"rows", 4}},
                             {.type = PST_TIMESTAMP, .i = PST_NULL_TIMESTAMP},
                             {.type = PST_LONG, .i = seen},
                             {.type = PST_STRING, .text = {"", 0}}};
    (void)uid, (void)data;
    return H->add(r, to, v);
}

static void rows(struct pst_rtp *r, const struct pst_frame *f, void *data)
{
    struct pst_row row;
    (void)data;
    for (struct pst_walk w = pst_walk(f); pst_next(&w, &row);) {
        seen++;
        int32_t size = pst_table_find(row.table, "size"), note = pst_table_find(row.table, "note");
        for (int i = 0; i < 64; i++) {
            if (!live[i])
                continue;
            if (!strcmp(how[i], "crash_later"))
                *nowhere = 1;
            if (!strcmp(how[i], "columns")) { /* other columns than it said */
                struct pst_value v[2] = {{.type = PST_SYMBOL}, {.type = PST_TIMESTAMP}};
                H->add(r, other, v);
                H->publish(r, live[i], other);
                continue;
            }
            if (!strcmp(how[i], "type")) {
                struct pst_value v[4] = {{.type = PST_LONG}};
                H->add(r, out, v);
                continue;
            }
            struct pst_value v[4] = {{.type = PST_SYMBOL},
                                     {.type = PST_TIMESTAMP, .i = pst_row_time(&row)},
                                     {.type = PST_LONG},
                                     {.type = PST_STRING}};
            v[0].text = H->symbol(r, pst_row_sym(&row));
            v[2].i = size < 0 ? -1 : pst_row_value(&row, (uint32_t)size).i;
            if (note >= 0)
                v[3].text = pst_row_value(&row, (uint32_t)note).text;
            H->add(r, out, v);
            H->publish(r, live[i], out);
        }
    }
}

static int64_t marks[16];
static void mark(struct pst_rtp *r, const struct pst_mark_facts *m, void *data)
{
    (void)r, (void)data;
    marks[m->mark < 16 ? m->mark : 0]++;
}

static int64_t closes;
static void closed(struct pst_rtp *r, int64_t connection, void *data)
{
    (void)data;
    closes++;
#ifdef OWN_CLOSE
    if (connection != 77) /* one that it keeps */
        H->disconnect(r, connection);
#else
    (void)r, (void)connection;
#endif
}

/* ---- test.held: rows of memory, counted ---- */

static const struct pst_column held_columns[] = {{"sym", PST_SYMBOL}, {"rows", PST_LONG}};
static int64_t held;
static int64_t held_uid = 1000;

static void count(void *arg, const struct pst_row *row)
{
    int32_t size = pst_table_find(row->table, "size");
    *(int64_t *)arg += pst_row_value(row, (uint32_t)size).i;
}
static int64_t held_begin(struct pst_rtp *r, const struct pst_map *map, void *data)
{
    const struct pst_list *syms = pst_map_get(map, "syms"), *last = pst_map_get(map, "last");
    (void)data;
    held = 0;
    if (H->history(r, "trade", syms->value, syms->n, last->value[0].i, count, &held))
        return -1;
    return ++held_uid;
}
static void held_end(struct pst_rtp *r, int64_t uid, void *data)
{
    (void)r, (void)uid, (void)data;
}
static int held_snap(struct pst_rtp *r, int64_t uid, struct pst_result *to, void *data)
{
    struct pst_value v[2] = {{.type = PST_SYMBOL, .text = {"all", 3}},
                             {.type = PST_LONG, .i = held}};
    (void)uid, (void)data;
    return H->add(r, to, v);
}

/* ---- functions ---- */

static const struct pst_column one[] = {{"x", PST_LONG}};

static int answer(struct pst_rtp *r, struct pst_result *to, int64_t x)
{
    struct pst_value v = {.type = PST_LONG, .i = x};
    return H->add(r, to, &v);
}
static int f_add(struct pst_rtp *r, const struct pst_map *map, struct pst_result *to, void *data)
{
    (void)data;
    return answer(r, to, pst_map_get(map, "a")->value[0].i + pst_map_get(map, "b")->value[0].i);
}
static char event[64];
static int f_event(struct pst_rtp *r, const struct pst_map *map, struct pst_result *to, void *data)
{
    struct pst_text t = map->at[0].value[0].text;
    (void)data;
    snprintf(event, sizeof event, "%.*s", (int)t.len, t.at);
    return answer(r, to, 1);
}
static int f_try(struct pst_rtp *r, const struct pst_map *map, struct pst_result *to, void *data)
{
    struct pst_text t = pst_map_get(map, "what")->value[0].text;
    char what[32] = "";
    (void)data;
    memcpy(what, t.at, t.len < 31 ? t.len : 31);
    if (!strcmp(what, "write"))
        return answer(r, to,
                      open("/tmp/penstock-test.rtp", O_WRONLY | O_CREAT, 0600) < 0 ? -errno : 0);
    if (!strcmp(what, "read"))
        return answer(r, to, open("/etc/hostname", O_RDONLY) < 0 ? -errno : 0);
    if (!strcmp(what, "socket"))
        return answer(r, to, socket(AF_INET, SOCK_STREAM, 0));
    if (!strcmp(what, "fork"))
        return answer(r, to, fork());
    if (!strcmp(what, "marks"))
        return answer(r, to,
                      marks[PST_MARK_EOD] * 100 + marks[PST_MARK_BUFFER_START] * 10 + marks[0]);
    if (!strcmp(what, "event"))
        return *event ? H->error(r, "%s", event) : answer(r, to, 0);
    if (!strcmp(what, "posts"))
        return answer(r, to, posts);
    if (!strcmp(what, "closes"))
        return answer(r, to, closes * 100 + H->subscriptions(r));
    if (!strcmp(what, "option"))
        return answer(r, to, H->option(r, "depth") ? atoi(H->option(r, "depth")) : -1);
    if (!strcmp(what, "library"))
        return answer(r, to, H->library(r, "mine") != NULL);
    if (!strcmp(what, "history"))
        return H->history(r, "trade", NULL, 0, 0, count, &held);
    if (!strcmp(what, "emit"))
        return H->emit(r, H->table(r, "trade")) ? answer(r, to, 1) : -1;
    if (!strcmp(what, "debug")) {
        H->debug(r, "a line for debugging");
        return answer(r, to, H->debugging(r));
    }
    if (!strcmp(what, "columns"))
        return H->columns(r, to, columns, 4, NULL);
    return H->error(r, "what?");
}

/* ---- timers ---- */

static int64_t wall, journal, journal_now;
static void on_wall(struct pst_rtp *r, int64_t now, void *data)
{
    (void)r, (void)now, (void)data;
    wall++;
}
static void on_journal(struct pst_rtp *r, int64_t now, void *data)
{
    (void)r, (void)data;
    journal++;
    journal_now = now;
}
static int f_timers(struct pst_rtp *r, const struct pst_map *map, struct pst_result *to, void *data)
{
    static int ids[2] = {-1, -1};
    (void)data;
    if (pst_map_get(map, "on")->value[0].i) {
        ids[0] = H->timer(r, 2000000, 0, on_wall, NULL);
        ids[1] = H->timer(r, 1000000000, 1, on_journal, NULL);
        if (H->timer(r, 10, 0, on_wall, NULL) >= 0) /* too fast: refused, and the call fails */
            return 0;
        return answer(r, to, ids[0] >= 0 && ids[1] >= 0);
    }
    H->stop_timer(r, ids[0]);
    H->stop_timer(r, ids[1]);
    return answer(r, to, wall) || answer(r, to, journal) || answer(r, to, journal_now);
}

/* ---- the processor test.twice: each trade twice, with new symbols ---- */

static const struct pst_column derived_columns[] = {{"time", PST_TIMESTAMP},
                                                    {"sym", PST_SYMBOL},
                                                    {"size", PST_LONG},
                                                    {"tag", PST_SYMBOL},
                                                    {"note", PST_STRING}};
static const struct pst_derived derived[] = {{"twice", derived_columns, 5, 0}};
static const struct pst_table *twice;
static int32_t twice_size, twice_tag;
static int64_t total; /* state that has to be rebuilt */

static int twice_begin(struct pst_rtp *r, void *data)
{
    (void)data;
    total = 0;
    twice = H->table(r, "twice");
    if (!twice)
        return H->error(r, "there is no table twice");
    twice_size = pst_table_find(twice, "size");
    twice_tag = pst_table_find(twice, "tag");
    return 0;
}
static int twice_frame(struct pst_rtp *r, const struct pst_frame *f, void *data)
{
    struct pst_row row;
    (void)data;
    for (struct pst_walk w = pst_walk(f); pst_next(&w, &row);) {
        int32_t size = pst_table_find(row.table, "size");
        int64_t time = pst_row_time(&row), n = pst_row_value(&row, (uint32_t)size).i;
        uint32_t sym = pst_row_sym(&row);
        if (n == -1)
            return H->error(r, "a size of -1");
        total += n;
        uint8_t *p = H->emit(r, twice);
        if (!p)
            return -1;
        memcpy(p + 4, &sym, 4);
        memcpy(p + 8, &time, 8);
        memcpy(p + twice->column[twice_size].offset, &total, 8);
        struct pst_value v[5] = {{.type = PST_TIMESTAMP, .i = time},
                                 {.type = PST_SYMBOL, .text = {"fresh", 5}},
                                 {.type = PST_LONG, .i = -total},
                                 {.type = PST_SYMBOL, .text = {"tag", 3}},
                                 {.type = PST_STRING, .text = {"words", 5}}};
        if (H->insert(r, twice, v))
            return -1;
    }
    return 0;
}

/* ---- the processor test.pre: drops small ones, doubles the others ---- */

static int pre(struct pst_rtp *r, struct pst_row *row, void *data)
{
    uint32_t c = (uint32_t)pst_table_find(row->table, "size");
    int64_t n = pst_row_value(row, c).i;
    (void)data;
    if (n < 10)
        return PST_DROP;
    uint8_t *p = H->edit(r, row);
    if (!p)
        return PST_DROP;
    n *= 2;
    memcpy(p + row->table->column[c].offset, &n, 8);
    row->record = p;
    return PST_PASS;
}
static int post(struct pst_rtp *r, const struct pst_row *came, const struct pst_row *passed,
                void *data)
{
    uint32_t c = (uint32_t)pst_table_find(came->table, "size");
    (void)data;
    posts++;
    if (pst_row_value(came, c).i * 2 != pst_row_value(passed, c).i)
        return H->error(r, "post: the rows are not what they were");
    return 0;
}

/* ---- registering ---- */

static const char *const trade[] = {"trade", NULL};
static const struct pst_parameter how_parameter[] = {{"how", PST_SYMBOL, "well", "what it does"},
                                                     {"syms", PST_SYMBOL | PST_LIST, "", "which"}};
static const struct pst_parameter held_parameters[] = {
    {"syms", PST_SYMBOL | PST_LIST, "", "which"}, {"last", PST_BOOLEAN, "0", "the newest only"}};
static const struct pst_parameter add_parameters[] = {{"a", PST_LONG, NULL, ""},
                                                      {"b", PST_LONG, "1", ""}};
static const struct pst_parameter try_parameters[] = {{"what", PST_SYMBOL, NULL, ""}};
static const struct pst_parameter event_parameters[] = {{"event", PST_STRING, NULL, ""}};
static const struct pst_parameter timer_parameters[] = {{"on", PST_BOOLEAN, NULL, ""}};

static const struct pst_analytic analytics[] = {{.name = "test.rows",
                                                 .about = "Rows of trade.",
                                                 .parameters = how_parameter,
                                                 .nparameters = 2,
                                                 .columns = columns,
                                                 .ncolumns = 4,
                                                 .tables = trade,
                                                 .subscribe = begin,
                                                 .unsubscribe = end,
                                                 .snapshot = snap},
                                                {.name = "test.held",
                                                 .about = "Rows in memory.",
                                                 .parameters = held_parameters,
                                                 .nparameters = 2,
                                                 .columns = held_columns,
                                                 .ncolumns = 2,
                                                 .key = "sym",
                                                 .tables = trade,
                                                 .subscribe = held_begin,
                                                 .unsubscribe = held_end,
                                                 .snapshot = held_snap}};
static const struct pst_api functions[] = {
    {"test.add", "a + b", add_parameters, 2, one, 1, f_add, NULL},
    {"test.try", "tries", try_parameters, 1, one, 1, f_try, NULL},
    {"test.event", "", event_parameters, 1, one, 1, f_event, NULL},
    {"test.timers", "", timer_parameters, 1, one, 1, f_timers, NULL}};
static const struct pst_processor processors[] = {{.name = "test.twice",
                                                   .about = "Each trade twice.",
                                                   .tables = trade,
                                                   .derived = derived,
                                                   .nderived = 1,
                                                   .begin = twice_begin,
                                                   .frame = twice_frame},
                                                  {.name = "test.pre",
                                                   .about = "Large ones, doubled.",
                                                   .tables = trade,
                                                   .pre = pre,
                                                   .post = post}};
static const struct pst_hooks hooks = {.size = sizeof hooks,
                                       .tables = trade,
                                       .rows = rows,
                                       .mark = mark,
                                       .closed = closed,
#ifdef OWN_CLOSE
                                       .own_close = 1
#endif
};

PST_RTP_PLUGIN("misbehave", "1.0", "For tests.")
PST_PLUGIN_EXPORT int pst_rtp_register(struct pst_rtp_registry *g)
{
    for (unsigned i = 0; i < 4; i++)
        if (H->api(g, &functions[i]))
            return -1;
    for (unsigned i = 0; i < 2; i++)
        if (H->processor(g, &processors[i]) || H->analytic(g, &analytics[i]))
            return -1;
    return H->hooks(g, &hooks);
}
