/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs: groups are started and stopped, functions called, plugins loaded. */
#include <errno.h>
#include "core/clock.h"
#include "core/trusted.h"
#include "rtp_pool.h"

struct rtp_group *rtp_pool_group(struct rtp_pool *p, const char *name, struct err *err)
{
    for (unsigned g = 0; g < p->groups; g++)
        if (!strcmp(p->group[g].c->name, name))
            return &p->group[g];
    err_set(err, -ENOENT, "there is no group '%.60s'; penstock rtp lists them", name);
    return NULL;
}

static void processes(struct rtp_pool *p, struct rtp_group *g, unsigned type, uint64_t id,
                      uint64_t value, const char *body)
{
    for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++)
        if (g->process[k].state == RTP_READY || g->process[k].state == RTP_RUNNING)
            rtp_process_send(p, &g->process[k], type, id, value, body, body ? strlen(body) : 0);
}

bool rtp_pool_start(struct rtp_pool *p, struct rtp_group *g, struct err *err)
{
    if (g->go && !g->off)
        return err_set(err, -EALREADY, "%s runs already%s", g->c->name,
                       g->on_demand ? ", while somebody subscribes" : "");
    g->go = true;
    g->off = false;
    for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++) {
        if (g->process[k].state == RTP_OFF)
            g->process[k].due = p->now;
        rtp_process_go(p, &g->process[k]);
    }
    return true;
}

bool rtp_pool_stop(struct rtp_pool *p, struct rtp_group *g, struct err *err)
{
    (void)p;
    if (g->off)
        return err_set(err, -EALREADY, "%s is stopped already", g->c->name);
    g->off = true; /* its processes are told in the next round */
    return true;
}

bool rtp_pool_restart(struct rtp_pool *p, struct rtp_group *g, struct err *err)
{
    (void)err;
    g->off = false;
    g->go = true;
    for (unsigned k = 0; k < RTP_PROCESSES_MAX; k++) {
        struct rtp_process *x = &g->process[k];
        x->due = p->now;
        if (x->state == RTP_OFF || x->stopping)
            continue;
        x->stopping = true; /* its end is wanted; the next life begins at once */
        x->since = p->now;
        if (x->state == RTP_READY || x->state == RTP_RUNNING)
            rtp_process_send(p, x, RTP_WIRE_STOP, 0, 0, NULL, 0);
        else
            rtp_process_kill(p, x, "restarted");
    }
    return true;
}

void rtp_pool_debug(struct rtp_pool *p, struct rtp_group *g, bool on)
{
    g->debug = on;
    processes(p, g, RTP_WIRE_DEBUG, 0, on, NULL);
}

/* ---- functions ---- */

bool rtp_pool_call(struct rtp_pool *p, struct rtp_group *g, unsigned k, const void *ask, size_t n,
                   uint64_t ticket, int64_t until, struct err *err)
{
    if (k >= (unsigned)g->c->processes)
        return err_set(err, -ENOENT, "%s has processes 0 to %lld", g->c->name,
                       (long long)g->c->processes - 1);
    struct rtp_process *x = &g->process[k];
    if (x->state != RTP_READY && x->state != RTP_RUNNING)
        return err_set(err, -EAGAIN, "%s/%u does not run%s%s", g->c->name, k,
                       *g->why ? ": it ended because " : "", g->why);
    struct rtp_call *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, -ENOMEM, "no memory");
    *c = (struct rtp_call){
        .next = p->calls, .id = p->next_call++, .ticket = ticket, .life = x->life, .until = until};
    p->calls = c;
    if (rtp_process_send(p, x, RTP_WIRE_CALL, c->id, 0, ask, n))
        return true;
    p->calls = c->next;
    free(c);
    return err_set(err, -EPIPE, "%s/%u has just ended", g->c->name, k);
}

void rtp_calls_answer(struct rtp_pool *p, uint64_t id, const struct rtp_said *m, const char *why)
{
    for (struct rtp_call **at = &p->calls; *at; at = &(*at)->next) {
        struct rtp_call *c = *at;
        if (c->id != id)
            continue;
        *at = c->next;
        p->hooks.answer(p->hooks.arg, c->ticket, m, why);
        free(c);
        return;
    }
}

