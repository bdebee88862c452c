/* SPDX-License-Identifier: Apache-2.0 */
/* Which column of the file becomes which of the table: from the recipe and the first row. */
#include <errno.h>
#include <strings.h>
#include "core/civil.h"
#include "core/clock.h"
#include "load/text_parts.h"

#define NAME_SHOWN 60

/* Where a column of the file goes. */
struct way {
    int to; /* LOAD_TO_NOTHING: nowhere */
    bool date, known;
};

struct names {
    const char *const *name;
    const uint32_t *len;
    uint32_t n;
};

static bool same(const char *name, const char *p, uint32_t n, bool exactly)
{
    return strlen(name) == n && (exactly ? !memcmp(name, p, n) : !strncasecmp(name, p, n));
}

/* Is this column of the table already what the map makes of another name, or a constant beside a
 * map? */
static bool given_otherwise(const struct load_recipe *r, int column)
{
    for (unsigned i = 0; i < r->nfields; i++)
        if (r->fields[i].to == column)
            return true;
    return r->nfields && r->rule[column].constant;
}

/* The field of a name in the header: what the map says of it, else the table's column of that
 * name. */
static struct way by_name(const struct load_recipe *r, const char *p, uint32_t n)
{
    struct way w = {LOAD_TO_NOTHING, false, false};
    for (int exactly = 1; exactly >= 0; exactly--) {
        if (r->by_name)
            for (unsigned i = 0; i < r->nfields; i++)
                if (same(r->fields[i].name, p, n, exactly))
                    return (struct way){r->fields[i].to, r->fields[i].date, true};
        if (r->date == LOAD_DATE_COLUMN && same(r->date_column, p, n, exactly)) {
            w.date = w.known = true;
            w.to = load_recipe_column(r, r->date_column);
            return w;
        }
        for (unsigned i = 0; i < r->tables[0].ncols; i++)
            if (same(r->tables[0].col[i].name, p, n, exactly) && !given_otherwise(r, (int)i))
                return (struct way){(int)i, false, true};
    }
    if (!n || (r->by_name && r->others)) /* a separator at the end of the header names nothing */
        w.known = true;
    return w;
}

/* Does a first row look like names? */
static bool is_header(const struct load_recipe *r, const struct names *f)
{
    if (r->header != LOAD_HEADER_AUTO)
        return r->header == LOAD_HEADER_YES;
    for (uint32_t i = 0; i < f->n; i++) {
        if (!f->len[i])
            continue;
        struct way w = by_name(r, f->name[i], f->len[i]);
        if (w.known && (w.to >= 0 || w.date))
            return true;
        for (unsigned k = 0; k < r->nfields && !r->by_name; k++)
            if (r->fields[k].to >= 0 &&
                same(r->tables[0].col[r->fields[k].to].name, f->name[i], f->len[i], false))
                return true;
    }
    return false;
}

static bool refuse(struct load_text *t, struct err *err, const char *what)
{
    return err_set(err, -EINVAL, "%s: %s", t->c.path ? t->c.path : "text", what);
}

/* way[n] of the file's columns. */
static bool ways_of(struct load_text *t, const struct names *f, bool header, struct way *way,
                    struct err *err)
{
    const struct load_recipe *r = t->r;
    if (header && (r->by_name || !r->nfields)) {
        for (uint32_t i = 0; i < f->n; i++) {
            way[i] = by_name(r, f->name[i], f->len[i]);
            if (!way[i].known) {
                char what[300];
                snprintf(what, sizeof what,
                         "the header names a column '%.*s' that table %s has not got; say in `map` "
                         "which column it is, or \"-\" to pass it over",
                         (int)(f->len[i] < NAME_SHOWN ? f->len[i] : NAME_SHOWN), f->name[i],
                         r->tables[0].name);
                return refuse(t, err, what);
            }
        }
        return true;
    }
    if (r->by_name)
        return refuse(t, err,
                      "`map` goes by the header's names, and the first row names no column "
                      "of the table or the map");
    uint32_t columns = r->nfields ? r->nfields : r->tables[0].ncols;
    if (!r->nfields) /* without a header the file has what a constant does not give */
        for (unsigned i = 0; i < r->tables[0].ncols; i++)
            columns -= r->rule[i].constant;
    unsigned next = 0;
    for (uint32_t i = 0; i < columns; i++) {
        if (r->nfields) {
            way[i] = (struct way){r->fields[i].to, r->fields[i].date, true};
            continue;
        }
        while (r->rule[next].constant)
            next++;
        const char *name = r->tables[0].col[next].name;
        way[i] = (struct way){(int)next++,
                              r->date == LOAD_DATE_COLUMN && !strcmp(name, r->date_column), true};
    }
    t->nfields = columns;
    return true;
}

