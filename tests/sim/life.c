/* SPDX-License-Identifier: Apache-2.0 */
#include "life.h"
#include <fcntl.h>
#include <jansson.h>
#include <sys/random.h>
#include "core/civil.h"
#include "core/tables.h"

#define FIRST_POSITION 4096u
#define SYMBOLS_MAX    4096u
#define MINUTE         (60 * NS_PER_S)

const char *const life_canary_name[CANARIES] = {"none",    "early-ack",  "no-dir",   "no-lease",
                                                "no-mark", "lost-frame", "eager-sym"};

/* The kernel's random numbers come from the seed as well: instance ids and epochs of files. */
static struct life *alive;
ssize_t getrandom(void *p, size_t n, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = alive ? (uint8_t)life_random(alive, 256) : (uint8_t)(i + 1);
    return (ssize_t)n;
}

uint64_t life_random(struct life *l, uint64_t n)
{
    struct sim chance = {.rng = l->rng};
    uint64_t r = sim_random(&chance, n);
    l->rng = chance.rng;
    return r;
}

static bool chance(struct life *l, unsigned one_in)
{
    return life_random(l, one_in) == 0;
}

bool life_fail(struct life *l, const char *fmt, ...)
{
    if (l->failure[0])
        return false;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(l->failure, sizeof l->failure, fmt, ap);
    va_end(ap);
    return false;
}

void life_report(const struct life *l, const char *program)
{
    printf("FAILED: %s\nSEED=%llu  incarnation %u of %u. Again: %s --seed %llu --lives 1 "
           "--incarnations %u --steps %u --images %u --crashes %u%s%s%s%s%s%s%s\n",
           l->failure, (unsigned long long)l->c.seed, l->incs, l->c.incarnations, program,
           (unsigned long long)l->c.seed, l->c.incarnations, l->c.steps, l->c.images, l->c.crashes,
           l->c.small ? " --small" : "", l->c.streams ? " --streams" : "", l->c.sym ? " --sym" : "",
           l->c.faults ? " --faults" : "", l->c.silent ? " --silent" : "",
           l->c.canary ? " --canary " : "", l->c.canary ? life_canary_name[l->c.canary] : "");
}

/* ---- history ---- */

void life_absorb(struct life *l)
{
    if (!l->running)
        return;
    struct life_inc *i = &l->inc[l->incs - 1];
    uint64_t tail = ring_tail(&l->ring);
    if (tail > i->end) {
        size_t have = i->end - i->start, want = tail - i->start;
        if (want > i->room) {
            i->room = want + want / 2 + (1u << 16);
            i->bytes = realloc(i->bytes, i->room);
            pst_must(i->bytes);
        }
        memcpy(i->bytes + have, l->ring.data + (i->end & l->ring.mask), want - have);
        i->end = tail;
    }
    if (tail > l->max_tail)
        l->max_tail = tail;
    i->durable = load_acquire(&l->ring.head->durable);
    i->written = load_acquire(&l->ring.head->written);
}

static struct life_inc *inc_at(const struct life *l, uint64_t position, unsigned *number)
{
    for (unsigned k = l->incs; k-- > 0;)
        if (position >= l->inc[k].start) {
            *number = k;
            return position < l->inc[k].end ? &l->inc[k] : NULL;
        }
    return NULL;
}

/* ---- reading an image ---- */

/* Of ids that symbol frames explained so far. */
struct texts {
    const char *text[SYMBOLS_MAX];
    uint8_t len[SYMBOLS_MAX];
    bool known[SYMBOLS_MAX];
    uint32_t max_used; /* id + 1 */
};

struct reading {
    struct life *l;
    struct recovery *r;
    uint64_t begin, at; /* where the first frame stands, where the next one is due */
    bool first;
    struct texts texts;
    const struct symbols *table; /* as recovery restored it: whose texts are lost, nobody reads */
};

static bool take_text(void *arg, uint32_t id, const char *text, uint32_t len)
{
    struct reading *g = arg;
    if (id >= SYMBOLS_MAX)
        return life_fail(g->l, "a symbol frame has id %u", id);
    struct texts *t = &g->texts;
    if (t->known[id] && (t->len[id] != len || memcmp(t->text[id], text, len)))
        return life_fail(g->l, "symbol %u is both %.*s and %.*s", id, t->len[id], t->text[id],
                         (int)len, text);
    t->known[id] = true;
    t->text[id] = text;
    t->len[id] = (uint8_t)len;
    return true;
}

static void use_id(struct reading *g, uint32_t id)
{
    if (id < SYMBOLS_MAX && id >= g->texts.max_used)
        g->texts.max_used = id + 1;
}

static struct life_session *session_of(struct reading *g, uint32_t feed, uint32_t session)
{
    uint32_t nf, ns;
    const char *s = symbols_text(g->table, session, &ns);
    symbols_text(g->table, feed, &nf);
    for (unsigned i = 0; i < LIFE_SESSIONS && nf; i++)
        if (strlen(g->l->session[i].name) == ns && !memcmp(g->l->session[i].name, s, ns))
            return &g->l->session[i];
    return NULL;
}

static bool cover(struct reading *g, struct life_session *s, uint64_t first, uint64_t n, int what)
{
    uint8_t *seq = g->l->seq[s - g->l->session];
    for (uint64_t i = first; i < first + n; i++) {
        if (i >= LIFE_SEQS)
            return life_fail(g->l, "session %s: sequence %llu was never sent", s->name,
                             (unsigned long long)i);
        if (seq[i] && seq[i] != 3)
            return life_fail(
                g->l, "session %s: sequence %llu is %s, and was %s (frame at or before %llu)",
                s->name, (unsigned long long)i, what == 1 ? "journaled" : "lost",
                seq[i] == 1 ? "journaled" : "declared lost", (unsigned long long)g->at);
        seq[i] = (uint8_t)what;
    }
    return true;
}

/* Rows whose feed or session lost its text with its symbol frame: they are there, but nobody can
 * say of what; their sequences may be declared lost or not. */
static void cover_weakly(struct reading *g, const struct life_inc *i, uint32_t session,
                         uint64_t first, uint64_t n)
{
    for (unsigned s = 0; s < LIFE_SESSIONS; s++)
        if (i->session[s] == session)
            for (uint64_t q = first; q < first + n && q < LIFE_SEQS; q++)
                if (!g->l->seq[s][q])
                    g->l->seq[s][q] = 3;
}

static bool take_rows(struct reading *g, const struct life_inc *i, const struct frame *f)
{
    struct life *l = g->l;
    struct record_walk w;
    const struct record *r;
    const struct packet_record *seen = NULL;
    record_walk_start(&w, f);
    while ((r = record_walk_next(&w))) {
        use_id(g, r->sym);
        const uint8_t *b = (const uint8_t *)r;
        if (r->table == l->gap.id) {
            struct life_session *s = session_of(g, le32(b + l->gap.col[GAP_FEED].offset),
                                                le32(b + l->gap.col[GAP_SESSION].offset));
            uint64_t first = le64(b + l->gap.col[GAP_FIRST].offset);
            uint64_t last = le64(b + l->gap.col[GAP_LAST].offset);
            if (!s)
                cover_weakly(g, i, le32(b + l->gap.col[GAP_SESSION].offset), first,
                             last - first + 1);
            else if (!cover(g, s, first, last - first + 1, 2))
                return false;
        }
        if (!w.packet || w.packet == seen)
            continue;
        seen = w.packet;
        use_id(g, seen->session);
        struct life_session *s = session_of(g, seen->feed, seen->session);
        if (!s)
            cover_weakly(g, i, seen->session, seen->seq, seen->seqs);
        else if (!cover(g, s, seen->seq, seen->seqs, 1))
            return false;
    }
    return !w.bad ||
           life_fail(l, "frame %llu: its records do not tile it", (unsigned long long)f->position);
}

