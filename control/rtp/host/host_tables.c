/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "host.h"

const struct host_table *host_table_of(struct host *h, unsigned id)
{
    if (id >= TABLE_MAX)
        return NULL;
    if (!h->table[id])
        host_tables_learn(h);
    return h->table[id];
}

const struct host_table *host_table_newest(struct host *h, const char *name)
{
    host_tables_learn(h);
    const struct schema *s = schema_set_find(h->cursor.dict.schemas, name);
    return s ? h->table[s->id] : NULL;
}

static uint8_t calendar_of(struct host *h, const char *table)
{
    const char *name = json_string_value(json_object_get(h->calendars, table));
    for (unsigned i = 0; name && i < h->ncalendars; i++)
        if (!strcmp(h->calendar_name[i], name))
            return (uint8_t)i;
    if (!name || h->ncalendars == PST_COUNT(h->calendar_name))
        return 0;
    h->calendar_name[h->ncalendars] = name;
    return (uint8_t)h->ncalendars++;
}

bool host_in_subscriptions(const struct host *h, const char *name)
{
    const json_t *list = json_object_get(h->config, "subscriptions"), *v;
    size_t i;
    if (!json_is_array(list))
        return true;
    json_array_foreach(list, i, v)
    {
        if (json_is_string(v) && !strcmp(json_string_value(v), name))
            return true;
    }
    return false;
}

static bool wants(const struct host *h, const struct host_wants *w, const char *name)
{
    if (!host_in_subscriptions(h, name))
        return false;
    if (w->all)
        return true;
    for (uint32_t i = 0; i < w->names; i++)
        if (w->name[i].n && !strcmp(w->name[i].name, name))
            return true;
    return false;
}

bool host_wants_table(const struct host *h, const struct host_wants *w, const char *name)
{
    return wants(h, w, name);
}

static void set(struct host *h, struct host_wants *w, const struct host_table *t)
{
    bool on = wants(h, w, t->schema->name);
    w->wanted -= w->by_id[t->pub.id] != NULL;
    w->by_id[t->pub.id] = on ? &t->pub : NULL;
    w->wanted += on;
}

static void settle(struct host *h, struct host_wants *w)
{
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++)
        if (h->table[id])
            set(h, w, h->table[id]);
}

/* A version of a table that is new here: everybody who wants its name wants it. */
static bool learn(struct host *h, const struct schema *s)
{
    struct host_table *t = calloc(1, sizeof *t);
    if (!t || !(t->null_record = calloc(1, s->fixed))) {
        free(t);
        return false;
    }
    t->schema = s;
    t->pub = (struct pst_table){s->name, s->id, s->feed, s->ncols, t->column};
    t->calendar = calendar_of(h, s->name);
    struct record head = {s->id, s->fixed, PST_NULL_SYMBOL, PST_NULL_TIMESTAMP};
    memcpy(t->null_record, &head, sizeof head);
    for (unsigned i = 0; i < s->ncols; i++) {
        const struct column *c = &s->col[i];
        t->column[i] = (struct pst_table_column){c->name, c->type, c->offset, c->packet};
        if (!c->packet && i > 1)
            type_put_null(t->null_record + c->offset, c->type);
    }
    for (unsigned i = 0; i < s->ncols; i++) /* an empty string lies at the end */
        if (s->col[i].type == PST_STRING && !s->col[i].packet) {
            uint32_t none[2] = {s->fixed, 0};
            memcpy(t->null_record + s->col[i].offset, none, sizeof none);
        }
    h->table[s->id] = t;
    h->shape[s->id] =
        (struct host_shape){s->fixed, s->nstrings > 255 ? 255 : (uint8_t)s->nstrings, s->feed};
    for (unsigned i = 0; i < h->nplugins; i++)
        set(h, h->plugin[i]->wants, t);
    for (unsigned i = 0; i < h->nprocessors; i++)
        set(h, h->processor[i].wants, t);
    return true;
}

void host_tables_learn(struct host *h)
{
    const struct schema_set *set = h->cursor.dict.schemas;
    for (unsigned id = TABLE_FIRST; set && id < set->count; id++) {
        const struct schema *s = h->table[id] ? NULL : schema_set_get(set, id);
        if (s && !learn(h, s))
            host_die(h, "no memory for a table");
    }
}

void host_tables_calendars(struct host *h, const json_t *of)
{
    json_object_update(h->calendars, (json_t *)(uintptr_t)of);
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++)
        if (h->table[id])
            h->table[id]->calendar = calendar_of(h, h->table[id]->schema->name);
}

bool host_table_teach(struct host *h, const struct schema *s)
{
    struct err err = {0};
    return schema_set_add(h->cursor.dict.schemas, s, &err);
}

struct host_wants *host_wants_new(void)
{
    return calloc(1, sizeof(struct host_wants));
}

void host_wants_free(struct host_wants *w)
{
    if (w)
        free(w->name);
    free(w);
}

bool host_wants_add(struct host *h, struct host_wants *w, const char *name)
{
    for (uint32_t i = 0; i < w->names; i++)
        if (!strcmp(w->name[i].name, name)) {
            if (!w->name[i].n++)
                settle(h, w);
            return true;
        }
    struct host_want *p = realloc(w->name, (w->names + 1) * sizeof *p);
    if (!p || strlen(name) >= sizeof p->name)
        return false;
    w->name = p;
    snprintf(p[w->names].name, sizeof p->name, "%s", name);
    p[w->names++].n = 1;
    settle(h, w);
    return true;
}

void host_wants_remove(struct host *h, struct host_wants *w, const char *name)
{
    for (uint32_t i = 0; i < w->names; i++)
        if (!strcmp(w->name[i].name, name) && w->name[i].n && !--w->name[i].n)
            settle(h, w);
}

void host_wants_everything(struct host *h, struct host_wants *w)
{
    w->all = true;
    settle(h, w);
}
