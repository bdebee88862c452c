/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"
#include "exec_int.h"

#include <time.h>

#define SCRATCH_BLOCK  (1u << 20)
#define LOCAL_SYMS_MAX (1u << 18)

void *x_alloc(struct xthread *t, uint64_t bytes)
{
    struct xmem *m = &t->x->mem;
    struct xblock *b = NULL;
    pthread_mutex_lock(&m->lock);
    bool room = !m->limit || (bytes <= m->limit && m->used <= m->limit - bytes);
    if (room)
        b = aligned_alloc(64, pst_align_up(sizeof *b + bytes, 64));
    if (b) {
        b->bytes = bytes;
        b->prev = NULL;
        b->next = m->list;
        if (m->list)
            m->list->prev = b;
        m->list = b;
        m->used += bytes;
        if (m->used > m->peak)
            m->peak = m->used;
    }
    pthread_mutex_unlock(&m->lock);
    if (b)
        return b + 1;
    if (room)
        x_throw(t, QUERY_LIMIT, -1, "the machine has no memory for %llu more bytes of this query",
                (unsigned long long)bytes);
    x_throw(t, QUERY_LIMIT, -1,
            "the query needs more memory than its limit of %llu bytes; narrow it (date, time, sym) "
            "or raise the limit",
            (unsigned long long)m->limit);
}

void *x_zalloc(struct xthread *t, uint64_t bytes)
{
    return memset(x_alloc(t, bytes), 0, bytes);
}

static void unlist(struct xmem *m, struct xblock *b)
{
    if (b->prev)
        b->prev->next = b->next;
    else
        m->list = b->next;
    if (b->next)
        b->next->prev = b->prev;
    m->used -= b->bytes;
}

void *x_realloc(struct xthread *t, void *p, uint64_t bytes)
{
    void *n = x_alloc(t, bytes);
    if (p) {
        uint64_t old = ((struct xblock *)p - 1)->bytes;
        memcpy(n, p, old < bytes ? old : bytes);
        x_free(t->x, p);
    }
    return n;
}

void x_free(struct exec *x, void *p)
{
    if (!p)
        return;
    struct xblock *b = (struct xblock *)p - 1;
    pthread_mutex_lock(&x->mem.lock);
    unlist(&x->mem, b);
    pthread_mutex_unlock(&x->mem.lock);
    free(b);
}

void x_free_all(struct exec *x)
{
    while (x->mem.list) {
        struct xblock *b = x->mem.list;
        unlist(&x->mem, b);
        free(b);
    }
}

void *x_grow(struct xthread *t, void *p, uint64_t *room, uint64_t n, unsigned width)
{
    if (n <= *room)
        return p;
    uint64_t r = *room ? *room : 256;
    while (r < n)
        r += r;
    p = x_realloc(t, p, r * width);
    *room = r;
    return p;
}

void *x_scratch(struct xthread *t, uint64_t bytes)
{
    struct scratch *s = &t->scratch;
    bytes = pst_align_up(bytes, 64);
    while (!s->at || s->used + bytes > s->at->room) {
        struct scratch_block *next = s->at ? s->at->next : s->first;
        if (!next) {
            uint64_t room = bytes > SCRATCH_BLOCK ? bytes : SCRATCH_BLOCK;
            next = x_alloc(t, sizeof *next + room);
            next->next = NULL;
            next->room = room;
            if (s->at)
                s->at->next = next;
            else
                s->first = next;
        }
        s->at = next;
        s->used = 0;
    }
    void *p = (char *)(s->at + 1) + s->used;
    s->used += bytes;
    return p;
}

static void set_error(struct xthread *t, const struct query_error *e)
{
    struct exec *x = t->x;
    pthread_mutex_lock(&x->error_lock);
    if (!x->failed || t->unit < x->error_unit) {
        x->error = *e;
        x->error_unit = t->unit;
        x->failed = true;
    }
    pthread_mutex_unlock(&x->error_lock);
    uint32_t u = t->unit == UINT32_MAX ? 0 : t->unit;
    if (u < load_relaxed(&x->stop_unit))
        store_relaxed(&x->stop_unit, u);
}

