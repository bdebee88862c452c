/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helper.h - penstockd's end of penstock-helper, the one process that starts others.
 *
 * helper_open is the first thing daemon_open does, before the EAL, hugepages and threads: the only
 * process that penstockd ever starts. Afterwards penstockd asks over a socketpair (SEQPACKET,
 * helper_wire.h), and the helper spawns: workers (penstock-query), each with a socketpair of its
 * own whose other end comes back to the daemon with a pidfd, and commands (alarm_exec,
 * post_save_exec).
 *
 *   penstockd ──socketpair──► penstock-helper (launcher) ─fork─► penstock-helper (worker's parent)
 *       ▲  └───────────── one socketpair each ─────────────────────► penstock-query …, commands
 *       └─ every process: PR_SET_PDEATHSIG, and ends when its socket does
 *
 * LIVES. The launcher does nothing but fork the second process, which does all the work, and fork
 * it again (back-off 0.1 s doubling to 10 s) when it dies; its workers die with it, their queries
 * fail with a sentence, and helper_event says HELPER_RESTARTED. When the launcher itself dies, all
 * of them do: helper_alive is false from then on, alarm helper.gone is raised, queries are refused
 * with a sentence and commands are not run, until penstockd is restarted; capture goes on. Both
 * drop every capability, keep no descriptor but the socket and stderr, and never read the journal.
 *
 * THREAD: control only. Nothing blocks: a send that finds the socket full fails with a sentence.
 * What the helper sends is checked for size and type; what it claims (a pid, a status) is believed.
 */
#pragma once

#include <sys/types.h>
#include "core/base.h"

#define HELPER_ARGS    64u    /* arguments of a command, and of its environment */
#define HELPER_TEXT    32768u /* their bytes together */
#define HELPER_RUNNING 4u     /* commands at once */
#define HELPER_WAITING 64u    /* commands queued; a further one is refused */
#define HELPER_OUTPUT  400u   /* last bytes of a command's output that are kept */

struct helper;

enum helper_event_kind {
    HELPER_SPAWNED,   /* a worker: id, pid, fd (its socket), pidfd; the caller owns both */
    HELPER_EXITED,    /* a worker: id, status as of waitpid */
    HELPER_RAN,       /* a command: id, status, timed_out, text = the end of its output */
    HELPER_FAILED,    /* a worker or command could not be started: id, text */
    HELPER_RESTARTED, /* all workers and commands are gone; text says why */
    HELPER_GONE,      /* for good; text says why. Comes once */
};
struct helper_event {
    enum helper_event_kind kind;
    uint64_t id;
    pid_t pid;
    int fd, pidfd, status;
    bool timed_out;
    char text[512];
};
typedef void helper_handler(void *arg, const struct helper_event *e);

/* directory: where penstock-helper and penstock-query lie; NULL: the directory of penstockd's own
 * executable, then libexecdir. NULL: it cannot be found or run. */
struct helper *helper_open(const char *directory, struct err *err);
/* Closes the socket: helper, workers and commands end. Waits up to deadline_ms for the helper, then
 * kills it. NULL is allowed. */
void helper_close(struct helper *h, int deadline_ms);
bool helper_alive(const struct helper *h);
pid_t helper_pid(const struct helper *h);
int helper_fd(const struct helper *h); /* readable when there is something to take; -1 when gone */

/* Takes what has arrived, each event to its handler: workers' (and RESTARTED, GONE) to `worker`,
 * RAN and FAILED of commands to the one given to helper_run. Returns events. */
int helper_poll(struct helper *h, helper_handler *worker, void *arg);

/* Asks for a worker: a program of the helper's own directory ("penstock-query"). The id comes back
 * in its events. */
bool helper_spawn(struct helper *h, const char *program, uint64_t id, struct err *err);
/* Ends a worker by its id (SIGKILL). Usually control uses the pidfd it has. */
bool helper_kill(struct helper *h, uint64_t id);

/* Runs a command: argv[0] an absolute path, no shell; env: "NAME=value" items beside PATH, LANG and
 * HOME of a plain environment. Beyond HELPER_RUNNING it waits in the helper. After timeout_ms its
 * process group gets SIGTERM, two seconds later SIGKILL. `done` may be NULL. 0 = refused (err). */
uint64_t helper_run(struct helper *h, const char *const *argv, const char *const *env,
                    int timeout_ms, helper_handler *done, void *arg, struct err *err);
/* "exit code 1", "signal 9 (Killed)": what a wait status means. */
const char *helper_status_text(int status, char buf[64]);
