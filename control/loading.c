/* SPDX-License-Identifier: Apache-2.0 */
/* The thread `loader`: its life, its loop, and what passes between it and control. */
#include "loading.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "day.h"
#include "loading_parts.h"
#include "topo.h"
#include "wiring_parts.h"

#define EVENT_WAKE  UINT32_MAX
#define EVENT_WATCH (UINT32_MAX - 1)
#define MEMORY_NS   NS_PER_S
#define SHOW_NS     (NS_PER_S / 2)
#define BUSY_NS     (2 * NS_PER_MS) /* between two looks at what is with the appender or the day */
#define CREATE_NS   (10 * NS_PER_S) /* until a loader that could not begin is tried again */

/* ---- between the threads ---- */

static void wake(void *arg)
{
    struct loading *l = arg;
    uint64_t one = 1;
    if (write(l->wake, &one, sizeof one) < 0 && errno != EAGAIN)
        fprintf(stderr, "penstockd: loader: eventfd: %s\n", strerror(errno));
}

void loading_request(struct loading *l, struct loading_request *r)
{
    pthread_mutex_lock(&l->lock);
    *l->requests_end = r;
    l->requests_end = &r->next;
    store_relaxed(&l->requested, true);
    pthread_mutex_unlock(&l->lock);
}

void loading_plain(char *out, size_t cap, const char *text)
{
    snprintf(out, cap, "%s", text);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

void loading_log(struct loading *l, const char *text)
{
    char line[1400];
    (void)l;
    loading_plain(line, sizeof line, text);
    fprintf(stderr, "penstockd: load: %s\n", line);
}

static void request_free(struct loading_request *r)
{
    json_decref(r->env);
    free(r);
}

/* ---- the thread's loop ---- */

static int take_events(struct loading *l)
{
    int n = 0;
    pthread_mutex_lock(&l->lock);
    struct loading_event *e = l->inbox;
    l->inbox = NULL;
    l->inbox_end = &l->inbox;
    pthread_mutex_unlock(&l->lock);
    while (e) {
        struct loading_event *next = e->next;
        workers_event(l, &e->e);
        l->news = true;
        free(e);
        e = next;
        n++;
    }
    return n;
}

static int take_questions(struct loading *l)
{
    int n = 0;
    uint64_t id;
    json_t *ask;
    for (; questions_next(&l->questions, &id, &ask); n++) {
        struct err err = {0};
        json_t *answer = loading_respond(l, ask, &err);
        questions_done(&l->questions, id, answer, &err);
    }
    return n;
}

static void count(struct loading *l)
{
    struct status *st = l->d->status;
    struct loader_figures f, *was = &l->counted;
    loader_figures(l->loader, &f);
    count_add(st, LOAD_FILES, f.files - was->files);
    count_add(st, LOAD_BATCHES, f.batches - was->batches);
    count_add(st, LOAD_BATCHES_FAILED, f.batches_failed - was->batches_failed);
    count_add(st, LOAD_ROWS, f.rows - was->rows);
    count_add(st, LOAD_BYTES, f.bytes - was->bytes);
    count_add(st, LOAD_REJECTED, f.rejected - was->rejected);
    count_add(st, LOAD_TASKS, f.tasks - was->tasks);
    count_add(st, LOAD_RETRIES, f.retries - was->retries);
    count_add(st, LOAD_QUARANTINED, f.quarantined - was->quarantined);
    count_add(st, LOAD_REDELIVERED, f.redelivered - was->redelivered);
    count_add(st, LOAD_WORKERS_STARTED, f.workers_started - was->workers_started);
    count_add(st, LOAD_WORKERS_LOST, f.workers_lost - was->workers_lost);
    count_add(st, LOAD_STALE, f.stale - was->stale);
    *was = f;
}

static void show(struct loading *l)
{
    json_t *o = l->loader ? loader_status(l->loader)
                          : json_pack("{s:s,s:s}", "state", "stopped", "why", l->stopped);
    pthread_mutex_lock(&l->lock);
    json_t *old = l->shown;
    l->shown = o;
    pthread_mutex_unlock(&l->lock);
    json_decref(old);
}

static int sockets(struct loading *l)
{
    struct epoll_event ev[80];
    uint64_t ignored;
    int n = epoll_wait(l->epoll, ev, PST_COUNT(ev), 0), did = 0;
    for (int i = 0; i < n; i++) {
        uint32_t k = ev[i].data.u32;
        if (k == EVENT_WAKE) {
            if (read(l->wake, &ignored, sizeof ignored) < 0)
                continue;
        } else if (k == EVENT_WATCH) {
            l->watch_due = 0;
        } else if (k < l->nworkers) {
            did += workers_listen(l, k);
        }
    }
    return did;
}

static void on_file(void *arg, const struct load_watch_event *e)
{
    struct loading *l = arg;
    l->news = true;
    loader_file(l->loader, e);
}

static void on_staging(void *arg, unsigned directory, bool ok, const char *why)
{
    struct loading *l = arg;
    l->news = true;
    loader_staging(l->loader, directory, ok, why);
}

static bool directory(const char *path, mode_t mode, const char *key, struct err *err)
{
    char p[1200];
    struct stat st;
    snprintf(p, sizeof p, "%s", path);
    for (char *c = p + 1; *c; c++)
        if (*c == '/') {
            *c = 0;
            mkdir(p, 0755); /* may exist; the last step reports */
            *c = '/';
        }
    if (mkdir(p, mode) && errno != EEXIST)
        return err_set(err, -errno, "%s %s: cannot make it: %s", key, p, strerror(errno));
    return (!stat(p, &st) && S_ISDIR(st.st_mode)) ||
           err_set(err, -ENOTDIR, "%s %s is no directory", key, p);
}

/* Two loaders would sweep each other's temporaries, and take each other's files. */
static bool alone(struct loading *l, struct err *err)
{
    const char *path = loading_plan_temporary(l->plan);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, -errno, "load.temporary %s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        int e = errno;
        close(fd);
        if (e == EWOULDBLOCK)
            return err_set(err, -EBUSY,
                           "load.temporary %s is in use by another penstockd: give each instance "
                           "staging directories of its own",
                           path);
        return true; /* a filesystem without locks */
    }
    l->temporary = fd;
    return true;
}

