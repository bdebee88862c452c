/* SPDX-License-Identifier: Apache-2.0 */
/* A table's columns from the updates themselves. */
#include <errno.h>
#include "kdb_rows.h"

static uint32_t seen(const struct kdb_cells *c, uint32_t rows)
{
    struct kdb_items i;
    uint32_t bits = 0;
    if (c->form == KDB_FORM_TEXT)
        return KDB_SEEN_TEXT;
    if (c->form != KDB_FORM_LIST) {
        int type = c->o.type < 0 ? -c->o.type : c->o.type;
        return rows && type < 20 ? 1u << type : rows ? KDB_SEEN_MIXED : type < 20 ? 1u << type : 0;
    }
    for (bool more = kdb_items(&c->o, &i); more; more = kdb_items_next(&i)) {
        if (i.item.type == PST_CHAR || (i.item.type == KDB_LIST && !i.item.count))
            bits |= KDB_SEEN_TEXT;
        else if (kdb_is_atom(&i.item))
            bits |= 1u << -i.item.type;
        else
            return KDB_SEEN_MIXED;
    }
    /* A list of character atoms alone is one of texts, which senders make of enlist "x". */
    return bits == 1u << PST_CHAR ? KDB_SEEN_TEXT : bits;
}

static bool same_name(const struct kdb_guess_column *g, const struct kdb_cells *c)
{
    return !c->name || !*g->name ||
           (strlen(g->name) == c->name_len && !memcmp(g->name, c->name, c->name_len));
}

void kdb_guess_add(struct kdb_guess *g, const struct kdb_update *u)
{
    if (!u->ncols)
        return;
    bool fits = !g->ncols || g->ncols == u->ncols;
    for (unsigned i = 0; fits && i < u->ncols; i++)
        fits = same_name(&g->col[i], &u->col[i]) && u->col[i].name_len < SCHEMA_NAME_MAX;
    if (!fits) {
        g->odd++;
        return;
    }
    g->ncols = u->ncols;
    g->named |= u->named;
    g->updates++;
    for (unsigned i = 0; i < u->ncols; i++) {
        if (u->col[i].name)
            snprintf(g->col[i].name, sizeof g->col[i].name, "%.*s", (int)u->col[i].name_len,
                     u->col[i].name);
        g->col[i].seen |= seen(&u->col[i], u->rows);
    }
}

#define BIT(type) (1u << (type))
static const uint32_t whole_types =
    BIT(PST_BOOLEAN) | BIT(PST_BYTE) | BIT(PST_SHORT) | BIT(PST_INT) | BIT(PST_LONG);
static const uint32_t float_types = BIT(PST_REAL) | BIT(PST_FLOAT);

/* The one type that takes all that was seen; 0: there is none. */
static uint8_t common(uint32_t bits)
{
    if (!bits)
        return PST_STRING; /* lists without an item */
    if (bits == KDB_SEEN_MIXED)
        return 0;
    bits &= ~KDB_SEEN_MIXED; /* rows that hold lists are refused one by one */
    if (!(bits & ~(KDB_SEEN_TEXT | BIT(PST_CHAR))) && bits & KDB_SEEN_TEXT)
        return PST_STRING;
    if (!(bits & ~(KDB_SEEN_TEXT | BIT(PST_CHAR) | BIT(PST_SYMBOL))) && bits & BIT(PST_SYMBOL))
        return PST_SYMBOL;
    if (!(bits & (bits - 1)))
        return bits == BIT(KDB_DATETIME) ? PST_TIMESTAMP : (uint8_t)__builtin_ctz(bits);
    if (!(bits & ~whole_types))
        return (uint8_t)(31 - __builtin_clz(bits));
    if (!(bits & ~(whole_types | float_types)))
        return bits == (bits & float_types) && !(bits & BIT(PST_FLOAT)) ? PST_REAL : PST_FLOAT;
    return 0;
}

static bool clocks(uint32_t bits)
{
    const uint32_t any = KDB_SEEN_MIXED | BIT(PST_TIMESTAMP) | BIT(PST_TIMESPAN) | BIT(PST_TIME) |
                         BIT(PST_SECOND) | BIT(PST_MINUTE) | BIT(KDB_DATETIME) | BIT(PST_DATE);
    return bits && !(bits & ~any);
}

static bool name_types(uint32_t bits, char *out, size_t room)
{
    size_t n = 0;
    for (int i = 0; i < 20 && n < room; i++)
        if (bits & BIT(i))
            n +=
                (size_t)snprintf(out + n, room - n, "%s%s", n ? ", " : "", kdb_object_type_name(i));
    if (bits & KDB_SEEN_TEXT && n < room)
        n += (size_t)snprintf(out + n, room - n, "%stext", n ? ", " : "");
    if (bits & KDB_SEEN_MIXED && n < room)
        snprintf(out + n, room - n, "%slists", n ? ", " : "");
    return false;
}

