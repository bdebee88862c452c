/* SPDX-License-Identifier: Apache-2.0 */
/* One socket, plain or TLS, never blocking, never raising SIGPIPE. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "client/client_int.h"

static bool to_unix(struct wire *w, const char *path, struct err *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path)
        return err_set(err, -EINVAL, "the path %s is too long for a socket", path);
    strcpy(a.sun_path, path);
    w->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (w->fd < 0 || connect(w->fd, (struct sockaddr *)&a, sizeof a)) {
        int e = errno;
        wire_close(w);
        return err_set(err, e == EACCES ? -EACCES : -ENOTCONN, "%s: %s", path, strerror(e));
    }
    return true;
}

bool wire_connect(struct wire *w, const struct address *a, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list, *i;
    int on = 1, e = 0;
    *w = (struct wire){.fd = -1};
    if (!a->port)
        return to_unix(w, a->host, err);
    e = getaddrinfo(a->host, a->port, &hints, &list);
    if (e)
        return err_set(err, -ENOTCONN, "%s: %s", a->text, gai_strerror(e));
    for (i = list, e = ECONNREFUSED; i; i = i->ai_next) {
        w->fd = socket(i->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (w->fd < 0)
            continue;
        setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(w->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        if (!connect(w->fd, i->ai_addr, i->ai_addrlen) || errno == EINPROGRESS)
            break;
        e = errno;
        close(w->fd);
        w->fd = -1;
    }
    freeaddrinfo(list);
    return w->fd >= 0 || err_set(err, -ENOTCONN, "%s: %s", a->text, strerror(e));
}

enum wire_verdict wire_connected(struct wire *w, struct err *err)
{
    struct pollfd p = {.fd = w->fd, .events = POLLOUT};
    int e = 0;
    socklen_t n = sizeof e;
    if (poll(&p, 1, 0) != 1) {
        w->wants = POLLOUT;
        return WIRE_AGAIN;
    }
    w->wants = 0;
    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &e, &n) || e) {
        err_set(err, -ENOTCONN, "%s", strerror(e ? e : errno));
        return WIRE_END;
    }
    return WIRE_OK;
}

/* ---- TLS: OpenSSL's own socket BIO writes without MSG_NOSIGNAL ---- */

static int fd_of(BIO *b)
{
    return (int)(intptr_t)BIO_get_data(b);
}
static int bio_write(BIO *b, const char *p, int n)
{
    ssize_t k = send(fd_of(b), p, (size_t)n, MSG_NOSIGNAL);
    BIO_clear_retry_flags(b);
    if (k < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(b);
    return (int)k;
}
static int bio_read(BIO *b, char *p, int n)
{
    ssize_t k = recv(fd_of(b), p, (size_t)n, 0);
    BIO_clear_retry_flags(b);
    if (k < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(b);
    return (int)k;
}
static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

bool wire_tls(struct wire *w, SSL_CTX *ctx, const char *host, bool verify, struct err *err)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "penstock");
    BIO *b = NULL;
    w->ssl = SSL_new(ctx);
    if (m && w->ssl) {
        BIO_meth_set_write(m, bio_write);
        BIO_meth_set_read(m, bio_read);
        BIO_meth_set_ctrl(m, bio_ctrl);
        b = BIO_new(m);
    }
    if (!b) {
        BIO_meth_free(m);
        return err_set(err, -ENOMEM, "no memory for TLS");
    }
    SSL_set_app_data(w->ssl, m); /* freed with it: wire_close */
    BIO_set_data(b, (void *)(intptr_t)w->fd);
    BIO_set_init(b, 1);
    SSL_set_bio(w->ssl, b, b);
    SSL_set_mode(w->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_tlsext_host_name(w->ssl, host);
    if (verify && !SSL_set1_host(w->ssl, host))
        return err_set(err, -EINVAL, "%s is no name for TLS", host);
    SSL_set_verify(w->ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    SSL_set_connect_state(w->ssl);
    return true;
}

static enum wire_verdict tls_verdict(struct wire *w, int r, struct err *err)
{
    int saved = errno, e = SSL_get_error(w->ssl, r);
    w->wants = 0;
    if (e == SSL_ERROR_WANT_READ)
        return WIRE_AGAIN;
    if (e == SSL_ERROR_WANT_WRITE) {
        w->wants = POLLOUT;
        return WIRE_AGAIN;
    }
    long verify = SSL_get_verify_result(w->ssl);
    unsigned long code = ERR_peek_last_error();
    if (verify != X509_V_OK)
        err_set(err, -EACCES, "TLS: %s", X509_verify_cert_error_string(verify));
    else if (e == SSL_ERROR_ZERO_RETURN || (e == SSL_ERROR_SYSCALL && !r))
        err_set(err, -ENOTCONN, "the daemon closed the connection");
    else if (code)
        err_set(err, -ENOTCONN, "TLS: %s", ERR_reason_error_string(code));
    else
        err_set(err, -ENOTCONN, "TLS: %s", saved ? strerror(saved) : "the connection ended");
    return WIRE_END;
}

enum wire_verdict wire_handshake(struct wire *w, struct err *err)
{
    ERR_clear_error();
    int r = SSL_do_handshake(w->ssl);
    return r == 1 ? (w->wants = 0, WIRE_OK) : tls_verdict(w, r, err);
}

enum wire_verdict wire_read(struct wire *w, void *to, size_t room, size_t *n, struct err *err)
{
    if (w->ssl) {
        ERR_clear_error();
        int r = SSL_read_ex(w->ssl, to, room, n);
        return r == 1 ? WIRE_OK : tls_verdict(w, r, err);
    }
    ssize_t k = recv(w->fd, to, room, 0);
    if (k > 0) {
        *n = (size_t)k;
        return WIRE_OK;
    }
    if (k < 0 && (errno == EAGAIN || errno == EINTR))
        return WIRE_AGAIN;
    err_set(err, -ENOTCONN, "%s", k ? strerror(errno) : "the daemon closed the connection");
    return WIRE_END;
}

enum wire_verdict wire_write(struct wire *w, const void *from, size_t len, size_t *n,
                             struct err *err)
{
    if (w->ssl) {
        ERR_clear_error();
        int r = SSL_write_ex(w->ssl, from, len, n);
        return r == 1 ? WIRE_OK : tls_verdict(w, r, err);
    }
    ssize_t k = send(w->fd, from, len, MSG_NOSIGNAL);
    if (k >= 0) {
        *n = (size_t)k;
        return WIRE_OK;
    }
    if (errno == EAGAIN || errno == EINTR)
        return WIRE_AGAIN;
    err_set(err, -ENOTCONN, "%s", strerror(errno));
    return WIRE_END;
}

void wire_close(struct wire *w)
{
    if (w->ssl) {
        BIO_METHOD *m = SSL_get_app_data(w->ssl);
        SSL_free(w->ssl);
        BIO_meth_free(m);
    }
    if (w->fd >= 0)
        close(w->fd);
    *w = (struct wire){.fd = -1};
}
