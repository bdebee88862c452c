/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_rows.h - rows of processors into the journal: blocks of ROWS packets (append_wire.h), checked
 * as an enemy's and put into the inject ring as they came, each once.
 *
 * A source (rtp/GROUP) stands at a point (core/source.h), which the appender keeps in the journal.
 * rtp_rows_begin takes it from there, when nothing of the source is under way any more; from then
 * on each block must begin where the one before it ended, and none may reach into an island. A
 * block for a table that the group has not declared, or that is not laid out as its schema says, is
 * refused, and with it all that its process sends: the process must end, and its next life begins
 * at the point again. So a row is never there twice, and none is left out.
 *
 * The appender may refuse a batch too (symbols): what follows it of the source is refused with it,
 * since it does not begin where the source stands. At most RTP_ROWS_BATCHES batches are under way,
 * so that no refusal is forgotten before it is read (inject.h).
 *
 * THREAD: rtp. Nothing blocks.
 */
#pragma once

#include "append_check.h"
#include "core/source.h"
#include "dataplane/inject_rows.h"

#define RTP_ROWS_PACKETS 64u /* of one source under way: RTP_ROWS_CREDIT */
#define RTP_ROWS_BATCHES 56u /* of all sources */
#define RTP_ROWS_SYMBOLS (1u << 20)

struct rtp_rows_config {
    struct inject_rows_config rows; /* q, known, schemas, status, symbols, days, owners … */
    /* Where a source stands: core/source.h. */
    void (*where)(void *arg, const char *source, struct source_progress *out);
    void *arg;
};

struct rtp_rows {
    struct rtp_rows_config cfg;
    struct inject_rows w;
    unsigned under_way; /* batches */
    uint32_t *map;
};

struct rtp_rows_packet {
    uint64_t number, before, ticket;
    unsigned batches;
    uint64_t rows;
};
struct rtp_rows_source {
    char name[SOURCE_NAME_MAX + 1];
    bool may[TABLE_MAX]; /* by table id: it writes it */
    bool begun, failed;
    struct source_progress at; /* of what was offered */
    struct rtp_rows_packet packet[RTP_ROWS_PACKETS];
    unsigned first, packets;
    uint64_t done; /* number of the last packet that was taken */
    uint64_t rows; /* that the journal took, ever */
};

enum rtp_rows_verdict {
    RTP_ROWS_TAKEN, /* it is on its way */
    RTP_ROWS_WAIT,  /* no room now: offer it again */
    RTP_ROWS_BAD    /* err; nothing of the packet was taken, or it does not matter any more */
};

bool rtp_rows_open(struct rtp_rows *r, const struct rtp_rows_config *cfg, struct err *err);
void rtp_rows_close(struct rtp_rows *r);

/* Is anything of the source under way? */
bool rtp_rows_settled(struct rtp_rows *r, struct rtp_rows_source *s);
/* Settled: it goes on where the journal says that it stands. */
void rtp_rows_begin(struct rtp_rows *r, struct rtp_rows_source *s);
/* One ROWS packet; numbers follow each other. The bytes are changed (append_check.h). */
enum rtp_rows_verdict rtp_rows_offer(struct rtp_rows *r, struct rtp_rows_source *s, uint64_t number,
                                     uint8_t *body, uint32_t bytes, struct err *err);
/* What the appender has answered meanwhile. *done: the last number taken, all below it too. False:
 * it refused; err. */
bool rtp_rows_step(struct rtp_rows *r, struct rtp_rows_source *s, uint64_t *done, struct err *err);
