/* SPDX-License-Identifier: Apache-2.0 */
#include "core/frame.h"

const char *mark_name(unsigned type)
{
    switch (type) {
#define X(ID, name, n)                                                                             \
    case n:                                                                                        \
        return name;
        MARK_TYPES(X)
#undef X
    default:
        return "?";
    }
}

static uint32_t build_text(void *buf, uint8_t kind, uint32_t head0, uint32_t head1,
                           const char *json, size_t len)
{
    struct frame *f = buf;
    uint64_t total = pst_align8(FRAME_HEADER + 8 + (uint64_t)len);
    if (total > FRAME_MAX)
        return 0;
    memset(f, 0, FRAME_HEADER);
    f->length = (uint32_t)total;
    f->kind = kind;
    f->stream = STREAM_EVERY;
    uint8_t *p = (uint8_t *)buf + FRAME_HEADER;
    put32(p, head0);
    put32(p + 4, head1);
    memcpy(p + 8, json, len);
    memset(p + 8 + len, 0, total - FRAME_HEADER - 8 - len);
    return f->length;
}

uint32_t frame_build_mark(void *buf, enum mark_type type, const char *json, size_t len)
{
    return build_text(buf, FRAME_MARK, (uint32_t)type, (uint32_t)len, json, len);
}

uint32_t frame_build_schema(void *buf, const char *json, size_t len)
{
    return build_text(buf, FRAME_SCHEMA, (uint32_t)len, 0, json, len);
}

void frame_symbol_begin(void *buf, uint32_t first_id)
{
    struct frame *f = buf;
    memset(f, 0, FRAME_HEADER);
    f->kind = FRAME_SYMBOL;
    f->stream = STREAM_EVERY;
    f->length = FRAME_HEADER + 8;
    put32((uint8_t *)buf + FRAME_HEADER, first_id);
    put32((uint8_t *)buf + FRAME_HEADER + 4, 0);
}

bool frame_symbol_add(void *buf, const char *text, uint32_t len)
{
    struct frame *f = buf;
    if (len > 255 || f->length + 1 + len + 8 > FRAME_MAX)
        return false;
    uint8_t *n = (uint8_t *)buf + FRAME_HEADER + 4;
    uint8_t *p = (uint8_t *)buf + f->length;
    put32(n, le32(n) + 1);
    *p = (uint8_t)len;
    memcpy(p + 1, text, len);
    f->length += 1 + len;
    return true;
}

uint32_t frame_symbol_end(void *buf)
{
    struct frame *f = buf;
    uint32_t padded = (uint32_t)pst_align8(f->length);
    memset((uint8_t *)buf + f->length, 0, padded - f->length);
    f->length = padded;
    return padded;
}

bool frame_symbols_each(const struct frame *f,
                        bool (*fn)(void *arg, uint32_t id, const char *text, uint32_t len),
                        void *arg)
{
    const uint8_t *p = frame_payload(f), *end = p + frame_payload_bytes(f);
    if (end - p < 8)
        return false;
    uint32_t id = le32(p), n = le32(p + 4);
    p += 8;
    for (; n; n--, id++) {
        if (p >= end || end - p - 1 < *p)
            return false;
        if (!fn(arg, id, (const char *)p + 1, *p))
            return false;
        p += 1 + *p;
    }
    return true;
}
