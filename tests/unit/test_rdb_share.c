/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RDB between threads and processes: cuts while rows come and days are released and their
 * memory used again (under the thread sanitizer too), a sealed memfd read and attacked by another
 * process, and a memory whose bytes are damaged, which no reader may crash on.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "rdb_kit.h"

#ifdef RING_TSAN /* ten times slower */
#define LESS 1
#else
#define LESS 0
#endif

enum { A = 2, B, KEYED };
static const struct column_def narrow_columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"v", PST_LONG}, {"c", PST_CHAR}};

/* ---- cuts while rows come ---- */

enum { ROWS = 60, SYMS = 13, FRAMES = 40, DAYS = 8 };

static struct shared {
    struct rk k;
    _Atomic bool done;
    pthread_mutex_t lock; /* stands for control: cuts, pins and releases are made under it */
    unsigned pins[RDB_DAYS];
    uint64_t hidden; /* day slots that no new cut shows */
    _Atomic unsigned eods, cuts;
    struct rdb_closed closed[64];
    unsigned nclosed;
} sh;

static void on_closed(void *arg, const struct rdb_closed *c)
{
    (void)arg;
    pthread_mutex_lock(&sh.lock);
    sh.closed[sh.nclosed++] = *c;
    pthread_mutex_unlock(&sh.lock);
    atomic_fetch_add(&sh.eods, 1);
}