static int ten_of(int64_t v)
{
    for (int i = 0; i < 19; i++)
        if ((uint64_t)v == text_tens[i])
            return i;
    return -1;
}

static void put_null(uint8_t type, uint8_t out[16])
{
    memset(out, 0, 16);
    if (type != PST_SYMBOL && type != PST_STRING)
        type_put_null(out, type);
}

static void how_of(const struct load_recipe *r, int to, struct text_how *h)
{
    text_how_init(h, to < 0 ? PST_DATE : r->tables[0].col[to].type);
    h->date_format = (uint8_t)r->date_format;
    h->point = r->decimal ? r->decimal : '.';
    h->thousands = r->thousands;
    h->zone = r->tz;
    if (to < 0)
        return;
    h->time = r->rule[to].time;
    h->pattern = r->rule[to].pattern;
    if (r->rule[to].divide)
        h->scale = (struct text_scale){r->rule[to].multiply, r->rule[to].divide};
}

static enum text_kind kind_of(struct text_column *c)
{
    const struct text_how *h = &c->how;
    bool plain = h->point == '.' && !h->thousands;
    int tens = ten_of(h->scale.divide);
    switch (h->type) {
    case PST_SYMBOL:
        return TEXT_KIND_SYMBOL;
    case PST_STRING:
        return TEXT_KIND_STRING;
    case PST_CHAR:
    case PST_BOOLEAN:
        return TEXT_KIND_WHOLE;
    case PST_FLOAT:
    case PST_REAL:
        if (!plain || h->scale.multiply != 1 || tens < 0 || tens > 6)
            return TEXT_KIND_VALUE;
        c->tens = (unsigned)tens;
        return h->type == PST_FLOAT ? TEXT_KIND_DOUBLE : TEXT_KIND_SINGLE;
    case PST_BYTE:
    case PST_SHORT:
    case PST_INT:
    case PST_LONG:
        if (!plain || h->scale.multiply != 1 || h->scale.divide != 1)
            return TEXT_KIND_VALUE;
        c->high = h->type == PST_BYTE    ? UINT8_MAX
                  : h->type == PST_SHORT ? INT16_MAX
                  : h->type == PST_INT   ? INT32_MAX
                                         : INT64_MAX;
        c->low = h->type == PST_BYTE ? 0 : -c->high;
        return TEXT_KIND_WHOLE;
    case PST_TIMESTAMP:
    case PST_TIMESPAN:
        break;
    case PST_DATE:
    case PST_MONTH:
    case PST_MINUTE:
    case PST_SECOND:
    case PST_TIME:
        return TEXT_KIND_CACHED;
    default:
        return TEXT_KIND_VALUE;
    }
    switch (h->time) {
    case LOAD_TIME_AUTO:
    case LOAD_TIME_ISO:
    case LOAD_TIME_YMD:
    case LOAD_TIME_CLOCK:
        return TEXT_KIND_MOMENT;
    case LOAD_TIME_PATTERN:
        return TEXT_KIND_VALUE;
    default:
        break;
    }
    bool second = h->time == LOAD_TIME_EPOCH_S || h->time == LOAD_TIME_DAY_S;
    bool milli = h->time == LOAD_TIME_EPOCH_MS || h->time == LOAD_TIME_DAY_MS;
    bool micro = h->time == LOAD_TIME_EPOCH_US || h->time == LOAD_TIME_DAY_US;
    bool of_day = h->time >= LOAD_TIME_DAY_S && h->time <= LOAD_TIME_DAY_NS;
    c->unit = second ? NS_PER_S : milli ? NS_PER_MS : micro ? NS_PER_US : 1;
    c->epoch = of_day || h->time == LOAD_TIME_KDB_NS ? 0 : PST_EPOCH_OFFSET_S * NS_PER_S;
    if (of_day && h->type == PST_TIMESTAMP) {
        c->low = 1; /* until the first row's midnight is known (text_fields.c) */
        c->high = 0;
        return TEXT_KIND_COUNT;
    }
    if (h->type == PST_TIMESPAN && !of_day)
        return TEXT_KIND_VALUE;
    c->low = -(INT64_MAX / 4 / c->unit);
    c->high = INT64_MAX / c->unit;
    return TEXT_KIND_COUNT;
}

