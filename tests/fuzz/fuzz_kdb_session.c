/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a kdb+ client sends, in pieces whose size the first byte says; the second says
 * server or client, and the limit. Whatever comes out is sound, and nothing is held beyond what the
 * header of session.h says. What is compressed is also unpacked inside guarded memory.
 */
#include "kdb/compress.h"
#include "kdb/request.h"
#include "kdb/session.h"
#include "support/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void unpack(const uint8_t *data, size_t size)
{
    static struct guard in, out;
    static bool open;
    size_t n;
    const char *why = "";
    if (!open) {
        guard_open(&in, 1 << 20);
        guard_open(&out, 1 << 20);
        open = true;
    }
    if (size > 1 << 20)
        return;
    const uint8_t *p = guard_copy(&in, data, size);
    if (!kdb_decompressed_size(p, size, 1 << 20, &n, &why)) {
        pst_must(*why);
        return;
    }
    uint8_t *to = guard_copy(&out, "", 0) - n; /* n bytes that end where memory ends */
    if (!kdb_decompress(p, size, to, n, &why))
        pst_must(*why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kdb_session s;
    struct kdb_event e;
    struct kdb_request r;
    if (size < 2)
        return 0;
    size_t piece = data[0] ? data[0] : 4096, most = 0;
    enum kdb_role role = data[1] & 1 ? KDB_CLIENT : KDB_SERVER;
    struct kdb_limits limits = {.message = data[1] & 2 ? KDB_BYTES_MAX : 4096};
    data += 2;
    size -= 2;
    unpack(data, size);
    kdb_session_start(&s, role, &limits);
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        pst_must(kdb_session_feed(&s, data + at, n));
        most += n;
        for (bool more = true; more;) {
            switch (kdb_session_next(&s, &e)) {
            case KDB_EVENT_LOGIN:
                pst_must(role == KDB_SERVER);
                pst_must(strlen(e.login.user) + strlen(e.login.password) < KDB_LOGIN_MAX);
                break;
            case KDB_EVENT_ACCEPTED:
                pst_must(role == KDB_CLIENT);
                break;
            case KDB_EVENT_MESSAGE:
                pst_must(e.message.size <= limits.message && e.message.wire <= size);
                pst_must(kdb_object_end(&e.message.object) == e.message.bytes + e.message.size);
                kdb_request_read(&e.message.object, &r);
                break;
            case KDB_EVENT_HOSTILE:
                pst_must(*e.why);
                kdb_session_free(&s);
                return 0;
            default:
                more = false;
                break;
            }
        }
        pst_must(s.in.room <= 2 * (most + piece) + 4096);
    }
    kdb_session_free(&s);
    return 0;
}
