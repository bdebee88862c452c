/* SPDX-License-Identifier: Apache-2.0 */
/* Ports, their groups and memberships, and the lcores that poll them. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "house.h"
#include "topo.h"
#include "wiring_parts.h"

#define INJECT_RX_BYTES (32ull << 20) /* of a further lcore */

static int64_t port_clock(void *arg)
{
    return clock_now(arg);
}

/* The lcore of a CPU, made at its first use. */
static struct wiring_lcore *lcore_of(struct wiring *w, int cpu)
{
    for (unsigned i = 0; i < w->nlcores; i++)
        if (w->lcore[i].cpu == cpu)
            return &w->lcore[i];
    if (w->nlcores == DAEMON_RX_MAX)
        return NULL;
    struct wiring_lcore *l = &w->lcore[w->nlcores++];
    l->cpu = cpu;
    return l;
}

bool wiring_lcores(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    const struct config *c = d->config;
    if (c->ports.count > STATUS_PORTS)
        return err_set(err, -E2BIG, "%s: more than %u ports", c->file, STATUS_PORTS);
    for (unsigned p = 0; p < c->ports.count; p++) {
        const struct config_port *x = &c->ports.at[p];
        struct wiring_lcore *l = lcore_of(w, (int)x->lcore);
        if (!l)
            return err_set(err, -E2BIG, "%s:%d: port %s: more than %d lcores", c->file,
                           x->file_line, x->name, DAEMON_RX_MAX);
        w->port[p].config = x;
        w->port[p].lcore = (unsigned)(l - w->lcore);
    }
    w->nports = c->ports.count;
    if (!w->nlcores)
        lcore_of(w, -1);
    /* A feed is arbitrated by one lcore: all its groups must be on ports of that one. */
    for (unsigned f = 0; f < c->feeds.count; f++) {
        int owner = -1;
        const char *first = NULL;
        for (unsigned p = 0; p < c->ports.count; p++)
            for (unsigned g = 0; g < c->ports.at[p].groups.count; g++) {
                if (strcmp(c->ports.at[p].groups.at[g].feed, c->feeds.at[f].name))
                    continue;
                if (owner >= 0 && owner != (int)w->port[p].lcore)
                    return err_set(
                        err, -EINVAL,
                        "%s:%d: feed %s has groups on ports %s and %s, which are polled by "
                        "different lcores; give both ports the same lcore",
                        c->file, c->feeds.at[f].file_line, c->feeds.at[f].name, first,
                        c->ports.at[p].name);
                owner = (int)w->port[p].lcore;
                first = c->ports.at[p].name;
            }
        d->feeds[f].rx = owner < 0 ? 0 : (unsigned)owner;
    }
    return true;
}

bool wiring_eal(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    const struct config *c = d->config;
    struct eal_config e = {.memory_mb = (unsigned)(c->dpdk_memory >> 20),
                           .argument = c->dpdk_arguments.at,
                           .n_arguments = (int)c->dpdk_arguments.count,
                           .no_hugepages = c->hugepages == CONFIG_HUGE_OFF};
    bool any = false;
    snprintf(w->eal.text, sizeof w->eal.text, "no DPDK port");
    for (unsigned p = 0; !d->replay && p < w->nports; p++) {
        enum port_kind kind;
        const char *device;
        if (!port_device_parse(w->port[p].config->device, &kind, &device, err))
            return false;
        if (kind != PORT_DPDK)
            continue;
        any = true;
        struct wiring_lcore *l = &w->lcore[w->port[p].lcore];
        if (l->cpu >= 0 && !l->dpdk) {
            l->dpdk = true;
            e.cpus[e.n_cpus++] = l->cpu;
        }
        if (strncmp(device, "net_", 4) && strncmp(device, "eth_", 4) && e.n_pci < EAL_PCI_MAX)
            e.pci[e.n_pci++] = device;
    }
    if (!any)
        return true;
    house_leave();
    bool started = eal_start(&e, &w->eal, err);
    house_enter(c);
    if (!started)
        return false;
    if (c->hugepages == CONFIG_HUGE_ON && !w->eal.hugepages)
        return err_set(err, -ENOMEM,
                       "hugepages: on, but there are none free: sysctl -w "
                       "vm.nr_hugepages=%u",
                       w->eal.memory_mb / 2);
    return true;
}

