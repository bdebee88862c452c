/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/mman.h>
#include "kdb/compress.h"
#include "kdb/session.h"

#define ROOM_MIN 4096u
#define ROOM_MAP                                                                                   \
    (1u << 20)           /* from here on a buffer is a mapping of its own, which grows uncopied */
#define KEEP (64u << 10) /* an empty buffer larger than this is given back */

enum state { LOGIN, OPEN, HOSTILE };

/* ---- buffers ---- */

static void buffer_free(struct kdb_buffer *b)
{
    if (b->room >= ROOM_MAP)
        munmap(b->data, b->room);
    else
        free(b->data);
    *b = (struct kdb_buffer){0};
}

/* At least `need` bytes; what is in it stays. */
static bool buffer_grow(struct kdb_buffer *b, size_t need)
{
    size_t room = b->room ? b->room : ROOM_MIN;
    while (room < need)
        room *= 2;
    if (room == b->room)
        return true;
    uint8_t *p;
    if (room < ROOM_MAP) {
        p = realloc(b->data, room);
        if (!p)
            return false;
    } else if (b->room >= ROOM_MAP) {
        p = mremap(b->data, b->room, room, MREMAP_MAYMOVE);
        if (p == MAP_FAILED)
            return false;
    } else {
        p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return false;
        if (b->data)
            memcpy(p, b->data, b->room);
        free(b->data);
    }
    *b = (struct kdb_buffer){.data = p, .room = room};
    return true;
}

