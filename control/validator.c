/* SPDX-License-Identifier: Apache-2.0 */
#include "validator.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>
#include "access.h"

struct line {
    char *at;
    uint32_t len;
    bool bad; /* too long, or no UTF-8 */
};

static void put(struct line *l, const char *text, size_t n)
{
    if (n > VALIDATOR_QUESTION - l->len) {
        l->bad = true;
        return;
    }
    memcpy(l->at + l->len, text, n);
    l->len += (uint32_t)n;
}

static void put_text(struct line *l, const char *key, const char *text, size_t n)
{
    const uint8_t *s = (const uint8_t *)text;
    char escape[8];
    put(l, "\"", 1);
    put(l, key, strlen(key));
    put(l, "\":\"", 3);
    for (size_t i = 0; i < n && !l->bad;) {
        size_t k = access_utf8(s + i, n - i);
        if (!k) {
            l->bad = true;
        } else if (s[i] < 0x20 || s[i] == '"' || s[i] == '\\') {
            snprintf(escape, sizeof escape, "\\u%04x", s[i]);
            put(l, escape, 6);
        } else {
            put(l, text + i, k);
        }
        i += k;
    }
    OPENSSL_cleanse(escape, sizeof escape);
    put(l, "\"", 1);
}

static void wipe(struct validator_call *c)
{
    if (c->line)
        OPENSSL_cleanse(c->line, VALIDATOR_QUESTION);
    free(c->line);
    c->line = NULL;
}

void validator_end(struct validator_call *c)
{
    wipe(c);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->live = false;
}

uint32_t validator_events(const struct validator_call *c)
{
    return EPOLLIN | (c->line ? EPOLLOUT : 0u);
}

static enum validator_state failed(char why[128], const char *what, const char *path)
{
    snprintf(why, 128, "ipc.validator %.60s: %s", path, what);
    return VALIDATOR_FAILED;
}

/* The address without its port. */
static void host_of(const struct address *from, char out[ADDRESS_TEXT])
{
    address_text(from, out);
    char *end = strrchr(out, ':');
    if (end)
        *end = 0;
    size_t n = strlen(out);
    if (*out == '[' && out[n - 1] == ']') {
        out[n - 1] = 0;
        memmove(out, out + 1, n - 1);
    }
}

enum validator_state validator_begin(struct validator_call *c, const char *path, const char *user,
                                     size_t user_len, const char *password, size_t password_len,
                                     const struct address *from, char why[128])
{
    char host[ADDRESS_TEXT], port[32];
    struct line l = {.at = malloc(VALIDATOR_QUESTION)};
    *c = (struct validator_call){.fd = -1, .path = path, .line = l.at};
    if (!l.at)
        return failed(why, "no memory for a question", path);
    host_of(from, host);
    put(&l, "{", 1);
    put_text(&l, "user", user, user_len);
    put(&l, ",", 1);
    put_text(&l, "password", password, password_len);
    put(&l, ",", 1);
    put_text(&l, "address", host, strlen(host));
    put(&l, port, (size_t)snprintf(port, sizeof port, ",\"port\":%u}\n", from->port));
    c->len = l.len;
    c->live = true;
    enum validator_state s = VALIDATOR_UNFIT;
    if (l.bad)
        snprintf(why, 128,
                 "the password is no UTF-8, which ipc.validator could not be asked about");
    else
        s = validator_step(c, why);
    if (s != VALIDATOR_WAITS)
        validator_end(c);
    return s;
}

/* A full queue of the socket is EAGAIN: there is nothing to wait for but time. */
static bool reach(struct validator_call *c)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(c->path) >= sizeof a.sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(a.sun_path, c->path, strlen(c->path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, (const struct sockaddr *)&a, sizeof a)) {
        int e = errno;
        close(fd);
        errno = e;
        return false;
    }
    c->fd = fd;
    return true;
}

static enum validator_state verdict(struct validator_call *c, char why[128])
{
    json_error_t je;
    json_t *o = json_loads(c->answer, JSON_REJECT_DUPLICATES, &je), *ok = json_object_get(o, "ok");
    const char *reason = json_string_value(json_object_get(o, "reason"));
    enum validator_state s = VALIDATOR_NO;
    if (json_is_true(ok))
        s = VALIDATOR_YES;
    else if (json_is_false(ok))
        snprintf(why, 128, "refused by ipc.validator%s%.90s", reason ? ": " : "",
                 reason ? reason : "");
    else
        s = failed(why, "its answer is no object with ok", c->path);
    json_decref(o);
    return s;
}

enum validator_state validator_step(struct validator_call *c, char why[128])
{
    if (c->fd < 0 && !reach(c))
        return errno == EAGAIN ? VALIDATOR_WAITS : failed(why, strerror(errno), c->path);
    while (c->line) {
        ssize_t n = send(c->fd, c->line + c->sent, c->len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return failed(why, strerror(errno), c->path);
        c->sent += (uint32_t)n;
        if (c->sent == c->len)
            wipe(c);
    }
    for (;;) {
        ssize_t n = recv(c->fd, c->answer + c->got, VALIDATOR_ANSWER - c->got, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? VALIDATOR_WAITS : failed(why, strerror(errno), c->path);
        c->got += (uint32_t)n;
        char *end = memchr(c->answer, '\n', c->got);
        if (end)
            *end = 0;
        c->answer[c->got] = 0;
        if (!end && !n && !c->got)
            return failed(why, "it closed the connection without an answer", c->path);
        if (end || !n)
            return verdict(c, why);
        if (c->got == VALIDATOR_ANSWER)
            return failed(why, "its answer is too long", c->path);
    }
}
