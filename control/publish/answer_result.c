/* SPDX-License-Identifier: Apache-2.0 */
/* The memfd of an answer: sealed, mapped, its messages' heads checked. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "answer_parts.h"
#include "query_result.h"

void answer_fail(struct answer *x, int code, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(x->error, sizeof x->error, format, ap);
    va_end(ap);
    x->ok = false;
    x->code = code;
}

void answer_unmap(struct answer *x)
{
    if (x->data)
        munmap((void *)(uintptr_t)x->data, x->bytes);
    if (x->fd >= 0)
        close(x->fd);
    x->data = NULL;
    x->fd = -1;
}

/* Whole messages from end to end, all of the kind that belongs there. */
static bool messages_ok(struct answer *x)
{
    bool one = x->kind != ANSWER_KEYED && x->kind != ANSWER_SNAPSHOT;
    uint32_t n = 0;
    for (uint64_t at = 0; at < x->bytes; n++) {
        struct kdb_frame f;
        const char *why;
        if (x->bytes - at <= KDB_FRAME || kdb_frame_read(&f, x->data + at, &why) != KDB_OK ||
            f.order != KDB_LITTLE || f.compressed || f.length <= KDB_FRAME ||
            f.length > x->bytes - at || f.kind != (one ? KDB_RESPONSE : KDB_ASYNC))
            return false;
        at += f.length;
    }
    x->messages = n;
    return !one || n == 1;
}

bool answer_map(struct answer *x, int fd)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    x->fd = fd;
    if (seals < 0 || (seals & QUERY_RESULT_SEALS) != QUERY_RESULT_SEALS || fstat(fd, &st)) {
        answer_fail(x, -EPROTO, "the query process gave back no sealed result");
        answer_unmap(x);
        return false;
    }
    x->bytes = (uint64_t)st.st_size;
    void *map = x->bytes ? mmap(NULL, x->bytes, PROT_READ, MAP_SHARED, fd, 0) : NULL;
    if (map == MAP_FAILED) {
        answer_fail(x, -errno, "the result cannot be mapped: %s", strerror(errno));
        answer_unmap(x);
        return false;
    }
    x->data = map;
    if (messages_ok(x))
        return x->ok = true;
    answer_fail(x, -EPROTO, "the query process gave back a malformed result");
    answer_unmap(x);
    return false;
}

const uint8_t *answer_message(const struct answer *x, uint32_t i, uint32_t *bytes)
{
    for (uint64_t at = 0; x->ok && at < x->bytes;) {
        uint32_t n = le32(x->data + at + 4);
        if (!i--) {
            *bytes = n;
            return x->data + at;
        }
        at += n;
    }
    *bytes = 0;
    return NULL;
}

const uint8_t *answer_object(const struct answer *x, uint32_t i, uint32_t *bytes)
{
    const uint8_t *m = answer_message(x, i, bytes);
    if (m)
        *bytes -= KDB_FRAME;
    return m ? m + KDB_FRAME : NULL;
}
