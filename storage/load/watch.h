/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch.h - the staging directories: which files are there, and which of them are complete.
 *
 * A file is COMPLETE when nobody will write to it any more, as far as can be seen:
 *   closed    inotify saw the writer close it, and no other writer has it open
 *   renamed   it was renamed (or moved) to its name: at once
 *   stable    otherwise (it was there before, came as a hard link, lies on NFS): nobody has it open
 *             for writing, and size, mtime and ctime have not changed for stable_after. Whether
 *             somebody has it open is asked with a read lease (F_SETLEASE), where the filesystem
 *             and our uid allow it; it is never waited for.
 * A SPLAYED TABLE is a directory with a file `.d` in it (kdb+ writes that last): its size is the
 * sum of its files', its time the latest of theirs; complete when renamed in, or stable. Other
 * directories, and names that load_name_ignored knows, are not looked at. Symbolic links are never
 * followed: they are told as REFUSED (a link that points into the staging area names a file that is
 * there itself; another one must not make us read elsewhere).
 *
 * EVENTS go to `event`, from load_watch_step, in an order that makes sense for each file:
 *   SEEN      it is there and not complete yet (or being written again)
 *   COMPLETE  size, mtime, dev, ino are those that it was complete with. Told again when any of
 *             them is another one.
 *   GONE      the name is gone
 *   REFUSED   a symbolic link, a device, a pipe …: `why`
 * The first scan's files carry `old`, so that newly_only can be decided by who listens.
 *
 * COST. inotify makes most steps free: one read of the descriptor. A scan, every scan_interval (and
 * at start, after an overflow of the queue, and of a directory that came back), lists the directory
 * and looks at LOAD_WATCH_SLICE files a step, so that 10,000 files cost milliseconds and never in
 * one piece. Files that inotify covers and that did not change are looked at by scans too: an event
 * that never came (NFS, overlay) must not matter.
 *
 * DIRECTORIES that vanish: `state` (once, with the reason), files are not told as gone (a directory
 * that is away for a minute is no news about its files); when the path is there again: `state`, and
 * a scan, after which files that really went are told as GONE. One that was replaced, or unmounted
 * (the mount point is a directory, too) is noticed by the next scan. No descriptor is held between
 * steps: unmounting stays possible.
 * On filesystems that other machines write to (NFS, CIFS, FUSE, 9p …) inotify is not used.
 *
 * Owner: the loader thread. System calls: this module is not behind struct io, because inotify is
 * not; the orchestrator sees only its events, and tests make those themselves.
 */
#pragma once

#include "batch.h"

#define LOAD_WATCH_DIRECTORIES 16u
#define LOAD_WATCH_SLICE       512u

enum load_watch_kind { LOAD_SEEN, LOAD_COMPLETE, LOAD_GONE, LOAD_REFUSED };
struct load_watch_event {
    enum load_watch_kind kind;
    unsigned directory; /* number of the staging directory */
    const char *name;   /* in it */
    uint64_t size, dev, ino;
    int64_t mtime;   /* UTC ns since 2000-01-01 */
    bool old;        /* it was there when the watch began */
    const char *why; /* REFUSED */
};
struct load_watch_config {
    unsigned ndirectories;
    const char *const *directory;        /* absolute */
    int64_t stable_after, scan_interval; /* ns */
    bool scan_only;                      /* no inotify: tests, and where it is known not to work */
    void (*event)(void *arg, const struct load_watch_event *e);
    /* A directory cannot be watched (ok = false, why says it) or can again. */
    void (*state)(void *arg, unsigned directory, bool ok, const char *why);
    void *arg;
};
struct load_watch_figures {
    uint64_t files, pending, scans, stats, events, overflows;
    bool scan_only; /* of any directory */
};

struct load_watch;
/* Directories need not exist yet. NULL: no memory (a missing inotify means scans). */
struct load_watch *load_watch_open(const struct load_watch_config *c, struct err *err);
void load_watch_close(struct load_watch *w);
/* To be polled for reading; -1 = no inotify. */
int load_watch_fd(const struct load_watch *w);
/* Does what is due; monotonic and wall clock (ns since 2000-01-01). Returns the monotonic time by
 * which it must be called again (when the descriptor stays quiet). */
int64_t load_watch_step(struct load_watch *w, int64_t mono, int64_t wall);
/* The next step scans everything (verb `load rescan`, tests). */
void load_watch_rescan(struct load_watch *w);
void load_watch_figures(const struct load_watch *w, struct load_watch_figures *f);
