/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery: what is done about each trouble - asked, copied to quarantine, repaired, cut off. */
#include <fcntl.h>
#include <stdarg.h>
#include "recovery_internal.h"

#define SHOWN_MAX (64ull << 20) /* a longer range is not handed to a function */

void recovery_say(const struct recovery *r, const char *format, ...)
{
    char line[2 * CURSOR_PATH + 400];
    va_list ap;
    if (!r->cfg.say)
        return;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    r->cfg.say(r->cfg.arg, line);
}

struct recovery_damage *recovery_note(struct recovery *r, uint32_t kind, const char *path,
                                      uint64_t from, uint64_t to, uint64_t first, uint64_t last)
{
    for (uint32_t i = 0; i < r->damages; i++) {
        struct recovery_damage *d = &r->damage[i];
        bool same = path ? d->path && !strcmp(path, d->path) : !d->path && d->first == first;
        if (same && d->kind == kind && d->from == from)
            return d;
    }
    r->damage = recovery_grow(r->damage, r->damages, sizeof *r->damage);
    struct recovery_damage *d = &r->damage[r->damages++];
    *d = (struct recovery_damage){
        .kind = kind, .from = from, .to = to, .first = first, .last = last};
    if (path) {
        d->path = strdup(path);
        pst_must(d->path); /* at the start: nothing runs yet */
    }
    return d;
}

void recovery_drop_damage(struct recovery *r)
{
    for (uint32_t i = 0; i < r->damages; i++) {
        free(r->damage[i].path);
        free(r->damage[i].gap);
        free(r->damage[i].repair);
    }
    free(r->damage);
    r->damage = NULL;
    r->damages = 0;
}

/* ---- asking ---- */

static uint8_t *read_range(const struct recovery *r, const struct recovery_damage *d)
{
    struct io *io = r->cfg.io;
    uint64_t n = d->to - d->from;
    uint8_t *p = aligned_alloc(8, pst_align8(n) + 8);
    int fd = p ? io->ops->open(io, d->path, O_RDONLY, 0) : -ENOMEM;
    if (fd >= 0 && io_pread_all(io, fd, p, n, d->from) < 0) {
        free(p);
        p = NULL; /* a block that the disk does not give */
    }
    if (fd >= 0)
        io->ops->close(io, fd);
    else
        free(p);
    return fd >= 0 ? p : NULL;
}

static bool check_repair(const struct recovery *r, const struct recovery_damage *d,
                         const uint8_t *p)
{
    uint64_t n = d->to - d->from, at = 0, position = d->first;
    while (at < n && n - at >= 8) {
        enum frame_verdict v = frame_check(p + at, n - at, frame_seed(r->cfg.instance));
        if (v == FRAME_END && d->kind == PST_TORN && at)
            break;
        const struct frame *f = (const struct frame *)(p + at);
        if (v != FRAME_OK || f->kind == FRAME_FILE || f->position < position ||
            f->position % FRAME_ALIGN)
            return false;
        at += f->length;
        position = f->position + f->length;
    }
    return (at == n || d->kind == PST_TORN) && (!d->last || position <= d->last);
}

static int write_repair(const struct recovery *r, const struct recovery_damage *d)
{
    struct io *io = r->cfg.io;
    int fd = io->ops->open(io, d->path, O_RDWR, 0);
    if (fd < 0)
        return fd;
    int rc = io_pwrite_all(io, fd, d->repair, d->to - d->from, d->from);
    if (rc >= 0)
        rc = io->ops->fsync(io, fd);
    io->ops->close(io, fd);
    return rc;
}

/* What was there goes to quarantine first. */
static void repair(struct recovery *r, struct recovery_damage *d)
{
    int rc = recovery_keep(r, d);
    if (rc >= 0)
        rc = write_repair(r, d);
    free(d->repair);
    d->repair = NULL;
    if (rc < 0) {
        recovery_say(r, "%s: the repair of byte %llu cannot be written: %s", d->path,
                     (unsigned long long)d->from, strerror(-rc));
        d->answer = PST_SALVAGE;
        return;
    }
    recovery_say(r, "%s: bytes %llu to %llu were repaired by the recovery function", d->path,
                 (unsigned long long)d->from, (unsigned long long)d->to);
    d->done = r->again = true;
    d->lost = false;
}

