/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger's count: what each shape of run adds, gaps by reason, and lies found by the slow mode.
 */
#include "ledger_count.h"
#include "rows_kit.h"

enum { ITCH, S1, S2, LOST, DOWN };
#define QUOTE 3

static struct dictionary d;
static struct ledger_count fast, slow;
static struct schema gap_table;
static struct pk pk;
static uint8_t buf[FRAME_MAX] pst_aligned(64);
static uint64_t position = 4096;

static const struct frame *make(uint8_t kind)
{
    const struct frame *f = pk_make(&pk, buf, kind, position, LK_DAY);
    position += f->length;
    return f;
}
static void count(uint8_t kind)
{
    const struct frame *f = make(kind);
    ledger_frame(&fast, &d, f);
    ledger_frame(&slow, &d, f);
}
static const struct ledger_session *both(uint32_t session)
{
    const struct ledger_session *a = ledger_find(&fast, ITCH, session);
    const struct ledger_session *b = ledger_find(&slow, ITCH, session);
    assert_non_null(a);
    assert_memory_equal(a, b, sizeof *a);
    return a;
}

static void shapes(void **state)
{
    (void)state;
    pk_rows(&pk, QUOTE, ITCH, S1, 10, 5, 0);
    pk_rows(&pk, QUOTE, ITCH, S2, 1, 1, 0); /* runs of two sessions in one frame */
    pk_rows(&pk, QUOTE, ITCH, S1, 15, 5, ROW_AFTER_GAP | ROW_END_OF_EVENT);
    count(FRAME_DATA);
    pk_rows(&pk, QUOTE, ITCH, S1, 3, 4, ROW_LATE);
    pk_rows(&pk, QUOTE, ITCH, S1, 12, 2, ROW_DIVERGENT);
    pk_rows(&pk, QUOTE, ITCH, S1, 5, 2, ROW_DIVERGENT | ROW_LATE); /* late copies too: copies */
    pk_rows(&pk, QUOTE, ITCH, S1, 0, 7, RUN_UNSEQUENCED);
    count(FRAME_DATA);
    const struct ledger_session *s = both(S1);
    assert_int_equal(s->on_time, 10);
    assert_int_equal(s->late, 4);
    assert_int_equal(s->divergent, 4);
    assert_int_equal(s->unsequenced, 7);
    assert_int_equal(s->rows, 25);
    assert_int_equal(s->first, 10);
    assert_int_equal(s->next, 20);
    assert_int_equal(both(S2)->on_time, 1);
    assert_null(ledger_find(&fast, ITCH, DOWN));
    assert_int_equal(fast.runs, 7);
    assert_int_equal(fast.frames, 2);
    assert_int_equal(fast.bytes, position - 4096);
    assert_int_equal(slow.table_rows[QUOTE], 26);
    assert_int_equal(fast.inconsistent + slow.inconsistent, 0);
}

/* One number a packet, however many rows and runs it fills. */
static void packet_sequenced(void **state)
{
    (void)state;
    pk_rows(&pk, QUOTE, ITCH, S1, 100, 3, RUN_PACKET_SEQ);
    pk_rows(&pk, QUOTE, ITCH, S1, 101, 2, RUN_PACKET_SEQ);
    count(FRAME_DATA);
    pk_run(&pk, ITCH, S1, 0, 101, RUN_PACKET_SEQ)->seqs = 0; /* its further part, next frame */
    pk_row(&pk, QUOTE, 0, 0, 32);
    pk_rows(&pk, QUOTE, ITCH, S1, 102, 1, RUN_PACKET_SEQ);
    pk_rows(&pk, QUOTE, ITCH, S1, 90, 2, RUN_PACKET_SEQ | ROW_LATE);
    pk_run(&pk, ITCH, S1, 0, 90, RUN_PACKET_SEQ | ROW_LATE)->seqs = 0;
    pk_row(&pk, QUOTE, 0, 0, 32);
    count(FRAME_DATA);
    pk_run(&pk, ITCH, S1, 0, 103, RUN_PACKET_SEQ)->seqs = 6; /* an opaque block: one row */
    pk_row(&pk, QUOTE, 0, 0, 64);
    count(FRAME_DATA);
    const struct ledger_session *s = both(S1);
    assert_int_equal(s->on_time, 3 + 6);
    assert_int_equal(s->late, 1);
    assert_int_equal(s->rows, 11);
    assert_int_equal(s->first, 100);
    assert_int_equal(s->next, 109);
    assert_int_equal(slow.inconsistent, 0);
    /* a block of several numbers is one row: two rows that claim six are a lie */
    pk_run(&pk, ITCH, S1, 0, 109, RUN_PACKET_SEQ)->seqs = 6;
    pk_row(&pk, QUOTE, 0, 0, 32);
    pk_row(&pk, QUOTE, 0, 0, 32);
    count(FRAME_DATA);
    assert_int_equal(slow.inconsistent, 1);
}

