/* SPDX-License-Identifier: Apache-2.0 */
/*
 * byte_stream.h - the bytes of one connection, plain or TLS: a non-blocking descriptor with one
 * read and one write. TLS 1.2 or newer (OpenSSL), session tickets, no renegotiation, no
 * compression, no client certificates.
 *
 * Life: stream_open (takes the descriptor) -> stream_sniff until it says what the first byte is:
 * plain, or TLS (0x16, a handshake record; the first byte of a kdb+ login is a character of the
 * user's name or ':') -> for TLS stream_handshake until done (auth.h does it on its thread) ->
 * stream_read, stream_writev -> stream_close.
 *
 * What stream_writev says was taken counts as sent: it is never to be given again, whatever is
 * dropped or changed in the queue behind it. When the socket fills in the middle of a TLS record,
 * the stream keeps that record (16 KiB at most, freed when it is out). stream_events says what to
 * wait for.
 *
 * Memory of a TLS stream: about 6 KiB idle (buffers are released), 40 KiB while it moves data.
 *
 * THREADS: one owner at a time. struct tls is shared: tls_reload (control or auth) swaps the
 * certificate for handshakes that begin afterwards; the rest read it.
 */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>
#include "core/base.h"

#define TLS_SOON_S    (14 * 86400ll) /* so long before its end a certificate is a problem */
#define STREAM_RECORD 16384u         /* plain bytes of a TLS record, at most */

struct tls;

/* NULL only for want of memory; what is wrong with the files is tls_problem's. */
struct tls *tls_open(const char *certificate, const char *key, struct err *err);
void tls_close(struct tls *t); /* streams that use it stay sound; NULL is allowed */
/* Reads both files again. False: the ones of before stay in use, and tls_problem says why. */
bool tls_reload(struct tls *t, struct err *err);
void tls_look(struct tls *t); /* tls_reload if a file has changed; each second, auth */
/* "" when there is a pair in use, it lasts for TLS_SOON_S and the files are sound; else the
 * sentence. */
void tls_problem(struct tls *t, char out[500]);
int64_t tls_expires(struct tls *t); /* Unix seconds; 0: no certificate in use */

/* Reads certificate and key and says what is wrong with them: missing, unreadable, not PEM, no
 * pair, a key that others may read. That it has expired is the caller's to say. For --check. */
bool tls_check_files(const char *certificate, const char *key, int64_t *expires, struct err *err);

enum stream_kind { STREAM_UNKNOWN, STREAM_PLAIN, STREAM_TLS };

struct stream {
    int fd;
    enum stream_kind kind;
    bool ready; /* bytes may flow: plain, or the handshake is done */
    bool wants_write, wants_read_to_write, wants_write_to_read;
    struct ssl_st *ssl;
    uint8_t *held; /* plain bytes of a record that is not out yet */
    uint32_t held_len;
};

void stream_open(struct stream *s, int fd);
/* Looks at the first byte without taking it. -EAGAIN: none yet; 0: s->kind is known; -errno, or
 * -EPIPE at the end of input. */
int stream_sniff(struct stream *s);
/* 0: done; -EAGAIN: wait for stream_events; -EPROTO: text says why. */
int stream_handshake(struct stream *s, struct tls *t, char text[128]);

/* > 0 bytes; 0 end of input; -EAGAIN; -errno (-EPROTO: TLS). Any size of buf. */
ssize_t stream_read(struct stream *s, void *buf, size_t n);
/* Bytes taken, perhaps fewer than all; -EAGAIN: none; -errno. At most 64 of iov are looked at. */
ssize_t stream_writev(struct stream *s, const struct iovec *iov, int n);
/* Bytes that were taken and are not out: writev (n 0 is allowed) goes on with them. */
bool stream_held(const struct stream *s);
/* Bytes that OpenSSL has and epoll does not see: read again before waiting. */
bool stream_more(const struct stream *s);
/* EPOLLIN | EPOLLOUT as the stream needs it; want_write: the caller has something to send. */
uint32_t stream_events(const struct stream *s, bool want_write);
/* Says goodbye if that does not block, closes the descriptor. */
void stream_close(struct stream *s);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384", "plain". */
const char *stream_text(const struct stream *s, char out[64]);
