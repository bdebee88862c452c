/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_wire.h - what penstockd and a penstock-rtp process (streaming analytics and real-time
 * processors, include/penstock/analytic.h) say to each other, in the packets of worker_wire.h.
 *
 *   process                                     penstockd
 *     HELLO       text: version          ─►
 *                                        <─  ATTACH       JSON; descriptors: its segments
 *     READY       parts: JSON            ─►               also again behind each PLUGIN_DONE
 *                                        <─  START        JSON
 *                                        <─  SUBSCRIBE    id; struct rtp_ask
 *     SUBSCRIBED  id, value = UID; JSON  ─►   | REFUSED   id; text
 *                                        <─  SNAPSHOT     id, value = UID
 *     STATE       id, value = position   ─►   | REFUSED   parts: a kdb+ table
 *     UPDATE      id = UID, value = pos. ─►               parts: a kdb+ table
 *                                        <─  UNSUBSCRIBE  value = UID
 *                                        <─  CALL         id; struct rtp_ask
 *     CALLED      id, value = position   ─►   | REFUSED   parts: a kdb+ table
 *     CUT_WANTED  value = position       ─►
 *                                        <─  CUT          struct cut (core/cut.h) | CUT_REFUSED
 *     CUT_DONE                           ─►               the cut may be released
 *     ROWS        value = number         ─►               struct append_block (append_wire.h) …
 *                                        <─  ROWS_DONE    value = number: taken up to here
 *                                        <─  PING         value
 *     BEAT        value; struct rtp_beat ─►               each second, and for each PING
 *                                        <─  PLUGIN       id; JSON {"load":FILE} or {"unload":FILE}
 *     PLUGIN_DONE id; text, empty: done  ─►               then READY
 *                                        <─  DEBUG        value: 1 on, 0 off
 *     LOG, DEBUGGED text                 ─►               the receiver limits too
 *                                        <─  STOP         it flushes, then ends
 *
 * ORDER. One thread of the process does everything, and a socket keeps the order. So: an UPDATE
 * that comes before a STATE of its UID is part of that state, one that comes behind it is not;
 * `value` of both is the journal's position behind the last frame that they are made from. An
 * UPDATE never comes before its SUBSCRIBED; behind an UNSUBSCRIBE some may still come. A
 * SUBSCRIBE that comes while processors' state is rebuilt from the log is answered when it is. The
 * process does nothing else while it computes: a BEAT says that it has come round since the last.
 * While penstockd does not read, the process waits in a send, and no BEAT comes either.
 *
 * PARTS. What may be longer than a packet (READY, STATE, UPDATE, CALLED) comes as packets that each
 * begin with a struct rtp_part, back to back: nothing else lies between two parts of one whole.
 * rtp_whole_take puts them together. A result's body is one serialized kdb+ object (without the
 * eight bytes of a message), a table, or a keyed table where there is a key: rtp_result_check.
 *
 * ROWS. At most RTP_ROWS_CREDIT packets are under way; the process then reads no further. Blocks as
 * append_wire.h has them with a source: those of all packets form one chain of points, the first
 * begins at START's point. A block is at most RTP_BLOCK_BYTES long. A block that penstockd refuses
 * ends the process; there is no message for it.
 *
 * ATTACH: {"group":NAME, "instance":k, "stripe":k, "stripes":n, "neighbours":n, "zone":…,
 * "instance_id":HEX, "segments":[NAME of each descriptor in order: "ring","symbols","rdb"],
 *   "log":{"directories":[…],"prefix":…,"synced":bool}, "subscriptions":[TABLE…] (absent: all),
 *   "plugins":[FILE…], "built_in":bool, "processors":[NAME…], "insert":{TABLE:DERIVED},
 *   "libraries":{ALIAS:FILE}, "options":{KEY:TEXT}, "memory":bytes, "buffer_start":FUNCTION,
 *   "buffer_end":FUNCTION, "debug":bool, "schemas":[TEXT of schema.h…]}
 *   neighbours: processes of all groups when this one came, itself included: where they outnumber
 *   the CPUs, each looks at the ring less often, so that penstockd's threads have theirs in time.
 *   synced: rows of processors are made of what is synced only, else (false) of what is written: a
 *   crash may take the end of one file and leave that of another, and no row may outlive what it
 *   was made of.
 *   A ring or RDB that could not be sealed is left out: the process then reads files only, and
 *   history() refuses.
 * READY:  {"plugins":[{"name","version","about","file"}], "failed":[{"file","error"}],
 *   "analytics":[{"name","about","plugin","per_user":b,"full":b,"columns":[[NAME,TYPE]…] or null,
 *     "key":[NAME…],"tables":[TABLE…] or null,"parameters":PARAMETERS}],
 *   "processors":[{"name","about","tables":[…],"derived":[{"name","columns":[[NAME,TYPE]…]}]}],
 *   "functions":[{"name","about","parameters":PARAMETERS,"columns":[[NAME,TYPE]…]}]}
 *   PARAMETERS: [{"name","type","list":b,"default":TEXT or null,"about"}…]. "tables" null: the
 *   values of its parameters `table` and `tables`. rtp_ready_check has looked at every member.
 * START:  {"schemas":[TEXT…], "point":[position,row], "islands":[[p,r,p,r]…], "day":n,
 *   "calendars":{TABLE:NAME of the calendar that owns it}}
 *   Derived tables have their schemas now. point, islands (source.h) and day (the earliest open
 *   date, days since 2000-01-01) only where there are processors: reading begins with the first
 *   frame of that day, or of the point's if that is earlier. Else at the journal's end. calendars:
 *   absent where there is one only.
 * SUBSCRIBED: {"columns":[[NAME,TYPE]…], "key":[NAME…], "full":b}.
 *
 * THE PROCESS IS HOSTILE to penstockd: what it says is checked where it is used. penstockd is
 * trusted by the process.
 */
