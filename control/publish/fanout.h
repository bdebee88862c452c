/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanout.h - frames of the journal in, shared messages for subscriptions out. No sockets, no files,
 * no clock of its own, no threads.
 *
 *   f = fanout_new(&config)
 *   fanout_subscribe(f, &spec, consumer, &id, &err)      at the position where f stands
 *   for each frame that a cursor gives:  fanout_frame(f, frame)
 *   fanout_flush(f, now)                                 after each handful of frames
 *        -> config.sink(arg, consumer, message)
 *
 * Owner: one thread makes all calls of one fanout. Many fanouts may share a dictionary if nobody
 * feeds it meanwhile; usually each has its cursor's. The publish threads keep one for each level;
 * the catchup thread makes one for each consumer that it serves.
 *
 * POSITION. A fanout stands at the end of the last frame given to it (or where fanout_at set it). A
 * subscription gets exactly the rows, marks and notices of frames behind the place where f stood
 * when it began, and when fanout_settle has been called or nothing is held, all of those before the
 * place where f stands. So a consumer changes from one fanout to another without hole or double:
 * bring the other to the same position; fanout_settle and fanout_drop here, fanout_subscribe there.
 *
 * WHAT A SUBSCRIPTION IS. Tables (some or all), symbols (some or all), a stripe (k of n), a WHERE
 * clause, columns, conflation, marks: struct fanout_spec. WHERE and columns are SQL's own
 * expressions (storage/query): "price > 10 and size >= 100", "time, sym, price * size as notional";
 * a comma between conditions means AND, and backticks stand for symbols, as kdb+ users write. They
 * are bound for each version of each table; one that cannot be bound is refused at fanout_subscribe
 * when a table of that name is known.
 *
 * EQUAL SUBSCRIPTIONS (of equal tables, symbols in any order, texts, entitlement, ...) are one
 * inside: rows are selected, evaluated and encoded once, and the sink gets the same message for
 * each consumer. A consumer that joins one that holds rows makes it send them first.
 *
 * COST. A row costs in proportion to the subscriptions it matches: those of all symbols of its
 * table, those of its symbol (a WHERE that asks for symbols counts as such: sym = `A, sym IN (..)),
 * and one look for each distinct n of stripes. A row that nobody wants costs a few ns, a frame
 * without subscriptions nothing per row.
 *
 * ORDER. Rows of one table come in the order of the journal, also over several messages and
 * versions of the table. A mark or notice comes behind all rows before it and before all behind it
 * (so it sends what is held). Tables of one flush come in the order of their first rows.
 *
 * BATCHES. `every` 0: fanout_flush sends what there is: a message per subscription and table (all
 * its tables in one with multi_publish). Else rows are held and sent when fanout_flush comes with a
 * `now` at or behind the next multiple of `every`. More than FANOUT_HELD bytes (of all
 * subscriptions) or FANOUT_MESSAGE_MOST (of one) are sent early. Under load give the frames of up
 * to a MiB between two flushes: messages get larger and everything cheaper.
 *
 * CONFLATION. Of the rows of one table that pass, only the last for each symbol (for each key, if
 * the table is keyed) is sent at a flush. `hold`: a subscription of one consumer that no flush
 * sends, only fanout_settle: rows wait, conflated, until the consumer can take them.
 *
 * FAILURES. An expression that cannot be evaluated (overflow, a bad cast), or that no longer binds
 * to a new version of its table: config.failed for each consumer of it, once, and it gets nothing
 * more of that table; the server ends the connection or says so. No memory: the rows concerned are
 * not sent, `lost_rows` counts them and config.failed is called likewise.
 *
 * STACK. Binding parses SQL with libpg_query: the thread that subscribes wants 8 MiB of stack.
 */
#pragma once

#include "core/frame.h"
#include "core/schema.h"
#include "core/tzone.h"
#include "publish/message.h"
#include "storage/dictionary.h"

#define FANOUT_MESSAGE_MOST (16u << 20)
#define FANOUT_HELD         (256u << 20)
#define FANOUT_STRIPES_MAX  256u
#define FANOUT_TEXT_MAX     (64u << 10) /* of a WHERE or column list */

/* Marks and notices that a subscription wants (a consumer gets each once, whatever the number of
 * its subscriptions). A date's .u.end comes when the last of the calendars that own its tables has
 * ended it: stock consumers save and empty all of their tables at once. Bits are those of
 * kdb/request.h where it has them; 16 (heartbeats) is the server's. */
enum {
    FANOUT_END = 1,     /* .u.end */
    FANOUT_EOI = 2,     /* .u.eoi */
    FANOUT_BUFFER = 4,  /* .dm.buff.start, .dm.buff.end */
    FANOUT_GAP = 8,     /* .pst.notice gap */
    FANOUT_NOTICE = 32, /* other notices: schema, and those of fanout_notice */
    FANOUT_STOCK = FANOUT_END | FANOUT_EOI | FANOUT_BUFFER
};

struct fanout_text { /* not NUL-terminated */
    const char *p;
    uint32_t len;
};
struct fanout_texts {
    bool all;
    uint32_t n; /* all false, n 0: none */
    const struct fanout_text *text;
};

/* What a user may read, for subscriptions to all tables: asked for each table, also those that
 * come later. Two users with the same `id` may read the same tables: their subscriptions are
 * shared. id 0: everything; the functions may be NULL then. */
struct fanout_rights {
    uint64_t id;
    bool (*may_read)(const void *user, const char *table);
    const void *user;
    void (*hold)(const void *user); /* taken while subscriptions need it; NULL: it outlives f */
    void (*release)(const void *user);
};

enum fanout_mode {
    FANOUT_REPLACE, /* .u.sub: instead of what this consumer has of these tables */
    FANOUT_ADD,     /* .u.add: symbols are united with those of its last subscription to the table
                     * that differs in nothing else; REPLACE where there is none */
    FANOUT_BESIDE   /* .pst.sub: another one; also not touched by later REPLACE and ADD */
};
enum fanout_form {
    FANOUT_TABLE,
    FANOUT_COLUMNS, /* a list of columns without names, as in logs */
    FANOUT_FRAMES   /* every frame of the journal as it is, at once: (`.pst.frames; bytes). Nothing
                     * else of the spec counts; symbols and schemas before it are the caller's */
};
enum fanout_time { FANOUT_AS_CONFIGURED, FANOUT_TIMESTAMP, FANOUT_TIMESPAN };

