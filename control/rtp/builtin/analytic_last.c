/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last row of each symbol of a table, or of each symbol and further columns.
 *
 *   gcc -shared -fPIC -O2 -o last.so analytic_last.c
 *
 * State goes on over the end of a day: the last row of a symbol stays until there is another one.
 */
#include <penstock/streams.h>

PST_RTP_PLUGIN("last", "1.0", "Last rows.")

#define BY_MAX (PST_KEYS_MAX - 1)

struct topic {
    struct pst_topic topic;
    struct pst_field by[BY_MAX];
    uint32_t nby;
};
struct key {
    uint32_t n;
    uint64_t value[2 * BY_MAX];
};
struct entry {
    struct pst_entry entry;
    struct pst_kept *row;
    struct key key;
};
struct sub {
    struct pst_sub sub;
    struct pst_shape shape;
    char key[PST_KEYS_MAX * 64];
};

static int order(const struct pst_entry *e, const void *key)
{
    const struct key *k = key;
    return memcmp(k->value, ((const struct entry *)e)->key.value, k->n * sizeof *k->value);
}

static bool bind_columns(struct pst_topic *topic, const struct pst_table *table)
{
    struct topic *t = (struct topic *)topic;
    bool all = true;
    for (uint32_t i = 0; i < t->nby; i++)
        all &= pst_bind(&t->by[i], table);
    return all;
}

static void row(struct pst_rtp *r, struct pst_slot *slot, const struct pst_row *row, bool live)
{
    struct topic *t = (struct topic *)slot->topic;
    struct key key = {.n = 2 * t->nby};
    bool fresh;
    for (uint32_t i = 0; i < t->nby; i++) {
        struct pst_value v = pst_row_value(row, (uint32_t)t->by[i].at);
        memcpy(&key.value[2 * i], v.guid, 16);
    }
    struct entry *e = (struct entry *)pst_entry_of(r, slot, &key, sizeof *e, &fresh);
    if (!e)
        return;
    free(e->row);
    e->row = pst_keep(row);
    e->key = key;
    if (live)
        pst_changed(&e->entry);
}

static void add(struct pst_rtp *r, struct pst_sub *sub, const struct pst_change *c,
                struct pst_result *out)
{
    pst_shape_row(r, &((struct sub *)sub)->shape, &((struct entry *)c->entry)->row->row, out);
}

static void free_entry(struct pst_entry *e)
{
    free(((struct entry *)e)->row);
}

static struct pst_streams streams = {.topic_bytes = sizeof(struct topic),
                                     .sub_bytes = sizeof(struct sub),
                                     .bind = bind_columns,
                                     .row = row,
                                     .order = order,
                                     .add = add,
                                     .free_entry = free_entry};

static int64_t subscribe(struct pst_rtp *r, const struct pst_map *map, void *data)
{
    (void)data;
    const struct pst_table *table = pst_given_table(r, map);
    const struct pst_list *by = pst_map_get(map, "by");
    int64_t every = pst_given(map, "every").i, history = pst_given(map, "history").i;
    struct pst_shape shape = {.n = 0};
    char id[64 * (PST_KEYS_MAX + 2)], key[PST_KEYS_MAX * 64] = "sym";
    bool fresh;
    if (!table)
        return -1;
    if (by->n > BY_MAX || every < 0)
        return pst_rtp_host->error(r, "A key is sym and at most %d columns; every is not below 0.",
                                   (int)BY_MAX);
    pst_shape_add(&shape, table, pst_table_find(table, "sym"));
    for (uint32_t i = 0; i < by->n; i++) {
        struct pst_text name = by->value[i].text;
        int32_t c = pst_text_column(table, name);
        if (c < 0 || table->column[c].type == PST_STRING)
            return pst_rtp_host->error(r, "Table %s has no column %.*s that a key can have.",
                                       table->name, (int)name.len, name.at);
        pst_shape_add(&shape, table, c);
    }
    uint32_t nkeys = shape.n;
    for (uint32_t i = 1; i < nkeys; i++)
        snprintf(key + strlen(key), sizeof key - strlen(key), ",%s", shape.field[i].name);
    if (!pst_given_columns(r, map, table, "columns", &shape))
        return -1;

    snprintf(id, sizeof id, "%s %lld %d %s", table->name, (long long)every, (int)history, key);
    struct topic *t = (struct topic *)pst_topic_of(r, &streams, table->name, id, every, &fresh);
    if (!t)
        return -1;
    if (fresh) {
        t->nby = nkeys - 1;
        memcpy(t->by, shape.field + 1, t->nby * sizeof *t->by);
    }
    struct sub *s = (struct sub *)pst_sub_new(&t->topic);
    s->shape = shape;
    for (uint32_t i = 0; i < shape.n; i++)
        s->shape.column[i].name = s->shape.field[i].name;
    memcpy(s->key, key, sizeof key);
    s->sub.columns = s->shape.column;
    s->sub.ncolumns = s->shape.n;
    s->sub.key = s->key;
    s->sub.full = pst_given(map, "full").i;
    return pst_subscribed(r, &s->sub, pst_map_get(map, "syms"),
                          !history ? PST_NO_HISTORY
                          : t->nby ? PST_ALL_ROWS
                                   : PST_LAST_ROWS);
}

static const struct pst_parameter parameters[] = {
    {"table", PST_SYMBOL, NULL, "table of the journal"},
    {"syms", PST_SYMBOL | PST_LIST, "", "symbols; none: all"},
    {"columns", PST_SYMBOL | PST_LIST, "", "columns besides the key; none: all"},
    {"by", PST_SYMBOL | PST_LIST, "", "further columns of the key, behind sym"},
    {"every", PST_TIMESPAN, "0D00:00:00", "send at most so often; 0: behind each frame"},
    {"full", PST_BOOLEAN, "0", "send the whole state, not what changed"},
    {"history", PST_BOOLEAN, "1", "begin with the rows of the day so far"}};
static const struct pst_analytic analytic = {
    .name = "last",
    .about = "The last row of each symbol, or of each symbol and other columns.",
    .parameters = parameters,
    .nparameters = sizeof parameters / sizeof *parameters,
    .key = "sym",
    .subscribe = subscribe,
    PST_STREAMS_ANALYTIC(&streams)};
static const struct pst_hooks hooks = PST_STREAMS_HOOKS(&streams);

int pst_rtp_register(struct pst_rtp_registry *registry)
{
    return pst_rtp_host->analytic(registry, &analytic) || pst_rtp_host->hooks(registry, &hooks);
}
