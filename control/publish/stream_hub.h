/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_hub.h - between the publish threads, which have the clients, and the Query Manager on the
 * thread rtp, which has their subscriptions to streaming analytics (rtp_manager.h).
 *
 *   publish<N> ──hub_ask──► one list, eventfd ──hub_asked──► thread rtp
 *   publish<N> ◄──hub_take── one list a thread ◄──hub_post── thread rtp
 *
 * A MEMBER is one client's part in a stream. Its token is chosen by its publish thread, never used
 * twice. A FACE is what members of one stream share: one number (what clients know it by), one
 * message for all. A stream has up to two, delta and full (rtp_manager.h).
 *
 * ORDER. Asks of a thread arrive in their order, events of a thread too. On a publish thread
 *   OPENED  binds the token to its face; the answer of .sa.sub is due. A STATE follows at once
 *   STATE   goes to all members of the face that wait, and they are live from then on: they get
 *           what follows. Those that are live get nothing of it
 *   UPDATE  goes to all live members of the face
 *   PAUSE   what the members have is not continued: all of them wait for the next STATE. The
 *           message (a notice) says why
 *   ENDED   the face is no more; the message (a notice) says why
 *   REFUSED a token's ask failed, with the sentence
 *   REPLY   the whole response to an ask (LIST, SHOW)
 * So a client's state is exact whenever it has got a STATE: it lacks nothing and has nothing twice.
 *
 * MEMORY. The list of a publish thread that does not take what is there is bounded (HUB_BYTES):
 * beyond it UPDATEs are thrown away and a LOST stands in their place: every member of the thread
 * then asks for a STATE. Asks are bounded by what one client may have under way: one.
 *
 * THREADS: hub_ask any; hub_asked, hub_post: rtp; hub_take(thread): that publish thread. Mutexes
 * are held for a push or a swap only.
 */
#pragma once

#include "publish/message.h"
#include "users.h"

#define HUB_THREADS 8u
#define HUB_BYTES   (64u << 20)

struct stream_hub;

/* ---- to the manager ---- */

enum stream_ask_kind {
    STREAM_OPEN,  /* name, group, data = parameters, flags, want */
    STREAM_STATE, /* this member waits for a state */
    STREAM_CLOSE, /* the member is gone; also one that was not answered yet */
    STREAM_LIST,  /* what analytics there are */
    STREAM_SHOW   /* what streams there are; data: u64 faces that the connection has */
};
enum stream_want { STREAM_AS_IS, STREAM_DELTA, STREAM_FULL }; /* option `mode` */

struct stream_ask {
    struct stream_ask *next;
    enum stream_ask_kind kind;
    unsigned thread;
    uint64_t connection, token;
    const struct user *user; /* held; NULL in CLOSE */
    enum stream_want want;
    unsigned flags; /* of rtp_params.h */
    uint8_t order;  /* of data */
    char name[65], group[65];
    uint32_t len;
    pst_aligned(8) uint8_t data[]; /* OPEN: a sound kdb+ object; len 0: none */
};
struct stream_ask *stream_ask_new(enum stream_ask_kind kind, const void *data, uint32_t len);
void stream_ask_free(struct stream_ask *a);

/* ---- to the publish threads ---- */

enum stream_event_kind {
    STREAM_OPENED, /* token, face, message = the response, tables: what it reads */
    STREAM_REFUSED,
    STREAM_REPLY,
    STREAM_STATED, /* face, message, behind: to be sent after it, in order */
    STREAM_UPDATE,
    STREAM_PAUSE,
    STREAM_ENDED,
    STREAM_LOST /* the hub's own: updates of any face were thrown away */
};
struct stream_event {
    struct stream_event *next;
    enum stream_event_kind kind;
    uint64_t token, face;
    struct message *message;
    struct message **behind; /* malloc'ed */
    uint32_t nbehind;
    char *text; /* malloc'ed. REFUSED: the sentence; OPENED: names of tables, parted by blanks;
                 * NULL: it may read any: only for users who may read every table */
};
struct stream_event *stream_event_new(enum stream_event_kind kind, uint64_t face,
                                      struct message *hold); /* hold: a reference of its own */
void stream_event_free(struct stream_event *e);

/* ---- the hub ---- */

/* wake(arg, thread): something is there for that thread, from the thread rtp. */
struct stream_hub *hub_open(unsigned threads, void (*wake)(void *arg, unsigned thread), void *arg,
                            struct err *err);
void hub_close(struct stream_hub *h); /* nobody uses it any more; NULL is allowed */
int hub_fd(const struct stream_hub *h);

/* Takes the ask. False: the manager has ended (a is freed): nothing comes back. */
bool hub_ask(struct stream_hub *h, struct stream_ask *a);
struct stream_ask *hub_asked(struct stream_hub *h); /* a list, in order; resets the fd */
/* Takes the event. */
void hub_post(struct stream_hub *h, unsigned thread, struct stream_event *e);
struct stream_event *hub_take(struct stream_hub *h, unsigned thread);
/* No more asks are taken: the thread rtp ends. */
void hub_end(struct stream_hub *h);
uint64_t hub_lost(const struct stream_hub *h); /* updates thrown away */