void recovery_ask(struct recovery *r, struct recovery_damage *d)
{
    if (d->answer)
        return;
    d->answer = PST_SALVAGE;
    if (!r->cfg.decide)
        return;
    bool shown = d->path && d->to > d->from && d->to - d->from <= SHOWN_MAX &&
                 d->kind != PST_UNREADABLE && d->kind != PST_CONFLICT;
    bool repairable = shown &&
                      (d->kind == PST_TORN || d->kind == PST_ALTERED || d->kind == PST_HOLE) &&
                      d->from % 8 == 0 && !r->cfg.read_only;
    uint8_t *bytes = shown ? read_range(r, d) : NULL;
    uint8_t *repair =
        repairable ? aligned_alloc(8, pst_align8(d->to - d->from) + FRAME_HEADER) : NULL;
    if (repair)
        memset(repair, 0, pst_align8(d->to - d->from) + FRAME_HEADER);
    struct pst_range range = {.size = sizeof range,
                              .damage = d->kind,
                              .path = d->path,
                              .offset = d->from,
                              .length = d->to - d->from,
                              .bytes = bytes,
                              .repair = repair,
                              .first = d->first,
                              .last = d->last,
                              .instance = r->cfg.instance,
                              .was_durable = d->was_durable};
    char sentence[500] = "";
    d->answer = r->cfg.decide(r->cfg.arg, &range, sentence, sizeof sentence);
    sentence[sizeof sentence - 1] = 0;
    if (*sentence)
        recovery_say(r, "%s", sentence);
    if (d->answer < PST_SALVAGE || d->answer > PST_REPAIR)
        d->answer = PST_SALVAGE;
    if (d->answer == PST_REPAIR) {
        if (!repair || !check_repair(r, d, repair)) {
            recovery_say(r,
                         "%s: what the recovery function gave for byte %llu is no run of sound "
                         "frames: not used",
                         d->path ? d->path : "-", (unsigned long long)d->from);
            d->answer = PST_SALVAGE;
        } else {
            d->repair = repair;
            repair = NULL;
        }
    }
    free(bytes);
    free(repair);
}

/* ---- quarantine ---- */

bool recovery_make_quarantine(const struct recovery *r)
{
    struct io *io = r->cfg.io;
    struct io_stat st;
    if (!r->cfg.quarantine)
        return false;
    if (io->ops->stat(io, r->cfg.quarantine, &st) >= 0)
        return true;
    int rc = io->ops->mkdir(io, r->cfg.quarantine, 0750);
    if (rc >= 0 || rc == -EEXIST)
        rc = recovery_sync_parent(io, r->cfg.quarantine);
    if (rc < 0)
        recovery_say(r, "%s: cannot be made: %s", r->cfg.quarantine, strerror(-rc));
    return rc >= 0;
}

bool recovery_keep_path(const struct recovery *r, const struct recovery_damage *d,
                        char path[CURSOR_PATH])
{
    const char *q = r->cfg.quarantine;
    unsigned long long from = d->from, to = d->to;
    int n;
    if (d->kind == PST_TORN)
        n = snprintf(path, CURSOR_PATH, "%s%s%s.torn-%llu", q ? q : "", q ? "/" : "",
                     q ? recovery_base(d->path) : d->path, from);
    else if (!q)
        return false;
    else if (d->kind == PST_MISSING)
        n = snprintf(path, CURSOR_PATH, "%s/missing.%llu-%llu", q, (unsigned long long)d->first,
                     (unsigned long long)d->last);
    else
        n = snprintf(path, CURSOR_PATH, "%s/%s.%llu-%llu%s", q, recovery_base(d->path), from, to,
                     d->kind == PST_HOLE ? ".hole" : "");
    return n < (int)CURSOR_PATH;
}

bool recovery_known(const struct recovery *r, const struct recovery_damage *d)
{
    char path[CURSOR_PATH];
    struct io_stat st;
    return recovery_keep_path(r, d, path) && r->cfg.io->ops->stat(r->cfg.io, path, &st) >= 0;
}

int recovery_keep(struct recovery *r, struct recovery_damage *d)
{
    char path[CURSOR_PATH];
    struct io *io = r->cfg.io;
    if (r->cfg.quarantine && !recovery_make_quarantine(r))
        return -ENOENT;
    if (!recovery_keep_path(r, d, path))
        return 0;
    if (d->kind == PST_ALTERED || d->kind == PST_TORN)
        return recovery_copy(io, d->path, d->from, d->to, path);
    int fd = io->ops->open(io, path, O_CREAT | O_WRONLY, 0640);
    if (fd < 0)
        return fd;
    io->ops->close(io, fd);
    return recovery_sync_parent(io, path);
}

