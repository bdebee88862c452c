/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "load/wire.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static const struct {
    char sender;
    uint32_t most;
} types[LOAD_WIRE_END] = {
#define X(ID, sender, most) [LOAD_WIRE_##ID] = {sender, most},
    LOAD_WIRE_TYPES(X)
#undef X
};

const char *load_wire_check(const void *packet, size_t bytes, unsigned nfds, char sender)
{
    struct load_wire_header h;
    if (bytes < sizeof h)
        return "a packet shorter than its header";
    memcpy(&h, packet, sizeof h);
    if (h.magic != LOAD_WIRE_MAGIC)
        return "a packet without the magic number";
    if (h.version != LOAD_WIRE_VERSION)
        return "another version of the protocol: penstockd and penstock-load are of two builds";
    if (h.type == LOAD_WIRE_NONE || h.type >= LOAD_WIRE_END || types[h.type].sender != sender)
        return "a message of a type that it may not send";
    if (h.length > types[h.type].most)
        return "a message that is too long";
    bool in_fd = h.flags & LOAD_WIRE_IN_FD;
    if (h.flags & ~(uint32_t)LOAD_WIRE_IN_FD || (in_fd && sender == 'W'))
        return "a message with flags that it may not have";
    if (bytes - sizeof h != (in_fd ? 0 : h.length))
        return "a message whose length is not what it says";
    if (nfds != in_fd)
        return "a message with a wrong number of descriptors";
    return NULL;
}

void load_wire_free(struct load_wire_message *m)
{
    if (m->map)
        munmap(m->map, m->mapped);
    free(m->packet);
    memset(m, 0, sizeof *m);
}

/* The body in a descriptor: sealed, of exactly the length that was said, and a NUL. */
static bool map_body(struct load_wire_message *m, int fd, struct err *err)
{
    struct stat st;
    size_t n = (size_t)m->head.length + 1;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals >= 0 && (seals & SEALS) == SEALS && !fstat(fd, &st) && st.st_size == (off_t)n) {
        void *p = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED) {
            m->map = p;
            m->mapped = n;
            m->body = p;
            if (!m->body[n - 1])
                return true;
        }
    }
    return err_set(err, -EPROTO, "a message whose body is no sealed memfd of its length");
}

int load_wire_receive(int fd, char sender, struct load_wire_message *m, bool *closed,
                      struct err *err)
{
    memset(m, 0, sizeof *m);
    *closed = false;
    size_t room = sizeof m->head + LOAD_WIRE_INLINE;
    m->packet = malloc(room + 1);
    if (!m->packet) {
        err_set(err, -ENOMEM, "no memory for a message");
        return -1;
    }
    union {
        char buf[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr align;
    } u;
    struct iovec v = {m->packet, room};
    struct msghdr msg = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof u.buf};
    ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    if (n <= 0) {
        *closed = n == 0 || (errno != EAGAIN && errno != EINTR);
        load_wire_free(m);
        return 0;
    }
    int fds[4];
    unsigned nfds = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) && nfds < 4; i++)
                memcpy(&fds[nfds++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    const char *why = msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)
                          ? "a packet that is too long, or has too many descriptors"
                          : load_wire_check(m->packet, (size_t)n, nfds, sender);
    bool ok = !why || err_set(err, -EPROTO, "%s", why);
    if (ok) {
        memcpy(&m->head, m->packet, sizeof m->head);
        m->packet[n] = 0;
        m->body = (const char *)m->packet + sizeof m->head;
        if (nfds)
            ok = map_body(m, fds[0], err);
    }
    for (unsigned i = 0; i < nfds; i++)
        close(fds[i]);
    if (ok)
        return 1;
    load_wire_free(m);
    return -1;
}

/* A body too large for a packet: a memfd with it and a NUL, sealed. */
static int body_fd(const void *body, size_t length)
{
    int fd = memfd_create("pst-load-message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const char *p = body;
    bool ok = fd >= 0 && !ftruncate(fd, (off_t)length + 1);
    for (size_t at = 0; ok && at < length;) {
        ssize_t n = pwrite(fd, p + at, length - at, (off_t)at);
        ok = n > 0;
        at += ok ? (size_t)n : 0;
    }
    if (ok && !fcntl(fd, F_ADD_SEALS, SEALS))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

bool load_wire_send(int fd, enum load_wire_type type, uint64_t id, const void *body, size_t length,
                    struct err *err)
{
    if (length > types[type].most)
        return err_set(err, -EMSGSIZE, "a message of %zu bytes is longer than %u", length,
                       types[type].most);
    struct load_wire_header h = {.magic = LOAD_WIRE_MAGIC,
                                 .version = LOAD_WIRE_VERSION,
                                 .type = (uint16_t)type,
                                 .length = (uint32_t)length,
                                 .id = id};
    struct iovec v[2] = {{&h, sizeof h}, {(void *)(uintptr_t)body, length}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = length ? 2 : 1};
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } u = {0};
    int extra = -1;
    if (length > LOAD_WIRE_INLINE) {
        extra = body_fd(body, length);
        if (extra < 0)
            return err_set(err, -ENOMEM, "no memory for a message of %zu bytes", length);
        h.flags = LOAD_WIRE_IN_FD;
        m.msg_iovlen = 1;
        m.msg_control = u.buf;
        m.msg_controllen = sizeof u.buf;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &extra, sizeof(int));
    }
    ssize_t k;
    do
        k = sendmsg(fd, &m, MSG_NOSIGNAL);
    while (k < 0 && errno == EINTR);
    int e = errno;
    if (extra >= 0)
        close(extra);
    return k >= 0 || err_set(err, -e, "a message cannot be sent: %s", strerror(e));
}

