/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alarms.h - raising and clearing, with hysteresis, from the table core/alarms.def.
 *
 * An alarm is raised per (code, subject): line.silent of "itch B" and of "itch A" are two. Control
 * is the only caller; status->alarm_since[code] shows the oldest raised subject to other processes.
 * Every raise and clear is written to stderr (folded: a repeat within 60 s only counts) and handed
 * to `journal`, which appends a row to table `alarm`.
 */
#pragma once

#include "core/clock.h"
#include "core/status.h"

#define ALARMS_RAISED  256 /* and beyond them the first subject of each code: it always has room */
#define ALARMS_OF_CODE 64  /* further subjects of a code are counted: none takes others' room */
#define ALARMS_SUBJECT 256 /* of a longer one the end is kept: that of a path says more */
#define ALARMS_TEXT    400

enum severity { SEVERITY_WARN, SEVERITY_FAIL };

struct alarm_info {
    const char *code;
    enum severity severity;
    const char *raise, *clear, *sentence, *remedy;
};
extern const struct alarm_info alarm_table[ALARMS];

struct alarm_state {
    enum alarm code;
    char subject[ALARMS_SUBJECT];
    char text[ALARMS_TEXT]; /* what is wrong now, one sentence */
    int64_t since, last;    /* UTC ns: raised, last confirmed */
    int64_t cleared;        /* 0 while raised */
    uint64_t times;         /* confirmations */
};

typedef void alarm_journal(void *arg, const struct alarm_state *a, bool raised);

struct alarms {
    struct status *status;
    alarm_journal *journal;
    void *arg;
    struct alarm_state raised[ALARMS_RAISED + ALARMS];
    unsigned n;
    struct alarm_state recent[16]; /* the last cleared ones, newest last */
    unsigned n_recent;
    uint64_t refused; /* raised while there was no room for it */
    struct alarms_more {
        int64_t at;
        uint64_t n;
    } more[ALARMS];  /* by code: subjects that held without room in its last round of checks */
    uint64_t folded; /* lines not printed since the last one that was */
};

void alarms_init(struct alarms *, struct status *, alarm_journal *, void *arg);

/* States whether a condition holds now. Raises at the first true; clears once it has been false for
 * hold_ns. Cheap when nothing changes. `fmt` says what is wrong (used while true). */
__attribute__((format(printf, 7, 8))) void alarm_check(struct alarms *, int64_t now, enum alarm,
                                                       const char *subject, bool holds,
                                                       int64_t hold_ns, const char *fmt, ...);
bool alarm_ack(struct alarms *, int64_t now,
               const char *code); /* clears by hand; false: not raised */
const struct alarm_state *alarm_raised(const struct alarms *, enum alarm, const char *subject);
unsigned alarms_count(const struct alarms *, enum severity);
/* One more subject of this code holds, and the caller knows that there is no room for it. */
void alarm_more(struct alarms *, int64_t now, enum alarm);
int alarm_find(const char *code); /* index in alarm_table, -1 = none */