void wiring_eal_stop(void)
{
    if (eal_started())
        eal_stop();
}

static bool routes(struct daemon *d, struct wiring_port *p, struct port_group *joins,
                   unsigned *njoins, struct err *err)
{
    const struct config_port *x = p->config;
    p->cap = x->groups.count + 64;
    p->route = calloc(p->cap, sizeof *p->route);
    p->any = GROUP_NONE;
    if (!p->route)
        return err_set(err, -ENOMEM, "port %s: no memory for its groups", x->name);
    for (unsigned g = 0; g < x->groups.count; g++) {
        const struct config_group *k = &x->groups.at[g];
        int feed = -1;
        for (unsigned f = 0; f < d->nfeeds; f++)
            if (!strcmp(d->feeds[f].config->name, k->feed))
                feed = (int)f;
        int line = feed < 0 ? -1 : wiring_line(d, (unsigned)feed, k->line);
        if (line < 0)
            return err_set(err, -EINVAL, "%s:%d: port %s: no feed %s with a line %s",
                           d->config->file, k->file_line, x->name, k->feed, k->line);
        uint16_t route = RX_ROUTE((unsigned)feed, (unsigned)line);
        joins[(*njoins)++] = (struct port_group){k->group.address, k->group.port, k->source};
        if (!k->group.address) {
            p->any = route;
            continue;
        }
        bool known = false; /* one group from several senders: one route */
        for (unsigned i = 0; i < p->nroutes; i++)
            known |= p->route[i].ip == k->group.address && p->route[i].port == k->group.port;
        if (!known)
            p->route[p->nroutes++] = (struct group_route){k->group.address, k->group.port, route};
    }
    return groups_init(&p->groups, p->route, (int)p->nroutes, p->any, err);
}

static bool multicast(uint32_t ip)
{
    return ip >> 28 == 0xE;
}

static bool join(struct daemon *d, struct wiring_port *p, const struct port_group *joins,
                 unsigned njoins, struct err *err)
{
    const struct config_port *x = p->config;
    if (x->membership != CONFIG_JOIN_KERNEL || d->replay)
        return true;
    if (!x->interface)
        return err_set(err, -EINVAL, "%s:%d: port %s: membership: kernel needs `interface`",
                       d->config->file, x->file_line, x->name);
    p->membership = membership_open(MEMBERSHIP_KERNEL, x->interface, err);
    for (unsigned i = 0; p->membership && i < njoins; i++)
        if (multicast(joins[i].ip) &&
            !membership_join(p->membership, joins[i].ip, joins[i].source, err))
            return false;
    return p->membership != NULL;
}

/* The kernel interface behind a port, for its link state; NULL = not known. */
static const char *interface_of(const struct config_port *x, char *buf, size_t cap)
{
    if (x->interface)
        return x->interface;
    const char *i = strstr(x->device, "iface=");
    if (!i)
        return NULL;
    snprintf(buf, cap, "%.*s", (int)strcspn(i + 6, ","), i + 6);
    return buf;
}

