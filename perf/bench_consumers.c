/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_consumers - messages from one publisher through a server to many subscribers, over TCP on
 * loopback, the same way for Penstock, ZeroMQ, NATS and Redis pub/sub (perf/publish.sh starts
 * them). build/perf/bench_consumers [-s SECONDS] [-n SUBSCRIBERS] [-a] [-b ROWS] [-w WINDOW]
 *                              penstock | nats | redis PORT
 *   ... zeromq            no server: its publisher is the hub
 *   ... ping              two processes that send 64 bytes to and fro, paced (latency's measure)
 *   -l RATE: latency instead: so many messages a second, one subscriber; prints microseconds
 *
 * A message is 64 bytes: Penstock: a row time, sym, price, size, side, venue; the others: a topic
 * (the symbol) and 56 bytes. With n subscribers each takes 1/n of the 1,000 symbols by its
 * server's filter, so that each message goes to exactly one; -a: each takes everything. -b: rows of
 * an update (.u.upd with columns; 1: each a message of its own); the others' libraries and
 * sockets batch as they do. No more than WINDOW messages are under way (shared counters), so that
 * nobody drops; all that was sent must arrive.
 *
 * -p PID: the server's CPU is shown too, a measure that holds on a busy machine.
 * The publisher is a process of its own. One line: system, subscribers, messages a second sent and
 * delivered.
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "core/atomics.h"
#include "core/base.h"
#ifdef PST_ZEROMQ
#include <zmq.h>
#endif

#define SYMBOLS   1000u
#define PAYLOAD   56u
#define RECV_MOST (1u << 20)

enum what { PENSTOCK, NATS, REDIS, ZEROMQ, PING };
static const char *const names[] = {"penstock", "nats", "redis", "zeromq", "ping"};
static enum what what;
static unsigned subscribers = 1, batch = 100;
static bool everything;
static double for_seconds = 2, rate;
static uint64_t window = 100000;
static int port, server_pid;

static struct shared {
    _Atomic uint64_t sent, got; /* messages; got: the least-served counts when everything */
    _Atomic int ready, stop;
    _Atomic uint64_t sent_all;
} * shared;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static int64_t nanos(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}
__attribute__((noreturn)) static void die(const char *why)
{
    fprintf(stderr, "bench_consumers: %s: %s\n", names[what], why);
    exit(1);
}

/* CPU of a process so far, in seconds; 0: none was named. */
static double cpu_of(int pid)
{
    char path[64];
    unsigned long user = 0, sys = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = pid ? fopen(path, "r") : NULL;
    if (!f)
        return 0;
    if (fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
               &sys) != 2)
        user = sys = 0;
    fclose(f);
    return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}
static double server_cpu, client_cpu;

static int dial(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
        die("no server there");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}
static void put_all(int fd, const void *p, size_t n)
{
    for (const char *at = p; n;) {
        ssize_t k = send(fd, at, n, MSG_NOSIGNAL);
        if (k <= 0)
            die("the connection is gone");
        at += k;
        n -= (size_t)k;
    }
}
static size_t get_some(int fd, void *p, size_t n)
{
    ssize_t k = recv(fd, p, n, 0);
    if (k <= 0)
        die("the server hung up");
    return (size_t)k;
}
/* Reads until `end` has come. */
static void wait_for(int fd, const char *end)
{
    char buf[4096];
    size_t n = 0;
    do {
        n += get_some(fd, buf + n, sizeof buf - 1 - n);
        buf[n] = 0;
    } while (!memmem(buf, n, end, strlen(end)) && n < sizeof buf - 1);
}

static unsigned symbol(uint64_t i)
{
    return (unsigned)((i * 2654435761u >> 7) % SYMBOLS);
}

/* What stands before a message's payload, made once for each symbol, so that no system is measured
 * by how fast its client prints numbers. */
static struct head {
    char text[56];
    uint32_t len;
} head_of[SYMBOLS];

static void make_heads(void)
{
    static const char *const form[] = {
        "S%05u", "PUB S%05u %u\r\n", "*3\r\n$7\r\nPUBLISH\r\n$6\r\nS%05u\r\n$%u\r\n", "S%05u ", ""};
    for (unsigned i = 0; i < SYMBOLS; i++) {
        int n = snprintf(head_of[i].text, sizeof head_of[i].text, form[what], i, PAYLOAD);
        head_of[i].len = (uint32_t)n + (what == PENSTOCK); /* kdb+: the NUL belongs to it */
    }
}
static size_t put_head(void *to, uint64_t i)
{
    const struct head *h = &head_of[symbol(i)];
    memcpy(to, h->text, h->len);
    return h->len;
}