#pragma once

#include <jansson.h>
#include "worker_wire.h"

#define RTP_WIRE_MAGIC    0x52545350u /* "PSTR" */
#define RTP_WIRE_VERSION  1u
#define RTP_SENTENCE      1000u       /* bytes of a REFUSED or PLUGIN_DONE */
#define RTP_RESULT_MAX    (64u << 20) /* of a result */
#define RTP_READY_MAX     (1u << 20)  /* of READY's JSON */
#define RTP_BLOCK_BYTES   WIRE_INLINE /* of a packet of rows */
#define RTP_ROWS_CREDIT   64u         /* packets of rows under way */
#define RTP_NAME_MAX      64u         /* of an analytic, processor, function; its columns: 47 */
#define RTP_ANALYTICS_MAX 512u        /* registered things of each kind in one process */

/* X(ID, sender: R process or D daemon, most body bytes, least and most descriptors) */
#define RTP_WIRE_TYPES(X)                                                                          \
    X(HELLO, 'R', 64, 0, 0)                                                                        \
    X(READY, 'R', WIRE_INLINE, 0, 0)                                                               \
    X(SUBSCRIBED, 'R', WIRE_INLINE, 0, 0)                                                          \
    X(REFUSED, 'R', RTP_SENTENCE, 0, 0)                                                            \
    X(STATE, 'R', WIRE_INLINE, 0, 0)                                                               \
    X(UPDATE, 'R', WIRE_INLINE, 0, 0)                                                              \
    X(CALLED, 'R', WIRE_INLINE, 0, 0)                                                              \
    X(CUT_WANTED, 'R', 0, 0, 0)                                                                    \
    X(CUT_DONE, 'R', 0, 0, 0)                                                                      \
    X(ROWS, 'R', RTP_BLOCK_BYTES, 0, 0)                                                            \
    X(BEAT, 'R', 512, 0, 0)                                                                        \
    X(PLUGIN_DONE, 'R', RTP_SENTENCE, 0, 0)                                                        \
    X(LOG, 'R', 512, 0, 0)                                                                         \
    X(DEBUGGED, 'R', 512, 0, 0)                                                                    \
    X(ATTACH, 'D', WIRE_LARGE, 0, 5)                                                               \
    X(START, 'D', WIRE_LARGE, 0, 1)                                                                \
    X(SUBSCRIBE, 'D', WIRE_LARGE, 0, 1)                                                            \
    X(UNSUBSCRIBE, 'D', 0, 0, 0)                                                                   \
    X(SNAPSHOT, 'D', 0, 0, 0)                                                                      \
    X(CALL, 'D', WIRE_LARGE, 0, 1)                                                                 \
    X(CUT, 'D', WIRE_LARGE, 0, 1)                                                                  \
    X(CUT_REFUSED, 'D', 1024, 0, 0)                                                                \
    X(ROWS_DONE, 'D', 0, 0, 0)                                                                     \
    X(PING, 'D', 0, 0, 0)                                                                          \
    X(PLUGIN, 'D', WIRE_INLINE, 0, 0)                                                              \
    X(DEBUG, 'D', 0, 0, 0)                                                                         \
    X(STOP, 'D', 0, 0, 0)

enum rtp_wire_type {
    RTP_WIRE_NONE,
#define X(ID, sender, most, fewest_fds, most_fds) RTP_WIRE_##ID,
    RTP_WIRE_TYPES(X)
#undef X
        RTP_WIRE_END
};

extern const struct wire_protocol rtp_wire; /* the process is 'R' */
const char *rtp_wire_name(unsigned type);   /* "SUBSCRIBE" */

static inline int rtp_wire_receive(int fd, char sender, struct wire_message *m, bool *closed,
                                   struct err *err)
{
    return worker_receive(&rtp_wire, fd, sender, m, closed, err);
}
static inline bool rtp_wire_send(int fd, enum rtp_wire_type type, uint64_t id, uint64_t value,
                                 const void *body, size_t length, const int *fds, unsigned nfds,
                                 struct err *err)
{
    return worker_send(&rtp_wire, fd, type, id, value, body, length, fds, nfds, err);
}

