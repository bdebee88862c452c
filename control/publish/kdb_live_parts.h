/* SPDX-License-Identifier: Apache-2.0 */
/* kdb_live_parts.h - what kdb_live.c (frames to messages) and kdb_live_file.c (the file, its
 * sidecar) share. */
#pragma once

#include <pthread.h>
#include "kdb_live.h"
#include "storage/kdb_rows.h"

#define LIVE_NO_DAY INT32_MIN
#define LIVE_PATH   KDB_LOG_PATH

enum live_state {
    LIVE_FIND,   /* looks for a sidecar */
    LIVE_VERIFY, /* compares what the file holds with it */
    LIVE_SEEK,   /* puts the cursor where it goes on */
    LIVE_RUN
};

struct live_mark { /* what a sidecar says */
    int32_t day;
    uint64_t first, position, messages, bytes;
    uint32_t crc;
    int32_t ended[DAYS_CALENDARS]; /* LIVE_NO_DAY: not known */
};

struct kdb_live {
    struct kdb_live_config cfg;
    char directory[1000]; /* absolute once it was there */
    char form[64];        /* of columns: a file of another form is written anew */
    enum live_state state;
    struct cursor cursor;
    bool open; /* the cursor */
    struct kdb_columns columns;
    struct kdb_log_writer log; /* fd -1: no file yet */
    bool anew;                 /* it is written under the other name */
    uint64_t dev, ino;
    struct live_mark at; /* of the file as it is written, and of the journal */
    uint64_t rows;
    /* not written yet */
    struct kdb_out pending;
    uint64_t pending_messages, pending_rows, pending_end;
    bool roll;       /* the day's end stands at pending_end */
    int32_t old_day; /* whose sidecar goes when the next one stands */
    struct live_mark saved;
    int64_t saved_ns, checked_ns, retry_at;
    uint64_t verified;
    uint32_t verified_crc;
    int verify_fd;
    /* for others */
    pthread_mutex_t lock;
    struct kdb_live_point point;
    bool ready;
    struct kdb_live_figures figures;
};

/* Somebody asked for the point of a log that is off. */
extern _Atomic bool kdb_live_missed;

/* The day's file, its sidecar, the file while it is written anew. */
bool live_path(const struct kdb_live *k, int32_t day, char out[LIVE_PATH]);
bool live_side_path(const struct kdb_live *k, int32_t day, const char *ending, char out[LIVE_PATH]);

/* 1: *m is the newest sidecar; 0: there is none that is sound; -1: err. */
int live_find(struct kdb_live *k, struct live_mark *m, struct err *err);
bool live_save(struct kdb_live *k, struct err *err);
/* A few MiB of the file against the sidecar. 1: it holds what was said and is open for writing; 0:
 * more to compare; -1: it does not. */
int live_verify(struct kdb_live *k);
/* Opens the file of k->at.day, empty. False: err. */
bool live_create(struct kdb_live *k, struct err *err);
/* Written anew and complete: takes its name. */
bool live_complete(struct kdb_live *k, struct err *err);
/* Does the path still name what is written? */
bool live_there(struct kdb_live *k);
