/* SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "control/rtp/builtin/builtin.h"
#include "rtp_double.h"

#define FRAME_ROOM (1u << 20)

struct timer {
    bool used;
    uint32_t journal;
    int64_t interval, due;
    pst_timer *fn;
    void *data;
};
struct pst_rtp {
    struct rtp_double *d;
    const struct pst_hooks *hooks;
    const struct pst_analytic *analytic[16];
    unsigned nanalytics, subs;
    const struct pst_table *want[PST_TABLES];
    struct {
        char name[64];
        unsigned n;
    } wants[64];
    unsigned nwants;
    struct timer timer[4096];
    struct pst_result *results;
};
struct pst_rtp_registry {
    struct pst_rtp *r;
};
struct old_row {
    struct pst_row row;
    int32_t day;
};
struct rtp_double {
    struct pst_rtp *plugin[16];
    unsigned nplugins;
    struct pst_table *table[PST_TABLES];
    uint32_t ntables;
    char **symbol;
    uint32_t nsymbols, symbols_room;
    uint8_t *frame;
    uint32_t bytes;
    uint8_t *old_frames[100000];
    uint32_t nold_frames;
    struct old_row *old;
    uint32_t nold, old_room;
    uint64_t position;
    int64_t time;
    int32_t day;
    void (*on)(void *, const char *, int64_t, const struct pst_result *);
    void *on_arg;
    char error[512], option[64], option_value[64];
    bool no_history;
    struct double_counts counts;
    uint32_t nresults;
};

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

/* ---- results ---- */

static struct pst_result *result(struct pst_rtp *r, const char *analytic);
static int columns(struct pst_rtp *r, struct pst_result *t, const struct pst_column *c, uint32_t n,
                   const char *key)
{
    (void)r;
    t->ncolumns = n;
    t->nkeys = 0;
    for (uint32_t i = 0; i < n; i++) {
        snprintf(t->column[i].name, sizeof t->column[i].name, "%s", c[i].name);
        t->column[i].type = c[i].type;
    }
    for (const char *p = key; p && *p;) {
        size_t len = strcspn(p, ",");
        for (uint32_t i = 0; i < n; i++)
            if (strlen(c[i].name) == len && !memcmp(c[i].name, p, len))
                t->key[t->nkeys++] = i;
        p += len + (p[len] == ',');
    }
    return 0;
}

static struct pst_result *new_result(struct pst_rtp *r)
{
    struct pst_result *t = must(calloc(1, sizeof *t));
    t->plugin = r;
    t->next = r->results;
    r->results = t;
    r->d->nresults++;
    return t;
}

static struct pst_result *result(struct pst_rtp *r, const char *analytic)
{
    struct pst_result *t = new_result(r);
    for (unsigned i = 0; analytic && i < r->nanalytics; i++)
        if (!strcmp(r->analytic[i]->name, analytic))
            columns(r, t, r->analytic[i]->columns, r->analytic[i]->ncolumns, r->analytic[i]->key);
    return t;
}

static void clear(struct pst_result *t)
{
    for (uint32_t i = 0; i < t->nrows; i++)
        free(t->row[i]);
    t->nrows = 0;
}

static void drop(struct pst_rtp *r, struct pst_result *t)
{
    struct pst_result **p = &r->results;
    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
    clear(t);
    free(t->row);
    free(t);
    r->d->nresults--;
}

static int add(struct pst_rtp *r, struct pst_result *t, const struct pst_value *v)
{
    char text[PST_COLUMNS_MAX * 40], *at = text;
    r->d->counts.add++;
    if (!t->ncolumns)
        abort();
    for (uint32_t i = 0; i < t->ncolumns; i++) {
        if (v[i].type != t->column[i].type)
            abort();
        size_t room = (size_t)(text + sizeof text - at);
        if (v[i].type == PST_FLOAT || v[i].type == PST_REAL)
            at += v[i].f != v[i].f ? snprintf(at, room, "nan|") : snprintf(at, room, "%a|", v[i].f);
        else if (v[i].type == PST_SYMBOL || v[i].type == PST_STRING)
            at += snprintf(at, room, "%.*s|", (int)v[i].text.len, v[i].text.at);
        else
            at += snprintf(at, room, "%lld|", (long long)v[i].i);
    }
    if (t->nrows == t->room) {
        t->room = t->room ? 2 * t->room : 16;
        t->row = must(realloc(t->row, t->room * sizeof *t->row));
    }
    t->row[t->nrows++] = must(strdup(text));
    return 0;
}

