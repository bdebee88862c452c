/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_shared: from the append of a row to a libpenstock subscriber in another process that reads
 * the ring.
 *   build/perf/bench_shared [-s SECONDS] [-r ROWS_A_SECOND]      (default: 2 s each way, 100,000)
 *
 * A row is stamped just before the appender's own steps: CRC, copy into the ring, the tail. The
 * subscriber spins in pst_next, takes two values out of the row and stamps again. Ways: copy (the
 * default), place (in_place and pst_still_valid), bare: a process that spins on one word of shared
 * memory, which is what the machine itself takes. In turns of 100 ms, so that what else runs hits
 * all alike. Wants two idle cores.
 *
 * One line each: "shared way=W rows=N p50_ns=A p99_ns=B append_ns=C".
 */
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/record.h"
#include "core/ring.h"
#include "core/schema.h"
#include "core/symbols.h"
#include "penstock/client.h"

#define WAYS    3u
#define SAMPLES (1u << 20)
#define TURN    (100 * NS_PER_MS)

static const char *const way_names[WAYS] = {"copy", "place", "bare"};

struct shared_page { /* between the two processes */
    pst_aligned(64) _Atomic int64_t bare;
    pst_aligned(64) _Atomic int way; /* whose turn it is; -1: none, WAYS: the end */
    _Atomic int ready;
    uint32_t n[WAYS];
    uint32_t took[WAYS][SAMPLES]; /* ns */
};
static struct shared_page *page;
static struct ring ring;
static struct symbols symbols;
static struct schema table;
static char dir[] = "/tmp/bench-shared.XXXXXX", ipc[64], sock[64];

static void die(const char *what)
{
    fprintf(stderr, "bench_shared: %s\n", what);
    exit(1);
}
static void pin(unsigned core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set); /* one core alone will do, if it must */
}

/* ---- what stands for the daemon's sockets ---- */

static int listen_at(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 8))
        die("no socket");
    return fd;
}

static void hand_out(int fd)
{
    char line[200], *schema = schema_to_json(&table);
    int fds[3] = {ring.fd, symbols.fd, ring.fd};
    json_t *r = json_pack("{s:b,s:{s:s,s:s,s:[s]}}", "ok", 1, "result", "log_directory", dir,
                          "log_prefix", "log", "schemas", schema);
    char *text = json_dumps(r, JSON_COMPACT);
    struct iovec v[2] = {{text, strlen(text)}, {(void *)"\n", 1}};
    union {
        char buf[CMSG_SPACE(sizeof fds)];
        struct cmsghdr align;
    } u = {{0}};
    struct msghdr m = {
        .msg_iov = v, .msg_iovlen = 2, .msg_control = &u, .msg_controllen = sizeof u};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(h), fds, sizeof fds);
    if (recv(fd, line, sizeof line, 0) <= 0 || sendmsg(fd, &m, MSG_NOSIGNAL) < 0)
        die("attach");
    free(text);
    free(schema);
    json_decref(r);
}

static void *doors(void *arg)
{
    struct pollfd p[2] = {{.fd = listen_at(ipc), .events = POLLIN},
                          {.fd = listen_at(sock), .events = POLLIN}};
    (void)arg;
    atomic_store(&page->ready, 1);
    for (;;) {
        uint8_t login[64], ack = 3;
        poll(p, 2, -1);
        if (p[0].revents) {
            int fd = accept(p[0].fd, NULL, NULL);
            if (recv(fd, login, sizeof login, 0) > 0)
                send(fd, &ack, 1, MSG_NOSIGNAL); /* it stays open: clients close */
        }
        if (p[1].revents)
            hand_out(accept(p[1].fd, NULL, NULL));
    }
    return NULL;
}

/* ---- the subscriber's process ---- */

static pst_client *subscriber(bool in_place)
{
    struct pst_options o = PST_OPTIONS_INIT;
    struct pst_subscription s = PST_SUBSCRIPTION_INIT;
    o.addresses = ipc;
    s.via = PST_VIA_SHARED;
    s.committed = true;
    s.in_place = in_place;
    s.spin_us = -1;
    pst_client *c = pst_open(&o);
    if (!c)
        die(pst_open_error());
    if (pst_subscribe(c, &s, 10000) < 0)
        die(pst_error(c));
    return c;
}

