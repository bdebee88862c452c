/* SPDX-License-Identifier: Apache-2.0 */
#include "error_log.h"

#include "access.h"
#include "core/civil.h"
#include "core/clock.h"
#include "core/record.h"
#include "daemon.h"
#include "day_file.h"
#include "storage/cursor.h"
#include "topo.h"

#define WAITING_MAX (4u << 20)
#define LOOK_NS     (100 * NS_PER_MS) /* between looks at the feeds' counters */
#define TOLD_BYTES  300

struct entry {
    struct entry *next;
    int32_t day;
    size_t len;
    char line[]; /* with its line end */
};

struct error_log {
    struct daemon *d;
    struct thread thread;
    bool running;
    pthread_mutex_t lock; /* guards first, last, waiting, path */
    struct entry *first, **last;
    size_t waiting;
    char path[sizeof((struct day_file *)0)->path];
    _Atomic uint64_t full; /* entries that found no room in the queue */
    _Atomic bool tell;     /* log_update_error */
    _Atomic int32_t day;   /* the open date */
    _Atomic bool ending;   /* no more entries come */
    _Atomic bool empty;    /* the thread has written all that it was handed */
    /* the thread's */
    struct io *io;
    struct cursor cursor;
    uint64_t seen, tail, full_seen;      /* messages; the tail a look ago; of `full` */
    uint64_t access_logged, access_lost; /* as they were counted */
    int64_t looked;
    int dirty; /* looks that still read */
    struct day_file file;
    int64_t told_at;
    unsigned told;
};

/* ---- control ----------------------------------------------------------------------------------
 */

struct error_log *error_log_open(struct daemon *d, struct err *err)
{
    const struct config *c = d->config;
    struct error_log *e = calloc(1, sizeof *e);
    if (!e) {
        err_set(err, -ENOMEM, "error log: no memory");
        return NULL;
    }
    e->d = d;
    day_file_init(&e->file, "error log", c->state_directory, c->instance, "error");
    e->last = &e->first;
    pthread_mutex_init(&e->lock, NULL);
    struct cursor_config cc = {.dirs = {c->log_directory, c->spill_directory},
                               .prefix = c->log_prefix,
                               .instance = d->instance_id,
                               .ring = &d->ring,
                               .limit = CURSOR_COMMITTED,
                               .no_skim = true};
    cc.io = e->io = io_posix_create(err);
    if (!e->io || !cursor_open(&e->cursor, &cc, err)) {
        io_destroy(e->io);
        pthread_mutex_destroy(&e->lock);
        free(e);
        return NULL;
    }
    e->tail = ring_tail(&d->ring);
    cursor_seek(&e->cursor, e->tail);
    error_log_tick(e);
    return e;
}

void error_log_tick(struct error_log *e)
{
    if (!e)
        return;
    store_relaxed(&e->tell, e->d->config->log_update_error);
    store_relaxed(&e->day, e->d->day);
}

void error_log_path(struct error_log *e, char *out, size_t size)
{
    *out = 0;
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    snprintf(out, size, "%s", e->path);
    pthread_mutex_unlock(&e->lock);
}

/* Any thread. Steals o. */
static void enqueue(struct error_log *e, json_t *o)
{
    size_t len = json_dumpb(o, NULL, 0, JSON_COMPACT);
    struct entry *x = len ? malloc(sizeof *x + len + 1) : NULL;
    bool taken = false;
    if (x) {
        *x = (struct entry){.day = load_relaxed(&e->day), .len = len + 1};
        json_dumpb(o, x->line, len, JSON_COMPACT);
        x->line[len] = '\n';
        pthread_mutex_lock(&e->lock);
        taken = e->waiting + len <= WAITING_MAX;
        if (taken) {
            e->waiting += len;
            *e->last = x;
            e->last = &x->next;
        }
        pthread_mutex_unlock(&e->lock);
    }
    if (!taken) {
        atomic_fetch_add_explicit(&e->full, 1, memory_order_relaxed);
        free(x);
    }
    json_decref(o);
}

static json_t *head(const char *kind, const char *from, const char *table, const char *reason,
                    int64_t bytes)
{
    char stamp[CIVIL_STAMP_TEXT];
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:I}", "time", civil_format_stamp(clock_system(), stamp),
                     "kind", kind, "from", from, "table", table, "reason", reason, "bytes",
                     (json_int_t)bytes);
}

