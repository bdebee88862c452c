/* SPDX-License-Identifier: Apache-2.0 */
/* hdb_symbols.c - the sym file as a reader of the database sees it: index -> text, text -> index.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "hdb_private.h"

static bool add_text(void *arg, const char *text, size_t len)
{
    struct hdb_texts *t = arg;
    if (t->count == t->room) {
        uint64_t room = t->room ? 2 * t->room : 1024;
        struct hdb_text *more = realloc(t->text, room * sizeof *more);
        if (!more)
            return false;
        t->text = more;
        t->room = room;
    }
    t->text[t->count++] = (struct hdb_text){text, (uint32_t)len};
    return true;
}

static void forget(struct hdb_texts *t) /* the chunks stay: someone may hold texts */
{
    t->count = t->parsed = t->hashed = 0;
    if (t->hash)
        memset(t->hash, 0, t->slots * sizeof *t->hash);
}

void hdb_texts_free(struct hdb_texts *t)
{
    for (uint32_t i = 0; i < t->nchunks; i++)
        free(t->chunk[i]);
    free(t->chunk);
    free(t->text);
    free(t->hash);
    memset(t, 0, sizeof *t);
}

/* Reads what the file has grown by. A file that is another one (restored) is read anew. No file: no
 * symbols. */
bool hdb_texts_read(struct hdb *h, struct err *err)
{
    struct hdb_texts *t = &h->texts;
    char path[HDB_PATH + 8];
    struct hdb_ident id;
    snprintf(path, sizeof path, "%s/sym", h->root);
    if (!hdb_ident_of(AT_FDCWD, path, &id)) {
        if (errno == ENOENT && !t->count)
            return true;
        return err_set(err, -errno, "%s: %s", path, strerror(errno));
    }
    if (t->parsed && hdb_ident_equal(&id, &t->file))
        return true;
    if (t->parsed && (id.dev != t->file.dev || id.ino != t->file.ino || id.size < t->parsed))
        forget(t);
    uint64_t from = t->parsed ? t->parsed - KDB_SYMBOLS_HEADER : 0; /* room for a header */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t n = id.size - from, got = 0;
    char **chunks = realloc(t->chunk, (t->nchunks + 1) * sizeof *chunks);
    if (chunks)
        t->chunk = chunks;
    char *b = fd >= 0 && chunks && id.size >= from ? malloc(n + 8) : NULL;
    while (b && got < n) {
        ssize_t r = pread(fd, b + got, n - got, (off_t)(from + got));
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        got += (size_t)r;
    }
    int e = errno;
    if (fd >= 0)
        close(fd);
    if (!b)
        return err_set(err, fd < 0 ? -e : -ENOMEM, "%s: %s", path,
                       fd < 0 ? strerror(e) : "no memory for its names");
    t->chunk[t->nchunks++] = b;
    if (from) /* the names before were read: parse as if the file began here */
        kdb_symbols_header((uint8_t *)b, 0);
    size_t torn = 0;
    if (!kdb_symbols_parse(b, got, add_text, t, &torn, path, err)) {
        forget(t);
        return false;
    }
    t->parsed = from + got - torn;
    t->file = id;
    return true;
}

static bool with_texts(struct hdb *h, int64_t index)
{
    struct err ignored;
    if (!h->texts.parsed || (index >= 0 && (uint64_t)index >= h->texts.count))
        return hdb_texts_read(h, &ignored);
    return true;
}

uint64_t hdb_symbol_count(struct hdb *h)
{
    pthread_mutex_lock(&h->lock);
    with_texts(h, -1);
    uint64_t n = h->texts.count;
    pthread_mutex_unlock(&h->lock);
    return n;
}

const char *hdb_symbol_text(struct hdb *h, int64_t index, uint32_t *len)
{
    const char *text = NULL;
    *len = 0;
    if (index == PST_NULL_LONG)
        return "";
    if (index < 0)
        return NULL;
    pthread_mutex_lock(&h->lock);
    with_texts(h, index);
    if ((uint64_t)index < h->texts.count) {
        text = h->texts.text[index].text;
        *len = h->texts.text[index].len;
    }
    pthread_mutex_unlock(&h->lock);
    return text;
}

static uint64_t hash_of(const char *text, uint32_t len)
{
    struct hash128 v;
    hash128_of(text, len, &v);
    return v.lo;
}

/* The first index of a text wins, as in q's `?`. */
static uint64_t slot_of(const struct hdb_texts *t, const char *text, uint32_t len)
{
    uint64_t at = hash_of(text, len) & (t->slots - 1);
    for (; t->hash[at]; at = (at + 1) & (t->slots - 1)) {
        const struct hdb_text *o = &t->text[t->hash[at] - 1];
        if (o->len == len && !memcmp(o->text, text, len))
            break;
    }
    return at;
}

static bool hash_up(struct hdb_texts *t)
{
    if (2 * t->count > t->slots || !t->hash) {
        uint64_t slots = 1024;
        while (slots < 4 * t->count)
            slots *= 2;
        uint32_t *more = calloc(slots, sizeof *more);
        if (!more)
            return false;
        free(t->hash);
        t->hash = more;
        t->slots = slots;
        t->hashed = 0;
    }
    for (; t->hashed < t->count && t->hashed < UINT32_MAX - 1; t->hashed++) {
        uint64_t at = slot_of(t, t->text[t->hashed].text, t->text[t->hashed].len);
        if (!t->hash[at])
            t->hash[at] = (uint32_t)t->hashed + 1;
    }
    return true;
}

int64_t hdb_symbol_find(struct hdb *h, const char *text, uint32_t len)
{
    if (!len)
        return PST_NULL_LONG;
    pthread_mutex_lock(&h->lock);
    with_texts(h, -1);
    int64_t index = -1;
    if (h->texts.count && hash_up(&h->texts))
        index = (int64_t)h->texts.hash[slot_of(&h->texts, text, len)] - 1;
    pthread_mutex_unlock(&h->lock);
    return index;
}
