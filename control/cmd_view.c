/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that only look. */
#include <errno.h>
#include "cmd.h"
#include "buffer.h"
#include "core/clock.h"
#include "daemon.h"
#include "day.h"
#include "disks.h"
#include "figures.h"
#include "ledger.h"
#include "loading.h"
#include "core/nearest.h"
#include "publish/server.h"
#include "query_pool.h"
#include "topo.h"
#include "wiring.h"
#include "rtp/rtp.h"
#include "upstream.h"

static const char *health(const struct daemon *d)
{
    return alarms_count(&d->alarms, SEVERITY_FAIL)   ? "failed"
           : alarms_count(&d->alarms, SEVERITY_WARN) ? "degraded"
                                                     : "healthy";
}

static json_t *alarm_json(const struct alarm_state *a, int64_t now)
{
    const struct alarm_info *i = &alarm_table[a->code];
    return json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I}", "code", i->code, "severity",
                     i->severity == SEVERITY_FAIL ? "FAIL" : "WARN", "subject", a->subject, "text",
                     a->text, "since", (json_int_t)a->since, "age_ns", (json_int_t)(now - a->since),
                     "cleared", (json_int_t)a->cleared, "times", (json_int_t)a->times);
}

/* Failures before warnings, older before newer: worst first. */
static json_t *alarms_json(const struct daemon *d)
{
    json_t *list = json_array();
    int64_t now = clock_now(&d->clock);
    for (int severity = SEVERITY_FAIL; severity >= SEVERITY_WARN; severity--) {
        int64_t done = INT64_MIN;
        for (;;) {
            const struct alarm_state *next = NULL;
            for (unsigned i = 0; i < d->alarms.n; i++) {
                const struct alarm_state *a = &d->alarms.raised[i];
                if ((int)alarm_table[a->code].severity == severity && a->since > done &&
                    (!next || a->since < next->since))
                    next = a;
            }
            if (!next)
                break;
            done = next->since;
            for (unsigned i = 0; i < d->alarms.n; i++)
                if ((int)alarm_table[d->alarms.raised[i].code].severity == severity &&
                    d->alarms.raised[i].since == done)
                    json_array_append_new(list, alarm_json(&d->alarms.raised[i], now));
        }
    }
    return list;
}

/* So many subjects of a code hold beside those that are listed, by code. */
static json_t *more_json(const struct daemon *d)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < ALARMS; i++)
        if (d->alarms.more[i].n)
            json_object_set_new(o, alarm_table[i].code,
                                json_integer((json_int_t)d->alarms.more[i].n));
    return o;
}

static json_t *feeds_json(const struct daemon *d)
{
    json_t *a = json_array();
    for (unsigned i = 0; i < d->status->n_feeds; i++)
        json_array_append_new(a, figures_feed(d->status, &d->rates, i));
    return a;
}

static json_t *log_json(const struct daemon *d)
{
    static const char *const level[] = {"async", "written", "durable"};
    const struct status *s = d->status;
    const struct ring_head *h = d->ring.head;
    int e = load_relaxed(&s->log_errno);
    return json_pack(
        "{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:I,s:f}", "file", s->log_file, "level",
        level[d->config->durability], "tail", (json_int_t)load_acquire(&h->tail), "submitted",
        (json_int_t)load_relaxed(&h->submitted), "written", (json_int_t)load_relaxed(&h->written),
        "durable", (json_int_t)load_relaxed(&h->durable), "free",
        (json_int_t)load_relaxed(&s->log_free), "error", e ? strerror(e) : "", "error_since",
        (json_int_t)load_relaxed(&s->log_error_since), "rate", d->rates.log.per_s);
}

