/* SPDX-License-Identifier: Apache-2.0 */
/* recovery_kit.h - small logs of one feed, by hand, for the tests of recovery. */
#pragma once

#include "core/civil.h"
#include "core/symbols.h"
#include "recovery.h"
#include "rows_kit.h"

#define FIRST 0x4000000ull
#define LEASE (3 * RECOVERY_LEASE)
#define LOG   "/l/log2026.11.23"

static struct schema gap_table, quote;
static struct pk pk;

enum { ITCH, S1, LINE_A, LOST, S2, AAPL, TAUGHT };
static const char *const texts[TAUGHT] = {"itch", "S1", "A", "lost", "S2", "AAPL"};

static struct recovery_config config(void)
{
    return (struct recovery_config){.io = &mem->io,
                                    .dirs = {"/l", "/spill"},
                                    .prefix = "log",
                                    .instance = LK_INSTANCE,
                                    .lease_end = LEASE};
}

static inline void run(struct recovery *r, const struct recovery_config *cfg)
{
    struct err e = {0};
    if (!recovery_run(r, cfg, &e))
        fail_msg("%s", e.text);
}

static inline void schemas_make(void)
{
    static const struct column_def quote_columns[] = {{"price", PST_FLOAT}, {"venue", PST_SYMBOL}};
    assert_true(tables_gap(&gap_table, NULL));
    gap_table.id = 2;
    assert_true(schema_make(&quote, 3, "quote", true, quote_columns, 2, NULL));
    assert_int_equal(quote.fixed, 32);
}

static inline void teach(struct lk *k)
{
    lk_schema(k, &gap_table);
    lk_schema(k, &quote);
    lk_symbol(k, 0, texts, TAUGHT);
}
static inline void start(struct lk *k)
{
    lk_start(k, FIRST, LK_DAY, 0);
    teach(k);
}

/* Rows seq .. seq + n - 1 of (itch, session). */
static inline void data(struct lk *k, uint32_t session, uint64_t seq, uint32_t n)
{
    pk_run(&pk, ITCH, session, LINE_A, seq, 0);
    for (uint32_t i = 0; i < n; i++)
        put32(pk_row(&pk, quote.id, AAPL, (int64_t)(seq + i), quote.fixed) + quote.col[9].offset,
              PST_NULL_SYMBOL);
    pk_frame(&pk, k, FRAME_DATA);
}
static inline void gap(struct lk *k, uint32_t session, uint64_t first, uint64_t last)
{
    pk_gap(&pk, &gap_table, ITCH, session, first, last, LOST);
    pk_frame(&pk, k, FRAME_GAP);
}
static inline void tick(struct lk *k, uint64_t durable, uint64_t next)
{
    char json[200];
    snprintf(json, sizeof json, "{\"durable\":%llu,\"next\":[[\"itch\",\"S1\",%llu]]}",
             (unsigned long long)durable, (unsigned long long)next);
    lk_mark(k, MARK_TICK, json);
}
static inline const char *state_json(const char *session, unsigned epoch, uint64_t next,
                                     const char *state, const char *decoder)
{
    static char json[400];
    snprintf(json, sizeof json,
             "{\"feed\":\"itch\",\"session\":\"%s\",\"day\":%d,\"epoch\":%u,\"first\":1,"
             "\"next\":%llu,\"send\":17,\"state\":\"%s\"%s%s}",
             session, LK_DAY, epoch, (unsigned long long)next, state,
             decoder ? ",\"decoder\":" : "", decoder ? decoder : "");
    return json;
}
static inline void hole(struct lk *k)
{
    k->position += 4096;
}
static inline const struct recovery_session *session(const struct recovery *r, const char *name)
{
    for (uint32_t i = 0; i < r->sessions; i++)
        if (!strcmp(r->session[i].session, name) && !strcmp(r->session[i].feed, "itch"))
            return &r->session[i];
    return NULL;
}
static inline void expect_gap(const struct recovery *r, uint32_t i, const char *session,
                              uint64_t first, uint64_t last)
{
    assert_true(i < r->gaps);
    assert_string_equal(r->gap[i].feed, "itch");
    assert_string_equal(r->gap[i].session, session);
    assert_int_equal(r->gap[i].first, first);
    assert_int_equal(r->gap[i].last, last);
    assert_int_equal(r->gap[i].day, LK_DAY);
}

/* All files, to compare them before and after. */
struct snapshot {
    struct mem_file file[LK_FILES];
};
static inline void snapshot_take(struct snapshot *s)
{
    for (int i = 0; i < LK_FILES; i++) {
        s->file[i] = mem->file[i];
        s->file[i].data = malloc(mem->file[i].size + 1);
        assert_non_null(s->file[i].data);
        if (mem->file[i].size)
            memcpy(s->file[i].data, mem->file[i].data, mem->file[i].size);
    }
}
static inline void snapshot_same(struct snapshot *s)
{
    for (int i = 0; i < LK_FILES; i++) {
        assert_string_equal(s->file[i].path, mem->file[i].path);
        assert_int_equal(s->file[i].size, mem->file[i].size);
        if (s->file[i].size)
            assert_memory_equal(s->file[i].data, mem->file[i].data, s->file[i].size);
        free(s->file[i].data);
    }
}
