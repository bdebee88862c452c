/* SPDX-License-Identifier: Apache-2.0 */
/* What a penstock-rtp process may still do (worker_sandbox.h): read files, speak to penstockd. */
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <unistd.h>
#include "host.h"
#include "worker_sandbox.h"

#define OWN_MEMORY (128ull << 20) /* code, libraries, cursor, packets, beside the plugins' */

bool host_sandbox_limits(uint64_t memory, struct err *err)
{
    return worker_limits(&(struct sandbox_limits){.nice = 5,
                                                  .oom = "900",
                                                  .file = 1, /* it writes none */
                                                  .data = memory ? memory + OWN_MEMORY : 0},
                         err);
}

bool host_sandbox_enter(struct err *err)
{
    static const int more[] = {SCMP_SYS(preadv2), SCMP_SYS(sendmmsg), SCMP_SYS(readahead)};
    static const int deadly[] = {SCMP_SYS(io_uring_setup)};
    return worker_confine(&(struct sandbox_rules){.who = "a real-time process",
                                                  .allow = more,
                                                  .nallow = PST_COUNT(more),
                                                  .kill = deadly,
                                                  .nkill = PST_COUNT(deadly)},
                          err);
}

/* ---- who was it? ---- */

static struct host *dying;

static const char *const doings[] = {[HOST_IN_NOTHING] = "between plugins",
                                     [HOST_IN_REGISTER] = "registering",
                                     [HOST_IN_SUBSCRIBE] = "in subscribe",
                                     [HOST_IN_UNSUBSCRIBE] = "in unsubscribe",
                                     [HOST_IN_DESCRIBE] = "in describe",
                                     [HOST_IN_SNAPSHOT] = "in snapshot",
                                     [HOST_IN_CALL] = "in a function",
                                     [HOST_IN_ROWS] = "in rows",
                                     [HOST_IN_MARK] = "in mark",
                                     [HOST_IN_TIMER] = "in a timer",
                                     [HOST_IN_FLUSH] = "in flush",
                                     [HOST_IN_CLOSED] = "in closed",
                                     [HOST_IN_BEGIN] = "in begin",
                                     [HOST_IN_PROCESSOR] = "in a processor"};

static void put(char *line, size_t *n, const char *text)
{
    for (; text && *text && *n < 250; text++)
        line[(*n)++] = *text;
}

/* Only what a signal handler may do. The signal comes again, and ends the process. */
static void crashed(int sig)
{
    char line[256], number[3] = {(char)('0' + sig / 10), (char)('0' + sig % 10), 0};
    size_t n = 0;
    put(line, &n, "penstock-rtp: group ");
    put(line, &n, dying->group);
    put(line, &n, ": signal ");
    put(line, &n, number);
    put(line, &n, " ");
    put(line, &n, doings[dying->in]);
    if (dying->in_plugin) {
        put(line, &n, " of plugin ");
        put(line, &n, dying->in_plugin->name);
        put(line, &n, ", ");
        put(line, &n, dying->in_name);
    }
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, n) < 0)
        n = 0;
}

void host_crash_handler(struct host *h)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static uint8_t stack[65536];
    stack_t alt = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction a = {.sa_handler = crashed, .sa_flags = SA_ONSTACK | (int)SA_RESETHAND};
    dying = h;
    sigaltstack(&alt, NULL);
    for (unsigned i = 0; i < PST_COUNT(signals); i++)
        sigaction(signals[i], &a, NULL);
}
