/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wiring_parts.h - what the wiring_*.c files share. Nobody else includes it but cmd_publish.c,
 * cmd_append.c and rtp/rtp.c.
 */
#pragma once

#include "core/schema.h"
#include "dataplane/appender.h"
#include "dataplane/command.h"
#include "dataplane/decoder.h"
#include "dataplane/descriptor.h"
#include "dataplane/eal.h"
#include "dataplane/feed.h"
#include "dataplane/groups.h"
#include "dataplane/inject_rows.h"
#include "dataplane/membership.h"
#include "dataplane/poll.h"
#include "dataplane/port.h"
#include "storage/lease.h"
#include "storage/catalogue.h"
#include "storage/log.h"
#include "functions.h"
#include "storage/recovery.h"
#include "wiring.h"

#define WIRING_ROUTES 65535u

/* One running port: its device, its groups, its membership. */
struct wiring_port {
    const struct config_port *config;
    struct port *port;
    struct groups groups;
    struct group_route *route; /* what the groups table was made of; grows by `group add` */
    unsigned nroutes, cap;
    uint16_t any;
    struct membership *membership;
    unsigned lcore; /* index in wiring.lcore */
    struct port_stats stats;
};

/* One rx lcore: ports and feeds that it alone touches. */
struct wiring_lcore {
    int cpu; /* -1 = floats, an ordinary thread */
    struct rx rx;
    struct thread thread;
    bool dpdk; /* runs as a DPDK lcore, not as a thread of ours */
    bool running;
    struct inject inject; /* index > 0: its way to the appender */
    struct inject_rows rows;
};

struct wiring {
    struct io *io, *log_io; /* control's own, the log thread's own */
    struct instance_lock lock;
    struct lease lease;
    bool lease_sound;
    struct err lease_why; /* what is wrong with it, if not */
    struct catalogue catalogue;
    struct catalogue_file *found; /* by the start, not yet in the catalogue */
    uint32_t nfound;
    bool locked, catalogued; /* disks.h writes lease, catalogue and heartbeats while it runs */
    int catalogue_errno;
    struct recovery *recovery;
    struct function recovery_function, initial_function;
    struct wiring_late *late;           /* wiring_damage.c */
    char quarantine[1100], facts[1200]; /* paths */
    /* what recovery found */
    bool restarted, clean;
    uint64_t old_end, start;
    int64_t last_time;
    void *states;
    size_t states_bytes;
    char previous[LOG_NAME_MAX];

    bool live[TABLE_MAX]; /* by id: of this configuration, takes rows */
    const struct schema *fresh[TABLE_MAX];
    unsigned n_fresh;

    struct framing framing[STATUS_FEEDS]; /* configured ones, by feed index */
    struct eal_info eal;
    struct wiring_port port[STATUS_PORTS];
    unsigned nports;
    struct wiring_lcore lcore[DAEMON_RX_MAX];
    unsigned nlcores;
    int link_fd; /* asks for link states */

    struct appender appender;
    struct due due;
    struct inject_rows control_rows;
    struct inject publisher[8]; /* of the publish threads (publish/server.h) */
    struct log *log;
    struct thread log_thread;
    /* wiring_days.c */
    struct days_owner owners;
    struct appender_open open[DAYS_CALENDARS]; /* at the start */
    uint8_t streams[TABLE_MAX];                /* by table id */
    int32_t due_day[DAYS_CALENDARS];           /* the due list reaches to here */
    uint32_t control_days;                     /* version that control's inject rows know */
    int64_t second_at;
    _Atomic uint64_t
        passed;         /* the log may give up what lies below it: ledger and RDB have counted it */
    uint32_t loss_step; /* of a loss that is being journaled */
    uint64_t loss_ticket; /* of its last row; 0 = not all are offered */
    /* wiring_bells.c */
    bool bells;
    struct bell_board board;
    struct bell appender_bell, log_bell, rdb_bell, publish_bell[8];
    _Atomic uint32_t turn; /* to run the appender's rounds */
};

const struct decoder_ops *wiring_decoder(const struct config_feed *f); /* NULL = none */
struct inject_rows *wiring_control_rows(struct daemon *d);
bool wiring_table_live(const struct daemon *d, unsigned id);
/* Line index by name within a feed's configuration; -1 = none. */
int wiring_line(const struct daemon *d, unsigned feed, const char *name);

/* wiring_days.c */
void wiring_owners(struct daemon *d);            /* when all tables are known */
void wiring_first_days(struct daemon *d);        /* where each calendar goes on */
const uint8_t *wiring_streams(struct daemon *d); /* NULL: every table is in the daily stream */
struct appender_interval wiring_first_interval(const struct daemon *d);
void wiring_extend_due(struct daemon *d);  /* before the due list runs out */
void wiring_missed_days(struct daemon *d); /* before threads start */
/* Do its tables and `undecoded` belong to two calendars? */
bool wiring_feed_split(const struct daemon *d, const struct config_feed *f);

/* wiring_bells.c: threads that share too few CPUs sleep on bells (bell.h). Decided before they
 * start; the others give a thread its bell, NULL: it polls. */
void wiring_bells(struct daemon *d);
void wiring_bells_close(struct wiring *w);
struct bell *wiring_bell(struct daemon *d, struct bell *b, uint32_t waits, int fd);
/* The appender's thread where there are bells, arg = the wiring: its rounds are taken in turns.
 * From wiring_turn_open on, when that thread has been started, until wiring_turn_close, which waits
 * for the round that goes on, a publish thread may take them too: */
extern const struct thread_ops wiring_appender_ops;
void wiring_turn_open(struct wiring *w);
void wiring_turn_close(struct wiring *w);
/* From that publish thread, when it may have offered batches, which ring no bell by themselves:
 * rounds of the appender on this thread, or the bell. Nothing to do where there are no bells. */
void wiring_append(struct daemon *d, unsigned publisher);
/* Are rows of this publish thread not appended yet? Its thread. */
bool wiring_offers(struct daemon *d, unsigned publisher);

/* wiring_damage.c: damage found behind the start. */
bool wiring_late_open(struct wiring *w, struct err *err);
void wiring_late_close(struct wiring *w);
void wiring_late_tick(struct daemon *d); /* its gap rows are journaled */
/* The ledger's thread: recovery.damage[index] is new; false: later. One whose gap rows are durable:
 * it goes to quarantine now. */
bool wiring_late_found(struct daemon *d, uint32_t index);
bool wiring_late_done(struct daemon *d, uint32_t *index);
void wiring_journal_gap(struct daemon *d, struct rows *rows, const struct recovery_gap *g);

/* wiring_reset.c: --hard-reset, behind recovery. */
bool wiring_hard_reset(struct daemon *d, struct err *err);

/* wiring_recover.c */
bool wiring_resume_sessions(struct daemon *d, struct err *err);
void wiring_recover_close(struct daemon *d);
bool wiring_listed(const struct daemon *d); /* the catalogue knows all files */
void wiring_loss(struct daemon *d);         /* what the log gave up is journaled */
void wiring_catalogue(struct daemon *d);    /* the log's news go into the catalogue */

bool wiring_start_rx(struct daemon *d, struct err *err);
void wiring_close_ports(struct daemon *d);
