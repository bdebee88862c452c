/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of buffering events: which marks open, turn and close them, their names when all is over,
 * and what a start finds of them, whatever happened in between.
 */
#include "log_fixture.h"
#include "core/event.h"
#include "cursor.h"
#include "recovery.h"

/* ---- an io that can be made to fail ---- */

static const struct io_ops *real;
static struct io_ops faulty;
static bool no_rename, no_sync_dir;
static int event_fd, poison; /* poison: so many writes of the event's file fail */

static int f_rename(struct io *io, const char *from, const char *to)
{
    return no_rename ? -EROFS : real->rename(io, from, to);
}
static int f_sync_dir(struct io *io, const char *path)
{
    return no_sync_dir ? -EIO : real->sync_dir(io, path);
}
static int f_open(struct io *io, const char *path, int flags, unsigned mode)
{
    int fd = real->open(io, path, flags, mode);
    if (strstr(path, ".buffer") && flags & O_CREAT)
        event_fd = fd;
    return fd;
}
static int f_submit(struct io *io, struct io_op **op, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (poison && op[i]->kind == IO_WRITE && op[i]->fd == event_fd) {
            op[i]->fd = -1;
            poison--;
        }
    return real->submit(io, op, n);
}

static struct fix *begin(void)
{
    struct fix *x = fix_new("/dev/shm", LOG_DURABLE, false, false);
    no_rename = no_sync_dir = false;
    poison = 0;
    event_fd = -1;
    real = x->io->ops;
    faulty = *real;
    faulty.rename = f_rename;
    faulty.sync_dir = f_sync_dir;
    faulty.open = f_open;
    faulty.submit = f_submit;
    x->io->ops = &faulty;
    assert_int_equal(mkdir(x->spill, 0755), 0);
    x->cfg.spill = x->spill;
    fix_start(x);
    fix_data(x, 512, 0, FIX_DAY);
    return x;
}

static void end(struct fix *x)
{
    x->io->ops = real;
    fix_free(x);
}

/* ---- marks ---- */

static uint64_t start_mark(struct fix *x, int id, unsigned stream, const char *status,
                           uint64_t since)
{
    char json[300], from[40] = "";
    uint64_t at = x->ring.w_tail;
    if (since)
        snprintf(from, sizeof from, ",\"since\":%llu", (unsigned long long)since);
    snprintf(json, sizeof json,
             "{\"id\":%d,\"stream\":%u,\"args\":{\"a\":\"b\"},\"status\":\"%s\"%s,\"rows\":0}", id,
             stream, status, from);
    fix_mark(x, MARK_BUFFER_START, json, FIX_DAY);
    return at;
}

static void end_mark(struct fix *x, int id, unsigned stream, uint64_t since)
{
    char json[300];
    snprintf(
        json, sizeof json,
        "{\"id\":%d,\"stream\":%u,\"args\":{},\"status\":\"complete\",\"since\":%llu,\"rows\":0}",
        id, stream, (unsigned long long)since);
    fix_mark(x, MARK_BUFFER_END, json, FIX_DAY);
}

static void mix(struct fix *x, unsigned stream, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        fix_data(x, 200 + 8 * (i % 90), 0, FIX_DAY);
        if (i % 2)
            fix_data(x, 120 + 8 * (i % 70), (uint8_t)stream, FIX_DAY - (int)(i % 3)); /* any day */
        if (i % 16 == 0)
            fix_mark(x, MARK_TICK, "{\"durable\":0}", FIX_DAY);
    }
}

/* ---- what is there ---- */

static bool exists(const struct fix *x, const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", x->dir, name);
    return access(path, F_OK) == 0;
}

static void settle(struct fix *x)
{
    assert_true(fix_settle(x, 10000));
    for (int i = 0; i < 50; i++)
        fix_round(x); /* closing, renaming */
}