/* ---- kdb+ by hand ---- */

static size_t kdb_message(uint8_t *m, int kind, size_t len)
{
    m[0] = 1;
    m[1] = (uint8_t)kind;
    m[2] = m[3] = 0;
    put32(m + 4, (uint32_t)(8 + len));
    return 8 + len;
}
static size_t put_sym(uint8_t *p, const char *s)
{
    p[0] = 0xF5;
    memcpy(p + 1, s, strlen(s) + 1);
    return strlen(s) + 2;
}
static int kdb_login(void)
{
    int fd = dial();
    char ack;
    put_all(fd, "bench:\3", 8);
    get_some(fd, &ack, 1);
    return fd;
}
static void kdb_subscribe(int fd, unsigned k)
{
    static uint8_t m[65536];
    uint8_t *at = m + 8, head[8];
    memcpy(at, "\0\0\3\0\0\0", 6);
    at += 6;
    at += put_sym(at, ".u.sub");
    at += put_sym(at, "trade");
    if (everything || subscribers == 1) {
        at += put_sym(at, "");
    } else {
        uint32_t n = 0;
        uint8_t *count = at + 2;
        *at++ = 11;
        *at++ = 0;
        at += 4;
        for (unsigned s = k; s < SYMBOLS; s += subscribers, n++)
            at += sprintf((char *)at, "S%05u", s) + 1;
        put32(count, n);
    }
    put_all(fd, m, kdb_message(m, 1, (size_t)(at - m) - 8));
    for (size_t n = 0; n < 8;)
        n += get_some(fd, head + n, 8 - n);
    size_t left = le32(head + 4) - 8;
    bool first = true;
    while (left) {
        size_t n = get_some(fd, m, left < sizeof m ? left : sizeof m);
        if (first && m[0] == 128)
            die((char *)m + 1);
        first = false;
        left -= n;
    }
}

/* Columns of `n` rows; the first value of price: when it was sent. */
static size_t kdb_update(uint8_t *m, uint64_t from, uint32_t n, int64_t stamp)
{
    uint8_t *at = m + 8;
    memcpy(at, "\0\0\3\0\0\0", 6);
    at += 6;
    at += put_sym(at, ".u.upd");
    at += put_sym(at, "trade");
    memcpy(at, "\0\0\5\0\0\0", 6);
    at += 6;
    if (n == 1) { /* a row: atoms */
        *at++ = 0xF5;
        at += put_head(at, from);
        *at++ = 0xF7;
        double price = 17.25;
        memcpy(at, &price, 8);
        at += 8;
        *at++ = 0xF9;
        put64(at, (uint64_t)stamp);
        at += 8;
        *at++ = 0xF6;
        *at++ = 'B';
        at += put_sym(at, "XNAS");
        return kdb_message(m, 0, (size_t)(at - m) - 8);
    }
    static const uint8_t type[5] = {11, 9, 7, 10, 11};
    for (unsigned c = 0; c < 5; c++) {
        *at++ = type[c];
        *at++ = 0;
        put32(at, n);
        at += 4;
        for (uint32_t i = 0; i < n; i++) {
            double price = 17.25;
            if (c == 0)
                at += put_head(at, from + i);
            else if (c == 1)
                memcpy(at, &price, 8), at += 8;
            else if (c == 2)
                put64(at, (uint64_t)stamp), at += 8;
            else if (c == 3)
                *at++ = 'B';
            else
                memcpy(at, "XNAS", 5), at += 5;
        }
    }
    return kdb_message(m, 0, (size_t)(at - m) - 8);
}

/* ---- the publisher ---- */

static uint64_t under_way(void)
{
    return load_relaxed(&shared->sent) - load_relaxed(&shared->got);
}

