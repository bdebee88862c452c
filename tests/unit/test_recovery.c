/* SPDX-License-Identifier: Apache-2.0 */
/* What a start finds: ends, torn tails, holes, sessions, symbols, days, budget. */
#include <jansson.h>
#include "forged_tails.h"
#include "recovery_kit.h"

static void no_log(void **state)
{
    (void)state;
    struct recovery r;
    struct recovery_config cfg = config();
    cfg.lease_end = 0;
    run(&r, &cfg);
    assert_true(r.empty && r.clean);
    assert_int_equal(r.start, 0);
    assert_int_equal(r.open_day, -1);
    assert_int_equal(r.last_time, INT64_MIN);
    recovery_free(&r);
    /* positions below an old lease were used once */
    cfg.lease_end = LEASE;
    mem_put(mem, "/l/stranger", "x", 1);
    run(&r, &cfg);
    assert_true(r.empty && !r.clean);
    assert_int_equal(r.start, LEASE);
    assert_true(recovery_verify_rest(&r, 1 << 20));
    recovery_free(&r);
}

static void ends(void **state)
{
    (void)state;
    struct lk k;
    struct recovery r;
    struct recovery_config cfg = config();
    char json[200];
    start(&k);
    data(&k, S1, 1, 5);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_false(r.clean || r.empty);
    assert_int_equal(r.files, 1);
    assert_int_equal(r.old_end, k.position);
    assert_int_equal(r.start, LEASE);
    assert_int_equal(r.last_time, k.time - 1000);
    uint32_t json_len = recovery_restart_json(&r, r.start, NULL, json, sizeof json);
    assert_int_equal(json_len, strlen(json));
    json_t *o = json_loads(json, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(o, "old_end")), r.old_end);
    assert_int_equal(json_integer_value(json_object_get(o, "start")), LEASE);
    assert_string_equal(json_string_value(json_object_get(o, "reason")), "unclean");
    json_decref(o);
    recovery_free(&r);

    /* a lease that is gone, or older than the log: never below the log's end */
    for (int i = 0; i < 2; i++) {
        cfg.lease_end = i ? FIRST + 8 : 0;
        run(&r, &cfg);
        assert_int_equal(r.start, RECOVERY_LEASE);
        recovery_free(&r);
    }
    cfg.lease_end = LEASE;

    /* an END frame without the mark is no clean end of the journal */
    struct lk file_end = k;
    file_end.data = malloc(k.room);
    memcpy(file_end.data, k.data, k.len);
    lk_end(&file_end, LOG_END_DAY);
    lk_save(&file_end, mem, LOG);
    lk_free(&file_end);
    run(&r, &cfg);
    assert_false(r.clean);
    recovery_free(&r);

    lk_mark(&k, MARK_END, "{}");
    lk_end(&k, LOG_END_STOP);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_true(r.clean);
    assert_int_equal(r.old_end, k.position);
    assert_int_equal(r.start, k.position);
    recovery_restart_json(&r, r.start, NULL, json, sizeof json);
    assert_non_null(strstr(json, "\"reason\":\"clean\""));
    recovery_free(&r);

    /* the journal went on behind the mark: it is not the last frame any more */
    struct lk next;
    lk_start(&next, k.position, LK_DAY, 1);
    data(&next, S1, 6, 1);
    lk_save(&next, mem, LOG ".1");
    run(&r, &cfg);
    assert_false(r.clean);
    assert_int_equal(r.old_end, next.position);
    assert_int_equal(session(&r, "S1")->next, 7);
    recovery_free(&r);
    lk_free(&next);
    lk_free(&k);
}

static void torn_tail(void **state)
{
    (void)state;
    /* 0: cut off; 1: the search cannot see the file's end, so that zeros are written instead;
     * 2: only looked at */
    for (int kind = 0; kind < 3; kind++) {
        struct lk k;
        struct recovery r;
        struct recovery_config cfg = config();
        char aside[100];
        start(&k);
        data(&k, S1, 1, 10);
        uint64_t good = k.len, end = k.position;
        data(&k, S1, 11, 10);
        k.len -= 100; /* half a frame */
        uint64_t torn = k.len - good;
        if (kind == 1)
            lk_zeros(&k, LOGSCAN_REACH + (6 << 20));
        lk_save(&k, mem, LOG);
        snprintf(aside, sizeof aside, LOG ".torn-%llu", (unsigned long long)good);
        struct snapshot before;
        snapshot_take(&before);
        cfg.read_only = kind == 2;
        run(&r, &cfg);
        assert_int_equal(r.torn_files, 1);
        assert_in_range(r.torn_bytes, torn - 24,
                        torn + 7); /* zeros at its end are nothing to save */
        assert_false(r.clean);
        assert_int_equal(r.old_end, end);
        assert_int_equal(r.start, LEASE);
        assert_int_equal(session(&r, "S1")->next, 11);
        recovery_free(&r);
        struct mem_file *f = mem_find(&mem->io, LOG), *saved = mem_find(&mem->io, aside);
        if (kind == 2) {
            assert_null(saved);
            snapshot_same(&before);
            lk_free(&k);
            continue;
        }
        assert_non_null(saved);
        assert_in_range(saved->size, torn - 24, torn + 7);
        assert_memory_equal(saved->data, k.data + good, saved->size);
        assert_memory_equal(f->data, k.data, good);
        assert_int_equal(f->size, kind == 0 ? good : k.len);
        for (uint64_t i = good; i < f->size; i++)
            assert_int_equal(f->data[i], 0);
        for (int i = 0; i < LK_FILES; i++)
            free(before.file[i].data);
        /* a second run, for instance because the first was killed, changes nothing */
        snapshot_take(&before);
        run(&r, &cfg);
        assert_int_equal(r.torn_files, 0);
        assert_false(r.clean);
        assert_int_equal(r.old_end, end);
        assert_int_equal(r.start, LEASE);
        recovery_free(&r);
        snapshot_same(&before);
        mem_unlink(&mem->io, aside);
        lk_free(&k);
    }
}

/* The search gives up on a hostile tail: then nothing at all may be cut. */
static void unsure_is_untouched(void **state)
{
    (void)state;
    struct lk k;
    struct recovery r;
    struct recovery_config cfg = config();
    struct snapshot before;
    start(&k);
    struct frame f = {
        .crc = 1, .length = FRAME_MAX, .position = k.position + 64, .kind = FRAME_DATA};
    for (int i = 0; i < 40000; i++) {
        memcpy(lk_room(&k, sizeof f), &f, sizeof f);
        k.len += sizeof f;
    }
    lk_save(&k, mem, LOG);
    snapshot_take(&before);
    run(&r, &cfg);
    assert_int_equal(r.torn_files, 1);
    assert_int_equal(r.old_end, k.position);
    recovery_free(&r);
    snapshot_same(&before);
    lk_free(&k);
}

