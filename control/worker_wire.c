/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "worker_wire.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

const char *worker_check(const struct wire_protocol *p, const void *packet, size_t bytes,
                         unsigned nfds, char sender)
{
    struct wire_header h;
    if (bytes < sizeof h)
        return "a packet shorter than its header";
    memcpy(&h, packet, sizeof h);
    if (h.magic != p->magic)
        return "a packet without the magic number";
    if (h.version != p->version)
        return "another version of the protocol: penstockd and its process are of two builds";
    if (!h.type || h.type >= p->types || p->kind[h.type].sender != sender)
        return "a message of a type that it may not send";
    if (h.length > p->kind[h.type].most)
        return "a message that is too long";
    if (h.flags & ~(uint32_t)WIRE_IN_FD)
        return "a message with unknown flags";
    bool in_fd = h.flags & WIRE_IN_FD;
    if (bytes - sizeof h != (in_fd ? 0 : h.length) || (in_fd && sender != WIRE_DAEMON))
        return "a message whose length is not what it says";
    if (nfds < p->kind[h.type].fewest_fds + in_fd || nfds > p->kind[h.type].most_fds)
        return "a message with a wrong number of descriptors";
    return NULL;
}

void wire_free(struct wire_message *m)
{
    for (unsigned i = 0; i < m->nfds; i++)
        if (m->fds[i] >= 0)
            close(m->fds[i]);
    if (m->map)
        munmap(m->map, m->mapped);
    free(m->packet);
    memset(m, 0, sizeof *m);
}

/* The body in the last descriptor: sealed, of exactly the length that was said. */
static bool map_body(struct wire_message *m, struct err *err)
{
    int fd = m->fds[--m->nfds];
    struct stat st;
    size_t n = (size_t)m->head.length + 1; /* the file holds a NUL more */
    bool ok = fcntl(fd, F_GET_SEALS) >= 0 && (fcntl(fd, F_GET_SEALS) & SEALS) == SEALS &&
              !fstat(fd, &st) && st.st_size == (off_t)n;
    if (ok) {
        m->map = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
        m->mapped = n;
    }
    close(fd);
    if (!ok || m->map == MAP_FAILED) {
        m->map = NULL;
        return err_set(err, -EPROTO, "a message whose body is no sealed memfd of its length");
    }
    m->body = m->map;
    return m->body[m->head.length] == 0 || err_set(err, -EPROTO, "a message whose body has no end");
}

int worker_receive(const struct wire_protocol *p, int fd, char sender, struct wire_message *m,
                   bool *closed, struct err *err)
{
    memset(m, 0, sizeof *m);
    *closed = false;
    size_t room = sizeof m->head + WIRE_INLINE;
    uint8_t *packet = malloc(room + 1);
    if (!packet) {
        err_set(err, -ENOMEM, "no memory for a message");
        return -1;
    }
    union {
        char buf[CMSG_SPACE(WIRE_FDS * sizeof(int))];
        struct cmsghdr align;
    } u;
    struct iovec v = {packet, room};
    struct msghdr msg = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof u.buf};
    ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    if (n <= 0) {
        free(packet);
        *closed = n == 0 || (errno != EAGAIN && errno != EINTR);
        return 0;
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            m->nfds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(m->fds, CMSG_DATA(c), m->nfds * sizeof(int));
        }
    m->packet = packet;
    const char *why = msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)
                          ? "a packet that is too long, or has too many descriptors"
                          : worker_check(p, packet, (size_t)n, m->nfds, sender);
    if (why) {
        err_set(err, -EPROTO, "%s", why);
        wire_free(m);
        return -1;
    }
    memcpy(&m->head, packet, sizeof m->head);
    packet[n] = 0;
    m->body = (const char *)packet + sizeof m->head;
    if (m->head.flags & WIRE_IN_FD && !map_body(m, err)) {
        wire_free(m);
        return -1;
    }
    return 1;
}

/* A body too large for a packet: a memfd with it and a NUL, sealed. */
static int body_fd(const void *body, size_t length)
{
    int fd = memfd_create("pst-message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
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

bool worker_send(const struct wire_protocol *p, int fd, unsigned type, uint64_t id, uint64_t value,
                 const void *body, size_t length, const int *fds, unsigned nfds, struct err *err)
{
    if (length > p->kind[type].most || nfds + 1 > WIRE_FDS)
        return err_set(err, -EMSGSIZE, "a message of %zu bytes is longer than %u", length,
                       p->kind[type].most);
    struct wire_header h = {.magic = p->magic,
                            .version = p->version,
                            .type = (uint16_t)type,
                            .length = (uint32_t)length,
                            .id = id,
                            .value = value};
    int all[WIRE_FDS], extra = -1;
    unsigned n = nfds;
    memcpy(all, fds ? fds : all, nfds * sizeof(int));
    struct iovec v[2] = {{&h, sizeof h}, {(void *)(uintptr_t)body, length}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = length ? 2 : 1};
    if (length > WIRE_INLINE) {
        extra = body_fd(body, length);
        if (extra < 0)
            return err_set(err, -errno, "no memory for a message: %s", strerror(errno));
        all[n++] = extra;
        h.flags = WIRE_IN_FD;
        m.msg_iovlen = 1;
    }
    union {
        char buf[CMSG_SPACE(WIRE_FDS * sizeof(int))];
        struct cmsghdr align;
    } u;
    if (n) {
        memset(&u, 0, sizeof u);
        m.msg_control = u.buf;
        m.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), all, n * sizeof(int));
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
