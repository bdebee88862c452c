/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history - what a log directory tells about a daemon that was killed again and again.
 *
 *   history watch SOCKET FILE   maps the daemon's sealed ring, waits until that process is gone,
 *                               and appends "start durable written": what it had announced by then
 *   history recover DIR         one recovery as a start does it, symbols and all; touches DIR
 *   history check DIR FILE      checks, over every file of DIR, the torn tails saved aside
 *                               included, and the announcements of FILE:
 *     - no position names two frames, and no two frames overlap
 *     - all that an incarnation had announced as written is in the log, without a hole
 *     - a position follows the one before, or a restart mark that names it
 *     - of every (feed, session) the sequences go on: each on-time row and each gap begins where
 *       the one before ended; so nothing is doubled, and every sequence is a row or lies in a gap
 *     - behind each restart mark at most one `down` gap a session, and it comes first
 *     - a late row lies in a gap and comes once
 *   Prints one line of figures; exit 0 = all holds, 1 = not (the first 20 faults are named).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "socket_client.h"
#include "core/ring.h"
#include "core/tables.h"
#include "storage/cursor.h"
#include "storage/logscan.h"
#include "storage/recovery.h"

#define SHOW 20

static unsigned faults;

__attribute__((format(printf, 1, 2))) static void fault(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (faults++ < SHOW) {
        fprintf(stderr, "history: ");
        vfprintf(stderr, fmt, ap);
        fprintf(stderr, "\n");
    }
    va_end(ap);
}

static void *grown(void *p, size_t n, size_t each)
{
    if (n & (n - 1) || (n && n < 64))
        return p;
    p = realloc(p, (n ? 2 * n : 64) * each);
    pst_must(p);
    return p;
}

/* ---- watch ---- */

static int watch(const char *path, const char *out)
{
    struct client_conn c;
    struct err err = {0};
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (!client_open(&c, path, &err))
        return 0; /* killed before it could be asked */
    if (getsockopt(c.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len))
        return 1;
    int pid = (int)syscall(SYS_pidfd_open, peer.pid, 0);
    json_t *r = client_call(&c, "attach", json_array(), &err);
    struct ring ring;
    if (!r)
        return 0;
    if (c.nfds != 3 || !ring_attach(&ring, c.fds[0], &err)) {
        fprintf(stderr, "history: no ring: %s\n", err.text);
        return 1;
    }
    json_decref(r);
    client_close_conn(&c);
    struct pollfd p = {.fd = pid, .events = POLLIN};
    while (pid >= 0 && poll(&p, 1, -1) < 0 && errno == EINTR)
        ;
    /* the memory outlives the process as long as it is mapped here */
    FILE *f = fopen(out, "a");
    if (!f)
        return 1;
    fprintf(f, "%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", ring.head->start,
            load_acquire(&ring.head->durable), load_acquire(&ring.head->written));
    return fclose(f) != 0;
}

/* ---- all frames of all files ---- */

struct place {
    uint64_t position;
    uint32_t length, crc, file;
};
static struct place *all;
static size_t n_all;
static char **files;
static uint32_t n_files, n_torn;
static uint64_t instance;

static void add(const struct frame *f)
{
    all = grown(all, n_all, sizeof *all);
    all[n_all++] = (struct place){f->position, f->length, f->crc, n_files - 1};
}

static void scan_log(struct io *io, const char *path)
{
    struct logscan s;
    struct err err;
    if (!logscan_open(&s, io, path, 0, &err)) {
        if (err.code != -EBADMSG) /* killed before the header was whole: nothing stood there */
            fault("%s", err.text);
        return;
    }
    instance = s.header.instance;
    const struct frame *f;
    enum logscan_verdict v;
    while ((v = logscan_step(&s, &f, UINT64_MAX)) == LOGSCAN_FRAME || v == LOGSCAN_DAMAGE)
        if (v == LOGSCAN_FRAME && f->kind != FRAME_FILE)
            add(f);
    if (v == LOGSCAN_TORN || v == LOGSCAN_ERROR)
        fault("%s: ends %s after a recovery", path, logscan_verdict_name(v));
    logscan_close(&s);
}

