/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include "core/civil.h"
#include "content_hash.h"
#include "dictionary.h"
#include "hdb_sym.h"
#include "kdb_file.h"

#define RETRY_NS (10 * 1000000ll)

struct hdb_sym_text { /* the names in one piece, and where they are */
    char *bytes;
    uint64_t used, room;
    struct name {
        uint64_t at;
        uint32_t len;
    } * name;
    uint64_t names_room;
    uint32_t *hash; /* index + 1 */
    uint64_t slots;
};

/* ---- names in memory ---- */

static uint64_t slot_of(const struct hdb_sym_text *t, const char *text, uint32_t len)
{
    struct hash128 v;
    hash128_of(text, len, &v);
    uint64_t at = v.lo & (t->slots - 1);
    for (; t->hash[at]; at = (at + 1) & (t->slots - 1)) {
        const struct name *n = &t->name[t->hash[at] - 1];
        if (n->len == len && !memcmp(t->bytes + n->at, text, len))
            break;
    }
    return at;
}

static bool hash_grow(struct hdb_sym *s)
{
    struct hdb_sym_text *t = s->texts;
    uint64_t slots = t->slots ? 2 * t->slots : 4096;
    uint32_t *more = calloc(slots, sizeof *more);
    if (!more)
        return false;
    free(t->hash);
    t->hash = more;
    t->slots = slots;
    for (uint32_t i = 0; i < s->count; i++) {
        uint64_t at = slot_of(t, t->bytes + t->name[i].at, t->name[i].len);
        if (!t->hash[at]) /* of a text that stands twice the first index counts, as in q */
            t->hash[at] = i + 1;
    }
    return true;
}

static bool remember(void *arg, const char *text, size_t len)
{
    struct hdb_sym *s = arg;
    struct hdb_sym_text *t = s->texts;
    if (len > UINT32_MAX / 2 || s->count == INT32_MAX)
        return false;
    if (t->used + len > t->room) {
        uint64_t room = 2 * (t->used + len) + 4096;
        char *more = realloc(t->bytes, room);
        if (!more)
            return false;
        t->bytes = more;
        t->room = room;
    }
    if (s->count == t->names_room) {
        uint64_t room = t->names_room ? 2 * t->names_room : 1024;
        struct name *more = realloc(t->name, room * sizeof *more);
        if (!more)
            return false;
        t->name = more;
        t->names_room = room;
    }
    if (2ull * s->count >= t->slots && !hash_grow(s))
        return false;
    memcpy(t->bytes + t->used, text, len);
    t->name[s->count] = (struct name){t->used, (uint32_t)len};
    t->used += len;
    s->count++;
    uint64_t at = slot_of(t, text, (uint32_t)len);
    if (!t->hash[at])
        t->hash[at] = s->count;
    return true;
}

static void forget(struct hdb_sym *s)
{
    s->count = 0;
    s->size = 0;
    s->texts->used = 0;
    if (s->texts->hash)
        memset(s->texts->hash, 0, s->texts->slots * sizeof *s->texts->hash);
}

const char *hdb_sym_text(const struct hdb_sym *s, int64_t index, uint32_t *len)
{
    *len = 0;
    if (index < 0 || index >= s->count)
        return index == PST_NULL_LONG ? "" : NULL;
    *len = s->texts->name[index].len;
    return s->texts->bytes + s->texts->name[index].at;
}

int64_t hdb_sym_find(const struct hdb_sym *s, const char *text, uint32_t len)
{
    if (!len)
        return PST_NULL_LONG;
    return s->texts->slots ? (int64_t)s->texts->hash[slot_of(s->texts, text, len)] - 1 : -1;
}

/* ---- the file ---- */

static bool failed(const struct hdb_sym *s, int r, const char *what, struct err *err)
{
    return err_set(err, r, "%s/sym: cannot be %s: %s", s->root, what, strerror(-r));
}

/* q's lock. An open file description's own, so that closing another descriptor of the file in this
 * process does not drop it. */
