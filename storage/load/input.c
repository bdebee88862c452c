/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <isa-l/crc64.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/crc.h"
#include "load/input_parts.h"

#define THREAD_FROM (256u << 10) /* a smaller file is read sooner than a thread is made */

static const struct {
    const char *name;
    const struct unpack_ops *ops;
} formats[] = {
    [LOAD_AUTO] = {"auto", NULL},         [LOAD_PLAIN] = {"plain", NULL},
    [LOAD_GZIP] = {"gzip", &unpack_gzip}, [LOAD_ZSTD] = {"zstd", &unpack_zstd},
    [LOAD_LZ4] = {"lz4", &unpack_lz4},    [LOAD_ZIP] = {"zip", &unpack_zip},
};

bool load_compression_named(const char *name, enum load_compression *c)
{
    for (unsigned i = 0; i < PST_COUNT(formats); i++)
        if (!strcmp(name, formats[i].name)) {
            *c = (enum load_compression)i;
            return true;
        }
    return false;
}

const char *load_compression_name(enum load_compression c)
{
    return c < PST_COUNT(formats) ? formats[c].name : "?";
}

struct slot {
    uint8_t *buf; /* LOAD_KEEP_MAX, LOAD_PIECE, LOAD_PAD */
    size_t n;     /* new bytes at buf + LOAD_KEEP_MAX */
    bool full, last;
    struct err err;
};

struct load_input {
    struct load_raw raw;
    char path[1024];
    enum load_compression compression;
    struct load_unpack *unpack;
    struct stat opened;
    uint64_t limit;
    _Atomic uint64_t produced;
    bool ended;    /* the producer's: no more pieces */
    uint8_t ahead; /* a byte taken before its piece: see make_piece */
    size_t nahead;

    struct slot slot[2];
    unsigned now; /* the slot that the caller holds */
    bool held, over;
    const uint8_t *piece; /* what it was given */
    size_t piece_bytes;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool threaded, stop;
};

/* ---- the file's own bytes ---- */

bool raw_damaged(const struct load_raw *r, struct err *err, const char *format, ...)
{
    char text[200];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return err_set(err, -EBADMSG, "%s: damaged at byte %llu of %llu: %s; deliver it again", r->path,
                   (unsigned long long)raw_offset(r), (unsigned long long)r->size, text);
}

bool raw_short(const struct load_raw *r, struct err *err, const char *what)
{
    return err_set(err, -ENODATA,
                   "%s: cut short at byte %llu of %llu: the %s ends early; deliver it again",
                   r->path, (unsigned long long)raw_offset(r), (unsigned long long)r->size, what);
}

/* Two CRCs of different width, a few hundredths of what reading costs; 96 bits that a corrected
 * file does not have by chance. */
static void chain(struct load_raw *r, const uint8_t *bytes, size_t n)
{
    struct {
        struct hash128 before;
        uint64_t crc64, crc32, n;
    } piece = {r->hash, crc64_ecma_refl(0, bytes, n), crc32c(0, bytes, n), n};
    hash128_of(&piece, sizeof piece, &r->hash);
}

/* Hashed in pieces of LOAD_PIECE, whatever the reads were. */
static void add_hash(struct load_raw *r, const uint8_t *bytes, size_t n)
{
    if (r->tap)
        r->tap(r->arg, bytes, n);
    while (n) {
        if (!r->ntail && n >= LOAD_PIECE) {
            chain(r, bytes, LOAD_PIECE);
            bytes += LOAD_PIECE;
            n -= LOAD_PIECE;
            continue;
        }
        size_t k = LOAD_PIECE - r->ntail < n ? LOAD_PIECE - r->ntail : n;
        memcpy(r->tail + r->ntail, bytes, k);
        r->ntail += k;
        bytes += k;
        n -= k;
        if (r->ntail == LOAD_PIECE) {
            chain(r, r->tail, LOAD_PIECE);
            r->ntail = 0;
        }
    }
}

int64_t raw_pread(const struct load_raw *r, void *out, size_t n, uint64_t at)
{
    if (r->fd < 0) {
        size_t k = at >= r->size ? 0 : r->size - at < n ? r->size - at : n;
        memcpy(out, r->memory + (k ? at : 0), k);
        return (int64_t)k;
    }
    ssize_t k;
    do
        k = pread(r->fd, out, n, (off_t)at);
    while (k < 0 && errno == EINTR);
    return k < 0 ? -errno : k;
}

static bool changed(const struct load_raw *r, struct err *err)
{
    return err_set(
        err, -EBUSY,
        "%s: it changed while it was read (%llu bytes when opened, %llu read); it is read "
        "again when it is quiet",
        r->path, (unsigned long long)r->size, (unsigned long long)r->at);
}

