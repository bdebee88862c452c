/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition_column.c - values to their places.
 *
 * The source is read in its order and every value is stored at its place in a buffer: the stores go
 * to as many places as there are symbols, which stay in the second-level cache, where gathering by
 * row lists would miss it once a value. A column that does not fit the buffer is done in several
 * passes (slabs), each storing the rows whose places lie in it.
 */
#include <pthread.h>
#include "partition.h"

#define GROUPS_ROOM (8u << 20) /* bytes of the column of symbols that are made at a time */

/* Stores EXPR(i) at place[i] of the slab: all places lie in it (whole), or those outside go to a
 * dummy behind its end. */
#define SCATTER(type, expr)                                                                        \
    do {                                                                                           \
        type *o = out;                                                                             \
        if (whole) {                                                                               \
            for (uint32_t i = 0; i < n; i++)                                                       \
                o[place[i]] = (expr);                                                              \
        } else {                                                                                   \
            for (uint32_t i = 0; i < n; i++) {                                                     \
                uint32_t p = place[i] - lo;                                                        \
                o[p < cap ? p : cap] = (expr);                                                     \
            }                                                                                      \
        }                                                                                          \
    } while (0)

struct guid {
    uint64_t w[2];
};

static void scatter_plain(void *out, const void *values, const uint32_t *place, uint32_t n,
                          uint32_t lo, uint32_t cap, bool whole, uint8_t type)
{
    switch (type) {
    case PST_REAL: {
        const uint32_t *v = values;
        SCATTER(uint32_t, (v[i] & 0x7FFFFFFFu) > 0x7F800000u ? PST_NULL_REAL_BITS : v[i]);
        return;
    }
    case PST_FLOAT: {
        const uint64_t *v = values;
        SCATTER(uint64_t, (v[i] & 0x7FFFFFFFFFFFFFFFull) > 0x7FF0000000000000ull
                              ? PST_NULL_FLOAT_BITS
                              : v[i]);
        return;
    }
    default:
        break;
    }
    switch (type_width(type)) {
    case 1: {
        const uint8_t *v = values;
        SCATTER(uint8_t, v[i]);
        return;
    }
    case 2: {
        const uint16_t *v = values;
        SCATTER(uint16_t, v[i]);
        return;
    }
    case 4: {
        const uint32_t *v = values;
        SCATTER(uint32_t, v[i]);
        return;
    }
    case 8: {
        const uint64_t *v = values;
        SCATTER(uint64_t, v[i]);
        return;
    }
    default: {
        const struct guid *v = values;
        SCATTER(struct guid, v[i]);
    }
    }
}

static void scatter_symbols(void *out, const struct wd_values *v, const uint32_t *place, uint32_t n,
                            uint32_t lo, uint32_t cap, bool whole, const struct wd_symbols *s)
{
    /* code 0 is null: index = code - 1, but for that one */
#define INDEX(c) ((c) ? (int64_t)(c)-1 : PST_NULL_LONG)
    if (v->disk) {
        const int64_t *x = v->values;
        SCATTER(int64_t, INDEX(wd_code_index(s, x[i])));
    } else if (!s->code) {
        const uint32_t *x = v->values;
        uint32_t ids = s->ids;
        SCATTER(int64_t, x[i] < ids ? (int64_t)x[i] : PST_NULL_LONG);
    } else {
        const uint32_t *x = v->values;
        SCATTER(int64_t, INDEX(wd_code_id(s, x[i])));
    }
#undef INDEX
}

static void scatter_lengths(void *out, const struct wd_values *v, const uint32_t *place, uint32_t n,
                            uint32_t lo, uint32_t cap, bool whole)
{
    if (v->disk) {
        const int64_t *x = v->values;
        SCATTER(int64_t, x[i] - (i ? x[i - 1] : v->start));
    } else {
        const uint64_t *x = v->values;
        SCATTER(int64_t, (int64_t)(x[i] & 0xFFFF));
    }
}