static bool open_port(struct daemon *d, unsigned i, const char *replay_file, struct err *err)
{
    struct wiring_port *p = &d->wiring->port[i];
    const struct config_port *x = p->config;
    struct status_port *s = &d->status->ports[i];
    struct port_group *joins = calloc(x->groups.count + 1, sizeof *joins);
    unsigned njoins = 0;
    bool ok = joins && routes(d, p, joins, &njoins, err);
    struct port_config c = {
        .name = x->name,
        .rx_descriptors = (int)x->rx_descriptors,
        .mtu = (int)x->mtu,
        .promiscuous = x->promiscuous,
        .want_hw_timestamp = x->hw_timestamp,
        .lcore = (int)x->lcore,
        .checksum = (enum checksum_policy)x->checksum,
        .now = port_clock,
        .now_arg = &d->clock,
        .groups = joins,
        .n_groups = (int)njoins,
    };
    if (ok && replay_file) {
        c.kind = PORT_PCAP;
        c.device = replay_file;
    } else if (ok) {
        ok = port_device_parse(x->device, &c.kind, &c.device, err);
        if (c.kind == PORT_SOCKET)
            c.device = x->interface;
    }
    ok = ok && (p->port = port_open(&c, err)) && join(d, p, joins, njoins, err);
    free(joins);
    if (!ok)
        return false;
    snprintf(s->name, sizeof s->name, "%s", x->name);
    snprintf(s->device, sizeof s->device, "%s", replay_file ? replay_file : x->device);
    s->lcore = (uint16_t)(x->lcore < 0 ? 0xFFFF : x->lcore);
    store_relaxed(&s->link, 2);
    d->status->n_ports = i + 1;
    return rx_add_port(&d->wiring->lcore[p->lcore].rx, p->port, &p->groups, s,
                       (enum checksum_policy)x->checksum, (uint32_t)x->mtu, err);
}

/* Does a feed of this lcore have its tables in another calendar than `undecoded`? */
static bool wiring_split(const struct daemon *d, unsigned lcore)
{
    bool split = false;
    for (unsigned f = 0; f < d->nfeeds; f++)
        split |= d->feeds[f].rx == lcore && wiring_feed_split(d, d->feeds[f].config);
    return split;
}

/* The first lcore feeds the appender, each further one its own inject ring. */
static bool start_lcore(struct daemon *d, unsigned i, struct err *err)
{
    struct wiring *w = d->wiring;
    struct wiring_lcore *l = &w->lcore[i];
    struct rx_config rc = {.status = d->status,
                           .clock = &d->clock,
                           .symbols = &d->symbols,
                           .days = &w->appender.days,
                           .split = wiring_split(d, i),
                           .shared = w->nlcores > 1};
    if (i == 0) {
        rc.appender = &w->appender;
    } else {
        struct inject_rows_config ic = {.q = &l->inject,
                                        .known = &d->symbols,
                                        .schemas = d->schemas,
                                        .status = d->status,
                                        .symbols = (uint32_t)d->config->symbols_max,
                                        .max_new_symbols = (uint32_t)d->config->max_new_symbols,
                                        .days = &w->appender.days,
                                        .owners = &w->owners};
        struct inject_options io = {.max_new_symbols = (uint32_t)d->config->max_new_symbols,
                                    .symbols = (uint32_t)d->config->symbols_max,
                                    .lossless = true};
        if (!inject_create(&l->inject, INJECT_RX_BYTES, err) ||
            !appender_add_inject(&w->appender, &l->inject, (uint16_t)(i + 1), &io, err) ||
            !inject_rows_init(&l->rows, &ic, err))
            return false;
        rc.inject = &l->rows;
    }
    if (!rx_init(&l->rx, &rc, err))
        return false;
    for (unsigned f = 0; f < d->nfeeds; f++)
        if (d->feeds[f].rx == i) {
            rx_add_feed(&l->rx, d->feeds[f].feed, f);
            d->status->feeds[f].lcore = (uint16_t)(l->cpu < 0 ? 0xFFFF : l->cpu);
        }
    return true;
}

bool wiring_ports(struct daemon *d, struct err *err)
{
    struct wiring *w = d->wiring;
    for (unsigned i = 0; i < w->nlcores; i++)
        if (!start_lcore(d, i, err))
            return false;
    for (unsigned i = 0; i < w->nports; i++)
        if (!open_port(d, i, d->replay_file, err))
            return false;
    return true;
}

/* ---- lcores as threads ---- */

static const struct thread_ops rx_ops = {.work = rx_round};

static int lcore_main(void *arg)
{
    thread_loop(arg);
    return 0;
}

