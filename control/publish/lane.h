/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lane.h - a publish thread's reader of the ring: frames up to one level into one fan-out. It reads
 * memory only.
 *
 * A lane without consumers does not read at all; lane_wake puts it at the newest frame boundary of
 * its level. While it reads, lane_read gives frames to the fan-out; lane_flush sends what is due
 * and notes `before`: the position up to which every consumer has been given everything, the
 * boundary at which a consumer may leave (consumer.h) or join.
 *
 * LAPPED: the ring has passed it (this thread did not get the CPU for seconds). The owner hands all
 * consumers to catchup at `before`, and wakes it anew.
 * GIVEN UP: at levels above committed, frames that the log gave up (log.h, FULL) are no part of the
 * journal; lane_read stops in front of them, the owner does as with LAPPED: files and gap rows say
 * what is left.
 *
 * Owner: its publish thread. The dictionary is that thread's, and follows the instance's own symbol
 * table and schemas; so it knows what frames need before they come.
 */
#pragma once

#include "core/ring.h"
#include "core/symbols.h"
#include "publish/fanout.h"
#include "storage/cursor.h"

enum lane_verdict { LANE_OK, LANE_LAPPED };

struct lane {
    const struct ring *ring;
    const struct symbols *symbols;
    const struct schema_set *schemas;
    struct dictionary *dict; /* shared by the lanes of a thread */
    enum cursor_limit limit;
    struct fanout *fanout;
    uint32_t consumers; /* that read from it */
    bool awake;
    uint64_t position, before;
    uint8_t *buf;     /* FRAME_MAX */
    int64_t time;     /* of the last frame */
    bool schema_news; /* a schema frame came */
};

/* cfg's dict is the thread's. The fan-out is the lane's. */
bool lane_init(struct lane *l, const struct fanout_config *cfg, const struct ring *ring,
               const struct symbols *symbols, const struct schema_set *schemas,
               enum cursor_limit limit, struct err *err);
void lane_fini(struct lane *l);

/* The level as it stands now. */
uint64_t lane_limit(const struct lane *l);
/* From now on it reads: a first consumer is about to come. */
void lane_wake(struct lane *l);
/* Nobody is left. */
void lane_sleep(struct lane *l);
/* About `most` bytes of journal, if there are so many. *frames: how many it gave to the fan-out. */
enum lane_verdict lane_read(struct lane *l, uint64_t most, uint32_t *frames);
void lane_flush(struct lane *l, int64_t now);

/* The dictionary learns what the instance's tables have beyond it. Also for catchup's. */
void lane_learn(struct dictionary *d, const struct symbols *symbols);
void lane_learn_schemas(struct dictionary *d, const struct schema_set *schemas);