static void scatter_null(void *out, const uint32_t *place, uint32_t n, uint32_t lo, uint32_t cap,
                         bool whole, uint8_t type)
{
    static const struct guid zero;
    switch (type) {
    case PST_SYMBOL:
        SCATTER(int64_t, PST_NULL_LONG);
        return;
    case PST_STRING:
        SCATTER(int64_t, 0); /* a length */
        return;
    case PST_REAL:
        SCATTER(uint32_t, PST_NULL_REAL_BITS);
        return;
    case PST_FLOAT:
        SCATTER(uint64_t, PST_NULL_FLOAT_BITS);
        return;
    case PST_CHAR:
        SCATTER(uint8_t, PST_NULL_CHAR);
        return;
    default:
        break;
    }
    switch (type_width(type)) {
    case 1:
        SCATTER(uint8_t, 0);
        return;
    case 2:
        SCATTER(int16_t, PST_NULL_SHORT);
        return;
    case 4:
        SCATTER(int32_t, PST_NULL_INT);
        return;
    case 8:
        SCATTER(int64_t, PST_NULL_LONG);
        return;
    default:
        SCATTER(struct guid, zero);
    }
}

struct job {
    struct wd_worker *w;
    struct wd_reader *reader; /* w's, or of a thread that helps */
    const struct schema *target;
    unsigned col;
    uint8_t type;
    const struct wd_source *source;
    unsigned nsources;
    const struct wd_order *order;
    const struct wd_symbols *symbols;
    const _Atomic bool *cancel;
};

static bool cancelled(const struct job *j, struct err *err)
{
    return load_relaxed(j->cancel) && !err_set(err, -ECANCELED, "cancelled");
}

static bool fill_chunk(const struct job *j, struct wd_step at, void *out, uint64_t lo, uint64_t cap,
                       struct err *err)
{
    const struct wd_order *o = j->order;
    const struct wd_source *src = &j->source[at.source];
    bool whole = !lo && cap == o->rows; /* nothing is dropped, nothing is elsewhere */
    int from = src->from[j->col];
    uint32_t l = (uint32_t)lo, c = (uint32_t)cap;
    struct wd_values v;
    wd_chunk_rows(src, at.chunk, &v.first, &v.rows);
    if (from >= 0 && !wd_values(j->reader, 0, src, at.chunk, (unsigned)from, false, &v, err))
        return false;
    const uint32_t *place = o->place + v.first;
    if (from < 0) {
        scatter_null(out, place, v.rows, l, c, whole, j->type);
    } else if (j->type == PST_SYMBOL) {
        scatter_symbols(out, &v, place, v.rows, l, c, whole, j->symbols);
    } else if (j->type == PST_STRING) {
        scatter_lengths(out, &v, place, v.rows, l, c, whole);
    } else if (v.type == j->type) {
        scatter_plain(out, v.values, place, v.rows, l, c, whole, j->type);
    } else {
        for (uint32_t i = 0; i < v.rows; i += WD_SLICE) {
            uint64_t wide[WD_SLICE];
            uint32_t n = v.rows - i < WD_SLICE ? v.rows - i : WD_SLICE;
            wd_convert(v.type, j->type, (const uint8_t *)v.values + (size_t)i * type_width(v.type),
                       wide, n);
            scatter_plain(out, wide, place + i, n, l, c, whole, j->type);
        }
    }
    return true;
}

/* The column that the rows are ordered by: a run a symbol, no need to look at a row. */
static void fill_groups(const struct wd_order *o, int64_t *out, uint64_t lo, uint64_t cap)
{
    uint64_t a = 0, b = o->ngroups;
    while (a < b) { /* the first group that ends above lo */
        uint64_t mid = (a + b) / 2;
        if (o->group[mid].first + o->group[mid].rows <= lo)
            a = mid + 1;
        else
            b = mid;
    }
    for (uint64_t at = lo; at < lo + cap; a++) {
        const struct hdb_group *g = &o->group[a];
        uint64_t end = g->first + g->rows < lo + cap ? g->first + g->rows : lo + cap;
        for (; at < end; at++)
            out[at - lo] = g->sym;
    }
}

/* ---- several threads ---- */

struct helper {
    struct job j;
    struct wd_reader reader;
    const struct wd_step *step;
    uint64_t steps, lo, cap;
    void *out;
    bool ok;
    struct err err;
};

