/* SPDX-License-Identifier: Apache-2.0 */
#include "access.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include "core/atomics.h"
#include "core/civil.h"
#include "core/clock.h"
#include "day_file.h"

#define REFUSALS   100
#define REFUSAL_NS (NS_PER_S / 10)
#define REFUSAL    (1u << 31) /* in a line's length */

struct access {
    pthread_mutex_t lock; /* guards queue, head, used, lost */
    char *queue;          /* lines, each behind its length (u32), in a circle */
    size_t head, used;
    uint64_t lost;
    int64_t refused_at, unlogged; /* refusals: when the last one would have been; not logged */
    _Atomic int32_t day;
    _Atomic int64_t size;
    _Atomic uint64_t logged;
    /* the thread's */
    struct day_file file;
    char line[ACCESS_LINE];
};

/* ---- a line -----------------------------------------------------------------------------------
 */

struct text {
    char *out;
    size_t n, max;
};

static void put(struct text *t, const char *s, size_t n)
{
    if (t->n + n <= t->max) {
        memcpy(t->out + t->n, s, n);
        t->n += n;
    }
}

__attribute__((format(printf, 2, 3))) static void putf(struct text *t, const char *fmt, ...)
{
    char buf[128];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    put(t, buf, (size_t)n < sizeof buf ? (size_t)n : sizeof buf - 1);
}

size_t access_utf8(const uint8_t *s, size_t n)
{
    size_t len = s[0] < 0x80       ? 1
                 : s[0] >> 5 == 6  ? 2
                 : s[0] >> 4 == 14 ? 3
                 : s[0] >> 3 == 30 ? 4
                                   : 0;
    if (!len || len > n)
        return 0;
    uint32_t v = len == 1 ? s[0] : s[0] & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        v = v << 6 | (s[i] & 63u);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    return v < least[len] || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000) ? 0 : len;
}

/* Also escaped: what a terminal or a reader of lines takes for more than text (C1 controls, line
 * separators, marks that turn the direction of writing). */
static bool unsafe(const uint8_t *s, size_t len)
{
    if (len == 2)
        return s[0] == 0xC2 && s[1] < 0xA0;
    if (len != 3 || s[0] != 0xE2)
        return false;
    return (s[1] == 0x80 && (s[2] >= 0xA8 && s[2] <= 0xAE)) || /* 2028 … 202E */
           (s[1] == 0x80 && (s[2] == 0x8E || s[2] == 0x8F)) || /* 200E, 200F */
           (s[1] == 0x81 && s[2] >= 0xA6 && s[2] <= 0xA9);     /* 2066 … 2069 */
}

static void quoted(struct text *t, const char *key, const char *text, size_t n)
{
    const uint8_t *s = (const uint8_t *)text, *end = s + n;
    putf(t, ",\"%s\":\"", key);
    while (s < end) {
        size_t len = access_utf8(s, (size_t)(end - s));
        if (*s == '"' || *s == '\\') {
            putf(t, "\\%c", *s);
        } else if (*s == '\n') {
            put(t, "\\n", 2);
        } else if (!*s) {
            put(t, "\\ufffd", 6); /* many readers of JSON take no NUL */
        } else if (*s < 0x20 || *s == 0x7F || !len) {
            putf(t, "\\u%04x", *s);
        } else if (unsafe(s, len)) {
            uint32_t v = len == 2 ? (s[0] & 31u) << 6 | (s[1] & 63u)
                                  : (s[0] & 15u) << 12 | (s[1] & 63u) << 6 | (s[2] & 63u);
            putf(t, "\\u%04x", v);
        } else {
            put(t, (const char *)s, len);
        }
        s += len ? len : 1;
    }
    put(t, "\"", 1);
}

static void number(struct text *t, const char *key, int64_t v)
{
    if (v)
        putf(t, ",\"%s\":%" PRId64, key, v);
}

size_t access_line(const struct access_entry *e, int64_t time, char *out, size_t size)
{
    static const char *const names[] = {"login",  "refuse", "close",     "query",
                                        "answer", "error",  "subscribe", "unsubscribe",
                                        "deny",   "kick",   "policy",    "reload"};
    _Static_assert(PST_COUNT(names) == ACCESS_KINDS, "one name a kind");
    char stamp[CIVIL_STAMP_TEXT], from[ADDRESS_TEXT];
    struct text t = {.out = out, .max = size - 3};
    putf(&t, "{\"time\":\"%s\",\"event\":\"%s\"", civil_format_stamp(time, stamp), names[e->event]);
    number(&t, "connection", (int64_t)e->connection);
    if (e->user)
        quoted(&t, "user", e->user, strnlen(e->user, 255));
    if (e->from) {
        address_text(e->from, from);
        quoted(&t, "from", from, strlen(from));
    }
    number(&t, "id", e->id);
    if (e->outcome)
        putf(&t, ",\"ms\":%.3f,\"rows\":%" PRId64 ",\"bytes\":%" PRId64,
             (double)e->duration_ns / 1e6, e->rows, e->bytes);
    if (e->outcome && (e->event == ACCESS_ANSWER || e->event == ACCESS_ERROR))
        putf(&t, ",\"memory\":%" PRId64, e->memory);
    number(&t, "unlogged", e->unlogged);
    if (e->reason)
        quoted(&t, "reason", e->reason, strnlen(e->reason, 500));
    if (e->text) {
        size_t n = e->text_len ? e->text_len : strnlen(e->text, ACCESS_TEXT + 1);
        bool cut = n > ACCESS_TEXT;
        n = cut ? ACCESS_TEXT : n;
        while (cut && n && ((uint8_t)e->text[n] >> 6) == 2)
            n--; /* not within a character */
        quoted(&t, "text", e->text, n);
        if (cut)
            put(&t, ",\"cut\":true", 11);
    }
    out[t.n++] = '}';
    out[t.n++] = '\n';
    out[t.n] = 0;
    return t.n;
}