static uint32_t rows(const struct pst_result *t)
{
    return t->nrows;
}

static int publish(struct pst_rtp *r, int64_t uid, struct pst_result *t)
{
    if (!t->nrows) {
        r->d->counts.empty++;
        return 0;
    }
    r->d->counts.published++;
    r->d->counts.published_rows += t->nrows;
    if (r->d->on)
        r->d->on(r->d->on_arg, r->analytic[0]->name, uid, t);
    clear(t);
    return 0;
}

static uint32_t subscriptions(const struct pst_rtp *r)
{
    return r->subs;
}

/* ---- the journal ---- */

static const struct pst_table *newest(const struct rtp_double *d, const char *name)
{
    for (uint32_t i = d->ntables; i-- > 2;)
        if (!strcmp(d->table[i]->name, name))
            return d->table[i];
    return NULL;
}

static void want_again(struct pst_rtp *r)
{
    for (uint32_t i = 2; i < r->d->ntables; i++) {
        r->want[i] = NULL;
        for (unsigned k = 0; k < r->nwants; k++)
            if (r->wants[k].n && !strcmp(r->wants[k].name, r->d->table[i]->name))
                r->want[i] = r->d->table[i];
    }
}

static const struct pst_table *table(struct pst_rtp *r, const char *name)
{
    return newest(r->d, name);
}

static int fails(struct pst_rtp *r, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(r->d->error, sizeof r->d->error, format, ap);
    va_end(ap);
    return -1;
}

static int want(struct pst_rtp *r, const char *name)
{
    unsigned k = 0;
    if (!newest(r->d, name))
        return fails(r, "There is no table %s.", name);
    while (k < r->nwants && strcmp(r->wants[k].name, name) != 0)
        k++;
    if (k == r->nwants)
        snprintf(r->wants[r->nwants++].name, 64, "%s", name);
    r->wants[k].n++;
    want_again(r);
    return 0;
}

static void unwant(struct pst_rtp *r, const char *name)
{
    for (unsigned k = 0; k < r->nwants; k++)
        if (!strcmp(r->wants[k].name, name) && !r->wants[k].n--)
            abort();
    want_again(r);
}

static struct pst_text symbol(struct pst_rtp *r, uint32_t id)
{
    r->d->counts.symbol++;
    return (struct pst_text){r->d->symbol[id], (uint32_t)strlen(r->d->symbol[id])};
}

static uint32_t find(const struct rtp_double *d, const char *text, uint32_t len)
{
    for (uint32_t i = 0; i < d->nsymbols; i++)
        if (strlen(d->symbol[i]) == len && !memcmp(d->symbol[i], text, len))
            return i;
    return PST_NULL_SYMBOL;
}

static uint32_t find_symbol(struct pst_rtp *r, const char *text, uint32_t len)
{
    return find(r->d, text, len);
}

static uint64_t position(const struct pst_rtp *r)
{
    return r->d->position;
}

static int history(struct pst_rtp *r, const char *name, const struct pst_value *syms, uint32_t n,
                   bool last_of_each, void (*each)(void *, const struct pst_row *), void *arg)
{
    struct rtp_double *d = r->d;
    int32_t day = d->day;
    if (d->no_history)
        return fails(r, "The RDB is being rebuilt.");
    d->counts.history++;
    for (uint32_t i = 0; i < d->nold; i++) {
        const struct old_row *o = &d->old[i];
        uint32_t sym = pst_row_sym(&o->row);
        bool take = !strcmp(o->row.table->name, name), any = !n;
        for (uint32_t k = 0; k < n && !any; k++)
            any = sym == PST_NULL_SYMBOL
                      ? !syms[k].text.len
                      : strlen(d->symbol[sym]) == syms[k].text.len &&
                            !memcmp(d->symbol[sym], syms[k].text.at, syms[k].text.len);
        take = take && any;
        for (uint32_t k = i + 1; last_of_each && take && k < d->nold; k++)
            take =
                strcmp(d->old[k].row.table->name, name) != 0 || pst_row_sym(&d->old[k].row) != sym;
        if (!take)
            continue;
        d->day = o->day;
        d->counts.history_rows++;
        each(arg, &o->row);
    }
    d->day = day;
    return 0;
}

