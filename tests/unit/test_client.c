/* SPDX-License-Identifier: Apache-2.0 */
/* libpenstock against a server of our own in a thread (client_kit.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "client_kit.h"

static struct pst_options opt(void)
{
    struct pst_options o = PST_OPTIONS_INIT;
    o.addresses = bed.ipc;
    o.reconnect_ms = 1;
    return o;
}
static pst_client *opened(const struct pst_options *o)
{
    pst_client *c = pst_open(o);
    if (!c)
        fail_msg("%s", pst_open_error());
    return c;
}
#define WITH_BED(...)                                                                              \
    pthread_mutex_lock(&bed.lock);                                                                 \
    __VA_ARGS__;                                                                                   \
    pthread_mutex_unlock(&bed.lock)

static unsigned updates(void)
{
    WITH_BED(unsigned n = bed.updates);
    return n;
}

/* ---- opening ---- */

static void opening(void **state)
{
    (void)state;
    struct pst_options o = opt();
    char both[300];
    o.user = "joe";
    o.password = "a:b";
    pst_client *c = opened(&o);
    assert_string_equal(pst_address(c), bed.ipc);
    assert_true(pst_fd(c) >= 0);
    pst_close(c);
    WITH_BED(char user[64], password[64]; strcpy(user, bed.user); strcpy(password, bed.password));
    assert_string_equal(user, "joe");
    assert_string_equal(password, "a:b");
    /* the second address, when nobody is at the first */
    snprintf(both, sizeof both, "/nowhere/x.ipc, unix:%s", bed.ipc);
    o.addresses = both;
    c = opened(&o);
    assert_string_equal(pst_address(c) + 5, bed.ipc);
    pst_close(c);
    WITH_BED(bed.refuse_login = true);
    o.addresses = bed.ipc;
    assert_null(pst_open(&o));
    assert_non_null(strstr(pst_open_error(), "refused user \"joe\""));
    o.addresses = "/nowhere/x.ipc";
    assert_null(pst_open(&o));
    assert_string_equal(pst_open_error(),
                        "/nowhere/x.ipc: /nowhere/x.ipc: No such file or directory");
    o.addresses = "justahost";
    assert_null(pst_open(&o));
    assert_non_null(strstr(pst_open_error(), "is no address"));
    o.addresses = bed.ipc;
    o.user = "a:b";
    assert_null(pst_open(&o));
    assert_null(pst_open(&(struct pst_options){.addresses = bed.ipc}));
    assert_non_null(strstr(pst_open_error(), "PST_OPTIONS_INIT"));
}

/* ---- publishing ---- */

struct acks {
    unsigned n, failed, unknown;
    uint64_t last, position;
};
static void on_ack(void *arg, uint64_t ticket, int code, uint64_t position, const char *text)
{
    struct acks *a = arg;
    assert_int_equal(ticket, a->last + 1); /* in order, each once */
    a->last = ticket;
    a->n++;
    a->failed += code == -EREMOTEIO;
    a->unknown += code == -ECONNABORTED;
    if (!code)
        a->position = position;
    assert_true(!code == !*text);
}

/* What the bed got, as hex of its first bytes, and emptied. */
static void expect_got(const char *hex)
{
    char got[2000] = "";
    pthread_mutex_lock(&bed.lock);
    for (size_t i = 0; i < bed.got.len && i < 990; i++)
        snprintf(got + 2 * i, 3, "%02x", bed.got.data[i]);
    bed.got.len = 0;
    pthread_mutex_unlock(&bed.lock);
    assert_string_equal(got, hex);
}

#define HEAD "0000040000000a00080000002e7073742e757064f5747261646500"

