/* SPDX-License-Identifier: Apache-2.0 */
/* The rows interface on a sink of its own: when runs and frames begin and end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "core/rows.h"
#include "core/tables.h"

struct sink {
    struct rows rows;
    uint8_t buf[FRAME_MAX] pst_aligned(64);
    unsigned frames, runs;
    uint64_t seqs[64]; /* first sequence of every run flushed */
    uint32_t nrows[64], flags[64];
    uint16_t day[64];
};

static void sink_flush(struct rows *r)
{
    struct sink *s = r->owner;
    rows_close_run(r);
    if (!r->records)
        return;
    const uint8_t *at = r->base;
    const struct packet_record *p;
    bool bad = false;
    while ((p = packet_hop(&at, r->at, &bad))) {
        assert_true(s->runs < 64);
        s->seqs[s->runs] = p->seq;
        s->nrows[s->runs] = p->rows;
        s->flags[s->runs] = p->flags;
        s->day[s->runs++] = r->frame_day;
        assert_int_equal(p->seqs, p->flags & RUN_UNSEQUENCED  ? 0
                                  : p->flags & RUN_PACKET_SEQ ? 1
                                                              : p->rows);
    }
    assert_false(bad);
    s->frames++;
    r->at = r->base;
    r->records = 0;
}

static const struct rows_ops ops = {.flush = sink_flush};
static struct schema undecoded;

static struct sink *sink_new(void)
{
    struct sink *s = aligned_alloc(64, pst_align_up(sizeof *s, 64));
    memset(s, 0, sizeof *s);
    s->rows.base = s->rows.at = s->buf;
    s->rows.limit = s->buf + ROWS_FRAME_TARGET;
    s->rows.ops = &ops;
    s->rows.owner = s;
    struct err e;
    assert_true(tables_undecoded(&undecoded, &e));
    undecoded.id = 5;
    s->rows.undecoded = &undecoded;
    return s;
}

static void row(struct sink *s, uint32_t bytes)
{
    uint8_t *p = rows_reserve(&s->rows, bytes);
    memset(p, 0, bytes);
    *(struct record *)p = (struct record){5, (uint16_t)bytes, 0, 0};
    rows_commit(&s->rows, bytes);
}

static void run(struct sink *s, uint64_t seq, uint32_t flags, uint16_t day)
{
    struct run r = {.seq = seq, .flags = flags, .day = day, .rxtime = 3};
    rows_run(&s->rows, &r);
}

static void test_consecutive_packets_share_a_run(void **state)
{
    (void)state;
    struct sink *s = sink_new();
    run(s, 10, 0, 1);
    row(s, 32), row(s, 32);
    run(s, 12, 0, 1); /* goes on */
    row(s, 32);
    run(s, 14, 0, 1); /* 13 is missing */
    row(s, 32);
    sink_flush(&s->rows);
    assert_int_equal(s->runs, 2);
    assert_int_equal(s->frames, 1);
    assert_int_equal(s->seqs[0], 10);
    assert_int_equal(s->nrows[0], 3);
    assert_int_equal(s->seqs[1], 14);
    assert_int_equal(s->rows.rows_total, 4);
    free(s);
}

static void test_packet_sequences_and_unsequenced(void **state)
{
    (void)state;
    struct sink *s = sink_new();
    run(s, 7, RUN_PACKET_SEQ, 1);
    row(s, 32), row(s, 32);
    run(s, 8, RUN_PACKET_SEQ, 1); /* never extends */
    row(s, 32);
    run(s, 0, RUN_UNSEQUENCED, 1);
    row(s, 32);
    sink_flush(&s->rows);
    assert_int_equal(s->runs, 3);
    assert_int_equal(s->seqs[0], 7);
    assert_int_equal(s->nrows[0], 2);
    assert_int_equal(s->seqs[1], 8);
    assert_true((int64_t)s->seqs[2] == PST_NULL_LONG);
    free(s);
}

