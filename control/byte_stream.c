/* SPDX-License-Identifier: Apache-2.0 */
#include "byte_stream.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "file_mark.h"

#define HANDSHAKE_RECORD 0x16
#define TLS_AT_ONCE      (256u << 10) /* bytes of one stream_writev: others want the thread too */

/* ---- certificate and key ----------------------------------------------------------------------
 */

struct tls {
    pthread_mutex_t lock; /* guards ctx, expires, problem: for a moment only */
    SSL_CTX *ctx;
    int64_t expires;
    char problem[sizeof((struct err *)0)->text];
    char *certificate, *key;
    struct file_mark seen[2]; /* of who calls tls_look and tls_reload, one at a time */
    pthread_mutex_t loading;
};

/* A daemon has nobody to ask for a passphrase. */
static int no_passphrase(char *buf, int size, int rw, void *arg)
{
    (void)buf;
    (void)size;
    (void)rw;
    (void)arg;
    return -1;
}

static const char *why(char out[160])
{
    unsigned long e = ERR_peek_error(); /* the first is the cause */
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    if (e && ERR_SYSTEM_ERROR(e))
        reason = strerror(ERR_GET_REASON(e));
    snprintf(out, 160, "%s", reason ? reason : "not in PEM form");
    ERR_clear_error();
    return out;
}

static int64_t unix_time(const ASN1_TIME *t)
{
    struct tm tm = {0};
    return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static bool key_private(const char *key, struct err *err)
{
    struct stat st;
    if (stat(key, &st))
        return err_set(err, -errno, "key %s: %s", key, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, -EINVAL, "key %s is no regular file", key);
    if (st.st_mode & 007 || st.st_mode & 020)
        return err_set(err, -EPERM,
                       "key %s can be read or changed by others (mode %03o); chmod "
                       "0640 it, or 0600",
                       key, (unsigned)st.st_mode & 0777);
    return true;
}

static bool pair(SSL_CTX *c, const char *certificate, const char *key, struct err *err)
{
    char text[160];
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(c, certificate) != 1)
        return err_set(err, -EINVAL, "certificate %s cannot be used: %s", certificate, why(text));
    if (!key_private(key, err))
        return false;
    if (SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1)
        return err_set(err, -EINVAL, "key %s cannot be used: %s (a passphrase cannot be asked for)",
                       key, why(text));
    if (SSL_CTX_check_private_key(c) != 1)
        return err_set(err, -EINVAL, "key %s is not that of certificate %s", key, certificate);
    return true;
}

static SSL_CTX *load(const char *certificate, const char *key, int64_t *expires, struct err *err)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    if (!c) {
        err_set(err, -ENOMEM, "TLS: OpenSSL gives no context");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(c, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20"); /* 1.2; all of 1.3's are sound */
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);     /* tickets need no memory here */
    SSL_CTX_set_session_id_context(c, (const uint8_t *)"penstock", 8);
    SSL_CTX_set_num_tickets(c, 1);
    SSL_CTX_set_default_passwd_cb(c, no_passphrase);
    if (!pair(c, certificate, key, err)) {
        SSL_CTX_free(c);
        return NULL;
    }
    *expires = unix_time(X509_get0_notAfter(SSL_CTX_get0_certificate(c)));
    return c;
}

bool tls_check_files(const char *certificate, const char *key, int64_t *expires, struct err *err)
{
    int64_t end = 0;
    SSL_CTX *c = load(certificate, key, &end, err);
    SSL_CTX_free(c);
    if (expires)
        *expires = end;
    return c != NULL;
}

bool tls_reload(struct tls *t, struct err *err)
{
    int64_t expires = 0;
    struct err e = {0};
    pthread_mutex_lock(&t->loading);
    t->seen[0] = file_mark(t->certificate);
    t->seen[1] = file_mark(t->key);
    SSL_CTX *fresh = load(t->certificate, t->key, &expires, &e), *old = fresh;
    pthread_mutex_lock(&t->lock);
    if (fresh) {
        old = t->ctx;
        t->ctx = fresh;
        t->expires = expires;
    }
    memcpy(t->problem, e.text, sizeof t->problem); /* empty when they are sound */
    pthread_mutex_unlock(&t->lock);
    pthread_mutex_unlock(&t->loading);
    SSL_CTX_free(old);
    if (!fresh && err)
        *err = e;
    return fresh;
}