static void forged(void **state)
{
    (void)state;
    for (int kind = 0; kind < FORGED; kind++)
        for (int padded = 0; padded < 2; padded++) {
            struct lk k;
            struct recovery r;
            struct recovery_config cfg = config();
            struct snapshot before;
            uint64_t good, end;
            start(&k);
            data(&k, S1, 1, 10);
            forge_tail(&k, (enum forged)kind, &good, &end);
            if (padded)
                lk_zeros(&k, 40000);
            lk_save(&k, mem, LOG);
            bool torn = forged_want[kind] == LOGSCAN_TORN;
            for (int again = 0; again < 2; again++) {
                snapshot_take(&before);
                run(&r, &cfg);
                if (r.torn_files != (torn && !again) || r.old_end != end || r.start != LEASE ||
                    r.ranges || r.gaps || session(&r, "S1")->next != 11)
                    fail_msg("forged %d padded %d run %d: torn %u, end %llu want %llu", kind,
                             padded, again, r.torn_files, (unsigned long long)r.old_end,
                             (unsigned long long)end);
                recovery_free(&r);
                if (torn && !again) {
                    char aside[100];
                    snprintf(aside, sizeof aside, LOG ".torn-%llu", (unsigned long long)good);
                    struct mem_file *f = mem_find(&mem->io, LOG);
                    struct mem_file *saved = mem_find(&mem->io, aside);
                    assert_int_equal(f->size, good);
                    assert_non_null(saved);
                    assert_true(saved->size > 0 && good + saved->size <= k.len);
                    assert_memory_equal(saved->data, k.data + good, saved->size);
                    for (int i = 0; i < LK_FILES; i++)
                        free(before.file[i].data);
                } else {
                    snapshot_same(&before);
                }
            }
            for (int i = 0; i < LK_FILES; i++)
                *mem->file[i].path = 0;
            lk_free(&k);
        }
}

/* Holes: damage below the newest noted durable position, a power cut's above it; what they cost. */
static void holes(void **state)
{
    (void)state;
    struct lk k;
    struct recovery r;
    struct recovery_config cfg = config();
    start(&k);
    data(&k, S1, 1, 10);
    data(&k, S2, 100, 10);
    uint64_t h1 = k.position;
    hole(&k); /* costs S1 11 .. 15, S2 nothing */
    data(&k, S1, 16, 5);
    data(&k, S2, 110, 10);
    uint64_t durable = k.position;
    tick(&k, durable, 21);
    data(&k, S1, 21, 5);
    uint64_t h2 = k.position;
    hole(&k); /* 26 .. 30; what follows first is a declared gap 31 .. 33 */
    gap(&k, S1, 31, 33);
    data(&k, S1, 34, 2);
    uint64_t h3 = k.position;
    hole(&k); /* 36 .. 39, told by a tick only; S2's end is not known */
    tick(&k, durable, 40);
    data(&k, S1, 40, 1);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_int_equal(r.durable, durable);
    assert_int_equal(r.ranges, 3);
    const uint64_t at[3] = {h1, h2, h3};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(r.range[i].from, at[i]);
        assert_int_equal(r.range[i].to, at[i] + 4096);
        assert_int_equal(r.range[i].damage, i == 0);
    }
    assert_int_equal(r.gaps, 3);
    expect_gap(&r, 0, "S1", 11, 15);
    expect_gap(&r, 1, "S1", 26, 30);
    expect_gap(&r, 2, "S1", 36, 39);
    assert_int_equal(session(&r, "S1")->next, 41);
    assert_int_equal(session(&r, "S2")->next, 120);
    assert_false(r.clean);
    recovery_free(&r);

    /* a hole makes even an end mark unclean */
    lk_mark(&k, MARK_END, "{}");
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_false(r.clean);
    assert_int_equal(r.start, LEASE);
    recovery_free(&r);
    lk_free(&k);

    /* altered bytes in the middle are a range too, and nothing is cut off */
    start(&k);
    data(&k, S1, 1, 10);
    uint64_t bad = k.position;
    size_t at_byte = k.len;
    data(&k, S1, 11, 10);
    uint64_t bad_end = k.position;
    tick(&k, bad_end, 21);
    data(&k, S1, 21, 1);
    k.data[at_byte + 200] ^= 4;
    lk_save(&k, mem, LOG);
    struct snapshot before;
    snapshot_take(&before);
    run(&r, &cfg);
    snapshot_same(&before);
    assert_int_equal(r.ranges, 1);
    assert_int_equal(r.range[0].from, bad);
    assert_int_equal(r.range[0].to, bad_end);
    assert_true(r.range[0].damage);
    assert_int_equal(r.gaps, 1);
    expect_gap(&r, 0, "S1", 11, 20);
    recovery_free(&r);
    lk_free(&k);

    /* rows that say nothing of the sequence; a new epoch behind the hole */
    start(&k);
    data(&k, S1, 1, 10);
    hole(&k);
    pk_rows(&pk, quote.id, ITCH, S1, 3, 2, ROW_LATE);
    pk_rows(&pk, quote.id, ITCH, S1, 900, 2, ROW_DIVERGENT);
    pk_rows(&pk, quote.id, ITCH, S1, 0, 2, RUN_UNSEQUENCED);
    pk_frame(&pk, &k, FRAME_DATA);
    data(&k, S1, 13, 1);
    hole(&k);
    lk_mark(&k, MARK_SESSION,
            "{\"feed\":\"itch\",\"session\":\"S1\",\"event\":\"restart\",\"epoch\":2,"
            "\"day\":9823,\"first\":1,\"next\":1}");
    data(&k, S1, 1, 4);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_int_equal(r.ranges, 2);
    assert_int_equal(r.gaps, 1);
    expect_gap(&r, 0, "S1", 11, 12);
    assert_int_equal(session(&r, "S1")->next, 5);
    assert_int_equal(session(&r, "S1")->epoch, 2);
    recovery_free(&r);
    lk_free(&k);
}

/* Two frames of one seal share a stretch of sequences: 11 12 . 14 15 . 17 and 13 16. What either of
 * them costs is told to the number, also where the other one jumps over it. */
