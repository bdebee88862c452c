/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_decoder.h - a decoder on any sequence of length-prefixed messages (u16, big endian).
 *
 * What must hold for each message: nothing beyond its last byte is read (each lies at a guard page
 * of its own), DECODE_ROW commits exactly one record of a table of the decoder and of its size,
 * every other outcome commits nothing, not one byte behind the record is written, and a message
 * that grows at its end gives the same record.
 */
#pragma once

#include "core/tables.h"
#include "decoder.h"
#include "support/guard.h"

#define FUZZ_SYMBOLS 300 /* few, so that refusals happen */
#define FUZZ_MESSAGE 4096u

static uint8_t fuzz_frame[FRAME_MAX] __attribute__((aligned(64)));
static char fuzz_text[FUZZ_SYMBOLS][9];
static uint32_t fuzz_symbols;

static void fuzz_stage(struct rows *r)
{
    r->base = r->at = fuzz_frame + FRAME_HEADER;
    r->limit = r->base + ROWS_FRAME_TARGET;
    r->records = 0;
    r->head = NULL;
}

static void fuzz_flush(struct rows *r)
{
    rows_close_run(r);
    fuzz_stage(r);
}

static uint32_t fuzz_intern(struct rows *r, const char *text, uint32_t len)
{
    pst_must(len >= 1 && len <= 8);
    if (memchr(text, 0, len))
        return SYMBOL_REFUSED;
    for (uint32_t i = 0; i < fuzz_symbols; i++)
        if (strlen(fuzz_text[i]) == len && !memcmp(fuzz_text[i], text, len))
            return i;
    if (fuzz_symbols == FUZZ_SYMBOLS)
        return SYMBOL_REFUSED;
    fuzz_flush(r);
    memset(fuzz_text[fuzz_symbols], 0, sizeof fuzz_text[0]);
    memcpy(fuzz_text[fuzz_symbols], text, len);
    return fuzz_symbols++;
}

static const struct rows_ops fuzz_ops = {.flush = fuzz_flush, .intern = fuzz_intern};

struct fuzz_bed {
    const struct decoder_ops *ops;
    void *state;
    struct schema schema[DECODER_TABLES];
    struct decode_env env;
    struct rows rows;
    struct guard guard;
};

static void fuzz_open(struct fuzz_bed *b, const char *decoder)
{
    struct err err;
    b->ops = decoder_find(decoder);
    pst_must(b->ops);
    b->state = malloc(b->ops->state_bytes);
    pst_must(b->state);
    for (unsigned i = 0; i < b->ops->ntables; i++) {
        const struct decoder_table *t = &b->ops->tables[i];
        pst_must(schema_make(&b->schema[i], (uint16_t)(TABLE_FIRST + i), t->name, true, t->cols,
                             t->ncols, &err));
        b->env.table[i] = &b->schema[i];
    }
    pst_must(decoder_bind(b->ops, b->env.table, &err));
    guard_open(&b->guard, FUZZ_MESSAGE + 64);
}

/* The record that the message gave, or NULL. Valid until the next. */
static const struct record *fuzz_message(struct fuzz_bed *b, const uint8_t *m, uint32_t len)
{
    struct rows *r = &b->rows;
    rows_run(r, &(struct run){.seq = r->seq, .day = 9000});
    if (r->at + 4096 > r->limit)
        fuzz_flush(r);
    uint64_t total = r->rows_total, seq = r->seq;
    uint8_t *behind = r->limit - 512;
    memset(behind, 0x5A, 512); /* a frame that is nearly empty never comes near */
    enum decode got = b->ops->decode(b->state, &b->env, guard_copy(&b->guard, m, len), len, r);
    pst_must(got <= DECODE_SYMBOL);
    pst_must(r->rows_total - total == (got == DECODE_ROW));
    pst_must(r->seq - seq == (got == DECODE_ROW));
    for (unsigned i = 0; i < 512; i++)
        pst_must(behind[i] == 0x5A);
    if (got != DECODE_ROW)
        return NULL;
    for (unsigned i = 0; i < b->ops->ntables; i++) {
        const struct record *k = (const struct record *)(r->at - b->schema[i].fixed);
        if (r->at - b->schema[i].fixed < r->base || k->table != b->schema[i].id ||
            k->bytes != b->schema[i].fixed)
            continue;
        pst_must(k->sym == PST_NULL_SYMBOL || k->sym < fuzz_symbols);
        for (unsigned s = 0; s < b->schema[i].nsyms; s++) {
            uint32_t id = le32((const uint8_t *)k + b->schema[i].sym_offset[s]);
            pst_must(id == PST_NULL_SYMBOL || id < fuzz_symbols);
        }
        return k;
    }
    pst_must(!"a record of one of the decoder's tables");
    return NULL;
}

static void fuzz_stream(struct fuzz_bed *b, const uint8_t *data, size_t size)
{
    fuzz_symbols = 0;
    b->rows = (struct rows){.ops = &fuzz_ops, .owner = b};
    fuzz_stage(&b->rows);
    b->ops->init(b->state);
    while (size >= 2) {
        uint32_t len = be16(data);
        data += 2;
        size -= 2;
        if (len > size)
            len = (uint32_t)size;
        uint32_t take = len > FUZZ_MESSAGE ? FUZZ_MESSAGE : len;
        const struct record *k = fuzz_message(b, data, take);
        if (k) {
            uint8_t once[256], longer[FUZZ_MESSAGE + 64];
            uint32_t bytes = k->bytes;
            pst_must(bytes <= sizeof once);
            memcpy(once, k, bytes);
            memcpy(longer, data, take);
            memset(longer + take, 0xC3, 64);
            k = fuzz_message(b, longer, take + 64);
            pst_must(k && k->bytes == bytes && !memcmp(once, k, bytes));
        }
        data += len;
        size -= len;
    }
}
