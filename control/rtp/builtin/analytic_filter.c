/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of a table: of some symbols, some columns, where conditions hold. Rows are events; with
 * `rows` the state that a client begins with is the last so many of them.
 *
 *   gcc -shared -fPIC -O2 -o filter.so analytic_filter.c
 *
 * CONDITIONS: column op value, separated by commas, all of which must hold; op is = <> < <= > >=;
 * with = and <> several values may be given, `venue=XNAS|ARCA`. Texts are compared by their bytes,
 * and only with = and <>. Dates and times are written as in SQL (penstock/temporal.h), with or
 * without quotes and the type's name before them: `time>=2026.11.23D14:30`,
 * `time<timestamp '2026-11-23 09:30:00-05:00'`, `expiry=2026-12-18`. A null matches no condition.
 */
#include <penstock/streams.h>
#include <penstock/temporal.h>
#include <strings.h>

PST_RTP_PLUGIN("filter", "1.0", "Rows of a table.")

#define CONDITIONS_MAX 8u
#define VALUES_MAX     16u
#define WHERE_MAX      1000u
#define ROWS_MAX       10000

enum op { EQ, NE, LE, GE, LT, GT }; /* as `ops` below */
static const char *const ops[] = {"=", "<>", "<=", ">=", "<", ">"};

struct condition {
    struct pst_field field;
    enum op op;
    uint32_t nvalues;
    struct pst_value value[VALUES_MAX]; /* texts lie in the topic's where */
};
struct topic {
    struct pst_topic topic;
    char where[WHERE_MAX + 1];
    uint32_t nconditions;
    struct condition condition[CONDITIONS_MAX];
};
struct sub {
    struct pst_sub sub;
    struct pst_shape shape;
    struct pst_kept **row; /* a ring of the last `rows` */
    uint32_t rows;
    uint64_t n;
};

/* ---- conditions ---- */

static bool is_text(uint32_t type)
{
    return type == PST_SYMBOL || type == PST_STRING;
}
static bool whole(uint32_t type)
{
    return pst_is_whole(type) || type == PST_BOOLEAN || type == PST_CHAR || pst_is_temporal(type);
}

/* timestamp '2026-11-23 09:30' is what stands between the quotes. */
static bool read_temporal(uint32_t type, const char *p, size_t n, int64_t *v)
{
    static const char *const words[] = {"timestamp", "date",   "time",  "timespan", "interval",
                                        "second",    "minute", "month", ""};
    const char *quote = memchr(p, '\'', n);
    if (!quote)
        return pst_temporal(type, p, n, v);
    size_t word = (size_t)(quote - p), i = 0;
    while (word && p[word - 1] == ' ')
        word--;
    while (i < sizeof words / sizeof *words &&
           (strlen(words[i]) != word || strncasecmp(words[i], p, word) != 0))
        i++;
    const char *end = p + n - 1;
    return i < sizeof words / sizeof *words && end > quote && *end == '\'' &&
           pst_temporal(type, quote + 1, (size_t)(end - quote - 1), v);
}

static bool read_value(uint32_t type, const char *p, size_t n, struct pst_value *v)
{
    char text[64], *end;
    *v = pst_null_value(type);
    if (is_text(type)) {
        v->text = (struct pst_text){p, (uint32_t)n};
        return true;
    }
    if (pst_is_temporal(type))
        return read_temporal(type, p, n, &v->i);
    if (!n || n >= sizeof text)
        return false;
    memcpy(text, p, n);
    text[n] = 0;
    errno = 0;
    if (type == PST_CHAR) {
        v->i = (uint8_t)*p;
        return n == 1;
    }
    if (type == PST_BOOLEAN) {
        v->i = *p == '1' || *p == 't';
        return !strcmp(text, "0") || !strcmp(text, "1") || !strcmp(text, "true") ||
               !strcmp(text, "false");
    }
    if (whole(type))
        v->i = strtoll(text, &end, 10);
    else
        v->f = strtod(text, &end);
    return !*end && !errno;
}

static bool same(const struct pst_value *a, const struct pst_value *b)
{
    return is_text(a->type)
               ? a->text.len == b->text.len && !memcmp(a->text.at, b->text.at, a->text.len)
           : whole(a->type) ? a->i == b->i
                            : a->f == b->f;
}

