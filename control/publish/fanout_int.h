/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanout_int.h - what the files of the fan-out share. fanout.h is the manual.
 *
 *   fanout.c        life, frames -> rows of streams, flushing
 *   fanout_sub.c    consumers, subscriptions, groups
 *   fanout_spec.c   subscriptions as values: canonical form, sets of tables, key, texts
 *   fanout_table.c  versions of tables: which streams a row goes to
 *   fanout_last.c   conflation
 *   fanout_marks.c  marks and notices
 *   encode.c        rows -> columns
 *
 *   consumer ──< member >── group (one for all equal subscriptions)
 *                             └─< stream (group × version of a table): rows waiting, in order
 *   table (version) ─ all, by symbol, by stripe ─> streams;  shapes: layout and filter, shared by
 *                                                            streams of equal texts
 *   beat (interval) ─> streams with rows, in the order of their first ones
 */
#pragma once

#include "publish/encode.h"
#include "publish/fanout.h"

/* ---- subscriptions as values (fanout_spec.c) ---- */

struct names { /* sorted, distinct; `but`: all names but these */
    bool but;
    uint32_t n;
    struct fanout_text *text;
};
bool names_has(const struct names *s, const char *p, size_t len);

struct spec { /* immutable; one block of memory with all its texts */
    struct names tables, syms;
    struct fanout_text where, columns;
    struct fanout_rights rights;
    uint32_t stripe, stripes; /* stripes 1: all */
    bool columns_form, timespan, conflate, hold;
    int64_t every;
    void *owner; /* of a `hold`: the consumer */
    struct fanout_text key;
};
struct spec *spec_make(const struct fanout_spec *from, const struct fanout_config *cfg,
                       void *consumer, struct err *err);
/* What of a is also in b's tables (inside) or is not; syms of both if `unite`. NULL: no memory. An
 * empty set of tables: spec_empty. */
struct spec *spec_cut(const struct spec *a, const struct spec *b, bool inside, bool unite);
bool spec_empty(const struct spec *s);
bool spec_overlap(const struct spec *a, const struct spec *b);
/* Do they differ in tables and symbols only? */
bool spec_akin(const struct spec *a, const struct spec *b);
bool spec_wants(const struct spec *s, const char *table);
uint64_t spec_hash(const void *p, size_t n);

/* ---- streams ---- */

struct stream_list {
    struct stream **s;
    uint32_t n, room;
};
bool list_add(struct stream_list *l, struct stream *s);
void list_remove(struct stream_list *l, struct stream *s);

struct shape { /* of one version of a table */
    struct shape *next;
    struct fanout_text where, columns;
    bool timespan, columns_form;
    uint32_t users;
    struct filter *filter; /* NULL: all rows, all columns */
    struct layout layout;
};

struct table { /* one version */
    const struct schema *schema;
    struct stream_list streams, all;
    uint32_t *by_symbol; /* code -> 1 + index in lists */
    uint32_t symbols;    /* codes that by_symbol covers */
    struct stream_list *list;
    uint32_t lists, list_room;
    struct stripes {
        uint32_t n, users;
        struct stream_list *by; /* n of them */
    } * stripes;
    uint32_t nstripes;
    struct shape *shapes;
    bool wanted; /* has streams */
    bool newest; /* rows of another version of this name have not come since */
};

struct stream {
    struct group *group;
    struct table *table;
    struct shape *shape;
    uint32_t *row; /* staged, in order */
    uint32_t n, room;
    struct folded folded;
    struct last *last; /* conflated rows */
    uint64_t first;    /* position of the first row that waits */
    bool waiting, failed;
    uint32_t at; /* in the beat's list */
    struct stream *next_pending;
};

struct beat {      /* all that is sent at the same times */
    int64_t every; /* 0 at once, INT64_MAX only when asked */
    int64_t due;   /* 0: not known yet */
    struct stream **waiting;
    uint32_t n, room, holes;
};

struct member {
    struct consumer *consumer;
    uint32_t at; /* in the consumer's list */
};
struct group {
    struct group *next; /* of its hash slot */
    uint64_t hash;
    uint32_t at; /* in fanout.group */
    bool shared; /* has a hash slot: others may join; not when something failed */
    struct spec *spec;
    struct beat *beat;
    struct member *member;
    uint32_t members, member_room;
    struct stream_list streams;
    struct stream *pending; /* with multi_publish: last one, a ring through next_pending */
};

