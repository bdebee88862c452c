/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed.h - one feed: any number of redundant lines become one ordered stream of rows, gap rows and
 * session marks, with honest figures of what each line did.
 *
 *     line A ─┐
 *     line B ─┼─► packet ─► session (stream key, epoch) ─► arbitration ─► decoder ─► rows
 *     retr.  ─┘                                              │   ▲
 *                                                            window (ahead of a gap)
 *
 * Thread: everything here is called by the one lcore that owns the feed, except feed_open and
 * feed_resume (before it starts) and feed_close (after it ended). No locks, system calls,
 * allocation or logging after feed_open. Figures go to struct status (single writer, relaxed).
 *
 * Sessions. A session is a stream key (session text, unit, channel…) and an epoch of it. `first` is
 * the venue's first number; `next` the next one to be decided. A publisher that starts over under
 * the same key opens a new epoch, whose text gets "#2", "#3"…, so that per (feed, session, day)
 * accounting stays additive. Old sessions and epochs live on while there are slots (max_sessions)
 * and take what still belongs to them.
 *   restart is believed when  number (and stream offset, where there is one) are back at the start
 *                             and the send time is later than the line's last; a fall to elsewhere
 *                             needs a second packet of the line that goes on from there
 *                             feeds without send time: the same, on a later trading date
 *   reset (matcher)           the packet's number fell and it is no copy of the last reset
 *
 * Arbitration is per message. At `next`: what lies below was decided before; what starts at or
 * below is accepted from `next` on; what lies above waits in the window. The gap before it closes
 * when the missing messages come, or is declared (a gap row) when
 *   - all live lines are past it: at least two normal lines are live and each of them has
 *     delivered a higher number, `reorder_ns` ago or longer. The default (-1) waits no time with
 *     two or more live lines, and the whole window_ns with a single one: a lone line that reorders
 *     loses nothing, two lines never wait for what neither has. 0 or more holds for any number of
 *     lines, one included. A line that is live, but not in this session, has said nothing about
 *     it: then the next limit decides
 *   - it has been open for window_ns, or window_count / window_bytes of the feed are used up
 *   - feed_flush
 * Reasons: before_start (numbers before the first packet of a session), down (first gap after a
 * resume), what feed_stalled said, else lost. A message that arrives in a declared gap is a row
 * with ROW_LATE and is taken off that gap; each number becomes a row at most once. What is older
 * than the list of open gaps remembers is counted `old`.
 *
 * A number more than `jump_limit` ahead is kept raw (`undecoded`, reason malformed) until a second
 * packet near it says the same: a flipped bit does not cost the day.
 *
 * Copies are compared with the recently accepted bytes. Where they differ the accepted row stays
 * and the copy is a row of `undecoded`, reason divergent, outside the numbering.
 */
#pragma once

#include "core/status.h"
#include "decoder.h"
#include "descriptor.h"

#define FEED_LINES STATUS_LINES

enum line_role {
    LINE_NORMAL,
    LINE_RETRANSMISSION /* third line: no silence, no latency, no past */
};

struct feed_config {
    const char *name;
    const struct framing *framing;
    const struct decoder_ops *decoder;           /* NULL = every message whole to `undecoded` */
    const struct schema *tables[DECODER_TABLES]; /* in the order of decoder->tables */
    unsigned nlines;
    struct {
        const char *name;
        enum line_role role;
    } line[FEED_LINES];
    uint32_t window_count;  /* packets; 0 = 8,192 */
    uint64_t window_bytes;  /* 0 = 8 MiB */
    int64_t window_ns;      /* 0 = 1 ms */
    int64_t reorder_ns;     /* see above; use -1 for the default */
    int64_t silence_ns;     /* 0 = 3 s */
    uint64_t jump_limit;    /* sequences; 0 = 2^26 */
    uint64_t history_bytes; /* per session; 0 = 256 KiB; not kept with a single line */
    uint32_t open_gaps;     /* ranges remembered per session; 0 = 256 */
    uint32_t max_sessions;  /* 0 = 16 */
    uint64_t room_reserve;  /* bytes of output the window must leave for the rest of a burst */
    uint8_t calendar;       /* that owns its tables */
    uint8_t home;           /* run.home: feed_home */
    int32_t fixed_date;     /* days since 2000-01-01 of every session, or -1 */
    /* Pure; called only when a session begins (open: when silence is judged). NULL = UTC days,
     * always open. `open` false means outside the feed's hours. */
    int32_t (*day_of)(void *arg, int64_t utc);
    int64_t (*midnight_of)(void *arg, int32_t day);
    bool (*open)(void *arg, int64_t utc);
    void *arg;
};