static bool directories(struct loading *l, struct err *err)
{
    const struct config_load *c = &l->d->config->load;
    for (uint32_t i = 0; i < c->staging.count; i++)
        if (!directory(c->staging.at[i], 0750, "load.staging", err))
            return false;
    /* the sandbox of workers opens what is there when they start */
    return directory(l->d->config->database, 0750, "database", err) &&
           directory(loading_plan_temporary(l->plan), 0700, "load.temporary", err) &&
           (l->temporary >= 0 || alone(l, err)) &&
           (c->finished != CONFIG_FINISHED_MOVE ||
            directory(loading_plan_done(l->plan), 0750, "load.finished_directory", err)) &&
           (!c->quarantine_directory ||
            directory(c->quarantine_directory, 0750, "load.quarantine_directory", err)) &&
           (!c->rejects_directory ||
            directory(c->rejects_directory, 0750, "load.rejects_directory", err));
}

static bool create(struct loading *l, struct err *err)
{
    const struct config_load *c = &l->d->config->load;
    struct loader_config lc = {.io = l->io,
                               .instance = l->d->instance_id,
                               .seed = l->d->instance_id,
                               .boot = l->boot,
                               .commit_floor = day_load_commits(l->d->days)};
    struct loader_hooks h;
    loading_plan_config(l->plan, &lc);
    loading_hooks(l, &h);
    if (!directories(l, err))
        return false;
    l->loader = loader_create(&lc, &h, err);
    if (!l->loader)
        return false;
    struct load_watch_config wc = {.ndirectories = c->staging.count,
                                   .directory = c->staging.at,
                                   .stable_after = c->stable_after,
                                   .scan_interval = c->scan_interval,
                                   .event = on_file,
                                   .state = on_staging,
                                   .arg = l};
    l->watch = load_watch_open(&wc, err);
    if (!l->watch) {
        loader_free(l->loader);
        l->loader = NULL;
        return false;
    }
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = EVENT_WATCH};
    if (load_watch_fd(l->watch) >= 0)
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, load_watch_fd(l->watch), &ev);
    if (c->memory == CONFIG_MEMORY_CGROUP && !loading_memory_limited())
        loading_log(l, "load.memory: cgroup, but no control group above this process has a limit: "
                       "the host's free memory counts");
    l->watch_due = l->due = 0;
    return true;
}

