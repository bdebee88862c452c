/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest.h - checksums as the world writes them (sha256sum and its relatives), by OpenSSL, fed
 * piece by piece while a read task reads its file.
 *
 * A digest's text is "sha256:HEX", also md5, sha1, sha512; the hex digits are small letters.
 * Owner: one thread. Errors: a name that is not known, no memory, or not allowed by the machine's
 * policy (FIPS: md5).
 */
#pragma once

#include <errno.h>
#include "core/base.h"

#define LOAD_DIGEST_TEXT 144u

struct load_digest; /* opaque */
/* text: a digest's text; its first part names the algorithm. NULL: err. */
struct load_digest *load_digest_open(const char *text, struct err *err);
bool load_digest_add(struct load_digest *d, const void *bytes, size_t n);
/* The digest of all that was added, as text. */
bool load_digest_text(struct load_digest *d, char out[LOAD_DIGEST_TEXT], struct err *err);
void load_digest_close(struct load_digest *d); /* NULL is allowed */
/* A well-formed text of a known algorithm? */
bool load_digest_valid(const char *text);