static void publishing(void **state)
{
    (void)state;
    struct acks acks = {0};
    struct pst_options o = opt();
    uint64_t t1, t2, t3;
    o.on_ack = on_ack;
    o.arg = &acks;
    pst_client *c = opened(&o);
    /* two rows travel together; another format goes apart */
    assert_int_equal(pst_publish_row(c, "trade", PST_DURABLE, &t1, "psfjC", (int64_t)5, "A", 1.5,
                                     (int64_t)7, "hi"),
                     0);
    assert_int_equal(pst_publish_row(c, "trade", PST_DURABLE, &t2, "psfjC", (int64_t)6, NULL, -0.0,
                                     INT64_MIN, NULL),
                     0);
    assert_int_equal(t1, t2);
    assert_int_equal(
        pst_publish_row(c, "trade", PST_SUBMITTED, &t3, "sbxhiec", "B", 1, 255, -2, -3, 1.5, 'z'),
        0);
    assert_int_equal(t3, t1 + 1);
    assert_int_equal(pst_wait(c, t3, 60000), 0);
    expect_got(HEAD "000005000000"
                    "0c000200000005000000000000000600000000000000"
                    "0b0002000000410000"
                    "090002000000000000000000f83f0000000000000080"
                    "07000200000007000000000000000000000000000080"
                    "0000020000000a000200000068690a0000000000"
                    "f564757261626c6500" HEAD "000007000000"
                    "0b00010000004200"
                    "01000100000001"
                    "040001000000ff"
                    "050001000000feff"
                    "060001000000fdffffff"
                    "0800010000000000c03f"
                    "0a00010000007a"
                    "f57375626d697474656400");
    /* columns, named: a table */
    static const char *const syms[] = {"X", NULL};
    const struct pst_column cols[] = {{"sym", PST_SYMBOL, syms},
                                      {"size", PST_LONG, (int64_t[]){1, 2}}};
    assert_int_equal(pst_publish_columns(c, "trade", PST_WRITTEN, &t1, cols, 2, 2), 0);
    assert_int_equal(pst_wait(c, t1, 60000), 0);
    expect_got(HEAD "6200630b000200000073796d0073697a6500000002000000"
                    "0b0002000000580000"
                    "07000200000001000000000000000200000000000000"
                    "f57772697474656e00");
    assert_int_equal(acks.n, 3);
    assert_int_equal(acks.position, BASE + 3);
    assert_int_equal(pst_position(c), BASE + 3);
    assert_int_equal(pst_ended(c), t1);
    /* wrong arguments change nothing */
    assert_int_equal(pst_publish_row(c, "trade", PST_DURABLE, NULL, "p!", (int64_t)1), -EINVAL);
    assert_non_null(strstr(pst_error(c), "'!'"));
    assert_int_equal(pst_publish_columns(c, "trade", PST_DURABLE, NULL, cols, 0, 2), -EINVAL);
    assert_int_equal(pst_wait(c, t1 + 1, 0), -EINVAL);
    struct pst_subscription s = PST_SUBSCRIPTION_INIT;
    assert_int_equal(pst_subscribe(c, &s, 100), -EBUSY);
    pst_close(c);
}

static void refusals(void **state)
{
    (void)state;
    struct acks acks = {0};
    struct pst_options o = opt();
    uint64_t t[4];
    o.on_ack = on_ack;
    o.arg = &acks;
    o.batch_rows = 1;
    WITH_BED(bed.refuse_odd = true);
    pst_client *c = opened(&o);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pst_publish_row(c, "trade", PST_DURABLE, &t[i], "j", (int64_t)i), 0);
    assert_int_equal(pst_wait(c, t[0], 60000), -EREMOTEIO);
    assert_string_equal(pst_error(c), "table trade: row 1 is odd");
    assert_int_equal(pst_wait(c, t[1], 60000), 0); /* the first was spoken of */
    assert_int_equal(pst_wait(c, t[3], 60000), -EREMOTEIO);
    assert_string_equal(pst_error(c), "table trade: row 3 is odd");
    assert_int_equal(acks.failed, 2);
    pst_close(c);
}