void tls_look(struct tls *t)
{
    struct file_mark now[2] = {file_mark(t->certificate), file_mark(t->key)};
    pthread_mutex_lock(&t->loading);
    bool same = file_mark_same(&now[0], &t->seen[0]) && file_mark_same(&now[1], &t->seen[1]);
    pthread_mutex_unlock(&t->loading);
    if (!same)
        tls_reload(t, NULL);
}

struct tls *tls_open(const char *certificate, const char *key, struct err *err)
{
    struct tls *t = calloc(1, sizeof *t);
    if (t) {
        t->certificate = strdup(certificate);
        t->key = strdup(key);
    }
    if (!t || !t->certificate || !t->key) {
        tls_close(t);
        err_set(err, -ENOMEM, "TLS: no memory");
        return NULL;
    }
    pthread_mutex_init(&t->lock, NULL);
    pthread_mutex_init(&t->loading, NULL);
    tls_reload(t, NULL);
    return t;
}

void tls_close(struct tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    free(t->certificate);
    free(t->key);
    free(t);
}

void tls_problem(struct tls *t, char out[500])
{
    pthread_mutex_lock(&t->lock);
    int64_t left = t->ctx ? t->expires - (int64_t)time(NULL) : TLS_SOON_S;
    memcpy(out, t->problem, sizeof t->problem);
    pthread_mutex_unlock(&t->lock);
    if (!*out && left <= 0)
        snprintf(out, sizeof t->problem, "certificate %s has expired", t->certificate);
    else if (!*out && left < TLS_SOON_S)
        snprintf(out, sizeof t->problem, "certificate %s expires in %lld days", t->certificate,
                 (long long)(left / 86400));
}

int64_t tls_expires(struct tls *t)
{
    pthread_mutex_lock(&t->lock);
    int64_t e = t->expires;
    pthread_mutex_unlock(&t->lock);
    return e;
}

/* ---- one connection ---------------------------------------------------------------------------
 */

void stream_open(struct stream *s, int fd)
{
    *s = (struct stream){.fd = fd};
}