bool wiring_start_rx(struct daemon *d, struct err *err)
{
    static const enum wait_kind waits[] = {WAIT_SPIN, WAIT_ADAPTIVE, WAIT_SLEEP};
    struct wiring *w = d->wiring;
    for (unsigned i = w->nlcores; i-- > 0;) { /* the appender last: its consumers are ready */
        struct wiring_lcore *l = &w->lcore[i];
        char name[16];
        snprintf(name, sizeof name, w->nports ? "rx%u" : "appender", i);
        enum wait_kind wait = w->nports                         ? waits[d->config->wait]
                              : d->config->wait == CONFIG_SLEEP ? WAIT_SLEEP
                                                                : WAIT_ADAPTIVE;
        bool turns = w->bells && !i;
        thread_define(&l->thread, d->status, name, turns ? &wiring_appender_ops : &rx_ops,
                      turns ? (void *)w : &l->rx, &d->clock, wait, topo_thread(name)->nice, l->cpu);
        if (!i)
            l->thread.bell = wiring_bell(d, &w->appender_bell, BELL_BATCH, -1);
        l->running = l->dpdk ? eal_launch(l->cpu, lcore_main, &l->thread, err)
                             : thread_start(&l->thread, err);
        if (!l->running)
            return false;
    }
    if (w->bells)
        wiring_turn_open(w);
    return true;
}

static void join_lcores(struct wiring *w)
{
    wiring_turn_close(w);
    for (unsigned i = 0; i < w->nlcores; i++)
        store_release(&w->lcore[i].thread.stop, true);
    for (unsigned i = 0; i < w->nlcores; i++) {
        struct wiring_lcore *l = &w->lcore[i];
        if (!l->running)
            continue;
        if (l->dpdk)
            eal_join(l->cpu);
        else
            thread_stop(&l->thread);
        l->running = false;
    }
}

/* The lcores have ended, so this thread may act in their place: what feeds hold goes out, then what
 * the inject rings hold, then the end mark. The log thread still runs and makes room. */
/* A replay's last word: every date that has rows ends here. The lcores stand still, so this thread
 * is the appender. */
static void wiring_end_all(struct daemon *d)
{
    struct wiring *w = d->wiring;
    int32_t last = 0;
    for (uint32_t i = 0; i < status_sessions(d->status); i++)
        if (*status_session_text(&d->status->sessions[i]) && d->status->sessions[i].day > last)
            last = d->status->sessions[i].day;
    for (unsigned i = 0; i < wiring_calendars(d); i++) {
        struct wiring_calendar c;
        struct err err;
        uint64_t ticket, position;
        for (wiring_calendar(d, i, &c); c.open <= c.newest || c.open <= last;
             wiring_calendar(d, i, &c)) {
            if (!wiring_end_day(d, i, c.open, "end of replay", &ticket, &err)) {
                fprintf(stderr, "penstockd: %s\n", err.text);
                break;
            }
            int64_t deadline = clock_monotonic() + 10 * NS_PER_S;
            while (wiring_day_ended(d, ticket, &position) == WIRING_ENDING &&
                   clock_monotonic() < deadline) {
                appender_begin(&w->appender, clock_now(&d->clock));
                if (!appender_take(&w->appender, 1 << 20))
                    nanosleep(&(struct timespec){0, 200000}, NULL); /* the log makes room */
            }
            bool ended = c.open == c.newest && c.open >= last;
            if (ended)
                break;
        }
    }
}

void wiring_stop_rx(struct daemon *d)
{
    struct wiring *w = d->wiring;
    join_lcores(w);
    int64_t deadline = clock_monotonic() + 10 * NS_PER_S;
    bool done = false;
    while (!done && clock_monotonic() < deadline) {
        int64_t now = clock_now(&d->clock);
        appender_begin(&w->appender, now);
        done = true;
        for (unsigned i = w->nlcores; i-- > 0;) {
            struct rx *rx = &w->lcore[i].rx;
            for (unsigned f = 0; f < rx->nfeeds; f++)
                done &= !rx->feed[f] || feed_flush(rx->feed[f], now, rx->out);
            if (i > 0)
                inject_rows_flush(&w->lcore[i].rows);
        }
        appender_flush(&w->appender);
        inject_rows_flush(&w->control_rows);
        done &= !appender_take(&w->appender, 1 << 20);
        if (!done)
            nanosleep(&(struct timespec){0, 200000}, NULL);
    }
    if (d->end_days)
        wiring_end_all(d);
    if (!appender_end(&w->appender, d->replay ? "replay" : "stop"))
        fprintf(stderr, "penstockd: no room for the end mark: the log cannot write\n");
}