void error_log_put(struct error_log *e, const char *kind, unsigned uid, const char *table,
                   const char *reason, json_t *data)
{
    char from[32];
    snprintf(from, sizeof from, "uid %u", uid);
    error_log_put_from(e, kind, from, table, reason, data);
}

void error_log_put_from(struct error_log *e, const char *kind, const char *from, const char *table,
                        const char *reason, json_t *data)
{
    const char *key;
    json_t *v;
    int64_t bytes = 0;
    if (!e)
        return;
    json_object_foreach(data, key, v) bytes += (int64_t)json_string_length(v);
    json_t *o = head(kind, from, table, reason, bytes);
    if (o && data)
        json_object_update_missing(o, data);
    if (o)
        enqueue(e, o);
}

/* ---- the thread: messages that no decoder could place ------------------------------------------
 */

static uint64_t undecodable(const struct status *s)
{
    uint64_t n = 0;
    for (unsigned f = 0; f < s->n_feeds; f++) {
        const struct status_feed *x = &s->feeds[f];
        n += load_relaxed(&x->undecoded_unknown) + load_relaxed(&x->undecoded_length) +
             load_relaxed(&x->undecoded_symbol);
        for (unsigned l = 0; l < x->nlines; l++)
            n += load_relaxed(&x->line[l].malformed);
    }
    return n;
}

static const char *symbol(struct error_log *e, uint32_t id, char out[256])
{
    uint32_t len = 0;
    const char *t =
        id < symbols_count(&e->d->symbols) ? symbols_text(&e->d->symbols, id, &len) : "";
    snprintf(out, 256, "%.*s", (int)len, t);
    return out;
}