/* Any valid frame in what was cut off: it had been given a position too. */
static void scan_torn(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st))
        return;
    uint8_t *b = malloc((size_t)st.st_size + 8);
    pst_must(b && read(fd, b, (size_t)st.st_size) == st.st_size);
    close(fd);
    n_torn++;
    for (size_t at = 0; at + FRAME_HEADER <= (size_t)st.st_size; at += 8)
        if (frame_check(b + at, (size_t)st.st_size - at, frame_seed(instance)) == FRAME_OK &&
            ((const struct frame *)(b + at))->kind != FRAME_FILE)
            add((const struct frame *)(b + at));
    free(b);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void scan_directory(struct io *io, const char *dir)
{
    char *torn[1024];
    char *log[1024];
    unsigned nt = 0, nl = 0;
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        char path[4096 + 300];
        struct log_name name;
        snprintf(path, sizeof path, "%.4000s/%s", dir, e->d_name);
        if (strstr(e->d_name, ".torn-") && nt < PST_COUNT(torn))
            torn[nt++] = strdup(path);
        else if (log_name_parse(&name, "log", e->d_name) && nl < PST_COUNT(log))
            log[nl++] = strdup(path);
    }
    if (d)
        closedir(d);
    /* the torn tails of a daemon lie in its state directory, beside the log's in these tests */
    char quarantine[4096 + 40];
    snprintf(quarantine, sizeof quarantine, "%.4000s/../state/quarantine", dir);
    d = opendir(quarantine);
    while (d && (e = readdir(d))) {
        char path[4096 + 340];
        snprintf(path, sizeof path, "%s/%s", quarantine, e->d_name);
        if (strstr(e->d_name, ".torn-") && nt < PST_COUNT(torn))
            torn[nt++] = strdup(path);
    }
    if (d)
        closedir(d);
    qsort(log, nl, sizeof *log, by_name);
    for (unsigned i = 0; i < nl + nt; i++) {
        files = grown(files, n_files, sizeof *files);
        files[n_files++] = i < nl ? log[i] : torn[i - nl];
        if (i < nl)
            scan_log(io, log[i]);
        else
            scan_torn(torn[i - nl]);
    }
}

static int by_position(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->position < y->position ? -1 : x->position > y->position;
}

static void one_name_each(void)
{
    qsort(all, n_all, sizeof *all, by_position);
    for (size_t i = 1; i < n_all; i++) {
        const struct place *a = &all[i - 1], *b = &all[i];
        if (a->position == b->position && (a->crc != b->crc || a->length != b->length))
            fault("position %" PRIu64 " names two frames: %u bytes in %s, %u bytes in %s",
                  a->position, a->length, files[a->file], b->length, files[b->file]);
        else if (a->position != b->position && a->position + a->length > b->position)
            fault("frame %" PRIu64 " of %s reaches into frame %" PRIu64 " of %s", a->position,
                  files[a->file], b->position, files[b->file]);
    }
}

/* ---- the journal, as every reader sees it ---- */

struct range {
    uint64_t first, last;
    uint64_t taken; /* late rows within; of an open one: data frames before it */
};
struct session {
    uint32_t feed, session;
    uint64_t next;
    bool begun, restarted; /* nothing yet since the restart mark */
    struct range *gap, *open;
    size_t gaps, opens;
    uint64_t *late;
    size_t nlate;
    unsigned downs;
};
static struct session *sessions;
static size_t n_sessions;
static uint64_t rows, late_rows, gap_seqs, down_gaps, restarts, frames;
#define OPEN_FRAMES 8
static uint64_t data_frames; /* read so far */
static bool two_streams;     /* interval files were seen */
static uint64_t hole_from;   /* of a range that stands in no file; 0 = none since the restart */

static struct session *session_of(uint32_t feed, uint32_t session)
{
    for (size_t i = 0; i < n_sessions; i++)
        if (sessions[i].feed == feed && sessions[i].session == session)
            return &sessions[i];
    sessions = grown(sessions, n_sessions, sizeof *sessions);
    sessions[n_sessions] = (struct session){.feed = feed, .session = session};
    return &sessions[n_sessions++];
}

