/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include "orders_stream.h"

/* "S#3" -> "S", 3. A text without an epoch is epoch 0. */
static void text_split(struct orders_stream *s, const char *text, uint32_t len)
{
    uint32_t n = len, epoch = 0, unit = 1;
    while (n && text[n - 1] >= '0' && text[n - 1] <= '9' && len - n < 9) {
        epoch += unit * (uint32_t)(text[--n] - '0');
        unit *= 10;
    }
    if (n && n < len && text[n - 1] == '#') {
        s->epoch = epoch;
        len = n - 1;
    }
    if (len > ORDERS_TEXT)
        len = ORDERS_TEXT;
    s->base_len = (uint8_t)len;
    memcpy(s->base, text, len);
}

struct orders_stream *orders_stream_make(uint32_t feed, uint32_t session, int32_t day,
                                         const char *text, uint32_t len, uint64_t orders)
{
    struct orders_stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->feed = feed;
    s->session = session;
    s->day = day;
    text_split(s, text, len);
    if (!orders_books_init(&s->books) || !orders_map_init(&s->map, orders)) {
        orders_stream_free(s);
        return NULL;
    }
    return s;
}

void orders_stream_free(struct orders_stream *s)
{
    if (!s)
        return;
    orders_map_free(&s->map);
    orders_books_free(&s->books);
    free(s);
}

size_t orders_stream_bytes(const struct orders_stream *s)
{
    return sizeof *s + orders_map_bytes(&s->map) + orders_books_bytes(&s->books);
}

bool orders_stream_older(const struct orders_stream *s, const struct orders_stream *newer)
{
    return s->feed == newer->feed && s->day == newer->day && s->base_len == newer->base_len &&
           !memcmp(s->base, newer->base, s->base_len) && s->epoch < newer->epoch;
}
