/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_kit.h - the program penstock-rtp over its socket, for unit tests: a journal in memory with an
 * RDB beside it, both sealed and handed out, and a penstockd that says what the test says.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "journal_kit.h"
#include "append_check.h"
#include "core/cut.h"
#include "core/sanitized.h"
#include "rtp/rtp_wire.h"
#include "storage/kdb_object.h"
#include "storage/rdb.h"

static const struct column_def rk_twice[] = {{"time", PST_TIMESTAMP},
                                             {"sym", PST_SYMBOL},
                                             {"size", PST_LONG},
                                             {"tag", PST_SYMBOL},
                                             {"note", PST_STRING}};
static const struct column_def rk_clean[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"size", PST_LONG}, {"note", PST_STRING}};
static const struct column_def rk_cpu[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"load", PST_FLOAT}};

static struct rk {
    struct kit *k;
    struct inject q;
    struct inject_rows w;
    struct rdb *rdb;
    const struct schema *twice, *clean, *cpu;
    pid_t pid;
    int fd;
    struct rtp_whole whole;
    struct wire_message m;
    uint64_t beats, ids;
    struct rtp_beat beat;
    char log[4096]; /* LOG and DEBUGGED, one behind the other */
} rk;

static inline const struct schema *rk_schema(const char *name, const struct column_def *c,
                                             unsigned n)
{
    struct schema s;
    struct err e;
    assert_true(schema_make(&s, 0, name, false, c, n, &e));
    return kit_table(rk.k, &s);
}

static inline void rk_open(void)
{
    struct err e = {0};
    rk = (struct rk){.k = kit_new(4096, 4000), .fd = -1};
    rk.twice = rk_schema("twice", rk_twice, PST_COUNT(rk_twice));
    rk.clean = rk_schema("clean", rk_clean, PST_COUNT(rk_clean));
    rk.cpu = rk_schema("cpu", rk_cpu, PST_COUNT(rk_cpu));
    assert_true(inject_create(&rk.q, INJECT_MIN, &e));
    struct inject_options o = {.max_new_symbols = 4000, .symbols = 4000, .sources = true};
    assert_true(appender_add_inject(&rk.k->app, &rk.q, 1, &o, &e));
    struct inject_rows_config c = {&rk.q, &rk.k->symbols, rk.k->schemas, rk.k->status,
                                   4000,  UINT32_MAX,     KIT_DAY};
    assert_true(inject_rows_init(&rk.w, &c, &e));
    struct rdb_config r = {
        .bytes = 64ull << 20, .symbols_max = 4096, .instance = 77, .extent_bytes = 2ull << 20};
    assert_non_null(rk.rdb = rdb_create(&r, &e));
    assert_true(ring_seal(&rk.k->ring) && symbols_seal(&rk.k->symbols) && rdb_seal(rk.rdb));
}

static inline void rk_kill(void)
{
    if (rk.pid > 0) {
        kill(rk.pid, SIGKILL);
        waitpid(rk.pid, NULL, 0);
    }
    if (rk.fd >= 0)
        close(rk.fd);
    rk.pid = 0;
    rk.fd = -1;
    wire_free(&rk.m);
    rtp_whole_free(&rk.whole);
}

static inline void rk_close(void)
{
    rk_kill();
    rdb_close(rk.rdb);
    inject_rows_fini(&rk.w);
    inject_destroy(&rk.q);
    kit_free(rk.k);
}

/* ---- the journal ---- */

/* What was injected is journaled, and taken by the RDB; rk_journal: and it is synced. */
static inline void rk_journal_unsynced(void)
{
    const struct frame *f;
    inject_rows_flush(&rk.w);
    while (appender_take(&rk.k->app, 16))
        ;
    while ((f = kit_next(rk.k)))
        rdb_append(rk.rdb, rk.k->schemas, f);
    rdb_publish(rk.rdb);
}
static inline void rk_journal(void)
{
    rk_journal_unsynced();
    kit_drain(rk.k);
}