/* A frame that the cursor gave: is it ours, and is it due here? */
static bool take_frame(struct reading *g, const struct frame *f)
{
    struct life *l = g->l;
    unsigned k;
    struct life_inc *i = inc_at(l, f->position, &k);
    if (!i || f->position + f->length > i->end ||
        memcmp(i->bytes + (f->position - i->start), f, f->length))
        return life_fail(l, "the frame at %llu, %u bytes, kind %u, was never journaled like that",
                         (unsigned long long)f->position, f->length, f->kind);
    uint64_t old_end, start;
    bool restart = cursor_restart_mark(f, &old_end, &start);
    if (f->position != g->at && !(g->first) &&
        !(restart && start == f->position && old_end == g->at))
        return life_fail(l, "a frame at %llu follows without a word behind %llu",
                         (unsigned long long)f->position, (unsigned long long)g->at);
    if (f->position == i->start && k && !i->fresh && i->start != l->inc[k - 1].end && !restart)
        return life_fail(l, "the journal jumps to %llu without a restart mark",
                         (unsigned long long)f->position);
    g->first = false;
    g->at = f->position + f->length;
    uint8_t *seen = l->seen[k] + (f->position - i->start) / 8;
    if (*seen)
        return life_fail(l, "the frame at %llu comes twice", (unsigned long long)f->position);
    *seen = 1;
    /* texts point into the history, which stays */
    const struct frame *mine = (const struct frame *)(i->bytes + (f->position - i->start));
    if (f->kind == FRAME_SYMBOL && !frame_symbols_each(mine, take_text, g))
        return life_fail(l, "the symbol frame at %llu is not sound",
                         (unsigned long long)f->position);
    if (f->kind == FRAME_DATA || f->kind == FRAME_GAP)
        return take_rows(g, i, mine);
    return true;
}

static void seen_clear(struct life *l)
{
    for (unsigned k = 0; k < l->incs; k++) {
        size_t n = (l->inc[k].end - l->inc[k].start) / 8 + 1;
        l->seen[k] = realloc(l->seen[k], n);
        pst_must(l->seen[k]);
        memset(l->seen[k], 0, n);
    }
    for (unsigned i = 0; i < LIFE_SESSIONS; i++)
        memset(l->seq[i], 0, l->session[i].sent + 1);
}

/* Below `upto`, every frame but pads was read. */
static bool all_there(struct life *l, unsigned k, uint64_t upto, const uint8_t *kept,
                      const char *why)
{
    const struct life_inc *i = &l->inc[k];
    for (uint64_t p = i->start; p < upto;) {
        const struct frame *f = (const struct frame *)(i->bytes + (p - i->start));
        size_t o = (p - i->start) / 8;
        if (f->kind != FRAME_PAD && !l->seen[k][o] && (!kept || kept[o]))
            return life_fail(
                l,
                "the frame at %llu (%u bytes, kind %u, of incarnation %u from %llu) is "
                "gone, but %s up to %llu",
                (unsigned long long)p, f->length, f->kind, k, (unsigned long long)i->start, why,
                (unsigned long long)upto);
        p += f->length;
    }
    return true;
}

/* What stood in files before the first one that is left: nobody can tell that from retention. */
static void before_first(struct reading *g)
{
    for (unsigned k = 0; k < g->l->incs; k++) {
        const struct life_inc *i = &g->l->inc[k];
        for (uint64_t p = i->start; p < i->end && p < g->begin;) {
            const struct frame *f = (const struct frame *)(i->bytes + (p - i->start));
            struct record_walk w;
            const struct record *r;
            record_walk_start(&w, f);
            while ((f->kind == FRAME_DATA || f->kind == FRAME_GAP) && (r = record_walk_next(&w))) {
                const uint8_t *b = (const uint8_t *)r;
                if (w.packet)
                    cover_weakly(g, i, w.packet->session, w.packet->seq, w.packet->seqs);
                else if (r->table == g->l->gap.id)
                    cover_weakly(g, i, le32(b + g->l->gap.col[GAP_SESSION].offset),
                                 le64(b + g->l->gap.col[GAP_FIRST].offset),
                                 le64(b + g->l->gap.col[GAP_LAST].offset) + 1 -
                                     le64(b + g->l->gap.col[GAP_FIRST].offset));
            }
            p += f->length;
        }
    }
}

static bool check_sessions(struct reading *g)
{
    struct life *l = g->l;
    before_first(g);
    for (uint32_t i = 0; i < g->r->gaps; i++) {
        const struct recovery_gap *x = &g->r->gap[i];
        for (unsigned s = 0; s < LIFE_SESSIONS; s++)
            if (!strcmp(l->session[s].name, x->session) &&
                !cover(g, &l->session[s], x->first, x->last - x->first + 1, 2))
                return false;
    }
    for (uint32_t i = 0; i < g->r->sessions; i++) {
        const struct recovery_session *x = &g->r->session[i];
        for (unsigned s = 0; s < LIFE_SESSIONS; s++) {
            if (strcmp(l->session[s].name, x->session))
                continue;
            if (x->next > l->session[s].sent)
                return life_fail(l, "session %s goes on at %llu, but only %llu were sent",
                                 x->session, (unsigned long long)x->next,
                                 (unsigned long long)l->session[s].sent - 1);
            for (uint64_t q = 1; q < x->next && !l->harmed; q++)
                if (!l->seq[s][q])
                    return life_fail(l,
                                     "session %s: sequence %llu is neither journaled nor declared "
                                     "lost, and recovery goes on at %llu",
                                     x->session, (unsigned long long)q,
                                     (unsigned long long)x->next);
            for (uint64_t q = x->next; q < l->session[s].sent; q++)
                if (l->seq[s][q] && l->seq[s][q] != 3)
                    return life_fail(
                        l, "session %s: recovery goes on at %llu, but %llu is journaled",
                        x->session, (unsigned long long)x->next, (unsigned long long)q);
        }
    }
    return true;
}

static bool check_symbols(struct reading *g, struct symbols *table)
{
    struct life *l = g->l;
    uint32_t n = symbols_count(table);
    if (n < g->texts.max_used)
        return life_fail(l, "id %u is used by a row, but the next new symbol gets %u",
                         g->texts.max_used - 1, n);
    for (uint32_t id = 0; id < SYMBOLS_MAX; id++) {
        uint32_t len;
        if (!g->texts.known[id])
            continue;
        const char *t = symbols_text(table, id, &len);
        if (len != g->texts.len[id] || memcmp(t, g->texts.text[id], len))
            return life_fail(l, "symbol %u was %.*s and is %.*s after recovery", id,
                             g->texts.len[id], g->texts.text[id], (int)len, t);
    }
    return true;
}

static void recovery_of(const struct life *l, struct io *io, const struct lease *lease,
                        struct symbols *symbols, struct schema_set *schemas,
                        struct recovery_config *rc)
{
    *rc = (struct recovery_config){.io = io,
                                   .dirs = {LIFE_LOG, l->spill ? LIFE_SPILL : NULL},
                                   .prefix = "log",
                                   .instance = lease->instance,
                                   .lease_end = lease_end(lease),
                                   .check_closed = true,
                                   .closed = lease->closed,
                                   .facts = l->blind ? NULL : LIFE_STATE "/" FACTS_NAME,
                                   .symbols = symbols,
                                   .schemas = schemas};
}

static bool read_all(struct reading *g, struct io *io, const struct recovery_config *rc)
{
    struct life *l = g->l;
    struct cursor c;
    struct err err = {0};
    const struct frame *f;
    struct cursor_config cc = {
        .io = io, .prefix = "log", .instance = rc->instance, .no_skim = true};
    memcpy(cc.dirs, rc->dirs, sizeof cc.dirs);
    if (!cursor_open(&c, &cc, &err))
        return life_fail(l, "the cursor does not open: %s", err.text);
    bool ok = true;
    g->at = g->begin = c.position;
    for (bool end = false; ok && !end;) {
        switch (cursor_next(&c, &f)) {
        case CURSOR_FRAME:
            ok = take_frame(g, f);
            l->figures.frames++;
            break;
        case CURSOR_LOST:
            ok = c.lost_from == g->at ||
                 life_fail(l, "LOST from %llu, but reading stood at %llu",
                           (unsigned long long)c.lost_from, (unsigned long long)g->at);
            g->at = c.lost_to;
            l->figures.lost_ranges++;
            break;
        case CURSOR_REWOUND: /* a reader of files never saw what is void */
            l->figures.rewound++;
            ok = life_fail(l, "the cursor was rewound from %llu to %llu at %llu",
                           (unsigned long long)c.rewound_old, (unsigned long long)c.rewound_new,
                           (unsigned long long)g->at);
            break;
        case CURSOR_END:
        case CURSOR_WAIT:
            end = true;
            break;
        case CURSOR_ERROR:
            ok = life_fail(l, "the cursor cannot read: %s", c.err.text);
            break;
        }
    }
    cursor_close(&c);
    return ok;
}

