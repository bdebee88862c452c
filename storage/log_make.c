/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include "core/civil.h"
#include "core/clock.h"
#include "core/rows.h"
#include "core/symbols.h"
#include "log_file.h"
#include "log_make.h"

#define OPEN_MAX_FILES 32u
#define WRITE_BUFFER   (1u << 20)
#define FIRST_POSITION (1ull << 40)

struct made_file {
    int fd;
    struct log_file_header header;
    char path[1200];
    uint8_t *buf;
    size_t fill;
    uint64_t at; /* bytes written */
    uint64_t frames, bytes, last, used;
};

struct made_day {
    int32_t day;
    uint32_t files;
};

struct log_make {
    struct io *io;
    char directory[1000], prefix[64], name[64];
    uint64_t instance, position, clock_tick;
    uint32_t seed;
    int64_t time;
    struct schema_set *schemas;
    uint16_t fresh[TABLE_MAX]; /* table ids without a frame so far */
    unsigned nfresh;
    uint16_t known[TABLE_MAX]; /* those with one */
    unsigned nknown;
    int gap_id; /* the built-in table gap, -1: none */
    /* symbols */
    char **text; /* by id: length, text */
    uint32_t symbols, written, room;
    uint32_t *hash, slots; /* id + 1 */
    /* files */
    struct made_file *file[OPEN_MAX_FILES];
    unsigned files;
    struct made_day *day;
    uint32_t days, day_room, made;
    char (*path)[1200]; /* all that were made */
    uint32_t paths;
    /* the frame under way */
    pst_aligned(64) uint8_t frame[FRAME_MAX];
    uint8_t other[FRAME_MAX]; /* built beside it: symbols, schemas, marks */
    uint32_t fill, records;
    int32_t frame_day;
    bool frame_gap;
    struct packet_record *head; /* of the open run, in `frame` */
    struct packet_record prev;  /* of the row before, its own seq; feed null: none */
    uint64_t rows, bytes;
    struct err failed;
};

/* ---- files ---- */

static bool fail(struct log_make *m, struct err *err, int code, const char *path)
{
    if (!m->failed.code)
        err_set(&m->failed, code, "%s: %s", path, strerror(-code));
    if (err)
        *err = m->failed;
    return false;
}

static bool flush(struct log_make *m, struct made_file *f, struct err *err)
{
    int r = io_pwrite_all(m->io, f->fd, f->buf, f->fill, f->at);
    if (r)
        return fail(m, err, r, f->path);
    f->at += f->fill;
    f->fill = 0;
    return true;
}
static bool put(struct log_make *m, struct made_file *f, const void *p, uint32_t n, struct err *err)
{
    if (f->fill + n > WRITE_BUFFER && !flush(m, f, err))
        return false;
    memcpy(f->buf + f->fill, p, n);
    f->fill += n;
    return true;
}
static bool put_own(struct log_make *m, struct made_file *f, enum log_file_type type,
                    const void *body, uint32_t len, struct err *err)
{
    uint32_t n = log_file_frame(m->other, &f->header, type, body, len, f->header.created);
    return n ? put(m, f, m->other, n, err) : fail(m, err, -E2BIG, f->path);
}

static bool preamble(struct log_make *m, struct made_file *f, struct err *err)
{
    static _Thread_local uint8_t body[LOG_BODY_MAX];
    for (unsigned i = 0; i < LOG_HEADER_COPIES; i++)
        if (!put_own(m, f, LOG_FILE_HEADER, &f->header, sizeof f->header, err))
            return false;
    for (unsigned i = 0; i < m->nknown; i++) {
        char *json = schema_to_json(schema_set_get(m->schemas, m->known[i]));
        bool ok = json && put_own(m, f, LOG_FILE_SCHEMA, json, (uint32_t)strlen(json), err);
        free(json);
        if (!ok)
            return fail(m, err, -ENOMEM, f->path);
    }
    for (uint32_t id = 0; id < m->written;) {
        uint32_t n = 0, at = 8;
        put32(body, id);
        for (; id + n < m->written; n++) {
            const uint8_t *t = (const uint8_t *)m->text[id + n];
            if (at + 1u + t[0] > sizeof body)
                break;
            memcpy(body + at, t, 1u + t[0]);
            at += 1u + t[0];
        }
        put32(body + 4, n);
        id += n;
        if (!put_own(m, f, LOG_FILE_SYMBOLS, body, at, err))
            return false;
    }
    return true;
}

