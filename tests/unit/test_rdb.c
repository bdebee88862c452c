/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RDB against a second decoding of its frames (rdb_kit.h): every type with nulls and
 * infinities, packet columns, row lists, keys, chunk bounds, days and calendars, memory that runs
 * out and comes back, frames that come twice, journals that are taken back.
 */
#include "rdb_kit.h"

enum { ALL = 2, FEED, NARROW, KEYED, TABLE_B };
static const struct column_def all_columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"a", PST_BOOLEAN}, {"b", PST_GUID},
    {"c", PST_BYTE},         {"d", PST_SHORT},    {"e", PST_INT},     {"f", PST_LONG},
    {"g", PST_REAL},         {"h", PST_FLOAT},    {"i", PST_CHAR},    {"j", PST_SYMBOL},
    {"k", PST_TIMESTAMP},    {"l", PST_MONTH},    {"m", PST_DATE},    {"n", PST_TIMESPAN},
    {"o", PST_MINUTE},       {"p", PST_SECOND},   {"q", PST_TIME},    {"r", PST_STRING},
    {"s", PST_STRING},
};
static const struct column_def narrow_columns[] = {
    {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"v", PST_INT}};

static uint32_t some_symbol(struct rk *k)
{
    uint64_t v = rk_next(k);
    return v % 17 == 0 ? PST_NULL_SYMBOL
           : v % 3     ? (uint32_t)(v >> 20) % 5
                       : (uint32_t)(v >> 20) % RK_SYMBOLS;
}

static const uint32_t flag_of[] = {0, RUN_PACKET_SEQ, RUN_UNSEQUENCED, ROW_LATE | ROW_END_OF_EVENT};

/* Random rows of two tables, in and out of packets. */
static void random_frame(struct rk *k, const struct schema *a, const struct schema *b, uint16_t day)
{
    uint32_t rows = 1 + (uint32_t)(rk_next(k) % 600);
    pk_clear(&k->pk);
    for (uint32_t i = 0; i < rows && k->pk.len < 200000; i++) {
        if (rk_next(k) % 7 == 0)
            pk_run(&k->pk, 1, 2, rk_next(k) % 2 ? 3 : PST_NULL_SYMBOL, rk_next(k) % 1000000,
                   flag_of[rk_next(k) % 4]);
        const struct schema *s = rk_next(k) % 3 ? a : b;
        rk_row(k, s, some_symbol(k), (int64_t)(k->position + i) - (rk_next(k) % 50 ? 0 : 7));
    }
    rk_append(k, FRAME_DATA, day);
}

static void every_type(void **state)
{
    (void)state;
    struct rk k;
    rk_open(&k, 32, NULL);
    const struct schema *all =
        rk_schema(&k, ALL, "all", false, all_columns, PST_COUNT(all_columns));
    const struct schema *feed =
        rk_schema(&k, FEED, "feed", true, all_columns + 2, PST_COUNT(all_columns) - 2);
    for (int i = 0; i < 20; i++)
        random_frame(&k, all, feed, LK_DAY);
    rdb_publish(k.r);
    uint32_t n = rk_check(&k, ALL, LK_DAY, UINT64_MAX, 0, 0);
    n += rk_check(&k, FEED, LK_DAY, UINT64_MAX, 0, 0);
    struct rdb_figures f;
    rdb_figures(k.r, &f);
    assert_int_equal(f.rows, n);
    assert_true(n > 3000);
    assert_int_equal(f.bad_rows + f.refused_rows + f.repeated_rows + f.skipped_rows, 0);
    assert_int_equal(f.position, k.position);
    assert_int_equal(f.parts, 2);
    rk_close(&k);
}

/* Rows up to beyond the fourth full chunk, in frames of all sizes; cuts in between stay what they
 * were. */