static void publish(void)
{
    static uint8_t out[1 << 20];
    static char payload[PAYLOAD + 1];
    memset(payload, 'x', PAYLOAD);
    uint64_t n = 0;
    int fd = -1;
#ifdef PST_ZEROMQ
    void *zctx = NULL, *zsock = NULL;
    if (what == ZEROMQ) {
        char url[64];
        int none = 0;
        zctx = zmq_ctx_new();
        zsock = zmq_socket(zctx, ZMQ_PUB);
        zmq_setsockopt(zsock, ZMQ_SNDHWM, &none, sizeof none);
        snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
        if (zmq_bind(zsock, url))
            die("bind");
    }
#endif
    if (what == PENSTOCK)
        fd = kdb_login();
    else if (what == NATS || what == REDIS)
        fd = dial();
    if (what == NATS)
        put_all(fd, "CONNECT {\"verbose\":false}\r\nPING\r\n", 33), wait_for(fd, "PONG\r\n");
    store_release(&shared->ready, load_relaxed(&shared->ready) | 1);
    while (!(load_acquire(&shared->ready) & 2))
        usleep(1000);
    usleep(300000); /* subscriptions reach everywhere */
    double start = seconds();
    int64_t next = nanos();
    while (!load_relaxed(&shared->stop)) {
        uint32_t k = rate > 0 ? 1 : batch;
        if (rate > 0) {
            while (nanos() < next)
                cpu_relax();
            next += (int64_t)(1e9 / rate);
        } else if (under_way() >= window) {
            sched_yield();
            continue;
        }
        int64_t stamp = nanos();
        size_t len = 0;
        switch (what) {
        case PENSTOCK:
            if (k == 1 && rate <= 0) { /* many messages of a row, one write */
                for (k = 0; k < 100; k++)
                    len += kdb_update(out + len, n + k, 1, stamp);
            } else {
                len = kdb_update(out, n, k, stamp);
            }
            break;
        case NATS:
            for (uint32_t i = 0; i < k; i++) {
                memcpy(payload, &stamp, 8);
                len += put_head(out + len, n + i);
                memcpy(out + len, payload, PAYLOAD);
                memcpy(out + len + PAYLOAD, "\r\n", 2);
                len += PAYLOAD + 2;
            }
            break;
        case REDIS:
            for (uint32_t i = 0; i < k; i++) {
                memcpy(payload, &stamp, 8);
                len += put_head(out + len, n + i);
                memcpy(out + len, payload, PAYLOAD);
                memcpy(out + len + PAYLOAD, "\r\n", 2);
                len += PAYLOAD + 2;
            }
            break;
#ifdef PST_ZEROMQ
        case ZEROMQ:
            for (uint32_t i = 0; i < k; i++) {
                char m[64];
                put_head(m, n + i);
                memcpy(payload, &stamp, 8);
                memcpy(m + 7, payload, PAYLOAD);
                if (zmq_send(zsock, m, 7 + PAYLOAD, 0) < 0)
                    die("send");
            }
            break;
#endif
        default:
            break;
        }
        n += k;
        store_relaxed(&shared->sent, n);
        if (fd >= 0)
            put_all(fd, out, len);
        if (what == REDIS) { /* answers are taken, or the server stops reading */
            static char in[1 << 16];
            while (recv(fd, in, sizeof in, MSG_DONTWAIT) > 0)
                ;
        }
        if (seconds() - start > for_seconds)
            break;
    }
    store_release(&shared->sent_all, n);
    while (!load_relaxed(&shared->stop)) {
        if (what == REDIS) {
            static char in[1 << 16];
            while (recv(fd, in, sizeof in, MSG_DONTWAIT) > 0)
                ;
        }
        usleep(1000);
    }
#ifdef PST_ZEROMQ
    if (zsock) {
        zmq_close(zsock);
        zmq_ctx_term(zctx);
    }
#endif
    exit(0);
}

/* ---- subscribers ---- */

struct subscriber {
    int fd;
    uint64_t got;
    size_t have;
    uint8_t *buf; /* of what is not complete yet */
    size_t room;
#ifdef PST_ZEROMQ
    void *z;
#endif
};
static struct subscriber *sub;

static uint64_t updates; /* messages with rows, of all subscribers */
static double *sample;
static uint32_t samples;
#define SAMPLES (1u << 21)

static void took(int64_t stamp)
{
    if (rate > 0 && samples < SAMPLES)
        sample[samples++] = (double)(nanos() - stamp) / 1e3;
}

