/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include "core/civil.h"
#include "core/crc.h"
#include "kdb_live_parts.h"

#define VERIFY_STEP (4u << 20)
#define SIDE_MAX    4096u

bool live_path(const struct kdb_live *k, int32_t day, char out[LIVE_PATH])
{
    char date[CIVIL_TEXT];
    int n = snprintf(out, LIVE_PATH, "%s/%s%s", k->directory, k->cfg.name, civil_format(day, date));
    return n > 0 && n < (int)KDB_LOG_PATH;
}

bool live_side_path(const struct kdb_live *k, int32_t day, const char *ending, char out[LIVE_PATH])
{
    char date[CIVIL_TEXT];
    int n = snprintf(out, LIVE_PATH, "%s/.%s%s%s", k->directory, k->cfg.name,
                     civil_format(day, date), ending);
    return n > 0 && n < (int)KDB_LOG_PATH;
}

/* ---- the sidecar ---- */

struct newest {
    const char *name;
    int32_t day;
};

static bool look(void *arg, const char *entry)
{
    struct newest *n = arg;
    size_t len = strlen(n->name), all = strlen(entry);
    char date[CIVIL_TEXT];
    int32_t day;
    if (*entry != '.' || all != 1 + len + 10 + 4 || memcmp(entry + 1, n->name, len) ||
        strcmp(entry + all - 4, ".pst"))
        return true;
    snprintf(date, sizeof date, "%.10s", entry + 1 + len);
    if (civil_parse(date, &day) && day > n->day)
        n->day = day;
    return true;
}

static uint64_t number(json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return json_is_integer(v) && json_integer_value(v) >= 0 ? (uint64_t)json_integer_value(v)
                                                            : UINT64_MAX;
}

static bool parse(const struct kdb_live *k, const char *text, size_t n, int32_t day,
                  struct live_mark *m)
{
    json_error_t je;
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &je), *ended;
    const char *form = json_string_value(json_object_get(o, "form"));
    *m = (struct live_mark){.day = day,
                            .first = number(o, "first"),
                            .position = number(o, "position"),
                            .messages = number(o, "messages"),
                            .bytes = number(o, "bytes"),
                            .crc = (uint32_t)number(o, "crc")};
    bool ok = form && m->position != UINT64_MAX && m->first <= m->position &&
              m->messages != UINT64_MAX && m->bytes != UINT64_MAX && m->bytes >= KDB_LOG_HEADER;
    ended = json_object_get(o, "ended");
    for (unsigned i = 0; i < k->cfg.calendars; i++) {
        const char *date = json_string_value(json_object_get(ended, k->cfg.calendar[i]));
        if (!date || !civil_parse(date, &m->ended[i]))
            m->ended[i] = LIVE_NO_DAY;
    }
    if (ok && strcmp(form, k->form)) /* other columns: nothing of it can be gone on with */
        m->messages = 0, m->bytes = 0, m->position = m->first;
    json_decref(o);
    return ok;
}

int live_find(struct kdb_live *k, struct live_mark *m, struct err *err)
{
    struct newest n = {k->cfg.name, LIVE_NO_DAY};
    struct io *io = k->cfg.io;
    char path[LIVE_PATH], text[SIDE_MAX];
    int r = io->ops->list(io, k->directory, look, &n);
    if (r < 0) {
        err_set(err, r, "%s: %s", k->directory, strerror(-r));
        return -1;
    }
    if (n.day == LIVE_NO_DAY || !live_side_path(k, n.day, ".pst", path))
        return 0;
    int fd = io->ops->open(io, path, O_RDONLY, 0);
    int64_t got = fd < 0 ? fd : io->ops->pread(io, fd, text, sizeof text, 0);
    if (fd >= 0)
        io->ops->close(io, fd);
    return got > 0 && parse(k, text, (size_t)got, n.day, m);
}

