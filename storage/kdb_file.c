/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/schema.h"
#include "kdb_file_private.h"

#define TYPE_DATETIME 15
#define TYPE_ENUM     20
#define TYPE_ANYMAP   77
#define HEAD_BYTES    4112u

/* What the header says, before the values are looked at. */
struct head {
    uint64_t at;    /* of the values */
    unsigned width; /* in the file */
};

static bool unsupported(struct err *err, const char *name, const char *what)
{
    return err_set(err, -ENOTSUP, "%s: is %s, which is not read", name, what);
}

static bool too_short(struct err *err, const char *name, uint64_t total)
{
    return err_set(err, -EBADMSG, "%s: %llu bytes are too few for a kdb+ column file", name,
                   (unsigned long long)total);
}

/* A type code of a raw vector: its width, or a sentence. */
static bool vector_type(struct kdb_column *c, struct head *h, unsigned type, const char *name,
                        struct err *err)
{
    c->type = (uint8_t)type;
    if (type == TYPE_DATETIME)
        return unsupported(err, name, "a column of type datetime");
    if (type == PST_STRING) {
        h->width = 8;
        return true;
    }
    if (type > TYPE_ANYMAP && type < TYPE_ANYMAP + 20)
        return unsupported(err, name, "a column of lists of another type than char");
    h->width = type == PST_SYMBOL ? 0 : type_width((uint8_t)type);
    return h->width || err_set(err, -EBADMSG, "%s: has type %u, which no column has", name, type);
}

/* Shape C: fe, name, NUL, padded to 8; 8 bytes (attribute at 3); count; indexes. For names that do
 * not fit the first 8 bytes the padding is not certain: the file's size must settle it. */
static bool head_enum32(struct kdb_column *c, struct head *h, const uint8_t *f, size_t len,
                        uint64_t total, const char *name, struct err *err)
{
    size_t n = strnlen((const char *)f + 1, len - 1 < KDB_DOMAIN_MAX ? len - 1 : KDB_DOMAIN_MAX);
    if (n == len - 1 || n >= KDB_DOMAIN_MAX || !n)
        return err_set(err, -EBADMSG, "%s: is of no kind of kdb+ file that is known", name);
    uint64_t at = pst_align8(n + 2);
    if (at + 16 > len)
        return too_short(err, name, total);
    c->shape = KDB_ENUM32;
    c->type = PST_SYMBOL;
    c->attribute = f[at + 3];
    c->rows = le64(f + at + 8);
    h->at = at + 16;
    h->width = 4;
    memcpy(c->domain, f + 1, n);
    if (at > 8 && (c->rows > total / 4 || h->at + 4 * c->rows != total))
        return unsupported(err, name, "a 32-bit enumeration over a long domain name");
    return true;
}

static bool head_enum64(struct kdb_column *c, struct head *h, const uint8_t *f, size_t len,
                        const char *name, struct err *err)
{
    if (len < KDB_ENUM_HEADER)
        return too_short(err, name, len);
    unsigned type = f[4082];
    if (f[4080] != 0xFD || (type != TYPE_ENUM && type != TYPE_ANYMAP))
        return err_set(err, -EBADMSG, "%s: the page before its values is damaged", name);
    if (type == TYPE_ANYMAP)
        return unsupported(err, name, "a column of mixed lists (anymap)");
    size_t n = strnlen((const char *)f + 16, KDB_DOMAIN_MAX);
    if (!n || n == KDB_DOMAIN_MAX)
        return err_set(err, -EBADMSG, "%s: the name of its enumeration is damaged", name);
    c->shape = KDB_ENUM64;
    c->type = PST_SYMBOL;
    c->attribute = f[4083];
    c->rows = le64(f + 4088);
    memcpy(c->domain, f + 16, n);
    h->at = KDB_ENUM_HEADER;
    h->width = 8;
    return true;
}