static bool lock(struct hdb_sym *s, struct err *err)
{
    int64_t until = s->io->ops->monotonic(s->io) + s->lock_ns;
    for (;;) {
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (!fcntl(s->fd, F_OFD_SETLK, &l))
            return true;
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return failed(s, -errno, "locked", err);
        if (s->io->ops->monotonic(s->io) >= until)
            break;
        s->io->ops->sleep(s->io, RETRY_NS);
    }
    struct flock who = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char by[40] = "another writer";
    if (!fcntl(s->fd, F_GETLK, &who) && who.l_type != F_UNLCK && who.l_pid > 0)
        snprintf(by, sizeof by, "process %d", who.l_pid);
    return err_set(err, -EWOULDBLOCK,
                   "%s/sym: has been locked by %s for %lld s; end that writer or try again",
                   s->root, by, (long long)(s->lock_ns / 1000000000));
}

static void unlock(struct hdb_sym *s)
{
    struct flock l = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    (void)!fcntl(s->fd, F_OFD_SETLK, &l); /* cannot fail on a lock that is held */
}

/* Reads what the file has beyond s->size. *torn: bytes of a name that never ended. */
static bool read_on(struct hdb_sym *s, size_t *torn, struct err *err)
{
    struct io_stat st;
    char path[sizeof s->root + 8];
    *torn = 0;
    snprintf(path, sizeof path, "%s/sym", s->root);
    int r = s->io->ops->fstat(s->io, s->fd, &st);
    if (r < 0)
        return failed(s, r, "read", err);
    if (st.size < s->size)
        return err_set(err, -EBADMSG,
                       "%s: has lost names since it was opened; restore it from %s/%s", path,
                       s->root, HDB_SIDE_DIR);
    if (st.size == s->size)
        return true;
    uint64_t from = s->size ? s->size - KDB_SYMBOLS_HEADER : 0, n = st.size - from;
    uint8_t *b = malloc(n);
    if (!b)
        return err_set(err, -ENOMEM, "%s: no memory for its names", path);
    r = io_pread_all(s->io, s->fd, b, n, from);
    bool ok = r == 0 || failed(s, r, "read", err);
    if (ok && from)
        kdb_symbols_header(b, 0); /* what was before is known: parse as if it began here */
    ok = ok && kdb_symbols_parse(b, n, remember, s, torn, path, err);
    free(b);
    if (ok)
        s->size = from + n - *torn;
    return ok;
}

/* Names without text at the very end: the file had grown but its bytes were not written. One alone
 * may be a real null that q enumerated. */
static uint64_t hollow(struct hdb_sym *s)
{
    uint64_t n = 0;
    while (n < s->count && !s->texts->name[s->count - 1 - n].len)
        n++;
    return n > 1 ? n : 0;
}

/* Cuts the tail that a crash left. The lock is held and the file is read to its end. */
static bool repair(struct hdb_sym *s, size_t torn, struct err *err)
{
    uint64_t zeros = hollow(s);
    if (!torn && !zeros)
        return true;
    s->cut = torn + zeros;
    uint64_t size = s->size - zeros;
    int r = s->io->ops->ftruncate(s->io, s->fd, size);
    if (r >= 0)
        r = s->io->ops->fsync(s->io, s->fd);
    if (r < 0)
        return failed(s, r, "cut back to its last whole name", err);
    forget(s);
    return read_on(s, &torn, err);
}

static bool make_header(struct hdb_sym *s, struct err *err)
{
    uint8_t head[KDB_SYMBOLS_HEADER];
    kdb_symbols_header(head, 0);
    int r = io_pwrite_all(s->io, s->fd, head, sizeof head, 0);
    if (!r)
        r = s->io->ops->fsync(s->io, s->fd);
    if (!r)
        r = s->io->ops->sync_dir(s->io, s->root);
    return r >= 0 || failed(s, r, "created", err);
}

static bool init(struct hdb_sym *s, struct io *io, const char *root, struct err *err)
{
    memset(s, 0, sizeof *s);
    s->io = io;
    s->fd = -1;
    s->identity = true;
    s->lock_ns = HDB_SYM_LOCK_NS;
    if (strlen(root) >= sizeof s->root)
        return err_set(err, -ENAMETOOLONG, "%.200s: the path is too long", root);
    strcpy(s->root, root);
    s->texts = calloc(1, sizeof *s->texts);
    return s->texts || err_set(err, -ENOMEM, "%s/sym: no memory", root);
}

bool hdb_sym_read(struct hdb_sym *s, struct io *io, const char *root, struct err *err)
{
    if (init(s, io, root, err) && hdb_sym_read_on(s, err))
        return true;
    hdb_sym_close(s);
    return false;
}