/* ---- torn tails ---- */

static int cut_tail(const struct recovery *r, const struct recovery_damage *d)
{
    struct io *io = r->cfg.io;
    int rc, fd = io->ops->open(io, d->path, O_RDWR, 0);
    if (fd < 0)
        return fd;
    if (d->whole) {
        rc = io->ops->ftruncate(io, fd, d->from);
    } else {
        uint8_t *zeros = calloc(1, LOGSCAN_WINDOW);
        rc = zeros ? 0 : -ENOMEM;
        for (uint64_t at = d->from; rc >= 0 && at < d->to; at += LOGSCAN_WINDOW)
            rc = io_pwrite_all(io, fd, zeros,
                               d->to - at < LOGSCAN_WINDOW ? (size_t)(d->to - at) : LOGSCAN_WINDOW,
                               at);
        free(zeros);
    }
    if (rc >= 0)
        rc = io->ops->fsync(io, fd);
    io->ops->close(io, fd);
    return rc;
}

static void torn(struct recovery *r, struct recovery_damage *d)
{
    char path[CURSOR_PATH];
    unsigned long long n = d->to - d->from, from = d->from;
    if (r->cfg.read_only || d->gave_up)
        return;
    bool save = d->answer != PST_TRUNCATE;
    int rc = save ? recovery_keep(r, d) : 0;
    if (rc >= 0)
        rc = cut_tail(r, d);
    d->error = rc < 0 ? rc : 0;
    if (rc < 0) /* readers stop before it as well: only the disk space is not won back */
        recovery_say(r,
                     "%s: its torn tail of %llu bytes at byte %llu stays there: it cannot be "
                     "set aside: %s",
                     d->path, n, from, strerror(-rc));
    else if (save && recovery_keep_path(r, d, path))
        recovery_say(r,
                     "%s: %llu bytes from byte %llu on are a torn tail%s: saved as %s and cut "
                     "off",
                     d->path, n, from,
                     d->was_durable ? " of what HAD BEEN DURABLE" : " (a write was under way)",
                     path);
    else
        recovery_say(r, "%s: %llu bytes from byte %llu on were a torn tail: thrown away, not saved",
                     d->path, n, from);
}

/* ---- truncating ---- */

/* What a file holds from a position on. */
static void weigh(struct recovery *r, struct logscan *s)
{
    const struct frame *f;
    enum logscan_verdict v;
    while ((v = logscan_step(s, &f, LOGSCAN_REACH)) == LOGSCAN_FRAME || v == LOGSCAN_DAMAGE) {
        if (v != LOGSCAN_FRAME || f->kind == FRAME_FILE)
            continue;
        r->cut_frames++;
        r->cut_bytes += f->length;
        if (f->kind == FRAME_DATA || f->kind == FRAME_GAP)
            r->cut_rows += f->count;
    }
}

static int rename_cut(struct recovery *r, const char *path, char to[CURSOR_PATH])
{
    struct io *io = r->cfg.io;
    struct io_stat st;
    for (unsigned i = 0;; i++) {
        char tail[24] = "";
        if (i)
            snprintf(tail, sizeof tail, ".%u", i);
        if (snprintf(to, CURSOR_PATH, "%s.cut%s", path, tail) >= (int)CURSOR_PATH)
            return -ENAMETOOLONG;
        if (io->ops->stat(io, to, &st) < 0)
            break;
    }
    int rc = io->ops->rename(io, path, to);
    return rc < 0 ? rc : recovery_sync_parent(io, path);
}

static bool cut_file(struct recovery *r, struct cursor_file *f, uint64_t at, bool act,
                     struct err *err)
{
    struct logscan s;
    char to[CURSOR_PATH];
    int rc = 0;
    if (!logscan_open(&s, r->cfg.io, f->path, r->cfg.instance, err))
        return false;
    bool any = logscan_find(&s, at);
    if (any && !act)
        weigh(r, &s);
    uint64_t offset = s.offset;
    logscan_close(&s);
    if (f->header.first >= at) {
        r->cut_files += act;
        rc = act ? rename_cut(r, f->path, to) : 0;
        if (act && rc >= 0)
            recovery_say(r, "%s: lies behind the cut: it is now %s, and read by nobody", f->path,
                         to);
    } else if (any && act) {
        int fd = r->cfg.io->ops->open(r->cfg.io, f->path, O_RDWR, 0);
        rc = fd < 0 ? fd : r->cfg.io->ops->ftruncate(r->cfg.io, fd, offset);
        if (fd >= 0 && rc >= 0)
            rc = r->cfg.io->ops->fsync(r->cfg.io, fd);
        if (fd >= 0)
            r->cfg.io->ops->close(r->cfg.io, fd);
        if (rc >= 0)
            recovery_say(r, "%s: cut off at byte %llu", f->path, (unsigned long long)offset);
    }
    return rc >= 0 || err_set(err, rc, "%s: cannot be cut off at position %llu: %s", f->path,
                              (unsigned long long)at, strerror(-rc));
}