/* ---- timers, others ---- */

static int timer(struct pst_rtp *r, int64_t interval, uint32_t journal, pst_timer *fn, void *data)
{
    int i = 0;
    while (r->timer[i].used)
        i++;
    r->timer[i] = (struct timer){true, journal, interval, r->d->time + interval, fn, data};
    return i;
}
static int stop_timer(struct pst_rtp *r, int id)
{
    if (!r->timer[id].used)
        abort();
    r->timer[id].used = false;
    return 0;
}
static int64_t now(struct pst_rtp *r)
{
    return r->d->time;
}
static void logs(struct pst_rtp *r, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(r->d->error, sizeof r->d->error, format, ap);
    va_end(ap);
}
static const char *option(struct pst_rtp *r, const char *name)
{
    return strcmp(name, r->d->option) != 0 ? NULL : r->d->option_value;
}
static int full(struct pst_rtp *r, struct pst_result *t)
{
    (void)r;
    t->full = true;
    return 0;
}
static struct pst_text calendar(struct pst_rtp *r, const char *name)
{
    (void)r, (void)name;
    return (struct pst_text){"default", 7};
}
static int32_t day(struct pst_rtp *r)
{
    return r->d->day;
}
static int64_t time_of(struct pst_rtp *r)
{
    return r->d->time;
}
static int analytic(struct pst_rtp_registry *g, const struct pst_analytic *a)
{
    g->r->analytic[g->r->nanalytics++] = a;
    return 0;
}
static int hooks(struct pst_rtp_registry *g, const struct pst_hooks *h)
{
    g->r->hooks = h;
    return 0;
}

static int no_processor(struct pst_rtp_registry *g, const struct pst_processor *p)
{
    (void)g;
    (void)p;
    return 0; /* its tests have a host of their own */
}
static int no_api(struct pst_rtp_registry *g, const struct pst_api *a)
{
    (void)g;
    (void)a;
    return 0;
}

static const struct pst_rtp_host host = {.abi = PST_RTP_ABI,
                                         .size = sizeof host,
                                         .analytic = analytic,
                                         .processor = no_processor,
                                         .api = no_api,
                                         .hooks = hooks,
                                         .result = result,
                                         .columns = columns,
                                         .add = add,
                                         .rows = rows,
                                         .clear = clear,
                                         .publish = publish,
                                         .subscriptions = subscriptions,
                                         .table = table,
                                         .want = want,
                                         .unwant = unwant,
                                         .symbol = symbol,
                                         .find_symbol = find_symbol,
                                         .position = position,
                                         .history = history,
                                         .timer = timer,
                                         .stop_timer = stop_timer,
                                         .now = now,
                                         .error = fails,
                                         .log = logs,
                                         .option = option,
                                         .drop = drop,
                                         .full = full,
                                         .calendar = calendar,
                                         .day = day,
                                         .time = time_of};

/* ---- what tests call ---- */

struct rtp_double *double_new(void)
{
    struct rtp_double *d = must(calloc(1, sizeof *d));
    d->frame = must(malloc(FRAME_ROOM));
    d->ntables = 2;
    d->position = 4096;
    return d;
}

static struct pst_rtp *new_plugin(struct rtp_double *d)
{
    struct pst_rtp *r = must(calloc(1, sizeof *r));
    static const struct pst_hooks none = {.size = sizeof none};
    r->d = d;
    r->hooks = &none;
    d->plugin[d->nplugins++] = r;
    return r;
}

void double_builtins(struct rtp_double *d)
{
    pst_rtp_host = &host;
    for (uint32_t i = 0; i < builtins_n; i++) {
        struct pst_rtp_registry g = {new_plugin(d)};
        if (builtins[i].registers(&g))
            abort();
    }
}