bool kdb_guess_schema(const struct kdb_guess *g, struct schema *s, struct kdb_target *t,
                      struct err *err)
{
    struct column_def cols[SCHEMA_COLUMNS_MAX];
    char made[SCHEMA_COLUMNS_MAX][SCHEMA_NAME_MAX], types[200];
    int time = -1, sym = -1;
    if (!g->ncols)
        return err_set(err, -EINVAL, "table %s has no update with rows", g->table);
    for (unsigned i = 0; i < g->ncols; i++) {
        if (*g->col[i].name)
            snprintf(made[i], sizeof made[i], "%s", g->col[i].name);
        else
            snprintf(made[i], sizeof made[i], i == 0 ? "time" : i == 1 ? "sym" : "c%u", i + 1);
        time = strcmp(made[i], "time") ? time : (int)i;
        sym = strcmp(made[i], "sym") ? sym : (int)i;
    }
    if (time < 0 || sym < 0)
        return err_set(err, -EINVAL,
                       "table %s has no columns time and sym; name them: --schema %s=time,sym,...",
                       g->table, g->table);
    unsigned n = 0;
    t->ordered = true;
    for (int pass = 0; pass < 3; pass++) /* time, sym, then the rest in order */
        for (unsigned i = 0; i < g->ncols; i++) {
            const struct kdb_guess_column *c = &g->col[i];
            if ((pass == 0) != ((int)i == time) || (pass == 1) != ((int)i == sym))
                continue;
            uint8_t type = c->type                        ? c->type
                           : pass == 0 && clocks(c->seen) ? PST_TIMESTAMP
                                                          : common(c->seen);
            if (pass == 1 && !c->type && c->seen && !(c->seen & ~(KDB_SEEN_TEXT | BIT(PST_CHAR))))
                type = PST_SYMBOL;
            if (!type) {
                name_types(c->seen, types, sizeof types);
                return err_set(err, -EINVAL, "table %s: column %s holds %s; say which: --schema",
                               g->table, made[i], types);
            }
            cols[n] = (struct column_def){made[i], type};
            t->position[i] = (uint16_t)n++;
        }
    if (cols[0].type != PST_TIMESTAMP || cols[1].type != PST_SYMBOL)
        return err_set(err, -EINVAL,
                       "table %s: time is %s and sym is %s; every table begins with a time and a "
                       "symbol",
                       g->table, type_name(cols[0].type), type_name(cols[1].type));
    /* The eight feed columns in their order: it was a feed's table, and is one again. */
    static const struct column_def feed[] = {{"time", PST_TIMESTAMP},   {"sym", PST_SYMBOL},
                                             {"rxtime", PST_TIMESTAMP}, {"feed", PST_SYMBOL},
                                             {"session", PST_SYMBOL},   {"seq", PST_LONG},
                                             {"line", PST_SYMBOL},      {"flags", PST_INT}};
    bool is_feed = n > SCHEMA_FEED_COLUMNS;
    for (unsigned i = 0; is_feed && i < SCHEMA_FEED_COLUMNS; i++)
        is_feed = !strcmp(cols[i].name, feed[i].name) && cols[i].type == feed[i].type;
    unsigned skip = is_feed ? SCHEMA_FEED_COLUMNS : 0;
    return schema_make(s, 0, g->table, is_feed, cols + skip, n - skip, err);
}

bool kdb_guess_parse(struct kdb_guess *g, const char *table, size_t table_len, const char *columns,
                     struct err *err)
{
    memset(g, 0, sizeof *g);
    if (!table_len || table_len >= sizeof g->table)
        return err_set(err, -EINVAL, "--schema %s: write TABLE=time,sym,...", columns);
    memcpy(g->table, table, table_len);
    for (const char *p = columns; *p;) {
        size_t n = strcspn(p, ","), colon = 0;
        struct kdb_guess_column *c = &g->col[g->ncols];
        while (colon < n && p[colon] != ':')
            colon++;
        if (!colon || colon >= sizeof c->name || g->ncols == SCHEMA_COLUMNS_MAX)
            return err_set(err, -EINVAL, "--schema %s: column %u has no proper name", g->table,
                           g->ncols + 1);
        memcpy(c->name, p, colon);
        if (colon < n) {
            char type[24];
            snprintf(type, sizeof type, "%.*s", (int)(n - colon - 1), p + colon + 1);
            c->type = type_by_name(type);
            if (!c->type)
                return err_set(err, -EINVAL, "--schema %s: column %s: no type '%s'", g->table,
                               c->name, type);
        }
        g->ncols++;
        p += n;
        p += *p == ',';
    }
    return g->ncols >= 2 ||
           err_set(err, -EINVAL, "--schema %s: name at least time and sym", g->table);
}