static inline void rk_trade(const char *sym, int64_t size, const char *note, uint16_t day)
{
    const struct schema *s = rk.k->trade;
    uint32_t id = rows_symbol(&rk.w.rows, sym, (uint32_t)strlen(sym));
    uint32_t n = (uint32_t)strlen(note), bytes = (uint32_t)pst_align8(s->fixed + n);
    uint8_t *p = inject_rows_plain(&rk.w, bytes, day);
    assert_non_null(p);
    memset(p, 0, bytes);
    *(struct record *)p = (struct record){s->id, (uint16_t)bytes, id, KIT_DAY * NS_PER_DAY + size};
    memcpy(p + s->col[3].offset, &size, 8);
    put32(p + s->col[4].offset, id);
    put32(p + s->col[5].offset, s->fixed);
    put32(p + s->col[5].offset + 4, n);
    memcpy(p + s->fixed, note, n);
    inject_rows_plain_commit(&rk.w, bytes);
}

static inline void rk_load(const char *sym, double load)
{
    const struct schema *s = rk.cpu;
    uint32_t id = rows_symbol(&rk.w.rows, sym, (uint32_t)strlen(sym));
    uint8_t *p = inject_rows_plain(&rk.w, s->fixed, KIT_DAY);
    memset(p, 0, s->fixed);
    *(struct record *)p = (struct record){s->id, s->fixed, id, KIT_DAY * NS_PER_DAY + 1};
    memcpy(p + s->col[2].offset, &load, 8);
    inject_rows_plain_commit(&rk.w, s->fixed);
}

/* ---- the process ---- */

static inline void rk_tell(enum rtp_wire_type type, uint64_t id, uint64_t value, const void *body,
                           size_t n)
{
    struct err err = {0};
    if (!rtp_wire_send(rk.fd, type, id, value, body, n, NULL, 0, &err))
        fail_msg("%s", err.text);
}

static inline void rk_note(const struct wire_message *m)
{
    size_t at = strlen(rk.log);
    snprintf(rk.log + at, sizeof rk.log - at, "%.*s\n", (int)m->head.length, m->body);
}

/* The next message that is no beat or log; 0: the process is gone. A whole: rk.whole. */
static inline int rk_message(void)
{
    struct err err = {0};
    bool closed;
    wire_free(&rk.m);
    for (;;) {
        struct pollfd p = {rk.fd, POLLIN, 0};
        int n = poll(&p, 1, 10000);
        if (n != 1)
            fail_msg("nothing comes. Log: %s", rk.log);
        int k = rtp_wire_receive(rk.fd, 'R', &rk.m, &closed, &err);
        if (k < 0)
            fail_msg("%s", err.text);
        if (!k)
            return 0;
        k = rtp_whole_take(&rk.whole, &rk.m, &err);
        if (k < 0)
            fail_msg("%s", err.text);
        unsigned type = rk.m.head.type;
        if (type == RTP_WIRE_BEAT) {
            assert_true(rtp_beat_parse(&rk.beat, rk.m.body, rk.m.head.length));
            rk.beats++;
        } else if (type == RTP_WIRE_LOG || type == RTP_WIRE_DEBUGGED) {
            rk_note(&rk.m);
        } else if (k) {
            return (int)type;
        }
        wire_free(&rk.m);
    }
}

static inline void rk_expect(int type)
{
    int got = rk_message();
    if (got != type)
        fail_msg("%s came, not %s: %.200s. Log: %s", rtp_wire_name((unsigned)got),
                 rtp_wire_name((unsigned)type),
                 got && !rtp_in_parts((unsigned)got) ? rk.m.body : "", rk.log);
}