static void *helps(void *arg)
{
    struct helper *h = arg;
    h->ok = true;
    for (uint64_t i = 0; i < h->steps && h->ok; i++)
        h->ok = !cancelled(&h->j, &h->err) &&
                fill_chunk(&h->j, h->step[i], h->out, h->lo, h->cap, &h->err);
    return NULL;
}

static bool fill_shared(const struct job *j, const struct wd_step *step, uint64_t n, void *out,
                        uint64_t lo, uint64_t cap, struct err *err)
{
    unsigned threads = j->w->threads < WD_THREADS ? j->w->threads : WD_THREADS;
    struct helper *h = calloc(threads, sizeof *h);
    pthread_t t[WD_THREADS];
    bool started[WD_THREADS] = {0}, ok = true;
    if (!h)
        return err_set(err, -ENOMEM, "no memory for %u threads", threads);
    for (unsigned k = 0; k < threads; k++) {
        uint64_t from = n * k / threads;
        h[k] = (struct helper){.j = *j,
                               .step = step + from,
                               .steps = n * (k + 1) / threads - from,
                               .lo = lo,
                               .cap = cap,
                               .out = out};
        h[k].j.reader = &h[k].reader;
        started[k] = k && !pthread_create(&t[k], NULL, helps, &h[k]);
    }
    for (unsigned k = 0; k < threads; k++)
        if (!started[k])
            helps(&h[k]);
    for (unsigned k = 0; k < threads; k++) {
        if (started[k])
            pthread_join(t[k], NULL);
        if (!h[k].ok && ok)
            ok = err_set(err, h[k].err.code, "%s", h[k].err.text);
        wd_reader_free(&h[k].reader);
    }
    free(h);
    return ok;
}

/* The steps of the walk, if several threads may share them: every file is open then. NULL: they may
 * not. Rows outside the slab all go to one place behind it, which only one thread may write. */
static struct wd_step *shared_steps(const struct job *j, uint64_t lo, uint64_t cap, uint64_t *n,
                                    struct err *err)
{
    struct wd_step at;
    uint64_t i = 0, most = 0;
    if (j->w->threads < 2 || j->type == PST_STRING || lo || cap != j->order->rows)
        return NULL;
    for (unsigned k = 0; k < j->nsources; k++) {
        const struct wd_source *s = &j->source[k];
        if (s->kind != WD_LOADED ||
            (s->from[j->col] >= 0 && !wd_loaded_flat(s, (unsigned)s->from[j->col], err)))
            return NULL;
        most += wd_chunks(s);
    }
    struct wd_step *step = most < 4 ? NULL : malloc(most * sizeof *step);
    for (*n = 0; step && *n < most && wd_walk_next(j->order, j->source, j->nsources, &at, &i);)
        step[(*n)++] = at;
    return step;
}

/* One slab: places lo … lo + cap - 1. Strings: their lengths. */
static bool fill(const struct job *j, void *out, uint64_t lo, uint64_t cap, struct err *err)
{
    struct wd_step at;
    uint64_t n = 0;
    if (j->col == 1 && j->type == PST_SYMBOL) {
        fill_groups(j->order, out, lo, cap);
        return !cancelled(j, err);
    }
    uint64_t steps;
    struct wd_step *step = shared_steps(j, lo, cap, &steps, err);
    if (step) {
        bool ok = fill_shared(j, step, steps, out, lo, cap, err);
        free(step);
        return ok;
    }
    while (wd_walk_next(j->order, j->source, j->nsources, &at, &n))
        if (cancelled(j, err) || !fill_chunk(j, at, out, lo, cap, err))
            return false;
    return true;
}

/* A window of the file of bytes, filled slab by slab. */
struct window {
    uint64_t at, end; /* file offsets: start, and how far it is filled */
    uint8_t *bytes;
    uint64_t room;
};

