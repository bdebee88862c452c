/* SPDX-License-Identifier: Apache-2.0 */
/* check_kernel.c - kernel, time, and what the daemon may do. */
#include <dirent.h>
#include "check_report.h"
#include "functions.h"
#include "print.h"

static void check_uring(struct check *k)
{
    char buf[32];
    if (!k->machine->io_uring)
        return;
    check_read(k, buf, sizeof buf, "/proc/sys/kernel/io_uring_disabled");
    if (!strcmp(buf, "2"))
        FIND(k, KERNEL_URING, "kernel.io_uring_disabled is 2",
             "sysctl -w kernel.io_uring_disabled=0");
    else if (!strcmp(buf, "1"))
        FIND(k, KERNEL_URING, "kernel.io_uring_disabled is 1 and this user is not in its group",
             "sysctl -w kernel.io_uring_group=$(id -g penstock)");
    else
        FIND(k, KERNEL_URING, check_text(k, "%s", strerror(k->machine->io_uring)),
             "in a container: a seccomp profile that allows io_uring_setup, _enter and _register");
}

static void check_time(struct check *k)
{
    static const char *const daemons[] = {"chronyd", "ptp4l", "ntpd", "systemd-timesyn"};
    char path[PATH_MAX];
    const char *runs = NULL;
    for (unsigned i = 0; i < PST_COUNT(daemons) && !runs; i++)
        if (check_process(k, daemons[i]))
            runs = daemons[i];
    if (!k->machine->clock_synced)
        FIND(k, TIME_UNSYNCED,
             runs ? check_text(k, "%s runs, but has not got there", runs)
                  : "none of chronyd, ptp4l, ntpd runs");
    else if (k->machine->clock_error > k->config->alarms.clock_error)
        FIND(k, TIME_ERROR, check_text(k, "%s", print_duration(k->machine->clock_error)),
             check_text(k, "%s", print_duration(k->config->alarms.clock_error)),
             check_text(k, "%lldus", (long long)k->machine->clock_error / 1000 * 2));
    bool wanted = false, phc = false;
    for (uint32_t i = 0; i < k->config->ports.count; i++)
        wanted |= k->config->ports.at[i].hw_timestamp && check_port_dpdk(&k->config->ports.at[i]);
    snprintf(path, sizeof path, "%s/sys/class/ptp", k->machine->root);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        phc |= e->d_name[0] != '.';
    if (d)
        closedir(d);
    if (wanted && !phc)
        FIND(k, TIME_NO_PHC);
}

/* The files of load functions; whether they hold what is named, workers see when they load them. */
static void check_load_functions(struct check *k)
{
    for (uint32_t i = 0; i < k->config->load.files.count; i++) {
        const struct config_load_file *f = &k->config->load.files.at[i];
        const char *const text[] = {f->read_function, f->post_read_function, f->save_function};
        for (unsigned n = 0; n < PST_COUNT(text); n++) {
            struct err why;
            if (text[n] &&
                !k->machine->plugin(
                    check_text(k, "%.*s", (int)(strrchr(text[n], ':') - text[n]), text[n]), &why))
                FIND(k, SAFE_LOAD, f->name, check_text(k, "%s", why.text));
        }
    }
}

/* Plugins and libraries of real-time processes are foreign code, too. */
static void check_rtp(struct check *k)
{
    struct err why;
    for (uint32_t i = 0; i < k->config->rtp.count; i++) {
        const struct config_rtp *g = &k->config->rtp.at[i];
        for (uint32_t n = 0; n < g->plugins.count; n++)
            if (!k->machine->plugin(g->plugins.at[n], &why))
                FIND(k, SAFE_RTP, g->name, check_text(k, "%s", why.text), "run without it");
        for (uint32_t n = 0; n < g->libraries.count; n++)
            if (!k->machine->plugin(g->libraries.at[n].file, &why))
                FIND(k, SAFE_RTP, g->name, check_text(k, "%s", why.text), "not begin");
    }
}

static void check_safety(struct check *k)
{
    const struct config *c = k->config;
    if (k->machine->uid == 0)
        FIND(k, SAFE_ROOT);
    if (c->socket_group && !k->machine->group(c->socket_group))
        FIND(k, SAFE_GROUP, c->socket_group);
    struct err why;
    for (uint32_t i = 0; i < c->plugins.count; i++)
        if (!k->machine->plugin(c->plugins.at[i], &why))
            FIND(k, SAFE_PLUGIN, check_text(k, "%s", why.text));
    check_rtp(k);
    const struct {
        const char *key, *text;
        int kind;
    } function[] = {{"log_recovery_function", c->log_recovery_function, PST_FUNCTION_RECOVERY},
                    {"initial_state_function", c->initial_state_function, PST_FUNCTION_INITIAL},
                    {"buffer_function", c->buffer_function, PST_FUNCTION_BUFFER}};
    for (unsigned i = 0; i < PST_COUNT(function); i++)
        if (!k->machine->function(function[i].kind, function[i].text, &why))
            FIND(k, SAFE_FUNCTION, function[i].key, check_text(k, "%s", why.text));
    check_load_functions(k);
    const struct config_names *command[] = {&c->alarm_exec, &c->post_save_exec,
                                            &c->load.post_batch_exec};
    static const char *const key[] = {"alarm_exec", "post_save_exec", "load.post_batch_exec"};
    for (unsigned i = 0; i < PST_COUNT(key); i++)
        if (command[i]->count && !k->machine->command(command[i]->at[0], &why))
            FIND(k, SAFE_COMMAND, key[i], check_text(k, "%s", why.text));
    int there = k->machine->socket(c->control_socket);
    if (there == 1)
        FIND(k, SAFE_SOCKET_BUSY, c->control_socket);
    else if (there == 2)
        FIND(k, SAFE_SOCKET_FILE, c->control_socket);
}

void check_kernel(struct check *k)
{
    char buf[32];
    unsigned major = 0, minor = 0;
    sscanf(k->machine->release, "%u.%u", &major, &minor);
    if (major < 6 || (major == 6 && minor < 1))
        FIND(k, KERNEL_OLD, k->machine->release);
    check_uring(k);
    if (check_read(k, buf, sizeof buf, "/proc/sys/kernel/tainted") && strcmp(buf, "0") != 0)
        FIND(k, KERNEL_TAINT, check_text(k, "%s", buf));
    check_time(k);
    check_safety(k);
    check_ipc(k);
}