/* One cursor over all files reads every frame once, as it was written. */
static void all_there(struct fix *x)
{
    struct io *io = io_posix_create(NULL);
    struct cursor c;
    struct err err;
    const struct frame *f;
    struct cursor_config cc = {
        .io = io, .dirs = {x->dir, x->spill}, .prefix = "log", .instance = FIX_INSTANCE};
    assert_true(cursor_open(&c, &cc, &err));
    cursor_seek(&c, x->start);
    uint64_t at = x->start;
    enum cursor_verdict v;
    while ((v = cursor_next(&c, &f)) == CURSOR_FRAME) {
        assert_true(f->position == at);
        assert_memory_equal(f, x->oracle + (at - x->start), f->length);
        at += f->length;
    }
    assert_int_equal(v, CURSOR_END);
    assert_true(at == ring_tail(&x->ring));
    cursor_close(&c);
    io_destroy(io);
}

static struct log_file_header header_of(const struct fix *x, const char *name)
{
    char path[600];
    struct log_file_header h;
    size_t n;
    uint8_t *buf = aligned_alloc(4096, LOG_PREAMBLE);
    struct io *io = io_posix_create(NULL);
    snprintf(path, sizeof path, "%s/%s", x->dir, name);
    assert_int_equal(logscan_header(io, path, FIX_INSTANCE, buf, &n, &h), LOG_HEADER_OK);
    io_destroy(io);
    free(buf);
    return h;
}

static unsigned reason_of(const struct fix *x, const char *name)
{
    char path[600];
    struct logscan s;
    struct err err;
    const struct frame *f;
    unsigned reason = 0;
    struct io *io = io_posix_create(NULL);
    snprintf(path, sizeof path, "%s/%s", x->dir, name);
    assert_true(logscan_open(&s, io, path, FIX_INSTANCE, &err));
    while (logscan_step(&s, &f, UINT64_MAX) == LOGSCAN_FRAME) {
        struct log_file_end e;
        if (log_file_end_read(&e, f))
            reason = e.reason;
    }
    logscan_close(&s);
    io_destroy(io);
    return reason;
}

/* What a start would find; the number of active events, the first one in *e (json not owned). */
static uint32_t found(const struct fix *x, struct recovery_event *e)
{
    struct recovery r;
    struct err err = {0};
    struct io *io = io_posix_create(NULL);
    struct recovery_config rc = {.io = io,
                                 .dirs = {x->dir, x->spill},
                                 .prefix = "log",
                                 .instance = FIX_INSTANCE,
                                 .read_only = true};
    if (!recovery_run(&r, &rc, &err))
        fail_msg("%s", err.text);
    uint32_t n = r.events;
    if (n && e) {
        *e = r.event[0];
        assert_int_equal(e->len, strlen(e->json));
        assert_non_null(strstr(e->json, "\"args\":{\"a\":\"b\"}"));
        e->json = NULL;
    }
    /* what it says to the next files is found again */
    size_t bytes;
    uint8_t *states = recovery_states(&r, &bytes);
    uint32_t said = 0;
    for (size_t at = 0; at < bytes; at += ((struct frame *)(states + at))->length) {
        struct event_mark m;
        unsigned type;
        said += event_of((struct frame *)(states + at), &m, &type) && type == MARK_STATE &&
                m.since == r.event[said].since && m.id == r.event[said].id;
    }
    assert_int_equal(said, n);
    free(states);
    recovery_free(&r);
    io_destroy(io);
    return n;
}

/* ---- tests ---- */