/* Row n of a day is known: sym n % 13 (12: null), v 3n, time n. */
static void put_rows(struct rk *k, uint16_t table, const struct schema *s, uint32_t first)
{
    for (uint32_t n = first; n < first + ROWS; n++) {
        uint32_t sym = n % SYMS;
        uint8_t *row =
            pk_row(&k->pk, table, sym == SYMS - 1 ? PST_NULL_SYMBOL : sym * 300, n, s->fixed);
        put64(row + s->col[2].offset, 3ull * n);
        row[s->col[3].offset] = (uint8_t)('a' + n % 26);
    }
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void *writer(void *arg)
{
    (void)arg;
    struct rk *k = &sh.k;
    const struct schema *a = schema_set_get(k->set, A), *b = schema_set_get(k->set, B);
    static struct rdb_day_info info[RDB_DAYS];
    int64_t give_up = now() + 30000000000ll;
    for (int day = 0; day < DAYS; day++) {
        while (rdb_days(k->r, info) > 8 && now() < give_up) { /* control is behind */
            rdb_idle(k->r);
            sched_yield();
        }
        for (uint32_t f = 0; f < FRAMES; f++) {
            pk_clear(&k->pk);
            put_rows(k, A, a, f * ROWS);
            put_rows(k, B, b, f * ROWS);
            rk_append(k, FRAME_DATA, (uint16_t)(LK_DAY + day));
            rdb_publish(k->r);
            if (f % 8 == 0)
                rdb_idle(k->r);
        }
        rk_eod(k, "{}", (uint16_t)(LK_DAY + day));
    }
    while (!load_acquire(&sh.done) && now() < give_up) {
        rdb_idle(k->r);
        sched_yield();
    }
    return NULL;
}

struct query {
    struct rdb_cut cut;
    struct rdb_part_name part[64];
    uint32_t rows[64];
    unsigned n;
    uint64_t slots;
};

static bool begin(struct query *q)
{
    pthread_mutex_lock(&sh.lock);
    bool ok = rdb_cut_read(rdb_map_of(sh.k.r), &q->cut);
    q->n = 0;
    q->slots = 0;
    for (uint32_t i = 0; ok && i < q->cut.nparts; i++) {
        struct rdb_part_name *p = &q->part[q->n];
        if (!rdb_part_name(rdb_map_of(sh.k.r), i, q->cut.part[i].generation, p) ||
            sh.hidden >> p->day_slot & 1)
            continue;
        q->rows[q->n++] = q->cut.part[i].rows;
        q->slots |= 1ull << p->day_slot;
    }
    for (unsigned i = 0; i < RDB_DAYS; i++)
        sh.pins[i] += q->slots >> i & 1;
    pthread_mutex_unlock(&sh.lock);
    return ok;
}

static void end(struct query *q)
{
    pthread_mutex_lock(&sh.lock);
    for (unsigned i = 0; i < RDB_DAYS; i++)
        sh.pins[i] -= q->slots >> i & 1;
    pthread_mutex_unlock(&sh.lock);
    atomic_fetch_add(&sh.cuts, 1);
}

/* cmocka's assertions are for its own thread. */
#define WANT(x)                                                                                    \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

static bool right_part(const struct query *q, unsigned i)
{
    struct rdb_part_view v;
    WANT(rdb_part_open(rdb_map_of(sh.k.r), q->part[i].slot, q->part[i].table, q->part[i].day,
                       q->rows[i], &v, NULL));
    struct rdb_chunk_view c;
    for (uint32_t k = 0; k < v.chunks; k++) {
        WANT(rdb_chunk_open(&v, k, &c));
        WANT(c.ascends && c.time_min == c.first && c.time_max >= c.first + c.rows - 1);
        for (uint32_t j = 0; j < c.rows; j++) {
            uint32_t n = c.first + j, sym = n % SYMS;
            WANT(((const int64_t *)c.col[0])[j] == n);
            WANT(((const uint32_t *)c.col[1])[j] ==
                 (sym == SYMS - 1 ? PST_NULL_SYMBOL : sym * 300));
            WANT(((const int64_t *)c.col[2])[j] == 3ll * n);
            WANT(((const char *)c.col[3])[j] == (char)('a' + n % 26));
        }
    }
    for (uint32_t s = 0; s < SYMS; s++) {
        uint32_t id = s == SYMS - 1 ? PST_NULL_SYMBOL : s * 300,
                 want = v.rows / SYMS + (s < v.rows % SYMS);
        struct rdb_list_view l;
        const uint32_t *ids;
        uint32_t at = s;
        WANT(rdb_list_open(&v, id, &l) && l.count == want);
        for (uint32_t n; (n = rdb_list_next(&l, &ids));)
            for (uint32_t j = 0; j < n; j++, at += SYMS)
                WANT(ids[j] == at);
        WANT(at == s + want * SYMS);
        WANT(rdb_list_last(&v, id, &at) == (want != 0));
        WANT(!want || at == s + (want - 1) * SYMS);
    }
    return true;
}

static bool right(const struct query *q)
{
    for (unsigned i = 0; i < q->n; i++) {
        WANT(q->rows[i] % ROWS == 0);       /* a cut lies between frames */
        for (unsigned j = 0; j < q->n; j++) /* and is one for all tables */
            WANT(q->part[j].day != q->part[i].day || q->rows[j] == q->rows[i]);
        if (!right_part(q, i))
            return false;
    }
    return true;
}

static void *reader(void *arg)
{
    _Atomic bool *ok = arg;
    static _Thread_local struct query q;
    uint64_t position = 0, serial = 0;
    for (unsigned turn = 0; load_relaxed(ok) && !load_acquire(&sh.done); turn++) {
        if (!begin(&q))
            continue;
        bool good = q.cut.position >= position && q.cut.serial >= serial && right(&q);
        position = q.cut.position;
        serial = q.cut.serial;
        if (turn % 16 == 0 && q.n <= 4) { /* held open over two ends of day */
            unsigned eods = load_acquire(&sh.eods), until = eods + 2 < DAYS ? eods + 2 : DAYS;
            while (load_acquire(&sh.eods) < until && !load_acquire(&sh.done))
                sched_yield();
            good = good && right(&q);
        }
        end(&q);
        store_relaxed(ok, good);
    }
    return NULL;
}

static void concurrent(void **state)
{
    (void)state;
    memset(&sh, 0, sizeof sh);
    pthread_mutex_init(&sh.lock, NULL);
    rk_open(&sh.k, 12, &(struct rdb_config){.closed = on_closed});
    rk_schema(&sh.k, A, "a", false, narrow_columns, PST_COUNT(narrow_columns));
    rk_schema(&sh.k, B, "b", false, narrow_columns, PST_COUNT(narrow_columns));
    pthread_t w, r[2];
    _Atomic bool ok[2];
    store_relaxed(&ok[0], true);
    store_relaxed(&ok[1], true);
    assert_int_equal(pthread_create(&w, NULL, writer, NULL), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&r[i], NULL, reader, &ok[i]), 0);
    /* control: a closed day is "written" at once; released when its last reader has left */
    unsigned released = 0;
    int64_t give_up = now() + 30000000000ll;
    while (released < DAYS && load_relaxed(&ok[0]) && load_relaxed(&ok[1]) && now() < give_up) {
        pthread_mutex_lock(&sh.lock);
        static struct rdb_day_info info[RDB_DAYS];
        unsigned n = rdb_days(sh.k.r, info);
        for (unsigned i = 0; i < sh.nclosed; i++) {
            struct rdb_closed *c = &sh.closed[i];
            bool there = false;
            for (unsigned j = 0; j < n; j++)
                there |= (int)info[j].slot == c->slot - 1000 && info[j].generation == c->generation;
            if (c->slot >= 1000 && !there) {
                sh.hidden &= ~(1ull << (c->slot - 1000));
                c->slot = -1;
            }
        }
        for (unsigned i = 0; i < sh.nclosed; i++) {
            struct rdb_closed *c = &sh.closed[i];
            if (c->slot < 0 || c->slot >= 1000)
                continue;
            sh.hidden |= 1ull << c->slot;
            if (sh.pins[c->slot] || !rdb_release_day(sh.k.r, (uint32_t)c->slot, c->generation))
                continue;
            c->slot += 1000; /* asked: its slot may be given out again */
            released++;
        }
        pthread_mutex_unlock(&sh.lock);
        sched_yield();
    }
    store_release(&sh.done, true);
    pthread_join(w, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(r[i], NULL);
    assert_true(load_relaxed(&ok[0]) && load_relaxed(&ok[1]));
    assert_int_equal(released, DAYS);
    struct rdb_figures f;
    rdb_figures(sh.k.r, &f);
    assert_int_equal(f.rows, 2 * ROWS * FRAMES * DAYS);
    assert_int_equal(f.refused_rows + f.bad_rows, 0);
    assert_true(load_acquire(&sh.cuts) > 10);
    rk_close(&sh.k);
    pthread_mutex_destroy(&sh.lock);
}

/* ---- one cut for many tables ---- */

enum { TABLES = 60, CUTS = LESS ? 1000 : 4000 };

static void *many_writer(void *arg)
{
    struct rk *k = arg;
    for (uint32_t i = 0; i < CUTS; i++) {
        pk_clear(&k->pk);
        for (uint16_t t = 0; t < TABLES; t++)
            pk_row(&k->pk, (uint16_t)(A + t), t, i, 32);
        rk_append(k, FRAME_DATA, LK_DAY);
        rdb_publish(k->r);
    }
    store_release(&sh.done, true);
    return NULL;
}

/* Every table has one row a frame: in each cut all have the same number, that of its position. */
static void one_cut(void **state)
{
    (void)state;
    static struct rk k;
    static struct rdb_cut cut;
    memset(&sh, 0, sizeof sh);
    rk_open(&k, 64, NULL);
    for (uint16_t t = 0; t < TABLES; t++) {
        char name[16];
        sprintf(name, "t%u", t);
        rk_schema(&k, (uint16_t)(A + t), name, false, narrow_columns, PST_COUNT(narrow_columns));
    }
    pthread_t w;
    assert_int_equal(pthread_create(&w, NULL, many_writer, &k), 0);
    uint32_t bytes = FRAME_HEADER + TABLES * 32, torn = 0, last = 0;
    for (bool done = false; !done;) {
        done = load_acquire(&sh.done);
        if (!rdb_cut_read(rdb_map_of(k.r), &cut) || !cut.nparts)
            continue;
        uint32_t rows = (uint32_t)((cut.position - k.base) / bytes);
        torn += cut.nparts != TABLES || rows < last || cut.serial != rows;
        for (uint32_t i = 0; i < cut.nparts; i++)
            torn += cut.part[i].rows != rows;
        last = rows;
    }
    pthread_join(w, NULL);
    assert_int_equal(torn, 0);
    assert_int_equal(last, CUTS);
    rk_close(&k);
}

/* ---- another process ---- */

static const struct column_def all_columns[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},
                                                {"a", PST_STRING},       {"b", PST_GUID},
                                                {"c", PST_LONG},         {"d", PST_STRING}};

