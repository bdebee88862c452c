/* SPDX-License-Identifier: Apache-2.0 */
/*
 * descriptor.h - framing as data: everything that sequencing, arbitration and gap detection need to
 * know about a feed's packet header, and nothing of what its messages mean.
 *
 * A `struct framing` is plain data: constant for the built-in ones (framing_builtin.c), filled from
 * the configuration for any other. It is immutable once a feed runs; any thread may read it.
 *
 * One generic parser (framing_code.h) serves all. The built-in descriptors get their own copy of it
 * with the descriptor as a compile-time constant, so that there is one code and no price for it;
 * framing_code() picks it also for a configured descriptor that equals a built-in one.
 *
 * Parsing has two steps because a duplicate, recognised by its bytes, need not be walked:
 *   framing_header  the packet header: lengths, kind, stream key, sequence
 *   framing_walk    the messages: they must land exactly on the end; gives where each one starts
 * framing_parse does both. What does not hold is `malformed` with a reason, and by contract no
 * expected sequence moves on account of it.
 *
 * Nothing reads beyond payload + len. Source of the 18 rows this can express: protocols page, §1.
 */
#pragma once

#include <errno.h>
#include "core/base.h"

#define FRAMING_KEYS     4
#define FRAMING_MATCHES  12
#define FRAMING_KEY_MAX  32u    /* bytes of all key pieces together */
#define FRAMING_TEXT_MAX 64u    /* rendered stream key with its NUL, epoch suffix included */
#define FRAMING_MESSAGES 65536u /* a packet cannot hold more: each takes a byte at least */

struct framing_field {
    uint16_t offset; /* from the start of the packet, or of the message where it says so */
    uint8_t width;   /* 1 2 3 4 6 8; 0 = the feed has no such field */
};

enum framing_key_kind {
    KEY_NUMBER, /* decimal, in the feed's byte order */
    KEY_TEXT,   /* ASCII, blanks at both ends trimmed, odd bytes as %XX */
    KEY_HEX
};
/* One piece of the stream key. `session` marks the piece that changes when the venue starts anew
 * (a session text, a sequence version); the others name one of many streams (unit, channel). */
struct framing_key {
    uint16_t offset;
    uint8_t width;
    uint8_t kind; /* enum framing_key_kind */
    bool session;
};

enum framing_action {
    MATCH_HEARTBEAT = 1, /* tells the next sequence, carries nothing */
    MATCH_END,           /* end of session; sequence = next */
    MATCH_RESET,         /* the numbering starts anew with this packet */
    MATCH_UNSEQUENCED,   /* content outside the numbering */
    MATCH_RETRANSMITTED, /* ordinary content, sent again: rows get `recovered` */
    MATCH_IDLE,          /* a heartbeat with a sequence of its own: data that counts as heartbeat */
    MATCH_DATA           /* where given, what matches nothing is malformed */
};
enum framing_test { TEST_FIELD, TEST_COUNT, TEST_SEQ };
/* (value at offset & mask) == value, or count == value, or seq == value. Tried in order; the first
 * of HEARTBEAT END UNSEQUENCED DATA that fits decides, RESET RETRANSMITTED IDLE only add to it.
 * A field beyond the packet's end never matches, not even a negated test. */
struct framing_match {
    uint8_t action; /* 0 ends the list */
    uint8_t test;
    uint8_t width;
    bool negate;
    uint16_t offset;
    uint64_t mask, value;
    bool more; /* the next entry (of the same action) must hold too */
};

/* What the number in a heartbeat is. One with a number of its own is MATCH_IDLE, not a heartbeat.
 */
enum framing_heartbeat {
    HEARTBEAT_NEXT, /* the next message's */
    HEARTBEAT_LAST, /* the last message's, repeated */
    HEARTBEAT_NONE  /* nothing */
};

enum framing_messages {
    MESSAGES_LENGTH, /* each has a length field at its start */
    MESSAGES_OPAQUE, /* no lengths: the rest of the packet is one unit */
};

struct framing {
    char name[24];
    uint16_t header;      /* bytes every packet has at least; 0 only with per_message_seq */
    uint16_t messages_at; /* where messages start in data packets; 0 = at `header` */
    bool little;          /* byte order of every number */
    uint8_t nkeys;
    struct framing_key key[FRAMING_KEYS];

    struct framing_field seq; /* of the first message, or of the packet */
    uint64_t first_seq;       /* the first number of a session */
    bool counts_packets;      /* seq counts packets, not messages */
    bool per_message_seq;     /* seq lies in each message (offset from its start) */

    struct framing_field count;  /* number of messages; none: walk to the end */
    struct framing_field length; /* payload length = value + length_adds */
    int16_t length_adds;

    uint8_t messages;          /* enum framing_messages */
    struct framing_field mlen; /* offset from the start of the message */
    int16_t mlen_adds;         /* whole message = value + mlen_adds */
    bool mlen_swapped;         /* its byte order is not the packet's */
    uint8_t tail;  /* bytes that may be left behind the last message (CTA pads to an even length);
                    * only with a count */
    uint16_t skip; /* bytes at its start that are framing, not handed to the decoder */
    uint16_t shortest; /* a shorter message is malformed; 0 = its prefix will do */