static int try_create(struct loading *l, int64_t now)
{
    struct err err = {0};
    if (now < l->due)
        return 0;
    bool ok = create(l, &err);
    if (!ok && strcmp(err.text, l->stopped))
        loading_log(l, err.text);
    pthread_mutex_lock(&l->lock);
    snprintf(l->stopped, sizeof l->stopped, "%s", ok ? "" : err.text);
    pthread_mutex_unlock(&l->lock);
    if (!ok)
        l->due = now + CREATE_NS;
    show(l);
    return 1;
}

static int work(void *arg)
{
    struct loading *l = arg;
    int64_t now = clock_monotonic();
    if (l->loader)
        loader_now(l->loader, now, clock_now(&l->d->clock));
    int did = sockets(l);
    if (!l->loader) {
        did += try_create(l, now);
        return did + take_questions(l);
    }
    did += take_events(l) + take_questions(l);
    if (now >= l->memory_at) {
        l->memory_at = now + MEMORY_NS;
        loader_memory(l->loader, loading_free_memory(l->d->config->load.memory));
    }
    workers_watch(l, now);
    if (now >= l->watch_due) {
        l->watch_due = load_watch_step(l->watch, now, clock_now(&l->d->clock));
        did++;
    }
    if (loading_busy(l) || !l->swept)
        did += loading_step(l);
    if (l->news || now >= l->due) {
        l->news = false;
        l->due = loader_tick(l->loader, now, clock_now(&l->d->clock));
        count(l);
        did++;
    }
    if (now >= l->publish_at) {
        l->publish_at = now + SHOW_NS;
        show(l);
    }
    return did && l->news;
}

static void wait(void *arg)
{
    struct loading *l = arg;
    struct epoll_event ev;
    int64_t now = clock_monotonic(), until = now + NS_PER_S;
    if (l->loader) {
        until = l->due < until ? l->due : until;
        until = l->watch_due < until ? l->watch_due : until;
        until = l->publish_at < until ? l->publish_at : until;
        if (loading_busy(l))
            until = now + BUSY_NS;
    }
    if (until > now)
        epoll_wait(l->epoll, &ev, 1, (int)((until - now + NS_PER_MS - 1) / NS_PER_MS));
}

static const struct thread_ops ops = {.work = work, .wait = wait};

/* ---- life ---- */

bool loading_prepare(struct daemon *d, struct err *err)
{
    struct inject_options io = {.max_new_symbols = UINT32_MAX, .symbols = LOADING_TEXTS};
    if (d->replay || !d->config->load.file_line)
        return true;
    struct loading *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(err, -ENOMEM, "loader: no memory");
    d->loading = l;
    l->d = d;
    l->epoll = l->wake = l->temporary = -1;
    l->inbox_end = &l->inbox;
    l->requests_end = &l->requests;
    l->next_id = LOADING_IDS;
    l->nworkers = (unsigned)d->config->load.workers;
    pthread_mutex_init(&l->lock, NULL);
    questions_init(&l->questions);
    for (unsigned i = 0; i < PST_COUNT(l->worker); i++)
        l->worker[i] = (struct loading_worker){.index = i, .fd = -1, .pidfd = -1};
    l->plan = loading_plan_new(d->config, err);
    return l->plan && inject_create(&l->q, LOADING_RING_BYTES, err) &&
           appender_add_inject(&d->wiring->appender, &l->q, LOADING_SOURCE, &io, err);
}

static void boot_id(char out[64])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, 63) : -1;
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = 0;
    out[strcspn(out, "\n")] = 0;
}

bool loading_start(struct daemon *d, struct err *err)
{
    struct loading *l = d->loading;
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = EVENT_WAKE};
    if (!l)
        return true;
    boot_id(l->boot);
    l->io = io_posix_create(err);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!l->io)
        return false;
    if (l->epoll < 0 || l->wake < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &ev))
        return err_set(err, -errno, "loader: %s", strerror(errno));
    day_load_listen(d->days, wake, l);
    const struct topo_thread *t = topo_thread("loader");
    thread_define(&l->thread, d->status, t->name, &ops, l, &d->clock, WAIT_DOZE, t->nice, -1);
    l->running = thread_start(&l->thread, err);
    return l->running;
}

void loading_stop(struct daemon *d)
{
    struct loading *l = d->loading;
    if (!l || !l->running)
        return;
    store_relaxed(&l->thread.stop, true);
    wake(l);
    thread_stop(&l->thread);
    l->running = false;
    workers_close(l);
    day_load_listen(d->days, NULL, NULL);
}