bool wiring_rx_ended(const struct daemon *d)
{
    for (unsigned i = 0; i < d->wiring->nlcores; i++)
        if (!load_acquire(&d->wiring->lcore[i].rx.finished))
            return false;
    return d->wiring->nports > 0;
}

/* ---- while it runs ---- */

/* Asked through a socket, not /sys: that may show another network namespace's interfaces. */
static void link_state(struct wiring *w, struct wiring_port *p, struct status_port *s)
{
    char name[64];
    struct ifreq r = {0};
    const char *i = interface_of(p->config, name, sizeof name);
    if (!i)
        return;
    if (w->link_fd <= 0)
        w->link_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(r.ifr_name, sizeof r.ifr_name, "%.15s", i);
    bool up = !ioctl(w->link_fd, SIOCGIFFLAGS, &r) && (r.ifr_flags & IFF_RUNNING);
    store_relaxed(&s->link, up ? 1u : 0u);
}

void wiring_port_tick(struct daemon *d)
{
    struct wiring *w = d->wiring;
    for (unsigned i = 0; i < w->nports; i++) {
        struct wiring_port *p = &w->port[i];
        struct status_port *s = &d->status->ports[i];
        if (!p->port)
            continue;
        if (port_stats(p->port, &p->stats)) {
            store_relaxed(&s->device_packets, p->stats.rx_packets);
            store_relaxed(&s->missed, p->stats.missed);
            store_relaxed(&s->nombuf, p->stats.nombuf);
            store_relaxed(&s->errors, p->stats.errors);
        }
        if (!d->replay)
            link_state(w, p, s);
        groups_reclaim(&p->groups);
        struct err err;
        if (p->membership && membership_poll(p->membership, &err) < 0)
            fprintf(stderr, "penstockd: port %s: %s\n", p->config->name, err.text);
    }
}

json_t *wiring_port_stats(const struct daemon *d)
{
    json_t *a = json_array();
    for (unsigned i = 0; i < d->wiring->nports; i++) {
        const struct wiring_port *p = &d->wiring->port[i];
        json_t *x = json_object();
        for (int k = 0; k < p->stats.nx; k++)
            json_object_set_new(x, p->stats.x[k].name,
                                json_integer((json_int_t)p->stats.x[k].value));
        json_array_append_new(
            a,
            json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:b,s:o}", "name", p->config->name, "describe",
                      p->port ? port_describe(p->port) : "", "rx_packets",
                      (json_int_t)p->stats.rx_packets, "missed", (json_int_t)p->stats.missed,
                      "nombuf", (json_int_t)p->stats.nombuf, "errors", (json_int_t)p->stats.errors,
                      "missed_known", p->stats.missed_known, "device", x));
    }
    return a;
}

unsigned wiring_rx_count(const struct wiring *w)
{
    return w->nlcores;
}
const char *wiring_eal_text(const struct wiring *w)
{
    return w->eal.text;
}

bool wiring_feed_command(struct daemon *d, unsigned feed, int line, const char *verb,
                         struct err *err)
{
    static const struct {
        const char *verb;
        enum feed_command what;
        bool line;
    } verbs[] = {{"pause", FEED_PAUSE, false},
                 {"resume", FEED_RESUME, false},
                 {"reset-session", FEED_RESET_SESSION, false},
                 {"on", FEED_LINE_ON, true},
                 {"off", FEED_LINE_OFF, true}};
    for (unsigned i = 0; i < PST_COUNT(verbs); i++) {
        if (strcmp(verbs[i].verb, verb) || verbs[i].line != (line >= 0))
            continue;
        struct command c = {.feed = (uint16_t)feed,
                            .line = (uint8_t)(line < 0 ? 0 : line),
                            .what = (uint8_t)verbs[i].what};
        struct command_ring *r = &d->wiring->lcore[d->feeds[feed].rx].rx.commands;
        uint64_t ticket = command_send(r, &c);
        bool ok = false;
        int64_t deadline = clock_monotonic() + NS_PER_S;
        while (ticket && !command_done(r, ticket, &ok) && clock_monotonic() < deadline)
            nanosleep(&(struct timespec){0, 50000}, NULL);
        return ok || err_set(err, -EAGAIN,
                             "feed %s did not take '%s' (its lcore is busy or the ring "
                             "is full); try again",
                             d->status->feeds[feed].name, verb);
    }
    return err_set(err, -EINVAL, "what is '%.40s'? %s", verb,
                   line < 0 ? "a feed takes pause, resume or reset-session"
                            : "a line takes on or off");
}