    uint8_t heartbeat;                  /* enum framing_heartbeat */
    struct framing_field send_time;     /* grows with time; unit and epoch do not matter here */
    struct framing_field send_fraction; /* of at most 4 bytes, where it stands apart */
    struct framing_field offset;        /* stream offset in bytes, starts over with the numbering */
    struct framing_match match[FRAMING_MATCHES];
};

/* Why a packet is malformed. X(ID, "name", "sentence") */
#define FRAMING_REASONS(X)                                                                         \
    X(NONE, "none", "the packet is sound")                                                         \
    X(SHORT, "short", "it ends before its packet header does")                                     \
    X(LENGTH, "length", "its length field disagrees with the datagram")                            \
    X(KIND, "kind", "its header is of no kind that the descriptor knows")                          \
    X(WALK, "walk", "a message ends beyond the end of the packet or is shorter than its prefix")   \
    X(TAIL, "tail", "bytes are left behind the last message")                                      \
    X(COUNT, "count", "it holds fewer messages than its header says")                              \
    X(SEQUENCE, "sequence", "its numbers would run beyond 2^64")                                   \
    X(JUMP, "jump", "its number lies implausibly far ahead and no other packet confirms it")
enum framing_reason {
#define X(ID, name, sentence) FRAMING_##ID,
    FRAMING_REASONS(X)
#undef X
        FRAMING_REASON_COUNT
};
const char *framing_reason_name(enum framing_reason);
const char *framing_reason_sentence(enum framing_reason);

enum packet_kind {
    PACKET_DATA,
    PACKET_HEARTBEAT,
    PACKET_END,
    PACKET_UNSEQUENCED,
    PACKET_MALFORMED
};

struct packet_view {
    uint8_t kind;   /* enum packet_kind */
    uint8_t reason; /* enum framing_reason */
    bool reset, retransmitted, idle;
    uint32_t count; /* messages; from the header, or found by the walk */
    uint32_t seqs;  /* sequence numbers it covers: count, or 1 where packets are numbered */
    uint64_t seq;   /* as on the wire; of the first message of this view */
    uint64_t send_time, offset;        /* 0 where the feed has none */
    const uint8_t *first;              /* first message */
    uint32_t bytes;                    /* from there to the end of the view */
    uint64_t key[FRAMING_KEY_MAX / 8]; /* key pieces in a row, zero padded */
};

/* Starts of the messages: message i is [at[i], at[i + 1]) from view->first. FRAMING_MESSAGES + 1
 * entries, the caller's. */
struct framing_code {
    void (*header)(const struct framing *, const uint8_t *payload, uint32_t len,
                   struct packet_view *out);
    /* False: malformed (kind and reason set). */
    bool (*walk)(const struct framing *, struct packet_view *v, uint16_t *at);
};

/* The parser for a descriptor: a specialised one where it equals a built-in, else the generic. */
const struct framing_code *framing_code(const struct framing *f);
extern const struct framing_code framing_code_generic; /* for tests: the two must agree */

/* Both steps. `at` as in framing_code. Returns out->kind. */
enum packet_kind framing_parse(const struct framing *f, const uint8_t *payload, uint32_t len,
                               struct packet_view *out, uint16_t *at);
/* Feeds with a number in each message (per_message_seq): `whole` and `at` come from framing_parse;
 * fills *run with the messages from index i on whose numbers are consecutive, and returns the index
 * behind them. */
uint32_t framing_run(const struct framing *f, const struct packet_view *whole, const uint16_t *at,
                     uint32_t i, struct packet_view *run);

/* Does the description make sense? The sentence names the field. Not on a hot path. */
bool framing_check(const struct framing *f, struct err *err);

/* The stream key as text ("000010059B", "32772:1:1161625600", "11"); "-" where the feed has no key.
 * Never longer than cap - 1; always NUL-terminated. Returns its length. */
uint32_t framing_key_text(const struct framing *f, const uint64_t *key, char *text, uint32_t cap);
/* The same without its session pieces: equal for two sessions of one stream. */
uint32_t framing_channel_text(const struct framing *f, const uint64_t *key, char *text,
                              uint32_t cap);
unsigned framing_key_bytes(const struct framing *f);

/* A number of `width` bytes on the wire, extended to 64 bits as the one nearest to `near`. */
pst_inline uint64_t framing_extend(uint64_t raw, unsigned width, uint64_t near)
{
    if (width >= 8 || width == 0)
        return raw;
    unsigned bits = width * 8;
    uint64_t mask = ((uint64_t)1 << bits) - 1;
    uint64_t ahead = (raw - near) & mask; /* distance going up */
    if (ahead >> (bits - 1)) {            /* nearer going down */
        uint64_t down = mask + 1 - ahead;
        if (down <= near)
            return near - down;
    }
    return near + ahead < near ? raw : near + ahead;
}

/* The built-in descriptors: moldudp64, iex-tp, cboe, cme, b3. NULL = no such / past the end. */
const struct framing *framing_find(const char *name);
const struct framing *framing_at(unsigned i);
