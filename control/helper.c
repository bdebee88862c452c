/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/clock.h"
#include "helper.h"
#include "helper_wire.h"

#define COMMANDS_MAX (HELPER_RUNNING + HELPER_WAITING)

struct command {
    uint64_t id; /* 0 = free */
    helper_handler *done;
    void *arg;
};

struct helper {
    int fd; /* -1 = gone */
    pid_t pid;
    uint64_t next;
    bool told; /* GONE has been reported */
    char why[200];
    struct command command[COMMANDS_MAX];
};

static bool runnable(char *path, size_t cap, const char *dir, const char *name)
{
    return snprintf(path, cap, "%s/%s", dir, name) < (int)cap && !access(path, X_OK);
}

/* Beside penstockd itself (a build directory), else where it was installed. */
static bool find(const char *directory, char *path, size_t cap, struct err *err)
{
    if (directory)
        return runnable(path, cap, directory, "penstock-helper") ||
               err_set(err, -ENOENT, "there is no penstock-helper in %s", directory);
    char self[1024];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    if ((slash && runnable(path, cap, self, "penstock-helper")) ||
        runnable(path, cap, PST_LIBEXEC, "penstock-helper"))
        return true;
    return err_set(err, -ENOENT, "penstock-helper is neither in %s nor in %s: install it again",
                   slash ? self : "?", PST_LIBEXEC);
}

struct helper *helper_open(const char *directory, struct err *err)
{
    char path[1200], parent[24];
    int sv[2];
    struct helper *h = calloc(1, sizeof *h);
    if (!h || !find(directory, path, sizeof path, err)) {
        if (!h)
            err_set(err, -ENOMEM, "helper: no memory");
        free(h);
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv)) {
        err_set(err, -errno, "helper: socketpair: %s", strerror(errno));
        free(h);
        return NULL;
    }
    int bytes = 1 << 20; /* what the kernel allows of it: the control thread may be late */
    setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", 0, 0);
    posix_spawn_file_actions_adddup2(&files, 2, 1);
    posix_spawn_file_actions_adddup2(&files, sv[1], HELPER_FD);
    posix_spawnattr_init(&attr); /* a session of its own: a terminal's ^C is for penstockd */
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    char *argv[] = {path, parent, NULL};
    int e = posix_spawn(&h->pid, path, &files, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    close(sv[1]);
    h->fd = sv[0];
    h->next = 1;
    if (!e)
        return h;
    err_set(err, -e, "%s cannot be started: %s", path, strerror(e));
    close(sv[0]);
    free(h);
    return NULL;
}

