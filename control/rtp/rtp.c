/* SPDX-License-Identifier: Apache-2.0 */
/* The thread `rtp`: its life, its loop, and what it asks of control. */
#include "rtp.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "core/derived.h"
#include "query_sources.h"
#include "rtp_parts.h"
#include "topo.h"
#include "wiring_parts.h"

#define EVENT_WAKE    UINT32_MAX
#define EVENT_MANAGER (UINT32_MAX - 1)
#define SHOW_NS       (NS_PER_S / 2)
#define SOON_NS       (20 * NS_PER_MS) /* with news */

static void ring_bell(int fd)
{
    uint64_t one = 1;
    if (fd >= 0 && write(fd, &one, sizeof one) < 0 && errno != EAGAIN)
        fprintf(stderr, "penstockd: rtp: eventfd: %s\n", strerror(errno));
}

void rtp_need(struct rtp *r, enum rtp_need_kind kind, uint64_t life)
{
    struct rtp_need *n = calloc(1, sizeof *n);
    pst_must(n);
    *n = (struct rtp_need){.kind = kind, .life = life};
    pthread_mutex_lock(&r->lock);
    *r->needs_end = n;
    r->needs_end = &n->next;
    pthread_mutex_unlock(&r->lock);
    ring_bell(r->need);
}

void rtp_tell(struct rtp *r, struct rtp_news *n)
{
    pthread_mutex_lock(&r->lock);
    *r->news_end = n;
    r->news_end = &n->next;
    pthread_mutex_unlock(&r->lock);
    ring_bell(r->wake);
}

static void news_free(struct rtp_news *n)
{
    free(n->cut);
    free(n);
}

/* ---- hooks of the pool ---- */

static void spawn(void *arg, uint64_t life)
{
    rtp_need(arg, RTP_NEED_SPAWN, life);
}

static void want_cut(void *arg, uint64_t life)
{
    rtp_need(arg, RTP_NEED_CUT, life);
}

static void release(void *arg, uint64_t life)
{
    rtp_need(arg, RTP_NEED_RELEASE, life);
}

static json_t *attach(void *arg, int *fds, unsigned *nfds)
{
    struct rtp *r = arg;
    const struct config *c = r->d->config;
    char instance[24];
    json_t *directories = json_array();
    json_array_append_new(directories, json_string(c->log_directory));
    if (c->spill_directory)
        json_array_append_new(directories, json_string(c->spill_directory));
    snprintf(instance, sizeof instance, "%016llx", (unsigned long long)r->d->instance_id);
    memcpy(fds, r->fds, r->nfds * sizeof *fds);
    *nfds = r->nfds;
    return json_pack("{s:s,s:s,s:O,s:{s:o,s:s,s:b},s:o}", "zone", c->calendar.zone, "instance_id",
                     instance, "segments", r->segments, "log", "directories", directories, "prefix",
                     c->log_prefix, "synced", c->durability == CONFIG_DURABLE, "schemas",
                     query_sources_schemas(r->d));
}

/* Which calendar owns each table: a block of rows is of one. NULL: there is only one. */
static json_t *calendars(const struct rtp *r)
{
    if (wiring_calendars(r->d) < 2)
        return NULL;
    json_t *o = json_object();
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(r->d->schemas, id);
        struct wiring_calendar c;
        if (!s)
            continue;
        wiring_calendar(r->d, wiring_calendar_of_id(r->d, (uint16_t)id), &c);
        json_object_set_new(o, s->name, json_string(c.calendar->name));
    }
    return o;
}

/* Which tables the rows of each feed are of: a processor may need all of a session that lives on
 * over an end of day. */
static json_t *feeds(const struct rtp *r)
{
    const struct config *c = r->d->config;
    json_t *o = json_object();
    for (size_t i = 0; i < c->feeds.count; i++) {
        const struct decoder_ops *ops = wiring_decoder(&c->feeds.at[i]);
        json_t *list = json_array();
        for (unsigned k = 0; ops && k < ops->ntables; k++)
            json_array_append_new(list, json_string(ops->tables[k].name));
        json_object_set_new(o, c->feeds.at[i].name, list);
    }
    return o;
}