/* The log ends at position `at`: newest file first, so that a second try finds the cut again. */
static bool truncate_log(struct recovery *r, uint64_t at, struct err *err)
{
    struct cursor *c = &r->cursor;
    r->cut_at = at;
    r->cut_files = 0;
    r->cut_frames = r->cut_rows = r->cut_bytes = 0;
    for (uint32_t i = c->files; i-- > 0;)
        if (!cut_file(r, c->file[i], at, false, err))
            return false;
    recovery_say(r,
                 "the log is cut off at position %llu, before its first damage: %llu frames "
                 "with %llu records (%llu bytes) behind it, up to position %llu, are thrown away",
                 (unsigned long long)at, (unsigned long long)r->cut_frames,
                 (unsigned long long)r->cut_rows, (unsigned long long)r->cut_bytes,
                 (unsigned long long)r->old_end);
    for (uint32_t i = c->files; i-- > 0;)
        if (!cut_file(r, c->file[i], at, true, err))
            return false;
    recovery_say(r, "the log ends at position %llu now", (unsigned long long)at);
    return true;
}

/* ---- all of it ---- */

void recovery_tell(const struct recovery *r, const struct recovery_damage *d, char *buf,
                   size_t room)
{
    char keep[CURSOR_PATH], cost[160] = "";
    unsigned long long from = d->from, to = d->to, first = d->first, last = d->last;
    bool kept = (d->done || d->late) && recovery_keep_path(r, d, keep);
    if (d->lost && d->last)
        snprintf(cost, sizeof cost, "; positions %llu to %llu are lost%s", first, last,
                 d->was_durable ? ", they HAD BEEN DURABLE" : ", they had not been durable yet");
    else if ((d->kind == PST_ALTERED || d->kind == PST_HOLE) && d->first >= d->last)
        /* before a file's first frame: where its header was made anew, nothing tells how much */
        snprintf(cost, sizeof cost,
                 "; positions that it held and no other file holds are told as missing");
    else if (d->kind == PST_ALTERED || d->kind == PST_HOLE)
        snprintf(cost, sizeof cost, "; nothing is lost: another file holds those positions");
    switch (d->kind) {
    case PST_ALTERED:
        snprintf(buf, room, "%s: bytes %llu to %llu are damaged%s%s%s", d->path, from, to,
                 kept ? ", copied to " : "", kept ? keep : "", cost);
        break;
    case PST_HOLE:
        snprintf(buf, room, "%s: bytes %llu to %llu were never written (a power cut)%s", d->path,
                 from, to, cost);
        break;
    case PST_MISSING:
        snprintf(buf, room, "positions %llu to %llu stand in no file%s", first, last,
                 d->was_durable ? ": they HAD BEEN DURABLE" : ": they had not been durable yet");
        break;
    case PST_UNREADABLE:
        snprintf(buf, room, "%s: cannot be read%s: %s; passed over", d->path,
                 d->from ? " to its end" : "", strerror(-d->error));
        break;
    case PST_FOREIGN:
        snprintf(buf, room, "%s: belongs to another instance: passed over; move it elsewhere",
                 d->path);
        break;
    case PST_CONFLICT:
        snprintf(buf, room,
                 "%s: from position %llu on it holds other frames than an older file: those of the "
                 "older one count",
                 d->path, first);
        break;
    case PST_NO_HEADER:
        snprintf(buf, room, "%s: both copies of its header are damaged", d->path);
        break;
    default:
        snprintf(buf, room, "%s: %llu bytes from byte %llu on are a torn tail", d->path, to - from,
                 from);
    }
}

/* Which of the lost ranges it is part of. */
static const struct recovery_range *in_list(const struct recovery_damage *d,
                                            const struct recovery_range *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (d->first < list[i].to && (d->last ? d->last : UINT64_MAX) > list[i].from)
            return &list[i];
    return NULL;
}
static const struct recovery_range *range_of(const struct recovery *r,
                                             const struct recovery_damage *d)
{
    const struct recovery_range *x = in_list(d, r->range, r->ranges);
    return x ? x : in_list(d, r->told, r->tolds);
}

