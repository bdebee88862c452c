/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"
#include "figures.h"
#include "helper.h"
#include "loading.h"
#include "query_pool.h"
#include "rtp/rtp.h"
#include "topo.h"
#include "wiring.h"

const struct topo_thread topo_threads[] = {
    /* name      core         blocks nice  does */
    {"rx", CORE_PINNED, false, 0,
     "polls its ports, arbitrates, decodes; the first is the appender and alone writes the "
     "journal"},
    {"appender", CORE_HOUSE, false, 0,
     "writes the journal when no port is configured (a plain tickerplant)"},
    {"log", CORE_HOUSE, true, -10, "journal to files: io_uring, durability, retries, rolls"},
    {"rdb", CORE_HOUSE, true, -5,
     "frames to columns in memory; may be behind, nobody waits for it"},
    {"writedown", CORE_HOUSE, true, 15, "ended days to partitions of the database, then published"},
    {"disk", CORE_HOUSE, true, 5,
     "one for each directory: free space, time until full; what is kept in state_directory"},
    {"publish", CORE_HOUSE, false, -5,
     "frames to subscribers' sockets, updates of publishers to the journal; reads no file"},
    {"catchup", CORE_HOUSE, true, 5,
     "subscribers that are behind or start in the past, from the log; the live kdb+ log"},
    {"ledger", CORE_HOUSE, true, 5, "counts every frame of the journal, from ring and files"},
    {"errors", CORE_HOUSE, true, 10,
     "refused batches and undecodable messages, with the reason, to the error log; the access log"},
    {"auth", CORE_HOUSE, true, 5,
     "password checks (auth_rate), TLS handshakes, groups of unix peers; reloads the users file"},
    {"upstream", CORE_HOUSE, true, 0,
     "subscribes to subscription_channel: another tickerplant's rows and marks to the journal"},
    {"loader", CORE_HOUSE, true, 10,
     "batches of files into the database: watches staging directories, gives tasks to workers"},
    {"rtp", CORE_HOUSE, false, 0,
     "real-time processes: starts and watches them, streams' subscriptions, derived rows to the "
     "journal, monCPU"},
    {"control", CORE_HOUSE, true, 0, "socket, timers, alarms, configuration, signals"},
};
const unsigned topo_thread_count = PST_COUNT(topo_threads);

const struct topo_process topo_processes[] = {
    {"penstock-helper", 0, "penstockd",
     "the only process that penstockd starts, before the EAL: starts the others, runs alarm_exec "
     "and post_save_exec",
     "started again by its launcher; without that too: no queries, no commands, alarm helper.gone"},
    {"penstock-query", 10, "penstock-helper",
     "one query at a time, SQL and plugins, in a sandbox: reads sealed memory and the database, "
     "writes nothing",
     "its query fails with the reason and it is started again"},
    {"penstock-load", 15, "penstock-helper",
     "reads, indexes and merges files of one batch: writes to its own directories only",
     "its task is tried again in a fresh one"},
    {"penstock-rtp", 5, "penstock-helper",
     "streaming analytics and processors of a group (rtp): reads the sealed ring, the log and "
     "memory, writes nothing but to its socket",
     "it is started again, goes on where its rows ended, and its streams get a new state"},
};
const unsigned topo_process_count = PST_COUNT(topo_processes);

const struct topo_ring topo_rings[] = {
    {"journal", "rx (the appender)",
     "log (holds it back), rdb, ledger, attached readers (never do)",
     "ports are not polled: the NIC drops, counts, and the gap is a row"},
    {"inject.control", "control", "rx (the appender)", "publishers wait; marks are tried again"},
    {"inject.publish", "each publish thread", "rx (the appender)",
     "that thread does not read on from publishers until there is room"},
    {"inject.upstream", "upstream", "rx (the appender)", "it does not read on from its upstream"},
    {"inject.loader", "loader", "rx (the appender)", "symbols of a batch wait until there is room"},
    {"inject.rtp", "rtp", "rx (the appender)",
     "rows of processors wait in their process, which reads no further"},
    {"inject.rx", "each further rx lcore", "rx (the appender)",
     "that lcore's ports are not polled: its NIC drops, and the gap is a row (inject_full)"},
    {"command.rx", "control", "each rx lcore", "the command is refused with a sentence"},
};
const unsigned topo_ring_count = PST_COUNT(topo_rings);

const struct topo_thread *topo_thread(const char *name)
{
    size_t n = strcspn(name, "0123456789");
    for (unsigned i = 0; i < topo_thread_count; i++)
        if (strlen(topo_threads[i].name) == n && !strncmp(topo_threads[i].name, name, n))
            return &topo_threads[i];
    return NULL;
}

static void ring_rows(const struct daemon *d, json_t *rings, const struct topo_ring *t)
{
    unsigned copies = !strcmp(t->name, "inject.rx")        ? wiring_rx_count(d->wiring) - 1
                      : !strcmp(t->name, "command.rx")     ? wiring_rx_count(d->wiring)
                      : !strcmp(t->name, "inject.publish") ? (unsigned)d->config->ipc.threads
                                                           : 1;
    uint64_t bytes = wiring_ring_bytes(d, t->name);
    bool optional = !strcmp(t->name, "inject.upstream") || !strcmp(t->name, "inject.loader") ||
                    !strcmp(t->name, "inject.rtp");
    if (optional && !bytes)
        return;
    for (unsigned i = 0; i < copies && i < DAEMON_RX_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, copies > 1 ? "%s%u" : "%s", t->name, i);
        json_array_append_new(rings, json_pack("{s:s,s:I,s:s,s:s,s:s}", "name", name, "bytes",
                                               (json_int_t)bytes, "producer", t->producer,
                                               "consumers", t->consumers, "full", t->full));
    }
}

static json_t *processes(const struct daemon *d)
{
    json_t *list = json_array();
    for (unsigned k = 0; k < topo_process_count; k++) {
        const struct topo_process *t = &topo_processes[k];
        json_t *pids = json_array();
        if (k == 0 && helper_alive(d->helper))
            json_array_append_new(pids, json_integer(helper_pid(d->helper)));
        else if (k == 1 && d->queries)
            query_pool_pids(d->queries, pids);
        else if (k == 2)
            loading_pids(d->loading, pids);
        else if (k == 3)
            rtp_pids(d, pids);
        json_array_append_new(list, json_pack("{s:s,s:i,s:s,s:s,s:s,s:o}", "name", t->name, "nice",
                                              t->nice, "parent", t->parent, "does", t->does,
                                              "when_gone", t->when_gone, "pids", pids));
    }
    return list;
}

json_t *topo_json(const struct daemon *d)
{
    json_t *threads = figures_threads(d->status), *rings = json_array(), *t;
    size_t i;
    json_array_foreach(threads, i, t)
    {
        const struct topo_thread *row = topo_thread(json_string_value(json_object_get(t, "name")));
        if (!row)
            continue;
        json_object_set_new(t, "class", json_string(row->core == CORE_PINNED ? "pinned" : "house"));
        json_object_set_new(t, "may_block", json_boolean(row->may_block));
        json_object_set_new(t, "nice", json_integer(row->nice));
        json_object_set_new(t, "does", json_string(row->does));
    }
    for (unsigned k = 0; k < topo_ring_count; k++)
        ring_rows(d, rings, &topo_rings[k]);
    return json_pack("{s:i,s:s,s:o,s:o,s:o,s:o}", "pid", (int)d->status->pid, "eal",
                     wiring_eal_text(d->wiring), "threads", threads, "processes", processes(d),
                     "rings", rings, "ports", figures_ports(d->status, &d->rates));
}
