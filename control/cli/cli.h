/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h - the `penstock` program: one verb, one screen. Verbs that ask the daemon call it through
 * socket_client.h and print the reply; `log` works on the files themselves, with or without a
 * daemon.
 * Exit codes: 0 healthy, 1 degraded (or: not balanced, damaged), 2 usage, 3 no daemon.
 */
#pragma once

#include <jansson.h>
#include "socket_client.h"
#include "shown.h"

enum { EXIT_HEALTHY, EXIT_DEGRADED, EXIT_USAGE, EXIT_NO_DAEMON };

struct cli {
    const char *socket;
    bool json;
    const char *zone; /* --zone; NULL: as the daemon's time_type and time_offset say */
    struct time_shown shown;
    const char *buffer; /* tail --buffer ID */
    bool patient;       /* the answer may take as long as it takes */
    struct client_conn conn;
};

/* Connects when needed, calls, unwraps: NULL after printing the error and setting *code. */
json_t *cli_call(struct cli *c, const char *cmd, json_t *args, int *code);
/* Sets c->shown from --zone, else from a reply's "shown". False: printed, the zone is unknown. */
bool cli_shown(struct cli *c, json_t *reply);
json_t *cli_args(int argc, char **argv);

/* One function a verb that needs more than "call and print". */
int cli_view(struct cli *c, const char *verb, int argc, char **argv); /* status, feeds, … */
int cli_log(struct cli *c, int argc, char **argv);
int cli_tail(struct cli *c, int argc, char **argv);
int cli_gaps(struct cli *c, int argc, char **argv);
int cli_ledger(struct cli *c, int argc, char **argv);
int cli_replay(struct cli *c, int argc, char **argv);
int cli_publish(struct cli *c, int argc, char **argv);
int cli_eod(struct cli *c, int argc, char **argv);
int cli_load(struct cli *c, int argc, char **argv);
void cli_load_line(json_t *load); /* of the status screen */
int cli_rtp(struct cli *c, int argc, char **argv);
void cli_rtp_line(json_t *rtp); /* of the status screen */
int cli_buffer(struct cli *c, int argc, char **argv);
int cli_rdb(struct cli *c, int argc, char **argv);
int cli_rebuild(struct cli *c, int argc, char **argv); /* also: hdb rebuild */
/* The same with --database DIR: in this process, without a daemon (cli_rebuild.c). */
int cli_rebuild_offline(struct cli *c, int argc, char **argv);
int cli_generate(struct cli *c, int argc, char **argv); /* hdb generate */
int cli_hdb(struct cli *c, int argc, char **argv);
/* cli_day.c: parts of the status screen */
void cli_day_rdb_line(json_t *rdb);
void cli_day_database_line(json_t *db);
void cli_day_table(json_t *days);
int cli_sql(struct cli *c, int argc, char **argv);
int cli_call_query(struct cli *c, int argc, char **argv); /* penstock call */
int cli_query_kill(struct cli *c, int argc, char **argv);
int view_queries(json_t *result);
int view_clients(json_t *result);
void cli_clients_line(json_t *subscribers); /* of the status screen */
int cli_sub(struct cli *c, int argc, char **argv);
int cli_stream(struct cli *c, int argc, char **argv);
int view_plugin(json_t *result);
int cli_user(struct cli *c, int argc, char **argv); /* penstock user */
int cli_help(const char *verb);