/* One run of what a start does before it writes; the results in *r. */
static bool recover(struct life *l, struct io *io, struct lease *lease, struct symbols *symbols,
                    struct recovery *r, struct recovery_config *rc, const char *when)
{
    struct err err = {0};
    bool sound = lease_open(lease, io, LIFE_STATE, &err);
    if (!sound && !l->harmed)
        return life_fail(l, "%s, the lease does not open: %s", when, err.text);
    recovery_of(l, io, lease, symbols, NULL, rc);
    if (!recovery_run(r, rc, &err))
        return life_fail(l, "%s, recovery fails: %s", when, err.text);
    l->figures.recoveries++;
    return true;
}

static bool same_again(struct life *l, const struct recovery *a, const struct recovery *b)
{
    bool same = a->old_end == b->old_end && a->durable == b->durable && a->ranges == b->ranges &&
                a->gaps == b->gaps && a->sessions == b->sessions && a->symbols == b->symbols &&
                (a->start == b->start || a->clean != b->clean) && a->open_day == b->open_day;
    for (uint32_t i = 0; same && i < a->ranges; i++)
        same = a->range[i].from == b->range[i].from && a->range[i].to == b->range[i].to;
    for (uint32_t i = 0; same && i < a->gaps; i++)
        same = a->gap[i].first == b->gap[i].first && a->gap[i].last == b->gap[i].last;
    for (uint32_t i = 0; same && i < a->sessions; i++)
        same = a->session[i].next == b->session[i].next;
    return same ||
           life_fail(l,
                     "recovery run again finds something else: end %llu, then %llu; start %llu, "
                     "then %llu; ranges %u, then %u; gaps %u, then %u; symbols %u, then %u",
                     (unsigned long long)a->old_end, (unsigned long long)b->old_end,
                     (unsigned long long)a->start, (unsigned long long)b->start, a->ranges,
                     b->ranges, a->gaps, b->gaps, a->symbols, b->symbols);
}

static bool check_history(struct reading *g, bool cut)
{
    struct life *l = g->l;
    for (unsigned k = 0; k < l->incs && !l->harmed; k++) {
        const struct life_inc *i = &l->inc[k];
        bool newest = k + 1 == l->incs;
        uint64_t upto = i->durable;
        if (newest && !cut && i->written > upto)
            upto = i->written;
        if (!all_there(l, k, upto, NULL, newest && !cut ? "was written" : "was announced durable"))
            return false;
        if (i->kept && k + 1 < l->incs && i->built && l->inc[k + 1].durable > l->inc[k + 1].start &&
            !all_there(l, k, i->built, i->kept, "a later start had read it and built upon it"))
            return false;
    }
    return true;
}

/* What recovery found in the image that failed, and the frames around. */
static void tell(struct life *l, const struct sim *image, const struct recovery *r)
{
    sim_dump(image, "/", stdout);
    printf("recovery: end %llu start %llu durable %llu clean %d\n", (unsigned long long)r->old_end,
           (unsigned long long)r->start, (unsigned long long)r->durable, r->clean);
    for (uint32_t i = 0; i < r->ranges; i++)
        printf("  hole %llu to %llu\n", (unsigned long long)r->range[i].from,
               (unsigned long long)r->range[i].to);
    for (uint32_t i = 0; i < r->gaps; i++)
        printf("  gap of %s: %llu to %llu\n", r->gap[i].session,
               (unsigned long long)r->gap[i].first, (unsigned long long)r->gap[i].last);
    for (uint32_t i = 0; i < r->sessions; i++)
        printf("  session %s goes on at %llu\n", r->session[i].session,
               (unsigned long long)r->session[i].next);
    for (unsigned k = l->incs > 2 ? l->incs - 2 : 0; k < l->incs && r->old_end; k++) {
        const struct life_inc *i = &l->inc[k];
        printf("incarnation %u: %llu to %llu, durable %llu, written %llu\n", k,
               (unsigned long long)i->start, (unsigned long long)i->end,
               (unsigned long long)i->durable, (unsigned long long)i->written);
        for (uint64_t p = i->start; p < i->end;) {
            const struct frame *f = (const struct frame *)(i->bytes + (p - i->start));
            unsigned type;
            uint32_t len;
            const char *json = f->kind == FRAME_MARK ? frame_mark(f, &type, &len) : NULL;
            printf("  %llu %s kind %u day %u bytes %u", (unsigned long long)p,
                   l->seen[k] && l->seen[k][(p - i->start) / 8] ? "read" : "----", f->kind, f->day,
                   f->length);
            if (json)
                printf(" %s %.*s", mark_name(type), (int)len, json);
            if (f->kind == FRAME_SYMBOL)
                printf(" ids %u to %u", le32(frame_payload(f)),
                       le32(frame_payload(f)) + le32(frame_payload(f) + 4) - 1);
            struct record_walk w;
            record_walk_start(&w, f);
            const struct packet_record *seen = NULL;
            while ((f->kind == FRAME_DATA || f->kind == FRAME_GAP) && record_walk_next(&w)) {
                if (w.packet && w.packet != seen)
                    printf(" %u:%llu+%u", w.packet->session, (unsigned long long)w.packet->seq,
                           w.packet->seqs);
                seen = w.packet;
            }
            printf("\n");
            p += f->length;
        }
    }
}

/* No entry of sym stands for a frame that was not durable: recovery gives every id its text again.
 */
static bool check_sym(struct life *l, struct sim *d, const struct symbols *table)
{
    struct hdb_sym sym;
    struct err err = {0};
    struct io *io = sim_io(d);
    d->real_fds = true;
    bool ok = hdb_sym_open(&sym, io, LIFE_HDB, &err) || life_fail(l, "sym: %s", err.text);
    /* those that its header counts were synced; a torn tail behind them may hold anything */
    uint64_t bytes = 0;
    uint8_t *file = sim_read(d, LIFE_HDB "/sym", &bytes);
    uint32_t synced = file && bytes >= 8 ? le32(file + 4) : 0;
    free(file);
    for (uint32_t i = 0; ok && i < sym.count && i < synced; i++) {
        uint32_t n;
        /* an id that lost its text has no entry, so those behind it have other numbers */
        const char *mine = hdb_sym_text(&sym, i, &n);
        if (!mine || symbols_find(table, mine, n) == PST_NULL_SYMBOL)
            ok = life_fail(l, "entry %u of sym is %.*s, which recovery does not know", i,
                           mine ? (int)n : 0, mine ? mine : "");
    }
    if (ok)
        l->figures.syms += sym.count;
    if (ok)
        hdb_sym_close(&sym);
    io_destroy(io);
    return ok;
}

