/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hdb_sym.h - the database's `sym` file as its one appender sees it: journal id -> index.
 *
 * An index is for ever: names are only added at the end. Normally index = journal id (identity, the
 * fast path); with a foreign or older file, texts that are already there keep their index and a map
 * translates. An id whose text was lost (symbols_skip) or is empty maps to null.
 *
 * Adding: under q's lock (fcntl write lock on the whole file; waits up to HDB_SYM_LOCK_NS), the
 * file is read on first (q may have added names), then the missing texts are appended in id order,
 * the file is synced, the advisory count in its header set. Only ids below the durable position may
 * be given.
 *
 * After a crash the tail may hold a name without its NUL, or zeros where names were never written:
 * it is cut back to the last whole name (no partition can use what was never synced). That needs
 * the lock too.
 *
 * Backup: hdb_sym_backup copies the file to <root>/pst$/sym.YYYY.MM.DD (q ignores names that end in
 * '$'), synced, through a temporary name; HDB_SYM_BACKUPS newest are kept.
 *
 * Owner: one thread (writedown's, or a verb). The texts are read by nobody else.
 */
#pragma once

#include "core/io.h"
#include "core/symbols.h"

#define HDB_SYM_LOCK_NS (30 * 1000000000ll)
#define HDB_SYM_BACKUPS 400u
#define HDB_SIDE_DIR    "pst$" /* in the root: backups, the lock */

struct hdb_sym {
    struct io *io;
    char root[1024];
    int fd;
    uint64_t size;   /* bytes read so far = size of the file */
    uint32_t count;  /* names in it */
    uint64_t cut;    /* bytes of a torn tail that hdb_sym_open cut off */
    int64_t lock_ns; /* how long to wait for the lock; HDB_SYM_LOCK_NS */
    bool identity;   /* index == id for all ids mapped so far */
    uint32_t mapped; /* ids below this have an index */
    int64_t *map;    /* [mapped]; NULL while identity */
    uint32_t map_room;
    struct hdb_sym_text *texts; /* private: offsets of the names, and their hash */
};

/* Opens or creates <root>/sym and repairs its tail. */
bool hdb_sym_open(struct hdb_sym *s, struct io *io, const char *root, struct err *err);
void hdb_sym_close(struct hdb_sym *s);

/* The file as it is, for a reader beside the appender (a loader's worker): never locked, repaired
 * or created; a torn tail is not read, ids are indexes. A file that is not there has no names. */
bool hdb_sym_read(struct hdb_sym *s, struct io *io, const char *root, struct err *err);
/* Reads on: names that were added since. */
bool hdb_sym_read_on(struct hdb_sym *s, struct err *err);

/* Texts of journal ids: id -> text (len 0: none). symbols.h's table and storage/dictionary.h both
 * fit. */
typedef const char *(*hdb_sym_source)(const void *arg, uint32_t id, uint32_t *len);
const char *hdb_sym_from_symbols(const void *symbols, uint32_t id, uint32_t *len);
const char *hdb_sym_from_dictionary(const void *dictionary, uint32_t id, uint32_t *len);

/* Makes ids [0, upto) known: maps them and appends what is missing, synced. Cheap when nothing is
 * new. False: nothing was changed that matters (a torn tail is cut by the next call). A file that
 * was replaced meanwhile (restored, or gone) gets what it lacks first; one with other names, or cut
 * short in place, is refused. */
bool hdb_sym_extend(struct hdb_sym *s, hdb_sym_source text, const void *arg, uint32_t upto,
                    struct err *err);
/* Index of an id below `mapped`: PST_NULL_LONG for the null symbol or a lost text. */
static inline int64_t hdb_sym_index(const struct hdb_sym *s, uint32_t id)
{
    if (id == PST_NULL_SYMBOL)
        return INT64_MIN;
    pst_must(id < s->mapped);
    return s->map ? s->map[id] : (int64_t)id;
}
/* Appends one text that is in no journal (verbs: a default of add-column). -1 and a sentence on
 * failure. */
int64_t hdb_sym_add(struct hdb_sym *s, const char *text, uint32_t len, struct err *err);
const char *hdb_sym_text(const struct hdb_sym *s, int64_t index,
                         uint32_t *len);                                       /* NULL: none such */
int64_t hdb_sym_find(const struct hdb_sym *s, const char *text, uint32_t len); /* -1: none such */

bool hdb_sym_backup(struct hdb_sym *s, int32_t date, struct err *err);