/* The connection ends with rows unacknowledged: unknown, or sent again. */
static void cut_publisher(void **state)
{
    (void)state;
    for (unsigned resend = 0; resend < 2; resend++) {
        struct acks acks = {0};
        struct pst_options o = opt();
        uint64_t t = 0;
        o.on_ack = on_ack;
        o.arg = &acks;
        o.batch_rows = 1;
        o.resend = resend;
        WITH_BED(bed.silent = true; bed.updates = 0; bed.cut_after = -1);
        pst_client *c = opened(&o);
        for (unsigned i = 0; i < 5; i++)
            assert_int_equal(pst_publish_row(c, "trade", PST_DURABLE, &t, "j", (int64_t)i), 0);
        for (unsigned i = 0; i < 600 && updates() < 5; i++)
            assert_int_equal(pst_wait(c, t, 50), -ETIMEDOUT);
        assert_int_equal(updates(), 5);
        WITH_BED(bed.cut_after = 5);
        assert_int_equal(pst_publish_row(c, "trade", PST_DURABLE, &t, "j", (int64_t)5), 0);
        for (unsigned i = 0; i < 3000 && *pst_address(c); i++)
            pst_step(c, 20); /* until it is noticed */
        WITH_BED(bed.cut_after = -1; bed.silent = false; bed.updates = 0);
        assert_int_equal(pst_publish_row(c, "trade", PST_DURABLE, &t, "j", (int64_t)6), 0);
        int r = pst_wait(c, t, 60000);
        assert_int_equal(r, resend ? 0 : -ECONNABORTED);
        assert_int_equal(acks.n, 7);
        assert_int_equal(acks.unknown, resend ? 0 : 6);
        assert_int_equal(updates(), resend ? 7 : 1);
        pst_close(c);
    }
}

static void full_queue(void **state)
{
    (void)state;
    struct pst_options o = opt();
    int r = 0;
    unsigned n = 0;
    o.batch_rows = 1;
    o.queue_bytes = 10000;
    WITH_BED(bed.silent = true);
    pst_client *c = opened(&o);
    while (n < 1000 && !(r = pst_publish_row(c, "trade", PST_DURABLE, NULL, "j", (int64_t)n)))
        n++;
    assert_int_equal(r, -ENOBUFS);
    assert_true(n > 100 && n < 200);
    pst_close(c);
}

/* ---- queries ---- */

static void queries(void **state)
{
    (void)state;
    struct pst_options o = opt();
    struct pst_rows *rows;
    struct pst_row row;
    struct pst_watermark w;
    uint32_t len;
    uint8_t guid[16];
    pst_client *c = opened(&o);
    assert_int_equal(pst_query(c, "select 1", &rows, 60000), 0);
    assert_int_equal(pst_rows_count(rows), 2);
    assert_true(pst_first(rows, &row));
    assert_int_equal(row.table->ncolumns, 10);
    assert_int_equal(pst_column_of(row.table, "txt"), 3);
    assert_int_equal(pst_column_of(row.table, "none"), -1);
    assert_int_equal(pst_long(rows, &row, 0), 8);
    assert_true(pst_double(rows, &row, 0) == 8.0);
    assert_true(pst_double(rows, &row, 1) == 2.5);
    assert_int_equal(pst_long(rows, &row, 1), 2); /* to even */
    assert_non_null(pst_text(rows, &row, 2, &len));
    assert_int_equal(len, 0);
    assert_true(pst_is_null(rows, &row, 2));
    assert_memory_equal(pst_text(rows, &row, 3, &len), "hello", 5);
    assert_int_equal(len, 5);
    assert_true(pst_guid(rows, &row, 4, guid));
    assert_int_equal(guid[1], 2);
    assert_false(pst_guid(rows, &row, 5, guid));
    assert_int_equal(pst_long(rows, &row, 5), 9000);
    assert_int_equal(pst_long(rows, &row, 6), 1);
    assert_int_equal(pst_long(rows, &row, 7), -7);
    assert_memory_equal(pst_text(rows, &row, 8, &len), "q", 1);
    assert_true(pst_double(rows, &row, 9) == 1.5);
    assert_null(pst_text(rows, &row, 0, &len));
    assert_int_equal(pst_long(rows, &row, 10), PST_NULL_LONG); /* no such column */
    assert_true(pst_next_row(rows, &row));
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(pst_is_null(rows, &row, i), i != 2 && i != 6);
    assert_true(isnan(pst_double(rows, &row, 0)) && isnan(pst_double(rows, &row, 7)));
    assert_memory_equal(pst_text(rows, &row, 2, &len), "xyz", 3);
    assert_false(pst_next_row(rows, &row));
    pst_rows_free(rows);
    assert_int_equal(pst_query(c, "bad", &rows, 60000), -EREMOTEIO);
    assert_string_equal(pst_error(c), "syntax");
    assert_null(rows);
    assert_int_equal(pst_watermark(c, &w, 60000), 0);
    assert_true(w.committed == BASE && w.submitted == 3 && w.written == 2 && w.durable == 1 &&
                w.time == 77);
    assert_int_equal(pst_wait_position(c, 5, PST_DURABLE, 60000), 0);
    /* what comes too late is nobody else's answer */
    WITH_BED(bed.silent = true);
    assert_int_equal(pst_query(c, "select 2", &rows, 30), -ETIMEDOUT);
    pst_close(c);
    /* bytes that are no message */
    WITH_BED(bed.silent = false; bed.garbage = true);
    c = opened(&o);
    assert_int_equal(pst_query(c, "select 1", &rows, 60000), -ECONNABORTED);
    WITH_BED(bed.garbage = false);
    assert_int_equal(pst_query(c, "select 1", &rows, 60000), 0); /* again connected */
    pst_rows_free(rows);
    pst_close(c);
}