/* Whole messages of what has come; returns the bytes used. */
static size_t count(struct subscriber *s, const uint8_t *p, size_t n)
{
    size_t at = 0;
    if (what == PENSTOCK) {
        while (n - at >= 8) {
            size_t len = le32(p + at + 4);
            if (n - at < len)
                break;
            /* (`upd;`trade;table): the first column's count, behind the names */
            static const char list[] = "venue";
            const uint8_t *q = memmem(p + at, len < 128 ? len : 128, list, sizeof list);
            if (!q)
                die("no row");
            q += sizeof list + 6 + 2;
            uint32_t rows = le32(q);
            s->got += rows;
            updates++;
            if (rate > 0) { /* size holds the stamp */
                const uint8_t *c = q + 4 + (size_t)rows * 8 + 6;
                for (uint32_t i = 0; i < rows; i++)
                    c += strlen((const char *)c) + 1;
                c += 6 + (size_t)rows * 8 + 6;
                for (uint32_t i = 0; i < rows; i++)
                    took((int64_t)le64(c + 8 * (size_t)i));
            }
            at += len;
        }
        return at;
    }
    /* "MSG S00000 1000 56\r\n" + 56 + 2; "*3\r\n$7\r\nmessage\r\n$6\r\nS00000\r\n$56\r\n" + 56 + 2
     */
    size_t each = what == NATS ? 20 + PAYLOAD + 2 : (everything ? 25 : 17) + 12 + 5 + PAYLOAD + 2;
    if (what == NATS)
        while (n - at >= 6 && !memcmp(p + at, "PING\r\n", 6)) {
            put_all(s->fd, "PONG\r\n", 6);
            at += 6;
        }
    while (n - at >= each) {
        if (p[at] != (what == NATS ? 'M' : '*')) {
            if (what == NATS && !memcmp(p + at, "PING\r\n", 6)) {
                put_all(s->fd, "PONG\r\n", 6);
                at += 6;
                continue;
            }
            die("an answer of another form");
        }
        s->got++;
        int64_t stamp;
        memcpy(&stamp, p + at + each - PAYLOAD - 2, 8);
        took(stamp);
        at += each;
    }
    return at;
}