/* f has the first `len` bytes of a plain image of `total`. */
static bool parse_head(struct kdb_column *c, struct head *h, const uint8_t *f, size_t len,
                       uint64_t total, const char *name, struct err *err)
{
    bool ok;
    if (len < 8)
        return too_short(err, name, total);
    if (f[0] == 0xFF && f[1] == 0x01) {
        c->shape = KDB_SYMBOLS;
        c->type = PST_STRING;
        *h = (struct head){8, 8};
        if (f[2] == 0 && le32(f + 4) == 0) /* the empty general list: an empty nested column */
            return true;
        return unsupported(err, name,
                           f[2] == PST_SYMBOL ? "a symbol column that is not enumerated"
                                              : "a serialized object and no column");
    }
    if ((f[0] == 0xFE || f[0] == 0xFF) && f[1] == 0x20) {
        if (len < KDB_VECTOR_HEADER)
            return too_short(err, name, total);
        bool old = f[0] == 0xFF;
        unsigned type = old ? le32(f + 8) : f[2];
        c->shape = old ? KDB_OLD : KDB_VECTOR;
        c->attribute = old ? 0 : f[3];
        c->rows = old ? le32(f + 12) : le64(f + 8);
        h->at = KDB_VECTOR_HEADER;
        if (old && type == PST_STRING) /* not seen in 2.x files */
            return unsupported(err, name, "a list of strings of kdb+ 2.x");
        ok = vector_type(c, h, type > 255 ? 255 : type, name, err);
    } else if (f[0] == 0xFE) {
        ok = head_enum32(c, h, f, len, total, name, err);
    } else if (f[0] == 0xFD && f[1] == 0x20) {
        ok = head_enum64(c, h, f, len, name, err);
    } else {
        return err_set(err, -EBADMSG, "%s: is of no kind of kdb+ file that is known", name);
    }
    if (!ok)
        return false;
    if (c->attribute > 4)
        return err_set(err, -EBADMSG, "%s: has attribute %u, which does not exist", name,
                       c->attribute);
    uint64_t room = (total - h->at) / h->width;
    if (c->compressed && !c->rows &&
        c->attribute <= 1) /* seen: zeroed counts in compressed files */
        c->rows = room;
    if (c->rows > room)
        return err_set(err, -EBADMSG, "%s: says %llu rows but has bytes for %llu", name,
                       (unsigned long long)c->rows, (unsigned long long)room);
    return true;
}

static bool keep(struct kdb_column *c, void *at, uint64_t len)
{
    pst_must(c->npieces < PST_COUNT(c->piece));
    c->piece[c->npieces++] = (struct kdb_piece){at, len};
    return true;
}

void kdb_close(struct kdb_column *c)
{
    for (unsigned i = 0; i < c->npieces; i++)
        if (c->piece[i].len)
            munmap(c->piece[i].at, c->piece[i].len);
        else
            free(c->piece[i].at);
    *c = (struct kdb_column){0};
}

/* Values that cannot be used where they lie. */
static bool widen(struct kdb_column *c, const uint8_t *from, const char *name, struct err *err)
{
    int64_t *v = malloc(8 * c->rows + 8);
    if (!v)
        return err_set(err, -ENOMEM, "%s: no memory for %llu values", name,
                       (unsigned long long)c->rows);
    for (uint64_t i = 0; i < c->rows; i++) {
        int32_t x = (int32_t)le32(from + 4 * i);
        v[i] = x == PST_NULL_INT ? PST_NULL_LONG : x;
    }
    c->values = v;
    return keep(c, v, 0);
}

static bool align(struct kdb_column *c, const uint8_t *from, unsigned width, const char *name,
                  struct err *err)
{
    c->values = from;
    if (!((uintptr_t)from & 7))
        return true;
    void *v = malloc(c->rows * width + 8);
    if (!v)
        return err_set(err, -ENOMEM, "%s: no memory for %llu values", name,
                       (unsigned long long)c->rows);
    memcpy(v, from, c->rows * width);
    c->values = v;
    return keep(c, v, 0);
}

static bool check_ends(const struct kdb_column *c, const char *name, struct err *err)
{
    const int64_t *end = c->values;
    int64_t last = 0;
    for (uint64_t i = 0; i < c->rows; i++) {
        if (end[i] < last)
            return err_set(err, -EBADMSG, "%s: the ends of its strings do not ascend at row %llu",
                           name, (unsigned long long)i);
        last = end[i];
    }
    return (uint64_t)last <= c->nbytes ||
           err_set(err, -EBADMSG, "%s: its strings end at byte %lld but %s# has %llu bytes", name,
                   (long long)last, name, (unsigned long long)c->nbytes);
}

bool kdb_parse(struct kdb_column *c, const void *image, size_t len, const void *more,
               size_t more_len, const char *name, struct err *err)
{
    struct head h = {0};
    const uint8_t *f = image;
    *c = (struct kdb_column){0};
    if (kdb_is_compressed(f, len)) {
        void *plain;
        size_t plain_len;
        if (!kdb_unpack(f, len, &plain, &plain_len, name, err))
            return false;
        c->compressed = keep(c, plain, pst_align_up(plain_len, 4096));
        f = plain;
        len = plain_len;
    }
    bool ok = parse_head(c, &h, f, len, len, name, err);
    if (ok && c->shape == KDB_ENUM32)
        ok = widen(c, f + h.at, name, err);
    else if (ok)
        ok = align(c, f + h.at, h.width, name, err);
    if (ok && c->type == PST_STRING) {
        c->bytes = more;
        c->nbytes = more_len;
        if (more && kdb_is_compressed(more, more_len)) {
            void *plain;
            size_t plain_len;
            ok = kdb_unpack(more, more_len, &plain, &plain_len, name, err) &&
                 keep(c, plain, pst_align_up(plain_len, 4096));
            c->bytes = ok ? plain : NULL;
            c->nbytes = ok ? plain_len : 0;
        }
        ok = ok && check_ends(c, name, err);
    }
    if (!ok)
        kdb_close(c);
    return ok;
}