static void test_flags_split_runs(void **state)
{
    (void)state;
    struct sink *s = sink_new();
    run(s, 1, 0, 1);
    row(s, 32);
    rows_flags(&s->rows, 0); /* no change, no new run */
    row(s, 32);
    rows_flags(&s->rows, ROW_AFTER_GAP);
    row(s, 32);
    rows_flags(&s->rows, 0);
    row(s, 32);
    sink_flush(&s->rows);
    assert_int_equal(s->runs, 3);
    assert_int_equal(s->nrows[0], 2);
    assert_int_equal(s->seqs[1], 3);
    assert_int_equal(s->flags[1], ROW_AFTER_GAP);
    assert_int_equal(s->seqs[2], 4);
    free(s);
}

static void test_a_reservation_without_a_row_leaves_nothing(void **state)
{
    (void)state;
    struct sink *s = sink_new();
    run(s, 1, 0, 1);
    rows_reserve(&s->rows, 64); /* a decoder that changed its mind */
    sink_flush(&s->rows);
    assert_int_equal(s->frames, 0);
    assert_int_equal(s->rows.records, 0);
    row(s, 32);
    rows_flags(&s->rows, ROW_LATE);
    rows_reserve(&s->rows, 64);
    run(s, 2, 0, 1);
    row(s, 32);
    sink_flush(&s->rows);
    assert_int_equal(s->runs, 2);
    assert_int_equal(s->nrows[0] + s->nrows[1], 2);
    free(s);
}

static void test_days(void **state)
{
    (void)state;
    struct sink *s = sink_new();
    s->rows.min_day[0] = 100;
    run(s, 1, 0, 100);
    row(s, 32);
    run(s, 2, 0, 101);
    row(s, 32);
    run(s, 3, 0, 99); /* closed: the open day, flagged */
    row(s, 32);
    sink_flush(&s->rows);
    assert_int_equal(s->frames, 3);
    assert_int_equal(s->day[0], 100);
    assert_int_equal(s->day[1], 101);
    assert_int_equal(s->day[2], 100);
    assert_int_equal(s->flags[2], ROW_LATE_DAY);
    free(s);
}

static void test_a_frame_break_keeps_the_sequence(void **state)
{
    (void)state;
    struct sink *s = sink_new();
    run(s, 1, 0, 1);
    for (unsigned i = 0; i < 5000; i++)
        row(s, 40);
    sink_flush(&s->rows);
    assert_true(s->frames > 2 && s->frames == s->runs);
    uint64_t next = 1;
    for (unsigned i = 0; i < s->runs; i++) {
        assert_int_equal(s->seqs[i], next);
        next += s->nrows[i];
    }
    assert_int_equal(next, 5001);
    free(s);
}

static void test_undecoded(void **state)
{
    (void)state;
    struct sink *s = sink_new();
    static uint8_t msg[70000];
    for (unsigned i = 0; i < sizeof msg; i++)
        msg[i] = (uint8_t)(i * 31);
    for (uint32_t len = 0; len < 40; len++) {
        run(s, 1, RUN_PACKET_SEQ, 1);
        assert_int_equal(rows_undecoded(&s->rows, 'Z', 9, msg, len), len);
        const uint8_t *rec = (const uint8_t *)s->rows.head + sizeof(struct packet_record);
        const struct record *r = (const struct record *)rec;
        uint32_t n;
        const char *b = record_string(r, undecoded.col[SCHEMA_FEED_COLUMNS + 2].offset, &n);
        assert_int_equal(n, len);
        assert_memory_equal(b, msg, len);
        assert_int_equal(le32(rec + undecoded.col[SCHEMA_FEED_COLUMNS].offset), 'Z');
        for (const uint8_t *p = (const uint8_t *)b + n; p < rec + r->bytes; p++)
            assert_int_equal(*p, 0); /* padding is part of the CRC: never left to chance */
        sink_flush(&s->rows);
        s->runs = 0;
    }
    run(s, 1, RUN_PACKET_SEQ, 1);
    assert_int_equal(rows_undecoded(&s->rows, 1, 9, msg, sizeof msg), RECORD_MAX - undecoded.fixed);
    sink_flush(&s->rows);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_consecutive_packets_share_a_run),
        cmocka_unit_test(test_packet_sequences_and_unsequenced),
        cmocka_unit_test(test_flags_split_runs),
        cmocka_unit_test(test_a_reservation_without_a_row_leaves_nothing),
        cmocka_unit_test(test_days),
        cmocka_unit_test(test_a_frame_break_keeps_the_sequence),
        cmocka_unit_test(test_undecoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