static void parted(void **state)
{
    (void)state;
    for (unsigned lost = 0; lost < 4; lost++) { /* bit 0: the first, bit 1: the second */
        struct lk k;
        struct recovery r;
        struct recovery_config cfg = config();
        start(&k);
        data(&k, S1, 1, 10);
        tick(&k, 0, 11);
        if (lost & 1) {
            hole(&k);
        } else {
            pk_rows(&pk, quote.id, ITCH, S1, 11, 2, 0);
            pk_rows(&pk, quote.id, ITCH, S1, 14, 2, 0);
            pk_rows(&pk, quote.id, ITCH, S1, 17, 1, 0);
            pk_frame(&pk, &k, FRAME_DATA);
        }
        if (lost & 2) {
            hole(&k);
        } else {
            pk_rows(&pk, quote.id, ITCH, S1, 13, 1, 0);
            pk_rows(&pk, quote.id, ITCH, S1, 16, 1, 0);
            pk_frame(&pk, &k, FRAME_DATA);
        }
        data(&k, S1, 18, 3);
        if (lost & 1)
            tick(&k, 0, 21);
        data(&k, S1, 21, 2);
        lk_save(&k, mem, LOG);
        run(&r, &cfg);
        assert_int_equal(session(&r, "S1")->next, 23);
        static const uint64_t want[4][3][2] = {
            {{0}}, {{11, 12}, {14, 15}, {17, 17}}, {{13, 13}, {16, 16}}, {{11, 17}}};
        static const uint32_t n[4] = {0, 3, 2, 1};
        assert_int_equal(r.gaps, n[lost]);
        for (uint32_t i = 0; i < r.gaps; i++)
            expect_gap(&r, i, "S1", want[lost][i][0], want[lost][i][1]);
        recovery_free(&r);
        lk_free(&k);
    }
}

/* The lost frame held the seal's last sequences, and the other one comes behind the hole: only what
 * is said next, a tick, a state, a gap row or a later row, knows that there were more. */
static void parted_end(void **state)
{
    (void)state;
    for (unsigned next = 0; next < 4; next++) {
        struct lk k;
        struct recovery r;
        struct recovery_config cfg = config();
        start(&k);
        data(&k, S1, 1, 10);
        tick(&k, 0, 11);
        hole(&k); /* 13, 16 … 18 */
        pk_rows(&pk, quote.id, ITCH, S1, 11, 2, 0);
        pk_rows(&pk, quote.id, ITCH, S1, 14, 2, 0);
        pk_frame(&pk, &k, FRAME_DATA);
        if (next == 0)
            tick(&k, 0, 19);
        else if (next == 1)
            lk_mark(&k, MARK_STATE, state_json("S1", 0, 19, "live", NULL));
        else if (next == 2)
            gap(&k, S1, 19, 20);
        data(&k, S1, next == 2 ? 21 : 19, 4);
        tick(&k, 0, next == 2 ? 25 : 23);
        data(&k, S1, next == 2 ? 25 : 23, 4);
        lk_save(&k, mem, LOG);
        run(&r, &cfg);
        assert_int_equal(session(&r, "S1")->next, next == 2 ? 29 : 27);
        assert_int_equal(r.gaps, 2);
        expect_gap(&r, 0, "S1", 13, 13);
        expect_gap(&r, 1, "S1", 16, 18);
        recovery_free(&r);
        lk_free(&k);
    }
}

/* The last write of a file went astray, to the block before: what it brought stands before the last
 * block as an earlier write had left it. Whoever reads the log meets it, so sessions go on behind
 * it. (Where large files are bisected, their end is found behind it.) */
static void astray(void **state)
{
    (void)state;
    enum { BLOCK = 4, MORE = 12 };
#ifdef PST_FAULTS
    logscan_fine = true;
#endif
    for (unsigned more = 1; more <= MORE; more++) {
        struct lk k;
        struct recovery r;
        struct recovery_config cfg = config();
        uint64_t seq = 1;
        start(&k);
        lk_rows(&k, 1, 0); /* stands at no multiple of what follows */
        for (; k.len < BLOCK * LOG_BLOCK + LOG_BLOCK / 4; seq += 2)
            data(&k, S1, seq, 2);
        size_t was = k.len;
        for (unsigned i = 0; i < more; i++, seq += 2)
            data(&k, S1, seq, 2);
        size_t end = (BLOCK + 1) * LOG_BLOCK;
        assert_true(k.len <= end);
        lk_zeros(&k, end - k.len);
        memcpy(k.data + (BLOCK - 1) * LOG_BLOCK, k.data + BLOCK * LOG_BLOCK, LOG_BLOCK);
        memset(k.data + was, 0, end - was);
        lk_save(&k, mem, LOG);
        run(&r, &cfg);
        assert_int_equal(r.old_end, k.position);
        assert_int_equal(r.last_time, k.time - 1000);
        assert_int_equal(session(&r, "S1")->next, seq);
        assert_int_equal(r.gaps, 1);
        assert_int_equal(r.ranges, 1);
        recovery_free(&r);
        lk_free(&k);
    }
#ifdef PST_FAULTS
    logscan_fine = false;
#endif
}

/* It went astray to the file's beginning: what stands behind it is of lower positions, and no torn
 * tail: it stays. */
static void astray_early(void **state)
{
    (void)state;
    struct lk k;
    struct recovery r;
    struct recovery_config cfg = config();
    struct snapshot before;
    uint64_t seq = 1;
    start(&k);
    for (; k.len < 6 * LOG_BLOCK; seq += 2)
        data(&k, S1, seq, 2);
    lk_block(&k);
    memcpy(k.data + 3 * LOG_BLOCK, k.data + 5 * LOG_BLOCK, LOG_BLOCK);
    k.len = 5 * LOG_BLOCK; /* never written where it belongs */
    lk_save(&k, mem, LOG);
    for (unsigned again = 0; again < 2; again++) {
        snapshot_take(&before);
        run(&r, &cfg);
        snapshot_same(&before);
        recovery_free(&r);
    }
    lk_free(&k);
}

/* Holes below a restart mark were told by the incarnation that wrote it. */
#define SECOND (FIRST + (1 << 20)) /* where the leases ended */
#define THIRD  (FIRST + (2 << 20))