bool live_save(struct kdb_live *k, struct err *err)
{
    struct io *io = k->cfg.io;
    char path[LIVE_PATH], fresh[LIVE_PATH], date[CIVIL_TEXT], *text;
    json_t *ended = json_object();
    for (unsigned i = 0; i < k->cfg.calendars; i++)
        if (k->at.ended[i] != LIVE_NO_DAY)
            json_object_set_new(ended, k->cfg.calendar[i],
                                json_string(civil_format(k->at.ended[i], date)));
    json_t *o =
        json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:o}", "day", civil_format(k->at.day, date),
                  "first", (json_int_t)k->at.first, "position", (json_int_t)k->at.position,
                  "messages", (json_int_t)k->log.messages, "bytes", (json_int_t)k->log.bytes, "crc",
                  (json_int_t)k->log.crc, "form", k->form, "ended", ended);
    text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!text || !live_side_path(k, k->at.day, ".pst", path) ||
        !live_side_path(k, k->at.day, ".tmp", fresh)) {
        free(text);
        return err_set(err, -ENOMEM, "no memory for the sidecar");
    }
    int fd = io->ops->open(io, fresh, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int r = fd < 0 ? fd : io_pwrite_all(io, fd, text, strlen(text), 0);
    free(text);
    if (fd >= 0) {
        int c = io->ops->close(io, fd);
        r = r ? r : c;
    }
    if (!r)
        r = io->ops->rename(io, fresh, path);
    if (r)
        return err_set(err, r, "%s: %s", path, strerror(-r));
    k->saved = k->at;
    if (k->old_day != LIVE_NO_DAY && k->old_day != k->at.day &&
        live_side_path(k, k->old_day, ".pst", path))
        io->ops->unlink(io, path);
    k->old_day = LIVE_NO_DAY;
    return true;
}

/* ---- the file ---- */

static bool identify(struct kdb_live *k)
{
    struct io_stat st;
    bool ok = !k->cfg.io->ops->fstat(k->cfg.io, k->log.fd, &st);
    k->dev = ok ? st.dev : 0;
    k->ino = ok ? st.ino : 0;
    return ok;
}

int live_verify(struct kdb_live *k)
{
    static uint8_t chunk[VERIFY_STEP]; /* of the catchup thread */
    struct io *io = k->cfg.io;
    struct io_stat st;
    char path[LIVE_PATH];
    if (k->verify_fd < 0) {
        k->verified = KDB_LOG_HEADER;
        k->verified_crc = 0;
        if (!k->at.bytes || !live_path(k, k->at.day, path))
            return -1;
        k->verify_fd = io->ops->open(io, path, O_RDWR, 0);
        if (k->verify_fd < 0 || io->ops->fstat(io, k->verify_fd, &st) || st.size < k->at.bytes)
            return -1;
    }
    uint64_t left = k->at.bytes - k->verified;
    size_t n = left < sizeof chunk ? (size_t)left : sizeof chunk;
    if (n && io_pread_all(io, k->verify_fd, chunk, n, k->verified))
        return -1;
    k->verified_crc = crc32c(k->verified_crc, chunk, n);
    k->verified += n;
    if (k->verified < k->at.bytes)
        return 0;
    if (k->verified_crc != k->at.crc || io->ops->ftruncate(io, k->verify_fd, k->at.bytes))
        return -1;
    k->log = (struct kdb_log_writer){.io = io,
                                     .fd = k->verify_fd,
                                     .messages = k->at.messages,
                                     .bytes = k->at.bytes,
                                     .crc = k->at.crc};
    live_path(k, k->at.day, path);
    snprintf(k->log.path, sizeof k->log.path, "%s", path);
    k->verify_fd = -1;
    return identify(k) ? 1 : -1;
}

