/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock-rtp: streaming analytics and real-time processors (rtp_wire.h), in a sandbox.
 *
 *     penstock-rtp PARENT-PID      started by penstock-helper, its socket at descriptor 3
 *     penstock-rtp --standalone …  the same plugins outside penstockd (standalone.h)
 */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/poll.h> /* poll.h is the data plane's */
#include <sys/socket.h>
#include <unistd.h>
#include "core/clock.h"
#include "helper_wire.h"
#include "worker_sandbox.h"
#include "host.h"
#include "host_standalone.h"

#define EAGER_NS  (50 * NS_PER_US) /* looks again at once for so long after it did something */
#define QUIET_NS  NS_PER_S
#define NAP_NS    (100 * NS_PER_US)
#define LONG_NS   (500 * NS_PER_US)
#define ASLEEP_NS (5 * NS_PER_MS)  /* nobody wants rows */
#define FILES_NS  (20 * NS_PER_MS) /* files only: each look lists the directory */

static struct host self;

/* ---- attaching ---- */

static bool segment(struct host *h, const char *what, int fd, struct err *err)
{
    if (!strcmp(what, "ring"))
        return h->have_ring = ring_attach(&h->ring, fd, err);
    if (!strcmp(what, "symbols"))
        return h->have_symbols = symbols_attach(&h->symbols, fd, err);
    if (!strcmp(what, "rdb"))
        return h->have_rdb = rdb_map_attach(&h->rdb, fd, err);
    return err_set(err, -EPROTO, "unknown segment %s", what);
}

static void attach(struct host *h, struct wire_message *m)
{
    struct err err = {0};
    json_error_t je;
    size_t i;
    const json_t *v;
    json_t *o = json_loadb(m->body, m->head.length, JSON_REJECT_DUPLICATES, &je);
    if (!json_is_object(o))
        host_die(h, "ATTACH is no JSON object");
    h->attached = true;
    host_configure(h, o);
    json_array_foreach(json_object_get(o, "segments"), i, v)
    {
        if (i >= m->nfds || !json_is_string(v) ||
            !segment(h, json_string_value(v), m->fds[i], &err))
            host_die(h, "segment %zu: %s", i, err.text);
        m->fds[i] = -1; /* the map owns it */
    }
    int bytes = 4 << 20;
    setsockopt(h->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes); /* what the host allows */
    fcntl(h->fd, F_SETFL, O_NONBLOCK);
    mallopt(M_ARENA_MAX, 2);
    if (!host_journal_open(h, &err))
        host_die(h, "%s", err.text);
    host_schemas(h, json_object_get(o, "schemas"));
    host_crash_handler(h);
    if (!host_sandbox_limits(h->memory, &err) || !host_sandbox_enter(&err))
        host_die(h, "%s", err.text);
    if (!host_libraries(h, &err))
        host_die(h, "%s", err.text);
    host_load_all(h);
    if (!host_processors_choose(h, &err))
        host_die(h, "%s", err.text);
    host_say_ready(h);
    host_beat(h, 0);
}

/* ---- the loop ---- */

static void nap(struct host *h, int64_t ns)
{
    struct pollfd p = {h->fd, POLLIN, 0};
    struct timespec t = {ns / NS_PER_S, ns % NS_PER_S};
    int64_t began = clock_monotonic();
    ppoll(&p, 1, &t, NULL);
    h->wait_ns += clock_monotonic() - began;
}

static void loop(struct host *h)
{
    int64_t last = clock_monotonic(); /* when something was done */
    for (;;) {
        int64_t now = clock_monotonic();
        unsigned n = host_listen(h);
        if (h->started)
            n += host_journal_step(h, UINT64_MAX);
        int64_t due = host_timers_wall(h, now);
        host_beat_due(h, now);
        if (host_out_waits(h))
            host_out_flush(h);
        int64_t end = clock_monotonic();
        if (end - now > (int64_t)h->beat.loop_ns)
            h->beat.loop_ns = (uint64_t)(end - now);
        if (n) {
            last = end;
            continue;
        }
        if (end - last < EAGER_NS && h->crowd < 2) {
            cpu_relax();
            continue;
        }
        int64_t ns = !h->started             ? 100 * NS_PER_MS
                     : !h->have_ring         ? FILES_NS
                     : host_journal_idle(h)  ? ASLEEP_NS
                     : end - last > QUIET_NS ? LONG_NS * h->crowd
                     : !host_emit_credit(h)  ? LONG_NS * h->crowd
                                             : NAP_NS * h->crowd;
        if (ns > ASLEEP_NS && h->have_ring && h->started)
            ns = ASLEEP_NS;
        due = due < NAP_NS ? NAP_NS : due;
        nap(h, due < ns ? due : ns);
    }
}

int main(int argc, char **argv)
{
    if (argc >= 2 && !strcmp(argv[1], "--standalone"))
        return host_standalone(argc - 1, argv + 1);
    int code = worker_begin(argc, argv,
                            "penstock-rtp is started by penstock-helper; by hand: penstock-rtp "
                            "--standalone (see --standalone --help)");
    if (code >= 0)
        return code;
    struct host *h = &self;
    if (!host_new(h))
        return 1;
    h->fd = HELPER_FD;
    host_say(h, RTP_WIRE_HELLO, 0, 0, PST_VERSION, strlen(PST_VERSION), 0);
    host_out_flush(h);
    while (!h->attached) {
        struct wire_message m;
        struct err err = {0};
        bool closed;
        int k = rtp_wire_receive(h->fd, WIRE_DAEMON, &m, &closed, &err);
        if (closed)
            return 0;
        if (k < 0)
            host_die(h, "penstockd sent %s", err.text);
        if (!k)
            continue;
        if (m.head.type != RTP_WIRE_ATTACH)
            host_die(h, "%s came before ATTACH", rtp_wire_name(m.head.type));
        attach(h, &m);
        wire_free(&m);
    }
    loop(h);
}
