/* SPDX-License-Identifier: Apache-2.0 */
/* Updates of publishers, and their answers in order. */
#include <errno.h>
#include <stdlib.h>
#include "publish/dispatch_parts.h"

static struct ack *new_ack(struct connection *c)
{
    if (c->ack_count == c->ack_room) {
        uint32_t room = c->ack_room ? c->ack_room * 2 : 16;
        struct ack *a = malloc(room * sizeof *a);
        if (!a)
            return NULL;
        for (uint32_t i = 0; i < c->ack_count; i++)
            a[i] = c->ack[(c->ack_head + i) & (c->ack_room - 1)];
        free(c->ack);
        c->ack = a;
        c->ack_room = room;
        c->ack_head = 0;
    }
    struct ack *a = &c->ack[(c->ack_head + c->ack_count++) & (c->ack_room - 1)];
    *a = (struct ack){.level = KDB_SUBMITTED};
    connection_waiting(c);
    return a;
}

static bool no_ack(struct connection *c)
{
    connection_kill(c, "no memory for acknowledgements");
    publisher_grave(c);
    return true;
}

bool dispatch_update(struct connection *c, const struct kdb_request *r)
{
    struct publisher *p = c->t;
    struct err err;
    uint64_t ticket = 0;
    bool pst = r->call == KDB_CALL_PST_UPD;
    enum intake_verdict v = INTAKE_REFUSED;
    if (c->port == DOOR_RDB || c->port == DOOR_HDB)
        err_set(&err, -EPERM, "publish to the tickerplant's port; this is the %s's",
                door_name(c->port));
    else if (p->quiet)
        err_set(&err, -ESHUTDOWN, "penstockd is stopping: this update was not taken");
    else
        v = intake_request(p->intake, c->user, r, p->time, &ticket, &err);
    if (v == INTAKE_BUSY) {
        connection_waiting(c);
        return false;
    }
    c->updates++;
    if (v == INTAKE_REFUSED && err.code == -EACCES)
        dispatch_deny(c, "publish", err.text);
    if (v == INTAKE_REFUSED && !dispatch_is_sync(c)) {
        dispatch_count(c, COUNTER_PUBLISH_ERRORS);
        return true;
    }
    if (!dispatch_is_sync(c))
        return true;
    struct ack *a = new_ack(c);
    if (!a)
        return no_ack(c);
    a->sync = true;
    a->pst = pst;
    a->ticket = ticket;
    a->level = pst ? r->level : KDB_SUBMITTED;
    if (v == INTAKE_REFUSED) {
        dispatch_count(c, COUNTER_PUBLISH_ERRORS);
        a->failed = true;
        a->text = strdup(err.text);
    }
    return true;
}

bool dispatch_wait(struct connection *c, const struct kdb_request *r)
{
    if (!dispatch_is_sync(c))
        return true; /* nobody waits for it */
    struct ack *a = new_ack(c);
    if (!a)
        return no_ack(c);
    *a = (struct ack){.position = r->position,
                      .level = r->level,
                      .taken = true,
                      .sync = dispatch_is_sync(c),
                      .pst = true};
    return true;
}

/* The head's answer, if it is due. */
static bool settle_ack(struct connection *c, struct ack *a)
{
    struct intake *in = c->t->intake;
    struct err err;
    if (!a->failed && !a->taken) {
        switch (intake_answer(in, a->ticket, &a->position, &err)) {
        case INTAKE_PENDING:
            return false;
        case INTAKE_FAILED:
            a->failed = true;
            a->text = strdup(err.text);
            break;
        case INTAKE_DONE:
            a->taken = true;
            break;
        }
    }
    if (!a->failed && a->pst && intake_level(in, (enum kdb_level)a->level) < a->position)
        return false;
    if (!a->sync)
        return true;
    struct kdb_out o = {0};
    struct kdb_request r = {.call = a->pst ? KDB_CALL_PST_UPD : KDB_CALL_UPD};
    struct kdb_facts f;
    dispatch_facts(c, &f, NULL);
    f.position = a->position;
    dispatch_send(c, &o,
                  a->failed ? kdb_answer_error(&o, "%s", a->text ? a->text : "refused")
                            : kdb_answer(&o, &r, &f));
    return true;
}

bool dispatch_acks(struct connection *c)
{
    while (c->ack_count && !c->dead) {
        struct ack *a = &c->ack[c->ack_head];
        if (!settle_ack(c, a))
            break;
        free(a->text);
        c->ack_head = (c->ack_head + 1) & (c->ack_room - 1);
        c->ack_count--;
    }
    return c->ack_count != 0;
}

bool dispatch_acks_open(const struct connection *c)
{
    if (!c->ack_count)
        return false;
    const struct ack *a = &c->ack[c->ack_head];
    return !a->taken || !a->pst || a->position <= ring_tail(&c->t->server->daemon->ring);
}
