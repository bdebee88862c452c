/* SPDX-License-Identifier: Apache-2.0 */
/* A client: its options, addresses, errors. */
#include <errno.h>
#include <glob.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "client/client_int.h"

static _Thread_local char open_error[600];

const char *pst_open_error(void)
{
    return open_error;
}

int client_fail(struct pst_client *c, int code, const char *fmt, ...)
{
    char text[sizeof c->error]; /* its arguments may be the old one */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(c->error, text, sizeof text);
    return code;
}

const char *pst_error(const pst_client *c)
{
    return c->error;
}
const char *pst_address(const pst_client *c)
{
    return c->state == LINK_UP ? c->address[c->connected_to].text : "";
}
int pst_fd(const pst_client *c)
{
    return c->wire.fd;
}
int64_t pst_now(void)
{
    return clock_system();
}

void pst_wake(pst_client *c)
{
    uint64_t one = 1;
    ssize_t n = write(c->wake_fd, &one, sizeof one); /* full: it is awake anyway */
    (void)n;
}

/* ---- addresses ---- */

static bool address_parse(struct address *a, const char *text, size_t len, struct err *err)
{
    while (len && *text == ' ') {
        text++;
        len--;
    }
    while (len && text[len - 1] == ' ')
        len--;
    a->text = strndup(text, len);
    if (!a->text)
        return err_set(err, -ENOMEM, "no memory for an address");
    const char *rest = a->text;
    if (!strncmp(rest, "tls:", 4)) {
        a->tls = true;
        rest += 4;
    } else if (!strncmp(rest, "unix:", 5)) {
        rest += 5;
    }
    if (!a->tls && strchr(rest, '/')) {
        a->host = strdup(rest);
        return a->host || err_set(err, -ENOMEM, "no memory for an address");
    }
    const char *colon = strrchr(rest, ':'), *end = colon;
    if (!colon || colon == rest || !colon[1])
        return err_set(
            err, -EINVAL,
            "\"%.100s\" is no address: host:port, tls:host:port, or the path of a socket", a->text);
    if (*rest == '[' && colon[-1] == ']') { /* [::1]:5010 */
        rest++;
        end--;
    }
    a->host = strndup(rest, (size_t)(end - rest));
    a->port = strdup(colon + 1);
    return (a->host && a->port) || err_set(err, -ENOMEM, "no memory for an address");
}

static bool addresses_parse(struct pst_client *c, const char *text, struct err *err)
{
    glob_t g = {0};
    if (!text) {
        if (glob("/run/penstock/*.ipc", 0, NULL, &g) || g.gl_pathc != 1) {
            size_t n = g.gl_pathc;
            globfree(&g);
            return err_set(err, -EINVAL, "%s in /run/penstock: say the address of one",
                           n ? "there are several daemons' sockets" : "no daemon's socket is");
        }
        text = g.gl_pathv[0];
    }
    unsigned n = 1;
    for (const char *p = text; *p; p++)
        n += *p == ',';
    c->address = calloc(n, sizeof *c->address);
    bool ok = c->address || err_set(err, -ENOMEM, "no memory for addresses");
    while (ok) {
        size_t len = strcspn(text, ",");
        ok = address_parse(&c->address[c->naddresses++], text, len, err);
        if (!text[len])
            break;
        text += len + 1;
    }
    globfree(&g);
    return ok;
}

/* ---- life ---- */

static char *copy(const char *s, bool *ok)
{
    char *p = s ? strdup(s) : NULL;
    *ok &= !s || p;
    return p;
}

static bool prepare(struct pst_client *c, const struct pst_options *o, struct err *err)
{
    struct kdb_out login = {0};
    bool ok = true;
    size_t size = o->size < sizeof c->o ? o->size : sizeof c->o;
    if (size < offsetof(struct pst_options, connect_ms))
        return err_set(err, -EINVAL, "options.size is not set: begin with PST_OPTIONS_INIT");
    memcpy(&c->o, o, size);
    c->o.user = copy(c->o.user ? c->o.user : "", &ok);
    c->o.password = copy(c->o.password ? c->o.password : "", &ok);
    c->o.ca_file = copy(c->o.ca_file, &ok);
    const char *addresses = c->o.addresses;
    c->o.addresses = NULL;
    if (!c->o.queue_bytes)
        c->o.queue_bytes = 64u << 20;
    if (!c->o.batch_rows)
        c->o.batch_rows = 1000;
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!ok || c->wake_fd < 0)
        return err_set(err, -ENOMEM, "no memory or descriptor for a client");
    if (!kdb_login_write(&login, c->o.user, c->o.password)) {
        kdb_out_free(&login);
        return err_set(err, -EINVAL, "user and password are too long, or the user has a colon");
    }
    memcpy(c->login, login.data, login.len);
    c->login_len = login.len;
    kdb_out_free(&login);
    return addresses_parse(c, addresses, err);
}

pst_client *pst_open(const struct pst_options *options)
{
    struct err err = {0};
    struct pst_client *c = calloc(1, sizeof *c);
    *open_error = 0;
    if (!c) {
        snprintf(open_error, sizeof open_error, "no memory for a client");
        return NULL;
    }
    c->wire.fd = c->wake_fd = -1;
    if (!prepare(c, options, &err)) {
        snprintf(open_error, sizeof open_error, "%s", err.text);
        pst_close(c);
        errno = -err.code;
        return NULL;
    }
    /* each address once */
    for (unsigned i = 0; i < c->naddresses && c->state != LINK_UP; i++) {
        c->attempt_at = 0;
        do
            if (link_step(c, INT64_MAX) == -EINTR) {
                snprintf(open_error, sizeof open_error, "woken");
                pst_close(c);
                return NULL;
            }
        while (c->state != LINK_UP && c->state != LINK_DOWN);
    }
    if (c->state != LINK_UP) {
        snprintf(open_error, sizeof open_error, "%s", c->error);
        pst_close(c);
        errno = ENOTCONN;
        return NULL;
    }
    *c->error = 0;
    return c;
}

void pst_close(pst_client *c)
{
    if (!c)
        return;
    feed_free(c->feed);
    streams_free(c->streams);
    shared_close(c->shared);
    publish_free(c);
    wire_close(&c->wire);
    if (c->session_on)
        kdb_session_free(&c->session);
    SSL_CTX_free(c->tls);
    for (uint32_t i = 0; i < c->pending_count; i++)
        free(link_pending(c, i)->bytes);
    free(c->pending);
    tables_free(c->tables);
    for (unsigned i = 0; i < c->naddresses; i++) {
        free(c->address[i].text);
        free(c->address[i].host);
        free(c->address[i].port);
    }
    free(c->address);
    if (c->wake_fd >= 0)
        close(c->wake_fd);
    free((char *)c->o.user);
    if (c->o.password)
        explicit_bzero((char *)c->o.password, strlen(c->o.password));
    free((char *)c->o.password);
    free((char *)c->o.ca_file);
    explicit_bzero(c->login, sizeof c->login);
    free(c);
}

int pst_step(pst_client *c, int timeout_ms)
{
    if (c->role == ROLE_SUBSCRIBER)
        return client_fail(c, -EBUSY, "a subscriber takes its events with pst_next");
    int r = link_step(c, deadline_of(timeout_ms));
    return r;
}

uint64_t pst_position(const pst_client *c)
{
    return c->position;
}