/* END frame, sync, close. */
static bool shut(struct log_make *m, unsigned i, enum log_end_reason reason, struct err *err)
{
    struct made_file *f = m->file[i];
    struct log_file_end e = {.last = f->frames ? f->last : f->header.first,
                             .frames = f->frames,
                             .bytes = f->bytes,
                             .closed = f->header.created,
                             .reason = (uint8_t)reason};
    bool ok = put_own(m, f, LOG_FILE_END, &e, sizeof e, err) && flush(m, f, err);
    int r = ok ? m->io->ops->fsync(m->io, f->fd) : 0;
    int c = m->io->ops->close(m->io, f->fd);
    if (ok && (r || c))
        ok = fail(m, err, r ? r : c, f->path);
    free(f->buf);
    free(f);
    m->file[i] = m->file[--m->files];
    return ok;
}

static struct made_day *day_of(struct log_make *m, int32_t day)
{
    for (uint32_t i = m->days; i > 0; i--)
        if (m->day[i - 1].day == day)
            return &m->day[i - 1];
    if (m->days == m->day_room) {
        uint32_t room = m->day_room ? 2 * m->day_room : 64;
        struct made_day *d = realloc(m->day, room * sizeof *d);
        if (!d)
            return NULL;
        m->day = d;
        m->day_room = room;
    }
    m->day[m->days] = (struct made_day){.day = day};
    return &m->day[m->days++];
}

