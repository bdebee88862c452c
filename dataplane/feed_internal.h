/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_internal.h - what feed.c (open, timers, commands), feed_session.c (sessions, epochs, state)
 * and feed_packet.c (the packet path) share. Nobody else includes it. Owner of all of it: the
 * feed's lcore.
 */
#pragma once

#include "feed.h"
#include "feed_gaps.h"
#include "feed_history.h"
#include "feed_window.h"

#define NO_SESSION   0xFFFFFFFFu
#define LINE_MISSING 64u /* ranges remembered per session and line */
#define RESET_COPY   128u
#define RETIRED      256u

struct session_line {
    bool joined;
    uint64_t next; /* behind the highest number it delivered here */
    uint64_t send_time, offset;
    int64_t jump_rx; /* when it last skipped numbers */
    uint64_t hint;   /* history */
    struct gaps missing;
    /* a fall that a second packet must confirm */
    bool fell;
    uint64_t fell_seq, fell_send;
};

struct session {
    bool used;
    bool bound; /* its key is known (a resumed session waits for its first packet) */
    bool newest;
    bool fresh;     /* nothing decided yet: the first gap has `fresh_reason` */
    bool after_gap; /* the next row is the first after a gap */
    bool starting;  /* operator reset: the next packet opens a new epoch */
    bool ended, end_marked;
    uint8_t state; /* enum session_state */
    uint64_t key[FRAMING_KEY_MAX / 8];
    uint32_t older; /* the epoch before, or NO_SESSION */
    uint32_t epoch;
    int32_t day;
    int64_t day_end; /* receive times from here on are of a later trading date */
    int64_t begin_rx, last_rx;
    uint64_t begin_send;
    bool succeeds; /* it took the place of a session or epoch that lines were following */
    uint64_t first, next, high;
    uint32_t sym;
    uint32_t flags; /* ROW_MAYBE_BAD_BOOK once something is missing */
    const char *fresh_reason;
    const char *stall_reason;
    int64_t stall_until;
    /* open gap at `next` */
    struct window_heap heap;
    uint64_t beat; /* highest `next` that a heartbeat told */
    int64_t beat_rx, since;
    uint64_t end_seq;
    /* a number too far ahead, waiting for a second one */
    bool jumped;
    uint64_t jump_seq;
    uint8_t reset_copy[RESET_COPY];
    uint32_t reset_len;
    struct gaps gaps; /* declared and still open */
    struct history history;
    struct decode_env env;
    void *decoder;
    struct status_session *st;
    struct session_line line[FEED_LINES];
    char text[FRAMING_TEXT_MAX];
};

struct feed_line {
    struct status_line *st;
    enum line_role role;
    bool off;
    int64_t first_rx, last_rx;
    int64_t watched; /* silence counts from here at the earliest */
    uint32_t cached; /* session of its last packet */
    uint32_t sym;
};

/* Keys whose session had to leave: the epoch count goes on where it was. */
struct retired {
    uint64_t key[FRAMING_KEY_MAX / 8];
    int32_t day;
    uint32_t epoch;
};

struct feed {
    const struct framing *fr;
    const struct framing_code *code;
    const struct decoder_ops *dec;
    struct feed_config cfg;
    unsigned index, key_words;
    char name[32];
    struct status *status;
    struct status_feed *st;
    struct rows *sink; /* whose symbols the ids below are */
    uint32_t sym, sym_malformed, sym_divergent, sym_unknown, sym_length, sym_symbol, sym_whole,
        sym_empty;
    struct feed_line line[FEED_LINES];
    bool paused;
    bool was_open; /* within hours, when silence was judged last */
    bool starved;  /* the window waits for room */
    int64_t due;   /* nothing to do before */
    int64_t silence_at;
    int64_t day_from, day_to; /* cache for content without a session */
    int32_t day;
    uint64_t row_most; /* bytes one message's row can need */
    struct window window;
    uint16_t *at, *at_whole, *at_run, *at_past; /* message starts */
    uint8_t *scratch;                           /* a packet taken from the window */
    uint32_t nsessions;
    struct session *session;
    uint32_t *hash; /* newest session of a key + 1 */
    uint32_t hash_mask;
    struct retired retired[RETIRED];
    uint32_t nretired;
    struct status_session spare; /* figures of sessions for which the status has no slot */
    void *memory[12];
    unsigned nmemory;
};

/* feed_session.c */
uint64_t session_hash(const struct feed *f, const uint64_t *key);
uint32_t session_find(const struct feed *f, const uint64_t *key); /* newest, or NO_SESSION */
struct session *session_settle(struct feed *f, unsigned line, const struct packet_view *v,
                               const uint8_t *payload, uint32_t len, int64_t rx, struct rows *out);
void session_mark(struct feed *f, const struct session *s, const char *event, const char *extra,
                  struct rows *out);
struct session *session_slot(struct feed *f, int64_t now, struct rows *out);
void session_start(struct feed *f, struct session *s, int32_t day, uint32_t epoch, uint64_t first,
                   uint64_t next);
void session_ended(struct feed *f, struct session *s, struct rows *out);
int32_t feed_day(struct feed *f, int64_t rx);
void feed_intern(struct feed *f, struct rows *out);

/* feed_packet.c */
bool gap_settle(struct feed *f, struct session *s, int64_t now, bool force_all, struct rows *out);

pst_inline bool session_gap_open(const struct session *s)
{
    return s->heap.n || s->beat > s->next;
}
pst_inline void session_next(struct session *s, uint64_t next)
{
    s->next = next;
    store_relaxed(&s->st->next, next);
}
pst_inline bool key_equal(const struct feed *f, const uint64_t *a, const uint64_t *b)
{
    uint64_t d = 0;
    for (unsigned i = 0; i < f->key_words; i++)
        d |= a[i] ^ b[i];
    return d == 0;
}
