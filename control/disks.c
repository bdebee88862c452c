/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "disk_rate.h"
#include "disks.h"
#include "retention.h"
#include "topo.h"
#include "wiring_parts.h"

#define PROBE_NS NS_PER_S

enum job_kind { JOB_APPEND, JOB_REPLACE, JOB_FILE };
struct job {
    struct job *next;
    enum job_kind kind;
    char *text, *path, *done;
    size_t len;
};

struct disk {
    struct disks *owner;
    enum disk_role role;
    const char *path;
    struct thread thread;
    bool used, lead; /* lead: the first of the roles that share its device */
    /* the thread's */
    int64_t probe_at;
    struct disk_rate rate;
    /* figures (the thread; relaxed) */
    _Atomic int64_t asked, answered; /* monotonic; asked > answered: a question is open */
    _Atomic uint64_t dev, free_bytes, size_bytes;
    _Atomic uint64_t fill; /* bytes a second */
    _Atomic int64_t until; /* ns until full */
    _Atomic int32_t error; /* errno of the last look */
};

struct disks {
    struct daemon *d;
    struct disk disk[DISK_ROLES];
    bool started;
    pthread_mutex_t lock; /* the queue */
    struct job *first, **last;
    uint64_t posted, finished; /* jobs; under the lock */
    _Atomic int32_t catalogue_error;
    _Atomic bool lease_failed;
    int64_t govern_at; /* control */
};

static const char *const role_name[] = {"log", "spill", "state", "database"};

/* ---- the threads ---- */

static int replace_file(const struct job *j)
{
    char temp[1200];
    snprintf(temp, sizeof temp, "%s.new", j->path);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    int r = fd < 0 ? -errno : 0;
    for (size_t at = 0; r == 0 && at < j->len;) {
        ssize_t n = write(fd, j->text + at, j->len - at);
        if (n < 0 && errno != EINTR)
            r = -errno;
        at += n > 0 ? (size_t)n : 0;
    }
    if (r == 0 && fsync(fd))
        r = -errno;
    if (fd >= 0)
        close(fd);
    if (r == 0 && rename(temp, j->path))
        r = -errno;
    fprintf(stderr, "penstockd: %s%s%s\n", j->done,
            r == 0 ? ", certificate " : "; no certificate: ", r == 0 ? j->path : strerror(-r));
    return r;
}

static void run_job(struct disks *k, struct job *j)
{
    struct catalogue *c = &k->d->wiring->catalogue;
    if (j->kind == JOB_FILE) {
        replace_file(j);
        return;
    }
    int r = j->kind == JOB_APPEND ? catalogue_file_append(c, j->text, j->len)
                                  : catalogue_file_replace(c, j->text, j->len);
    if (r < 0) {
        store_relaxed(&c->failed, true);
        if (r == -EBADF) /* lines behind the one that failed: the next one brings the whole */
            return;
        if (load_relaxed(&k->catalogue_error) != -r)
            fprintf(stderr,
                    "penstockd: catalogue in %s: %s; it is written again with the next change, and "
                    "can be rebuilt from the files\n",
                    k->d->config->state_directory, strerror(-r));
    }
    store_relaxed(&k->catalogue_error, -r);
}

static int run_jobs(struct disks *k)
{
    int n = 0;
    for (;; n++) {
        pthread_mutex_lock(&k->lock);
        struct job *j = k->first;
        if (j && !(k->first = j->next))
            k->last = &k->first;
        pthread_mutex_unlock(&k->lock);
        if (!j)
            return n;
        run_job(k, j);
        free(j->text);
        free(j->path);
        free(j->done);
        free(j);
        pthread_mutex_lock(&k->lock);
        k->finished++;
        pthread_mutex_unlock(&k->lock);
    }
}

/* Long before the lease ends: at half. A full state disk must not stop the journal at once. */
static void renew_lease(struct disks *k)
{
    struct lease *l = &k->d->wiring->lease;
    uint64_t tail = ring_tail(&k->d->ring);
    if (lease_end(l) > tail && lease_end(l) - tail > LEASE_BYTES / 2)
        return;
    struct err err;
    bool ok = lease_renew(l, tail, &err);
    if (!ok && !load_relaxed(&k->lease_failed))
        fprintf(stderr, "penstockd: %s\n", err.text);
    store_relaxed(&k->lease_failed, !ok);
}

