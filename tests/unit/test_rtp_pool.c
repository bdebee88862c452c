/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool of real-time processes, over a socketpair whose other end is the test: what a process
 * gets and may say, its lives, and its rows into an inject ring whose appender is the test, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/poll.h>
#include <sys/socket.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on
#include "config.h"
#include "core/clock.h"
#include "core/cut.h"
#include "dataplane/batch.h"
#include "rtp/rtp_params.h"
#include "rtp/rtp_pool.h"
#include "storage/kdb_object.h"

#define RING   (4u << 20)
#define SECOND 1000000000ll

static const char yaml[] =
    "tables:\n"
    "  trade: {columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, "
    "{name: px, type: float}]}\n"
    "  clean: {columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, "
    "{name: px, type: float}]}\n"
    "  other: {columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, "
    "{name: n, type: long}]}\n"
    "rtp:\n"
    "  - name: agg\n"
    "    plugins: [/opt/agg.so]\n"
    "    subscriptions: [trade]\n"
    "    vanilla: false\n"
    "    processors: [cleaner]\n"
    "    insert: [{name: trade, table: clean}]\n"
    "    libraries: [{name: stats, file: /opt/libstats.so}]\n"
    "    options: [{name: depth, value: '10'}]\n"
    "    buffer_start: began\n"
    "    buffer_end: ended\n"
    "    memory: 96M\n"
    "    stuck: 3s\n"
    "  - name: wide\n"
    "    processes: 3\n"
    "    mode: broadcast\n"
    "    start: manual\n";

/* ---- the daemon's side, and the manager's ---- */

struct fake { /* a process: the test's end of its socket */
    uint64_t life;
    int fd;
};
struct bench {
    struct config *config;
    struct rtp_pool pool;
    struct rtp_rows rows;
    struct inject q;
    struct symbols symbols;
    struct schema_set *schemas;
    struct source_progress at; /* of rtp/agg */
    struct fake process[32];
    unsigned processes, cuts, releases;
    uint64_t answered;
    char answer[600];
    unsigned ups, downs, plugins, messages;
    struct rtp_said said;
    char body[200];
    bool again, refuse;
    char why[300];
    int64_t now;
};

static void spawn(void *arg, uint64_t life)
{
    struct bench *b = arg;
    if (b->processes == PST_COUNT(b->process)) { /* those of long ago */
        memmove(b->process, b->process + 1, sizeof b->process - sizeof b->process[0]);
        b->processes--;
    }
    b->process[b->processes++] = (struct fake){life, -1};
}
static void want_cut(void *arg, uint64_t life)
{
    (void)life;
    ((struct bench *)arg)->cuts++;
}
static void release(void *arg, uint64_t life)
{
    (void)life;
    ((struct bench *)arg)->releases++;
}
static json_t *attach(void *arg, int *fds, unsigned *n)
{
    (void)arg, (void)fds;
    *n = 0;
    return json_pack("{s:s}", "zone", "UTC");
}
static json_t *start(void *arg)
{
    (void)arg;
    return json_pack("{s:[],s:i}", "schemas", "day", 9000);
}
static const struct schema *table(void *arg, const char *name)
{
    return schema_set_find(((struct bench *)arg)->schemas, name);
}
static void answer(void *arg, uint64_t ticket, const struct rtp_said *m, const char *why)
{
    struct bench *b = arg;
    b->answered = ticket;
    snprintf(b->answer, sizeof b->answer, "%s", m ? "a table" : why);
}
static void quiet(void *arg, const char *line)
{
    (void)arg, (void)line;
}
static void where(void *arg, const char *source, struct source_progress *out)
{
    struct bench *b = arg;
    assert_string_equal(source, "rtp/agg");
    *out = b->at;
}

static void up(void *arg, unsigned g, unsigned k, uint64_t life)
{
    struct bench *b = arg;
    (void)g, (void)k;
    assert_true(life != 0);
    b->ups++;
}
static void down(void *arg, unsigned g, unsigned k, uint64_t life, const char *why, bool again)
{
    struct bench *b = arg;
    (void)g, (void)k, (void)life;
    b->downs++;
    b->again = again;
    snprintf(b->why, sizeof b->why, "%s", why);
}
static bool message(void *arg, unsigned g, unsigned k, uint64_t life, const struct rtp_said *m,
                    struct err *err)
{
    struct bench *b = arg;
    (void)g, (void)k, (void)life;
    b->messages++;
    b->said = *m;
    snprintf(b->body, sizeof b->body, "%.*s", (int)m->length, (const char *)m->body);
    return !b->refuse || err_set(err, -EPROTO, "the manager does not like it");
}
static void plugins(void *arg, unsigned g)
{
    (void)g;
    ((struct bench *)arg)->plugins++;
}