bool life_check(struct life *l, const struct sim *image, bool cut)
{
    if (l->failure[0])
        return false;
    l->figures.images++;
    l->checking = true;
    struct sim *d = sim_copy(image), *again = NULL;
    struct io *io = sim_io(d);
    struct symbols symbols = {.fd = -1};
    struct lease lease;
    struct recovery r = {0}, r2 = {0};
    struct recovery_config rc;
    struct err err;
    static struct reading g;
    g = (struct reading){.l = l, .r = &r, .first = true, .table = &symbols};
    char what[200] = "";
    pst_must(symbols_create(&symbols, SYMBOLS_MAX, &err));
    bool ok = recover(l, io, &lease, &symbols, &r, &rc, "after the crash");
    if (ok) {
        l->figures.torn += r.torn_files;
        l->figures.gaps += r.gaps;
        l->figures.damage += r.ranges;
        l->figures.clean += r.clean;
        seen_clear(l);
        ok = read_all(&g, io, &rc) && check_history(&g, cut) && check_symbols(&g, &symbols) &&
             check_sessions(&g);
        uint64_t start = r.empty ? lease_end(&lease) : r.start;
        if (ok && start < l->max_tail && !l->harmed)
            ok = life_fail(l, "the journal would go on at %llu, but %llu was given out already",
                           (unsigned long long)start, (unsigned long long)l->max_tail);
        if (ok && r.clean && !r.empty && l->clean_end != r.old_end && !l->harmed)
            ok = life_fail(l, "recovery takes an unclean stop for a clean one, at %llu",
                           (unsigned long long)r.old_end);
    }
    if (ok) {
        struct lease lease2;
        again = sim_copy(d);
        struct io *io2 = sim_io(again);
        /* now and then the device refuses one read, or two, and then gives what is there */
        uint64_t failed = again->failed;
        if (l->figures.images % 2)
            sim_fault_add(again, &(struct sim_fault){.ops = 1u << SIM_OPEN | 1u << SIM_PREAD |
                                                            1u << SIM_FSTAT | 1u << SIM_LIST,
                                                     .path = LIFE_LOG,
                                                     .skip = l->figures.images / 2 * 7919 % 60,
                                                     .times = 1 + l->figures.images / 2 % 2,
                                                     .kind = SIM_FAIL,
                                                     .error = EIO});
        l->blind = !l->harmed; /* the note beside the log says nothing that the log does not */
        ok = recover(l, io2, &lease2, NULL, &r2, &rc, "run again");
        l->figures.refused += again->failed - failed;
        sim_fault_clear(again);
        l->blind = false;
        if (ok && !sim_same(d, again, what))
            ok = life_fail(l, "recovery run again changes bytes: %s", what);
        r2.symbols = r.symbols;
        ok = ok && same_again(l, &r, &r2);
        recovery_free(&r2);
        io_destroy(io2);
    }
    if (ok && l->c.sym && !l->harmed)
        ok = check_sym(l, d, &symbols);
    if (ok && (d->misuse || d->unaligned) && !l->harmed)
        ok = life_fail(l, "recovery misuses the disk: %s", d->misused);
    if (!ok && l->c.verbose)
        tell(l, image, &r);
    recovery_free(&r);
    symbols_close(&symbols);
    io_destroy(io);
    sim_free(d);
    sim_free(again);
    l->checking = false;
    return ok;
}

/* ---- crashes ---- */

/* Images of the disk at this moment. Returns one of them, picked by the seed (keep), or NULL. */
static struct sim *images(struct life *l, bool keep, bool *cut)
{
    life_absorb(l);
    struct sim *copy = sim_copy(l->disk);
    uint64_t all = sim_images(copy), n = all < l->c.images ? all : l->c.images;
    uint8_t *choice = calloc(copy->npending + 1, 1);
    pst_must(choice);
    struct sim *kept = NULL;
    uint64_t pick = keep ? life_random(l, n) : SIM_EVER;
    bool kill = keep && chance(l, 3);
    *cut = !kill;
    l->figures.crashes++;
    l->figures.exhaustive += n == all;
    for (uint64_t i = 0; i < n && !l->failure[0]; i++) {
        uint64_t tear = life_random(l, 0);
        if (n == all) {
            sim_image_choice(copy, i, choice);
        } else if (i < 2) { /* nothing of it, and all of it */
            memset(choice, i ? SIM_APPLY : SIM_DROP, copy->npending);
        } else {
            unsigned mood = (unsigned)life_random(l, 3); /* most lost, most there, even */
            for (uint32_t k = 0; k < copy->npending; k++) {
                unsigned c = sim_choices(copy, k);
                unsigned rare = mood < 2 && life_random(l, 6) ? 6 : 0;
                choice[k] = (uint8_t)(rare ? mood : life_random(l, c));
            }
            bool gone = false;
            for (uint32_t k = 0; copy->ordered && k < copy->npending; k++)
                if (copy->pending[k].kind != SIM_BYTES) {
                    gone |= choice[k] == SIM_DROP;
                    choice[k] = gone ? SIM_DROP : SIM_APPLY;
                }
        }
        struct sim *image = sim_power_cut(copy, choice, tear);
        if (!life_check(l, image, true) && l->c.verbose) {
            printf("the disk before:\n");
            sim_dump(copy, "/", stdout);
            for (uint32_t k = 0; k < copy->npending; k++)
                printf("%s ", choice[k] == SIM_DROP   ? "drop"
                              : choice[k] == SIM_TEAR ? "tear"
                                                      : "apply");
            printf("\n");
        }
        if (i == pick && !kill)
            kept = image;
        else
            sim_free(image);
    }
    if ((kill || !keep) && !l->failure[0]) {
        for (uint32_t k = 0; k < copy->npending; k++)
            choice[k] = (uint8_t)life_random(l, 2);
        struct sim *image = sim_kill(copy, choice);
        life_check(l, image, false);
        if (kill) {
            kept = image;
            l->figures.kills++;
        } else {
            sim_free(image);
        }
    } else {
        l->figures.cuts++;
    }
    free(choice);
    sim_free(copy);
    return kept;
}

static void hook(void *arg, struct sim *d, enum sim_op op)
{
    struct life *l = arg;
    (void)op;
    if (l->checking || l->failure[0] || d->changes < l->next_crash)
        return;
    l->next_crash = UINT64_MAX;
    bool cut;
    images(l, false, &cut);
    l->next_crash = d->changes + 1 + life_random(l, 40 * l->c.steps / (l->c.crashes + 1) / 10 + 4);
}

static void plan_crash(struct life *l)
{
    l->next_crash = l->c.crashes ? l->disk->changes + 1 + life_random(l, 60) : UINT64_MAX;
}

/* What can be read of the disk as it is now is what the next incarnation builds upon. */
static void keep_seen(struct life *l)
{
    for (unsigned k = 0; k < l->incs; k++) {
        struct life_inc *i = &l->inc[k];
        size_t n = (i->end - i->start) / 8 + 1;
        i->next = realloc(i->next, n);
        pst_must(i->next);
        memcpy(i->next, l->seen[k], n);
    }
}

static void build_upon(struct life *l)
{
    for (unsigned k = 0; k + 1 < l->incs; k++) {
        struct life_inc *i = &l->inc[k];
        free(i->kept);
        i->kept = i->next;
        i->next = NULL;
        i->built = i->kept ? i->end : 0;
    }
}

void life_crash(struct life *l)
{
    bool cut;
    struct sim *next = images(l, true, &cut);
    life_stop(l);
    if (!next)
        return; /* it failed */
    sim_free(l->disk);
    l->disk = next;
    if (cut && l->incs)
        l->inc[l->incs - 1].written = l->inc[l->incs - 1].durable;
    if (life_check(l, next, cut))
        keep_seen(l);
}

/* ---- an incarnation ---- */

static bool states(void *arg, struct rows *rows, bool all)
{
    struct life *l = arg;
    for (unsigned i = 0; all && i < LIFE_SESSIONS; i++) {
        const struct life_session *s = &l->session[i];
        char json[300];
        if (!s->known)
            continue;
        int n = snprintf(json, sizeof json,
                         "{\"feed\":\"%s\",\"session\":\"%s\",\"day\":%u,\"epoch\":0,\"first\":1,"
                         "\"next\":%llu,\"send\":0,\"state\":\"live\"}",
                         s->feed, s->name, rows->min_day[0], (unsigned long long)s->next);
        rows->ops->mark(rows, MARK_STATE, json, (uint32_t)n);
    }
    return false;
}

static int sessions(void *arg, unsigned i, const char **feed, const char **session, uint64_t *next)
{
    struct life *l = arg;
    if (i >= LIFE_SESSIONS)
        return -1;
    *feed = l->session[i].feed;
    *session = l->session[i].name;
    *next = l->session[i].next;
    return l->session[i].known;
}

