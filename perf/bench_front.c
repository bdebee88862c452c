/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_front.h"
#include <sched.h>
#include "core/tables.h"

struct front front;

void front_die(const struct err *e)
{
    fprintf(stderr, "%s: %s\n", front.cfg.program, e->text);
    exit(1);
}

void front_pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static int64_t now_of(void *clock)
{
    return clock_now(clock);
}

static void intern(struct schema *s)
{
    struct err e = {0};
    bool fresh;
    if (!schema_set_intern(front.schemas, s, &fresh, &e))
        front_die(&e);
}

static void make_feed(void)
{
    struct err e = {0};
    const struct decoder_ops *itch = decoder_find("itch50");
    struct feed_config c = {.name = "itch",
                            .framing = framing_find("moldudp64"),
                            .decoder = itch,
                            .nlines = front.cfg.lines,
                            .line = {{"A", LINE_NORMAL}, {"B", LINE_NORMAL}},
                            .reorder_ns = -1,
                            .room_reserve = rx_worst(1500),
                            .fixed_date = FRONT_DAY};
    for (unsigned i = 0; i < itch->ntables; i++) {
        struct schema s;
        const struct decoder_table *t = &itch->tables[i];
        if (!schema_make(&s, 0, t->name, true, t->cols, t->ncols, &e))
            front_die(&e);
        intern(&s);
        c.tables[i] = schema_set_find(front.schemas, t->name);
    }
    if (front.cfg.streams)
        front.cfg.streams[c.tables[0]->id] = STREAM_INTERVAL;
    c.home = feed_home(itch, c.tables, NULL, front.cfg.streams);
    if (!decoder_bind(itch, c.tables, &e) || !(front.feed = feed_open(&c, front.status, 0, &e)))
        front_die(&e);
    front.status->n_feeds = 1;
}

static void make_front(void)
{
    struct err e = {0};
    struct schema s;
    clock_init_real(&front.clock);
    front.status = status_create("bench", &e);
    front.schemas = schema_set_new();
    if (!front.status || !front.schemas || !symbols_create(&front.symbols, 65536, &e))
        front_die(&e);
    if (!ring_create(&front.ring, front.cfg.ring, 0, 0x70656e7374ull, true, &e) &&
        !ring_create(&front.ring, front.cfg.ring, 0, 0x70656e7374ull, false, &e))
        front_die(&e);
    pst_must(tables_gap(&s, &e));
    intern(&s);
    pst_must(tables_undecoded(&s, &e));
    intern(&s);
    make_feed();
    struct appender_config ac = {.ring = &front.ring,
                                 .symbols = &front.symbols,
                                 .schemas = front.schemas,
                                 .status = front.status,
                                 .clock = &front.clock,
                                 .hooks = {&front.rx, rx_states, rx_sessions},
                                 .open_day = FRONT_DAY,
                                 .stream_of = front.cfg.streams,
                                 .last_time = INT64_MIN,
                                 .max_new_symbols = 65536,
                                 .ticks = true};
    if (!appender_init(&front.appender, &ac, &e))
        front_die(&e);
    struct rx_config rc = {.status = front.status,
                           .clock = &front.clock,
                           .appender = &front.appender,
                           .symbols = &front.symbols};
    if (!rx_init(&front.rx, &rc, &e))
        front_die(&e);
    rx_add_feed(&front.rx, front.feed, 0);
}

static void make_port(void)
{
    struct err e = {0};
    struct traffic *t = &front.traffic;
    if (!traffic_make(t, front.cfg.packets, front.cfg.per_packet, front.cfg.lines, 3, &e))
        front_die(&e);
    front.loops = (front.cfg.messages + t->loop_messages - 1) / t->loop_messages;
    struct port_config pc = {.name = "loop",
                             .kind = PORT_MEM,
                             .now = now_of,
                             .now_arg = &front.clock,
                             .packets = t->loop,
                             .n_packets = t->nloop,
                             .loops = front.loops,
                             .patch = traffic_patch,
                             .patch_arg = t};
    struct group_route routes[] = {{TRAFFIC_GROUP_A, TRAFFIC_PORT, RX_ROUTE(0, 0)},
                                   {TRAFFIC_GROUP_A + 1, TRAFFIC_PORT, RX_ROUTE(0, 1)}};
    if (!groups_init(&front.groups, routes, (int)front.cfg.lines, GROUP_NONE, &e) ||
        !(front.port = port_open(&pc, &e)) ||
        !rx_add_port(&front.rx, front.port, &front.groups, &front.status->ports[0], CHECKSUM_OFF,
                     1500, &e))
        front_die(&e);
    front.status->n_ports = 1;
}

/* Directory and opening states, before the clock runs. */
static void start_of_day(void)
{
    appender_begin(&front.appender, clock_now(&front.clock));
    for (uint32_t i = 0; i < front.traffic.nstart; i++) {
        const struct mem_packet *k = &front.traffic.start[i];
        struct pkt p = {
            .data = k->data, .len = k->len, .wire_len = k->len, .rxtime = clock_now(&front.clock)};
        struct udp_view v;
        pst_must(packet_parse(&p, &v) == DROP_none);
        for (unsigned l = 0; l < front.cfg.lines; l++)
            feed_packet(front.feed, l, v.payload, v.payload_len, p.rxtime, CLOCK_TSC,
                        &front.appender.rows);
        appender_flush(&front.appender);
    }
}

void front_make(const struct front_config *cfg)
{
    front.cfg = *cfg;
    make_front();
    make_port();
    start_of_day();
}