/* ---- subscribing over the network ---- */

struct seen {
    int64_t next[2];
    unsigned events, disconnected, connected, live, rewound;
};

static void take_rows(struct seen *s, struct pst_rows *rows)
{
    struct pst_row row;
    uint32_t len;
    for (bool more = pst_first(rows, &row); more; more = pst_next_row(rows, &row)) {
        bool quote = !strcmp(row.table->name, "quote");
        int64_t n = pst_long(rows, &row, 3), i = pst_long(rows, &row, 0);
        assert_int_equal(n, s->next[quote]); /* each once, in order */
        assert_int_equal(number_of((unsigned)i), n);
        assert_true(pst_double(rows, &row, 2) == (double)i / 4.0);
        const char *sym = pst_text(rows, &row, 1, &len);
        assert_int_equal(len, i % 2 ? 3 : 4);
        assert_memory_equal(sym, i % 2 ? "ODD" : "EVEN", len);
        s->next[quote]++;
    }
}

static void exact_over_cuts(void **state)
{
    (void)state;
    struct pst_options o = opt();
    struct pst_subscription sub = PST_SUBSCRIPTION_INIT;
    struct pst_event e;
    struct seen s = {0};
    unsigned rows = 3000;
    WITH_BED(bed.rows = rows; bed.cutting = true);
    pst_client *c = opened(&o);
    sub.via = PST_VIA_NETWORK;
    sub.from = PST_FROM_BEGIN;
    sub.tables = "trade, quote";
    int r = pst_subscribe(c, &sub, 60000);
    assert_int_equal(r, 0);
    while (!s.live) {
        r = pst_next(c, &e, 60000);
        if (r != 1)
            fail_msg("%d %s", r, pst_error(c));
        s.events++;
        if (e.kind == PST_ROWS)
            take_rows(&s, e.rows);
        s.disconnected += e.kind == PST_DISCONNECTED;
        s.connected += e.kind == PST_CONNECTED;
        s.live += e.kind == PST_LIVE;
        assert_true(pst_still_valid(c));
    }
    assert_int_equal(s.next[0] + s.next[1], rows);
    assert_true(s.disconnected > 5);
    assert_int_equal(s.disconnected, s.connected);
    assert_int_equal(pst_position(c), BASE + rows * STEP);
    assert_int_equal(pst_next(c, &e, 10), 0);
    assert_int_equal(pst_publish_row(c, "trade", PST_DURABLE, NULL, "j", (int64_t)1), -EBUSY);
    /* each time from a place that was told */
    bool forward = true;
    WITH_BED(for (unsigned i = 1; i < bed.subs && i < 1000; i++) forward &=
             bed.from[i] >= bed.from[i - 1]);
    assert_true(forward);
    pst_close(c);
}

static void *waker(void *arg)
{
    usleep(30000);
    pst_wake(arg);
    return NULL;
}