static void probe(struct disk *x, int64_t now)
{
    struct daemon *d = x->owner->d;
    struct statvfs v;
    struct stat st;
    store_relaxed(&x->asked, now);
    PST_FAULT_STALL("disk.probe");
    int e = statvfs(x->path, &v) || stat(x->path, &st) ? errno : 0;
    if (!e) {
        uint64_t room = (uint64_t)v.f_bavail * v.f_frsize;
        uint64_t wrote =
            x->role == DISK_LOG ? load_relaxed(&d->status->counter[COUNTER_LOG_BYTES]) : 0;
        int64_t until;
        store_relaxed(&x->dev, (uint64_t)st.st_dev);
        store_relaxed(&x->free_bytes, room);
        store_relaxed(&x->size_bytes, (uint64_t)v.f_blocks * v.f_frsize);
        disk_rate_add(&x->rate, now, room, wrote);
        /* the file written to, the prepared next one, a date's first ones, the ballast */
        uint64_t ahead =
            3 * (uint64_t)d->config->log_preallocate + (uint64_t)d->config->log_ballast;
        double rate = disk_rate_now(&x->rate, x->role == DISK_LOG ? ahead : 0, &until);
        store_relaxed(&x->fill, (uint64_t)rate);
        store_relaxed(&x->until, until);
        if (x->role == DISK_LOG) /* a full disk has one byte: 0 is not known yet */
            store_relaxed(&d->status->log_free, room ? room : 1);
    }
    /* A write: what a frozen filesystem or a dead server does not take. No error is counted here.
     */
    if (x->role == DISK_LOG || x->role == DISK_STATE)
        (void)lock_beat_one(&d->wiring->lock, x->role == DISK_LOG, clock_now(&d->clock));
    store_relaxed(&x->error, e);
    store_relaxed(&x->answered, clock_monotonic());
}

static int disk_work(void *arg)
{
    struct disk *x = arg;
    int64_t now = clock_monotonic();
    int did = 0;
    if (x->role == DISK_STATE) {
        did = run_jobs(x->owner);
        renew_lease(x->owner);
    }
    if (now >= x->probe_at) {
        x->probe_at = now + PROBE_NS;
        probe(x, now);
    }
    return did;
}

static const struct thread_ops disk_ops = {.work = disk_work};

/* ---- control ---- */

static void post(struct disks *k, struct job job)
{
    struct job *j = malloc(sizeof *j);
    pst_must(j);
    *j = job;
    j->next = NULL;
    pthread_mutex_lock(&k->lock);
    *k->last = j;
    k->last = &j->next;
    k->posted++;
    pthread_mutex_unlock(&k->lock);
}

static void post_line(void *arg, char *text, size_t len, bool whole)
{
    post(arg, (struct job){.kind = whole ? JOB_REPLACE : JOB_APPEND, .text = text, .len = len});
}

void disks_write(struct disks *k, const char *path, const char *text, const char *done)
{
    struct job j = {.kind = JOB_FILE,
                    .text = strdup(text),
                    .path = strdup(path),
                    .done = strdup(done),
                    .len = strlen(text)};
    pst_must(j.text && j.path && j.done);
    post(k, j);
}

struct disks *disks_open(struct daemon *d, struct err *err)
{
    struct disks *k = calloc(1, sizeof *k);
    if (!k) {
        err_set(err, -ENOMEM, "disks: no memory");
        return NULL;
    }
    const struct config *c = d->config;
    const char *path[] = {c->log_directory, c->spill_directory, c->state_directory, c->database};
    k->d = d;
    k->last = &k->first;
    pthread_mutex_init(&k->lock, NULL);
    for (unsigned i = 0; i < DISK_ROLES; i++)
        k->disk[i] = (struct disk){.owner = k,
                                   .role = (enum disk_role)i,
                                   .path = path[i],
                                   .used = path[i] && *path[i],
                                   .until = DISK_RATE_NEVER};
    return k;
}

bool disks_start(struct disks *k, struct err *err)
{
    const struct topo_thread *t = topo_thread("disk");
    for (unsigned i = 0; i < DISK_ROLES; i++) {
        struct disk *x = &k->disk[i];
        char name[16];
        if (!x->used)
            continue;
        snprintf(name, sizeof name, "disk-%s", role_name[i]);
        thread_define(&x->thread, k->d->status, name, &disk_ops, x, &k->d->clock, WAIT_NAP, t->nice,
                      -1);
        if (!thread_start(&x->thread, err))
            return false;
    }
    k->d->wiring->catalogue.post = post_line;
    k->d->wiring->catalogue.post_arg = k;
    k->started = true;
    return true;
}