void loading_close(struct daemon *d)
{
    struct loading *l = d->loading;
    if (!l)
        return;
    loading_stop(d);
    loading_batch_close(l);
    if (l->watch)
        load_watch_close(l->watch);
    if (l->loader)
        loader_free(l->loader);
    loading_plan_free(l->plan);
    if (l->io)
        io_destroy(l->io);
    if (l->q.data)
        inject_destroy(&l->q);
    while (l->inbox) {
        struct loading_event *e = l->inbox;
        l->inbox = e->next;
        if (e->e.kind == HELPER_SPAWNED) {
            close(e->e.fd);
            close(e->e.pidfd);
        }
        free(e);
    }
    while (l->requests) {
        struct loading_request *r = l->requests;
        l->requests = r->next;
        request_free(r);
    }
    questions_free(&l->questions);
    for (unsigned i = 0; i < l->nalarms; i++) {
        free(l->alarm[i].subject);
        free(l->alarm[i].text);
    }
    free(l->alarm);
    json_decref(l->shown);
    json_decref(l->taken);
    if (l->epoll >= 0)
        close(l->epoll);
    if (l->temporary >= 0)
        close(l->temporary);
    if (l->wake >= 0)
        close(l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l);
    d->loading = NULL;
}

/* ---- control's side ---- */

void loading_helper(struct loading *l, const struct helper_event *e)
{
    struct loading_event *x = l && l->running ? calloc(1, sizeof *x) : NULL;
    if (!x) {
        if (e->kind == HELPER_SPAWNED) { /* it ends with its socket */
            close(e->fd);
            close(e->pidfd);
        }
        return;
    }
    x->e = *e;
    pthread_mutex_lock(&l->lock);
    *l->inbox_end = x;
    l->inbox_end = &x->next;
    pthread_mutex_unlock(&l->lock);
    wake(l);
}

static void hook_failed(struct loading *l, const char *batch, const char *why)
{
    pthread_mutex_lock(&l->lock);
    char text[400];
    snprintf(text, sizeof text, "batch %.100s: %.280s", batch, why);
    loading_plain(l->hook_failed, sizeof l->hook_failed, text);
    l->hook_failed_at = clock_monotonic();
    pthread_mutex_unlock(&l->lock);
}

struct hook_run {
    struct loading *l;
    char batch[128];
};

static void ran(void *arg, const struct helper_event *e)
{
    struct hook_run *h = arg;
    struct loading *l = h->l;
    char text[700], status[64];
    if (e->kind == HELPER_RAN && !e->timed_out && e->status == 0) {
        free(h);
        return;
    }
    if (e->kind == HELPER_RAN)
        snprintf(text, sizeof text, "%s%s%s%s",
                 e->timed_out ? "stopped at post_batch_timeout, " : "",
                 helper_status_text(e->status, status), *e->text ? ": " : "", e->text);
    else
        snprintf(text, sizeof text, "%s", e->text);
    hook_failed(l, h->batch, text);
    free(h);
}

static void run_hook(struct loading *l, const struct loading_request *r)
{
    const struct config_names *command = &l->d->config->load.post_batch_exec;
    const char *argv[HELPER_ARGS + 1] = {NULL}, *env[HELPER_ARGS + 1] = {NULL};
    struct err err = {0};
    json_t *x;
    size_t i;
    if (!command->count)
        return;
    for (uint32_t k = 0; k < command->count && k < HELPER_ARGS; k++)
        argv[k] = command->at[k];
    json_array_foreach(r->env, i, x) if (i < HELPER_ARGS) env[i] = json_string_value(x);
    int timeout = (int)(l->d->config->load.post_batch_timeout / NS_PER_MS);
    struct hook_run *h = malloc(sizeof *h);
    pst_must(h);
    h->l = l;
    snprintf(h->batch, sizeof h->batch, "%s", r->batch);
    if (!l->d->helper || !helper_run(l->d->helper, argv, env, timeout, ran, h, &err)) {
        hook_failed(l, r->batch, l->d->helper ? err.text : "the helper is gone");
        free(h);
    }
}

void loading_tick(struct daemon *d)
{
    struct loading *l = d->loading;
    if (!l || !load_relaxed(&l->requested))
        return;
    pthread_mutex_lock(&l->lock);
    struct loading_request *r = l->requests;
    l->requests = NULL;
    l->requests_end = &l->requests;
    store_relaxed(&l->requested, false);
    pthread_mutex_unlock(&l->lock);
    while (r) {
        struct loading_request *next = r->next;
        struct err err = {0};
        if (r->kind == LR_RUN) {
            run_hook(l, r);
        } else if (!d->helper || !helper_spawn(d->helper, "penstock-load", r->id, &err)) {
            struct helper_event e = {.kind = HELPER_FAILED, .id = r->id};
            snprintf(e.text, sizeof e.text, "%s", d->helper ? err.text : "the helper is gone");
            loading_helper(l, &e);
        }
        request_free(r);
        r = next;
    }
}