static void life(void **state)
{
    (void)state;
    struct fix *x = begin();
    struct recovery_event e;
    settle(x);
    assert_int_equal(found(x, NULL), 0);
    uint64_t since = start_mark(x, 10, 254, "started", 0);
    settle(x);
    assert_true(exists(x, "test.10.buffer")); /* before its first row */
    assert_int_equal(found(x, &e), 1);
    assert_true(e.id == 10 && e.stream == 254 && e.since == since && !e.passes);
    mix(x, 254, 300);
    fix_mark(x, MARK_EOD, "{\"calendar\":\"default\",\"day\":\"x\"}", FIX_DAY);
    fix_data(x, 512, 0, FIX_DAY + 1);
    fix_data(x, 512, 254, FIX_DAY + 1); /* an event outlives days */
    settle(x); /* the file at hand has all there is: the mark closes it nevertheless */
    start_mark(x, 10, 254, "spilled", since);
    mix(x, 254, 50);
    settle(x);
    assert_int_equal(found(x, &e), 1);
    end_mark(x, 10, 254, since);
    fix_data(x, 512, 0, FIX_DAY + 1);
    settle(x);
    assert_int_equal(found(x, NULL), 0);
    assert_true(exists(x, "test.10.buffer.complete") && exists(x, "test.10.buffer.1.complete"));
    assert_false(exists(x, "test.10.buffer") || exists(x, "test.10.buffer.1"));
    assert_int_equal(reason_of(x, "test.10.buffer.complete"), LOG_END_LIMIT);
    assert_int_equal(reason_of(x, "test.10.buffer.1.complete"), LOG_END_EVENT);
    for (int i = 0; i < 2; i++) {
        struct log_file_header h =
            header_of(x, i ? "test.10.buffer.1.complete" : "test.10.buffer.complete");
        assert_string_equal(h.event, "10");
        assert_true(h.since == since && h.stream == 254 && h.suffix == (uint32_t)i);
        assert_int_equal(h.minute, LOG_NO_MINUTE);
    }
    /* the id again, on the other day, and the stream: other files, nothing is written over */
    uint64_t second = start_mark(x, 10, 254, "started", 0);
    mix(x, 254, 20);
    settle(x);
    assert_true(exists(x, "test.10.buffer.2"));
    assert_int_equal(found(x, &e), 1);
    assert_true(e.since == second);
    end_mark(x, 10, 254, second);
    fix_drain(x);
    assert_true(exists(x, "test.10.buffer.2.complete"));
    all_there(x);
    unsigned renamed = 0;
    for (struct log_event n; log_event_next(x->log, &n);) {
        char to[LOG_NAME_MAX + 16];
        snprintf(to, sizeof to, "%s.complete", n.name);
        assert_true(n.type != LOG_RENAMED || !strcmp(n.to, to));
        renamed += n.type == LOG_RENAMED;
    }
    assert_int_equal(renamed, 3);
    end(x);
}

static void several_at_once(void **state)
{
    (void)state;
    struct fix *x = begin();
    uint64_t since[8];
    for (int i = 0; i < 8; i++)
        since[i] = start_mark(x, 100 + i, 254 - (unsigned)i, "started", 0);
    for (int k = 0; k < 40; k++)
        for (int i = 0; i < 8; i++)
            mix(x, 254 - (unsigned)i, 2);
    settle(x);
    assert_int_equal(found(x, NULL), 8);
    for (int i = 7; i >= 0; i--) {
        end_mark(x, 100 + i, 254 - (unsigned)i, since[i]);
        settle(x);
        assert_int_equal(found(x, NULL), (unsigned)i);
    }
    fix_drain(x);
    all_there(x);
    end(x);
}

static void names_wait_for_the_disk(void **state)
{
    (void)state;
    struct fix *x = begin();
    uint64_t since = start_mark(x, -3, 254, "started", 0);
    mix(x, 254, 40);
    no_rename = true;
    end_mark(x, -3, 254, since);
    mix(x, 0, 20);
    settle(x); /* what comes behind is durable all the same */
    assert_true(exists(x, "test.-3.buffer"));
    assert_int_equal(reason_of(x, "test.-3.buffer"), LOG_END_EVENT);
    assert_int_equal(found(x, NULL), 0); /* a start renames it, and does not go on with it */
    no_rename = false;
    no_sync_dir = true;
    usleep(30000); /* retry_interval */
    settle(x);
    assert_true(exists(x, "test.-3.buffer.complete"));
    no_sync_dir = false;
    usleep(30000);
    settle(x);
    no_rename = true; /* a stop does not wait for a name */
    since = start_mark(x, 4, 254, "started", 0);
    end_mark(x, 4, 254, since);
    fix_drain(x);
    assert_true(exists(x, "test.4.buffer"));
    all_there(x);
    end(x);
}

