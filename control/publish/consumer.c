/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include "publish/consumer.h"

#define FIRST_ROOM 8u

const char *consumer_policy_text(enum consumer_policy p)
{
    static const char *const text[] = {"disconnect", "catchup", "conflate", "skip"};
    return (unsigned)p < PST_COUNT(text) ? text[p] : "?";
}

void consumer_init(struct consumer *c)
{
    memset(c, 0, sizeof *c);
    c->batch = UINT64_MAX;
}

static struct consumer_item *at(const struct consumer *c, uint32_t i)
{
    return &c->item[(c->head + i) & (c->room - 1)];
}

static void item_done(struct consumer_item *x)
{
    if (x->message)
        message_release(x->message);
    else if (x->done)
        x->done(x->arg);
}

void consumer_free(struct consumer *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        item_done(at(c, i));
    free(c->item);
    consumer_init(c);
}

static struct consumer_item *append(struct consumer *c)
{
    if (c->count == c->room) {
        uint32_t room = c->room ? c->room * 2 : FIRST_ROOM;
        struct consumer_item *item = malloc((size_t)room * sizeof *item);
        if (!room || !item) {
            free(item);
            return NULL;
        }
        for (uint32_t i = 0; i < c->count; i++)
            item[i] = *at(c, i);
        free(c->item);
        c->item = item;
        c->room = room;
        c->head = 0;
    }
    return at(c, c->count++);
}

bool consumer_push(struct consumer *c, struct message *m, uint64_t before)
{
    if (c->skipping) {
        c->skipped_rows += m->rows;
        c->dropped_rows += m->rows;
        c->skipped_bytes += m->len;
        return true;
    }
    struct consumer_item *x = append(c);
    if (!x)
        return false;
    *x = (struct consumer_item){
        .data = m->data, .len = m->len, .message = message_hold(m), .before = before};
    c->lag_bytes += m->len;
    c->lag_messages++;
    if (c->lag_bytes > c->peak)
        c->peak = c->lag_bytes;
    return true;
}

static bool of_stream(const struct consumer_item *x)
{
    return x->message && x->message->kind == MESSAGE_STREAM;
}

bool consumer_push_stream(struct consumer *c, struct message *m)
{
    struct consumer_item *x = append(c);
    if (!x)
        return false;
    *x = (struct consumer_item){.data = m->data, .len = m->len, .message = message_hold(m)};
    c->lag_bytes += m->len;
    c->stream_bytes += m->len;
    c->lag_messages++;
    if (c->lag_bytes > c->peak)
        c->peak = c->lag_bytes;
    return true;
}

void consumer_drop(struct consumer *c, uint64_t face,
                   void (*fn)(void *arg, const struct message *m), void *arg)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        struct consumer_item x = *at(c, i);
        if (!of_stream(&x) || (i == 0 && c->offset) || (face && x.message->first != face)) {
            *at(c, kept++) = x;
            continue;
        }
        fn(arg, x.message);
        c->lag_bytes -= x.len;
        c->stream_bytes -= x.len;
        c->lag_messages--;
        message_release(x.message);
    }
    c->count = kept;
}

bool consumer_push_behind(struct consumer *c, struct message *m)
{
    uint64_t before = c->batch;
    for (uint32_t i = c->count; i-- > 0;)
        if (at(c, i)->message && !of_stream(at(c, i))) {
            before = at(c, i)->before;
            break;
        }
    return consumer_push(c, m, before);
}

bool consumer_push_bytes(struct consumer *c, const void *data, uint64_t len,
                         void (*done)(void *arg), void *arg)
{
    struct consumer_item *x = len ? append(c) : NULL;
    if (!x) {
        if (done)
            done(arg);
        return !len;
    }
    *x = (struct consumer_item){.data = data, .len = len, .done = done, .arg = arg};
    c->owed += len;
    return true;
}

int consumer_next(const struct consumer *c, struct iovec *iov, int max, uint64_t most)
{
    int n = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < c->count && n < max && bytes < most; i++, n++) {
        const struct consumer_item *x = at(c, i);
        uint64_t skip = i ? 0 : c->offset;
        iov[n].iov_base = (uint8_t *)x->data + skip;
        iov[n].iov_len = x->len - skip;
        bytes += x->len - skip;
    }
    return n;
}

/* The head item is out. */
static void shift(struct consumer *c)
{
    struct consumer_item *x = at(c, 0);
    if (x->message) {
        c->sent_messages++;
        c->sent_rows += x->message->rows;
        c->lag_messages--;
    }
    item_done(x);
    c->head = (c->head + 1) & (c->room - 1);
    c->offset = 0;
    if (--c->count == 0 && c->room > 1024) { /* what a burst needed is given back */
        free(c->item);
        c->item = NULL;
        c->room = c->head = 0;
    }
}

void consumer_sent(struct consumer *c, uint64_t bytes)
{
    c->sent_bytes += bytes;
    while (bytes) {
        struct consumer_item *x = at(c, 0);
        uint64_t left = x->len - c->offset, n = bytes < left ? bytes : left;
        if (x->message) {
            c->lag_bytes -= n;
            if (of_stream(x))
                c->stream_bytes -= n;
            else
                c->batch = x->before;
        } else {
            c->owed -= n;
        }
        c->offset += n;
        bytes -= n;
        if (n == left)
            shift(c);
    }
}

bool consumer_check(struct consumer *c, const struct consumer_limits *l, uint64_t beside)
{
    uint64_t lag = c->lag_bytes + beside;
    if (!l->alert)
        c->slow = false;
    else if (lag >= l->alert)
        c->slow = true;
    else if (lag < l->alert / 2 || !lag)
        c->slow = false;
    return l->act && lag >= l->act;
}

uint64_t consumer_rewind(struct consumer *c, uint64_t end, uint64_t *rows)
{
    uint32_t kept = 0;
    uint64_t position = end;
    bool dropping = false;
    *rows = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        struct consumer_item x = *at(c, i);
        if (of_stream(&x)) {
            *at(c, kept++) = x;
            continue;
        }
        if (x.message && !dropping && x.before != c->batch && !(i == 0 && c->offset)) {
            dropping = true;
            position = x.before;
        }
        if (x.message && dropping) {
            *rows += x.message->rows;
            c->lag_bytes -= x.len;
            c->lag_messages--;
            message_release(x.message);
        } else {
            *at(c, kept++) = x;
        }
    }
    c->count = kept;
    return position;
}

void consumer_skip(struct consumer *c, uint64_t end)
{
    uint64_t lag = c->lag_bytes;
    c->skipped_from = consumer_rewind(c, end, &c->skipped_rows);
    c->skipped_to = end;
    c->skipped_bytes = lag - c->lag_bytes;
    c->dropped_rows += c->skipped_rows;
    c->skipping = true;
}

bool consumer_resume(struct consumer *c, uint64_t at_position)
{
    if (!c->skipping || c->count)
        return false;
    c->skipping = false;
    c->skipped_to = at_position;
    return true;
}