/* Exactly what a message unpacks to, rounded to pages when it is a mapping. */
static bool buffer_fit(struct kdb_buffer *b, size_t need)
{
    if (b->room >= need)
        return true;
    buffer_free(b);
    if (need < ROOM_MAP)
        return buffer_grow(b, need);
    need = pst_align_up(need, ROOM_MIN);
    void *p = mmap(NULL, need, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return false;
    *b = (struct kdb_buffer){.data = p, .room = need};
    return true;
}

/* ---- a session ---- */

void kdb_session_start(struct kdb_session *s, enum kdb_role role, const struct kdb_limits *limits)
{
    *s = (struct kdb_session){.limits = *limits, .role = (uint8_t)role};
    if (!s->limits.login || s->limits.login > KDB_LOGIN_MAX)
        s->limits.login = KDB_LOGIN_MAX;
    if (s->limits.message > KDB_BYTES_MAX)
        s->limits.message = KDB_BYTES_MAX;
}
void kdb_session_free(struct kdb_session *s)
{
    buffer_free(&s->in);
    buffer_free(&s->unpacked);
    s->begin = s->end = s->scanned = s->whole = 0;
}

static void emptied(struct kdb_session *s)
{
    if (s->begin == s->end)
        s->begin = s->end = 0;
    if (!s->end && s->in.room > KEEP)
        buffer_free(&s->in);
    if (s->unpacked.room > KEEP)
        buffer_free(&s->unpacked);
}

uint8_t *kdb_session_room(struct kdb_session *s, size_t want, size_t *n)
{
    size_t unread = s->end - s->begin;
    emptied(s);
    if (s->in.room - s->end < want) {
        /* Of a drained session only an unfinished message is left, which moves once. */
        if (s->begin) {
            memmove(s->in.data, s->in.data + s->begin, unread);
            s->begin = 0;
            s->end = unread;
        }
        if (s->in.room - s->end < want && !buffer_grow(&s->in, s->end + want))
            return NULL;
    }
    *n = s->in.room - s->end;
    return s->in.data + s->end;
}
void kdb_session_took(struct kdb_session *s, size_t n)
{
    pst_must(n <= s->in.room - s->end);
    s->end += n;
}
bool kdb_session_feed(struct kdb_session *s, const void *bytes, size_t n)
{
    size_t room;
    uint8_t *to = kdb_session_room(s, n, &room);
    if (!to)
        return false;
    if (n)
        memcpy(to, bytes, n);
    kdb_session_took(s, n);
    return true;
}

static enum kdb_event_kind hostile(struct kdb_session *s, struct kdb_event *e, const char *why)
{
    s->state = HOSTILE;
    s->why = why;
    e->why = why;
    return e->kind = KDB_EVENT_HOSTILE;
}

/* user[:password][capability]NUL */
static enum kdb_event_kind login(struct kdb_session *s, struct kdb_event *e)
{
    uint8_t *p = s->in.data + s->begin;
    size_t n = s->end - s->begin, most = n < s->limits.login ? n : s->limits.login;
    uint8_t *end = most > s->scanned ? memchr(p + s->scanned, 0, most - s->scanned) : NULL;
    if (!end) {
        s->scanned = most;
        return most < s->limits.login ? (e->kind = KDB_EVENT_MORE)
                                      : hostile(s, e, "a login without an end");
    }
    e->login = (struct kdb_login){.user = (const char *)p};
    if (end > p && end[-1] < 0x20) {
        e->login.capability = end[-1];
        end[-1] = 0;
    }
    char *colon = strchr((char *)p, ':');
    e->login.password = colon ? colon + 1 : (const char *)end;
    if (colon)
        *colon = 0;
    s->begin += (size_t)(end - p) + 1;
    s->state = OPEN;
    return e->kind = KDB_EVENT_LOGIN;
}

static enum kdb_event_kind message(struct kdb_session *s, struct kdb_event *e)
{
    uint8_t *p = s->in.data + s->begin;
    size_t n = s->end - s->begin, wire = s->whole, size = wire;
    const char *why = NULL;
    struct kdb_frame f;
    if (n < (wire ? wire : KDB_FRAME))
        return e->kind = KDB_EVENT_MORE;
    if (kdb_frame_read(&f, p, &why) != KDB_OK)
        return hostile(s, e, why);
    if (!wire) {
        if (f.length > s->limits.message)
            return hostile(s, e, "a message larger than the limit");
        s->whole = wire = size = f.length;
        if (n < wire)
            return e->kind = KDB_EVENT_MORE;
    }
    if (f.compressed) {
        if (!kdb_decompressed_size(p, wire, s->limits.message, &size, &why))
            return hostile(s, e, why);
        if (!buffer_fit(&s->unpacked, size))
            return hostile(s, e, "no memory to unpack a message");
        if (!kdb_decompress(p, wire, s->unpacked.data, size, &why))
            return hostile(s, e, why);
        p = s->unpacked.data;
    }
    size_t found;
    enum kdb_verdict v = kdb_object_check(p + KDB_FRAME, size - KDB_FRAME, f.order, &found, &why);
    if (v != KDB_OK)
        return hostile(s, e, v == KDB_SHORT ? "an object longer than its message" : why);
    if (found != size - KDB_FRAME)
        return hostile(s, e, "bytes behind a message's object");
    e->message = (struct kdb_received){
        .bytes = p, .size = size, .wire = wire, .kind = f.kind, .compressed = f.compressed};
    kdb_object_view(&e->message.object, p + KDB_FRAME, f.order);
    s->begin += wire;
    s->whole = 0;
    return e->kind = KDB_EVENT_MESSAGE;
}

enum kdb_event_kind kdb_session_next(struct kdb_session *s, struct kdb_event *e)
{
    memset(e, 0, sizeof *e);
    if (s->state == HOSTILE)
        return hostile(s, e, s->why);
    if (s->begin == s->end) { /* also: what the last event pointed to is no longer needed */
        emptied(s);
        return e->kind = KDB_EVENT_MORE;
    }
    if (s->state == OPEN)
        return message(s, e);
    if (s->role == KDB_SERVER)
        return login(s, e);
    e->capability = s->in.data[s->begin++];
    s->state = OPEN;
    return e->kind = KDB_EVENT_ACCEPTED;
}

size_t kdb_session_wants(const struct kdb_session *s)
{
    size_t n = s->end - s->begin;
    if (s->state != OPEN || (!s->whole && n < KDB_FRAME))
        return 1;
    return n < s->whole ? s->whole - n : s->whole ? 0 : 1;
}
size_t kdb_session_unfinished(const struct kdb_session *s)
{
    return s->state == OPEN && s->end - s->begin < s->whole ? s->whole : 0;
}
size_t kdb_session_held(const struct kdb_session *s)
{
    return s->in.room + s->unpacked.room;
}
void kdb_session_trim(struct kdb_session *s)
{
    buffer_free(&s->unpacked);
    if (s->begin == s->end) {
        buffer_free(&s->in);
        s->begin = s->end = 0;
    }
}

bool kdb_login_write(struct kdb_out *o, const char *user, const char *password)
{
    size_t u = strlen(user), p = strlen(password);
    uint8_t tail[2] = {KDB_CAPABILITY, 0};
    if (u + p + 3 > KDB_LOGIN_MAX || strchr(user, ':'))
        return false;
    kdb_out_bytes(o, user, u);
    kdb_out_bytes(o, ":", 1);
    kdb_out_bytes(o, password, p);
    kdb_out_bytes(o, tail, sizeof tail);
    return !o->failed;
}