static struct made_file *file_of(struct log_make *m, int32_t day, struct err *err)
{
    unsigned oldest = 0;
    for (unsigned i = 0; i < m->files; i++) {
        if (m->file[i]->header.day == day) {
            m->file[i]->used = ++m->clock_tick;
            return m->file[i];
        }
        if (m->file[i]->used < m->file[oldest]->used)
            oldest = i;
    }
    if (m->files == OPEN_MAX_FILES && !shut(m, oldest, LOG_END_MOVED, err))
        return NULL;
    struct made_day *d = day_of(m, day);
    struct made_file *f = calloc(1, sizeof *f);
    char(*paths)[1200] = realloc(m->path, (m->paths + 1) * sizeof *paths), name[LOG_NAME_MAX];
    m->path = paths ? paths : m->path;
    if (f)
        f->buf = malloc(WRITE_BUFFER);
    if (!d || !f || !f->buf || !paths) {
        if (f)
            free(f->buf);
        free(f);
        fail(m, err, -ENOMEM, m->directory);
        return NULL;
    }
    struct log_name n = {.day = day, .minute = LOG_NO_MINUTE, .suffix = d->files};
    log_name_format(name, m->prefix, &n);
    snprintf(f->path, sizeof f->path, "%s/%.127s", m->directory, name);
    f->header = (struct log_file_header){.magic = LOG_MAGIC,
                                         .format = LOG_FORMAT,
                                         .suffix = d->files,
                                         .instance = m->instance,
                                         .first = m->position,
                                         .created = m->time,
                                         .day = day,
                                         .minute = LOG_NO_MINUTE,
                                         .writer = "penstock " PST_VERSION};
    memcpy(f->header.name, m->name, sizeof f->header.name);
    if (getrandom(&f->header.epoch, sizeof f->header.epoch, 0) != sizeof f->header.epoch)
        f->header.epoch = m->instance + m->position;
    f->fd = m->io->ops->open(m->io, f->path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (f->fd < 0) {
        fail(m, err, f->fd, f->path);
        free(f->buf);
        free(f);
        return NULL;
    }
    memcpy(m->path[m->paths++], f->path, sizeof f->path);
    f->used = ++m->clock_tick;
    d->files++;
    m->made++;
    m->file[m->files++] = f;
    return preamble(m, f, err) ? f : NULL;
}

/* ---- frames ---- */

/* Seals the frame and puts it into one file, or (stream 255) into all that are open. */
static bool write_frame(struct log_make *m, void *buf, uint8_t stream, int32_t day,
                        struct made_file *only, struct err *err)
{
    struct frame *f = buf;
    f->position = m->position;
    f->time = m->time;
    f->stream = stream;
    f->source = 0;
    f->day = (uint16_t)day;
    frame_seal(f, m->seed);
    m->position += f->length;
    m->bytes += f->length;
    for (unsigned i = 0; i < m->files; i++) {
        struct made_file *o = m->file[i];
        if (only && o != only)
            continue;
        o->frames++;
        o->bytes += f->length;
        o->last = m->position;
        if (!put(m, o, f, f->length, err))
            return false;
    }
    return true;
}

/* Schemas and symbols that the frame under way needs. */
static bool facts(struct log_make *m, int32_t day, struct err *err)
{
    for (unsigned i = 0; i < m->nfresh; i++) {
        char *json = schema_to_json(schema_set_get(m->schemas, m->fresh[i]));
        bool ok = json && frame_build_schema(m->other, json, strlen(json)) &&
                  write_frame(m, m->other, STREAM_EVERY, day, NULL, err);
        free(json);
        if (!ok)
            return fail(m, err, -ENOMEM, m->directory);
        m->known[m->nknown++] = m->fresh[i];
    }
    m->nfresh = 0;
    while (m->written < m->symbols) {
        frame_symbol_begin(m->other, m->written);
        while (m->written < m->symbols &&
               frame_symbol_add(m->other, m->text[m->written] + 1, (uint8_t)m->text[m->written][0]))
            m->written++;
        frame_symbol_end(m->other);
        if (!write_frame(m, m->other, STREAM_EVERY, day, NULL, err))
            return false;
    }
    return true;
}

static void close_run(struct log_make *m)
{
    if (!m->head)
        return;
    m->head->run_bytes =
        (uint32_t)(m->frame + m->fill - (const uint8_t *)m->head) - (uint32_t)sizeof *m->head;
    m->head = NULL;
}

static bool seal(struct log_make *m, struct err *err)
{
    if (m->failed.code)
        return fail(m, err, m->failed.code, m->directory);
    if (!m->records)
        return true;
    close_run(m);
    struct made_file *f = file_of(m, m->frame_day, err);
    if (!f || !facts(m, m->frame_day, err))
        return false;
    *(struct frame *)(void *)m->frame =
        (struct frame){.length = m->fill,
                       .kind = m->frame_gap ? FRAME_GAP : FRAME_DATA,
                       .count = (uint16_t)m->records};
    bool ok = m->frame_gap ? write_frame(m, m->frame, STREAM_EVERY, m->frame_day, NULL, err)
                           : write_frame(m, m->frame, STREAM_DAILY, m->frame_day, f, err);
    m->fill = FRAME_HEADER;
    m->records = 0;
    return ok;
}

/* ---- rows ---- */

static bool same_facts(const struct packet_record *a, const struct packet_record *b)
{
    return a->rxtime == b->rxtime && a->feed == b->feed && a->session == b->session &&
           a->line == b->line && a->quality == b->quality &&
           ((a->flags ^ b->flags) & (ROW_FLAG_MASK | RUN_UNSEQUENCED)) == 0;
}

/* Does the row go on in the open run? Turns a run of one row into one of a packet's rows. */
static bool goes_on(struct packet_record *h, const struct packet_record *p)
{
    if (!h || !same_facts(h, p))
        return false;
    if (h->flags & RUN_UNSEQUENCED)
        return true;
    if (h->flags & RUN_PACKET_SEQ)
        return p->seq == h->seq;
    if (p->seq == h->seq && h->rows == 1) {
        h->flags |= RUN_PACKET_SEQ;
        return true;
    }
    return p->seq == h->seq + h->rows;
}

static void open_run(struct log_make *m, const struct packet_record *p)
{
    close_run(m);
    m->head = (struct packet_record *)(void *)(m->frame + m->fill);
    *m->head = *p;
    m->head->table = TABLE_PACKET;
    m->head->bytes = sizeof *m->head;
    m->head->sym = PST_NULL_SYMBOL;
    m->head->rows = m->head->seqs = 0;
    /* A further part of the packet before: its number is counted already. */
    if (!(p->flags & RUN_UNSEQUENCED) && m->prev.feed == p->feed && m->prev.session == p->session &&
        m->prev.seq == p->seq && m->rows && m->prev.feed != PST_NULL_SYMBOL)
        m->head->flags |= RUN_PACKET_SEQ;
    else if (!(p->flags & RUN_UNSEQUENCED))
        m->head->seqs = 1;
    m->fill += (uint32_t)sizeof *m->head;
    m->records++;
}

static void advance_clock(struct log_make *m, int64_t time, int32_t day)
{
    if (time > m->time && time > (day - 2) * PST_DAY_NS && time < (day + 3) * PST_DAY_NS)
        m->time = time;
}

bool log_make_row(struct log_make *m, const struct schema *s, int32_t day, const struct record *r,
                  const struct packet_record *packet, struct err *err)
{
    bool gap = s->id == m->gap_id;
    uint32_t need = r->bytes + (uint32_t)sizeof(struct packet_record);
    pst_must(day >= 0 && day <= CIVIL_DAY_MAX);
    if (m->records &&
        (m->frame_day != day || m->frame_gap != gap ||
         m->fill + need > ROWS_FRAME_TARGET + FRAME_HEADER) &&
        !seal(m, err))
        return false;
    if (m->failed.code)
        return fail(m, err, m->failed.code, m->directory);
    m->frame_day = day;
    m->frame_gap = gap;
    if (!packet) {
        close_run(m);
    } else {
        if (!goes_on(m->head, packet))
            open_run(m, packet);
        m->head->rows++;
        if (!(m->head->flags & (RUN_PACKET_SEQ | RUN_UNSEQUENCED)))
            m->head->seqs = m->head->rows;
        m->prev = *packet;
    }
    memcpy(m->frame + m->fill, r, r->bytes);
    m->fill += r->bytes;
    m->records++;
    m->rows++;
    advance_clock(m, r->time, day);
    return true;
}

/* ---- symbols, tables ---- */

static uint32_t hash_of(const char *text, uint32_t len)
{
    uint64_t h = 0xCBF29CE484222325ull;
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)text[i]) * 0x100000001B3ull;
    return (uint32_t)(h ^ h >> 32);
}