static json_t *start_facts(void *arg)
{
    struct rtp *r = arg;
    int32_t day = INT32_MAX;
    for (unsigned c = 0; c < wiring_calendars(r->d); c++) {
        int32_t open = load_relaxed(&r->d->wiring->appender.days.open[c]);
        day = open < day ? open : day;
    }
    return json_pack("{s:o,s:i,s:o,s:o*}", "schemas", query_sources_schemas(r->d), "day", (int)day,
                     "feeds", feeds(r), "calendars", calendars(r));
}

static const struct schema *table(void *arg, const char *name)
{
    const struct rtp *r = arg;
    const struct schema *s = schema_set_find(r->d->schemas, name);
    bool own = !strcmp(name, "gap") || !strcmp(name, "undecoded") || !strcmp(name, "alarm") ||
               !strcmp(name, "monCPU");
    return s && !own && !s->feed && wiring_table_live(r->d, s->id) ? s : NULL;
}

static void question_done(struct rtp *r, uint64_t id, json_t *o, const struct err *err)
{
    questions_done(&r->questions, id, o, err);
    ring_bell(r->need);
}

static void answer(void *arg, uint64_t ticket, const struct rtp_said *result, const char *why)
{
    struct rtp *r = arg;
    struct err err = {0};
    json_t *o = NULL;
    if (result)
        o = rtp_table_json(result->body, result->length, &err);
    else if (*why)
        err_set(&err, -EIO, "%.900s", why);
    else
        o = json_pack("{s:s}", "done", "done");
    question_done(r, ticket, o, &err);
}

static void say(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "penstockd: rtp: %s\n", line);
}

static void where(void *arg, const char *source, struct source_progress *out)
{
    struct daemon *d = arg;
    uint32_t id = symbols_find(&d->symbols, source, (uint32_t)strlen(source));
    *out = (struct source_progress){0};
    if (id != PST_NULL_SYMBOL)
        sources_where(d->wiring->appender.sources, id, out);
}

/* ---- the thread's loop ---- */

static int take_news(struct rtp *r)
{
    int n = 0;
    pthread_mutex_lock(&r->lock);
    struct rtp_news *x = r->news;
    r->news = NULL;
    r->news_end = &r->news;
    pthread_mutex_unlock(&r->lock);
    for (struct rtp_news *next; x; x = next, n++) {
        next = x->next;
        if (x->kind == RTP_NEWS_HELPER)
            rtp_pool_event(&r->pool, &x->e);
        else if (x->kind == RTP_NEWS_CUT)
            rtp_pool_cut(&r->pool, x->life, x->cut, x->why);
        else
            rtp_pool_overdue(&r->pool, x->life, x->why);
        news_free(x);
    }
    return n;
}

static int take_questions(struct rtp *r)
{
    int n = 0;
    uint64_t id;
    json_t *ask;
    for (; questions_next(&r->questions, &id, &ask); n++) {
        struct err err = {0};
        bool later = false;
        json_t *o = rtp_respond(r, id, ask, &later, &err);
        if (!later)
            question_done(r, id, o, &err);
    }
    return n;
}

static int sockets(struct rtp *r)
{
    struct epoll_event ev[64];
    uint64_t ignored;
    int n = epoll_wait(r->pool.epoll, ev, PST_COUNT(ev), 0), did = 0;
    for (int i = 0; i < n; i++) {
        if (ev[i].data.u32 == EVENT_WAKE) {
            if (read(r->wake, &ignored, sizeof ignored) < 0)
                continue;
        } else if (ev[i].data.u32 != EVENT_MANAGER) {
            did += rtp_pool_ready(&r->pool, ev[i].data.u32);
        }
    }
    return did;
}

static void count(struct rtp *r)
{
    struct status *st = r->d->status;
    const struct rtp_pool *p = &r->pool;
    count_add(st, RTP_STARTED, p->started - r->counted_started);
    count_add(st, RTP_LOST, p->lost - r->counted_lost);
    count_add(st, RTP_REFUSED, p->refused - r->counted_refused);
    count_add(st, RTP_ROWS, p->rows_taken - r->counted_rows);
    r->counted_started = p->started;
    r->counted_lost = p->lost;
    r->counted_refused = p->refused;
    r->counted_rows = p->rows_taken;
}

