/* SPDX-License-Identifier: Apache-2.0 */
#include "append_check.h"
#include "core/source.h"
#include "dataplane/batch.h"

#define RUN_FLAGS (ROW_FLAG_MASK | RUN_PACKET_SEQ | RUN_UNSEQUENCED | RUN_REPLAYED)

static bool bad(struct err *err, unsigned block, const char *what)
{
    return err_set(err, -EBADMSG, "append: block %u: %s; nothing was taken", block, what);
}

/* Head and texts. */
static bool frame_of(const struct append_block *b, unsigned i, uint32_t left, struct err *err)
{
    if (left < sizeof *b || b->bytes < sizeof *b || b->bytes % 8 || b->bytes > left)
        return bad(err, i, "its length is wrong");
    if (b->texts_bytes % 8 || b->texts_bytes > APPEND_TEXTS_BYTES ||
        b->texts_bytes > b->bytes - sizeof *b)
        return bad(err, i, "its texts are longer than the block, or than allowed");
    if (append_record_bytes(b) > APPEND_BLOCK_BYTES || b->zero[0] || b->zero[1] ||
        b->flags & ~APPEND_AS_LOGGED)
        return bad(err, i,
                   "its records are longer than allowed, or its head is not zero where it must");
    struct inject_batch head = {.new_syms = b->texts, .syms_bytes = b->texts_bytes};
    struct batch_syms texts;
    if (!batch_texts(&head, append_texts(b), APPEND_TEXTS_BYTES, &texts))
        return bad(err, i, "its texts are not { length, 1 to 255 bytes without NUL } to the end");
    return true;
}

static bool points(const struct append_rules *rules, const struct append_block *b,
                   const struct append_block *before, unsigned i, struct err *err)
{
    struct source_point from = source_point(b->after, b->after_row),
                        to = source_point(b->position, b->row);
    if (!rules->of_source)
        return (!from.position && !from.row && !to.position && !to.row) ||
               bad(err, i, "it has points, but the request names no source");
    if (source_cmp(to, from) <= 0 || to.position > SOURCE_POSITION_MAX)
        return bad(err, i, "its source does not move on");
    if (before && source_cmp(source_point(before->position, before->row), from))
        return bad(err, i, "it does not begin where the one before it ended");
    return true;
}

/* Lengths are found sound on the way; the rest is batch_rows_check's. */
static bool tables(const struct append_rules *rules, const struct append_block *b, unsigned i,
                   struct err *err)
{
    uint8_t *at = append_records(b), *end = at + append_record_bytes(b);
    while (at < end) {
        struct record *r = (struct record *)at;
        if ((size_t)(end - at) < sizeof *r || r->bytes < sizeof *r || r->bytes % 8 ||
            r->bytes > end - at)
            return bad(err, i, "a record's length is wrong");
        at += r->bytes;
        if (r->table == TABLE_PACKET) {
            struct packet_record *p = (struct packet_record *)r;
            if (p->bytes != sizeof *p || p->flags & ~(uint32_t)RUN_FLAGS ||
                p->quality > CLOCK_DOUBTFUL)
                return bad(err, i, "a packet record is not sound");
            p->flags |= RUN_REPLAYED;
            memset(p->pad, 0, sizeof p->pad);
            continue;
        }
        const struct schema *s = schema_set_get(rules->schemas, r->table);
        if (!s || r->table < TABLE_FIRST)
            return bad(err, i, "a record's table does not exist");
        if (!rules->may[r->table])
            return err_set(err, -EACCES,
                           "append: table %s takes no rows from this peer (declared tables: level "
                           "operate; others: admin); nothing was taken",
                           s->name);
    }
    return true;
}

static bool rows_of(const struct append_rules *rules, struct append_block *b, unsigned i,
                    uint64_t *rows, struct err *err)
{
    uint32_t bytes = append_record_bytes(b);
    if (b->day && !rules->admin)
        return err_set(err, -EACCES, "append: only level admin says the rows' date");
    if (!bytes && !b->records)
        return rules->of_source || bad(err, i, "it holds no rows");
    if (!tables(rules, b, i, err))
        return false;
    struct batch_rows w = {.schemas = rules->schemas,
                           .gaps = rules->of_source,
                           .at = append_records(b),
                           .bytes = bytes,
                           .records = b->records,
                           .locals = b->texts,
                           .owners = rules->owners};
    if (batch_rows_check(&w))
        return bad(
            err, i,
            "a record is not laid out as its table, a string or symbol lies outside, or runs "
            "are not whole");
    if (!b->day && ((const struct record *)w.at)->table == TABLE_PACKET)
        return bad(err, i, "runs without a date");
    *rows += w.rows;
    return true;
}

bool append_check(const struct append_rules *rules, uint8_t *body, uint32_t bytes,
                  struct append_found *out, struct err *err)
{
    *out = (struct append_found){0};
    for (uint32_t at = 0; at < bytes;) {
        struct append_block *b = (struct append_block *)(body + at);
        unsigned i = out->blocks;
        if (i == APPEND_BLOCKS)
            return err_set(err, -EBADMSG, "append: more than %u blocks; nothing was taken",
                           APPEND_BLOCKS);
        if (!frame_of(b, i, bytes - at, err) ||
            !points(rules, b, i ? out->block[i - 1] : NULL, i, err) ||
            !rows_of(rules, b, i, &out->rows, err))
            return false;
        out->block[out->blocks++] = b;
        out->texts = b->texts > out->texts ? b->texts : out->texts;
        at += b->bytes;
    }
    return out->blocks || bad(err, 0, "there is none");
}
