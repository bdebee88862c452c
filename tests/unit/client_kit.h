/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_kit.h - a daemon's doors for tests of libpenstock, in threads: an IPC server that keeps a
 * journal of rows, cuts connections wherever the test says and remembers what was published; a
 * control socket that hands out a real ring.
 */
#pragma once

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "core/record.h"
#include "core/ring.h"
#include "core/schema.h"
#include "core/symbols.h"
#include "kdb/reply.h"
#include "kdb/session.h"
#include "penstock/client.h"

#define STEP 10u /* positions a row takes in the bed's journal */
#define BASE 1000u

static struct bed {
    char dir[64], ipc[100], sock[100];
    pthread_t thread[2];
    pthread_mutex_t lock;
    int listener, control, stop;
    /* what it does; under lock */
    bool refuse_login, silent, refuse_odd, garbage;
    int cut_after;       /* updates: then the connection ends without an answer; -1: never */
    uint64_t x;          /* random */
    unsigned rows;       /* of its journal */
    bool cutting;        /* streams end at random places */
    bool quiet;          /* no notices of positions */
    unsigned hang_ups;   /* connections of before the last one are to end */
    unsigned restart_at; /* the stream tells of a restart before this row; 0: none */
    unsigned attaches;
    /* what it saw */
    unsigned logins, updates, subs;
    char user[64], password[64];
    uint64_t from[1000];
    struct kdb_out got; /* bodies of updates, behind each other */
    /* shared memory */
    struct ring ring;
    struct symbols symbols;
    struct schema trade, quote;
    bool no_attach;
    pthread_t served[1024]; /* a thread each connection */
    unsigned nserved;
} bed;

static uint64_t dice(uint64_t n)
{
    bed.x ^= bed.x << 13;
    bed.x ^= bed.x >> 7;
    bed.x ^= bed.x << 17;
    return bed.x % n;
}

static void send_all(int fd, const void *p, size_t n)
{
    const uint8_t *b = p;
    while (n) {
        ssize_t k = send(fd, b, n, MSG_NOSIGNAL);
        if (k < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
            continue;
        }
        if (k <= 0)
            return;
        b += k;
        n -= (size_t)k;
    }
}
static void send_out(int fd, struct kdb_out *o)
{
    assert_false(o->failed);
    send_all(fd, o->data, o->len);
    kdb_out_free(o);
}

/* ---- its journal: rows 0, 1, ...: every third a quote; `size` counts within the table ---- */

static bool is_quote(unsigned i)
{
    return i % 3 == 2;
}
static int64_t number_of(unsigned i)
{
    return is_quote(i) ? i / 3 : i / 3 * 2 + i % 3;
}

static bool put_chunk(struct kdb_out *o, unsigned from, unsigned to, bool quotes)
{
    static const char *const names[] = {"time", "sym", "price", "size"};
    uint32_t n = 0;
    for (unsigned i = from; i < to; i++)
        n += is_quote(i) == quotes;
    if (!n)
        return false;
    size_t begun = kdb_frame_begin(o, KDB_ASYNC), at;
    kdb_out_list(o, 3);
    kdb_put_string(o, "upd");
    kdb_put_string(o, quotes ? "quote" : "trade");
    kdb_out_columns(o, names, 4);
    for (unsigned c = 0; c < 4; c++) {
        at = kdb_out_open(o,
                          c == 1   ? PST_SYMBOL
                          : c == 2 ? PST_FLOAT
                          : c      ? PST_LONG
                                   : PST_TIMESTAMP,
                          0);
        for (unsigned i = from; i < to; i++) {
            int64_t v = c ? number_of(i) : (int64_t)i;
            double price = i / 4.0;
            if (is_quote(i) != quotes)
                continue;
            if (c == 1)
                kdb_out_bytes(o, i % 2 ? "ODD" : "EVEN", i % 2 ? 4 : 5);
            else
                kdb_out_bytes(o, c == 2 ? (const void *)&price : &v, 8);
        }
        kdb_out_close(o, at, n);
    }
    return kdb_frame_end(o, begun);
}