bool double_load(struct rtp_double *d, const char *file)
{
    void *so = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!so)
        return false;
    const struct pst_rtp_host **at = dlsym(so, "pst_rtp_host");
    const struct pst_rtp_plugin *plugin = dlsym(so, "pst_rtp_plugin");
    int (*registers)(struct pst_rtp_registry *) = NULL;
    *(void **)&registers = dlsym(so, "pst_rtp_register");
    if (!at || !registers || !plugin || plugin->abi != PST_RTP_ABI)
        return false;
    *at = &host;
    struct pst_rtp_registry g = {new_plugin(d)};
    return registers(&g) == 0;
}

void double_free(struct rtp_double *d)
{
    for (unsigned i = 0; i < d->nplugins; i++) {
        while (d->plugin[i]->results)
            drop(d->plugin[i], d->plugin[i]->results);
        free(d->plugin[i]);
    }
    for (uint32_t i = 2; i < d->ntables; i++) {
        free((void *)d->table[i]->column);
        free((void *)d->table[i]->name);
        free(d->table[i]);
    }
    for (uint32_t i = 0; i < d->nsymbols; i++)
        free(d->symbol[i]);
    for (uint32_t i = 0; i < d->nold_frames; i++)
        free(d->old_frames[i]);
    free(d->symbol);
    free(d->old);
    free(d->frame);
    free(d);
}

void double_on_publish(struct rtp_double *d,
                       void (*fn)(void *, const char *, int64_t, const struct pst_result *),
                       void *arg)
{
    d->on = fn;
    d->on_arg = arg;
}

void double_option(struct rtp_double *d, const char *name, const char *value)
{
    snprintf(d->option, sizeof d->option, "%s", name);
    snprintf(d->option_value, sizeof d->option_value, "%s", value);
}

void double_no_history(struct rtp_double *d, bool none)
{
    d->no_history = none;
}

static uint32_t width(uint32_t type)
{
    switch (type) {
#define X(ID, name, number, width, letter)                                                         \
    case number:                                                                                   \
        return width;
        PST_TYPES(X)
#undef X
    }
    abort();
}

const struct pst_table *double_table(struct rtp_double *d, const char *name,
                                     const struct pst_column *c, uint32_t n)
{
    struct pst_table_column *column = must(calloc(n, sizeof *column));
    struct pst_table *t = must(malloc(sizeof *t));
    for (uint32_t i = 0; i < n; i++) /* each in 16 bytes of its own */
        column[i] = (struct pst_table_column){c[i].name, c[i].type,
                                              i == 0   ? 8
                                              : i == 1 ? 4
                                                       : 16 * (i - 1),
                                              0};
    *t = (struct pst_table){must(strdup(name)), d->ntables, 0, n, column};
    d->table[d->ntables++] = t;
    for (unsigned i = 0; i < d->nplugins; i++)
        want_again(d->plugin[i]);
    return t;
}

static uint32_t intern(struct rtp_double *d, struct pst_text t)
{
    uint32_t id = t.len ? find(d, t.at, t.len) : PST_NULL_SYMBOL;
    if (id != PST_NULL_SYMBOL || !t.len)
        return id;
    if (d->nsymbols == d->symbols_room) {
        d->symbols_room = d->symbols_room ? 2 * d->symbols_room : 64;
        d->symbol = must(realloc(d->symbol, d->symbols_room * sizeof *d->symbol));
    }
    d->symbol[d->nsymbols] = must(strndup(t.at, t.len));
    return d->nsymbols++;
}

