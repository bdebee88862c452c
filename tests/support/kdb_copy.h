/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kdb_copy.h - an object taken apart through the views of storage/kdb_object.h and written again
 * with its writer, value by value: equal bytes mean that nothing was lost on the way. kdb_to_big
 * turns little-endian bytes into big-endian ones by itself, sharing nothing with the product.
 */
#pragma once

#include "kdb_object.h"

static inline void kdb_copy(struct kdb_out *out, const struct kdb_object *o)
{
    struct kdb_items i;
    struct kdb_texts t;
    uint8_t v[16];
    unsigned width = kdb_object_width(o->type);
    uint32_t len = 0;
    size_t opened;
    if (o->type < 0 && width) {
        kdb_object_copy(o, 0, 1, v);
        kdb_out_atom(out, -o->type, v);
    } else if (o->type == -PST_SYMBOL) {
        const char *text = kdb_object_text(o, &len);
        kdb_out_symbol(out, text, len);
    } else if (o->type == KDB_ERROR) {
        kdb_out_error(out, kdb_object_text(o, &len));
    } else if (o->type == PST_SYMBOL) {
        opened = kdb_out_open(out, PST_SYMBOL, o->attribute);
        uint32_t n = 0;
        for (bool more = kdb_texts(o, &t); more; more = kdb_texts_next(&t), n++)
            kdb_out_bytes(out, t.text, t.len + 1);
        kdb_out_close(out, opened, n);
    } else if (o->type > 0 && width) {
        opened = kdb_out_open(out, o->type, o->attribute);
        uint8_t *to = kdb_out_room(out, (size_t)o->count * width);
        if (to && o->count)
            kdb_object_copy(o, 0, o->count, to);
        kdb_out_close(out, opened, o->count);
    } else if (o->type == KDB_LAMBDA) {
        struct kdb_object source;
        const char *context = (const char *)o->data;
        kdb_object_view(&source, context + strlen(context) + 1, o->order);
        const char *text = kdb_object_text(&source, &len);
        uint8_t type = KDB_LAMBDA;
        kdb_out_bytes(out, &type, 1);
        kdb_out_bytes(out, context, strlen(context) + 1);
        opened = kdb_out_open(out, PST_CHAR, source.attribute);
        kdb_out_bytes(out, text, len);
        kdb_out_close(out, opened, len);
    } else if (o->type >= KDB_UNARY && o->type <= KDB_ITERATOR) {
        kdb_out_bytes(out, o->at, 2);
    } else { /* what has items */
        if (o->type == KDB_LIST) {
            opened = kdb_out_open(out, KDB_LIST, o->attribute);
            kdb_out_close(out, opened, o->count);
        } else if (o->type == KDB_TABLE) {
            kdb_out_table(out, o->attribute);
        } else if (o->type == KDB_DICT || o->type == KDB_SORTED_DICT) {
            kdb_out_dict(out, o->type == KDB_SORTED_DICT);
        } else {
            uint8_t head[5] = {(uint8_t)o->type};
            put32(head + 1, o->count);
            bool counted = o->type == KDB_PROJECTION || o->type == KDB_COMPOSITION;
            kdb_out_bytes(out, head, counted ? 5 : 1);
        }
        for (bool more = kdb_items(o, &i); more; more = kdb_items_next(&i))
            kdb_copy(out, &i.item);
    }
}

/* Sound little-endian bytes at p to big-endian ones at `to`; returns how many (both alike). */
static inline size_t kdb_to_big(const uint8_t *p, uint8_t *to)
{
    static const int size[20] = {0, 1, 16, 0, 1, 2, 4, 8, 4, 8, 1, 0, 8, 4, 4, 8, 8, 4, 4, 4};
    int type = (int8_t)p[0], kind = type < 0 ? -type : type;
    size_t at = 1, items = 0, n = 1;
    to[0] = p[0];
    if ((type >= 0 && type < 20) || type == 98)
        to[1] = p[1], at = 2;
    if ((type >= 0 && type < 20) || type == 104 || type == 105) {
        n = p[at] | p[at + 1] << 8 | p[at + 2] << 16 | (size_t)p[at + 3] << 24;
        for (int k = 0; k < 4; k++)
            to[at + k] = p[at + 3 - k];
        at += 4;
    }
    if (kind < 20 && kind != 0 && kind != 11) {
        int w = size[kind], unit = kind == 2 ? 1 : w;
        for (size_t v = 0; v < n * (size_t)w / (size_t)unit; v++, at += (size_t)unit)
            for (int k = 0; k < unit; k++)
                to[at + (size_t)k] = p[at + (size_t)(unit - 1 - k)];
        return at;
    }
    if (kind == 11 || type == -128) {
        for (; n; n--)
            do
                to[at] = p[at];
            while (p[at++]);
        return at;
    }
    if (type == 100) {
        do
            to[at] = p[at];
        while (p[at++]);
        items = 1;
    } else if (type >= 101 && type <= 103) {
        to[at] = p[at];
        return at + 1;
    } else {
        items = type == 99 || type == 127 ? 2 : type == 0 || type == 104 || type == 105 ? n : 1;
    }
    while (items--)
        at += kdb_to_big(p + at, to + at);
    return at;
}