void rtp_calls_ended(struct rtp_pool *p, uint64_t life, const char *why)
{
    char text[400];
    snprintf(text, sizeof text, "its process ended during the call: %.300s", why);
    for (struct rtp_call **at = &p->calls; *at;) {
        struct rtp_call *c = *at;
        if (c->life != life) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        p->hooks.answer(p->hooks.arg, c->ticket, NULL, text);
        free(c);
    }
}

int rtp_calls_late(struct rtp_pool *p)
{
    int n = 0;
    for (struct rtp_call **at = &p->calls; *at;) {
        struct rtp_call *c = *at;
        if (p->now < c->until) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        p->hooks.answer(p->hooks.arg, c->ticket, NULL,
                        "it did not answer in time; it may still do what it was called for");
        free(c);
        n++;
    }
    return n;
}

/* ---- plugins ---- */

static bool listed(json_t *list, const char *file, size_t *at)
{
    json_t *x;
    size_t i;
    json_array_foreach(list, i, x)
    {
        if (!strcmp(json_string_value(x), file)) {
            *at = i;
            return true;
        }
    }
    return false;
}

static void op_done(struct rtp_pool *p, struct rtp_group *g)
{
    struct rtp_op *op = &g->op;
    size_t i;
    op->on = false;
    if (!*op->failed && op->load)
        json_array_append_new(g->plugins, json_string(op->file));
    else if (!*op->failed && listed(g->plugins, op->file, &i))
        json_array_remove(g->plugins, i);
    p->hooks.answer(p->hooks.arg, op->ticket, NULL, op->failed);
}

void rtp_op_answered(struct rtp_pool *p, struct rtp_process *x, uint64_t id, const char *failed)
{
    struct rtp_group *g = &p->group[x->g];
    if (!x->op || id != x->op)
        return;
    x->op = 0;
    if (!g->op.on || g->op.id != id)
        return;
    if (*failed && !*g->op.failed)
        snprintf(g->op.failed, sizeof g->op.failed, "%.900s", failed);
    if (!--g->op.waiting)
        op_done(p, g);
}

bool rtp_pool_plugin(struct rtp_pool *p, struct rtp_group *g, bool load, const char *file,
                     uint64_t ticket, struct err *err)
{
    char real[TRUSTED_PATH];
    size_t i;
    struct rtp_op *op = &g->op;
    if (op->on)
        return err_set(err, -EBUSY, "%s is loading or unloading a plugin; try again", g->c->name);
    if (*file != '/' || strlen(file) >= sizeof op->file)
        return err_set(err, -EINVAL, "'%.100s' is no absolute path of a .so file", file);
    if (load && listed(g->plugins, file, &i))
        return err_set(err, -EEXIST, "%s has %.200s already", g->c->name, file);
    if (!load && !listed(g->plugins, file, &i))
        return err_set(err, -ENOENT, "%s has no plugin %.200s", g->c->name, file);
    if (load && !trusted_file(file, real, "plugin", err))
        return false;
    *op = (struct rtp_op){.on = true, .load = load, .id = p->next_call++, .ticket = ticket};
    memcpy(op->file, file, strlen(file) + 1);
    json_t *o = json_pack("{s:s}", load ? "load" : "unload", file);
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    op->waiting = 1; /* until all are asked */
    for (unsigned k = 0; text && k < RTP_PROCESSES_MAX; k++) {
        struct rtp_process *x = &g->process[k];
        if ((x->state != RTP_READY && x->state != RTP_RUNNING) || x->stopping)
            continue;
        x->op = op->id;
        op->waiting++;
        if (!rtp_process_send(p, x, RTP_WIRE_PLUGIN, op->id, 0, text, strlen(text)))
            rtp_op_answered(p, x, op->id, "its process has just ended");
    }
    free(text);
    if (!--op->waiting)
        op_done(p, g);
    return true;
}