/* A file's bytes: read when small, else mapped. An empty one gives len 0. */
static bool load(int dir, const char *name, void **at, uint64_t *len, uint64_t *mapped,
                 struct err *err)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    *at = NULL;
    if (fd < 0 || fstat(fd, &st)) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        return err_set(err, -e, "%s: %s", name, strerror(e));
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(err, -ENOTSUP, "%s: is not a file", name);
    }
    *len = (uint64_t)st.st_size;
    *mapped = 0;
    if (*len <= KDB_COPY_MAX) {
        uint8_t *b = malloc(*len + 8);
        uint64_t n = 0;
        while (b && n < *len) {
            ssize_t r = pread(fd, b + n, *len - n, (off_t)n);
            if (r <= 0 && !(r < 0 && errno == EINTR))
                break;
            n += r > 0 ? (uint64_t)r : 0;
        }
        if (!b || n < *len) {
            err_set(err, b ? -EIO : -ENOMEM, "%s: cannot be read to its end", name);
            free(b);
            b = NULL;
        }
        *at = b;
    } else {
        *at = mmap(NULL, *len, PROT_READ, MAP_SHARED, fd, 0);
        *mapped = *len;
        if (*at == MAP_FAILED) {
            err_set(err, -errno, "%s: cannot be mapped: %s", name, strerror(errno));
            *at = NULL;
        }
    }
    close(fd);
    return *at;
}

static void unload(void *at, uint64_t mapped)
{
    if (mapped)
        munmap(at, mapped);
    else
        free(at);
}

bool kdb_open(struct kdb_column *c, int dir, const char *name, struct err *err)
{
    void *at, *more = NULL;
    uint64_t len, mapped, more_len = 0, more_mapped = 0;
    *c = (struct kdb_column){0};
    if (!load(dir, name, &at, &len, &mapped, err))
        return false;
    struct kdb_column probe = {.compressed = kdb_is_compressed(at, len)};
    struct head h;
    struct err ignored;
    bool nested = probe.compressed || (parse_head(&probe, &h, at, len, len, name, &ignored) &&
                                       probe.type == PST_STRING && probe.rows);
    if (nested) {
        char other[512];
        snprintf(other, sizeof other, "%.500s#", name);
        struct err e = {0};
        if (!load(dir, other, &more, &more_len, &more_mapped, &e) &&
            !(e.code == -ENOENT && probe.compressed)) {
            unload(at, mapped);
            return err_set(err, e.code == -ENOENT ? -EBADMSG : e.code, "%s (the text of %s)",
                           e.text, name);
        }
    }
    if (!kdb_parse(c, at, len, more, more_len, name, err)) {
        unload(at, mapped);
        if (more)
            unload(more, more_mapped);
        return false;
    }
    keep(c, at, mapped);
    if (more)
        keep(c, more, more_mapped);
    return true;
}

/* A compressed file's header lies in its first block, whose place the trailer tells. */
static bool head_of_compressed(struct kdb_column *c, int dir, const char *name, struct err *err)
{
    void *at, *plain = NULL;
    uint64_t len, mapped, total;
    size_t n;
    struct head h;
    if (!load(dir, name, &at, &len, &mapped, err))
        return false;
    bool ok =
        kdb_is_compressed(at, len) || err_set(err, -EBADMSG, "%s: changed while it was read", name);
    ok = ok && kdb_unpack_start(at, len, HEAD_BYTES, &plain, &n, &total, name, err) &&
         parse_head(c, &h, plain, n, total, name, err);
    if (plain)
        munmap(plain, pst_align_up(n, 4096));
    unload(at, mapped);
    return ok;
}

bool kdb_open_head(struct kdb_column *c, int dir, const char *name, struct err *err)
{
    uint8_t f[HEAD_BYTES];
    struct stat st;
    struct head h;
    *c = (struct kdb_column){0};
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 || fstat(fd, &st) ? -1 : pread(fd, f, sizeof f, 0);
    int e = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return err_set(err, -e, "%s: %s", name, strerror(e));
    c->compressed = kdb_is_compressed(f, (size_t)n);
    if (c->compressed)
        return head_of_compressed(c, dir, name, err);
    return parse_head(c, &h, f, (size_t)n, (uint64_t)st.st_size, name, err);
}

bool kdb_symbols_parse(const void *image, size_t len,
                       bool (*fn)(void *arg, const char *text, size_t len), void *arg, size_t *torn,
                       const char *name, struct err *err)
{
    const uint8_t *f = image;
    *torn = 0;
    if (len < KDB_SYMBOLS_HEADER || f[0] != 0xFF || f[1] != 1 || f[2] != PST_SYMBOL)
        return err_set(err, -EBADMSG, "%s: is not a list of symbols", name);
    const char *p = (const char *)f + KDB_SYMBOLS_HEADER, *end = (const char *)f + len;
    while (p < end) {
        const char *nul = memchr(p, 0, (size_t)(end - p));
        if (!nul) {
            *torn = (size_t)(end - p);
            break;
        }
        if (!fn(arg, p, (size_t)(nul - p)))
            return err_set(err, -ECANCELED, "%s: its names were not taken", name);
        p = nul + 1;
    }
    return true;
}