static void gaps(void **state)
{
    (void)state;
    pk_gap(&pk, &gap_table, ITCH, S1, 6, 9, LOST);
    pk_gap(&pk, &gap_table, ITCH, S1, 1, 5, DOWN);
    pk_gap(&pk, &gap_table, ITCH, S2, 7, 7, LOST);
    count(FRAME_GAP);
    pk_rows(&pk, QUOTE, ITCH, S1, 10, 1, 0);
    count(FRAME_DATA);
    pk_gap(&pk, &gap_table, ITCH, S1, 11, 20, LOST);
    count(FRAME_GAP);
    const struct ledger_session *s = both(S1);
    assert_int_equal(s->gap_seqs, 19);
    assert_int_equal(s->gap_frames, 3);
    assert_int_equal(s->reasons, 2);
    assert_int_equal(ledger_gap_seqs(s, &d, "lost"), 14);
    assert_int_equal(ledger_gap_seqs(s, &d, "down"), 5);
    assert_int_equal(ledger_gap_seqs(s, &d, "before_start"), 0);
    assert_int_equal(ledger_gap_seqs(both(S2), &d, "lost"), 1);
    assert_int_equal(slow.table_rows[gap_table.id], 4);
    /* a record of a gap frame that is none */
    pk_row(&pk, QUOTE, 0, 0, 32);
    count(FRAME_GAP);
    assert_int_equal(fast.unknown_gap, 1);
    /* more reasons than are told apart: the sum stays right */
    for (uint32_t i = 0; i < LEDGER_REASONS + 3; i++)
        pk_gap(&pk, &gap_table, ITCH, S2, 100 + i, 100 + i, 50 + i);
    count(FRAME_GAP);
    assert_int_equal(both(S2)->gap_seqs, 1 + LEDGER_REASONS + 3);
    assert_int_equal(fast.reasons_full, 4);
}

/* Published tables have no runs; marks and the like are frames only. */
static void plain(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++)
        pk_row(&pk, 9, 0, i, 48);
    const struct frame *f = make(FRAME_DATA);
    ledger_frame(&fast, &d, f);
    ledger_frame(&slow, &d, f);
    assert_int_equal(fast.plain_rows, 6);
    assert_int_equal(slow.plain_rows, 6);
    assert_int_equal(slow.table_rows[9], 6);
    count(FRAME_MARK);
    assert_int_equal(fast.frames, 2);
    assert_int_equal(fast.inconsistent + slow.inconsistent + fast.count + slow.count, 0);
}