json_t *cmd_status(struct cmd_request *req, struct err *err)
{
    (void)err;
    const struct daemon *d = req->daemon;
    const struct status *s = d->status;
    const struct ring_head *h = d->ring.head;
    int64_t now = clock_now(&d->clock), oldest = load_relaxed(&s->log_oldest);
    char day[16];
    struct query_pool_figures q = {0};
    if (d->queries)
        query_pool_figures(d->queries, &q);
    json_t *r = json_pack(
        "{s:s,s:s,s:s,s:s,s:I,s:I,s:o,s:o,s:o,s:o,s:{s:I,s:I},s:o,s:o,s:{s:i,s:i,s:i,s:i},s:o,s:o}",
        "instance", s->instance, "version", PST_VERSION, "day", figures_day(d->day, day), "health",
        health(d), "up_ns", (json_int_t)(clock_system() - s->started), "durable_lag_ns",
        (json_int_t)(oldest ? now - oldest : 0), "alarms", alarms_json(d), "feeds", feeds_json(d),
        "log", log_json(d), "disks", disks_json(d->disks), "ring", "size",
        (json_int_t)ring_size(&d->ring), "used",
        (json_int_t)(load_acquire(&h->tail) - load_relaxed(&h->guard)), "ledger",
        ledger_brief(d->ledger), "days", day_brief(d->days), "queries", "processes",
        (int)q.processes, "ready", (int)q.ready, "running", (int)q.running, "queued", (int)q.queued,
        "buffers", buffer_active(d), "subscribers", server_brief(d->server));
    json_object_set_new(r, "more_alarms", more_json(d));
    json_t *rtp = rtp_status(d);
    if (rtp)
        json_object_set_new(r, "rtp", rtp);
    if (d->upstream)
        json_object_set_new(r, "upstream", upstream_status(d));
    if (d->loading)
        json_object_set_new(r, "load", loading_json(d->loading));
    return r;
}

json_t *cmd_feeds(struct cmd_request *req, struct err *err)
{
    (void)err;
    return json_pack("{s:s,s:o}", "health", health(req->daemon), "feeds", feeds_json(req->daemon));
}

static int need_feed(struct cmd_request *req, struct err *err)
{
    const struct status *s = req->daemon->status;
    const char *name = cmd_arg(req, 0);
    if (!name) {
        err_set(err, -EINVAL, "name a feed; `feeds` lists them");
        return -1;
    }
    int i = figures_feed_index(s, name);
    if (i < 0) {
        const char *names[STATUS_FEEDS];
        for (unsigned k = 0; k < s->n_feeds; k++)
            names[k] = s->feeds[k].name;
        const char *near = nearest_word(name, names, s->n_feeds);
        err_set(err, -EINVAL, "no feed '%.40s'%s%s%s", name, near ? ", did you mean " : "",
                near ? near : "", near ? "?" : "; `feeds` lists them");
    }
    return i;
}

json_t *cmd_feed(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    int f = need_feed(req, err);
    const char *verb = cmd_arg(req, 1);
    if (f < 0)
        return NULL;
    if (!verb)
        return json_pack("{s:o}", "feed", figures_feed(d->status, &d->rates, (unsigned)f));
    if (!cmd_need(req, LEVEL_OPERATE, err) || !wiring_feed_command(d, (unsigned)f, -1, verb, err))
        return NULL;
    if (!daemon_operator_mark(d, req->peer, "feed", req->args)) {
        err_set(err, -EAGAIN, "done, but the journal is full and holds no mark of it; repeat it");
        return NULL;
    }
    char text[128];
    snprintf(text, sizeof text, "feed %s: %s", d->status->feeds[f].name, verb);
    return json_pack("{s:s}", "done", text);
}

json_t *cmd_line(struct cmd_request *req, struct err *err)
{
    struct daemon *d = req->daemon;
    int f = need_feed(req, err);
    const char *name = cmd_arg(req, 1), *verb = cmd_arg(req, 2);
    if (f < 0)
        return NULL;
    int l = name ? figures_line_index(d->status, (unsigned)f, name) : -1;
    if (l < 0) {
        err_set(err, -EINVAL, "feed %s has no line '%.40s'; `feed %s` lists them",
                d->status->feeds[f].name, name ? name : "", d->status->feeds[f].name);
        return NULL;
    }
    if (!verb) {
        json_t *o = figures_line(d->status, &d->rates, (unsigned)f, (unsigned)l);
        const struct status_line *x = &d->status->feeds[f].line[l];
        int64_t sent = wiring_sent(d, (unsigned)f, x);
        if (sent) {
            json_object_set_new(o, "sent", json_integer(sent));
            json_object_set_new(o, "sent_before_ns",
                                json_integer(load_relaxed(&x->send_rx) - sent));
        }
        return json_pack("{s:o}", "line", o);
    }
    if (!cmd_need(req, LEVEL_OPERATE, err) || !wiring_feed_command(d, (unsigned)f, l, verb, err))
        return NULL;
    if (!daemon_operator_mark(d, req->peer, "line", req->args)) {
        err_set(err, -EAGAIN, "done, but the journal is full and holds no mark of it; repeat it");
        return NULL;
    }
    char text[128];
    snprintf(text, sizeof text, "line %s of feed %s: %s", name, d->status->feeds[f].name, verb);
    return json_pack("{s:s}", "done", text);
}