static bool holds(const struct condition *c, const struct pst_value *v)
{
    if (is_text(v->type) ? !v->text.len : v->type != PST_BOOLEAN && pst_is_null(v))
        return false;
    if (c->op == EQ || c->op == NE) {
        bool any = false;
        for (uint32_t i = 0; i < c->nvalues && !any; i++)
            any = same(v, &c->value[i]);
        return any == (c->op == EQ);
    }
    const struct pst_value *w = &c->value[0];
    bool less = whole(v->type) ? v->i < w->i : v->f < w->f, equal = same(v, w);
    return c->op == LT ? less : c->op == LE ? less || equal : c->op == GT ? !less && !equal : !less;
}

static bool matches(struct pst_rtp *r, const struct topic *t, const struct pst_row *row)
{
    for (uint32_t i = 0; i < t->nconditions; i++) {
        const struct condition *c = &t->condition[i];
        struct pst_value v = pst_row_result(r, row, (uint32_t)c->field.at);
        if (!holds(c, &v))
            return false;
    }
    return true;
}

/* One condition, of which `p` is a part; false: error. */
static bool read_condition(struct pst_rtp *r, const struct pst_table *table, char *p,
                           struct condition *c)
{
    p += strspn(p, " ");
    size_t name = strcspn(p, "=<> ");
    int32_t column = pst_text_column(table, (struct pst_text){p, (uint32_t)name});
    char *op = p + name + strspn(p + name, " ");
    for (c->op = EQ; c->op <= GT && strncmp(op, ops[c->op], strlen(ops[c->op])) != 0;)
        c->op++;
    if (column < 0 || c->op > GT) {
        pst_rtp_host->error(r,
                            "where: %.100s is no condition on a column of %s. Example: "
                            "price>=100.5,venue=XNAS|ARCA",
                            p, table->name);
        return false;
    }
    pst_field_set(&c->field, table, column);
    uint32_t type = c->field.type;
    if (!(whole(type) || type == PST_FLOAT || type == PST_REAL || is_text(type)) ||
        (is_text(type) && c->op > NE)) {
        pst_rtp_host->error(r, "where: column %s has a type that %s does not compare.",
                            c->field.name, ops[c->op]);
        return false;
    }
    char *v = op + strlen(ops[c->op]);
    for (bool more = true; more; c->nvalues++) {
        v += strspn(v, " ");
        char *end = v + (c->op <= NE ? strcspn(v, "|") : strlen(v));
        more = *end == '|';
        size_t n = (size_t)(end - v);
        while (n && v[n - 1] == ' ')
            n--;
        if (c->nvalues == VALUES_MAX || !read_value(type, v, n, &c->value[c->nvalues])) {
            pst_rtp_host->error(r, "where: %.*s is no value for column %s, or there are too many.",
                                (int)n, v, c->field.name);
            return false;
        }
        v = end + 1;
    }
    return true;
}

static bool read_where(struct pst_rtp *r, const struct pst_table *table, struct topic *t)
{
    char *next = t->where;
    while (next && *next) {
        char *p = next, *comma = strchr(p, ',');
        next = comma ? comma + 1 : NULL;
        if (comma)
            *comma = 0;
        if (t->nconditions == CONDITIONS_MAX) {
            pst_rtp_host->error(r, "where: at most %u conditions.", CONDITIONS_MAX);
            return false;
        }
        if (!read_condition(r, table, p, &t->condition[t->nconditions++]))
            return false;
    }
    return true;
}

static bool bind_columns(struct pst_topic *topic, const struct pst_table *table)
{
    struct topic *t = (struct topic *)topic;
    bool all = true;
    for (uint32_t i = 0; i < t->nconditions; i++)
        all &= pst_bind(&t->condition[i].field, table);
    return all;
}

/* ---- rows ---- */

static void row(struct pst_rtp *r, struct pst_slot *slot, const struct pst_row *row, bool live)
{
    (void)live;
    if (matches(r, (struct topic *)slot->topic, row))
        pst_event(slot, NULL, row, 0);
}

static void keep(struct sub *s, const struct pst_row *row)
{
    struct pst_kept **place = &s->row[s->n++ % s->rows];
    free(*place);
    *place = pst_keep(row);
}

static void add(struct pst_rtp *r, struct pst_sub *sub, const struct pst_change *c,
                struct pst_result *out)
{
    struct sub *s = (struct sub *)sub;
    pst_shape_row(r, &s->shape, &c->row, out);
    if (s->rows)
        keep(s, &c->row);
}