static void message(struct error_log *e, const struct schema *s, const struct record *r,
                    const struct packet_record *p, int64_t seq)
{
    static const char digits[] = "0123456789abcdef";
    char reason[256], feed[256], session[256], from[520], hex[2 * 4096 + 1];
    int reason_at = schema_column(s, "reason"), bytes_at = schema_column(s, "bytes");
    uint32_t len = 0;
    if (reason_at < 0 || bytes_at < 0 || !p)
        return;
    symbol(e, le32((const uint8_t *)r + s->col[reason_at].offset), reason);
    if (strcmp(reason, "unknown") && strcmp(reason, "length") && strcmp(reason, "symbol") &&
        strcmp(reason, "malformed"))
        return; /* kept whole for another reason than that processing failed */
    const uint8_t *bytes = (const uint8_t *)record_string(r, s->col[bytes_at].offset, &len);
    uint32_t n = !bytes ? 0 : len < 4096 ? len : 4096;
    for (uint32_t i = 0; i < n; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[2 * n] = 0;
    snprintf(from, sizeof from, "%s %s", symbol(e, p->feed, feed), symbol(e, p->session, session));
    json_t *o = head("message", from, s->name, reason, len);
    if (o) {
        json_object_set_new(o, "seq", json_integer(seq));
        json_object_set_new(o, "hex", json_string(hex));
        enqueue(e, o);
    }
}

static void read_journal(struct error_log *e, uint64_t to)
{
    const struct schema *s = schema_set_find(e->d->schemas, "undecoded");
    const struct frame *f;
    enum cursor_verdict v = CURSOR_FRAME;
    while (s && e->cursor.position < to && v != CURSOR_WAIT && v != CURSOR_END &&
           v != CURSOR_ERROR) {
        v = cursor_next(&e->cursor, &f);
        if (v != CURSOR_FRAME || f->kind != FRAME_DATA)
            continue;
        struct record_walk w;
        const struct record *r;
        record_walk_start(&w, f);
        while ((r = record_walk_next(&w)))
            if (r->table == s->id)
                message(e, s, r, w.packet, record_walk_seq(&w));
    }
}

/*
 * The counters are raised before a message's row is journaled, at most a burst later: what lies
 * below the tail of the look before and was not counted by then is no such row, and is skipped.
 */
static void look(struct error_log *e)
{
    uint64_t seen = undecodable(e->d->status), tail = ring_tail(&e->d->ring);
    if (seen != e->seen)
        e->dirty = 2;
    e->seen = seen;
    if (e->dirty) {
        e->dirty--;
        read_journal(e, tail);
    } else if (e->cursor.position < e->tail) {
        cursor_seek(&e->cursor, e->tail);
    }
    e->tail = tail;
}

/* ---- the thread: the file ---------------------------------------------------------------------
 */

static bool write_line(struct error_log *e, const struct entry *x)
{
    bool ok = day_file_write(&e->file, x->day, x->line, x->len, e->d->config->error_log_size);
    if (strcmp(e->path, e->file.path) != 0) { /* written here only */
        pthread_mutex_lock(&e->lock);
        memcpy(e->path, e->file.path, sizeof e->path);
        pthread_mutex_unlock(&e->lock);
    }
    return ok;
}

static void tell(struct error_log *e, const struct entry *x)
{
    int64_t now = clock_monotonic();
    if (now - e->told_at >= NS_PER_S) {
        e->told_at = now;
        e->told = 0;
    }
    if (e->told++ >= ERROR_LOG_TOLD)
        return;
    int n = (int)x->len - 1;
    fprintf(stderr, "penstockd: update error: %.*s%s\n", n < TOLD_BYTES ? n : TOLD_BYTES, x->line,
            n < TOLD_BYTES ? "" : "...");
    count_add(e->d->status, ERRORS_TOLD, 1);
}

static struct entry *take(struct error_log *e)
{
    pthread_mutex_lock(&e->lock);
    struct entry *x = e->first;
    if (x) {
        e->first = x->next;
        e->last = e->first ? e->last : &e->first;
        e->waiting -= x->len - 1;
    }
    pthread_mutex_unlock(&e->lock);
    return x;
}

/* The access log is written here too. */
static int access_lines(struct error_log *e)
{
    uint64_t logged, lost;
    if (!e->d->access)
        return 0;
    int n = access_work(e->d->access);
    access_totals(e->d->access, &logged, &lost);
    count_add(e->d->status, ACCESS_LOGGED, logged - e->access_logged);
    count_add(e->d->status, ACCESS_LOST, lost - e->access_lost);
    e->access_logged = logged;
    e->access_lost = lost;
    return n;
}

static int error_log_work(void *arg)
{
    struct error_log *e = arg;
    int64_t now = clock_monotonic();
    int n = 0;
    if (now - e->looked >= LOOK_NS || load_acquire(&e->ending)) {
        e->looked = now;
        look(e);
    }
    struct entry *x;
    for (; n < 64 && (x = take(e)); n++) {
        if (load_relaxed(&e->tell))
            tell(e, x);
        if (write_line(e, x))
            count_add(e->d->status, ERRORS_LOGGED, 1);
        else
            count_add(e->d->status, ERRORS_LOST, 1);
        free(x);
    }
    n += access_lines(e);
    uint64_t full = load_relaxed(&e->full);
    if (full != e->full_seen) {
        count_add(e->d->status, ERRORS_LOST, full - e->full_seen);
        e->full_seen = full;
    }
    if (!n && load_acquire(&e->ending))
        store_release(&e->empty, true);
    return n;
}

static const struct thread_ops ops = {.work = error_log_work};

bool error_log_start(struct error_log *e, struct err *err)
{
    const struct topo_thread *t = topo_thread("errors");
    thread_define(&e->thread, e->d->status, t->name, &ops, e, &e->d->clock, WAIT_DOZE, t->nice, -1);
    e->running = thread_start(&e->thread, err);
    return e->running;
}

void error_log_stop(struct error_log *e)
{
    if (!e || !e->running)
        return;
    int64_t end = clock_monotonic() + NS_PER_S;
    store_release(&e->ending, true);
    while (!load_acquire(&e->empty) && clock_monotonic() < end)
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    thread_stop(&e->thread);
    e->running = false;
}

void error_log_close(struct error_log *e)
{
    struct entry *x;
    if (!e)
        return;
    error_log_stop(e);
    while ((x = take(e)))
        free(x);
    day_file_close(&e->file);
    cursor_close(&e->cursor);
    io_destroy(e->io);
    pthread_mutex_destroy(&e->lock);
    free(e);
}