static void poisoned(void **state)
{
    (void)state;
    for (int when = 0; when < 3; when++) { /* in the middle, at the first write, at the last */
        struct fix *x = begin();
        if (when == 1)
            poison = 1;
        uint64_t since = start_mark(x, 7, 253, "started", 0);
        mix(x, 253, 60);
        settle(x);
        if (when == 0)
            poison = 1;
        mix(x, 253, 60);
        if (when == 2) {
            settle(x);
            poison = 1;
        }
        end_mark(x, 7, 253, since);
        settle(x);
        assert_int_equal(poison, 0);
        assert_true(load_relaxed(&x->st->counter[COUNTER_LOG_POISONED]) > 0);
        fix_drain(x);
        unsigned live = 0, complete = 0;
        const char *dirs[] = {x->dir, x->spill};
        for (int d = 0; d < 2; d++) {
            DIR *list = opendir(dirs[d]);
            for (struct dirent *de; (de = readdir(list));) {
                struct log_name n;
                if (!log_name_parse(&n, "log", de->d_name) || !*n.event)
                    continue;
                live += n.state == LOG_NAME_LIVE;
                complete += n.state == LOG_NAME_COMPLETE;
            }
            closedir(list);
        }
        assert_int_equal(live, 0);
        assert_true(complete >= 1 && complete <= 2);
        assert_int_equal(found(x, NULL), 0);
        all_there(x);
        end(x);
    }
}