/* Until a beat answers a ping. How many updates came meanwhile. */
static inline int rk_ping(void)
{
    struct err err = {0};
    bool closed;
    int updates = 0;
    uint64_t value = ++rk.ids;
    rk_tell(RTP_WIRE_PING, 0, value, NULL, 0);
    for (;;) {
        struct wire_message m;
        struct pollfd p = {rk.fd, POLLIN, 0};
        assert_int_equal(poll(&p, 1, 10000), 1);
        assert_int_equal(rtp_wire_receive(rk.fd, 'R', &m, &closed, &err), 1);
        bool mine = m.head.type == RTP_WIRE_BEAT && m.head.value == value;
        if (m.head.type == RTP_WIRE_BEAT)
            assert_true(rtp_beat_parse(&rk.beat, m.body, m.head.length));
        else if (m.head.type == RTP_WIRE_UPDATE)
            updates++;
        else
            rk_note(&m);
        wire_free(&m);
        if (mine)
            return updates;
    }
}

/* Until it has read all that is journaled. */
static inline int rk_settle(void)
{
    int updates = 0;
    int64_t end = clock_monotonic() + 10 * NS_PER_S;
    do {
        usleep(200);
        updates += rk_ping();
        assert_true(clock_monotonic() < end);
    } while (rk.beat.position < ring_tail(&rk.k->ring));
    return updates;
}

static int rk_stderr = -1; /* the next process's, if it is to be another */

static inline void rk_spawn(void)
{
    int sv[2];
    char parent[16];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    rk.log[0] = 0;
    rk.pid = fork();
    assert_true(rk.pid >= 0);
    if (!rk.pid) {
        if (rk_stderr >= 0)
            dup2(rk_stderr, 2);
        dup2(sv[1], 3);
        if (sv[1] == 3)
            fcntl(3, F_SETFD, 0);
        execl(PST_RTP, PST_RTP, parent, (char *)NULL);
        _exit(127);
    }
    close(sv[1]);
    rk.fd = sv[0];
    rk_expect(RTP_WIRE_HELLO);
}

/* more: further members of ATTACH, beginning with a comma. READY's JSON is returned. */
static inline json_t *rk_attach(const char *plugins, const char *more)
{
    struct err err = {0};
    char text[4096];
    json_t *schemas = json_array();
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(rk.k->schemas, id);
        char *json = s ? schema_to_json(s) : NULL;
        if (json)
            json_array_append_new(schemas, json_string(json));
        free(json);
    }
    char *list = json_dumps(schemas, JSON_COMPACT);
    snprintf(text, sizeof text,
             "{\"group\":\"test\",\"segments\":[\"ring\",\"symbols\",\"rdb\"],\"log\":{"
             "\"directories\":[],\"prefix\":\"log\"},\"plugins\":%s,\"schemas\":%s%s}",
             plugins, list, more);
    int fds[3] = {rk.k->ring.fd, rk.k->symbols.fd, rdb_fd(rk.rdb)};
    if (!rtp_wire_send(rk.fd, RTP_WIRE_ATTACH, 0, 0, text, strlen(text), fds, 3, &err))
        fail_msg("%s", err.text);
    free(list);
    json_decref(schemas);
    rk_expect(RTP_WIRE_READY);
    json_t *o = rtp_ready_check((const char *)rk.whole.data, rk.whole.total, &err);
    if (!o)
        fail_msg("%s", err.text);
    return o;
}

/* It stands where it begins to read. */
static inline void rk_start(const char *text)
{
    rk_tell(RTP_WIRE_START, 0, 0, text, strlen(text));
    rk_ping();
}

static inline int rk_status(void)
{
    int status = 0;
    int64_t end = clock_monotonic() + 10 * NS_PER_S;
    while (waitpid(rk.pid, &status, WNOHANG) != rk.pid) {
        usleep(500);
        assert_true(clock_monotonic() < end);
    }
    rk.pid = 0;
    return status;
}

/* ---- asks ---- */

/* Parameters: NAME, then a type letter and value: s symbol, S list of symbols "a,b", j long,
 * b boolean. */