static void chunks(void **state)
{
    (void)state;
    struct rk k;
    rk_open(&k, 16, NULL);
    const struct schema *s =
        rk_schema(&k, NARROW, "narrow", false, narrow_columns, PST_COUNT(narrow_columns));
    struct rdb_part_view early = {0};
    uint64_t early_at = 0;
    for (uint32_t rows = 0, i = 0; rows < 300000; i++) {
        uint32_t n = i % 5 ? 1 + (uint32_t)(rk_next(&k) % 4000) : 1;
        pk_clear(&k.pk);
        for (uint32_t j = 0; j < n; j++)
            rk_row(&k, s, some_symbol(&k), (int64_t)(rows + j));
        assert_int_equal(rk_append(&k, FRAME_DATA, LK_DAY), n);
        rows += n;
        rdb_publish(k.r);
        if (rows > 70000 && !early_at) {
            early_at = k.position;
            assert_true(rdb_part_open(rdb_map_of(k.r), 0, NARROW, LK_DAY, rows, &early, NULL));
        }
    }
    uint32_t all = rk_check(&k, NARROW, LK_DAY, UINT64_MAX, 0, 0);
    assert_true(all >= 300000);
    /* the early cut shows its rows and no other, lists included */
    struct rk_scan scan;
    rk_scan_start(&scan, &k, NARROW, LK_DAY, early_at);
    static uint32_t count[RK_SYMBOLS], last[RK_SYMBOLS];
    const struct record *row;
    uint32_t n = 0;
    for (; (row = rk_scan_next(&scan)); n++)
        if (row->sym != PST_NULL_SYMBOL) {
            count[row->sym]++;
            last[row->sym] = n;
        }
    assert_int_equal(n, early.rows);
    for (uint32_t i = 0; i < RK_SYMBOLS; i++) {
        uint32_t got = UINT32_MAX;
        assert_int_equal(rdb_list_count(&early, i), count[i]);
        assert_int_equal(rdb_list_last(&early, i, &got), count[i] != 0);
        assert_true(!count[i] || got == last[i]);
    }
    struct rdb_chunk_view c;
    assert_true(rdb_chunk_open(&early, early.chunks - 1, &c));
    assert_int_equal(c.first + c.rows, early.rows);
    assert_false(rdb_chunk_open(&early, early.chunks, &c));
    assert_null(rdb_value(&early, early.rows, 0));
    rk_close(&k);
}

/* A step back in time that no frame shows by itself: between two frames, within one, over a chunk's
 * border, and from the null time. */
static void bounds(void **state)
{
    (void)state;
    static const struct {
        uint32_t rows[3]; /* of three frames */
        int64_t first[3]; /* times count up from it within a frame */
        bool ascends;     /* the chunk of the last row */
        int64_t min, max;
    } cases[] = {
        {{10, 10, 10}, {0, 9, 18}, true, 0, 27},
        {{10, 10, 10}, {0, 8, 30}, false, 0, 39},
        {{300, 1, 300}, {1000, 5, 6}, false, 5, 1299},
        {{1024, 10, 10}, {5000, 0, 9}, true, 0, 18}, /* another chunk: nothing before it */
        {{1023, 1, 10}, {5000, 0, 9}, true, 9, 18},
        {{1000, 100, 10}, {5000, 6000, 6070}, false, 6024, 6099},
        {{1, 1, 1}, {INT64_MIN, 4, 4}, true, INT64_MIN, 4},
        {{1, 1, 1}, {4, INT64_MIN, 7}, false, INT64_MIN, 7},
    };
    for (unsigned i = 0; i < PST_COUNT(cases); i++) {
        struct rk k;
        rk_open(&k, 2, NULL);
        const struct schema *s =
            rk_schema(&k, NARROW, "narrow", false, narrow_columns, PST_COUNT(narrow_columns));
        uint32_t total = 0;
        for (unsigned f = 0; f < 3; f++) {
            pk_clear(&k.pk);
            for (uint32_t j = 0; j < cases[i].rows[f]; j++)
                rk_row(&k, s, 1, cases[i].first[f] + j);
            total += rk_append(&k, FRAME_DATA, LK_DAY);
        }
        rdb_publish(k.r);
        struct rdb_part_view v;
        struct rdb_chunk_view c;
        assert_true(rdb_part_open(rdb_map_of(k.r), 0, NARROW, LK_DAY, total, &v, NULL));
        assert_true(rdb_chunk_open(&v, v.chunks - 1, &c));
        assert_true(c.time_min == cases[i].min && c.time_max == cases[i].max);
        assert_int_equal(c.ascends, cases[i].ascends);
        rk_close(&k);
    }
}

