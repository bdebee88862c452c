/* SPDX-License-Identifier: Apache-2.0 */
/* post_save_exec: the operator's command behind a publication, run once by the helper, never waited
 * for. A stop between publication and command loses the command, never the partition. */
#include "core/civil.h"
#include "day_parts.h"
#include "helper.h"

#define TIMEOUT_MS 600000

static void ran(void *arg, const struct helper_event *ev)
{
    struct day *y = arg;
    char status[64];
    for (unsigned i = 0; i < y->n; i++) {
        struct day_entry *e = y->entry[i];
        if (!e->hook || e->hook != ev->id)
            continue;
        bool ok = ev->kind == HELPER_RAN && !ev->timed_out && ev->status == 0;
        e->hook = 0;
        e->post_save_failed = !ok;
        snprintf(e->post_save, sizeof e->post_save, "%.60s%s%.100s",
                 ok                       ? "done"
                 : ev->kind != HELPER_RAN ? "could not be run"
                 : ev->timed_out          ? "stopped after ten minutes"
                                          : helper_status_text(ev->status, status),
                 *ev->text ? ": " : "", ev->text);
        if (!ok)
            fprintf(stderr, "penstockd: post_save_exec: %s\n", e->post_save);
    }
}

void day_hook(struct day *y, struct day_entry *e)
{
    const struct config_names *c = &y->d->config->post_save_exec;
    const char *argv[HELPER_ARGS + 1] = {NULL}, *env[8] = {NULL};
    char text[7][600], tables[500], date[CIVIL_TEXT];
    struct err err = {0};
    if (!c->count || y->d->replay)
        return;
    for (uint32_t i = 0; i < c->count && i < HELPER_ARGS; i++)
        argv[i] = c->at[i];
    size_t n = 0, i;
    json_t *t, *list = json_object_get(e->result, "tables");
    tables[0] = 0;
    json_array_foreach(list, i, t)
    {
        const char *name = json_string_value(json_object_get(t, "table"));
        if (json_integer_value(json_object_get(t, "rows")) && n < sizeof tables)
            n += (size_t)snprintf(tables + n, sizeof tables - n, "%s%s", n ? "," : "", name);
    }
    snprintf(text[0], sizeof text[0], "PENSTOCK_INSTANCE=%s", y->d->config->instance);
    snprintf(text[1], sizeof text[1], "PENSTOCK_DATE=%s", civil_format(e->cat.day, date));
    snprintf(text[2], sizeof text[2], "PENSTOCK_CALENDAR=%s", e->cat.calendar);
    snprintf(text[3], sizeof text[3], "PENSTOCK_DATABASE=%.570s", y->root);
    snprintf(text[4], sizeof text[4], "PENSTOCK_TABLES=%s", tables);
    snprintf(text[5], sizeof text[5], "PENSTOCK_ROWS=%llu", (unsigned long long)e->cat.rows);
    snprintf(text[6], sizeof text[6], "PENSTOCK_EPOCH=%llu", (unsigned long long)e->cat.epoch);
    for (unsigned k = 0; k < 7; k++)
        env[k] = text[k];
    e->hook = y->d->helper ? helper_run(y->d->helper, argv, env, TIMEOUT_MS, ran, y, &err) : 0;
    e->post_save_failed = !e->hook;
    snprintf(e->post_save, sizeof e->post_save, "%s",
             e->hook        ? "running"
             : y->d->helper ? err.text
                            : "the helper is gone");
}
