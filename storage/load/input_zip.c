/* SPDX-License-Identifier: Apache-2.0 */
/* The first file of a zip archive. Source: PKWARE APPNOTE 6.3, sections 4.3 and 4.5.3. The central
 * directory at the end is what holds: a local header may lack sizes. */
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include "core/crc.h"
#include "load/input_parts.h"

#define LOCAL         0x04034b50u
#define CENTRAL       0x02014b50u
#define END           0x06054b50u
#define END64         0x06064b50u
#define LOCATOR       0x07064b50u
#define LOCAL_BYTES   30u
#define CENTRAL_BYTES 46u
#define END_BYTES     22u
#define END_REACH     (END_BYTES + 65535u)

struct load_unpack {
    struct zip_entry entry;
    struct inflate_state state;
    uint64_t left;  /* packed bytes not yet read */
    uint64_t plain; /* unpacked so far */
    uint32_t crc;
    bool ended;
};

static bool zip_bad(const struct load_raw *r, struct err *err, const char *why)
{
    return err_set(err, -EBADMSG, "%s: damaged: %s; deliver it again", r->path, why);
}

/* The end record: it must be the file's last, its comment reaching exactly to the end. */
static bool find_end(const struct load_raw *r, uint64_t *at, struct err *err)
{
    uint64_t n = r->size < END_REACH ? r->size : END_REACH;
    uint8_t *tail = malloc(n + 1);
    if (!tail)
        return err_set(err, -ENOMEM, "no memory to read %s", r->path);
    int64_t got = raw_pread(r, tail, n, r->size - n);
    bool found = false;
    for (int64_t i = got - (int64_t)END_BYTES; got == (int64_t)n && i >= 0 && !found; i--)
        if (le32(tail + i) == END && (uint64_t)i + END_BYTES + le16(tail + i + 20) == n) {
            *at = r->size - n + (uint64_t)i;
            found = true;
        }
    free(tail);
    return found || err_set(err, -ENODATA,
                            "%s: cut short: %llu bytes without the end record of a zip archive; "
                            "deliver it again",
                            r->path, (unsigned long long)r->size);
}

struct directory {
    uint64_t entries, at, bytes;
};

static bool find_directory(const struct load_raw *r, struct directory *d, struct err *err)
{
    uint8_t b[56];
    uint64_t end = 0;
    if (!find_end(r, &end, err))
        return false;
    if (raw_pread(r, b, END_BYTES, end) != END_BYTES)
        return zip_bad(r, err, "its end record cannot be read");
    if (le16(b + 4) || le16(b + 6))
        return err_set(err, -ENOTSUP, "%s: a zip archive in several parts is not read", r->path);
    *d = (struct directory){le16(b + 10), le32(b + 16), le32(b + 12)};
    if (d->entries != 0xFFFF && d->at != 0xFFFFFFFFu && d->bytes != 0xFFFFFFFFu)
        return true;
    if (end < 20 || raw_pread(r, b, 20, end - 20) != 20 || le32(b) != LOCATOR)
        return zip_bad(r, err, "its zip64 locator is missing");
    uint64_t at64 = le64(b + 8);
    if (at64 > end || raw_pread(r, b, 56, at64) != 56 || le32(b) != END64)
        return zip_bad(r, err, "its zip64 end record is missing");
    *d = (struct directory){le64(b + 32), le64(b + 48), le64(b + 40)};
    return true;
}

/* Values that did not fit stand in the extra field 1, in this order. */
static bool zip64_of(const uint8_t *extra, size_t n, uint64_t *plain, uint64_t *packed,
                     uint64_t *local)
{
    uint64_t *want[3] = {plain, packed, local};
    bool missing = *plain == 0xFFFFFFFFu || *packed == 0xFFFFFFFFu || *local == 0xFFFFFFFFu;
    for (size_t i = 0; missing && i + 4 <= n; i += 4u + le16(extra + i + 2)) {
        size_t len = le16(extra + i + 2), at = i + 4;
        if (le16(extra + i) != 1 || at + len > n)
            continue;
        for (unsigned k = 0; k < 3; k++)
            if (*want[k] == 0xFFFFFFFFu) {
                if (at + 8 > i + 4 + len)
                    return false;
                *want[k] = le64(extra + at);
                at += 8;
            }
        missing = false;
    }
    return !missing;
}

static bool entry_of(const struct load_raw *r, const uint8_t *c, const uint8_t *extra,
                     size_t nextra, struct zip_entry *e, struct err *err)
{
    uint64_t plain = le32(c + 24), packed = le32(c + 20), local = le32(c + 42);
    unsigned method = le16(c + 10), flags = le16(c + 8);
    uint8_t b[LOCAL_BYTES];
    if (flags & (1 | 1 << 6))
        return err_set(err, -ENOTSUP, "%s: the file in it is encrypted", r->path);
    if (method != 0 && method != 8)
        return err_set(err, -ENOTSUP,
                       "%s: compression method %u is not read; stored and deflate are", r->path,
                       method);
    if (!zip64_of(extra, nextra, &plain, &packed, &local))
        return zip_bad(r, err, "its zip64 sizes are missing");
    if (local > r->size || raw_pread(r, b, LOCAL_BYTES, local) != LOCAL_BYTES || le32(b) != LOCAL)
        return zip_bad(r, err, "the first file's header is not where the directory says");
    *e = (struct zip_entry){.at = local + LOCAL_BYTES + le16(b + 26) + le16(b + 28),
                            .packed = packed,
                            .plain = plain,
                            .crc = le32(c + 16),
                            .stored = !method};
    if (e->at > r->size || packed > r->size - e->at)
        return zip_bad(r, err, "the first file reaches beyond the end of the archive");
    return !e->stored || packed == plain || zip_bad(r, err, "the sizes of a stored file differ");
}