int64_t raw_direct(struct load_raw *r, uint8_t *out, size_t room, struct err *err)
{
    size_t n = 0;
    while (n < room && !r->eof) {
        size_t want = room - n < r->chunk ? room - n : r->chunk;
        int64_t k = raw_pread(r, out + n, want, r->at);
        unsigned tries = 0;
        while (k == -EIO && ++tries < 3)
            k = raw_pread(r, out + n, want, r->at);
        if (k < 0) {
            err_set(err, (int)k, "%s: cannot be read at byte %llu: %s", r->path,
                    (unsigned long long)r->at, strerror((int)-k));
            return -1;
        }
        if ((uint64_t)k > r->size - r->at) { /* it may never end */
            changed(r, err);
            return -1;
        }
        r->eof = k == 0;
        add_hash(r, out + n, (size_t)k);
        n += (size_t)k;
        r->at += (uint64_t)k;
        if (r->chunk < LOAD_PIECE)
            break; /* tests: what a read gives is what the format sees */
    }
    store_relaxed(&r->consumed, r->at);
    if (r->drop && n)
        posix_fadvise(r->fd, (off_t)((r->at - n) & ~4095ull), (off_t)(n + 4096),
                      POSIX_FADV_DONTNEED);
    return (int64_t)n;
}

bool raw_fill(struct load_raw *r, struct err *err)
{
    if (r->avail || r->eof)
        return true;
    int64_t n = raw_direct(r, r->buf, r->room, err);
    if (n < 0)
        return false;
    r->next = r->buf;
    r->avail = (size_t)n;
    return true;
}

/* ---- pieces ---- */

/* Is it still the file that was opened, and has all of it been seen? */
static bool unchanged(struct load_input *in, struct err *err)
{
    struct stat now, named;
    if (in->raw.fd < 0)
        return true;
    const struct stat *was = &in->opened;
    bool same = !fstat(in->raw.fd, &now) && now.st_size == was->st_size &&
                now.st_mtim.tv_sec == was->st_mtim.tv_sec &&
                now.st_mtim.tv_nsec == was->st_mtim.tv_nsec && in->raw.at == in->raw.size;
    same = same && !lstat(in->path, &named) && named.st_ino == was->st_ino &&
           named.st_dev == was->st_dev;
    return same || changed(&in->raw, err);
}

/* The formats leave the raw input at its end; plain files are there by themselves. */
static bool finish(struct load_input *in, struct err *err)
{
    struct load_raw *r = &in->raw;
    if (r->avail || !r->eof) {
        if (!raw_fill(r, err))
            return false;
        if (r->avail)
            return raw_damaged(r, err, "bytes follow the end of the %s data",
                               load_compression_name(in->compression));
    }
    if (r->ntail) {
        chain(r, r->tail, r->ntail);
        r->ntail = 0;
    }
    return unchanged(in, err);
}

static int64_t take(struct load_input *in, uint8_t *out, size_t room, struct err *err)
{
    return in->unpack ? formats[in->compression].ops->take(in->unpack, &in->raw, out, room, err)
                      : raw_direct(&in->raw, out, room, err);
}

/* The next bytes of the content into a slot; 0: none. */
static int64_t add(struct load_input *in, struct slot *s, uint8_t *to, size_t room)
{
    int64_t k = take(in, to, room, &s->err);
    if (k <= 0) {
        s->last = !k && finish(in, &s->err);
        return 0;
    }
    uint64_t total = load_relaxed(&in->produced) + (uint64_t)k;
    store_relaxed(&in->produced, total);
    if (in->limit && total > in->limit) {
        err_set(&s->err, -EFBIG, "%s: it unpacks to more than %llu bytes", in->path,
                (unsigned long long)in->limit);
        return 0;
    }
    return k;
}

/* Fills a slot. Where the size does not say whether it is the last, one byte more is taken. */
static void make_piece(struct load_input *in, struct slot *s)
{
    int64_t k = 1;
    s->n = 0;
    s->last = false;
    s->err.code = 0;
    if (!s->buf && !(s->buf = malloc(LOAD_KEEP_MAX + LOAD_PIECE + LOAD_PAD))) {
        err_set(&s->err, -ENOMEM, "no memory to read %s", in->path);
        in->ended = true;
        return;
    }
    uint8_t *to = s->buf + LOAD_KEEP_MAX;
    s->n = in->nahead;
    to[0] = in->ahead;
    in->nahead = 0;
    while (s->n < LOAD_PIECE && (k = add(in, s, to + s->n, LOAD_PIECE - s->n)))
        s->n += (size_t)k;
    if (k && (in->unpack || in->raw.at >= in->raw.size))
        in->nahead = (size_t)add(in, s, &in->ahead, 1);
    memset(to + s->n, 0, LOAD_PAD);
    in->ended = s->last || s->err.code;
}