/* ---- days, calendars, marks ---- */

struct owner {
    struct rdb_closed closed[16];
    unsigned n;
    uint16_t written; /* this day is in the HDB */
    unsigned asked;
    uint64_t taken, refused, frames;
};
static unsigned owner_calendar(void *arg, const struct schema *s)
{
    (void)arg;
    return s->id == TABLE_B ? 5 : 0;
}
static int owner_named(void *arg, const char *name)
{
    (void)arg;
    return !strcmp(name, "main") ? 0 : !strcmp(name, "tokyo") ? 5 : -1;
}
static bool owner_take(void *arg, unsigned calendar, uint16_t day, uint64_t position)
{
    struct owner *o = arg;
    (void)position;
    o->asked++;
    return calendar == 5 || day != o->written;
}
static void owner_closed(void *arg, const struct rdb_closed *c)
{
    struct owner *o = arg;
    assert_true(o->n < PST_COUNT(o->closed));
    o->closed[o->n++] = *c;
}
static void owner_seen(void *arg, const struct frame *f, uint32_t taken, uint32_t refused)
{
    struct owner *o = arg;
    (void)f;
    o->frames++;
    o->taken += taken;
    o->refused += refused;
}
static struct owner owner;
static const struct rdb_config owned = {.arg = &owner,
                                        .calendar_of = owner_calendar,
                                        .calendar_named = owner_named,
                                        .take = owner_take,
                                        .closed = owner_closed,
                                        .seen = owner_seen};

static const struct rdb_day_info *info(struct rk *k, unsigned calendar, uint16_t day, unsigned nth)
{
    static struct rdb_day_info d[RDB_DAYS];
    unsigned n = rdb_days(k->r, d);
    for (unsigned i = 0; i < n; i++)
        if (d[i].calendar == calendar && d[i].day == day && nth-- == 0)
            return &d[i];
    return NULL;
}

static void days(void **state)
{
    (void)state;
    struct rk k;
    memset(&owner, 0, sizeof owner);
    owner.written = LK_DAY - 1;
    rk_open(&k, 64, &owned);
    const struct schema *a =
        rk_schema(&k, NARROW, "narrow", false, narrow_columns, PST_COUNT(narrow_columns));
    const struct schema *b = rk_schema(&k, TABLE_B, "other", false, all_columns, 5);
    uint64_t skipped = 0;
    for (int i = 0; i < 30; i++)
        for (int d = -1; d < 4; d++)
            random_frame(&k, a, b, (uint16_t)(LK_DAY + d)); /* more days at once than caches */
    struct rk_scan scan;
    rk_scan_start(&scan, &k, NARROW, LK_DAY - 1, UINT64_MAX);
    while (rk_scan_next(&scan))
        skipped++;
    struct rdb_figures f;
    rdb_figures(k.r, &f);
    assert_int_equal(f.skipped_rows, skipped);
    assert_int_equal(f.days, 9); /* 4 of one calendar, 5 of the other */
    assert_int_equal(owner.taken, f.rows);
    assert_true(owner.asked <= 10);
    assert_int_equal(owner.frames, f.frames);
    rdb_publish(k.r);
    uint64_t before = k.position;
    rk_eod(&k, "{\"calendar\":\"mars\",\"day\":9823}", LK_DAY);
    assert_int_equal(owner.n, 0);
    rk_eod(&k, "{\"calendar\":\"main\",\"day\":9823}", LK_DAY);
    assert_int_equal(owner.n, 1);
    const struct rdb_closed *c = &owner.closed[0];
    assert_true(c->calendar == 0 && c->day == LK_DAY && c->slot >= 0);
    assert_int_equal(c->position, k.position);
    uint32_t rows = rk_check(&k, NARROW, LK_DAY, before, 0, 0);
    assert_int_equal(c->rows, rows);
    assert_int_equal(info(&k, 0, LK_DAY, 0)->state, RDB_DAY_CLOSED);
    assert_int_equal(info(&k, 5, LK_DAY, 0)->state, RDB_DAY_OPEN);
    /* rows of a closed day open another slot; those of the other calendar go on */
    random_frame(&k, a, b, LK_DAY);
    rdb_publish(k.r);
    rk_check(&k, NARROW, LK_DAY, before, 0, 0);
    rk_check(&k, NARROW, LK_DAY, UINT64_MAX, rows, 1);
    rk_check(&k, TABLE_B, LK_DAY, UINT64_MAX, 0, 0);
    assert_int_equal(info(&k, 0, LK_DAY, 1)->flags, RDB_DAY_AGAIN);
    rk_eod(&k, "{\"calendar\":\"tokyo\",\"day\":9823}", LK_DAY);
    rk_eod(&k, "{\"calendar\":\"tokyo\",\"day\":7}", 7); /* nothing of it in memory */
    assert_int_equal(owner.n, 3);
    assert_int_equal(owner.closed[2].slot, -1);
    rdb_figures(k.r, &f);
    assert_int_equal(f.unknown_marks, 1);
    /* a closed day goes, the others stay; an open one cannot */
    const struct rdb_day_info *d = info(&k, 0, LK_DAY, 0);
    uint32_t slot = d->slot, generation = d->generation, free_before = f.free;
    assert_false(rdb_release_day(k.r, slot, generation + 1));
    assert_false(rdb_release_day(k.r, info(&k, 0, LK_DAY + 1, 0)->slot,
                                 info(&k, 0, LK_DAY + 1, 0)->generation));
    assert_true(rdb_release_day(k.r, slot, generation));
    assert_false(rdb_release_day(k.r, slot, generation));
    while (rdb_idle(k.r))
        ;
    rdb_figures(k.r, &f);
    assert_true(f.free > free_before);
    assert_int_equal(info(&k, 0, LK_DAY, 0)->flags, RDB_DAY_AGAIN);
    rk_check(&k, NARROW, LK_DAY, UINT64_MAX, rows, 0);
    for (int i = 1; i < 4; i++)
        rk_check(&k, NARROW, (uint16_t)(LK_DAY + i), UINT64_MAX, 0, 0);
    rk_close(&k);
}

