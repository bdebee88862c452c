/* SPDX-License-Identifier: Apache-2.0 */
/* What a penstock-rtp process may still do (worker_sandbox.h): read files, speak to penstockd. */
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>
#include "host.h"
#include "worker_sandbox.h"

#define LOOKS      2u             /* half seconds of one call before it is told */
#define OWN_MEMORY (128ull << 20) /* code, libraries, cursor, packets, beside the plugins' */

bool host_sandbox_limits(uint64_t memory, struct err *err)
{
    return worker_limits(
        &(struct sandbox_limits){.nice = 5, .oom = "900", .data = memory ? memory + OWN_MEMORY : 0},
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
                                     [HOST_IN_LOAD] = "being loaded",
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

static void line_of(const char *what, int number)
{
    char line[256], digits[12];
    size_t n = 0, d = sizeof digits;
    digits[--d] = 0;
    do
        digits[--d] = (char)('0' + number % 10);
    while ((number /= 10) && d);
    put(line, &n, "penstock-rtp: group ");
    put(line, &n, dying->group);
    put(line, &n, what);
    put(line, &n, digits + d);
    put(line, &n, " ");
    put(line, &n, doings[dying->in]);
    if (dying->in_plugin) {
        put(line, &n, " of plugin ");
        put(line, &n, dying->in_plugin->name);
        put(line, &n, ", ");
        put(line, &n, dying->in_name);
    } else if (dying->in == HOST_IN_LOAD) {
        put(line, &n, ": ");
        put(line, &n, dying->in_name);
    }
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, n) < 0)
        n = 0;
}

/* Only what a signal handler may do. The signal comes again, and ends the process. */
static void crashed(int sig)
{
    line_of(": signal ", sig);
}

/* Twice a second: has one call lasted since a while? penstockd ends the process after `stuck`, and
 * cannot know whose fault it was. */
static void watch(int sig)
{
    static uint32_t call, looks, next = LOOKS;
    int e = errno;
    (void)sig;
    if (dying->in == HOST_IN_NOTHING || dying->calls != call) {
        call = dying->calls;
        looks = 0;
        next = LOOKS;
    } else if (++looks == next) {
        line_of(": not done for (seconds) ", (int)(looks / 2));
        next *= 2;
    }
    errno = e;
}

void host_crash_handler(struct host *h)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static uint8_t stack[65536];
    const struct itimerval every = {{0, 500000}, {0, 500000}};
    stack_t alt = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction a = {.sa_handler = crashed, .sa_flags = SA_ONSTACK | (int)SA_RESETHAND},
                     w = {.sa_handler = watch, .sa_flags = SA_ONSTACK | SA_RESTART};
    dying = h;
    sigaltstack(&alt, NULL);
    for (unsigned i = 0; i < PST_COUNT(signals); i++)
        sigaction(signals[i], &a, NULL);
    sigaction(SIGALRM, &w, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}