/* The texts of the rows of one slab whose bytes lie in the window. ends: of the slab's rows. */
static bool fill_texts(const struct job *j, const int64_t *ends, uint64_t lo, uint64_t cap,
                       const struct window *x, struct err *err)
{
    struct wd_step at;
    uint64_t n = 0;
    while (wd_walk_next(j->order, j->source, j->nsources, &at, &n)) {
        const struct wd_source *src = &j->source[at.source];
        int from = src->from[j->col];
        struct wd_values v;
        if (cancelled(j, err))
            return false;
        if (from < 0)
            continue;
        if (!wd_values(&j->w->reader, 0, src, at.chunk, (unsigned)from, true, &v, err))
            return false;
        const uint32_t *place = j->order->place + v.first;
        for (uint32_t i = 0; i < v.rows; i++) {
            uint64_t p = (uint64_t)place[i] - lo;
            if (place[i] == WD_DROPPED || p >= cap)
                continue;
            uint32_t len;
            const uint8_t *text = wd_text(&v, i, &len);
            if (!text)
                return err_set(err, -EBADMSG, "table %s, column %s: a string is damaged",
                               j->target->name, j->target->col[j->col].name);
            uint64_t e = (uint64_t)ends[p], b = e - len;
            uint64_t from_at = b > x->at ? b : x->at;
            uint64_t to = e < x->at + x->room ? e : x->at + x->room;
            if (from_at < to)
                memcpy(x->bytes + (from_at - x->at), text + (from_at - b), to - from_at);
        }
    }
    return true;
}

static bool create(struct wd_worker *w, struct wd_column *c, const char *dir,
                   const struct schema *t, unsigned col, bool whole, struct err *err)
{
    char path[1300];
    bool d;
    c->fd = c->bytes_fd = -1;
    snprintf(path, sizeof path, "%s/%s", dir, t->col[col].name);
    c->fd = wd_out_create(w, path, !whole, &c->direct, err);
    if (c->fd < 0)
        return false;
    if (t->col[col].type != PST_STRING)
        return true;
    strncat(path, "#", sizeof path - strlen(path) - 1);
    c->bytes_fd = wd_out_create(w, path, !whole || !c->direct, &d, err);
    if (c->bytes_fd >= 0 && d != c->direct)
        return err_set(err, -EINVAL, "%s: direct I/O on one file and not on the other", path);
    return c->bytes_fd >= 0;
}

static unsigned put_header(uint8_t *at, uint8_t type, uint8_t attribute, uint64_t rows)
{
    if (type == PST_SYMBOL) {
        kdb_enum_header(at, attribute, rows);
        return KDB_ENUM_HEADER;
    }
    kdb_vector_header(at, type, attribute, rows);
    return KDB_VECTOR_HEADER;
}

/* Hands a file over to buffer b: it is cut and closed when what was written from b has landed. */
static void hand_over(struct wd_worker *w, unsigned b, int *fd, uint64_t size)
{
    w->buf[b].fd = *fd;
    w->buf[b].size = size;
    *fd = -1;
}

/* The buffer that was used last, if nothing is in flight from it: what the other one would be made
 * of the kernel would have to find and to clear first. */
static unsigned next_buffer(struct wd_worker *w)
{
    unsigned last = w->which, other = last ^ 1;
    if (w->buf[other].at || !w->buf[last].at || w->buf[last].flying)
        w->which = other;
    return w->which;
}

/* Behind other units, files are written where the column has got to, through the page cache. */
static bool write_fixed(const struct job *j, struct wd_column *c, uint8_t attribute, bool whole,
                        struct err *err)
{
    struct wd_worker *w = j->w;
    unsigned width = kdb_width(j->type);
    uint64_t n = j->order->placed, done = 0, room = w->bytes;
    if (j->col == 1 && j->type == PST_SYMBOL && room > GROUPS_ROOM)
        room = GROUPS_ROOM; /* it is not scattered: a little of the buffer will do */
    while (done < n) {
        unsigned b = next_buffer(w), head = 0;
        if (!wd_out_wait(w, b, err) || !wd_out_room(w, b, err))
            return false;
        struct wd_buffer *buf = &w->buf[b];
        uint64_t offset = kdb_row_at(j->type, c->rows + done);
        if (whole && !done) {
            head = put_header(buf->at, j->type, attribute, n);
            offset = 0;
        }
        uint64_t cap = (room - head) / width;
        cap = cap < n - done ? cap : n - done;
        if (!fill(j, buf->at + head, done, cap, err) ||
            !wd_out_start(w, b, c->fd, c->direct, head + cap * width, offset, err))
            return false;
        done += cap;
        if (done == n && whole)
            hand_over(w, b, &c->fd, kdb_file_bytes(j->type, n));
    }
    c->rows += n;
    return true;
}