int stream_sniff(struct stream *s)
{
    uint8_t first;
    ssize_t n;
    do
        n = recv(s->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n == 0 ? -EPIPE : errno == EWOULDBLOCK ? -EAGAIN : -errno;
    s->kind = first == HANDSHAKE_RECORD ? STREAM_TLS : STREAM_PLAIN;
    s->ready = s->kind == STREAM_PLAIN;
    return 0;
}

int stream_handshake(struct stream *s, struct tls *t, char text[128])
{
    char reason[160];
    *text = 0;
    ERR_clear_error();
    if (!s->ssl) {
        pthread_mutex_lock(&t->lock);
        s->ssl = t->ctx ? SSL_new(t->ctx) : NULL;
        pthread_mutex_unlock(&t->lock);
        if (!s->ssl || SSL_set_fd(s->ssl, s->fd) != 1) {
            snprintf(text, 128, "there is no certificate in use");
            return -EPROTO;
        }
        SSL_set_accept_state(s->ssl);
    }
    int r = SSL_do_handshake(s->ssl), e = SSL_get_error(s->ssl, r), code = errno;
    s->wants_write = r != 1 && e == SSL_ERROR_WANT_WRITE;
    if (r == 1) {
        s->ready = true;
        return 0;
    }
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
        return -EAGAIN;
    if (e == SSL_ERROR_SSL)
        snprintf(text, 128, "TLS: %.100s", why(reason));
    else
        snprintf(text, 128, "TLS: the client left in the handshake%s%s",
                 e == SSL_ERROR_SYSCALL && code ? ": " : "",
                 e == SSL_ERROR_SYSCALL && code ? strerror(code) : "");
    ERR_clear_error();
    return -EPROTO;
}

/* What a failed SSL call means. reading: which of the two it was. */
static int failed(struct stream *s, int r, bool reading)
{
    int code = errno, e = SSL_get_error(s->ssl, r);
    if (e == SSL_ERROR_WANT_READ) {
        s->wants_read_to_write = !reading;
        return -EAGAIN;
    }
    if (e == SSL_ERROR_WANT_WRITE) {
        s->wants_write_to_read = reading;
        return -EAGAIN;
    }
    s->ready = false;
    ERR_clear_error();
    if (e == SSL_ERROR_ZERO_RETURN)
        return 0;
    return e == SSL_ERROR_SYSCALL ? (code ? -code : 0) : -EPROTO;
}

ssize_t stream_read(struct stream *s, void *buf, size_t n)
{
    if (s->kind == STREAM_TLS) {
        if (!s->ready)
            return -EPROTO;
        ERR_clear_error();
        errno = 0;
        s->wants_write_to_read = false;
        int r = SSL_read(s->ssl, buf, n < INT32_MAX ? (int)n : INT32_MAX);
        return r > 0 ? r : failed(s, r, true);
    }
    ssize_t r;
    do
        r = recv(s->fd, buf, n, MSG_DONTWAIT);
    while (r < 0 && errno == EINTR);
    return r >= 0 ? r : errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

/* 0: all out. */
static int flush_held(struct stream *s)
{
    if (!s->held_len)
        return 0;
    int r = SSL_write(s->ssl, s->held, (int)s->held_len);
    if (r <= 0) {
        r = failed(s, r, false);
        return r ? r : -EPIPE;
    }
    free(s->held);
    s->held = NULL;
    s->held_len = 0;
    return 0;
}

/* Keeps a record that OpenSSL has begun. */
static bool hold(struct stream *s, const uint8_t *p, uint32_t n)
{
    s->held = malloc(n);
    if (!s->held)
        return false;
    memcpy(s->held, p, n);
    s->held_len = n;
    return true;
}

/* The next record's bytes: from one piece if it fills it or is the last, else put together. */
static uint32_t gather(const struct iovec *iov, int n, int i, size_t off, uint8_t *room,
                       const uint8_t **out)
{
    size_t left = iov[i].iov_len - off, have = 0;
    *out = (const uint8_t *)iov[i].iov_base + off;
    if (left >= STREAM_RECORD || i + 1 == n)
        return (uint32_t)(left < STREAM_RECORD ? left : STREAM_RECORD);
    *out = room;
    for (; i < n && have < STREAM_RECORD; i++, off = 0) {
        left = iov[i].iov_len - off;
        left = left < STREAM_RECORD - have ? left : STREAM_RECORD - have;
        memcpy(room + have, (const uint8_t *)iov[i].iov_base + off, left);
        have += left;
    }
    return (uint32_t)have;
}

static ssize_t tls_writev(struct stream *s, const struct iovec *iov, int n)
{
    uint8_t room[STREAM_RECORD];
    size_t taken = 0, off = 0;
    int i = 0;
    if (!s->ready)
        return -EPROTO;
    ERR_clear_error();
    errno = 0;
    s->wants_read_to_write = false;
    int r = flush_held(s);
    if (r < 0)
        return r;
    while (i < n && taken < TLS_AT_ONCE) {
        const uint8_t *p;
        if (off == iov[i].iov_len) {
            i++;
            off = 0;
            continue;
        }
        uint32_t len = gather(iov, n, i, off, room, &p);
        r = SSL_write(s->ssl, p, (int)len);
        if (r <= 0) {
            r = failed(s, r, false);
            if (r != -EAGAIN)
                return r ? r : -EPIPE;
            return hold(s, p, len) ? (ssize_t)(taken + len) : -ENOMEM;
        }
        taken += len; /* without partial writes a success is all of it */
        for (size_t left = len; left;) {
            size_t step = iov[i].iov_len - off < left ? iov[i].iov_len - off : left;
            left -= step;
            off += step;
            if (left) {
                i++;
                off = 0;
            }
        }
    }
    return (ssize_t)taken;
}

ssize_t stream_writev(struct stream *s, const struct iovec *iov, int n)
{
    n = n < 64 ? n : 64;
    if (s->kind == STREAM_TLS)
        return tls_writev(s, iov, n);
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
    ssize_t r;
    if (!n)
        return 0;
    do
        r = sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    return r >= 0 ? r : errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

bool stream_held(const struct stream *s)
{
    return s->held_len != 0;
}

bool stream_more(const struct stream *s)
{
    return s->ssl && s->ready && SSL_pending(s->ssl) > 0;
}

uint32_t stream_events(const struct stream *s, bool want_write)
{
    bool out = s->wants_write || s->wants_write_to_read ||
               ((want_write || s->held_len) && !s->wants_read_to_write);
    return EPOLLIN | (out ? EPOLLOUT : 0u);
}

void stream_close(struct stream *s)
{
    if (s->ssl) {
        ERR_clear_error();
        if (s->ready && !s->held_len)
            SSL_shutdown(s->ssl);
        SSL_free(s->ssl);
        ERR_clear_error();
    }
    free(s->held);
    if (s->fd >= 0)
        close(s->fd);
    *s = (struct stream){.fd = -1};
}

const char *stream_text(const struct stream *s, char out[64])
{
    if (s->ssl)
        snprintf(out, 64, "%s %s", SSL_get_version(s->ssl), SSL_get_cipher_name(s->ssl));
    else
        snprintf(out, 64, "plain");
    return out;
}
