/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forged_tails.h - what a crash or a disk can leave behind the last good frame of a log file
 * (reliability notes: the tails that PostgreSQL's recovery tests forge, and stale frames of a
 * recycled file), and the verdict that each must get.
 */
#pragma once

#include "log_kit.h"
#include "logscan.h"

enum forged {
    ZERO_LENGTH,
    SHORT_LENGTH,
    LONG_LENGTH,
    ODD_LENGTH,
    WRONG_POSITION,
    LOWER_POSITION,
    BAD_CRC,
    BAD_KIND,
    OTHER_INSTANCE,
    ZERO_PAGE,
    GARBAGE_PAGE,
    RECYCLED_PAGE,
    RECYCLED_MISALIGNED,
    STALE_FILE_FRAME,
    SPLIT_HEADER,
    SHORT_AT_BLOCK_END, /* its second half, with the rest of the header, was never written */
    CUT_PAYLOAD,
    SPAN_ZERO, /* a frame over two blocks, of which only the first was written: behind it zeros, */
    SPAN_GARBAGE, /* garbage, */
    SPAN_STALE,   /* what the recycled file held, */
    SPAN_REPEAT,  /* or another block of this very file (a misdirected write) */
    FORGED
};

static const enum logscan_verdict forged_want[FORGED] = {
    [ZERO_LENGTH] = LOGSCAN_TORN,
    [SHORT_LENGTH] = LOGSCAN_TORN,
    [LONG_LENGTH] = LOGSCAN_TORN,
    [ODD_LENGTH] = LOGSCAN_TORN,
    [WRONG_POSITION] = LOGSCAN_TORN,
    [LOWER_POSITION] = LOGSCAN_TORN,
    [BAD_CRC] = LOGSCAN_TORN,
    [BAD_KIND] = LOGSCAN_TORN,
    [OTHER_INSTANCE] = LOGSCAN_TORN,
    [ZERO_PAGE] = LOGSCAN_END,
    [GARBAGE_PAGE] = LOGSCAN_TORN,
    [RECYCLED_PAGE] = LOGSCAN_END,
    [RECYCLED_MISALIGNED] = LOGSCAN_END,
    [STALE_FILE_FRAME] = LOGSCAN_END,
    [SPLIT_HEADER] = LOGSCAN_TORN,
    [SHORT_AT_BLOCK_END] = LOGSCAN_TORN,
    [CUT_PAYLOAD] = LOGSCAN_TORN,
    [SPAN_ZERO] = LOGSCAN_TORN,
    [SPAN_GARBAGE] = LOGSCAN_TORN,
    [SPAN_STALE] = LOGSCAN_TORN,
    [SPAN_REPEAT] = LOGSCAN_TORN,
};

/* Adds such bytes. *good: where the sound part ends in the file, *end: its journal position. */
static inline void forge_tail(struct lk *k, enum forged kind, uint64_t *good, uint64_t *end)
{
    static const uint8_t padding[8192];
    struct lk old;
    *good = k->len;
    *end = k->position;
    struct frame *f;
    bool split = kind == SPLIT_HEADER || kind == SHORT_AT_BLOCK_END, span = kind >= SPAN_ZERO;
    if (split || span || kind == ZERO_PAGE || kind == GARBAGE_PAGE) {
        /* bring the end to 16 or 200 bytes before a block's, or right to it */
        size_t want_at =
            pst_align_up(k->len + 4096, LOG_BLOCK) - (size_t)split * 16 - (size_t)span * 200;
        while (k->len + FRAME_HEADER + 2000 < want_at)
            lk_frame(k, FRAME_PAD, 0, 0, padding, 1000);
        lk_frame(k, FRAME_PAD, 0, 0, padding, (uint32_t)(want_at - k->len - FRAME_HEADER));
        assert_int_equal(k->len, want_at);
        *good = k->len;
        *end = k->position;
    }
    switch (kind) {
    case ZERO_LENGTH:
    case SHORT_LENGTH:
    case LONG_LENGTH:
    case ODD_LENGTH:
        f = (struct frame *)(k->data + lk_rows(k, 3, 5000));
        f->length = kind == ZERO_LENGTH    ? 0
                    : kind == SHORT_LENGTH ? 24
                    : kind == LONG_LENGTH  ? FRAME_MAX + 8
                                           : f->length - 4;
        if (kind == ODD_LENGTH)
            frame_seal(f, k->seed); /* even a right CRC does not help */
        break;
    case WRONG_POSITION:
        f = (struct frame *)(k->data + lk_rows(k, 3, 5000));
        f->position += 8; /* without a new CRC */
        break;
    case LOWER_POSITION: /* a right CRC, of this file, but not above the frame before */
        k->position -= 8;
        lk_rows(k, 3, 5000);
        break;
    case BAD_CRC:
        f = (struct frame *)(k->data + lk_rows(k, 3, 5000));
        f->crc ^= 0x80;
        break;
    case BAD_KIND:
        f = (struct frame *)(k->data + lk_rows(k, 3, 5000));
        f->kind = 8;
        frame_seal(f, k->seed);
        break;
    case OTHER_INSTANCE:
        f = (struct frame *)(k->data + lk_rows(k, 3, 5000));
        frame_seal(f, frame_seed(LK_INSTANCE + 1));
        break;
    case ZERO_PAGE:
        lk_zeros(k, 4096);
        break;
    case GARBAGE_PAGE:
        for (unsigned i = 0; i < 4096; i++)
            *lk_room(k, 1) = (uint8_t)(i * 167 + 13), k->len++;
        break;
    case RECYCLED_PAGE:
    case RECYCLED_MISALIGNED:
    case STALE_FILE_FRAME:
        lk_start(&old, k->h.first - (1 << 20), LK_DAY - 30, 0);
        if (kind == STALE_FILE_FRAME)
            lk_end(&old, LOG_END_DAY);
        for (int i = 0; i < 30; i++)
            lk_rows(&old, 3, i);
        size_t from = LOG_PREAMBLE + (kind == RECYCLED_MISALIGNED ? 40 : 0);
        memcpy(lk_room(k, old.len - from), old.data + from, old.len - from);
        k->len += old.len - from;
        lk_free(&old);
        break;
    case SPLIT_HEADER: /* only the 16 bytes before the block's end were written */
        lk_rows(k, 3, 5000);
        memset(k->data + *good + 16, 0, k->len - *good - 16);
        break;
    case SHORT_AT_BLOCK_END:
        f = (struct frame *)(k->data + lk_rows(k, 3, 5000));
        f->length = 24;
        memset(k->data + *good + 16, 0, k->len - *good - 16);
        break;
    case SPAN_ZERO:
    case SPAN_GARBAGE:
    case SPAN_STALE:
    case SPAN_REPEAT:
        lk_rows(k, 40, 5000);
        size_t second = *good + 200; /* where the next block begins */
        lk_start(&old, k->h.first - (1 << 20), LK_DAY - 30, 0);
        for (int i = 0; i < 60; i++)
            lk_rows(&old, 3, i);
        for (size_t i = second; i < k->len; i++)
            k->data[i] = kind == SPAN_ZERO      ? 0
                         : kind == SPAN_GARBAGE ? (uint8_t)(i * 167 + 13)
                         : kind == SPAN_STALE   ? old.data[LOG_PREAMBLE + (i - second)]
                                                : k->data[LOG_PREAMBLE + (i - second)];
        lk_free(&old);
        break;
    case CUT_PAYLOAD:
        lk_rows(k, 40, 5000);
        k->len = *good + 500;
        break;
    default:
        fail();
    }
}