void double_row(struct rtp_double *d, const struct pst_table *t, const struct pst_value *v)
{
    uint8_t *at = d->frame + d->bytes;
    uint32_t bytes = 16 * t->ncolumns;
    memset(at, 0, bytes);
    for (uint32_t i = 0; i < t->ncolumns; i++) {
        uint8_t *to = at + t->column[i].offset;
        float f = (float)v[i].f;
        uint32_t id;
        switch (t->column[i].type) {
        case PST_SYMBOL:
            id = intern(d, v[i].text);
            memcpy(to, &id, 4);
            break;
        case PST_STRING:
            memcpy(to, &bytes, 4);
            memcpy(to + 4, &v[i].text.len, 4);
            memcpy(at + bytes, v[i].text.at, v[i].text.len);
            bytes += (v[i].text.len + 7) / 8 * 8;
            break;
        case PST_REAL:
            memcpy(to, &f, 4);
            break;
        default:
            memcpy(to, &v[i].i, width(t->column[i].type));
        }
    }
    uint16_t id = (uint16_t)t->id, n = (uint16_t)bytes;
    memcpy(at, &id, 2);
    memcpy(at + 2, &n, 2);
    d->bytes += bytes;
    if (d->bytes + 4096 > FRAME_ROOM)
        abort();
}

void double_frame(struct rtp_double *d, int64_t time, int32_t day)
{
    const struct pst_table *every[PST_TABLES] = {NULL};
    struct pst_frame f = {.position = d->position,
                          .end = d->position + 32 + d->bytes,
                          .time = time,
                          .day = day,
                          .records = d->frame,
                          .records_end = d->frame + d->bytes};
    d->position = f.end;
    d->time = time;
    d->day = day;
    for (unsigned i = 0; i < d->nplugins; i++) {
        struct pst_rtp *r = d->plugin[i];
        bool any = false;
        for (unsigned k = 0; k < r->nwants; k++)
            any |= r->wants[k].n != 0;
        f.table = r->want;
        d->counts.delivered += any;
        if (any && r->hooks->rows)
            r->hooks->rows(r, &f, r->hooks->data);
    }
    memcpy((void *)every, (void *)d->table, sizeof every);
    f.table = every;
    uint8_t *copy = must(malloc(d->bytes + 8));
    memcpy(copy, d->frame, d->bytes);
    d->old_frames[d->nold_frames++] = copy;
    f.records = copy;
    f.records_end = copy + d->bytes;
    struct pst_row row;
    for (struct pst_walk w = pst_walk(&f); pst_next(&w, &row);) {
        if (d->nold == d->old_room) {
            d->old_room = d->old_room ? 2 * d->old_room : 1024;
            d->old = must(realloc(d->old, d->old_room * sizeof *d->old));
        }
        d->old[d->nold++] = (struct old_row){row, day};
    }
    d->bytes = 0;
}

void double_tick(struct rtp_double *d, int64_t time)
{
    d->time = time;
    for (unsigned i = 0; i < d->nplugins; i++)
        for (unsigned k = 0; k < 4096; k++) {
            struct timer *t = &d->plugin[i]->timer[k];
            if (!t->used || t->due > time)
                continue;
            t->due = time + t->interval;
            t->fn(d->plugin[i], time, t->data);
        }
}

void double_eod(struct rtp_double *d, int32_t ended)
{
    struct pst_mark_facts m = {.size = sizeof m,
                               .mark = PST_MARK_EOD,
                               .position = d->position,
                               .time = d->time,
                               .day = ended,
                               .calendar = {"default", 7}};
    d->position += 64;
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->nold; i++)
        if (d->old[i].day > ended)
            d->old[n++] = d->old[i];
    d->nold = n;
    for (unsigned i = 0; i < d->nplugins; i++)
        if (d->plugin[i]->hooks->mark)
            d->plugin[i]->hooks->mark(d->plugin[i], &m, d->plugin[i]->hooks->data);
}

static struct pst_rtp *plugin_of(struct rtp_double *d, const char *name,
                                 const struct pst_analytic **a)
{
    for (unsigned i = 0; i < d->nplugins; i++)
        for (unsigned k = 0; k < d->plugin[i]->nanalytics; k++)
            if (!strcmp(d->plugin[i]->analytic[k]->name, name)) {
                *a = d->plugin[i]->analytic[k];
                return d->plugin[i];
            }
    abort();
}

