/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of a request: those that its user may read. */
#include <stdlib.h>
#include "publish/dispatch_parts.h"

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct schema *const *)a)->name,
                  (*(const struct schema *const *)b)->name);
}

/* The newest version of each table that the user may read, by name. */
static uint32_t visible(const struct connection *c, const struct schema **out)
{
    const struct schema_set *set = c->t->server->daemon->schemas;
    uint32_t n = 0;
    for (unsigned id = TABLE_FIRST; id < TABLE_MAX; id++) {
        const struct schema *s = schema_set_get(set, id);
        if (s && user_may_read(c->user, s->name) && schema_set_find(set, s->name) == s)
            out[n++] = s;
    }
    qsort(out, n, sizeof *out, by_name);
    return n;
}

const struct schema *dispatch_table(struct connection *c, const char *text, uint32_t len)
{
    char name[SCHEMA_NAME_MAX];
    if (!len || len >= sizeof name)
        return NULL;
    memcpy(name, text, len);
    name[len] = 0;
    const struct schema *s = schema_set_find(c->t->server->daemon->schemas, name);
    if (!s || user_may_read(c->user, name))
        return s;
    dispatch_deny(c, "read", name);
    return NULL;
}

void dispatch_tables_free(struct tables *t)
{
    free(t->answer);
    free(t->shape);
    free(t);
}

/* Fills t from names; false: the request is answered. */
bool dispatch_tables_find(struct connection *c, const struct kdb_names *names, struct tables *t)
{
    struct kdb_name i;
    if (names->all) {
        t->n = visible(c, t->at);
        return true;
    }
    for (bool more = kdb_names_first(names, &i); more; more = kdb_names_next(&i)) {
        const struct schema *s = dispatch_table(c, i.text, i.len);
        if (!s || t->n == TABLE_MAX) {
            dispatch_refuse(c, "%.*s", (int)(i.len < 200 ? i.len : 200), i.text);
            return false;
        }
        t->at[t->n++] = s;
    }
    return true;
}

bool dispatch_tables_answer(struct tables *t)
{
    t->answer = calloc(t->n + 1, sizeof *t->answer);
    for (uint32_t i = 0; t->answer && i < t->n; i++)
        t->answer[i].schema = t->at[i];
    return t->answer != NULL;
}
