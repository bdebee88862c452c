/* SPDX-License-Identifier: Apache-2.0 */
/*
 * framing_builtin.c - the built-in descriptors and their own copies of the parser.
 * Source: protocols page §1, 2, 6, 7, 8, 11; each checked there on real packets.
 */
#include "descriptor.h"
#include "framing_code.h"

/* Nasdaq family. A count of 0xFFFF ends the session. */
static const struct framing moldudp64 = {
    .name = "moldudp64",
    .header = 20,
    .nkeys = 1,
    .key = {{0, 10, KEY_TEXT, true}},
    .seq = {10, 8},
    .first_seq = 1,
    .count = {18, 2},
    .mlen = {0, 2},
    .mlen_adds = 2,
    .skip = 2,
    .match = {{MATCH_HEARTBEAT, TEST_COUNT, .value = 0}, {MATCH_END, TEST_COUNT, .value = 0xFFFF}},
};

/* IEX transport: protocol and channel name the stream, the session changes. */
static const struct framing iex_tp = {
    .name = "iex-tp",
    .header = 40,
    .little = true,
    .nkeys = 3,
    .key = {{2, 2, KEY_NUMBER, false}, {4, 4, KEY_NUMBER, false}, {8, 4, KEY_NUMBER, true}},
    .seq = {24, 8},
    .first_seq = 1,
    .count = {14, 2},
    .length = {12, 2},
    .length_adds = 40,
    .mlen = {0, 2},
    .mlen_adds = 2,
    .skip = 2,
    .send_time = {32, 8},
    .offset = {16, 8},
    .match = {{MATCH_HEARTBEAT, TEST_COUNT, .value = 0}},
};

/* Cboe sequenced unit header, also LSE MITCH. Sequence 0 is content outside the numbering. */
static const struct framing cboe = {
    .name = "cboe",
    .header = 8,
    .little = true,
    .nkeys = 1,
    .key = {{3, 1, KEY_NUMBER, false}},
    .seq = {4, 4},
    .first_seq = 1,
    .count = {2, 1},
    .length = {0, 2},
    .mlen = {0, 1},
    .shortest = 2, /* length and type */
    .match = {{MATCH_UNSEQUENCED, TEST_SEQ, .value = 0}, {MATCH_HEARTBEAT, TEST_COUNT, .value = 0}},
};

/* CME MDP 3.0. The sequence counts packets; the heartbeat (template 12) has a number of its own;
 * template 4 is the channel reset. */
static const struct framing cme = {
    .name = "cme",
    .header = 12,
    .little = true,
    .seq = {0, 4},
    .first_seq = 1,
    .counts_packets = true,
    .mlen = {0, 2},
    .shortest = 10, /* length, SBE header */
    .send_time = {4, 8},
    .match = {{MATCH_IDLE, TEST_FIELD, 2, false, 16, 0xFFFF, 12},
              {MATCH_RESET, TEST_FIELD, 2, false, 16, 0xFFFF, 4}},
};

/* B3 binary UMDF. The sequence version is part of the key: a new one is a new session. Sequence 0
 * keeps the line alive. */
static const struct framing b3 = {
    .name = "b3",
    .header = 16,
    .little = true,
    .nkeys = 2,
    .key = {{0, 1, KEY_NUMBER, false}, {2, 2, KEY_NUMBER, true}},
    .seq = {4, 4},
    .first_seq = 1,
    .counts_packets = true,
    .mlen = {0, 2},
    .shortest = 12, /* length, encoding, SBE header */
    .match = {{MATCH_UNSEQUENCED, TEST_SEQ, .value = 0}},
};

static const struct framing *const all[] = {&moldudp64, &iex_tp, &cboe, &cme, &b3};

#define SPECIALISE(f)                                                                              \
    static void header_##f(const struct framing *u pst_unused, const uint8_t *p, uint32_t len,     \
                           struct packet_view *v)                                                  \
    {                                                                                              \
        framing_header_inline(&f, p, len, v);                                                      \
    }                                                                                              \
    static bool walk_##f(const struct framing *u pst_unused, struct packet_view *v, uint16_t *at)  \
    {                                                                                              \
        return framing_walk_inline(&f, v, at);                                                     \
    }                                                                                              \
    static const struct framing_code code_##f = {header_##f, walk_##f};
SPECIALISE(moldudp64)
SPECIALISE(iex_tp)
SPECIALISE(cboe)
SPECIALISE(cme)
SPECIALISE(b3)

static const struct framing_code *const codes[] = {&code_moldudp64, &code_iex_tp, &code_cboe,
                                                   &code_cme, &code_b3};

static bool keys_equal(const struct framing *a, const struct framing *b)
{
    bool same = a->nkeys == b->nkeys;
    for (unsigned i = 0; same && i < a->nkeys; i++)
        same = a->key[i].offset == b->key[i].offset && a->key[i].width == b->key[i].width;
    return same;
}
static bool field_equal(struct framing_field a, struct framing_field b)
{
    return a.width == b.width && (a.width == 0 || a.offset == b.offset);
}
static bool matches_equal(const struct framing *a, const struct framing *b)
{
    for (unsigned i = 0; i < FRAMING_MATCHES; i++) {
        const struct framing_match *x = &a->match[i], *y = &b->match[i];
        if (x->action != y->action)
            return false;
        if (!x->action)
            return true;
        if (x->test != y->test || x->negate != y->negate || x->value != y->value ||
            x->more != y->more)
            return false;
        if (x->test == TEST_FIELD &&
            (x->offset != y->offset || x->width != y->width || x->mask != y->mask))
            return false;
    }
    return true;
}
/* Equal in all that the parser looks at; names and the rendering of keys do not matter. */
static bool same_code(const struct framing *a, const struct framing *b)
{
    return a->header == b->header && framing_body(a) == framing_body(b) && a->little == b->little &&
           keys_equal(a, b) && field_equal(a->seq, b->seq) &&
           a->counts_packets == b->counts_packets && a->per_message_seq == b->per_message_seq &&
           field_equal(a->count, b->count) && field_equal(a->length, b->length) &&
           (!a->length.width || a->length_adds == b->length_adds) && a->messages == b->messages &&
           field_equal(a->mlen, b->mlen) && a->mlen_adds == b->mlen_adds &&
           a->mlen_swapped == b->mlen_swapped && a->tail == b->tail && a->skip == b->skip &&
           a->shortest == b->shortest && a->heartbeat == b->heartbeat &&
           field_equal(a->send_time, b->send_time) &&
           field_equal(a->send_fraction, b->send_fraction) && field_equal(a->offset, b->offset) &&
           matches_equal(a, b);
}

const struct framing_code *framing_code(const struct framing *f)
{
    for (unsigned i = 0; i < PST_COUNT(all); i++)
        if (f == all[i] || same_code(f, all[i]))
            return codes[i];
    return &framing_code_generic;
}

const struct framing *framing_find(const char *name)
{
    for (unsigned i = 0; i < PST_COUNT(all); i++)
        if (!strcmp(name, all[i]->name))
            return all[i];
    return NULL;
}
const struct framing *framing_at(unsigned i)
{
    return i < PST_COUNT(all) ? all[i] : NULL;
}
