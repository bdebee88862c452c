/* SPDX-License-Identifier: Apache-2.0 */
/* struct pst_rtp_host: what plugins call. */
#include <errno.h>
#include "core/clock.h"
#include "host.h"

#define LINES 10u /* of a plugin's log, in a second */

/* ---- results ---- */

static struct pst_result *result(struct pst_rtp *r, const char *analytic)
{
    const struct host_analytic *x = analytic ? host_analytic_find(r->host, analytic) : NULL;
    struct pst_result *t = host_result_new(r);
    if (!t)
        return NULL;
    if (analytic && (!x || x->plugin != r || !x->a->columns ||
                     !host_result_columns(t, x->a->columns, x->a->ncolumns, x->a->key, &r->err))) {
        if (!r->err.code)
            host_fail(r, -ENOENT, "result: the plugin has no analytic %.64s with columns",
                      analytic);
        host_result_free(t);
        return NULL;
    }
    t->next = r->results;
    r->results = t;
    return t;
}

static void drop(struct pst_rtp *r, struct pst_result *t)
{
    struct pst_result **at = &r->results;
    while (*at && *at != t)
        at = &(*at)->next;
    if (!*at)
        return; /* not one of its own making */
    *at = t->next;
    host_result_free(t);
}

static int columns(struct pst_rtp *r, struct pst_result *t, const struct pst_column *c, uint32_t n,
                   const char *key)
{
    struct err err = {0};
    return host_result_columns(t, c, n, key, &err) ? 0 : host_fail(r, err.code, "%s", err.text);
}

static int full(struct pst_rtp *r, struct pst_result *t)
{
    if (!t->describing)
        return host_fail(r, -EINVAL, "full: only while describing");
    t->full = true;
    return 0;
}

static int add(struct pst_rtp *r, struct pst_result *t, const struct pst_value *row)
{
    struct err err;
    return pst_likely(host_result_add(t, row, &err)) ? 0 : host_fail(r, err.code, "%s", err.text);
}

static uint32_t rows(const struct pst_result *t)
{
    return t->rows;
}

static uint32_t subscriptions(const struct pst_rtp *r)
{
    return r->subs;
}

/* ---- the journal ---- */

static const struct pst_table *table(struct pst_rtp *r, const char *name)
{
    const struct host_table *t = host_table_newest(r->host, name);
    return t ? &t->pub : NULL;
}

static int want(struct pst_rtp *r, const char *name)
{
    struct host *h = r->host;
    if (!host_table_newest(h, name))
        return host_fail(r, -ENOENT, "there is no table %.64s", name);
    if (!host_in_subscriptions(h, name))
        return host_fail(
            r, -EACCES, "table %.64s is not among the subscriptions of this process's group", name);
    return host_wants_add(h, r->wants, name) ? 0 : host_fail(r, -ENOMEM, "no memory");
}

static void unwant(struct pst_rtp *r, const char *name)
{
    host_wants_remove(r->host, r->wants, name);
}

static struct pst_text symbol(struct pst_rtp *r, uint32_t id)
{
    return host_symbol(r->host, id);
}

static uint32_t find_symbol(struct pst_rtp *r, const char *text, uint32_t len)
{
    return host_symbol_find(r->host, text, len);
}

static uint32_t intern(struct pst_rtp *r, const char *text, uint32_t len)
{
    return host_symbol_own(r->host, text, len);
}

static uint64_t position(const struct pst_rtp *r)
{
    return r->host->position;
}

static struct pst_text calendar(struct pst_rtp *r, const char *name)
{
    const char *c = json_string_value(json_object_get(r->host->calendars, name));
    c = c ? c : "default";
    return (struct pst_text){c, (uint32_t)strlen(c)};
}

static int32_t day(struct pst_rtp *r)
{
    return r->host->day;
}

/* ---- time ---- */

static int64_t journal_time(struct pst_rtp *r)
{
    return r->host->time;
}