struct fanout_spec {
    struct fanout_texts tables, syms;
    struct fanout_text where, columns; /* len 0: none, all columns */
    struct fanout_rights rights;
    uint32_t stripe, stripes; /* stripes 0 or 1: all. Symbols whose fanout_stripe_of is `stripe` */
    uint8_t mode;             /* enum fanout_mode */
    uint8_t marks;            /* FANOUT_END ... */
    uint8_t form;             /* enum fanout_form */
    uint8_t time;             /* enum fanout_time: of the column `time` when columns is empty */
    bool conflate;
    bool hold;
    bool early;    /* named tables may be unknown yet (a reader that starts in the past) */
    int64_t every; /* ns between batches; 0: at once; negative: as configured */
};

struct fanout_config {
    struct dictionary *dict; /* knows what the frames need before they come (as a cursor's does);
                              * lives longer than the fanout */
    /* m is the fan-out's: whoever keeps it takes a reference (message_hold). No function of this
     * fanout may be called from here. */
    void (*sink)(void *arg, void *consumer, struct message *m);
    void (*failed)(void *arg, void *consumer, uint64_t id, const char *why);
    /* The calendar that owns a table, by name (days.h), and the last date that it has ended (days
     * since 2000, INT32_MIN: none). NULL: all tables belong to one. */
    const char *(*calendar_of)(void *arg, const char *table);
    int32_t (*last_end)(void *arg, const char *calendar);
    void *arg;
    int64_t every;            /* pub_freq in ns */
    bool multi_publish;       /* one message with several tables (`upd;tables;list of tables); of a
                               * single one as without it */
    bool timespan;            /* time as an offset from the midnight of its day */
    const struct tzone *zone; /* whose clocks times show, and midnight is in; NULL: UTC */
};

