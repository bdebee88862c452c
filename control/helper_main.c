/* SPDX-License-Identifier: Apache-2.0 */
/*
 * penstock-helper: starts what penstockd must not start itself (helper.h). One thread, two
 * processes of this program: the launcher, which only forks the second one and forks it again when
 * it dies, and that one, which spawns, runs and reaps.
 *
 * Usage (by penstockd only): penstock-helper PARENT-PID, with its socket at descriptor 3.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/clock.h"
#include "helper.h"
#include "helper_wire.h"

#define WORKERS_MAX 128u
#define KILL_NS     (2 * NS_PER_S) /* from SIGTERM to SIGKILL of a command that runs too long */

struct worker {
    pid_t pid; /* 0 = free */
    uint64_t id;
};
struct command {
    pid_t pid; /* 0 = free */
    uint64_t id;
    int out;          /* its stdout and stderr; -1 = closed */
    int64_t deadline; /* monotonic, 0 = none */
    bool terminated;  /* SIGTERM was sent: at `deadline` comes SIGKILL */
    bool timed_out, reaped;
    int status;
    uint32_t len;
    char text[HELPER_OUTPUT]; /* the last of its output */
};
struct waiting {
    struct waiting *next;
    size_t bytes;
    uint8_t packet[];
};

static struct worker workers[WORKERS_MAX];
static struct command commands[HELPER_RUNNING];
static struct waiting *queue;
static unsigned queued;
static char directory[1024]; /* of this program: the other programs lie beside it */

/* ---- telling ---- */

