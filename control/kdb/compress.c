/* SPDX-License-Identifier: Apache-2.0 */
/* Positions (s, p, r, table) are those of the original message, whose data begins at 8. */
#include "kdb/compress.h"

#define TOKEN_MAX  257u /* bytes that one match can make */
#define GROUP_ROOM 17u  /* a control byte and eight matches */

static void put_length(uint8_t *at, uint32_t v, uint8_t order)
{
    put32(at, order == KDB_LITTLE ? v : __builtin_bswap32(v));
}
static uint32_t get_length(const uint8_t *at, uint8_t order)
{
    return order == KDB_LITTLE ? le32(at) : be32(at);
}

size_t kdb_compress(const uint8_t *y, size_t t, uint8_t *to)
{
    uint32_t table[256] = {0}, pending_at = 0;
    unsigned pending_hash = 0, bit = 0, flags = 0, hash = 0;
    size_t s = KDB_FRAME, d = KDB_COMPRESSED_HEAD, control = d, room = t / 2;
    if (t > KDB_BYTES_MAX || t < 20 || y[2])
        return 0;
    memcpy(to, y, 4);
    to[2] = 1;
    put_length(to + 8, (uint32_t)t, y[0]);
    while (s < t) {
        if (!bit) {
            if (d + GROUP_ROOM > room)
                return 0;
            to[control] = (uint8_t)flags;
            control = d++;
            flags = 0;
            bit = 1;
        }
        uint32_t p = 0;
        if (s + 3 <= t) {
            hash = y[s] ^ y[s + 1];
            p = table[hash];
        }
        bool literal = !p || y[s] != y[p];
        if (pending_at) /* only now: a lookup never sees the position just before it */
            table[pending_hash] = pending_at;
        pending_at = 0;
        if (literal) {
            pending_hash = hash;
            pending_at = (uint32_t)s;
            to[d++] = y[s++];
        } else {
            table[hash] = (uint32_t)s;
            flags |= bit;
            s += 2;
            p += 2;
            size_t from = s, end = s + 255 < t ? s + 255 : t;
            while (s < end && y[p] == y[s]) {
                p++;
                s++;
            }
            to[d++] = (uint8_t)hash;
            to[d++] = (uint8_t)(s - from);
        }
        bit = bit == 128 ? 0 : bit * 2;
    }
    to[control] = (uint8_t)flags;
    put_length(to + 4, (uint32_t)d, y[0]);
    return d;
}

static bool hostile(const char **why, const char *text)
{
    if (why)
        *why = text;
    return false;
}

bool kdb_decompressed_size(const uint8_t *m, size_t len, size_t max, size_t *size, const char **why)
{
    struct kdb_frame f;
    if (len < KDB_COMPRESSED_HEAD)
        return hostile(why, "a compressed message shorter than its header");
    if (kdb_frame_read(&f, m, why) != KDB_OK)
        return false;
    if (!f.compressed || f.length != len)
        return hostile(why, "no complete compressed message");
    uint64_t claimed = get_length(m + 8, m[0]);
    if (claimed <= KDB_FRAME || claimed > KDB_BYTES_MAX)
        return hostile(why, "an impossible unpacked length");
    if (claimed > max)
        return hostile(why, "a message that unpacks to more than the limit");
    /* eight matches: 17 bytes that make 8 * 257 */
    uint64_t most = ((uint64_t)(len - KDB_COMPRESSED_HEAD) * 8 * TOKEN_MAX) / GROUP_ROOM;
    if (claimed - KDB_FRAME > most)
        return hostile(why, "an unpacked length that its bytes cannot make");
    *size = claimed;
    return true;
}

bool kdb_decompress(const uint8_t *m, size_t len, uint8_t *to, size_t size, const char **why)
{
    uint32_t table[256] = {0};
    size_t s = KDB_FRAME, p = KDB_FRAME, d = KDB_COMPRESSED_HEAD;
    unsigned bit = 0, flags = 0;
    memcpy(to, m, 4);
    to[2] = 0;
    put_length(to + 4, (uint32_t)size, m[0]);
    while (s < size) {
        if (!bit) {
            if (d == len)
                return hostile(why, "compressed bytes that run out");
            flags = m[d++];
            bit = 1;
        }
        size_t more = 0;
        if (flags & bit) {
            if (len - d < 2)
                return hostile(why, "compressed bytes that run out");
            size_t r = table[m[d]];
            more = m[d + 1];
            d += 2;
            if (r < KDB_FRAME || r >= s)
                return hostile(why, "a compressed reference to nothing");
            if (2 + more > size - s)
                return hostile(why, "a compressed copy beyond the end");
            if (s - r >= 2 + more) /* apart: in one go */
                memcpy(to + s, to + r, 2 + more);
            else
                for (size_t i = 0; i < 2 + more; i++)
                    to[s + i] = to[r + i];
            s += 2;
        } else {
            if (d == len)
                return hostile(why, "compressed bytes that run out");
            to[s++] = m[d++];
        }
        for (; p + 1 < s; p++)
            table[to[p] ^ to[p + 1]] = (uint32_t)p;
        if (flags & bit)
            p = s += more;
        bit = bit == 128 ? 0 : bit * 2;
    }
    return d == len || hostile(why, "bytes behind the end of a compressed message");
}