/* ---- bodies ---- */

#define MB 1e6

static json_t *body_object(const char *body, size_t n, struct err *err)
{
    json_error_t je;
    json_t *o = json_loadb(body, n, JSON_REJECT_DUPLICATES, &je);
    if (json_is_object(o))
        return o;
    json_decref(o);
    err_set(err, -EPROTO, "a message whose body is no JSON object");
    return NULL;
}

static bool whole(const json_t *o, const char *name, uint64_t *out, struct err *err)
{
    const json_t *v = json_object_get(o, name);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return err_set(err, -EPROTO, "a message whose \"%s\" is no number from 0 on", name);
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static bool real(const json_t *o, const char *name, double *out, struct err *err)
{
    const json_t *v = json_object_get(o, name);
    *out = json_number_value(v);
    return (json_is_number(v) && isfinite(*out) && *out >= 0 && *out < 1e15) ||
           err_set(err, -EPROTO, "a message whose \"%s\" is no number from 0 on", name);
}

bool load_beat_parse(struct load_beat *b, const char *body, size_t n, struct err *err)
{
    double mb = 0;
    json_t *o = body_object(body, n, err);
    bool ok = o && whole(o, "rows", &b->rows, err) && whole(o, "bytes", &b->bytes, err) &&
              whole(o, "total", &b->total, err) && real(o, "mb", &mb, err);
    b->heap = (uint64_t)(mb * MB);
    json_decref(o);
    return ok;
}

/* One line that a terminal can be given: control bytes become blanks. */
static void printable(char *out, size_t room, const char *text)
{
    size_t n = 0;
    for (; *text && n + 1 < room; text++)
        out[n++] = (uint8_t)*text < 0x20 || *text == 0x7f ? ' ' : *text;
    while (n && *text && ((uint8_t)out[n - 1] & 0xC0) == 0x80) /* not half a character */
        n--;
    if (n && *text && (uint8_t)out[n - 1] >= 0xC0)
        n--;
    out[n] = 0;
}

static bool done_parse(struct load_done *d, const json_t *o, struct err *err)
{
    const json_t *success = json_object_get(o, "success"), *result = json_object_get(o, "result"),
                 *error = json_object_get(o, "error"), *code = json_object_get(o, "code"),
                 *again = json_object_get(o, "retryable");
    double mb = 0;
    if (!json_is_boolean(success) || !real(o, "mb", &mb, err) ||
        !real(o, "seconds", &d->seconds, err))
        return err_set(err, -EPROTO, "a result without \"success\", \"mb\" or \"seconds\"");
    d->heap = (uint64_t)(mb * MB);
    d->success = json_is_true(success);
    if (d->success) {
        if (!json_is_object(result))
            return err_set(err, -EPROTO, "a result without \"result\"");
        d->result = json_incref((json_t *)(uintptr_t)result);
        return true;
    }
    if (!json_is_string(error) || !json_is_integer(code) || !json_is_boolean(again) ||
        json_integer_value(code) >= 0 || json_integer_value(code) < -4095)
        return err_set(err, -EPROTO, "a failure without \"error\", \"code\" or \"retryable\"");
    d->code = (int)json_integer_value(code);
    d->retryable = json_is_true(again);
    printable(d->error, sizeof d->error, json_string_value(error));
    return true;
}

bool load_done_parse(struct load_done *d, const char *body, size_t n, struct err *err)
{
    memset(d, 0, sizeof *d);
    json_t *o = body_object(body, n, err);
    bool ok = o && done_parse(d, o, err);
    json_decref(o);
    return ok;
}

size_t load_beat_print(const struct load_beat *b, char out[512])
{
    return (size_t)snprintf(out, 512, "{\"rows\":%llu,\"bytes\":%llu,\"total\":%llu,\"mb\":%.1f}",
                            (unsigned long long)(b->rows & INT64_MAX),
                            (unsigned long long)(b->bytes & INT64_MAX),
                            (unsigned long long)(b->total & INT64_MAX), (double)b->heap / MB);
}

static char *failure_print(const struct load_done *d, int code, bool retryable, const char *error)
{
    char line[LOAD_WIRE_ERROR];
    printable(line, sizeof line, error);
    json_t *text = json_string(line);
    if (!text) /* not UTF-8: bytes beyond ASCII go */
        for (char *p = line; *p; p++)
            *p = (uint8_t)*p >= 0x80 ? '?' : *p;
    json_t *o = json_pack("{s:b,s:f,s:f,s:o,s:i,s:b}", "success", 0, "mb", (double)d->heap / MB,
                          "seconds", d->seconds, "error", text ? text : json_string(line), "code",
                          code, "retryable", retryable);
    char *out = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return out;
}

char *load_done_print(const struct load_done *d)
{
    if (!d->success)
        return failure_print(d, d->code < 0 && d->code >= -4095 ? d->code : -EIO, d->retryable,
                             d->error);
    json_t *o = json_pack("{s:b,s:f,s:f,s:O}", "success", 1, "mb", (double)d->heap / MB, "seconds",
                          d->seconds, "result", d->result);
    char *out = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (out && strlen(out) > LOAD_WIRE_INLINE) {
        free(out);
        return failure_print(d, -EMSGSIZE, false, "the result is too large for a message");
    }
    return out;
}
