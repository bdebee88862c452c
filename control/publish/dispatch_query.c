/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that penstock-query answers. */
#include <stdlib.h>
#include "publish/dispatch_parts.h"

static enum answer_tier tier(const struct connection *c)
{
    return c->port == DOOR_RDB ? ANSWER_RDB : c->port == DOOR_HDB ? ANSWER_HDB : ANSWER_ALL;
}

/* Sends it on. False: it is on its way (the request is held); true: it is answered. */
bool dispatch_submit(struct connection *c, struct answer_request *q)
{
    struct publisher *p = c->t;
    struct server *s = p->server;
    struct err err;
    if (server_memory(s) > (uint64_t)s->config->ipc.memory) {
        dispatch_refuse(
            c, "wsfull: ipc.memory is used up by what waits for connections; ask again later");
        return true;
    }
    q->tier = tier(c);
    q->connection = c->id;
    q->id = ++p->next_answer;
    if (!answer_submit(s->answers, p->index, q, c->user, &err)) {
        dispatch_refuse(c, "%s", err.text);
        return true;
    }
    struct access_entry e = connection_entry(c, ACCESS_QUERY);
    e.id = (int64_t)q->id;
    e.text = q->text.len ? q->text.text : q->ntables ? q->tables[0] : "";
    e.text_len = q->text.len;
    access_log(s->access, &e);
    c->answer = q->id;
    c->held_waits = true;
    return false;
}

bool dispatch_query(struct connection *c, const struct kdb_request *r)
{
    struct answer_request q = {0};
    const struct schema *table = NULL;
    const char *name;
    struct kdb_name i = {0};
    char text[64];
    if (!dispatch_is_sync(c))
        return true; /* nobody waits for it */
    switch (r->call) {
    case KDB_CALL_SQL:
        if (!c->user->sql) {
            dispatch_deny(c, "sql", "");
            dispatch_refuse(c, "access: the user %s may not ask in SQL", c->user->name);
            return true;
        }
        q.kind = ANSWER_SQL;
        q.text = r->text;
        break;
    case KDB_CALL_NAMED:
        snprintf(text, sizeof text, "%.*s", (int)r->function.len, r->function.text);
        if (!user_may_call(c->user, text)) {
            dispatch_deny(c, "call", text);
            dispatch_refuse(c, "access: the user %s may not call %s", c->user->name, text);
            return true;
        }
        if (dispatch_stream_lists(c, r))
            return false;
        q.kind = ANSWER_NAMED;
        q.text = r->function;
        q.args = &r->args;
        break;
    default: /* COUNT */
        if (kdb_names_first(&r->tables, &i))
            table = dispatch_table(c, i.text, i.len);
        if (!table) {
            dispatch_refuse(c, "%.*s", (int)(i.len < 100 ? i.len : 100), i.len ? i.text : "");
            return true;
        }
        name = table->name;
        q.kind = ANSWER_COUNT;
        q.tables = &name;
        q.ntables = 1;
    }
    return dispatch_submit(c, &q);
}

bool dispatch_snap(struct connection *c, const struct kdb_request *r)
{
    struct tables *t = calloc(1, sizeof *t);
    bool done = true;
    if (t && dispatch_is_sync(c) && dispatch_tables_find(c, &r->sub.tables, t)) {
        const char *name = t->n ? t->at[0]->name : "";
        struct answer_request q = {
            .kind = ANSWER_SNAP, .tables = &name, .ntables = 1, .syms = &r->sub.syms};
        if (t->n == 1)
            done = dispatch_submit(c, &q);
        else
            dispatch_refuse(c, ".u.snap takes one table");
    }
    if (t)
        dispatch_tables_free(t);
    return done;
}

void dispatch_release_answer(void *a)
{
    answer_free(a);
}