/* ---- what there is ---- */

static const char *state_text(const struct rtp_group *g, const struct rtp_process *x)
{
    switch (x->state) {
    case RTP_OFF:
        return g->off || (g->on_demand && !g->wanted) ? "stopped" : "waits";
    case RTP_ASKED:
    case RTP_STARTED:
        return "starts";
    case RTP_READY:
        return "ready";
    case RTP_RUNNING:
        return x->beat.replaying ? "replaying" : "runs";
    case RTP_ENDING:
        break;
    }
    return "ends";
}

static json_t *process_json(const struct rtp_group *g, const struct rtp_process *x)
{
    json_t *o = json_pack("{s:i,s:s,s:i,s:I,s:f,s:I,s:I}", "process", (int)x->k, "state",
                          state_text(g, x), "pid", (int)x->pid, "position",
                          (json_int_t)x->beat.position, "busy", (double)x->busy / 10.0, "memory",
                          (json_int_t)x->heap, "restarts", (json_int_t)x->restarts);
    const uint64_t *v = (const uint64_t *)&x->beat;
    static const char *const names[] = {
#define X(name, about) #name,
        RTP_BEAT(X)
#undef X
    };
    json_t *beat = json_object();
    for (unsigned i = 0; i < PST_COUNT(names); i++)
        json_object_set_new(beat, names[i],
                            json_integer((json_int_t)(v[i] > INT64_MAX ? INT64_MAX : v[i])));
    json_object_set_new(o, "beat", beat);
    return o;
}

static json_t *names_of(const json_t *ready, const char *list)
{
    json_t *names = json_array();
    const json_t *x;
    size_t i;
    json_array_foreach(json_object_get(ready, list), i, x)
        json_array_append(names, json_object_get(x, "name"));
    return names;
}

/* The tables that its processors write, as their plugins said. */
static json_t *writes(const struct rtp_pool *p, const struct rtp_group *g)
{
    json_t *list = json_array();
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s =
            g->source.may[id] ? schema_set_get(p->rows->cfg.rows.schemas, id) : NULL;
        if (s)
            json_array_append_new(list, json_string(s->name));
    }
    return list;
}

/* ns ago; -1: never */
static json_t *since(const struct rtp_pool *p, int64_t at)
{
    return json_integer(at ? (json_int_t)(p->now - at) : -1);
}

json_t *rtp_pool_list(struct rtp_pool *p)
{
    static const char *const modes[] = {"single", "round_robin", "least_loaded", "broadcast"};
    json_t *list = json_array();
    for (unsigned i = 0; i < p->groups; i++) {
        struct rtp_group *g = &p->group[i];
        json_t *processes = json_array();
        for (unsigned k = 0; k < (unsigned)g->c->processes; k++)
            json_array_append_new(processes, process_json(g, &g->process[k]));
        json_t *o = json_pack("{s:s,s:s,s:b,s:b,s:b,s:O,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:s,s:s}",
                              "group", g->c->name, "mode", modes[g->c->mode], "vanilla",
                              g->c->vanilla, "stopped", g->off, "debug", g->debug, "plugins",
                              g->plugins, "analytics", names_of(g->ready, "analytics"),
                              "processors", names_of(g->ready, "processors"), "functions",
                              names_of(g->ready, "functions"), "processes", processes, "restarts",
                              (json_int_t)g->restarts, "refused", (json_int_t)g->refused, "rows",
                              (json_int_t)g->source.rows, "why", g->why, "trouble", g->trouble);
        json_object_set_new(o, "ended_ns", since(p, g->why_at));
        json_object_set_new(o, "refused_ns", since(p, g->refused_at));
        if (g->derives) {
            json_object_set_new(o, "writes", writes(p, g));
            json_object_set_new(o, "source", json_string(g->source.name));
            json_object_set_new(o, "at", json_integer((json_int_t)g->source.at.at.position));
        }
        if (p->events && p->events->show)
            p->events->show(p->events->arg, i, o);
        json_array_append_new(list, o);
    }
    return list;
}
