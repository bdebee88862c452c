/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin with every bad habit: what the sandbox and the pool have to survive (query.sh). */
#include <penstock/plugin.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RUN(name) static int name(struct pst_call *call, const struct pst_value *arg, void *data)

static int say(struct pst_call *call, const char *text)
{
    struct pst_value v = {.type = PST_STRING, .text = {text, (uint32_t)strlen(text)}};
    return pst_host->append(call, &v);
}

RUN(crash)
{
    (void)call, (void)arg, (void)data;
    raise(SIGSEGV);
    return 0;
}
RUN(aborts)
{
    (void)call, (void)arg, (void)data;
    abort();
}
RUN(exits) /* as if all was well */
{
    (void)call, (void)arg, (void)data;
    exit(0);
}
RUN(spin) /* hears nothing */
{
    (void)call, (void)arg, (void)data;
    for (volatile unsigned i = 0;; i++)
        ;
    return 0;
}
RUN(polite) /* hears */
{
    (void)arg, (void)data;
    while (!pst_host->cancelled(call))
        usleep(1000);
    return -1;
}
RUN(hog) /* takes all memory there is */
{
    (void)arg, (void)data;
    uint64_t n = 0;
    for (char *p; (p = mmap(NULL, 16u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                            -1, 0)) != MAP_FAILED;
         n += 16)
        memset(p, 1, 16u << 20);
    char text[64];
    snprintf(text, sizeof text, "%s after %llu MiB", strerror(errno), (unsigned long long)n);
    return pst_host->error(call, "%s", text);
}
RUN(leak)
{
    (void)arg, (void)data;
    for (int i = 0; i < 64; i++)
        if (!memset(malloc(1 << 20), i, 1 << 20))
            return -1;
    return say(call, "leaked");
}
RUN(scribble) /* over whatever lies around its result */
{
    (void)arg, (void)data;
    memset((void *)call, 0xA5, 4096);
    return 0;
}
RUN(endless_rows)
{
    (void)arg, (void)data;
    while (!say(call, "one more"))
        ;
    return -1;
}
RUN(forks)
{
    (void)arg, (void)data;
    return fork() < 0 ? pst_host->error(call, "fork: %s", strerror(errno)) : say(call, "forked");
}
RUN(runs_shell)
{
    (void)arg, (void)data;
    return system("touch /tmp/penstock-misbehaved") ? -1 : say(call, "ran");
}
RUN(dials)
{
    (void)arg, (void)data;
    return socket(AF_INET, SOCK_STREAM, 0) < 0 ? pst_host->error(call, "%s", strerror(errno))
                                               : say(call, "dialled");
}
RUN(kills)
{
    (void)arg, (void)data;
    return kill(getppid(), SIGKILL) ? pst_host->error(call, "%s", strerror(errno))
                                    : say(call, "killed");
}
RUN(writes)
{
    (void)arg, (void)data;
    int fd = open("/tmp/penstock-misbehaved", O_WRONLY | O_CREAT, 0600);
    return fd < 0 ? pst_host->error(call, "open: %s", strerror(errno)) : say(call, "written");
}
RUN(talks) /* garbage on the process's own socket */
{
    (void)arg, (void)data;
    char garbage[256];
    memset(garbage, 0x5A, sizeof garbage);
    for (int i = 0; i < 100; i++)
        if (send(3, garbage, sizeof garbage, MSG_NOSIGNAL) < 0)
            break;
    return say(call, "talked");
}
RUN(floods) /* with messages that are well formed */
{
    (void)arg, (void)data;
    unsigned char log[36] = {0x50, 0x53, 0x54, 0x51, 1, 0, 7, 0, 0, 0, 0, 0, 4};
    memcpy(log + 32, "more", 4);
    while (!pst_host->cancelled(call))
        if (send(3, log, sizeof log, MSG_NOSIGNAL) < 0)
            break;
    return say(call, "flooded");
}
RUN(hangs_up)
{
    (void)call, (void)arg, (void)data;
    close(3);
    for (;;)
        usleep(1000);
    return 0;
}
RUN(logs)
{
    (void)arg, (void)data;
    for (int i = 0; i < 10000; i++)
        pst_host->log("line %d \x1b[31m", i);
    return say(call, "logged");
}
RUN(wrong_type)
{
    (void)arg, (void)data;
    struct pst_value v = {.type = PST_LONG, .i = 1};
    return pst_host->append(call, &v);
}
RUN(fails)
{
    (void)arg, (void)data;
    return pst_host->error(call, "as it was told to");
}
RUN(echo)
{
    (void)data;
    char text[200];
    snprintf(text, sizeof text, "%.*s %lld %g", (int)arg[0].text.len, arg[0].text.at,
             (long long)arg[1].i, arg[2].f);
    return say(call, text);
}

static const struct pst_column column[] = {{"said", PST_STRING}};
static const struct pst_parameter echoes[] = {{"text", PST_STRING, NULL, "what is said"},
                                              {"n", PST_LONG, "7", "a number"},
                                              {"f", PST_FLOAT, "0.5", "another"}};
static const struct pst_query queries[] = {
#define Q(name)                                                                                    \
    {                                                                                              \
#name, "misbehaves", NULL, 0, column, 1, name, NULL                                        \
    }
    Q(crash),      Q(aborts),     Q(exits),
    Q(spin),       Q(polite),     Q(hog),
    Q(leak),       Q(scribble),   Q(endless_rows),
    Q(forks),      Q(runs_shell), Q(dials),
    Q(kills),      Q(writes),     Q(talks),
    Q(floods),     Q(hangs_up),   Q(logs),
    Q(wrong_type), Q(fails),      {"echo", "behaves", echoes, 3, column, 1, echo, NULL}};

PST_PLUGIN("misbehave", "1", "Every bad habit.")
PST_PLUGIN_EXPORT int pst_plugin_register(struct pst_registry *r)
{
    for (unsigned i = 0; i < sizeof queries / sizeof *queries; i++)
        if (pst_host->add(r, &queries[i]))
            return -1;
    return 0;
}