static void ends_of_days(struct life *l)
{
    struct due_item item[12];
    unsigned n = 0;
    struct err err;
    for (uint16_t day = l->open.day; day < l->open.day + 4; day++) {
        char date[CIVIL_TEXT];
        int64_t midnight = ((int64_t)day + 1) * NS_PER_DAY;
        civil_format(day, date);
        item[n] =
            (struct due_item){.id = 2u * day + 1, .at = midnight, .kind = DUE_TURN, .day = day};
        item[n + 1] = (struct due_item){.id = 2u * day + 2,
                                        .at = midnight + NS_PER_S,
                                        .kind = DUE_EOD,
                                        .day = day,
                                        .ends = midnight};
        item[n + 1].json_len =
            (uint32_t)snprintf(item[n + 1].json, sizeof item[n + 1].json,
                               "{\"calendar\":\"default\",\"day\":\"%s\"}", date);
        n += 2;
        if (l->c.streams) /* an interval is a minute */
            item[n++] = (struct due_item){.id = (1ull << 32) + day,
                                          .at = (int64_t)day * NS_PER_DAY + MINUTE,
                                          .kind = DUE_INTERVALS,
                                          .day = day,
                                          .step = MINUTE,
                                          .count = 24 * 60 - 1,
                                          .minute = 1};
    }
    pst_must(due_publish(&l->due, item, n, &err));
}

static uint32_t id_of(struct life *l, const char *text)
{
    return rows_symbol(&l->app.rows, text, (uint32_t)strlen(text));
}

/* One ring's memory serves all incarnations: clearing 16 MiB takes longer than most of them. */
static struct ring kept_ring;
static void take_ring(struct life *l, uint64_t start)
{
    struct err err;
    if (!kept_ring.head)
        pst_must(ring_create(&kept_ring, RING_MIN, start, 1, false, &err));
    struct ring_head *h = kept_ring.head;
    h->instance = l->lease.instance;
    h->seed = frame_seed(h->instance);
    h->start = start;
    kept_ring.w_tail = kept_ring.w_below = kept_ring.w_guard = start;
    _Atomic uint64_t *const at[] = {&h->tail,      &h->overwrite_below, &h->guard,
                                    &h->submitted, &h->written,         &h->durable};
    for (unsigned i = 0; i < PST_COUNT(at); i++)
        store_relaxed(at[i], start);
    for (unsigned i = 0; i < RING_CHECKPOINTS; i++)
        store_relaxed(&h->checkpoint[i], 0);
    l->ring = kept_ring;
}

static void give_ring(struct life *l)
{
    memset(&l->ring, 0, sizeof l->ring);
}

/* What wiring_resume does: restart mark, gaps that holes cost, schemas, states. */
static bool resume(struct life *l, bool restarted)
{
    struct recovery *r = &l->recovery;
    struct rows *rows = &l->app.rows;
    appender_begin(&l->app, clock_now(&l->clock));
    if (restarted && l->c.canary != CANARY_NO_MARK) {
        char json[200];
        uint32_t n = recovery_restart_json(r, r->start, NULL, json, sizeof json);
        if (!appender_mark(&l->app, MARK_RESTART, json, n, l->open.day))
            return false;
    }
    for (unsigned i = 0; i < LIFE_SESSIONS; i++) {
        struct life_session *s = &l->session[i];
        s->known = false;
        s->next = 1;
        for (uint32_t k = 0; k < r->sessions; k++)
            if (!strcmp(r->session[k].session, s->name)) {
                s->known = true;
                s->next = r->session[k].next ? r->session[k].next : 1;
            }
    }
    for (uint32_t i = 0; i < r->gaps && l->c.canary != CANARY_LOST_FRAME; i++) {
        struct gap x = {.first = r->gap[i].first,
                        .last = r->gap[i].last,
                        .reason = "lost_log",
                        .time = clock_now(&l->clock),
                        .day = r->gap[i].day};
        x.feed = id_of(l, r->gap[i].feed);
        x.session = id_of(l, r->gap[i].session);
        rows->ops->gap(rows, &x);
    }
    struct schema *const mine[] = {&l->gap, &l->undecoded, &l->quote, &l->order};
    for (unsigned i = 0; i < PST_COUNT(mine) - !l->c.streams; i++) {
        if (dictionary_schema(&r->cursor.dict, mine[i]->id) && !r->empty)
            continue;
        char *text = schema_to_json(mine[i]);
        bool ok = appender_schema(&l->app, text, (uint32_t)strlen(text));
        free(text);
        if (!ok)
            return false;
    }
    appender_want_states(&l->app);
    appender_ends(&l->app);
    return true;
}

static void start_log(struct life *l)
{
    struct err err = {0};
    struct log_config lc = {.io = l->log_io,
                            .ring = &l->ring,
                            .symbols = &l->symbols,
                            .schemas = l->schemas,
                            .clock = &l->clock,
                            .status = l->status,
                            .directory = LIFE_LOG,
                            .spill = l->spill ? LIFE_SPILL : NULL,
                            .prefix = "log",
                            .instance_name = "sim",
                            .level = l->level,
                            .depth = l->depth,
                            .preallocate = l->preallocate,
                            .ballast = l->ballast,
                            .low_space = l->ballast ? 1u << 20 : 0,
                            .retry_ns = 20 * NS_PER_MS,
                            .calendars = &l->owners,
                            .symbols_known = symbols_count(&l->symbols),
                            .buffered = l->buffered};
    lc.open_day[0] = l->open.day;
    lc.interval = l->app.interval.minute;
    size_t bytes = 0;
    if (!l->recovery.empty)
        l->states = recovery_states(&l->recovery, &bytes);
    lc.states = l->states;
    lc.states_bytes = bytes;
    l->log = log_create(&lc, &err);
    pst_must(l->log);
}