/* The null texts that a loop would take for a value: it must look for them. */
static uint64_t nulls_of(const struct load_text *t, const struct text_column *c)
{
    const struct load_recipe *r = t->r;
    uint64_t bits = 0;
    for (unsigned i = 0; i < r->nnulls; i++) {
        size_t n = strlen(r->null[i]);
        uint8_t value[16];
        bool text = c->kind == TEXT_KIND_SYMBOL || c->kind == TEXT_KIND_STRING;
        if (n && (text || text_value(&c->how, r->null[i], n, 0, value) == TEXT_OK))
            bits |= 1ull << (n < 63 ? n : 63);
    }
    return bits;
}

static void add_column(struct load_text *t, const struct names *f, bool header, uint32_t field,
                       int to)
{
    struct text_column *c = &t->col[t->ncols++];
    *c = (struct text_column){.field = field, .to = to, .quote = t->syntax.quote};
    how_of(t->r, to, &c->how);
    if (header && field < f->n && f->len[field])
        snprintf(c->name, sizeof c->name, "%.*s", (int)f->len[field], f->name[field]);
    else if (to >= 0)
        snprintf(c->name, sizeof c->name, "%s", t->r->tables[0].col[to].name);
    else
        snprintf(c->name, sizeof c->name, "%u", field + 1);
    c->kind = kind_of(c);
    c->width = load_width(c->how.type);
    put_null(c->how.type, c->null);
    c->skip = field ? t->syntax.nseparator : 1;
    c->last = field + 1 == t->nfields;
    c->quote = t->syntax.quote;
    c->nulls = nulls_of(t, c);
    c->mask[0] = c->mask[1] = ~0ull; /* nothing is kept yet: no text has 16 NULs */
    c->prefix = 16;
}

/* A constant's value; symbols and strings have none but their text. */
static int constant_of(const struct load_recipe *r, int to, void *value)
{
    uint8_t type = r->tables[0].col[to].type;
    const char *text = r->rule[to].value;
    size_t n = strlen(text);
    bool dated = r->date == LOAD_DATE_FILE || r->date == LOAD_DATE_FIXED;
    struct text_how h;
    if (type == PST_SYMBOL)
        return n > LOAD_SYMBOL_BYTES ? TEXT_LONG_SYMBOL : TEXT_OK;
    if (type == PST_STRING || !n)
        return TEXT_OK;
    how_of(r, to, &h);
    return text_value(&h, text, n, dated ? r->day : TEXT_NO_DAY, value);
}

static bool constant_wrong(const struct load_recipe *r, int to, int reason, char what[300])
{
    char sentence[160];
    snprintf(what, 300, "the constant '%.60s' of column %s: %s", r->rule[to].value,
             r->tables[0].col[to].name, text_sentence(reason, r->tables[0].col[to].type, sentence));
    return false;
}

static bool pattern_wrong(const char *pattern, const char *column, char what[300])
{
    snprintf(what, 300,
             "the pattern '%s' of column %s has a letter that is not known, or a bracket "
             "that does not close (%%Y %%y %%m %%b %%d %%j %%H %%I %%p %%M %%S %%f %%s %%Z)",
             pattern, column);
    return false;
}

/* Does the file's name give this column? */
static bool named_by_pattern(const struct load_recipe *r, const char *column)
{
    char group[SCHEMA_NAME_MAX + 3];
    snprintf(group, sizeof group, "{%s}", column);
    return r->file_pattern && strstr(r->file_pattern, group);
}

bool load_text_check(const struct load_recipe *r, struct err *err)
{
    const struct schema *s = &r->tables[0];
    uint8_t value[16];
    char what[300] = "";
    bool ok = true;
    for (unsigned i = 0; i < s->ncols && r->nfields && !r->by_name && ok; i++) {
        ok = r->rule[i].constant || r->rule[i].optional || named_by_pattern(r, s->col[i].name);
        for (unsigned k = 0; k < r->nfields && !ok; k++)
            ok = r->fields[k].to == (int)i;
        if (!ok)
            snprintf(what, sizeof what,
                     "columns: %s of table %s comes from nowhere; name it there or in `constants`, "
                     "or let it be missing with `optional`",
                     s->col[i].name, s->name);
    }
    for (unsigned i = 0; i < s->ncols && ok; i++) {
        const struct load_rule *rule = &r->rule[i];
        if (rule->time == LOAD_TIME_PATTERN && !text_pattern_valid(rule->pattern))
            ok = pattern_wrong(rule->pattern, s->col[i].name, what);
        int reason = ok && rule->constant && rule->value ? constant_of(r, (int)i, value) : TEXT_OK;
        if (reason && reason != TEXT_DATELESS) /* the date may come with the file's name */
            ok = constant_wrong(r, (int)i, reason, what);
    }
    return ok || err_set(err, -EINVAL, "%s", what);
}

