/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scram.h - verifiers of passwords: SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL stores them,
 *   SCRAM-SHA-256$<iterations>:<salt, base64>$<StoredKey, base64>:<ServerKey, base64>
 * A verifier made by PostgreSQL (pg_authid.rolpassword) can be used as it is. Passwords are bytes:
 * SASLprep is the identity for ASCII, others are taken unchanged (as PostgreSQL does with what is
 * no valid UTF-8).
 *
 * Any thread. A check costs one PBKDF2: about 1 ms at 4,096 iterations.
 */
#pragma once

#include "core/base.h"

#define SCRAM_KEY            32u
#define SCRAM_SALT_MAX       64u
#define SCRAM_TEXT           256u
#define SCRAM_ITERATIONS     4096u    /* of new verifiers; the least that is taken (RFC 7677) */
#define SCRAM_ITERATIONS_MAX 1000000u /* a third of a second: more is a slip */
#define SCRAM_PASSWORD_MAX   512u

struct scram {
    uint32_t iterations;
    uint8_t salt[SCRAM_SALT_MAX];
    uint32_t salt_len;
    uint8_t stored[SCRAM_KEY], server[SCRAM_KEY];
};

/* false: why is a short phrase ("has 3 fields …"). */
bool scram_parse(const char *text, struct scram *out, char *why, size_t why_size);
/* A new verifier with a random salt of 16 bytes. */
bool scram_make(const char *password, size_t len, uint32_t iterations, char out[SCRAM_TEXT],
                struct err *err);
bool scram_make_salted(const char *password, size_t len, const uint8_t *salt, uint32_t salt_len,
                       uint32_t iterations, char out[SCRAM_TEXT], struct err *err);
/*
 * Is it the password of v? v NULL: no (the user is unknown). Costs `cost` iterations in either
 * case, or v's if they are more; the comparison takes the same time for every wrong password.
 */
bool scram_check(const struct scram *v, const char *password, size_t len, uint32_t cost);