bool life_start(struct life *l)
{
    struct err err = {0};
    l->disk->hook = hook;
    l->disk->hook_arg = l;
    l->disk->tick = 1000;
    plan_crash(l);
    l->io = sim_io(l->disk);
    l->log_io = sim_io(l->disk);
    struct io *io = l->io;
    bool sound = lease_open(&l->lease, io, LIFE_STATE, &err);
    if (!sound && (!l->lease.instance || !l->harmed))
        return false;
    if (!catalogue_open(&l->catalogue, io, LIFE_STATE, &err))
        return false;
    l->catalogued = true;
    pst_must(symbols_create(&l->symbols, SYMBOLS_MAX, &err));
    l->schemas = schema_set_new();
    struct recovery_config rc;
    recovery_of(l, io, &l->lease, &l->symbols, l->schemas, &rc);
    if (!recovery_run(&l->recovery, &rc, &err))
        return false;
    l->recovered = true;
    struct recovery *r = &l->recovery;
    uint64_t start = !r->empty              ? r->start
                     : lease_end(&l->lease) ? lease_end(&l->lease)
                                            : FIRST_POSITION;
    if (!sound) {
        if (!lease_restore(&l->lease, r->old_end > start ? r->old_end : start, &err))
            return false;
        start = lease_end(&l->lease);
    }
    if (l->c.canary == CANARY_NO_LEASE && !r->empty)
        start = pst_align_up(r->old_end, 8);
    else if (!lease_renew(&l->lease, start, &err))
        return false;
    if (l->incs == PST_COUNT(l->seen))
        return false;
    l->inc = realloc(l->inc, (l->incs + 1) * sizeof *l->inc);
    pst_must(l->inc);
    l->inc[l->incs++] =
        (struct life_inc){.start = start, .end = start, .durable = start, .written = start};
    memset(l->inc[l->incs - 1].session, 0xFF, sizeof l->inc->session);
    l->inc[l->incs - 1].fresh = r->empty;
    take_ring(l, start);
    struct schema *const mine[] = {&l->gap, &l->undecoded, &l->quote, &l->order};
    for (unsigned i = 0; i < PST_COUNT(mine) - !l->c.streams; i++) {
        bool fresh;
        const struct schema *s = schema_set_intern(l->schemas, mine[i], &fresh, &err);
        pst_must(s && s->id == mine[i]->id);
    }
    l->status = status_create("sim", &err);
    pst_must(l->status);
    int64_t now = clock_now(&l->clock);
    if (!r->empty && r->last_time > now)
        now = r->last_time;
    clock_init_virtual(&l->clock, now);
    l->open.day = r->empty || r->open_day < 0 ? LIFE_DAY : (uint16_t)r->open_day;
    l->open.from = (int64_t)l->open.day * NS_PER_DAY;
    due_init(&l->due);
    struct appender_interval interval = {0};
    if (l->c.streams) { /* the one in which the journal ended */
        int64_t at = !r->empty && r->last_time > 0 ? r->last_time : now;
        int32_t day = (int32_t)(at / NS_PER_DAY);
        interval =
            (struct appender_interval){.on = true,
                                       .from = at / MINUTE * MINUTE,
                                       .minute = (uint16_t)(at % NS_PER_DAY / MINUTE),
                                       .day = (uint16_t)(day < l->open.day ? l->open.day : day)};
        l->stream_of[l->order.id] = STREAM_INTERVAL;
    }
    struct appender_config ac = {.ring = &l->ring,
                                 .symbols = &l->symbols,
                                 .schemas = l->schemas,
                                 .status = l->status,
                                 .clock = &l->clock,
                                 .due = &l->due,
                                 .hooks = {.arg = l, .states = states, .sessions = sessions},
                                 .owners = &l->owners,
                                 .open = &l->open,
                                 .stream_of = l->c.streams ? l->stream_of : NULL,
                                 .interval = interval,
                                 .last_time = r->empty ? INT64_MIN : r->last_time,
                                 .max_new_symbols = UINT32_MAX,
                                 .ticks = true};
    pst_must(appender_init(&l->app, &ac, &err));
    ends_of_days(l);
    start_log(l);
    l->sym_base = symbols_count(&l->symbols);
    if (l->c.sym) {
        l->disk->real_fds = true;
        l->sym_open = hdb_sym_open(&l->sym, io, LIFE_HDB, &err);
        if (!l->sym_open)
            return life_fail(l, "sym does not open: %s", err.text);
    }
    facts_open(&l->facts, io, LIFE_STATE);
    l->noted = start;
    l->running = true;
    l->figures.incarnations++;
    bool clean = r->clean;
    pst_must(resume(l, !r->empty && !clean));
    l->clean_end = 0;
    life_absorb(l);
    if (!r->unsynced)
        build_upon(l);
    return true;
}

void life_stop(struct life *l)
{
    if (l->disk)
        l->disk->hook = NULL;
    io_destroy(l->log_io); /* drops what is in flight: it lies in the log's memory */
    if (l->log)
        log_destroy(l->log);
    if (l->running) {
        facts_close(&l->facts);
        appender_fini(&l->app);
        give_ring(l);
    }
    if (l->status)
        status_destroy(l->status);
    if (l->recovered)
        recovery_free(&l->recovery);
    schema_set_free(l->schemas);
    if (l->symbols.fd >= 0)
        symbols_close(&l->symbols);
    if (l->catalogued)
        catalogue_close(&l->catalogue);
    if (l->sym_open)
        hdb_sym_close(&l->sym);
    l->sym_open = false;
    io_destroy(l->io);
    free(l->states);
    l->states = NULL;
    l->log = NULL;
    l->status = NULL;
    l->schemas = NULL;
    l->symbols.fd = -1;
    l->log_io = l->io = NULL;
    l->running = l->recovered = l->catalogued = false;
}

static void catalogue_news(struct life *l)
{
    static const enum catalogue_file_state of[] = {[LOG_OPENED] = CATALOGUE_OPEN,
                                                   [LOG_CLOSED] = CATALOGUE_CLOSED,
                                                   [LOG_GAVE_UP] = CATALOGUE_POISONED};
    struct log_event e;
    while (log_event_next(l->log, &e)) {
        l->figures.poisoned += e.type == LOG_GAVE_UP;
        l->figures.spilled += e.type == LOG_OPENED && e.spilled;
        if (e.type == LOG_REMOVED) {
            catalogue_remove_file(&l->catalogue, e.name);
            continue;
        }
        struct catalogue_file f = {.spilled = e.spilled,
                                   .stream = e.stream,
                                   .day = e.day,
                                   .first = e.first,
                                   .last = e.last,
                                   .state = of[e.type]};
        snprintf(f.name, sizeof f.name, "%s", e.name);
        catalogue_put_file(&l->catalogue, &f);
    }
}

/* The reader of the durable journal: notes facts for the next start. */
static void note_facts(struct life *l)
{
    const struct life_inc *i = &l->inc[l->incs - 1];
    while (l->noted < i->durable) {
        const struct frame *f = (const struct frame *)(i->bytes + (l->noted - i->start));
        l->noted += f->length;
        facts_frame(&l->facts, f, l->note_time += NS_PER_S / 4);
    }
}

void life_work(struct life *l, unsigned rounds)
{
    while (rounds-- && !l->failure[0]) {
        life_absorb(l);
        log_work(l->log);
        life_absorb(l);
    }
    if (l->running)
        note_facts(l);
}

static void session_begins(struct life *l, struct life_session *s)
{
    char json[300];
    struct rows *rows = &l->app.rows;
    int n =
        snprintf(json, sizeof json,
                 "{\"feed\":\"%s\",\"session\":\"%s\",\"event\":\"begin\",\"epoch\":0,\"day\":%u,"
                 "\"first\":1,\"next\":%llu}",
                 s->feed, s->name, rows->min_day[0], (unsigned long long)s->next);
    rows->ops->mark(rows, MARK_SESSION, json, (uint32_t)n);
    s->known = true;
}

/* Sequences [s->next, seq) never came: the feed's word for it. */
static void gap_before(struct life *l, struct life_session *s, uint64_t seq, const char *reason)
{
    struct rows *rows = &l->app.rows;
    struct gap g = {.first = s->next,
                    .last = seq - 1,
                    .reason = reason,
                    .time = clock_now(&l->clock),
                    .day = rows->min_day[0]};
    g.feed = id_of(l, s->feed);
    g.session = l->inc[l->incs - 1].session[s - l->session] = id_of(l, s->name);
    rows->ops->gap(rows, &g);
    s->next = seq;
    l->figures.gaps++;
}

static void row(struct life *l, uint32_t note_bytes)
{
    struct rows *r = &l->app.rows;
    const struct schema *q = l->c.streams && chance(l, 2) ? &l->order : &l->quote;
    char name[24];
    unsigned which = (unsigned)life_random(l, l->names + 2);
    if (chance(l, 12) && l->names < SYMBOLS_MAX - 200)
        which = l->names++;
    snprintf(name, sizeof name, "S%u", which % 977);
    uint32_t id = id_of(l, name);
    uint32_t bytes = (uint32_t)pst_align8(q->fixed + note_bytes);
    uint8_t *p = rows_reserve(r, bytes);
    memset(p, 0, bytes);
    *(struct record *)p = (struct record){q->id, (uint16_t)bytes, id, clock_now(&l->clock)};
    put32(p + q->col[SCHEMA_FEED_COLUMNS + 1].offset, id);
    put32(p + q->col[SCHEMA_FEED_COLUMNS + 2].offset, q->fixed);
    put32(p + q->col[SCHEMA_FEED_COLUMNS + 2].offset + 4, note_bytes);
    uint64_t x = life_random(l, 0) | 1;
    for (uint32_t i = 0; i < note_bytes; i++, x = x * 6364136223846793005ull + 1)
        p[q->fixed + i] = (uint8_t)(x >> 56);
    rows_commit(r, bytes);
}

