/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - the input side of one kdb+ connection: bytes in, logins and messages out. Knows
 * nothing of sockets; the same code stands at both ends.
 *
 * Source: the kdb+ format page, 1.1 (handshake), 1.2 (header), 1.7 (compression).
 *
 * A session belongs to one thread at a time. Feeding and asking alternate as the caller likes:
 *
 *     uint8_t *to = kdb_session_room(s, 65536, &room);     or: kdb_session_feed(s, bytes, n)
 *     n = read(fd, to, room);
 *     kdb_session_took(s, n);
 *     while (kdb_session_next(s, &e) != KDB_EVENT_MORE) ...
 *
 * What an event points to stays until the next call of any of these on the session.
 *
 * SERVER: the first event is LOGIN. The caller answers it on its socket with the one byte
 * kdb_capability(e.login.capability), alone in its write, or closes. Until it has decided it
 * should neither read on nor ask for the next event: a client may send requests behind its login.
 * CLIENT: it has sent kdb_login_write; the first event is ACCEPTED (a server that refuses closes).
 * Then both: MESSAGE, any number, in order.
 *
 * MEMORY. The buffer grows with bytes that came, never by what a header claims: it is at most twice
 * what is unread plus the room last asked for. A message lies in it in one piece and is not copied
 * again; a large buffer grows by mremap. Compressed messages are unpacked into a second buffer of
 * exactly their size, at most limits.message, and only after their size is shown to be possible.
 * Both are given back when a large message has been handled; kdb_session_held says what is held
 * now, kdb_session_trim gives back what an idle session need not keep.
 *
 * TIME is constant per byte for who asks until MORE before it feeds again: an unfinished message is
 * moved at most once, and not looked at again before it is whole.
 *
 * HOSTILE is for ever: the caller counts it and closes; nothing behind it is read.
 */
#pragma once

#include "kdb_object.h"

#define KDB_CAPABILITY 3u /* what we offer: compression, timestamps, guids; no message >= 2 GiB */
#define KDB_LOGIN_MAX  1024u /* bytes of credentials, capability and NUL */

enum kdb_role { KDB_SERVER, KDB_CLIENT };
enum kdb_event_kind {
    KDB_EVENT_MORE,     /* nothing whole is here; feed */
    KDB_EVENT_LOGIN,    /* server only, first */
    KDB_EVENT_ACCEPTED, /* client only, first */
    KDB_EVENT_MESSAGE,
    KDB_EVENT_HOSTILE
};

struct kdb_login {
    const char *user, *password; /* NUL-terminated; password "" when there was no colon */
    uint8_t capability;          /* as the client said; 0 when it said none */
};
struct kdb_received {
    struct kdb_object object; /* checked to its end: views need no further check */
    const uint8_t *bytes;     /* the message, header included, unpacked */
    size_t size;              /* of that */
    size_t wire;              /* bytes it took on the connection */
    uint8_t kind;             /* enum kdb_kind */
    bool compressed;
};
struct kdb_event {
    enum kdb_event_kind kind;
    union {
        struct kdb_login login;
        uint8_t capability; /* ACCEPTED: of both sides */
        struct kdb_received message;
        const char *why; /* HOSTILE: a few words, a constant */
    };
};

struct kdb_limits {
    size_t message; /* largest message, unpacked too; at most KDB_BYTES_MAX */
    size_t login;   /* at most KDB_LOGIN_MAX; 0: that */
};

struct kdb_buffer { /* private */
    uint8_t *data;
    size_t room;
};
struct kdb_session { /* private; zeroed is no session, kdb_session_free of it does nothing */
    struct kdb_limits limits;
    struct kdb_buffer in, unpacked;
    size_t begin, end; /* of what is unread in `in` */
    size_t scanned;    /* of the login, searched for its end */
    size_t whole;      /* length of the message that begins at `begin`, 0 = header not read */
    const char *why;
    uint8_t role, state;
};

void kdb_session_start(struct kdb_session *s, enum kdb_role role, const struct kdb_limits *limits);
void kdb_session_free(struct kdb_session *s);

/* Where the next bytes go: at least `want` of them (*n says how many). NULL: no memory. */
uint8_t *kdb_session_room(struct kdb_session *s, size_t want, size_t *n);
void kdb_session_took(struct kdb_session *s, size_t n);
/* The same by copy. False: no memory (nothing was taken). */
bool kdb_session_feed(struct kdb_session *s, const void *bytes, size_t n);

enum kdb_event_kind kdb_session_next(struct kdb_session *s, struct kdb_event *e);

/* Bytes that the unfinished message still needs; 1 when that is not known yet, 0 when a whole one
 * waits. A good size for the next read of a large message. */
size_t kdb_session_wants(const struct kdb_session *s);
/* Length of the unfinished message; 0: none, or not known yet. */
size_t kdb_session_unfinished(const struct kdb_session *s);
size_t kdb_session_held(const struct kdb_session *s);
void kdb_session_trim(struct kdb_session *s);

/* What a server answers: the smaller of ours and theirs. */
pst_inline uint8_t kdb_capability(uint8_t theirs)
{
    return theirs < KDB_CAPABILITY ? theirs : KDB_CAPABILITY;
}
/* What a client sends first. False: user or password holds a NUL or does not fit KDB_LOGIN_MAX, or
 * the user holds a colon (the first one ends it). */
bool kdb_login_write(struct kdb_out *o, const char *user, const char *password);