static void snapshot(struct pst_rtp *r, struct pst_sub *sub, struct pst_result *out)
{
    struct sub *s = (struct sub *)sub;
    for (uint64_t i = s->n > s->rows ? s->n - s->rows : 0; i < s->n; i++)
        pst_shape_row(r, &s->shape, &s->row[i % s->rows]->row, out);
}

static void left(struct pst_rtp *r, struct pst_sub *sub)
{
    struct sub *s = (struct sub *)sub;
    (void)r;
    for (uint32_t i = 0; i < s->rows; i++)
        free(s->row[i]);
    free(s->row);
}

static struct pst_streams streams = {.topic_bytes = sizeof(struct topic),
                                     .sub_bytes = sizeof(struct sub),
                                     .bind = bind_columns,
                                     .row = row,
                                     .add = add,
                                     .snapshot = snapshot,
                                     .left = left};

struct before {
    struct pst_rtp *r;
    struct sub *sub;
};
static void take_before(void *arg, const struct pst_row *row)
{
    struct before *b = arg;
    struct pst_topic *t = b->sub->sub.topic;
    if (pst_topic_fits(t, row->table) && matches(b->r, (struct topic *)t, row))
        keep(b->sub, row);
}

static int64_t subscribe(struct pst_rtp *r, const struct pst_map *map, void *data)
{
    (void)data;
    const struct pst_table *table = pst_given_table(r, map);
    const struct pst_list *syms = pst_map_get(map, "syms");
    struct pst_text where = pst_given(map, "where").text;
    int64_t rows = pst_given(map, "rows").i;
    struct topic wanted = {.nconditions = 0};
    struct pst_shape shape = {.n = 0};
    char id[WHERE_MAX + 64];
    bool fresh;
    if (!table || !pst_given_columns(r, map, table, "columns", &shape))
        return -1;
    if (where.len > WHERE_MAX || rows < 0 || rows > ROWS_MAX)
        return pst_rtp_host->error(r, "where has at most %u bytes, rows is 0 to %d.", WHERE_MAX,
                                   ROWS_MAX);
    if (where.len && memchr(where.at, 0, where.len))
        return pst_rtp_host->error(r, "where: a NUL stands in it.");
    memcpy(wanted.where, where.at, where.len);
    snprintf(id, sizeof id, "%s %s", table->name, wanted.where);
    if (!read_where(r, table, &wanted))
        return -1;
    struct topic *t = (struct topic *)pst_topic_of(r, &streams, table->name, id, 0, &fresh);
    if (!t)
        return -1;
    if (fresh) {
        memcpy(t->where, where.at, where.len);
        read_where(r, table, t); /* again: values point into its own where */
    }
    struct sub *s = (struct sub *)pst_sub_new(&t->topic);
    s->shape = shape;
    for (uint32_t i = 0; i < shape.n; i++)
        s->shape.column[i].name = s->shape.field[i].name;
    s->sub.columns = s->shape.column;
    s->sub.ncolumns = s->shape.n;
    int64_t uid = pst_subscribed(r, &s->sub, syms, PST_NO_HISTORY);
    if (uid < 0 || !rows)
        return uid;
    s->rows = (uint32_t)rows;
    s->row = pst_zeroed((size_t)rows * sizeof *s->row);
    struct before b = {r, s};
    if (pst_rtp_host->history(r, table->name, syms->value, syms->n, false, take_before, &b) < 0) {
        pst_streams_unsubscribe(r, uid, &streams);
        return -1;
    }
    return uid;
}

static const struct pst_parameter parameters[] = {
    {"table", PST_SYMBOL, NULL, "table of the journal"},
    {"syms", PST_SYMBOL | PST_LIST, "", "symbols; none: all"},
    {"columns", PST_SYMBOL | PST_LIST, "", "columns; none: all"},
    {"where", PST_STRING, "",
     "conditions, like price>=100.5,venue=XNAS|ARCA,time>=2026.11.23D14:30"},
    {"rows", PST_LONG, "0", "how many last rows the state is that a client begins with"}};
static const struct pst_analytic analytic = {
    .name = "filter",
    .about = "Rows of a table: of some symbols, some columns, where conditions hold.",
    .parameters = parameters,
    .nparameters = sizeof parameters / sizeof *parameters,
    .subscribe = subscribe,
    PST_STREAMS_ANALYTIC(&streams)};
static const struct pst_hooks hooks = PST_STREAMS_HOOKS(&streams);

int pst_rtp_register(struct pst_rtp_registry *registry)
{
    return pst_rtp_host->analytic(registry, &analytic) || pst_rtp_host->hooks(registry, &hooks);
}