bool zip_find(const struct load_raw *r, struct zip_entry *e, struct err *err)
{
    struct directory d = {0};
    uint8_t c[CENTRAL_BYTES], last = 0;
    bool found = false;
    unsigned files = 0;
    if (!find_directory(r, &d, err))
        return false;
    uint64_t at = d.at;
    for (uint64_t i = 0; i < d.entries && files < 2; i++) {
        if (at > r->size || raw_pread(r, c, sizeof c, at) != sizeof c || le32(c) != CENTRAL)
            return zip_bad(r, err, "its directory is not where the end record says");
        size_t name = le16(c + 28), extra = le16(c + 30), comment = le16(c + 32);
        if (name && raw_pread(r, &last, 1, at + CENTRAL_BYTES + name - 1) != 1)
            return zip_bad(r, err, "its directory ends early");
        if (last != '/' && !files++) { /* a name that ends in / is a directory */
            uint8_t *more = malloc(extra + 1);
            bool ok = more && raw_pread(r, more, extra, at + CENTRAL_BYTES + name) == (int64_t)extra
                          ? entry_of(r, c, more, extra, e, err)
                          : zip_bad(r, err, "its directory ends early");
            free(more);
            if (!ok)
                return false;
            found = true;
        }
        at += CENTRAL_BYTES + name + extra + comment;
    }
    e->files = files;
    return found || err_set(err, -ENODATA, "%s: there is no file in this zip archive", r->path);
}

static struct load_unpack *zip_open(struct load_raw *raw, const struct load_input_config *c,
                                    struct err *err)
{
    struct load_unpack *u = calloc(1, sizeof *u);
    if (!u) {
        err_set(err, -ENOMEM, "no memory to unpack %s", raw->path);
        return NULL;
    }
    bool ok = zip_find(raw, &u->entry, err);
    if (ok && u->entry.files > 1 && !c->first_only)
        ok = err_set(err, -ENOTSUP,
                     "%s: a zip archive of several files: deliver each as a file of its own",
                     raw->path);
    if (!ok) {
        free(u);
        return NULL;
    }
    u->left = u->entry.packed;
    isal_inflate_init(&u->state); /* deflate without a wrapper */
    return u;
}

/* Passes over what lies before the data, or behind it. */
static bool pass_over(struct load_raw *raw, uint64_t upto, struct err *err)
{
    while (raw_offset(raw) < upto) {
        if (!raw_fill(raw, err))
            return false;
        if (!raw->avail)
            return upto == UINT64_MAX || raw_short(raw, err, "zip archive");
        uint64_t n = upto - raw_offset(raw);
        n = n < raw->avail ? n : raw->avail;
        raw->next += n;
        raw->avail -= n;
    }
    return true;
}

static int64_t zip_end(struct load_unpack *u, struct load_raw *raw, struct err *err)
{
    if (u->left || u->plain != u->entry.plain || u->crc != u->entry.crc) {
        raw_damaged(raw, err,
                    "what was unpacked does not have the CRC or the size that the archive says");
        return -1;
    }
    u->ended = true;
    return pass_over(raw, UINT64_MAX, err) ? 0 : -1;
}

static int64_t zip_take(struct load_unpack *u, struct load_raw *raw, uint8_t *out, size_t room,
                        struct err *err)
{
    struct inflate_state *g = &u->state;
    if (u->ended)
        return 0;
    if (raw_offset(raw) < u->entry.at && !pass_over(raw, u->entry.at, err))
        return -1;
    for (;;) {
        size_t n = 0;
        if (u->left && !raw_fill(raw, err))
            return -1;
        size_t avail = raw->avail < u->left ? raw->avail : u->left;
        if (u->left && !avail) {
            raw_short(raw, err, "zip archive");
            return -1;
        }
        if (u->entry.stored) {
            n = avail < room ? avail : room;
            memcpy(out, raw->next, n);
            raw->next += n;
            raw->avail -= n;
            u->left -= n;
            if (!n)
                return zip_end(u, raw, err);
        } else {
            if (g->block_state == ISAL_BLOCK_FINISH)
                return zip_end(u, raw, err);
            g->next_in = raw->next;
            g->avail_in = (uint32_t)avail;
            g->next_out = out;
            g->avail_out = (uint32_t)room;
            int rc = isal_inflate(g);
            size_t used = avail - g->avail_in;
            raw->next += used;
            raw->avail -= used;
            u->left -= used;
            n = room - g->avail_out;
            if (rc < 0 || (!n && !used && !u->left && g->block_state != ISAL_BLOCK_FINISH)) {
                raw_damaged(raw, err, "the deflate data of the first file");
                return -1;
            }
        }
        u->crc = crc32_gzip_refl(u->crc, out, n);
        u->plain += n;
        if (u->plain > u->entry.plain)
            return zip_end(u, raw, err);
        if (n)
            return (int64_t)n;
    }
}

static void zip_close(struct load_unpack *u)
{
    free(u);
}

const struct unpack_ops unpack_zip = {zip_open, zip_take, zip_close};
