/* SPDX-License-Identifier: Apache-2.0 */
/* Writing kdb+ objects and messages: appends to a buffer that grows. */
#include "kdb_object.h"

void kdb_out_free(struct kdb_out *o)
{
    free(o->data);
    memset(o, 0, sizeof *o);
}

uint8_t *kdb_out_room(struct kdb_out *o, size_t n)
{
    if (o->failed)
        return NULL;
    if (n > o->room - o->len) {
        size_t room = o->room ? o->room : 4096;
        while (n > room - o->len && room < (size_t)1 << 40)
            room *= 2;
        uint8_t *p = n <= room - o->len ? realloc(o->data, room) : NULL;
        if (!p) {
            o->failed = true;
            return NULL;
        }
        o->data = p;
        o->room = room;
    }
    o->len += n;
    return o->data + o->len - n;
}

void kdb_out_bytes(struct kdb_out *o, const void *p, size_t n)
{
    uint8_t *to = n ? kdb_out_room(o, n) : NULL;
    if (to)
        memcpy(to, p, n);
}

static void byte(struct kdb_out *o, int v)
{
    uint8_t b = (uint8_t)v;
    kdb_out_bytes(o, &b, 1);
}
static void count32(struct kdb_out *o, uint32_t n)
{
    uint8_t b[4];
    put32(b, n);
    if (n > INT32_MAX)
        o->failed = true;
    kdb_out_bytes(o, b, 4);
}
static void head(struct kdb_out *o, int type, uint8_t attribute, uint32_t count)
{
    byte(o, type);
    byte(o, attribute);
    count32(o, count);
}
static void text(struct kdb_out *o, const char *t, size_t len)
{
    kdb_out_bytes(o, t, strnlen(t, len));
    byte(o, 0);
}

void kdb_out_null(struct kdb_out *o)
{
    byte(o, KDB_UNARY);
    byte(o, 0);
}
void kdb_out_atom(struct kdb_out *o, int type, const void *value)
{
    pst_must(type > 0 && kdb_object_width(type));
    byte(o, -type);
    kdb_out_bytes(o, value, kdb_object_width(type));
}
void kdb_out_long(struct kdb_out *o, int64_t v)
{
    kdb_out_atom(o, PST_LONG, &v);
}
void kdb_out_symbol(struct kdb_out *o, const char *t, size_t len)
{
    byte(o, -PST_SYMBOL);
    text(o, t, len);
}
void kdb_out_chars(struct kdb_out *o, const char *t, size_t len)
{
    head(o, PST_CHAR, 0, len > INT32_MAX ? UINT32_MAX : (uint32_t)len);
    kdb_out_bytes(o, t, len);
}
void kdb_out_vector(struct kdb_out *o, int type, uint8_t attribute, uint32_t count,
                    const void *values)
{
    pst_must(type > 0 && kdb_object_width(type));
    head(o, type, attribute, count);
    kdb_out_bytes(o, values, (size_t)count * kdb_object_width(type));
}
void kdb_out_symbols(struct kdb_out *o, const char *const *texts, uint32_t count)
{
    head(o, PST_SYMBOL, 0, count);
    for (uint32_t i = 0; i < count; i++)
        text(o, texts[i], strlen(texts[i]));
}
void kdb_out_list(struct kdb_out *o, uint32_t count)
{
    head(o, KDB_LIST, 0, count);
}
void kdb_out_dict(struct kdb_out *o, bool sorted)
{
    byte(o, sorted ? KDB_SORTED_DICT : KDB_DICT);
}
void kdb_out_table(struct kdb_out *o, uint8_t attribute)
{
    byte(o, KDB_TABLE);
    byte(o, attribute);
}
void kdb_out_columns(struct kdb_out *o, const char *const *names, uint32_t count)
{
    kdb_out_table(o, 0);
    kdb_out_dict(o, false);
    kdb_out_symbols(o, names, count);
    kdb_out_list(o, count);
}
void kdb_out_error(struct kdb_out *o, const char *t)
{
    byte(o, KDB_ERROR);
    text(o, t, strlen(t));
}
void kdb_out_lambda(struct kdb_out *o, const char *context, const char *source)
{
    byte(o, KDB_LAMBDA);
    text(o, context, strlen(context));
    kdb_out_chars(o, source, strlen(source));
}

size_t kdb_out_open(struct kdb_out *o, int type, uint8_t attribute)
{
    head(o, type, attribute, 0);
    return o->len;
}
void kdb_out_close(struct kdb_out *o, size_t opened, uint32_t count)
{
    if (count > INT32_MAX)
        o->failed = true;
    if (!o->failed)
        put32(o->data + opened - 4, count);
}

/* ---- messages ---- */

size_t kdb_frame_begin(struct kdb_out *o, enum kdb_kind kind)
{
    uint8_t h[KDB_FRAME] = {KDB_LITTLE, (uint8_t)kind};
    size_t begun = o->len;
    kdb_out_bytes(o, h, sizeof h);
    return begun;
}
bool kdb_frame_end(struct kdb_out *o, size_t begun)
{
    if (o->failed)
        return false;
    if (o->len - begun > KDB_BYTES_MAX) {
        o->len = begun;
        return false;
    }
    put32(o->data + begun + 4, (uint32_t)(o->len - begun));
    return true;
}

enum kdb_verdict kdb_frame_read(struct kdb_frame *f, const uint8_t h[KDB_FRAME], const char **why)
{
    const char *bad = h[0] > 1   ? "unknown byte order"
                      : h[1] > 2 ? "unknown kind of message"
                      : h[2] > 1 ? "unknown compression"
                                 : NULL;
    *f = (struct kdb_frame){.order = h[0], .kind = h[1], .compressed = h[2] == 1};
    f->length = (uint64_t)h[3] << 32 | (h[0] == KDB_LITTLE ? le32(h + 4) : be32(h + 4));
    if (!bad && f->length > KDB_BYTES_MAX)
        bad = "a message of 2 GiB or more";
    if (!bad && f->length < KDB_FRAME + (f->compressed ? 4u : 1u))
        bad = "a message shorter than its header";
    if (why)
        *why = bad ? bad : "";
    return bad ? KDB_BAD : KDB_OK;
}