static void earlier_incarnations(void **state)
{
    (void)state;
    struct lk a, b, c;
    char json[200];
    struct recovery r;
    struct recovery_config cfg = config();
    start(&a);
    data(&a, S1, 1, 10);
    hole(&a);
    data(&a, S1, 14, 10);
    lk_save(&a, mem, LOG);
    lk_start(&b, SECOND, LK_DAY, 1);
    snprintf(json, sizeof json, "{\"old_end\":%llu,\"start\":%llu,\"reason\":\"unclean\"}",
             (unsigned long long)a.position, (unsigned long long)SECOND);
    lk_mark(&b, MARK_RESTART, json);
    gap(&b, S1, 11, 13);
    gap(&b, S1, 24, 29); /* down */
    data(&b, S1, 30, 5);
    lk_save(&b, mem, LOG ".1");
    run(&r, &cfg);
    assert_int_equal(r.ranges, 0);
    assert_int_equal(r.gaps, 0);
    assert_int_equal(r.old_end, b.position);
    assert_int_equal(session(&r, "S1")->next, 35);
    recovery_free(&r);
    /* the second outage: only its own hole */
    uint64_t h = b.position;
    hole(&b);
    data(&b, S1, 40, 1);
    lk_save(&b, mem, LOG ".1");
    run(&r, &cfg);
    assert_int_equal(r.ranges, 1);
    assert_int_equal(r.range[0].from, h);
    assert_int_equal(r.gaps, 1);
    expect_gap(&r, 0, "S1", 35, 39);
    recovery_free(&r);
    /* and a third incarnation behind it, stopped cleanly */
    lk_start(&c, THIRD, LK_DAY, 2);
    snprintf(json, sizeof json, "{\"old_end\":%llu,\"start\":%llu,\"reason\":\"unclean\"}",
             (unsigned long long)b.position, (unsigned long long)(THIRD));
    lk_mark(&c, MARK_RESTART, json);
    lk_mark(&c, MARK_END, "{}");
    lk_end(&c, LOG_END_STOP);
    lk_save(&c, mem, LOG ".2");
    run(&r, &cfg);
    assert_true(r.clean);
    assert_int_equal(r.start, c.position);
    recovery_free(&r);
    lk_free(&a);
    lk_free(&b);
    lk_free(&c);
}

static void symbols_and_schemas(void **state)
{
    (void)state;
    struct lk k;
    struct recovery r;
    struct recovery_config cfg = config();
    struct symbols s;
    struct err e;
    uint32_t id, len;
    start(&k);
    data(&k, S1, 1, 2);
    hole(&k); /* the symbol frame of ids 6 .. 8 stood here */
    pk_run(&pk, ITCH, S1, LINE_A, 3, 0);
    put32(pk_row(&pk, quote.id, 7, 1, quote.fixed) + quote.col[9].offset, 8);
    pk_row(&pk, quote.id, PST_NULL_SYMBOL, 1, quote.fixed);
    put32(pk_row(&pk, quote.id, SYMBOL_TEXT_MAX << 24, 1, quote.fixed) + quote.col[9].offset,
          PST_NULL_SYMBOL - 1); /* no ids at all */
    pk_frame(&pk, &k, FRAME_DATA);
    const char *later[] = {"MSFT", "AAPL"}; /* 9; and a text that has an id already */
    lk_symbol(&k, 9, later, 2);
    lk_save(&k, mem, LOG);
    assert_true(symbols_create(&s, 64, &e));
    cfg.symbols = &s;
    cfg.schemas = schema_set_new();
    run(&r, &cfg);
    assert_int_equal(symbols_count(&s), 11);
    assert_int_equal(r.symbols, 8);
    assert_int_equal(r.symbols_lost, 3);
    for (uint32_t i = 0; i < TAUGHT; i++) {
        const char *t = symbols_text(&s, i, &len);
        assert_int_equal(len, strlen(texts[i]));
        assert_memory_equal(t, texts[i], len);
        assert_int_equal(symbols_find(&s, texts[i], len), i);
    }
    for (uint32_t i = 6; i < 9; i++) {
        symbols_text(&s, i, &len);
        assert_int_equal(len, 0);
    }
    assert_int_equal(symbols_find(&s, "MSFT", 4), 9);
    assert_int_equal(symbols_intern(&s, "NEW", 3, &id), SYMBOLS_NEW);
    assert_int_equal(id, 11); /* never one that surviving rows use */
    assert_true(schema_equal(schema_set_get(cfg.schemas, 3), &quote));
    assert_true(schema_equal(schema_set_get(cfg.schemas, 2), &gap_table));
    assert_null(schema_set_get(cfg.schemas, 4));
    recovery_free(&r);
    symbols_close(&s);
    schema_set_free(cfg.schemas);
    cfg.schemas = NULL;

    /* a table that is too small is named, not overrun */
    pk_run(&pk, ITCH, S1, LINE_A, 5, 0);
    pk_row(&pk, quote.id, 30, 1, quote.fixed);
    pk_frame(&pk, &k, FRAME_DATA);
    lk_save(&k, mem, LOG);
    assert_true(symbols_create(&s, 16, &e));
    assert_false(recovery_run(&r, &cfg, &e));
    assert_int_equal(e.code, -ENOSPC);
    assert_non_null(strstr(e.text, "symbols_max"));
    symbols_close(&s);
    lk_free(&k);
}

