/* SPDX-License-Identifier: Apache-2.0 */
#include "membership.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct group {
    uint32_t ip, source;
    int fd; /* the socket that holds it; -1 = not joined now */
};

struct membership {
    enum membership_mode mode;
    char iface[IF_NAMESIZE];
    unsigned index;
    bool up;
    struct group *groups;
    int n, room;
    int *fds;
    int n_fds, room_fds;
};

static const char *show(uint32_t ip, char to[INET_ADDRSTRLEN])
{
    struct in_addr a = {htonl(ip)};
    inet_ntop(AF_INET, &a, to, INET_ADDRSTRLEN);
    return to;
}

/* Index 0: there is no such interface now. */
static unsigned find_index(const struct membership *m)
{
    char *end;
    unsigned long n = strtoul(m->iface, &end, 10);
    if (!*end && end != m->iface) {
        char name[IF_NAMESIZE];
        return if_indextoname((unsigned)n, name) ? (unsigned)n : 0;
    }
    return if_nametoindex(m->iface);
}

static bool link_up(unsigned index)
{
    struct ifreq q = {0};
    if (!index || !if_indextoname(index, q.ifr_name)) {
        return false;
    }
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = s >= 0 && ioctl(s, SIOCGIFFLAGS, &q) == 0 && (q.ifr_flags & IFF_UP) &&
              (q.ifr_flags & IFF_RUNNING);
    if (s >= 0) {
        close(s);
    }
    return up;
}

/* The protocol-independent requests, because only they take an interface index for both kinds:
 * IP_ADD_SOURCE_MEMBERSHIP wants an address, which a capture interface need not have. */
static int request(const struct membership *m, int fd, const struct group *g, bool join)
{
    struct sockaddr_in ip = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(g->ip)};
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(g->source)};
    int rc;
    if (g->source) {
        struct group_source_req q = {.gsr_interface = m->index};
        memcpy(&q.gsr_group, &ip, sizeof ip);
        memcpy(&q.gsr_source, &source, sizeof source);
        rc = setsockopt(fd, IPPROTO_IP, join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP,
                        &q, sizeof q);
    } else {
        struct group_req q = {.gr_interface = m->index};
        memcpy(&q.gr_group, &ip, sizeof ip);
        rc = setsockopt(fd, IPPROTO_IP, join ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP, &q, sizeof q);
    }
    return rc == 0 ? 0 : -errno;
}

