/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_peers: the same acknowledged messages as bench_ack from other logs, at equal batching: one
 * client, one batch of 1, 10, 100, 1,000 messages of 64 bytes under way.
 *   build/perf/bench_peers [-s SECONDS] sqlite DIRECTORY | redis PORT | nats PORT
 *
 * sqlite  WAL, synchronous=FULL: a transaction of as many INSERTs; what COMMIT promises is durable
 * redis   RPUSH of as many values; with appendonly yes and appendfsync always what OK promises is
 *         durable
 * nats    JetStream, file storage: as many PUBs, then as many acknowledgements. Up to version 2.9
 *         they promise that the server has written, not synced (it syncs every 2 minutes);
 *         from 2.10 on `sync_interval: always` syncs each
 * The servers listen on loopback. Lines as bench_ack's.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/base.h"
#include "core/clock.h"
#ifdef PST_SQLITE
#include <sqlite3.h>
#endif

#define MESSAGE 64
#define SAMPLES (1u << 21)

static char in[1 << 20], out[1 << 20];
static char message[MESSAGE + 1];

static bool send_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static int dial(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a)) {
        fprintf(stderr, "no server on port %d\n", port);
        exit(2);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static size_t have; /* bytes in `in` */

/* The next line, without its end; NULL: the connection is gone. */
static char *line(int fd)
{
    static size_t used;
    if (used) {
        memmove(in, in + used, have - used);
        have -= used;
        used = 0;
    }
    for (;;) {
        char *nl = have ? memmem(in, have, "\r\n", 2) : NULL;
        if (nl) {
            *nl = 0;
            used = (size_t)(nl - in) + 2;
            return in;
        }
        ssize_t k = recv(fd, in + have, sizeof in - have, 0);
        if (k <= 0)
            return NULL;
        have += (size_t)k;
    }
}

/* ---- one batch each ---- */

static int peer_fd;

static bool redis_batch(uint32_t n)
{
    int at = snprintf(out, sizeof out, "*%u\r\n$5\r\nRPUSH\r\n$3\r\nlog\r\n", n + 2);
    for (uint32_t i = 0; i < n; i++)
        at += snprintf(out + at, sizeof out - (size_t)at, "$%d\r\n%s\r\n", MESSAGE, message);
    const char *l = send_all(peer_fd, out, (size_t)at) ? line(peer_fd) : NULL;
    return l && *l == ':';
}

static bool redis_start(void)
{
    char *l;
    return send_all(peer_fd, "DEL log\r\n", 9) && (l = line(peer_fd)) && *l == ':';
}

/* JetStream's answers are messages of two lines: MSG …, and JSON. */
static bool nats_answer(void)
{
    char *l;
    while ((l = line(peer_fd))) {
        if (!strncmp(l, "PING", 4)) {
            send_all(peer_fd, "PONG\r\n", 6);
        } else if (!strncmp(l, "-ERR", 4)) {
            fprintf(stderr, "%s\n", l);
            return false;
        } else if (!strncmp(l, "MSG ", 4)) {
            l = line(peer_fd);
            if (l && strstr(l, "\"error\"")) {
                fprintf(stderr, "%s\n", l);
                return false;
            }
            return l != NULL;
        }
    }
    return false;
}

static bool nats_start(void)
{
    static const char *const json =
        "{\"name\":\"LOG\",\"subjects\":[\"log\"],\"storage\":\"file\",\"retention\":\"limits\","
        "\"num_replicas\":1,\"max_bytes\":4000000000,\"discard\":\"old\"}";
    if (!line(peer_fd)) /* INFO */
        return false;
    int n = snprintf(out, sizeof out,
                     "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB ack 1\r\n"
                     "PUB $JS.API.STREAM.CREATE.LOG ack %zu\r\n%s\r\n",
                     strlen(json), json);
    return send_all(peer_fd, out, (size_t)n) && nats_answer();
}

static bool nats_batch(uint32_t n)
{
    int at = 0;
    for (uint32_t i = 0; i < n; i++)
        at += snprintf(out + at, sizeof out - (size_t)at, "PUB log ack %d\r\n%s\r\n", MESSAGE,
                       message);
    if (!send_all(peer_fd, out, (size_t)at))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!nats_answer())
            return false;
    return true;
}

#ifdef PST_SQLITE
static sqlite3 *db;
static sqlite3_stmt *insert;

static bool sqlite_start(const char *dir)
{
    char path[400];
    snprintf(path, sizeof path, "%s/peers.sqlite", dir);
    unlink(path);
    return sqlite3_open(path, &db) == SQLITE_OK &&
           sqlite3_exec(db,
                        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                        "CREATE TABLE log(id INTEGER PRIMARY KEY, m BLOB)",
                        NULL, NULL, NULL) == SQLITE_OK &&
           sqlite3_prepare_v2(db, "INSERT INTO log(m) VALUES(?)", -1, &insert, NULL) == SQLITE_OK;
}

static bool sqlite_batch(uint32_t n)
{
    bool ok = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK;
    for (uint32_t i = 0; ok && i < n; i++) {
        sqlite3_bind_blob(insert, 1, message, MESSAGE, SQLITE_STATIC);
        ok = sqlite3_step(insert) == SQLITE_DONE && sqlite3_reset(insert) == SQLITE_OK;
    }
    return ok && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
}
#endif

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool measure(const char *who, bool (*batch)(uint32_t), double seconds)
{
    static const uint32_t batches[] = {1, 10, 100, 1000};
    int64_t *took = malloc(SAMPLES * sizeof *took);
    pst_must(took);
    for (unsigned b = 0; b < PST_COUNT(batches); b++) {
        uint32_t n = 0;
        for (int i = 0; i < 20; i++)
            if (!batch(batches[b]))
                return false;
        int64_t begin = clock_monotonic(), end = begin + (int64_t)(seconds * 1e9), t0, t1 = begin;
        while (t1 < end && n < SAMPLES) {
            t0 = t1;
            if (!batch(batches[b]))
                return false;
            t1 = clock_monotonic();
            took[n++] = t1 - t0;
        }
        qsort(took, n, sizeof *took, by_value);
        printf("ack batch=%u who=%s messages_s=%.0f p50_us=%.1f p99_us=%.1f\n", batches[b], who,
               (double)n * batches[b] / ((double)(t1 - begin) / 1e9), (double)took[n / 2] / 1e3,
               (double)took[n * 99ull / 100] / 1e3);
        fflush(stdout);
    }
    free(took);
    return true;
}

int main(int argc, char **argv)
{
    double seconds = 2;
    int a = 1;
    if (argc > 2 && !strcmp(argv[1], "-s")) {
        seconds = atof(argv[2]);
        a = 3;
    }
    if (argc != a + 2 || !(seconds > 0)) {
        fprintf(stderr, "bench_peers [-s SECONDS] sqlite DIRECTORY | redis PORT | nats PORT\n");
        return 2;
    }
    memset(message, 'm', MESSAGE);
    const char *who = argv[a];
    bool ok = false;
    if (!strcmp(who, "redis")) {
        peer_fd = dial(atoi(argv[a + 1]));
        ok = redis_start() && measure(who, redis_batch, seconds);
    } else if (!strcmp(who, "nats")) {
        peer_fd = dial(atoi(argv[a + 1]));
        ok = nats_start() && measure(who, nats_batch, seconds);
#ifdef PST_SQLITE
    } else if (!strcmp(who, "sqlite")) {
        ok = sqlite_start(argv[a + 1]) && measure(who, sqlite_batch, seconds);
#endif
    } else {
        fprintf(stderr, "bench_peers: no peer %s in this build\n", who);
    }
    return !ok;
}