/* ---- SUBSCRIBE and CALL ---- */

/* Then the bytes of name, user and params. params: a kdb+ dictionary (symbols!values) with every
 * declared parameter in order, of its declared type, defaults filled in: rtp_params.h makes it, and
 * equal ones are equal bytes. user: of an analytic that is per_user, else empty. */
struct rtp_ask {
    uint16_t name, user;
    uint32_t params;
};
struct rtp_asked {
    char name[RTP_NAME_MAX + 1], user[256];
    const uint8_t *params;
    uint32_t nparams;
};
/* malloc'd; *length its bytes. NULL: too long, or no memory. */
void *rtp_ask_pack(const char *name, const char *user, const void *params, uint32_t nparams,
                   size_t *length);
bool rtp_ask_view(const void *body, size_t n, struct rtp_asked *out);

/* ---- parts ---- */

struct rtp_part {
    uint32_t total, at; /* bytes of the whole, and of it before this part */
    uint32_t rows;      /* of the whole, where it is a table */
    uint32_t zero;
};
_Static_assert(sizeof(struct rtp_part) == 16, "a part starts with 16 bytes");
#define RTP_PART_BYTES (WIRE_INLINE - (uint32_t)sizeof(struct rtp_part))

struct rtp_whole { /* zeros: empty */
    uint8_t *data; /* `total` bytes and a NUL; the taker's to keep: set data NULL, free() it */
    uint32_t total, have, rows;
    uint16_t type;
    uint64_t id, value;
};
static inline bool rtp_in_parts(unsigned type)
{
    return type == RTP_WIRE_READY || type == RTP_WIRE_STATE || type == RTP_WIRE_UPDATE ||
           type == RTP_WIRE_CALLED;
}
/* Takes a message of any type, in the order they come. 1: *w is a whole. 0: more parts follow. -1:
 * err: the sender breaks the protocol (also with any other message between two parts), or no
 * memory. Messages that come in no parts, outside a whole: 2, and *w is untouched. */
int rtp_whole_take(struct rtp_whole *w, const struct wire_message *m, struct err *err);
void rtp_whole_free(struct rtp_whole *w);

/* `n` bytes are one kdb+ table or keyed table with `rows` rows and names that are sound columns?
 * (rtp_wire_table.c; needs storage/kdb_object.h.) */
bool rtp_result_check(const void *body, size_t n, uint32_t rows, struct err *err);

/* ---- BEAT ---- */

#define RTP_BEAT(X)                                                                                \
    X(position, "journal position behind the last frame that it has read")                         \
    X(limit, "how far it could have read when it last looked")                                     \
    X(time, "of the last frame, UTC ns since 2000")                                                \
    X(frames, "frames read since its start")                                                       \
    X(rows, "rows handed to plugins")                                                              \
    X(busy_ns, "ns in which it was not waiting")                                                   \
    X(loop_ns, "longest round since the beat before")                                              \
    X(heap, "bytes of memory that it holds")                                                       \
    X(subscriptions, "that it serves now")                                                         \
    X(subscribed, "calls of subscribe functions since its start")                                  \
    X(snapshots, "calls of snapshot functions")                                                    \
    X(updates, "results published to a subscription")                                              \
    X(update_rows, "rows in them")                                                                 \
    X(update_bytes, "bytes of them")                                                               \
    X(emitted, "rows of derived tables")                                                           \
    X(calls, "functions called")                                                                   \
    X(lost, "bytes of the journal that stand nowhere any more")                                    \
    X(bad, "frames that were no sound rows, passed over")                                          \
    X(errors, "calls of plugins that failed")                                                      \
    X(replaying, "1: still before the point at which its processors go on")                        \
    X(waiting, "packets of rows under way")

struct rtp_beat {
#define X(name, about) uint64_t name;
    RTP_BEAT(X)
#undef X
};
/* A copy; false: not of its length. Numbers are only shown: none is believed. */
bool rtp_beat_parse(struct rtp_beat *b, const void *body, size_t n);

/* ---- READY ---- */

/* `text`: n bytes. An object whose every member is there, of its type, within limits, names sound
 * and unique; NULL: err. json_decref it. */
json_t *rtp_ready_check(const char *text, size_t n, struct err *err);
/* {"columns","key"} of SUBSCRIBED, checked the same way. */
json_t *rtp_subscribed_check(const char *text, size_t n, struct err *err);
/* Letters, digits, _ and ., at most RTP_NAME_MAX, beginning with a letter or a dot. */
bool rtp_name_ok(const char *name);
/* A sentence of the process as one printable line, cut at `room`. */
void rtp_printable(char *out, size_t room, const char *text, size_t n);