/* `next` is the highest of states (of the file's head too), ticks, data behind the last tick. */
static void sessions(void **state)
{
    (void)state;
    struct lk old, k;
    struct recovery r;
    struct recovery_config cfg = config();
    /* yesterday's file holds the state mark that today's head repeats */
    lk_start(&old, FIRST, LK_DAY - 1, 0);
    size_t at = lk_mark(&old, MARK_STATE, state_json("S1", 3, 50, "live", "{\"a\":1}"));
    lk_end(&old, LOG_END_DAY);
    lk_start(&k, old.position, LK_DAY, 0);
    const struct frame *f = (const struct frame *)(old.data + at);
    lk_file_frame(&k, LOG_FILE_STATE, f, f->length);
    teach(&k);
    lk_save(&k, mem, LOG); /* yesterday's is gone: retention */
    run(&r, &cfg);
    const struct recovery_session *s = session(&r, "S1");
    assert_non_null(s);
    assert_int_equal(s->next, 50);
    assert_int_equal(s->epoch, 3);
    assert_int_equal(s->first, 1);
    assert_int_equal(s->send, 17);
    assert_int_equal(s->day, LK_DAY);
    assert_int_equal(s->state, RECOVERY_LIVE);
    assert_string_equal(s->pieces->json, "{\"a\":1}");
    assert_int_equal(s->pieces->len, 7);
    assert_null(s->pieces->next);
    recovery_free(&r);

    tick(&k, FIRST, 60);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_int_equal(session(&r, "S1")->next, 60);
    recovery_free(&r);

    lk_mark(&k, MARK_STATE, state_json("S1", 3, 60, "live", "{\"b\":[2,3]}"));
    data(&k, S1, 60, 5);
    pk_run(&pk, ITCH, S1, LINE_A, 65, RUN_PACKET_SEQ)->seqs = 3; /* an opaque block of three */
    pk_row(&pk, quote.id, AAPL, 0, quote.fixed);
    pk_frame(&pk, &k, FRAME_DATA);
    gap(&k, S1, 68, 70);
    data(&k, S2, 7, 1);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    s = session(&r, "S1");
    assert_int_equal(s->next, 71);
    assert_string_equal(s->pieces->json, "{\"a\":1}"); /* oldest first */
    assert_string_equal(s->pieces->next->json, "{\"b\":[2,3]}");
    assert_null(s->pieces->next->next);
    assert_int_equal(session(&r, "S2")->next, 8);
    assert_int_equal(session(&r, "S2")->day, LK_DAY);
    recovery_free(&r);

    lk_mark(&k, MARK_SESSION,
            "{\"feed\":\"itch\",\"session\":\"S3\",\"event\":\"begin\",\"epoch\":0,\"day\":9824,"
            "\"first\":1,\"next\":1,\"replaces\":\"S1\"}");
    lk_mark(&k, MARK_SESSION,
            "{\"feed\":\"itch\",\"session\":\"S2\",\"event\":\"end\",\"epoch\":0,\"day\":9823,"
            "\"first\":7,\"next\":9}");
    lk_mark(&k, MARK_STATE, "[1,2]"); /* malformed marks are passed over */
    lk_mark(&k, MARK_TICK, "{\"next\":[[1],[\"itch\"],7,[\"itch\",null,3]]}");
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_int_equal(r.sessions, 3);
    assert_int_equal(session(&r, "S1")->state, RECOVERY_REPLACED);
    assert_int_equal(session(&r, "S2")->state, RECOVERY_ENDED);
    assert_int_equal(session(&r, "S2")->next, 9);
    assert_int_equal(session(&r, "S3")->state, RECOVERY_LIVE);
    assert_int_equal(session(&r, "S3")->next, 1);
    assert_int_equal(session(&r, "S3")->day, 9824);
    recovery_free(&r);

    /* a new epoch forgets the decoder's state and the sequence */
    lk_mark(&k, MARK_STATE, state_json("S1", 4, 2, "live", "{\"c\":0}"));
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    s = session(&r, "S1");
    assert_int_equal(s->next, 2);
    assert_int_equal(s->epoch, 4);
    assert_string_equal(s->pieces->json, "{\"c\":0}");
    assert_null(s->pieces->next);
    recovery_free(&r);
    lk_free(&old);
    lk_free(&k);
}

/* More journal than the stretch that is read whole: marks far below it still count, once. */
static void long_log(void **state)
{
    (void)state;
    struct lk k;
    struct recovery r;
    struct recovery_config cfg = config();
    static uint8_t pad[FRAME_MAX - FRAME_HEADER];
    start(&k);
    lk_mark(&k, MARK_STATE, state_json("S1", 1, 500, "live", "{\"far\":1}"));
    data(&k, S1, 500, 10);
    hole(&k); /* far below: verify_rest's business, not the start's */
    lk_mark(&k, MARK_EOD, "{\"calendar\":\"main\",\"day\":9822}");
    tick(&k, k.position, 600);
    for (int i = 0; i < 280; i++)
        lk_frame(&k, FRAME_PAD, 0, 0, pad, sizeof pad);
    tick(&k, k.position, 700);
    data(&k, S1, 700, 3);
    lk_save(&k, mem, LOG);
    cfg.symbols = NULL;
    run(&r, &cfg);
    const struct recovery_session *s = session(&r, "S1");
    assert_non_null(s);
    assert_int_equal(s->next, 703);
    assert_non_null(s->pieces);
    assert_string_equal(s->pieces->json, "{\"far\":1}");
    assert_null(s->pieces->next);
    assert_int_equal(r.gaps, 0);
    assert_int_equal(r.ranges, 0);
    assert_int_equal(r.closed_day, 9822);
    recovery_free(&r);
    lk_free(&k);
}

static void days(void **state)
{
    (void)state;
    struct lk k;
    struct recovery r;
    struct recovery_config cfg = config();
    start(&k);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_int_equal(r.open_day, LK_DAY);
    assert_int_equal(r.closed_day, -1);
    recovery_free(&r);
    lk_mark(&k, MARK_EOD, "{\"calendar\":\"main\",\"day\":9822}");
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_int_equal(r.open_day, LK_DAY);
    assert_int_equal(r.closed_day, 9822);
    recovery_free(&r);
    /* closed, but the next day's file was not begun */
    lk_mark(&k, MARK_EOD, "{\"calendar\":\"main\",\"day\":9823}");
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_int_equal(r.open_day, LK_DAY + 1);
    assert_int_equal(r.closed_day, LK_DAY);
    recovery_free(&r);
    lk_free(&k);
}

static void eod(struct lk *k, const char *calendar, int32_t day)
{
    char json[120], date[CIVIL_TEXT];
    snprintf(json, sizeof json, "{\"calendar\":\"%s\",\"day\":\"%s\",\"ends\":\"x\"}", calendar,
             civil_format(day, date));
    uint16_t was = k->day;
    k->day = (uint16_t)day;
    lk_mark(k, MARK_EOD, json);
    k->day = was;
}

/* State marks, as the head of a file repeats them. */
static void head(struct lk *k, const void *states, size_t bytes)
{
    const uint8_t *p = states, *end = p + bytes;
    for (; p < end; p += ((const struct frame *)p)->length)
        lk_file_frame(k, LOG_FILE_STATE, p, ((const struct frame *)p)->length);
}
static void head_says(struct lk *k, const char *json)
{
    static uint8_t buf[4096] pst_aligned(64);
    struct frame *f = (struct frame *)buf;
    assert_true(frame_build_mark(buf, MARK_STATE, json, strlen(json)) > 0);
    f->position = FIRST;
    frame_seal(f, k->seed);
    head(k, buf, f->length);
}

