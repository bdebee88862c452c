/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <zlib.h>
#include "core/civil.h"
#include "core/crc.h"
#include "kdb_log.h"

#define CHUNK      (1u << 20)
#define INPUT      (256u << 10)
#define SALVAGE    (64ull << 20)
#define WORK_BYTE  16u
#define UPDATE_MIN 12u /* of the bytes that salvage looks for */

static const uint8_t header[KDB_LOG_HEADER] = {0xFF, 0x01};

static const uint8_t list_of_3[] = {0, 0, 3, 0, 0, 0};

struct gunzip {
    z_stream z;
    bool ended; /* between members */
    uint8_t input[INPUT];
};

/* ---- bytes ---- */

/* Reads what fits into `to`; 0 = the end. */
static int64_t plain(struct kdb_log *l, uint8_t *to, size_t room)
{
    int64_t n = l->io->ops->pread(l->io, l->fd, to, room, l->read_at);
    if (n > 0)
        l->read_at += (uint64_t)n;
    return n;
}

static int64_t unpacked(struct kdb_log *l, uint8_t *to, size_t room)
{
    struct gunzip *g = l->inflate;
    z_stream *z = &g->z;
    z->next_out = to;
    z->avail_out = room > UINT32_MAX ? UINT32_MAX : (uInt)room;
    uInt all = z->avail_out;
    while (z->avail_out == all) {
        if (!z->avail_in) {
            int64_t n = plain(l, g->input, INPUT);
            if (n == -EINTR)
                continue;
            if (n < 0)
                return n;
            if (!n) {
                l->cut = g->ended ? NULL : "the gzip stream is cut short";
                return 0;
            }
            z->next_in = g->input;
            z->avail_in = (uInt)n;
        }
        if (g->ended) { /* a further member, or padding */
            if (*z->next_in != 0x1F) {
                l->cut = *z->next_in ? "bytes that are not gzip follow the gzip stream" : NULL;
                return 0;
            }
            inflateReset(z);
            g->ended = false;
        }
        int r = inflate(z, Z_NO_FLUSH);
        if (r == Z_STREAM_END) {
            g->ended = true;
        } else if (r != Z_OK && r != Z_BUF_ERROR) {
            l->cut = "the gzip stream is damaged";
            break;
        }
    }
    return all - z->avail_out;
}

/* At least `want` bytes from l->at on, unless the file ends before. False: error. */
static bool fetch(struct kdb_log *l, size_t want)
{
    while (l->base + l->fill < l->at + want && !l->eof) {
        size_t used = (size_t)(l->at - l->base);
        if (used && (used >= l->fill / 2 || used >= CHUNK)) {
            memmove(l->buf, l->buf + used, l->fill - used);
            l->fill -= used;
            l->base += used;
        }
        if (l->room - l->fill < CHUNK) {
            size_t room = l->room ? l->room * 2 : 2 * CHUNK;
            uint8_t *p = realloc(l->buf, room);
            if (!p) {
                l->error = -ENOMEM;
                return false;
            }
            l->buf = p;
            l->room = room;
        }
        int64_t n = l->gzip && !l->cut ? unpacked(l, l->buf + l->fill, l->room - l->fill)
                    : l->gzip          ? 0
                                       : plain(l, l->buf + l->fill, l->room - l->fill);
        if (n == -EINTR)
            continue;
        if (n < 0) {
            l->error = (int)n;
            return false;
        }
        l->eof = !n;
        l->fill += (size_t)n;
        l->credit += (uint64_t)n * WORK_BYTE;
    }
    return true;
}
static const uint8_t *here(const struct kdb_log *l)
{
    return l->buf + (l->at - l->base);
}
static size_t held(const struct kdb_log *l)
{
    return (size_t)(l->base + l->fill - l->at);
}

/* ---- opening ---- */