struct fanout *fanout_new(const struct fanout_config *cfg, struct err *err);
void fanout_free(struct fanout *f); /* what is held is not sent */

/* Where f stands; `at` is for a new one (or behind a jump that cursor.h reports as LOST). */
void fanout_at(struct fanout *f, uint64_t position);
uint64_t fanout_position(const struct fanout *f);

/*
 * consumer: the caller's, an address that means nothing here; never NULL. Everything in spec is
 * copied. err says what is wrong in one sentence (-ENOENT: unknown table, its text is the table's
 * name alone, as kdb+ says it; -EINVAL: where, columns, stripe; -ENOMEM). On false what the
 * consumer had is unchanged.
 */
bool fanout_subscribe(struct fanout *f, const struct fanout_spec *spec, void *consumer,
                      uint64_t *id, struct err *err);
/* Ends one subscription, or all of a consumer. What was held for it is not sent: fanout_settle. */
bool fanout_unsubscribe(struct fanout *f, void *consumer, uint64_t id);
void fanout_drop(struct fanout *f, void *consumer);
/* Sends what is held for this consumer (to all that share it), and its `hold` rows. */
void fanout_settle(struct fanout *f, void *consumer);

/*
 * The strings that clients without symbols send: "trade", "trade,quote", "" and "`" (all); `a`b
 * and a,b for symbols. Fills tables or syms; the texts point into `text`, the array is the
 * caller's. False: more than `room` of them.
 */
bool fanout_parse_names(const char *text, size_t len, struct fanout_text *array, uint32_t room,
                        struct fanout_texts *out);
/* The stripe of a symbol: FNV-1a (64 bits) of its text, modulo n. The same for ever. */
uint32_t fanout_stripe_of(const char *text, uint32_t len, uint32_t n);

/* Names and types as messages of this subscription have them for a table: what a reply shows. The
 * table need not be subscribed; spec.columns and time count. Keys only without columns. */
bool fanout_schema(struct fanout *f, const struct fanout_spec *spec, const char *table,
                   struct schema *out, struct err *err);

/* One frame, in order. It may be gone when this returns. */
void fanout_frame(struct fanout *f, const struct frame *frame);
/* Sends what is due. now: any clock that does not go back, ns; only `every` depends on it. */
void fanout_flush(struct fanout *f, int64_t now);
/* When fanout_flush should come again: 0 at once, INT64_MAX nothing waits. */
int64_t fanout_due(const struct fanout *f);
/* Sends everything that is held but `hold` subscriptions. */
void fanout_flush_all(struct fanout *f);
/* Takes m (the fan-out releases it): to all consumers with FANOUT_NOTICE, behind all rows so far.
 */
void fanout_notice(struct fanout *f, struct message *m);

struct fanout_figures {
    uint64_t frames, rows;                     /* seen */
    uint64_t matched;                          /* rows times subscriptions they went into */
    uint64_t sent_rows, messages;              /* encoded, counted once however many consumers */
    uint64_t deliveries, bytes;                /* sink calls, bytes of those */
    uint64_t lost_rows;                        /* not sent for want of memory, or malformed */
    uint64_t lost_symbols;                     /* ids without a text: sent as null */
    uint64_t failures;                         /* expressions that failed */
    uint32_t consumers, subscriptions, shared; /* shared: distinct ones */
    uint32_t texts;                            /* of symbols that are kept */
    uint64_t held; /* bytes of rows that wait, when they were moved last */
};
void fanout_figures(const struct fanout *f, struct fanout_figures *out);