static void waking(void **state)
{
    (void)state;
    struct pst_options o = opt();
    struct pst_subscription sub = PST_SUBSCRIPTION_INIT;
    struct pst_event e;
    pthread_t t;
    for (unsigned shared = 0; shared < 2; shared++) {
        pst_client *c = opened(&o);
        sub.via = shared ? PST_VIA_SHARED : PST_VIA_NETWORK;
        assert_int_equal(pst_subscribe(c, &sub, 60000), 0);
        if (!shared)
            assert_int_equal(pst_next(c, &e, 60000), 1); /* live */
        pthread_create(&t, NULL, waker, c);
        assert_int_equal(pst_next(c, &e, 60000), -EINTR);
        pthread_join(t, NULL);
        pst_close(c);
    }
}

/* ---- a restart, told by the stream ---- */

static void rewound_by_network(void **state)
{
    (void)state;
    struct pst_options o = opt();
    struct pst_subscription sub = PST_SUBSCRIPTION_INIT;
    struct pst_event e;
    struct seen s = {0};
    unsigned rewound = 0, given = 0;
    WITH_BED(bed.rows = 30; bed.quiet = true);
    pst_client *c = opened(&o);
    sub.via = PST_VIA_NETWORK;
    assert_int_equal(pst_subscribe(c, &sub, 60000), 0);
    while (given < 30) {
        assert_int_equal(pst_next(c, &e, 60000), 1);
        if (e.kind == PST_ROWS) {
            take_rows(&s, e.rows);
            given += (unsigned)pst_rows_count(e.rows);
        }
    }
    /* the daemon crashed: of the 30 only 20 were recovered, others follow */
    WITH_BED(bed.restart_at = 20; bed.rows = 40; bed.hang_ups++);
    s.next[0] = number_of(21); /* 20 is a quote's */
    s.next[1] = number_of(20);
    while (s.next[0] + s.next[1] < 40) {
        assert_int_equal(pst_next(c, &e, 60000), 1);
        if (e.kind == PST_ROWS) {
            assert_int_equal(rewound, 1); /* told before any row of the new journal */
            take_rows(&s, e.rows);
        } else if (e.kind == PST_REWOUND) {
            rewound++;
            assert_int_equal(e.from, BASE + 20 * STEP);
        }
    }
    assert_int_equal(rewound, 1);
    pst_close(c);
}

/* ---- shared memory ---- */

static uint8_t frame_buf[FRAME_MAX] pst_aligned(8);

/* n rows into the ring, every third a quote, sym A or B in turn; `size` counts all. */
static void put_rows(unsigned n, int64_t *next)
{
    struct frame *f = (struct frame *)frame_buf;
    uint8_t *p = frame_buf + FRAME_HEADER;
    uint32_t ids[2];
    memset(f, 0, sizeof *f);
    symbols_intern(&bed.symbols, "A", 1, &ids[0]);
    symbols_intern(&bed.symbols, "B", 1, &ids[1]);
    for (unsigned i = 0; i < n; i++, (*next)++) {
        const struct schema *s = *next % 3 == 2 ? &bed.quote : &bed.trade;
        struct record *r = (struct record *)p;
        double price = (double)*next / 4;
        uint32_t text = s == &bed.trade ? 8 : 0;
        memset(p, 0, s->fixed + text);
        *r = (struct record){.table = s->id,
                             .bytes = (uint16_t)(s->fixed + text),
                             .sym = ids[*next % 2],
                             .time = *next};
        memcpy(p + s->col[2].offset, &price, 8);
        memcpy(p + s->col[3].offset, next, 8);
        if (text) {
            put32(p + s->col[4].offset, s->fixed);
            put32(p + s->col[4].offset + 4, 4);
            memcpy(p + s->fixed, "note", 4);
        }
        p += r->bytes;
    }
    f->length = (uint32_t)(p - frame_buf);
    f->position = bed.ring.w_tail;
    f->kind = FRAME_DATA;
    f->count = (uint16_t)n;
    f->day = 9000;
    f->time = *next;
    frame_seal(f, bed.ring.head->seed);
    store_release(&bed.ring.head->guard, bed.ring.w_tail);
    assert_true(ring_free(&bed.ring, f->length) >= f->length);
    ring_write(&bed.ring, f, f->length);
    ring_publish(&bed.ring);
    store_release(&bed.ring.head->submitted, bed.ring.w_tail);
}