static bool begin(struct kdb_log *l, const char *path, struct err *err)
{
    if (held(l) < KDB_LOG_HEADER || memcmp(here(l), header, 3)) {
        err_set(err, -EBADMSG, "%s: no kdb+ log: it does not begin with ff 01 00", path);
        kdb_log_close(l);
        return false;
    }
    l->at = KDB_LOG_HEADER;
    l->credit += SALVAGE;
    l->names = 2;
    l->name[0] = (struct kdb_log_name){"upd", 3};
    l->name[1] = (struct kdb_log_name){".u.upd", 6};
    return true;
}

bool kdb_log_open(struct kdb_log *l, struct io *io, const char *path, struct err *err)
{
    memset(l, 0, sizeof *l);
    l->io = io;
    l->fd = io->ops->open(io, path, O_RDONLY, 0);
    if (l->fd < 0)
        return err_set(err, l->fd, "%s: %s", path, strerror(-l->fd));
    bool ok = fetch(l, KDB_LOG_HEADER);
    if (ok && held(l) >= 2 && here(l)[0] == 0x1F && here(l)[1] == 0x8B) {
        struct gunzip *g = calloc(1, sizeof *g);
        l->gzip = true;
        l->inflate = g;
        if (!g || inflateInit2(&g->z, 31) != Z_OK) {
            free(g);
            l->inflate = NULL;
            kdb_log_close(l);
            return err_set(err, -ENOMEM, "%s: no memory to unpack it", path);
        }
        l->read_at = l->fill = 0;
        l->eof = false;
        ok = fetch(l, KDB_LOG_HEADER);
    }
    if (!ok) {
        err_set(err, l->error, "%s: %s", path, strerror(-l->error));
        kdb_log_close(l);
        return false;
    }
    return begin(l, path, err);
}

bool kdb_log_open_memory(struct kdb_log *l, const void *bytes, size_t n, struct err *err)
{
    memset(l, 0, sizeof *l);
    l->fd = -1;
    l->buf = (uint8_t *)(uintptr_t)bytes; /* room 0: never grown, never freed */
    l->fill = n;
    l->eof = true;
    l->credit = n * WORK_BYTE;
    return begin(l, "memory", err);
}

void kdb_log_close(struct kdb_log *l)
{
    if (l->inflate)
        inflateEnd(&((struct gunzip *)l->inflate)->z);
    free(l->inflate);
    if (l->room)
        free(l->buf);
    if (l->io && l->fd >= 0)
        l->io->ops->close(l->io, l->fd);
    l->inflate = NULL;
    l->buf = NULL;
    l->room = l->fill = 0;
    l->fd = -1;
}

/* ---- messages ---- */

void kdb_message_view(struct kdb_message *m, const struct kdb_object *o)
{
    struct kdb_items i;
    m->whole = *o;
    m->update = false;
    m->function = m->table = NULL;
    m->function_len = m->table_len = 0;
    if (o->type != KDB_LIST || !kdb_items(o, &i))
        return;
    m->function = kdb_object_text(&i.item, &m->function_len);
    if (!m->function || o->count != 3 || !kdb_items_next(&i))
        return;
    m->table = kdb_object_text(&i.item, &m->table_len);
    if (!m->table || !kdb_items_next(&i)) {
        m->table = NULL;
        return;
    }
    m->data = i.item;
    m->update = (m->function_len == 3 && !memcmp(m->function, "upd", 3)) ||
                (m->function_len == 6 && !memcmp(m->function, ".u.upd", 6));
    if (!m->update)
        m->table = NULL;
}

static void remember(struct kdb_log *l, const struct kdb_message *m)
{
    if (!m->function || !m->function_len || m->function_len >= sizeof l->name[0].text)
        return;
    for (unsigned i = 0; i < l->names; i++)
        if (l->name[i].len == m->function_len &&
            !memcmp(l->name[i].text, m->function, m->function_len))
            return;
    if (l->names == KDB_LOG_NAMES)
        return;
    l->name[l->names].len = (uint8_t)m->function_len;
    memcpy(l->name[l->names++].text, m->function, m->function_len);
}

/* What to fetch for an object that wants `size` of which n are there: more than it asks for, so
 * that a large one is not walked again for each chunk. */