static void show(struct rtp *r)
{
    json_t *list = rtp_pool_list(&r->pool), *pids = json_array();
    rtp_pool_pids(&r->pool, pids);
    json_t *o = json_pack("{s:o,s:o}", "groups", list, "pids", pids);
    pthread_mutex_lock(&r->lock);
    json_t *old = r->shown;
    r->shown = o;
    pthread_mutex_unlock(&r->lock);
    json_decref(old);
}

static int work(void *arg)
{
    struct rtp *r = arg;
    int64_t now = clock_monotonic();
    r->pool.now = now;
    if (r->has_q)
        inject_rows_days(&r->rows.w, &r->d->wiring->appender.days);
    int did = sockets(r) + take_news(r) + take_questions(r) + rtp_pool_work(&r->pool, now);
    if (r->events)
        did += r->events->work(r->events->arg, now);
    rtp_cpu(r, now);
    if (now >= r->show_at || (r->pool.news && now >= r->show_at - SHOW_NS + SOON_NS)) {
        r->pool.news = false;
        r->show_at = now + SHOW_NS;
        count(r);
        show(r);
    }
    return did;
}

static void wait(void *arg)
{
    struct rtp *r = arg;
    struct epoll_event ev;
    int64_t now = clock_monotonic(), until = rtp_pool_due(&r->pool, now);
    if (r->cpu_at && r->cpu_at < until)
        until = r->cpu_at;
    if (r->pool.news && r->show_at - SHOW_NS + SOON_NS < until)
        until = r->show_at - SHOW_NS + SOON_NS;
    if (until <= now)
        return;
    struct timespec ts = {(until - now) / NS_PER_S, (until - now) % NS_PER_S};
    epoll_pwait2(r->pool.epoll, &ev, 1, &ts, NULL);
}

static const struct thread_ops ops = {.work = work, .wait = wait};

/* ---- tables ---- */

bool rtp_tables(struct daemon *d,
                bool (*intern)(struct daemon *d, struct schema *s, struct err *err),
                struct err *err)
{
    const struct config *c = d->config;
    struct schema s;
    if (c->mon_cpu && !d->replay &&
        (!schema_make(&s, 0, "monCPU", false, moncpu_columns, PST_COUNT(moncpu_columns), err) ||
         !intern(d, &s, err)))
        return false;
    for (uint32_t i = 0; i < c->rtp.count; i++)
        for (uint32_t k = 0; k < c->rtp.at[i].processors.count; k++) {
            const struct derived_processor *p = derived_processor(c->rtp.at[i].processors.at[k]);
            for (const struct derived_table *t = p ? p->tables : NULL; t && t->name; t++)
                if (!schema_make(&s, 0, t->name, false, t->columns, t->n, err) ||
                    !intern(d, &s, err))
                    return false;
        }
    return true;
}

/* ---- life ---- */

static bool writes(const struct config *c)
{
    bool any = c->mon_cpu != 0;
    for (uint32_t i = 0; i < c->rtp.count; i++)
        any |= c->rtp.at[i].processors.count != 0;
    return any;
}

bool rtp_prepare(struct daemon *d, struct err *err)
{
    const struct config *c = d->config;
    if (d->replay)
        return true;
    struct rtp *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, -ENOMEM, "real-time processes: no memory");
    d->rtp = r;
    r->d = d;
    r->wake = r->need = r->pool.epoll = -1;
    r->news_end = &r->news;
    r->needs_end = &r->needs;
    pthread_mutex_init(&r->lock, NULL);
    questions_init(&r->questions);
    if (!writes(c))
        return true;
    struct inject_options io = {.max_new_symbols = (uint32_t)c->max_new_symbols,
                                .symbols = RTP_ROWS_SYMBOLS,
                                .lossless = true,
                                .sources = true};
    r->has_q = inject_create(&r->q, RTP_RING_BYTES, err);
    return r->has_q && appender_add_inject(&d->wiring->appender, &r->q, RTP_SOURCE, &io, err);
}

static bool open_rows(struct rtp *r, struct err *err)
{
    struct daemon *d = r->d;
    struct rtp_rows_config rc = {.rows = {.q = &r->q,
                                          .known = &d->symbols,
                                          .schemas = d->schemas,
                                          .status = d->status,
                                          .symbols = RTP_ROWS_SYMBOLS,
                                          .max_new_symbols = (uint32_t)d->config->max_new_symbols,
                                          .days = &d->wiring->appender.days,
                                          .owners = &d->wiring->owners},
                                 .where = where,
                                 .arg = d};
    return !r->has_q || rtp_rows_open(&r->rows, &rc, err);
}

