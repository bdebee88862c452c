/* SPDX-License-Identifier: Apache-2.0 */
#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

static bool is_v4(const uint8_t ip[16])
{
    return !memcmp(ip, mapped, sizeof mapped);
}

bool address_from(struct address *a, const struct sockaddr *sa)
{
    memset(a, 0, sizeof *a);
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        memcpy(a->ip, mapped, sizeof mapped);
        memcpy(a->ip + 12, &in.sin_addr, 4);
        a->port = ntohs(in.sin_port);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        memcpy(a->ip, &in6.sin6_addr, 16);
        a->port = ntohs(in6.sin6_port);
        return true;
    }
    return false;
}

void address_local(struct address *a, uid_t uid, pid_t pid)
{
    *a = (struct address){.local = true, .uid = uid, .pid = pid};
}

const char *address_text(const struct address *a, char out[ADDRESS_TEXT])
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (a->local) {
        snprintf(out, ADDRESS_TEXT, "uid %u pid %d", (unsigned)a->uid, (int)a->pid);
    } else if (is_v4(a->ip)) {
        inet_ntop(AF_INET, a->ip + 12, ip, sizeof ip);
        snprintf(out, ADDRESS_TEXT, "%s:%u", ip, a->port);
    } else {
        inet_ntop(AF_INET6, a->ip, ip, sizeof ip);
        snprintf(out, ADDRESS_TEXT, "[%s]:%u", ip, a->port);
    }
    return out;
}

bool address_loopback(const struct address *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return a->local || (is_v4(a->ip) ? a->ip[12] == 127 : !memcmp(a->ip, one, 16));
}

uint16_t address_class(const struct address *a, uint32_t seed)
{
    uint64_t h = (seed ^ le64(a->ip)) * 0x9E3779B97F4A7C15ull;
    h ^= h >> 29;
    if (is_v4(a->ip))
        h ^= be64(a->ip + 8);
    h *= 0x9E3779B97F4A7C15ull;
    return (uint16_t)((h ^ h >> 32) & (ADDRESS_CLASSES - 1));
}

static bool clear_beyond(const uint8_t ip[16], unsigned bits)
{
    for (unsigned i = bits; i < 128; i++)
        if (ip[i / 8] >> (7 - i % 8) & 1)
            return false;
    return true;
}

bool network_parse(const char *text, struct network *out)
{
    char ip[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    if (n >= sizeof ip)
        return false;
    memcpy(ip, text, n);
    ip[n] = 0;
    memset(out, 0, sizeof *out);
    unsigned width = 128, bits = 0;
    if (inet_pton(AF_INET, ip, out->ip + 12) == 1) {
        memcpy(out->ip, mapped, sizeof mapped);
        width = 32;
    } else if (inet_pton(AF_INET6, ip, out->ip) != 1) {
        return false;
    }
    if (slash) {
        const char *p = slash + 1;
        for (; *p >= '0' && *p <= '9' && p - slash < 5; p++)
            bits = bits * 10 + (unsigned)(*p - '0');
        if (p == slash + 1 || *p || bits > width || (slash[1] == '0' && slash[2]))
            return false;
    } else {
        bits = width;
    }
    out->bits = (uint8_t)(bits + 128 - width);
    return clear_beyond(out->ip, out->bits);
}

bool network_has(const struct network *n, const struct address *a)
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;
    if (a->local || memcmp(n->ip, a->ip, whole))
        return false;
    return !rest || !((n->ip[whole] ^ a->ip[whole]) >> (8 - rest));
}

const char *network_text(const struct network *n, char out[ADDRESS_TEXT])
{
    char ip[INET6_ADDRSTRLEN] = "";
    bool v4 = is_v4(n->ip) && n->bits >= 96;
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? n->ip + 12 : n->ip, ip, sizeof ip);
    snprintf(out, ADDRESS_TEXT, "%s/%u", ip, v4 ? n->bits - 96u : n->bits);
    return out;
}