/* Every lost range without bytes that explain it. */
static void note_missing(struct recovery *r, const struct recovery_range *list, uint32_t n,
                         bool told_before)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct recovery_range *x = &list[i];
        bool told = x->from == x->to;
        for (uint32_t k = 0; k < r->damages && !told; k++) {
            const struct recovery_damage *d = &r->damage[k];
            told = (d->kind == PST_ALTERED || d->kind == PST_HOLE || d->kind == PST_MISSING) &&
                   d->last && d->first < x->to && d->last > x->from;
        }
        struct recovery_damage key = {.kind = PST_MISSING, .first = x->from, .last = x->to};
        if (told || (told_before && (!r->cfg.quarantine || recovery_known(r, &key))))
            continue;
        recovery_note(r, PST_MISSING, NULL, 0, 0, x->from, x->to);
    }
}

static bool refused(const struct recovery *r, const struct recovery_damage *d, struct err *err)
{
    char line[CURSOR_PATH + 400];
    recovery_tell(r, d, line, sizeof line);
    return err_set(
        err, RECOVERY_REFUSED,
        "the log is damaged and log_recovery_function refuses to start: %.300s. penstock log "
        "verify shows all of it; log_recovery_function: salvage goes on with what is "
        "sound",
        line);
}

bool recovery_settle(struct recovery *r, struct err *err)
{
    uint64_t cut = UINT64_MAX;
    note_missing(r, r->range, r->ranges, false);
    note_missing(r, r->told, r->tolds, true);
    for (uint32_t i = 0; i < r->damages; i++) {
        struct recovery_damage *d = &r->damage[i];
        if (d->done || d->late)
            continue;
        const struct recovery_range *x = range_of(r, d);
        if (d->kind == PST_TORN) {
            d->lost = x || d->first >= r->old_end;
            d->was_durable = d->lost && d->first < r->durable;
        } else if (d->kind == PST_FOREIGN || d->kind == PST_CONFLICT || d->kind == PST_UNREADABLE) {
            d->lost = false;
        } else if (d->kind != PST_NO_HEADER) {
            d->lost = x || d->kind == PST_MISSING;
            d->was_durable = d->lost && d->first < r->durable;
        }
    }
    /* all answers before any deed: who refuses finds everything as it was */
    for (uint32_t i = 0; i < r->damages; i++) {
        struct recovery_damage *d = &r->damage[i];
        if (!d->done && !(d->kind == PST_TORN && d->gave_up))
            recovery_ask(r, d);
    }
    for (uint32_t i = 0; i < r->damages; i++)
        if (r->damage[i].answer == PST_REFUSE && !r->damage[i].done)
            return refused(r, &r->damage[i], err);
    for (uint32_t i = 0; i < r->damages; i++)
        if (r->damage[i].repair)
            repair(r, &r->damage[i]);
    if (r->again)
        return true; /* what the repaired frames say is read first */
    for (uint32_t i = 0; i < r->damages; i++) {
        struct recovery_damage *d = &r->damage[i];
        const struct recovery_range *x = d->done ? NULL : range_of(r, d);
        if (d->answer == PST_TRUNCATE && d->kind != PST_TORN && !d->late && d->lost && x &&
            x->from < cut)
            cut = x->from;
    }
    if (cut != UINT64_MAX && !r->cfg.read_only) {
        r->again = true;
        return truncate_log(r, cut, err);
    }
    for (uint32_t i = 0; i < r->damages; i++) {
        struct recovery_damage *d = &r->damage[i];
        if (d->done || d->late)
            continue;
        d->done = true;
        if (d->kind == PST_TORN) {
            torn(r, d);
            continue;
        }
        if (!r->cfg.read_only && d->kind != PST_NO_HEADER && d->kind != PST_FOREIGN &&
            d->kind != PST_CONFLICT && d->kind != PST_UNREADABLE) {
            d->error = recovery_keep(r, d);
            if (d->error < 0)
                recovery_say(r, "%s: cannot be copied to quarantine: %s",
                             d->path ? d->path : "the missing range", strerror(-d->error));
        }
        char line[2 * CURSOR_PATH + 400];
        recovery_tell(r, d, line, sizeof line);
        recovery_say(r, "%s", line);
    }
    return true;
}
