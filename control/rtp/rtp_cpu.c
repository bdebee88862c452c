/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Table monCPU: what each thread of penstockd, and each real-time process, used of its CPU since
 * the row before. Figures of the kernel: /proc/…/schedstat (ns that it ran), stat, status.
 */
#include <fcntl.h>
#include <unistd.h>
#include "core/derived.h"
#include "rtp_parts.h"

#define TICK_NS 10000000ull /* USER_HZ is 100 on every Linux */

static bool read_file(const char *path, char buf[4096])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, 4095) : -1;
    if (fd >= 0)
        close(fd);
    buf[n > 0 ? n : 0] = 0;
    return n > 0;
}

struct figures {
    struct rtp_cpu c;
    int32_t core;
    int64_t memory;
};

/* A process's threads run together: its own schedstat is that of its first. */
static bool look(pid_t id, bool process, struct figures *f)
{
    char path[80], buf[4096];
    const char *base = process ? "/proc" : "/proc/self/task";
    *f = (struct figures){.c = {.id = id, .process = process}, .memory = PST_NULL_LONG};
    snprintf(path, sizeof path, "%s/%d/stat", base, (int)id);
    if (!read_file(path, buf))
        return false;
    /* the name may hold anything: fields count from its last ) */
    const char *p = strrchr(buf, ')');
    unsigned field = 2;
    for (p = p ? p + 1 : buf + strlen(buf); *p; p++) {
        if (*p != ' ')
            continue;
        field++;
        if (field == 14)
            f->c.user = strtoull(p + 1, NULL, 10);
        else if (field == 15)
            f->c.system = strtoull(p + 1, NULL, 10);
        else if (field == 39)
            f->core = (int32_t)strtol(p + 1, NULL, 10);
    }
    f->c.ran_ns = (f->c.user + f->c.system) * TICK_NS;
    snprintf(path, sizeof path, "%s/%d/schedstat", base, (int)id);
    if (!process && read_file(path, buf))
        f->c.ran_ns = strtoull(buf, NULL, 10);
    snprintf(path, sizeof path, "%s/%d/status", base, (int)id);
    if (read_file(path, buf)) {
        const char *s = strstr(buf, "\nnonvoluntary_ctxt_switches:"),
                   *m = strstr(buf, "\nRssAnon:");
        f->c.switches = s ? strtoull(s + 28, NULL, 10) : 0;
        if (process && m)
            f->memory = (int64_t)strtoull(m + 9, NULL, 10) * 1024;
    }
    return true;
}

static struct rtp_cpu *known(struct rtp *r, pid_t id, bool process)
{
    for (unsigned i = 0; i < r->ncpu; i++)
        if (r->cpu[i].id == id && r->cpu[i].process == process)
            return &r->cpu[i];
    return NULL;
}

/* A share in percent, to a thousandth: more digits are noise, and none that anybody reads. */
static void put_share(uint8_t *p, double v)
{
    v = (double)(int64_t)(v * 1000 + 0.5) / 1000;
    memcpy(p, &v, 8);
}

static void row(struct rtp *r, const struct schema *s, const char *name, const struct figures *f,
                const struct rtp_cpu *was, int64_t passed, int64_t time)
{
    struct inject_rows *w = &r->rows.w;
    const char *server = r->d->config->instance;
    uint32_t sym = rows_symbol(&w->rows, name, (uint32_t)strlen(name)),
             host = rows_symbol(&w->rows, server, (uint32_t)strlen(server));
    if (sym == SYMBOL_REFUSED || host == SYMBOL_REFUSED)
        return;
    double share = 100.0 / (double)passed;
    uint32_t bytes = (uint32_t)pst_align8(s->fixed);
    uint8_t *p = inject_rows_plain(w, bytes, 0);
    memset(p, 0, bytes);
    struct record head = {s->id, (uint16_t)bytes, sym, time};
    memcpy(p, &head, sizeof head);
    put32(p + s->col[MONCPU_SERVER].offset, host);
    put_share(p + s->col[MONCPU_CPU].offset, (double)(f->c.ran_ns - was->ran_ns) * share);
    put_share(p + s->col[MONCPU_USER].offset, (double)(f->c.user - was->user) * TICK_NS * share);
    put_share(p + s->col[MONCPU_SYSTEM].offset,
              (double)(f->c.system - was->system) * TICK_NS * share);
    put32(p + s->col[MONCPU_CORE].offset, (uint32_t)f->core);
    put64(p + s->col[MONCPU_MEMORY].offset, (uint64_t)f->memory);
    put64(p + s->col[MONCPU_SWITCHES].offset, f->c.switches - was->switches);
    inject_rows_plain_commit(w, bytes);
}

static void one(struct rtp *r, const struct schema *s, const char *name, pid_t id, bool process,
                int64_t passed, int64_t time)
{
    struct figures f;
    if (!id || !look(id, process, &f))
        return;
    struct rtp_cpu *was = known(r, id, process);
    f.c.seen = true;
    if (!was && r->ncpu < RTP_CPU_MAX) { /* its first row comes with the next round */
        r->cpu[r->ncpu++] = f.c;
        return;
    }
    if (!was)
        return;
    if (passed > 0 && f.c.ran_ns >= was->ran_ns)
        row(r, s, name, &f, was, passed, time);
    *was = f.c;
}

void rtp_cpu(struct rtp *r, int64_t now)
{
    const struct schema *s = schema_set_find(r->d->schemas, "monCPU");
    int64_t interval = r->d->config->mon_cpu;
    if (!interval || !s || now < r->cpu_at || inject_rows_room(&r->rows.w) < 256 * 1024)
        return;
    int64_t time = clock_now(&r->d->clock), passed = r->cpu_before ? now - r->cpu_before : 0;
    struct status *st = r->d->status;
    char name[64];
    r->cpu_before = now;
    r->cpu_at = r->cpu_at && now - r->cpu_at < interval ? r->cpu_at + interval : now + interval;
    for (unsigned i = 0; i < r->ncpu; i++)
        r->cpu[i].seen = false;
    one(r, s, "control", getpid(), false, passed, time); /* it is the process's first */
    uint32_t n = st->n_threads;                          /* all started before this one */
    for (uint32_t i = 0; i < n && i < STATUS_THREADS; i++)
        one(r, s, st->threads[i].name, (pid_t)load_relaxed(&st->threads[i].tid), false, passed,
            time);
    for (unsigned g = 0; g < r->pool.groups; g++)
        for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++) {
            snprintf(name, sizeof name, "%s/%u", r->pool.group[g].c->name, k);
            one(r, s, name, r->pool.group[g].process[k].pid, true, passed, time);
        }
    unsigned left = 0;
    for (unsigned i = 0; i < r->ncpu; i++) /* those that have gone are forgotten */
        if (r->cpu[i].seen)
            r->cpu[left++] = r->cpu[i];
    r->ncpu = left;
    inject_rows_flush(&r->rows.w);
}