/* Where a table's rows come from, for people. */
static const char *table_source(const struct daemon *d, const struct schema *s)
{
    for (unsigned i = 0; i < d->config->tables.count; i++)
        if (!strcmp(d->config->tables.at[i].name, s->name))
            return "publishers (configuration)";
    if (s->feed)
        return !strcmp(s->name, "undecoded") ? "feeds: what no decoder could place" : "feeds";
    if (config_rtp_table(d->config, s->name))
        return "processors (rtp)";
    return !strcmp(s->name, "gap") || !strcmp(s->name, "alarm") ||
                   (d->config->mon_cpu && !strcmp(s->name, "monCPU"))
               ? "penstock"
               : "no longer in the configuration";
}

json_t *cmd_tables(struct cmd_request *req, struct err *err)
{
    (void)err;
    const struct daemon *d = req->daemon;
    json_t *a = json_array();
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(d->schemas, id);
        if (s && schema_set_find(d->schemas, s->name) == s)
            json_array_append_new(a, json_pack("{s:s,s:i,s:i,s:b,s:s}", "table", s->name, "id",
                                               (int)id, "columns", (int)s->ncols, "feed", s->feed,
                                               "from", table_source(d, s)));
    }
    return a;
}

json_t *cmd_schema(struct cmd_request *req, struct err *err)
{
    const char *name = cmd_arg(req, 0);
    const struct schema *s = name ? schema_set_find(req->daemon->schemas, name) : NULL;
    if (!s) {
        if (name)
            err_set(err, -EINVAL, "no table '%.40s'; `tables` lists them", name);
        else
            err_set(err, -EINVAL, "name a table; `tables` lists them");
        return NULL;
    }
    json_t *cols = json_array();
    for (unsigned i = 0; i < s->ncols; i++) {
        const char letter[2] = {type_letter(s->col[i].type), 0};
        bool key = false;
        for (unsigned k = 0; k < s->nkeys; k++)
            key |= s->keys[k] == i;
        json_array_append_new(cols, json_pack("{s:s,s:s,s:s,s:s}", "c", s->col[i].name, "t", letter,
                                              "type", type_name(s->col[i].type), "from",
                                              s->col[i].packet ? "packet"
                                              : key            ? "key"
                                                               : ""));
    }
    return json_pack("{s:s,s:i,s:b,s:o}", "table", s->name, "id", (int)s->id, "feed", s->feed,
                     "columns", cols);
}

json_t *cmd_alarms(struct cmd_request *req, struct err *err)
{
    (void)err;
    const struct daemon *d = req->daemon;
    json_t *cleared = json_array();
    for (unsigned i = d->alarms.n_recent; i-- > 0;)
        json_array_append_new(cleared,
                              alarm_json(&d->alarms.recent[i], d->alarms.recent[i].cleared));
    return json_pack("{s:s,s:o,s:o,s:o}", "health", health(d), "raised", alarms_json(d), "more",
                     more_json(d), "cleared", cleared);
}

json_t *cmd_explain(struct cmd_request *req, struct err *err)
{
    const char *code = cmd_arg(req, 0);
    int i = code ? alarm_find(code) : -1;
    if (i < 0) {
        const char *names[ALARMS];
        for (unsigned k = 0; k < ALARMS; k++)
            names[k] = alarm_table[k].code;
        const char *near = code ? nearest_word(code, names, ALARMS) : NULL;
        if (code)
            err_set(err, -EINVAL, "no alarm code '%.40s'%s%s%s", code,
                    near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
        else
            err_set(err, -EINVAL, "name an alarm; `alarms` lists those that are raised");
        return NULL;
    }
    const struct alarm_info *a = &alarm_table[i];
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "code", a->code, "severity",
                     a->severity == SEVERITY_FAIL ? "FAIL" : "WARN", "sentence", a->sentence,
                     "raise", a->raise, "clear", a->clear, "remedy", a->remedy);
}

json_t *cmd_topo(struct cmd_request *req, struct err *err)
{
    (void)err;
    return topo_json(req->daemon);
}

json_t *cmd_counters(struct cmd_request *req, struct err *err)
{
    (void)err;
    const struct daemon *d = req->daemon;
    return json_pack("{s:o,s:o,s:o}", "counters", figures_counters(d->status), "ports",
                     wiring_port_stats(d), "threads", figures_threads(d->status));
}

json_t *cmd_latency(struct cmd_request *req, struct err *err)
{
    (void)err;
    return figures_latency(req->daemon->status);
}

json_t *cmd_ledger(struct cmd_request *req, struct err *err)
{
    wiring_port_tick(req->daemon); /* the devices' figures as of now */
    return ledger_json(req->daemon->ledger, cmd_flag(req, "--verify"), err);
}
