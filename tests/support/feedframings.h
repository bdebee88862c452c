/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feedframings.h - the rows of the framing table that are not built in, as a configuration would
 * describe them. With the five built-in ones these are all the 18 rows.
 */
#pragma once

#include "descriptor.h"

#define MATCH(a, o, w, v)                                                                          \
    {                                                                                              \
        .action = MATCH_##a, .test = TEST_FIELD, .width = w, .offset = o, .mask = ~0ull,           \
        .value = v                                                                                 \
    }
#define MATCH_AND(a, o, w, v)                                                                      \
    {                                                                                              \
        .action = MATCH_##a, .test = TEST_FIELD, .width = w, .offset = o, .mask = ~0ull,           \
        .value = v, .more = true                                                                   \
    }
#define MATCH_NOT(a, o, w, v)                                                                      \
    {                                                                                              \
        .action = MATCH_##a, .test = TEST_FIELD, .width = w, .offset = o, .mask = ~0ull,           \
        .value = v, .negate = true                                                                 \
    }
#define MATCH_COUNT(a, v)                                                                          \
    {                                                                                              \
        .action = MATCH_##a, .test = TEST_COUNT, .value = v                                        \
    }

static const struct framing test_framings[] = {
    {.name = "nyse-xdp",
     .header = 16,
     .little = true,
     .seq = {4, 4},
     .first_seq = 1,
     .count = {3, 1},
     .length = {0, 2},
     .mlen = {0, 2},
     .send_time = {8, 4},
     .send_fraction = {12, 4},
     .match = {MATCH(HEARTBEAT, 2, 1, 1), MATCH(RESET, 2, 1, 12), MATCH(RETRANSMITTED, 2, 1, 13),
               MATCH(RETRANSMITTED, 2, 1, 15), MATCH(UNSEQUENCED, 2, 1, 17),
               MATCH(UNSEQUENCED, 2, 1, 18), MATCH(UNSEQUENCED, 2, 1, 19),
               MATCH(UNSEQUENCED, 2, 1, 20), MATCH_COUNT(HEARTBEAT, 0)}},
    {.name = "memoir",
     .header = 18,
     .messages_at = 20,
     .nkeys = 1,
     .key = {{2, 8, KEY_NUMBER, true}},
     .seq = {10, 8},
     .first_seq = 1,
     .count = {18, 2},
     .mlen = {0, 2},
     .mlen_adds = 2,
     .skip = 2,
     .match = {MATCH(DATA, 0, 1, 2), MATCH(HEARTBEAT, 0, 1, 0), MATCH(END, 0, 1, 1)}},
    {.name = "opra",
     .header = 21,
     .seq = {6, 4},
     .first_seq = 1,
     .count = {10, 1},
     .length = {1, 2},
     .messages = MESSAGES_OPAQUE,
     .send_time = {11, 4},
     .send_fraction = {15, 4},
     .match = {MATCH(HEARTBEAT, 22, 2, 0x484E), MATCH_NOT(RETRANSMITTED, 4, 1, ' ')}},
    {.name = "cta",
     .header = 20,
     .seq = {5, 4},
     .first_seq = 1,
     .count = {9, 1},
     .length = {1, 2},
     .mlen = {0, 2},
     .send_time = {10, 4},
     .send_fraction = {14, 4},
     .tail = 1,
     .heartbeat = HEARTBEAT_LAST,
     .match = {MATCH_AND(HEARTBEAT, 22, 1, 'C'), MATCH(HEARTBEAT, 23, 1, 'T'),
               MATCH(UNSEQUENCED, 22, 2, 0x4341), MATCH(RESET, 22, 2, 0x434C),
               MATCH(RETRANSMITTED, 4, 1, 'V')}},
    {.name = "deribit",
     .header = 8,
     .little = true,
     .nkeys = 1,
     .key = {{2, 2, KEY_NUMBER, false}},
     .seq = {4, 4},
     .first_seq = 1,
     .counts_packets = true,
     .length = {0, 2},
     .length_adds = 8,
     .messages = MESSAGES_OPAQUE},
    {.name = "coinbase",
     .header = 24,
     .little = true,
     .nkeys = 1,
     .key = {{16, 2, KEY_NUMBER, false}},
     .seq = {8, 8},
     .first_seq = 1,
     .counts_packets = true,
     .count = {19, 1},
     .mlen = {0, 2}},
    {.name = "optiq",
     .header = 16,
     .little = true,
     .nkeys = 1,
     .key = {{14, 2, KEY_NUMBER, false}},
     .seq = {8, 4},
     .first_seq = 1,
     .counts_packets = true,
     .mlen = {0, 2},
     .mlen_adds = 2},
    {.name = "eobi", /* the packet header is itself a message */
     .header = 32,
     .little = true,
     .nkeys = 2,
     .key = {{12, 4, KEY_NUMBER, false}, {16, 1, KEY_NUMBER, false}},
     .seq = {8, 4},
     .first_seq = 0,
     .counts_packets = true,
     .mlen = {0, 2},
     .match = {MATCH(IDLE, 34, 2, 13001)}},
    {.name = "ice-impact",
     .header = 16,
     .nkeys = 1,
     .key = {{0, 2, KEY_NUMBER, true}},
     .seq = {2, 4},
     .first_seq = 1,
     .count = {6, 2},
     .mlen = {1, 2},
     .mlen_adds = 3,
     .send_time = {8, 8},
     .match = {MATCH_COUNT(HEARTBEAT, 0)}},
    {.name = "miax-mach",
     .little = true,
     .nkeys = 1,
     .key = {{11, 1, KEY_NUMBER, true}},
     .seq = {0, 8},
     .first_seq = 1,
     .per_message_seq = true,
     .mlen = {8, 2},
     .skip = 12,
     .match = {MATCH(HEARTBEAT, 10, 1, 0)}},
    {.name = "omd",
     .header = 16,
     .little = true,
     .seq = {4, 4},
     .first_seq = 1,
     .count = {2, 1},
     .length = {0, 2},
     .mlen = {0, 2},
     .match = {MATCH_COUNT(HEARTBEAT, 0)}},
    {.name = "otc-markets",
     .header = 12,
     .seq = {2, 4},
     .first_seq = 1,
     .count = {7, 1},
     .length = {0, 2},
     .mlen = {0, 2},
     .mlen_adds = 2},
    {.name = "aquis",
     .header = 1,
     .seq = {2, 4},
     .first_seq = 1,
     .per_message_seq = true,
     .count = {0, 1},
     .mlen = {1, 1},
     .match = {MATCH_COUNT(HEARTBEAT, 0)}},
};

static inline const struct framing *test_framing(const char *name)
{
    for (unsigned i = 0; i < PST_COUNT(test_framings); i++)
        if (!strcmp(test_framings[i].name, name))
            return &test_framings[i];
    return framing_find(name);
}