static bool grow(struct log_make *m)
{
    if (m->symbols == m->room) {
        uint32_t room = m->room ? 2 * m->room : 1024;
        char **t = realloc(m->text, room * sizeof *t);
        if (!t)
            return false;
        m->text = t;
        m->room = room;
    }
    if (2 * (m->symbols + 1) > m->slots) {
        uint32_t slots = m->slots ? 2 * m->slots : 4096;
        uint32_t *h = calloc(slots, sizeof *h);
        if (!h)
            return false;
        for (uint32_t i = 0; i < m->symbols; i++) {
            uint32_t at = hash_of(m->text[i] + 1, (uint8_t)m->text[i][0]);
            while (h[at & (slots - 1)])
                at++;
            h[at & (slots - 1)] = i + 1;
        }
        free(m->hash);
        m->hash = h;
        m->slots = slots;
    }
    return true;
}

uint32_t log_make_symbol(void *arg, const char *text, uint32_t len)
{
    struct log_make *m = arg;
    if (!len)
        return PST_NULL_SYMBOL;
    if (len > SYMBOL_TEXT_MAX || memchr(text, 0, len) || m->symbols >= 1u << 28 || !grow(m))
        return SYMBOL_REFUSED;
    uint32_t at = hash_of(text, len), id;
    for (; (id = m->hash[at & (m->slots - 1)]); at++)
        if ((uint8_t)m->text[id - 1][0] == len && !memcmp(m->text[id - 1] + 1, text, len))
            return id - 1;
    char *t = malloc(len + 1);
    if (!t)
        return SYMBOL_REFUSED;
    t[0] = (char)len;
    memcpy(t + 1, text, len);
    m->text[m->symbols++] = t;
    m->hash[at & (m->slots - 1)] = m->symbols;
    return m->symbols - 1;
}

const struct schema *log_make_table(struct log_make *m, struct schema *s, struct err *err)
{
    bool fresh;
    const struct schema *live = schema_set_intern(m->schemas, s, &fresh, err);
    if (live && fresh)
        m->fresh[m->nfresh++] = live->id;
    /* rows of the built-in table go into gap frames, as a daemon writes them */
    if (live && fresh && !strcmp(live->name, "gap") && !live->feed)
        m->gap_id = live->id;
    return live;
}
const struct schema_set *log_make_tables(const struct log_make *m)
{
    return m->schemas;
}