static int64_t timespan(const char *t)
{
    int days = 0, h = 0, m = 0;
    double s = 0;
    if (sscanf(t, "%dD%d:%d:%lf", &days, &h, &m, &s) != 4)
        return strtoll(t, NULL, 10); /* ns */
    return (((int64_t)days * 24 + h) * 60 + m) * 60000000000ll + (int64_t)(s * 1e9);
}

static struct pst_value parse(uint32_t type, const char *t, size_t n)
{
    struct pst_value v = {.type = type};
    char text[1100];
    snprintf(text, sizeof text, "%.*s", (int)n, t);
    if (type == PST_SYMBOL || type == PST_STRING)
        v.text = (struct pst_text){t, (uint32_t)n};
    else if (type == PST_FLOAT)
        v.f = strtod(text, NULL);
    else if (type == PST_TIMESPAN)
        v.i = timespan(text);
    else
        v.i = strtoll(text, NULL, 10);
    return v;
}

int64_t double_subscribe(struct rtp_double *d, const char *name, const char *parameters)
{
    const struct pst_analytic *a;
    struct pst_rtp *r = plugin_of(d, name, &a);
    struct pst_list list[PST_PARAMETERS_MAX] = {{0}};
    struct pst_value *value[PST_PARAMETERS_MAX] = {NULL};
    d->error[0] = 0;
    for (uint32_t i = 0; i < a->nparameters; i++) {
        const struct pst_parameter *p = &a->parameters[i];
        const char *text = p->def ? p->def : "";
        size_t n = strlen(text), len = strlen(p->name);
        for (const char *w = parameters; w && *w; w += strcspn(w, " "), w += *w == ' ')
            if (!strncmp(w, p->name, len) && w[len] == '=') {
                text = w + len + 1;
                n = strcspn(text, " ");
                list[i].given = 1;
            }
        if (!p->def && !list[i].given)
            abort();
        list[i].name = p->name;
        list[i].type = p->type & 0xFF;
        value[i] = must(calloc(n + 1, sizeof **value));
        list[i].value = value[i];
        if (p->type & PST_LIST) {
            for (size_t at = 0; at < n;) {
                size_t item = 0;
                while (at + item < n && text[at + item] != ',')
                    item++;
                value[i][list[i].n++] = parse(list[i].type, text + at, item);
                at += item + 1;
            }
        } else {
            value[i][list[i].n++] = parse(list[i].type, text, n);
        }
    }
    struct pst_map map = {.n = a->nparameters, .at = list, .user = ""};
    int64_t uid = a->subscribe(r, &map, a->data);
    for (uint32_t i = 0; i < a->nparameters; i++)
        free(value[i]);
    r->subs += uid >= 0;
    return uid;
}

void double_unsubscribe(struct rtp_double *d, const char *name, int64_t uid)
{
    const struct pst_analytic *a;
    struct pst_rtp *r = plugin_of(d, name, &a);
    a->unsubscribe(r, uid, a->data);
    r->subs--;
}

static struct pst_result *shaped(struct pst_rtp *r, const struct pst_analytic *a, int64_t uid)
{
    struct pst_result *t = new_result(r);
    if (a->columns)
        columns(r, t, a->columns, a->ncolumns, a->key);
    if (a->describe && a->describe(r, uid, t, a->data) < 0)
        t->ncolumns = 0;
    return t;
}

struct pst_result *double_snapshot(struct rtp_double *d, const char *name, int64_t uid)
{
    const struct pst_analytic *a;
    struct pst_rtp *r = plugin_of(d, name, &a);
    double_flush(d);
    struct pst_result *t = shaped(r, a, uid);
    a->snapshot(r, uid, t, a->data);
    return t;
}

void double_drop(struct pst_result *t)
{
    drop(t->plugin, t);
}

void double_flush(struct rtp_double *d)
{
    for (unsigned i = 0; i < d->nplugins; i++)
        if (d->plugin[i]->hooks->flush)
            d->plugin[i]->hooks->flush(d->plugin[i], d->plugin[i]->hooks->data);
}

const char *double_error(const struct rtp_double *d)
{
    return d->error;
}
struct double_counts *double_counted(struct rtp_double *d)
{
    return &d->counts;
}
uint32_t double_results(const struct rtp_double *d)
{
    return d->nresults;
}