void life_rows(struct life *l, unsigned packets)
{
    struct rows *rows = &l->app.rows;
    appender_begin(&l->app, clock_now(&l->clock));
    appender_due(&l->app);
    appender_states(&l->app);
    while (packets-- && appender_room(&l->app) > 2u << 20) {
        struct life_session *s = &l->session[life_random(l, LIFE_SESSIONS)];
        unsigned n = 1 + (unsigned)life_random(l, 6);
        if (s->sent + n + 64 >= LIFE_SEQS)
            return;
        if (chance(l, 25))
            s->sent += 1 + life_random(l, 5); /* lost on the wire */
        if (!s->known) {
            session_begins(l, s);
            if (s->sent > s->next)
                gap_before(l, s, s->sent, "before_start");
        }
        if (s->sent > s->next)
            gap_before(l, s, s->sent, "lost");
        struct run run = {.seq = s->next,
                          .rxtime = clock_now(&l->clock),
                          .feed = id_of(l, s->feed),
                          .session = id_of(l, s->name),
                          .line = id_of(l, "A"),
                          .day = chance(l, 2) ? rows->min_day[0] : l->app.calendar[0].newest};
        rows_run(rows, &run);
        l->inc[l->incs - 1].session[s - l->session] = run.session;
        uint32_t note =
            chance(l, 10) ? (uint32_t)life_random(l, 9000) : (uint32_t)life_random(l, 120);
        for (unsigned i = 0; i < n; i++)
            row(l, note);
        s->next += n;
        s->sent = s->next;
        if (chance(l, 2))
            appender_flush(&l->app);
    }
    appender_flush(&l->app);
    life_absorb(l);
}

bool life_settle(struct life *l, int64_t ns)
{
    int64_t until = l->disk->now + ns;
    for (unsigned i = 0; load_acquire(&l->ring.head->durable) < ring_tail(&l->ring); i++) {
        life_work(l, 4);
        log_housekeeping(l->log);
        catalogue_news(l);
        l->disk->now += i < 60 ? 50 * NS_PER_US : 5 * NS_PER_MS; /* it waits for something */
        if (l->disk->now > until || l->failure[0])
            return false;
    }
    life_absorb(l);
    return true;
}

bool life_end_clean(struct life *l, int64_t ns)
{
    struct err err;
    int64_t until = l->disk->now + ns;
    appender_begin(&l->app, clock_now(&l->clock));
    appender_flush(&l->app);
    if (!appender_end(&l->app, "stop"))
        return false;
    life_absorb(l);
    log_drain_start(l->log);
    for (unsigned i = 0; !log_drained(l->log); i++) {
        life_work(l, 4);
        log_housekeeping(l->log);
        catalogue_news(l);
        l->disk->now += i < 60 ? 50 * NS_PER_US : 5 * NS_PER_MS;
        if (l->disk->now > until || l->failure[0])
            return false;
    }
    log_fini(l->log);
    catalogue_news(l);
    l->clean_end = ring_tail(&l->ring);
    life_absorb(l);
    return lease_close(&l->lease, ring_tail(&l->ring), &err);
}

/* ---- faults ---- */

static void trouble(struct life *l)
{
    static const int errors[] = {ENOSPC, EDQUOT,    EIO,    ENODEV,  ETIMEDOUT, EROFS,  EINTR,
                                 EAGAIN, ECANCELED, ENOMEM, ENOBUFS, EFBIG,     ENOENT, EACCES};
    static const uint32_t where[] = {SIM_ANY_WRITE,       1u << SIM_WRITE,     SIM_ANY_SYNC,
                                     1u << SIM_SYNC,      1u << SIM_FALLOCATE, 1u << SIM_CREATE,
                                     1u << SIM_RENAME,    1u << SIM_SYNC_DIR,  1u << SIM_UNLINK,
                                     1u << SIM_FTRUNCATE, 1u << SIM_SUBMIT,    SIM_CHANGES};
    static const char *const places[] = {LIFE_LOG, LIFE_LOG, LIFE_SPILL, NULL};
    struct sim *d = l->disk;
    l->figures.faults++;
    switch (life_random(l, 8)) {
    case 0: /* healed */
    case 1:
        sim_fault_clear(d);
        for (unsigned i = 0; i < SIM_VOLUMES; i++) {
            d->limit[i] = SIM_EVER;
            d->dead[i] = false;
        }
        break;
    case 2: /* the disk is full, or nearly */
        d->limit[LIFE_VOLUME_LOG] =
            sim_used(d, LIFE_VOLUME_LOG) + life_random(l, 2) * life_random(l, 3u << 20);
        if (l->spill && chance(l, 3))
            d->limit[LIFE_VOLUME_SPILL] = sim_used(d, LIFE_VOLUME_SPILL);
        break;
    case 3: /* gone */
        d->dead[chance(l, 3) ? LIFE_VOLUME_SPILL : LIFE_VOLUME_LOG] = true;
        break;
    case 4: /* a stall */
        sim_fault_clear(d);
        sim_fault_add(d, &(struct sim_fault){.ops = where[life_random(l, 5)],
                                             .path = LIFE_LOG,
                                             .skip = life_random(l, 4),
                                             .times = 1 + life_random(l, 4),
                                             .kind = SIM_STALL,
                                             .arg = life_random(l, 3000000000u)});
        break;
    case 5: /* a short write */
        sim_fault_clear(d);
        sim_fault_add(d, &(struct sim_fault){.ops = 1u << SIM_WRITE,
                                             .path = LIFE_LOG,
                                             .times = 1 + life_random(l, 20),
                                             .kind = SIM_SHORT,
                                             .arg = life_random(l, 9) * SIM_SECTOR});
        break;
    default: {
        sim_fault_clear(d);
        uint32_t ops = where[life_random(l, PST_COUNT(where))];
        bool lie = ops & SIM_ANY_SYNC && !(ops & SIM_ANY_WRITE) && chance(l, 2);
        struct sim_fault f = {.ops = ops,
                              .path = places[life_random(l, PST_COUNT(places))],
                              .skip = life_random(l, 6),
                              .times = chance(l, 3) ? SIM_EVER : 1 + life_random(l, 3),
                              .error = errors[life_random(l, PST_COUNT(errors))]};
        enum log_action action = log_policy(-f.error);
        /* bytes are given up with an error of the device; a sync that was interrupted or had no
         * memory is not done, and the next one does it */
        bool done =
            action != LOG_ACT_AGAIN && action != LOG_ACT_BACKOFF && action != LOG_ACT_SKIPPED;
        f.kind = lie && done ? SIM_LIE : SIM_FAIL;
        sim_fault_add(d, &f);
    }
    }
}

static void heal(struct life *l)
{
    sim_fault_clear(l->disk);
    for (unsigned i = 0; i < SIM_VOLUMES; i++) {
        l->disk->limit[i] = SIM_EVER;
        l->disk->dead[i] = false;
    }
}

/* ---- a life ---- */

/* What writedown does when a partition needs them: ids explained below the durable position. */
static void follow_sym(struct life *l)
{
    const struct life_inc *i = &l->inc[l->incs - 1];
    uint64_t upto = l->c.canary == CANARY_EAGER_SYM ? i->end : load_acquire(&l->ring.head->durable);
    uint32_t ids = l->sym_base;
    struct err err;
    for (uint64_t p = i->start; p < upto;) {
        const struct frame *f = (const struct frame *)(i->bytes + (p - i->start));
        if (f->kind == FRAME_SYMBOL)
            ids = le32(frame_payload(f)) + le32(frame_payload(f) + 4);
        p += f->length;
    }
    hdb_sym_extend(&l->sym, hdb_sym_from_symbols, &l->symbols, ids, &err);
}