/* Sequences that the frames before jumped over: of two streams that share a seal the second frame
 * brings what the first left out, or a gap row after a start declares it. */
static bool fills(struct session *s, uint64_t first, uint64_t last)
{
    for (size_t i = 0; i < s->opens; i++) {
        struct range o = s->open[i];
        if (first < o.first || last > o.last)
            continue;
        s->open[i] = s->open[--s->opens];
        for (unsigned k = 0; k < 2; k++) {
            struct range rest = k ? (struct range){last + 1, o.last, o.taken}
                                  : (struct range){o.first, first - 1, o.taken};
            if (rest.first > rest.last)
                continue;
            s->open = grown(s->open, s->opens, sizeof *s->open);
            s->open[s->opens++] = rest;
        }
        return true;
    }
    return false;
}

static void goes_on(struct session *s, uint64_t first, uint64_t next, uint64_t position,
                    const char *what)
{
    for (size_t i = 0; i < s->opens; i++)
        if (*what == 'r' && s->open[i].taken + OPEN_FRAMES < data_frames)
            fault("%" PRIu64 " to %" PRIu64 " are neither rows nor gap before position %" PRIu64,
                  s->open[i].first, s->open[i].last, position);
    if (s->begun && first < s->next && next > first && fills(s, first, next - 1))
        return;
    /* A hole - of two files one may be ahead when the writer dies - took what lay in it: a lost_log
     * gap has to say so, in whichever later life its rows become durable. */
    if (s->begun && first > s->next && *what == 'r' && (hole_from || two_streams)) {
        s->open = grown(s->open, s->opens, sizeof *s->open);
        s->open[s->opens++] =
            (struct range){s->next, first - 1, hole_from ? UINT64_MAX / 2 : data_frames};
    } else if (s->begun && first != s->next) {
        fault("%s %" PRIu64 " at position %" PRIu64 ", expected was %" PRIu64, what, first,
              position, s->next);
    }
    s->begun = true;
    s->next = next;
}

