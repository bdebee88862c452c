/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <inttypes.h>
#include "core/crc.h"
#include "manifest.h"

#define COMPACT_LINES 4096u

/* ---- lines ---- */

static bool put(struct load_manifest *m, json_t *o)
{
    char *json = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!json)
        return false;
    size_t n = strlen(json);
    if (m->npending + n + 12 > m->room) {
        size_t room = (m->npending + n + 12) * 2;
        char *more = realloc(m->pending, room);
        if (!more) {
            free(json);
            return false;
        }
        m->pending = more;
        m->room = room;
    }
    m->npending +=
        (size_t)sprintf(m->pending + m->npending, "%08x %s\n", crc32c(0xFFFFFFFFu, json, n), json);
    m->npending_lines++;
    free(json);
    return true;
}

static bool line_ok(const char *p, size_t len)
{
    char hex[9] = {0}, *end;
    if (len < 11 || p[8] != ' ')
        return false;
    memcpy(hex, p, 8);
    for (unsigned i = 0; i < 8; i++)
        if (!strchr("0123456789abcdef", hex[i]))
            return false;
    return strtoul(hex, &end, 16) == crc32c(0xFFFFFFFFu, p + 9, len - 9);
}

static json_t *head(const struct load_manifest *m)
{
    char id[17];
    snprintf(id, sizeof id, "%016" PRIx64, m->instance);
    return json_pack("{s:i, s:s}", "load", LOAD_MANIFEST_FORMAT, "instance", id);
}

/* ---- reading ---- */

static bool check_head(const struct load_manifest *m, const json_t *o, struct err *err)
{
    const json_t *format = json_object_get(o, "load");
    if (!json_is_integer(format))
        return err_set(err, -EBADMSG, "%s does not begin as a load manifest does: move it away",
                       m->path);
    if (json_integer_value(format) > LOAD_MANIFEST_FORMAT)
        return err_set(err, -ENOTSUP,
                       "%s has format %lld, this program (penstock " PST_VERSION
                       ") reads up to %d: start the newer one",
                       m->path, (long long)json_integer_value(format), LOAD_MANIFEST_FORMAT);
    const char *id = json_string_value(json_object_get(o, "instance"));
    if (!id || strtoull(id, NULL, 16) != m->instance)
        return err_set(err, -EINVAL, "%s belongs to instance %.16s: it is in the wrong directory",
                       m->path, id ? id : "?");
    return true;
}

/* Up to where later lines say that everything was durable: above it a torn end is normal. They are
 * looked for at every place, as the damage may have taken a line's beginning with it. */
static uint64_t durable_end(const char *p, uint64_t size, uint64_t from)
{
    static const char word[] = "{\"synced\":";
    uint64_t most = 0;
    const char *end = p + size;
    for (const char *at = p + from; (at = memmem(at, (size_t)(end - at), word, sizeof word - 1));
         at++) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        if (!nl || at < p + from + 9 || nl - at > 60 || !line_ok(at - 9, (size_t)(nl - at) + 9))
            continue;
        json_t *o = json_loadb(at, (size_t)(nl - at), 0, NULL);
        json_int_t n = json_integer_value(json_object_get(o, "synced"));
        if (n > 0 && n <= at - 9 - p && (uint64_t)n > most)
            most = (uint64_t)n;
        json_decref(o);
    }
    return most;
}

static bool load(struct load_manifest *m, const char *p, uint64_t size,
                 bool (*line)(void *arg, const json_t *o, struct err *err), struct err *err)
{
    uint64_t at = 0;
    while (at < size) {
        const char *nl = memchr(p + at, '\n', size - at);
        uint64_t len = nl ? (uint64_t)(nl - p) - at : 0;
        json_t *o = nl && line_ok(p + at, len) ? json_loadb(p + at + 9, len - 9, 0, NULL) : NULL;
        if (!json_is_object(o)) {
            json_decref(o);
            break;
        }
        bool ok = at || check_head(m, o, err);
        if (ok && at && !json_object_get(o, "synced") && !json_object_get(o, "whole"))
            ok = line(m->arg, o, err);
        json_decref(o);
        if (!ok)
            return false;
        m->lines++;
        at += len + 1;
    }
    uint64_t durable = at < size ? durable_end(p, size, at) : 0;
    if (durable > at)
        return err_set(err, -EBADMSG,
                       "%s is damaged at byte %" PRIu64 " (line %" PRIu64
                       "), which was durable: restore the file, or move it away and deliver again "
                       "only files that are not loaded",
                       m->path, at, m->lines + 1);
    m->torn = at != size;
    m->size = at;
    return true;
}

/* ---- the file ---- */