void helper_close(struct helper *h, int deadline_ms)
{
    if (!h)
        return;
    if (h->fd >= 0)
        close(h->fd);
    int64_t end = clock_monotonic() + (int64_t)deadline_ms * NS_PER_MS;
    while (h->pid > 0 && waitpid(h->pid, NULL, WNOHANG) == 0) {
        if (clock_monotonic() > end)
            kill(h->pid, SIGKILL); /* what it started ends with it */
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
    free(h);
}

bool helper_alive(const struct helper *h)
{
    return h && h->fd >= 0;
}

pid_t helper_pid(const struct helper *h)
{
    return h ? h->pid : -1;
}

int helper_fd(const struct helper *h)
{
    return h ? h->fd : -1;
}

/* ---- requests ---- */

static bool ask(struct helper *h, const struct helper_request *r, const char *texts,
                struct err *err)
{
    if (!helper_alive(h))
        return err_set(err, -EPIPE, "%s", h ? h->why : "no helper was started: nothing can be run");
    struct iovec v[2] = {{(void *)(uintptr_t)r, sizeof *r}, {(void *)(uintptr_t)texts, r->length}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = r->length ? 2 : 1};
    if (sendmsg(h->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return true;
    return err_set(err, -errno, "penstock-helper takes no request: %s; it is busy or stopped",
                   strerror(errno));
}

bool helper_spawn(struct helper *h, const char *program, uint64_t id, struct err *err)
{
    struct helper_request r = {.magic = HELPER_MAGIC,
                               .kind = HELPER_SPAWN,
                               .argc = 1,
                               .id = id,
                               .length = (uint32_t)strlen(program) + 1};
    return ask(h, &r, program, err);
}

bool helper_kill(struct helper *h, uint64_t id)
{
    struct helper_request r = {.magic = HELPER_MAGIC, .kind = HELPER_KILL, .id = id};
    return ask(h, &r, NULL, NULL);
}

static bool gather(char *text, uint32_t *used, const char *const *list, uint16_t *count)
{
    for (*count = 0; list && list[*count]; ++*count) {
        size_t n = strlen(list[*count]) + 1;
        if (*count == HELPER_ARGS || *used + n > HELPER_TEXT)
            return false;
        memcpy(text + *used, list[*count], n);
        *used += (uint32_t)n;
    }
    return true;
}

uint64_t helper_run(struct helper *h, const char *const *argv, const char *const *env,
                    int timeout_ms, helper_handler *done, void *arg, struct err *err)
{
    static char text[HELPER_TEXT];
    struct helper_request r = {.magic = HELPER_MAGIC, .kind = HELPER_RUN, .timeout_ms = timeout_ms};
    if (!argv[0] || *argv[0] != '/' || !gather(text, &r.length, argv, &r.argc) ||
        !gather(text, &r.length, env, &r.envc)) {
        err_set(err, -E2BIG,
                "%s: a command is an absolute path with at most %u arguments of %u "
                "bytes together",
                argv[0] ? argv[0] : "(empty command)", HELPER_ARGS, HELPER_TEXT);
        return 0;
    }
    struct command *c = NULL;
    for (unsigned i = 0; i < COMMANDS_MAX && !c; i++)
        c = h && !h->command[i].id ? &h->command[i] : NULL;
    if (helper_alive(h) && !c) {
        err_set(err, -EAGAIN, "%s was not run: %u commands are running or waiting already", argv[0],
                COMMANDS_MAX);
        return 0;
    }
    r.id = h ? h->next : 0;
    if (!ask(h, &r, text, err))
        return 0;
    *c = (struct command){h->next++, done, arg};
    return c->id;
}

/* ---- replies ---- */

static void forget_commands(struct helper *h, const char *why)
{
    struct helper_event e = {.kind = HELPER_FAILED, .fd = -1, .pidfd = -1};
    snprintf(e.text, sizeof e.text, "%s", why);
    for (unsigned i = 0; i < COMMANDS_MAX; i++) {
        struct command c = h->command[i];
        if (!c.id)
            continue;
        h->command[i].id = 0;
        e.id = c.id;
        if (c.done)
            c.done(c.arg, &e);
    }
}

static int gone(struct helper *h, helper_handler *worker, void *arg)
{
    struct helper_event e = {.kind = HELPER_GONE, .fd = -1, .pidfd = -1};
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
    if (h->told)
        return 0;
    h->told = true;
    int status;
    char text[64];
    bool reaped = waitpid(h->pid, &status, WNOHANG) == h->pid;
    if (reaped)
        h->pid = -1;
    snprintf(h->why, sizeof h->why,
             "penstock-helper is gone%s%s: nothing can be started until penstockd is restarted",
             reaped ? ", " : "", reaped ? helper_status_text(status, text) : "");
    snprintf(e.text, sizeof e.text, "%s", h->why);
    forget_commands(h, h->why);
    worker(arg, &e);
    return 1;
}

/* Where an event of a command goes. */
static bool to_command(struct helper *h, const struct helper_event *e)
{
    for (unsigned i = 0; i < COMMANDS_MAX; i++) {
        struct command c = h->command[i];
        if (c.id != e->id)
            continue;
        h->command[i].id = 0;
        if (c.done)
            c.done(c.arg, e);
        return true;
    }
    return false;
}

/* One packet. 1: an event; 0: nothing there; -1: the helper is gone. */
static int take(struct helper *h, struct helper_event *e, bool *command)
{
    struct helper_reply r;
    union {
        char buf[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } u;
    struct iovec v = {&r, sizeof r};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof u.buf};
    ssize_t n = recvmsg(h->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    int fds[2] = {-1, -1};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds, CMSG_DATA(c), (k < 2 ? k : 2) * sizeof(int));
        }
    static const enum helper_event_kind kinds[] = {
        [HELPER_R_SPAWNED] = HELPER_SPAWNED,
        [HELPER_R_EXITED] = HELPER_EXITED,
        [HELPER_R_RAN] = HELPER_RAN,
        [HELPER_R_FAILED] = HELPER_FAILED,
        [HELPER_R_RESTARTED] = HELPER_RESTARTED,
    };
    if (n < (ssize_t)HELPER_REPLY_HEAD || r.magic != HELPER_MAGIC || !r.kind ||
        r.kind >= PST_COUNT(kinds) || r.length != (size_t)n - HELPER_REPLY_HEAD ||
        (r.kind == HELPER_R_SPAWNED) != (fds[1] >= 0)) {
        for (int i = 0; i < 2; i++)
            if (fds[i] >= 0)
                close(fds[i]);
        return -1;
    }
    *e = (struct helper_event){.kind = kinds[r.kind],
                               .id = r.id,
                               .pid = r.pid,
                               .fd = fds[0],
                               .pidfd = fds[1],
                               .status = r.status,
                               .timed_out = r.timed_out};
    memcpy(e->text, r.text, r.length);
    e->text[r.length] = 0;
    *command = r.command;
    return 1;
}

int helper_poll(struct helper *h, helper_handler *worker, void *arg)
{
    int events = 0;
    if (!helper_alive(h))
        return h && !h->told ? gone(h, worker, arg) : 0;
    for (;;) {
        struct helper_event e;
        bool command;
        int k = take(h, &e, &command);
        if (k < 0)
            return events + gone(h, worker, arg);
        if (!k)
            return events;
        events++;
        if (e.kind == HELPER_RAN || (e.kind == HELPER_FAILED && command)) {
            to_command(h, &e);
            continue;
        }
        if (e.kind == HELPER_RESTARTED)
            forget_commands(h, e.text);
        worker(arg, &e);
    }
}

const char *helper_status_text(int status, char buf[64])
{
    if (WIFSIGNALED(status))
        snprintf(buf, 64, "signal %d (%.40s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(buf, 64, "exit code %d", WEXITSTATUS(status));
    return buf;
}