/* Blocks when penstockd is late; ends the process when it is gone. */
static void tell(struct helper_reply *r, const int *fds, const char *text, size_t len)
{
    if (len > sizeof r->text)
        len = sizeof r->text;
    r->magic = HELPER_MAGIC;
    r->length = (uint32_t)len;
    if (len)
        memcpy(r->text, text, len);
    struct iovec v = {r, HELPER_REPLY_HEAD + len};
    union {
        char buf[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } u;
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    if (fds) {
        memset(&u, 0, sizeof u);
        m.msg_control = u.buf;
        m.msg_controllen = sizeof u.buf;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(2 * sizeof(int));
        memcpy(CMSG_DATA(c), fds, 2 * sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(HELPER_FD, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        _exit(0); /* penstockd is gone; PR_SET_PDEATHSIG ends the rest */
}

__attribute__((format(printf, 3, 4))) static void failed(uint64_t id, bool command,
                                                         const char *format, ...)
{
    struct helper_reply r = {.kind = HELPER_R_FAILED, .id = id, .command = command};
    char text[sizeof r.text];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    tell(&r, NULL, text, strlen(text));
}

/* ---- in the child, before exec ---- */

static void child(pid_t parent, int in, int out, char *const *argv, char *const *env)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    static const int defaults[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
    for (unsigned i = 0; i < PST_COUNT(defaults); i++)
        signal(defaults[i], SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); /* it died before the line above */
    if (in >= 0)
        dup2(in, HELPER_FD); /* a worker: its socket; stderr stays penstockd's log */
    if (out >= 0) {
        dup2(out, 1);
        dup2(out, 2);
        setpgid(0, 0);
    }
    syscall(SYS_close_range, in >= 0 ? HELPER_FD + 1 : HELPER_FD, ~0u, 0);
    execve(argv[0], argv, env);
    if (out < 0)
        _exit(127);
    dprintf(2, "%s: %s", argv[0], strerror(errno));
    _exit(127);
}

/* What programs that we start may know of penstockd's environment. */
static char *const *plain_environment(bool worker)
{
    static char *env[64];
    static const char *const both[] = {"PATH", "LANG", "LC_ALL", "TZ", "TZDIR", "HOME"};
    unsigned n = 0;
    for (char **e = environ; *e && n + 2 < PST_COUNT(env); e++) {
        bool take = worker && (!strncmp(*e, "PST_", 4) || !strncmp(*e, "ASAN_", 5) ||
                               !strncmp(*e, "UBSAN_", 6) || !strncmp(*e, "TSAN_", 5));
        for (unsigned i = 0; i < PST_COUNT(both); i++) {
            size_t len = strlen(both[i]);
            take |= !strncmp(*e, both[i], len) && (*e)[len] == '=';
        }
        if (take)
            env[n++] = *e;
    }
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    if (!getenv("PATH"))
        env[n++] = path;
    env[n] = NULL;
    return env;
}

/* ---- workers ---- */

static void spawn(const struct helper_request *r, const char *program)
{
    struct worker *w = NULL;
    for (unsigned i = 0; i < WORKERS_MAX && !w; i++)
        w = workers[i].pid ? NULL : &workers[i];
    char path[1200], parent[24];
    snprintf(path, sizeof path, "%s/%s", directory, program);
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    int sv[2];
    if (!w || strchr(program, '/') || access(path, X_OK)) {
        failed(r->id, false, w ? "%s cannot be run: install it again" : "%s: too many processes",
               path);
        return;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv)) {
        failed(r->id, false, "%s: socketpair: %s", program, strerror(errno));
        return;
    }
    char *argv[] = {path, parent, NULL};
    pid_t self = getpid(), pid = fork();
    if (!pid)
        child(self, sv[1], -1, argv, plain_environment(true));
    int e = errno;
    close(sv[1]);
    int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (pidfd < 0) {
        e = pid > 0 ? errno : e;
        if (pid > 0)
            kill(pid, SIGKILL);
        close(sv[0]);
        failed(r->id, false, "%s: %s", program, strerror(e));
        return;
    }
    *w = (struct worker){pid, r->id};
    struct helper_reply reply = {.kind = HELPER_R_SPAWNED, .pid = pid, .id = r->id};
    tell(&reply, (int[]){sv[0], pidfd}, NULL, 0);
    close(sv[0]);
    close(pidfd);
}

/* ---- commands ---- */

static void run(const struct helper_request *r, const char *const *texts)
{
    struct command *c = NULL;
    for (unsigned i = 0; i < HELPER_RUNNING && !c; i++)
        c = commands[i].pid ? NULL : &commands[i];
    int p[2];
    if (!c || pipe2(p, O_CLOEXEC)) {
        failed(r->id, true, "%s: no pipe: %s", texts[0], strerror(errno));
        return;
    }
    char *argv[HELPER_ARGS + 1] = {NULL}, *env[HELPER_ARGS + 65] = {NULL};
    for (unsigned i = 0; i < r->argc; i++)
        argv[i] = (char *)(uintptr_t)texts[i];
    unsigned n = 0;
    for (char *const *e = plain_environment(false); *e; e++)
        env[n++] = *e;
    for (unsigned i = 0; i < r->envc; i++)
        env[n++] = (char *)(uintptr_t)texts[r->argc + i];
    pid_t self = getpid(), pid = fork();
    if (!pid)
        child(self, -1, p[1], argv, env);
    int e = errno;
    close(p[1]);
    if (pid < 0) {
        close(p[0]);
        failed(r->id, true, "%s: fork: %s", texts[0], strerror(e));
        return;
    }
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    *c = (struct command){.pid = pid, .id = r->id, .out = p[0]};
    if (r->timeout_ms > 0)
        c->deadline = clock_monotonic() + r->timeout_ms * NS_PER_MS;
}

/* Keeps the end of what it says. */
static void hear(struct command *c)
{
    char buf[4096];
    ssize_t n;
    while ((n = read(c->out, buf, sizeof buf)) > 0) {
        size_t k = (size_t)n < sizeof c->text ? (size_t)n : sizeof c->text;
        size_t keep = c->len + k > sizeof c->text ? sizeof c->text - k : c->len;
        memmove(c->text, c->text + c->len - keep, keep);
        memcpy(c->text + keep, buf + n - k, k);
        c->len = (uint32_t)(keep + k);
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        close(c->out);
        c->out = -1;
    }
}

/* Over when it was reaped: children of its own that hold the pipe are not waited for. */
static void finish(struct command *c)
{
    if (c->out >= 0)
        hear(c);
    if (c->out >= 0)
        close(c->out);
    while (c->len && (c->text[c->len - 1] == '\n' || c->text[c->len - 1] == ' '))
        c->len--;
    struct helper_reply r = {.kind = HELPER_R_RAN,
                             .id = c->id,
                             .pid = c->pid,
                             .status = c->status,
                             .timed_out = c->timed_out};
    tell(&r, NULL, c->text, c->len);
    c->pid = 0;
}

static void command_time(struct command *c, int64_t now)
{
    if (!c->pid || !c->deadline || now < c->deadline)
        return;
    c->timed_out = true;
    kill(-c->pid, c->terminated ? SIGKILL : SIGTERM);
    kill(c->pid, c->terminated ? SIGKILL : SIGTERM); /* it may not have its group yet */
    c->terminated = true;
    c->deadline = now + KILL_NS;
}

/* ---- the loop ---- */

static void reap(void)
{
    pid_t pid;
    int status;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (unsigned i = 0; i < WORKERS_MAX; i++)
            if (workers[i].pid == pid) {
                struct helper_reply r = {
                    .kind = HELPER_R_EXITED, .pid = pid, .id = workers[i].id, .status = status};
                workers[i].pid = 0;
                tell(&r, NULL, NULL, 0);
            }
        for (unsigned i = 0; i < HELPER_RUNNING; i++)
            if (commands[i].pid == pid) {
                commands[i].status = status;
                finish(&commands[i]);
            }
    }
}

static unsigned running(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < HELPER_RUNNING; i++)
        n += commands[i].pid != 0;
    return n;
}

static void request(const uint8_t *packet, size_t bytes, bool fresh)
{
    const struct helper_request *r = (const void *)packet;
    const char *texts[2 * HELPER_ARGS];
    if (!helper_request_texts(r, bytes, texts, PST_COUNT(texts)) || r->argc > HELPER_ARGS ||
        r->envc > HELPER_ARGS)
        _exit(3); /* of one build, over a socket of our own: it cannot be */
    if (r->kind == HELPER_SPAWN && r->argc == 1) {
        spawn(r, texts[0]);
    } else if (r->kind == HELPER_KILL) {
        for (unsigned i = 0; i < WORKERS_MAX; i++)
            if (workers[i].pid && workers[i].id == r->id)
                kill(workers[i].pid, SIGKILL);
    } else if (r->kind == HELPER_RUN && r->argc) {
        if (fresh && running() == HELPER_RUNNING) {
            struct waiting *w = queued < HELPER_WAITING ? malloc(sizeof *w + bytes) : NULL;
            if (!w) {
                failed(r->id, true, "%s was not run: too many commands wait", texts[0]);
                return;
            }
            w->next = NULL;
            w->bytes = bytes;
            memcpy(w->packet, packet, bytes);
            struct waiting **end = &queue;
            while (*end)
                end = &(*end)->next;
            *end = w;
            queued++;
            return;
        }
        run(r, texts);
    }
}

static int serve(void)
{
    static uint8_t packet[HELPER_PACKET] pst_aligned(8);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0)
        return 4;
    for (;;) {
        struct pollfd f[2 + HELPER_RUNNING] = {{HELPER_FD, POLLIN, 0}, {signals, POLLIN, 0}};
        for (unsigned i = 0; i < HELPER_RUNNING; i++)
            f[2 + i] = (struct pollfd){commands[i].pid ? commands[i].out : -1, POLLIN, 0};
        if (poll(f, PST_COUNT(f), running() ? 50 : -1) < 0 && errno != EINTR)
            return 5;
        struct signalfd_siginfo info;
        while (read(signals, &info, sizeof info) > 0)
            ;
        for (unsigned i = 0; i < HELPER_RUNNING; i++)
            if (commands[i].pid && commands[i].out >= 0 && f[2 + i].revents)
                hear(&commands[i]);
        reap();
        int64_t now = clock_monotonic();
        for (unsigned i = 0; i < HELPER_RUNNING; i++)
            command_time(&commands[i], now);
        while (queue && running() < HELPER_RUNNING) {
            struct waiting *w = queue;
            queue = w->next;
            queued--;
            memcpy(packet, w->packet, w->bytes); /* aligned */
            request(packet, w->bytes, false);
            free(w);
        }
        if (!(f[0].revents & (POLLIN | POLLHUP | POLLERR)))
            continue;
        ssize_t n = recv(HELPER_FD, packet, sizeof packet, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return 0; /* penstockd has ended */
        if (n > 0)
            request(packet, (size_t)n, true);
    }
}

/* ---- the launcher ---- */

static void drop_capabilities(void)
{
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    if (getuid() != 0) /* root keeps them for the commands it runs; workers drop them themselves */
        syscall(SYS_capset, &head, none);
}

static void die_with(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
}

/* Waits for a moment, or for the end of penstockd. */
static bool penstockd_ends(int ms)
{
    struct pollfd f = {HELPER_FD, 0, 0};
    return poll(&f, 1, ms) > 0 && f.revents & (POLLHUP | POLLERR);
}

int main(int argc, char **argv)
{
    pid_t parent = argc == 2 ? (pid_t)atoi(argv[1]) : 0;
    int type;
    socklen_t len = sizeof type;
    if (parent <= 0 || getsockopt(HELPER_FD, SOL_SOCKET, SO_TYPE, &type, &len) ||
        type != SOCK_SEQPACKET) {
        fprintf(stderr, "penstock-helper is started by penstockd only\n");
        return 2;
    }
    ssize_t n = readlink("/proc/self/exe", directory, sizeof directory - 1);
    directory[n > 0 ? n : 0] = 0;
    char *slash = strrchr(directory, '/');
    if (!slash)
        return 2;
    *slash = 0;
    syscall(SYS_close_range, HELPER_FD + 1, ~0u, 0);
    fcntl(HELPER_FD, F_SETFD, FD_CLOEXEC);
    /* The end comes through the socket, or with penstockd; not by a signal to all. */
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
    for (unsigned i = 0; i < PST_COUNT(ignored); i++)
        signal(ignored[i], SIG_IGN);
    drop_capabilities();
    die_with(parent);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) { /* penstockd may be protected: what it starts is not */
        if (write(fd, "0", 1) < 0)
            errno = 0; /* lowering it needs a right, raising it does not */
        close(fd);
    }
    setpriority(PRIO_PROCESS, 0, 0);
    for (int wait_ms = 100;; wait_ms = wait_ms < 5000 ? 2 * wait_ms : 10000) {
        pid_t self = getpid(), pid = fork();
        if (!pid) {
            prctl(PR_SET_NAME, "penstock-spawn");
            die_with(self);
            _exit(serve());
        }
        int status = 0;
        int64_t from = clock_monotonic();
        if (pid > 0)
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (pid > 0 && status == 0)
            return 0;
        char text[64], why[160];
        if (clock_monotonic() - from > 60 * NS_PER_S)
            wait_ms = 100;
        snprintf(why, sizeof why, "penstock-helper died (%s) and is started again",
                 pid > 0 ? helper_status_text(status, text) : "no fork");
        struct helper_reply r = {.kind = HELPER_R_RESTARTED, .status = status};
        tell(&r, NULL, why, strlen(why));
        if (penstockd_ends(wait_ms))
            return 0;
    }
}