void x_rethrow(struct xthread *t, const struct query_error *e)
{
    set_error(t, e);
    longjmp(t->base, 1);
}

void x_throw(struct xthread *t, int code, int64_t pos, const char *fmt, ...)
{
    struct query_error e = {.code = code, .position = pos};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e.text, sizeof e.text, fmt, ap);
    va_end(ap);
    x_rethrow(t, &e);
}

void x_check(struct xthread *t)
{
    struct exec *x = t->x;
    const struct plan_limits *l = &x->p->limits;
    if (t->unit != UINT32_MAX && t->unit > load_relaxed(&x->stop_unit))
        longjmp(t->base, 2); /* nobody wants this unit any more */
    if (l->cancel && load_relaxed(l->cancel))
        x_throw(t, QUERY_CANCELLED, -1, "the query was cancelled");
    if (l->deadline_ns) {
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        int64_t now = ts.tv_sec * 1000000000ll + ts.tv_nsec;
        if (now >= l->deadline_ns)
            x_throw(t, QUERY_TIMEOUT, -1, "the query ran longer than its time limit and was ended");
    }
}

/* ---- symbols that the query makes ---- */

const char *x_sym_text(const struct exec *x, uint32_t code, uint32_t *len)
{
    if (code < x->sym_base)
        return view_sym_text(x->syms, code, len);
    *len = 0;
    if (code == PST_NULL_SYMBOL || code - x->sym_base >= LOCAL_SYMS_MAX || !x->local.text)
        return "";
    *len = x->local.text[code - x->sym_base].len;
    return x->local.text[code - x->sym_base].p;
}

static uint64_t hash_text(const char *p, uint32_t len)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)p[i]) * 0x100000001b3ull;
    return h ^ h >> 32;
}

uint32_t x_sym_code(struct xthread *t, const char *text, uint32_t len)
{
    struct exec *x = t->x;
    if (len == 0)
        return PST_NULL_SYMBOL;
    uint32_t code = x->syms ? view_sym_find(x->syms, text, len) : PST_NULL_SYMBOL;
    if (code != PST_NULL_SYMBOL)
        return code;
    struct local_syms *l = &x->local;
    /* Room first: x_alloc may leave by longjmp, and must not take the lock with it. The texts
     * themselves never move, and are read without the lock by threads that were given the code. */
    char *copy = x_alloc(t, len);
    memcpy(copy, text, len);
    pthread_mutex_lock(&l->lock);
    if (!l->text) {
        /* address space only: filled as it is used */
        l->text = calloc(LOCAL_SYMS_MAX, sizeof *l->text);
        l->slots = 2 * LOCAL_SYMS_MAX;
        l->slot = calloc(l->slots, sizeof *l->slot);
    }
    bool ok = l->text && l->slot;
    code = PST_NULL_SYMBOL;
    if (ok) {
        uint32_t s = (uint32_t)hash_text(text, len) & (l->slots - 1);
        for (; l->slot[s]; s = (s + 1) & (l->slots - 1)) {
            const struct view_text *v = &l->text[l->slot[s] - 1];
            if (v->len == len && !memcmp(v->p, text, len)) {
                code = x->sym_base + l->slot[s] - 1;
                break;
            }
        }
        uint32_t n = load_relaxed(&l->count);
        if (code == PST_NULL_SYMBOL && n < LOCAL_SYMS_MAX) {
            l->text[n] = (struct view_text){copy, len};
            l->slot[s] = n + 1;
            store_relaxed(&l->count, n + 1);
            code = x->sym_base + n;
            copy = NULL;
        }
    }
    pthread_mutex_unlock(&l->lock);
    x_free(x, copy);
    if (code == PST_NULL_SYMBOL)
        x_throw(t, QUERY_LIMIT, -1,
                "the query makes more than %u new symbols; leave these texts strings",
                LOCAL_SYMS_MAX);
    return code;
}

void x_texts_free(struct xthread *t)
{
    arena_free(t->texts);
    t->texts = NULL;
}