static size_t more(size_t size, size_t n)
{
    size_t want = size > 2 * n ? size : 2 * n;
    return want < KDB_BYTES_MAX ? want : KDB_BYTES_MAX;
}

enum kdb_log_verdict kdb_log_next(struct kdb_log *l, struct kdb_message *m)
{
    size_t want = 1, size;
    enum kdb_verdict v;
    do {
        if (!fetch(l, want))
            return KDB_LOG_ERROR;
        if (!held(l) && !l->cut)
            return KDB_LOG_END;
        v = kdb_object_check(here(l), held(l), KDB_LITTLE, &size, &l->why);
        want = more(size, held(l));
    } while (v == KDB_SHORT && !l->eof);
    if (v) {
        if (l->cut)
            l->why = l->cut;
        return KDB_LOG_BAD;
    }
    struct kdb_object o;
    kdb_object_view(&o, here(l), KDB_LITTLE);
    kdb_message_view(m, &o);
    remember(l, m);
    m->number = l->messages++;
    m->offset = l->at;
    m->bytes = size;
    l->at += size;
    return KDB_LOG_MESSAGE;
}

/* Bytes of "list of 3, a function's name, a table" at p, without the table's name; 0: no. */
static size_t looks(const struct kdb_log *l, const uint8_t *p, size_t n)
{
    if (n < UPDATE_MIN || memcmp(p, list_of_3, sizeof list_of_3))
        return 0;
    for (unsigned i = 0; i < l->names; i++) {
        const struct kdb_log_name *k = &l->name[i];
        if (p[6] == 0xF5 && n > 8u + k->len && !memcmp(p + 7, k->text, k->len) && !p[7 + k->len])
            return 8u + k->len;
        if (p[6] == PST_CHAR && !p[7] && n > 12u + k->len && le32(p + 8) == k->len &&
            !memcmp(p + 12, k->text, k->len))
            return 12u + k->len;
    }
    return 0;
}

bool kdb_log_salvage(struct kdb_log *l)
{
    uint64_t bad = l->at;
    struct kdb_message m;
    for (l->at++;; l->at++) {
        if (!fetch(l, 64) || !held(l))
            break;
        size_t n = held(l), size;
        const uint8_t *p = memmem(here(l), n, list_of_3, sizeof list_of_3);
        if (!p && l->eof)
            break;
        if (!p) {
            l->at += n - UPDATE_MIN;
            continue;
        }
        l->at += (uint64_t)(p - here(l));
        if (!fetch(l, 64))
            break;
        if (!looks(l, here(l), held(l)))
            continue;
        enum kdb_verdict v;
        for (;;) {
            v = kdb_object_check(here(l), held(l), KDB_LITTLE, &size, NULL);
            uint64_t work = size < held(l) ? size : held(l);
            if (work > l->credit) {
                l->gave_up = true;
                l->at = bad;
                return false;
            }
            l->credit -= work;
            if (v != KDB_SHORT || l->eof)
                break;
            if (!fetch(l, more(size, held(l))))
                goto none;
        }
        if (v)
            continue;
        struct kdb_object o;
        kdb_object_view(&o, here(l), KDB_LITTLE);
        kdb_message_view(&m, &o);
        if (!m.function || o.count != 3)
            continue;
        l->bad_from = bad;
        l->bad_to = l->at;
        return true;
    }
none:
    l->at = bad;
    return false;
}

/* ---- writing ---- */

static bool opened(struct kdb_log_writer *w, struct io *io, const char *path, int flags,
                   struct err *err)
{
    memset(w, 0, sizeof *w);
    w->io = io;
    w->fd = -1;
    if (strlen(path) >= sizeof w->path)
        return err_set(err, -ENAMETOOLONG, "%.60s...: the path is too long", path);
    snprintf(w->path, sizeof w->path, "%s", path);
    w->fd = io->ops->open(io, path, flags, 0644);
    return w->fd >= 0 || err_set(err, w->fd, "%s: %s", path, strerror(-w->fd));
}

