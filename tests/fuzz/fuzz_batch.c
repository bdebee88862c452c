/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inject batches: head, texts, records. What is accepted must be a frame that every reader can
 * walk: known tables, runs as long as they say, strings inside their records, symbols that exist.
 */
#include "batch.h"
#include "core/tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GLOBALS 1000u /* global ids that the map gives are below this */

static struct schema_set *tables(const struct schema **gap)
{
    static struct schema_set *set;
    static const struct column_def trade[] = {{"time", PST_TIMESTAMP},
                                              {"sym", PST_SYMBOL},
                                              {"price", PST_FLOAT},
                                              {"venue", PST_SYMBOL},
                                              {"note", PST_STRING}};
    if (!set) {
        struct schema s;
        bool fresh;
        pst_must(set = schema_set_new());
        pst_must(tables_gap(&s, NULL) && schema_set_intern(set, &s, &fresh, NULL));
        pst_must(tables_undecoded(&s, NULL) && schema_set_intern(set, &s, &fresh, NULL));
        pst_must(schema_make(&s, 0, "trade", false, trade, PST_COUNT(trade), NULL));
        pst_must(schema_set_intern(set, &s, &fresh, NULL));
    }
    *gap = schema_set_find(set, "gap");
    return set;
}

static void sound_symbol(uint32_t id)
{
    pst_must(id < GLOBALS || id == PST_NULL_SYMBOL);
}

static void sound(const struct schema_set *set, const struct frame *f, uint32_t rows)
{
    struct record_walk w;
    const struct record *r;
    record_walk_start(&w, f);
    uint32_t n = 0;
    for (; (r = record_walk_next(&w)); n++) {
        const struct schema *s = schema_set_get(set, r->table);
        pst_must(s && s->feed == (w.packet != NULL) && r->bytes >= s->fixed);
        sound_symbol(r->sym);
        for (unsigned i = 0; i < s->nsyms; i++)
            sound_symbol(le32((const uint8_t *)r + s->sym_offset[i]));
        for (unsigned i = 0; i < s->ncols; i++) {
            uint32_t len;
            if (s->col[i].type == PST_STRING)
                pst_must(record_string(r, s->col[i].offset, &len));
        }
        if (w.packet) {
            pst_must(w.row < w.packet->rows);
            sound_symbol(w.packet->feed);
            sound_symbol(w.packet->session);
            sound_symbol(w.packet->line);
        }
    }
    pst_must(!w.bad && n == rows && n);
    const uint8_t *at = frame_payload(f), *end = at + frame_payload_bytes(f);
    bool bad = false;
    if (((const struct record *)at)->table == TABLE_PACKET)
        while (packet_hop(&at, end, &bad))
            ;
    pst_must(!bad);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct inject_batch b;
    if (size < sizeof b || size > FRAME_MAX)
        return 0;
    memcpy(&b, data, sizeof b);
    b.bytes = (uint32_t)size; /* what the appender has checked before it looks inside */
    uint32_t body = b.bytes - (uint32_t)sizeof b;
    if (b.bytes % 8 || b.syms_bytes > body || b.syms_bytes % 8)
        return 0;
    const uint8_t *section = data + sizeof b;
    uint32_t rest = body - b.syms_bytes;
    struct frame *f = aligned_alloc(8, FRAME_HEADER + (rest ? rest : 8));
    pst_must(f != NULL);
    *f = (struct frame){.length = FRAME_HEADER + rest, .kind = b.kind, .stream = b.stream};
    memcpy(f + 1, section + b.syms_bytes, rest);
    if (b.kind == FRAME_MARK || b.kind == FRAME_SCHEMA) {
        if (batch_text_check(&b, f)) {
            unsigned type;
            uint32_t len;
            pst_must(b.kind == FRAME_MARK ? frame_mark(f, &type, &len) != NULL
                                          : frame_schema_json(f, &len) != NULL);
        }
        free(f);
        return 0;
    }
    struct batch_syms t;
    const struct schema *gap;
    struct schema_set *set = tables(&gap);
    if (batch_texts(&b, section, 64, &t)) {
        static uint32_t map[64];
        for (unsigned i = 0; i < 64; i++)
            map[i] = i % 7 == 6 ? SYMBOL_REFUSED : i * 13 % GLOBALS;
        struct batch_rows w = {.schemas = set,
                               .gap = b.kind == FRAME_GAP ? gap : NULL,
                               .at = (uint8_t *)(f + 1),
                               .bytes = rest,
                               .records = b.records,
                               .locals = t.n,
                               .null_refused = b.flags & 2};
        enum inject_refusal checked = batch_rows_check(&w);
        w.map = map;
        enum inject_refusal mapped = batch_rows_check(&w);
        pst_must(mapped == checked || mapped == INJECT_SYMBOLS_LIMIT);
        if (!mapped)
            sound(set, f, w.rows);
    }
    free(f);
    return 0;
}