static bool flush_window(const struct job *j, struct wd_column *c, struct window *x,
                         struct err *err)
{
    if (x->end > x->at &&
        !wd_out_start(j->w, 1, c->bytes_fd, c->direct, x->end - x->at, x->at, err))
        return false;
    x->at = x->end;
    return wd_out_wait(j->w, 1, err);
}

static bool write_strings(const struct job *j, struct wd_column *c, uint8_t attribute, bool whole,
                          struct err *err)
{
    struct wd_worker *w = j->w;
    uint64_t n = j->order->placed, done = 0;
    struct window x = {c->bytes, c->bytes, NULL, w->bytes};
    if (!wd_out_room(w, 0, err) || !wd_out_room(w, 1, err))
        return false;
    if (!wd_out_wait(w, 2, err))
        return false;
    x.bytes = w->buf[1].at;
    while (done < n) {
        uint8_t *at = w->buf[0].at;
        unsigned head = whole && !done ? put_header(at, PST_STRING, attribute, n) : 0;
        uint64_t offset = head ? 0 : kdb_row_at(PST_STRING, c->rows + done);
        uint64_t cap = (w->bytes - head) / 8;
        cap = cap < n - done ? cap : n - done;
        int64_t *ends = (int64_t *)(void *)(at + head), sum = (int64_t)c->bytes;
        if (!fill(j, ends, done, cap, err))
            return false;
        for (uint64_t i = 0; i < cap; i++)
            ends[i] = sum += ends[i];
        c->bytes = (uint64_t)sum;
        while (x.end < c->bytes) {
            if (!fill_texts(j, ends, done, cap, &x, err))
                return false;
            x.end = c->bytes < x.at + x.room ? c->bytes : x.at + x.room;
            if (x.end == x.at + x.room && !flush_window(j, c, &x, err))
                return false;
        }
        if (!wd_out_start(w, 0, c->fd, c->direct, head + cap * 8, offset, err) ||
            !wd_out_wait(w, 0, err))
            return false;
        done += cap;
    }
    if (!flush_window(j, c, &x, err))
        return false;
    c->rows += n;
    if (whole) {
        hand_over(w, 0, &c->fd, kdb_file_bytes(PST_STRING, n));
        hand_over(w, 1, &c->bytes_fd, c->bytes);
        return wd_out_wait(w, 2, err);
    }
    return true;
}

bool wd_column_write(struct wd_worker *w, struct wd_column *c, const char *dir,
                     const struct schema *target, unsigned col, const struct wd_source *source,
                     unsigned nsources, const struct wd_order *order,
                     const struct wd_symbols *symbols, uint8_t attribute, bool whole,
                     const _Atomic bool *cancel, struct err *err)
{
    const struct job j = {w,      &w->reader, target, col,     target->col[col].type,
                          source, nsources,   order,  symbols, cancel};
    if (!c->rows && c->fd < 0 && !create(w, c, dir, target, col, whole, err))
        return false;
    return j.type == PST_STRING ? write_strings(&j, c, attribute, whole, err)
                                : write_fixed(&j, c, attribute, whole, err);
}

bool wd_column_close(struct wd_worker *w, struct wd_column *c, const struct schema *target,
                     unsigned col, uint8_t attribute, struct err *err)
{
    uint8_t head[KDB_ENUM_HEADER];
    unsigned n = put_header(head, target->col[col].type, attribute, c->rows);
    int r = io_pwrite_all(w->io, c->fd, head, n, 0);
    wd_column_abandon(w, c);
    return !r || err_set(err, r, "%s: cannot be written: %s", target->col[col].name, strerror(-r));
}

void wd_column_abandon(struct wd_worker *w, struct wd_column *c)
{
    if (c->fd >= 0)
        w->io->ops->close(w->io, c->fd);
    if (c->bytes_fd >= 0)
        w->io->ops->close(w->io, c->bytes_fd);
    c->fd = c->bytes_fd = -1;
}
