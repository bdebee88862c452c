/* SPDX-License-Identifier: Apache-2.0 */
#include "hooks.h"

#include "core/clock.h"
#include "daemon.h"
#include "helper.h"
#include "query_pool.h"

#define MINUTE  (60 * NS_PER_S)
#define ENV_MAX 12u

static int64_t failed_at; /* monotonic, 0 = never */
static char failure[200];

static void failed(const char *what, const char *why)
{
    failed_at = clock_monotonic();
    snprintf(failure, sizeof failure, "%.60s: %.130s", what, why);
    fprintf(stderr, "penstockd: %s: %s\n", what, why);
}

static void done(void *what, const struct helper_event *e)
{
    char text[700], status[64];
    if (e->kind == HELPER_RAN && !e->timed_out && e->status == 0)
        return;
    if (e->kind == HELPER_RAN)
        snprintf(text, sizeof text, "%s%s%s%s", e->timed_out ? "stopped after a minute, " : "",
                 helper_status_text(e->status, status), *e->text ? ": " : "", e->text);
    else
        snprintf(text, sizeof text, "%s", e->text);
    failed(what, text);
}

struct env {
    const char *item[ENV_MAX + 1];
    char text[ENV_MAX][600];
    unsigned n;
};

static void set(struct env *e, const char *name, const char *value)
{
    snprintf(e->text[e->n], sizeof e->text[0], "%s=%s", name, value);
    e->item[e->n] = e->text[e->n];
    e->item[++e->n] = NULL;
}

static void run(struct daemon *d, const struct config_names *command, struct env *e, char *what)
{
    const char *argv[HELPER_ARGS + 1] = {NULL};
    struct err err;
    for (uint32_t i = 0; i < command->count && i < HELPER_ARGS; i++)
        argv[i] = command->at[i];
    if (!helper_run(d->helper, argv, e->item, HOOKS_TIMEOUT_MS, done, what, &err))
        failed(what, err.text);
}

void hooks_alarm(struct daemon *d, const struct alarm_state *a, bool raised)
{
    static char what[] = "alarm_exec";
    const struct config_names *command = &d->config->alarm_exec;
    if (!command->count || !d->helper || a->code == ALARM_EXEC_FAILED ||
        a->code == ALARM_HELPER_GONE)
        return;
    const struct alarm_info *info = &alarm_table[a->code];
    struct env e = {.n = 0};
    set(&e, "PENSTOCK_INSTANCE", d->config->instance);
    set(&e, "PENSTOCK_ALARM", info->code);
    set(&e, "PENSTOCK_STATE", raised ? "raised" : "cleared");
    set(&e, "PENSTOCK_SEVERITY", info->severity == SEVERITY_FAIL ? "fail" : "warn");
    set(&e, "PENSTOCK_SUBJECT", a->subject);
    set(&e, "PENSTOCK_TEXT", a->text);
    set(&e, "PENSTOCK_REMEDY", info->remedy);
    run(d, command, &e, what);
}

void hooks_alarms(struct daemon *d, int64_t now)
{
    struct alarms *a = &d->alarms;
    int64_t mono = clock_monotonic();
    alarm_check(a, now, ALARM_EXEC_FAILED, "", failed_at && mono - failed_at < MINUTE, 0, "%s",
                failure);
    if (d->replay)
        return;
    alarm_check(a, now, ALARM_HELPER_GONE, "", !helper_alive(d->helper), 0,
                "no query runs and no command is started until penstockd is restarted");
    if (!d->queries)
        return;
    struct query_pool_figures f;
    query_pool_figures(d->queries, &f);
    alarm_check(a, now, ALARM_QUERY_RESTARTS, "", f.last_restart && mono - f.last_restart < MINUTE,
                0, "%llu query processes died since the start, the last one: %s",
                (unsigned long long)f.restarts, f.last_reason);
    json_t *plugins = query_pool_plugins(d->queries);
    json_t *first = json_array_get(json_object_get(plugins, "failed"), 0);
    const char *why = json_string_value(json_object_get(first, "error"));
    alarm_check(a, now, ALARM_PLUGIN_FAILED, "", first != NULL, 0, "%.230s", why ? why : "?");
    json_decref(plugins);
}
