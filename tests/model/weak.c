/* SPDX-License-Identifier: Apache-2.0 */
#define WEAK_IMPLEMENTATION
#include <ucontext.h>
#include "weak.h"

#define THREADS   3u
#define LOCATIONS 40u
#define HISTORY   24u
#define CHOICES   400u
#define STACK     (128u * 1024)
#define REGIONS   2u

enum weak_mutant weak_mutant;
const void *weak_mutant_at;

struct view {
    uint8_t ts[LOCATIONS]; /* oldest value of the location that may still be read */
    uint16_t clk[THREADS]; /* what of each thread happened before */
};
struct message {
    uint64_t value;
    struct view view;
};
struct location {
    const void *at;
    unsigned n;
    struct message m[HISTORY];
    int writer; /* of the last plain or region write, -1 = nobody */
    uint16_t write_clk;
    uint16_t read_clk[THREADS]; /* of the last plain reads */
};
struct thread {
    ucontext_t ctx;
    struct view cur, acq, rel;
    bool done;
    void *late_at; /* MUTANT_LATE_STORE */
    uint64_t late_value;
    size_t late_width;
};
struct region {
    uint8_t *p;
    size_t bytes;
    bool mirrored, plain;
};

static struct {
    const struct weak_test *t;
    struct thread th[THREADS];
    unsigned nth, now, preempted;
    struct location loc[LOCATIONS];
    unsigned nloc;
    struct region region[REGIONS];
    unsigned nregions;
    /* depth-first search: taken[i] of options[i] */
    uint16_t taken[CHOICES], options[CHOICES];
    unsigned depth, known;
    const char *failure;
    ucontext_t main;
    bool running;
} w;
static uint8_t stacks[THREADS][STACK] pst_aligned(64);

static unsigned choose(unsigned n)
{
    if (n <= 1)
        return 0;
    pst_must(w.depth < CHOICES);
    if (w.depth == w.known) {
        w.taken[w.known] = 0;
        w.options[w.known++] = (uint16_t)n;
    }
    pst_must(w.options[w.depth] == n); /* an execution is a function of its choices */
    return w.taken[w.depth++];
}

/* ---- threads ---- */

static void leave(void)
{
    swapcontext(&w.th[w.now].ctx, &w.main);
}

void weak_fail(const char *why)
{
    if (!w.failure)
        w.failure = why;
    for (;;)
        leave(); /* the main loop sees the failure and never comes back here */
}

/* Before every shared access: who goes on? */
static void schedule(void)
{
    if (!w.running)
        return;
    unsigned other[THREADS], n = 0;
    for (unsigned i = 0; i < w.nth; i++)
        if (i != w.now && !w.th[i].done)
            other[n++] = i;
    if (!n || w.preempted >= w.t->preemptions)
        return;
    unsigned c = choose(n + 1);
    if (!c)
        return;
    w.preempted++;
    unsigned from = w.now;
    w.now = other[c - 1];
    swapcontext(&w.th[from].ctx, &w.th[w.now].ctx);
}

static void body(void)
{
    w.t->thread[w.now](w.t->arg);
    w.th[w.now].done = true;
    leave();
}

/* ---- memory ---- */

static void join(struct view *a, const struct view *b)
{
    for (unsigned i = 0; i < w.nloc; i++)
        if (b->ts[i] > a->ts[i])
            a->ts[i] = b->ts[i];
    for (unsigned i = 0; i < THREADS; i++)
        if (b->clk[i] > a->clk[i])
            a->clk[i] = b->clk[i];
}

static const struct region *region_of(const void *p)
{
    for (unsigned i = 0; i < w.nregions; i++) {
        const struct region *r = &w.region[i];
        size_t span = r->bytes * (r->mirrored ? 2 : 1);
        if ((const uint8_t *)p >= r->p && (const uint8_t *)p < r->p + span)
            return r;
    }
    return NULL;
}

static uint64_t initial(const void *p, size_t width)
{
    uint64_t v = 0;
    __builtin_memcpy(&v, p, width);
    return v;
}

static unsigned locate(const void *p, size_t width)
{
    const struct region *r = region_of(p);
    if (r)
        p = r->p + (size_t)((const uint8_t *)p - r->p) % r->bytes;
    for (unsigned i = 0; i < w.nloc; i++)
        if (w.loc[i].at == p)
            return i;
    pst_must(w.nloc < LOCATIONS);
    struct location *l = &w.loc[w.nloc];
    l->at = p;
    l->n = 1;
    l->m[0].value = initial(p, width);
    memset(&l->m[0].view, 0, sizeof l->m[0].view);
    l->writer = -1;
    memset(l->read_clk, 0, sizeof l->read_clk);
    return w.nloc++;
}

static void tick(struct thread *t)
{
    t->cur.clk[w.now]++;
    if (t->acq.clk[w.now] < t->cur.clk[w.now])
        t->acq.clk[w.now] = t->cur.clk[w.now];
}

uint64_t weak_load(const void *p, size_t width, enum weak_order o)
{
    if (!w.running)
        return initial(p, width);
    schedule();
    struct thread *t = &w.th[w.now];
    tick(t);
    unsigned i = locate(p, width);
    struct location *l = &w.loc[i];
    unsigned at = l->n - 1 - choose(l->n - t->cur.ts[i]); /* the newest first */
    t->cur.ts[i] = (uint8_t)at;
    t->acq.ts[i] = t->acq.ts[i] > at ? t->acq.ts[i] : (uint8_t)at;
    join(&t->acq, &l->m[at].view);
    if (weak_mutant == MUTANT_RELAXED_LOAD && p == weak_mutant_at)
        o = WEAK_RELAXED;
    if (o == WEAK_SYNC)
        join(&t->cur, &l->m[at].view);
    return l->m[at].value;
}