static bool take(struct subscriber *s)
{
    if (s->have == s->room) { /* a message is larger than all before */
        s->room *= 2;
        s->buf = realloc(s->buf, s->room);
        if (!s->buf)
            die("no memory for a message");
    }
    size_t most = s->room - s->have < RECV_MOST ? s->room - s->have : RECV_MOST;
    ssize_t k = recv(s->fd, s->buf + s->have, most, MSG_DONTWAIT);
    if (k <= 0) {
        if (k < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        die("the server hung up");
    }
    s->have += (size_t)k;
    size_t used = count(s, s->buf, s->have);
    s->have -= used;
    if (used && s->have)
        memmove(s->buf, s->buf + used, s->have);
    return true;
}

static void open_subscriber(unsigned k)
{
    struct subscriber *s = &sub[k];
    static char m[65536];
    size_t n = 0;
    s->buf = malloc(s->room = 65536);
    switch (what) {
    case PENSTOCK:
        s->fd = kdb_login();
        kdb_subscribe(s->fd, k);
        break;
    case NATS:
        s->fd = dial();
        n = (size_t)sprintf(m, "CONNECT {\"verbose\":false}\r\n");
        if (everything || subscribers == 1)
            n += (size_t)sprintf(m + n, "SUB > 1000\r\n");
        else
            for (unsigned i = k; i < SYMBOLS; i += subscribers)
                n += (size_t)sprintf(m + n, "SUB S%05u %u\r\n", i, 1000 + i);
        n += (size_t)sprintf(m + n, "PING\r\n");
        put_all(s->fd, m, n);
        wait_for(s->fd, "PONG\r\n");
        break;
    case REDIS:
        s->fd = dial();
        unsigned many = 0;
        for (unsigned i = k; i < SYMBOLS; i += everything ? 1 : subscribers)
            many++;
        n = (size_t)sprintf(m, "*%u\r\n$9\r\nSUBSCRIBE\r\n", many + 1);
        for (unsigned i = everything ? 0 : k; i < SYMBOLS; i += everything ? 1 : subscribers)
            n += (size_t)sprintf(m + n, "$6\r\nS%05u\r\n", i);
        if (everything)
            n = (size_t)sprintf(m, "*2\r\n$10\r\nPSUBSCRIBE\r\n$1\r\n*\r\n");
        put_all(s->fd, m, n);
        /* an answer for each name; the last is :many */
        {
            char last[32];
            size_t left = 0, room = 1 << 20;
            char *all = malloc(room);
            snprintf(last, sizeof last, "\r\n:%u\r\n", everything ? 1 : many);
            while (!memmem(all, left, last, strlen(last)))
                left += get_some(s->fd, all + left, room - left);
            free(all);
        }
        break;
    default:
        break;
    }
}

static uint64_t least(void)
{
    uint64_t sum = 0, low = UINT64_MAX;
    for (unsigned k = 0; k < subscribers; k++) {
        sum += sub[k].got;
        low = sub[k].got < low ? sub[k].got : low;
    }
    return everything ? low : sum;
}

#ifdef PST_ZEROMQ
static void *zctx;
static void open_zeromq(void)
{
    zctx = zmq_ctx_new();
    zmq_ctx_set(zctx, ZMQ_MAX_SOCKETS, 2048);
    for (unsigned k = 0; k < subscribers; k++) {
        char url[64], topic[8];
        int none = 0;
        sub[k].z = zmq_socket(zctx, ZMQ_SUB);
        zmq_setsockopt(sub[k].z, ZMQ_RCVHWM, &none, sizeof none);
        if (everything || subscribers == 1)
            zmq_setsockopt(sub[k].z, ZMQ_SUBSCRIBE, "", 0);
        else
            for (unsigned i = k; i < SYMBOLS; i += subscribers)
                zmq_setsockopt(sub[k].z, ZMQ_SUBSCRIBE, topic, (size_t)sprintf(topic, "S%05u", i));
        snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
        if (zmq_connect(sub[k].z, url))
            die("connect");
    }
}
static bool take_zeromq(zmq_pollitem_t *items)
{
    char m[128];
    bool some = false;
    if (zmq_poll(items, (int)subscribers, 10) <= 0)
        return false;
    for (unsigned k = 0; k < subscribers; k++)
        if (items[k].revents)
            for (unsigned i = 0; i < 1000 && zmq_recv(sub[k].z, m, sizeof m, ZMQ_DONTWAIT) > 0;
                 i++) {
                int64_t stamp;
                memcpy(&stamp, m + 7, 8);
                took(stamp);
                sub[k].got++;
                some = true;
            }
    return some;
}
#endif

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void show(double took_seconds, uint64_t messages)
{
    if (rate > 0) {
        uint32_t from = samples / 10; /* the first tenth warms up */
        uint32_t n = samples - from;
        qsort(sample + from, n, sizeof *sample, by_value);
        if (!n)
            die("no samples");
        printf("%-9s latency at %.0f/s: p50 %.1f us  p99 %.1f us  (%u)\n", names[what], rate,
               sample[from + n / 2], sample[from + (uint64_t)n * 99 / 100], n);
        return;
    }
    double delivered = (double)messages * (everything ? subscribers : 1);
    printf("%-9s %5u subscribers%s  %8.3f M messages/s sent  %9.3f M/s delivered", names[what],
           subscribers, everything ? " (all)" : "", (double)messages / took_seconds / 1e6,
           delivered / took_seconds / 1e6);
    if (updates)
        printf("  %.1f rows an update", delivered / (double)updates);
    if (server_pid || what == ZEROMQ)
        printf("  cpu: server %.0f ns, clients %.0f ns a message", server_cpu / delivered * 1e9,
               client_cpu / delivered * 1e9);
    printf("\n");
}

static void subscribe(int publisher)
{
    struct epoll_event ev[256];
    int ep = epoll_create1(0);
    sub = calloc(subscribers, sizeof *sub);
    sample = rate > 0 ? malloc(SAMPLES * sizeof *sample) : NULL;
    while (!(load_acquire(&shared->ready) & 1))
        usleep(1000);
#ifdef PST_ZEROMQ
    zmq_pollitem_t *items = calloc(subscribers, sizeof *items);
    if (what == ZEROMQ) {
        open_zeromq();
        for (unsigned k = 0; k < subscribers; k++)
            items[k] = (zmq_pollitem_t){.socket = sub[k].z, .events = ZMQ_POLLIN};
        usleep(500000);
    }
#endif
    for (unsigned k = 0; what != ZEROMQ && k < subscribers; k++) {
        open_subscriber(k);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = k};
        epoll_ctl(ep, EPOLL_CTL_ADD, sub[k].fd, &e);
    }
    double server_from = cpu_of(server_pid), own_from = cpu_of(getpid()) + cpu_of(publisher);
    store_release(&shared->ready, 3);
    double start = 0, last = seconds();
    uint64_t done = 0;
    for (;;) {
        if (what == ZEROMQ) {
#ifdef PST_ZEROMQ
            take_zeromq(items);
#endif
        } else {
            int n = epoll_wait(ep, ev, 256, 10);
            for (int i = 0; i < n; i++)
                take(&sub[ev[i].data.u32]);
        }
        uint64_t now = least();
        store_relaxed(&shared->got, now);
        if (!start && load_relaxed(&shared->sent))
            start = seconds();
        uint64_t all = load_acquire(&shared->sent_all);
        if (now != done) {
            last = seconds();
            done = now;
        }
        if (all && now >= all)
            break;
        if (seconds() - last > 10) {
            fprintf(stderr, "%llu of %llu messages arrived\n", (unsigned long long)now,
                    (unsigned long long)(all ? all : load_relaxed(&shared->sent)));
            exit(1);
        }
    }
    server_cpu = cpu_of(server_pid) - server_from;
    client_cpu = cpu_of(getpid()) + cpu_of(publisher) - own_from;
    show(last - start, done);
    store_release(&shared->stop, 1);
}

