/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compress.h - IPC compression of whole messages, both ways. Pure functions, any thread.
 *
 * Source: the kdb+ format page, section 1.7; the encoder is bit-exact with q's (its check values
 * are in tests/unit/test_kdb_compress.c).
 *
 * Bytes from outside are validated fully: a back reference must point to what has been written, a
 * copy must fit, the input must neither run out nor go on behind the last item. What a message
 * claims to unpack to is compared with what its bytes can make at most (a match: 257 bytes from
 * two and a bit) before anyone allocates.
 */
#pragma once

#include "kdb_object.h"

#define KDB_COMPRESSED_HEAD 12u /* the frame's 8 bytes, then the original length */
/* Below this a message is never worth it (q's own rule). */
#define KDB_COMPRESS_ABOVE 2000u

/* Bytes of room that kdb_compress needs for a message of len bytes. */
pst_inline size_t kdb_compress_room(size_t len)
{
    return len / 2;
}
/* A complete message, header included, as its compressed form. Returns its bytes; 0: it would not
 * be below half, or the message is too small (below 20 bytes), too long or compressed already. */
size_t kdb_compress(const uint8_t *message, size_t len, uint8_t *to);

/* Length of the original message (header included) that a complete compressed one claims. False:
 * no compressed message, a length above max, or one that `len` bytes cannot make. */
bool kdb_decompressed_size(const uint8_t *message, size_t len, size_t max, size_t *size,
                           const char **why);
/* Writes the original message, its header with it, into `size` bytes. False: hostile bytes (`to`
 * then holds rubbish). */
bool kdb_decompress(const uint8_t *message, size_t len, uint8_t *to, size_t size, const char **why);