uint64_t loading_ask(struct loading *l, json_t *question, struct err *err)
{
    if (!l || !l->running) {
        json_decref(question);
        err_set(err, -ENODEV,
                l ? "the loader is not running"
                  : "there is no loader: the configuration has no `load:` section (README, "
                    "\"Loading files\")");
        return 0;
    }
    uint64_t id = questions_ask(&l->questions, question, err);
    if (id)
        wake(l);
    return id;
}

bool loading_answer(struct loading *l, uint64_t id, json_t **answer, struct err *err)
{
    return questions_answer(&l->questions, id, answer, err);
}

void loading_forget(struct loading *l, uint64_t id)
{
    if (l)
        questions_forget(&l->questions, id);
}

json_t *loading_json(struct loading *l)
{
    if (!l)
        return NULL;
    pthread_mutex_lock(&l->lock);
    json_t *o = l->shown;
    l->shown = NULL;
    pthread_mutex_unlock(&l->lock);
    if (o) {
        json_decref(l->taken);
        l->taken = o;
    }
    o = json_incref(l->taken);
    return o ? o : json_pack("{s:s}", "state", "starting");
}

uint64_t loading_ring_bytes(const struct loading *l)
{
    return l ? l->q.size : 0;
}

void loading_pids(struct loading *l, json_t *list)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    for (unsigned i = 0; i < l->nworkers; i++)
        if (l->pids[i])
            json_array_append_new(list, json_integer(l->pids[i]));
    pthread_mutex_unlock(&l->lock);
}

void loading_alarms(struct daemon *d, struct alarms *a, int64_t now)
{
    static const enum alarm codes[LOADER_ALARMS] = {
        [LOADER_ALARM_BATCH] = ALARM_LOAD_FAILED,
        [LOADER_ALARM_QUARANTINE] = ALARM_LOAD_QUARANTINED,
        [LOADER_ALARM_GATHER] = ALARM_LOAD_INCOMPLETE,
        [LOADER_ALARM_SPACE] = ALARM_LOAD_SPACE,
        [LOADER_ALARM_THROTTLE] = ALARM_LOAD_MEMORY,
        [LOADER_ALARM_WORKER] = ALARM_LOAD_WORKER,
        [LOADER_ALARM_DEADLINE] = ALARM_LOAD_LATE,
        [LOADER_ALARM_MANIFEST] = ALARM_LOAD_MANIFEST,
        [LOADER_ALARM_FINISH] = ALARM_LOAD_FINISH,
        [LOADER_ALARM_STAGING] = ALARM_LOAD_STAGING};
    struct loading *l = d->loading;
    if (!l)
        return;
    unsigned listed[LOADER_ALARMS] = {0};
    pthread_mutex_lock(&l->lock);
    for (unsigned i = 0; i < l->nalarms; i++) { /* what is over makes room */
        struct loading_alarm *x = &l->alarm[i];
        if (!x->raised && !x->told)
            alarm_check(a, now, codes[x->kind], x->subject, false, 0, "%s", "");
        x->told |= !x->raised;
        x->listed &= x->raised;
        listed[x->kind] += x->listed;
    }
    for (unsigned i = 0; i < l->nalarms; i++) {
        struct loading_alarm *x = &l->alarm[i];
        if (!x->raised)
            continue;
        if (!x->listed && listed[x->kind] == ALARMS_OF_CODE) {
            alarm_more(a, now, codes[x->kind]);
            continue;
        }
        alarm_check(a, now, codes[x->kind], x->subject, true, 0, "%s", x->text);
        listed[x->kind] += !x->listed;
        x->listed = x->told = true;
    }
    alarm_check(a, now, ALARM_LOAD_STOPPED, "", *l->stopped, 0, "%s", l->stopped);
    bool failed = l->hook_failed_at && clock_monotonic() - l->hook_failed_at < 60 * NS_PER_S;
    alarm_check(a, now, ALARM_LOAD_HOOK, "", failed, 0, "%s", l->hook_failed);
    pthread_mutex_unlock(&l->lock);
}