/* Headers and packet records alone count the same as whole frames. */
static void runs_only(void **state)
{
    (void)state;
    struct packet_record runs[3];
    pk_rows(&pk, QUOTE, ITCH, S1, 1, 9, 0);
    runs[0] = *(struct packet_record *)pk.data;
    uint32_t at = pk.len;
    pk_rows(&pk, QUOTE, ITCH, S1, 20, 2, ROW_LATE);
    runs[1] = *(struct packet_record *)(pk.data + at);
    at = pk.len;
    pk_rows(&pk, QUOTE, ITCH, S2, 7, 3, RUN_PACKET_SEQ);
    runs[2] = *(struct packet_record *)(pk.data + at);
    const struct frame *f = make(FRAME_DATA);
    ledger_frame(&slow, &d, f);
    ledger_runs(&fast, f, runs, 3);
    assert_int_equal(both(S1)->on_time, 9);
    assert_int_equal(both(S1)->late, 2);
    assert_int_equal(both(S2)->on_time, 1);
    assert_int_equal(fast.bytes, slow.bytes);
    ledger_runs(&fast, f, NULL, 0);
    assert_int_equal(fast.plain_rows, f->count);
}

/* Every lie of a packet record or a frame about what follows is found, and only named once. */
static void lies(void **state)
{
    (void)state;
    for (int lie = 0; lie < 7; lie++) {
        struct ledger_count l;
        assert_true(ledger_init(&l, true, NULL));
        pk_rows(&pk, QUOTE, ITCH, S1, 1, 4, 0);
        uint32_t second = pk.len;
        pk_rows(&pk, QUOTE, ITCH, S1, 5, 4, 0);
        struct packet_record *p = (struct packet_record *)pk.data;
        struct packet_record *q = (struct packet_record *)(pk.data + second);
        switch (lie) {
        case 1:
            p->rows++;
            break;
        case 2:
            q->seqs--;
            break;
        case 3:
            q->run_bytes -= 8;
            break;
        case 4:
            p->run_bytes = 1u << 30;
            break;
        case 5:
            pk.count++;
            break;
        case 6:
            pk.data[second + 64 + 2] = 12; /* a row's length */
            break;
        default:
            break;
        }
        ledger_frame(&l, &d, make(FRAME_DATA));
        if ((l.inconsistent > 0) != (lie > 0) || (*l.first_fault != 0) != (lie > 0))
            fail_msg("lie %d: %llu faults, \"%s\"", lie, (unsigned long long)l.inconsistent,
                     l.first_fault);
        ledger_free(&l);
    }
    /* the fast mode sees what does not tile */
    pk_rows(&pk, QUOTE, ITCH, S1, 1, 4, 0);
    ((struct packet_record *)pk.data)->run_bytes += 8;
    ledger_frame(&fast, &d, make(FRAME_DATA));
    assert_int_equal(fast.inconsistent, 1);
}

static void many_sessions(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 3000; i++) {
            pk_rows(&pk, QUOTE, i % 7, i, 1 + round, 1, 0);
            ledger_frame(&fast, &d, make(FRAME_DATA));
        }
    assert_int_equal(fast.count, 3000);
    for (uint32_t i = 0; i < 3000; i++) {
        const struct ledger_session *s = ledger_find(&fast, i % 7, i);
        assert_non_null(s);
        assert_int_equal(s->on_time, 2);
        assert_int_equal(s->next, 3);
    }
    assert_null(ledger_find(&fast, 8, 1));
}

static int set_up(void **state)
{
    (void)state;
    static const char *const texts[] = {"itch", "S1", "S2", "lost", "down"};
    position = 4096;
    pk_clear(&pk);
    if (!dictionary_init(&d, NULL) || !ledger_init(&fast, false, NULL) ||
        !ledger_init(&slow, true, NULL) || !tables_gap(&gap_table, NULL))
        return -1;
    gap_table.id = 2;
    for (uint32_t i = 0; i < PST_COUNT(texts); i++)
        dictionary_teach(&d, i, texts[i], (uint32_t)strlen(texts[i]));
    return schema_set_add(d.schemas, &gap_table, NULL) ? 0 : -1;
}
static int tear_down(void **state)
{
    (void)state;
    ledger_free(&fast);
    ledger_free(&slow);
    dictionary_free(&d);
    return 0;
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(shapes), CASE(packet_sequenced), CASE(gaps), CASE(plain), CASE(runs_only),
        CASE(lies),   CASE(many_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