static void fill(struct rk *k)
{
    const struct schema *a = rk_schema(k, A, "a", false, all_columns, PST_COUNT(all_columns));
    struct schema s;
    assert_true(schema_make(&s, KEYED, "keyed", false, all_columns, PST_COUNT(all_columns), NULL));
    s.nkeys = 1;
    s.keys[0] = 1;
    assert_true(schema_set_add(k->set, &s, NULL));
    for (uint32_t i = 0; i < 12; i++) {
        pk_clear(&k->pk);
        for (uint32_t j = 0; j < 150; j++)
            rk_row(k, j % 2 ? a : schema_set_get(k->set, KEYED), (uint32_t)(rk_next(k) % 500), j);
        rk_append(k, FRAME_DATA, LK_DAY);
    }
    rdb_publish(k->r);
}

/* Reads all there is to read; a number that depends on every byte of it. */
static uint64_t sweep(const struct rdb_map *m, struct rdb_cut *cut, bool *whole)
{
    uint64_t sum = 0;
    *whole = rdb_cut_read(m, cut);
    for (uint32_t i = 0; *whole && i < cut->nparts; i++) {
        struct rdb_part_name name;
        struct rdb_part_view v;
        struct rdb_chunk_view c;
        uint32_t rows = cut->part[i].rows < 20000 ? cut->part[i].rows : 20000; /* were it damaged */
        if (!rdb_part_name(m, i, cut->part[i].generation, &name) ||
            !rdb_part_open(m, i, name.table, name.day, rows, &v, NULL)) {
            *whole = false;
            continue;
        }
        for (uint32_t k = 0; k < v.chunks; k++) {
            if (!rdb_chunk_open(&v, k, &c)) {
                *whole = false;
                continue;
            }
            for (unsigned col = 0; col < v.schema.ncols; col++)
                for (uint32_t n = 0; n < c.rows; n++) {
                    const uint8_t *p = (const uint8_t *)c.col[col] + n * v.width[col];
                    uint32_t len = v.width[col];
                    if (v.schema.col[col].type == PST_STRING &&
                        !(p = (const uint8_t *)rdb_string(m, le64(p), &len))) {
                        *whole = false;
                        continue;
                    }
                    for (uint32_t b = 0; b < len; b++)
                        sum = sum * 31 + p[b];
                }
        }
        for (uint32_t s = 0; s <= v.syms + v.keys; s++) {
            struct rdb_list_view l;
            const uint32_t *ids;
            bool ok = s < v.syms    ? rdb_list_open(&v, s, &l)
                      : s == v.syms ? rdb_list_open(&v, PST_NULL_SYMBOL, &l)
                                    : rdb_key_open(&v, s - v.syms - 1, &l);
            uint32_t n, total = 0;
            *whole &= ok;
            while (ok && (n = rdb_list_next(&l, &ids))) {
                for (uint32_t j = 0; j < n; j++) {
                    const void *time = rdb_value(&v, ids[j], 0);
                    sum += ids[j] * 7ull + (time ? le64(time) : 0);
                    *whole &= time != NULL;
                }
                total += n;
            }
            *whole &= ok && total == l.count;
            while (ok && (n = rdb_list_prev(&l, &ids)))
                total -= n;
            *whole &= total == 0;
        }
    }
    return sum;
}