/* Where each calendar stands: from marks, from the head of a later file, and from both. */
static void calendars(void **state)
{
    (void)state;
    struct lk k, next;
    struct recovery r;
    struct recovery_config cfg = config();
    start(&k);
    data(&k, S1, 1, 5);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_int_equal(recovery_open_day(&r, "default"), -1); /* a log that does not say */
    assert_int_equal(r.open_day, LK_DAY);
    recovery_free(&r);
    lk_mark(&k, MARK_STATE, "{\"calendars\":{\"default\":9823,\"tokyo\":9821}}");
    eod(&k, "tokyo", 9821);
    eod(&k, "tokyo", 9822);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_int_equal(r.sessions, 1); /* the calendars are no session */
    assert_int_equal(recovery_open_day(&r, "default"), 9823);
    assert_int_equal(recovery_open_day(&r, "tokyo"), 9823);
    assert_int_equal(recovery_open_day(&r, "paris"), -1);
    assert_int_equal(r.open_day, 9823);
    assert_int_equal(r.closed_day, 9822);
    recovery_free(&r);
    eod(&k, "tokyo", 9823);
    eod(&k, "default", 9823);
    eod(&k, "default", 9824);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    assert_int_equal(recovery_open_day(&r, "tokyo"), 9824);
    assert_int_equal(recovery_open_day(&r, "default"), 9825);
    assert_int_equal(r.open_day, 9825);
    recovery_free(&r);
    lk_free(&k);
    /* rows of a session of tomorrow have opened tomorrow's file; the date is still today's */
    start(&k);
    lk_mark(&k, MARK_STATE, "{\"calendars\":{\"default\":9823}}");
    lk_save(&k, mem, LOG);
    lk_start(&next, k.position, LK_DAY + 1, 0);
    head_says(&next, "{\"calendars\":{\"default\":9823}}");
    teach(&next);
    data(&next, S1, 6, 5);
    lk_save(&next, mem, "/l/log2026.11.24");
    run(&r, &cfg);
    assert_int_equal(r.open_day, LK_DAY);
    recovery_free(&r);
    lk_free(&next);
    /* months and a lot of journal later: only the head of the newest file knows */
    lk_start(&next, k.position + (500ull << 20), LK_DAY + 90, 0);
    head_says(&next, "{\"calendars\":{\"default\":9913,\"tokyo\":9912}}");
    teach(&next);
    for (unsigned i = 0; i < 10; i++)
        tick(&next, next.position, 7);
    lk_save(&next, mem, "/l/log2027.02.21");
    run(&r, &cfg);
    assert_int_equal(r.open_day, 9913);
    assert_int_equal(recovery_open_day(&r, "tokyo"), 9912);
    recovery_free(&r);
    lk_free(&next);
    lk_free(&k);
}

/* What a start found stands at the head of its first file: a crash right after it finds it again,
 * though the older files lie a lease behind. */
static void second_crash(void **state)
{
    (void)state;
    struct lk k, next;
    struct recovery r, again;
    struct recovery_config cfg = config();
    size_t bytes;
    start(&k);
    lk_mark(&k, MARK_STATE, "{\"calendars\":{\"default\":9823,\"tokyo\":9822}}");
    lk_mark(&k, MARK_STATE, state_json("S1", 3, 500, "live", "{\"far\":1}"));
    lk_mark(&k, MARK_STATE, state_json("S1", 3, 500, "live", "{\"near\":[\"a\\\"b\"]}"));
    lk_mark(&k, MARK_STATE, state_json("S2", 1, 9, "ended", NULL));
    data(&k, S1, 500, 40);
    eod(&k, "tokyo", 9822);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    void *states = recovery_states(&r, &bytes);
    assert_non_null(states);
    lk_start(&next, r.start, LK_DAY, 1);
    head(&next, states, bytes);
    teach(&next);
    char json[200];
    recovery_restart_json(&r, r.start, NULL, json, sizeof json);
    lk_mark(&next, MARK_RESTART, json);
    lk_save(&next, mem, "/l/log2026.11.23.1");
    cfg.lease_end = r.start + RECOVERY_LEASE;
    run(&again, &cfg);
    assert_int_equal(again.sessions, 2);
    assert_int_equal(again.gaps, 0);
    assert_int_equal(recovery_open_day(&again, "default"), 9823);
    assert_int_equal(recovery_open_day(&again, "tokyo"), 9823);
    const struct recovery_session *s = session(&again, "S1");
    assert_int_equal(s->next, 540);
    assert_int_equal(s->epoch, 3);
    assert_int_equal(s->send, 17);
    assert_int_equal(s->day, LK_DAY);
    assert_string_equal(s->pieces->json, "{\"far\":1}");
    assert_string_equal(s->pieces->next->json, "{\"near\":[\"a\\\"b\"]}");
    assert_null(s->pieces->next->next);
    assert_int_equal(session(&again, "S2")->state, RECOVERY_ENDED);
    assert_int_equal(session(&again, "S2")->next, 9);
    assert_null(session(&again, "S2")->pieces);
    free(states);
    recovery_free(&again);
    recovery_free(&r);
    lk_free(&next);
    lk_free(&k);
}

/* A poisoned file, whose unsure frames stand anew in the next one; the first may be torn. */
static void overlap(void **state)
{
    (void)state;
    for (int torn = 0; torn < 2; torn++) {
        struct lk a, b;
        struct recovery r;
        struct recovery_config cfg = config();
        size_t at[12];
        start(&a);
        for (unsigned i = 0; i < 10; i++) {
            at[i] = a.len;
            data(&a, S1, 1 + i * 5, 5);
        }
        lk_start(&b, ((struct frame *)(a.data + at[6]))->position, LK_DAY, 1);
        for (int i = 6; i < 10; i++)
            lk_copy(&b, &a, at[i]);
        data(&b, S1, 51, 5);
        uint64_t good = a.len;
        if (torn) {
            good = at[8];
            a.len = at[8] + 60;
        }
        lk_save(&a, mem, LOG);
        lk_save(&b, mem, "/spill/log2026.11.23.1");
        for (int again = 0; again < 2; again++) {
            run(&r, &cfg);
            assert_int_equal(r.files, 2);
            assert_int_equal(r.old_end, b.position);
            assert_int_equal(r.ranges, 0);
            assert_int_equal(r.gaps, 0);
            assert_int_equal(r.torn_files, torn && !again);
            assert_int_equal(session(&r, "S1")->next, 56);
            assert_int_equal(mem_find(&mem->io, LOG)->size, good);
            recovery_free(&r);
        }
        lk_free(&a);
        lk_free(&b);
        for (int i = 0; i < LK_FILES; i++)
            *mem->file[i].path = 0;
    }
}