bool wiring_group_add(struct daemon *d, const char *feed, const char *line, const char *group,
                      const char *source, struct err *err)
{
    struct wiring *w = d->wiring;
    int f = -1;
    for (unsigned i = 0; i < d->nfeeds; i++)
        if (!strcmp(d->feeds[i].config->name, feed))
            f = (int)i;
    int l = f < 0 ? -1 : wiring_line(d, (unsigned)f, line);
    if (l < 0)
        return err_set(err, -EINVAL, "no feed %.40s with a line %.40s", feed, line);
    char ip[32];
    const char *colon = strchr(group, ':');
    struct in_addr a, s = {0};
    snprintf(ip, sizeof ip, "%.*s", colon ? (int)(colon - group) : 0, group);
    int port = colon ? atoi(colon + 1) : 0;
    if (inet_pton(AF_INET, ip, &a) != 1 || port < 1 || port > 65535 ||
        (source && inet_pton(AF_INET, source, &s) != 1))
        return err_set(err, -EINVAL, "a group is a.b.c.d:port, a source a.b.c.d");
    /* The feed's own port: the first of its lcore that already serves it, else any of that lcore.
     */
    struct wiring_port *p = NULL;
    for (unsigned i = 0; i < w->nports; i++) {
        bool serves = false;
        for (unsigned g = 0; g < w->port[i].nroutes; g++)
            serves |= w->port[i].route[g].route / STATUS_LINES == (unsigned)f &&
                      w->port[i].route[g].route % STATUS_LINES == (unsigned)l;
        if (w->port[i].lcore == d->feeds[f].rx && (serves || !p))
            p = &w->port[i];
    }
    if (!p)
        return err_set(err, -EINVAL, "no port is polled by the lcore of feed %s", feed);
    if (p->nroutes == p->cap)
        return err_set(err, -E2BIG, "port %s takes no more groups without a restart",
                       p->config->name);
    for (unsigned i = 0; i < p->nroutes; i++)
        if (p->route[i].ip == ntohl(a.s_addr) && p->route[i].port == port)
            return err_set(err, -EEXIST, "port %s takes %s already", p->config->name, group);
    if (p->membership && multicast(ntohl(a.s_addr)) &&
        !membership_join(p->membership, ntohl(a.s_addr), ntohl(s.s_addr), err))
        return false;
    p->route[p->nroutes] =
        (struct group_route){ntohl(a.s_addr), (uint16_t)port, RX_ROUTE((unsigned)f, (unsigned)l)};
    if (!groups_replace(&p->groups, p->route, (int)p->nroutes + 1, p->any, err))
        return false;
    p->nroutes++;
    return true;
}

void wiring_close_ports(struct daemon *d)
{
    struct wiring *w = d->wiring;
    join_lcores(w);
    for (unsigned i = 0; i < w->nports; i++) {
        struct wiring_port *p = &w->port[i];
        port_close(p->port);
        if (p->route)
            groups_fini(&p->groups);
        free(p->route);
        if (p->membership)
            membership_close(p->membership);
    }
    if (w->link_fd > 0)
        close(w->link_fd);
    wiring_eal_stop();
    for (unsigned i = 0; i < d->nfeeds; i++)
        feed_close(d->feeds[i].feed);
    for (unsigned i = 1; i < w->nlcores; i++) {
        inject_rows_fini(&w->lcore[i].rows);
        inject_destroy(&w->lcore[i].inject);
    }
}
