/* SPDX-License-Identifier: Apache-2.0 */
/* Inject rings: room, wrapping, tickets and refusals; and the whole path beside an appender thread.
 */
#include "journal_kit.h"
#include <pthread.h>

static void test_room_wrap_and_tickets(void **state)
{
    (void)state;
    struct inject q;
    struct err e;
    assert_true(inject_create(&q, 1, &e));
    assert_int_equal(q.size, INJECT_MIN);
    assert_null(inject_peek(&q));
    uint64_t sent = 0, pos = 0, x = 1;
    while (sent < 5 * INJECT_MIN) {
        x = x * 6364136223846793005ull + 1;
        uint32_t n = 32 + 8 * (uint32_t)((x >> 40) % 9000);
        uint8_t *p = inject_reserve(&q, n);
        assert_non_null(p);
        memset(p, (int)(x >> 60), n);
        ((struct inject_batch *)p)->bytes = n;
        uint64_t t = inject_commit(&q, n);
        sent += n;
        assert_int_equal(t, sent);
        uint64_t position;
        assert_false(inject_taken(&q, t, &position));
        const struct inject_batch *b = inject_peek(&q);
        assert_int_equal(b->bytes, n);
        assert_int_equal(inject_ready(&q), n);
        for (uint32_t i = 4; i < n; i++)
            assert_int_equal(((const uint8_t *)b)[i], (uint8_t)(x >> 60));
        pos += 100;
        bool refuse = x >> 63;
        if (refuse)
            inject_refuse(&q, n, pos, INJECT_SYMBOLS_LIMIT);
        else
            inject_release(&q, n, pos);
        assert_true(inject_taken(&q, t, &position));
        assert_int_equal(position, pos);
        assert_int_equal(inject_verdict(&q, t), refuse ? INJECT_SYMBOLS_LIMIT : INJECT_ACCEPTED);
        assert_null(inject_peek(&q));
    }
    for (uint64_t room = inject_room(&q); room; room = inject_room(&q)) {
        assert_non_null(inject_reserve(&q, 4096));
        inject_commit(&q, 4096);
    }
    assert_null(inject_reserve(&q, 8));
    inject_destroy(&q);
    inject_destroy(&q);
}

/* Two producers, the appender and a guarded reader, all at once. */
#define BATCHES 3000u

struct path {
    struct kit *k;
    struct inject q[2];
    _Atomic uint32_t done;
    uint64_t rows_sent[2];
};
struct producer {
    struct path *p;
    unsigned me;
};

static void *produce(void *arg)
{
    struct producer *me = arg;
    struct path *p = me->p;
    struct kit *k = p->k;
    struct inject_rows w;
    struct err e;
    struct inject_rows_config c = {&p->q[me->me], &k->symbols, k->schemas, k->status,
                                   4096,          UINT32_MAX,  KIT_DAY};
    pst_must(inject_rows_init(&w, &c, &e));
    char sym[16];
    uint64_t seq = 1;
    for (unsigned i = 0; i < BATCHES; i++) {
        while (inject_rows_room(&w) < 64 * 1024)
            sched_yield();
        unsigned n = 1 + i * 7 % 50;
        if (me->me == 0)
            kit_run(&w.rows, seq, 0, KIT_DAY);
        for (unsigned j = 0; j < n; j++) {
            snprintf(sym, sizeof sym, "s%u", (i + j * j) % 2000); /* many are new to both at once */
            if (me->me == 0)
                kit_quote_row(k, &w.rows, sym, (double)seq);
            else
                kit_trade_row(k, &w, sym, sym, 0);
            seq++;
        }
        inject_rows_flush(&w);
    }
    p->rows_sent[me->me] = seq - 1;
    inject_rows_fini(&w);
    atomic_fetch_add(&p->done, 1);
    return NULL;
}

static void *append(void *arg)
{
    struct path *p = arg;
    for (;;) {
        bool last = load_acquire(&p->done) == 2;
        if (!appender_take(&p->k->app, 8) && last && !inject_peek(&p->q[0]) &&
            !inject_peek(&p->q[1]))
            break;
    }
    atomic_fetch_add(&p->done, 1);
    return NULL;
}

static void test_producers_appender_and_reader(void **state)
{
    (void)state;
    struct path *p = calloc(1, sizeof *p);
    struct kit *k = p->k = kit_new(8192, UINT32_MAX);
    struct err e;
    for (unsigned i = 0; i < 2; i++) {
        assert_true(inject_create(&p->q[i], INJECT_MIN, &e));
        struct inject_options o = {UINT32_MAX, 4096, i == 0};
        assert_true(appender_add_inject(&k->app, &p->q[i], (uint16_t)(i + 1), &o, &e));
    }
    pthread_t t[3];
    struct producer pr[2] = {{p, 0}, {p, 1}};
    pthread_create(&t[0], NULL, produce, &pr[0]);
    pthread_create(&t[1], NULL, produce, &pr[1]);
    pthread_create(&t[2], NULL, append, p);
    uint64_t rows[2] = {0, 0}, seq = 1;
    for (;;) {
        bool last = load_acquire(&p->done) == 3;
        const struct frame *f = kit_next(k); /* checks the frame and that its ids are explained */
        if (!f) {
            if (last)
                break;
            cpu_relax();
            continue;
        }
        if (f->kind == FRAME_DATA) {
            struct record_walk w;
            record_walk_start(&w, f);
            const struct record *r;
            while ((r = record_walk_next(&w))) {
                rows[f->source - 1]++;
                if (f->source == 1) {
                    assert_true(record_walk_seq(&w) == (int64_t)seq);
                    seq++;
                } else { /* the note repeats the symbol's text */
                    uint32_t n, m;
                    const char *note = record_string(r, k->trade->col[5].offset, &n);
                    const char *sym = symbols_text(&k->symbols, r->sym, &m);
                    assert_int_equal(n, m);
                    assert_memory_equal(note, sym, n);
                }
            }
        }
        store_release(&k->ring.head->guard, k->read);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(rows[0], p->rows_sent[0]);
    assert_int_equal(rows[1], p->rows_sent[1]);
    assert_int_equal(k->status->counter[COUNTER_APPEND_BAD_BATCHES], 0);
    assert_int_equal(k->read_symbols, symbols_count(&k->symbols));
    inject_destroy(&p->q[0]);
    inject_destroy(&p->q[1]);
    kit_free(k);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_room_wrap_and_tickets),
        cmocka_unit_test(test_producers_appender_and_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