static void put_notice(struct kdb_out *o, const char *kind, const char *key, uint64_t v,
                       const char *key2, uint64_t v2)
{
    struct kdb_notice n;
    kdb_notice_begin(&n, o, kind);
    kdb_notice_long(&n, key, (int64_t)v);
    if (key2)
        kdb_notice_long(&n, key2, (int64_t)v2);
    kdb_notice_end(&n);
}

/* Streams from a row on; false: cut. */
static bool stream(int fd, unsigned i)
{
    while (i < bed.rows) {
        struct kdb_out o = {0};
        unsigned to = i + 1 + (unsigned)dice(7);
        to = to < bed.rows ? to : bed.rows;
        if (bed.restart_at && i <= bed.restart_at && to > bed.restart_at) {
            to = i == bed.restart_at ? to : bed.restart_at;
            if (i == bed.restart_at) {
                put_notice(&o, "restart", "from", BASE + i * STEP, "to", BASE + i * STEP);
                send_out(fd, &o);
            }
        }
        put_chunk(&o, i, to, false);
        if (dice(3)) {
            put_chunk(&o, i, to, true);
        } else { /* both in one message, as with multi_publish */
            o.len = 0;
            struct kdb_out a = {0}, b = {0};
            bool t = put_chunk(&a, i, to, false), q = put_chunk(&b, i, to, true);
            size_t begun = kdb_frame_begin(&o, KDB_ASYNC);
            kdb_out_list(&o, 3);
            kdb_put_string(&o, "upd");
            size_t at = kdb_out_open(&o, PST_SYMBOL, 0);
            if (t)
                kdb_out_bytes(&o, "trade", 6);
            if (q)
                kdb_out_bytes(&o, "quote", 6);
            kdb_out_close(&o, at, (uint32_t)(t + q));
            kdb_out_list(&o, (uint32_t)(t + q));
            /* the table inside an upd message: behind header, list head, two symbols */
            size_t skip = 8 + 6 + 5 + 7;
            if (t)
                kdb_out_bytes(&o, a.data + skip, a.len - skip);
            if (q)
                kdb_out_bytes(&o, b.data + skip, b.len - skip);
            kdb_frame_end(&o, begun);
            kdb_out_free(&a);
            kdb_out_free(&b);
        }
        i = to;
        if (!dice(4) && !bed.quiet)
            put_notice(&o, dice(2) ? "position" : "heartbeat", "position", BASE + i * STEP, NULL,
                       0);
        if (bed.cutting && !dice(20)) { /* in the middle of it all */
            send_all(fd, o.data, (size_t)dice(o.len + 1));
            kdb_out_free(&o);
            return false;
        }
        send_out(fd, &o);
    }
    struct kdb_out o = {0};
    if (!bed.quiet)
        put_notice(&o, "replayed", "position", BASE + i * STEP, NULL, 0);
    send_out(fd, &o);
    return true;
}

/* ---- its connections ---- */