static int rewrite(struct load_manifest *m)
{
    char path[1120];
    struct io *io = m->io;
    snprintf(path, sizeof path, "%s.new", m->path);
    m->npending = m->npending_lines = 0;
    m->rewriting = true;
    bool ok = put(m, head(m)) && m->content(m->arg, m) &&
              put(m, json_pack("{s:I}", "whole", (json_int_t)m->npending_lines + 1));
    m->rewriting = false;
    if (!ok)
        return -ENOMEM;
    int fd = io->ops->open(io, path, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return fd;
    int r = io_pwrite_all(io, fd, m->pending, m->npending, 0);
    if (r == 0)
        r = io->ops->fsync(io, fd);
    if (r == 0)
        r = io->ops->rename(io, path, m->path);
    if (r == 0)
        r = io->ops->sync_dir(io, m->directory);
    if (r < 0) {
        io->ops->close(io, fd);
        return r;
    }
    if (m->fd >= 0)
        io->ops->close(io, m->fd);
    m->fd = fd;
    m->size = m->npending;
    m->lines = m->live = m->npending_lines;
    m->npending = m->npending_lines = 0;
    m->rewrites++;
    return 0;
}

bool load_manifest_open(struct load_manifest *m, struct io *io, const char *state_directory,
                        uint64_t instance,
                        bool (*line)(void *arg, const json_t *o, struct err *err),
                        bool (*content)(void *arg, struct load_manifest *m), void *arg,
                        struct err *err)
{
    *m = (struct load_manifest){
        .io = io, .instance = instance, .fd = -1, .content = content, .arg = arg};
    snprintf(m->directory, sizeof m->directory, "%s", state_directory);
    snprintf(m->path, sizeof m->path, "%s/" LOAD_MANIFEST_NAME, state_directory);
    struct io_stat s = {0};
    int fd = io->ops->open(io, m->path, O_RDWR, 0640);
    if (fd == -ENOENT)
        return true; /* made by the first sync */
    int r = fd < 0 ? fd : io->ops->fstat(io, fd, &s);
    char *text = NULL;
    if (r >= 0 && s.size > LOAD_MANIFEST_BYTES)
        r = -EFBIG;
    if (r >= 0) {
        text = malloc(s.size + 1);
        r = text ? io_pread_all(io, fd, text, s.size, 0) : -ENOMEM;
    }
    /* What a killed process wrote is seen, but neither it nor the file's name need be durable. */
    if (r >= 0)
        r = io->ops->fsync(io, fd);
    if (r >= 0)
        r = io->ops->sync_dir(io, m->directory);
    bool ok = r >= 0 ? load(m, text, s.size, line, err)
                     : err_set(err, r, "%s: cannot be read: %s", m->path, strerror(-r));
    free(text);
    if (!ok || m->torn || !m->size) {
        if (fd >= 0)
            io->ops->close(io, fd);
        fd = -1; /* rewritten by the first sync: nothing is appended behind a torn end */
    }
    m->fd = fd;
    return ok;
}

void load_manifest_close(struct load_manifest *m)
{
    if (m->fd >= 0)
        m->io->ops->close(m->io, m->fd);
    free(m->pending);
    m->fd = -1;
    m->pending = NULL;
    m->npending = m->room = 0;
}

bool load_manifest_add(struct load_manifest *m, json_t *o)
{
    pst_must(!m->rewriting);
    if (!m->npending && m->fd >= 0 && !put(m, json_pack("{s:I}", "synced", (json_int_t)m->size))) {
        json_decref(o);
        o = NULL;
    }
    if (o && put(m, o))
        return true;
    if (m->fd >= 0)
        m->io->ops->close(m->io, m->fd);
    m->fd = -1;
    return false;
}

bool load_manifest_line(struct load_manifest *m, json_t *o)
{
    pst_must(m->rewriting);
    return put(m, o);
}

bool load_manifest_dirty(const struct load_manifest *m)
{
    return m->npending || m->fd < 0;
}

int load_manifest_sync(struct load_manifest *m)
{
    if (!load_manifest_dirty(m))
        return 0;
    int r = 0;
    if (m->fd >= 0) {
        r = io_pwrite_all(m->io, m->fd, m->pending, m->npending, m->size);
        if (r == 0)
            r = m->io->ops->fdatasync(m->io, m->fd);
        if (r == 0) {
            m->size += m->npending;
            m->lines += m->npending_lines;
            m->npending = m->npending_lines = 0;
        } else {
            m->io->ops->close(m->io, m->fd);
            m->fd = -1;
        }
    } else
        r = rewrite(m);
    m->error = r;
    m->failed += r < 0;
    m->syncs++;
    return r;
}

int load_manifest_compact(struct load_manifest *m)
{
    int r = load_manifest_sync(m);
    if (r == 0 && m->lines > COMPACT_LINES && m->lines > 2 * m->live)
        r = rewrite(m);
    return r;
}