bool hdb_sym_read_on(struct hdb_sym *s, struct err *err)
{
    char path[sizeof s->root + 8];
    struct io_stat st;
    size_t torn;
    snprintf(path, sizeof path, "%s/sym", s->root);
    if (s->fd < 0)
        s->fd = s->io->ops->open(s->io, path, O_RDONLY, 0);
    int r = s->fd < 0 ? s->fd : s->io->ops->fstat(s->io, s->fd, &st);
    if (r < 0)
        return r == -ENOENT || failed(s, r, "opened", err);
    if (st.size >= KDB_SYMBOLS_HEADER && !read_on(s, &torn, err))
        return false;
    s->mapped = s->count;
    return true;
}

bool hdb_sym_open(struct hdb_sym *s, struct io *io, const char *root, struct err *err)
{
    char path[sizeof s->root + 8];
    struct io_stat st;
    size_t torn = 0;
    if (!init(s, io, root, err))
        return false;
    snprintf(path, sizeof path, "%s/sym", root);
    s->fd = io->ops->open(io, path, O_RDWR | O_CREAT, 0644);
    int r = s->fd < 0 ? s->fd : io->ops->fstat(io, s->fd, &st);
    bool ok = r >= 0 || failed(s, r, "opened", err);
    if (ok && st.size >= KDB_SYMBOLS_HEADER)
        ok = read_on(s, &torn, err);
    if (ok && (st.size < KDB_SYMBOLS_HEADER || torn || hollow(s))) {
        ok = lock(s, err);
        if (ok) { /* with the lock: nobody is in the middle of adding a name */
            r = io->ops->fstat(io, s->fd, &st);
            ok = r >= 0 || failed(s, r, "opened", err);
            if (ok && st.size < KDB_SYMBOLS_HEADER)
                ok = make_header(s, err);
            forget(s);
            ok = ok && read_on(s, &torn, err) && repair(s, torn, err);
            unlock(s);
        }
    }
    if (!ok)
        hdb_sym_close(s);
    return ok;
}

void hdb_sym_close(struct hdb_sym *s)
{
    if (s->fd >= 0 && s->io)
        s->io->ops->close(s->io, s->fd);
    if (s->texts) {
        free(s->texts->bytes);
        free(s->texts->name);
        free(s->texts->hash);
    }
    free(s->texts);
    free(s->map);
    memset(s, 0, sizeof *s);
    s->fd = -1;
}

/* ---- adding ---- */

/* The names that are in memory but not in the file. */
struct pending {
    uint32_t first; /* count when the file was complete */
    uint64_t bytes; /* of texts before them */
};

/* Lock, and the file is known to its end. */
static bool add_begin(struct hdb_sym *s, struct pending *p, struct err *err)
{
    size_t torn;
    if (!lock(s, err))
        return false;
    if (!read_on(s, &torn, err) || !repair(s, torn, err)) {
        unlock(s);
        return false;
    }
    *p = (struct pending){s->count, s->texts->used};
    return true;
}

static bool write_pending(struct hdb_sym *s, const struct pending *p, struct err *err)
{
    const struct hdb_sym_text *t = s->texts;
    uint32_t fresh = s->count - p->first;
    uint64_t n = t->used - p->bytes + fresh, at = 0;
    if (!fresh)
        return true;
    char *b = malloc(n);
    if (!b)
        return err_set(err, -ENOMEM, "%s/sym: no memory for %u new names", s->root, fresh);
    for (uint32_t i = p->first; i < s->count; i++) {
        memcpy(b + at, t->bytes + t->name[i].at, t->name[i].len);
        at += t->name[i].len;
        b[at++] = 0;
    }
    PST_FAULT("sym.append");
    int r = io_pwrite_all(s->io, s->fd, b, n, s->size);
    PST_FAULT("sym.appended");
    if (!r)
        r = s->io->ops->fsync(s->io, s->fd);
    free(b);
    if (r < 0)
        return failed(s, r, "extended", err);
    s->size += n;
    uint8_t head[KDB_SYMBOLS_HEADER];
    kdb_symbols_header(head, s->count);
    /* advisory: readers count the names. A failure costs nothing. */
    (void)!io_pwrite_all(s->io, s->fd, head + 4, 4, 4);
    PST_FAULT("sym.synced");
    return true;
}

