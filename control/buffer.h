/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buffer.h - buffering events as operators see them: control's half of
 * dataplane/divert.h.
 *
 *   start    checks (enabled, id new today, one at a time), loads the buffer function, prepares its
 *            mask, offers the event: the appender's buffer_start mark is the cut
 *   end      the appender's buffer_end mark is the cut; then the log closes and renames the files
 *   restart  events without end mark go on (buffer_start, status resumed); what cannot go on ends
 *            (buffer_end, status abandoned, with the reason); files of ended events that a crash
 *            left with their live names are renamed
 *
 * An event's id is new on its trading date. What files there are of it is known from the
 * directories at the start and from the log's news afterwards: nothing here reads a disk while the
 * daemon runs, but buffer_replayed, which renames.
 *
 * Control thread only.
 */
#pragma once

#include <jansson.h>
#include "cmd.h"
#include "daemon.h"
#include "storage/log.h"

struct buffers;
struct divert;

/* After recovery and tables, before the appender. */
struct buffers *buffers_open(struct daemon *d, struct err *err);
struct divert *buffers_divert(struct buffers *b); /* NULL: buffer_enabled is false */
/* What stands in the journal behind the restart mark: resumed and abandoned events. */
bool buffers_resume(struct daemon *d, struct err *err);
void buffers_tick(struct daemon *d); /* ended events give back what they had */
void buffers_news(struct daemon *d, const struct log_event *e);
void buffers_close(struct daemon *d);

/* args: object of texts. True: the mark is on its way; *ticket is to be waited for. Codes:
 *   -EPERM   buffer_enabled is false        -EEXIST  the id was used on this date
 *   -EBUSY   another event is active        -E2BIG   too many at once, or arguments too long
 *   -EINVAL  the function refuses them      -EAGAIN  the journal is busy */
bool buffer_start(struct daemon *d, int64_t id, json_t *args, uint64_t *ticket, struct err *err);
/* -ENOENT: no event of that id is active; -EALREADY: it is being ended. */
bool buffer_end(struct daemon *d, int64_t id, json_t *args, uint64_t *ticket, struct err *err);
/* [{"id","status","day","stream","since","rows","bytes","files":[…],…}], newest last */
json_t *buffer_list(struct daemon *d);
/* Behind its end: do its files have their names? Adds rows and files to `later`. */
bool buffer_closed(struct daemon *d, int64_t id, json_t *later);
/* [{"id","status","rows","bytes"}] of those that are active, for the status screen */
json_t *buffer_active(const struct daemon *d);
/* Paths of the completed files of an event, in the order of its rows, for whoever replays them:
 * {"source":"buffer:ID.SINCE","since":P,"files":[…]}. file: a name (no directory) of one of its
 * files, by which it is found whatever id and since say; NULL: by those. -ENOENT: none; -EBUSY: it
 * is active. */
json_t *buffer_files(struct daemon *d, int64_t id, uint64_t since, const char *file,
                     struct err *err);
/* Its rows are in the journal again, durably: the files are renamed to .replayed. */
json_t *buffer_replayed(struct daemon *d, int64_t id, uint64_t since, const char *file,
                        struct err *err);
