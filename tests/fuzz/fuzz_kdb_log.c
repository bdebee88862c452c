/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a kdb+ log: messages follow each other without a gap, what ends them is told, and
 * salvage goes forward only. The header is put in front when it is not there.
 */
#include "kdb_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void all(const uint8_t *data, size_t size)
{
    struct kdb_log l;
    struct kdb_message m;
    struct err err;
    if (!kdb_log_open_memory(&l, data, size, &err))
        return;
    uint64_t at = KDB_LOG_HEADER, n = 0;
    for (;;) {
        enum kdb_log_verdict v = kdb_log_next(&l, &m);
        if (v == KDB_LOG_MESSAGE) {
            pst_must(m.offset == at && m.bytes && m.number == n++);
            pst_must(m.whole.at == data + at && !m.update == !m.table);
            at += m.bytes;
            pst_must(kdb_object_end(&m.whole) == data + at);
            pst_must(!m.update || kdb_object_end(&m.data) == data + at);
        } else if (v == KDB_LOG_BAD) {
            pst_must(l.at == at && *l.why && at < size);
            if (!kdb_log_salvage(&l))
                break;
            pst_must(l.bad_from == at && l.bad_to > at && l.at == l.bad_to);
            at = l.at;
        } else {
            pst_must(v == KDB_LOG_END && at == size);
            break;
        }
    }
    pst_must(l.at == at && l.messages == n);
    kdb_log_close(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    all(data, size);
    uint8_t *copy = malloc(size + KDB_LOG_HEADER);
    pst_must(copy);
    memcpy(copy, "\xFF\1\0\0\0\0\0\0", KDB_LOG_HEADER);
    memcpy(copy + KDB_LOG_HEADER, data, size);
    all(copy, size + KDB_LOG_HEADER);
    free(copy);
    return 0;
}