static void headers(void **state)
{
    (void)state;
    struct lk a, b, c;
    struct recovery r;
    struct recovery_config cfg = config();
    struct err e = {0};
    start(&a);
    data(&a, S1, 1, 10);
    lk_start(&b, a.position, LK_DAY, 1);
    data(&b, S1, 11, 10);
    lk_start(&c, b.position, LK_DAY, 2);
    tick(&c, c.position, 21);
    data(&c, S1, 21, 10);
    lk_mark(&c, MARK_END, "{}");
    lk_end(&c, LOG_END_STOP);
    lk_save(&a, mem, LOG);
    lk_save(&b, mem, LOG ".1");
    lk_save(&c, mem, LOG ".2");
    struct mem_file *fb = mem_find(&mem->io, LOG ".1"), *fc = mem_find(&mem->io, LOG ".2");

    /* one copy: nothing is missing */
    memset(fb->data, 0x5a, LOG_BLOCK);
    run(&r, &cfg);
    assert_int_equal(r.files, 3);
    assert_true(r.clean);
    recovery_free(&r);

    /* both: made anew from the frames, once; what was there is kept */
    memset(fb->data, 0x5a, LOG_PREAMBLE);
    run(&r, &cfg);
    assert_int_equal(r.files, 3);
    assert_int_equal(r.ranges, 0);
    assert_true(r.clean);
    assert_int_equal(r.old_end, c.position);
    assert_int_equal(r.damages, 1);
    assert_int_equal(r.damage[0].kind, PST_NO_HEADER);
    assert_int_equal(r.damage[0].first, a.position);
    assert_int_equal(session(&r, "S1")->next, 31);
    recovery_free(&r);
    assert_int_equal(mem_find(&mem->io, LOG ".1.header")->size, LOG_PREAMBLE);
    for (size_t i = 0; i < LOG_PREAMBLE; i++)
        assert_int_equal(mem_find(&mem->io, LOG ".1.header")->data[i], 0x5a);
    mem_unlink(&mem->io, LOG ".1.header");
    struct log_file_header made;
    assert_int_equal(log_file_header_find(&made, fb->data, fb->size, LK_INSTANCE), LOG_HEADER_OK);
    assert_int_equal(made.first, b.h.first);
    assert_int_equal(made.day, b.h.day);
    assert_int_equal(made.suffix, 1);
    run(&r, &cfg);
    assert_int_equal(r.damages, 0);
    recovery_free(&r);

    /* the whole file, in the middle: a lost range, durable once, and what it cost */
    memset(fb->data, 0x5a, fb->size);
    run(&r, &cfg);
    assert_int_equal(r.files, 2);
    assert_int_equal(r.ranges, 1);
    assert_int_equal(r.range[0].from, a.position);
    assert_int_equal(r.range[0].to, b.position);
    assert_true(r.range[0].damage);
    expect_gap(&r, 0, "S1", 11, 20);
    assert_false(r.clean);
    recovery_free(&r);

    /* all, of the newest, behind a clean end: its positions were used; the state file knows */
    lk_mark(&b, MARK_END, "{}");
    lk_end(&b, LOG_END_STOP);
    lk_save(&b, mem, LOG ".1");
    memset(fc->data, 0x5a, fc->size);
    cfg.check_closed = true;
    for (int i = 0; i < 3; i++) { /* 0: a daemon ran since; 1: it stopped there; 2: here */
        cfg.closed = i == 0 ? 0 : i == 1 ? c.position : b.position;
        run(&r, &cfg);
        assert_int_equal(r.files, 2);
        assert_int_equal(r.old_end, b.position);
        assert_int_equal(r.clean, i == 2);
        assert_int_equal(r.start, i == 2 ? b.position : LEASE);
        recovery_free(&r);
    }
    cfg.check_closed = false;
    /* the only one */
    mem_unlink(&mem->io, LOG);
    mem_unlink(&mem->io, LOG ".1");
    run(&r, &cfg);
    assert_true(r.empty && !r.clean);
    assert_int_equal(r.start, LEASE);
    recovery_free(&r);
    /* a prepared file that was never begun is no damage */
    lk_save(&b, mem, LOG ".1");
    memset(fc->data, 0, fc->size);
    run(&r, &cfg);
    assert_true(r.clean);
    assert_int_equal(r.files, 1);
    recovery_free(&r);
    mem_unlink(&mem->io, LOG ".2");

    /* another instance's files do not count */
    cfg.instance = LK_INSTANCE + 1;
    run(&r, &cfg);
    assert_true(r.empty);
    recovery_free(&r);
    cfg.instance = LK_INSTANCE;

    /* a newer format is refused, both versions are named */
    b.h.format = LOG_FORMAT + 6;
    b.len = 0;
    lk_file_frame(&b, LOG_FILE_HEADER, &b.h, sizeof b.h);
    lk_file_frame(&b, LOG_FILE_HEADER, &b.h, sizeof b.h);
    lk_save(&b, mem, LOG ".1");
    lk_save(&a, mem, LOG);
    struct snapshot before;
    snapshot_take(&before);
    assert_false(recovery_run(&r, &cfg, &e));
    snapshot_same(&before);
    char both[80];
    snprintf(both, sizeof both, "log format %u, this program reads up to %u", LOG_FORMAT + 6,
             LOG_FORMAT);
    assert_non_null(strstr(e.text, both));
    lk_free(&a);
    lk_free(&b);
    lk_free(&c);
}

/* A slow disk: the clock goes on with every read. */
static int64_t slow_monotonic(struct io *io)
{
    return (int64_t)mem_of(io)->reads * 1000000;
}

