/* SPDX-License-Identifier: Apache-2.0 */
/* Shared memory: the control socket hands out the ring, says where the log lies; where to begin. */
#include <errno.h>
#include <jansson.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "client/shared_int.h"

#define REPLY_MAX (64u << 20)

/* ---- attaching ---- */

static bool control(const struct shared *s, int fds[3], json_t **reply, struct err *err)
{
    static const char line[] = "{\"cmd\":\"attach\",\"args\":[]}\n";
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval tv = {5, 0};
    size_t len = 0, room = 65536;
    unsigned nfds = 0;
    char *buf = malloc(room), *nl = NULL;
    snprintf(a.sun_path, sizeof a.sun_path, "%s", s->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = buf && fd >= 0;
    if (ok) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
        ok = !connect(fd, (struct sockaddr *)&a, sizeof a) &&
             send(fd, line, sizeof line - 1, MSG_NOSIGNAL) == (ssize_t)sizeof line - 1;
        if (!ok)
            err_set(err, errno == EACCES ? -EACCES : -ENOTCONN, "%s: %s", s->path, strerror(errno));
    } else {
        err_set(err, -ENOMEM, "no memory or descriptor to attach");
    }
    while (ok && !nl) {
        struct iovec v = {buf + len, room - len};
        union {
            char bytes[CMSG_SPACE(4 * sizeof(int))];
            struct cmsghdr align;
        } u;
        struct msghdr m = {
            .msg_iov = &v, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof u};
        ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            ok = err_set(err, -ENOTCONN, "%s: no answer to attach", s->path);
            break;
        }
        for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
            if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
                for (unsigned i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
                    int got;
                    memcpy(&got, CMSG_DATA(h) + i * sizeof got, sizeof got);
                    if (nfds < 3)
                        fds[nfds++] = got;
                    else
                        close(got);
                }
        nl = memchr(buf + len, '\n', (size_t)n);
        len += (size_t)n;
        if (!nl && len == room) {
            char *p = room < REPLY_MAX ? realloc(buf, room * 2) : NULL;
            if (!p) {
                ok = err_set(err, -EPROTO, "the daemon's answer to attach is too long");
                break;
            }
            buf = p;
            room *= 2;
        }
    }
    *reply = ok ? json_loadb(buf, (size_t)(nl - buf), 0, NULL) : NULL;
    free(buf);
    const char *why = json_string_value(json_object_get(*reply, "error"));
    if (ok && (!json_is_object(json_object_get(*reply, "result")) || nfds != 3)) {
        int code = (int)json_integer_value(json_object_get(*reply, "code"));
        ok = err_set(err, code == -EPERM || code == -EACCES ? -EACCES : -EREMOTEIO, "%s",
                     why ? why : "the daemon did not hand out its ring");
    }
    if (!ok) {
        for (unsigned i = 0; i < nfds; i++)
            close(fds[i]);
        json_decref(*reply);
        *reply = NULL;
    }
    if (fd >= 0)
        close(fd);
    return ok;
}

void shared_detach(struct shared *s)
{
    if (s->cursor.buf)
        cursor_close(&s->cursor);
    if (s->io)
        io_destroy(s->io);
    s->io = NULL;
    if (s->ring.head)
        ring_close(&s->ring);
    if (s->symbols.head)
        symbols_close(&s->symbols);
    memset(&s->ring, 0, sizeof s->ring);
    memset(&s->symbols, 0, sizeof s->symbols);
    s->attached = false;
    for (unsigned i = 0; i < TABLE_MAX; i++) /* their schemas were the cursor's */
        s->table[i] = NULL;
    memset(s->asked, 0, sizeof s->asked);
    free(s->wanted.known);
    s->wanted = (struct wanted){0};
}

