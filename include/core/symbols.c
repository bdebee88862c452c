/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/crc.h"
#include "core/symbols.h"

static const char symbols_magic[8] = "PSTSYMS1";
#define TEXT_PER_SYMBOL 24u /* mean bytes reserved; symbols_max of ordinary tickers needs 4..8 */

static void bind(struct symbols *s, void *base)
{
    s->head = base;
    s->entry = (struct symbol_entry *)((uint8_t *)base + s->head->entries_at);
    s->hash = (uint32_t *)((uint8_t *)base + s->head->hash_at);
    s->text = (char *)base + s->head->text_at;
}

bool symbols_create(struct symbols *s, uint32_t max, struct err *err)
{
    memset(s, 0, sizeof *s);
    s->fd = -1;
    if (max < 16 || max > 1u << 28)
        return err_set(err, -ERANGE, "symbols_max %u: must be 16 to %u", max, 1u << 28);
    uint32_t slots = 64;
    while (slots < 2 * max)
        slots <<= 1;
    uint64_t entries_at = pst_align_up(sizeof(struct symbols_head), 4096);
    uint64_t hash_at = pst_align_up(entries_at + (uint64_t)max * sizeof(struct symbol_entry), 4096);
    uint64_t text_at = pst_align_up(hash_at + (uint64_t)slots * 4, 4096);
    uint64_t text_bytes = pst_align_up((uint64_t)max * TEXT_PER_SYMBOL + 4096, 4096);
    if (text_bytes > UINT32_MAX - 4095u) /* an entry holds its text's place in 32 bits */
        text_bytes = UINT32_MAX - 4095u;
    s->bytes = text_at + text_bytes;
    s->fd = memfd_create("penstock-symbols", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (s->fd < 0 || ftruncate(s->fd, (off_t)s->bytes) ||
        (errno = posix_fallocate(s->fd, 0, (off_t)s->bytes))) {
        err_set(err, -errno, "symbols: no memory for %llu MiB (symbols_max %u): %s",
                (unsigned long long)(s->bytes >> 20), max, strerror(errno));
        if (s->fd >= 0)
            close(s->fd);
        s->fd = -1;
        return false;
    }
    void *base = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, s->fd, 0);
    if (base == MAP_FAILED) {
        err_set(err, -errno, "symbols: cannot map: %s", strerror(errno));
        close(s->fd);
        s->fd = -1;
        return false;
    }
    struct symbols_head *h = base;
    memcpy(h->magic, symbols_magic, 8);
    h->max = max;
    h->hash_slots = slots;
    h->entries_at = entries_at;
    h->hash_at = hash_at;
    h->text_at = text_at;
    h->text_bytes = text_bytes;
    bind(s, base);
    return true;
}

bool symbols_seal(struct symbols *s)
{
    return fcntl(s->fd, F_ADD_SEALS,
                 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0;
}

bool symbols_attach(struct symbols *s, int fd, struct err *err)
{
    memset(s, 0, sizeof *s);
    s->fd = -1;
    struct stat st;
    struct symbols_head h;
    if (fstat(fd, &st) || pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h ||
        memcmp(h.magic, symbols_magic, 8) || h.text_at + h.text_bytes != (uint64_t)st.st_size ||
        h.entries_at + (uint64_t)h.max * sizeof(struct symbol_entry) > h.hash_at ||
        h.hash_at + (uint64_t)h.hash_slots * 4 > h.text_at)
        return err_set(err, -EBADMSG, "symbols: the descriptor is not a symbol table");
    void *base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return err_set(err, -errno, "symbols: cannot map: %s", strerror(errno));
    s->fd = fd;
    s->bytes = (uint64_t)st.st_size;
    bind(s, base);
    return true;
}

void symbols_close(struct symbols *s)
{
    if (s->head) {
        munmap(s->head, s->bytes);
        close(s->fd);
    }
    memset(s, 0, sizeof *s);
    s->fd = -1;
}

/* The slot of a text, or the free slot where it belongs; *seen = what stood there. Slots are
 * relaxed atomics and an entry is read only when `count` covers it (Y2), so that any thread may
 * look: the worst is to miss a text that is being interned at that moment. */
static uint32_t slot_of(const struct symbols *s, const char *text, uint32_t len, uint32_t *seen)
{
    uint32_t mask = s->head->hash_slots - 1;
    uint32_t count = symbols_count(s);
    uint32_t i = crc32c(len, text, len) * 2654435761u;
    for (i = (i >> 7 ^ i) & mask;; i = (i + 1) & mask) {
        uint32_t v = __atomic_load_n(&s->hash[i], __ATOMIC_RELAXED);
        *seen = v;
        if (!v)
            return i;
        if (v > count && v > (count = symbols_count(s)))
            continue;
        const struct symbol_entry *e = &s->entry[v - 1];
        if (e->len == len && !memcmp(s->text + e->at, text, len))
            return i;
    }
}

uint32_t symbols_find(const struct symbols *s, const char *text, uint32_t len)
{
    if (!len || len > SYMBOL_TEXT_MAX)
        return PST_NULL_SYMBOL;
    uint32_t v;
    slot_of(s, text, len, &v);
    return v ? v - 1 : PST_NULL_SYMBOL;
}

enum symbols_verdict symbols_intern(struct symbols *s, const char *text, uint32_t len, uint32_t *id)
{
    *id = PST_NULL_SYMBOL;
    if (!len)
        return SYMBOLS_OLD;
    if (len > SYMBOL_TEXT_MAX || memchr(text, 0, len))
        return SYMBOLS_BAD_TEXT;
    uint32_t seen, slot = slot_of(s, text, len, &seen);
    if (seen) {
        *id = seen - 1;
        return SYMBOLS_OLD;
    }
    struct symbols_head *h = s->head;
    uint32_t n = load_relaxed(&h->count);
    if (n == h->max || h->text_used + len > h->text_bytes)
        return SYMBOLS_FULL;
    s->entry[n] = (struct symbol_entry){(uint32_t)h->text_used, len};
    memcpy(s->text + h->text_used, text, len);
    h->text_used += len;
    __atomic_store_n(&s->hash[slot], n + 1, __ATOMIC_RELAXED);
    store_release(&h->count, n + 1); /* Y1: pairs with Y2 in symbols_count */
    *id = n;
    return SYMBOLS_NEW;
}

void symbols_reset(struct symbols *s)
{
    memset(s->hash, 0, (size_t)s->head->hash_slots * sizeof *s->hash);
    s->head->text_used = 0;
    store_relaxed(&s->head->count, 0);
}

bool symbols_restore(struct symbols *s, uint32_t id, const char *text, uint32_t len)
{
    uint32_t got;
    enum symbols_verdict v = symbols_intern(s, text, len, &got);
    return (v == SYMBOLS_NEW || v == SYMBOLS_OLD) && got == id;
}

const char *symbols_text(const struct symbols *s, uint32_t id, uint32_t *len)
{
    if (id >= symbols_count(s)) {
        *len = 0;
        return "";
    }
    const struct symbol_entry *e = &s->entry[id];
    *len = e->len;
    return s->text + e->at;
}

bool symbols_skip(struct symbols *s, uint32_t id)
{
    struct symbols_head *h = s->head;
    uint32_t n = load_relaxed(&h->count);
    if (n != id || n == h->max)
        return false;
    memset(&s->entry[n], 0, sizeof s->entry[n]);
    store_release(&h->count, n + 1); /* Y1 */
    return true;
}
