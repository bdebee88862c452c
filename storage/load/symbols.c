/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "load/symbols.h"
#include "content_hash.h"

#define MOST       (1ull << 28) /* texts */
#define FILE_BYTES (4ull << 30)

void load_symbols_init(struct load_symbols *s)
{
    memset(s, 0, sizeof *s);
}

void load_symbols_free(struct load_symbols *s)
{
    free(s->text);
    free(s->bytes);
    free(s->hash);
    memset(s, 0, sizeof *s);
}

static uint64_t slot_of(const struct load_symbols *s, const char *text, size_t len)
{
    struct hash128 h;
    hash128_of(text, len, &h);
    uint64_t at = h.lo & (s->slots - 1);
    for (; s->hash[at]; at = (at + 1) & (s->slots - 1)) {
        const struct load_symbols_text *t = &s->text[s->hash[at] - 1];
        if (t->len == len && !memcmp(s->bytes + t->at, text, len))
            break;
    }
    return at;
}

static bool grow(struct load_symbols *s)
{
    uint64_t slots = s->slots ? 2 * s->slots : 4096;
    uint32_t *hash = calloc(slots, sizeof *hash);
    if (!hash)
        return false;
    free(s->hash);
    s->hash = hash;
    s->slots = slots;
    for (uint64_t i = 0; i < s->count; i++)
        hash[slot_of(s, s->bytes + s->text[i].at, s->text[i].len)] = (uint32_t)i + 1;
    return true;
}

static bool make_room(struct load_symbols *s, size_t len)
{
    if (2 * s->count >= s->slots && !grow(s))
        return false;
    if (s->used + len + 1 > s->room) {
        uint64_t room = 2 * (s->used + len) + 65536;
        char *more = realloc(s->bytes, room);
        if (!more)
            return false;
        s->bytes = more;
        s->room = room;
    }
    if (s->count == s->text_room) {
        uint64_t room = s->text_room ? 2 * s->text_room : 1024;
        struct load_symbols_text *more = realloc(s->text, room * sizeof *more);
        if (!more)
            return false;
        s->text = more;
        s->text_room = room;
    }
    return true;
}

bool load_symbols_add(struct load_symbols *s, const char *text, size_t len, uint64_t limit,
                      struct err *err)
{
    if (!len || len > SYMBOL_TEXT_MAX || memchr(text, 0, len))
        return err_set(err, -EINVAL, "a symbol has 1 to %u bytes and no NUL", SYMBOL_TEXT_MAX);
    if (!make_room(s, len))
        return err_set(err, -ENOMEM, "no memory for %llu symbols", (unsigned long long)s->count);
    uint64_t at = slot_of(s, text, len);
    if (s->hash[at])
        return true;
    if (s->count >= (limit && limit < MOST ? limit : MOST))
        return err_set(err, -E2BIG, "more than %llu distinct symbols",
                       (unsigned long long)s->count);
    memcpy(s->bytes + s->used, text, len);
    s->bytes[s->used + len] = 0;
    s->text[s->count] = (struct load_symbols_text){s->used, (uint32_t)len};
    s->used += len + 1;
    s->hash[at] = (uint32_t)++s->count;
    return true;
}

int64_t load_symbols_find(const struct load_symbols *s, const char *text, size_t len)
{
    return s->slots ? (int64_t)s->hash[slot_of(s, text, len)] - 1 : -1;
}

/* Texts of the same start, the shorter one first. */
static int by_text(const void *a, const void *b, void *arg)
{
    const struct load_symbols_text *x = a, *y = b;
    const char *bytes = arg;
    int c = memcmp(bytes + x->at, bytes + y->at, x->len < y->len ? x->len : y->len);
    return c ? c : x->len < y->len ? -1 : x->len > y->len;
}