static void took(unsigned way, int64_t since)
{
    int64_t ns = clock_monotonic() - since;
    if (page->n[way] < SAMPLES)
        page->took[way][page->n[way]++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static void subscribe(void)
{
    pst_client *c[2] = {subscriber(false), subscriber(true)};
    int64_t bare = 0;
    double sum = 0;
    pin(1);
    atomic_store(&page->ready, 2);
    for (int way; (way = load_acquire(&page->way)) < (int)WAYS;) {
        struct pst_event e;
        struct pst_row row;
        if (way == 2) {
            int64_t v = load_acquire(&page->bare);
            if (v != bare)
                took(2, bare = v);
            continue;
        }
        if (way < 0) { /* both go by what is there */
            while (pst_next(c[0], &e, 0) == 1)
                ;
            while (pst_next(c[1], &e, 0) == 1)
                ;
            continue;
        }
        if (pst_next(c[way], &e, 0) != 1 || e.kind != PST_ROWS)
            continue;
        for (bool more = pst_first(e.rows, &row); more; more = pst_next_row(e.rows, &row)) {
            int64_t stamp = pst_long(e.rows, &row, 0);
            sum += pst_double(e.rows, &row, 2);
            if (pst_still_valid(c[way]))
                took((unsigned)way, stamp);
        }
    }
    if (sum < 0)
        printf("never\n");
    pst_close(c[0]);
    pst_close(c[1]);
    exit(0);
}

/* ---- the appender's ---- */

static int64_t append(void)
{
    static uint8_t buf[256] pst_aligned(64);
    struct frame *f = (struct frame *)buf;
    struct record *r = (struct record *)(buf + FRAME_HEADER);
    double price = 1.5;
    *f = (struct frame){.length = FRAME_HEADER + table.fixed,
                        .position = ring.w_tail,
                        .kind = FRAME_DATA,
                        .count = 1,
                        .day = 9000};
    *r = (struct record){.table = table.id, .bytes = table.fixed, .time = clock_monotonic()};
    memcpy((uint8_t *)r + table.col[2].offset, &price, sizeof price);
    store_release(&ring.head->guard, ring.w_tail);
    frame_seal(f, ring.head->seed);
    ring_free(&ring, f->length);
    ring_write(&ring, f, f->length);
    ring_publish(&ring);
    return clock_monotonic() - r->time;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"price", PST_FLOAT}, {"size", PST_LONG}};
    struct err err;
    pthread_t thread;
    double seconds = 2, rate = 100000;
    int opt, status;
    while ((opt = getopt(argc, argv, "s:r:")) != -1) {
        if (opt == 's')
            seconds = atof(optarg);
        else if (opt == 'r')
            rate = atof(optarg);
        else
            die("[-s SECONDS] [-r ROWS_A_SECOND]");
    }
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || !mkdtemp(dir))
        die("no memory or directory");
    snprintf(ipc, sizeof ipc, "%s/x.ipc", dir);
    snprintf(sock, sizeof sock, "%s/x.sock", dir);
    uint32_t id;
    if (!ring_create(&ring, 64 << 20, 64, 7, false, &err) || !ring_seal(&ring) ||
        !symbols_create(&symbols, 100, &err) || !symbols_seal(&symbols) ||
        !schema_make(&table, 2, "trade", false, cols, 4, &err))
        die(err.text);
    symbols_intern(&symbols, "A", 1, &id);
    page->way = -1;
    pthread_create(&thread, NULL, doors, NULL);
    while (atomic_load(&page->ready) < 1)
        usleep(1000);
    pid_t child = fork();
    if (!child)
        subscribe();
    while (atomic_load(&page->ready) < 2)
        if (waitpid(child, &status, WNOHANG) == child)
            die("the subscriber ended");
    pin(0);
    int64_t spent[WAYS] = {0}, step = (int64_t)(NS_PER_S / rate);
    uint64_t rows[WAYS] = {0};
    for (unsigned turn = 0; turn < (unsigned)(seconds * WAYS * NS_PER_S / TURN); turn++) {
        unsigned way = turn % WAYS;
        store_release(&page->way, (int)way);
        usleep(2000);
        int64_t next = clock_monotonic(), end = next + TURN;
        for (; next < end; next += step) {
            while (clock_monotonic() < next)
                ;
            if (way == 2)
                store_release(&page->bare, clock_monotonic());
            else
                spent[way] += append();
            rows[way]++;
            if (clock_monotonic() > next + 100 * step)
                next = clock_monotonic(); /* somebody took the core: no burst to make up for it */
        }
        usleep(2000);
        store_release(&page->way, -1);
        usleep(2000);
    }
    store_release(&page->way, (int)WAYS);
    waitpid(child, &status, 0);
    for (unsigned w = 0; w < WAYS; w++) {
        uint32_t n = page->n[w];
        qsort(page->took[w], n, sizeof(uint32_t), by_size);
        printf("shared way=%s rows=%u p50_ns=%u p99_ns=%u append_ns=%.0f\n", way_names[w], n,
               n ? page->took[w][n / 2] : 0, n ? page->took[w][(uint64_t)n * 99 / 100] : 0,
               rows[w] ? (double)spent[w] / (double)rows[w] : 0);
    }
    unlink(ipc);
    unlink(sock);
    rmdir(dir);
    return 0;
}