static bool handle(int fd, const struct kdb_received *m)
{
    struct kdb_request r;
    struct kdb_facts f = {.instance = "bed",
                          .position = BASE,
                          .submitted = 3,
                          .written = 2,
                          .durable = 1,
                          .time = 77};
    struct kdb_out o = {0};
    kdb_request_read(&m->object, &r);
    switch (r.call) {
    case KDB_CALL_PST_UPD:
        if (bed.cut_after >= 0 && (int)bed.updates >= bed.cut_after)
            return false;
        kdb_out_bytes(&bed.got, m->bytes + 8, m->size - 8);
        bed.updates++;
        f.position = BASE + bed.updates;
        if (bed.silent)
            return true;
        if (bed.refuse_odd && bed.updates % 2)
            kdb_answer_error(&o, "table trade: row %u is odd", bed.updates);
        else
            kdb_answer(&o, &r, &f);
        break;
    case KDB_CALL_PST_SUB: {
        unsigned at =
            r.sub.from == KDB_FROM_POSITION ? (unsigned)((r.sub.position - BASE) / STEP) : 0;
        bed.from[bed.subs++ % 1000] = r.sub.from == KDB_FROM_POSITION ? r.sub.position : 0;
        f.position = BASE + at * STEP;
        f.id = bed.subs;
        kdb_answer(&o, &r, &f);
        send_out(fd, &o);
        return stream(fd, at);
    }
    case KDB_CALL_SQL:
        if (bed.silent)
            return true;
        if (r.text.len == 3 && !memcmp(r.text.text, "bad", 3)) {
            kdb_answer_error(&o, "syntax");
        } else {
            size_t begun = kdb_frame_begin(&o, KDB_RESPONSE);
            static const char *const names[] = {"n", "f", "s", "txt", "g", "d", "b", "h", "c", "e"};
            static const uint8_t guid[32] = {1, 2, 3};
            kdb_out_columns(&o, names, 10);
            kdb_out_vector(&o, PST_LONG, 0, 2, (int64_t[]){(int64_t)r.text.len, PST_NULL_LONG});
            kdb_out_vector(&o, PST_FLOAT, 0, 2, (double[]){2.5, NAN});
            kdb_out_symbols(&o, (const char *const[]){"", "xyz"}, 2);
            kdb_out_list(&o, 2);
            kdb_out_chars(&o, "hello", 5);
            kdb_out_chars(&o, "", 0);
            kdb_out_vector(&o, PST_GUID, 0, 2, guid);
            kdb_out_vector(&o, PST_DATE, 0, 2, (int32_t[]){9000, PST_NULL_INT});
            kdb_out_vector(&o, PST_BOOLEAN, 0, 2, (uint8_t[]){1, 0});
            kdb_out_vector(&o, PST_SHORT, 0, 2, (int16_t[]){-7, PST_NULL_SHORT});
            kdb_out_vector(&o, PST_CHAR, 0, 2, "q ");
            kdb_out_vector(&o, PST_REAL, 0, 2, (float[]){1.5f, NAN});
            kdb_frame_end(&o, begun);
        }
        break;
    default:
        kdb_answer(&o, &r, &f);
        break;
    }
    if (bed.garbage)
        o.data[0] = 9;
    send_out(fd, &o);
    return true;
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    static const struct kdb_limits limits = {.message = 64 << 20};
    struct kdb_session s;
    struct kdb_event e;
    uint8_t ack = 3;
    bool open = true;
    pthread_mutex_lock(&bed.lock);
    unsigned hang_ups = bed.hang_ups;
    pthread_mutex_unlock(&bed.lock);
    kdb_session_start(&s, KDB_SERVER, &limits);
    while (open && !__atomic_load_n(&bed.stop, __ATOMIC_ACQUIRE)) {
        size_t room;
        uint8_t *to = kdb_session_room(&s, 65536, &room);
        if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 20) != 1) {
            pthread_mutex_lock(&bed.lock);
            open = hang_ups == bed.hang_ups;
            pthread_mutex_unlock(&bed.lock);
            continue;
        }
        ssize_t n = recv(fd, to, room, 0);
        if (n <= 0)
            break;
        kdb_session_took(&s, (size_t)n);
        pthread_mutex_lock(&bed.lock);
        for (bool more = true; more && open;)
            switch (kdb_session_next(&s, &e)) {
            case KDB_EVENT_LOGIN:
                bed.logins++;
                snprintf(bed.user, sizeof bed.user, "%s", e.login.user);
                snprintf(bed.password, sizeof bed.password, "%s", e.login.password);
                open = !bed.refuse_login;
                if (open)
                    send_all(fd, &ack, 1);
                break;
            case KDB_EVENT_MESSAGE:
                open = handle(fd, &e.message);
                break;
            case KDB_EVENT_HOSTILE:
                open = false;
                break;
            default:
                more = false;
                break;
            }
        pthread_mutex_unlock(&bed.lock);
    }
    kdb_session_free(&s);
    close(fd);
    return NULL;
}