bool load_symbols_sort(struct load_symbols *s, struct err *err)
{
    char *sorted = malloc(s->used + 1);
    if (!sorted)
        return err_set(err, -ENOMEM, "no memory for %llu symbols", (unsigned long long)s->count);
    qsort_r(s->text, s->count, sizeof *s->text, by_text, s->bytes);
    uint64_t at = 0;
    for (uint64_t i = 0; i < s->count; i++) {
        memcpy(sorted + at, s->bytes + s->text[i].at, s->text[i].len + 1);
        s->text[i].at = at;
        at += s->text[i].len + 1;
    }
    free(s->bytes);
    s->bytes = sorted;
    s->room = s->used;
    free(s->hash);
    s->hash = NULL;
    s->slots = 0;
    return true;
}

/* ---- a read task's file ---- */

static char *slurp(const char *path, uint64_t *len, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int e = fd < 0 || fstat(fd, &st) ? -errno : 0;
    if (!e && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > FILE_BYTES))
        e = -EBADMSG;
    char *b = e ? NULL : malloc((size_t)st.st_size + 1);
    if (!e && !b)
        e = -ENOMEM;
    *len = e ? 0 : (uint64_t)st.st_size;
    for (uint64_t done = 0; !e && done < *len;) {
        ssize_t n = pread(fd, b + done, *len - done, (off_t)done);
        if (n > 0)
            done += (uint64_t)n;
        else if (n == 0)
            e = -EBADMSG;
        else if (errno != EINTR)
            e = -errno;
    }
    if (!e && *len && b[*len - 1]) /* the last text has its NUL, too */
        e = -EBADMSG;
    if (fd >= 0)
        close(fd);
    if (!e)
        return b;
    free(b);
    err_set(err, e, "%s: cannot be read: %s", path,
            e == -EBADMSG ? "it is no list of symbols" : strerror(-e));
    return NULL;
}

bool load_symbols_file(struct load_symbols *s, const char *path, uint64_t limit, struct err *err)
{
    uint64_t len;
    struct err why = {0};
    char *b = slurp(path, &len, err);
    bool ok = b != NULL;
    for (uint64_t at = 0; ok && at < len;) {
        size_t n = strlen(b + at);
        ok = load_symbols_add(s, b + at, n, limit, &why) ||
             err_set(err, why.code == -EINVAL ? -EBADMSG : why.code, "%s: %s", path, why.text);
        at += n + 1;
    }
    free(b);
    return ok;
}

/* ---- codes ---- */

bool load_codes_read(struct load_codes *c, struct hdb_sym *sym, const char *path, struct err *err)
{
    uint64_t len, n = 1;
    char *b = slurp(path, &len, err);
    memset(c, 0, sizeof *c);
    if (!b)
        return false;
    for (uint64_t at = 0; at < len; at += strlen(b + at) + 1)
        n++;
    bool ok = n <= UINT32_MAX && (c->index = malloc(n * sizeof *c->index));
    if (!ok)
        err_set(err, -ENOMEM, "%s: no memory for %llu symbols", path, (unsigned long long)n);
    if (ok)
        c->index[c->count++] = PST_NULL_SYMBOL;
    for (uint64_t at = 0; ok && at < len;) {
        uint32_t size = (uint32_t)strlen(b + at);
        int64_t i = hdb_sym_find(sym, b + at, size);
        if (i == -1) { /* the file may have grown */
            ok = hdb_sym_read_on(sym, err);
            i = ok ? hdb_sym_find(sym, b + at, size) : 0;
        }
        if (ok && i == -1)
            ok = err_set(err, -ENOKEY, "%s: symbol %.100s is not in %s/sym: it was not interned",
                         path, b + at, sym->root);
        c->index[c->count++] = i < 0 ? PST_NULL_SYMBOL : (uint32_t)i;
        at += size + 1;
    }
    free(b);
    if (!ok)
        load_codes_free(c);
    return ok;
}

void load_codes_free(struct load_codes *c)
{
    free(c->index);
    memset(c, 0, sizeof *c);
}
