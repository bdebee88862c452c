/* SPDX-License-Identifier: Apache-2.0 */
/*
 * users.h - who may do what over kdb+ IPC: the users file (key ipc.users), the same rules for
 * queries and for streams.
 *
 *   groups:
 *     readers:  {tables: [trade, quote], rows: 1M, timeout: 10s}
 *     desk:     {groups: [readers], publish: [orders]}
 *   users:
 *     alice:
 *       scram: SCRAM-SHA-256$4096:<salt>$<stored key>:<server key>     # penstock user add alice
 *       groups: [desk]
 *       networks: [10.1.0.0/16, 127.0.0.1]
 *
 * Keys of a user (users.def; all but scram also of a group):
 *   scram      verifier of the password, as PostgreSQL writes it (scram.h), or external: the
 *              program at ipc.validator says at each login whether the password is right
 *              (validator.h); must be given
 *   groups     groups whose rules it has too; groups may name groups
 *   tables     tables it may read, by query and by subscription: all, none (default) or a list
 *   publish    tables it may publish to: all, none (default) or a list
 *   calls      named queries it may call: all (default), none or a list
 *   sql        whether it may ask in SQL (default true); named queries are `calls`
 *   rows       largest answer in rows (default: query_rows; never more than it)
 *   bytes      largest answer in bytes (default 2G, the most that kdb+ IPC takes here)
 *   timeout    longest query (default: query_timeout; never more than it)
 *   streams    most computations of streaming analytics that it has begun and that run (default
 *              1000); joining one that runs counts for nobody
 *   policy     what happens when it reads too slowly: disconnect, catchup, conflate, skip
 *              (default: consumer_policy)
 *   durable_only  whether it sees only what is synced to disk (default false)
 *   partial    whether it gets answers that lack rows, instead of an error (default false)
 *   marks      eod, eoi, buffer: whether a stock subscriber gets those calls (default true each)
 *   networks   where it may come from (default: anywhere)
 * tables, publish and calls of a user and of all its groups add up. Everything else: its own value,
 * else that of the first group, in the order named and depth first, that has one.
 *
 * Without a users file (path NULL) everyone is the user "" with every right; config_check refuses
 * that beyond loopback. A file that cannot be loaded at the start lets nobody in, at a reload the
 * rules of before stay; either way users_problem says why (alarm ipc.users). The file and every
 * directory above it must belong to root or to this process's user and be writable by no other;
 * others may not read it.
 *
 * SNAPSHOTS. A struct user is immutable and belongs to the load that it came from; who keeps one
 * holds it (users_find, user_hold) and gives it back (user_release). Any thread; a mutex is held
 * for a look-up only, never across I/O.
 *
 * RELOAD. users_look (auth thread, each second) loads the file when it has changed; users_reload
 * (control: `penstock config reload`) does so at once. Both raise the generation, if the load was
 * sound. A publish thread compares users_generation (one relaxed load) with the one it saw and then
 * asks users_again for each of its connections.
 */
#pragma once

#include "address.h"

#define USERS_FILE_MAX    (4u << 20)
#define USERS_MAX         10000u
#define USERS_GROUPS_MAX  1000u
#define USERS_DEPTH       16  /* groups within groups */
#define USER_NAME_MAX     63u /* bytes; no ':' (kdb+'s separator), no control characters */
#define USER_EXTERNAL     "external"
#define USER_POLICY_UNSET (-1)
#define USER_STREAMS      1000 /* unless its rules say otherwise */

/* In the order of key consumer_policy. */
enum user_policy { USER_DISCONNECT, USER_CATCHUP, USER_CONFLATE, USER_SKIP };

struct users;

struct user_names {
    bool all;
    const char **at; /* sorted by strcmp */
    uint32_t count;
};

struct user {
    const char *name;
    const char *scram; /* NULL: "" and local users, who have no password */
    bool external;     /* scram is USER_EXTERNAL: no verifier, the validator is asked */
    struct user_names tables, publish, calls;
    bool sql, durable_only, partial, marks_eod, marks_eoi, marks_buffer;
    int64_t rows;    /* 0: query_rows */
    int64_t bytes;   /* of one answer */
    int64_t timeout; /* ns; 0: query_timeout */
    int64_t streams; /* computations; 0: as many as there may be */
    int policy;      /* enum user_policy, or USER_POLICY_UNSET: consumer_policy */
    const struct network *networks;
    uint32_t n_networks; /* 0: anywhere */
    struct users_load *load;
};

/* Never NULL but for want of memory: a file that is not sound is a `users_problem`. */
struct users *users_open(const char *path, struct err *err);
void users_close(struct users *u); /* held users stay valid until they are released */

/* The user of that name, held; NULL: there is none. */
const struct user *users_find(struct users *u, const char *name, size_t len);
/* For the unix socket: operate may publish to every table, view reads all; held. NULL: no memory.
 */
const struct user *user_local(uid_t uid, bool may_publish);
const struct user *user_hold(const struct user *u);
void user_release(const struct user *u); /* NULL is allowed */

bool user_may_read(const struct user *u, const char *table);
bool user_may_publish(const struct user *u, const char *table);
bool user_may_call(const struct user *u, const char *named_query);
/* May u read every table that `other` may? */
bool user_reads_all_of(const struct user *u, const struct user *other);
bool user_may_come(const struct user *u, const struct address *from);

bool users_reload(struct users *u, struct err *err);
void users_look(struct users *u);
/* No users file: everyone is "". */
bool users_open_to_all(const struct users *u);
uint64_t users_generation(const struct users *u);
unsigned users_count(struct users *u);
/* Iterations that every check costs: the most of any verifier of the file (scram.h). */
uint32_t users_iterations(struct users *u);
/* "" when the file is sound; else the sentence. */
void users_problem(struct users *u, char out[500]);

/*
 * After the generation changed, for the user that a connection holds: the one to go on with, which
 * is the same one when its rules did not change (as for local users); else another one, held, and
 * `held` is released. NULL: close the connection, which still holds `held`; `why` is a sentence
 * (removed, another password, another network).
 * A connection whose new user may not read a table that it subscribes to is to be closed as well.
 */
const struct user *users_again(struct users *u, const struct user *held, const struct address *from,
                               char why[160]);

/* The file's text; for `penstock user` and the fuzzer. false: one sentence with file:line in err.
 * The load is released with users_load_free. */
bool users_parse(const char *file, const char *text, size_t size, struct users_load **out,
                 struct err *err);
void users_load_free(struct users_load *l);
unsigned users_load_count(const struct users_load *l);
const struct user *users_load_at(const struct users_load *l, unsigned i); /* by name */
/* Where a user's scram value stands in the text, for `penstock user passwd`; 0-based, columns in
 * characters. False: no such user. */
bool users_load_scram_at(const struct users_load *l, const char *name, size_t *line, size_t *column,
                         size_t *end_line, size_t *end_column);
/* The keys, one a line. */
void users_help(FILE *out);
/* Reads and checks file, mode and owner; malloc'ed text. */
char *users_read(const char *path, size_t *size, struct err *err);