struct mapped {
    int64_t next, rows, step;
};

/* also in threads, where cmocka's asserts cannot be */
static void take_mapped(struct mapped *m, struct pst_rows *rows, const char *only)
{
    struct pst_row row;
    uint32_t len;
    for (bool more = pst_first(rows, &row); more; more = pst_next_row(rows, &row)) {
        int64_t n = pst_long(rows, &row, 3);
        const char *sym = pst_text(rows, &row, 1, &len);
        if (m->step == 1)
            pst_must(n == m->next);
        m->next = n + 1;
        m->rows++;
        pst_must(pst_long(rows, &row, 0) == n);
        pst_must(pst_double(rows, &row, 2) == (double)n / 4);
        pst_must(len == 1);
        pst_must(*sym == (n % 2 ? 'B' : 'A'));
        pst_must(!only || !strcmp(row.table->name, only));
        pst_must(!strcmp(row.table->name, n % 3 == 2 ? "quote" : "trade"));
        if (n % 3 != 2) {
            const char *note = pst_text(rows, &row, 4, &len);
            pst_must(len == 4);
            pst_must(!memcmp(note, "note", 4));
        }
    }
}

static pst_client *mapped_client(struct pst_subscription *sub)
{
    struct pst_options o = opt();
    pst_client *c = opened(&o);
    sub->via = PST_VIA_SHARED;
    int r = pst_subscribe(c, sub, 60000);
    if (r)
        fail_msg("%d %s", r, pst_error(c));
    assert_true(pst_is_shared(c));
    return c;
}

static void shared_rows(void **state)
{
    (void)state;
    for (unsigned in_place = 0; in_place < 2; in_place++) {
        struct pst_subscription sub = PST_SUBSCRIPTION_INIT;
        struct pst_event e;
        struct mapped m = {.step = 1};
        int64_t next = 0;
        sub.in_place = in_place;
        pst_client *c = mapped_client(&sub);
        m.next = next = (int64_t)in_place * 100000;
        assert_int_equal(pst_next(c, &e, 0), 0);
        for (unsigned i = 0; i < 500; i++) {
            put_rows(1 + i % 7, &next);
            assert_int_equal(pst_next(c, &e, 1000), 1);
            assert_int_equal(e.kind, PST_ROWS);
            assert_int_equal(e.time, next);
            take_mapped(&m, e.rows, NULL);
            assert_true(pst_still_valid(c));
            assert_int_equal(m.next, next);
            assert_int_equal(e.position, bed.ring.w_tail);
            assert_int_equal(pst_position(c), bed.ring.w_tail);
        }
        assert_int_equal(pst_next(c, &e, 0), 0);
        pst_close(c);
        /* some tables, some symbols */
        sub.tables = "quote";
        sub.syms = " B,C";
        c = mapped_client(&sub);
        m = (struct mapped){0};
        int64_t begun = next;
        for (unsigned i = 0; i < 10; i++)
            put_rows(12, &next);
        while (pst_next(c, &e, 0) == 1)
            take_mapped(&m, e.rows, "quote");
        int64_t want = 0;
        for (int64_t n = begun; n < next; n++)
            want += n % 3 == 2 && n % 2 == 1;
        assert_int_equal(m.rows, want);
        pst_close(c);
    }
}

