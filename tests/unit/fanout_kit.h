/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanout_kit.h - journals in memory for tests of the fan-out: frames of real captures (through the
 * product's decoders) or of rows made up here, with symbol and schema frames where they belong, and
 * what a reader gets from them, row by row.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include "core/rows.h"
#include "core/tables.h"
#include "decoder.h"
#include "packet.h"
#include "pcap_read.h"
#include "storage/dictionary.h"
#include "support/data.h"

#define KIT_MIDNIGHT 634003200000000000ll
#define KIT_DAY      9000

static uint64_t kit_seed = 88172645463325252ull;
static inline uint64_t kit_rnd(void)
{
    kit_seed ^= kit_seed << 13;
    kit_seed ^= kit_seed >> 7;
    return kit_seed ^= kit_seed << 17;
}

struct journal {
    struct frame **frame;
    uint32_t frames, room;
    uint64_t position;
    char (*text)[256]; /* symbols */
    uint32_t texts, told;
    struct schema_set *set;
    /* rows on their way into a frame */
    struct rows rows;
    uint8_t *stage;
    const struct decoder_ops *ops;
    struct decode_env env;
    void *state;
};

static struct journal *kit_journal; /* of rows_ops, which know no other */

static inline void journal_put(struct journal *j, void *frame, uint32_t length)
{
    struct frame *f = frame;
    if (j->frames == j->room) {
        j->room = j->room ? 2 * j->room : 256;
        j->frame = realloc(j->frame, j->room * sizeof(struct frame *));
        assert_non_null(j->frame);
    }
    f->length = length;
    f->position = j->position;
    f->time = KIT_MIDNIGHT + (int64_t)j->position;
    j->position += length;
    struct frame *copy = aligned_alloc(8, length);
    assert_non_null(copy);
    memcpy(copy, f, length);
    j->frame[j->frames++] = copy;
}

static inline void journal_symbols(struct journal *j)
{
    static pst_aligned(8) uint8_t buf[FRAME_MAX];
    while (j->told < j->texts) {
        memset(buf, 0, FRAME_HEADER);
        frame_symbol_begin(buf, j->told);
        while (j->told < j->texts &&
               frame_symbol_add(buf, j->text[j->told], (uint32_t)strlen(j->text[j->told])))
            j->told++;
        uint32_t len = frame_symbol_end(buf);
        ((struct frame *)(void *)buf)->stream = STREAM_EVERY;
        journal_put(j, buf, len);
    }
}

static inline const struct schema *journal_table(struct journal *j, struct schema *s)
{
    static pst_aligned(8) uint8_t buf[FRAME_MAX];
    struct err err;
    bool fresh;
    const struct schema *t = schema_set_intern(j->set, s, &fresh, &err);
    assert_non_null(t);
    char *json = schema_to_json(t);
    memset(buf, 0, FRAME_HEADER);
    uint32_t len = frame_build_schema(buf, json, strlen(json));
    free(json);
    journal_put(j, buf, len);
    return t;
}

static inline void journal_mark(struct journal *j, enum mark_type type, uint16_t day,
                                const char *json)
{
    static pst_aligned(8) uint8_t buf[FRAME_MAX];
    memset(buf, 0, FRAME_HEADER);
    uint32_t len = frame_build_mark(buf, type, json, strlen(json));
    ((struct frame *)(void *)buf)->day = day;
    journal_put(j, buf, len);
}

/* A data or gap frame of finished records. */
static inline void journal_records(struct journal *j, const void *records, uint32_t bytes,
                                   uint16_t count, uint16_t day, enum frame_kind kind)
{
    static pst_aligned(8) uint8_t buf[FRAME_MAX];
    journal_symbols(j);
    *(struct frame *)(void *)buf =
        (struct frame){.kind = (uint8_t)kind, .count = count, .day = day};
    memcpy(buf + FRAME_HEADER, records, bytes);
    journal_put(j, buf, FRAME_HEADER + bytes);
}

static inline uint32_t journal_symbol(struct journal *j, const char *text, uint32_t len)
{
    if (len == 0)
        return PST_NULL_SYMBOL;
    for (uint32_t i = 0; i < j->texts; i++)
        if (strlen(j->text[i]) == len && !memcmp(j->text[i], text, len))
            return i;
    assert_true(j->texts < 65536 && len < 256);
    memcpy(j->text[j->texts], text, len);
    j->text[j->texts][len] = 0;
    return j->texts++;
}

/* ---- decoders ---- */

static inline void kit_stage(struct rows *r)
{
    r->base = r->at = kit_journal->stage + FRAME_HEADER;
    r->limit = r->base + 4096; /* small frames: many borders */
    r->records = 0;
    r->head = NULL;
}
static inline void kit_flush(struct rows *r)
{
    rows_close_run(r);
    if (r->records)
        journal_records(kit_journal, r->base, (uint32_t)(r->at - r->base), (uint16_t)r->records,
                        r->frame_day, FRAME_DATA);
    kit_stage(r);
}
static inline uint32_t kit_intern(struct rows *r, const char *text, uint32_t len)
{
    (void)r;
    return journal_symbol(kit_journal, text, len);
}
static const struct rows_ops kit_sink = {.flush = kit_flush, .intern = kit_intern};

static inline void journal_open(struct journal *j, const char *decoder)
{
    struct err err;
    memset(j, 0, sizeof *j);
    kit_journal = j;
    j->position = 4096;
    j->set = schema_set_new();
    j->text = calloc(65536, sizeof *j->text);
    j->stage = aligned_alloc(64, FRAME_MAX);
    assert_true(j->set && j->text && j->stage);
    j->rows.ops = &kit_sink;
    kit_stage(&j->rows);
    if (!decoder)
        return;
    j->ops = decoder_find(decoder);
    assert_non_null(j->ops);
    for (unsigned i = 0; i < j->ops->ntables; i++) {
        const struct decoder_table *t = &j->ops->tables[i];
        struct schema s;
        assert_true(schema_make(&s, 0, t->name, true, t->cols, t->ncols, &err));
        j->env.table[i] = journal_table(j, &s);
    }
    assert_true(decoder_bind(j->ops, j->env.table, &err));
    j->env.midnight = KIT_MIDNIGHT;
    j->state = calloc(1, j->ops->state_bytes);
    j->ops->init(j->state);
}

static inline void journal_close(struct journal *j)
{
    for (uint32_t i = 0; i < j->frames; i++)
        free(j->frame[i]);
    free(j->frame);
    free(j->text);
    free(j->stage);
    free(j->state);
    schema_set_free(j->set);
}

static inline void journal_message(struct journal *j, uint64_t seq, int64_t rxtime, bool line,
                                   const uint8_t *m, uint32_t len)
{
    struct run run = {.seq = seq,
                      .rxtime = rxtime,
                      .feed = journal_symbol(j, "a feed", 6),
                      .session = journal_symbol(j, "a session", 9),
                      .line =
                          line ? journal_symbol(j, "line B of many letters", 22) : PST_NULL_SYMBOL,
                      .day = KIT_DAY,
                      .quality = CLOCK_CAPTURE};
    rows_run(&j->rows, &run);
    assert_int_equal(j->ops->decode(j->state, &j->env, m, len, &j->rows), DECODE_ROW);
}

static inline void journal_capture(struct journal *j, const char *path, bool itch, uint64_t most)
{
    struct err err;
    struct pcap_reader *r = pcap_read_open(path, &err);
    if (!r)
        fail_msg("%s", err.text);
    struct pcap_packet k;
    uint64_t seq = 0;
    while (seq < most && pcap_read_next(r, &k, &err) == 1) {
        struct pkt p = {.data = k.data, .len = k.len, .wire_len = k.len};
        struct udp_view v;
        if (packet_parse(&p, &v) != DROP_none)
            continue;
        uint32_t at = itch ? 20 : 40;
        uint32_t count = itch ? be16(v.payload + 18) : le16(v.payload + 14);
        int64_t rx = (int64_t)seq * 1000 + 7;
        bool line = seq % 3 == 0;
        for (; count; count--) {
            uint32_t len = itch ? be16(v.payload + at) : le16(v.payload + at);
            journal_message(j, ++seq, rx, line, v.payload + at + 2, len);
            at += 2 + len;
        }
    }
    kit_flush(&j->rows);
    pcap_read_close(r);
}

/* Messages with a length in front. */
static inline void journal_messages(struct journal *j, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("capture %s is missing", path);
    uint8_t head[2], body[65536];
    uint64_t seq = 0;
    while (fread(head, 1, 2, file) == 2) {
        uint32_t len = be16(head);
        assert_int_equal(fread(body, 1, len, file), len);
        seq++;
        journal_message(j, seq, (int64_t)(seq / 10) * 1000 + 7, seq / 10 % 2, body, len);
    }
    fclose(file);
    kit_flush(&j->rows);
}