/* ---- ping ---- */

static void ping(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int l = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    char m[64 * 1024] = {0};
    if (bind(l, (struct sockaddr *)&a, sizeof a) || listen(l, 1) ||
        getsockname(l, (struct sockaddr *)&a, &len))
        die("listen");
    pid_t child = fork();
    if (!child) { /* sends back what it gets */
        int fd = accept(l, NULL, NULL);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        for (;;) {
            ssize_t n = recv(fd, m, sizeof m, 0);
            if (n <= 0)
                exit(0);
            put_all(fd, m, (size_t)n);
        }
    }
    port = ntohs(a.sin_port);
    int fd = dial();
    sample = malloc(SAMPLES * sizeof *sample);
    double end = seconds() + for_seconds;
    int64_t next = nanos();
    size_t have = 0;
    uint64_t n = 0;
    for (; seconds() < end;) {
        while (rate > 0 && nanos() < next) {
            ssize_t k = recv(fd, m + 1024 + have, 32768, MSG_DONTWAIT);
            if (k <= 0)
                continue;
            have += (size_t)k;
            size_t at = 0;
            for (; have - at >= 64; at += 64) {
                int64_t stamp;
                memcpy(&stamp, m + 1024 + at, 8);
                took(stamp);
            }
            memmove(m + 1024, m + 1024 + at, have - at);
            have -= at;
        }
        next += (int64_t)(1e9 / rate);
        int64_t stamp = nanos();
        memcpy(m, &stamp, 8);
        put_all(fd, m, 64);
        n++;
    }
    show(for_seconds, n);
    close(fd);
    waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
    int o;
    while ((o = getopt(argc, argv, "s:n:ab:w:l:p:")) != -1) {
        if (o == 's')
            for_seconds = atof(optarg);
        else if (o == 'n')
            subscribers = (unsigned)atoi(optarg);
        else if (o == 'a')
            everything = true;
        else if (o == 'b')
            batch = (unsigned)atoi(optarg);
        else if (o == 'w')
            window = strtoull(optarg, NULL, 10);
        else if (o == 'l')
            rate = atof(optarg);
        else if (o == 'p')
            server_pid = atoi(optarg);
        else
            return 2;
    }
    int i = 0;
    while (optind < argc && i < 5 && strcmp(names[i], argv[optind]) != 0)
        i++;
    if (optind >= argc || i == 5 || (i < 4 && optind + 1 >= argc) || !subscribers ||
        subscribers > SYMBOLS || !batch || batch > 5000) {
        fprintf(stderr,
                "bench_consumers [-s S] [-n N] [-a] [-b ROWS] [-w WINDOW] [-l RATE] SYSTEM PORT\n");
        return 2;
    }
    what = (enum what)i;
    port = optind + 1 < argc ? atoi(argv[optind + 1]) : 0;
#ifndef PST_ZEROMQ
    if (what == ZEROMQ)
        return 77;
#endif
    struct rlimit r = {16384, 16384};
    setrlimit(RLIMIT_NOFILE, &r);
    signal(SIGPIPE, SIG_IGN);
    if (what == PING) {
        if (rate <= 0)
            rate = 100000;
        ping();
        return 0;
    }
    make_heads();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a subscriber that gave up takes it along */
        publish();
    }
    subscribe(child);
    waitpid(child, NULL, 0);
    return 0;
}