/* A reader that the ring laps: in place it is told, and then what is nowhere any more is LOST. */
static void shared_lapped(void **state)
{
    (void)state;
    struct pst_subscription sub = PST_SUBSCRIPTION_INIT;
    struct pst_event e;
    struct mapped m = {.step = 1};
    int64_t next = 0;
    sub.in_place = true;
    pst_client *c = mapped_client(&sub);
    put_rows(5, &next);
    assert_int_equal(pst_next(c, &e, 1000), 1);
    take_mapped(&m, e.rows, NULL);
    uint64_t behind = e.position, before = bed.ring.w_tail;
    while (bed.ring.w_tail < before + 2 * RING_MIN) /* over it */
        put_rows(1000, &next);
    /* whatever stands there now, reading it stays in bounds */
    struct pst_row row;
    for (bool more = pst_first(e.rows, &row); more; more = pst_next_row(e.rows, &row)) {
        uint32_t len;
        pst_text(e.rows, &row, 1, &len);
        pst_long(e.rows, &row, 3);
    }
    assert_false(pst_still_valid(c));
    store_release(&bed.ring.head->written, bed.ring.w_tail);
    assert_int_equal(pst_next(c, &e, 1000), 1);
    assert_int_equal(e.kind, PST_LOST); /* there is no log here */
    assert_true((uint64_t)e.from < behind && (uint64_t)e.to > behind);
    m.step = 0;
    assert_int_equal(pst_next(c, &e, 1000), 1);
    assert_int_equal(e.kind, PST_ROWS);
    take_mapped(&m, e.rows, NULL);
    m.step = 1;
    while (m.next < next) {
        assert_int_equal(pst_next(c, &e, 1000), 1);
        take_mapped(&m, e.rows, NULL);
        assert_true(pst_still_valid(c));
    }
    pst_close(c);
}

/* Writer and readers at once: in place and by copy; what was called valid is right. */
static _Atomic int writing;

static void *writer(void *arg)
{
    int64_t *next = arg;
    for (unsigned i = 0; i < 3000 && load_relaxed(&writing); i++) {
        put_rows(1 + i % 50, next);
        if (i % 64 == 0)
            usleep(200);
    }
    store_release(&writing, 0);
    return NULL;
}

static void *reader(void *arg)
{
    struct pst_subscription *sub = arg;
    struct pst_event e;
    struct mapped m = {.step = 1};
    pst_client *c = mapped_client(sub);
    while (load_acquire(&writing) == 1)
        usleep(100); /* both have subscribed */
    for (;;) {
        bool ended = !load_acquire(&writing);
        int r = pst_next(c, &e, 1);
        if (!r && ended)
            break;
        if (r == 1 && e.kind == PST_ROWS)
            take_mapped(&m, e.rows, NULL);
        pst_must(r >= 0 && (!r || e.kind == PST_ROWS) && pst_still_valid(c));
    }
    pst_close(c);
    return (void *)(intptr_t)m.next;
}

static void shared_threads(void **state)
{
    (void)state;
    struct pst_subscription a = PST_SUBSCRIPTION_INIT, b = PST_SUBSCRIPTION_INIT;
    pthread_t t[3];
    int64_t next = 0;
    void *got[2];
    uint32_t id;
    symbols_intern(&bed.symbols, "A", 1, &id);
    symbols_intern(&bed.symbols, "B", 1, &id);
    a.in_place = true;
    store_release(&writing, 1);
    pthread_create(&t[0], NULL, reader, &a);
    pthread_create(&t[1], NULL, reader, &b);
    for (unsigned tries = 0; tries < 5000; tries++) { /* until both have attached */
        usleep(1000);
        pthread_mutex_lock(&bed.lock);
        unsigned n = bed.attaches;
        pthread_mutex_unlock(&bed.lock);
        if (n == 2)
            break;
    }
    usleep(50000);
    store_release(&writing, 2);
    pthread_create(&t[2], NULL, writer, &next);
    pthread_join(t[2], NULL);
    pthread_join(t[0], &got[0]);
    pthread_join(t[1], &got[1]);
    assert_int_equal((intptr_t)got[0], next);
    assert_int_equal((intptr_t)got[1], next);
}

