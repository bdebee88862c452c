/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_plan.c - what this configuration will use: the ring in seconds, memory, disk a day,
 * positions. Printed first; the findings follow from it.
 *
 * Stated assumptions, each printed: a message is 80 bytes in the journal (an ITCH order as a
 * record, as in config_ring_bytes); its average rate over the feeds' hours is a twentieth of
 * peak_rate (measured feeds: 1-second peaks of 20 to 100 times the day's mean). In memory it is 100
 * bytes.
 */
#include "check_report.h"
#include "print.h"

#define MESSAGE_BYTES 80
#define ROW_BYTES     100 /* of an ITCH order in columns, with feed columns and row list */
#define PEAK_TO_MEAN  20
#define LEASE         (1ull << 40)
#define HISTORY_BYTES (256u << 10) /* a session's recent bytes, dataplane/feed.h */
#define COMMIT_BUFFER (1u << 20)
#define SYMBOL_BYTES  44u /* entry 8, hash up to 12, text 24: core/symbols.c */
#define STATUS_BYTES  (8u << 20)
#define MONDAY        2 /* 2000-01-03 */
#define DAY_NS        86400000000000ll

uint64_t check_huge_bytes(const struct check *k)
{
    uint64_t need = config_ring_bytes(k->config) + (2u << 20); /* and the ring's head */
    for (uint32_t i = 0; i < k->config->ports.count; i++)
        if (check_port_dpdk(&k->config->ports.at[i]))
            return need + (uint64_t)k->config->dpdk_memory;
    return need;
}

/* Seconds of the week's busiest day in which any feed speaks. */
static int64_t open_seconds(const struct config *c)
{
    int64_t best = 0;
    if (!c->feeds.count)
        return 86400;
    for (int d = 0; d < 7; d++) {
        int64_t open = 0;
        for (int64_t m = 0; m < 1440; m++) {
            int64_t t = (MONDAY + d) * DAY_NS + m * 60000000000ll;
            bool any = false;
            for (uint32_t f = 0; f < c->feeds.count && !any; f++)
                any = hours_open(&c->feeds.at[f].open_hours, t);
            open += any ? 60 : 0;
        }
        best = open > best ? open : best;
    }
    return best;
}

static uint64_t feed_bytes(const struct config_feed *f)
{
    uint64_t history = f->lines.count == 1 ? 0 : (uint64_t)f->max_sessions * HISTORY_BYTES;
    return (uint64_t)f->window_bytes + history;
}

/* Memory for rows: two days are in it at an end of day, and memory of the machine is to be four
 * times a day's rows (kdb+'s rule for an RDB; ours needs no copies, but queries and caches do). */
static void plan_rdb(struct check *k, int64_t have)
{
    const struct config *c = k->config;
    uint64_t rdb = config_rdb_bytes(c, have > 0 ? (uint64_t)have : 0);
    double day = (double)(c->peak_rate / PEAK_TO_MEAN) * ROW_BYTES * (double)open_seconds(c);
    double days = day > 0 ? (double)rdb / day : 0;
    fprintf(k->plan, "  rdb        %s of memory hold %.1f days of %.1f GB%s\n",
            print_bytes((int64_t)rdb), days, day / 1e9,
            c->rdb_memory ? "" : " (half of the machine's; faulted in as rows come)");
    if (day > 0 && days < 2)
        FIND(k, PLAN_RDB, check_text(k, "%s", print_bytes((int64_t)rdb)),
             check_text(k, "%.1f", days), check_text(k, "%.0fG", 2 * day / (1 << 30) + 1));
    if (have > 0 && day * 4 > (double)have)
        FIND(k, PLAN_RAM, check_text(k, "%s", print_bytes(have)),
             check_text(k, "%.1f GB", day / 1e9));
    if (!c->database)
        FIND(k, PLAN_DATABASE);
}

/* What workers may use comes beside rows, ring and queries. */
static void plan_loader(struct check *k, int64_t have)
{
    if (k->config->load.file_line && !k->config->load.files.count)
        FIND(k, PLAN_LOAD_FILES);
    const struct config_load *l = &k->config->load;
    if (!l->file_line)
        return;
    int64_t large =
        l->large_worker && l->large_worker_memory ? l->large_worker_memory : l->worker_memory;
    int64_t all = (l->workers - 1) * l->worker_memory + large;
    fprintf(k->plan, "  loader     %lld workers, %s of memory at most\n", (long long)l->workers,
            print_bytes(all));
    if (have > 0 && all > have / 2)
        FIND(k, PLAN_LOADER, check_text(k, "%lld", (long long)l->workers),
             check_text(k, "%s", print_bytes(all)), check_text(k, "%s", print_bytes(have)));
}

static void plan_rtp(struct check *k, int64_t have)
{
    int64_t all = 0, processes = 0;
    for (uint32_t i = 0; i < k->config->rtp.count; i++) {
        processes += k->config->rtp.at[i].processes;
        all += k->config->rtp.at[i].processes * k->config->rtp.at[i].memory;
    }
    if (!processes)
        return;
    fprintf(k->plan, "  real time  %lld processes, %s of memory at most\n", (long long)processes,
            print_bytes(all));
    if (have > 0 && all > have / 2)
        FIND(k, PLAN_RTP, check_text(k, "%s", print_bytes(all)),
             check_text(k, "%s", print_bytes(have)));
}

static void plan_memory(struct check *k, uint64_t ring)
{
    const struct config *c = k->config;
    uint64_t huge = check_huge_bytes(k),
             dpdk = huge > ring + (2u << 20) ? (uint64_t)c->dpdk_memory : 0;
    uint64_t symbols = (uint64_t)c->symbols_max * SYMBOL_BYTES, feeds = 0;
    for (uint32_t i = 0; i < c->feeds.count; i++)
        feeds += feed_bytes(&c->feeds.at[i]);
    uint64_t buffers = 2 * ((uint64_t)c->log_depth + 2) * COMMIT_BUFFER;
    uint64_t total =
        ring + symbols + feeds + dpdk + buffers + STATUS_BYTES + (uint64_t)c->rdb_memory;
    int64_t have = check_meminfo(k, "MemTotal"), left = check_meminfo(k, "MemAvailable");
    /* hugepages that are set aside are not "available", and ring and packets would lie there */
    int64_t size = check_meminfo(k, "Hugepagesize");
    char n[32];
    if (left >= 0 && c->hugepages != CONFIG_HUGE_OFF && size > 0) {
        int64_t free_huge = check_meminfo(k, "HugePages_Free") / 1024 * size;
        left += free_huge < (int64_t)huge ? free_huge : (int64_t)huge;
    }
    const char *why = "MemTotal of /proc/meminfo";
    if (check_read(k, n, sizeof n, "/sys/fs/cgroup/memory.max") && n[0] >= '0' && n[0] <= '9' &&
        (have < 0 || strtoll(n, NULL, 10) < have)) {
        have = strtoll(n, NULL, 10);
        left = left > have ? have : left;
        why = "memory.max of the control group";
    }
    fprintf(k->plan, "  memory     %s = ring %s", print_bytes((int64_t)total),
            print_bytes((int64_t)ring));
    fprintf(k->plan, " + symbols %s (%s)", print_bytes((int64_t)symbols),
            print_count(c->symbols_max));
    fprintf(k->plan, " + feed windows %s", print_bytes((int64_t)feeds));
    fprintf(k->plan, " + packets %s", print_bytes((int64_t)dpdk));
    fprintf(k->plan, " + log buffers %s", print_bytes((int64_t)buffers));
    fprintf(k->plan, " + status %s", print_bytes(STATUS_BYTES));
    if (c->rdb_memory)
        fprintf(k->plan, " + rdb %s", print_bytes(c->rdb_memory));
    if (have >= 0)
        fprintf(k->plan, "; the machine has %s, %s available", print_bytes(have),
                print_bytes(left));
    fputc('\n', k->plan);
    if (have >= 0 && total > (uint64_t)have)
        FIND(k, PLAN_MEMORY, check_text(k, "%s", print_bytes((int64_t)total)),
             check_text(k, "%s", print_bytes(have)), why);
    else if (left >= 0 && total > (uint64_t)left)
        FIND(k, PLAN_MEMORY_TIGHT, check_text(k, "%s", print_bytes((int64_t)total)),
             check_text(k, "%s", print_bytes(left)));
    plan_rdb(k, have);
    plan_loader(k, have);
    plan_rtp(k, have);
}

static void plan_disk(struct check *k)
{
    const struct config *c = k->config;
    int64_t mean = c->peak_rate / PEAK_TO_MEAN, open = open_seconds(c);
    double day = (double)mean * MESSAGE_BYTES * (double)open;
    struct check_disk disk;
    fprintf(
        k->plan,
        "  disk       %.1f GB a day at an average of %s messages/s (peak_rate / %d) over %.1f h",
        day / 1e9, print_count(mean), PEAK_TO_MEAN, (double)open / 3600);
    if (!k->machine->disk(c->log_directory, &disk)) {
        fputs("; free space unknown\n", k->plan);
        return;
    }
    double spare = (double)disk.free - (double)c->log_low_space;
    double days = day > 0 && spare > 0 ? spare / day : 0;
    fprintf(k->plan, "; %s free in %s last %.1f days (%s are kept)\n",
            print_bytes((int64_t)disk.free), disk.existing, days, print_bytes(c->log_low_space));
    if (day > 0 && days < 2)
        FIND(k, PLAN_DISK, c->log_directory, check_text(k, "%.1f", days),
             check_text(k, "%.1f GB", day / 1e9));
}

void check_plan(struct check *k)
{
    /* The plan stands whole above what was found in it. */
    char *found = NULL;
    size_t size = 0;
    k->plan = k->out;
    k->out = open_memstream(&found, &size);
    pst_must(k->out);
    const struct config *c = k->config;
    uint64_t ring = config_ring_bytes(c);
    double rate = (double)c->peak_rate * MESSAGE_BYTES, seconds = (double)ring / rate;
    fprintf(k->plan, "plan of %s (%s)\n", c->instance, c->file);
    fprintf(k->plan, "  ring       %s = %.1f s at peak_rate, %s messages/s of %d bytes\n",
            print_bytes((int64_t)ring), seconds, print_count(c->peak_rate), MESSAGE_BYTES);
    plan_memory(k, ring);
    plan_disk(k);
    fprintf(k->plan,
            "  positions  a lease of 1 TiB is renewed every %.1f h at peak_rate; 64 bits last %s "
            "years\n",
            (double)LEASE / 2 / rate / 3600, print_count((int64_t)(0x1p64 / rate / 31557600)));
    fprintf(
        k->plan, "  threads    %d receive lcore%s (CPU %s), log, rdb, writedown, ledger, control\n",
        cpus_count(&k->lcores), cpus_count(&k->lcores) == 1 ? "" : "s", cpus_text(k, &k->lcores));
    if (seconds < 2) {
        uint64_t want = 1u << 20;
        while ((double)want < 2 * rate)
            want <<= 1;
        FIND(k, PLAN_RING, check_text(k, "%.2f s", seconds),
             check_text(k, "%lluM", (unsigned long long)(want >> 20)));
    }
    fclose(k->out);
    k->out = k->plan;
    fputs(found, k->out);
    free(found);
}