/* What bears the day's name and is not ours goes aside. */
static bool aside(struct kdb_live *k, const char *path, struct err *err)
{
    struct io *io = k->cfg.io;
    struct io_stat st;
    char to[LIVE_PATH + 16];
    for (unsigned i = 0; i < 1000; i++) {
        int n = snprintf(to, sizeof to, i ? "%s.before.%u" : "%s.before", path, i);
        int r = n < (int)sizeof to ? io->ops->stat(io, to, &st) : -ENAMETOOLONG;
        if (!r)
            continue;
        if (r == -ENOENT && !(r = io->ops->rename(io, path, to))) {
            fprintf(stderr, "penstockd: kdb_log: %s was there and is no log of ours: kept as %s\n",
                    path, to);
            return true;
        }
        return err_set(err, r, "%s: %s", to, strerror(-r));
    }
    return err_set(err, -EEXIST, "%s: remove its .before files", path);
}

bool live_create(struct kdb_live *k, struct err *err)
{
    struct io *io = k->cfg.io;
    struct io_stat st;
    char path[LIVE_PATH], fresh[LIVE_PATH], side[LIVE_PATH];
    if (!live_path(k, k->at.day, path) || !live_side_path(k, k->at.day, ".new", fresh) ||
        !live_side_path(k, k->at.day, ".pst", side))
        return err_set(err, -ENAMETOOLONG, "%.60s...: the path is too long", path);
    bool ours = !io->ops->stat(io, side, &st);
    if (!ours && !io->ops->stat(io, path, &st))
        k->anew =
            true; /* of another, or ours without its sidecar: seen when this one is complete */
    /* The sidecar before the file: what bears the name is known as ours from the first byte. */
    k->log = (struct kdb_log_writer){.fd = -1, .bytes = KDB_LOG_HEADER};
    if (!k->anew && !live_save(k, err))
        return false;
    const char *to = k->anew ? fresh : path;
    io->ops->unlink(io, to);
    if (kdb_log_create(&k->log, io, to, err)) {
        k->rows = 0;
        return identify(k) || err_set(err, -EIO, "%s: it cannot be looked at", to);
    }
    io->ops->unlink(io, to);
    k->log.fd = -1;
    return false;
}

/* Is what lies at `path` the beginning of what was written? */
static bool begins_so(struct kdb_live *k, const char *path, uint64_t size)
{
    static uint8_t a[1u << 16], b[1u << 16];
    struct io *io = k->cfg.io;
    int theirs = io->ops->open(io, path, O_RDONLY, 0);
    int own = io->ops->open(io, k->log.path, O_RDONLY, 0);
    bool same = theirs >= 0 && own >= 0 && size <= k->log.bytes;
    for (uint64_t at = 0; same && at < size; at += sizeof a) {
        size_t n = size - at < sizeof a ? (size_t)(size - at) : sizeof a;
        same = !io_pread_all(io, theirs, a, n, at) && !io_pread_all(io, own, b, n, at) &&
               !memcmp(a, b, n);
    }
    if (theirs >= 0)
        io->ops->close(io, theirs);
    if (own >= 0)
        io->ops->close(io, own);
    return same;
}

bool live_complete(struct kdb_live *k, struct err *err)
{
    struct io *io = k->cfg.io;
    struct io_stat st;
    char path[LIVE_PATH], fresh[LIVE_PATH], side[LIVE_PATH];
    bool ours = live_side_path(k, k->at.day, ".pst", side) && !io->ops->stat(io, side, &st);
    if (!live_path(k, k->at.day, path) || !live_side_path(k, k->at.day, ".new", fresh))
        return err_set(err, -ENAMETOOLONG, "%.60s...: the path is too long", path);
    if (!ours && !io->ops->stat(io, path, &st) && !begins_so(k, path, st.size) &&
        !aside(k, path, err))
        return false;
    /* the sidecar first: should this stop in between, the file is written anew once more */
    if (!live_save(k, err))
        return false;
    int r = io->ops->rename(io, fresh, path);
    if (r)
        return err_set(err, r, "%s: %s", path, strerror(-r));
    snprintf(k->log.path, sizeof k->log.path, "%s", path);
    k->anew = false;
    return true;
}

bool live_there(struct kdb_live *k)
{
    struct io_stat st;
    return !k->cfg.io->ops->stat(k->cfg.io, k->log.path, &st) && st.dev == k->dev &&
           st.ino == k->ino;
}