/* ---- the queue --------------------------------------------------------------------------------
 */

static void circle_in(struct access *a, size_t at, const void *from, size_t n)
{
    size_t first = ACCESS_QUEUE - at % ACCESS_QUEUE;
    first = first < n ? first : n;
    memcpy(a->queue + at % ACCESS_QUEUE, from, first);
    memcpy(a->queue, (const char *)from + first, n - first);
}

static void circle_out(const struct access *a, size_t at, void *to, size_t n)
{
    size_t first = ACCESS_QUEUE - at % ACCESS_QUEUE;
    first = first < n ? first : n;
    memcpy(to, a->queue + at % ACCESS_QUEUE, first);
    memcpy((char *)to + first, a->queue, n - first);
}

/* A bucket of REFUSALS that fills by one each REFUSAL_NS. */
static bool refusal_logged(struct access *a, int64_t *unlogged)
{
    int64_t now = clock_monotonic();
    pthread_mutex_lock(&a->lock);
    if (a->refused_at < now - REFUSALS * REFUSAL_NS)
        a->refused_at = now - REFUSALS * REFUSAL_NS;
    bool logged = a->refused_at + REFUSAL_NS <= now;
    if (logged) {
        a->refused_at += REFUSAL_NS;
        *unlogged = a->unlogged;
        a->unlogged = 0;
    } else {
        a->unlogged++;
    }
    pthread_mutex_unlock(&a->lock);
    return logged;
}

void access_log(struct access *a, const struct access_entry *e)
{
    char line[ACCESS_LINE];
    if (!a || load_relaxed(&a->size) <= 0)
        return;
    struct access_entry refusal;
    if (e->event == ACCESS_REFUSE) {
        refusal = *e;
        if (!refusal_logged(a, &refusal.unlogged))
            return;
        e = &refusal;
    }
    uint32_t n = (uint32_t)access_line(e, clock_system(), line, sizeof line);
    uint32_t head = n | (e->event == ACCESS_REFUSE ? REFUSAL : 0);
    pthread_mutex_lock(&a->lock);
    if (a->used + n + sizeof n <= ACCESS_QUEUE) {
        circle_in(a, a->head + a->used, &head, sizeof head);
        circle_in(a, a->head + a->used + sizeof n, line, n);
        a->used += n + sizeof n;
    } else {
        a->lost++;
    }
    pthread_mutex_unlock(&a->lock);
}

static uint32_t take(struct access *a, bool *refusal)
{
    uint32_t n = 0;
    pthread_mutex_lock(&a->lock);
    if (a->used) {
        circle_out(a, a->head, &n, sizeof n);
        *refusal = n & REFUSAL;
        n &= ~REFUSAL;
        circle_out(a, a->head + sizeof n, a->line, n);
        a->head = (a->head + sizeof n + n) % ACCESS_QUEUE;
        a->used -= sizeof n + n;
    }
    pthread_mutex_unlock(&a->lock);
    return n;
}

static void lose(struct access *a)
{
    pthread_mutex_lock(&a->lock);
    a->lost++;
    pthread_mutex_unlock(&a->lock);
}

/* ---- the file ---------------------------------------------------------------------------------
 */

/* Refusals leave a quarter to those who come in. */
static bool write_line(struct access *a, uint32_t n, bool refusal)
{
    int64_t size = load_relaxed(&a->size);
    return day_file_write(&a->file, load_relaxed(&a->day), a->line, n,
                          refusal ? size / 4 * 3 : size);
}

int access_work(struct access *a)
{
    int did = 0;
    uint32_t n;
    bool refusal;
    for (; a && did < 64 && (n = take(a, &refusal)); did++) {
        if (write_line(a, n, refusal))
            atomic_fetch_add_explicit(&a->logged, 1, memory_order_relaxed);
        else
            lose(a);
    }
    return did;
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct access *access_open(const char *directory, const char *instance, int64_t size,
                           struct err *err)
{
    struct access *a = calloc(1, sizeof *a);
    if (a)
        a->queue = malloc(ACCESS_QUEUE);
    if (!a || !a->queue) {
        free(a);
        err_set(err, -ENOMEM, "access log: no memory");
        return NULL;
    }
    day_file_init(&a->file, "access log", directory, instance, "access");
    pthread_mutex_init(&a->lock, NULL);
    store_relaxed(&a->size, size);
    return a;
}

void access_tick(struct access *a, int32_t day, int64_t size)
{
    if (!a)
        return;
    store_relaxed(&a->day, day);
    store_relaxed(&a->size, size);
}

void access_totals(struct access *a, uint64_t *logged, uint64_t *lost)
{
    pthread_mutex_lock(&a->lock);
    *lost = a->lost;
    pthread_mutex_unlock(&a->lock);
    *logged = load_relaxed(&a->logged);
}

void access_close(struct access *a)
{
    if (!a)
        return;
    while (access_work(a))
        ;
    day_file_close(&a->file);
    pthread_mutex_destroy(&a->lock);
    free(a->queue);
    free(a);
}