static void shared_ends(void **state)
{
    (void)state;
    struct pst_subscription sub = PST_SUBSCRIPTION_INIT;
    struct pst_options o = opt();
    struct pst_event e;
    struct mapped m = {.step = 1};
    int64_t next = 0;
    pst_client *c = mapped_client(&sub);
    put_rows(5, &next);
    assert_int_equal(pst_next(c, &e, 1000), 1);
    take_mapped(&m, e.rows, NULL);
    WITH_BED(bed.hang_ups++); /* the daemon's end */
    assert_int_equal(pst_next(c, &e, 1000), 1);
    assert_int_equal(e.kind, PST_DISCONNECTED);
    put_rows(5, &next);
    assert_int_equal(pst_next(c, &e, 1000), 1);
    assert_int_equal(e.kind, PST_CONNECTED);
    assert_int_equal(pst_next(c, &e, 1000), 1); /* it goes on where it was */
    assert_int_equal(e.kind, PST_ROWS);
    take_mapped(&m, e.rows, NULL);
    assert_int_equal(m.next, next);
    pst_close(c);
    /* one that may not attach goes by the network, unless it insists */
    WITH_BED(bed.no_attach = true);
    c = opened(&o);
    assert_int_equal(pst_subscribe(c, &sub, 1000), -EACCES);
    assert_string_equal(pst_error(c), "you may not attach");
    sub.via = PST_VIA_ANY;
    assert_int_equal(pst_subscribe(c, &sub, 60000), 0);
    assert_false(pst_is_shared(c));
    pst_close(c);
    sub.via = PST_VIA_SHARED;
    sub.where = "price > 1";
    c = opened(&o);
    assert_int_equal(pst_subscribe(c, &sub, 1000), -EINVAL);
    pst_close(c);
}

/* The daemon crashed with the reader ahead of what was recovered, and starts a new ring. */
static void shared_rewound(void **state)
{
    (void)state;
    struct pst_subscription sub = PST_SUBSCRIPTION_INIT;
    struct pst_event e;
    struct mapped m = {.step = 1};
    struct ring other;
    struct err err;
    int64_t next = 0;
    char json[100];
    pst_client *c = mapped_client(&sub);
    put_rows(5, &next);
    assert_int_equal(pst_next(c, &e, 60000), 1);
    take_mapped(&m, e.rows, NULL);
    uint64_t recovered = bed.ring.w_tail;
    put_rows(5, &next);
    assert_int_equal(pst_next(c, &e, 60000), 1);
    uint64_t start = bed.ring.w_tail + (1u << 20);
    assert_true(ring_create(&other, RING_MIN, start, 5, false, &err));
    assert_true(ring_seal(&other));
    snprintf(json, sizeof json, "{\"old_end\":%llu,\"start\":%llu}", (unsigned long long)recovered,
             (unsigned long long)start);
    struct frame *f = (struct frame *)frame_buf;
    f->length = frame_build_mark(frame_buf, MARK_RESTART, json, strlen(json));
    f->position = start;
    frame_seal(f, other.head->seed);
    ring_write(&other, f, f->length);
    ring_publish(&other);
    store_release(&other.head->submitted, other.w_tail);
    struct ring old = bed.ring;
    WITH_BED(bed.ring = other; bed.hang_ups++);
    next = m.next; /* the second five never were */
    put_rows(3, &next);
    enum pst_event_kind want[] = {PST_DISCONNECTED, PST_CONNECTED, PST_REWOUND, PST_ROWS};
    for (unsigned i = 0; i < PST_COUNT(want); i++) {
        assert_int_equal(pst_next(c, &e, 60000), 1);
        assert_int_equal(e.kind, want[i]);
        if (e.kind == PST_REWOUND) {
            assert_int_equal(e.from, recovered);
            assert_int_equal(e.to, start);
        }
    }
    take_mapped(&m, e.rows, NULL);
    assert_int_equal(m.next, next);
    pst_close(c);
    ring_close(&old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(opening, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(publishing, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(refusals, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(cut_publisher, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(full_queue, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(queries, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(exact_over_cuts, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(waking, bed_open_shared, bed_close),
        cmocka_unit_test_setup_teardown(rewound_by_network, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(shared_rows, bed_open_shared, bed_close),
        cmocka_unit_test_setup_teardown(shared_lapped, bed_open_shared, bed_close),
        cmocka_unit_test_setup_teardown(shared_threads, bed_open_shared, bed_close),
        cmocka_unit_test_setup_teardown(shared_ends, bed_open_shared, bed_close),
        cmocka_unit_test_setup_teardown(shared_rewound, bed_open_shared, bed_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