/* A changed schema is another part of the same day; gap rows are rows like others. */
static void versions(void **state)
{
    (void)state;
    struct rk k;
    rk_open(&k, 8, NULL);
    const struct schema *a = rk_schema(&k, 10, "t", false, all_columns, 9);
    const struct schema *b = rk_schema(&k, 11, "t", false, all_columns, 12);
    struct schema g;
    assert_true(tables_gap(&g, NULL));
    g.id = 12;
    assert_true(schema_set_add(k.set, &g, NULL));
    for (int i = 0; i < 4; i++)
        random_frame(&k, a, a, LK_DAY);
    for (int i = 0; i < 4; i++)
        random_frame(&k, a, b, LK_DAY);
    pk_clear(&k.pk);
    for (uint32_t i = 0; i < 5; i++)
        pk_gap(&k.pk, &g, 1, 2, 10 * i, 10 * i + 3, 4);
    assert_int_equal(rk_append(&k, FRAME_GAP, LK_DAY), 5);
    rdb_publish(k.r);
    rk_check(&k, 10, LK_DAY, UINT64_MAX, 0, 0);
    rk_check(&k, 11, LK_DAY, UINT64_MAX, 0, 0);
    assert_int_equal(rk_check(&k, 12, LK_DAY, UINT64_MAX, 0, 0), 5);
    rk_close(&k);
}

/* ---- what is no row ---- */

