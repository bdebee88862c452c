/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_double.h - a host of real-time plugins without a journal and without processes: struct
 * pst_rtp_host over rows that a test hands in. It loads the built-in analytics or a shared object,
 * delivers frames, marks and timers, keeps the rows of open days for history(), and gives what is
 * published to one function. Single-threaded; one at a time in a program.
 */
#pragma once

#include <penstock/analytic.h>

struct rtp_double;

struct double_column { /* of a result, with its values */
    char name[64];
    uint32_t type;
};
struct pst_result {
    struct pst_rtp *plugin;
    struct pst_result *next;
    struct double_column column[PST_COLUMNS_MAX];
    uint32_t ncolumns, nkeys, nrows, room;
    uint32_t key[PST_KEYS_MAX];
    bool full;
    char **row; /* each a text: values in order, '|' behind each; floats as %a */
};

struct double_counts {
    uint64_t symbol, add, history, history_rows, published, published_rows, empty, delivered;
};

struct rtp_double *double_new(void);
void double_free(struct rtp_double *d);
void double_builtins(struct rtp_double *d);
bool double_load(struct rtp_double *d, const char *file); /* a shared object */
/* What every publish of rows goes to. The result is the host's. */
void double_on_publish(struct rtp_double *d,
                       void (*fn)(void *arg, const char *analytic, int64_t uid,
                                  const struct pst_result *rows),
                       void *arg);
void double_option(struct rtp_double *d, const char *name, const char *value);
void double_no_history(struct rtp_double *d, bool none); /* history() refuses */

/* A table, or a new version of it. time and sym first. */
const struct pst_table *double_table(struct rtp_double *d, const char *name,
                                     const struct pst_column *columns, uint32_t n);
/* One row of the frame that is being made; symbols and strings as text. */
void double_row(struct rtp_double *d, const struct pst_table *t, const struct pst_value *v);
/* Hands the rows out as a frame of this time and day. */
void double_frame(struct rtp_double *d, int64_t time, int32_t day);
void double_tick(struct rtp_double *d, int64_t time); /* the journal's clock, and the process's */
void double_eod(struct rtp_double *d, int32_t day);

/* parameters: "name=value name=a,b"; others have their defaults. -1: refused, double_error. */
int64_t double_subscribe(struct rtp_double *d, const char *analytic, const char *parameters);
void double_unsubscribe(struct rtp_double *d, const char *analytic, int64_t uid);
struct pst_result *double_snapshot(struct rtp_double *d, const char *analytic, int64_t uid);
void double_drop(struct pst_result *r);
void double_flush(struct rtp_double *d);
const char *double_error(const struct rtp_double *d);
struct double_counts *double_counted(struct rtp_double *d);
uint32_t double_results(const struct rtp_double *d); /* that were made and not dropped */