static inline void rk_params(struct kdb_out *o, const char *const *at)
{
    const char *names[16];
    uint32_t n = 0;
    for (const char *const *p = at; p && *p; p += 3)
        names[n++] = *p;
    kdb_out_dict(o, false);
    kdb_out_symbols(o, names, n);
    kdb_out_list(o, n);
    for (const char *const *p = at; p && *p; p += 3) {
        const char *v = p[2];
        uint8_t b = (uint8_t)atoi(v);
        if (*p[1] == 's')
            kdb_out_symbol(o, v, strlen(v));
        else if (*p[1] == 'j')
            kdb_out_long(o, atoll(v));
        else if (*p[1] == 'b')
            kdb_out_atom(o, PST_BOOLEAN, &b);
        else {
            uint32_t k = 0;
            size_t opened = kdb_out_open(o, PST_SYMBOL, 0);
            while (*v) {
                size_t len = strcspn(v, ",");
                kdb_out_bytes(o, v, len);
                kdb_out_bytes(o, "", 1);
                v += len + (v[len] == ',');
                k++;
            }
            kdb_out_close(o, opened, k);
        }
    }
}

static inline uint64_t rk_ask(enum rtp_wire_type type, const char *name, const char *const *params)
{
    struct kdb_out o = {0};
    size_t n;
    rk_params(&o, params);
    void *body = rtp_ask_pack(name, "", o.data, (uint32_t)o.len, &n);
    rk_tell(type, ++rk.ids, 0, body, n);
    free(body);
    kdb_out_free(&o);
    return rk.ids;
}

/* Column `name` of the table in rk.whole. */
static inline struct kdb_object rk_column(const char *name)
{
    struct err err = {0};
    struct kdb_object o, part, column;
    struct kdb_items i;
    if (!rtp_result_check(rk.whole.data, rk.whole.total, rk.whole.rows, &err))
        fail_msg("%s", err.text);
    kdb_object_view(&o, rk.whole.data, KDB_LITTLE);
    bool keyed = o.type == KDB_DICT;
    for (bool more = keyed ? kdb_items(&o, &i) : true; more; more = keyed && kdb_items_next(&i)) {
        part = keyed ? i.item : o;
        struct kdb_object dict;
        kdb_object_view(&dict, part.data, KDB_LITTLE);
        if (kdb_dict_value(&dict, name, &column))
            return column;
    }
    fail_msg("no column %s", name);
    return o;
}

static inline int64_t rk_long(const char *column, uint32_t row)
{
    struct kdb_object c = rk_column(column);
    assert_true(row < c.count);
    return kdb_object_long(&c, row);
}
static inline const char *rk_symbol(const char *column, uint32_t row)
{
    struct kdb_object c = rk_column(column);
    struct kdb_texts t;
    bool more = kdb_texts(&c, &t);
    for (; row && more; row--)
        more = kdb_texts_next(&t);
    assert_true(more);
    return t.text;
}

/* A call of a function with one result column x. */
static inline int64_t rk_call(const char *name, const char *const *params)
{
    rk_ask(RTP_WIRE_CALL, name, params);
    rk_expect(RTP_WIRE_CALLED);
    return rk_long("x", 0);
}

static inline uint64_t rk_subscribe(const char *name, const char *const *params)
{
    uint64_t id = rk_ask(RTP_WIRE_SUBSCRIBE, name, params);
    rk_expect(RTP_WIRE_SUBSCRIBED);
    assert_int_equal(rk.m.head.id, id);
    return rk.m.head.value;
}

/* ---- cuts ---- */

static inline struct cut *rk_cut(void)
{
    static struct rdb_cut rc;
    const struct rdb_map *map = rdb_map_of(rk.rdb);
    assert_true(rdb_cut_read(map, &rc));
    struct cut *c = calloc(1, CUT_BYTES(rc.nparts, 1));
    assert_non_null(c);
    for (uint32_t i = 0; i < rc.nparts; i++) {
        struct rdb_part_name name;
        if (rc.part[i].generation && rdb_part_name(map, i, rc.part[i].generation, &name))
            c->part[c->nparts++] = (struct cut_part){i, name.table, name.day, rc.part[i].rows};
    }
    c->magic = CUT_MAGIC;
    c->ndays = 1;
    c->bytes = (uint32_t)CUT_BYTES(c->nparts, 1);
    struct cut_day d = {.day = KIT_DAY};
    memcpy(c->part + c->nparts, &d, sizeof d);
    c->position = rc.position;
    return c;
}