static void malformed(void **state)
{
    (void)state;
    struct rk k;
    rk_open(&k, 8, NULL);
    const struct schema *all =
        rk_schema(&k, ALL, "all", false, all_columns, PST_COUNT(all_columns));
    pk_clear(&k.pk);
    rk_row(&k, all, 1, 1);
    pk_row(&k.pk, TABLE_DERIVED, 7, 0, 32); /* derived: passed over */
    rk_row(&k, all, 2, 2);
    pk_row(&k.pk, ALL, 3, 3, 24);   /* too short */
    pk_row(&k.pk, 999, 3, 3, 64);   /* unknown */
    pk_row(&k.pk, 60000, 3, 3, 64); /* no table id */
    rk_row(&k, all, RK_SYMBOLS, 4); /* beyond the symbol table */
    uint8_t *row = rk_row(&k, all, 5, 5);
    put32(row + all->col[20].offset, 65000); /* a string outside */
    put32(row + all->col[20].offset + 4, 65000);
    rk_row(&k, all, RK_SYMBOLS - 1, 6);
    rk_row(&k, all, 1, 7);
    struct record *last = (struct record *)rk_row(&k, all, 1, 8);
    last->bytes = 65528; /* the frame ends before */
    assert_int_equal(rk_append(&k, FRAME_DATA, LK_DAY), 4);
    struct rdb_figures f;
    rdb_figures(k.r, &f);
    assert_int_equal(f.bad_rows, 6);
    assert_int_equal(f.derived, 1);
    rdb_publish(k.r);
    struct rdb_part_view v;
    assert_true(rdb_part_open(rdb_map_of(k.r), 0, ALL, LK_DAY, 4, &v, NULL));
    static const int64_t times[] = {1, 2, 6, 7};
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(le64(rdb_value(&v, i, 0)), times[i]);
    rk_close(&k);
}

/* ---- memory ---- */

/* Fills one day until it is incomplete: exactly the rows below; then the next day takes the freed
 * extents. */
static void memory(void **state)
{
    (void)state;
    struct rk k;
    rk_open(&k, 6, NULL);
    const struct schema *all =
        rk_schema(&k, ALL, "all", false, all_columns, PST_COUNT(all_columns));
    const struct schema *s =
        rk_schema(&k, NARROW, "narrow", false, narrow_columns, PST_COUNT(narrow_columns));
    struct rdb_figures f;
    for (int round = 0; round < 3; round++) {
        uint16_t day = (uint16_t)(LK_DAY + round);
        uint64_t from = k.position;
        do {
            random_frame(&k, all, s, day);
            rdb_figures(k.r, &f);
        } while (!(info(&k, 0, day, 0)->flags & RDB_DAY_INCOMPLETE));
        for (int i = 0; i < 5; i++)
            random_frame(&k, all, s, day);
        const struct rdb_day_info *d = info(&k, 0, day, 0);
        uint64_t below = d->incomplete_from, refused = d->refused, rows = d->rows;
        assert_true(below > from && below < k.position);
        rdb_publish(k.r);
        uint32_t have = rk_check(&k, ALL, day, below, 0, 0);
        have += rk_check(&k, NARROW, day, below, 0, 0);
        assert_int_equal(have, rows);
        uint64_t total = 0;
        for (unsigned t = 0; t < 2; t++) {
            struct rk_scan scan;
            rk_scan_start(&scan, &k, t ? NARROW : ALL, day, UINT64_MAX);
            while (rk_scan_next(&scan))
                total++;
        }
        assert_int_equal(total, rows + refused); /* nothing without a count */
        rk_eod(&k, "{}", day);
        d = info(&k, 0, day, 0);
        assert_int_equal(d->state, RDB_DAY_CLOSED);
        assert_true(rdb_release_day(k.r, d->slot, d->generation));
        rdb_idle(k.r);
        rdb_figures(k.r, &f);
        assert_int_equal(f.free, f.extents);
        assert_int_equal(f.used, 0);
        assert_int_equal(f.days + f.parts, 0);
        struct rdb_cut *cut = malloc(sizeof *cut);
        assert_true(rdb_cut_read(rdb_map_of(k.r), cut));
        for (uint32_t i = 0; i < cut->nparts; i++)
            assert_int_equal(cut->part[i].generation, 0);
        free(cut);
    }
    rk_close(&k);
}

/* Memory is faulted ahead when idle, and not again. */
static void ahead(void **state)
{
    (void)state;
    struct rk k;
    rk_open(&k, 8, &(struct rdb_config){.ahead = 3});
    struct rdb_figures f;
    unsigned steps = 0;
    while (rdb_idle(k.r))
        steps++;
    rdb_figures(k.r, &f);
    assert_int_equal(f.faulted, 3);
    assert_int_equal(steps, 3 * RK_EXTENT >> 20);
    const struct schema *s =
        rk_schema(&k, NARROW, "narrow", false, narrow_columns, PST_COUNT(narrow_columns));
    random_frame(&k, s, s, LK_DAY);
    rdb_figures(k.r, &f);
    assert_int_equal(f.cold, 0);
    rk_close(&k);
}

