/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts: a column's value rises above a limit or falls below one. One row when it does, one when
 * it has come back by `hysteresis`; nothing in between, however often the value moves.
 *
 *   gcc -shared -fPIC -O2 -o threshold.so analytic_threshold.c
 *
 * Each symbol has one alert a side. The state is the last row of each, so a late joiner sees what
 * is active and what has been. It goes on over the end of a day.
 */
#include <penstock/streams.h>

PST_RTP_PLUGIN("threshold", "1.0", "Alerts on limits.")

enum { ABOVE, BELOW };
static const char *const side_name[] = {"above", "below"};

struct topic {
    struct pst_topic topic;
    struct pst_field value;
    double limit[2], hysteresis; /* NaN: no limit on this side */
};
struct alert {
    struct pst_entry entry;
    int side;
    bool active;
    int64_t time; /* of the row that raised or cleared it last */
    double value;
};

static int order(const struct pst_entry *e, const void *key)
{
    return *(const int *)key - ((const struct alert *)e)->side;
}

static bool bind_columns(struct pst_topic *topic, const struct pst_table *table)
{
    return pst_bind(&((struct topic *)topic)->value, table);
}

static void row(struct pst_rtp *r, struct pst_slot *slot, const struct pst_row *row, bool live)
{
    struct topic *t = (struct topic *)slot->topic;
    struct pst_value v = pst_row_value(row, (uint32_t)t->value.at);
    if (pst_is_null(&v))
        return;
    double value = pst_as_double(&v);
    for (int side = ABOVE; side <= BELOW; side++) {
        double limit = t->limit[side];
        double beyond = side == ABOVE ? value - limit : limit - value;
        struct alert *a = NULL;
        bool fresh;
        for (uint32_t i = 0; i < slot->nentries; i++)
            if (((struct alert *)slot->entry[i])->side == side)
                a = (struct alert *)slot->entry[i];
        if (!a && beyond > 0 &&
            (a = (struct alert *)pst_entry_of(r, slot, &side, sizeof *a, &fresh)))
            a->side = side;
        if (!a || a->active == (a->active ? beyond > -t->hysteresis : beyond > 0))
            continue;
        a->active = !a->active;
        a->time = pst_row_time(row);
        a->value = value;
        if (live)
            pst_event(slot, &a->entry, row, 1 + a->active);
    }
}

static const struct pst_column columns[] = {{"time", PST_TIMESTAMP}, {"sym", PST_SYMBOL},
                                            {"side", PST_SYMBOL},    {"active", PST_BOOLEAN},
                                            {"value", PST_FLOAT},    {"limit", PST_FLOAT}};

/* tag: of one crossing, 1 cleared, 2 raised; 0: of the alert as it is now */
static void add(struct pst_rtp *r, struct pst_sub *sub, const struct pst_change *c,
                struct pst_result *out)
{
    const struct topic *t = (const struct topic *)sub->topic;
    const struct alert *a = (const struct alert *)c->entry;
    int64_t time = a->time;
    bool active = a->active;
    double value = a->value;
    if (c->tag) {
        struct pst_value v = pst_row_value(&c->row, (uint32_t)t->value.at);
        time = pst_row_time(&c->row);
        active = c->tag == 2;
        value = pst_as_double(&v);
    }
    struct pst_value v[] = {pst_int_value(PST_TIMESTAMP, time),
                            pst_slot_value(c->slot),
                            pst_symbol_value(side_name[a->side], 5),
                            pst_int_value(PST_BOOLEAN, active),
                            pst_float_value(value),
                            pst_float_value(t->limit[a->side])};
    pst_rtp_host->add(r, out, v);
}

static struct pst_streams streams = {.topic_bytes = sizeof(struct topic),
                                     .sub_bytes = sizeof(struct pst_sub),
                                     .bind = bind_columns,
                                     .row = row,
                                     .order = order,
                                     .add = add};

static int64_t subscribe(struct pst_rtp *r, const struct pst_map *map, void *data)
{
    (void)data;
    const struct pst_table *table = pst_given_table(r, map);
    struct topic wanted = {.limit = {pst_given(map, "above").f, pst_given(map, "below").f},
                           .hysteresis = pst_given(map, "hysteresis").f};
    char id[256];
    bool fresh, history = pst_given(map, "history").i;
    if (!table || !pst_given_number(r, map, table, "column", &wanted.value))
        return -1;
    if (wanted.limit[ABOVE] != wanted.limit[ABOVE] && wanted.limit[BELOW] != wanted.limit[BELOW])
        return pst_rtp_host->error(r, "Give a limit: above, below or both.");
    if (!(wanted.hysteresis >= 0))
        return pst_rtp_host->error(r, "hysteresis is 0 or more.");
    snprintf(id, sizeof id, "%s %s %a %a %a %d", table->name, wanted.value.name,
             wanted.limit[ABOVE], wanted.limit[BELOW], wanted.hysteresis, history);
    struct topic *t = (struct topic *)pst_topic_of(r, &streams, table->name, id, 0, &fresh);
    if (!t)
        return -1;
    if (fresh) {
        wanted.topic = t->topic;
        *t = wanted;
    }
    struct pst_sub *s = pst_sub_new(&t->topic);
    s->columns = columns;
    s->ncolumns = 6;
    s->key = "sym,side";
    return pst_subscribed(r, s, pst_map_get(map, "syms"), history ? PST_ALL_ROWS : PST_NO_HISTORY);
}

static const struct pst_parameter parameters[] = {
    {"table", PST_SYMBOL, NULL, "table of the journal"},
    {"column", PST_SYMBOL, NULL, "its column of numbers that is watched"},
    {"syms", PST_SYMBOL | PST_LIST, "", "symbols; none: all"},
    {"above", PST_FLOAT, "nan", "alert while the value is above it"},
    {"below", PST_FLOAT, "nan", "alert while the value is below it"},
    {"hysteresis", PST_FLOAT, "0", "how far it must come back to clear the alert"},
    {"history", PST_BOOLEAN, "1", "begin with the rows of the day so far"}};
static const struct pst_analytic analytic = {
    .name = "threshold",
    .about = "Alerts when a value rises above or falls below a limit, and when it is back.",
    .parameters = parameters,
    .nparameters = sizeof parameters / sizeof *parameters,
    .key = "sym,side",
    .subscribe = subscribe,
    PST_STREAMS_ANALYTIC(&streams)};
static const struct pst_hooks hooks = PST_STREAMS_HOOKS(&streams);

int pst_rtp_register(struct pst_rtp_registry *registry)
{
    return pst_rtp_host->analytic(registry, &analytic) || pst_rtp_host->hooks(registry, &hooks);
}