struct feed;

/* Allocates everything. `st` outlives the feed; its feeds[index] is filled here. */
struct feed *feed_open(const struct feed_config *c, struct status *st, unsigned index,
                       struct err *err);
void feed_close(struct feed *f);

/* run.home of a feed: the stream + 1 of the decoder's frequent tables, or of `undecoded` without a
 * decoder; 0 where they have several, or there are no streams. */
uint8_t feed_home(const struct decoder_ops *decoder, const struct schema *const *tables,
                  const struct schema *undecoded, const uint8_t *stream_of);

/* One UDP payload. rxtime: UTC ns. The caller polls only when `out` has room for the largest output
 * of a burst. */
void feed_packet(struct feed *f, unsigned line, const uint8_t *payload, uint32_t len,
                 int64_t rxtime, uint8_t quality, struct rows *out);
/* Timers (gaps that are due, silence) and what the window could not give for lack of room. Cheap
 * when nothing is due. Returns > 0 when it wrote something. */
int feed_poll(struct feed *f, int64_t now, struct rows *out);
/* End of input: declares what is open. False: no room, call again. */
bool feed_flush(struct feed *f, int64_t now, struct rows *out);
/* The caller did not poll for a while (ring_full, inject_full; a constant text): the gaps that show
 * up next have this reason. */
void feed_stalled(struct feed *f, int64_t now, const char *reason);

/* Where a session stands. */
struct feed_position {
    char text[FRAMING_TEXT_MAX]; /* epoch suffix included */
    int32_t day;
    uint32_t epoch;
    uint64_t first, next;
    uint64_t send_time; /* of the last packet, as on the wire */
    enum session_state state;
    uint32_t feed_sym, session_sym; /* as last interned; null before the first row */
};
/* Fills *p with the i-th session, oldest slot first; false behind the last. For tick and state
 * marks. */
bool feed_position(const struct feed *f, unsigned i, struct feed_position *p);
/*
 * The JSON of `state` marks, piece by piece: begin with *c = {0}, call until it returns 0 (done).
 * One piece is at most cap bytes (>= 4,096):
 *   {"feed","session","day","epoch","first","next","send","state","lines":{"A":n…},"decoder":{…}}
 * A session whose decoder state does not fit comes again with further entries.
 */
struct feed_cursor {
    unsigned session;
    uint32_t from;
    bool more;
};
uint32_t feed_state(const struct feed *f, struct feed_cursor *c, char *buf, uint32_t cap,
                    const char *(*text)(void *arg, uint32_t id, uint32_t *len), void *arg);
/*
 * From recovery, before the first packet: the session goes on at p->next; what lies between that
 * and the first packet is a gap with reason `down`. Call once per session, then
 * feed_resume_decoder for each piece of its decoder state. False: no slot is left.
 */
bool feed_resume(struct feed *f, const struct feed_position *p);
bool feed_resume_decoder(struct feed *f, const struct feed_position *p, const char *json,
                         size_t len, uint32_t (*symbol)(void *arg, const char *text, uint32_t len),
                         void *arg);
/* Does the decoder hold state that the last complete feed_state did not give? Clears it. */
bool feed_dirty(struct feed *f);

enum feed_command {
    FEED_PAUSE, /* packets are counted and ignored; the gap says `paused` */
    FEED_RESUME,
    FEED_RESET_SESSION, /* every session starts over, as a new epoch, with what comes next */
    FEED_LINE_ON,
    FEED_LINE_OFF
};
/* False: no such line. */
bool feed_command(struct feed *f, enum feed_command c, unsigned line, int64_t now,
                  struct rows *out);