static void one_gap(struct cursor *c, const struct frame *f, const struct record *r)
{
    const struct schema *t = dictionary_schema(&c->dict, r->table);
    if (!t || strcmp(t->name, "gap")) {
        fault("gap frame %" PRIu64 " holds a row of another table", f->position);
        return;
    }
    const uint8_t *b = (const uint8_t *)r;
    struct session *s =
        session_of(le32(b + t->col[GAP_FEED].offset), le32(b + t->col[GAP_SESSION].offset));
    uint64_t first = le64(b + t->col[GAP_FIRST].offset), last = le64(b + t->col[GAP_LAST].offset);
    uint32_t len = 0;
    const char *why = dictionary_peek(&c->dict, le32(b + t->col[GAP_REASON].offset), &len);
    bool down = why && len == 4 && !memcmp(why, "down", 4);
    bool owed = s->begun && first < s->next && fills(s, first, last);
    if (!owed)
        goes_on(s, first, last + 1, f->position, "gap");
    if (owed) {
        if (down)
            fault("down gap %" PRIu64 " to %" PRIu64 " at position %" PRIu64 " goes back", first,
                  last, f->position);
    } else if (down) {
        down_gaps++;
        if (!s->restarted)
            fault("down gap %" PRIu64 " to %" PRIu64 " at position %" PRIu64
                  " does not come first after a start",
                  first, last, f->position);
    } else if (s->restarted && s->gaps + s->begun > 1) {
        fault("gap %" PRIu64 " to %" PRIu64 " after a restart says '%.*s', not down", first, last,
              (int)len, why ? why : "");
    }
    s->restarted &= owed;
    gap_seqs += last - first + 1;
    s->gap = grown(s->gap, s->gaps, sizeof *s->gap);
    s->gap[s->gaps++] = (struct range){first, last, 0};
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void one_run(const struct frame *f, const struct packet_record *p)
{
    struct session *s = session_of(p->feed, p->session);
    if (p->flags & (ROW_DIVERGENT | RUN_UNSEQUENCED))
        return;
    if (p->flags & ROW_LATE) {
        for (uint32_t i = 0; i < p->seqs; i++) {
            s->late = grown(s->late, s->nlate, sizeof *s->late);
            s->late[s->nlate++] = p->seq + i;
        }
        late_rows += p->seqs;
        return;
    }
    goes_on(s, p->seq, p->seq + p->seqs, f->position, "row");
    s->restarted = false;
    rows += p->seqs;
}

static void late_in_gaps(struct session *s)
{
    qsort(s->late, s->nlate, sizeof *s->late, by_number);
    size_t g = 0;
    for (size_t i = 0; i < s->nlate; i++) {
        if (i && s->late[i] == s->late[i - 1])
            fault("late row %" PRIu64 " comes twice", s->late[i]);
        while (g < s->gaps && s->gap[g].last < s->late[i])
            g++;
        if (g == s->gaps || s->gap[g].first > s->late[i])
            fault("late row %" PRIu64 " lies in no gap", s->late[i]);
    }
}

static uint64_t mark_number(const char *json, uint32_t len, const char *key)
{
    char text[512], want[32];
    snprintf(text, sizeof text, "%.*s", (int)len, json);
    snprintf(want, sizeof want, "\"%s\":", key);
    const char *at = strstr(text, want);
    return at ? strtoull(at + strlen(want), NULL, 10) : 0;
}

struct stretch { /* positions without a hole */
    uint64_t from, to;
};
static struct stretch *stretch;
static size_t n_stretch;

static void reach(const struct frame *f, uint64_t *restart_to)
{
    if (n_stretch && stretch[n_stretch - 1].to == f->position) {
        stretch[n_stretch - 1].to += f->length;
        return;
    }
    unsigned type = 0;
    uint32_t len = 0;
    const char *json = f->kind == FRAME_MARK ? frame_mark(f, &type, &len) : NULL;
    bool restart = json && type == MARK_RESTART;
    if (n_stretch && !restart) {
        hole_from = stretch[n_stretch - 1].to;
        fprintf(stderr, "history: positions %" PRIu64 " to %" PRIu64 " stand in no file\n",
                hole_from, f->position);
    }
    if (restart && mark_number(json, len, "start") != f->position)
        fault("the restart mark at %" PRIu64 " says %" PRIu64, f->position,
              mark_number(json, len, "start"));
    *restart_to = f->position;
    stretch = grown(stretch, n_stretch, sizeof *stretch);
    stretch[n_stretch++] = (struct stretch){f->position, f->position + f->length};
}

static void read_journal(struct io *io, const char *dir)
{
    struct cursor c;
    struct err err;
    struct cursor_config cc = {.io = io, .dirs = {dir}, .prefix = "log"};
    if (!cursor_open(&c, &cc, &err)) {
        fault("%s", err.text);
        return;
    }
    const struct frame *f;
    enum cursor_verdict v;
    uint64_t at = 0;
    while ((v = cursor_next(&c, &f)) == CURSOR_FRAME || v == CURSOR_LOST || v == CURSOR_REWOUND) {
        if (v != CURSOR_FRAME)
            continue;
        frames++;
        reach(f, &at);
        unsigned type = 0;
        uint32_t len;
        if (f->kind == FRAME_MARK && frame_mark(f, &type, &len) &&
            (type == MARK_RESTART || type == MARK_END)) {
            restarts += type == MARK_RESTART;
            hole_from = 0;
            for (size_t i = 0; i < n_sessions; i++)
                sessions[i].restarted = sessions[i].begun;
        }
        if (f->kind == FRAME_GAP) {
            struct record_walk w;
            const struct record *r;
            record_walk_start(&w, f);
            while ((r = record_walk_next(&w)))
                one_gap(&c, f, r);
        } else if (f->kind == FRAME_DATA) {
            data_frames++;
            two_streams |= f->stream != STREAM_DAILY;
            const uint8_t *p = frame_payload(f), *end = p + frame_payload_bytes(f);
            bool bad = false;
            const struct packet_record *run;
            record_derived(&p, end);
            if (end - p >= 16 && le16(p) != TABLE_PACKET)
                continue;
            while ((run = packet_hop(&p, end, &bad)))
                one_run(f, run);
            if (bad)
                fault("frame %" PRIu64 " lies about its runs", f->position);
        }
    }
    if (v == CURSOR_ERROR)
        fault("%s", c.err.text);
    cursor_close(&c);
}

static unsigned announced(const char *path)
{
    FILE *f = fopen(path, "r");
    uint64_t start, durable, written;
    unsigned n = 0;
    while (f && fscanf(f, "%" SCNu64 " %" SCNu64 " %" SCNu64, &start, &durable, &written) == 3) {
        /* a kill leaves the page cache alone: what was written is there, whatever the level */
        uint64_t to = written > durable ? written : durable;
        bool there = to <= start;
        for (size_t i = 0; i < n_stretch && !there; i++)
            there = stretch[i].from <= start && to <= stretch[i].to;
        if (!there)
            fault("%" PRIu64 " to %" PRIu64 " was announced (durable to %" PRIu64
                  "), but is not all in the log",
                  start, to, durable);
        n++;
    }
    if (f)
        fclose(f);
    return n;
}

static int check(const char *dir, const char *facts)
{
    struct err err;
    struct io *io = io_posix_create(&err);
    pst_must(io);
    scan_directory(io, dir);
    one_name_each();
    read_journal(io, dir);
    for (size_t i = 0; i < n_sessions; i++) {
        late_in_gaps(&sessions[i]);
        for (size_t k = 0; k < sessions[i].opens; k++)
            fault("%" PRIu64 " to %" PRIu64 " are neither rows nor gap", sessions[i].open[k].first,
                  sessions[i].open[k].last);
    }
    unsigned n = announced(facts);
    printf("history: %u files, %u torn tails, %" PRIu64 " frames, %" PRIu64
           " unclean restarts, %u announcements kept; rows %" PRIu64 ", late %" PRIu64
           ", in gaps %" PRIu64 ", %" PRIu64 " down gaps: %s\n",
           n_files - n_torn, n_torn, frames, restarts, n, rows, late_rows, gap_seqs, down_gaps,
           faults ? "WRONG" : "right");
    io_destroy(io);
    return faults != 0;
}

/* ---- recover ---- */

static int recover(const char *dir)
{
    struct err err = {0};
    struct io *io = io_posix_create(&err);
    DIR *d = opendir(dir);
    struct dirent *e;
    while (io && d && (e = readdir(d)) && !instance) {
        char path[4096 + 300];
        struct log_name name;
        struct logscan s;
        snprintf(path, sizeof path, "%.4000s/%s", dir, e->d_name);
        if (log_name_parse(&name, "log", e->d_name) && logscan_open(&s, io, path, 0, &err)) {
            instance = s.header.instance;
            logscan_close(&s);
        }
    }
    if (d)
        closedir(d);
    if (!instance) {
        printf("nothing\n");
        return 0;
    }
    struct symbols symbols;
    struct recovery r;
    struct recovery_config rc = {.io = io,
                                 .dirs = {dir},
                                 .prefix = "log",
                                 .instance = instance,
                                 .symbols = &symbols,
                                 .schemas = schema_set_new()};
    if (!symbols_create(&symbols, 100000, &err) || !recovery_run(&r, &rc, &err)) {
        fprintf(stderr, "history: %s\n", err.text);
        return 1;
    }
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %u\n", r.old_end, r.start, r.durable, r.symbols);
    for (uint32_t i = 0; i < r.sessions; i++)
        printf("%s %s %" PRIu64 "\n", r.session[i].feed, r.session[i].session, r.session[i].next);
    recovery_free(&r);
    symbols_close(&symbols);
    schema_set_free(rc.schemas);
    io_destroy(io);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "watch"))
        return watch(argv[2], argv[3]);
    if (argc == 4 && !strcmp(argv[1], "check"))
        return check(argv[2], argv[3]);
    if (argc == 3 && !strcmp(argv[1], "recover"))
        return recover(argv[2]);
    fprintf(stderr, "usage: history watch SOCKET FILE | check DIR FILE | recover DIR\n");
    return 2;
}