static void process(void **state)
{
    (void)state;
    struct rk k;
    struct err err;
    rk_open(&k, 8, NULL);
    struct rdb_map m;
    int fd = dup(rdb_fd(k.r));
    assert_false(rdb_map_attach(&m, fd, &err)); /* not sealed */
    assert_non_null(strstr(err.text, "sealed"));
    assert_true(rdb_seal(k.r));
    fill(&k); /* the owner writes on, also into pages that were not there yet */
    static struct rdb_cut cut;
    bool whole;
    uint64_t want = sweep(rdb_map_of(k.r), &cut, &whole);
    assert_true(whole && cut.nparts == 2);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        /* only the descriptor: the maps of the parent are not used */
        static struct rdb_cut its;
        if (!rdb_map_attach(&m, fd, &err) || sweep(&m, &its, &whole) != want || !whole)
            _exit(1);
        if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED ||
            pwrite(fd, "x", 1, 0) >= 0 || ftruncate(fd, 0) == 0 ||
            mprotect((void *)(uintptr_t)m.base, 4096, PROT_READ | PROT_WRITE) == 0)
            _exit(2);
        rdb_map_close(&m);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(fd);
    rk_close(&k);
}

/* ---- damage ---- */

static void damaged(void **state)
{
    (void)state;
    struct rk k;
    rk_open(&k, 2, NULL);
    fill(&k);
    static struct rdb_cut cut;
    struct rdb_day_info info[RDB_DAYS];
    assert_int_equal(rdb_days(k.r, info), 1);
    const struct rdb_map *real = rdb_map_of(k.r);
    const struct rdb_head *h = (const struct rdb_head *)(const void *)real->base;
    /* a copy that can be written, between pages that cannot be touched */
    uint64_t bytes = h->extents_at + 2 * RK_EXTENT, used = info[0].bytes;
    assert_true(used < RK_EXTENT);
    uint8_t *room =
        mmap(NULL, bytes + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(room, MAP_FAILED);
    uint8_t *base = room + 4096;
    assert_int_equal(mprotect(base, bytes, PROT_READ | PROT_WRITE), 0);
    memcpy(base, real->base, sizeof *h);
    memcpy(base + h->parts_at, real->base + h->parts_at, 2 * RDB_PART_STRIDE);
    memcpy(base + h->extents_at, real->base + h->extents_at, used);
    struct rdb_map m = *real;
    m.base = base;
    bool whole;
    uint64_t want = sweep(&m, &cut, &whole);
    assert_true(whole);
    assert_true(want == sweep(real, &cut, &whole));
    unsigned seen = 0;
    const int damages = LESS ? 100 : 1500;

    for (int i = 0; i < damages; i++) {
        uint64_t old[4], at[4];
        for (int j = 0; j < 4; j++) {
            uint64_t v = rk_next(&k), area = v >> 8 & 3, where = rk_next(&k);
            at[j] = area == 0   ? offsetof(struct rdb_head, cut) + where % 160
                    : area == 1 ? h->parts_at + where % (2 * RDB_PART_STRIDE)
                                : h->extents_at + where % used;
            at[j] &= ~7ull;
            memcpy(&old[j], base + at[j], 8);
            /* far off, near by, an offset of something else, one bit */
            uint64_t x = v % 5 == 0   ? rk_next(&k)
                         : v % 5 == 1 ? old[j] + 64 * (v >> 40 & 7)
                         : v % 5 == 2 ? (h->extents_at + rk_next(&k) % used) & ~63ull
                         : v % 5 == 3 ? bytes - (v >> 40 & 127)
                                      : old[j] ^ 1ull << (v >> 40 & 63);
            memcpy(base + at[j], &x, 8);
        }
        seen += sweep(&m, &cut, &whole) != want || !whole;
        for (int j = 4; j-- > 0;)
            memcpy(base + at[j], &old[j], 8);
    }
    assert_true((int)seen > damages / 3); /* the damage was where it is read */
    assert_true(want == sweep(&m, &cut, &whole) && whole);
    munmap(room, bytes + 8192);
    rk_close(&k);
    /* a chain of blocks that goes in circles: the walk ends */
    rk_open(&k, 2, NULL);
    const struct schema *a =
        rk_schema(&k, A, "a", false, narrow_columns, PST_COUNT(narrow_columns));
    pk_clear(&k.pk);
    for (uint32_t n = 0; n < 100; n++)
        pk_row(&k.pk, A, 5, n, a->fixed);
    rk_append(&k, FRAME_DATA, LK_DAY);
    rdb_publish(k.r);
    struct rdb_part_view v;
    struct rdb_list_view l;
    const uint32_t *ids;
    assert_true(rdb_part_open(rdb_map_of(k.r), 0, A, LK_DAY, 100, &v, NULL));
    assert_true(rdb_list_open(&v, 5, &l));
    assert_int_equal(l.count, 100);
    struct rdb_block *newest = (struct rdb_block *)(uintptr_t)(v.map->base + l.prev);
    assert_int_equal(newest->before, 8 + 16 + 32);
    newest->prev = l.prev;
    store_relaxed(&newest->next, l.prev);
    uint32_t seen_rows = 0, got;
    while ((got = rdb_list_prev(&l, &ids)))
        seen_rows += got;
    while ((got = rdb_list_next(&l, &ids)))
        seen_rows += got;
    assert_int_equal(seen_rows, 44 + 100);
    assert_true(rdb_part_open(rdb_map_of(k.r), 0, A, LK_DAY, 20, &v, NULL));
    assert_false(rdb_list_open(&v, 5, &l));
    rk_close(&k);
    /* no RDB at all */
    struct rdb_map none;
    struct err err;
    int fd = memfd_create("none", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_false(rdb_map_attach(&none, fd, &err));
    assert_non_null(strstr(err.text, "not an RDB"));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(concurrent),
        cmocka_unit_test(one_cut),
        cmocka_unit_test(process),
        cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