static const char *text_of(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

bool shared_attach(struct shared *s, struct err *err)
{
    int fds[3] = {-1, -1, -1};
    json_t *reply, *text;
    size_t i;
    if (!control(s, fds, &reply, err))
        return false;
    close(fds[2]);
    bool ok = ring_attach(&s->ring, fds[0], err);
    if (!ok)
        close(fds[0]);
    if (!ok || !symbols_attach(&s->symbols, fds[1], err)) {
        close(fds[1]);
        ok = false;
    }
    json_t *r = json_object_get(reply, "result");
    snprintf(s->dir[0], CURSOR_PATH, "%s", text_of(r, "log_directory"));
    snprintf(s->dir[1], CURSOR_PATH, "%s", text_of(r, "spill_directory"));
    snprintf(s->prefix, sizeof s->prefix, "%s", text_of(r, "log_prefix"));
    s->io = ok ? io_posix_create(err) : NULL;
    if (s->io) {
        struct cursor_config cc = {.io = s->io,
                                   .dirs = {s->dir[0], *s->dir[1] ? s->dir[1] : NULL},
                                   .prefix = s->prefix,
                                   .instance = s->ring.head->instance,
                                   .ring = &s->ring,
                                   .limit = s->s.durable     ? CURSOR_DURABLE
                                            : s->s.committed ? CURSOR_COMMITTED
                                                             : CURSOR_SUBMITTED,
                                   .no_skim = true};
        ok = cursor_open(&s->cursor, &cc, err);
    } else {
        ok = false;
    }
    json_array_foreach(json_object_get(r, "schemas"), i, text)
    {
        struct schema schema;
        struct err bad;
        if (ok && json_is_string(text) &&
            schema_from_json(&schema, json_string_value(text), json_string_length(text), &bad))
            schema_set_add(s->cursor.dict.schemas, &schema, &bad);
    }
    json_decref(reply);
    s->place_at = UINT64_MAX;
    s->looked = clock_monotonic();
    s->attached = ok;
    if (!ok) {
        if (!err->code)
            err_set(err, -ENOMEM, "no memory to attach");
        shared_detach(s);
    }
    return ok;
}

static void begin(struct shared *s)
{
    int32_t day = INT32_MIN;
    switch (s->s.from) {
    case PST_FROM_POSITION:
        cursor_seek(&s->cursor, s->s.position);
        break;
    case PST_FROM_DAY:
        for (uint32_t i = 0; i < s->cursor.files; i++)
            if (s->cursor.file[i]->header.day > day)
                day = s->cursor.file[i]->header.day;
        if (!cursor_seek_day(&s->cursor, day))
            cursor_seek(&s->cursor, s->ring.head->start);
        break;
    case PST_FROM_BEGIN: /* where it stands */
        break;
    default:
        cursor_seek_end(&s->cursor);
        s->told_live = true;
        break;
    }
}

struct shared *shared_open(struct pst_client *c, const struct pst_subscription *sub,
                           struct err *err)
{
    struct shared *s = calloc(1, sizeof *s);
    if (!s) {
        err_set(err, -ENOMEM, "no memory to attach");
        return NULL;
    }
    const char *ipc = c->address[c->connected_to].host;
    size_t len = strlen(ipc);
    s->s = *sub;
    s->place_at = UINT64_MAX;
    if (sub->control_socket)
        s->path = strdup(sub->control_socket);
    else if (len > 4 && !strcmp(ipc + len - 4, ".ipc") &&
             asprintf(&s->path, "%.*s.sock", (int)len - 4, ipc) < 0)
        s->path = NULL;
    s->tables = sub->tables && *sub->tables ? strdup(sub->tables) : NULL;
    s->syms = sub->syms && *sub->syms ? strdup(sub->syms) : NULL;
    if (!s->path || strlen(s->path) >= sizeof((struct sockaddr_un *)0)->sun_path) {
        err_set(err, -EINVAL, "the control socket is not known: say it in control_socket");
        shared_close(s);
        return NULL;
    }
    if (!shared_attach(s, err)) {
        shared_close(s);
        return NULL;
    }
    begin(s);
    c->position = s->cursor.position;
    return s;
}

void shared_close(struct shared *s)
{
    if (!s)
        return;
    shared_detach(s);
    free(s->path);
    free(s->tables);
    free(s->syms);
    free(s);
}