static struct rtp_events events;

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    struct err err = {0};
    struct schema s;
    static const struct column_def columns[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"px", PST_FLOAT}};
    static const char *const names[] = {"gap", "undecoded", "trade", "clean", "other"};
    if (!b || !config_parse("test", yaml, sizeof yaml - 1, &b->config, &err))
        fail_msg("%s", err.text);
    assert_true(symbols_create(&b->symbols, 4096, &err));
    b->schemas = schema_set_new();
    for (unsigned i = 0; i < PST_COUNT(names); i++) {
        bool fresh;
        assert_true(schema_make(&s, 0, names[i], false, columns, 3, &err));
        assert_non_null(schema_set_intern(b->schemas, &s, &fresh, &err));
    }
    assert_true(inject_create(&b->q, RING, &err));
    struct rtp_rows_config rc = {.rows = {.q = &b->q,
                                          .known = &b->symbols,
                                          .schemas = b->schemas,
                                          .symbols = 4096,
                                          .max_new_symbols = 1000,
                                          .open_day = 9000},
                                 .where = where,
                                 .arg = b};
    assert_true(rtp_rows_open(&b->rows, &rc, &err));
    struct rtp_hooks hooks = {.arg = b,
                              .spawn = spawn,
                              .cut = want_cut,
                              .release = release,
                              .attach = attach,
                              .start = start,
                              .table = table,
                              .answer = answer,
                              .log = quiet};
    assert_true(rtp_pool_open(&b->pool, b->config->rtp.at, b->config->rtp.count, &hooks, &b->rows,
                              1000, &err));
    events = (struct rtp_events){
        .arg = b, .up = up, .down = down, .message = message, .plugins = plugins};
    b->pool.events = &events;
    b->now = b->pool.now;
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    rtp_pool_close(&b->pool);
    for (unsigned i = 0; i < b->processes; i++)
        if (b->process[i].fd >= 0)
            close(b->process[i].fd);
    rtp_rows_close(&b->rows);
    inject_destroy(&b->q);
    schema_set_free(b->schemas);
    symbols_close(&b->symbols);
    config_free(b->config);
    free(b);
    return 0;
}

/* A round, and everything that the sockets hold. */
static void round_of(struct bench *b, int64_t passed)
{
    struct epoll_event ev[16];
    b->now += passed;
    b->pool.now = b->now;
    int n = epoll_wait(b->pool.epoll, ev, 16, 0);
    for (int i = 0; i < n; i++)
        rtp_pool_ready(&b->pool, ev[i].data.u32);
    rtp_pool_work(&b->pool, b->now);
}

/* ---- the process's side ---- */