struct membership {
    struct group *group;
    uint32_t at; /* in the group's list */
    uint64_t id;
    uint8_t marks;
    bool beside;
};
struct consumer {
    struct consumer *next; /* of its hash slot */
    void *who;
    uint32_t at; /* in fanout.consumer */
    struct membership *member;
    uint32_t members, room;
};

struct calendar_end {
    char name[32];
    int32_t day;
};

struct fanout {
    struct fanout_config cfg;
    struct filter_syms syms;
    struct encoder encoder;
    uint64_t position;
    int64_t time;
    uint64_t next_id;
    struct table **table;  /* by id, TABLE_MAX */
    uint64_t *stripe_hash; /* by code, 0: not known yet */
    uint32_t stripe_hashes;
    struct beat **beat;
    uint32_t beats;
    struct group **group;
    uint32_t groups, group_room;
    struct group **group_slot; /* as many as the consumer's */
    struct consumer **consumer_slot;
    uint32_t slots; /* of either, a power of two */
    struct consumer **consumer;
    uint32_t consumers, consumer_room;
    uint32_t subscriptions;
    struct verbatim { /* consumers of frames as they are */
        void *who;
        uint64_t id;
    } * verbatim;
    uint32_t verbatims, verbatim_room;
    uint32_t wanting[8]; /* memberships, by bit of marks */
    struct calendar_end end[16];
    uint32_t ends;
    uint64_t held_rows; /* staged rows that streams hold */
    uint64_t left_syms; /* symbols of subscriptions that ended since tables_compact */
    uint32_t kept_syms; /* texts that it kept */
    struct fanout_figures figures;
};

/* fanout_table.c */
/* Without streams. NULL: no such schema, or no memory. */
struct table *table_open(struct fanout *f, unsigned id);
/* With those of all groups that want it; they hear of it if it cannot be. */
struct table *table_meet(struct fanout *f, unsigned id);
void table_close(struct fanout *f, struct table *t);
/* A group's stream over a version of a table. False: err. */
bool table_stream(struct fanout *f, struct table *t, struct group *g, struct err *err);
void table_unstream(struct fanout *f, struct stream *s); /* frees it */
void table_unindex(struct fanout *f, struct stream *s);  /* no more rows for it */
/* All versions of the names that it wants. False: err; it has no streams then. */
bool tables_join(struct fanout *f, struct group *g, struct err *err);
/* Forgets the texts that only subscriptions of the past named, if these are many. */
void tables_compact(struct fanout *f);
uint64_t table_stripe_hash(struct fanout *f, uint32_t code);
struct shape *shape_take(struct fanout *f, struct table *t, const struct spec *s, struct err *err);
void shape_give(struct table *t, struct shape *s);

/* fanout.c */
struct beat *beat_of(struct fanout *f, int64_t every);
void stream_discard(struct fanout *f, struct stream *s); /* what waits is not sent */
void stream_send(struct fanout *f, struct stream *s);
void group_send(struct fanout *f, struct group *g);
void stream_fail(struct fanout *f, struct stream *s, const char *why);
void deliver(struct fanout *f, struct group *g, struct message *m);
/* Empties the arena: all rows that wait are folded. */
void fanout_fold(struct fanout *f);

/* fanout_sub.c */
/* Tells all consumers of a group why they get no more of something; nobody joins it any more. */
void group_tell(struct fanout *f, struct group *g, const char *why);
void subscriptions_free(struct fanout *f);
/* Sends what waits for a consumer. */
void consumer_settle(struct fanout *f, struct consumer *c);

/* fanout_last.c */
struct last;
struct last *last_new(const struct schema *s);
void last_free(struct last *l);
bool last_put(struct last *l, const struct encoder *e, uint32_t row); /* false: no memory */
uint32_t last_count(const struct last *l);
size_t last_bytes(const struct last *l);
/* Stages the next rows, oldest first, as long as the arena takes them: rows has room for `most`.
 * 0: none left, or no room. last_clear behind the last one. */
uint32_t last_take(struct last *l, struct encoder *e, uint32_t *rows, uint32_t most);
void last_clear(struct last *l);

/* fanout_marks.c */
void marks_frame(struct fanout *f, const struct frame *frame);
void marks_gap(struct fanout *f, const struct frame *frame);
void marks_schema(struct fanout *f, const struct schema *s);