/* ---- begin, end ---- */

struct look {
    const char *prefix;
    char found[LOG_NAME_MAX];
};
static bool look(void *arg, const char *name)
{
    struct look *l = arg;
    struct log_name n;
    if (!log_name_parse(&n, l->prefix, name))
        return true;
    snprintf(l->found, sizeof l->found, "%.120s", name);
    return false;
}

struct log_make *log_make_open(const struct log_make_config *cfg, struct err *err)
{
    struct look l = {.prefix = cfg->prefix};
    int r = cfg->io->ops->mkdir(cfg->io, cfg->directory, 0755);
    if (!r || r == -EEXIST)
        r = cfg->io->ops->list(cfg->io, cfg->directory, look, &l);
    if (r < 0 || strlen(cfg->directory) > 999 || strlen(cfg->prefix) > 31) {
        r = r < 0 ? r : -ENAMETOOLONG;
        err_set(err, r, "%.200s: %s", cfg->directory, strerror(-r));
        return NULL;
    }
    if (*l.found) {
        err_set(err, -EEXIST, "%.200s holds a log already (%s); give a directory without one",
                cfg->directory, l.found);
        return NULL;
    }
    struct log_make *m = calloc(1, sizeof *m);
    if (m)
        m->schemas = schema_set_new();
    if (!m || !m->schemas || getrandom(&m->instance, 8, 0) != 8) {
        free(m);
        err_set(err, -ENOMEM, "no memory to make log files");
        return NULL;
    }
    m->io = cfg->io;
    snprintf(m->directory, sizeof m->directory, "%s", cfg->directory);
    snprintf(m->prefix, sizeof m->prefix, "%s", cfg->prefix);
    snprintf(m->name, sizeof m->name, "%s", cfg->name);
    m->seed = frame_seed(m->instance);
    m->position = FIRST_POSITION;
    m->fill = FRAME_HEADER;
    m->gap_id = -1;
    m->prev.feed = PST_NULL_SYMBOL;
    return m;
}

static void release(struct log_make *m)
{
    for (unsigned i = 0; i < m->files; i++) {
        m->io->ops->close(m->io, m->file[i]->fd);
        free(m->file[i]->buf);
        free(m->file[i]);
    }
    for (uint32_t i = 0; i < m->symbols; i++)
        free(m->text[i]);
    free(m->text);
    free(m->hash);
    free(m->day);
    free(m->path);
    schema_set_free(m->schemas);
    free(m);
}

static int by_day(const void *a, const void *b)
{
    const struct made_day *x = a, *y = b;
    return (x->day > y->day) - (x->day < y->day);
}

bool log_make_end(struct log_make *m, struct log_make_figures *figures, struct err *err)
{
    bool ok = seal(m, err);
    if (m->days)
        qsort(m->day, m->days, sizeof *m->day, by_day);
    for (uint32_t d = 0; ok && d < m->days; d++) {
        char json[100], date[CIVIL_TEXT];
        int n = snprintf(json, sizeof json, "{\"calendar\":\"default\",\"day\":\"%s\"}",
                         civil_format(m->day[d].day, date));
        ok = frame_build_mark(m->other, MARK_EOD, json, (size_t)n) &&
             write_frame(m, m->other, STREAM_EVERY, m->day[d].day, NULL, err);
        for (unsigned i = 0; ok && i < m->files; i++)
            if (m->file[i]->header.day == m->day[d].day) {
                ok = shut(m, i, LOG_END_DAY, err);
                break;
            }
    }
    int r = ok ? m->io->ops->sync_dir(m->io, m->directory) : 0;
    if (ok && r)
        ok = fail(m, err, r, m->directory);
    if (!ok)
        return false;
    *figures = (struct log_make_figures){.rows = m->rows,
                                         .bytes = m->bytes,
                                         .files = m->made,
                                         .days = m->days,
                                         .symbols = m->symbols};
    release(m);
    return true;
}

void log_make_abandon(struct log_make *m)
{
    for (uint32_t i = 0; i < m->paths; i++)
        m->io->ops->unlink(m->io, m->path[i]);
    release(m);
}