/* Writes what was added; on failure the file and the memory are as before. */
static bool add_end(struct hdb_sym *s, const struct pending *p, bool ok, struct err *err)
{
    size_t torn;
    ok = ok && write_pending(s, p, err);
    if (!ok) {
        uint64_t size = s->size;
        struct err ignored;
        (void)!s->io->ops->ftruncate(s->io, s->fd, size); /* else the next lock's holder cuts it */
        forget(s);
        read_on(s, &torn, &ignored);
    }
    unlock(s);
    return ok;
}

static bool map_room(struct hdb_sym *s, uint32_t upto)
{
    if (upto <= s->map_room)
        return true;
    uint64_t room = 2ull * upto < UINT32_MAX ? 2ull * upto : upto;
    int64_t *more = realloc(s->map, room * sizeof *more);
    if (!more)
        return false;
    if (!s->map)
        for (uint32_t i = 0; i < s->mapped; i++)
            more[i] = i;
    s->map = more;
    s->map_room = (uint32_t)room;
    return true;
}

/* The index of a text, which is added to the memory if the file lacks it. -2: no memory. */
static int64_t index_of(struct hdb_sym *s, uint32_t id, const char *text, uint32_t len)
{
    const struct name *n = id < s->count ? &s->texts->name[id] : NULL;
    if (!len || !text)
        return PST_NULL_LONG;
    int64_t at;
    if (n && n->len == len && !memcmp(s->texts->bytes + n->at, text, len))
        at = id; /* the usual case, without a search (a text that stands twice: any will do) */
    else
        at = hdb_sym_find(s, text, len);
    if (at >= 0)
        return at;
    return remember(s, text, len) ? (int64_t)s->count - 1 : -2;
}

/*
 * Another file has the name now: restored from a backup, or gone. Appending to the old one would
 * lose the names. The memory has them all: what the new file lacks is added to it in the same
 * order, so that every index stays what partitions say it is.
 */
static bool follow(struct hdb_sym *s, struct err *err)
{
    struct hdb_sym n;
    struct pending p;
    if (!hdb_sym_open(&n, s->io, s->root, err))
        return false;
    n.lock_ns = s->lock_ns;
    bool ok = add_begin(&n, &p, err);
    if (ok) {
        for (uint32_t i = 0; ok && i < s->count; i++) {
            uint32_t had, has = 0;
            const char *a = hdb_sym_text(s, i, &had), *b = hdb_sym_text(&n, i, &has);
            if (!b)
                ok = remember(&n, a, had) || err_set(err, -ENOMEM, "%s/sym: no memory", s->root);
            else if (had != has || memcmp(a, b, had))
                ok = err_set(err, -EBADMSG,
                             "%s/sym: was replaced by a file with other names (the first is %u); "
                             "restore the newest of %s/%s",
                             s->root, i, s->root, HDB_SIDE_DIR);
        }
        ok = add_end(&n, &p, ok, err);
    }
    if (ok) {
        struct hdb_sym_text *texts = s->texts;
        int fd = s->fd;
        s->texts = n.texts;
        s->fd = n.fd;
        s->size = n.size;
        s->count = n.count;
        n.texts = texts;
        n.fd = fd;
    }
    hdb_sym_close(&n);
    return ok;
}

/* The file that is open is the one that has the name, with all its names. */
static bool attached(struct hdb_sym *s, struct err *err)
{
    struct io_stat open, named;
    char path[sizeof s->root + 8];
    size_t torn;
    snprintf(path, sizeof path, "%s/sym", s->root);
    int r = s->io->ops->fstat(s->io, s->fd, &open);
    if (r >= 0)
        r = s->io->ops->stat(s->io, path, &named);
    if (r < 0 && r != -ENOENT)
        return failed(s, r, "read", err);
    if (r == -ENOENT || open.dev != named.dev || open.ino != named.ino)
        return follow(s, err);
    return open.size >= s->size || read_on(s, &torn, err);
}

bool hdb_sym_extend(struct hdb_sym *s, hdb_sym_source text, const void *arg, uint32_t upto,
                    struct err *err)
{
    struct pending p;
    if (!attached(s, err))
        return false;
    if (upto <= s->mapped)
        return true;
    if (!add_begin(s, &p, err))
        return false;
    bool ok = true, identity = s->identity;
    if (s->map)
        ok = map_room(s, upto);
    for (uint32_t id = s->mapped; ok && id < upto; id++) {
        uint32_t len = 0;
        const char *t = text(arg, id, &len);
        int64_t at = index_of(s, id, t, len);
        ok = at != -2;
        if (ok && at != id) {
            if (!s->map) { /* ids before this one were equal to their index */
                uint32_t mapped = s->mapped;
                s->mapped = id;
                ok = map_room(s, upto);
                s->mapped = mapped;
            }
            identity = false;
        }
        if (ok && s->map)
            s->map[id] = at;
    }
    if (!ok)
        err_set(err, -ENOMEM, "%s/sym: no memory for the index of %u symbols", s->root, upto);
    if (!add_end(s, &p, ok, err))
        return false;
    s->identity = identity;
    s->mapped = upto;
    return true;
}

