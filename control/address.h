/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address.h - where a connection comes from, and networks such as 10.1.0.0/16. Pure; any thread.
 * Nothing here resolves a name.
 */
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include "core/base.h"

#define ADDRESS_TEXT 64u

struct address {
    uint8_t ip[16]; /* IPv6; an IPv4 address as ::ffff:a.b.c.d; all 0 for the unix socket */
    uint16_t port;  /* host order */
    bool local;     /* the unix socket; then uid and pid, as the kernel says */
    uid_t uid;
    pid_t pid;
};

struct network {
    uint8_t ip[16];
    uint8_t bits; /* of 128 */
};

/* From accept's sockaddr (AF_INET, AF_INET6); false for another family. */
bool address_from(struct address *a, const struct sockaddr *sa);
void address_local(struct address *a, uid_t uid, pid_t pid);
/* "10.0.0.1:5010", "[2001:db8::1]:5010", "uid 1000 pid 77". */
const char *address_text(const struct address *a, char out[ADDRESS_TEXT]);
bool address_loopback(const struct address *a); /* 127.0.0.0/8, ::1 and the unix socket */

/* One of ADDRESS_CLASSES, for counting what comes from one place: an IPv4 address, or a /64 of
 * IPv6, where a host has 2^64 of them. `seed`: so that nobody chooses whom to collide with. */
#define ADDRESS_CLASSES 4096u
uint16_t address_class(const struct address *a, uint32_t seed);

/* "10.1.0.0/16", "10.1.2.3", "2001:db8::/32". Bits set beyond the length are an error: 10.1.2.3/16
 * is more probably a slip than a wish. */
bool network_parse(const char *text, struct network *out);
bool network_has(const struct network *n, const struct address *a);
const char *network_text(const struct network *n, char out[ADDRESS_TEXT]);