/* The verb attach, as the daemon answers it. */
static void control(int fd)
{
    char line[200], *trade = schema_to_json(&bed.trade), *quote = schema_to_json(&bed.quote);
    ssize_t n = recv(fd, line, sizeof line, 0);
    json_t *r = json_pack("{s:b,s:{s:s,s:s,s:[s,s]}}", "ok", 1, "result", "log_directory", bed.dir,
                          "log_prefix", "log", "schemas", trade, quote);
    char *text = json_dumps(r, JSON_COMPACT);
    free(trade);
    free(quote);
    json_decref(r);
    if (bed.no_attach) {
        free(text);
        text = strdup("{\"ok\":false,\"error\":\"you may not attach\",\"code\":-13}");
    }
    struct iovec v[2] = {{text, strlen(text)}, {(void *)"\n", 1}};
    union {
        char buf[CMSG_SPACE(3 * sizeof(int))];
        struct cmsghdr align;
    } u = {{0}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
    if (!bed.no_attach) {
        int fds[3] = {bed.ring.fd, bed.symbols.fd, bed.ring.fd};
        m.msg_control = &u;
        m.msg_controllen = sizeof u;
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof fds);
        memcpy(CMSG_DATA(h), fds, sizeof fds);
    }
    if (n > 0)
        sendmsg(fd, &m, MSG_NOSIGNAL);
    free(text);
    pthread_mutex_lock(&bed.lock);
    bed.attaches++;
    pthread_mutex_unlock(&bed.lock);
    close(fd);
}

static void *run(void *arg)
{
    const int *listener = arg;
    while (!__atomic_load_n(&bed.stop, __ATOMIC_ACQUIRE)) {
        struct pollfd p = {.fd = *listener, .events = POLLIN};
        if (poll(&p, 1, 20) != 1)
            continue;
        int fd = accept(*listener, NULL, NULL);
        if (listener == &bed.listener)
            pthread_create(&bed.served[bed.nserved++ % 1024], NULL, serve, (void *)(intptr_t)fd);
        else
            control(fd);
    }
    return NULL;
}

static int listen_at(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    unlink(path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

static int bed_open(void **state)
{
    (void)state;
    struct err err;
    static const struct column_def cols[] = {{"time", PST_TIMESTAMP},
                                             {"sym", PST_SYMBOL},
                                             {"price", PST_FLOAT},
                                             {"size", PST_LONG},
                                             {"note", PST_STRING}};
    memset(&bed, 0, sizeof bed);
    strcpy(bed.dir, "/tmp/pst-client.XXXXXX");
    assert_non_null(mkdtemp(bed.dir));
    snprintf(bed.ipc, sizeof bed.ipc, "%s/bed.ipc", bed.dir);
    snprintf(bed.sock, sizeof bed.sock, "%s/bed.sock", bed.dir);
    pthread_mutex_init(&bed.lock, NULL);
    bed.listener = listen_at(bed.ipc);
    bed.control = listen_at(bed.sock);
    bed.cut_after = -1;
    bed.x = 88172645463325252ull;
    assert_true(schema_make(&bed.trade, 2, "trade", false, cols, 5, &err));
    assert_true(schema_make(&bed.quote, 3, "quote", false, cols, 4, &err));
    assert_int_equal(pthread_create(&bed.thread[0], NULL, run, &bed.listener), 0);
    assert_int_equal(pthread_create(&bed.thread[1], NULL, run, &bed.control), 0);
    return 0;
}

/* With a journal in memory. */
static int bed_open_shared(void **state)
{
    struct err err;
    bed_open(state);
    assert_true(ring_create(&bed.ring, RING_MIN, 64, 5, false, &err));
    assert_true(ring_seal(&bed.ring));
    assert_true(symbols_create(&bed.symbols, 1000, &err));
    assert_true(symbols_seal(&bed.symbols));
    return 0;
}

static int bed_close(void **state)
{
    (void)state;
    __atomic_store_n(&bed.stop, 1, __ATOMIC_RELEASE);
    pthread_join(bed.thread[0], NULL);
    pthread_join(bed.thread[1], NULL);
    for (unsigned i = 0; i < bed.nserved; i++)
        pthread_join(bed.served[i], NULL);
    assert_true(bed.nserved < 1024);
    close(bed.listener);
    close(bed.control);
    unlink(bed.ipc);
    unlink(bed.sock);
    rmdir(bed.dir);
    if (bed.ring.head) {
        ring_close(&bed.ring);
        symbols_close(&bed.symbols);
    }
    kdb_out_free(&bed.got);
    pthread_mutex_destroy(&bed.lock);
    return 0;
}