static int add_socket(struct membership *m)
{
    if (m->n_fds == m->room_fds) {
        int room = m->room_fds ? m->room_fds * 2 : 8;
        int *p = realloc(m->fds, (size_t)room * sizeof *p);
        if (!p) {
            return -ENOMEM;
        }
        m->fds = p;
        m->room_fds = room;
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    m->fds[m->n_fds++] = fd;
    return fd;
}

/* On the first socket with room. A group joined from anybody and from a source, or from two
 * sources, may share a socket or not: EINVAL and EADDRNOTAVAIL say "not on this one". */
static int join_now(struct membership *m, struct group *g)
{
    int rc = -ENOBUFS;
    for (int i = 0; i < m->n_fds; i++) {
        rc = request(m, m->fds[i], g, true);
        if (rc == 0) {
            g->fd = m->fds[i];
            return 0;
        }
        if (rc != -ENOBUFS && rc != -EADDRINUSE && rc != -EINVAL && rc != -EADDRNOTAVAIL) {
            return rc;
        }
    }
    int fd = add_socket(m);
    if (fd < 0) {
        return fd;
    }
    rc = request(m, fd, g, true);
    g->fd = rc == 0 ? fd : -1;
    return rc;
}

static struct group *find(struct membership *m, uint32_t ip, uint32_t source)
{
    for (int i = 0; i < m->n; i++) {
        if (m->groups[i].ip == ip && m->groups[i].source == source) {
            return &m->groups[i];
        }
    }
    return NULL;
}

struct membership *membership_open(enum membership_mode mode, const char *iface, struct err *err)
{
    struct membership *m = calloc(1, sizeof *m);
    if (!m) {
        err_set(err, -ENOMEM, "no memory for multicast membership");
        return NULL;
    }
    m->mode = mode;
    if (mode == MEMBERSHIP_NONE) {
        return m;
    }
    snprintf(m->iface, sizeof m->iface, "%s", iface);
    m->index = find_index(m);
    m->up = link_up(m->index);
    if (!m->index) {
        err_set(err, -ENODEV, "multicast: there is no interface %s (see ip link)", iface);
        free(m);
        return NULL;
    }
    return m;
}

bool membership_join(struct membership *m, uint32_t ip, uint32_t source, struct err *err)
{
    char a[INET_ADDRSTRLEN];
    if (ip >> 28 != 14) {
        return err_set(err, -EINVAL, "%s is not a multicast group (224.0.0.0 to 239.255.255.255)",
                       show(ip, a));
    }
    if (find(m, ip, source)) {
        return true;
    }
    if (m->n == m->room) {
        int room = m->room ? m->room * 2 : 16;
        struct group *p = realloc(m->groups, (size_t)room * sizeof *p);
        if (!p) {
            return err_set(err, -ENOMEM, "no memory for another multicast group");
        }
        m->groups = p;
        m->room = room;
    }
    struct group g = {.ip = ip, .source = source, .fd = -1};
    if (m->mode == MEMBERSHIP_KERNEL) {
        int rc = join_now(m, &g);
        if (rc != 0) {
            return err_set(err, rc, "cannot join %s on %s: %s", show(ip, a), m->iface,
                           rc == -ENODEV ? "the interface is gone" : strerror(-rc));
        }
    }
    m->groups[m->n++] = g;
    return true;
}

bool membership_leave(struct membership *m, uint32_t ip, uint32_t source, struct err *err)
{
    char a[INET_ADDRSTRLEN];
    struct group *g = find(m, ip, source);
    if (!g) {
        return err_set(err, -ENOENT, "%s was never joined on %s", show(ip, a), m->iface);
    }
    int rc = g->fd >= 0 ? request(m, g->fd, g, false) : 0;
    *g = m->groups[--m->n];
    /* An interface that is gone has taken its memberships along. */
    return rc == 0 || rc == -ENODEV || rc == -EADDRNOTAVAIL ||
           err_set(err, rc, "cannot leave %s on %s: %s", show(ip, a), m->iface, strerror(-rc));
}

int membership_rejoin(struct membership *m, struct err *err)
{
    int done = 0, failed = 0;
    char a[INET_ADDRSTRLEN];
    if (m->mode == MEMBERSHIP_NONE) {
        return 0;
    }
    for (int i = 0; i < m->n; i++) { /* leave all first: the kernel then reports each join anew */
        if (m->groups[i].fd >= 0) {
            (void)request(m, m->groups[i].fd, &m->groups[i], false);
            m->groups[i].fd = -1;
        }
    }
    m->index = find_index(m);
    for (int i = 0; i < m->n; i++) {
        int rc = m->index ? join_now(m, &m->groups[i]) : -ENODEV;
        if (rc == 0) {
            done++;
        } else if (!failed) {
            failed = rc;
            err_set(err, rc, "cannot join %s on %s again: %s", show(m->groups[i].ip, a), m->iface,
                    strerror(-rc));
        }
    }
    return failed ? failed : done;
}

int membership_poll(struct membership *m, struct err *err)
{
    if (m->mode == MEMBERSHIP_NONE) {
        return 0;
    }
    unsigned index = find_index(m);
    bool was_up = m->up && index == m->index;
    bool up = link_up(index);
    if (!up || was_up) {
        m->up = up && was_up;
        return 0;
    }
    int n = membership_rejoin(m, err);
    m->up = n >= 0; /* on failure the next poll sees the link come up again */
    return n;
}

int membership_count(const struct membership *m)
{
    return m->n;
}

void membership_close(struct membership *m)
{
    if (m) {
        for (int i = 0; i < m->n_fds; i++) {
            close(m->fds[i]);
        }
        free(m->fds);
        free(m->groups);
        free(m);
    }
}