/* The bytes at the file's end, whole or not at all. */
static bool append(struct kdb_log_writer *w, const void *p, size_t n, struct err *err)
{
    int r = io_pwrite_all(w->io, w->fd, p, n, w->bytes);
    if (r) {
        int back = w->io->ops->ftruncate(w->io, w->fd, w->bytes);
        return err_set(err, r, "%s: %s; it ends behind its %llu messages%s", w->path, strerror(-r),
                       (unsigned long long)w->messages, back ? " and a torn tail" : "");
    }
    w->bytes += n;
    return true;
}

bool kdb_log_create(struct kdb_log_writer *w, struct io *io, const char *path, struct err *err)
{
    if (!opened(w, io, path, O_WRONLY | O_CREAT | O_EXCL, err))
        return false;
    if (append(w, header, sizeof header, err))
        return true;
    kdb_log_finish(w, false, NULL);
    return false;
}

bool kdb_log_resume(struct kdb_log_writer *w, struct io *io, const char *path, struct err *err)
{
    struct kdb_log l;
    struct kdb_message m;
    uint32_t crc = 0;
    enum kdb_log_verdict v;
    memset(w, 0, sizeof *w);
    w->fd = -1;
    if (!kdb_log_open(&l, io, path, err))
        return false;
    bool gzip = l.gzip;
    while ((v = kdb_log_next(&l, &m)) == KDB_LOG_MESSAGE)
        crc = crc32c(crc, m.whole.at, m.bytes);
    uint64_t messages = l.messages, bytes = l.at;
    kdb_log_close(&l);
    if (v == KDB_LOG_ERROR)
        return err_set(err, l.error, "%s: %s", path, strerror(-l.error));
    if (gzip)
        return err_set(err, -EINVAL, "%s: a gzip file cannot be continued", path);
    if (!opened(w, io, path, O_WRONLY, err))
        return false;
    w->messages = messages;
    w->bytes = bytes;
    w->crc = crc;
    int r = v == KDB_LOG_BAD ? io->ops->ftruncate(io, w->fd, bytes) : 0;
    if (r) {
        err_set(err, r, "%s: %s", path, strerror(-r));
        kdb_log_finish(w, false, NULL);
        return false;
    }
    return true;
}

bool kdb_log_write(struct kdb_log_writer *w, const void *message, size_t n, struct err *err)
{
    if (n > KDB_BYTES_MAX)
        return err_set(err, -E2BIG, "%s: a message of 2 GiB or more", w->path);
    return kdb_log_write_many(w, message, n, 1, err);
}

bool kdb_log_write_many(struct kdb_log_writer *w, const void *messages, size_t n, uint64_t count,
                        struct err *err)
{
    if (!append(w, messages, n, err))
        return false;
    w->crc = crc32c(w->crc, messages, n);
    w->messages += count;
    return true;
}

bool kdb_log_finish(struct kdb_log_writer *w, bool sync, struct err *err)
{
    if (w->fd < 0)
        return true;
    int r = sync ? w->io->ops->fsync(w->io, w->fd) : 0;
    int c = w->io->ops->close(w->io, w->fd);
    w->fd = -1;
    return (!r && !c) || err_set(err, r ? r : c, "%s: %s", w->path, strerror(-(r ? r : c)));
}

/* ---- names ---- */

bool kdb_log_name(char out[KDB_LOG_PATH], const char *prefix, int32_t day)
{
    char date[CIVIL_TEXT];
    int n = snprintf(out, KDB_LOG_PATH, "%s%s", prefix, civil_format(day, date));
    return n > 0 && n < (int)KDB_LOG_PATH;
}

bool kdb_log_date(const char *path, int32_t *day)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char date[16] = "";
    size_t n = strlen(name), digits = 0;
    if (n > 3 && !strcmp(name + n - 3, ".gz"))
        n -= 3;
    if (n >= 10 && name[n - 6] == '.') {
        memcpy(date, name + n - 10, 10);
        return civil_parse(date, day);
    }
    while (digits < n && isdigit((unsigned char)name[n - 1 - digits]))
        digits++;
    if (digits < 8)
        return false;
    memcpy(date, name + n - digits, 8);
    return civil_parse(date, day);
}