static void budget(void **state)
{
    (void)state;
    enum { N = 12 };
    struct lk k;
    struct io_ops slow = mem_ops;
    struct recovery r;
    struct recovery_config cfg = config();
    slow.monotonic = slow_monotonic;
    mem->io.ops = &slow;
    uint64_t from = FIRST, frames = 0;
    size_t flip = 0, torn = 0;
    char path[64];
    for (uint32_t i = 0; i < N; i++) {
        lk_start(&k, from, LK_DAY, i);
        if (!i)
            teach(&k);
        for (uint32_t j = 0; j < 20; j++) {
            if (i == 2 && j == 7)
                flip = k.len + 64;
            data(&k, S1, 1 + i * 100 + j * 5, 5);
        }
        frames += k.frames;
        if (i == 1) { /* a torn tail in a file that the start does not get to */
            torn = k.len;
            memset(lk_room(&k, 64), 0x77, 64);
            k.len += 64;
        }
        if (i == 2)
            k.data[flip] ^= 1;
        from = k.position;
        snprintf(path, sizeof path, i ? LOG ".%u" : LOG, i);
        lk_save(&k, mem, path);
        lk_free(&k);
    }
    cfg.budget = 8 * 1000000; /* eight reads */
    run(&r, &cfg);
    assert_true(r.over_budget);
    assert_in_range(r.files_unseen, 3, N - 2);
    assert_int_equal(r.old_end, from);
    assert_int_equal(r.torn_files, 0);
    /* in steps: what is left is told exactly */
    unsigned steps = 0;
    while (!recovery_verify_rest(&r, 2000))
        assert_true(++steps < 1000);
    assert_true(steps > 5);
    assert_true(recovery_verify_rest(&r, 2000));
    assert_int_equal(r.damages, 2);
    assert_string_equal(r.damage[0].path, LOG ".2"); /* newest first */
    assert_true(r.damage[0].from <= flip && flip < r.damage[0].to);
    assert_int_equal(r.damage[0].kind, PST_ALTERED);
    assert_string_equal(r.damage[1].path, LOG ".1");
    assert_int_equal(r.damage[1].from, torn);
    assert_int_equal(r.damage[1].kind, PST_TORN);
    assert_in_range(r.verified_frames, frames - 1, frames - 1 + 2 * N); /* and the headers */
    recovery_free(&r);
    /* with time enough the start sees all of it */
    cfg.budget = 0;
    run(&r, &cfg);
    assert_int_equal(r.files_unseen, 0);
    assert_int_equal(r.torn_files, 1);
    recovery_free(&r);
}

/* A frame of rows that lead source AAPL from a to b; no rows of a session. */
static void derived(struct lk *k, uint64_t a, uint32_t ar, uint64_t b, uint32_t br)
{
    struct derived_record d = {.table = TABLE_DERIVED,
                               .bytes = sizeof d,
                               .source = AAPL,
                               .after = a,
                               .after_row = ar,
                               .position = b,
                               .row = br};
    pk_clear(&pk);
    memcpy(pk.data, &d, sizeof d);
    pk.len = sizeof d;
    pk_run(&pk, ITCH, S1, LINE_A, 500, RUN_REPLAYED); /* no sequence of ours */
    put32(pk_row(&pk, quote.id, AAPL, 1, quote.fixed) + quote.col[9].offset, PST_NULL_SYMBOL);
    pk_frame(&pk, k, FRAME_DATA);
}
static void stands(const struct recovery *r, uint64_t position, uint32_t row, uint32_t islands)
{
    assert_int_equal(r->sources, 1);
    assert_string_equal(r->source[0].name, "AAPL");
    assert_int_equal(r->source[0].p.at.position, position);
    assert_int_equal(r->source[0].p.at.row, row);
    assert_int_equal(r->source[0].p.islands, islands);
}

static void sources(void **state)
{
    (void)state;
    struct lk k = {0};
    struct recovery r;
    struct recovery_config cfg = config();
    struct symbols symbols;
    struct err e;
    /* a mark, then what stands behind it; the sessions are left alone */
    start(&k);
    lk_mark(&k, MARK_STATE, "{\"sources\":[[\"AAPL\",7,2]]}");
    derived(&k, 7, 2, 9, 0);
    lk_mark(&k, MARK_TICK, "{\"durable\":1,\"next\":[],\"sources\":[[\"AAPL\",9,0]]}");
    derived(&k, 9, 0, 9, 4);
    lk_save(&k, mem, LOG);
    assert_true(symbols_create(&symbols, 100, &e));
    cfg.symbols = &symbols;
    run(&r, &cfg);
    stands(&r, 9, 4, 0);
    assert_null(session(&r, "S1"));
    assert_int_equal(r.sources_doubtful, 0);
    assert_int_equal(symbols_count(&symbols), TAUGHT);
    recovery_free(&r);
    symbols_close(&symbols);
    cfg.symbols = NULL;
    /* a hole: what stands behind it is an island, and marks behind it are not believed */
    hole(&k);
    derived(&k, 12, 0, 15, 0);
    lk_mark(&k, MARK_TICK, "{\"durable\":1,\"next\":[],\"sources\":[[\"AAPL\",15,0]]}");
    derived(&k, 15, 0, 16, 0);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    stands(&r, 9, 4, 1);
    assert_true(!source_cmp(r.source[0].p.island[0].from, source_point(12, 0)) &&
                !source_cmp(r.source[0].p.island[0].to, source_point(16, 0)));
    /* the next file's head says it, so that the next crash finds it there */
    size_t bytes;
    uint8_t *frames = recovery_states(&r, &bytes);
    bool found = false;
    for (size_t at = 0; at < bytes; at += ((struct frame *)(frames + at))->length) {
        unsigned type = 0;
        uint32_t len = 0;
        const char *text = frame_mark((struct frame *)(frames + at), &type, &len);
        static const char want[] = "{\"sources\":[[\"AAPL\",9,4,[[12,0,16,0]]]]}";
        found |= len == sizeof want - 1 && !memcmp(text, want, len);
    }
    assert_true(found);
    free(frames);
    recovery_free(&r);
    /* the next incarnation's marks are believed again, islands and all */
    lk_mark(&k, MARK_RESTART, "{\"old_end\":1,\"start\":2}");
    lk_mark(&k, MARK_STATE, "{\"sources\":[[\"AAPL\",9,4,[[12,0,16,0]]]]}");
    derived(&k, 9, 4, 12, 0);
    lk_save(&k, mem, LOG);
    run(&r, &cfg);
    stands(&r, 16, 0, 0);
    recovery_free(&r);
    lk_free(&k);
}

static int set_up(void **state)
{
    pk_clear(&pk);
    return lk_setup(state);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, lk_teardown)
    const struct CMUnitTest tests[] = {
        CASE(no_log),
        CASE(ends),
        CASE(torn_tail),
        CASE(unsure_is_untouched),
        CASE(forged),
        CASE(holes),
        CASE(parted),
        CASE(parted_end),
        CASE(astray),
        CASE(astray_early),
        CASE(earlier_incarnations),
        CASE(symbols_and_schemas),
        CASE(sessions),
        CASE(long_log),
        CASE(days),
        CASE(calendars),
        CASE(second_crash),
        CASE(overlap),
        CASE(headers),
        CASE(budget),
        CASE(sources),
    };
    schemas_make();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