static void *run(void *arg)
{
    struct load_input *in = arg;
    prctl(PR_SET_NAME, "pst-input");
    for (unsigned k = 0;; k ^= 1) {
        pthread_mutex_lock(&in->lock);
        while (in->slot[k].full && !in->stop)
            pthread_cond_wait(&in->wake, &in->lock);
        bool stop = in->stop;
        pthread_mutex_unlock(&in->lock);
        if (stop)
            return NULL;
        make_piece(in, &in->slot[k]);
        bool ended = in->ended;
        pthread_mutex_lock(&in->lock);
        in->slot[k].full = true;
        pthread_cond_broadcast(&in->wake);
        pthread_mutex_unlock(&in->lock);
        if (ended)
            return NULL;
    }
}

bool load_input_next(struct load_input *in, size_t keep, const uint8_t **bytes, size_t *n,
                     bool *last, struct err *err)
{
    unsigned k = in->held ? in->now ^ 1 : in->now;
    struct slot *s = &in->slot[k];
    if (keep > LOAD_KEEP_MAX || keep > in->piece_bytes)
        return err_set(err, -E2BIG, "%s: a row is longer than %u bytes near byte %llu of its text",
                       in->path, LOAD_KEEP_MAX, (unsigned long long)load_input_produced(in));
    if (in->over) { /* called again behind the end */
        *bytes = in->piece + in->piece_bytes - keep;
        *n = keep;
        return *last = true;
    }
    if (in->threaded) {
        pthread_mutex_lock(&in->lock);
        while (!s->full)
            pthread_cond_wait(&in->wake, &in->lock);
        pthread_mutex_unlock(&in->lock);
    } else
        make_piece(in, s);
    if (!s->buf) { /* not even memory for a piece */
        *err = s->err;
        return !(in->over = true);
    }
    uint8_t *at = s->buf + LOAD_KEEP_MAX - keep;
    if (keep)
        memcpy(at, in->piece + in->piece_bytes - keep, keep);
    if (in->threaded && in->held) { /* the old piece is no longer needed */
        pthread_mutex_lock(&in->lock);
        in->slot[in->now].full = false;
        pthread_cond_broadcast(&in->wake);
        pthread_mutex_unlock(&in->lock);
    }
    in->now = k;
    in->held = true;
    in->piece = *bytes = at;
    in->piece_bytes = *n = keep + s->n;
    in->over = *last = s->last;
    if (s->err.code) {
        *err = s->err;
        in->over = true;
        return false;
    }
    return true;
}

/* ---- life ---- */

static enum load_compression sniff(const struct load_raw *r)
{
    uint8_t b[4] = {0};
    int64_t n = raw_pread(r, b, 4, 0);
    if (n >= 2 && b[0] == 0x1f && b[1] == 0x8b)
        return LOAD_GZIP;
    uint32_t magic = n == 4 ? le32(b) : 0;
    if (magic == 0xFD2FB528u || (magic & 0xFFFFFFF0u) == 0x184D2A50u) {
        /* skippable frames are zstd's and lz4's; what follows them says whose */
        uint64_t at = 0;
        uint8_t head[8];
        while ((magic & 0xFFFFFFF0u) == 0x184D2A50u && raw_pread(r, head, 8, at) == 8) {
            at += 8 + (uint64_t)le32(head + 4);
            magic = raw_pread(r, head, 4, at) == 4 ? le32(head) : 0;
        }
        return magic == 0x184D2204u ? LOAD_LZ4 : LOAD_ZSTD;
    }
    if (magic == 0x184D2204u)
        return LOAD_LZ4;
    if (magic == 0x04034b50u || magic == 0x06054b50u)
        return LOAD_ZIP;
    return LOAD_PLAIN;
}

/* Pages that only this reading brings into the cache are dropped behind it, so that a load does not
 * push the database's out. A file that somebody keeps there stays. Looking costs no page fault. */
static bool is_cached(const struct load_raw *r)
{
    enum { PLACES = 32, SMALL = 8 << 20 };
    unsigned in = 0, n = 0;
    if (r->size < SMALL) /* not worth a look */
        return true;
    for (unsigned i = 0; i < PLACES && r->size; i++) {
        uint8_t seen = 0;
        off_t at = (off_t)(r->size / PLACES * i & ~4095ull);
        void *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, r->fd, at);
        if (p == MAP_FAILED)
            return true;
        n++;
        in += !mincore(p, 4096, &seen) && (seen & 1);
        munmap(p, 4096);
    }
    return in * 2 > n;
}