/* A start knows an event from the heads of the newest files alone: the ones before are gone. */
static void heads(void **state)
{
    (void)state;
    struct fix *x = begin();
    char path[600], json[300];
    struct recovery_event e;
    uint64_t since = start_mark(x, 5, 254, "started", 0);
    uint64_t over = start_mark(x, 6, 253, "started", 0);
    end_mark(x, 6, 253, over);
    mix(x, 254, 20);
    fix_mark(x, MARK_EOD, "{\"calendar\":\"default\",\"day\":\"x\"}", FIX_DAY);
    snprintf(json, sizeof json,
             "{\"buffer\":{\"id\":5,\"stream\":254,\"args\":{\"a\":\"b\"},\"status\":"
             "\"passthrough\",\"since\":"
             "%llu,\"rows\":0}}",
             (unsigned long long)since);
    fix_mark(x, MARK_STATE, json, FIX_DAY + 1); /* as the appender repeats it */
    fix_data(x, 512, 0, FIX_DAY + 1);
    fix_mark(x, MARK_EOD, "{\"calendar\":\"default\",\"day\":\"x\"}", FIX_DAY + 1);
    fix_data(x, 512, 0, FIX_DAY + 2);
    settle(x);
    /* the last daily file holds neither mark, its head does */
    static const char *const gone[] = {"test.5.buffer", "test.6.buffer.complete", "log2024.08.22",
                                       "log2024.08.23"};
    for (unsigned i = 0; i < PST_COUNT(gone); i++) {
        snprintf(path, sizeof path, "%s/%s", x->dir, gone[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(found(x, &e), 1);
    assert_true(e.id == 5 && e.since == since && e.passes);
    end(x);
}

/* What a killed daemon left: files of events that are over get their names, others do not. */
static bool over_but_five(void *arg, const char *event, const struct log_file_header *h)
{
    (void)arg;
    assert_non_null(h);
    return strcmp(event, "5") != 0;
}

static void completion(void **state)
{
    (void)state;
    struct fix *x = begin();
    start_mark(x, 5, 254, "started", 0);
    start_mark(x, 6, 253, "started", 0);
    mix(x, 254, 10);
    settle(x);
    log_fini(x->log); /* as if killed: no END */
    log_destroy(x->log);
    x->log = NULL;
    struct log_completion c = {.io = x->io,
                               .directory = x->dir,
                               .instance_name = "other",
                               .instance = FIX_INSTANCE,
                               .over = over_but_five};
    assert_int_equal(log_events_complete(&c), 0); /* another instance's files are not touched */
    assert_true(exists(x, "test.6.buffer"));
    c.instance_name = "test";
    assert_int_equal(log_events_complete(&c), 0);
    assert_true(exists(x, "test.5.buffer") && exists(x, "test.6.buffer.complete"));
    assert_int_equal(log_events_complete(&c), 0); /* again: nothing left to do */
    char from[600], to[600];
    snprintf(from, sizeof from, "%s/test.5.buffer", x->dir);
    snprintf(to, sizeof to, "%s/test.6.buffer", x->dir);
    assert_int_equal(link(from, to), 0);
    assert_int_equal(log_events_complete(&c), -EEXIST); /* nothing is written over */
    assert_true(exists(x, "test.6.buffer"));
    end(x);
}

/* ---- damaged heads ---- */

static char said[16384];

static void say(void *arg, const char *line)
{
    (void)arg;
    size_t n = strlen(said);
    snprintf(said + n, sizeof said - n, "%s\n", line);
}

/* A start behind bytes 0 to 20,000 of a file were overwritten, and its event's beginning then. */
static uint64_t beheaded(const struct fix *x, const char *name)
{
    static const uint8_t junk[20000] = {[0 ... 19999] = 0xa5};
    char path[600];
    struct recovery r;
    struct err err = {0};
    struct io *io = io_posix_create(NULL);
    snprintf(path, sizeof path, "%s/%s", x->dir, name);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, junk, sizeof junk, 0) == (ssize_t)sizeof junk);
    close(fd);
    struct recovery_config rc = {.io = io,
                                 .dirs = {x->dir, x->spill},
                                 .prefix = "log",
                                 .instance = FIX_INSTANCE,
                                 .say = say};
    said[0] = 0;
    if (!recovery_run(&r, &rc, &err))
        fail_msg("%s", err.text);
    recovery_free(&r);
    io_destroy(io);
    struct log_file_header h = header_of(x, name);
    assert_string_equal(h.writer, "recovered");
    assert_string_equal(h.event, "10");
    return h.since;
}

static void heads_anew(void **state)
{
    (void)state;
    struct fix *x = begin();
    uint64_t first = start_mark(x, 10, 254, "started", 0);
    mix(x, 254, 300);
    start_mark(x, 10, 254, "spilled", first);
    mix(x, 254, 300);
    end_mark(x, 10, 254, first);
    mix(x, 0, 20);
    uint64_t second = start_mark(x, 10, 254, "started", 0); /* the id again */
    mix(x, 254, 300);
    fix_drain(x);
    assert_true(exists(x, "test.10.buffer.2"));
    assert_true(beheaded(x, "test.10.buffer.2") == second); /* active: the journal knows */
    assert_non_null(strstr(said, "belongs to event 10"));
    assert_non_null(strstr(said, "stand in no file"));
    assert_null(strstr(said, "nothing is lost"));
    assert_true(beheaded(x, "test.10.buffer.complete") == first); /* a later file knows */
    assert_null(strstr(said, "nothing is lost"));
    /* its end mark knows; the second event is not it */
    assert_true(beheaded(x, "test.10.buffer.1.complete") == first);
    end(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(life),       cmocka_unit_test(several_at_once),
        cmocka_unit_test(poisoned),   cmocka_unit_test(names_wait_for_the_disk),
        cmocka_unit_test(heads),      cmocka_unit_test(completion),
        cmocka_unit_test(heads_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