/* ---- keys ---- */

static void keyed(void **state)
{
    (void)state;
    struct rk k;
    rk_open(&k, 16, NULL);
    struct schema s;
    static const struct column_def cols[] = {
        {"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL}, {"id", PST_STRING},
        {"price", PST_FLOAT},    {"v", PST_LONG},
    };
    assert_true(schema_make(&s, KEYED, "keyed", false, cols, PST_COUNT(cols), NULL));
    s.nkeys = 3;
    s.keys[0] = 2;
    s.keys[1] = 1;
    s.keys[2] = 3;
    assert_true(schema_set_add(k.set, &s, NULL));
    /* key = (text, sym, price); what differs in bits only is one key: NaNs, zeros */
    enum { ROWS = 40000 };
    static uint32_t key_of[ROWS];
    static uint64_t seen[200000];
    uint32_t nkeys = 0;
    memset(seen, 0xFF, sizeof seen);
    for (uint32_t n = 0; n < ROWS;) {
        pk_clear(&k.pk);
        for (uint32_t j = 0; j < 500; j++, n++) {
            uint32_t text = (uint32_t)(rk_next(&k) % 30), sym = (uint32_t)(rk_next(&k) % 40);
            uint32_t price = (uint32_t)(rk_next(&k) % 8), bits = (uint32_t)(rk_next(&k) % 2);
            char word[8];
            int len = text ? sprintf(word, "k%u", text) : 0;
            uint8_t *row =
                pk_row(&k.pk, KEYED, sym ? sym : PST_NULL_SYMBOL, n, (uint16_t)(s.fixed + 8));
            put32(row + s.col[2].offset, s.fixed);
            put32(row + s.col[2].offset + 4, (uint32_t)len);
            memcpy(row + s.fixed, word, (size_t)len);
            put64(row + s.col[3].offset, price == 0   ? (uint64_t)bits << 63
                                         : price == 1 ? PST_NULL_FLOAT_BITS + bits
                                                      : 0x4000000000000000ull + price);
            put64(row + s.col[4].offset, n);
            uint32_t id = (text * 40 + sym) * 8 + price;
            if (seen[id] == UINT64_MAX)
                seen[id] = nkeys++;
            key_of[n] = (uint32_t)seen[id];
        }
        rk_append(&k, FRAME_DATA, LK_DAY);
    }
    rdb_publish(k.r);
    assert_int_equal(rk_check(&k, KEYED, LK_DAY, UINT64_MAX, 0, 0), ROWS);
    for (uint32_t cut = ROWS; cut; cut /= 3) {
        struct rdb_part_view v;
        assert_true(rdb_part_open(rdb_map_of(k.r), 0, KEYED, LK_DAY, cut, &v, NULL));
        static uint32_t last[200000], count[200000];
        memset(count, 0, sizeof count);
        for (uint32_t i = 0; i < cut; i++) {
            last[key_of[i]] = i;
            count[key_of[i]]++;
        }
        assert_int_equal(v.keys, nkeys < cut ? nkeys : cut);
        for (uint32_t i = 0; i < v.keys; i++) {
            uint32_t row;
            struct rdb_list_view l;
            assert_true(rdb_key_open(&v, i, &l));
            assert_int_equal(l.count, count[i]);
            assert_int_equal(rdb_key_last(&v, i, &row), count[i] != 0);
            assert_true(!count[i] || row == last[i]);
        }
        struct rdbread in;
        struct rdbread_part p;
        static uint32_t rows[ROWS];
        assert_true(rdbread_open(&in, rdb_fd(k.r)) && rdbread_part(&in, 0, &p));
        p.rows = cut;
        for (uint32_t i = 0; i < p.keys; i++) {
            uint32_t n = rdbread_key(&in, &p, i, rows, ROWS);
            assert_int_equal(n, count[i]);
            for (uint32_t j = 0; j < n; j++)
                assert_int_equal(key_of[rows[j]], i);
        }
        rdbread_close(&in);
    }
    rk_close(&k);
}

/* ---- again, back, lost ---- */

/* Every frame twice, in any order of repetition: the rows are there once. */
static void twice(void **state)
{
    (void)state;
    struct rk k;
    memset(&owner, 0, sizeof owner);
    rk_open(&k, 16, &owned);
    const struct schema *a =
        rk_schema(&k, NARROW, "narrow", false, narrow_columns, PST_COUNT(narrow_columns));
    for (int i = 0; i < 12; i++)
        random_frame(&k, a, a, (uint16_t)(LK_DAY + i % 2));
    struct rdb_figures f;
    rdb_figures(k.r, &f);
    uint64_t rows = f.rows;
    /* taken back to the middle, where only the second day has rows above */
    uint64_t at[12], n = 0;
    for (uint64_t p = 0; p < k.used; p += ((const struct frame *)(k.journal + p))->length)
        at[n++] = p;
    assert_int_equal(n, 12);
    const struct frame *last = (const struct frame *)(k.journal + at[11]);
    assert_int_equal(last->day, LK_DAY + 1);
    uint64_t old_end = last->position, old_first = k.position;
    uint64_t second = ((const struct frame *)(k.journal + at[1]))->position;
    uint64_t seek = rdb_rewound(k.r, old_end, 1ull << 40);
    assert_int_equal(seek, second); /* the first frame of the day that lost rows */
    const struct rdb_day_info *d = info(&k, 0, LK_DAY + 1, 0);
    assert_true(d->flags & RDB_DAY_VOID && d->state == RDB_DAY_CLOSED);
    uint32_t void_slot = d->slot, void_generation = d->generation;
    /* the journal from there: frames of the first day come again too */
    for (int i = 1; i < 11; i++)
        rdb_append(k.r, k.set, (const struct frame *)(k.journal + at[i]));
    k.used = at[11]; /* the last frame never was */
    k.position = 1ull << 40;
    random_frame(&k, a, a, LK_DAY + 1);
    rdb_publish(k.r);
    uint32_t now = rk_check(&k, NARROW, LK_DAY, UINT64_MAX, 0, 0);
    now += rk_check(&k, NARROW, LK_DAY + 1, UINT64_MAX, 0, 0);
    assert_true(now != rows || old_first);
    rdb_figures(k.r, &f);
    assert_true(f.repeated_rows > 0);
    assert_int_equal(f.rewound, 1);
    /* the void slot is in no cut and can be given back */
    struct rdb_cut *cut = malloc(sizeof *cut);
    assert_true(rdb_cut_read(rdb_map_of(k.r), cut));
    uint64_t shown = 0;
    for (uint32_t i = 0; i < cut->nparts; i++)
        if (cut->part[i].generation)
            shown += cut->part[i].rows;
    assert_int_equal(shown, now);
    free(cut);
    assert_true(rdb_release_day(k.r, void_slot, void_generation));
    rdb_idle(k.r);
    rk_check(&k, NARROW, LK_DAY + 1, UINT64_MAX, 0, 0);
    /* below everything that is in memory nothing is void */
    assert_int_equal(rdb_rewound(k.r, k.position, 2ull << 40), UINT64_MAX);
    rk_check(&k, NARROW, LK_DAY, UINT64_MAX, 0, 0);
    rdb_lost(k.r, k.position, k.position + 5000);
    rdb_publish(k.r);
    assert_true(info(&k, 0, LK_DAY, 0)->flags & RDB_DAY_LOST);
    assert_int_equal(info(&k, 0, LK_DAY, 0)->lost_bytes, 5000);
    /* an end of day may have been lost: the owner is asked again, also for days that go on */
    unsigned asked = owner.asked;
    k.position += 5000;
    random_frame(&k, a, a, LK_DAY);
    assert_true(owner.asked > asked);

    rk_close(&k);
}

/* The cursor drives it: files of two lives of a journal, a lost range, a restart, repeats in two
 * files. */
static void rounds(void **state)
{
    (void)state;
    struct rk k;
    memset(&owner, 0, sizeof owner);
    rk_open(&k, 16, &owned);
    const struct schema *s =
        rk_schema(&k, NARROW, "narrow", false, narrow_columns, PST_COUNT(narrow_columns));
    struct mem_io *m = mem_new();
    static struct lk file;
    static struct pk pk;
    uint64_t rows = 0;
    lk_start(&file, 4096, LK_DAY, 0);
    lk_schema(&file, s);
    for (int part = 0; part < 3; part++) {
        for (int i = 0; i < 50; i++) {
            for (int j = 0; j < 30; j++, rows++)
                pk_row(&pk, NARROW, (uint32_t)j, (int64_t)rows, s->fixed);
            pk_frame(&pk, &file, FRAME_DATA);
        }
        if (part == 0)
            file.position += 8000; /* in no file */
        if (part == 1) {
            char json[100];
            uint64_t old = file.position;
            file.position = 1ull << 40;
            sprintf(json, "{\"old_end\":%llu,\"start\":%llu,\"reason\":\"unclean\"}",
                    (unsigned long long)old, (unsigned long long)file.position);
            lk_mark(&file, MARK_RESTART, json);
        }
    }
    lk_mark(&file, MARK_EOD, "{\"calendar\":\"main\",\"day\":9823}");
    lk_block(&file);
    lk_save(&file, m, "/log/log2026.11.23");
    struct cursor c;
    struct cursor_config cfg = {
        .io = &m->io, .dirs = {"/log"}, .prefix = "log", .instance = LK_INSTANCE};
    struct err err;
    if (!cursor_open(&c, &cfg, &err))
        fail_msg("%s", err.text);
    uint32_t frames, total = 0, turns = 0;
    enum rdb_round round;
    do {
        round = rdb_step(k.r, &c, 20000, &frames);
        total += frames;
        turns++;
    } while (round == RDB_ROUND_MORE);
    assert_int_equal(round, RDB_ROUND_END);
    assert_true(turns > 5);
    assert_int_equal(total, 153);
    assert_int_equal(owner.n, 1);
    assert_int_equal(owner.closed[0].rows, rows);
    assert_true(owner.closed[0].flags & RDB_DAY_LOST);
    struct rdb_figures f;
    rdb_figures(k.r, &f);
    assert_int_equal(f.rows, rows);
    assert_int_equal(f.lost_bytes, 8000);
    assert_int_equal(f.rewound, 0);
    assert_int_equal(f.position, file.position);
    struct rdb_part_view v;
    assert_true(rdb_part_open(rdb_map_of(k.r), 0, NARROW, LK_DAY, (uint32_t)rows, &v, NULL));
    for (uint32_t i = 0; i < rows; i++)
        assert_int_equal(le64(rdb_value(&v, i, 0)), i);
    cursor_close(&c);
    lk_free(&file);
    mem_free(m);
    rk_close(&k);
}

static void refused(void **state)
{
    (void)state;
    struct err err;
    assert_null(rdb_create(&(struct rdb_config){.bytes = 1 << 20, .symbols_max = 100}, &err));
    assert_non_null(strstr(err.text, "rdb_memory"));
    assert_null(rdb_create(&(struct rdb_config){.bytes = 64 << 20, .symbols_max = 0}, &err));
    assert_null(rdb_create(
        &(struct rdb_config){.bytes = 64 << 20, .symbols_max = 9, .extent_bytes = 12345}, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type), cmocka_unit_test(chunks),   cmocka_unit_test(bounds),
        cmocka_unit_test(days),       cmocka_unit_test(versions), cmocka_unit_test(malformed),
        cmocka_unit_test(memory),     cmocka_unit_test(ahead),    cmocka_unit_test(keyed),
        cmocka_unit_test(twice),      cmocka_unit_test(rounds),   cmocka_unit_test(refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rk_portable = true; /* what another machine runs */
    const struct CMUnitTest portable[] = {
        cmocka_unit_test(every_type),
        cmocka_unit_test(versions),
        cmocka_unit_test(memory),
    };
    return failed + cmocka_run_group_tests(portable, NULL, NULL);
}
