/* SPDX-License-Identifier: Apache-2.0 */
/* hdb_private.h - between hdb*.c: what an open database is made of. Lock order: hdb, then part. */
#pragma once

#include <pthread.h>
#include "hdb.h"

#define HDB_PATH     1024
#define HDB_MAPS_MAX 24000u /* of vm.max_map_count's default 65,530 */

/* Which file of a name was read: a replaced one differs. */
struct hdb_ident {
    uint64_t dev, ino, size;
    int64_t modified;
};

struct hdb_where {
    int32_t date;
    uint32_t disk;
};

struct hdb_texts { /* the sym file as read so far */
    struct hdb_ident file;
    uint64_t parsed; /* bytes, up to the end of the last whole name */
    struct hdb_text {
        const char *text;
        uint32_t len;
    } * text;
    uint64_t count, room;
    uint32_t *hash; /* index + 1 */
    uint64_t slots, hashed;
    char **chunk; /* what the texts point into; kept until close */
    uint32_t nchunks;
};

struct hdb_open_column {
    struct hdb_column pub;
    struct kdb_column file;
    void *converted; /* free */
    bool tried;
    struct err err; /* why not */
};

struct hdb_open_part {
    struct hdb_part pub;
    struct hdb *hdb;
    unsigned refs;
    bool cached;
    struct hdb_ident names; /* of `.d` */
    struct hdb_meta *meta;
    pthread_mutex_t lock; /* of all below */
    bool *present;        /* by column of the table: `.d` has it */
    struct hdb_open_column *col;
    struct hdb_index index;
    bool index_tried;
    struct err index_err;
    unsigned maps;
    char path[];
};

struct hdb_open_table {
    struct hdb_table pub;
    struct hdb *hdb;
    struct hdb_open_table *next;
    unsigned refs;
    bool cached; /* still in the list: the schema is that of the newest date */
    struct hdb_ident names;
    char *name_list; /* `.d` of the newest date, as it is */
    size_t name_bytes;
    struct hdb_open_part **part; /* by date, of those that are open */
    uint32_t nparts, room;
    struct hdb_column_info *col;
    char *texts; /* names and sentences */
};

struct hdb {
    char root[HDB_PATH];
    char **disk;
    unsigned ndisks;
    struct hdb_where *date; /* ascending; of a date on two disks the first one */
    int32_t *dates;
    uint32_t ndates;
    struct hdb_where *twice; /* the further ones */
    uint32_t ntwice;
    struct hdb_open_table *tables;
    struct hdb_texts texts;
    struct hdb_figures figures;
    pthread_mutex_t lock;
};

/* May a reader see this entry of a directory? */
static inline bool hdb_name_visible(const char *name)
{
    size_t n = strlen(name);
    return n && *name != '.' && name[n - 1] != '$' && !strchr(name, '/');
}

struct stat;
void hdb_ident_set(struct hdb_ident *id, const struct stat *st);
bool hdb_ident_of(int dir, const char *name, struct hdb_ident *id); /* false: errno */
static inline bool hdb_ident_equal(const struct hdb_ident *a, const struct hdb_ident *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->modified == b->modified;
}
/* <disk>/<date>/<table>; the lock is held. False: no such date, or -ENOTSUP: on two disks. */
bool hdb_table_dir(struct hdb *h, int32_t date, const char *table, char path[HDB_PATH],
                   struct err *err);
bool hdb_has_date(const struct hdb *h, int32_t date, uint32_t *at);

/* hdb_table.c, with the lock held: after the dates were read again. */
void hdb_tables_refresh(struct hdb *h);
void hdb_tables_free(struct hdb *h);

/* hdb_symbols.c, with the lock held. */
bool hdb_texts_read(struct hdb *h, struct err *err);
void hdb_texts_free(struct hdb_texts *t);

/* hdb_widen.c: can `from` be read as `to`, and the values (malloc'd; NULL: no memory). */
bool hdb_can_widen(uint8_t from, uint8_t to);
void *hdb_widen(uint8_t from, uint8_t to, const void *values, uint64_t rows);
