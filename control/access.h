/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access.h - the access log: who came, who was refused and why, what was asked and what it cost.
 *
 * One JSON object a line in <state_directory>/<instance>.access.YYYY.MM.DD (mode 0640; the date is
 * the open trading date), bounded by access_log_size a date (0: no access log):
 *   {"time":"2026.11.22D14:30:00.000000000","event":"login","connection":7,"user":"alice",
 *    "from":"10.1.2.3:40112","text":"tickerplant TLSv1.3 …"}
 *   {…,"event":"query","id":41,"text":"select …"}                             before it runs
 *   {…,"event":"answer","id":41,"ms":12.4,"rows":100,"bytes":5120,"memory":1048576}
 *   {…,"event":"error","id":41,"ms":0.1,…,"memory":0,"reason":"no table named tradee"}
 * Queries over the control socket stand there too, without a connection: user and from are uid and
 * pid. memory: the most bytes that the query's arena held at once (query_wire.h).
 * Updates are not logged one by one: `close` has the connection's totals of rows and bytes.
 * Texts are escaped (no line can be forged; what is no UTF-8 is shown as \u00XX) and cut at
 * ACCESS_TEXT bytes ("cut":true).
 *
 * Strangers must not fill it: of refusals 100 at once and ten a second are logged (the next one
 * says how many were not: "unlogged"), and up to three quarters of access_log_size.
 *
 * access_log never blocks but for a mutex that is held for a copy: a bounded queue of ACCESS_QUEUE
 * bytes, written by the thread "errors", which may block. What does not fit there or in the file is
 * counted as access.lost, the rest as access.logged.
 *
 * THREADS: access_log: any. open, tick, close: control. access_work: the thread "errors".
 */
#pragma once

#include "address.h"

#define ACCESS_QUEUE (1u << 20)
#define ACCESS_TEXT  4096u

struct access;
struct daemon;

enum access_event_kind {
    ACCESS_LOGIN,       /* text: port's name, kind of stream */
    ACCESS_REFUSE,      /* reason */
    ACCESS_CLOSE,       /* reason; rows and bytes: all that it took and sent */
    ACCESS_QUERY,       /* id, text: before it runs */
    ACCESS_ANSWER,      /* id, duration, rows, bytes, memory: afterwards */
    ACCESS_ERROR,       /* the same, reason; text if it never ran */
    ACCESS_SUBSCRIBE,   /* text: tables, symbols, where */
    ACCESS_UNSUBSCRIBE, /* text */
    ACCESS_DENY,        /* a right is missing: reason, text; the connection stays */
    ACCESS_KICK,        /* reason; text: by whom */
    ACCESS_POLICY,      /* a consumer that is too slow: reason */
    ACCESS_RELOAD,      /* text: the users file was loaded; or reason */
    ACCESS_KINDS
};

/* What is 0 or NULL is left out. */
struct access_entry {
    enum access_event_kind event;
    uint64_t connection;
    const char *user;
    const struct address *from;
    int64_t id;
    const char *text, *reason;
    size_t text_len; /* 0: strlen */
    bool outcome;    /* duration, rows, bytes and (of a query) memory are shown, be they 0 */
    int64_t duration_ns, rows, bytes, memory;
    int64_t unlogged; /* access_log's */
};
#define ACCESS_ENTRY(...) ((struct access_entry){__VA_ARGS__})

struct access *access_open(const char *directory, const char *instance, int64_t size,
                           struct err *err);
void access_close(struct access *a); /* writes what waits; NULL is allowed */
/* a NULL: no access log. */
void access_log(struct access *a, const struct access_entry *e);
/* Each tick: the open date, and what to do at access_log_size. */
void access_tick(struct access *a, int32_t day, int64_t size);
/* Writes up to 64 lines; returns how many. Totals since the start in *logged and *lost. */
int access_work(struct access *a);
void access_totals(struct access *a, uint64_t *logged, uint64_t *lost);

/* One entry as a line with its line end into out (NUL-terminated); its length. Pure: tests. */
size_t access_line(const struct access_entry *e, int64_t time, char *out, size_t size);
/* Length of the UTF-8 character at s (n >= 1 bytes); 0: it is none. Pure. */
size_t access_utf8(const uint8_t *s, size_t n);
#define ACCESS_LINE 32768u /* room for any line */