static int timer(struct pst_rtp *r, int64_t interval, uint32_t journal, pst_timer *fn, void *data)
{
    return host_timer_add(r, interval, journal != 0, fn, data);
}

static int64_t now(struct pst_rtp *r)
{
    (void)r;
    return clock_system();
}

/* ---- others ---- */

__attribute__((format(printf, 2, 3))) static int error(struct pst_rtp *r, const char *format, ...)
{
    va_list ap;
    if (r->err.code)
        return -1; /* the first one counts */
    va_start(ap, format);
    vsnprintf(r->err.text, sizeof r->err.text, format, ap);
    va_end(ap);
    r->err.code = -EINVAL;
    return -1;
}

static void line(struct pst_rtp *r, unsigned type, const char *format, va_list ap)
{
    char text[480], out[512];
    vsnprintf(text, sizeof text, format, ap);
    int n = snprintf(out, sizeof out, "%.24s: ", r->name);
    rtp_printable(out + n, sizeof out - (size_t)n, text, strlen(text));
    host_say_text(r->host, type, 0, out);
}

__attribute__((format(printf, 2, 3))) static void log_line(struct pst_rtp *r, const char *format,
                                                           ...)
{
    int64_t second = clock_monotonic() / NS_PER_S;
    if (second != r->log_second) {
        r->log_second = second;
        r->log_lines = 0;
    }
    if (++r->log_lines > LINES)
        return;
    va_list ap;
    va_start(ap, format);
    line(r, RTP_WIRE_LOG, format, ap);
    va_end(ap);
}

__attribute__((format(printf, 2, 3))) static void debug(struct pst_rtp *r, const char *format, ...)
{
    if (!r->host->debug)
        return;
    va_list ap;
    va_start(ap, format);
    line(r, RTP_WIRE_DEBUGGED, format, ap);
    va_end(ap);
}

static bool debugging(const struct pst_rtp *r)
{
    return r->host->debug;
}

static void set_debug(struct pst_rtp *r, bool on)
{
    r->host->debug = on;
}

static void disconnect(struct pst_rtp *r, int64_t connection)
{
    host_disconnect(r->host, r, connection);
}

static void *library(struct pst_rtp *r, const char *alias)
{
    for (unsigned i = 0; i < r->host->nlibraries; i++)
        if (!strcmp(r->host->library[i].alias, alias))
            return r->host->library[i].handle;
    return NULL;
}

static const char *option(struct pst_rtp *r, const char *name)
{
    return json_string_value(json_object_get(json_object_get(r->host->config, "options"), name));
}

const struct pst_rtp_host host_functions = {.abi = PST_RTP_ABI,
                                            .size = sizeof host_functions,
                                            .analytic = host_add_analytic,
                                            .processor = host_add_processor,
                                            .api = host_add_api,
                                            .hooks = host_add_hooks,
                                            .result = result,
                                            .columns = columns,
                                            .add = add,
                                            .rows = rows,
                                            .clear = host_result_clear,
                                            .publish = host_publish,
                                            .subscriptions = subscriptions,
                                            .table = table,
                                            .want = want,
                                            .unwant = unwant,
                                            .symbol = symbol,
                                            .find_symbol = find_symbol,
                                            .position = position,
                                            .history = host_history,
                                            .emit = host_emit,
                                            .insert = host_insert,
                                            .intern = intern,
                                            .edit = host_edit,
                                            .timer = timer,
                                            .stop_timer = host_timer_stop,
                                            .now = now,
                                            .error = error,
                                            .log = log_line,
                                            .debug = debug,
                                            .debugging = debugging,
                                            .set_debug = set_debug,
                                            .disconnect = disconnect,
                                            .library = library,
                                            .option = option,
                                            .drop = drop,
                                            .full = full,
                                            .calendar = calendar,
                                            .day = day,
                                            .time = journal_time};
