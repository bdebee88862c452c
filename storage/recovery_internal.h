/* SPDX-License-Identifier: Apache-2.0 */
/* recovery_internal.h - what the recovery*.c files share. Nobody else includes it. */
#pragma once

#include "recovery.h"

#define RECOVERY_WRITER "recovered"   /* of a header that was made anew */
#define RECOVERY_WINDOW (64ull << 20) /* the last stretch of the journal is always read whole */

/* Room is doubled at powers of two. */
void *recovery_grow(void *list, uint32_t n, size_t each);
int64_t recovery_elapsed(const struct recovery *r, int64_t since);

/* recovery_frames.c */
void recovery_mark(struct recovery *r, const struct frame *f);
void recovery_rows(struct recovery *r, const struct frame *f);
void recovery_settle_sessions(struct recovery *r); /* what two streams still owe is lost */
void recovery_free_pieces(struct recovery_session *s);
void recovery_drop_event(struct recovery *r, uint32_t i);

/* recovery.c */
/* Sessions lost something here: what stands next tells what. */
void recovery_after_loss(struct recovery *r, bool loss);
void recovery_read_all(struct recovery *r); /* no more frames: what is still expected is lost */
struct cursor_config recovery_cursor(const struct recovery *r);

/* recovery_files.c */
bool recovery_survey(struct recovery *r, struct err *err); /* headers of all names */
/* Headers made anew of files of buffering events: when their event began, as far as the journal,
 * other files or marks in the file tell. After the journal was read. */
void recovery_name_events(struct recovery *r);
bool recovery_find_ends(struct recovery *r, int64_t t0, struct err *err);
/* Copies bytes of a file (to = UINT64_MAX: to its end) to another, synced. 0 or -errno. */
int recovery_copy(struct io *io, const char *from_path, uint64_t from, uint64_t to,
                  const char *to_path);
int recovery_sync_parent(struct io *io, const char *path);
/* What a file's lost header said, from its first frame of that instance. buf: LOGSCAN_BUFFER bytes.
 * False: there is none. */
bool recovery_origin(struct io *io, const char *path, const struct log_name *name,
                     uint64_t instance, bool spilled, uint8_t *buf, struct log_file_header *h);
int recovery_put_header(struct io *io, const char *path, const struct log_file_header *h);
const char *recovery_base(const char *path);

/* recovery_damage.c */
void recovery_say(const struct recovery *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* One entry for each (kind, path, from): the one there is, or a new one. */
struct recovery_damage *recovery_note(struct recovery *r, uint32_t kind, const char *path,
                                      uint64_t from, uint64_t to, uint64_t first, uint64_t last);
/* Asks, once. */
void recovery_ask(struct recovery *r, struct recovery_damage *d);
/* Does what was answered to all that was found; sets r->again when files changed. */
bool recovery_settle(struct recovery *r, struct err *err);
/* Some start has accounted for it: its copy or marker is there. */
bool recovery_known(const struct recovery *r, const struct recovery_damage *d);
/* Where its copy or marker lies; false: nowhere. */
bool recovery_keep_path(const struct recovery *r, const struct recovery_damage *d,
                        char path[CURSOR_PATH]);
bool recovery_make_quarantine(const struct recovery *r);
void recovery_drop_damage(struct recovery *r);

/* recovery_verify.c: gaps of (feed, session) that [from, to) cost, from what stands around it. */
bool recovery_cost(const struct recovery *r, uint64_t from, uint64_t to, struct recovery_gap **gap,
                   uint32_t *gaps, bool *lost);