static void append(unsigned i, uint64_t v, const struct view *with)
{
    struct thread *t = &w.th[w.now];
    struct location *l = &w.loc[i];
    pst_must(l->n < HISTORY);
    struct message *m = &l->m[l->n];
    m->value = v;
    m->view = *with;
    m->view.ts[i] = (uint8_t)l->n;
    t->cur.ts[i] = t->acq.ts[i] = (uint8_t)l->n++;
}

void weak_store(void *p, size_t width, uint64_t v, enum weak_order o)
{
    if (!w.running) {
        __builtin_memcpy(p, &v, width);
        return;
    }
    struct thread *t = &w.th[w.now];
    if (weak_mutant == MUTANT_LATE_STORE && p == weak_mutant_at) {
        t->late_at = p;
        t->late_value = v;
        t->late_width = width;
        return;
    }
    schedule();
    if (o == WEAK_SYNC && t->late_at) {
        append(locate(t->late_at, t->late_width), t->late_value, &t->rel);
        t->late_at = NULL;
    }
    if (weak_mutant == MUTANT_RELAXED_STORE && p == weak_mutant_at)
        o = WEAK_RELAXED;
    tick(t);
    append(locate(p, width), v, o == WEAK_SYNC ? &t->cur : &t->rel);
}

void weak_fence(bool release)
{
    if (!w.running)
        return;
    struct thread *t = &w.th[w.now];
    if (weak_mutant == (release ? MUTANT_NO_RELEASE_FENCE : MUTANT_NO_ACQUIRE_FENCE))
        return;
    if (release)
        t->rel = t->cur;
    else
        join(&t->cur, &t->acq);
}

static bool before(const struct thread *t, int who, uint16_t clk)
{
    return who < 0 || &w.th[who] == t || t->cur.clk[who] >= clk;
}

uint64_t weak_read(const void *p)
{
    schedule();
    struct thread *t = &w.th[w.now];
    tick(t);
    unsigned i = locate(p, 8);
    struct location *l = &w.loc[i];
    if (!before(t, l->writer, l->write_clk))
        weak_fail("race: a plain read beside a write");
    l->read_clk[w.now] = t->cur.clk[w.now];
    t->cur.ts[i] = (uint8_t)(l->n - 1);
    return l->m[l->n - 1].value;
}

/* One word of a region. Readers that copy are allowed beside it, plain readers are not. */
static void write_word(void *p, uint64_t v, bool plain)
{
    schedule();
    struct thread *t = &w.th[w.now];
    tick(t);
    unsigned i = locate(p, 8);
    struct location *l = &w.loc[i];
    if (plain && !before(t, l->writer, l->write_clk))
        weak_fail("race: two plain writes");
    for (unsigned k = 0; k < w.nth; k++)
        if (l->read_clk[k] && !before(t, (int)k, l->read_clk[k]))
            weak_fail("race: a write beside a plain read");
    l->writer = (int)w.now;
    l->write_clk = t->cur.clk[w.now];
    append(i, v, &t->rel);
}

void *weak_memcpy(void *dst, const void *src, size_t n)
{
    const struct region *to = w.running ? region_of(dst) : NULL;
    const struct region *from = w.running ? region_of(src) : NULL;
    if (!to && !from)
        return __builtin_memcpy(dst, src, n);
    pst_must(n % 8 == 0);
    for (size_t i = 0; i < n; i += 8) {
        uint8_t *d = (uint8_t *)dst + i;
        const uint8_t *s = (const uint8_t *)src + i;
        uint64_t v = !from         ? initial(s, 8)
                     : from->plain ? weak_read(s)
                                   : weak_load(s, 8, WEAK_RELAXED);
        if (to)
            write_word(d, v, to->plain);
        else
            __builtin_memcpy(d, &v, 8);
    }
    return dst;
}

void weak_region(void *p, size_t bytes, bool mirrored, bool plain)
{
    pst_must(w.nregions < REGIONS);
    w.region[w.nregions++] = (struct region){p, bytes, mirrored, plain};
}

/* ---- exploration ---- */

static void execute(void)
{
    w.nloc = w.nregions = w.nth = w.depth = w.preempted = 0;
    w.running = false;
    memset(w.th, 0, sizeof w.th);
    w.t->setup(w.t->arg);
    for (; w.nth < THREADS && w.t->thread[w.nth]; w.nth++) {
        struct thread *t = &w.th[w.nth];
        getcontext(&t->ctx);
        t->ctx.uc_stack.ss_sp = stacks[w.nth];
        t->ctx.uc_stack.ss_size = STACK;
        t->ctx.uc_link = NULL;
        makecontext(&t->ctx, body, 0);
    }
    w.running = true;
    while (!w.failure) {
        unsigned ready[THREADS], n = 0;
        for (unsigned i = 0; i < w.nth; i++)
            if (!w.th[i].done)
                ready[n++] = i;
        if (!n)
            break;
        w.now = ready[choose(n)];
        swapcontext(&w.main, &w.th[w.now].ctx);
    }
    w.running = false;
}

struct weak_result weak_explore(const struct weak_test *t)
{
    struct weak_result r = {0};
    memset(&w, 0, sizeof w);
    w.t = t;
    do {
        execute();
        r.executions++;
        if (w.failure) {
            r.failure = w.failure;
            return r;
        }
        /* the next path: the deepest choice that has another option */
        while (w.known && w.taken[w.known - 1] + 1 == w.options[w.known - 1])
            w.known--;
        if (!w.known) {
            r.complete = true;
            return r;
        }
        w.taken[w.known - 1]++;
    } while (r.executions < t->limit);
    return r;
}