bool disks_flush(struct disks *k, int64_t ns)
{
    int64_t end = clock_monotonic() + ns;
    for (;;) {
        pthread_mutex_lock(&k->lock);
        bool done = k->finished == k->posted;
        pthread_mutex_unlock(&k->lock);
        if (done || !k->started || clock_monotonic() > end)
            return done;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

/* A thread that does not come back within ns is left where it hangs. */
static bool end_thread(struct thread *t, int64_t ns)
{
    int64_t end = clock_monotonic() + ns;
    store_release(&t->stop, true);
    while (t->running && load_relaxed(&t->status->state) != THREAD_HALT) {
        if (clock_monotonic() > end)
            return false;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    thread_stop(t);
    return true;
}

bool disks_close(struct disks *k)
{
    bool all = true;
    if (!k)
        return true;
    bool flushed = disks_flush(k, 5 * NS_PER_S);
    for (unsigned i = 0; i < DISK_ROLES; i++)
        store_release(&k->disk[i].thread.stop, true); /* all nap at the same time */
    for (unsigned i = 0; i < DISK_ROLES; i++)
        if (k->disk[i].used && k->disk[i].thread.running)
            all &= end_thread(&k->disk[i].thread, i == DISK_STATE && !flushed ? 0 : NS_PER_S);
    if (k->d->wiring)
        k->d->wiring->catalogue.post = NULL;
    if (!all) { /* it may come back: its memory stays */
        fprintf(stderr, "penstockd: a disk does not answer; it was not waited for\n");
        return false;
    }
    pthread_mutex_destroy(&k->lock);
    free(k);
    return true;
}

bool disks_answers(const struct disks *k, enum disk_role role)
{
    const struct disk *x = &k->disk[role];
    int64_t answered = load_relaxed(&x->answered);
    bool open = load_relaxed(&x->asked) > answered;
    return answered && !open && clock_monotonic() - answered < DISKS_SLOW_NS;
}

void disks_govern(struct disks *k)
{
    struct daemon *d = k->d;
    int64_t now = clock_monotonic();
    uint64_t room = load_relaxed(&d->status->log_free);
    if (now < k->govern_at || !d->days || !room || room >= (uint64_t)d->config->log_low_space ||
        !disks_answers(k, DISK_LOG))
        return;
    const char *why = "";
    bool again = false;
    uint64_t freed = retention_free(d->days, INT32_MAX, &again, &why);
    k->govern_at = now + NS_PER_S;
    if (freed)
        fprintf(stderr,
                "penstockd: %s has %llu MiB free, below log_low_space: its oldest file was given "
                "up, the database holds its date\n",
                d->config->log_directory, (unsigned long long)(room >> 20));
}

bool disks_lease_failed(const struct disks *k)
{
    return k && load_relaxed(&k->lease_failed);
}

/* ---- what people see ---- */

static bool hangs(const struct disk *x, int64_t mono, int64_t *age)
{
    int64_t asked = load_relaxed(&x->asked), answered = load_relaxed(&x->answered);
    *age = asked > answered ? mono - asked : 0;
    return *age > DISKS_SLOW_NS;
}

/* Roles on one device are one disk: its name is theirs, "log+state", told for the first of them. */
static bool subject(const struct disks *k, unsigned i, char *out, size_t room)
{
    uint64_t dev = load_relaxed(&k->disk[i].dev);
    size_t at = 0;
    for (unsigned j = 0; j < DISK_ROLES; j++) {
        const struct disk *x = &k->disk[j];
        if (!x->used || (j != i && (!dev || load_relaxed(&x->dev) != dev)))
            continue;
        if (j < i)
            return false;
        at += (size_t)snprintf(out + at, room - at, "%s%s", at ? "+" : "", role_name[j]);
    }
    return true;
}

json_t *disks_json(const struct disks *k)
{
    json_t *list = json_array();
    int64_t mono = clock_monotonic(), age;
    for (unsigned i = 0; k && i < DISK_ROLES; i++) {
        const struct disk *x = &k->disk[i];
        char name[64];
        if (!x->used || !subject(k, i, name, sizeof name))
            continue;
        bool hung = hangs(x, mono, &age);
        int64_t until = load_relaxed(&x->until);
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:s}", "name", name, "path", x->path,
                            "answers", !hung, "age_ns", (json_int_t)age, "free",
                            (json_int_t)load_relaxed(&x->free_bytes), "size",
                            (json_int_t)load_relaxed(&x->size_bytes), "fill_rate",
                            (json_int_t)load_relaxed(&x->fill), "full_in_ns",
                            (json_int_t)(until == DISK_RATE_NEVER ? -1 : until), "error",
                            load_relaxed(&x->error) ? strerror(load_relaxed(&x->error)) : ""));
    }
    return list;
}

void disks_alarms(struct disks *k, struct alarms *a, int64_t now)
{
    if (!k)
        return;
    int64_t mono = clock_monotonic(), age, hold = k->d->config->alarms.clear_after;
    for (unsigned i = 0; i < DISK_ROLES; i++) {
        const struct disk *x = &k->disk[i];
        char name[64];
        if (!x->used)
            continue;
        bool hung = hangs(x, mono, &age);
        alarm_check(a, now, ALARM_DISK_HUNG, role_name[i], hung, hold,
                    "%s does not answer for %.1f s", x->path, (double)age / 1e9);
        int64_t until = load_relaxed(&x->until), limit = k->d->config->alarms.disk_full_in;
        bool lead = subject(k, i, name, sizeof name);
        /* clears a quarter further away: a rate moves */
        if (alarm_raised(a, ALARM_DISK_FILLING, role_name[i]))
            limit += limit / 4;
        alarm_check(a, now, ALARM_DISK_FILLING, role_name[i], lead && limit && until < limit, hold,
                    "the disk of %s is full in %.1f hours: %.1f MB/s, %.1f GB free in %s", name,
                    (double)until / 3600e9, (double)load_relaxed(&x->fill) / 1e6,
                    (double)load_relaxed(&x->free_bytes) / 1e9, x->path);
    }
}