static bool open_pool(struct rtp *r, struct err *err)
{
    const struct config *c = r->d->config;
    struct rtp_hooks hooks = {.arg = r,
                              .spawn = spawn,
                              .cut = want_cut,
                              .release = release,
                              .attach = attach,
                              .start = start_facts,
                              .table = table,
                              .answer = answer,
                              .log = say};
    r->own = (struct config_rtp){.name = "analytics",
                                 .processes = 1,
                                 .vanilla = true,
                                 .memory = 1ll << 30,
                                 .stuck = 10 * NS_PER_S};
    bool given = c->rtp.count;
    return rtp_pool_open(&r->pool, given ? c->rtp.at : &r->own, given ? c->rtp.count : 1, &hooks,
                         r->has_q ? &r->rows : NULL, RTP_IDS, err);
}

bool rtp_open(struct daemon *d, struct err *err)
{
    struct rtp *r = d->rtp;
    if (!r)
        return true;
    r->segments = json_array();
    if (d->ring.sealed) {
        json_array_append_new(r->segments, json_string("ring"));
        r->fds[r->nfds++] = d->ring.fd;
    }
    r->nfds += query_sources_segments(d, r->segments, r->fds + r->nfds, 3);
    return open_rows(r, err) && open_pool(r, err);
}

const struct rtp_link *rtp_link(struct daemon *d)
{
    return d->rtp ? &d->rtp->pool.link : NULL;
}

void rtp_attach(struct daemon *d, const struct rtp_events *events)
{
    if (d->rtp)
        d->rtp->events = d->rtp->pool.events = events;
}

bool rtp_start(struct daemon *d, struct err *err)
{
    struct rtp *r = d->rtp;
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = EVENT_WAKE};
    if (!r)
        return true;
    r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->need = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok =
        r->wake >= 0 && r->need >= 0 && !epoll_ctl(r->pool.epoll, EPOLL_CTL_ADD, r->wake, &ev);
    if (ok && r->events) {
        ev.data.u32 = EVENT_MANAGER;
        ok = !epoll_ctl(r->pool.epoll, EPOLL_CTL_ADD, r->events->fd(r->events->arg), &ev);
    }
    if (!ok)
        return err_set(err, -errno, "rtp: %s", strerror(errno));
    const struct topo_thread *t = topo_thread("rtp");
    thread_define(&r->thread, d->status, t->name, &ops, r, &d->clock, WAIT_DOZE, t->nice, -1);
    r->running = thread_start(&r->thread, err);
    return r->running;
}

void rtp_stop(struct daemon *d)
{
    struct rtp *r = d->rtp;
    if (!r || !r->running)
        return;
    store_relaxed(&r->thread.stop, true);
    ring_bell(r->wake);
    thread_stop(&r->thread);
    r->running = false;
    rtp_pool_close(&r->pool);
    if (r->events && r->events->stop)
        r->events->stop(r->events->arg);
    count(r);
}

void rtp_close(struct daemon *d)
{
    struct rtp *r = d->rtp;
    if (!r)
        return;
    rtp_stop(d);
    rtp_pool_close(&r->pool);
    rtp_rows_close(&r->rows);
    if (r->has_q)
        inject_destroy(&r->q);
    while (r->news) {
        struct rtp_news *n = r->news;
        r->news = n->next;
        if (n->kind == RTP_NEWS_HELPER && n->e.kind == HELPER_SPAWNED) {
            close(n->e.fd);
            close(n->e.pidfd);
        }
        news_free(n);
    }
    while (r->needs) {
        struct rtp_need *n = r->needs;
        r->needs = n->next;
        free(n);
    }
    questions_free(&r->questions);
    json_decref(r->shown);
    json_decref(r->taken);
    json_decref(r->segments);
    if (r->wake >= 0)
        close(r->wake);
    if (r->need >= 0)
        close(r->need);
    pthread_mutex_destroy(&r->lock);
    free(r);
    d->rtp = NULL;
}