int64_t hdb_sym_add(struct hdb_sym *s, const char *text, uint32_t len, struct err *err)
{
    struct pending p;
    if (!len)
        return PST_NULL_LONG;
    int64_t at = hdb_sym_find(s, text, len);
    if (at >= 0)
        return at;
    if (memchr(text, 0, len) || len > SYMBOL_TEXT_MAX) {
        err_set(err, -EINVAL, "%s/sym: a symbol has 1 to %u bytes and no NUL", s->root,
                SYMBOL_TEXT_MAX);
        return -1;
    }
    if (!add_begin(s, &p, err))
        return -1;
    at = index_of(s, UINT32_MAX, text, len);
    if (at == -2)
        err_set(err, -ENOMEM, "%s/sym: no memory", s->root);
    return add_end(s, &p, at != -2, err) ? at : -1;
}

const char *hdb_sym_from_symbols(const void *symbols, uint32_t id, uint32_t *len)
{
    return symbols_text(symbols, id, len);
}
const char *hdb_sym_from_dictionary(const void *dictionary, uint32_t id, uint32_t *len)
{
    *len = 0;
    return dictionary_peek(dictionary, id, len);
}

/* ---- backup ---- */

struct backups {
    char oldest[32];
    unsigned n;
};

static bool see_backup(void *arg, const char *name)
{
    struct backups *b = arg;
    int32_t date;
    if (strlen(name) == 14 && !memcmp(name, "sym.", 4) && civil_parse(name + 4, &date)) {
        b->n++;
        if (!*b->oldest || strcmp(name, b->oldest) < 0)
            strcpy(b->oldest, name);
    }
    return true;
}

static void prune(struct hdb_sym *s, const char *dir)
{
    struct backups b;
    char path[sizeof s->root + 64];
    do {
        b = (struct backups){0};
        if (s->io->ops->list(s->io, dir, see_backup, &b) < 0 || b.n <= HDB_SYM_BACKUPS)
            return;
        snprintf(path, sizeof path, "%s/%s", dir, b.oldest);
    } while (s->io->ops->unlink(s->io, path) >= 0);
}

bool hdb_sym_backup(struct hdb_sym *s, int32_t date, struct err *err)
{
    char dir[sizeof s->root + 16], path[sizeof dir + 32], fresh[sizeof path + 8], day[CIVIL_TEXT];
    snprintf(dir, sizeof dir, "%s/%s", s->root, HDB_SIDE_DIR);
    snprintf(path, sizeof path, "%s/sym.%s", dir, civil_format(date, day));
    snprintf(fresh, sizeof fresh, "%s.new", path);
    int r = s->io->ops->mkdir(s->io, dir, 0755);
    if (r < 0 && r != -EEXIST)
        return err_set(err, r, "%s: cannot be made: %s", dir, strerror(-r));
    if (r >= 0)
        s->io->ops->sync_dir(s->io, s->root);
    uint8_t *b = malloc(s->size + 1);
    if (!b)
        return err_set(err, -ENOMEM, "%s: no memory for a copy of sym", path);
    int fd = s->io->ops->open(s->io, fresh, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    r = fd < 0 ? fd : io_pread_all(s->io, s->fd, b, s->size, 0);
    if (!r) {
        kdb_symbols_header(b, s->count);
        r = io_pwrite_all(s->io, fd, b, s->size, 0);
    }
    if (!r)
        r = s->io->ops->fsync(s->io, fd);
    if (fd >= 0) {
        int closed = s->io->ops->close(s->io, fd);
        r = r < 0 ? r : closed;
    }
    free(b);
    if (r >= 0)
        r = s->io->ops->rename(s->io, fresh, path);
    if (r >= 0)
        r = s->io->ops->sync_dir(s->io, dir);
    if (r < 0)
        return err_set(err, r, "%s: cannot be written: %s", path, strerror(-r));
    prune(s, dir);
    return true;
}