/* The present life of a process gets its socket. */
static struct fake *life(struct bench *b, unsigned g, unsigned k)
{
    struct fake *f = NULL;
    int fd[2];
    for (unsigned i = 0; i < b->processes; i++)
        if (b->process[i].life == b->pool.group[g].process[k].life)
            f = &b->process[i];
    assert_non_null(f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
    struct helper_event e = {
        .kind = HELPER_SPAWNED, .id = f->life, .pid = 0, .fd = fd[0], .pidfd = -1};
    f->fd = fd[1];
    fcntl(f->fd, F_SETFL, O_NONBLOCK);
    rtp_pool_event(&b->pool, &e);
    return f;
}

static void say(const struct fake *f, unsigned type, uint64_t id, uint64_t value, const void *body,
                size_t n)
{
    struct err err = {0};
    if (!rtp_wire_send(f->fd, (enum rtp_wire_type)type, id, value, body, n, NULL, 0, &err))
        fail_msg("type %u: %s", type, err.text);
}

static void say_whole(const struct fake *f, unsigned type, uint64_t id, uint64_t value,
                      const char *body, size_t n, uint32_t rows)
{
    for (size_t at = 0; at < n;) {
        size_t part = n - at < RTP_PART_BYTES ? n - at : RTP_PART_BYTES;
        char *p = malloc(sizeof(struct rtp_part) + part);
        struct rtp_part head = {.total = (uint32_t)n, .at = (uint32_t)at, .rows = rows};
        memcpy(p, &head, sizeof head);
        memcpy(p + sizeof head, body + at, part);
        say(f, type, id, value, p, sizeof head + part);
        free(p);
        at += part;
    }
}

/* The next message to it; type 0: none. The body is a copy with a NUL. */
static struct wire_message heard;
static unsigned hear(const struct fake *f)
{
    struct err err = {0};
    bool closed = false;
    wire_free(&heard);
    memset(&heard, 0, sizeof heard);
    return rtp_wire_receive(f->fd, 'D', &heard, &closed, &err) == 1 ? heard.head.type : 0;
}

#define READY_HEAD                                                                                 \
    "{\"plugins\":[],\"failed\":[],\"analytics\":[],\"functions\":[{\"name\":\"add\",\"about\":"   \
    "\"adds\",\"parameters\":[],\"columns\":[[\"n\",\"long\"]]}],\"processors\":["
#define CLEANER(type)                                                                              \
    "{\"name\":\"cleaner\",\"about\":\"cleans\",\"tables\":[\"trade\"],\"derived\":[{\"name\":"    \
    "\"clean\",\"columns\":[[\"time\",\"timestamp\"],[\"sym\",\"symbol\"],[\"px\",\"" type         \
    "\"]]}]}"

static void say_ready(const struct fake *f, const char *processors)
{
    char text[2000];
    snprintf(text, sizeof text, "%s%s]}", READY_HEAD, processors);
    say_whole(f, RTP_WIRE_READY, 0, 0, text, strlen(text), 0);
}

/* Up to RUNNING (or READY, where the group is manual). */
static struct fake *run(struct bench *b, unsigned g, unsigned k)
{
    struct fake *f = life(b, g, k);
    say(f, RTP_WIRE_HELLO, 0, 0, "test", 4);
    round_of(b, 0);
    round_of(b, 0);
    assert_int_equal(hear(f), RTP_WIRE_ATTACH);
    say_ready(f, CLEANER("float"));
    round_of(b, 0);
    return f;
}

static void ends(struct bench *b, const struct fake *f, int status)
{
    struct helper_event e = {.kind = HELPER_EXITED, .id = f->life, .status = status};
    rtp_pool_event(&b->pool, &e);
}

static bool gone(const struct fake *f) /* its socket was closed */
{
    struct pollfd p = {.fd = f->fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

/* ---- blocks ---- */

static pst_aligned(8) uint8_t block[65536];

/* n rows of a table, from one point to another, behind what is there; returns the bytes of all. */
static uint32_t rows(uint32_t at, unsigned table, unsigned n, struct source_point from,
                     struct source_point to)
{
    struct append_block *b = (struct append_block *)(void *)(block + at);
    uint8_t *p = block + at + sizeof *b;
    memset(b, 0, sizeof *b);
    memcpy(p, "\1A\2BC\0\0\0", 8);
    b->texts = 2;
    b->texts_bytes = 8;
    b->records = n;
    b->after = from.position;
    b->after_row = from.row;
    b->position = to.position;
    b->row = to.row;
    b->day = 9000;
    p += 8;
    for (unsigned i = 0; i < n; i++, p += 24) {
        struct record r = {(uint16_t)table, 24, i % 2, 777600000ll * SECOND + i};
        double px = i;
        memcpy(p, &r, sizeof r);
        memcpy(p + 16, &px, 8);
    }
    b->bytes = (uint32_t)(p - block) - at;
    return at + b->bytes;
}

static unsigned id_of(struct bench *b, const char *name)
{
    return schema_set_find(b->schemas, name)->id;
}

/* The appender: takes what is there, or refuses it; returns the batches with a derived record. */
static unsigned append(struct bench *b, enum inject_refusal why)
{
    const struct inject_batch *x;
    unsigned n = 0;
    while ((x = inject_peek(&b->q))) {
        const struct derived_record *d = (const void *)((const uint8_t *)(x + 1) + x->syms_bytes);
        if (x->kind == FRAME_DATA && d->table == TABLE_DERIVED) {
            n++;
            if (!why) {
                assert_true(source_fits(&b->at, source_point(d->after, d->after_row),
                                        source_point(d->position, d->row)));
                source_advance(&b->at, source_point(d->position, d->row));
            }
        }
        if (why)
            inject_refuse(&b->q, x->bytes, 0, why);
        else
            inject_release(&b->q, x->bytes, 0);
    }
    return n;
}

/* ---- tests ---- */

static bool has(const char *text, const char *part)
{
    if (strstr(text, part))
        return true;
    print_message("%s\nlacks %s\n", text, part);
    return false;
}

static void test_what_it_gets(void **state)
{
    struct bench *b = *state;
    round_of(b, 0);
    assert_int_equal(b->processes, 4); /* agg, and three of wide: manual ones are there, too */
    struct fake *f = life(b, 0, 0);
    say(f, RTP_WIRE_HELLO, 0, 0, "test", 4);
    round_of(b, 0);
    round_of(b, 0);
    assert_int_equal(hear(f), RTP_WIRE_ATTACH);
    const char *t = heard.body;
    assert_true(has(t, "\"group\":\"agg\"") && has(t, "\"plugins\":[\"/opt/agg.so\"]") &&
                has(t, "\"subscriptions\":[\"trade\"]") && has(t, "\"processors\":[\"cleaner\"]") &&
                has(t, "\"insert\":{\"trade\":\"clean\"}") &&
                has(t, "\"libraries\":{\"stats\":\"/opt/libstats.so\"}") &&
                has(t, "\"options\":{\"depth\":\"10\"}") && has(t, "\"buffer_start\":\"began\"") &&
                has(t, "\"buffer_end\":\"ended\"") && has(t, "\"memory\":100663296") &&
                has(t, "\"zone\":\"UTC\"") && has(t, "\"stripe\":0") && has(t, "\"stripes\":1"));
    b->at.at = source_point(500, 3);
    b->at.islands = 1;
    b->at.island[0] = (struct source_range){source_point(800, 0), source_point(900, 1)};
    say_ready(f, CLEANER("float"));
    round_of(b, 0);
    assert_int_equal(hear(f), RTP_WIRE_START);
    assert_true(has(heard.body, "\"point\":[500,3]") &&
                has(heard.body, "\"islands\":[[800,0,900,1]]") && has(heard.body, "\"day\":9000"));
    assert_int_equal(b->ups, 1);
    /* the second of three, each with its share */
    f = run(b, 1, 1);
    struct rtp_process *x = &b->pool.group[1].process[1];
    assert_int_equal(x->state, RTP_READY);
    assert_int_equal(hear(f), 0); /* manual: no START */
    assert_int_equal(b->ups, 1);
    struct err err = {0};
    struct rtp_group *wide = rtp_pool_group(&b->pool, "wide", &err);
    assert_true(rtp_pool_start(&b->pool, wide, &err));
    assert_int_equal(hear(f), RTP_WIRE_START);
    assert_null(strstr(heard.body, "point"));
    assert_int_equal(b->ups, 2);
    assert_false(rtp_pool_start(&b->pool, wide, &err));
    f = life(b, 1, 2);
    say(f, RTP_WIRE_HELLO, 0, 0, "test", 4);
    round_of(b, 0);
    round_of(b, 0);
    assert_int_equal(hear(f), RTP_WIRE_ATTACH);
    assert_true(has(heard.body, "\"stripe\":2") && has(heard.body, "\"stripes\":3"));
    struct rtp_group_facts facts;
    b->pool.link.group(&b->pool, 1, &facts);
    assert_string_equal(facts.name, "wide");
    assert_int_equal(facts.mode, RTP_BROADCAST);
    assert_int_equal(facts.processes, 3);
    assert_int_equal(facts.up, 1);
}

static void test_rows_go_in_once(void **state)
{
    struct bench *b = *state;
    b->at.at = source_point(100, 0);
    round_of(b, 0);
    struct fake *f = run(b, 0, 0);
    assert_int_equal(hear(f), RTP_WIRE_START);
    unsigned clean = id_of(b, "clean");
    uint32_t n = rows(0, clean, 3, source_point(100, 0), source_point(100, 3));
    n = rows(n, clean, 2, source_point(100, 3), source_point(200, 0));
    say(f, RTP_WIRE_ROWS, 0, 1, block, n);
    n = rows(0, clean, 500, source_point(200, 0), source_point(300, 0));
    say(f, RTP_WIRE_ROWS, 0, 2, block, n);
    round_of(b, 0);
    assert_int_equal(hear(f), 0); /* the journal has them not yet */
    assert_int_equal(append(b, INJECT_ACCEPTED), 3);
    assert_int_equal(b->at.at.position, 300);
    round_of(b, 0);
    assert_int_equal(hear(f), RTP_WIRE_ROWS_DONE);
    assert_int_equal(heard.head.value, 2);
    assert_int_equal(b->pool.rows_taken, 505);
    /* it dies with rows under way: the next life waits for them, and goes on behind them */
    n = rows(0, clean, 7, source_point(300, 0), source_point(400, 0));
    say(f, RTP_WIRE_ROWS, 0, 3, block, n);
    round_of(b, 0);
    ends(b, f, 9);
    assert_int_equal(b->downs, 1);
    assert_true(b->again);
    round_of(b, SECOND);
    struct fake *next = life(b, 0, 0);
    say(next, RTP_WIRE_HELLO, 0, 0, "test", 4);
    round_of(b, 0);
    round_of(b, 0);
    assert_int_equal(hear(next), 0); /* not attached: it would be told an old point */
    assert_int_equal(append(b, INJECT_ACCEPTED), 1);
    round_of(b, 0);
    assert_int_equal(hear(next), RTP_WIRE_ATTACH);
    say_ready(next, CLEANER("float"));
    round_of(b, 0);
    assert_int_equal(hear(next), RTP_WIRE_START);
    assert_true(has(heard.body, "\"point\":[400,0]"));
    n = rows(0, clean, 1, source_point(400, 0), source_point(500, 0));
    say(next, RTP_WIRE_ROWS, 0, 1, block, n); /* numbers begin anew */
    round_of(b, 0);
    assert_int_equal(append(b, INJECT_ACCEPTED), 1);
    round_of(b, 0);
    assert_int_equal(hear(next), RTP_WIRE_ROWS_DONE);
    assert_int_equal(heard.head.value, 1);
}

/* Each of these ends the process, and nothing of it reaches the ring. */
static void test_rows_that_are_refused(void **state)
{
    struct bench *b = *state;
    b->at.at = source_point(100, 0);
    b->at.islands = 1;
    b->at.island[0] = (struct source_range){source_point(150, 0), source_point(160, 0)};
    unsigned clean = id_of(b, "clean"), other = id_of(b, "other"), gap = id_of(b, "gap");
    for (unsigned c = 0; c < 9; c++) {
        round_of(b, 60 * SECOND);
        struct fake *f = run(b, 0, 0);
        assert_int_equal(hear(f), RTP_WIRE_START);
        struct source_point from = source_point(100, 0), to = source_point(140, 0);
        uint64_t number = 1;
        unsigned of = clean;
        const char *why = "refused";
        if (c == 0)
            of = other; /* a table that the processor has not declared */
        else if (c == 1)
            of = gap;
        else if (c == 2)
            of = 4000;
        else if (c == 3)
            from = source_point(99, 0); /* rows that are there */
        else if (c == 4)
            from = source_point(101, 0); /* rows left out */
        else if (c == 5)
            to = source_point(155, 0); /* into what is there already */
        else if (c == 6)
            number = 2;
        uint32_t n = rows(0, of, 2, from, to);
        if (c == 7)
            memset(block + sizeof(struct append_block) + 8 + 2, 0xFF, 2); /* a record's length */
        if (c == 8)
            ((struct record *)(void *)(block + sizeof(struct append_block) + 8))->sym = 7;
        say(f, RTP_WIRE_ROWS, 0, number, block, n);
        round_of(b, 0);
        assert_true(gone(f));
        assert_int_equal(append(b, INJECT_ACCEPTED), 0);
        assert_int_equal(b->pool.refused, c + 1);
        ends(b, f, 9);
        assert_true(has(b->why, why));
        assert_int_equal(b->at.at.position, 100);
    }
    assert_int_equal(b->pool.group[0].refused, 9);
}

static void test_the_appender_refuses(void **state)
{
    struct bench *b = *state;
    b->at.at = source_point(100, 0);
    round_of(b, 0);
    struct fake *f = run(b, 0, 0);
    assert_int_equal(hear(f), RTP_WIRE_START);
    uint32_t n = rows(0, id_of(b, "clean"), 2, source_point(100, 0), source_point(140, 0));
    say(f, RTP_WIRE_ROWS, 0, 1, block, n);
    round_of(b, 0);
    assert_int_equal(append(b, INJECT_SYMBOLS_LIMIT), 1);
    round_of(b, 0);
    assert_true(gone(f));
    ends(b, f, 9);
    assert_true(has(b->why, "max_new_symbols"));
    /* its texts were not kept: the next batch brings them again */
    round_of(b, SECOND);
    struct fake *next = run(b, 0, 0);
    assert_int_equal(hear(next), RTP_WIRE_START);
    assert_true(has(heard.body, "\"point\":[100,0]"));
    n = rows(0, id_of(b, "clean"), 2, source_point(100, 0), source_point(140, 0));
    say(next, RTP_WIRE_ROWS, 0, 1, block, n);
    round_of(b, 0);
    const struct inject_batch *x = inject_peek(&b->q);
    assert_non_null(x);
    assert_int_equal(x->new_syms, 3); /* the source, A, BC */
    assert_int_equal(x->flags & INJECT_RESTART, INJECT_RESTART);
    assert_int_equal(append(b, INJECT_ACCEPTED), 1);
    assert_int_equal(b->at.at.position, 140);
}

/* More than fits: it is not read on, and nothing is lost. */
static void test_rows_wait_for_room(void **state)
{
    struct bench *b = *state;
    round_of(b, 0);
    struct fake *f = run(b, 0, 0);
    assert_int_equal(hear(f), RTP_WIRE_START);
    unsigned clean = id_of(b, "clean"), sent = 0, batches = 0;
    uint64_t done = 0;
    for (unsigned i = 0; i < 3000 && done < 200; i++) {
        if (sent < 200 && sent - done < RTP_ROWS_CREDIT) {
            uint32_t n = rows(0, clean, 1000, source_point(sent, 0), source_point(sent + 1, 0));
            struct err err = {0};
            if (rtp_wire_send(f->fd, RTP_WIRE_ROWS, 0, sent + 1, block, n, NULL, 0, &err))
                sent++;
        }
        if (i % 20 == 19)
            batches += append(b, INJECT_ACCEPTED);
        round_of(b, SECOND / 1000);
        assert_true(b->rows.under_way <= RTP_ROWS_BATCHES);
        while (hear(f) == RTP_WIRE_ROWS_DONE)
            done = heard.head.value;
        assert_false(gone(f));
    }
    assert_int_equal(done, 200);
    assert_int_equal(batches, 200);
    assert_int_equal(b->pool.rows_taken, 200000);
    assert_int_equal(b->at.at.position, 200);
}

static void beat(struct bench *b, const struct fake *f)
{
    struct rtp_beat x = {.position = 4711, .subscriptions = 2};
    say(f, RTP_WIRE_BEAT, 0, 0, &x, sizeof x);
    round_of(b, 0);
}

static void test_stuck_and_held(void **state)
{
    struct bench *b = *state;
    struct rtp_process_facts facts;
    round_of(b, 0);
    struct fake *f = run(b, 0, 0);
    for (unsigned i = 0; i < 5; i++) {
        round_of(b, 2 * SECOND);
        beat(b, f);
    }
    b->pool.link.process(&b->pool, 0, 0, &facts);
    assert_int_equal(facts.position, 4711);
    assert_int_equal(facts.subscriptions, 2);
    b->pool.link.hold(&b->pool, 0, 0, true);
    say(f, RTP_WIRE_UPDATE, 0, 0, &(struct rtp_part){.total = 1}, sizeof(struct rtp_part));
    round_of(b, 20 * SECOND); /* held: not read, not called stuck */
    assert_false(gone(f));
    assert_int_equal(b->messages, 0);
    b->pool.link.hold(&b->pool, 0, 0, false);
    round_of(b, 0);
    assert_true(gone(f)); /* that part was none */
    ends(b, f, 9);
    assert_true(has(b->why, "protocol"));
    round_of(b, SECOND);
    f = run(b, 0, 0);
    round_of(b, 2 * SECOND);
    assert_false(gone(f));
    round_of(b, 2 * SECOND); /* stuck: 3s */
    assert_true(gone(f));
    ends(b, f, 9);
    assert_true(has(b->why, "stuck"));
}

static void test_back_off(void **state)
{
    struct bench *b = *state;
    const struct rtp_process *x = &b->pool.group[0].process[0];
    int64_t wait = SECOND / 10;
    round_of(b, 0);
    for (unsigned i = 0; i < 12; i++) {
        struct fake f = {x->life, -1};
        assert_int_equal(x->state, RTP_ASKED);
        ends(b, &f, 1 << 8);
        assert_int_equal(b->pool.group[0].restarts, i + 1);
        round_of(b, wait - 1000000);
        assert_int_equal(x->state, RTP_OFF);
        round_of(b, 2000000);
        assert_true(x->life > f.life);
        wait = 2 * wait < 30 * SECOND ? 2 * wait : 30 * SECOND;
    }
    /* up for longer than a minute: it begins anew */
    struct fake *f = run(b, 0, 0);
    for (unsigned i = 0; i < 70; i++) {
        beat(b, f);
        round_of(b, SECOND);
    }
    ends(b, f, 1 << 8);
    round_of(b, SECOND / 10);
    assert_int_equal(x->state, RTP_ASKED);
    run(b, 0, 0);
    /* the helper goes: all are gone, nothing is started */
    struct helper_event e = {.kind = HELPER_GONE};
    snprintf(
        e.text, sizeof e.text,
        "penstock-helper is gone, signal 9 (Killed): nothing can be started until penstockd is "
        "restarted");
    rtp_pool_event(&b->pool, &e);
    assert_string_equal(b->why, e.text);
    assert_false(b->again);
    round_of(b, 100 * SECOND);
    assert_int_equal(x->state, RTP_OFF);
}

static void test_memory(void **state)
{
    struct bench *b = *state;
    round_of(b, 0);
    struct fake *f = run(b, 0, 0);
    size_t n = 128 << 20; /* memory: 96M */
    volatile char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    b->pool.group[0].process[0].pid = getpid();
    round_of(b, SECOND);
    assert_false(gone(f));
    for (size_t i = 0; i < n; i += 4096)
        p[i] = 1;
    round_of(b, SECOND);
    munmap((void *)(uintptr_t)p, n);
    assert_true(gone(f));
    b->pool.group[0].process[0].pid = 0;
    ends(b, f, 9);
    assert_true(has(b->why, "rtp.agg.memory"));
}

static void test_messages_in_order(void **state)
{
    struct bench *b = *state;
    round_of(b, 0);
    struct fake *f = run(b, 0, 0);
    assert_int_equal(hear(f), RTP_WIRE_START);
    assert_true(b->pool.link.send(&b->pool, 0, 0, RTP_WIRE_SNAPSHOT, 5, 9, NULL, 0));
    assert_int_equal(hear(f), RTP_WIRE_SNAPSHOT);
    assert_int_equal(heard.head.id, 5);
    assert_int_equal(heard.head.value, 9);
    say(f, RTP_WIRE_SUBSCRIBED, 1, 9, "{}", 2);
    round_of(b, 0);
    assert_int_equal(b->said.type, RTP_WIRE_SUBSCRIBED);
    assert_int_equal(b->said.value, 9);
    char *large = malloc(120000);
    memset(large, 'x', 120000);
    memcpy(large, "STATE", 5);
    say_whole(f, RTP_WIRE_STATE, 5, 77, large, 120000, 3);
    round_of(b, 0);
    assert_int_equal(b->said.type, RTP_WIRE_STATE);
    assert_int_equal(b->said.length, 120000);
    assert_int_equal(b->said.rows, 3);
    assert_true(has(b->body, "STATE"));
    free(large);
    say(f, RTP_WIRE_REFUSED, 6, 0, "no", 2);
    round_of(b, 0);
    assert_string_equal(b->body, "no");
    assert_int_equal(b->messages, 3);
    b->refuse = true;
    say_whole(f, RTP_WIRE_UPDATE, 9, 78, "bad", 3, 1);
    round_of(b, 0);
    assert_true(gone(f));
}

static void test_queue_to_it(void **state)
{
    struct bench *b = *state;
    static char body[40000];
    round_of(b, 0);
    struct fake *f = run(b, 0, 0);
    assert_int_equal(hear(f), RTP_WIRE_START);
    unsigned sent = 0, got = 0;
    for (; sent < 100; sent++)
        assert_true(
            b->pool.link.send(&b->pool, 0, 0, RTP_WIRE_SUBSCRIBE, sent, 0, body, sizeof body));
    for (unsigned i = 0; i < 1000 && got < sent; i++) {
        while (hear(f) == RTP_WIRE_SUBSCRIBE) {
            assert_int_equal(heard.head.id, got);
            got++;
        }
        round_of(b, 0);
    }
    assert_int_equal(got, sent);
    for (sent = 0; sent < 1000; sent++) /* it takes nothing any more */
        if (!b->pool.link.send(&b->pool, 0, 0, RTP_WIRE_SUBSCRIBE, sent, 0, body, sizeof body))
            break;
    assert_in_range(sent, RTP_LINK_QUEUE / sizeof body, 999);
    ends(b, f, 9);
    assert_true(has(b->why, "does not take"));
}

static void test_calls(void **state)
{
    struct bench *b = *state;
    struct err err = {0};
    struct rtp_group *g = &b->pool.group[0];
    struct kdb_out out = {0};
    const char *names[] = {"n"};
    round_of(b, 0);
    assert_false(rtp_pool_call(&b->pool, g, 0, "x", 1, 50, b->now + SECOND, &err));
    struct fake *f = run(b, 0, 0);
    assert_int_equal(hear(f), RTP_WIRE_START);
    assert_true(rtp_pool_call(&b->pool, g, 0, "x", 1, 51, b->now + SECOND, &err));
    assert_false(rtp_pool_call(&b->pool, g, 1, "x", 1, 52, b->now + SECOND, &err));
    assert_int_equal(hear(f), RTP_WIRE_CALL);
    int64_t v = 7;
    kdb_out_columns(&out, names, 1);
    kdb_out_vector(&out, PST_LONG, 0, 1, &v);
    say_whole(f, RTP_WIRE_CALLED, heard.head.id, 0, (const char *)out.data, out.len, 1);
    kdb_out_free(&out);
    round_of(b, 0);
    assert_int_equal(b->answered, 51);
    assert_string_equal(b->answer, "a table");
    assert_true(rtp_pool_call(&b->pool, g, 0, "x", 1, 53, b->now + SECOND, &err));
    assert_int_equal(hear(f), RTP_WIRE_CALL);
    say(f, RTP_WIRE_REFUSED, heard.head.id, 0, "it cannot", 9);
    round_of(b, 0);
    assert_int_equal(b->answered, 53);
    assert_string_equal(b->answer, "it cannot");
    assert_true(rtp_pool_call(&b->pool, g, 0, "x", 1, 54, b->now + SECOND, &err));
    round_of(b, 2 * SECOND);
    assert_int_equal(b->answered, 54);
    assert_true(has(b->answer, "in time"));
    assert_true(rtp_pool_call(&b->pool, g, 0, "x", 1, 55, b->now + SECOND, &err));
    ends(b, f, 11);
    assert_int_equal(b->answered, 55);
    assert_true(has(b->answer, "ended during the call"));
}

static void test_plugins(void **state)
{
    struct bench *b = *state;
    struct err err = {0};
    struct rtp_group *g = &b->pool.group[1];
    round_of(b, 0);
    struct fake *f[3];
    for (unsigned i = 0; i < 3; i++)
        f[i] = run(b, 1, i);
    assert_false(rtp_pool_plugin(&b->pool, g, true, "relative.so", 1, &err));
    assert_false(rtp_pool_plugin(&b->pool, g, false, "/bin/true", 2, &err));
    assert_true(rtp_pool_plugin(&b->pool, g, true, "/bin/true", 3, &err));  /* root's: trusted */
    assert_false(rtp_pool_plugin(&b->pool, g, true, "/bin/true", 4, &err)); /* one at a time */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(b->answered, 0);
        assert_int_equal(hear(f[i]), RTP_WIRE_PLUGIN);
        assert_string_equal(heard.body, "{\"load\":\"/bin/true\"}");
        if (i < 2) {
            say(f[i], RTP_WIRE_PLUGIN_DONE, heard.head.id, 0, NULL, 0);
            say_ready(f[i], CLEANER("float"));
            round_of(b, 0);
        }
    }
    ends(b, f[2], 11); /* the third dies of it */
    assert_int_equal(b->answered, 3);
    assert_true(strlen(b->answer) > 0);
    assert_int_equal(json_array_size(g->plugins), 0);
    assert_int_equal(b->plugins, 2);
    assert_true(rtp_pool_plugin(&b->pool, g, true, "/bin/true", 5, &err));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(hear(f[i]), RTP_WIRE_PLUGIN);
        say(f[i], RTP_WIRE_PLUGIN_DONE, heard.head.id, 0, NULL, 0);
        round_of(b, 0);
        assert_int_equal(b->answered, 3); /* what the group has now is not known yet */
        say_ready(f[i], CLEANER("float"));
    }
    round_of(b, 0);
    assert_int_equal(b->answered, 5);
    assert_string_equal(b->answer, "");
    assert_int_equal(json_array_size(g->plugins), 1); /* a later life loads it, too */
    say_ready(f[0], CLEANER("float"));                /* once is enough */
    round_of(b, 0);
    assert_true(gone(f[0]));
    round_of(b, SECOND);
    struct fake *later = life(b, 1, 2);
    say(later, RTP_WIRE_HELLO, 0, 0, "test", 4);
    round_of(b, 0);
    round_of(b, 0);
    assert_int_equal(hear(later), RTP_WIRE_ATTACH);
    assert_true(has(heard.body, "\"plugins\":[\"/bin/true\"]"));
}

static void test_derived_tables_are_compared(void **state)
{
    struct bench *b = *state;
    round_of(b, 0);
    struct fake *f = life(b, 0, 0);
    say(f, RTP_WIRE_HELLO, 0, 0, "test", 4);
    round_of(b, 0);
    round_of(b, 0);
    say_ready(f, CLEANER("long"));
    round_of(b, 0);
    assert_true(has(b->pool.group[0].trouble, "px long, declared is px float"));
    ends(b, f, 9);
    round_of(b, SECOND);
    f = life(b, 0, 0);
    say(f, RTP_WIRE_HELLO, 0, 0, "test", 4);
    round_of(b, 0);
    round_of(b, 0);
    say_ready(f, "");
    round_of(b, 0);
    assert_true(has(b->pool.group[0].trouble, "none of its plugins has a processor cleaner"));
    ends(b, f, 9);
    round_of(b, SECOND);
    f = life(b, 0, 0); /* one that gives up by itself says why */
    say(f, RTP_WIRE_HELLO, 0, 0, "test", 4);
    say(f, RTP_WIRE_LOG, 0, 0, "no\nplugin", 9);
    round_of(b, 0);
    ends(b, f, 1 << 8);
    assert_string_equal(b->pool.group[0].trouble, "no plugin");
    assert_string_equal(b->pool.group[0].why, "exit code 1: no plugin");
    round_of(b, SECOND);
    run(b, 0, 0); /* and a function for buffering marks that nobody brings is missed at once */
    assert_string_equal(b->pool.group[0].trouble,
                        "buffer_start: none of its plugins has a function began");
}

static void test_cuts(void **state)
{
    struct bench *b = *state;
    round_of(b, 0);
    struct fake *f = run(b, 0, 0);
    assert_int_equal(hear(f), RTP_WIRE_START);
    say(f, RTP_WIRE_CUT_WANTED, 0, 100, NULL, 0);
    round_of(b, 0);
    assert_int_equal(b->cuts, 1);
    struct cut *c = calloc(1, sizeof *c);
    c->bytes = sizeof *c;
    rtp_pool_cut(&b->pool, f->life, c, "");
    free(c);
    assert_int_equal(hear(f), RTP_WIRE_CUT);
    assert_int_equal(b->releases, 0);
    say(f, RTP_WIRE_CUT_DONE, 0, 0, NULL, 0);
    round_of(b, 0);
    assert_int_equal(b->releases, 1);
    say(f, RTP_WIRE_CUT_WANTED, 0, 100, NULL, 0);
    round_of(b, 0);
    rtp_pool_cut(&b->pool, f->life, NULL, "memory is being rebuilt");
    assert_int_equal(hear(f), RTP_WIRE_CUT_REFUSED);
    assert_string_equal(heard.body, "memory is being rebuilt");
    for (unsigned i = 0; i < 1000; i++) { /* one that waits asks often: that is fine */
        say(f, RTP_WIRE_CUT_WANTED, 0, 100, NULL, 0);
        round_of(b, 1000000);
        rtp_pool_cut(&b->pool, f->life, NULL, "wait");
        assert_int_equal(hear(f), RTP_WIRE_CUT_REFUSED);
    }
    say(f, RTP_WIRE_CUT_WANTED, 0, 100, NULL, 0);
    round_of(b, 0);
    ends(b, f, 9); /* with a cut on its way: it is given back */
    assert_int_equal(b->releases, 2);
    rtp_pool_cut(&b->pool, f->life, NULL, "late");
    assert_int_equal(b->releases, 3);
}

static void test_stop_and_restart(void **state)
{
    struct bench *b = *state;
    struct err err = {0};
    struct rtp_group *g = &b->pool.group[0];
    round_of(b, 0);
    struct fake *f = run(b, 0, 0);
    assert_int_equal(hear(f), RTP_WIRE_START);
    assert_true(rtp_pool_restart(&b->pool, g, &err));
    assert_int_equal(hear(f), RTP_WIRE_STOP);
    ends(b, f, 0);
    assert_true(b->again);
    assert_int_equal(b->pool.lost, 0); /* it was wanted */
    round_of(b, 0);
    f = run(b, 0, 0);
    assert_int_equal(hear(f), RTP_WIRE_START);
    assert_true(rtp_pool_stop(&b->pool, g, &err));
    round_of(b, 0);
    assert_int_equal(hear(f), RTP_WIRE_STOP);
    round_of(b, SECOND);
    assert_false(gone(f)); /* it may flush */
    round_of(b, 2 * SECOND);
    assert_true(gone(f));
    ends(b, f, 9);
    assert_false(b->again);
    round_of(b, 60 * SECOND);
    assert_int_equal(b->pool.group[0].process[0].state, RTP_OFF);
    assert_false(rtp_pool_stop(&b->pool, g, &err));
    assert_true(rtp_pool_start(&b->pool, g, &err));
    round_of(b, 0);
    assert_int_equal(b->pool.group[0].process[0].state, RTP_ASKED);
}

/* Without the key: one group that runs while it is wanted. */
static void test_on_demand(void **state)
{
    struct bench *b = *state;
    struct rtp_hooks hooks = b->pool.hooks;
    struct config_rtp own = {.name = "analytics",
                             .processes = 1,
                             .vanilla = true,
                             .memory = 1 << 30,
                             .stuck = 1000 * SECOND};
    struct err err = {0};
    rtp_pool_close(&b->pool);
    b->processes = 0;
    assert_true(rtp_pool_open(&b->pool, &own, 1, &hooks, NULL, 2000, &err));
    b->pool.events = &events;
    round_of(b, 0);
    assert_int_equal(b->processes, 0);
    b->pool.link.want(&b->pool, 0, true);
    round_of(b, 0);
    assert_int_equal(b->processes, 1);
    struct fake *f = run(b, 0, 0);
    assert_int_equal(hear(f), RTP_WIRE_START);
    b->pool.link.want(&b->pool, 0, false);
    round_of(b, RTP_LINGER_NS - SECOND);
    assert_int_equal(hear(f), 0);
    round_of(b, 2 * SECOND);
    assert_int_equal(hear(f), RTP_WIRE_STOP);
    say(f, RTP_WIRE_ROWS, 0, 1, block, 8); /* it has no processor */
    round_of(b, 0);
    assert_true(gone(f));
}

/* Garbage of any kind ends it, and only it. */
static void test_garbage(void **state)
{
    struct bench *b = *state;
    uint32_t seed = 12345;
    for (unsigned i = 0; i < 300; i++) {
        round_of(b, 60 * SECOND);
        struct fake *f = i % 2 ? run(b, 0, 0) : life(b, 0, 0), old = *f;
        uint8_t junk[300];
        for (unsigned k = 0; k < sizeof junk; k++)
            junk[k] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
        struct wire_header h = {.magic = RTP_WIRE_MAGIC,
                                .version = RTP_WIRE_VERSION,
                                .type = (uint16_t)(1 + seed % (RTP_WIRE_END - 1)),
                                .length = 300 - sizeof h};
        if (i % 5)
            memcpy(junk, &h, sizeof h);
        for (unsigned k = 0; k < 3; k++)
            if (send(f->fd, junk, sizeof junk, MSG_NOSIGNAL) < 0)
                break;
        round_of(b, 0);
        ends(b, f, 9);
        close(f->fd);
        f->fd = -1;
        assert_int_equal(append(b, INJECT_ACCEPTED), 0);
        round_of(b, 60 * SECOND);
        assert_true(b->pool.group[0].process[0].life > old.life);
        assert_int_equal(b->pool.group[0].restarts, i + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_what_it_gets),
        T(test_rows_go_in_once),
        T(test_rows_that_are_refused),
        T(test_the_appender_refuses),
        T(test_rows_wait_for_room),
        T(test_stuck_and_held),
        T(test_back_off),
        T(test_memory),
        T(test_messages_in_order),
        T(test_queue_to_it),
        T(test_calls),
        T(test_plugins),
        T(test_derived_tables_are_compared),
        T(test_cuts),
        T(test_stop_and_restart),
        T(test_on_demand),
        T(test_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