void life_step(struct life *l)
{
    if (l->c.sym && chance(l, 6))
        follow_sym(l);
    switch (life_random(l, 12)) {
    case 0:
    case 1:
    case 2:
    case 3:
        life_rows(l, 1 + (unsigned)life_random(l, 6));
        break;
    case 4:
        clock_set(&l->clock, clock_now(&l->clock) + (int64_t)life_random(l, 150 * NS_PER_MS));
        if (l->c.streams && chance(l, 4))
            clock_set(&l->clock, clock_now(&l->clock) + (int64_t)life_random(l, MINUTE));
        life_rows(l, 0);
        break;
    case 5:
        log_housekeeping(l->log);
        catalogue_news(l);
        break;
    case 6:
        if (chance(l, 3)) { /* a burst that needs more than one buffer */
            for (unsigned i = 0; i < 12; i++)
                life_rows(l, 8);
        }
        break;
    case 7:
        if (chance(l, 12)) { /* towards the end of the day, or over it */
            int64_t midnight = ((int64_t)l->app.rows.min_day[0] + 1) * NS_PER_DAY;
            int64_t now = clock_now(&l->clock);
            int64_t to = now < midnight - 40 * NS_PER_MS
                             ? midnight - 40 * NS_PER_MS
                             : now + (int64_t)life_random(l, 3 * NS_PER_S);
            clock_set(&l->clock, to);
            life_rows(l, 2);
        }
        break;
    case 8:
        l->disk->now += (int64_t)life_random(l, 30 * NS_PER_MS);
        log_housekeeping(l->log);
        break;
    case 9:
        if (l->c.faults && chance(l, 2))
            trouble(l);
        break;
    default:
        life_work(l, 1 + (unsigned)life_random(l, 4));
        break;
    }
}

static void silent_fault(struct life *l)
{
    l->harmed = true;
    sim_fault_add(l->disk, &(struct sim_fault){.ops = 1u << SIM_WRITE,
                                               .path = LIFE_LOG,
                                               .skip = life_random(l, 10),
                                               .times = 1,
                                               .kind = SIM_MISDIRECT});
}

struct flip {
    struct life *l;
    unsigned left;
};

static void flip_one(void *arg, const char *name)
{
    struct flip *x = arg;
    char path[200];
    uint64_t size;
    if (x->left-- || (strncmp(name, "log2", 4) && strncmp(name, "logi", 4)))
        return;
    snprintf(path, sizeof path, LIFE_LOG "/%s", name);
    uint8_t *p = sim_read(x->l->disk, path, &size);
    free(p);
    if (p && size)
        sim_flip(x->l->disk, path, life_random(x->l, size < 65536 ? size * 8 : 65536 * 8));
}

static void incarnation(struct life *l)
{
    unsigned tries = 0;
    while (!life_start(l)) {
        if (l->failure[0])
            return;
        if (++tries > 8) {
            life_fail(l, "the instance does not start any more, on a sound disk");
            return;
        }
        life_crash(l); /* in the middle of the start */
        if (l->failure[0])
            return;
        if (tries > 1)
            heal(l);
    }
    unsigned steps = l->c.steps / 2 + (unsigned)life_random(l, l->c.steps);
    if (l->c.silent && chance(l, 3))
        silent_fault(l);
    for (unsigned i = 0; i < steps && !l->failure[0]; i++)
        life_step(l);
    if (l->failure[0])
        return;
    if (chance(l, 3) || (l->c.faults && chance(l, 2))) { /* what heals comes back by itself */
        heal(l);
        if (!life_settle(l, 5 * NS_PER_S) && !l->failure[0])
            life_fail(l,
                      "the disk is sound again for 5 s, but the log does not go on: durable %llu, "
                      "tail %llu, errno %d",
                      (unsigned long long)load_acquire(&l->ring.head->durable),
                      (unsigned long long)ring_tail(&l->ring), load_relaxed(&l->status->log_errno));
        if (!l->failure[0] && chance(l, 3) && !life_end_clean(l, 5 * NS_PER_S) && !l->failure[0])
            life_fail(l, "the log cannot be drained on a sound disk");
    }
    if ((l->disk->misuse || l->disk->unaligned) && !l->failure[0])
        life_fail(l, "the log misuses the disk: %s%s", l->disk->misused,
                  l->disk->unaligned ? ", unaligned O_DIRECT" : "");
    if (!l->failure[0])
        life_crash(l);
    if (l->c.silent && !l->failure[0] && chance(l, 2)) {
        struct flip x = {l, (unsigned)life_random(l, 4)};
        l->harmed = true;
        sim_each(l->disk, LIFE_LOG, flip_one, &x);
    }
}

void life_open(struct life *l, const struct life_config *c)
{
#ifdef PST_FAULTS
    logscan_fine = c->seed % 2;
#endif
    struct err err;
    static const struct column_def quote[] = {
        {"bid", PST_FLOAT}, {"src", PST_SYMBOL}, {"note", PST_STRING}};
    memset(l, 0, sizeof *l);
    l->c = *c;
    l->rng = c->seed * 0x9E3779B97F4A7C15ull + 1;
    l->symbols.fd = -1;
    alive = l;
    l->disk = sim_new(life_random(l, 0));
    sim_volume(l->disk, LIFE_VOLUME_STATE, LIFE_STATE);
    sim_volume(l->disk, LIFE_VOLUME_LOG, LIFE_LOG);
    sim_volume(l->disk, LIFE_VOLUME_SPILL, LIFE_SPILL);
    sim_volume(l->disk, 0, LIFE_HDB);
    l->disk->ordered = chance(l, 2);
    static const enum log_level levels[] = {LOG_DURABLE, LOG_DURABLE, LOG_DURABLE,
                                            LOG_DURABLE, LOG_WRITTEN, LOG_ASYNC};
    l->level = levels[life_random(l, PST_COUNT(levels))];
    l->buffered = chance(l, 3);
    l->disk->no_direct = chance(l, 6);
    l->disk->align = chance(l, 2) ? 512 : 4096;
    l->spill = chance(l, 2);
    l->depth = 1 + (uint32_t)life_random(l, 6);
    l->preallocate = chance(l, 4) ? c->small ? 1u << 18 : 1u << 20 : 0;
    l->ballast = chance(l, 4) ? 1u << 20 : 0;
    if (c->canary == CANARY_EARLY_ACK) {
        l->level = LOG_DURABLE;
        l->buffered = l->disk->no_direct = false;
        l->disk->lying_dsync = true;
    }
    if (c->sym)
        l->level = LOG_DURABLE;
    if (c->canary == CANARY_EAGER_SYM)
        l->c.sym = true;
    l->disk->lying_dir = c->canary == CANARY_NO_DIR;
    if (c->canary == CANARY_NO_DIR)
        l->disk->ordered = false;
    static const char *const names[LIFE_SESSIONS] = {"one", "two", "three"};
    for (unsigned i = 0; i < LIFE_SESSIONS; i++) {
        l->session[i] = (struct life_session){.feed = "feed", .name = names[i], .sent = 1};
        l->seq[i] = calloc(1, LIFE_SEQS);
        pst_must(l->seq[i]);
    }
    l->owners.n = 1;
    strcpy(l->owners.name[0], "default");
    clock_init_virtual(&l->clock, LIFE_DAY * NS_PER_DAY + 60 * NS_PER_S);
    struct schema_set *set = schema_set_new();
    bool fresh;
    pst_must(tables_gap(&l->gap, &err) && tables_undecoded(&l->undecoded, &err) &&
             schema_make(&l->quote, 0, "quote", true, quote, PST_COUNT(quote), &err) &&
             schema_make(&l->order, 0, "order", true, quote, PST_COUNT(quote), &err));
    l->gap = *schema_set_intern(set, &l->gap, &fresh, &err);
    l->undecoded = *schema_set_intern(set, &l->undecoded, &fresh, &err);
    l->quote = *schema_set_intern(set, &l->quote, &fresh, &err);
    l->order = *schema_set_intern(set, &l->order, &fresh, &err);
    schema_set_free(set);
}

void life_close(struct life *l)
{
    life_stop(l);
    sim_free(l->disk);
    for (unsigned k = 0; k < l->incs; k++) {
        free(l->inc[k].bytes);
        free(l->inc[k].kept);
        free(l->inc[k].next);
    }
    for (unsigned k = 0; k < PST_COUNT(l->seen); k++)
        free(l->seen[k]);
    for (unsigned i = 0; i < LIFE_SESSIONS; i++)
        free(l->seq[i]);
    free(l->inc);
    alive = NULL;
}

bool life_live(struct life *l)
{
    for (unsigned i = 0; i < l->c.incarnations && !l->failure[0]; i++)
        incarnation(l);
    return !l->failure[0];
}