static bool add_fill(struct load_text *t, int to, struct err *err)
{
    const struct load_recipe *r = t->r;
    struct text_fill *f = &t->fill[t->nfill++];
    uint8_t type = r->tables[0].col[to].type;
    f->to = to;
    f->width = load_width(type);
    put_null(type, f->value);
    const char *text = r->rule[to].constant ? r->rule[to].value : NULL;
    if (!text || !*text)
        return true;
    if (type == PST_SYMBOL || type == PST_STRING)
        f->text = text;
    char what[300];
    int reason = constant_of(r, to, f->value);
    return !reason || constant_wrong(r, to, reason, what) || refuse(t, err, what);
}

static bool columns_of(struct load_text *t, const struct names *f, bool header,
                       const struct way *way, struct err *err)
{
    const struct load_recipe *r = t->r;
    const struct schema *s = &r->tables[0];
    uint32_t taken[SCHEMA_COLUMNS_MAX] = {0};
    bool dated = false;
    char what[300];
    for (uint32_t i = 0; i < t->nfields; i++) {
        if (way[i].to >= 0 && taken[way[i].to]++) {
            snprintf(what, sizeof what, "two columns of the file are column %s of table %s",
                     s->col[way[i].to].name, s->name);
            return refuse(t, err, what);
        }
        if (way[i].date && dated)
            return refuse(t, err, "two columns of the file are the date");
        dated |= way[i].date;
    }
    if (r->date == LOAD_DATE_COLUMN && !dated) {
        snprintf(what, sizeof what, "no column of the file is '%s', which `date` names",
                 r->date_column);
        return refuse(t, err, what);
    }
    t->col = calloc(t->nfields + 1, sizeof *t->col);
    if (!t->col)
        return err_set(err, -ENOMEM, "no memory for %u columns", t->nfields);
    for (uint32_t i = 0; i < t->nfields; i++)
        if (way[i].date)
            add_column(t, f, header, i, -1);
    for (uint32_t i = 0; i < t->nfields; i++)
        if (way[i].to >= 0)
            add_column(t, f, header, i, way[i].to);
    for (unsigned i = 0; i < s->ncols; i++) {
        if (taken[i])
            continue;
        if (!r->rule[i].constant && !r->rule[i].optional) {
            snprintf(what, sizeof what,
                     "column %s of table %s is not in the file; say in `map` or `columns` which of "
                     "its columns it is, give it in `constants`, or let it be missing with "
                     "`optional`",
                     s->col[i].name, s->name);
            return refuse(t, err, what);
        }
        if (!add_fill(t, (int)i, err))
            return false;
    }
    return true;
}

bool text_plan(struct load_text *t, const char *const *name, const uint32_t *len, uint32_t n,
               bool *header, struct err *err)
{
    struct names f = {name, len, n};
    struct way way[LOAD_COLUMNS];
    if (n > LOAD_COLUMNS)
        return refuse(t, err, "the first row has more columns than a file may have (512)");
    *header = is_header(t->r, &f);
    t->nfields = n;
    if (!ways_of(t, &f, *header, way, err) || !columns_of(t, &f, *header, way, err))
        return false;
    for (unsigned i = 0; i < t->ncols; i++)
        if (t->col[i].how.type == PST_TIMESTAMP && t->r->date == LOAD_DATE_TIME &&
            (t->col[i].how.time == LOAD_TIME_CLOCK ||
             (t->col[i].how.time >= LOAD_TIME_DAY_S && t->col[i].how.time <= LOAD_TIME_DAY_NS)))
            return refuse(t, err,
                          "times of day belong to no date: say with `date` where the date comes "
                          "from (a column, the file's name, or a date)");
    for (unsigned i = 0; i < t->ncols; i++)
        if (t->col[i].how.time == LOAD_TIME_PATTERN && !text_pattern_valid(t->col[i].how.pattern)) {
            char what[300];
            pattern_wrong(t->col[i].how.pattern, t->col[i].name, what);
            return refuse(t, err, what);
        }
    t->facts.header = *header;
    t->facts.columns = t->nfields;
    t->planned = true;
    return true;
}
