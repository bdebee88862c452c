/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consumer.h - what waits to be sent to one connection, in order, and what happens when it does not
 * read. No sockets, no threads, no clock: driven by hand in tests.
 *
 * THE QUEUE holds two kinds of items. Data: messages of the fan-out, shared, with the place in the
 * journal where their batch began. Everything else (replies, notices): bytes of its own, which stay
 * whatever the policy does, in their order.
 *
 * LAG is data only: bytes and messages that wait here. What a socket has taken counts as sent.
 *
 * BATCHES. A batch is what one flush of the fan-out gave this consumer: `before` is the position up
 * to which it had everything before it. Messages of different tables overlap in positions within a
 * batch, so only between two batches the consumer stands at one position. consumer_rewind drops
 * every batch of which nothing is sent yet and says where it stands then; a batch that is partly
 * sent stays whole.
 *
 * SLOW has hysteresis: on when the lag reaches `alert`, off when it falls below half of it. ACT is
 * asked once the socket takes no more (consumer_check): the lag has reached `act`, the policy is
 * due. What a policy does is the owner's affair (subscribe.c):
 *   disconnect  the connection is closed
 *   catchup     rewind; the log is read from there (catchup.h) until the live stream is reached
 *   conflate    the same, but of what was passed only the last row of each symbol is sent
 *   skip        consumer_skip: data is counted and dropped until the queue is empty; then
 *               consumer_skipped says how much
 *
 * Owner: one thread. Memory: items are 48 bytes; messages are shared (message.h).
 */
#pragma once

#include <sys/uio.h>
#include "publish/message.h"

enum consumer_policy { /* in the order of key consumer_policy */
                       CONSUMER_DISCONNECT,
                       CONSUMER_CATCH_UP,
                       CONSUMER_CONFLATE,
                       CONSUMER_SKIP
};
const char *consumer_policy_text(enum consumer_policy p); /* "disconnect" ... */

struct consumer_limits {
    uint64_t alert, act; /* bytes; 0: never */
};

struct consumer_item {
    const uint8_t *data;
    uint64_t len;
    struct message *message; /* data: a reference. NULL: of its own, done(arg) gives it back */
    void (*done)(void *arg);
    void *arg;
    uint64_t before;
};

struct consumer {
    struct consumer_item *item; /* a ring of `room` (a power of two) */
    uint32_t room, head, count;
    uint64_t offset; /* bytes of the head item that are sent */
    uint64_t batch;  /* `before` of the data item begun last; UINT64_MAX: none */
    uint64_t lag_bytes, lag_messages;
    uint64_t stream_bytes; /* of the lag: streams' */
    uint64_t owed;         /* bytes of the other items */
    bool slow;             /* the alert is on */
    bool skipping;
    uint64_t skipped_rows, skipped_bytes, skipped_from, skipped_to; /* of the present skip */
    /* totals */
    uint64_t sent_bytes, sent_messages, sent_rows;
    uint64_t dropped_rows; /* skipped */
    uint64_t peak;         /* of the lag, bytes */
};

void consumer_init(struct consumer *c);
void consumer_free(struct consumer *c); /* drops everything */

/* Data. Takes a reference of its own. False: no memory (nothing was taken). While it skips, the
 * message is only counted. */
bool consumer_push(struct consumer *c, struct message *m, uint64_t before);
/* Data that belongs to the batch pushed last, and shares its fate. */
bool consumer_push_behind(struct consumer *c, struct message *m);
/* Data of a streaming analytic (MESSAGE_STREAM): no part of a batch, and not skipped. Takes a
 * reference of its own. False: no memory. */
bool consumer_push_stream(struct consumer *c, struct message *m);
/* Drops those of them of which nothing is sent, with `first` = face, or all (face 0); calls fn for
 * each before it goes. */
void consumer_drop(struct consumer *c, uint64_t face,
                   void (*fn)(void *arg, const struct message *m), void *arg);
/* Anything else: `done` (may be NULL) is called once it is sent or dropped, also on failure. */
bool consumer_push_bytes(struct consumer *c, const void *data, uint64_t len,
                         void (*done)(void *arg), void *arg);

/* What to write next: at most `max` pieces and about `most` bytes. Returns the number. */
int consumer_next(const struct consumer *c, struct iovec *iov, int max, uint64_t most);
void consumer_sent(struct consumer *c, uint64_t bytes);
pst_inline bool consumer_empty(const struct consumer *c)
{
    return c->count == 0;
}
pst_inline uint64_t consumer_memory(const struct consumer *c)
{
    return c->owed + (uint64_t)c->room * sizeof *c->item;
}

/* Behind a write that left something: updates `slow`, says whether the policy is due. `beside`:
 * bytes of data that wait elsewhere for this consumer. */
bool consumer_check(struct consumer *c, const struct consumer_limits *l, uint64_t beside);

/* Drops the batches that have not begun. Returns where the consumer then stands: everything below
 * is sent or still in the queue, nothing above. `end`: where it stands when nothing is dropped.
 * *rows: of what was dropped. */
uint64_t consumer_rewind(struct consumer *c, uint64_t end, uint64_t *rows);

/* Drops the batches that have not begun, and all data from here on (`end` as above), counting. */
void consumer_skip(struct consumer *c, uint64_t end);
/* While it skips: is the queue empty, so that it may go on at position `at`? Then it does, and the
 * skipped_ fields say what it missed. */
bool consumer_resume(struct consumer *c, uint64_t at);