/* No larger than the file: thousands of tiny ones are delivered too. */
static bool raw_buffers(struct load_raw *r, struct err *err)
{
    r->room = r->size < LOAD_PIECE ? r->size + 1 : LOAD_PIECE;
    uint8_t *buf = malloc(RAW_BACK + r->room);
    r->buf = buf ? buf + RAW_BACK : NULL;
    r->next = r->buf;
    r->tail = malloc(r->room);
    return (buf && r->tail) || err_set(err, -ENOMEM, "no memory to read %s", r->path);
}

static bool open_raw(struct load_input *in, const char *path, const struct load_input_config *c,
                     struct err *err)
{
    struct load_raw *r = &in->raw;
    r->path = in->path;
    r->fd = -1;
    r->chunk = c->chunk ? c->chunk : LOAD_PIECE;
    r->tap = c->raw;
    r->arg = c->arg;
    if (c->memory) {
        r->memory = c->memory;
        r->size = c->memory_bytes;
        return raw_buffers(r, err);
    }
    /* a fifo must not hang it; a name that became a link is another file */
    r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
    if (r->fd < 0 && errno == ELOOP)
        return err_set(err, -ELOOP, "%s: it is a symbolic link: links are not followed", path);
    if (r->fd < 0 || fstat(r->fd, &in->opened))
        return err_set(err, -errno, "%s: cannot be opened: %s", path, strerror(errno));
    if (!S_ISREG(in->opened.st_mode))
        return err_set(err, S_ISDIR(in->opened.st_mode) ? -EISDIR : -EINVAL,
                       "%s: it is no regular file", path);
    r->size = (uint64_t)in->opened.st_size;
    r->drop = !is_cached(r);
    posix_fadvise(r->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return raw_buffers(r, err);
}

struct load_input *load_input_open(const char *path, const struct load_input_config *c,
                                   struct err *err)
{
    struct load_input *in = calloc(1, sizeof *in);
    if (!in) {
        err_set(err, -ENOMEM, "no memory to read %s", path);
        return NULL;
    }
    snprintf(in->path, sizeof in->path, "%s", path);
    pthread_mutex_init(&in->lock, NULL);
    pthread_cond_init(&in->wake, NULL);
    in->limit = c->limit;
    bool ok = open_raw(in, path, c, err);
    if (ok) {
        in->compression = c->compression ? c->compression : sniff(&in->raw);
        const struct unpack_ops *ops = formats[in->compression].ops;
        ok = !ops || (in->unpack = ops->open(&in->raw, c, err));
    }
    if (ok && c->threads && (in->raw.fd < 0 || in->raw.size >= THREAD_FROM))
        in->threaded = !pthread_create(&in->thread, NULL, run, in); /* else in the call */
    if (ok)
        return in;
    load_input_close(in);
    return NULL;
}

void load_input_close(struct load_input *in)
{
    if (!in)
        return;
    if (in->threaded) {
        pthread_mutex_lock(&in->lock);
        in->stop = true;
        pthread_cond_broadcast(&in->wake);
        pthread_mutex_unlock(&in->lock);
        pthread_join(in->thread, NULL);
    }
    if (in->unpack)
        formats[in->compression].ops->close(in->unpack);
    if (in->raw.fd >= 0)
        close(in->raw.fd);
    if (in->raw.buf)
        free(in->raw.buf - RAW_BACK);
    free(in->raw.tail);
    free(in->slot[0].buf);
    free(in->slot[1].buf);
    pthread_mutex_destroy(&in->lock);
    pthread_cond_destroy(&in->wake);
    free(in);
}

enum load_compression load_input_compression(const struct load_input *in)
{
    return in->compression;
}
uint64_t load_input_size(const struct load_input *in)
{
    return in->raw.size;
}
uint64_t load_input_consumed(const struct load_input *in)
{
    return load_relaxed(&in->raw.consumed);
}
uint64_t load_input_produced(const struct load_input *in)
{
    return load_relaxed(&in->produced);
}
struct hash128 load_input_hash(const struct load_input *in)
{
    return in->raw.hash;
}

bool load_file_hash(const char *path, uint64_t *size, struct hash128 *hash, struct err *err)
{
    struct load_input_config c = {.compression = LOAD_PLAIN};
    struct load_input *in = load_input_open(path, &c, err);
    const uint8_t *bytes;
    size_t n;
    bool last = false, ok = in != NULL;
    while (ok && !last)
        ok = load_input_next(in, 0, &bytes, &n, &last, err);
    if (ok) {
        *size = in->raw.size;
        *hash = in->raw.hash;
    }
    load_input_close(in);
    return ok;
}
